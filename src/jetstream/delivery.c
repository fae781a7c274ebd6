// SPDX-License-Identifier: Apache-2.0
// A delivery: planned on the loop, fetched and written by a worker, routed on the loop.
//
// `may_have_more` is what keeps idle consumers free of jobs: true until a fetch said that there is nothing,
// and again once the store wakes the consumer (daybook_consumer_watch) or something falls due
// (daybook_consumer_next_due_ns). A wake-up that comes while a fetch is under way counts as coming behind it.
//
// The watch ends with the consumer, but not under a fetch: a consumer that is removed while a delivery is
// under way is watched until that has ended.
//
// Who asks for a consumer and listens already gets its first messages from the very job that makes it: a way
// to a worker and back costs as much as loading ten events. They are few, as the next call waits for that
// job.
//
// A message nobody took after all (its pull's client left in the meantime) is handed back to the store at
// once.
#include "jetstream/delivery.h"

#include "base/bytes.h"
#include "base/time.h"
#include "jetstream/advisory.h"
#include "jetstream/event_message.h"
#include "jetstream/group.h"
#include "jetstream/push.h"
#include "proto/ack.h"
#include "proto/headers.h"
#include "proto/status.h"

enum { BATCHES_MAX = 16, RETRY_MS = 1000, FIRST_COUNT_MAX = 32, FIRST_BYTES_MAX = 32 << 10 };
#define DUE_MAX_NS (INT64_C(100) * 365 * 86400 * DBK_SECOND_NS)

struct dbk_js_delivery {
    dbk_job job;
    dbk_js_consumer *consumer; // a reference; NULL: it has none yet (dbk_js_fetch_first)
    const dbk_jetstream *jetstream;
    daybook_consumer *handle; // the consumer's
    dbk_slice ack_prefix;
    dbk_js_plan plan;
    bool headers_only;
    // Made by the worker.
    daybook_status status; // of the last fetch: OK; TIMEOUT: there is no more; ELIMIT: too large
    int64_t due_ns;        // TIMEOUT: in so much time there may be something
    bool is_measured;
    uint64_t pending_count, ack_pending_count; // where measured
    bool is_held_up; // TIMEOUT: there are messages, but too many wait for an answer, or it is paused
    daybook_error error;
    daybook_batch *batches[BATCHES_MAX];
    size_t batch_count;
    size_t message_count;
    dbk_js_outgoing *messages;
    dbk_block *block;
};

// ---- Fetching: the worker ---------------------------------------------------------------------------------

static size_t reply_size_about(const dbk_js_delivery *delivery) {
    enum { NUMBERS_ABOUT = 27 }; // small ones and a time: rather too little, a few bytes more may go out then
    return delivery->ack_prefix.size + NUMBERS_ABOUT;
}

// About the bytes the messages will have: what their acknowledgements take is known when they are written.
static uint64_t batch_bytes(const dbk_js_delivery *delivery, const daybook_batch *batch) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < batch->count; i++) {
        const daybook_event *event = &batch->messages[i].event.event;
        bytes += event->subject.size + event->data.size + reply_size_about(delivery);
        for (size_t j = 0; j < event->header_count; j++)
            bytes += event->headers[j].name.size + event->headers[j].value.size;
    }
    return bytes;
}

static bool is_held_up(const dbk_js_consumer *consumer) {
    const dbk_js_stream *stream = consumer->stream;
    daybook_consumer_info *info;
    if (daybook_consumer_look(stream->jetstream->store, stream->name, consumer->name, &info, NULL) !=
        DAYBOOK_OK)
        return false;
    bool has_pending = info->pending_count > 0;
    daybook_consumer_info_release(stream->jetstream->store, info);
    return has_pending;
}

// As far as is known: a request that waits asks again and again. Where it fails nothing is known, and
// end_delivery deals with it as with a fetch that failed.
static void measure(dbk_js_delivery *delivery) {
    const dbk_js_consumer *consumer = delivery->consumer;
    const dbk_js_stream *stream = consumer->stream;
    daybook_consumer_info *info;
    delivery->status =
        daybook_consumer_look(stream->jetstream->store, stream->name, consumer->name, &info, NULL);
    if (delivery->status != DAYBOOK_OK) return;
    delivery->is_measured = true;
    delivery->pending_count = info->pending_count;
    delivery->ack_pending_count = info->ack_pending_count;
    daybook_consumer_info_release(stream->jetstream->store, info);
}

// Until there is no more, or as much as wanted: who gets less must be certain to be woken for the rest. A
// strict plan goes message by message, since what each takes of its bytes is more than the store knows of.
static void fetch(dbk_js_delivery *delivery) {
    uint64_t bytes_left = delivery->plan.bytes;
    size_t reply_size = reply_size_about(delivery);
    delivery->status = DAYBOOK_OK;
    while (delivery->status == DAYBOOK_OK && delivery->batch_count < BATCHES_MAX &&
           delivery->message_count < delivery->plan.count && bytes_left > 0) {
        daybook_fetch_options options;
        daybook_fetch_options_init(&options);
        options.count = delivery->plan.is_strict ? 1 : delivery->plan.count - delivery->message_count;
        options.max_bytes = !delivery->plan.is_strict ? bytes_left
                            : bytes_left > reply_size ? bytes_left - reply_size
                                                      : 1;
        options.timeout_ms = 0;
        if (delivery->plan.is_strict || delivery->message_count > 0)
            options.flags |= DAYBOOK_FETCH_STRICT_BYTES;
        daybook_batch *batch;
        daybook_error_init(&delivery->error);
        delivery->status = daybook_consumer_fetch(delivery->handle, &options, &batch, &delivery->error);
        if (delivery->status == DAYBOOK_TIMEOUT) {
            delivery->due_ns = daybook_consumer_next_due_ns(delivery->handle);
            delivery->is_held_up = delivery->plan.has_oneshots && is_held_up(delivery->consumer);
        }
        if (delivery->status != DAYBOOK_OK) break;
        delivery->batches[delivery->batch_count++] = batch;
        delivery->message_count += batch->count;
        uint64_t bytes = batch_bytes(delivery, batch);
        bytes_left = bytes < bytes_left ? bytes_left - bytes : 0;
    }
}

// ---- Writing: the worker ----------------------------------------------------------------------------------

static dbk_event_extras extras_of(const dbk_js_delivery *delivery, const daybook_message *message) {
    return (dbk_event_extras){.headers_only = delivery->headers_only,
                              .data_size = message->data_size,
                              .pin_id = daybook_text(delivery->plan.pin_id)};
}

static size_t bound_of(const dbk_js_delivery *delivery) {
    size_t bound = 0;
    size_t reply_bound = delivery->ack_prefix.size + DBK_ACK_NUMBERS_SIZE_MAX;
    for (size_t i = 0; i < delivery->batch_count; i++) {
        const daybook_batch *batch = delivery->batches[i];
        for (size_t j = 0; j < batch->count; j++) {
            dbk_event_extras extras = extras_of(delivery, &batch->messages[j]);
            bound += batch->messages[j].event.event.subject.size + reply_bound +
                     dbk_event_message_bound(&batch->messages[j].event, &extras);
        }
    }
    return bound;
}

static uint8_t *write_reply(const dbk_js_delivery *delivery, const daybook_message *message, uint8_t *at) {
    dbk_slice prefix = delivery->ack_prefix;
    dbk_ack_subject numbers = {.delivered = message->delivery_count,
                               .stream_sequence = message->event.seq,
                               .consumer_sequence = message->delivery,
                               .time_ns = message->event.recorded_ns,
                               .pending = message->pending_count};
    memcpy(at, prefix.data, prefix.size);
    return at + prefix.size + dbk_ack_numbers_encode(&numbers, (char *)at + prefix.size);
}

static uint8_t *write_message(const dbk_js_delivery *delivery, const daybook_message *message, uint8_t *at,
                              dbk_js_outgoing *outgoing) {
    dbk_slice subject = message->event.event.subject;
    dbk_event_extras extras = extras_of(delivery, message);
    outgoing->seq = message->event.seq;
    outgoing->number = message->delivery;
    outgoing->message.block = delivery->block;
    outgoing->message.subject = daybook_bytes(at, subject.size);
    memcpy(at, subject.data, subject.size);
    uint8_t *reply = at + subject.size;
    uint8_t *payload = write_reply(delivery, message, reply);
    outgoing->message.reply = daybook_bytes(reply, (size_t)(payload - reply));
    size_t size = dbk_event_message_write(&message->event, &extras, payload, &outgoing->message.header_size);
    outgoing->message.payload = daybook_bytes(payload, size);
    return payload + size;
}

static bool write_messages(dbk_js_delivery *delivery) {
    const daybook_allocator *allocator = delivery->jetstream->allocator;
    if (delivery->message_count == 0) return true;
    delivery->block = dbk_block_new(allocator, bound_of(delivery));
    delivery->messages = dbk_alloc_zeroed(allocator, delivery->message_count * sizeof *delivery->messages);
    if (delivery->block == NULL || delivery->messages == NULL) return false;
    uint8_t *at = delivery->block->data;
    dbk_js_outgoing *outgoing = delivery->messages;
    for (size_t i = 0; i < delivery->batch_count; i++)
        for (size_t j = 0; j < delivery->batches[i]->count; j++)
            at = write_message(delivery, &delivery->batches[i]->messages[j], at, outgoing++);
    return true;
}

// What could not be written comes again; where nothing is acknowledged it is lost, as it would be on its way.
static void give_back_all(dbk_js_delivery *delivery) {
    for (size_t i = 0; i < delivery->batch_count; i++)
        for (size_t j = 0; j < delivery->batches[i]->count; j++)
            (void)daybook_consumer_nak(delivery->handle, delivery->batches[i]->messages[j].event.seq, 0,
                                       NULL);
    delivery->message_count = 0;
    delivery->status = DAYBOOK_ENOMEM;
}

static void make_messages(dbk_js_delivery *delivery) {
    if (!write_messages(delivery)) give_back_all(delivery);
    for (size_t i = 0; i < delivery->batch_count; i++) daybook_batch_release(delivery->batches[i]);
}

static void run_delivery(dbk_job *job) {
    dbk_js_delivery *delivery = DBK_OWNER(job, dbk_js_delivery, job);
    if (delivery->plan.measures) {
        measure(delivery);
        return;
    }
    fetch(delivery);
    make_messages(delivery);
}

static void unwatch(dbk_js_consumer *consumer);

// ---- Routing: the loop ------------------------------------------------------------------------------------

static void hand_over(dbk_js_consumer *consumer, const dbk_js_plan *plan, const dbk_js_outgoing *outgoing) {
    if (outgoing->number <= consumer->void_number) return; // its consumer was reset meanwhile, and forgot it
    if (outgoing->number > consumer->delivered_number) consumer->delivered_number = outgoing->number;
    if (outgoing->seq > consumer->delivered_seq) consumer->delivered_seq = outgoing->seq;
    bool taken = !consumer->is_removed &&
                 (consumer->push != NULL ? dbk_js_give_to_push(consumer, outgoing)
                                         : dbk_js_give_to_pull(consumer, plan, outgoing));
    // NOT_PENDING where nothing is to be acknowledged: then it is gone, as it would be on its way to a
    // client.
    if (!taken) (void)daybook_consumer_nak(consumer->handle, outgoing->seq, 0, NULL);
}

// Where it could not be watched the next attempt is due as well.
static void start_due_timer(dbk_js_consumer *consumer, int64_t due_ns) {
    dbk_broker *broker = consumer->stream->jetstream->broker;
    if (!consumer->is_watched && due_ns > RETRY_MS * DBK_MILLISECOND_NS)
        due_ns = RETRY_MS * DBK_MILLISECOND_NS;
    dbk_broker_stop_timer(broker, &consumer->due_timer);
    if (due_ns < DUE_MAX_NS) dbk_broker_start_timer(broker, &consumer->due_timer, due_ns);
}

static void end_delivery(dbk_js_consumer *consumer, const dbk_js_delivery *delivery) {
    dbk_broker *broker = consumer->stream->jetstream->broker;
    switch (delivery->status) {
    case DAYBOOK_OK:
        return;
    case DAYBOOK_TIMEOUT:
        consumer->may_have_more = consumer->woken_meanwhile;
        start_due_timer(consumer, delivery->due_ns);
        if (!consumer->may_have_more && consumer->push == NULL && !delivery->is_held_up)
            dbk_js_end_oneshots(consumer);
        return;
    case DAYBOOK_ELIMIT: // what comes next is too large for what was left
        if (delivery->plan.is_strict) dbk_js_end_small_pull(consumer, delivery->plan.pull);
        return;
    case DAYBOOK_ENOTFOUND:
        dbk_js_drop_consumer(consumer, dbk_status_block(DBK_STATUS_CONSUMER_DELETED));
        return;
    default:
        consumer->may_have_more = false;
        if (delivery->status != DAYBOOK_ECLOSED)
            dbk_broker_log(broker, ERROR, "JetStream consumer '%.*s > %.*s' cannot deliver: %s",
                           (int)consumer->stream->name.size, (const char *)consumer->stream->name.data,
                           (int)consumer->name.size, (const char *)consumer->name.data,
                           delivery->error.message);
        // Damage does not mend itself, but room and memory come back.
        dbk_broker_start_timer(broker, &consumer->due_timer, RETRY_MS * DBK_MILLISECOND_NS);
    }
}

static void free_delivery(dbk_js_delivery *delivery) {
    const daybook_allocator *allocator = delivery->jetstream->allocator;
    dbk_block_unref(delivery->block);
    dbk_free(allocator, delivery->messages);
    dbk_free(allocator, delivery);
}

// It is the one under way.
static void take_consumer(dbk_js_delivery *delivery, dbk_js_consumer *consumer) {
    delivery->consumer = dbk_js_consumer_ref(consumer);
    delivery->jetstream = consumer->stream->jetstream;
    delivery->handle = consumer->handle;
    delivery->ack_prefix = consumer->ack_prefix;
    consumer->delivery = delivery;
    dbk_js_begin_job(consumer->stream->jetstream);
}

static void delivered(dbk_job *job) {
    dbk_js_delivery *delivery = DBK_OWNER(job, dbk_js_delivery, job);
    dbk_js_consumer *consumer = delivery->consumer;
    dbk_jetstream *jetstream = consumer->stream->jetstream;
    consumer->delivery = NULL;
    if (consumer->is_removed) unwatch(consumer);
    consumer->counts_are_fresh = delivery->is_measured;
    if (delivery->is_measured) {
        consumer->pending_count = delivery->pending_count;
        consumer->ack_pending_count = delivery->ack_pending_count;
    }
    for (size_t i = 0; i < delivery->message_count; i++)
        hand_over(consumer, &delivery->plan, &delivery->messages[i]);
    if (!consumer->is_removed) end_delivery(consumer, delivery);
    free_delivery(delivery);
    dbk_js_check_pulls(consumer);
    dbk_js_deliver(consumer);
    dbk_js_consumer_unref(consumer);
    dbk_js_end_job(jetstream);
}

void dbk_js_deliver(dbk_js_consumer *consumer) {
    dbk_jetstream *jetstream = consumer->stream->jetstream;
    if (consumer->state != DBK_JS_CONSUMER_OPEN || consumer->is_removed || consumer->delivery != NULL ||
        !consumer->may_have_more || jetstream->is_stopping)
        return;
    dbk_js_plan plan = consumer->push != NULL ? dbk_js_plan_push(consumer) : dbk_js_plan_pulls(consumer);
    if (plan.count == 0 && !plan.measures) return;
    dbk_js_delivery *delivery = dbk_alloc_zeroed(jetstream->allocator, sizeof *delivery);
    if (delivery == NULL) {
        dbk_broker_start_timer(jetstream->broker, &consumer->due_timer, RETRY_MS * DBK_MILLISECOND_NS);
        return;
    }
    delivery->job.run = run_delivery;
    delivery->job.done = delivered;
    delivery->job.is_slow = plan.measures; // it may count for long
    take_consumer(delivery, consumer);
    delivery->plan = plan;
    if (delivery->plan.count > DBK_JS_DELIVERY_COUNT_MAX) delivery->plan.count = DBK_JS_DELIVERY_COUNT_MAX;
    if (delivery->plan.bytes == 0) delivery->plan.bytes = DBK_JS_DELIVERY_BYTES_MAX;
    delivery->headers_only = consumer->rules.headers_only;
    consumer->woken_meanwhile = false;
    dbk_jobs_submit(jetstream->broker->jobs, &delivery->job);
}

// ---- The first messages
// -------------------------------------------------------------------------------------

// One batch: whether there is more is asked behind it, when these are on their way.
dbk_js_delivery *dbk_js_fetch_first(const dbk_jetstream *jetstream, const dbk_js_opened *opened,
                                    dbk_slice ack_prefix) {
    daybook_fetch_options options;
    dbk_js_delivery *delivery = dbk_alloc_zeroed(jetstream->allocator, sizeof *delivery);
    if (delivery == NULL) return NULL;
    delivery->jetstream = jetstream;
    delivery->handle = opened->handle;
    delivery->ack_prefix = ack_prefix;
    delivery->headers_only = opened->rules.headers_only;
    daybook_fetch_options_init(&options);
    options.count = FIRST_COUNT_MAX;
    options.max_bytes = FIRST_BYTES_MAX;
    options.timeout_ms = 0;
    if (daybook_consumer_fetch(delivery->handle, &options, &delivery->batches[0], NULL) == DAYBOOK_OK) {
        delivery->batch_count = 1;
        delivery->message_count = delivery->batches[0]->count;
    }
    make_messages(delivery);
    delivery->ack_prefix = daybook_bytes(NULL, 0); // borrowed until here
    if (delivery->message_count > 0) return delivery;
    free_delivery(delivery); // the next one finds out why
    return NULL;
}

void dbk_js_refuse_first(dbk_js_delivery *first) {
    if (first == NULL) return;
    for (size_t i = 0; i < first->message_count; i++)
        (void)daybook_consumer_nak(first->handle, first->messages[i].seq, 0, NULL);
    free_delivery(first);
}

void dbk_js_take_first(dbk_js_consumer *consumer, dbk_js_delivery *first) {
    take_consumer(first, consumer);
}

void dbk_js_hand_first_over(dbk_js_delivery *first) {
    delivered(&first->job);
}

// ---- Waking -----------------------------------------------------------------------------------------------

// From any thread: the store may have something now.
static void wake(void *context) {
    dbk_js_consumer *consumer = context;
    if (atomic_exchange(&consumer->is_woken, true)) return; // it is on its way already
    dbk_jobs_finish(consumer->stream->jetstream->broker->jobs, &consumer->woken);
}

static void woken(dbk_job *job) {
    dbk_js_consumer *consumer = DBK_OWNER(job, dbk_js_consumer, woken);
    dbk_jetstream *jetstream = consumer->stream->jetstream;
    if (consumer->is_removed && !consumer->is_watched) { // unwatch() counted it
        dbk_js_consumer_unref(consumer);
        dbk_js_end_job(jetstream);
        return;
    }
    atomic_store(&consumer->is_woken, false);
    if (consumer->is_removed) return; // while a delivery is under way, which keeps it
    consumer->may_have_more = consumer->woken_meanwhile = true;
    dbk_js_deliver(consumer);
}

static void watch(dbk_js_consumer *consumer) {
    if (consumer->is_watched) return;
    consumer->woken.done = woken;
    daybook_status status = daybook_consumer_watch(consumer->handle, wake, consumer, NULL);
    consumer->is_watched = status == DAYBOOK_OK;
    if (status == DAYBOOK_OK || status == DAYBOOK_ENOTFOUND) return; // a fetch will find out that it is gone
    dbk_jetstream *jetstream = consumer->stream->jetstream;
    dbk_broker_log(jetstream->broker, ERROR, "JetStream consumer '%.*s > %.*s' cannot be watched: %s",
                   (int)consumer->stream->name.size, (const char *)consumer->stream->name.data,
                   (int)consumer->name.size, (const char *)consumer->name.data, daybook_status_text(status));
    dbk_broker_start_timer(jetstream->broker, &consumer->due_timer, RETRY_MS * DBK_MILLISECOND_NS);
}

// Afterwards nobody calls wake(). A wake-up that is on its way keeps the consumer until it has come. No watch
// may be ended while a fetch runs, which arms it: then it is done when the delivery has ended.
static void unwatch(dbk_js_consumer *consumer) {
    if (!consumer->is_watched || consumer->delivery != NULL) return;
    (void)daybook_consumer_watch(consumer->handle, NULL, NULL, NULL);
    consumer->is_watched = false;
    if (!atomic_load(&consumer->is_woken)) return;
    (void)dbk_js_consumer_ref(consumer);
    dbk_js_begin_job(consumer->stream->jetstream);
}

// What comes by time alone: a redelivery, the end of a pause; and another attempt after a failure.
static void fall_due(dbk_timer *timer) {
    dbk_js_consumer *consumer = DBK_OWNER(timer, dbk_js_consumer, due_timer);
    if (consumer->handle != NULL) watch(consumer);
    consumer->may_have_more = true;
    dbk_js_deliver(consumer);
}

// ---- Inactivity -------------------------------------------------------------------------------------------

void dbk_js_note_use(dbk_js_consumer *consumer) {
    consumer->used_ns = dbk_broker_now_ns(consumer->stream->jetstream->broker);
}

static bool is_in_use(dbk_js_consumer *consumer) {
    return consumer->push != NULL ? dbk_js_is_push_bound(consumer) : dbk_js_count_pulls_now(consumer) > 0;
}

// Asked when its time would be over; whoever used it in between moved only `used_ns`.
static void check_use(dbk_timer *timer) {
    dbk_js_consumer *consumer = DBK_OWNER(timer, dbk_js_consumer, idle_timer);
    dbk_broker *broker = consumer->stream->jetstream->broker;
    if (is_in_use(consumer)) dbk_js_note_use(consumer);
    int64_t over_ns = dbk_time_after(consumer->used_ns, consumer->rules.inactive_threshold_ns);
    if (over_ns <= dbk_broker_now_ns(broker)) {
        dbk_js_remove_consumer(consumer);
    } else {
        dbk_timer_start_at(&broker->timers, &consumer->idle_timer, over_ns);
    }
}

static void watch_use(dbk_js_consumer *consumer) {
    dbk_broker *broker = consumer->stream->jetstream->broker;
    dbk_broker_stop_timer(broker, &consumer->idle_timer);
    if (consumer->rules.inactive_threshold_ns <= 0) return;
    dbk_js_note_use(consumer);
    dbk_broker_start_timer(broker, &consumer->idle_timer, consumer->rules.inactive_threshold_ns);
}

typedef struct removing {
    dbk_job job;
    dbk_js_consumer *consumer; // a reference
    daybook_status status;
    bool is_needed; // somebody came while it waited for its turn
} removing;

static void run_removing(dbk_job *job) {
    removing *remove = DBK_OWNER(job, removing, job);
    dbk_js_stream *stream = remove->consumer->stream;
    if (atomic_load(&stream->jetstream->is_stopping)) {
        remove->status = DAYBOOK_ECLOSED;
        return;
    }
    remove->is_needed = atomic_load(&remove->consumer->pull_count) > 0 ||
                        atomic_load(&remove->consumer->is_bound);
    if (remove->is_needed) return;
    remove->status =
        daybook_consumer_remove(stream->jetstream->store, stream->name, remove->consumer->name, NULL);
}

static void removed(dbk_job *job) {
    removing *remove = DBK_OWNER(job, removing, job);
    dbk_js_consumer *consumer = remove->consumer;
    dbk_jetstream *jetstream = consumer->stream->jetstream;
    bool is_gone = !remove->is_needed &&
                   (remove->status == DAYBOOK_OK || remove->status == DAYBOOK_ENOTFOUND);
    if (!consumer->is_removed && is_gone) {
        dbk_js_advise(jetstream, "CONSUMER.DELETED", "delete", consumer->stream->name, consumer->name);
        dbk_js_drop_consumer(consumer, dbk_status_block(DBK_STATUS_CONSUMER_DELETED));
    } else if (!consumer->is_removed) {
        watch_use(consumer); // later again
    }
    dbk_free(jetstream->allocator, remove);
    dbk_js_consumer_unref(consumer);
    dbk_js_end_call(jetstream);
}

void dbk_js_remove_consumer(dbk_js_consumer *consumer) {
    dbk_jetstream *jetstream = consumer->stream->jetstream;
    removing *remove = dbk_alloc_zeroed(jetstream->allocator, sizeof *remove);
    if (remove == NULL) {
        watch_use(consumer);
        return;
    }
    remove->job.run = run_removing;
    remove->job.done = removed;
    remove->consumer = dbk_js_consumer_ref(consumer);
    dbk_js_begin_call(jetstream, &remove->job);
}

// ---- Start and stop ---------------------------------------------------------------------------------------

void dbk_js_delivery_init(dbk_js_consumer *consumer) {
    dbk_timer_init(&consumer->pull_timer, dbk_js_pull_timer_fired);
    dbk_timer_init(&consumer->idle_timer, check_use);
    dbk_timer_init(&consumer->due_timer, fall_due);
    dbk_timer_init(&consumer->pin_timer, dbk_js_pin_timer_fired);
    atomic_init(&consumer->is_woken, false);
    atomic_init(&consumer->pull_count, 0);
    atomic_init(&consumer->is_bound, false);
}

void dbk_js_start_delivery(dbk_js_consumer *consumer) {
    watch(consumer);
    watch_use(consumer);
    if (consumer->deliver_subject != NULL) {
        dbk_js_end_pulls(consumer, dbk_status_block(DBK_STATUS_CONSUMER_IS_PUSH));
        dbk_js_start_push(consumer);
    } else {
        dbk_js_stop_push(consumer);
    }
    consumer->may_have_more = consumer->woken_meanwhile = true;
    dbk_js_deliver(consumer);
}

void dbk_js_stop_delivery(dbk_js_consumer *consumer, dbk_slice status_block) {
    dbk_broker *broker = consumer->stream->jetstream->broker;
    unwatch(consumer);
    dbk_broker_stop_timer(broker, &consumer->due_timer);
    dbk_broker_stop_timer(broker, &consumer->idle_timer);
    dbk_broker_stop_timer(broker, &consumer->pin_timer);
    dbk_js_end_pulls(consumer, status_block);
    dbk_js_stop_push(consumer);
}

void dbk_js_send_heartbeat(const dbk_js_consumer *consumer, dbk_slice to, dbk_slice stalled) {
    dbk_buf *out = dbk_js_begin_answer(consumer->stream->jetstream);
    dbk_buf_append_slice(out, dbk_status_line(DBK_STATUS_IDLE_HEARTBEAT));
    dbk_headers_add_number(out, daybook_text("Nats-Last-Consumer"), consumer->delivered_number);
    dbk_headers_add_number(out, daybook_text("Nats-Last-Stream"), consumer->delivered_seq);
    if (stalled.size > 0) dbk_headers_add(out, daybook_text("Nats-Consumer-Stalled"), stalled);
    dbk_headers_end(out);
    dbk_js_end_answer(consumer->stream->jetstream, to, true);
}

void dbk_js_refuse_early(dbk_js_consumer *consumer, dbk_slice status_block) {
    dbk_broker *broker = consumer->stream->jetstream->broker;
    for (const dbk_js_early *early = consumer->first_early; early != NULL; early = early->next) {
        if (!dbk_slice_equal(dbk_js_token(early->message.subject, 1), daybook_text("ACK")))
            (void)dbk_broker_reply(broker, early->message.reply, status_block, daybook_bytes(NULL, 0));
    }
}
