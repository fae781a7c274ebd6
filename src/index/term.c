// SPDX-License-Identifier: Apache-2.0
// The terms of an event, made from its decoded fields.
//
// A term's bytes sort so that what is looked up together lies together: all terms of a kind, within the kinds
// scoped to a stream all of one stream. The four token kinds carry their place in the kind byte.
//
// No term of one event occurs twice: kinds differ, tokens differ by place, tags are a sorted set.
// Pure, any thread.
#include "index/term.h"

#include "base/assert.h"
#include "base/time.h"

enum { EXPIRY_VALUE_SIZE = 8 + 4 };

static bool is_scoped(dbk_term_kind kind) {
    return kind <= DBK_TERM_AGGREGATE;
}

void dbk_term_make(dbk_term *term, dbk_term_kind kind, uint32_t stream_id, dbk_slice value) {
    size_t size = 0;
    term->bytes[size++] = (uint8_t)kind;
    if (is_scoped(kind)) {
        term->bytes[size++] = (uint8_t)(stream_id >> 24);
        term->bytes[size++] = (uint8_t)(stream_id >> 16);
        term->bytes[size++] = (uint8_t)(stream_id >> 8);
        term->bytes[size++] = (uint8_t)stream_id;
    }
    DBK_ASSERT(value.size <= sizeof term->bytes - size);
    if (value.size > 0) memcpy(term->bytes + size, value.data, value.size);
    term->size = size + value.size;
}

void dbk_term_make_expiry(dbk_term *term, uint64_t second, uint32_t stream_id) {
    uint8_t value[EXPIRY_VALUE_SIZE];
    for (int i = 0; i < 8; i++) value[i] = (uint8_t)(second >> (56 - 8 * i));
    for (int i = 0; i < 4; i++) value[8 + i] = (uint8_t)(stream_id >> (24 - 8 * i));
    dbk_term_make(term, DBK_TERM_EXPIRY, 0, daybook_bytes(value, sizeof value));
}

bool dbk_term_read_expiry(dbk_slice term, uint64_t *second_out, uint32_t *stream_id_out) {
    const uint8_t *bytes = term.data;
    if (term.size != 1 + EXPIRY_VALUE_SIZE || bytes[0] != DBK_TERM_EXPIRY) return false;
    *second_out = *stream_id_out = 0;
    for (int i = 0; i < 8; i++) *second_out = *second_out << 8 | bytes[1 + i];
    for (int i = 0; i < 4; i++) *stream_id_out = *stream_id_out << 8 | bytes[9 + i];
    return true;
}

uint64_t dbk_expiry_second(int64_t expiry_ns) {
    return expiry_ns <= 0 ? 0 : (uint64_t)((expiry_ns - 1) / DBK_SECOND_NS + 1);
}

typedef struct term_visitor {
    dbk_term term;
    uint32_t stream_id;
    daybook_status (*visit)(void *context, dbk_slice term);
    void *context;
} term_visitor;

static daybook_status visit(term_visitor *visitor, dbk_term_kind kind, dbk_slice value) {
    dbk_term_make(&visitor->term, kind, visitor->stream_id, value);
    return visitor->visit(visitor->context, dbk_term_slice(&visitor->term));
}

static daybook_status visit_present(term_visitor *visitor, dbk_term_kind kind, dbk_slice value) {
    return value.size == 0 ? DAYBOOK_OK : visit(visitor, kind, value);
}

static daybook_status visit_tokens(term_visitor *visitor, dbk_slice subject) {
    const char *at = subject.data;
    size_t left = subject.size;
    for (int kind = DBK_TERM_TOKEN_0; kind <= DBK_TERM_TOKEN_3 && left > 0; kind++) {
        const char *dot = memchr(at, '.', left);
        size_t size = dot == NULL ? left : (size_t)(dot - at);
        DBK_TRY(visit(visitor, (dbk_term_kind)kind, daybook_bytes(at, size)));
        if (dot == NULL) break;
        at += size + 1;
        left -= size + 1;
    }
    return DAYBOOK_OK;
}

static daybook_status visit_expiry(term_visitor *visitor, const dbk_event *event) {
    if (event->ttl_s <= 0) return DAYBOOK_OK;
    dbk_term_make_expiry(&visitor->term, dbk_expiry_second(dbk_event_expiry_ns(event)), event->stream_id);
    return visitor->visit(visitor->context, dbk_term_slice(&visitor->term));
}

daybook_status dbk_event_visit_terms(const dbk_event *event,
                                     daybook_status (*visit_term)(void *context, dbk_slice term),
                                     void *context) {
    term_visitor visitor;
    visitor.stream_id = event->stream_id;
    visitor.visit = visit_term;
    visitor.context = context;

    DBK_TRY(visit(&visitor, DBK_TERM_STREAM, daybook_bytes(NULL, 0)));
    DBK_TRY(visit(&visitor, DBK_TERM_SUBJECT, event->subject));
    DBK_TRY(visit_present(&visitor, DBK_TERM_AGGREGATE, dbk_event_aggregate(event)));
    DBK_TRY(visit_tokens(&visitor, event->subject));
    DBK_TRY(visit_present(&visitor, DBK_TERM_TYPE, dbk_event_type(event)));
    dbk_slice tags = event->tags, tag;
    while (dbk_event_next_text(&tags, &tag)) DBK_TRY(visit(&visitor, DBK_TERM_TAG, tag));
    DBK_TRY(visit_present(&visitor, DBK_TERM_CORRELATION, event->correlation_key));
    DBK_TRY(visit_present(&visitor, DBK_TERM_CAUSATION, event->causation_key));
    DBK_TRY(visit_present(&visitor, DBK_TERM_ACTOR, event->actor));
    return visit_expiry(&visitor, event);
}
