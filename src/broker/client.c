// SPDX-License-Identifier: Apache-2.0
// A connection from accept to its end: greeting, deadlines, pings, closing. What it says is read in
// client_read.c, what it gets is written in client_write.c.
//
// Closing has two steps, because whoever closes may be in the middle of routing. dbk_client_close marks, and
// appends the reason where there is one to be told; dbk_client_settle, when the round ends, takes the
// subscriptions out of the trie, writes what waits, and closes the socket. Where a reason was told our side
// is shut down first and the other side given `linger_ns` to close, its bytes thrown away: a socket that is
// closed with unread bytes is reset, and the reason would be lost with it. So it is when the server ends, for
// what was acknowledged: then who has nothing more to say or to hear has `quiet_linger_ns` only.
//
// The memory goes with the last reference: one is the socket's, others those of checks, publishes under way,
// stalls.
#include "broker/client.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/time.h"
#include "broker/broker.h"
#include "broker/info.h"
#include "broker/tls.h"

enum { DESCRIPTORS_KEPT = 64 };
static const int64_t linger_ns = DBK_SECOND_NS;
static const int64_t quiet_linger_ns = 50 * DBK_MILLISECOND_NS;
static const int64_t first_ping_ns = DBK_SECOND_NS;
static const int64_t stall_ns = 5 * DBK_MILLISECOND_NS;
static const int64_t accept_again_ns = 100 * DBK_MILLISECOND_NS;

const char *dbk_close_reason_text(dbk_close_reason reason) {
    static const char *const texts[] = {
#define DBK_CLOSE_REASON_TEXT(name, text) text,
        DBK_CLOSE_REASONS(DBK_CLOSE_REASON_TEXT)
#undef DBK_CLOSE_REASON_TEXT
    };
    return texts[reason];
}

// Memory.

void dbk_client_unref(dbk_client *client) {
    if (client == NULL || --client->reference_count > 0) return;
    DBK_ASSERT(client->state == DBK_CLIENT_CLOSED && client->subscriptions.count == 0);
    const daybook_allocator *allocator = client->broker->allocator;
    dbk_client_forget_input(client);
    dbk_outbox_reset(&client->outbox);
    dbk_tls_free(client->tls);
    dbk_responses_free(client->responses);
    dbk_permissions_unref(client->permissions);
    dbk_auth_unref(client->auth);
    dbk_free(allocator, client->facts);
    dbk_free(allocator, client);
}

static void link_client(dbk_client *client) {
    dbk_broker *broker = client->broker;
    client->previous = broker->last_client;
    if (broker->last_client != NULL) {
        broker->last_client->next = client;
    } else {
        broker->first_client = client;
    }
    broker->last_client = client;
    broker->client_count++;
}

static void unlink_client(dbk_client *client) {
    dbk_broker *broker = client->broker;
    if (broker->observer.client_left != NULL) broker->observer.client_left(broker->observer.context, client);
    if (client->previous != NULL) {
        client->previous->next = client->next;
    } else {
        broker->first_client = client->next;
    }
    if (client->next != NULL) {
        client->next->previous = client->previous;
    } else {
        broker->last_client = client->previous;
    }
    client->next = client->previous = NULL;
}

// The end.

void dbk_client_touch(dbk_client *client) {
    if (client->is_touched) return;
    client->is_touched = true;
    client->next_touched = client->broker->touched;
    client->broker->touched = dbk_client_ref(client);
}

static void send_error_line(dbk_client *client, const char *text) {
    dbk_client_send(client, "-ERR '", 6);
    dbk_client_send(client, text, strlen(text));
    dbk_client_send(client, "'\r\n", 3);
}

void dbk_client_send_error(dbk_client *client, const char *format, ...) {
    char text[1024]; // longer subjects are cut
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    send_error_line(client, text);
}

void dbk_client_close(dbk_client *client, dbk_close_reason reason, const char *error_text) {
    if (client->state == DBK_CLIENT_LINGERING) {
        client->is_abandoned = true; // nothing to wait for any more, whatever the reason
    } else if (dbk_client_is_open(client)) {
        if (error_text != NULL) send_error_line(client, error_text);
        client->tells_reason = error_text != NULL;
        client->close_reason = reason;
        if (reason == DBK_CLOSE_MEMORY) dbk_client_log(client, ERROR, "Out of memory: closing it");
        client->state = DBK_CLIENT_CLOSING;
        dbk_client_update_reading(client);
    }
    dbk_client_touch(client);
}

static void on_closed(uv_handle_t *handle) {
    dbk_client *client = handle->data;
    client->has_tcp = false;
    dbk_client_unref(client);
}

/// Close the socket, whatever waits.
static void finish(dbk_client *client) {
    dbk_broker *broker = client->broker;
    client->state = DBK_CLIENT_CLOSED;
    dbk_broker_stop_timer(broker, &client->timer);
    dbk_broker_stop_timer(broker, &client->write_timer);
    unlink_client(client);
    uv_close((uv_handle_t *)&client->tcp, on_closed);
}

/// Our side is done: once all is written the other one is told so.
static void shut_down(dbk_client *client) {
    if (client->is_shut || client->is_writing) return;
    client->is_shut = true;
    if (uv_shutdown(&client->shutdown, (uv_stream_t *)&client->tcp, NULL) != 0) finish(client);
}

static bool is_silent_end(const dbk_client *client) {
    switch (client->close_reason) {
    case DBK_CLOSE_WRITE:
    case DBK_CLOSE_READ:
    case DBK_CLOSE_SLOW_PENDING:
    case DBK_CLOSE_SLOW_DEADLINE:
    case DBK_CLOSE_MEMORY:
        return true;
    default:
        return client->is_broken;
    }
}

static void say_goodbye(dbk_client *client) {
    dbk_client_flush(client);
    if (client->tls == NULL || !client->is_ciphered || client->outbox.size > 0) return;
    dbk_tls_end(client->tls);
    dbk_client_flush(client);
}

static void leave(dbk_client *client) {
    dbk_broker *broker = client->broker;
    dbk_client_log(client, DEBUG, "Client connection closed: %s",
                   dbk_close_reason_text(client->close_reason));
    dbk_client_end_log(client);
    if (broker->observer.client_closed != NULL)
        broker->observer.client_closed(broker->observer.context, client);
    client->state = DBK_CLIENT_LINGERING;
    broker->client_count--;
    dbk_broker_stop_timer(broker, &client->timer);
    dbk_client_cancel_check(client);
    dbk_client_drop_all_subscriptions(client);
    dbk_client_forget_input(client);
    if (!is_silent_end(client)) say_goodbye(client);
    bool tells = client->tells_reason && !broker->is_stopping;
    bool lingers = (tells || client->close_reason == DBK_CLOSE_SHUTDOWN) && !is_silent_end(client);
    if (!lingers || client->is_abandoned) {
        finish(client);
        return;
    }
    client->linger_end_ns = dbk_broker_now_ns(broker) + linger_ns;
    if (tells || dbk_client_waiting_size(client) > 0) {
        dbk_client_go_on_lingering(client);
    } else {
        dbk_broker_start_timer(broker, &client->timer, quiet_linger_ns);
    }
    dbk_client_update_reading(client);
    if (dbk_client_waiting_size(client) == 0) shut_down(client);
}

void dbk_client_go_on_lingering(dbk_client *client) {
    if (client->timer.is_active && client->timer.due_ns >= client->linger_end_ns) return;
    dbk_timer_start_at(&client->broker->timers, &client->timer, client->linger_end_ns);
}

void dbk_client_settle(dbk_client *client) {
    switch (client->state) {
    case DBK_CLIENT_CLOSING:
        leave(client);
        break;
    case DBK_CLIENT_LINGERING:
        if (client->is_abandoned) {
            finish(client);
        } else if (dbk_client_waiting_size(client) == 0) {
            shut_down(client);
        }
        break;
    case DBK_CLIENT_CLOSED:
        break;
    default:
        dbk_client_flush(client);
        break;
    }
}

// Pings and deadlines: one timer, whose meaning is the state's.

static void start_pings(dbk_client *client) {
    int64_t interval_ns = client->broker->options->limits.ping_interval_ns;
    int64_t first_ns = interval_ns < first_ping_ns ? interval_ns : first_ping_ns;
    // Spread, so that a thousand that connect together are not pinged together.
    first_ns += (int64_t)(dbk_broker_random(client->broker) % (uint64_t)(first_ns / 5 + 1));
    dbk_broker_start_timer(client->broker, &client->timer, first_ns);
}

static void ping(dbk_client *client) {
    dbk_broker *broker = client->broker;
    const dbk_limit_options *limits = &broker->options->limits;
    int64_t idle_ns = dbk_broker_now_ns(broker) - client->heard_ns;
    if (client->rtt_ns > 0 && client->pings_out == 0 && idle_ns < limits->ping_interval_ns) {
        // It is alive, and how far away is known.
        dbk_broker_start_timer(broker, &client->timer, limits->ping_interval_ns - idle_ns);
        return;
    }
    if ((int64_t)client->pings_out >= limits->pings_out_max) {
        broker->counters.stale_connection_count++;
        dbk_client_log(client, DEBUG, "Stale Client Connection - Closing");
        dbk_client_close(client, DBK_CLOSE_STALE, "Stale Connection");
        return;
    }
    client->pings_out++;
    client->ping_sent_ns = (int64_t)uv_hrtime();
    dbk_client_send(client, "PING\r\n", 6);
    dbk_broker_start_timer(broker, &client->timer, limits->ping_interval_ns);
}

void dbk_client_take_limits(dbk_client *client) {
    if (client->state == DBK_CLIENT_OPEN) start_pings(client);
}

static void on_timer(dbk_timer *timer) {
    dbk_client *client = DBK_OWNER(timer, dbk_client, timer);
    switch (client->state) {
    case DBK_CLIENT_HANDSHAKE:
        if (!client->is_greeted && !client->waits_for_handshake) {
            // Handshake first, but nothing came: perhaps it waits for INFO.
            dbk_client_send_info(client);
            dbk_broker_start_timer(client->broker, timer, client->broker->options->tls.timeout_ns);
            break;
        }
        dbk_client_log(client, ERROR, "TLS handshake error: timeout");
        dbk_client_close(client, DBK_CLOSE_TLS, NULL);
        break;
    case DBK_CLIENT_GREETED:
    case DBK_CLIENT_CHECKING:
        dbk_client_log(client, DEBUG, "Authorization Timeout");
        dbk_client_close(client, DBK_CLOSE_AUTH_TIMEOUT, "Authentication Timeout");
        break;
    case DBK_CLIENT_OPEN:
        ping(client);
        break;
    case DBK_CLIENT_LINGERING:
        client->is_abandoned = true;
        dbk_client_touch(client);
        break;
    case DBK_CLIENT_CLOSING:
    case DBK_CLIENT_CLOSED:
        break;
    }
}

// Backpressure.

void dbk_client_hold(dbk_client *client, size_t size) {
    client->held_size += size;
    if (client->held_size > DBK_CLIENT_HELD_MAX) dbk_client_update_reading(client);
}

void dbk_client_release(dbk_client *client, size_t size) {
    DBK_ASSERT(size <= client->held_size);
    client->held_size -= size;
    if (!client->is_reading) dbk_client_update_reading(client);
}

void dbk_client_stall(dbk_client *client) {
    dbk_broker *broker = client->broker;
    if (client->is_stalled || client->state != DBK_CLIENT_OPEN) return;
    client->is_stalled = true;
    broker->counters.stall_count++;
    client->next_stalled = broker->stalled;
    broker->stalled = dbk_client_ref(client);
    dbk_client_update_reading(client);
    if (!broker->stall_timer.is_active) dbk_broker_start_timer(broker, &broker->stall_timer, stall_ns);
}

void dbk_broker_end_stalls(dbk_broker *broker) {
    while (broker->stalled != NULL) {
        dbk_client *client = broker->stalled;
        broker->stalled = client->next_stalled;
        client->is_stalled = false;
        dbk_client_update_reading(client);
        dbk_client_unref(client);
    }
}

// Greeting.

static void send_info(dbk_client *client, bool tells_account) {
    dbk_broker *broker = client->broker;
    const dbk_options *options = broker->options;
    bool has_tls = broker->tls != NULL;
    dbk_info info = {
        .server_id = broker->id,
        .server_name = options->server_name != NULL ? options->server_name : broker->id,
        .version = broker->dial.announced,
        .host = options->advertised.host != NULL ? options->advertised.host : options->client.host,
        .port = options->advertised.port != 0 ? options->advertised.port : broker->port,
        .headers = !options->no_headers,
        .auth_required = dbk_auth_is_required(broker->auth),
        .tls_required = has_tls && !options->allow_non_tls,
        .tls_verify = has_tls && options->tls.verify,
        .tls_available = has_tls && options->allow_non_tls,
        .payload_max = options->limits.payload_max,
        .jetstream = broker->has_jetstream,
        .client_id = client->id,
        .client_ip = client->address,
        .nonce = client->nonce,
        .domain = options->jetstream.domain,
        .lame_duck = broker->is_lame_duck,
        .connect_info = tells_account,
        .remote_account = tells_account ? options->auth.account_name : NULL,
        .api_level = (unsigned)dbk_api_dial_level(&broker->dial),
    };
    dbk_buf line;
    dbk_buf_init(&line, broker->allocator, 64 * 1024);
    dbk_info_write(&line, &info);
    if (line.failed) {
        dbk_client_close(client, DBK_CLOSE_MEMORY, NULL);
    } else {
        dbk_client_send(client, line.data, line.size);
        client->is_greeted = true;
    }
    dbk_buf_deinit(&line);
}

void dbk_client_send_info(dbk_client *client) {
    send_info(client, false);
}

void dbk_client_tell_account(dbk_client *client) {
    client->awaits_account = false;
    send_info(client, true);
}

void dbk_client_welcome(dbk_client *client) {
    bool was_open = client->state == DBK_CLIENT_OPEN && client->timer.is_active;
    client->state = DBK_CLIENT_OPEN;
    if (!was_open) start_pings(client);
}

void dbk_client_secured(dbk_client *client) {
    dbk_broker *broker = client->broker;
    if (!client->is_greeted) dbk_client_send_info(client);
    if (client->state >= DBK_CLIENT_CLOSING) return;
    client->state = DBK_CLIENT_GREETED;
    dbk_broker_start_timer(broker, &client->timer, broker->options->auth.timeout_ns);
    dbk_client_enter_unnamed(client);
}

/// False: memory or randomness is out.
static bool make_nonce(dbk_client *client) {
    dbk_broker *broker = client->broker;
    if (!dbk_auth_needs_nonce(broker->auth) && !broker->options->nonce_always) return true;
    uint8_t random[DBK_NONCE_RANDOM_SIZE];
    if (broker->vfs->entropy(broker->vfs, random, sizeof random) != 0) return false;
    dbk_nonce_make(random, client->nonce);
    return true;
}

static void greet(dbk_client *client) {
    dbk_broker *broker = client->broker;
    const dbk_options *options = broker->options;
    if (broker->tls == NULL) {
        dbk_client_secured(client);
        return;
    }
    if (dbk_tls_new(broker->tls, broker->allocator, &broker->pool, &client->tls) != DAYBOOK_OK) {
        dbk_client_close(client, DBK_CLOSE_MEMORY, NULL);
        return;
    }
    int64_t wait_ns = options->tls.timeout_ns;
    if (!options->tls.handshake_first) {
        dbk_client_send_info(client);
    } else if (options->tls.handshake_first_wait_ns > 0) {
        wait_ns = options->tls.handshake_first_wait_ns;
    } else {
        client->waits_for_handshake = true;
    }
    dbk_broker_start_timer(broker, &client->timer, wait_ns);
}

static void read_address(dbk_client *client) {
    struct sockaddr_storage address;
    int size = sizeof address;
    (void)snprintf(client->address, sizeof client->address, "unknown");
    if (uv_tcp_getpeername(&client->tcp, (struct sockaddr *)&address, &size) != 0) return;
    if (address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&address;
        (void)uv_ip6_name(six, client->address, sizeof client->address);
        client->port = ntohs(six->sin6_port);
    } else {
        const struct sockaddr_in *four = (const struct sockaddr_in *)&address;
        (void)uv_ip4_name(four, client->address, sizeof client->address);
        client->port = ntohs(four->sin_port);
    }
}

typedef enum room { ROOM, ROOM_NONE, ROOM_NOT_TO_TELL } room;

// Some descriptors are kept for files of the store, a reload and the log: with the last one gone, libuv would
// take connections and drop them without a word. Half of them may be used to tell the refused, which takes
// until they have heard. Asked each time, as the limit of a running process may be changed.
static room find_descriptors(dbk_client *client) {
    struct rlimit files;
    uv_os_fd_t number;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY ||
        uv_fileno((const uv_handle_t *)&client->tcp, &number) != 0)
        return ROOM;
    rlim_t kept = files.rlim_cur / 4 < DESCRIPTORS_KEPT ? files.rlim_cur / 4 : DESCRIPTORS_KEPT;
    if ((rlim_t)number < files.rlim_cur - kept) return ROOM;
    dbk_client_log(client, ERROR,
                   "maximum connections exceeded: the process may open only %" PRIu64
                   " files; raise its limit (ulimit -n, LimitNOFILE)",
                   (uint64_t)files.rlim_cur);
    return (rlim_t)number < files.rlim_cur - kept / 2 ? ROOM_NONE : ROOM_NOT_TO_TELL;
}

static room find_room(dbk_client *client) {
    const dbk_broker *broker = client->broker;
    int64_t max = broker->options->limits.connections_max;
    if (max < 0 || broker->client_count <= (uint64_t)max) return find_descriptors(client); // itself included
    dbk_client_log(client, ERROR, "maximum connections exceeded");
    return ROOM_NONE;
}

/// The socket is there: begin to talk.
static void begin(dbk_client *client) {
    dbk_broker *broker = client->broker;
    read_address(client);
    (void)uv_tcp_nodelay(&client->tcp, 1);
    client->id = ++broker->client_id_last;
    client->started_ns = dbk_broker_clock_ns(broker);
    client->heard_ns = dbk_broker_now_ns(broker);
    client->verbose = client->pedantic = client->echo = true;
    link_client(client);
    broker->counters.connection_total++;
    dbk_client_log(client, DEBUG, "Client connection created");
    if (!make_nonce(client)) {
        dbk_client_close(client, DBK_CLOSE_MEMORY, NULL);
        return;
    }
    greet(client);
    room left = find_room(client);
    if (left != ROOM) {
        dbk_client_close(client, DBK_CLOSE_CONNECTIONS,
                         left == ROOM_NONE ? "maximum connections exceeded" : NULL);
        return;
    }
    dbk_client_update_reading(client);
}

void dbk_client_accept(dbk_broker *broker, uv_stream_t *listener) {
    dbk_client *client = dbk_alloc_zeroed(broker->allocator, sizeof *client);
    if (client == NULL) {
        // The connection waits in libuv, which takes no other one before.
        dbk_broker_log(broker, ERROR, "Out of memory: a connection has to wait");
        dbk_broker_start_timer(broker, &broker->accept_timer, accept_again_ns);
        return;
    }
    client->broker = broker;
    client->reference_count = 1;
    dbk_outbox_init(&client->outbox, &broker->pool);
    dbk_timer_init(&client->timer, on_timer);
    dbk_timer_init(&client->write_timer, dbk_client_write_timer_fired);
    (void)uv_tcp_init(&broker->loop, &client->tcp); // makes no socket yet, so it cannot fail
    client->tcp.data = client;
    client->has_tcp = true;
    if (uv_accept(listener, (uv_stream_t *)&client->tcp) == 0) {
        begin(client);
        return;
    }
    client->state = DBK_CLIENT_CLOSED;
    uv_close((uv_handle_t *)&client->tcp, on_closed);
}

void dbk_client_trace(dbk_client *client, const char *direction, dbk_slice line) {
    const char *end = line.size > 0 ? memchr(line.data, '\r', line.size) : NULL;
    int size = end != NULL ? (int)(end - (const char *)line.data) : (int)line.size;
    dbk_client_log(client, TRACE, "%s [%.*s]", direction, size, (const char *)line.data);
}
