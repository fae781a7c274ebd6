// SPDX-License-Identifier: Apache-2.0
// From a consumer of the store to whoever is to have its messages: what pull.c and push.c share.
//
// A consumer has one delivery under way at most, so its messages keep their order. A delivery is a job: the
// worker fetches without waiting and writes what it got, ready to be sent, into one block; the loop routes
// it, to the inbox of a waiting pull or to the deliver subject. Where the store had less than asked for, the
// consumer sleeps until the store says that there may be more (daybook_consumer_watch).
#ifndef DBK_JETSTREAM_DELIVERY_H
#define DBK_JETSTREAM_DELIVERY_H

#include "jetstream/jetstream_internal.h"

enum {
    DBK_JS_DELIVERY_COUNT_MAX = 512, // messages of one delivery
    DBK_JS_DELIVERY_BYTES_MAX = 1 << 20,
};

/// What the next delivery may bring. count 0: none is wanted now.
typedef struct dbk_js_plan {
    size_t count;
    uint64_t bytes;                      // at most, 0: DBK_JS_DELIVERY_BYTES_MAX
    bool has_oneshots;                   // requests that end when there is nothing more
    uint64_t pull;                       // of a strict one: the number of the request it is for
    bool is_strict;                      // also of the first message: one that is too large is not given
    bool measures;                       // nothing is fetched (count 0): how much there is, is asked
    char pin_id[DBK_JS_PIN_ID_SIZE + 1]; // "": none is told
    uint64_t pin_generation;             // when it was planned
} dbk_js_plan;

/// A message that was fetched, ready to be routed: slices lie in `block`.
typedef struct dbk_js_outgoing {
    uint64_t seq;
    uint64_t number;     // of the delivery
    dbk_message message; // subject as published, reply for the acknowledgement
} dbk_js_outgoing;

/// Bytes as limits of pulls and flow control count them.
static inline uint64_t dbk_js_outgoing_size(const dbk_js_outgoing *outgoing) {
    return outgoing->message.subject.size + outgoing->message.reply.size + outgoing->message.payload.size;
}

/// Of a new consumer: nothing is started.
void dbk_js_delivery_init(dbk_js_consumer *consumer);
/// It is open, or its configuration has changed.
void dbk_js_start_delivery(dbk_js_consumer *consumer);
/// It is gone: whoever waits is told `status_block`.
void dbk_js_stop_delivery(dbk_js_consumer *consumer, dbk_slice status_block);
/// Something changed: begin a delivery where one is wanted and there may be messages.
void dbk_js_deliver(dbk_js_consumer *consumer);
/// On a worker: fetches the first messages of a consumer that was just made and pushes; somebody listens
/// there. NULL: there are none, or memory is out. dbk_js_set_consumer takes it over with `opened`, or it is
/// refused.
dbk_js_delivery *dbk_js_fetch_first(const dbk_jetstream *jetstream, const dbk_js_opened *opened,
                                    dbk_slice ack_prefix);
/// They are given back: nobody gets them now. Before their consumer's handle is closed; NULL: nothing
/// happens.
void dbk_js_refuse_first(dbk_js_delivery *first);
/// It is the consumer's delivery that is under way, until it is handed over.
void dbk_js_take_first(dbk_js_consumer *consumer, dbk_js_delivery *first);
/// To those who listen; on it goes.
void dbk_js_hand_first_over(dbk_js_delivery *first);
/// It was used: inactivity begins anew.
void dbk_js_note_use(dbk_js_consumer *consumer);
/// Remove it from the store, then here.
void dbk_js_remove_consumer(dbk_js_consumer *consumer);
/// Early messages of one that could not be opened: pulls are told `status_block`.
void dbk_js_refuse_early(dbk_js_consumer *consumer, dbk_slice status_block);
/// "100 Idle Heartbeat"; `stalled` empty: not.
void dbk_js_send_heartbeat(const dbk_js_consumer *consumer, dbk_slice to, dbk_slice stalled);

// pull.c

/// A call CONSUMER.MSG.NEXT.<stream>.<consumer>; on the loop.
void dbk_js_serve_pull(dbk_jetstream *jetstream, dbk_client *from, dbk_slice subject,
                       const dbk_message *message);
/// A request for messages: `body` is a pull request's, answers go to `reply`.
void dbk_js_begin_pull(dbk_js_consumer *consumer, dbk_slice reply, dbk_slice body);
dbk_js_plan dbk_js_plan_pulls(dbk_js_consumer *consumer);
/// To the next request in turn. False: nobody wants it.
bool dbk_js_give_to_pull(dbk_js_consumer *consumer, const dbk_js_plan *plan, const dbk_js_outgoing *outgoing);
/// A delivery has ended: what fell due meanwhile.
void dbk_js_check_pulls(dbk_js_consumer *consumer);
/// The store has nothing more for now: requests that do not wait end.
void dbk_js_end_oneshots(dbk_js_consumer *consumer);
/// The next message has more bytes than the request of this number wants, which may be gone by now.
void dbk_js_end_small_pull(dbk_js_consumer *consumer, uint64_t number);
/// All requests end with this.
void dbk_js_end_pulls(dbk_js_consumer *consumer, dbk_slice status_block);
void dbk_js_pull_timer_fired(dbk_timer *timer);
/// Requests of the client that was pinned end with this status: it is not any more.
void dbk_js_end_pinned_pulls(dbk_js_consumer *consumer, dbk_slice status_block);
/// Requests that wait, those whose inbox is gone left out: where many wait as of the last 100 ms, so that
/// anybody may ask as often as they like.
size_t dbk_js_count_pulls(dbk_js_consumer *consumer);
/// The same as of now. Takes time by their number: not for what clients ask for.
size_t dbk_js_count_pulls_now(dbk_js_consumer *consumer);

#endif
