// SPDX-License-Identifier: Apache-2.0
// What the decoders of blocks, block index, footer, head and tail refuse, one contradiction after the other,
// in bytes made by hand: checksums would hide most of these from tests that change files.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/fault_allocator.h"
#include "segment/footer.h"

// Numbers as varints, one behind the other.
static size_t put_numbers(uint8_t *out, const uint64_t *numbers, size_t count) {
    size_t size = 0;
    for (size_t i = 0; i < count; i++) size += dbk_put_varint(out + size, numbers[i]);
    return size;
}

// ---- Blocks -----------------------------------------------------------------------------------------------

enum { HEAD_NUMBERS = 12 }; // the codec among them: below 128 a varint is a byte

static void each_contradiction_of_a_block_head_is_refused(void **state) {
    (void)state;
    static const uint64_t sound[HEAD_NUMBERS] = {0, 3, 2, 10, 5, 15, 100, 7, 8, 9, 4, 6};
    static const struct {
        unsigned at;
        uint64_t value;
    } cases[] = {
        {0, 2},                                              // no such codec
        {0, 1},                                              // compressed to no less
        {1, DBK_DICTIONARIES_MAX + 1},                       //
        {2, 0},                                              // no events
        {2, DBK_BLOCK_EVENTS_MAX + 1},                       //
        {3, DBK_EVENT_BODY_SIZE_MAX + DBK_BLOCK_TARGET + 1}, //
        {3, 11},                                             // not what is stored
        {4, DBK_BLOCK_COLUMNS_SIZE_MAX + 1},                 //
        {5, UINT32_MAX},                                     //
        {5, 14},                                             //
        {7, UINT64_MAX - 99},                                // positions overflow
    };
    uint8_t bytes[HEAD_NUMBERS * DBK_VARINT_SIZE_MAX + 16] = {0};
    dbk_block_head head;
    dbk_slice stored;
    size_t size = put_numbers(bytes, sound, HEAD_NUMBERS);
    assert_true(dbk_block_head_decode(daybook_bytes(bytes, size + 15), &head, &stored));
    assert_int_equal(stored.size, 15);
    assert_int_equal(head.position_last, 107);
    for (size_t cut = 0; cut < size + 15; cut++)
        assert_false(dbk_block_head_decode(daybook_bytes(bytes, cut), &head, &stored));
    assert_false(dbk_block_head_decode(daybook_bytes(bytes, size + 16), &head, &stored));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t numbers[HEAD_NUMBERS];
        memcpy(numbers, sound, sizeof numbers);
        numbers[cases[i].at] = cases[i].value;
        size_t head_size;
        size = put_numbers(bytes, numbers, HEAD_NUMBERS);
        if (dbk_block_head_peek(daybook_bytes(bytes, size), &head, &head_size)) fail_msg("case %zu", i);
    }
}

enum { COLUMN_NUMBERS = 17 };

// Three events with bodies of 1, 0 and 2 bytes, stored as they are.
static bool decode_columns(const uint64_t *numbers, size_t count, size_t cut, size_t extra) {
    uint8_t bytes[3 + COLUMN_NUMBERS * DBK_VARINT_SIZE_MAX + 1] = {0};
    size_t columns_size = put_numbers(bytes + 3, numbers, count) - cut + extra;
    dbk_block_head head = {.event_count = 3,
                           .bodies_size = 3,
                           .columns_size = (uint32_t)columns_size,
                           .stored_size = (uint32_t)(3 + columns_size),
                           .position_first = 10,
                           .position_last = 14,
                           .recorded_first_ns = 100,
                           .recorded_last_ns = 120};
    void *memory = malloc(dbk_block_memory_size(&head));
    assert_non_null(memory);
    bool is_sound = dbk_block_decode(&head, daybook_bytes(bytes, 3 + columns_size), NULL, NULL, memory);
    if (is_sound) {
        const dbk_block_memory *block = memory;
        assert_int_equal(block->rows[2].position, 14);
        assert_int_equal(block->rows[2].stream_id, 2);
        assert_int_equal(block->rows[1].recorded_ns, 110);
        assert_int_equal(block->offsets[2], 1);
    }
    free(memory);
    return is_sound;
}

static void each_contradiction_of_a_blocks_columns_is_refused(void **state) {
    (void)state;
    static const uint64_t sound[COLUMN_NUMBERS] = {
        0, 2,     // positions 10, 11, 14
        2, 0,  2, // streams 1, 1, 2
        2, 0,  2, // seqs
        1, 2,  1, // versions
        0, 20, 0, // recorded 100, 110, 110
        1, 0,  2, // sizes
    };
    static const struct {
        unsigned at;
        uint64_t value;
    } cases[] = {
        {1, 3},                 // a position behind the last
        {1, 1},                 // the last is another
        {2, 1},                 // stream -1
        {4, UINT64_C(1) << 34}, // no stream has such an id
        {11, 1},                // recorded before the first
        {12, 42},               // behind the last
        {14, 4},                // larger than all bodies
        {16, 1},                // a byte belongs to nobody
        {16, 3},                // a byte that is not there
    };
    assert_true(decode_columns(sound, COLUMN_NUMBERS, 0, 0));
    assert_false(decode_columns(sound, COLUMN_NUMBERS, 0, 1));
    for (size_t cut = 1; cut <= COLUMN_NUMBERS; cut++)
        assert_false(decode_columns(sound, COLUMN_NUMBERS, cut, 0));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t numbers[COLUMN_NUMBERS];
        memcpy(numbers, sound, sizeof numbers);
        numbers[cases[i].at] = cases[i].value;
        if (decode_columns(numbers, COLUMN_NUMBERS, 0, 0)) fail_msg("case %zu", i);
    }
    // Missing numbers read as zeros, which are all right here: only their absence tells.
    dbk_block_head head = {.event_count = 1};
    void *memory = malloc(dbk_block_memory_size(&head));
    assert_non_null(memory);
    assert_false(dbk_block_decode(&head, daybook_bytes("", 0), NULL, NULL, memory));
    free(memory);
}

// ---- Block index ------------------------------------------------------------------------------------------

enum { BLOCK_NUMBERS = 9 };

static void each_contradiction_of_the_block_index_is_refused(void **state) {
    (void)state;
    // offset, bytes, events, position, span, recorded, span, time, span
    static const uint64_t sound[2 * BLOCK_NUMBERS] = {0, 50, 3, 10, 4, 200, 20, 0, 0,
                                                      0, 60, 2, 1,  1, 0,   5,  0, 0};
    static const struct {
        unsigned at;
        uint64_t value;
    } cases[] = {
        {1, 8},                           // no room beside the checksum
        {1, DBK_BLOCK_FILE_SIZE_MAX + 1}, //
        {2, 0},                           //
        {2, DBK_BLOCK_EVENTS_MAX + 1},    //
        {4, UINT64_MAX},                  // ends before it begins
        {9, UINT64_MAX},                  // lies before the block before
        {12, UINT64_MAX},                 //
        {13, 2},                          // the last position is another
    };
    const dbk_block_page page = {.first_block_offset = 80, .position_last = 16};
    dbk_block_info blocks[2];
    uint8_t bytes[2 * BLOCK_NUMBERS * DBK_VARINT_SIZE_MAX + 1] = {0};
    size_t size = put_numbers(bytes, sound, 2 * BLOCK_NUMBERS);
    assert_true(dbk_block_page_decode(daybook_bytes(bytes, size), &page, 5, 2, blocks));
    assert_int_equal(blocks[1].file_offset, 130);
    assert_int_equal(blocks[1].block_number, 6);
    for (size_t cut = 0; cut < size; cut++)
        assert_false(dbk_block_page_decode(daybook_bytes(bytes, cut), &page, 5, 2, blocks));
    assert_false(dbk_block_page_decode(daybook_bytes(bytes, size + 1), &page, 5, 2, blocks));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t numbers[2 * BLOCK_NUMBERS];
        memcpy(numbers, sound, sizeof numbers);
        numbers[cases[i].at] = cases[i].value;
        size = put_numbers(bytes, numbers, 2 * BLOCK_NUMBERS);
        if (dbk_block_page_decode(daybook_bytes(bytes, size), &page, 5, 2, blocks)) fail_msg("case %zu", i);
    }
}

// ---- Footer -----------------------------------------------------------------------------------------------

typedef struct sample {
    dbk_footer footer;
    dbk_dictionary_place dictionaries[1];
    dbk_block_page pages[2];
    dbk_filter_part parts[2];
    uint8_t separators[DBK_TERM_SIZE_MAX + 1];
    dbk_segment_stream streams[3];
} sample;

static void make_sample(sample *made) {
    memset(made, 0, sizeof *made);
    dbk_footer *footer = &made->footer;
    footer->summary.position_first = 100;
    footer->summary.position_last = 400;
    footer->dictionary_count = 1;
    footer->dictionaries = made->dictionaries;
    footer->block_count = DBK_BLOCK_PAGE_COUNT + 1;
    footer->block_page_count = 2;
    footer->block_pages = made->pages;
    made->pages[0] = (dbk_block_page){.offset = 5, .position_last = 300, .size = 10};
    made->pages[1] = (dbk_block_page){.offset = 4, .position_last = 400, .size = 10};
    footer->root = (dbk_tree_root){.offset = 9, .size = 10, .height = 2, .term_count = 5};
    footer->filter_part_count = 2;
    footer->filter_parts = made->parts;
    footer->separators = made->separators;
    footer->separators_size = 3;
    made->parts[0] = (dbk_filter_part){.offset = 70, .size = 20};
    made->parts[1] = (dbk_filter_part){.offset = 60, .size = 20, .separator_size = 3};
    footer->summary.stream_count = 3;
    footer->streams = made->streams;
    for (uint32_t i = 0; i < 3; i++) {
        made->streams[i] = (dbk_segment_stream){.stream_id = i + 1,
                                                .event_count = 2,
                                                .first_seq = 1,
                                                .last_seq = 2,
                                                .seq_max = 2,
                                                .first_position = 100 + i,
                                                .last_position = 400};
    }
    made->streams[1].event_count = 0;
}

static daybook_status decode_sample(const sample *made, const daybook_allocator *allocator) {
    dbk_buf buf;
    dbk_buf_init(&buf, dbk_allocator_default(), 1 << 20);
    dbk_footer_encode(&made->footer, &buf);
    dbk_footer decoded;
    daybook_status status = dbk_footer_decode(allocator, daybook_bytes(buf.data, buf.size), &decoded);
    if (status == DAYBOOK_OK) {
        assert_int_equal(decoded.streams[2].first_position, made->streams[2].first_position);
        dbk_footer_deinit(&decoded);
    }
    dbk_buf_deinit(&buf);
    return status;
}

// One contradiction each; false where there are no more.
static bool contradict(sample *made, unsigned which) {
    dbk_footer *footer = &made->footer;
    switch (which) {
    case 0:
        footer->summary.position_last = 99;
        return true;
    case 1:
        footer->summary.position_last = 100 + (UINT64_C(1) << 32);
        return true;
    case 2:
        made->dictionaries[0].size = DBK_DICTIONARY_SIZE_MAX + 1;
        return true;
    case 3:
        footer->block_count = UINT32_MAX - DBK_BLOCK_PAGE_COUNT;
        return true; // more pages than bytes
    case 4:
        footer->block_count = UINT32_MAX;
        return true;
    case 5:
        made->pages[1].size = DBK_BLOCK_PAGE_SIZE_MAX + 1;
        return true;
    case 6:
        made->pages[1].position_last = 300;
        return true; // not behind the page before
    case 7:
        footer->root.size = DBK_TERM_PAGE_SIZE_MAX + 1;
        return true;
    case 8:
        footer->root.height = DBK_TREE_LEVELS_MAX + 1;
        return true;
    case 9:
        footer->root.size = 0;
        return true; // a tree without a root
    case 10:
        footer->root.height = 0;
        return true;
    case 11:
        made->parts[0].size = (1 << 16) + 1;
        return true;
    case 12:
        made->parts[0].separator_size = 1;
        return true; // the first begins at the first term
    case 13:
        made->parts[1].separator_size = DBK_TERM_SIZE_MAX + 1;
        return true;
    case 14:
        made->streams[1].stream_id = 1;
        return true; // twice
    case 15:
        made->streams[2].stream_id = 1;
        return true; // descending
    case 16:
        made->streams[0].first_position = 99;
        return true;
    case 17:
        made->streams[0].last_position = 401;
        return true;
    default:
        return false;
    }
}

static void each_contradiction_of_a_footer_is_refused(void **state) {
    (void)state;
    sample *made = malloc(sizeof *made);
    assert_non_null(made);
    make_sample(made);
    assert_int_equal(decode_sample(made, dbk_allocator_default()), DAYBOOK_OK);
    for (unsigned which = 0;; which++) {
        make_sample(made);
        if (!contradict(made, which)) break;
        if (decode_sample(made, dbk_allocator_default()) != DAYBOOK_EDAMAGED) fail_msg("case %u", which);
    }
    free(made);
}

static void cut_and_long_footers_are_refused(void **state) {
    (void)state;
    sample *made = malloc(sizeof *made);
    assert_non_null(made);
    make_sample(made);
    dbk_buf buf;
    dbk_buf_init(&buf, dbk_allocator_default(), 1 << 20);
    dbk_footer_encode(&made->footer, &buf);
    dbk_buf_append_u8(&buf, 0);
    dbk_footer decoded;
    for (size_t size = 0; size <= buf.size; size++) {
        daybook_status status =
            dbk_footer_decode(dbk_allocator_default(), daybook_bytes(buf.data, size), &decoded);
        assert_int_equal(status, size == buf.size - 1 ? DAYBOOK_OK : DAYBOOK_EDAMAGED);
        if (status == DAYBOOK_OK) dbk_footer_deinit(&decoded);
    }
    buf.data[0] ^= 0x40; // the format
    assert_int_equal(
        dbk_footer_decode(dbk_allocator_default(), daybook_bytes(buf.data, buf.size - 1), &decoded),
        DAYBOOK_EDAMAGED);
    dbk_footer_deinit(&decoded); // twice is harmless
    dbk_buf_deinit(&buf);
    free(made);
}

// Counts that no bytes stand behind take no memory: dictionaries, filters, streams.
static void counts_beyond_their_limits_are_refused(void **state) {
    (void)state;
    enum { SUMMARY_SIZE = 4 + 16 + 10 * 8 + 32, NUMBERS = 11 };
    // dictionaries; blocks: begin, count; root: offset, size, height, terms; filters; catalogue: 2; streams
    static const unsigned counts[] = {0, 7, 10};
    for (size_t i = 0; i < 3; i++) {
        for (unsigned large = 0; large < 2; large++) {
            uint64_t numbers[NUMBERS] = {0};
            numbers[counts[i]] = large == 0 ? 3 : UINT64_C(1) << 33;
            uint8_t bytes[SUMMARY_SIZE + NUMBERS * DBK_VARINT_SIZE_MAX] = {DBK_SEGMENT_FORMAT};
            size_t size = SUMMARY_SIZE + put_numbers(bytes + SUMMARY_SIZE, numbers, NUMBERS);
            dbk_footer decoded;
            assert_int_equal(dbk_footer_decode(dbk_allocator_default(), daybook_bytes(bytes, size), &decoded),
                             DAYBOOK_EDAMAGED);
        }
    }
}

static void footer_without_memory_is_a_status(void **state) {
    (void)state;
    sample *made = malloc(sizeof *made);
    assert_non_null(made);
    make_sample(made);
    fault_allocator faults;
    fault_allocator_init(&faults);
    unsigned refused = 0;
    for (uint64_t nth = 1;; nth++) {
        fault_allocator_fail(&faults, nth, false);
        daybook_status status = decode_sample(made, &faults.allocator);
        assert_int_equal(fault_allocator_live(&faults), 0);
        if (!fault_allocator_has_failed(&faults)) break;
        // Only giving room back may fail without harm.
        assert_true(status == DAYBOOK_ENOMEM || status == DAYBOOK_OK);
        refused += status == DAYBOOK_ENOMEM;
    }
    assert_true(refused >= 5);
    free(made);
}

// ---- Head and tail ----------------------------------------------------------------------------------------

static void heads_and_tails_of_others_are_refused(void **state) {
    (void)state;
    uint8_t bytes[DBK_SEGMENT_HEAD_SIZE];
    dbk_segment_head head = {.segment_id = 3};
    dbk_segment_head_encode(&head, bytes);
    assert_int_equal(dbk_segment_head_decode(bytes, &head), DAYBOOK_OK);
    bytes[40] ^= 1;
    assert_int_equal(dbk_segment_head_decode(bytes, &head), DAYBOOK_EDAMAGED);
    bytes[40] ^= 1;
    bytes[8]++;
    dbk_put_u64(bytes + 72, dbk_checksum(bytes, 72, 0));
    assert_int_equal(dbk_segment_head_decode(bytes, &head), DAYBOOK_EFORMAT);
    bytes[0] ^= 1;
    assert_int_equal(dbk_segment_head_decode(bytes, &head), DAYBOOK_EDAMAGED);

    dbk_segment_tail tail = {.file_size = 3};
    dbk_segment_tail_encode(&tail, 1000, bytes);
    assert_int_equal(dbk_segment_tail_decode(bytes, 1000, &tail), DAYBOOK_OK);
    assert_int_equal(dbk_segment_tail_decode(bytes, 1001, &tail), DAYBOOK_EDAMAGED); // not its place
    bytes[8]++;
    dbk_put_u64(bytes + 56, dbk_checksum(bytes, 56, 1000));
    assert_int_equal(dbk_segment_tail_decode(bytes, 1000, &tail), DAYBOOK_EFORMAT);
    bytes[0] ^= 1;
    assert_int_equal(dbk_segment_tail_decode(bytes, 1000, &tail), DAYBOOK_EDAMAGED);
}

// ---- Packed pages -----------------------------------------------------------------------------------------

static void packed_pages_with_impossible_sizes_are_refused(void **state) {
    (void)state;
    void *scratch = calloc(1, dbk_unpack_scratch_size());
    assert_non_null(scratch);
    uint8_t out[DBK_TERM_PAGE_SIZE_MAX];
    dbk_slice page;
    static const uint64_t sizes[] = {0, DBK_TERM_PAGE_SIZE_MAX + 1, UINT64_MAX, 10};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint8_t bytes[1 + DBK_VARINT_SIZE_MAX] = {255};
        size_t size = 1 + dbk_put_varint(bytes + 1, sizes[i]);
        assert_false(dbk_unpack_page(daybook_bytes(bytes, size), scratch, out, &page));
    }
    // What is not packed is handed through, also nothing.
    assert_true(dbk_unpack_page(daybook_bytes("\0abc", 4), scratch, out, &page));
    assert_int_equal(page.size, 4);
    assert_true(dbk_unpack_page(daybook_bytes("", 0), scratch, out, &page));
    assert_int_equal(page.size, 0);
    free(scratch);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_contradiction_of_a_block_head_is_refused),
        cmocka_unit_test(each_contradiction_of_a_blocks_columns_is_refused),
        cmocka_unit_test(each_contradiction_of_the_block_index_is_refused),
        cmocka_unit_test(each_contradiction_of_a_footer_is_refused),
        cmocka_unit_test(cut_and_long_footers_are_refused),
        cmocka_unit_test(counts_beyond_their_limits_are_refused),
        cmocka_unit_test(footer_without_memory_is_a_status),
        cmocka_unit_test(heads_and_tails_of_others_are_refused),
        cmocka_unit_test(packed_pages_with_impossible_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
