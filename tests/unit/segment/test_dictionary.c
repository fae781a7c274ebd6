// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/fault_allocator.h"
#include "segment/segment.h"

enum { BODIES = 2000, BODY_SIZE = 160, USES_MAX = 32 };

typedef struct bodies {
    dbk_slice slices[BODIES];
    char text[BODIES][BODY_SIZE];
} bodies;

enum kind { ORDERS, READINGS };

static bodies *make_bodies(enum kind kind, unsigned seed) {
    bodies *made = malloc(sizeof *made);
    assert_non_null(made);
    for (unsigned i = 0; i < BODIES; i++) {
        unsigned a = (seed + i) * 2654435761u, b = a / 7, c = a / 77;
        int size = kind == ORDERS
                       ? snprintf(made->text[i], BODY_SIZE,
                                  "{\"customer\":\"%08x\",\"status\":\"confirmed and waiting for payment\","
                                  "\"amount\":%u,\"reference\":%u}",
                                  a, b, c)
                       : snprintf(made->text[i], BODY_SIZE,
                                  "<measurement station='harbour' id='%08x'><temperature>%u</temperature>"
                                  "<wind>%u</wind></measurement>",
                                  a, b, c);
        made->slices[i] = daybook_bytes(made->text[i], (size_t)size);
    }
    return made;
}

static bool choose(dbk_dictionary *dictionary, const bodies *from, size_t count) {
    bool is_used;
    assert_int_equal(
        dbk_dictionary_choose(dbk_allocator_default(), from->slices, count, dictionary, &is_used),
        DAYBOOK_OK);
    return is_used;
}

static dbk_slice bytes_of(const dbk_dictionary *dictionary) {
    return daybook_bytes(dictionary->bytes.data, dictionary->bytes.size);
}

static void one_dictionary_serves_segments_of_a_kind(void **state) {
    (void)state;
    dbk_dictionary dictionary;
    dbk_dictionary_init(&dictionary, dbk_allocator_default());
    bodies *first = make_bodies(ORDERS, 1), *second = make_bodies(ORDERS, 1000000);
    assert_true(choose(&dictionary, first, BODIES));
    assert_true(dictionary.bytes.size > 1000);
    uint8_t *kept = malloc(dictionary.bytes.size);
    size_t size = dictionary.bytes.size;
    memcpy(kept, dictionary.bytes.data, size);
    for (unsigned i = 2; i <= USES_MAX; i++) {
        assert_true(choose(&dictionary, i % 2 == 0 ? second : first, BODIES));
        assert_int_equal(dictionary.uses, i);
        assert_true(dbk_slice_equal(bytes_of(&dictionary), daybook_bytes(kept, size)));
    }
    // What is erased must not mean to rewrite the whole store.
    assert_true(choose(&dictionary, second, BODIES));
    assert_int_equal(dictionary.uses, 1);
    assert_false(dbk_slice_equal(bytes_of(&dictionary), daybook_bytes(kept, size)));
    dbk_dictionary_forget(&dictionary);
    assert_int_equal(dictionary.bytes.size, 0);
    assert_true(choose(&dictionary, first, BODIES));
    assert_int_equal(dictionary.uses, 1);
    assert_true(dbk_slice_equal(bytes_of(&dictionary), daybook_bytes(kept, size)));
    free(kept);
    free(first);
    free(second);
    dbk_dictionary_deinit(&dictionary);
}

static void other_events_get_a_dictionary_of_their_own(void **state) {
    (void)state;
    dbk_dictionary dictionary;
    dbk_dictionary_init(&dictionary, dbk_allocator_default());
    bodies *first = make_bodies(ORDERS, 1), *second = make_bodies(READINGS, 1);
    assert_true(choose(&dictionary, first, BODIES));
    assert_true(choose(&dictionary, second, BODIES));
    assert_int_equal(dictionary.uses, 1);
    bool has_learnt = false;
    for (size_t i = 0; i + 11 <= dictionary.bytes.size && !has_learnt; i++)
        has_learnt = memcmp(dictionary.bytes.data + i, "measurement", 11) == 0;
    assert_true(has_learnt);
    free(first);
    free(second);
    dbk_dictionary_deinit(&dictionary);
}

// A few events are not worth one: neither their own nor a large one of others.
static void few_events_get_none(void **state) {
    (void)state;
    dbk_dictionary dictionary;
    dbk_dictionary_init(&dictionary, dbk_allocator_default());
    bodies *from = make_bodies(ORDERS, 1);
    assert_false(choose(&dictionary, from, 0));
    assert_false(choose(&dictionary, from, 20));
    assert_int_equal(dictionary.uses, 0);
    assert_true(choose(&dictionary, from, BODIES));
    assert_false(choose(&dictionary, from, 20));
    assert_int_equal(dictionary.uses, 1);
    assert_true(dictionary.bytes.size > 1000);
    // Far fewer, but enough for a small one.
    size_t large = dictionary.bytes.size;
    assert_true(choose(&dictionary, from, BODIES / 4));
    assert_true(dictionary.bytes.size < large / 2);
    free(from);
    dbk_dictionary_deinit(&dictionary);
}

static void without_memory_it_stays_as_it_was(void **state) {
    (void)state;
    bodies *first = make_bodies(ORDERS, 1), *second = make_bodies(READINGS, 1);
    unsigned failed = 0;
    for (unsigned n = 1; failed + 1 == n; n++) {
        fault_allocator faults;
        fault_allocator_init(&faults);
        dbk_dictionary dictionary;
        dbk_dictionary_init(&dictionary, &faults.allocator);
        bool is_used;
        assert_int_equal(
            dbk_dictionary_choose(&faults.allocator, first->slices, BODIES, &dictionary, &is_used),
            DAYBOOK_OK);
        uint32_t checksum = dictionary.bytes.data[dictionary.bytes.size / 2];
        size_t size = dictionary.bytes.size;
        fault_allocator_fail(&faults, n, true);
        daybook_status status =
            dbk_dictionary_choose(&faults.allocator, second->slices, BODIES, &dictionary, &is_used);
        if (status != DAYBOOK_OK) {
            assert_int_equal(status, DAYBOOK_ENOMEM);
            assert_false(is_used);
            assert_int_equal(dictionary.uses, 1);
            assert_int_equal(dictionary.bytes.size, size);
            assert_int_equal(dictionary.bytes.data[size / 2], checksum);
            failed++;
        }
        dbk_dictionary_deinit(&dictionary);
        fault_allocator_fail(&faults, 0, false);
        assert_int_equal(fault_allocator_live(&faults), 0);
    }
    assert_true(failed >= 5);
    free(first);
    free(second);
}

// Bodies that no dictionary makes smaller, and some that are larger than the pieces that are measured.
static void bodies_of_noise_and_size_are_measured(void **state) {
    (void)state;
    enum { COUNT = 400, NOISE = 700, LARGE = 9000 };
    static uint8_t noise[COUNT * NOISE], large[LARGE];
    uint64_t random = 7;
    for (size_t i = 0; i < sizeof noise; i++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        noise[i] = (uint8_t)(random >> 56);
    }
    bodies *orders = make_bodies(ORDERS, 1);
    dbk_slice slices[COUNT];
    // Noise: the dictionary at hand is measured, then one of noise's own.
    for (size_t i = 0; i < COUNT; i++) slices[i] = daybook_bytes(noise + i * NOISE, NOISE);
    dbk_dictionary dictionary;
    dbk_dictionary_init(&dictionary, dbk_allocator_default());
    bool is_used;
    assert_true(choose(&dictionary, orders, BODIES));
    assert_int_equal(dbk_dictionary_choose(dbk_allocator_default(), slices, COUNT, &dictionary, &is_used),
                     DAYBOOK_OK);
    // The last ones are too large for any piece: they are left out.
    for (size_t i = 0; i < COUNT; i++)
        slices[i] = i < COUNT / 2 ? orders->slices[i] : daybook_bytes(large, LARGE);
    assert_int_equal(dbk_dictionary_choose(dbk_allocator_default(), slices, COUNT, &dictionary, &is_used),
                     DAYBOOK_OK);
    // One that is much smaller than what the bodies are worth is not kept.
    dbk_dictionary_forget(&dictionary);
    assert_true(choose(&dictionary, orders, BODIES / 4));
    size_t small = dictionary.bytes.size;
    assert_true(choose(&dictionary, orders, BODIES));
    assert_true(dictionary.bytes.size > small);
    dbk_dictionary_deinit(&dictionary);
    free(orders);
}

// Bodies too large for a piece are left out of it, also where nothing is left to measure.
static void bodies_larger_than_a_piece_are_not_measured(void **state) {
    (void)state;
    enum { LARGE = 9000 };
    static uint8_t large[LARGE];
    dbk_dictionary dictionary;
    dbk_dictionary_init(&dictionary, dbk_allocator_default());
    bodies *orders = make_bodies(ORDERS, 1);
    for (size_t i = 0; i < BODIES; i++)
        if (i % 20 == 19 || i + 100 >= BODIES) orders->slices[i] = daybook_bytes(large, LARGE);
    assert_true(choose(&dictionary, orders, BODIES));
    assert_int_equal(dictionary.uses, 1);
    assert_true(dictionary.packed > 0);
    free(orders);
    dbk_dictionary_deinit(&dictionary);
}

// The data packs worse, not the dictionary: a new one would do no better.
static void a_dictionary_stays_where_a_new_one_gains_nothing(void **state) {
    (void)state;
    dbk_dictionary dictionary;
    dbk_dictionary_init(&dictionary, dbk_allocator_default());
    bodies *from = make_bodies(ORDERS, 1);
    assert_true(choose(&dictionary, from, BODIES));
    dictionary.packed /= 2; // as if what it was trained on had packed twice as well
    uint64_t before = dictionary.packed;
    assert_true(choose(&dictionary, from, BODIES));
    assert_int_equal(dictionary.uses, 2);
    assert_true(dictionary.packed > before);
    free(from);
    dbk_dictionary_deinit(&dictionary);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_dictionary_serves_segments_of_a_kind),
        cmocka_unit_test(other_events_get_a_dictionary_of_their_own),
        cmocka_unit_test(few_events_get_none),
        cmocka_unit_test(without_memory_it_stays_as_it_was),
        cmocka_unit_test(bodies_of_noise_and_size_are_measured),
        cmocka_unit_test(bodies_larger_than_a_piece_are_not_measured),
        cmocka_unit_test(a_dictionary_stays_where_a_new_one_gains_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
