// SPDX-License-Identifier: Apache-2.0
#define _POSIX_C_SOURCE 200809L
#include "wire/connection.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { STEP_SIZE = 65536, POLLED_MAX = 16 };

long long now_ms(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool connection_open(connection *at, int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *at = (connection){.socket = socket(AF_INET, SOCK_STREAM, 0)};
    if (at->socket < 0) return false;
    if (connect(at->socket, (const struct sockaddr *)&address, sizeof address) != 0 ||
        setsockopt(at->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0 ||
        fcntl(at->socket, F_SETFL, O_NONBLOCK) != 0) {
        (void)close(at->socket);
        at->socket = -1;
        return false;
    }
    return true;
}

// What is there now.
static void receive(connection *at) {
    while (!at->has_ended) {
        if (at->capacity - at->size < STEP_SIZE) {
            at->capacity = at->capacity * 2 + STEP_SIZE;
            at->data = realloc(at->data, at->capacity);
            if (at->data == NULL) {
                fprintf(stderr, "out of memory\n");
                exit(1);
            }
        }
        ssize_t got = recv(at->socket, at->data + at->size, at->capacity - at->size, 0);
        if (got > 0) {
            at->size += (size_t)got;
        } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
            at->has_ended = true;
        } else if (errno == EAGAIN) {
            return;
        }
    }
}

// Until something can be read (or, where wanted, written). False: time is over.
static bool wait_for(connection *at, short events, long long deadline_ms) {
    long long left_ms = deadline_ms - now_ms();
    struct pollfd polled = {.fd = at->socket, .events = events};
    if (left_ms < 0) left_ms = 0;
    if (poll(&polled, 1, (int)left_ms) > 0) {
        if ((polled.revents & (POLLIN | POLLHUP | POLLERR)) != 0) receive(at);
        return true;
    }
    return now_ms() < deadline_ms;
}

void connection_send(connection *at, const char *data, size_t size, int limit_ms) {
    long long deadline_ms = now_ms() + limit_ms;
    while (size > 0 && !at->is_broken && !at->has_ended) {
        ssize_t sent = send(at->socket, data, size, MSG_NOSIGNAL);
        if (sent > 0) {
            data += sent, size -= (size_t)sent;
        } else if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
            if (!wait_for(at, POLLIN | POLLOUT, deadline_ms)) at->is_broken = true;
        } else {
            at->is_broken = true;
        }
    }
}

// Bytes of the first `count` lines; 0: they are not there.
static size_t measure_lines(const connection *at, size_t count) {
    size_t size = 0;
    while (count > 0) {
        const char *end = at->size == size ? NULL : memchr(at->data + size, '\n', at->size - size);
        if (end == NULL) return 0;
        size = (size_t)(end - at->data) + 1;
        if (size >= 2 && end[-1] == '\r') count--;
    }
    return size;
}

bool connection_lines(connection *at, size_t count, int limit_ms, text *said_out) {
    long long deadline_ms = now_ms() + limit_ms;
    size_t size;
    while ((size = measure_lines(at, count)) == 0) {
        if (!at->has_ended && wait_for(at, POLLIN, deadline_ms)) continue;
        *said_out = (text){at->data, at->size};
        return false;
    }
    *said_out = (text){at->data, size - 2};
    return true;
}

void connection_take(connection *at, size_t size) {
    at->size -= size;
    if (at->size > 0) memmove(at->data, at->data + size, at->size);
}

bool connection_wait(connection *at, int limit_ms) {
    long long deadline_ms = now_ms() + limit_ms;
    while (at->size == 0 && !at->has_ended) {
        if (!wait_for(at, POLLIN, deadline_ms)) return false;
    }
    return true;
}

int connection_wait_any(connection *const *all, size_t count, int limit_ms) {
    long long deadline_ms = now_ms() + limit_ms;
    struct pollfd polled[POLLED_MAX];
    for (;;) {
        for (size_t i = 0; i < count; i++) {
            if (all[i]->size > 0 || all[i]->has_ended) return (int)i;
            polled[i] = (struct pollfd){.fd = all[i]->socket, .events = POLLIN};
        }
        long long left_ms = deadline_ms - now_ms();
        if (left_ms <= 0 || poll(polled, (nfds_t)count, (int)left_ms) <= 0) {
            if (now_ms() >= deadline_ms) return -1;
            continue;
        }
        for (size_t i = 0; i < count; i++) {
            if (polled[i].revents != 0) receive(all[i]);
        }
    }
}

bool connection_wait_end(connection *at, int limit_ms) {
    long long deadline_ms = now_ms() + limit_ms;
    while (at->size == 0 && !at->has_ended) {
        if (!wait_for(at, POLLIN, deadline_ms)) return false;
    }
    return at->size == 0;
}

void connection_shut(connection *at) {
    (void)shutdown(at->socket, SHUT_WR);
}

void connection_close(connection *at, bool with_reset) {
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    if (at->socket < 0) return;
    if (with_reset) (void)setsockopt(at->socket, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    (void)close(at->socket);
    free(at->data);
    *at = (connection){.socket = -1};
}
