// SPDX-License-Identifier: Apache-2.0
// A connection of the generator: what is sent is gathered, what comes is parsed where it lies. See client.h.
#define _POSIX_C_SOURCE 200809L
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { IN_CAPACITY = 1 << 20, EVENTS_MAX = 256, OUT_EAGER = 64 * 1024, WORDS_MAX = 6 };
#define PATIENCE_NS INT64_C(60000000000)

void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)fputs("bench_server: ", stderr);
    (void)vfprintf(stderr, format, arguments);
    (void)fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

void *need(void *memory) {
    if (memory == NULL) die("out of memory");
    return memory;
}

int64_t now_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

size_t put_number(char *to, uint64_t value) {
    char digits[20];
    size_t count = 0;
    do digits[count++] = (char)('0' + value % 10);
    while ((value /= 10) > 0);
    for (size_t i = 0; i < count; i++) to[i] = digits[count - 1 - i];
    return count;
}

int64_t number_of(const char *json, size_t size, const char *key) {
    size_t key_size = strlen(key);
    for (size_t at = 0; at + key_size + 3 < size; at++) {
        if (json[at] != '"' || memcmp(json + at + 1, key, key_size) != 0) continue;
        const char *digit = json + at + 1 + key_size;
        if (digit[0] != '"' || digit[1] != ':') continue;
        int64_t value = 0;
        for (digit += 2; digit < json + size && *digit >= '0' && *digit <= '9'; digit++)
            value = value * 10 + (*digit - '0');
        return value;
    }
    return -1;
}

// ---- Saying -----------------------------------------------------------------------------------------------

static void watch(client *at, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.u32 = at->index};
    if (epoll_ctl(at->all->epoll, operation, at->socket, &event) != 0) die("epoll: %s", strerror(errno));
}

static void flush(client *at) {
    while (at->out_sent < at->out_size) {
        ssize_t sent = send(at->socket, at->out + at->out_sent, at->out_size - at->out_sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && errno == EAGAIN) {
            if (!at->is_blocked) watch(at, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            at->is_blocked = true;
            return;
        }
        if (sent < 0) die("connection %u: %s", at->index, strerror(errno));
        at->out_sent += (size_t)sent;
    }
    at->out_sent = at->out_size = 0;
    if (at->is_blocked) watch(at, EPOLL_CTL_MOD, EPOLLIN);
    at->is_blocked = false;
}

void clients_flush(clients *all) {
    for (unsigned i = 0; i < all->touched_count; i++) {
        all->touched[i]->is_touched = false;
        if (!all->touched[i]->is_blocked) flush(all->touched[i]);
    }
    all->touched_count = 0;
}

char *client_room(client *at, size_t size) {
    if (at->out_size >= OUT_EAGER && !at->is_blocked) flush(at);
    if (at->out_size + size > at->out_capacity) {
        at->out_capacity = at->out_capacity * 2 + size + 256;
        at->out = need(realloc(at->out, at->out_capacity));
    }
    return at->out + at->out_size;
}

void client_said(client *at, size_t size) {
    at->out_size += size;
    if (at->is_touched) return;
    at->is_touched = true;
    at->all->touched[at->all->touched_count++] = at;
}

void client_say(client *at, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *to = client_room(at, 4096);
    int size = vsnprintf(to, 4096, format, arguments);
    va_end(arguments);
    if (size < 0 || size >= 4096) die("too long to say: %s", format);
    client_said(at, (size_t)size);
}

void client_publish(client *at, const char *subject, const char *reply, const void *data, size_t size) {
    size_t subject_size = strlen(subject), reply_size = strlen(reply);
    char *begin = client_room(at, subject_size + reply_size + size + 40), *to = begin;
    memcpy(to, "PUB ", 4), to += 4;
    memcpy(to, subject, subject_size), to += subject_size;
    *to++ = ' ';
    if (reply_size > 0) {
        memcpy(to, reply, reply_size), to += reply_size;
        *to++ = ' ';
    }
    to += put_number(to, size);
    memcpy(to, "\r\n", 2), to += 2;
    memcpy(to, data, size), to += size;
    memcpy(to, "\r\n", 2), to += 2;
    client_said(at, (size_t)(to - begin));
}

// ---- Hearing ----------------------------------------------------------------------------------------------

static void hand_out(client *at, const message *received) {
    static const char asked[] = "ask";
    clients *all = at->all;
    bool is_answer = all->is_asking && received->sid == INBOX_SID &&
                     received->subject_size == at->inbox_size + sizeof asked - 1 &&
                     memcmp(received->subject + at->inbox_size, asked, sizeof asked - 1) == 0;
    if (!is_answer) {
        if (at->receive == NULL)
            die("a message for nobody: %.*s", (int)received->subject_size, received->subject);
        at->receive(at, received);
        return;
    }
    if (received->headers_size > 0 && received->data_size == 0) // no responders
        die("no answer: %.*s", (int)received->headers_size, received->headers);
    if (received->data_size >= ANSWER_MAX) die("an answer of %zu bytes", received->data_size);
    memcpy(all->answer, received->data, received->data_size);
    all->answer[received->data_size] = '\0';
    all->answer_size = received->data_size;
    all->is_asking = false;
}

static size_t number_in(const char *text, size_t size) {
    size_t value = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9') die("a number expected: %.*s", (int)size, text);
        value = value * 10 + (size_t)(text[i] - '0');
    }
    return value;
}

// Words of a line, split at blanks.
static unsigned split(const char *line, const char *end, const char **words, size_t *sizes) {
    unsigned count = 0;
    while (line < end && count < WORDS_MAX) {
        const char *stop = memchr(line, ' ', (size_t)(end - line));
        if (stop == NULL) stop = end;
        words[count] = line;
        sizes[count++] = (size_t)(stop - line);
        line = stop + 1;
    }
    return count;
}

// [H]MSG subject sid [reply] [headers] size. Bytes of the whole operation; 0: it has not all come.
static size_t take_message(client *at, const char *data, size_t size, const char *line_end) {
    const char *words[WORDS_MAX];
    size_t sizes[WORDS_MAX];
    bool has_headers = data[0] == 'H';
    unsigned count = split(data + (has_headers ? 5 : 4), line_end, words, sizes), least = has_headers ? 4 : 3;
    if (count < least || count > least + 1) die("not understood: %.*s", (int)(line_end - data), data);
    size_t begin = (size_t)(line_end - data) + 2, all_size = number_in(words[count - 1], sizes[count - 1]);
    if (size < begin + all_size + 2) return 0;
    message received = {.subject = words[0], .subject_size = sizes[0]};
    received.sid = (unsigned)number_in(words[1], sizes[1]);
    if (count > least) received.reply = words[2], received.reply_size = sizes[2];
    if (has_headers) received.headers_size = number_in(words[count - 2], sizes[count - 2]);
    received.headers = data + begin;
    received.data = data + begin + received.headers_size;
    received.data_size = all_size - received.headers_size;
    hand_out(at, &received);
    return begin + all_size + 2;
}

// Everything that has come whole; how many bytes that were.
static size_t take_operations(client *at, const char *data, size_t size) {
    size_t taken = 0;
    while (taken < size) {
        const char *here = data + taken, *end = memchr(here, '\n', size - taken);
        if (end == NULL) break;
        size_t line_size = (size_t)(end - here) + 1;
        if (here[0] == 'M' || here[0] == 'H') {
            line_size = take_message(at, here, size - taken, end - 1);
            if (line_size == 0) break;
        } else if (here[0] == 'P' && here[1] == 'I') {
            client_say(at, "PONG\r\n");
        } else if (here[0] == 'P') {
            at->pong_count++;
        } else if (here[0] != 'I' && here[0] != '+') { // INFO and +OK say nothing new
            die("the server says: %.*s", (int)line_size - 2, here);
        }
        taken += line_size;
    }
    return taken;
}

static void hear(client *at) {
    char *in = at->all->in;
    size_t rest_size = at->rest_size;
    if (rest_size > 0) memcpy(in, at->rest, rest_size);
    ssize_t got = recv(at->socket, in + rest_size, IN_CAPACITY - rest_size, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0)
        die("connection %u ended: %s", at->index, got == 0 ? "closed by the server" : strerror(errno));
    size_t size = rest_size + (size_t)got, taken = take_operations(at, in, size);
    at->rest_size = size - taken;
    if (at->rest_size == IN_CAPACITY) die("an operation of more than %d bytes", (int)IN_CAPACITY);
    if (at->rest_size > at->rest_capacity) {
        at->rest_capacity = at->rest_size * 2;
        at->rest = need(realloc(at->rest, at->rest_capacity));
    }
    if (at->rest_size > 0) memcpy(at->rest, in + taken, at->rest_size);
}

// How many clients had something.
static int turn(clients *all, int64_t limit_ns) {
    struct epoll_event events[EVENTS_MAX];
    struct timespec limit = {.tv_sec = limit_ns / 1000000000, .tv_nsec = limit_ns % 1000000000};
    clients_flush(all);
    int count = epoll_pwait2(all->epoll, events, EVENTS_MAX, &limit, NULL);
    if (count < 0 && errno != EINTR) die("epoll: %s", strerror(errno));
    for (int i = 0; i < count; i++) {
        client *at = &all->items[events[i].data.u32];
        if ((events[i].events & EPOLLOUT) != 0) flush(at);
        if ((events[i].events & ~(uint32_t)EPOLLOUT) != 0) hear(at);
    }
    return count;
}

void clients_turn(clients *all, int64_t limit_ns) {
    (void)turn(all, limit_ns);
}

void clients_wait(clients *all) {
    if (turn(all, PATIENCE_NS) == 0) die("nothing has come for a minute");
}

// ---- Coming and going -------------------------------------------------------------------------------------

void clients_init(clients *all, int port, unsigned capacity) {
    *all = (clients){.port = port, .capacity = capacity, .epoll = epoll_create1(0)};
    if (all->epoll < 0) die("epoll: %s", strerror(errno));
    all->items = need(calloc(capacity, sizeof *all->items));
    all->touched = need(calloc(capacity, sizeof *all->touched));
    all->in = need(malloc(IN_CAPACITY));
}

client *clients_join(clients *all) {
    if (all->count == all->capacity) die("more than %u clients", all->capacity);
    client *at = &all->items[all->count];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)all->port)};
    int one = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *at = (client){.all = all, .index = all->count++, .socket = socket(AF_INET, SOCK_STREAM, 0)};
    if (at->socket < 0 || connect(at->socket, (const struct sockaddr *)&address, sizeof address) != 0 ||
        setsockopt(at->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0 ||
        fcntl(at->socket, F_SETFL, O_NONBLOCK) != 0)
        die("connection %u: %s", at->index, strerror(errno));
    watch(at, EPOLL_CTL_ADD, EPOLLIN);
    at->inbox_size =
        (size_t)snprintf(at->inbox, sizeof at->inbox, "_INBOX.%ld.%u.", (long)getpid(), at->index);
    client_say(at,
               "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,"
               "\"lang\":\"c\",\"version\":\"1\",\"protocol\":1}\r\nSUB %s> %d\r\n",
               at->inbox, INBOX_SID);
    client_sync(at);
    return at;
}

void clients_free(clients *all) {
    for (unsigned i = 0; i < all->count; i++) {
        (void)close(all->items[i].socket);
        free(all->items[i].rest);
        free(all->items[i].out);
    }
    (void)close(all->epoll);
    free(all->items);
    free(all->touched);
    free(all->in);
}

void client_sync(client *at) {
    uint64_t wanted = at->pong_count + 1;
    client_say(at, "PING\r\n");
    while (at->pong_count < wanted) clients_wait(at->all);
}

const char *clients_ask(client *at, const char *subject, const char *body) {
    char reply[INBOX_MAX + 4];
    (void)snprintf(reply, sizeof reply, "%sask", at->inbox);
    at->all->is_asking = true;
    client_publish(at, subject, reply, body, strlen(body));
    while (at->all->is_asking) clients_wait(at->all);
    return at->all->answer;
}

const char *clients_call(client *at, const char *subject, const char *body) {
    const char *answer = clients_ask(at, subject, body);
    if (strstr(answer, "\"error\":") != NULL) die("%s %s: %s", subject, body, answer);
    return answer;
}
