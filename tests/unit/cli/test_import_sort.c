// SPDX-License-Identifier: Apache-2.0
#include "import_testing.h"

static uint64_t random_state = 42;

static uint64_t next_random(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

// Events whose line is their number: sorted by time, equal times must keep that order.
static void sort_and_check(size_t budget_bytes, uint64_t count, uint64_t times, size_t data_size_max,
                           size_t runs_min) {
    cli_import_sorter *sorter;
    cli_import_problem problem;
    assert_int_equal(cli_import_sorter_new(budget_bytes, "/tmp", &sorter, &problem), DAYBOOK_OK);
    char *data = malloc(data_size_max + 1);
    memset(data, 'd', data_size_max + 1);
    uint64_t size_sum = 0;
    for (uint64_t i = 1; i <= count; i++) {
        daybook_slice tags[] = {daybook_text("t:1"), daybook_text("")};
        daybook_header headers[] = {{daybook_text("name"), daybook_text("value")}};
        char subject[64];
        (void)snprintf(subject, sizeof subject, "a.%llu.b", (unsigned long long)i);
        daybook_event event;
        daybook_event_init(&event);
        event.subject = daybook_text(subject);
        event.data = (daybook_slice){data, next_random() % (data_size_max + 1)};
        size_sum += event.data.size;
        event.actor = daybook_text("me");
        event.time_ns = (int64_t)(next_random() % times) - 5;
        event.tags = tags;
        event.tag_count = i % 3 == 0 ? 2 : 0;
        event.headers = headers;
        event.header_count = i % 5 == 0;
        assert_int_equal(cli_import_sorter_add(sorter, &event, (cli_import_place){i, 7}, &problem),
                         DAYBOOK_OK);
    }
    assert_int_equal(cli_import_sorter_finish(sorter, &problem), DAYBOOK_OK);
    assert_true(cli_import_sorter_run_count(sorter) >= runs_min);
    int64_t time_ns = INT64_MIN;
    uint64_t line = 0, seen = 0;
    daybook_event event;
    cli_import_place place;
    daybook_status status;
    while ((status = cli_import_sorter_next(sorter, &event, &place, &problem)) == DAYBOOK_OK) {
        assert_true(event.time_ns > time_ns || (event.time_ns == time_ns && place.line > line));
        time_ns = event.time_ns;
        line = place.line;
        char subject[64];
        (void)snprintf(subject, sizeof subject, "a.%llu.b", (unsigned long long)line);
        assert_true(cli_slice_equals(event.subject, daybook_text(subject)));
        assert_true(cli_slice_equals(event.actor, daybook_text("me")));
        assert_int_equal(event.tag_count, line % 3 == 0 ? 2 : 0);
        if (event.tag_count == 2) assert_true(cli_slice_equals(event.tags[0], daybook_text("t:1")));
        assert_int_equal(event.header_count, line % 5 == 0);
        if (event.header_count == 1)
            assert_true(cli_slice_equals(event.headers[0].value, daybook_text("value")));
        size_sum -= event.data.size;
        seen++;
    }
    assert_int_equal(status, DAYBOOK_END);
    assert_int_equal(seen, count);
    assert_int_equal(size_sum, 0);
    free(data);
    cli_import_sorter_free(sorter);
}

static void events_come_in_order_of_time_and_equal_times_as_they_came(void **state) {
    (void)state;
    sort_and_check(1024 * 1024, 1000, 50, 100, 0);
    sort_and_check(1024 * 1024, 0, 50, 100, 0);
    sort_and_check(1024 * 1024, 1, 1, 0, 0);
}

static void beyond_the_budget_runs_are_spilled_and_merged(void **state) {
    (void)state;
    sort_and_check(64 * 1024, 20000, 300, 200, 20);
    sort_and_check(64 * 1024, 20000, 1, 200, 20);
    sort_and_check(64 * 1024, 5000, 1000000, 60000, 100);
}

static void an_event_larger_than_the_budget_is_sorted_too(void **state) {
    (void)state;
    sort_and_check(4096, 50, 10, 100000, 10);
}

static void a_spill_folder_that_is_not_there_is_told(void **state) {
    (void)state;
    cli_import_sorter *sorter;
    cli_import_problem problem;
    assert_int_equal(cli_import_sorter_new(4096, "/nonexistent", &sorter, &problem), DAYBOOK_OK);
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("a.b.c");
    event.time_ns = 0;
    daybook_status status = DAYBOOK_OK;
    for (int i = 0; i < 1000 && status == DAYBOOK_OK; i++)
        status = cli_import_sorter_add(sorter, &event, (cli_import_place){1, 1}, &problem);
    assert_int_equal(status, DAYBOOK_EIO);
    assert_non_null(strstr(problem.message, "TMPDIR"));
    cli_import_sorter_free(sorter);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_come_in_order_of_time_and_equal_times_as_they_came),
        cmocka_unit_test(beyond_the_budget_runs_are_spilled_and_merged),
        cmocka_unit_test(an_event_larger_than_the_budget_is_sorted_too),
        cmocka_unit_test(a_spill_folder_that_is_not_there_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
