// SPDX-License-Identifier: Apache-2.0
// The same work on every peer, measured the same way; one JSON line per row on standard output.
//
//     peer-x --directory DIR [--mode MODE] [--fill EVENTS] [--seconds S] [--clients 1,8,64]
//
// batch    one client, atomic appends of BATCH events (BATCH / PEER_STEPS new aggregates each), until `fill`
// append   n clients, one event per append, each client through aggregates of its own, for `seconds`
// load     one client, a random aggregate of the fill, every event of it checked, for `seconds`
// replay   one client, everything once; the number of events must be what was appended
// disk     bytes in the directory after closing, per event
//
// Latencies are kept one by one and sorted at the end; a thread keeps at most SAMPLES_MAX.
#define _XOPEN_SOURCE 700 // nftw
#include "peer.h"

#include <ftw.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { BATCH = 500, CLIENTS_MAX = 1024, SAMPLES_MAX = 1 << 20, DATA_SIZE = 256 };

static const char *const types[PEER_STEPS] = {"placed",  "priced", "reserved",  "paid",     "packed",
                                              "shipped", "moved",  "delivered", "reviewed", "closed"};
static atomic_uint_fast64_t next_aggregate = 1;
static atomic_uint_fast64_t next_id = 1;

_Noreturn void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", peer_here.name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

void *need(void *memory) {
    if (memory == NULL) die("out of memory");
    return memory;
}

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void name_aggregate(uint64_t aggregate, char out[32]) {
    snprintf(out, 32, "order-%llu", (unsigned long long)aggregate);
}

// A UUID of version 7's shape whose time part grows as real ones do, and whose rest is spread.
static void name_id(char out[PEER_ID_SIZE + 1]) {
    uint64_t number = atomic_fetch_add(&next_id, 1);
    uint64_t spread = number * 0x9E3779B97F4A7C15u;
    uint64_t ms = 1700000000000u + number / 64;
    snprintf(out, PEER_ID_SIZE + 1, "%08x-%04x-7%03x-a%03x-%012llx", (unsigned)(ms >> 16),
             (unsigned)(ms & 0xFFFF), (unsigned)(spread & 0xFFF), (unsigned)(spread >> 12 & 0xFFF),
             (unsigned long long)(spread >> 16 & 0xFFFFFFFFFFFFu));
}

// 256 bytes of JSON that depend on the event alone, with words as a text has them, so that a store that
// compresses has the work and the gain it would have in life.
static void make_data(uint64_t aggregate, unsigned version, char out[DATA_SIZE]) {
    static const char *const words[] = {"blue",      "paper",  "to be", "left",    "with", "the",
                                        "neighbour", "green",  "large", "fragile", "card", "gift",
                                        "door",      "please", "ring",  "small"};
    uint64_t state = (aggregate * PEER_STEPS + version) * 0x9E3779B97F4A7C15u;
    int used =
        snprintf(out, DATA_SIZE,
                 "{\"order\":%llu,\"step\":%u,\"customer\":\"c-%06llx\",\"amount\":%llu.%02llu,\"note\":\"",
                 (unsigned long long)aggregate, version, (unsigned long long)(state >> 40),
                 (unsigned long long)(state >> 20 & 1023), (unsigned long long)(state >> 8 & 63));
    size_t at = (size_t)used;
    while (at < DATA_SIZE - 2) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        const char *word = words[state >> 60];
        for (; *word != '\0' && at < DATA_SIZE - 2; word++) out[at++] = *word;
        if (at < DATA_SIZE - 2) out[at++] = ' ';
    }
    memcpy(out + DATA_SIZE - 2, "\"}", 2);
}

// `data` of DATA_SIZE bytes lives as long as the event.
static void make_event(uint64_t aggregate, unsigned version, char *data, peer_event *event) {
    make_data(aggregate, version, data);
    name_id(event->id);
    name_aggregate(aggregate, event->aggregate);
    event->version = version;
    event->type = types[version - 1];
    event->data = data;
    event->data_size = DATA_SIZE;
}

// ---- Reporting --------------------------------------------------------------------------------------------

static int compare(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return a < b ? -1 : a > b;
}

static void report(const char *row, unsigned clients, double value, const char *unit, uint32_t *samples,
                   size_t sample_count) {
    printf("{\"peer\":\"%s\",\"version\":\"%s\",\"settings\":\"%s\",\"row\":\"%s\",\"clients\":%u,"
           "\"value\":%.2f,\"unit\":\"%s\"",
           peer_here.name, peer_here.version(), peer_here.settings, row, clients, value, unit);
    if (sample_count > 0) {
        qsort(samples, sample_count, sizeof *samples, compare);
        printf(",\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f", samples[sample_count / 2] / 1e3,
               samples[sample_count * 99 / 100] / 1e3, samples[sample_count - 1] / 1e3);
    }
    printf("}\n");
    fflush(stdout);
}

// ---- Appending --------------------------------------------------------------------------------------------

static uint64_t fill(void *store, uint64_t event_count) {
    void *client = peer_here.join(store);
    peer_event *events = need(calloc(BATCH, sizeof *events));
    char(*data)[DATA_SIZE] = need(calloc(BATCH, sizeof *data));
    uint32_t *samples = need(calloc(event_count / BATCH + 1, sizeof *samples));
    size_t sample_count = 0;
    uint64_t done = 0;
    int64_t start_ns = now_ns();
    while (done < event_count) {
        for (unsigned i = 0; i < BATCH; i += PEER_STEPS) {
            uint64_t aggregate = atomic_fetch_add(&next_aggregate, 1);
            for (unsigned step = 0; step < PEER_STEPS; step++)
                make_event(aggregate, step + 1, data[i + step], &events[i + step]);
        }
        int64_t before_ns = now_ns();
        peer_here.append(client, events, BATCH);
        samples[sample_count++] = (uint32_t)(now_ns() - before_ns);
        done += BATCH;
    }
    double seconds = (double)(now_ns() - start_ns) / 1e9;
    report("batch", 1, (double)done / seconds, "events/s", samples, sample_count);
    peer_here.leave(client);
    free(data);
    free(samples);
    free(events);
    return done;
}

typedef struct writer {
    void *store;
    pthread_barrier_t *begin;
    const atomic_bool *is_over;
    uint32_t *samples;
    size_t sample_count;
    uint64_t count;
    pthread_t thread;
} writer;

static void *write_events(void *context) {
    writer *own = context;
    void *client = peer_here.join(own->store);
    peer_event event;
    char data[DATA_SIZE];
    pthread_barrier_wait(own->begin);
    uint64_t aggregate = 0;
    unsigned version = PEER_STEPS;
    while (!atomic_load_explicit(own->is_over, memory_order_relaxed)) {
        if (version == PEER_STEPS) {
            aggregate = atomic_fetch_add(&next_aggregate, 1);
            version = 0;
        }
        make_event(aggregate, ++version, data, &event);
        int64_t before_ns = now_ns();
        peer_here.append(client, &event, 1);
        if (own->sample_count < SAMPLES_MAX)
            own->samples[own->sample_count++] = (uint32_t)(now_ns() - before_ns);
        own->count++;
    }
    peer_here.leave(client);
    return NULL;
}

static void sleep_seconds(double seconds) {
    struct timespec pause = {.tv_sec = (time_t)seconds,
                             .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&pause, NULL);
}

static uint64_t append_with(void *store, unsigned client_count, double seconds) {
    writer *writers = need(calloc(client_count, sizeof *writers));
    pthread_barrier_t begin;
    pthread_barrier_init(&begin, NULL, client_count + 1);
    atomic_bool is_over = false;
    for (unsigned i = 0; i < client_count; i++) {
        writers[i] = (writer){.store = store, .begin = &begin, .is_over = &is_over};
        writers[i].samples = need(malloc(SAMPLES_MAX * sizeof(uint32_t)));
        if (pthread_create(&writers[i].thread, NULL, write_events, &writers[i]) != 0) die("no thread");
    }
    pthread_barrier_wait(&begin);
    int64_t start_ns = now_ns();
    sleep_seconds(seconds);
    atomic_store(&is_over, true);
    uint64_t count = 0;
    size_t sample_count = 0;
    for (unsigned i = 0; i < client_count; i++) {
        pthread_join(writers[i].thread, NULL);
        count += writers[i].count;
        sample_count += writers[i].sample_count;
    }
    double took = (double)(now_ns() - start_ns) / 1e9;
    uint32_t *samples = need(malloc((sample_count + 1) * sizeof *samples));
    sample_count = 0;
    for (unsigned i = 0; i < client_count; i++) {
        memcpy(samples + sample_count, writers[i].samples, writers[i].sample_count * sizeof *samples);
        sample_count += writers[i].sample_count;
        free(writers[i].samples);
    }
    report("append", client_count, (double)count / took, "commits/s", samples, sample_count);
    free(samples);
    free(writers);
    pthread_barrier_destroy(&begin);
    return count;
}

// ---- Reading ----------------------------------------------------------------------------------------------

typedef struct loaded {
    unsigned count;
    char data[PEER_STEPS][DATA_SIZE]; // what is due
} loaded;

static void check_step(void *context, unsigned version, const void *read, size_t read_size) {
    loaded *due = context;
    if (version != due->count + 1 || version > PEER_STEPS || read_size != DATA_SIZE ||
        memcmp(read, due->data[due->count], DATA_SIZE) != 0)
        die("an event came back wrong: version %u where %u was due", version, due->count + 1);
    due->count++;
}

static void load(void *store, uint64_t aggregate_count, double seconds) {
    void *client = peer_here.join(store);
    uint32_t *samples = need(malloc(SAMPLES_MAX * sizeof *samples));
    size_t sample_count = 0;
    uint64_t state = 88172645463325252u, count = 0;
    int64_t start_ns = now_ns(), now = start_ns;
    while ((double)(now - start_ns) < seconds * 1e9) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char aggregate[32];
        uint64_t number = state % aggregate_count + 1;
        name_aggregate(number, aggregate);
        loaded due = {.count = 0};
        for (unsigned step = 0; step < PEER_STEPS; step++) make_data(number, step + 1, due.data[step]);
        int64_t before_ns = now_ns();
        peer_here.load(client, aggregate, check_step, &due);
        now = now_ns();
        if (due.count != PEER_STEPS)
            die("%s came back with %u events of %u", aggregate, due.count, PEER_STEPS);
        if (sample_count < SAMPLES_MAX) samples[sample_count++] = (uint32_t)(now - before_ns);
        count++;
    }
    report("load", 1, (double)count * 1e9 / (double)(now - start_ns), "aggregates/s", samples, sample_count);
    free(samples);
    peer_here.leave(client);
}

static void count_event(void *context, unsigned version, const void *read, size_t read_size) {
    (void)version;
    if (read_size != DATA_SIZE || ((const char *)read)[0] != '{')
        die("an event came back wrong in the replay");
    ++*(uint64_t *)context;
}

static void replay(void *store, uint64_t event_count) {
    void *client = peer_here.join(store);
    uint64_t seen = 0;
    int64_t start_ns = now_ns();
    peer_here.replay(client, count_event, &seen);
    double seconds = (double)(now_ns() - start_ns) / 1e9;
    if (seen != event_count)
        die("the replay gave %llu events of %llu", (unsigned long long)seen, (unsigned long long)event_count);
    report("replay", 1, (double)seen / seconds, "events/s", NULL, 0);
    peer_here.leave(client);
}

static uint64_t disk_bytes;

static int add_file(const char *path, const struct stat *status, int kind, struct FTW *where) {
    (void)path, (void)where;
    if (kind == FTW_F) disk_bytes += (uint64_t)status->st_blocks * 512;
    return 0;
}

int main(int argc, char **argv) {
    const char *directory = NULL, *mode = "", *clients = "1,8,64";
    uint64_t fill_count = 200000;
    double seconds = 5;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--directory") == 0)
            directory = argv[i + 1];
        else if (strcmp(argv[i], "--mode") == 0)
            mode = argv[i + 1];
        else if (strcmp(argv[i], "--clients") == 0)
            clients = argv[i + 1];
        else if (strcmp(argv[i], "--fill") == 0)
            fill_count = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--seconds") == 0)
            seconds = strtod(argv[i + 1], NULL);
        else
            die("unknown option %s", argv[i]);
    }
    if (directory == NULL || fill_count < BATCH || seconds <= 0)
        die("--directory, --fill or --seconds is missing");

    void *store = peer_here.open(directory, mode);
    uint64_t count = fill(store, fill_count);
    uint64_t aggregate_count = count / PEER_STEPS;
    for (const char *at = clients; *at != '\0';) {
        char *end;
        unsigned long client_count = strtoul(at, &end, 10);
        if (end == at || client_count == 0 || client_count > CLIENTS_MAX) die("--clients is malformed");
        count += append_with(store, (unsigned)client_count, seconds);
        at = *end == ',' ? end + 1 : end;
    }
    load(store, aggregate_count, seconds);
    replay(store, count);
    peer_here.close(store);
    if (nftw(directory, add_file, 16, FTW_PHYS) != 0) die("cannot measure %s", directory);
    report("disk", 0, (double)disk_bytes / (double)count, "bytes/event", NULL, 0);
    return 0;
}
