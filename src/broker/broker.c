// SPDX-License-Identifier: Apache-2.0
// See broker.h: the loop and its rounds, listening, making and ending.
#include "broker/broker.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/time.h"
#include "broker/tls.h"

enum {
    BACKLOG = 1024,
    ACCEPTED_MAX = 32,
    WORKERS = 5, // two for slow jobs, one for checks, two always there for publishes and deliveries
};

// Small things.

uint64_t dbk_broker_random(dbk_broker *broker) {
    // xorshift64*, Vigna 2016.
    uint64_t x = broker->random;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    broker->random = x;
    return x * UINT64_C(2685821657736338717);
}

// Timers.

static void on_alarm(uv_timer_t *alarm) {
    dbk_broker *broker = alarm->data;
    dbk_timers_run(&broker->timers, dbk_broker_now_ns(broker));
}

static void set_alarm(void *context) {
    dbk_broker *broker = context;
    int64_t due_ns = dbk_timers_due_ns(&broker->timers);
    if (due_ns == INT64_MAX) {
        (void)uv_timer_stop(&broker->alarm);
        return;
    }
    int64_t left_ns = due_ns - dbk_broker_now_ns(broker);
    uint64_t left_ms = left_ns <= 0 ? 0 : (uint64_t)((left_ns - 1) / DBK_MILLISECOND_NS + 1);
    (void)uv_timer_start(&broker->alarm, on_alarm, left_ms, 0); // fails for want of a callback only
}

// Rounds.

static void drop_ended(dbk_broker *broker) {
    while (broker->ended != NULL) {
        dbk_subscription *subscription = broker->ended;
        broker->ended = subscription->next_ended;
        dbk_client_drop_subscription(subscription->subscriber.client, subscription);
    }
}

static void settle_all(dbk_broker *broker) {
    drop_ended(broker);
    while (broker->touched != NULL) {
        dbk_client *client = broker->touched;
        broker->touched = client->next_touched;
        client->is_touched = false;
        dbk_client_settle(client);
        dbk_client_unref(client);
        drop_ended(broker);
    }
}

// The one libuv holds since the round took its number of connections; with it libuv looks for more again.
static void accept_waiting(dbk_broker *broker) {
    broker->has_to_accept = false;
    if (!broker->is_listening) return;
    broker->accepted_count++;
    dbk_client_accept(broker, (uv_stream_t *)&broker->listener);
}

static void end_round(uv_prepare_t *prepare) {
    dbk_broker *broker = prepare->data;
    broker->accepted_count = 0;
    if (broker->has_to_accept) accept_waiting(broker); // greeted by what follows
    settle_all(broker);
    broker->shaken_ns = 0;
    broker->round_ended(broker);
}

// Ending.

void dbk_broker_close_listener(dbk_broker *broker) {
    if (!broker->is_listening) return;
    broker->is_listening = false;
    dbk_broker_stop_timer(broker, &broker->accept_timer);
    uv_close((uv_handle_t *)&broker->listener, NULL);
}

void dbk_broker_stop(dbk_broker *broker) {
    broker->is_stopping = true;
    dbk_broker_close_listener(broker);
    for (dbk_client *client = broker->first_client; client != NULL; client = client->next) {
        dbk_client_update_reading(client);
    }
}

void dbk_broker_close_clients(dbk_broker *broker) {
    dbk_broker_end_stalls(broker);
    for (dbk_client *client = broker->first_client; client != NULL; client = client->next) {
        // Who lingers already has an end of its own.
        if (dbk_client_is_open(client)) dbk_client_close(client, DBK_CLOSE_SHUTDOWN, NULL);
    }
    dbk_broker_shake_hands(&broker->shaking_timer); // those who wait have nothing to wait for
    settle_all(broker);
}

void dbk_broker_stop_jobs(dbk_broker *broker) {
    if (broker->jobs == NULL) return;
    dbk_jobs_stop(broker->jobs);
    while (dbk_jobs_collect(broker->jobs) > 0) settle_all(broker);
}

void dbk_broker_end(dbk_broker *broker) {
    dbk_broker_tell_left_out(&broker->log_timer);
    uv_close((uv_handle_t *)&broker->prepare, NULL);
    uv_close((uv_handle_t *)&broker->wake, NULL);
    uv_close((uv_handle_t *)&broker->alarm, NULL);
    broker->timers.changed = NULL;
}

// Listening.

static void on_connection(uv_stream_t *listener, int status) {
    dbk_broker *broker = listener->data;
    if (status < 0) {
        dbk_broker_log(broker, ERROR, "A connection could not be taken: %s", uv_strerror(status));
        return;
    }
    // libuv takes connections as long as some come, and while thousands do the others would wait for all of
    // them. One that is not accepted makes it stop.
    if (broker->accepted_count++ < ACCEPTED_MAX) {
        dbk_client_accept(broker, listener);
    } else {
        broker->has_to_accept = true;
    }
}

static void on_accept_timer(dbk_timer *timer) {
    dbk_broker *broker = DBK_OWNER(timer, dbk_broker, accept_timer);
    if (broker->is_listening) dbk_client_accept(broker, (uv_stream_t *)&broker->listener);
}

static void on_stall_timer(dbk_timer *timer) {
    dbk_broker_end_stalls(DBK_OWNER(timer, dbk_broker, stall_timer));
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
int dbk_broker_resolve(dbk_broker *broker, const char *host, int port, struct sockaddr_storage *address_out) {
    if (uv_ip4_addr(host, port, (struct sockaddr_in *)address_out) == 0) return 0;
    if (uv_ip6_addr(host, port, (struct sockaddr_in6 *)address_out) == 0) return 0;
    uv_getaddrinfo_t request;
    struct addrinfo hints;
    memset(&hints, 0, sizeof hints);
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    int failure = uv_getaddrinfo(&broker->loop, &request, NULL, host, NULL, &hints); // no callback: it waits
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

static void read_own_port(dbk_broker *broker) {
    struct sockaddr_storage address;
    int size = sizeof address;
    if (uv_tcp_getsockname(&broker->listener, (struct sockaddr *)&address, &size) != 0) return;
    broker->port = ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                                       : ((struct sockaddr_in *)&address)->sin_port);
}

static void make_url(dbk_broker *broker, const char *host) {
    bool is_any = strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
    bool is_six = strchr(host, ':') != NULL && !is_any;
    (void)snprintf(broker->url, sizeof broker->url, "nats://%s%s%s:%d", is_six ? "[" : "",
                   is_any ? "127.0.0.1" : host, is_six ? "]" : "", broker->port);
}

daybook_status dbk_broker_listen(dbk_broker *broker, daybook_error *error) {
    const dbk_listen_options *listen = &broker->options->client;
    if (listen->port == DBK_PORT_NONE) return DAYBOOK_OK;
    int port = listen->port == DBK_PORT_RANDOM ? 0 : listen->port;
    struct sockaddr_storage address;
    memset(&address, 0, sizeof address);
    int failure = dbk_broker_resolve(broker, listen->host, port, &address);
    if (failure == 0) failure = uv_tcp_init(&broker->loop, &broker->listener);
    if (failure != 0) return fail_to_listen(error, listen->host, port, failure);
    broker->listener.data = broker;
    broker->is_listening = true;
    failure = uv_tcp_bind(&broker->listener, (struct sockaddr *)&address, 0); // with SO_REUSEADDR
    if (failure == 0) failure = uv_listen((uv_stream_t *)&broker->listener, BACKLOG, on_connection);
    if (failure != 0) return fail_to_listen(error, listen->host, port, failure);
    read_own_port(broker);
    make_url(broker, listen->host);
    dbk_broker_log(broker, INFO, "Listening for client connections on %s:%d", listen->host, broker->port);
    if (broker->tls != NULL) dbk_broker_log(broker, INFO, "TLS required for client connections");
    return DAYBOOK_OK;
}

// Making.

// libuv ends the process where the first loop of a process finds no descriptors for the pipe of its signals.
// So as many are taken and given back first; another thread that takes them in between is not seen.
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

void dbk_broker_wake(dbk_broker *broker) {
    (void)uv_async_send(&broker->wake); // fails for handles of another kind only
}

static void wake(void *context) {
    dbk_broker_wake(context);
}

static void on_wake(uv_async_t *wake) {
    dbk_broker *broker = wake->data;
    (void)dbk_jobs_collect(broker->jobs);
    broker->woken(broker);
}

static daybook_status make_loop(dbk_broker *broker) {
    if (!has_descriptors_for_loop() || uv_loop_init(&broker->loop) != 0) return DAYBOOK_EIO;
    broker->loop.data = broker;
    dbk_timers_init(&broker->timers, NULL, broker);
    dbk_timer_init(&broker->stall_timer, on_stall_timer);
    dbk_timer_init(&broker->accept_timer, on_accept_timer);
    dbk_timer_init(&broker->shaking_timer, dbk_broker_shake_hands);
    dbk_timer_init(&broker->log_timer, dbk_broker_tell_left_out);
    (void)uv_prepare_init(&broker->loop, &broker->prepare); // these two cannot fail
    (void)uv_timer_init(&broker->loop, &broker->alarm);
    broker->prepare.data = broker->alarm.data = broker->wake.data = broker;
    (void)uv_prepare_start(&broker->prepare, end_round);
    if (uv_async_init(&broker->loop, &broker->wake, on_wake) != 0) {
        uv_close((uv_handle_t *)&broker->prepare, NULL);
        uv_close((uv_handle_t *)&broker->alarm, NULL);
        (void)uv_run(&broker->loop, UV_RUN_DEFAULT);
        (void)uv_loop_close(&broker->loop);
        return DAYBOOK_EIO;
    }
    broker->wake.data = broker;
    broker->timers.changed = set_alarm;
    broker->has_loop = true;
    return DAYBOOK_OK;
}

/// Looks like the public nkey of a server, which it is not: clients only show it.
static void make_id(const uint8_t random[DBK_BROKER_ID_SIZE], char id_out[DBK_BROKER_ID_SIZE + 1]) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    id_out[0] = 'N';
    for (size_t i = 1; i < DBK_BROKER_ID_SIZE; i++) id_out[i] = alphabet[random[i] & 31];
    id_out[DBK_BROKER_ID_SIZE] = '\0';
}

daybook_status dbk_broker_draw(dbk_broker *broker, daybook_error *error) {
    uint8_t random[DBK_BROKER_ID_SIZE + 32 + 8];
    int failure = broker->vfs->entropy(broker->vfs, random, sizeof random);
    if (failure != 0) return dbk_fail_system(error, failure, "draw random bytes", NULL, 0);
    make_id(random, broker->id);
    memcpy(broker->seed, random + DBK_BROKER_ID_SIZE, sizeof broker->seed);
    dbk_hash_key_init(&broker->hash_key, broker->seed);
    broker->random = dbk_get_u64(random + DBK_BROKER_ID_SIZE + 32) | 1; // never 0
    return DAYBOOK_OK;
}

static daybook_status fail_memory(daybook_error *error) {
    return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory while starting the server");
}

daybook_status dbk_broker_make(dbk_broker *broker, daybook_error *error) {
    const daybook_allocator *allocator = broker->allocator;
    dbk_outbox_pool_init(&broker->pool, allocator);
    broker->read_buffer = dbk_alloc(allocator, DBK_READ_BUFFER_SIZE);
    // Also where there is no TLS now: a reload may bring it.
    broker->cipher_buffer = dbk_alloc(allocator, DBK_READ_BUFFER_SIZE);
    if (broker->read_buffer == NULL || broker->cipher_buffer == NULL) return fail_memory(error);
    if (dbk_interest_new(allocator, broker->seed, &broker->interest) != DAYBOOK_OK) return fail_memory(error);
    if (make_loop(broker) != DAYBOOK_OK) {
        return dbk_fail(error, DAYBOOK_EMFILE,
                        "the server's loop cannot be made: too few descriptors or no memory; "
                        "raise the limit of open files (ulimit -n)");
    }
    daybook_status status = dbk_jobs_new(allocator, WORKERS, wake, broker, &broker->jobs);
    if (status != DAYBOOK_OK) return dbk_fail(error, status, "the server's threads cannot be started");
    return DAYBOOK_OK;
}

void dbk_broker_deinit(dbk_broker *broker) {
    dbk_jobs_free(broker->jobs);
    dbk_interest_free(broker->interest);
    dbk_outbox_pool_deinit(&broker->pool);
    dbk_auth_unref(broker->auth);
    dbk_tls_context_free(broker->tls);
    dbk_options_free(broker->options);
    dbk_free(broker->allocator, broker->noted);
    dbk_free(broker->allocator, broker->read_buffer);
    dbk_free(broker->allocator, broker->cipher_buffer);
    dbk_free(broker->allocator, broker->announced_version);
    dbk_log_free(broker->log);
}
