// SPDX-License-Identifier: Apache-2.0
// Lists of positions kept as ranges: neighbours share one, in either direction.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/ranges.h"

static void add_all(dbk_ranges *ranges, const uint64_t *positions, size_t count) {
    for (size_t i = 0; i < count; i++)
        assert_int_equal(dbk_ranges_add(ranges, dbk_allocator_default(), positions[i]), DAYBOOK_OK);
}

static void expect(const dbk_ranges *ranges, size_t index, uint64_t first, uint64_t last) {
    assert_true(index < ranges->count);
    assert_int_equal(ranges->items[index].first, first);
    assert_int_equal(ranges->items[index].last, last);
}

static void neighbours_share_a_range(void **state) {
    (void)state;
    dbk_ranges ranges = {0};
    add_all(&ranges, (const uint64_t[]){1, 2, 3, 7, 9, 10}, 6);
    assert_int_equal(ranges.count, 3);
    expect(&ranges, 0, 1, 3);
    expect(&ranges, 1, 7, 7);
    expect(&ranges, 2, 9, 10);
    dbk_ranges_deinit(&ranges, dbk_allocator_default());
    assert_int_equal(ranges.count, 0);
}

static void a_list_collected_backwards_is_turned_round(void **state) {
    (void)state;
    dbk_ranges ranges = {0};
    add_all(&ranges, (const uint64_t[]){10, 9, 7, 3, 2, 1}, 6);
    dbk_ranges_reverse(&ranges);
    assert_int_equal(ranges.count, 3);
    expect(&ranges, 0, 1, 3);
    expect(&ranges, 1, 7, 7);
    expect(&ranges, 2, 9, 10);
    dbk_ranges_deinit(&ranges, dbk_allocator_default());
}

static void it_grows_as_far_as_needed(void **state) {
    (void)state;
    dbk_ranges ranges = {0};
    for (uint64_t position = 0; position < 2000; position += 2) add_all(&ranges, &position, 1);
    assert_int_equal(ranges.count, 1000);
    expect(&ranges, 999, 1998, 1998);
    dbk_ranges_deinit(&ranges, dbk_allocator_default());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(neighbours_share_a_range),
        cmocka_unit_test(a_list_collected_backwards_is_turned_round),
        cmocka_unit_test(it_grows_as_far_as_needed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
