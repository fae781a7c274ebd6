// SPDX-License-Identifier: Apache-2.0
//
// The rows of `bench` that read what --events events left behind: load load_spread replay open_clean
// open_killed disk. They share the store of orders, except for load_spread, whose orders lie apart.
#include "cli/bench.h"

#include "cli/progress.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define KILLED_ROUNDS 3u
#define OPENED_ROUNDS 9u
#define KILL_AFTER_BYTES (96u * 1024 * 1024) // of journal to be replayed

// --- load ------------------------------------------------------------------------------------------------

// Read one order's events; the sum keeps the compiler from skipping it.
static int load_order(cli_bench *bench, daybook_store *store, uint64_t order, uint64_t *count_out,
                      uint64_t *sum) {
    char filter[64];
    (void)snprintf(filter, sizeof filter, "orders.%llu.>", (unsigned long long)order);
    daybook_slice wanted = daybook_text(filter);
    daybook_query query;
    daybook_query_init(&query);
    query.filters = &wanted;
    query.filter_count = 1;
    daybook_error error;
    daybook_error_init(&error);
    daybook_cursor *cursor;
    daybook_status status = daybook_read(store, &query, &cursor, &error);
    uint64_t count = 0;
    if (status == DAYBOOK_OK) {
        daybook_recorded_event event;
        while ((status = daybook_cursor_next(cursor, 0, &event, &error)) == DAYBOOK_OK) {
            *sum += event.event.data.size + event.version;
            count++;
        }
        daybook_cursor_close(cursor);
    }
    *count_out = count;
    return status == DAYBOOK_END ? CLI_FINE
                                 : cli_fail_error(bench->context, status, &error, "cannot load an order");
}

static int load_orders(cli_bench *bench, daybook_store *store, cli_latencies *latencies) {
    uint64_t orders = cli_bench_order_count(bench), sum = 0;
    uint64_t loads = (uint64_t)(50000 * bench->scale);
    if (loads < 1000) loads = 1000;
    cli_bench_random random = {.state = 7};
    int outcome = CLI_FINE;
    // The first half warms the caches and is not counted.
    for (uint64_t i = 0; i < 2 * loads && outcome == CLI_FINE; i++) {
        uint64_t order = cli_bench_draw(&random) % orders + 1, count = 0;
        int64_t before_ns = cli_clock_ns();
        outcome = load_order(bench, store, order, &count, &sum);
        int64_t took_ns = cli_clock_ns() - before_ns;
        if (i >= loads) cli_latencies_add(latencies, took_ns);
        if (outcome == CLI_FINE && count < CLI_BENCH_ORDER_EVENT_COUNT) {
            outcome = cli_fail(bench->context, DAYBOOK_EDAMAGED, "order %llu has %llu events, %u were stored",
                               (unsigned long long)order, (unsigned long long)count,
                               CLI_BENCH_ORDER_EVENT_COUNT);
        }
    }
    return sum == 0 && outcome == CLI_FINE ? cli_fail(bench->context, DAYBOOK_EDAMAGED, "orders are empty")
                                           : outcome;
}

static int measure_load(cli_bench *bench, bool spread, cli_bench_result *result_out) {
    char name[CLI_BENCH_NAME_SIZE];
    int outcome = cli_bench_orders(bench, spread, name);
    if (outcome != CLI_FINE) return outcome;
    cli_latencies *latencies = calloc(1, sizeof *latencies);
    if (latencies == NULL) return cli_fail(bench->context, DAYBOOK_ENOMEM, "out of memory");
    daybook_store *store;
    outcome = cli_bench_open(bench, name, &store);
    if (outcome == CLI_FINE) {
        outcome = load_orders(bench, store, latencies);
        int closed = cli_bench_close(bench, store);
        if (outcome == CLI_FINE) outcome = closed;
    }
    double per_second, block_us = 0;
    if (outcome == CLI_FINE) outcome = cli_bench_floor_blocks(bench, &per_second, &block_us);
    cli_latencies_report(latencies, result_out);
    result_out->value = result_out->p50;
    result_out->floor = block_us * (spread ? CLI_BENCH_ORDER_EVENT_COUNT : 1);
    free(latencies);
    if (spread && bench->kept == NULL) {
        char path[CLI_BENCH_PATH_SIZE];
        cli_bench_path(bench, name, path);
        (void)cli_bench_remove_tree(path); // nobody else needs it; what stays goes with the folder
    }
    return outcome;
}

int cli_bench_load(cli_bench *bench, cli_bench_result *result_out) {
    return measure_load(bench, false, result_out);
}

int cli_bench_load_spread(cli_bench *bench, cli_bench_result *result_out) {
    return measure_load(bench, true, result_out);
}

// --- replay ----------------------------------------------------------------------------------------------

static int replay_all(cli_bench *bench, daybook_store *store, uint64_t *count_out, double *seconds_out) {
    daybook_query query;
    daybook_query_init(&query);
    daybook_error error;
    daybook_error_init(&error);
    daybook_cursor *cursor;
    int64_t begin_ns = cli_clock_ns();
    daybook_status status = daybook_read(store, &query, &cursor, &error);
    uint64_t count = 0, sum = 0;
    if (status == DAYBOOK_OK) {
        daybook_recorded_event event;
        while ((status = daybook_cursor_next(cursor, 0, &event, &error)) == DAYBOOK_OK) {
            sum += event.event.data.size + *(const unsigned char *)event.event.subject.data;
            count++;
        }
        daybook_cursor_close(cursor);
    }
    *seconds_out = (double)(cli_clock_ns() - begin_ns) / 1e9;
    *count_out = count;
    if (status != DAYBOOK_END) return cli_fail_error(bench->context, status, &error, "cannot replay");
    uint64_t stored = cli_bench_order_count(bench) * CLI_BENCH_ORDER_EVENT_COUNT;
    if (count >= stored && sum > 0) return CLI_FINE;
    return cli_fail(bench->context, DAYBOOK_EDAMAGED, "%llu events were replayed, %llu were stored",
                    (unsigned long long)count, (unsigned long long)stored);
}

int cli_bench_replay(cli_bench *bench, cli_bench_result *result_out) {
    char name[CLI_BENCH_NAME_SIZE];
    int outcome = cli_bench_orders(bench, false, name);
    daybook_store *store;
    if (outcome == CLI_FINE) outcome = cli_bench_open(bench, name, &store);
    if (outcome != CLI_FINE) return outcome;
    uint64_t count = 0;
    double seconds = 1, block_us;
    outcome = replay_all(bench, store, &count, &seconds); // warms the page cache
    if (outcome == CLI_FINE) outcome = replay_all(bench, store, &count, &seconds);
    int closed = cli_bench_close(bench, store);
    if (outcome == CLI_FINE) outcome = closed;
    if (outcome == CLI_FINE) outcome = cli_bench_floor_blocks(bench, &result_out->floor, &block_us);
    result_out->value = (double)count / seconds;
    return outcome;
}

// --- open ------------------------------------------------------------------------------------------------

static int time_open(cli_bench *bench, const char *name, double *ms_out, uint64_t *replayed_bytes_out) {
    daybook_store *store;
    int64_t begin_ns = cli_clock_ns();
    int outcome = cli_bench_open(bench, name, &store);
    if (outcome != CLI_FINE) return outcome;
    *ms_out = (double)(cli_clock_ns() - begin_ns) / 1e6;
    daybook_store_info info = {.size = sizeof info};
    *replayed_bytes_out = daybook_info(store, &info, NULL) == DAYBOOK_OK ? info.open_replayed_bytes : 0;
    return cli_bench_close(bench, store);
}

static int compare_doubles(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static void report_opens(double *ms, unsigned count, cli_bench_result *result_out) {
    qsort(ms, count, sizeof *ms, compare_doubles);
    result_out->value = result_out->p50 = ms[count / 2];
    result_out->p99 = result_out->p999 = ms[count - 1];
    result_out->has_percentiles = true;
}

static int floor_of_opening(cli_bench *bench, const char *name, uint64_t bytes,
                            cli_bench_result *result_out) {
    char path[CLI_BENCH_PATH_SIZE];
    cli_bench_path(bench, name, path);
    return cli_bench_floor_read(bench, path, bytes, &result_out->floor);
}

int cli_bench_open_clean(cli_bench *bench, cli_bench_result *result_out) {
    char name[CLI_BENCH_NAME_SIZE];
    int outcome = cli_bench_orders(bench, false, name);
    double ms[OPENED_ROUNDS] = {0};
    uint64_t replayed_bytes = 0;
    for (unsigned i = 0; i < OPENED_ROUNDS && outcome == CLI_FINE; i++)
        outcome = time_open(bench, name, &ms[i], &replayed_bytes);
    report_opens(ms, OPENED_ROUNDS, result_out);
    // At least a page of something has to be read.
    if (outcome == CLI_FINE) outcome = floor_of_opening(bench, name, replayed_bytes + 4096, result_out);
    return outcome;
}

// In the child: append until enough is in the journal, say so, and go on until killed.
static void append_until_killed(cli_bench *bench, const char *name, int ready) {
    daybook_store *store;
    cli_bench_pool pool;
    if (cli_bench_pool_make(bench, (size_t)32 * CLI_BENCH_BATCH_COUNT, &pool) != CLI_FINE) _exit(CLI_ERROR);
    if (cli_bench_open(bench, name, &store) != CLI_FINE) _exit(CLI_ERROR);
    // Once per folder; later rounds find it there.
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    daybook_slice captured = daybook_text("bench.>");
    config.name = daybook_text("BENCH");
    config.subjects = &captured;
    config.subject_count = 1;
    daybook_status status = daybook_stream_add(store, &config, NULL);
    if (status != DAYBOOK_OK && status != DAYBOOK_EEXISTS) _exit(CLI_ERROR);
    uint64_t written_max = 0;
    bool has_said = false;
    for (size_t i = 0;; i += CLI_BENCH_BATCH_COUNT) {
        if (daybook_append(store, &pool.events[i % pool.count], CLI_BENCH_BATCH_COUNT, NULL, NULL, NULL) !=
            DAYBOOK_OK)
            _exit(CLI_ERROR);
        daybook_store_info info = {.size = sizeof info};
        if (daybook_info(store, &info, NULL) != DAYBOOK_OK) _exit(CLI_ERROR);
        // Full enough, or it was about to be and a flush came in between.
        bool is_ready = info.journal_used_bytes >= KILL_AFTER_BYTES ||
                        info.journal_used_bytes < written_max || i >= (size_t)2000 * CLI_BENCH_BATCH_COUNT;
        written_max = info.journal_used_bytes;
        if (!is_ready || has_said) continue;
        has_said = write(ready, "r", 1) == 1;
    }
}

static int kill_a_writer(cli_bench *bench, const char *name) {
    int ends[2];
    if (pipe(ends) != 0)
        return cli_fail(bench->context, DAYBOOK_EIO, "cannot make a pipe: %s", strerror(errno));
    pid_t child = fork();
    if (child < 0) return cli_fail(bench->context, DAYBOOK_EIO, "cannot fork: %s", strerror(errno));
    if (child == 0) {
        (void)close(ends[0]);
        append_until_killed(bench, name, ends[1]);
        _exit(CLI_ERROR);
    }
    (void)close(ends[1]);
    char byte;
    ssize_t count;
    do count = read(ends[0], &byte, 1);
    while (count < 0 && errno == EINTR);
    (void)kill(child, SIGKILL);
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR) continue;
    (void)close(ends[0]);
    return count == 1 ? CLI_FINE
                      : cli_fail(bench->context, DAYBOOK_EIO, "the writer to be killed ended by itself");
}

int cli_bench_open_killed(cli_bench *bench, cli_bench_result *result_out) {
    char name[CLI_BENCH_NAME_SIZE];
    int outcome = cli_bench_orders(bench, false, name);
    double ms[KILLED_ROUNDS] = {0};
    uint64_t replayed_bytes = 0, most_bytes = 0;
    for (unsigned i = 0; i < KILLED_ROUNDS && outcome == CLI_FINE; i++) {
        outcome = kill_a_writer(bench, name);
        if (outcome == CLI_FINE) outcome = time_open(bench, name, &ms[i], &replayed_bytes);
        if (replayed_bytes > most_bytes) most_bytes = replayed_bytes;
    }
    report_opens(ms, KILLED_ROUNDS, result_out);
    if (outcome == CLI_FINE) outcome = floor_of_opening(bench, name, most_bytes + 4096, result_out);
    return outcome;
}

// --- disk ------------------------------------------------------------------------------------------------

int cli_bench_disk(cli_bench *bench, cli_bench_result *result_out) {
    char name[CLI_BENCH_NAME_SIZE];
    int outcome = cli_bench_orders(bench, false, name);
    daybook_store *store;
    if (outcome == CLI_FINE) outcome = cli_bench_open(bench, name, &store);
    if (outcome != CLI_FINE) return outcome;
    daybook_store_info info = {.size = sizeof info};
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = daybook_info(store, &info, &error);
    if (status != DAYBOOK_OK) outcome = cli_fail_error(bench->context, status, &error, NULL);
    int closed = cli_bench_close(bench, store);
    if (outcome == CLI_FINE) outcome = closed;
    // The mean size of an event's JSON, from a sample all over the store.
    uint64_t orders = cli_bench_order_count(bench), bytes = 0;
    enum { SAMPLES = 10000 };
    cli_bench_random random = {.state = 11};
    for (unsigned i = 0; i < SAMPLES; i++) {
        cli_bench_order_event made;
        cli_bench_make_order_event(cli_bench_draw(&random) % orders + 1, i % CLI_BENCH_ORDER_EVENT_COUNT,
                                   cli_bench_rare_every(bench), &made);
        bytes += made.json_size;
    }
    double raw = (double)bytes / SAMPLES * (double)orders * CLI_BENCH_ORDER_EVENT_COUNT;
    result_out->value = (double)info.segment_bytes / raw;
    return outcome == CLI_FINE ? cli_bench_floor_disk(bench, &result_out->floor) : outcome;
}
