// SPDX-License-Identifier: Apache-2.0
// Going through the blocks of a segment in order: a window of the file is read at once, the page of the block
// index and the dictionary of the moment stay pinned, and blocks are decoded into memory of the scan's own.
// So a block costs its checksum and its decompression and little else, and the cache keeps what look-ups
// need.
//
// What is unusual in any way, a large block, one that cannot be read or is damaged, is left to the way that
// reads one block (load.c), so that errors are the same and none spoils its neighbours.
//
// Memory: WINDOW_SIZE and BLOCK_SIZE_MAX at most, a page of the block index and a dictionary of the cache.
// Scans are for segments that would not stay in the cache anyway; smaller ones are better kept there. One
// thread.
#include "segment/reader.h"

enum {
    WINDOW_SIZE = 32 * 1024,
    BLOCK_SIZE_MAX = 16 * 1024, // decoded; most take a sixth
    CACHE_SHARE = 16,           // a segment with more event bytes than this part of the cache is scanned
};

static daybook_status out_of_memory(const dbk_segment *segment, daybook_error *error) {
    return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory reading %s", segment->path);
}

struct dbk_block_scan {
    dbk_segment *segment; // with a reference
    dbk_file_window window;

    // Where it is in the block index.
    dbk_cache_entry *page; // pinned; NULL: not there yet
    uint32_t page_index;
    uint32_t page_count;
    uint32_t next; // in the page: behind the block found last, so never the first

    dbk_cache_entry *decoder; // pinned; of this dictionary
    uint32_t dictionary;

    void *memory; // of the block shown
    size_t memory_size;
};

bool dbk_block_scan_pays(const dbk_segment *segment) {
    return segment->footer.summary.data_bytes > dbk_cache_bytes_max(segment->cache) / CACHE_SHARE;
}

daybook_status dbk_block_scan_new(dbk_segment *segment, dbk_block_scan **scan_out, daybook_error *error) {
    *scan_out = NULL;
    dbk_block_scan *scan = dbk_alloc_zeroed(segment->allocator, sizeof *scan);
    if (scan == NULL) return out_of_memory(segment, error);
    scan->segment = dbk_segment_ref(segment);
    if (dbk_file_window_init(&scan->window, segment->allocator, &segment->reader, WINDOW_SIZE) !=
        DAYBOOK_OK) {
        dbk_block_scan_free(scan);
        return out_of_memory(segment, error);
    }
    *scan_out = scan;
    return DAYBOOK_OK;
}

void dbk_block_scan_free(dbk_block_scan *scan) {
    if (scan == NULL) return;
    dbk_segment *segment = scan->segment;
    dbk_cache_release(segment->cache, scan->page);
    dbk_cache_release(segment->cache, scan->decoder);
    dbk_file_window_deinit(&scan->window);
    dbk_free(segment->allocator, scan->memory);
    dbk_free(segment->allocator, scan);
    dbk_segment_unref(segment);
}

// Whether the block behind the one found last is that for `position`.
static bool is_next(const dbk_block_scan *scan, uint64_t position) {
    if (scan->page == NULL || scan->next >= scan->page_count) return false;
    const dbk_page_row *rows = dbk_cache_entry_data(scan->page);
    uint64_t base = scan->segment->footer.summary.position_first;
    return base + rows[scan->next - 1].position_last < position &&
           position <= base + rows[scan->next].position_last;
}

daybook_status dbk_block_scan_find(dbk_block_scan *scan, uint64_t position, dbk_block_place *place_out,
                                   daybook_error *error) {
    dbk_segment *segment = scan->segment;
    if (!is_next(scan, position)) {
        uint32_t page_index;
        DBK_TRY(dbk_segment_find_block_page(segment, position, &page_index));
        if (scan->page == NULL || scan->page_index != page_index) {
            dbk_cache_release(segment->cache, scan->page);
            scan->page = NULL;
            DBK_TRY(dbk_segment_load_block_page(segment, page_index, &scan->page, error));
            scan->page_index = page_index;
            scan->page_count = dbk_segment_blocks_in_page(segment, page_index);
        }
        scan->next =
            dbk_segment_search_block_page(segment, page_index, dbk_cache_entry_data(scan->page), position);
    }
    dbk_segment_row_place(segment, scan->page_index, dbk_cache_entry_data(scan->page), scan->next++,
                          place_out);
    return DAYBOOK_OK;
}

// The digested dictionary of the block; false where it cannot be had.
static bool use_dictionary(dbk_block_scan *scan, uint32_t dictionary, const void **decoder_out) {
    if (dictionary != 0 && (scan->decoder == NULL || scan->dictionary != dictionary)) {
        dbk_cache_release(scan->segment->cache, scan->decoder);
        scan->decoder = NULL;
        if (dbk_segment_load_decoder(scan->segment, dictionary, &scan->decoder, NULL) != DAYBOOK_OK)
            return false;
        scan->dictionary = dictionary;
    }
    *decoder_out = dictionary == 0 ? NULL : dbk_cache_entry_data(scan->decoder);
    return true;
}

static bool ensure_memory(dbk_block_scan *scan, size_t size) {
    if (size <= scan->memory_size) return true;
    dbk_free(scan->segment->allocator, scan->memory);
    scan->memory = dbk_alloc(scan->segment->allocator, size);
    scan->memory_size = scan->memory == NULL ? 0 : size;
    return scan->memory != NULL;
}

// Decode the block out of the window; false where anything is not as usual.
static bool decode_scanned(dbk_block_scan *scan, const dbk_block_place *place) {
    dbk_segment *segment = scan->segment;
    dbk_slice payload, stored;
    dbk_block_head head;
    const void *decoder;
    if (place->file_bytes > WINDOW_SIZE ||
        dbk_file_window_chunk(&scan->window, place->file_offset, place->file_bytes - DBK_CHUNK_CHECKSUM_SIZE,
                              "a block of events", &payload, NULL) != DAYBOOK_OK ||
        !dbk_block_open_payload(segment, place, payload, &head, &stored) ||
        !use_dictionary(scan, head.dictionary, &decoder) || dbk_block_memory_size(&head) > BLOCK_SIZE_MAX ||
        !ensure_memory(scan, dbk_block_memory_size(&head)))
        return false;
    return dbk_block_decode_with_scratch(segment, &head, stored, decoder, scan->memory);
}

daybook_status dbk_block_scan_load(dbk_block_scan *scan, const dbk_block_place *place, dbk_block_view *view,
                                   daybook_error *error) {
    if (dbk_block_is_loaded(view, scan->segment, place->block_number)) return DAYBOOK_OK;
    dbk_block_release(view);
    if (!decode_scanned(scan, place)) return dbk_block_load_at(scan->segment, place, view, error);
    dbk_block_show(scan->segment, NULL, scan->memory, place, view);
    return DAYBOOK_OK;
}
