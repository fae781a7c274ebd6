// SPDX-License-Identifier: Apache-2.0
// Power loss at each change of the disk while a consumer works: states, some in parts, replace changes,
// acknowledgements are confirmed and commit with appends. After it each input has at most one output; one
// that was confirmed is not delivered again; what has no output and was not confirmed is; and the work ends.
// The same by interest: what was given up, or is to be, is there at all times, and nothing else stays.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "daybook/daybook.h"
#include "io/sim/sim.h"
#include "store/consumer.h"

enum { EVENTS = 40, ROUNDS_MAX = 60, PART_BYTES = 48, CHECKPOINT_CHANGES = 300 };

typedef struct world {
    dbk_sim *sim;
    daybook_store *store;
    daybook_consumer *consumer;
    bool confirmed[EVENTS + 1]; // by an acknowledgement, or an append that returned
    bool in_parts;
    bool was_in_parts; // a state was
} world;

static daybook_status open_store(world *at) {
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.vfs = dbk_sim_vfs(at->sim);
    options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    options.journal_max_bytes = 4 << 20;
    return daybook_open("/s", &options, &at->store, NULL);
}

static void add_stream(world *at, const char *name, const char *filter) {
    daybook_slice subject = daybook_text(filter);
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text(name);
    config.subjects = &subject;
    config.subject_count = 1;
    assert_int_equal(daybook_stream_add(at->store, &config, NULL), DAYBOOK_OK);
}

static void append_inputs(world *at) {
    daybook_event events[EVENTS];
    for (int i = 0; i < EVENTS; i++) {
        daybook_event_init(&events[i]);
        events[i].subject = daybook_text("in.1.x");
    }
    assert_int_equal(daybook_append(at->store, events, EVENTS, NULL, NULL, NULL), DAYBOOK_OK);
}

static daybook_status open_consumer(world *at) {
    struct dbk_consumers *registry;
    if (at->in_parts) {
        DBK_TRY(dbk_consumers_get(at->store, &registry, NULL));
        registry->part_bytes = PART_BYTES;
        registry->checkpoint_changes = CHECKPOINT_CHANGES;
    }
    daybook_consumer_config config;
    daybook_consumer_config_init(&config);
    config.name = daybook_text("c");
    config.ack_wait_ns = DBK_SECOND_NS;
    return daybook_consumer_add(at->store, daybook_text("IN"), &config, &at->consumer, NULL);
}

// Every fourth is only acknowledged; of the others follows an output.
static bool has_output(uint64_t seq) {
    return seq % 4 != 0;
}

static daybook_status answer(world *at, uint64_t seq) {
    if (!has_output(seq)) return daybook_consumer_ack(at->consumer, seq, DAYBOOK_ACK_CONFIRMED, NULL);
    daybook_append_ack ack = {sizeof ack, at->consumer, seq};
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.acks = &ack;
    options.ack_count = 1;
    char subject[32];
    (void)snprintf(subject, sizeof subject, "out.%u.x", (unsigned)seq);
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    return daybook_append(at->store, &event, 1, &options, NULL, NULL);
}

// Until nothing comes any more, or the disk fails.
static void work(world *at) {
    for (int round = 0; round < ROUNDS_MAX; round++) {
        daybook_fetch_options options;
        daybook_fetch_options_init(&options);
        options.count = 7;
        options.timeout_ms = 0;
        daybook_batch *batch = NULL;
        if (daybook_consumer_fetch(at->consumer, &options, &batch, NULL) != DAYBOOK_OK) batch = NULL;
        bool failed = false;
        for (size_t i = 0; batch != NULL && !failed && i < batch->count; i++) {
            uint64_t seq = batch->messages[i].event.seq;
            if (at->confirmed[seq]) fail_msg("%u was confirmed, and came again", (unsigned)seq);
            daybook_status status = answer(at, seq);
            if (status == DAYBOOK_OK) at->confirmed[seq] = true;
            failed = status != DAYBOOK_OK;
        }
        daybook_batch_release(batch);
        if (failed) return;
        dbk_sim_advance_ns(at->sim, DBK_SECOND_NS / 2);
        (void)daybook_maintain(at->store, NULL);
        if (round % 3 == 2) (void)daybook_flush(at->store, NULL);
        if (atomic_load(&at->consumer->consumer->has_parts)) at->was_in_parts = true;
    }
}

static void expect_outputs(world *at, bool all) {
    daybook_query query;
    daybook_query_init(&query);
    query.stream = daybook_text("OUT");
    daybook_cursor *cursor;
    daybook_recorded_event event;
    unsigned found[EVENTS + 1] = {0};
    assert_int_equal(daybook_read(at->store, &query, &cursor, NULL), DAYBOOK_OK);
    while (daybook_cursor_next(cursor, 0, &event, NULL) == DAYBOOK_OK)
        found[atoi((const char *)event.event.subject.data + 4)]++;
    daybook_cursor_close(cursor);
    for (uint64_t seq = 1; seq <= EVENTS; seq++) {
        if (!has_output(seq)) continue;
        bool expected = all || at->confirmed[seq];
        if (found[seq] > 1 || (expected && found[seq] == 0))
            fail_msg("%u outputs of %u", found[seq], (unsigned)seq);
    }
}

static bool crash_at(uint64_t step, dbk_sim_crash_kind kind, bool in_parts) {
    static world at;
    memset(&at, 0, sizeof at);
    at.in_parts = in_parts;
    assert_int_equal(dbk_sim_new(step * 3 + (uint64_t)kind, &at.sim), DAYBOOK_OK);
    assert_int_equal(open_store(&at), DAYBOOK_OK);
    add_stream(&at, "IN", "in.>");
    add_stream(&at, "OUT", "out.>");
    append_inputs(&at);
    uint64_t before = dbk_sim_steps(at.sim);
    dbk_sim_stop_after(at.sim, step);
    if (open_consumer(&at) == DAYBOOK_OK) work(&at);
    bool reached = dbk_sim_steps(at.sim) - before >= step;
    dbk_sim_crash(at.sim, kind);
    daybook_consumer_close(at.consumer);
    (void)daybook_close(at.store, NULL);
    at.consumer = NULL;
    assert_int_equal(open_store(&at), DAYBOOK_OK);
    expect_outputs(&at, false);
    assert_int_equal(open_consumer(&at), DAYBOOK_OK);
    dbk_sim_advance_ns(at.sim, 2 * DBK_SECOND_NS);
    work(&at);
    expect_outputs(&at, true);
    daybook_consumer_info *info;
    assert_int_equal(daybook_consumer_get_info(at.store, daybook_text("IN"), daybook_text("c"), &info, NULL),
                     DAYBOOK_OK);
    assert_int_equal(info->floor_seq, EVENTS);
    assert_int_equal(info->pending_count, 0);
    daybook_consumer_info_release(at.store, info);
    daybook_consumer_close(at.consumer);
    assert_int_equal(daybook_close(at.store, NULL), DAYBOOK_OK);
    dbk_sim_free(at.sim);
    if (!reached && at.was_in_parts != in_parts) fail_msg("states were %sin parts", in_parts ? "not " : "");
    return reached;
}

static void lose_power_anywhere(bool in_parts) {
    static const dbk_sim_crash_kind kinds[] = {DBK_SIM_POWER_LOSS, DBK_SIM_POWER_LOSS_DROP_ALL};
    for (size_t i = 0; i < 2; i++) {
        for (uint64_t step = 1; crash_at(step, kinds[i], in_parts); step++) {
        }
    }
}

// ---- By interest ------------------------------------------------------------------------------------------

// Every third is never answered.
static bool is_left(uint64_t seq) {
    return seq % 3 == 0;
}

static void add_stream_by_interest(world *at) {
    daybook_slice subject = daybook_text("in.>");
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text("IN");
    config.subjects = &subject;
    config.subject_count = 1;
    config.retention = DAYBOOK_RETENTION_INTEREST;
    assert_int_equal(daybook_stream_add(at->store, &config, NULL), DAYBOOK_OK);
}

static daybook_status open_interested(world *at) {
    struct dbk_consumers *registry;
    DBK_TRY(dbk_consumers_get(at->store, &registry, NULL));
    registry->checkpoint_changes = CHECKPOINT_CHANGES;
    daybook_slice filter = daybook_text("in.1.>");
    daybook_consumer_config config;
    daybook_consumer_config_init(&config);
    config.name = daybook_text("c");
    config.filters = &filter;
    config.filter_count = 1;
    config.ack_wait_ns = DBK_SECOND_NS;
    config.max_deliver = 1;
    return daybook_consumer_add(at->store, daybook_text("IN"), &config, &at->consumer, NULL);
}

static daybook_status append_unwanted(world *at) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("in.2.x");
    return daybook_append(at->store, &event, 1, NULL, NULL, NULL);
}

static daybook_status answer_some(world *at) {
    daybook_fetch_options options;
    daybook_fetch_options_init(&options);
    options.count = 7;
    options.timeout_ms = 0;
    daybook_batch *batch = NULL;
    if (daybook_consumer_fetch(at->consumer, &options, &batch, NULL) != DAYBOOK_OK) return DAYBOOK_OK;
    daybook_status status = DAYBOOK_OK;
    for (size_t i = 0; status == DAYBOOK_OK && i < batch->count; i++) {
        uint64_t seq = batch->messages[i].event.seq;
        if (!is_left(seq)) status = daybook_consumer_ack(at->consumer, seq, DAYBOOK_ACK_CONFIRMED, NULL);
    }
    daybook_batch_release(batch);
    return status;
}

// Until all is given up, or the disk fails.
static void work_by_interest(world *at) {
    for (int round = 0; round < 12; round++) {
        if (answer_some(at) != DAYBOOK_OK) return;
        if (round % 4 == 1 && append_unwanted(at) != DAYBOOK_OK) return;
        dbk_sim_advance_ns(at->sim, DBK_SECOND_NS / 2);
        (void)daybook_maintain(at->store, NULL);
        if (round % 5 == 2) (void)daybook_flush(at->store, NULL);
    }
}

// What was delivered and not yet answered when power was lost is given up, too; that is answered now.
static void answer_the_rest(world *at) {
    for (uint64_t seq = 1; seq <= EVENTS; seq++) {
        if (is_left(seq)) continue;
        daybook_status status = daybook_consumer_ack(at->consumer, seq, DAYBOOK_ACK_CONFIRMED, NULL);
        assert_true(status == DAYBOOK_OK || status == DAYBOOK_ENOTFOUND);
    }
    dbk_sim_advance_ns(at->sim, DBK_SECOND_NS / 2);
    (void)daybook_maintain(at->store, NULL);
}

static void expect_left(world *at, bool only) {
    daybook_query query;
    daybook_query_init(&query);
    query.stream = daybook_text("IN");
    daybook_cursor *cursor;
    daybook_recorded_event event;
    bool found[EVENTS + 1] = {false};
    assert_int_equal(daybook_read(at->store, &query, &cursor, NULL), DAYBOOK_OK);
    while (daybook_cursor_next(cursor, 0, &event, NULL) == DAYBOOK_OK) {
        if (only && (event.seq > EVENTS || !is_left(event.seq))) fail_msg("%u stays", (unsigned)event.seq);
        if (event.seq <= EVENTS) found[event.seq] = true;
    }
    daybook_cursor_close(cursor);
    for (uint64_t seq = 1; seq <= EVENTS; seq++) {
        if (is_left(seq) && !found[seq]) fail_msg("%u was never answered, and is gone", (unsigned)seq);
    }
}

static bool crash_by_interest_at(uint64_t step, dbk_sim_crash_kind kind) {
    static world at;
    memset(&at, 0, sizeof at);
    assert_int_equal(dbk_sim_new(step * 3 + (uint64_t)kind, &at.sim), DAYBOOK_OK);
    assert_int_equal(open_store(&at), DAYBOOK_OK);
    add_stream_by_interest(&at);
    assert_int_equal(open_interested(&at), DAYBOOK_OK);
    append_inputs(&at);
    uint64_t before = dbk_sim_steps(at.sim);
    dbk_sim_stop_after(at.sim, step);
    work_by_interest(&at);
    bool reached = dbk_sim_steps(at.sim) - before >= step;
    dbk_sim_crash(at.sim, kind);
    daybook_consumer_close(at.consumer);
    (void)daybook_close(at.store, NULL);
    at.consumer = NULL;
    assert_int_equal(open_store(&at), DAYBOOK_OK);
    assert_int_equal(open_interested(&at), DAYBOOK_OK);
    (void)daybook_maintain(at.store, NULL);
    expect_left(&at, false);
    dbk_sim_advance_ns(at.sim, 2 * DBK_SECOND_NS);
    work_by_interest(&at);
    answer_the_rest(&at);
    expect_left(&at, true);
    daybook_consumer_close(at.consumer);
    assert_int_equal(daybook_close(at.store, NULL), DAYBOOK_OK);
    dbk_sim_free(at.sim);
    return reached;
}

static void power_may_be_lost_while_messages_are_given_up(void **state) {
    (void)state;
    static const dbk_sim_crash_kind kinds[] = {DBK_SIM_POWER_LOSS, DBK_SIM_POWER_LOSS_DROP_ALL};
    for (size_t i = 0; i < 2; i++) {
        for (uint64_t step = 1; crash_by_interest_at(step, kinds[i]); step++) {
        }
    }
}

static void power_may_be_lost_anywhere(void **state) {
    (void)state;
    lose_power_anywhere(false);
}

static void power_may_be_lost_while_states_are_in_parts(void **state) {
    (void)state;
    lose_power_anywhere(true);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(power_may_be_lost_anywhere),
                                       cmocka_unit_test(power_may_be_lost_while_states_are_in_parts),
                                       cmocka_unit_test(power_may_be_lost_while_messages_are_given_up)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
