// SPDX-License-Identifier: Apache-2.0
// Times as text, both ways, and durations. Pure: what "now" means is passed in.
//
// The calendar is the proleptic Gregorian one; days are counted with the year beginning in March, so that the
// leap day is the last of its year (Howard Hinnant, "chrono-compatible low-level date algorithms"). Text is
// RFC 3339: full date, T or a space, full time with optional fraction, then Z, an offset or nothing. Second
// 60 is accepted where a leap second can be, at the end of a month in UTC, and is the first second of the
// next day, as in POSIX time. Years outside 1678 to 2261 do not fit 64 bits of nanoseconds and are refused.
//
// Failure mode: EINVALID, nothing written. Any thread.
#include "base/time.h"

#include <stdbool.h>
#include <string.h>

#include "base/memory.h"

enum { YEAR_MIN = 1678, YEAR_MAX = 2261, SECONDS_A_DAY = 86400 };

// Days from 1970-01-01 to the given date. Month 1 to 12, day may be any.
static int64_t days_from_date(int64_t year, int month, int day) {
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void date_from_days(int64_t days, int64_t *year_out, int *month_out, int *day_out) {
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted_month = (5 * day_of_year + 2) / 153;
    *day_out = (int)(day_of_year - (153 * shifted_month + 2) / 5 + 1);
    *month_out = (int)(shifted_month < 10 ? shifted_month + 3 : shifted_month - 9);
    *year_out = year_of_era + era * 400 + (*month_out <= 2);
}

static int days_of_month(int64_t year, int month) {
    static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && is_leap ? 29 : days[month - 1];
}

// What is left of the text.
typedef struct scanner {
    const char *at;
    const char *end;
} scanner;

static bool take_character(scanner *scan, char wanted) {
    if (scan->at == scan->end || *scan->at != wanted) return false;
    scan->at++;
    return true;
}

static bool is_digit_next(const scanner *scan) {
    return scan->at != scan->end && *scan->at >= '0' && *scan->at <= '9';
}

// Exactly `digits` digits with a value of `min` to `max`.
static bool take_number(scanner *scan, int digits, int min, int max, int *value_out) {
    int value = 0;
    for (int i = 0; i < digits; i++) {
        if (!is_digit_next(scan)) return false;
        value = value * 10 + (*scan->at++ - '0');
    }
    *value_out = value;
    return value >= min && value <= max;
}

typedef struct parsed_time {
    int year, month, day, hour, minute, second;
    int fraction_ns;
    int offset_minutes;
} parsed_time;

static bool take_date(scanner *scan, parsed_time *time) {
    // One year more on both sides: an offset may move the instant into the range.
    return take_number(scan, 4, YEAR_MIN - 1, YEAR_MAX + 1, &time->year) && take_character(scan, '-') &&
           take_number(scan, 2, 1, 12, &time->month) && take_character(scan, '-') &&
           take_number(scan, 2, 1, days_of_month(time->year, time->month), &time->day);
}

static bool take_fraction(scanner *scan, parsed_time *time) {
    if (!take_character(scan, '.')) return true;
    int digits = 0;
    for (; is_digit_next(scan); digits++) {
        if (digits == 9) return false;
        time->fraction_ns = time->fraction_ns * 10 + (*scan->at++ - '0');
    }
    if (digits == 0) return false;
    for (; digits < 9; digits++) time->fraction_ns *= 10;
    return true;
}

static bool take_clock(scanner *scan, parsed_time *time) {
    return take_number(scan, 2, 0, 23, &time->hour) && take_character(scan, ':') &&
           take_number(scan, 2, 0, 59, &time->minute) && take_character(scan, ':') &&
           take_number(scan, 2, 0, 60, &time->second) && take_fraction(scan, time);
}

static bool take_offset(scanner *scan, parsed_time *time) {
    if (scan->at == scan->end || take_character(scan, 'Z') || take_character(scan, 'z')) return true;
    int sign = 1;
    if (take_character(scan, '-')) {
        sign = -1;
    } else if (!take_character(scan, '+')) {
        return false;
    }
    int hours = 0;
    int minutes = 0;
    if (!take_number(scan, 2, 0, 23, &hours) || !take_character(scan, ':') ||
        !take_number(scan, 2, 0, 59, &minutes)) {
        return false;
    }
    time->offset_minutes = sign * (hours * 60 + minutes);
    return true;
}

static bool is_year_in_range(int64_t seconds) {
    return seconds >= days_from_date(YEAR_MIN, 1, 1) * SECONDS_A_DAY &&
           seconds < days_from_date(YEAR_MAX + 1, 1, 1) * SECONDS_A_DAY;
}

static int64_t floor_seconds(int64_t time_ns) {
    return time_ns / DBK_SECOND_NS - (time_ns % DBK_SECOND_NS < 0);
}

// `seconds` is the instant after second 60: midnight UTC of the first of a month.
static bool follows_leap_second(int64_t seconds) {
    if (seconds % SECONDS_A_DAY != 0) return false;
    int64_t year = 0;
    int month = 0;
    int day = 0;
    date_from_days(seconds / SECONDS_A_DAY, &year, &month, &day);
    return day == 1;
}

static daybook_status parse_absolute(scanner scan, int64_t *time_ns_out) {
    parsed_time time = {0};
    if (!take_date(&scan, &time)) return DAYBOOK_EINVALID;
    if (scan.at != scan.end) {
        bool is_separated = take_character(&scan, 'T') || take_character(&scan, 't') ||
                            take_character(&scan, ' ');
        if (!is_separated || !take_clock(&scan, &time) || !take_offset(&scan, &time) || scan.at != scan.end) {
            return DAYBOOK_EINVALID;
        }
    }
    int64_t seconds = days_from_date(time.year, time.month, time.day) * SECONDS_A_DAY + time.hour * 3600 +
                      (time.minute - time.offset_minutes) * 60 + time.second;
    if (time.second == 60 && !follows_leap_second(seconds)) return DAYBOOK_EINVALID;
    if (!is_year_in_range(seconds)) return DAYBOOK_EINVALID;
    *time_ns_out = seconds * DBK_SECOND_NS + time.fraction_ns;
    return DAYBOOK_OK;
}

typedef struct unit {
    const char *name;
    int64_t nanoseconds;
} unit;

// Largest first: the parts of a duration come in this order, each unit at most once.
static const unit units[] = {
    {"w", 7 * 86400 * DBK_SECOND_NS},
    {"d", 86400 * DBK_SECOND_NS},
    {"h", 3600 * DBK_SECOND_NS},
    {"m", 60 * DBK_SECOND_NS},
    {"s", DBK_SECOND_NS},
    {"ms", DBK_MILLISECOND_NS},
    {"us", 1000},
    {"ns", 1},
};
enum { UNIT_COUNT = sizeof units / sizeof units[0] };

// Reads the letters behind a number; UNIT_COUNT where they are no unit.
static size_t take_unit(scanner *scan) {
    const char *start = scan->at;
    while (scan->at != scan->end && *scan->at >= 'a' && *scan->at <= 'z') scan->at++;
    size_t size = (size_t)(scan->at - start);
    for (size_t i = 0; i < UNIT_COUNT; i++) {
        if (strlen(units[i].name) == size && memcmp(units[i].name, start, size) == 0) return i;
    }
    return UNIT_COUNT;
}

static bool take_count(scanner *scan, int64_t *count_out) {
    if (!is_digit_next(scan)) return false;
    int64_t count = 0;
    for (; is_digit_next(scan); scan->at++) {
        int digit = *scan->at - '0';
        if (count > (INT64_MAX - digit) / 10) return false;
        count = count * 10 + digit;
    }
    *count_out = count;
    return true;
}

static daybook_status parse_duration(scanner scan, int64_t *duration_ns_out) {
    if (scan.end - scan.at == 1 && *scan.at == '0') {
        *duration_ns_out = 0;
        return DAYBOOK_OK;
    }
    if (scan.at == scan.end) return DAYBOOK_EINVALID;
    int64_t total = 0;
    for (size_t next_unit = 0; scan.at != scan.end;) {
        int64_t count = 0;
        if (!take_count(&scan, &count)) return DAYBOOK_EINVALID;
        size_t found = take_unit(&scan);
        if (found == UNIT_COUNT || found < next_unit) return DAYBOOK_EINVALID;
        next_unit = found + 1;
        int64_t nanoseconds = units[found].nanoseconds;
        if (count > (INT64_MAX - total) / nanoseconds) return DAYBOOK_EINVALID;
        total += count * nanoseconds;
    }
    *duration_ns_out = total;
    return DAYBOOK_OK;
}

static daybook_status parse_relative(scanner scan, int64_t now_ns, int64_t *time_ns_out) {
    bool is_past = *scan.at++ == '-';
    int64_t distance = 0;
    daybook_status status = parse_duration(scan, &distance);
    if (status != DAYBOOK_OK) return status;
    if (is_past ? now_ns < INT64_MIN + distance : now_ns > INT64_MAX - distance) return DAYBOOK_EINVALID;
    int64_t time_ns = is_past ? now_ns - distance : now_ns + distance;
    if (!is_year_in_range(floor_seconds(time_ns))) return DAYBOOK_EINVALID;
    *time_ns_out = time_ns;
    return DAYBOOK_OK;
}

static scanner scan_text(daybook_slice text) {
    static const char nothing[1];
    const char *start = text.size == 0 ? nothing : text.data;
    return (scanner){.at = start, .end = start + text.size};
}

daybook_status daybook_time_parse(daybook_slice text, int64_t now_ns, int64_t *time_ns_out) {
    if (time_ns_out == NULL) return DAYBOOK_EMISUSE;
    scanner scan = scan_text(text);
    if (scan.at == scan.end) return DAYBOOK_EINVALID;
    if (text.size == 3 && memcmp(text.data, "now", 3) == 0) {
        *time_ns_out = now_ns;
        return DAYBOOK_OK;
    }
    if (*scan.at == '-' || *scan.at == '+') return parse_relative(scan, now_ns, time_ns_out);
    return parse_absolute(scan, time_ns_out);
}

daybook_status daybook_duration_parse(daybook_slice text, int64_t *duration_ns_out) {
    if (duration_ns_out == NULL) return DAYBOOK_EMISUSE;
    return parse_duration(scan_text(text), duration_ns_out);
}

// `digits` decimal digits of a number that has no more, then `behind`. Returns where it ends.
static char *put_number(char *at, int64_t value, int digits, char behind) {
    for (int i = digits - 1; i >= 0; i--) {
        at[i] = (char)('0' + value % 10);
        value /= 10;
    }
    at[digits] = behind;
    return at + digits + 1;
}

size_t daybook_time_format(int64_t time_ns, char text_out[DAYBOOK_TIME_TEXT_SIZE]) {
    int64_t seconds = floor_seconds(time_ns);
    // Not time_ns - seconds * DBK_SECOND_NS: that product overflows next to INT64_MIN.
    int64_t fraction_ns = time_ns % DBK_SECOND_NS;
    if (fraction_ns < 0) fraction_ns += DBK_SECOND_NS;
    int64_t days = seconds / SECONDS_A_DAY - (seconds % SECONDS_A_DAY < 0);
    int64_t second_of_day = seconds - days * SECONDS_A_DAY;
    int64_t year = 0;
    int month = 0;
    int day = 0;
    date_from_days(days, &year, &month, &day); // 64 bits of nanoseconds: 1677 to 2262, four digits

    char *at = put_number(text_out, year, 4, '-');
    at = put_number(at, month, 2, '-');
    at = put_number(at, day, 2, 'T');
    at = put_number(at, second_of_day / 3600, 2, ':');
    at = put_number(at, second_of_day / 60 % 60, 2, ':');
    at = put_number(at, second_of_day % 60, 2, '.');
    at = put_number(at, fraction_ns, 9, 'Z');
    *at = '\0';
    return (size_t)(at - text_out);
}
