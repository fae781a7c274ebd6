// SPDX-License-Identifier: Apache-2.0
#include "base/time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const int64_t now_ns = INT64_C(1795230060) * DBK_SECOND_NS + 5; // 2026-11-21T03:01:00.000000005Z

typedef struct time_case {
    const char *text;
    const char *utc;
} time_case;

static void assert_parses(const char *text, const char *utc) {
    int64_t time_ns = 0;
    daybook_status status = daybook_time_parse(daybook_text(text), now_ns, &time_ns);
    if (status != DAYBOOK_OK) fail_msg("%s is refused", text);
    char formatted[DAYBOOK_TIME_TEXT_SIZE];
    assert_int_equal(daybook_time_format(time_ns, formatted), strlen(utc));
    assert_string_equal(formatted, utc);
}

static void times_are_understood(void **state) {
    (void)state;
    static const time_case cases[] = {
        {"2026-11-21T03:41:00Z", "2026-11-21T03:41:00.000000000Z"},
        {"2026-11-21t03:41:00z", "2026-11-21T03:41:00.000000000Z"},
        {"2026-11-21 03:41:00", "2026-11-21T03:41:00.000000000Z"},
        {"2026-11-21T03:41:00", "2026-11-21T03:41:00.000000000Z"},
        {"2026-11-21", "2026-11-21T00:00:00.000000000Z"},
        {"2026-11-21T03:41:00.5Z", "2026-11-21T03:41:00.500000000Z"},
        {"2026-11-21T03:41:00.123456789Z", "2026-11-21T03:41:00.123456789Z"},
        {"2026-11-21T03:41:00.000000001", "2026-11-21T03:41:00.000000001Z"},
        {"2026-11-21T03:41:00+02:00", "2026-11-21T01:41:00.000000000Z"},
        {"2026-11-21T03:41:00.25-05:30", "2026-11-21T09:11:00.250000000Z"},
        {"2026-11-21 23:41:00-00:30", "2026-11-22T00:11:00.000000000Z"},
        {"2026-01-01T00:00:00+23:59", "2025-12-31T00:01:00.000000000Z"},
        {"2026-12-31T23:59:59-23:59", "2027-01-01T23:58:59.000000000Z"},
        {"2026-11-21T03:41:00-00:00", "2026-11-21T03:41:00.000000000Z"},
        {"1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000000Z"},
        {"1969-12-31T23:59:59.999999999Z", "1969-12-31T23:59:59.999999999Z"},
        {"1678-01-01T00:00:00Z", "1678-01-01T00:00:00.000000000Z"},
        {"2261-12-31T23:59:59.999999999Z", "2261-12-31T23:59:59.999999999Z"},
        {"1677-12-31T23:59:59-00:01", "1678-01-01T00:00:59.000000000Z"}, // in range in UTC
        {"2262-01-01T00:30:00+01:00", "2261-12-31T23:30:00.000000000Z"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) assert_parses(cases[i].text, cases[i].utc);
}

static void leap_days_exist_where_they_do(void **state) {
    (void)state;
    assert_parses("2024-02-29", "2024-02-29T00:00:00.000000000Z");
    assert_parses("2000-02-29T12:00:00Z", "2000-02-29T12:00:00.000000000Z");
    assert_parses("2024-02-28T23:30:00-01:00", "2024-02-29T00:30:00.000000000Z");
    assert_parses("2023-02-28T23:30:00-01:00", "2023-03-01T00:30:00.000000000Z");
    static const char *const missing[] = {"2023-02-29", "1900-02-29", "2100-02-29", "2200-02-29",
                                          "2024-02-30"};
    for (size_t i = 0; i < sizeof missing / sizeof missing[0]; i++) {
        int64_t time_ns = 7;
        assert_int_equal(daybook_time_parse(daybook_text(missing[i]), now_ns, &time_ns), DAYBOOK_EINVALID);
        assert_int_equal(time_ns, 7);
    }
}

static void leap_seconds_are_the_next_midnight(void **state) {
    (void)state;
    assert_parses("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000000000Z");
    assert_parses("2016-12-31T23:59:60.5Z", "2017-01-01T00:00:00.500000000Z");
    assert_parses("1990-12-31T15:59:60-08:00", "1991-01-01T00:00:00.000000000Z"); // RFC 3339, 5.8
    assert_parses("2015-07-01T01:59:60+02:00", "2015-07-01T00:00:00.000000000Z");
}

static void malformed_times_are_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "",
        " ",
        "x",
        "Now",
        "now ",
        "NOW",
        "now-1h",
        "2026",
        "2026-11",
        "2026-11-2",
        "2026-1-21",
        "26-11-21",
        "2026-11-21T",
        "2026-11-21 ",
        "2026-11-21T03",
        "2026-11-21T03:41",
        "2026-11-21T03:41Z",
        "2026-11-21T03:41:0",
        "2026-11-21T03:41:00 Z",
        "2026-11-21T03:41:00.Z",
        "2026-11-21T03:41:00.",
        "2026-11-21T03:41:00.1234567890Z",
        "2026-11-21T03:41:00,5Z",
        "2026-11-21T03:41:00+2:00",
        "2026-11-21T03:41:00+0200",
        "2026-11-21T03:41:00+02",
        "2026-11-21T03:41:00+24:00",
        "2026-11-21T03:41:00+02:60",
        "2026-11-21T03:41:00+02:00x",
        "2026-11-21T03:41:00Zx",
        "2026-11-21T03:41:00ZZ",
        "2026-11-21_03:41:00Z",
        "2026-11-21  03:41:00Z",
        "2026/11/21",
        "2026-00-21",
        "2026-13-21",
        "2026-11-00",
        "2026-11-31",
        "2026-04-31",
        "2026-11-21T24:00:00Z",
        "2026-11-21T23:60:00Z",
        "2026-11-21T23:59:61Z",
        "2026-11-21T23:59:60Z",
        "2026-11-30T22:59:60Z",
        "2026-11-30T23:59:60+01:00",
        "1677-12-31T23:59:59Z",
        "2262-01-01T00:00:00Z",
        "0000-01-01",
        "9999-12-31T23:59:59Z",
        "1678-01-01T00:30:00+01:00",
        "2261-12-31T23:30:00-01:00",
        "+2026-11-21",
        "-2026-11-21",
        "20261121T034100Z",
        "2026-11-21T-3:41:00Z",
        "2026-11-21T+3:41:00Z",
        "2026-+1-21",
        "2026-11-2\xc2\xb2",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        int64_t time_ns = 7;
        if (daybook_time_parse(daybook_text(wrong[i]), now_ns, &time_ns) != DAYBOOK_EINVALID) {
            fail_msg("'%s' is taken", wrong[i]);
        }
        assert_int_equal(time_ns, 7);
    }
    int64_t time_ns = 0;
    assert_int_equal(daybook_time_parse(daybook_bytes(NULL, 0), now_ns, &time_ns), DAYBOOK_EINVALID);
    assert_int_equal(daybook_time_parse(daybook_bytes("2026-11-21\0", 11), now_ns, &time_ns),
                     DAYBOOK_EINVALID);
    assert_int_equal(daybook_time_parse(daybook_text("now"), now_ns, NULL), DAYBOOK_EMISUSE);
}

static void relative_times_count_from_now(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t distance_ns;
    } cases[] = {
        {"now", 0},
        {"-90m", -90 * 60 * DBK_SECOND_NS},
        {"+2h", 2 * 3600 * DBK_SECOND_NS},
        {"-1d", -86400 * DBK_SECOND_NS},
        {"-2w", -14 * 86400 * DBK_SECOND_NS},
        {"-1h30m", -5400 * DBK_SECOND_NS},
        {"+1ns", 1},
        {"-5us", -5000},
        {"+0", 0},
        {"-0s", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t time_ns = 0;
        assert_int_equal(daybook_time_parse(daybook_text(cases[i].text), now_ns, &time_ns), DAYBOOK_OK);
        assert_true(time_ns == now_ns + cases[i].distance_ns);
    }
    static const char *const wrong[] = {"-",
                                        "+",
                                        "-x",
                                        "-1",
                                        "--1h",
                                        "-1h ",
                                        "- 1h",
                                        "-1.5h",
                                        "-300000d",
                                        "+200000d",
                                        "-99999999999999999999s",
                                        "+1y",
                                        "-1H"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        int64_t time_ns = 7;
        assert_int_equal(daybook_time_parse(daybook_text(wrong[i]), now_ns, &time_ns), DAYBOOK_EINVALID);
        assert_int_equal(time_ns, 7);
    }
    int64_t time_ns = 0;
    assert_int_equal(daybook_time_parse(daybook_text("-1d"), INT64_MIN + 5, &time_ns), DAYBOOK_EINVALID);
    assert_int_equal(daybook_time_parse(daybook_text("+1d"), INT64_MAX - 5, &time_ns), DAYBOOK_EINVALID);
}

static void the_ends_of_the_range_are_printed(void **state) {
    (void)state;
    char text[DAYBOOK_TIME_TEXT_SIZE];
    assert_int_equal(daybook_time_format(INT64_MIN, text), 30);
    assert_string_equal(text, "1677-09-21T00:12:43.145224192Z");
    (void)daybook_time_format(INT64_MAX, text);
    assert_string_equal(text, "2262-04-11T23:47:16.854775807Z");
    (void)daybook_time_format(-1, text);
    assert_string_equal(text, "1969-12-31T23:59:59.999999999Z");
}

static void every_day_of_the_range_comes_back(void **state) {
    (void)state;
    const int64_t day_ns = 86400 * DBK_SECOND_NS;
    int64_t first = 0;
    int64_t last = 0;
    assert_int_equal(daybook_time_parse(daybook_text("1678-01-01"), 0, &first), DAYBOOK_OK);
    assert_int_equal(daybook_time_parse(daybook_text("2261-12-31"), 0, &last), DAYBOOK_OK);
    assert_true(last / day_ns - first / day_ns == 213300);
    char previous[DAYBOOK_TIME_TEXT_SIZE] = "";
    for (int64_t day = first; day <= last; day += day_ns) {
        int64_t time_ns = day + (day / day_ns * 7919 % 86400) * DBK_SECOND_NS;
        if (time_ns < day) time_ns += day_ns;
        char text[DAYBOOK_TIME_TEXT_SIZE];
        (void)daybook_time_format(time_ns, text);
        int64_t back = 0;
        if (daybook_time_parse(daybook_text(text), 0, &back) != DAYBOOK_OK || back != time_ns)
            fail_msg("%s", text);
        if (memcmp(previous, text, 10) >= 0) fail_msg("%s is not after %s", text, previous);
        memcpy(previous, text, sizeof previous);
    }
}

static void durations_are_understood(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t duration_ns;
    } cases[] = {
        {"0", 0},
        {"0s", 0},
        {"90s", 90 * DBK_SECOND_NS},
        {"1h30m", 5400 * DBK_SECOND_NS},
        {"250ms", 250 * DBK_MILLISECOND_NS},
        {"1w2d3h4m5s6ms7us8ns", INT64_C(788645006007008)},
        {"007s", 7 * DBK_SECOND_NS},
        {"9223372036854775807ns", INT64_MAX},
        {"9223372036s854775807ns", INT64_MAX},
        {"106751d", INT64_C(106751) * 86400 * DBK_SECOND_NS},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t duration_ns = -1;
        assert_int_equal(daybook_duration_parse(daybook_text(cases[i].text), &duration_ns), DAYBOOK_OK);
        assert_true(duration_ns == cases[i].duration_ns);
    }
}

static void malformed_durations_are_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "",
        "1",
        "00",
        "s",
        "-1s",
        "+1s",
        "1 s",
        " 1s",
        "1s ",
        "1S",
        "1x",
        "1hh",
        "1h30",
        "30m1h",
        "1h1h",
        "1.5h",
        "1e3s",
        "9223372036854775808ns",
        "9223372037s",
        "9223372036s854775808ns",
        "106752d",
        "99999999999999999999999s",
        "1msx",
        "1\xc2\xb5s",
        "h1",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        int64_t duration_ns = 7;
        if (daybook_duration_parse(daybook_text(wrong[i]), &duration_ns) != DAYBOOK_EINVALID) {
            fail_msg("'%s' is taken", wrong[i]);
        }
        assert_int_equal(duration_ns, 7);
    }
    assert_int_equal(daybook_duration_parse(daybook_text("1s"), NULL), DAYBOOK_EMISUSE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_understood),
        cmocka_unit_test(leap_days_exist_where_they_do),
        cmocka_unit_test(leap_seconds_are_the_next_midnight),
        cmocka_unit_test(malformed_times_are_refused),
        cmocka_unit_test(relative_times_count_from_now),
        cmocka_unit_test(the_ends_of_the_range_are_printed),
        cmocka_unit_test(every_day_of_the_range_comes_back),
        cmocka_unit_test(durations_are_understood),
        cmocka_unit_test(malformed_durations_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
