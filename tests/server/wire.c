// SPDX-License-Identifier: Apache-2.0
#include "server/wire.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static int64_t clock_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void open_from(wire *client, const char *from, int port) {
    memset(client, 0, sizeof *client);
    client->socket = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(client->socket >= 0);
    struct sockaddr_in own = {.sin_family = AF_INET};
    if (from != NULL) {
        assert_int_equal(inet_pton(AF_INET, from, &own.sin_addr), 1);
        assert_int_equal(bind(client->socket, (struct sockaddr *)&own, sizeof own), 0);
    }
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(client->socket, (struct sockaddr *)&address, sizeof address), 0);
    int on = 1;
    (void)setsockopt(client->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

void wire_open_silent(wire *client, int port) {
    open_from(client, NULL, port);
}

static void read_info(wire *client) {
    const char *info = wire_until(client, "\r\n");
    assert_memory_equal(info, "INFO {", 6);
    (void)snprintf(client->info, sizeof client->info, "%s", info);
}

void wire_open(wire *client, int port) {
    open_from(client, NULL, port);
    read_info(client);
}

void wire_open_from(wire *client, const char *address, int port) {
    open_from(client, address, port);
    read_info(client);
}

void wire_join(wire *client, int port, const char *connect_json) {
    wire_open(client, port);
    wire_say(client, "CONNECT ");
    wire_say(client, connect_json);
    wire_say(client, "\r\n");
    wire_sync(client);
    // From 2.12 on it is told who it is behind the first PONG.
    if (strstr(connect_json, "\"protocol\":1") != NULL && strstr(client->info, "\"api_lvl\":2") != NULL)
        (void)wire_until(client, "} \r\n");
}

void wire_join_as(wire *client, int port, const char *user) {
    char json[256];
    int size = snprintf(json, sizeof json,
                        "{\"user\":\"%s\",\"pass\":\"%s\",\"verbose\":false,\"headers\":true}", user, user);
    assert_in_range(size, 1, sizeof json - 1);
    wire_join(client, port, json);
}

void wire_close(wire *client) {
    if (client->socket >= 0) close(client->socket);
    client->socket = -1;
    free(client->received);
    client->received = NULL;
    client->size = client->capacity = 0;
}

void wire_send(wire *client, const void *data, size_t size) {
    const char *at = data;
    while (size > 0) {
        ssize_t sent = send(client->socket, at, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0) return; // it closed: what it said says more than this
        at += sent;
        size -= (size_t)sent;
    }
}

void wire_publish(wire *client, const char *subject, const char *reply, const char *body) {
    size_t capacity = strlen(subject) + strlen(reply) + strlen(body) + 64;
    char *text = malloc(capacity);
    assert_non_null(text);
    int size = snprintf(text, capacity, "PUB %s %s %zu\r\n%s\r\n", subject, reply, strlen(body), body);
    assert_in_range(size, 1, capacity - 1);
    wire_send(client, text, (size_t)size);
    free(text);
}

size_t wire_send_some(wire *client, const void *data, size_t size) {
    struct pollfd wait = {.fd = client->socket, .events = POLLOUT};
    if (poll(&wait, 1, 20) <= 0) return 0;
    ssize_t sent = send(client->socket, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent > 0 ? (size_t)sent : 0;
}

void wire_say(wire *client, const char *text) {
    wire_send(client, text, strlen(text));
}

/// Reads what is there, waiting up to `milliseconds`. -1: the end; 0: nothing came.
static ssize_t receive(wire *client, int milliseconds) {
    struct pollfd wait = {.fd = client->socket, .events = POLLIN};
    if (poll(&wait, 1, milliseconds) <= 0) return 0;
    if (client->capacity - client->size < 65536) {
        client->capacity = client->capacity * 2 + 131072;
        client->received = realloc(client->received, client->capacity);
        assert_non_null(client->received);
    }
    ssize_t got =
        recv(client->socket, client->received + client->size, client->capacity - client->size - 1, 0);
    if (got <= 0) return -1;
    client->size += (size_t)got;
    client->received[client->size] = '\0';
    return got;
}

static void take(wire *client, size_t size) {
    memmove(client->received, client->received + size, client->size - size + 1);
    client->size -= size;
}

static void wait_for_bytes(wire *client, size_t size) {
    int64_t due = clock_ms() + WIRE_SECONDS * 1000;
    while (client->size < size) {
        ssize_t got = receive(client, 100);
        if (got < 0)
            fail_msg("the connection ended; before that: '%s'", client->size > 0 ? client->received : "");
        if (clock_ms() > due)
            fail_msg("nothing more came than '%s'", client->size > 0 ? client->received : "");
    }
}

void wire_take(wire *client, void *data_out, size_t size) {
    wait_for_bytes(client, size);
    memcpy(data_out, client->received, size);
    take(client, size);
}

void wire_expect_bytes(wire *client, const void *data, size_t size) {
    static const char ping[] = "PING\r\n"; // of the server by itself, where a slow test outlives its second
    static const size_t ping_size = sizeof ping - 1;
    wait_for_bytes(client, size);
    if (client->size >= ping_size && memcmp(client->received, ping, ping_size) == 0 &&
        memcmp(data, ping, size < ping_size ? size : ping_size) != 0) {
        take(client, ping_size);
        wait_for_bytes(client, size);
    }
    if (memcmp(client->received, data, size) != 0) {
        fail_msg("expected '%.*s', got '%.*s'", (int)size, (const char *)data, (int)client->size,
                 client->received);
    }
    take(client, size);
}

void wire_expect(wire *client, const char *text) {
    wire_expect_bytes(client, text, strlen(text));
}

bool wire_comes(wire *client, const char *text, int milliseconds) {
    int64_t due = clock_ms() + milliseconds;
    while (client->size == 0 || strstr(client->received, text) == NULL) {
        int64_t left = due - clock_ms();
        if (left < 0 || receive(client, left > 100 ? 100 : (int)left + 1) < 0) return false;
    }
    return true;
}

const char *wire_until(wire *client, const char *text) {
    static _Thread_local char found[1 << 20];
    int64_t due = clock_ms() + WIRE_SECONDS * 1000;
    char *at;
    while (client->size == 0 || (at = strstr(client->received, text)) == NULL) {
        ssize_t got = receive(client, 100);
        if (got < 0)
            fail_msg("the connection ended without '%s': '%s'", text,
                     client->size > 0 ? client->received : "");
        if (clock_ms() > due)
            fail_msg("'%s' did not come: '%s'", text, client->size > 0 ? client->received : "");
    }
    size_t size = (size_t)(at - client->received) + strlen(text);
    assert_true(size < sizeof found);
    memcpy(found, client->received, size);
    found[size] = '\0';
    take(client, size);
    return found;
}

void wire_expect_end(wire *client) {
    int64_t due = clock_ms() + WIRE_SECONDS * 1000;
    ssize_t got = 0;
    while (got >= 0 && clock_ms() < due) {
        if (client->size > 0) fail_msg("expected the end, got '%s'", client->received);
        got = receive(client, 100);
    }
    assert_int_equal(got, -1);
}

void wire_wait(wire *client) {
    int64_t due = clock_ms() + WIRE_SECONDS * 1000;
    while (client->size == 0) {
        if (receive(client, 100) < 0) fail_msg("the connection ended");
        if (clock_ms() > due) fail_msg("nothing came");
    }
}

void wire_drain_to_end(wire *client) {
    int64_t due = clock_ms() + WIRE_SECONDS * 1000;
    ssize_t got = 0;
    while (got >= 0 && clock_ms() < due) {
        client->size = 0;
        got = receive(client, 100);
    }
    assert_int_equal(got, -1);
}

void wire_expect_silence(wire *client, int milliseconds) {
    int64_t due = clock_ms() + milliseconds;
    while (clock_ms() < due) {
        if (receive(client, 10) < 0) fail_msg("the connection ended");
        if (client->size > 0) fail_msg("expected nothing, got '%s'", client->received);
    }
}

void wire_sync(wire *client) {
    wire_say(client, "PING\r\n");
    wire_expect(client, "PONG\r\n");
}

const char *wire_settle(wire *client) {
    wire_say(client, "PING\r\n");
    return wire_until(client, "PONG\r\n");
}

void wire_nap(int milliseconds) {
    struct timespec time = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000L};
    nanosleep(&time, NULL);
}

// Servers.

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static char *log_text;
static size_t log_size, log_capacity;

static void keep_line(void *context, int level, daybook_slice line) {
    (void)context;
    (void)level;
    pthread_mutex_lock(&log_lock);
    if (log_size + line.size + 2 > log_capacity) {
        log_capacity = (log_size + line.size + 2) * 2;
        log_text = realloc(log_text, log_capacity);
    }
    if (log_text != NULL) {
        memcpy(log_text + log_size, line.data, line.size);
        log_size += line.size;
        log_text[log_size++] = '\n';
        log_text[log_size] = '\0';
    }
    pthread_mutex_unlock(&log_lock);
}

daybook_server *wire_server_start(daybook_server_options *options) {
    daybook_server *server = NULL;
    daybook_error error;
    daybook_error_init(&error);
    options->host = "127.0.0.1";
    options->port = -1;
    if (daybook_server_start(options, &server, &error) != DAYBOOK_OK) fail_msg("%s", error.message);
    return server;
}

static daybook_server *start_server(const char *config, const char *path) {
    daybook_server_options options;
    daybook_server_options_init(&options);
    options.config_text = daybook_text(config);
    options.config_file = path;
    options.log = keep_line;
    log_size = 0;
    return wire_server_start(&options);
}

daybook_server *wire_server(const char *config) {
    return start_server(config, NULL);
}

daybook_server *wire_server_of_file(const char *path) {
    return start_server(NULL, path);
}

void wire_server_stop(daybook_server *server) {
    daybook_error error;
    daybook_error_init(&error);
    if (daybook_server_stop(server, &error) != DAYBOOK_OK) fail_msg("%s", error.message);
}

bool wire_log_has(const char *text) {
    pthread_mutex_lock(&log_lock);
    bool has = log_size > 0 && strstr(log_text, text) != NULL;
    pthread_mutex_unlock(&log_lock);
    return has;
}

const char *wire_log(void) {
    return log_size > 0 ? log_text : "";
}

size_t wire_log_count(const char *text) {
    size_t count = 0;
    pthread_mutex_lock(&log_lock);
    const char *at = log_size > 0 ? strstr(log_text, text) : NULL;
    for (; at != NULL; at = strstr(at + 1, text)) count++;
    pthread_mutex_unlock(&log_lock);
    return count;
}

void wire_log_wait(const char *text) {
    int64_t due = clock_ms() + WIRE_SECONDS * 1000;
    while (!wire_log_has(text)) {
        if (clock_ms() > due) fail_msg("the log never said '%s'", text);
        wire_nap(5);
    }
}
