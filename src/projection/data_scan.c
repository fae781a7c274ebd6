// SPDX-License-Identifier: Apache-2.0
// The scanner over an event's data. What lies on the way to a wanted place is descended into (`scan`), all
// else is passed over (`pass`) with the same checks and no more work than these need.
//
// Every function takes what it expects from the front of the text and returns false where it does not find
// it: then `at` is the offending byte, or `problem` says what else went wrong. Strings are looked at eight
// bytes at a time, because most of the data is in them.
//
// The grammar is that of json/parse.c, and the tests compare the two.
#include "projection/data_scan.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/number.h"

enum { NAME_ENCODED_MAX = 6 * DBK_PARAMETER_NAME_SIZE_MAX };

typedef struct scanner {
    const uint8_t *at;
    const uint8_t *end;
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

static void skip_space(scanner *text) {
    while (text->at < text->end &&
           (*text->at == ' ' || *text->at == '\n' || *text->at == '\r' || *text->at == '\t'))
        text->at++;
}

static bool take(scanner *text, char byte) {
    if (text->at == text->end || *text->at != (uint8_t)byte) return false;
    text->at++;
    return true;
}

static bool take_word(scanner *text, const char *word) {
    size_t size = strlen(word);
    if ((size_t)(text->end - text->at) < size || memcmp(text->at, word, size) != 0) return false;
    text->at += size;
    return true;
}

static bool take_digits(scanner *text) {
    const uint8_t *start = text->at;
    while (text->at < text->end && *text->at >= '0' && *text->at <= '9') text->at++;
    return text->at > start;
}

// Strings.

// High bit of every byte that is '"', '\\' or below 0x20. A byte above one of these may have it too, so the
// first is right and the others are looked at again.
static uint64_t special_bytes(uint64_t word) {
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t quote = word ^ ones * '"';
    uint64_t slash = word ^ ones * '\\';
    return (((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((word - ones * 0x20) & ~word)) &
           ones * 0x80;
}

static const uint8_t *find_special(const uint8_t *at, const uint8_t *end) {
    while (end - at >= 8) {
        uint64_t found = special_bytes(dbk_get_u64(at));
        if (found != 0) return at + __builtin_ctzll(found) / 8;
        at += 8;
    }
    while (at < end && *at >= 0x20 && *at != '"' && *at != '\\') at++;
    return at;
}

static int hex_digit(uint8_t byte) {
    if (byte >= '0' && byte <= '9') return byte - '0';
    uint8_t lower = byte | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

static bool take_code_unit(scanner *text, unsigned *unit_out) {
    unsigned unit = 0;
    for (int i = 0; i < 4; i++, text->at++) {
        int digit = text->at == text->end ? -1 : hex_digit(*text->at);
        if (digit < 0) return false;
        unit = unit * 16 + (unsigned)digit;
    }
    *unit_out = unit;
    return true;
}

// Behind "\u": a character, or a high and a low surrogate.
static bool take_code_point(scanner *text, unsigned *point_out) {
    unsigned unit = 0;
    unsigned low = 0;
    if (!take_code_unit(text, &unit)) return false;
    if (unit >= 0xd800 && unit <= 0xdfff) {
        if (unit > 0xdbff || !take_word(text, "\\u") || !take_code_unit(text, &low)) return false;
        if (low < 0xdc00 || low > 0xdfff) return false;
        unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
    }
    *point_out = unit;
    return true;
}

// Behind a backslash.
static bool take_escape(scanner *text, unsigned *point_out) {
    static const char escapes[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    if (text->at == text->end) return false;
    uint8_t byte = *text->at;
    if (byte == 'u') {
        text->at++;
        return take_code_point(text, point_out);
    }
    const char *found = byte == '\0' ? NULL : strchr(escapes, byte);
    if (found == NULL) return false;
    text->at++;
    *point_out = (uint8_t)meanings[found - escapes];
    return true;
}

// The string at the front, checked. What is between the quotes, escapes and all, is `*inside_out`.
static bool take_string(scanner *text, dbk_slice *inside_out, bool *has_escape_out) {
    if (!take(text, '"')) return false;
    const uint8_t *start = text->at;
    *has_escape_out = false;
    for (;;) {
        text->at = find_special(text->at, text->end);
        if (take(text, '"')) {
            *inside_out = daybook_bytes(start, (size_t)(text->at - start) - 1);
            return true;
        }
        unsigned point = 0;
        if (!take(text, '\\') || !take_escape(text, &point)) return false;
        *has_escape_out = true;
    }
}

static bool pass_string(scanner *text) {
    dbk_slice inside;
    bool has_escape = false;
    return take_string(text, &inside, &has_escape);
}

static size_t put_utf8(uint8_t *out, unsigned point) {
    if (point < 0x80) {
        out[0] = (uint8_t)point;
        return 1;
    }
    int more = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
    static const uint8_t leads[] = {0, 0xc0, 0xe0, 0xf0};
    out[0] = (uint8_t)(leads[more] | (point >> (6 * more)));
    for (int i = 1; i <= more; i++) out[i] = (uint8_t)(0x80 | ((point >> (6 * (more - i))) & 0x3f));
    return (size_t)more + 1;
}

// What take_string has checked, without escapes: never longer than with them.
static size_t decode(dbk_slice inside, uint8_t *out) {
    scanner text = {.at = inside.data, .end = (const uint8_t *)inside.data + inside.size};
    size_t size = 0;
    while (text.at < text.end) {
        const uint8_t *plain = text.at;
        while (text.at < text.end && *text.at != '\\') text.at++;
        memcpy(out + size, plain, (size_t)(text.at - plain));
        size += (size_t)(text.at - plain);
        unsigned point = 0;
        if (take(&text, '\\') && take_escape(&text, &point)) size += put_utf8(out + size, point);
    }
    return size;
}

// Numbers.

static bool pass_number(scanner *text) {
    (void)take(text, '-');
    if (!take(text, '0') && !take_digits(text)) return false;
    if (take(text, '.') && !take_digits(text)) return false;
    if (take(text, 'e') || take(text, 'E')) {
        if (!take(text, '+')) (void)take(text, '-');
        return take_digits(text);
    }
    return true;
}

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
    const uint8_t *start = text->at;
    if (!pass_number(text)) return false;
    dbk_slice number = daybook_bytes(start, (size_t)(text->at - start));
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
    if (take_word(text, "null")) {
        value->kind = DBK_VALUE_NULL;
        return true;
    }
    bool is_true = take_word(text, "true");
    if (!is_true && !take_word(text, "false")) return false;
    value->kind = DBK_VALUE_BOOLEAN;
    value->integer = is_true;
    value->text = daybook_text(is_true ? "true" : "false");
    return true;
}

static bool keep_scalar(scanner *text, uint32_t index) {
    if (text->at == text->end) return false;
    switch (*text->at) {
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
    if (text->at == text->end) return false;
    switch (*text->at) {
    case '"':
        return pass_string(text);
    case 't':
        return take_word(text, "true");
    case 'f':
        return take_word(text, "false");
    case 'n':
        return take_word(text, "null");
    default:
        return pass_number(text);
    }
}

static bool pass_name(scanner *text) {
    skip_space(text);
    if (!pass_string(text)) return false;
    skip_space(text);
    return take(text, ':');
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
    bool is_object = *text->at++ == '{';
    enter(open, is_object);
    skip_space(text);
    if (take(text, is_object ? '}' : ']')) {
        open->depth--;
        return true;
    }
    return !is_object || pass_name(text);
}

// Behind a value: the ends of containers, or a comma and what comes before the next value.
static bool pass_to_next_value(scanner *text, nesting *open, unsigned floor) {
    while (open->depth > floor) {
        bool is_object = is_object_open(open);
        skip_space(text);
        if (take(text, ',')) return !is_object || pass_name(text);
        if (!take(text, is_object ? '}' : ']')) return false;
        open->depth--;
    }
    return true;
}

static bool is_container(const scanner *text) {
    return text->at < text->end && (*text->at == '{' || *text->at == '[');
}

// A container with `depth` containers around it; no recursion.
static bool pass_container(scanner *text, unsigned depth) {
    nesting open;
    memset(&open, 0, sizeof open);
    open.depth = depth;
    do {
        if (open.depth >= DBK_DATA_DEPTH_MAX) return false;
        skip_space(text);
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
    skip_space(text);
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
    skip_space(text);
    return scan(text, child, depth);
}

static bool scan_members(scanner *text, const dbk_wanted *wanted, unsigned depth) {
    skip_space(text);
    if (take(text, '}')) return true;
    do {
        dbk_slice inside;
        bool has_escape = false;
        skip_space(text);
        if (!take_string(text, &inside, &has_escape)) return false;
        skip_space(text);
        if (!take(text, ':')) return false;
        if (!scan_child(text, find_member(wanted, inside, has_escape), depth)) return false;
        skip_space(text);
    } while (take(text, ','));
    return take(text, '}');
}

static bool scan_elements(scanner *text, const dbk_wanted *wanted, unsigned depth) {
    skip_space(text);
    if (take(text, ']')) return true;
    uint32_t index = 0;
    do {
        if (!scan_child(text, find_element(wanted, index), depth)) return false;
        if (index < UINT32_MAX) index++;
        skip_space(text);
    } while (take(text, ','));
    return take(text, ']');
}

static bool scan_container(scanner *text, const dbk_wanted *wanted, unsigned depth) {
    const uint8_t *start = text->at;
    bool is_sound = true;
    if (wanted->children == NULL) {
        is_sound = pass_value(text, depth);
    } else {
        text->at++;
        is_sound = *start == '{' ? scan_members(text, wanted, depth + 1)
                                 : scan_elements(text, wanted, depth + 1);
    }
    if (!is_sound || wanted->value == DBK_WANTED_NONE) return is_sound;
    dbk_value *value = &text->values[wanted->value];
    value->kind = DBK_VALUE_JSON;
    return keep_bytes(text, daybook_bytes(start, (size_t)(text->at - start)), value);
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
    scanner scanned = {.at = start,
                       .end = start + text.size,
                       .arena = arena,
                       .values = values,
                       .problem = DBK_DATA_NOT_JSON,
                       .problem_value = DBK_WANTED_NONE};
    bool is_sound = dbk_is_utf8(text);
    if (is_sound) {
        skip_space(&scanned);
        is_sound = scan(&scanned, root, 0);
        skip_space(&scanned);
    }
    if (is_sound && scanned.at == scanned.end) return DBK_DATA_FINE;
    *failure_out = (dbk_data_failure){.offset = (size_t)(scanned.at - start), .value = scanned.problem_value};
    return scanned.problem;
}
