// SPDX-License-Identifier: Apache-2.0
// Segments made by hand, of parts that contradict one another under right checksums: as a hostile writer, or a
// bug, could leave them. Everything is as it should be where a test changes nothing.
//
//     forge made;
//     forge_begin(&made, 40);
//     forge_blocks(&made, 10);
//     dbk_term_value value = forge_list(&made);
//     value.last++;                               // the contradiction
//     forge_term(&made, DBK_TERM_STREAM, "", &value);
//     forge_finish(&made);
//     assert_int_equal(forge_use(&made), DAYBOOK_EDAMAGED);
//     forge_end(&made);
#ifndef DBK_TESTS_SEGMENT_FORGE_H
#define DBK_TESTS_SEGMENT_FORGE_H

#include "fixture.h"
#include "segment/assembly.h"
#include "segment/block.h"
#include "segment/gather.h"
#include "segment/reader.h"

typedef struct forge {
    test_world world;
    dbk_assembly assembly;
    dbk_term_page_builder leaf;
    dbk_tree_root root; // of size 0: the leaf becomes the root
    dbk_buf parts, separators;
    void (*change_blocks)(dbk_block_info *blocks,
                          uint32_t count); // what the page of the block index will say
    dbk_segment_stream streams[4];
    uint32_t stream_count;
    uint64_t base;    // position of number 0
    bool is_failing;  // the disk or the memory is: ENOMEM and EIO are answers, too
    bool is_reseeded; // forge_footer: the tails take assembly.file.seed
} forge;

/// `count` events of one stream (id 7), nothing written but the head.
void forge_begin(forge *made, size_t count);
void forge_end(forge *made);
/// Instead of all that follows: segment 1 as the writer makes it of these events, with a dictionary.
void forge_written(forge *made, size_t count);
/// Blocks of `count` events each, not compressed, and their page.
void forge_blocks(forge *made, size_t count);
/// A chunk anywhere behind the blocks; where it lies.
uint64_t forge_chunk(forge *made, const void *bytes, size_t size);
/// The list of all events, as one page of postings.
dbk_term_value forge_list(forge *made);
/// A list as one page or a directory of pages: what the bytes are is the caller's business.
dbk_term_value forge_list_of(forge *made, const void *bytes, size_t size);
/// The next term of the leaf; terms ascend. Of kinds scoped to a stream it is that of stream 7.
void forge_term(forge *made, dbk_term_kind kind, const char *text, const dbk_term_value *value);
/// Write what is left and give the segment its name: segment 1.
void forge_finish(forge *made);
/// Replace the footer and all behind it by what `change` makes of it.
void forge_footer(forge *made, void (*change)(dbk_footer *footer));
/// The file of segment 1, `size` bytes from `offset` on, with a right checksum behind them where `is_chunk`.
void forge_read(forge *made, uint64_t offset, void *bytes_out, size_t size);
void forge_write(forge *made, uint64_t offset, const void *bytes, size_t size, bool is_chunk);
/// Reads, looks up, walks, merges, carries and verifies everything; nothing may crash, and every status is OK, END,
/// ENOTFOUND or EDAMAGED. The status of merging it, or if that is OK, of verifying it.
daybook_status forge_use(forge *made);

#endif
