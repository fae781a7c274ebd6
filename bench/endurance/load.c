// SPDX-License-Identifier: Apache-2.0
// The load of the endurance run: writers, followers, point loads and purges on one store, for as long as
// told, on the public API alone. One JSON line per slice of time on standard output, one of the whole at the
// end; `run` makes a table and a picture of them.
//
//     bench_endurance DIR SECONDS SLICES EVENTS_PER_SECOND KEEP
//
// DIR must not exist. The writers share a rate, so that a run of an hour needs as much disk as one of a
// minute: the store keeps the newest KEEP events. What an append waits for is told apart by what ran in the
// background when it began or ended; a thread looks a thousand times a second.
#define _POSIX_C_SOURCE 200809L

#include "cli/latencies.h"

#include <daybook/daybook.h>
#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    WRITERS = 2,
    FOLLOWERS = 2, // one in the writer's store, one as a reader beside it
    LOADERS = 2,
    AGGREGATES = 5000,
    BATCH_MAX = 16,
    DATA_SIZE = 320,
    LOAD_PAUSE_US = 1000,
    PURGE_SECONDS = 3,
    THREADS_MAX = 16,
};

enum { APPENDS, LOADS, FOLLOWS, KINDS };
enum { QUIET, FLUSHING, MERGING, BOTH, STATES };
static const char *const kind_names[KINDS] = {"append", "load", "follow"};
static const char *const state_names[STATES] = {"quiet", "flush", "merge", "flush_and_merge"};

static struct {
    daybook_store *store, *reader;
    const char *directory;
    double seconds, rate;
    unsigned slices;
    uint64_t keep;
    int64_t begin_ns;
    atomic_bool is_over;
    atomic_uint state; // what runs in the background
    atomic_uint_fast64_t event_count, purged_count;
    pthread_mutex_t mutex;
    cli_latencies slice[KINDS], whole[KINDS], by_state[STATES]; // guarded by mutex
} run;

static int64_t clock_ns(clockid_t clock) {
    struct timespec now;
    (void)clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void sleep_us(int64_t us) {
    struct timespec pause = {.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000};
    while (us > 0 && nanosleep(&pause, &pause) != 0) continue;
}

static void fail(const char *what, daybook_status status, const daybook_error *error) {
    (void)fprintf(stderr, "bench_endurance: cannot %s: %s: %s\n", what, daybook_status_name(status),
                  error->message);
    exit(1);
}

static void check(const char *what, daybook_status status, const daybook_error *error) {
    if (status != DAYBOOK_OK) fail(what, status, error);
}

static uint64_t draw(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

// ---- Latencies --------------------------------------------------------------------------------------------

static void add(int kind, unsigned state, int64_t ns) {
    (void)pthread_mutex_lock(&run.mutex);
    cli_latencies_add(&run.slice[kind], ns);
    cli_latencies_add(&run.whole[kind], ns);
    if (kind == APPENDS) cli_latencies_add(&run.by_state[state], ns);
    (void)pthread_mutex_unlock(&run.mutex);
}

static void print_latencies(const char *name, const cli_latencies *from) {
    (void)printf(",\"%s\":{\"count\":%llu,\"p50\":%.0f,\"p99\":%.0f,\"p999\":%.0f,\"max\":%llu}", name,
                 (unsigned long long)from->count, cli_latencies_percentile(from, 0.5),
                 cli_latencies_percentile(from, 0.99), cli_latencies_percentile(from, 0.999),
                 (unsigned long long)(from->longest_ns / 1000));
}

// ---- The load ---------------------------------------------------------------------------------------------

static void make_batch(uint64_t *random, daybook_event *events, unsigned count, char (*subjects)[48],
                       char (*data)[DATA_SIZE]) {
    static const char *const types[] = {"placed", "paid", "packed", "shipped", "returned"};
    uint64_t aggregate = draw(random) % AGGREGATES;
    for (unsigned i = 0; i < count; i++) {
        daybook_event_init(&events[i]);
        const char *type = types[draw(random) % 5];
        (void)snprintf(subjects[i], sizeof subjects[i], "orders.%llu.%s", (unsigned long long)aggregate,
                       type);
        int size = snprintf(data[i], DATA_SIZE, "{\"sku\":%llu,\"note\":\"",
                            (unsigned long long)(draw(random) % 5000));
        size_t end = 100 + draw(random) % (DATA_SIZE - 110);
        for (size_t at = (size_t)size; at < end; at++) data[i][at] = (char)('a' + draw(random) % 20);
        memcpy(data[i] + end, "\"}", 2);
        events[i].subject = daybook_text(subjects[i]);
        events[i].type = daybook_text(type);
        events[i].data = daybook_bytes(data[i], end + 2);
    }
}

static void *write_events(void *context) {
    uint64_t random = 1000 + (uint64_t)(size_t)context;
    daybook_event events[BATCH_MAX];
    char subjects[BATCH_MAX][48];
    char data[BATCH_MAX][DATA_SIZE];
    daybook_error error;
    daybook_error_init(&error);
    int64_t due_ns = run.begin_ns;
    while (!atomic_load(&run.is_over)) {
        unsigned count = draw(&random) % 2 == 0 ? 1 : 1 + (unsigned)(draw(&random) % BATCH_MAX);
        make_batch(&random, events, count, subjects, data);
        int64_t now_ns = clock_ns(CLOCK_MONOTONIC);
        if (now_ns - due_ns > 1000000000) due_ns = now_ns; // lost time is not made up for ever
        sleep_us((due_ns - now_ns) / 1000);
        due_ns += (int64_t)(count * 1e9 * WRITERS / run.rate);
        unsigned state = atomic_load(&run.state);
        int64_t before_ns = clock_ns(CLOCK_MONOTONIC);
        check("append", daybook_append(run.store, events, count, NULL, NULL, &error), &error);
        add(APPENDS, state | atomic_load(&run.state), clock_ns(CLOCK_MONOTONIC) - before_ns);
        atomic_fetch_add(&run.event_count, count);
    }
    return NULL;
}

static void *follow(void *context) {
    daybook_store *store = context;
    daybook_query query;
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_FOLLOW;
    daybook_cursor *cursor;
    daybook_error error;
    daybook_error_init(&error);
    check("follow", daybook_read(store, &query, &cursor, &error), &error);
    uint64_t last = 0;
    while (!atomic_load(&run.is_over)) {
        daybook_recorded_event event;
        daybook_status status = daybook_cursor_next(cursor, 100, &event, &error);
        if (status == DAYBOOK_TIMEOUT) continue;
        check("follow", status, &error);
        if (event.position <= last) {
            (void)fprintf(stderr, "bench_endurance: position %llu came after %llu\n",
                          (unsigned long long)event.position, (unsigned long long)last);
            exit(1);
        }
        last = event.position;
        if (last % 16 == 0) add(FOLLOWS, QUIET, clock_ns(CLOCK_REALTIME) - event.recorded_ns);
    }
    daybook_cursor_close(cursor);
    return NULL;
}

static void *load_aggregates(void *context) {
    uint64_t random = 2000 + (uint64_t)(size_t)context;
    daybook_error error;
    daybook_error_init(&error);
    while (!atomic_load(&run.is_over)) {
        sleep_us(LOAD_PAUSE_US);
        char filter[48];
        (void)snprintf(filter, sizeof filter, "orders.%llu.>",
                       (unsigned long long)(draw(&random) % AGGREGATES));
        daybook_slice wanted = daybook_text(filter);
        daybook_query query;
        daybook_query_init(&query);
        query.filters = &wanted;
        query.filter_count = 1;
        query.flags = DAYBOOK_QUERY_REVERSE;
        query.limit = 10;
        int64_t before_ns = clock_ns(CLOCK_MONOTONIC);
        daybook_cursor *cursor;
        check("load", daybook_read(run.store, &query, &cursor, &error), &error);
        daybook_recorded_event event;
        daybook_status status;
        while ((status = daybook_cursor_next(cursor, 0, &event, &error)) == DAYBOOK_OK) continue;
        if (status != DAYBOOK_END) fail("load", status, &error);
        daybook_cursor_close(cursor);
        add(LOADS, QUIET, clock_ns(CLOCK_MONOTONIC) - before_ns);
    }
    return NULL;
}

// Keeps the newest, and every second deletes one event in the middle.
static void *purge(void *context) {
    (void)context;
    daybook_error error;
    daybook_error_init(&error);
    daybook_slice name = daybook_text("ORDERS");
    for (unsigned i = 1; !atomic_load(&run.is_over); i++) {
        sleep_us(1000000);
        daybook_stream_info *info;
        check("look at the stream", daybook_stream_get_info(run.store, name, &info, &error), &error);
        uint64_t middle = info->first_seq + (info->last_seq - info->first_seq) / 2;
        bool any = info->message_count > 2;
        daybook_stream_info_release(run.store, info);
        daybook_status status = any ? daybook_event_remove(run.store, name, middle, 0, &error) : DAYBOOK_OK;
        if (status != DAYBOOK_OK && status != DAYBOOK_ENOTFOUND) fail("delete", status, &error);
        if (i % PURGE_SECONDS != 0) continue;
        daybook_purge_options options;
        daybook_purge_options_init(&options);
        options.keep = run.keep;
        uint64_t removed = 0;
        check("purge", daybook_stream_purge(run.store, name, &options, &removed, &error), &error);
        atomic_fetch_add(&run.purged_count, removed);
    }
    return NULL;
}

static void *watch(void *context) {
    (void)context;
    daybook_error error;
    daybook_error_init(&error);
    while (!atomic_load(&run.is_over)) {
        daybook_store_info info = {.size = sizeof info};
        check("look at the store", daybook_info(run.store, &info, &error), &error);
        unsigned state = (info.background & DAYBOOK_BACKGROUND_FLUSH) != 0 ? FLUSHING : QUIET;
        if ((info.background & DAYBOOK_BACKGROUND_MERGE) != 0) state |= MERGING;
        atomic_store(&run.state, state);
        sleep_us(1000);
    }
    return NULL;
}

// ---- Reporting --------------------------------------------------------------------------------------------

static double resident_mib(void) {
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL) return 0;
    if (fscanf(file, "%*u %llu", &pages) != 1) pages = 0;
    (void)fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / (1 << 20);
}

static double disk_mib(void) {
    DIR *directory = opendir(run.directory);
    if (directory == NULL) return 0;
    double bytes = 0;
    const struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        struct stat status;
        if (fstatat(dirfd(directory), entry->d_name, &status, 0) == 0 && S_ISREG(status.st_mode))
            bytes += (double)status.st_blocks * 512;
    }
    (void)closedir(directory);
    return bytes / (1 << 20);
}

static double live_mib(void) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_stream_info *info;
    check("look at the stream", daybook_stream_get_info(run.store, daybook_text("ORDERS"), &info, &error),
          &error);
    double bytes = (double)info->byte_count;
    daybook_stream_info_release(run.store, info);
    return bytes / (1 << 20);
}

static void print_line(const char *what, double at, double seconds, uint64_t events,
                       const cli_latencies *all) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_store_info info = {.size = sizeof info};
    check("look at the store", daybook_info(run.store, &info, &error), &error);
    (void)printf("{\"%s\":%.1f,\"events_per_second\":%.0f", what, at, (double)events / seconds);
    for (int i = 0; i < KINDS; i++) print_latencies(kind_names[i], &all[i]);
    if (all == run.whole)
        for (int i = 0; i < STATES; i++) print_latencies(state_names[i], &run.by_state[i]);
    (void)printf(
        ",\"memory_mib\":%.1f,\"disk_mib\":%.1f,\"live_mib\":%.1f,\"segments\":%llu,\"flushes\":%llu,"
        "\"merges\":%llu,\"purged\":%llu}\n",
        resident_mib(), disk_mib(), live_mib(), (unsigned long long)info.segment_count,
        (unsigned long long)info.flush_count, (unsigned long long)info.merge_count,
        (unsigned long long)atomic_load(&run.purged_count));
    (void)fflush(stdout);
}

static void report_slices(void) {
    double each = run.seconds / run.slices;
    uint64_t events_before = 0;
    for (unsigned i = 1; i <= run.slices; i++) {
        int64_t until_ns = run.begin_ns + (int64_t)(each * i * 1e9);
        sleep_us((until_ns - clock_ns(CLOCK_MONOTONIC)) / 1000);
        static cli_latencies taken[KINDS];
        (void)pthread_mutex_lock(&run.mutex);
        memcpy(taken, run.slice, sizeof taken);
        memset(run.slice, 0, sizeof run.slice);
        (void)pthread_mutex_unlock(&run.mutex);
        uint64_t events = atomic_load(&run.event_count);
        print_line("at", each * i, each, events - events_before, taken);
        events_before = events;
    }
}

// ---- The whole --------------------------------------------------------------------------------------------

static void open_stores(void) {
    daybook_error error;
    daybook_error_init(&error);
    check("open the store", daybook_open(run.directory, NULL, &run.store, &error), &error);
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    daybook_slice subjects = daybook_text("orders.>");
    config.name = daybook_text("ORDERS");
    config.subjects = &subjects;
    config.subject_count = 1;
    check("add a stream", daybook_stream_add(run.store, &config, &error), &error);
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.flags = DAYBOOK_OPEN_READ_ONLY;
    check("open a reader", daybook_open(run.directory, &options, &run.reader, &error), &error);
}

static unsigned start_all(pthread_t threads[THREADS_MAX]) {
    unsigned count = 0;
    int failed = pthread_create(&threads[count++], NULL, watch, NULL);
    failed |= pthread_create(&threads[count++], NULL, purge, NULL);
    for (size_t i = 0; i < FOLLOWERS; i++)
        failed |= pthread_create(&threads[count++], NULL, follow, i == 0 ? run.store : run.reader);
    for (size_t i = 0; i < LOADERS; i++)
        failed |= pthread_create(&threads[count++], NULL, load_aggregates, (void *)i);
    for (size_t i = 0; i < WRITERS; i++)
        failed |= pthread_create(&threads[count++], NULL, write_events, (void *)i);
    if (failed == 0) return count;
    (void)fprintf(stderr, "bench_endurance: cannot start threads\n");
    exit(1);
}

int main(int argc, char **argv) {
    if (argc != 6) {
        (void)fprintf(stderr, "usage: bench_endurance DIR SECONDS SLICES EVENTS_PER_SECOND KEEP\n");
        return 2;
    }
    run.directory = argv[1];
    run.seconds = strtod(argv[2], NULL);
    run.slices = (unsigned)strtoul(argv[3], NULL, 10);
    run.rate = strtod(argv[4], NULL);
    run.keep = strtoull(argv[5], NULL, 10);
    if (run.seconds <= 0 || run.slices == 0 || run.rate <= 0 || run.keep == 0) return 2;
    (void)pthread_mutex_init(&run.mutex, NULL);
    open_stores();
    pthread_t threads[THREADS_MAX];
    run.begin_ns = clock_ns(CLOCK_MONOTONIC);
    unsigned count = start_all(threads);
    report_slices();
    atomic_store(&run.is_over, true);
    for (unsigned i = 0; i < count; i++) (void)pthread_join(threads[i], NULL);
    print_line("whole", run.seconds, run.seconds, atomic_load(&run.event_count), run.whole);
    daybook_error error;
    daybook_error_init(&error);
    check("close the reader", daybook_close(run.reader, &error), &error);
    check("close the store", daybook_close(run.store, &error), &error);
    return 0;
}
