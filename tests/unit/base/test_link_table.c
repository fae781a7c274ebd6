// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/keyed_hash.h"
#include "base/link_table.h"
#include "lib/fault_allocator.h"

enum { LINKS = 3000 };

static dbk_table_link links[LINKS];

static bool has(const dbk_link_table *table, const dbk_table_link *wanted) {
    dbk_table_link *link = dbk_link_table_find(table, wanted->hash);
    for (; link != NULL; link = dbk_link_table_find_next(link)) {
        assert_true(link->hash == wanted->hash);
        if (link == wanted) return true;
    }
    return false;
}

static void fill(dbk_link_table *table, const daybook_allocator *allocator, uint32_t spread) {
    for (uint32_t i = 0; i < LINKS; i++) {
        links[i] = (dbk_table_link){.hash = i * spread};
        assert_int_equal(dbk_link_table_reserve(table, allocator), DAYBOOK_OK);
        dbk_link_table_add(table, &links[i]);
    }
}

static void what_is_in_is_found_and_what_is_out_is_not(void **state) {
    (void)state;
    uint32_t spreads[] = {1, 7, 0x10000, 0}; // 0: all in one bucket
    for (size_t k = 0; k < sizeof spreads / sizeof *spreads; k++) {
        fault_allocator faults;
        fault_allocator_init(&faults);
        dbk_link_table table;
        dbk_link_table_init(&table);
        fill(&table, &faults.allocator, spreads[k]);
        assert_int_equal(table.count, LINKS);
        for (uint32_t i = 0; i < LINKS; i++) assert_true(has(&table, &links[i]));
        for (uint32_t i = 0; i < LINKS; i += 2) dbk_link_table_remove(&table, &faults.allocator, &links[i]);
        for (uint32_t i = 0; i < LINKS; i++) assert_int_equal(has(&table, &links[i]), i % 2);
        for (uint32_t i = 1; i < LINKS; i += 2) dbk_link_table_remove(&table, &faults.allocator, &links[i]);
        assert_int_equal(table.count, 0);
        assert_int_equal(dbk_link_table_bytes(&table), 0);
        assert_int_equal(fault_allocator_live(&faults), 0);
    }
}

static uint32_t count_all(const dbk_link_table *table) {
    uint32_t count = 0;
    for (dbk_table_link *link = dbk_link_table_next(table, NULL); link != NULL;
         link = dbk_link_table_next(table, link)) {
        link->size++;
        count++;
    }
    return count;
}

static void each_link_is_visited_once(void **state) {
    (void)state;
    fault_allocator faults;
    fault_allocator_init(&faults);
    dbk_link_table table;
    dbk_link_table_init(&table);
    assert_null(dbk_link_table_next(&table, NULL));
    for (uint32_t i = 0; i < LINKS; i++) {
        links[i] = (dbk_table_link){.hash = i % 100 << 8}; // many of each hash, and of each bucket
        dbk_link_table_insert(&table, &faults.allocator, &links[i]);
        if (i < 20) assert_int_equal(count_all(&table), i + 1);
    }
    for (uint32_t i = 0; i < LINKS; i++) links[i].size = 0;
    assert_int_equal(count_all(&table), LINKS);
    for (uint32_t i = 0; i < LINKS; i++) assert_int_equal(links[i].size, 1);
    dbk_link_table_take_all(&table, &faults.allocator);
    assert_int_equal(fault_allocator_live(&faults), 0);
}

static void few_links_take_no_memory(void **state) {
    (void)state;
    fault_allocator faults;
    fault_allocator_init(&faults);
    dbk_link_table table;
    dbk_link_table_init(&table);
    for (uint32_t i = 0; i < DBK_LINK_TABLE_CHAIN_MAX; i++) {
        links[i] = (dbk_table_link){.hash = i};
        assert_int_equal(dbk_link_table_reserve(&table, &faults.allocator), DAYBOOK_OK);
        dbk_link_table_add(&table, &links[i]);
    }
    assert_int_equal(faults.calls, 0);
    assert_int_equal(dbk_link_table_reserve(&table, &faults.allocator), DAYBOOK_OK);
    assert_int_equal(faults.calls, 1);
    dbk_link_table_take_all(&table, &faults.allocator);
    assert_int_equal(fault_allocator_live(&faults), 0);
}

static void without_memory_nothing_is_lost(void **state) {
    (void)state;
    fault_allocator faults;
    fault_allocator_init(&faults);
    dbk_link_table table;
    dbk_link_table_init(&table);
    fill(&table, &faults.allocator, 1);
    fault_allocator_fail(&faults, 1, true);
    while (dbk_link_table_reserve(&table, &faults.allocator) == DAYBOOK_OK) {
        static dbk_table_link more[LINKS];
        dbk_table_link *link = &more[table.count - LINKS];
        link->hash = table.count;
        dbk_link_table_add(&table, link);
    }
    for (uint32_t i = 0; i < LINKS; i++) assert_true(has(&table, &links[i]));
    // Nor does shrinking need any: the array stays as it is.
    for (uint32_t i = 0; i < LINKS - 10; i++) dbk_link_table_remove(&table, &faults.allocator, &links[i]);
    for (uint32_t i = 0; i < LINKS; i++) assert_int_equal(has(&table, &links[i]), i >= LINKS - 10);
    uint32_t count = 0;
    for (dbk_table_link *link = dbk_link_table_take_all(&table, &faults.allocator); link != NULL;
         link = link->next)
        count++;
    assert_true(count >= 10);
    assert_int_equal(table.count, 0);
    assert_int_equal(fault_allocator_live(&faults), 0);
}

static void without_memory_chains_grow(void **state) {
    (void)state;
    fault_allocator faults;
    fault_allocator_init(&faults);
    dbk_link_table table;
    dbk_link_table_init(&table);
    fault_allocator_fail(&faults, 1, true);
    for (uint32_t i = 0; i < 1000; i++) {
        links[i] = (dbk_table_link){.hash = i};
        dbk_link_table_insert(&table, &faults.allocator, &links[i]);
        if (i == 500) fault_allocator_fail(&faults, 0, false); // from here on it may grow, and does
    }
    assert_int_equal(count_all(&table), 1000);
    assert_true(table.bucket_count > 0);
    for (uint32_t i = 0; i < 1000; i++) {
        assert_true(has(&table, &links[i]));
        dbk_link_table_remove(&table, &faults.allocator, &links[i]);
        assert_false(has(&table, &links[i]));
    }
    assert_int_equal(fault_allocator_live(&faults), 0);
}

enum { SCANNED = 4000 };

static void note(void *context, dbk_table_link *link) {
    unsigned *counts = context;
    counts[link->size]++;
}

// The table doubles and shrinks between two steps: who is there all the time is seen once, whoever comes or goes at most
// once.
static void a_scan_sees_each_link_once(void **state) {
    (void)state;
    const daybook_allocator *allocator = dbk_allocator_default();
    static dbk_table_link scanned[SCANNED];
    static unsigned counts[SCANNED];
    for (int shrinks = 0; shrinks < 2; shrinks++) {
        dbk_link_table table;
        // The others come meanwhile, or go, and one that is left is a chain at last.
        uint32_t staying = shrinks ? 1 : 100;
        dbk_link_table_init(&table);
        memset(counts, 0, sizeof counts);
        for (uint32_t i = 0; i < SCANNED; i++) {
            scanned[i] = (dbk_table_link){.hash = i * UINT32_C(2654435761), .size = i};
            if (i < staying || shrinks) dbk_link_table_insert(&table, allocator, &scanned[i]);
        }
        uint32_t position = 0, moved = staying, bucket_count = table.bucket_count, change_count = 0;
        do {
            position = dbk_link_table_scan(&table, position, note, counts);
            bool is_half_way = position > UINT32_MAX / 2;
            for (int i = 0; is_half_way && i < 60 && moved < SCANNED; i++, moved++) {
                if (shrinks) {
                    dbk_link_table_remove(&table, allocator, &scanned[moved]);
                } else {
                    dbk_link_table_insert(&table, allocator, &scanned[moved]);
                }
            }
            change_count += table.bucket_count != bucket_count;
            bucket_count = table.bucket_count;
        } while (position != 0);
        assert_true(change_count > 1);
        for (uint32_t i = 0; i < staying; i++) assert_int_equal(counts[i], 1);
        for (uint32_t i = staying; i < SCANNED; i++) assert_true(counts[i] <= 1);
        (void)dbk_link_table_take_all(&table, allocator);
    }
    // A chain without buckets, and nothing at all.
    dbk_link_table table;
    dbk_link_table_init(&table);
    memset(counts, 0, sizeof counts);
    assert_int_equal(dbk_link_table_scan(&table, 0, note, counts), 0);
    dbk_link_table_insert(&table, allocator, &scanned[0]);
    assert_int_equal(dbk_link_table_scan(&table, 0, note, counts), 0);
    assert_int_equal(counts[0], 1);
}

static void hash_with(uint8_t seed_byte, const char *text, size_t size, uint64_t *hash_out) {
    uint8_t seed[32];
    for (int i = 0; i < 32; i++) seed[i] = (uint8_t)(seed_byte * 37 + i * 101);
    dbk_hash_key key;
    dbk_hash_key_init(&key, seed);
    *hash_out = dbk_hash_bytes(&key, text, size);
}

static int compare_hashes(const void *a, const void *b) {
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

// Every prefix of a text, of zeros too, and every single changed bit gives another hash, and another seed
// another one.
static void the_hash_sees_every_bit(void **state) {
    (void)state;
    enum { SIZE = 70 };
    static uint64_t hashes[3 * SIZE + SIZE * 8 + 10];
    size_t count = 0;
    char text[SIZE], zeros[SIZE] = {0};
    for (int i = 0; i < SIZE; i++) text[i] = (char)('a' + i % 26);
    for (size_t size = 0; size <= SIZE; size++) hash_with(1, text, size, &hashes[count++]);
    for (size_t size = 1; size <= SIZE; size++) hash_with(1, zeros, size, &hashes[count++]);
    for (size_t size = 0; size <= SIZE; size++) hash_with(2, text, size, &hashes[count++]);
    for (size_t bit = 0; bit < SIZE * 8; bit++) {
        text[bit / 8] ^= (char)(1 << bit % 8);
        hash_with(1, text, SIZE, &hashes[count++]);
        text[bit / 8] ^= (char)(1 << bit % 8);
    }
    assert_true(count <= sizeof hashes / sizeof *hashes);
    qsort(hashes, count, sizeof *hashes, compare_hashes);
    for (size_t i = 1; i < count; i++) assert_true(hashes[i] != hashes[i - 1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_in_is_found_and_what_is_out_is_not),
        cmocka_unit_test(each_link_is_visited_once),
        cmocka_unit_test(a_scan_sees_each_link_once),
        cmocka_unit_test(few_links_take_no_memory),
        cmocka_unit_test(without_memory_nothing_is_lost),
        cmocka_unit_test(without_memory_chains_grow),
        cmocka_unit_test(the_hash_sees_every_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
