// SPDX-License-Identifier: Apache-2.0
// Streams with sync_interval: acknowledged before the sync, seen when durable, and limited then.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daybook/daybook.h"
#include "io/sim/sim.h"

static dbk_sim *sim;
static daybook_store *store;
static daybook_error error;

static void open_store(void) {
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.vfs = dbk_sim_vfs(sim);
    options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    daybook_error_init(&error);
    assert_int_equal(daybook_open("store", &options, &store, &error), DAYBOOK_OK);
}

static int set_up(void **state) {
    (void)state;
    if (dbk_sim_new(7, &sim) != DAYBOOK_OK) return -1;
    open_store();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    (void)daybook_close(store, NULL);
    dbk_sim_free(sim);
    return 0;
}

static void add_stream(const char *name, const char *subject, int64_t interval_ns, uint64_t max_msgs,
                       uint64_t max_per_subject) {
    daybook_slice subjects = daybook_text(subject);
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text(name);
    config.subjects = &subjects;
    config.subject_count = 1;
    config.sync_interval_ns = interval_ns;
    config.max_msgs = max_msgs;
    config.max_msgs_per_subject = max_per_subject;
    assert_int_equal(daybook_stream_add(store, &config, &error), DAYBOOK_OK);
}

static void append(const char *subject) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    assert_int_equal(daybook_append(store, &event, 1, NULL, NULL, &error), DAYBOOK_OK);
}

static uint64_t count_of(const char *name) {
    daybook_query query;
    daybook_query_init(&query);
    query.stream = daybook_text(name);
    uint64_t count = 0;
    assert_int_equal(daybook_count(store, &query, &count, &error), DAYBOOK_OK);
    return count;
}

static void maintain(void) {
    daybook_status status;
    while ((status = daybook_maintain(store, &error)) == DAYBOOK_OK) {
    }
    assert_int_equal(status, DAYBOOK_END);
}

#define SECOND_NS INT64_C(1000000000)

static void test_seen_when_durable(void **state) {
    (void)state;
    add_stream("SLOW", "slow.>", SECOND_NS, 0, 0);
    append("slow.1.a");
    maintain();
    assert_int_equal(count_of("SLOW"), 0);
    dbk_sim_advance_ns(sim, 2 * SECOND_NS);
    maintain();
    assert_int_equal(count_of("SLOW"), 1);
}

static void test_the_shortest_interval_counts(void **state) {
    (void)state;
    add_stream("SLOW", "slow.>", 3600 * SECOND_NS, 0, 0);
    add_stream("QUICK", "quick.>", SECOND_NS, 0, 0);
    append("slow.1.a");
    append("quick.1.a");
    dbk_sim_advance_ns(sim, 2 * SECOND_NS);
    maintain();
    assert_int_equal(count_of("QUICK"), 1);
    assert_int_equal(count_of("SLOW"), 1); // it lies before
}

static void test_limits_apply_once_durable(void **state) {
    (void)state;
    add_stream("FEW", "few.>", SECOND_NS, 2, 0);
    add_stream("NEWEST", "newest.>", SECOND_NS, 0, 1);
    for (int i = 0; i < 5; i++) {
        append("few.1.a");
        append("newest.1.a");
    }
    dbk_sim_advance_ns(sim, 2 * SECOND_NS);
    maintain();
    assert_int_equal(count_of("FEW"), 2);
    assert_int_equal(count_of("NEWEST"), 1);
}

// Another append made them durable, and a flush cut the journal behind them.
static void test_limits_apply_after_a_crash(void **state) {
    (void)state;
    add_stream("NEWEST", "newest.>", SECOND_NS, 0, 1);
    append("newest.1.a");
    append("newest.1.a");
    assert_int_equal(daybook_flush(store, &error), DAYBOOK_OK);
    dbk_sim_stop_now(sim);
    (void)daybook_close(store, NULL);
    dbk_sim_crash(sim, DBK_SIM_POWER_LOSS_KEEP_ALL);
    open_store();
    assert_int_equal(count_of("NEWEST"), 1);
}

// A snapshot that is not durable yet goes with its stream, too.
static void test_snapshots_go_with_their_stream(void **state) {
    (void)state;
    add_stream("USERS", "users.>", 0, 0, 0);
    add_stream("KV_SNAPSHOTS", "$KV.SNAPSHOTS.>", SECOND_NS, 0, 0);
    append("users.7.a");
    append("$KV.SNAPSHOTS.users.7");
    assert_int_equal(daybook_stream_remove(store, daybook_text("USERS"), &error), DAYBOOK_OK);
    assert_int_equal(count_of("KV_SNAPSHOTS"), 0);
}

static void test_closing_makes_all_durable(void **state) {
    (void)state;
    add_stream("SLOW", "slow.>", 3600 * SECOND_NS, 0, 0);
    append("slow.1.a");
    assert_int_equal(daybook_close(store, &error), DAYBOOK_OK);
    open_store();
    assert_int_equal(count_of("SLOW"), 1);
}

// Who closes cleanly must hear that what was acknowledged is lost.
static void test_closing_tells_what_is_lost(void **state) {
    (void)state;
    add_stream("SLOW", "slow.>", 3600 * SECOND_NS, 0, 0);
    append("slow.1.a");
    dbk_sim_fault fault = {
        .kind = DBK_SIM_WRITE, .suffix = "journal", .nth = 1, .is_forever = true, .error = 5};
    assert_int_equal(dbk_sim_fail(sim, &fault), DAYBOOK_OK);
    daybook_status status = daybook_close(store, &error);
    dbk_sim_clear_faults(sim);
    open_store();
    assert_int_equal(status, DAYBOOK_EUNCERTAIN);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_seen_when_durable, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_shortest_interval_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_limits_apply_once_durable, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_limits_apply_after_a_crash, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_snapshots_go_with_their_stream, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_closing_makes_all_durable, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_closing_tells_what_is_lost, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
