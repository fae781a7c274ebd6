// SPDX-License-Identifier: Apache-2.0
// Digits are written two at a time, from the end. Durations are summed below 2^63, every step compared before it is taken.
#include "proto/number.h"

#include <string.h>

#include "base/time.h"

static const char digit_pairs[] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
    "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
    "8081828384858687888990919293949596979899";

size_t dbk_decimal_encode(uint64_t number, char *out) {
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

bool dbk_decimal_read(dbk_slice text, uint64_t *number_out) {
    const char *digits = text.data;
    uint64_t number = 0;
    if (text.size == 0) return false;
    for (size_t i = 0; i < text.size; i++) {
        if (digits[i] < '0' || digits[i] > '9') return false;
        uint64_t digit = (uint64_t)(digits[i] - '0');
        if (number > (UINT64_MAX - digit) / 10) return false;
        number = number * 10 + digit;
    }
    *number_out = number;
    return true;
}

static const uint64_t sum_max = UINT64_C(1) << 63; // what a negative duration may have

typedef struct unit_entry {
    const char *name;
    size_t size;
    int64_t nanoseconds;
} unit_entry;

// The longer before those they begin with.
static const unit_entry units[] = {
    {"ns", 2, 1},
    {"us", 2, 1000},
    {"\xc2\xb5s", 3, 1000}, // the micro sign
    {"\xce\xbcs", 3, 1000}, // the Greek letter
    {"ms", 2, DBK_MILLISECOND_NS},
    {"s", 1, DBK_SECOND_NS},
    {"m", 1, 60 * DBK_SECOND_NS},
    {"h", 1, 3600 * DBK_SECOND_NS},
};

static const unit_entry *take_unit(const char **at, const char *end) {
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if ((size_t)(end - *at) < units[i].size || memcmp(*at, units[i].name, units[i].size) != 0) continue;
        *at += units[i].size;
        return &units[i];
    }
    return NULL;
}

// Digits with a value of at most 2^63; further digits of a fraction are passed over.
static bool take_digits(const char **at, const char *end, bool is_fraction, uint64_t *value_out,
                        uint64_t *scale_out, bool *has_any) {
    uint64_t value = 0, scale = 1;
    for (; *at < end && **at >= '0' && **at <= '9'; (*at)++) {
        uint64_t digit = (uint64_t)(**at - '0');
        *has_any = true;
        if (value > (sum_max - digit) / 10 || scale > sum_max / 10) {
            if (!is_fraction) return false;
            continue;
        }
        value = value * 10 + digit;
        if (is_fraction) scale *= 10;
    }
    *value_out = value;
    *scale_out = scale;
    return true;
}

// "1.5h", added to *sum_ns.
static bool take_part(const char **at, const char *end, uint64_t *sum_ns) {
    uint64_t whole = 0, fraction = 0, scale = 1, unused;
    bool has_digits = false;
    if (!take_digits(at, end, false, &whole, &unused, &has_digits)) return false;
    if (*at < end && **at == '.') {
        (*at)++;
        (void)take_digits(at, end, true, &fraction, &scale, &has_digits); // those of a fraction never fail
    }
    const unit_entry *unit = has_digits ? take_unit(at, end) : NULL;
    if (unit == NULL) return false;
    uint64_t unit_ns = (uint64_t)unit->nanoseconds;
    if (whole > sum_max / unit_ns) return false;
    // Binary fractions are exact enough for what is below one unit, and cannot overflow.
    uint64_t part_ns = whole * unit_ns + (uint64_t)((double)fraction * ((double)unit_ns / (double)scale));
    if (part_ns > sum_max - *sum_ns) return false;
    *sum_ns += part_ns;
    return true;
}

bool dbk_duration_read(dbk_slice text, int64_t *duration_ns_out) {
    const char *at = text.data, *end = at + text.size;
    bool is_negative = false;
    uint64_t sum_ns = 0;
    if (text.size == 0) return false;
    if (*at == '-' || *at == '+') is_negative = *at++ == '-';
    if (end - at == 1 && *at == '0') {
        *duration_ns_out = 0;
        return true;
    }
    if (at == end) return false;
    while (at < end) {
        if (!take_part(&at, end, &sum_ns)) return false;
    }
    if (sum_ns > INT64_MAX) {
        if (!is_negative) return false;
        *duration_ns_out = INT64_MIN;
    } else {
        *duration_ns_out = is_negative ? -(int64_t)sum_ns : (int64_t)sum_ns;
    }
    return true;
}
