// SPDX-License-Identifier: Apache-2.0
// Removing events: by users (delete, purge), by roll-up (decide.c) and by limits.
//
// What users remove is committed like an append and applied when durable; then no read returns it, also after
// a crash. What limits remove follows from configuration and content: it is applied to memory at once, its
// record rides along with a later group, and after a crash it is worked out again. Both are records of
// positions (record/record.h); applying one marks positions dead in their sources, or raises the stream's
// marks, and lowers the stream's counts.
//
// Counts come from the record, so an event must not be listed in two records: whoever looks for events to
// remove holds the stream's trim_lock until its record is applied. Trimming never waits for it (the commit
// thread must not): it leaves a request, which the holder serves when it is through.
#include <stdio.h>

#include "base/assert.h"
#include "base/time.h"
#include "daybook/subject.h"
#include "store/commit.h"
#include "store/consumer.h"
#include "store/conventions.h"
#include "store/expiry.h"
#include "store/ranges.h"

enum { RANGES_PER_RECORD = 50000, SNAPSHOT_TRIES_MAX = 100, AGE_RETRY_S = 60 };

struct dbk_trim_request {
    struct dbk_trim_request *next;
    uint64_t trim_from; // at or before the event it is for
    size_t subject_size;
    char subject[];
};

// ---- Applying ---------------------------------------------------------------------------------------------

// In one step: a group may be published meanwhile, which adds to the counter without removal_lock.
static void lower(atomic_uint_fast64_t *counter, uint64_t by) {
    uint64_t value = atomic_load(counter);
    do {
        DBK_ASSERT_SLOW(value >= by);
    } while (!atomic_compare_exchange_weak(counter, &value, value >= by ? value - by : 0));
}

static void raise_mark(atomic_uint_fast64_t *mark, uint64_t to) {
    if (to > atomic_load(mark)) atomic_store_explicit(mark, to, memory_order_release);
}

void dbk_store_apply_remove(daybook_store *store, const dbk_remove *remove) {
    dbk_stream *stream = dbk_stream_table_find_id(store->streams, remove->stream_id);
    if (stream == NULL || atomic_load(&stream->removed)) return;
    bool for_ever = remove->reason == DBK_REMOVE_DELETE || remove->reason == DBK_REMOVE_PURGE;
    dbk_view *view = dbk_store_get_view(store);
    dbk_slice cursor = remove->ranges;
    uint64_t end = 0;
    dbk_position_range range;
    while (dbk_remove_next_range(&cursor, &end, &range)) {
        for (size_t i = dbk_view_find(view, range.first);
             i < view->source_count && view->sources[i]->position_first <= range.last; i++)
            dbk_source_mark_dead(view->sources[i], range.first, range.last, for_ever);
    }
    dbk_view_unref(view);
    raise_mark(&stream->first_seq, remove->first_seq);
    raise_mark(&stream->first_position, remove->first_position);
    if (for_ever) raise_mark(&stream->purged_position, remove->first_position);
    lower(&stream->message_count, remove->removed_count);
    lower(&stream->byte_count, remove->removed_bytes);
    dbk_consumers_note_removed(store, stream->id,
                               end > remove->first_position ? end : remove->first_position);
}

// ---- Lists of positions -----------------------------------------------------------------------------------

typedef struct removal {
    daybook_store *store;
    dbk_stream *stream;
    dbk_remove_reason reason;
    dbk_ranges ranges; // ascending, or descending while collected backwards
    dbk_ranges seqs;   // of the same, where somebody consumes
    uint64_t *bytes;   // by users: of the events of each range
    size_t bytes_capacity;
    uint64_t removed_count;
    uint64_t removed_bytes;
    uint64_t first_seq;
    uint64_t first_position;
} removal;

static daybook_status add_event(removal *removed, const dbk_event *event) {
    removed->removed_count++;
    removed->removed_bytes += dbk_event_cost(event);
    // One that is missing is found gone when it would be delivered again.
    if (atomic_load(&removed->store->consumers) != NULL)
        (void)dbk_ranges_add(&removed->seqs, removed->store->allocator, event->seq);
    return dbk_ranges_add(&removed->ranges, removed->store->allocator, event->position);
}

// The same, with what each range holds, so that the list can be committed in parts.
static daybook_status add_counted(removal *removed, const dbk_event *event) {
    size_t count = removed->ranges.count;
    uint64_t *bytes = dbk_grow_array(removed->store->allocator, removed->bytes, &removed->bytes_capacity,
                                     count + 1, sizeof *bytes);
    if (bytes == NULL) return DAYBOOK_ENOMEM;
    removed->bytes = bytes;
    DBK_TRY(add_event(removed, event));
    if (removed->ranges.count > count) bytes[count] = 0;
    bytes[removed->ranges.count - 1] += dbk_event_cost(event);
    return DAYBOOK_OK;
}

static void reverse_counted(removal *removed) {
    dbk_ranges_reverse(&removed->ranges);
    for (size_t i = 0, j = removed->ranges.count; i + 1 < j; i++) {
        uint64_t swap = removed->bytes[i];
        removed->bytes[i] = removed->bytes[--j];
        removed->bytes[j] = swap;
    }
}

static void deinit_removal(removal *removed) {
    dbk_ranges_deinit(&removed->ranges, removed->store->allocator);
    dbk_ranges_deinit(&removed->seqs, removed->store->allocator);
    dbk_free(removed->store->allocator, removed->bytes);
}

static daybook_status encode_removal(const removal *removed, dbk_buf *buf) {
    dbk_remove record = {
        .stream_id = removed->stream->id,
        .reason = removed->reason,
        .removed_count = removed->removed_count,
        .removed_bytes = removed->removed_bytes,
        .first_seq = removed->first_seq,
        .first_position = removed->first_position,
    };
    return dbk_remove_encode(&record, removed->ranges.items, removed->ranges.count, buf);
}

static void apply_records(daybook_store *store, dbk_slice records) {
    const uint8_t *at = records.data;
    for (size_t left = records.size; left > 0;) {
        dbk_record_kind kind;
        size_t size;
        dbk_remove remove;
        daybook_status status = dbk_record_peek(daybook_bytes(at, left), &kind, &size);
        DBK_ASSERT(status == DAYBOOK_OK && kind == DBK_RECORD_REMOVE);
        status = dbk_remove_decode(daybook_bytes(at, size), &remove);
        DBK_ASSERT(status == DAYBOOK_OK);
        dbk_store_apply_remove(store, &remove);
        at += size;
        left -= size;
    }
}

void dbk_store_apply_removals(daybook_store *store, dbk_slice records) {
    pthread_mutex_lock(&store->removal_lock);
    apply_records(store, records);
    pthread_mutex_unlock(&store->removal_lock);
}

// ---- Limits -----------------------------------------------------------------------------------------------

// Apply what limits remove, and leave the record for the next group.
static daybook_status trim_now(const removal *removed, daybook_error *error) {
    if (removed->removed_count == 0) return DAYBOOK_OK;
    daybook_store *store = removed->store;
    dbk_buf buf;
    dbk_buf_init(&buf, store->allocator, DBK_RECORD_SIZE_MAX);
    daybook_status status = encode_removal(removed, &buf);
    if (status == DAYBOOK_OK) {
        dbk_slice record = daybook_bytes(buf.data, buf.size);
        pthread_mutex_lock(&store->removal_lock);
        if (removed->stream->storage == DAYBOOK_STORAGE_FILE) status = dbk_commit_lazily(store, record);
        if (status == DAYBOOK_OK) apply_records(store, record);
        pthread_mutex_unlock(&store->removal_lock);
    }
    dbk_buf_deinit(&buf);
    if (status != DAYBOOK_OK) return dbk_fail(error, status, "out of memory trimming a stream");
    return DAYBOOK_OK;
}

// The oldest events that count, bytes or age no longer allow: one mark.
static daybook_status trim_oldest(daybook_store *store, dbk_stream *stream, daybook_error *error) {
    const daybook_stream_config *config = atomic_load(&stream->config);
    uint64_t count = atomic_load(&stream->message_count);
    uint64_t bytes = atomic_load(&stream->byte_count);
    bool discards_old = config->discard == DAYBOOK_DISCARD_OLD;
    bool over_count = discards_old && config->max_msgs > 0 && count > config->max_msgs;
    bool over_bytes = discards_old && config->max_bytes > 0 && bytes > config->max_bytes;
    if (count == 0) return DAYBOOK_OK;
    // Where events have times to live, age goes event by event (expiry.c): some may be there to stay.
    bool ages = config->max_age_ns > 0 && (config->flags & DAYBOOK_STREAM_ALLOW_TTL) == 0;
    if (!ages && !over_count && !over_bytes) return DAYBOOK_OK;
    int64_t oldest_ns = ages ? dbk_clock_expiry_ns(store) - config->max_age_ns : INT64_MIN;

    daybook_query query;
    daybook_query_init(&query);
    daybook_cursor *cursor;
    DBK_TRY(dbk_cursor_open(store, &query, stream, &cursor, error));
    removal removed = {.store = store, .stream = stream, .reason = DBK_REMOVE_LIMIT};
    daybook_status status;
    daybook_recorded_event unused;
    while ((status = daybook_cursor_next(cursor, 0, &unused, error)) == DAYBOOK_OK) {
        const dbk_event *event = dbk_cursor_event(cursor);
        over_count = discards_old && config->max_msgs > 0 && count > config->max_msgs;
        over_bytes = discards_old && config->max_bytes > 0 && bytes > config->max_bytes;
        if (!over_count && !over_bytes && event->recorded_ns > oldest_ns) break;
        removed.removed_count++;
        removed.removed_bytes += dbk_event_cost(event);
        removed.first_seq = event->seq + 1;
        removed.first_position = event->position + 1;
        count--;
        bytes -= dbk_event_cost(event);
    }
    daybook_cursor_close(cursor);
    if (status != DAYBOOK_OK && status != DAYBOOK_END) return status;
    return trim_now(&removed, error);
}

// All but the newest events of one subject.
static daybook_status trim_subject(daybook_store *store, dbk_stream *stream, dbk_slice subject,
                                   daybook_error *error) {
    const daybook_stream_config *config = atomic_load(&stream->config);
    if (config->max_msgs_per_subject == 0 || (config->flags & DAYBOOK_STREAM_DISCARD_NEW_PER_SUBJECT) != 0)
        return DAYBOOK_OK;
    dbk_view *view = dbk_store_get_view(store);
    dbk_memtable *active = view->sources[view->source_count - 1]->memtable;
    daybook_query query;
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_REVERSE;
    query.filters = &subject;
    query.filter_count = 1;
    query.position_from = active == NULL ? 0 : dbk_memtable_subject_floor(active, stream->id, subject);
    daybook_cursor *cursor;
    daybook_status status = dbk_cursor_open(store, &query, stream, &cursor, error);
    if (status != DAYBOOK_OK) {
        dbk_view_unref(view);
        return status;
    }
    removal removed = {.store = store, .stream = stream, .reason = DBK_REMOVE_LIMIT};
    uint64_t kept = 0, floor = 0;
    daybook_recorded_event unused;
    while ((status = daybook_cursor_next(cursor, 0, &unused, error)) == DAYBOOK_OK) {
        const dbk_event *event = dbk_cursor_event(cursor);
        if (kept < config->max_msgs_per_subject) {
            kept++;
            floor = event->position;
        } else if ((status = add_event(&removed, event)) != DAYBOOK_OK) {
            break;
        }
    }
    daybook_cursor_close(cursor);
    if (status == DAYBOOK_END) status = DAYBOOK_OK;
    if (status == DAYBOOK_OK) {
        dbk_ranges_reverse(&removed.ranges);
        status = trim_now(&removed, error);
    }
    if (status == DAYBOOK_OK) dbk_consumers_drop_events(store, stream, &removed.seqs);
    if (status == DAYBOOK_OK && active != NULL)
        dbk_memtable_set_subject_floor(active, stream->id, subject, floor);
    deinit_removal(&removed);
    dbk_view_unref(view);
    return status;
}

// One subject, or the stream as a whole where it is empty.
static daybook_status trim_locked(daybook_store *store, dbk_stream *stream, dbk_slice subject,
                                  daybook_error *error) {
    if (atomic_load(&stream->removed)) return DAYBOOK_OK;
    return subject.size > 0 ? trim_subject(store, stream, subject, error) : trim_oldest(store, stream, error);
}

void dbk_stream_lock_trim(dbk_stream *stream) {
    pthread_mutex_lock(&stream->trim_lock);
}

static struct dbk_trim_request *take_requests(daybook_store *store, dbk_stream *stream) {
    pthread_mutex_lock(&store->removal_lock);
    struct dbk_trim_request *requests = stream->trim_requests;
    stream->trim_requests = NULL;
    pthread_mutex_unlock(&store->removal_lock);
    return requests;
}

static void serve_request(daybook_store *store, dbk_stream *stream, const struct dbk_trim_request *request) {
    daybook_error error;
    daybook_error_init(&error);
    dbk_slice subject = daybook_bytes(request->subject, request->subject_size);
    if (trim_locked(store, stream, subject, &error) != DAYBOOK_OK)
        dbk_commit_owe_failed_trim(store, request->trim_from, &error);
}

// Subjects first, then the stream as a whole: once for all who asked. The trim lock is held.
static void serve_requests(daybook_store *store, dbk_stream *stream, struct dbk_trim_request *requests) {
    const struct dbk_trim_request *whole = NULL; // the one that began to owe first
    for (const struct dbk_trim_request *request = requests; request != NULL; request = request->next) {
        if (request->subject_size > 0)
            serve_request(store, stream, request);
        else if (whole == NULL || request->trim_from < whole->trim_from)
            whole = request;
    }
    if (whole != NULL) serve_request(store, stream, whole);
    while (requests != NULL) {
        struct dbk_trim_request *next = requests->next;
        dbk_free(store->allocator, requests);
        requests = next;
    }
}

void dbk_stream_unlock_trim(daybook_store *store, dbk_stream *stream) {
    pthread_mutex_unlock(&stream->trim_lock);
    // Whoever left a request while we held the lock counts on us.
    for (;;) {
        pthread_mutex_lock(&store->removal_lock);
        bool waiting = stream->trim_requests != NULL;
        pthread_mutex_unlock(&store->removal_lock);
        if (!waiting || pthread_mutex_trylock(&stream->trim_lock) != 0) return;
        serve_requests(store, stream, take_requests(store, stream));
        pthread_mutex_unlock(&stream->trim_lock);
    }
}

static daybook_status trim(daybook_store *store, dbk_stream *stream, dbk_slice subject,
                           daybook_error *error) {
    if (pthread_mutex_trylock(&stream->trim_lock) != 0) {
        struct dbk_trim_request *request = dbk_alloc(store->allocator, sizeof *request + subject.size);
        if (request == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory trimming a stream");
        pthread_mutex_lock(&store->state_lock);
        request->trim_from = dbk_commit_trim_from(store);
        pthread_mutex_unlock(&store->state_lock);
        request->subject_size = subject.size;
        if (subject.size > 0) memcpy(request->subject, subject.data, subject.size);
        pthread_mutex_lock(&store->removal_lock);
        request->next = stream->trim_requests;
        stream->trim_requests = request;
        pthread_mutex_unlock(&store->removal_lock);
        // The holder may have let go before it could see the request.
        if (pthread_mutex_trylock(&stream->trim_lock) != 0) return DAYBOOK_OK;
        dbk_stream_unlock_trim(store, stream);
        return DAYBOOK_OK;
    }
    daybook_status status = trim_locked(store, stream, subject, error);
    dbk_stream_unlock_trim(store, stream);
    return status;
}

daybook_status dbk_store_trim(daybook_store *store, dbk_stream *stream, daybook_error *error) {
    return trim(store, stream, daybook_bytes(NULL, 0), error);
}

daybook_status dbk_store_trim_subject(daybook_store *store, dbk_stream *stream, dbk_slice subject,
                                      daybook_error *error) {
    return trim(store, stream, subject, error);
}

// The trim lock is held.
static daybook_status remove_settled(removal *removed, const daybook_query *query,
                                     bool (*may_go)(void *context, const dbk_event *event), void *context,
                                     daybook_error *error) {
    daybook_cursor *cursor;
    DBK_TRY(dbk_cursor_open(removed->store, query, removed->stream, &cursor, error));
    daybook_status status;
    daybook_recorded_event unused;
    while ((status = daybook_cursor_next(cursor, 0, &unused, error)) == DAYBOOK_OK) {
        const dbk_event *event = dbk_cursor_event(cursor);
        if (may_go != NULL && !may_go(context, event)) continue;
        status = add_event(removed, event);
        if (status == DAYBOOK_OK && removed->ranges.count >= RANGES_PER_RECORD) {
            status = trim_now(removed, error);
            removed->ranges.count = removed->seqs.count = 0;
            removed->removed_count = removed->removed_bytes = 0;
        }
        if (status != DAYBOOK_OK) break;
    }
    daybook_cursor_close(cursor);
    return status == DAYBOOK_END ? trim_now(removed, error) : status;
}

daybook_status dbk_store_remove_settled(daybook_store *store, dbk_stream *stream, uint64_t seq_first,
                                        uint64_t seq_last,
                                        bool (*may_go)(void *context, const dbk_event *event), void *context,
                                        daybook_error *error) {
    removal removed = {.store = store, .stream = stream, .reason = DBK_REMOVE_LIMIT};
    daybook_query query;
    daybook_query_init(&query);
    query.seq_from = seq_first;
    query.seq_to = seq_last;
    dbk_stream_lock_trim(stream);
    daybook_status status = DAYBOOK_OK;
    if (!atomic_load(&stream->removed)) status = remove_settled(&removed, &query, may_go, context, error);
    dbk_stream_unlock_trim(store, stream);
    deinit_removal(&removed); // settled by all that wanted it: nobody waits for it
    if (status == DAYBOOK_ENOMEM) return dbk_fail(error, status, "out of memory removing settled messages");
    return status;
}

// A damaged block is told to whoever reads it. It must not keep a store from being opened for writing, nor
// the limits of others from being enforced.
static daybook_status pass_damage(daybook_store *store, daybook_status status, const daybook_error *detail,
                                  daybook_error *error) {
    if (status == DAYBOOK_EDAMAGED) {
        dbk_store_log(store, DAYBOOK_LOG_WARNING, "limits of a stream: %s", detail->message);
        return DAYBOOK_OK;
    }
    if (status != DAYBOOK_OK && error != NULL) *error = *detail;
    return status;
}

// What has aged is hidden, so that what cannot be read of it may stay for a while: it must not keep the ages
// of others from being enforced, nor other background work from being done, nor be asked for and told of each
// second.
static daybook_status pass_unreadable(daybook_store *store, dbk_stream *stream, daybook_status status,
                                      const daybook_error *detail, daybook_error *error) {
    if (dbk_is_unreadable(status)) {
        int64_t now_ns = store->vfs->clock_monotonic_ns(store->vfs);
        atomic_store(&stream->age_retry_ns, now_ns + AGE_RETRY_S * DBK_SECOND_NS);
        dbk_store_log(store, DAYBOOK_LOG_WARNING,
                      "what has aged in stream %.*s cannot be removed, but is hidden: %s",
                      (int)stream->name.size, (const char *)stream->name.data, detail->message);
        return DAYBOOK_OK;
    }
    if (status != DAYBOOK_OK && error != NULL) *error = *detail;
    return status;
}

static bool is_left_alone(const daybook_store *store, dbk_stream *stream) {
    return store->vfs->clock_monotonic_ns(store->vfs) < atomic_load(&stream->age_retry_ns);
}

// ---- Times to live ----------------------------------------------------------------------------------------

// One that is due: into the list, unless it has to stay for now.
static daybook_status look_at_due(removal *removed, const dbk_view *view, dbk_due *due, dbk_block_view *block,
                                  int64_t now_ns, dbk_may_go may_go, void *context, daybook_error *error) {
    size_t at = dbk_view_find(view, due->position);
    dbk_source *source = at < view->source_count ? view->sources[at] : NULL;
    due->is_done = source == NULL || due->position < source->position_first || // merged away
                   due->position < atomic_load(&removed->stream->first_position) ||
                   dbk_source_is_dead(source, due->position);
    if (due->is_done) return DAYBOOK_OK;
    DBK_TRY(dbk_source_check(source, error));
    dbk_event event;
    daybook_status status = dbk_source_read(source, due->position, block, &event, error);
    if (status != DAYBOOK_OK) {
        due->is_done = status == DAYBOOK_ENOTFOUND;
        return due->is_done ? DAYBOOK_OK : status;
    }
    // defensive: the index says what the event does not
    bool is_due = event.stream_id == removed->stream->id && event.ttl_s > 0 &&
                  dbk_event_expiry_ns(&event) <= now_ns;
    DBK_ASSERT_SLOW(is_due);
    due->is_done = !is_due;
    if (!is_due) return DAYBOOK_OK;
    bool goes = false;
    DBK_TRY(may_go(context, removed->stream, &event, &goes, error));
    if (goes && add_event(removed, &event) != DAYBOOK_OK)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory removing what has expired");
    due->is_done = goes;
    return DAYBOOK_OK;
}

daybook_status dbk_store_remove_due(daybook_store *store, dbk_stream *stream, dbk_due *dues, size_t count,
                                    int64_t now_ns, dbk_may_go may_go, void *context, daybook_error *error) {
    if (pthread_mutex_trylock(&stream->trim_lock) != 0) return DAYBOOK_OK;
    // The source they were found in may have been replaced, and then it does not learn what is removed. Of
    // this view all that was removed from the stream is known, as nobody else removes from it now.
    dbk_view *view = dbk_store_get_view(store);
    removal removed = {.store = store, .stream = stream, .reason = DBK_REMOVE_LIMIT};
    dbk_block_view block = {0};
    daybook_status status = DAYBOOK_OK, trimmed;
    daybook_status unreadable = DAYBOOK_OK;
    for (size_t i = 0; status == DAYBOOK_OK && i < count; i++) {
        status = look_at_due(&removed, view, &dues[i], &block, now_ns, may_go, context, error);
        if (!dbk_is_unreadable(status)) continue;
        unreadable = status; // what lies in other blocks may go
        status = DAYBOOK_OK;
    }
    if (status == DAYBOOK_OK) status = unreadable;
    dbk_block_release(&block);
    dbk_view_unref(view);
    trimmed = trim_now(&removed, status == DAYBOOK_OK ? error : NULL);
    if (trimmed == DAYBOOK_OK) {
        dbk_consumers_drop_events(store, stream, &removed.seqs);
    } else {
        for (size_t i = 0; i < count; i++) dues[i].is_done = false; // dead ones are found so again
    }
    dbk_stream_unlock_trim(store, stream);
    deinit_removal(&removed);
    return status == DAYBOOK_OK ? trimmed : status;
}

// What ages goes by the mark as long as everything below is gone, then one by one: some have stayed.
typedef struct aging {
    removal removed;
    int64_t now_ns;
    dbk_may_go may_go;
    void *context;
    uint64_t aged_position; // everything below is gone, or never goes
    bool goes_by_mark;
    bool has_stayed; // one that is to go later
} aging;

static daybook_status look_at_aged(aging *of, const dbk_event *event, daybook_error *error) {
    removal *removed = &of->removed;
    bool goes = event->ttl_s != DAYBOOK_TTL_NEVER;
    if (goes) DBK_TRY(of->may_go(of->context, removed->stream, event, &goes, error));
    if (event->ttl_s != DAYBOOK_TTL_NEVER && !goes) of->has_stayed = true;
    if (!of->has_stayed) of->aged_position = event->position + 1;
    if (!goes) {
        of->goes_by_mark = false;
        return DAYBOOK_OK;
    }
    if (of->goes_by_mark) {
        removed->removed_count++;
        removed->removed_bytes += dbk_event_cost(event);
        removed->first_seq = event->seq + 1;
        removed->first_position = event->position + 1;
        return DAYBOOK_OK;
    }
    if (add_event(removed, event) == DAYBOOK_OK) return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory removing what has expired");
}

static daybook_status remove_aged(aging *of, size_t count_max, bool *is_more_out, int64_t *next_ns_out,
                                  daybook_error *error) {
    dbk_stream *stream = of->removed.stream;
    daybook_query query;
    daybook_query_init(&query);
    uint64_t aged_position = atomic_load(&stream->aged_position);
    query.position_from = aged_position;
    of->aged_position = aged_position;
    of->goes_by_mark = atomic_load(&stream->first_position) >= aged_position;
    daybook_cursor *cursor;
    DBK_TRY(dbk_cursor_open(of->removed.store, &query, stream, &cursor, error));
    daybook_recorded_event unused;
    daybook_status status = DAYBOOK_OK;
    size_t count = 0;
    for (; status == DAYBOOK_OK && count < count_max; count++) {
        if ((status = daybook_cursor_next(cursor, 0, &unused, error)) != DAYBOOK_OK) break;
        const dbk_event *event = dbk_cursor_event(cursor);
        bool has_aged = dbk_clock_has_aged_at(of->now_ns, stream, event->recorded_ns);
        if (!has_aged) *next_ns_out = dbk_time_after(event->recorded_ns, dbk_stream_max_age_ns(stream));
        if (!has_aged) break;
        status = look_at_aged(of, event, error);
    }
    daybook_cursor_close(cursor);
    if (status != DAYBOOK_OK && status != DAYBOOK_END) return status;
    DBK_TRY(trim_now(&of->removed, error));
    dbk_consumers_drop_events(of->removed.store, stream, &of->removed.seqs);
    if (of->has_stayed) *next_ns_out = of->now_ns;
    *is_more_out = count == count_max && (of->removed.removed_count > 0 || of->aged_position > aged_position);
    atomic_store(&stream->aged_position, of->aged_position);
    return DAYBOOK_OK;
}

daybook_status dbk_store_remove_aged(daybook_store *store, dbk_stream *stream, size_t count_max,
                                     int64_t now_ns, dbk_may_go may_go, void *context, bool *is_more_out,
                                     int64_t *next_ns_out, daybook_error *error) {
    *is_more_out = false;
    *next_ns_out = INT64_MAX;
    if (atomic_load(&stream->message_count) == 0 || is_left_alone(store, stream) ||
        pthread_mutex_trylock(&stream->trim_lock) != 0)
        return DAYBOOK_OK;
    aging of = {.removed = {.store = store, .stream = stream, .reason = DBK_REMOVE_LIMIT},
                .now_ns = now_ns,
                .may_go = may_go,
                .context = context};
    daybook_error detail;
    daybook_error_init(&detail);
    daybook_status status = remove_aged(&of, count_max, is_more_out, next_ns_out, &detail);
    dbk_stream_unlock_trim(store, stream);
    deinit_removal(&of.removed);
    return pass_unreadable(store, stream, status, &detail, error);
}

// Those of the oldest that max_age hides, where some may stay, and those hidden by their own times to live.
static daybook_status count_with_ttls(daybook_store *store, dbk_stream *stream, int64_t now_ns,
                                      uint64_t *count_out, uint64_t *bytes_out, daybook_error *error) {
    DBK_TRY(dbk_expiry_count(store, stream, now_ns, count_out, bytes_out, error));
    if (dbk_stream_max_age_ns(stream) == 0) return DAYBOOK_OK;
    daybook_query query;
    daybook_query_init(&query);
    daybook_cursor *cursor;
    DBK_TRY(dbk_cursor_open(store, &query, stream, &cursor, error));
    daybook_status status;
    daybook_recorded_event event;
    while ((status = daybook_cursor_next(cursor, 0, &event, error)) == DAYBOOK_OK &&
           dbk_clock_has_aged_at(now_ns, stream, event.recorded_ns)) {
        if (event.event.ttl_s == DAYBOOK_TTL_NEVER) continue;
        ++*count_out;
        *bytes_out += dbk_event_cost(dbk_cursor_event(cursor));
    }
    daybook_cursor_close(cursor);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

daybook_status dbk_store_count_expired(daybook_store *store, dbk_stream *stream, uint64_t *count_out,
                                       uint64_t *bytes_out, daybook_error *error) {
    *count_out = *bytes_out = 0;
    const daybook_stream_config *config = atomic_load(&stream->config);
    bool allows_ttl = (config->flags & DAYBOOK_STREAM_ALLOW_TTL) != 0;
    if (!store->read_only || (config->max_age_ns == 0 && !allows_ttl) ||
        atomic_load(&stream->message_count) == 0)
        return DAYBOOK_OK;
    int64_t now_ns = dbk_clock_expiry_ns(store);
    if (allows_ttl) return count_with_ttls(store, stream, now_ns, count_out, bytes_out, error);
    daybook_query query;
    daybook_query_init(&query);
    daybook_cursor *cursor;
    DBK_TRY(dbk_cursor_open(store, &query, stream, &cursor, error));
    daybook_status status;
    daybook_recorded_event event;
    while ((status = daybook_cursor_next(cursor, 0, &event, error)) == DAYBOOK_OK &&
           event.recorded_ns <= now_ns - config->max_age_ns) {
        ++*count_out;
        *bytes_out += dbk_event_cost(dbk_cursor_event(cursor));
    }
    daybook_cursor_close(cursor);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

static daybook_status trim_age(daybook_store *store, dbk_stream *stream, daybook_error *error) {
    const daybook_stream_config *config = atomic_load(&stream->config);
    if (config->max_age_ns == 0 || is_left_alone(store, stream)) return DAYBOOK_OK;
    daybook_error detail;
    daybook_error_init(&detail);
    daybook_status status = dbk_store_trim(store, stream, &detail);
    return pass_unreadable(store, stream, status, &detail, error);
}

daybook_status dbk_store_trim_ages(daybook_store *store, daybook_error *error) {
    DBK_TRY(dbk_commit_trim_owed(store, error));
    dbk_stream **streams;
    size_t count;
    if (dbk_stream_table_all(store->streams, &streams, &count) != DAYBOOK_OK)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory enforcing the age of events");
    daybook_status status = DAYBOOK_OK;
    for (size_t i = 0; status == DAYBOOK_OK && i < count; i++) status = trim_age(store, streams[i], error);
    dbk_free(store->allocator, streams);
    // While the store is opened nobody is there yet to be told that a marker is stored.
    return status == DAYBOOK_OK ? dbk_store_expire(store, store->maintenance != NULL, error) : status;
}

// One subject; the stream as a whole where it is empty.
static daybook_status trim_past_damage(daybook_store *store, dbk_stream *stream, dbk_slice subject,
                                       daybook_error *error) {
    daybook_error detail;
    daybook_error_init(&detail);
    daybook_status status = trim(store, stream, subject, &detail);
    return pass_damage(store, status, &detail, error);
}

// Events that were flushed before their limits per subject could be enforced.
static daybook_status trim_flushed(daybook_store *store, uint64_t position_from, daybook_error *error) {
    uint64_t flushed = atomic_load(&store->flushed_position);
    if (position_from > flushed) return DAYBOOK_OK;
    daybook_query query;
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_INTERNAL;
    query.position_from = position_from;
    query.position_to = flushed;
    daybook_cursor *cursor;
    DBK_TRY(dbk_cursor_open(store, &query, NULL, &cursor, error));
    daybook_status status = DAYBOOK_OK;
    daybook_recorded_event unused;
    while (status == DAYBOOK_OK) {
        daybook_error detail;
        daybook_error_init(&detail);
        status = daybook_cursor_next(cursor, 0, &unused, &detail);
        bool is_read = status == DAYBOOK_OK;
        if (status != DAYBOOK_END) status = pass_damage(store, status, &detail, error);
        if (!is_read) continue;
        const dbk_event *event = dbk_cursor_event(cursor);
        dbk_stream *stream = dbk_stream_table_find_id(store->streams, event->stream_id);
        const daybook_stream_config *config = atomic_load(&stream->config);
        if (config->max_msgs_per_subject > 0) status = trim_past_damage(store, stream, event->subject, error);
    }
    daybook_cursor_close(cursor);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

// Events that are in memory tables still.
static daybook_status trim_unflushed(daybook_store *store, uint64_t position_from, daybook_error *error) {
    dbk_view *view = dbk_store_get_view(store);
    daybook_status status = DAYBOOK_OK;
    for (size_t i = view->segment_count; i < view->source_count; i++) {
        dbk_memtable *memtable = view->sources[i]->memtable;
        uint64_t end = dbk_memtable_position_end(memtable);
        uint64_t position = dbk_memtable_position_first(memtable);
        if (position < position_from) position = position_from;
        for (; status == DAYBOOK_OK && position < end; position++) {
            dbk_event event;
            if (dbk_memtable_get(memtable, position, &event) != DAYBOOK_OK) continue;
            dbk_stream *stream = dbk_stream_table_find_id(store->streams, event.stream_id);
            if (stream == NULL || atomic_load(&stream->removed)) continue;
            const daybook_stream_config *config = atomic_load(&stream->config);
            if (config->max_msgs_per_subject > 0)
                status = trim_past_damage(store, stream, event.subject, error);
        }
    }
    dbk_view_unref(view);
    return status;
}

static daybook_status trim_whole(daybook_store *store, dbk_stream *stream, daybook_error *error) {
    if (stream->updated_in_replay) {
        daybook_error detail;
        daybook_error_init(&detail);
        daybook_status status = dbk_stream_trim_subjects(store, stream, &detail);
        DBK_TRY(pass_damage(store, status, &detail, error));
    }
    return trim_past_damage(store, stream, daybook_bytes(NULL, 0), error);
}

// What the device does not give of one must not keep those of others from being enforced: all are tried, and
// EIO then says that some are left.
daybook_status dbk_store_trim_recovered(daybook_store *store, uint64_t position_from, daybook_error *error) {
    daybook_status unreadable = trim_flushed(store, position_from, error);
    if (unreadable != DAYBOOK_OK && unreadable != DAYBOOK_EIO) return unreadable;
    daybook_status status = trim_unflushed(store, position_from, error);
    if (status == DAYBOOK_EIO) unreadable = status;
    if (status != DAYBOOK_OK && status != DAYBOOK_EIO) return status;
    dbk_stream **streams;
    size_t count;
    if (dbk_stream_table_all(store->streams, &streams, &count) != DAYBOOK_OK)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory enforcing limits");
    status = DAYBOOK_OK;
    for (size_t i = 0; status == DAYBOOK_OK && i < count; i++) {
        status = trim_whole(store, streams[i], error);
        if (status != DAYBOOK_EIO) continue;
        unreadable = status;
        status = DAYBOOK_OK;
    }
    dbk_free(store->allocator, streams);
    return status == DAYBOOK_OK ? unreadable : status;
}

// ---- By users ---------------------------------------------------------------------------------------------

// What users remove goes together with the snapshots that may have folded it. Somebody may store one between
// our looking for them and our turn: then we look again, at what is new. One stored later is noticed by
// whoever took it, because the removal is applied before anything later is decided.
typedef struct commit_context {
    daybook_store *store;
    dbk_slice records;
    dbk_stream *snapshots; // NULL: none are concerned
    uint64_t snapshots_seq;
} commit_context;

static bool saw_snapshots(void *context) {
    const commit_context *committed = context;
    return committed->snapshots == NULL || committed->snapshots->last_seq == committed->snapshots_seq;
}

static void apply_committed(void *context) {
    const commit_context *committed = context;
    dbk_store_apply_removals(committed->store, committed->records);
}

// Commit encoded removals; applied when it returns OK. ECONFLICT: there are snapshots behind snapshots_seq.
static daybook_status commit(daybook_store *store, const dbk_buf *records, dbk_stream *snapshots,
                             uint64_t snapshots_seq, daybook_error *error) {
    if (dbk_buf_status(records) != DAYBOOK_OK)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory removing events");
    if (records->size == 0 && snapshots == NULL) return DAYBOOK_OK;
    commit_context committed = {store, daybook_bytes(records->data, records->size), snapshots, snapshots_seq};
    return dbk_commit_records_if(store, committed.records, saw_snapshots, apply_committed, &committed, error);
}

// Both streams' trim locks, ascending by id; `snapshots` may be NULL or the stream itself.
static void lock_both(dbk_stream *stream, dbk_stream *snapshots) {
    if (snapshots == NULL || snapshots == stream) {
        dbk_stream_lock_trim(stream);
        return;
    }
    dbk_stream_lock_trim(stream->id < snapshots->id ? stream : snapshots);
    dbk_stream_lock_trim(stream->id < snapshots->id ? snapshots : stream);
}

static void unlock_both(daybook_store *store, dbk_stream *stream, dbk_stream *snapshots) {
    if (snapshots != NULL && snapshots != stream) dbk_stream_unlock_trim(store, snapshots);
    dbk_stream_unlock_trim(store, stream);
}

static daybook_status collect(daybook_store *store, dbk_stream *stream, const daybook_query *query,
                              uint64_t skip, removal *removed, daybook_error *error) {
    daybook_cursor *cursor;
    DBK_TRY(dbk_cursor_open(store, query, stream, &cursor, error));
    daybook_status status;
    daybook_recorded_event unused;
    while ((status = daybook_cursor_next(cursor, 0, &unused, error)) == DAYBOOK_OK) {
        if (skip > 0) {
            skip--;
        } else if ((status = add_counted(removed, dbk_cursor_event(cursor))) != DAYBOOK_OK) {
            (void)dbk_fail(error, status, "out of memory removing events");
            break;
        }
    }
    daybook_cursor_close(cursor);
    if ((query->flags & DAYBOOK_QUERY_REVERSE) != 0) reverse_counted(removed);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

// Would the removal of events matching `filter` in `stream` concern the snapshot with this subject?
static bool concerns(const dbk_stream *stream, dbk_slice filter, dbk_slice snapshot_subject) {
    char pattern[DAYBOOK_SUBJECT_SIZE_MAX + 2];
    size_t prefix_size = sizeof DBK_SNAPSHOTS_PREFIX - 1;
    if (snapshot_subject.size <= prefix_size ||
        snapshot_subject.size - prefix_size + 2 > DAYBOOK_SUBJECT_SIZE_MAX)
        return false;
    size_t size = snapshot_subject.size - prefix_size;
    memcpy(pattern, (const char *)snapshot_subject.data + prefix_size, size);
    memcpy(pattern + size, ".>", 2);
    if (filter.size > 0) return daybook_filters_overlap(filter, daybook_bytes(pattern, size + 2)) != 0;
    const daybook_stream_config *config = atomic_load(&((dbk_stream *)(uintptr_t)stream)->config);
    for (size_t i = 0; i < config->subject_count; i++) {
        if (daybook_filters_overlap(config->subjects[i], daybook_bytes(pattern, size + 2))) return true;
    }
    return false;
}

// Where snapshots are that removing from `stream` concerns, and how many of them were looked at.
typedef struct folded {
    dbk_stream *snapshots; // its trim lock is held; NULL: there are none
    const dbk_stream *stream;
    dbk_slice filter;
    uint64_t position_from; // not looked at yet
} folded;

// The snapshots not looked at yet, up to position_to, that may have folded events of the stream matching the
// filter, as one record more. What is stored behind position_to meanwhile is for the next look: taken now, it
// would be in both records.
static daybook_status remove_snapshots(daybook_store *store, const folded *of, uint64_t position_to,
                                       dbk_buf *records, daybook_error *error) {
    daybook_query query;
    daybook_query_init(&query);
    query.position_from = of->position_from;
    query.position_to = position_to;
    daybook_cursor *cursor;
    DBK_TRY(dbk_cursor_open(store, &query, of->snapshots, &cursor, error));
    removal removed = {.store = store, .stream = of->snapshots, .reason = DBK_REMOVE_PURGE};
    daybook_status status;
    daybook_recorded_event unused;
    while ((status = daybook_cursor_next(cursor, 0, &unused, error)) == DAYBOOK_OK) {
        const dbk_event *event = dbk_cursor_event(cursor);
        if (!concerns(of->stream, of->filter, event->subject)) continue;
        if ((status = add_event(&removed, event)) != DAYBOOK_OK) break;
    }
    daybook_cursor_close(cursor);
    if (status == DAYBOOK_END)
        status = removed.removed_count > 0 ? encode_removal(&removed, records) : DAYBOOK_OK;
    deinit_removal(&removed);
    if (status == DAYBOOK_ENOMEM) return dbk_fail(error, status, "out of memory removing events");
    return status;
}

// Commit what `records` say, with the snapshots concerned.
static daybook_status commit_with_snapshots(daybook_store *store, folded *of, dbk_buf *records,
                                            daybook_error *error) {
    if (of->snapshots == NULL || of->snapshots == of->stream) return commit(store, records, NULL, 0, error);
    for (int tries = 0; tries < SNAPSHOT_TRIES_MAX; tries++) {
        pthread_mutex_lock(&store->state_lock);
        uint64_t seq = atomic_load(&of->snapshots->published_seq);
        uint64_t position_last = store->published_position;
        pthread_mutex_unlock(&store->state_lock);
        if (position_last >= of->position_from)
            DBK_TRY(remove_snapshots(store, of, position_last, records, error));
        of->position_from = position_last + 1;
        daybook_status status = commit(store, records, of->snapshots, seq, error);
        if (status != DAYBOOK_ECONFLICT) return status;
    }
    return dbk_fail(error, DAYBOOK_EIO,
                    "snapshots were stored again and again while events were being removed; try again");
}

daybook_status dbk_stream_forget_snapshots(daybook_store *store, dbk_stream *stream, daybook_error *error) {
    folded of = {.snapshots = dbk_stream_table_find(store->streams, daybook_text(DBK_SNAPSHOTS_STREAM)),
                 .stream = stream};
    if (of.snapshots == NULL || of.snapshots == stream) return DAYBOOK_OK;
    dbk_buf records;
    dbk_buf_init(&records, store->allocator, DBK_RECORD_SIZE_MAX);
    dbk_stream_lock_trim(of.snapshots);
    daybook_status status = commit_with_snapshots(store, &of, &records, error);
    dbk_stream_unlock_trim(store, of.snapshots);
    dbk_buf_deinit(&records);
    return status;
}

static daybook_status writable_stream(daybook_store *store, dbk_slice name, uint32_t denied_flag,
                                      const char *action, dbk_stream **stream_out, daybook_error *error) {
    if (store->read_only) return dbk_fail(error, DAYBOOK_EREADONLY, "the store is open for reading only");
    *stream_out = dbk_stream_table_find(store->streams, name);
    if (*stream_out == NULL)
        return dbk_fail(error, DAYBOOK_ENOTFOUND, "there is no stream '%.*s'",
                        (int)(name.size < 255 ? name.size : 255), (const char *)name.data);
    const daybook_stream_config *config = atomic_load(&(*stream_out)->config);
    if ((config->flags & denied_flag) != 0)
        return dbk_fail(error, DAYBOOK_EPERMISSION, "stream %.*s denies %s", (int)name.size,
                        (const char *)name.data, action);
    return DAYBOOK_OK;
}

static daybook_status remove_one(daybook_store *store, dbk_stream *stream, dbk_stream *snapshots,
                                 uint64_t seq, uint64_t *position_out, daybook_error *error) {
    daybook_query query;
    daybook_query_init(&query);
    query.seq_from = query.seq_to = seq;
    daybook_cursor *cursor;
    DBK_TRY(dbk_cursor_open(store, &query, stream, &cursor, error));
    daybook_recorded_event unused;
    daybook_status status = daybook_cursor_next(cursor, 0, &unused, error);
    removal removed = {.store = store, .stream = stream, .reason = DBK_REMOVE_DELETE};
    dbk_buf records;
    dbk_buf_init(&records, store->allocator, DBK_RECORD_SIZE_MAX);
    if (status == DAYBOOK_END) {
        status = dbk_fail(error, DAYBOOK_ENOTFOUND, "stream %.*s has no event with seq %llu",
                          (int)stream->name.size, (const char *)stream->name.data, (unsigned long long)seq);
    } else if (status == DAYBOOK_OK) {
        const dbk_event *event = dbk_cursor_event(cursor);
        *position_out = event->position;
        status = add_event(&removed, event);
        if (status == DAYBOOK_OK) status = encode_removal(&removed, &records);
        if (status == DAYBOOK_ENOMEM) (void)dbk_fail(error, status, "out of memory removing an event");
        folded of = {.snapshots = event->aggregate_size > 0 ? snapshots : NULL,
                     .stream = stream,
                     .filter = event->subject};
        if (status == DAYBOOK_OK) status = commit_with_snapshots(store, &of, &records, error);
        if (status == DAYBOOK_OK) dbk_consumers_drop_events(store, stream, &removed.seqs);
    }
    dbk_buf_deinit(&records);
    deinit_removal(&removed);
    daybook_cursor_close(cursor);
    return status;
}

// What is durable is done, whatever becomes of the bytes: say so, and how to go on.
static daybook_status erase_removed(daybook_store *store, uint64_t position_from, const dbk_dropped *dropped,
                                    daybook_error *error) {
    daybook_error detail;
    daybook_error_init(&detail);
    daybook_status status = dbk_maintenance_erase(store, position_from, dropped, &detail);
    if (status == DAYBOOK_OK) return DAYBOOK_OK;
    return dbk_fail(
        error, status,
        "the events are removed, but their bytes are not all overwritten: %.300s; call it again with "
        "erase to have that done",
        detail.message);
}

daybook_status daybook_event_remove(daybook_store *store, daybook_slice name, uint64_t seq, int erase,
                                    daybook_error *error) {
    dbk_stream *stream = NULL;
    if (store == NULL || seq == 0)
        return dbk_fail(error, DAYBOOK_EMISUSE, "an event is removed by stream and seq; seq begins at 1");
    DBK_TRY(writable_stream(store, name, DAYBOOK_STREAM_DENY_DELETE, "deleting events", &stream, error));
    dbk_stream *snapshots = dbk_stream_table_find(store->streams, daybook_text(DBK_SNAPSHOTS_STREAM));
    uint64_t position = 0;
    lock_both(stream, snapshots);
    daybook_status status = remove_one(store, stream, snapshots, seq, &position, error);
    unlock_both(store, stream, snapshots);
    // Removed before, and the bytes may still be there.
    bool was_there = erase && status == DAYBOOK_ENOTFOUND && seq <= atomic_load(&stream->published_seq);
    if (status != DAYBOOK_OK && !was_there) return status;
    const dbk_dropped dropped = {.stream_id = stream->id,
                                 .seq_first = seq,
                                 .seq_last = seq,
                                 .snapshots_id = snapshots == NULL ? 0 : snapshots->id};
    // Snapshots lie behind the event they folded: erase from there to the end.
    if (erase) DBK_TRY(erase_removed(store, position, was_there ? &dropped : NULL, error));
    dbk_maintenance_free_space(store);
    return DAYBOOK_OK;
}

// ---- Purge ------------------------------------------------------------------------------------------------

void daybook_purge_options_init(daybook_purge_options *options) {
    *options = (daybook_purge_options){.size = sizeof *options};
}

// Everything there is: a mark, whatever the number of events.
static daybook_status purge_all(daybook_store *store, removal *removed, folded *of, uint64_t *done_out,
                                daybook_error *error) {
    dbk_stream *stream = removed->stream;
    pthread_mutex_lock(&store->state_lock);
    removed->removed_count = atomic_load(&stream->message_count);
    removed->removed_bytes = atomic_load(&stream->byte_count);
    removed->first_seq = atomic_load(&stream->published_seq) + 1;
    removed->first_position = store->published_position + 1;
    pthread_mutex_unlock(&store->state_lock);
    if (removed->removed_count == 0) return DAYBOOK_OK;
    dbk_buf records;
    dbk_buf_init(&records, store->allocator, DBK_RECORD_SIZE_MAX);
    daybook_status status = encode_removal(removed, &records);
    if (status != DAYBOOK_OK) (void)dbk_fail(error, status, "out of memory removing events");
    if (status == DAYBOOK_OK) status = commit_with_snapshots(store, of, &records, error);
    if (status == DAYBOOK_OK) *done_out = removed->removed_count;
    dbk_buf_deinit(&records);
    return status;
}

// Some of the collected ranges, with their share of the counts.
static removal part_of(const removal *removed, size_t first, size_t count) {
    removal part = *removed; // borrows its ranges
    part.ranges = (dbk_ranges){.items = removed->ranges.items + first, .count = count};
    part.removed_count = part.removed_bytes = 0;
    for (size_t i = first; i < first + count; i++) {
        const dbk_position_range *range = &removed->ranges.items[i];
        part.removed_count += range->last - range->first + 1; // each of them was added
        part.removed_bytes += removed->bytes[i];
    }
    return part;
}

// Commit the collected positions, in as many records as it takes; what was removed is counted also when the
// next record fails.
static daybook_status commit_ranges(daybook_store *store, const removal *removed, folded *of,
                                    uint64_t *done_out, daybook_error *error) {
    daybook_status status = DAYBOOK_OK;
    for (size_t done = 0; status == DAYBOOK_OK && done < removed->ranges.count;) {
        size_t left = removed->ranges.count - done;
        size_t count = left < RANGES_PER_RECORD ? left : RANGES_PER_RECORD;
        removal part = part_of(removed, done, count);
        dbk_buf records;
        dbk_buf_init(&records, store->allocator, DBK_RECORD_SIZE_MAX);
        status = encode_removal(&part, &records);
        if (status != DAYBOOK_OK) (void)dbk_fail(error, status, "out of memory removing events");
        if (status == DAYBOOK_OK) status = commit_with_snapshots(store, of, &records, error);
        if (status == DAYBOOK_OK) *done_out += part.removed_count;
        dbk_buf_deinit(&records);
        done += count;
    }
    return status;
}

static daybook_status purge(daybook_store *store, removal *removed, folded *of,
                            const daybook_purge_options *options, uint64_t *done_out, daybook_error *error) {
    if (options->filter.size == 0 && options->seq_to == 0 && options->keep == 0)
        return purge_all(store, removed, of, done_out, error);
    daybook_query query;
    daybook_query_init(&query);
    query.filters = &options->filter;
    query.filter_count = options->filter.size > 0;
    if (options->keep > 0) query.flags = DAYBOOK_QUERY_REVERSE;
    if (options->seq_to == 1) return DAYBOOK_OK;
    if (options->seq_to > 0) query.seq_to = options->seq_to - 1;
    DBK_TRY(collect(store, removed->stream, &query, options->keep, removed, error));
    DBK_TRY(commit_ranges(store, removed, of, done_out, error));
    dbk_consumers_drop_events(store, removed->stream, &removed->seqs);
    return DAYBOOK_OK;
}

// Some of it is done, and stays so.
static daybook_status say_done(daybook_status status, uint64_t done, daybook_error *error) {
    if (status == DAYBOOK_OK || done == 0 || error == NULL) return status;
    daybook_error detail = *error;
    return dbk_fail(error, status, "%llu events were removed, then: %.400s", (unsigned long long)done,
                    detail.message);
}

daybook_status daybook_stream_purge(daybook_store *store, daybook_slice name,
                                    const daybook_purge_options *options, uint64_t *removed_count_out,
                                    daybook_error *error) {
    daybook_purge_options defaults;
    daybook_purge_options_init(&defaults);
    if (options == NULL) options = &defaults;
    if (removed_count_out != NULL) *removed_count_out = 0;
    if (store == NULL || (options->keep > 0 && options->seq_to > 0))
        return dbk_fail(error, DAYBOOK_EMISUSE,
                        "a purge takes either a seq or a number of events to keep, not both");
    if (options->filter.size > 0 && !daybook_filter_is_valid(options->filter))
        return dbk_fail(error, DAYBOOK_ESUBJECT, "'%.*s' is no subject filter",
                        (int)(options->filter.size < 200 ? options->filter.size : 200),
                        (const char *)options->filter.data);
    dbk_stream *stream = NULL;
    DBK_TRY(writable_stream(store, name, DAYBOOK_STREAM_DENY_PURGE, "purging", &stream, error));
    folded of = {.snapshots = dbk_stream_table_find(store->streams, daybook_text(DBK_SNAPSHOTS_STREAM)),
                 .stream = stream,
                 .filter = options->filter};
    removal removed = {.store = store, .stream = stream, .reason = DBK_REMOVE_PURGE};
    uint64_t erase_from = atomic_load(&stream->first_position);
    uint64_t done = 0;
    lock_both(stream, of.snapshots);
    daybook_status status = purge(store, &removed, &of, options, &done, error);
    unlock_both(store, stream, of.snapshots);
    if (removed.ranges.count > 0) erase_from = removed.ranges.items[0].first;
    deinit_removal(&removed);
    if (removed_count_out != NULL) *removed_count_out = done;
    if (status != DAYBOOK_OK) return say_done(status, done, error);
    // Nothing left to remove: removed before, and the bytes may still be there.
    const dbk_dropped dropped = {.stream_id = stream->id,
                                 .seq_first = 1,
                                 .seq_last = options->seq_to > 1 ? options->seq_to - 1 : UINT64_MAX,
                                 .snapshots_id = of.snapshots == NULL ? 0 : of.snapshots->id};
    if (options->erase)
        DBK_TRY(erase_removed(store, done > 0 ? erase_from : 0, done > 0 ? NULL : &dropped, error));
    dbk_maintenance_free_space(store);
    return DAYBOOK_OK;
}
