// SPDX-License-Identifier: Apache-2.0
// Subjects rewritten: subject_transform and republish of a stream.
//
//     orders.7.placed --transform--> stored subject --committed--> republish subject, with these headers:
//         Nats-Stream, Nats-Subject (as stored), Nats-Sequence, Nats-Time-Stamp, Nats-Last-Sequence,
//         with headers_only Nats-Msg-Size instead of the data
//
// A subject that the transform's source does not match is stored as it is; one that the republish's source
// does not match is not republished. Headers of the publisher that are called like those above are left out.
//
// Nats-Last-Sequence is the message the subject had before, by which listeners notice what they missed. The
// store may remove that one in the commit of its successor (max_msgs_per_subject), so it is asked for before,
// by the worker; and it is not the store's last any more where others of the subject are under way. So a
// subject that has publishes under way has an entry (dbk_js_last), made with what the store said, which each
// of them takes over on the loop, where they come in order. Entries are as many as publishes under way.
//
// A republished message is an announcement (route.h): streams that capture its subject keep it, services of
// the server do not see it. What a stream keeps of announcements is not republished in turn, so streams that
// republish into each other end there. What the embedding program appends by itself is not republished.
//
// Failure: without memory a publish is refused; a republished message that no memory is there for is lost, as
// it may be for any listener.
#include "jetstream/rewrite.h"

#include "api/transform.h"
#include "base/bytes.h"
#include "daybook/read.h"
#include "daybook/subject.h"
#include "jetstream/event_message.h"

enum { ARENA_CHUNK = 1 << 10, REWRITTEN_SIZE_MAX = 64 << 10 };

struct dbk_js_rewrite {
    const daybook_allocator *allocator;
    uint32_t reference_count;
    dbk_arena *arena;
    const dbk_api_transform *transform; // NULL: none
    const dbk_api_transform *republish; // NULL: none
    bool headers_only;
};

struct dbk_js_last {
    dbk_table_link link;    // of stream->lasts; under jetstream->lock, as the count
    size_t reference_count; // publishes under way
    uint64_t seq;           // 0: none; once it is in the table, the loop's
    size_t subject_size;
    uint8_t subject[];
};

// ---- Of a configuration -----------------------------------------------------------------------------------

static daybook_status compile(dbk_js_rewrite *rewrite, dbk_slice source, dbk_slice destination,
                              const dbk_api_transform **transform_out) {
    dbk_slice own_source = dbk_arena_copy_text(rewrite->arena, source);
    dbk_slice own_destination = dbk_arena_copy_text(rewrite->arena, destination);
    if (own_source.data == NULL || own_destination.data == NULL) return DAYBOOK_ENOMEM;
    return dbk_api_transform_new(own_source, own_destination, rewrite->arena, transform_out, NULL);
}

daybook_status dbk_js_rewrite_new(const daybook_allocator *allocator, const dbk_api_stream_config *config,
                                  dbk_js_rewrite **rewrite_out) {
    *rewrite_out = NULL;
    const dbk_api_subject_transform *transform = config->subject_transform;
    const dbk_api_republish *republish = config->republish;
    if (transform == NULL && republish == NULL) return DAYBOOK_OK;
    dbk_js_rewrite *rewrite = dbk_alloc_zeroed(allocator, sizeof *rewrite);
    if (rewrite == NULL) return DAYBOOK_ENOMEM;
    rewrite->allocator = allocator;
    rewrite->reference_count = 1;
    daybook_status status = dbk_arena_new(allocator, ARENA_CHUNK, &rewrite->arena);
    if (status == DAYBOOK_OK && transform != NULL)
        status = compile(rewrite, transform->source, transform->destination, &rewrite->transform);
    if (status == DAYBOOK_OK && republish != NULL) {
        rewrite->headers_only = republish->headers_only;
        status = compile(rewrite, republish->source, republish->destination, &rewrite->republish);
    }
    if (status == DAYBOOK_OK) {
        *rewrite_out = rewrite;
    } else {
        dbk_js_rewrite_unref(rewrite);
    }
    return status;
}

dbk_js_rewrite *dbk_js_rewrite_ref(dbk_js_rewrite *rewrite) {
    if (rewrite != NULL) rewrite->reference_count++;
    return rewrite;
}

void dbk_js_rewrite_unref(dbk_js_rewrite *rewrite) {
    if (rewrite == NULL || --rewrite->reference_count > 0) return;
    dbk_arena_free(rewrite->arena);
    dbk_free(rewrite->allocator, rewrite);
}

// ---- Subjects: a worker -----------------------------------------------------------------------------------

// A copy of what `subject` becomes; empty where the transform does not match it. False: out of memory.
static bool apply(const daybook_allocator *allocator, const dbk_api_transform *transform, dbk_slice subject,
                  dbk_slice *rewritten_out) {
    dbk_buf text;
    dbk_buf_init(&text, allocator, REWRITTEN_SIZE_MAX);
    *rewritten_out = daybook_bytes(NULL, 0);
    bool is_matched = dbk_api_transform_apply(transform, subject, &text);
    bool is_whole = dbk_buf_status(&text) == DAYBOOK_OK;
    if (is_matched && is_whole && text.size > 0) {
        char *copy = dbk_copy_text(allocator, daybook_bytes(text.data, text.size));
        is_whole = copy != NULL;
        if (is_whole) *rewritten_out = daybook_bytes(copy, text.size);
    }
    dbk_buf_deinit(&text);
    return is_whole;
}

bool dbk_js_rewrite_subject(dbk_js_publish *publish, const dbk_js_rewrite *rewrite,
                            dbk_api_error *error_out) {
    if (rewrite == NULL) return true;
    const daybook_allocator *allocator = publish->stream->jetstream->allocator;
    if (rewrite->transform != NULL &&
        !apply(allocator, rewrite->transform, dbk_js_publish_subject(publish), &publish->transformed))
        return dbk_api_fail_memory(error_out);
    if (rewrite->republish == NULL || publish->is_announced) return true;
    dbk_slice *to = &publish->republish_to;
    if (!apply(allocator, rewrite->republish, dbk_js_publish_stored_subject(publish), to))
        return dbk_api_fail_memory(error_out);
    publish->republish_headers_only = rewrite->headers_only;
    if (to->size > 0 && !daybook_subject_is_valid(*to)) { // of what a function left nothing
        dbk_free(allocator, (void *)(uintptr_t)to->data);
        *to = daybook_bytes(NULL, 0);
    }
    return true;
}

// Under the lock.
static dbk_js_last *find_last(const dbk_js_stream *stream, dbk_slice subject, uint32_t hash) {
    dbk_table_link *link = dbk_link_table_find(&stream->lasts, hash);
    for (; link != NULL; link = dbk_link_table_find_next(link)) {
        dbk_js_last *last = DBK_OWNER(link, dbk_js_last, link);
        if (dbk_slice_equal(daybook_bytes(last->subject, last->subject_size), subject)) return last;
    }
    return NULL;
}

static daybook_status read_last(const dbk_js_stream *stream, dbk_slice subject, uint64_t *seq_out,
                                daybook_error *error) {
    daybook_query query;
    daybook_cursor *cursor;
    daybook_recorded_event event;
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_REVERSE;
    query.stream = stream->name;
    query.filters = &subject;
    query.filter_count = 1;
    query.limit = 1;
    *seq_out = 0;
    daybook_status status = daybook_read(stream->jetstream->store, &query, &cursor, error);
    if (status != DAYBOOK_OK) return status;
    status = daybook_cursor_next(cursor, 0, &event, error);
    if (status == DAYBOOK_OK) *seq_out = event.seq;
    daybook_cursor_close(cursor);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

// Only the stream's round makes entries, so none of the subject comes between looking and inserting.
static daybook_status make_last(dbk_js_publish *publish, dbk_slice subject, uint32_t hash,
                                daybook_error *error) {
    dbk_js_stream *stream = publish->stream;
    dbk_jetstream *jetstream = stream->jetstream;
    dbk_js_last *last = dbk_alloc_zeroed(jetstream->allocator, sizeof *last + subject.size);
    if (last == NULL) return DAYBOOK_ENOMEM;
    last->reference_count = 1;
    last->subject_size = subject.size;
    memcpy(last->subject, subject.data, subject.size);
    daybook_status status = read_last(stream, subject, &last->seq, error);
    if (status == DAYBOOK_OK) {
        last->link.hash = hash;
        pthread_mutex_lock(&jetstream->lock);
        dbk_link_table_insert(&stream->lasts, jetstream->allocator, &last->link);
        pthread_mutex_unlock(&jetstream->lock);
        publish->last = last;
    } else {
        dbk_free(jetstream->allocator, last);
    }
    return status;
}

bool dbk_js_rewrite_find_last(dbk_js_publish *publish, dbk_api_error *error_out) {
    dbk_jetstream *jetstream = publish->stream->jetstream;
    dbk_slice subject = dbk_js_publish_stored_subject(publish);
    // A subject that is none is for the store to refuse.
    if (publish->republish_to.size == 0 || publish->last != NULL || !daybook_subject_is_valid(subject))
        return true;
    uint32_t hash = dbk_js_hash(jetstream, subject, daybook_bytes(NULL, 0));
    pthread_mutex_lock(&jetstream->lock);
    publish->last = find_last(publish->stream, subject, hash);
    if (publish->last != NULL) publish->last->reference_count++;
    pthread_mutex_unlock(&jetstream->lock);
    if (publish->last != NULL) return true;
    daybook_error cause;
    daybook_error_init(&cause);
    daybook_status status = make_last(publish, subject, hash, &cause);
    if (status == DAYBOOK_OK) return true;
    if (status == DAYBOOK_ENOMEM) return dbk_api_fail_memory(error_out);
    return dbk_api_fail_status(error_out, status, &cause, DBK_API_ERR_STREAM_STORE_FAILED);
}

// ---- Republishing: the loop -------------------------------------------------------------------------------

// A listener believes the first of a name, and it shall be the server's.
static void copy_headers(const dbk_js_publish *publish, dbk_buf *out) {
    dbk_headers block;
    dbk_slice name, value;
    if (!dbk_headers_open(dbk_js_publish_headers(publish), &block)) return;
    while (dbk_headers_next(&block, &name, &value))
        if (!dbk_header_is_own(name, DBK_OWN_PLACE | DBK_OWN_LAST | DBK_OWN_SIZE))
            dbk_headers_add(out, name, value);
}

static void write_headers(const dbk_js_publish *publish, uint64_t last_seq, dbk_buf *out) {
    char time[DAYBOOK_TIME_TEXT_SIZE];
    dbk_headers_begin(out, 0, daybook_bytes(NULL, 0));
    copy_headers(publish, out);
    dbk_headers_add(out, daybook_text("Nats-Stream"), publish->stream->name);
    dbk_headers_add(out, daybook_text("Nats-Subject"), dbk_js_publish_stored_subject(publish));
    dbk_headers_add_number(out, daybook_text("Nats-Sequence"), publish->outcome.seq);
    size_t size = dbk_event_message_format_time(publish->outcome.recorded_ns, time);
    dbk_headers_add(out, daybook_text("Nats-Time-Stamp"), daybook_bytes(time, size));
    dbk_headers_add_number(out, daybook_text("Nats-Last-Sequence"), last_seq);
    if (publish->republish_headers_only)
        dbk_headers_add_number(out, daybook_text("Nats-Msg-Size"), dbk_js_publish_data(publish).size);
    dbk_headers_end(out);
}

void dbk_js_republish(const dbk_js_publish *publish) {
    const dbk_js_outcome *said = &publish->outcome;
    if (publish->last == NULL || said->has_error || said->is_duplicate || said->seq == 0) return;
    dbk_jetstream *jetstream = publish->stream->jetstream;
    uint64_t last_seq = publish->last->seq;
    if (said->seq > last_seq) publish->last->seq = said->seq;
    if (!dbk_route_has_interest(jetstream->broker, publish->republish_to)) return;
    write_headers(publish, last_seq, dbk_js_begin_answer(jetstream));
    dbk_js_end_republished(jetstream, publish->republish_to,
                           publish->republish_headers_only ? daybook_bytes(NULL, 0)
                                                           : dbk_js_publish_data(publish));
}

static void unref_last(dbk_js_stream *stream, dbk_js_last *last) {
    dbk_jetstream *jetstream = stream->jetstream;
    if (last == NULL) return;
    pthread_mutex_lock(&jetstream->lock);
    bool is_gone = --last->reference_count == 0;
    if (is_gone) dbk_link_table_remove(&stream->lasts, jetstream->allocator, &last->link);
    pthread_mutex_unlock(&jetstream->lock);
    if (is_gone) dbk_free(jetstream->allocator, last);
}

void dbk_js_rewrite_forget(dbk_js_publish *publish) {
    const daybook_allocator *allocator = publish->stream->jetstream->allocator;
    unref_last(publish->stream, publish->last);
    dbk_free(allocator, (void *)(uintptr_t)publish->transformed.data);
    dbk_free(allocator, (void *)(uintptr_t)publish->republish_to.data);
    publish->last = NULL;
    publish->transformed = publish->republish_to = daybook_bytes(NULL, 0);
}
