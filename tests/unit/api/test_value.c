// SPDX-License-Identifier: Apache-2.0
// Values as Go has them: what is written for a time, bytes; what is read from headers.
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/dial.h"
#include "api/value.h"

static void check_written(dbk_buf *out, const char *expected) {
    assert_int_equal(dbk_buf_status(out), DAYBOOK_OK);
    if (out->size != strlen(expected) || memcmp(out->data, expected, out->size) != 0)
        fail_msg("want %s, have %.*s", expected, (int)out->size, (const char *)out->data);
    dbk_buf_deinit(out);
}

static void check_base64(const char *bytes, const char *expected) {
    dbk_buf out;
    dbk_buf_init(&out, dbk_allocator_default(), 1024);
    dbk_api_write_base64(&out, daybook_text(bytes));
    check_written(&out, expected);
}

// RFC 4648, section 10.
static void bytes_are_base64_with_padding(void **state) {
    (void)state;
    check_base64("", "\"\"");
    check_base64("f", "\"Zg==\"");
    check_base64("fo", "\"Zm8=\"");
    check_base64("foo", "\"Zm9v\"");
    check_base64("foob", "\"Zm9vYg==\"");
    check_base64("fooba", "\"Zm9vYmE=\"");
    check_base64("foobar", "\"Zm9vYmFy\"");
    check_base64("\xff\xfe\xfb", "\"//77\"");
}

static void check_time(int64_t time_ns, const char *expected) {
    dbk_buf out;
    dbk_buf_init(&out, dbk_allocator_default(), 1024);
    dbk_api_write_time(&out, time_ns);
    check_written(&out, expected);
}

static void times_have_no_trailing_zeros(void **state) {
    (void)state;
    check_time(0, "\"0001-01-01T00:00:00Z\"");
    check_time(1, "\"1970-01-01T00:00:00.000000001Z\"");
    check_time(INT64_C(1000000000), "\"1970-01-01T00:00:01Z\"");
    check_time(INT64_C(1700000000120000000), "\"2023-11-14T22:13:20.12Z\"");
    check_time(-INT64_C(1000000000), "\"1969-12-31T23:59:59Z\"");
}

static void times_are_read_with_any_offset(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t time_ns;
    } good[] = {
        {"1970-01-01T00:00:00Z", 1}, // 0 is none
        {"1970-01-01T00:00:01Z", INT64_C(1000000000)},
        {"0001-01-01T00:00:00Z", 0},
        {"2023-11-14T22:13:20.12Z", INT64_C(1700000000120000000)},
        {"2023-11-14T23:13:20.12+01:00", INT64_C(1700000000120000000)},
        {"2023-11-14T21:43:20.120000000-00:30", INT64_C(1700000000120000000)},
        {"2023-11-14T22:13:20.1200000009999999Z", INT64_C(1700000000120000000)},
        {"9999-01-01T00:00:00Z", INT64_MAX},
        {"0500-01-01T00:00:00Z", INT64_MIN},
    };
    static const char *const bad[] = {
        "",
        "now",
        "2023-11-14",
        "2023-11-14T22:13:20",
        "2023-11-14 22:13:20Z",
        "2023-11-14T22:13:20.Z",
        "2023-11-14T22:13:20+01",
        "2023-11-14T22:13:20Zx",
        "2023-13-14T22:13:20Z",
        "2023-11-14T22:13:20*01:00",
        "2023-11-14T22:13:2",
        "2023-02-30T22:13:20Z",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        int64_t time_ns = 77;
        if (!dbk_api_parse_time(daybook_text(good[i].text), &time_ns) || time_ns != good[i].time_ns)
            fail_msg("%s: %lld", good[i].text, (long long)time_ns);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t time_ns;
        if (dbk_api_parse_time(daybook_text(bad[i]), &time_ns)) fail_msg("%s was taken", bad[i]);
    }
}

static void ttl_is_seconds_a_duration_or_never(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t ttl_ns;
    } good[] = {
        {"never", -1},
        {"NeVeR", -1},
        {"10", INT64_C(10000000000)},
        {"1s", INT64_C(1000000000)},
        {"1500ms", INT64_C(1000000000)},
        {"1h", INT64_C(3600000000000)},
        {"9223372036854775807", INT64_C(9223372036000000000)},
        {"99999999999999999999", INT64_C(9223372036000000000)},
    };
    static const char *const bad[] = {"", "0", "-1", "-5s", "999ms", "soon", "1d", "1.5", "+1", "neve"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        int64_t ttl_ns = 77;
        if (!dbk_api_parse_ttl(daybook_text(good[i].text), &ttl_ns) || ttl_ns != good[i].ttl_ns)
            fail_msg("%s: %lld", good[i].text, (long long)ttl_ns);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t ttl_ns;
        if (dbk_api_parse_ttl(daybook_text(bad[i]), &ttl_ns)) fail_msg("%s was taken", bad[i]);
    }
}

static void names_have_no_separators(void **state) {
    (void)state;
    char longest[DBK_API_NAME_SIZE_MAX + 1];
    memset(longest, 'x', sizeof longest);
    assert_true(dbk_api_name_is_valid(daybook_bytes(longest, DBK_API_NAME_SIZE_MAX)));
    assert_false(dbk_api_name_is_valid(daybook_bytes(longest, sizeof longest)));
    assert_true(dbk_api_name_is_valid(daybook_text("KV_\xc3\xbc-1$")));
    static const char *const bad[] = {"", "a b", "a.b", "*", ">", "a/b", "a\\b", "a\tb", "\xff", "a\x7f"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (dbk_api_name_is_valid(daybook_text(bad[i]))) fail_msg("%s was taken", bad[i]);
    assert_false(dbk_api_name_is_valid(daybook_bytes("a\0b", 3)));
}

static void versions_are_dialled(void **state) {
    (void)state;
    static const struct {
        const char *announced;
        int version, level;
        bool is_strict;
    } cases[] = {
        {"2.9.25", 209, 0, false},     {"2.10.0", 210, 0, false}, {"2.11.4", 211, 1, false},
        {"2.12.3", 212, 2, true},      {"2.14.6", 214, 4, true},  {"2.15.0", 215, 4, true},
        {"", 209, 0, false},           {"x", 209, 0, false},      {"2", 209, 0, false},
        {"999999.1.1", 209, 0, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dbk_api_dial dial;
        dbk_api_dial_init(&dial, cases[i].announced);
        assert_int_equal(dial.version, cases[i].version);
        assert_int_equal(dbk_api_dial_level(&dial), cases[i].level);
        assert_int_equal(dial.is_strict, cases[i].is_strict);
        assert_string_equal(dial.announced, cases[i].announced);
    }
    dbk_api_dial dial;
    dbk_api_dial_init(&dial, NULL);
    assert_string_equal(dial.announced, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_base64_with_padding),
        cmocka_unit_test(times_have_no_trailing_zeros),
        cmocka_unit_test(times_are_read_with_any_offset),
        cmocka_unit_test(ttl_is_seconds_a_duration_or_never),
        cmocka_unit_test(names_have_no_separators),
        cmocka_unit_test(versions_are_dialled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
