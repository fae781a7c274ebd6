// SPDX-License-Identifier: Apache-2.0
// Handing out messages: first what is due again, then what is new.
//
// Whoever fetches holds fetch_lock while it reads, so that new messages are met in order of seq and each
// once; the state is asked and changed under the consumer's lock, for moments. Who finds nothing sleeps on
// what is published (store->publish_count), which answers bump as well where somebody waits; or until the
// next message falls due.
//
// A message is copied before it counts as delivered: where memory is out, nothing happened. A damaged event
// stops the consumer in front of it, each time it is asked: passing over it would skip what repair may bring
// back.
#include "base/assert.h"
#include "base/time.h"
#include "store/commit.h"
#include "store/consumer.h"
#include "store/query.h"

enum { ARENA_CHUNK = 16 << 10 };

void daybook_fetch_options_init(daybook_fetch_options *options) {
    *options = (daybook_fetch_options){.size = sizeof *options, .count = 1, .timeout_ms = -1};
}

// ---- Reading ----------------------------------------------------------------------------------------------

void dbk_consumer_close_cursor(dbk_consumer *consumer) {
    daybook_cursor_close(consumer->cursor);
    consumer->cursor = NULL;
    if (consumer->has_next && consumer->is_listing) consumer->list_at--; // it comes again
    consumer->has_next = consumer->is_listing = false;
}

// All that the consumer wants. What it borrows is good as long as the configuration is (fetch_lock).
static void init_query(const dbk_consumer *consumer, daybook_query *query) {
    daybook_query_init(query);
    query->filters = consumer->config->filters;
    query->filter_count = consumer->config->filter_count;
}

uint64_t dbk_consumer_next_seq(const dbk_consumer *consumer) {
    uint64_t seq = consumer->delivery.delivered_seq + 1;
    return seq > consumer->start.first_seq ? seq : consumer->start.first_seq;
}

daybook_status dbk_consumer_read_one(dbk_consumer *consumer, uint64_t seq, daybook_cursor **cursor_out,
                                     daybook_recorded_event *event_out, daybook_error *error) {
    daybook_query query;
    daybook_query_init(&query);
    query.seq_from = query.seq_to = seq;
    query.limit = 1;
    DBK_TRY(dbk_cursor_open(consumer->store, &query, consumer->stream, cursor_out, error));
    daybook_status status = daybook_cursor_next(*cursor_out, 0, event_out, error);
    if (status == DAYBOOK_OK) return status;
    daybook_cursor_close(*cursor_out);
    *cursor_out = NULL;
    return status;
}

static daybook_status open_cursor(dbk_consumer *consumer, daybook_error *error) {
    daybook_query query;
    init_query(consumer, &query);
    query.flags = DAYBOOK_QUERY_FOLLOW;
    query.seq_from = dbk_consumer_next_seq(consumer);
    return dbk_cursor_open(consumer->store, &query, consumer->stream, &consumer->cursor, error);
}

// The next new message into next_event; TIMEOUT where there is none yet.
static daybook_status peek(dbk_consumer *consumer, daybook_error *error) {
    if (consumer->has_next) return DAYBOOK_OK;
    // The last of each subject when the consumer was made, each by itself.
    const dbk_consumer_start *start = &consumer->start;
    for (; consumer->list_at < start->list_count; consumer->list_at++) {
        uint64_t seq = start->list[consumer->list_at];
        if (seq <= consumer->delivery.delivered_seq) continue;
        dbk_consumer_close_cursor(consumer);
        daybook_status status =
            dbk_consumer_read_one(consumer, seq, &consumer->cursor, &consumer->next_event, error);
        if (status == DAYBOOK_END) continue;
        if (status != DAYBOOK_OK) return status;
        consumer->has_next = consumer->is_listing = true;
        consumer->list_at++;
        return DAYBOOK_OK;
    }
    if (consumer->is_listing) dbk_consumer_close_cursor(consumer); // it was for one event of the list
    if (consumer->cursor == NULL) DBK_TRY(open_cursor(consumer, error));
    daybook_status status = daybook_cursor_next(consumer->cursor, 0, &consumer->next_event, error);
    if (status == DAYBOOK_OK) consumer->has_next = true;
    if (status != DAYBOOK_OK && status != DAYBOOK_TIMEOUT) dbk_consumer_close_cursor(consumer);
    return status;
}

// ---- Batches ----------------------------------------------------------------------------------------------

typedef struct batch {
    daybook_batch said; // first: it is what callers see
    dbk_arena *arena;
    const daybook_allocator *allocator;
    daybook_message *messages;
    size_t capacity;
    uint64_t bytes;
} batch;

void daybook_batch_release(daybook_batch *released) {
    if (released == NULL) return;
    batch *of = (batch *)(void *)released;
    dbk_arena_free(of->arena);
    dbk_free(of->allocator, of->messages);
    dbk_free(of->allocator, of);
}

static batch *new_batch(const daybook_allocator *allocator) {
    batch *made = dbk_alloc_zeroed(allocator, sizeof *made);
    if (made == NULL) return NULL;
    made->said.size = sizeof made->said;
    made->allocator = allocator;
    if (dbk_arena_new(allocator, ARENA_CHUNK, &made->arena) == DAYBOOK_OK) return made;
    dbk_free(allocator, made);
    return NULL;
}

static daybook_status copy_tags(batch *into, daybook_event *event) {
    dbk_slice *tags = dbk_arena_alloc(into->arena, event->tag_count * sizeof *tags);
    if (tags == NULL) return DAYBOOK_ENOMEM;
    for (size_t i = 0; i < event->tag_count; i++) {
        tags[i] = event->tags[i];
        DBK_TRY(dbk_copy_slice(into->arena, &tags[i]));
    }
    event->tags = tags;
    daybook_header *headers = dbk_arena_alloc(into->arena, event->header_count * sizeof *headers);
    if (headers == NULL) return DAYBOOK_ENOMEM;
    for (size_t i = 0; i < event->header_count; i++) {
        headers[i] = event->headers[i];
        DBK_TRY(dbk_copy_slice(into->arena, &headers[i].name));
        DBK_TRY(dbk_copy_slice(into->arena, &headers[i].value));
    }
    event->headers = headers;
    return DAYBOOK_OK;
}

static uint64_t size_of(const daybook_recorded_event *event) {
    uint64_t size = event->event.subject.size + event->event.data.size;
    for (size_t i = 0; i < event->event.header_count; i++)
        size += event->event.headers[i].name.size + event->event.headers[i].value.size;
    return size;
}

// A copy behind the last message; it counts once `said.count` says so. ENOMEM.
static daybook_status copy_message(batch *into, const daybook_recorded_event *event, bool headers_only) {
    size_t at = into->said.count;
    daybook_message *messages =
        dbk_grow_array(into->allocator, into->messages, &into->capacity, at + 1, sizeof *messages);
    if (messages == NULL) return DAYBOOK_ENOMEM;
    into->messages = messages;
    into->said.messages = messages;
    daybook_message *message = &messages[at];
    *message =
        (daybook_message){.size = sizeof *message, .event = *event, .data_size = event->event.data.size};
    daybook_event *copy = &message->event.event;
    if (headers_only) copy->data = daybook_bytes(NULL, 0);
    dbk_slice *slices[] = {&copy->subject, &copy->data,        &copy->id,        &copy->type,
                           &copy->schema,  &copy->correlation, &copy->causation, &copy->actor};
    for (size_t i = 0; i < sizeof slices / sizeof *slices; i++)
        DBK_TRY(dbk_copy_slice(into->arena, slices[i]));
    message->event.aggregate.data = copy->subject.data; // its leading tokens
    return copy_tags(into, copy);
}

static bool is_full(const batch *into, const daybook_fetch_options *options) {
    return into->said.count >= options->count;
}

static bool fits(const batch *into, const daybook_fetch_options *options, uint64_t size) {
    bool always = into->said.count == 0 && (options->flags & DAYBOOK_FETCH_STRICT_BYTES) == 0;
    return options->max_bytes == 0 || always || into->bytes + size <= options->max_bytes;
}

// ---- Where it begins --------------------------------------------------------------------------------------

static daybook_status first_of(dbk_consumer *consumer, const daybook_query *query, uint64_t *seq_out,
                               daybook_error *error) {
    daybook_cursor *cursor;
    DBK_TRY(dbk_cursor_open(consumer->store, query, consumer->stream, &cursor, error));
    daybook_recorded_event event;
    daybook_status status = daybook_cursor_next(cursor, 0, &event, error);
    if (status == DAYBOOK_OK) *seq_out = event.seq;
    daybook_cursor_close(cursor);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

daybook_status dbk_consumer_find_stored(dbk_consumer *consumer, uint64_t *seq_out, daybook_error *error) {
    dbk_first_event first;
    *seq_out = atomic_load(&consumer->stream->published_seq) + 1;
    if (atomic_load(&consumer->stream->message_count) == 0) return DAYBOOK_OK;
    if (consumer->store->read_only) {
        daybook_query query;
        daybook_query_init(&query);
        query.limit = 1;
        return first_of(consumer, &query, seq_out, error);
    }
    DBK_TRY(dbk_stream_find_first(consumer->store, consumer->stream, &first, error));
    if (first.seq > 0) *seq_out = first.seq;
    return DAYBOOK_OK;
}

static daybook_status list_last(dbk_consumer *consumer, daybook_query *query, daybook_error *error) {
    const daybook_allocator *allocator = consumer->store->allocator;
    dbk_consumer_start *start = &consumer->start;
    query->flags = DAYBOOK_QUERY_LAST_PER_SUBJECT;
    query->seq_to = start->first_seq - 1;
    if (query->seq_to == 0) return DAYBOOK_OK;
    daybook_cursor *cursor;
    DBK_TRY(dbk_cursor_open(consumer->store, query, consumer->stream, &cursor, error));
    daybook_recorded_event event;
    daybook_status status;
    size_t capacity = 0;
    while ((status = daybook_cursor_next(cursor, 0, &event, error)) == DAYBOOK_OK) {
        uint64_t *list =
            dbk_grow_array(allocator, start->list, &capacity, start->list_count + 1, sizeof *list);
        if (list == NULL) {
            status = dbk_fail(error, DAYBOOK_ENOMEM, "out of memory listing the last event of each subject");
            break;
        }
        start->list = list;
        start->list[start->list_count++] = event.seq;
    }
    daybook_cursor_close(cursor);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

daybook_status dbk_consumer_find_start(dbk_consumer *consumer, daybook_error *error) {
    const daybook_consumer_config *config = consumer->config;
    uint64_t behind = atomic_load(&consumer->stream->published_seq) + 1;
    consumer->start.first_seq = behind;
    daybook_query query;
    init_query(consumer, &query);
    query.limit = 1;
    switch (config->deliver) {
    case DAYBOOK_DELIVER_ALL:
        consumer->start.first_seq = 1;
        return DAYBOOK_OK;
    case DAYBOOK_DELIVER_BY_START_SEQ:
        consumer->start.first_seq = config->start_seq;
        return DAYBOOK_OK;
    case DAYBOOK_DELIVER_LAST:
        query.flags = DAYBOOK_QUERY_REVERSE;
        DBK_TRY(first_of(consumer, &query, &consumer->start.first_seq, error));
        if (consumer->start.first_seq < behind) return DAYBOOK_OK;
        // It wants nothing of what is stored: from the oldest on, as in JetStream, in case its filters are
        // changed.
        return dbk_consumer_find_stored(consumer, &consumer->start.first_seq, error);
    case DAYBOOK_DELIVER_BY_START_TIME:
        query.filter_count = 0;
        query.recorded_since_ns = config->start_time_ns;
        return first_of(consumer, &query, &consumer->start.first_seq, error);
    case DAYBOOK_DELIVER_LAST_PER_SUBJECT:
        query.limit = 0;
        return list_last(consumer, &query, error);
    default:
        return DAYBOOK_OK;
    }
}

// ---- Events that went -------------------------------------------------------------------------------------

void dbk_consumer_drop_removed(dbk_consumer *consumer) {
    uint64_t first_seq = atomic_load(&consumer->stream->first_seq);
    if (dbk_delivery_drop_below(&consumer->delivery, first_seq)) dbk_consumer_note_change(consumer);
}

static void drop_ranges(dbk_consumer *consumer, const dbk_ranges *seqs) {
    bool any = false;
    pthread_mutex_lock(&consumer->lock);
    for (size_t i = 0; i < seqs->count; i++)
        any = dbk_delivery_drop_range(&consumer->delivery, seqs->items[i].first, seqs->items[i].last) || any;
    if (any) dbk_consumer_note_change(consumer);
    bool wakes = any && dbk_consumer_is_awaited(consumer); // there may be room now
    pthread_mutex_unlock(&consumer->lock);
    if (wakes) dbk_consumer_wake(consumer);
}

void dbk_consumers_drop_events(daybook_store *store, dbk_stream *stream, const dbk_ranges *seqs) {
    struct dbk_consumers *registry = atomic_load(&store->consumers);
    dbk_consumer **consumers;
    size_t count;
    if (registry == NULL || seqs->count == 0 || atomic_load(&stream->consumer_count) == 0) return;
    // Where memory is out: found gone when they would be delivered again.
    if (dbk_consumers_all(registry, stream, &consumers, &count) != DAYBOOK_OK) return;
    for (size_t i = 0; i < count; i++) {
        drop_ranges(consumers[i], seqs);
        dbk_consumer_unref(consumers[i]);
    }
    dbk_free(store->allocator, consumers);
}

// ---- Collecting -------------------------------------------------------------------------------------------

typedef struct fetching {
    dbk_consumer *consumer;
    const daybook_fetch_options *options;
    batch *into;
    int64_t wake_ns;         // monotonic: when to look again at the latest
    uint64_t too_large_size; // of a message that does not fit; 0: none was met
} fetching;

static void note_given_up(dbk_consumer *consumer, const dbk_delivery_due *due) {
    dbk_advisory *advisory = dbk_alloc_zeroed(consumer->store->allocator, sizeof *advisory);
    if (advisory == NULL) return; // the message is given up all the same, and counted
    advisory->seq = due->seq;
    advisory->deliveries = due->deliveries;
    advisory->next = consumer->advisories;
    consumer->advisories = advisory;
}

static void add_delivered(fetching *fetch, uint64_t size, uint64_t number, uint64_t deliveries) {
    batch *into = fetch->into;
    daybook_message *message = &into->messages[into->said.count++];
    message->delivery = number;
    message->delivery_count = deliveries;
    message->pending_count = fetch->consumer->ahead + fetch->consumer->delivery.held_count;
    into->bytes += size;
}

// The message that was taken. The lock is held before and after.
static daybook_status give_again(fetching *fetch, uint64_t seq, daybook_error *error) {
    dbk_consumer *consumer = fetch->consumer;
    bool headers_only = (consumer->config->flags & DAYBOOK_CONSUMER_HEADERS_ONLY) != 0;
    pthread_mutex_unlock(&consumer->lock);
    daybook_cursor *cursor = NULL;
    daybook_recorded_event event;
    daybook_status status = dbk_consumer_read_one(consumer, seq, &cursor, &event, error);
    uint64_t size = status == DAYBOOK_OK ? size_of(&event) : 0;
    bool too_large = status == DAYBOOK_OK && !fits(fetch->into, fetch->options, size);
    if (too_large) fetch->too_large_size = size;
    if (status == DAYBOOK_OK && !too_large) status = copy_message(fetch->into, &event, headers_only);
    daybook_cursor_close(cursor);
    pthread_mutex_lock(&consumer->lock);
    uint64_t number, deliveries;
    if (status == DAYBOOK_END) {
        dbk_delivery_drop(&consumer->delivery, seq); // removed since
        dbk_consumer_note_change(consumer);
        return DAYBOOK_OK;
    }
    if (status != DAYBOOK_OK || too_large) {
        dbk_delivery_put_back(&consumer->delivery, seq);
        return too_large ? DAYBOOK_END : status;
    }
    status = dbk_delivery_give(&consumer->delivery, seq, dbk_consumer_now(consumer), &number, &deliveries);
    if (status == DAYBOOK_ENOTFOUND) return DAYBOOK_OK; // answered meanwhile
    dbk_consumer_note_change(consumer);
    add_delivered(fetch, size, number, deliveries);
    return DAYBOOK_OK;
}

// The lock is held. END: the batch is full.
static daybook_status collect_due(fetching *fetch, daybook_error *error) {
    dbk_consumer *consumer = fetch->consumer;
    (void)dbk_delivery_expire(&consumer->delivery, dbk_consumer_now(consumer));
    dbk_delivery_due due;
    daybook_status status = DAYBOOK_OK;
    while (!is_full(fetch->into, fetch->options) &&
           (status = dbk_delivery_take(&consumer->delivery, &due)) == DAYBOOK_OK) {
        if (due.gave_up) {
            note_given_up(consumer, &due);
            dbk_consumer_note_change(consumer);
        } else {
            DBK_TRY(give_again(fetch, due.seq, error));
        }
    }
    if (status == DAYBOOK_ENOMEM) return status;
    return is_full(fetch->into, fetch->options) ? DAYBOOK_END : DAYBOOK_OK;
}

// Replay at the original pace: is it too early for this one?
static bool is_early(fetching *fetch, int64_t recorded_ns) {
    dbk_consumer *consumer = fetch->consumer;
    if (consumer->config->replay != DAYBOOK_REPLAY_ORIGINAL || consumer->pace_at_ns == 0) return false;
    int64_t due_ns = consumer->pace_at_ns + (recorded_ns - consumer->pace_recorded_ns);
    if (consumer->store->vfs->clock_monotonic_ns(consumer->store->vfs) >= due_ns) return false;
    if (due_ns < fetch->wake_ns) fetch->wake_ns = due_ns;
    return true;
}

static uint64_t aggregate_hash(const daybook_recorded_event *event) {
    if (event->aggregate.size == 0) return 0;
    uint64_t hash = dbk_checksum(event->aggregate.data, event->aggregate.size, 0);
    return hash == 0 ? 1 : hash;
}

// The lock is held before and after. TIMEOUT: there is nothing new yet.
static daybook_status give_new(fetching *fetch, daybook_error *error) {
    dbk_consumer *consumer = fetch->consumer;
    bool headers_only = (consumer->config->flags & DAYBOOK_CONSUMER_HEADERS_ONLY) != 0;
    pthread_mutex_unlock(&consumer->lock);
    daybook_status status = peek(consumer, error);
    const daybook_recorded_event *event = &consumer->next_event;
    uint64_t size = 0;
    if (status == DAYBOOK_OK && is_early(fetch, event->recorded_ns)) status = DAYBOOK_TIMEOUT;
    if (status == DAYBOOK_OK) {
        size = size_of(event);
        bool too_large = !fits(fetch->into, fetch->options, size);
        if (too_large) fetch->too_large_size = size;
        status = too_large ? DAYBOOK_END : copy_message(fetch->into, event, headers_only);
    }
    pthread_mutex_lock(&consumer->lock);
    DBK_TRY(status);
    uint64_t number = 0;
    bool is_settled = dbk_delivery_pass(&consumer->delivery, event->seq);
    if (!is_settled)
        DBK_TRY(dbk_delivery_next(&consumer->delivery, event->seq, aggregate_hash(event),
                                  dbk_consumer_now(consumer), &number));
    consumer->has_next = false;
    if (consumer->config->replay == DAYBOOK_REPLAY_ORIGINAL) {
        consumer->pace_recorded_ns = event->recorded_ns;
        consumer->pace_at_ns = consumer->store->vfs->clock_monotonic_ns(consumer->store->vfs);
    }
    atomic_store(&consumer->delivered_position, event->position);
    dbk_consumer_take_off(consumer, event->seq);
    dbk_consumer_note_change(consumer);
    if (number != 0) add_delivered(fetch, size, number, 1);
    return DAYBOOK_OK;
}

// Everything that can be given now. fetch_lock is held. OK also where that is nothing.
static daybook_status collect(fetching *fetch, daybook_error *error) {
    dbk_consumer *consumer = fetch->consumer;
    daybook_vfs *vfs = consumer->store->vfs;
    if (atomic_load(&consumer->removed)) return dbk_consumer_fail_removed(consumer, error);
    if (atomic_load(&consumer->stream->removed))
        return dbk_fail(error, DAYBOOK_ENOTFOUND, "stream %.*s was removed", (int)consumer->stream->name.size,
                        (const char *)consumer->stream->name.data);
    int64_t pause_left_ns = consumer->config->pause_until_ns - vfs->clock_real_ns(vfs);
    fetch->wake_ns = INT64_MAX;
    fetch->too_large_size = 0;
    if (pause_left_ns > 0) {
        int64_t now_ns = vfs->clock_monotonic_ns(vfs);
        fetch->wake_ns = pause_left_ns < INT64_MAX - now_ns ? now_ns + pause_left_ns : INT64_MAX;
        return DAYBOOK_OK;
    }
    DBK_TRY(dbk_consumer_update_count(consumer, error));
    pthread_mutex_lock(&consumer->lock);
    dbk_consumer_drop_removed(consumer);
    daybook_status status = collect_due(fetch, error);
    while (status == DAYBOOK_OK && !is_full(fetch->into, fetch->options) &&
           dbk_delivery_has_room(&consumer->delivery))
        status = give_new(fetch, error);
    atomic_store(&consumer->lacks_room, !dbk_delivery_has_room(&consumer->delivery));
    uint64_t now = dbk_consumer_now(consumer);
    uint64_t next = dbk_delivery_expire(&consumer->delivery, now);
    if (next != UINT64_MAX) {
        int64_t left_ns = next > now ? (int64_t)(next - now) * DBK_TICK_NS : 0;
        int64_t due_ns = vfs->clock_monotonic_ns(vfs) + left_ns;
        if (due_ns < fetch->wake_ns) fetch->wake_ns = due_ns;
    }
    pthread_mutex_unlock(&consumer->lock);
    if (status == DAYBOOK_ENOMEM) return dbk_fail(error, status, "out of memory delivering messages");
    return status == DAYBOOK_END || status == DAYBOOK_TIMEOUT ? DAYBOOK_OK : status;
}

// ---- Fetching ---------------------------------------------------------------------------------------------

static bool is_enough(const fetching *fetch) {
    size_t count = fetch->into->said.count;
    return (fetch->options->flags & DAYBOOK_FETCH_FILL) != 0 ? count >= fetch->options->count : count > 0;
}

static daybook_status fail_too_large(const fetching *fetch, daybook_error *error) {
    return dbk_fail(error, DAYBOOK_ELIMIT,
                    "the next message of consumer %s has %llu bytes, the fetch takes %llu: raise max_bytes",
                    fetch->consumer->name, (unsigned long long)fetch->too_large_size,
                    (unsigned long long)fetch->options->max_bytes);
}

// In vain, and nobody waits: whoever watches is told when to come again. False where it is to be looked once
// more, because what came before it was armed fires nothing.
static bool leave_watch(fetching *fetch, daybook_consumer *handle, bool *armed) {
    if (fetch->options->timeout_ms != 0) return true;
    atomic_store(&handle->due_at_ns, fetch->wake_ns);
    dbk_watch *watch = atomic_load(&handle->watch);
    if (watch == NULL || *armed) return true;
    *armed = true;
    atomic_store(&fetch->consumer->lacks_room, true);
    dbk_watch_arm(&atomic_load(&fetch->consumer->store->consumers)->watches, watch);
    return false;
}

static daybook_status run(fetching *fetch, daybook_consumer *handle, daybook_error *error) {
    dbk_consumer *consumer = fetch->consumer;
    daybook_store *store = consumer->store;
    daybook_vfs *vfs = store->vfs;
    int timeout_ms = fetch->options->timeout_ms;
    int64_t deadline_ns = timeout_ms < 0 ? INT64_MAX
                                         : vfs->clock_monotonic_ns(vfs) + timeout_ms * DBK_MILLISECOND_NS;
    bool armed = false;
    for (;;) {
        uint32_t seen = atomic_load_explicit(&store->publish_count, memory_order_acquire);
        if (atomic_load(&handle->interrupted))
            return dbk_fail(error, DAYBOOK_ECLOSED, "the consumer was interrupted");
        pthread_mutex_lock(&consumer->fetch_lock);
        daybook_status status = collect(fetch, error);
        pthread_mutex_unlock(&consumer->fetch_lock);
        if (status != DAYBOOK_OK || is_enough(fetch)) return status;
        if (fetch->too_large_size > 0 && fetch->into->said.count == 0) return fail_too_large(fetch, error);
        if (!leave_watch(fetch, handle, &armed)) continue;
        int64_t now_ns = vfs->clock_monotonic_ns(vfs);
        if (now_ns >= deadline_ns) return dbk_fail(error, DAYBOOK_TIMEOUT, "no message came in time");
        int64_t until_ns = fetch->wake_ns < deadline_ns ? fetch->wake_ns : deadline_ns;
        dbk_store_wait_published(store, seen,
                                 until_ns == INT64_MAX ? -1
                                 : until_ns > now_ns   ? until_ns - now_ns
                                                       : 0);
    }
}

static daybook_status begin_waiting(dbk_consumer *consumer, daybook_error *error) {
    pthread_mutex_lock(&consumer->lock);
    uint64_t max = consumer->config->max_waiting;
    bool allowed = max == 0 || consumer->waiting_count < max;
    if (allowed) consumer->waiting_count++;
    pthread_mutex_unlock(&consumer->lock);
    if (allowed) return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_ELIMIT, "%llu fetches wait for consumer %s already: raise max_waiting",
                    (unsigned long long)max, consumer->name);
}

daybook_status daybook_consumer_fetch(daybook_consumer *consumer, const daybook_fetch_options *options,
                                      daybook_batch **batch_out, daybook_error *error) {
    if (batch_out != NULL) *batch_out = NULL;
    daybook_fetch_options defaults;
    daybook_fetch_options_init(&defaults);
    if (options == NULL) options = &defaults;
    if (consumer == NULL || batch_out == NULL || options->size < sizeof *options)
        return dbk_fail(error, DAYBOOK_EMISUSE,
                        "a fetch needs a consumer, initialised options and a place for the batch");
    if (options->count == 0 || options->count > DAYBOOK_FETCH_COUNT_MAX)
        return dbk_fail(error, DAYBOOK_EINVALID, "a fetch of %zu messages: ask for 1 to %d", options->count,
                        DAYBOOK_FETCH_COUNT_MAX);
    dbk_consumer *of = consumer->consumer;
    DBK_TRY(begin_waiting(of, error));
    fetching fetch = {.consumer = of, .options = options, .into = new_batch(of->store->allocator)};
    daybook_status status = fetch.into == NULL
                                ? dbk_fail(error, DAYBOOK_ENOMEM, "out of memory delivering messages")
                                : run(&fetch, consumer, error);
    pthread_mutex_lock(&of->lock);
    of->waiting_count--;
    pthread_mutex_unlock(&of->lock);
    // What was delivered is given, whatever came then.
    if (fetch.into != NULL && fetch.into->said.count > 0) {
        *batch_out = &fetch.into->said;
        return DAYBOOK_OK;
    }
    daybook_batch_release(fetch.into == NULL ? NULL : &fetch.into->said);
    return status;
}
