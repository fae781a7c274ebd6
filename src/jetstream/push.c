// SPDX-License-Identifier: Apache-2.0
// Push consumers: delivered while somebody listens on the deliver subject who may have what is delivered: on
// this very subject, as with nats-server. Whoever has subscribed to `>` to look on would else have messages
// taken for delivered that the consumer's own listener, which is not there yet, never saw. What is delivered
// reaches those that look on as well.
//
// Interest is watched in the trie: with the first listener delivery begins, with the last one it stops, and
// inactivity begins. Members of a deliver group are told apart by the trie as ever: one of them gets each
// message. The trie knows subjects only: `has_listeners`. Whether one of them is a connection that may have
// the subject (not a rule against it, not a stream that captures it) is asked before each fetch and kept in
// `is_bound`; else messages would be fetched for nobody and be lost, or given up. While there are only such
// listeners it is asked again every second, since the trie does not tell of a second listener.
//
// Flow control, as nats-server has it: the server counts the bytes it sent. When half of a window is out it
// sends "100 FlowControl Request" behind them, whose reply subject is $JS.FC.<stream>.<consumer>.<id>; the
// client answers there when it has got that far. Then the bytes up to the request no longer count, and the
// window doubles up to 32 MiB. With a whole window out nothing is delivered; heartbeats name the request that
// is not answered (Nats-Consumer-Stalled).
//
// A rate limit is a bucket of bits that fills with time and holds a second's worth; a message may overdraw
// it.
//
// Heartbeats come when nothing was delivered for idle_heartbeat.
#include "jetstream/push.h"

#include <stdio.h>

#include "base/bytes.h"
#include "base/time.h"
#include "daybook/subject.h"
#include "jetstream/api_call.h"
#include "proto/status.h"

enum {
    WINDOW_START = 256 << 10, // bytes
    WINDOW_MAX = 32 << 20,
    ROUND_COUNT_MAX = 256,
    ARENA_CHUNK = 16 << 10,
    FLOW_SUBJECT_MAX = 600,
    LOOK_AGAIN_MS = 1000,
};

struct dbk_js_push {
    dbk_js_consumer *consumer; // whose it is
    char *subject;
    dbk_interest_watch watch;
    bool has_listeners; // as the trie says
    dbk_timer look;     // runs while there are listeners of whom none may have it
    dbk_timer heartbeat;
    dbk_timer refill; // rate limit: when there is something in the bucket again
    int64_t sent_ns;  // last message
    // Flow control.
    uint64_t out_bytes; // sent and not answered
    uint64_t window_bytes;
    uint64_t asked_bytes; // of out_bytes, what the request that waits stands for
    uint64_t flow_count;  // requests so far
    bool is_asking;
    char flow_subject[FLOW_SUBJECT_MAX]; // of the request that waits
    // Rate limit.
    double bucket_bits;
    int64_t bucket_ns; // when it was so full
};

// ---- Flow control -----------------------------------------------------------------------------------------

static void ask_for_flow(dbk_js_consumer *consumer) {
    dbk_js_push *push = consumer->push;
    push->flow_count++;
    int size = snprintf(push->flow_subject, sizeof push->flow_subject, "$JS.FC.%.*s.%.*s.%llx",
                        (int)consumer->stream->name.size, (const char *)consumer->stream->name.data,
                        (int)consumer->name.size, (const char *)consumer->name.data,
                        (unsigned long long)push->flow_count);
    if (size < 0 || (size_t)size >= sizeof push->flow_subject) return;
    push->is_asking = true;
    push->asked_bytes = push->out_bytes;
    dbk_slice block = dbk_status_block(DBK_STATUS_FLOW_CONTROL);
    dbk_slice subject = daybook_text(push->subject);
    dbk_message message = {.subject = subject,
                           .reply = daybook_text(push->flow_subject),
                           .payload = block,
                           .header_size = block.size};
    (void)dbk_route_to(dbk_js_broker_of(consumer), subject, &message);
}

static void begin_flow(dbk_js_push *push) {
    push->out_bytes = push->asked_bytes = 0;
    push->window_bytes = WINDOW_START;
    push->is_asking = false;
}

void dbk_js_serve_flow(void *context, dbk_client *from, const dbk_message *message) {
    dbk_jetstream *jetstream = context;
    (void)from;
    dbk_js_consumer *consumer =
        dbk_js_find_consumer(jetstream, dbk_js_token(message->subject, 2), dbk_js_token(message->subject, 3));
    dbk_js_push *push = consumer == NULL ? NULL : consumer->push;
    if (push == NULL || !push->is_asking ||
        !dbk_slice_equal(message->subject, daybook_text(push->flow_subject)))
        return;
    push->is_asking = false;
    push->out_bytes -= push->asked_bytes;
    if (push->window_bytes < WINDOW_MAX) push->window_bytes *= 2;
    dbk_js_note_use(consumer);
    dbk_js_deliver(consumer);
}

// ---- Rate limit -------------------------------------------------------------------------------------------

static void fill_bucket(dbk_js_consumer *consumer) {
    dbk_js_push *push = consumer->push;
    int64_t now_ns = dbk_broker_now_ns(dbk_js_broker_of(consumer));
    double rate = (double)consumer->rules.rate_limit_bps;
    push->bucket_bits += (double)(now_ns - push->bucket_ns) / (double)DBK_SECOND_NS * rate;
    if (push->bucket_bits > rate) push->bucket_bits = rate;
    push->bucket_ns = now_ns;
}

static bool is_over_rate(dbk_js_consumer *consumer) {
    dbk_js_push *push = consumer->push;
    if (consumer->rules.rate_limit_bps == 0) return false;
    fill_bucket(consumer);
    if (push->bucket_bits > 0) return false;
    double wait_ns = (1 - push->bucket_bits) / (double)consumer->rules.rate_limit_bps * (double)DBK_SECOND_NS;
    dbk_broker_start_timer(dbk_js_broker_of(consumer), &push->refill, (int64_t)wait_ns + 1);
    return true;
}

static void refilled(dbk_timer *timer) {
    dbk_js_deliver(DBK_OWNER(timer, dbk_js_push, refill)->consumer);
}

// ---- Listeners --------------------------------------------------------------------------------------------

static void start_heartbeat(dbk_js_consumer *consumer) {
    dbk_broker *broker = dbk_js_broker_of(consumer);
    consumer->push->sent_ns = dbk_broker_now_ns(broker);
    dbk_broker_stop_timer(broker, &consumer->push->heartbeat);
    if (consumer->rules.idle_heartbeat_ns > 0)
        dbk_broker_start_timer(broker, &consumer->push->heartbeat, consumer->rules.idle_heartbeat_ns);
}

static bool is_wanted(const dbk_js_consumer *consumer) {
    const dbk_js_push *push = consumer->push;
    return push->has_listeners &&
           dbk_route_is_wanted_exactly(dbk_js_broker_of(consumer), daybook_text(push->subject));
}

// True: somebody listens now, and nobody did when it was last asked. Begins no delivery: planning one asks,
// too.
static bool look_for_listeners(dbk_js_consumer *consumer) {
    dbk_js_push *push = consumer->push;
    dbk_broker *broker = dbk_js_broker_of(consumer);
    bool was_bound = atomic_load(&consumer->is_bound);
    bool is_bound = is_wanted(consumer);
    dbk_broker_stop_timer(broker, &push->look);
    if (push->has_listeners && !is_bound)
        dbk_broker_start_timer(broker, &push->look, LOOK_AGAIN_MS * DBK_MILLISECOND_NS);
    if (is_bound == was_bound) return false;
    atomic_store(&consumer->is_bound, is_bound);
    dbk_js_note_use(consumer);
    if (!is_bound) return false;
    begin_flow(push); // who listens now was not asked before
    start_heartbeat(consumer);
    return true;
}

static void look_and_deliver(dbk_js_consumer *consumer) {
    if (!look_for_listeners(consumer)) return;
    consumer->may_have_more = consumer->woken_meanwhile = true;
    dbk_js_deliver(consumer);
}

bool dbk_js_is_push_bound(dbk_js_consumer *consumer) {
    if (consumer->push != NULL) look_and_deliver(consumer);
    return atomic_load(&consumer->is_bound);
}

static void look_again(dbk_timer *timer) {
    look_and_deliver(DBK_OWNER(timer, dbk_js_push, look)->consumer);
}

static void listeners_changed(dbk_interest_watch *watch, bool has_interest) {
    dbk_js_push *push = watch->context;
    push->has_listeners = has_interest;
    look_and_deliver(push->consumer);
}

// ---- Delivering -------------------------------------------------------------------------------------------

dbk_js_plan dbk_js_plan_push(dbk_js_consumer *consumer) {
    const dbk_js_push *push = consumer->push;
    dbk_js_plan plan = {.count = ROUND_COUNT_MAX};
    (void)look_for_listeners(consumer);
    if (!atomic_load(&consumer->is_bound) || is_over_rate(consumer)) return (dbk_js_plan){0};
    if (consumer->rules.flow_control) {
        if (push->out_bytes >= push->window_bytes) return (dbk_js_plan){0};
        plan.bytes = push->window_bytes - push->out_bytes;
        if (plan.bytes > DBK_JS_DELIVERY_BYTES_MAX) plan.bytes = DBK_JS_DELIVERY_BYTES_MAX;
    }
    // As much as may be overdrawn at once: an eighth of a second's worth.
    if (consumer->rules.rate_limit_bps > 0) {
        uint64_t bytes = consumer->rules.rate_limit_bps / 64 + 1;
        if (plan.bytes == 0 || bytes < plan.bytes) plan.bytes = bytes;
    }
    return plan;
}

bool dbk_js_give_to_push(dbk_js_consumer *consumer, const dbk_js_outgoing *outgoing) {
    dbk_js_push *push = consumer->push;
    if (dbk_route_to(dbk_js_broker_of(consumer), daybook_text(push->subject), &outgoing->message) == 0)
        return false;
    uint64_t size = dbk_js_outgoing_size(outgoing);
    push->sent_ns = dbk_broker_now_ns(dbk_js_broker_of(consumer));
    if (consumer->rules.rate_limit_bps > 0) push->bucket_bits -= 8 * (double)size;
    if (!consumer->rules.flow_control) return true;
    push->out_bytes += size;
    if (!push->is_asking && push->out_bytes >= push->window_bytes / 2) ask_for_flow(consumer);
    return true;
}

static void heartbeat(dbk_timer *timer) {
    dbk_js_push *push = DBK_OWNER(timer, dbk_js_push, heartbeat);
    dbk_js_consumer *consumer = push->consumer;
    dbk_broker *broker = dbk_js_broker_of(consumer);
    int64_t idle_ns = consumer->rules.idle_heartbeat_ns;
    if (idle_ns <= 0) return;
    if (!dbk_js_is_push_bound(consumer)) return; // who listens next starts it
    int64_t due_ns = dbk_time_after(push->sent_ns, idle_ns);
    if (due_ns <= dbk_broker_now_ns(broker)) {
        bool is_stalled = push->is_asking && push->out_bytes >= push->window_bytes;
        due_ns = dbk_time_after(dbk_broker_now_ns(broker), idle_ns);
        push->sent_ns = dbk_broker_now_ns(broker);
        dbk_timer_start_at(&broker->timers, &push->heartbeat, due_ns);
        dbk_js_send_heartbeat(consumer, daybook_text(push->subject),
                              is_stalled ? daybook_text(push->flow_subject) : daybook_bytes(NULL, 0));
        return;
    }
    dbk_timer_start_at(&broker->timers, &push->heartbeat, due_ns);
}

// ---- Start and stop ---------------------------------------------------------------------------------------

void dbk_js_stop_push(dbk_js_consumer *consumer) {
    dbk_js_push *push = consumer->push;
    if (push == NULL) return;
    dbk_broker *broker = dbk_js_broker_of(consumer);
    dbk_interest_watch_stop(broker->interest, &push->watch);
    dbk_broker_stop_timer(broker, &push->look);
    dbk_broker_stop_timer(broker, &push->heartbeat);
    dbk_broker_stop_timer(broker, &push->refill);
    atomic_store(&consumer->is_bound, false);
    consumer->push = NULL;
    dbk_free(consumer->stream->jetstream->allocator, push->subject);
    dbk_free(consumer->stream->jetstream->allocator, push);
}

void dbk_js_start_push(dbk_js_consumer *consumer) {
    const daybook_allocator *allocator = consumer->stream->jetstream->allocator;
    dbk_js_push *push = consumer->push;
    if (push != NULL && strcmp(push->subject, consumer->deliver_subject) == 0) {
        start_heartbeat(consumer); // the rest of what may have changed is looked at when delivering
        return;
    }
    dbk_js_stop_push(consumer);
    push = dbk_alloc_zeroed(allocator, sizeof *push);
    char *subject = dbk_copy_text(allocator, daybook_text(consumer->deliver_subject));
    if (push == NULL || subject == NULL) {
        dbk_free(allocator, push);
        dbk_free(allocator, subject);
        dbk_broker_log(dbk_js_broker_of(consumer), ERROR,
                       "JetStream consumer '%.*s > %.*s' cannot push: out of memory",
                       (int)consumer->stream->name.size, (const char *)consumer->stream->name.data,
                       (int)consumer->name.size, (const char *)consumer->name.data);
        return;
    }
    push->consumer = consumer;
    push->subject = subject;
    push->bucket_bits = (double)consumer->rules.rate_limit_bps;
    push->bucket_ns = dbk_broker_now_ns(dbk_js_broker_of(consumer));
    push->watch.changed = listeners_changed;
    push->watch.context = push;
    dbk_timer_init(&push->look, look_again);
    dbk_timer_init(&push->heartbeat, heartbeat);
    dbk_timer_init(&push->refill, refilled);
    begin_flow(push);
    consumer->push = push;
    push->has_listeners =
        dbk_interest_watch_start(dbk_js_broker_of(consumer)->interest, daybook_text(subject), &push->watch);
    (void)look_for_listeners(consumer); // the caller delivers
}

// ---- After a start ----------------------------------------------------------------------------------------

// Names of consumers that push, one behind the other, each stream and consumer NUL-terminated.
typedef struct finding {
    dbk_job job;
    dbk_jetstream *jetstream;
    dbk_arena *arena;
    dbk_buf names;
    daybook_status status;
} finding;

static int note_pushing(void *context, const daybook_consumer_info *info) {
    finding *find = context;
    dbk_api_consumer_config config;
    dbk_arena_reset(find->arena);
    if (dbk_api_consumer_config_from_store(&info->config, find->arena, &config, NULL) &&
        config.deliver_subject.size > 0) {
        dbk_buf_append_text(&find->names, info->stream);
        dbk_buf_append_text(&find->names, info->config.name);
    }
    return find->names.failed;
}

static void run_finding(dbk_job *job) {
    finding *find = DBK_OWNER(job, finding, job);
    if (atomic_load(&find->jetstream->is_stopping)) return;
    find->status =
        daybook_consumer_list(find->jetstream->store, daybook_bytes(NULL, 0), note_pushing, find, NULL);
    if (find->status == DAYBOOK_OK) find->status = dbk_buf_status(&find->names);
}

static void found(dbk_job *job) {
    finding *find = DBK_OWNER(job, finding, job);
    dbk_jetstream *jetstream = find->jetstream;
    dbk_reader reader;
    dbk_reader_init(&reader, daybook_bytes(find->names.data, find->names.size));
    while (dbk_reader_left(&reader) > 0 && !jetstream->is_stopping) {
        dbk_slice stream_name = dbk_read_text(&reader);
        dbk_slice name = dbk_read_text(&reader);
        dbk_js_stream *stream = dbk_js_find_stream(jetstream, stream_name);
        dbk_js_consumer *consumer = stream == NULL ? NULL : dbk_js_get_consumer(stream, name);
        if (consumer != NULL) dbk_js_open_consumer(consumer);
    }
    if (find->status != DAYBOOK_OK)
        dbk_broker_log(jetstream->broker, ERROR, "JetStream consumers that push are not all found: %s",
                       daybook_status_text(find->status));
    dbk_buf_deinit(&find->names);
    dbk_arena_free(find->arena);
    dbk_free(jetstream->allocator, find);
    dbk_js_end_call(jetstream);
}

daybook_status dbk_js_find_pushing(dbk_jetstream *jetstream) {
    finding *find = dbk_alloc_zeroed(jetstream->allocator, sizeof *find);
    if (find == NULL) return DAYBOOK_ENOMEM;
    if (dbk_arena_new(jetstream->allocator, ARENA_CHUNK, &find->arena) != DAYBOOK_OK) {
        dbk_free(jetstream->allocator, find);
        return DAYBOOK_ENOMEM;
    }
    find->jetstream = jetstream;
    find->job.run = run_finding;
    find->job.done = found;
    dbk_buf_init(&find->names, jetstream->allocator, SIZE_MAX);
    dbk_js_begin_call(jetstream, &find->job);
    return DAYBOOK_OK;
}
