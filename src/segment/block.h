// SPDX-License-Identifier: Apache-2.0
// Blocks of events: some 2 KiB of bodies with their heads, compressed together. Codec only; the format stands
// at the head of block.c.
#ifndef DBK_SEGMENT_BLOCK_H
#define DBK_SEGMENT_BLOCK_H

#include "index/cache.h"
#include "record/event.h"
#include "segment/pack.h"
#include "segment/segment.h"

enum {
    DBK_BLOCK_TARGET = 2304, // bytes of bodies
    DBK_BLOCK_EVENTS_MAX = 1024,
    DBK_BLOCK_HEAD_SIZE_MAX = 1 + 11 * 10,
    DBK_BLOCK_COLUMNS_SIZE_MAX = DBK_BLOCK_EVENTS_MAX * 60,
    DBK_BLOCK_RAW_SIZE_MAX = DBK_EVENT_BODY_SIZE_MAX + DBK_BLOCK_TARGET + DBK_BLOCK_COLUMNS_SIZE_MAX,
    DBK_BLOCK_FILE_SIZE_MAX = DBK_BLOCK_HEAD_SIZE_MAX + DBK_BLOCK_RAW_SIZE_MAX + 8,
    DBK_DICTIONARIES_MAX = 65535,
};

/// What precedes the stored bytes.
typedef struct dbk_block_head {
    bool is_compressed;
    uint32_t dictionary; // number from 1; 0: none
    uint32_t event_count;
    uint32_t bodies_size;
    uint32_t columns_size;
    uint32_t stored_size;
    uint64_t position_first, position_last;
    int64_t recorded_first_ns, recorded_last_ns;
    int64_t time_min_ns, time_max_ns;
} dbk_block_head;

void dbk_block_head_encode(const dbk_block_head *head, dbk_buf *buf);
/// The stored bytes are what is left of `payload`. False where malformed.
bool dbk_block_head_decode(dbk_slice payload, dbk_block_head *head_out, dbk_slice *stored_out);
/// The same without knowing where the block ends; `*head_size_out` bytes precede the stored ones.
bool dbk_block_head_peek(dbk_slice bytes, dbk_block_head *head_out, size_t *head_size_out);

// ---- Building ---------------------------------------------------------------------------------------------

typedef struct dbk_block_builder dbk_block_builder;

daybook_status dbk_block_builder_new(const daybook_allocator *allocator, dbk_block_builder **builder_out);
void dbk_block_builder_free(dbk_block_builder *builder);
uint32_t dbk_block_builder_count(const dbk_block_builder *builder);
/// Whether an event with a body of this size should begin a new block.
bool dbk_block_builder_is_full(const dbk_block_builder *builder, size_t body_size);
daybook_status dbk_block_builder_add(dbk_block_builder *builder, const dbk_event *event);
/// The block with a head, as a chunk's payload borrowed until the next call; the builder is empty again.
/// `encoder` NULL: without dictionary.
daybook_status dbk_block_builder_finish(dbk_block_builder *builder, const dbk_dictionary_encoder *encoder,
                                        uint32_t dictionary, dbk_block_head *head_out,
                                        dbk_slice *payload_out);

// ---- Reading ----------------------------------------------------------------------------------------------

/// An event's assigned fields, decoded.
typedef struct dbk_block_row {
    uint64_t position;
    uint64_t seq;
    uint64_t version;
    int64_t recorded_ns;
    uint32_t stream_id;
} dbk_block_row;

/// A block in memory, one piece: this, rows, offsets, bodies, columns.
typedef struct dbk_block_memory {
    dbk_block_head head;
    dbk_block_row *rows;
    uint32_t *offsets; // event_count + 1
    uint8_t *bodies;
} dbk_block_memory;

/// Bytes of memory for such a block.
size_t dbk_block_memory_size(const dbk_block_head *head);
/// Decompress and check; fills `memory` (dbk_block_memory_size bytes, aligned to 8). `decoder` is NULL for
/// blocks without dictionary, `scratch` as for dbk_unpack. False where the bytes are malformed.
bool dbk_block_decode(const dbk_block_head *head, dbk_slice stored, const void *decoder, void *scratch,
                      void *memory);
/// Number `index` of a decoded block. EDAMAGED where its body is malformed.
daybook_status dbk_block_memory_event(const dbk_block_memory *block, uint32_t index, dbk_event *event_out);

#endif
