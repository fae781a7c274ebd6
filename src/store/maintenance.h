// SPDX-License-Identifier: Apache-2.0
// What flush.c, merge.c, maintenance.c and backup.c share.
#ifndef DBK_STORE_MAINTENANCE_H
#define DBK_STORE_MAINTENANCE_H

#include "store/recovery.h"
#include "store/store_internal.h"

// A segment that could not be read when it was to be merged: others are merged around it, until then.
enum { DBK_UNMERGEABLE_MAX = 64 };
typedef struct dbk_unmergeable {
    uint64_t segment_id;
    int64_t until_ns; // monotonic
} dbk_unmergeable;

struct dbk_maintenance {
    // Locks: flush_lock and merge_lock come before maintenance_lock; nobody takes both but backup and
    // erase, merge first.
    pthread_mutex_t merge_lock;                       // one merge at a time; held, no segment file goes away
    pthread_mutex_t flush_lock;                       // one flush at a time
    dbk_unmergeable unmergeable[DBK_UNMERGEABLE_MAX]; // guarded by merge_lock
    size_t unmergeable_count;                         // ... too
    dbk_cut cut;               // guarded by flush_lock: frozen tables wait to be written up to here
    dbk_dictionary dictionary; // ... too: of the segment written last
    _Atomic uint64_t next_segment_id;
    _Atomic uint64_t next_generation;

    // Files no manifest needs any more, or an edit that failed may have named: removed after the next edit
    // that succeeds.
    pthread_mutex_t doubtful_lock;
    char (*doubtful)[64];
    size_t doubtful_count;

    // Removed files that are given back step by step (discard.c).
    pthread_mutex_t discard_lock;
    struct dbk_discard *discards; // guarded by discard_lock
    atomic_size_t discard_count;
    atomic_bool discards_at_once; // the disk is full: no steps

    atomic_uint running; // DAYBOOK_BACKGROUND_*
    // Bytes of records written to segments per millisecond, lately; 0: unknown.
    atomic_uint_fast64_t flush_rate;

    // Threads.
    atomic_bool flusher_runs, merger_runs; // said before they start
    pthread_t flusher, merger;
    atomic_bool stop;
    _Atomic uint32_t flush_word, merge_word; // bumped to wake
    atomic_bool is_kicked;                   // flush_word was bumped since the flusher last began a round

    // Owned by whoever does the round (one thread: flusher, or the caller of daybook_maintain under
    // round_lock).
    pthread_mutex_t round_lock;
    int64_t next_second_ns;   // monotonic: limits by age, witness
    uint64_t lsn_last_second; // durable LSN then
    uint64_t lsn_witnessed;
    int64_t retry_at_ns; // after a failure
    int64_t retry_delay_ns;
};

// ---- maintenance.c ---------------------------------------------------------------------------------------
/// What must be written met ENOSPC: give it what is held back (reserve.h, discard.c). False where that is
/// nothing: trying again makes no sense.
bool dbk_make_space(daybook_store *store);

// ---- flush.c --------------------------------------------------------------------------------------------
/// Write out what is frozen and, with `force` or when due, what is active. *did_out: something was written.
daybook_status dbk_flush(daybook_store *store, bool force, bool *did_out, daybook_error *error);
/// The next segment written does not share its dictionary with an earlier one.
void dbk_flush_forget_dictionary(daybook_store *store);
/// A copy of the removed events of a source.
typedef struct dbk_dead_copy {
    roaring_bitmap_t *removed;
    roaring_bitmap_t *for_ever;
} dbk_dead_copy;
daybook_status dbk_dead_copy_take(dbk_source *source, dbk_dead_copy *copy_out);
void dbk_dead_copy_deinit(dbk_dead_copy *copy);
/// What a segment carries of the catalogue, so that a lost manifest can be rebuilt: entries and states of
/// the streams in `ids` (ascending) that exist, as records of the manifest.
daybook_status dbk_segment_catalogue(daybook_store *store, const uint32_t *ids, size_t count,
                                     dbk_manifest_edit *records);
/// Write the bitmaps of `source` as a new deletion file of `segment_id`; *generation_out is 0 where there
/// is nothing to say.
daybook_status dbk_write_deletions(daybook_store *store, uint64_t segment_id, const dbk_dead_copy *dead,
                                   uint64_t *generation_out, daybook_error *error);
/// Remove a file of the store's directory now (failure is only logged), or after the next edit.
void dbk_remove_file(daybook_store *store, const char *name);
void dbk_remove_file_later(daybook_store *store, const char *name);
/// After a successful edit.
void dbk_remove_doubtful(daybook_store *store);
/// Commit under manifest_lock (held by the caller) and tell readers of the edit.
daybook_status dbk_commit_edit(daybook_store *store, const dbk_manifest_edit *edit, daybook_error *error);
/// Tell readers of other processes of a new manifest edit.
void dbk_publish_edit(daybook_store *store);

// ---- discard.c ------------------------------------------------------------------------------------------
typedef struct dbk_discard dbk_discard;
/// Remove a file of the store's directory; its space comes back step by step where that can be done, so that
/// nobody waits for it.
void dbk_discard_file(daybook_store *store, const char *name);
/// Give back what can be given back now; true where something is left for later. The merging thread only.
bool dbk_discard_some(daybook_store *store);
/// All at once: the disk is full, or the store closes.
void dbk_discard_all(daybook_store *store);

// ---- orphans.c ------------------------------------------------------------------------------------------
/// Remove what crashes left behind and something valid has replaced. By open, under the lock, with the view
/// of segments.
void dbk_remove_orphans(daybook_store *store);

// ---- backup.c -------------------------------------------------------------------------------------------
/// Memory tables of a view that are to become a segment without a running writer (a reader's backup, a
/// repair).
typedef struct dbk_tail {
    dbk_view *view;
    const dbk_dead_copy *dead;    // of each source of the view
    const dbk_manifest *manifest; // whose streams and marks count
    uint64_t position_last;
} dbk_tail;
/// *wrote_out is false where there is nothing to write.
daybook_status dbk_tail_write(const dbk_tail *tail, const dbk_segment_config *config, bool *wrote_out,
                              dbk_segment_summary *summary_out, daybook_error *error);

// ---- merge.c --------------------------------------------------------------------------------------------
/// One merge or rewrite where one is due; END when none is. With `removed_only` only the rewrite of a segment
/// more than half of whose events are removed. merge_lock is taken inside.
daybook_status dbk_merge_once(daybook_store *store, bool removed_only, daybook_error *error);
/// Rewrite the segments that hold removed events at or behind position_first or have dropped some of
/// `dropped` (NULL: none), and those that share a dictionary made of them; merge_lock is held by the caller.
daybook_status dbk_merge_erase(daybook_store *store, uint64_t position_first, const dbk_dropped *dropped,
                               daybook_error *error);

#endif
