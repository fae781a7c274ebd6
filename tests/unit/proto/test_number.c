// SPDX-License-Identifier: Apache-2.0
#include "proto/number.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void expect_digits(uint64_t number) {
    char digits[DBK_DECIMAL_SIZE_MAX], expected[DBK_DECIMAL_SIZE_MAX + 1];
    int expected_size = snprintf(expected, sizeof expected, "%" PRIu64, number);
    size_t size = dbk_decimal_encode(number, digits);
    uint64_t read = ~number;
    assert_int_equal(size, expected_size);
    assert_memory_equal(digits, expected, size);
    assert_true(dbk_decimal_read(daybook_bytes(digits, size), &read));
    assert_true(read == number);
}

static void numbers_are_written_and_read(void **state) {
    (void)state;
    for (uint64_t number = 0; number < 100000; number++) expect_digits(number);
    for (uint64_t power = 1; power < UINT64_MAX / 10; power *= 10) {
        expect_digits(power - 1);
        expect_digits(power);
        expect_digits(power + 1);
    }
    expect_digits(UINT64_MAX - 1);
    expect_digits(UINT64_MAX);
}

static void other_texts_are_no_numbers(void **state) {
    (void)state;
    static const char *const texts[] = {"",
                                        " ",
                                        "x",
                                        "1x",
                                        "-1",
                                        "+1",
                                        " 1",
                                        "1 ",
                                        "0x1",
                                        "1e3",
                                        "18446744073709551616",
                                        "184467440737095516150",
                                        "99999999999999999999999999999999"};
    uint64_t number = 77;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (dbk_decimal_read(daybook_text(texts[i]), &number)) fail_msg("'%s'", texts[i]);
    }
    assert_int_equal(number, 77);
    assert_true(dbk_decimal_read(daybook_text("0000000000000000000000000000000042"), &number));
    assert_int_equal(number, 42);
}

static void durations_are_read(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t duration_ns;
    } cases[] = {
        {"0", 0},
        {"-0", 0},
        {"0s", 0},
        {"1ns", 1},
        {"1us", 1000},
        {"1\xc2\xb5s", 1000},
        {"1\xce\xbcs", 1000},
        {"100ms", 100000000},
        {"2s", 2000000000},
        {"+2s", 2000000000},
        {"-2s", -2000000000},
        {"1.5s", 1500000000},
        {".5s", 500000000},
        {"5.s", 5000000000},
        {"0.1s", 100000000},
        {"1m30s", 90000000000},
        {"1h2m3.5s", 3723500000000},
        {"24h", 86400000000000},
        {"0.000000001s", 1},
        {"0.25000000000000000000000000h", 900000000000},
        {"9223372036854775807ns", INT64_MAX},
        {"-9223372036854775808ns", INT64_MIN},
        {"2562047h47m16.854775807s", INT64_MAX},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t duration_ns = 77;
        if (!dbk_duration_read(daybook_text(cases[i].text), &duration_ns) ||
            duration_ns != cases[i].duration_ns)
            fail_msg("'%s' is %" PRId64, cases[i].text, duration_ns);
    }
}

static void other_texts_are_no_durations(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",
        "1",
        "-",
        "+",
        "s",
        ".s",
        "1 s",
        " 1s",
        "1s ",
        "1x",
        "1S",
        "1.5",
        "1..5s",
        "1s1",
        "--1s",
        "00",
        "1s-1s",
        "9223372036854775808ns",
        "2562047h47m16.854775808s",
        "9999999999999999999h",
        "99999999999999999999999999ns",
        "106752d",
        "\xc2",
        "1\xc2",
        "-9223372036854775809ns",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        int64_t duration_ns = 77;
        if (dbk_duration_read(daybook_text(texts[i]), &duration_ns))
            fail_msg("'%s' is %" PRId64, texts[i], duration_ns);
        assert_int_equal(duration_ns, 77);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_written_and_read),
        cmocka_unit_test(other_texts_are_no_numbers),
        cmocka_unit_test(durations_are_read),
        cmocka_unit_test(other_texts_are_no_durations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
