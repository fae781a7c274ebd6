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

typedef struct parser {
    const unsigned char *at;
    const unsigned char *end;
    dbk_buf scratch;
    bool is_out_of_memory;
} parser;

static void skip_space(parser *text) {
    while (text->at < text->end &&
           (*text->at == ' ' || *text->at == '\t' || *text->at == '\n' || *text->at == '\r'))
        text->at++;
}

static bool take(parser *text, char byte) {
    if (text->at == text->end || *text->at != (unsigned char)byte) return false;
    text->at++;
    return true;
}

static bool take_word(parser *text, const char *word) {
    size_t size = strlen(word);
    if ((size_t)(text->end - text->at) < size || memcmp(text->at, word, size) != 0) return false;
    text->at += size;
    return true;
}

static bool take_digits(parser *text) {
    const unsigned char *start = text->at;
    while (text->at < text->end && *text->at >= '0' && *text->at <= '9') text->at++;
    return text->at > start;
}

static bool take_number(parser *text) {
    (void)take(text, '-');
    if (!take(text, '0') && !take_digits(text)) return false;
    if (take(text, '.') && !take_digits(text)) return false;
    if (take(text, 'e') || take(text, 'E')) {
        if (!take(text, '+')) (void)take(text, '-');
        return take_digits(text);
    }
    return true;
}

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
    const unsigned char *start = text->at;
    if (!take_number(text)) return false;
    dbk_slice number = daybook_bytes(start, (size_t)(text->at - start));
    bool is_real = false;
    for (size_t i = 0; i < number.size; i++) is_real |= strchr(".eE", start[i]) != NULL;
    int64_t integer = 0;
    if (!is_real && dbk_decimal_parse_signed(number, &integer)) {
        *value_out = json_integer(integer);
        return has_memory(text, *value_out);
    }
    double real = 0;
    if (!read_real(text, number, &real)) {
        if (!text->is_out_of_memory) text->at = start;
        return false;
    }
    *value_out = json_real(real);
    return has_memory(text, *value_out);
}

// Strings.

static bool take_code_unit(parser *text, unsigned *unit_out) {
    unsigned unit = 0;
    for (int i = 0; i < 4; i++) {
        if (text->at == text->end) return false;
        unsigned char byte = *text->at;
        unsigned char lower = byte | 0x20;
        if (byte >= '0' && byte <= '9')
            unit = unit * 16 + (byte - '0');
        else if (lower >= 'a' && lower <= 'f')
            unit = unit * 16 + (lower - 'a' + 10u);
        else
            return false;
        text->at++;
    }
    *unit_out = unit;
    return true;
}

static void append_utf8(dbk_buf *out, unsigned point) {
    if (point < 0x80) {
        dbk_buf_append_u8(out, (uint8_t)point);
        return;
    }
    int more = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
    static const unsigned char leads[] = {0, 0xc0, 0xe0, 0xf0};
    dbk_buf_append_u8(out, (uint8_t)(leads[more] | (point >> (6 * more))));
    while (more-- > 0) dbk_buf_append_u8(out, (uint8_t)(0x80 | ((point >> (6 * more)) & 0x3f)));
}

// Behind "\u": a character, or a high and a low surrogate.
static bool take_unicode_escape(parser *text) {
    unsigned unit = 0;
    if (!take_code_unit(text, &unit)) return false;
    if (unit >= 0xd800 && unit <= 0xdfff) {
        unsigned low = 0;
        if (unit > 0xdbff || !take_word(text, "\\u") || !take_code_unit(text, &low)) return false;
        if (low < 0xdc00 || low > 0xdfff) return false;
        unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
    }
    append_utf8(&text->scratch, unit);
    return true;
}

static bool take_escape(parser *text) {
    static const char escapes[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    if (text->at == text->end) return false;
    unsigned char byte = *text->at;
    const char *found = byte == '\0' ? NULL : strchr(escapes, byte);
    if (found == NULL && byte != 'u') return false;
    text->at++;
    if (byte == 'u') return take_unicode_escape(text);
    dbk_buf_append_u8(&text->scratch, (uint8_t)meanings[found - escapes]);
    return true;
}

// Pushes the decoded string on the scratch.
static bool take_string(parser *text) {
    if (!take(text, '"')) return false;
    for (;;) {
        const unsigned char *plain = text->at;
        while (text->at < text->end && *text->at >= 0x20 && *text->at != '"' && *text->at != '\\') text->at++;
        dbk_buf_append(&text->scratch, plain, (size_t)(text->at - plain));
        if (take(text, '"')) return true;
        if (!take(text, '\\') || !take_escape(text)) return false;
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
    skip_space(text);
    const unsigned char *start = text->at;
    if (!take_string(text)) return false;
    size_t size = text->scratch.size - mark;
    dbk_buf_append_u8(&text->scratch, '\0');
    if (!has_memory(text, text)) return false;
    if (strlen((const char *)text->scratch.data + mark) != size) {
        text->at = start; // jansson's names end at a NUL.
        return false;
    }
    skip_space(text);
    json_t *value = NULL;
    if (!take(text, ':') || !take_value(text, depth, &value)) return false;
    int result = json_object_set_new_nocheck(object, (const char *)text->scratch.data + mark, value);
    text->scratch.size = mark;
    return result == 0 || has_memory(text, NULL);
}

static bool take_container(parser *text, int depth, json_t *container) {
    bool is_object = json_is_object(container);
    char end = is_object ? '}' : ']';
    skip_space(text);
    if (take(text, end)) return true;
    do {
        if (!(is_object ? take_member(text, depth, container) : take_element(text, depth, container)))
            return false;
    } while (take(text, ','));
    return take(text, end);
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
    if (depth > DBK_JSON_DEPTH_MAX || text->at == text->end) return false;
    switch (*text->at) {
    case '{':
        text->at++;
        return take_container_value(text, depth, json_object(), value_out);
    case '[':
        text->at++;
        return take_container_value(text, depth, json_array(), value_out);
    case '"':
        return take_string_value(text, value_out);
    case 't':
        *value_out = json_true();
        return take_word(text, "true");
    case 'f':
        *value_out = json_false();
        return take_word(text, "false");
    case 'n':
        *value_out = json_null();
        return take_word(text, "null");
    default:
        return take_number_value(text, value_out);
    }
}

// With the space around it. `*value_out` is set where it returns true.
static bool take_value(parser *text, int depth, json_t **value_out) {
    skip_space(text);
    if (!take_bare_value(text, depth, value_out)) return false;
    skip_space(text);
    return true;
}

static bool take_text(parser *text, json_t **value_out) {
    json_t *value = NULL;
    if (!take_value(text, 1, &value)) return false;
    if (text->at == text->end) {
        *value_out = value;
        return true;
    }
    json_decref(value);
    return false;
}

daybook_status dbk_json_parse(dbk_slice text, json_t **value_out, size_t *offset_out) {
    parser parsed;
    memset(&parsed, 0, sizeof parsed);
    parsed.at = text.size == 0 ? (const unsigned char *)"" : text.data;
    parsed.end = parsed.at + text.size;
    const unsigned char *start = parsed.at;
    // Escapes only shrink, names gain one byte each and need four around them: never more than the text.
    dbk_buf_init(&parsed.scratch, dbk_allocator_default(), text.size + 64);
    *value_out = NULL;
    bool is_sound = dbk_is_utf8(text) && take_text(&parsed, value_out);
    dbk_buf_deinit(&parsed.scratch);
    if (is_sound) return DAYBOOK_OK;
    if (parsed.is_out_of_memory) return DAYBOOK_ENOMEM;
    if (offset_out != NULL) *offset_out = (size_t)(parsed.at - start);
    return DAYBOOK_EINVALID;
}
