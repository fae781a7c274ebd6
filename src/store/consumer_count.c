// SPDX-License-Identifier: Apache-2.0
// num_pending: the number of matching events that were not delivered yet.
//
// It is counted once, by the index (count.c), and kept: `ahead` holds for the events up to `counted_seq`.
// What came since is counted when it is asked for, each delivery takes one off, and where something ahead was
// removed (`recount`) all is counted anew. Checkpoints carry it over closing and crashes (consumer_log.c).
//
// Whoever is asked for the count counts anew as often as it takes. Delivering messages may not cost more for
// their counts than for themselves: where events ahead are removed again and again, or cannot be read, a
// fetch counts anew only after it has done without for RECOUNT_SHARE times as long as counting took, and says
// what it knows. So does daybook_consumer_look.
//
// ahead, counted_seq and is_counted are changed under fetch_lock and the consumer's lock, and read under
// either.
#include "base/time.h"
#include "store/consumer.h"

enum { RECOUNT_SHARE = 20 };
#define DEAR_NS DBK_MILLISECOND_NS

// What of the list, ascending seqs, is still to come and stored.
static daybook_status count_list(dbk_consumer *consumer, const uint64_t *list, size_t list_count,
                                 uint64_t *count_out, daybook_error *error) {
    *count_out = 0;
    for (size_t i = 0; i < list_count; i++) {
        if (list[i] <= consumer->delivery.delivered_seq) continue;
        daybook_cursor *cursor;
        daybook_recorded_event event;
        daybook_status status = dbk_consumer_read_one(consumer, list[i], &cursor, &event, error);
        daybook_cursor_close(cursor);
        if (status == DAYBOOK_OK) ++*count_out;
        if (status != DAYBOOK_OK && status != DAYBOOK_END) return status;
    }
    return DAYBOOK_OK;
}

static daybook_status count_from(dbk_consumer *consumer, uint64_t seq, dbk_count_bound *bound,
                                 uint64_t *count_out, daybook_error *error) {
    const daybook_consumer_config *config = consumer->config;
    return dbk_count_matching(consumer->store, consumer->stream, config->filters, config->filter_count, seq,
                              bound, count_out, error);
}

static void set_count(dbk_consumer *consumer, bool is_counted, uint64_t ahead, uint64_t seq) {
    pthread_mutex_lock(&consumer->lock);
    consumer->is_counted = is_counted;
    consumer->ahead = ahead;
    consumer->counted_seq = seq;
    pthread_mutex_unlock(&consumer->lock);
}

static daybook_status count_anew(dbk_consumer *consumer, daybook_error *error) {
    daybook_vfs *vfs = consumer->store->vfs;
    int64_t begin_ns = vfs->clock_monotonic_ns(vfs);
    atomic_store(&consumer->recount, false); // what is removed from now on may be missed
    dbk_count_bound bound = {0};
    uint64_t count = 0, listed = 0;
    daybook_status status = count_from(consumer, dbk_consumer_next_seq(consumer), &bound, &count, error);
    if (status == DAYBOOK_OK)
        status = count_list(consumer, consumer->start.list, consumer->start.list_count, &listed, error);
    set_count(consumer, status == DAYBOOK_OK, count + listed, bound.seq);
    int64_t end_ns = vfs->clock_monotonic_ns(vfs);
    if (end_ns - begin_ns > DEAR_NS) consumer->count_is_dear = true;
    consumer->recount_after_ns = end_ns + (end_ns - begin_ns) * RECOUNT_SHARE;
    return status;
}

static daybook_status count_since(dbk_consumer *consumer, daybook_error *error) {
    if (atomic_load(&consumer->stream->published_seq) <= consumer->counted_seq) return DAYBOOK_OK;
    uint64_t next = dbk_consumer_next_seq(consumer), count;
    if (next <= consumer->counted_seq) next = consumer->counted_seq + 1;
    dbk_count_bound bound;
    DBK_TRY(count_from(consumer, next, &bound, &count, error));
    set_count(consumer, true, consumer->ahead + count, bound.seq);
    return DAYBOOK_OK;
}

// Settled before they were delivered, as a crash may leave some: nobody will get them.
static daybook_status leave_out_early(dbk_consumer *consumer, uint64_t *count_out, daybook_error *error) {
    uint64_t early = 0;
    daybook_status status =
        count_list(consumer, consumer->delivery.early, consumer->delivery.early_count, &early, error);
    *count_out = consumer->ahead > early ? consumer->ahead - early : 0;
    return status;
}

daybook_status dbk_consumer_count_ahead(dbk_consumer *consumer, uint64_t *count_out, daybook_error *error) {
    bool anew = atomic_load(&consumer->recount) || !consumer->is_counted;
    daybook_status status = anew ? count_anew(consumer, error) : count_since(consumer, error);
    *count_out = consumer->ahead;
    return status == DAYBOOK_OK ? leave_out_early(consumer, count_out, error) : status;
}

daybook_status dbk_consumer_update_count(dbk_consumer *consumer, daybook_error *error) {
    daybook_vfs *vfs = consumer->store->vfs;
    bool anew = atomic_load(&consumer->recount) || !consumer->is_counted;
    if (anew && vfs->clock_monotonic_ns(vfs) < consumer->recount_after_ns) return DAYBOOK_OK;
    daybook_status status = anew ? count_anew(consumer, error) : count_since(consumer, error);
    // What cannot be counted is delivered all the same.
    return status == DAYBOOK_ENOMEM ? status : DAYBOOK_OK;
}

daybook_status dbk_consumer_known_ahead(dbk_consumer *consumer, uint64_t *count_out, daybook_error *error) {
    *count_out = 0;
    DBK_TRY(dbk_consumer_update_count(consumer, error));
    return leave_out_early(consumer, count_out, error);
}

void dbk_consumer_take_off(dbk_consumer *consumer, uint64_t seq) {
    if (seq <= consumer->counted_seq && consumer->ahead > 0) consumer->ahead--;
}
