// SPDX-License-Identifier: Apache-2.0
// Pull requests: who waits for messages of a consumer, and what they are told besides.
//
//     no_wait           what is there, then 404 No Messages, or 408 Request Timeout where some came
//     expires           408 Request Timeout when the time is over
//     max_bytes         409 Message Size Exceeds MaxBytes when the next message has more than is left
//     idle_heartbeat    100 Idle Heartbeat when nothing came for so long
//     a long request    400 Bad Request, unread
//     group …           group.h: who may have messages is asked for each
//     too many wait     409 Exceeded MaxWaiting
//
// Requests get messages in turn, one each, so that those who compete share. A request with max_bytes is
// served alone when it is its turn, since the store must know what fits. A request whose inbox nobody listens
// on any more is forgotten when it is met. While a delivery is under way no request expires: what was fetched
// for it shall not come too late.
//
// Whose inbox is gone is looked for where the count matters: by a request that finds no room, and for infos.
// That is a walk over all, on the loop, and costs others what it takes; so a list longer than
// SWEPT_ALWAYS_MAX is walked every SWEEP_PAUSE_MS at most, and in between the count is as of then. A refused
// request costs no walk.
//
// One timer per consumer, set to the earliest time that matters to any request.
#include "base/bytes.h"
#include "base/number.h"
#include "base/time.h"
#include "jetstream/api_call.h"
#include "jetstream/delivery.h"
#include "jetstream/group.h"
#include "proto/headers.h"
#include "proto/status.h"

#include <stdio.h>

enum {
    ARENA_CHUNK = 2 << 10,
    WAITING_MAX = 16384,   // of a consumer, also where it allows more: each look takes all of them
    SWEPT_ALWAYS_MAX = 32, // requests; some 10 us
    SWEEP_PAUSE_MS = 100,
    REQUEST_SIZE_MAX = 4096, // they are read on the loop, and have some 200 bytes
};

// Who asks for them more often gets them as often as this.
static const int64_t heartbeat_min_ns = 10 * DBK_MILLISECOND_NS;

struct dbk_js_pull {
    dbk_js_pull *next;
    uint64_t number; // of those of the consumer
    dbk_js_group_request group;
    uint64_t left;       // messages
    uint64_t given;      // so far
    uint64_t bytes_left; // where it has max_bytes
    bool has_max_bytes;
    bool no_wait;
    int64_t expires_at_ns;   // INT64_MAX: never
    int64_t heartbeat_ns;    // 0: none
    int64_t heartbeat_at_ns; // INT64_MAX: none
    size_t reply_size;
    uint8_t reply[];
};

static dbk_slice reply_of(const dbk_js_pull *pull) {
    return daybook_bytes(pull->reply, pull->reply_size);
}

// ---- The list ---------------------------------------------------------------------------------------------

// Behind `before`; NULL: at the head.
static void insert_behind(dbk_js_consumer *consumer, dbk_js_pull *before, dbk_js_pull *pull) {
    dbk_js_pull **link = before == NULL ? &consumer->first_pull : &before->next;
    pull->next = *link;
    *link = pull;
    if (pull->next == NULL) consumer->last_pull = pull;
}

// Behind all of its priority and of better ones. Mostly they have one priority.
static void append(dbk_js_consumer *consumer, dbk_js_pull *pull) {
    dbk_js_pull *before = consumer->last_pull;
    if (before != NULL && before->group.priority > pull->group.priority) {
        before = NULL;
        for (dbk_js_pull *at = consumer->first_pull; at->group.priority <= pull->group.priority;
             at = at->next)
            before = at;
    }
    insert_behind(consumer, before, pull);
}

// Before all of its priority.
static void prepend(dbk_js_consumer *consumer, dbk_js_pull *pull) {
    dbk_js_pull *before = NULL;
    for (dbk_js_pull *at = consumer->first_pull; at != NULL && at->group.priority < pull->group.priority;
         at = at->next)
        before = at;
    insert_behind(consumer, before, pull);
}

// It follows `before`; NULL: it is the head.
static void unlink_behind(dbk_js_consumer *consumer, dbk_js_pull *before, dbk_js_pull *pull) {
    *(before == NULL ? &consumer->first_pull : &before->next) = pull->next;
    if (consumer->last_pull == pull) consumer->last_pull = before;
}

static dbk_js_pull *take_first(dbk_js_consumer *consumer) {
    dbk_js_pull *pull = consumer->first_pull;
    unlink_behind(consumer, NULL, pull);
    return pull;
}

// The first that may have messages, with the one before it; NULL: none may.
static dbk_js_pull *first_in_turn(const dbk_js_consumer *consumer, dbk_js_pull **before_out) {
    *before_out = NULL;
    for (dbk_js_pull *pull = consumer->first_pull; pull != NULL; *before_out = pull, pull = pull->next)
        if (dbk_js_group_share(consumer, &pull->group, pull->left) > 0) return pull;
    return NULL;
}

static void forget(dbk_js_consumer *consumer, dbk_js_pull *pull) {
    (void)atomic_fetch_sub(&consumer->pull_count, 1);
    dbk_free(consumer->stream->jetstream->allocator, pull);
}

// By a connection that may have it: a stream that captures the inbox would keep a request waiting for ever.
static bool is_listened_to(const dbk_js_consumer *consumer, const dbk_js_pull *pull) {
    return dbk_route_is_wanted(dbk_js_broker_of(consumer), reply_of(pull));
}

// Each request once, in order: those for which `ends` says so leave the list.
static void sweep(dbk_js_consumer *consumer, bool (*ends)(dbk_js_consumer *consumer, dbk_js_pull *pull)) {
    dbk_js_pull *pull = consumer->first_pull;
    consumer->first_pull = consumer->last_pull = NULL;
    while (pull != NULL) {
        dbk_js_pull *next = pull->next;
        if (ends(consumer, pull)) {
            forget(consumer, pull);
        } else {
            append(consumer, pull);
        }
        pull = next;
    }
}

// ---- What requests are told -------------------------------------------------------------------------------

static void tell(const dbk_js_consumer *consumer, dbk_slice reply, dbk_slice block) {
    (void)dbk_broker_reply(dbk_js_broker_of(consumer), reply, block, daybook_bytes(NULL, 0));
}

// A status with how much of the request is left.
static void tell_left(const dbk_js_consumer *consumer, const dbk_js_pull *pull, dbk_slice line) {
    dbk_buf *out = dbk_js_begin_answer(consumer->stream->jetstream);
    dbk_buf_append_slice(out, line);
    dbk_headers_add_number(out, daybook_text("Nats-Pending-Messages"), pull->left);
    dbk_headers_add_number(out, daybook_text("Nats-Pending-Bytes"), pull->bytes_left);
    dbk_headers_end(out);
    dbk_js_end_answer(consumer->stream->jetstream, reply_of(pull), true);
}

static void tell_limit(const dbk_js_consumer *consumer, dbk_slice reply, const char *text) {
    char block[128];
    (void)snprintf(block, sizeof block, "NATS/1.0 409 %s\r\n\r\n", text);
    tell(consumer, reply, daybook_text(block));
}

// ---- Time -------------------------------------------------------------------------------------------------

static void start_timer(dbk_js_consumer *consumer, const dbk_js_pull *pull) {
    int64_t due_ns = pull->expires_at_ns < pull->heartbeat_at_ns ? pull->expires_at_ns
                                                                 : pull->heartbeat_at_ns;
    if (due_ns == INT64_MAX) return;
    if (consumer->pull_timer.is_active && consumer->pull_timer.due_ns <= due_ns) return;
    dbk_timer_start_at(&dbk_js_broker_of(consumer)->timers, &consumer->pull_timer, due_ns);
}

static bool ends_by_time(dbk_js_consumer *consumer, dbk_js_pull *pull) {
    int64_t now_ns = dbk_broker_now_ns(dbk_js_broker_of(consumer));
    if (pull->expires_at_ns <= now_ns && consumer->delivery == NULL) {
        tell_left(consumer, pull, dbk_status_line(DBK_STATUS_REQUEST_TIMEOUT));
        return true;
    }
    if (pull->heartbeat_at_ns <= now_ns) {
        if (!is_listened_to(consumer, pull)) return true;
        dbk_js_send_heartbeat(consumer, reply_of(pull), daybook_bytes(NULL, 0));
        pull->heartbeat_at_ns = dbk_time_after(now_ns, pull->heartbeat_ns);
    }
    return false;
}

// At the end of each delivery: a walk over all that wait is made only where the timer has fired meanwhile.
// What else changes moves times away, and new requests set the timer themselves.
void dbk_js_check_pulls(dbk_js_consumer *consumer) {
    if (!consumer->pulls_are_due) return;
    sweep(consumer, ends_by_time);
    if (consumer->delivery != NULL) return; // its end comes back here
    consumer->pulls_are_due = false;
    dbk_broker_stop_timer(dbk_js_broker_of(consumer), &consumer->pull_timer);
    for (const dbk_js_pull *pull = consumer->first_pull; pull != NULL; pull = pull->next)
        start_timer(consumer, pull);
}

void dbk_js_pull_timer_fired(dbk_timer *timer) {
    dbk_js_consumer *consumer = DBK_OWNER(timer, dbk_js_consumer, pull_timer);
    consumer->pulls_are_due = true;
    dbk_js_check_pulls(consumer);
}

// ---- Giving -----------------------------------------------------------------------------------------------

static bool ends_without_waiting(dbk_js_consumer *consumer, dbk_js_pull *pull) {
    if (!pull->no_wait) return false;
    if (pull->given > 0) {
        tell_left(consumer, pull, dbk_status_line(DBK_STATUS_REQUEST_TIMEOUT));
        return true;
    }
    if (pull->expires_at_ns != INT64_MAX) return false; // it waits for the first one
    tell(consumer, reply_of(pull), dbk_status_block(DBK_STATUS_NO_MESSAGES));
    return true;
}

static uint64_t at_most(uint64_t count, uint64_t max) {
    return count < max ? count : max;
}

// Those that may have some besides the first, without max_bytes.
static dbk_js_plan plan_from(const dbk_js_consumer *consumer, const dbk_js_pull *first) {
    dbk_js_plan plan = {0};
    uint64_t count = 0;
    for (const dbk_js_pull *pull = first; pull != NULL && count < DBK_JS_DELIVERY_COUNT_MAX;
         pull = pull->next) {
        uint64_t share = dbk_js_group_share(consumer, &pull->group, pull->left);
        if (pull->has_max_bytes || share == 0) continue;
        count += at_most(share, DBK_JS_DELIVERY_COUNT_MAX);
        plan.has_oneshots = plan.has_oneshots || pull->no_wait;
        if (dbk_js_group_is_exclusive(consumer)) break;
    }
    plan.count = (size_t)at_most(count, DBK_JS_DELIVERY_COUNT_MAX);
    return plan;
}

static bool asks_for_counts(const dbk_js_consumer *consumer) {
    for (const dbk_js_pull *pull = consumer->first_pull; pull != NULL; pull = pull->next)
        if (dbk_js_group_has_threshold(&pull->group)) return true;
    return false;
}

dbk_js_plan dbk_js_plan_pulls(dbk_js_consumer *consumer) {
    dbk_js_pull *before;
    dbk_js_pull *first;
    while (consumer->first_pull != NULL && !is_listened_to(consumer, consumer->first_pull))
        forget(consumer, take_first(consumer));
    if (!consumer->counts_are_fresh && asks_for_counts(consumer)) return (dbk_js_plan){.measures = true};
    while ((first = first_in_turn(consumer, &before)) != NULL && !is_listened_to(consumer, first)) {
        unlink_behind(consumer, before, first);
        forget(consumer, first);
    }
    if (first == NULL) {
        if (consumer->first_pull == NULL) return (dbk_js_plan){0};
        sweep(consumer, ends_without_waiting); // there is nothing for them
        dbk_js_group_look_again(consumer);
        return (dbk_js_plan){0};
    }
    dbk_js_plan plan;
    if (first->has_max_bytes) {
        uint64_t share = dbk_js_group_share(consumer, &first->group, first->left);
        plan = (dbk_js_plan){.count = (size_t)at_most(share, DBK_JS_DELIVERY_COUNT_MAX),
                             .bytes = first->bytes_left,
                             .pull = first->number,
                             .has_oneshots = first->no_wait,
                             .is_strict = true};
    } else {
        plan = plan_from(consumer, first);
    }
    dbk_js_group_plan_pin(consumer, &plan);
    return plan;
}

static void note_given(dbk_js_consumer *consumer, dbk_js_pull *pull, uint64_t size) {
    pull->left--;
    pull->given++;
    pull->bytes_left -= size < pull->bytes_left ? size : pull->bytes_left;
    if (pull->heartbeat_ns > 0)
        pull->heartbeat_at_ns =
            dbk_time_after(dbk_broker_now_ns(dbk_js_broker_of(consumer)), pull->heartbeat_ns);
    if (pull->left == 0 || (pull->has_max_bytes && pull->bytes_left == 0)) {
        forget(consumer, pull);
    } else if (pull->has_max_bytes) {
        prepend(consumer, pull);
    } else {
        append(consumer, pull);
    }
}

// The first in turn it fits. Where it fits nobody it is for the first in turn: what the store took to fit may
// be some bytes more with the acknowledgement's subject, or its request is gone.
static dbk_js_pull *next_taker(dbk_js_consumer *consumer, uint64_t size) {
    dbk_js_pull *before;
    dbk_js_pull *first = first_in_turn(consumer, &before);
    if (first == NULL) return NULL;
    dbk_js_pull *before_this = before;
    for (dbk_js_pull *pull = first; pull != NULL; before_this = pull, pull = pull->next) {
        if (pull->has_max_bytes && size > pull->bytes_left) continue;
        if (dbk_js_group_share(consumer, &pull->group, pull->left) == 0) continue;
        unlink_behind(consumer, before_this, pull);
        return pull;
    }
    unlink_behind(consumer, before, first);
    return first;
}

bool dbk_js_give_to_pull(dbk_js_consumer *consumer, const dbk_js_plan *plan,
                         const dbk_js_outgoing *outgoing) {
    uint64_t size = dbk_js_outgoing_size(outgoing);
    if (dbk_js_group_is_void(consumer, plan)) return false;
    for (;;) {
        dbk_js_pull *pull = next_taker(consumer, size);
        if (pull == NULL) return false;
        if (dbk_route_to(dbk_js_broker_of(consumer), reply_of(pull), &outgoing->message) > 0) {
            dbk_js_group_note_given(consumer, plan, &pull->group);
            note_given(consumer, pull, size);
            return true;
        }
        forget(consumer, pull);
    }
}

void dbk_js_end_oneshots(dbk_js_consumer *consumer) {
    sweep(consumer, ends_without_waiting);
}

void dbk_js_end_small_pull(dbk_js_consumer *consumer, uint64_t number) {
    if (consumer->first_pull == NULL || consumer->first_pull->number != number) return;
    dbk_js_pull *pull = take_first(consumer);
    tell_left(consumer, pull, dbk_status_line(DBK_STATUS_MESSAGE_EXCEEDS_MAX_BYTES));
    forget(consumer, pull);
}

static bool is_of_pinned(dbk_js_consumer *consumer, dbk_js_pull *pull) {
    (void)consumer;
    return pull->group.is_pinned;
}

void dbk_js_end_pinned_pulls(dbk_js_consumer *consumer, dbk_slice status_block) {
    for (const dbk_js_pull *pull = consumer->first_pull; pull != NULL; pull = pull->next)
        if (pull->group.is_pinned) tell(consumer, reply_of(pull), status_block);
    sweep(consumer, is_of_pinned);
}

void dbk_js_end_pulls(dbk_js_consumer *consumer, dbk_slice status_block) {
    dbk_broker_stop_timer(dbk_js_broker_of(consumer), &consumer->pull_timer);
    while (consumer->first_pull != NULL) {
        dbk_js_pull *pull = take_first(consumer);
        tell(consumer, reply_of(pull), status_block);
        forget(consumer, pull);
    }
}

static bool ends_without_listener(dbk_js_consumer *consumer, dbk_js_pull *pull) {
    return !is_listened_to(consumer, pull);
}

size_t dbk_js_count_pulls_now(dbk_js_consumer *consumer) {
    sweep(consumer, ends_without_listener);
    consumer->sweep_after_ns =
        dbk_time_after(dbk_broker_now_ns(dbk_js_broker_of(consumer)), SWEEP_PAUSE_MS * DBK_MILLISECOND_NS);
    return atomic_load(&consumer->pull_count);
}

size_t dbk_js_count_pulls(dbk_js_consumer *consumer) {
    size_t count = atomic_load(&consumer->pull_count);
    if (count > SWEPT_ALWAYS_MAX && dbk_broker_now_ns(dbk_js_broker_of(consumer)) < consumer->sweep_after_ns)
        return count;
    return dbk_js_count_pulls_now(consumer);
}

// ---- Asking -----------------------------------------------------------------------------------------------

// False: the request is refused, and told so.
static bool is_within_limits(const dbk_js_consumer *consumer, const dbk_api_pull_request *request,
                             dbk_slice reply) {
    char text[96];
    char duration[DBK_GO_DURATION_TEXT_SIZE];
    const dbk_js_consumer_rules *rules = &consumer->rules;
    if (rules->max_batch > 0 && request->batch > 0 && (uint64_t)request->batch > rules->max_batch) {
        (void)snprintf(text, sizeof text, "Exceeded MaxRequestBatch of %llu",
                       (unsigned long long)rules->max_batch);
    } else if (rules->max_expires_ns > 0 && request->expires_ns > rules->max_expires_ns) {
        (void)dbk_go_duration_format(rules->max_expires_ns, duration);
        (void)snprintf(text, sizeof text, "Exceeded MaxRequestExpires of %s", duration);
    } else if (rules->max_bytes > 0 && request->max_bytes > 0 &&
               (uint64_t)request->max_bytes > rules->max_bytes) {
        (void)snprintf(text, sizeof text, "Exceeded MaxRequestMaxBytes of %llu",
                       (unsigned long long)rules->max_bytes);
    } else {
        return true;
    }
    tell_limit(consumer, reply, text);
    return false;
}

static bool has_room(dbk_js_consumer *consumer, const dbk_api_pull_request *request, dbk_slice reply) {
    uint64_t max = consumer->rules.max_waiting;
    if (max == 0 || max > WAITING_MAX) max = WAITING_MAX;
    if (atomic_load(&consumer->pull_count) < max || dbk_js_count_pulls(consumer) < max) return true;
    // Who has a heartbeat notices by its absence, and asks again later.
    if (request->idle_heartbeat_ns == 0)
        tell(consumer, reply, dbk_status_block(DBK_STATUS_EXCEEDED_MAX_WAITING));
    return false;
}

static void wait_for_messages(dbk_js_consumer *consumer, const dbk_api_pull_request *request,
                              const dbk_js_group_request *group, dbk_slice reply) {
    int64_t now_ns = dbk_broker_now_ns(dbk_js_broker_of(consumer));
    int64_t heartbeat_ns = request->idle_heartbeat_ns;
    if (heartbeat_ns > 0 && heartbeat_ns < heartbeat_min_ns) heartbeat_ns = heartbeat_min_ns;
    dbk_js_pull *pull = dbk_alloc(consumer->stream->jetstream->allocator, sizeof *pull + reply.size);
    if (pull == NULL) return; // it asks again when its time is over
    *pull = (dbk_js_pull){
        .number = ++consumer->pull_number_last,
        .group = *group,
        .left = request->batch > 0 ? (uint64_t)request->batch : 1,
        .bytes_left = request->max_bytes > 0 ? (uint64_t)request->max_bytes : 0,
        .has_max_bytes = request->max_bytes > 0,
        .no_wait = request->no_wait,
        .expires_at_ns = request->expires_ns != 0 ? dbk_time_after(now_ns, request->expires_ns) : INT64_MAX,
        .heartbeat_ns = heartbeat_ns,
        .heartbeat_at_ns = heartbeat_ns > 0 ? dbk_time_after(now_ns, heartbeat_ns) : INT64_MAX,
        .reply_size = reply.size};
    memcpy(pull->reply, reply.data, reply.size);
    append(consumer, pull);
    (void)atomic_fetch_add(&consumer->pull_count, 1);
    start_timer(consumer, pull);
    if (request->no_wait)
        consumer->may_have_more = consumer->woken_meanwhile = true; // it is told what is there
    dbk_js_deliver(consumer);
}

static void tell_too_long(dbk_broker *broker, dbk_slice reply) {
    (void)dbk_broker_reply(broker, reply, daybook_text("NATS/1.0 400 Bad Request - request too long\r\n\r\n"),
                           daybook_bytes(NULL, 0));
}

void dbk_js_begin_pull(dbk_js_consumer *consumer, dbk_slice reply, dbk_slice body) {
    dbk_jetstream *jetstream = consumer->stream->jetstream;
    dbk_api_pull_request request;
    dbk_api_error error;
    dbk_arena *arena;
    dbk_js_group_request group;
    const char *refusal;
    dbk_js_note_use(consumer);
    if (reply.size == 0) return;
    if (consumer->push != NULL) {
        tell(consumer, reply, dbk_status_block(DBK_STATUS_CONSUMER_IS_PUSH));
        return;
    }
    if (body.size > REQUEST_SIZE_MAX) {
        tell_too_long(dbk_js_broker_of(consumer), reply);
        return;
    }
    if (dbk_arena_new(jetstream->allocator, ARENA_CHUNK, &arena) != DAYBOOK_OK) return;
    if (!dbk_api_read_pull(&jetstream->settings.dial, body, arena, &request, &error)) {
        char block[DBK_API_ERROR_TEXT_SIZE + 64];
        (void)snprintf(block, sizeof block, "NATS/1.0 400 Bad Request - %s\r\n\r\n", error.description);
        tell(consumer, reply, daybook_text(block));
    } else if ((refusal = dbk_js_group_read(consumer, &request, &group)) != NULL) {
        char block[128];
        (void)snprintf(block, sizeof block, "NATS/1.0 %s\r\n\r\n", refusal);
        tell(consumer, reply, daybook_text(block));
    } else if (is_within_limits(consumer, &request, reply) && has_room(consumer, &request, reply)) {
        wait_for_messages(consumer, &request, &group, reply);
    }
    dbk_arena_free(arena);
}

static void keep(dbk_js_consumer *consumer, dbk_client *from, const dbk_message *message) {
    if (message->payload.size - message->header_size > REQUEST_SIZE_MAX) {
        tell_too_long(dbk_js_broker_of(consumer), message->reply);
    } else if (!dbk_js_keep_early(consumer, from, message)) {
        tell(consumer, message->reply, dbk_status_block(DBK_STATUS_TOO_MANY_REQUESTS));
    }
    dbk_js_open_consumer(consumer);
}

void dbk_js_serve_pull(dbk_jetstream *jetstream, dbk_client *from, dbk_slice subject,
                       const dbk_message *message) {
    dbk_js_stream *stream = dbk_js_find_stream(jetstream, dbk_js_token(subject, 3));
    dbk_js_consumer *consumer = stream == NULL ? NULL
                                               : dbk_js_reach_consumer(stream, dbk_js_token(subject, 4));
    if (consumer == NULL) {
        (void)dbk_broker_reply(jetstream->broker, message->reply, dbk_status_block(DBK_STATUS_NO_RESPONDERS),
                               daybook_bytes(NULL, 0));
    } else if (!dbk_js_level_suffices(jetstream, dbk_message_headers(message))) {
        tell(consumer, message->reply, dbk_status_block(DBK_STATUS_API_LEVEL));
    } else if (consumer->state == DBK_JS_CONSUMER_OPEN) {
        dbk_js_begin_pull(consumer, message->reply, dbk_message_data(message));
    } else {
        keep(consumer, from, message);
    }
}
