// SPDX-License-Identifier: Apache-2.0
// Events into the stream. Every event has a slot of its connection until it is acknowledged, and its reply subject names the
// slot: an acknowledgement of a slot that waits for none, or one with an error, ends the run. At the end the stream must have
// grown by what was acknowledged, and the sequences told must be all of those, each once (by their sum).
#define _POSIX_C_SOURCE 200809L
#include "rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum expectation { NOTHING, LAST, WILDCARD } expectation;

typedef struct slot {
    int64_t since_ns; // 0: it waits for no acknowledgement
    uint64_t aggregate, last_seq;
    unsigned step; // the next one; STEPS: the aggregate is full
} slot;

typedef struct publisher {
    client *link;
    slot *slots;
    unsigned *idle;
    unsigned idle_count;
    uint64_t next, first_aggregate; // events said so far; where its aggregates begin
} publisher;

static struct {
    const plan *plan;
    publisher *publishers;
    expectation expected;
    uint64_t next_aggregate;
    uint64_t said, acknowledged, seq_sum;
    int64_t begin_ns, end_ns;
    unsigned turn;
    cli_latencies latencies;
} run;

static char *put(char *to, const char *text) {
    size_t size = strlen(text);
    memcpy(to, text, size);
    return to + size;
}

// bench.<aggregate>.<what>
static char *put_subject(char *to, uint64_t aggregate, const char *what) {
    to = put(to, "bench.");
    to += put_number(to, aggregate);
    *to++ = '.';
    return put(to, what);
}

static size_t put_headers(char *to, const slot *of) {
    char *begin = to;
    to = put(to, "NATS/1.0\r\nNats-Expected-Last-Subject-Sequence: ");
    to += put_number(to, of->last_seq);
    if (run.expected == WILDCARD) {
        to = put(to, "\r\nNats-Expected-Last-Subject-Sequence-Subject: ");
        to = put_subject(to, of->aggregate, ">");
    }
    to = put(to, "\r\n\r\n");
    return (size_t)(to - begin);
}

static void choose_event(publisher *from, slot *of) {
    if (run.expected != NOTHING) { // the slot has an aggregate of its own
        if (of->step < STEPS) return;
        of->aggregate = run.next_aggregate++;
        of->step = 0;
        of->last_seq = 0;
        return;
    }
    uint64_t open = run.plan->open, number = from->next++;
    of->aggregate = from->first_aggregate + number / (open * STEPS) * open + number % open;
    if (run.plan->aggregates > 0) of->aggregate %= run.plan->aggregates;
    of->step = (unsigned)(number / open % STEPS);
}

static void say_event(publisher *from, unsigned index, int64_t due_ns) {
    slot *of = &from->slots[index];
    size_t size = run.plan->size, headers_size = 0;
    char headers[256];
    choose_event(from, of);
    if (run.expected != NOTHING) headers_size = put_headers(headers, of);
    char *begin = client_room(from->link, size + 512), *to = put(begin, headers_size > 0 ? "HPUB " : "PUB ");
    // Where one subject's last is expected, the whole aggregate is one subject.
    to = put_subject(to, of->aggregate, run.expected == LAST ? "event" : event_types[of->step]);
    *to++ = ' ';
    to = put(to, from->link->inbox);
    to += put_number(to, index);
    *to++ = ' ';
    if (headers_size > 0) {
        to += put_number(to, headers_size);
        *to++ = ' ';
    }
    to += put_number(to, headers_size + size);
    to = put(to, "\r\n");
    memcpy(to, headers, headers_size), to += headers_size;
    put_event(to, size, of->aggregate, of->step), to += size;
    to = put(to, "\r\n");
    client_said(from->link, (size_t)(to - begin));
    of->step++;
    of->since_ns = due_ns;
    run.said++;
}

static void take_acknowledgement(client *at, const message *received) {
    publisher *from = at->context;
    size_t index = 0;
    if (received->headers_size > 0)
        die("not acknowledged: %.*s", (int)received->headers_size, received->headers);
    for (size_t i = at->inbox_size; i < received->subject_size; i++)
        index = index * 10 + (size_t)(received->subject[i] - '0');
    if (index >= run.plan->window || from->slots[index].since_ns == 0)
        die("acknowledged twice: %.*s", (int)received->subject_size, received->subject);
    int64_t seq = number_of(received->data, received->data_size, "seq");
    if (seq <= 0) die("not acknowledged: %.*s", (int)received->data_size, received->data);
    slot *of = &from->slots[index];
    cli_latencies_add(&run.latencies, now_ns() - of->since_ns);
    of->since_ns = 0;
    of->last_seq = (uint64_t)seq;
    run.seq_sum += (uint64_t)seq;
    run.acknowledged++;
    from->idle[from->idle_count++] = (unsigned)index;
}

static bool has_more(int64_t at_ns) {
    return run.plan->count > 0 ? run.said < run.plan->count : at_ns < run.end_ns;
}

// As many as it takes.
static void say_all(void) {
    int64_t at_ns = now_ns();
    for (unsigned i = 0; i < run.plan->connections; i++) {
        publisher *from = &run.publishers[i];
        while (from->idle_count > 0 && has_more(at_ns))
            say_event(from, from->idle[--from->idle_count], now_ns());
    }
}

// What is due; how long until the next one is.
static int64_t say_due(void) {
    int64_t at_ns = now_ns(), due_ns = 0;
    unsigned tried = 0;
    while (tried < run.plan->connections) {
        due_ns = run.begin_ns + (int64_t)((double)run.said / run.plan->rate * 1e9);
        if (due_ns > at_ns || due_ns >= run.end_ns) break;
        publisher *from = &run.publishers[run.turn++ % run.plan->connections];
        if (from->idle_count == 0) {
            tried++;
            continue;
        }
        tried = 0;
        say_event(from, from->idle[--from->idle_count], due_ns);
    }
    return due_ns > at_ns ? due_ns - at_ns : INT64_C(100000000); // no slot: an acknowledgement comes
}

static void publish_all(clients *all) {
    run.begin_ns = now_ns();
    run.end_ns = run.begin_ns + (int64_t)(run.plan->seconds * 1e9);
    if (run.plan->rate > 0) {
        while (now_ns() < run.end_ns) clients_turn(all, say_due());
    } else {
        for (say_all(); run.acknowledged < run.said; say_all()) clients_wait(all);
    }
    while (run.acknowledged < run.said) clients_wait(all);
}

static void join_publishers(clients *all, uint64_t first_aggregate) {
    const plan *of = run.plan;
    run.publishers = need(calloc(of->connections, sizeof *run.publishers));
    run.next_aggregate = first_aggregate;
    for (unsigned i = 0; i < of->connections; i++) {
        publisher *at = &run.publishers[i];
        at->link = clients_join(all);
        at->link->receive = take_acknowledgement;
        at->link->context = at;
        at->slots = need(calloc(of->window, sizeof *at->slots));
        at->idle = need(calloc(of->window, sizeof *at->idle));
        at->first_aggregate = of->aggregates > 0 ? 0 : first_aggregate + i * UINT64_C(100000000);
        while (at->idle_count < of->window) {
            at->slots[at->idle_count].step = STEPS;
            at->idle[at->idle_count] = of->window - 1 - at->idle_count;
            at->idle_count++;
        }
    }
}

static void leave_publishers(void) {
    for (unsigned i = 0; i < run.plan->connections; i++) {
        free(run.publishers[i].slots);
        free(run.publishers[i].idle);
    }
    free(run.publishers);
}

static void check_stream(client *at, uint64_t count_before, uint64_t last_before) {
    uint64_t last, count = count_stream(at, &last), grown = count - count_before;
    if (grown != run.acknowledged || last - last_before != run.acknowledged)
        die("%llu acknowledged, but the stream has %llu more", (unsigned long long)run.acknowledged,
            (unsigned long long)grown);
    uint64_t sum = grown * last_before + grown * (grown + 1) / 2;
    if (run.seq_sum != sum) die("sequences were told twice or not at all");
}

void row_publish(const plan *of) {
    static const char *const modes[] = {"plain", "last", "wildcard"};
    unsigned mode = 0;
    while (mode < 3 && strcmp(of->mode, modes[mode]) != 0) mode++;
    if (mode == 3) die("publish wants --mode plain, last or wildcard");
    if (of->size < 80) die("an event has 80 bytes at least");
    run.plan = of;
    run.expected = (expectation)mode;
    clients all;
    clients_init(&all, of->port, of->connections + 1);
    client *asking = clients_join(&all);
    make_stream(asking, of);
    uint64_t last_before, count_before = count_stream(asking, &last_before);
    join_publishers(&all, last_before);
    usage begin = usage_now(of);
    publish_all(&all);
    double seconds = (double)(now_ns() - run.begin_ns) / 1e9;
    print_begin(of, &begin, (double)run.acknowledged / seconds, "messages/s");
    (void)printf(",\"messages\":%llu", (unsigned long long)run.acknowledged);
    print_latencies(&run.latencies);
    check_stream(asking, count_before, last_before);
    print_end();
    leave_publishers();
    clients_free(&all);
}
