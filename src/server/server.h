// SPDX-License-Identifier: Apache-2.0
// A server: what its parts share.
//
// Threads. ONE loop thread owns connections, subscriptions, the trie, timers, and everything here that is not marked;
// so none of it has a lock. Workers (jobs.h) do what may wait for the disk, and hand results back as finished jobs. Callers
// of the public functions leave a wish (`wishes`) and wake the loop.
//
// A round of the loop: libuv calls timers, reads, finished jobs; what they produce is collected in outboxes; when nothing
// is left to read, before the loop sleeps, all touched connections are flushed, and those to be closed are closed
// (loop.c, end_round).
#ifndef DBK_SERVER_SERVER_H
#define DBK_SERVER_SERVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#include "api/dial.h"
#include "base/keyed_hash.h"
#include "base/time.h"
#include "daybook/server.h"
#include "interest/interest.h"
#include "options/options.h"
#include "server/client.h"
#include "server/jobs.h"
#include "server/log.h"
#include "server/outbox.h"
#include "server/route.h"
#include "server/timer.h"

struct dbk_jetstream;
struct dbk_tls_context;
struct dbk_monitor;

enum {
    DBK_SERVER_ID_SIZE = 56,
    DBK_READ_BUFFER_SIZE = 64 * 1024,
};

/// What callers from other threads wish for; bits of server->wishes.
enum { DBK_WISH_STOP = 1, DBK_WISH_LAME_DUCK = 2, DBK_WISH_RELOAD = 4 };

typedef struct dbk_server_counters {
    uint64_t in_messages, in_bytes, out_messages, out_bytes;
    uint64_t connection_total; // ever accepted
    uint64_t slow_consumer_count;
    uint64_t stale_connection_count;
    uint64_t auth_error_count;
    uint64_t stall_count; // publishers that had to wait for a receiver
} dbk_server_counters;

/// Checks of credentials that take long, see client_check.c.
typedef struct dbk_checks {
    struct dbk_auth_job *first, *last; // waiting
    unsigned running_count;
    uint64_t turn;
    uint64_t turns[256]; // of the place an address has: when one of it began last
} dbk_checks;

/// Files for others: written at start, taken away at the end or when a reload names others. NULL: none.
typedef struct dbk_left_files {
    char *pid_path, *ports_path;
} dbk_left_files;

struct daybook_server {
    // Constant after start.
    const daybook_allocator *allocator;
    daybook_vfs *vfs;
    dbk_log *log;
    char id[DBK_SERVER_ID_SIZE + 1];
    char program[64];
    char url[300];
    int port;
    char *announced_version; // no reload changes it
    dbk_api_dial dial;       // what follows from it
    int64_t start_real_ns;
    uint8_t seed[32]; // secret: of hashes over what clients choose
    dbk_hash_key hash_key;

    // The loop's.
    uv_loop_t loop;
    uv_tcp_t listener;
    uv_prepare_t prepare;
    uv_async_t wake;
    uv_timer_t alarm; // for `timers`
    dbk_timers timers;
    bool is_tracing; // the protocol goes to the log
    // Swapped by a reload, which frees the old ones: only the loop reads them, and keeps nothing of them; what lives
    // longer (jobs, JetStream) has copies.
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
    dbk_service *user_info;       // NULL: none
    uint64_t statement_count;     // what the server told of itself, numbered
    struct dbk_js_denied *denied; // NULL: JetStream is there, or nobody asked for it
    dbk_service *dead_services;   // removed while messages are routed
    uint64_t random;              // state of a small generator, for members of queue groups
    dbk_server_counters counters;
    dbk_timer duck_timer;
    bool is_lame_duck;
    bool closes_little_by_little; // lame duck: the grace period is over
    int64_t duck_end_ns;
    bool is_stopping;
    bool has_stopped_jetstream;
    bool closes_clients; // stopping: what was published is answered
    bool is_closing;     // stopping: the loop's own handles close
    bool is_listening;
    uint8_t *read_buffer;   // one for all connections: DBK_READ_BUFFER_SIZE
    uint8_t *cipher_buffer; // the same before it is deciphered

    // The store. Open as long as the loop runs.
    daybook_store *store; // NULL: no JetStream
    bool owns_store;
    char *store_path; // of an own one
    struct dbk_jetstream *jetstream;
    struct dbk_monitor *monitor;
    int monitor_port;      // 0: none
    char monitor_url[300]; // "": none

    dbk_left_files left; // guarded by reload_lock

    // Shared with callers.
    pthread_t thread;
    atomic_uint wishes;
    pthread_mutex_t lock; // of what follows
    pthread_cond_t changed;
    bool is_deaf;              // the loop cannot be woken any more
    bool has_ended;            // the loop's thread is done
    struct dbk_reload *reload; // what a caller has read for the loop to take over, NULL: nothing
    daybook_status end_status; // of closing the store
    daybook_error end_error;

    // Of reloads and the end; guarded by reload_lock.
    pthread_mutex_t reload_lock;
    struct dbk_given *given; // what the embedder gave
    unsigned made;           // which parts exist, see server.c
};

/// Monotonic, good for milliseconds, taken when the loop woke up. Loop only.
static inline int64_t dbk_server_now_ns(const dbk_server *server) {
    return (int64_t)uv_now(&server->loop) * 1000000;
}
/// Real time. Any thread.
static inline int64_t dbk_server_clock_ns(const dbk_server *server) {
    return server->vfs->clock_real_ns(server->vfs);
}
/// `delay_ns` from now; where that is beyond all times, never. Loop only.
static inline void dbk_server_start_timer(dbk_server *server, dbk_timer *timer, int64_t delay_ns) {
    dbk_timer_start_at(&server->timers, timer, dbk_time_after(dbk_server_now_ns(server), delay_ns));
}
static inline void dbk_server_stop_timer(dbk_server *server, dbk_timer *timer) {
    dbk_timer_stop(&server->timers, timer);
}
/// Not for secrets. Loop only.
uint64_t dbk_server_random(dbk_server *server);
/// The store is about to be closed: tell who was promised to be told (server.c).
void dbk_server_say_closing(const dbk_server *server);
// loop.c

/// The loop's thread.
void *dbk_server_run(void *server);
/// The parts of the loop that exist before its thread does: handles, timers. EIO, ENOMEM.
daybook_status dbk_server_make_loop(dbk_server *server);
/// Stops in this thread; for a server whose thread was never started.
void dbk_server_unmake_loop(dbk_server *server);
/// Bind and listen; port and url are then known.
daybook_status dbk_server_listen(dbk_server *server, daybook_error *error);

/// The first address of `host`, of version 4 where there is one. An error of libuv, or 0. Before the loop runs, as it waits.
int dbk_server_resolve(dbk_server *server, const char *host, int port, struct sockaddr_storage *address_out);

/// What a reload hands to the loop; `auth` NULL: as it was. `tls` is new in any case.
typedef struct dbk_reload {
    dbk_options *options;
    uint32_t changed;
    dbk_auth *auth;
    struct dbk_tls_context *tls;
} dbk_reload;

/// Handshakes that waited go on.
void dbk_server_shake_hands(dbk_timer *shaking_timer);
/// How many lines about connections were left out.
void dbk_server_tell_left_out(dbk_timer *log_timer);
/// Publishers that wait for a receiver may go on.
void dbk_server_end_stalls(dbk_server *server);

/// dbk_log_write of its log; `level` without DAYBOOK_SERVER_LOG_: ERROR WARNING INFO DEBUG TRACE FATAL. Any thread.
#define dbk_server_log(server, level, ...) \
    dbk_log_write((server)->log, DAYBOOK_SERVER_LOG_##level, __VA_ARGS__)

#endif
