// SPDX-License-Identifier: Apache-2.0
// Readers beside a writer: they see what is acknowledged, once each and in order, over flushes, merges and
// many laps of the smallest journal, stalled or not, through the writer's restarts; and what is removed
// they do not see.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "daybook/daybook.h"
#include "io/sim/sim.h"

typedef struct fixture {
    dbk_sim *sim;
    daybook_open_options writer_options;
    daybook_open_options reader_options;
    daybook_store *writer;
    daybook_store *reader;
} fixture;

static daybook_store *open_store(const daybook_open_options *options) {
    daybook_store *store = NULL;
    daybook_error error;
    daybook_status status = daybook_open("/s", options, &store, &error);
    if (status != DAYBOOK_OK) print_error("%s: %s\n", daybook_status_name(status), error.message);
    assert_int_equal(status, DAYBOOK_OK);
    return store;
}

static void begin(fixture *at, uint64_t seed, unsigned writer_flags) {
    memset(at, 0, sizeof *at);
    assert_int_equal(dbk_sim_new(seed, &at->sim), DAYBOOK_OK);
    daybook_open_options_init(&at->writer_options);
    at->writer_options.vfs = dbk_sim_vfs(at->sim);
    at->writer_options.flags = writer_flags;
    at->writer_options.memory_budget_bytes = 16 << 20;
    at->writer_options.memtable_bytes = 256 << 10;
    at->writer_options.journal_max_bytes = 4 << 20;
    at->writer_options.segment_max_bytes = 1 << 20;
    at->reader_options = at->writer_options;
    at->reader_options.vfs = dbk_sim_process(at->sim, 1);
    at->reader_options.flags = DAYBOOK_OPEN_READ_ONLY;
    at->writer = open_store(&at->writer_options);
}

static void end(fixture *at) {
    assert_int_equal(daybook_close(at->reader, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_close(at->writer, NULL), DAYBOOK_OK);
    assert_int_equal(dbk_sim_open_files(at->sim), 0);
    assert_int_equal(dbk_sim_open_maps(at->sim), 0);
    dbk_sim_free(at->sim);
}

static void append_some(daybook_store *store, const char *category, unsigned count) {
    static const char filler[400];
    daybook_event events[16];
    char subjects[16][48];
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    while (count > 0) {
        unsigned part = count < 16 ? count : 16;
        for (unsigned i = 0; i < part; i++) {
            daybook_event_init(&events[i]);
            (void)snprintf(subjects[i], sizeof subjects[i], "%s.%u.happened", category, count % 100 + i);
            events[i].subject = daybook_text(subjects[i]);
            events[i].data = daybook_bytes(filler, sizeof filler);
        }
        daybook_error error;
        daybook_status status = daybook_append(store, events, part, &options, NULL, &error);
        if (status != DAYBOOK_OK) print_error("append: %s\n", error.message);
        assert_int_equal(status, DAYBOOK_OK);
        count -= part;
    }
}

static daybook_cursor *follow(daybook_store *store) {
    daybook_query query;
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_FOLLOW;
    daybook_cursor *cursor = NULL;
    assert_int_equal(daybook_read(store, &query, &cursor, NULL), DAYBOOK_OK);
    return cursor;
}

// Exactly the positions up to `last`, from `*next` on.
static void expect_up_to(daybook_cursor *cursor, uint64_t *next, uint64_t last) {
    while (*next <= last) {
        daybook_recorded_event event;
        daybook_error error;
        daybook_status status = daybook_cursor_next(cursor, 5000, &event, &error);
        if (status != DAYBOOK_OK) {
            print_error("at %llu: %s %s\n", (unsigned long long)*next, daybook_status_name(status),
                        status == DAYBOOK_TIMEOUT ? "" : error.message);
        }
        assert_int_equal(status, DAYBOOK_OK);
        assert_int_equal(event.position, *next);
        ++*next;
    }
}

static uint64_t durable(daybook_store *store) {
    daybook_store_info info = {.size = sizeof info};
    assert_int_equal(daybook_info(store, &info, NULL), DAYBOOK_OK);
    return info.durable_position;
}

static unsigned count_all(daybook_store *store) {
    daybook_query query;
    daybook_query_init(&query);
    uint64_t count = 0;
    (void)durable(store); // brings a reader up to date
    assert_int_equal(daybook_count(store, &query, &count, NULL), DAYBOOK_OK);
    return (unsigned)count;
}

static void a_reader_sees_what_is_acknowledged(void **state) {
    (void)state;
    fixture at;
    begin(&at, 1, DAYBOOK_OPEN_NO_BACKGROUND);
    at.reader = open_store(&at.reader_options);
    daybook_cursor *cursor = follow(at.reader);
    uint64_t next = 1;
    for (unsigned round = 0; round < 60; round++) {
        append_some(at.writer, "orders", 50);
        if (round % 7 == 3) assert_int_equal(daybook_flush(at.writer, NULL), DAYBOOK_OK);
        if (round % 5 == 1) (void)daybook_maintain(at.writer, NULL);
        assert_int_equal(durable(at.reader), durable(at.writer));
        expect_up_to(cursor, &next, durable(at.writer));
    }
    daybook_cursor_close(cursor);
    end(&at);
}

static void a_stalled_reader_goes_on_after_many_laps(void **state) {
    (void)state;
    fixture at;
    begin(&at, 2, DAYBOOK_OPEN_NO_BACKGROUND);
    append_some(at.writer, "orders", 40);
    at.reader = open_store(&at.reader_options);
    daybook_cursor *cursor = follow(at.reader);
    uint64_t next = 1;
    expect_up_to(cursor, &next, 20);
    // Each round is a lap of the journal: the reader stands still all the while.
    for (unsigned round = 0; round < 8; round++) {
        for (unsigned part = 0; part < 16; part++) {
            append_some(at.writer, "orders", 500);
            while (daybook_maintain(at.writer, NULL) == DAYBOOK_OK) {
            }
        }
        append_some(at.writer, round % 2 == 0 ? "even" : "odd", 10);
        assert_int_equal(daybook_flush(at.writer, NULL), DAYBOOK_OK);
        if (round == 3) expect_up_to(cursor, &next, 30000);
    }
    expect_up_to(cursor, &next, durable(at.writer));
    daybook_store_info info = {.size = sizeof info};
    assert_int_equal(daybook_info(at.reader, &info, NULL), DAYBOOK_OK);
    assert_true(info.memory_bytes < 16 << 20);
    daybook_cursor_close(cursor);
    end(&at);
}

static void removals_and_streams_reach_the_reader(void **state) {
    (void)state;
    fixture at;
    begin(&at, 3, DAYBOOK_OPEN_NO_BACKGROUND);
    at.reader = open_store(&at.reader_options);
    append_some(at.writer, "orders", 300);
    append_some(at.writer, "carts", 200);
    assert_int_equal(count_all(at.reader), 500);
    assert_int_equal(daybook_flush(at.writer, NULL), DAYBOOK_OK);
    append_some(at.writer, "orders", 100);
    for (uint64_t seq = 10; seq <= 400; seq += 10) { // in a segment, and in memory
        assert_int_equal(daybook_event_remove(at.writer, daybook_text("ORDERS"), seq, 0, NULL), DAYBOOK_OK);
    }
    assert_int_equal(count_all(at.reader), 560);
    assert_int_equal(daybook_flush(at.writer, NULL), DAYBOOK_OK);
    assert_int_equal(count_all(at.reader), 560);
    daybook_purge_options purge;
    daybook_purge_options_init(&purge);
    purge.keep = 50;
    uint64_t removed = 0;
    assert_int_equal(daybook_stream_purge(at.writer, daybook_text("ORDERS"), &purge, &removed, NULL),
                     DAYBOOK_OK);
    assert_int_equal(removed, 310);
    assert_int_equal(count_all(at.reader), 250);
    while (daybook_maintain(at.writer, NULL) == DAYBOOK_OK) {
    }
    assert_int_equal(count_all(at.reader), 250);
    assert_int_equal(daybook_stream_remove(at.writer, daybook_text("CARTS"), NULL), DAYBOOK_OK);
    assert_int_equal(count_all(at.reader), 50);
    append_some(at.writer, "carts", 3); // a new stream of that name
    assert_int_equal(count_all(at.reader), 53);
    daybook_store *fresh = open_store(&at.reader_options);
    assert_int_equal(count_all(fresh), 53);
    assert_int_equal(daybook_close(fresh, NULL), DAYBOOK_OK);
    end(&at);
}

static void a_reader_outlives_writers(void **state) {
    (void)state;
    fixture at;
    begin(&at, 4, DAYBOOK_OPEN_NO_BACKGROUND);
    at.reader = open_store(&at.reader_options);
    daybook_cursor *cursor = follow(at.reader);
    uint64_t next = 1;
    for (unsigned round = 0; round < 12; round++) {
        append_some(at.writer, "orders", 30);
        uint64_t last = durable(at.writer);
        if (round % 3 != 2) expect_up_to(cursor, &next, last);
        if (round % 4 == 1) assert_int_equal(daybook_flush(at.writer, NULL), DAYBOOK_OK);
        if (round % 2 == 0) {
            assert_int_equal(daybook_close(at.writer, NULL), DAYBOOK_OK);
        } else {
            // The process dies: nothing is closed, the page says that a writer is there.
            dbk_sim_kill(at.sim, 0);
            (void)daybook_close(at.writer, NULL);
        }
        if (round % 3 == 0) assert_int_equal(durable(at.reader), last);
        at.writer = open_store(&at.writer_options);
        if (round % 3 == 0) expect_up_to(cursor, &next, last);
    }
    expect_up_to(cursor, &next, durable(at.writer));
    daybook_cursor_close(cursor);
    end(&at);
}

// A clock that lets a writer remove a stream and end, once, while a reader is behind a manifest it has read.
static struct {
    daybook_vfs *inner;
    fixture *at;
    bool is_armed, has_opened_manifest;
} between;

static int open_and_note(daybook_vfs *vfs, const char *path, unsigned flags, daybook_file **file_out) {
    (void)vfs;
    if (strstr(path, "/manifest-") != NULL) between.has_opened_manifest = true;
    return between.inner->open(between.inner, path, flags, file_out);
}

static int64_t interrupting_clock(daybook_vfs *vfs) {
    (void)vfs;
    fixture *at = between.at;
    if (between.is_armed && between.has_opened_manifest) {
        between.is_armed = false;
        if (at->writer == NULL) at->writer = open_store(&at->writer_options);
        assert_int_equal(daybook_stream_remove(at->writer, daybook_text("CARTS"), NULL), DAYBOOK_OK);
        assert_int_equal(daybook_close(at->writer, NULL), DAYBOOK_OK);
        at->writer = NULL;
    }
    return between.inner->clock_monotonic_ns(between.inner);
}

static void arm(void) {
    between.is_armed = true;
    between.has_opened_manifest = false;
}

// Three events of a stream, whose writer has ended; and a reader's options with that clock.
static void begin_between(fixture *at, uint64_t seed, daybook_vfs *vfs) {
    begin(at, seed, DAYBOOK_OPEN_NO_BACKGROUND);
    append_some(at->writer, "carts", 3);
    assert_int_equal(daybook_close(at->writer, NULL), DAYBOOK_OK);
    at->writer = NULL;
    between.inner = at->reader_options.vfs;
    between.at = at;
    between.is_armed = false;
    *vfs = *between.inner;
    vfs->open = open_and_note;
    vfs->clock_monotonic_ns = interrupting_clock;
    at->reader_options.vfs = vfs;
}

static daybook_status follow_carts(daybook_store *store, daybook_cursor **cursor_out) {
    daybook_query query;
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_FOLLOW;
    query.stream = daybook_text("CARTS");
    return daybook_read(store, &query, cursor_out, NULL);
}

static void end_between(fixture *at) {
    assert_false(between.is_armed);
    at->writer = open_store(&at->writer_options);
    end(at);
}

// What a writer does last is not passed over for ever because a reader was taking up what it did before.
static void a_writer_that_ends_while_a_reader_catches_up_is_seen(void **state) {
    (void)state;
    fixture at;
    daybook_vfs vfs;
    begin_between(&at, 11, &vfs);
    at.reader = open_store(&at.reader_options);
    daybook_cursor *cursor = NULL;
    assert_int_equal(follow_carts(at.reader, &cursor), DAYBOOK_OK);
    uint64_t next = 1;
    expect_up_to(cursor, &next, 3);
    at.writer = open_store(&at.writer_options);
    arm();
    daybook_recorded_event event;
    assert_int_equal(daybook_cursor_next(cursor, 3000, &event, NULL), DAYBOOK_ENOTFOUND);
    daybook_cursor_close(cursor);
    end_between(&at);
}

static void a_writer_that_comes_and_ends_while_a_reader_opens_is_seen(void **state) {
    (void)state;
    fixture at;
    daybook_vfs vfs;
    begin_between(&at, 12, &vfs);
    arm();
    at.reader = open_store(&at.reader_options);
    daybook_cursor *cursor = NULL;
    assert_int_equal(follow_carts(at.reader, &cursor), DAYBOOK_ENOTFOUND);
    end_between(&at);
}

static void a_reader_writes_nothing(void **state) {
    (void)state;
    fixture at;
    begin(&at, 5, DAYBOOK_OPEN_NO_BACKGROUND);
    append_some(at.writer, "orders", 100);
    assert_int_equal(daybook_close(at.writer, NULL), DAYBOOK_OK);
    uint64_t steps = dbk_sim_steps(at.sim);
    at.reader = open_store(&at.reader_options);
    assert_int_equal(count_all(at.reader), 100);
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("orders.1.x");
    assert_int_equal(daybook_append(at.reader, &event, 1, NULL, NULL, NULL), DAYBOOK_EREADONLY);
    assert_int_equal(daybook_flush(at.reader, NULL), DAYBOOK_EREADONLY);
    assert_int_equal(dbk_sim_steps(at.sim), steps);
    at.writer = open_store(&at.writer_options);
    end(&at);
}

// Readers in threads of their own, several cursors on one store, while a writer with background threads
// works.
typedef struct following {
    daybook_store *store;
    uint64_t last;
    uint64_t got;
    daybook_status status;
} following;

static void *run_follower(void *context) {
    following *work = context;
    daybook_query query;
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_FOLLOW;
    daybook_cursor *cursor = NULL;
    work->status = daybook_read(work->store, &query, &cursor, NULL);
    while (work->status == DAYBOOK_OK && work->got < work->last) {
        daybook_recorded_event event;
        work->status = daybook_cursor_next(cursor, 20000, &event, NULL);
        if (work->status == DAYBOOK_OK && event.position != work->got + 1) work->status = DAYBOOK_EDAMAGED;
        if (work->status == DAYBOOK_OK) work->got++;
    }
    daybook_cursor_close(cursor);
    return NULL;
}

static void many_cursors_follow_a_busy_writer(void **state) {
    (void)state;
    enum { FOLLOWERS = 6, EVENTS = 20000 };
    fixture at;
    begin(&at, 6, 0);
    append_some(at.writer, "orders", 16);
    at.reader = open_store(&at.reader_options);
    pthread_t threads[FOLLOWERS];
    following work[FOLLOWERS];
    for (unsigned i = 0; i < FOLLOWERS; i++) {
        // Some follow in the writer's own process.
        work[i] = (following){.store = i % 3 == 2 ? at.writer : at.reader, .last = EVENTS};
        assert_int_equal(pthread_create(&threads[i], NULL, run_follower, &work[i]), 0);
    }
    append_some(at.writer, "orders", EVENTS - 16);
    for (unsigned i = 0; i < FOLLOWERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(work[i].status, DAYBOOK_OK);
        assert_int_equal(work[i].got, EVENTS);
    }
    end(&at);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reader_sees_what_is_acknowledged),
        cmocka_unit_test(a_stalled_reader_goes_on_after_many_laps),
        cmocka_unit_test(removals_and_streams_reach_the_reader),
        cmocka_unit_test(a_reader_outlives_writers),
        cmocka_unit_test(a_writer_that_ends_while_a_reader_catches_up_is_seen),
        cmocka_unit_test(a_writer_that_comes_and_ends_while_a_reader_opens_is_seen),
        cmocka_unit_test(a_reader_writes_nothing),
        cmocka_unit_test(many_cursors_follow_a_busy_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
