// SPDX-License-Identifier: Apache-2.0
// A server: a broker, JetStream on a store, a monitor, and the thread they live in.
//
// Threads: the loop's is that of its broker (broker/broker.h). Callers of the public functions leave a wish
// (`wishes`) and wake the loop.
#ifndef DBK_SERVER_SERVER_H
#define DBK_SERVER_SERVER_H

#include <pthread.h>
#include <stdatomic.h>

#include "broker/broker.h"
#include "daybook/server.h"
#include "jetstream/jetstream.h"
#include "monitor/monitor.h"

typedef struct daybook_server dbk_server;

/// What callers from other threads wish for; bits of server->wishes.
enum { DBK_WISH_STOP = 1, DBK_WISH_LAME_DUCK = 2, DBK_WISH_RELOAD = 4 };

/// Files for others: written at start, taken away at the end or when a reload names others. NULL: none.
typedef struct dbk_left_files {
    char *pid_path, *ports_path;
} dbk_left_files;

struct daybook_server {
    dbk_broker broker;
    char program[64];

    // The loop's.
    dbk_timer duck_timer;
    bool closes_little_by_little; // lame duck: the grace period is over
    int64_t duck_end_ns;
    bool closes_clients; // stopping: what was published is answered
    bool is_closing;     // stopping: the loop's own handles close

    // The store. Open as long as the loop runs.
    daybook_store *store; // NULL: no JetStream
    bool owns_store;
    char *store_path; // of an own one
    dbk_jetstream *jetstream;
    struct dbk_js_denied *denied; // NULL: JetStream is there, or nobody asked for it
    dbk_service *user_info;       // NULL: none
    dbk_monitor *monitor;         // NULL: none

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

/// What a reload hands to the loop; `auth` NULL: as it was. `tls` is new in any case.
typedef struct dbk_reload {
    dbk_options *options;
    uint32_t changed;
    dbk_auth *auth;
    struct dbk_tls_context *tls;
} dbk_reload;

/// The store is about to be closed: tell who was promised to be told (server.c).
void dbk_server_say_closing(const dbk_server *server);

// loop.c

/// The hooks of its broker and the timer; before dbk_broker_make.
void dbk_server_prepare(dbk_server *server);
/// The loop's thread.
void *dbk_server_run(void *server);
/// Stops in this thread; for a server whose thread was never started.
void dbk_server_unmake(dbk_server *server);

#endif
