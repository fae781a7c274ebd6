// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "index/postings.h"

static uint64_t random_state = 3;

static uint64_t random_below(uint64_t bound) { // splitmix64
    uint64_t mixed = random_state += UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (mixed ^ (mixed >> 31)) % bound;
}

typedef struct decoded_list {
    uint32_t *numbers;
    size_t count;
    size_t page_count;
    size_t byte_count;
} decoded_list;

static daybook_status decode_page(void *context, dbk_slice page, uint32_t first, uint32_t last) {
    decoded_list *list = context;
    dbk_postings_group groups[DBK_POSTINGS_PAGE_GROUPS_MAX];
    size_t count;
    assert_true(dbk_postings_parse_page(page, groups, &count));
    assert_int_equal(groups[0].first, first);
    for (size_t i = 0; i < count; i++) {
        uint32_t numbers[DBK_POSTINGS_GROUP_MAX];
        if (!groups[i].is_run) assert_true(dbk_postings_decode_group(page, &groups[i], numbers));
        for (uint32_t j = 0; j < groups[i].count; j++)
            list->numbers[list->count++] = groups[i].is_run ? groups[i].first + j : numbers[j];
    }
    assert_int_equal(list->numbers[list->count - 1], last);
    list->page_count++;
    list->byte_count += page.size;
    return DAYBOOK_OK;
}

// Encodes, decodes, compares; returns the bytes it took.
static size_t check_list(const uint32_t *numbers, size_t count) {
    decoded_list list = {malloc((count + 1) * sizeof(uint32_t)), 0, 0, 0};
    assert_non_null(list.numbers);
    static dbk_postings_encoder encoder;
    dbk_postings_encoder_init(&encoder, decode_page, &list);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(dbk_postings_encoder_add(&encoder, numbers[i]), DAYBOOK_OK);
    assert_int_equal(dbk_postings_encoder_finish(&encoder), DAYBOOK_OK);
    assert_int_equal(list.count, count);
    if (count > 0) assert_memory_equal(list.numbers, numbers, count * sizeof *numbers);
    free(list.numbers);
    return list.byte_count;
}

static void random_lists_come_back(void **state) {
    (void)state;
    static uint32_t numbers[60000];
    for (unsigned round = 0; round < 60; round++) {
        size_t count = 0, limit = random_below(sizeof numbers / sizeof numbers[0]);
        uint64_t gap = 1 + random_below(round % 3 == 0 ? 3 : 60000), next = random_below(1000);
        while (count < limit && next <= UINT32_MAX) {
            numbers[count++] = (uint32_t)next;
            if (random_below(100) == 0) // a run
                for (uint64_t n = random_below(500); n > 0 && count < limit; n--)
                    numbers[count++] = (uint32_t)++next;
            next += 1 + random_below(gap);
        }
        (void)check_list(numbers, count);
    }
}

static void a_dense_list_is_a_handful_of_bytes(void **state) {
    (void)state;
    static uint32_t numbers[200000];
    for (uint32_t i = 0; i < 200000; i++) numbers[i] = 5 + i;
    assert_true(check_list(numbers, 200000) < 12);
    for (uint32_t i = 0; i < 200000; i++) numbers[i] = i * 3;
    assert_true(check_list(numbers, 200000) < 210000);
}

static void extremes_come_back(void **state) {
    (void)state;
    static const uint32_t ends[] = {0, 1, UINT32_MAX - 1, UINT32_MAX};
    (void)check_list(ends, 4);
    (void)check_list(ends, 1);
    (void)check_list(ends + 3, 1);
    (void)check_list(ends, 0);
    uint32_t tail[100];
    for (uint32_t i = 0; i < 100; i++) tail[i] = UINT32_MAX - 99 + i;
    (void)check_list(tail, 100);
}

static void inline_lists_come_back(void **state) {
    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        uint32_t numbers[DBK_POSTINGS_INLINE_COUNT_MAX], decoded[DBK_POSTINGS_INLINE_COUNT_MAX];
        size_t count = 1 + random_below(DBK_POSTINGS_INLINE_COUNT_MAX);
        uint64_t next = random_below(100000), gap = 1 + random_below(round % 2 == 0 ? 40 : 100000000);
        for (size_t i = 0; i < count; i++, next += 1 + random_below(gap)) {
            if (next > UINT32_MAX) {
                count = i;
                break;
            }
            numbers[i] = (uint32_t)next;
        }
        uint8_t bytes[DBK_POSTINGS_INLINE_SIZE_MAX];
        size_t size = dbk_postings_encode_inline(numbers, count, bytes);
        if (size == SIZE_MAX) continue;
        dbk_reader reader;
        dbk_reader_init(&reader, daybook_bytes(bytes, size));
        dbk_postings_decode_inline(&reader, numbers[0], count, decoded);
        assert_false(reader.failed);
        assert_int_equal(dbk_reader_left(&reader), 0);
        assert_memory_equal(decoded, numbers, count * sizeof *numbers);
    }
}

static void malformed_pages_are_refused_or_safe(void **state) {
    (void)state;
    for (unsigned round = 0; round < 100000; round++) {
        size_t size = random_below(300);
        uint8_t *bytes = malloc(size + 1);
        for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)random_below(random_below(2) == 0 ? 8 : 256);
        dbk_postings_group groups[DBK_POSTINGS_PAGE_GROUPS_MAX];
        size_t count;
        dbk_slice page = daybook_bytes(bytes, size);
        if (dbk_postings_parse_page(page, groups, &count)) {
            uint32_t numbers[DBK_POSTINGS_GROUP_MAX];
            for (size_t i = 0; i < count; i++) {
                assert_true(groups[i].count - 1 <= UINT32_MAX - groups[i].first);
                if (!groups[i].is_run && dbk_postings_decode_group(page, &groups[i], numbers))
                    for (uint32_t j = 1; j < groups[i].count; j++) assert_true(numbers[j] > numbers[j - 1]);
            }
        }
        free(bytes);
    }
}

// Numbers as varints, one behind the other.
static size_t put_numbers(uint8_t *out, const uint64_t *numbers, size_t count) {
    size_t size = 0;
    for (size_t i = 0; i < count; i++) size += dbk_put_varint(out + size, numbers[i]);
    return size;
}

#define RUN(count) ((uint64_t)(count) << 1 | 1)
#define LIST(count) ((uint64_t)(count) << 1)

static void each_contradiction_of_a_page_is_refused(void **state) {
    (void)state;
    static const struct {
        bool is_sound;
        size_t count;
        uint64_t numbers[6]; // distance, head and, of lists, size
    } cases[] = {
        {true, 2, {7, RUN(3)}},
        {true, 4, {7, RUN(3), 3, RUN(1)}},
        {false, 4, {7, RUN(3), 2, RUN(1)}}, // begins within the group before
        {false, 4, {7, RUN(1), 0, RUN(1)}}, // begins where the group before does
        {false, 2, {7, RUN(0)}},
        {false, 1, {7}},
        {false, 2, {UINT64_C(1) << 32, RUN(1)}},
        {false, 4, {UINT32_MAX, RUN(1), 1, RUN(1)}}, // begins behind the last number there is
        {true, 2, {UINT32_MAX, RUN(1)}},
        {false, 2, {UINT32_MAX, RUN(2)}}, // ends there
        {true, 2, {0, RUN(UINT32_MAX)}},
        {false, 2, {0, RUN(UINT64_C(1) << 32)}}, // would count as none
        {true, 3, {7, LIST(1), 0}},
        {false, 3, {7, LIST(1), 1}}, // more bytes than there are
        {false, 2, {7, LIST(1)}},
        {false, 3, {7, LIST(DBK_POSTINGS_GROUP_MAX + 1), 0}},
    };
    dbk_postings_group groups[DBK_POSTINGS_PAGE_GROUPS_MAX];
    size_t count;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t bytes[6 * DBK_VARINT_SIZE_MAX];
        size_t size = put_numbers(bytes, cases[i].numbers, cases[i].count);
        bool is_parsed = dbk_postings_parse_page(daybook_bytes(bytes, size), groups, &count);
        if (is_parsed != cases[i].is_sound) fail_msg("case %zu", i);
    }
    static uint8_t long_page[DBK_POSTINGS_PAGE_SIZE_MAX + 1];
    assert_false(dbk_postings_parse_page(daybook_bytes(long_page, 0), groups, &count));
    assert_false(dbk_postings_parse_page(daybook_bytes(long_page, sizeof long_page), groups, &count));
}

static void a_page_has_no_more_groups_than_its_table(void **state) {
    (void)state;
    uint8_t bytes[2 * (DBK_POSTINGS_PAGE_GROUPS_MAX + 1)];
    for (size_t i = 0; i < sizeof bytes; i += 2) {
        bytes[i] = 1;
        bytes[i + 1] = RUN(1);
    }
    dbk_postings_group groups[DBK_POSTINGS_PAGE_GROUPS_MAX];
    size_t count;
    assert_true(dbk_postings_parse_page(daybook_bytes(bytes, sizeof bytes - 2), groups, &count));
    assert_int_equal(count, DBK_POSTINGS_PAGE_GROUPS_MAX);
    assert_false(dbk_postings_parse_page(daybook_bytes(bytes, sizeof bytes), groups, &count));
}

static void each_contradiction_of_a_group_is_refused(void **state) {
    (void)state;
    static const struct {
        bool is_sound;
        uint32_t first, count;
        size_t number_count;
        uint64_t numbers[3]; // distances less one
    } cases[] = {
        {true, 5, 3, 2, {0, 200}},
        {true, 5, 1, 0, {0}},
        {false, 5, 2, 0, {0}},    // a number is missing
        {false, 5, 2, 2, {0, 0}}, // one is left
        {false, 5, 2, 1, {UINT32_MAX}},
        {false, 5, 3, 2, {UINT32_MAX - 6, 0}},
        {true, 5, 2, 1, {UINT32_MAX - 6}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t bytes[3 * DBK_VARINT_SIZE_MAX];
        size_t size = put_numbers(bytes, cases[i].numbers, cases[i].number_count);
        dbk_postings_group group = {.first = cases[i].first, .count = cases[i].count, .size = (uint16_t)size};
        uint32_t numbers[DBK_POSTINGS_GROUP_MAX];
        bool is_decoded = dbk_postings_decode_group(daybook_bytes(bytes, size), &group, numbers);
        if (is_decoded != cases[i].is_sound) fail_msg("case %zu", i);
    }
}

typedef struct refusal {
    unsigned pages_left; // taken before the first that is refused
} refusal;

static daybook_status refuse_page(void *context, dbk_slice page, uint32_t first, uint32_t last) {
    (void)page, (void)first, (void)last;
    refusal *refused = context;
    if (refused->pages_left == 0) return DAYBOOK_EIO;
    refused->pages_left--;
    return DAYBOOK_OK;
}

// A list of single numbers and one of runs: whichever page cannot be written, its status comes back.
static void a_page_refused_ends_the_encoding(void **state) {
    (void)state;
    static dbk_postings_encoder encoder;
    for (uint32_t run = 1; run <= 30; run += 29) {
        for (unsigned pages = 0; pages < 3; pages++) {
            refusal refused = {pages};
            dbk_postings_encoder_init(&encoder, refuse_page, &refused);
            daybook_status status = DAYBOOK_OK;
            for (uint32_t i = 0; i < 200000 && status == DAYBOOK_OK; i++)
                status = dbk_postings_encoder_add(&encoder, i + i / run * 1000);
            assert_int_equal(status, DAYBOOK_EIO);
        }
    }
    // The last page is written by the end alone: numbers, a run behind numbers, a run.
    static const struct { uint32_t singles, run; } ends[] = {{3, 0}, {3, 30}, {0, 30}, {128, 1}};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        refusal refused = {0};
        dbk_postings_encoder_init(&encoder, refuse_page, &refused);
        uint32_t number = 0;
        for (uint32_t j = 0; j < ends[i].singles; j++, number += 2)
            assert_int_equal(dbk_postings_encoder_add(&encoder, number), DAYBOOK_OK);
        for (uint32_t j = 0; j < ends[i].run; j++)
            assert_int_equal(dbk_postings_encoder_add(&encoder, number++), DAYBOOK_OK);
        assert_int_equal(dbk_postings_encoder_finish(&encoder), DAYBOOK_EIO);
    }
}

// Whatever fills a page is told of its refusal: n runs, three numbers, perhaps a run; for every n that a page
// has room for.
static void a_refusal_is_told_wherever_a_page_is_full(void **state) {
    (void)state;
    static dbk_postings_encoder encoder;
    for (uint32_t runs = 0; runs <= 2 * DBK_POSTINGS_PAGE_GROUPS_MAX; runs++) {
        const uint32_t sizes[2] = {0, 30}; // of the last run
        refusal refused = {0};
        dbk_postings_encoder_init(&encoder, refuse_page, &refused);
        daybook_status status = DAYBOOK_OK;
        uint32_t number = 0;
        for (uint32_t i = 0; i < runs * 30 && status == DAYBOOK_OK; i++, number += i % 30 == 0 ? 2 : 1)
            status = dbk_postings_encoder_add(&encoder, number);
        for (uint32_t i = 0; i < 3 && status == DAYBOOK_OK; i++)
            status = dbk_postings_encoder_add(&encoder, number += 2);
        number++;
        for (uint32_t i = 0; i < sizes[runs % 2] && status == DAYBOOK_OK; i++)
            status = dbk_postings_encoder_add(&encoder, ++number);
        // A number far away closes the run by adding, the end closes it by finishing.
        if (runs % 4 < 2 && status == DAYBOOK_OK) status = dbk_postings_encoder_add(&encoder, number += 100);
        if (status == DAYBOOK_OK) status = dbk_postings_encoder_finish(&encoder);
        assert_int_equal(status, DAYBOOK_EIO);
    }
}

static daybook_status count_numbers(void *context, dbk_slice page, uint32_t first, uint32_t last) {
    dbk_postings_group groups[DBK_POSTINGS_PAGE_GROUPS_MAX];
    size_t count;
    assert_int_equal(first, 0);
    assert_int_equal(last, UINT32_MAX);
    assert_true(dbk_postings_parse_page(page, groups, &count));
    assert_int_equal(count, 2);
    for (size_t i = 0; i < count; i++) *(uint64_t *)context += groups[i].count;
    return DAYBOOK_OK;
}

// A group's count has room for fewer. The encoder is put to where 4 billion additions would bring it.
static void the_run_of_all_numbers_is_cut_in_two(void **state) {
    (void)state;
    static dbk_postings_encoder encoder;
    uint64_t number_count = 0;
    dbk_postings_encoder_init(&encoder, count_numbers, &number_count);
    assert_int_equal(dbk_postings_encoder_add(&encoder, 0), DAYBOOK_OK);
    encoder.run_last = UINT32_MAX - 3;
    encoder.count = UINT32_MAX - 2;
    for (uint32_t number = UINT32_MAX - 2; number != 0; number++)
        assert_int_equal(dbk_postings_encoder_add(&encoder, number), DAYBOOK_OK);
    assert_int_equal(dbk_postings_encoder_finish(&encoder), DAYBOOK_OK);
    assert_true(number_count == UINT64_C(1) << 32);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_lists_come_back),
        cmocka_unit_test(a_dense_list_is_a_handful_of_bytes),
        cmocka_unit_test(extremes_come_back),
        cmocka_unit_test(inline_lists_come_back),
        cmocka_unit_test(malformed_pages_are_refused_or_safe),
        cmocka_unit_test(each_contradiction_of_a_page_is_refused),
        cmocka_unit_test(a_page_has_no_more_groups_than_its_table),
        cmocka_unit_test(each_contradiction_of_a_group_is_refused),
        cmocka_unit_test(a_page_refused_ends_the_encoding),
        cmocka_unit_test(a_refusal_is_told_wherever_a_page_is_full),
        cmocka_unit_test(the_run_of_all_numbers_is_cut_in_two),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
