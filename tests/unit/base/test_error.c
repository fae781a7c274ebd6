// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "daybook/event.h"
#include "daybook/version.h"

static void every_status_has_name_and_text(void **state) {
    (void)state;
#define COUNT_ONE(name, number, text) +1
    enum { STATUS_COUNT = 0 DAYBOOK_STATUS_MAP(COUNT_ONE) };
#undef COUNT_ONE
    assert_string_equal(daybook_status_name(DAYBOOK_OK), "OK");
    assert_string_equal(daybook_status_name(DAYBOOK_ECONFLICT), "ECONFLICT");
    assert_string_equal(daybook_status_name(DAYBOOK_ECLOSED), "ECLOSED");
    for (int number = 0; number > -STATUS_COUNT; number--) {
        assert_string_not_equal(daybook_status_name((daybook_status)number), "UNKNOWN");
        assert_true(strlen(daybook_status_text((daybook_status)number)) > 3);
    }
    assert_string_equal(daybook_status_name((daybook_status)-STATUS_COUNT), "UNKNOWN");
    assert_string_equal(daybook_status_name((daybook_status)1), "UNKNOWN");
    assert_non_null(daybook_status_text((daybook_status)99));
}

static void failing_fills_the_error_and_returns_the_status(void **state) {
    (void)state;
    daybook_error error;
    memset(&error, 0xff, sizeof error);
    assert_int_equal(dbk_fail(&error, DAYBOOK_EINVALID, "type is %d bytes: at most 255; shorten it", 300),
                     DAYBOOK_EINVALID);
    assert_int_equal(error.size, sizeof error);
    assert_int_equal(error.status, DAYBOOK_EINVALID);
    assert_int_equal(error.system_errno, 0);
    assert_string_equal(error.file, "");
    assert_string_equal(error.message, "type is 300 bytes: at most 255; shorten it");
}

static void no_error_to_fill_is_fine(void **state) {
    (void)state;
    assert_int_equal(dbk_fail(NULL, DAYBOOK_EIO, "x"), DAYBOOK_EIO);
    assert_int_equal(dbk_fail_system(NULL, -ENOSPC, "write", "file", 0), DAYBOOK_ENOSPC);
    assert_int_equal(dbk_fail_damaged(NULL, "file", 1, "x"), DAYBOOK_EDAMAGED);
    dbk_error_prepend(NULL, "x");
    daybook_error_init(NULL);
}

static void system_errors_have_their_own_statuses(void **state) {
    (void)state;
    static const struct {
        int number;
        daybook_status status;
    } cases[] = {
        {ENOSPC, DAYBOOK_ENOSPC},  {EDQUOT, DAYBOOK_ENOSPC},      {EMFILE, DAYBOOK_EMFILE},
        {ENFILE, DAYBOOK_EMFILE},  {EACCES, DAYBOOK_EPERMISSION}, {EPERM, DAYBOOK_EPERMISSION},
        {ENOLCK, DAYBOOK_EIO},     {EROFS, DAYBOOK_EREADONLY},    {ENOENT, DAYBOOK_ENOTFOUND},
        {EEXIST, DAYBOOK_EEXISTS}, {ENOMEM, DAYBOOK_ENOMEM},      {EIO, DAYBOOK_EIO},
        {ENOTDIR, DAYBOOK_EIO},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        daybook_error error;
        assert_int_equal(dbk_fail_system(&error, -cases[i].number, "open", "dir/file", 0), cases[i].status);
        assert_int_equal(error.status, cases[i].status);
        assert_int_equal(error.system_errno, cases[i].number);
        assert_string_equal(error.file, "dir/file");
        assert_non_null(strstr(error.message, "cannot open dir/file: "));
    }
}

static void a_system_error_names_file_and_offset(void **state) {
    (void)state;
    daybook_error error;
    (void)dbk_fail_system(&error, -EIO, "read", "a/b", 8192);
    assert_string_equal(
        error.message,
        "cannot read a/b at byte 8192: Input/output error; see what the system's log says of the disk");
    assert_true(error.offset == 8192);
    (void)dbk_fail_system(&error, -EIO, "draw random bytes", NULL, 0);
    assert_string_equal(
        error.message,
        "cannot draw random bytes: Input/output error; see what the system's log says of the disk");
    assert_string_equal(error.file, "");
}

static void a_limit_says_which_and_by_how_much(void **state) {
    (void)state;
    daybook_error error;
    daybook_error_init(&error);
    error.event = 7;
    assert_int_equal(dbk_fail_limit(&error, DAYBOOK_LIMIT_MAX_BYTES, 10, 12, "full: %d", 12), DAYBOOK_ELIMIT);
    assert_int_equal(error.status, DAYBOOK_ELIMIT);
    assert_int_equal(error.limit, DAYBOOK_LIMIT_MAX_BYTES);
    assert_int_equal(error.expected, 10);
    assert_int_equal(error.actual, 12);
    assert_int_equal(error.event, 0);
    assert_string_equal(error.message, "full: 12");
    assert_int_equal(dbk_fail_limit(NULL, DAYBOOK_LIMIT_MAX_BYTES, 10, 12, "full"), DAYBOOK_ELIMIT);
    assert_int_equal(dbk_fail(&error, DAYBOOK_ELIMIT, "another"), DAYBOOK_ELIMIT);
    assert_int_equal(error.limit, DAYBOOK_LIMIT_OTHER);
}

static void damage_names_file_and_offset(void **state) {
    (void)state;
    daybook_error error;
    assert_int_equal(dbk_fail_damaged(&error, "seg", 4096, "block %d is damaged", 7), DAYBOOK_EDAMAGED);
    assert_string_equal(error.file, "seg");
    assert_true(error.offset == 4096);
    assert_string_equal(error.message, "block 7 is damaged");
}

static void a_long_path_keeps_its_end(void **state) {
    (void)state;
    char path[600];
    memset(path, 'd', sizeof path);
    memcpy(path + sizeof path - 6, "/name", 6);
    daybook_error error;
    (void)dbk_fail_damaged(&error, path, 0, "x");
    assert_int_equal(strlen(error.file), DAYBOOK_ERROR_FILE_MAX - 1);
    assert_string_equal(error.file + strlen(error.file) - 5, "/name");
}

static void prefixes_come_in_front(void **state) {
    (void)state;
    daybook_error error;
    (void)dbk_fail(&error, DAYBOOK_EINVALID, "bad");
    dbk_error_prepend(&error, "line 3");
    dbk_error_prepend(&error, "file.csv");
    assert_string_equal(error.message, "file.csv: line 3: bad");
    assert_int_equal(error.status, DAYBOOK_EINVALID);
}

static void long_messages_are_cut_between_characters(void **state) {
    (void)state;
    char text[800];
    for (size_t shift = 0; shift < 4; shift++) {
        memset(text, 'x', shift);
        for (size_t at = shift; at + 4 < sizeof text; at += 4) memcpy(text + at, "\xf0\x9f\x98\x80", 5);
        daybook_error error;
        (void)dbk_fail(&error, DAYBOOK_EINVALID, "%s", text);
        assert_true(strlen(error.message) > DAYBOOK_ERROR_MESSAGE_MAX - 5);
        assert_true(dbk_is_utf8(daybook_text(error.message)));
        dbk_error_prepend(&error, "ab");
        assert_true(strlen(error.message) > DAYBOOK_ERROR_MESSAGE_MAX - 5);
        assert_true(dbk_is_utf8(daybook_text(error.message)));
        dbk_error_prepend(&error, text);
        assert_true(dbk_is_utf8(daybook_text(error.message)));
    }
}

static void an_empty_event_is_empty(void **state) {
    (void)state;
    daybook_event event;
    memset(&event, 0xff, sizeof event);
    daybook_event_init(&event);
    assert_int_equal(event.size, sizeof event);
    assert_true(event.time_ns == DAYBOOK_TIME_NONE);
    assert_int_equal(event.subject.size, 0);
    assert_int_equal(event.tag_count, 0);
    assert_null(event.headers);
    daybook_event_init(NULL);
}

static void the_build_names_its_libraries(void **state) {
    (void)state;
    assert_string_equal(daybook_version(), DAYBOOK_VERSION);
    assert_non_null(strstr(daybook_build(), "zstd 1."));
    assert_non_null(strstr(daybook_build(), "xxhash 0."));
    assert_non_null(strstr(daybook_build(), "roaring "));
    assert_ptr_equal(daybook_build(), daybook_build());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_name_and_text),
        cmocka_unit_test(failing_fills_the_error_and_returns_the_status),
        cmocka_unit_test(no_error_to_fill_is_fine),
        cmocka_unit_test(system_errors_have_their_own_statuses),
        cmocka_unit_test(a_system_error_names_file_and_offset),
        cmocka_unit_test(a_limit_says_which_and_by_how_much),
        cmocka_unit_test(damage_names_file_and_offset),
        cmocka_unit_test(a_long_path_keeps_its_end),
        cmocka_unit_test(prefixes_come_in_front),
        cmocka_unit_test(long_messages_are_cut_between_characters),
        cmocka_unit_test(an_empty_event_is_empty),
        cmocka_unit_test(the_build_names_its_libraries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
