// SPDX-License-Identifier: Apache-2.0
// The list of pieces that wait to be sent.
//
// A piece holds bytes behind itself, or refers to a block. Bytes are appended to the last piece as long as it
// has room; `room` and `room_left` of the outbox are that room, so that the common append is a comparison and
// a copy. A piece that refers has no room, so what comes behind it begins a new one.
//
// Sizes: a piece that begins an outbox is small, as most answers are; each further one is of the next size,
// so that a gathering write moves much with few spans. Behind a reference it begins tiny again: between two
// large payloads there is a line only. Pieces of these sizes are kept for reuse, `kept_max` bytes in all. A
// larger need gets a piece of its own size, which is not kept.
//
// Invariants: size is the sum of what the pieces hold; only the last piece has room; no piece but the first
// is partly consumed.
#include "broker/outbox.h"

#include <string.h>

#include "base/assert.h"

enum { REFERENCE, TINY, SMALL, LARGE, SIZES };
static const size_t capacities[SIZES] = {0, 256, 2 * 1024, 32 * 1024};
static const size_t kept_max = 8 << 20;

typedef struct dbk_out_piece dbk_out_piece;
struct dbk_out_piece {
    dbk_out_piece *next;
    dbk_block *block; // what `at` lies in; NULL: in `data`
    uint8_t *at;      // the first byte not sent yet
    size_t size;      // bytes from there; of the last piece: as of when room was given up, see used_size
    size_t capacity;  // of data
    int kind;         // which of the usual sizes; SIZES: none of them
    uint8_t data[];
};

/// The room of all pieces that are kept counts their heads too, so that small ones are bounded as well.
static size_t memory_of(const dbk_out_piece *piece) {
    return sizeof *piece + piece->capacity;
}

void dbk_outbox_pool_init(dbk_outbox_pool *pool, const daybook_allocator *allocator) {
    *pool = (dbk_outbox_pool){.allocator = allocator};
}

static void free_list(const daybook_allocator *allocator, dbk_out_piece *piece) {
    while (piece != NULL) {
        dbk_out_piece *next = piece->next;
        dbk_free(allocator, piece);
        piece = next;
    }
}

void dbk_outbox_pool_deinit(dbk_outbox_pool *pool) {
    for (int kind = 0; kind < SIZES; kind++) free_list(pool->allocator, pool->free[kind]);
    dbk_outbox_pool_init(pool, pool->allocator);
}

/// The smallest usual size with room for `size` bytes, `kind` at least; SIZES: none has.
static int kind_for(size_t size, int kind) {
    while (kind < SIZES && capacities[kind] < size) kind++;
    return kind;
}

/// A piece of one of the usual sizes, or with room for `size` bytes.
static dbk_out_piece *take_piece(dbk_outbox_pool *pool, int kind, size_t size) {
    dbk_out_piece *piece = kind < SIZES ? pool->free[kind] : NULL;
    if (piece != NULL) {
        pool->free[kind] = piece->next;
        pool->kept_size -= memory_of(piece);
    } else {
        size_t capacity = kind < SIZES ? capacities[kind] : size;
        piece = dbk_alloc(pool->allocator, sizeof *piece + capacity);
        if (piece == NULL) return NULL;
        piece->capacity = capacity;
        piece->kind = kind;
    }
    piece->next = NULL;
    piece->block = NULL;
    piece->at = piece->data;
    piece->size = 0;
    return piece;
}

static void give_piece(dbk_outbox_pool *pool, dbk_out_piece *piece) {
    dbk_block_unref(piece->block);
    if (piece->kind == SIZES || pool->kept_size + memory_of(piece) > kept_max) {
        dbk_free(pool->allocator, piece);
        return;
    }
    piece->next = pool->free[piece->kind];
    pool->free[piece->kind] = piece;
    pool->kept_size += memory_of(piece);
}

void dbk_outbox_init(dbk_outbox *outbox, dbk_outbox_pool *pool) {
    *outbox = (dbk_outbox){.pool = pool};
}

void dbk_outbox_reset(dbk_outbox *outbox) {
    dbk_out_piece *piece = outbox->first;
    while (piece != NULL) {
        dbk_out_piece *next = piece->next;
        give_piece(outbox->pool, piece);
        piece = next;
    }
    dbk_outbox_init(outbox, outbox->pool);
}

/// Bytes of a piece that are to be sent; the last one's grow without it being told.
static size_t used_size(const dbk_outbox *outbox, const dbk_out_piece *piece) {
    return piece == outbox->last && outbox->room != NULL ? (size_t)(outbox->room - piece->at) : piece->size;
}

/// What can be seen at the ends.
static bool is_consistent(const dbk_outbox *outbox) {
    const dbk_out_piece *last = outbox->last;
    if (last == NULL) return outbox->first == NULL && outbox->size == 0 && outbox->room == NULL;
    if (outbox->first == NULL || last->next != NULL) return false;
    if (outbox->room == NULL) return outbox->room_left == 0;
    return last->block == NULL && outbox->room + outbox->room_left == last->data + last->capacity;
}

/// The last piece has no room any more.
static void end_room(dbk_outbox *outbox) {
    if (outbox->room == NULL) return;
    outbox->last->size = used_size(outbox, outbox->last);
    outbox->room = NULL;
    outbox->room_left = 0;
}

static void append_piece(dbk_outbox *outbox, dbk_out_piece *piece) {
    end_room(outbox);
    if (outbox->last == NULL) {
        outbox->first = piece;
    } else {
        outbox->last->next = piece;
    }
    outbox->last = piece;
}

uint8_t *dbk_outbox_reserve_slow(dbk_outbox *outbox, size_t size) {
    if (size <= outbox->room_left) return outbox->room; // none wanted, and none there
    int kind = outbox->last == NULL ? SMALL : outbox->last->kind + 1;
    dbk_out_piece *piece = take_piece(outbox->pool, kind_for(size, kind < LARGE ? kind : LARGE), size);
    if (piece == NULL) return NULL;
    append_piece(outbox, piece);
    outbox->room = piece->data;
    outbox->room_left = piece->capacity;
    DBK_ASSERT_SLOW(is_consistent(outbox));
    return outbox->room;
}

daybook_status dbk_outbox_append(dbk_outbox *outbox, const void *data, size_t size) {
    if (size == 0) return DAYBOOK_OK;
    uint8_t *room = dbk_outbox_reserve(outbox, size);
    if (room == NULL) return DAYBOOK_ENOMEM;
    memcpy(room, data, size);
    dbk_outbox_commit(outbox, size);
    return DAYBOOK_OK;
}

daybook_status dbk_outbox_append_block(dbk_outbox *outbox, dbk_block *block, const void *data, size_t size) {
    if (size == 0) return DAYBOOK_OK;
    DBK_ASSERT((const uint8_t *)data >= block->data &&
               (size_t)((const uint8_t *)data - block->data) + size <= block->capacity);
    dbk_out_piece *piece = take_piece(outbox->pool, REFERENCE, 0);
    if (piece == NULL) return DAYBOOK_ENOMEM;
    piece->block = dbk_block_ref(block);
    piece->at = block->data + ((const uint8_t *)data - block->data);
    piece->size = size;
    append_piece(outbox, piece);
    outbox->size += size;
    DBK_ASSERT_SLOW(is_consistent(outbox));
    return DAYBOOK_OK;
}

size_t dbk_outbox_gather(const dbk_outbox *outbox, dbk_span *spans, size_t count_max, size_t size_max) {
    size_t count = 0, total = 0;
    for (dbk_out_piece *piece = outbox->first; piece != NULL && count < count_max; piece = piece->next) {
        size_t size = used_size(outbox, piece);
        if (size == 0) continue;
        if (count > 0 && size > size_max - total) break;
        spans[count++] = (dbk_span){.data = piece->at, .size = size};
        total = total + size < size_max ? total + size : size_max;
    }
    return count;
}

void dbk_outbox_consume(dbk_outbox *outbox, size_t size) {
    DBK_ASSERT(size <= outbox->size);
    outbox->size -= size;
    while (outbox->first != NULL) {
        dbk_out_piece *piece = outbox->first;
        size_t used = used_size(outbox, piece);
        if (size < used) {
            piece->at += size;
            if (piece->block != NULL || piece != outbox->last) piece->size -= size;
            break;
        }
        size -= used;
        outbox->first = piece->next;
        if (piece == outbox->last) {
            outbox->last = NULL;
            outbox->room = NULL;
            outbox->room_left = 0;
        }
        give_piece(outbox->pool, piece);
    }
    DBK_ASSERT_SLOW(is_consistent(outbox));
}
