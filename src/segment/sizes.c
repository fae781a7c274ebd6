// SPDX-License-Identifier: Apache-2.0
// Where the bytes of a segment go, by what its footer says: no I/O. Any thread.
#include "segment/reader.h"

static uint64_t chunk_bytes(uint64_t size) {
    return size + DBK_CHUNK_CHECKSUM_SIZE;
}

void dbk_segment_get_sizes(const dbk_segment *segment, dbk_segment_sizes *sizes_out) {
    const dbk_footer *footer = &segment->footer;
    dbk_segment_sizes sizes;
    memset(&sizes, 0, sizeof sizes);
    uint64_t blocks_end = footer->blocks_begin;
    for (uint32_t i = 0; i < footer->block_page_count; i++) {
        sizes.block_index += chunk_bytes(footer->block_pages[i].size);
        blocks_end = footer->block_pages[i].offset + chunk_bytes(footer->block_pages[i].size);
    }
    sizes.blocks = blocks_end - footer->blocks_begin - sizes.block_index;
    for (uint32_t i = 0; i < footer->dictionary_count; i++)
        sizes.dictionaries += 2 * chunk_bytes(footer->dictionaries[i].size);
    for (uint32_t i = 0; i < footer->filter_part_count; i++)
        sizes.filters += chunk_bytes(footer->filter_parts[i].size);
    sizes.frame = DBK_SEGMENT_HEAD_SIZE + chunk_bytes(footer->catalogue_size) +
                  2 * chunk_bytes(segment->tail.footer_size) + 2 * DBK_SEGMENT_TAIL_SIZE;
    // What is left lies between blocks and catalogue.
    sizes.terms = segment->reader.size - sizes.blocks - sizes.block_index - sizes.dictionaries -
                  sizes.filters - sizes.frame;
    *sizes_out = sizes;
}
