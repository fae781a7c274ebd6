// SPDX-License-Identifier: Apache-2.0
// Many threads on one store: writers that append plainly, under conditions and by submit, and followers that
// read along. Afterwards the store must hold exactly what was acknowledged: gapless sequences, one winner per
// expected version, no dynamic consistency boundary broken, and every follower saw each event once, in order,
// nothing unacknowledged missing. Runs under thread sanitizer as well.
//
// DAYBOOK_SECONDS  how long each case runs; default 3
// DAYBOOK_BUCKETS, DAYBOOK_PUTS  size of the buckets case; default 1,500 and 15,000 (full size: 10,000 and
//                                1,000,000)
#define _XOPEN_SOURCE 700 // nftw
#define _DEFAULT_SOURCE   // usleep

#include <ftw.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daybook/daybook.h"
#include "lib/real_store.h"
#include "model/random.h"

enum { WRITER_COUNT = 6, FOLLOWER_COUNT = 3, AGGREGATE_COUNT = 12, SEAT_COUNT = 400, SEATS_PER_COURSE = 5 };

static void log_message(void *context, int level, daybook_slice message) {
    (void)context;
    if (getenv("DAYBOOK_TEST_LOG") != NULL)
        (void)fprintf(stderr, "log %d: %.*s\n", level, (int)message.size, (const char *)message.data);
}

static daybook_store *open_store(uint64_t memtable_bytes, uint64_t journal_bytes) {
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.memory_budget_bytes = 32 << 20;
    options.memtable_bytes = memtable_bytes;
    options.journal_max_bytes = journal_bytes;
    options.log = log_message;
    return real_open(&options);
}

static void close_store(daybook_store *store) {
    daybook_error error;
    daybook_error_init(&error);
    if (daybook_close(store, &error) != DAYBOOK_OK) fail("close: %s", error.message);
}

static void add_stream(daybook_store *store, const char *name, const char *subject, uint32_t tokens,
                       uint64_t per_subject) {
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    daybook_slice subjects = daybook_text(subject);
    config.name = daybook_text(name);
    config.subjects = &subjects;
    config.subject_count = 1;
    config.aggregate_tokens = tokens;
    config.max_msgs_per_subject = per_subject;
    daybook_error error;
    daybook_error_init(&error);
    if (daybook_stream_add(store, &config, &error) != DAYBOOK_OK) fail("stream %s: %s", name, error.message);
}

// ---- Writers and followers -------------------------------------------------------------------------------

typedef struct worker {
    daybook_store *store;
    unsigned index;
    pthread_t thread;
    random_source random;
    uint64_t acknowledged, conflicts;
    atomic_int in_flight;
    uint64_t seen, last_position;
    uint64_t next_seq;
} worker;

static atomic_bool stopping, written;
static _Atomic uint64_t acknowledged_position;
static _Atomic uint64_t version_wins[AGGREGATE_COUNT + 1];
static _Atomic uint64_t submitted_events, plain_events, seat_wins;

static void raise_acknowledged(uint64_t position) {
    uint64_t before = atomic_load(&acknowledged_position);
    while (before < position && !atomic_compare_exchange_weak(&acknowledged_position, &before, position)) {
    }
}

static void append_plain(worker *own) {
    char subject[64], data[400];
    (void)snprintf(subject, sizeof subject, "plain.%u.done", own->index);
    memset(data, 'x', sizeof data);
    daybook_event events[5];
    size_t count = random_below(&own->random, 5) + 1;
    for (size_t i = 0; i < count; i++) {
        daybook_event_init(&events[i]);
        events[i].subject = daybook_text(subject);
        events[i].data = daybook_bytes(data, random_below(&own->random, sizeof data));
    }
    daybook_receipt receipts[5];
    memset(receipts, 0, sizeof receipts);
    daybook_error error;
    daybook_error_init(&error);
    receipts[0].size = sizeof receipts[0];
    if (daybook_append(own->store, events, count, NULL, receipts, &error) != DAYBOOK_OK)
        fail("plain append: %s", error.message);
    for (size_t i = 1; i < count; i++) {
        if (receipts[i].seq != receipts[0].seq + i || receipts[i].position != receipts[0].position + i)
            fail("a batch has gaps");
    }
    own->acknowledged += count;
    atomic_fetch_add(&plain_events, count);
    raise_acknowledged(receipts[count - 1].position);
}

// Everybody guesses the next version of a few aggregates: each version must be won once.
static void append_version(worker *own) {
    unsigned aggregate = (unsigned)random_below(&own->random, AGGREGATE_COUNT) + 1;
    char subject[64];
    (void)snprintf(subject, sizeof subject, "counter.%u.raised", aggregate);
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    daybook_condition condition;
    daybook_condition_init(&condition, DAYBOOK_EXPECT_VERSION);
    condition.expected = atomic_load(&version_wins[aggregate]);
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.conditions = &condition;
    options.condition_count = 1;
    daybook_receipt receipt;
    memset(&receipt, 0, sizeof receipt);
    receipt.size = sizeof receipt;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = daybook_append(own->store, &event, 1, &options, &receipt, &error);
    if (status == DAYBOOK_ECONFLICT) {
        own->conflicts++;
        if (error.actual == condition.expected)
            fail("a conflict says that version %" PRIu64 " is there", error.actual);
        return;
    }
    if (status != DAYBOOK_OK) fail("expected version: %s", error.message);
    if (receipt.version != condition.expected + 1)
        fail("version %" PRIu64 " behind %" PRIu64, receipt.version, condition.expected);
    uint64_t expected = condition.expected;
    while (!atomic_compare_exchange_weak(&version_wins[aggregate], &expected, receipt.version)) {
        // The winner of the next version was faster here.
        if (expected >= receipt.version) break;
    }
    own->acknowledged++;
    raise_acknowledged(receipt.position);
}

// A seat of a course may be taken once: fail if an event with both tags exists. Nobody reads before.
static void append_seat(worker *own) {
    uint64_t seat = random_below(&own->random, SEAT_COUNT);
    char tag_texts[2][32], subject[64];
    (void)snprintf(tag_texts[0], sizeof tag_texts[0], "course:%" PRIu64, seat / SEATS_PER_COURSE);
    (void)snprintf(tag_texts[1], sizeof tag_texts[1], "seat:%" PRIu64, seat);
    (void)snprintf(subject, sizeof subject, "seats.%u.taken", own->index);
    daybook_slice tags[2] = {daybook_text(tag_texts[0]), daybook_text(tag_texts[1])},
                  type = daybook_text("taken");
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    event.tags = tags;
    event.tag_count = 2;
    daybook_query_item item;
    daybook_query_item_init(&item);
    item.types = &type;
    item.type_count = 1;
    item.tags = tags;
    item.tag_count = 2;
    daybook_condition condition;
    daybook_condition_init(&condition, DAYBOOK_FAIL_IF_EVENTS_MATCH);
    condition.items = &item;
    condition.item_count = 1;
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.conditions = &condition;
    options.condition_count = 1;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = daybook_append(own->store, &event, 1, &options, NULL, &error);
    if (status == DAYBOOK_ECONFLICT) {
        own->conflicts++;
    } else if (status != DAYBOOK_OK) {
        fail("seat: %s", error.message);
    } else {
        own->acknowledged++;
        atomic_fetch_add(&seat_wins, 1);
    }
}

static void submitted(void *context, daybook_status status, const daybook_receipt *receipts, size_t count,
                      const daybook_error *error) {
    worker *own = context;
    if (status != DAYBOOK_OK) fail("submitted: %s", error == NULL ? "?" : error->message);
    // Order of calls is order of commit.
    if (receipts[0].seq <= own->next_seq) fail("submitted out of order");
    own->next_seq = receipts[count - 1].seq;
    atomic_fetch_add(&submitted_events, count);
    raise_acknowledged(receipts[count - 1].position);
    atomic_fetch_sub(&own->in_flight, 1);
}

static void append_submitted(worker *own) {
    char subject[64];
    (void)snprintf(subject, sizeof subject, "submitted.%u.done", own->index);
    daybook_event events[3];
    size_t count = random_below(&own->random, 3) + 1;
    for (size_t i = 0; i < count; i++) {
        daybook_event_init(&events[i]);
        events[i].subject = daybook_text(subject);
        events[i].data = daybook_text("submitted and forgotten until its completion comes");
    }
    while (atomic_load(&own->in_flight) > 64) (void)usleep(20);
    atomic_fetch_add(&own->in_flight, 1);
    daybook_error error;
    daybook_error_init(&error);
    if (daybook_append_submit(own->store, events, count, NULL, submitted, own, &error) != DAYBOOK_OK)
        fail("submit: %s", error.message);
}

static void *write_events(void *context) {
    worker *own = context;
    while (!atomic_load(&stopping)) {
        switch (own->index == 0 ? 3 : random_below(&own->random, 3)) {
        case 0:
            append_plain(own);
            break;
        case 1:
            append_version(own);
            break;
        case 2:
            append_seat(own);
            break;
        default:
            append_submitted(own);
            break;
        }
    }
    while (atomic_load(&own->in_flight) > 0) (void)usleep(100);
    return NULL;
}

// Each event once and in order: positions are gapless here, because nothing is removed and no group is lost.
static void *follow_events(void *context) {
    worker *own = context;
    daybook_query query;
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_FOLLOW;
    daybook_error error;
    daybook_error_init(&error);
    daybook_cursor *cursor;
    if (daybook_read(own->store, &query, &cursor, &error) != DAYBOOK_OK) fail("follow: %s", error.message);
    for (;;) {
        bool last_round = atomic_load(&written);
        uint64_t must_see = atomic_load(&acknowledged_position);
        daybook_recorded_event event;
        daybook_status status = daybook_cursor_next(cursor, 20, &event, &error);
        if (status == DAYBOOK_TIMEOUT) {
            if (own->last_position < must_see)
                fail("follower %u at %" PRIu64 " is caught up, %" PRIu64 " is acknowledged", own->index,
                     own->last_position, must_see);
            if (last_round) break;
            continue;
        }
        if (status != DAYBOOK_OK) fail("follower: %s", error.message);
        if (event.position != own->last_position + 1)
            fail("follower %u: position %" PRIu64 " behind %" PRIu64, own->index, event.position,
                 own->last_position);
        own->last_position = event.position;
        own->seen++;
        if (own->index == FOLLOWER_COUNT - 1 && own->seen % 500 == 0) (void)usleep(2000);
    }
    daybook_cursor_close(cursor);
    return NULL;
}

static uint64_t read_all(daybook_store *store, const char *stream, uint64_t *last_seq_out) {
    daybook_query query;
    daybook_query_init(&query);
    query.stream = daybook_text(stream);
    daybook_cursor *cursor;
    daybook_error error;
    daybook_error_init(&error);
    if (daybook_read(store, &query, &cursor, &error) != DAYBOOK_OK) fail("read: %s", error.message);
    uint64_t versions[AGGREGATE_COUNT + 1] = {0}, count = 0;
    static bool taken[SEAT_COUNT];
    memset(taken, 0, sizeof taken);
    daybook_recorded_event event;
    daybook_status status;
    while ((status = daybook_cursor_next(cursor, 0, &event, &error)) == DAYBOOK_OK) {
        if (event.seq != ++count)
            fail("%s: seq %" PRIu64 " where %" PRIu64 " belongs", stream, event.seq, count);
        unsigned aggregate;
        uint64_t seat;
        char text[64];
        (void)snprintf(text, sizeof text, "%.*s", (int)event.event.subject.size,
                       (const char *)event.event.subject.data);
        if (sscanf(text, "counter.%u.", &aggregate) == 1) {
            if (event.version != ++versions[aggregate])
                fail("counter %u: version %" PRIu64 " where %" PRIu64 " belongs", aggregate, event.version,
                     versions[aggregate]);
        }
        for (size_t i = 0; i < event.event.tag_count; i++) {
            (void)snprintf(text, sizeof text, "%.*s", (int)event.event.tags[i].size,
                           (const char *)event.event.tags[i].data);
            if (sscanf(text, "seat:%" SCNu64, &seat) != 1) continue;
            if (taken[seat]) fail("seat %" PRIu64 " is taken twice", seat);
            taken[seat] = true;
        }
    }
    if (status != DAYBOOK_END) fail("read: %s", error.message);
    daybook_cursor_close(cursor);
    *last_seq_out = count;
    return count;
}

static void check_store(daybook_store *store, const worker *followers) {
    uint64_t plain, counters, seats, sent, unused;
    plain = read_all(store, "PLAIN", &unused);
    counters = read_all(store, "COUNTER", &unused);
    seats = read_all(store, "SEATS", &unused);
    sent = read_all(store, "SUBMITTED", &unused);
    uint64_t wins = 0;
    for (unsigned i = 1; i <= AGGREGATE_COUNT; i++) wins += atomic_load(&version_wins[i]);
    if (plain != atomic_load(&plain_events))
        fail("%" PRIu64 " plain events, %" PRIu64 " acknowledged", plain, atomic_load(&plain_events));
    if (counters != wins) fail("%" PRIu64 " counter events, %" PRIu64 " won", counters, wins);
    if (seats != atomic_load(&seat_wins))
        fail("%" PRIu64 " seats, %" PRIu64 " won", seats, atomic_load(&seat_wins));
    if (sent != atomic_load(&submitted_events))
        fail("%" PRIu64 " submitted events, %" PRIu64 " completed", sent, atomic_load(&submitted_events));
    for (unsigned i = 0; followers != NULL && i < FOLLOWER_COUNT; i++) {
        if (followers[i].seen != plain + counters + seats + sent)
            fail("follower %u saw %" PRIu64 " of %" PRIu64, i, followers[i].seen,
                 plain + counters + seats + sent);
    }
}

static void run_threads(uint64_t seconds, uint64_t seed) {
    static worker writers[WRITER_COUNT], followers[FOLLOWER_COUNT];
    daybook_store *store = open_store(256 << 10, 4 << 20);
    add_stream(store, "PLAIN", "plain.>", 2, 0);
    add_stream(store, "COUNTER", "counter.>", 2, 0);
    add_stream(store, "SEATS", "seats.>", 2, 0);
    add_stream(store, "SUBMITTED", "submitted.>", 2, 0);
    for (unsigned i = 0; i < FOLLOWER_COUNT; i++) {
        followers[i] = (worker){.store = store, .index = i};
        if (pthread_create(&followers[i].thread, NULL, follow_events, &followers[i]) != 0) fail("no thread");
    }
    for (unsigned i = 0; i < WRITER_COUNT; i++) {
        writers[i] = (worker){.store = store, .index = i};
        random_init(&writers[i].random, seed + i);
        if (pthread_create(&writers[i].thread, NULL, write_events, &writers[i]) != 0) fail("no thread");
    }
    struct timespec pause = {.tv_sec = (time_t)seconds};
    (void)nanosleep(&pause, NULL);
    atomic_store(&stopping, true);
    uint64_t conflicts = 0, acknowledged = 0;
    for (unsigned i = 0; i < WRITER_COUNT; i++) {
        (void)pthread_join(writers[i].thread, NULL);
        conflicts += writers[i].conflicts;
        acknowledged += writers[i].acknowledged;
    }
    atomic_store(&written, true);
    for (unsigned i = 0; i < FOLLOWER_COUNT; i++) (void)pthread_join(followers[i].thread, NULL);
    check_store(store, followers);
    daybook_store_info info;
    memset(&info, 0, sizeof info);
    info.size = sizeof info;
    (void)daybook_info(store, &info, NULL);
    close_store(store);
    store = open_store(256 << 10, 4 << 20);
    check_store(store, NULL);
    close_store(store);
    printf("threads: %" PRIu64 " acknowledged, %" PRIu64 " submitted, %" PRIu64 " conflicts, %" PRIu64
           " groups, %" PRIu64 " flushes, %" PRIu64 " merges, followers saw %" PRIu64 " each\n",
           acknowledged, atomic_load(&submitted_events), conflicts, info.group_count, info.flush_count,
           info.merge_count, followers[0].seen);
    real_end();
}

// ---- Buckets ---------------------------------------------------------------------------------------------

static unsigned file_count;

static int count_file(const char *entry, const struct stat *facts, int kind, struct FTW *place) {
    (void)entry, (void)facts, (void)place;
    file_count += kind == FTW_F;
    return 0;
}

static int64_t put(daybook_store *store, unsigned bucket, uint64_t key, uint64_t value) {
    char subject[64], data[128];
    (void)snprintf(subject, sizeof subject, "$KV.b%u.k%" PRIu64, bucket, key);
    (void)snprintf(data, sizeof data, "value %" PRIu64 " of bucket %u", value, bucket);
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    event.data = daybook_text(data);
    daybook_error error;
    daybook_error_init(&error);
    int64_t begin = now_ns();
    if (daybook_append(store, &event, 1, NULL, NULL, &error) != DAYBOOK_OK) fail("put: %s", error.message);
    return now_ns() - begin;
}

typedef struct putter {
    daybook_store *store;
    pthread_t thread;
    unsigned index, buckets;
    uint64_t puts;
    int64_t slowest_ns;
} putter;

enum { PUTTER_COUNT = 8 };

static void *put_values(void *context) {
    putter *own = context;
    random_source random;
    random_init(&random, own->index + 77);
    for (uint64_t i = 0; i < own->puts; i++) {
        int64_t took =
            put(own->store, (unsigned)random_below(&random, own->buckets), random_below(&random, 20), i);
        if (took > own->slowest_ns) own->slowest_ns = took;
    }
    return NULL;
}

static void run_buckets(unsigned buckets, uint64_t puts) {
    real_begin("bucket-test");
    daybook_store *store = open_store(1 << 20, 16 << 20);
    int64_t begin = now_ns();
    for (unsigned i = 0; i < buckets; i++) {
        char name[32], subject[32];
        (void)snprintf(name, sizeof name, "KV_b%u", i);
        (void)snprintf(subject, sizeof subject, "$KV.b%u.>", i);
        add_stream(store, name, subject, 0, 1);
    }
    int64_t added = now_ns();
    putter putters[PUTTER_COUNT];
    int64_t slowest = 0;
    for (unsigned i = 0; i < PUTTER_COUNT; i++) {
        putters[i] = (putter){.store = store, .index = i, .buckets = buckets, .puts = puts / PUTTER_COUNT};
        if (pthread_create(&putters[i].thread, NULL, put_values, &putters[i]) != 0) fail("no thread");
    }
    for (unsigned i = 0; i < PUTTER_COUNT; i++) {
        (void)pthread_join(putters[i].thread, NULL);
        if (putters[i].slowest_ns > slowest) slowest = putters[i].slowest_ns;
    }
    int64_t done = now_ns();
    (void)nftw(real_path, count_file, 16, FTW_PHYS);
    daybook_store_info info;
    memset(&info, 0, sizeof info);
    info.size = sizeof info;
    (void)daybook_info(store, &info, NULL);
    printf("buckets: %u added in %.2f s, %" PRIu64 " puts in %.2f s, slowest %.1f ms, %u files, %" PRIu64
           " flushes, %" PRIu64 " merges\n",
           buckets, (double)(added - begin) / 1e9, puts, (double)(done - added) / 1e9, (double)slowest / 1e6,
           file_count, info.flush_count, info.merge_count);
    (void)fflush(stdout);
    if (file_count >= 200) fail("%u files", file_count);
    // One value per key, whatever was flushed and merged.
    for (unsigned i = 0; i < buckets; i += buckets / 50 + 1) {
        char name[32];
        (void)snprintf(name, sizeof name, "KV_b%u", i);
        daybook_query query;
        daybook_query_init(&query);
        query.stream = daybook_text(name);
        uint64_t all = 0, distinct = 0;
        if (daybook_count(store, &query, &all, NULL) != DAYBOOK_OK) fail("count");
        query.flags = DAYBOOK_QUERY_LAST_PER_SUBJECT;
        if (daybook_count(store, &query, &distinct, NULL) != DAYBOOK_OK) fail("count");
        if (all != distinct || all > 20)
            fail("bucket %u holds %" PRIu64 " values of %" PRIu64 " keys", i, all, distinct);
    }
    close_store(store);
    real_end();
}

// ---- Large batches through the smallest journal -----------------------------------------------------------

typedef struct lifter {
    daybook_store *store;
    pthread_t thread;
    unsigned index, batches;
    int64_t slowest_ns;
} lifter;

enum { LIFTER_COUNT = 6, LIFTED_EVENTS = 12, LIFTED_SIZE = 90000 };

static void *lift_batches(void *context) {
    lifter *own = context;
    char *data = malloc(LIFTED_SIZE), subject[64];
    if (data == NULL) abort();
    random_source random;
    random_init(&random, own->index);
    for (size_t i = 0; i < LIFTED_SIZE; i++) data[i] = (char)random_next(&random);
    (void)snprintf(subject, sizeof subject, "large.%u.lifted", own->index);
    for (unsigned batch = 0; batch < own->batches; batch++) {
        daybook_event events[LIFTED_EVENTS];
        for (size_t i = 0; i < LIFTED_EVENTS; i++) {
            daybook_event_init(&events[i]);
            events[i].subject = daybook_text(subject);
            events[i].data = daybook_bytes(data, LIFTED_SIZE);
        }
        daybook_error error;
        daybook_error_init(&error);
        int64_t begin = now_ns();
        if (daybook_append(own->store, events, LIFTED_EVENTS, NULL, NULL, &error) != DAYBOOK_OK)
            fail("large batch: %s", error.message);
        if (now_ns() - begin > own->slowest_ns) own->slowest_ns = now_ns() - begin;
    }
    free(data);
    return NULL;
}

// Each batch is a quarter of the journal: appends must wait for room, but go on by themselves, and none may
// be refused.
static void run_large(unsigned batches) {
    real_begin("large-test");
    daybook_store *store = open_store(256 << 10, 4 << 20);
    add_stream(store, "LARGE", "large.>", 2, 0);
    lifter lifters[LIFTER_COUNT];
    int64_t slowest = 0, begin = now_ns();
    for (unsigned i = 0; i < LIFTER_COUNT; i++) {
        lifters[i] = (lifter){.store = store, .index = i, .batches = batches};
        if (pthread_create(&lifters[i].thread, NULL, lift_batches, &lifters[i]) != 0) fail("no thread");
    }
    for (unsigned i = 0; i < LIFTER_COUNT; i++) {
        (void)pthread_join(lifters[i].thread, NULL);
        if (lifters[i].slowest_ns > slowest) slowest = lifters[i].slowest_ns;
    }
    daybook_query query;
    daybook_query_init(&query);
    uint64_t count = 0;
    if (daybook_count(store, &query, &count, NULL) != DAYBOOK_OK ||
        count != (uint64_t)LIFTER_COUNT * batches * LIFTED_EVENTS)
        fail("%" PRIu64 " large events", count);
    close_store(store);
    printf("large: %u batches of %d KiB through 4 MiB in %.2f s, slowest %.0f ms\n", LIFTER_COUNT * batches,
           LIFTED_EVENTS * LIFTED_SIZE / 1024, (double)(now_ns() - begin) / 1e9, (double)slowest / 1e6);
    if (slowest > INT64_C(10000000000)) fail("an append waited for %.1f s", (double)slowest / 1e9);
    real_end();
}

// ---- A stream made anew ----------------------------------------------------------------------------------

// While one thread reads, a stream is deleted and made anew again and again: its reader must never see data
// of a predecessor behind that of a successor, and counts and sequences begin anew.
static void run_anew(unsigned rounds) {
    real_begin("anew-test");
    daybook_store *store = open_store(256 << 10, 4 << 20);
    daybook_error error;
    daybook_error_init(&error);
    char data[3000];
    for (unsigned round = 0; round < rounds; round++) {
        add_stream(store, "AGAIN", "again.>", 2, 0);
        if (round % 7 == 3) {
            close_store(store);
            store = open_store(256 << 10, 4 << 20);
        }
        for (unsigned i = 0; i < 40; i++) {
            int size = snprintf(data, sizeof data, "%u ", round);
            memset(data + size, 'd', sizeof data - (size_t)size);
            daybook_event event;
            daybook_event_init(&event);
            event.subject = daybook_text("again.1.happened");
            event.id = i == 0 ? daybook_text("always the same") : daybook_text("");
            event.data = daybook_bytes(data, sizeof data);
            daybook_receipt receipt;
            memset(&receipt, 0, sizeof receipt);
            receipt.size = sizeof receipt;
            if (daybook_append(store, &event, 1, NULL, &receipt, &error) != DAYBOOK_OK)
                fail("append: %s", error.message);
            if (receipt.seq != i + 1 || receipt.version != i + 1 || receipt.flags != 0)
                fail("round %u: seq %" PRIu64 " version %" PRIu64 " flags %u of event %u", round, receipt.seq,
                     receipt.version, receipt.flags, i);
        }
        if (round % 5 == 1 && daybook_flush(store, &error) != DAYBOOK_OK) fail("flush: %s", error.message);
        daybook_query query;
        daybook_query_init(&query);
        daybook_cursor *cursor;
        if (daybook_read(store, &query, &cursor, &error) != DAYBOOK_OK) fail("read: %s", error.message);
        daybook_recorded_event event;
        uint64_t count = 0;
        while (daybook_cursor_next(cursor, 0, &event, &error) == DAYBOOK_OK) {
            if (strtoul(event.event.data.data, NULL, 10) != round)
                fail("round %u meets %.8s", round, (const char *)event.event.data.data);
            count++;
        }
        daybook_cursor_close(cursor);
        if (count != 40) fail("round %u: %" PRIu64 " events", round, count);
        if (daybook_stream_remove(store, daybook_text("AGAIN"), &error) != DAYBOOK_OK)
            fail("remove: %s", error.message);
    }
    close_store(store);
    printf("made anew: %u times\n", rounds);
    real_end();
}

int main(void) {
    real_seed = number_from("DAYBOOK_SEED", (uint64_t)time(NULL));
    printf("seed %" PRIu64 "\n", real_seed);
    real_begin("threads-test");
    run_threads(number_from("DAYBOOK_SECONDS", 3), real_seed);
    run_large((unsigned)number_from("DAYBOOK_BATCHES", 8));
    run_anew((unsigned)number_from("DAYBOOK_ROUNDS", 20));
    run_buckets((unsigned)number_from("DAYBOOK_BUCKETS", 1500), number_from("DAYBOOK_PUTS", 15000));
    return 0;
}
