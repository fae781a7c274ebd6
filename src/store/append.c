// SPDX-License-Identifier: Apache-2.0
// Appending as callers see it: prepare (prepare.c), resolve (resolve.c), queue (commit.c, which has decide.c
// decide), and then what is due when the answer is known: receipts, what a duplicate's stored event looks
// like, limits.
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/uuid.h"
#include "store/commit.h"
#include "store/consumer.h"
#include "store/recovery.h"
#include "store/salvage.h"

enum { STREAM_GONE_TRIES_MAX = 3 };

// ---- Receipts ---------------------------------------------------------------------------------------------

static void write_id(const dbk_append *append, const dbk_append_event *event, daybook_receipt *receipt) {
    receipt->id[0] = '\0';
    if (event->id_supplied) return;
    // The body the caller's thread encoded has no time yet; the leader set it in the memory table's copy.
    dbk_uuid uuid;
    memcpy(uuid.bytes, append->bodies.data + event->body_offset + event->id_offset + 1, sizeof uuid.bytes);
    dbk_uuid dated;
    dbk_uuid_make_v7(append->recorded_ns, (const uint8_t[10]){0}, &dated);
    memcpy(uuid.bytes, dated.bytes, 6);
    dbk_uuid_format(&uuid, receipt->id);
}

static daybook_status read_stored(const dbk_view *view, uint64_t position, dbk_block_view *block,
                                  dbk_event *event_out, daybook_error *error) {
    size_t at = dbk_view_find(view, position);
    if (at >= view->source_count || view->sources[at]->position_first > position) return DAYBOOK_ENOTFOUND;
    return dbk_source_read(view->sources[at], position, block, event_out, error);
}

// The event an id is stored under: its numbers, and whether it says the same.
static daybook_status write_duplicate(const dbk_append *append, const dbk_append_event *event,
                                      daybook_receipt *receipt, daybook_error *error) {
    receipt->flags |= DAYBOOK_RECEIPT_DUPLICATE | (event->dead ? DAYBOOK_RECEIPT_DELETED : 0u);
    if (event->stored_position == 0) return DAYBOOK_OK;
    // The view keeps what event and block lie in: a flush or merge may replace their source meanwhile.
    dbk_view *view = dbk_store_get_view(append->store);
    dbk_block_view block = {0};
    dbk_event stored;
    daybook_status status = read_stored(view, event->stored_position, &block, &stored, error);
    if (status == DAYBOOK_OK) {
        receipt->seq = stored.seq;
        receipt->position = stored.position;
        receipt->version = stored.version;
        receipt->recorded_ns = stored.recorded_ns;
        dbk_event said = {.recorded_ns = stored.recorded_ns};
        daybook_status decoded = dbk_event_decode_body(dbk_append_body(append, event), &said);
        DBK_ASSERT(decoded == DAYBOOK_OK);
        if (!event->dead && !dbk_event_same_content(&said, &stored))
            receipt->flags |= DAYBOOK_RECEIPT_DIFFERS;
    }
    dbk_block_release(&block);
    dbk_view_unref(view);
    // Rewritten away since: the id is remembered, the numbers are not.
    return status == DAYBOOK_ENOTFOUND ? DAYBOOK_OK : status;
}

static daybook_status write_receipts(dbk_append *append, daybook_error *error) {
    for (size_t i = 0; append->receipts != NULL && i < append->count; i++) {
        const dbk_append_event *event = &append->events[i];
        daybook_receipt *receipt = &append->receipts[i];
        receipt->size = sizeof *receipt;
        receipt->flags &= DAYBOOK_RECEIPT_STREAM_CREATED;
        receipt->stream = event->stream->name;
        receipt->seq = event->seq;
        receipt->position = event->position;
        receipt->version = event->version;
        receipt->recorded_ns = append->recorded_ns;
        write_id(append, event, receipt);
        if (append->duplicate) DBK_TRY(write_duplicate(append, event, receipt, error));
    }
    return DAYBOOK_OK;
}

// ---- Limits after an append -------------------------------------------------------------------------------

static void trim_subjects(dbk_append *append) {
    daybook_store *store = append->store;
    for (size_t i = 0; i < append->count; i++) {
        const dbk_append_event *event = &append->events[i];
        const daybook_stream_config *config = atomic_load(&event->stream->config);
        dbk_slice subject = dbk_append_subject(append, event);
        if (config->retention == DAYBOOK_RETENTION_INTEREST)
            dbk_consumers_note_appended(store, event->stream, subject, event->seq);
        if (config->max_msgs_per_subject == 0) continue;
        daybook_error error;
        daybook_error_init(&error);
        if (dbk_store_trim_subject(store, event->stream, subject, &error) != DAYBOOK_OK)
            dbk_commit_owe_failed_trim(store, event->position, &error);
    }
}

// Once each, where the events of a stream are not between those of others: then again, which removes nothing.
static void trim_streams(dbk_append *append) {
    const dbk_stream *trimmed = NULL;
    for (size_t i = 0; i < append->count; i++) {
        const dbk_append_event *event = &append->events[i];
        const daybook_stream_config *config = atomic_load(&event->stream->config);
        bool has_limits = config->max_msgs > 0 || config->max_bytes > 0 || config->max_msgs_per_subject > 0;
        if (!has_limits || event->stream == trimmed) continue;
        daybook_error error;
        daybook_error_init(&error);
        if (dbk_store_trim(append->store, event->stream, &error) != DAYBOOK_OK)
            dbk_commit_owe_failed_trim(append->store, event->position, &error);
        trimmed = event->stream;
    }
}

// Enforce the limits the events may have broken. All subjects first: a stream is not to lose an old event in
// favour of one that its own subject does not keep. What fails here is made good by the next append, or by
// maintenance.
static void trim(dbk_append *append) {
    if (append->duplicate) return;
    trim_subjects(append);
    trim_streams(append);
}

// ---- Locks of roll-ups ------------------------------------------------------------------------------------

static int compare_streams(const void *a, const void *b) {
    const dbk_stream *left = *(dbk_stream *const *)a, *right = *(dbk_stream *const *)b;
    return left->id < right->id ? -1 : left->id > right->id;
}

// The trim locks of all streams with a roll-up, ascending by id. *streams_out is NULL where there is none.
static daybook_status lock_roll_ups(dbk_append *append, dbk_stream ***streams_out, size_t *count_out) {
    *streams_out = NULL;
    *count_out = 0;
    if (!append->has_roll_up) return DAYBOOK_OK;
    dbk_stream **streams = dbk_alloc(append->store->allocator, append->count * sizeof(dbk_stream *));
    if (streams == NULL) return DAYBOOK_ENOMEM;
    size_t count = 0;
    for (size_t i = 0; i < append->count; i++) {
        if (append->events[i].roll_up.size > 0) streams[count++] = append->events[i].stream;
    }
    qsort(streams, count, sizeof(dbk_stream *), compare_streams);
    size_t distinct = 0;
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || streams[i] != streams[distinct - 1]) streams[distinct++] = streams[i];
    }
    for (size_t i = 0; i < distinct; i++) dbk_stream_lock_trim(streams[i]);
    *streams_out = streams;
    *count_out = distinct;
    return DAYBOOK_OK;
}

static void unlock_roll_ups(const dbk_append *append, dbk_stream **streams, size_t count) {
    for (size_t i = 0; i < count; i++) dbk_stream_unlock_trim(append->store, streams[i]);
    dbk_free(append->store->allocator, streams);
}

// ---- Blocking ---------------------------------------------------------------------------------------------

static daybook_status append_once(dbk_append *append, const daybook_event *events, size_t count,
                                  const daybook_append_options *options, daybook_error *error) {
    DBK_TRY(dbk_append_init(append, append->store, events, count, options, false, error));
    dbk_stream **locked;
    size_t locked_count;
    if (lock_roll_ups(append, &locked, &locked_count) != DAYBOOK_OK)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory preparing the append");
    dbk_operation operation = {.kind = DBK_OPERATION_APPEND, .append = append};
    daybook_status status = dbk_append_resolve(append, error);
    if (status == DAYBOOK_OK) {
        status = dbk_commit_run(append->store, &operation);
        if (status != DAYBOOK_OK && error != NULL) *error = operation.error;
    }
    unlock_roll_ups(append, locked, locked_count);
    return status;
}

static bool has_acks(const daybook_append_options *options) {
    return options != NULL && options->size >= offsetof(daybook_append_options, stream) &&
           options->ack_count > 0;
}

// How many of the events ride along: those elsewhere.
static daybook_status count_elsewhere(const daybook_append_options *options, size_t count, size_t *count_out,
                                      daybook_error *error) {
    bool has_it = options != NULL && options->size >= offsetof(daybook_append_options, bundle);
    *count_out = has_it ? options->elsewhere_count : 0;
    if (*count_out > 0 && *count_out >= count)
        return dbk_fail(error, DAYBOOK_EMISUSE,
                        "all %zu events of the append are said to go elsewhere: leave elsewhere_count out",
                        count);
    return DAYBOOK_OK;
}

daybook_status daybook_append(daybook_store *store, const daybook_event *events, size_t count,
                              const daybook_append_options *options, daybook_receipt *receipts,
                              daybook_error *error) {
    if (store == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "no store");
    size_t elsewhere;
    DBK_TRY(count_elsewhere(options, count, &elsewhere, error));
    bool gives_seqs = options != NULL && options->size >= offsetof(daybook_append_options, bundle) &&
                      options->seqs != NULL;
    if (has_acks(options) && (elsewhere > 0 || gives_seqs))
        return dbk_fail(
            error, DAYBOOK_EUNSUPPORTED,
            "an append that acknowledges has no events elsewhere and gives no seqs: append twice");
    if (has_acks(options)) return dbk_consumer_append(store, events, count, options, receipts, error);
    return dbk_append_with_riders(store, events, count, elsewhere, options, receipts, error);
}

daybook_status dbk_append_with_riders(daybook_store *store, const daybook_event *events, size_t count,
                                      size_t rider_count, const daybook_append_options *options,
                                      daybook_receipt *receipts, daybook_error *error) {
    daybook_status status = DAYBOOK_OK;
    for (size_t i = 0; receipts != NULL && i < count; i++) receipts[i].flags = 0;
    for (int tries = 0; tries < STREAM_GONE_TRIES_MAX; tries++) {
        dbk_append append = {.store = store, .receipts = receipts, .rider_count = rider_count};
        status = append_once(&append, events, count, options, error);
        if (status == DAYBOOK_OK) {
            trim(&append);
            status = write_receipts(&append, error);
        }
        dbk_commit_trimmed(store, &append);
        dbk_append_deinit(&append);
        // The stream was removed between finding it and its turn: another may capture the subject now.
        if (status != DAYBOOK_ENOSTREAM || options == NULL || !options->auto_stream) break;
    }
    return status;
}

// ---- Submitted --------------------------------------------------------------------------------------------

typedef struct submission {
    dbk_operation operation;
    dbk_append append;
    daybook_append_done done;
    void *context;
    daybook_receipt receipts[];
} submission;

static void complete(dbk_operation *operation) {
    submission *submitted = (submission *)(void *)operation;
    daybook_store *store = submitted->append.store;
    daybook_status status = operation->status;
    if (status == DAYBOOK_OK) {
        trim(&submitted->append);
        status = write_receipts(&submitted->append, &operation->error);
    }
    submitted->done(submitted->context, status, submitted->receipts, submitted->append.count,
                    status == DAYBOOK_OK ? NULL : &operation->error);
    dbk_commit_trimmed(store, &submitted->append);
    dbk_append_deinit(&submitted->append);
    dbk_free(store->allocator, submitted);
}

static daybook_append_bundle *bundle_of(const daybook_append_options *options) {
    return options != NULL && options->size >= sizeof *options ? options->bundle : NULL;
}

static void add_to_bundle(daybook_append_bundle *bundle, dbk_operation *operation) {
    operation->next = NULL;
    if (bundle->count++ == 0) {
        bundle->first = operation;
    } else {
        ((dbk_operation *)bundle->last)->next = operation;
    }
    bundle->last = operation;
}

void daybook_append_bundle_submit(daybook_store *store, daybook_append_bundle *bundle, int may_wait) {
    dbk_operation *operation = bundle->first;
    *bundle = (daybook_append_bundle){0};
    if (operation == NULL) return;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = dbk_commit_submit(store, operation, may_wait != 0, &error);
    while (status != DAYBOOK_OK && operation != NULL) { // then they are still ours
        dbk_operation *next = operation->next;
        operation->status = status;
        operation->error = error;
        operation->completed(operation);
        operation = next;
    }
}

enum { NEVER_WAITS = 1, IS_MARKER = 2 };

static daybook_status submit(daybook_store *store, const daybook_event *events, size_t count,
                             const daybook_append_options *options, unsigned flags, daybook_append_done done,
                             void *context, daybook_error *error) {
    if (store == NULL || done == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE, "a submitted append needs a store and a completion");
    if (count > DAYBOOK_BATCH_COUNT_MAX)
        return dbk_fail_limit(error, DAYBOOK_LIMIT_BATCH_COUNT, DAYBOOK_BATCH_COUNT_MAX, count,
                              "a batch of %zu events: at most %d are allowed; split it", count,
                              DAYBOOK_BATCH_COUNT_MAX);
    if (has_acks(options))
        return dbk_fail(error, DAYBOOK_EUNSUPPORTED,
                        "an append that acknowledges cannot be submitted: use daybook_append");
    size_t elsewhere;
    DBK_TRY(count_elsewhere(options, count, &elsewhere, error));
    submission *submitted =
        dbk_alloc_zeroed(store->allocator, sizeof *submitted + count * sizeof(daybook_receipt));
    if (submitted == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory submitting an append");
    submitted->append.store = store;
    submitted->append.receipts = submitted->receipts;
    submitted->done = done;
    submitted->context = context;
    submitted->operation.kind = DBK_OPERATION_APPEND;
    submitted->operation.append = &submitted->append;
    submitted->operation.chain = options == NULL ? NULL : options->chain;
    submitted->operation.completed = complete;
    submitted->operation.never_waits = (flags & NEVER_WAITS) != 0;
    submitted->append.is_marker = (flags & IS_MARKER) != 0;
    submitted->append.rider_count = elsewhere;
    daybook_status status = dbk_append_init(&submitted->append, store, events, count, options, true, error);
    if (status == DAYBOOK_OK && submitted->append.has_roll_up)
        status = dbk_fail(error, DAYBOOK_EUNSUPPORTED,
                          "an event with roll-up cannot be submitted: use daybook_append");
    if (status == DAYBOOK_OK) status = dbk_append_resolve(&submitted->append, error);
    if (status == DAYBOOK_OK) {
        daybook_append_bundle *bundle = bundle_of(options);
        if (bundle != NULL) {
            add_to_bundle(bundle, &submitted->operation);
        } else {
            status = dbk_commit_submit(store, &submitted->operation, false, error);
        }
    }
    if (status != DAYBOOK_OK) {
        dbk_append_deinit(&submitted->append);
        submitted->append.store = NULL;
        dbk_free(store->allocator, submitted);
    }
    return status;
}

daybook_status daybook_append_submit(daybook_store *store, const daybook_event *events, size_t count,
                                     const daybook_append_options *options, daybook_append_done done,
                                     void *context, daybook_error *error) {
    return submit(store, events, count, options, 0, done, context, error);
}

daybook_status dbk_append_submit_at_once(daybook_store *store, const daybook_event *events, size_t count,
                                         const daybook_append_options *options, daybook_append_done done,
                                         void *context, daybook_error *error) {
    return submit(store, events, count, options, NEVER_WAITS, done, context, error);
}

daybook_status dbk_append_submit_marker(daybook_store *store, const daybook_event *event,
                                        const daybook_append_options *options, daybook_append_done done,
                                        void *context, daybook_error *error) {
    return submit(store, event, 1, options, NEVER_WAITS | IS_MARKER, done, context, error);
}

// ---- Replay -----------------------------------------------------------------------------------------------

// Its stream is removed later on; or, where catalogues are lost, not known any more.
static daybook_status note_without_stream(daybook_store *store, const dbk_event *event,
                                          daybook_error *error) {
    if (store->salvage == NULL) return DAYBOOK_OK;
    daybook_status status = dbk_salvage_note_event(store->salvage, store->allocator, event);
    if (status != DAYBOOK_OK) return dbk_fail(error, status, "out of memory replaying the journal");
    return DAYBOOK_OK;
}

static daybook_status replay_event(daybook_store *store, dbk_slice record, daybook_error *error) {
    dbk_event event;
    if (dbk_event_decode(record, &event) != DAYBOOK_OK)
        return dbk_fail(error, DAYBOOK_EDAMAGED,
                        "an event in the journal cannot be decoded although its checksum holds");
    if (event.position <= atomic_load(&store->flushed_position)) return DAYBOOK_OK; // in a segment already
    dbk_memtable *memtable = store->active->memtable;
    if (event.position < dbk_memtable_position_end(memtable))
        return dbk_fail(error, DAYBOOK_EDAMAGED, "position %llu comes twice in the journal",
                        (unsigned long long)event.position);
    if (dbk_recovery_skip_to(store, event.position) != DAYBOOK_OK ||
        dbk_memtable_add(store->active->memtable, &event) != DAYBOOK_OK)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory replaying the journal");
    store->next_position = event.position + 1;
    if (event.recorded_ns > store->last_recorded_ns) store->last_recorded_ns = event.recorded_ns;
    dbk_stream *stream = dbk_stream_table_find_id(store->streams, event.stream_id);
    if (stream == NULL) return note_without_stream(store, &event, error);
    // A rebuilt state may be younger than the event.
    if (store->salvage == NULL || event.seq > stream->last_seq) stream->last_seq = event.seq;
    atomic_store(&stream->published_seq, stream->last_seq);
    atomic_store(&stream->last_recorded_ns, event.recorded_ns);
    atomic_fetch_add(&stream->message_count, 1);
    atomic_fetch_add(&stream->byte_count, dbk_event_cost(&event));
    return DAYBOOK_OK;
}

static daybook_status replay_stream(daybook_store *store, const dbk_catalogue_entry *entry,
                                    daybook_error *error) {
    char text[16] = "";
    if (entry->key.size == 0 || entry->key.size >= sizeof text)
        return dbk_fail(error, DAYBOOK_EDAMAGED, "a catalogue entry in the journal has no proper key");
    memcpy(text, entry->key.data, entry->key.size);
    uint32_t id = (uint32_t)strtoul(text, NULL, 10);
    dbk_stream *stream = dbk_stream_table_find_id(store->streams, id);
    if (!entry->present) {
        if (stream != NULL) dbk_stream_table_remove(store->streams, stream);
        return DAYBOOK_OK;
    }
    dbk_slice *subjects = dbk_alloc(store->allocator, DAYBOOK_STREAM_SUBJECT_COUNT_MAX * sizeof *subjects);
    if (subjects == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory replaying the journal");
    daybook_stream_config config;
    int64_t created_ns;
    uint32_t said_id;
    daybook_status status = dbk_stream_decode(entry->value, &said_id, &config, &created_ns, subjects);
    if (status == DAYBOOK_OK && said_id != id) status = DAYBOOK_EDAMAGED;
    if (status != DAYBOOK_OK) {
        (void)dbk_fail(error, status,
                       "the configuration of stream number %u in the journal cannot be decoded", id);
    } else if (stream == NULL) {
        status = dbk_stream_table_add(store->streams, id, &config, created_ns, &stream, error);
    } else if (!atomic_load(&stream->removed)) {
        status = dbk_stream_table_update(store->streams, stream, &config, error);
        stream->updated_in_replay = true;
    }
    dbk_free(store->allocator, subjects);
    return status;
}

// Events of a stream in memory reach no journal, but what purges, deletes and roll-ups removed of them does.
// It says nothing to who replays it.
static bool is_of_memory(daybook_store *store, const dbk_remove *remove) {
    const dbk_stream *stream = dbk_stream_table_find_id(store->streams, remove->stream_id);
    return stream != NULL && stream->storage == DAYBOOK_STORAGE_MEMORY;
}

// Counts of a rebuilt manifest may know of the removal already, and repair counts anew in the end. Behind a
// gap what was removed may never have been counted.
static void bound_by_guesses(daybook_store *store, dbk_remove *remove) {
    const dbk_stream *stream = dbk_stream_table_find_id(store->streams, remove->stream_id);
    if (stream == NULL || (store->salvage == NULL && !dbk_stream_table_has_gap(store->streams))) return;
    uint64_t count = atomic_load(&stream->message_count);
    uint64_t bytes = atomic_load(&stream->byte_count);
    if (remove->removed_count > count) remove->removed_count = count;
    if (remove->removed_bytes > bytes) remove->removed_bytes = bytes;
}

static bool removes_what_is_there(daybook_store *store, const dbk_remove *remove) {
    dbk_stream *stream = dbk_stream_table_find_id(store->streams, remove->stream_id);
    return stream == NULL || atomic_load(&stream->removed) ||
           (remove->removed_count <= atomic_load(&stream->message_count) &&
            remove->removed_bytes <= atomic_load(&stream->byte_count));
}

daybook_status dbk_store_replay(daybook_store *store, dbk_slice record, daybook_error *error) {
    dbk_record_kind kind;
    size_t size;
    dbk_remove remove;
    dbk_catalogue_entry entry;
    uint64_t positions_end;
    daybook_status status = dbk_record_peek(record, &kind, &size);
    if (status != DAYBOOK_OK || size != record.size)
        return dbk_fail(error, status == DAYBOOK_OK ? DAYBOOK_EDAMAGED : status,
                        "a record in the journal has a wrong size or an unknown kind");
    switch (kind) {
    case DBK_RECORD_EVENT:
        return replay_event(store, record, error);
    case DBK_RECORD_REMOVE:
        status = dbk_remove_decode(record, &remove);
        if (status == DAYBOOK_OK && is_of_memory(store, &remove)) return DAYBOOK_OK;
        if (status == DAYBOOK_OK) bound_by_guesses(store, &remove);
        if (status != DAYBOOK_OK || !removes_what_is_there(store, &remove))
            return dbk_fail(error, DAYBOOK_EDAMAGED,
                            "a removal in the journal is malformed although its checksum holds");
        pthread_mutex_lock(&store->removal_lock);
        dbk_store_apply_remove(store, &remove);
        pthread_mutex_unlock(&store->removal_lock);
        return DAYBOOK_OK;
    case DBK_RECORD_CATALOGUE:
        if (dbk_catalogue_decode(record, &entry) != DAYBOOK_OK)
            return dbk_fail(error, DAYBOOK_EDAMAGED,
                            "a catalogue entry in the journal cannot be decoded although its checksum holds");
        if (entry.kind == DBK_CATALOGUE_STREAM) {
            // Repair has put what all of them say together into the table.
            return store->salvage != NULL ? DAYBOOK_OK : replay_stream(store, &entry, error);
        }
        return dbk_fail(error, DAYBOOK_EFORMAT,
                        "the journal holds a catalogue entry of kind %d: a newer daybook wrote it",
                        entry.kind);
    case DBK_RECORD_POSITIONS:
        if (dbk_positions_decode(record, &positions_end) != DAYBOOK_OK)
            return dbk_fail(error, DAYBOOK_EDAMAGED,
                            "a reservation of positions in the journal cannot be decoded although its "
                            "checksum holds");
        if (positions_end > store->positions_end) store->positions_end = positions_end;
        return DAYBOOK_OK;
    }
    return dbk_fail(error, DAYBOOK_EFORMAT, "the journal holds a record of an unknown kind");
}
