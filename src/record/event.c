// SPDX-License-Identifier: Apache-2.0
// Events to bytes and back; the format is described in event.h.
//
// Encoding writes into one reservation that is large enough for the longest form of every length, so that it
// has one place where it can fail. Decoding runs on every read of an event: it walks the bytes once with a
// cursor of its own (the general dbk_reader costs a call per field), allocates nothing and copies nothing.
//
// Invariants: an encoded body decodes to equal fields; a value has exactly one encoding (shortest varints,
// tags sorted by bytes without duplicates, UUID keys as 16 bytes), so that equal content is equal bytes.
// Whatever does not keep them is EDAMAGED; hostile bytes are never read outside their slice. Texts are not
// checked for UTF-8 again: they were when written, and the checksum around them says that they are what was
// written. Pure, any thread.
#include "record/event.h"

#include "base/assert.h"
#include "base/time.h"
#include "base/uuid.h"
#include "record/record.h"
#include "subject/subject.h"

enum {
    UUID_SIZE = 16,
    UUID_TEXT_SIZE = 36,
    UUID_KEY_SIZE = 1 + UUID_SIZE,
    KEY_UUID = 'U',
    KEY_TEXT = 'T',
    RECORD_SIZE_BITS = 28,
};

_Static_assert(DBK_EVENT_HEAD_SIZE == 4 + 4 + 8 + 8 + 8 + 8, "the head is its fields");
_Static_assert((size_t)DBK_EVENT_HEAD_SIZE + DBK_EVENT_BODY_SIZE_MAX <= DBK_RECORD_SIZE_MAX,
               "an event is a record");

// ---- Keys ----

static const int8_t hex_values[256] = {
    ['0'] = 1, ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9, ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
};

// As dbk_uuid_parse, by table: it runs for up to three texts of each event appended.
static bool parse_uuid(const uint8_t *text, uint8_t bytes_out[UUID_SIZE]) {
    static const uint8_t places[UUID_SIZE] = {0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34};
    if (text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-') return false;
    for (size_t i = 0; i < UUID_SIZE; i++) {
        int high = hex_values[text[places[i]]];
        int low = hex_values[text[places[i] + 1]];
        if (high == 0 || low == 0) return false;
        bytes_out[i] = (uint8_t)((high - 1) << 4 | (low - 1));
    }
    return true;
}

dbk_slice dbk_key_encode(dbk_slice text, uint8_t scratch[DBK_KEY_SIZE_MAX]) {
    DBK_ASSERT(text.size <= DAYBOOK_TEXT_SIZE_MAX);
    if (text.size == 0) return daybook_bytes(NULL, 0);
    if (text.size == UUID_TEXT_SIZE && parse_uuid(text.data, scratch + 1)) {
        scratch[0] = KEY_UUID;
        return daybook_bytes(scratch, UUID_KEY_SIZE);
    }
    scratch[0] = KEY_TEXT;
    memcpy(scratch + 1, text.data, text.size);
    return daybook_bytes(scratch, 1 + text.size);
}

dbk_slice dbk_key_text(dbk_slice key, char scratch[37]) {
    const uint8_t *bytes = key.data;
    if (key.size == 0) return daybook_bytes(NULL, 0);
    if (bytes[0] != KEY_UUID || key.size != UUID_KEY_SIZE) return daybook_bytes(bytes + 1, key.size - 1);
    dbk_uuid uuid;
    memcpy(uuid.bytes, bytes + 1, UUID_SIZE);
    dbk_uuid_format(&uuid, scratch);
    return daybook_bytes(scratch, UUID_TEXT_SIZE);
}

// Of 2 to DBK_KEY_SIZE_MAX bytes.
static bool is_key(dbk_slice key) {
    const uint8_t *bytes = key.data;
    if (bytes[0] == KEY_UUID) return key.size == UUID_KEY_SIZE;
    uint8_t ignored[UUID_SIZE];
    // A UUID written as text would be a second key of the same text.
    return bytes[0] == KEY_TEXT && (key.size != 1 + UUID_TEXT_SIZE || !parse_uuid(bytes + 1, ignored));
}

// ---- Encoding ----

static uint8_t *put_text(uint8_t *to, dbk_slice text) {
    to += dbk_put_varint(to, text.size);
    if (text.size > 0) memcpy(to, text.data, text.size);
    return to + text.size;
}

static uint8_t *put_text_if_any(uint8_t *to, dbk_slice text) {
    return text.size == 0 ? to : put_text(to, text);
}

static uint8_t *put_key_if_any(uint8_t *to, dbk_slice text) {
    uint8_t scratch[DBK_KEY_SIZE_MAX];
    return put_text_if_any(to, dbk_key_encode(text, scratch));
}

// Sorted copy without duplicates; returns how many. Tags are few and mostly given in order: insertion sort.
static size_t sort_tags(const daybook_slice *tags, size_t count,
                        dbk_slice sorted_out[DAYBOOK_TAG_COUNT_MAX]) {
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        size_t at = kept;
        int order = -1;
        while (at > 0 && (order = dbk_slice_compare(sorted_out[at - 1], tags[i])) > 0) at--;
        if (at > 0 && order == 0) continue;
        memmove(sorted_out + at + 1, sorted_out + at, (kept - at) * sizeof *sorted_out);
        sorted_out[at] = tags[i];
        kept++;
    }
    return kept;
}

static uint8_t *put_tags(uint8_t *to, const daybook_event *event) {
    if (event->tag_count == 0) return to;
    dbk_slice sorted[DAYBOOK_TAG_COUNT_MAX];
    size_t count = sort_tags(event->tags, event->tag_count, sorted);
    to += dbk_put_varint(to, count);
    for (size_t i = 0; i < count; i++) to = put_text(to, sorted[i]);
    return to;
}

static uint8_t *put_headers(uint8_t *to, const daybook_event *event) {
    if (event->header_count == 0) return to;
    to += dbk_put_varint(to, event->header_count);
    for (size_t i = 0; i < event->header_count; i++) {
        to = put_text(to, event->headers[i].name);
        to = put_text(to, event->headers[i].value);
    }
    return to;
}

// Bytes of the headers without their count, as a decoded event has them.
static size_t headers_size(const uint8_t *begin, const uint8_t *end, const daybook_event *event) {
    size_t size = (size_t)(end - begin);
    return size == 0 ? 0 : size - dbk_varint_size(event->header_count);
}

static uint32_t flags_of(const daybook_event *event) {
    uint32_t flags = 0;
    if (event->type.size > 0) flags |= DBK_EVENT_TYPE;
    if (event->schema.size > 0) flags |= DBK_EVENT_SCHEMA;
    if (event->correlation.size > 0) flags |= DBK_EVENT_CORRELATION;
    if (event->causation.size > 0) flags |= DBK_EVENT_CAUSATION;
    if (event->actor.size > 0) flags |= DBK_EVENT_ACTOR;
    if (event->tag_count > 0) flags |= DBK_EVENT_TAGS;
    if (event->header_count > 0) flags |= DBK_EVENT_HEADERS;
    if (event->time_ns != DAYBOOK_TIME_NONE) flags |= DBK_EVENT_TIME;
    if (event->id.size == 0) flags |= DBK_EVENT_ID_MADE;
    if (event->ttl_s != 0) flags |= DBK_EVENT_TTL;
    return flags;
}

size_t dbk_event_body_size_bound(const daybook_event *event) {
    enum { LENGTH = 3, NUMBER = DBK_VARINT_SIZE_MAX };     // texts and headers are shorter than 2^21
    size_t size = 2 + 2 * NUMBER + LENGTH + UUID_KEY_SIZE; // flags, aggregate size, time, a made id
    if (event->ttl_s != 0) size += NUMBER;
    size += LENGTH + 1 + event->id.size + LENGTH + event->subject.size + LENGTH + event->type.size;
    size += LENGTH + event->schema.size + LENGTH + 1 + event->correlation.size;
    size += LENGTH + 1 + event->causation.size + LENGTH + event->actor.size + 2 * LENGTH;
    for (size_t i = 0; i < event->tag_count; i++) size += LENGTH + event->tags[i].size;
    for (size_t i = 0; i < event->header_count; i++) {
        size += 2 * LENGTH + event->headers[i].name.size + event->headers[i].value.size;
    }
    return size + event->data.size;
}

daybook_status dbk_event_encode_body(const daybook_event *event, uint32_t aggregate_size,
                                     const uint8_t made_id[16], dbk_buf *buf, dbk_event_layout *layout_out) {
    DBK_ASSERT(aggregate_size < event->subject.size || aggregate_size == 0);
    uint8_t *begin = dbk_buf_reserve(buf, dbk_event_body_size_bound(event));
    if (begin == NULL) return dbk_buf_status(buf);

    uint32_t flags = flags_of(event);
    uint8_t *to = begin + dbk_put_varint(begin, flags);
    uint8_t scratch[DBK_KEY_SIZE_MAX];
    dbk_slice id_key;
    if ((flags & DBK_EVENT_ID_MADE) != 0) {
        scratch[0] = KEY_UUID;
        memcpy(scratch + 1, made_id, UUID_SIZE);
        id_key = daybook_bytes(scratch, UUID_KEY_SIZE);
    } else {
        id_key = dbk_key_encode(event->id, scratch);
    }
    to = put_text(to, id_key);
    dbk_event_layout layout = {.id_offset = (uint32_t)((size_t)(to - begin) - id_key.size),
                               .id_size = (uint32_t)id_key.size};
    to += dbk_put_varint(to, aggregate_size);
    to = put_text(to, event->subject);
    layout.subject_offset = (uint32_t)((size_t)(to - begin) - event->subject.size);
    to = put_text_if_any(to, event->type);
    to = put_text_if_any(to, event->schema);
    to = put_key_if_any(to, event->correlation);
    to = put_key_if_any(to, event->causation);
    to = put_text_if_any(to, event->actor);
    to = put_tags(to, event);
    const uint8_t *headers = to;
    to = put_headers(to, event);
    layout.cost = DBK_EVENT_HEAD_SIZE + event->subject.size + headers_size(headers, to, event) +
                  event->data.size;
    if ((flags & DBK_EVENT_TIME) != 0) to += dbk_put_varint(to, dbk_zigzag(event->time_ns));
    if ((flags & DBK_EVENT_TTL) != 0)
        to += dbk_put_varint(to, event->ttl_s == DAYBOOK_TTL_NEVER ? 0 : (uint64_t)event->ttl_s);
    if (event->data.size > 0) memcpy(to, event->data.data, event->data.size);
    to += event->data.size;

    buf->size += (size_t)(to - begin);
    if (layout_out != NULL) *layout_out = layout;
    return DAYBOOK_OK;
}

void dbk_event_set_id_time(uint8_t *body, size_t id_offset, int64_t recorded_ns) {
    uint64_t milliseconds = recorded_ns < 0 ? 0 : (uint64_t)(recorded_ns / 1000000);
    for (size_t i = 0; i < 6; i++) body[id_offset + 1 + i] = (uint8_t)(milliseconds >> (40 - 8 * i));
}

void dbk_event_encode_head(uint8_t head_out[DBK_EVENT_HEAD_SIZE], const dbk_event *assigned,
                           size_t body_size) {
    DBK_ASSERT(body_size <= DBK_EVENT_BODY_SIZE_MAX);
    uint32_t size = (uint32_t)(DBK_EVENT_HEAD_SIZE + body_size);
    dbk_put_u32(head_out, size | (uint32_t)DBK_RECORD_EVENT << RECORD_SIZE_BITS);
    dbk_put_u32(head_out + 4, assigned->stream_id);
    dbk_put_u64(head_out + 8, assigned->position);
    dbk_put_u64(head_out + 16, assigned->seq);
    dbk_put_u64(head_out + 24, assigned->version);
    dbk_put_u64(head_out + 32, (uint64_t)assigned->recorded_ns);
}

// ---- Decoding ----

// What is left of a body. After a failure `at` is `end`, so that later reads fail or give nothing.
typedef struct cursor {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
} cursor;

static uint64_t fail_number(cursor *body) {
    body->at = body->end;
    body->failed = true;
    return 0;
}

static uint64_t take_long_number(cursor *body) {
    dbk_reader reader = {.at = body->at, .end = body->end};
    uint64_t value = dbk_read_varint(&reader);
    if (reader.failed) return fail_number(body);
    body->at = reader.at;
    return value;
}

// Nearly every number of a body is below 128 or 16384.
static inline uint64_t take_number(cursor *body) {
    const uint8_t *at = body->at;
    if (body->end - at < 2) return take_long_number(body);
    if (at[0] < 0x80) {
        body->at = at + 1;
        return at[0];
    }
    if (at[1] != 0 && at[1] < 0x80) {
        body->at = at + 2;
        return (uint64_t)(at[0] & 0x7f) | (uint64_t)at[1] << 7;
    }
    return take_long_number(body);
}

static inline dbk_slice take_text(cursor *body, size_t size_min, size_t size_max) {
    uint64_t size = take_number(body);
    if (size < size_min || size > size_max || size > (size_t)(body->end - body->at)) {
        (void)fail_number(body);
        return daybook_bytes(body->at, 0);
    }
    const uint8_t *at = body->at;
    body->at = at + size;
    return daybook_bytes(at, (size_t)size);
}

static inline dbk_slice take_short_text(cursor *body) {
    return take_text(body, 1, DAYBOOK_TEXT_SIZE_MAX);
}

static inline dbk_slice take_key(cursor *body) {
    dbk_slice key = take_text(body, 2, DBK_KEY_SIZE_MAX);
    if (!body->failed && !is_key(key)) (void)fail_number(body);
    return key;
}

static void take_tags(cursor *body, dbk_event *event) {
    uint64_t count = take_number(body);
    if (count == 0 || count > DAYBOOK_TAG_COUNT_MAX) (void)fail_number(body);
    const uint8_t *begin = body->at;
    dbk_slice before = daybook_bytes(begin, 0);
    for (uint64_t i = 0; i < count && !body->failed; i++) {
        dbk_slice tag = take_short_text(body);
        if (dbk_slice_compare(before, tag) >= 0) (void)fail_number(body);
        before = tag;
    }
    event->tag_count = (uint32_t)count;
    event->tags = daybook_bytes(begin, (size_t)(body->at - begin));
}

static void take_headers(cursor *body, dbk_event *event) {
    uint64_t count = take_number(body);
    if (count == 0 || count > DAYBOOK_HEADER_COUNT_MAX) (void)fail_number(body);
    const uint8_t *begin = body->at;
    for (uint64_t i = 0; i < count && !body->failed; i++) {
        (void)take_short_text(body);
        (void)take_text(body, 0, DAYBOOK_HEADER_SIZE_MAX);
    }
    event->header_count = (uint32_t)count;
    event->headers = daybook_bytes(begin, (size_t)(body->at - begin));
}

static void take_ttl(cursor *body, dbk_event *event) {
    uint64_t ttl_s = take_number(body);
    if (ttl_s > DAYBOOK_TTL_S_MAX) (void)fail_number(body);
    event->ttl_s = ttl_s == 0 ? DAYBOOK_TTL_NEVER : (int64_t)ttl_s;
}

static bool is_aggregate_of(uint64_t aggregate_size, dbk_slice subject) {
    if (aggregate_size == 0) return true;
    // A further token follows behind the dot.
    return aggregate_size < subject.size - 1 && ((const char *)subject.data)[aggregate_size] == '.';
}

static bool is_made_id(dbk_slice id_key) {
    const uint8_t *bytes = id_key.data;
    return bytes[0] == KEY_UUID && bytes[1 + 6] >> 4 == 7;
}

daybook_status dbk_event_decode_body(dbk_slice bytes, dbk_event *event) {
    static const dbk_slice nothing;
    if (bytes.size == 0 || bytes.size > DBK_EVENT_BODY_SIZE_MAX) return DAYBOOK_EDAMAGED;
    const uint8_t *begin = bytes.data;
    cursor body = {.at = begin, .end = begin + bytes.size};

    uint64_t flags = take_number(&body);
    event->id_key = take_key(&body);
    uint64_t aggregate_size = take_number(&body);
    event->subject = take_text(&body, 1, DAYBOOK_SUBJECT_SIZE_MAX);
    if (body.failed || flags > DBK_EVENT_FLAGS_ALL || !is_aggregate_of(aggregate_size, event->subject) ||
        ((flags & DBK_EVENT_ID_MADE) != 0 && !is_made_id(event->id_key))) {
        return DAYBOOK_EDAMAGED;
    }
    event->flags = (uint32_t)flags;
    event->aggregate_size = (uint32_t)aggregate_size;
    event->type = (flags & DBK_EVENT_TYPE) != 0 ? take_short_text(&body) : nothing;
    event->schema = (flags & DBK_EVENT_SCHEMA) != 0 ? take_short_text(&body) : nothing;
    event->correlation_key = (flags & DBK_EVENT_CORRELATION) != 0 ? take_key(&body) : nothing;
    event->causation_key = (flags & DBK_EVENT_CAUSATION) != 0 ? take_key(&body) : nothing;
    event->actor = (flags & DBK_EVENT_ACTOR) != 0 ? take_short_text(&body) : nothing;
    event->tag_count = 0;
    event->tags = nothing;
    if ((flags & DBK_EVENT_TAGS) != 0) take_tags(&body, event);
    event->header_count = 0;
    event->headers = nothing;
    if ((flags & DBK_EVENT_HEADERS) != 0) take_headers(&body, event);
    event->time_ns = event->recorded_ns;
    if ((flags & DBK_EVENT_TIME) != 0) event->time_ns = dbk_unzigzag(take_number(&body));
    event->ttl_s = 0;
    if ((flags & DBK_EVENT_TTL) != 0) take_ttl(&body, event);
    if (body.failed) return DAYBOOK_EDAMAGED;
    event->data = daybook_bytes(body.at, (size_t)(body.end - body.at));
    event->body = bytes;
    return DAYBOOK_OK;
}

daybook_status dbk_event_decode(dbk_slice stored, dbk_event *event_out) {
    if (stored.size <= DBK_EVENT_HEAD_SIZE) return DAYBOOK_EDAMAGED;
    const uint8_t *head = stored.data;
    uint32_t size_and_kind = dbk_get_u32(head);
    if (size_and_kind >> RECORD_SIZE_BITS != DBK_RECORD_EVENT) return DAYBOOK_EDAMAGED;
    if ((size_and_kind & DBK_RECORD_SIZE_MAX) != stored.size) return DAYBOOK_EDAMAGED;
    event_out->stream_id = dbk_get_u32(head + 4);
    event_out->position = dbk_get_u64(head + 8);
    event_out->seq = dbk_get_u64(head + 16);
    event_out->version = dbk_get_u64(head + 24);
    event_out->recorded_ns = (int64_t)dbk_get_u64(head + 32);
    return dbk_event_decode_body(daybook_bytes(head + DBK_EVENT_HEAD_SIZE, stored.size - DBK_EVENT_HEAD_SIZE),
                                 event_out);
}

// ---- Looking at a decoded event ----

dbk_slice dbk_event_type(const dbk_event *event) {
    return event->type.size > 0 ? event->type : dbk_subject_type(event->subject, event->aggregate_size);
}

bool dbk_event_next_text(dbk_slice *encoded, dbk_slice *text_out) {
    const uint8_t *at = encoded->data;
    if (encoded->size == 0) return false;
    cursor left = {.at = at, .end = at + encoded->size};
    dbk_slice text = take_text(&left, 0, SIZE_MAX);
    if (left.failed) return false;
    *encoded = daybook_bytes(left.at, (size_t)(left.end - left.at));
    *text_out = text;
    return true;
}

bool dbk_event_has_tag(const dbk_event *event, dbk_slice tag) {
    dbk_slice left = event->tags;
    for (dbk_slice text; dbk_event_next_text(&left, &text);) {
        if (dbk_slice_equal(text, tag)) return true;
    }
    return false;
}

int64_t dbk_event_expiry_ns(const dbk_event *event) {
    if (event->ttl_s <= 0) return INT64_MAX;
    int64_t ttl_ns = event->ttl_s * DBK_SECOND_NS; // below 2^61
    return event->recorded_ns > INT64_MAX - ttl_ns ? INT64_MAX : event->recorded_ns + ttl_ns;
}

uint64_t dbk_event_cost(const dbk_event *event) {
    return (uint64_t)DBK_EVENT_HEAD_SIZE + event->subject.size + event->headers.size + event->data.size;
}

bool dbk_event_same_content(const dbk_event *a, const dbk_event *b) {
    bool both_have_time = (a->flags & b->flags & DBK_EVENT_TIME) != 0;
    return dbk_slice_equal(a->subject, b->subject) && dbk_slice_equal(dbk_event_type(a), dbk_event_type(b)) &&
           dbk_slice_equal(a->schema, b->schema) && dbk_slice_equal(a->actor, b->actor) &&
           dbk_slice_equal(a->correlation_key, b->correlation_key) &&
           dbk_slice_equal(a->causation_key, b->causation_key) && dbk_slice_equal(a->tags, b->tags) &&
           dbk_slice_equal(a->headers, b->headers) && dbk_slice_equal(a->data, b->data) &&
           (!both_have_time || a->time_ns == b->time_ns) && a->ttl_s == b->ttl_s;
}
