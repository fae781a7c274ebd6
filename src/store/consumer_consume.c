// SPDX-License-Identifier: Apache-2.0
// A handler called for each message, by several workers: threads that live as long as the call. It uses the
// public calls only. The first failure interrupts the others, and is what the caller gets. The handle's
// interruption is taken back at the end, so that it may be consumed from again.
#include "store/consumer.h"

enum { FETCH_COUNT = 16 };

void daybook_consume_options_init(daybook_consume_options *options) {
    *options =
        (daybook_consume_options){.size = sizeof *options, .worker_count = 1, .fetch_count = FETCH_COUNT};
}

typedef struct consuming {
    daybook_consumer *consumer;
    const daybook_consume_options *options;
    int (*handler)(void *context, const daybook_message *message);
    void *context;
    bool needs_answer;
    pthread_mutex_t lock;
    daybook_status status; // guarded by lock: the first failure
    daybook_error error;   // ... and what it says
} consuming;

static daybook_status answer(const consuming *work, const daybook_message *message, int verdict,
                             daybook_error *error) {
    uint64_t seq = message->event.seq;
    switch (verdict) {
    case DAYBOOK_VERDICT_ACK:
        return daybook_consumer_ack(work->consumer, seq, 0, error);
    case DAYBOOK_VERDICT_ACK_CONFIRMED:
        return daybook_consumer_ack(work->consumer, seq, DAYBOOK_ACK_CONFIRMED, error);
    case DAYBOOK_VERDICT_NAK:
        return daybook_consumer_nak(work->consumer, seq, work->options->nak_delay_ns, error);
    case DAYBOOK_VERDICT_TERM:
        return daybook_consumer_term(work->consumer, seq, daybook_bytes(NULL, 0), error);
    case DAYBOOK_VERDICT_NONE:
        return DAYBOOK_OK;
    default:
        return dbk_fail(error, DAYBOOK_EINVALID, "the handler gave the unknown verdict %d: use 0 to 4",
                        verdict);
    }
}

static daybook_status handle_batch(const consuming *work, const daybook_batch *batch, daybook_error *error) {
    daybook_status status = DAYBOOK_OK;
    for (size_t i = 0; i < batch->count; i++) {
        const daybook_message *message = &batch->messages[i];
        bool goes_on = status == DAYBOOK_OK && !atomic_load(&work->consumer->interrupted);
        int verdict = goes_on ? work->handler(work->context, message) : DAYBOOK_VERDICT_NAK;
        if (!work->needs_answer) continue;
        // What was not handled is for somebody else, now.
        daybook_status answered = goes_on ? answer(work, message, verdict, error)
                                          : daybook_consumer_nak(work->consumer, message->event.seq, 0, NULL);
        if (goes_on && answered != DAYBOOK_ENOTFOUND) status = answered;
    }
    return status;
}

static daybook_status work_on(const consuming *work, daybook_error *error) {
    daybook_fetch_options options;
    daybook_fetch_options_init(&options);
    options.count = work->options->fetch_count;
    for (;;) {
        daybook_batch *batch;
        daybook_status status = daybook_consumer_fetch(work->consumer, &options, &batch, error);
        if (status == DAYBOOK_OK) status = handle_batch(work, batch, error);
        daybook_batch_release(batch);
        if (status != DAYBOOK_OK) return status;
    }
}

static void *run_worker(void *context) {
    consuming *work = context;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = work_on(work, &error);
    if (status != DAYBOOK_ECLOSED) {
        pthread_mutex_lock(&work->lock);
        if (work->status == DAYBOOK_OK) {
            work->status = status;
            work->error = error;
        }
        pthread_mutex_unlock(&work->lock);
        daybook_consumer_interrupt(work->consumer);
    }
    return NULL;
}

// The caller is one of the workers.
static daybook_status run_all(consuming *work, daybook_error *error) {
    unsigned wanted = work->options->worker_count - 1, started = 0;
    pthread_t threads[DAYBOOK_CONSUME_WORKERS_MAX];
    while (started < wanted && pthread_create(&threads[started], NULL, run_worker, work) == 0) started++;
    if (started < wanted) {
        daybook_consumer_interrupt(work->consumer);
    } else {
        (void)run_worker(work);
    }
    for (unsigned i = 0; i < started; i++) (void)pthread_join(threads[i], NULL);
    atomic_store(&work->consumer->interrupted, false);
    if (started < wanted)
        return dbk_fail(error, DAYBOOK_ENOMEM, "%u of %u threads could be started: ask for fewer workers",
                        started, wanted);
    if (work->status != DAYBOOK_OK && error != NULL) *error = work->error;
    return work->status;
}

daybook_status daybook_consumer_consume(daybook_consumer *consumer, const daybook_consume_options *options,
                                        int (*handler)(void *context, const daybook_message *message),
                                        void *context, daybook_error *error) {
    daybook_consume_options defaults;
    daybook_consume_options_init(&defaults);
    if (options == NULL) options = &defaults;
    if (consumer == NULL || handler == NULL || options->size < sizeof *options)
        return dbk_fail(error, DAYBOOK_EMISUSE,
                        "consuming needs a consumer, initialised options and a handler");
    if (options->worker_count == 0 || options->worker_count > DAYBOOK_CONSUME_WORKERS_MAX ||
        options->nak_delay_ns < 0 || options->fetch_count == 0 ||
        options->fetch_count > DAYBOOK_FETCH_COUNT_MAX)
        return dbk_fail(
            error, DAYBOOK_EINVALID,
            "%u workers that take %zu messages at a time: use 1 to %d, and 1 to %d, and no negative delay",
            options->worker_count, options->fetch_count, DAYBOOK_CONSUME_WORKERS_MAX,
            DAYBOOK_FETCH_COUNT_MAX);
    consuming work = {.consumer = consumer, .options = options, .handler = handler, .context = context};
    work.needs_answer = dbk_consumer_ack_policy(consumer->consumer) != DAYBOOK_ACK_NONE;
    pthread_mutex_init(&work.lock, NULL);
    daybook_status status = run_all(&work, error);
    pthread_mutex_destroy(&work.lock);
    return status;
}
