// SPDX-License-Identifier: Apache-2.0
// What a server does on its broker's loop: wishes of callers, lame duck, reloads, the end.
//
// The end goes in steps, each taken when a round ends and the one before is done:
//
//     the listener closes; nothing is read from connections any more; JetStream is told to stop
//     JetStream is idle: all that was published is stored and answered; connections are flushed and closed
//     the last connection is gone: the monitor ends, the workers end, the loop's own handles close
//     uv_run has returned: JetStream is freed, the store closed
#include "base/error.h"
#include "base/time.h"
#include "broker/tls.h"
#include "server/server.h"

// The end.

static void go_deaf(dbk_server *server) {
    pthread_mutex_lock(&server->lock);
    server->is_deaf = true;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

static void go_on_stopping(dbk_server *server) {
    dbk_broker *broker = &server->broker;
    if (server->is_closing) return;
    if (!server->closes_clients && dbk_jetstream_is_idle(server->jetstream)) {
        server->closes_clients = true;
        dbk_broker_close_clients(broker);
    }
    if (!server->closes_clients || broker->first_client != NULL) return;
    server->is_closing = true;
    dbk_monitor_stop(server->monitor); // it asks the loop: before that is deaf
    dbk_broker_stop_jobs(broker);
    go_deaf(server);
    dbk_broker_end(broker);
}

static void on_round_end(dbk_broker *broker) {
    if (broker->is_stopping) go_on_stopping(DBK_OWNER(broker, dbk_server, broker));
}

static void begin_stop(dbk_server *server) {
    dbk_broker *broker = &server->broker;
    if (broker->is_stopping) return;
    dbk_broker_stop_timer(broker, &server->duck_timer);
    dbk_jetstream_stop(server->jetstream);
    dbk_broker_stop(broker);
}

// Lame duck.

static int64_t duck_interval_ns(dbk_server *server) {
    dbk_broker *broker = &server->broker;
    int64_t left_ns = server->duck_end_ns - dbk_broker_now_ns(broker);
    if (left_ns <= 0 || broker->client_count == 0) return 0;
    int64_t interval_ns = left_ns / (int64_t)broker->client_count;
    return interval_ns > DBK_SECOND_NS ? DBK_SECOND_NS : interval_ns;
}

/// Closes as many as are due, the oldest first, and comes again.
static void on_duck_timer(dbk_timer *timer) {
    dbk_server *server = DBK_OWNER(timer, dbk_server, duck_timer);
    dbk_broker *broker = &server->broker;
    if (!server->closes_little_by_little) {
        server->closes_little_by_little = true;
        dbk_broker_log(broker, INFO, "Closing existing clients");
    }
    int64_t interval_ns = duck_interval_ns(server);
    // Timers are good for milliseconds: several at once where there are many.
    int64_t count = interval_ns > 0 ? (DBK_MILLISECOND_NS + interval_ns - 1) / interval_ns : INT64_MAX;
    for (dbk_client *client = broker->first_client; client != NULL && count > 0; client = client->next) {
        if (!dbk_client_is_open(client)) continue;
        dbk_client_close(client, DBK_CLOSE_SHUTDOWN, NULL);
        count--;
    }
    if (broker->client_count == 0) {
        dbk_broker_log(broker, INFO, "Initiating Shutdown...");
        begin_stop(server);
        return;
    }
    dbk_broker_start_timer(broker, timer,
                           interval_ns > DBK_MILLISECOND_NS ? interval_ns : DBK_MILLISECOND_NS);
}

static void begin_lame_duck(dbk_server *server) {
    dbk_broker *broker = &server->broker;
    if (broker->is_lame_duck || broker->is_stopping) return;
    broker->is_lame_duck = true;
    dbk_broker_log(broker, INFO, "Entering lame duck mode, stop accepting new clients");
    dbk_broker_close_listener(broker);
    dbk_jetstream_stop(server->jetstream);
    if (broker->client_count == 0) {
        begin_stop(server);
        return;
    }
    const dbk_options *options = broker->options;
    server->duck_end_ns = dbk_broker_now_ns(broker) + options->lame_duck_duration_ns;
    dbk_broker_start_timer(broker, &server->duck_timer, options->lame_duck_grace_ns);
    for (dbk_client *client = broker->first_client; client != NULL; client = client->next) {
        if (client->state == DBK_CLIENT_OPEN && client->protocol >= 1) dbk_client_send_info(client);
    }
}

// Reloads.

/// Where fewer may be connected now, those who came last go.
static void close_beyond_limit(dbk_server *server) {
    dbk_broker *broker = &server->broker;
    int64_t max = broker->options->limits.connections_max;
    size_t count = broker->client_count;
    for (dbk_client *client = broker->last_client; client != NULL && max >= 0 && count > (uint64_t)max;
         client = client->previous) {
        if (!dbk_client_is_open(client)) continue;
        dbk_client_close(client, DBK_CLOSE_CONNECTIONS, "maximum connections exceeded");
        count--;
    }
}

static void take_over(dbk_server *server, dbk_reload *reload) {
    dbk_broker *broker = &server->broker;
    bool is_news = (reload->changed & DBK_CHANGED_ADVERTISE) != 0 ||
                   broker->options->limits.payload_max != reload->options->limits.payload_max;
    broker->options = reload->options;
    broker->options_real_ns = dbk_broker_clock_ns(broker);
    if (reload->auth != NULL) {
        dbk_auth_unref(broker->auth);
        broker->auth = reload->auth;
    }
    dbk_tls_context_free(broker->tls);
    broker->tls = reload->tls;
    broker->is_tracing = broker->options->log.trace;
    dbk_jetstream_reload(server->jetstream);
    if ((reload->changed & DBK_CHANGED_LIMITS) != 0) close_beyond_limit(server);
    for (dbk_client *client = broker->first_client; client != NULL; client = client->next) {
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
    dbk_broker_log(&server->broker, INFO, "Reloaded server configuration");
    pthread_mutex_lock(&server->lock);
    server->reload = NULL;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

static void on_wake(dbk_broker *broker) {
    dbk_server *server = DBK_OWNER(broker, dbk_server, broker);
    unsigned wishes = atomic_exchange_explicit(&server->wishes, 0, memory_order_acq_rel);
    if ((wishes & DBK_WISH_RELOAD) != 0) reload_now(server);
    if ((wishes & DBK_WISH_LAME_DUCK) != 0) begin_lame_duck(server);
    if ((wishes & DBK_WISH_STOP) != 0 && !server->broker.is_stopping) {
        dbk_broker_log(&server->broker, INFO, "Initiating Shutdown...");
        begin_stop(server);
    }
}

// Making and running.

void dbk_server_prepare(dbk_server *server) {
    server->broker.woken = on_wake;
    server->broker.round_ended = on_round_end;
    dbk_timer_init(&server->duck_timer, on_duck_timer);
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
    if (status != DAYBOOK_OK) dbk_broker_log(&server->broker, ERROR, "Closing the store: %s", error.message);
    pthread_mutex_lock(&server->lock);
    server->end_status = status;
    server->end_error = error;
    pthread_mutex_unlock(&server->lock);
}

static void run_to_the_end(dbk_server *server) {
    dbk_broker *broker = &server->broker;
    (void)uv_run(&broker->loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&broker->loop);
    close_store(server);
}

void dbk_server_unmake(dbk_server *server) {
    begin_stop(server);
    run_to_the_end(server);
}

void *dbk_server_run(void *context) {
    dbk_server *server = context;
    run_to_the_end(server);
    dbk_broker_log(&server->broker, INFO, "Server Exiting..");
    pthread_mutex_lock(&server->lock);
    server->has_ended = true;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
    return NULL;
}
