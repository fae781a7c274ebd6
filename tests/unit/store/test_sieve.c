// SPDX-License-Identifier: Apache-2.0
// Segments are passed over where filters in memory rule them out: never one that holds what is asked, however
// many there are, and whatever merges meanwhile.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daybook/daybook.h"
#include "io/sim/sim.h"
#include "store/query.h"

enum { SEGMENT_COUNT = 70, ORDERS_PER_SEGMENT = 600, ROUNDS = 3 };

typedef struct fixture {
    dbk_sim *sim;
    daybook_store *store;
} fixture;

// One event of each order, each with an id; every other segment has one that is `lost`.
static void append_orders(daybook_store *store, unsigned segment) {
    static char subjects[ORDERS_PER_SEGMENT][40], ids[ORDERS_PER_SEGMENT][40];
    daybook_event events[ORDERS_PER_SEGMENT];
    for (unsigned i = 0; i < ORDERS_PER_SEGMENT; i++) {
        const char *type = i == 7 && segment % 2 == 1 ? "lost" : "placed";
        (void)snprintf(subjects[i], sizeof subjects[i], "orders.%u.%s", segment * ORDERS_PER_SEGMENT + i,
                       type);
        daybook_event_init(&events[i]);
        events[i].subject = daybook_text(subjects[i]);
        (void)snprintf(ids[i], sizeof ids[i], "order-%u", segment * ORDERS_PER_SEGMENT + i);
        if (i != 8) events[i].id = daybook_text(ids[i]);
    }
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    assert_int_equal(daybook_append(store, events, ORDERS_PER_SEGMENT, &options, NULL, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
}

static int set_up(void **state) {
    static fixture made;
    assert_int_equal(dbk_sim_new(1, &made.sim), DAYBOOK_OK);
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.vfs = dbk_sim_vfs(made.sim);
    options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    assert_int_equal(daybook_open("/s", &options, &made.store, NULL), DAYBOOK_OK);
    for (unsigned i = 0; i < SEGMENT_COUNT; i++) append_orders(made.store, i);
    *state = &made;
    return 0;
}

static int tear_down(void **state) {
    fixture *made = *state;
    assert_int_equal(daybook_close(made->store, NULL), DAYBOOK_OK);
    dbk_sim_free(made->sim);
    return 0;
}

static unsigned order_in(unsigned segment) {
    return segment * ORDERS_PER_SEGMENT + segment % ORDERS_PER_SEGMENT;
}

static daybook_cursor *open_cursor(daybook_store *store, unsigned order, unsigned other, uint32_t flags) {
    char text[2][40];
    (void)snprintf(text[0], sizeof text[0], "orders.%u.>", order);
    (void)snprintf(text[1], sizeof text[1], "orders.%u.>", other);
    daybook_slice filters[2] = {daybook_text(text[0]), daybook_text(text[1])};
    daybook_query query;
    daybook_query_init(&query);
    query.filters = filters;
    query.filter_count = 2;
    query.flags = flags;
    daybook_cursor *cursor = NULL;
    assert_int_equal(daybook_read(store, &query, &cursor, NULL), DAYBOOK_OK);
    return cursor;
}

static void expect_order(daybook_cursor *cursor, unsigned order) {
    daybook_recorded_event event;
    assert_int_equal(daybook_cursor_next(cursor, 0, &event, NULL), DAYBOOK_OK);
    assert_int_equal(event.position, order + 1);
}

static void expect_end(daybook_cursor *cursor) {
    daybook_recorded_event event;
    assert_int_equal(daybook_cursor_next(cursor, 0, &event, NULL), DAYBOOK_END);
    daybook_cursor_close(cursor);
}

// The first round meets filters that lie on the disk, later ones those in memory.
static void reads_find_what_any_segment_has(void **state) {
    const fixture *made = *state;
    for (int round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < SEGMENT_COUNT; i++) {
            unsigned order = order_in(i), other = order_in(SEGMENT_COUNT - 1 - i);
            unsigned first = order < other ? order : other, second = order < other ? other : order;
            daybook_cursor *cursor = open_cursor(made->store, order, other, 0);
            expect_order(cursor, first);
            expect_order(cursor, second);
            expect_end(cursor);
            cursor = open_cursor(made->store, order, other, DAYBOOK_QUERY_REVERSE);
            expect_order(cursor, second);
            expect_order(cursor, first);
            expect_end(cursor);
        }
    }
}

// What an append that expects something else is told: the version, or the position of the newest match.
static uint64_t refused_at(daybook_store *store, const daybook_condition *condition, const char *subject) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.conditions = condition;
    options.condition_count = 1;
    daybook_error error;
    daybook_error_init(&error);
    assert_int_equal(daybook_append(store, &event, 1, &options, NULL, &error), DAYBOOK_ECONFLICT);
    return error.actual;
}

static void conditions_see_what_any_segment_has(void **state) {
    const fixture *made = *state;
    daybook_condition version, match;
    daybook_condition_init(&version, DAYBOOK_EXPECT_VERSION);
    version.expected = 9;
    daybook_condition_init(&match, DAYBOOK_FAIL_IF_EVENTS_MATCH);
    for (int round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < SEGMENT_COUNT; i++) {
            char subject[40], filter[40];
            (void)snprintf(subject, sizeof subject, "orders.%u.paid", order_in(i));
            (void)snprintf(filter, sizeof filter, "orders.%u.placed", order_in(i));
            assert_int_equal(refused_at(made->store, &version, subject), 1);
            daybook_query_item item;
            daybook_query_item_init(&item);
            item.filter = daybook_text(filter);
            match.items = &item;
            match.item_count = 1;
            if (i != 7) assert_int_equal(refused_at(made->store, &match, subject), order_in(i) + 1);
        }
        daybook_slice lost = daybook_text("lost");
        daybook_query_item item;
        daybook_query_item_init(&item);
        item.types = &lost;
        item.type_count = 1;
        match.items = &item;
        match.item_count = 1;
        unsigned newest = (SEGMENT_COUNT - 1) * ORDERS_PER_SEGMENT + 7 + 1;
        assert_int_equal(refused_at(made->store, &match, "orders.1.paid"), newest);
    }
}

// The same id again is answered with where it is stored, one that was removed as well.
static daybook_receipt append_again(daybook_store *store, const char *id) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("orders.1.again");
    event.id = daybook_text(id);
    daybook_receipt receipt = {.size = sizeof receipt};
    assert_int_equal(daybook_append(store, &event, 1, NULL, &receipt, NULL), DAYBOOK_OK);
    return receipt;
}

static void ids_are_known_whichever_segment_has_them(void **state) {
    const fixture *made = *state;
    static char of_the_store[SEGMENT_COUNT][40];
    for (int round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < SEGMENT_COUNT; i++) {
            char id[40];
            unsigned order = i * ORDERS_PER_SEGMENT + 9;
            (void)snprintf(id, sizeof id, "order-%u", order);
            daybook_receipt receipt = append_again(made->store, id);
            assert_true((receipt.flags & DAYBOOK_RECEIPT_DUPLICATE) != 0);
            assert_int_equal(receipt.position, order + 1);
            daybook_cursor *cursor = open_cursor(made->store, i * ORDERS_PER_SEGMENT + 8, 4000000, 0);
            daybook_recorded_event event;
            assert_int_equal(daybook_cursor_next(cursor, 0, &event, NULL), DAYBOOK_OK);
            assert_in_range(event.event.id.size, 1, 39);
            memcpy(of_the_store[i], event.event.id.data, event.event.id.size);
            expect_end(cursor);
            receipt = append_again(made->store, of_the_store[i]);
            assert_true((receipt.flags & DAYBOOK_RECEIPT_DUPLICATE) != 0);
            assert_int_equal(receipt.position, i * ORDERS_PER_SEGMENT + 8 + 1);
        }
    }
}

static unsigned passing(const dbk_view *view, size_t first, size_t count, unsigned order, unsigned segment) {
    char aggregate[40];
    (void)snprintf(aggregate, sizeof aggregate, "orders.%u", order);
    dbk_segment_stream in;
    assert_true(dbk_segment_get_stream(view->sources[segment]->segment, 0, &in));
    dbk_term term;
    dbk_term_make(&term, DBK_TERM_AGGREGATE, in.stream_id, daybook_text(aggregate));
    uint64_t bits = dbk_sieve_term(view, first, count, dbk_term_slice(&term));
    if (segment >= first && segment < first + count) assert_true((bits >> (segment - first) & 1) != 0);
    return (unsigned)__builtin_popcountll(bits);
}

static void most_segments_are_passed_over(void **state) {
    fixture *made = *state;
    dbk_view *view = dbk_store_get_view(made->store);
    assert_int_equal(view->segment_count, SEGMENT_COUNT);
    unsigned passed = 0;
    for (unsigned i = 0; i < SEGMENT_COUNT; i++) {
        passed += passing(view, 0, DBK_SIEVE_MAX, order_in(i), i);
        passed += passing(view, DBK_SIEVE_MAX, SEGMENT_COUNT - DBK_SIEVE_MAX, order_in(i), i);
    }
    // Each in its own, and one of 256 wrongly elsewhere: 19 are expected, 60 too many to be chance.
    assert_in_range(passed, SEGMENT_COUNT, SEGMENT_COUNT + 60);
    dbk_view_unref(view);
}

static void what_is_not_in_memory_is_asked(void **state) {
    fixture *made = *state;
    assert_int_equal(daybook_close(made->store, NULL), DAYBOOK_OK);
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.vfs = dbk_sim_vfs(made->sim);
    options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    assert_int_equal(daybook_open("/s", &options, &made->store, NULL), DAYBOOK_OK);
    dbk_view *view = dbk_store_get_view(made->store);
    assert_int_equal(passing(view, 0, DBK_SIEVE_MAX, order_in(3), 3), DBK_SIEVE_MAX);
    dbk_view_unref(view);
}

static void merge_all(daybook_store *store) {
    daybook_status status;
    while ((status = daybook_maintain(store, NULL)) == DAYBOOK_OK) continue;
    assert_int_equal(status, DAYBOOK_END);
}

// What was sifted of one list of segments says nothing of another.
static void a_cursor_finds_the_rest_behind_a_merge(void **state) {
    const fixture *made = *state;
    for (int round = 0; round < ROUNDS; round++)
        expect_end(open_cursor(made->store, 4000000, 4000001, 0)); // filters into memory
    daybook_cursor *forward = open_cursor(made->store, order_in(5), order_in(66), 0);
    daybook_cursor *back = open_cursor(made->store, order_in(5), order_in(66), DAYBOOK_QUERY_REVERSE);
    expect_order(forward, order_in(5));
    expect_order(back, order_in(66));
    merge_all(made->store);
    expect_order(forward, order_in(66));
    expect_order(back, order_in(5));
    expect_end(forward);
    expect_end(back);
}

// Only a hash is left of it, in what erasing has made of its segment.
static void an_id_whose_event_is_removed_is_known(void **state) {
    const fixture *made = *state;
    unsigned order = 3 * ORDERS_PER_SEGMENT + 9;
    char id[40];
    (void)snprintf(id, sizeof id, "order-%u", order);
    assert_int_equal(daybook_event_remove(made->store, daybook_text("ORDERS"), order + 1, 1, NULL),
                     DAYBOOK_OK);
    for (unsigned i = 0; i < 20; i++) append_orders(made->store, SEGMENT_COUNT + i);
    merge_all(made->store);
    dbk_view *view = dbk_store_get_view(made->store);
    assert_in_range(view->segment_count, 2, SEGMENT_COUNT);
    dbk_view_unref(view);
    for (int round = 0; round < ROUNDS; round++) {
        daybook_receipt receipt = append_again(made->store, id);
        assert_true((receipt.flags & DAYBOOK_RECEIPT_DELETED) != 0);
    }
}

// Orders of different segments, in one question and one by one: none is left out.
static void each_order_is_counted(void **state) {
    fixture *at = *state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned segment = 0; segment + 1 < SEGMENT_COUNT; segment += 3) {
            char text[2][40];
            (void)snprintf(text[0], sizeof text[0], "orders.%u.>", order_in(segment));
            (void)snprintf(text[1], sizeof text[1], "orders.%u.>", order_in(segment + 1));
            daybook_slice filters[2] = {daybook_text(text[0]), daybook_text(text[1])};
            for (size_t count = 1; count <= 2; count++) {
                uint64_t counted = 0;
                assert_int_equal(daybook_stream_count(at->store, daybook_text("ORDERS"), filters, count, 1,
                                                      &counted, NULL),
                                 DAYBOOK_OK);
                assert_int_equal(counted, count);
            }
        }
    }
}

int main(void) {
    // In this order: later tests find in memory what the first has asked for, the last two merge.
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_find_what_any_segment_has),
        cmocka_unit_test(conditions_see_what_any_segment_has),
        cmocka_unit_test(ids_are_known_whichever_segment_has_them),
        cmocka_unit_test(each_order_is_counted),
        cmocka_unit_test(most_segments_are_passed_over),
        cmocka_unit_test(what_is_not_in_memory_is_asked),
        cmocka_unit_test(a_cursor_finds_the_rest_behind_a_merge),
        cmocka_unit_test(an_id_whose_event_is_removed_is_known),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
