// SPDX-License-Identifier: Apache-2.0
// Terms: what the index knows an event by. A term is bytes: one kind byte, then the value; those scoped to a
// stream carry its id (u32 big-endian, so that they sort by stream) before the value.
#ifndef DBK_INDEX_TERM_H
#define DBK_INDEX_TERM_H

#include "record/event.h"

typedef enum dbk_term_kind {
    DBK_TERM_STREAM = 1,    // stream id
    DBK_TERM_SUBJECT = 2,   // stream id, subject
    DBK_TERM_AGGREGATE = 3, // stream id, aggregate
    DBK_TERM_TOKEN_0 = 4,   // value of token 0; TOKEN_0 + i for the first four tokens
    DBK_TERM_TOKEN_3 = 7,
    DBK_TERM_TYPE = 8,
    DBK_TERM_TAG = 9,
    DBK_TERM_CORRELATION = 10, // key (record/event.h)
    DBK_TERM_CAUSATION = 11,   // key
    DBK_TERM_ACTOR = 12,
    // 13 and 14: ids, of segments only (term_page.h)
    DBK_TERM_EXPIRY = 15, // second by which it has expired (u64 big-endian), stream id: dbk_term_make_expiry
} dbk_term_kind;

enum { DBK_TERM_SIZE_MAX = 1 + 4 + DAYBOOK_SUBJECT_SIZE_MAX };

typedef struct dbk_term {
    size_t size;
    uint8_t bytes[DBK_TERM_SIZE_MAX];
} dbk_term;

/// stream_id is used for kinds 1 to 3 only. `value` fits by validation of events and queries.
void dbk_term_make(dbk_term *term, dbk_term_kind kind, uint32_t stream_id, dbk_slice value);
static inline dbk_slice dbk_term_slice(const dbk_term *term) {
    return daybook_bytes(term->bytes, term->size);
}
/// The term of the events of a stream whose own time to live ends within the second before `second`:
/// ascending with it, whatever the stream. False where the bytes are no such term.
void dbk_term_make_expiry(dbk_term *term, uint64_t second, uint32_t stream_id);
bool dbk_term_read_expiry(dbk_slice term, uint64_t *second_out, uint32_t *stream_id_out);
/// The second of an event's term: the first whole one at or behind the end of its time to live.
uint64_t dbk_expiry_second(int64_t expiry_ns);
/// Calls `visit` with each term of the event, stream first, without duplicates; a failure stops it.
daybook_status dbk_event_visit_terms(const dbk_event *event,
                                     daybook_status (*visit)(void *context, dbk_slice term), void *context);
static inline uint64_t dbk_term_hash(dbk_slice term) {
    return dbk_checksum(term.data, term.size, 0);
}

#endif
