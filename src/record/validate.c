// SPDX-License-Identifier: Apache-2.0
// What a producer may say: every limit of daybook/event.h in one place, checked before anything is encoded,
// so that everything behind relies on it. Each refusal names the field, why, and the limit. Pure, any thread.
#include <stdio.h>

#include "base/time.h"
#include "daybook/append.h"
#include "record/event.h"
#include "subject/subject.h"

enum { SHOWN_SIZE_MAX = 64 }; // bytes of a refused value in a message

// The years that daybook/time.h prints and reads, 1678 to 2261.
static const int64_t time_first_ns = INT64_C(-9214560000) * DBK_SECOND_NS;
static const int64_t time_end_ns = INT64_C(9214646400) * DBK_SECOND_NS;

// Bytes of `text` (well-formed UTF-8, so a character begins within four bytes) to show, cut between
// characters.
static int shown_size(dbk_slice text) {
    const uint8_t *bytes = text.data;
    size_t size = text.size;
    if (size <= SHOWN_SIZE_MAX) return (int)size;
    size = SHOWN_SIZE_MAX;
    while ((bytes[size] & 0xc0) == 0x80) size--;
    return (int)size;
}

static bool lacks_bytes(dbk_slice slice) {
    return slice.size > 0 && slice.data == NULL;
}

// The one question asked of every text; the messages are for those that fail it.
static bool is_fine_text(dbk_slice text, size_t size_max) {
    return text.size == 0 || (text.size <= size_max && text.data != NULL && dbk_is_plain_text(text));
}

// Why a text is refused, or NULL.
static const char *text_fault(dbk_slice text) {
    if (!dbk_is_utf8(text)) return "it is not well-formed UTF-8";
    if (!dbk_is_plain_text(text)) return "it contains a control character";
    return NULL;
}

static daybook_status refuse_text(const char *field, dbk_slice text, size_t size_max, daybook_error *error) {
    if (lacks_bytes(text)) {
        return dbk_fail(error, DAYBOOK_EINVALID, "%s is not valid: its size is %zu but it points to no bytes",
                        field, text.size);
    }
    if (text.size > size_max) {
        return dbk_fail(error, DAYBOOK_EINVALID, "%s is too long: it has %zu bytes; the limit is %zu", field,
                        text.size, size_max);
    }
    return dbk_fail(error, DAYBOOK_EINVALID, "%s is not valid: %s; use UTF-8 text without control characters",
                    field, text_fault(text));
}

static daybook_status check_text(const char *field, dbk_slice text, daybook_error *error) {
    if (is_fine_text(text, DAYBOOK_TEXT_SIZE_MAX)) return DAYBOOK_OK;
    return refuse_text(field, text, DAYBOOK_TEXT_SIZE_MAX, error);
}

// Why a subject of fitting size and plain text is not valid.
static const char *token_fault(dbk_slice subject) {
    uint32_t count = dbk_subject_token_count(subject);
    for (uint32_t i = 0; i < count; i++) {
        dbk_slice token = dbk_subject_token(subject, i);
        const char *text = token.data;
        if (token.size == 0) return "it has an empty token (a dot at an end, or two in a row)";
        if (token.size == 1 && (*text == '*' || *text == '>')) {
            return "it contains a wildcard token, * or >, which only filters may have";
        }
    }
    return "it contains white space";
}

static daybook_status check_subject(dbk_slice subject, daybook_error *error) {
    if (daybook_subject_is_valid(subject)) return DAYBOOK_OK;
    if (subject.size == 0) {
        return dbk_fail(error, DAYBOOK_ESUBJECT,
                        "subject is empty: every event needs one; name it like orders.123.shipped");
    }
    if (lacks_bytes(subject)) {
        return dbk_fail(error, DAYBOOK_ESUBJECT,
                        "subject is not valid: its size is %zu but it points to no bytes", subject.size);
    }
    if (subject.size > DAYBOOK_SUBJECT_SIZE_MAX) {
        return dbk_fail(error, DAYBOOK_ESUBJECT, "subject is too long: it has %zu bytes; the limit is %d",
                        subject.size, DAYBOOK_SUBJECT_SIZE_MAX);
    }
    const char *fault = text_fault(subject);
    if (fault != NULL) return dbk_fail(error, DAYBOOK_ESUBJECT, "subject is not valid: %s", fault);
    return dbk_fail(error, DAYBOOK_ESUBJECT,
                    "subject \"%.*s\" is not valid: %s; name it like orders.123.shipped", shown_size(subject),
                    (const char *)subject.data, token_fault(subject));
}

static daybook_status refuse_tag(size_t number, dbk_slice tag, daybook_error *error) {
    if (tag.size == 0) {
        return dbk_fail(error, DAYBOOK_EINVALID, "tag %zu is empty: a tag has 1 to %d bytes", number,
                        DAYBOOK_TEXT_SIZE_MAX);
    }
    char field[32];
    (void)snprintf(field, sizeof field, "tag %zu", number);
    return refuse_text(field, tag, DAYBOOK_TEXT_SIZE_MAX, error);
}

static daybook_status check_tags(const daybook_event *event, daybook_error *error) {
    if (event->tag_count > DAYBOOK_TAG_COUNT_MAX) {
        return dbk_fail(error, DAYBOOK_EINVALID, "too many tags: the event has %zu; the limit is %d",
                        event->tag_count, DAYBOOK_TAG_COUNT_MAX);
    }
    if (event->tag_count > 0 && event->tags == NULL) {
        return dbk_fail(error, DAYBOOK_EINVALID, "tags are not valid: tag_count is %zu but tags is NULL",
                        event->tag_count);
    }
    for (size_t i = 0; i < event->tag_count; i++) {
        dbk_slice tag = event->tags[i];
        if (tag.size == 0 || !is_fine_text(tag, DAYBOOK_TEXT_SIZE_MAX)) return refuse_tag(i + 1, tag, error);
    }
    return DAYBOOK_OK;
}

// Printable ASCII without space and ':' (as NATS and HTTP header names).
static bool is_header_name(dbk_slice name) {
    const uint8_t *bytes = name.data;
    for (size_t i = 0; i < name.size; i++) {
        if (bytes[i] <= ' ' || bytes[i] >= 0x7f || bytes[i] == ':') return false;
    }
    return true;
}

static daybook_status check_header_name(size_t number, dbk_slice name, daybook_error *error) {
    if (name.size == 0 || name.size > DAYBOOK_TEXT_SIZE_MAX || name.data == NULL) {
        return dbk_fail(error, DAYBOOK_EINVALID, "the name of header %zu has %zu bytes: 1 to %d are allowed",
                        number, name.size, DAYBOOK_TEXT_SIZE_MAX);
    }
    if (is_header_name(name)) return DAYBOOK_OK;
    return dbk_fail(
        error, DAYBOOK_EINVALID,
        "the name of header %zu is not valid: it contains a space, a colon or a character that is not "
        "printable ASCII; use letters, digits and dashes",
        number);
}

// A text that may have tabs in it. (No character of UTF-8 has the byte of one inside.)
static bool is_header_value(dbk_slice value) {
    if (value.size > DAYBOOK_HEADER_SIZE_MAX || lacks_bytes(value)) return false;
    const char *bytes = value.data;
    size_t begin = 0;
    for (size_t i = 0; i <= value.size; i++) {
        if (i < value.size && bytes[i] != '\t') continue;
        if (!dbk_is_plain_text(daybook_bytes(bytes + begin, i - begin))) return false;
        begin = i + 1;
    }
    return true;
}

static daybook_status refuse_header_value(const daybook_header *header, daybook_error *error) {
    char field[SHOWN_SIZE_MAX + 32];
    (void)snprintf(field, sizeof field, "the value of header \"%.*s\"", shown_size(header->name),
                   (const char *)header->name.data);
    return refuse_text(field, header->value, DAYBOOK_HEADER_SIZE_MAX, error);
}

static daybook_status check_headers(const daybook_event *event, daybook_error *error) {
    if (event->header_count > DAYBOOK_HEADER_COUNT_MAX) {
        return dbk_fail(error, DAYBOOK_EINVALID, "too many headers: the event has %zu; the limit is %d",
                        event->header_count, DAYBOOK_HEADER_COUNT_MAX);
    }
    if (event->header_count > 0 && event->headers == NULL) {
        return dbk_fail(error, DAYBOOK_EINVALID,
                        "headers are not valid: header_count is %zu but headers is NULL",
                        event->header_count);
    }
    for (size_t i = 0; i < event->header_count; i++) {
        const daybook_header *header = &event->headers[i];
        DBK_TRY(check_header_name(i + 1, header->name, error));
        if (!is_fine_text(header->value, DAYBOOK_HEADER_SIZE_MAX) && !is_header_value(header->value))
            return refuse_header_value(header, error);
    }
    return DAYBOOK_OK;
}

static daybook_status check_time(int64_t time_ns, daybook_error *error) {
    if (time_ns == DAYBOOK_TIME_NONE || (time_ns >= time_first_ns && time_ns < time_end_ns))
        return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_EINVALID,
                    "time is out of range: %lld ns since 1970 lies outside the years 1678 to 2261",
                    (long long)time_ns);
}

static daybook_status check_ttl(int64_t ttl_s, daybook_error *error) {
    if (ttl_s >= DAYBOOK_TTL_NEVER && ttl_s <= DAYBOOK_TTL_S_MAX) return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_EINVALID,
                    "the time to live is out of range: %lld s; give 1 to %d, 0 for none of its own or "
                    "DAYBOOK_TTL_NEVER",
                    (long long)ttl_s, DAYBOOK_TTL_S_MAX);
}

static daybook_status check_size(const daybook_event *event, daybook_error *error) {
    if (lacks_bytes(event->data)) {
        return dbk_fail(error, DAYBOOK_EINVALID,
                        "data is not valid: its size is %zu but it points to no bytes", event->data.size);
    }
    // Compared first, so that the sum in the bound cannot overflow.
    size_t size = event->data.size;
    if (size <= DBK_EVENT_BODY_SIZE_MAX) size = dbk_event_body_size_bound(event);
    if (size > DBK_EVENT_BODY_SIZE_MAX) {
        return dbk_fail_limit(
            error, DAYBOOK_LIMIT_EVENT_SIZE, DBK_EVENT_BODY_SIZE_MAX, size,
            "event is too large: its data has %zu bytes; the limit is %d for an event with all its fields",
            event->data.size, DBK_EVENT_BODY_SIZE_MAX);
    }
    return DAYBOOK_OK;
}

static daybook_status check_fields(const daybook_event *event, daybook_error *error) {
    DBK_TRY(check_subject(event->subject, error));
    DBK_TRY(check_text("id", event->id, error));
    DBK_TRY(check_text("type", event->type, error));
    DBK_TRY(check_text("schema", event->schema, error));
    DBK_TRY(check_text("correlation", event->correlation, error));
    DBK_TRY(check_text("causation", event->causation, error));
    DBK_TRY(check_text("actor", event->actor, error));
    DBK_TRY(check_tags(event, error));
    DBK_TRY(check_headers(event, error));
    DBK_TRY(check_time(event->time_ns, error));
    DBK_TRY(check_ttl(event->ttl_s, error));
    return check_size(event, error);
}

daybook_status dbk_event_validate(const daybook_event *event, uint32_t index, daybook_error *error) {
    daybook_status status = check_fields(event, error);
    if (status != DAYBOOK_OK && error != NULL) error->event = index;
    return status;
}

daybook_status daybook_event_check(const daybook_event *event, daybook_error *error) {
    if (event == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "there is no event to check: it is NULL");
    return dbk_event_validate(event, 0, error);
}
