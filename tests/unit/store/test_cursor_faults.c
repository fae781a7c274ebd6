// SPDX-License-Identifier: Apache-2.0
// Memory that runs out while a cursor reads: the call fails with ENOMEM, and made again it leaves nothing out
// and gives nothing twice, wherever the events lie and in whatever way they are read.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daybook/daybook.h"
#include "lib/fault_allocator.h"

enum { EVENTS = 60, FLUSHED = 40, SUBJECTS = 7 };

static fault_allocator faults;
static daybook_store *store;
static daybook_error failure;

static void append_numbered(int number) {
    char subject[64], data[64], id[32];
    (void)snprintf(subject, sizeof subject, "orders.%d.step", number % SUBJECTS);
    (void)snprintf(data, sizeof data, "{\"n\":%d}", number);
    (void)snprintf(id, sizeof id, "id-%d", number);
    daybook_slice tags[20];
    daybook_header headers[20];
    // More of them from time to time, so that room is made again and again.
    size_t count = (size_t)(number % 19) + 1;
    for (size_t i = 0; i < count; i++) {
        tags[i] = daybook_text("tag");
        headers[i] = (daybook_header){daybook_text("Name"), daybook_text("value")};
    }
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    event.data = daybook_text(data);
    event.id = daybook_text(id);
    event.tags = tags;
    event.tag_count = 1;
    event.headers = headers;
    event.header_count = count;
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    assert_int_equal(daybook_append(store, &event, 1, &options, NULL, &failure), DAYBOOK_OK);
}

static int open_store(void **state) {
    (void)state;
    daybook_open_options options;
    daybook_open_options_init(&options);
    fault_allocator_init(&faults);
    options.allocator = &faults.allocator;
    options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    daybook_error_init(&failure);
    if (daybook_open(":memory:", &options, &store, &failure) != DAYBOOK_OK) return -1;
    for (int i = 1; i <= EVENTS; i++) {
        append_numbered(i);
        if (i == 15 || i == FLUSHED) assert_int_equal(daybook_flush(store, &failure), DAYBOOK_OK);
    }
    return 0;
}

static int close_store(void **state) {
    (void)state;
    return daybook_close(store, NULL) == DAYBOOK_OK ? 0 : -1;
}

// Reads with the `nth` allocation failing, and `count` behind it; false where it did not need so many.
static bool read_with(const daybook_query *query, uint64_t nth, int count, size_t expected) {
    daybook_cursor *cursor = NULL;
    assert_int_equal(daybook_read(store, query, &cursor, &failure), DAYBOOK_OK);
    bool is_back = (query->flags & DAYBOOK_QUERY_REVERSE) != 0;
    uint64_t last = is_back ? UINT64_MAX : 0;
    size_t given = 0;
    int failures = 0;
    fault_allocator_fail(&faults, nth, count > 1);
    for (;;) {
        daybook_recorded_event event;
        event.size = sizeof event;
        daybook_status status = daybook_cursor_next(cursor, 0, &event, &failure);
        if (status == DAYBOOK_ENOMEM) {
            if (++failures == count) fault_allocator_fail(&faults, 0, false);
            assert_true(failures < 1000);
            if (query->id.size == 0 && (query->flags & DAYBOOK_QUERY_LAST_PER_SUBJECT) == 0 && last != 0 &&
                last != UINT64_MAX)
                assert_true(is_back ? daybook_cursor_position(cursor) <= last
                                    : daybook_cursor_position(cursor) >= last);
            continue;
        }
        if (status == DAYBOOK_END || status == DAYBOOK_TIMEOUT) break;
        assert_int_equal(status, DAYBOOK_OK);
        assert_true(is_back ? event.position < last : event.position > last);
        char text[64];
        (void)snprintf(text, sizeof text, "{\"n\":%d}", (int)event.position);
        assert_int_equal(event.event.data.size, strlen(text));
        assert_memory_equal(event.event.data.data, text, strlen(text));
        assert_int_equal(event.event.header_count, event.position % 19 + 1);
        assert_int_equal(
            daybook_cursor_position(cursor) == 0 || daybook_cursor_position(cursor) == event.position, 1);
        last = event.position;
        given++;
    }
    bool has_failed = failures > 0 || fault_allocator_has_failed(&faults);
    fault_allocator_fail(&faults, 0, false);
    daybook_cursor_close(cursor);
    if (given != expected) fail_msg("allocation %d: %d events of %d", (int)nth, (int)given, (int)expected);
    return has_failed;
}

static void check_each(const daybook_query *query, size_t expected) {
    static const int counts[] = {1, 2, 5};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        uint64_t nth = 1;
        while (read_with(query, nth, counts[i], expected)) nth++;
        assert_true(nth > 1); // it needs some
    }
}

static void following_leaves_nothing_out(void **state) {
    (void)state;
    daybook_query query;
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_FOLLOW;
    check_each(&query, EVENTS);
}

static void reading_leaves_nothing_out(void **state) {
    (void)state;
    daybook_query query;
    daybook_query_init(&query);
    check_each(&query, EVENTS);
    query.flags = DAYBOOK_QUERY_REVERSE;
    check_each(&query, EVENTS);
}

static void looking_by_index_leaves_nothing_out(void **state) {
    (void)state;
    daybook_slice filter = daybook_text("orders.3.*");
    daybook_query query;
    daybook_query_init(&query);
    query.filters = &filter;
    query.filter_count = 1;
    check_each(&query, 9);
    query.flags = DAYBOOK_QUERY_FOLLOW;
    check_each(&query, 9);
    query.flags = DAYBOOK_QUERY_REVERSE;
    check_each(&query, 9);
}

static void lists_leave_nothing_out(void **state) {
    (void)state;
    daybook_query query;
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_LAST_PER_SUBJECT;
    check_each(&query, SUBJECTS);
    query.flags |= DAYBOOK_QUERY_REVERSE;
    check_each(&query, SUBJECTS);
    daybook_query_init(&query);
    query.id = daybook_text("id-17");
    check_each(&query, 1);
}

static void a_limit_counts_what_is_given(void **state) {
    (void)state;
    daybook_query query;
    daybook_query_init(&query);
    query.limit = 50;
    check_each(&query, 50);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(following_leaves_nothing_out, open_store, close_store),
        cmocka_unit_test_setup_teardown(reading_leaves_nothing_out, open_store, close_store),
        cmocka_unit_test_setup_teardown(looking_by_index_leaves_nothing_out, open_store, close_store),
        cmocka_unit_test_setup_teardown(lists_leave_nothing_out, open_store, close_store),
        cmocka_unit_test_setup_teardown(a_limit_counts_what_is_given, open_store, close_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
