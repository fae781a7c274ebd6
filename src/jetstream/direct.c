// SPDX-License-Identifier: Apache-2.0
// $JS.API.DIRECT.GET.<stream> and .<stream>.<subject>: messages as they are, with headers that say where they
// come from.
//
//     {"seq": 7}   {"last_by_subj": "a.b"}   {"next_by_subj": "a.>", "seq": 7}   {"start_time": "…"}
//                                              one message
//     the same with "batch"                    that many at most, then 204 EOB with how many are left
//     {"multi_last": ["a.>", "b.*"], "up_to_seq": 90}    the newest of each subject, then 204 EOB
//     any, where too many are under way already          429
//
// How many are left is told with each message. Most answers have all there is in one piece, as those that
// load an aggregate: so the first piece is written with the largest number there is, and where the end was
// not reached with it, the rest is counted by the index. Then the numbers of the piece are put right.
//
// A request is a job of its own beside all others. A long answer goes out in pieces: a worker reads and
// writes one block of messages, the loop routes it, and so on while somebody listens.
#include "base/bytes.h"
#include "daybook/read.h"
#include "daybook/subject.h"
#include "jetstream/api_call.h"
#include "jetstream/event_message.h"
#include "jetstream/mirror.h"
#include "proto/headers.h"
#include "proto/status.h"

enum {
    PIECE_BYTES = 256 << 10,
    PIECE_COUNT = 512,
    RESULTS_MAX = 1024, // of multi_last
    BYTES_MAX = 64 << 20,
    ARENA_CHUNK = 4 << 10,
    SPARE = 19,                   // digits of UINT64_MAX beyond the one that a small number has
    REQUEST_SIZE_MAX = 128 << 10, // they are read on the loop; room for RESULTS_MAX filters
};

typedef struct piece_message {
    size_t offset, size, header_size; // in the block
    uint64_t last_seq;                // of the one before it
} piece_message;

typedef struct direct {
    dbk_job job;
    dbk_js_stream *stream; // a reference
    dbk_js_share share;
    dbk_arena *arena;
    dbk_api_message_get_request request;
    bool is_many;  // batch or multi_last: headers of many, EOB at the end
    bool is_multi; // multi_last
    uint64_t count_max, bytes_max;
    // The reading.
    bool has_begun;
    daybook_cursor *cursor;
    daybook_recorded_event event;
    bool has_event;       // read, and not written yet
    bool has_reached_end; // of what there was when it began, not of what was asked for
    bool is_counted;      // is_many: pending_count is known
    uint64_t sent_count, sent_bytes, pending_count, last_seq, up_to_seq;
    // A piece.
    dbk_block *block;
    size_t used;             // of it
    piece_message only;      // of a request for one message
    piece_message *messages; // `only`, or PIECE_COUNT in the arena
    size_t message_count;
    bool is_over;
    dbk_slice status; // to be sent behind it, a block; empty: EOB where it is_many, else nothing
    size_t reply_size;
    uint8_t reply[];
} direct;

// ---- Reading: the worker ----------------------------------------------------------------------------------

static void init_query(const direct *get, daybook_query *query, dbk_slice *filter) {
    const dbk_api_message_get_request *request = &get->request;
    daybook_query_init(query);
    query->stream = get->stream->name;
    query->seq_from = request->seq;
    if (get->is_multi) {
        query->flags = DAYBOOK_QUERY_LAST_PER_SUBJECT;
        query->filters = request->multi_last.items;
        query->filter_count = request->multi_last.count;
        query->seq_from = 0; // of the newest ones, those from seq on: looked at when they come
        query->seq_to = request->up_to_seq;
        if (request->up_to_time_ns != 0) query->recorded_until_ns = request->up_to_time_ns;
        return;
    }
    *filter = request->last_by_subj.size > 0 ? request->last_by_subj : request->next_by_subj;
    query->filters = filter;
    query->filter_count = filter->size > 0;
    if (request->last_by_subj.size > 0) query->flags = DAYBOOK_QUERY_REVERSE;
    if (request->start_time_ns != 0) query->recorded_since_ns = request->start_time_ns;
}

static void end_with(direct *get, dbk_status status) {
    get->is_over = true;
    get->status = dbk_status_block(status);
}

static daybook_status find_bounds(direct *get) {
    daybook_stream_info *info;
    DBK_TRY(daybook_stream_get_info(get->stream->jetstream->store, get->stream->name, &info, NULL));
    get->up_to_seq = get->request.up_to_seq > 0 ? get->request.up_to_seq : info->last_seq;
    daybook_stream_info_release(get->stream->jetstream->store, info);
    return DAYBOOK_OK;
}

static daybook_status begin(direct *get) {
    daybook_store *store = get->stream->jetstream->store;
    daybook_query query;
    dbk_slice filter;
    get->has_begun = true;
    get->messages = get->is_many ? dbk_arena_alloc(get->arena, PIECE_COUNT * sizeof *get->messages)
                                 : &get->only;
    if (get->messages == NULL) return DAYBOOK_ENOMEM;
    init_query(get, &query, &filter);
    if (get->is_multi) {
        query.limit = RESULTS_MAX + 1;
        DBK_TRY(find_bounds(get));
    }
    // What stands behind these is no run of the stream: it is counted by being found.
    if (get->is_multi) DBK_TRY(daybook_count(store, &query, &get->pending_count, NULL));
    get->is_counted = get->is_multi;
    if (get->is_multi && get->pending_count > RESULTS_MAX) {
        end_with(get, DBK_STATUS_TOO_MANY_RESULTS);
        return DAYBOOK_OK;
    }
    if (!get->is_multi) query.limit = get->count_max;
    return daybook_read(store, &query, &get->cursor, NULL);
}

// The one that was asked for by its number, or none.
static bool is_another(const direct *get) {
    const dbk_api_message_get_request *request = &get->request;
    return get->sent_count == 0 && request->seq > 0 && request->next_by_subj.size == 0 && !get->is_multi &&
           get->event.seq != request->seq;
}

static void end_reading(direct *get) {
    get->is_over = true;
    if (get->sent_count > 0) return;
    get->status = dbk_status_block(get->is_multi ? DBK_STATUS_NO_RESULTS : DBK_STATUS_MESSAGE_NOT_FOUND);
}

// False: there is no next one, or it failed.
static bool read_next(direct *get) {
    while (!get->has_event && !get->is_over) {
        bool is_enough = get->sent_count >= get->count_max || get->sent_bytes >= get->bytes_max;
        daybook_status status = is_enough ? DAYBOOK_END
                                          : daybook_cursor_next(get->cursor, 0, &get->event, NULL);
        // The cursor gives as many as were asked for at most: before that it ends for want of more.
        if (status == DAYBOOK_END && !is_enough) get->has_reached_end = true;
        if (status == DAYBOOK_OK && is_another(get)) status = DAYBOOK_END;
        if (status == DAYBOOK_END) {
            end_reading(get);
        } else if (status != DAYBOOK_OK) {
            get->is_over = true;
            get->status = daybook_text("NATS/1.0 500 the message cannot be read\r\n\r\n");
        } else if (get->is_multi && get->event.seq < get->request.seq) {
            get->pending_count -= get->pending_count > 0;
        } else {
            get->has_event = true;
        }
    }
    return get->has_event;
}

static dbk_event_extras extras_of(const direct *get, uint64_t last_seq) {
    return (dbk_event_extras){.is_direct = true,
                              .no_headers = get->request.no_headers,
                              .is_one_of_many = get->is_many,
                              .pending_count = get->is_counted ? get->pending_count : UINT64_MAX,
                              .last_seq = last_seq};
}

static void write_event(direct *get, const dbk_event_extras *extras) {
    piece_message *message = &get->messages[get->message_count];
    message->offset = get->used;
    message->size = dbk_event_message_write(&get->event, extras, get->block->data + message->offset,
                                            &message->header_size);
    get->message_count++;
    get->used += message->size;
    get->has_event = false;
    get->sent_count++;
    get->sent_bytes += get->event.event.subject.size + message->size;
    if (get->is_many && !get->is_counted) get->sent_bytes -= SPARE;
    message->last_seq = extras->last_seq;
    get->last_seq = get->event.seq;
}

// As many messages as have room in one block.
static daybook_status fill_piece(direct *get) {
    get->used = 0;
    while (get->message_count < (get->is_many ? PIECE_COUNT : 1) && read_next(get)) {
        dbk_event_extras extras = extras_of(get, get->last_seq);
        size_t bound = dbk_event_message_bound(&get->event, &extras);
        if (get->block == NULL) {
            size_t size = !get->is_many || bound > PIECE_BYTES ? bound : PIECE_BYTES;
            get->block = dbk_block_new(get->stream->jetstream->allocator, size);
            if (get->block == NULL) return DAYBOOK_ENOMEM;
        }
        if (get->used + bound > get->block->capacity) return DAYBOOK_OK;
        if (get->is_counted) {
            get->pending_count -= get->pending_count > 0;
            extras.pending_count = get->pending_count;
        }
        write_event(get, &extras);
    }
    // Who asked for one is told of no end: it is over with the message, and counts no more once that is seen.
    if (!get->is_many && get->message_count > 0) get->is_over = true;
    return DAYBOOK_OK;
}

// How many come behind the first piece is known now, and put into its messages.
static daybook_status count_rest(direct *get) {
    const dbk_api_message_get_request *request = &get->request;
    uint64_t rest = 0;
    if (!get->has_reached_end && get->message_count > 0)
        DBK_TRY(daybook_stream_count(get->stream->jetstream->store, get->stream->name, &request->next_by_subj,
                                     request->next_by_subj.size > 0, get->last_seq + 1, &rest, NULL));
    for (size_t i = 0; i < get->message_count; i++) {
        piece_message *message = &get->messages[i];
        dbk_event_extras extras = extras_of(get, message->last_seq);
        message->size = dbk_event_message_change_pending(get->block->data + message->offset, message->size,
                                                         &extras, rest + get->message_count - 1 - i,
                                                         &message->header_size);
    }
    get->pending_count = rest;
    get->is_counted = true;
    return DAYBOOK_OK;
}

static void run_direct(dbk_job *job) {
    direct *get = DBK_OWNER(job, direct, job);
    daybook_status status = get->has_begun ? DAYBOOK_OK : begin(get);
    if (status == DAYBOOK_OK && !get->is_over) status = fill_piece(get);
    if (status == DAYBOOK_OK && get->is_many && !get->is_counted) status = count_rest(get);
    if (status == DAYBOOK_OK) return;
    get->is_over = true;
    get->message_count = 0; // they may say nothing of how many are left
    get->status = status == DAYBOOK_ENOTFOUND ? dbk_status_block(DBK_STATUS_NO_RESPONDERS)
                  : status == DAYBOOK_ESUBJECT
                      ? dbk_status_block(DBK_STATUS_DIRECT_BAD_REQUEST)
                      : daybook_text("NATS/1.0 500 the stream cannot be read\r\n\r\n");
}

// ---- Sending: the loop ------------------------------------------------------------------------------------

static dbk_slice reply_of(const direct *get) {
    return daybook_bytes(get->reply, get->reply_size);
}

static void free_direct(direct *get) {
    dbk_js_stream *stream = get->stream;
    dbk_jetstream *jetstream = stream->jetstream;
    daybook_cursor_close(get->cursor);
    dbk_js_release(&get->share);
    jetstream->direct_count--;
    dbk_arena_free(get->arena);
    dbk_free(jetstream->allocator, get);
    dbk_js_stream_unref(stream);
    dbk_js_end_job(jetstream);
}

static bool send_piece(direct *get) {
    bool is_wanted = true;
    for (size_t i = 0; i < get->message_count && is_wanted; i++) {
        const piece_message *message = &get->messages[i];
        dbk_message out = {.subject = reply_of(get),
                           .payload = daybook_bytes(get->block->data + message->offset, message->size),
                           .header_size = message->header_size,
                           .block = get->block};
        is_wanted = dbk_route_to(get->stream->jetstream->broker, out.subject, &out) > 0;
    }
    dbk_block_unref(get->block);
    get->block = NULL;
    get->message_count = 0;
    return is_wanted;
}

static void send_end(direct *get) {
    dbk_jetstream *jetstream = get->stream->jetstream;
    if (get->status.size > 0) {
        (void)dbk_broker_reply(jetstream->broker, reply_of(get), get->status, daybook_bytes(NULL, 0));
        return;
    }
    if (!get->is_many) return;
    dbk_buf *out = dbk_js_begin_answer(jetstream);
    dbk_buf_append_slice(out, dbk_status_line(DBK_STATUS_END_OF_BATCH));
    dbk_headers_add_number(out, daybook_text("Nats-Num-Pending"), get->pending_count);
    dbk_headers_add_number(out, daybook_text("Nats-Last-Sequence"), get->last_seq);
    if (get->is_multi) dbk_headers_add_number(out, daybook_text("Nats-UpTo-Sequence"), get->up_to_seq);
    dbk_headers_end(out);
    dbk_js_end_answer(jetstream, reply_of(get), true);
}

static void send_direct(dbk_job *job) {
    direct *get = DBK_OWNER(job, direct, job);
    bool is_wanted = send_piece(get);
    if (is_wanted && !get->is_over && !get->stream->jetstream->is_stopping) {
        dbk_jobs_submit(get->stream->jetstream->broker->jobs, &get->job);
        return;
    }
    if (is_wanted) send_end(get);
    free_direct(get);
}

// ---- Asking: the loop -------------------------------------------------------------------------------------

static bool is_contradiction(const dbk_api_message_get_request *request) {
    bool last = request->last_by_subj.size > 0;
    bool many = request->multi_last.count > 0;
    return (last && (request->seq > 0 || request->start_time_ns != 0 || request->next_by_subj.size > 0 ||
                     request->batch > 0 || many)) ||
           (request->seq > 0 && request->start_time_ns != 0) || (request->next_by_subj.size > 0 && many) ||
           (request->up_to_seq > 0 && request->up_to_time_ns != 0) || request->batch < 0 ||
           request->max_bytes < 0;
}

static bool filters_are_valid(const dbk_api_message_get_request *request) {
    if (request->last_by_subj.size > 0 && !daybook_filter_is_valid(request->last_by_subj)) return false;
    if (request->next_by_subj.size > 0 && !daybook_filter_is_valid(request->next_by_subj)) return false;
    for (size_t i = 0; i < request->multi_last.count; i++)
        if (!daybook_filter_is_valid(request->multi_last.items[i])) return false;
    return true;
}

// False: `status_out` says why not.
static bool read_request(direct *get, dbk_slice subject, dbk_slice body, dbk_status *status_out) {
    dbk_jetstream *jetstream = get->stream->jetstream;
    dbk_api_message_get_request *request = &get->request;
    dbk_api_error error;
    dbk_slice of_subject = dbk_js_tokens_from(subject, 3);
    *status_out = DBK_STATUS_DIRECT_EMPTY_REQUEST;
    if (of_subject.size == 0 && body.size == 0) return false;
    *status_out = DBK_STATUS_DIRECT_BAD_REQUEST;
    if (body.size > REQUEST_SIZE_MAX) return false;
    *status_out = DBK_STATUS_DIRECT_MALFORMED_REQUEST;
    if (!dbk_api_read_message_get(&jetstream->settings.dial, body, get->arena, request, &error)) return false;
    *status_out = DBK_STATUS_DIRECT_BAD_REQUEST;
    if (of_subject.size > 0) {
        dbk_slice copy = dbk_arena_copy_text(get->arena, of_subject);
        if (copy.data == NULL) return false;
        bool no_headers = request->no_headers;
        *request = (dbk_api_message_get_request){.last_by_subj = copy, .no_headers = no_headers};
    }
    bool is_any = request->seq > 0 || request->last_by_subj.size > 0 || request->next_by_subj.size > 0 ||
                  request->multi_last.count > 0 || request->start_time_ns != 0;
    if (!is_any) *status_out = DBK_STATUS_DIRECT_EMPTY_REQUEST;
    return is_any && !is_contradiction(request) && filters_are_valid(request);
}

static direct *new_direct(dbk_js_stream *stream, dbk_client *from, dbk_slice reply, size_t body_size) {
    dbk_jetstream *jetstream = stream->jetstream;
    direct *get = dbk_alloc_zeroed(jetstream->allocator, sizeof *get + reply.size);
    if (get == NULL) return NULL;
    if (dbk_arena_new(jetstream->allocator, ARENA_CHUNK, &get->arena) != DAYBOOK_OK) {
        dbk_free(jetstream->allocator, get);
        return NULL;
    }
    get->job.run = run_direct;
    get->job.done = send_direct;
    get->job.is_slow = true;
    get->stream = dbk_js_stream_ref(stream);
    get->reply_size = reply.size;
    memcpy(get->reply, reply.data, reply.size);
    // What is read of the body is about as large, and then there is the cursor with its block.
    dbk_js_hold(&get->share, from, sizeof *get + reply.size + 2 * ARENA_CHUNK + body_size);
    jetstream->direct_count++;
    dbk_js_begin_job(jetstream);
    return get;
}

void dbk_js_serve_direct(dbk_jetstream *jetstream, dbk_client *from, dbk_slice subject,
                         const dbk_message *message) {
    dbk_js_stream *stream = dbk_js_find_stream(jetstream, dbk_js_token(subject, 2));
    dbk_status status = DBK_STATUS_NO_RESPONDERS;
    if (message->reply.size == 0) return;
    direct *get = NULL;
    if (stream == NULL || !stream->allow_direct) // a mirror may answer for it, with what it has
        stream = dbk_js_find_direct_mirror(jetstream, dbk_js_token(subject, 2));
    if (stream != NULL) {
        bool is_level = dbk_js_level_suffices(jetstream, dbk_message_headers(message));
        status = is_level ? DBK_STATUS_TOO_MANY_REQUESTS : DBK_STATUS_API_LEVEL;
        if (is_level && jetstream->direct_count < jetstream->settings.requests_max)
            get = new_direct(stream, from, message->reply, message->payload.size);
    }
    if (get != NULL && read_request(get, subject, dbk_message_data(message), &status)) {
        get->is_multi = get->request.multi_last.count > 0;
        get->is_many = get->is_multi || get->request.batch > 0;
        get->count_max = get->request.batch > 0 ? (uint64_t)get->request.batch
                         : get->is_multi        ? RESULTS_MAX
                                                : 1;
        get->bytes_max = get->request.max_bytes > 0 ? (uint64_t)get->request.max_bytes : BYTES_MAX;
        dbk_jobs_submit(jetstream->broker->jobs, &get->job);
        return;
    }
    (void)dbk_broker_reply(jetstream->broker, message->reply, dbk_status_block(status),
                           daybook_bytes(NULL, 0));
    if (get != NULL) free_direct(get);
}
