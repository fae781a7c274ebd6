// SPDX-License-Identifier: Apache-2.0
// A connection's output: MSG lines into its outbox, the outbox into its socket.
//
// Writing is tried at once and as far as it goes (uv_try_write, many spans). What the socket does not take is
// handed to libuv piece by piece: one write of at most four spans waits for the socket at a time, which needs
// no memory of libuv's own; its bytes stay in the outbox until it is done. While it waits, nothing else is
// tried.
//
// A receiver that is behind: more than max_pending bytes waiting, or a write that moved nothing for
// write_deadline, ends the connection. Both are looked at here only.
//
// With TLS the outbox holds plain bytes and a second one, of the filter, ciphertext; only so much is
// enciphered ahead as a few writes take, so that bytes waiting are counted plain.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/number.h"
#include "broker/broker.h"
#include "broker/tls.h"

enum {
    FLUSH_AT = 64 * 1024, // so much is written without waiting for the end of the round
    WAITING_SPANS = 4,    // of the write that waits: libuv's own array of them is so large
};
static const size_t write_size_max = 1 << 20;
static const size_t cipher_ahead_max = 256 << 10;

static dbk_outbox *wire_of(dbk_client *client) {
    return client->tls != NULL && client->is_ciphered ? dbk_tls_outbox(client->tls) : &client->outbox;
}

static void fail(dbk_client *client, dbk_close_reason reason) {
    dbk_client_close(client, reason, NULL);
}

// Waiting for the socket.

static void on_written(uv_write_t *request, int status) {
    dbk_client *client = request->data;
    client->is_writing = false;
    dbk_broker_stop_timer(client->broker, &client->write_timer);
    if (status == UV_ECANCELED) return; // it is being closed
    if (status < 0) {
        fail(client, DBK_CLOSE_WRITE);
        return;
    }
    dbk_outbox_consume(client->writing_from, client->writing_size);
    dbk_client_flush(client);
    if (client->has_stalled_others &&
        (int64_t)client->outbox.size < client->broker->options->limits.pending_max / 2) {
        client->has_stalled_others = false;
        dbk_broker_end_stalls(client->broker);
    }
    dbk_client_touch(client); // a closing one may go on
}

static void wait_for_socket(dbk_client *client, dbk_outbox *wire) {
    dbk_span spans[WAITING_SPANS];
    uv_buf_t buffers[WAITING_SPANS];
    size_t count = dbk_outbox_gather(wire, spans, WAITING_SPANS, write_size_max);
    client->writing_from = wire;
    client->writing_size = 0;
    for (size_t i = 0; i < count; i++) {
        buffers[i] = uv_buf_init((char *)spans[i].data, (unsigned)spans[i].size);
        client->writing_size += spans[i].size;
    }
    client->write.data = client;
    int status = uv_write(&client->write, (uv_stream_t *)&client->tcp, buffers, (unsigned)count, on_written);
    if (status != 0) {
        fail(client, DBK_CLOSE_WRITE);
        return;
    }
    client->is_writing = true;
    client->waiting_mark = uv_stream_get_write_queue_size((uv_stream_t *)&client->tcp);
    dbk_broker_start_timer(client->broker, &client->write_timer,
                           client->broker->options->limits.write_deadline_ns);
}

void dbk_client_write_timer_fired(dbk_timer *timer) {
    dbk_client *client = DBK_OWNER(timer, dbk_client, write_timer);
    if (!client->is_writing || client->state >= DBK_CLIENT_CLOSING)
        return; // lingering has a bound of its own
    int64_t deadline_ns = client->broker->options->limits.write_deadline_ns;
    size_t left = uv_stream_get_write_queue_size((uv_stream_t *)&client->tcp);
    if (left < client->waiting_mark) {
        client->waiting_mark = left;
        dbk_broker_start_timer(client->broker, timer, deadline_ns);
        return;
    }
    dbk_client_log(client, INFO,
                   "Slow Consumer Detected: WriteDeadline of %gs exceeded with %zu bytes waiting",
                   (double)deadline_ns / 1e9, client->outbox.size);
    fail(client, DBK_CLOSE_SLOW_DEADLINE);
}

// Writing.

/// One gathering write. Returns whether the socket took it all.
static bool write_some(dbk_client *client, dbk_outbox *wire) {
    dbk_span spans[DBK_OUTBOX_SPANS_MAX];
    uv_buf_t buffers[DBK_OUTBOX_SPANS_MAX];
    size_t count = dbk_outbox_gather(wire, spans, DBK_OUTBOX_SPANS_MAX, write_size_max), size = 0;
    for (size_t i = 0; i < count; i++) {
        buffers[i] = uv_buf_init((char *)spans[i].data, (unsigned)spans[i].size);
        size += spans[i].size;
    }
    int written = uv_try_write((uv_stream_t *)&client->tcp, buffers, (unsigned)count);
    if (written < 0 && written != UV_EAGAIN) {
        fail(client, DBK_CLOSE_WRITE);
        return false;
    }
    if (written > 0) dbk_outbox_consume(wire, (size_t)written);
    if (written >= 0 && (size_t)written == size) return true;
    wait_for_socket(client, wire);
    return false;
}

/// More ciphertext, where there is TLS. False: it failed.
static bool encipher(dbk_client *client) {
    if (client->tls == NULL || !client->is_ciphered || !dbk_tls_is_done(client->tls)) return true;
    while (client->outbox.size > 0 && dbk_tls_outbox(client->tls)->size < cipher_ahead_max) {
        if (dbk_tls_write(client->tls, &client->outbox) != DAYBOOK_OK) {
            fail(client, DBK_CLOSE_WRITE);
            return false;
        }
    }
    return true;
}

void dbk_client_flush(dbk_client *client) {
    if (client->is_writing || client->state == DBK_CLIENT_CLOSED || client->is_shut) return;
    dbk_outbox *wire = wire_of(client);
    do {
        if (!encipher(client)) return;
    } while (wire->size > 0 && write_some(client, wire) && (wire->size > 0 || client->outbox.size > 0));
}

size_t dbk_client_waiting_size(dbk_client *client) {
    dbk_outbox *wire = wire_of(client);
    return wire == &client->outbox ? wire->size : wire->size + client->outbox.size;
}

/// After something was added to the outbox.
static void added(dbk_client *client) {
    dbk_client_touch(client);
    if (client->outbox.size < FLUSH_AT || !dbk_client_is_open(client)) return;
    dbk_client_flush(client);
    if ((int64_t)client->outbox.size <= client->broker->options->limits.pending_max) return;
    client->broker->counters.slow_consumer_count++;
    dbk_client_log(client, INFO, "Slow Consumer Detected: MaxPending of %" PRId64 " Exceeded",
                   client->broker->options->limits.pending_max);
    fail(client, DBK_CLOSE_SLOW_PENDING);
}

static void out_of_memory(dbk_client *client) {
    // Its last line may be there in part: nothing more can be said on this connection.
    client->is_broken = true;
    fail(client, DBK_CLOSE_MEMORY);
}

void dbk_client_send(dbk_client *client, const void *data, size_t size) {
    if (!dbk_client_is_open(client) || client->is_broken) return;
    if (dbk_outbox_append(&client->outbox, data, size) != DAYBOOK_OK) {
        out_of_memory(client);
        return;
    }
    added(client);
}

// Messages.

static uint8_t *put(uint8_t *at, const void *data, size_t size) {
    memcpy(at, data, size);
    return at + size;
}

static void make_tail(dbk_frame *frame, bool with_headers) {
    const dbk_message *message = frame->message;
    uint8_t *start = (uint8_t *)frame->tail[with_headers], *at = start;
    *at++ = ' ';
    if (with_headers) {
        at += dbk_decimal_format(message->header_size, at);
        *at++ = ' ';
        at += dbk_decimal_format(message->payload.size, at);
    } else {
        at += dbk_decimal_format(message->payload.size - message->header_size, at);
    }
    at = put(at, "\r\n", 2);
    frame->tail_size[with_headers] = (uint8_t)(at - start);
}

/// The payload as a block that can be referred to. False: memory is out.
static bool has_block(dbk_frame *frame, const daybook_allocator *allocator) {
    if (frame->block != NULL) return true;
    const dbk_message *message = frame->message;
    if (message->block != NULL) {
        frame->block = dbk_block_ref(message->block);
        frame->payload = message->payload.data;
        return true;
    }
    frame->block = dbk_block_new(allocator, message->payload.size);
    if (frame->block == NULL) return false;
    memcpy(frame->block->data, message->payload.data, message->payload.size);
    frame->payload = frame->block->data;
    return true;
}

/// "MSG subject sid[ reply] size\r\n"
static uint8_t *put_head(uint8_t *at, const dbk_subscription *subscription, const dbk_frame *frame,
                         bool with_headers) {
    const dbk_message *message = frame->message;
    if (with_headers) *at++ = 'H';
    at = put(at, "MSG ", 4);
    at = put(at, message->subject.data, message->subject.size);
    *at++ = ' ';
    at = put(at, subscription->text, subscription->link.size);
    if (message->reply.size > 0) {
        *at++ = ' ';
        at = put(at, message->reply.data, message->reply.size);
    }
    return put(at, frame->tail[with_headers], frame->tail_size[with_headers]);
}

/// Behind the head, which is in the outbox already.
static bool refer_to_payload(dbk_client *client, dbk_frame *frame, size_t skipped, size_t size) {
    return has_block(frame, client->broker->allocator) &&
           dbk_outbox_append_block(&client->outbox, frame->block, frame->payload + skipped, size) ==
               DAYBOOK_OK &&
           dbk_outbox_append(&client->outbox, "\r\n", 2) == DAYBOOK_OK;
}

void dbk_client_deliver(dbk_client *client, const dbk_subscription *subscription, dbk_frame *frame) {
    if (!dbk_client_is_open(client) || client->is_broken) return;
    const dbk_message *message = frame->message;
    bool with_headers = message->header_size > 0 && client->headers;
    if (frame->tail_size[with_headers] == 0) make_tail(frame, with_headers);
    size_t skipped = with_headers ? 0 : message->header_size;
    size_t size = message->payload.size - skipped;
    bool is_copied = size <= DBK_OUTBOX_COPY_MAX;

    size_t needed = 5 + message->subject.size + 1 + subscription->link.size + 1 + message->reply.size +
                    frame->tail_size[with_headers] + (is_copied ? size + 2 : 0);
    uint8_t *start = dbk_outbox_reserve(&client->outbox, needed);
    if (start == NULL) {
        out_of_memory(client);
        return;
    }
    uint8_t *at = put_head(start, subscription, frame, with_headers);
    if (is_copied) {
        if (size > 0) at = put(at, (const uint8_t *)message->payload.data + skipped, size);
        at = put(at, "\r\n", 2);
    }
    dbk_outbox_commit(&client->outbox, (size_t)(at - start));
    if (!is_copied && !refer_to_payload(client, frame, skipped, size)) {
        out_of_memory(client);
        return;
    }
    client->counters.out_messages++;
    client->counters.out_bytes += size;
    client->broker->counters.out_messages++;
    client->broker->counters.out_bytes += size;
    if (client->broker->is_tracing)
        dbk_client_trace(client, "->>", daybook_bytes(start, (size_t)(at - start)));
    added(client);
}
