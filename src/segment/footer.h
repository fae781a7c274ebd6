// SPDX-License-Identifier: Apache-2.0
// Head, footer and tail of a segment file: encoding and decoding. The format stands at the head of writer.c.
#ifndef DBK_SEGMENT_FOOTER_H
#define DBK_SEGMENT_FOOTER_H

#include "segment/block.h"
#include "segment/segment.h"
#include "segment/tree.h"

enum {
    DBK_SEGMENT_FORMAT = 1,
    DBK_SEGMENT_HEAD_SIZE = 80,
    DBK_SEGMENT_TAIL_SIZE = 64,
    DBK_BLOCK_PAGE_COUNT = 128, // blocks a page of the block index describes
    DBK_BLOCK_PAGE_SIZE_MAX = DBK_BLOCK_PAGE_COUNT * 90,
};

typedef struct dbk_segment_head {
    uint32_t format;
    dbk_uuid store_uuid;
    uint64_t incarnation;
    uint64_t segment_id;
    uint64_t position_first, position_last;
} dbk_segment_head;

typedef struct dbk_segment_tail {
    uint32_t format;
    uint64_t seed;
    uint64_t footer_offset, footer_copy_offset;
    uint64_t footer_size; // payload of each copy
    uint64_t file_size;
} dbk_segment_tail;

void dbk_segment_head_encode(const dbk_segment_head *head, uint8_t bytes_out[DBK_SEGMENT_HEAD_SIZE]);
/// EDAMAGED, or EFORMAT where a sound head names another format.
daybook_status dbk_segment_head_decode(const uint8_t bytes[DBK_SEGMENT_HEAD_SIZE],
                                       dbk_segment_head *head_out);
void dbk_segment_tail_encode(const dbk_segment_tail *tail, uint64_t offset,
                             uint8_t bytes_out[DBK_SEGMENT_TAIL_SIZE]);
daybook_status dbk_segment_tail_decode(const uint8_t bytes[DBK_SEGMENT_TAIL_SIZE], uint64_t offset,
                                       dbk_segment_tail *tail_out);

/// A page of the block index, as the footer names it.
typedef struct dbk_block_page {
    uint64_t offset;             // of the page's chunk
    uint64_t first_block_offset; // of the first block it describes
    uint64_t position_last;      // of the last block in it
    int64_t recorded_last_ns;    // greatest in it
    uint32_t size;
} dbk_block_page;

typedef struct dbk_dictionary_place {
    uint64_t offset, copy_offset;
    uint32_t size;
} dbk_dictionary_place;

/// The footer in memory. Arrays are owned (dbk_footer_deinit).
typedef struct dbk_footer {
    const daybook_allocator *allocator;
    dbk_uuid store_uuid;
    uint64_t incarnation;
    dbk_segment_summary summary; // file_bytes is not part of the footer
    uint64_t blocks_begin;       // file offset of the first block
    uint32_t block_count;
    uint32_t block_page_count;
    dbk_block_page *block_pages;
    uint32_t dictionary_count;
    dbk_dictionary_place *dictionaries;
    dbk_tree_root root;
    uint32_t filter_part_count;
    dbk_filter_part *filter_parts;
    uint8_t *separators;
    uint32_t separators_size;
    uint64_t catalogue_offset;
    uint64_t catalogue_size;
    dbk_segment_stream *streams; // summary.stream_count
} dbk_footer;

void dbk_footer_encode(const dbk_footer *footer, dbk_buf *buf);
/// EDAMAGED where malformed, ENOMEM. Memory taken is bounded by the size of `payload`.
daybook_status dbk_footer_decode(const daybook_allocator *allocator, dbk_slice payload,
                                 dbk_footer *footer_out);
void dbk_footer_deinit(dbk_footer *footer);

/// Pages of the block index.
void dbk_block_page_encode(const dbk_block_info *blocks, size_t count, const dbk_block_page *page,
                           dbk_buf *buf);
/// `count` blocks, numbered from `first_number`; false where malformed.
bool dbk_block_page_decode(dbk_slice payload, const dbk_block_page *page, uint32_t first_number, size_t count,
                           dbk_block_info *blocks_out);

#endif
