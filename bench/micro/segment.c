// SPDX-License-Identifier: Apache-2.0
// How fast segments are written, merged and searched. Not a test.
//
//     segment DIRECTORY [EVENTS_PER_SEGMENT [SEGMENTS]]
//
// Writes SEGMENTS segments of random order events (about 256 bytes of JSON, three tags, ids made by the
// store), merges them, and measures look-ups and loads. Removes its files. In the environment, MEMORY_MAX
// bounds the gathering of terms, KEEP keeps the files, WRITE_ONLY stops after writing.
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "segment/segment.h"

static uint64_t random_state = 1;

static uint64_t random_below(uint64_t bound) {
    uint64_t mixed = random_state += UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (mixed ^ (mixed >> 31)) % bound;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time); // one thread; others may share the machine
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void check(daybook_status status, const daybook_error *error) {
    if (status == DAYBOOK_OK) return;
    fprintf(stderr, "%s: %s\n", daybook_status_name(status), error->message);
    exit(1);
}

typedef struct open_order {
    unsigned id;
    unsigned step;
    char correlation[37];
    char last_id[37];
} open_order;

enum { OPEN_ORDERS = 500 };
static open_order orders[OPEN_ORDERS];
static unsigned next_order = 1;

static void make_event(uint64_t position, int64_t now_ns, dbk_buf *buf, dbk_event *event_out) {
    static const char *types[] = {"placed", "line.added", "line.added", "paid",
                                  "packed", "shipped",    "delivered"};
    static const char *cities[] = {"Berlin", "Hamburg", "Lisbon", "Kyoto", "Oslo", "Quito"};
    open_order *order = &orders[random_below(OPEN_ORDERS)];
    uint8_t bytes[16];
    if (order->step == 0) {
        order->id = next_order++;
        for (int i = 0; i < 16; i++) bytes[i] = (uint8_t)random_below(256);
        dbk_uuid uuid;
        memcpy(uuid.bytes, bytes, 16);
        dbk_uuid_format(&uuid, order->correlation);
        order->last_id[0] = '\0';
    }
    char subject[64], data[512], tags[3][48];
    snprintf(subject, sizeof subject, "orders.%u.%s", order->id, types[order->step]);
    snprintf(data, sizeof data,
             "{\"order\":%u,\"customer\":\"customer-%u\",\"amount\":%u.%02u,\"currency\":\"EUR\",\"city\":\"%"
             "s\",\"line\":{\"sku\":"
             "\"SKU-%06u\",\"quantity\":%u,\"price\":%u.99},\"note\":\"please leave with the neighbour "
             "%x\",\"channel\":\"web\"}",
             order->id, (unsigned)random_below(50000), (unsigned)random_below(500),
             (unsigned)random_below(100), cities[random_below(6)], (unsigned)random_below(5000),
             (unsigned)random_below(9), (unsigned)random_below(200), (unsigned)random_below(1u << 31));
    snprintf(tags[0], sizeof tags[0], "customer:%u", (unsigned)(order->id % 50000));
    snprintf(tags[1], sizeof tags[1], "order:%u", order->id);
    snprintf(tags[2], sizeof tags[2], "region:%u", (unsigned)random_below(20));
    daybook_slice tag_slices[3] = {daybook_text(tags[0]), daybook_text(tags[1]), daybook_text(tags[2])};
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    event.data = daybook_text(data);
    event.tags = tag_slices;
    event.tag_count = 3;
    event.correlation = daybook_text(order->correlation);
    event.causation = daybook_text(order->last_id);
    event.actor = daybook_text(random_below(2) ? "web" : "warehouse");
    uint8_t random[10];
    for (int i = 0; i < 10; i++) random[i] = (uint8_t)random_below(256);
    dbk_uuid made;
    dbk_uuid_make_v7(now_ns, random, &made);
    size_t before = buf->size;
    uint32_t aggregate_size = (uint32_t)(strlen(subject) - strlen(types[order->step]) - 1);
    if (dbk_event_encode_body(&event, aggregate_size, made.bytes, buf, NULL) != DAYBOOK_OK) exit(1);
    dbk_uuid_format(&made, order->last_id);
    memset(event_out, 0, sizeof *event_out);
    event_out->stream_id = 1;
    event_out->position = position;
    event_out->seq = position;
    event_out->version = ++order->step;
    event_out->recorded_ns = now_ns;
    event_out->body =
        daybook_bytes((const void *)before, buf->size - before); // an offset until the buffer rests
    if (order->step == 7) order->step = 0;
}

static dbk_liveness live(void *context, uint32_t stream_id, uint64_t position) {
    (void)stream_id;
    uint64_t every = *(const uint64_t *)context;
    return every != 0 && position % every == 0 ? DBK_REMOVED : DBK_LIVE;
}

static dbk_segment *merge(dbk_segment_config *config, dbk_cache *cache, dbk_segment **inputs, size_t count,
                          uint64_t every) {
    daybook_error error;
    dbk_segment_summary summary;
    struct rusage before;
    getrusage(RUSAGE_SELF, &before);
    printf("resident  %8ld KiB at most before\n", before.ru_maxrss);
    double begin = now();
    check(dbk_segment_merge(config, inputs, count, dbk_segment_get_summary(inputs[0])->position_first,
                            dbk_segment_get_summary(inputs[count - 1])->position_last, live, &every, 0, 0,
                            NULL, NULL, daybook_text(""), &summary, &error),
          &error);
    double took = now() - begin;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("resident  %8ld KiB at most so far\n", usage.ru_maxrss);
    printf("merge     %8.0f events/s  %zu segments, %llu events, %.2f s, %llu bytes, removed every %llu\n",
           (double)summary.event_count / took, count, (unsigned long long)summary.event_count, took,
           (unsigned long long)summary.file_bytes, (unsigned long long)every);
    dbk_segment *merged;
    begin = now();
    check(dbk_segment_open(config, cache, &merged, &error), &error);
    printf("open      %8.1f us\n", (now() - begin) * 1e6);
    return merged;
}

static void look_up(dbk_segment *segment, uint64_t position_last) {
    daybook_error error;
    enum { LOOKUPS = 200000 };
    dbk_term term;
    dbk_term_entry entry;
    for (int round = 0; round < 2; round++) {
        double begin = now();
        for (int i = 0; i < LOOKUPS; i++) {
            char name[40];
            snprintf(name, sizeof name, "orders.x%u", (unsigned)random_below(100000));
            dbk_term_make(&term, DBK_TERM_AGGREGATE, 1, daybook_text(name));
            (void)dbk_segment_find_term(segment, dbk_term_slice(&term), &entry, &error);
        }
        double took = now() - begin;
        printf("absent    %8.3f us\n", took / LOOKUPS * 1e6);
        begin = now();
        unsigned found = 0;
        for (int i = 0; i < LOOKUPS; i++) {
            char name[40];
            snprintf(name, sizeof name, "orders.%u", 1 + (unsigned)random_below(next_order - 1));
            dbk_term_make(&term, DBK_TERM_AGGREGATE, 1, daybook_text(name));
            found += dbk_segment_find_term(segment, dbk_term_slice(&term), &entry, &error) == DAYBOOK_OK;
        }
        took = now() - begin;
        printf("present   %8.3f us  %u found\n", took / LOOKUPS * 1e6, found);
    }
    uint32_t blocks = dbk_segment_block_count(segment);
    dbk_block_view view;
    memset(&view, 0, sizeof view);
    double begin = now();
    unsigned loads = 100000;
    for (unsigned i = 0; i < loads; i++)
        check(dbk_block_load(segment, (uint32_t)random_below(blocks), &view, &error), &error);
    printf("load      %8.3f us  a random block of %u\n", (now() - begin) / loads * 1e6, blocks);
    begin = now();
    uint64_t events = 0, bytes = 0;
    for (uint32_t i = 0; i < blocks; i++) {
        check(dbk_block_load(segment, i, &view, &error), &error);
        for (uint32_t j = 0; j < view.event_count; j++, events++) {
            dbk_event event;
            check(dbk_block_event(&view, j, &event, &error), &error);
            bytes += event.body.size;
        }
    }
    double took = now() - begin;
    printf("replay    %8.0f events/s, %.0f MB/s\n", (double)events / took, (double)bytes / took / 1e6);
    dbk_block_release(&view);
    (void)position_last;
}

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    size_t count = argc > 2 ? strtoul(argv[2], NULL, 10) : 100000,
           segments = argc > 3 ? strtoul(argv[3], NULL, 10) : 8;
    daybook_error error;
    daybook_error_init(&error);
    dbk_cache *cache;
    if (dbk_cache_new(dbk_allocator_default(), 64 << 20, &cache) != DAYBOOK_OK) return 1;
    dbk_segment_config config = {
        .allocator = dbk_allocator_default(), .vfs = daybook_vfs_posix(), .directory = argv[1]};
    if (getenv("MEMORY_MAX") != NULL) config.memory_max = strtoul(getenv("MEMORY_MAX"), NULL, 10);
    memset(config.store_uuid.bytes, 7, 16);
    dbk_segment **inputs = calloc(segments, sizeof *inputs);
    dbk_event *events = calloc(count, sizeof *events);
    dbk_slice *bodies = calloc(count, sizeof *bodies);
    dbk_buf buf;
    dbk_buf_init(&buf, dbk_allocator_default(), SIZE_MAX / 2);
    uint64_t position = 1;
    int64_t now_ns = INT64_C(1700000000000000000);
    for (size_t i = 0; i < segments; i++) {
        dbk_buf_reset(&buf);
        uint64_t first = position;
        for (size_t j = 0; j < count; j++) make_event(position++, now_ns += 20000, &buf, &events[j]);
        for (size_t j = 0; j < count; j++) {
            dbk_slice body =
                daybook_bytes(buf.data + (size_t)(uintptr_t)events[j].body.data, events[j].body.size);
            bodies[j] = body;
            check(dbk_event_decode_body(body, &events[j]), &error);
        }
        config.segment_id = i + 1;
        dbk_segment_writer *writer;
        dbk_segment_summary summary;
        double begin = now();
        check(dbk_segment_writer_new(&config, first, position - 1, &writer, &error), &error);
        check(dbk_segment_writer_train(writer, bodies, count, &error), &error);
        double trained = now();
        for (size_t j = 0; j < count; j++) check(dbk_segment_writer_add(writer, &events[j], &error), &error);
        double added = now();
        check(dbk_segment_writer_finish(writer, daybook_text(""), &summary, &error), &error);
        double end = now();
        printf("write     %8.0f events/s  train %.0f ms, add %.0f ms, finish %.0f ms; %.1f of %.1f "
               "bytes/event\n",
               (double)count / (end - begin), (trained - begin) * 1e3, (added - trained) * 1e3,
               (end - added) * 1e3, (double)summary.file_bytes / (double)count,
               (double)summary.data_bytes / (double)count);
        check(dbk_segment_open(&config, cache, &inputs[i], &error), &error);
    }
    if (getenv("WRITE_ONLY") != NULL) return 0;
    config.segment_id = 1000;
    dbk_segment *merged = merge(&config, cache, inputs, segments, 0);
    config.segment_id = 1001;
    dbk_segment *removed = merge(&config, cache, inputs, segments, 50);
    look_up(merged, position - 1);
    if (getenv("KEEP") == NULL) {
        char name[40], path[4096];
        for (uint64_t id = 1; id <= 1001; id++) {
            dbk_segment_name(id, name);
            snprintf(path, sizeof path, "%s/%s", argv[1], name);
            (void)config.vfs->unlink(config.vfs, path);
        }
    }
    for (size_t i = 0; i < segments; i++) dbk_segment_unref(inputs[i]);
    dbk_segment_unref(merged);
    dbk_segment_unref(removed);
    dbk_cache_free(cache);
    return 0;
}
