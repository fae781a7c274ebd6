// SPDX-License-Identifier: Apache-2.0
// Timers: called in order of their times, once, and never after they were stopped, against a naive list.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/time.h"
#include "broker/timer.h"

enum { COUNT = 300 };

typedef struct item {
    dbk_timer timer;
    int64_t due_ns; // -1: not started
    unsigned fired;
} item;

static dbk_timers timers;
static item items[COUNT];
static int64_t last_due_ns;
static uint64_t state = 362436069;

static uint64_t draw(uint64_t below) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

static void fire(dbk_timer *timer) {
    item *it = DBK_OWNER(timer, item, timer);
    assert_int_equal(it->due_ns, timer->due_ns);
    assert_true(timer->due_ns >= last_due_ns);
    last_due_ns = timer->due_ns;
    it->due_ns = -1;
    it->fired++;
}

static int64_t earliest(void) {
    int64_t due_ns = INT64_MAX;
    for (int i = 0; i < COUNT; i++) {
        if (items[i].due_ns >= 0 && items[i].due_ns < due_ns) due_ns = items[i].due_ns;
    }
    return due_ns;
}

static void they_come_in_order(void **unused) {
    (void)unused;
    dbk_timers_init(&timers, NULL, NULL);
    for (int i = 0; i < COUNT; i++) {
        dbk_timer_init(&items[i].timer, fire);
        items[i].due_ns = -1;
    }
    int64_t now_ns = 0;
    for (int step = 0; step < 20000; step++) {
        item *it = &items[draw(COUNT)];
        if (draw(3) > 0) {
            it->due_ns = now_ns + (int64_t)draw(1000);
            dbk_timer_start_at(&timers, &it->timer, it->due_ns);
        } else {
            it->due_ns = -1;
            dbk_timer_stop(&timers, &it->timer);
        }
        assert_int_equal(dbk_timers_due_ns(&timers), earliest());
        if (draw(10) == 0) {
            now_ns += (int64_t)draw(300);
            last_due_ns = 0;
            dbk_timers_run(&timers, now_ns);
            assert_true(earliest() > now_ns);
        }
    }
    unsigned fired = 0;
    for (int i = 0; i < COUNT; i++) {
        fired += items[i].fired;
        dbk_timer_stop(&timers, &items[i].timer);
    }
    assert_true(fired > 1000);
    assert_int_equal(dbk_timers_due_ns(&timers), INT64_MAX);
}

static dbk_timer again, victim;
static unsigned again_count;

static void start_again(dbk_timer *timer) {
    again_count++;
    dbk_timer_stop(&timers, &victim);
    dbk_timer_start_at(&timers, timer, 0); // past already
}

static void must_not_fire(dbk_timer *timer) {
    (void)timer;
    fail_msg("a stopped timer fired");
}

static void a_callback_may_start_and_stop(void **unused) {
    (void)unused;
    dbk_timers_init(&timers, NULL, NULL);
    dbk_timer_init(&again, start_again);
    dbk_timer_init(&victim, must_not_fire);
    dbk_timer_start_at(&timers, &again, 5);
    dbk_timer_start_at(&timers, &victim, 5);
    dbk_timers_run(&timers, 10);
    assert_int_equal(again_count, 1); // what is started meanwhile waits for the next call
    dbk_timers_run(&timers, 10);
    assert_int_equal(again_count, 2);
}

// "For ever" is the largest number there is, or half of it: neither is in the past.
static void what_is_due_in_an_eternity_does_not_fire(void **unused) {
    (void)unused;
    int64_t now_ns = 1000 * DBK_SECOND_NS;
    static const int64_t endless_ns[] = {INT64_MAX, INT64_MAX - 1, INT64_MAX / 2 + 1};
    dbk_timers_init(&timers, NULL, NULL);
    for (size_t i = 0; i < sizeof endless_ns / sizeof *endless_ns; i++) {
        dbk_timer_init(&victim, must_not_fire);
        dbk_timer_start_at(&timers, &victim, dbk_time_after(now_ns, endless_ns[i]));
        dbk_timers_run(&timers, now_ns);
        assert_true(victim.is_active);
        dbk_timer_stop(&timers, &victim);
    }
    assert_true(dbk_time_after(now_ns, INT64_MAX) == INT64_MAX);
    assert_true(dbk_time_after(INT64_MAX, INT64_MAX) == INT64_MAX);
    assert_true(dbk_time_after(INT64_MAX - 1, 1) == INT64_MAX);
    assert_true(dbk_time_after(0, INT64_MAX) == INT64_MAX);
    assert_true(dbk_time_after(-1, INT64_MAX) == INT64_MAX - 1);
    assert_true(dbk_time_after(7, 5) == 12);
    assert_true(dbk_time_after(7, -5) == 2);
}

static void many_due_together_need_no_deep_stack(void **unused) {
    (void)unused;
    enum { MANY = 200000 };
    item *many = calloc(MANY, sizeof *many);
    assert_non_null(many);
    dbk_timers_init(&timers, NULL, NULL);
    for (int i = 0; i < MANY; i++) {
        dbk_timer_init(&many[i].timer, fire);
        many[i].due_ns = MANY - i;
        dbk_timer_start_at(&timers, &many[i].timer, many[i].due_ns);
    }
    last_due_ns = 0;
    dbk_timers_run(&timers, MANY);
    for (int i = 0; i < MANY; i++) assert_int_equal(many[i].fired, 1);
    free(many);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_come_in_order),
        cmocka_unit_test(a_callback_may_start_and_stop),
        cmocka_unit_test(what_is_due_in_an_eternity_does_not_fire),
        cmocka_unit_test(many_due_together_need_no_deep_stack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
