// SPDX-License-Identifier: Apache-2.0
// JSON text to values and back.
//
// Parsing is jansson's with one repair: an integer beyond 64 bits is a legal JSON number, so that it must not
// make an event unreadable. It is read as a double, by giving it an exponent ("e0") and parsing again; the
// other integers of the text stay exact.
//
// Writing is our own because jansson prints doubles with 17 digits: 59.99 would come back as
// 59.990000000000002. We take the fewest of 15, 16, 17 digits that read back as the same double (17 always
// does, IEEE 754).
//
// Depth: the parser stops at 2,048 levels and merging never deepens beyond its inputs, so that the recursion
// here is bounded by the same number.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "toolkit/json.h"

enum { PARSE_FLAGS = JSON_DECODE_ANY | JSON_ALLOW_NUL };

static bool is_number_byte(char byte) {
    return (byte >= '0' && byte <= '9') || byte == '-' || byte == '+' || byte == '.' || byte == 'e' ||
           byte == 'E';
}

static bool is_integer_beyond_64_bits(const char *digits, size_t size) {
    size_t at = size > 0 && digits[0] == '-' ? 1 : 0;
    for (size_t i = at; i < size; i++)
        if (digits[i] < '0' || digits[i] > '9') return false;
    if (size - at != 19) return size - at > 19;
    return memcmp(digits + at, at == 1 ? "9223372036854775808" : "9223372036854775807", 19) > 0;
}

// The same text with "e0" behind every integer that does not fit.
static void widen_integers(dbk_slice text, dbk_buf *out) {
    const char *at = text.data;
    const char *end = at + text.size;
    bool in_string = false;
    while (at < end) {
        const char *start = at;
        if (!in_string && is_number_byte(*at)) {
            while (at < end && is_number_byte(*at)) at++;
            dbk_buf_append(out, start, (size_t)(at - start));
            if (is_integer_beyond_64_bits(start, (size_t)(at - start))) dbk_buf_append(out, "e0", 2);
            continue;
        }
        if (*at == '"')
            in_string = !in_string;
        else if (in_string && *at == '\\' && end - at > 1)
            at++;
        at++;
        dbk_buf_append(out, start, (size_t)(at - start));
    }
}

static daybook_status load(dbk_slice text, json_t **value_out, json_error_t *why) {
    *value_out = json_loadb(text.size == 0 ? "" : text.data, text.size, PARSE_FLAGS, why);
    if (*value_out != NULL) return DAYBOOK_OK;
    return json_error_code(why) == json_error_out_of_memory ? DAYBOOK_ENOMEM : DAYBOOK_EINVALID;
}

daybook_status dbk_json_parse(dbk_slice text, json_t **value_out, json_error_t *why_out) {
    json_error_t why;
    daybook_status status = load(text, value_out, &why);
    if (status == DAYBOOK_EINVALID && json_error_code(&why) == json_error_numeric_overflow) {
        dbk_buf widened;
        dbk_buf_init(&widened, dbk_allocator_default(), SIZE_MAX / 2);
        widen_integers(text, &widened);
        status = dbk_buf_status(&widened);
        if (status == DAYBOOK_OK) status = load(daybook_bytes(widened.data, widened.size), value_out, &why);
        dbk_buf_deinit(&widened);
    }
    if (status == DAYBOOK_EINVALID && why_out != NULL) *why_out = why;
    return status;
}

static const char *short_escape(unsigned char byte) {
    switch (byte) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\b':
        return "\\b";
    case '\f':
        return "\\f";
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

void dbk_json_write_string(dbk_buf *out, dbk_slice text) {
    const unsigned char *bytes = text.data;
    size_t plain_from = 0;
    dbk_buf_append_u8(out, '"');
    for (size_t i = 0; i < text.size; i++) {
        const char *escape = short_escape(bytes[i]);
        if (escape == NULL && bytes[i] >= 0x20) continue;
        char unicode[7];
        if (escape == NULL) {
            (void)snprintf(unicode, sizeof unicode, "\\u%04x", bytes[i]);
            escape = unicode;
        }
        dbk_buf_append(out, bytes + plain_from, i - plain_from);
        dbk_buf_append(out, escape, strlen(escape));
        plain_from = i + 1;
    }
    if (text.size > plain_from) dbk_buf_append(out, bytes + plain_from, text.size - plain_from);
    dbk_buf_append_u8(out, '"');
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
        if (!is_number_byte(byte)) {
            if (!is_number_byte(at[1])) continue;
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
    char number[32];
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
        (void)snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        dbk_buf_append(out, number, strlen(number));
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
