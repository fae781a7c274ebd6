// SPDX-License-Identifier: Apache-2.0
// The timer wheel: every deadline is met at its tick, none before, whatever the steps of time.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "consumer/schedule.h"

enum { COUNT = 3000 };

static uint64_t random_state;

static uint64_t next_random(void) { // splitmix64
    uint64_t mixed = random_state += UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

typedef struct wheel {
    dbk_schedule schedule;
    uint64_t deadlines[COUNT + 1]; // 0: fired
    size_t left;
} wheel;

static void visit(void *context, uint64_t first, uint64_t last, uint64_t before) {
    wheel *turning = context;
    for (uint64_t seq = first; seq <= last; seq++) {
        uint64_t deadline = turning->deadlines[seq];
        if (deadline == 0 || deadline >= before) continue;
        assert_true(deadline >= turning->schedule.now);
        if (deadline == turning->schedule.now) {
            turning->deadlines[seq] = 0;
            turning->left--;
        } else {
            assert_int_equal(dbk_schedule_add(&turning->schedule, deadline, seq, seq - 1), DAYBOOK_OK);
        }
    }
}

static void every_deadline_is_met(void **state) {
    (void)state;
    static wheel turning;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        random_state = seed;
        uint64_t now = next_random() % (UINT64_C(1) << 37);
        dbk_schedule_init(&turning.schedule, dbk_allocator_default(), now);
        unsigned spread = 1 + seed % 30; // bits of the distance
        for (uint64_t seq = 1; seq <= COUNT; seq++) {
            turning.deadlines[seq] = now + 1 + next_random() % (UINT64_C(1) << spread);
            assert_int_equal(dbk_schedule_add(&turning.schedule, turning.deadlines[seq], seq, seq - 1),
                             DAYBOOK_OK);
        }
        turning.left = COUNT;
        while (turning.left > 0) {
            uint64_t first = UINT64_MAX;
            for (uint64_t seq = 1; seq <= COUNT; seq++) {
                uint64_t deadline = turning.deadlines[seq];
                if (deadline != 0 && deadline < first) first = deadline;
            }
            assert_true(dbk_schedule_next(&turning.schedule) <= first);
            now = now + 1 + next_random() % (UINT64_C(1) << spread) / 8;
            dbk_schedule_advance(&turning.schedule, now, visit, &turning);
            for (uint64_t seq = 1; seq <= COUNT; seq++)
                assert_true(turning.deadlines[seq] == 0 || turning.deadlines[seq] > now);
            if (turning.left > 0 && next_random() % 8 == 0) {
                // One of them moves, either way.
                uint64_t seq = 1 + next_random() % COUNT;
                if (turning.deadlines[seq] == 0) continue;
                turning.deadlines[seq] = now + 1 + next_random() % (UINT64_C(1) << spread);
                assert_int_equal(dbk_schedule_add(&turning.schedule, turning.deadlines[seq], seq, seq - 1),
                                 DAYBOOK_OK);
            }
        }
        dbk_schedule_deinit(&turning.schedule);
    }
}

static void nothing_is_due_where_nothing_is_scheduled(void **state) {
    (void)state;
    dbk_schedule schedule;
    dbk_schedule_init(&schedule, dbk_allocator_default(), 17);
    assert_true(dbk_schedule_next(&schedule) == UINT64_MAX);
    dbk_schedule_advance(&schedule, UINT64_C(1) << 40, visit, NULL);
    assert_true(schedule.now == UINT64_C(1) << 40);
    dbk_schedule_deinit(&schedule);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_deadline_is_met),
        cmocka_unit_test(nothing_is_due_where_nothing_is_scheduled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
