// SPDX-License-Identifier: Apache-2.0
// One measurement on one server of NATS clients, as one JSON object on standard output. `run` starts the servers and asks for
// these in turn.
//
//     bench_server ROW --port PORT [--process PID] [OPTION…]
//
// publish  events into the stream BENCH, each acknowledged: --connections, of each at most --window not yet acknowledged, for
//          --seconds or --count of them; --mode plain, last or wildcard (what is expected of the aggregate's last sequence);
//          --open aggregates that grow at the same time, --aggregates of them in all (0: a new one where one is full)
// fan      one publisher, --connections subscribers of the same subject, at most --window messages on their way
// request  --connections requesters, one answerer
// load     random aggregates of what `publish` wrote with --aggregates: --mode push, pull (a consumer made for each) or direct
// replay   the whole stream: --mode push or pull
// idle     --connections that do nothing: memory of the server
// wait     how long since --since (nanoseconds of CLOCK_MONOTONIC) until the last of --count messages can be read, and until the
//          stream says how many it has
//
// --rate N sends by the clock, however long the answers take; latencies are counted from the moment a message was due.
// Whatever is not as it must be (an error, an answer twice, a message lost, twice or out of order) ends it with exit code 1.
#define _POSIX_C_SOURCE 200809L
#include "rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

enum { NOTES_SIZE = 1 << 16 };

const char *const event_types[STEPS] = {"placed",  "priced", "reserved",  "paid",     "packed",
                                        "shipped", "moved",  "delivered", "reviewed", "closed"};
static char notes[NOTES_SIZE];

uint64_t draw(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

// ---- Events -----------------------------------------------------------------------------------------------

static void make_notes(void) {
    static const char *const words[] = {"blue ",      "paper ",  "to be ", "left ",    "with ", "the ",
                                        "neighbour ", "green ",  "large ", "fragile ", "card ", "gift ",
                                        "door ",      "please ", "ring ",  "small "};
    uint64_t state = 17;
    size_t at = 0;
    while (at < NOTES_SIZE) {
        for (const char *word = words[draw(&state) & 15]; *word != '\0' && at < NOTES_SIZE; word++)
            notes[at++] = *word;
    }
}

static size_t put_head(char *to, uint64_t aggregate, unsigned step) {
    static const char first[] = "{\"order\":", second[] = ",\"step\":", third[] = ",\"note\":\"";
    char *begin = to;
    memcpy(to, first, sizeof first - 1), to += sizeof first - 1;
    to += put_number(to, aggregate);
    memcpy(to, second, sizeof second - 1), to += sizeof second - 1;
    to += put_number(to, step);
    memcpy(to, third, sizeof third - 1), to += sizeof third - 1;
    return (size_t)(to - begin);
}

void put_event(char *to, size_t size, uint64_t aggregate, unsigned step) {
    size_t used = put_head(to, aggregate, step);
    uint64_t state = aggregate * STEPS + step;
    memcpy(to + used, notes + draw(&state) % (NOTES_SIZE - size), size - used - 2);
    memcpy(to + size - 2, "\"}", 2);
}

bool is_event(const char *data, size_t size, uint64_t aggregate, unsigned step) {
    char head[80];
    size_t used = put_head(head, aggregate, step);
    return size >= used && memcmp(data, head, used) == 0;
}

// ---- The stream -------------------------------------------------------------------------------------------

void make_stream(client *at, const plan *of) {
    char body[1024];
    (void)snprintf(body, sizeof body,
                   "{\"name\":\"" STREAM
                   "\",\"subjects\":[\"bench.>\"],\"retention\":\"limits\",\"storage\":\"file\","
                   "\"max_consumers\":-1,\"max_msgs\":-1,\"max_bytes\":-1,\"max_age\":0,\"discard\":\"old\","
                   "\"num_replicas\":1,\"allow_direct\":true%s%s}",
                   of->settings[0] != '\0' ? "," : "", of->settings);
    (void)clients_call(at, "$JS.API.STREAM.CREATE." STREAM, body);
}

uint64_t count_stream(client *at, uint64_t *last_seq_out) {
    const char *answer = clients_call(at, "$JS.API.STREAM.INFO." STREAM, ""),
               *state = strstr(answer, "\"state\":");
    if (state == NULL) die("no state: %s", answer);
    int64_t count = number_of(state, strlen(state), "messages"),
            last = number_of(state, strlen(state), "last_seq");
    if (count < 0 || last < 0) die("no counts: %s", answer);
    if (last_seq_out != NULL) *last_seq_out = (uint64_t)last;
    return (uint64_t)count;
}

// ---- What the server takes --------------------------------------------------------------------------------

static size_t read_process_file(const plan *of, const char *name, char *to, size_t capacity) {
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%ld/%s", of->process, name);
    FILE *file = fopen(path, "r");
    if (file == NULL) die("there is no process %ld", of->process);
    size_t size = fread(to, 1, capacity - 1, file);
    (void)fclose(file);
    to[size] = '\0';
    return size;
}

usage usage_now(const plan *of) {
    usage now = {.at_ns = now_ns()};
    struct rusage own;
    (void)getrusage(RUSAGE_SELF, &own);
    now.own_s = (double)(own.ru_utime.tv_sec + own.ru_stime.tv_sec) +
                (double)(own.ru_utime.tv_usec + own.ru_stime.tv_usec) / 1e6;
    if (of->process == 0) return now;
    char text[1024];
    (void)read_process_file(of, "stat", text, sizeof text);
    const char *field = strrchr(text, ')'); // the name may hold blanks
    for (int i = 0; field != NULL && i < 12; i++) field = strchr(field + 1, ' ');
    char *end = NULL;
    if (field == NULL) die("/proc/%ld/stat is not understood", of->process);
    unsigned long long user = strtoull(field, &end, 10), system = strtoull(end, NULL, 10);
    now.server_s = (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
    return now;
}

uint64_t resident_bytes(const plan *of) {
    char text[256], *end = NULL;
    (void)read_process_file(of, "statm", text, sizeof text);
    (void)strtoull(text, &end, 10);
    return strtoull(end, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

void print_begin(const plan *of, const usage *begin, double value, const char *unit) {
    usage now = usage_now(of);
    double seconds = (double)(now.at_ns - begin->at_ns) / 1e9;
    (void)printf("{\"row\":\"%s\",\"mode\":\"%s\",\"value\":%.3f,\"unit\":\"%s\",\"seconds\":%.3f,\"server_"
                 "cpu_s\":%.2f,"
                 "\"generator_cpu_s\":%.2f",
                 of->row, of->mode, value, unit, seconds, now.server_s - begin->server_s,
                 now.own_s - begin->own_s);
}

void print_latencies(const cli_latencies *of) {
    (void)printf(",\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f",
                 cli_latencies_percentile(of, 0.5), cli_latencies_percentile(of, 0.99),
                 cli_latencies_percentile(of, 0.999), (double)of->longest_ns / 1e3);
}

void print_end(void) {
    (void)puts("}");
    if (fflush(stdout) != 0) die("standard output cannot be written");
}

// ---- The command line -------------------------------------------------------------------------------------

static const struct {
    const char *name;
    void (*measure)(const plan *of);
} rows[] = {{"publish", row_publish}, {"fan", row_fan},   {"request", row_request}, {"load", row_load},
            {"replay", row_replay},   {"idle", row_idle}, {"wait", row_wait}};

static double number_given(const char *name, const char *value) {
    char *end;
    double number = strtod(value, &end);
    if (end == value || *end != '\0' || number < 0) die("%s wants a number, not %s", name, value);
    return number;
}

static void take_option(plan *to, const char *name, const char *value) {
    if (strcmp(name, "--mode") == 0)
        to->mode = value;
    else if (strcmp(name, "--settings") == 0)
        to->settings = value;
    else if (strcmp(name, "--port") == 0)
        to->port = (int)number_given(name, value);
    else if (strcmp(name, "--process") == 0)
        to->process = (long)number_given(name, value);
    else if (strcmp(name, "--seconds") == 0)
        to->seconds = number_given(name, value);
    else if (strcmp(name, "--rate") == 0)
        to->rate = number_given(name, value);
    else if (strcmp(name, "--count") == 0)
        to->count = (uint64_t)number_given(name, value);
    else if (strcmp(name, "--aggregates") == 0)
        to->aggregates = (uint64_t)number_given(name, value);
    else if (strcmp(name, "--open") == 0)
        to->open = (uint64_t)number_given(name, value);
    else if (strcmp(name, "--connections") == 0)
        to->connections = (unsigned)number_given(name, value);
    else if (strcmp(name, "--window") == 0)
        to->window = (unsigned)number_given(name, value);
    else if (strcmp(name, "--size") == 0)
        to->size = (unsigned)number_given(name, value);
    else if (strcmp(name, "--since") == 0)
        to->since_ns = (int64_t)strtoll(value, NULL, 10); // exact
    else
        die("unknown option %s", name);
}

int main(int count, char **arguments) {
    plan of = {
        .mode = "", .settings = "", .seconds = 5, .open = 1000, .connections = 1, .window = 1, .size = 256};
    if (count < 2 || count % 2 != 0) die("bench_server ROW --port PORT [OPTION VALUE]…");
    for (int i = 2; i + 1 < count; i += 2) take_option(&of, arguments[i], arguments[i + 1]);
    if (of.connections == 0 || of.window == 0 || of.open == 0) die("nothing cannot be measured");
    if (of.port == 0) die("--port is missing");
    of.row = arguments[1];
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    (void)prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL); // --rate waits for microseconds
    make_notes();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(rows[i].name, of.row) != 0) continue;
        rows[i].measure(&of);
        return 0;
    }
    die("there is no row %s", of.row);
}
