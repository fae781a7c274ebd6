// SPDX-License-Identifier: Apache-2.0
// The table of errors, and how a description is filled in.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/error.h"

static void every_error_has_its_own_number(void **state) {
    (void)state;
    int last = 0;
    for (int kind = 0; kind < DBK_API_ERROR_COUNT; kind++) {
        dbk_api_error error;
        assert_false(dbk_api_fail(&error, (dbk_api_error_kind)kind));
        if (error.error_code <= last) fail_msg("%d after %d", error.error_code, last);
        assert_in_range(error.error_code, 10002, 10999);
        assert_in_range(error.code, 400, 503);
        last = error.error_code;
    }
}

static void what_stands_in_braces_is_filled_in(void **state) {
    (void)state;
    dbk_api_error error;
    assert_false(dbk_api_fail_with(&error, DBK_API_ERR_STREAM_WRONG_LAST_SEQUENCE, "%d", 7));
    assert_int_equal(error.code, 400);
    assert_int_equal(error.error_code, 10071);
    assert_string_equal(error.description, "wrong last sequence: 7");
    (void)dbk_api_fail_with(&error, DBK_API_ERR_STREAM_INVALID_CONFIG, "%s", "a {b} c");
    assert_string_equal(error.description, "a {b} c");
    (void)dbk_api_fail_with(&error, DBK_API_ERR_STREAM_NOT_FOUND, "%s", "not used");
    assert_string_equal(error.description, "stream not found");
    (void)dbk_api_fail(&error, DBK_API_ERR_SEQUENCE_NOT_FOUND);
    assert_string_equal(error.description, "sequence  not found");
    assert_false(dbk_api_fail(NULL, DBK_API_ERR_STREAM_NOT_FOUND));
    assert_false(dbk_api_fail_with(NULL, DBK_API_ERR_STREAM_NOT_FOUND, "%s", ""));
}

static void long_texts_are_cut_between_characters(void **state) {
    (void)state;
    char text[DBK_API_ERROR_TEXT_SIZE + 2];
    dbk_api_error error;
    for (size_t offset = 0; offset < 2; offset++) {
        memset(text, 'x', sizeof text);
        for (size_t i = offset; i + 2 < sizeof text; i += 2) memcpy(text + i, "\xc3\xbc", 2);
        text[sizeof text - 1] = '\0';
        (void)dbk_api_fail_with(&error, DBK_API_ERR_STREAM_RESTORE, "%s", text);
        size_t size = strlen(error.description);
        assert_true(size < sizeof error.description && size >= sizeof error.description - 2);
        assert_true((unsigned char)error.description[size - 1] != 0xc3);
    }
}

static void check_status(daybook_status status, const char *message, int error_code,
                         const char *description) {
    daybook_error cause;
    dbk_api_error error;
    daybook_error_init(&cause);
    (void)snprintf(cause.message, sizeof cause.message, "%s", message);
    assert_false(dbk_api_fail_status(&error, status, &cause, DBK_API_ERR_STREAM_CREATE));
    assert_int_equal(error.error_code, error_code);
    assert_string_equal(error.description, description);
}

static void statuses_of_the_store_have_theirs(void **state) {
    (void)state;
    check_status(DAYBOOK_ENOMEM, "m", 10023, "insufficient resources");
    check_status(DAYBOOK_ENOSPC, "m", 10047, "insufficient storage resources available");
    check_status(DAYBOOK_EOVERLAP, "m", 10065, "subjects overlap with an existing stream");
    check_status(DAYBOOK_ENOSTREAM, "m", 10059, "stream not found");
    check_status(DAYBOOK_EIO, "the disk is gone", 10049, "the disk is gone");
    check_status(DAYBOOK_EIO, "", 10049, "input/output error");
    dbk_api_error error;
    (void)dbk_api_fail_status(&error, DAYBOOK_EIO, NULL, DBK_API_ERR_STREAM_CREATE);
    assert_string_equal(error.description, "input/output error");
}

static void an_error_is_an_object(void **state) {
    (void)state;
    dbk_api_error error;
    dbk_buf out;
    dbk_buf_init(&out, dbk_allocator_default(), 1024);
    (void)dbk_api_fail(&error, DBK_API_ERR_MAXIMUM_STREAMS_LIMIT);
    dbk_api_write_error_object(&out, &error);
    error.description[0] = '\0';
    dbk_api_write_error_object(&out, &error);
    dbk_buf_append_u8(&out, '\0');
    assert_string_equal(
        (const char *)out.data,
        "{\"code\":400,\"err_code\":10027,\"description\":\"maximum number of streams reached\"}"
        "{\"code\":400,\"err_code\":10027}");
    dbk_buf_deinit(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_has_its_own_number),
        cmocka_unit_test(what_stands_in_braces_is_filled_in),
        cmocka_unit_test(long_texts_are_cut_between_characters),
        cmocka_unit_test(statuses_of_the_store_have_theirs),
        cmocka_unit_test(an_error_is_an_object),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
