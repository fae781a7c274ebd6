// SPDX-License-Identifier: Apache-2.0
// Pages of the term dictionary, a static B+tree: sorted front-coded terms, each with a value. Pure.
//
//   u8 level             0: leaf
//   entries              varint shared, varint unshared, unshared bytes, value
//   u16 restart[n]       offset of every 16th entry from the page's begin; there nothing is shared
//   u16 n
//
// Value on a higher level: varint offset, varint size of the child page, which holds the terms from this
// entry's (a shortest separator) up to the next one's. Value in a leaf, D a difference from the entry before
// (from 0 at a restart), zigzag:
//
//   dead ids (DBK_TERM_DEAD_ID):  varint stream id << 1 | for_ever, [varint D removed_ns]  not where for ever
//   else: varint count << 2 | form
//     form 0   count is 0: nothing
//     form 1   small list inside: varint D first (from the last position of the entry before), then the
//              inline form
//     form 2   one page of postings elsewhere: varint D first, varint last - first, varint D offset,
//              varint size
//     form 3   a directory of pages elsewhere: the same
//              (the offset's D is from the end of the chunk of the entry before, which mostly makes it 0)
//     [varint D (last seq - last position)]  count > 0, not for ids
//     [varint last version]                  aggregates
#ifndef DBK_INDEX_TERM_PAGE_H
#define DBK_INDEX_TERM_PAGE_H

#include "index/postings.h"
#include "index/term.h"

/// Kinds of the index's own, behind those of events: ids supplied by producers (48 bits of fingerprint) and
/// ids whose events are gone (128 bits).
enum { DBK_TERM_ID = 13, DBK_TERM_DEAD_ID = 14 };

enum {
    DBK_TERM_PAGE_TARGET = 4096,
    DBK_TERM_PAGE_SIZE_MAX = 8192,
    DBK_TERM_RESTART_INTERVAL = 16,
};

typedef enum dbk_postings_form {
    DBK_POSTINGS_NONE = 0,
    DBK_POSTINGS_INLINE = 1,
    DBK_POSTINGS_PAGE = 2,
    DBK_POSTINGS_DIRECTORY = 3,
} dbk_postings_form;

/// Everything a leaf says of a term. Positions are relative to the segment.
typedef struct dbk_term_value {
    dbk_postings_form form;
    uint64_t count;
    uint32_t first, last;
    uint64_t last_seq;
    uint64_t last_version;
    uint64_t postings_offset;
    uint32_t postings_size; // without checksum
    uint8_t inline_size;
    uint8_t inline_bytes[DBK_POSTINGS_INLINE_SIZE_MAX];
    // Dead ids only.
    uint32_t dead_stream_id;
    bool dead_for_ever;
    int64_t dead_removed_ns;
} dbk_term_value;

/// What values of later entries are differences from.
typedef struct dbk_term_base {
    uint32_t last;
    uint64_t seq_lead;
    uint64_t postings_end;
    int64_t removed_ns;
} dbk_term_base;

// ---- Building ---------------------------------------------------------------------------------------------

typedef struct dbk_term_page_builder {
    uint8_t level;
    size_t size;
    size_t entry_count;
    size_t restart_count;
    dbk_term_base base;
    dbk_term last;  // of the entry added last
    dbk_term first; // of the first entry; who builds a tree may put the page's separator here
    uint16_t restarts[DBK_TERM_PAGE_SIZE_MAX / DBK_TERM_RESTART_INTERVAL];
    uint8_t bytes[DBK_TERM_PAGE_SIZE_MAX];
} dbk_term_page_builder;

void dbk_term_page_begin(dbk_term_page_builder *page, uint8_t level);
/// Terms ascend. The page must not be full (dbk_term_page_is_full).
void dbk_term_page_add_leaf(dbk_term_page_builder *page, dbk_slice term, const dbk_term_value *value);
void dbk_term_page_add_child(dbk_term_page_builder *page, dbk_slice separator, uint64_t offset,
                             uint32_t size);
/// At its target size: take the bytes, begin anew.
bool dbk_term_page_is_full(const dbk_term_page_builder *page);
/// The finished page, borrowed until the next begin.
dbk_slice dbk_term_page_finish(dbk_term_page_builder *page);
/// The shortest text that is above `before` and not above `term` (before < term): a prefix of `term`.
dbk_slice dbk_term_separator(dbk_slice before, dbk_slice term);

// ---- Reading ----------------------------------------------------------------------------------------------

typedef struct dbk_term_page {
    dbk_slice bytes; // borrowed
    uint8_t level;
    uint32_t restart_count;
    size_t entries_end;
} dbk_term_page;

/// Checks the frame; entries are checked as they are read. False where malformed.
bool dbk_term_page_open(dbk_slice bytes, dbk_term_page *page_out);

/// One entry after the other.
typedef struct dbk_term_cursor {
    const dbk_term_page *page;
    size_t next; // offset of the next entry
    uint32_t entry_index;
    dbk_term term;
    dbk_term_base base;
    dbk_term_value value;  // leaves
    uint64_t child_offset; // higher levels
    uint32_t child_size;
} dbk_term_cursor;

/// Stand before the first entry.
void dbk_term_cursor_init(dbk_term_cursor *cursor, const dbk_term_page *page);
/// DAYBOOK_OK with the entry in the cursor, END, or EDAMAGED where the page is malformed.
daybook_status dbk_term_cursor_next(dbk_term_cursor *cursor);
/// Leaf: go to the first entry at or above `term`; END when there is none. EDAMAGED.
daybook_status dbk_term_cursor_seek(dbk_term_cursor *cursor, dbk_slice term);
/// Higher level: go to the last entry at or below `term`, or to the first entry. EDAMAGED. child_offset and
/// child_size are then those of the entry; with `to_walk_on`, at some cost, so is the rest of the cursor.
daybook_status dbk_term_cursor_seek_child(dbk_term_cursor *cursor, dbk_slice term, bool to_walk_on);

#endif
