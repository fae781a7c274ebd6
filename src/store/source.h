// SPDX-License-Identifier: Apache-2.0
// Sources and views: what a reader reads. A source is a range of positions held by a memory table or a
// segment, with the set of its removed events. A view is an immutable list of sources, ascending and not
// overlapping, that together hold every event of the store; whoever refs a view may use its sources as long
// as it likes.
//
// Liveness of an event: its stream exists, position >= stream->first_position, and not in its source's dead
// set.
#ifndef DBK_STORE_SOURCE_H
#define DBK_STORE_SOURCE_H

#include <pthread.h>
#include <roaring/roaring.h>
#include <stdatomic.h>

#include "segment/segment.h"
#include "store/memtable.h"

/// Removed events of one source, as relative positions. Shared by all views that hold the source; lives as
/// long as they.
typedef struct dbk_dead_set {
    pthread_rwlock_t lock;
    roaring_bitmap_t *removed;  // guarded by lock
    roaring_bitmap_t *for_ever; // subset removed by users (ids are remembered for ever); guarded by lock
    atomic_uint_fast64_t count; // 0: nobody needs the lock
    uint64_t generation;        // of the deletion file that holds it, 0: none; owned by maintenance
    bool changed;               // differs from that file; guarded by lock
} dbk_dead_set;

/// What of a source expires by its own time to live (expiry.c).
typedef struct dbk_expiry {
    // Segments: the lowest second in which something may be due; 0: not known yet. Never too high
    atomic_uint_fast64_t next_second;
    int64_t retry_ns; // monotonic: what could not be read is not asked for before; under store->expiry_lock
    // By the time for expiry: when a reader looked for the lowest second in vain, and none does for a
    // minute; 0: none did
    atomic_int_fast64_t in_vain_ns;
    // Memory tables: a heap by second of what was inserted up to seen_end.
    pthread_mutex_t lock;
    struct dbk_due *items; // this and what follows guarded by lock
    size_t count, capacity;
    uint64_t seen_end;
} dbk_expiry;

typedef struct dbk_source {
    atomic_uint refs;
    const daybook_allocator *allocator;
    dbk_memtable *memtable; // exactly one of these three
    dbk_segment *segment;
    char *damage;                   // readers only: the range cannot be read, this says why (names the file)
    uint64_t position_first;        // of its range
    _Atomic uint64_t position_last; // of its range; UINT64_MAX: the active memory table, not frozen yet
    dbk_dead_set dead;
    dbk_expiry expiry;
} dbk_source;

/// Takes over the reference on memtable or segment on success.
daybook_status dbk_source_new(const daybook_allocator *allocator, dbk_memtable *memtable,
                              dbk_segment *segment, uint64_t position_first, uint64_t position_last,
                              dbk_source **source_out);
/// A range that cannot be read; `damage` is copied.
daybook_status dbk_source_new_damaged(const daybook_allocator *allocator, uint64_t position_first,
                                      uint64_t position_last, const char *damage, dbk_source **source_out);
/// EDAMAGED saying why a source that cannot be read cannot, OK for any other.
daybook_status dbk_source_check(const dbk_source *source, daybook_error *error);
dbk_source *dbk_source_ref(dbk_source *source);
void dbk_source_unref(dbk_source *source);
bool dbk_source_is_dead(dbk_source *source, uint64_t position);
/// Mark positions [first, last] (clipped to the source) as removed.
void dbk_source_mark_dead(dbk_source *source, uint64_t first, uint64_t last, bool for_ever);

/// The event at `position`, removed or not; slices borrowed from `block` (zeroed at first; release it) or the
/// table. ENOTFOUND where there is none, EDAMAGED.
daybook_status dbk_source_read(dbk_source *source, uint64_t position, dbk_block_view *block,
                               dbk_event *event_out, daybook_error *error);
/// Where in a segment events of the stream `in` have seq >= `seq` from on; at most `slack` positions too low,
/// which saves reading. Reads one event a step of halving.
/// @param given  the stream's seqs may be given ones (dbk_stream_has_given_seqs): positions do not bound them
daybook_status dbk_source_find_seq(dbk_source *source, const dbk_segment_stream *in, bool given, uint64_t seq,
                                   uint64_t slack, uint64_t *position_out, daybook_error *error);
/// The removed events as of now, the caller's; NULL where there are none. ENOMEM.
daybook_status dbk_source_copy_dead(dbk_source *source, roaring_bitmap_t **dead_out);
/// What became of the event at `position`: DBK_LIVE, DBK_REMOVED (dead set only), DBK_REMOVED_FOR_EVER.
dbk_liveness dbk_source_liveness(dbk_source *source, uint64_t position);

typedef struct dbk_view {
    atomic_uint refs;
    const daybook_allocator *allocator;
    uint64_t generation;  // grows with every change of the list of segments
    size_t segment_count; // sources[0 .. segment_count) are segments
    size_t
        // the rest memory tables, oldest first; the last one is active (absent when read-only and empty)
        source_count;
    dbk_source *sources[]; // ascending by position
} dbk_view;

dbk_view *dbk_view_ref(dbk_view *view);
void dbk_view_unref(dbk_view *view);
/// A view over `sources` (their references are taken over on success).
daybook_status dbk_view_new(const daybook_allocator *allocator, uint64_t generation,
                            dbk_source *const *sources, size_t segment_count, size_t source_count,
                            dbk_view **view_out);
/// Index of the source whose range holds `position`, or of the next one; source_count when behind all.
size_t dbk_view_find(const dbk_view *view, uint64_t position);

#endif
