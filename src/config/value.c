// SPDX-License-Identifier: Apache-2.0
// Values by themselves: numbers and durations from text, names of kinds, looking into maps, and messages with a
// place. Pure, any thread.
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/time.h"
#include "config/config.h"

static bool is_digit(char byte) {
    return byte >= '0' && byte <= '9';
}

static char lower(char byte) {
    return byte >= 'A' && byte <= 'Z' ? (char)(byte - 'A' + 'a') : byte;
}

// What a suffix multiplies with: k m g t p e are powers of 1000, kb ki kib ... of 1024. 0 where it is none.
static int64_t factor_of(const char *at, const char *end) {
    static const char letters[] = "kmgtpe";
    if (at == end) return 1;
    const char *letter = strchr(letters, lower(*at));
    if (*at == '\0' || letter == NULL) return 0;
    at++;
    bool is_binary = at != end;
    if (at != end && lower(*at) == 'i') at++;
    if (at != end && lower(*at) == 'b') at++;
    if (at != end) return 0;
    int64_t factor = 1;
    for (const char *power = letters; power <= letter; power++) factor *= is_binary ? 1024 : 1000;
    return factor;
}

bool dbk_config_parse_integer(dbk_slice text, int64_t *integer_out) {
    const char *at = text.data;
    const char *end = text.size == 0 ? at : at + text.size;
    bool is_negative = at != end && *at == '-';
    if (is_negative) at++;
    if (at == end || !is_digit(*at)) return false;
    // Counted downwards: the least number has no positive twin.
    int64_t value = 0;
    for (; at != end && is_digit(*at); at++) {
        if (__builtin_mul_overflow(value, 10, &value)) return false;
        if (__builtin_sub_overflow(value, *at - '0', &value)) return false;
    }
    int64_t factor = factor_of(at, end);
    if (factor == 0 || __builtin_mul_overflow(value, factor, &value)) return false;
    if (!is_negative && value == INT64_MIN) return false;
    *integer_out = is_negative ? value : -value;
    return true;
}

typedef struct duration_unit {
    const char *name;
    int64_t nanoseconds;
} duration_unit;

// "m" behind "ms": the longer name first.
static const duration_unit duration_units[] = {
    {"ns", 1},
    {"us", 1000},
    {"\xc2\xb5s", 1000}, // both of Unicode's micro signs
    {"\xce\xbcs", 1000},
    {"ms", DBK_MILLISECOND_NS},
    {"s", DBK_SECOND_NS},
    {"m", 60 * DBK_SECOND_NS},
    {"h", 3600 * DBK_SECOND_NS},
};

static const duration_unit *take_unit(const char **at, const char *end) {
    for (size_t i = 0; i < sizeof duration_units / sizeof duration_units[0]; i++) {
        size_t size = strlen(duration_units[i].name);
        if ((size_t)(end - *at) < size || memcmp(*at, duration_units[i].name, size) != 0) continue;
        *at += size;
        return &duration_units[i];
    }
    return NULL;
}

// A number with its unit, "1.5h", added to *sum. Digits of the fraction beyond a nanosecond are dropped.
static bool take_duration_part(const char **at, const char *end, int64_t *sum) {
    int64_t whole = 0;
    bool has_digits = false;
    for (; *at != end && is_digit(**at); (*at)++, has_digits = true) {
        if (__builtin_mul_overflow(whole, 10, &whole)) return false;
        if (__builtin_add_overflow(whole, **at - '0', &whole)) return false;
    }
    int64_t fraction = 0;
    int64_t scale = 1;
    if (*at != end && **at == '.') {
        for ((*at)++; *at != end && is_digit(**at); (*at)++, has_digits = true) {
            // 10^9 steps of an hour still fit: 3.6e12 * 1e6.
            if (scale >= 1000000) continue;
            fraction = fraction * 10 + (**at - '0');
            scale *= 10;
        }
    }
    if (!has_digits) return false;
    const duration_unit *unit = take_unit(at, end);
    if (unit == NULL || __builtin_mul_overflow(whole, unit->nanoseconds, &whole)) return false;
    return !__builtin_add_overflow(*sum, whole, sum) &&
           !__builtin_add_overflow(*sum, fraction * unit->nanoseconds / scale, sum);
}

bool dbk_config_parse_duration(dbk_slice text, int64_t *nanoseconds_out) {
    const char *at = text.data;
    const char *end = text.size == 0 ? at : at + text.size;
    bool is_negative = at != end && *at == '-';
    if (at != end && (*at == '-' || *at == '+')) at++;
    if (at == end) return false;
    int64_t sum = 0;
    if (end - at == 1 && *at == '0') {
        at = end; // the only number that needs no unit
    }
    while (at != end) {
        if (!take_duration_part(&at, end, &sum)) return false;
    }
    *nanoseconds_out = is_negative ? -sum : sum;
    return true;
}

const char *dbk_config_kind_name(dbk_config_kind kind) {
    switch (kind) {
    case DBK_CONFIG_STRING:
        return "text";
    case DBK_CONFIG_INTEGER:
        return "whole number";
    case DBK_CONFIG_FLOAT:
        return "number";
    case DBK_CONFIG_BOOLEAN:
        return "true or false";
    case DBK_CONFIG_ARRAY:
        return "array";
    case DBK_CONFIG_MAP:
        return "map";
    }
    return "value";
}

static bool is_key(dbk_slice key, const char *wanted, bool any_case) {
    const char *bytes = key.data;
    if (key.size != strlen(wanted)) return false;
    if (!any_case) return memcmp(bytes, wanted, key.size) == 0;
    for (size_t i = 0; i < key.size; i++) {
        if (lower(bytes[i]) != lower(wanted[i])) return false;
    }
    return true;
}

const dbk_config_entry *dbk_config_find(const dbk_config_value *map, const char *key, bool any_case) {
    if (map->kind != DBK_CONFIG_MAP) return NULL;
    for (const dbk_config_entry *entry = map->entries; entry != NULL; entry = entry->next) {
        if (is_key(entry->key, key, any_case)) return entry;
    }
    return NULL;
}

daybook_status dbk_config_fail(const dbk_config_place *place, daybook_error *error, daybook_status status,
                               const char *format, ...) {
    if (error == NULL) return status;
    char message[DAYBOOK_ERROR_MESSAGE_MAX];
    va_list arguments;
    va_start(arguments, format);
    if (vsnprintf(message, sizeof message, format, arguments) < 0) message[0] = '\0';
    va_end(arguments);
    if (place == NULL || place->file == NULL) return dbk_fail(error, status, "%s", message);
    return dbk_fail(error, status, "%s:%u:%u: %s", place->file, (unsigned)place->line,
                    (unsigned)place->column, message);
}
