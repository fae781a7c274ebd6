// SPDX-License-Identifier: Apache-2.0
// The default allocator, allocation helpers and growable buffers.
//
// A buffer doubles until its maximum. Invariants: size <= capacity <= size_max; after a failure the content
// is what it was before the append that failed. Failure modes: out of memory and size_max, both `failed`. The
// allocator may be called from any thread; one buffer belongs to one thread at a time.
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

enum { BUF_CAPACITY_MIN = 64 };

static void *default_resize(void *context, void *data, size_t size) {
    (void)context;
    return realloc(data, size);
}

static void default_release(void *context, void *data) {
    (void)context;
    free(data);
}

const daybook_allocator *dbk_allocator_default(void) {
    static const daybook_allocator allocator = {NULL, default_resize, default_release};
    return &allocator;
}

void *dbk_alloc(const daybook_allocator *allocator, size_t size) {
    return allocator->resize(allocator->context, NULL, size == 0 ? 1 : size);
}

void *dbk_alloc_zeroed(const daybook_allocator *allocator, size_t size) {
    void *data = dbk_alloc(allocator, size);
    if (data != NULL) memset(data, 0, size);
    return data;
}

void *dbk_resize_array(const daybook_allocator *allocator, void *data, size_t count, size_t size) {
    if (size != 0 && count > SIZE_MAX / size) return NULL;
    size_t total = count * size;
    return allocator->resize(allocator->context, data, total == 0 ? 1 : total);
}

void *dbk_grow_array(const daybook_allocator *allocator, void *data, size_t *capacity, size_t needed,
                     size_t size) {
    enum { CAPACITY_FIRST = 16 };
    if (needed <= *capacity) return data;
    size_t grown = *capacity == 0 ? CAPACITY_FIRST : *capacity * 2;
    if (grown < needed) grown = needed;
    void *moved = dbk_resize_array(allocator, data, grown, size);
    if (moved != NULL) *capacity = grown;
    return moved;
}

void dbk_free(const daybook_allocator *allocator, void *data) {
    if (data != NULL) allocator->release(allocator->context, data);
}

char *dbk_copy_text(const daybook_allocator *allocator, dbk_slice text) {
    if (text.size == SIZE_MAX) return NULL;
    char *copy = dbk_alloc(allocator, text.size + 1);
    if (copy == NULL) return NULL;
    if (text.size > 0) memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    return copy;
}

void dbk_buf_init(dbk_buf *buf, const daybook_allocator *allocator, size_t size_max) {
    *buf = (dbk_buf){.allocator = allocator, .size_max = size_max};
}

void dbk_buf_deinit(dbk_buf *buf) {
    if (buf == NULL || buf->allocator == NULL) return;
    dbk_free(buf->allocator, buf->data);
    *buf = (dbk_buf){.allocator = buf->allocator, .size_max = buf->size_max};
}

void dbk_buf_reset(dbk_buf *buf) {
    buf->size = 0;
    buf->failed = false;
}

static bool grow(dbk_buf *buf, size_t needed) {
    size_t capacity = buf->capacity < BUF_CAPACITY_MIN ? BUF_CAPACITY_MIN : buf->capacity;
    while (capacity < needed) capacity = capacity > SIZE_MAX / 2 ? SIZE_MAX : capacity * 2;
    if (capacity > buf->size_max) capacity = buf->size_max; // needed <= size_max was checked
    uint8_t *data = dbk_resize_array(buf->allocator, buf->data, capacity, 1);
    if (data == NULL) return false;
    buf->data = data;
    buf->capacity = capacity;
    return true;
}

uint8_t *dbk_buf_reserve(dbk_buf *buf, size_t size) {
    if (buf->failed) return NULL;
    bool fits = size <= buf->size_max - buf->size;
    if (!fits || ((buf->data == NULL || size > buf->capacity - buf->size) && !grow(buf, buf->size + size))) {
        buf->failed = true;
        return NULL;
    }
    return buf->data + buf->size;
}

void dbk_buf_append(dbk_buf *buf, const void *data, size_t size) {
    // No room to make is the common case and worth no call.
    bool has_room = !buf->failed && size < buf->capacity - buf->size;
    uint8_t *to = has_room ? buf->data + buf->size : dbk_buf_reserve(buf, size);
    if (to == NULL || size == 0) return;
    memcpy(to, data, size);
    buf->size += size;
}

void dbk_buf_append_slice(dbk_buf *buf, dbk_slice slice) {
    dbk_buf_append(buf, slice.data, slice.size);
}

void dbk_buf_append_u8(dbk_buf *buf, uint8_t value) {
    dbk_buf_append(buf, &value, sizeof value);
}

void dbk_buf_append_u16(dbk_buf *buf, uint16_t value) {
    dbk_buf_append(buf, &value, sizeof value);
}

void dbk_buf_append_u32(dbk_buf *buf, uint32_t value) {
    dbk_buf_append(buf, &value, sizeof value);
}

void dbk_buf_append_u64(dbk_buf *buf, uint64_t value) {
    dbk_buf_append(buf, &value, sizeof value);
}

void dbk_buf_append_varint(dbk_buf *buf, uint64_t value) {
    uint8_t bytes[DBK_VARINT_SIZE_MAX];
    dbk_buf_append(buf, bytes, dbk_put_varint(bytes, value));
}

void dbk_buf_append_text(dbk_buf *buf, dbk_slice text) {
    dbk_buf_append_varint(buf, text.size);
    dbk_buf_append_slice(buf, text);
}

daybook_status dbk_buf_status(const dbk_buf *buf) {
    return buf->failed ? DAYBOOK_ENOMEM : DAYBOOK_OK;
}
