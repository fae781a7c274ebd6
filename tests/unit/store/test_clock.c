// SPDX-License-Identifier: Apache-2.0
// Clocks that jump: what expires, and when; on a simulated machine, whose clocks do as they are told.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "daybook/daybook.h"
#include "io/sim/sim.h"

#define MINUTE_NS (60 * DBK_SECOND_NS)
#define HOUR_NS (60 * MINUTE_NS)
#define DAY_NS (24 * HOUR_NS)

typedef struct fixture {
    dbk_sim *sim;
    daybook_vfs *vfs;
    daybook_store *store;
    unsigned warnings, infos;
    char last[512];
} fixture;

static void on_log(void *context, int level, daybook_slice message) {
    fixture *at = context;
    if (strstr((const char *)message.data, "clock") == NULL) return;
    if (level == DAYBOOK_LOG_WARNING) at->warnings++;
    if (level == DAYBOOK_LOG_INFO) at->infos++;
    size_t size = message.size < sizeof at->last - 1 ? message.size : sizeof at->last - 1;
    memcpy(at->last, message.data, size);
    at->last[size] = '\0';
}

// A store with stream S of a day's age.
static int set_up(void **state) {
    static fixture only;
    fixture *at = &only;
    memset(at, 0, sizeof *at);
    if (dbk_sim_new(7, &at->sim) != DAYBOOK_OK) return -1;
    at->vfs = dbk_sim_vfs(at->sim);
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.vfs = at->vfs;
    options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    options.journal_max_bytes = 4 << 20;
    options.log = on_log;
    options.log_context = at;
    if (daybook_open("/s", &options, &at->store, NULL) != DAYBOOK_OK) return -1;
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    daybook_slice subject = daybook_text("s.>");
    config.name = daybook_text("S");
    config.subjects = &subject;
    config.subject_count = 1;
    config.max_age_ns = DAY_NS;
    config.duplicate_window_ns = 2 * MINUTE_NS;
    if (daybook_stream_add(at->store, &config, NULL) != DAYBOOK_OK) return -1;
    *state = at;
    return 0;
}

static int tear_down(void **state) {
    fixture *at = *state;
    daybook_status status = daybook_close(at->store, NULL);
    dbk_sim_free(at->sim);
    return status == DAYBOOK_OK ? 0 : -1;
}

static daybook_receipt append(fixture *at, const char *id) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("s.1.x");
    if (id != NULL) event.id = daybook_text(id);
    daybook_receipt receipt;
    memset(&receipt, 0, sizeof receipt);
    assert_int_equal(daybook_append(at->store, &event, 1, NULL, &receipt, NULL), DAYBOOK_OK);
    return receipt;
}

// What is there after limits had their turn.
static uint64_t count(fixture *at) {
    dbk_sim_advance_ns(at->sim, 2 * DBK_SECOND_NS);
    daybook_status status = daybook_maintain(at->store, NULL);
    assert_true(status == DAYBOOK_OK || status == DAYBOOK_END);
    daybook_query query;
    daybook_query_init(&query);
    uint64_t found = UINT64_MAX;
    assert_int_equal(daybook_count(at->store, &query, &found, NULL), DAYBOOK_OK);
    return found;
}

static daybook_store_info info(fixture *at) {
    daybook_store_info info = {.size = sizeof info};
    assert_int_equal(daybook_info(at->store, &info, NULL), DAYBOOK_OK);
    return info;
}

static void jump(fixture *at, int64_t ns) {
    dbk_sim_set_real_ns(at->sim, at->vfs->clock_real_ns(at->vfs) + ns);
}

static void a_jump_ahead_expires_nothing_until_it_is_confirmed(void **state) {
    fixture *at = *state;
    (void)append(at, NULL);
    jump(at, 400 * DAY_NS);
    assert_int_equal(count(at), 1);
    assert_int_equal(at->warnings, 1);
    assert_true(info(at).clock_held_ns >= 399 * DAY_NS);
    assert_int_equal(count(at), 1);
    assert_int_equal(at->warnings, 1); // told once
    assert_int_equal(daybook_confirm_clock(at->store, NULL), DAYBOOK_OK);
    assert_int_equal(info(at).clock_held_ns, 0);
    assert_int_equal(count(at), 0);
}

static void a_clock_that_stays_ahead_for_an_hour_is_believed(void **state) {
    fixture *at = *state;
    (void)append(at, NULL);
    jump(at, 2 * DAY_NS);
    assert_int_equal(count(at), 1);
    dbk_sim_advance_ns(at->sim, 50 * MINUTE_NS);
    assert_int_equal(count(at), 1);
    jump(at, DAY_NS); // the hour begins anew
    assert_int_equal(count(at), 1);
    assert_int_equal(at->warnings, 2);
    dbk_sim_advance_ns(at->sim, 50 * MINUTE_NS);
    assert_int_equal(count(at), 1);
    dbk_sim_advance_ns(at->sim, 11 * MINUTE_NS);
    assert_int_equal(count(at), 0);
    assert_int_equal(at->infos, 1);
    assert_int_equal(info(at).clock_held_ns, 0);
}

static void a_clock_that_comes_back_was_never_believed(void **state) {
    fixture *at = *state;
    (void)append(at, NULL);
    jump(at, 2 * DAY_NS);
    assert_int_equal(count(at), 1);
    jump(at, -2 * DAY_NS);
    assert_int_equal(count(at), 1);
    assert_int_equal(info(at).clock_held_ns, 0);
    assert_int_equal(at->infos, 1);
    dbk_sim_advance_ns(at->sim, 23 * HOUR_NS);
    assert_int_equal(count(at), 1);
    dbk_sim_advance_ns(at->sim, HOUR_NS);
    assert_int_equal(count(at), 0);
}

// While the clock is held, time goes on: what is a day old by it goes.
static void events_go_on_expiring_while_the_clock_is_held(void **state) {
    fixture *at = *state;
    (void)append(at, NULL);
    dbk_sim_advance_ns(at->sim, 23 * HOUR_NS + 30 * MINUTE_NS);
    jump(at, 10 * DAY_NS);
    assert_int_equal(count(at), 1);
    dbk_sim_advance_ns(at->sim, 31 * MINUTE_NS);
    assert_true(info(at).clock_held_ns > 0);
    assert_int_equal(count(at), 0);
}

static void small_jumps_and_time_that_passes_are_believed(void **state) {
    fixture *at = *state;
    (void)append(at, NULL);
    dbk_sim_advance_ns(at->sim, 23 * HOUR_NS);
    assert_int_equal(count(at), 1);
    jump(at, 59 * MINUTE_NS);
    assert_int_equal(count(at), 1);
    jump(at, 59 * MINUTE_NS);
    assert_int_equal(count(at), 0);
    assert_int_equal(at->warnings, 0);
}

static void a_clock_set_back_expires_nothing_and_recorded_stands_still(void **state) {
    fixture *at = *state;
    int64_t first_ns = append(at, NULL).recorded_ns;
    jump(at, -400 * DAY_NS);
    daybook_receipt second = append(at, NULL);
    assert_true(second.recorded_ns >= first_ns);
    assert_true(second.recorded_ns < first_ns + DBK_SECOND_NS);
    assert_int_equal(count(at), 2);
    assert_int_equal(at->warnings, 0);
    dbk_sim_advance_ns(at->sim, 2 * DAY_NS); // by the clock they are of the future
    assert_int_equal(count(at), 2);
    assert_true(append(at, NULL).recorded_ns == second.recorded_ns);
    jump(at, 400 * DAY_NS); // put right, which looks like any other jump
    assert_int_equal(count(at), 3);
    assert_int_equal(at->warnings, 1);
    assert_int_equal(daybook_confirm_clock(at->store, NULL), DAYBOOK_OK);
    assert_int_equal(count(at), 0);
}

// An id removed by a limit is remembered for two minutes; a jump does not shorten that.
static void a_jump_forgets_no_id(void **state) {
    fixture *at = *state;
    dbk_sim_set_tick_ns(at->sim, 0);
    (void)append(at, "order-1");
    dbk_sim_advance_ns(at->sim, DAY_NS + DBK_SECOND_NS);
    assert_int_equal(count(at), 0);
    assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
    jump(at, 30 * DAY_NS);
    daybook_receipt again = append(at, "order-1");
    assert_true((again.flags & DAYBOOK_RECEIPT_DUPLICATE) != 0);
    assert_int_equal(daybook_confirm_clock(at->store, NULL), DAYBOOK_OK);
    assert_true((append(at, "order-1").flags & DAYBOOK_RECEIPT_DUPLICATE) == 0);
}

#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_STORE(a_jump_ahead_expires_nothing_until_it_is_confirmed),
        WITH_STORE(a_clock_that_stays_ahead_for_an_hour_is_believed),
        WITH_STORE(a_clock_that_comes_back_was_never_believed),
        WITH_STORE(events_go_on_expiring_while_the_clock_is_held),
        WITH_STORE(small_jumps_and_time_that_passes_are_believed),
        WITH_STORE(a_clock_set_back_expires_nothing_and_recorded_stands_still),
        WITH_STORE(a_jump_forgets_no_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
