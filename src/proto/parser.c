// SPDX-License-Identifier: Apache-2.0
// A verb is recognised by its letters as far as they are there; then the line's end is looked for, once per
// byte; then the line is split. A payload that is not there yet costs one comparison per call; its line, at
// most line_size_max bytes, is split again when all of it is there.
#include "proto/parser.h"

#include <string.h>

#include "base/number.h"

enum {
    FIELD_COUNT_MAX = 5,
    VERB_SIZE_MAX = 7,
    SIZE_DIGITS_MAX = 9, // nats-server's
    MAX_DIGITS_MAX = 18  // fits 64 bits
};

typedef struct verb_entry {
    const char *word;
    uint8_t size;
    uint8_t verb;
    bool needs_blank; // right behind it
} verb_entry;

static const verb_entry verbs[] = {
    {"PUB", 3, DBK_PROTO_PUB, true},          {"HPUB", 4, DBK_PROTO_HPUB, true},
    {"SUB", 3, DBK_PROTO_SUB, true},          {"UNSUB", 5, DBK_PROTO_UNSUB, true},
    {"PING", 4, DBK_PROTO_PING, false},       {"PONG", 4, DBK_PROTO_PONG, false},
    {"CONNECT", 7, DBK_PROTO_CONNECT, false}, {"INFO", 4, DBK_PROTO_INFO, false},
    {"+OK", 3, DBK_PROTO_PLUS_OK, false},     {"-ERR", 4, DBK_PROTO_MINUS_ERR, true},
};

// A CR within a line parts fields too: none may get into a subject that is said again.
static bool is_blank(char c) {
    return (unsigned char)c <= ' ' && (c == ' ' || c == '\t' || c == '\r'); // mostly one comparison
}

static char upper(char c) {
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

typedef enum verb_match { MATCH_NONE, MATCH_PART, MATCH_WHOLE } verb_match;

static verb_match match_verb(const char *at, size_t size, const verb_entry *entry) {
    size_t known = size < entry->size ? size : entry->size;
    for (size_t i = 0; i < known; i++) {
        if (upper(at[i]) != entry->word[i]) return MATCH_NONE;
    }
    if (size < entry->size) return MATCH_PART;
    if (!entry->needs_blank) return MATCH_WHOLE;
    if (size == entry->size) return MATCH_PART;
    return at[entry->size] == ' ' || at[entry->size] == '\t' ? MATCH_WHOLE : MATCH_NONE;
}

// No verb is the beginning of another, so the first that matches is the only one.
static verb_match find_verb(const char *at, size_t size, const verb_entry **entry_out) {
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        verb_match match = match_verb(at, size, &verbs[i]);
        *entry_out = &verbs[i];
        if (match != MATCH_NONE) return match;
    }
    return MATCH_NONE;
}

// Splits at blanks; more than FIELD_COUNT_MAX - 1 give FIELD_COUNT_MAX.
static size_t split(dbk_slice text, dbk_slice fields[FIELD_COUNT_MAX]) {
    size_t count = 0;
    const char *at = text.data, *end = at + text.size;
    while (count < FIELD_COUNT_MAX) {
        while (at < end && is_blank(*at)) at++;
        if (at == end) break;
        const char *start = at;
        while (at < end && !is_blank(*at)) at++;
        fields[count++] = daybook_bytes(start, (size_t)(at - start));
    }
    return count;
}

static bool take_number(dbk_slice field, size_t digits_max, uint64_t *number_out) {
    return field.size <= digits_max && dbk_decimal_parse(field, number_out);
}

static dbk_proto_result take_subscribe(const dbk_slice *fields, size_t count,
                                       dbk_proto_operation *operation) {
    if (count < 2 || count > 3) return DBK_PROTO_BAD_FIELDS;
    operation->subject = fields[0];
    if (count == 3) operation->queue_group = fields[1];
    operation->sid = fields[count - 1];
    return DBK_PROTO_OPERATION;
}

static dbk_proto_result take_unsubscribe(const dbk_slice *fields, size_t count,
                                         dbk_proto_operation *operation) {
    if (count < 1 || count > 2) return DBK_PROTO_BAD_FIELDS;
    operation->sid = fields[0];
    // As nats-server does: what is no number ends the subscription at once.
    if (count == 2 && !take_number(fields[1], MAX_DIGITS_MAX, &operation->max)) operation->max = 0;
    return DBK_PROTO_OPERATION;
}

// Fields and sizes of PUB and HPUB.
static dbk_proto_result take_publish(const dbk_slice *fields, size_t count, dbk_proto_operation *operation,
                                     size_t *payload_size_out) {
    size_t number_count = operation->verb == DBK_PROTO_HPUB ? 2 : 1;
    uint64_t header_size = 0, size = 0;
    if (count < number_count + 1 || count > number_count + 2) return DBK_PROTO_BAD_FIELDS;
    operation->subject = fields[0];
    if (count == number_count + 2) operation->reply = fields[1];
    if (!take_number(fields[count - 1], SIZE_DIGITS_MAX, &size)) return DBK_PROTO_BAD_SIZE;
    if (number_count == 2 && !take_number(fields[count - 2], SIZE_DIGITS_MAX, &header_size))
        return DBK_PROTO_BAD_SIZE;
    if (header_size > size) return DBK_PROTO_BAD_SIZE;
    operation->header_size = (size_t)header_size;
    *payload_size_out = (size_t)size;
    return DBK_PROTO_OPERATION;
}

// The payload behind a line of `line_size` bytes.
static dbk_proto_result take_payload(dbk_proto_parser *parser, dbk_slice buffer, size_t line_size,
                                     size_t payload_size, dbk_proto_operation *operation) {
    if (payload_size > parser->limits.payload_size_max) return DBK_PROTO_PAYLOAD_TOO_LARGE;
    const char *payload = (const char *)buffer.data + line_size;
    size_t left = buffer.size - line_size;
    if (left > payload_size && payload[payload_size] != '\r') return DBK_PROTO_BAD_PAYLOAD_END;
    if (left < payload_size + 2) {
        parser->wanted = line_size + payload_size + 2;
        return DBK_PROTO_MORE;
    }
    if (payload[payload_size + 1] != '\n') return DBK_PROTO_BAD_PAYLOAD_END;
    operation->payload = daybook_bytes(payload, payload_size);
    operation->size = line_size + payload_size + 2;
    return DBK_PROTO_OPERATION;
}

static dbk_slice trim(const char *at, const char *end) {
    while (at < end && is_blank(*at)) at++;
    while (end > at && is_blank(end[-1])) end--;
    return daybook_bytes(at, (size_t)(end - at));
}

// A line of `line_size` bytes, its LF included, that begins with the verb of `entry`; so its LF, and a CR
// before it, are behind the verb.
static dbk_proto_result take_line(dbk_proto_parser *parser, dbk_slice buffer, size_t line_size,
                                  const verb_entry *entry, dbk_proto_operation *operation) {
    const char *at = buffer.data, *end = at + line_size - 1;
    dbk_slice fields[FIELD_COUNT_MAX];
    size_t payload_size = 0;
    dbk_proto_result result = DBK_PROTO_OPERATION;
    operation->verb = (dbk_proto_verb)entry->verb;
    operation->size = line_size;
    if (end[-1] == '\r') end--;
    at += entry->size;
    if ((size_t)(end - at) > parser->limits.line_size_max + 1) return DBK_PROTO_LINE_TOO_LONG;
    operation->text = trim(at, end);
    switch (operation->verb) {
    case DBK_PROTO_PUB:
    case DBK_PROTO_HPUB:
        result = take_publish(fields, split(operation->text, fields), operation, &payload_size);
        if (result != DBK_PROTO_OPERATION) return result;
        return take_payload(parser, buffer, line_size, payload_size, operation);
    case DBK_PROTO_SUB:
        return take_subscribe(fields, split(operation->text, fields), operation);
    case DBK_PROTO_UNSUB:
        return take_unsubscribe(fields, split(operation->text, fields), operation);
    default:
        return DBK_PROTO_OPERATION;
    }
}

dbk_proto_result dbk_proto_next(dbk_proto_parser *parser, dbk_slice buffer,
                                dbk_proto_operation *operation_out) {
    const char *at = buffer.data;
    const verb_entry *entry;
    *operation_out = (dbk_proto_operation){0};
    // With all but the last byte the CR behind the payload is there to be looked at.
    if (buffer.size == 0 || buffer.size + 1 < parser->wanted) return DBK_PROTO_MORE;
    parser->wanted = 0;
    if (parser->searched > buffer.size) parser->searched = 0;
    if (parser->limits.connect_only && upper(at[0]) != 'C') return DBK_PROTO_NOT_CONNECT;
    switch (find_verb(at, buffer.size, &entry)) {
    case MATCH_NONE:
        return DBK_PROTO_UNKNOWN;
    case MATCH_PART:
        return DBK_PROTO_MORE; // VERB_SIZE_MAX bytes at most
    default:
        break;
    }
    const char *end = memchr(at + parser->searched, '\n', buffer.size - parser->searched);
    if (end != NULL) {
        parser->searched = 0;
        return take_line(parser, buffer, (size_t)(end - at) + 1, entry, operation_out);
    }
    operation_out->verb = (dbk_proto_verb)entry->verb;
    // One blank and one CR more: the same lines are too long as when they come in one piece.
    if (buffer.size - entry->size > parser->limits.line_size_max + 2) return DBK_PROTO_LINE_TOO_LONG;
    parser->searched = buffer.size;
    return DBK_PROTO_MORE;
}

size_t dbk_proto_line_bytes_max(const dbk_proto_limits *limits) {
    return VERB_SIZE_MAX + limits->line_size_max + 2;
}
