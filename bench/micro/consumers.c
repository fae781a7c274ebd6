// SPDX-License-Identifier: Apache-2.0
// How fast consumers deliver and acknowledge, and how long counting what is pending takes. Not a test.
//
//     consumers DIRECTORY [SECONDS [EVENTS]]
//
// In a fresh store in DIRECTORY, which must not exist, with EVENTS (1,000,000) events of 10,000 aggregates
// and four kinds. A row: name, value per second, and how it compares; each row is a consumer of its own, from
// the first event on, for SECONDS (5) or until it has everything. Rows that wait for the disk stand beside
// the appends they compare with. Then `num_pending` by kind of filter: the first count, which asks the index,
// and the next, which is kept.
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "daybook/daybook.h"

enum { WORKER_COUNT = 8, AGGREGATE_COUNT = 10000, BATCH = 1000, FETCH_MANY = 256, FETCH_FEW = 16 };

static daybook_store *store;
static double seconds = 5;
static uint64_t event_count = 1000000;
static atomic_bool is_over;
static const char *const kinds[] = {"placed", "paid", "packed", "shipped"};
static const char data[] =
    "{\"sku\":\"4711-0815\",\"quantity\":3,\"price\":1999,\"currency\":\"EUR\",\"note\":"
    "\"ring twice, the bell is broken; leave it with the neighbours otherwise\"}";

static void check(daybook_status status, const daybook_error *error) {
    if (status == DAYBOOK_OK) return;
    fprintf(stderr, "%s: %s\n", daybook_status_name(status), error->message);
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void add_stream(const char *name, const char *subject) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_slice subjects[] = {daybook_text(subject)};
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text(name);
    config.subjects = subjects;
    config.subject_count = 1;
    check(daybook_stream_add(store, &config, &error), &error);
}

static void fill(void) {
    static char subjects[BATCH][48];
    static daybook_event events[BATCH];
    daybook_error error;
    daybook_error_init(&error);
    for (uint64_t done = 0; done < event_count; done += BATCH) {
        for (unsigned i = 0; i < BATCH; i++) {
            uint64_t number = done + i;
            (void)snprintf(subjects[i], sizeof subjects[i], "orders.%u.%s",
                           (unsigned)(number * 7919 % AGGREGATE_COUNT), kinds[number / AGGREGATE_COUNT % 4]);
            daybook_event_init(&events[i]);
            events[i].subject = daybook_text(subjects[i]);
            events[i].data = daybook_text(data);
        }
        check(daybook_append(store, events, BATCH, NULL, NULL, &error), &error);
    }
}

// Until nothing goes on in the background that the rows below would wait for.
static void settle_down(void) {
    daybook_error error;
    daybook_error_init(&error);
    check(daybook_flush(store, &error), &error);
    daybook_store_info info = {.size = sizeof info};
    do {
        (void)nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
        check(daybook_info(store, &info, &error), &error);
    } while (info.background != 0);
}

// ---- Rates ------------------------------------------------------------------------------------------------

typedef struct work {
    daybook_consumer *consumer;
    size_t fetch_count;
    bool acks;
    unsigned flags; // of the acknowledgement
    bool appends;   // with the acknowledgement
} work;

typedef struct worker {
    pthread_t thread;
    const work *work;
    unsigned number;
    uint64_t count;
} worker;

static void append_one(const worker *at, uint64_t number, const daybook_append_ack *ack) {
    char subject[48];
    daybook_error error;
    daybook_error_init(&error);
    (void)snprintf(subject, sizeof subject, "done.%u-%llu", at->number, (unsigned long long)number % 1000);
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    event.data = daybook_text(data);
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.acks = ack;
    options.ack_count = ack != NULL;
    check(daybook_append(store, &event, 1, &options, NULL, &error), &error);
}

static void handle(const worker *at, const daybook_message *message) {
    const work *todo = at->work;
    daybook_error error;
    daybook_error_init(&error);
    if (todo->appends) {
        daybook_append_ack ack = {sizeof ack, todo->consumer, message->event.seq};
        append_one(at, message->event.seq, &ack);
    } else if (todo->acks) {
        check(daybook_consumer_ack(todo->consumer, message->event.seq, todo->flags, &error), &error);
    }
}

static void *consume(void *context) {
    worker *at = context;
    daybook_error error;
    daybook_error_init(&error);
    daybook_fetch_options options;
    daybook_fetch_options_init(&options);
    options.count = at->work->fetch_count;
    options.timeout_ms = 0;
    while (!atomic_load_explicit(&is_over, memory_order_relaxed)) {
        daybook_batch *batch;
        daybook_status status = daybook_consumer_fetch(at->work->consumer, &options, &batch, &error);
        if (status == DAYBOOK_TIMEOUT) break;
        check(status, &error);
        bool stop = false;
        for (size_t i = 0; i < batch->count && !stop; i++) {
            handle(at, &batch->messages[i]);
            at->count++;
            stop = atomic_load_explicit(&is_over, memory_order_relaxed) && (at->work->appends);
        }
        daybook_batch_release(batch);
    }
    return NULL;
}

static void *append(void *context) {
    worker *at = context;
    while (!atomic_load_explicit(&is_over, memory_order_relaxed)) append_one(at, at->count++, NULL);
    return NULL;
}

static void *end_in_time(void *context) {
    double until = now() + seconds;
    while (now() < until && !atomic_load((atomic_bool *)context))
        (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    atomic_store(&is_over, true);
    return NULL;
}

static double run(const char *row, void *(*body)(void *), const work *todo, unsigned worker_count,
                  double compared, const char *with) {
    worker workers[WORKER_COUNT] = {0};
    atomic_bool done = false;
    pthread_t clock;
    atomic_store(&is_over, false);
    double begin = now();
    if (pthread_create(&clock, NULL, end_in_time, &done) != 0) exit(1);
    for (unsigned i = 0; i < worker_count; i++) {
        workers[i] = (worker){.work = todo, .number = i};
        if (pthread_create(&workers[i].thread, NULL, body, &workers[i]) != 0) exit(1);
    }
    uint64_t count = 0;
    for (unsigned i = 0; i < worker_count; i++) {
        (void)pthread_join(workers[i].thread, NULL);
        count += workers[i].count;
    }
    double rate = (double)count / (now() - begin);
    atomic_store(&done, true);
    (void)pthread_join(clock, NULL);
    printf("%-36s %10.0f /s", row, rate);
    if (compared > 0) printf("   %.2f of %s", rate / compared, with);
    printf("\n");
    fflush(stdout);
    return rate;
}

static double deliver(const char *row, const char *name, int policy, work todo, unsigned worker_count,
                      double compared, const char *with) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_consumer_config config;
    daybook_consumer_config_init(&config);
    config.name = daybook_text(name);
    config.ack = policy;
    config.max_ack_pending = 100000;
    check(daybook_consumer_add(store, daybook_text("ORDERS"), &config, &todo.consumer, &error), &error);
    double rate = run(row, consume, &todo, worker_count, compared, with);
    daybook_consumer_close(todo.consumer);
    check(daybook_consumer_remove(store, daybook_text("ORDERS"), daybook_text(name), &error), &error);
    return rate;
}

static double read_all(void) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_query query;
    daybook_query_init(&query);
    query.stream = daybook_text("ORDERS");
    daybook_cursor *cursor;
    check(daybook_read(store, &query, &cursor, &error), &error);
    daybook_recorded_event event;
    uint64_t count = 0;
    double begin = now();
    while (now() < begin + seconds && daybook_cursor_next(cursor, 0, &event, &error) == DAYBOOK_OK) count++;
    double rate = (double)count / (now() - begin);
    daybook_cursor_close(cursor);
    printf("%-36s %10.0f /s\n", "read, 1 thread", rate);
    return rate;
}

// ---- num_pending ------------------------------------------------------------------------------------------

static double ask(const char *name, uint64_t *count_out) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_consumer_info *info;
    double begin = now();
    check(daybook_consumer_get_info(store, daybook_text("ORDERS"), daybook_text(name), &info, &error),
          &error);
    double took = now() - begin;
    *count_out = info->pending_count;
    daybook_consumer_info_release(store, info);
    return took;
}

static void count_pending(const char *row, const char *filter, uint64_t start_seq) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_slice filters[] = {daybook_text(filter == NULL ? "" : filter)};
    daybook_consumer_config config;
    daybook_consumer_config_init(&config);
    config.name = daybook_text("counted");
    config.filters = filters;
    config.filter_count = filter != NULL;
    if (start_seq > 1) {
        config.deliver = DAYBOOK_DELIVER_BY_START_SEQ;
        config.start_seq = start_seq;
    }
    check(daybook_consumer_add(store, daybook_text("ORDERS"), &config, NULL, &error), &error);
    uint64_t count;
    double first = ask("counted", &count);
    double next = ask("counted", &count);
    printf("%-36s %10.1f us first %8.1f us next   %llu events\n", row, first * 1e6, next * 1e6,
           (unsigned long long)count);
    fflush(stdout);
    check(daybook_consumer_remove(store, daybook_text("ORDERS"), daybook_text("counted"), &error), &error);
}

static void count_all(void) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_store_info info = {.size = sizeof info};
    check(daybook_info(store, &info, &error), &error);
    printf("num_pending of %llu events in %llu segments\n", (unsigned long long)event_count,
           (unsigned long long)info.segment_count);
    count_pending("  all", NULL, 1);
    count_pending("  all, from the middle", NULL, event_count / 2);
    count_pending("  one subject", "orders.4711.paid", 1);
    count_pending("  one subject, from the middle", "orders.4711.paid", event_count / 2);
    count_pending("  one aggregate", "orders.4711.>", 1);
    count_pending("  one kind of all aggregates", "orders.*.paid", 1);
    count_pending("  ..., from the middle", "orders.*.paid", event_count / 2);
    count_pending("  everything, by a filter", "orders.>", 1);
}

int main(int count, char **arguments) {
    daybook_error error;
    daybook_error_init(&error);
    if (count < 2) return 2;
    if (count > 2) seconds = strtod(arguments[2], NULL);
    if (count > 3) event_count = strtoull(arguments[3], NULL, 10) / BATCH * BATCH;
    check(daybook_open(arguments[1], NULL, &store, &error), &error);
    add_stream("ORDERS", "orders.>");
    add_stream("DONE", "done.>");
    fill();
    count_all();
    settle_down();
    double plain = read_all();
    const work take = {.fetch_count = FETCH_MANY}, settle = {.fetch_count = FETCH_MANY, .acks = true},
               confirm = {.fetch_count = FETCH_FEW, .acks = true, .flags = DAYBOOK_ACK_CONFIRMED},
               pass_on = {.fetch_count = FETCH_FEW, .appends = true};
    (void)deliver("deliver, no acks, 1 worker", "a", DAYBOOK_ACK_NONE, take, 1, plain, "the read");
    (void)deliver("deliver, no acks, 8 workers", "b", DAYBOOK_ACK_NONE, take, WORKER_COUNT, plain,
                  "the read");
    (void)deliver("deliver and ack, 1 worker", "c", DAYBOOK_ACK_EXPLICIT, settle, 1, plain, "the read");
    (void)deliver("deliver and ack, 8 workers", "d", DAYBOOK_ACK_EXPLICIT, settle, WORKER_COUNT, plain,
                  "the read");
    double one = run("append, 1 thread", append, NULL, 1, 0, NULL);
    double many = run("append, 8 threads", append, NULL, WORKER_COUNT, 0, NULL);
    (void)deliver("confirmed ack, 1 worker", "e", DAYBOOK_ACK_EXPLICIT, confirm, 1, one, "the appends");
    (void)deliver("confirmed ack, 8 workers", "f", DAYBOOK_ACK_EXPLICIT, confirm, WORKER_COUNT, many,
                  "the appends");
    (void)deliver("append and ack, 1 worker", "g", DAYBOOK_ACK_EXPLICIT, pass_on, 1, one, "the appends");
    (void)deliver("append and ack, 8 workers", "h", DAYBOOK_ACK_EXPLICIT, pass_on, WORKER_COUNT, many,
                  "the appends");
    check(daybook_close(store, &error), &error);
    return 0;
}
