// SPDX-License-Identifier: Apache-2.0
//
// The JSON scanner: one loop with an explicit stack of one bit per level (object or array), so that hostile
// nesting costs 512 bytes and no recursion. Strings are crossed eight bytes at a time while they are plain
// ASCII. Nothing is converted: a value is the slice of text it stands in.

#include "cli/json.h"

#include <stdint.h>
#include <string.h>

typedef unsigned char byte;

typedef struct scanner {
    const byte *begin;
    const byte *at;
    const byte *end;
    int space_seen; // white space between tokens
    cli_json_error *error;
} scanner;

static int fail(scanner *scan, const byte *at, const char *message) {
    if (scan->error != NULL) {
        scan->error->offset = (size_t)(at - scan->begin);
        scan->error->message = message;
    }
    return 0;
}

static int is_space(byte character) {
    return character == ' ' || character == '\t' || character == '\n' || character == '\r';
}

static void skip_space(scanner *scan) {
    while (scan->at < scan->end && is_space(*scan->at)) {
        scan->space_seen = 1;
        scan->at++;
    }
}

size_t cli_utf8_size(const unsigned char *data, size_t size) {
    if (size == 0) return 0;
    byte first = data[0];
    if (first < 0x80) return 1;
    if (first < 0xC2) return 0;
    if (first < 0xE0) return size >= 2 && (data[1] & 0xC0) == 0x80 ? 2 : 0;
    if (first < 0xF0) {
        if (size < 3 || (data[1] & 0xC0) != 0x80 || (data[2] & 0xC0) != 0x80) return 0;
        if (first == 0xE0 && data[1] < 0xA0) return 0; // overlong
        if (first == 0xED && data[1] > 0x9F) return 0; // surrogate
        return 3;
    }
    if (first > 0xF4 || size < 4) return 0;
    if ((data[1] & 0xC0) != 0x80 || (data[2] & 0xC0) != 0x80 || (data[3] & 0xC0) != 0x80) return 0;
    if (first == 0xF0 && data[1] < 0x90) return 0; // overlong
    if (first == 0xF4 && data[1] > 0x8F) return 0; // above U+10FFFF
    return 4;
}

// Does one of eight bytes need a closer look: a quote, a backslash, a control character, no ASCII?
// (Bit tricks as in "Bit Twiddling Hacks", determine if a word has a byte less than n.)
static int needs_look(uint64_t word) {
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    uint64_t quote = word ^ (ones * '"');
    uint64_t slash = word ^ (ones * '\\');
    uint64_t control = (word - ones * 0x20) & ~word;
    return ((((quote - ones) & ~quote) | ((slash - ones) & ~slash) | control | word) & tops) != 0;
}

static int is_hex(byte c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

// At the opening quote; ends behind the closing one.
static int scan_string(scanner *scan) {
    const byte *at = scan->at + 1;
    const byte *end = scan->end;
    for (;;) {
        uint64_t word;
        while (end - at >= 8 && (memcpy(&word, at, 8), !needs_look(word))) at += 8;
        while (at < end && *at >= 0x20 && *at < 0x80 && *at != '"' && *at != '\\') at++;
        if (at >= end) return fail(scan, end, "a string without its closing quote");
        if (*at == '"') break;
        if (*at == '\\') {
            if (end - at < 2) return fail(scan, end, "a string without its closing quote");
            if (at[1] == 'u') {
                if (end - at < 6 || !is_hex(at[2]) || !is_hex(at[3]) || !is_hex(at[4]) || !is_hex(at[5]))
                    return fail(scan, at, "\\u without four hexadecimal digits");
                at += 6;
            } else if (at[1] != '\0' && strchr("\"\\/bfnrt", at[1]) != NULL) {
                at += 2;
            } else {
                return fail(scan, at, "an unknown escape in a string");
            }
        } else if (*at < 0x20) {
            return fail(scan, at, "a control character in a string");
        } else {
            size_t size = cli_utf8_size(at, (size_t)(end - at));
            if (size == 0) return fail(scan, at, "bytes that are not UTF-8");
            at += size;
        }
    }
    scan->at = at + 1;
    return 1;
}

static const byte *skip_digits(const byte *at, const byte *end) {
    while (at < end && *at >= '0' && *at <= '9') at++;
    return at;
}

static int scan_number(scanner *scan) {
    const byte *at = scan->at;
    const byte *end = scan->end;
    if (*at == '-') at++;
    const byte *digits = at;
    at = skip_digits(at, end);
    if (at == digits) return fail(scan, at, "a minus without digits");
    if (*digits == '0' && at - digits > 1) return fail(scan, digits, "a number with a leading zero");
    if (at < end && *at == '.') {
        digits = ++at;
        at = skip_digits(at, end);
        if (at == digits) return fail(scan, at, "a number that ends with its point");
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '+' || *at == '-')) at++;
        digits = at;
        at = skip_digits(at, end);
        if (at == digits) return fail(scan, at, "a number without its exponent");
    }
    scan->at = at;
    return 1;
}

static int scan_literal(scanner *scan, const char *word, size_t size) {
    if ((size_t)(scan->end - scan->at) < size || memcmp(scan->at, word, size) != 0)
        return fail(scan, scan->at, "something that is no JSON value");
    scan->at += size;
    return 1;
}

static int scan_scalar(scanner *scan) {
    byte first = *scan->at;
    if (first == '"') return scan_string(scan);
    if (first == '-' || (first >= '0' && first <= '9')) return scan_number(scan);
    if (first == 't') return scan_literal(scan, "true", 4);
    if (first == 'f') return scan_literal(scan, "false", 5);
    if (first == 'n') return scan_literal(scan, "null", 4);
    return fail(scan, scan->at, "something that is no JSON value");
}

// The key and the colon of a member.
static int scan_key(scanner *scan) {
    skip_space(scan);
    if (scan->at >= scan->end || *scan->at != '"') return fail(scan, scan->at, "no member name in quotes");
    if (!scan_string(scan)) return 0;
    skip_space(scan);
    if (scan->at >= scan->end || *scan->at != ':') return fail(scan, scan->at, "no ':' behind a member name");
    scan->at++;
    return 1;
}

// One value of any depth; white space before it has been skipped by nobody yet.
static int scan_value(scanner *scan) {
    byte is_object[CLI_JSON_DEPTH_MAX / 8];
    size_t depth = 0;
    for (;;) {
        skip_space(scan);
        if (scan->at >= scan->end) return fail(scan, scan->end, "an end where a value should be");
        byte open = *scan->at;
        if (open == '{' || open == '[') {
            if (depth == CLI_JSON_DEPTH_MAX) return fail(scan, scan->at, "nesting deeper than 4096 levels");
            byte bit = (byte)(1u << (depth % 8));
            if (open == '{')
                is_object[depth / 8] = (byte)(depth % 8 == 0 ? bit : is_object[depth / 8] | bit);
            else
                is_object[depth / 8] = (byte)(depth % 8 == 0 ? 0 : is_object[depth / 8] & ~bit);
            depth++;
            scan->at++;
            skip_space(scan);
            int is_empty = scan->at < scan->end && *scan->at == (open == '{' ? '}' : ']');
            if (!is_empty) {
                if (open == '{' && !scan_key(scan)) return 0;
                continue;
            }
        } else if (!scan_scalar(scan)) {
            return 0;
        }
        // Behind a value: close what ends here.
        for (;;) {
            if (depth == 0) return 1;
            skip_space(scan);
            int in_object = (is_object[(depth - 1) / 8] >> ((depth - 1) % 8)) & 1;
            if (scan->at >= scan->end)
                return fail(scan, scan->end,
                            in_object ? "an object without its }" : "an array without its ]");
            byte next = *scan->at;
            if (next == (in_object ? '}' : ']')) {
                scan->at++;
                depth--;
                continue;
            }
            if (next != ',')
                return fail(scan, scan->at,
                            in_object ? "no ',' or '}' behind a member" : "no ',' or ']' behind an element");
            scan->at++;
            if (in_object && !scan_key(scan)) return 0;
            break;
        }
    }
}

static scanner scanner_over(daybook_slice text, size_t offset, cli_json_error *error) {
    const byte *begin = text.data;
    return (scanner){.begin = begin, .at = begin + offset, .end = begin + text.size, .error = error};
}

int cli_json_scan(daybook_slice text, size_t *offset, daybook_slice *value_out, cli_json_error *error) {
    scanner scan = scanner_over(text, *offset, error);
    skip_space(&scan);
    const byte *begin = scan.at;
    if (!scan_value(&scan)) return 0;
    *value_out = daybook_bytes(begin, (size_t)(scan.at - begin));
    *offset = (size_t)(scan.at - scan.begin);
    return 1;
}

static int scan_whole(scanner *scan) {
    if (!scan_value(scan)) return 0;
    skip_space(scan);
    if (scan->at < scan->end) return fail(scan, scan->at, "something behind the end of the value");
    return 1;
}

int cli_json_is_valid(daybook_slice text, cli_json_error *error) {
    if (text.size == 0) {
        if (error != NULL) *error = (cli_json_error){.message = "an end where a value should be"};
        return 0;
    }
    scanner scan = scanner_over(text, 0, error);
    return scan_whole(&scan);
}

// Of text known to be valid.
static size_t strip_space(const byte *at, const byte *end, char *out) {
    char *begin = out;
    while (at < end) {
        if (is_space(*at)) {
            at++;
        } else if (*at == '"') {
            const byte *start = at++;
            while (*at != '"') at += *at == '\\' ? 2 : 1;
            at++;
            memcpy(out, start, (size_t)(at - start));
            out += at - start;
        } else {
            *out++ = (char)*at++;
        }
    }
    return (size_t)(out - begin);
}

size_t cli_json_compact(daybook_slice text, char *out) {
    if (text.size == 0) return SIZE_MAX;
    scanner scan = scanner_over(text, 0, NULL);
    if (!scan_whole(&scan)) return SIZE_MAX;
    if (scan.space_seen) return strip_space(scan.begin, scan.end, out);
    memcpy(out, text.data, text.size);
    return text.size;
}

int cli_json_begin(daybook_slice value, char open, cli_json_iterator *iterator_out, cli_json_error *error) {
    scanner scan = scanner_over(value, 0, error);
    if (value.size != 0) skip_space(&scan);
    if (value.size == 0 || scan.at >= scan.end || *scan.at != (byte)open)
        return fail(&scan, value.size == 0 ? scan.begin : scan.at,
                    open == '{' ? "something that is no JSON object" : "something that is no JSON array");
    *iterator_out = (cli_json_iterator){
        .text = value, .offset = (size_t)(scan.at - scan.begin) + 1, .close = open == '{' ? '}' : ']'};
    return 1;
}

int cli_json_next(cli_json_iterator *iterator, daybook_slice *key_out, daybook_slice *value_out,
                  cli_json_error *error) {
    scanner scan = scanner_over(iterator->text, iterator->offset, error);
    int is_object = iterator->close == '}';
    *key_out = daybook_bytes(NULL, 0);
    skip_space(&scan);
    if (scan.at >= scan.end)
        return fail(&scan, scan.end, is_object ? "an object without its }" : "an array without its ]") - 1;
    if (*scan.at == (byte)iterator->close) {
        iterator->offset = (size_t)(scan.at - scan.begin) + 1;
        return 0;
    }
    if (iterator->started) {
        if (*scan.at != ',')
            return fail(&scan, scan.at,
                        is_object ? "no ',' or '}' behind a member" : "no ',' or ']' behind an element") -
                   1;
        scan.at++;
    }
    iterator->started = 1;
    if (is_object) {
        skip_space(&scan);
        const byte *begin = scan.at;
        if (!scan_key(&scan)) return -1;
        size_t size = (size_t)(scan.at - begin);
        // Without the colon and the white space before it: the last quote ends the key.
        while (begin[size - 1] != '"') size--;
        *key_out = daybook_bytes(begin, size);
    }
    size_t offset = (size_t)(scan.at - scan.begin);
    if (!cli_json_scan(iterator->text, &offset, value_out, error)) return -1;
    iterator->offset = offset;
    return 1;
}

static unsigned hex_value(const byte *digits) {
    unsigned value = 0;
    for (int i = 0; i < 4; i++) {
        byte c = digits[i];
        value = value * 16 + (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return value;
}

static char *put_utf8(char *out, unsigned code) {
    if (code < 0x80) {
        *out++ = (char)code;
    } else if (code < 0x800) {
        *out++ = (char)(0xC0 | code >> 6);
        *out++ = (char)(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        *out++ = (char)(0xE0 | code >> 12);
        *out++ = (char)(0x80 | (code >> 6 & 0x3F));
        *out++ = (char)(0x80 | (code & 0x3F));
    } else {
        *out++ = (char)(0xF0 | code >> 18);
        *out++ = (char)(0x80 | (code >> 12 & 0x3F));
        *out++ = (char)(0x80 | (code >> 6 & 0x3F));
        *out++ = (char)(0x80 | (code & 0x3F));
    }
    return out;
}

// At "\uXXXX"; moves *at behind what it used. NULL for half a surrogate pair.
static char *put_escaped_code(const byte **at, const byte *end, char *out) {
    unsigned code = hex_value(*at + 2);
    *at += 6;
    if (code >= 0xD800 && code <= 0xDFFF) {
        if (code >= 0xDC00 || end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u') return NULL;
        unsigned low = hex_value(*at + 2);
        if (low < 0xDC00 || low > 0xDFFF) return NULL;
        *at += 6;
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    return put_utf8(out, code);
}

size_t cli_json_unescape(daybook_slice raw, char *out) {
    const byte *at = (const byte *)raw.data + 1;
    const byte *end = (const byte *)raw.data + raw.size - 1;
    char *begin = out;
    while (at < end) {
        const byte *slash = memchr(at, '\\', (size_t)(end - at));
        size_t plain = (size_t)((slash == NULL ? end : slash) - at);
        memcpy(out, at, plain);
        out += plain;
        at += plain;
        if (slash == NULL) break;
        if (at[1] == 'u') {
            out = put_escaped_code(&at, end, out);
            if (out == NULL) return SIZE_MAX;
            continue;
        }
        static const char names[] = "\"\\/bfnrt";
        static const char values[] = "\"\\/\b\f\n\r\t";
        *out++ = values[strchr(names, at[1]) - names];
        at += 2;
    }
    return (size_t)(out - begin);
}
