// SPDX-License-Identifier: Apache-2.0
// The scanner over an event's data. What lies on the way to a wanted place is descended into (`scan`), all
// else is passed over (`pass`) with the same checks and no more work than these need.
//
// Every function takes what it expects from the front of the text and returns false where it does not find
// it: then the scan is at the offending byte, or `problem` says what else went wrong.
//
// Tokens are those of json/scan.h; what is made of them is compared with json/parse.c by tests.
#include "projection/data_scan.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/number.h"
#include "json/scan.h"

enum { NAME_ENCODED_MAX = 6 * DBK_PARAMETER_NAME_SIZE_MAX };

typedef struct scanner {
    dbk_json_scan scan;
    dbk_arena *arena;
    dbk_value *values;
    dbk_data_problem problem;
    uint32_t problem_value;
} scanner;

static bool give_up(scanner *text, dbk_data_problem problem, uint32_t value) {
    text->problem = problem;
    text->problem_value = value;
    return false;
}

// Strings.

// The string at the front, checked. What is between the quotes, escapes and all, is `*inside_out`.
static bool take_string(scanner *text, dbk_slice *inside_out, bool *has_escape_out) {
    if (!dbk_json_take(&text->scan, '"')) return false;
    const uint8_t *start = text->scan.at;
    *has_escape_out = false;
    for (;;) {
        dbk_json_skip_plain(&text->scan);
        if (dbk_json_take(&text->scan, '"')) {
            *inside_out = daybook_bytes(start, (size_t)(text->scan.at - start) - 1);
            return true;
        }
        unsigned point = 0;
        if (!dbk_json_take(&text->scan, '\\') || !dbk_json_take_escape(&text->scan, &point)) return false;
        *has_escape_out = true;
    }
}

static bool pass_string(scanner *text) {
    dbk_slice inside;
    bool has_escape = false;
    return take_string(text, &inside, &has_escape);
}

// What take_string has checked, without escapes: never longer than with them.
static size_t decode(dbk_slice inside, uint8_t *out) {
    dbk_json_scan text = {inside.data, (const uint8_t *)inside.data + inside.size};
    size_t size = 0;
    while (text.at < text.end) {
        const uint8_t *plain = text.at;
        while (text.at < text.end && *text.at != '\\') text.at++;
        memcpy(out + size, plain, (size_t)(text.at - plain));
        size += (size_t)(text.at - plain);
        unsigned point = 0;
        if (dbk_json_take(&text, '\\') && dbk_json_take_escape(&text, &point))
            size += dbk_json_put_utf8(out + size, point);
    }
    return size;
}

// Numbers.

// Up to 15 digits and a fraction without exponent, by far most numbers: both parts are exact as doubles, so
// one division rounds rightly (Clinger 1990).
static bool read_short_real(dbk_slice number, double *value_out) {
    static const double powers[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    const char *at = number.data;
    bool is_negative = *at == '-';
    if (number.size > 17) return false;
    int64_t digits = 0;
    size_t digit_count = 0;
    size_t fraction_count = 0;
    bool is_fraction = false;
    for (size_t i = is_negative; i < number.size; i++) {
        if (at[i] == '.') {
            is_fraction = true;
            continue;
        }
        if (at[i] < '0' || at[i] > '9') return false;
        digits = digits * 10 + (at[i] - '0');
        digit_count++;
        fraction_count += is_fraction;
    }
    if (digit_count > 15) return false;
    double value = (double)digits / powers[fraction_count];
    *value_out = is_negative ? -value : value;
    return true;
}

// strtod knows the decimal point of the host's locale only, JSON's is always a dot.
static bool read_long_real(dbk_arena *arena, dbk_slice number, double *value_out) {
    const char *point = localeconv()->decimal_point;
    size_t point_size = strlen(point);
    char *copy = dbk_arena_alloc(arena, number.size + point_size + 1);
    if (copy == NULL) return false;
    const char *dot = memchr(number.data, '.', number.size);
    size_t before = dot == NULL ? number.size : (size_t)(dot - (const char *)number.data);
    memcpy(copy, number.data, before);
    size_t size = before;
    if (dot != NULL) {
        memcpy(copy + size, point, point_size);
        size += point_size;
        memcpy(copy + size, dot + 1, number.size - before - 1);
        size += number.size - before - 1;
    }
    copy[size] = '\0';
    *value_out = strtod(copy, NULL); // Too small is 0, too large is infinite.
    return true;
}

// Keeping what is wanted.

static bool keep_bytes(scanner *text, dbk_slice bytes, dbk_value *value) {
    value->text = dbk_arena_copy_text(text->arena, bytes);
    return value->text.data != NULL || give_up(text, DBK_DATA_NO_MEMORY, DBK_WANTED_NONE);
}

static bool keep_string(scanner *text, uint32_t index) {
    dbk_value *value = &text->values[index];
    dbk_slice inside;
    bool has_escape = false;
    if (!take_string(text, &inside, &has_escape)) return false;
    value->kind = DBK_VALUE_TEXT;
    if (!has_escape) return keep_bytes(text, inside, value);
    uint8_t *copy = dbk_arena_alloc(text->arena, inside.size + 1);
    if (copy == NULL) return give_up(text, DBK_DATA_NO_MEMORY, DBK_WANTED_NONE);
    size_t size = decode(inside, copy);
    copy[size] = '\0';
    if (memchr(copy, '\0', size) != NULL) return give_up(text, DBK_DATA_NUL, index);
    value->text = daybook_bytes(copy, size);
    return true;
}

static bool keep_number(scanner *text, uint32_t index) {
    dbk_value *value = &text->values[index];
    const uint8_t *start = text->scan.at;
    if (!dbk_json_take_number(&text->scan)) return false;
    dbk_slice number = daybook_bytes(start, (size_t)(text->scan.at - start));
    int64_t integer = 0;
    double real = 0;
    if (dbk_decimal_parse_signed(number, &integer)) {
        value->kind = DBK_VALUE_INTEGER;
        value->integer = integer;
        return keep_bytes(text, number, value);
    }
    if (!read_short_real(number, &real) && !read_long_real(text->arena, number, &real))
        return give_up(text, DBK_DATA_NO_MEMORY, DBK_WANTED_NONE);
    if (!isfinite(real)) return give_up(text, DBK_DATA_NUMBER_TOO_BIG, index);
    value->kind = DBK_VALUE_REAL;
    value->real = real;
    return keep_bytes(text, number, value);
}

static bool keep_word(scanner *text, uint32_t index) {
    dbk_value *value = &text->values[index];
    if (dbk_json_take_word(&text->scan, "null")) {
        value->kind = DBK_VALUE_NULL;
        return true;
    }
    bool is_true = dbk_json_take_word(&text->scan, "true");
    if (!is_true && !dbk_json_take_word(&text->scan, "false")) return false;
    value->kind = DBK_VALUE_BOOLEAN;
    value->integer = is_true;
    value->text = daybook_text(is_true ? "true" : "false");
    return true;
}

static bool keep_scalar(scanner *text, uint32_t index) {
    if (text->scan.at == text->scan.end) return false;
    switch (*text->scan.at) {
    case '"':
        return keep_string(text, index);
    case 't':
    case 'f':
    case 'n':
        return keep_word(text, index);
    default:
        return keep_number(text, index);
    }
}

// Passing over what is not.

static bool pass_scalar(scanner *text) {
    if (text->scan.at == text->scan.end) return false;
    switch (*text->scan.at) {
    case '"':
        return pass_string(text);
    case 't':
        return dbk_json_take_word(&text->scan, "true");
    case 'f':
        return dbk_json_take_word(&text->scan, "false");
    case 'n':
        return dbk_json_take_word(&text->scan, "null");
    default:
        return dbk_json_take_number(&text->scan);
    }
}

static bool pass_name(scanner *text) {
    dbk_json_skip_space(&text->scan);
    if (!pass_string(text)) return false;
    dbk_json_skip_space(&text->scan);
    return dbk_json_take(&text->scan, ':');
}

/// The containers that are open: a bit each, set for an object.
typedef struct nesting {
    uint64_t kinds[DBK_DATA_DEPTH_MAX / 64 + 1];
    unsigned depth;
} nesting;

static bool is_object_open(const nesting *open) {
    return open->kinds[open->depth / 64] >> (open->depth % 64) & 1;
}

static void enter(nesting *open, bool is_object) {
    open->depth++;
    uint64_t bit = UINT64_C(1) << (open->depth % 64);
    uint64_t *kinds = &open->kinds[open->depth / 64];
    *kinds = is_object ? *kinds | bit : *kinds & ~bit;
}

// At '{' or '[': up to before its first value, or behind its end.
static bool pass_start(scanner *text, nesting *open) {
    bool is_object = *text->scan.at++ == '{';
    enter(open, is_object);
    dbk_json_skip_space(&text->scan);
    if (dbk_json_take(&text->scan, is_object ? '}' : ']')) {
        open->depth--;
        return true;
    }
    return !is_object || pass_name(text);
}

// Behind a value: the ends of containers, or a comma and what comes before the next value.
static bool pass_to_next_value(scanner *text, nesting *open, unsigned floor) {
    while (open->depth > floor) {
        bool is_object = is_object_open(open);
        dbk_json_skip_space(&text->scan);
        if (dbk_json_take(&text->scan, ',')) return !is_object || pass_name(text);
        if (!dbk_json_take(&text->scan, is_object ? '}' : ']')) return false;
        open->depth--;
    }
    return true;
}

static bool is_container(const scanner *text) {
    return text->scan.at < text->scan.end && (*text->scan.at == '{' || *text->scan.at == '[');
}

// A container with `depth` containers around it; no recursion.
static bool pass_container(scanner *text, unsigned depth) {
    nesting open;
    memset(&open, 0, sizeof open);
    open.depth = depth;
    do {
        if (open.depth >= DBK_DATA_DEPTH_MAX) return false;
        dbk_json_skip_space(&text->scan);
        unsigned before = open.depth;
        if (is_container(text)) {
            if (!pass_start(text, &open)) return false;
            if (open.depth > before) continue; // it has values
        } else if (!pass_scalar(text)) {
            return false;
        }
        if (!pass_to_next_value(text, &open, depth)) return false;
    } while (open.depth > depth);
    return true;
}

static bool pass_value(scanner *text, unsigned depth) {
    dbk_json_skip_space(&text->scan);
    return is_container(text) ? pass_container(text, depth) : depth < DBK_DATA_DEPTH_MAX && pass_scalar(text);
}

// Descending.

static bool scan(scanner *text, const dbk_wanted *wanted, unsigned depth);

// What an earlier member of the same name has set counts no more.
static void forget(scanner *text, const dbk_wanted *wanted) {
    if (wanted->value != DBK_WANTED_NONE) text->values[wanted->value].kind = DBK_VALUE_NULL;
    for (const dbk_wanted *child = wanted->children; child != NULL; child = child->next) forget(text, child);
}

static const dbk_wanted *find_member(const dbk_wanted *parent, dbk_slice inside, bool has_escape) {
    uint8_t decoded[NAME_ENCODED_MAX];
    if (has_escape) {
        if (inside.size > sizeof decoded) return NULL; // An escape is at most six bytes for one of the name.
        inside = daybook_bytes(decoded, decode(inside, decoded));
    }
    const dbk_wanted *child = parent->children;
    while (child != NULL && (child->step.name.data == NULL || !dbk_slice_equal(child->step.name, inside)))
        child = child->next;
    return child;
}

static const dbk_wanted *find_element(const dbk_wanted *parent, uint32_t index) {
    const dbk_wanted *child = parent->children;
    while (child != NULL && (child->step.name.data != NULL || child->step.index != index))
        child = child->next;
    return child;
}

static bool scan_child(scanner *text, const dbk_wanted *child, unsigned depth) {
    if (child == NULL) return pass_value(text, depth);
    if (child->children != NULL) forget(text, child);
    dbk_json_skip_space(&text->scan);
    return scan(text, child, depth);
}

static bool scan_members(scanner *text, const dbk_wanted *wanted, unsigned depth) {
    dbk_json_skip_space(&text->scan);
    if (dbk_json_take(&text->scan, '}')) return true;
    do {
        dbk_slice inside;
        bool has_escape = false;
        dbk_json_skip_space(&text->scan);
        if (!take_string(text, &inside, &has_escape)) return false;
        dbk_json_skip_space(&text->scan);
        if (!dbk_json_take(&text->scan, ':')) return false;
        if (!scan_child(text, find_member(wanted, inside, has_escape), depth)) return false;
        dbk_json_skip_space(&text->scan);
    } while (dbk_json_take(&text->scan, ','));
    return dbk_json_take(&text->scan, '}');
}

static bool scan_elements(scanner *text, const dbk_wanted *wanted, unsigned depth) {
    dbk_json_skip_space(&text->scan);
    if (dbk_json_take(&text->scan, ']')) return true;
    uint32_t index = 0;
    do {
        if (!scan_child(text, find_element(wanted, index), depth)) return false;
        if (index < UINT32_MAX) index++;
        dbk_json_skip_space(&text->scan);
    } while (dbk_json_take(&text->scan, ','));
    return dbk_json_take(&text->scan, ']');
}

static bool scan_container(scanner *text, const dbk_wanted *wanted, unsigned depth) {
    const uint8_t *start = text->scan.at;
    bool is_sound = true;
    if (wanted->children == NULL) {
        is_sound = pass_value(text, depth);
    } else {
        text->scan.at++;
        is_sound = *start == '{' ? scan_members(text, wanted, depth + 1)
                                 : scan_elements(text, wanted, depth + 1);
    }
    if (!is_sound || wanted->value == DBK_WANTED_NONE) return is_sound;
    dbk_value *value = &text->values[wanted->value];
    value->kind = DBK_VALUE_JSON;
    return keep_bytes(text, daybook_bytes(start, (size_t)(text->scan.at - start)), value);
}

// A value on the way to wanted ones, or wanted itself; no space before it.
static bool scan(scanner *text, const dbk_wanted *wanted, unsigned depth) {
    if (depth >= DBK_DATA_DEPTH_MAX) return false;
    if (is_container(text)) return scan_container(text, wanted, depth);
    return wanted->value == DBK_WANTED_NONE ? pass_scalar(text) : keep_scalar(text, wanted->value);
}

dbk_data_problem dbk_data_scan(const dbk_wanted *root, dbk_slice text, dbk_arena *arena, dbk_value *values,
                               dbk_data_failure *failure_out) {
    const uint8_t *start = text.size == 0 ? (const uint8_t *)"" : text.data;
    scanner scanned = {.scan = {start, start + text.size},
                       .arena = arena,
                       .values = values,
                       .problem = DBK_DATA_NOT_JSON,
                       .problem_value = DBK_WANTED_NONE};
    bool is_sound = dbk_is_utf8(text);
    if (is_sound) {
        dbk_json_skip_space(&scanned.scan);
        is_sound = scan(&scanned, root, 0);
        dbk_json_skip_space(&scanned.scan);
    }
    if (is_sound && scanned.scan.at == scanned.scan.end) return DBK_DATA_FINE;
    *failure_out =
        (dbk_data_failure){.offset = (size_t)(scanned.scan.at - start), .value = scanned.problem_value};
    return scanned.problem;
}
