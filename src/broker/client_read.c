// SPDX-License-Identifier: Apache-2.0
// A connection's input: bytes from the socket, operations out of them, and what each does.
//
// All connections are read into one buffer of the loop, so that an idle one has none. What is left of an
// operation at its end is kept in a small block of the connection and put in front of the next bytes. A large
// operation (a publish of more than GATHER_FROM bytes) gets a block of its own size as soon as that is known,
// and further bytes are read right into it: the payload is then copied nowhere, receivers and store refer to
// it.
//
// Bounds: a line is at most max_control_line, a payload max_payload; before it is known who is there nothing
// but one CONNECT line is taken. Reading stops while a check of credentials runs, while too much of what was
// published waits for the disk, and a moment while a receiver is far behind.
//
// What cannot be understood ends the connection: with the text clients know, where there is one, and without
// where NATS sends none.
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/time.h"
#include "broker/broker.h"
#include "broker/tls.h"
#include "subject/subject.h"

enum {
    GATHER_FROM = 8 * 1024,
    REST_SIZE_MIN = 128,
};

static const int64_t handshakes_ns = 5 * DBK_MILLISECOND_NS;

// Where bytes go.

uint8_t *dbk_client_input_room(dbk_client *client, size_t *size_out) {
    if (client->gather_size > 0) {
        *size_out = client->gather_size - client->rest_size;
        return client->rest->data + client->rest_size;
    }
    uint8_t *buffer = client->broker->read_buffer;
    if (client->rest_size > 0) memcpy(buffer, client->rest->data, client->rest_size);
    *size_out = DBK_READ_BUFFER_SIZE - client->rest_size;
    return buffer + client->rest_size;
}

static void forget_rest(dbk_client *client) {
    dbk_block_unref(client->rest);
    client->rest = NULL;
    client->rest_size = 0;
    client->gather_size = 0;
}

/// Keep `size` bytes at `data`, which may lie in client->rest, until more come. `wanted`: with how many it
/// can go on, 0: not known.
static void keep_rest(dbk_client *client, const uint8_t *data, size_t size, size_t wanted) {
    if (size == 0) {
        forget_rest(client);
        return;
    }
    dbk_block *block = client->rest;
    if (client->gather_size > size && client->gather_size >= wanted && data == block->data)
        return; // it grows there
    size_t capacity = size < REST_SIZE_MIN ? REST_SIZE_MIN : size;
    bool is_gathered = true;
    if (client->state == DBK_CLIENT_CHECKING) {
        is_gathered = false; // nothing comes before it is served
    } else if (wanted > GATHER_FROM && wanted > size) {
        capacity = wanted; // and no more: it shall end with this operation
    } else if (size > DBK_READ_BUFFER_SIZE / 2) {
        capacity = size * 2; // a line that long is allowed here
    } else {
        is_gathered = false;
    }
    // Not in a block that is far too large either: it would be held as long as the connection is idle.
    bool is_mine = block != NULL && block->reference_count == 1 && block->capacity >= capacity &&
                   block->capacity / 8 <= capacity;
    if (!is_mine) {
        block = dbk_block_new(client->broker->allocator, capacity);
        if (block == NULL) {
            dbk_client_close(client, DBK_CLOSE_MEMORY, NULL);
            return;
        }
    }
    memmove(block->data, data, size);
    if (!is_mine) forget_rest(client);
    client->rest = block;
    client->rest_size = size;
    client->gather_size = is_gathered ? capacity : 0;
}

// Operations.

static void close_for(dbk_client *client, dbk_close_reason reason, const char *text) {
    dbk_client_log(client, ERROR, "%s", text != NULL ? text : dbk_close_reason_text(reason));
    dbk_client_close(client, reason, text);
}

static void confirm(dbk_client *client) {
    if (client->verbose) dbk_client_send(client, "+OK\r\n", 5);
}

/// Tells whoever asked for it that nobody is there: on its own subscription for the reply, not past others.
static void tell_no_responders(dbk_client *client, const dbk_proto_operation *operation) {
    dbk_broker *broker = client->broker;
    const dbk_interest_matches *matches;
    if (dbk_interest_match(broker->interest, operation->reply, &matches) != DAYBOOK_OK)
        return; // it will time out
    dbk_subscription *own = NULL;
    for (size_t i = 0; i < matches->plain_count && own == NULL; i++) {
        dbk_subscriber *subscriber = matches->plain[i]->subscriber;
        if (subscriber->client == client) own = (dbk_subscription *)(void *)subscriber;
    }
    if (own == NULL || own->is_ended) return;
    dbk_buf block;
    dbk_buf_init(&block, broker->allocator, 64 + operation->subject.size);
    static const char status[] = "NATS/1.0 503\r\n", name[] = "Nats-Subject: ", end[] = "\r\n";
    dbk_buf_append(&block, status, sizeof status - 1);
    if (broker->dial.version >= 212) {
        dbk_buf_append(&block, name, sizeof name - 1);
        dbk_buf_append_slice(&block, operation->subject);
        dbk_buf_append(&block, end, sizeof end - 1);
    }
    dbk_buf_append(&block, end, sizeof end - 1);
    if (!block.failed) {
        dbk_message message = {.subject = operation->reply,
                               .payload = daybook_bytes(block.data, block.size),
                               .header_size = block.size};
        dbk_frame frame = {.message = &message};
        dbk_client_deliver(client, own, &frame);
        dbk_block_unref(frame.block);
        own->delivered_count++;
        if (own->delivered_count == own->delivered_max) dbk_subscription_end(own);
    }
    dbk_buf_deinit(&block);
}

/// -ERR with a text that `say` makes.
static void refuse(dbk_client *client, dbk_slice subject, void (*say)(dbk_buf *text, dbk_slice subject)) {
    dbk_buf text;
    dbk_buf_init(&text, client->broker->allocator, 64 + subject.size);
    say(&text, subject);
    if (!text.failed) {
        dbk_client_send_error(client, "%.*s", (int)text.size, (const char *)text.data);
        dbk_client_log(client, ERROR, "%.*s", (int)text.size, (const char *)text.data);
    }
    dbk_buf_deinit(&text);
}

/// Nobody may have others answer there: whoever answers does it with rights of their own, and an answer to
/// $JS.API or $JS.ACK is a request. `_R_.` is what other NATS servers use among themselves.
static bool is_reserved(dbk_slice reply) {
    static const char *const beginnings[] = {"_R_.", "$JS.", "$SYS."};
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++) {
        size_t size = strlen(beginnings[i]);
        if (reply.size >= size && memcmp(reply.data, beginnings[i], size) == 0) return true;
    }
    return false;
}

static bool may_publish(dbk_client *client, const dbk_proto_operation *operation) {
    if (client->permissions != NULL &&
        !dbk_permissions_may_publish(client->permissions, operation->subject) &&
        !dbk_responses_use(client->responses, operation->subject, dbk_broker_now_ns(client->broker))) {
        refuse(client, operation->subject, dbk_permissions_publish_text);
        return false;
    }
    if (!is_reserved(operation->reply)) return true;
    refuse(client, operation->reply, dbk_permissions_reply_text);
    return false;
}

static void serve_publish(dbk_client *client, const dbk_proto_operation *operation, dbk_block *block) {
    dbk_broker *broker = client->broker;
    client->counters.in_messages++;
    client->counters.in_bytes += operation->payload.size;
    broker->counters.in_messages++;
    broker->counters.in_bytes += operation->payload.size;
    if (operation->verb == DBK_PROTO_HPUB && !client->headers) {
        dbk_client_log(client, ERROR, "message headers not supported");
        dbk_client_close(client, DBK_CLOSE_PROTOCOL, NULL);
        return;
    }
    // The publish goes on all the same: to whom wildcards are letters.
    if (client->pedantic && !dbk_subject_is_literal(operation->subject))
        dbk_client_send_error(client, "Invalid Publish Subject");
    if (!may_publish(client, operation)) return;
    confirm(client);
    dbk_message message = {
        .subject = operation->subject,
        .reply = operation->reply,
        .payload = operation->payload,
        .header_size = operation->header_size,
        .block = operation->payload.size > DBK_OUTBOX_COPY_MAX ? block : NULL,
    };
    size_t count = dbk_route(broker, client, &message);
    if (count == 0 && client->no_responders && operation->reply.size > 0)
        tell_no_responders(client, operation);
}

static void serve_pong(dbk_client *client) {
    client->pings_out = 0;
    if (client->ping_sent_ns == 0) return;
    client->rtt_ns = (int64_t)uv_hrtime() - client->ping_sent_ns;
    client->ping_sent_ns = 0;
}

/// `block`: what the operation lies in, where that may be referred to.
static void serve(dbk_client *client, const dbk_proto_operation *operation, dbk_block *block) {
    switch (operation->verb) {
    case DBK_PROTO_PUB:
    case DBK_PROTO_HPUB:
        serve_publish(client, operation, block);
        break;
    case DBK_PROTO_SUB:
        dbk_client_subscribe(client, operation);
        break;
    case DBK_PROTO_UNSUB:
        dbk_client_unsubscribe(client, operation);
        break;
    case DBK_PROTO_PING:
        dbk_client_send(client, "PONG\r\n", 6);
        if (client->awaits_account) dbk_client_tell_account(client);
        break;
    case DBK_PROTO_PONG:
        serve_pong(client);
        break;
    case DBK_PROTO_CONNECT:
        dbk_client_connect(client, operation->text);
        break;
    case DBK_PROTO_MINUS_ERR:
        close_for(client, DBK_CLOSE_PARSE, NULL);
        break;
    case DBK_PROTO_INFO:
    case DBK_PROTO_PLUS_OK:
        break; // said by servers; of no meaning from a client
    }
}

/// The bytes cannot be understood any further.
static void give_up(dbk_client *client, dbk_proto_result result, const dbk_proto_operation *operation) {
    switch (result) {
    case DBK_PROTO_NOT_CONNECT:
        client->broker->counters.auth_error_count++;
        close_for(client, DBK_CLOSE_AUTH, "Authorization Violation");
        break;
    case DBK_PROTO_LINE_TOO_LONG:
        close_for(client, DBK_CLOSE_CONTROL_LINE, "maximum control line exceeded");
        break;
    case DBK_PROTO_PAYLOAD_TOO_LARGE:
        close_for(client, DBK_CLOSE_PAYLOAD, "Maximum Payload Violation");
        break;
    case DBK_PROTO_BAD_FIELDS:
    case DBK_PROTO_BAD_SIZE:
        dbk_client_log(client, ERROR, "cannot be understood: '%.*s'",
                       (int)(operation->text.size < 100 ? operation->text.size : 100),
                       operation->text.size > 0 ? (const char *)operation->text.data : "");
        dbk_client_close(client, DBK_CLOSE_PROTOCOL, NULL);
        break;
    default:
        close_for(client, DBK_CLOSE_PARSE, "Unknown Protocol Operation");
        break;
    }
}

static const char *verb_text(dbk_proto_verb verb) {
    static const char *const texts[] = {"PUB",  "HPUB",    "SUB",  "UNSUB", "PING",
                                        "PONG", "CONNECT", "INFO", "+OK",   "-ERR"};
    return texts[verb];
}

static void trace(dbk_client *client, const dbk_proto_operation *operation) {
    char line[512];
    // CONNECT holds credentials.
    bool is_secret = operation->verb == DBK_PROTO_CONNECT;
    int length = snprintf(line, sizeof line, "%s %.*s", verb_text(operation->verb),
                          is_secret ? 5 : (int)(operation->text.size < 400 ? operation->text.size : 400),
                          is_secret                   ? "{...}"
                          : operation->text.size == 0 ? ""
                                                      : (const char *)operation->text.data);
    if (length > 0)
        dbk_client_trace(
            client, "<<-",
            daybook_bytes(line, (size_t)length < sizeof line ? (size_t)length : sizeof line - 1));
}

/// What is published, in quotes; control characters are made harmless by the log.
static void trace_payload(dbk_client *client, dbk_slice payload) {
    int64_t max = client->broker->options->log.traced_message_max;
    bool is_cut = max > 0 && payload.size > (uint64_t)max;
    size_t size = is_cut ? (size_t)max : payload.size;
    if (size > DBK_LOG_LINE_MAX) size = DBK_LOG_LINE_MAX; // where the line is cut
    dbk_client_log(client, TRACE, "<<- MSG_PAYLOAD: [\"%.*s%s\"]", (int)size,
                   size > 0 ? (const char *)payload.data : "", is_cut ? "..." : "");
}

static bool can_serve(const dbk_client *client) {
    return client->state == DBK_CLIENT_OPEN || client->state == DBK_CLIENT_GREETED;
}

/// Serves what is in `data`, and keeps the rest. `block`: client->rest where it lies there, NULL: the loop's
/// buffer.
static void understand(dbk_client *client, const uint8_t *data, size_t size, dbk_block *block) {
    dbk_broker *broker = client->broker;
    dbk_proto_operation operation;
    size_t wanted = 0;
    while (size > 0 && can_serve(client)) {
        client->parser.limits.connect_only = client->state == DBK_CLIENT_GREETED;
        dbk_proto_result result = dbk_proto_next(&client->parser, daybook_bytes(data, size), &operation);
        if (result == DBK_PROTO_MORE) {
            wanted = client->parser.wanted;
            break;
        }
        if (result != DBK_PROTO_OPERATION) {
            give_up(client, result, &operation);
            break;
        }
        if (broker->is_tracing) {
            trace(client, &operation);
            if (operation.verb <= DBK_PROTO_HPUB) trace_payload(client, operation.payload);
        }
        serve(client, &operation, block);
        data += operation.size;
        size -= operation.size;
    }
    if (dbk_client_is_open(client)) keep_rest(client, data, size, wanted);
}

void dbk_client_take_input(dbk_client *client, size_t size) {
    if (client->rest_size == 0) { // a reload may have changed them; not within an operation
        const dbk_limit_options *limits = &client->broker->options->limits;
        client->parser.limits.line_size_max = (size_t)limits->control_line_max;
        client->parser.limits.payload_size_max = (size_t)limits->payload_max;
    }
    if (client->gather_size > 0) {
        client->rest_size += size;
        understand(client, client->rest->data, client->rest_size, client->rest);
    } else {
        understand(client, client->broker->read_buffer, client->rest_size + size, NULL);
    }
}

// TLS.

/// Deciphers what there is and serves it.
static void pump(dbk_client *client) {
    for (;;) {
        size_t room_size, size = 0;
        uint8_t *room = dbk_client_input_room(client, &room_size);
        daybook_status status = dbk_tls_read(client->tls, room, room_size, &size);
        if (dbk_tls_outbox(client->tls)->size > 0) dbk_client_touch(client);
        if (client->state == DBK_CLIENT_HANDSHAKE && dbk_tls_is_done(client->tls)) dbk_client_secured(client);
        if (size > 0) dbk_client_take_input(client, size);
        if (status == DAYBOOK_END) {
            dbk_client_close(client, DBK_CLOSE_CLIENT, NULL);
            return;
        }
        if (status != DAYBOOK_OK) {
            bool is_handshake = client->state == DBK_CLIENT_HANDSHAKE;
            dbk_client_log(client, ERROR, "TLS %s error: %s", is_handshake ? "handshake" : "read",
                           dbk_tls_failure(client->tls));
            dbk_client_close(client, is_handshake ? DBK_CLOSE_TLS : DBK_CLOSE_READ, NULL);
            return;
        }
        if (size == 0 || !can_serve(client)) return;
    }
}

enum { TLS_RECORD_HANDSHAKE = 0x16 };

/// The first bytes of a connection that may use TLS say whether it does. False: it must, and does not.
static bool begin_handshake(dbk_client *client, const uint8_t *data) {
    if (data[0] == TLS_RECORD_HANDSHAKE) {
        client->is_ciphered = true;
        return true;
    }
    if (client->broker->options->allow_non_tls) {
        dbk_tls_free(client->tls);
        client->tls = NULL;
        dbk_client_secured(client);
        return true;
    }
    close_for(client, DBK_CLOSE_TLS, "Secure Connection - TLS Required");
    return false;
}

/// Handshakes compute for up to some milliseconds each, for anybody who connects. So all of a round together
/// have `handshakes_ns`; who comes then waits for the timer, in the order of coming, and is not read from.
static bool may_shake_hands(const dbk_broker *broker) {
    return broker->first_shaking == NULL && broker->shaken_ns < handshakes_ns;
}

static void shake_hands(dbk_client *client) {
    uint64_t begin_ns = uv_hrtime();
    pump(client);
    client->broker->shaken_ns += (int64_t)(uv_hrtime() - begin_ns);
}

static void wait_to_shake_hands(dbk_client *client) {
    dbk_broker *broker = client->broker;
    client->waits_to_shake = true;
    client->next_shaking = NULL;
    if (broker->first_shaking == NULL) {
        broker->first_shaking = dbk_client_ref(client);
    } else {
        broker->last_shaking->next_shaking = dbk_client_ref(client);
    }
    broker->last_shaking = client;
    dbk_client_update_reading(client);
    if (!broker->shaking_timer.is_active)
        dbk_broker_start_timer(broker, &broker->shaking_timer, DBK_MILLISECOND_NS);
}

void dbk_broker_shake_hands(dbk_timer *timer) {
    dbk_broker *broker = DBK_OWNER(timer, dbk_broker, shaking_timer);
    while (broker->first_shaking != NULL) {
        dbk_client *client = broker->first_shaking;
        if (client->state == DBK_CLIENT_HANDSHAKE && broker->shaken_ns >= handshakes_ns) break;
        broker->first_shaking = client->next_shaking;
        client->waits_to_shake = false;
        if (client->state == DBK_CLIENT_HANDSHAKE) shake_hands(client);
        dbk_client_update_reading(client);
        dbk_client_unref(client);
    }
    if (broker->first_shaking != NULL) dbk_broker_start_timer(broker, timer, DBK_MILLISECOND_NS);
}

static void take_ciphertext(dbk_client *client, const uint8_t *data, size_t size) {
    if (dbk_tls_feed(client->tls, data, size) != DAYBOOK_OK) {
        dbk_client_close(client, DBK_CLOSE_MEMORY, NULL);
    } else if (client->state != DBK_CLIENT_HANDSHAKE) {
        pump(client);
    } else if (may_shake_hands(client->broker)) {
        shake_hands(client);
    } else {
        wait_to_shake_hands(client);
    }
}

/// Bytes of a connection that has a filter: they are in the cipher buffer.
static void take_filtered(dbk_client *client, const uint8_t *data, size_t size) {
    if (!client->is_ciphered && !begin_handshake(client, data)) return;
    if (client->tls != NULL) {
        take_ciphertext(client, data, size);
        return;
    }
    // It turned out to be plain: its first bytes are in the other buffer.
    size_t room_size;
    uint8_t *room = dbk_client_input_room(client, &room_size);
    DBK_ASSERT(size <= room_size);
    memcpy(room, data, size);
    dbk_client_take_input(client, size);
}

// The socket.

static void on_alloc(uv_handle_t *handle, size_t suggested_size, uv_buf_t *buffer_out) {
    (void)suggested_size;
    dbk_client *client = handle->data;
    if (client->state == DBK_CLIENT_LINGERING || client->tls != NULL) {
        uint8_t *buffer = client->tls != NULL ? client->broker->cipher_buffer : client->broker->read_buffer;
        *buffer_out = uv_buf_init((char *)buffer, DBK_READ_BUFFER_SIZE);
        return;
    }
    size_t size;
    uint8_t *room = dbk_client_input_room(client, &size);
    *buffer_out = uv_buf_init((char *)room, (unsigned)size);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer) {
    dbk_client *client = stream->data;
    if (size == 0) return;
    if (size < 0) {
        dbk_client_close(client, size == UV_EOF || size == UV_ECONNRESET ? DBK_CLOSE_CLIENT : DBK_CLOSE_READ,
                         NULL);
        return;
    }
    if (!dbk_client_is_open(
            client)) { // what comes while it lingers is not looked at; but it does not know yet
        if (client->state == DBK_CLIENT_LINGERING) dbk_client_go_on_lingering(client);
        return;
    }
    client->heard_ns = dbk_broker_now_ns(client->broker);
    if (client->tls != NULL) {
        take_filtered(client, (const uint8_t *)buffer->base, (size_t)size);
    } else {
        dbk_client_take_input(client, (size_t)size);
    }
}

static bool wants_reading(const dbk_client *client) {
    switch (client->state) {
    case DBK_CLIENT_HANDSHAKE:
        return !client->waits_to_shake;
    case DBK_CLIENT_GREETED:
        return true;
    case DBK_CLIENT_OPEN:
        if (client->broker->is_stopping) return false;
        // Once stopped it goes on when half of what was held is released.
        return !client->is_stalled &&
               client->held_size <= (client->is_reading ? DBK_CLIENT_HELD_MAX : DBK_CLIENT_HELD_MAX / 2);
    case DBK_CLIENT_LINGERING:
        return true;
    case DBK_CLIENT_CHECKING:
    case DBK_CLIENT_CLOSING:
    case DBK_CLIENT_CLOSED:
        break;
    }
    return false;
}

void dbk_client_update_reading(dbk_client *client) {
    bool wants = wants_reading(client);
    if (wants == client->is_reading || !client->has_tcp) return;
    if (!wants) {
        (void)uv_read_stop((uv_stream_t *)&client->tcp);
    } else if (uv_read_start((uv_stream_t *)&client->tcp, on_alloc, on_read) != 0) {
        dbk_client_close(client, DBK_CLOSE_READ, NULL);
        return;
    }
    client->is_reading = wants;
}

void dbk_client_resume(dbk_client *client) {
    if (client->rest_size > 0 && can_serve(client)) {
        understand(client, client->rest->data, client->rest_size, client->rest);
    }
    if (client->tls != NULL && can_serve(client)) pump(client);
    dbk_client_update_reading(client);
}

void dbk_client_forget_input(dbk_client *client) {
    forget_rest(client);
}
