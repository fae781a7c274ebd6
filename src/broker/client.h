// SPDX-License-Identifier: Apache-2.0
// A connection and its subscriptions. Loop thread only.
//
//                     TLS done                 CONNECT, checked
//     HANDSHAKE ------------------> GREETED --------------------> OPEN
//         |                            |  \ slow check / done       |
//         |                            |   CHECKING                 |
//         +----------------------------+---------+------------------+
//                                      | dbk_client_close
//                                      v
//                                   CLOSING  ----> LINGERING ---> CLOSED     freed with the last reference
//                              (until the round ends)  (said why, waits for the other side, a second at most)
//
// Where nobody must say who they are, a connection begins OPEN and CONNECT only sets what it wants.
// dbk_client_close marks and changes nothing else, so that whoever is in the middle of routing may call it:
// subscriptions leave the trie when the round ends. From then on nothing is read from the connection, and
// nothing but the reason written.
//
// Memory when idle: this struct, and nothing of buffers.
#ifndef DBK_BROKER_CLIENT_H
#define DBK_BROKER_CLIENT_H

#include <uv.h>

#include "auth/auth.h"
#include "base/link_table.h"
#include "broker/outbox.h"
#include "broker/route.h"
#include "broker/timer.h"
#include "proto/parser.h"

typedef enum dbk_client_state {
    DBK_CLIENT_HANDSHAKE,
    DBK_CLIENT_GREETED,
    DBK_CLIENT_CHECKING,
    DBK_CLIENT_OPEN,
    DBK_CLIENT_CLOSING,
    DBK_CLIENT_LINGERING,
    DBK_CLIENT_CLOSED
} dbk_client_state;

/// Why a connection ended, in the words NATS uses in its log and in /connz.
#define DBK_CLOSE_REASONS(X)                               \
    X(CLIENT, "Client Closed")                             \
    X(AUTH_TIMEOUT, "Authentication Timeout")              \
    X(AUTH, "Authentication Failure")                      \
    X(TLS, "TLS Handshake Failure")                        \
    X(SLOW_PENDING, "Slow Consumer (Pending Bytes)")       \
    X(SLOW_DEADLINE, "Slow Consumer (Write Deadline)")     \
    X(WRITE, "Write Error")                                \
    X(READ, "Read Error")                                  \
    X(PARSE, "Parse Error")                                \
    X(STALE, "Stale Connection")                           \
    X(PROTOCOL, "Protocol Violation")                      \
    X(BAD_PROTOCOL_VERSION, "Bad Client Protocol Version") \
    X(CONNECTIONS, "Maximum Connections Exceeded")         \
    X(PAYLOAD, "Maximum Message Payload Exceeded")         \
    X(CONTROL_LINE, "Maximum Control Line Exceeded")       \
    X(NO_HEADERS, "No Responders Requires Headers")        \
    X(CREDENTIALS, "Credentials Revoked")                  \
    X(MEMORY, "Out Of Memory")                             \
    X(SHUTDOWN, "Server Shutdown")

typedef enum dbk_close_reason {
#define DBK_CLOSE_REASON_NAME(name, text) DBK_CLOSE_##name,
    DBK_CLOSE_REASONS(DBK_CLOSE_REASON_NAME)
#undef DBK_CLOSE_REASON_NAME
} dbk_close_reason;
const char *dbk_close_reason_text(dbk_close_reason reason);

/// What is at the end of an interest entry: entry.subscriber points here.
typedef struct dbk_subscriber {
    dbk_interest_entry entry;
    dbk_client *client; // NULL: a service
} dbk_subscriber;

/// A client's subscription. The texts lie behind it: sid, filter, queue group.
typedef struct dbk_subscription {
    dbk_subscriber subscriber;
    dbk_table_link link;                 // in client->subscriptions; size: of the sid
    struct dbk_subscription *next_ended; // of broker->ended
    uint64_t delivered_count;
    uint64_t delivered_max; // UNSUB with a number; 0: none
    uint32_t filter_size;
    uint32_t queue_group_size;
    bool is_ended;   // it had its last message: it goes when the round ends
    bool is_checked; // permissions must be asked at each delivery: a deny rule overlaps the filter
    char text[];
} dbk_subscription;

static inline dbk_slice dbk_subscription_sid(const dbk_subscription *subscription) {
    return daybook_bytes(subscription->text, subscription->link.size);
}
static inline dbk_slice dbk_subscription_filter(const dbk_subscription *subscription) {
    return daybook_bytes(subscription->text + subscription->link.size, subscription->filter_size);
}
static inline dbk_slice dbk_subscription_queue_group(const dbk_subscription *subscription) {
    return daybook_bytes(subscription->text + subscription->link.size + subscription->filter_size,
                         subscription->queue_group_size);
}

/// What CONNECT said and people want to see later: bounded, NUL-terminated, "" where absent. One allocation;
/// NULL before.
typedef struct dbk_client_facts {
    const char *name, *lang, *version;
    char text[];
} dbk_client_facts;

typedef struct dbk_client_counters {
    uint64_t in_messages, in_bytes, out_messages, out_bytes;
} dbk_client_counters;

struct dbk_tls;

struct dbk_client {
    // What each delivery touches, close together.
    dbk_broker *broker;
    dbk_client_state state;
    bool is_broken;          // its output cannot be continued
    bool is_touched;         // in broker->touched: it has output to flush, or is to be closed
    bool is_writing;         // `write` waits for the socket
    bool echo, headers;      // as CONNECT said
    bool has_stalled_others; // it is behind, and publishers wait for it
    dbk_outbox outbox;       // what waits to be sent
    dbk_client_counters counters;
    dbk_responses *responses;     // where the user may answer; else NULL
    dbk_permissions *permissions; // of the user, a reference; NULL: no restriction
    struct dbk_client *next_touched;
    uint32_t reference_count;

    // What it says, and what of it is not complete: an operation's beginning, or one large publish being
    // gathered.
    bool verbose, pedantic, no_responders;
    uint8_t protocol;
    dbk_proto_parser parser;
    dbk_block *rest;
    size_t rest_size;
    size_t gather_size;           // 0, or the size up to which is read right into `rest`
    size_t held_size;             // bytes of its publishes and requests under way, see dbk_client_hold
    dbk_link_table subscriptions; // by sid
    // JetStream's numbers (order.h) of the last it published into a stream, and of the last without an
    // acknowledgement; 0: nothing.
    uint64_t publish_number, untold_number;

    // Who it is.
    uint64_t id;
    dbk_auth *auth;       // whose `user` is; a reference. NULL: not checked yet
    const dbk_user *user; // NULL: nobody in particular
    dbk_client_facts *facts;
    struct dbk_auth_job *auth_job; // CHECKING
    char nonce[24];                // NUL-terminated, "" where none was given
    char address[46];              // numeric
    int port;

    // Its life.
    dbk_close_reason close_reason;
    bool has_tcp;                       // the handle must be closed before the memory goes
    bool is_reading;                    // the loop reads from it
    bool is_stalled;                    // a receiver is behind: publishing waits a moment
    bool is_greeted;                    // INFO was sent
    bool is_ciphered;                   // bytes pass through `tls` now
    bool is_shut;                       // LINGERING: our side is shut down
    bool is_abandoned;                  // LINGERING: the other side is gone, or the time over
    bool tells_reason;                  // CLOSING: it is told why, and should have the time to read it
    bool waits_for_handshake;           // no INFO before it
    bool awaits_account;                // see dbk_client_tell_account
    bool waits_to_shake;                // HANDSHAKE: it has sent its part, and others are before it
    struct dbk_client *next_shaking;    // of broker->first_shaking, which holds a reference
    struct dbk_client *next, *previous; // from broker->first_client, oldest first
    struct dbk_client *next_stalled;    // of broker->stalled, which holds a reference
    dbk_timer timer;                    // to say CONNECT; then pings; then lingering
    int64_t linger_end_ns;              // the latest
    dbk_timer write_timer;              // runs while a write waits
    uint32_t pings_out;
    int64_t started_ns;   // real time
    int64_t heard_ns;     // the loop's time: when something came from it last
    int64_t ping_sent_ns; // precise; 0: answered
    int64_t rtt_ns;       // 0: not known
    int64_t log_full_ns;  // see client_log.c
    uint64_t left_out_count;
    int64_t greeting_ns; // from its coming to CONNECT: all that is known before a PING is answered

    // Its socket.
    struct dbk_tls *tls; // NULL: plain
    uv_tcp_t tcp;
    uv_write_t write; // the one write that waits for the socket
    dbk_outbox *writing_from;
    size_t writing_size;
    size_t waiting_mark; // what libuv still had of it when last looked at
    uv_shutdown_t shutdown;
};

// For everybody.

static inline bool dbk_client_is_open(const dbk_client *client) {
    return client->state < DBK_CLIENT_CLOSING;
}
static inline dbk_client *dbk_client_ref(dbk_client *client) {
    client->reference_count++;
    return client;
}
/// LINGERING: it still says something, so give it all the time there is.
void dbk_client_go_on_lingering(dbk_client *client);
/// NULL is fine.
void dbk_client_unref(dbk_client *client);

/// Backpressure: `size` bytes of what it published are on their way to the disk, or kept while it is
/// answered. Above DBK_CLIENT_HELD_MAX nothing more is read from it until enough are released. Each hold is
/// released once, whether the connection still lives or not; keep a reference between.
void dbk_client_hold(dbk_client *client, size_t size);
void dbk_client_release(dbk_client *client, size_t size);
enum { DBK_CLIENT_HELD_MAX = 8 << 20 };

/// "-ERR '<text>'", the connection goes on.
void dbk_client_send_error(dbk_client *client, const char *format, ...) __attribute__((format(printf, 2, 3)));
/// When the round ends; the first reason counts. `error_text` is sent before, NULL: nothing.
void dbk_client_close(dbk_client *client, dbk_close_reason reason, const char *error_text);

// For the server's own files.

/// What MSG lines to the receivers of one message have in common, made once. Zeroed but for `message` at
/// first.
typedef struct dbk_frame {
    const dbk_message *message;
    dbk_block *block;       // the payload, where it is referred to; a reference, NULL until somebody needs it
    const uint8_t *payload; // in the block, or as borrowed
    uint8_t tail_size[2];   // [1]: with headers. 0: not made yet
    char tail[2][48];       // " <size>\r\n" and " <header size> <size>\r\n"
} dbk_frame;

/// Those its user may not have any more; it is told of each.
void dbk_client_drop_forbidden_subscriptions(dbk_client *client);
/// A connection that waits on `listener`.
void dbk_client_accept(dbk_broker *broker, uv_stream_t *listener);
/// Into its outbox, as MSG or HMSG for `subscription`. Nothing is checked. What cannot be had memory for
/// closes it.
void dbk_client_deliver(dbk_client *client, const dbk_subscription *subscription, dbk_frame *frame);
/// Write what its outbox holds as far as the socket takes it.
void dbk_client_flush(dbk_client *client);
/// Bytes that wait to be sent.
size_t dbk_client_waiting_size(dbk_client *client);
void dbk_client_write_timer_fired(dbk_timer *timer);
/// A line of the protocol for the log, up to its end; `direction` as NATS writes it, "<<-" or "->>".
void dbk_client_trace(dbk_client *client, const char *direction, dbk_slice line);
/// A line about it, with its address before; `level` as with dbk_broker_log. Left out and counted where there
/// are too many (client_log.c).
#define dbk_client_log(client, level, ...) \
    dbk_client_log_line((client), DAYBOOK_SERVER_LOG_##level, __VA_ARGS__)
void dbk_client_log_line(dbk_client *client, int level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/// It ends: what was left out is told.
void dbk_client_end_log(dbk_client *client);
/// It is in the list of those to be flushed or closed when the round ends.
void dbk_client_touch(dbk_client *client);
/// What the end of a round does with a touched one.
void dbk_client_settle(dbk_client *client);
/// After a reload: may who was `old` (NULL: nobody in particular) go on, and as whom?
bool dbk_client_is_still(dbk_client *client, const dbk_user *old, const dbk_user **user_out);
/// After a reload: take away what it may not have any more; where it is nobody any more, close it.
void dbk_client_reauthorize(dbk_client *client);
/// After a reload: limits that are not looked up each time. Its pings begin anew.
void dbk_client_take_limits(dbk_client *client);
/// Bytes the other side sent: from the socket, or deciphered. `room` is where to put them.
uint8_t *dbk_client_input_room(dbk_client *client, size_t *size_out);
void dbk_client_take_input(dbk_client *client, size_t size);
/// Where its bytes go is certain: greet it, where it was not, and see who it is.
void dbk_client_secured(dbk_client *client);
void dbk_client_forget_input(dbk_client *client);
/// Go on with what was received and kept while it could not be served, then read on.
void dbk_client_resume(dbk_client *client);
/// Read from it, or do not, as its state wants.
void dbk_client_update_reading(dbk_client *client);
/// Serves CONNECT. What cannot be read ends the connection.
void dbk_client_connect(dbk_client *client, dbk_slice json);
/// It may publish and subscribe.
void dbk_client_welcome(dbk_client *client);
/// Before it said anything: let it in, where everybody may come.
void dbk_client_enter_unnamed(dbk_client *client);
/// Says who it is: lets it in or refuses it, perhaps later (client_check.c).
void dbk_client_check(dbk_client *client, dbk_credentials *credentials);
/// The client closes before the answer.
void dbk_client_cancel_check(dbk_client *client);
/// `auth` is a reference, which the client takes over; `user` is of it.
void dbk_client_let_in(dbk_client *client, dbk_auth *auth, const dbk_user *user);
void dbk_client_refuse(dbk_client *client);
void dbk_client_refuse_subscription(dbk_client *client, dbk_slice filter, dbk_slice queue_group);
/// SUB, UNSUB; `dbk_client_drop_subscription` takes one out of trie and table and frees it.
void dbk_client_subscribe(dbk_client *client, const dbk_proto_operation *operation);
void dbk_client_unsubscribe(dbk_client *client, const dbk_proto_operation *operation);
void dbk_client_drop_subscription(dbk_client *client, dbk_subscription *subscription);
void dbk_client_drop_all_subscriptions(dbk_client *client);
/// It had its last message: it goes when the round ends.
void dbk_subscription_end(dbk_subscription *subscription);
/// It published to somebody who is far behind: nothing is read from it for a moment.
void dbk_client_stall(dbk_client *client);
/// Bytes into its outbox; closes it where there is no memory.
void dbk_client_send(dbk_client *client, const void *data, size_t size);
/// The subscription with this sid, NULL: none.
dbk_subscription *dbk_client_find_subscription(const dbk_client *client, dbk_slice sid);
void dbk_client_send_info(dbk_client *client);
/// The same once it is known who it is, from 2.12 on behind the answer to its first PING.
void dbk_client_tell_account(dbk_client *client);

#endif
