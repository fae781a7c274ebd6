// SPDX-License-Identifier: Apache-2.0
//
// One line of NDJSON to one event. The line is scanned once by the JSON scanner; only strings with escapes
// are decoded, into a scratch buffer sized to the line beforehand, so that slices into it stay put. Every
// fault names the column (in bytes, from 1) it was found at.

#include "cli/ndjson.h"

#include "cli/json.h"

#include <stdarg.h>
#include <stdlib.h>

void cli_ndjson_init(cli_ndjson *parser, int64_t now_ns) {
    memset(parser, 0, sizeof *parser);
    parser->now_ns = now_ns;
}

void cli_ndjson_deinit(cli_ndjson *parser) {
    free(parser->scratch);
    free(parser->tags);
    free(parser->headers);
    memset(parser, 0, sizeof *parser);
}

// Where in the line a value stands, as a column.
static size_t column_of(daybook_slice line, const void *at) {
    return (size_t)((const char *)at - (const char *)line.data) + 1;
}

static daybook_status fail(cli_ndjson *parser, size_t column, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static daybook_status fail(cli_ndjson *parser, size_t column, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(parser->message, sizeof parser->message, format, arguments);
    va_end(arguments);
    parser->column = column;
    return DAYBOOK_EINVALID;
}

static daybook_status fail_json(cli_ndjson *parser, daybook_slice line, const void *begin,
                                const cli_json_error *error) {
    size_t base = begin == NULL ? 0 : column_of(line, begin) - 1;
    return fail(parser, base + error->offset + 1, "not valid JSON: %s", error->message);
}

static char first_of(daybook_slice value) {
    return *(const char *)value.data;
}

// The text of a raw string: the bytes of the line where it has no escapes, else decoded.
static daybook_status decode(cli_ndjson *parser, daybook_slice line, daybook_slice raw,
                             daybook_slice *text_out) {
    if (memchr(raw.data, '\\', raw.size) == NULL) {
        *text_out = daybook_bytes((const char *)raw.data + 1, raw.size - 2);
        return DAYBOOK_OK;
    }
    char *begin = parser->scratch + parser->scratch_size;
    size_t size = cli_json_unescape(raw, begin);
    if (size == SIZE_MAX)
        return fail(parser, column_of(line, raw.data),
                    "a string with half of a surrogate pair, which is no character");
    parser->scratch_size += size;
    *text_out = daybook_bytes(begin, size);
    return DAYBOOK_OK;
}

static daybook_status take_text(cli_ndjson *parser, daybook_slice line, const char *name, daybook_slice raw,
                                daybook_slice *text_out) {
    if (first_of(raw) == 'n') { // null: absent
        *text_out = daybook_bytes(NULL, 0);
        return DAYBOOK_OK;
    }
    if (first_of(raw) != '"') return fail(parser, column_of(line, raw.data), "\"%s\" is not a string", name);
    return decode(parser, line, raw, text_out);
}

// As on the command line, what is given has to say something: an empty id would silently be a new one.
static daybook_status take_name(cli_ndjson *parser, daybook_slice line, const char *name, daybook_slice raw,
                                daybook_slice *text_out) {
    daybook_status status = take_text(parser, line, name, raw, text_out);
    if (status != DAYBOOK_OK || text_out->size != 0 || first_of(raw) == 'n') return status;
    return fail(parser, column_of(line, raw.data), "\"%s\" is empty; give a value, or leave it out", name);
}

static daybook_status take_time(cli_ndjson *parser, daybook_slice line, daybook_slice raw) {
    daybook_slice text;
    daybook_status status = take_name(parser, line, "time", raw, &text);
    if (status != DAYBOOK_OK) return status;
    if (text.data == NULL) return DAYBOOK_OK;
    if (daybook_time_parse(text, parser->now_ns, &parser->event.time_ns) == DAYBOOK_OK) return DAYBOOK_OK;
    return fail(parser, column_of(line, raw.data),
                "\"time\" is not a time: '%.*s'; give RFC 3339 such as 2026-11-21T10:00:00Z",
                (int)(text.size > 64 ? 64 : text.size), (const char *)text.data);
}

// Seconds, or "never".
static daybook_status take_ttl(cli_ndjson *parser, daybook_slice line, daybook_slice raw) {
    const char *digits = raw.data;
    int64_t ttl_s = 0;
    if (first_of(raw) == 'n') return DAYBOOK_OK;
    if (raw.size == 7 && memcmp(digits, "\"never\"", 7) == 0) {
        parser->event.ttl_s = DAYBOOK_TTL_NEVER;
        return DAYBOOK_OK;
    }
    size_t at = 0;
    while (at < raw.size && digits[at] >= '0' && digits[at] <= '9' && ttl_s <= DAYBOOK_TTL_S_MAX)
        ttl_s = 10 * ttl_s + (digits[at++] - '0');
    parser->event.ttl_s = ttl_s;
    if (at == raw.size && ttl_s > 0 && ttl_s <= DAYBOOK_TTL_S_MAX) return DAYBOOK_OK;
    return fail(parser, column_of(line, raw.data),
                "\"ttl\" is not a time to live: give seconds, 1 to %d, or \"never\"", DAYBOOK_TTL_S_MAX);
}

static daybook_status take_subject(cli_ndjson *parser, daybook_slice line, daybook_slice raw) {
    daybook_slice text;
    daybook_status status = take_name(parser, line, "subject", raw, &text);
    if (status != DAYBOOK_OK) return status;
    parser->event.subject = text;
    if (text.size == 0 || daybook_subject_is_valid(text)) return DAYBOOK_OK;
    return fail(parser, column_of(line, raw.data), "\"subject\" is not a subject: '%.*s'%s",
                (int)(text.size > 64 ? 64 : text.size), (const char *)text.data,
                daybook_filter_is_valid(text) ? " has wildcards" : "");
}

static int base64_value(unsigned char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+' || c == '-') return 62;
    if (c == '/' || c == '_') return 63;
    return -1;
}

// In place, in the scratch buffer. SIZE_MAX where it is no base64 (RFC 4648; padding may be missing).
static size_t decode_base64(const unsigned char *text, size_t size, char *out) {
    size_t padding = 0;
    while (padding < 2 && size > 0 && text[size - 1] == '=') {
        size--;
        padding++;
    }
    if (size % 4 == 1 || (padding != 0 && (size + padding) % 4 != 0)) return SIZE_MAX;
    char *begin = out;
    unsigned word = 0, bits = 0;
    for (size_t i = 0; i < size; i++) {
        int value = base64_value(text[i]);
        if (value < 0) return SIZE_MAX;
        word = word << 6 | (unsigned)value;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            *out++ = (char)(word >> bits);
        }
    }
    if ((word & ((1u << bits) - 1)) != 0) return SIZE_MAX;
    return (size_t)(out - begin);
}

static daybook_status take_base64(cli_ndjson *parser, daybook_slice line, daybook_slice raw) {
    daybook_slice text = {NULL, 0};
    daybook_status status = take_text(parser, line, "data_base64", raw, &text);
    if (status != DAYBOOK_OK) return status;
    char *out = parser->scratch + parser->scratch_size;
    size_t size = text.size == 0 ? 0 : decode_base64(text.data, text.size, out);
    if (size == SIZE_MAX) return fail(parser, column_of(line, raw.data), "\"data_base64\" is not base64");
    parser->scratch_size += size;
    parser->event.data = daybook_bytes(out, size);
    return DAYBOOK_OK;
}

// Room for one more entry of `entry_size` bytes.
static int grow(void **array, size_t *capacity, size_t count, size_t entry_size) {
    if (count < *capacity) return 1;
    size_t larger = *capacity == 0 ? 16 : *capacity * 2;
    void *memory = realloc(*array, larger * entry_size);
    if (memory == NULL) return 0;
    *array = memory;
    *capacity = larger;
    return 1;
}

static daybook_status add_tag(cli_ndjson *parser, daybook_slice tag, size_t column) {
    daybook_event *event = &parser->event;
    if (event->tag_count == DAYBOOK_TAG_COUNT_MAX)
        return fail(parser, column, "more than %d tags", DAYBOOK_TAG_COUNT_MAX);
    void *memory = parser->tags;
    if (!grow(&memory, &parser->tag_capacity, event->tag_count, sizeof *parser->tags)) return DAYBOOK_ENOMEM;
    parser->tags = memory;
    parser->tags[event->tag_count++] = tag;
    event->tags = parser->tags;
    return DAYBOOK_OK;
}

static daybook_status add_header(cli_ndjson *parser, daybook_slice name, daybook_slice value, size_t column) {
    daybook_event *event = &parser->event;
    if (event->header_count == DAYBOOK_HEADER_COUNT_MAX)
        return fail(parser, column, "more than %d headers", DAYBOOK_HEADER_COUNT_MAX);
    void *memory = parser->headers;
    if (!grow(&memory, &parser->header_capacity, event->header_count, sizeof *parser->headers))
        return DAYBOOK_ENOMEM;
    parser->headers = memory;
    parser->headers[event->header_count++] = (daybook_header){.name = name, .value = value};
    event->headers = parser->headers;
    return DAYBOOK_OK;
}

static daybook_status take_tags(cli_ndjson *parser, daybook_slice line, daybook_slice raw) {
    cli_json_iterator iterator;
    cli_json_error error;
    if (first_of(raw) == 'n') return DAYBOOK_OK;
    if (!cli_json_begin(raw, '[', &iterator, &error))
        return fail(parser, column_of(line, raw.data), "\"tags\" is not an array of strings");
    daybook_slice key, value, tag = {NULL, 0};
    int more;
    while ((more = cli_json_next(&iterator, &key, &value, &error)) == 1) {
        size_t column = column_of(line, value.data);
        if (first_of(value) != '"') return fail(parser, column, "\"tags\" is not an array of strings");
        daybook_status status = decode(parser, line, value, &tag);
        if (status == DAYBOOK_OK && tag.size == 0)
            return fail(parser, column, "a tag is empty; leave it out");
        if (status == DAYBOOK_OK) status = add_tag(parser, tag, column);
        if (status != DAYBOOK_OK) return status;
    }
    return more == 0 ? DAYBOOK_OK : fail_json(parser, line, raw.data, &error);
}

static daybook_status take_header_values(cli_ndjson *parser, daybook_slice line, daybook_slice name,
                                         daybook_slice raw) {
    cli_json_iterator iterator;
    cli_json_error error;
    daybook_slice key, value, text;
    size_t column = column_of(line, raw.data);
    if (first_of(raw) == '"') {
        daybook_status status = decode(parser, line, raw, &text);
        return status == DAYBOOK_OK ? add_header(parser, name, text, column) : status;
    }
    if (!cli_json_begin(raw, '[', &iterator, &error))
        return fail(parser, column, "a header is neither a string nor an array of strings");
    int more;
    while ((more = cli_json_next(&iterator, &key, &value, &error)) == 1) {
        if (first_of(value) != '"')
            return fail(parser, column_of(line, value.data),
                        "a header is neither a string nor an array of strings");
        daybook_status status = decode(parser, line, value, &text);
        if (status == DAYBOOK_OK) status = add_header(parser, name, text, column);
        if (status != DAYBOOK_OK) return status;
    }
    return more == 0 ? DAYBOOK_OK : fail_json(parser, line, raw.data, &error);
}

static daybook_status take_headers(cli_ndjson *parser, daybook_slice line, daybook_slice raw) {
    cli_json_iterator iterator;
    cli_json_error error;
    if (first_of(raw) == 'n') return DAYBOOK_OK;
    if (!cli_json_begin(raw, '{', &iterator, &error))
        return fail(parser, column_of(line, raw.data), "\"headers\" is not an object");
    daybook_slice key, value, name;
    int more;
    while ((more = cli_json_next(&iterator, &key, &value, &error)) == 1) {
        daybook_status status = decode(parser, line, key, &name);
        if (status == DAYBOOK_OK && name.size == 0)
            return fail(parser, column_of(line, key.data),
                        "a header's name is empty; name it, or leave it out");
        if (status == DAYBOOK_OK) status = take_header_values(parser, line, name, value);
        if (status != DAYBOOK_OK) return status;
    }
    return more == 0 ? DAYBOOK_OK : fail_json(parser, line, raw.data, &error);
}

enum member {
    SUBJECT,
    DATA,
    TEXT,
    BASE64,
    ID,
    TYPE,
    SCHEMA,
    TAGS,
    HEADERS,
    TIME,
    CORRELATION,
    CAUSATION,
    ACTOR,
    TTL,
    MEMBER_COUNT
};

static const char *const member_names[MEMBER_COUNT] = {
    "subject", "data",    "text", "data_base64", "id",        "type",  "schema",
    "tags",    "headers", "time", "correlation", "causation", "actor", "ttl"};

static int find_member(daybook_slice key) {
    const char *name = (const char *)key.data + 1;
    size_t size = key.size - 2;
    for (int i = 0; i < MEMBER_COUNT; i++)
        if (strlen(member_names[i]) == size && memcmp(member_names[i], name, size) == 0) return i;
    return -1;
}

static daybook_status take_member(cli_ndjson *parser, daybook_slice line, int member, daybook_slice value) {
    daybook_event *event = &parser->event;
    const char *name = member_names[member];
    switch (member) {
    case SUBJECT:
        return take_subject(parser, line, value);
    case DATA:
        event->data = value;
        return DAYBOOK_OK;
    case TEXT:
        return take_text(parser, line, name, value, &event->data);
    case BASE64:
        return take_base64(parser, line, value);
    case ID:
        return take_name(parser, line, name, value, &event->id);
    case TYPE:
        return take_name(parser, line, name, value, &event->type);
    case SCHEMA:
        return take_name(parser, line, name, value, &event->schema);
    case TAGS:
        return take_tags(parser, line, value);
    case HEADERS:
        return take_headers(parser, line, value);
    case TIME:
        return take_time(parser, line, value);
    case CORRELATION:
        return take_name(parser, line, name, value, &event->correlation);
    case CAUSATION:
        return take_name(parser, line, name, value, &event->causation);
    case TTL:
        return take_ttl(parser, line, value);
    default:
        return take_name(parser, line, name, value, &event->actor);
    }
}

static daybook_status prepare(cli_ndjson *parser, daybook_slice line) {
    daybook_event_init(&parser->event);
    parser->scratch_size = 0;
    parser->column = 0;
    parser->message[0] = '\0';
    // Decoded text is never longer than its escapes, nor base64 than its digits; data_base64 with escapes
    // needs room for both steps.
    size_t need = line.size * 2 + 1;
    if (need <= parser->scratch_capacity) return DAYBOOK_OK;
    char *scratch = realloc(parser->scratch, need);
    if (scratch == NULL) return DAYBOOK_ENOMEM;
    parser->scratch = scratch;
    parser->scratch_capacity = need;
    return DAYBOOK_OK;
}

daybook_status cli_ndjson_parse(cli_ndjson *parser, daybook_slice line) {
    daybook_status status = prepare(parser, line);
    if (status != DAYBOOK_OK) return status;
    cli_json_iterator iterator;
    cli_json_error error;
    if (!cli_json_begin(line, '{', &iterator, &error))
        return fail(parser, error.offset + 1, "not a JSON object");
    unsigned seen = 0;
    daybook_slice key, value;
    int more;
    while ((more = cli_json_next(&iterator, &key, &value, &error)) == 1) {
        int member = find_member(key);
        if (member < 0) continue;
        if ((seen >> member & 1) != 0)
            return fail(parser, column_of(line, key.data), "\"%s\" is given twice", member_names[member]);
        seen |= 1u << member;
        status = take_member(parser, line, member, value);
        if (status != DAYBOOK_OK) return status;
    }
    if (more < 0) return fail_json(parser, line, NULL, &error);
    const char *text = line.data;
    for (size_t i = iterator.offset; i < line.size; i++)
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r')
            return fail(parser, i + 1, "not valid JSON: something behind the end of the object");
    unsigned data_members = (seen >> DATA & 1) + (seen >> TEXT & 1) + (seen >> BASE64 & 1);
    if (data_members > 1) return fail(parser, 1, "more than one of \"data\", \"text\" and \"data_base64\"");
    if (parser->event.subject.size == 0) return fail(parser, 1, "no \"subject\"");
    return DAYBOOK_OK;
}
