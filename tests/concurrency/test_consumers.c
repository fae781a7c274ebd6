// SPDX-License-Identifier: Apache-2.0
// Consumers with many workers beside writers: each message handled, none by two at once of one aggregate, all
// acknowledged; and acknowledgements that commit with appends, several in one, while states are saved.
//
// DAYBOOK_SEED
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daybook/daybook.h"
#include "lib/real_store.h"

enum { AGGREGATES = 16, EVENTS = 4000, WORKERS = 6, PAIRS = 1500, RETRY_NS = 1000000 };

typedef struct fixture {
    daybook_store *store;
    daybook_consumer *consumer;
    atomic_uint busy[AGGREGATES];
    atomic_uint_fast64_t last[AGGREGATES]; // seq handled last
    atomic_uint handled[EVENTS + 1];
    atomic_uint done;
    atomic_uint refusals;
    atomic_bool all_done;
} fixture;

static void check(daybook_status status, const daybook_error *error, const char *what) {
    if (status != DAYBOOK_OK) fail("%s: %s %s", what, daybook_status_name(status), error->message);
}

static void add_stream(daybook_store *store, const char *name, const char *subjects_text) {
    daybook_slice subject = daybook_text(subjects_text);
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text(name);
    config.subjects = &subject;
    config.subject_count = 1;
    daybook_error error;
    daybook_error_init(&error);
    check(daybook_stream_add(store, &config, &error), &error, "add stream");
}

static daybook_consumer *add_consumer(daybook_store *store, const char *name, unsigned flags) {
    daybook_consumer_config config;
    daybook_consumer_config_init(&config);
    config.name = daybook_text(name);
    config.flags |= flags;
    config.max_ack_pending = 200;
    daybook_consumer *consumer;
    daybook_error error;
    daybook_error_init(&error);
    check(daybook_consumer_add(store, daybook_text("IN"), &config, &consumer, &error), &error,
          "add consumer");
    return consumer;
}

static void *write_events(void *context) {
    fixture *at = context;
    for (unsigned i = 0; i < EVENTS / 10; i++) {
        daybook_event events[10];
        char subjects[10][32];
        for (unsigned j = 0; j < 10; j++) {
            daybook_event_init(&events[j]);
            (void)snprintf(subjects[j], sizeof subjects[j], "in.%u.x", (i * 7 + j) % AGGREGATES);
            events[j].subject = daybook_text(subjects[j]);
        }
        daybook_error error;
        daybook_error_init(&error);
        check(daybook_append(at->store, events, 10, NULL, NULL, &error), &error, "append");
    }
    return NULL;
}

static unsigned aggregate_of(const daybook_message *message) {
    return (unsigned)atoi((const char *)message->event.event.subject.data + 3);
}

// Some are refused once, and come again before the next of their aggregate.
static int handle(void *context, const daybook_message *message) {
    fixture *at = context;
    unsigned aggregate = aggregate_of(message);
    uint64_t seq = message->event.seq;
    if (atomic_fetch_add(&at->busy[aggregate], 1) != 0) fail("two of aggregate %u at once", aggregate);
    uint64_t last = atomic_exchange(&at->last[aggregate], seq);
    if (seq < last || (seq == last && message->delivery_count == 1))
        fail("seq %llu of aggregate %u behind %llu", (unsigned long long)seq, aggregate,
             (unsigned long long)last);
    bool refuses = seq % 11 == 0 && message->delivery_count == 1;
    if (!refuses) atomic_fetch_add(&at->handled[seq], 1);
    if (!refuses && atomic_fetch_add(&at->done, 1) + 1 == EVENTS) daybook_consumer_interrupt(at->consumer);
    atomic_fetch_sub(&at->busy[aggregate], 1);
    if (refuses) return DAYBOOK_VERDICT_NAK;
    return seq % 5 == 0 ? DAYBOOK_VERDICT_ACK_CONFIRMED : DAYBOOK_VERDICT_ACK;
}

static void expect_all_settled(fixture *at, const char *name) {
    daybook_consumer_info *info;
    daybook_error error;
    daybook_error_init(&error);
    check(daybook_consumer_get_info(at->store, daybook_text("IN"), daybook_text(name), &info, &error), &error,
          "info");
    if (info->ack_pending_count != 0 || info->pending_count != 0)
        fail("%s: %llu pending acknowledgement, %llu ahead", name,
             (unsigned long long)info->ack_pending_count, (unsigned long long)info->pending_count);
    daybook_consumer_info_release(at->store, info);
}

static void consume_in_order(fixture *at) {
    at->consumer = add_consumer(at->store, "ordered", DAYBOOK_CONSUMER_IN_ORDER);
    pthread_t writer;
    if (pthread_create(&writer, NULL, write_events, at) != 0) fail("no thread");
    daybook_consume_options options;
    daybook_consume_options_init(&options);
    options.worker_count = WORKERS;
    daybook_error error;
    daybook_error_init(&error);
    check(daybook_consumer_consume(at->consumer, &options, handle, at, &error), &error, "consume");
    (void)pthread_join(writer, NULL);
    for (unsigned seq = 1; seq <= EVENTS; seq++) {
        if (atomic_load(&at->handled[seq]) != 1)
            fail("seq %u was handled %u times", seq, atomic_load(&at->handled[seq]));
    }
    expect_all_settled(at, "ordered");
    daybook_consumer_close(at->consumer);
}

// Two messages make one output, in one commit.
static void *pair_up(void *context) {
    fixture *at = context;
    while (atomic_load(&at->done) < PAIRS) {
        daybook_fetch_options options;
        daybook_fetch_options_init(&options);
        options.count = 2;
        options.timeout_ms = 20;
        options.flags = DAYBOOK_FETCH_FILL;
        daybook_batch *batch;
        daybook_error error;
        daybook_error_init(&error);
        daybook_status status = daybook_consumer_fetch(at->consumer, &options, &batch, &error);
        if (status == DAYBOOK_TIMEOUT) continue;
        check(status, &error, "fetch");
        if (batch->count < 2) {
            check(daybook_consumer_nak(at->consumer, batch->messages[0].event.seq, RETRY_NS, &error), &error,
                  "nak");
            daybook_batch_release(batch);
            continue;
        }
        daybook_append_ack acks[2];
        for (size_t i = 0; i < 2; i++)
            acks[i] = (daybook_append_ack){sizeof acks[i], at->consumer, batch->messages[i].event.seq};
        daybook_append_options with;
        daybook_append_options_init(&with);
        with.acks = acks;
        with.ack_count = 2;
        daybook_event event;
        daybook_event_init(&event);
        event.subject = daybook_text("out.1.x");
        check(daybook_append(at->store, &event, 1, &with, NULL, &error), &error, "append and acknowledge");
        // They are settled: nobody acknowledges them again.
        if (daybook_append(at->store, &event, 1, &with, NULL, NULL) == DAYBOOK_ECONFLICT)
            atomic_fetch_add(&at->refusals, 1);
        atomic_fetch_add(&at->done, 1);
        daybook_batch_release(batch);
    }
    return NULL;
}

// A confirmed acknowledgement of nothing has what happened so far saved, states among it.
static void *save_again_and_again(void *context) {
    fixture *at = context;
    bool is_last = false;
    // Once more behind all of them: how often it comes in between is the scheduler's to say.
    while (!is_last) {
        is_last = atomic_load(&at->all_done);
        if (daybook_consumer_ack(at->consumer, UINT64_MAX, DAYBOOK_ACK_CONFIRMED, NULL) != DAYBOOK_ENOTFOUND)
            fail("a message that was never delivered was acknowledged");
    }
    return NULL;
}

static void append_and_acknowledge(fixture *at) {
    at->consumer = add_consumer(at->store, "paired", 0);
    atomic_store(&at->done, 0);
    atomic_store(&at->all_done, false);
    pthread_t threads[WORKERS], saver;
    if (pthread_create(&saver, NULL, save_again_and_again, at) != 0) fail("no thread");
    for (int i = 0; i < WORKERS; i++) {
        if (pthread_create(&threads[i], NULL, pair_up, at) != 0) fail("no thread");
    }
    for (int i = 0; i < WORKERS; i++) (void)pthread_join(threads[i], NULL);
    atomic_store(&at->all_done, true);
    (void)pthread_join(saver, NULL);
    daybook_stream_info *info;
    daybook_error error;
    daybook_error_init(&error);
    check(daybook_stream_get_info(at->store, daybook_text("OUT"), &info, &error), &error, "info");
    unsigned done = atomic_load(&at->done);
    if (info->message_count != done || atomic_load(&at->refusals) != done)
        fail("%u appends gave %llu events, %u were refused a second time", done,
             (unsigned long long)info->message_count, atomic_load(&at->refusals));
    daybook_stream_info_release(at->store, info);
    check(daybook_stream_get_info(at->store, daybook_text("$CONSUMERS"), &info, &error), &error, "info");
    if (info->message_count >= done) fail("no state replaced the acknowledgements before it");
    daybook_stream_info_release(at->store, info);
    daybook_consumer_close(at->consumer);
}

int main(void) {
    real_seed = number_from("DAYBOOK_SEED", 1);
    real_begin("consumers-test");
    daybook_open_options options;
    real_options(&options);
    static fixture only;
    fixture *at = &only;
    at->store = real_open(&options);
    add_stream(at->store, "IN", "in.>");
    add_stream(at->store, "OUT", "out.>");
    consume_in_order(at);
    append_and_acknowledge(at);
    daybook_error error;
    daybook_error_init(&error);
    check(daybook_close(at->store, &error), &error, "close");
    at->store = real_open(&options);
    expect_all_settled(at, "ordered");
    check(daybook_close(at->store, &error), &error, "close");
    real_end();
    return 0;
}
