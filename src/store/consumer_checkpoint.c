// SPDX-License-Identifier: Apache-2.0
// Checkpoints: a consumer's whole state as events of $CONSUMERS.
//
//   bytes        u64 events ahead, u64 seq up to which they were counted, u64 events of the stream removed by
//                then (0, 0, 0: not known), then the state (consumer/state.h)
//   ....state    type checkpoint: the bytes. Replaces all older events of its subject by roll-up
//                type checkpoint-of-parts: u64 checkpoint, u32 parts, u64 size, u64 checksum of the bytes.
//                The same
//   ....parts    type part: u64 checkpoint, u32 number from 0, a piece of the bytes
//
// What is larger than `part_bytes` goes out in parts, an append each, and then the event that names them,
// which makes them count; only then are older parts removed. A crash before leaves the older checkpoint and
// the changes behind it as they were, and some parts nobody names, which go with the next checkpoint. A
// checkpoint's number is random: parts of two never mix.
//
// The bytes are all in memory meanwhile: what they say is of one moment. They take about an eighth of what
// the messages in flight take.
#include "base/time.h"
#include "store/consumer.h"
#include "store/conventions.h"

enum { COUNT_HEAD_SIZE = 24, PART_HEAD_SIZE = 12, REFERENCE_SIZE = 28 };
#define STATE_SIZE_MAX ((size_t)8 << 30)

void dbk_checkpoint_init(dbk_checkpoint *checkpoint, const daybook_allocator *allocator) {
    *checkpoint = (dbk_checkpoint){0};
    dbk_buf_init(&checkpoint->bytes, allocator, STATE_SIZE_MAX);
    dbk_buf_init(&checkpoint->reference, allocator, REFERENCE_SIZE);
}

void dbk_checkpoint_deinit(dbk_checkpoint *checkpoint) {
    dbk_buf_deinit(&checkpoint->bytes);
    dbk_buf_deinit(&checkpoint->reference);
}

// ---- Encoding ---------------------------------------------------------------------------------------------

uint64_t dbk_checkpoint_removed_count(const dbk_consumer *consumer) {
    daybook_store *store = consumer->store;
    // Of one moment; and what was removed before it is noted with the consumers (`recount`).
    pthread_mutex_lock(&store->state_lock);
    pthread_mutex_lock(&store->removal_lock);
    uint64_t count = atomic_load(&consumer->stream->published_seq) -
                     atomic_load(&consumer->stream->message_count);
    pthread_mutex_unlock(&store->removal_lock);
    pthread_mutex_unlock(&store->state_lock);
    return count;
}

daybook_status dbk_checkpoint_encode(dbk_checkpoint *checkpoint, dbk_consumer *consumer, uint64_t removed) {
    bool known = consumer->is_counted && !atomic_load(&consumer->recount);
    dbk_buf_append_u64(&checkpoint->bytes, known ? consumer->ahead : 0);
    dbk_buf_append_u64(&checkpoint->bytes, known ? consumer->counted_seq : 0);
    dbk_buf_append_u64(&checkpoint->bytes, known ? removed : 0);
    return dbk_consumer_state_encode(&consumer->delivery, &consumer->start, &checkpoint->bytes);
}

// ---- Writing ----------------------------------------------------------------------------------------------

static daybook_status write_part(dbk_consumer *consumer, uint64_t id, uint32_t number, dbk_slice piece,
                                 uint64_t *seq_out, daybook_error *error) {
    dbk_buf data;
    dbk_buf_init(&data, consumer->store->allocator, PART_HEAD_SIZE + piece.size);
    dbk_buf_append_u64(&data, id);
    dbk_buf_append_u32(&data, number);
    dbk_buf_append_slice(&data, piece);
    daybook_status status = dbk_buf_status(&data);
    if (status == DAYBOOK_OK) {
        char text[DBK_CONSUMER_SUBJECT_SIZE_MAX];
        daybook_event event;
        daybook_event_init(&event);
        event.subject =
            dbk_consumer_subject(consumer->stream->id, daybook_text(consumer->name), "parts", text);
        event.type = daybook_text("part");
        event.data = daybook_bytes(data.data, data.size);
        status = dbk_consumer_append_event(consumer->store, &event, false, seq_out, error);
    } else {
        (void)dbk_fail(error, status, "out of memory saving consumer %s", consumer->name);
    }
    dbk_buf_deinit(&data);
    return status;
}

daybook_status dbk_checkpoint_write_parts(dbk_checkpoint *checkpoint, dbk_consumer *consumer,
                                          daybook_error *error) {
    daybook_store *store = consumer->store;
    const struct dbk_consumers *registry = atomic_load(&store->consumers);
    const dbk_buf *bytes = &checkpoint->bytes;
    if (bytes->size <= registry->part_bytes) return DAYBOOK_OK;
    uint64_t id;
    if (store->vfs->entropy(store->vfs, &id, sizeof id) != DAYBOOK_OK)
        return dbk_fail(error, DAYBOOK_EIO, "the system gave no random number to save consumer %s with",
                        consumer->name);
    uint32_t count = 0;
    atomic_store(&consumer->has_parts, true);
    for (size_t done = 0; done < bytes->size;) {
        size_t left = bytes->size - done;
        size_t size = left < registry->part_bytes ? left : registry->part_bytes;
        uint64_t *seq_out = done == 0 ? &checkpoint->parts_seq : NULL;
        DBK_TRY(write_part(consumer, id, count++, daybook_bytes(bytes->data + done, size), seq_out, error));
        done += size;
    }
    dbk_buf_append_u64(&checkpoint->reference, id);
    dbk_buf_append_u32(&checkpoint->reference, count);
    dbk_buf_append_u64(&checkpoint->reference, bytes->size);
    dbk_buf_append_u64(&checkpoint->reference, dbk_checksum(bytes->data, bytes->size, 0));
    if (dbk_buf_status(&checkpoint->reference) == DAYBOOK_OK) return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory saving consumer %s", consumer->name);
}

void dbk_checkpoint_fill_event(const dbk_checkpoint *checkpoint, dbk_slice subject, daybook_event *event) {
    bool in_parts = checkpoint->reference.size > 0;
    const dbk_buf *data = in_parts ? &checkpoint->reference : &checkpoint->bytes;
    daybook_event_init(event);
    event->subject = subject;
    event->type = daybook_text(in_parts ? "checkpoint-of-parts" : "checkpoint");
    event->data = daybook_bytes(data->data, data->size);
    event->headers = &dbk_replaces_older;
    event->header_count = 1;
}

void dbk_checkpoint_remove_parts(const dbk_checkpoint *checkpoint, dbk_consumer *consumer) {
    if (!atomic_load(&consumer->has_parts)) return;
    char text[DBK_CONSUMER_SUBJECT_SIZE_MAX];
    daybook_purge_options options;
    daybook_purge_options_init(&options);
    options.filter = dbk_consumer_subject(consumer->stream->id, daybook_text(consumer->name), "parts", text);
    options.seq_to = checkpoint->parts_seq; // 0: all
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status =
        daybook_stream_purge(consumer->store, daybook_text(dbk_consumers_stream), &options, NULL, &error);
    if (status == DAYBOOK_OK) {
        atomic_store(&consumer->has_parts, checkpoint->parts_seq > 0);
    } else {
        dbk_store_log(consumer->store, DAYBOOK_LOG_WARNING,
                      "parts of an older state of consumer %s stay until the next one is saved: %s",
                      consumer->name, error.message);
    }
}

// ---- Loading ----------------------------------------------------------------------------------------------

static daybook_status open_parts(dbk_consumer *consumer, daybook_cursor **cursor_out, daybook_error *error) {
    dbk_stream *stream = dbk_stream_table_find(consumer->store->streams, daybook_text(dbk_consumers_stream));
    char text[DBK_CONSUMER_SUBJECT_SIZE_MAX];
    dbk_slice filter =
        dbk_consumer_subject(consumer->stream->id, daybook_text(consumer->name), "parts", text);
    return dbk_consumer_read_log(consumer->store, stream, filter, cursor_out, error);
}

// The parts of checkpoint `id`, one behind the other.
static daybook_status join_parts(dbk_consumer *consumer, uint64_t id, uint64_t size, uint32_t *count_out,
                                 dbk_buf *bytes, daybook_error *error) {
    daybook_cursor *cursor;
    DBK_TRY(open_parts(consumer, &cursor, error));
    daybook_recorded_event event;
    daybook_status status;
    *count_out = 0;
    while ((status = daybook_cursor_next(cursor, 0, &event, error)) == DAYBOOK_OK) {
        dbk_reader reader;
        dbk_reader_init(&reader, event.event.data);
        if (dbk_read_u64(&reader) != id) continue; // of another, whose parts are still there
        bool follows = dbk_read_u32(&reader) == (*count_out)++ && !reader.failed;
        size_t piece_size = dbk_reader_left(&reader);
        status = follows && piece_size <= size - bytes->size ? DAYBOOK_OK : DAYBOOK_EDAMAGED;
        if (status != DAYBOOK_OK) break;
        dbk_buf_append(bytes, (const uint8_t *)event.event.data.data + PART_HEAD_SIZE, piece_size);
        status = dbk_buf_status(bytes);
        if (status != DAYBOOK_OK) break;
    }
    daybook_cursor_close(cursor);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

static daybook_status load_bytes(dbk_consumer *consumer, dbk_slice bytes) {
    dbk_reader reader;
    dbk_reader_init(&reader, bytes);
    uint64_t ahead = dbk_read_u64(&reader), counted_seq = dbk_read_u64(&reader);
    uint64_t removed = dbk_read_u64(&reader);
    if (reader.failed) return DAYBOOK_EDAMAGED;
    dbk_slice state =
        daybook_bytes((const uint8_t *)bytes.data + COUNT_HEAD_SIZE, bytes.size - COUNT_HEAD_SIZE);
    DBK_TRY(dbk_consumer_state_decode(state, &consumer->delivery, &consumer->start));
    consumer->checkpoint_bytes = bytes.size;
    if (consumer->store->read_only || counted_seq == 0) return DAYBOOK_OK;
    // Something was removed since: perhaps ahead.
    if (removed != dbk_checkpoint_removed_count(consumer)) return DAYBOOK_OK;
    consumer->is_counted = true;
    consumer->ahead = ahead;
    consumer->counted_seq = counted_seq;
    return DAYBOOK_OK;
}

daybook_status dbk_checkpoint_load(dbk_consumer *consumer, const daybook_event *event, daybook_error *error) {
    if (dbk_slice_equal(event->type, daybook_text("checkpoint"))) return load_bytes(consumer, event->data);
    dbk_reader reader;
    dbk_reader_init(&reader, event->data);
    uint64_t id = dbk_read_u64(&reader);
    uint32_t count = dbk_read_u32(&reader), found;
    uint64_t size = dbk_read_u64(&reader), checksum = dbk_read_u64(&reader);
    if (reader.failed || size > STATE_SIZE_MAX) return DAYBOOK_EDAMAGED;
    dbk_buf bytes;
    dbk_buf_init(&bytes, consumer->store->allocator, (size_t)size);
    daybook_status status = join_parts(consumer, id, size, &found, &bytes, error);
    if (status == DAYBOOK_OK &&
        (found != count || bytes.size != size || dbk_checksum(bytes.data, bytes.size, 0) != checksum))
        status = DAYBOOK_EDAMAGED;
    if (status == DAYBOOK_OK) status = load_bytes(consumer, daybook_bytes(bytes.data, bytes.size));
    dbk_buf_deinit(&bytes);
    return status;
}

bool dbk_checkpoint_is(const daybook_event *event) {
    return dbk_slice_equal(event->type, daybook_text("checkpoint")) ||
           dbk_slice_equal(event->type, daybook_text("checkpoint-of-parts"));
}

daybook_status dbk_checkpoint_look_for_parts(dbk_consumer *consumer, daybook_error *error) {
    daybook_cursor *cursor;
    DBK_TRY(open_parts(consumer, &cursor, error));
    daybook_recorded_event event;
    daybook_status status = daybook_cursor_next(cursor, 0, &event, error);
    daybook_cursor_close(cursor);
    atomic_store(&consumer->has_parts, status != DAYBOOK_END);
    return status == DAYBOOK_END || status == DAYBOOK_EDAMAGED ? DAYBOOK_OK : status;
}
