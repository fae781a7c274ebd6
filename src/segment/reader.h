// SPDX-License-Identifier: Apache-2.0
// An open segment, as the files of this folder see it.
#ifndef DBK_SEGMENT_READER_H
#define DBK_SEGMENT_READER_H

#include <stdatomic.h>

#include "segment/footer.h"
#include "segment/terms.h"

/// A filter of the index that stays in the cache, so that asking it takes neither a lock nor a search.
typedef struct dbk_kept_filter {
    _Atomic(dbk_cache_entry *) entry; // written last, once; NULL: not kept
    atomic_uint_fast64_t seed;        // its head
    atomic_uint segment_size, segment_count;
} dbk_kept_filter;

struct dbk_segment {
    // Set at open, never changed.
    const daybook_allocator *allocator;
    dbk_cache *cache;
    char *path;
    dbk_file_reader reader;
    dbk_footer footer;
    dbk_segment_tail tail;
    uint64_t id_seed;
    uint32_t *page_lasts;          // of each page of the block index, the last position, relative
    dbk_kept_filter *kept_filters; // of each part; NULL where there are no filters, or nobody looks up

    atomic_uint references;
    atomic_bool has_dictionaries; // some were read: who needs others goes through much of the segment
};

/// What the cache holds under an offset: the chunk as it is, or something made from it. Added to the offset,
/// which is far below, so that no bytes are ever taken for what they are not.
#define DBK_CACHED_BLOCK (UINT64_C(1) << 60)
#define DBK_CACHED_BLOCK_PAGE (UINT64_C(2) << 60)
#define DBK_CACHED_DICTIONARY (UINT64_C(3) << 60)
#define DBK_CACHED_BLOCK_INFOS (UINT64_C(4) << 60)
#define DBK_CACHED_TERM_PAGE (UINT64_C(5) << 60)
#define DBK_CACHED_DICTIONARY_BYTES (UINT64_C(6) << 60)

/// Opens the file and reads head, tail and footer. Used by open and verify; `on_damage` (may be NULL) is told
/// of damaged parts that a copy made up for.
typedef void (*dbk_segment_on_damage)(void *context, uint64_t offset, const char *what);
daybook_status dbk_segment_read_frame(const dbk_segment_config *config, dbk_segment *segment,
                                      dbk_segment_on_damage on_damage, void *context, daybook_error *error);
void dbk_segment_close_frame(dbk_segment *segment);

uint64_t dbk_segment_id_seed(const dbk_segment *segment);
/// A chunk's payload, pinned in the cache. Release with dbk_cache_release.
daybook_status dbk_segment_load(dbk_segment *segment, uint64_t offset, size_t size, const char *what,
                                dbk_cache_entry **entry_out, daybook_error *error);
/// A page of the dictionary, stored in `size` bytes, opened and pinned in the cache. EDAMAGED also where it
/// is of another level.
daybook_status dbk_segment_load_page(dbk_segment *segment, uint32_t level, uint64_t offset, uint32_t size,
                                     dbk_cache_entry **entry_out, dbk_term_page *page_out,
                                     daybook_error *error);
/// The same from the chunk's payload: borrowed from it or from `out`.
daybook_status dbk_segment_open_page(dbk_segment *segment, uint32_t level, uint64_t offset, dbk_slice stored,
                                     uint8_t out[DBK_TERM_PAGE_SIZE_MAX], dbk_term_page *page_out,
                                     daybook_error *error);
daybook_status dbk_segment_find_value(dbk_segment *segment, dbk_slice term, dbk_term_value *value_out,
                                      daybook_error *error);
void dbk_segment_value_to_entry(const dbk_segment *segment, const dbk_term_value *value,
                                dbk_term_entry *entry_out);
/// The filter part that covers the term; NULL where there are no filters.
const dbk_filter_part *dbk_segment_filter_part(const dbk_segment *segment, dbk_slice term);
/// ENOTFOUND where the filter rules the term out.
daybook_status dbk_segment_ask_filter(dbk_segment *segment, dbk_slice term, daybook_error *error);
daybook_status dbk_segment_init_kept_filters(dbk_segment *segment);
void dbk_segment_drop_kept_filters(dbk_segment *segment);
daybook_status dbk_segment_page_damaged(const dbk_segment *segment, uint64_t offset, daybook_error *error);

/// What the cache keeps of a page of the block index: positions relative to the segment's first, the offset
/// to that of the page's first block.
typedef struct dbk_page_row {
    uint32_t position_first, position_last;
    uint32_t offset;
    uint32_t file_bytes;
} dbk_page_row;

uint32_t dbk_segment_blocks_in_page(const dbk_segment *segment, uint32_t page_index);
/// Which page of the block index describes the first block that ends at or behind `position`; END behind all.
daybook_status dbk_segment_find_block_page(const dbk_segment *segment, uint64_t position,
                                           uint32_t *page_index_out);
/// The page's dbk_page_row, pinned in the cache; made again where it is damaged.
daybook_status dbk_segment_load_block_page(dbk_segment *segment, uint32_t page_index,
                                           dbk_cache_entry **entry_out, daybook_error *error);
/// The first of a page's blocks that ends at or behind `position`; the page is the one for this position.
uint32_t dbk_segment_search_block_page(const dbk_segment *segment, uint32_t page_index,
                                       const dbk_page_row *rows, uint64_t position);
void dbk_segment_row_place(const dbk_segment *segment, uint32_t page_index, const dbk_page_row *rows,
                           uint32_t index, dbk_block_place *place_out);
/// Read a block page without cache and without making up for damage.
daybook_status dbk_segment_read_block_page(dbk_segment *segment, uint32_t page_index,
                                           dbk_block_info blocks_out[DBK_BLOCK_PAGE_COUNT],
                                           daybook_error *error);
/// Read a block page along with the block for `position`, which goes into the cache, where both lie close
/// together. False where they do not, or anything is not as it should be: then read the page alone.
bool dbk_segment_read_page_and_block(dbk_segment *segment, uint32_t page_index, uint64_t position,
                                     dbk_block_info blocks_out[DBK_BLOCK_PAGE_COUNT]);
/// Error text for a block, naming its positions.
daybook_status dbk_block_damaged(dbk_segment *segment, uint64_t offset, daybook_error *error);
/// Whether what the head of a block says is what the block index says. Loading by place compares positions
/// only.
bool dbk_block_head_matches(const dbk_block_head *head, const dbk_block_info *info);
bool dbk_block_is_loaded(const dbk_block_view *view, const dbk_segment *segment, uint32_t block_number);
/// What precedes a block's stored bytes; false where it is not what index and footer say.
bool dbk_block_open_payload(const dbk_segment *segment, const dbk_block_place *place, dbk_slice payload,
                            dbk_block_head *head_out, dbk_slice *stored_out);
/// dbk_block_decode with scratch memory of the cache.
bool dbk_block_decode_with_scratch(dbk_segment *segment, const dbk_block_head *head, dbk_slice stored,
                                   const void *decoder, void *memory);
/// Let the view show a decoded block; a reference on `entry`, if any, goes over to it.
void dbk_block_show(dbk_segment *segment, dbk_cache_entry *entry, const dbk_block_memory *block,
                    const dbk_block_place *place, dbk_block_view *view);
/// A digested dictionary, pinned; NULL for number 0.
daybook_status dbk_segment_load_decoder(dbk_segment *segment, uint32_t number, dbk_cache_entry **entry_out,
                                        daybook_error *error);
/// The dictionary's bytes into `data_out` (its size and DBK_CHUNK_CHECKSUM_SIZE), from either copy.
daybook_status dbk_segment_read_dictionary(const dbk_segment *segment, uint32_t number, uint8_t *data_out,
                                           daybook_error *error);

// ---- Walking all terms (walk.c) ---------------------------------------------------------------------------

typedef struct dbk_walk_level {
    dbk_cache_entry *entry; // higher levels
    dbk_term_page page;
    dbk_term_cursor cursor;
} dbk_walk_level;

struct dbk_term_walk {
    dbk_segment *segment;                 // with a reference
    dbk_file_window window;               // leaves, past the cache
    dbk_walk_level *levels;               // root.height, the leaf first
    uint8_t leaf[DBK_TERM_PAGE_SIZE_MAX]; // unpacked
    bool is_at_entry;                     // the leaf's cursor stands on an entry not given yet
    bool is_at_end;
    uint64_t leaf_offset;
    dbk_term prefix;
    dbk_term previous; // given last; terms must ascend
    uint64_t skip_count;
};

/// With `lost_out` given, damage on the way to the first term is skipped and noted there, not returned.
daybook_status dbk_term_walk_open_window(dbk_segment *segment, dbk_slice prefix, size_t window_size,
                                         bool *lost_out, dbk_term_walk **walk_out, daybook_error *error);
/// The next term as the leaf has it; borrowed until the next call.
daybook_status dbk_term_walk_next_value(dbk_term_walk *walk, dbk_slice *term_out,
                                        const dbk_term_value **value_out, daybook_error *error);

/// After EDAMAGED: go on behind the damaged leaf. END where there is no way on.
daybook_status dbk_term_walk_skip_damage(dbk_term_walk *walk);

/// The terms of a segment's dictionary that begin with `prefix`, as a source for merging.
daybook_status dbk_segment_source_open(dbk_segment *segment, dbk_slice prefix, size_t window_size,
                                       dbk_term_source **source_out, daybook_error *error);

#endif
