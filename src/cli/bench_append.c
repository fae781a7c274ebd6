// SPDX-License-Identifier: Apache-2.0
//
// The rows of `bench` that write: append_1 append_64 append_batch append_sustained condition memory. Each
// works in a store of its own in the fresh folder (condition: in that of the orders) and measures its floor
// before and after, because devices have moods.
#include "cli/bench.h"

#include "cli/progress.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define COMMIT_BYTES 4096u // a lone event of 256 bytes makes a page
#define BATCH_BYTES (CLI_BENCH_BATCH_COUNT * CLI_BENCH_DATA_SIZE)
#define WARM_UP_COUNT 200u
#define WRITER_COUNT 64u
#define FLOOR_SECONDS 1.0

static double scaled(const cli_bench *bench, double seconds, double least) {
    double given = seconds * bench->scale;
    return given < least ? least : given;
}

// The mean of two looks at the floor, one before and one after the row.
static int measure_floor(cli_bench *bench, size_t bytes, double *sum) {
    double per_second = 0;
    int outcome = cli_bench_floor_overwrites(bench, bytes, scaled(bench, FLOOR_SECONDS, 0.2), &per_second);
    *sum += per_second;
    return outcome;
}

static int append(cli_bench *bench, daybook_store *store, const daybook_event *events, size_t count) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = daybook_append(store, events, count, NULL, NULL, &error);
    return status == DAYBOOK_OK ? CLI_FINE : cli_fail_error(bench->context, status, &error, "cannot append");
}

// The floor of batches: their bytes copied once in memory and overwritten on the device, one after the other.
static int measure_batch_floor(cli_bench *bench, double *sum) {
    double writes = 0, copies = 0;
    int outcome = measure_floor(bench, BATCH_BYTES, &writes);
    if (outcome == CLI_FINE) outcome = cli_bench_floor_copy(bench, BATCH_BYTES, &copies);
    if (outcome == CLI_FINE && writes > 0 && copies > 0)
        *sum += CLI_BENCH_BATCH_COUNT / (1 / writes + 1 / copies);
    return outcome;
}

// A fresh store with stream BENCH and a pool of events for it.
static int begin(cli_bench *bench, const char *name, size_t pool_count, daybook_store **store_out,
                 cli_bench_pool *pool_out) {
    int outcome = cli_bench_pool_make(bench, pool_count, pool_out);
    if (outcome != CLI_FINE) return outcome;
    outcome = cli_bench_open(bench, name, store_out);
    if (outcome == CLI_FINE) {
        outcome = cli_bench_add_stream(bench, *store_out, "BENCH", "bench.>");
        if (outcome != CLI_FINE) (void)daybook_close(*store_out, NULL); // the failure is reported already
    }
    if (outcome != CLI_FINE) cli_bench_pool_free(pool_out);
    return outcome;
}

static int end(cli_bench *bench, const char *name, daybook_store *store, cli_bench_pool *pool, int outcome) {
    int closed = cli_bench_close(bench, store);
    cli_bench_pool_free(pool);
    char path[CLI_BENCH_PATH_SIZE];
    cli_bench_path(bench, name, path);
    (void)cli_bench_remove_tree(path); // what stays goes with the folder
    return outcome == CLI_FINE ? closed : outcome;
}

// --- append_1 --------------------------------------------------------------------------------------------

int cli_bench_append_1(cli_bench *bench, cli_bench_result *result_out) {
    daybook_store *store;
    cli_bench_pool pool;
    cli_latencies *latencies = calloc(1, sizeof *latencies);
    if (latencies == NULL) return cli_fail(bench->context, DAYBOOK_ENOMEM, "out of memory");
    double floor_sum = 0;
    int outcome = measure_floor(bench, COMMIT_BYTES, &floor_sum);
    if (outcome == CLI_FINE) outcome = begin(bench, "append-1", 4096, &store, &pool);
    if (outcome != CLI_FINE) {
        free(latencies);
        return outcome;
    }
    for (size_t i = 0; i < WARM_UP_COUNT && outcome == CLI_FINE; i++)
        outcome = append(bench, store, &pool.events[i], 1);
    int64_t begin_ns = cli_clock_ns(), now_ns = begin_ns;
    int64_t limit_ns = (int64_t)(scaled(bench, 5, 0.3) * 1e9);
    for (size_t i = 0; now_ns - begin_ns < limit_ns && outcome == CLI_FINE; i++) {
        int64_t before_ns = now_ns;
        outcome = append(bench, store, &pool.events[i % pool.count], 1);
        now_ns = cli_clock_ns();
        cli_latencies_add(latencies, now_ns - before_ns);
    }
    outcome = end(bench, "append-1", store, &pool, outcome);
    if (outcome == CLI_FINE) outcome = measure_floor(bench, COMMIT_BYTES, &floor_sum);
    result_out->value = (double)latencies->count * 1e9 / (double)(now_ns - begin_ns);
    result_out->floor = floor_sum / 2;
    cli_latencies_report(latencies, result_out);
    free(latencies);
    return outcome;
}

// --- append_64 -------------------------------------------------------------------------------------------

typedef struct writers {
    daybook_store *store;
    const cli_bench_pool *pool;
    _Atomic int64_t begin_ns; // 0: not yet
    _Atomic bool is_over;
    pthread_mutex_t mutex;
    // Guarded by mutex.
    daybook_status status;
    daybook_error error;
    cli_latencies latencies;
} writers;

static void *write_alone(void *context) {
    writers *all = context;
    static _Atomic size_t next_writer;
    size_t at = atomic_fetch_add(&next_writer, 1) * 61;
    cli_latencies *own = calloc(1, sizeof *own);
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = own == NULL ? DAYBOOK_ENOMEM : DAYBOOK_OK;
    int64_t now_ns = cli_clock_ns();
    while (status == DAYBOOK_OK && !atomic_load(&all->is_over)) {
        int64_t before_ns = now_ns;
        status =
            daybook_append(all->store, &all->pool->events[at++ % all->pool->count], 1, NULL, NULL, &error);
        now_ns = cli_clock_ns();
        int64_t begin_ns = atomic_load(&all->begin_ns);
        bool counts = begin_ns != 0 && before_ns >= begin_ns && !atomic_load(&all->is_over);
        if (status == DAYBOOK_OK && counts) cli_latencies_add(own, now_ns - before_ns);
    }
    (void)pthread_mutex_lock(&all->mutex);
    if (status != DAYBOOK_OK && all->status == DAYBOOK_OK) {
        all->status = status;
        all->error = error;
    }
    if (own != NULL) cli_latencies_merge(&all->latencies, own);
    (void)pthread_mutex_unlock(&all->mutex);
    free(own);
    return NULL;
}

static void sleep_for(double seconds) {
    struct timespec pause = {.tv_sec = (time_t)seconds,
                             .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&pause, &pause) != 0) continue;
}

static int write_together(cli_bench *bench, writers *all, double *seconds_out) {
    pthread_t threads[WRITER_COUNT];
    unsigned count = 0;
    while (count < WRITER_COUNT && pthread_create(&threads[count], NULL, write_alone, all) == 0) count++;
    int64_t begin_ns = 0, over_ns = 0;
    if (count == WRITER_COUNT) {
        sleep_for(scaled(bench, 1, 0.2)); // warm
        begin_ns = cli_clock_ns();
        atomic_store(&all->begin_ns, begin_ns);
        sleep_for(scaled(bench, 10, 0.5));
        over_ns = cli_clock_ns();
    }
    atomic_store(&all->is_over, true);
    for (unsigned i = 0; i < count; i++) (void)pthread_join(threads[i], NULL);
    *seconds_out = (double)(over_ns - begin_ns) / 1e9;
    if (count < WRITER_COUNT)
        return cli_fail(bench->context, DAYBOOK_EIO, "cannot start %u threads", WRITER_COUNT);
    if (all->status == DAYBOOK_OK) return CLI_FINE;
    return cli_fail_error(bench->context, all->status, &all->error, "cannot append");
}

int cli_bench_append_64(cli_bench *bench, cli_bench_result *result_out) {
    cli_bench_pool pool;
    double floor_sum = 0, seconds = 0;
    writers *all = calloc(1, sizeof *all);
    if (all == NULL) return cli_fail(bench->context, DAYBOOK_ENOMEM, "out of memory");
    int outcome = measure_floor(bench, COMMIT_BYTES, &floor_sum);
    if (outcome == CLI_FINE) outcome = begin(bench, "append-64", 8192, &all->store, &pool);
    if (outcome == CLI_FINE) {
        all->pool = &pool;
        (void)pthread_mutex_init(&all->mutex, NULL);
        outcome = write_together(bench, all, &seconds);
        (void)pthread_mutex_destroy(&all->mutex);
        outcome = end(bench, "append-64", all->store, &pool, outcome);
    }
    if (outcome == CLI_FINE) outcome = measure_floor(bench, COMMIT_BYTES, &floor_sum);
    if (outcome == CLI_FINE) {
        result_out->value = (double)all->latencies.count / seconds;
        result_out->floor = floor_sum / 2;
        cli_latencies_report(&all->latencies, result_out);
    }
    free(all);
    return outcome;
}

// --- append_batch, append_sustained ----------------------------------------------------------------------

// The row ends where the first flush begins: from there on appends are paced by the flusher, which is what
// append_sustained measures. A flush may begin and end within one batch.
static int has_flush_begun(cli_bench *bench, daybook_store *store, bool *begun_out) {
    daybook_store_info info = {.size = sizeof info};
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = daybook_info(store, &info, &error);
    *begun_out = (info.background & DAYBOOK_BACKGROUND_FLUSH) != 0 || info.flush_count > 0;
    return status == DAYBOOK_OK ? CLI_FINE : cli_fail_error(bench->context, status, &error, NULL);
}

// One store until its memory table is full and the flusher takes it. The first batches are left out: they
// grow the journal.
static int batch_round(cli_bench *bench, unsigned round, cli_latencies *latencies, double *per_second_out) {
    char name[32];
    (void)snprintf(name, sizeof name, "append-batch-%u", round);
    daybook_store *store;
    cli_bench_pool pool;
    int outcome = begin(bench, name, (size_t)32 * CLI_BENCH_BATCH_COUNT, &store, &pool);
    if (outcome != CLI_FINE) return outcome;
    bool flush_begun = false;
    uint64_t batches = bench->event_count / CLI_BENCH_BATCH_COUNT;
    if (batches > 1000) batches = 1000;
    if (batches < 8) batches = 8;
    int64_t ns = 0, count = 0;
    for (uint64_t i = 0; i < batches && !flush_begun && outcome == CLI_FINE; i++) {
        const daybook_event *events = &pool.events[i * CLI_BENCH_BATCH_COUNT % pool.count];
        int64_t before_ns = cli_clock_ns();
        outcome = append(bench, store, events, CLI_BENCH_BATCH_COUNT);
        int64_t took_ns = cli_clock_ns() - before_ns;
        if (i >= 4) {
            cli_latencies_add(latencies, took_ns);
            ns += took_ns;
            count += CLI_BENCH_BATCH_COUNT;
        }
        if (outcome == CLI_FINE) outcome = has_flush_begun(bench, store, &flush_begun);
    }
    *per_second_out = ns == 0 ? 0 : (double)count * 1e9 / (double)ns;
    return end(bench, name, store, &pool, outcome);
}

static int compare_doubles(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

int cli_bench_append_batch(cli_bench *bench, cli_bench_result *result_out) {
    enum { ROUNDS = 5 };
    double per_second[ROUNDS], floor_sum = 0;
    cli_latencies *latencies = calloc(1, sizeof *latencies);
    if (latencies == NULL) return cli_fail(bench->context, DAYBOOK_ENOMEM, "out of memory");
    int outcome = measure_batch_floor(bench, &floor_sum);
    for (unsigned i = 0; i < ROUNDS && outcome == CLI_FINE; i++)
        outcome = batch_round(bench, i, latencies, &per_second[i]);
    if (outcome == CLI_FINE) outcome = measure_batch_floor(bench, &floor_sum);
    if (outcome == CLI_FINE) {
        qsort(per_second, ROUNDS, sizeof per_second[0], compare_doubles);
        result_out->value = per_second[ROUNDS / 2];
        result_out->floor = floor_sum / 2;
        cli_latencies_report(latencies, result_out);
    }
    free(latencies);
    return outcome;
}

int cli_bench_append_sustained(cli_bench *bench, cli_bench_result *result_out) {
    daybook_store *store;
    cli_bench_pool pool;
    cli_latencies *latencies = calloc(1, sizeof *latencies);
    if (latencies == NULL) return cli_fail(bench->context, DAYBOOK_ENOMEM, "out of memory");
    double floor_sum = 0;
    int outcome = measure_batch_floor(bench, &floor_sum);
    if (outcome == CLI_FINE)
        outcome = begin(bench, "append-sustained", (size_t)64 * CLI_BENCH_BATCH_COUNT, &store, &pool);
    if (outcome != CLI_FINE) {
        free(latencies);
        return outcome;
    }
    cli_progress progress;
    cli_progress_init(&progress, bench->context, "append_sustained", "events");
    int64_t begin_ns = cli_clock_ns(), now_ns = begin_ns, limit_ns = (int64_t)(scaled(bench, 60, 1) * 1e9);
    uint64_t count = 0;
    while (now_ns - begin_ns < limit_ns && outcome == CLI_FINE) {
        int64_t before_ns = now_ns;
        outcome = append(bench, store, &pool.events[count % pool.count], CLI_BENCH_BATCH_COUNT);
        now_ns = cli_clock_ns();
        cli_latencies_add(latencies, now_ns - before_ns);
        count += CLI_BENCH_BATCH_COUNT;
        cli_progress_update(&progress, count, 0);
    }
    cli_progress_end(&progress);
    outcome = end(bench, "append-sustained", store, &pool, outcome);
    if (outcome == CLI_FINE) outcome = measure_batch_floor(bench, &floor_sum);
    result_out->value = (double)count * 1e9 / (double)(now_ns - begin_ns);
    result_out->floor = floor_sum / 2;
    cli_latencies_report(latencies, result_out);
    free(latencies);
    return outcome;
}

// --- condition -------------------------------------------------------------------------------------------

enum { PLAIN, WILDCARD, ABSENT, PRESENT, VARIANT_COUNT };

// The seq of the last event of the filter: what an expected-last condition names.
static int last_seq(cli_bench *bench, daybook_store *store, const char *filter, uint64_t *seq_out) {
    daybook_query query;
    daybook_query_init(&query);
    daybook_slice wanted = daybook_text(filter);
    query.filters = &wanted;
    query.filter_count = 1;
    query.flags = DAYBOOK_QUERY_REVERSE;
    query.limit = 1;
    daybook_error error;
    daybook_error_init(&error);
    daybook_cursor *cursor;
    daybook_status status = daybook_read(store, &query, &cursor, &error);
    if (status == DAYBOOK_OK) {
        daybook_recorded_event event;
        status = daybook_cursor_next(cursor, 0, &event, &error);
        *seq_out = status == DAYBOOK_OK ? event.seq : 0;
        if (status == DAYBOOK_END) status = DAYBOOK_OK;
        daybook_cursor_close(cursor);
    }
    return status == DAYBOOK_OK ? CLI_FINE : cli_fail_error(bench->context, status, &error, NULL);
}

static int condition_rounds(cli_bench *bench, daybook_store *store, cli_latencies *latencies) {
    const char *subject = cli_bench_order_count(bench) >= 123 ? "orders.123.noted" : "orders.1.noted";
    const char *filter = cli_bench_order_count(bench) >= 123 ? "orders.123.>" : "orders.1.>";
    uint64_t seq = 0;
    int outcome = last_seq(bench, store, filter, &seq);
    if (outcome != CLI_FINE) return outcome;
    // Every order has been placed, a hundred events or so are rare, but no `refunded` exists under that tag.
    daybook_slice rare = daybook_text("rare:yes"), there = daybook_text("placed"),
                  elsewhere = daybook_text("refunded");
    daybook_query_item absent, present;
    daybook_query_item_init(&absent);
    absent.types = &elsewhere;
    absent.tags = &rare;
    absent.type_count = absent.tag_count = 1;
    present = absent;
    present.types = &there;
    char data[CLI_BENCH_DATA_SIZE];
    memset(data, 'c', sizeof data);
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    event.data = daybook_bytes(data, sizeof data);
    uint64_t rounds = (uint64_t)(4000 * bench->scale);
    if (rounds < 200) rounds = 200;
    for (uint64_t i = 0; i < rounds * VARIANT_COUNT && outcome == CLI_FINE; i++) {
        unsigned variant = (unsigned)(i % VARIANT_COUNT);
        daybook_condition condition;
        daybook_condition_init(&condition, variant == WILDCARD ? DAYBOOK_EXPECT_SUBJECT_SEQ
                                                               : DAYBOOK_FAIL_IF_EVENTS_MATCH);
        condition.filter = variant == WILDCARD ? daybook_text(filter) : daybook_bytes(NULL, 0);
        condition.expected = seq;
        condition.items = variant == WILDCARD ? NULL : variant == ABSENT ? &absent : &present;
        condition.item_count = variant == WILDCARD ? 0 : 1;
        daybook_append_options options;
        daybook_append_options_init(&options);
        options.conditions = &condition;
        options.condition_count = variant == PLAIN ? 0 : 1;
        daybook_receipt receipt = {.size = sizeof receipt};
        daybook_error error;
        daybook_error_init(&error);
        int64_t before_ns = cli_clock_ns();
        daybook_status status = daybook_append(store, &event, 1, &options, &receipt, &error);
        cli_latencies_add(&latencies[variant], cli_clock_ns() - before_ns);
        if (variant == PRESENT ? status != DAYBOOK_ECONFLICT : status != DAYBOOK_OK) {
            outcome = status == DAYBOOK_OK
                          ? cli_fail(bench->context, DAYBOOK_EDAMAGED,
                                     "a condition that cannot hold was said to hold")
                          : cli_fail_error(bench->context, status, &error, "cannot append under a condition");
        }
        if (status == DAYBOOK_OK) seq = receipt.seq;
    }
    return outcome;
}

int cli_bench_condition(cli_bench *bench, cli_bench_result *result_out) {
    char name[CLI_BENCH_NAME_SIZE];
    int outcome = cli_bench_orders(bench, false, name);
    if (outcome != CLI_FINE) return outcome;
    cli_latencies *latencies = calloc(VARIANT_COUNT, sizeof *latencies);
    if (latencies == NULL) return cli_fail(bench->context, DAYBOOK_ENOMEM, "out of memory");
    daybook_store *store;
    outcome = cli_bench_open(bench, name, &store);
    if (outcome == CLI_FINE) {
        outcome = condition_rounds(bench, store, latencies);
        int closed = cli_bench_close(bench, store);
        if (outcome == CLI_FINE) outcome = closed;
    }
    if (outcome == CLI_FINE) {
        unsigned worst = WILDCARD;
        for (unsigned i = ABSENT; i < VARIANT_COUNT; i++)
            if (cli_latencies_percentile(&latencies[i], 0.5) >
                cli_latencies_percentile(&latencies[worst], 0.5))
                worst = i;
        cli_latencies_report(&latencies[worst], result_out);
        result_out->value = result_out->p50;
        result_out->floor = cli_latencies_percentile(&latencies[PLAIN], 0.5);
    }
    free(latencies);
    return outcome;
}

// --- memory ----------------------------------------------------------------------------------------------

static double peak_mib(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (double)usage.ru_maxrss / 1024 : 0;
}

static int load_subjects(cli_bench *bench, daybook_store *store) {
    enum { SUBJECT_SIZE = 40 };
    daybook_event *events = calloc(CLI_BENCH_BATCH_COUNT, sizeof *events);
    char *subjects = malloc((size_t)CLI_BENCH_BATCH_COUNT * SUBJECT_SIZE);
    int outcome = events == NULL || subjects == NULL
                      ? cli_fail(bench->context, DAYBOOK_ENOMEM, "out of memory")
                      : CLI_FINE;
    cli_progress progress;
    cli_progress_init(&progress, bench->context, "memory", "subjects");
    size_t count = 0;
    for (uint64_t i = 0; i < bench->event_count && outcome == CLI_FINE; i++) {
        char *subject = subjects + count * SUBJECT_SIZE;
        (void)snprintf(subject, SUBJECT_SIZE, "things.%llu.seen", (unsigned long long)i);
        daybook_event_init(&events[count]);
        events[count].subject = daybook_text(subject);
        events[count].data = daybook_text("{\"seen\":true}");
        if (++count < CLI_BENCH_BATCH_COUNT && i + 1 < bench->event_count) continue;
        outcome = append(bench, store, events, count);
        count = 0;
        cli_progress_update(&progress, i + 1, bench->event_count);
    }
    cli_progress_end(&progress);
    free(events);
    free(subjects);
    if (outcome != CLI_FINE) return outcome;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = daybook_flush(store, &error);
    while (status == DAYBOOK_OK) status = daybook_maintain(store, &error);
    return status == DAYBOOK_END ? CLI_FINE : cli_fail_error(bench->context, status, &error, NULL);
}

// The row is a process of its own, so its peak is the store's; the floor is the peak with an empty store
// open.
int cli_bench_memory(cli_bench *bench, cli_bench_result *result_out) {
    daybook_store *store;
    int outcome = cli_bench_open(bench, "memory", &store);
    if (outcome != CLI_FINE) return outcome;
    outcome = cli_bench_add_stream(bench, store, "THINGS", "things.>");
    result_out->floor = peak_mib();
    if (outcome == CLI_FINE) outcome = load_subjects(bench, store);
    cli_bench_pool none = {.events = NULL};
    outcome = end(bench, "memory", store, &none, outcome);
    result_out->value = peak_mib();
    return outcome;
}
