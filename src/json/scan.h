// SPDX-License-Identifier: Apache-2.0
// JSON's tokens, byte by byte: what the parser and whoever passes over JSON without making values have in
// common.
//
// Each function takes what it is named after from the front and returns true, or returns false with `at` at
// the byte that does not fit. Strings are looked at eight bytes at a time, because most of the data is in
// them. Whether the text is UTF-8 is asked elsewhere. Pure; inline, as this is most of the work there is.
#ifndef DBK_JSON_SCAN_H
#define DBK_JSON_SCAN_H

#include <string.h>

#include "base/bytes.h"

typedef struct dbk_json_scan {
    const uint8_t *at;
    const uint8_t *end;
} dbk_json_scan;

static inline void dbk_json_skip_space(dbk_json_scan *scan) {
    while (scan->at < scan->end &&
           (*scan->at == ' ' || *scan->at == '\t' || *scan->at == '\n' || *scan->at == '\r'))
        scan->at++;
}

static inline bool dbk_json_take(dbk_json_scan *scan, char byte) {
    if (scan->at == scan->end || *scan->at != (uint8_t)byte) return false;
    scan->at++;
    return true;
}

static inline bool dbk_json_take_word(dbk_json_scan *scan, const char *word) {
    size_t size = strlen(word);
    if ((size_t)(scan->end - scan->at) < size || memcmp(scan->at, word, size) != 0) return false;
    scan->at += size;
    return true;
}

static inline bool dbk_json_take_digits(dbk_json_scan *scan) {
    const uint8_t *start = scan->at;
    while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9') scan->at++;
    return scan->at > start;
}

static inline bool dbk_json_take_number(dbk_json_scan *scan) {
    (void)dbk_json_take(scan, '-');
    if (!dbk_json_take(scan, '0') && !dbk_json_take_digits(scan)) return false;
    if (dbk_json_take(scan, '.') && !dbk_json_take_digits(scan)) return false;
    if (dbk_json_take(scan, 'e') || dbk_json_take(scan, 'E')) {
        if (!dbk_json_take(scan, '+')) (void)dbk_json_take(scan, '-');
        return dbk_json_take_digits(scan);
    }
    return true;
}

// High bit of every byte that is '"', '\\' or below 0x20. A byte above one of these may have it too, so the
// first is right and the others are looked at again.
static inline uint64_t dbk_json_special_bytes(uint64_t word) {
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t quote = word ^ ones * '"';
    uint64_t slash = word ^ ones * '\\';
    return (((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((word - ones * 0x20) & ~word)) &
           ones * 0x80;
}

/// Moves on to what may not stand in a string as it is: a quote, a backslash, a control character; or to the
/// end.
static inline void dbk_json_skip_plain(dbk_json_scan *scan) {
    while (scan->end - scan->at >= 8) {
        uint64_t found = dbk_json_special_bytes(dbk_get_u64(scan->at));
        if (found != 0) {
            scan->at += __builtin_ctzll(found) / 8;
            return;
        }
        scan->at += 8;
    }
    while (scan->at < scan->end && *scan->at >= 0x20 && *scan->at != '"' && *scan->at != '\\') scan->at++;
}

static inline bool dbk_json_take_code_unit(dbk_json_scan *scan, unsigned *unit_out) {
    unsigned unit = 0;
    for (int i = 0; i < 4; i++, scan->at++) {
        if (scan->at == scan->end) return false;
        uint8_t byte = *scan->at, lower = byte | 0x20;
        bool is_digit = byte >= '0' && byte <= '9';
        if (!is_digit && (lower < 'a' || lower > 'f')) return false;
        unit = unit * 16 + (unsigned)(is_digit ? byte - '0' : lower - 'a' + 10);
    }
    *unit_out = unit;
    return true;
}

// Behind "\u": a character, or a high and a low surrogate.
static inline bool dbk_json_take_code_point(dbk_json_scan *scan, unsigned *point_out) {
    unsigned unit = 0, low = 0;
    if (!dbk_json_take_code_unit(scan, &unit)) return false;
    if (unit >= 0xd800 && unit <= 0xdfff) {
        if (unit > 0xdbff || !dbk_json_take_word(scan, "\\u") || !dbk_json_take_code_unit(scan, &low))
            return false;
        if (low < 0xdc00 || low > 0xdfff) return false;
        unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
    }
    *point_out = unit;
    return true;
}

/// What stands behind a backslash, and the character that is meant.
static inline bool dbk_json_take_escape(dbk_json_scan *scan, unsigned *point_out) {
    static const char escapes[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    if (scan->at == scan->end) return false;
    uint8_t byte = *scan->at;
    const char *found = byte == '\0' ? NULL : strchr(escapes, byte);
    if (found == NULL && byte != 'u') return false;
    scan->at++;
    if (byte == 'u') return dbk_json_take_code_point(scan, point_out);
    *point_out = (uint8_t)meanings[found - escapes];
    return true;
}

/// 1 to 4 bytes; how many.
static inline size_t dbk_json_put_utf8(uint8_t *out, unsigned point) {
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

#endif
