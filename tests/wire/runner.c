// SPDX-License-Identifier: Apache-2.0
// One step after the other; a step that fails ends its case. What arrives must be expected: at the end of a case nothing may
// be left, but a PING or an INFO, which servers send when they like: those are taken, and PINGs answered, wherever a script
// does not wait for them.
#define _POSIX_C_SOURCE 200809L
#include "wire/runner.h"

#include <ctype.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

enum {
    LIMIT_MS = 10000,
    SHOWN_SIZE_MAX = 400,
    WHY_SIZE = 1024,
    LOG_SHOWN_SIZE = 2000,
    UNORDERED_MAX = 32,
    DRAIN_MS = 100
};

#define HELLO_JSON \
    "{\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\"protocol\":1}"

// ---- telling -----------------------------------------------------------------------------------------------------------------

static void show(text bytes) {
    for (size_t i = 0; i < bytes.size && i < SHOWN_SIZE_MAX; i++) {
        unsigned char c = (unsigned char)bytes.data[i];
        if (c == '\n') {
            fputs("\\n", stderr);
        } else if (c == '\r') {
            fputs("\\r", stderr);
        } else if (c < ' ' || c >= 0x7f) {
            fprintf(stderr, "\\x%02x", c);
        } else {
            fputc(c, stderr);
        }
    }
    if (bytes.size > SHOWN_SIZE_MAX) fprintf(stderr, " … (%zu bytes)", bytes.size);
    fputc('\n', stderr);
}

static void trace(const runner *run, const char *name, const char *arrow, text bytes) {
    if (!run->is_traced) return;
    fprintf(stderr, "    %s%s ", name, arrow);
    show(bytes);
}

// Always false, so that steps can return it.
static bool complain(runner *run, const step *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static bool complain(runner *run, const step *at, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s:%u: [%s] ", run->script->path, at->line, run->title);
    (void)vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return false;
}

static bool complain_of_bytes(runner *run, const step *at, const char *what, text bytes) {
    (void)complain(run, at, "%s", what);
    fputs("    what came: ", stderr);
    show(bytes);
    return false;
}

// ---- connections -------------------------------------------------------------------------------------------------------------

static size_t find_index(const runner *run, const char *name) {
    size_t i = 0;
    while (i < run->connection_count && strcmp(run->connections[i].name, name) != 0) i++;
    return i;
}

static connection *open_connection(runner *run, const step *at, const char *name) {
    size_t i = find_index(run, name);
    if (i == CONNECTION_COUNT_MAX) {
        (void)complain(run, at, "more than %d connections", CONNECTION_COUNT_MAX);
        return NULL;
    }
    if (i == run->connection_count) {
        run->connection_count++;
        (void)snprintf(run->connections[i].name, sizeof run->connections[i].name, "%s", name);
    } else {
        connection_close(&run->connections[i].at, false);
    }
    if (connection_open(&run->connections[i].at, run->server->port)) return &run->connections[i].at;
    (void)complain(run, at, "no connection to the server");
    return NULL;
}

// The connection with this name; opened where there is none yet.
static connection *find_connection(runner *run, const step *at, const char *name) {
    size_t i = find_index(run, name);
    if (i == run->connection_count) return open_connection(run, at, name);
    return &run->connections[i].at;
}

static void close_all(runner *run) {
    for (size_t i = 0; i < run->connection_count; i++) connection_close(&run->connections[i].at, false);
    run->connection_count = 0;
}

static void send_text(runner *run, const char *name, connection *to, const char *data, size_t size) {
    trace(run, name, ">", (text){data, size});
    if (!run->is_bytewise) {
        connection_send(to, data, size, LIMIT_MS);
        return;
    }
    for (size_t i = 0; i < size; i++) {
        const struct timespec pause = {0, 200000};
        connection_send(to, data + i, 1, LIMIT_MS);
        (void)nanosleep(&pause, NULL);
    }
}

static bool begins_with(text bytes, const char *start) {
    size_t size = strlen(start);
    return bytes.size >= size && memcmp(bytes.data, start, size) == 0;
}

// A PING or an INFO that nobody waits for.
static bool swallow(runner *run, connection *from, const char *pattern) {
    text line;
    if ((!begins_with((text){from->data, from->size}, "PING\r\n") || strncmp(pattern, "PING", 4) == 0) &&
        (!begins_with((text){from->data, from->size}, "INFO {") || strncmp(pattern, "INFO", 4) == 0))
        return false;
    if (!connection_lines(from, 1, run->limit_ms, &line)) return false;
    bool is_ping = line.data[0] == 'P';
    trace(run, "", "< (passed over)", line);
    connection_take(from, line.size + 2);
    if (is_ping) connection_send(from, "PONG\r\n", 6, LIMIT_MS);
    return true;
}

static size_t count_lines(const char *pattern) {
    size_t count = 1;
    for (const char *at = pattern; (at = strstr(at, "\\r\\n")) != NULL; at += 4) count++;
    return count;
}

// What the pattern asks for is there, and not yet taken.
static bool wait_for_lines(runner *run, connection *from, const char *pattern, text *said_out) {
    bool is_there;
    do {
        is_there = connection_lines(from, count_lines(pattern), run->limit_ms, said_out);
    } while (swallow(run, from, pattern));
    return is_there;
}

// ---- steps -------------------------------------------------------------------------------------------------------------------

static bool expect(runner *run, const step *at, connection *from) {
    char why[WHY_SIZE] = "";
    text said;
    if (!wait_for_lines(run, from, at->text, &said)) {
        (void)complain(run, at, "expected: %s", at->text);
        return complain_of_bytes(run, at, from->has_ended ? "the connection ended" : "time is over", said);
    }
    trace(run, at->name, "<", said);
    bool matches = at->kind == STEP_EXPECT_JSON ? match_json(at->text, said, &run->captured, why, sizeof why)
                                                : match_text(at->text, said, &run->captured, why, sizeof why);
    if (!matches) {
        (void)complain(run, at, "expected: %s", at->text);
        return complain_of_bytes(run, at, why, said);
    }
    connection_take(from, said.size + 2);
    return true;
}

static bool send_step(runner *run, const step *at, connection *to) {
    char why[WHY_SIZE] = "";
    size_t size;
    char *bytes = expand(at->text, &run->captured, &size, why, sizeof why);
    if (bytes == NULL) return complain(run, at, "%s", why);
    if (at->kind == STEP_SEND_LINE) {
        bytes = realloc(bytes, size + 3);
        if (bytes == NULL) exit(1);
        memcpy(bytes + size, "\r\n", 3);
        size += 2;
    }
    send_text(run, at->name, to, bytes, size);
    free(bytes);
    return true;
}

static bool expect_text(runner *run, const step *at, connection *from, const char *pattern) {
    step again = *at;
    again.kind = STEP_EXPECT;
    again.text = pattern;
    return expect(run, &again, from);
}

// "b {…}", "{…}", "b" or nothing: a name and JSON.
static const char *split_name(const char *at, char name[CONNECTION_NAME_SIZE]) {
    size_t size = *at == '{' ? 0 : strcspn(at, " ");
    if (size >= CONNECTION_NAME_SIZE) size = CONNECTION_NAME_SIZE - 1;
    memcpy(name, at, size);
    name[size] = '\0';
    at += size;
    return at + strspn(at, " ");
}

static bool say_hello(runner *run, const step *at, const char *name, const char *json) {
    connection *to = open_connection(run, at, name);
    char line[4200];
    if (to == NULL || !expect_text(run, at, to, "INFO <any>")) return false;
    int size = snprintf(line, sizeof line, "CONNECT %s\r\nPING\r\n", *json == '\0' ? HELLO_JSON : json);
    send_text(run, name, to, line, (size_t)size);
    if (strstr(json, "\"verbose\":true") != NULL && !expect_text(run, at, to, "+OK")) return false;
    return expect_text(run, at, to, "PONG");
}

static bool do_hello(runner *run, const step *at) {
    char name[CONNECTION_NAME_SIZE];
    const char *json = split_name(at->text, name);
    return say_hello(run, at, name, json);
}

static bool do_open(runner *run, const step *at) {
    char why[WHY_SIZE] = "";
    size_t size;
    char *name = expand(at->text, &run->captured, &size, why, sizeof why);
    if (name == NULL || size >= CONNECTION_NAME_SIZE) return complain(run, at, "a bad name: %s", why);
    name = realloc(name, size + 1);
    if (name == NULL) exit(1);
    name[size] = '\0';
    bool is_open = open_connection(run, at, name) != NULL;
    free(name);
    return is_open;
}

static bool do_alive(runner *run, const step *at) {
    size_t count = run->connection_count;
    bool is_alive = say_hello(run, at, "alive", at->text);
    size_t i = find_index(run, "alive");
    if (i < run->connection_count) connection_close(&run->connections[i].at, false);
    if (run->connection_count > count) run->connection_count = count;
    return is_alive;
}

// "SUBJECT [HEADER: VALUE; …] BODY" as a publish whose reply is an inbox of its own.
static char *make_request(runner *run, const char *said, size_t size, size_t *size_out) {
    const char *end = said + size, *subject_end = memchr(said, ' ', size);
    if (subject_end == NULL) subject_end = end;
    const char *body = subject_end == end ? end : subject_end + 1, *headers = body;
    size_t headers_size = 0, room = size * 2 + 256, used = 0;
    if (body < end && *body == '[') {
        const char *close = memchr(body, ']', (size_t)(end - body));
        if (close == NULL) return NULL;
        headers = body + 1;
        headers_size = (size_t)(close - headers);
        body = close + 1 < end && close[1] == ' ' ? close + 2 : close + 1;
    }
    char *request = calloc(1, room), *block = calloc(1, room);
    if (request == NULL || block == NULL) exit(1);
    if (headers_size > 0) {
        used = (size_t)snprintf(block, room, "NATS/1.0\r\n");
        for (const char *at = headers; at < headers + headers_size; at++) {
            if (*at != ';') {
                block[used++] = *at;
                continue;
            }
            memcpy(block + used, "\r\n", 2);
            used += 2;
            if (at[1] == ' ') at++;
        }
        memcpy(block + used, "\r\n\r\n", 4);
        used += 4;
    }
    size_t body_size = (size_t)(end - body);
    char numbers[64];
    if (used > 0) {
        (void)snprintf(numbers, sizeof numbers, "%zu %zu", used, used + body_size);
    } else {
        (void)snprintf(numbers, sizeof numbers, "%zu", body_size);
    }
    size_t at = (size_t)snprintf(request, room, "%s %.*s _INBOX.wire.%u %s\r\n", used > 0 ? "HPUB" : "PUB",
                                 (int)(subject_end - said), said, run->ask_count, numbers);
    memcpy(request + at, block, used);
    memcpy(request + at + used, body, body_size);
    memcpy(request + at + used + body_size, "\r\n", 2);
    free(block);
    *size_out = at + used + body_size + 2;
    return request;
}

static bool do_ask(runner *run, const step *at) {
    static const char subscribe[] = "SUB _INBOX.wire.* wire\r\n";
    char why[WHY_SIZE] = "";
    size_t size, request_size;
    connection *to = find_connection(run, at, "");
    char *said = to == NULL ? NULL : expand(at->text, &run->captured, &size, why, sizeof why);
    if (said == NULL) return complain(run, at, "%s", why);
    if (run->ask_count++ == 0) send_text(run, "", to, subscribe, sizeof subscribe - 1);
    char *request = make_request(run, said, size, &request_size);
    free(said);
    if (request == NULL) return complain(run, at, "headers without end");
    send_text(run, "", to, request, request_size);
    free(request);
    return true;
}

// The answer to the last ask: JSON, in a message without headers. Where nats-server itself speaks there are two blanks.
static bool do_answer(runner *run, const step *at) {
    char head[64];
    connection *from = find_connection(run, at, "");
    step json = *at;
    json.kind = STEP_EXPECT_JSON;
    (void)snprintf(head, sizeof head, "MSG _INBOX.wire.%u wire <| ><number>", run->ask_count);
    return from != NULL && expect_text(run, at, from, head) && expect(run, &json, from);
}

static bool do_close(runner *run, const step *at) {
    size_t i = find_index(run, at->text);
    if (i == run->connection_count) return complain(run, at, "it was never opened");
    connection_close(&run->connections[i].at, strcmp(at->name, "reset") == 0);
    run->connections[i] = run->connections[--run->connection_count];
    return true;
}

static bool do_shut(runner *run, const step *at) {
    connection *to = find_connection(run, at, at->text);
    if (to == NULL) return false;
    connection_shut(to);
    return true;
}

static bool do_closed(runner *run, const step *at) {
    connection *from = find_connection(run, at, at->text);
    if (from == NULL) return false;
    do {
        if (!connection_wait(from, run->limit_ms)) return complain(run, at, "it is not closed");
    } while (from->size > 0 && swallow(run, from, ""));
    if (from->size > 0)
        return complain_of_bytes(run, at, "more came before the end", (text){from->data, from->size});
    return true;
}

// Everything up to the end, which must come.
static bool do_drained(runner *run, const step *at) {
    connection *from = find_connection(run, at, at->text);
    if (from == NULL) return false;
    while (connection_wait(from, run->limit_ms)) {
        if (from->size == 0) return true;
        connection_take(from, from->size);
    }
    return complain(run, at, "it is not closed");
}

// What comes soon is forgotten, be it the end.
static bool do_drain(runner *run, const step *at) {
    connection *from = find_connection(run, at, at->text);
    if (from == NULL) return false;
    while (connection_wait(from, DRAIN_MS) && from->size > 0) connection_take(from, from->size);
    return true;
}

// "NUMBER": so many bytes of the connection without a name.
static bool do_skip(runner *run, const step *at) {
    connection *from = find_connection(run, at, "");
    size_t left = strtoul(at->text, NULL, 10);
    while (from != NULL && left > 0) {
        if (!connection_wait(from, run->limit_ms) || from->size == 0)
            return complain(run, at, "%zu bytes are missing", left);
        size_t taken = from->size < left ? from->size : left;
        connection_take(from, taken);
        left -= taken;
    }
    return from != NULL;
}

// "100ms", "2s". 0: it is none.
static int parse_duration_ms(const char *duration) {
    char *end;
    unsigned long number = strtoul(duration, &end, 10);
    if (strcmp(end, "ms") == 0) return (int)number;
    return strcmp(end, "s") == 0 ? (int)number * 1000 : 0;
}

static void sleep_ms(int duration_ms) {
    struct timespec left = {duration_ms / 1000, duration_ms % 1000 * 1000000L};
    while (nanosleep(&left, &left) != 0) continue;
}

// "[NAME] TIME": nothing comes, and it stays open.
static bool do_quiet(runner *run, const step *at) {
    char name[CONNECTION_NAME_SIZE] = "";
    const char *duration = at->text;
    if (!isdigit((unsigned char)*duration)) duration = split_name(at->text, name);
    connection *from = find_connection(run, at, name);
    int limit_ms = parse_duration_ms(duration);
    if (from == NULL || limit_ms == 0) return complain(run, at, "no time, or no connection");
    long long end_ms = now_ms() + limit_ms;
    while (now_ms() < end_ms) {
        if (!connection_wait(from, (int)(end_ms - now_ms()))) return true;
        if (from->size == 0 || !swallow(run, from, ""))
            return complain_of_bytes(run, at, "it is not quiet", (text){from->data, from->size});
    }
    return true;
}

static bool do_wait(runner *run, const step *at) {
    int duration_ms = parse_duration_ms(at->text);
    if (duration_ms == 0) return complain(run, at, "no time");
    sleep_ms(duration_ms);
    return true;
}

static bool do_within(runner *run, const step *at) {
    run->limit_ms = parse_duration_ms(at->text);
    return run->limit_ms > 0 || complain(run, at, "no time");
}

// "WINNER LOSER A B": of the connections A and B the one that has something is from now on WINNER, the other one LOSER.
static bool do_either(runner *run, const step *at) {
    char words[4][CONNECTION_NAME_SIZE];
    if (sscanf(at->text, "%31s %31s %31s %31s", words[0], words[1], words[2], words[3]) != 4)
        return complain(run, at, "either WINNER LOSER A B");
    size_t indexes[2] = {find_index(run, words[2]), find_index(run, words[3])};
    if (indexes[0] == run->connection_count || indexes[1] == run->connection_count)
        return complain(run, at, "they are not open");
    connection *both[] = {&run->connections[indexes[0]].at, &run->connections[indexes[1]].at};
    int winner;
    do {
        winner = connection_wait_any(both, 2, run->limit_ms);
        if (winner < 0) return complain(run, at, "nothing came to either");
    } while (swallow(run, both[winner], ""));
    (void)snprintf(run->connections[indexes[winner]].name, CONNECTION_NAME_SIZE, "%s", words[0]);
    (void)snprintf(run->connections[indexes[1 - winner]].name, CONNECTION_NAME_SIZE, "%s", words[1]);
    return true;
}

static bool do_signal(runner *run, const step *at) {
    static const struct {
        const char *name;
        int number;
    } signals[] = {{"HUP", SIGHUP}, {"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"TERM", SIGTERM}, {"INT", SIGINT}};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        if (strcmp(at->text, signals[i].name) != 0) continue;
        return kill((pid_t)run->server->process, signals[i].number) == 0 ||
               complain(run, at, "the server is gone");
    }
    return complain(run, at, "no such signal");
}

// The server ends by itself; "ended 0": with that exit status.
static bool do_ended(runner *run, const step *at) {
    if (!server_process_wait(run->server, run->limit_ms))
        return complain(run, at, "the server has not ended");
    if (*at->text == '\0') return true;
    int status = WIFEXITED(run->server->status) ? WEXITSTATUS(run->server->status) : -1;
    return status == (int)strtol(at->text, NULL, 10) || complain(run, at, "it ended with %d", status);
}

// "below 64M": what the server's process has in memory.
static bool do_memory(runner *run, const step *at) {
    char path[64], line[256];
    unsigned long kibibytes = 0, limit_mebibytes = 0;
    if (sscanf(at->text, "below %luM", &limit_mebibytes) != 1)
        return complain(run, at, "memory below NUMBERM");
    (void)snprintf(path, sizeof path, "/proc/%d/status", run->server->process);
    FILE *file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "VmRSS: %lu kB", &kibibytes) == 1) break;
    }
    if (file != NULL) (void)fclose(file);
    if (kibibytes == 0) return complain(run, at, "the server's memory is not known");
    return kibibytes / 1024 < limit_mebibytes ||
           complain(run, at, "the server has %lu MiB", kibibytes / 1024);
}

// All of the log so far, at most 1 MiB of its end. Allocated.
static char *read_log(const runner *run) {
    enum { LOG_SIZE_MAX = 1 << 20 };
    char path[128];
    char *log = calloc(1, LOG_SIZE_MAX + 1);
    if (log == NULL) exit(1);
    (void)snprintf(path, sizeof path, "%s/log", run->server->folder);
    FILE *file = fopen(path, "r");
    if (file == NULL) return log;
    if (fseek(file, -LOG_SIZE_MAX, SEEK_END) != 0) rewind(file);
    size_t size = fread(log, 1, LOG_SIZE_MAX, file);
    log[size] = '\0';
    (void)fclose(file);
    return log;
}

static bool is_logged(const runner *run, const char *what) {
    char *log = read_log(run);
    bool found = strstr(log, what) != NULL;
    free(log);
    return found;
}

static bool do_logged(runner *run, const step *at) {
    long long end_ms = now_ms() + run->limit_ms;
    while (!is_logged(run, at->text)) {
        if (now_ms() >= end_ms) return complain(run, at, "the log does not say: %s", at->text);
        sleep_ms(10);
    }
    return true;
}

static bool do_not_logged(runner *run, const step *at) {
    return !is_logged(run, at->text) || complain(run, at, "the log says: %s", at->text);
}

static bool write_config(const runner *run, const char *config) {
    char path[128];
    (void)snprintf(path, sizeof path, "%s/server.conf", run->server->folder);
    FILE *file = fopen(path, "w");
    if (file == NULL) return false;
    bool is_written = fputs(config, file) >= 0;
    return fclose(file) == 0 && is_written;
}

static bool do_config(runner *run, const step *at) {
    return write_config(run, at->text) || complain(run, at, "the configuration cannot be written");
}

static bool do_bytewise(runner *run, const step *at) {
    run->is_bytewise = strcmp(at->text, "on") == 0;
    return run->is_bytewise || strcmp(at->text, "off") == 0 || complain(run, at, "bytewise on, or off");
}

static const struct {
    const char *word;
    bool (*run)(runner *run, const step *at);
} words[] = {
    {"hello", do_hello},   {"open", do_open},         {"close", do_close},     {"reset", do_close},
    {"shut", do_shut},     {"closed", do_closed},     {"quiet", do_quiet},     {"wait", do_wait},
    {"within", do_within}, {"either", do_either},     {"signal", do_signal},   {"ended", do_ended},
    {"memory", do_memory}, {"logged", do_logged},     {"alive", do_alive},     {"not_logged", do_not_logged},
    {"config", do_config}, {"bytewise", do_bytewise}, {"drained", do_drained}, {"drain", do_drain},
    {"skip", do_skip},     {"ask", do_ask},           {"answer", do_answer},
};

static bool run_step(runner *run, const step *at) {
    if (at->kind == STEP_WORD) {
        for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
            if (strcmp(words[i].word, at->name) == 0) return words[i].run(run, at);
        }
        return complain(run, at, "there is no step %s", at->name);
    }
    connection *with = find_connection(run, at, at->name);
    if (with == NULL) return false;
    return at->kind == STEP_EXPECT || at->kind == STEP_EXPECT_JSON ? expect(run, at, with)
                                                                   : send_step(run, at, with);
}

// ---- blocks and cases --------------------------------------------------------------------------------------------------------

static bool is_word(const step *at, const char *word) {
    return at->kind == STEP_WORD && strcmp(at->name, word) == 0;
}

// One of the steps matches what comes next.
static bool expect_one_of(runner *run, const step **steps, size_t count, size_t *which_out) {
    char why[WHY_SIZE];
    text said = {0};
    for (size_t i = 0; i < count; i++) {
        connection *from = find_connection(run, steps[i], steps[i]->name);
        if (from == NULL || !wait_for_lines(run, from, steps[i]->text, &said)) continue;
        if (!match_text(steps[i]->text, said, &run->captured, why, sizeof why)) continue;
        trace(run, steps[i]->name, "<", said);
        connection_take(from, said.size + 2);
        *which_out = i;
        return true;
    }
    for (size_t i = 0; i < count; i++)
        (void)complain(run, steps[i], "expected in any order: %s", steps[i]->text);
    return complain_of_bytes(run, steps[0], "none of these", said);
}

static bool run_unordered(runner *run, size_t first, size_t end) {
    const step *waiting[UNORDERED_MAX];
    size_t count = 0, which;
    for (size_t i = first; i < end; i++) {
        const step *at = &run->script->steps[i];
        if (!gate_is_open(&at->gate, run->is_daybook, run->version)) continue;
        if (at->kind != STEP_EXPECT || count == UNORDERED_MAX)
            return complain(run, at, "only a few NAME< are possible here");
        waiting[count++] = at;
    }
    while (count > 0) {
        if (!expect_one_of(run, waiting, count, &which)) return false;
        waiting[which] = waiting[--count];
    }
    return true;
}

static bool run_range(runner *run, size_t first, size_t end);

static bool run_repeat(runner *run, const step *at, size_t first, size_t end) {
    unsigned long count = strtoul(at->text, NULL, 10);
    for (unsigned long i = 0; i < count; i++) {
        char number[24];
        int size = snprintf(number, sizeof number, "%lu", i);
        names_set(&run->captured, (text){"i", 1}, (text){number, (size_t)size});
        if (!run_range(run, first, end)) return false;
    }
    return true;
}

static bool run_range(runner *run, size_t first, size_t end) {
    for (size_t i = first; i < end;) {
        const step *at = &run->script->steps[i];
        size_t next = at->block_end > 0 ? at->block_end : i + 1;
        bool is_good = true;
        if (gate_is_open(&at->gate, run->is_daybook, run->version)) {
            if (is_word(at, "repeat")) {
                is_good = run_repeat(run, at, i + 1, next - 1);
            } else if (is_word(at, "unordered")) {
                is_good = run_unordered(run, i + 1, next - 1);
            } else {
                is_good = run_step(run, at);
            }
        }
        if (!is_good) return false;
        i = next;
    }
    return true;
}

// Nothing came that no step waited for.
static bool check_leftovers(runner *run, const step *last) {
    for (size_t i = 0; i < run->connection_count; i++) {
        connection *at = &run->connections[i].at;
        while (at->size > 0 && swallow(run, at, "")) continue;
        if (at->size > 0)
            return complain_of_bytes(run, last, "there is more than was expected",
                                     (text){at->data, at->size});
    }
    return true;
}

void runner_show_log(const runner *run) {
    char *log = read_log(run);
    size_t size = strlen(log);
    fprintf(stderr, "    the server's log ends:\n%s\n",
            size > LOG_SHOWN_SIZE ? log + size - LOG_SHOWN_SIZE : log);
    free(log);
}

static void run_case(runner *run, size_t first, size_t end) {
    run->captured.count = 0;
    run->limit_ms = LIMIT_MS;
    run->is_bytewise = false;
    run->ask_count = 0;
    if (run->is_traced) fprintf(stderr, "  case %s\n", run->title);
    if (!run_range(run, first, end) || !check_leftovers(run, &run->script->steps[end - 1])) {
        run->failed_count++;
        runner_show_log(run);
    }
    close_all(run);
}

unsigned runner_ask_version(runner *run) {
    connection at;
    text line;
    unsigned version = 0;
    if (!connection_open(&at, run->server->port)) return 0;
    if (connection_lines(&at, 1, LIMIT_MS, &line)) {
        names found = {0};
        char why[WHY_SIZE];
        if (match_json("INFO {\"version\":\"<version>\"}", line, &found, why, sizeof why) &&
            found.count == 1) {
            char value[VALUE_SIZE_MAX + 1];
            memcpy(value, found.all[0].value, found.all[0].size);
            value[found.all[0].size] = '\0';
            version = parse_version(value);
        }
    }
    // Until it has forgotten this connection: some scripts count them.
    connection_shut(&at);
    (void)connection_wait_end(&at, 1000);
    connection_close(&at, false);
    return version;
}

bool runner_run(runner *run) {
    const script *all = run->script;
    size_t first = 0;
    run->title = "";
    while (first < all->count) {
        if (is_word(&all->steps[first], "case")) run->title = all->steps[first++].text;
        size_t end = first;
        while (end < all->count && !is_word(&all->steps[end], "case")) end++;
        bool is_open = first == 0 || !is_word(&all->steps[first - 1], "case") ||
                       gate_is_open(&all->steps[first - 1].gate, run->is_daybook, run->version);
        if (end > first && is_open) run_case(run, first, end);
        first = end;
    }
    return run->failed_count == 0;
}
