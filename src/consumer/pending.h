// SPDX-License-Identifier: Apache-2.0
// Messages of one consumer that were delivered and are not settled: 16 bytes each.
//
// First deliveries come with ascending seq, so the messages are kept in that order, in chunks of 1,024
// entries that hold 32-bit offsets from the chunk's first seq and delivery number. Settled entries are marks;
// a chunk without others is freed, and two neighbours that are together at most half full become one. Finding
// a seq halves the chunks, then the chunk. Adding is at the end only.
//
// Deadlines are ticks since `tick_base` (delivery.h). Not thread-safe: the consumer's lock guards it.
#ifndef DBK_CONSUMER_PENDING_H
#define DBK_CONSUMER_PENDING_H

#include "base/memory.h"

enum { DBK_PENDING_CHUNK_ENTRIES = 1024, DBK_PENDING_DELIVERIES_MAX = UINT16_MAX };

enum dbk_pending_flag {
    DBK_PENDING_SETTLED = 1,
    DBK_PENDING_DUE = 2,     // waits to be delivered again, or, held until now, for the first time
    DBK_PENDING_TAKEN = 4,   // somebody is about to deliver it
    DBK_PENDING_CLAIMED = 8, // its acknowledgement is being committed
    DBK_PENDING_HELD = 16,   // read, not delivered: another of its aggregate is in flight
    DBK_PENDING_EXPIRED = 32 // became due while it was claimed
};

typedef struct dbk_pending_entry {
    uint32_t seq_offset;
    uint32_t number_offset; // of its first delivery; while held the least it may get
    uint32_t deadline;      // ticks
    uint16_t deliveries;
    uint16_t flags;
} dbk_pending_entry;
_Static_assert(sizeof(dbk_pending_entry) == 16, "what a message in flight costs");

typedef struct dbk_pending_chunk {
    uint64_t seq_base;
    uint64_t number_base;
    uint32_t count; // entries used, settled ones too
    uint32_t live;
    uint64_t *aggregates; // hash per entry, where deliveries are in order per aggregate; else NULL
    dbk_pending_entry entries[DBK_PENDING_CHUNK_ENTRIES];
} dbk_pending_chunk;

typedef struct dbk_pending {
    const daybook_allocator *allocator;
    dbk_pending_chunk **chunks; // ascending
    size_t chunk_count;
    size_t chunk_capacity;
    size_t count; // not settled
    bool has_aggregates;
} dbk_pending;

/// An entry and where it lies; good until the next add or remove.
typedef struct dbk_pending_place {
    dbk_pending_entry *entry; // NULL: none
    uint64_t seq;
    size_t chunk;
    uint32_t index;
} dbk_pending_place;

void dbk_pending_init(dbk_pending *pending, const daybook_allocator *allocator, bool has_aggregates);
void dbk_pending_deinit(dbk_pending *pending);
/// `seq` lies behind every entry; `number` is its delivery number, or the least it may get, and not below
/// those before. The new entry has no deadline, no deliveries, no flags. ENOMEM.
daybook_status dbk_pending_add(dbk_pending *pending, uint64_t seq, uint64_t number, uint64_t aggregate,
                               dbk_pending_place *place_out);
dbk_pending_place dbk_pending_find(const dbk_pending *pending, uint64_t seq);
/// The first entry with at least this seq.
dbk_pending_place dbk_pending_seek(const dbk_pending *pending, uint64_t seq);
/// The entry behind, or before, `place`.
dbk_pending_place dbk_pending_next(const dbk_pending *pending, const dbk_pending_place *place);
dbk_pending_place dbk_pending_previous(const dbk_pending *pending, const dbk_pending_place *place);
/// Delivery number of the first delivery; 0 while held.
uint64_t dbk_pending_number(const dbk_pending *pending, const dbk_pending_place *place);
/// For an entry that was held.
void dbk_pending_set_number(dbk_pending *pending, const dbk_pending_place *place, uint64_t number);
/// Hash of the aggregate, 0 where none is kept.
uint64_t dbk_pending_aggregate(const dbk_pending *pending, const dbk_pending_place *place);
void dbk_pending_remove(dbk_pending *pending, const dbk_pending_place *place);
size_t dbk_pending_bytes(const dbk_pending *pending);
/// Order, counts and offsets hold; for DBK_ASSERT_SLOW.
bool dbk_pending_is_sound(const dbk_pending *pending);

#endif
