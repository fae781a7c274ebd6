// SPDX-License-Identifier: Apache-2.0
// What a server takes while nobody does anything, and how long it is away after it was killed.
#define _POSIX_C_SOURCE 200809L
#include "rows.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_NS INT64_C(120000000000)

static void pause_ms(long ms) {
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)nanosleep(&pause, NULL);
}

void row_idle(const plan *of) {
    clients all;
    clients_init(&all, of->port, of->connections + 1);
    (void)clients_join(&all);
    pause_ms(200);
    uint64_t before = resident_bytes(of);
    usage begin = usage_now(of);
    for (unsigned i = 0; i < of->connections; i++) (void)clients_join(&all);
    for (int64_t end_ns = now_ns() + (int64_t)(of->seconds * 1e9); now_ns() < end_ns;)
        clients_turn(&all, INT64_C(10000000)); // the server's first PINGs are answered
    uint64_t after = resident_bytes(of);
    print_begin(of, &begin, ((double)after - (double)before) / of->connections, "bytes/connection");
    (void)printf(",\"resident_bytes\":%llu", (unsigned long long)after);
    print_end();
    clients_free(&all);
}

// What the server says to a request, where it is there yet: ends with `end`. False: nothing so far.
static bool is_answered(int port, const char *subject, const char *body, const char *end, char *to,
                        size_t capacity) {
    char asks[512];
    int size = snprintf(asks, sizeof asks,
                        "CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\n"
                        "SUB _INBOX.wait 1\r\nPUB %s _INBOX.wait %zu\r\n%s\r\n",
                        subject, strlen(body), body);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval limit = {.tv_sec = 1};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int at = socket(AF_INET, SOCK_STREAM, 0);
    if (at < 0) die("no socket");
    bool is_sent = setsockopt(at, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0 &&
                   connect(at, (const struct sockaddr *)&address, sizeof address) == 0 &&
                   send(at, asks, (size_t)size, MSG_NOSIGNAL) == size;
    size_t got_size = 0;
    to[0] = '\0';
    while (is_sent && got_size + 1 < capacity && strstr(to, end) == NULL) {
        ssize_t got = recv(at, to + got_size, capacity - 1 - got_size, 0);
        if (got <= 0) break;
        got_size += (size_t)got;
        to[got_size] = '\0';
        if (strstr(to, "\"error\":") != NULL || strstr(to, "NATS/1.0 503") != NULL) break;
    }
    (void)close(at);
    return strstr(to, end) != NULL;
}

static void wait_for(const plan *of, const char *subject, const char *body, const char *end, char *to,
                     size_t capacity) {
    while (!is_answered(of->port, subject, body, end, to, capacity)) {
        if (now_ns() - of->since_ns > PATIENCE_NS) die("%s is not answered: %s", subject, to);
        pause_ms(1);
    }
}

// Until the last of --count messages can be read (0: until the stream answers); then all of them must be there.
void row_wait(const plan *of) {
    static char text[ANSWER_MAX];
    char body[64];
    usage begin = usage_now(of);
    (void)snprintf(body, sizeof body, "{\"seq\":%llu}", (unsigned long long)of->count);
    if (of->count > 0) wait_for(of, "$JS.API.STREAM.MSG.GET." STREAM, body, "\"data\":", text, sizeof text);
    double ms = (double)(now_ns() - of->since_ns) / 1e6;
    wait_for(of, "$JS.API.STREAM.INFO." STREAM, "", "\"consumer_count\":", text, sizeof text);
    double counted_ms = (double)(now_ns() - of->since_ns) / 1e6;
    const char *state = strstr(text, "\"state\":");
    int64_t count = state == NULL ? -1 : number_of(state, strlen(state), "messages");
    if (of->count > 0 && count != (int64_t)of->count) die("%lld messages are left", (long long)count);
    print_begin(of, &begin, of->count > 0 ? ms : counted_ms, "ms");
    (void)printf(",\"messages\":%lld,\"counted_ms\":%.3f,\"resident_bytes\":%llu", (long long)count,
                 counted_ms, (unsigned long long)(of->process != 0 ? resident_bytes(of) : 0));
    print_end();
}
