// SPDX-License-Identifier: Apache-2.0
// Building the dictionary of a segment from sorted terms: leaves, higher pages, posting pages and filters go
// to the file as they fill, so that memory does not grow with the number of terms.
#ifndef DBK_SEGMENT_TREE_H
#define DBK_SEGMENT_TREE_H

#include "index/term_page.h"
#include "segment/file.h"

enum { DBK_TREE_LEVELS_MAX = 12, DBK_TREE_FILTER_TERMS_MIN = 1000 };

/// A directory of posting pages (form 3), a chunk: u64 offset of the first page, u32 page count, u32 bytes of
/// all pages with their checksums; then per page u32 first, u32 last, u32 offset from the first page.
enum { DBK_POSTINGS_DIRECTORY_HEAD = 16, DBK_POSTINGS_DIRECTORY_ENTRY = 12 };

/// A filter over the terms from `separator` up to the next one's.
typedef struct dbk_filter_part {
    uint64_t offset;
    uint32_t size;
    uint32_t separator_offset; // in the text of all separators
    uint32_t separator_size;
} dbk_filter_part;

/// What the footer says of the dictionary.
typedef struct dbk_tree_root {
    uint64_t offset;
    uint32_t size; // 0: no terms
    uint32_t height;
    uint64_t term_count;
} dbk_tree_root;

typedef struct dbk_tree_builder dbk_tree_builder;

daybook_status dbk_tree_builder_new(const daybook_allocator *allocator, dbk_file_writer *file,
                                    dbk_tree_builder **tree_out);
void dbk_tree_builder_free(dbk_tree_builder *tree);
/// One term after the other: begin, postings in any number of pieces, end.
void dbk_tree_begin_term(dbk_tree_builder *tree);
daybook_status dbk_tree_add_postings(dbk_tree_builder *tree, const uint32_t *numbers, size_t count,
                                     daybook_error *error);
uint64_t dbk_tree_posting_count(const dbk_tree_builder *tree);
/// The last number added.
uint32_t dbk_tree_posting_last(const dbk_tree_builder *tree);
/// `value` gives last_seq, last_version and the fields of dead ids; the rest is filled in here.
daybook_status dbk_tree_end_term(dbk_tree_builder *tree, dbk_slice term, dbk_term_value *value,
                                 daybook_error *error);
/// Write what is open. `parts` (dbk_filter_part, whole) and `separators` are appended to.
daybook_status dbk_tree_builder_finish(dbk_tree_builder *tree, dbk_tree_root *root_out, dbk_buf *parts,
                                       dbk_buf *separators, daybook_error *error);

#endif
