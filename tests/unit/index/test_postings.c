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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_lists_come_back),
        cmocka_unit_test(a_dense_list_is_a_handful_of_bytes),
        cmocka_unit_test(extremes_come_back),
        cmocka_unit_test(inline_lists_come_back),
        cmocka_unit_test(malformed_pages_are_refused_or_safe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
