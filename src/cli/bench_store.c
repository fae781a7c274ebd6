// SPDX-License-Identifier: Apache-2.0
//
// Stores and events the rows of `bench` work on, and the latencies they collect. Events come from a seeded
// generator, so two runs write the same bytes; texts are made of words and numbers, so they compress like
// texts and not like zeros.
#include "cli/bench.h"

#include "cli/progress.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define IN_FLIGHT_MAX 4u // batches while a store is filled
#define ORDERS_PREFIX "orders-"

// --- Latencies -------------------------------------------------------------------------------------------

void cli_latencies_report(const cli_latencies *latencies, cli_bench_result *result_out) {
    result_out->has_percentiles = latencies->count > 0;
    result_out->p50 = cli_latencies_percentile(latencies, 0.5);
    result_out->p99 = cli_latencies_percentile(latencies, 0.99);
    result_out->p999 = cli_latencies_percentile(latencies, 0.999);
}

// --- Folders and stores ----------------------------------------------------------------------------------

void cli_bench_path(const cli_bench *bench, const char *name, char out[CLI_BENCH_PATH_SIZE]) {
    bool is_kept = bench->kept != NULL && strncmp(name, ORDERS_PREFIX, sizeof ORDERS_PREFIX - 1) == 0;
    int size = snprintf(out, CLI_BENCH_PATH_SIZE, "%s/%s", is_kept ? bench->kept : bench->directory, name);
    if (size < 0 || size >= CLI_BENCH_PATH_SIZE) out[0] = '\0'; // an empty path opens nothing
}

static int remove_entries(int directory) {
    DIR *entries = fdopendir(directory);
    if (entries == NULL) {
        int failed = errno;
        (void)close(directory);
        return failed;
    }
    int failed = 0;
    for (struct dirent *entry; (entry = readdir(entries)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        int child = openat(dirfd(entries), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int error = child >= 0 ? remove_entries(child) : 0;
        if (unlinkat(dirfd(entries), entry->d_name, child >= 0 ? AT_REMOVEDIR : 0) != 0 && error == 0)
            error = errno;
        if (failed == 0) failed = error;
    }
    (void)closedir(entries);
    return failed;
}

int cli_bench_remove_tree(const char *path) {
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (directory < 0) return errno == ENOENT ? 0 : errno;
    int failed = remove_entries(directory);
    if (rmdir(path) != 0 && failed == 0) failed = errno;
    return failed;
}

int cli_bench_open(cli_bench *bench, const char *name, daybook_store **store_out) {
    char path[CLI_BENCH_PATH_SIZE];
    cli_bench_path(bench, name, path);
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = daybook_open(path, NULL, store_out, &error);
    return status == DAYBOOK_OK ? CLI_FINE
                                : cli_fail_error(bench->context, status, &error, "cannot open the store");
}

int cli_bench_close(cli_bench *bench, daybook_store *store) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = daybook_close(store, &error);
    return status == DAYBOOK_OK ? CLI_FINE
                                : cli_fail_error(bench->context, status, &error, "cannot close the store");
}

int cli_bench_add_stream(cli_bench *bench, daybook_store *store, const char *name, const char *subjects) {
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    daybook_slice captured = daybook_text(subjects);
    config.name = daybook_text(name);
    config.subjects = &captured;
    config.subject_count = 1;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = daybook_stream_add(store, &config, &error);
    return status == DAYBOOK_OK ? CLI_FINE : cli_fail_error(bench->context, status, &error, NULL);
}

// --- Events ----------------------------------------------------------------------------------------------

// splitmix64.
uint64_t cli_bench_draw(cli_bench_random *random) {
    uint64_t z = (random->state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static const char *const words[64] = {
    "amber",   "basin",  "cedar",   "delta",   "ember",  "fjord",   "grove",  "haven",   "inlet",  "jetty",
    "knoll",   "lagoon", "maple",   "north",   "ocean",  "prism",   "quartz", "ridge",   "slate",  "tundra",
    "umber",   "valley", "willow",  "xenon",   "yarrow", "zephyr",  "anchor", "beacon",  "canyon", "drift",
    "estuary", "forest", "glacier", "harbour", "island", "juniper", "kelp",   "lantern", "meadow", "nectar",
    "orchard", "pebble", "quarry",  "river",   "summit", "thicket", "upland", "violet",  "wharf",  "yonder",
    "zenith",  "arbor",  "bramble", "cobalt",  "dune",   "echo",    "flint",  "garnet",  "hollow", "iris",
    "jasper",  "karst",  "lichen",  "moraine",
};

// Words until `size` bytes are full, exactly.
static void fill_words(cli_bench_random *random, char *to, size_t size) {
    size_t at = 0;
    while (at < size) {
        const char *word = words[cli_bench_draw(random) % 64];
        size_t length = strlen(word);
        if (length > size - at) length = size - at;
        memcpy(to + at, word, length);
        at += length;
        if (at < size) to[at++] = ' ';
    }
}

int cli_bench_pool_make(cli_bench *bench, size_t count, cli_bench_pool *pool_out) {
    enum { SUBJECT_SIZE = 32, STRIDE = SUBJECT_SIZE + CLI_BENCH_DATA_SIZE };
    *pool_out = (cli_bench_pool){.count = count};
    pool_out->events = calloc(count, sizeof *pool_out->events);
    pool_out->text = malloc(count * STRIDE);
    if (pool_out->events == NULL || pool_out->text == NULL) {
        cli_bench_pool_free(pool_out);
        return cli_fail(bench->context, DAYBOOK_ENOMEM, "out of memory");
    }
    cli_bench_random random = {.state = 256};
    for (size_t i = 0; i < count; i++) {
        daybook_event *event = &pool_out->events[i];
        char *text = pool_out->text + i * STRIDE, *data = text + SUBJECT_SIZE;
        daybook_event_init(event);
        (void)snprintf(text, SUBJECT_SIZE, "bench.%zu.measured", i % 1000);
        event->subject = daybook_text(text);
        int head = snprintf(data, CLI_BENCH_DATA_SIZE,
                            "{\"order\":\"%016llx\",\"amount\":%llu.%02llu,\"note\":\"",
                            (unsigned long long)cli_bench_draw(&random),
                            (unsigned long long)(cli_bench_draw(&random) % 10000),
                            (unsigned long long)(cli_bench_draw(&random) % 100));
        fill_words(&random, data + head, CLI_BENCH_DATA_SIZE - 2 - (size_t)head);
        memcpy(data + CLI_BENCH_DATA_SIZE - 2, "\"}", 2);
        event->data = daybook_bytes(data, CLI_BENCH_DATA_SIZE);
    }
    return CLI_FINE;
}

void cli_bench_pool_free(cli_bench_pool *pool) {
    free(pool->events);
    free(pool->text);
    *pool = (cli_bench_pool){.events = NULL};
}

static daybook_slice take_text(char **at, int size) {
    daybook_slice text = {*at, (size_t)size};
    *at += size + 1;
    return text;
}

void cli_bench_make_order_event(uint64_t order, unsigned step, uint64_t rare_every,
                                cli_bench_order_event *out) {
    static const char *const types[CLI_BENCH_ORDER_EVENT_COUNT] = {
        "placed", "confirmed", "paid",    "reserved",  "picked",
        "packed", "shipped",   "scanned", "delivered", "reviewed"};
    uint64_t number = (order - 1) * CLI_BENCH_ORDER_EVENT_COUNT + step;
    cli_bench_random random = {.state = number * UINT64_C(0xD1342543DE82EF95)};
    uint64_t a = cli_bench_draw(&random), b = cli_bench_draw(&random), c = cli_bench_draw(&random);
    daybook_event_init(&out->event);
    char *at = out->text, *end = out->text + sizeof out->text;
    const char *type = types[step % CLI_BENCH_ORDER_EVENT_COUNT];
    out->event.subject =
        take_text(&at, snprintf(at, (size_t)(end - at), "orders.%llu.%s", (unsigned long long)order, type));
    out->tags[0] =
        take_text(&at, snprintf(at, (size_t)(end - at), "customer:%llu", (unsigned long long)(a % 200000)));
    out->tags[1] =
        take_text(&at, snprintf(at, (size_t)(end - at), "sku:%llu", (unsigned long long)(b % 5000)));
    out->tags[2] =
        take_text(&at, snprintf(at, (size_t)(end - at), "region:%llu", (unsigned long long)(c % 40)));
    out->event.tags = out->tags;
    out->event.tag_count = 3;
    if (number % rare_every == 0) {
        out->tags[3] = daybook_text("rare:yes");
        out->event.tag_count = 4;
    }
    char note[144];
    fill_words(&random, note, sizeof note - 1);
    note[sizeof note - 1] = '\0';
    out->event.data = take_text(
        &at, snprintf(at, (size_t)(end - at),
                      "{\"status\":\"%s\",\"customer\":%llu,\"sku\":\"sku-%llu\",\"quantity\":%llu,\"price\":"
                      "%llu.%02llu,"
                      "\"carrier\":\"%s\",\"reference\":\"%016llx\",\"note\":\"%s\"}",
                      type, (unsigned long long)(a % 200000), (unsigned long long)(b % 5000),
                      (unsigned long long)(a >> 40) % 9 + 1, (unsigned long long)(b >> 40) % 500,
                      (unsigned long long)(b >> 33) % 100, words[c >> 58], (unsigned long long)c, note));
    out->json_size = sizeof "{\"subject\":\"\",\"tags\":[],\"data\":}" - 1 + out->event.subject.size +
                     out->event.data.size;
    for (size_t i = 0; i < out->event.tag_count; i++) out->json_size += out->tags[i].size + 2 + (i > 0);
}

uint64_t cli_bench_order_count(const cli_bench *bench) {
    uint64_t count = bench->event_count / CLI_BENCH_ORDER_EVENT_COUNT;
    return count == 0 ? 1 : count;
}

uint64_t cli_bench_rare_every(const cli_bench *bench) {
    // A hundred events or so carry it; odd, so that it does not always meet the same type.
    return bench->event_count / 100 | 1;
}

// --- The store of orders ---------------------------------------------------------------------------------

// Batches go out while the next one is made. Guarded by mutex but for the events.
typedef struct filling {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    unsigned in_flight;
    daybook_status status;
    daybook_error error;
} filling;

static void on_filled(void *context, daybook_status status, const daybook_receipt *receipts, size_t count,
                      const daybook_error *error) {
    (void)receipts, (void)count;
    filling *fill = context;
    (void)pthread_mutex_lock(&fill->mutex);
    if (status != DAYBOOK_OK && fill->status == DAYBOOK_OK) {
        fill->status = status;
        if (error != NULL) fill->error = *error;
    }
    fill->in_flight--;
    (void)pthread_cond_signal(&fill->changed);
    (void)pthread_mutex_unlock(&fill->mutex);
}

static daybook_status wait_filled(filling *fill, unsigned most) {
    (void)pthread_mutex_lock(&fill->mutex);
    while (fill->in_flight > most) (void)pthread_cond_wait(&fill->changed, &fill->mutex);
    daybook_status status = fill->status;
    (void)pthread_mutex_unlock(&fill->mutex);
    return status;
}

static daybook_status submit_filled(filling *fill, daybook_store *store, const daybook_event *events,
                                    size_t count) {
    daybook_status status = wait_filled(fill, IN_FLIGHT_MAX - 1);
    if (status != DAYBOOK_OK) return status;
    (void)pthread_mutex_lock(&fill->mutex);
    fill->in_flight++;
    (void)pthread_mutex_unlock(&fill->mutex);
    status = daybook_append_submit(store, events, count, NULL, on_filled, fill, &fill->error);
    if (status == DAYBOOK_OK) return DAYBOOK_OK;
    (void)pthread_mutex_lock(&fill->mutex);
    fill->in_flight--;
    fill->status = status;
    (void)pthread_mutex_unlock(&fill->mutex);
    return status;
}

static daybook_status fill_orders(cli_bench *bench, daybook_store *store, bool spread, filling *fill) {
    uint64_t orders = cli_bench_order_count(bench), rare_every = cli_bench_rare_every(bench);
    uint64_t total = orders * CLI_BENCH_ORDER_EVENT_COUNT;
    cli_bench_order_event *made = calloc(CLI_BENCH_BATCH_COUNT, sizeof *made);
    daybook_event *events = calloc(CLI_BENCH_BATCH_COUNT, sizeof *events);
    daybook_status status = made == NULL || events == NULL ? DAYBOOK_ENOMEM : DAYBOOK_OK;
    cli_progress progress;
    cli_progress_init(&progress, bench->context, "filling a store", "events");
    size_t count = 0;
    for (uint64_t i = 0; i < total && status == DAYBOOK_OK; i++) {
        uint64_t order = spread ? i % orders + 1 : i / CLI_BENCH_ORDER_EVENT_COUNT + 1;
        unsigned step = (unsigned)(spread ? i / orders : i % CLI_BENCH_ORDER_EVENT_COUNT);
        cli_bench_make_order_event(order, step, rare_every, &made[count]);
        events[count] = made[count].event;
        if (++count < CLI_BENCH_BATCH_COUNT && i + 1 < total) continue;
        status = submit_filled(fill, store, events, count);
        count = 0;
        cli_progress_update(&progress, i + 1, total);
    }
    daybook_status last = wait_filled(fill, 0);
    cli_progress_end(&progress);
    free(made);
    free(events);
    return status == DAYBOOK_OK ? last : status;
}

// Rows are processes, so what is built is known by a folder of the final name.
int cli_bench_orders(cli_bench *bench, bool spread, char name_out[CLI_BENCH_NAME_SIZE]) {
    const char *unfinished = ORDERS_PREFIX "unfinished";
    char path[CLI_BENCH_PATH_SIZE], unfinished_path[CLI_BENCH_PATH_SIZE];
    (void)snprintf(name_out, CLI_BENCH_NAME_SIZE, ORDERS_PREFIX "%s-%llu", spread ? "apart" : "together",
                   (unsigned long long)bench->event_count);
    cli_bench_path(bench, name_out, path);
    cli_bench_path(bench, unfinished, unfinished_path);
    struct stat status_of_path;
    if (stat(path, &status_of_path) == 0) return CLI_FINE;
    // What an interrupted run left in a kept folder.
    int failed = cli_bench_remove_tree(unfinished_path);
    if (failed != 0)
        return cli_fail(bench->context, DAYBOOK_EIO, "cannot remove %s: %s", unfinished_path,
                        strerror(failed));
    daybook_store *store;
    int outcome = cli_bench_open(bench, unfinished, &store);
    if (outcome != CLI_FINE) return outcome;
    outcome = cli_bench_add_stream(bench, store, "ORDERS", "orders.>");
    if (outcome == CLI_FINE) {
        filling fill = {.in_flight = 0, .status = DAYBOOK_OK};
        daybook_error_init(&fill.error);
        (void)pthread_mutex_init(&fill.mutex, NULL);
        (void)pthread_cond_init(&fill.changed, NULL);
        daybook_status status = fill_orders(bench, store, spread, &fill);
        // Rows about reading measure the sealed store, not what was left to do in the background.
        if (status == DAYBOOK_OK) status = daybook_flush(store, &fill.error);
        while (status == DAYBOOK_OK) status = daybook_maintain(store, &fill.error);
        if (status != DAYBOOK_END)
            outcome = cli_fail_error(bench->context, status, &fill.error, "cannot fill a store");
        (void)pthread_cond_destroy(&fill.changed);
        (void)pthread_mutex_destroy(&fill.mutex);
    }
    int closed = cli_bench_close(bench, store);
    if (outcome == CLI_FINE) outcome = closed;
    if (outcome == CLI_FINE && rename(unfinished_path, path) != 0)
        outcome =
            cli_fail(bench->context, DAYBOOK_EIO, "cannot rename %s: %s", unfinished_path, strerror(errno));
    return outcome;
}
