// SPDX-License-Identifier: Apache-2.0
// Memory runs out at each allocation of a consumer's life: each call gives OK or ENOMEM, works when it is
// repeated, and in the end every message was delivered and settled and each output is there once; nothing is
// left unreleased. And answers that could not be saved when the store was closed are told of, and their
// messages come again. And what nobody wants goes, if not at once.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "daybook/daybook.h"
#include "io/sim/sim.h"
#include "lib/fault_allocator.h"
#include "store/consumer.h"

enum { EVENTS = 6 };

typedef struct world {
    dbk_sim *sim;
    fault_allocator faults;
    daybook_open_options options;
    daybook_store *store;
    daybook_consumer *consumer;
    unsigned settled[EVENTS + 1];
} world;

// Once more where memory was out; the fault is over by then.
#define RETRY(call)                                                                         \
    do {                                                                                    \
        daybook_status retried = (call);                                                    \
        if (retried == DAYBOOK_ENOMEM) retried = (call);                                    \
        if (retried != DAYBOOK_OK) fail_msg("%s: %s", #call, daybook_status_name(retried)); \
    } while (0)

static void open_store(world *at) {
    RETRY(daybook_open("/s", &at->options, &at->store, NULL));
}

static daybook_status add_stream(world *at, const char *name, const char *filter) {
    daybook_slice subject = daybook_text(filter);
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text(name);
    config.subjects = &subject;
    config.subject_count = 1;
    return daybook_stream_add(at->store, &config, NULL);
}

static daybook_status append_inputs(world *at) {
    daybook_event events[EVENTS];
    for (int i = 0; i < EVENTS; i++) {
        daybook_event_init(&events[i]);
        events[i].subject = daybook_text(i % 2 == 0 ? "in.1.x" : "in.2.x");
    }
    return daybook_append(at->store, events, EVENTS, NULL, NULL, NULL);
}

static daybook_status add_consumer(world *at) {
    daybook_slice filters[] = {daybook_text("in.1.>"), daybook_text("in.2.x")};
    daybook_consumer_config config;
    daybook_consumer_config_init(&config);
    config.name = daybook_text("c");
    config.filters = filters;
    config.filter_count = 2;
    config.flags |= DAYBOOK_CONSUMER_IN_ORDER;
    config.ack_wait_ns = DBK_SECOND_NS;
    return daybook_consumer_add(at->store, daybook_text("IN"), &config, &at->consumer, NULL);
}

static daybook_status fetch(world *at, daybook_batch **batch_out) {
    daybook_fetch_options options;
    daybook_fetch_options_init(&options);
    options.count = 4;
    options.timeout_ms = 0;
    return daybook_consumer_fetch(at->consumer, &options, batch_out, NULL);
}

static daybook_status append_and_ack(world *at, uint64_t seq) {
    daybook_append_ack ack = {sizeof ack, at->consumer, seq};
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.acks = &ack;
    options.ack_count = 1;
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("out.1.x");
    return daybook_append(at->store, &event, 1, &options, NULL, NULL);
}

static daybook_status look(world *at) {
    daybook_consumer_info *info = NULL;
    daybook_status status =
        daybook_consumer_get_info(at->store, daybook_text("IN"), daybook_text("c"), &info, NULL);
    daybook_consumer_info_release(at->store, info);
    return status;
}

static void answer(world *at, const daybook_message *message) {
    uint64_t seq = message->event.seq;
    if (seq == 3 && message->delivery_count == 1) {
        RETRY(daybook_consumer_nak(at->consumer, seq, 0, NULL));
    } else if (seq == 4) {
        RETRY(daybook_consumer_term(at->consumer, seq, daybook_text("no"), NULL));
        at->settled[seq]++;
    } else if (seq % 2 == 0) {
        RETRY(append_and_ack(at, seq));
        at->settled[seq]++;
    } else {
        unsigned flags = seq == 1 ? DAYBOOK_ACK_CONFIRMED : 0;
        daybook_status status = daybook_consumer_ack(at->consumer, seq, flags, NULL);
        // Settled, but not saved: again it is not found, and saved.
        if (status == DAYBOOK_ENOMEM)
            assert_int_equal(daybook_consumer_ack(at->consumer, seq, flags, NULL), DAYBOOK_ENOTFOUND);
        else
            assert_int_equal(status, DAYBOOK_OK);
        at->settled[seq]++;
    }
}

static void handle_what_comes(world *at, int rounds) {
    for (int round = 0; round < rounds; round++) {
        daybook_batch *batch = NULL;
        daybook_status status = fetch(at, &batch);
        if (status == DAYBOOK_ENOMEM) status = fetch(at, &batch);
        assert_true(status == DAYBOOK_OK || status == DAYBOOK_TIMEOUT);
        for (size_t i = 0; batch != NULL && i < batch->count; i++) answer(at, &batch->messages[i]);
        daybook_batch_release(batch);
        dbk_sim_advance_ns(at->sim, DBK_SECOND_NS / 2);
        status = daybook_maintain(at->store, NULL);
        assert_true(status == DAYBOOK_OK || status == DAYBOOK_END || status == DAYBOOK_ENOMEM);
    }
}

static void close_store(world *at) {
    daybook_consumer_close(at->consumer);
    daybook_status status = daybook_close(at->store, NULL);
    assert_true(status == DAYBOOK_OK || status == DAYBOOK_ENOMEM);
}

static void live(world *at) {
    RETRY(add_consumer(at));
    handle_what_comes(at, 2);
    RETRY(look(at));
    close_store(at);
    open_store(at);
    RETRY(daybook_consumer_open(at->store, daybook_text("IN"), daybook_text("c"), &at->consumer, NULL));
    RETRY(daybook_consumer_pause(at->store, daybook_text("IN"), daybook_text("c"), 0, NULL));
    handle_what_comes(at, 3);
}

static void expect_all_done(world *at) {
    fault_allocator_fail(&at->faults, 0, false);
    handle_what_comes(at, 8);
    daybook_consumer_info *info;
    assert_int_equal(daybook_consumer_get_info(at->store, daybook_text("IN"), daybook_text("c"), &info, NULL),
                     DAYBOOK_OK);
    assert_int_equal(info->ack_pending_count, 0);
    assert_int_equal(info->pending_count, 0);
    assert_int_equal(info->floor_seq, EVENTS);
    daybook_consumer_info_release(at->store, info);
    for (int seq = 1; seq <= EVENTS; seq++) assert_in_range(at->settled[seq], 1, 2);
    daybook_query query;
    daybook_query_init(&query);
    query.stream = daybook_text("OUT");
    uint64_t count;
    assert_int_equal(daybook_count(at->store, &query, &count, NULL), DAYBOOK_OK);
    assert_int_equal(count, 2); // of 2 and 6
}

static void memory_may_run_out_anywhere(void **state) {
    (void)state;
    for (uint64_t n = 1;; n++) {
        static world at;
        memset(&at, 0, sizeof at);
        assert_int_equal(dbk_sim_new(3, &at.sim), DAYBOOK_OK);
        fault_allocator_init(&at.faults);
        daybook_open_options_init(&at.options);
        at.options.vfs = dbk_sim_vfs(at.sim);
        at.options.allocator = &at.faults.allocator;
        at.options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
        at.options.journal_max_bytes = 4 << 20;
        open_store(&at);
        RETRY(add_stream(&at, "IN", "in.>"));
        RETRY(add_stream(&at, "OUT", "out.>"));
        RETRY(append_inputs(&at));
        fault_allocator_fail(&at.faults, n, false);
        live(&at);
        bool failed = fault_allocator_has_failed(&at.faults);
        expect_all_done(&at);
        close_store(&at);
        assert_int_equal(fault_allocator_live(&at.faults), 0);
        dbk_sim_free(at.sim);
        if (!failed) break;
    }
}

// A store with a consumer that was answered, which is not saved yet.
static void begin_answered(world *at) {
    memset(at, 0, sizeof *at);
    assert_int_equal(dbk_sim_new(5, &at->sim), DAYBOOK_OK);
    fault_allocator_init(&at->faults);
    daybook_open_options_init(&at->options);
    at->options.vfs = dbk_sim_vfs(at->sim);
    at->options.allocator = &at->faults.allocator;
    at->options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    open_store(at);
    assert_int_equal(add_stream(at, "IN", "in.>"), DAYBOOK_OK);
    assert_int_equal(append_inputs(at), DAYBOOK_OK);
    assert_int_equal(add_consumer(at), DAYBOOK_OK);
    daybook_batch *batch;
    assert_int_equal(fetch(at, &batch), DAYBOOK_OK);
    assert_int_equal(batch->messages[0].event.seq, 1);
    daybook_batch_release(batch);
    assert_int_equal(daybook_consumer_ack(at->consumer, 1, 0, NULL), DAYBOOK_OK);
}

// Whether the message that was answered comes again.
static bool comes_again(world *at) {
    fault_allocator_fail(&at->faults, 0, false);
    dbk_sim_clear_faults(at->sim);
    open_store(at);
    assert_int_equal(
        daybook_consumer_open(at->store, daybook_text("IN"), daybook_text("c"), &at->consumer, NULL),
        DAYBOOK_OK);
    dbk_sim_advance_ns(at->sim, 2 * DBK_SECOND_NS);
    daybook_batch *batch;
    assert_int_equal(fetch(at, &batch), DAYBOOK_OK);
    bool again = batch->messages[0].event.seq == 1;
    daybook_batch_release(batch);
    daybook_consumer_close(at->consumer);
    assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
    assert_int_equal(fault_allocator_live(&at->faults), 0);
    dbk_sim_free(at->sim);
    return again;
}

static daybook_status close_answered(world *at, daybook_error *error) {
    daybook_error_init(error);
    daybook_consumer_close(at->consumer);
    return daybook_close(at->store, error);
}

static void closing_tells_of_answers_that_memory_lost(void **state) {
    (void)state;
    static world at;
    bool failed = true, was_told = false;
    for (uint64_t n = 1; failed; n++) {
        begin_answered(&at);
        fault_allocator_fail(&at.faults, n, false);
        daybook_error error;
        daybook_status status = close_answered(&at, &error);
        failed = fault_allocator_has_failed(&at.faults);
        assert_true(status == DAYBOOK_OK || status == DAYBOOK_ENOMEM);
        bool again = comes_again(&at);
        if (again && status == DAYBOOK_OK) fail_msg("allocation %u: nobody heard", (unsigned)n);
        if (!again) continue;
        if (strstr(error.message, "again") == NULL) fail_msg("it says: %s", error.message);
        was_told = true;
    }
    assert_true(was_told);
}

static void closing_tells_of_answers_after_a_failed_sync(void **state) {
    (void)state;
    static world at;
    begin_answered(&at);
    dbk_sim_fault fault = {
        .kind = DBK_SIM_WRITE, .suffix = "journal", .nth = 1, .is_forever = true, .error = 5};
    assert_int_equal(dbk_sim_fail(at.sim, &fault), DAYBOOK_OK);
    assert_int_equal(append_inputs(&at), DAYBOOK_EUNCERTAIN);
    daybook_error error;
    assert_int_equal(close_answered(&at, &error), DAYBOOK_EUNCERTAIN);
    if (strstr(error.message, "consumer c of stream IN") == NULL) fail_msg("it says: %s", error.message);
    assert_true(comes_again(&at));
}

// A reset that cannot be saved is done and says so; one that is refused says that it is not.
static void a_reset_that_is_not_saved_is_told_from_one_refused(void **state) {
    (void)state;
    static world at;
    memset(&at, 0, sizeof at);
    assert_int_equal(dbk_sim_new(6, &at.sim), DAYBOOK_OK);
    fault_allocator_init(&at.faults);
    daybook_open_options_init(&at.options);
    at.options.vfs = dbk_sim_vfs(at.sim);
    at.options.allocator = &at.faults.allocator;
    at.options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    open_store(&at);
    RETRY(add_stream(&at, "IN", "in.>"));
    RETRY(append_inputs(&at));
    RETRY(add_consumer(&at));
    daybook_batch *batch;
    RETRY(fetch(&at, &batch));
    daybook_batch_release(batch);
    uint64_t seq = 7, number = 7;
    daybook_slice stream = daybook_text("IN"), name = daybook_text("c");
    assert_int_equal(daybook_consumer_reset(at.store, stream, name, EVENTS + 2, &seq, &number, NULL),
                     DAYBOOK_ELIMIT);
    assert_int_equal(seq, 0);
    assert_int_equal(number, 0);
    dbk_sim_fault fault = {
        .kind = DBK_SIM_WRITE, .suffix = "journal", .nth = 1, .is_forever = true, .error = 5};
    assert_int_equal(dbk_sim_fail(at.sim, &fault), DAYBOOK_OK);
    assert_int_not_equal(daybook_consumer_reset(at.store, stream, name, 1, &seq, &number, NULL), DAYBOOK_OK);
    assert_int_equal(seq, 1);
    assert_true(number > 0);
    dbk_sim_clear_faults(at.sim);
    RETRY(fetch(&at, &batch));
    assert_true(batch->count > 0);
    assert_int_equal(batch->messages[0].event.seq, 1);
    assert_int_equal(batch->messages[0].delivery_count, 1);
    assert_true(batch->messages[0].delivery > number);
    daybook_batch_release(batch);
    daybook_consumer_close(at.consumer);
    (void)daybook_close(at.store, NULL); // its journal failed
    dbk_sim_free(at.sim);
}

static void count_told(void *context, daybook_status status, const daybook_error *error) {
    (void)error;
    assert_int_equal(status, DAYBOOK_OK);
    ++*(int *)context;
}

// To acknowledge one of many that were given up may take memory. Where there is none nothing has changed, and
// nobody is told that it has.
static void answers_to_what_was_given_up_may_lack_memory(void **state) {
    (void)state;
    static world at;
    memset(&at, 0, sizeof at);
    assert_int_equal(dbk_sim_new(5, &at.sim), DAYBOOK_OK);
    fault_allocator_init(&at.faults);
    daybook_open_options_init(&at.options);
    at.options.vfs = dbk_sim_vfs(at.sim);
    at.options.allocator = &at.faults.allocator;
    at.options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    open_store(&at);
    daybook_slice subject = daybook_text("in.>");
    daybook_stream_config stream;
    daybook_stream_config_init(&stream);
    stream.name = daybook_text("IN");
    stream.subjects = &subject;
    stream.subject_count = 1;
    stream.retention = DAYBOOK_RETENTION_INTEREST;
    assert_int_equal(daybook_stream_add(at.store, &stream, NULL), DAYBOOK_OK);
    daybook_consumer_config config;
    daybook_consumer_config_init(&config);
    config.name = daybook_text("c");
    config.ack_wait_ns = DBK_SECOND_NS;
    config.max_deliver = 1;
    assert_int_equal(daybook_consumer_add(at.store, stream.name, &config, &at.consumer, NULL), DAYBOOK_OK);
    assert_int_equal(append_inputs(&at), DAYBOOK_OK);
    daybook_batch *batch;
    assert_int_equal(fetch(&at, &batch), DAYBOOK_OK);
    daybook_batch_release(batch);
    dbk_sim_advance_ns(at.sim, 2 * DBK_SECOND_NS);
    assert_int_equal(fetch(&at, &batch), DAYBOOK_OK); // 5 and 6; 1 to 4 are given up
    daybook_batch_release(batch);
    dbk_delivery *delivery = &at.consumer->consumer->delivery;
    dbk_seq_set *set = &delivery->given_up;
    assert_int_equal(set->count, 1);
    for (uint64_t seq = 100; set->count < set->capacity; seq += 2)
        assert_int_equal(dbk_seq_set_add(set, delivery->allocator, seq, seq), DAYBOOK_OK);
    int told = 0;
    fault_allocator_fail(&at.faults, 2, false);
    assert_int_equal(daybook_consumer_ack_submit(at.consumer, 2, count_told, &told, NULL), DAYBOOK_ENOMEM);
    assert_true(fault_allocator_has_failed(&at.faults));
    fault_allocator_fail(&at.faults, 1, false);
    assert_int_equal(daybook_consumer_ack(at.consumer, 2, 0, NULL), DAYBOOK_ENOMEM);
    assert_true(dbk_seq_set_has(set, 2));
    for (uint64_t n = 1; n <= 3; n++) {
        fault_allocator_fail(&at.faults, n, false);
        assert_int_equal(
            daybook_consumer_term_submit(at.consumer, 2, daybook_text("no"), count_told, &told, NULL),
            DAYBOOK_ENOMEM);
        assert_true(fault_allocator_has_failed(&at.faults));
    }
    assert_true(dbk_seq_set_has(set, 2));
    assert_int_equal(told, 0);
    assert_int_equal(daybook_consumer_ack_submit(at.consumer, 2, count_told, &told, NULL), DAYBOOK_OK);
    assert_false(dbk_seq_set_has(set, 2));
    daybook_consumer_close(at.consumer);
    assert_int_equal(daybook_close(at.store, NULL), DAYBOOK_OK); // saved by now
    assert_int_equal(told, 1);
    assert_int_equal(fault_allocator_live(&at.faults), 0);
    dbk_sim_free(at.sim);
}

static void expect_empty_stream(world *at) {
    daybook_stream_info *info;
    assert_int_equal(daybook_stream_get_info(at->store, daybook_text("IN"), &info, NULL), DAYBOOK_OK);
    assert_int_equal(info->message_count, 0);
    daybook_stream_info_release(at->store, info);
}

// What nobody wants goes, whatever of its removal failed, and whether more is appended or not.
static void what_nobody_wants_goes_once_memory_is_back(void **state) {
    (void)state;
    static world at;
    memset(&at, 0, sizeof at);
    assert_int_equal(dbk_sim_new(6, &at.sim), DAYBOOK_OK);
    fault_allocator_init(&at.faults);
    daybook_open_options_init(&at.options);
    at.options.vfs = dbk_sim_vfs(at.sim);
    at.options.allocator = &at.faults.allocator;
    at.options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    open_store(&at);
    daybook_slice subject = daybook_text("in.>"), filter = daybook_text("in.9.>");
    daybook_stream_config stream;
    daybook_stream_config_init(&stream);
    stream.name = daybook_text("IN");
    stream.subjects = &subject;
    stream.subject_count = 1;
    stream.retention = DAYBOOK_RETENTION_INTEREST;
    assert_int_equal(daybook_stream_add(at.store, &stream, NULL), DAYBOOK_OK);
    daybook_consumer_config config;
    daybook_consumer_config_init(&config);
    config.name = daybook_text("c");
    config.filters = &filter;
    config.filter_count = 1;
    assert_int_equal(daybook_consumer_add(at.store, stream.name, &config, &at.consumer, NULL), DAYBOOK_OK);
    bool has_failed = true;
    for (uint64_t n = 1; has_failed; n++) {
        assert_true(n < 1000);
        assert_int_equal(append_inputs(&at), DAYBOOK_OK);
        fault_allocator_fail(&at.faults, n, false);
        (void)daybook_maintain(at.store, NULL);
        has_failed = fault_allocator_has_failed(&at.faults);
        fault_allocator_fail(&at.faults, 0, false);
        dbk_sim_advance_ns(at.sim, 3 * DBK_SECOND_NS);
        daybook_status status = daybook_maintain(at.store, NULL);
        assert_true(status == DAYBOOK_OK || status == DAYBOOK_END);
        expect_empty_stream(&at);
    }
    daybook_consumer_close(at.consumer);
    assert_int_equal(daybook_close(at.store, NULL), DAYBOOK_OK);
    assert_int_equal(fault_allocator_live(&at.faults), 0);
    dbk_sim_free(at.sim);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_may_run_out_anywhere),
        cmocka_unit_test(closing_tells_of_answers_that_memory_lost),
        cmocka_unit_test(closing_tells_of_answers_after_a_failed_sync),
        cmocka_unit_test(a_reset_that_is_not_saved_is_told_from_one_refused),
        cmocka_unit_test(answers_to_what_was_given_up_may_lack_memory),
        cmocka_unit_test(what_nobody_wants_goes_once_memory_is_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
