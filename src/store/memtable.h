// SPDX-License-Identifier: Apache-2.0
// The memory table: the newest events of the store, by position, with what conditions and reads ask of them.
//
// Events are kept in stored form (record/event.h) in chunks that never move; slot i holds position
// position_first + i, or nothing (an event that was not recovered, see storage `memory`). One thread at a
// time inserts (the leader of group commit, under store->state_lock); any thread reads what has been
// published:
//   - slots below memtable->published may be read without a lock. They may hold events that are not durable
//     yet: readers compare with the durable position they took;
//   - the maps (subject, aggregate, id: kept at insert; all other terms: built when first asked for, up to
//     the events there are) are guarded by memtable->index_lock, which nobody holds while doing I/O.
// Frozen tables (being written to a segment, or held by a view) are never inserted into again.
#ifndef DBK_STORE_MEMTABLE_H
#define DBK_STORE_MEMTABLE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/hash_map.h"
#include "index/term.h"

typedef struct dbk_memtable dbk_memtable;

daybook_status dbk_memtable_new(const daybook_allocator *allocator, uint64_t position_first,
                                dbk_memtable **memtable_out);
dbk_memtable *dbk_memtable_ref(dbk_memtable *memtable);
void dbk_memtable_unref(dbk_memtable *memtable);

uint64_t dbk_memtable_position_first(const dbk_memtable *memtable);
/// One behind the last position inserted.
uint64_t dbk_memtable_position_end(const dbk_memtable *memtable);
size_t dbk_memtable_bytes(const dbk_memtable *memtable); // memory taken, indexes included; any thread

/// Hashes of an event the inserting thread computed outside the lock (dbk_term_hash of its terms; id_hash is
/// 0 where the store made the id and no look-up by hash is wanted).
typedef struct dbk_event_hashes {
    uint64_t subject;
    uint64_t aggregate; // 0: no aggregate
    uint64_t id;
} dbk_event_hashes;
uint64_t dbk_memtable_id_hash(uint32_t stream_id, dbk_slice id_key);

/// Bytes of the table's memory an event takes.
static inline size_t dbk_memtable_stored_size(size_t body_size) {
    return (DBK_EVENT_HEAD_SIZE + body_size + 7) & ~(size_t)7;
}
/// Room for `count` more events, so that inserting them cannot fail: `*stored_out` is contiguous memory for
/// `stored_bytes`, the sum of their dbk_memtable_stored_size. ENOMEM. A reservation not used costs nothing.
daybook_status dbk_memtable_reserve(dbk_memtable *memtable, size_t count, size_t stored_bytes,
                                    uint8_t **stored_out);
/// Insert the event whose stored form lies next in the memory `reserve` gave; position must be position_end.
/// Between begin and end, which hold the index for the whole batch.
void dbk_memtable_begin_insert(dbk_memtable *memtable);
void dbk_memtable_insert(dbk_memtable *memtable, const dbk_event *event, const dbk_event_hashes *hashes);
void dbk_memtable_end_insert(dbk_memtable *memtable);
/// Copy an event in, at its position (slots before it stay empty), with everything an insert needs worked out
/// here: for replay, where one event comes after the other. ENOMEM.
daybook_status dbk_memtable_add(dbk_memtable *memtable, const dbk_event *event);
/// Leave slots empty up to `position_end`.
daybook_status dbk_memtable_skip_to(dbk_memtable *memtable, uint64_t position_end);

/// Decode the event at `position`; ENOTFOUND for an empty slot. Any thread, no lock.
daybook_status dbk_memtable_get(const dbk_memtable *memtable, uint64_t position, dbk_event *event_out);

/// The first position with an event of the stream whose seq is >= `seq`; position_end when there is none. Any
/// thread, no lock; O(log n) where events of the stream are frequent.
uint64_t dbk_memtable_find_seq(const dbk_memtable *memtable, uint32_t stream_id, uint64_t seq);

/// What the table knows of an aggregate: version assigned last; false when it has none of it. `peek` takes no
/// lock: for the thread that inserts, and of frozen tables.
bool dbk_memtable_peek_version(const dbk_memtable *memtable, uint32_t stream_id, dbk_slice aggregate,
                               uint64_t hash, uint64_t *version_out);
bool dbk_memtable_find_version(dbk_memtable *memtable, uint32_t stream_id, dbk_slice aggregate, uint64_t hash,
                               uint64_t *version_out);
/// A position below which no event of the subject is alive, 0 when unknown: so that trimming a subject that
/// is written over and over looks at what is new only.
uint64_t dbk_memtable_subject_floor(dbk_memtable *memtable, uint32_t stream_id, dbk_slice subject);
void dbk_memtable_set_subject_floor(dbk_memtable *memtable, uint32_t stream_id, dbk_slice subject,
                                    uint64_t position);
/// Position of the newest event with this id in the stream; false when none.
bool dbk_memtable_find_id(dbk_memtable *memtable, uint32_t stream_id, dbk_slice id_key, uint64_t hash,
                          uint64_t *position_out);

/// Positions of the events with this term within [first, last], newest first, at most `capacity`; returns how
/// many. To go on, ask again with last = the smallest position got - 1. ENOMEM while building the term index.
daybook_status dbk_memtable_postings_back(dbk_memtable *memtable, dbk_slice term, uint64_t first,
                                          uint64_t last, uint64_t *positions_out, size_t capacity,
                                          size_t *count_out);
/// The same ascending. O(postings of the term in the table) the first time it is asked.
daybook_status dbk_memtable_postings(dbk_memtable *memtable, dbk_slice term, uint64_t first, uint64_t last,
                                     uint64_t *positions_out, size_t capacity, size_t *count_out);
/// Number of events with the term up to position `last`: an upper bound for planning.
daybook_status dbk_memtable_count(dbk_memtable *memtable, dbk_slice term, uint64_t *count_out);
/// Is a stretch of `span` events better asked of the term index than looked through? True where the index
/// lacks little, and where looking through has cost by now what bringing it up to date would.
bool dbk_memtable_index_pays(dbk_memtable *memtable, uint64_t span);
/// Visit each distinct term beginning with `prefix`, in no order. Borrowed during the visit.
daybook_status dbk_memtable_visit_terms(dbk_memtable *memtable, dbk_slice prefix,
                                        daybook_status (*visit)(void *context, dbk_slice term),
                                        void *context);

#endif
