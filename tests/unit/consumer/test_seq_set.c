// SPDX-License-Identifier: Apache-2.0
// Sets of seqs: against a plain array, with a bound, and with memory that runs out.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/error.h"
#include "consumer/seq_set.h"
#include "lib/fault_allocator.h"

enum { SEQS = 96, STEPS = 20000, RANGE_MAX = 4 };

static uint64_t next_random(uint64_t *random) {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random;
}

// Ranges ascend and do not touch.
static void assert_sound(const dbk_seq_set *set) {
    for (size_t i = 0; i < set->count; i++) {
        assert_true(set->items[i].first <= set->items[i].last);
        if (i > 0) assert_true(set->items[i].first - set->items[i - 1].last >= 2);
    }
    if (set->range_max > 0) assert_true(set->count <= set->range_max);
}

static void fill(bool *has, uint64_t first, uint64_t last, bool value) {
    for (uint64_t seq = first; seq <= last; seq++) has[seq] = value;
}

static void it_holds_what_was_added_and_not_removed(void **state) {
    (void)state;
    uint64_t random = 11;
    dbk_seq_set set = {0};
    bool has[SEQS] = {false};
    for (int step = 0; step < STEPS; step++) {
        uint64_t first = next_random(&random) % SEQS;
        uint64_t last = first + next_random(&random) % 6;
        if (last >= SEQS) last = SEQS - 1;
        bool adds = next_random(&random) % 2 == 0;
        assert_int_equal(adds ? dbk_seq_set_add(&set, dbk_allocator_default(), first, last)
                              : dbk_seq_set_remove(&set, dbk_allocator_default(), first, last),
                         DAYBOOK_OK);
        fill(has, first, last, adds);
        assert_sound(&set);
        for (uint64_t seq = 0; seq < SEQS; seq++) assert_int_equal(dbk_seq_set_has(&set, seq), has[seq]);
        first = next_random(&random) % SEQS;
        last = first + next_random(&random) % (SEQS - first);
        bool any = false;
        for (uint64_t seq = first; seq <= last; seq++) any = any || has[seq];
        assert_int_equal(dbk_seq_set_has_any(&set, first, last), any);
    }
    dbk_seq_set_deinit(&set, dbk_allocator_default());
    assert_false(dbk_seq_set_has(&set, 1));
}

// It may hold more than it was given, never less; what is removed is not there.
static void with_a_bound_it_holds_too_much_rather_than_too_little(void **state) {
    (void)state;
    uint64_t random = 12;
    dbk_seq_set set = {.range_max = RANGE_MAX};
    bool has[SEQS] = {false};
    for (int step = 0; step < STEPS; step++) {
        uint64_t seq = next_random(&random) % SEQS;
        bool adds = next_random(&random) % 3 != 0;
        assert_int_equal(adds ? dbk_seq_set_add(&set, dbk_allocator_default(), seq, seq)
                              : dbk_seq_set_remove(&set, dbk_allocator_default(), seq, seq),
                         DAYBOOK_OK);
        has[seq] = adds;
        assert_sound(&set);
        assert_int_equal(dbk_seq_set_has(&set, seq), adds);
        for (uint64_t at = 0; at < SEQS; at++) {
            if (has[at]) assert_true(dbk_seq_set_has(&set, at));
        }
    }
    dbk_seq_set_deinit(&set, dbk_allocator_default());
    assert_int_equal(set.range_max, RANGE_MAX);
}

static void the_smallest_gap_is_closed(void **state) {
    (void)state;
    dbk_seq_set set = {.range_max = 3};
    static const uint64_t seqs[] = {10, 20, 23, 40};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(dbk_seq_set_add(&set, dbk_allocator_default(), seqs[i], seqs[i]), DAYBOOK_OK);
    assert_int_equal(set.count, 3);
    assert_true(set.items[1].first == 20 && set.items[1].last == 23);
    // What lies in the gap that is closed for it needs no range.
    assert_int_equal(dbk_seq_set_add(&set, dbk_allocator_default(), 15, 15), DAYBOOK_OK);
    assert_int_equal(set.count, 2);
    assert_true(set.items[0].first == 10 && set.items[0].last == 23);
    dbk_seq_set_deinit(&set, dbk_allocator_default());
}

// A sixteenth at once, so that it is not looked for with each that comes; of gaps alike the first.
static void the_smallest_gaps_are_closed_together(void **state) {
    (void)state;
    enum { RANGES = 64 };
    dbk_seq_set set = {.range_max = RANGES};
    uint64_t seqs[RANGES], seq = 10;
    for (uint64_t i = 0; i < RANGES; i++) {
        seqs[i] = seq;
        assert_int_equal(dbk_seq_set_add(&set, dbk_allocator_default(), seq, seq), DAYBOOK_OK);
        seq += i % 10 == 9 ? 2 : i % 10 == 4 ? 3 : 50 - i % 7; // 6 of two, 6 of three
    }
    assert_int_equal(set.count, RANGES);
    for (uint64_t round = 1; round <= 2; round++) {
        for (size_t missing = RANGES - set.count + 1; missing > 0; missing--) {
            seq += 1000;
            assert_int_equal(dbk_seq_set_add(&set, dbk_allocator_default(), seq, seq), DAYBOOK_OK);
        }
        assert_int_equal(set.count, RANGES - 4 + 1);
        unsigned closed = 0;
        for (size_t i = 0; i + 1 < RANGES; i++) {
            bool is_closed = seqs[i + 1] - seqs[i] > 1 && dbk_seq_set_has(&set, seqs[i] + 1);
            bool is_due = i % 10 == 9 ? i < 40 || round == 2 : i % 10 == 4 && i < 20 && round == 2;
            assert_int_equal(is_closed, is_due);
            closed += is_closed;
        }
        assert_int_equal(closed, 4 * round);
        for (size_t i = 0; i < RANGES; i++) assert_true(dbk_seq_set_has(&set, seqs[i]));
        assert_sound(&set);
    }
    dbk_seq_set_deinit(&set, dbk_allocator_default());
}

static void the_greatest_seq_is_one_like_others(void **state) {
    (void)state;
    dbk_seq_set set = {0};
    assert_int_equal(dbk_seq_set_add(&set, dbk_allocator_default(), UINT64_MAX - 1, UINT64_MAX), DAYBOOK_OK);
    assert_int_equal(dbk_seq_set_add(&set, dbk_allocator_default(), 5, UINT64_MAX - 3), DAYBOOK_OK);
    assert_int_equal(set.count, 2);
    assert_int_equal(dbk_seq_set_remove(&set, dbk_allocator_default(), UINT64_MAX, UINT64_MAX), DAYBOOK_OK);
    assert_false(dbk_seq_set_has(&set, UINT64_MAX));
    assert_int_equal(dbk_seq_set_remove(&set, dbk_allocator_default(), 0, UINT64_MAX), DAYBOOK_OK);
    assert_int_equal(set.count, 0);
    dbk_seq_set_deinit(&set, dbk_allocator_default());
}

static void memory_may_run_out(void **state) {
    (void)state;
    for (uint64_t step = 1;; step++) {
        fault_allocator faults;
        fault_allocator_init(&faults);
        dbk_seq_set set = {0};
        fault_allocator_fail(&faults, step, false);
        for (uint64_t seq = 2; seq < 200; seq += 2) {
            daybook_status status = dbk_seq_set_add(&set, &faults.allocator, seq, seq);
            assert_int_equal(dbk_seq_set_has(&set, seq), status == DAYBOOK_OK);
        }
        assert_int_equal(dbk_seq_set_remove(&set, &faults.allocator, 0, 100), DAYBOOK_OK);
        bool failed = fault_allocator_has_failed(&faults);
        assert_sound(&set);
        dbk_seq_set_deinit(&set, &faults.allocator);
        assert_int_equal(fault_allocator_live(&faults), 0);
        if (!failed) break;
    }
    // Where it would have to part a range it stays as it was.
    fault_allocator faults;
    fault_allocator_init(&faults);
    dbk_seq_set set = {0};
    assert_int_equal(dbk_seq_set_add(&set, &faults.allocator, 1, 100), DAYBOOK_OK);
    while (set.count < set.capacity) {
        uint64_t behind = 200 + 2 * (uint64_t)set.count;
        assert_int_equal(dbk_seq_set_add(&set, &faults.allocator, behind, behind), DAYBOOK_OK);
    }
    fault_allocator_fail(&faults, 1, true);
    assert_int_equal(dbk_seq_set_remove(&set, &faults.allocator, 50, 50), DAYBOOK_ENOMEM);
    assert_true(dbk_seq_set_has(&set, 50));
    assert_sound(&set);
    dbk_seq_set_deinit(&set, &faults.allocator);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_holds_what_was_added_and_not_removed),
        cmocka_unit_test(with_a_bound_it_holds_too_much_rather_than_too_little),
        cmocka_unit_test(the_smallest_gap_is_closed),
        cmocka_unit_test(the_smallest_gaps_are_closed_together),
        cmocka_unit_test(the_greatest_seq_is_one_like_others),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
