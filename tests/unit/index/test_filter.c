// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "index/filter.h"
#include "lib/fault_allocator.h"

static uint64_t random_state = 7;

static uint64_t random_hash(void) { // splitmix64
    uint64_t mixed = random_state += UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

static void build(uint64_t *hashes, size_t count, dbk_buf *buf) {
    uint64_t *copy = malloc(count * sizeof *copy);
    assert_non_null(copy);
    for (size_t i = 0; i < count; i++) copy[i] = hashes[i];
    dbk_buf_init(buf, dbk_allocator_default(), DBK_FILTER_SIZE_MAX);
    assert_int_equal(dbk_filter_build(dbk_allocator_default(), copy, count, buf), DAYBOOK_OK);
    free(copy);
}

static void every_key_is_contained_and_few_others(void **state) {
    (void)state;
    static const size_t counts[] = {1, 2, 3, 4, 5, 7, 10, 33, 100, 1000, 4321, 20000, DBK_FILTER_KEYS_MAX};
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        size_t count = counts[c];
        uint64_t *hashes = malloc(count * sizeof *hashes);
        for (size_t i = 0; i < count; i++) hashes[i] = random_hash();
        dbk_buf buf;
        build(hashes, count, &buf);
        dbk_slice filter = daybook_bytes(buf.data, buf.size);
        assert_true(dbk_filter_check(filter));
        for (size_t i = 0; i < count; i++) assert_true(dbk_filter_may_contain(filter, hashes[i]));
        unsigned wrong = 0;
        for (unsigned i = 0; i < 100000; i++) wrong += dbk_filter_may_contain(filter, random_hash());
        assert_true(wrong < 100000 / 256 * 2);
        if (count >= 20000) assert_true(buf.size * 8 < count * 10);
        dbk_buf_deinit(&buf);
        free(hashes);
    }
}

static void duplicates_are_fine(void **state) {
    (void)state;
    uint64_t hashes[1000];
    for (size_t i = 0; i < 1000; i++) hashes[i] = i < 500 ? random_hash() : hashes[i - 500];
    dbk_buf buf;
    build(hashes, 1000, &buf);
    for (size_t i = 0; i < 1000; i++)
        assert_true(dbk_filter_may_contain(daybook_bytes(buf.data, buf.size), hashes[i]));
    dbk_buf_deinit(&buf);
    for (size_t i = 0; i < 1000; i++) hashes[i] = 42;
    build(hashes, 1000, &buf);
    assert_true(dbk_filter_may_contain(daybook_bytes(buf.data, buf.size), 42));
    dbk_buf_deinit(&buf);
}

static void equal_sets_give_equal_bytes(void **state) {
    (void)state;
    uint64_t hashes[3000];
    for (size_t i = 0; i < 3000; i++) hashes[i] = random_hash();
    dbk_buf a, b;
    build(hashes, 3000, &a);
    build(hashes, 3000, &b);
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
    dbk_buf_deinit(&a);
    dbk_buf_deinit(&b);
}

static void malformed_filters_are_refused_or_safe(void **state) {
    (void)state;
    uint64_t hashes[50];
    for (size_t i = 0; i < 50; i++) hashes[i] = random_hash();
    dbk_buf buf;
    build(hashes, 50, &buf);
    for (size_t size = 0; size < buf.size; size++)
        assert_false(dbk_filter_check(daybook_bytes(buf.data, size)));
    for (size_t i = 0; i < 20000; i++) {
        uint8_t *copy = malloc(buf.size); // so that a sanitizer sees every read beyond its end
        for (size_t j = 0; j < buf.size; j++) copy[j] = buf.data[j];
        copy[random_hash() % 16] = (uint8_t)random_hash();
        copy[random_hash() % buf.size] = (uint8_t)random_hash();
        dbk_slice filter = daybook_bytes(copy, buf.size);
        if (dbk_filter_check(filter)) (void)dbk_filter_may_contain(filter, random_hash());
        free(copy);
    }
    dbk_buf_deinit(&buf);
}

static void memory_out_is_a_status(void **state) {
    (void)state;
    fault_allocator faults;
    fault_allocator_init(&faults);
    for (uint64_t nth = 1;; nth++) {
        uint64_t hashes[100];
        for (size_t i = 0; i < 100; i++) hashes[i] = random_hash();
        fault_allocator_fail(&faults, nth, false);
        dbk_buf buf;
        dbk_buf_init(&buf, &faults.allocator, DBK_FILTER_SIZE_MAX);
        daybook_status status = dbk_filter_build(&faults.allocator, hashes, 100, &buf);
        dbk_buf_deinit(&buf);
        assert_int_equal(fault_allocator_live(&faults), 0);
        if (!fault_allocator_has_failed(&faults)) {
            assert_int_equal(status, DAYBOOK_OK);
            break;
        }
        assert_int_equal(status, DAYBOOK_ENOMEM);
    }
}

static void each_contradiction_of_a_filter_is_refused(void **state) {
    (void)state;
    static const struct {
        bool is_sound;
        uint32_t segment_size, segment_count;
        size_t size;
    } cases[] = {
        {true, 8, 1, 16 + 24},
        {false, 8, 1, 16 + 23},
        {false, 8, 1, 15},
        {false, 6, 1, 16 + 18}, // no power of two
        {false, 8, 0, 16 + 16},
        {false, 1 << 15, 1, 16 + 3 * (1 << 15)}, // larger than any built
        {false, 8, DBK_FILTER_SIZE_MAX + 1, 16 + 24},
        {false, 8, 1, DBK_FILTER_SIZE_MAX + 1},
        {true, 0, 0, 16}, // holds everything
        {false, 0, 1, 16},
        {false, 0, 0, 17},
    };
    static uint8_t bytes[DBK_FILTER_SIZE_MAX + 1];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dbk_put_u32(bytes + 8, cases[i].segment_size);
        dbk_put_u32(bytes + 12, cases[i].segment_count);
        if (dbk_filter_check(daybook_bytes(bytes, cases[i].size)) != cases[i].is_sound)
            fail_msg("case %zu", i);
    }
    dbk_put_u32(bytes + 8, 0);
    for (uint64_t hash = 0; hash < 100; hash++)
        assert_true(dbk_filter_may_contain(daybook_bytes(bytes, 16), hash));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_is_contained_and_few_others),
        cmocka_unit_test(duplicates_are_fine),
        cmocka_unit_test(equal_sets_give_equal_bytes),
        cmocka_unit_test(malformed_filters_are_refused_or_safe),
        cmocka_unit_test(each_contradiction_of_a_filter_is_refused),
        cmocka_unit_test(memory_out_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
