// SPDX-License-Identifier: Apache-2.0
// Memory: one allocator value for everything, growable buffers with a maximum, arenas.
#ifndef DBK_BASE_MEMORY_H
#define DBK_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daybook/status.h"
#include "daybook/sys/allocator.h"

typedef daybook_slice dbk_slice;

/// The struct whose member `field` lies at `pointer`.
#define DBK_OWNER(pointer, type, field) ((type *)(void *)((char *)(pointer)-offsetof(type, field)))

/// The malloc allocator. Static storage.
const daybook_allocator *dbk_allocator_default(void);

/// NULL when memory is out. `size` may be 0 (gives a non-NULL pointer).
void *dbk_alloc(const daybook_allocator *allocator, size_t size);
void *dbk_alloc_zeroed(const daybook_allocator *allocator, size_t size);
/// NULL when memory is out or count * size overflows; `data` then stays as it was.
void *dbk_resize_array(const daybook_allocator *allocator, void *data, size_t count, size_t size);
/// Room for `needed` elements of `size` bytes: `data` where it has room for *capacity of them or where it is
/// moved to, twice as large at least. NULL when memory is out; `data` and *capacity then stay as they were.
void *dbk_grow_array(const daybook_allocator *allocator, void *data, size_t *capacity, size_t needed,
                     size_t size);
void dbk_free(const daybook_allocator *allocator, void *data);
/// NUL-terminated copy of `text`, NULL when memory is out.
char *dbk_copy_text(const daybook_allocator *allocator, dbk_slice text);

/// Growable bytes, owned. Once an append failed, `failed` stays set and later appends do nothing, so
/// that a sequence of appends needs one check at its end.
typedef struct dbk_buf {
    const daybook_allocator *allocator;
    uint8_t *data;
    size_t size;
    size_t capacity;
    size_t size_max;
    bool failed;
} dbk_buf;

void dbk_buf_init(dbk_buf *buf, const daybook_allocator *allocator, size_t size_max);
void dbk_buf_deinit(dbk_buf *buf);
/// Forget the content, keep the memory, clear `failed`.
void dbk_buf_reset(dbk_buf *buf);
/// Room for `size` more bytes, contiguous, not yet counted in buf->size; NULL on failure.
uint8_t *dbk_buf_reserve(dbk_buf *buf, size_t size);
void dbk_buf_append(dbk_buf *buf, const void *data, size_t size);
void dbk_buf_append_slice(dbk_buf *buf, dbk_slice slice);
void dbk_buf_append_u8(dbk_buf *buf, uint8_t value);
void dbk_buf_append_u16(dbk_buf *buf, uint16_t value);
void dbk_buf_append_u32(dbk_buf *buf, uint32_t value);
void dbk_buf_append_u64(dbk_buf *buf, uint64_t value);
void dbk_buf_append_varint(dbk_buf *buf, uint64_t value);
/// varint length, then the bytes.
void dbk_buf_append_text(dbk_buf *buf, dbk_slice text);
/// DAYBOOK_OK, or ENOMEM (also where size_max was hit).
daybook_status dbk_buf_status(const dbk_buf *buf);

/// Bump allocation in chunks; freed as a whole. Not thread-safe.
typedef struct dbk_arena dbk_arena;
daybook_status dbk_arena_new(const daybook_allocator *allocator, size_t chunk_size, dbk_arena **arena_out);
void dbk_arena_free(dbk_arena *arena);
/// 8-byte aligned; NULL when memory is out. Addresses stay valid until reset or free.
void *dbk_arena_alloc(dbk_arena *arena, size_t size);
/// A copy with a NUL behind it, which is not counted; its data is NULL when memory is out.
dbk_slice dbk_arena_copy_text(dbk_arena *arena, dbk_slice text);
/// Forget everything, keep one chunk.
void dbk_arena_reset(dbk_arena *arena);
/// Bytes taken from the allocator.
size_t dbk_arena_bytes(const dbk_arena *arena);

#endif
