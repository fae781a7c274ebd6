// SPDX-License-Identifier: Apache-2.0
// The newest event of each subject, by the index, against a look at every event: with several filters, up to
// a seq, a position or a time, while events are appended, removed, flushed, merged.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "daybook/daybook.h"
#include "io/sim/sim.h"

enum { STEP_COUNT = 900, SEQS_MAX = 6000, SUBJECT_COUNT = 24, FILTERS_MAX = 4 };

typedef struct seen {
    uint64_t position;
    int64_t recorded_ns;
    char subject[24];
    bool is_live;
} seen;

typedef struct world {
    dbk_sim *sim;
    daybook_store *store;
    uint64_t random;
    seen events[SEQS_MAX]; // by seq
    uint64_t last_seq;
} world;

static const daybook_slice s = {"S", 1};

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

static void add_stream(world *at, const char *name, const char *filter) {
    daybook_slice subject = daybook_text(filter);
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text(name);
    config.subjects = &subject;
    config.subject_count = 1;
    assert_int_equal(daybook_stream_add(at->store, &config, NULL), DAYBOOK_OK);
}

static int set_up(void **state) {
    static world at;
    memset(&at, 0, sizeof at);
    at.random = 43;
    if (dbk_sim_new(43, &at.sim) != DAYBOOK_OK) return -1;
    open_store(&at);
    add_stream(&at, "S", "s.>");
    add_stream(&at, "O", "o.>");
    *state = &at;
    return 0;
}

static int tear_down(void **state) {
    world *at = *state;
    daybook_status status = daybook_close(at->store, NULL);
    dbk_sim_free(at->sim);
    return status == DAYBOOK_OK ? 0 : -1;
}

static void append(world *at) {
    char text[24];
    bool other = draw(at, 4) == 0;
    // Few subjects are written often, some hardly ever.
    uint64_t number = draw(at, 3) == 0 ? draw(at, SUBJECT_COUNT) : draw(at, 4);
    (void)snprintf(text, sizeof text, "%s.%u.%s", other ? "o" : "s", (unsigned)number / 2,
                   number % 2 == 0 ? "a" : "b");
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(text);
    daybook_receipt receipt;
    assert_int_equal(daybook_append(at->store, &event, 1, NULL, &receipt, NULL), DAYBOOK_OK);
    dbk_sim_advance_ns(at->sim, (int64_t)draw(at, 3) * DBK_MILLISECOND_NS);
    if (other) return;
    at->last_seq = receipt.seq;
    seen *of = &at->events[receipt.seq];
    *of = (seen){.position = receipt.position, .recorded_ns = receipt.recorded_ns, .is_live = true};
    memcpy(of->subject, text, sizeof text);
}

static void remove_some(world *at) {
    if (at->last_seq == 0) return;
    // The newest more often: those are what the index names.
    uint64_t back = draw(at, 2) == 0 ? draw(at, 8) : draw(at, at->last_seq);
    uint64_t seq = at->last_seq > back ? at->last_seq - back : 1;
    daybook_status status = daybook_event_remove(at->store, s, seq, 0, NULL);
    assert_int_equal(status, at->events[seq].is_live ? DAYBOOK_OK : DAYBOOK_ENOTFOUND);
    at->events[seq].is_live = false;
}

static void purge_below(world *at) {
    if (at->last_seq < 200) return;
    uint64_t to = at->last_seq - 150;
    daybook_purge_options options;
    daybook_purge_options_init(&options);
    options.seq_to = to;
    assert_int_equal(daybook_stream_purge(at->store, s, &options, NULL, NULL), DAYBOOK_OK);
    for (uint64_t seq = 1; seq < to; seq++) at->events[seq].is_live = false;
}

static bool is_wanted(const daybook_query *query, const seen *of) {
    if (!of->is_live ||
        (query->recorded_until_ns != DAYBOOK_TIME_NONE && of->recorded_ns >= query->recorded_until_ns))
        return false;
    if (query->position_to > 0 && of->position > query->position_to) return false;
    for (size_t i = 0; i < query->filter_count; i++)
        if (daybook_filter_matches(query->filters[i], daybook_text(of->subject))) return true;
    return query->filter_count == 0;
}

// The newest of the event's subject among those up to the bounds?
static bool is_newest(const world *at, const daybook_query *query, uint64_t seq, uint64_t seq_to) {
    if (seq > seq_to || !is_wanted(query, &at->events[seq])) return false;
    for (uint64_t later = seq + 1; later <= seq_to; later++)
        if (is_wanted(query, &at->events[later]) &&
            strcmp(at->events[later].subject, at->events[seq].subject) == 0)
            return false;
    return true;
}

static void compare(world *at) {
    static const char *const some[] = {"s.*.a", "s.1.>", "s.3.b", "s.0.a", "s.>", "*.*.b", "s.99.x", "o.0.a"};
    daybook_slice filters[FILTERS_MAX];
    daybook_query query;
    daybook_query_init(&query);
    query.stream = s;
    query.flags = DAYBOOK_QUERY_LAST_PER_SUBJECT;
    query.filters = filters;
    query.filter_count = (size_t)draw(at, FILTERS_MAX + 1);
    for (size_t i = 0; i < query.filter_count; i++)
        filters[i] = daybook_text(some[draw(at, sizeof some / sizeof *some)]);
    uint64_t any = 1 + draw(at, at->last_seq == 0 ? 1 : at->last_seq);
    switch (draw(at, 6)) {
    case 0:
        query.seq_to = any;
        break;
    case 1:
        query.recorded_until_ns = at->events[any].recorded_ns;
        break;
    case 2:
        query.position_to = at->events[any].position;
        break;
    case 3:
        query.seq_from = any;
        break;
    case 4:
        query.seq_to = at->last_seq + 5;
        query.recorded_since_ns = at->events[any].recorded_ns;
        break;
    default:
        break;
    }
    daybook_cursor *cursor;
    assert_int_equal(daybook_read(at->store, &query, &cursor, NULL), DAYBOOK_OK);
    daybook_recorded_event event;
    uint64_t seq = 1;
    uint64_t seq_to = query.seq_to > 0 && query.seq_to < at->last_seq ? query.seq_to : at->last_seq;
    while (daybook_cursor_next(cursor, 0, &event, NULL) == DAYBOOK_OK) {
        for (; seq < event.seq; seq++)
            if (seq >= query.seq_from && at->events[seq].recorded_ns >= query.recorded_since_ns)
                assert_false(is_newest(at, &query, seq, seq_to));
        if (!is_newest(at, &query, event.seq, seq_to))
            fail_msg("seq %u is not the newest of %s", (unsigned)seq, at->events[seq].subject);
        assert_true(seq >= query.seq_from && event.recorded_ns >= query.recorded_since_ns);
        seq++;
    }
    daybook_cursor_close(cursor);
    for (; seq <= seq_to; seq++)
        if (seq >= query.seq_from && at->events[seq].recorded_ns >= query.recorded_since_ns &&
            is_newest(at, &query, seq, seq_to))
            fail_msg("seq %u of %s is missing", (unsigned)seq, at->events[seq].subject);
}

static void the_index_says_what_events_say(void **state) {
    world *at = *state;
    for (int step = 0; step < STEP_COUNT; step++) {
        switch (draw(at, 12)) {
        case 0:
            assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
            break;
        case 1:
            while (daybook_maintain(at->store, NULL) == DAYBOOK_OK) {
            }
            break;
        case 2:
            if (draw(at, 4) == 0) purge_below(at);
            break;
        case 3:
            assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
            open_store(at);
            break;
        case 4:
        case 5:
            for (int i = 0; i < 5; i++) remove_some(at);
            break;
        case 6:
        case 7:
        case 8:
            compare(at);
            break;
        default:
            for (int i = 0; i < 15 && at->last_seq < SEQS_MAX - 1; i++) append(at);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_index_says_what_events_say, set_up, tear_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
