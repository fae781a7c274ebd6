// SPDX-License-Identifier: Apache-2.0
// An event as bytes. Pure: bytes in, values out, no I/O, no allocation but through the caller's dbk_buf.
//
// Body: what the producer said, encoded once by the appending thread, outside every lock:
//
//   varint  flags            DBK_EVENT_* below
//   text    id key           (varint size, bytes) placed first so that the 48 bits of time of an id made by
//                            the store can be set when the group is built
//   varint  aggregate_size   bytes of the subject that name the aggregate, 0 for none
//   text    subject
//   [text type] [text schema] [text correlation key] [text causation key] [text actor]
//   [varint count, text...  tags]  sorted by bytes, without duplicates
//   [varint count, (text name, text value)...  headers]  in the producer's order
//   [varint zigzag time_ns]  absent: equal to `recorded`
//   [varint ttl]             seconds from `recorded` on, after which the event is gone; 0: never
//   bytes   data             the rest
//
// Keys: ids, correlations and causations are mostly UUIDs. A key is one tag byte and a payload: 'U' and 16
// bytes for a canonical lower-case UUID, 'T' and the text for anything else. Equal texts give equal keys and
// the reverse.
//
// Stored form (journal and memory table): 40 bytes assigned by the store, little-endian, then the body:
//
//   u32 size and kind: low 28 bits bytes of the whole record, high 4 bits DBK_RECORD_EVENT
//   u32 stream id, u64 position, u64 seq, u64 version, i64 recorded_ns
//
// Segments hold the same body behind a shorter head of their own (segment/block.h).
#ifndef DBK_RECORD_EVENT_H
#define DBK_RECORD_EVENT_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/error.h"
#include "daybook/event.h"

enum {
    DBK_EVENT_TYPE = 1,
    DBK_EVENT_SCHEMA = 2,
    DBK_EVENT_CORRELATION = 4,
    DBK_EVENT_CAUSATION = 8,
    DBK_EVENT_ACTOR = 16,
    DBK_EVENT_TAGS = 32,
    DBK_EVENT_HEADERS = 64,
    DBK_EVENT_TIME = 128,
    DBK_EVENT_ID_MADE = 256, // the id was made by the store: its milliseconds are those of `recorded`
    DBK_EVENT_TTL = 512,
    DBK_EVENT_FLAGS_ALL = 1023
};

enum {
    DBK_EVENT_HEAD_SIZE = 40,
    DBK_KEY_SIZE_MAX = 1 + DAYBOOK_TEXT_SIZE_MAX,
    DBK_EVENT_BODY_SIZE_MAX = DAYBOOK_BATCH_SIZE_MAX,
};

/// A decoded event. All slices are borrowed from the encoded bytes.
typedef struct dbk_event {
    // Assigned by the store.
    uint32_t stream_id;
    uint64_t position;
    uint64_t seq;
    uint64_t version;
    int64_t recorded_ns;
    // From the body.
    uint32_t flags;
    uint32_t aggregate_size;
    int64_t time_ns; // = recorded_ns where the body has none
    int64_t ttl_s;   // as daybook_event has it
    dbk_slice subject;
    dbk_slice type; // explicit one only; empty: derived, see dbk_event_type
    dbk_slice schema;
    dbk_slice actor;
    dbk_slice id_key;
    dbk_slice correlation_key;
    dbk_slice causation_key;
    uint32_t tag_count;
    dbk_slice tags; // encoded; iterate with dbk_event_next_text
    uint32_t header_count;
    dbk_slice headers; // encoded, name and value in turn
    dbk_slice data;
    dbk_slice body; // the whole body
} dbk_event;

/// Key of a text of 1 to 255 bytes, into `scratch`; empty text gives the empty slice.
dbk_slice dbk_key_encode(dbk_slice text, uint8_t scratch[DBK_KEY_SIZE_MAX]);
/// Text of a key: borrowed from it, or formatted into `scratch`.
dbk_slice dbk_key_text(dbk_slice key, char scratch[37]);

/// Check what a producer says against every limit of daybook/event.h. `index` goes into error->event.
/// ESUBJECT, EINVALID (message names field, why and the limit), ELIMIT for oversize data.
daybook_status dbk_event_validate(const daybook_event *event, uint32_t index, daybook_error *error);

/// At least the bytes the event's body takes, seldom more than 60 too many. Sizes must be within their
/// limits.
size_t dbk_event_body_size_bound(const daybook_event *event);

/// Where things lie in an encoded body, from its begin, so that who encoded it need not decode it.
typedef struct dbk_event_layout {
    uint32_t id_offset; // of the id key's tag byte
    uint32_t id_size;
    uint32_t subject_offset;
    uint64_t cost; // dbk_event_cost
} dbk_event_layout;

/// Append the body of a validated event. Where event->id is empty, 16 bytes of `made_id` (a version 7 UUID)
/// become the id and DBK_EVENT_ID_MADE is set. `layout_out` may be NULL. ENOMEM.
daybook_status dbk_event_encode_body(const daybook_event *event, uint32_t aggregate_size,
                                     const uint8_t made_id[16], dbk_buf *buf, dbk_event_layout *layout_out);

/// Set the milliseconds of a made id inside an encoded body (id key at id_offset).
void dbk_event_set_id_time(uint8_t *body, size_t id_offset, int64_t recorded_ns);

/// Decode a body; the assigned fields of `event` must be set before (time_ns defaults to recorded_ns). Every
/// length is checked; EDAMAGED for anything malformed, including unknown flags and keys.
daybook_status dbk_event_decode_body(dbk_slice body, dbk_event *event);

/// Write the 40 byte head of the stored form; `body_size` bytes of body follow it.
void dbk_event_encode_head(uint8_t head_out[DBK_EVENT_HEAD_SIZE], const dbk_event *assigned,
                           size_t body_size);
/// Decode a whole stored form (head and body).
daybook_status dbk_event_decode(dbk_slice stored, dbk_event *event_out);

/// The type: explicit or derived from the subject. Borrowed.
dbk_slice dbk_event_type(const dbk_event *event);
static inline dbk_slice dbk_event_aggregate(const dbk_event *event) {
    return daybook_bytes(event->subject.data, event->aggregate_size);
}
/// Step through event->tags or event->headers: begin with the encoded slice; false at the end.
bool dbk_event_next_text(dbk_slice *encoded, dbk_slice *text_out);
bool dbk_event_has_tag(const dbk_event *event, dbk_slice tag);
/// When its own time to live ends; INT64_MAX where it has none.
int64_t dbk_event_expiry_ns(const dbk_event *event);
/// Bytes that count against max_bytes: subject, headers, data, and 40 for the head.
uint64_t dbk_event_cost(const dbk_event *event);
/// True where both say the same (all of the body but id, made-id flag and, if one lacks it, time).
bool dbk_event_same_content(const dbk_event *a, const dbk_event *b);

#endif
