// SPDX-License-Identifier: Apache-2.0
//
// What people see of events, states and changes. Stored bytes never reach the terminal raw: control
// characters are shown as \xNN.

#include "cli/event_text.h"

#include "cli/json.h"

#define DIM "\033[2m"
#define BOLD "\033[1m"
#define GREEN "\033[32m"
#define RED "\033[31m"
#define YELLOW "\033[33m"
#define PLAIN "\033[0m"

static void color(cli_context *context, cli_output *out, const char *sequence) {
    if (context->color && out == context->out) cli_puts(out, sequence);
}

static size_t columns_of(daybook_slice text) {
    const unsigned char *bytes = text.data;
    size_t count = 0;
    for (size_t i = 0; i < text.size; i++) count += (bytes[i] & 0xC0) != 0x80;
    return count;
}

static void put_number_right(cli_output *out, uint64_t number, int width) {
    cli_put_format(out, "%*llu", width, (unsigned long long)number);
}

// Data in what is left of the line; at least 16 columns of it. Off a terminal all of it.
static void put_data(cli_context *context, cli_output *out, daybook_slice data, size_t used) {
    size_t room = 0;
    if (context->columns != 0 && out == context->out)
        room = (size_t)context->columns > used + 16 ? (size_t)context->columns - used : 16;
    if (cli_is_utf8(data))
        cli_put_plain(out, data, room);
    else
        cli_put_format(out, "(%zu bytes)", data.size);
}

static void put_line(cli_context *context, cli_output *out, unsigned depth,
                     const daybook_recorded_event *recorded) {
    const daybook_event *event = &recorded->event;
    size_t indent = depth == 0 ? 0 : (size_t)(depth > 20 ? 20 : depth) * 2;
    put_number_right(out, recorded->position, 8);
    color(context, out, DIM);
    cli_put(out, "  ", 2);
    cli_put_time(out, event->time_ns);
    color(context, out, PLAIN);
    cli_put_spaces(out, 2 + indent);
    color(context, out, BOLD);
    cli_put_plain(out, event->subject, 0);
    color(context, out, PLAIN);
    size_t used = 8 + 2 + 30 + 2 + indent + columns_of(event->subject);
    if (recorded->version != 0) {
        cli_put_format(out, "  v%llu", (unsigned long long)recorded->version);
        used += 3;
        for (uint64_t left = recorded->version; left != 0; left /= 10) used++;
    }
    if (event->data.size != 0) {
        cli_put(out, "  ", 2);
        put_data(context, out, event->data, used + 2);
    }
    cli_put_char(out, '\n');
}

void cli_put_event_line(cli_context *context, cli_output *out, const daybook_recorded_event *event) {
    put_line(context, out, 0, event);
}

void cli_put_event_branch(cli_context *context, cli_output *out, unsigned depth,
                          const daybook_recorded_event *event) {
    put_line(context, out, depth, event);
}

void cli_put_event_csv_header(cli_output *out) {
    cli_puts(
        out,
        "stream,seq,position,aggregate,version,subject,id,type,time,recorded,schema,correlation,causation,"
        "actor,tags,headers,data\n");
}

static void put_csv_member(cli_output *out, daybook_slice text) {
    cli_put_csv_field(out, text);
    cli_put_char(out, ',');
}

static void put_csv_list(cli_output *out, const daybook_event *event) {
    cli_output list;
    cli_output_init(&list, -1);
    for (size_t i = 0; i < event->tag_count; i++) {
        cli_put_char(&list, i == 0 ? '[' : ',');
        cli_put_json_string(&list, event->tags[i]);
    }
    if (event->tag_count != 0) cli_put_char(&list, ']');
    put_csv_member(out, daybook_bytes(list.data, list.size));
    list.size = 0;
    for (size_t i = 0; i < event->header_count; i++) {
        cli_put_char(&list, i == 0 ? '{' : ',');
        cli_put_json_string(&list, event->headers[i].name);
        cli_put_char(&list, ':');
        cli_put_json_string(&list, event->headers[i].value);
    }
    if (event->header_count != 0) cli_put_char(&list, '}');
    put_csv_member(out, daybook_bytes(list.data, list.size));
    if (list.failed_errno != 0 && out->failed_errno == 0) out->failed_errno = list.failed_errno;
    cli_output_deinit(&list);
}

void cli_put_event_csv(cli_output *out, const daybook_recorded_event *recorded) {
    const daybook_event *event = &recorded->event;
    put_csv_member(out, recorded->stream);
    cli_put_number(out, recorded->seq);
    cli_put_char(out, ',');
    cli_put_number(out, recorded->position);
    cli_put_char(out, ',');
    put_csv_member(out, recorded->aggregate);
    if (recorded->aggregate.size != 0) cli_put_number(out, recorded->version);
    cli_put_char(out, ',');
    put_csv_member(out, event->subject);
    put_csv_member(out, event->id);
    put_csv_member(out, event->type);
    cli_put_time(out, event->time_ns);
    cli_put_char(out, ',');
    cli_put_time(out, recorded->recorded_ns);
    cli_put_char(out, ',');
    put_csv_member(out, event->schema);
    put_csv_member(out, event->correlation);
    put_csv_member(out, event->causation);
    put_csv_member(out, event->actor);
    if (event->tag_count == 0 && event->header_count == 0)
        cli_put(out, ",,", 2);
    else
        put_csv_list(out, event);
    cli_put_csv_field(out, event->data);
    cli_put_char(out, '\n');
}

static void newline_indent(cli_output *out, size_t depth) {
    cli_put_char(out, '\n');
    cli_put_spaces(out, depth * 2);
}

// The text is valid JSON, so brackets outside strings are structure.
void cli_put_json_pretty(cli_output *out, daybook_slice json) {
    const char *at = json.data;
    const char *end = at + json.size;
    size_t depth = 0;
    while (at < end) {
        char character = *at;
        if (character == '"') {
            const char *begin = at++;
            while (at < end && *at != '"') at += *at == '\\' ? 2 : 1;
            at++;
            cli_put(out, begin, (size_t)(at - begin));
            continue;
        }
        at++;
        if (character == ' ' || character == '\t' || character == '\n' || character == '\r') continue;
        if (character == '{' || character == '[') {
            cli_put_char(out, character);
            const char *next = at;
            while (next < end && (*next == ' ' || *next == '\t' || *next == '\n' || *next == '\r')) next++;
            if (next < end && (*next == '}' || *next == ']')) {
                cli_put_char(out, *next);
                at = next + 1;
                continue;
            }
            newline_indent(out, ++depth);
        } else if (character == '}' || character == ']') {
            newline_indent(out, --depth);
            cli_put_char(out, character);
        } else if (character == ',') {
            cli_put_char(out, ',');
            newline_indent(out, depth);
        } else if (character == ':') {
            cli_put(out, ": ", 2);
        } else {
            cli_put_char(out, character);
        }
    }
}

static int is_key(daybook_slice key, const char *name) {
    size_t size = strlen(name);
    return key.size == size + 2 && memcmp((const char *)key.data + 1, name, size) == 0;
}

// A JSON string without its quotes where that cannot be misread.
static void put_path(cli_output *out, daybook_slice raw) {
    if (raw.size <= 2)
        cli_puts(out, "(all)");
    else
        cli_put_plain(out, daybook_bytes((const char *)raw.data + 1, raw.size - 2), 0);
}

static int put_change(cli_context *context, cli_output *out, daybook_slice change) {
    cli_json_iterator iterator;
    daybook_slice key, value, path = {NULL, 0}, from = {NULL, 0}, to = {NULL, 0};
    if (!cli_json_begin(change, '{', &iterator, NULL)) return 1;
    int more;
    while ((more = cli_json_next(&iterator, &key, &value, NULL)) == 1) {
        if (is_key(key, "path"))
            path = value;
        else if (is_key(key, "from"))
            from = value;
        else if (is_key(key, "to"))
            to = value;
    }
    if (more < 0 || path.size == 0) return 1;
    color(context, out, from.size == 0 ? GREEN : to.size == 0 ? RED : YELLOW);
    cli_puts(out, from.size == 0 ? "+ " : to.size == 0 ? "- " : "~ ");
    put_path(out, path);
    color(context, out, PLAIN);
    cli_put_char(out, ' ');
    if (from.size != 0) cli_put_plain(out, from, 0);
    if (from.size != 0 && to.size != 0) cli_puts(out, " -> ");
    if (to.size != 0) cli_put_plain(out, to, 0);
    return 0;
}

int cli_put_changes(cli_context *context, cli_output *out, daybook_slice changes, const char *separator) {
    cli_json_iterator iterator;
    daybook_slice key, value;
    int count = 0, more;
    if (!cli_json_begin(changes, '[', &iterator, NULL)) return 1;
    while ((more = cli_json_next(&iterator, &key, &value, NULL)) == 1) {
        if (count++ != 0) cli_puts(out, separator);
        if (put_change(context, out, value) != 0) return 1;
    }
    return more < 0;
}
