// SPDX-License-Identifier: Apache-2.0
// See page.h. Pure but for the page's answer.
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/number.h"
#include "base/time.h"
#include "daybook/time.h"
#include "monitor/page.h"

// Answers.

void dbk_page_refuse(dbk_page *page, unsigned status, const char *format, ...) {
    dbk_http_exchange *exchange = page->exchange;
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    dbk_buf_reset(&exchange->body);
    dbk_buf_append(&exchange->body, text, strlen(text));
    exchange->status = status;
    exchange->content_type = "text/plain; charset=utf-8";
}

static int append_piece(const char *piece, size_t size, void *context) {
    dbk_buf *body = context;
    dbk_buf_append(body, piece, size);
    return body->failed ? -1 : 0;
}

static void put_text(dbk_buf *out, const char *text) {
    dbk_buf_append(out, text, strlen(text));
}

static void send_as(dbk_page *page, json_t *root, size_t flags) {
    dbk_buf *body = &page->exchange->body;
    if (root == NULL) {
        dbk_page_refuse(page, DBK_HTTP_SERVER_ERROR, "memory is out");
        return;
    }
    page->exchange->content_type = "application/json";
    if (page->callback != NULL) {
        page->exchange->content_type = "application/javascript";
        put_text(body, page->callback);
        put_text(body, "(");
    }
    // What does not fit stays in the body's status.
    (void)json_dump_callback(root, append_piece, body, flags | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(16));
    if (page->callback != NULL) put_text(body, ")");
    json_decref(root);
}

void dbk_page_send(dbk_page *page, json_t *root) {
    send_as(page, root, JSON_INDENT(2));
}

void dbk_page_send_line(dbk_page *page, json_t *root) {
    send_as(page, root, JSON_COMPACT);
}

// Arguments.

const char *dbk_page_read_text(const dbk_page *page, const char *name) {
    const char *value = page->exchange->argument(page->exchange, name);
    return value == NULL || value[0] == '\0' ? NULL : value;
}

/// As Go quotes a text, all but plain ASCII as escapes, and not more than fits.
static void quote(const char *text, char *out, size_t size) {
    size_t used = 0;
    out[used++] = '"';
    for (; *text != '\0' && used + 6 < size; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte == '"' || byte == '\\') out[used++] = '\\';
        if (byte >= 0x20 && byte < 0x7f) {
            out[used++] = *text;
        } else {
            used += (size_t)snprintf(out + used, size - used, "\\x%02x", byte);
        }
    }
    out[used++] = '"';
    out[used] = '\0';
}

void dbk_page_refuse_argument(dbk_page *page, const char *complaint, const char *value) {
    char quoted[128];
    quote(value, quoted, sizeof quoted);
    quoted[strlen(quoted) - 1] = '\0';
    dbk_page_refuse(page, DBK_HTTP_BAD_REQUEST, "%s%s", complaint, quoted + 1);
}

static bool refuse_value(dbk_page *page, const char *name, const char *type, const char *function,
                         const char *value) {
    char quoted[128];
    quote(value, quoted, sizeof quoted);
    dbk_page_refuse(page, DBK_HTTP_BAD_REQUEST,
                    "Error decoding %s for '%s': strconv.%s: parsing %s: invalid syntax", type, name,
                    function, quoted);
    return false;
}

bool dbk_page_read_number(dbk_page *page, const char *name, int64_t *value_out) {
    const char *text = dbk_page_read_text(page, name);
    *value_out = 0;
    if (text == NULL || dbk_decimal_parse_signed(daybook_text(text), value_out)) return true;
    return refuse_value(page, name, "int", "Atoi", text);
}

bool dbk_page_read_count(dbk_page *page, const char *name, uint64_t *value_out) {
    const char *text = dbk_page_read_text(page, name);
    *value_out = 0;
    if (text == NULL || dbk_decimal_parse(daybook_text(text), value_out)) return true;
    return refuse_value(page, name, "uint64", "ParseUint", text);
}

bool dbk_page_read_flag(dbk_page *page, const char *name, bool *value_out) {
    static const char *const words[] = {"0", "f", "F", "false", "FALSE", "False",
                                        "1", "t", "T", "true",  "TRUE",  "True"};
    const char *text = dbk_page_read_text(page, name);
    *value_out = false;
    if (text == NULL) return true;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(text, words[i]) != 0) continue;
        *value_out = i >= 6;
        return true;
    }
    return refuse_value(page, name, "boolean", "ParseBool", text);
}

/// A function's name, dots in it: what stands in front of an answer is nothing else.
bool dbk_page_read_callback(dbk_page *page) {
    enum { NAME_SIZE_MAX = 128 };
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_$";
    const char *name = dbk_page_read_text(page, "callback");
    if (name == NULL) return true;
    size_t size = strlen(name);
    size_t good = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_$.0123456789");
    if (size > NAME_SIZE_MAX || good != size || strchr(letters, name[0]) == NULL) {
        dbk_page_refuse(page, DBK_HTTP_BAD_REQUEST, "callback is no name of a function");
        return false;
    }
    page->callback = name;
    return true;
}

bool dbk_page_read_range(dbk_page *page, size_t limit_default, size_t *offset_out, size_t *limit_out) {
    int64_t offset, limit;
    if (!dbk_page_read_number(page, "offset", &offset) || !dbk_page_read_number(page, "limit", &limit))
        return false;
    *offset_out = offset > 0 ? (size_t)offset : 0;
    *limit_out = limit > 0 ? (size_t)limit : limit_default;
    return true;
}

// Objects.

dbk_members dbk_members_begin(void) {
    json_t *object = json_object();
    return (dbk_members){.object = object, .has_failed = object == NULL};
}

json_t *dbk_members_end(dbk_members *members) {
    if (!members->has_failed) return members->object;
    json_decref(members->object);
    return NULL;
}

void dbk_put(dbk_members *members, const char *name, json_t *value) {
    if (members->has_failed) {
        json_decref(value);
    } else if (value == NULL || json_object_set_new(members->object, name, value) != 0) {
        members->has_failed = true;
    }
}

bool dbk_append(json_t *array, json_t *value) {
    if (array == NULL) {
        json_decref(value);
        return false;
    }
    return value != NULL && json_array_append_new(array, value) == 0;
}

void dbk_put_number(dbk_members *members, const char *name, int64_t value) {
    dbk_put(members, name, json_integer(value));
}

void dbk_put_count(dbk_members *members, const char *name, uint64_t value) {
    dbk_put(members, name, json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value));
}

void dbk_put_real(dbk_members *members, const char *name, double value) {
    dbk_put(members, name, json_real(value));
}

void dbk_put_flag(dbk_members *members, const char *name, bool value) {
    dbk_put(members, name, json_boolean(value));
}

static json_t *mended(dbk_slice text) {
    const unsigned char *bytes = text.data;
    const daybook_allocator *allocator = dbk_allocator_default(); // as jansson's memory is not ours either
    char *room = dbk_alloc(allocator, text.size * 3 + 1);
    size_t size = 0;
    if (room == NULL) return NULL;
    for (size_t i = 0; i < text.size;) {
        size_t length = dbk_utf8_size(bytes + i, text.size - i);
        memcpy(room + size, length > 0 ? (const char *)bytes + i : "\xef\xbf\xbd", length > 0 ? length : 3);
        size += length > 0 ? length : 3;
        i += length > 0 ? length : 1;
    }
    json_t *value = json_stringn(room, size);
    dbk_free(allocator, room);
    return value;
}

json_t *dbk_text_value(dbk_slice text) {
    if (text.size == 0) return json_string("");
    return dbk_is_utf8(text) ? json_stringn(text.data, text.size) : mended(text);
}

void dbk_put_slice(dbk_members *members, const char *name, dbk_slice value) {
    dbk_put(members, name, dbk_text_value(value));
}

void dbk_put_text(dbk_members *members, const char *name, const char *value) {
    dbk_put_slice(members, name, daybook_text(value));
}

void dbk_put_time(dbk_members *members, const char *name, int64_t time_ns) {
    char text[DAYBOOK_TIME_TEXT_SIZE];
    (void)daybook_time_format(time_ns, text);
    dbk_put_text(members, name, text);
}

void dbk_put_number_if(dbk_members *members, const char *name, int64_t value) {
    if (value != 0) dbk_put_number(members, name, value);
}

void dbk_put_flag_if(dbk_members *members, const char *name, bool value) {
    if (value) dbk_put_flag(members, name, true);
}

void dbk_put_text_if(dbk_members *members, const char *name, const char *value) {
    if (value != NULL && value[0] != '\0') dbk_put_text(members, name, value);
}

// Durations.

void dbk_put_uptime(dbk_members *members, const char *name, int64_t duration_ns) {
    enum { MINUTE = 60, HOUR = 60 * MINUTE, DAY = 24 * HOUR, YEAR = 365 * DAY };
    int64_t left = duration_ns > 0 ? duration_ns / DBK_SECOND_NS : 0;
    const struct {
        int64_t seconds;
        char unit;
    } parts[] = {{YEAR, 'y'}, {DAY, 'd'}, {HOUR, 'h'}, {MINUTE, 'm'}, {1, 's'}};
    char text[96];
    size_t size = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        int64_t count = left / parts[i].seconds;
        left %= parts[i].seconds;
        if (size == 0 && count == 0 && parts[i].unit != 's') continue;
        size += (size_t)snprintf(text + size, sizeof text - size, "%" PRId64 "%c", count, parts[i].unit);
    }
    dbk_put_text(members, name, text);
}

void dbk_put_duration_if(dbk_members *members, const char *name, int64_t duration_ns) {
    char text[DBK_GO_DURATION_TEXT_SIZE];
    if (duration_ns <= 0) return;
    (void)dbk_go_duration_format(duration_ns, text);
    dbk_put_text(members, name, text);
}
