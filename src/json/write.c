// SPDX-License-Identifier: Apache-2.0
// JSON values as compact text.
//
// Our own because jansson prints doubles with 17 digits: 59.99 would come back as 59.990000000000002. We take
// the fewest of 15, 16, 17 digits that read back as the same double (17 always does, IEEE 754).
//
// Strings are written in one of two ways, the same for a given use for ever: ours escapes what RFC 8259
// demands and nothing else; that of Go's encoding/json is what clients of NATS compare and expect of a
// server.
//
// Depth: the parser stops at DBK_JSON_DEPTH_MAX and merging never deepens beyond its inputs, so that the
// recursion here is bounded by the same number.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/number.h"
#include "json/json.h"

typedef enum string_style { STYLE_SHORT, STYLE_GO } string_style;

enum { ESCAPE_SIZE = 7 };

static const char *short_escape(uint8_t byte) {
    switch (byte) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    default:
        return NULL;
    }
}

// How the character of `size` bytes at `at` is written; NULL: as it stands. `room` is for what is made up.
// Size 0 is a byte of no character.
static const char *escape_of(string_style style, const uint8_t *at, size_t size, char room[ESCAPE_SIZE]) {
    bool is_go = style == STYLE_GO;
    if (size == 0) return "\\ufffd";
    if (size > 1) {
        bool is_line_end = is_go && size == 3 && at[0] == 0xe2 && at[1] == 0x80 && (at[2] | 1) == 0xa9;
        return !is_line_end ? NULL : at[2] & 1 ? "\\u2029" : "\\u2028";
    }
    const char *escape = short_escape(*at);
    if (escape != NULL) return escape;
    if (!is_go && (*at == '\b' || *at == '\f')) return *at == '\b' ? "\\b" : "\\f";
    if (*at >= 0x20 && !(is_go && (*at == '<' || *at == '>' || *at == '&'))) return NULL;
    (void)snprintf(room, ESCAPE_SIZE, "\\u%04x", *at);
    return room;
}

static void write_string(dbk_buf *out, dbk_slice text, string_style style) {
    const uint8_t *bytes = text.data;
    size_t plain_from = 0;
    dbk_buf_append_u8(out, '"');
    for (size_t i = 0; i < text.size;) {
        if (bytes[i] > '>' && bytes[i] != '\\' && bytes[i] < 0x80) { // most of them
            i++;
            continue;
        }
        char room[ESCAPE_SIZE];
        size_t size = bytes[i] < 0x80 ? 1 : dbk_utf8_size(bytes + i, text.size - i);
        const char *escape = escape_of(style, bytes + i, size, room);
        size_t next = i + (size == 0 ? 1 : size);
        if (escape != NULL) {
            dbk_buf_append(out, bytes + plain_from, i - plain_from);
            dbk_buf_append(out, escape, strlen(escape));
            plain_from = next;
        }
        i = next;
    }
    if (text.size > plain_from) dbk_buf_append(out, bytes + plain_from, text.size - plain_from);
    dbk_buf_append_u8(out, '"');
}

void dbk_json_write_string(dbk_buf *out, dbk_slice text) {
    write_string(out, text, STYLE_SHORT);
}

void dbk_json_write_go_string(dbk_buf *out, dbk_slice text) {
    write_string(out, text, STYLE_GO);
}

static void write_real(dbk_buf *out, double value) {
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    bool is_marked = false;
    for (const char *at = text; *at != '\0'; at++) {
        char byte = *at;
        // The host's locale may have put its own decimal point here; JSON knows one only.
        if (strchr("0123456789+-e", byte) == NULL) {
            if (is_marked) continue; // A point of several bytes.
            byte = '.';
        }
        if (byte == '.' || byte == 'e') is_marked = true;
        dbk_buf_append_u8(out, (uint8_t)byte);
    }
    if (!is_marked) dbk_buf_append(out, ".0", 2); // Keep it a real when it is read again.
}

static void write_object(dbk_buf *out, const json_t *value) {
    // jansson iterates over a mutable object only; nothing is changed.
    json_t *object = (json_t *)(uintptr_t)value;
    bool is_first = true;
    dbk_buf_append_u8(out, '{');
    for (void *at = json_object_iter(object); at != NULL; at = json_object_iter_next(object, at)) {
        if (!is_first) dbk_buf_append_u8(out, ',');
        is_first = false;
        dbk_json_write_string(out, daybook_text(json_object_iter_key(at)));
        dbk_buf_append_u8(out, ':');
        dbk_json_write(out, json_object_iter_value(at));
    }
    dbk_buf_append_u8(out, '}');
}

static void write_array(dbk_buf *out, const json_t *value) {
    dbk_buf_append_u8(out, '[');
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (i > 0) dbk_buf_append_u8(out, ',');
        dbk_json_write(out, json_array_get(value, i));
    }
    dbk_buf_append_u8(out, ']');
}

void dbk_json_write(dbk_buf *out, const json_t *value) {
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        write_object(out, value);
        break;
    case JSON_ARRAY:
        write_array(out, value);
        break;
    case JSON_STRING:
        dbk_json_write_string(out, daybook_bytes(json_string_value(value), json_string_length(value)));
        break;
    case JSON_INTEGER:
        dbk_decimal_append_signed(out, json_integer_value(value));
        break;
    case JSON_REAL:
        write_real(out, json_real_value(value));
        break;
    case JSON_TRUE:
        dbk_buf_append(out, "true", 4);
        break;
    case JSON_FALSE:
        dbk_buf_append(out, "false", 5);
        break;
    case JSON_NULL:
        dbk_buf_append(out, "null", 4);
        break;
    }
}
