// SPDX-License-Identifier: Apache-2.0
// Saving consumers: what is noted becomes events of the internal stream $CONSUMERS.
//
//   noted --save--> in the commit queue --group written--> on disk
//
// A save takes all that was noted and appends it as one event; meanwhile the next changes collect, and who
// wants to know them saved waits for the save under way and makes or waits for the next. So confirmed
// acknowledgements that come at the same time share one event and one sync. The stream acknowledges before
// the sync: a plain save costs no sync of its own and rides with the next group.
//
// A save for acknowledgements that were submitted appends without waiting and goes on when it is told; the
// next one may be begun by the commit thread. What may block, a checkpoint or removing what is settled, is
// left to the keeper.
//
// Where what was taken could not be appended it is not put back: the next save is of the whole state, a
// checkpoint. A checkpoint is also made where the changes behind the last one have grown beyond half of it,
// and when the store is closed where counting what is pending took long, so that it need not be done again
// (consumer_checkpoint.c).
//
// The keeper is a thread of the store, started by its first consumer: it saves what is older than 100 ms and
// removes consumers nobody uses. It must not be the flusher: an append may wait for that.
#include <stdio.h>

#include "base/time.h"
#include "store/commit.h"
#include "store/consumer.h"
#include "store/conventions.h"

enum {
    SAVE_AFTER_MS = 100,
    SAVE_EARLY_MS = 25,
    RETRY_MS = 1000,
    IDLE_MS = 1000, // how often unused consumers, and sweeps that failed, are looked for
    CHANGES_SIZE_MAX = 4 << 20,
    ADVISORY_SIZE_MAX = 4096,
    ADVISORIES_KEPT = 100000
};

const char dbk_consumers_stream[] = "$CONSUMERS";
static const char advisories_stream[] = "$ADVISORIES";

dbk_slice dbk_consumer_subject(uint32_t stream_id, dbk_slice name, const char *what,
                               char text[DBK_CONSUMER_SUBJECT_SIZE_MAX]) {
    int size = snprintf(text, DBK_CONSUMER_SUBJECT_SIZE_MAX, "$CONSUMER.%u.%.*s.%s", (unsigned)stream_id,
                        (int)name.size, (const char *)name.data, what);
    return daybook_bytes(text, (size_t)size);
}

// ---- Streams ----------------------------------------------------------------------------------------------

static daybook_status make_stream(daybook_store *store, const char *name, const char *subject,
                                  uint64_t max_msgs, const char *description, daybook_error *error) {
    if (dbk_stream_table_find(store->streams, daybook_text(name)) != NULL) return DAYBOOK_OK;
    dbk_slice subjects = daybook_text(subject);
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text(name);
    config.subjects = &subjects;
    config.subject_count = 1;
    config.aggregate_tokens = 0;
    config.flags = DAYBOOK_STREAM_ALLOW_ROLLUP | DAYBOOK_STREAM_INTERNAL;
    config.sync_interval_ns = SAVE_AFTER_MS * DBK_MILLISECOND_NS;
    config.duplicate_window_ns = 0;
    config.max_msgs = max_msgs;
    config.description = daybook_text(description);
    daybook_status status = daybook_stream_add(store, &config, error);
    return status == DAYBOOK_EEXISTS ? DAYBOOK_OK : status; // another thread was faster
}

daybook_status dbk_consumer_make_stream(daybook_store *store, daybook_error *error) {
    return make_stream(store, dbk_consumers_stream, "$CONSUMER.>", 0, "consumers: configuration and state",
                       error);
}

// ---- Events -----------------------------------------------------------------------------------------------

static daybook_status append(daybook_store *store, const daybook_event *events, size_t count, bool durable,
                             daybook_receipt *receipts, daybook_error *error) {
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.durable = durable;
    return daybook_append(store, events, count, &options, receipts, error);
}

daybook_status dbk_consumer_append_event(daybook_store *store, const daybook_event *event, bool durable,
                                         uint64_t *seq_out, daybook_error *error) {
    daybook_receipt receipt;
    DBK_TRY(append(store, event, 1, durable, &receipt, error));
    if (seq_out != NULL) *seq_out = receipt.seq;
    return DAYBOOK_OK;
}

static void init_event(daybook_event *event, dbk_slice subject, const char *type, const dbk_buf *data) {
    daybook_event_init(event);
    event->subject = subject;
    event->type = daybook_text(type);
    event->data = daybook_bytes(data->data, data->size);
}

static void init_replacing(daybook_event *event, dbk_slice subject, const char *type, const dbk_buf *data) {
    init_event(event, subject, type, data);
    event->headers = &dbk_replaces_older;
    event->header_count = 1;
}

static dbk_slice name_of(const dbk_consumer *consumer) {
    return daybook_text(consumer->name);
}

daybook_status dbk_consumer_encode_ack(dbk_consumer *consumer, const uint64_t *seqs, size_t count,
                                       dbk_buf *buf) {
    dbk_changes changes;
    dbk_changes_init(&changes, consumer->store->allocator, CHANGES_SIZE_MAX);
    for (size_t i = 0; i < count; i++) {
        dbk_change change = {.kind = DBK_CHANGE_SETTLE, .seq = seqs[i]};
        dbk_changes_add(&changes, &change);
    }
    daybook_status status = changes.lost ? DAYBOOK_ENOMEM : DAYBOOK_OK;
    if (status == DAYBOOK_OK) {
        dbk_buf_append_slice(buf, dbk_changes_finish(&changes, 0, dbk_consumer_now(consumer)));
        status = dbk_buf_status(buf);
    }
    dbk_changes_deinit(&changes);
    return status;
}

daybook_status dbk_consumer_save_config(dbk_consumer *consumer, const daybook_consumer_config *config,
                                        bool fresh, daybook_error *error) {
    if (!consumer->is_saved) return DAYBOOK_OK;
    daybook_store *store = consumer->store;
    DBK_TRY(dbk_consumer_make_stream(store, error));
    dbk_buf record;
    dbk_checkpoint state;
    dbk_buf_init(&record, store->allocator, DAYBOOK_BATCH_SIZE_MAX);
    dbk_checkpoint_init(&state, store->allocator);
    daybook_status status = dbk_consumer_config_encode(config, consumer->created_ns, &record);
    if (status == DAYBOOK_OK && fresh) status = dbk_checkpoint_encode(&state, consumer, 0);
    if (status != DAYBOOK_OK) (void)dbk_fail(error, status, "out of memory saving a consumer");
    if (status == DAYBOOK_OK && fresh) status = dbk_checkpoint_write_parts(&state, consumer, error);
    if (status == DAYBOOK_OK) {
        char config_text[DBK_CONSUMER_SUBJECT_SIZE_MAX], state_text[DBK_CONSUMER_SUBJECT_SIZE_MAX];
        daybook_event events[2];
        uint32_t id = consumer->stream->id;
        init_replacing(&events[0], dbk_consumer_subject(id, config->name, "config", config_text), "config",
                       &record);
        dbk_checkpoint_fill_event(&state, dbk_consumer_subject(id, config->name, "state", state_text),
                                  &events[1]);
        status = append(store, events, fresh ? 2 : 1, true, NULL, error);
    }
    dbk_buf_deinit(&record);
    dbk_checkpoint_deinit(&state);
    return status;
}

// ---- Loading ----------------------------------------------------------------------------------------------

// What of it was ahead is so no longer.
static daybook_status take_off_delivered(dbk_consumer *consumer, dbk_slice changes) {
    dbk_changes_reader reader;
    uint64_t delivered_at, acked_at;
    DBK_TRY(dbk_changes_read(changes, &reader, &delivered_at, &acked_at));
    dbk_change change;
    daybook_status status;
    while ((status = dbk_changes_next(&reader, &change)) == DAYBOOK_OK) {
        if (change.kind == DBK_CHANGE_DELIVER || change.kind == DBK_CHANGE_HOLD)
            dbk_consumer_take_off(consumer, change.seq);
    }
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

static daybook_status load_event(dbk_consumer *consumer, const daybook_recorded_event *event, bool *begun,
                                 daybook_error *error) {
    dbk_slice data = event->event.data;
    if (dbk_checkpoint_is(&event->event)) {
        if (*begun) return DAYBOOK_EDAMAGED;
        *begun = true;
        return dbk_checkpoint_load(consumer, &event->event, error);
    }
    if (!*begun) return DAYBOOK_EDAMAGED;
    if (consumer->is_counted) DBK_TRY(take_off_delivered(consumer, data));
    DBK_TRY(dbk_consumer_changes_replay(data, &consumer->delivery));
    // What was settled and not delivered is passed without a change that says so.
    if (consumer->delivery.early_count > 0) consumer->is_counted = false;
    consumer->changes_bytes += data.size;
    return DAYBOOK_OK;
}

daybook_status dbk_consumer_read_log(daybook_store *store, dbk_stream *stream, dbk_slice filter,
                                     daybook_cursor **cursor_out, daybook_error *error) {
    daybook_query query;
    daybook_query_init(&query);
    query.filters = &filter;
    query.filter_count = 1;
    return dbk_cursor_open(store, &query, stream, cursor_out, error);
}

// Where the clock was set back since, deadlines are as far ahead as it was: nobody waits for a time that was
// wrong.
static void follow_the_clock(dbk_consumer *consumer) {
    dbk_delivery *delivery = &consumer->delivery;
    uint64_t seen = delivery->delivered_at > delivery->acked_at ? delivery->delivered_at : delivery->acked_at;
    uint64_t now = dbk_consumer_now(consumer);
    if (seen > now) dbk_delivery_move_deadlines(delivery, seen - now);
}

daybook_status dbk_consumer_load_state(dbk_consumer *consumer, uint64_t config_position,
                                       daybook_error *error) {
    daybook_store *store = consumer->store;
    dbk_stream *stream = dbk_stream_table_find(store->streams, daybook_text(dbk_consumers_stream));
    if (stream == NULL) return dbk_fail(error, DAYBOOK_EDAMAGED, "the stream of consumers is not there");
    char text[DBK_CONSUMER_SUBJECT_SIZE_MAX];
    dbk_slice filter = dbk_consumer_subject(consumer->stream->id, name_of(consumer), "state", text);
    daybook_cursor *cursor;
    DBK_TRY(dbk_consumer_read_log(store, stream, filter, &cursor, error));
    bool begun = false;
    daybook_recorded_event event;
    daybook_status status;
    while ((status = daybook_cursor_next(cursor, 0, &event, error)) == DAYBOOK_OK) {
        status = load_event(consumer, &event, &begun, error);
        // Filters may be others since it was counted.
        if (event.position < config_position) consumer->is_counted = false;
        if (status == DAYBOOK_OK) continue;
        if (status != DAYBOOK_EDAMAGED && status != DAYBOOK_EFORMAT) break;
        (void)dbk_fail(
            error, status, "the state of consumer %s of stream %.*s %s (event at position %llu); %s",
            consumer->name, (int)consumer->stream->name.size, (const char *)consumer->stream->name.data,
            status == DAYBOOK_EFORMAT ? "was written by a newer daybook" : "cannot be used",
            (unsigned long long)event.position,
            status == DAYBOOK_EFORMAT
                ? "use that, or remove the consumer and add it anew: then it begins where you say"
                : "remove the consumer and add it anew");
        break;
    }
    daybook_cursor_close(cursor);
    if (status != DAYBOOK_END) return status;
    follow_the_clock(consumer);
    if (begun) return dbk_checkpoint_look_for_parts(consumer, error);
    return dbk_fail(error, DAYBOOK_EDAMAGED, "consumer %s has no state: remove it and add it anew",
                    consumer->name);
}

static const volatile uint32_t *word_of(const _Atomic uint32_t *word) {
    return (const volatile uint32_t *)(uintptr_t)word;
}

// ---- Saving -----------------------------------------------------------------------------------------------

void dbk_consumers_wake_keeper(struct dbk_consumers *registry) {
    daybook_vfs *vfs = registry->store->vfs;
    atomic_fetch_add(&registry->keeper_word, 1);
    if (atomic_load(&registry->keeper_sleeps)) vfs->wake(vfs, word_of(&registry->keeper_word), 1, 0);
}

void dbk_consumer_note_change(dbk_consumer *consumer) {
    consumer->change_count++;
    if (consumer->changed_at_ns != 0 || (!consumer->is_saved && !consumer->delivery.keeps_settled)) return;
    daybook_store *store = consumer->store;
    struct dbk_consumers *registry = atomic_load(&store->consumers);
    consumer->changed_at_ns = store->vfs->clock_monotonic_ns(store->vfs);
    // Of thousands that change it is not woken for each: it comes in time by itself for all but the first.
    int64_t due_ns = consumer->changed_at_ns + SAVE_AFTER_MS * DBK_MILLISECOND_NS;
    if (atomic_load(&registry->keeper_until_ns) > due_ns) dbk_consumers_wake_keeper(registry);
}

// What one save takes along.
typedef struct taken {
    dbk_buf data; // changes
    dbk_checkpoint checkpoint;
    uint64_t change_count;
    bool is_checkpoint;
    uint64_t removed_count;
} taken;

bool dbk_consumer_wants_checkpoint(const dbk_consumer *consumer) {
    uint64_t half = consumer->checkpoint_bytes / 2;
    uint64_t least = atomic_load(&consumer->store->consumers)->checkpoint_changes;
    uint64_t allowed = half > least ? half : least;
    return consumer->wants_checkpoint || consumer->changes.lost || consumer->changes_bytes > allowed;
}

// The lock is held, and no other save is under way.
static daybook_status take(dbk_consumer *consumer, taken *into) {
    if (into->is_checkpoint) {
        // A claim is stored by its own event, which the checkpoint would remove.
        consumer->checkpoint_waits = true;
        while (consumer->claim_count > 0) pthread_cond_wait(&consumer->saved, &consumer->lock);
        consumer->checkpoint_runs = true;
    }
    into->change_count = consumer->change_count;
    consumer->changed_at_ns = 0;
    daybook_status status;
    if (into->is_checkpoint) {
        status = dbk_checkpoint_encode(&into->checkpoint, consumer, into->removed_count);
    } else if (dbk_changes_is_empty(&consumer->changes)) {
        return DAYBOOK_OK;
    } else {
        const dbk_delivery *delivery = &consumer->delivery;
        dbk_buf_append_slice(
            &into->data, dbk_changes_finish(&consumer->changes, delivery->delivered_at, delivery->acked_at));
        status = dbk_buf_status(&into->data);
    }
    if (status == DAYBOOK_OK) dbk_changes_reset(&consumer->changes);
    return status;
}

static daybook_status write_taken(dbk_consumer *consumer, taken *what, bool durable, daybook_error *error) {
    daybook_store *store = consumer->store;
    if (!what->is_checkpoint && what->data.size == 0)
        return durable ? dbk_commit_write_deferred(store, true, error) : DAYBOOK_OK;
    char text[DBK_CONSUMER_SUBJECT_SIZE_MAX];
    dbk_slice subject = dbk_consumer_subject(consumer->stream->id, name_of(consumer), "state", text);
    daybook_event event;
    if (what->is_checkpoint) {
        DBK_TRY(dbk_checkpoint_write_parts(&what->checkpoint, consumer, error));
        dbk_checkpoint_fill_event(&what->checkpoint, subject, &event);
    } else {
        init_event(&event, subject, "changes", &what->data);
    }
    DBK_TRY(dbk_consumer_append_event(store, &event, durable, NULL, error));
    if (what->is_checkpoint) dbk_checkpoint_remove_parts(&what->checkpoint, consumer);
    return DAYBOOK_OK;
}

static void init_taken(taken *what, dbk_consumer *consumer, bool is_checkpoint) {
    *what = (taken){.is_checkpoint = is_checkpoint};
    dbk_buf_init(&what->data, consumer->store->allocator, DAYBOOK_BATCH_SIZE_MAX);
    dbk_checkpoint_init(&what->checkpoint, consumer->store->allocator);
}

// What was taken is saved, or is not. The lock is held.
static void end_save(dbk_consumer *consumer, taken *what, bool durable, daybook_status status) {
    if (status == DAYBOOK_OK) {
        if (what->is_checkpoint) consumer->checkpoint_bytes = what->checkpoint.bytes.size;
        if (what->is_checkpoint) consumer->wants_checkpoint = false;
        consumer->changes_bytes = what->is_checkpoint ? 0 : consumer->changes_bytes + what->data.size;
        consumer->queued_count = what->change_count;
        if (durable) consumer->durable_count = what->change_count;
    } else {
        // What was taken is part of the state, which is saved as a whole next.
        dbk_changes_reset(&consumer->changes);
        consumer->changes.lost = true;
        if (consumer->changed_at_ns == 0)
            consumer->changed_at_ns = consumer->store->vfs->clock_monotonic_ns(consumer->store->vfs);
    }
    dbk_consumer_settle_waiters(consumer, status, what->change_count);
    consumer->saving = false;
    consumer->checkpoint_waits = consumer->checkpoint_runs = false;
    pthread_cond_broadcast(&consumer->saved);
    dbk_buf_deinit(&what->data);
    dbk_checkpoint_deinit(&what->checkpoint);
}

// The lock is held before and after, and not meanwhile.
static daybook_status save_once(dbk_consumer *consumer, bool durable, daybook_error *error) {
    taken what;
    init_taken(&what, consumer, dbk_consumer_wants_checkpoint(consumer));
    consumer->saving = true;
    if (what.is_checkpoint) {
        pthread_mutex_unlock(&consumer->lock);
        what.removed_count = dbk_checkpoint_removed_count(consumer);
        pthread_mutex_lock(&consumer->lock);
    }
    daybook_status status = take(consumer, &what);
    pthread_mutex_unlock(&consumer->lock);
    if (status == DAYBOOK_OK && consumer->delivery.keeps_settled)
        status = dbk_consumer_remove_settled(consumer, error);
    if (status == DAYBOOK_OK) {
        status = write_taken(consumer, &what, durable, error);
    } else if (status == DAYBOOK_ENOMEM) {
        (void)dbk_fail(error, status, "out of memory saving consumer %s", consumer->name);
    }
    pthread_mutex_lock(&consumer->lock);
    end_save(consumer, &what, durable, status);
    return status;
}

typedef struct submitted_save {
    dbk_consumer *consumer; // a reference
    taken what;
} submitted_save;

static void end_submitted(submitted_save *save, daybook_status status) {
    dbk_consumer *consumer = save->consumer;
    pthread_mutex_lock(&consumer->lock);
    end_save(consumer, &save->what, true, status);
    pthread_mutex_unlock(&consumer->lock);
    dbk_free(consumer->store->allocator, save);
    dbk_consumer_tell_waiters(consumer);
    dbk_consumer_serve_waiters(consumer, false);
    dbk_consumer_unref(consumer);
}

static void note_saved(void *context, daybook_status status, const daybook_receipt *receipts, size_t count,
                       const daybook_error *error) {
    (void)receipts, (void)count, (void)error;
    end_submitted(context, status);
}

static daybook_status submit(submitted_save *save) {
    dbk_consumer *consumer = save->consumer;
    if (consumer->delivery.keeps_settled) DBK_TRY(dbk_consumer_remove_settled(consumer, NULL));
    char text[DBK_CONSUMER_SUBJECT_SIZE_MAX];
    daybook_event event;
    init_event(&event, dbk_consumer_subject(consumer->stream->id, name_of(consumer), "state", text),
               "changes", &save->what.data);
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.durable = true;
    return dbk_append_submit_at_once(consumer->store, &event, 1, &options, note_saved, save, NULL);
}

void dbk_consumer_submit_save(dbk_consumer *consumer) {
    struct dbk_consumers *registry = atomic_load(&consumer->store->consumers);
    submitted_save *save = dbk_alloc_zeroed(consumer->store->allocator, sizeof *save);
    if (save == NULL) { // what changed is saved by the keeper, all the same
        dbk_consumer_settle_waiters(consumer, DAYBOOK_ENOMEM, consumer->change_count);
        if (consumer->changed_at_ns == 0)
            consumer->changed_at_ns = consumer->store->vfs->clock_monotonic_ns(consumer->store->vfs);
        pthread_mutex_unlock(&consumer->lock);
        dbk_consumers_wake_keeper(registry);
        dbk_consumer_tell_waiters(consumer);
        return;
    }
    save->consumer = consumer;
    init_taken(&save->what, consumer, false);
    consumer->saving = true;
    daybook_status status = take(consumer, &save->what);
    pthread_mutex_unlock(&consumer->lock);
    pthread_mutex_lock(&registry->lock);
    consumer->refs++;
    pthread_mutex_unlock(&registry->lock);
    if (status == DAYBOOK_OK) status = submit(save);
    if (status != DAYBOOK_OK) end_submitted(save, status);
}

// Of a consumer that is not saved.
static daybook_status remove_settled_only(dbk_consumer *consumer, daybook_error *error) {
    if (!consumer->delivery.keeps_settled) return DAYBOOK_OK;
    pthread_mutex_lock(&consumer->lock);
    consumer->changed_at_ns = 0;
    uint64_t mine = consumer->change_count;
    pthread_mutex_unlock(&consumer->lock);
    daybook_status status = dbk_consumer_remove_settled(consumer, error);
    pthread_mutex_lock(&consumer->lock);
    if (status == DAYBOOK_OK && mine > consumer->durable_count) consumer->durable_count = mine;
    dbk_consumer_settle_waiters(consumer, status, mine);
    pthread_mutex_unlock(&consumer->lock);
    dbk_consumer_tell_waiters(consumer);
    return status;
}

daybook_status dbk_consumer_save(dbk_consumer *consumer, bool durable, daybook_error *error) {
    if (!consumer->is_saved) return remove_settled_only(consumer, error);
    daybook_status status = DAYBOOK_OK;
    pthread_mutex_lock(&consumer->lock);
    uint64_t mine = consumer->change_count;
    while (status == DAYBOOK_OK && (durable ? consumer->durable_count : consumer->queued_count) < mine &&
           !atomic_load(&consumer->removed)) {
        if (consumer->saving) {
            pthread_cond_wait(&consumer->saved, &consumer->lock);
        } else {
            status = save_once(consumer, durable, error);
        }
    }
    pthread_mutex_unlock(&consumer->lock);
    dbk_consumer_tell_waiters(consumer);
    dbk_consumer_serve_waiters(consumer, false);
    return status;
}

// ---- Advisories -------------------------------------------------------------------------------------------

// A text of a name or a reason, as JSON has it: nothing of them is a control character.
static void append_json_text(dbk_buf *buf, dbk_slice text) {
    dbk_buf_append_u8(buf, '"');
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = ((const uint8_t *)text.data)[i];
        if (byte == '"' || byte == '\\') dbk_buf_append_u8(buf, '\\');
        dbk_buf_append_u8(buf, byte);
    }
    dbk_buf_append_u8(buf, '"');
}

static void append_plain(dbk_buf *buf, const char *text) {
    dbk_buf_append(buf, text, strlen(text));
}

// As nats-server says it: io.nats.jetstream.advisory.v1.max_deliver, .terminated.
static void encode_advisory(const dbk_consumer *consumer, const dbk_advisory *advisory, dbk_buf *buf) {
    char numbers[96];
    append_plain(buf, "{\"type\":\"io.nats.jetstream.advisory.v1.");
    append_plain(buf, advisory->terminated ? "terminated\",\"stream\":" : "max_deliver\",\"stream\":");
    append_json_text(buf, consumer->stream->name);
    append_plain(buf, ",\"consumer\":");
    append_json_text(buf, name_of(consumer));
    (void)snprintf(numbers, sizeof numbers, ",\"stream_seq\":%llu,\"deliveries\":%llu",
                   (unsigned long long)advisory->seq, (unsigned long long)advisory->deliveries);
    append_plain(buf, numbers);
    if (advisory->reason_size > 0) {
        append_plain(buf, ",\"reason\":");
        append_json_text(buf, daybook_bytes(advisory->reason, advisory->reason_size));
    }
    append_plain(buf, "}");
}

daybook_status daybook_advisory_watch(daybook_store *store,
                                      void (*told)(void *context, daybook_slice subject, daybook_slice json),
                                      void *context, daybook_error *error) {
    if (store == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "no store: open one with daybook_open");
    if (store->read_only)
        return dbk_fail(error, DAYBOOK_EREADONLY,
                        "the store is open for reading only: open it for writing to be told of advisories");
    struct dbk_consumers *registry;
    DBK_TRY(dbk_consumers_get(store, &registry, error));
    pthread_mutex_lock(&registry->told_lock);
    bool is_others = registry->told != NULL && registry->told_context != context;
    if (!is_others) {
        registry->told = told;
        registry->told_context = context;
    }
    pthread_mutex_unlock(&registry->told_lock);
    if (!is_others || told == NULL) return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_EEXISTS,
                    "the advisories of this store are watched already: another server serves it, or the "
                    "program watches them itself, and only one can; end that first");
}

// False where nobody wants to be told.
static bool tell_advisory(struct dbk_consumers *registry, dbk_slice subject, dbk_slice json) {
    pthread_mutex_lock(&registry->told_lock);
    bool is_told = registry->told != NULL;
    if (is_told) registry->told(registry->told_context, subject, json);
    pthread_mutex_unlock(&registry->told_lock);
    return is_told;
}

static daybook_status append_advisory(daybook_store *store, dbk_slice subject, const dbk_buf *json,
                                      daybook_error *error) {
    if (dbk_stream_table_capture(store->streams, subject) == NULL)
        DBK_TRY(make_stream(store, advisories_stream, "$JS.EVENT.ADVISORY.>", ADVISORIES_KEPT,
                            "advisories, as JetStream publishes them", error));
    daybook_event event;
    init_event(&event, subject, "", json);
    return append(store, &event, 1, false, NULL, error);
}

static daybook_status send_advisory(dbk_consumer *consumer, const dbk_advisory *advisory,
                                    daybook_error *error) {
    daybook_store *store = consumer->store;
    char subject[64 + DAYBOOK_STREAM_NAME_SIZE_MAX + DAYBOOK_CONSUMER_NAME_SIZE_MAX];
    int size = snprintf(subject, sizeof subject, "$JS.EVENT.ADVISORY.CONSUMER.%s.%.*s.%s",
                        advisory->terminated ? "MSG_TERMINATED" : "MAX_DELIVERIES",
                        (int)consumer->stream->name.size, (const char *)consumer->stream->name.data,
                        consumer->name);
    dbk_slice on = daybook_bytes(subject, (size_t)size);
    dbk_buf data;
    dbk_buf_init(&data, store->allocator, ADVISORY_SIZE_MAX);
    encode_advisory(consumer, advisory, &data);
    daybook_status status = dbk_buf_status(&data);
    if (status != DAYBOOK_OK) {
        (void)dbk_fail(error, status, "out of memory sending an advisory");
    } else if (!tell_advisory(atomic_load(&store->consumers), on, daybook_bytes(data.data, data.size))) {
        status = append_advisory(store, on, &data, error);
    }
    dbk_buf_deinit(&data);
    return status;
}

void dbk_consumer_send_advisories(dbk_consumer *consumer) {
    pthread_mutex_lock(&consumer->lock);
    dbk_advisory *advisory = consumer->advisories;
    consumer->advisories = NULL;
    pthread_mutex_unlock(&consumer->lock);
    dbk_advisory *ordered = NULL; // oldest first
    while (advisory != NULL) {
        dbk_advisory *next = advisory->next;
        advisory->next = ordered;
        ordered = advisory;
        advisory = next;
    }
    while (ordered != NULL) {
        dbk_advisory *next = ordered->next;
        daybook_error error;
        daybook_error_init(&error);
        if (send_advisory(consumer, ordered, &error) != DAYBOOK_OK)
            dbk_store_log(consumer->store, DAYBOOK_LOG_WARNING, "an advisory of consumer %s is lost: %s",
                          consumer->name, error.message);
        dbk_free(consumer->store->allocator, ordered);
        ordered = next;
    }
}

// ---- The keeper -------------------------------------------------------------------------------------------

// Save the consumer where its time has come; returns when it will have, INT64_MAX where nothing waits.
static int64_t keep(dbk_consumer *consumer) {
    daybook_store *store = consumer->store;
    dbk_consumer_send_advisories(consumer);
    dbk_consumer_serve_waiters(consumer, true);
    pthread_mutex_lock(&consumer->lock);
    int64_t changed_ns = consumer->changed_at_ns;
    pthread_mutex_unlock(&consumer->lock);
    if (changed_ns == 0 || atomic_load(&store->poisoned)) return INT64_MAX;
    int64_t due_ns = changed_ns + SAVE_AFTER_MS * DBK_MILLISECOND_NS;
    int64_t now_ns = store->vfs->clock_monotonic_ns(store->vfs);
    if (now_ns < due_ns - SAVE_EARLY_MS * DBK_MILLISECOND_NS) return due_ns; // the next few come along
    daybook_error error;
    daybook_error_init(&error);
    if (dbk_consumer_save(consumer, false, &error) == DAYBOOK_OK) return INT64_MAX;
    dbk_store_log(store, DAYBOOK_LOG_WARNING, "consumer %s is not saved: %s; it is tried again",
                  consumer->name, error.message);
    return now_ns + RETRY_MS * DBK_MILLISECOND_NS;
}

int64_t dbk_consumers_keep(struct dbk_consumers *registry) {
    daybook_store *store = registry->store;
    dbk_consumer **consumers;
    size_t count;
    int64_t next_ns = store->vfs->clock_monotonic_ns(store->vfs) + IDLE_MS * DBK_MILLISECOND_NS;
    dbk_watches_call(&registry->watches); // those who fired under locks
    if (!atomic_load(&store->poisoned)) dbk_consumers_sweep_all(registry);
    if (dbk_consumers_all(registry, NULL, &consumers, &count) != DAYBOOK_OK) return next_ns;
    for (size_t i = 0; i < count; i++) {
        int64_t due_ns = keep(consumers[i]);
        if (due_ns < next_ns) next_ns = due_ns;
        dbk_consumer_unref(consumers[i]);
    }
    dbk_free(store->allocator, consumers);
    dbk_consumers_remove_idle(registry);
    return next_ns;
}

static void *run_keeper(void *context) {
    struct dbk_consumers *registry = context;
    daybook_vfs *vfs = registry->store->vfs;
    while (!atomic_load(&registry->stop)) {
        atomic_store(&registry->keeper_sleeps, true); // or is about to
        uint32_t seen = atomic_load(&registry->keeper_word);
        atomic_store(&registry->keeper_until_ns, INT64_MAX); // what changes behind its back wakes it
        int64_t until_ns = dbk_consumers_keep(registry);
        atomic_store(&registry->keeper_until_ns, until_ns);
        int64_t left_ns = until_ns - vfs->clock_monotonic_ns(vfs);
        if (atomic_load(&registry->stop)) break;
        if (left_ns > 0) (void)vfs->wait(vfs, word_of(&registry->keeper_word), seen, left_ns, 0);
        atomic_store(&registry->keeper_sleeps, false);
    }
    return NULL;
}

void dbk_consumers_start_keeper(struct dbk_consumers *registry) {
    daybook_store *store = registry->store;
    if (store->read_only || (store->options.flags & DAYBOOK_OPEN_NO_BACKGROUND) != 0) return;
    registry->keeper_runs = pthread_create(&registry->keeper, NULL, run_keeper, registry) == 0;
    if (!registry->keeper_runs)
        dbk_store_log(
            store, DAYBOOK_LOG_WARNING,
            "the thread that saves consumers could not be started: answers are durable when confirmed, "
            "or when the store is closed");
}
