// SPDX-License-Identifier: Apache-2.0
// Numbers and durations against tables, and against reckoning done another way.
#include "base/number.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void expect_digits(uint64_t number) {
    char digits[DBK_DECIMAL_SIZE_MAX], expected[DBK_DECIMAL_SIZE_MAX + 1];
    int expected_size = snprintf(expected, sizeof expected, "%" PRIu64, number);
    size_t size = dbk_decimal_format(number, digits);
    uint64_t read = ~number;
    assert_int_equal(size, expected_size);
    assert_memory_equal(digits, expected, size);
    assert_true(dbk_decimal_parse(daybook_bytes(digits, size), &read));
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

static void expect_signed(int64_t number) {
    char digits[DBK_DECIMAL_SIZE_MAX], expected[DBK_DECIMAL_SIZE_MAX + 1];
    int expected_size = snprintf(expected, sizeof expected, "%" PRId64, number);
    size_t size = dbk_decimal_format_signed(number, digits);
    int64_t read = ~number;
    assert_int_equal(size, expected_size);
    assert_memory_equal(digits, expected, size);
    assert_true(dbk_decimal_parse_signed(daybook_bytes(digits, size), &read));
    assert_true(read == number);
}

static void signed_numbers_are_written_and_read(void **state) {
    (void)state;
    for (int64_t number = -1000; number < 1000; number++) expect_signed(number);
    for (int64_t power = 1; power < INT64_MAX / 10; power *= 10) {
        expect_signed(power - 1);
        expect_signed(-power);
    }
    expect_signed(INT64_MAX);
    expect_signed(INT64_MIN);
    expect_signed(INT64_MIN + 1);
    static const char *const texts[] = {
        "", "-", "--1", "+1", "- 1", "-1 ", "9223372036854775808", "-9223372036854775809"};
    int64_t number = 77;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (dbk_decimal_parse_signed(daybook_text(texts[i]), &number)) fail_msg("'%s'", texts[i]);
    }
    assert_false(dbk_decimal_parse_signed(daybook_bytes(NULL, 0), &number));
    assert_int_equal(number, 77);
    assert_true(dbk_decimal_parse_signed(daybook_text("-0"), &number));
    assert_int_equal(number, 0);
}

static void numbers_are_appended(void **state) {
    (void)state;
    dbk_buf out;
    dbk_buf_init(&out, dbk_allocator_default(), 1024);
    dbk_decimal_append_signed(&out, INT64_MIN);
    dbk_decimal_append(&out, UINT64_MAX);
    dbk_decimal_append_signed(&out, 0);
    assert_int_equal(dbk_buf_status(&out), DAYBOOK_OK);
    assert_int_equal(out.size, 41);
    assert_memory_equal(out.data, "-9223372036854775808184467440737095516150", 41);
    dbk_buf_deinit(&out);
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
                                        "1.0",
                                        "18446744073709551616",
                                        "184467440737095516150",
                                        "99999999999999999999999999999999"};
    uint64_t number = 77;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (dbk_decimal_parse(daybook_text(texts[i]), &number)) fail_msg("'%s'", texts[i]);
    }
    assert_int_equal(number, 77);
    assert_true(dbk_decimal_parse(daybook_text("0000000000000000000000000000000042"), &number));
    assert_int_equal(number, 42);
}

static const struct {
    const char *text;
    int64_t duration_ns;
    const char *printed; // NULL: as it is read
} durations[] = {
    {"0s", 0, NULL},
    {"0", 0, "0s"},
    {"-0", 0, "0s"},
    {"+0", 0, "0s"},
    {"0h", 0, "0s"},
    {"1ns", 1, NULL},
    {"-1ns", -1, NULL},
    {"999ns", 999, NULL},
    {"1us", 1000, "1\xc2\xb5s"},
    {"1\xce\xbcs", 1000, "1\xc2\xb5s"},
    {"1.1\xc2\xb5s", 1100, NULL},
    {"999.999\xc2\xb5s", 999999, NULL},
    {"2.2ms", 2200000, NULL},
    {"100ms", 100000000, NULL},
    {"999.999999ms", 999999999, NULL},
    {"2s", 2000000000, NULL},
    {"+2s", 2000000000, "2s"},
    {"-2s", -2000000000, NULL},
    {"3.3s", 3300000000, NULL},
    {"1.5s", 1500000000, NULL},
    {".5s", 500000000, "500ms"},
    {"-.5s", -500000000, "-500ms"},
    {"5.s", 5000000000, "5s"},
    {"0.1s", 100000000, "100ms"},
    {"59.000000001s", 59000000001, NULL},
    {"90s", 90000000000, "1m30s"},
    {"1m0s", 60000000000, NULL},
    {"1m30s", 90000000000, NULL},
    {"4m5.001s", 245001000000, NULL},
    {"8m0.000000001s", 480000000001, NULL},
    {"1h0m0s", 3600000000000, NULL},
    {"1.5h", 5400000000000, "1h30m0s"},
    {"3h30m", 12600000000000, "3h30m0s"},
    {"5h6m7.001s", 18367001000000, NULL},
    {"39h9m14.425s", 140954425000000, NULL},
    {"24h", 86400000000000, "24h0m0s"},
    {"1s1s1s", 3000000000, "3s"},
    {"1ns1h", 3600000000001, "1h0m0.000000001s"},
    // Exact where a double is not, and where a millionth of the unit would not do.
    {"0.123456789s", 123456789, "123.456789ms"},
    {"0.000000001s", 1, "1ns"},
    {"0.0000000019s", 1, "1ns"},
    {"0.9ns", 0, "0s"},
    {"0.25000000000000000000000000h", 900000000000, "15m0s"},
    {"0.100000000000000000000h", 360000000000, "6m0s"},
    {"0.3333333333333333333h", 1199999999999, "19m59.999999999s"},
    {"0.9999999999999999999999999999999999999999h", 3599999999999, "59m59.999999999s"},
    {"0.830103483285477580700h", 2988372539827, "49m48.372539827s"},
    {"9223372036854775807ns", INT64_MAX, "2562047h47m16.854775807s"},
    {"2562047h47m16.854775807s", INT64_MAX, NULL},
    {"-2562047h47m16.854775808s", INT64_MIN, NULL},
    {"-9223372036854775808ns", INT64_MIN, "-2562047h47m16.854775808s"},
};

static void durations_are_read_and_written(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof durations / sizeof *durations; i++) {
        const char *text = durations[i].text;
        const char *expected = durations[i].printed == NULL ? text : durations[i].printed;
        int64_t duration_ns = 77;
        char printed[DBK_GO_DURATION_TEXT_SIZE];
        if (!dbk_go_duration_parse(daybook_text(text), &duration_ns) ||
            duration_ns != durations[i].duration_ns)
            fail_msg("'%s' is %" PRId64, text, duration_ns);
        size_t size = dbk_go_duration_format(duration_ns, printed);
        assert_string_equal(printed, expected);
        assert_int_equal(size, strlen(expected));
    }
}

static void other_texts_are_no_durations(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",
        "1",
        "3",
        "-",
        "+",
        ".",
        "-.",
        "s",
        ".s",
        "+.s",
        "1 s",
        " 1s",
        "1s ",
        "1x",
        "1S",
        "1d",
        "1sec",
        "5sx",
        "1e3s",
        "1.5",
        "1..5s",
        "1.5.s",
        "1s1",
        "--1s",
        "-+1s",
        "00",
        "0.0",
        "1s-1s",
        "auto",
        "9223372036854775808ns",
        "-9223372036854775809ns",
        "9223372036854775807.9ns1ns",
        "2562047h47m16.854775808s",
        "2562048h",
        "3000000h",
        "9999999999999999999h",
        "9999999999999999999s",
        "18446744073709551616ns",
        "99999999999999999999999999ns",
        "106752d",
        "\xc2",
        "1\xc2",
        "1\xb5s",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        int64_t duration_ns = 77;
        if (dbk_go_duration_parse(daybook_text(texts[i]), &duration_ns))
            fail_msg("'%s' is %" PRId64, texts[i], duration_ns);
        assert_int_equal(duration_ns, 77);
    }
    int64_t duration_ns = 77;
    assert_false(dbk_go_duration_parse(daybook_bytes(NULL, 0), &duration_ns));
    assert_false(dbk_go_duration_parse(daybook_bytes("1s\0", 3), &duration_ns));
}

static uint64_t random_state = 20;

static uint64_t next_random(void) {
    uint64_t mixed = random_state += UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ mixed >> 31;
}

// Of every magnitude.
static int64_t random_duration(void) {
    uint64_t bits = next_random();
    return (int64_t)(bits >> bits % 64) * (next_random() % 2 == 0 ? 1 : -1);
}

static void what_is_printed_reads_back(void **state) {
    (void)state;
    for (int i = 0; i < 200000; i++) {
        char printed[DBK_GO_DURATION_TEXT_SIZE];
        int64_t duration_ns = i == 0 ? INT64_MIN : random_duration(), read_ns = 77;
        dbk_slice text = daybook_bytes(printed, dbk_go_duration_format(duration_ns, printed));
        if (!dbk_go_duration_parse(text, &read_ns) || read_ns != duration_ns)
            fail_msg("%" PRId64 " is printed '%s' and read %" PRId64, duration_ns, printed, read_ns);
    }
}

__extension__ typedef unsigned __int128 wide;

static void fractions_are_exact_to_the_nanosecond(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint64_t nanoseconds;
    } units[] = {{"ns", 1},         {"us", 1000},       {"ms", 1000000},
                 {"s", 1000000000}, {"m", 60000000000}, {"h", 3600000000000}};
    for (int i = 0; i < 200000; i++) {
        uint64_t scale = 1;
        int digit_count = (int)(next_random() % 19);
        for (int digit = 0; digit < digit_count; digit++) scale *= 10;
        uint64_t fraction = next_random() % scale, whole = next_random() % 2000000;
        size_t unit = next_random() % 6;
        char text[64];
        int size = digit_count == 0 ? snprintf(text, sizeof text, "%" PRIu64 "%s", whole, units[unit].name)
                                    : snprintf(text, sizeof text, "%" PRIu64 ".%0*" PRIu64 "%s", whole,
                                               digit_count, fraction, units[unit].name);
        wide expected = (wide)whole * units[unit].nanoseconds +
                        (wide)fraction * units[unit].nanoseconds / scale;
        int64_t duration_ns = -77;
        if (!dbk_go_duration_parse(daybook_bytes(text, (size_t)size), &duration_ns) ||
            (uint64_t)duration_ns != (uint64_t)expected)
            fail_msg("'%s' is %" PRId64 ", not %" PRIu64, text, duration_ns, (uint64_t)expected);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_written_and_read),
        cmocka_unit_test(signed_numbers_are_written_and_read),
        cmocka_unit_test(numbers_are_appended),
        cmocka_unit_test(other_texts_are_no_numbers),
        cmocka_unit_test(durations_are_read_and_written),
        cmocka_unit_test(other_texts_are_no_durations),
        cmocka_unit_test(what_is_printed_reads_back),
        cmocka_unit_test(fractions_are_exact_to_the_nanosecond),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
