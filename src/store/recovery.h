// SPDX-License-Identifier: Apache-2.0
// From disk to memory: streams and segments as the manifest says, then the journal behind it. Used when a
// store is opened and by readers that follow a writer.
#ifndef DBK_STORE_RECOVERY_H
#define DBK_STORE_RECOVERY_H

#include "store/store_internal.h"

/// What the manifest must say of streams when everything up to a point of the journal is in segments:
/// copied at that point, compared with the manifest and written later.
typedef struct dbk_cut_stream {
    dbk_stream *stream;
    const daybook_stream_config *config;
    dbk_manifest_stream state;
} dbk_cut_stream;

typedef struct dbk_cut {
    bool valid;
    uint64_t flush_lsn;
    uint64_t position_last; // everything at or below lies in segments once the cut is
    int64_t last_recorded_ns;
    uint64_t positions_end;
    uint64_t trim_from; // of the oldest append whose limits per subject are still being enforced
    uint32_t next_stream_id;
    dbk_cut_stream *streams; // ascending by id
    size_t stream_count;
    daybook_status status; // ENOMEM: capturing failed
} dbk_cut;

/// Fill `cut` (all but flush_lsn and valid) from the store as it is; position_last is the one before the
/// active table.
void dbk_cut_capture(daybook_store *store, dbk_cut *cut);
void dbk_cut_deinit(daybook_store *store, dbk_cut *cut);
/// Into `edit`: stream states and catalogue entries that differ from what the manifest says.
daybook_status dbk_cut_write(const dbk_cut *cut, const dbk_manifest *manifest, dbk_manifest_edit *edit);

/// A store struct with options, path, cache and an empty table of streams, nothing loaded or locked (open.c).
daybook_status dbk_store_new_bare(const char *path, const daybook_open_options *options,
                                  daybook_store **store_out, daybook_error *error);
void dbk_store_free_bare(daybook_store *store);

dbk_segment_config dbk_store_segment_config(const daybook_store *store, uint64_t segment_id);
dbk_journal_config dbk_store_journal_config(const daybook_store *store, char path[DBK_PATH_SIZE_MAX]);

/// Log which copies of the manifest are not as they should be; with `damage_only` not what a crash leaves.
/// The next edit of a writer writes both anew.
void dbk_recovery_log_copies(daybook_store *store, bool damage_only);
/// Make the table of streams equal to what the manifest says, states included; streams it does not know are
/// removed.
daybook_status dbk_recovery_load_streams(daybook_store *store, const dbk_manifest *manifest,
                                         daybook_error *error);
/// The sources of the manifest's segments with their removed events. Those `reuse` (may be NULL) has are
/// taken from it; where their deletion file is newer, it is merged in. *sources_out has `extra` free places
/// at the end. With `lenient` (readers) what cannot be read becomes a source that says so.
daybook_status dbk_recovery_open_segments(daybook_store *store, const dbk_manifest *manifest, dbk_view *reuse,
                                          size_t extra, bool lenient, dbk_source ***sources_out,
                                          size_t *count_out, daybook_error *error);
/// A view of these segments and a fresh active memory table that begins at `position_first`; becomes
/// store->view and store->active. Takes over references and array on success.
daybook_status dbk_recovery_begin_view(daybook_store *store, dbk_source **sources, size_t segment_count,
                                       uint64_t position_first, uint64_t generation, daybook_error *error);
/// Put a fresh active memory table behind the present one. It begins at `position_first`, at or behind the
/// end of that one.
daybook_status dbk_recovery_roll(daybook_store *store, uint64_t position_first);
/// Let next_position be `position`, at or behind the end of the active table.
daybook_status dbk_recovery_skip_to(daybook_store *store, uint64_t position);

typedef struct dbk_replay {
    daybook_store *store;
    size_t roll_bytes; // a memory table of this size is followed by a fresh one
    dbk_cut *cut;      // captured at every roll; NULL: not wanted
    uint64_t next_lsn; // behind the last group replayed
} dbk_replay;

/// Replay groups from start_lsn to stop_lsn (0: to the end). Sets next_position, publishes nothing.
daybook_status dbk_recovery_replay(dbk_replay *replay, const dbk_manifest *manifest, uint64_t start_lsn,
                                   uint64_t stop_lsn, uint64_t known_durable_lsn,
                                   dbk_journal_recovery *recovery_out, daybook_error *error);

#endif
