// SPDX-License-Identifier: Apache-2.0
// Counting by the index gives what reading and counting gives: after random appends to several streams,
// removals of every kind, flushes and merges, for filters of every kind, from any seq on; and for posting
// lists of many pages, some or most of whose events are removed.
#define _POSIX_C_SOURCE 200809L // clock_gettime
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "daybook/daybook.h"
#include "io/sim/sim.h"
#include "store/store_internal.h"

enum { STREAMS = 2, SEEDS = 6, STEPS = 120, MANY = 40000, BATCH = 1000 };

typedef struct world {
    dbk_sim *sim;
    daybook_store *store;
    uint64_t random;
    uint64_t last[STREAMS];
} world;

static const char *const stream_names[] = {"A", "B"};

static uint64_t next_random(world *at) {
    at->random = at->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return at->random >> 33;
}

static void open_world(world *at, uint64_t seed) {
    memset(at, 0, sizeof *at);
    at->random = seed;
    assert_int_equal(dbk_sim_new(seed, &at->sim), DAYBOOK_OK);
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.vfs = dbk_sim_vfs(at->sim);
    options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    options.journal_max_bytes = 64 << 20;
    assert_int_equal(daybook_open("/s", &options, &at->store, NULL), DAYBOOK_OK);
    for (int i = 0; i < STREAMS; i++) {
        daybook_slice subject = daybook_text(i == 0 ? "a.>" : "b.>");
        daybook_stream_config config;
        daybook_stream_config_init(&config);
        config.name = daybook_text(stream_names[i]);
        config.subjects = &subject;
        config.subject_count = 1;
        if (i == 1) config.max_msgs_per_subject = 60;
        assert_int_equal(daybook_stream_add(at->store, &config, NULL), DAYBOOK_OK);
    }
}

static void close_world(world *at) {
    assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
    dbk_sim_free(at->sim);
}

static void append(world *at, size_t count) {
    static daybook_event events[BATCH];
    static char subjects[BATCH][32];
    for (size_t i = 0; i < count; i++) {
        uint64_t dice = next_random(at);
        int stream = dice % 4 == 0;
        if (stream == 0 && at->last[0] == 0) {
            (void)snprintf(subjects[i], sizeof subjects[i], "a.once.x"); // in one segment only, later
        } else {
            (void)snprintf(subjects[i], sizeof subjects[i], "%c.%u.%s", "ab"[stream],
                           (unsigned)(dice >> 4) % 9 * 3, (dice >> 10) % 3 == 0 ? "x" : "yy.z");
        }
        daybook_event_init(&events[i]);
        events[i].subject = daybook_text(subjects[i]);
        at->last[stream]++;
    }
    assert_int_equal(daybook_append(at->store, events, count, NULL, NULL, NULL), DAYBOOK_OK);
}

// What users ask gives what daybook_count gives.
static void check_stream_count(world *at, daybook_slice stream, const daybook_slice *filters,
                               size_t filter_count, uint64_t seq) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_query query;
    daybook_query_init(&query);
    query.stream = stream;
    query.filters = filters;
    query.filter_count = filter_count;
    query.seq_from = seq;
    uint64_t expected, counted = 12345;
    assert_int_equal(daybook_count(at->store, &query, &expected, NULL), DAYBOOK_OK);
    if (daybook_stream_count(at->store, stream, filters, filter_count, seq, &counted, &error) != DAYBOOK_OK)
        fail_msg("%s", error.message);
    assert_int_equal(counted, expected);
}

static void compare(world *at, int stream, const daybook_slice *filters, size_t filter_count, uint64_t seq) {
    daybook_query query;
    daybook_query_init(&query);
    query.stream = daybook_text(stream_names[stream]);
    query.filters = filters;
    query.filter_count = filter_count;
    query.seq_from = seq;
    uint64_t expected, counted;
    assert_int_equal(daybook_count(at->store, &query, &expected, NULL), DAYBOOK_OK);
    dbk_count_bound bound;
    daybook_error error;
    daybook_error_init(&error);
    dbk_stream *of = dbk_stream_table_find(at->store->streams, query.stream);
    if (dbk_count_matching(at->store, of, filters, filter_count, seq, &bound, &counted, &error) != DAYBOOK_OK)
        fail_msg("%s", error.message);
    assert_int_equal(counted, expected);
    assert_int_equal(bound.seq, at->last[stream]);
    check_stream_count(at, query.stream, filters, filter_count, seq);
}

// The oldest event of an info is the first that is read, asked for the first time and again.
static void check_first(world *at, const char *stream) {
    daybook_query query;
    daybook_query_init(&query);
    query.stream = daybook_text(stream);
    query.limit = 1;
    daybook_cursor *cursor;
    daybook_recorded_event event = {0};
    assert_int_equal(daybook_read(at->store, &query, &cursor, NULL), DAYBOOK_OK);
    daybook_status status = daybook_cursor_next(cursor, 0, &event, NULL);
    assert_true(status == DAYBOOK_OK || status == DAYBOOK_END);
    for (int i = 0; i < 2; i++) {
        daybook_stream_info *info;
        assert_int_equal(daybook_stream_get_info(at->store, query.stream, &info, NULL), DAYBOOK_OK);
        assert_int_equal(info->first_seq, status == DAYBOOK_OK ? event.seq : info->last_seq + 1);
        assert_int_equal(info->first_recorded_ns, event.recorded_ns);
        daybook_stream_info_release(at->store, info);
    }
    daybook_cursor_close(cursor);
}

static void compare_all(world *at) {
    for (int stream = 0; stream < STREAMS; stream++) check_first(at, stream_names[stream]);
    static const char *const filters[][3] = {
        {NULL},
        {">"},
        {"a.>", "b.>"},
        {"a.3.x"},
        {"a.3.>"},
        {"a.3"},
        {"a.*.x"},
        {"*.6.*.z"},
        {"a.3.x", "a.*.yy.z"},
        {"b.0.x"},
        {"b.1.x", "b.2.>"},
        {"b.*.yy.*"},
        {"*.*.x"},
        {"b.>"},
        {"a.24.yy.z", "a.21.x", "b.24.x"},
        {"a.once.x", "a.never.x"},
    };
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
        daybook_slice slices[3];
        size_t count = 0;
        while (count < 3 && filters[i][count] != NULL) {
            slices[count] = daybook_text(filters[i][count]);
            count++;
        }
        for (int stream = 0; stream < STREAMS; stream++) {
            compare(at, stream, slices, count, 1);
            compare(at, stream, slices, count, 1 + next_random(at) % (at->last[stream] + 3));
        }
    }
}

static void remove_some(world *at) {
    uint64_t dice = next_random(at);
    int stream = dice % 2 == 0;
    daybook_slice name = daybook_text(stream_names[stream]);
    daybook_purge_options purge;
    daybook_purge_options_init(&purge);
    switch (dice / 2 % 8) {
    case 0: // the oldest
        if (at->last[stream] < 30) return;
        purge.seq_to = 1 + (dice >> 8) % (at->last[stream] / 3);
        break;
    case 1:
        purge.filter = daybook_text(stream == 0 ? "a.3.x" : "b.6.>");
        break;
    default:
        for (int i = 0; i < 40 && at->last[stream] > 0; i++)
            (void)daybook_event_remove(at->store, name, 1 + next_random(at) % at->last[stream], 0, NULL);
        return;
    }
    assert_int_equal(daybook_stream_purge(at->store, name, &purge, NULL, NULL), DAYBOOK_OK);
}

static void counts_are_what_reading_gives(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        world at;
        open_world(&at, seed);
        compare_all(&at);
        for (int step = 0; step < STEPS; step++) {
            append(&at, 1 + next_random(&at) % 60);
            if (next_random(&at) % 6 == 0) remove_some(&at);
            check_first(&at, stream_names[0]);
            check_first(&at, stream_names[1]);
            if (next_random(&at) % 9 == 0) assert_int_equal(daybook_flush(at.store, NULL), DAYBOOK_OK);
            while (step % 40 == 39 && daybook_maintain(at.store, NULL) == DAYBOOK_OK) {
            }
            if (step % 4 == 0) compare_all(&at);
        }
        close_world(&at);
    }
}

// Lists of many pages, counted from the middle, with few and with most of their events removed.
static void long_lists_are_counted(void **state) {
    (void)state;
    world at;
    open_world(&at, 99);
    for (int i = 0; i < MANY / BATCH; i++) append(&at, BATCH);
    assert_int_equal(daybook_flush(at.store, NULL), DAYBOOK_OK);
    compare_all(&at);
    for (int i = 0; i < 8; i++) compare(&at, 0, NULL, 0, 1 + next_random(&at) % at.last[0]);
    for (int i = 0; i < 20; i++)
        (void)daybook_event_remove(at.store, daybook_text("A"), 1 + next_random(&at) % at.last[0], 0, NULL);
    compare_all(&at);
    for (int i = 0; i < 8; i++) compare(&at, 0, NULL, 0, 1 + next_random(&at) % at.last[0]);
    daybook_purge_options purge;
    daybook_purge_options_init(&purge);
    purge.filter = daybook_text("a.*.yy.>");
    assert_int_equal(daybook_stream_purge(at.store, daybook_text("A"), &purge, NULL, NULL), DAYBOOK_OK);
    compare_all(&at);
    for (int i = 0; i < 8; i++) compare(&at, 0, NULL, 0, 1 + next_random(&at) % at.last[0]);
    close_world(&at);
}

static int64_t now_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int64_t fastest_ns(world *at, dbk_stream *of, daybook_slice filter) {
    int64_t fastest = INT64_MAX;
    for (int i = 0; i < 50; i++) {
        dbk_count_bound bound;
        uint64_t count;
        int64_t begin = now_ns();
        assert_int_equal(dbk_count_matching(at->store, of, &filter, 1, 1, &bound, &count, NULL), DAYBOOK_OK);
        int64_t took = now_ns() - begin;
        if (took < fastest) fastest = took;
    }
    return fastest;
}

// A filter with wildcards that few events match costs their number, in memory as in segments.
static void memory_is_not_looked_through(void **state) {
    (void)state;
    world at;
    open_world(&at, 7);
    for (int i = 0; i < MANY / BATCH; i++) append(&at, BATCH);
    daybook_event rare;
    daybook_event_init(&rare);
    rare.subject = daybook_text("a.rare.x");
    at.last[0]++;
    assert_int_equal(daybook_append(at.store, &rare, 1, NULL, NULL, NULL), DAYBOOK_OK);
    daybook_slice few = daybook_text("a.rare.>"), many = daybook_text("a.*.x");
    compare(&at, 0, &few, 1, 1);
    compare_all(&at); // with nothing in segments
    dbk_stream *of = dbk_stream_table_find(at.store->streams, daybook_text("A"));
    int64_t few_ns = fastest_ns(&at, of, few), many_ns = fastest_ns(&at, of, many);
    if (few_ns * 10 > many_ns)
        fail_msg("%lld ns for one event, %lld for all", (long long)few_ns, (long long)many_ns);
    close_world(&at);
}

static void overlapping_filters_count_each_event_once(void **state) {
    (void)state;
    world at;
    open_world(&at, 11);
    append(&at, 500);
    assert_int_equal(daybook_flush(at.store, NULL), DAYBOOK_OK);
    append(&at, 500);
    const daybook_slice filters[] = {daybook_text("a.>"), daybook_text("a.3.x"), daybook_text("*.3.>")};
    for (size_t count = 1; count <= 3; count++) check_stream_count(&at, daybook_text("A"), filters, count, 1);
    check_stream_count(&at, daybook_text("A"), filters, 3, at.last[0] / 2);
    close_world(&at);
}

// A segment of many terms says at once which it does not have: one that has a filter's is asked, whatever it
// says of the filters beside it.
static void segments_of_many_terms_are_asked_for_every_filter(void **state) {
    (void)state;
    enum { SEGMENTS = 3, SUBJECTS = 1500 };
    static daybook_event events[SUBJECTS];
    static char subjects[SUBJECTS][32];
    world at;
    open_world(&at, 15);
    for (int segment = 0; segment < SEGMENTS; segment++) {
        for (int i = 0; i < SUBJECTS; i++) {
            (void)snprintf(subjects[i], sizeof subjects[i], "a.%d.%d", segment, i);
            daybook_event_init(&events[i]);
            events[i].subject = daybook_text(subjects[i]);
        }
        assert_int_equal(daybook_append(at.store, events, SUBJECTS, NULL, NULL, NULL), DAYBOOK_OK);
        assert_int_equal(daybook_flush(at.store, NULL), DAYBOOK_OK);
    }
    const daybook_slice filters[] = {daybook_text("a.0.7"), daybook_text("a.1.7"), daybook_text("a.2.7")};
    // More than once: what says so stays in memory from the second time on.
    for (int i = 0; i < 4; i++) check_stream_count(&at, daybook_text("A"), filters, SEGMENTS, 1);
    close_world(&at);
}

static void what_cannot_be_counted_is_said(void **state) {
    (void)state;
    world at;
    open_world(&at, 12);
    uint64_t count;
    daybook_slice bad = daybook_text("a..b");
    assert_int_equal(daybook_stream_count(at.store, daybook_text("NONE"), NULL, 0, 1, &count, NULL),
                     DAYBOOK_ENOTFOUND);
    assert_int_equal(daybook_stream_count(at.store, daybook_text("A"), &bad, 1, 1, &count, NULL),
                     DAYBOOK_ESUBJECT);
    assert_int_equal(daybook_stream_count(at.store, daybook_text(""), NULL, 0, 1, &count, NULL),
                     DAYBOOK_EMISUSE);
    assert_int_equal(daybook_stream_count(at.store, daybook_text("A"), NULL, 0, 1, NULL, NULL),
                     DAYBOOK_EMISUSE);
    close_world(&at);
}

#define MINUTE_NS (INT64_C(60) * 1000000000)

static void add_stream(world *at, const char *name, const char *subject, int64_t max_age_ns, unsigned flags) {
    daybook_slice filter = daybook_text(subject);
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text(name);
    config.subjects = &filter;
    config.subject_count = 1;
    config.max_age_ns = max_age_ns;
    config.flags |= flags;
    assert_int_equal(daybook_stream_add(at->store, &config, NULL), DAYBOOK_OK);
}

static void append_aging(world *at, const char *subject, int count, int64_t ttl_s) {
    for (int i = 0; i < count; i++) {
        daybook_event event;
        daybook_event_init(&event);
        event.subject = daybook_text(subject);
        event.ttl_s = i % 2 == 0 ? ttl_s : 0;
        assert_int_equal(daybook_append(at->store, &event, 1, NULL, NULL, NULL), DAYBOOK_OK);
    }
}

static void check_aging(world *at, const char *stream, const char *filter, uint64_t expected) {
    daybook_slice filters[] = {daybook_text(filter)};
    uint64_t count;
    for (uint64_t seq = 0; seq <= 12; seq++) check_stream_count(at, daybook_text(stream), filters, 1, seq);
    for (uint64_t seq = 0; seq <= 12; seq++) check_stream_count(at, daybook_text(stream), NULL, 0, seq);
    assert_int_equal(daybook_stream_count(at->store, daybook_text(stream), filters, 1, 1, &count, NULL),
                     DAYBOOK_OK);
    assert_int_equal(count, expected);
}

// Nobody removes them here: there is no background.
static void what_has_expired_is_not_counted(void **state) {
    (void)state;
    world at;
    open_world(&at, 13);
    add_stream(&at, "C", "c.>", 60 * MINUTE_NS, 0);
    add_stream(&at, "D", "d.>", 0, DAYBOOK_STREAM_ALLOW_TTL);
    append_aging(&at, "c.1.x", 4, 0);
    append_aging(&at, "d.1.x", 4, 1800);
    assert_int_equal(daybook_flush(at.store, NULL), DAYBOOK_OK);
    dbk_sim_advance_ns(at.sim, 40 * MINUTE_NS);
    append_aging(&at, "c.1.x", 3, 0);
    append_aging(&at, "d.1.x", 3, 0);
    check_aging(&at, "C", "c.1.x", 7);
    check_aging(&at, "D", "d.1.x", 5);
    dbk_sim_advance_ns(at.sim, 20 * MINUTE_NS); // the first four are an hour old, or a moment more
    check_aging(&at, "C", "c.*.x", 3);
    dbk_sim_advance_ns(at.sim, 41 * MINUTE_NS);
    check_aging(&at, "C", "c.1.>", 0);
    append_aging(&at, "c.1.x", 1, 0);
    check_aging(&at, "C", "c.1.x", 1);
    close_world(&at);
}

// Some look-ups, however many events there are.
static void counting_costs_no_reading(void **state) {
    (void)state;
    world at;
    open_world(&at, 14);
    for (int i = 0; i < MANY / BATCH; i++) append(&at, BATCH);
    assert_int_equal(daybook_flush(at.store, NULL), DAYBOOK_OK);
    daybook_slice filter = daybook_text("a.3.x");
    daybook_query query;
    daybook_query_init(&query);
    query.stream = daybook_text("A");
    query.filters = &filter;
    query.filter_count = 1;
    int64_t by_index_ns = INT64_MAX, by_reading_ns = INT64_MAX;
    for (int i = 0; i < 20; i++) {
        uint64_t counted, expected;
        int64_t begin_ns = now_ns();
        assert_int_equal(daybook_stream_count(at.store, query.stream, &filter, 1, 1, &counted, NULL),
                         DAYBOOK_OK);
        int64_t middle_ns = now_ns();
        assert_int_equal(daybook_count(at.store, &query, &expected, NULL), DAYBOOK_OK);
        int64_t end_ns = now_ns();
        assert_int_equal(counted, expected);
        if (middle_ns - begin_ns < by_index_ns) by_index_ns = middle_ns - begin_ns;
        if (end_ns - middle_ns < by_reading_ns) by_reading_ns = end_ns - middle_ns;
    }
    if (by_index_ns * 5 > by_reading_ns)
        fail_msg("%lld ns by the index, %lld by reading", (long long)by_index_ns, (long long)by_reading_ns);
    close_world(&at);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(counts_are_what_reading_gives),
                                       cmocka_unit_test(long_lists_are_counted),
                                       cmocka_unit_test(memory_is_not_looked_through),
                                       cmocka_unit_test(overlapping_filters_count_each_event_once),
                                       cmocka_unit_test(segments_of_many_terms_are_asked_for_every_filter),
                                       cmocka_unit_test(what_cannot_be_counted_is_said),
                                       cmocka_unit_test(what_has_expired_is_not_counted),
                                       cmocka_unit_test(counting_costs_no_reading)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
