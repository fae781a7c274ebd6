// SPDX-License-Identifier: Apache-2.0
// Backups taken while workers append what follows from a message together with its acknowledgement. Whatever
// moment a backup holds: restored, it has an output or the message, never both or neither; and the work goes
// on to its end.
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "daybook/daybook.h"
#include "io/sim/sim.h"

enum { INPUTS = 400, WORKERS = 2, BACKUPS = 8, TAKEN_MAX = 3 };

typedef struct world {
    dbk_sim *sim;
    daybook_store *store;
    atomic_uint output_count;
    atomic_uint output_limit; // workers wait there, so that they are not done before the backups are
} world;

static daybook_store *open_store(world *at, const char *path, unsigned flags) {
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.vfs = dbk_sim_vfs(at->sim);
    options.flags = flags;
    options.memtable_bytes = 256 << 10;
    options.journal_max_bytes = 4 << 20;
    daybook_store *store = NULL;
    assert_int_equal(daybook_open(path, &options, &store, NULL), DAYBOOK_OK);
    return store;
}

static void prepare(world *at) {
    memset(at, 0, sizeof *at);
    assert_int_equal(dbk_sim_new(3, &at->sim), DAYBOOK_OK);
    at->store = open_store(at, "/s", 0);
    for (unsigned i = 1; i <= INPUTS; i++) {
        char subject[32];
        (void)snprintf(subject, sizeof subject, "orders.%u.placed", i);
        daybook_event event;
        daybook_event_init(&event);
        event.subject = daybook_text(subject);
        daybook_append_options options;
        daybook_append_options_init(&options);
        options.auto_stream = 1;
        assert_int_equal(daybook_append(at->store, &event, 1, &options, NULL, NULL), DAYBOOK_OK);
    }
    daybook_consumer_config config;
    daybook_consumer_config_init(&config);
    config.name = daybook_text("mailer");
    assert_int_equal(daybook_consumer_add(at->store, daybook_text("ORDERS"), &config, NULL, NULL),
                     DAYBOOK_OK);
}

// One output for each message of the batch, and their acknowledgements. No ids: an output made twice would be
// there twice.
static daybook_status answer(daybook_store *store, daybook_consumer *consumer, const daybook_batch *batch) {
    char subjects[TAKEN_MAX][32];
    daybook_event events[TAKEN_MAX];
    daybook_append_ack acks[TAKEN_MAX];
    for (size_t i = 0; i < batch->count; i++) {
        unsigned long long seq = batch->messages[i].event.seq;
        (void)snprintf(subjects[i], sizeof subjects[i], "mails.%llu.sent", seq);
        daybook_event_init(&events[i]);
        events[i].subject = daybook_text(subjects[i]);
        acks[i] = (daybook_append_ack){.size = sizeof acks[i], .consumer = consumer, .seq = seq};
    }
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    options.acks = acks;
    options.ack_count = batch->count;
    return daybook_append(store, events, batch->count, &options, NULL, NULL);
}

// Until there is nothing to be taken.
static void work_off(world *at, daybook_store *store) {
    daybook_consumer *consumer = NULL;
    assert_int_equal(
        daybook_consumer_open(store, daybook_text("ORDERS"), daybook_text("mailer"), &consumer, NULL),
        DAYBOOK_OK);
    daybook_fetch_options options;
    daybook_fetch_options_init(&options);
    options.count = TAKEN_MAX;
    options.timeout_ms = 0;
    daybook_batch *batch = NULL;
    daybook_status status;
    while ((status = daybook_consumer_fetch(consumer, &options, &batch, NULL)) == DAYBOOK_OK) {
        assert_int_equal(answer(store, consumer, batch), DAYBOOK_OK);
        atomic_fetch_add(&at->output_count, (unsigned)batch->count);
        daybook_batch_release(batch);
        while (atomic_load(&at->output_count) >= atomic_load(&at->output_limit)) (void)sched_yield();
    }
    assert_int_equal(status, DAYBOOK_TIMEOUT);
    daybook_consumer_close(consumer);
}

static void *run_worker(void *context) {
    world *at = context;
    work_off(at, at->store);
    return NULL;
}

// Each input has one output.
static void check_outputs(daybook_store *store, bool is_whole, unsigned *count_out) {
    bool has_output[INPUTS + 1] = {false};
    daybook_query query;
    daybook_query_init(&query);
    daybook_slice filter = daybook_text("mails.>");
    query.filters = &filter;
    query.filter_count = 1;
    daybook_cursor *cursor = NULL;
    assert_int_equal(daybook_read(store, &query, &cursor, NULL), DAYBOOK_OK);
    daybook_recorded_event event;
    daybook_status status;
    *count_out = 0;
    while ((status = daybook_cursor_next(cursor, 0, &event, NULL)) == DAYBOOK_OK) {
        char text[64] = "";
        unsigned seq = 0;
        memcpy(text, event.event.subject.data, event.event.subject.size);
        assert_int_equal(sscanf(text, "mails.%u.sent", &seq), 1);
        assert_in_range(seq, 1, INPUTS);
        assert_false(has_output[seq]);
        has_output[seq] = true;
        ++*count_out;
    }
    assert_int_equal(status, DAYBOOK_END);
    daybook_cursor_close(cursor);
    if (is_whole) assert_int_equal(*count_out, INPUTS);
}

static void check_backup(world *at, unsigned number, unsigned *count_out) {
    char from[16], to[16];
    (void)snprintf(from, sizeof from, "/b%u", number);
    (void)snprintf(to, sizeof to, "/r%u", number);
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.vfs = dbk_sim_vfs(at->sim);
    assert_int_equal(daybook_verify(from, &options, NULL, NULL, NULL, NULL, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_restore(from, to, &options, NULL, NULL, NULL), DAYBOOK_OK);
    daybook_store *store = open_store(at, to, DAYBOOK_OPEN_NO_BACKGROUND);
    check_outputs(store, false, count_out);
    daybook_consumer_info *info = NULL;
    assert_int_equal(
        daybook_consumer_get_info(store, daybook_text("ORDERS"), daybook_text("mailer"), &info, NULL),
        DAYBOOK_OK);
    assert_int_equal(info->pending_count + info->ack_pending_count, INPUTS - *count_out);
    daybook_consumer_info_release(store, info);
    work_off(at, store);
    dbk_sim_advance_ns(at->sim, 60 * DBK_SECOND_NS); // what was in flight is due again
    work_off(at, store);
    unsigned count = 0;
    check_outputs(store, true, &count);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
}

static void a_backup_holds_one_moment_of_a_consumers_work(void **state) {
    (void)state;
    world at;
    prepare(&at);
    pthread_t workers[WORKERS];
    for (size_t i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&workers[i], NULL, run_worker, &at), 0);
    for (unsigned i = 0; i < BACKUPS; i++) {
        while (atomic_load(&at.output_count) < i * INPUTS / BACKUPS) (void)sched_yield();
        atomic_store(&at.output_limit, (i + 1) * INPUTS / BACKUPS);
        char directory[16];
        (void)snprintf(directory, sizeof directory, "/b%u", i);
        assert_int_equal(daybook_backup(at.store, directory, NULL, NULL, NULL), DAYBOOK_OK);
    }
    atomic_store(&at.output_limit, UINT_MAX);
    for (size_t i = 0; i < WORKERS; i++) assert_int_equal(pthread_join(workers[i], NULL), 0);
    unsigned count = 0, in_between = 0;
    check_outputs(at.store, true, &count);
    assert_int_equal(daybook_close(at.store, NULL), DAYBOOK_OK);
    for (unsigned i = 0; i < BACKUPS; i++) {
        check_backup(&at, i, &count);
        in_between += count > 0 && count < INPUTS;
    }
    print_message("%u of %d backups hold a moment in between\n", in_between, BACKUPS);
    assert_true(in_between > 0);
    assert_int_equal(dbk_sim_open_files(at.sim), 0);
    dbk_sim_free(at.sim);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_backup_holds_one_moment_of_a_consumers_work)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
