// SPDX-License-Identifier: Apache-2.0
// What a producer may say: each limit at its edge, with a message that names field and reason.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/time.h"
#include "record/event.h"

static char long_text[DAYBOOK_SUBJECT_SIZE_MAX + DAYBOOK_HEADER_SIZE_MAX + 2];

static daybook_slice text_of(size_t size) {
    return daybook_bytes(long_text, size);
}

static daybook_event valid_event(void) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("orders.123.shipped");
    return event;
}

static void assert_refused(const daybook_event *event, daybook_status status, const char *field,
                           const char *why) {
    daybook_error error;
    daybook_error_init(&error);
    assert_int_equal(dbk_event_validate(event, 17, &error), status);
    assert_int_equal(error.status, status);
    assert_int_equal(error.event, 17);
    if (strstr(error.message, field) == NULL || strstr(error.message, why) == NULL) {
        fail_msg("\"%s\" should name \"%s\" and \"%s\"", error.message, field, why);
    }
    assert_true(dbk_is_utf8(daybook_text(error.message)));
    assert_int_equal(dbk_event_validate(event, 17, NULL), status);
}

static void assert_accepted(const daybook_event *event) {
    daybook_error error;
    daybook_error_init(&error);
    if (dbk_event_validate(event, 0, &error) != DAYBOOK_OK) fail_msg("%s", error.message);
}

static void subjects_are_checked(void **state) {
    (void)state;
    static const struct {
        const char *subject;
        const char *why;
    } cases[] = {
        {"", "empty"},         {"orders.*.x", "wildcard"}, {"orders.>", "wildcard"},  {"a..b", "empty token"},
        {".a", "empty token"}, {"a.", "empty token"},      {"a b", "white space"},    {"a\tb", "control"},
        {"a\x7f", "control"},  {"a.\xff\xfe", "UTF-8"},    {"\xed\xa0\x80", "UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        daybook_event event = valid_event();
        event.subject = daybook_text(cases[i].subject);
        assert_refused(&event, DAYBOOK_ESUBJECT, "subject", cases[i].why);
    }
    daybook_event event = valid_event();
    event.subject = text_of(DAYBOOK_SUBJECT_SIZE_MAX);
    assert_accepted(&event);
    event.subject = text_of(DAYBOOK_SUBJECT_SIZE_MAX + 1);
    assert_refused(&event, DAYBOOK_ESUBJECT, "subject", "1024");
    event.subject = daybook_bytes(NULL, 3);
    assert_refused(&event, DAYBOOK_ESUBJECT, "subject", "no bytes");
    event.subject = daybook_bytes("a\0b", 3);
    assert_refused(&event, DAYBOOK_ESUBJECT, "subject", "control");
    event.subject = daybook_text("a*.b>.c"); // wildcards only as whole tokens
    assert_accepted(&event);
}

// Cut between two characters of three bytes: 64 is within one.
static void a_long_subject_is_shown_in_part(void **state) {
    (void)state;
    daybook_event event = valid_event();
    event.subject =
        daybook_text("\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac"
                     "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac"
                     "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac"
                     "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac.>");
    daybook_error error;
    daybook_error_init(&error);
    assert_int_equal(dbk_event_validate(&event, 0, &error), DAYBOOK_ESUBJECT);
    const char *begin = strchr(error.message, '"'), *end = strrchr(error.message, '"');
    assert_non_null(begin);
    assert_int_equal(end - begin - 1, 63);
    assert_refused(&event, DAYBOOK_ESUBJECT, "subject", "wildcard");
}

static void texts_are_checked(void **state) {
    (void)state;
    static const char *const names[] = {"id", "type", "schema", "correlation", "causation", "actor"};
    for (size_t i = 0; i < 6; i++) {
        daybook_event event = valid_event();
        daybook_slice *const fields[] = {&event.id,          &event.type,      &event.schema,
                                         &event.correlation, &event.causation, &event.actor};
        *fields[i] = text_of(DAYBOOK_TEXT_SIZE_MAX);
        assert_accepted(&event);
        *fields[i] = text_of(DAYBOOK_TEXT_SIZE_MAX + 1);
        assert_refused(&event, DAYBOOK_EINVALID, names[i], "255");
        *fields[i] = daybook_text("bad\xc3");
        assert_refused(&event, DAYBOOK_EINVALID, names[i], "UTF-8");
        *fields[i] = daybook_text("line\nbreak");
        assert_refused(&event, DAYBOOK_EINVALID, names[i], "control");
        *fields[i] = daybook_bytes(NULL, 5);
        assert_refused(&event, DAYBOOK_EINVALID, names[i], "no bytes");
        *fields[i] = daybook_text("grüße, 世界");
        assert_accepted(&event);
    }
}

static void tags_are_checked(void **state) {
    (void)state;
    enum { MILLION = 1000000 };
    daybook_slice *tags = malloc(MILLION * sizeof *tags);
    assert_non_null(tags);
    for (size_t i = 0; i < MILLION; i++) tags[i] = daybook_text("t");
    daybook_event event = valid_event();
    event.tags = tags;
    event.tag_count = DAYBOOK_TAG_COUNT_MAX;
    assert_accepted(&event);
    event.tag_count = DAYBOOK_TAG_COUNT_MAX + 1;
    assert_refused(&event, DAYBOOK_EINVALID, "tags", "128");
    event.tag_count = MILLION;
    assert_refused(&event, DAYBOOK_EINVALID, "1000000", "128");
    event.tag_count = SIZE_MAX;
    assert_refused(&event, DAYBOOK_EINVALID, "tags", "128");
    event.tag_count = 2;
    tags[1] = daybook_text("");
    assert_refused(&event, DAYBOOK_EINVALID, "tag 2", "empty");
    tags[1] = text_of(DAYBOOK_TEXT_SIZE_MAX + 1);
    assert_refused(&event, DAYBOOK_EINVALID, "tag 2", "255");
    tags[1] = daybook_text("\x80");
    assert_refused(&event, DAYBOOK_EINVALID, "tag 2", "UTF-8");
    event.tags = NULL;
    assert_refused(&event, DAYBOOK_EINVALID, "tags", "NULL");
    free(tags);
}

static void headers_are_checked(void **state) {
    (void)state;
    static daybook_header headers[DAYBOOK_HEADER_COUNT_MAX + 1];
    for (size_t i = 0; i <= DAYBOOK_HEADER_COUNT_MAX; i++) {
        headers[i] = (daybook_header){.name = daybook_text("X-Name"), .value = daybook_text("v")};
    }
    daybook_event event = valid_event();
    event.headers = headers;
    event.header_count = DAYBOOK_HEADER_COUNT_MAX;
    assert_accepted(&event);
    event.header_count = DAYBOOK_HEADER_COUNT_MAX + 1;
    assert_refused(&event, DAYBOOK_EINVALID, "headers", "256");
    event.header_count = 1;
    static const char *const bad_names[] = {"", "a b", "a:b", "\xc3\xa4", "a\tb"};
    for (size_t i = 0; i < sizeof bad_names / sizeof bad_names[0]; i++) {
        headers[0].name = daybook_text(bad_names[i]);
        assert_refused(&event, DAYBOOK_EINVALID, "header 1", i == 0 ? "255" : "not valid");
    }
    headers[0].name = text_of(DAYBOOK_TEXT_SIZE_MAX);
    assert_accepted(&event);
    headers[0].name = text_of(DAYBOOK_TEXT_SIZE_MAX + 1);
    assert_refused(&event, DAYBOOK_EINVALID, "header 1", "255");
    headers[0].name = daybook_bytes(NULL, 5);
    assert_refused(&event, DAYBOOK_EINVALID, "header 1", "5 bytes");
    headers[0].name = daybook_text("Name");
    headers[0].value = daybook_text("");
    assert_accepted(&event);
    headers[0].value = text_of(DAYBOOK_HEADER_SIZE_MAX);
    assert_accepted(&event);
    headers[0].value = text_of(DAYBOOK_HEADER_SIZE_MAX + 1);
    assert_refused(&event, DAYBOOK_EINVALID, "\"Name\"", "65535");
    headers[0].value = daybook_text("\ta\t\t\xc3\xa4\tb\t");
    assert_accepted(&event);
    headers[0].value = daybook_text("a\tb\x1b[0m");
    assert_refused(&event, DAYBOOK_EINVALID, "\"Name\"", "control");
    headers[0].value = daybook_text("a\t\xc3\tb");
    assert_refused(&event, DAYBOOK_EINVALID, "\"Name\"", "UTF-8");
    headers[0].value = daybook_bytes(NULL, 3);
    assert_refused(&event, DAYBOOK_EINVALID, "\"Name\"", "3");
    headers[0].value = daybook_text("a\r\nInjected: x");
    assert_refused(&event, DAYBOOK_EINVALID, "\"Name\"", "control");
    headers[0].value = daybook_text("\xf5");
    assert_refused(&event, DAYBOOK_EINVALID, "\"Name\"", "UTF-8");
    event.headers = NULL;
    assert_refused(&event, DAYBOOK_EINVALID, "headers", "NULL");
}

static void time_is_within_the_printable_years(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t step_ns;
    } edges[] = {{"1678-01-01T00:00:00Z", -1}, {"2261-12-31T23:59:59.999999999Z", 1}};
    for (size_t i = 0; i < 2; i++) {
        daybook_event event = valid_event();
        assert_int_equal(daybook_time_parse(daybook_text(edges[i].text), 0, &event.time_ns), DAYBOOK_OK);
        assert_accepted(&event);
        event.time_ns += edges[i].step_ns;
        assert_refused(&event, DAYBOOK_EINVALID, "time", "1678 to 2261");
    }
    daybook_event event = valid_event();
    event.time_ns = INT64_MAX;
    assert_refused(&event, DAYBOOK_EINVALID, "time", "1678 to 2261");
}

static void data_over_the_limit_is_refused(void **state) {
    (void)state;
    uint8_t *data = calloc(1, DBK_EVENT_BODY_SIZE_MAX + 1);
    assert_non_null(data);
    daybook_event event = valid_event();
    event.data = daybook_bytes(data, DBK_EVENT_BODY_SIZE_MAX - 1000);
    assert_accepted(&event);
    event.data.size = DBK_EVENT_BODY_SIZE_MAX;
    assert_refused(&event, DAYBOOK_ELIMIT, "data", "16777216");
    event.data.size = SIZE_MAX;
    assert_refused(&event, DAYBOOK_ELIMIT, "data", "16777216");
    event.data = daybook_bytes(NULL, 1);
    assert_refused(&event, DAYBOOK_EINVALID, "data", "no bytes");
    free(data);
}

int main(void) {
    memset(long_text, 'x', sizeof long_text);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(subjects_are_checked),
        cmocka_unit_test(a_long_subject_is_shown_in_part),
        cmocka_unit_test(texts_are_checked),
        cmocka_unit_test(tags_are_checked),
        cmocka_unit_test(headers_are_checked),
        cmocka_unit_test(time_is_within_the_printable_years),
        cmocka_unit_test(data_over_the_limit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
