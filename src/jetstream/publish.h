// SPDX-License-Identifier: Apache-2.0
// A publish on its way into a stream: what capture.c (one message) and batch.c (several, all or none) share.
#ifndef DBK_JETSTREAM_PUBLISH_H
#define DBK_JETSTREAM_PUBLISH_H

#include "daybook/append.h"
#include "jetstream/jetstream_internal.h"
#include "proto/headers.h"

enum { DBK_JS_CONDITIONS_MAX = 3 }; // of one message

/// What became of it, in few bytes: an acknowledgement that says no is rare.
typedef struct dbk_js_outcome {
    bool has_error;
    bool is_duplicate;
    uint64_t seq; // 0: not known, or not stored
    int64_t recorded_ns;
    uint32_t batch_count;     // of an atomic batch; 0: it is none
    uint64_t conflicting_seq; // an expected id is another one: this message's, which is still to be read
    dbk_api_error *error;     // allocated; NULL where memory was out, too
} dbk_js_outcome;

struct dbk_js_publish {
    dbk_job job;
    dbk_js_publish *next;            // of the round, or of the batch
    dbk_js_stream *stream;           // a reference, let go of on the loop
    dbk_client *from;                // a reference, or NULL
    uint64_t number;                 // order.c; 0: it is not under way
    dbk_js_publish *earlier, *later; // order.c: of those under way
    size_t held_size;
    bool is_announced; // by the server itself: nobody published it
    bool wants_ack;
    dbk_js_outcome outcome;
    dbk_js_publish *members; // of a batch's last message: those before it; is_end: stored without it
    bool is_batch, is_end;
    dbk_slice batch_id; // in its headers
    // What the stream's configuration makes of its subject (rewrite.h): a worker's until it is submitted.
    dbk_slice transformed;  // owned; empty: stored as published
    dbk_slice republish_to; // owned; empty: it is not
    bool republish_headers_only;
    dbk_js_last *last; // a reference; NULL: none
    // What its conditions are about, by index: to say what is wrong.
    uint8_t condition_headers[DBK_JS_CONDITIONS_MAX]; // dbk_publish_header
    dbk_message message;                              // in the bytes behind
    uint8_t bytes[];
};

static inline dbk_slice dbk_js_publish_subject(const dbk_js_publish *publish) {
    return publish->message.subject;
}
/// The subject it is stored with, once dbk_js_rewrite_subject has seen it.
static inline dbk_slice dbk_js_publish_stored_subject(const dbk_js_publish *publish) {
    return publish->transformed.size > 0 ? publish->transformed : dbk_js_publish_subject(publish);
}
static inline dbk_slice dbk_js_publish_reply(const dbk_js_publish *publish) {
    return publish->message.reply;
}
static inline dbk_slice dbk_js_publish_headers(const dbk_js_publish *publish) {
    return dbk_message_headers(&publish->message);
}
static inline dbk_slice dbk_js_publish_data(const dbk_js_publish *publish) {
    return dbk_message_data(&publish->message);
}

/// An event and its conditions, made of a publish. Borrows from it.
typedef struct dbk_js_making {
    dbk_js_publish *publish;
    const dbk_js_rules *rules;
    dbk_publish_headers said;
    daybook_event event; // its headers are the array below
    daybook_header headers[DAYBOOK_HEADER_COUNT_MAX];
    daybook_condition conditions[DBK_JS_CONDITIONS_MAX];
    size_t condition_count;
} dbk_js_making;

static inline bool dbk_js_making_has(const dbk_js_making *make, dbk_publish_header header) {
    return dbk_publish_headers_have(&make->said, header);
}
static inline bool dbk_js_is_rollup(const dbk_js_making *make) {
    return dbk_js_making_has(make, DBK_PUBLISH_ROLLUP) && make->said.values[DBK_PUBLISH_ROLLUP].size > 0;
}
/// A worker's. False: the publish is refused.
bool dbk_js_make(dbk_js_publish *publish, const dbk_js_rules *rules, dbk_js_making *make_out,
                 dbk_api_error *error_out);
/// Any thread but the loop: it is acknowledged, or refused.
void dbk_js_finish(dbk_js_publish *publish, daybook_status status, const daybook_receipt *receipt,
                   const daybook_error *cause);
void dbk_js_finish_with_error(dbk_js_publish *publish, const dbk_api_error *error);
/// A worker: the store did not take a roll-up. True: an update disallowed them since the rules were read, and
/// it is refused.
bool dbk_js_finish_late_rollup(dbk_js_publish *publish, daybook_status status);
/// What the store said of it, for when it is finished with others.
static inline void dbk_js_note_receipt(dbk_js_publish *publish, const daybook_receipt *receipt) {
    publish->outcome.seq = receipt->seq;
    publish->outcome.recorded_ns = receipt->recorded_ns;
    publish->outcome.is_duplicate = (receipt->flags & DAYBOOK_RECEIPT_DUPLICATE) != 0;
}
/// The loop: at once.
void dbk_js_refuse(dbk_js_publish *publish, dbk_api_error_kind kind);
/// The same with the number that the error's text has.
void dbk_js_refuse_with(dbk_js_publish *publish, dbk_api_error_kind kind, uint64_t number);
/// The loop: it does not count against its connection any more.
void dbk_js_let_go(dbk_js_publish *publish);
/// The loop: gone without a word.
void dbk_js_forget(dbk_js_publish *publish);
/// The loop: it joins its stream's next round.
void dbk_js_enqueue(dbk_js_publish *publish);

// batch.c

/// The loop: is it part of an atomic batch? Then it is taken care of.
bool dbk_js_batch_take(dbk_js_publish *publish);
/// A worker: the last message of a batch, with its members.
void dbk_js_batch_append(dbk_js_publish *publish, const dbk_js_rules *rules);
/// The loop: all batches of a stream that wait for more are forgotten.
void dbk_js_batch_drop_all(dbk_js_stream *stream);

#endif
