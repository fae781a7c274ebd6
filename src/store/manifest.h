// SPDX-License-Identifier: Apache-2.0
// The manifest: the durable root of a store. Which segments and deletion files belong to it, where the
// journal begins, how its pieces are laid out, and the state of streams at that point (everything else is
// replayed from the journal).
//
// On the disk it is a file `manifest-<16 hex number>` and a copy of it: a sequence of edits that begins with
// a snapshot. An edit counts when it is synced in both; what one copy has lost is read from the other. When
// the file has grown to twice its snapshot a new number is begun, and the old one removed only after that.
// Format, what is believed of two copies that differ, and failure modes: head of manifest_file.c.
#ifndef DBK_STORE_MANIFEST_H
#define DBK_STORE_MANIFEST_H

#include "base/uuid.h"
#include "daybook/sys/vfs.h"
#include "journal/journal.h"
#include "record/record.h"
#include "segment/segment.h"
#include "store/manifest_file.h"

typedef struct dbk_manifest_segment {
    dbk_segment_summary summary;
    uint64_t deletion_generation; // file deletions-<segment id>-<generation>.dbd, 0: none
} dbk_manifest_segment;

/// State of a stream as of manifest->flushed_position.
typedef struct dbk_manifest_stream {
    uint32_t id;
    uint64_t last_seq;
    uint64_t first_seq, first_position, purged_position;
    uint64_t message_count, byte_count;
    int64_t last_recorded_ns;
} dbk_manifest_stream;

typedef struct dbk_manifest_entry {
    dbk_catalogue_kind kind;
    dbk_slice key; // key and value in one allocation that begins at key.data
    dbk_slice value;
} dbk_manifest_entry;

/// Everything, in memory. Arrays are owned by the manifest.
typedef struct dbk_manifest {
    const daybook_allocator *allocator;
    dbk_uuid store_uuid;
    uint64_t incarnation;
    uint64_t number;           // of the file
    uint64_t edit_count;       // edits since created, over all files: what the live page publishes
    uint64_t flushed_position; // everything at or below is in segments
    uint64_t trim_from;        // limits per subject may not have been enforced on events from here on
    uint64_t positions_end;    // below it positions may have been given to events that are nowhere
    uint64_t journal_start_lsn;
    uint64_t journal_durable_lsn; // known synced when the edit was written
    uint64_t journal_first_lsn;   // journal map
    uint32_t *journal_pieces;
    uint32_t journal_piece_count;
    int64_t last_recorded_ns;
    uint64_t next_segment_id;
    uint32_t next_stream_id;
    bool closed_clean;
    dbk_manifest_segment *segments; // ascending by position
    size_t segment_count;
    dbk_manifest_stream *streams; // ascending by id
    size_t stream_count;
    dbk_manifest_entry *entries; // catalogue as of flushed_position; ascending by (kind, key)
    size_t entry_count;

    daybook_vfs *vfs;
    const char *directory;  // borrowed
    dbk_manifest_file file; // the next edit begins a new one where it is not open
} dbk_manifest;

/// A manifest without segments and streams, not yet on disk. `directory` is borrowed for the life of the
/// manifest.
void dbk_manifest_init(dbk_manifest *manifest, const daybook_allocator *allocator, daybook_vfs *vfs,
                       const char *directory);
void dbk_manifest_deinit(dbk_manifest *manifest);
/// Write what `manifest` says as file manifest->number (>= 1), durable when it returns; stays open for edits.
daybook_status dbk_manifest_create(dbk_manifest *manifest, daybook_error *error);
/// Load the newest file of the directory into an initialised manifest. With `writer` it is synced before it
/// is read and stays open for edits, where both copies are sound; else the next edit begins a new file, which
/// heals them. What is wrong with them stands in manifest->file. ENOTFOUND when there is none; EFOREIGN where
/// files of two stores are mixed; EFORMAT; EDAMAGED: error->file and offset say where. A reader beside a
/// running writer may meet a file that is just being replaced: that is tried again inside.
daybook_status dbk_manifest_load(dbk_manifest *manifest, bool writer, daybook_error *error);

/// An edit being put together: what changes. Filled by the functions below, given to dbk_manifest_commit.
typedef struct dbk_manifest_edit {
    dbk_buf records;
} dbk_manifest_edit;

void dbk_manifest_edit_init(dbk_manifest_edit *edit, const daybook_allocator *allocator);
void dbk_manifest_edit_deinit(dbk_manifest_edit *edit);
void dbk_manifest_edit_set_flushed(dbk_manifest_edit *edit, uint64_t flushed_position,
                                   int64_t last_recorded_ns);
void dbk_manifest_edit_set_trim_from(dbk_manifest_edit *edit, uint64_t position);
void dbk_manifest_edit_set_positions_end(dbk_manifest_edit *edit, uint64_t position);
void dbk_manifest_edit_set_next_ids(dbk_manifest_edit *edit, uint64_t next_segment_id,
                                    uint32_t next_stream_id);
void dbk_manifest_edit_set_journal(dbk_manifest_edit *edit, uint64_t start_lsn, uint64_t durable_lsn,
                                   const dbk_journal_map *map);
void dbk_manifest_edit_set_incarnation(dbk_manifest_edit *edit, uint64_t incarnation);
void dbk_manifest_edit_set_closed_clean(dbk_manifest_edit *edit, bool closed_clean);
void dbk_manifest_edit_add_segment(dbk_manifest_edit *edit, const dbk_manifest_segment *segment);
void dbk_manifest_edit_remove_segment(dbk_manifest_edit *edit, uint64_t segment_id);
void dbk_manifest_edit_set_deletions(dbk_manifest_edit *edit, uint64_t segment_id, uint64_t generation);
void dbk_manifest_edit_put_stream(dbk_manifest_edit *edit, const dbk_manifest_stream *stream);
void dbk_manifest_edit_remove_stream(dbk_manifest_edit *edit, uint32_t stream_id);
void dbk_manifest_edit_put_entry(dbk_manifest_edit *edit, dbk_catalogue_kind kind, dbk_slice key,
                                 dbk_slice value);
void dbk_manifest_edit_remove_entry(dbk_manifest_edit *edit, dbk_catalogue_kind kind, dbk_slice key);

/// Make the edit durable, then apply it to `manifest`. On failure the manifest in memory is as before, but
/// what the edit says may be on disk: files it names must stay until a later commit succeeded (it goes to a
/// new file, which takes the doubt away).
daybook_status dbk_manifest_commit(dbk_manifest *manifest, const dbk_manifest_edit *edit,
                                   daybook_error *error);
/// Apply the edit to memory only.
daybook_status dbk_manifest_apply(dbk_manifest *manifest, const dbk_manifest_edit *edit);
/// The same for records read back from elsewhere (the catalogue copy of a segment). EDAMAGED.
daybook_status dbk_manifest_apply_records(dbk_manifest *manifest, dbk_slice records);
/// Copy of everything but the file.
daybook_status dbk_manifest_copy(const dbk_manifest *from, dbk_manifest *to);

/// NULL when absent.
const dbk_manifest_segment *dbk_manifest_find_segment(const dbk_manifest *manifest, uint64_t segment_id);
const dbk_manifest_stream *dbk_manifest_find_stream(const dbk_manifest *manifest, uint32_t stream_id);
const dbk_manifest_entry *dbk_manifest_find_entry(const dbk_manifest *manifest, dbk_catalogue_kind kind,
                                                  dbk_slice key);
static inline dbk_journal_map dbk_manifest_journal_map(const dbk_manifest *manifest) {
    return (dbk_journal_map){manifest->journal_first_lsn, manifest->journal_piece_count,
                             manifest->journal_pieces};
}

#endif
