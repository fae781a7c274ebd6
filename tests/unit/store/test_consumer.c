// SPDX-License-Identifier: Apache-2.0
// Consumers of a store, on a simulated machine whose clock does as it is told and which crashes on request.
#include <pthread.h>
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
#include "store/consumer.h"

typedef struct fixture {
    dbk_sim *sim;
    daybook_store *store;
} fixture;

static void open_store(fixture *at) {
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.vfs = dbk_sim_vfs(at->sim);
    options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    options.journal_max_bytes = 8 << 20;
    daybook_error error;
    daybook_error_init(&error);
    if (daybook_open("/s", &options, &at->store, &error) != DAYBOOK_OK) fail_msg("%s", error.message);
}

static void add_stream(fixture *at, const char *name, const char *subjects_text) {
    daybook_slice subject = daybook_text(subjects_text);
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text(name);
    config.subjects = &subject;
    config.subject_count = 1;
    assert_int_equal(daybook_stream_add(at->store, &config, NULL), DAYBOOK_OK);
}

static int set_up(void **state) {
    static fixture only;
    fixture *at = &only;
    memset(at, 0, sizeof *at);
    if (dbk_sim_new(7, &at->sim) != DAYBOOK_OK) return -1;
    open_store(at);
    add_stream(at, "S", "s.>");
    *state = at;
    return 0;
}

static int tear_down(void **state) {
    fixture *at = *state;
    daybook_status status = daybook_close(at->store, NULL);
    dbk_sim_free(at->sim);
    return status == DAYBOOK_OK ? 0 : -1;
}

static void reopen(fixture *at) {
    assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
    open_store(at);
}

// What was not synced is gone.
static void crash(fixture *at) {
    dbk_sim_crash(at->sim, DBK_SIM_POWER_LOSS_DROP_ALL);
    (void)daybook_close(at->store, NULL); // its handles are dead
    open_store(at);
}

static void pass(fixture *at, int64_t ns) {
    dbk_sim_advance_ns(at->sim, ns);
    daybook_status status = daybook_maintain(at->store, NULL);
    assert_true(status == DAYBOOK_OK || status == DAYBOOK_END);
}

static uint64_t append(fixture *at, const char *subject) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    event.data = daybook_text("data");
    daybook_receipt receipt;
    assert_int_equal(daybook_append(at->store, &event, 1, NULL, &receipt, NULL), DAYBOOK_OK);
    return receipt.seq;
}

static daybook_consumer_config named(const char *name) {
    daybook_consumer_config config;
    daybook_consumer_config_init(&config);
    config.name = daybook_text(name);
    return config;
}

static daybook_consumer *add(fixture *at, const daybook_consumer_config *config) {
    daybook_consumer *consumer = NULL;
    daybook_error error;
    daybook_error_init(&error);
    if (daybook_consumer_add(at->store, daybook_text("S"), config, &consumer, &error) != DAYBOOK_OK)
        fail_msg("%s", error.message);
    return consumer;
}

static daybook_consumer *open_again(fixture *at, const char *name) {
    daybook_consumer *consumer = NULL;
    assert_int_equal(daybook_consumer_open(at->store, daybook_text("S"), daybook_text(name), &consumer, NULL),
                     DAYBOOK_OK);
    return consumer;
}

static daybook_batch *fetch(daybook_consumer *consumer, size_t count) {
    daybook_fetch_options options;
    daybook_fetch_options_init(&options);
    options.count = count;
    options.timeout_ms = 0;
    daybook_batch *batch;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = daybook_consumer_fetch(consumer, &options, &batch, &error);
    if (status != DAYBOOK_OK && status != DAYBOOK_TIMEOUT) fail_msg("%s", error.message);
    return batch;
}

// The seqs fetched, as text: "1 2 5", with "x<n>" behind one that was delivered before.
static const char *fetched(daybook_consumer *consumer, size_t count) {
    static char text[4096];
    daybook_batch *batch = fetch(consumer, count);
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; batch != NULL && i < batch->count; i++) {
        const daybook_message *message = &batch->messages[i];
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%llu", i > 0 ? " " : "",
                                 (unsigned long long)message->event.seq);
        if (message->delivery_count > 1)
            used += (size_t)snprintf(text + used, sizeof text - used, "x%llu",
                                     (unsigned long long)message->delivery_count);
    }
    daybook_batch_release(batch);
    return text;
}

static daybook_consumer_info info_of(fixture *at, const char *name) {
    daybook_consumer_info *info;
    assert_int_equal(daybook_consumer_get_info(at->store, daybook_text("S"), daybook_text(name), &info, NULL),
                     DAYBOOK_OK);
    daybook_consumer_info copy = *info;
    daybook_consumer_info_release(at->store, info);
    return copy;
}

// ---- Delivering -------------------------------------------------------------------------------------------

static void messages_come_once_and_are_acknowledged(void **state) {
    fixture *at = *state;
    for (int i = 0; i < 5; i++) (void)append(at, "s.1.x");
    daybook_consumer_config config = named("c");
    daybook_consumer *consumer = add(at, &config);
    assert_int_equal(info_of(at, "c").pending_count, 5);
    daybook_batch *batch = fetch(consumer, 3);
    assert_int_equal(batch->count, 3);
    const daybook_message *first = &batch->messages[0];
    assert_int_equal(first->event.seq, 1);
    assert_int_equal(first->delivery, 1);
    assert_int_equal(first->pending_count, 4);
    assert_memory_equal(first->event.event.data.data, "data", 4);
    assert_memory_equal(first->event.aggregate.data, "s.1", 3);
    assert_memory_equal(first->event.stream.data, "S", 1);
    daybook_batch_release(batch);
    assert_int_equal(daybook_consumer_ack(consumer, 1, 0, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_consumer_ack(consumer, 2, DAYBOOK_ACK_CONFIRMED, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_consumer_ack(consumer, 2, 0, NULL), DAYBOOK_ENOTFOUND);
    assert_int_equal(daybook_consumer_ack(consumer, 4, 0, NULL), DAYBOOK_ENOTFOUND);
    daybook_consumer_info info = info_of(at, "c");
    assert_int_equal(info.floor_seq, 2);
    assert_int_equal(info.ack_pending_count, 1);
    assert_int_equal(info.pending_count, 2);
    assert_string_equal(fetched(consumer, 10), "4 5");
    assert_string_equal(fetched(consumer, 10), "");
    assert_int_equal(append(at, "s.2.x"), 6);
    assert_int_equal(info_of(at, "c").pending_count, 1);
    assert_string_equal(fetched(consumer, 10), "6");
    daybook_consumer_close(consumer);
}

static void unanswered_messages_come_again(void **state) {
    fixture *at = *state;
    for (int i = 0; i < 4; i++) (void)append(at, "s.1.x");
    daybook_consumer_config config = named("c");
    config.ack_wait_ns = 2 * DBK_SECOND_NS;
    config.max_deliver = 3;
    daybook_consumer *consumer = add(at, &config);
    assert_string_equal(fetched(consumer, 3), "1 2 3");
    assert_int_equal(daybook_consumer_nak(consumer, 2, 0, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_consumer_nak(consumer, 1, DBK_SECOND_NS, NULL), DAYBOOK_OK);
    assert_string_equal(fetched(consumer, 10), "2x2 4");
    pass(at, DBK_SECOND_NS + 10 * DBK_MILLISECOND_NS);
    assert_string_equal(fetched(consumer, 10), "1x2");
    assert_int_equal(daybook_consumer_term(consumer, 4, daybook_text("not \"mine\""), NULL), DAYBOOK_OK);
    pass(at, DBK_SECOND_NS);
    assert_int_equal(daybook_consumer_progress(consumer, 2, NULL), DAYBOOK_OK);
    assert_string_equal(fetched(consumer, 10), "3x2");
    pass(at, 2 * DBK_SECOND_NS);
    assert_string_equal(fetched(consumer, 10), "1x3 2x3 3x3");
    pass(at, 3 * DBK_SECOND_NS);
    assert_string_equal(fetched(consumer, 10), "");
    daybook_consumer_info info = info_of(at, "c");
    assert_int_equal(info.given_up_count, 3);
    assert_int_equal(info.ack_pending_count, 0);
    // What became of them is told.
    pass(at, DBK_SECOND_NS);
    daybook_query query;
    daybook_query_init(&query);
    query.stream = daybook_text("$ADVISORIES");
    uint64_t count;
    assert_int_equal(daybook_count(at->store, &query, &count, NULL), DAYBOOK_OK);
    assert_true(count < 4); // they are written with the next group
    (void)append(at, "s.9.x");
    assert_int_equal(daybook_count(at->store, &query, &count, NULL), DAYBOOK_OK);
    assert_int_equal(count, 4);
    daybook_cursor *cursor;
    daybook_recorded_event event;
    assert_int_equal(daybook_read(at->store, &query, &cursor, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_cursor_next(cursor, 0, &event, NULL), DAYBOOK_OK);
    static const char subject[] = "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.S.c";
    assert_int_equal(event.event.subject.size, sizeof subject - 1);
    assert_memory_equal(event.event.subject.data, subject, sizeof subject - 1);
    static const char data[] =
        "{\"type\":\"io.nats.jetstream.advisory.v1.terminated\",\"stream\":\"S\",\"consumer\":\"c\","
        "\"stream_seq\":4,\"deliveries\":1,\"reason\":\"not \\\"mine\\\"\"}";
    assert_int_equal(event.event.data.size, sizeof data - 1);
    assert_memory_equal(event.event.data.data, data, sizeof data - 1);
    daybook_cursor_close(cursor);
    daybook_consumer_close(consumer);
}

typedef struct told {
    int count;
    char subject[128], json[256];
} told;

static void note_advisory(void *context, daybook_slice subject, daybook_slice json) {
    told *into = context;
    into->count++;
    (void)snprintf(into->subject, sizeof into->subject, "%.*s", (int)subject.size,
                   (const char *)subject.data);
    (void)snprintf(into->json, sizeof into->json, "%.*s", (int)json.size, (const char *)json.data);
}

static void advisories_are_told_instead_of_appended(void **state) {
    fixture *at = *state;
    for (int i = 0; i < 2; i++) (void)append(at, "s.1.x");
    daybook_consumer_config config = named("c");
    config.max_deliver = 1;
    config.ack_wait_ns = DBK_SECOND_NS;
    daybook_consumer *consumer = add(at, &config);
    told found = {0};
    assert_int_equal(daybook_advisory_watch(NULL, note_advisory, &found, NULL), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_advisory_watch(at->store, note_advisory, &found, NULL), DAYBOOK_OK);
    // Nobody takes its place, or ends it, by another context.
    told other = {0};
    assert_int_equal(daybook_advisory_watch(at->store, note_advisory, &other, NULL), DAYBOOK_EEXISTS);
    assert_int_equal(daybook_advisory_watch(at->store, NULL, &other, NULL), DAYBOOK_OK);
    assert_string_equal(fetched(consumer, 1), "1");
    pass(at, 2 * DBK_SECOND_NS);
    assert_string_equal(fetched(consumer, 1), "2");
    pass(at, DBK_SECOND_NS / 2);
    assert_int_equal(found.count, 1);
    assert_string_equal(found.subject, "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.S.c");
    assert_string_equal(found.json,
                        "{\"type\":\"io.nats.jetstream.advisory.v1.max_deliver\",\"stream\":\"S\","
                        "\"consumer\":\"c\",\"stream_seq\":1,\"deliveries\":1}");
    daybook_stream_info *info;
    assert_int_equal(daybook_stream_get_info(at->store, daybook_text("$ADVISORIES"), &info, NULL),
                     DAYBOOK_ENOTFOUND);
    // Nobody is told any more.
    assert_int_equal(daybook_advisory_watch(at->store, NULL, &found, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_consumer_term(consumer, 2, daybook_text(""), NULL), DAYBOOK_OK);
    pass(at, DBK_SECOND_NS);
    assert_int_equal(found.count, 1);
    assert_int_equal(daybook_stream_get_info(at->store, daybook_text("$ADVISORIES"), &info, NULL),
                     DAYBOOK_OK);
    daybook_stream_info_release(at->store, info);
    daybook_consumer_close(consumer);
}

static void each_policy_begins_where_it_says(void **state) {
    fixture *at = *state;
    (void)append(at, "s.1.a");
    (void)append(at, "s.2.a");
    dbk_sim_advance_ns(at->sim, DBK_SECOND_NS);
    int64_t middle_ns = dbk_sim_vfs(at->sim)->clock_real_ns(dbk_sim_vfs(at->sim));
    (void)append(at, "s.1.a");
    (void)append(at, "s.3.b");
    static const struct {
        int deliver;
        const char *name, *first, *second;
    } rows[] = {
        {DAYBOOK_DELIVER_ALL, "all", "1 2 3 4", "5 6"},
        {DAYBOOK_DELIVER_LAST, "last", "4", "5 6"},
        {DAYBOOK_DELIVER_NEW, "new", "", "5 6"},
        {DAYBOOK_DELIVER_BY_START_SEQ, "seq", "2 3 4", "5 6"},
        {DAYBOOK_DELIVER_BY_START_TIME, "time", "3 4", "5 6"},
        {DAYBOOK_DELIVER_LAST_PER_SUBJECT, "subject", "2 3 4", "5 6"},
    };
    daybook_consumer *consumers[6];
    for (size_t i = 0; i < 6; i++) {
        daybook_consumer_config config = named(rows[i].name);
        config.deliver = rows[i].deliver;
        if (config.deliver == DAYBOOK_DELIVER_BY_START_SEQ) config.start_seq = 2;
        if (config.deliver == DAYBOOK_DELIVER_BY_START_TIME) config.start_time_ns = middle_ns;
        consumers[i] = add(at, &config);
    }
    for (int again = 0; again < 2; again++) {
        for (size_t i = 0; i < 6; i++) {
            size_t expected = again ? 2 : (strlen(rows[i].first) + 1) / 2;
            assert_int_equal(info_of(at, rows[i].name).pending_count, expected);
            assert_string_equal(fetched(consumers[i], 10), again ? rows[i].second : rows[i].first);
            assert_int_equal(info_of(at, rows[i].name).pending_count, 0);
        }
        if (again) break;
        (void)append(at, "s.1.a");
        (void)append(at, "s.2.a");
    }
    for (size_t i = 0; i < 6; i++) daybook_consumer_close(consumers[i]);
}

static void filters_pass_what_matches_one_of_them(void **state) {
    fixture *at = *state;
    static const char *const subjects[] = {"s.1.a", "s.1.b", "s.2.a", "s.3.c"};
    for (int i = 0; i < 12; i++) (void)append(at, subjects[i % 4]);
    daybook_slice filters[] = {daybook_text("s.*.a"), daybook_text("s.3.c")};
    daybook_consumer_config config = named("c");
    config.filters = filters;
    config.filter_count = 2;
    config.flags |= DAYBOOK_CONSUMER_HEADERS_ONLY;
    daybook_consumer *consumer = add(at, &config);
    assert_int_equal(info_of(at, "c").pending_count, 9);
    daybook_batch *batch = fetch(consumer, 1);
    assert_int_equal(batch->messages[0].event.event.data.size, 0);
    assert_int_equal(batch->messages[0].data_size, 4);
    daybook_batch_release(batch);
    assert_string_equal(fetched(consumer, 4), "3 4 5 7");
    assert_int_equal(info_of(at, "c").pending_count, 4);
    // Another filter: what was delivered stays so.
    config.filters = filters + 1;
    config.filter_count = 1;
    assert_int_equal(daybook_consumer_update(at->store, daybook_text("S"), &config, NULL), DAYBOOK_OK);
    assert_int_equal(info_of(at, "c").pending_count, 2);
    assert_string_equal(fetched(consumer, 9), "8 12");
    filters[0] = daybook_text("t.1");
    config.filters = filters;
    assert_int_equal(daybook_consumer_update(at->store, daybook_text("S"), &config, NULL), DAYBOOK_EINVALID);
    // Unless that is meant; it is not kept that it was.
    config.flags |= DAYBOOK_CONSUMER_OTHER_SUBJECTS;
    assert_int_equal(daybook_consumer_update(at->store, daybook_text("S"), &config, NULL), DAYBOOK_OK);
    config.name = daybook_text("d");
    assert_int_equal(daybook_consumer_add(at->store, daybook_text("S"), &config, NULL, NULL), DAYBOOK_OK);
    assert_int_equal(info_of(at, "c").pending_count, 0);
    assert_int_equal(info_of(at, "d").pending_count, 0);
    daybook_consumer_close(consumer);
    reopen(at);
    daybook_consumer_close(open_again(at, "d"));
}

static void order_is_kept_per_aggregate(void **state) {
    fixture *at = *state;
    for (int i = 0; i < 3; i++) {
        (void)append(at, "s.1.x");
        (void)append(at, "s.2.x");
    }
    daybook_consumer_config config = named("c");
    config.flags |= DAYBOOK_CONSUMER_IN_ORDER;
    daybook_consumer *consumer = add(at, &config);
    assert_string_equal(fetched(consumer, 10), "1 2");
    assert_string_equal(fetched(consumer, 10), "");
    assert_int_equal(info_of(at, "c").pending_count, 4);
    assert_int_equal(daybook_consumer_ack(consumer, 2, 0, NULL), DAYBOOK_OK);
    assert_string_equal(fetched(consumer, 10), "4");
    assert_int_equal(daybook_consumer_nak(consumer, 4, 0, NULL), DAYBOOK_OK);
    assert_string_equal(fetched(consumer, 10), "4x2");
    daybook_consumer_close(consumer);
    reopen(at); // what waits behind others is remembered
    consumer = open_again(at, "c");
    assert_string_equal(fetched(consumer, 10), "");
    assert_int_equal(info_of(at, "c").pending_count, 3);
    assert_int_equal(daybook_consumer_ack(consumer, 1, 0, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_consumer_ack(consumer, 4, 0, NULL), DAYBOOK_OK);
    assert_string_equal(fetched(consumer, 10), "3 6");
    daybook_consumer_close(consumer);
}

static void limits_hold(void **state) {
    fixture *at = *state;
    for (int i = 0; i < 5; i++) (void)append(at, "s.1.x");
    daybook_consumer_config config = named("c");
    config.max_ack_pending = 2;
    daybook_consumer *consumer = add(at, &config);
    assert_string_equal(fetched(consumer, 10), "1 2");
    assert_string_equal(fetched(consumer, 10), "");
    assert_int_equal(daybook_consumer_ack(consumer, 1, 0, NULL), DAYBOOK_OK);
    daybook_fetch_options options;
    daybook_fetch_options_init(&options);
    options.count = 10;
    options.timeout_ms = 0;
    options.max_bytes = 1; // the first is given whatever its size
    daybook_batch *batch;
    assert_int_equal(daybook_consumer_fetch(consumer, &options, &batch, NULL), DAYBOOK_OK);
    assert_int_equal(batch->count, 1);
    daybook_batch_release(batch);
    assert_int_equal(daybook_consumer_ack(consumer, 3, 0, NULL), DAYBOOK_OK);
    // Paused: nothing comes, answers are taken.
    int64_t now_ns = dbk_sim_vfs(at->sim)->clock_real_ns(dbk_sim_vfs(at->sim));
    daybook_slice stream = daybook_text("S"), name = daybook_text("c");
    assert_int_equal(daybook_consumer_pause(at->store, stream, name, now_ns + DBK_SECOND_NS, NULL),
                     DAYBOOK_OK);
    assert_true(info_of(at, "c").is_paused);
    assert_string_equal(fetched(consumer, 10), "");
    assert_int_equal(daybook_consumer_ack(consumer, 2, 0, NULL), DAYBOOK_OK);
    pass(at, DBK_SECOND_NS);
    assert_string_equal(fetched(consumer, 10), "4 5");
    daybook_consumer_interrupt(consumer);
    options.timeout_ms = -1;
    assert_int_equal(daybook_consumer_fetch(consumer, &options, &batch, NULL), DAYBOOK_ECLOSED);
    daybook_consumer_close(consumer);
}

static void removed_events_are_passed_over(void **state) {
    fixture *at = *state;
    for (int i = 0; i < 8; i++) (void)append(at, "s.1.x");
    daybook_consumer_config config = named("c");
    config.ack_wait_ns = DBK_SECOND_NS;
    daybook_consumer *consumer = add(at, &config);
    assert_string_equal(fetched(consumer, 3), "1 2 3");
    daybook_slice stream = daybook_text("S");
    assert_int_equal(daybook_event_remove(at->store, stream, 2, 0, NULL), DAYBOOK_OK);
    assert_int_equal(info_of(at, "c").pending_count, 5);
    assert_int_equal(daybook_event_remove(at->store, stream, 5, 0, NULL), DAYBOOK_OK);
    assert_int_equal(info_of(at, "c").pending_count, 4);
    pass(at, 2 * DBK_SECOND_NS);
    assert_string_equal(fetched(consumer, 2), "1x2 3x2");
    assert_int_equal(info_of(at, "c").ack_pending_count, 2);
    daybook_purge_options purge;
    daybook_purge_options_init(&purge);
    purge.keep = 1;
    assert_int_equal(daybook_stream_purge(at->store, stream, &purge, NULL, NULL), DAYBOOK_OK);
    assert_int_equal(info_of(at, "c").pending_count, 1);
    assert_string_equal(fetched(consumer, 9), "8");
    daybook_consumer_close(consumer);
}

// ---- Keeping ----------------------------------------------------------------------------------------------

static void a_durable_consumer_goes_on_where_it_was(void **state) {
    fixture *at = *state;
    for (int i = 0; i < 6; i++) (void)append(at, "s.1.x");
    daybook_consumer_config config = named("c");
    config.ack_wait_ns = 10 * DBK_SECOND_NS;
    daybook_consumer *consumer = add(at, &config);
    assert_string_equal(fetched(consumer, 4), "1 2 3 4");
    assert_int_equal(daybook_consumer_ack(consumer, 1, 0, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_consumer_ack(consumer, 3, 0, NULL), DAYBOOK_OK);
    daybook_consumer_close(consumer);
    reopen(at);
    daybook_consumer_info info = info_of(at, "c");
    assert_int_equal(info.delivered_number, 4);
    assert_int_equal(info.ack_pending_count, 2);
    assert_int_equal(info.floor_seq, 1);
    assert_int_equal(info.pending_count, 2);
    consumer = open_again(at, "c");
    assert_string_equal(fetched(consumer, 1), "5");
    pass(at, 10 * DBK_SECOND_NS);
    assert_string_equal(fetched(consumer, 9), "2x2 4x2 5x2 6");
    daybook_consumer_close(consumer);
}

static void a_confirmed_acknowledgement_survives_a_crash(void **state) {
    fixture *at = *state;
    for (int i = 0; i < 4; i++) (void)append(at, "s.1.x");
    daybook_consumer_config config = named("c");
    config.ack_wait_ns = DBK_SECOND_NS;
    daybook_consumer *consumer = add(at, &config);
    assert_string_equal(fetched(consumer, 3), "1 2 3");
    assert_int_equal(daybook_consumer_ack(consumer, 2, DAYBOOK_ACK_CONFIRMED, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_consumer_ack(consumer, 3, 0, NULL), DAYBOOK_OK); // not confirmed
    daybook_consumer_close(consumer);
    crash(at);
    pass(at, 2 * DBK_SECOND_NS);
    consumer = open_again(at, "c");
    assert_string_equal(fetched(consumer, 9), "1x2 3x2 4");
    daybook_consumer_close(consumer);
}

// A plain answer rides with what is written next, at the latest after 100 ms.
static void a_plain_acknowledgement_is_saved_soon(void **state) {
    fixture *at = *state;
    for (int i = 0; i < 2; i++) (void)append(at, "s.1.x");
    daybook_consumer_config config = named("c");
    config.ack_wait_ns = DBK_SECOND_NS;
    daybook_consumer *consumer = add(at, &config);
    assert_string_equal(fetched(consumer, 2), "1 2");
    assert_int_equal(daybook_consumer_ack(consumer, 1, 0, NULL), DAYBOOK_OK);
    pass(at, 110 * DBK_MILLISECOND_NS); // saved
    pass(at, 110 * DBK_MILLISECOND_NS); // written
    daybook_consumer_close(consumer);
    crash(at);
    pass(at, 2 * DBK_SECOND_NS);
    consumer = open_again(at, "c");
    assert_string_equal(fetched(consumer, 9), "2x2");
    daybook_consumer_close(consumer);
}

// So much is answered that whole states are saved between.
static void states_replace_changes(void **state) {
    fixture *at = *state;
    daybook_consumer_config config = named("c");
    config.max_ack_pending = 0;
    daybook_consumer *consumer = add(at, &config);
    uint64_t acked = 0;
    for (int round = 0; round < 200; round++) {
        daybook_event events[200];
        for (int i = 0; i < 200; i++) {
            daybook_event_init(&events[i]);
            events[i].subject = daybook_text("s.1.x");
        }
        assert_int_equal(daybook_append(at->store, events, 200, NULL, NULL, NULL), DAYBOOK_OK);
        daybook_batch *batch = fetch(consumer, 200);
        assert_int_equal(batch->count, 200);
        for (size_t i = 0; i < batch->count; i++) {
            // In an order that makes no runs.
            uint64_t seq = batch->messages[(i * 77) % 200].event.seq;
            if (seq % 5 == 0) continue;
            assert_int_equal(daybook_consumer_ack(consumer, seq, 0, NULL), DAYBOOK_OK);
            acked++;
        }
        daybook_batch_release(batch);
        assert_int_equal(
            daybook_consumer_ack(consumer, (uint64_t)round * 200 + 5, DAYBOOK_ACK_CONFIRMED, NULL),
            DAYBOOK_OK);
        acked++;
    }
    daybook_stream_info *stream;
    assert_int_equal(daybook_stream_get_info(at->store, daybook_text("$CONSUMERS"), &stream, NULL),
                     DAYBOOK_OK);
    assert_true(stream->last_seq > 200 && stream->message_count < 150); // a state replaced those before it
    daybook_stream_info_release(at->store, stream);
    daybook_consumer_close(consumer);
    crash(at);
    daybook_consumer_info info = info_of(at, "c");
    assert_int_equal(info.delivered_seq, 40000);
    assert_int_equal(info.ack_pending_count, 40000 - acked);
    assert_int_equal(info.pending_count, 0);
}

// ---- Large states -----------------------------------------------------------------------------------------

static struct dbk_consumers *registry_of(fixture *at, size_t part_bytes) {
    struct dbk_consumers *registry;
    assert_int_equal(dbk_consumers_get(at->store, &registry, NULL), DAYBOOK_OK);
    registry->part_bytes = part_bytes;
    return registry;
}

static uint64_t count_log(fixture *at, const char *filter) {
    daybook_slice filters[] = {daybook_text(filter)};
    daybook_query query;
    daybook_query_init(&query);
    query.stream = daybook_text("$CONSUMERS");
    query.filters = filters;
    query.filter_count = 1;
    uint64_t count;
    assert_int_equal(daybook_count(at->store, &query, &count, NULL), DAYBOOK_OK);
    return count;
}

static void save_state(daybook_consumer *consumer) {
    pthread_mutex_lock(&consumer->consumer->lock);
    consumer->consumer->wants_checkpoint = true;
    dbk_consumer_note_change(consumer->consumer);
    pthread_mutex_unlock(&consumer->consumer->lock);
    daybook_error error;
    daybook_error_init(&error);
    if (dbk_consumer_save(consumer->consumer, true, &error) != DAYBOOK_OK) fail_msg("%s", error.message);
}

// Whatever there is to say of each message: repeated, of its own deadline, of an aggregate, held.
static void deliver_a_bad_mix(fixture *at, daybook_consumer *consumer, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        char subject[32];
        (void)snprintf(subject, sizeof subject, "s.%u.x", i * 7 % (count / 3));
        (void)append(at, subject);
    }
    for (unsigned i = 0; i < count / 4; i++) {
        daybook_batch *batch = fetch(consumer, 4);
        for (size_t j = 0; batch != NULL && j < batch->count; j++) {
            uint64_t seq = batch->messages[j].event.seq;
            if (seq % 3 == 0)
                assert_int_equal(
                    daybook_consumer_nak(consumer, seq, (int64_t)(seq % 7) * DBK_SECOND_NS, NULL),
                    DAYBOOK_OK);
            if (seq % 5 == 0) assert_int_equal(daybook_consumer_progress(consumer, seq, NULL), DAYBOOK_OK);
        }
        daybook_batch_release(batch);
        pass(at, 10 * DBK_MILLISECOND_NS * (1 + i % 3));
    }
}

static void compare_infos(const daybook_consumer_info *one, const daybook_consumer_info *other) {
    assert_int_equal(one->delivered_number, other->delivered_number);
    assert_int_equal(one->delivered_seq, other->delivered_seq);
    assert_int_equal(one->floor_number, other->floor_number);
    assert_int_equal(one->floor_seq, other->floor_seq);
    assert_int_equal(one->ack_pending_count, other->ack_pending_count);
    assert_int_equal(one->redelivered_count, other->redelivered_count);
    assert_int_equal(one->pending_count, other->pending_count);
}

// A state that takes many events comes back as it was; the parts of older ones go, and those of one that was
// never finished.
static void a_large_state_is_saved_in_parts(void **state) {
    fixture *at = *state;
    daybook_consumer_config config = named("c");
    config.max_ack_pending = 0;
    config.ack_wait_ns = 1000 * DBK_SECOND_NS;
    config.flags |= DAYBOOK_CONSUMER_IN_ORDER;
    daybook_consumer *consumer = add(at, &config);
    deliver_a_bad_mix(at, consumer, 600);
    assert_int_equal(registry_of(at, 100)->part_bytes, 100);
    save_state(consumer);
    uint64_t parts = count_log(at, "$CONSUMER.*.c.parts");
    assert_in_range(parts, 8, 200);
    daybook_consumer_info before = info_of(at, "c");
    daybook_consumer_close(consumer);
    crash(at);
    daybook_consumer_info after = info_of(at, "c");
    compare_infos(&before, &after);
    // Begun, and not finished.
    dbk_checkpoint begun;
    dbk_checkpoint_init(&begun, dbk_allocator_default());
    consumer = open_again(at, "c");
    (void)registry_of(at, 100);
    assert_int_equal(dbk_checkpoint_encode(&begun, consumer->consumer, 0), DAYBOOK_OK);
    assert_int_equal(dbk_checkpoint_write_parts(&begun, consumer->consumer, NULL), DAYBOOK_OK);
    dbk_checkpoint_deinit(&begun);
    assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
    assert_int_equal(count_log(at, "$CONSUMER.*.c.parts"), 2 * parts);
    daybook_consumer_close(consumer);
    reopen(at);
    after = info_of(at, "c");
    compare_infos(&before, &after);
    consumer = open_again(at, "c");
    (void)registry_of(at, 100);
    save_state(consumer);
    assert_int_equal(count_log(at, "$CONSUMER.*.c.parts"), parts);
    (void)registry_of(at, 1 << 20);
    save_state(consumer);
    assert_int_equal(count_log(at, "$CONSUMER.*.c.parts"), 0);
    daybook_consumer_close(consumer);
    reopen(at);
    after = info_of(at, "c");
    compare_infos(&before, &after);
}

// A consumer of the last of each subject begins with a list of them, which may be as large.
static void a_large_first_state_is_saved_in_parts(void **state) {
    fixture *at = *state;
    for (unsigned i = 0; i < 300; i++) {
        char subject[32];
        (void)snprintf(subject, sizeof subject, "s.%u.x", i % 100);
        (void)append(at, subject);
    }
    (void)registry_of(at, 40);
    daybook_consumer_config config = named("c");
    config.deliver = DAYBOOK_DELIVER_LAST_PER_SUBJECT;
    daybook_consumer_close(add(at, &config));
    assert_in_range(count_log(at, "$CONSUMER.*.c.parts"), 3, 20);
    crash(at);
    assert_int_equal(info_of(at, "c").pending_count, 100);
    assert_int_equal(daybook_consumer_remove(at->store, daybook_text("S"), daybook_text("c"), NULL),
                     DAYBOOK_OK);
    assert_int_equal(count_log(at, "$CONSUMER.>"), 0);
}

static void a_state_with_missing_parts_is_damaged(void **state) {
    fixture *at = *state;
    daybook_consumer_config config = named("c");
    config.max_ack_pending = 0;
    daybook_consumer *consumer = add(at, &config);
    deliver_a_bad_mix(at, consumer, 90);
    (void)registry_of(at, 60);
    save_state(consumer);
    daybook_consumer_close(consumer);
    uint64_t parts = count_log(at, "$CONSUMER.*.c.parts");
    assert_true(parts > 2);
    daybook_purge_options options;
    daybook_purge_options_init(&options);
    options.filter = daybook_text("$CONSUMER.*.c.parts");
    options.keep = parts - 1;
    assert_int_equal(daybook_stream_purge(at->store, daybook_text("$CONSUMERS"), &options, NULL, NULL),
                     DAYBOOK_OK);
    reopen(at);
    assert_int_equal(daybook_consumer_open(at->store, daybook_text("S"), daybook_text("c"), &consumer, NULL),
                     DAYBOOK_EDAMAGED);
    assert_int_equal(daybook_consumer_remove(at->store, daybook_text("S"), daybook_text("c"), NULL),
                     DAYBOOK_OK);
}

// As a program that knows more writes it.
static void a_state_of_a_newer_version_is_not_used(void **state) {
    fixture *at = *state;
    daybook_consumer_config config = named("c");
    daybook_consumer *consumer = add(at, &config);
    (void)append(at, "s.1.a");
    assert_string_equal(fetched(consumer, 1), "1");
    char subject[DBK_CONSUMER_SUBJECT_SIZE_MAX], data[25 + 64] = {[24] = 4}; // behind the count
    daybook_event event;
    daybook_event_init(&event);
    event.subject = dbk_consumer_subject(consumer->consumer->stream->id, daybook_text("c"), "state", subject);
    event.type = daybook_text("checkpoint");
    event.data = daybook_bytes(data, sizeof data);
    daybook_header replaces = {daybook_text("Nats-Rollup"), daybook_text("sub")};
    event.headers = &replaces;
    event.header_count = 1;
    daybook_consumer_close(consumer);
    daybook_error error;
    daybook_error_init(&error);
    if (dbk_consumer_append_event(at->store, &event, true, NULL, &error) != DAYBOOK_OK)
        fail_msg("%s", error.message);
    crash(at);
    assert_int_equal(
        daybook_consumer_open(at->store, daybook_text("S"), daybook_text("c"), &consumer, &error),
        DAYBOOK_EDAMAGED);
    if (strstr(error.message, "the state of consumer c of stream S was written by a newer daybook") == NULL)
        fail_msg("it says: %s", error.message);
    assert_int_equal(daybook_consumer_remove(at->store, daybook_text("S"), daybook_text("c"), NULL),
                     DAYBOOK_OK);
    daybook_consumer_close(add(at, &config));
}

// What is pending is carried over closing and crashes where counting it took long, and counted anew where it
// may be another number.
static void a_dear_count_is_kept(void **state) {
    fixture *at = *state;
    static const char *const subjects[] = {"s.1.a", "s.2.a", "s.1.b"};
    for (int i = 0; i < 30; i++) (void)append(at, subjects[i % 3]);
    daybook_slice filters[] = {daybook_text("s.*.a")};
    daybook_consumer_config config = named("c");
    config.filters = filters;
    config.filter_count = 1;
    daybook_consumer *consumer = add(at, &config);
    assert_int_equal(info_of(at, "c").pending_count, 20);
    daybook_batch_release(fetch(consumer, 3));
    consumer->consumer->count_is_dear = true;
    daybook_consumer_close(consumer);
    reopen(at);
    consumer = open_again(at, "c");
    assert_true(consumer->consumer->is_counted);
    assert_int_equal(consumer->consumer->ahead, 17);
    daybook_batch_release(fetch(consumer, 4));
    for (int i = 0; i < 3; i++) (void)append(at, subjects[i]);
    daybook_batch_release(fetch(consumer, 1));
    daybook_consumer_close(consumer);
    reopen(at); // changes behind the state
    consumer = open_again(at, "c");
    assert_true(consumer->consumer->is_counted);
    assert_int_equal(info_of(at, "c").pending_count, 14);
    daybook_consumer_close(consumer);
    assert_int_equal(daybook_event_remove(at->store, daybook_text("S"), 29, 0, NULL), DAYBOOK_OK);
    reopen(at);
    consumer = open_again(at, "c");
    assert_false(consumer->consumer->is_counted);
    assert_int_equal(info_of(at, "c").pending_count, 13);
    consumer->consumer->count_is_dear = true;
    daybook_consumer_close(consumer);
    reopen(at); // another filter since
    filters[0] = daybook_text("s.1.b");
    assert_int_equal(daybook_consumer_update(at->store, daybook_text("S"), &config, NULL), DAYBOOK_OK);
    crash(at);
    consumer = open_again(at, "c");
    assert_false(consumer->consumer->is_counted);
    daybook_consumer_close(consumer);
}

// A purge in part moves no mark of the stream: what it has is looked at.
static void what_was_purged_in_part_is_behind_it(void **state) {
    fixture *at = *state;
    for (int i = 0; i < 6; i++) (void)append(at, "s.1.x");
    daybook_purge_options options;
    daybook_purge_options_init(&options);
    options.seq_to = 4;
    assert_int_equal(daybook_stream_purge(at->store, daybook_text("S"), &options, NULL, NULL), DAYBOOK_OK);
    daybook_consumer_config config = named("c");
    daybook_consumer *consumer = add(at, &config);
    assert_int_equal(info_of(at, "c").delivered_seq, 3);
    assert_int_equal(info_of(at, "c").pending_count, 3);
    assert_string_equal(fetched(consumer, 1), "4");
    assert_int_equal(daybook_stream_purge(at->store, daybook_text("S"), NULL, NULL, NULL), DAYBOOK_OK);
    assert_int_equal(info_of(at, "c").delivered_seq, 6);
    daybook_consumer_close(consumer);
}

static uint64_t looked_at(fixture *at, const char *name) {
    daybook_consumer_info *info;
    assert_int_equal(daybook_consumer_look(at->store, daybook_text("S"), daybook_text(name), &info, NULL),
                     DAYBOOK_OK);
    uint64_t count = info->pending_count;
    daybook_consumer_info_release(at->store, info);
    return count;
}

// Who looks again and again makes nobody count: it is told what is known until counting anew is due.
static void who_looks_often_counts_seldom(void **state) {
    fixture *at = *state;
    daybook_consumer_info *info;
    for (int i = 0; i < 10; i++) (void)append(at, "s.1.x");
    daybook_consumer_config config = named("c");
    daybook_consumer *consumer = add(at, &config);
    assert_int_equal(looked_at(at, "c"), 10);         // counted for the first time
    consumer->consumer->recount_after_ns = INT64_MAX; // as if counting had taken very long
    assert_int_equal(daybook_event_remove(at->store, daybook_text("S"), 5, 0, NULL), DAYBOOK_OK);
    assert_int_equal(looked_at(at, "c"), 10);
    daybook_batch_release(fetch(consumer, 3));
    assert_int_equal(looked_at(at, "c"), 7); // what is delivered is taken off all the same
    consumer->consumer->recount_after_ns = 0;
    assert_int_equal(looked_at(at, "c"), 6);
    (void)append(at, "s.1.x"); // new ones are counted by themselves
    assert_int_equal(looked_at(at, "c"), 7);
    consumer->consumer->recount_after_ns = INT64_MAX;
    assert_int_equal(daybook_event_remove(at->store, daybook_text("S"), 6, 0, NULL), DAYBOOK_OK);
    assert_int_equal(info_of(at, "c").pending_count, 6); // who asks for exactly that gets it
    assert_int_equal(daybook_consumer_look(at->store, daybook_text("S"), daybook_text("d"), &info, NULL),
                     DAYBOOK_ENOTFOUND);
    assert_null(info);
    daybook_consumer_close(consumer);
}

static void an_ephemeral_consumer_ends(void **state) {
    fixture *at = *state;
    (void)append(at, "s.1.x");
    daybook_consumer_config config = named("");
    config.flags = 0;
    daybook_consumer *consumer = add(at, &config);
    char name[64] = "";
    memcpy(name, daybook_consumer_name(consumer).data, daybook_consumer_name(consumer).size);
    assert_string_equal(fetched(consumer, 9), "1");
    pass(at, 20 * DBK_SECOND_NS);
    assert_int_equal(info_of(at, name).delivered_seq, 1);
    daybook_consumer_close(consumer);
    pass(at, 6 * DBK_SECOND_NS);
    daybook_consumer_info *info;
    assert_int_equal(daybook_consumer_get_info(at->store, daybook_text("S"), daybook_text(name), &info, NULL),
                     DAYBOOK_ENOTFOUND);
    daybook_query query;
    daybook_query_init(&query);
    query.stream = daybook_text("$CONSUMERS"); // it touched neither catalogue nor journal
    uint64_t count;
    assert_int_equal(daybook_count(at->store, &query, &count, NULL), DAYBOOK_ENOTFOUND);
}

static int count_consumers(void *context, const daybook_consumer_info *info) {
    (void)info;
    ++*(int *)context;
    return 0;
}

static void names_and_configurations(void **state) {
    fixture *at = *state;
    daybook_slice stream = daybook_text("S");
    daybook_consumer_config config = named("c");
    daybook_consumer_close(add(at, &config));
    daybook_consumer_close(add(at, &config)); // the same again
    config.ack_wait_ns = DBK_SECOND_NS;
    assert_int_equal(daybook_consumer_add(at->store, stream, &config, NULL, NULL), DAYBOOK_EEXISTS);
    assert_int_equal(daybook_consumer_update(at->store, stream, &config, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_consumer_add(at->store, stream, &config, NULL, NULL), DAYBOOK_OK);
    config.ack = DAYBOOK_ACK_ALL;
    assert_int_equal(daybook_consumer_update(at->store, stream, &config, NULL), DAYBOOK_EINVALID);
    config = named("a.b");
    assert_int_equal(daybook_consumer_add(at->store, stream, &config, NULL, NULL), DAYBOOK_EINVALID);
    config = named("d");
    assert_int_equal(daybook_consumer_add(at->store, daybook_text("NONE"), &config, NULL, NULL),
                     DAYBOOK_ENOTFOUND);
    daybook_slice overlapping[] = {daybook_text("s.1.>"), daybook_text("s.*.x")};
    config.filters = overlapping;
    config.filter_count = 2;
    assert_int_equal(daybook_consumer_add(at->store, stream, &config, NULL, NULL), DAYBOOK_EINVALID);
    config = named("b");
    daybook_consumer_close(add(at, &config));
    reopen(at);
    int count = 0;
    assert_int_equal(daybook_consumer_list(at->store, stream, count_consumers, &count, NULL), DAYBOOK_OK);
    assert_int_equal(count, 2);
    daybook_consumer *consumer = open_again(at, "b");
    assert_int_equal(daybook_consumer_remove(at->store, stream, daybook_text("b"), NULL), DAYBOOK_OK);
    daybook_batch *batch;
    assert_int_equal(daybook_consumer_fetch(consumer, NULL, &batch, NULL), DAYBOOK_ENOTFOUND);
    assert_int_equal(daybook_consumer_ack(consumer, 1, 0, NULL), DAYBOOK_ENOTFOUND);
    daybook_consumer_close(consumer);
    // A stream takes its consumers with it; a new one of its name begins without.
    consumer = open_again(at, "c");
    assert_int_equal(daybook_stream_remove(at->store, stream, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_consumer_fetch(consumer, NULL, &batch, NULL), DAYBOOK_ENOTFOUND);
    daybook_consumer_close(consumer);
    add_stream(at, "S", "s.>");
    reopen(at);
    count = 0;
    assert_int_equal(daybook_consumer_list(at->store, daybook_bytes(NULL, 0), count_consumers, &count, NULL),
                     DAYBOOK_OK);
    assert_int_equal(count, 0);
}

static void a_reader_sees_consumers(void **state) {
    fixture *at = *state;
    for (int i = 0; i < 4; i++) (void)append(at, "s.1.x");
    daybook_consumer_config config = named("c");
    daybook_consumer *consumer = add(at, &config);
    assert_string_equal(fetched(consumer, 3), "1 2 3");
    assert_int_equal(daybook_consumer_ack(consumer, 1, DAYBOOK_ACK_CONFIRMED, NULL), DAYBOOK_OK);
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.vfs = dbk_sim_vfs(at->sim);
    options.flags = DAYBOOK_OPEN_READ_ONLY;
    fixture reader = {.sim = at->sim};
    assert_int_equal(daybook_open("/s", &options, &reader.store, NULL), DAYBOOK_OK);
    daybook_consumer_info info = info_of(&reader, "c");
    assert_int_equal(info.ack_pending_count, 2);
    assert_int_equal(info.pending_count, 1);
    assert_int_equal(daybook_consumer_ack(consumer, 2, DAYBOOK_ACK_CONFIRMED, NULL), DAYBOOK_OK);
    assert_int_equal(info_of(&reader, "c").ack_pending_count, 1);
    daybook_consumer *none;
    assert_int_equal(daybook_consumer_open(reader.store, daybook_text("S"), daybook_text("c"), &none, NULL),
                     DAYBOOK_EREADONLY);
    assert_int_equal(daybook_close(reader.store, NULL), DAYBOOK_OK);
    daybook_consumer_close(consumer);
}

// ---- Append and acknowledge -------------------------------------------------------------------------------

static daybook_status append_and_ack(fixture *at, const char *id, daybook_consumer *consumer, uint64_t seq,
                                     daybook_receipt *receipt) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("out.1.done");
    event.id = daybook_text(id);
    daybook_append_ack ack = {.size = sizeof ack, .consumer = consumer, .seq = seq};
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.acks = &ack;
    options.ack_count = 1;
    return daybook_append(at->store, &event, 1, &options, receipt, NULL);
}

static void an_append_acknowledges_in_the_same_commit(void **state) {
    fixture *at = *state;
    add_stream(at, "OUT", "out.>");
    for (int i = 0; i < 3; i++) (void)append(at, "s.1.x");
    daybook_consumer_config config = named("c");
    config.ack_wait_ns = DBK_SECOND_NS;
    daybook_consumer *consumer = add(at, &config);
    assert_string_equal(fetched(consumer, 3), "1 2 3");
    daybook_receipt receipt = {0};
    assert_int_equal(append_and_ack(at, "one", consumer, 2, &receipt), DAYBOOK_OK);
    assert_int_equal(receipt.seq, 1);
    assert_int_equal(append_and_ack(at, "two", consumer, 2, &receipt), DAYBOOK_ECONFLICT);
    assert_int_equal(append_and_ack(at, "two", consumer, 9, &receipt), DAYBOOK_ECONFLICT);
    // The same event again, another message: the event is there, the message is acknowledged.
    assert_int_equal(append_and_ack(at, "one", consumer, 3, &receipt), DAYBOOK_OK);
    assert_true((receipt.flags & DAYBOOK_RECEIPT_DUPLICATE) != 0);
    assert_int_equal(info_of(at, "c").ack_pending_count, 1);
    daybook_consumer_close(consumer);
    crash(at);
    pass(at, 2 * DBK_SECOND_NS);
    consumer = open_again(at, "c");
    assert_string_equal(fetched(consumer, 9), "1x2");
    daybook_query query;
    daybook_query_init(&query);
    query.stream = daybook_text("OUT");
    uint64_t count;
    assert_int_equal(daybook_count(at->store, &query, &count, NULL), DAYBOOK_OK);
    assert_int_equal(count, 1);
    daybook_consumer_close(consumer);
}

// The delivery was not saved when the machine failed, the acknowledgement was.
static void an_acknowledgement_outlives_its_delivery(void **state) {
    fixture *at = *state;
    add_stream(at, "OUT", "out.>");
    for (int i = 0; i < 6; i++) (void)append(at, "s.1.a");
    daybook_consumer_config config = named("c");
    daybook_consumer *consumer = add(at, &config);
    daybook_batch_release(fetch(consumer, 5));
    assert_int_equal(append_and_ack(at, "x", consumer, 2, NULL), DAYBOOK_OK);
    assert_int_equal(append_and_ack(at, "y", consumer, 5, NULL), DAYBOOK_OK);
    daybook_consumer_close(consumer);
    crash(at);
    consumer = open_again(at, "c");
    assert_int_equal(info_of(at, "c").delivered_seq, 0);
    assert_int_equal(info_of(at, "c").pending_count, 4);
    assert_string_equal(fetched(consumer, 1), "1");
    daybook_consumer_close(consumer);
    reopen(at);
    consumer = open_again(at, "c");
    assert_int_equal(info_of(at, "c").pending_count, 3);
    assert_int_equal(daybook_event_remove(at->store, daybook_text("S"), 5, 0, NULL), DAYBOOK_OK);
    assert_int_equal(info_of(at, "c").pending_count, 3);
    assert_string_equal(fetched(consumer, 9), "3 4 6");
    assert_int_equal(info_of(at, "c").pending_count, 0);
    assert_int_equal(info_of(at, "c").ack_pending_count, 4);
    daybook_consumer_close(consumer);
}

// Where the append fails the message stays pending.
static void a_refused_append_acknowledges_nothing(void **state) {
    fixture *at = *state;
    add_stream(at, "OUT", "out.>");
    (void)append(at, "s.1.x");
    daybook_consumer_config config = named("c");
    config.ack_wait_ns = DBK_SECOND_NS;
    daybook_consumer *consumer = add(at, &config);
    assert_string_equal(fetched(consumer, 3), "1");
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("out.1.done");
    daybook_condition condition;
    daybook_condition_init(&condition, DAYBOOK_EXPECT_VERSION);
    condition.expected = 7;
    daybook_append_ack ack = {.size = sizeof ack, .consumer = consumer, .seq = 1};
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.conditions = &condition;
    options.condition_count = 1;
    options.acks = &ack;
    options.ack_count = 1;
    assert_int_equal(daybook_append(at->store, &event, 1, &options, NULL, NULL), DAYBOOK_ECONFLICT);
    assert_int_equal(info_of(at, "c").ack_pending_count, 1);
    pass(at, 2 * DBK_SECOND_NS);
    assert_string_equal(fetched(consumer, 3), "1x2");
    condition.expected = 0;
    assert_int_equal(daybook_append(at->store, &event, 1, &options, NULL, NULL), DAYBOOK_OK);
    assert_int_equal(info_of(at, "c").ack_pending_count, 0);
    daybook_consumer_close(consumer);
}

// ---- Retention --------------------------------------------------------------------------------------------

static void add_retaining(fixture *at, int retention) {
    assert_int_equal(daybook_stream_remove(at->store, daybook_text("S"), NULL), DAYBOOK_OK);
    daybook_slice subject = daybook_text("s.>");
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text("S");
    config.subjects = &subject;
    config.subject_count = 1;
    config.retention = retention;
    assert_int_equal(daybook_stream_add(at->store, &config, NULL), DAYBOOK_OK);
    config.retention = DAYBOOK_RETENTION_LIMITS;
    assert_int_equal(daybook_stream_update(at->store, &config, NULL), DAYBOOK_EINVALID);
}

// The seqs the stream holds.
static const char *held(fixture *at) {
    static char text[256];
    daybook_query query;
    daybook_query_init(&query);
    query.stream = daybook_text("S");
    daybook_cursor *cursor;
    daybook_recorded_event event;
    assert_int_equal(daybook_read(at->store, &query, &cursor, NULL), DAYBOOK_OK);
    size_t used = 0;
    text[0] = '\0';
    while (daybook_cursor_next(cursor, 0, &event, NULL) == DAYBOOK_OK)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%llu", used > 0 ? " " : "",
                                 (unsigned long long)event.seq);
    daybook_cursor_close(cursor);
    return text;
}

static void a_work_queue_keeps_what_is_not_done(void **state) {
    fixture *at = *state;
    add_retaining(at, DAYBOOK_RETENTION_WORKQUEUE);
    add_stream(at, "OUT", "out.>");
    for (int i = 0; i < 8; i++) (void)append(at, i % 2 == 0 ? "s.1.a" : "s.1.b");
    daybook_slice filters[] = {daybook_text("s.*.a"), daybook_text("s.*.b"), daybook_text("s.1.>")};
    daybook_slice stream = daybook_text("S");
    daybook_consumer_config config = named("a");
    config.filters = filters;
    config.filter_count = 1;
    config.ack_wait_ns = DBK_SECOND_NS;
    config.max_deliver = 2;
    config.deliver = DAYBOOK_DELIVER_NEW;
    assert_int_equal(daybook_consumer_add(at->store, stream, &config, NULL, NULL), DAYBOOK_EINVALID);
    config.deliver = DAYBOOK_DELIVER_ALL;
    daybook_consumer *consumer = add(at, &config);
    config.name = daybook_text("b");
    config.filters = &filters[2];
    assert_int_equal(daybook_consumer_add(at->store, stream, &config, NULL, NULL), DAYBOOK_EINVALID);
    config.filters = &filters[1];
    daybook_consumer_close(add(at, &config));
    assert_string_equal(fetched(consumer, 9), "1 3 5 7");
    assert_int_equal(daybook_consumer_ack(consumer, 3, DAYBOOK_ACK_CONFIRMED, NULL), DAYBOOK_OK);
    assert_string_equal(held(at), "1 2 4 5 6 7 8");
    assert_int_equal(daybook_consumer_term(consumer, 1, daybook_bytes(NULL, 0), NULL), DAYBOOK_OK);
    pass(at, 200 * DBK_MILLISECOND_NS);
    assert_string_equal(held(at), "2 4 5 6 7 8");
    // With an append; a crash behind it, before anything is removed.
    daybook_receipt receipt;
    assert_int_equal(append_and_ack(at, "one", consumer, 5, &receipt), DAYBOOK_OK);
    daybook_consumer_close(consumer);
    crash(at);
    consumer = open_again(at, "a");
    pass(at, 200 * DBK_MILLISECOND_NS);
    assert_string_equal(held(at), "2 4 6 7 8");
    // Given up: it stays.
    pass(at, 2 * DBK_SECOND_NS);
    assert_string_equal(fetched(consumer, 9), "7x2");
    pass(at, 2 * DBK_SECOND_NS);
    assert_string_equal(fetched(consumer, 9), "");
    pass(at, 200 * DBK_MILLISECOND_NS);
    assert_string_equal(held(at), "2 4 6 7 8");
    daybook_consumer_close(consumer);
    reopen(at);
    pass(at, 200 * DBK_MILLISECOND_NS);
    assert_string_equal(held(at), "2 4 6 7 8");
    assert_int_equal(info_of(at, "b").pending_count, 4);
}

static void interest_keeps_what_somebody_wants(void **state) {
    fixture *at = *state;
    add_retaining(at, DAYBOOK_RETENTION_INTEREST);
    (void)append(at, "s.1.a"); // nobody is there
    pass(at, 200 * DBK_MILLISECOND_NS);
    assert_string_equal(held(at), "");
    daybook_slice filter = daybook_text("s.*.a");
    daybook_consumer_config config = named("all");
    daybook_consumer *all = add(at, &config);
    config = named("some");
    config.filters = &filter;
    config.filter_count = 1;
    daybook_consumer *some = add(at, &config);
    for (int i = 0; i < 4; i++) (void)append(at, i % 2 == 0 ? "s.1.a" : "s.1.b");
    assert_string_equal(held(at), "2 3 4 5");
    assert_string_equal(fetched(all, 9), "2 3 4 5");
    for (uint64_t seq = 2; seq <= 4; seq++)
        assert_int_equal(daybook_consumer_ack(all, seq, 0, NULL), DAYBOOK_OK);
    pass(at, 200 * DBK_MILLISECOND_NS);
    assert_string_equal(held(at), "2 4 5");
    assert_string_equal(fetched(some, 1), "2");
    assert_int_equal(daybook_consumer_ack(some, 2, DAYBOOK_ACK_CONFIRMED, NULL), DAYBOOK_OK);
    assert_string_equal(held(at), "4 5");
    daybook_consumer_close(some);
    assert_int_equal(daybook_consumer_remove(at->store, daybook_text("S"), daybook_text("some"), NULL),
                     DAYBOOK_OK);
    pass(at, 200 * DBK_MILLISECOND_NS);
    assert_string_equal(held(at), "5");
    daybook_consumer_close(all);
    reopen(at);
    all = open_again(at, "all");
    assert_int_equal(daybook_consumer_ack(all, 5, DAYBOOK_ACK_CONFIRMED, NULL), DAYBOOK_OK);
    assert_string_equal(held(at), "");
    daybook_consumer_close(all);
}

static void delete_seq(fixture *at, uint64_t seq) {
    assert_int_equal(daybook_event_remove(at->store, daybook_text("S"), seq, 0, NULL), DAYBOOK_OK);
}

// Wants s.1.>, delivers once and gave up the first of `count` messages; the others are acknowledged.
static daybook_consumer *add_that_gave_up(fixture *at, int count) {
    daybook_slice filter = daybook_text("s.1.>");
    daybook_consumer_config config = named("once");
    config.filters = &filter;
    config.filter_count = 1;
    config.max_deliver = 1;
    daybook_consumer *once = add(at, &config);
    uint64_t first = append(at, "s.1.a");
    for (int i = 1; i < count; i++) (void)append(at, "s.1.a");
    daybook_batch_release(fetch(once, (size_t)count));
    for (int i = 1; i < count; i++)
        assert_int_equal(daybook_consumer_ack(once, first + (uint64_t)i, DAYBOOK_ACK_CONFIRMED, NULL),
                         DAYBOOK_OK);
    assert_int_equal(daybook_consumer_nak(once, first, 0, NULL), DAYBOOK_OK);
    assert_string_equal(fetched(once, 1), "");
    return once;
}

static void add_other_stream(fixture *at) {
    daybook_slice subject = daybook_text("t.>");
    daybook_stream_config stream;
    daybook_stream_config_init(&stream);
    stream.name = daybook_text("T");
    stream.subjects = &subject;
    stream.subject_count = 1;
    stream.retention = DAYBOOK_RETENTION_INTEREST;
    assert_int_equal(daybook_stream_add(at->store, &stream, NULL), DAYBOOK_OK);
    daybook_consumer_config config = named("other");
    assert_int_equal(daybook_consumer_add(at->store, stream.name, &config, NULL, NULL), DAYBOOK_OK);
}

// What is given up stays in a stream by interest, whatever becomes of other consumers and other messages.
static void interest_keeps_what_was_given_up(void **state) {
    fixture *at = *state;
    add_retaining(at, DAYBOOK_RETENTION_INTEREST);
    add_other_stream(at);
    daybook_consumer *once = add_that_gave_up(at, 3);
    assert_string_equal(held(at), "1");
    // A consumer of another stream goes.
    assert_int_equal(daybook_consumer_remove(at->store, daybook_text("T"), daybook_text("other"), NULL),
                     DAYBOOK_OK);
    pass(at, 200 * DBK_MILLISECOND_NS);
    assert_string_equal(held(at), "1");
    // One of the same stream goes, and what only it wanted.
    daybook_consumer_config config = named("brief");
    daybook_consumer_close(add(at, &config));
    assert_int_equal(append(at, "s.2.a"), 4);
    pass(at, 200 * DBK_MILLISECOND_NS);
    assert_string_equal(held(at), "1 4");
    assert_int_equal(daybook_consumer_remove(at->store, daybook_text("S"), config.name, NULL), DAYBOOK_OK);
    pass(at, 200 * DBK_MILLISECOND_NS);
    assert_string_equal(held(at), "1");
    // Something comes that nobody wants.
    (void)append(at, "s.2.a");
    pass(at, 200 * DBK_MILLISECOND_NS);
    assert_string_equal(held(at), "1");
    // Another consumer settles it, which would have been the last.
    config = named("late");
    daybook_consumer *late = add(at, &config);
    assert_string_equal(fetched(late, 9), "1");
    assert_int_equal(daybook_consumer_ack(late, 1, DAYBOOK_ACK_CONFIRMED, NULL), DAYBOOK_OK);
    assert_string_equal(held(at), "1");
    daybook_consumer_close(late);
    daybook_consumer_close(once);
    // The store is opened again, and the machine loses power.
    reopen(at);
    pass(at, 200 * DBK_MILLISECOND_NS);
    assert_string_equal(held(at), "1");
    once = open_again(at, "once");
    pass(at, 200 * DBK_MILLISECOND_NS);
    assert_string_equal(held(at), "1");
    daybook_consumer_close(once);
    crash(at);
    once = open_again(at, "once");
    pass(at, 200 * DBK_MILLISECOND_NS);
    assert_string_equal(held(at), "1");
    assert_int_equal(info_of(at, "once").given_up_count, 1);
    assert_int_equal(info_of(at, "once").ack_pending_count, 0);
    daybook_consumer_close(once);
    // It goes with its consumer.
    assert_int_equal(daybook_consumer_remove(at->store, daybook_text("S"), daybook_text("once"), NULL),
                     DAYBOOK_OK);
    pass(at, 200 * DBK_MILLISECOND_NS);
    assert_string_equal(held(at), "");
}

// A whole state says it, too, and forgets what was answered after all, or deleted.
static void what_was_given_up_is_let_go_when_it_is_answered_or_deleted(void **state) {
    fixture *at = *state;
    add_retaining(at, DAYBOOK_RETENTION_INTEREST);
    daybook_consumer *once = add_that_gave_up(at, 1);
    for (int i = 0; i < 3; i++) (void)append(at, "s.1.b");
    assert_string_equal(fetched(once, 3), "2 3 4");
    for (uint64_t seq = 2; seq <= 4; seq++)
        assert_int_equal(daybook_consumer_nak(once, seq, 0, NULL), DAYBOOK_OK);
    assert_string_equal(fetched(once, 3), "");
    pthread_mutex_lock(&once->consumer->lock);
    once->consumer->wants_checkpoint = true;
    pthread_mutex_unlock(&once->consumer->lock);
    pass(at, 200 * DBK_MILLISECOND_NS);
    daybook_consumer_close(once);
    reopen(at);
    once = open_again(at, "once");
    pass(at, 200 * DBK_MILLISECOND_NS);
    assert_string_equal(held(at), "1 2 3 4");
    assert_int_equal(daybook_consumer_nak(once, 1, 0, NULL), DAYBOOK_ENOTFOUND);
    assert_int_equal(daybook_consumer_ack(once, 1, DAYBOOK_ACK_CONFIRMED, NULL), DAYBOOK_OK);
    assert_string_equal(held(at), "2 3 4");
    assert_int_equal(daybook_consumer_ack(once, 1, 0, NULL), DAYBOOK_ENOTFOUND);
    told found = {0};
    assert_int_equal(daybook_advisory_watch(at->store, note_advisory, &found, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_consumer_term(once, 3, daybook_bytes(NULL, 0), NULL), DAYBOOK_OK);
    pass(at, 200 * DBK_MILLISECOND_NS);
    assert_string_equal(held(at), "2 4");
    assert_int_equal(found.count, 1);
    assert_string_equal(found.json, "{\"type\":\"io.nats.jetstream.advisory.v1.terminated\",\"stream\":\"S\","
                                    "\"consumer\":\"once\",\"stream_seq\":3,\"deliveries\":1}");
    assert_int_equal(daybook_advisory_watch(at->store, NULL, &found, NULL), DAYBOOK_OK);
    delete_seq(at, 2);
    assert_int_equal(daybook_consumer_ack(once, 2, 0, NULL), DAYBOOK_ENOTFOUND);
    assert_int_equal(once->consumer->delivery.given_up.count, 1);
    daybook_consumer_close(once);
    crash(at);
    once = open_again(at, "once");
    pass(at, 200 * DBK_MILLISECOND_NS);
    assert_string_equal(held(at), "4");
    daybook_consumer_close(once);
}

// A consumer that begins further on wants nothing of what comes before.
static void what_comes_before_a_start_is_nobodys(void **state) {
    fixture *at = *state;
    add_retaining(at, DAYBOOK_RETENTION_INTEREST);
    daybook_consumer_config config = named("later");
    config.deliver = DAYBOOK_DELIVER_BY_START_SEQ;
    config.start_seq = 4;
    daybook_consumer *later = add(at, &config);
    pass(at, 200 * DBK_MILLISECOND_NS);
    for (int i = 0; i < 5; i++) (void)append(at, "s.1.a");
    assert_string_equal(held(at), "1 2 3 4 5");
    pass(at, 200 * DBK_MILLISECOND_NS);
    assert_string_equal(held(at), "4 5");
    assert_string_equal(fetched(later, 2), "4 5");
    daybook_consumer_close(later);
}

// Of what comes and nobody wants that alone is looked at and removed; what was there before is not.
static void what_nobody_wants_goes_alone(void **state) {
    fixture *at = *state;
    add_retaining(at, DAYBOOK_RETENTION_INTEREST);
    daybook_slice filter = daybook_text("s.1.>");
    daybook_consumer_config config = named("some");
    config.filters = &filter;
    config.filter_count = 1;
    daybook_consumer *some = add(at, &config);
    pass(at, 200 * DBK_MILLISECOND_NS);
    dbk_stream *stream = some->consumer->stream;
    assert_true(atomic_load(&stream->is_swept));
    (void)append(at, "s.1.a");
    (void)append(at, "s.2.a");
    (void)append(at, "s.1.a");
    (void)append(at, "s.2.a");
    assert_true(atomic_load(&stream->is_swept));
    assert_int_equal(stream->unwanted.count, 2);
    assert_string_equal(held(at), "1 2 3 4");
    pass(at, 200 * DBK_MILLISECOND_NS);
    assert_int_equal(stream->unwanted.count, 0);
    assert_string_equal(held(at), "1 3");
    // Not removed when the machine stopped: by the next opening.
    (void)append(at, "s.2.a");
    assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
    daybook_consumer_close(some);
    crash(at);
    some = open_again(at, "some");
    pass(at, 200 * DBK_MILLISECOND_NS);
    assert_string_equal(held(at), "1 3");
    daybook_consumer_close(some);
}

// num_pending equals a count of everything after each of many random steps.
static void pending_is_exact(void **state) {
    fixture *at = *state;
    uint64_t random = 1;
    static const char *const subjects[] = {"s.1.a", "s.1.b", "s.2.a", "s.2.c"};
    daybook_slice filters[] = {daybook_text("s.*.a"), daybook_text("s.2.c")};
    daybook_consumer *consumers[2];
    static const char *const names[] = {"all", "some"};
    uint64_t looked[2] = {0, 0};
    for (int i = 0; i < 2; i++) {
        daybook_consumer_config config = named(names[i]);
        config.max_ack_pending = 0;
        if (i == 1) config.filters = filters;
        if (i == 1) config.filter_count = 2;
        consumers[i] = add(at, &config);
    }
    uint64_t last = 0;
    for (int step = 0; step < 1500; step++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint64_t dice = random >> 33;
        int which = (int)(dice >> 8) % 2;
        if (dice % 16 < 8) {
            last = append(at, subjects[(dice >> 4) % 4]);
        } else if (dice % 16 < 12) {
            daybook_batch *batch = fetch(consumers[which], 1 + (dice >> 5) % 4);
            if (batch != NULL) looked[which] = batch->messages[batch->count - 1].event.seq;
            daybook_batch_release(batch);
        } else if (dice % 16 < 14 && last > 0) {
            (void)daybook_event_remove(at->store, daybook_text("S"), 1 + (dice >> 4) % last, 0, NULL);
        } else if (dice % 64 == 15) {
            assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
        } else if (dice % 256 == 14) {
            daybook_purge_options purge;
            daybook_purge_options_init(&purge);
            purge.seq_to = last > 20 ? last - 20 : 1;
            assert_int_equal(daybook_stream_purge(at->store, daybook_text("S"), &purge, NULL, NULL),
                             DAYBOOK_OK);
        }
        for (int i = 0; i < 2; i++) {
            daybook_query query;
            daybook_query_init(&query);
            query.stream = daybook_text("S");
            query.seq_from = looked[i] + 1;
            query.filters = filters;
            query.filter_count = i == 1 ? 2 : 0;
            uint64_t count;
            assert_int_equal(daybook_count(at->store, &query, &count, NULL), DAYBOOK_OK);
            assert_int_equal(info_of(at, names[i]).pending_count, count);
        }
    }
    for (int i = 0; i < 2; i++) daybook_consumer_close(consumers[i]);
}

// ---- Resetting --------------------------------------------------------------------------------------------

static uint64_t reset_telling(fixture *at, const char *name, uint64_t seq, uint64_t *number_out) {
    uint64_t begins_at = 0;
    daybook_error error;
    daybook_error_init(&error);
    if (daybook_consumer_reset(at->store, daybook_text("S"), daybook_text(name), seq, &begins_at, number_out,
                               &error) != DAYBOOK_OK)
        fail_msg("%s", error.message);
    return begins_at;
}

static uint64_t reset_to(fixture *at, const char *name, uint64_t seq) {
    return reset_telling(at, name, seq, NULL);
}

static void a_reset_takes_it_back_and_forward(void **state) {
    fixture *at = *state;
    for (int i = 0; i < 6; i++) (void)append(at, "s.1.x");
    daybook_consumer_config config = named("c");
    config.max_deliver = 2;
    daybook_consumer *consumer = add(at, &config);
    assert_string_equal(fetched(consumer, 4), "1 2 3 4");
    assert_int_equal(daybook_consumer_ack(consumer, 1, 0, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_consumer_ack(consumer, 3, 0, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_consumer_nak(consumer, 4, 0, NULL), DAYBOOK_OK);
    assert_int_equal(reset_to(at, "c", 0), 2); // behind the floor; 3 comes again
    daybook_consumer_info info = info_of(at, "c");
    assert_int_equal(info.ack_pending_count, 0);
    assert_int_equal(info.redelivered_count, 0);
    assert_int_equal(info.floor_seq, 1);
    assert_int_equal(info.delivered_number, 4);
    assert_int_equal(info.pending_count, 5);
    assert_int_equal(daybook_consumer_ack(consumer, 2, 0, NULL), DAYBOOK_ENOTFOUND); // of before
    assert_string_equal(fetched(consumer, 2), "2 3");                                // for the first time
    assert_int_equal(daybook_consumer_ack(consumer, 2, 0, NULL), DAYBOOK_OK);
    assert_int_equal(reset_to(at, "c", 6), 6);
    assert_int_equal(info_of(at, "c").pending_count, 1);
    assert_string_equal(fetched(consumer, 9), "6");
    assert_int_equal(reset_to(at, "c", 1), 1);
    daybook_consumer_close(consumer);
    crash(at);
    consumer = open_again(at, "c");
    assert_int_equal(info_of(at, "c").pending_count, 6);
    assert_string_equal(fetched(consumer, 9), "1 2 3 4 5 6");
    assert_int_equal(info_of(at, "c").delivered_number, 4 + 2 + 1 + 6); // numbers go on
    assert_int_equal(reset_to(at, "c", 7), 7);                          // what is to come
    assert_string_equal(fetched(consumer, 9), "");
    (void)append(at, "s.1.x");
    assert_string_equal(fetched(consumer, 9), "7");
    daybook_consumer_close(consumer);
}

static daybook_status try_reset(fixture *at, const char *name, uint64_t seq) {
    return daybook_consumer_reset(at->store, daybook_text("S"), daybook_text(name), seq, NULL, NULL, NULL);
}

static void a_reset_goes_nowhere_before_the_beginning(void **state) {
    fixture *at = *state;
    for (int i = 0; i < 5; i++) (void)append(at, "s.1.x");
    daybook_consumer_config config = named("seq");
    config.deliver = DAYBOOK_DELIVER_BY_START_SEQ;
    config.start_seq = 3;
    daybook_consumer_close(add(at, &config));
    assert_int_equal(try_reset(at, "seq", 2), DAYBOOK_EINVALID);
    assert_int_equal(try_reset(at, "seq", 7), DAYBOOK_ELIMIT);
    assert_int_equal(try_reset(at, "seq", UINT64_MAX), DAYBOOK_ELIMIT);
    assert_int_equal(reset_to(at, "seq", 6), 6);
    assert_int_equal(reset_to(at, "seq", 4), 4);
    assert_int_equal(reset_to(at, "seq", 3), 3);
    assert_int_equal(reset_to(at, "seq", 0), 3);
    config = named("last");
    config.deliver = DAYBOOK_DELIVER_LAST;
    daybook_consumer *consumer = add(at, &config);
    assert_int_equal(try_reset(at, "last", 5), DAYBOOK_EPERMISSION);
    assert_string_equal(fetched(consumer, 9), "5");
    assert_int_equal(reset_to(at, "last", 0), 5);
    assert_string_equal(fetched(consumer, 9), "5");
    daybook_consumer_close(consumer);
    assert_int_equal(try_reset(at, "nobody", 0), DAYBOOK_ENOTFOUND);
}

static void a_reset_forgets_who_was_held(void **state) {
    fixture *at = *state;
    for (int i = 0; i < 3; i++) (void)append(at, "s.1.x");
    daybook_consumer_config config = named("o");
    config.flags |= DAYBOOK_CONSUMER_IN_ORDER;
    daybook_consumer *consumer = add(at, &config);
    assert_string_equal(fetched(consumer, 9), "1");
    assert_int_equal(reset_to(at, "o", 2), 2);
    assert_string_equal(fetched(consumer, 9), "2");
    assert_int_equal(daybook_consumer_ack(consumer, 2, 0, NULL), DAYBOOK_OK);
    assert_string_equal(fetched(consumer, 9), "3");
    daybook_consumer_close(consumer);
}

// Workers that acknowledge, some with an append, while it is taken back again and again.
typedef struct worker {
    daybook_store *store;
    atomic_bool *stop;
    bool appends;
    uint64_t *given; // by number of delivery: what all were given, 0: nothing
} worker;

enum { GIVEN_MAX = 100000 };

static bool note_given(const worker *of, const daybook_message *message) {
    if (message->delivery >= GIVEN_MAX || of->given[message->delivery] != 0) return false;
    of->given[message->delivery] = message->event.seq; // nobody else has this number
    return true;
}

static void *work_beside(void *context) {
    const worker *of = context;
    daybook_consumer *consumer;
    if (daybook_consumer_open(of->store, daybook_text("S"), daybook_text("c"), &consumer, NULL) != DAYBOOK_OK)
        return context;
    while (!atomic_load(of->stop)) {
        daybook_fetch_options options;
        daybook_fetch_options_init(&options);
        options.count = 7;
        options.timeout_ms = 5;
        daybook_batch *batch;
        daybook_status status = daybook_consumer_fetch(consumer, &options, &batch, NULL);
        bool is_new = true;
        for (size_t i = 0; status == DAYBOOK_OK && i < batch->count; i++) {
            const daybook_append_ack ack = {sizeof ack, consumer, batch->messages[i].event.seq};
            is_new = is_new && note_given(of, &batch->messages[i]);
            daybook_append_options with;
            daybook_append_options_init(&with);
            with.acks = &ack;
            with.ack_count = 1;
            daybook_event event;
            daybook_event_init(&event);
            event.subject = daybook_text("o.1");
            // ENOTFOUND and ECONFLICT: it was reset meanwhile.
            if (of->appends)
                (void)daybook_append(of->store, &event, 1, &with, NULL, NULL);
            else
                (void)daybook_consumer_ack(consumer, ack.seq, i % 2 ? DAYBOOK_ACK_CONFIRMED : 0, NULL);
        }
        if (status == DAYBOOK_OK) daybook_batch_release(batch);
        if (!is_new) return context;
    }
    daybook_consumer_close(consumer);
    return NULL;
}

// What the workers were given between two resets: all from where the first began, each once and in order, in the order of
// the numbers. `last`: the number of the last delivery before the next reset.
static void check_given(const uint64_t *given, uint64_t seq, uint64_t number, uint64_t last) {
    for (uint64_t at = number + 1; at <= last; at++, seq++) {
        if (given[at] != seq)
            fail_msg("delivery %llu is of seq %llu, not %llu", (unsigned long long)at,
                     (unsigned long long)given[at], (unsigned long long)seq);
    }
}

static void resets_beside_workers_lose_nothing(void **state) {
    (void)state;
    fixture at = {0};
    assert_int_equal(daybook_open(":memory:", NULL, &at.store, NULL), DAYBOOK_OK);
    add_stream(&at, "S", "s.>");
    add_stream(&at, "O", "o.>");
    daybook_consumer_config config = named("c");
    daybook_consumer *consumer = add(&at, &config);
    for (int i = 0; i < 50; i++) (void)append(&at, "s.1.x");
    atomic_bool stop = false;
    uint64_t *given = calloc(GIVEN_MAX, sizeof *given);
    assert_non_null(given);
    worker workers[3];
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        workers[i] = (worker){at.store, &stop, i == 0, given};
        assert_int_equal(pthread_create(&threads[i], NULL, work_beside, &workers[i]), 0);
    }
    enum { RESETS = 60 };
    uint64_t begins[RESETS], numbers[RESETS + 1];
    for (uint64_t i = 0; i < RESETS; i++) {
        begins[i] = reset_telling(&at, "c", i % 7 * 8, &numbers[i]);
        const struct timespec pause = {.tv_nsec = 1000000};
        (void)nanosleep(&pause, NULL);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 3; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    assert_int_equal(reset_telling(&at, "c", 40, &numbers[RESETS]), 40);
    check_given(given, 1, 0, numbers[0]);
    for (uint64_t i = 0; i < RESETS; i++) check_given(given, begins[i], numbers[i], numbers[i + 1]);
    assert_true(numbers[RESETS] > RESETS); // they were given something in between
    free(given);
    assert_string_equal(fetched(consumer, 99), "40 41 42 43 44 45 46 47 48 49 50");
    assert_int_equal(info_of(&at, "c").ack_pending_count, 11);
    daybook_consumer_close(consumer);
    assert_int_equal(daybook_close(at.store, NULL), DAYBOOK_OK);
}

// Power lost at each change of the disk: it begins where it was, or where it was reset to, and nowhere else.
static bool reset_until(uint64_t step, dbk_sim_crash_kind kind) {
    static fixture world;
    fixture *at = &world;
    memset(at, 0, sizeof *at);
    assert_int_equal(dbk_sim_new(step * 3 + (uint64_t)kind, &at->sim), DAYBOOK_OK);
    open_store(at);
    add_stream(at, "S", "s.>");
    for (int i = 0; i < 6; i++) (void)append(at, "s.1.x");
    daybook_consumer_config config = named("c");
    daybook_consumer *consumer = add(at, &config);
    assert_string_equal(fetched(consumer, 4), "1 2 3 4");
    for (uint64_t seq = 1; seq <= 4; seq++)
        assert_int_equal(daybook_consumer_ack(consumer, seq, DAYBOOK_ACK_CONFIRMED, NULL), DAYBOOK_OK);
    uint64_t before = dbk_sim_steps(at->sim);
    dbk_sim_stop_after(at->sim, step);
    bool is_done = try_reset(at, "c", 2) == DAYBOOK_OK;
    bool reached = dbk_sim_steps(at->sim) - before >= step;
    dbk_sim_crash(at->sim, kind);
    daybook_consumer_close(consumer);
    (void)daybook_close(at->store, NULL);
    open_store(at);
    consumer = open_again(at, "c");
    const char *next = fetched(consumer, 9);
    if (strcmp(next, "2 3 4 5 6") != 0 && (is_done || strcmp(next, "5 6") != 0))
        fail_msg("step %d: %s", (int)step, next);
    daybook_consumer_close(consumer);
    assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
    dbk_sim_free(at->sim);
    return reached;
}

static void a_reset_is_done_or_not(void **state) {
    (void)state;
    static const dbk_sim_crash_kind kinds[] = {DBK_SIM_POWER_LOSS, DBK_SIM_POWER_LOSS_DROP_ALL};
    for (size_t i = 0; i < 2; i++) {
        uint64_t step = 1;
        while (reset_until(step, kinds[i])) step++;
        assert_true(step > 1);
    }
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(messages_come_once_and_are_acknowledged),
        CASE(a_reset_takes_it_back_and_forward),
        CASE(a_reset_goes_nowhere_before_the_beginning),
        CASE(a_reset_forgets_who_was_held),
        cmocka_unit_test(a_reset_is_done_or_not),
        cmocka_unit_test(resets_beside_workers_lose_nothing),
        CASE(unanswered_messages_come_again),
        CASE(advisories_are_told_instead_of_appended),
        CASE(each_policy_begins_where_it_says),
        CASE(filters_pass_what_matches_one_of_them),
        CASE(order_is_kept_per_aggregate),
        CASE(limits_hold),
        CASE(removed_events_are_passed_over),
        CASE(a_durable_consumer_goes_on_where_it_was),
        CASE(a_confirmed_acknowledgement_survives_a_crash),
        CASE(a_plain_acknowledgement_is_saved_soon),
        CASE(states_replace_changes),
        CASE(a_large_state_is_saved_in_parts),
        CASE(a_large_first_state_is_saved_in_parts),
        CASE(a_state_with_missing_parts_is_damaged),
        CASE(a_state_of_a_newer_version_is_not_used),
        CASE(a_dear_count_is_kept),
        CASE(what_was_purged_in_part_is_behind_it),
        CASE(who_looks_often_counts_seldom),
        CASE(an_ephemeral_consumer_ends),
        CASE(names_and_configurations),
        CASE(a_reader_sees_consumers),
        CASE(an_append_acknowledges_in_the_same_commit),
        CASE(an_acknowledgement_outlives_its_delivery),
        CASE(a_refused_append_acknowledges_nothing),
        CASE(a_work_queue_keeps_what_is_not_done),
        CASE(interest_keeps_what_somebody_wants),
        CASE(interest_keeps_what_was_given_up),
        CASE(what_was_given_up_is_let_go_when_it_is_answered_or_deleted),
        CASE(what_comes_before_a_start_is_nobodys),
        CASE(what_nobody_wants_goes_alone),
        CASE(pending_is_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
