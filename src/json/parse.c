// SPDX-License-Identifier: Apache-2.0
// JSON text to jansson values.
//
// The parser is our own, because jansson's is not safe when memory runs out: inside a string it reports a
// syntax error (an event would then be passed over as not being JSON, and the state would silently miss it)
// or stops the process in an assertion. Besides, an integer beyond 64 bits is a legal JSON number, which
// jansson refuses; here it becomes a double, and the other integers of the text stay exact. Building values
// is jansson's, which does report a failed allocation.
//
// Recursive descent. Every function takes what it expects from the front of the text and returns false where
// it does not find it (then `at` is the offending byte) or where memory ran out (`is_out_of_memory`). Names
// and decoded strings lie on `scratch`, a stack of bytes addressed by offsets, because it may move as it
// grows.
#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/number.h"
#include "json/json.h"
#include "json/scan.h"

typedef struct parser {
    dbk_json_scan scan;
    dbk_buf scratch;
    bool is_out_of_memory;
} parser;

static bool has_memory(parser *text, const void *made) {
    if (made == NULL || text->scratch.failed) text->is_out_of_memory = true;
    return !text->is_out_of_memory;
}

// Numbers.

// strtod knows the decimal point of the host's locale only, JSON's is always a dot.
static bool read_real(parser *text, dbk_slice number, double *value_out) {
    size_t mark = text->scratch.size;
    const char *at = number.data;
    const char *point = localeconv()->decimal_point;
    for (size_t i = 0; i < number.size; i++) {
        if (at[i] == '.')
            dbk_buf_append(&text->scratch, point, strlen(point));
        else
            dbk_buf_append_u8(&text->scratch, (uint8_t)at[i]);
    }
    dbk_buf_append_u8(&text->scratch, '\0');
    if (!has_memory(text, text->scratch.data)) return false;
    errno = 0;
    *value_out = strtod((const char *)text->scratch.data + mark, NULL);
    text->scratch.size = mark;
    return !(errno == ERANGE && (*value_out > 1 || *value_out < -1)); // Too small is 0, too large is nothing.
}

static bool take_number_value(parser *text, json_t **value_out) {
    const uint8_t *start = text->scan.at;
    if (!dbk_json_take_number(&text->scan)) return false;
    dbk_slice number = daybook_bytes(start, (size_t)(text->scan.at - start));
    bool is_real = false;
    for (size_t i = 0; i < number.size; i++) is_real |= strchr(".eE", start[i]) != NULL;
    int64_t integer = 0;
    if (!is_real && dbk_decimal_parse_signed(number, &integer)) {
        *value_out = json_integer(integer);
        return has_memory(text, *value_out);
    }
    double real = 0;
    if (!read_real(text, number, &real)) {
        if (!text->is_out_of_memory) text->scan.at = start;
        return false;
    }
    *value_out = json_real(real);
    return has_memory(text, *value_out);
}

// Strings.

// Pushes the decoded string on the scratch.
static bool take_string(parser *text) {
    if (!dbk_json_take(&text->scan, '"')) return false;
    for (;;) {
        const uint8_t *plain = text->scan.at;
        dbk_json_skip_plain(&text->scan);
        dbk_buf_append(&text->scratch, plain, (size_t)(text->scan.at - plain));
        if (dbk_json_take(&text->scan, '"')) return true;
        unsigned point = 0;
        if (!dbk_json_take(&text->scan, '\\') || !dbk_json_take_escape(&text->scan, &point)) return false;
        uint8_t utf8[4];
        dbk_buf_append(&text->scratch, utf8, dbk_json_put_utf8(utf8, point));
    }
}

static bool take_string_value(parser *text, json_t **value_out) {
    size_t mark = text->scratch.size;
    if (!take_string(text) || !has_memory(text, text)) return false;
    const char *start = text->scratch.data == NULL ? "" : (const char *)text->scratch.data + mark;
    *value_out = json_stringn_nocheck(start, text->scratch.size - mark);
    text->scratch.size = mark;
    return has_memory(text, *value_out);
}

// Everything.

static bool take_value(parser *text, int depth, json_t **value_out);

static bool take_element(parser *text, int depth, json_t *array) {
    json_t *value = NULL;
    if (!take_value(text, depth, &value)) return false;
    return json_array_append_new(array, value) == 0 || has_memory(text, NULL);
}

static bool take_member(parser *text, int depth, json_t *object) {
    size_t mark = text->scratch.size;
    dbk_json_skip_space(&text->scan);
    const uint8_t *start = text->scan.at;
    if (!take_string(text)) return false;
    size_t size = text->scratch.size - mark;
    dbk_buf_append_u8(&text->scratch, '\0');
    if (!has_memory(text, text)) return false;
    if (strlen((const char *)text->scratch.data + mark) != size) {
        text->scan.at = start; // jansson's names end at a NUL.
        return false;
    }
    dbk_json_skip_space(&text->scan);
    json_t *value = NULL;
    if (!dbk_json_take(&text->scan, ':') || !take_value(text, depth, &value)) return false;
    int result = json_object_set_new_nocheck(object, (const char *)text->scratch.data + mark, value);
    text->scratch.size = mark;
    return result == 0 || has_memory(text, NULL);
}

static bool take_container(parser *text, int depth, json_t *container) {
    bool is_object = json_is_object(container);
    char end = is_object ? '}' : ']';
    dbk_json_skip_space(&text->scan);
    if (dbk_json_take(&text->scan, end)) return true;
    do {
        if (!(is_object ? take_member(text, depth, container) : take_element(text, depth, container)))
            return false;
    } while (dbk_json_take(&text->scan, ','));
    return dbk_json_take(&text->scan, end);
}

static bool take_container_value(parser *text, int depth, json_t *container, json_t **value_out) {
    bool is_sound = has_memory(text, container) && take_container(text, depth + 1, container);
    if (is_sound)
        *value_out = container;
    else
        json_decref(container);
    return is_sound;
}

static bool take_bare_value(parser *text, int depth, json_t **value_out) {
    if (depth > DBK_JSON_DEPTH_MAX || text->scan.at == text->scan.end) return false;
    switch (*text->scan.at) {
    case '{':
        text->scan.at++;
        return take_container_value(text, depth, json_object(), value_out);
    case '[':
        text->scan.at++;
        return take_container_value(text, depth, json_array(), value_out);
    case '"':
        return take_string_value(text, value_out);
    case 't':
        *value_out = json_true();
        return dbk_json_take_word(&text->scan, "true");
    case 'f':
        *value_out = json_false();
        return dbk_json_take_word(&text->scan, "false");
    case 'n':
        *value_out = json_null();
        return dbk_json_take_word(&text->scan, "null");
    default:
        return take_number_value(text, value_out);
    }
}

// With the space around it. `*value_out` is set where it returns true.
static bool take_value(parser *text, int depth, json_t **value_out) {
    dbk_json_skip_space(&text->scan);
    if (!take_bare_value(text, depth, value_out)) return false;
    dbk_json_skip_space(&text->scan);
    return true;
}

static bool take_text(parser *text, json_t **value_out) {
    json_t *value = NULL;
    if (!take_value(text, 1, &value)) return false;
    if (text->scan.at == text->scan.end) {
        *value_out = value;
        return true;
    }
    json_decref(value);
    return false;
}

daybook_status dbk_json_parse(dbk_slice text, json_t **value_out, size_t *offset_out) {
    parser parsed;
    memset(&parsed, 0, sizeof parsed);
    const uint8_t *start = text.size == 0 ? (const uint8_t *)"" : text.data;
    parsed.scan = (dbk_json_scan){start, start + text.size};
    // Escapes only shrink, names gain one byte each and need four around them: never more than the text.
    dbk_buf_init(&parsed.scratch, dbk_allocator_default(), text.size + 64);
    *value_out = NULL;
    bool is_sound = dbk_is_utf8(text) && take_text(&parsed, value_out);
    dbk_buf_deinit(&parsed.scratch);
    if (is_sound) return DAYBOOK_OK;
    if (parsed.is_out_of_memory) return DAYBOOK_ENOMEM;
    if (offset_out != NULL) *offset_out = (size_t)(parsed.scan.at - start);
    return DAYBOOK_EINVALID;
}
