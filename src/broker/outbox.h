// SPDX-License-Identifier: Apache-2.0
// What waits to be sent on a connection: a list of pieces, each either bytes of its own or a part of a
// counted block. Small things are copied behind one another, large payloads are referred to; a gathering
// write takes many pieces at once. Knows of no socket. One thread.
#ifndef DBK_BROKER_OUTBOX_H
#define DBK_BROKER_OUTBOX_H

#include "broker/message.h"

enum {
    DBK_OUTBOX_COPY_MAX = 4096, // payloads up to this size are copied
    DBK_OUTBOX_SPANS_MAX = 128, // of one gathering write
};

/// Memory of pieces, shared by all outboxes of a loop and kept for reuse up to a bound.
typedef struct dbk_outbox_pool {
    const daybook_allocator *allocator;
    struct dbk_out_piece *free[4]; // by size
    size_t kept_size;
} dbk_outbox_pool;

typedef struct dbk_outbox {
    dbk_outbox_pool *pool;
    struct dbk_out_piece *first, *last;
    uint8_t *room;    // where the next bytes go, in the last piece
    size_t room_left; // 0 where there is no piece to write into
    size_t size;      // bytes that wait
} dbk_outbox;

/// Bytes to write; the shape of uv_buf_t.
typedef struct dbk_span {
    uint8_t *data;
    size_t size;
} dbk_span;

void dbk_outbox_pool_init(dbk_outbox_pool *pool, const daybook_allocator *allocator);
void dbk_outbox_pool_deinit(dbk_outbox_pool *pool);

void dbk_outbox_init(dbk_outbox *outbox, dbk_outbox_pool *pool);
/// Forgets everything; the outbox is as after init.
void dbk_outbox_reset(dbk_outbox *outbox);

/// `size` contiguous bytes at the end, to be filled and then counted by dbk_outbox_commit. NULL: memory is
/// out; what waits already is whole.
uint8_t *dbk_outbox_reserve_slow(dbk_outbox *outbox, size_t size);
static inline uint8_t *dbk_outbox_reserve(dbk_outbox *outbox, size_t size) {
    return size <= outbox->room_left ? outbox->room : dbk_outbox_reserve_slow(outbox, size);
}
/// Counts `size` bytes of those reserved last.
static inline void dbk_outbox_commit(dbk_outbox *outbox, size_t size) {
    outbox->room += size;
    outbox->room_left -= size;
    outbox->size += size;
}
/// Copies. ENOMEM: nothing was added.
daybook_status dbk_outbox_append(dbk_outbox *outbox, const void *data, size_t size);
/// Refers to bytes inside `block`, which gets a reference. ENOMEM: nothing was added.
daybook_status dbk_outbox_append_block(dbk_outbox *outbox, dbk_block *block, const void *data, size_t size);

/// The first bytes, at most `count_max` spans and, once there is one, `size_max` bytes. Valid until consumed;
/// appending leaves them where they are.
size_t dbk_outbox_gather(const dbk_outbox *outbox, dbk_span *spans, size_t count_max, size_t size_max);
/// The first `size` bytes are done with.
void dbk_outbox_consume(dbk_outbox *outbox, size_t size);

#endif
