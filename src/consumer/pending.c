// SPDX-License-Identifier: Apache-2.0
// Messages in flight in chunks: the layout is in pending.h. Chunks are joined when one of them has lost half
// of its messages, so that the cost of that is spread over as many removals.
#include "consumer/pending.h"

#include <string.h>

#include "base/assert.h"
#include "base/error.h"

enum { MERGE_LIVE_MAX = DBK_PENDING_CHUNK_ENTRIES / 2 };

static const dbk_pending_place nowhere = {NULL, 0, 0, 0};

void dbk_pending_init(dbk_pending *pending, const daybook_allocator *allocator, bool has_aggregates) {
    *pending = (dbk_pending){.allocator = allocator, .has_aggregates = has_aggregates};
}

static void free_chunk(const dbk_pending *pending, dbk_pending_chunk *chunk) {
    dbk_free(pending->allocator, chunk->aggregates);
    dbk_free(pending->allocator, chunk);
}

void dbk_pending_deinit(dbk_pending *pending) {
    for (size_t i = 0; i < pending->chunk_count; i++) free_chunk(pending, pending->chunks[i]);
    dbk_free(pending->allocator, pending->chunks);
    *pending = (dbk_pending){.allocator = pending->allocator};
}

static dbk_pending_place place_at(const dbk_pending *pending, size_t chunk, uint32_t index) {
    dbk_pending_chunk *in = pending->chunks[chunk];
    dbk_pending_entry *entry = &in->entries[index];
    return (dbk_pending_place){entry, in->seq_base + entry->seq_offset, chunk, index};
}

// ---- Adding -----------------------------------------------------------------------------------------------

static daybook_status new_chunk(dbk_pending *pending) {
    dbk_pending_chunk **chunks = dbk_grow_array(pending->allocator, pending->chunks, &pending->chunk_capacity,
                                                pending->chunk_count + 1, sizeof *chunks);
    if (chunks == NULL) return DAYBOOK_ENOMEM;
    pending->chunks = chunks;
    dbk_pending_chunk *chunk = dbk_alloc(pending->allocator, sizeof *chunk);
    if (chunk == NULL) return DAYBOOK_ENOMEM;
    chunk->count = chunk->live = 0;
    chunk->aggregates = NULL;
    if (pending->has_aggregates) {
        chunk->aggregates =
            dbk_resize_array(pending->allocator, NULL, DBK_PENDING_CHUNK_ENTRIES, sizeof(uint64_t));
        if (chunk->aggregates == NULL) {
            dbk_free(pending->allocator, chunk);
            return DAYBOOK_ENOMEM;
        }
    }
    pending->chunks[pending->chunk_count++] = chunk;
    return DAYBOOK_OK;
}

static bool has_room(const dbk_pending_chunk *chunk, uint64_t seq, uint64_t number) {
    if (chunk->live == 0) return true;
    return chunk->count < DBK_PENDING_CHUNK_ENTRIES && seq - chunk->seq_base <= UINT32_MAX &&
           number - chunk->number_base < UINT32_MAX;
}

daybook_status dbk_pending_add(dbk_pending *pending, uint64_t seq, uint64_t number, uint64_t aggregate,
                               dbk_pending_place *place_out) {
    if (pending->chunk_count == 0 || !has_room(pending->chunks[pending->chunk_count - 1], seq, number))
        DBK_TRY(new_chunk(pending));
    dbk_pending_chunk *chunk = pending->chunks[pending->chunk_count - 1];
    if (chunk->live == 0) {
        chunk->count = 0;
        chunk->seq_base = seq;
        chunk->number_base = number;
    }
    DBK_ASSERT(chunk->count == 0 || seq > chunk->seq_base + chunk->entries[chunk->count - 1].seq_offset);
    uint32_t index = chunk->count++;
    chunk->live++;
    pending->count++;
    chunk->entries[index] = (dbk_pending_entry){
        .seq_offset = (uint32_t)(seq - chunk->seq_base),
        .number_offset = (uint32_t)(number - chunk->number_base),
    };
    if (chunk->aggregates != NULL) chunk->aggregates[index] = aggregate;
    *place_out = place_at(pending, pending->chunk_count - 1, index);
    return DAYBOOK_OK;
}

// ---- Finding ----------------------------------------------------------------------------------------------

// The last chunk that begins at or before seq; 0 where all begin behind it.
static size_t find_chunk(const dbk_pending *pending, uint64_t seq) {
    size_t low = 0, high = pending->chunk_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (pending->chunks[middle]->seq_base <= seq) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

// The first entry of the chunk, settled or not, with at least this seq; count where there is none.
static uint32_t find_index(const dbk_pending_chunk *chunk, uint64_t seq) {
    if (seq <= chunk->seq_base) return 0;
    uint64_t offset = seq - chunk->seq_base;
    uint32_t low = 0, high = chunk->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (chunk->entries[middle].seq_offset < offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

// The first unsettled entry at or behind (chunk, index).
static dbk_pending_place forwards(const dbk_pending *pending, size_t chunk, uint32_t index) {
    for (; chunk < pending->chunk_count; chunk++, index = 0) {
        const dbk_pending_chunk *in = pending->chunks[chunk];
        if (in->live == 0) continue;
        for (; index < in->count; index++) {
            if ((in->entries[index].flags & DBK_PENDING_SETTLED) == 0) return place_at(pending, chunk, index);
        }
    }
    return nowhere;
}

dbk_pending_place dbk_pending_seek(const dbk_pending *pending, uint64_t seq) {
    if (pending->count == 0) return nowhere;
    size_t chunk = find_chunk(pending, seq);
    return forwards(pending, chunk, find_index(pending->chunks[chunk], seq));
}

dbk_pending_place dbk_pending_find(const dbk_pending *pending, uint64_t seq) {
    if (pending->count == 0) return nowhere;
    size_t chunk = find_chunk(pending, seq);
    const dbk_pending_chunk *in = pending->chunks[chunk];
    if (seq < in->seq_base || in->live == 0) return nowhere;
    uint32_t index = find_index(in, seq);
    if (index == in->count || in->seq_base + in->entries[index].seq_offset != seq ||
        (in->entries[index].flags & DBK_PENDING_SETTLED) != 0)
        return nowhere;
    return place_at(pending, chunk, index);
}

dbk_pending_place dbk_pending_next(const dbk_pending *pending, const dbk_pending_place *place) {
    return forwards(pending, place->chunk, place->index + 1);
}

dbk_pending_place dbk_pending_previous(const dbk_pending *pending, const dbk_pending_place *place) {
    uint32_t index = place->index;
    for (size_t chunk = place->chunk;; index = pending->chunks[chunk]->count) {
        const dbk_pending_chunk *in = pending->chunks[chunk];
        while (in->live > 0 && index-- > 0) {
            if ((in->entries[index].flags & DBK_PENDING_SETTLED) == 0) return place_at(pending, chunk, index);
        }
        if (chunk-- == 0) return nowhere;
    }
}

uint64_t dbk_pending_number(const dbk_pending *pending, const dbk_pending_place *place) {
    if ((place->entry->flags & DBK_PENDING_HELD) != 0) return 0;
    return pending->chunks[place->chunk]->number_base + place->entry->number_offset;
}

void dbk_pending_set_number(dbk_pending *pending, const dbk_pending_place *place, uint64_t number) {
    uint64_t offset = number - pending->chunks[place->chunk]->number_base;
    place->entry->number_offset = offset > UINT32_MAX ? UINT32_MAX : (uint32_t)offset;
}

uint64_t dbk_pending_aggregate(const dbk_pending *pending, const dbk_pending_place *place) {
    const dbk_pending_chunk *chunk = pending->chunks[place->chunk];
    return chunk->aggregates == NULL ? 0 : chunk->aggregates[place->index];
}

// ---- Removing ---------------------------------------------------------------------------------------------

static void drop_chunk(dbk_pending *pending, size_t at) {
    free_chunk(pending, pending->chunks[at]);
    pending->chunk_count--;
    memmove(&pending->chunks[at], &pending->chunks[at + 1],
            (pending->chunk_count - at) * sizeof *pending->chunks);
}

// Settled entries out of the way, so that the neighbour's fit behind.
static void compact(dbk_pending_chunk *chunk) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < chunk->count; i++) {
        if ((chunk->entries[i].flags & DBK_PENDING_SETTLED) != 0) continue;
        chunk->entries[kept] = chunk->entries[i];
        if (chunk->aggregates != NULL) chunk->aggregates[kept] = chunk->aggregates[i];
        kept++;
    }
    chunk->count = kept;
}

// Offsets only grow, so they may no longer fit: then both stay.
static bool can_join(const dbk_pending_chunk *first, const dbk_pending_chunk *second) {
    if (first->live + second->live > MERGE_LIVE_MAX || second->number_base < first->number_base) return false;
    uint64_t seq_shift = second->seq_base - first->seq_base;
    uint64_t number_shift = second->number_base - first->number_base;
    if (second->entries[second->count - 1].seq_offset + seq_shift > UINT32_MAX) return false;
    for (uint32_t i = 0; i < second->count; i++) {
        const dbk_pending_entry *entry = &second->entries[i];
        if (entry->number_offset + number_shift >= UINT32_MAX) return false;
    }
    return true;
}

static void join(dbk_pending *pending, size_t at) {
    dbk_pending_chunk *first = pending->chunks[at], *second = pending->chunks[at + 1];
    if (!can_join(first, second)) return;
    uint32_t seq_shift = (uint32_t)(second->seq_base - first->seq_base);
    uint32_t number_shift = (uint32_t)(second->number_base - first->number_base);
    compact(first);
    compact(second);
    for (uint32_t i = 0; i < second->count; i++) {
        dbk_pending_entry *entry = &first->entries[first->count + i];
        *entry = second->entries[i];
        entry->seq_offset += seq_shift;
        entry->number_offset += number_shift;
        if (first->aggregates != NULL) first->aggregates[first->count + i] = second->aggregates[i];
    }
    first->count += second->count;
    first->live += second->live;
    drop_chunk(pending, at + 1);
}

void dbk_pending_remove(dbk_pending *pending, const dbk_pending_place *place) {
    dbk_pending_chunk *chunk = pending->chunks[place->chunk];
    DBK_ASSERT((place->entry->flags & DBK_PENDING_SETTLED) == 0);
    place->entry->flags = DBK_PENDING_SETTLED;
    chunk->live--;
    pending->count--;
    bool is_last = place->chunk + 1 == pending->chunk_count;
    if (chunk->live == 0) {
        // The last one stays, empty: the next message goes there.
        if (!is_last) drop_chunk(pending, place->chunk);
        return;
    }
    if (chunk->live > MERGE_LIVE_MAX || chunk->live % 64 != 0) return;
    if (!is_last && place->chunk + 2 < pending->chunk_count) join(pending, place->chunk);
    if (place->chunk > 0 && place->chunk + 1 < pending->chunk_count) join(pending, place->chunk - 1);
}

// ---- The whole --------------------------------------------------------------------------------------------

size_t dbk_pending_bytes(const dbk_pending *pending) {
    size_t chunk = sizeof(dbk_pending_chunk);
    if (pending->has_aggregates) chunk += DBK_PENDING_CHUNK_ENTRIES * sizeof(uint64_t);
    return pending->chunk_capacity * sizeof *pending->chunks + pending->chunk_count * chunk;
}

bool dbk_pending_is_sound(const dbk_pending *pending) {
    uint64_t last = 0;
    size_t count = 0;
    for (size_t i = 0; i < pending->chunk_count; i++) {
        const dbk_pending_chunk *chunk = pending->chunks[i];
        uint32_t live = 0;
        if (chunk->live == 0 && i + 1 < pending->chunk_count) return false;
        for (uint32_t j = 0; chunk->live > 0 && j < chunk->count; j++) {
            uint64_t seq = chunk->seq_base + chunk->entries[j].seq_offset;
            if (seq <= last) return false;
            last = seq;
            live += (chunk->entries[j].flags & DBK_PENDING_SETTLED) == 0;
        }
        if (live != chunk->live) return false;
        count += live;
    }
    return count == pending->count;
}
