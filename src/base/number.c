// SPDX-License-Identifier: Apache-2.0
// Digits are written two at a time, from the end. Durations are summed up to 2^63, which a negative one may
// have, and every step is compared before it is taken.
//
// A fraction is worth digit 1 / 10 + digit 2 / 100 + ... of its unit. Taken from the last digit, with the
// quotient carried to the one before, whole division loses nothing (floor((n + x) / 10) is floor((n +
// floor(x)) / 10) for whole n), so that any number of digits is exact and no step exceeds ten times the unit.
#include "base/number.h"

#include <string.h>

#include "base/bytes.h"
#include "base/time.h"

static const char digit_pairs[] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
    "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
    "8081828384858687888990919293949596979899";

size_t dbk_decimal_format(uint64_t number, void *out) {
    char digits[DBK_DECIMAL_SIZE_MAX], *at = digits + sizeof digits;
    while (number >= 100) {
        at -= 2;
        memcpy(at, digit_pairs + number % 100 * 2, 2);
        number /= 100;
    }
    if (number >= 10) {
        at -= 2;
        memcpy(at, digit_pairs + number * 2, 2);
    } else {
        *--at = (char)('0' + number);
    }
    size_t size = (size_t)(digits + sizeof digits - at);
    memcpy(out, at, size);
    return size;
}

// Without overflow for the least number, which has no positive twin.
static uint64_t magnitude(int64_t number) {
    return number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
}

size_t dbk_decimal_format_signed(int64_t number, void *out) {
    char *at = out;
    if (number < 0) *at++ = '-';
    return dbk_decimal_format(magnitude(number), at) + (number < 0);
}

void dbk_decimal_append(dbk_buf *out, uint64_t number) {
    char digits[DBK_DECIMAL_SIZE_MAX];
    dbk_buf_append(out, digits, dbk_decimal_format(number, digits));
}

void dbk_decimal_append_signed(dbk_buf *out, int64_t number) {
    char digits[DBK_DECIMAL_SIZE_MAX];
    dbk_buf_append(out, digits, dbk_decimal_format_signed(number, digits));
}

static bool is_digit(char byte) {
    return byte >= '0' && byte <= '9';
}

bool dbk_decimal_parse(dbk_slice text, uint64_t *number_out) {
    const char *digits = text.data;
    uint64_t number = 0;
    if (text.size == 0) return false;
    for (size_t i = 0; i < text.size; i++) {
        if (!is_digit(digits[i])) return false;
        uint64_t digit = (uint64_t)(digits[i] - '0');
        if (number > (UINT64_MAX - digit) / 10) return false;
        number = number * 10 + digit;
    }
    *number_out = number;
    return true;
}

bool dbk_is_decimal(dbk_slice text) {
    const char *bytes = text.data;
    for (size_t i = 0; i < text.size; i++) {
        if (!is_digit(bytes[i])) return false;
    }
    return text.size > 0;
}

// A sum that may be up to 2^63 with its sign. False: it does not fit.
static bool apply_sign(uint64_t sum, bool is_negative, int64_t *number_out) {
    if (sum > (uint64_t)INT64_MAX + is_negative) return false;
    *number_out = !is_negative ? (int64_t)sum : sum > INT64_MAX ? INT64_MIN : -(int64_t)sum;
    return true;
}

bool dbk_decimal_parse_signed(dbk_slice text, int64_t *number_out) {
    const char *at = text.data;
    if (text.size == 0) return false;
    bool is_negative = *at == '-';
    uint64_t number;
    return dbk_decimal_parse(daybook_bytes(at + is_negative, text.size - is_negative), &number) &&
           apply_sign(number, is_negative, number_out);
}

// Durations.

typedef struct unit_entry {
    const char *name;
    uint64_t nanoseconds;
} unit_entry;

static const unit_entry units[] = {
    {"ns", 1},
    {"us", 1000},
    {"\xc2\xb5s", 1000}, // the micro sign
    {"\xce\xbcs", 1000}, // the Greek letter
    {"ms", DBK_MILLISECOND_NS},
    {"s", DBK_SECOND_NS},
    {"m", 60 * DBK_SECOND_NS},
    {"h", 3600 * DBK_SECOND_NS},
};

static dbk_slice take_digits(const char **at, const char *end) {
    const char *start = *at;
    while (*at < end && is_digit(**at)) (*at)++;
    return daybook_bytes(start, (size_t)(*at - start));
}

// What stands before the next digit or dot, in nanoseconds; 0: no unit.
static uint64_t take_unit(const char **at, const char *end) {
    const char *start = *at;
    while (*at < end && !is_digit(**at) && **at != '.') (*at)++;
    dbk_slice name = daybook_bytes(start, (size_t)(*at - start));
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (dbk_slice_equal(name, daybook_text(units[i].name))) return units[i].nanoseconds;
    }
    return 0;
}

static uint64_t fraction_of(uint64_t unit_ns, dbk_slice digits) {
    const char *at = digits.data;
    uint64_t sum_ns = 0;
    for (size_t i = digits.size; i > 0; i--) sum_ns = (sum_ns + unit_ns * (uint64_t)(at[i - 1] - '0')) / 10;
    return sum_ns;
}

// "1.5h", added to *sum_ns, which stays below or at 2^63.
static bool take_part(const char **at, const char *end, uint64_t *sum_ns) {
    const uint64_t sum_max = UINT64_C(1) << 63;
    uint64_t whole = 0;
    dbk_slice digits = take_digits(at, end), fraction = {NULL, 0};
    if (*at < end && **at == '.') {
        (*at)++;
        fraction = take_digits(at, end);
    }
    if (digits.size + fraction.size == 0) return false;
    if (digits.size > 0 && !dbk_decimal_parse(digits, &whole)) return false;
    uint64_t unit_ns = take_unit(at, end);
    if (unit_ns == 0 || whole > sum_max / unit_ns) return false;
    uint64_t part_ns = whole * unit_ns + fraction_of(unit_ns, fraction);
    if (part_ns > sum_max - *sum_ns) return false;
    *sum_ns += part_ns;
    return true;
}

bool dbk_go_duration_parse(dbk_slice text, int64_t *duration_ns_out) {
    const char *at = text.data;
    if (text.size == 0) return false;
    const char *end = at + text.size;
    bool is_negative = *at == '-';
    uint64_t sum_ns = 0;
    if (*at == '-' || *at == '+') at++;
    if (at == end) return false;
    if (end - at == 1 && *at == '0') at++; // the only number that needs no unit
    while (at < end) {
        if (!take_part(&at, end, &sum_ns)) return false;
    }
    return apply_sign(sum_ns, is_negative, duration_ns_out);
}

static char *put(char *at, const char *text) {
    size_t size = strlen(text);
    memcpy(at, text, size);
    return at + size;
}

static char *put_number(char *at, uint64_t number, const char *unit) {
    return put(at + dbk_decimal_format(number, at), unit);
}

// ".5" of 500 thousandths: `digits` of them, but for the zeros at the end; nothing for 0.
static char *put_fraction(char *at, uint64_t rest, int digits) {
    if (rest == 0) return at;
    for (; rest % 10 == 0; rest /= 10) digits--;
    *at = '.';
    for (int i = digits; i > 0; i--, rest /= 10) at[i] = (char)('0' + rest % 10);
    return at + 1 + digits;
}

// Below a second, in the largest unit of which there is one.
static char *put_small(char *at, uint64_t rest) {
    if (rest < 1000) return put_number(at, rest, "ns");
    uint64_t scale = rest < (uint64_t)DBK_MILLISECOND_NS ? 1000 : (uint64_t)DBK_MILLISECOND_NS;
    at = put_number(at, rest / scale, "");
    at = put_fraction(at, rest % scale, scale == 1000 ? 3 : 6);
    return put(at, scale == 1000 ? "\xc2\xb5s" : "ms");
}

size_t dbk_go_duration_format(int64_t duration_ns, char text_out[DBK_GO_DURATION_TEXT_SIZE]) {
    uint64_t rest = magnitude(duration_ns);
    const uint64_t second = (uint64_t)DBK_SECOND_NS;
    char *at = text_out;
    if (duration_ns < 0) *at++ = '-';
    if (rest > 0 && rest < second) {
        at = put_small(at, rest);
    } else {
        if (rest >= 3600 * second) at = put_number(at, rest / second / 3600, "h");
        if (rest >= 60 * second) at = put_number(at, rest / second / 60 % 60, "m");
        at = put_number(at, rest / second % 60, "");
        at = put(put_fraction(at, rest % second, 9), "s");
    }
    *at = '\0';
    return (size_t)(at - text_out);
}
