// SPDX-License-Identifier: Apache-2.0
// A segment file being put together: what writing from memory and merging have in common. Blocks go in first,
// then the dictionary of terms (through `file` and a tree builder), then the rest at once.
#ifndef DBK_SEGMENT_ASSEMBLY_H
#define DBK_SEGMENT_ASSEMBLY_H

#include "io/io.h"
#include "segment/footer.h"

enum { DBK_SEGMENT_MEMORY_DEFAULT = 32 * 1024 * 1024 };

static inline size_t dbk_segment_memory_max(const dbk_segment_config *config) {
    return config->memory_max == 0 ? DBK_SEGMENT_MEMORY_DEFAULT : config->memory_max;
}

typedef struct dbk_assembly {
    const daybook_allocator *allocator;
    daybook_vfs *vfs;
    char directory[DBK_PATH_SIZE_MAX];
    char path[DBK_PATH_SIZE_MAX]; // while it is written
    char final_path[DBK_PATH_SIZE_MAX];
    char terms_path[DBK_PATH_SIZE_MAX]; // for terms that exceed the memory
    dbk_segment_summary summary;
    dbk_uuid store_uuid;
    uint64_t incarnation;
    dbk_file_writer file;
    uint64_t blocks_begin;
    uint32_t block_count;
    dbk_block_info blocks[DBK_BLOCK_PAGE_COUNT]; // of the page at hand
    uint32_t blocks_in_page;
    dbk_buf block_pages;      // dbk_block_page
    dbk_buf dictionaries;     // dbk_dictionary_place
    dbk_buf dictionary_bytes; // one behind the other, for the copies at the end
    dbk_buf scratch;
} dbk_assembly;

/// Create the temporary file and write the head. EEXISTS where a segment of this id is there already. After a
/// failure, too, dbk_assembly_abort must be called.
daybook_status dbk_assembly_open(dbk_assembly *assembly, const dbk_segment_config *config,
                                 uint64_t position_first, uint64_t position_last, daybook_error *error);
/// The number blocks name it by; an equal one is not stored again.
daybook_status dbk_assembly_add_dictionary(dbk_assembly *assembly, dbk_slice dictionary, uint32_t *number_out,
                                           daybook_error *error);
daybook_status dbk_assembly_add_block(dbk_assembly *assembly, const dbk_block_head *head, dbk_slice payload,
                                      daybook_error *error);
/// Write the open page of the block index; no more blocks.
daybook_status dbk_assembly_end_blocks(dbk_assembly *assembly, daybook_error *error);
/// Write the dictionary of terms from sorted sources, and everything behind it; sync, rename, sync the
/// directory. `streams` are summary.stream_count many, ascending by id.
daybook_status dbk_assembly_finish(dbk_assembly *assembly, const dbk_tree_root *root,
                                   const dbk_buf *filter_parts, const dbk_buf *separators,
                                   const dbk_segment_stream *streams, uint32_t stream_count,
                                   dbk_slice catalogue, dbk_segment_summary *summary_out,
                                   daybook_error *error);
/// Close and remove the temporary file, if it is still there.
void dbk_assembly_abort(dbk_assembly *assembly);

#endif
