// SPDX-License-Identifier: Apache-2.0
// Reading the stream: one aggregate at a time, or everything. What `publish` wrote with --aggregates A --open A is known, so
// that every event of an aggregate is checked; of a replay every sequence.
#define _POSIX_C_SOURCE 200809L
#include "rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DELIVERY_SID = 2, PULL_BATCH = 5000, LOAD_BATCH = 64, NAME_MAX_SIZE = 32, SUBJECT_MAX_SIZE = 64 };

// What an ordered consumer of the clients' libraries asks for.
#define ORDERED                                                                                           \
    "\"deliver_policy\":\"all\",\"ack_policy\":\"none\",\"max_deliver\":1,\"replay_policy\":\"instant\"," \
    "\"ack_wait\":79200000000000,\"inactive_threshold\":300000000000,\"num_replicas\":1,\"mem_storage\":" \
    "true"
#define PUSHED "\"flow_control\":true,\"idle_heartbeat\":5000000000,"

static struct {
    const plan *plan;
    char name[NAME_MAX_SIZE]; // of the consumer
    uint64_t aggregate;       // that is loaded
    unsigned step_count;      // of its events came
    unsigned pending;         // as its consumer was made
    bool is_at_end, is_made;
    uint64_t messages, bytes, seq, asked_until; // of a replay
} run;

// ---- Messages of a consumer -------------------------------------------------------------------------------

// The number `from_end` words before the last of a reply: 0 what is pending, 3 the stream's sequence.
static uint64_t reply_number(const message *of, unsigned from_end) {
    const char *begin = of->reply, *end = begin + of->reply_size;
    for (;; from_end--) {
        const char *dot = end;
        while (dot > begin && dot[-1] != '.') dot--;
        if (dot == begin) die("not a consumer's message: %.*s", (int)of->reply_size, of->reply);
        if (from_end == 0) {
            uint64_t number = 0;
            for (const char *digit = dot; digit < end; digit++)
                number = number * 10 + (uint64_t)(*digit - '0');
            return number;
        }
        end = dot - 1;
    }
}

// "NATS/1.0 100 …": the code; 0: no status.
static int status_of(const message *of) {
    if (of->headers_size <= 12 || of->headers[8] != ' ') return 0;
    int code = 0;
    for (const char *digit = of->headers + 9; digit < of->headers + 12; digit++) {
        if (*digit < '0' || *digit > '9') return 0;
        code = code * 10 + (*digit - '0');
    }
    return code;
}

// Flow control and heartbeats of a consumer that pushes.
static void answer_flow(client *at, const message *received) {
    static const char stalled[] = "Nats-Consumer-Stalled: ";
    char reply[256];
    size_t size = received->reply_size;
    const char *from = received->reply;
    for (size_t i = 0; size == 0 && i + sizeof stalled < received->headers_size; i++) {
        if (memcmp(received->headers + i, stalled, sizeof stalled - 1) != 0) continue;
        from = received->headers + i + sizeof stalled - 1;
        while (from + size < received->headers + received->headers_size && from[size] != '\r') size++;
    }
    if (size == 0) return;
    if (size >= sizeof reply) die("a reply of %zu bytes", size);
    memcpy(reply, from, size);
    reply[size] = '\0';
    client_publish(at, reply, "", "", 0);
}

static bool is_inbox(const client *at, const message *received, char what) {
    return received->sid == INBOX_SID && received->subject_size == at->inbox_size + 1 &&
           received->subject[at->inbox_size] == what;
}

// ---- One aggregate ----------------------------------------------------------------------------------------

static void take_event(const message *received) {
    if (!is_event(received->data, received->data_size, run.aggregate, run.step_count))
        die("of aggregate %llu came %.*s where step %u was to", (unsigned long long)run.aggregate,
            (int)received->data_size, received->data, run.step_count);
    run.step_count++;
}

static void take_loaded(client *at, const message *received) {
    if (is_inbox(at, received, 'c')) { // the answer to the consumer's creation
        int64_t pending = number_of(received->data, received->data_size, "num_pending");
        if (pending < 0) die("no consumer: %.*s", (int)received->data_size, received->data);
        run.pending = (unsigned)pending;
        run.is_made = true;
        return;
    }
    int status = status_of(received);
    if (status == 100) {
        answer_flow(at, received);
    } else if (status == 204) {
        run.is_at_end = true;
    } else if (status != 0) {
        die("no events: %.*s", (int)received->headers_size, received->headers);
    } else {
        take_event(received);
        if (received->reply_size > 0 && reply_number(received, 0) == 0) run.is_at_end = true;
    }
}

static void create_consumer(client *at, const char *filter, bool is_push) {
    char subject[160], reply[INBOX_MAX + 2], body[1024], deliver[INBOX_MAX + 128] = "";
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.CREATE." STREAM ".%s.%s", run.name, filter);
    (void)snprintf(reply, sizeof reply, "%sc", at->inbox);
    if (is_push) {
        // Subscribed by its own name, as clients do: nats-server 2.12 delivers nothing to a subject that only a wildcard covers.
        client_say(at, "SUB DELIVER.%s %d\r\n", run.name, DELIVERY_SID);
        (void)snprintf(deliver, sizeof deliver, PUSHED "\"deliver_subject\":\"DELIVER.%s\",", run.name);
    }
    (void)snprintf(body, sizeof body,
                   "{\"stream_name\":\"" STREAM
                   "\",\"config\":{\"name\":\"%s\",\"filter_subject\":\"%s\",%s" ORDERED "}}",
                   run.name, filter, deliver);
    client_publish(at, subject, reply, body, strlen(body));
}

static void ask_next(client *at, unsigned batch, const char *how) {
    char subject[128], reply[INBOX_MAX + 2], body[128];
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.MSG.NEXT." STREAM ".%s", run.name);
    (void)snprintf(reply, sizeof reply, "%sd", at->inbox);
    (void)snprintf(body, sizeof body, "{\"batch\":%u,%s}", batch, how);
    client_publish(at, subject, reply, body, strlen(body));
}

static void load_by_consumer(client *at, const char *filter, bool is_push) {
    create_consumer(at, filter, is_push);
    if (!is_push) {
        while (!run.is_made) clients_wait(at->all);
        ask_next(at, run.pending, "\"no_wait\":true");
    }
    while (!run.is_made || !run.is_at_end) clients_wait(at->all);
}

static void load_direct(client *at, const char *filter) {
    char body[128], reply[INBOX_MAX + 2];
    (void)snprintf(body, sizeof body, "{\"seq\":1,\"batch\":%d,\"next_by_subj\":\"%s\"}", LOAD_BATCH, filter);
    (void)snprintf(reply, sizeof reply, "%sd", at->inbox);
    client_publish(at, "$JS.API.DIRECT.GET." STREAM, reply, body, strlen(body));
    while (!run.is_at_end) clients_wait(at->all);
}

static void delete_consumer(client *at) {
    char subject[128];
    if (strcmp(run.plan->mode, "push") == 0) client_say(at, "UNSUB %d\r\n", DELIVERY_SID);
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.DELETE." STREAM ".%s", run.name);
    (void)clients_call(at, subject, "");
}

static void load_one(client *at, uint64_t number) {
    bool is_direct = strcmp(run.plan->mode, "direct") == 0;
    char filter[SUBJECT_MAX_SIZE];
    (void)snprintf(run.name, sizeof run.name, "load%llu", (unsigned long long)number);
    (void)snprintf(filter, sizeof filter, "bench.%llu.>", (unsigned long long)run.aggregate);
    run.step_count = 0;
    run.is_at_end = run.is_made = false;
    if (is_direct)
        load_direct(at, filter);
    else
        load_by_consumer(at, filter, strcmp(run.plan->mode, "push") == 0);
    if (run.step_count != STEPS) die("%u events of aggregate %s", run.step_count, filter);
}

void row_load(const plan *of) {
    static cli_latencies taken;
    if (strcmp(of->mode, "push") != 0 && strcmp(of->mode, "pull") != 0 && strcmp(of->mode, "direct") != 0)
        die("load wants --mode push, pull or direct");
    if (of->aggregates == 0) die("load wants --aggregates as they were published");
    run.plan = of;
    clients all;
    clients_init(&all, of->port, 1);
    client *at = clients_join(&all);
    at->receive = take_loaded;
    uint64_t state = 42, count = 0;
    usage begin = usage_now(of);
    int64_t end_ns = begin.at_ns + (int64_t)(of->seconds * 1e9);
    while (now_ns() < end_ns) {
        run.aggregate = draw(&state) % of->aggregates;
        int64_t from_ns = now_ns();
        load_one(at, count++);
        cli_latencies_add(&taken, now_ns() - from_ns);
        if (strcmp(of->mode, "direct") != 0) delete_consumer(at);
    }
    print_begin(of, &begin, (double)count / ((double)(now_ns() - begin.at_ns) / 1e9), "loads/s");
    print_latencies(&taken);
    print_end();
    clients_free(&all);
}

// ---- Everything -------------------------------------------------------------------------------------------

static void take_replayed(client *at, const message *received) {
    if (is_inbox(at, received, 'c')) {
        run.is_made = true;
        return;
    }
    int status = status_of(received);
    if (status == 100) {
        answer_flow(at, received);
        return;
    }
    if (status != 0 && run.is_at_end) return; // what was asked for beyond the end
    if (status != 0) die("no replay: %.*s", (int)received->headers_size, received->headers);
    uint64_t seq = reply_number(received, 3);
    if (seq != run.seq + 1)
        die("sequence %llu came after %llu", (unsigned long long)seq, (unsigned long long)run.seq);
    run.seq = seq;
    run.messages++;
    run.bytes += received->data_size;
    if (reply_number(received, 0) == 0) run.is_at_end = true;
    if (strcmp(run.plan->mode, "pull") != 0 || run.messages + PULL_BATCH <= run.asked_until) return;
    ask_next(at, PULL_BATCH, "\"expires\":30000000000"); // two are on their way all the time
    run.asked_until += PULL_BATCH;
}

void row_replay(const plan *of) {
    bool is_push = strcmp(of->mode, "push") == 0;
    if (!is_push && strcmp(of->mode, "pull") != 0) die("replay wants --mode push or pull");
    run.plan = of;
    clients all;
    clients_init(&all, of->port, 1);
    client *at = clients_join(&all);
    at->receive = take_replayed;
    uint64_t count = count_stream(at, NULL);
    (void)snprintf(run.name, sizeof run.name, "replay%lld", (long long)(now_ns() % 1000000000));
    usage begin = usage_now(of);
    create_consumer(at, "bench.>", is_push);
    while (!run.is_made) clients_wait(&all);
    for (int i = 0; i < 2 && !is_push; i++) {
        ask_next(at, PULL_BATCH, "\"expires\":30000000000");
        run.asked_until += PULL_BATCH;
    }
    while (!run.is_at_end) clients_wait(&all);
    double seconds = (double)(now_ns() - begin.at_ns) / 1e9;
    if (run.messages != count)
        die("%llu of %llu messages", (unsigned long long)run.messages, (unsigned long long)count);
    print_begin(of, &begin, (double)run.messages / seconds, "messages/s");
    (void)printf(",\"messages\":%llu,\"bytes_per_s\":%.0f", (unsigned long long)run.messages,
                 (double)run.bytes / seconds);
    print_end();
    delete_consumer(at);
    clients_free(&all);
}
