// SPDX-License-Identifier: Apache-2.0
// Submitted answers: who waits for one to be durable without a thread that waits.
//
//   waiters --a save has ended--> answered --told--> gone
//
// Each waits for the number of changes there were when it came. Who adds one begins a save, unless one is
// under way: whoever ends that serves those that came meanwhile. So at most one save of a consumer is under
// way, and all that come while it runs share the next; those of several consumers meet in one group of the
// commit.
//
// A save that is submitted does not wait while too much is queued, as a submitted append does: who
// acknowledges was promised not to wait, and it is one for each consumer at most.
//
// Who may begin what: a save that is an append of changes is submitted by anybody, the commit thread among
// them. A checkpoint, and the removal of what is settled, may wait for a commit; the keeper does them.
// Callbacks run without any lock.
#include "base/assert.h"
#include "store/consumer.h"

static void push(dbk_ack_waiters *list, dbk_ack_waiter *waiter) {
    waiter->next = NULL;
    if (list->first == NULL) {
        list->first = waiter;
    } else {
        list->last->next = waiter;
    }
    list->last = waiter;
}

static dbk_ack_waiter *pop(dbk_ack_waiters *list) {
    dbk_ack_waiter *waiter = list->first;
    if (waiter != NULL) list->first = waiter->next;
    return waiter;
}

static bool is_ever_saved(const dbk_consumer *consumer) {
    return consumer->is_saved || consumer->delivery.keeps_settled;
}

void dbk_consumer_add_waiter(dbk_consumer *consumer, dbk_ack_waiter *waiter) {
    waiter->change_count = consumer->change_count;
    if (!is_ever_saved(consumer)) consumer->durable_count = consumer->change_count;
    // Those before it are answered first.
    bool is_durable = consumer->durable_count >= waiter->change_count && consumer->waiters.first == NULL;
    push(is_durable ? &consumer->answered : &consumer->waiters, waiter);
}

void dbk_consumer_settle_waiters(dbk_consumer *consumer, daybook_status status, uint64_t change_count) {
    uint64_t settled_count = status == DAYBOOK_OK ? consumer->durable_count : change_count;
    while (consumer->waiters.first != NULL && consumer->waiters.first->change_count <= settled_count) {
        dbk_ack_waiter *waiter = pop(&consumer->waiters);
        if (status != DAYBOOK_OK) waiter->status = status;
        push(&consumer->answered, waiter);
    }
}

static void tell(const dbk_consumer *consumer, const dbk_ack_waiter *waiter) {
    daybook_error error;
    daybook_error_init(&error);
    if (waiter->status == DAYBOOK_ENOTFOUND) {
        (void)dbk_fail(&error, waiter->status,
                       "message %llu of consumer %s is not pending: it was answered or given up already, its "
                       "event or the consumer was removed, or it was never delivered",
                       (unsigned long long)waiter->seq, consumer->name);
    } else if (waiter->status != DAYBOOK_OK) {
        (void)dbk_fail(
            &error, waiter->status,
            "the answer to message %llu of consumer %s could not be saved (%s): it counts, and is saved "
            "later where that is possible; answer again to be told",
            (unsigned long long)waiter->seq, consumer->name, daybook_status_name(waiter->status));
    }
    waiter->done(waiter->context, waiter->status, waiter->status == DAYBOOK_OK ? NULL : &error);
}

void dbk_consumer_tell_waiters(dbk_consumer *consumer) {
    for (;;) {
        pthread_mutex_lock(&consumer->lock);
        dbk_ack_waiter *waiter = pop(&consumer->answered);
        pthread_mutex_unlock(&consumer->lock);
        if (waiter == NULL) return;
        tell(consumer, waiter);
        dbk_free(consumer->store->allocator, waiter);
    }
}

void dbk_consumer_serve_waiters(dbk_consumer *consumer, bool may_block) {
    pthread_mutex_lock(&consumer->lock);
    if (consumer->waiters.first == NULL || consumer->saving || consumer->is_leaving ||
        atomic_load(&consumer->removed)) {
        pthread_mutex_unlock(&consumer->lock);
        return;
    }
    bool blocks = consumer->delivery.keeps_settled;
    bool may_be_submitted = consumer->is_saved && !dbk_consumer_wants_checkpoint(consumer) &&
                            !dbk_changes_is_empty(&consumer->changes);
    if (may_be_submitted && (may_block || !blocks)) {
        dbk_consumer_submit_save(consumer);
        return;
    }
    pthread_mutex_unlock(&consumer->lock);
    if (may_block) {
        (void)dbk_consumer_save(consumer, true, NULL); // whoever waits is told
    } else {
        dbk_consumers_wake_keeper(atomic_load(&consumer->store->consumers));
    }
}

void dbk_consumer_end_waiters(dbk_consumer *consumer, daybook_status status) {
    pthread_mutex_lock(&consumer->lock);
    dbk_consumer_settle_waiters(consumer, status, UINT64_MAX);
    pthread_mutex_unlock(&consumer->lock);
    dbk_consumer_tell_waiters(consumer);
}
