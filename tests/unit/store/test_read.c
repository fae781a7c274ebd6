// SPDX-License-Identifier: Apache-2.0
// Reading through the public API: every kind of bound and filter, in both directions, over memory table and
// segments alike; following; lists. The store lies partly in segments, partly in memory: each case runs on
// events 1 to 40 of which the first 25 are flushed.
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daybook/daybook.h"

enum { EVENTS = 40, FLUSHED = 25 };

static daybook_store *store;
static daybook_error failure;
static int64_t recorded_ns[EVENTS + 2];

static const char *const types[] = {"placed", "paid", "shipped", "closed"};

static void append_numbered(int number) {
    char subject[64], data[32], id[32], correlation[32];
    daybook_event event;
    daybook_event_init(&event);
    // Five orders of eight events each, interleaved; two tags of which one is rare.
    (void)snprintf(subject, sizeof subject, "orders.%d.%s", number % 5, types[number % 4]);
    (void)snprintf(data, sizeof data, "{\"n\":%d}", number);
    (void)snprintf(id, sizeof id, "id-%d", number);
    (void)snprintf(correlation, sizeof correlation, "c-%d", number % 7);
    daybook_slice tags[] = {daybook_text("all"), daybook_text("tenth")};
    event.subject = daybook_text(subject);
    event.data = daybook_text(data);
    event.id = daybook_text(id);
    event.correlation = daybook_text(correlation);
    event.actor = daybook_text(number % 2 == 0 ? "ann" : "bob");
    event.time_ns = INT64_C(1000) * (1000 - number); // runs backwards
    event.tags = tags;
    event.tag_count = number % 10 == 0 ? 2 : 1;
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    daybook_receipt receipt;
    assert_int_equal(daybook_append(store, &event, 1, &options, &receipt, &failure), DAYBOOK_OK);
    assert_int_equal(receipt.position, number);
    recorded_ns[number] = receipt.recorded_ns;
}

static int open_store(void **state) {
    (void)state;
    daybook_error_init(&failure);
    if (daybook_open(":memory:", NULL, &store, &failure) != DAYBOOK_OK) return -1;
    for (int i = 1; i <= EVENTS; i++) {
        append_numbered(i);
        if (i == 10 || i == FLUSHED) assert_int_equal(daybook_flush(store, &failure), DAYBOOK_OK);
    }
    return 0;
}

static int close_store(void **state) {
    (void)state;
    return daybook_close(store, NULL) == DAYBOOK_OK ? 0 : -1;
}

static int number_of(const daybook_recorded_event *event) {
    int number = 0;
    char data[32] = "";
    memcpy(data, event->event.data.data, event->event.data.size);
    assert_int_equal(sscanf(data, "{\"n\":%d}", &number), 1);
    return number;
}

// Reads the query forwards and backwards and compares with what `expected` says of each number.
static void check(daybook_query *query, int (*expected)(int number)) {
    for (int backwards = 0; backwards < 2; backwards++) {
        query->flags = (query->flags & ~(unsigned)DAYBOOK_QUERY_REVERSE) |
                       (backwards ? DAYBOOK_QUERY_REVERSE : 0);
        daybook_cursor *cursor;
        assert_int_equal(daybook_read(store, query, &cursor, &failure), DAYBOOK_OK);
        daybook_recorded_event event;
        for (int i = 1; i <= EVENTS; i++) {
            int number = backwards ? EVENTS + 1 - i : i;
            if (!expected(number)) continue;
            daybook_status status = daybook_cursor_next(cursor, 0, &event, &failure);
            assert_int_equal(status, DAYBOOK_OK);
            assert_int_equal(number_of(&event), number);
            assert_int_equal(event.position, number);
        }
        assert_int_equal(daybook_cursor_next(cursor, 0, &event, &failure), DAYBOOK_END);
        daybook_cursor_close(cursor);
    }
}

static int every_number(int number) {
    return number > 0;
}
static int of_order_3(int number) {
    return number % 5 == 3;
}
static int of_order_3_paid(int number) {
    return number % 5 == 3 && number % 4 == 1;
}
static int shipped(int number) {
    return number % 4 == 2;
}
static int shipped_or_closed(int number) {
    return number % 4 >= 2;
}
static int tenth(int number) {
    return number % 10 == 0;
}
static int of_c_2(int number) {
    return number % 7 == 2;
}
static int by_ann_and_tenth(int number) {
    return number % 10 == 0;
}
static int from_20_to_31(int number) {
    return number >= 20 && number <= 31;
}
static int from_20_until_31(int number) {
    return number >= 20 && number < 31;
}
static int after_31_until_20(int number) {
    return number > 20 && number <= 31;
}
static int seventeenth(int number) {
    return number == 17;
}
static int shipped_or_tenth_of_0(int number) {
    return number % 4 == 2 || (number % 10 == 0 && number % 5 == 0);
}
static int version_2_of_order_3(int number) {
    return number == 8;
}
static int nothing(int number) {
    return number < 0;
}

static void filters_of_every_shape_find_their_events(void **state) {
    (void)state;
    const struct {
        const char *filter;
        int (*expected)(int number);
    } cases[] = {{">", every_number},
                 {"orders.>", every_number},
                 {"orders.3.>", of_order_3},
                 {"orders.3.*", of_order_3},
                 {"orders.3.paid", of_order_3_paid},
                 {"orders.*.shipped", shipped},
                 {"*.*.shipped", shipped},
                 {"orders.9.>", nothing},
                 {"orders.3", nothing},
                 {"carts.>", nothing}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        daybook_query query;
        daybook_query_init(&query);
        daybook_slice filter = daybook_text(cases[i].filter);
        query.filters = &filter;
        query.filter_count = 1;
        check(&query, cases[i].expected);
        query.stream = daybook_text("ORDERS");
        check(&query, cases[i].expected);
    }
}

static void metadata_finds_its_events(void **state) {
    (void)state;
    daybook_query query;
    daybook_slice two[] = {daybook_text("shipped"), daybook_text("closed")};
    daybook_slice rare = daybook_text("tenth");
    daybook_query_init(&query);
    query.types = two;
    query.type_count = 2;
    check(&query, shipped_or_closed);
    daybook_query_init(&query);
    query.tags = &rare;
    query.tag_count = 1;
    check(&query, tenth);
    query.actor = daybook_text("ann");
    check(&query, by_ann_and_tenth);
    daybook_query_init(&query);
    query.correlation = daybook_text("c-2");
    check(&query, of_c_2);
    daybook_query_init(&query);
    query.id = daybook_text("id-17");
    check(&query, seventeenth);
    daybook_query_init(&query);
    query.causation = daybook_text("nobody");
    check(&query, nothing);
}

static void items_are_alternatives_of_conjunctions(void **state) {
    (void)state;
    daybook_query_item items[2];
    daybook_slice type = daybook_text("shipped"), tag = daybook_text("tenth");
    daybook_query_item_init(&items[0]);
    items[0].types = &type;
    items[0].type_count = 1;
    daybook_query_item_init(&items[1]);
    items[1].tags = &tag;
    items[1].tag_count = 1;
    items[1].filter = daybook_text("orders.0.>");
    daybook_query query;
    daybook_query_init(&query);
    query.items = items;
    query.item_count = 2;
    check(&query, shipped_or_tenth_of_0);
}

static void bounds_include_and_exclude_what_they_say(void **state) {
    (void)state;
    daybook_query query;
    daybook_query_init(&query);
    query.position_from = 20;
    query.position_to = 31;
    check(&query, from_20_to_31);
    daybook_query_init(&query);
    query.seq_from = 20;
    query.seq_to = 31;
    check(&query, from_20_to_31);
    query.stream = daybook_text("ORDERS");
    check(&query, from_20_to_31);
    daybook_query_init(&query);
    query.recorded_since_ns = recorded_ns[20];
    query.recorded_until_ns = recorded_ns[31];
    check(&query, from_20_until_31);
    daybook_query_init(&query);
    query.time_since_ns = 1000 * (1000 - 31);
    query.time_until_ns = 1000 * (1000 - 20);
    check(&query, after_31_until_20);
    daybook_query_init(&query);
    daybook_slice filter = daybook_text("orders.3.>");
    query.filters = &filter;
    query.filter_count = 1;
    query.version_from = query.version_to = 2;
    check(&query, version_2_of_order_3);
}

static void a_limit_ends_a_read_and_count_counts(void **state) {
    (void)state;
    daybook_query query;
    daybook_query_init(&query);
    query.limit = 3;
    uint64_t count;
    assert_int_equal(daybook_count(store, &query, &count, &failure), DAYBOOK_OK);
    assert_int_equal(count, 3);
    query.limit = 0;
    assert_int_equal(daybook_count(store, &query, &count, &failure), DAYBOOK_OK);
    assert_int_equal(count, EVENTS);
}

static void the_newest_of_each_subject_comes_in_order_of_position(void **state) {
    (void)state;
    daybook_query query;
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_LAST_PER_SUBJECT;
    daybook_cursor *cursor;
    assert_int_equal(daybook_read(store, &query, &cursor, &failure), DAYBOOK_OK);
    // 20 subjects, each met once in any 20 numbers: the last 20 events.
    for (int number = EVENTS - 19; number <= EVENTS; number++) {
        daybook_recorded_event event;
        assert_int_equal(daybook_cursor_next(cursor, 0, &event, &failure), DAYBOOK_OK);
        assert_int_equal(number_of(&event), number);
    }
    daybook_recorded_event event;
    assert_int_equal(daybook_cursor_next(cursor, 0, &event, &failure), DAYBOOK_END);
    daybook_cursor_close(cursor);
}

static void a_follower_goes_on_without_gap_or_overlap(void **state) {
    (void)state;
    daybook_query query;
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_FOLLOW;
    query.position_from = 30;
    daybook_cursor *cursor;
    daybook_recorded_event event;
    assert_int_equal(daybook_read(store, &query, &cursor, &failure), DAYBOOK_OK);
    for (int number = 30; number <= EVENTS; number++) {
        assert_int_equal(daybook_cursor_next(cursor, 0, &event, &failure), DAYBOOK_OK);
        assert_int_equal(event.position, number);
    }
    assert_int_equal(daybook_cursor_next(cursor, 0, &event, &failure), DAYBOOK_TIMEOUT);
    assert_int_equal(daybook_cursor_next(cursor, 5, &event, &failure), DAYBOOK_TIMEOUT);
    append_numbered(EVENTS + 1);
    assert_int_equal(daybook_flush(store, &failure), DAYBOOK_OK);
    assert_int_equal(daybook_cursor_next(cursor, 0, &event, &failure), DAYBOOK_OK);
    assert_int_equal(event.position, EVENTS + 1);
    assert_int_equal(daybook_cursor_position(cursor), EVENTS + 1);
    daybook_cursor_close(cursor);
}

static void *interrupt_soon(void *context) {
    daybook_cursor_interrupt(context);
    return NULL;
}

static void a_waiting_follower_can_be_interrupted(void **state) {
    (void)state;
    daybook_query query;
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_FOLLOW;
    query.position_from = EVENTS + 1;
    daybook_cursor *cursor;
    daybook_recorded_event event;
    pthread_t thread;
    assert_int_equal(daybook_read(store, &query, &cursor, &failure), DAYBOOK_OK);
    assert_int_equal(pthread_create(&thread, NULL, interrupt_soon, cursor), 0);
    assert_int_equal(daybook_cursor_next(cursor, -1, &event, &failure), DAYBOOK_ECLOSED);
    pthread_join(thread, NULL);
    daybook_cursor_close(cursor);
}

static void an_event_removed_is_read_by_nobody(void **state) {
    (void)state;
    daybook_query query;
    daybook_query_init(&query);
    daybook_cursor *cursor;
    daybook_recorded_event event;
    assert_int_equal(daybook_read(store, &query, &cursor, &failure), DAYBOOK_OK);
    assert_int_equal(daybook_cursor_next(cursor, 0, &event, &failure), DAYBOOK_OK);
    // One in a segment, one in memory, while a cursor is open.
    assert_int_equal(daybook_event_remove(store, daybook_text("ORDERS"), 2, 0, &failure), DAYBOOK_OK);
    assert_int_equal(daybook_event_remove(store, daybook_text("ORDERS"), 39, 1, &failure), DAYBOOK_OK);
    int count = 1;
    while (daybook_cursor_next(cursor, 0, &event, &failure) == DAYBOOK_OK) {
        assert_int_not_equal(event.seq, 2);
        assert_int_not_equal(event.seq, 39);
        count++;
    }
    assert_int_equal(count, EVENTS - 2);
    daybook_cursor_close(cursor);
    assert_int_equal(daybook_event_remove(store, daybook_text("ORDERS"), 2, 0, &failure), DAYBOOK_ENOTFOUND);
}

typedef struct listed {
    size_t count;
    uint64_t events;
    char last[64];
} listed;

static int note_entry(void *context, const daybook_list_entry *entry) {
    listed *noted = context;
    char name[64] = "";
    memcpy(name, entry->name.data, entry->name.size);
    assert_true(strcmp(name, noted->last) > 0);
    memcpy(noted->last, name, sizeof name);
    noted->count++;
    noted->events += entry->event_count;
    return 0;
}

static void lists_add_up_over_segments_and_memory(void **state) {
    (void)state;
    const struct {
        int kind;
        const char *filter;
        size_t count;
        uint64_t events;
    } cases[] = {
        {DAYBOOK_LIST_AGGREGATES, "", 5, EVENTS},        {DAYBOOK_LIST_AGGREGATES, "orders.2.>", 1, 8},
        {DAYBOOK_LIST_AGGREGATES, "carts.>", 0, 0},      {DAYBOOK_LIST_SUBJECTS, "", 20, EVENTS},
        {DAYBOOK_LIST_SUBJECTS, "orders.*.paid", 5, 10}, {DAYBOOK_LIST_TYPES, "", 4, EVENTS}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        listed noted = {0};
        assert_int_equal(daybook_list(store, cases[i].kind, daybook_text(""), daybook_text(cases[i].filter),
                                      note_entry, &noted, &failure),
                         DAYBOOK_OK);
        assert_int_equal(noted.count, cases[i].count);
        assert_int_equal(noted.events, cases[i].events);
    }
}

static void malformed_queries_are_refused(void **state) {
    (void)state;
    daybook_query query;
    daybook_cursor *cursor;
    daybook_slice filter = daybook_text("orders..x");
    daybook_query_init(&query);
    query.filters = &filter;
    query.filter_count = 1;
    assert_int_equal(daybook_read(store, &query, &cursor, &failure), DAYBOOK_ESUBJECT);
    daybook_query_init(&query);
    query.stream = daybook_text("NONE");
    assert_int_equal(daybook_read(store, &query, &cursor, &failure), DAYBOOK_ENOTFOUND);
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_FOLLOW | DAYBOOK_QUERY_REVERSE;
    assert_int_equal(daybook_read(store, &query, &cursor, &failure), DAYBOOK_EINVALID);
    assert_null(cursor);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, open_store, close_store)
    const struct CMUnitTest tests[] = {
        CASE(filters_of_every_shape_find_their_events),
        CASE(metadata_finds_its_events),
        CASE(items_are_alternatives_of_conjunctions),
        CASE(bounds_include_and_exclude_what_they_say),
        CASE(a_limit_ends_a_read_and_count_counts),
        CASE(the_newest_of_each_subject_comes_in_order_of_position),
        CASE(a_follower_goes_on_without_gap_or_overlap),
        CASE(a_waiting_follower_can_be_interrupted),
        CASE(an_event_removed_is_read_by_nobody),
        CASE(lists_add_up_over_segments_and_memory),
        CASE(malformed_queries_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
