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

// Stream S with some limits.
static daybook_stream_config config_of(daybook_stream_config limits, daybook_slice *subject) {
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    *subject = daybook_text("s.>");
    config.name = daybook_text("S");
    config.subjects = subject;
    config.subject_count = 1;
    config.max_age_ns = limits.max_age_ns;
    config.max_msgs = limits.max_msgs;
    config.max_msgs_per_subject = limits.max_msgs_per_subject;
    config.discard = limits.discard;
    config.flags = limits.flags;
    config.duplicate_window_ns = 2 * MINUTE_NS;
    return config;
}

static void set_limits(fixture *at, daybook_stream_config limits) {
    daybook_slice subject;
    daybook_stream_config config = config_of(limits, &subject);
    assert_int_equal(daybook_stream_update(at->store, &config, NULL), DAYBOOK_OK);
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
    daybook_slice subject;
    daybook_stream_config config = config_of((daybook_stream_config){.max_age_ns = DAY_NS}, &subject);
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

static daybook_event event_of(const char *id) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("s.1.x");
    event.type = daybook_text("came");
    if (id != NULL) event.id = daybook_text(id);
    return event;
}

static daybook_receipt append(fixture *at, const char *id) {
    daybook_event event = event_of(id);
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
static void forgets_no_id(fixture *at, bool is_flushed) {
    dbk_sim_set_tick_ns(at->sim, 0);
    set_limits(at, (daybook_stream_config){.max_age_ns = MINUTE_NS});
    (void)append(at, "order-1");
    dbk_sim_advance_ns(at->sim, MINUTE_NS + DBK_SECOND_NS);
    assert_int_equal(count(at), 0);
    if (is_flushed) assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
    jump(at, 30 * DAY_NS);
    daybook_receipt again = append(at, "order-1");
    assert_true((again.flags & DAYBOOK_RECEIPT_DUPLICATE) != 0);
    assert_int_equal(daybook_confirm_clock(at->store, NULL), DAYBOOK_OK);
    assert_true((append(at, "order-1").flags & DAYBOOK_RECEIPT_DUPLICATE) == 0);
}

static void a_jump_forgets_no_id_in_memory(void **state) {
    forgets_no_id(*state, false);
}

static void a_jump_forgets_no_id_of_a_segment(void **state) {
    forgets_no_id(*state, true);
}

// ---- Aged, but not yet removed by limits ------------------------------------------------------------------

static daybook_status append_if(fixture *at, const daybook_condition *condition) {
    daybook_event event = event_of(NULL);
    event.type = daybook_text("other");
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.conditions = condition;
    options.condition_count = 1;
    return daybook_append(at->store, &event, 1, &options, NULL, NULL);
}

static daybook_status append_if_at(fixture *at, int kind, uint64_t expected) {
    daybook_condition condition;
    daybook_condition_init(&condition, kind);
    condition.expected = expected;
    return append_if(at, &condition);
}

// Unless an event of the type is there; `by_index` is a question that postings can answer alone.
static daybook_status append_unless_came(fixture *at, bool by_index) {
    daybook_slice type = daybook_text("came");
    daybook_query_item item;
    daybook_query_item_init(&item);
    item.types = &type;
    item.type_count = 1;
    daybook_condition condition;
    daybook_condition_init(&condition, DAYBOOK_FAIL_IF_EVENTS_MATCH);
    condition.items = &item;
    condition.item_count = 1;
    if (!by_index) condition.stream = daybook_text("S");
    return append_if(at, &condition);
}

static uint64_t count_now(fixture *at) {
    daybook_query query;
    daybook_query_init(&query);
    uint64_t found = UINT64_MAX;
    assert_int_equal(daybook_count(at->store, &query, &found, NULL), DAYBOOK_OK);
    return found;
}

static void conditions_count_what_reads_give(fixture *at, bool is_flushed) {
    daybook_receipt first = append(at, NULL), second = append(at, NULL);
    if (is_flushed) assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
    assert_int_equal(count_now(at), 2);
    assert_int_equal(append_if_at(at, DAYBOOK_EXPECT_SUBJECT_SEQ, 0), DAYBOOK_ECONFLICT);
    assert_int_equal(append_unless_came(at, false), DAYBOOK_ECONFLICT);
    assert_int_equal(append_unless_came(at, true), DAYBOOK_ECONFLICT);
    dbk_sim_advance_ns(at->sim, DAY_NS + DBK_SECOND_NS);
    assert_int_equal(count_now(at), 0);
    assert_int_equal(append_unless_came(at, false), DAYBOOK_OK);
    assert_int_equal(append_unless_came(at, true), DAYBOOK_OK);
    dbk_sim_advance_ns(at->sim, DAY_NS + DBK_SECOND_NS);
    assert_int_equal(append_if_at(at, DAYBOOK_EXPECT_SUBJECT_SEQ, second.seq + 2), DAYBOOK_ECONFLICT);
    assert_int_equal(append_if_at(at, DAYBOOK_EXPECT_SUBJECT_SEQ, 0), DAYBOOK_OK);
    // What was assigned stays assigned.
    assert_int_equal(append_if_at(at, DAYBOOK_EXPECT_VERSION, first.version + 4), DAYBOOK_OK);
    assert_int_equal(append_if_at(at, DAYBOOK_EXPECT_STREAM_SEQ, first.seq + 5), DAYBOOK_OK);
    assert_int_equal(count_now(at), 3);
}

static void conditions_do_not_see_what_has_aged_in_memory(void **state) {
    conditions_count_what_reads_give(*state, false);
}

static void conditions_do_not_see_what_has_aged_in_a_segment(void **state) {
    conditions_count_what_reads_give(*state, true);
}

// Old and young events of a segment: what is young is found behind nothing but aged ones, and before.
static void conditions_see_what_is_young_beside_what_has_aged(void **state) {
    fixture *at = *state;
    (void)append(at, NULL);
    dbk_sim_advance_ns(at->sim, 20 * HOUR_NS);
    daybook_receipt young = append(at, NULL);
    assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
    dbk_sim_advance_ns(at->sim, 5 * HOUR_NS);
    assert_int_equal(count_now(at), 1);
    assert_int_equal(append_unless_came(at, false), DAYBOOK_ECONFLICT);
    assert_int_equal(append_unless_came(at, true), DAYBOOK_ECONFLICT);
    assert_int_equal(append_if_at(at, DAYBOOK_EXPECT_SUBJECT_SEQ, young.seq), DAYBOOK_OK);
}

// By the clock that does not believe in jumps, like reads.
static void conditions_go_by_the_clock_of_reads(void **state) {
    fixture *at = *state;
    (void)append(at, NULL);
    jump(at, 400 * DAY_NS);
    assert_int_equal(count_now(at), 1);
    assert_int_equal(append_unless_came(at, false), DAYBOOK_ECONFLICT);
    assert_int_equal(daybook_confirm_clock(at->store, NULL), DAYBOOK_OK);
    assert_int_equal(count_now(at), 0);
    assert_int_equal(append_unless_came(at, false), DAYBOOK_OK);
}

// The id of what has aged is that of a removed event: remembered for as long as the window is.
static void forgets_an_aged_id(fixture *at, bool is_flushed) {
    set_limits(at, (daybook_stream_config){.max_age_ns = MINUTE_NS});
    daybook_receipt first = append(at, "order-1");
    if (is_flushed) assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
    assert_int_equal(append(at, "order-1").flags, DAYBOOK_RECEIPT_DUPLICATE);
    dbk_sim_advance_ns(at->sim, MINUTE_NS + DBK_SECOND_NS);
    assert_int_equal(count_now(at), 0);
    assert_int_equal(append(at, "order-1").flags, DAYBOOK_RECEIPT_DUPLICATE | DAYBOOK_RECEIPT_DELETED);
    dbk_sim_advance_ns(at->sim, MINUTE_NS);
    daybook_receipt again = append(at, "order-1");
    assert_int_equal(again.flags, 0);
    assert_int_equal(again.seq, first.seq + 1);
    assert_int_equal(count_now(at), 1);
    assert_int_equal(append(at, "order-1").flags, DAYBOOK_RECEIPT_DUPLICATE);
}

static void an_aged_id_is_forgotten_with_its_window_in_memory(void **state) {
    forgets_an_aged_id(*state, false);
}

static void an_aged_id_is_forgotten_with_its_window_in_a_segment(void **state) {
    forgets_an_aged_id(*state, true);
}

static void what_has_aged_takes_no_room(fixture *at, daybook_stream_config limits) {
    limits.max_age_ns = DAY_NS;
    limits.discard = DAYBOOK_DISCARD_NEW;
    set_limits(at, limits);
    (void)append(at, NULL);
    daybook_event event = event_of(NULL);
    assert_int_equal(daybook_append(at->store, &event, 1, NULL, NULL, NULL), DAYBOOK_ELIMIT);
    dbk_sim_advance_ns(at->sim, DAY_NS + DBK_SECOND_NS);
    assert_int_equal(count_now(at), 0);
    (void)append(at, NULL);
    assert_int_equal(daybook_append(at->store, &event, 1, NULL, NULL, NULL), DAYBOOK_ELIMIT);
    assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
    dbk_sim_advance_ns(at->sim, DAY_NS + DBK_SECOND_NS);
    (void)append(at, NULL);
    assert_int_equal(count_now(at), 1);
}

static void a_full_stream_takes_events_when_others_have_aged(void **state) {
    what_has_aged_takes_no_room(*state, (daybook_stream_config){.max_msgs = 1});
}

static void a_full_subject_takes_events_when_others_have_aged(void **state) {
    what_has_aged_takes_no_room(
        *state,
        (daybook_stream_config){.max_msgs_per_subject = 1, .flags = DAYBOOK_STREAM_DISCARD_NEW_PER_SUBJECT});
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
        WITH_STORE(a_jump_forgets_no_id_in_memory),
        WITH_STORE(a_jump_forgets_no_id_of_a_segment),
        WITH_STORE(conditions_do_not_see_what_has_aged_in_memory),
        WITH_STORE(conditions_do_not_see_what_has_aged_in_a_segment),
        WITH_STORE(conditions_see_what_is_young_beside_what_has_aged),
        WITH_STORE(conditions_go_by_the_clock_of_reads),
        WITH_STORE(an_aged_id_is_forgotten_with_its_window_in_memory),
        WITH_STORE(an_aged_id_is_forgotten_with_its_window_in_a_segment),
        WITH_STORE(a_full_stream_takes_events_when_others_have_aged),
        WITH_STORE(a_full_subject_takes_events_when_others_have_aged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
