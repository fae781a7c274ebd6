// SPDX-License-Identifier: Apache-2.0
// The rows bench_server can measure: each works on one server that runs, checks every answer and prints one JSON object.
#ifndef DBK_BENCH_SERVER_ROWS_H
#define DBK_BENCH_SERVER_ROWS_H

#include "client.h"

#include "cli/latencies.h"

// One stream for all rows. An event's subject is bench.<aggregate>.<type>.
#define STREAM "BENCH"
enum { STEPS = 10 }; // events of an aggregate

typedef struct plan {
    const char *row, *mode, *settings; // settings: of the stream, more members of its JSON
    int port;
    long process;         // of the server; 0: nobody asks for its time
    double seconds, rate; // rate: messages a second, 0: as many as it takes
    uint64_t count;       // of messages; 0: as many as `seconds` has room for
    uint64_t aggregates, open;
    unsigned connections, window, size;
    int64_t since_ns;
} plan;

extern const char *const event_types[STEPS];

// What the server and this process have used so far.
typedef struct usage {
    int64_t at_ns;
    double server_s, own_s;
} usage;

usage usage_now(const plan *of);
/// Resident bytes of the server.
uint64_t resident_bytes(const plan *of);

/// `{"row":…,"value":…,"unit":…` and what both took since `begin`; the caller adds members and print_end.
void print_begin(const plan *of, const usage *begin, double value, const char *unit);
void print_latencies(const cli_latencies *of);
void print_end(void);

/// Makes the stream where it is not there.
void make_stream(client *at, const plan *of);
/// Messages in the stream; last_seq_out may be NULL.
uint64_t count_stream(client *at, uint64_t *last_seq_out);
/// An event's data, `size` bytes of JSON at `to`, made of words as texts are.
void put_event(char *to, size_t size, uint64_t aggregate, unsigned step);
/// Was this made by put_event for that aggregate and step?
bool is_event(const char *data, size_t size, uint64_t aggregate, unsigned step);
uint64_t draw(uint64_t *state);

void row_publish(const plan *of);
void row_fan(const plan *of);
void row_request(const plan *of);
void row_load(const plan *of);
void row_replay(const plan *of);
void row_idle(const plan *of);
void row_wait(const plan *of);

#endif
