// SPDX-License-Identifier: Apache-2.0
// Bump allocation. Chunks form a list, newest first; only the newest is filled. A request larger than a chunk
// gets a chunk of its own, put behind the newest, so that the room left in that one is not lost.
//
// Invariants: addresses never move; everything is 8-byte aligned. Not thread-safe.
#include "base/memory.h"

#include <string.h>

#include "base/assert.h"

enum { ALIGNMENT = 8, CHUNK_SIZE_MIN = 256 };

typedef struct chunk {
    struct chunk *next;
    size_t size; // bytes behind this header
    size_t used;
    uint64_t data[];
} chunk;

struct dbk_arena {
    const daybook_allocator *allocator;
    chunk *newest;
    size_t chunk_size;
    size_t bytes;
};

static chunk *new_chunk(dbk_arena *arena, size_t size) {
    if (size > SIZE_MAX - sizeof(chunk)) return NULL;
    chunk *fresh = dbk_alloc(arena->allocator, sizeof(chunk) + size);
    if (fresh == NULL) return NULL;
    *fresh = (chunk){.size = size};
    arena->bytes += sizeof(chunk) + size;
    return fresh;
}

static void free_chunk(dbk_arena *arena, chunk *old) {
    arena->bytes -= sizeof(chunk) + old->size;
    dbk_free(arena->allocator, old);
}

daybook_status dbk_arena_new(const daybook_allocator *allocator, size_t chunk_size, dbk_arena **arena_out) {
    *arena_out = NULL;
    dbk_arena *arena = dbk_alloc_zeroed(allocator, sizeof *arena);
    if (arena == NULL) return DAYBOOK_ENOMEM;
    arena->allocator = allocator;
    arena->bytes = sizeof *arena;
    chunk_size &= ~(size_t)(ALIGNMENT - 1);
    arena->chunk_size = chunk_size < CHUNK_SIZE_MIN ? CHUNK_SIZE_MIN : chunk_size;
    *arena_out = arena;
    return DAYBOOK_OK;
}

void dbk_arena_free(dbk_arena *arena) {
    if (arena == NULL) return;
    while (arena->newest != NULL) {
        chunk *next = arena->newest->next;
        free_chunk(arena, arena->newest);
        arena->newest = next;
    }
    DBK_ASSERT(arena->bytes == sizeof *arena);
    dbk_free(arena->allocator, arena);
}

static void *take(chunk *from, size_t size) {
    void *data = (uint8_t *)from->data + from->used;
    from->used += size;
    return data;
}

void *dbk_arena_alloc(dbk_arena *arena, size_t size) {
    if (size > SIZE_MAX - ALIGNMENT) return NULL;
    size = size == 0 ? ALIGNMENT : (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    chunk *newest = arena->newest;
    if (newest != NULL && size <= newest->size - newest->used) return take(newest, size);

    bool is_large = size > arena->chunk_size;
    chunk *fresh = new_chunk(arena, is_large ? size : arena->chunk_size);
    if (fresh == NULL) return NULL;
    if (is_large && newest != NULL) {
        fresh->next = newest->next;
        newest->next = fresh;
    } else {
        fresh->next = newest;
        arena->newest = fresh;
    }
    return take(fresh, size);
}

dbk_slice dbk_arena_copy_text(dbk_arena *arena, dbk_slice text) {
    char *copy = text.size == SIZE_MAX ? NULL : dbk_arena_alloc(arena, text.size + 1);
    if (copy == NULL) return daybook_bytes(NULL, 0);
    if (text.size > 0) memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    return daybook_bytes(copy, text.size);
}

// Keeps a chunk of the ordinary size, so that one large request is not held for ever.
void dbk_arena_reset(dbk_arena *arena) {
    chunk *kept = NULL;
    chunk *next = NULL;
    for (chunk *at = arena->newest; at != NULL; at = next) {
        next = at->next;
        if (kept == NULL && at->size == arena->chunk_size) {
            kept = at;
        } else {
            free_chunk(arena, at);
        }
    }
    if (kept != NULL) {
        kept->next = NULL;
        kept->used = 0;
    }
    arena->newest = kept;
}

size_t dbk_arena_bytes(const dbk_arena *arena) {
    return arena->bytes;
}
