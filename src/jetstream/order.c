// SPDX-License-Identifier: Apache-2.0
// The list of publishes under way, and that of requests which wait; both of the stream.
//
// Invariants: publishes are listed by ascending number, requests by numbers that do not descend. So the
// oldest of each says whether a request may go on.
#include "jetstream/order.h"

#include "jetstream/api_call.h"

struct dbk_js_waiting {
    dbk_js_waiting *next;
    dbk_js_share share;  // holds the connection, too
    uint64_t number;     // goes on when nothing up to this one is under way
    dbk_message message; // in the bytes behind
    uint8_t bytes[];
};

// ---- Publishes --------------------------------------------------------------------------------------------

static bool is_under_way(const dbk_js_stream *stream, uint64_t number) {
    return stream->first_under_way != NULL && stream->first_under_way->number <= number;
}

void dbk_js_order_begin(dbk_js_publish *publish) {
    dbk_js_stream *stream = publish->stream;
    dbk_jetstream *jetstream = stream->jetstream;
    publish->number = ++jetstream->publish_number;
    jetstream->under_way_count++;
    publish->earlier = stream->last_under_way;
    publish->later = NULL;
    *(publish->earlier == NULL ? &stream->first_under_way : &publish->earlier->later) = publish;
    stream->last_under_way = publish;
    if (publish->from == NULL) return;
    publish->from->publish_number = publish->number;
    if (!publish->wants_ack) publish->from->untold_number = publish->number;
}

static void unlink_publish(dbk_js_publish *publish) {
    dbk_js_stream *stream = publish->stream;
    *(publish->earlier == NULL ? &stream->first_under_way : &publish->earlier->later) = publish->later;
    *(publish->later == NULL ? &stream->last_under_way : &publish->later->earlier) = publish->earlier;
    stream->jetstream->under_way_count--;
    publish->number = 0;
}

// ---- Requests ---------------------------------------------------------------------------------------------

static void let_first_go_on(dbk_js_stream *stream) {
    dbk_jetstream *jetstream = stream->jetstream;
    dbk_js_waiting *waiting = stream->first_request;
    stream->first_request = waiting->next;
    if (stream->first_request == NULL) stream->last_request = NULL;
    jetstream->waiting_count--;
    dbk_js_go_on(jetstream, waiting->share.from, &waiting->message);
    dbk_js_release(&waiting->share);
    dbk_free(jetstream->allocator, waiting);
}

void dbk_js_order_end(dbk_js_publish *publish) {
    dbk_js_stream *stream = publish->stream; // which the publish holds
    if (publish->number == 0) return;
    unlink_publish(publish);
    while (stream->first_request != NULL && !is_under_way(stream, stream->first_request->number))
        let_first_go_on(stream);
}

void dbk_js_order_let_all_go_on(dbk_js_stream *stream) {
    (void)dbk_js_stream_ref(stream);
    while (stream->first_request != NULL) let_first_go_on(stream);
    dbk_js_stream_unref(stream);
}

dbk_js_stream *dbk_js_order_find(const dbk_jetstream *jetstream, const dbk_client *from,
                                 dbk_js_order_scope scope, dbk_slice stream_name, uint64_t *number_out) {
    if (jetstream->under_way_count == 0 || from == NULL || scope == DBK_JS_ORDER_NONE) return NULL;
    uint64_t number = scope == DBK_JS_ORDER_ALL ? from->publish_number : from->untold_number;
    if (number == 0) return NULL;
    dbk_js_stream *stream = dbk_js_find_stream(jetstream, stream_name);
    *number_out = number;
    return stream != NULL && is_under_way(stream, number) ? stream : NULL;
}

bool dbk_js_order_keep(dbk_js_stream *stream, dbk_client *from, const dbk_message *message, uint64_t number) {
    dbk_jetstream *jetstream = stream->jetstream;
    if (jetstream->waiting_count >= jetstream->settings.requests_max) return false;
    size_t size = dbk_message_copy_size(message);
    dbk_js_waiting *waiting = dbk_alloc(jetstream->allocator, sizeof *waiting + size);
    if (waiting == NULL) return false;
    *waiting = (dbk_js_waiting){.number = number};
    waiting->message = dbk_message_copy(message, waiting->bytes);
    dbk_js_hold(&waiting->share, from, sizeof *waiting + size);
    if (stream->last_request == NULL) {
        stream->first_request = waiting;
    } else {
        if (stream->last_request->number > number) waiting->number = stream->last_request->number;
        stream->last_request->next = waiting;
    }
    stream->last_request = waiting;
    jetstream->waiting_count++;
    return true;
}
