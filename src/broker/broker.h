// SPDX-License-Identifier: Apache-2.0
// The broker: connections, subscriptions and the routing of messages between them, on one loop. What is
// served on top of it (JetStream, the monitor) and what starts and ends it (the server) stand above; it knows
// none of them:
//
//     services    (route.h) take messages of subjects
//     observer    is told of connections that end
//     hooks       are called when the loop was woken, and when a round of it ends
//
// Threads. ONE loop thread owns connections, subscriptions, the trie, timers, and everything here that is not
// marked; so none of it has a lock. Workers (jobs.h) do what may wait for the disk, and hand results back as
// finished jobs. Others wake the loop.
//
// A round of the loop: libuv calls timers, reads, finished jobs; what they produce is collected in outboxes;
// when nothing is left to read, before the loop sleeps, all touched connections are flushed, and those to be
// closed are closed (broker.c, end_round).
#ifndef DBK_BROKER_BROKER_H
#define DBK_BROKER_BROKER_H

#include <uv.h>

#include "api/dial.h"
#include "base/keyed_hash.h"
#include "base/time.h"
#include "broker/client.h"
#include "broker/jobs.h"
#include "broker/log.h"
#include "broker/outbox.h"
#include "broker/route.h"
#include "broker/timer.h"
#include "interest/interest.h"
#include "options/options.h"

struct dbk_tls_context;

enum {
    DBK_BROKER_ID_SIZE = 56,
    DBK_READ_BUFFER_SIZE = 64 * 1024,
};

typedef struct dbk_broker_counters {
    uint64_t in_messages, in_bytes, out_messages, out_bytes;
    uint64_t connection_total; // ever accepted
    uint64_t slow_consumer_count;
    uint64_t stale_connection_count;
    uint64_t auth_error_count;
    uint64_t stall_count; // publishers that had to wait for a receiver
} dbk_broker_counters;

/// Checks of credentials that take long, see client_check.c.
typedef struct dbk_checks {
    struct dbk_auth_job *first, *last; // waiting
    unsigned running_count;
    uint64_t turn;
    uint64_t turns[256]; // of the place an address has: when one of it began last
} dbk_checks;

/// Who is told of connections, on the loop. NULL: nobody.
typedef struct dbk_broker_observer {
    /// It ends, and still has its subscriptions.
    void (*client_closed)(void *context, dbk_client *client);
    /// It leaves the list of connections.
    void (*client_left)(void *context, const dbk_client *client);
    void *context;
} dbk_broker_observer;

struct dbk_broker {
    // Constant after start.
    const daybook_allocator *allocator;
    daybook_vfs *vfs;
    dbk_log *log;
    char id[DBK_BROKER_ID_SIZE + 1];
    char url[300];
    int port;
    char *announced_version; // no reload changes it
    dbk_api_dial dial;       // what follows from it
    int64_t start_real_ns;
    uint8_t seed[32]; // secret: of hashes over what clients choose
    dbk_hash_key hash_key;
    bool has_jetstream; // clients are told so
    dbk_broker_observer observer;
    void (*woken)(struct dbk_broker *broker);       // hooks, see above; finished jobs are collected before
    void (*round_ended)(struct dbk_broker *broker); // connections are settled before

    // The loop's.
    uv_loop_t loop;
    uv_tcp_t listener;
    uv_prepare_t prepare;
    uv_async_t wake;
    uv_timer_t alarm; // for `timers`
    dbk_timers timers;
    bool has_loop;   // the five exist
    bool is_tracing; // the protocol goes to the log
    // Swapped by a reload, which frees the old ones: only the loop reads them, and keeps nothing of them;
    // what lives longer (jobs, JetStream) has copies.
    dbk_options *options;
    int64_t options_real_ns;     // when they were read
    dbk_auth *auth;              // swapped with it
    dbk_checks checks;           // that take long
    struct dbk_tls_context *tls; // swapped with it; NULL: no TLS
    dbk_interest *interest;
    dbk_jobs *jobs;
    dbk_outbox_pool pool;
    dbk_client *first_client, *last_client;
    size_t client_count;
    uint64_t client_id_last;
    dbk_client *touched;
    struct dbk_subscription *ended; // had their last message
    dbk_client *stalled;            // publishers that wait for a receiver
    dbk_timer stall_timer;
    dbk_timer accept_timer;                   // a connection waits for memory
    uint32_t accepted_count;                  // connections taken in this round
    bool has_to_accept;                       // another one waits in libuv for the next round
    dbk_client *first_shaking, *last_shaking; // handshakes that wait for their turn
    int64_t shaken_ns;                        // what those of this round took
    dbk_timer shaking_timer;
    int64_t log_full_ns; // see client_log.c
    uint64_t left_out_count;
    dbk_timer log_timer;
    uint32_t route_depth;
    dbk_service **noted; // services to be called for the messages being routed, a stack
    size_t noted_count, noted_capacity;
    dbk_service *dead_services; // removed while messages are routed
    uint64_t statement_count;   // what it told of itself, numbered
    uint64_t random;            // state of a small generator, for members of queue groups
    dbk_broker_counters counters;
    bool is_lame_duck; // clients are told so
    bool is_stopping;  // nothing is read any more
    bool is_listening;
    uint8_t *read_buffer;   // one for all connections: DBK_READ_BUFFER_SIZE
    uint8_t *cipher_buffer; // the same before it is deciphered
};

/// Monotonic, good for milliseconds, taken when the loop woke up. Loop only.
static inline int64_t dbk_broker_now_ns(const dbk_broker *broker) {
    return (int64_t)uv_now(&broker->loop) * 1000000;
}
/// Real time. Any thread.
static inline int64_t dbk_broker_clock_ns(const dbk_broker *broker) {
    return broker->vfs->clock_real_ns(broker->vfs);
}
/// `delay_ns` from now; where that is beyond all times, never. Loop only.
static inline void dbk_broker_start_timer(dbk_broker *broker, dbk_timer *timer, int64_t delay_ns) {
    dbk_timer_start_at(&broker->timers, timer, dbk_time_after(dbk_broker_now_ns(broker), delay_ns));
}
static inline void dbk_broker_stop_timer(dbk_broker *broker, dbk_timer *timer) {
    dbk_timer_stop(&broker->timers, timer);
}
/// Not for secrets. Loop only.
uint64_t dbk_broker_random(dbk_broker *broker);

// Life. In the order of a server's: draw, make, listen, run by uv_run; then, on the loop: stop,
// close_clients, end.

/// Its id and its secrets. What the vfs gives where it has no entropy.
daybook_status dbk_broker_draw(dbk_broker *broker, daybook_error *error);
/// Buffers, interest, the loop, its workers; allocator, vfs, log, options and hooks are set. Where it fails
/// dbk_broker_deinit takes down what there is, after dbk_broker_end and the loop, where has_loop. EMFILE,
/// ENOMEM.
daybook_status dbk_broker_make(dbk_broker *broker, daybook_error *error);
/// Bind and listen where options->client has a port; port and url are then known.
daybook_status dbk_broker_listen(dbk_broker *broker, daybook_error *error);
/// From any thread, while the loop is there.
void dbk_broker_wake(dbk_broker *broker);
/// Nobody new is taken.
void dbk_broker_close_listener(dbk_broker *broker);
/// Nor is anything read.
void dbk_broker_stop(dbk_broker *broker);
/// All connections are flushed and closed; the last is gone when first_client is NULL at the end of a round.
void dbk_broker_close_clients(dbk_broker *broker);
/// The workers end, their jobs are collected. No connection is left.
void dbk_broker_stop_jobs(dbk_broker *broker);
/// The loop's own handles close, so that uv_run returns. Nobody wakes it any more.
void dbk_broker_end(dbk_broker *broker);
/// Behind the loop.
void dbk_broker_deinit(dbk_broker *broker);

/// The first address of `host`, of version 4 where there is one. An error of libuv, or 0. Before the loop
/// runs, as it waits.
int dbk_broker_resolve(dbk_broker *broker, const char *host, int port, struct sockaddr_storage *address_out);

// For the files of the broker.

/// Handshakes that waited go on.
void dbk_broker_shake_hands(dbk_timer *shaking_timer);
/// How many lines about connections were left out.
void dbk_broker_tell_left_out(dbk_timer *log_timer);
/// Publishers that wait for a receiver may go on.
void dbk_broker_end_stalls(dbk_broker *broker);

/// dbk_log_write of its log; `level` without DAYBOOK_SERVER_LOG_: ERROR WARNING INFO DEBUG TRACE FATAL. Any
/// thread.
#define dbk_broker_log(broker, level, ...) \
    dbk_log_write((broker)->log, DAYBOOK_SERVER_LOG_##level, __VA_ARGS__)

#endif
