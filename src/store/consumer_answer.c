// SPDX-License-Identifier: Apache-2.0
// Answers to messages, and acknowledgements that commit with an append.
//
// An answer changes the consumer at once and is saved soon (consumer_log.c). A confirmed one returns when it
// is saved, one that is submitted is told of then (consumer_submit.c); those that wait share one event.
//
// An append with acknowledgements: the messages are claimed: nobody else settles or gets them. The batch
// carries one more event per consumer, the acknowledgement; it becomes durable with the others or not at all.
// It need not wait for the delivery to be saved: replayed before it, it settles the message all the same
// (consumer/delivery.h). Only when it is durable are the messages settled in memory. Where the append fails
// the claims end, and the messages come again when their time is over. Where all its events were stored
// before, nothing is written, and the acknowledgements are confirmed by themselves: the caller repeats
// itself.
#include "base/assert.h"
#include "base/time.h"
#include "store/commit.h"
#include "store/consumer.h"

enum { ACK_EVENT_BYTES = 64 }; // about: what an acknowledgement adds to what is read when the store is opened

// ---- Answers ----------------------------------------------------------------------------------------------

static daybook_status fail_not_pending(const dbk_consumer *consumer, uint64_t seq, daybook_error *error) {
    return dbk_fail(
        error, DAYBOOK_ENOTFOUND,
        "message %llu of consumer %s is not pending: it was answered or given up already, its event was "
        "removed, or it was never delivered",
        (unsigned long long)seq, consumer->name);
}

typedef enum answer_kind { ANSWER_ACK, ANSWER_NAK, ANSWER_PROGRESS, ANSWER_TERM } answer_kind;

// The lock is held.
static daybook_status change_state(dbk_consumer *consumer, answer_kind kind, uint64_t seq, uint64_t delay) {
    dbk_delivery *delivery = &consumer->delivery;
    uint64_t now = dbk_consumer_now(consumer);
    switch (kind) {
    case ANSWER_ACK:
        return delivery->rules.ack == DBK_DELIVERY_ACK_ALL ? dbk_delivery_ack_all(delivery, seq, now)
                                                           : dbk_delivery_ack(delivery, seq, now);
    case ANSWER_NAK:
        return dbk_delivery_nak(delivery, seq, delay, now);
    case ANSWER_PROGRESS:
        return dbk_delivery_progress(delivery, seq, now);
    case ANSWER_TERM:
        return delivery->rules.ack == DBK_DELIVERY_ACK_ALL ? dbk_delivery_term_all(delivery, seq)
                                                           : dbk_delivery_term(delivery, seq);
    }
    DBK_UNREACHABLE();
}

// After an answer something may be delivered that could not before, or earlier than who waits believes. Asked
// before it; the lock is held.
static bool may_wake(dbk_consumer *consumer, bool comes_again) {
    return dbk_consumer_is_awaited(consumer) &&
           (comes_again || consumer->delivery.rules.in_order || !dbk_delivery_has_room(&consumer->delivery));
}

// What was given up is remembered by its seq alone: it had as many as were allowed.
static uint64_t deliveries_of(const dbk_delivery *delivery, uint64_t seq) {
    if (dbk_delivery_has_given_up(delivery, seq) && dbk_delivery_deliveries(delivery, seq) == 0)
        return delivery->rules.max_deliver;
    return dbk_delivery_deliveries(delivery, seq);
}

// The lock is held.
static void add_advisory(dbk_consumer *consumer, dbk_advisory *advisory) {
    advisory->next = consumer->advisories;
    consumer->advisories = advisory;
}

static daybook_status answer(dbk_consumer *consumer, answer_kind kind, uint64_t seq, uint64_t delay,
                             dbk_advisory *advisory, daybook_error *error) {
    if (atomic_load(&consumer->removed)) return dbk_consumer_fail_removed(consumer, error);
    pthread_mutex_lock(&consumer->lock);
    bool wakes = may_wake(consumer, kind == ANSWER_NAK);
    if (advisory != NULL) advisory->deliveries = deliveries_of(&consumer->delivery, seq);
    daybook_status status = change_state(consumer, kind, seq, delay);
    if (status == DAYBOOK_OK) {
        dbk_consumer_note_change(consumer);
        if (advisory != NULL) add_advisory(consumer, advisory);
    }
    pthread_mutex_unlock(&consumer->lock);
    if (wakes && status == DAYBOOK_OK) dbk_consumer_wake(consumer);
    if (status == DAYBOOK_ENOMEM) return dbk_fail(error, status, "out of memory answering a message");
    return status == DAYBOOK_OK ? status : fail_not_pending(consumer, seq, error);
}

static daybook_status check(const daybook_consumer *consumer, daybook_error *error) {
    if (consumer == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE, "no consumer: open one with daybook_consumer_open or _add");
    return DAYBOOK_OK;
}

daybook_status daybook_consumer_ack(daybook_consumer *consumer, uint64_t seq, unsigned flags,
                                    daybook_error *error) {
    DBK_TRY(check(consumer, error));
    daybook_status status = answer(consumer->consumer, ANSWER_ACK, seq, 0, NULL, error);
    if ((flags & DAYBOOK_ACK_CONFIRMED) == 0 || (status != DAYBOOK_OK && status != DAYBOOK_ENOTFOUND))
        return status;
    // Also where it was settled before, perhaps by this call made once already: then that is saved now.
    DBK_TRY(dbk_consumer_save(consumer->consumer, true, error));
    return status;
}

// The lock is held. ENOTFOUND: the consumer was removed; ENOMEM; nothing changed then. Else the waiter is
// told what became of the answer. *advisory becomes NULL where it is taken.
static daybook_status settle_for(dbk_consumer *consumer, answer_kind kind, dbk_ack_waiter *waiter,
                                 dbk_advisory **advisory, bool *wakes_out) {
    if (atomic_load(&consumer->removed)) return DAYBOOK_ENOTFOUND;
    bool wakes = may_wake(consumer, false);
    if (*advisory != NULL) (*advisory)->deliveries = deliveries_of(&consumer->delivery, waiter->seq);
    waiter->status = change_state(consumer, kind, waiter->seq, 0);
    if (waiter->status == DAYBOOK_ENOMEM) return DAYBOOK_ENOMEM;
    bool is_settled = waiter->status == DAYBOOK_OK;
    if (is_settled && *advisory != NULL) {
        add_advisory(consumer, *advisory);
        *advisory = NULL;
        dbk_consumer_note_change(consumer); // the keeper tells of it
    } else if (is_settled) {
        consumer->change_count++; // saved by who serves the waiter
    }
    dbk_consumer_add_waiter(consumer, waiter);
    *wakes_out = wakes && is_settled;
    return DAYBOOK_OK;
}

// `advisory` is NULL, or passes to the call.
static daybook_status submit_answer(dbk_consumer *consumer, answer_kind kind, uint64_t seq,
                                    dbk_advisory *advisory, daybook_ack_done done, void *context,
                                    daybook_error *error) {
    const daybook_allocator *allocator = consumer->store->allocator;
    dbk_ack_waiter *waiter = dbk_alloc_zeroed(allocator, sizeof *waiter);
    daybook_status status = DAYBOOK_ENOMEM;
    bool wakes = false;
    if (waiter != NULL) {
        *waiter = (dbk_ack_waiter){.seq = seq, .done = done, .context = context};
        pthread_mutex_lock(&consumer->lock);
        status = settle_for(consumer, kind, waiter, &advisory, &wakes);
        pthread_mutex_unlock(&consumer->lock);
    }
    dbk_free(allocator, advisory);
    if (status != DAYBOOK_OK) {
        dbk_free(allocator, waiter);
        return status == DAYBOOK_ENOMEM ? dbk_fail(error, status, "out of memory answering a message")
                                        : dbk_consumer_fail_removed(consumer, error);
    }
    if (wakes) dbk_consumer_wake(consumer);
    dbk_consumer_tell_waiters(consumer);
    dbk_consumer_serve_waiters(consumer, false);
    return DAYBOOK_OK;
}

static daybook_status check_submitted(const daybook_consumer *consumer, daybook_ack_done done,
                                      daybook_error *error) {
    DBK_TRY(check(consumer, error));
    if (done != NULL) return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_EMISUSE,
                    "nobody to tell when the answer is saved: use daybook_consumer_ack, or _term");
}

daybook_status daybook_consumer_ack_submit(daybook_consumer *consumer, uint64_t seq, daybook_ack_done done,
                                           void *context, daybook_error *error) {
    DBK_TRY(check_submitted(consumer, done, error));
    return submit_answer(consumer->consumer, ANSWER_ACK, seq, NULL, done, context, error);
}

daybook_status daybook_consumer_nak(daybook_consumer *consumer, uint64_t seq, int64_t delay_ns,
                                    daybook_error *error) {
    DBK_TRY(check(consumer, error));
    if (delay_ns < 0) return dbk_fail(error, DAYBOOK_EINVALID, "the delay is negative: use 0 for at once");
    uint64_t delay = (uint64_t)(delay_ns / DBK_TICK_NS + (delay_ns % DBK_TICK_NS != 0));
    return answer(consumer->consumer, ANSWER_NAK, seq, delay, NULL, error);
}

daybook_status daybook_consumer_progress(daybook_consumer *consumer, uint64_t seq, daybook_error *error) {
    DBK_TRY(check(consumer, error));
    return answer(consumer->consumer, ANSWER_PROGRESS, seq, 0, NULL, error);
}

static daybook_status new_termination(const dbk_consumer *consumer, uint64_t seq, dbk_slice reason,
                                      dbk_advisory **advisory_out, daybook_error *error) {
    if (reason.size > DAYBOOK_TEXT_SIZE_MAX || !dbk_is_plain_text(reason))
        return dbk_fail(error, DAYBOOK_EINVALID,
                        "the reason is no plain UTF-8 text of at most %d bytes: shorten it",
                        DAYBOOK_TEXT_SIZE_MAX);
    dbk_advisory *advisory = dbk_alloc_zeroed(consumer->store->allocator, sizeof *advisory + reason.size);
    if (advisory == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory answering a message");
    advisory->terminated = true;
    advisory->seq = seq;
    advisory->reason_size = reason.size;
    if (reason.size > 0) memcpy(advisory->reason, reason.data, reason.size);
    *advisory_out = advisory;
    return DAYBOOK_OK;
}

daybook_status daybook_consumer_term(daybook_consumer *consumer, uint64_t seq, daybook_slice reason,
                                     daybook_error *error) {
    DBK_TRY(check(consumer, error));
    dbk_consumer *of = consumer->consumer;
    dbk_advisory *advisory = NULL;
    DBK_TRY(new_termination(of, seq, reason, &advisory, error));
    daybook_status status = answer(of, ANSWER_TERM, seq, 0, advisory, error);
    if (status != DAYBOOK_OK) dbk_free(of->store->allocator, advisory);
    return status;
}

daybook_status daybook_consumer_term_submit(daybook_consumer *consumer, uint64_t seq, daybook_slice reason,
                                            daybook_ack_done done, void *context, daybook_error *error) {
    DBK_TRY(check_submitted(consumer, done, error));
    dbk_advisory *advisory = NULL;
    DBK_TRY(new_termination(consumer->consumer, seq, reason, &advisory, error));
    return submit_answer(consumer->consumer, ANSWER_TERM, seq, advisory, done, context, error);
}

// ---- Append and acknowledge -------------------------------------------------------------------------------

typedef struct claims {
    daybook_store *store;
    const daybook_append_ack *acks; // by stride
    size_t count;
    size_t stride;
    size_t claimed;
    dbk_consumer **consumers; // distinct, that are saved
    dbk_buf *data;            // an acknowledgement each
    size_t consumer_count;
} claims;

static const daybook_append_ack *ack_at(const claims *said, size_t at) {
    return (const daybook_append_ack *)(const void *)((const char *)said->acks + at * said->stride);
}

static dbk_consumer *consumer_at(const claims *said, size_t at) {
    return ack_at(said, at)->consumer->consumer;
}

static daybook_status check_acks(const claims *said, daybook_error *error) {
    if (said->acks == NULL || said->stride < sizeof *said->acks)
        return dbk_fail(error, DAYBOOK_EMISUSE,
                        "an acknowledgement of the append was not initialised: set its size to sizeof");
    for (size_t i = 0; i < said->count; i++) {
        if (ack_at(said, i)->consumer == NULL || consumer_at(said, i)->store != said->store)
            return dbk_fail(error, DAYBOOK_EMISUSE, "acknowledgement %zu names no consumer of this store", i);
        if (dbk_consumer_ack_policy(consumer_at(said, i)) != DAYBOOK_ACK_EXPLICIT)
            return dbk_fail(
                error, DAYBOOK_EINVALID,
                "consumer %s does not acknowledge explicitly: an append cannot acknowledge its messages",
                consumer_at(said, i)->name);
    }
    return DAYBOOK_OK;
}

// Who has claims already does not wait for a checkpoint that may be waiting for them; one that runs waits for
// nobody.
static daybook_status claim(dbk_consumer *consumer, uint64_t seq, bool has_claims) {
    if (atomic_load(&consumer->removed)) return DAYBOOK_ENOTFOUND;
    pthread_mutex_lock(&consumer->lock);
    while (consumer->checkpoint_runs ||
           ((consumer->checkpoint_waits || consumer->reset_waits) && !has_claims))
        pthread_cond_wait(&consumer->saved, &consumer->lock);
    daybook_status status = dbk_delivery_claim(&consumer->delivery, seq);
    if (status == DAYBOOK_OK) consumer->claim_count++;
    pthread_mutex_unlock(&consumer->lock);
    return status;
}

static void end_claim(dbk_consumer *consumer, uint64_t seq, bool settles) {
    pthread_mutex_lock(&consumer->lock);
    bool wakes = may_wake(consumer, !settles);
    if (settles) {
        dbk_delivery_settle_claimed(&consumer->delivery, seq, dbk_consumer_now(consumer));
        consumer->changes_bytes += ACK_EVENT_BYTES;
        // It is to be removed, or enough came together for a checkpoint.
        if (consumer->delivery.keeps_settled || dbk_consumer_wants_checkpoint(consumer))
            dbk_consumer_note_change(consumer);
    } else {
        dbk_delivery_unclaim(&consumer->delivery, seq);
    }
    if (--consumer->claim_count == 0) pthread_cond_broadcast(&consumer->saved);
    pthread_mutex_unlock(&consumer->lock);
    if (wakes) dbk_consumer_wake(consumer);
}

static void end_claims(claims *said, bool settles) {
    while (said->claimed > 0) {
        said->claimed--;
        end_claim(consumer_at(said, said->claimed), ack_at(said, said->claimed)->seq, settles);
    }
}

static daybook_status claim_all(claims *said, daybook_error *error) {
    for (; said->claimed < said->count; said->claimed++) {
        size_t at = said->claimed;
        if (claim(consumer_at(said, at), ack_at(said, at)->seq, at > 0) == DAYBOOK_OK) continue;
        end_claims(said, false);
        (void)dbk_fail(
            error, DAYBOOK_ECONFLICT,
            "conflict: message %llu of consumer %s is not pending any more: nothing was appended; fetch and "
            "decide again",
            (unsigned long long)ack_at(said, at)->seq, consumer_at(said, at)->name);
        if (error != NULL) error->condition = (uint32_t)at;
        return DAYBOOK_ECONFLICT;
    }
    return DAYBOOK_OK;
}

// The acknowledgements of one consumer among all.
static daybook_status encode_of(const claims *said, dbk_consumer *consumer, dbk_buf *buf) {
    uint64_t *seqs = dbk_resize_array(said->store->allocator, NULL, said->count, sizeof *seqs);
    if (seqs == NULL) return DAYBOOK_ENOMEM;
    size_t count = 0;
    for (size_t i = 0; i < said->count; i++) {
        if (consumer_at(said, i) == consumer) seqs[count++] = ack_at(said, i)->seq;
    }
    daybook_status status = dbk_consumer_encode_ack(consumer, seqs, count, buf);
    dbk_free(said->store->allocator, seqs);
    return status;
}

static daybook_status encode_acks(claims *said) {
    const daybook_allocator *allocator = said->store->allocator;
    said->consumers = dbk_alloc_zeroed(allocator, said->count * sizeof(dbk_consumer *));
    said->data = dbk_alloc_zeroed(allocator, said->count * sizeof *said->data);
    if (said->consumers == NULL || said->data == NULL) return DAYBOOK_ENOMEM;
    for (size_t i = 0; i < said->count; i++) {
        dbk_consumer *consumer = consumer_at(said, i);
        size_t known = 0;
        while (known < said->consumer_count && said->consumers[known] != consumer) known++;
        if (known < said->consumer_count || !consumer->is_saved) continue;
        dbk_buf_init(&said->data[known], allocator, DAYBOOK_BATCH_SIZE_MAX);
        said->consumers[said->consumer_count++] = consumer;
        DBK_TRY(encode_of(said, consumer, &said->data[known]));
    }
    return DAYBOOK_OK;
}

static void free_claims(claims *said) {
    for (size_t i = 0; i < said->consumer_count; i++) dbk_buf_deinit(&said->data[i]);
    dbk_free(said->store->allocator, said->data);
    dbk_free(said->store->allocator, said->consumers);
}

// The caller's events and behind them the acknowledgements.
static daybook_status append_all(const claims *said, const daybook_event *events, size_t count,
                                 const daybook_append_options *options, daybook_receipt *receipts,
                                 daybook_error *error) {
    const daybook_allocator *allocator = said->store->allocator;
    size_t total = count + said->consumer_count;
    daybook_event *all = dbk_resize_array(allocator, NULL, total, sizeof *all);
    char(*subjects)[DBK_CONSUMER_SUBJECT_SIZE_MAX] =
        dbk_alloc(allocator, said->consumer_count * sizeof *subjects);
    daybook_receipt *given = dbk_alloc_zeroed(allocator, total * sizeof *given);
    daybook_status status = DAYBOOK_OK;
    if (all == NULL || subjects == NULL || given == NULL) {
        status = dbk_fail(error, DAYBOOK_ENOMEM, "out of memory appending");
    } else {
        for (size_t i = 0; i < count; i++)
            all[i] = *(const daybook_event *)(const void *)((const char *)events + i * events[0].size);
        for (size_t i = 0; i < said->consumer_count; i++) {
            dbk_consumer *consumer = said->consumers[i];
            daybook_event *event = &all[count + i];
            daybook_event_init(event);
            event->subject = dbk_consumer_subject(consumer->stream->id, daybook_text(consumer->name), "state",
                                                  subjects[i]);
            event->type = daybook_text("changes");
            event->data = daybook_bytes(said->data[i].data, said->data[i].size);
        }
        all[0].size = sizeof *all;
        status = dbk_append_with_riders(said->store, all, total, said->consumer_count, options, given, error);
        for (size_t i = 0; receipts != NULL && i < count; i++) receipts[i] = given[i];
    }
    dbk_free(allocator, given);
    dbk_free(allocator, subjects);
    dbk_free(allocator, all);
    return status;
}

// All events were stored before, by whoever: what is left is the acknowledgements. Those of a consumer are
// saved together: one sync, and all of them or none.
static daybook_status confirm_all(const claims *said, daybook_error *error) {
    for (size_t i = 0; i < said->count; i++) {
        daybook_status status =
            daybook_consumer_ack(ack_at(said, i)->consumer, ack_at(said, i)->seq, 0, error);
        if (status != DAYBOOK_OK && status != DAYBOOK_ENOTFOUND) return status;
    }
    for (size_t i = 0; i < said->count; i++) {
        size_t first = 0;
        while (consumer_at(said, first) != consumer_at(said, i)) first++;
        if (first == i) DBK_TRY(dbk_consumer_save(consumer_at(said, i), true, error));
    }
    return DAYBOOK_OK;
}

static daybook_status append_claimed(claims *said, const daybook_event *events, size_t count,
                                     const daybook_append_options *options, daybook_receipt *receipts,
                                     daybook_error *error) {
    daybook_receipt *own = receipts;
    if (own == NULL) {
        own = dbk_alloc_zeroed(said->store->allocator, count * sizeof *own);
        if (own == NULL) {
            end_claims(said, false);
            return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory appending");
        }
    }
    daybook_status status = encode_acks(said);
    if (status == DAYBOOK_OK) {
        status = append_all(said, events, count, options, own, error);
    } else {
        (void)dbk_fail(error, status, "out of memory appending");
    }
    bool duplicate = status == DAYBOOK_OK && (own[0].flags & DAYBOOK_RECEIPT_DUPLICATE) != 0;
    free_claims(said);
    if (receipts == NULL) dbk_free(said->store->allocator, own);
    end_claims(said, status == DAYBOOK_OK && !duplicate);
    return duplicate ? confirm_all(said, error) : status;
}

daybook_status dbk_consumer_append(daybook_store *store, const daybook_event *events, size_t count,
                                   const daybook_append_options *options, daybook_receipt *receipts,
                                   daybook_error *error) {
    claims said = {.store = store,
                   .acks = options->acks,
                   .count = options->ack_count,
                   .stride = options->acks == NULL ? 0 : options->acks[0].size};
    if (events == NULL || count == 0 || events[0].size < sizeof *events)
        return dbk_fail(error, DAYBOOK_EMISUSE, "an append needs at least one initialised event");
    if (said.count > DAYBOOK_BATCH_COUNT_MAX || count + said.count > DAYBOOK_BATCH_COUNT_MAX)
        return dbk_fail_limit(error, DAYBOOK_LIMIT_BATCH_COUNT, DAYBOOK_BATCH_COUNT_MAX, count + said.count,
                              "a batch of %zu events and %zu acknowledgements: at most %d are allowed "
                              "together; split it",
                              count, said.count, DAYBOOK_BATCH_COUNT_MAX);
    DBK_TRY(check_acks(&said, error));
    DBK_TRY(claim_all(&said, error));
    return append_claimed(&said, events, count, options, receipts, error);
}
