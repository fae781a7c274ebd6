// SPDX-License-Identifier: Apache-2.0
// A growing open-addressing map from 64-bit hashes to 32-bit values, duplicates of a hash allowed: the
// caller keeps the keys and compares them. Not thread-safe.
#ifndef DBK_BASE_HASH_MAP_H
#define DBK_BASE_HASH_MAP_H

#include "base/memory.h"

typedef struct dbk_hash_map {
    const daybook_allocator *allocator;
    struct dbk_hash_slot {
        uint32_t hash_high; // upper half of the hash
        uint32_t value;     // DBK_HASH_MAP_EMPTY in a free slot
    } * slots;
    size_t capacity; // power of two, 0 before the first insert
    size_t count;
} dbk_hash_map;

#define DBK_HASH_MAP_EMPTY UINT32_MAX

void dbk_hash_map_init(dbk_hash_map *map, const daybook_allocator *allocator);
void dbk_hash_map_deinit(dbk_hash_map *map);
/// Forget all values; the room stays.
void dbk_hash_map_reset(dbk_hash_map *map);
size_t dbk_hash_map_bytes(const dbk_hash_map *map);
/// Make room for `count` further inserts, which then cannot fail.
daybook_status dbk_hash_map_reserve(dbk_hash_map *map, size_t count);
/// Is there room for them already? Changed by nobody but who inserts.
bool dbk_hash_map_has_room(const dbk_hash_map *map, size_t count);
/// Add a value; it must be below DBK_HASH_MAP_EMPTY. ENOMEM.
daybook_status dbk_hash_map_insert(dbk_hash_map *map, uint64_t hash, uint32_t value);
/// The first value with this hash at or after probe step *step (begin with 0; advanced past the hit);
/// DBK_HASH_MAP_EMPTY when there is none.
uint32_t dbk_hash_map_find(const dbk_hash_map *map, uint64_t hash, size_t *step);

#endif
