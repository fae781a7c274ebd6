// SPDX-License-Identifier: Apache-2.0
// Reader processes behind a writing one. Eight processes open the store for reading and follow it while the
// writer, with the smallest journal, laps it again and again; some are stopped with SIGSTOP for a while and
// wake up laps later. Each must get every event once, in order, with the right content. One reader that is
// never stopped measures how long after its acknowledgement an event reaches it.
//
// DAYBOOK_SEED, DAYBOOK_SECONDS (of writing; default 10; more where 50 laps take longer)
#define _XOPEN_SOURCE 700
#define _DEFAULT_SOURCE // MAP_ANONYMOUS

#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daybook/daybook.h"
#include "lib/real_store.h"
#include "model/random.h"

enum { READER_COUNT = 8, EVENTS_MAX = 4000000, LATENCIES_MAX = 1 << 20, STOP_MS_MAX = 900 };
enum { DATA_SIZE_MAX = 24000, JOURNAL_BYTES = 4 << 20, LAPS_WANTED = 50 };

// In memory that all processes share.
typedef struct shared_state {
    _Atomic uint64_t written; // events acknowledged
    _Atomic uint64_t bytes;   // of events in the journal, about
    _Atomic int finished;
    _Atomic uint64_t seen[READER_COUNT];
    _Atomic int64_t acknowledged_ns[LATENCIES_MAX], seen_ns[LATENCIES_MAX];
} shared_state;

static shared_state *state;

static void sleep_ms(uint64_t milliseconds) {
    struct timespec pause = {.tv_sec = (time_t)(milliseconds / 1000),
                             .tv_nsec = (long)(milliseconds % 1000 * 1000000)};
    (void)nanosleep(&pause, NULL);
}

static daybook_store *open_store(unsigned flags) {
    daybook_open_options options;
    real_options(&options);
    options.flags = flags;
    options.memtable_bytes = 1 << 20;
    options.journal_max_bytes = JOURNAL_BYTES;
    return real_open(&options);
}

// Event `number` of the stream, from 1. Every third is large, so that the journal is lapped by few enough
// events for eight readers on two cores.
static size_t make_data(uint64_t number, char *data) {
    int size = sprintf(data, "%" PRIu64 " ", number);
    size_t filler = (size_t)(number % 3 == 0 ? number * 7919 % (DATA_SIZE_MAX - 32) : number * 31 % 700);
    memset(data + size, (int)('a' + number % 26), filler);
    return (size_t)size + filler;
}

// ---- Reader ----------------------------------------------------------------------------------------------

static void check_event(unsigned index, const daybook_recorded_event *event, uint64_t number) {
    char expected[DATA_SIZE_MAX];
    size_t size = make_data(number, expected);
    if (event->seq != number || event->event.data.size != size ||
        memcmp(event->event.data.data, expected, size) != 0)
        fail("reader %u expects event %" PRIu64 " and gets seq %" PRIu64 " position %" PRIu64 ": %.*s", index,
             number, event->seq, event->position,
             (int)(event->event.data.size < 30 ? event->event.data.size : 30),
             (const char *)event->event.data.data);
}

static void run_reader(unsigned index) {
    daybook_store *store = open_store(DAYBOOK_OPEN_READ_ONLY);
    daybook_query query;
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_FOLLOW;
    if (index % 2 == 1) query.stream = daybook_text("E");
    daybook_error error;
    daybook_error_init(&error);
    daybook_cursor *cursor;
    if (daybook_read(store, &query, &cursor, &error) != DAYBOOK_OK) fail("read: %s", error.message);
    uint64_t number = 0;
    while (!atomic_load(&state->finished) || number < atomic_load(&state->written)) {
        daybook_recorded_event event;
        daybook_status status = daybook_cursor_next(cursor, 200, &event, &error);
        if (status == DAYBOOK_TIMEOUT) continue;
        if (status != DAYBOOK_OK)
            fail("reader %u behind event %" PRIu64 ": %s %s", index, number, daybook_status_name(status),
                 error.message);
        number++;
        check_event(index, &event, number);
        if (index == 0 && number < LATENCIES_MAX) atomic_store(&state->seen_ns[number], now_ns());
        atomic_store(&state->seen[index], number);
    }
    daybook_cursor_close(cursor);
    if (daybook_close(store, &error) != DAYBOOK_OK) fail("close: %s", error.message);
    _exit(0);
}

// ---- Writer ----------------------------------------------------------------------------------------------

static void append(daybook_store *store, uint64_t first, size_t count) {
    static daybook_event events[200];
    static char data[200][DATA_SIZE_MAX];
    uint64_t bytes = 4096; // a group begins on a page of its own
    for (size_t i = 0; i < count; i++) {
        daybook_event_init(&events[i]);
        events[i].subject = daybook_text(i % 3 == 0 ? "e.1.happened" : "e.2.happened");
        events[i].data = daybook_bytes(data[i], make_data(first + i, data[i]));
        bytes += events[i].data.size + 100;
    }
    daybook_error error;
    daybook_error_init(&error);
    if (daybook_append(store, events, count, NULL, NULL, &error) != DAYBOOK_OK)
        fail("append: %s", error.message);
    int64_t now = now_ns();
    for (uint64_t number = first; number < first + count && number < LATENCIES_MAX; number++)
        atomic_store(&state->acknowledged_ns[number], now);
    atomic_store(&state->written, first + count - 1);
    atomic_fetch_add(&state->bytes, bytes);
}

static uint64_t laps(void) {
    return atomic_load(&state->bytes) / JOURNAL_BYTES;
}

// The first third lone and paced, for the latency; the rest in batches, to lap the journal.
static void run_writer(uint64_t seconds) {
    daybook_store *store = open_store(0);
    random_source random;
    random_init(&random, real_seed);
    int64_t begin = now_ns(), end = begin + (int64_t)seconds * 1000000000;
    uint64_t number = 1;
    // On a busy machine longer, for the laps; but not for ever.
    while ((now_ns() < end || (laps() < LAPS_WANTED && now_ns() < begin + 5 * (end - begin))) &&
           number + 200 < EVENTS_MAX) {
        bool paced = now_ns() < begin + (end - begin) / 3;
        size_t count = paced ? 1 : random_below(&random, 200) + 1;
        append(store, number, count);
        number += count;
        if (paced) sleep_ms(1);
    }
    atomic_store(&state->finished, 1);
    daybook_store_info info;
    memset(&info, 0, sizeof info);
    info.size = sizeof info;
    if (daybook_info(store, &info, NULL) == DAYBOOK_OK)
        printf("followers: writer made %" PRIu64 " events in %" PRIu64 " groups, %" PRIu64
               " flushes, %" PRIu64 " merges\n",
               number - 1, info.group_count, info.flush_count, info.merge_count);
    (void)fflush(stdout);
    daybook_error error;
    daybook_error_init(&error);
    if (daybook_close(store, &error) != DAYBOOK_OK) fail("close: %s", error.message);
    _exit(0);
}

// ---- Parent ----------------------------------------------------------------------------------------------

static int compare_times(const void *a, const void *b) {
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return left < right ? -1 : left > right;
}

static void report_latency(uint64_t paced) {
    int64_t *waits = malloc((paced + 1) * sizeof *waits);
    size_t count = 0;
    for (uint64_t number = 1; waits != NULL && number < paced; number++) {
        int64_t acknowledged = atomic_load(&state->acknowledged_ns[number]),
                seen = atomic_load(&state->seen_ns[number]);
        if (acknowledged == 0 || seen == 0) continue;
        waits[count++] = seen > acknowledged ? seen - acknowledged : 0;
    }
    if (count > 100) {
        qsort(waits, count, sizeof *waits, compare_times);
        printf("followers: from acknowledgement to reader, %zu events: p50 %.3f ms, p99 %.3f ms, p99.9 %.3f "
               "ms\n",
               count, (double)waits[count / 2] / 1e6, (double)waits[count * 99 / 100] / 1e6,
               (double)waits[count * 999 / 1000] / 1e6);
    }
    free(waits);
}

static void add_stream(void) {
    daybook_store *store = open_store(0);
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    daybook_slice subjects = daybook_text("e.>");
    config.name = daybook_text("E");
    config.subjects = &subjects;
    config.subject_count = 1;
    if (daybook_stream_add(store, &config, NULL) != DAYBOOK_OK) fail("stream");
    if (daybook_close(store, NULL) != DAYBOOK_OK) fail("close");
}

int main(void) {
    real_seed = number_from("DAYBOOK_SEED", (uint64_t)time(NULL));
    uint64_t seconds = number_from("DAYBOOK_SECONDS", 10);
    printf("seed %" PRIu64 "\n", real_seed);
    (void)fflush(stdout);
    real_begin("follow-test");
    state = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (state == MAP_FAILED) fail("no shared memory");
    add_stream();
    pid_t readers[READER_COUNT], writer = fork();
    if (writer == 0) run_writer(seconds);
    for (unsigned i = 0; i < READER_COUNT; i++) {
        readers[i] = fork();
        if (readers[i] == 0) run_reader(i);
    }
    random_source random;
    random_init(&random, real_seed + 1);
    int64_t begin = now_ns(), deadline = begin + (int64_t)(seconds * 5 + 60) * 1000000000;
    uint64_t paced = 0, stops = 0;
    while (!atomic_load(&state->finished)) {
        if (now_ns() < begin + (int64_t)seconds * 333333333) paced = atomic_load(&state->written);
        pid_t stopped = readers[1 + random_below(&random, READER_COUNT - 1)];
        (void)kill(stopped, SIGSTOP);
        sleep_ms(random_below(&random, STOP_MS_MAX) + 1);
        (void)kill(stopped, SIGCONT);
        stops++;
        if (waitpid(writer, NULL, WNOHANG) == writer) break;
    }
    if (!atomic_load(&state->finished)) fail("the writer ended early");
    int how = 0, failures = 0, left = READER_COUNT;
    while (left > 0 && now_ns() < deadline) {
        sleep_ms(20);
        for (unsigned i = 0; i < READER_COUNT; i++) {
            if (readers[i] == 0 || waitpid(readers[i], &how, WNOHANG) != readers[i]) continue;
            readers[i] = 0;
            left--;
            failures += how != 0;
        }
    }
    for (unsigned i = 0; i < READER_COUNT; i++) {
        if (readers[i] == 0) continue;
        (void)fprintf(stderr, "reader %u stays at event %" PRIu64 " of %" PRIu64 "\n", i,
                      atomic_load(&state->seen[i]), atomic_load(&state->written));
        (void)kill(readers[i], SIGKILL);
        failures++;
    }
    report_latency(paced < LATENCIES_MAX ? paced : LATENCIES_MAX - 1);
    printf("followers: %d readers, %" PRIu64 " stops, %" PRIu64 " events each, about %" PRIu64
           " laps of the journal, %d failed\n",
           READER_COUNT, stops, atomic_load(&state->written), laps(), failures);
    if (failures == 0) real_end();
    return failures == 0 ? 0 : 1;
}
