// SPDX-License-Identifier: Apache-2.0
//
// Events as JSON objects, in the fields and the order of the contract:
//   stream seq position aggregate version subject id type time recorded schema correlation causation actor
//   tags headers ttl, then exactly one of data, text, data_base64
// ttl is a number of seconds, or "never".
// Absent fields are left out. A header given more than once becomes an array of its values.

#include "cli/json.h"
#include "cli/output.h"

#include <stdlib.h>

#define LITERAL(out, text) cli_put(out, text, sizeof text - 1)

static void put_base64(cli_output *out, daybook_slice data) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *bytes = data.data;
    size_t at = 0;
    while (at < data.size) {
        size_t piece = data.size - at < 3 * 8192 ? data.size - at : 3 * 8192;
        char *room = cli_output_reserve(out, piece / 3 * 4 + 4);
        if (room == NULL) return;
        char *begin = room;
        for (size_t end = at + piece; at < end;) {
            size_t left = end - at;
            unsigned word = (unsigned)bytes[at] << 16;
            if (left > 1) word |= (unsigned)bytes[at + 1] << 8;
            if (left > 2) word |= bytes[at + 2];
            *room++ = digits[word >> 18];
            *room++ = digits[word >> 12 & 63];
            *room++ = left > 1 ? digits[word >> 6 & 63] : '=';
            *room++ = left > 2 ? digits[word & 63] : '=';
            at += left < 3 ? left : 3;
        }
        out->size += (size_t)(room - begin);
    }
}

// Would a reader of the line get back exactly these bytes?
static int stands_exactly(daybook_slice data) {
    const char *bytes = data.data;
    if (data.size == 0) return 0;
    if (memchr(bytes, '\n', data.size) != NULL || memchr(bytes, '\r', data.size) != NULL) return 0;
    char first = bytes[0], last = bytes[data.size - 1];
    return first != ' ' && first != '\t' && last != ' ' && last != '\t' && cli_json_is_valid(data, NULL);
}

void cli_put_json_data(cli_output *out, daybook_slice data, int mode) {
    if (mode == CLI_DATA_EXACT) {
        if (stands_exactly(data)) {
            LITERAL(out, "\"data\":");
            cli_put_slice(out, data);
            return;
        }
    } else if (data.size != 0) {
        char *room = cli_output_reserve(out, data.size + 7);
        if (room == NULL) return;
        size_t size = cli_json_compact(data, room + 7);
        if (size != SIZE_MAX) {
            memcpy(room, "\"data\":", 7);
            out->size += 7 + size;
            return;
        }
    }
    if (cli_is_utf8(data)) {
        LITERAL(out, "\"text\":");
        cli_put_json_string(out, data);
        return;
    }
    LITERAL(out, "\"data_base64\":\"");
    put_base64(out, data);
    cli_put_char(out, '"');
}

static int same(daybook_slice a, daybook_slice b) {
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static size_t find_header(const daybook_event *event, size_t from, daybook_slice name) {
    while (from < event->header_count && !same(event->headers[from].name, name)) from++;
    return from;
}

static void put_headers(cli_output *out, const daybook_event *event) {
    int first = 1;
    LITERAL(out, ",\"headers\":{");
    for (size_t i = 0; i < event->header_count; i++) {
        daybook_slice name = event->headers[i].name;
        if (find_header(event, 0, name) != i) continue; // was there before
        if (!first) cli_put_char(out, ',');
        first = 0;
        cli_put_json_string(out, name);
        cli_put_char(out, ':');
        size_t next = find_header(event, i + 1, name);
        int repeats = next < event->header_count;
        if (repeats) cli_put_char(out, '[');
        cli_put_json_string(out, event->headers[i].value);
        for (; next < event->header_count; next = find_header(event, next + 1, name)) {
            cli_put_char(out, ',');
            cli_put_json_string(out, event->headers[next].value);
        }
        if (repeats) cli_put_char(out, ']');
    }
    cli_put_char(out, '}');
}

static void put_text(cli_output *out, const char *name, size_t name_size, daybook_slice text) {
    if (text.size == 0) return;
    cli_put(out, name, name_size);
    cli_put_json_string(out, text);
}

#define TEXT_MEMBER(out, name, text) put_text(out, ",\"" name "\":", sizeof name + 3, text)

void cli_put_event_members(cli_output *out, const daybook_recorded_event *recorded, int mode) {
    const daybook_event *event = &recorded->event;
    LITERAL(out, "\"stream\":");
    cli_put_json_string(out, recorded->stream);
    LITERAL(out, ",\"seq\":");
    cli_put_number(out, recorded->seq);
    LITERAL(out, ",\"position\":");
    cli_put_number(out, recorded->position);
    if (recorded->aggregate.size != 0) {
        TEXT_MEMBER(out, "aggregate", recorded->aggregate);
        LITERAL(out, ",\"version\":");
        cli_put_number(out, recorded->version);
    }
    TEXT_MEMBER(out, "subject", event->subject);
    TEXT_MEMBER(out, "id", event->id);
    TEXT_MEMBER(out, "type", event->type);
    if (event->time_ns != DAYBOOK_TIME_NONE) {
        LITERAL(out, ",\"time\":\"");
        cli_put_time(out, event->time_ns);
        cli_put_char(out, '"');
    }
    LITERAL(out, ",\"recorded\":\"");
    cli_put_time(out, recorded->recorded_ns);
    cli_put_char(out, '"');
    TEXT_MEMBER(out, "schema", event->schema);
    TEXT_MEMBER(out, "correlation", event->correlation);
    TEXT_MEMBER(out, "causation", event->causation);
    TEXT_MEMBER(out, "actor", event->actor);
    for (size_t i = 0; i < event->tag_count; i++) {
        if (i == 0)
            LITERAL(out, ",\"tags\":[");
        else
            cli_put_char(out, ',');
        cli_put_json_string(out, event->tags[i]);
    }
    if (event->tag_count != 0) cli_put_char(out, ']');
    if (event->header_count != 0) put_headers(out, event);
    if (event->ttl_s == DAYBOOK_TTL_NEVER) {
        LITERAL(out, ",\"ttl\":\"never\"");
    } else if (event->ttl_s != 0) {
        LITERAL(out, ",\"ttl\":");
        cli_put_number(out, (uint64_t)event->ttl_s);
    }
    cli_put_char(out, ',');
    cli_put_json_data(out, event->data, mode);
}

void cli_put_event_json(cli_output *out, const daybook_recorded_event *event, int mode) {
    cli_put_char(out, '{');
    cli_put_event_members(out, event, mode);
    cli_put_char(out, '}');
}
