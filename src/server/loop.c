// SPDX-License-Identifier: Apache-2.0
// The loop's thread: listening, rounds, wishes of callers, lame duck, the end.
//
// The end goes in steps, each taken when a round ends and the one before is done:
//
//     the listener closes; nothing is read from connections any more; JetStream is told to stop
//     JetStream is idle: all that was published is stored and answered; connections are flushed and closed
//     the last connection is gone: the monitor ends, the workers end, the loop's own handles close, uv_run returns
//     JetStream is freed, the store closed
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/time.h"
#include "server/jetstream.h"
#include "server/monitor.h"
#include "server/server.h"
#include "server/tls.h"

enum { BACKLOG = 1024, ACCEPTED_MAX = 32 };

// Small things.

uint64_t dbk_server_random(dbk_server *server) {
    // xorshift64*, Vigna 2016.
    uint64_t x = server->random;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    server->random = x;
    return x * UINT64_C(2685821657736338717);
}

// Timers.

static void on_alarm(uv_timer_t *alarm) {
    dbk_server *server = alarm->data;
    dbk_timers_run(&server->timers, dbk_server_now_ns(server));
}

static void set_alarm(void *context) {
    dbk_server *server = context;
    int64_t due_ns = dbk_timers_due_ns(&server->timers);
    if (due_ns == INT64_MAX) {
        (void)uv_timer_stop(&server->alarm);
        return;
    }
    int64_t left_ns = due_ns - dbk_server_now_ns(server);
    uint64_t left_ms = left_ns <= 0 ? 0 : (uint64_t)((left_ns - 1) / DBK_MILLISECOND_NS + 1);
    (void)uv_timer_start(&server->alarm, on_alarm, left_ms, 0); // fails for want of a callback only
}

// Rounds.

static void drop_ended(dbk_server *server) {
    while (server->ended != NULL) {
        dbk_subscription *subscription = server->ended;
        server->ended = subscription->next_ended;
        dbk_client_drop_subscription(subscription->subscriber.client, subscription);
    }
}

static void close_clients(dbk_server *server) {
    for (dbk_client *client = server->first_client; client != NULL; client = client->next) {
        // Who lingers already has an end of its own.
        if (dbk_client_is_open(client)) dbk_client_close(client, DBK_CLOSE_SHUTDOWN, NULL);
    }
}

static void close_own_handles(dbk_server *server) {
    dbk_server_tell_left_out(&server->log_timer);
    pthread_mutex_lock(&server->lock);
    server->is_deaf = true;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
    uv_close((uv_handle_t *)&server->prepare, NULL);
    uv_close((uv_handle_t *)&server->wake, NULL);
    uv_close((uv_handle_t *)&server->alarm, NULL);
    server->timers.changed = NULL;
}

static void settle_all(dbk_server *server) {
    drop_ended(server);
    while (server->touched != NULL) {
        dbk_client *client = server->touched;
        server->touched = client->next_touched;
        client->is_touched = false;
        dbk_client_settle(client);
        dbk_client_unref(client);
        drop_ended(server);
    }
}

static bool is_jetstream_idle(const dbk_server *server) {
    return dbk_jetstream_is_idle(server->jetstream);
}

static void go_on_stopping(dbk_server *server) {
    if (server->is_closing) return;
    if (!server->closes_clients && is_jetstream_idle(server)) {
        server->closes_clients = true;
        dbk_server_end_stalls(server);
        close_clients(server);
        dbk_server_shake_hands(&server->shaking_timer); // those who wait have nothing to wait for
        settle_all(server);
    }
    if (!server->closes_clients || server->first_client != NULL) return;
    server->is_closing = true;
    dbk_monitor_stop(server->monitor); // it asks the loop: before that is deaf
    if (server->jobs != NULL) {
        dbk_jobs_stop(server->jobs);
        while (dbk_jobs_collect(server->jobs) > 0) settle_all(server);
    }
    close_own_handles(server);
}

// The one libuv holds since the round took its number of connections; with it libuv looks for more again.
static void accept_waiting(dbk_server *server) {
    server->has_to_accept = false;
    if (!server->is_listening) return;
    server->accepted_count++;
    dbk_client_accept(server, (uv_stream_t *)&server->listener);
}

static void end_round(uv_prepare_t *prepare) {
    dbk_server *server = prepare->data;
    server->accepted_count = 0;
    if (server->has_to_accept) accept_waiting(server); // greeted by what follows
    settle_all(server);
    server->shaken_ns = 0;
    if (server->is_stopping) go_on_stopping(server);
}

// Ending.

static void close_listener(dbk_server *server) {
    if (!server->is_listening) return;
    server->is_listening = false;
    dbk_server_stop_timer(server, &server->accept_timer);
    uv_close((uv_handle_t *)&server->listener, NULL);
}

static void stop_jetstream(dbk_server *server) {
    if (server->has_stopped_jetstream) return;
    server->has_stopped_jetstream = true;
    dbk_jetstream_stop(server->jetstream);
}

static void begin_stop(dbk_server *server) {
    if (server->is_stopping) return;
    server->is_stopping = true;
    close_listener(server);
    dbk_server_stop_timer(server, &server->duck_timer);
    stop_jetstream(server);
    for (dbk_client *client = server->first_client; client != NULL; client = client->next) {
        dbk_client_update_reading(client);
    }
}

// Lame duck.

static int64_t duck_interval_ns(dbk_server *server) {
    int64_t left_ns = server->duck_end_ns - dbk_server_now_ns(server);
    if (left_ns <= 0 || server->client_count == 0) return 0;
    int64_t interval_ns = left_ns / (int64_t)server->client_count;
    return interval_ns > DBK_SECOND_NS ? DBK_SECOND_NS : interval_ns;
}

/// Closes as many as are due, the oldest first, and comes again.
static void on_duck_timer(dbk_timer *timer) {
    dbk_server *server = DBK_OWNER(timer, dbk_server, duck_timer);
    if (!server->closes_little_by_little) {
        server->closes_little_by_little = true;
        dbk_server_log(server, INFO, "Closing existing clients");
    }
    int64_t interval_ns = duck_interval_ns(server);
    // Timers are good for milliseconds: several at once where there are many.
    int64_t count = interval_ns > 0 ? (DBK_MILLISECOND_NS + interval_ns - 1) / interval_ns : INT64_MAX;
    for (dbk_client *client = server->first_client; client != NULL && count > 0; client = client->next) {
        if (!dbk_client_is_open(client)) continue;
        dbk_client_close(client, DBK_CLOSE_SHUTDOWN, NULL);
        count--;
    }
    if (server->client_count == 0) {
        dbk_server_log(server, INFO, "Initiating Shutdown...");
        begin_stop(server);
        return;
    }
    dbk_server_start_timer(server, timer,
                           interval_ns > DBK_MILLISECOND_NS ? interval_ns : DBK_MILLISECOND_NS);
}

static void begin_lame_duck(dbk_server *server) {
    if (server->is_lame_duck || server->is_stopping) return;
    server->is_lame_duck = true;
    dbk_server_log(server, INFO, "Entering lame duck mode, stop accepting new clients");
    close_listener(server);
    stop_jetstream(server);
    if (server->client_count == 0) {
        begin_stop(server);
        return;
    }
    const dbk_options *options = server->options;
    server->duck_end_ns = dbk_server_now_ns(server) + options->lame_duck_duration_ns;
    dbk_server_start_timer(server, &server->duck_timer, options->lame_duck_grace_ns);
    for (dbk_client *client = server->first_client; client != NULL; client = client->next) {
        if (client->state == DBK_CLIENT_OPEN && client->protocol >= 1) dbk_client_send_info(client);
    }
}

// Reloads.

/// Where fewer may be connected now, those who came last go.
static void close_beyond_limit(dbk_server *server) {
    int64_t max = server->options->limits.connections_max;
    size_t count = server->client_count;
    for (dbk_client *client = server->last_client; client != NULL && max >= 0 && count > (uint64_t)max;
         client = client->previous) {
        if (!dbk_client_is_open(client)) continue;
        dbk_client_close(client, DBK_CLOSE_CONNECTIONS, "maximum connections exceeded");
        count--;
    }
}

static void take_over(dbk_server *server, dbk_reload *reload) {
    bool is_news = (reload->changed & DBK_CHANGED_ADVERTISE) != 0 ||
                   server->options->limits.payload_max != reload->options->limits.payload_max;
    server->options = reload->options;
    server->options_real_ns = dbk_server_clock_ns(server);
    if (reload->auth != NULL) {
        dbk_auth_unref(server->auth);
        server->auth = reload->auth;
    }
    dbk_tls_context_free(server->tls);
    server->tls = reload->tls;
    server->is_tracing = server->options->log.trace;
    dbk_jetstream_reload(server->jetstream);
    if ((reload->changed & DBK_CHANGED_LIMITS) != 0) close_beyond_limit(server);
    for (dbk_client *client = server->first_client; client != NULL; client = client->next) {
        if (reload->auth != NULL) dbk_client_reauthorize(client);
        if ((reload->changed & DBK_CHANGED_LIMITS) != 0) dbk_client_take_limits(client);
        if (is_news && client->state == DBK_CLIENT_OPEN && client->protocol >= 1)
            dbk_client_send_info(client);
    }
}

static void reload_now(dbk_server *server) {
    pthread_mutex_lock(&server->lock);
    dbk_reload *reload = server->reload;
    pthread_mutex_unlock(&server->lock);
    if (reload == NULL) return;
    take_over(server, reload);
    dbk_server_log(server, INFO, "Reloaded server configuration");
    pthread_mutex_lock(&server->lock);
    server->reload = NULL;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

static void on_wake(uv_async_t *wake) {
    dbk_server *server = wake->data;
    (void)dbk_jobs_collect(server->jobs);
    unsigned wishes = atomic_exchange_explicit(&server->wishes, 0, memory_order_acq_rel);
    if ((wishes & DBK_WISH_RELOAD) != 0) reload_now(server);
    if ((wishes & DBK_WISH_LAME_DUCK) != 0) begin_lame_duck(server);
    if ((wishes & DBK_WISH_STOP) != 0 && !server->is_stopping) {
        dbk_server_log(server, INFO, "Initiating Shutdown...");
        begin_stop(server);
    }
}

// Listening.

static void on_connection(uv_stream_t *listener, int status) {
    dbk_server *server = listener->data;
    if (status < 0) {
        dbk_server_log(server, ERROR, "A connection could not be taken: %s", uv_strerror(status));
        return;
    }
    // libuv takes connections as long as some come, and while thousands do the others would wait for all of them. One that
    // is not accepted makes it stop.
    if (server->accepted_count++ < ACCEPTED_MAX) {
        dbk_client_accept(server, listener);
    } else {
        server->has_to_accept = true;
    }
}

static void on_accept_timer(dbk_timer *timer) {
    dbk_server *server = DBK_OWNER(timer, dbk_server, accept_timer);
    if (server->is_listening) dbk_client_accept(server, (uv_stream_t *)&server->listener);
}

static void on_stall_timer(dbk_timer *timer) {
    dbk_server_end_stalls(DBK_OWNER(timer, dbk_server, stall_timer));
}

static daybook_status fail_to_listen(daybook_error *error, const char *host, int port, int failure) {
    daybook_status status = failure == UV_EADDRINUSE                                  ? DAYBOOK_EEXISTS
                            : failure == UV_EACCES                                    ? DAYBOOK_EPERMISSION
                            : failure == UV_ENOMEM                                    ? DAYBOOK_ENOMEM
                            : failure == UV_EADDRNOTAVAIL || failure == UV_EAI_NONAME ? DAYBOOK_ENOTFOUND
                                                                                      : DAYBOOK_EIO;
    return dbk_fail(error, status, "cannot listen on %s:%d: %s; choose another address or port", host,
                    port > 0 ? port : 0, uv_strerror(failure));
}

/// Addresses as numbers need no resolver; a name may.
int dbk_server_resolve(dbk_server *server, const char *host, int port, struct sockaddr_storage *address_out) {
    if (uv_ip4_addr(host, port, (struct sockaddr_in *)address_out) == 0) return 0;
    if (uv_ip6_addr(host, port, (struct sockaddr_in6 *)address_out) == 0) return 0;
    uv_getaddrinfo_t request;
    struct addrinfo hints;
    memset(&hints, 0, sizeof hints);
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    int failure = uv_getaddrinfo(&server->loop, &request, NULL, host, NULL, &hints); // no callback: it waits
    if (failure != 0) return failure;
    const struct addrinfo *found = request.addrinfo;
    // Of several the first of version 4, as clients that are given a name try that too.
    for (const struct addrinfo *at = found; at != NULL; at = at->ai_next) {
        if (at->ai_family == AF_INET) {
            found = at;
            break;
        }
    }
    memcpy(address_out, found->ai_addr, found->ai_addrlen);
    if (found->ai_family == AF_INET6) {
        ((struct sockaddr_in6 *)address_out)->sin6_port = htons((uint16_t)port);
    } else {
        ((struct sockaddr_in *)address_out)->sin_port = htons((uint16_t)port);
    }
    uv_freeaddrinfo(request.addrinfo);
    return 0;
}

static void read_own_port(dbk_server *server) {
    struct sockaddr_storage address;
    int size = sizeof address;
    if (uv_tcp_getsockname(&server->listener, (struct sockaddr *)&address, &size) != 0) return;
    server->port = ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                                       : ((struct sockaddr_in *)&address)->sin_port);
}

static void make_url(dbk_server *server, const char *host) {
    bool is_any = strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
    bool is_six = strchr(host, ':') != NULL && !is_any;
    (void)snprintf(server->url, sizeof server->url, "nats://%s%s%s:%d", is_six ? "[" : "",
                   is_any ? "127.0.0.1" : host, is_six ? "]" : "", server->port);
}

daybook_status dbk_server_listen(dbk_server *server, daybook_error *error) {
    const dbk_listen_options *listen = &server->options->client;
    if (listen->port == DBK_PORT_NONE) return DAYBOOK_OK;
    int port = listen->port == DBK_PORT_RANDOM ? 0 : listen->port;
    struct sockaddr_storage address;
    memset(&address, 0, sizeof address);
    int failure = dbk_server_resolve(server, listen->host, port, &address);
    if (failure == 0) failure = uv_tcp_init(&server->loop, &server->listener);
    if (failure != 0) return fail_to_listen(error, listen->host, port, failure);
    server->listener.data = server;
    server->is_listening = true;
    failure = uv_tcp_bind(&server->listener, (struct sockaddr *)&address, 0); // with SO_REUSEADDR
    if (failure == 0) failure = uv_listen((uv_stream_t *)&server->listener, BACKLOG, on_connection);
    if (failure != 0) return fail_to_listen(error, listen->host, port, failure);
    read_own_port(server);
    make_url(server, listen->host);
    dbk_server_log(server, INFO, "Listening for client connections on %s:%d", listen->host, server->port);
    if (server->tls != NULL) dbk_server_log(server, INFO, "TLS required for client connections");
    return DAYBOOK_OK;
}

// Making and running.

// libuv ends the process where the first loop of a process finds no descriptors for the pipe of its signals. So as many
// are taken and given back first; another thread that takes them in between is not seen.
static bool has_descriptors_for_loop(void) {
    enum { PIPES = 4 }; // a loop has epoll, two pipes and a wakeup
    uv_file ends[PIPES][2];
    int count = 0;
    while (count < PIPES && uv_pipe(ends[count], 0, 0) == 0) count++;
    bool are_there = count == PIPES;
    while (count-- > 0) {
        for (int i = 0; i < 2; i++) {
            uv_fs_t request;
            (void)uv_fs_close(NULL, &request, ends[count][i], NULL);
            uv_fs_req_cleanup(&request);
        }
    }
    return are_there;
}

daybook_status dbk_server_make_loop(dbk_server *server) {
    if (!has_descriptors_for_loop() || uv_loop_init(&server->loop) != 0) return DAYBOOK_EIO;
    server->loop.data = server;
    dbk_timers_init(&server->timers, NULL, server);
    dbk_timer_init(&server->duck_timer, on_duck_timer);
    dbk_timer_init(&server->stall_timer, on_stall_timer);
    dbk_timer_init(&server->accept_timer, on_accept_timer);
    dbk_timer_init(&server->shaking_timer, dbk_server_shake_hands);
    dbk_timer_init(&server->log_timer, dbk_server_tell_left_out);
    (void)uv_prepare_init(&server->loop, &server->prepare); // these two cannot fail
    (void)uv_timer_init(&server->loop, &server->alarm);
    server->prepare.data = server->alarm.data = server->wake.data = server;
    (void)uv_prepare_start(&server->prepare, end_round);
    if (uv_async_init(&server->loop, &server->wake, on_wake) != 0) {
        uv_close((uv_handle_t *)&server->prepare, NULL);
        uv_close((uv_handle_t *)&server->alarm, NULL);
        (void)uv_run(&server->loop, UV_RUN_DEFAULT);
        (void)uv_loop_close(&server->loop);
        return DAYBOOK_EIO;
    }
    server->wake.data = server;
    server->timers.changed = set_alarm;
    return DAYBOOK_OK;
}

/// After the loop: the store, if it is ours.
static void close_store(dbk_server *server) {
    dbk_jetstream_free(server->jetstream);
    server->jetstream = NULL;
    if (!server->owns_store) return;
    dbk_server_say_closing(server);
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = daybook_close(server->store, &error);
    server->store = NULL;
    if (status != DAYBOOK_OK) dbk_server_log(server, ERROR, "Closing the store: %s", error.message);
    pthread_mutex_lock(&server->lock);
    server->end_status = status;
    server->end_error = error;
    pthread_mutex_unlock(&server->lock);
}

static void run_to_the_end(dbk_server *server) {
    (void)uv_run(&server->loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&server->loop);
    close_store(server);
}

void dbk_server_unmake_loop(dbk_server *server) {
    begin_stop(server);
    run_to_the_end(server);
}

void *dbk_server_run(void *context) {
    dbk_server *server = context;
    run_to_the_end(server);
    dbk_server_log(server, INFO, "Server Exiting..");
    pthread_mutex_lock(&server->lock);
    server->has_ended = true;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
    return NULL;
}
