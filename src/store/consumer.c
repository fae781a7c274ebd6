// SPDX-License-Identifier: Apache-2.0
// The consumers of a store: making, changing, finding and removing them.
//
// A consumer belongs to a stream by the stream's id, so that a new stream of an old name never meets the
// consumers of the old one. It lives from add or loading to remove, as long as somebody has a reference;
// `removed` is set when it is gone for everybody else.
//
// Loading reads the configurations from the stream $CONSUMERS, and then each consumer's state. One whose
// state cannot be used is listed all the same, refuses to be used, and can be removed. In a reader the
// registry is loaded anew for each question, and nothing is handed out.
#include "store/consumer.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/time.h"
#include "daybook/subject.h"
#include "store/commit.h"

enum {
    CHANGES_SIZE_MAX = 4 << 20,
    PART_BYTES = 1 << 20,
    CHECKPOINT_CHANGES = 64 << 10,
    BUCKETS_MIN = 16,
    EPHEMERAL_THRESHOLD_SECONDS = 5,
    SHOWN_MAX = 200
};

// ---- One consumer -----------------------------------------------------------------------------------------

uint64_t dbk_consumer_now(const dbk_consumer *consumer) {
    daybook_store *store = consumer->store;
    const struct dbk_consumers *registry = atomic_load(&store->consumers);
    int64_t now_ns = store->vfs->clock_monotonic_ns(store->vfs) + registry->real_offset_ns;
    return now_ns <= 0 ? 0 : (uint64_t)(now_ns / DBK_TICK_NS);
}

static uint64_t ticks_of(int64_t duration_ns) {
    int64_t ticks = duration_ns / DBK_TICK_NS + (duration_ns % DBK_TICK_NS != 0);
    return ticks < 1 ? 1 : (uint64_t)ticks;
}

// The lock is held, or nobody else knows the consumer.
static dbk_delivery_rules rules_of(dbk_consumer *consumer, const daybook_consumer_config *config) {
    for (size_t i = 0; i < config->backoff_count; i++) consumer->backoff[i] = ticks_of(config->backoff_ns[i]);
    return (dbk_delivery_rules){
        .ack = config->ack == DAYBOOK_ACK_NONE  ? DBK_DELIVERY_ACK_NONE
               : config->ack == DAYBOOK_ACK_ALL ? DBK_DELIVERY_ACK_ALL
                                                : DBK_DELIVERY_ACK_EXPLICIT,
        .in_order = (config->flags & DAYBOOK_CONSUMER_IN_ORDER) != 0,
        .ack_wait = ticks_of(config->ack_wait_ns),
        .backoff = consumer->backoff,
        .backoff_count = config->backoff_count,
        .max_deliver = config->max_deliver,
        .max_ack_pending = config->max_ack_pending,
    };
}

static void free_consumer(dbk_consumer *consumer) {
    const daybook_allocator *allocator = consumer->store->allocator;
    DBK_ASSERT(consumer->waiters.first == NULL && consumer->answered.first == NULL);
    dbk_consumer_close_cursor(consumer);
    while (consumer->advisories != NULL) {
        dbk_advisory *next = consumer->advisories->next;
        dbk_free(allocator, consumer->advisories);
        consumer->advisories = next;
    }
    dbk_delivery_deinit(&consumer->delivery);
    dbk_changes_deinit(&consumer->changes);
    dbk_free(allocator, consumer->start.list);
    dbk_free(allocator, consumer->config);
    dbk_free(allocator, consumer->damage);
    dbk_free(allocator, consumer->name);
    pthread_cond_destroy(&consumer->saved);
    pthread_mutex_destroy(&consumer->lock);
    pthread_mutex_destroy(&consumer->fetch_lock);
    dbk_free(allocator, consumer);
}

// With one reference. NULL when memory is out.
static dbk_consumer *new_consumer(struct dbk_consumers *registry, dbk_stream *stream,
                                  const daybook_consumer_config *config, int64_t created_ns) {
    daybook_store *store = registry->store;
    dbk_consumer *consumer = dbk_alloc_zeroed(store->allocator, sizeof *consumer);
    if (consumer == NULL) return NULL;
    consumer->store = store;
    consumer->stream = stream;
    consumer->created_ns = created_ns;
    consumer->refs = 1;
    consumer->idle_since_ns = store->vfs->clock_monotonic_ns(store->vfs);
    consumer->is_saved = (config->flags & DAYBOOK_CONSUMER_DURABLE) != 0 &&
                         stream->storage == DAYBOOK_STORAGE_FILE;
    pthread_mutex_init(&consumer->fetch_lock, NULL);
    pthread_mutex_init(&consumer->lock, NULL);
    pthread_cond_init(&consumer->saved, NULL);
    dbk_changes_init(&consumer->changes, store->allocator, CHANGES_SIZE_MAX);
    consumer->config = dbk_consumer_config_copy(store->allocator, config);
    consumer->name = dbk_copy_text(store->allocator, config->name);
    dbk_delivery_rules rules = rules_of(consumer, config);
    dbk_delivery_init(&consumer->delivery, store->allocator, &rules, dbk_consumer_now(consumer));
    if (consumer->is_saved) consumer->delivery.changes = &consumer->changes;
    consumer->delivery.keeps_settled = dbk_consumer_retention(stream) != DAYBOOK_RETENTION_LIMITS;
    consumer->delivery.keeps_given_up = dbk_consumer_retention(stream) == DAYBOOK_RETENTION_INTEREST;
    if (consumer->config == NULL || consumer->name == NULL) {
        free_consumer(consumer);
        return NULL;
    }
    return consumer;
}

void dbk_consumer_unref(dbk_consumer *consumer) {
    struct dbk_consumers *registry = atomic_load(&consumer->store->consumers);
    pthread_mutex_lock(&registry->lock);
    bool last = --consumer->refs == 0;
    pthread_mutex_unlock(&registry->lock);
    if (last) free_consumer(consumer);
}

int dbk_consumer_ack_policy(dbk_consumer *consumer) {
    pthread_mutex_lock(&consumer->lock);
    int policy = consumer->config->ack;
    pthread_mutex_unlock(&consumer->lock);
    return policy;
}

daybook_status dbk_consumer_fail_removed(const dbk_consumer *consumer, daybook_error *error) {
    return dbk_fail(error, DAYBOOK_ENOTFOUND, "consumer %s of stream %.*s was removed", consumer->name,
                    (int)consumer->stream->name.size, (const char *)consumer->stream->name.data);
}

// Those who wait for messages sleep on what is published.
static void wake_waiting(daybook_store *store) {
    atomic_fetch_add(&store->publish_count, 1);
    if (atomic_load(&store->publish_waiters) > 0)
        store->vfs->wake(store->vfs, (const volatile uint32_t *)(uintptr_t)&store->publish_count, INT32_MAX,
                         0);
}

void dbk_consumer_wake(dbk_consumer *consumer) {
    struct dbk_consumers *registry = atomic_load(&consumer->store->consumers);
    wake_waiting(consumer->store);
    if (atomic_load(&consumer->watch_owner.armed_count) == 0) return;
    dbk_watches_fire(&registry->watches, &consumer->watch_owner);
    dbk_watches_call(&registry->watches);
}

bool dbk_consumer_is_awaited(dbk_consumer *consumer) {
    return consumer->waiting_count > 0 || atomic_load(&consumer->watch_owner.armed_count) > 0;
}

// ---- The list ---------------------------------------------------------------------------------------------

static dbk_consumer **bucket_of(const struct dbk_consumers *registry, const dbk_stream *stream,
                                dbk_slice name) {
    return &registry->buckets[dbk_checksum(name.data, name.size, stream->id) & (registry->bucket_count - 1)];
}

// As many buckets as consumers. Where memory is out they get longer.
static void grow_buckets(struct dbk_consumers *registry) {
    size_t count = registry->bucket_count * 2;
    dbk_consumer **buckets = dbk_alloc_zeroed(registry->store->allocator, count * sizeof(dbk_consumer *));
    if (buckets == NULL) return;
    dbk_free(registry->store->allocator, registry->buckets);
    registry->buckets = buckets;
    registry->bucket_count = count;
    for (dbk_consumer *at = registry->first; at != NULL; at = at->next) {
        dbk_consumer **bucket = bucket_of(registry, at->stream, daybook_text(at->name));
        at->next_of_bucket = *bucket;
        *bucket = at;
    }
}

// The registry has the caller's reference from then on.
static void enter(struct dbk_consumers *registry, dbk_consumer *consumer) {
    dbk_stream *stream = consumer->stream;
    pthread_mutex_lock(&registry->lock);
    if (registry->count++ >= registry->bucket_count) grow_buckets(registry);
    consumer->next = registry->first;
    consumer->at = &registry->first;
    if (consumer->next != NULL) consumer->next->at = &consumer->next;
    registry->first = consumer;
    consumer->next_of_stream = stream->consumers;
    consumer->at_of_stream = &stream->consumers;
    if (consumer->next_of_stream != NULL) consumer->next_of_stream->at_of_stream = &consumer->next_of_stream;
    stream->consumers = consumer;
    dbk_consumer **bucket = bucket_of(registry, stream, daybook_text(consumer->name));
    consumer->next_of_bucket = *bucket;
    *bucket = consumer;
    atomic_fetch_add(&stream->consumer_count, 1);
    pthread_mutex_unlock(&registry->lock);
}

// The lock is held.
static void unlink_consumer(struct dbk_consumers *registry, dbk_consumer *consumer) {
    dbk_consumer **in_bucket = bucket_of(registry, consumer->stream, daybook_text(consumer->name));
    while (*in_bucket != consumer) in_bucket = &(*in_bucket)->next_of_bucket;
    *in_bucket = consumer->next_of_bucket;
    *consumer->at = consumer->next;
    if (consumer->next != NULL) consumer->next->at = consumer->at;
    *consumer->at_of_stream = consumer->next_of_stream;
    if (consumer->next_of_stream != NULL) consumer->next_of_stream->at_of_stream = consumer->at_of_stream;
    consumer->at = NULL;
    registry->count--;
    atomic_fetch_sub(&consumer->stream->consumer_count, 1);
}

// Some consumer, with the registry's reference; NULL where there is none left.
static dbk_consumer *take_any(struct dbk_consumers *registry) {
    pthread_mutex_lock(&registry->lock);
    dbk_consumer *consumer = registry->first;
    if (consumer != NULL) unlink_consumer(registry, consumer);
    pthread_mutex_unlock(&registry->lock);
    return consumer;
}

// A reference, or NULL.
static dbk_consumer *find(struct dbk_consumers *registry, const dbk_stream *stream, dbk_slice name) {
    pthread_mutex_lock(&registry->lock);
    dbk_consumer *consumer = *bucket_of(registry, stream, name);
    while (consumer != NULL &&
           (consumer->stream != stream || !dbk_slice_equal(daybook_text(consumer->name), name)))
        consumer = consumer->next_of_bucket;
    if (consumer != NULL) consumer->refs++;
    pthread_mutex_unlock(&registry->lock);
    return consumer;
}

// Out of the list, which loses its reference; false where somebody was faster.
static bool leave(struct dbk_consumers *registry, dbk_consumer *consumer) {
    pthread_mutex_lock(&registry->lock);
    bool found = consumer->at != NULL;
    if (found) unlink_consumer(registry, consumer);
    pthread_mutex_unlock(&registry->lock);
    if (!found) return false;
    atomic_store(&consumer->removed, true);
    pthread_mutex_lock(&consumer->lock); // whoever waits for a save looks again
    pthread_cond_broadcast(&consumer->saved);
    pthread_mutex_unlock(&consumer->lock);
    dbk_consumer_end_waiters(consumer, DAYBOOK_ENOTFOUND);
    dbk_consumer_wake(consumer);
    dbk_consumer_unref(consumer);
    return true;
}

daybook_status dbk_consumers_all(struct dbk_consumers *registry, dbk_stream *stream,
                                 dbk_consumer ***consumers_out, size_t *count_out) {
    pthread_mutex_lock(&registry->lock);
    size_t count = stream == NULL ? registry->count : atomic_load(&stream->consumer_count);
    dbk_consumer **consumers = dbk_alloc(registry->store->allocator, count * sizeof(dbk_consumer *));
    size_t i = 0;
    dbk_consumer *at = stream == NULL ? registry->first : stream->consumers;
    for (; consumers != NULL && at != NULL; at = stream == NULL ? at->next : at->next_of_stream) {
        at->refs++;
        consumers[i++] = at;
    }
    pthread_mutex_unlock(&registry->lock);
    *consumers_out = consumers;
    *count_out = i;
    return consumers == NULL ? DAYBOOK_ENOMEM : DAYBOOK_OK;
}

void dbk_consumers_note_removed(daybook_store *store, uint32_t stream_id, uint64_t position_last) {
    struct dbk_consumers *registry = atomic_load(&store->consumers);
    if (registry == NULL) return;
    const dbk_stream *stream = dbk_stream_table_find_id(store->streams, stream_id);
    if (stream == NULL || atomic_load(&((dbk_stream *)(uintptr_t)stream)->consumer_count) == 0) return;
    bool any = false, fires = false;
    pthread_mutex_lock(&registry->lock);
    for (dbk_consumer *at = stream->consumers; at != NULL; at = at->next_of_stream) {
        any = true;
        if (position_last > atomic_load(&at->delivered_position)) atomic_store(&at->recount, true);
        if (!atomic_load(&at->lacks_room) || atomic_load(&at->watch_owner.armed_count) == 0) continue;
        dbk_watches_fire(&registry->watches, &at->watch_owner);
        fires = true;
    }
    // What waited for an answer may be gone: there may be room for more.
    if (any) wake_waiting(store);
    pthread_mutex_unlock(&registry->lock);
    if (fires) dbk_consumers_wake_keeper(registry); // which calls them, without the caller's locks
}

// ---- Loading ----------------------------------------------------------------------------------------------

static daybook_status load_one(struct dbk_consumers *registry, const daybook_recorded_event *event,
                               daybook_error *error) {
    daybook_store *store = registry->store;
    daybook_consumer_config *config = NULL;
    int64_t created_ns;
    daybook_status status =
        dbk_consumer_config_decode(event->event.data, store->allocator, &config, &created_ns);
    if (status != DAYBOOK_OK)
        return dbk_fail(error, status,
                        "the configuration of a consumer cannot be decoded (event at position %llu)",
                        (unsigned long long)event->position);
    // "$CONSUMER.<id>.<name>.config": a stream that is gone has taken its consumers with it.
    unsigned id = (unsigned)strtoul((const char *)event->event.subject.data + sizeof "$CONSUMER", NULL, 10);
    dbk_stream *stream = dbk_stream_table_find_id(store->streams, id);
    dbk_consumer *consumer = NULL;
    if (stream != NULL && !atomic_load(&stream->removed)) {
        consumer = new_consumer(registry, stream, config, created_ns);
        if (consumer == NULL) status = dbk_fail(error, DAYBOOK_ENOMEM, "out of memory loading consumers");
    }
    dbk_free(store->allocator, config);
    if (consumer == NULL) return status;
    daybook_error detail;
    daybook_error_init(&detail);
    status = dbk_consumer_load_state(consumer, event->position, &detail);
    if (status == DAYBOOK_OK || status == DAYBOOK_EDAMAGED || status == DAYBOOK_EFORMAT) {
        if (status != DAYBOOK_OK) {
            consumer->damage = dbk_copy_text(store->allocator, daybook_text(detail.message));
            dbk_store_log(store, DAYBOOK_LOG_ERROR, "%s", detail.message);
        }
        // Acknowledgements that committed with appends, and what a crash may have left: removed once more.
        if (consumer->delivery.settled.count > 0) dbk_consumer_note_change(consumer);
        enter(registry, consumer);
        return DAYBOOK_OK;
    }
    if (error != NULL) *error = detail;
    free_consumer(consumer);
    return status;
}

static daybook_status load(struct dbk_consumers *registry, daybook_error *error) {
    daybook_store *store = registry->store;
    dbk_stream *stream = dbk_stream_table_find(store->streams, daybook_text(dbk_consumers_stream));
    if (stream == NULL) return DAYBOOK_OK;
    daybook_cursor *cursor;
    DBK_TRY(dbk_consumer_read_log(store, stream, daybook_text("$CONSUMER.*.*.config"), &cursor, error));
    daybook_recorded_event event;
    daybook_status status;
    while ((status = daybook_cursor_next(cursor, 0, &event, error)) == DAYBOOK_OK) {
        status = load_one(registry, &event, error);
        if (status != DAYBOOK_OK) break;
    }
    daybook_cursor_close(cursor);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

static void free_list(struct dbk_consumers *registry) {
    for (dbk_consumer *consumer; (consumer = take_any(registry)) != NULL;) free_consumer(consumer);
}

static daybook_status new_registry(daybook_store *store, daybook_error *error) {
    struct dbk_consumers *registry = dbk_alloc_zeroed(store->allocator, sizeof *registry);
    if (registry == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory loading consumers");
    registry->store = store;
    atomic_init(&registry->keeper_until_ns, INT64_MAX);
    atomic_init(&registry->sweep_again_ns, INT64_MAX);
    registry->bucket_count = BUCKETS_MIN;
    registry->buckets = dbk_alloc_zeroed(store->allocator, BUCKETS_MIN * sizeof(dbk_consumer *));
    if (registry->buckets == NULL) {
        dbk_free(store->allocator, registry);
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory loading consumers");
    }
    registry->part_bytes = PART_BYTES;
    registry->checkpoint_changes = CHECKPOINT_CHANGES;
    registry->real_offset_ns = store->vfs->clock_real_ns(store->vfs) -
                               store->vfs->clock_monotonic_ns(store->vfs);
    pthread_mutex_init(&registry->change_lock, NULL);
    pthread_mutex_init(&registry->told_lock, NULL);
    pthread_mutex_init(&registry->lock, NULL);
    dbk_watches_init(&registry->watches, store->allocator);
    // Before loading: what loads asks it for the time, and removals meanwhile are noted.
    atomic_store(&store->consumers, registry);
    return DAYBOOK_OK;
}

// consumers_lock is held.
static daybook_status get(daybook_store *store, daybook_error *error) {
    struct dbk_consumers *registry = atomic_load(&store->consumers);
    if (registry != NULL && !store->read_only && store->consumers_loaded) return DAYBOOK_OK;
    if (registry == NULL) DBK_TRY(new_registry(store, error));
    registry = atomic_load(&store->consumers);
    // Of a reader; somebody may be looking at them.
    for (dbk_consumer *old; (old = take_any(registry)) != NULL;) dbk_consumer_unref(old);
    daybook_status status = load(registry, error);
    if (status != DAYBOOK_OK) {
        free_list(registry);
        return status;
    }
    store->consumers_loaded = true;
    atomic_store(&registry->sweeps, true);
    if (!registry->keeper_runs) dbk_consumers_start_keeper(registry);
    return DAYBOOK_OK;
}

daybook_status dbk_consumers_get(daybook_store *store, struct dbk_consumers **registry_out,
                                 daybook_error *error) {
    pthread_mutex_lock(&store->consumers_lock);
    daybook_status status = get(store, error);
    pthread_mutex_unlock(&store->consumers_lock);
    *registry_out = atomic_load(&store->consumers);
    return status;
}

// The last save of one consumer.
static daybook_status save_last(dbk_consumer *consumer, daybook_error *error) {
    daybook_error detail;
    daybook_error_init(&detail);
    daybook_status status = DAYBOOK_OK;
    bool poisoned = atomic_load(&consumer->store->poisoned);
    if (!poisoned) {
        dbk_consumer_send_advisories(consumer);
        pthread_mutex_lock(&consumer->lock);
        if (consumer->is_saved && consumer->count_is_dear && consumer->is_counted)
            consumer->wants_checkpoint = true;
        if (consumer->wants_checkpoint) consumer->change_count++;
        bool is_waited_for = consumer->waiters.first != NULL;
        pthread_mutex_unlock(&consumer->lock);
        status = dbk_consumer_save(consumer, is_waited_for, &detail);
    } else if (consumer->is_saved && consumer->queued_count < consumer->change_count) {
        status = dbk_fail(&detail, DAYBOOK_EUNCERTAIN, "the journal cannot be written since a sync failed");
    }
    dbk_consumer_end_waiters(consumer, poisoned               ? DAYBOOK_EPOISONED
                                       : status == DAYBOOK_OK ? DAYBOOK_ECLOSED
                                                              : status);
    if (status == DAYBOOK_OK) return status;
    return dbk_fail(error, status == DAYBOOK_EPOISONED ? DAYBOOK_EUNCERTAIN : status,
                    "what consumer %s of stream %.*s delivered and was answered last is not kept, and comes "
                    "again: %.300s",
                    consumer->name, (int)consumer->stream->name.size,
                    (const char *)consumer->stream->name.data, detail.message);
}

static daybook_status save_all(struct dbk_consumers *registry, daybook_error *error) {
    dbk_consumer **consumers;
    size_t count;
    if (!atomic_load(&registry->store->poisoned)) dbk_consumers_sweep_all(registry);
    if (dbk_consumers_all(registry, NULL, &consumers, &count) != DAYBOOK_OK) {
        // Nobody changes the list any more.
        for (dbk_consumer *at = registry->first; at != NULL; at = at->next)
            dbk_consumer_end_waiters(at, DAYBOOK_ENOMEM);
        return dbk_fail(
            error, DAYBOOK_ENOMEM,
            "out of memory saving consumers: what was answered last is not kept, and comes again");
    }
    daybook_status status = DAYBOOK_OK;
    for (size_t i = 0; i < count; i++) {
        daybook_status one = save_last(consumers[i], status == DAYBOOK_OK ? error : NULL);
        if (status == DAYBOOK_OK) status = one;
        dbk_consumer_unref(consumers[i]);
    }
    dbk_free(registry->store->allocator, consumers);
    return status;
}

daybook_status dbk_consumers_stop(daybook_store *store, daybook_error *error) {
    struct dbk_consumers *registry = atomic_load(&store->consumers);
    if (registry == NULL) return DAYBOOK_OK;
    atomic_store(&registry->stop, true);
    if (registry->keeper_runs) {
        atomic_fetch_add(&registry->keeper_word, 1);
        store->vfs->wake(store->vfs, (const volatile uint32_t *)(uintptr_t)&registry->keeper_word, 1, 0);
        pthread_join(registry->keeper, NULL);
        registry->keeper_runs = false;
    }
    return store->read_only ? DAYBOOK_OK : save_all(registry, error);
}

void dbk_consumers_free(daybook_store *store) {
    struct dbk_consumers *registry = atomic_load(&store->consumers);
    if (registry == NULL) return;
    free_list(registry);
    dbk_free(store->allocator, registry->buckets);
    dbk_watches_deinit(&registry->watches);
    pthread_mutex_destroy(&registry->told_lock);
    pthread_mutex_destroy(&registry->change_lock);
    pthread_mutex_destroy(&registry->lock);
    atomic_store(&store->consumers, NULL);
    dbk_free(store->allocator, registry);
}

// ---- Finding ----------------------------------------------------------------------------------------------

static daybook_status find_stream(daybook_store *store, dbk_slice name, dbk_stream **stream_out,
                                  daybook_error *error) {
    *stream_out = dbk_stream_table_find(store->streams, name);
    if (*stream_out != NULL) return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_ENOTFOUND, "there is no stream '%.*s'",
                    (int)(name.size < SHOWN_MAX ? name.size : SHOWN_MAX), (const char *)name.data);
}

// A reference on the consumer.
static daybook_status find_consumer(daybook_store *store, dbk_slice stream_name, dbk_slice name,
                                    dbk_consumer **consumer_out, daybook_error *error) {
    struct dbk_consumers *registry;
    dbk_stream *stream;
    DBK_TRY(dbk_consumers_get(store, &registry, error));
    DBK_TRY(find_stream(store, stream_name, &stream, error));
    *consumer_out = find(registry, stream, name);
    if (*consumer_out != NULL) return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_ENOTFOUND, "stream %.*s has no consumer '%.*s'", (int)stream->name.size,
                    (const char *)stream->name.data, (int)(name.size < SHOWN_MAX ? name.size : SHOWN_MAX),
                    (const char *)name.data);
}

static daybook_status check_writer(const daybook_store *store, daybook_error *error) {
    if (store == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "no store: open one with daybook_open");
    if (store->read_only)
        return dbk_fail(error, DAYBOOK_EREADONLY,
                        "the store is open for reading only: open it for writing to work with consumers");
    return DAYBOOK_OK;
}

static daybook_status check_config(const daybook_store *store, const daybook_consumer_config *config,
                                   daybook_error *error) {
    if (config == NULL || config->size < sizeof *config)
        return dbk_fail(error, DAYBOOK_EMISUSE,
                        "the configuration was not initialised: begin it with daybook_consumer_config_init");
    DBK_TRY(check_writer(store, error));
    return dbk_consumer_config_validate(config, error);
}

// Nothing of the stream may ever match: most likely a slip. What is left is what is kept.
static daybook_status check_filters(const dbk_stream *stream, daybook_consumer_config *config,
                                    daybook_error *error) {
    const daybook_stream_config *captures = atomic_load(&((dbk_stream *)(uintptr_t)stream)->config);
    bool is_no_slip = (config->flags & DAYBOOK_CONSUMER_OTHER_SUBJECTS) != 0;
    config->flags &= ~(unsigned)DAYBOOK_CONSUMER_OTHER_SUBJECTS;
    if (is_no_slip || (captures->flags & DAYBOOK_STREAM_OTHER_SUBJECTS) != 0) return DAYBOOK_OK;
    for (size_t i = 0; i < config->filter_count; i++) {
        bool meets = false;
        for (size_t j = 0; j < captures->subject_count; j++)
            meets = meets || daybook_filters_overlap(captures->subjects[j], config->filters[i]);
        if (!meets)
            return dbk_fail(
                error, DAYBOOK_EINVALID,
                "stream %.*s captures no subject that matches '%.*s': change the filter, or name another "
                "stream",
                (int)stream->name.size, (const char *)stream->name.data, (int)config->filters[i].size,
                (const char *)config->filters[i].data);
    }
    return DAYBOOK_OK;
}

// ---- Handles ----------------------------------------------------------------------------------------------

// The caller's reference becomes the handle's.
static daybook_status new_handle(struct dbk_consumers *registry, dbk_consumer *consumer,
                                 daybook_consumer **consumer_out, daybook_error *error) {
    daybook_consumer *handle = dbk_alloc_zeroed(registry->store->allocator, sizeof *handle);
    if (handle == NULL) {
        dbk_consumer_unref(consumer);
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory opening a consumer");
    }
    handle->consumer = consumer;
    atomic_init(&handle->due_at_ns, INT64_MAX);
    pthread_mutex_lock(&registry->lock);
    consumer->handle_count++;
    pthread_mutex_unlock(&registry->lock);
    *consumer_out = handle;
    return DAYBOOK_OK;
}

daybook_status daybook_consumer_open(daybook_store *store, daybook_slice stream, daybook_slice name,
                                     daybook_consumer **consumer_out, daybook_error *error) {
    if (consumer_out == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE,
                        "nowhere to put the consumer: pass a pointer as consumer_out");
    *consumer_out = NULL;
    DBK_TRY(check_writer(store, error));
    dbk_consumer *consumer;
    DBK_TRY(find_consumer(store, stream, name, &consumer, error));
    if (consumer->damage != NULL) {
        daybook_status status = dbk_fail(error, DAYBOOK_EDAMAGED, "%s", consumer->damage);
        dbk_consumer_unref(consumer);
        return status;
    }
    return new_handle(atomic_load(&store->consumers), consumer, consumer_out, error);
}

_Static_assert(offsetof(daybook_consumer, head) == 0, "embedded.c converts between a consumer and its head");

daybook_engine_consumer *dbk_consumer_head(daybook_consumer *consumer) {
    return &consumer->head;
}

void daybook_consumer_close(daybook_consumer *consumer) {
    if (consumer == NULL) return;
    dbk_consumer_end_watch(consumer);
    dbk_consumer *of = consumer->consumer;
    daybook_store *store = of->store;
    struct dbk_consumers *registry = atomic_load(&store->consumers);
    pthread_mutex_lock(&registry->lock);
    of->handle_count--;
    of->idle_since_ns = store->vfs->clock_monotonic_ns(store->vfs);
    pthread_mutex_unlock(&registry->lock);
    dbk_consumer_unref(of);
    dbk_free(store->allocator, consumer);
}

daybook_slice daybook_consumer_name(const daybook_consumer *consumer) {
    return consumer == NULL ? daybook_bytes(NULL, 0) : daybook_text(consumer->consumer->name);
}

void daybook_consumer_interrupt(daybook_consumer *consumer) {
    if (consumer == NULL) return;
    atomic_store(&consumer->interrupted, true);
    dbk_consumer_wake(consumer->consumer);
}

// ---- Add, update, remove ----------------------------------------------------------------------------------

static void make_name(struct dbk_consumers *registry, char text[32], daybook_consumer_config *config) {
    uint64_t made = registry->ephemeral_count++;
    uint8_t bytes[8] = {0};
    (void)registry->store->vfs->entropy(registry->store->vfs, bytes, sizeof bytes);
    int size = snprintf(text, 32, "e%llx-%02x%02x%02x%02x", (unsigned long long)made, bytes[0], bytes[1],
                        bytes[2], bytes[3]);
    config->name = daybook_bytes(text, (size_t)size);
}

// There is one of that name already: it is the one that was asked for, or in the way.
static daybook_status answer_existing(dbk_consumer *consumer, const daybook_consumer_config *config,
                                      daybook_error *error) {
    pthread_mutex_lock(&consumer->lock);
    bool same = dbk_consumer_config_equal(consumer->config, config);
    pthread_mutex_unlock(&consumer->lock);
    if (same) return DAYBOOK_OK;
    return dbk_fail(
        error, DAYBOOK_EEXISTS,
        "stream %.*s has a consumer '%s' of another configuration: update it, remove it, or choose "
        "another name",
        (int)consumer->stream->name.size, (const char *)consumer->stream->name.data, consumer->name);
}

// change_lock is held. A reference on the consumer.
static daybook_status add(struct dbk_consumers *registry, dbk_stream *stream,
                          const daybook_consumer_config *said, dbk_consumer **consumer_out,
                          daybook_error *error) {
    daybook_store *store = registry->store;
    daybook_consumer_config config = *said;
    char made[32];
    if (config.name.size == 0) make_name(registry, made, &config);
    if ((config.flags & DAYBOOK_CONSUMER_DURABLE) == 0 && config.inactive_threshold_ns == 0)
        config.inactive_threshold_ns = EPHEMERAL_THRESHOLD_SECONDS * DBK_SECOND_NS;
    dbk_consumer *consumer = find(registry, stream, config.name);
    if (consumer != NULL) {
        daybook_status same = answer_existing(consumer, &config, error);
        if (same != DAYBOOK_OK) {
            dbk_consumer_unref(consumer);
            return same;
        }
        *consumer_out = consumer;
        return DAYBOOK_OK;
    }
    DBK_TRY(dbk_consumer_check_retention(registry, stream, &config, error));
    consumer = new_consumer(registry, stream, &config, store->vfs->clock_real_ns(store->vfs));
    if (consumer == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory making a consumer");
    daybook_status status = dbk_consumer_find_start(consumer, error);
    if (status == DAYBOOK_OK) status = dbk_consumer_save_config(consumer, &config, true, error);
    if (status != DAYBOOK_OK) {
        free_consumer(consumer);
        return status;
    }
    consumer->refs++;
    enter(registry, consumer);
    *consumer_out = consumer;
    return DAYBOOK_OK;
}

daybook_status daybook_consumer_add(daybook_store *store, daybook_slice stream_name,
                                    const daybook_consumer_config *config, daybook_consumer **consumer_out,
                                    daybook_error *error) {
    if (consumer_out != NULL) *consumer_out = NULL;
    DBK_TRY(check_config(store, config, error));
    struct dbk_consumers *registry;
    DBK_TRY(dbk_consumers_get(store, &registry, error));
    dbk_stream *stream;
    DBK_TRY(find_stream(store, stream_name, &stream, error));
    daybook_consumer_config kept = *config;
    DBK_TRY(check_filters(stream, &kept, error));
    dbk_consumer *consumer = NULL;
    pthread_mutex_lock(&registry->change_lock);
    daybook_status status = add(registry, stream, &kept, &consumer, error);
    pthread_mutex_unlock(&registry->change_lock);
    if (status != DAYBOOK_OK) return status;
    if (consumer_out != NULL) return new_handle(registry, consumer, consumer_out, error);
    dbk_consumer_unref(consumer);
    return DAYBOOK_OK;
}

// What is needed for another configuration to take effect: its copy, and its filters entered for those who
// watch.
static daybook_status prepare_update(dbk_consumer *consumer, const daybook_consumer_config *config,
                                     daybook_consumer_config **copy_out, dbk_watch_links **links_out,
                                     daybook_error *error) {
    struct dbk_consumers *registry = atomic_load(&consumer->store->consumers);
    *copy_out = dbk_consumer_config_copy(consumer->store->allocator, config);
    *links_out =
        dbk_watch_links_new(&registry->watches, consumer->stream, config->filters, config->filter_count);
    if (*copy_out != NULL && *links_out != NULL) return DAYBOOK_OK;
    dbk_free(consumer->store->allocator, *copy_out);
    dbk_watch_links_drop(&registry->watches, *links_out);
    return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory changing a consumer");
}

// Another configuration for what is delivered from now on. Durable before it counts.
static daybook_status update(dbk_consumer *consumer, const daybook_consumer_config *config,
                             daybook_error *error) {
    daybook_store *store = consumer->store;
    const char *what;
    if (!dbk_consumer_config_may_become(consumer->config, config, &what))
        return dbk_fail(
            error, DAYBOOK_EINVALID,
            "%s cannot be changed for consumer %s: remove it and add it anew, or choose another name", what,
            consumer->name);
    struct dbk_consumers *registry = atomic_load(&store->consumers);
    DBK_TRY(dbk_consumer_check_retention(registry, consumer->stream, config, error));
    daybook_consumer_config *copy;
    dbk_watch_links *links;
    DBK_TRY(prepare_update(consumer, config, &copy, &links, error));
    daybook_status status = dbk_consumer_save_config(consumer, config, false, error);
    if (status != DAYBOOK_OK) {
        dbk_watch_links_drop(&registry->watches, links);
        dbk_free(store->allocator, copy);
        return status;
    }
    pthread_mutex_lock(&consumer->fetch_lock);
    dbk_consumer_close_cursor(consumer);
    pthread_mutex_lock(&consumer->lock);
    consumer->is_counted = false;
    daybook_consumer_config *old = consumer->config;
    consumer->config = copy;
    dbk_delivery_rules rules = rules_of(consumer, copy);
    dbk_delivery_set_rules(&consumer->delivery, &rules);
    pthread_mutex_unlock(&consumer->lock);
    pthread_mutex_unlock(&consumer->fetch_lock);
    dbk_free(store->allocator, old);
    dbk_watch_owner_set_links(&registry->watches, &consumer->watch_owner, links);
    dbk_consumer_wake(consumer);
    return DAYBOOK_OK;
}

daybook_status daybook_consumer_update(daybook_store *store, daybook_slice stream_name,
                                       const daybook_consumer_config *config, daybook_error *error) {
    DBK_TRY(check_config(store, config, error));
    dbk_consumer *consumer;
    DBK_TRY(find_consumer(store, stream_name, config->name, &consumer, error));
    daybook_consumer_config kept = *config;
    daybook_status status = check_filters(consumer->stream, &kept, error);
    struct dbk_consumers *registry = atomic_load(&store->consumers);
    pthread_mutex_lock(&registry->change_lock);
    if (status == DAYBOOK_OK) status = update(consumer, &kept, error);
    pthread_mutex_unlock(&registry->change_lock);
    dbk_consumer_unref(consumer);
    return status;
}

daybook_status daybook_consumer_pause(daybook_store *store, daybook_slice stream_name, daybook_slice name,
                                      int64_t until_ns, daybook_error *error) {
    DBK_TRY(check_writer(store, error));
    if (until_ns < 0)
        return dbk_fail(error, DAYBOOK_EINVALID, "a pause until a time before 1970: use 0 to go on");
    dbk_consumer *consumer;
    DBK_TRY(find_consumer(store, stream_name, name, &consumer, error));
    struct dbk_consumers *registry = atomic_load(&store->consumers);
    pthread_mutex_lock(&registry->change_lock);
    daybook_consumer_config config = *consumer->config;
    config.pause_until_ns = until_ns;
    daybook_status status = update(consumer, &config, error);
    pthread_mutex_unlock(&registry->change_lock);
    dbk_consumer_unref(consumer);
    return status;
}

// Where deliveries begin anew, and whether they may. fetch_lock is held.
static daybook_status check_reset(const dbk_consumer *consumer, uint64_t *seq, daybook_error *error) {
    const daybook_consumer_config *config = consumer->config;
    uint64_t first = 1;
    if (*seq == 0) {
        *seq = dbk_delivery_get_floor(&consumer->delivery).seq + 1;
        return DAYBOOK_OK;
    }
    if (config->deliver == DAYBOOK_DELIVER_BY_START_SEQ || config->deliver == DAYBOOK_DELIVER_BY_START_TIME)
        first = consumer->start.first_seq;
    else if (config->deliver != DAYBOOK_DELIVER_ALL)
        return dbk_fail(
            error, DAYBOOK_EPERMISSION,
            "consumer %s begins at none of its own choice: reset it without a seq, or add it anew",
            consumer->name);
    if (*seq < first)
        return dbk_fail(error, DAYBOOK_EINVALID, "consumer %s begins at seq %llu: it cannot be reset below",
                        consumer->name, (unsigned long long)first);
    // Behind that everything to come would be passed over, and count as not wanted by it.
    uint64_t last = atomic_load(&consumer->stream->published_seq) + 1;
    if (last < first) last = first;
    if (*seq <= last) return DAYBOOK_OK;
    return dbk_fail(
        error, DAYBOOK_ELIMIT,
        "consumer %s cannot be reset to seq %llu: the next of its stream is %llu; give no later one",
        consumer->name, (unsigned long long)*seq, (unsigned long long)last);
}

// An append that acknowledges is waited for, and so is a save under way: neither would know of it. The lock
// is held.
static daybook_status reset_delivery(dbk_consumer *consumer, uint64_t *seq, uint64_t *number_out,
                                     daybook_error *error) {
    consumer->reset_waits = true;
    while (consumer->saving || consumer->claim_count > 0)
        pthread_cond_wait(&consumer->saved, &consumer->lock);
    consumer->reset_waits = false;
    pthread_cond_broadcast(&consumer->saved);
    if (atomic_load(&consumer->removed)) return dbk_consumer_fail_removed(consumer, error);
    DBK_TRY(check_reset(consumer, seq, error));
    if (dbk_delivery_begin_behind(&consumer->delivery, *seq - 1, dbk_consumer_now(consumer)) != DAYBOOK_OK)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory resetting consumer %s", consumer->name);
    *number_out = consumer->delivery.number;
    consumer->list_at = 0; // what lies below is passed over
    consumer->is_counted = false;
    // No change says it: the whole state does, which replaces all before.
    dbk_changes_reset(&consumer->changes);
    consumer->wants_checkpoint = true;
    dbk_consumer_note_change(consumer);
    return DAYBOOK_OK;
}

daybook_status daybook_consumer_reset(daybook_store *store, daybook_slice stream_name, daybook_slice name,
                                      uint64_t seq, uint64_t *seq_out, uint64_t *number_out,
                                      daybook_error *error) {
    if (seq_out != NULL) *seq_out = 0;
    if (number_out != NULL) *number_out = 0;
    DBK_TRY(check_writer(store, error));
    dbk_consumer *consumer;
    DBK_TRY(find_consumer(store, stream_name, name, &consumer, error));
    struct dbk_consumers *registry = atomic_load(&store->consumers);
    uint64_t number = 0;
    pthread_mutex_lock(&registry->change_lock);
    pthread_mutex_lock(&consumer->fetch_lock);
    dbk_consumer_close_cursor(consumer);
    pthread_mutex_lock(&consumer->lock);
    daybook_status status = consumer->damage == NULL
                                ? reset_delivery(consumer, &seq, &number, error)
                                : dbk_fail(error, DAYBOOK_EDAMAGED, "%s", consumer->damage);
    pthread_mutex_unlock(&consumer->lock);
    pthread_mutex_unlock(&consumer->fetch_lock);
    bool is_reset = status == DAYBOOK_OK;
    if (is_reset) {
        // What it let go of it may want again; and the reverse.
        atomic_store(&consumer->stream->is_swept, false);
        atomic_store(&registry->sweeps, true);
        status = dbk_consumer_save(consumer, true, error);
        dbk_consumer_wake(consumer);
    }
    pthread_mutex_unlock(&registry->change_lock);
    dbk_consumer_unref(consumer);
    if (seq_out != NULL && is_reset) *seq_out = seq;
    if (number_out != NULL && is_reset) *number_out = number;
    return status;
}

// Its events go, configuration first: a state without one is nobody's.
static daybook_status purge_events(daybook_store *store, uint32_t stream_id, dbk_slice name,
                                   daybook_error *error) {
    static const char *const what[] = {"config", "state", "parts"};
    for (size_t i = 0; i < sizeof what / sizeof *what; i++) {
        char text[DBK_CONSUMER_SUBJECT_SIZE_MAX];
        daybook_purge_options options;
        daybook_purge_options_init(&options);
        options.filter = dbk_consumer_subject(stream_id, name, what[i], text);
        DBK_TRY(daybook_stream_purge(store, daybook_text(dbk_consumers_stream), &options, NULL, error));
    }
    return DAYBOOK_OK;
}

// change_lock is held.
static daybook_status remove_consumer(struct dbk_consumers *registry, dbk_consumer *consumer,
                                      daybook_error *error) {
    if (consumer->is_saved) {
        // No save may bring its state back.
        pthread_mutex_lock(&consumer->lock);
        consumer->is_leaving = true;
        while (consumer->saving) pthread_cond_wait(&consumer->saved, &consumer->lock);
        consumer->saving = true;
        pthread_mutex_unlock(&consumer->lock);
        daybook_status status =
            purge_events(registry->store, consumer->stream->id, daybook_text(consumer->name), error);
        pthread_mutex_lock(&consumer->lock);
        if (status == DAYBOOK_OK) atomic_store(&consumer->removed, true);
        consumer->saving = consumer->is_leaving = false;
        pthread_cond_broadcast(&consumer->saved);
        pthread_mutex_unlock(&consumer->lock);
        if (status != DAYBOOK_OK) {
            dbk_consumer_serve_waiters(consumer, false);
            return status;
        }
    }
    (void)leave(registry, consumer);
    // What only it wanted.
    atomic_store(&consumer->stream->is_swept, false);
    atomic_store(&registry->sweeps, true);
    return DAYBOOK_OK;
}

daybook_status daybook_consumer_remove(daybook_store *store, daybook_slice stream_name, daybook_slice name,
                                       daybook_error *error) {
    DBK_TRY(check_writer(store, error));
    dbk_consumer *consumer;
    DBK_TRY(find_consumer(store, stream_name, name, &consumer, error));
    struct dbk_consumers *registry = atomic_load(&store->consumers);
    pthread_mutex_lock(&registry->change_lock);
    daybook_status status = remove_consumer(registry, consumer, error);
    pthread_mutex_unlock(&registry->change_lock);
    dbk_consumer_unref(consumer);
    return status;
}

static bool is_unused(struct dbk_consumers *registry, dbk_consumer *consumer) {
    daybook_vfs *vfs = registry->store->vfs;
    pthread_mutex_lock(&consumer->lock);
    int64_t threshold_ns = consumer->config->inactive_threshold_ns;
    pthread_mutex_unlock(&consumer->lock);
    pthread_mutex_lock(&registry->lock);
    bool unused = threshold_ns > 0 && consumer->handle_count == 0 &&
                  vfs->clock_monotonic_ns(vfs) - consumer->idle_since_ns > threshold_ns;
    pthread_mutex_unlock(&registry->lock);
    return unused;
}

void dbk_consumers_remove_idle(struct dbk_consumers *registry) {
    dbk_consumer **consumers;
    size_t count;
    if (registry->store->read_only || dbk_consumers_all(registry, NULL, &consumers, &count) != DAYBOOK_OK)
        return;
    for (size_t i = 0; i < count; i++) {
        // Who adds or opens it at this moment finds it removed, and adds it anew.
        if (is_unused(registry, consumers[i]) && pthread_mutex_trylock(&registry->change_lock) == 0) {
            daybook_error error;
            daybook_error_init(&error);
            if (is_unused(registry, consumers[i]) &&
                remove_consumer(registry, consumers[i], &error) != DAYBOOK_OK)
                dbk_store_log(registry->store, DAYBOOK_LOG_WARNING, "consumer %s, unused, is not removed: %s",
                              consumers[i]->name, error.message);
            pthread_mutex_unlock(&registry->change_lock);
        }
        dbk_consumer_unref(consumers[i]);
    }
    dbk_free(registry->store->allocator, consumers);
}

void dbk_consumers_drop_stream(daybook_store *store, dbk_stream *stream) {
    struct dbk_consumers *registry;
    dbk_consumer **consumers;
    size_t count;
    daybook_error error;
    daybook_error_init(&error);
    if (dbk_stream_table_find(store->streams, daybook_text(dbk_consumers_stream)) == NULL &&
        atomic_load(&store->consumers) == NULL)
        return;
    if (dbk_consumers_get(store, &registry, &error) != DAYBOOK_OK ||
        dbk_consumers_all(registry, stream, &consumers, &count) != DAYBOOK_OK)
        return; // nothing finds them any more; their events are left behind
    for (size_t i = 0; i < count; i++) {
        pthread_mutex_lock(&registry->change_lock);
        if (remove_consumer(registry, consumers[i], &error) != DAYBOOK_OK)
            dbk_store_log(store, DAYBOOK_LOG_WARNING, "events of consumer %s are left behind: %s",
                          consumers[i]->name, error.message);
        pthread_mutex_unlock(&registry->change_lock);
        dbk_consumer_unref(consumers[i]);
    }
    dbk_free(store->allocator, consumers);
}

// ---- Looking ----------------------------------------------------------------------------------------------

static int64_t time_of(uint64_t tick) {
    return tick == 0 ? 0 : (int64_t)tick * DBK_TICK_NS;
}

// What lies before where it begins, or is not stored any more, is behind it, as it is in JetStream.
static uint64_t passed_seq(const dbk_consumer *consumer, uint64_t stored) {
    const dbk_consumer_start *start = &consumer->start;
    uint64_t begins = start->list_count > 0 ? start->list[0] : start->first_seq;
    uint64_t first = begins > stored ? begins : stored;
    return first > 0 ? first - 1 : 0;
}

// The lock is held. `stored` is the oldest seq there is.
static void describe(const dbk_consumer *consumer, uint64_t stored, daybook_consumer_info *info) {
    const dbk_delivery *delivery = &consumer->delivery;
    dbk_delivery_floor floor = dbk_delivery_get_floor(delivery);
    daybook_vfs *vfs = consumer->store->vfs;
    info->created_ns = consumer->created_ns;
    info->delivered_number = delivery->number;
    uint64_t passed = passed_seq(consumer, stored);
    info->delivered_seq = passed > delivery->delivered_seq ? passed : delivery->delivered_seq;
    info->delivered_ns = time_of(delivery->delivered_at);
    info->floor_number = floor.number;
    info->floor_seq = delivery->pending.count == 0 ? info->delivered_seq : floor.seq;
    info->acked_ns = time_of(delivery->acked_at);
    info->ack_pending_count = dbk_delivery_pending_count(delivery);
    info->redelivered_count = delivery->again_count;
    info->given_up_count = delivery->given_up_count;
    info->waiting_count = consumer->waiting_count;
    info->is_paused = consumer->config->pause_until_ns > vfs->clock_real_ns(vfs);
}

typedef struct owned_info {
    daybook_consumer_info info; // first: it is what callers see
    daybook_consumer_config *config;
} owned_info;

typedef daybook_status (*count_function)(dbk_consumer *consumer, uint64_t *count_out, daybook_error *error);

static daybook_status new_info(dbk_consumer *consumer, count_function count_ahead,
                               daybook_consumer_info **info_out, daybook_error *error) {
    if (consumer->damage != NULL) return dbk_fail(error, DAYBOOK_EDAMAGED, "%s", consumer->damage);
    const daybook_allocator *allocator = consumer->store->allocator;
    owned_info *owned = dbk_alloc_zeroed(allocator, sizeof *owned);
    if (owned == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory describing a consumer");
    daybook_consumer_info *info = &owned->info;
    info->size = sizeof *info;
    info->stream = consumer->stream->name;
    uint64_t stored = 0;
    pthread_mutex_lock(&consumer->fetch_lock);
    daybook_status status = count_ahead(consumer, &info->pending_count, error);
    if (status == DAYBOOK_OK) status = dbk_consumer_find_stored(consumer, &stored, error);
    pthread_mutex_lock(&consumer->lock);
    dbk_consumer_drop_removed(consumer);
    // Read but held back: nobody got them yet.
    info->pending_count += consumer->delivery.held_count;
    describe(consumer, stored, info);
    owned->config = dbk_consumer_config_copy(allocator, consumer->config);
    pthread_mutex_unlock(&consumer->lock);
    pthread_mutex_unlock(&consumer->fetch_lock);
    if (status == DAYBOOK_OK && owned->config == NULL)
        status = dbk_fail(error, DAYBOOK_ENOMEM, "out of memory describing a consumer");
    if (status != DAYBOOK_OK) {
        daybook_consumer_info_release(consumer->store, info);
        return status;
    }
    info->config = *owned->config;
    *info_out = info;
    return DAYBOOK_OK;
}

static daybook_status get_info(daybook_store *store, daybook_slice stream, daybook_slice name,
                               count_function count_ahead, daybook_consumer_info **info_out,
                               daybook_error *error) {
    if (store == NULL || info_out == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE, "no store, or nowhere to put the answer: pass both");
    *info_out = NULL;
    if (store->read_only) DBK_TRY(dbk_follower_refresh(store, error));
    dbk_consumer *consumer;
    DBK_TRY(find_consumer(store, stream, name, &consumer, error));
    daybook_status status = new_info(consumer, count_ahead, info_out, error);
    dbk_consumer_unref(consumer);
    return status;
}

daybook_status daybook_consumer_get_info(daybook_store *store, daybook_slice stream, daybook_slice name,
                                         daybook_consumer_info **info_out, daybook_error *error) {
    return get_info(store, stream, name, dbk_consumer_count_ahead, info_out, error);
}

daybook_status daybook_consumer_look(daybook_store *store, daybook_slice stream, daybook_slice name,
                                     daybook_consumer_info **info_out, daybook_error *error) {
    return get_info(store, stream, name, dbk_consumer_known_ahead, info_out, error);
}

void daybook_consumer_info_release(daybook_store *store, daybook_consumer_info *info) {
    if (store == NULL || info == NULL) return;
    dbk_free(store->allocator, ((owned_info *)(void *)info)->config);
    dbk_free(store->allocator, info);
}

static int compare_consumers(const void *a, const void *b) {
    const dbk_consumer *left = *(dbk_consumer *const *)a, *right = *(dbk_consumer *const *)b;
    int order = dbk_slice_compare(left->stream->name, right->stream->name);
    return order != 0 ? order : dbk_slice_compare(daybook_text(left->name), daybook_text(right->name));
}

// In order of stream and name, a reference on each.
static daybook_status list_consumers(daybook_store *store, dbk_slice stream_name,
                                     dbk_consumer ***consumers_out, size_t *count_out, daybook_error *error) {
    if (store->read_only) DBK_TRY(dbk_follower_refresh(store, error));
    struct dbk_consumers *registry;
    DBK_TRY(dbk_consumers_get(store, &registry, error));
    dbk_stream *stream = NULL;
    if (stream_name.size > 0) DBK_TRY(find_stream(store, stream_name, &stream, error));
    if (dbk_consumers_all(registry, stream, consumers_out, count_out) != DAYBOOK_OK)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory listing consumers");
    if (*count_out > 1) qsort(*consumers_out, *count_out, sizeof **consumers_out, compare_consumers);
    return DAYBOOK_OK;
}

daybook_status daybook_consumer_list(daybook_store *store, daybook_slice stream,
                                     int (*visit)(void *context, const daybook_consumer_info *info),
                                     void *context, daybook_error *error) {
    if (store == NULL || visit == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE, "no store, or nobody to tell: pass both");
    dbk_consumer **consumers;
    size_t count;
    DBK_TRY(list_consumers(store, stream, &consumers, &count, error));
    daybook_status status = DAYBOOK_OK;
    bool stop = false;
    for (size_t i = 0; i < count; i++) {
        if (status == DAYBOOK_OK && !stop) {
            daybook_consumer_info *info;
            status = new_info(consumers[i], dbk_consumer_count_ahead, &info, error);
            if (status == DAYBOOK_OK) {
                stop = visit(context, info) != 0;
                daybook_consumer_info_release(store, info);
            }
        }
        dbk_consumer_unref(consumers[i]);
    }
    dbk_free(store->allocator, consumers);
    return status;
}

daybook_status daybook_consumer_names(daybook_store *store, daybook_slice stream,
                                      int (*visit)(void *context, daybook_slice of_stream,
                                                   daybook_slice name),
                                      void *context, daybook_error *error) {
    if (store == NULL || visit == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE, "no store, or nobody to tell: pass both");
    dbk_consumer **consumers;
    size_t count;
    DBK_TRY(list_consumers(store, stream, &consumers, &count, error));
    bool stop = false;
    for (size_t i = 0; i < count; i++) {
        stop = stop || visit(context, consumers[i]->stream->name, daybook_text(consumers[i]->name)) != 0;
        dbk_consumer_unref(consumers[i]);
    }
    dbk_free(store->allocator, consumers);
    return DAYBOOK_OK;
}

daybook_status daybook_consumer_count(daybook_store *store, daybook_slice stream_name, uint64_t *count_out,
                                      daybook_error *error) {
    if (store == NULL || count_out == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE, "no store, or nowhere to put the answer: pass both");
    *count_out = 0;
    if (store->read_only) DBK_TRY(dbk_follower_refresh(store, error));
    struct dbk_consumers *registry;
    dbk_stream *stream;
    DBK_TRY(dbk_consumers_get(store, &registry, error));
    DBK_TRY(find_stream(store, stream_name, &stream, error));
    *count_out = atomic_load(&stream->consumer_count);
    return DAYBOOK_OK;
}
