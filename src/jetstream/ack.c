// SPDX-License-Identifier: Apache-2.0
// $JS.ACK.>: what is answered to a delivered message.
//
// Plain answers change the consumer in memory, on the loop, without any I/O; the store saves them soon. Where
// an acknowledgement or a termination has a reply subject itself it is a confirmed one: the empty answer
// comes when it is on disk, or not at all where it could not be saved. The others are answered at once: the
// message comes again also where what they ask for is lost.
//
// Only subjects as they are written here count, with stream and consumer in front: what may be published
// below $JS.ACK.<stream>.<consumer>. concerns that consumer and no other. The longer form, with a domain and
// an account's hash in front of them, names them further behind, where no rule looks; it is passed over.
#include "proto/ack.h"
#include "base/bytes.h"
#include "jetstream/advisory.h"
#include "jetstream/api_call.h"
#include "jetstream/delivery.h"
#include "jetstream/push.h"

// An acknowledgement or a termination on its way to the disk.
typedef struct confirming {
    dbk_job job;
    dbk_js_consumer *consumer; // a reference
    uint64_t seq;
    daybook_status status;
    size_t reply_size;
    uint8_t reply[];
} confirming;

static void answer_reply(const dbk_js_consumer *consumer, dbk_slice reply) {
    (void)dbk_broker_reply(consumer->stream->jetstream->broker, reply, daybook_bytes(NULL, 0),
                           daybook_bytes(NULL, 0));
}

static void confirmed(dbk_job *job) {
    confirming *confirm = DBK_OWNER(job, confirming, job);
    dbk_js_consumer *consumer = confirm->consumer;
    dbk_jetstream *jetstream = consumer->stream->jetstream;
    // Not pending is settled, whoever did it.
    if (confirm->status == DAYBOOK_OK || confirm->status == DAYBOOK_ENOTFOUND)
        answer_reply(consumer, daybook_bytes(confirm->reply, confirm->reply_size));
    dbk_free(jetstream->allocator, confirm);
    dbk_js_consumer_unref(consumer);
    dbk_js_end_job(jetstream);
}

// From the store's threads.
static void saved(void *context, daybook_status status, const daybook_error *error) {
    confirming *confirm = context;
    (void)error;
    confirm->status = status;
    dbk_jobs_finish(confirm->consumer->stream->jetstream->broker->jobs, &confirm->job);
}

// A reason the store does not take is left out: it says no less that the message is not to come again.
static daybook_status submit_termination(confirming *confirm, dbk_slice reason) {
    daybook_consumer *handle = confirm->consumer->handle;
    uint64_t seq = confirm->seq;
    daybook_status status = daybook_consumer_term_submit(handle, seq, reason, saved, confirm, NULL);
    if (status != DAYBOOK_EINVALID) return status;
    return daybook_consumer_term_submit(handle, seq, daybook_bytes(NULL, 0), saved, confirm, NULL);
}

static void settle_durably(dbk_js_consumer *consumer, uint64_t seq, const dbk_ack_body *body,
                           dbk_slice reply) {
    dbk_jetstream *jetstream = consumer->stream->jetstream;
    confirming *confirm = dbk_alloc_zeroed(jetstream->allocator, sizeof *confirm + reply.size);
    if (confirm == NULL) return; // it is sent again
    confirm->job.done = confirmed;
    confirm->consumer = dbk_js_consumer_ref(consumer);
    confirm->seq = seq;
    confirm->reply_size = reply.size;
    memcpy(confirm->reply, reply.data, reply.size);
    dbk_js_begin_job(jetstream);
    daybook_status status = body->kind == DBK_ACK_TERM
                                ? submit_termination(confirm, body->text)
                                : daybook_consumer_ack_submit(consumer->handle, seq, saved, confirm, NULL);
    if (status == DAYBOOK_OK) return;
    confirm->status = status;
    confirmed(&confirm->job);
}

static void terminate(daybook_consumer *handle, uint64_t seq, dbk_slice reason) {
    if (daybook_consumer_term(handle, seq, reason, NULL) == DAYBOOK_EINVALID)
        (void)daybook_consumer_term(handle, seq, daybook_bytes(NULL, 0), NULL);
}

static void take_answer(dbk_js_consumer *consumer, const dbk_ack_subject *ack, const dbk_message *message) {
    dbk_ack_body body = dbk_ack_body_read(dbk_message_data(message));
    daybook_consumer *handle = consumer->handle;
    uint64_t seq = ack->stream_sequence;
    bool is_last = body.kind == DBK_ACK_DONE || body.kind == DBK_ACK_TERM;
    if (is_last && message->reply.size > 0) {
        settle_durably(consumer, seq, &body, message->reply);
        return;
    }
    // Of each call ENOTFOUND is nothing to do about: the message is not pending any more.
    switch (body.kind) {
    case DBK_ACK_DONE:
        (void)daybook_consumer_ack(handle, seq, 0, NULL);
        return;
    case DBK_ACK_NEXT: // its reply is the inbox for what comes next
        (void)daybook_consumer_ack(handle, seq, 0, NULL);
        dbk_js_begin_pull(consumer, message->reply, body.text);
        return;
    case DBK_ACK_AGAIN:
        (void)daybook_consumer_nak(handle, seq, body.delay_ns > 0 ? body.delay_ns : 0, NULL);
        break;
    case DBK_ACK_PROGRESS:
        (void)daybook_consumer_progress(handle, seq, NULL);
        break;
    case DBK_ACK_TERM:
        terminate(handle, seq, body.text);
        return;
    case DBK_ACK_UNKNOWN: // nothing is done, and that is answered
        break;
    }
    answer_reply(consumer, message->reply);
}

void dbk_js_serve_ack(void *context, dbk_client *from, const dbk_message *message) {
    dbk_jetstream *jetstream = context;
    dbk_ack_subject ack;
    if (!dbk_ack_subject_decode(message->subject, &ack) || ack.is_v2) return;
    dbk_js_stream *stream = dbk_js_find_stream(jetstream, ack.stream);
    dbk_js_consumer *consumer = stream == NULL ? NULL : dbk_js_reach_consumer(stream, ack.consumer);
    if (consumer == NULL) return;
    jetstream->ack_total++;
    if (consumer->state != DBK_JS_CONSUMER_OPEN) {
        (void)dbk_js_keep_early(consumer, from, message); // else it is delivered again
        dbk_js_open_consumer(consumer);
        return;
    }
    dbk_js_note_use(consumer);
    take_answer(consumer, &ack, message);
}
