// SPDX-License-Identifier: Apache-2.0
// The smaller requests: every field, what is empty, what a version does not know, and pull requests in all
// their forms.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/request.h"
#include "base/bytes.h"

static dbk_arena *arena;
static dbk_api_dial newest, oldest;
static dbk_api_error error;

static int set_up(void **state) {
    (void)state;
    dbk_api_dial_init(&newest, "2.14.6");
    dbk_api_dial_init(&oldest, "2.9.10");
    return dbk_arena_new(dbk_allocator_default(), 4096, &arena) == DAYBOOK_OK ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    dbk_arena_free(arena);
    return 0;
}

static void check_text(dbk_slice text, const char *expected) {
    if (!dbk_slice_equal(text, daybook_text(expected)))
        fail_msg("want %s, have %.*s", expected, (int)text.size, (const char *)text.data);
}

#define READ(name, dial, text, out) \
    assert_true(dbk_api_read_##name(&(dial), daybook_text(text), arena, &(out), &error))

static void requests_about_streams_are_read(void **state) {
    (void)state;
    dbk_api_stream_info_request info;
    READ(stream_info, newest, "{\"offset\":5,\"deleted_details\":true,\"subjects_filter\":\"a.>\"}", info);
    assert_int_equal(info.offset, 5);
    assert_true(info.deleted_details);
    check_text(info.subjects_filter, "a.>");
    dbk_api_page_request page;
    READ(stream_page, newest, "{\"offset\":-5,\"subject\":\"a\"}", page);
    assert_int_equal(page.offset, -5);
    check_text(page.subject, "a");
    READ(consumer_page, newest, " {\"offset\":7}\n", page);
    assert_int_equal(page.offset, 7);
    dbk_api_purge_request purge;
    READ(purge, newest, "{\"seq\":18446744073709551615,\"filter\":\"a\",\"keep\":3}", purge);
    assert_true(purge.seq == UINT64_MAX);
    check_text(purge.filter, "a");
    assert_int_equal(purge.keep, 3);
}

static void requests_about_messages_are_read(void **state) {
    (void)state;
    dbk_api_message_get_request get;
    READ(
        message_get, newest,
        "{\"seq\":1,\"last_by_subj\":\"a\",\"next_by_subj\":\"b\",\"batch\":2,\"max_bytes\":3,\"start_time\":"
        "\"1970-01-01T00:00:04Z\",\"multi_last\":[\"c\",\"d\"],\"up_to_seq\":5,\"up_to_time\":\"1970-01-"
        "01T00:00:06Z\","
        "\"no_hdr\":true,\"min_last_seq\":7}",
        get);
    assert_int_equal(get.seq, 1);
    check_text(get.last_by_subj, "a");
    check_text(get.next_by_subj, "b");
    assert_int_equal(get.batch, 2);
    assert_int_equal(get.max_bytes, 3);
    assert_int_equal(get.start_time_ns, 4000000000);
    assert_int_equal(get.multi_last.count, 2);
    check_text(get.multi_last.items[1], "d");
    assert_int_equal(get.up_to_seq, 5);
    assert_int_equal(get.up_to_time_ns, 6000000000);
    assert_true(get.no_headers);
    assert_int_equal(get.min_last_seq, 7);
    READ(message_get, oldest, "{\"next_by_subj\":\"b\",\"batch\":2,\"no_hdr\":true}", get);
    check_text(get.next_by_subj, "b");
    assert_int_equal(get.batch, 0);
    assert_false(get.no_headers);
    dbk_api_message_delete_request remove;
    READ(message_delete, newest, "{\"seq\":8,\"no_erase\":true}", remove);
    assert_int_equal(remove.seq, 8);
    assert_true(remove.no_erase);
}

static void requests_about_consumers_are_read(void **state) {
    (void)state;
    dbk_api_consumer_create_request create;
    READ(consumer_create, newest,
         "{\"stream_name\":\"S\",\"config\":{\"name\":\"c\"},\"action\":\"create\",\"pedantic\":true}",
         create);
    check_text(create.stream_name, "S");
    check_text(create.config.name, "c");
    assert_int_equal(create.action, DBK_API_ACTION_CREATE);
    assert_true(create.is_pedantic);
    READ(consumer_create, newest, "{\"action\":\"update\"}", create);
    assert_int_equal(create.action, DBK_API_ACTION_UPDATE);
    READ(consumer_create, newest, "{\"action\":\"\"}", create);
    assert_int_equal(create.action, DBK_API_ACTION_CREATE_OR_UPDATE);
    assert_false(
        dbk_api_read_consumer_create(&newest, daybook_text("{\"action\":\"x\"}"), arena, &create, &error));
    assert_string_equal(error.description, "invalid JSON: unknown consumer action: \"x\"");
    dbk_api_pause_request pause;
    READ(consumer_pause, newest, "{\"pause_until\":\"1970-01-01T00:00:01Z\"}", pause);
    assert_int_equal(pause.pause_until_ns, 1000000000);
    dbk_api_unpin_request unpin;
    READ(consumer_unpin, newest, "{\"group\":\"A\"}", unpin);
    check_text(unpin.group, "A");
    dbk_api_reset_request reset;
    READ(consumer_reset, newest, "{\"seq\":9}", reset);
    assert_int_equal(reset.seq, 9);
}

static void nothing_is_the_default(void **state) {
    (void)state;
    static const char *const texts[] = {"",      " \r\n\t", "{}",
                                        " { } ", "null",    "{\"seq\":null,\"filter\":null}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        dbk_api_purge_request purge;
        memset(&purge, 0xff, sizeof purge);
        READ(purge, newest, texts[i], purge);
        assert_true(purge.seq == 0 && purge.filter.size == 0 && purge.keep == 0);
    }
}

static void names_are_taken_in_any_case_and_the_last_counts(void **state) {
    (void)state;
    dbk_api_purge_request purge;
    READ(purge, newest, "{\"SEQ\":1,\"Keep\":2}", purge);
    assert_int_equal(purge.seq, 1);
    assert_int_equal(purge.keep, 2);
    READ(purge, newest, "{\"seq\":1,\"seq\":3}", purge);
    assert_int_equal(purge.seq, 3);
    assert_false(dbk_api_read_purge(&newest, daybook_text("{\"se\":1}"), arena, &purge, &error));
    assert_false(dbk_api_read_purge(&newest, daybook_text("{\"seqq\":1}"), arena, &purge, &error));
    READ(purge, oldest, "{\"seqq\":1}", purge);
}

static void what_is_no_request_is_refused(void **state) {
    (void)state;
    static const char *const texts[] = {
        "{",
        "[]",
        "1",
        "\"seq\"",
        "{\"seq\":\"1\"}",
        "{\"seq\":-1}",
        "{\"seq\":1e3}",
        "{\"seq\":18446744073709551617e3}",
        "{\"filter\":7}",
        "{\"keep\":[]}",
        "{\"seq\":1}x",
        "\xff",
        "{\"seq\":true}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        dbk_api_purge_request purge;
        if (dbk_api_read_purge(&newest, daybook_text(texts[i]), arena, &purge, &error))
            fail_msg("%s", texts[i]);
        assert_int_equal(error.error_code, 10025);
        assert_false(dbk_api_read_purge(&oldest, daybook_text(texts[i]), arena, &purge, &error));
        assert_string_equal(error.description, "invalid JSON");
        assert_false(dbk_api_read_purge(&oldest, daybook_text(texts[i]), arena, &purge, NULL));
    }
}

static void pull_requests_are_empty_numbers_or_objects(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t batch;
    } cases[] = {
        {"", 1},
        {" \n", 1},
        {"25", 25},
        {" 25 ", 25},
        {"-3", -3},
        {"+4", 4},
        {"0", 0},
        {"x", 1},
        {"5x", 1},
        {"99999999999999999999", 1},
        {"[]", 1},
        {"{}", 0},
        {"{\"batch\":7}", 7},
        {" {\"batch\":7} ", 7},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dbk_api_pull_request pull;
        if (!dbk_api_read_pull(&newest, daybook_text(cases[i].text), arena, &pull, &error))
            fail_msg("%s", cases[i].text);
        assert_int_equal(pull.batch, cases[i].batch);
    }
    dbk_api_pull_request pull;
    assert_true(
        dbk_api_read_pull(&newest,
                          daybook_text("{\"expires\":2000,\"batch\":1,\"max_bytes\":2,\"no_wait\":true,"
                                       "\"idle_heartbeat\":1000,\"group\":\"A\",\"min_pending\":3,"
                                       "\"min_ack_pending\":4,\"id\":\"pin\",\"priority\":5,\"unknown\":6}"),
                          arena, &pull, &error));
    assert_int_equal(pull.expires_ns, 2000);
    assert_int_equal(pull.max_bytes, 2);
    assert_true(pull.no_wait);
    assert_int_equal(pull.idle_heartbeat_ns, 1000);
    check_text(pull.group, "A");
    assert_int_equal(pull.min_pending, 3);
    assert_int_equal(pull.min_ack_pending, 4);
    check_text(pull.id, "pin");
    assert_int_equal(pull.priority, 5);
}

static void pull_requests_that_are_wrong_say_why(void **state) {
    (void)state;
    dbk_api_pull_request pull;
    assert_false(dbk_api_read_pull(&newest, daybook_text("{\"expires\":1999,\"idle_heartbeat\":1000}"), arena,
                                   &pull, &error));
    assert_string_equal(error.description, "heartbeat value too large");
    assert_false(dbk_api_read_pull(&newest, daybook_text("{\"batch\":\"x\"}"), arena, &pull, &error));
    assert_string_equal(error.description, "json: cannot unmarshal string into Go struct field "
                                           "JSApiConsumerGetNextRequest.batch of type int");
    assert_false(dbk_api_read_pull(&newest, daybook_text("{\"batch\""), arena, &pull, &error));
    assert_string_equal(error.description, "unexpected EOF");
    assert_false(dbk_api_read_pull(&newest, daybook_text("{\"idle_heartbeat\":9223372036854775807}"), arena,
                                   &pull, NULL));
}

static void emptiness_is_seen(void **state) {
    (void)state;
    static const char *const empty[] = {"", " ", "{}", "\n{ }\t"};
    static const char *const full[] = {"null", "[]", "0", "x", "{", "{\"a\":1}"};
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++)
        assert_true(dbk_api_is_empty(daybook_text(empty[i])));
    for (size_t i = 0; i < sizeof full / sizeof *full; i++)
        assert_false(dbk_api_is_empty(daybook_text(full[i])));
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(requests_about_streams_are_read),
        TEST(requests_about_messages_are_read),
        TEST(requests_about_consumers_are_read),
        TEST(nothing_is_the_default),
        TEST(names_are_taken_in_any_case_and_the_last_counts),
        TEST(what_is_no_request_is_refused),
        TEST(pull_requests_are_empty_numbers_or_objects),
        TEST(pull_requests_that_are_wrong_say_why),
        TEST(emptiness_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
