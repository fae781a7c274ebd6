// SPDX-License-Identifier: Apache-2.0
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "index/cache.h"
#include "lib/fault_allocator.h"

static dbk_cache *new_cache(size_t bytes_max) {
    dbk_cache *cache;
    assert_int_equal(dbk_cache_new(dbk_allocator_default(), bytes_max, &cache), DAYBOOK_OK);
    return cache;
}

static dbk_cache_entry *put(dbk_cache *cache, uint64_t file_id, uint64_t offset, size_t size) {
    dbk_cache_entry *entry = dbk_cache_entry_new(cache, size);
    assert_non_null(entry);
    uint8_t *data = dbk_cache_entry_data(entry);
    for (size_t i = 0; i < size; i++) data[i] = (uint8_t)(file_id * 31 + offset);
    return dbk_cache_put(cache, file_id, offset, entry);
}

static bool has(dbk_cache *cache, uint64_t file_id, uint64_t offset) {
    dbk_cache_entry *entry = dbk_cache_get(cache, file_id, offset);
    dbk_cache_release(cache, entry);
    return entry != NULL;
}

static void what_was_put_is_found(void **state) {
    (void)state;
    dbk_cache *cache = new_cache(1 << 20);
    for (uint64_t i = 0; i < 1000; i++) dbk_cache_release(cache, put(cache, i % 7, i, 100));
    for (uint64_t i = 0; i < 1000; i++) {
        dbk_cache_entry *entry = dbk_cache_get(cache, i % 7, i);
        assert_non_null(entry);
        assert_int_equal(dbk_cache_entry_size(entry), 100);
        assert_int_equal(*(uint8_t *)dbk_cache_entry_data(entry), (uint8_t)(i % 7 * 31 + i));
        dbk_cache_release(cache, entry);
        assert_false(has(cache, i % 7 + 7, i));
    }
    dbk_cache_free(cache);
}

static void memory_stays_within_the_bound(void **state) {
    (void)state;
    dbk_cache *cache = new_cache(100000);
    for (uint64_t i = 0; i < 10000; i++) {
        dbk_cache_release(cache, put(cache, 1, i, 1 + i % 3000));
        assert_true(dbk_cache_bytes(cache) <= 100000);
    }
    dbk_cache_release(cache, put(cache, 1, 1000000, 200000)); // too large to stay
    assert_false(has(cache, 1, 1000000));
    dbk_cache_free(cache);
}

static void pinned_entries_stay(void **state) {
    (void)state;
    dbk_cache *cache = new_cache(10000);
    dbk_cache_entry *pinned = put(cache, 1, 1, 9000);
    for (uint64_t i = 2; i < 100; i++) dbk_cache_release(cache, put(cache, 1, i, 1000));
    assert_true(has(cache, 1, 1));
    dbk_cache_release(cache, pinned);
    assert_true(dbk_cache_bytes(cache) <= 10000);
    dbk_cache_free(cache);
}

static void one_walk_over_everything_does_not_push_out_what_is_used(void **state) {
    (void)state;
    dbk_cache *cache = new_cache(100000);
    for (uint64_t i = 0; i < 20; i++) dbk_cache_release(cache, put(cache, 1, i, 1000));
    for (uint64_t i = 0; i < 20; i++) assert_true(has(cache, 1, i));
    for (uint64_t i = 0; i < 5000; i++) dbk_cache_release(cache, put(cache, 2, i, 1000));
    for (uint64_t i = 0; i < 20; i++) assert_true(has(cache, 1, i));
    dbk_cache_free(cache);
}

static void the_first_of_two_that_put_wins(void **state) {
    (void)state;
    dbk_cache *cache = new_cache(100000);
    dbk_cache_entry *first = put(cache, 1, 1, 10);
    dbk_cache_entry *second = put(cache, 1, 1, 10);
    assert_ptr_equal(first, second);
    dbk_cache_release(cache, first);
    dbk_cache_release(cache, second);
    dbk_cache_entry *third = put(cache, 1, 1, 10); // beside one that nobody holds
    assert_ptr_equal(first, third);
    dbk_cache_release(cache, third);
    dbk_cache_free(cache);
    dbk_cache_free(NULL);
}

static void a_forgotten_file_is_gone_and_its_pinned_chunks_live_on(void **state) {
    (void)state;
    dbk_cache *cache = new_cache(1 << 20);
    for (uint64_t i = 0; i < 100; i++) dbk_cache_release(cache, put(cache, i % 2, i, 100));
    dbk_cache_entry *pinned = dbk_cache_get(cache, 1, 1);
    dbk_cache_forget(cache, 1);
    for (uint64_t i = 0; i < 100; i++) assert_int_equal(has(cache, i % 2, i), i % 2 == 0);
    assert_int_equal(*(uint8_t *)dbk_cache_entry_data(pinned), 32);
    dbk_cache_entry *anew = put(cache, 1, 1, 100);
    assert_ptr_not_equal(anew, pinned);
    dbk_cache_release(cache, pinned);
    assert_true(has(cache, 1, 1));
    dbk_cache_release(cache, anew);
    dbk_cache_free(cache);
}

static void scratch_comes_back_as_it_was_left(void **state) {
    (void)state;
    dbk_cache *cache = new_cache(1 << 20);
    uint8_t *scratch = dbk_cache_take_scratch(cache, 1000);
    for (size_t i = 0; i < 1000; i++) assert_int_equal(scratch[i], 0);
    scratch[5] = 9;
    dbk_cache_give_scratch(cache, scratch, 1000);
    assert_ptr_equal(dbk_cache_take_scratch(cache, 1000), scratch);
    assert_int_equal(scratch[5], 9);
    void *others[10];
    for (size_t i = 0; i < 10; i++) others[i] = dbk_cache_take_scratch(cache, 500);
    for (size_t i = 0; i < 10; i++) dbk_cache_give_scratch(cache, others[i], 500);
    dbk_cache_give_scratch(cache, scratch, 1000);
    dbk_cache_free(cache);
}

static void scratch_of_another_size_is_not_given(void **state) {
    (void)state;
    dbk_cache *cache = new_cache(1 << 20);
    void *scratch = dbk_cache_take_scratch(cache, 1000);
    dbk_cache_give_scratch(cache, scratch, 1000);
    void *other = dbk_cache_take_scratch(cache, 999);
    assert_ptr_not_equal(other, scratch);
    assert_ptr_equal(dbk_cache_take_scratch(cache, 1000), scratch);
    dbk_cache_give_scratch(cache, scratch, 1000);
    dbk_cache_give_scratch(cache, other, 999);
    dbk_cache_give_scratch(cache, NULL, 1000);
    dbk_cache_free(cache);
}

static void chunks_whose_hashes_agree_are_told_apart(void **state) {
    (void)state;
    dbk_cache *cache = new_cache(1 << 20);
    // The file's id times this, and the offset, go into the hash by exclusive or.
    const uint64_t factor = UINT64_C(0x9e3779b97f4a7c15), other_offset = (2 * factor) ^ factor;
    dbk_cache_release(cache, put(cache, 1, 0, 10));
    assert_false(has(cache, 2, other_offset));
    dbk_cache_release(cache, put(cache, 2, other_offset, 20));
    dbk_cache_entry *first = dbk_cache_get(cache, 1, 0), *second = dbk_cache_get(cache, 2, other_offset);
    assert_int_equal(dbk_cache_entry_size(first), 10);
    assert_int_equal(dbk_cache_entry_size(second), 20);
    dbk_cache_release(cache, first);
    dbk_cache_release(cache, second);
    dbk_cache_free(cache);
}

// Entries that did not fit into a table that could not grow stay with their makers.
static void a_table_that_cannot_grow_takes_what_it_can(void **state) {
    (void)state;
    fault_allocator faults;
    fault_allocator_init(&faults);
    dbk_cache *cache;
    assert_int_equal(dbk_cache_new(&faults.allocator, 1 << 20, &cache), DAYBOOK_OK);
    dbk_cache_entry *entries[100];
    for (size_t i = 0; i < 100; i++) entries[i] = dbk_cache_entry_new(cache, 10);
    fault_allocator_fail(&faults, 1, true);
    for (size_t i = 0; i < 100; i++) entries[i] = dbk_cache_put(cache, 1, i, entries[i]);
    for (size_t i = 0; i < 100; i++) dbk_cache_release(cache, entries[i]);
    size_t found = 0;
    for (size_t i = 0; i < 100; i++) found += has(cache, 1, i);
    assert_true(found > 0 && found < 100);
    fault_allocator_fail(&faults, 0, false);
    dbk_cache_entry *late = dbk_cache_put(cache, 1, 1000, dbk_cache_entry_new(cache, 10));
    dbk_cache_release(cache, late);
    assert_true(has(cache, 1, 1000));
    dbk_cache_free(cache);
    assert_int_equal(fault_allocator_live(&faults), 0);
}

// Asked for twice and within a quarter of the cache, whatever else comes.
static void what_is_kept_stays_until_it_is_let_go(void **state) {
    (void)state;
    dbk_cache *cache = new_cache(100000);
    dbk_cache_entry *kept = put(cache, 1, 1, 20000), *other = put(cache, 1, 2, 20000);
    assert_false(dbk_cache_keep(cache, kept)); // once is not enough
    assert_true(has(cache, 1, 1));
    assert_true(has(cache, 1, 2));
    assert_true(dbk_cache_keep(cache, kept));
    assert_false(dbk_cache_keep(cache, other)); // no room
    dbk_cache_release(cache, kept);
    dbk_cache_release(cache, other);
    for (uint64_t i = 10; i < 500; i++) dbk_cache_release(cache, put(cache, 1, i, 1000));
    for (uint64_t i = 10; i < 500; i++) (void)has(cache, 1, i);
    for (uint64_t i = 500; i < 1000; i++) dbk_cache_release(cache, put(cache, 1, i, 1000));
    assert_true(has(cache, 1, 1));
    assert_true(dbk_cache_bytes(cache) <= 100000);
    dbk_cache_unkeep(cache, kept);
    other = put(cache, 1, 3, 20000); // its room is free again
    assert_true(has(cache, 1, 3));
    assert_true(dbk_cache_keep(cache, other));
    dbk_cache_release(cache, other);
    dbk_cache_entry *gone = put(cache, 2, 1, 1000);
    dbk_cache_forget(cache, 2);
    assert_false(dbk_cache_keep(cache, gone)); // nobody finds it any more
    dbk_cache_release(cache, gone);
    dbk_cache_forget(cache, 1); // kept, it lives on
    assert_int_equal(*(uint8_t *)dbk_cache_entry_data(other), (uint8_t)(31 + 3));
    dbk_cache_unkeep(cache, other);
    assert_int_equal(dbk_cache_bytes(cache), 0);
    dbk_cache_free(cache);
}

static void memory_out_is_a_null(void **state) {
    (void)state;
    dbk_cache *small = new_cache(1 << 20);
    assert_null(dbk_cache_entry_new(small, SIZE_MAX));
    dbk_cache_free(small);
    fault_allocator faults;
    fault_allocator_init(&faults);
    for (uint64_t nth = 1;; nth++) {
        fault_allocator_fail(&faults, nth, true);
        dbk_cache *cache;
        daybook_status status = dbk_cache_new(&faults.allocator, 64 << 20, &cache);
        if (status == DAYBOOK_OK) {
            for (uint64_t i = 0; i < 2000; i++) {
                dbk_cache_entry *entry = dbk_cache_entry_new(cache, 10);
                if (entry == NULL) break;
                dbk_cache_release(cache,
                                  dbk_cache_put(cache, 1, i, entry)); // may fail to grow its table, silently
            }
            dbk_cache_free(cache);
        } else {
            assert_int_equal(status, DAYBOOK_ENOMEM);
        }
        assert_int_equal(fault_allocator_live(&faults), 0);
        if (!fault_allocator_has_failed(&faults)) break;
    }
}

typedef struct cache_hammer {
    dbk_cache *cache;
    uint64_t seed;
    unsigned wrong;
} cache_hammer;

static void *hammer_cache(void *context) {
    cache_hammer *hammer = context;
    uint64_t random = hammer->seed;
    for (unsigned i = 0; i < 30000; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint64_t file_id = random >> 60 & 3, offset = random >> 33 & 255;
        dbk_cache_entry *entry = dbk_cache_get(hammer->cache, file_id, offset);
        if (entry == NULL) {
            entry = dbk_cache_entry_new(hammer->cache, 200);
            uint8_t *data = dbk_cache_entry_data(entry);
            for (size_t j = 0; j < 200; j++) data[j] = (uint8_t)(file_id * 31 + offset);
            entry = dbk_cache_put(hammer->cache, file_id, offset, entry);
        }
        if (((uint8_t *)dbk_cache_entry_data(entry))[199] != (uint8_t)(file_id * 31 + offset))
            hammer->wrong++;
        if (i % 1000 == 0) dbk_cache_forget(hammer->cache, file_id);
        dbk_cache_release(hammer->cache, entry);
        if (i % 10 == 0)
            dbk_cache_give_scratch(hammer->cache, dbk_cache_take_scratch(hammer->cache, 100), 100);
    }
    return NULL;
}

static void many_threads_may_use_it(void **state) {
    (void)state;
    dbk_cache *cache = new_cache(60000);
    pthread_t threads[4];
    cache_hammer hammers[4];
    for (unsigned i = 0; i < 4; i++) {
        hammers[i] = (cache_hammer){cache, i + 1, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, hammer_cache, &hammers[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(hammers[i].wrong, 0);
    }
    assert_true(dbk_cache_bytes(cache) <= 60000);
    dbk_cache_free(cache);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_put_is_found),
        cmocka_unit_test(memory_stays_within_the_bound),
        cmocka_unit_test(pinned_entries_stay),
        cmocka_unit_test(one_walk_over_everything_does_not_push_out_what_is_used),
        cmocka_unit_test(the_first_of_two_that_put_wins),
        cmocka_unit_test(a_forgotten_file_is_gone_and_its_pinned_chunks_live_on),
        cmocka_unit_test(scratch_comes_back_as_it_was_left),
        cmocka_unit_test(scratch_of_another_size_is_not_given),
        cmocka_unit_test(chunks_whose_hashes_agree_are_told_apart),
        cmocka_unit_test(a_table_that_cannot_grow_takes_what_it_can),
        cmocka_unit_test(what_is_kept_stays_until_it_is_let_go),
        cmocka_unit_test(memory_out_is_a_null),
        cmocka_unit_test(many_threads_may_use_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
