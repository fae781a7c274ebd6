// SPDX-License-Identifier: Apache-2.0
// The table of streams: who captures a subject, what overlaps, what is refused, and its catalogue form.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "daybook/subject.h"
#include "store/streams.h"

static dbk_stream_table *table;
static daybook_error failure;

static int open_table(void **state) {
    (void)state;
    daybook_error_init(&failure);
    return dbk_stream_table_new(dbk_allocator_default(), &table) == DAYBOOK_OK ? 0 : -1;
}

static int free_table(void **state) {
    (void)state;
    dbk_stream_table_free(table);
    return 0;
}

static daybook_status add(const char *name, const char *filter, dbk_stream **stream_out) {
    daybook_stream_config config;
    daybook_slice subject = daybook_text(filter);
    dbk_stream *stream;
    daybook_stream_config_init(&config);
    config.name = daybook_text(name);
    config.subjects = &subject;
    config.subject_count = 1;
    daybook_status status =
        dbk_stream_table_add(table, dbk_stream_table_next_id(table), &config, 1, &stream, &failure);
    if (stream_out != NULL) *stream_out = stream;
    return status;
}

static void the_stream_whose_filter_matches_captures(void **state) {
    (void)state;
    dbk_stream *orders, *stars, *exact;
    assert_int_equal(add("ORDERS", "orders.>", &orders), DAYBOOK_OK);
    assert_int_equal(add("STARS", "*.star", &stars), DAYBOOK_EOVERLAP);
    assert_int_equal(add("STARS", "*.*.*.star", &stars), DAYBOOK_EOVERLAP);
    assert_int_equal(add("STARS", "*", &stars), DAYBOOK_OK);
    assert_int_equal(add("EXACT", "a.b", &exact), DAYBOOK_OK);
    assert_ptr_equal(dbk_stream_table_capture(table, daybook_text("orders.1.placed")), orders);
    assert_ptr_equal(dbk_stream_table_capture(table, daybook_text("orders")), stars);
    assert_ptr_equal(dbk_stream_table_capture(table, daybook_text("a.b")), exact);
    assert_null(dbk_stream_table_capture(table, daybook_text("a.b.c")));
}

static void overlaps_are_refused_and_named(void **state) {
    (void)state;
    assert_int_equal(add("A", "a.*.x", NULL), DAYBOOK_OK);
    assert_int_equal(add("B", "a.1.>", NULL), DAYBOOK_EOVERLAP);
    assert_non_null(strstr(failure.message, "A"));
    assert_int_equal(add("A", "b.>", NULL), DAYBOOK_EEXISTS);
    assert_int_equal(add("B", "a.1.y", NULL), DAYBOOK_OK);
}

static void a_removed_stream_captures_nothing_and_frees_its_name(void **state) {
    (void)state;
    dbk_stream *first, *second;
    assert_int_equal(add("A", "a.>", &first), DAYBOOK_OK);
    dbk_stream_table_remove(table, first);
    assert_null(dbk_stream_table_capture(table, daybook_text("a.b")));
    assert_null(dbk_stream_table_find(table, daybook_text("A")));
    assert_int_equal(add("A", "a.>", &second), DAYBOOK_OK);
    assert_int_equal(second->id, first->id + 1);
    assert_ptr_equal(dbk_stream_table_capture(table, daybook_text("a.b")), second);
    assert_ptr_equal(dbk_stream_table_find_id(table, first->id), first);
}

static void malformed_configurations_are_refused(void **state) {
    (void)state;
    const char *const names[] = {"", "a.b", "a b", "a*", "a>", "a/b", "a\\b", "a\n"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_int_equal(add(names[i], "x.>", NULL), DAYBOOK_EINVALID);
    assert_int_equal(add("A", "x..y", NULL), DAYBOOK_ESUBJECT);
    assert_int_equal(add("A", "", NULL), DAYBOOK_ESUBJECT);
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text("A");
    assert_int_equal(dbk_stream_config_validate(&config, &failure), DAYBOOK_EINVALID);
    daybook_slice twice[] = {daybook_text("a.>"), daybook_text("a.b")};
    config.subjects = twice;
    config.subject_count = 2;
    assert_int_equal(dbk_stream_config_validate(&config, &failure), DAYBOOK_EINVALID);
}

static void the_catalogue_form_round_trips_and_is_checked(void **state) {
    (void)state;
    daybook_stream_config config, decoded;
    daybook_slice subjects[] = {daybook_text("a.>"), daybook_text("b.*")};
    static daybook_slice room[DAYBOOK_STREAM_SUBJECT_COUNT_MAX];
    daybook_stream_config_init(&config);
    config.name = daybook_text("A");
    config.subjects = subjects;
    config.subject_count = 2;
    config.max_msgs = 7;
    config.max_age_ns = 9;
    config.description = daybook_text("what it is");
    dbk_buf buf;
    dbk_buf_init(&buf, dbk_allocator_default(), 1 << 20);
    assert_int_equal(dbk_stream_encode(42, &config, 5, &buf), DAYBOOK_OK);
    uint32_t id;
    int64_t created_ns;
    assert_int_equal(dbk_stream_decode(daybook_bytes(buf.data, buf.size), &id, &decoded, &created_ns, room),
                     DAYBOOK_OK);
    assert_int_equal(id, 42);
    assert_int_equal(created_ns, 5);
    assert_int_equal(decoded.max_msgs, 7);
    assert_int_equal(decoded.subject_count, 2);
    assert_int_equal(daybook_filter_matches(decoded.subjects[1], daybook_text("b.c")), 1);
    for (size_t size = 0; size < buf.size; size++)
        assert_int_not_equal(
            dbk_stream_decode(daybook_bytes(buf.data, size), &id, &decoded, &created_ns, room), DAYBOOK_OK);
    buf.data[0] = 9;
    assert_int_equal(dbk_stream_decode(daybook_bytes(buf.data, buf.size), &id, &decoded, &created_ns, room),
                     DAYBOOK_EFORMAT);
    dbk_buf_deinit(&buf);
}

static void keys_sort_like_ids(void **state) {
    (void)state;
    char nine[16], ten[16];
    assert_true(dbk_slice_compare(dbk_stream_key(9, nine), dbk_stream_key(10, ten)) < 0);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, open_table, free_table)
    const struct CMUnitTest tests[] = {
        CASE(the_stream_whose_filter_matches_captures),
        CASE(overlaps_are_refused_and_named),
        CASE(a_removed_stream_captures_nothing_and_frees_its_name),
        CASE(malformed_configurations_are_refused),
        CASE(the_catalogue_form_round_trips_and_is_checked),
        CASE(keys_sort_like_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
