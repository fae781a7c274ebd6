// SPDX-License-Identifier: Apache-2.0
// The hash table: what is in it, also with equal hashes, while growing, and without memory.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/fault_allocator.h"
#include "server/table.h"

enum { COUNT = 1000, HASHES = 100 };

static size_t count_all(const dbk_name_table *table) {
    size_t count = 0;
    for (dbk_name_table_node *node = dbk_name_table_next(table, NULL); node != NULL;
         node = dbk_name_table_next(table, node))
        count++;
    return count;
}

static bool is_there(const dbk_name_table *table, const dbk_name_table_node *node, uint64_t hash) {
    dbk_name_table_node *at = dbk_name_table_find(table, hash);
    while (at != NULL && at != node) at = dbk_name_table_find_next(at);
    return at == node;
}

static void finds_what_is_in_it(void **state) {
    (void)state;
    static dbk_name_table_node nodes[COUNT];
    dbk_name_table table;
    dbk_name_table_init(&table, dbk_allocator_default());
    assert_null(dbk_name_table_find(&table, 1));
    assert_null(dbk_name_table_next(&table, NULL));
    // Ten nodes of each hash; the low bits of many hashes are equal.
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(dbk_name_table_insert(&table, &nodes[i], (i % HASHES) << 8), DAYBOOK_OK);
    assert_int_equal(table.count, COUNT);
    assert_int_equal(count_all(&table), COUNT);
    for (size_t i = 0; i < COUNT; i++) assert_true(is_there(&table, &nodes[i], (i % HASHES) << 8));
    for (size_t i = 0; i < COUNT; i += 2) dbk_name_table_remove(&table, &nodes[i]);
    assert_int_equal(count_all(&table), COUNT / 2);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(is_there(&table, &nodes[i], (i % HASHES) << 8), i % 2 == 1);
    dbk_name_table_deinit(&table);
}

static void goes_on_without_memory(void **state) {
    (void)state;
    static dbk_name_table_node nodes[COUNT];
    fault_allocator faults;
    fault_allocator_init(&faults);
    dbk_name_table table;
    dbk_name_table_init(&table, &faults.allocator);
    fault_allocator_fail(&faults, 1, true);
    assert_int_equal(dbk_name_table_insert(&table, &nodes[0], 7), DAYBOOK_ENOMEM);
    assert_null(dbk_name_table_find(&table, 7));
    fault_allocator_fail(&faults, 0, false);
    assert_int_equal(dbk_name_table_insert(&table, &nodes[0], 7), DAYBOOK_OK);
    // Chains grow where the array cannot.
    fault_allocator_fail(&faults, 1, true);
    for (size_t i = 1; i < COUNT; i++)
        assert_int_equal(dbk_name_table_insert(&table, &nodes[i], 7 * i), DAYBOOK_OK);
    assert_int_equal(count_all(&table), COUNT);
    fault_allocator_fail(&faults, 0, false);
    dbk_name_table_deinit(&table);
    assert_int_equal(fault_allocator_live(&faults), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_is_in_it),
        cmocka_unit_test(goes_on_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
