// SPDX-License-Identifier: Apache-2.0
// Open addressing with linear probing, eight bytes a slot, at most three quarters full.
//
// Place and fingerprint both come from the upper half of the hash, which the slot keeps, so growing needs no
// keys. With c slots a foreign value is met with probability 2^-(32 - log2 c) a probe; callers compare keys
// anyway.
//
// Invariants: a free slot ends every probe sequence; values are never removed one by one. Failure mode: out
// of memory while growing, which leaves the map as it was. Not thread-safe.
#include "base/hash_map.h"

#include <string.h>

#include "base/assert.h"

enum { CAPACITY_MIN = 16 };

typedef struct dbk_hash_slot slot;

void dbk_hash_map_init(dbk_hash_map *map, const daybook_allocator *allocator) {
    *map = (dbk_hash_map){.allocator = allocator};
}

void dbk_hash_map_deinit(dbk_hash_map *map) {
    if (map == NULL || map->allocator == NULL) return;
    dbk_free(map->allocator, map->slots);
    *map = (dbk_hash_map){.allocator = map->allocator};
}

// All bits set is a free slot: DBK_HASH_MAP_EMPTY in `value`.
static void clear(slot *slots, size_t capacity) {
    memset(slots, 0xff, capacity * sizeof *slots);
}

void dbk_hash_map_reset(dbk_hash_map *map) {
    if (map->slots != NULL) clear(map->slots, map->capacity);
    map->count = 0;
}

size_t dbk_hash_map_bytes(const dbk_hash_map *map) {
    return map->capacity * sizeof *map->slots;
}

static void put(slot *slots, size_t capacity, slot entry) {
    size_t at = entry.hash_high & (capacity - 1);
    while (slots[at].value != DBK_HASH_MAP_EMPTY) at = (at + 1) & (capacity - 1);
    slots[at] = entry;
}

static bool holds(size_t capacity, size_t count) {
    return count <= capacity / 4 * 3;
}

bool dbk_hash_map_has_room(const dbk_hash_map *map, size_t count) {
    return map->capacity != 0 && holds(map->capacity, map->count + count);
}

daybook_status dbk_hash_map_reserve(dbk_hash_map *map, size_t count) {
    if (count > SIZE_MAX / sizeof(slot) / 4 - map->count) return DAYBOOK_ENOMEM;
    if (dbk_hash_map_has_room(map, count)) return DAYBOOK_OK;
    size_t needed = map->count + count;
    size_t capacity = map->capacity == 0 ? CAPACITY_MIN : map->capacity;
    while (!holds(capacity, needed)) capacity *= 2;

    slot *slots = dbk_resize_array(map->allocator, NULL, capacity, sizeof *slots);
    if (slots == NULL) return DAYBOOK_ENOMEM;
    clear(slots, capacity);
    for (size_t i = 0; i < map->capacity; i++) {
        if (map->slots[i].value != DBK_HASH_MAP_EMPTY) put(slots, capacity, map->slots[i]);
    }
    dbk_free(map->allocator, map->slots);
    map->slots = slots;
    map->capacity = capacity;
    return DAYBOOK_OK;
}

daybook_status dbk_hash_map_insert(dbk_hash_map *map, uint64_t hash, uint32_t value) {
    DBK_ASSERT(value != DBK_HASH_MAP_EMPTY);
    daybook_status status = dbk_hash_map_reserve(map, 1);
    if (status != DAYBOOK_OK) return status;
    put(map->slots, map->capacity, (slot){.hash_high = (uint32_t)(hash >> 32), .value = value});
    map->count++;
    return DAYBOOK_OK;
}

uint32_t dbk_hash_map_find(const dbk_hash_map *map, uint64_t hash, size_t *step) {
    uint32_t hash_high = (uint32_t)(hash >> 32);
    for (size_t i = *step; i < map->capacity; i++) {
        const slot *at = &map->slots[(hash_high + i) & (map->capacity - 1)];
        if (at->value == DBK_HASH_MAP_EMPTY) break;
        if (at->hash_high != hash_high) continue;
        *step = i + 1;
        return at->value;
    }
    return DBK_HASH_MAP_EMPTY;
}
