// SPDX-License-Identifier: Apache-2.0
// Atomic batches (NATS ADR-50): messages that say which batch they belong to and which number they have, and
// are stored with the last one, all or none.
//
//     Nats-Batch-Id: <up to 64 bytes>   Nats-Batch-Sequence: 1, 2, 3 …
//     Nats-Batch-Commit: 1              on the last one, which is stored with the others
//     Nats-Batch-Commit: eob            on one behind the last, which is not stored
//
// The loop gathers them, per stream and id; each but the last is answered with nothing. A gap ends the batch,
// and so do too many messages and silence for batch_timeout. The last one joins its stream's round like any
// publish, with the others behind it; the worker makes one append of them. All conditions are looked at
// against the state before the batch, so:
//     the expected last sequence of the stream may stand on the first message only;
//     that of a subject may not stand behind a message of the batch on that subject.
//
// A batch takes no more bytes than an append may have.
#include "base/bytes.h"
#include "jetstream/publish.h"

enum { ID_SIZE_MAX = 64, ARENA_CHUNK = 64 << 10, TOTAL_BYTES_MAX = 256 << 20 }; // of all that wait

typedef struct dbk_js_batch {
    struct dbk_js_batch *next; // of the stream
    dbk_js_stream *stream;
    dbk_timer timer;
    uint64_t count, bytes;
    dbk_js_publish *first, *last;
    size_t id_size;
    uint8_t id[ID_SIZE_MAX];
} dbk_js_batch;

// ---- Gathering: the loop ----------------------------------------------------------------------------------

static void unlink_batch(dbk_js_batch *batch) {
    dbk_js_stream *stream = batch->stream;
    dbk_js_batch **link = &stream->first_batch;
    while (*link != batch) link = &(*link)->next;
    *link = batch->next;
    stream->batch_count--;
    stream->jetstream->batch_count--;
    stream->jetstream->batch_bytes -= batch->bytes;
    dbk_broker_stop_timer(stream->jetstream->broker, &batch->timer);
}

static void drop_batch(dbk_js_batch *batch) {
    const daybook_allocator *allocator = batch->stream->jetstream->allocator;
    unlink_batch(batch);
    while (batch->first != NULL) {
        dbk_js_publish *next = batch->first->next;
        dbk_js_forget(batch->first);
        batch->first = next;
    }
    dbk_free(allocator, batch);
}

void dbk_js_batch_drop_all(dbk_js_stream *stream) {
    (void)dbk_js_stream_ref(stream); // members hold references, too, and may be the last to do so
    while (stream->first_batch != NULL) drop_batch(stream->first_batch);
    dbk_js_stream_unref(stream);
}

static void abandon(dbk_timer *timer) {
    drop_batch(DBK_OWNER(timer, dbk_js_batch, timer));
}

static dbk_js_batch *find_batch(const dbk_js_stream *stream, dbk_slice id) {
    for (dbk_js_batch *batch = stream->first_batch; batch != NULL; batch = batch->next)
        if (dbk_slice_equal(daybook_bytes(batch->id, batch->id_size), id)) return batch;
    return NULL;
}

static dbk_js_batch *new_batch(dbk_js_stream *stream, dbk_slice id) {
    dbk_jetstream *jetstream = stream->jetstream;
    dbk_js_batch *batch = dbk_alloc_zeroed(jetstream->allocator, sizeof *batch);
    if (batch == NULL) return NULL;
    batch->stream = stream;
    batch->id_size = id.size;
    memcpy(batch->id, id.data, id.size);
    dbk_timer_init(&batch->timer, abandon);
    batch->next = stream->first_batch;
    stream->first_batch = batch;
    stream->batch_count++;
    jetstream->batch_count++;
    return batch;
}

// Its bytes do not count against the connection any more, which has to be read for the batch to end.
static void add_member(dbk_js_batch *batch, dbk_js_publish *publish) {
    dbk_js_let_go(publish);
    batch->bytes += publish->held_size;
    batch->stream->jetstream->batch_bytes += publish->held_size;
    publish->next = NULL;
    if (batch->last == NULL) {
        batch->first = publish;
    } else {
        batch->last->next = publish;
    }
    batch->last = publish;
    batch->count++;
}

// What is wrong with its headers, if anything.
static bool is_refused(dbk_js_publish *publish, const dbk_publish_headers *said, uint64_t *number_out) {
    dbk_slice id = said->values[DBK_PUBLISH_BATCH_ID];
    dbk_slice commit = said->values[DBK_PUBLISH_BATCH_COMMIT];
    bool commits = dbk_publish_headers_have(said, DBK_PUBLISH_BATCH_COMMIT);
    bool may_end = publish->stream->jetstream->broker->dial.version >= 214;
    if (!publish->stream->rules.allow_atomic) {
        dbk_js_refuse(publish, DBK_API_ERR_ATOMIC_PUBLISH_DISABLED);
    } else if (id.size == 0 || id.size > ID_SIZE_MAX) {
        dbk_js_refuse(publish, DBK_API_ERR_ATOMIC_PUBLISH_INVALID_BATCH_ID);
    } else if (!dbk_publish_headers_have(said, DBK_PUBLISH_BATCH_SEQUENCE) ||
               !dbk_header_number(said->values[DBK_PUBLISH_BATCH_SEQUENCE], number_out) || *number_out == 0) {
        dbk_js_refuse(publish, DBK_API_ERR_ATOMIC_PUBLISH_MISSING_SEQ);
    } else if (commits && !dbk_slice_equal(commit, daybook_text("1")) &&
               !(may_end && dbk_slice_equal(commit, daybook_text("eob")))) {
        dbk_js_batch *batch = find_batch(publish->stream, id);
        if (batch != NULL) drop_batch(batch);
        dbk_js_refuse(publish, DBK_API_ERR_ATOMIC_PUBLISH_INVALID_BATCH_COMMIT);
    } else {
        return false;
    }
    return true;
}

// The batch it belongs to, begun where it is the first; else it is refused.
static dbk_js_batch *place(dbk_js_publish *publish, dbk_slice id, uint64_t number) {
    dbk_js_stream *stream = publish->stream;
    dbk_jetstream *jetstream = stream->jetstream;
    dbk_js_batch *batch = find_batch(stream, id);
    dbk_api_error_kind kind = DBK_API_ERR_ATOMIC_PUBLISH_INCOMPLETE_BATCH;
    if (batch == NULL && number == 1) {
        if (stream->batch_count < jetstream->settings.stream_batches_max &&
            jetstream->batch_count < jetstream->settings.batches_max &&
            jetstream->batch_bytes + publish->held_size <= TOTAL_BYTES_MAX) {
            batch = new_batch(stream, id);
            kind = DBK_API_ERR_INSUFFICIENT_RESOURCES;
        } else {
            kind = DBK_API_ERR_ATOMIC_PUBLISH_TOO_MANY_INFLIGHT;
        }
    } else if (batch != NULL && number != batch->count + 1) {
        drop_batch(batch);
        batch = NULL;
    } else if (batch != NULL && (number > jetstream->settings.batch_size_max ||
                                 batch->bytes + publish->held_size > DAYBOOK_BATCH_SIZE_MAX)) {
        drop_batch(batch);
        batch = NULL;
        dbk_js_refuse_with(publish, DBK_API_ERR_ATOMIC_PUBLISH_TOO_LARGE_BATCH,
                           jetstream->settings.batch_size_max);
        return NULL;
    } else if (batch != NULL && jetstream->batch_bytes + publish->held_size > TOTAL_BYTES_MAX) {
        drop_batch(batch);
        batch = NULL;
        kind = DBK_API_ERR_ATOMIC_PUBLISH_TOO_MANY_INFLIGHT;
    }
    if (batch == NULL) dbk_js_refuse(publish, kind);
    return batch;
}

bool dbk_js_batch_take(dbk_js_publish *publish) {
    dbk_js_stream *stream = publish->stream;
    dbk_jetstream *jetstream = stream->jetstream;
    dbk_publish_headers said;
    uint64_t number;
    if (publish->message.header_size == 0 || jetstream->broker->dial.version < 212) return false;
    dbk_publish_headers_read(dbk_js_publish_headers(publish), &said);
    if (!dbk_publish_headers_have(&said, DBK_PUBLISH_BATCH_ID)) return false;
    if (is_refused(publish, &said, &number)) return true;
    dbk_slice id = said.values[DBK_PUBLISH_BATCH_ID];
    dbk_js_batch *batch = place(publish, id, number);
    if (batch == NULL) return true;
    if (!dbk_publish_headers_have(&said, DBK_PUBLISH_BATCH_COMMIT)) {
        add_member(batch, publish);
        dbk_broker_start_timer(jetstream->broker, &batch->timer, jetstream->settings.batch_timeout_ns);
        if (publish->wants_ack)
            (void)dbk_broker_reply(jetstream->broker, dbk_js_publish_reply(publish), daybook_bytes(NULL, 0),
                                   daybook_bytes(NULL, 0));
        return true;
    }
    publish->is_batch = true;
    publish->is_end = said.values[DBK_PUBLISH_BATCH_COMMIT].size > 1;
    publish->batch_id = id;
    publish->members = batch->first;
    publish->outcome.batch_count = (uint32_t)(batch->count + !publish->is_end);
    unlink_batch(batch);
    dbk_free(jetstream->allocator, batch);
    dbk_js_enqueue(publish);
    return true;
}

// ---- Appending: a worker ----------------------------------------------------------------------------------

typedef struct batch_append {
    dbk_arena *arena;
    const dbk_js_rules *rules;
    daybook_event *events;
    size_t count;
    daybook_condition conditions[DAYBOOK_CONDITION_COUNT_MAX];
    size_t condition_count;
    bool has_rollup;
} batch_append;

static bool writes_subject(const batch_append *append, dbk_slice subject) {
    for (size_t i = 0; i < append->count; i++)
        if (dbk_slice_equal(append->events[i].subject, subject)) return true;
    return false;
}

// The same condition may stand on several messages. NULL: it is new.
static const daybook_condition *find_condition(const batch_append *append,
                                               const daybook_condition *condition) {
    for (size_t i = 0; i < append->condition_count; i++)
        if (append->conditions[i].kind == condition->kind &&
            dbk_slice_equal(append->conditions[i].filter, condition->filter))
            return &append->conditions[i];
    return NULL;
}

static bool add_condition(batch_append *append, const daybook_condition *condition,
                          dbk_api_error *error_out) {
    if (condition->kind == DAYBOOK_EXPECT_LAST_ID)
        return dbk_api_fail_with(error_out, DBK_API_ERR_ATOMIC_PUBLISH_UNSUPPORTED_HEADER,
                                 "Nats-Expected-Last-Msg-Id");
    if (condition->kind == DAYBOOK_EXPECT_STREAM_SEQ && append->count > 0)
        return dbk_api_fail_with(error_out, DBK_API_ERR_ATOMIC_PUBLISH_UNSUPPORTED_HEADER,
                                 "Nats-Expected-Last-Sequence");
    const daybook_condition *present = find_condition(append, condition);
    bool is_after_write = condition->kind == DAYBOOK_EXPECT_SUBJECT_SEQ &&
                          writes_subject(append, condition->filter);
    if (is_after_write || (present != NULL && present->expected != condition->expected))
        return dbk_api_fail(error_out, DBK_API_ERR_STREAM_WRONG_LAST_SEQUENCE_CONSTANT);
    if (present != NULL) return true;
    if (append->condition_count == DAYBOOK_CONDITION_COUNT_MAX)
        return dbk_api_fail_with(error_out, DBK_API_ERR_STREAM_STORE_FAILED,
                                 "the batch has more than %d different conditions",
                                 DAYBOOK_CONDITION_COUNT_MAX);
    append->conditions[append->condition_count++] = *condition;
    return true;
}

static bool add_event(batch_append *append, dbk_js_publish *publish, dbk_api_error *error_out) {
    dbk_js_making make;
    if (!dbk_js_make(publish, append->rules, &make, error_out)) return false;
    for (size_t i = 0; i < make.condition_count; i++)
        if (!add_condition(append, &make.conditions[i], error_out)) return false;
    size_t size = make.event.header_count * sizeof(daybook_header);
    daybook_header *headers = dbk_arena_alloc(append->arena, size + 1);
    if (headers == NULL) return dbk_api_fail_memory(error_out);
    memcpy(headers, make.headers, size);
    make.event.headers = headers;
    append->events[append->count++] = make.event;
    append->has_rollup = append->has_rollup || dbk_js_is_rollup(&make);
    return true;
}

static bool gather(batch_append *append, dbk_js_publish *publish, dbk_api_error *error_out) {
    append->events =
        dbk_arena_alloc(append->arena, (size_t)publish->outcome.batch_count * sizeof *append->events + 1);
    if (append->events == NULL) return dbk_api_fail_memory(error_out);
    for (dbk_js_publish *member = publish->members; member != NULL; member = member->next)
        if (!add_event(append, member, error_out)) return false;
    if (!publish->is_end && !add_event(append, publish, error_out)) return false;
    return append->count > 0 || dbk_api_fail(error_out, DBK_API_ERR_ATOMIC_PUBLISH_INCOMPLETE_BATCH);
}

static void finish_batch(dbk_js_publish *publish, daybook_status status, const daybook_receipt *receipts,
                         size_t count, const daybook_error *cause) {
    dbk_api_error error;
    if (status == DAYBOOK_EMIXED) {
        (void)dbk_api_fail(&error, DBK_API_ERR_ATOMIC_PUBLISH_CONTAINS_DUPLICATE_MESSAGE);
        dbk_js_finish_with_error(publish, &error);
        return;
    }
    size_t at = 0;
    for (dbk_js_publish *member = publish->members; status == DAYBOOK_OK && member != NULL && at < count;
         member = member->next)
        dbk_js_note_receipt(member, &receipts[at++]);
    dbk_js_finish(publish, status, status == DAYBOOK_OK ? &receipts[count - 1] : NULL, cause);
}

// From the store's commit thread.
static void appended(void *context, daybook_status status, const daybook_receipt *receipts, size_t count,
                     const daybook_error *error) {
    finish_batch(context, status, receipts, count, error);
}

// The publish belongs to the commit thread, or is finished, when this returns.
static void submit(const batch_append *append, dbk_js_publish *publish) {
    daybook_store *store = publish->stream->jetstream->store;
    daybook_error cause;
    daybook_error_init(&cause);
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.conditions = append->conditions;
    options.condition_count = append->condition_count;
    options.stream = publish->stream->name;
    daybook_receipt *receipts = NULL;
    daybook_status status;
    if (append->has_rollup) { // these are not taken without waiting
        receipts = dbk_arena_alloc(append->arena, append->count * sizeof *receipts);
        status = receipts == NULL
                     ? DAYBOOK_ENOMEM
                     : daybook_append(store, append->events, append->count, &options, receipts, &cause);
    } else {
        status =
            daybook_append_submit(store, append->events, append->count, &options, appended, publish, &cause);
        if (status == DAYBOOK_OK) return;
    }
    if (append->has_rollup && dbk_js_finish_late_rollup(publish, status)) return;
    finish_batch(publish, status, receipts, append->count, &cause);
}

void dbk_js_batch_append(dbk_js_publish *publish, const dbk_js_rules *rules) {
    batch_append append = {.rules = rules};
    dbk_api_error error;
    if (dbk_arena_new(publish->stream->jetstream->allocator, ARENA_CHUNK, &append.arena) != DAYBOOK_OK) {
        (void)dbk_api_fail_memory(&error);
        dbk_js_finish_with_error(publish, &error);
        return;
    }
    if (gather(&append, publish, &error)) {
        submit(&append, publish);
    } else {
        dbk_js_finish_with_error(publish, &error);
    }
    dbk_arena_free(append.arena);
}
