// SPDX-License-Identifier: Apache-2.0
// Exactly once inside the store: workers fetch messages and append what follows from each together with its
// acknowledgement; the process is killed at random moments, measured in what was done. The parent is the
// oracle: it knows how many inputs it appended, and after each kill opens the store and looks.
//
//   - each input has at most one output, at any moment; at the end exactly one
//   - an append that returned to the worker (told through a pipe before the kill) left its output
//   - an input with an output is not pending, one without is pending or still to come
//
// One more consumer is acknowledged plainly, and nothing appended for it: there each message is delivered at
// least once.
//
// DAYBOOK_SEED, DAYBOOK_KILLS (default 40)
#define _DEFAULT_SOURCE // usleep

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daybook/daybook.h"
#include "lib/real_store.h"
#include "model/random.h"

enum {
    INPUTS_PER_KILL = 150,
    INPUTS_MAX = 200000,
    WORKERS = 4,
    STORED_MAX = 180,
    LONGER_US_MAX = 3000,
    QUIET_MS = 1500
};

static unsigned char told[INPUTS_MAX + 1];    // the worker was told that it is stored
static unsigned char outputs[INPUTS_MAX + 1]; // found
static unsigned char seen[INPUTS_MAX + 1];    // by the plain consumer
static uint64_t input_count;

// What a worker tells: 'a' stored with its acknowledgement, 's' seen.
typedef struct report {
    char what;
    uint64_t seq;
} report;

static int pipe_end = -1;

static void check(daybook_status status, const daybook_error *error, const char *what) {
    if (status != DAYBOOK_OK) fail("%s: %s %s", what, daybook_status_name(status), error->message);
}

static daybook_store *open_store(void) {
    daybook_open_options options;
    real_options(&options);
    options.lock_wait_ms = 5000;
    return real_open(&options);
}

// ---- The child --------------------------------------------------------------------------------------------

static void tell(char what, uint64_t seq) {
    report line = {what, seq};
    if (write(pipe_end, &line, sizeof line) != (ssize_t)sizeof line) _exit(3);
}

typedef struct child {
    daybook_store *store;
    daybook_consumer *consumer;
} child;

static void *work(void *context) {
    child *of = context;
    for (;;) {
        daybook_fetch_options options;
        daybook_fetch_options_init(&options);
        options.count = 5;
        daybook_batch *batch;
        daybook_error error;
        daybook_error_init(&error);
        check(daybook_consumer_fetch(of->consumer, &options, &batch, &error), &error, "fetch");
        for (size_t i = 0; i < batch->count; i++) {
            uint64_t seq = batch->messages[i].event.seq;
            daybook_append_ack ack = {sizeof ack, of->consumer, seq};
            daybook_append_options with;
            daybook_append_options_init(&with);
            with.acks = &ack;
            with.ack_count = 1;
            char data[32];
            (void)snprintf(data, sizeof data, "%llu", (unsigned long long)seq);
            daybook_event event;
            daybook_event_init(&event);
            event.subject = daybook_text("out.1.done");
            event.data = daybook_text(data);
            daybook_status status = daybook_append(of->store, &event, 1, &with, NULL, &error);
            if (status == DAYBOOK_ECONFLICT) continue; // its time was over, and another got it
            check(status, &error, "append and acknowledge");
            tell('a', seq);
        }
        daybook_batch_release(batch);
    }
    return NULL;
}

static int look(void *context, const daybook_message *message) {
    (void)context;
    tell('s', message->event.seq);
    return DAYBOOK_VERDICT_ACK;
}

static daybook_consumer *open_consumer(daybook_store *store, const char *name) {
    daybook_consumer_config config;
    daybook_consumer_config_init(&config);
    config.name = daybook_text(name);
    config.ack_wait_ns = 20 * INT64_C(1000000);
    daybook_consumer *consumer;
    daybook_error error;
    daybook_error_init(&error);
    check(daybook_consumer_add(store, daybook_text("IN"), &config, &consumer, &error), &error,
          "add consumer");
    return consumer;
}

static void run_child(void) {
    child of = {.store = open_store()};
    of.consumer = open_consumer(of.store, "worker");
    daybook_consumer *plain = open_consumer(of.store, "plain");
    pthread_t thread;
    for (int i = 0; i < WORKERS; i++) {
        if (pthread_create(&thread, NULL, work, &of) != 0) _exit(5);
    }
    (void)daybook_consumer_consume(plain, NULL, look, NULL, NULL);
    _exit(6);
}

// ---- The parent -------------------------------------------------------------------------------------------

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

static void append_inputs(daybook_store *store) {
    daybook_event events[INPUTS_PER_KILL];
    for (int i = 0; i < INPUTS_PER_KILL; i++) {
        daybook_event_init(&events[i]);
        events[i].subject = daybook_text("in.1.asked");
    }
    daybook_error error;
    daybook_error_init(&error);
    check(daybook_append(store, events, INPUTS_PER_KILL, NULL, NULL, &error), &error, "append");
    input_count += INPUTS_PER_KILL;
}

static void count_outputs(daybook_store *store) {
    memset(outputs, 0, sizeof outputs);
    daybook_query query;
    daybook_query_init(&query);
    query.stream = daybook_text("OUT");
    daybook_cursor *cursor;
    daybook_error error;
    daybook_error_init(&error);
    check(daybook_read(store, &query, &cursor, &error), &error, "read");
    daybook_recorded_event event;
    daybook_status status;
    while ((status = daybook_cursor_next(cursor, 0, &event, &error)) == DAYBOOK_OK) {
        char text[32] = "";
        memcpy(text, event.event.data.data, event.event.data.size);
        uint64_t seq = strtoull(text, NULL, 10);
        if (seq == 0 || seq > input_count) fail("an output of input %s, which is none", text);
        if (outputs[seq]++ != 0) fail("input %llu has two outputs", (unsigned long long)seq);
    }
    if (status != DAYBOOK_END) check(status, &error, "read");
    daybook_cursor_close(cursor);
    for (uint64_t seq = 1; seq <= input_count; seq++) {
        if (told[seq] && !outputs[seq])
            fail("the output of input %llu is gone, and the worker was told of it", (unsigned long long)seq);
    }
}

// What has an output is settled, the rest is not: the numbers agree.
static void compare_numbers(daybook_store *store) {
    uint64_t without = 0;
    for (uint64_t seq = 1; seq <= input_count; seq++) without += outputs[seq] == 0;
    daybook_consumer_info *info;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status =
        daybook_consumer_get_info(store, daybook_text("IN"), daybook_text("worker"), &info, &error);
    if (status == DAYBOOK_ENOTFOUND) return; // killed before it was made
    check(status, &error, "info");
    uint64_t left = info->ack_pending_count + info->pending_count;
    if (left != without)
        fail("%llu inputs have no output, %llu are pending and %llu to come", (unsigned long long)without,
             (unsigned long long)info->ack_pending_count, (unsigned long long)info->pending_count);
    daybook_consumer_info_release(store, info);
}

static bool read_report(int from, uint64_t *stored_count) {
    report line;
    ssize_t got;
    do {
        got = read(from, &line, sizeof line);
    } while (got < 0 && errno == EINTR);
    if (got != (ssize_t)sizeof line) return false; // the last may be cut
    if (line.seq == 0 || line.seq > input_count) fail("a report of input %llu", (unsigned long long)line.seq);
    if (line.what == 'a') ++*stored_count;
    if (line.what == 'a') told[line.seq] = 1;
    if (line.what == 's') seen[line.seq] = 1;
    return true;
}

// Kill it when so much is stored and a little later, or when nothing comes for a while.
static void run_and_kill(uint64_t stored_max, uint64_t longer_us) {
    int ends[2];
    if (pipe(ends) != 0) fail("no pipe");
    pid_t pid = fork();
    if (pid < 0) fail("no process");
    if (pid == 0) {
        (void)close(ends[0]);
        pipe_end = ends[1];
        run_child();
    }
    (void)close(ends[1]);
    struct pollfd waits = {.fd = ends[0], .events = POLLIN};
    bool goes_on = true;
    uint64_t stored_count = 0;
    while (goes_on && stored_count < stored_max && poll(&waits, 1, QUIET_MS) > 0)
        goes_on = read_report(ends[0], &stored_count);
    (void)usleep((useconds_t)longer_us);
    (void)kill(pid, SIGKILL);
    while (goes_on) goes_on = read_report(ends[0], &stored_count);
    (void)close(ends[0]);
    int state;
    (void)waitpid(pid, &state, 0);
    if (!WIFSIGNALED(state)) fail("the child ended by itself: %d", state);
}

int main(void) {
    real_seed = number_from("DAYBOOK_SEED", (uint64_t)now_ns() % 1000000);
    uint64_t kills = number_from("DAYBOOK_KILLS", 40);
    if (kills * INPUTS_PER_KILL > INPUTS_MAX) fail("at most %d kills", INPUTS_MAX / INPUTS_PER_KILL);
    random_source random;
    random_init(&random, real_seed);
    real_begin("consumer-kill-test");
    daybook_store *store = open_store();
    add_stream(store, "IN", "in.>");
    add_stream(store, "OUT", "out.>");
    for (uint64_t i = 0; i < kills; i++) {
        append_inputs(store);
        if (daybook_close(store, NULL) != DAYBOOK_OK) fail("close");
        run_and_kill(random_below(&random, STORED_MAX), random_below(&random, LONGER_US_MAX));
        store = open_store();
        count_outputs(store);
        compare_numbers(store);
    }
    uint64_t done = 0, early = 0;
    for (uint64_t seq = 1; seq <= input_count; seq++) early += outputs[seq];
    // And then to the end.
    for (int rounds = 0; done < input_count && rounds < 20; rounds++) {
        if (daybook_close(store, NULL) != DAYBOOK_OK) fail("close");
        run_and_kill(UINT64_MAX, 0);
        store = open_store();
        count_outputs(store);
        done = 0;
        for (uint64_t seq = 1; seq <= input_count; seq++) done += outputs[seq] && seen[seq];
    }
    compare_numbers(store);
    if (done != input_count)
        fail("%llu of %llu inputs are done", (unsigned long long)done, (unsigned long long)input_count);
    if (daybook_close(store, NULL) != DAYBOOK_OK) fail("close");
    (void)printf("%llu kills, %llu inputs, %llu of them done between kills, each exactly once\n",
                 (unsigned long long)kills, (unsigned long long)input_count, (unsigned long long)early);
    real_end();
    return 0;
}
