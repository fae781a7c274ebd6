// SPDX-License-Identifier: Apache-2.0
// Messages that are not kept: one publisher to many subscribers, and requests. A message carries its number and the time it
// was due; every subscriber must get every number in order.
#define _POSIX_C_SOURCE 200809L
#include "rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUBSCRIPTION_SID = 2 };

// At the beginning of every message.
typedef struct stamp {
    uint64_t number;
    int64_t due_ns;
} stamp;

static struct {
    const plan *plan;
    char *data;
    uint64_t *received; // of each subscriber
    uint64_t said, received_all;
    int64_t begin_ns, end_ns;
    cli_latencies latencies;
} fan;

static void take_copy(client *at, const message *received) {
    stamp stamped;
    uint64_t *count = at->context;
    if (received->data_size != fan.plan->size) die("a message of %zu bytes", received->data_size);
    memcpy(&stamped, received->data, sizeof stamped);
    if (stamped.number != *count)
        die("message %llu came for message %llu", (unsigned long long)stamped.number,
            (unsigned long long)*count);
    ++*count;
    fan.received_all++;
    if (fan.plan->rate > 0) cli_latencies_add(&fan.latencies, now_ns() - stamped.due_ns);
}

static void say_message(client *at, int64_t due_ns) {
    stamp stamped = {fan.said++, due_ns};
    memcpy(fan.data, &stamped, sizeof stamped);
    client_publish(at, "fan.out", "", fan.data, fan.plan->size);
}

static uint64_t slowest(void) {
    uint64_t least = fan.received[0];
    for (unsigned i = 1; i < fan.plan->connections; i++) {
        if (fan.received[i] < least) least = fan.received[i];
    }
    return least;
}

// How long until the next message is due.
static int64_t say_messages(client *at) {
    int64_t at_ns = now_ns(), due_ns = at_ns;
    uint64_t end = slowest() + fan.plan->window;
    if (at_ns >= fan.end_ns) return 0;
    while (fan.said < end) {
        if (fan.plan->rate > 0) due_ns = fan.begin_ns + (int64_t)((double)fan.said / fan.plan->rate * 1e9);
        if (due_ns > at_ns) return due_ns - at_ns;
        say_message(at, due_ns);
    }
    return INT64_C(100000000);
}

void row_fan(const plan *of) {
    if (of->size < sizeof(stamp)) die("a message has %zu bytes at least", sizeof(stamp));
    clients all;
    clients_init(&all, of->port, of->connections + 1);
    fan.plan = of;
    fan.data = need(calloc(1, of->size));
    fan.received = need(calloc(of->connections, sizeof *fan.received));
    client *publisher = clients_join(&all);
    for (unsigned i = 0; i < of->connections; i++) {
        client *at = clients_join(&all);
        at->receive = take_copy;
        at->context = &fan.received[i];
        client_say(at, "SUB fan.out %d\r\n", SUBSCRIPTION_SID);
        client_sync(at);
    }
    usage begin = usage_now(of);
    fan.begin_ns = begin.at_ns;
    fan.end_ns = fan.begin_ns + (int64_t)(of->seconds * 1e9);
    while (now_ns() < fan.end_ns) clients_turn(&all, say_messages(publisher));
    while (fan.received_all < fan.said * of->connections) clients_wait(&all);
    usage end = usage_now(of);
    double through = (double)(fan.said + fan.received_all), server_s = end.server_s - begin.server_s;
    double seconds = (double)(end.at_ns - begin.at_ns) / 1e9;
    print_begin(of, &begin, server_s > 0 ? through / server_s : 0, "messages/server s");
    (void)printf(",\"messages\":%.0f,\"messages_per_s\":%.0f,\"published_per_s\":%.0f", through,
                 through / seconds, (double)fan.said / seconds);
    if (of->rate > 0) print_latencies(&fan.latencies);
    print_end();
    free(fan.data);
    free(fan.received);
    clients_free(&all);
}

// ---- Requests ---------------------------------------------------------------------------------------------

static struct {
    const plan *plan;
    client **idle;
    unsigned idle_count;
    char *data;
    uint64_t said, answered;
    int64_t begin_ns, end_ns;
    cli_latencies latencies;
} requests;

static void answer(client *at, const message *received) {
    char reply[128];
    if (received->reply_size == 0 || received->reply_size >= sizeof reply) die("a request without a reply");
    memcpy(reply, received->reply, received->reply_size);
    reply[received->reply_size] = '\0';
    client_publish(at, reply, "", received->data, received->data_size);
}

// The context of a requester is the number of what it asked last.
static void take_answer(client *at, const message *received) {
    uint64_t *asked = at->context;
    stamp stamped;
    if (received->data_size != requests.plan->size) die("an answer of %zu bytes", received->data_size);
    memcpy(&stamped, received->data, sizeof stamped);
    if (stamped.number != *asked) die("the answer to another request");
    *asked = UINT64_MAX;
    cli_latencies_add(&requests.latencies, now_ns() - stamped.due_ns);
    requests.answered++;
    requests.idle[requests.idle_count++] = at;
}

static int64_t say_requests(void) {
    int64_t at_ns = now_ns(), due_ns = at_ns;
    if (at_ns >= requests.end_ns) return 0;
    while (requests.idle_count > 0) {
        if (requests.plan->rate > 0)
            due_ns = requests.begin_ns + (int64_t)((double)requests.said / requests.plan->rate * 1e9);
        if (due_ns > at_ns) return due_ns - at_ns;
        client *at = requests.idle[--requests.idle_count];
        uint64_t *asked = at->context;
        stamp stamped = {requests.said++, due_ns};
        char reply[INBOX_MAX + 2];
        (void)snprintf(reply, sizeof reply, "%sr", at->inbox);
        *asked = stamped.number;
        memcpy(requests.data, &stamped, sizeof stamped);
        client_publish(at, "ask.this", reply, requests.data, requests.plan->size);
    }
    return INT64_C(100000000);
}

void row_request(const plan *of) {
    if (of->size < sizeof(stamp)) die("a request has %zu bytes at least", sizeof(stamp));
    clients all;
    clients_init(&all, of->port, of->connections + 1);
    requests.plan = of;
    requests.data = need(calloc(1, of->size));
    requests.idle = need(calloc(of->connections, sizeof(client *)));
    uint64_t *asked = need(calloc(of->connections, sizeof *asked));
    client *answerer = clients_join(&all);
    answerer->receive = answer;
    client_say(answerer, "SUB ask.this %d\r\n", SUBSCRIPTION_SID);
    client_sync(answerer);
    while (requests.idle_count < of->connections) {
        client *at = clients_join(&all);
        at->receive = take_answer;
        at->context = &asked[requests.idle_count];
        requests.idle[requests.idle_count++] = at;
    }
    usage begin = usage_now(of);
    requests.begin_ns = begin.at_ns;
    requests.end_ns = requests.begin_ns + (int64_t)(of->seconds * 1e9);
    while (now_ns() < requests.end_ns) clients_turn(&all, say_requests());
    while (requests.answered < requests.said) clients_wait(&all);
    print_begin(of, &begin, (double)requests.answered / ((double)(now_ns() - begin.at_ns) / 1e9),
                "requests/s");
    (void)printf(",\"messages\":%llu", (unsigned long long)requests.answered);
    print_latencies(&requests.latencies);
    print_end();
    free(requests.data);
    free(requests.idle);
    free(asked);
    clients_free(&all);
}
