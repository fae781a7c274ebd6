// SPDX-License-Identifier: Apache-2.0
// Counted memory of payloads. See message.h.
#include "server/message.h"

static const size_t capacity_max = (size_t)1 << 30;

dbk_block *dbk_block_new(const daybook_allocator *allocator, size_t capacity) {
    if (capacity > capacity_max) return NULL;
    dbk_block *block = dbk_alloc(allocator, sizeof *block + capacity);
    if (block == NULL) return NULL;
    block->allocator = allocator;
    block->reference_count = 1;
    block->capacity = (uint32_t)capacity;
    return block;
}

void dbk_block_unref(dbk_block *block) {
    if (block != NULL && --block->reference_count == 0) dbk_free(block->allocator, block);
}
