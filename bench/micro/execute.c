// SPDX-License-Identifier: Apache-2.0
// How fast commands are executed, and what a snapshot saves. Not a test.
//
//     execute DIRECTORY [SECONDS]
//
// In a fresh store in DIRECTORY, which must not exist: appends and commands by 1 and 64 threads, each for
// SECONDS (5), spread over 10,000 aggregates; then loads of one aggregate of 10,000 events with and without a
// snapshot, and of one of 10 events. A line per row: name, value per second or microseconds (p50 p99), and
// how it compares.
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "daybook/daybook.h"

enum { AGGREGATE_COUNT = 10000, THREAD_COUNT = 64, LONG_EVENT_COUNT = 10000, LOAD_COUNT = 301 };

typedef struct counter {
    uint64_t count;
    int64_t sum;
} counter;

static daybook_store *store;
static daybook_repository *counters;
static double seconds = 5;
static atomic_bool is_over;

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

static daybook_status evolve(void *state, void *context, const daybook_recorded_event *event,
                             daybook_error *error) {
    (void)context;
    (void)error;
    counter *of = state;
    of->count++;
    of->sum += (int64_t)event->event.data.size;
    return DAYBOOK_OK;
}

static daybook_status encode(const void *state, void *context, daybook_writer *writer, daybook_error *error) {
    (void)context;
    (void)error;
    daybook_writer_put(writer, state, sizeof(counter));
    return DAYBOOK_OK;
}

static daybook_status decode(void *state, void *context, daybook_slice bytes, daybook_error *error) {
    (void)context;
    (void)error;
    if (bytes.size != sizeof(counter)) return DAYBOOK_EINVALID;
    memcpy(state, bytes.data, bytes.size);
    return DAYBOOK_OK;
}

static const char data[] =
    "{\"sku\":\"4711-0815\",\"quantity\":3,\"price\":1999,\"currency\":\"EUR\",\"note\":"
    "\"ring twice, the bell is broken; leave it with the neighbours otherwise\"}";

static daybook_status add(const void *state, const void *command, daybook_decision *decision,
                          daybook_error *error) {
    (void)state;
    (void)command;
    return daybook_decision_add(decision, "added", daybook_text(data), error);
}

// Into a category of its own, so that commands meet only what commands wrote.
static void append(const char *id) {
    char subject[64];
    (void)snprintf(subject, sizeof subject, "appends.%s.added", id);
    daybook_error error;
    daybook_error_init(&error);
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    event.data = daybook_text(data);
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    check(daybook_append(store, &event, 1, &options, NULL, &error), &error);
}

static void execute(const char *id) {
    daybook_error error;
    daybook_error_init(&error);
    check(daybook_execute(counters, daybook_text(id), add, NULL, NULL, NULL, &error), &error);
}

typedef struct worker {
    pthread_t thread;
    void (*work)(const char *id);
    unsigned number;
    uint64_t count;
} worker;

static void *work_until_it_is_over(void *context) {
    worker *at = context;
    uint64_t seed = at->number + 1;
    while (!atomic_load_explicit(&is_over, memory_order_relaxed)) {
        char id[16];
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        (void)snprintf(id, sizeof id, "%u", (unsigned)(seed >> 33) % AGGREGATE_COUNT);
        at->work(id);
        at->count++;
    }
    return NULL;
}

static double rate(const char *row, void (*work)(const char *id), unsigned thread_count, double compared) {
    static worker workers[THREAD_COUNT];
    atomic_store(&is_over, false);
    double begin = now();
    for (unsigned i = 0; i < thread_count; i++) {
        workers[i] = (worker){.work = work, .number = i};
        if (pthread_create(&workers[i].thread, NULL, work_until_it_is_over, &workers[i]) != 0) exit(1);
    }
    struct timespec wait = {.tv_sec = (time_t)seconds,
                            .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    (void)nanosleep(&wait, NULL);
    atomic_store(&is_over, true);
    uint64_t count = 0;
    for (unsigned i = 0; i < thread_count; i++) {
        (void)pthread_join(workers[i].thread, NULL);
        count += workers[i].count;
    }
    double found = (double)count / (now() - begin);
    printf("%-28s %10.0f /s", row, found);
    if (compared > 0) printf("   %.2f of the appends", found / compared);
    printf("\n");
    fflush(stdout);
    return found;
}

static int compare(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static void load(const char *row, daybook_repository *of, const char *id) {
    static double times[LOAD_COUNT];
    uint64_t event_count = 0;
    for (int i = 0; i < LOAD_COUNT; i++) {
        daybook_error error;
        daybook_error_init(&error);
        daybook_aggregate *loaded = NULL;
        double begin = now();
        check(daybook_aggregate_load(of, daybook_text(id), NULL, &loaded, &error), &error);
        times[i] = (now() - begin) * 1e6;
        event_count = daybook_aggregate_event_count(loaded);
        daybook_aggregate_release(loaded);
    }
    qsort(times, LOAD_COUNT, sizeof times[0], compare);
    printf("%-28s %10.1f us p50 %8.1f us p99   %llu events replayed\n", row, times[LOAD_COUNT / 2],
           times[LOAD_COUNT * 99 / 100], (unsigned long long)event_count);
    fflush(stdout);
}

static daybook_repository *make(const daybook_snapshot_codec *codec) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_aggregate_type type;
    daybook_aggregate_type_init(&type);
    type.category = daybook_text("counters");
    type.state_size = sizeof(counter);
    type.evolve = evolve;
    type.codec = codec;
    daybook_repository_options options;
    daybook_repository_options_init(&options);
    options.auto_stream = 1;
    daybook_repository *made = NULL;
    check(daybook_repository_new(daybook_store_engine(store), &type, &options, &made, &error), &error);
    return made;
}

static void append_many(const char *id, unsigned count) {
    char subject[64];
    (void)snprintf(subject, sizeof subject, "counters.%s.added", id);
    daybook_event events[500];
    daybook_error error;
    daybook_error_init(&error);
    for (unsigned i = 0; i < 500; i++) {
        daybook_event_init(&events[i]);
        events[i].subject = daybook_text(subject);
        events[i].data = daybook_text(data);
    }
    for (unsigned done = 0; done < count; done += 500)
        check(daybook_append(store, events, count - done < 500 ? count - done : 500, NULL, NULL, &error),
              &error);
}

int main(int count, char **arguments) {
    daybook_error error;
    daybook_error_init(&error);
    if (count < 2) return 2;
    if (count > 2) seconds = strtod(arguments[2], NULL);
    check(daybook_open(arguments[1], NULL, &store, &error), &error);
    daybook_snapshot_codec codec;
    daybook_snapshot_codec_init(&codec);
    codec.schema = daybook_text("counter/1");
    codec.encode = encode;
    codec.decode = decode;
    counters = make(&codec);
    execute("0");
    double one = rate("append, 1 thread", append, 1, 0);
    (void)rate("execute, 1 thread", execute, 1, one);
    double many = rate("append, 64 threads", append, THREAD_COUNT, 0);
    (void)rate("execute, 64 threads", execute, THREAD_COUNT, many);
    daybook_repository_info info;
    daybook_repository_get_info(counters, &info);
    printf("%-28s %10.1f events a load, %llu conflicts, %llu snapshots, %llu dropped, %llu failed\n",
           "replayed", (double)info.replayed_count / (double)info.load_count,
           (unsigned long long)info.conflict_count, (unsigned long long)info.snapshot_count,
           (unsigned long long)info.snapshot_drop_count, (unsigned long long)info.snapshot_fail_count);
    daybook_repository *plain = make(NULL);
    append_many("long", LONG_EVENT_COUNT);
    append_many("short", 10);
    load("load 10,000, no snapshot", plain, "long");
    check(daybook_aggregate_snapshot(counters, daybook_text("long"), 0, &error), &error);
    load("load 10,000, snapshot", counters, "long");
    append_many("long", 49);
    load("load 10,049, snapshot", counters, "long");
    load("load 10", counters, "short");
    daybook_repository_free(plain);
    daybook_repository_free(counters);
    check(daybook_close(store, &error), &error);
    return 0;
}
