// SPDX-License-Identifier: Apache-2.0
// Gaps in the seqs of a stream, and its subjects page by page, against what reading everything says: events
// are appended to two streams, removed one by one, in runs, by limits and roll-ups, flushed, merged, opened
// again.
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

enum { STEP_COUNT = 700, SEQS_MAX = 20000, SUBJECT_COUNT = 40 };

typedef struct world {
    dbk_sim *sim;
    daybook_store *store;
    uint64_t random;
} world;

static const daybook_slice s = {"S", 1};
static daybook_slice subjects_of_s[] = {{"s.>", 3}}, subjects_of_o[] = {{"o.>", 3}};

static uint64_t draw(world *at, uint64_t below) {
    at->random = at->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (at->random >> 33) % below;
}

static void open_store(world *at) {
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.vfs = dbk_sim_vfs(at->sim);
    options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    assert_int_equal(daybook_open("/s", &options, &at->store, NULL), DAYBOOK_OK);
}

static void add_stream(world *at, const char *name, const daybook_slice *subjects, uint64_t first_seq) {
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text(name);
    config.subjects = subjects;
    config.subject_count = 1;
    config.flags = DAYBOOK_STREAM_ALLOW_ROLLUP;
    config.first_seq = first_seq;
    assert_int_equal(daybook_stream_add(at->store, &config, NULL), DAYBOOK_OK);
}

static int set_up(void **state) {
    static world at;
    memset(&at, 0, sizeof at);
    at.random = 37;
    if (dbk_sim_new(37, &at.sim) != DAYBOOK_OK) return -1;
    open_store(&at);
    add_stream(&at, "S", subjects_of_s, 50);
    add_stream(&at, "O", subjects_of_o, 0);
    *state = &at;
    return 0;
}

static int tear_down(void **state) {
    world *at = *state;
    daybook_status status = daybook_close(at->store, NULL);
    dbk_sim_free(at->sim);
    return status == DAYBOOK_OK ? 0 : -1;
}

static void append_some(world *at) {
    daybook_event events[60];
    char texts[60][32];
    size_t count = 1 + (size_t)draw(at, 60);
    for (size_t i = 0; i < count; i++) {
        daybook_event_init(&events[i]);
        (void)snprintf(texts[i], sizeof texts[i], "%s.%u.%s", draw(at, 3) == 0 ? "o" : "s",
                       (unsigned)draw(at, SUBJECT_COUNT), draw(at, 2) == 0 ? "a" : "b");
        events[i].subject = daybook_text(texts[i]);
    }
    daybook_header header = {daybook_text("Nats-Rollup"), daybook_text("sub")};
    if (draw(at, 8) == 0) {
        events[0].headers = &header;
        events[0].header_count = 1;
    }
    assert_int_equal(daybook_append(at->store, events, count, NULL, NULL, NULL), DAYBOOK_OK);
}

static uint64_t last_seq_of(world *at) {
    daybook_stream_info *info;
    assert_int_equal(daybook_stream_get_info(at->store, s, &info, NULL), DAYBOOK_OK);
    uint64_t seq = info->last_seq;
    daybook_stream_info_release(at->store, info);
    return seq;
}

static void remove_some(world *at) {
    uint64_t last = last_seq_of(at);
    uint64_t first = 50 + draw(at, last - 48);
    uint64_t count = draw(at, 3) == 0 ? 30 : 1;
    for (uint64_t seq = first; seq < first + count && seq <= last; seq++)
        (void)daybook_event_remove(at->store, s, seq, 0, NULL);
}

static void purge_some(world *at) {
    daybook_purge_options options;
    daybook_purge_options_init(&options);
    char filter[32];
    (void)snprintf(filter, sizeof filter, "s.%u.>", (unsigned)draw(at, SUBJECT_COUNT));
    if (draw(at, 3) > 0) {
        options.filter = daybook_text(filter);
    } else {
        options.keep = draw(at, 2000);
    }
    assert_int_equal(daybook_stream_purge(at->store, s, &options, NULL, NULL), DAYBOOK_OK);
}

// ---- Gaps -------------------------------------------------------------------------------------------------

typedef struct gaps {
    bool gone[SEQS_MAX];
    uint64_t count;
    uint64_t behind; // the last one told of
    unsigned calls, calls_max;
} gaps;

static int note_gap(void *context, uint64_t first, uint64_t last) {
    gaps *found = context;
    assert_true(first <= last && last < SEQS_MAX);
    assert_true(first > found->behind); // ascending, and not touching
    found->behind = last + 1;
    for (uint64_t seq = first; seq <= last; seq++) found->gone[seq] = true;
    found->count += last - first + 1;
    return ++found->calls == found->calls_max;
}

static void compare_gaps(world *at) {
    static gaps found;
    memset(&found, 0, sizeof found);
    assert_int_equal(daybook_stream_gaps(at->store, s, note_gap, &found, NULL), DAYBOOK_OK);
    daybook_stream_info *info;
    assert_int_equal(daybook_stream_get_info(at->store, s, &info, NULL), DAYBOOK_OK);
    assert_int_equal(info->deleted_count, found.count);
    static bool stored[SEQS_MAX];
    memset(stored, 0, sizeof stored);
    daybook_query query;
    daybook_query_init(&query);
    query.stream = s;
    daybook_cursor *cursor;
    assert_int_equal(daybook_read(at->store, &query, &cursor, NULL), DAYBOOK_OK);
    daybook_recorded_event event;
    while (daybook_cursor_next(cursor, 0, &event, NULL) == DAYBOOK_OK) stored[event.seq] = true;
    daybook_cursor_close(cursor);
    for (uint64_t seq = 0; seq < SEQS_MAX; seq++) {
        bool expected = seq >= info->first_seq && seq <= info->last_seq && !stored[seq];
        if (found.gone[seq] != expected) fail_msg("seq %u: gone %d", (unsigned)seq, found.gone[seq]);
    }
    daybook_stream_info_release(at->store, info);
    // The visitor has enough.
    unsigned calls = found.calls;
    if (calls < 2) return;
    memset(&found, 0, sizeof found);
    found.calls_max = 1 + (unsigned)draw(at, calls - 1);
    assert_int_equal(daybook_stream_gaps(at->store, s, note_gap, &found, NULL), DAYBOOK_OK);
    assert_int_equal(found.calls, found.calls_max);
}

// ---- Subjects ---------------------------------------------------------------------------------------------

typedef struct page {
    char names[SUBJECT_COUNT * 2][32];
    uint64_t counts[SUBJECT_COUNT * 2], last_seqs[SUBJECT_COUNT * 2];
    size_t count, count_max;
} page;

static int note_subject(void *context, const daybook_list_entry *entry) {
    page *into = context;
    assert_true(into->count < SUBJECT_COUNT * 2);
    (void)snprintf(into->names[into->count], sizeof into->names[0], "%.*s", (int)entry->name.size,
                   (const char *)entry->name.data);
    into->counts[into->count] = entry->event_count;
    into->last_seqs[into->count] = entry->last_seq;
    return ++into->count == into->count_max;
}

static void compare_subjects(world *at) {
    static page all, some;
    static const char *const filters[] = {"", "s.*.a", "s.1.>", "s.7.b", "s.x"};
    const char *filter = filters[draw(at, sizeof filters / sizeof *filters)];
    memset(&all, 0, sizeof all);
    assert_int_equal(
        daybook_list(at->store, DAYBOOK_LIST_SUBJECTS, s, daybook_text(filter), note_subject, &all, NULL),
        DAYBOOK_OK);
    daybook_subjects_options options;
    daybook_subjects_options_init(&options);
    options.filter = daybook_text(filter);
    options.offset = draw(at, all.count + 3);
    options.limit = draw(at, all.count + 3);
    memset(&some, 0, sizeof some);
    uint64_t total;
    assert_int_equal(daybook_subjects(at->store, s, &options, note_subject, &some, &total, NULL), DAYBOOK_OK);
    assert_int_equal(total, all.count);
    size_t expected = options.offset >= all.count ? 0 : all.count - (size_t)options.offset;
    if (expected > options.limit) expected = (size_t)options.limit;
    assert_int_equal(some.count, expected);
    for (size_t i = 0; i < some.count; i++) {
        size_t of = i + (size_t)options.offset;
        assert_string_equal(some.names[i], all.names[of]);
        assert_int_equal(some.counts[i], all.counts[of]);
        assert_int_equal(some.last_seqs[i], all.last_seqs[of]);
    }
    // Without the total it ends with the page; with a limit of 0 it only counts.
    memset(&some, 0, sizeof some);
    assert_int_equal(daybook_subjects(at->store, s, &options, note_subject, &some, NULL, NULL), DAYBOOK_OK);
    assert_int_equal(some.count, expected);
    options.limit = 0;
    assert_int_equal(daybook_subjects(at->store, s, &options, NULL, NULL, &total, NULL), DAYBOOK_OK);
    assert_int_equal(total, all.count);
    if (all.count < 2) return;
    memset(&some, 0, sizeof some);
    some.count_max = 1;
    assert_int_equal(daybook_subjects(at->store, s, NULL, note_subject, &some, &total, NULL), DAYBOOK_OK);
    assert_int_equal(some.count, 1);
}

static void they_are_what_reading_says(void **state) {
    world *at = *state;
    for (int step = 0; step < STEP_COUNT; step++) {
        uint64_t kind = draw(at, 20);
        if (kind < 7 && last_seq_of(at) < SEQS_MAX - 100) append_some(at);
        if (kind >= 7 && kind < 12) remove_some(at);
        if (kind == 12) purge_some(at);
        if (kind == 13) assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
        if (kind == 14) {
            while (daybook_maintain(at->store, NULL) == DAYBOOK_OK) {
            }
        }
        if (kind == 15) {
            assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
            open_store(at);
        }
        if (kind >= 16) compare_gaps(at);
        if (kind >= 18) compare_subjects(at);
    }
}

static int count_subject(void *context, const daybook_list_entry *entry) {
    (void)entry;
    ++*(uint64_t *)context;
    return 0;
}

static uint64_t subject_total(world *at) {
    daybook_subjects_options options;
    daybook_subjects_options_init(&options);
    options.limit = 0;
    uint64_t total;
    assert_int_equal(daybook_subjects(at->store, s, &options, NULL, NULL, &total, NULL), DAYBOOK_OK);
    return total;
}

static void append_new(world *at, const char *stream, unsigned count) {
    daybook_event events[100];
    char texts[100][32];
    for (unsigned i = 0; i < count; i++) {
        daybook_event_init(&events[i]);
        (void)snprintf(texts[i], sizeof texts[i], "%s.new.%u", stream, (unsigned)draw(at, 8000));
        events[i].subject = daybook_text(texts[i]);
    }
    assert_int_equal(daybook_append(at->store, events, count, NULL, NULL, NULL), DAYBOOK_OK);
}

static int64_t fastest_total_ns(world *at, int times) {
    int64_t fastest = INT64_MAX;
    for (int i = 0; i < times; i++) {
        struct timespec begin, end;
        (void)clock_gettime(CLOCK_MONOTONIC, &begin);
        (void)subject_total(at);
        (void)clock_gettime(CLOCK_MONOTONIC, &end);
        int64_t took = (int64_t)(end.tv_sec - begin.tv_sec) * 1000000000 + (end.tv_nsec - begin.tv_nsec);
        if (took < fastest) fastest = took;
    }
    return fastest;
}

// The number of subjects is remembered, and is right whatever comes between: new subjects, known ones, another
// stream's, removals, flushes.
static void their_number_is_remembered(void **state) {
    world *at = *state;
    for (int step = 0; step < 400; step++) {
        append_new(at, "s", 1 + (unsigned)draw(at, 99));
        if (draw(at, 3) == 0) append_new(at, "o", 50);
        if (draw(at, 12) == 0) purge_some(at);
        if (draw(at, 12) == 0) remove_some(at);
        if (draw(at, 20) == 0) assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
        if (draw(at, 4) == 0) continue;
        uint64_t listed = 0;
        assert_int_equal(daybook_subjects(at->store, s, NULL, count_subject, &listed, NULL, NULL),
                         DAYBOOK_OK);
        assert_int_equal(subject_total(at), listed);
        assert_int_equal(subject_total(at), listed);
    }
    assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
    open_store(at);
    int64_t first_ns = fastest_total_ns(at, 1), again_ns = fastest_total_ns(at, 20);
    append_new(at, "s", 1);
    int64_t one_more_ns = fastest_total_ns(at, 1);
    if (again_ns * 10 > first_ns || one_more_ns * 3 > first_ns)
        fail_msg("%lld ns, then %lld, with one more %lld", (long long)first_ns, (long long)again_ns,
                 (long long)one_more_ns);
}

static void wrong_arguments_are_refused(void **state) {
    world *at = *state;
    gaps found = {.calls_max = 0};
    uint64_t total;
    assert_int_equal(daybook_stream_gaps(NULL, s, note_gap, &found, NULL), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_stream_gaps(at->store, s, NULL, NULL, NULL), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_stream_gaps(at->store, daybook_text("X"), note_gap, &found, NULL),
                     DAYBOOK_ENOTFOUND);
    assert_int_equal(daybook_stream_gaps(at->store, s, note_gap, &found, NULL), DAYBOOK_OK);
    assert_int_equal(found.calls, 0);
    assert_int_equal(daybook_subjects(at->store, s, NULL, NULL, NULL, &total, NULL), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_subjects(at->store, daybook_text("X"), NULL, note_subject, NULL, &total, NULL),
                     DAYBOOK_ENOTFOUND);
    daybook_subjects_options options;
    daybook_subjects_options_init(&options);
    options.filter = daybook_text("a..b");
    assert_int_equal(daybook_subjects(at->store, s, &options, note_subject, NULL, &total, NULL),
                     DAYBOOK_ESUBJECT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(they_are_what_reading_says, set_up, tear_down),
        cmocka_unit_test_setup_teardown(their_number_is_remembered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(wrong_arguments_are_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
