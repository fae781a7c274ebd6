// SPDX-License-Identifier: Apache-2.0
// Posting lists: ascending u32 numbers as bytes. Pure: numbers in, pages out through a function, and back.
//
// A list is cut into pages of about 4 KiB that can be read alone; a page is a sequence of groups:
//
//   varint  first        of the first group; in later ones the distance from the group before's first
//   varint  count << 1 | is_run
//   [varint size, then count - 1 varints: distance to the number before, less one]   not for runs
//
// A run stands for count numbers in a row. Other groups hold at most 128. A page has at most 64 groups, so
// that its group heads fit a small table, which makes seeking cheap in both directions: page by the directory
// (kept by the segment), group by the table, number inside one decoded group.
//
// The inline form, for small lists inside a dictionary page: the numbers after the first as in a group.
#ifndef DBK_INDEX_POSTINGS_H
#define DBK_INDEX_POSTINGS_H

#include "base/bytes.h"
#include "base/error.h"

enum {
    DBK_POSTINGS_GROUP_MAX = 128,
    DBK_POSTINGS_PAGE_GROUPS_MAX = 64,
    DBK_POSTINGS_PAGE_TARGET = 4096,
    DBK_POSTINGS_PAGE_SIZE_MAX = DBK_POSTINGS_PAGE_TARGET + 1024, // a page ends with the group that fills it
    DBK_POSTINGS_INLINE_SIZE_MAX = 40,
    DBK_POSTINGS_INLINE_COUNT_MAX = DBK_POSTINGS_INLINE_SIZE_MAX +
                                    1, // the first number is not among the bytes
};

/// Takes a finished page; its bytes are valid during the call.
typedef daybook_status (*dbk_postings_emit)(void *context, dbk_slice page, uint32_t first, uint32_t last);

typedef struct dbk_postings_encoder {
    dbk_postings_emit emit;
    void *context;
    uint64_t count; // numbers added
    // The run that ends the numbers so far; empty where run_last < run_first.
    uint64_t run_first, run_last;
    uint32_t pending[DBK_POSTINGS_GROUP_MAX]; // before the run, not in a group yet
    size_t pending_count;
    uint8_t page[DBK_POSTINGS_PAGE_SIZE_MAX];
    size_t page_size;
    uint32_t page_groups;
    uint32_t page_first, page_last, group_first;
} dbk_postings_encoder;

void dbk_postings_encoder_init(dbk_postings_encoder *encoder, dbk_postings_emit emit, void *context);
/// Numbers must ascend. Fails only as `emit` does.
daybook_status dbk_postings_encoder_add(dbk_postings_encoder *encoder, uint32_t number);
/// Emits what is left.
daybook_status dbk_postings_encoder_finish(dbk_postings_encoder *encoder);

typedef struct dbk_postings_group {
    uint32_t first;
    uint32_t count;
    bool is_run;
    uint16_t offset; // of the bytes in the page
    uint16_t size;
} dbk_postings_group;

/// The group heads of a page; false where it is malformed.
bool dbk_postings_parse_page(dbk_slice page, dbk_postings_group groups_out[DBK_POSTINGS_PAGE_GROUPS_MAX],
                             size_t *count_out);
/// The numbers of a group that is no run; false where it is malformed.
bool dbk_postings_decode_group(dbk_slice page, const dbk_postings_group *group,
                               uint32_t numbers_out[DBK_POSTINGS_GROUP_MAX]);

/// Bytes of the inline form of `count` (1 to INLINE_COUNT_MAX) numbers; SIZE_MAX where it exceeds
/// INLINE_SIZE_MAX.
size_t dbk_postings_encode_inline(const uint32_t *numbers, size_t count,
                                  uint8_t bytes_out[DBK_POSTINGS_INLINE_SIZE_MAX]);
/// Reads the numbers after `first`; a malformed form sets reader->failed.
void dbk_postings_decode_inline(dbk_reader *reader, uint32_t first, size_t count,
                                uint32_t numbers_out[DBK_POSTINGS_INLINE_COUNT_MAX]);

#endif
