// SPDX-License-Identifier: Apache-2.0
// Headers by hand: this runs once for each message delivered.
//
// All headers of a published message are stored as headers of its event, in their order, those that tell a
// stream what to do included; so what is written here is what was published, with one blank behind each
// colon. But for those the server writes itself: a reader believes the first of a name, and it shall be the
// server's.
#include "jetstream/event_message.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/number.h"
#include "daybook/time.h"
#include "proto/ack.h"

#define BEGIN "NATS/1.0\r\n"

enum {
    NUMBER_MAX = 20,
    LINE_MAX = 4,     // ": " and CR LF
    EXTRAS_MAX = 512, // names, numbers and a time; stream and subject are counted apart
};

static size_t event_headers_size(const daybook_event *event) {
    size_t size = 0;
    for (size_t i = 0; i < event->header_count; i++)
        size += event->headers[i].name.size + event->headers[i].value.size + LINE_MAX;
    return size;
}

size_t dbk_event_message_bound(const daybook_recorded_event *event, const dbk_event_extras *extras) {
    size_t size = sizeof BEGIN + 2 + event_headers_size(&event->event) + EXTRAS_MAX;
    if (extras->is_direct) size += event->stream.size + event->event.subject.size;
    return size + (extras->headers_only ? 0 : event->event.data.size);
}

static uint8_t *put(uint8_t *at, daybook_slice bytes) {
    if (bytes.size > 0) memcpy(at, bytes.data, bytes.size);
    return at + bytes.size;
}

static uint8_t *put_line(uint8_t *at, daybook_slice name, daybook_slice value) {
    at = put(at, name);
    *at++ = ':';
    *at++ = ' ';
    at = put(at, value);
    *at++ = '\r';
    *at++ = '\n';
    return at;
}

static uint8_t *put_number(uint8_t *at, const char *name, uint64_t number) {
    char digits[NUMBER_MAX];
    return put_line(at, daybook_text(name), daybook_bytes(digits, dbk_decimal_format(number, digits)));
}

size_t dbk_event_message_format_time(int64_t time_ns, char text_out[DAYBOOK_TIME_TEXT_SIZE]) {
    size_t size = daybook_time_format(time_ns, text_out) - 1; // without the Z
    while (text_out[size - 1] == '0') size--;
    if (text_out[size - 1] == '.') size--;
    text_out[size] = 'Z';
    return size + 1;
}

static uint8_t *put_direct(uint8_t *at, const daybook_recorded_event *event) {
    char time[DAYBOOK_TIME_TEXT_SIZE];
    at = put_line(at, daybook_text("Nats-Stream"), event->stream);
    at = put_line(at, daybook_text("Nats-Subject"), event->event.subject);
    at = put_number(at, "Nats-Sequence", event->seq);
    return put_line(at, daybook_text("Nats-Time-Stamp"),
                    daybook_bytes(time, dbk_event_message_format_time(event->recorded_ns, time)));
}

// The last headers of one of many.
static uint8_t *put_progress(uint8_t *at, const dbk_event_extras *extras, uint64_t pending_count) {
    at = put_number(at, "Nats-Num-Pending", pending_count);
    at = put_number(at, "Nats-Last-Sequence", extras->last_seq);
    return extras->up_to_seq == 0 ? at : put_number(at, "Nats-UpTo-Sequence", extras->up_to_seq);
}

static uint8_t *put_extras(uint8_t *at, const daybook_recorded_event *event, const dbk_event_extras *extras) {
    if (extras->headers_only) at = put_number(at, "Nats-Msg-Size", extras->data_size);
    if (extras->pin_id.size > 0) at = put_line(at, daybook_text("Nats-Pin-Id"), extras->pin_id);
    if (extras->is_direct) at = put_direct(at, event);
    return extras->is_one_of_many ? put_progress(at, extras, extras->pending_count) : at;
}

bool dbk_header_is_own(daybook_slice name, unsigned own) {
    static const char prefix[] = "Nats-";
    if (name.size < sizeof prefix || memcmp(name.data, prefix, sizeof prefix - 1) != 0) return false;
    static const struct {
        const char *name;
        unsigned own;
    } headers[] = {
        {"Nats-Stream", DBK_OWN_PLACE},        {"Nats-Subject", DBK_OWN_PLACE},
        {"Nats-Sequence", DBK_OWN_PLACE},      {"Nats-Time-Stamp", DBK_OWN_PLACE},
        {"Nats-Last-Sequence", DBK_OWN_LAST},  {"Nats-Num-Pending", DBK_OWN_COUNT},
        {"Nats-UpTo-Sequence", DBK_OWN_COUNT}, {"Nats-Msg-Size", DBK_OWN_SIZE},
        {"Nats-Pin-Id", DBK_OWN_PIN},
    };
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        if ((headers[i].own & own) != 0 && dbk_slice_equal(name, daybook_text(headers[i].name))) return true;
    }
    return false;
}

static unsigned own_of(const dbk_event_extras *extras) {
    return (extras->is_direct ? DBK_OWN_PLACE : 0U) |
           (extras->is_one_of_many ? DBK_OWN_LAST | DBK_OWN_COUNT : 0U) |
           (extras->headers_only ? DBK_OWN_SIZE : 0U) | (extras->pin_id.size > 0 ? DBK_OWN_PIN : 0U);
}

size_t dbk_event_message_write(const daybook_recorded_event *event, const dbk_event_extras *extras,
                               uint8_t *out, size_t *header_size_out) {
    uint8_t *at = put(out, daybook_text(BEGIN));
    const uint8_t *first = at;
    unsigned own = own_of(extras);
    for (size_t i = 0; !extras->no_headers && i < event->event.header_count; i++) {
        const daybook_header *header = &event->event.headers[i];
        if (!dbk_header_is_own(header->name, own)) at = put_line(at, header->name, header->value);
    }
    at = put_extras(at, event, extras);
    if (at == first) {
        at = out;
    } else {
        *at++ = '\r';
        *at++ = '\n';
    }
    *header_size_out = (size_t)(at - out);
    if (!extras->headers_only) at = put(at, event->event.data);
    return (size_t)(at - out);
}

size_t dbk_event_message_change_pending(uint8_t *message, size_t size, const dbk_event_extras *extras,
                                        uint64_t pending_count, size_t *header_size) {
    enum { PROGRESS_MAX = 3 * (sizeof "Nats-UpTo-Sequence" + LINE_MAX + NUMBER_MAX), END = 2 };
    uint8_t before[PROGRESS_MAX], after[PROGRESS_MAX];
    size_t before_size = (size_t)(put_progress(before, extras, extras->pending_count) - before);
    size_t after_size = (size_t)(put_progress(after, extras, pending_count) - after);
    DBK_ASSERT(after_size <= before_size && before_size + END <= *header_size);
    uint8_t *at = message + *header_size - END - before_size;
    const uint8_t *rest = at + before_size;
    size_t rest_size = size - (size_t)(rest - message);
    memcpy(at, after, after_size);
    memmove(at + after_size, rest, rest_size);
    *header_size -= before_size - after_size;
    return size - (before_size - after_size);
}
