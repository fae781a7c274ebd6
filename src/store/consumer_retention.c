// SPDX-License-Identifier: Apache-2.0
// Retention by consumers: what of a stream goes when its messages are settled.
//
//   work queue   a message goes when its consumer has settled it; no two consumers want the same one
//   interest     it goes when no consumer that wants it is without answer, and at once where none wants it
//
// A message that is given up stays: somebody should look at it. By interest its consumer remembers it
// (consumer/delivery.h) and counts as one that wants it, until it is acknowledged or terminated after all, or
// deleted, or the consumer is removed. In a work queue nothing is looked through, and nobody else wants it.
//
// Settled messages collect with the consumer (consumer/delivery.h) and are removed before the changes that
// settle them are saved, so that a crash cannot leave one that nobody asks for any more. An acknowledgement
// that committed with an append is saved before; when the store is opened, what was settled since the last
// checkpoint is removed once more, which does nothing where it is gone.
//
// By interest, what comes and nobody wants is noted with its stream, and only that is looked at and removed.
// A stream is looked through as a whole where a consumer was removed, which may have been the last to want
// anything of it; where memory was out; and when the store is opened, for what may have been left: what came
// last before a crash and nobody wanted, what only a consumer wanted that was removed then or ended with the
// store. Also then the look ends where a consumer without filters has read to, for it wants what lies behind;
// and all that goes is what no consumer wants, owes an answer for or gave up.
//
// Nobody removes in the thread that appends: the commit thread must not wait for a removal. The keeper does
// it, and where it fails looks through the stream once more a second later, or a minute where it is damaged.
#include "base/time.h"
#include "daybook/subject.h"
#include "store/commit.h"
#include "store/consumer.h"

// Of a stream, what nobody wants and is not removed yet; more of them share ranges with what lies between.
enum { UNWANTED_RANGES_MAX = 256 };

static const int64_t retry_ns = DBK_SECOND_NS, retry_damaged_ns = 60 * DBK_SECOND_NS;

int dbk_consumer_retention(const dbk_stream *stream) {
    const daybook_stream_config *config = atomic_load(&((dbk_stream *)(uintptr_t)stream)->config);
    return config->retention;
}

static bool wants_subject(const daybook_consumer_config *config, dbk_slice subject) {
    for (size_t i = 0; i < config->filter_count; i++) {
        if (daybook_filter_matches(config->filters[i], subject)) return true;
    }
    return config->filter_count == 0;
}

static bool is_listed(const dbk_consumer_start *start, uint64_t seq) {
    for (size_t i = 0; i < start->list_count; i++) {
        if (start->list[i] == seq) return true;
    }
    return false;
}

static bool is_behind_start(const dbk_consumer_start *start, uint64_t seq) {
    return seq >= start->first_seq || is_listed(start, seq);
}

// Will the consumer get the message, does it owe an answer, or did it give it up?
static bool needs(dbk_consumer *consumer, uint64_t seq, dbk_slice subject) {
    pthread_mutex_lock(&consumer->lock);
    bool needed = wants_subject(consumer->config, subject);
    if (needed && seq <= consumer->delivery.delivered_seq) {
        needed = dbk_pending_find(&consumer->delivery.pending, seq).entry != NULL ||
                 dbk_delivery_has_given_up(&consumer->delivery, seq);
    } else if (needed) {
        needed = is_behind_start(&consumer->start, seq) && !dbk_delivery_is_early(&consumer->delivery, seq);
    }
    pthread_mutex_unlock(&consumer->lock);
    return needed;
}

typedef struct interest {
    dbk_consumer **consumers;
    size_t count;
} interest;

// dbk_store_remove_settled asks: may the event go?
static bool is_nobodys(void *context, const dbk_event *event) {
    const interest *of = context;
    for (size_t i = 0; i < of->count; i++) {
        if (needs(of->consumers[i], event->seq, event->subject)) return false;
    }
    return true;
}

static daybook_status get_interest(struct dbk_consumers *registry, dbk_stream *stream, interest *interest_out,
                                   daybook_error *error) {
    *interest_out = (interest){0};
    if (dbk_consumers_all(registry, stream, &interest_out->consumers, &interest_out->count) == DAYBOOK_OK)
        return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory removing settled messages");
}

static void release_interest(struct dbk_consumers *registry, interest *of) {
    for (size_t i = 0; i < of->count; i++) dbk_consumer_unref(of->consumers[i]);
    dbk_free(registry->store->allocator, of->consumers);
}

static daybook_status remove_ranges(struct dbk_consumers *registry, dbk_stream *stream,
                                    const dbk_seq_range *ranges, size_t count, daybook_error *error) {
    interest of = {0};
    bool by_interest = dbk_consumer_retention(stream) == DAYBOOK_RETENTION_INTEREST;
    if (by_interest) DBK_TRY(get_interest(registry, stream, &of, error));
    daybook_status status = DAYBOOK_OK;
    for (size_t i = 0; status == DAYBOOK_OK && i < count; i++)
        status = dbk_store_remove_settled(registry->store, stream, ranges[i].first, ranges[i].last,
                                          by_interest ? is_nobodys : NULL, &of, error);
    release_interest(registry, &of);
    return status;
}

daybook_status dbk_consumer_remove_settled(dbk_consumer *consumer, daybook_error *error) {
    daybook_store *store = consumer->store;
    pthread_mutex_lock(&consumer->lock);
    dbk_seq_ranges ranges = consumer->delivery.settled;
    consumer->delivery.settled = (dbk_seq_ranges){0};
    pthread_mutex_unlock(&consumer->lock);
    if (ranges.count == 0) return DAYBOOK_OK;
    daybook_status status =
        remove_ranges(atomic_load(&store->consumers), consumer->stream, ranges.items, ranges.count, error);
    if (status != DAYBOOK_OK) { // once more with what is settled next
        pthread_mutex_lock(&consumer->lock);
        for (size_t i = 0; i < ranges.count; i++)
            dbk_delivery_keep_settled(&consumer->delivery, ranges.items[i].first, ranges.items[i].last);
        pthread_mutex_unlock(&consumer->lock);
    }
    dbk_free(store->allocator, ranges.items);
    return status;
}

// ---- What nobody wants ------------------------------------------------------------------------------------

void dbk_consumers_note_appended(daybook_store *store, dbk_stream *stream, dbk_slice subject, uint64_t seq) {
    struct dbk_consumers *registry;
    dbk_consumer **consumers;
    size_t count;
    if (dbk_consumers_get(store, &registry, NULL) != DAYBOOK_OK) return; // the next opening looks at all
    bool wanted = false;
    daybook_status status = dbk_consumers_all(registry, stream, &consumers, &count);
    for (size_t i = 0; status == DAYBOOK_OK && i < count; i++) {
        if (!wanted) {
            pthread_mutex_lock(&consumers[i]->lock);
            wanted = wants_subject(consumers[i]->config, subject) &&
                     is_behind_start(&consumers[i]->start, seq);
            pthread_mutex_unlock(&consumers[i]->lock);
        }
        dbk_consumer_unref(consumers[i]);
    }
    if (status == DAYBOOK_OK) dbk_free(store->allocator, consumers);
    if (wanted) return;
    if (status == DAYBOOK_OK) {
        pthread_mutex_lock(&registry->lock);
        stream->unwanted.range_max = UNWANTED_RANGES_MAX;
        status = dbk_seq_set_add(&stream->unwanted, store->allocator, seq, seq);
        pthread_mutex_unlock(&registry->lock);
    }
    if (status != DAYBOOK_OK) atomic_store(&stream->is_swept, false);
    atomic_store(&registry->sweeps, true);
    dbk_consumers_wake_keeper(registry);
}

// What lies behind what a consumer without filters has read is wanted by it.
static uint64_t first_wanted(const interest *of) {
    uint64_t first = UINT64_MAX;
    for (size_t i = 0; i < of->count; i++) {
        dbk_consumer *consumer = of->consumers[i];
        pthread_mutex_lock(&consumer->lock);
        uint64_t next = consumer->delivery.delivered_seq + 1;
        if (consumer->start.first_seq > next) next = consumer->start.first_seq;
        if (consumer->config->filter_count == 0 && next < first) first = next;
        pthread_mutex_unlock(&consumer->lock);
    }
    return first;
}

// Look through the stream as a whole.
static daybook_status sweep_whole(struct dbk_consumers *registry, dbk_stream *stream, daybook_error *error) {
    interest of;
    DBK_TRY(get_interest(registry, stream, &of, error));
    uint64_t last = atomic_load(&stream->published_seq);
    uint64_t wanted = first_wanted(&of);
    if (wanted <= last) last = wanted - 1;
    daybook_status status = DAYBOOK_OK;
    if (last > 0) status = dbk_store_remove_settled(registry->store, stream, 1, last, is_nobodys, &of, error);
    release_interest(registry, &of);
    return status;
}

static daybook_status sweep(struct dbk_consumers *registry, dbk_stream *stream, daybook_error *error) {
    const daybook_allocator *allocator = registry->store->allocator;
    bool whole = !atomic_exchange(&stream->is_swept, true);
    pthread_mutex_lock(&registry->lock);
    dbk_seq_set unwanted = stream->unwanted;
    stream->unwanted = (dbk_seq_set){0};
    pthread_mutex_unlock(&registry->lock);
    daybook_status status = DAYBOOK_OK;
    if (whole) {
        status = sweep_whole(registry, stream, error);
    } else if (unwanted.count > 0) {
        status = remove_ranges(registry, stream, unwanted.items, unwanted.count, error);
    }
    dbk_seq_set_deinit(&unwanted, allocator);
    if (status != DAYBOOK_OK) atomic_store(&stream->is_swept, false);
    return status;
}

// When to look at it again; INT64_MAX: when there is something.
static int64_t sweep_when_due(struct dbk_consumers *registry, dbk_stream *stream, int64_t now_ns) {
    int64_t after_ns = atomic_load(&stream->sweep_after_ns);
    if (now_ns < after_ns && !atomic_load(&registry->stop)) return after_ns;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = sweep(registry, stream, &error);
    if (status == DAYBOOK_OK) return INT64_MAX;
    dbk_store_log(registry->store, DAYBOOK_LOG_WARNING, "messages nobody wants stay for now: %s",
                  error.message);
    after_ns = now_ns + (status == DAYBOOK_EDAMAGED ? retry_damaged_ns : retry_ns);
    atomic_store(&stream->sweep_after_ns, after_ns);
    return after_ns;
}

// By the keeper, which looks each second at least: streams by interest that may hold what nobody wants.
void dbk_consumers_sweep_all(struct dbk_consumers *registry) {
    daybook_store *store = registry->store;
    dbk_stream **streams;
    size_t count;
    int64_t now_ns = store->vfs->clock_monotonic_ns(store->vfs);
    bool is_due = now_ns >= atomic_load(&registry->sweep_again_ns);
    if (!atomic_exchange(&registry->sweeps, false) && !is_due) return;
    if (dbk_stream_table_all(store->streams, &streams, &count) != DAYBOOK_OK) {
        atomic_store(&registry->sweeps, true);
        return;
    }
    int64_t again_ns = INT64_MAX;
    for (size_t i = 0; i < count; i++) {
        if (dbk_consumer_retention(streams[i]) != DAYBOOK_RETENTION_INTEREST) continue;
        int64_t due_ns = sweep_when_due(registry, streams[i], now_ns);
        if (due_ns < again_ns) again_ns = due_ns;
    }
    atomic_store(&registry->sweep_again_ns, again_ns);
    dbk_free(store->allocator, streams);
}

// ---- Rules ------------------------------------------------------------------------------------------------

static bool overlap(const daybook_consumer_config *a, const daybook_consumer_config *b) {
    if (a->filter_count == 0 || b->filter_count == 0) return true;
    for (size_t i = 0; i < a->filter_count; i++) {
        for (size_t j = 0; j < b->filter_count; j++) {
            if (daybook_filters_overlap(a->filters[i], b->filters[j])) return true;
        }
    }
    return false;
}

static daybook_status check_others(struct dbk_consumers *registry, dbk_stream *stream,
                                   const daybook_consumer_config *config, daybook_error *error) {
    dbk_consumer **consumers;
    size_t count;
    if (dbk_consumers_all(registry, stream, &consumers, &count) != DAYBOOK_OK)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory making a consumer");
    daybook_status status = DAYBOOK_OK;
    for (size_t i = 0; i < count; i++) {
        const dbk_consumer *other = consumers[i];
        bool is_other = !dbk_slice_equal(daybook_text(other->name), config->name);
        if (status == DAYBOOK_OK && is_other && overlap(other->config, config))
            status = dbk_fail(
                error, DAYBOOK_EINVALID,
                "consumer %s of the work queue %.*s wants some of the same messages: each is for one "
                "consumer only; give both filters that do not overlap",
                other->name, (int)stream->name.size, (const char *)stream->name.data);
        dbk_consumer_unref(consumers[i]);
    }
    dbk_free(registry->store->allocator, consumers);
    return status;
}

daybook_status dbk_consumer_check_retention(struct dbk_consumers *registry, dbk_stream *stream,
                                            const daybook_consumer_config *config, daybook_error *error) {
    if (dbk_consumer_retention(stream) != DAYBOOK_RETENTION_WORKQUEUE) return DAYBOOK_OK;
    if (config->ack != DAYBOOK_ACK_EXPLICIT || config->deliver != DAYBOOK_DELIVER_ALL)
        return dbk_fail(error, DAYBOOK_EINVALID,
                        "stream %.*s is a work queue: its consumers deliver all and acknowledge explicitly",
                        (int)stream->name.size, (const char *)stream->name.data);
    return check_others(registry, stream, config, error);
}
