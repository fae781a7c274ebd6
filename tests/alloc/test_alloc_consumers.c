// SPDX-License-Identifier: Apache-2.0
// Memory runs out at every allocation of the calls on consumers, of the engine's, and of those that execute
// commands: once, and from then on.
//
// Each call gives OK or ENOMEM (where it looks for a message, TIMEOUT), works when there is memory again, and
// leaves nothing unreleased. In the end every message was delivered and is settled, none got lost on the way;
// and a command has written its event once for each time it returned OK.
//
// DAYBOOK_ALLOC_ONLY   only the call of that name
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "daybook/daybook.h"
#include "io/sim/sim.h"
#include "lib/fault_allocator.h"

enum { STEP_COUNT_MAX = 3000, ROUNDS_MAX = 200 };

typedef struct world {
    dbk_sim *sim;
    fault_allocator faults;
    daybook_store *store;
    daybook_engine *engine;
    daybook_consumer *consumer;               // "c" of IN
    daybook_engine_consumer *engine_consumer; // the same
    daybook_error error;
    uint64_t seq; // of a message in flight
    uint64_t appended;
    unsigned number;
    uint64_t executed; // commands that returned OK
} world;

typedef struct call {
    const char *name;
    daybook_status (*act)(world *at);
    void (*prepare)(world *at); // with memory; may be NULL
} call;

static const daybook_slice in = {"IN", 2}, name_of_c = {"c", 1};

// ---- The store --------------------------------------------------------------------------------------------

static void add_stream(world *at, const char *name, const char *filter) {
    daybook_slice subject = daybook_text(filter);
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text(name);
    config.subjects = &subject;
    config.subject_count = 1;
    assert_int_equal(daybook_stream_add(at->store, &config, NULL), DAYBOOK_OK);
}

static daybook_consumer_config config_of(const char *name) {
    daybook_consumer_config config;
    daybook_consumer_config_init(&config);
    config.name = daybook_text(name);
    config.ack_wait_ns = DBK_SECOND_NS;
    config.max_ack_pending = 0;
    return config;
}

static void begin(world *at) {
    memset(at, 0, sizeof *at);
    assert_int_equal(dbk_sim_new(11, &at->sim), DAYBOOK_OK);
    fault_allocator_init(&at->faults);
    daybook_error_init(&at->error);
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.vfs = dbk_sim_vfs(at->sim);
    options.allocator = &at->faults.allocator;
    options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    options.journal_max_bytes = 8 << 20;
    assert_int_equal(daybook_open("/s", &options, &at->store, NULL), DAYBOOK_OK);
    at->engine = daybook_store_engine(at->store);
    add_stream(at, "IN", "in.>");
    add_stream(at, "OUT", "out.>");
    daybook_consumer_config config = config_of("c");
    assert_int_equal(daybook_consumer_add(at->store, in, &config, &at->consumer, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_engine_consumer_open(at->engine, in, name_of_c, &at->engine_consumer, NULL),
                     DAYBOOK_OK);
}

static void care(world *at) {
    dbk_sim_advance_ns(at->sim, DBK_SECOND_NS / 2);
    while (daybook_maintain(at->store, NULL) == DAYBOOK_OK) {
    }
}

static void end(world *at) {
    daybook_consumer_close(at->consumer);
    daybook_engine_consumer_close(at->engine_consumer);
    assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
    assert_int_equal(fault_allocator_live(&at->faults), 0);
    dbk_sim_free(at->sim);
}

static void append_input(world *at) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(at->number++ % 2 == 0 ? "in.1.x" : "in.2.x");
    assert_int_equal(daybook_append(at->store, &event, 1, NULL, NULL, NULL), DAYBOOK_OK);
    at->appended++;
}

// ---- Consumers --------------------------------------------------------------------------------------------

static void prepare_in_flight(world *at) {
    append_input(at);
    daybook_fetch_options options;
    daybook_fetch_options_init(&options);
    options.timeout_ms = 0;
    daybook_batch *batch;
    assert_int_equal(daybook_consumer_fetch(at->consumer, &options, &batch, NULL), DAYBOOK_OK);
    at->seq = batch->messages[0].event.seq;
    daybook_batch_release(batch);
}

static void prepare_other(world *at) {
    daybook_consumer_config config = config_of("other");
    assert_int_equal(daybook_consumer_add(at->store, in, &config, NULL, NULL), DAYBOOK_OK);
}

static daybook_status act_add(world *at) {
    daybook_slice filters[] = {daybook_text("in.1.>"), daybook_text("in.2.x")};
    char name[24];
    (void)snprintf(name, sizeof name, "made-%u", at->number++);
    daybook_consumer_config config = config_of(name);
    config.filters = filters;
    config.filter_count = 2;
    config.deliver = DAYBOOK_DELIVER_LAST_PER_SUBJECT;
    daybook_consumer *consumer;
    daybook_status status = daybook_consumer_add(at->store, in, &config, &consumer, &at->error);
    daybook_consumer_close(consumer);
    return status;
}

static daybook_status act_add_ephemeral(world *at) {
    daybook_consumer_config config = config_of("");
    config.flags = 0;
    daybook_consumer *consumer;
    daybook_status status = daybook_consumer_add(at->store, in, &config, &consumer, &at->error);
    daybook_consumer_close(consumer);
    return status;
}

static daybook_status act_update(world *at) {
    daybook_consumer_config config = config_of("c");
    config.max_ack_pending = at->number++ % 2 == 0 ? 0 : 100000;
    return daybook_consumer_update(at->store, in, &config, &at->error);
}

static daybook_status act_pause(world *at) {
    return daybook_consumer_pause(at->store, in, name_of_c, 0, &at->error);
}

static daybook_status act_remove(world *at) {
    daybook_status status = daybook_consumer_remove(at->store, in, daybook_text("other"), &at->error);
    return status == DAYBOOK_ENOTFOUND ? DAYBOOK_OK : status; // the try before got so far
}

static daybook_status act_info(world *at) {
    daybook_consumer_info *info;
    daybook_status status = daybook_consumer_get_info(at->store, in, name_of_c, &info, &at->error);
    daybook_consumer_info_release(at->store, info);
    return status;
}

static int ignore_info(void *context, const daybook_consumer_info *info) {
    (void)context;
    (void)info;
    return 0;
}

static daybook_status act_list(world *at) {
    return daybook_consumer_list(at->store, daybook_bytes(NULL, 0), ignore_info, NULL, &at->error);
}

static int ignore_name(void *context, daybook_slice stream, daybook_slice name) {
    (void)context, (void)stream, (void)name;
    return 0;
}

static daybook_status act_names(world *at) {
    uint64_t count;
    daybook_status status = daybook_consumer_count(at->store, in, &count, &at->error);
    if (status != DAYBOOK_OK) return status;
    return daybook_consumer_names(at->store, in, ignore_name, NULL, &at->error);
}

static daybook_status act_open(world *at) {
    daybook_consumer *consumer;
    daybook_status status = daybook_consumer_open(at->store, in, name_of_c, &consumer, &at->error);
    daybook_consumer_close(consumer);
    return status;
}

static daybook_status act_fetch(world *at) {
    daybook_fetch_options options;
    daybook_fetch_options_init(&options);
    options.count = 3;
    options.timeout_ms = 0;
    daybook_batch *batch;
    daybook_status status = daybook_consumer_fetch(at->consumer, &options, &batch, &at->error);
    assert_true((batch != NULL) == (status == DAYBOOK_OK));
    daybook_batch_release(batch);
    return status;
}

static daybook_status act_ack(world *at) {
    return daybook_consumer_ack(at->consumer, at->seq, 0, &at->error);
}

static daybook_status act_ack_confirmed(world *at) {
    daybook_status status = daybook_consumer_ack(at->consumer, at->seq, DAYBOOK_ACK_CONFIRMED, &at->error);
    return status == DAYBOOK_ENOTFOUND ? DAYBOOK_OK : status; // settled by the try before, and saved now
}

static void note_saved(void *context, daybook_status status, const daybook_error *error) {
    (void)error;
    atomic_store((atomic_int *)context, (int)status);
}

static daybook_status act_ack_submit(world *at) {
    static atomic_int told;
    atomic_store(&told, DAYBOOK_TIMEOUT);
    daybook_status status =
        daybook_consumer_ack_submit(at->consumer, at->seq, note_saved, (void *)(uintptr_t)&told, &at->error);
    if (status != DAYBOOK_OK) return status;
    // Where it is left to the keeper, which does not run here, this saves it.
    status = daybook_consumer_ack(at->consumer, at->seq, DAYBOOK_ACK_CONFIRMED, &at->error);
    while (atomic_load(&told) == DAYBOOK_TIMEOUT) sched_yield();
    if (status == DAYBOOK_ENOMEM || atomic_load(&told) == DAYBOOK_ENOMEM) return DAYBOOK_ENOMEM;
    return status == DAYBOOK_ENOTFOUND ? DAYBOOK_OK : status;
}

static void ignore_call(void *context) {
    (void)context;
}

static daybook_status act_watch(world *at) {
    daybook_status status = daybook_consumer_watch(at->consumer, ignore_call, NULL, &at->error);
    assert_int_equal(daybook_consumer_watch(at->consumer, NULL, NULL, NULL), DAYBOOK_OK);
    return status;
}

static daybook_status act_nak(world *at) {
    return daybook_consumer_nak(at->consumer, at->seq, DBK_SECOND_NS, &at->error);
}

static daybook_status act_progress(world *at) {
    return daybook_consumer_progress(at->consumer, at->seq, &at->error);
}

static daybook_status act_term(world *at) {
    return daybook_consumer_term(at->consumer, at->seq, daybook_text("no"), &at->error);
}

static daybook_status act_append_and_ack(world *at) {
    daybook_append_ack ack = {sizeof ack, at->consumer, at->seq};
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.acks = &ack;
    options.ack_count = 1;
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("out.1.x");
    return daybook_append(at->store, &event, 1, &options, NULL, &at->error);
}

static int acknowledge_and_stop(void *context, const daybook_message *message) {
    world *at = context;
    (void)message;
    daybook_consumer_interrupt(at->consumer);
    return DAYBOOK_VERDICT_ACK_CONFIRMED;
}

static daybook_status act_consume(world *at) {
    return daybook_consumer_consume(at->consumer, NULL, acknowledge_and_stop, at, &at->error);
}

// ---- The same by an engine ----------------------------------------------------------------------------------

static daybook_status act_engine_append(world *at) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("out.2.x");
    return daybook_engine_append(at->engine, &event, 1, NULL, NULL, &at->error);
}

static daybook_status act_engine_read(world *at) {
    daybook_query query;
    daybook_query_init(&query);
    query.stream = in;
    daybook_engine_cursor *cursor;
    daybook_status status = daybook_engine_read(at->engine, &query, &cursor, &at->error);
    daybook_recorded_event event;
    while (status == DAYBOOK_OK) status = daybook_engine_next(cursor, 0, &event, &at->error);
    daybook_engine_cursor_close(cursor);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

static daybook_status act_engine_count(world *at) {
    daybook_query query;
    daybook_query_init(&query);
    uint64_t count;
    return daybook_engine_count(at->engine, &query, &count, &at->error);
}

static daybook_status act_engine_stream_info(world *at) {
    daybook_stream_info *info = NULL;
    daybook_status status = daybook_engine_stream_info(at->engine, in, &info, &at->error);
    if (status == DAYBOOK_OK) daybook_engine_stream_info_release(at->engine, info);
    return status;
}

static daybook_status act_engine_consumer_info(world *at) {
    daybook_consumer_info *info = NULL;
    daybook_status status = daybook_engine_consumer_info(at->engine, in, name_of_c, &info, &at->error);
    if (status == DAYBOOK_OK) daybook_engine_consumer_info_release(at->engine, info);
    return status;
}

static daybook_status act_engine_fetch(world *at) {
    daybook_fetch_options options;
    daybook_fetch_options_init(&options);
    options.timeout_ms = 0;
    daybook_batch *batch;
    daybook_status status = daybook_engine_consumer_fetch(at->engine_consumer, &options, &batch, &at->error);
    if (batch != NULL) daybook_engine_batch_release(at->engine_consumer, batch);
    return status;
}

static daybook_status act_engine_ack(world *at) {
    daybook_status status =
        daybook_engine_consumer_ack(at->engine_consumer, at->seq, DAYBOOK_ACK_CONFIRMED, &at->error);
    return status == DAYBOOK_ENOTFOUND ? DAYBOOK_OK : status;
}

// ---- Commands -----------------------------------------------------------------------------------------------

static daybook_status evolve(void *state, void *context, const daybook_recorded_event *event,
                             daybook_error *error) {
    (void)context;
    (void)event;
    (void)error;
    ++*(uint64_t *)state;
    return DAYBOOK_OK;
}

static daybook_status decide(const void *state, const void *command, daybook_decision *decision,
                             daybook_error *error) {
    (void)state;
    (void)command;
    return daybook_decision_add(decision, "done", daybook_text("{\"n\":1}"), error);
}

static daybook_aggregate_type counters(void) {
    daybook_aggregate_type type;
    daybook_aggregate_type_init(&type);
    type.category = daybook_text("out");
    type.state_size = sizeof(uint64_t);
    type.evolve = evolve;
    return type;
}

static daybook_status act_execute(world *at) {
    daybook_aggregate_type type = counters();
    daybook_repository *repository = NULL;
    daybook_status status = daybook_repository_new(at->engine, &type, NULL, &repository, &at->error);
    if (status == DAYBOOK_OK)
        status = daybook_execute(repository, daybook_text("counted"), decide, NULL, NULL, NULL, &at->error);
    daybook_repository_free(repository);
    at->executed += status == DAYBOOK_OK;
    return status;
}

static daybook_status act_load(world *at) {
    daybook_aggregate_type type = counters();
    daybook_repository *repository = NULL;
    daybook_aggregate *loaded = NULL;
    daybook_status status = daybook_repository_new(at->engine, &type, NULL, &repository, &at->error);
    if (status == DAYBOOK_OK)
        status = daybook_aggregate_load(repository, daybook_text("counted"), NULL, &loaded, &at->error);
    if (status == DAYBOOK_OK)
        assert_int_equal(*(const uint64_t *)daybook_aggregate_state(loaded), at->executed);
    daybook_aggregate_release(loaded);
    daybook_repository_free(repository);
    return status;
}

static daybook_status act_execute_over(world *at) {
    daybook_aggregate_type type = counters();
    daybook_query_item item;
    daybook_query_item_init(&item);
    item.filter = daybook_text("out.1.>");
    daybook_status status =
        daybook_execute_over(at->engine, &type, &item, 1, decide, NULL, NULL, NULL, &at->error);
    // What it decides names no subject: it is refused once it got so far.
    return status == DAYBOOK_EINVALID || status == DAYBOOK_ESUBJECT ? DAYBOOK_OK : status;
}

// ---- Every allocation -----------------------------------------------------------------------------------------

static bool may_find_nothing(const call *what) {
    return what->act == act_fetch || what->act == act_engine_fetch;
}

// False where the call needed fewer allocations.
static bool try_step(world *at, const call *what, uint64_t step, bool is_forever) {
    if (what->prepare != NULL) what->prepare(at);
    fault_allocator_fail(&at->faults, step, is_forever);
    daybook_status status = what->act(at);
    bool failed = fault_allocator_has_failed(&at->faults);
    fault_allocator_fail(&at->faults, 0, false);
    if (status != DAYBOOK_OK && status != DAYBOOK_ENOMEM &&
        !(status == DAYBOOK_TIMEOUT && may_find_nothing(what)))
        fail_msg("%s, allocation %llu: %s: %s", what->name, (unsigned long long)step,
                 daybook_status_name(status), at->error.message);
    if (status == DAYBOOK_ENOMEM) {
        status = what->act(at);
        if (status != DAYBOOK_OK && !(status == DAYBOOK_TIMEOUT && may_find_nothing(what)))
            fail_msg("%s, with memory again: %s: %s", what->name, daybook_status_name(status),
                     at->error.message);
    }
    if (step % 16 == 0) care(at);
    return failed;
}

// What was not settled yet comes, and all that was appended is settled then.
static void settle_all(world *at) {
    daybook_fetch_options options;
    daybook_fetch_options_init(&options);
    options.count = 100;
    options.timeout_ms = 0;
    for (int round = 0; round < ROUNDS_MAX; round++) {
        daybook_batch *batch;
        daybook_status status = daybook_consumer_fetch(at->consumer, &options, &batch, &at->error);
        assert_true(status == DAYBOOK_OK || status == DAYBOOK_TIMEOUT);
        for (size_t i = 0; batch != NULL && i < batch->count; i++)
            assert_int_equal(daybook_consumer_ack(at->consumer, batch->messages[i].event.seq, 0, NULL),
                             DAYBOOK_OK);
        daybook_batch_release(batch);
        dbk_sim_advance_ns(at->sim, DBK_SECOND_NS / 2);
        if (status == DAYBOOK_TIMEOUT && round > 6) break;
    }
    daybook_consumer_info *info;
    assert_int_equal(daybook_consumer_get_info(at->store, in, name_of_c, &info, NULL), DAYBOOK_OK);
    assert_int_equal(info->pending_count, 0);
    assert_int_equal(info->ack_pending_count, 0);
    assert_int_equal(info->floor_seq, at->appended);
    daybook_consumer_info_release(at->store, info);
}

static void check_call(const call *what, bool is_forever) {
    static world at;
    begin(&at);
    for (int i = 0; i < 4; i++) append_input(&at);
    assert_int_equal(act_execute(&at), DAYBOOK_OK);
    uint64_t step = 1;
    while (step < STEP_COUNT_MAX && try_step(&at, what, step, is_forever)) step++;
    if (step >= STEP_COUNT_MAX) fail_msg("%s: does not end", what->name);
    settle_all(&at);
    assert_int_equal(act_load(&at), DAYBOOK_OK);
    end(&at);
}

static void check_calls(const call *calls, size_t count) {
    const char *only = getenv("DAYBOOK_ALLOC_ONLY");
    for (size_t i = 0; i < count; i++) {
        if (only != NULL && strcmp(calls[i].name, only) != 0) continue;
        check_call(&calls[i], false);
        check_call(&calls[i], true);
    }
}

#define CHECK_CALLS(calls) check_calls(calls, sizeof(calls) / sizeof(calls)[0])

static void consumers_lose_no_message(void **state) {
    (void)state;
    static const call calls[] = {
        {"add", act_add, NULL},
        {"add ephemeral", act_add_ephemeral, NULL},
        {"update", act_update, NULL},
        {"pause", act_pause, NULL},
        {"remove", act_remove, prepare_other},
        {"info", act_info, append_input},
        {"list", act_list, NULL},
        {"names", act_names, NULL},
        {"open", act_open, NULL},
        {"fetch", act_fetch, append_input},
        {"ack", act_ack, prepare_in_flight},
        {"ack confirmed", act_ack_confirmed, prepare_in_flight},
        {"ack submitted", act_ack_submit, prepare_in_flight},
        {"watch", act_watch, NULL},
        {"nak", act_nak, prepare_in_flight},
        {"progress", act_progress, prepare_in_flight},
        {"term", act_term, prepare_in_flight},
        {"append and ack", act_append_and_ack, prepare_in_flight},
        {"consume", act_consume, append_input},
    };
    CHECK_CALLS(calls);
}

static void engines_lose_nothing(void **state) {
    (void)state;
    static const call calls[] = {
        {"engine append", act_engine_append, NULL},
        {"engine read", act_engine_read, append_input},
        {"engine count", act_engine_count, NULL},
        {"engine stream info", act_engine_stream_info, NULL},
        {"engine consumer info", act_engine_consumer_info, append_input},
        {"engine fetch", act_engine_fetch, append_input},
        {"engine ack", act_engine_ack, prepare_in_flight},
    };
    CHECK_CALLS(calls);
}

static void commands_are_executed_once(void **state) {
    (void)state;
    static const call calls[] = {
        {"execute", act_execute, NULL},
        {"load", act_load, NULL},
        {"execute over", act_execute_over, NULL},
    };
    CHECK_CALLS(calls);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(consumers_lose_no_message),
                                       cmocka_unit_test(engines_lose_nothing),
                                       cmocka_unit_test(commands_are_executed_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
