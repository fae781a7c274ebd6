// SPDX-License-Identifier: Apache-2.0
// Clients of NATS, many in one thread, made to cost little beside a server: what is said collects in a buffer and goes out once
// a turn, what comes is read into one buffer that all share and handed out where it lies.
//
//     clients all;
//     clients_init(&all, port, 2);
//     client *one = clients_join(&all);             // connected, CONNECT, a subscription of its own inbox, PONG
//     one->receive = take;                          // called for every message
//     client_publish(one, "orders.1", reply, data, size);
//     while (...) clients_turn(&all, limit_ns);     // sends, waits for something to come, hands it out
//
// Anything unexpected (-ERR, an end of the connection, text that is no protocol) ends the process with a word: a measurement
// in which something went wrong is none.
#ifndef DBK_BENCH_SERVER_CLIENT_H
#define DBK_BENCH_SERVER_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { INBOX_SID = 1, INBOX_MAX = 64, ANSWER_MAX = 64 * 1024 };

// Slices of the buffer: gone after the call.
typedef struct message {
    const char *subject, *reply, *headers, *data;
    size_t subject_size, reply_size, headers_size,
        data_size; // reply_size, headers_size: 0 where there are none
    unsigned sid;
} message;

typedef struct client client;
typedef struct clients clients;

struct client {
    clients *all;
    int socket;
    unsigned index;
    void (*receive)(client *at, const message *received);
    void *context;
    char inbox[INBOX_MAX]; // "_INBOX.<process>.<index>."; subscribed with ">" behind it
    size_t inbox_size;
    char *rest; // the beginning of an operation whose end has not come
    size_t rest_size, rest_capacity;
    char *out;
    size_t out_size, out_sent, out_capacity;
    bool is_touched, is_blocked;
    uint64_t pong_count;
};

struct clients {
    int epoll, port;
    client *items;
    unsigned count, capacity;
    client **touched;
    unsigned touched_count;
    char *in;
    char answer[ANSWER_MAX]; // of clients_ask
    size_t answer_size;
    bool is_asking;
};

_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
void *need(void *memory);
int64_t now_ns(void);

/// At most `capacity` clients of 127.0.0.1:port.
void clients_init(clients *all, int port, unsigned capacity);
client *clients_join(clients *all);
void clients_free(clients *all);

/// Sends what was said, waits until something came or so much time has passed (0: does not wait), reads it and calls
/// `receive` of whom it came to.
void clients_turn(clients *all, int64_t limit_ns);
/// A turn, but never without end: ends the process where nothing comes for 60 s.
void clients_wait(clients *all);
/// Sends what was said, without waiting.
void clients_flush(clients *all);

/// Room for `size` bytes at the end of what is said; client_said adds what was written there.
char *client_room(client *at, size_t size);
void client_said(client *at, size_t size);
void client_say(client *at, const char *format, ...) __attribute__((format(printf, 2, 3)));
void client_publish(client *at, const char *subject, const char *reply, const void *data, size_t size);
/// Waits until the server has seen what was said so far.
void client_sync(client *at);
/// A request; waits for the one answer, which is a text in all->answer until the next one. Meanwhile other messages are
/// handed out.
const char *clients_ask(client *at, const char *subject, const char *body);
/// The same, of JetStream's API; an answer with an error ends the process.
const char *clients_call(client *at, const char *subject, const char *body);

/// The digits behind `"key":` in a JSON text; -1: there is no such key.
int64_t number_of(const char *json, size_t size, const char *key);
/// The digits of `value` at `to` (room for 20); how many.
size_t put_number(char *to, uint64_t value);

#endif
