// SPDX-License-Identifier: Apache-2.0
#include "base/hash_map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "lib/fault_allocator.h"

static uint64_t hash_of(uint32_t value) {
    return dbk_checksum(&value, sizeof value, 0);
}

static daybook_status insert(dbk_hash_map *map, uint64_t hash, uint32_t value) {
    return dbk_hash_map_insert(map, hash, value);
}

static bool contains(const dbk_hash_map *map, uint64_t hash, uint32_t value) {
    size_t step = 0;
    for (;;) {
        uint32_t found = dbk_hash_map_find(map, hash, &step);
        if (found == DBK_HASH_MAP_EMPTY) return false;
        if (found == value) return true;
    }
}

static void an_empty_map_holds_nothing(void **state) {
    (void)state;
    dbk_hash_map map;
    dbk_hash_map_init(&map, dbk_allocator_default());
    size_t step = 0;
    assert_int_equal(dbk_hash_map_find(&map, 1, &step), DBK_HASH_MAP_EMPTY);
    assert_int_equal(dbk_hash_map_bytes(&map), 0);
    dbk_hash_map_reset(&map);
    dbk_hash_map_deinit(&map);
    dbk_hash_map_deinit(&map);
}

static void all_inserted_values_are_found_while_it_grows(void **state) {
    (void)state;
    enum { COUNT = 100000 };
    dbk_hash_map map;
    dbk_hash_map_init(&map, dbk_allocator_default());
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(insert(&map, hash_of(i), i), DAYBOOK_OK);
    }
    assert_int_equal(map.count, COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        if (!contains(&map, hash_of(i), i)) fail();
        if (contains(&map, hash_of(i + COUNT), i + COUNT)) fail();
    }
    assert_int_equal(dbk_hash_map_bytes(&map), map.capacity * 8);
    dbk_hash_map_reset(&map);
    assert_false(contains(&map, hash_of(1), 1));
    assert_int_equal(map.count, 0);
    dbk_hash_map_deinit(&map);
}

static void values_of_one_hash_are_all_given(void **state) {
    (void)state;
    enum { COUNT = 200 };
    dbk_hash_map map;
    dbk_hash_map_init(&map, dbk_allocator_default());
    const uint64_t hash = UINT64_C(0xffffffff00000001); // begins at the last slot and wraps
    for (uint32_t i = 0; i < COUNT; i++) assert_int_equal(insert(&map, hash, i), DAYBOOK_OK);
    bool seen[COUNT] = {false};
    size_t step = 0;
    for (;;) {
        uint32_t value = dbk_hash_map_find(&map, hash, &step);
        if (value == DBK_HASH_MAP_EMPTY) break;
        assert_true(value < COUNT);
        assert_false(seen[value]);
        seen[value] = true;
    }
    for (size_t i = 0; i < COUNT; i++) assert_true(seen[i]);
    dbk_hash_map_deinit(&map);
}

static void reserved_inserts_cannot_fail(void **state) {
    (void)state;
    fault_allocator faults;
    fault_allocator_init(&faults);
    dbk_hash_map map;
    dbk_hash_map_init(&map, &faults.allocator);
    for (uint32_t i = 0; i < 10; i++) assert_int_equal(insert(&map, hash_of(i), i), DAYBOOK_OK);
    assert_int_equal(dbk_hash_map_reserve(&map, 5000), DAYBOOK_OK);
    fault_allocator_fail(&faults, 1, true);
    for (uint32_t i = 10; i < 5010; i++) {
        assert_int_equal(insert(&map, hash_of(i), i), DAYBOOK_OK);
    }
    assert_false(fault_allocator_has_failed(&faults));
    for (uint32_t i = 0; i < 5010; i++) assert_true(contains(&map, hash_of(i), i));
    dbk_hash_map_deinit(&map);
    assert_int_equal(fault_allocator_live(&faults), 0);
}

static void running_out_of_memory_leaves_the_map_as_it_was(void **state) {
    (void)state;
    fault_allocator faults;
    fault_allocator_init(&faults);
    dbk_hash_map map;
    dbk_hash_map_init(&map, &faults.allocator);
    fault_allocator_fail(&faults, 1, false);
    assert_int_equal(insert(&map, 1, 1), DAYBOOK_ENOMEM);
    fault_allocator_fail(&faults, 2, true);
    uint32_t count = 0;
    while (insert(&map, hash_of(count), count) == DAYBOOK_OK) count++;
    assert_int_equal(map.count, count);
    assert_int_equal(count, 12); // three quarters of the first 16 slots
    for (uint32_t i = 0; i < count; i++) assert_true(contains(&map, hash_of(i), i));
    assert_int_equal(dbk_hash_map_reserve(&map, SIZE_MAX), DAYBOOK_ENOMEM);
    dbk_hash_map_deinit(&map);
    assert_int_equal(fault_allocator_live(&faults), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_map_holds_nothing),
        cmocka_unit_test(all_inserted_values_are_found_while_it_grows),
        cmocka_unit_test(values_of_one_hash_are_all_given),
        cmocka_unit_test(reserved_inserts_cannot_fail),
        cmocka_unit_test(running_out_of_memory_leaves_the_map_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
