// SPDX-License-Identifier: Apache-2.0
// The system fails under a server with JetStream: the N-th call of a kind on the simulated disk, once or from then on, the
// disk that is full, and memory at the N-th allocation. A client goes on making requests; two others play ping-pong.
//
//   - every request is answered: by what it asked for, or by an error with the code that belongs to it; only an
//     acknowledgement that could not be saved has no answer, as NATS has none for it
//   - what was acknowledged is there after a power failure, at its seq; what was refused is not, unless the answer said
//     that this is uncertain; nothing is there twice; what was deleted or acknowledged by confirmation stays so
//   - others notice nothing
//   - when the fault is over the server goes on as before, or its store is poisoned and says so in each refusal
//   - where memory is out a request may stay without an answer or its connection may end, and no more than that
//
// DAYBOOK_SEED    default: from the clock, printed; the first N of each kind comes from it
// DAYBOOK_STRIDE  every how manyth N; default 9, instrumented 40; 1: all
// DAYBOOK_TRACE   says how each kind ended, and what was answered
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "daybook/daybook.h"
#include "io/sim/sim.h"
#include "lib/fault_allocator.h"
#include "lib/slow_build.h"
#include "server/wire.h"

enum {
    MESSAGES_MAX = 400,
    ANSWER_MS = 20000,
    SHORT_MS = 300, // for an answer that memory may have prevented
    LARGE = 20000,  // with the small store below some of these make a flush
    PREPARED = 3,   // messages before the fault
};

typedef enum outcome { UNKNOWN, ACKNOWLEDGED, REFUSED } outcome;

typedef struct sent {
    outcome outcome;
    uint64_t seq; // ACKNOWLEDGED
} sent;

typedef struct world {
    dbk_sim *sim;
    fault_allocator faults;
    daybook_store *store;
    daybook_server *server;
    wire client, asking, answering;
    sent messages[MESSAGES_MAX]; // by the number in their subject
    unsigned count;
    atomic_uint complaints; // lines of the log about what cannot be stored
    unsigned request;       // number of the last one
    bool may_be_silent;     // the server, where memory is out
    uint64_t noise;
    uint64_t confirmed; // bits: seqs whose acknowledgement was confirmed
    bool has_deleted;   // message 2 of the prepared ones
    char where[160];
} world;

typedef struct message {
    char subject[128], reply[256];
    char status[64]; // first line of its headers
    char body[4096];
} message;

#if IS_SLOW_BUILD || defined(__SANITIZE_THREAD__)
#define STRIDE 40
#else
#define STRIDE 9
#endif
static uint64_t seed, stride;
static bool is_tracing;

// ---- What was answered, for people --------------------------------------------------------------------------

static struct tally {
    char text[200];
    unsigned count;
} tallies[300];

static void count_answer(const char *text) {
    char line[sizeof tallies->text];
    (void)snprintf(line, sizeof line, "%s", text);
    for (char *at = line; *at != '\0'; at++)
        if (*at >= '0' && *at <= '9' && at > line + 17) *at = '#';
    for (size_t i = 0; i < sizeof tallies / sizeof *tallies; i++) {
        if (tallies[i].count == 0) memcpy(tallies[i].text, line, sizeof line);
        if (strcmp(tallies[i].text, line) != 0) continue;
        tallies[i].count++;
        return;
    }
}

static void tell_answers(void) {
    for (size_t i = 0; is_tracing && i < sizeof tallies / sizeof *tallies && tallies[i].count > 0; i++)
        print_message("%6u  %s\n", tallies[i].count, tallies[i].text);
    memset(tallies, 0, sizeof tallies);
}

// ---- Server and connections ---------------------------------------------------------------------------------

static void note_line(void *context, int level, daybook_slice line) {
    world *at = context;
    char text[1024];
    (void)snprintf(text, sizeof text, "%.*s", (int)line.size, (const char *)line.data);
    if (level == DAYBOOK_SERVER_LOG_ERROR && strstr(text, "JetStream stream 'S' cannot store: ") != NULL)
        atomic_fetch_add(&at->complaints, 1);
}

static void start(world *at) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_open_options open;
    daybook_open_options_init(&open);
    open.vfs = dbk_sim_vfs(at->sim);
    open.allocator = &at->faults.allocator;
    open.memory_budget_bytes = 16 << 20;
    open.memtable_bytes = 256 << 10;
    open.journal_max_bytes = 4 << 20;
    if (daybook_open("/s", &open, &at->store, &error) != DAYBOOK_OK)
        fail_msg("%s: %s", at->where, error.message);
    daybook_server_options options;
    daybook_server_options_init(&options);
    options.host = "127.0.0.1";
    options.port = -1;
    options.store = at->store;
    options.allocator = &at->faults.allocator;
    options.log = note_line;
    options.log_context = at;
    options.config_text = daybook_text("announced_version: \"2.12.3\"\nhttp_port: -1");
    if (daybook_server_start(&options, &at->server, &error) != DAYBOOK_OK)
        fail_msg("%s: %s", at->where, error.message);
}

static void join(world *at, wire *client, const char *subscription) {
    wire_join(client, daybook_server_port(at->server),
              "{\"verbose\":false,\"headers\":true,\"no_responders\":true}");
    wire_say(client, subscription);
    wire_sync(client);
}

static void begin(world *at) {
    start(at);
    join(at, &at->client, "SUB r.* 1\r\n");
    join(at, &at->asking, "SUB pong 1\r\n");
    join(at, &at->answering, "SUB ping 1\r\n");
}

static bool is_poisoned(world *at) {
    daybook_store_info info;
    memset(&info, 0, sizeof info);
    info.size = sizeof info;
    assert_int_equal(daybook_info(at->store, &info, NULL), DAYBOOK_OK);
    return info.poisoned != 0;
}

// Closing may say what could not be saved.
static void end(world *at, bool may_fail) {
    daybook_error error;
    daybook_error_init(&error);
    wire_close(&at->client);
    wire_close(&at->asking);
    wire_close(&at->answering);
    if (daybook_server_stop(at->server, &error) != DAYBOOK_OK) fail_msg("%s: %s", at->where, error.message);
    daybook_status status = daybook_close(at->store, &error);
    if (status != DAYBOOK_OK && !may_fail) fail_msg("%s: closing: %s", at->where, error.message);
}

static void play(world *at) {
    wire_say(&at->asking, "PUB ping 2\r\nhi\r\n");
    (void)wire_until(&at->answering, "MSG ping 1 2\r\nhi\r\n");
    wire_say(&at->answering, "PUB pong 2\r\nho\r\n");
    (void)wire_until(&at->asking, "MSG pong 1 2\r\nho\r\n");
}

// The monitor says so, where there is one.
static void check_health(world *at, bool is_poisoned) {
    int port = daybook_server_monitor_port(at->server);
    if (port == 0) return;
    wire http;
    wire_open_silent(&http, port);
    wire_say(&http, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    if (!wire_comes(&http, is_poisoned ? "\"status\":\"unavailable\"" : "\"status\":\"ok\"", ANSWER_MS))
        fail_msg("%s: the store is %spoisoned, and healthz says %s", at->where, is_poisoned ? "" : "not ",
                 http.size > 0 ? http.received : "nothing");
    wire_close(&http);
}

// ---- Requests -----------------------------------------------------------------------------------------------

static void send_message(world *at, const char *subject, const char *reply, const char *headers,
                         const char *body, size_t filler) {
    char line[1024], head[512];
    size_t size = strlen(body) + filler;
    int head_size = 0;
    if (headers != NULL) head_size = snprintf(head, sizeof head, "NATS/1.0\r\n%s\r\n", headers);
    if (headers == NULL) {
        (void)snprintf(line, sizeof line, "PUB %s %s %zu\r\n", subject, reply, size);
    } else {
        (void)snprintf(line, sizeof line, "HPUB %s %s %d %zu\r\n%s", subject, reply, head_size,
                       (size_t)head_size + size, head);
    }
    static char text[LARGE];
    for (size_t i = 0; i < filler; i++) { // hard to compress
        at->noise = at->noise * UINT64_C(6364136223846793005) + 1442695040888963407U;
        text[i] = (char)('0' + (at->noise >> 58));
    }
    wire_say(&at->client, line);
    wire_say(&at->client, body);
    wire_send(&at->client, text, filler);
    wire_say(&at->client, "\r\n");
}

static void copy(char *out, size_t capacity, const char *text) {
    (void)snprintf(out, capacity, "%s", text);
}

// The next message on the client's connection. False: none came in time, or the connection ended.
static bool read_message(world *at, message *got) {
    char line[512], words[6][256];
    do {
        if (!wire_comes(&at->client, "\r\n", at->may_be_silent ? SHORT_MS : ANSWER_MS)) return false;
        copy(line, sizeof line, wire_until(&at->client, "\r\n"));
        if (strcmp(line, "PING\r\n") == 0) wire_say(&at->client, "PONG\r\n");
        if (strncmp(line, "-ERR", 4) == 0) return false;
    } while (strstr(line, "MSG ") == NULL);
    int count = sscanf(line, "%255s %255s %255s %255s %255s %255s", words[0], words[1], words[2], words[3],
                       words[4], words[5]);
    bool has_head = line[0] == 'H';
    size_t size = strtoul(words[count - 1], NULL, 10);
    size_t head_size = has_head ? strtoul(words[count - 2], NULL, 10) : 0;
    copy(got->subject, sizeof got->subject, words[1]);
    copy(got->reply, sizeof got->reply, count - has_head == 5 ? words[3] : "");
    static char bytes[2 * LARGE];
    assert_true(size + 3 < sizeof bytes);
    wire_take(&at->client, bytes, size + 2);
    bytes[size + 2] = '\0';
    copy(got->body, sizeof got->body, bytes + head_size);
    size_t end_of_line = strcspn(bytes, "\r");
    (void)snprintf(got->status, sizeof got->status, "%.*s", has_head ? (int)end_of_line : 0, bytes);
    got->body[strcspn(got->body, "\r")] = '\0';
    return true;
}

// False: no answer, which only a world that may be out of memory forgives.
static bool ask(world *at, const char *subject, const char *headers, const char *body, size_t filler,
                message *got) {
    char reply[32];
    (void)snprintf(reply, sizeof reply, "r.%u", ++at->request);
    send_message(at, subject, reply, headers, body, filler);
    while (read_message(at, got)) {
        if (strcmp(got->subject, reply) == 0 || strncmp(got->reply, "$JS.ACK.", 8) == 0) return true;
    }
    if (!at->may_be_silent) fail_msg("%s: no answer to %s %s", at->where, subject, body);
    return false;
}

static int error_code_of(const message *got) {
    const char *code = strstr(got->body, "\"err_code\":");
    return code == NULL ? 0 : (int)strtol(code + strlen("\"err_code\":"), NULL, 10);
}

// What a server says whose store or memory fails: no memory (10023, 10028 and 10029), no room, not stored.
static void check_refusal(world *at, const char *what, const message *got) {
    static const int codes[] = {10023, 10028, 10029, 10047, 10077, 10049, 10048,
                                10057, 10012, 10051, 10056, 10035, 10130, 10069};
    int code = error_code_of(got);
    char text[300];
    const char *description = strstr(got->body, "\"description\":");
    (void)snprintf(text, sizeof text, "%-10s %d %s%s", what, code, got->status,
                   description == NULL ? "" : description + strlen("\"description\":"));
    count_answer(text);
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (codes[i] == code) return;
    fail_msg("%s: %s is answered %s%s", at->where, what, got->status, got->body);
}

// ---- Steps --------------------------------------------------------------------------------------------------

static void publish(world *at, const char *headers, size_t filler) {
    char subject[32], body[32];
    message got;
    assert_true(at->count < MESSAGES_MAX);
    unsigned number = at->count++;
    sent *entry = &at->messages[number];
    entry->outcome = UNKNOWN;
    (void)snprintf(subject, sizeof subject, "s.%u", number);
    (void)snprintf(body, sizeof body, "body %u", number);
    if (!ask(at, subject, headers, body, filler, &got)) return;
    const char *seq = strstr(got.body, "\"seq\":");
    if (seq != NULL && strstr(got.body, "\"error\"") == NULL) {
        entry->outcome = ACKNOWLEDGED;
        entry->seq = strtoull(seq + 6, NULL, 10);
        return;
    }
    check_refusal(at, "publish", &got);
    bool is_uncertain = strstr(got.body, "is unknown until") != NULL;
    entry->outcome = is_uncertain ? UNKNOWN : REFUSED;
}

static void publish_plainly(world *at) {
    publish(at, NULL, 0);
}

static void publish_under_id(world *at) {
    char header[64];
    (void)snprintf(header, sizeof header, "Nats-Msg-Id: id-%u\r\n", at->count);
    publish(at, header, 0);
}

static void publish_on_condition(world *at) {
    publish(at, "Nats-Expected-Last-Subject-Sequence: 0\r\n", 0);
}

static void publish_large(world *at) {
    for (int i = 0; i < 6; i++) publish(at, NULL, LARGE);
}

static void roll_up(world *at) {
    publish(at, "Nats-Rollup: sub\r\n", 0);
}

// All or none: the last one's answer speaks for all.
static void publish_batch(world *at) {
    char header[160], subject[32];
    message got;
    unsigned first = at->count;
    at->count += 3;
    assert_true(at->count < MESSAGES_MAX);
    for (unsigned i = 0; i < 3; i++) {
        at->messages[first + i].outcome = UNKNOWN;
        (void)snprintf(header, sizeof header, "Nats-Batch-Id: b-%u\r\nNats-Batch-Sequence: %u\r\n%s", first,
                       i + 1, i == 2 ? "Nats-Batch-Commit: 1\r\n" : "");
        (void)snprintf(subject, sizeof subject, "s.%u", first + i);
        if (!ask(at, subject, header, "batch", 0, &got)) return;
        if (i < 2 && got.body[0] != '\0') { // it is over before its end
            check_refusal(at, "batch", &got);
            return;
        }
    }
    const char *seq = strstr(got.body, "\"seq\":");
    bool is_refused = strstr(got.body, "\"error\"") != NULL;
    if (is_refused) check_refusal(at, "batch", &got);
    bool is_uncertain = strstr(got.body, "is unknown until") != NULL;
    for (unsigned i = 0; i < 3; i++) {
        at->messages[first + i].outcome = !is_refused ? ACKNOWLEDGED : is_uncertain ? UNKNOWN : REFUSED;
        if (!is_refused) at->messages[first + i].seq = strtoull(seq + 6, NULL, 10) - 2 + i;
    }
}

// A message is pulled and acknowledged with confirmation.
static void consume(world *at) {
    message got, answer;
    if (!ask(at, "$JS.API.CONSUMER.MSG.NEXT.S.d", NULL, "{\"batch\":1,\"expires\":200000000}", 0, &got))
        return;
    if (got.status[0] != '\0') { // none came
        count_answer(got.status);
        return;
    }
    bool may_be_silent = at->may_be_silent;
    at->may_be_silent = true;
    bool is_answered = ask(at, got.reply, NULL, "+ACK", 0, &answer);
    at->may_be_silent = may_be_silent;
    if (!is_answered) {
        count_answer("ack        is not answered");
        return;
    }
    if (answer.body[0] != '\0' || answer.status[0] != '\0')
        fail_msg("%s: an acknowledgement is answered %s", at->where, answer.body);
    // $JS.ACK.S.d.<times>.<seq>
    const char *seq = got.reply;
    for (int dots = 0; dots < 5; dots++) seq = strchr(seq, '.') + 1;
    uint64_t number = strtoull(seq, NULL, 10);
    if (number < 64) at->confirmed |= UINT64_C(1) << number;
}

static bool call(world *at, const char *what, const char *subject, const char *body) {
    message got;
    if (!ask(at, subject, NULL, body, 0, &got)) return false;
    bool is_done = strstr(got.body, "\"error\"") == NULL && got.body[0] != '\0';
    if (!is_done) check_refusal(at, what, &got);
    return is_done;
}

static void make_stream(world *at) {
    char subject[64], body[128];
    (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.CREATE.T%u", at->request);
    (void)snprintf(body, sizeof body, "{\"name\":\"T%u\",\"subjects\":[\"t.%u\"]}", at->request, at->request);
    (void)call(at, "stream", subject, body);
}

static void make_consumer(world *at) {
    char subject[64], body[200];
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.CREATE.S.c%u", at->request);
    (void)snprintf(body, sizeof body,
                   "{\"stream_name\":\"S\",\"config\":{\"name\":\"c%u\",\"durable_name\":\"c%u\","
                   "\"ack_policy\":\"explicit\"}}",
                   at->request, at->request);
    (void)call(at, "consumer", subject, body);
}

static void ask_for_info(world *at) {
    (void)call(at, "info", "$JS.API.STREAM.INFO.S", "");
}

static void delete_one(world *at) {
    message got;
    if (at->has_deleted) return;
    if (!ask(at, "$JS.API.STREAM.MSG.DELETE.S", NULL, "{\"seq\":2}", 0, &got)) return;
    at->has_deleted = strstr(got.body, "\"success\":true") != NULL;
    // A delete that was said to have failed may have come through: then this is no refusal.
    if (!at->has_deleted && error_code_of(&got) != 10043) check_refusal(at, "delete", &got);
}

static void get_one(world *at) {
    (void)call(at, "get", "$JS.API.STREAM.MSG.GET.S", "{\"seq\":1}");
}

static void (*const steps[])(world *at) = {
    publish_plainly, publish_under_id, publish_on_condition, consume,       publish_batch,
    get_one,         delete_one,       publish_large,        make_consumer, ask_for_info,
    consume,         roll_up,          publish_large,        make_stream,   publish_plainly,
};
enum { STEP_COUNT = sizeof steps / sizeof *steps };

static void prepare(world *at) {
    (void)call(at, "stream", "$JS.API.STREAM.CREATE.S",
               "{\"name\":\"S\",\"subjects\":[\"s.>\"],\"allow_rollup_hdrs\":true,\"allow_atomic\":true}");
    (void)call(at, "consumer", "$JS.API.CONSUMER.CREATE.S.d",
               "{\"stream_name\":\"S\",\"config\":{\"name\":\"d\",\"durable_name\":\"d\",\"ack_policy\":"
               "\"explicit\","
               "\"ack_wait\":100000000}}");
    for (int i = 0; i < PREPARED; i++) publish_plainly(at);
}

// ---- What is there afterwards -------------------------------------------------------------------------------

static uint64_t last_seq_of(world *at) {
    message got;
    (void)ask(at, "$JS.API.STREAM.INFO.S", NULL, "", 0, &got);
    const char *seq = strstr(got.body, "\"last_seq\":");
    if (seq == NULL) fail_msg("%s: %s", at->where, got.body);
    return strtoull(seq + strlen("\"last_seq\":"), NULL, 10);
}

static void check_messages(world *at) {
    uint64_t found[MESSAGES_MAX] = {0};
    uint64_t last = last_seq_of(at);
    for (uint64_t seq = 1; seq <= last; seq++) {
        char body[64];
        message got;
        (void)snprintf(body, sizeof body, "{\"seq\":%" PRIu64 "}", seq);
        (void)ask(at, "$JS.API.STREAM.MSG.GET.S", NULL, body, 0, &got);
        const char *subject = strstr(got.body, "\"subject\":\"s.");
        if (subject == NULL) {
            if (error_code_of(&got) != 10037) fail_msg("%s: %" PRIu64 ": %s", at->where, seq, got.body);
            if (seq != 2) fail_msg("%s: %" PRIu64 " is missing", at->where, seq);
            continue;
        }
        if (seq == 2 && at->has_deleted) fail_msg("%s: what was deleted is there", at->where);
        unsigned long number = strtoul(subject + strlen("\"subject\":\"s."), NULL, 10);
        if (number >= at->count) fail_msg("%s: nobody sent %s", at->where, got.body);
        if (found[number] != 0) fail_msg("%s: %lu is there twice", at->where, number);
        found[number] = seq;
    }
    for (unsigned i = 0; i < at->count; i++) {
        const sent *entry = &at->messages[i];
        if (entry->outcome == ACKNOWLEDGED && found[i] != entry->seq && entry->seq != 2)
            fail_msg("%s: %u was acknowledged at %" PRIu64 " and is at %" PRIu64, at->where, i, entry->seq,
                     found[i]);
        if (entry->outcome == REFUSED && found[i] != 0)
            fail_msg("%s: %u was refused and is at %" PRIu64, at->where, i, found[i]);
    }
}

static void check_consumer(world *at) {
    for (int i = 0; i < 10; i++) {
        message got, answer;
        (void)ask(at, "$JS.API.CONSUMER.MSG.NEXT.S.d", NULL, "{\"batch\":1,\"no_wait\":true}", 0, &got);
        if (got.status[0] != '\0') return;
        const char *seq = got.reply;
        for (int dots = 0; dots < 5; dots++) seq = strchr(seq, '.') + 1;
        uint64_t number = strtoull(seq, NULL, 10);
        if (number < 64 && (at->confirmed >> number & 1) != 0)
            fail_msg("%s: %" PRIu64 " comes again, its acknowledgement was confirmed", at->where, number);
        (void)ask(at, got.reply, NULL, "+ACK", 0, &answer);
    }
}

// What stood in the way is gone: at once, or when the store's background work has been through.
static void must_publish_soon(world *at) {
    for (int i = 0; i < 100; i++) {
        unsigned number = at->count;
        publish_plainly(at);
        if (at->messages[number].outcome == ACKNOWLEDGED) return;
        dbk_sim_advance_ns(at->sim, INT64_C(1000000000)); // it waits between two attempts
        struct timespec nap = {.tv_nsec = 10000000};
        nanosleep(&nap, NULL);
    }
    tell_answers();
    fail_msg("%s: publishes are refused though nothing fails any more", at->where);
}

static void check_all(world *at) {
    check_messages(at);
    check_consumer(at);
    unsigned before = at->count;
    publish_plainly(at);
    if (at->messages[before].outcome != ACKNOWLEDGED)
        fail_msg("%s: a publish is refused in the end", at->where);
}

static void crash_and_check(world *at) {
    dbk_sim_stop_now(at->sim);
    end(at, true);
    dbk_sim_crash(at->sim, DBK_SIM_POWER_LOSS);
    dbk_sim_evict(at->sim);
    begin(at);
    check_all(at);
    end(at, false);
}

// ---- The disk fails -----------------------------------------------------------------------------------------

typedef struct fault_kind {
    dbk_sim_kind kind;
    int error;
    const char *name;
} fault_kind;

static const fault_kind kinds[] = {
    {DBK_SIM_WRITE, EIO, "write EIO"},       {DBK_SIM_WRITE, ENOSPC, "write ENOSPC"},
    {DBK_SIM_SYNC, EIO, "sync EIO"},         {DBK_SIM_READ, EIO, "read EIO"},
    {DBK_SIM_OPEN, EMFILE, "open EMFILE"},   {DBK_SIM_OPEN, ENOSPC, "open ENOSPC"},
    {DBK_SIM_TRUNCATE, EIO, "truncate EIO"}, {DBK_SIM_RENAME, EIO, "rename EIO"},
    {DBK_SIM_UNLINK, EIO, "unlink EIO"},     {DBK_SIM_SYNC_DIRECTORY, EIO, "dirsync EIO"},
    {DBK_SIM_FREE_BYTES, EIO, "free EIO"},
};

static world *new_world(const char *where, uint64_t number) {
    world *at = calloc(1, sizeof *at);
    assert_non_null(at);
    assert_int_equal(dbk_sim_new(seed + number, &at->sim), DAYBOOK_OK);
    fault_allocator_init(&at->faults);
    (void)snprintf(at->where, sizeof at->where, "DAYBOOK_SEED=%" PRIu64 " %s, call %" PRIu64, seed, where,
                   number);
    return at;
}

static void free_world(world *at) {
    assert_int_equal(fault_allocator_live(&at->faults), 0);
    assert_int_equal(dbk_sim_open_files(at->sim), 0);
    dbk_sim_free(at->sim);
    free(at);
}

// Whether there were that many calls.
static bool fail_at(const fault_kind *kind, uint64_t nth, bool is_forever) {
    char where[64];
    (void)snprintf(where, sizeof where, "%s%s", kind->name, is_forever ? " from then on" : "");
    world *at = new_world(where, nth);
    begin(at);
    prepare(at);
    uint64_t hits = dbk_sim_fault_hits(at->sim);
    dbk_sim_fault fault = {.kind = kind->kind, .nth = nth, .is_forever = is_forever, .error = kind->error};
    assert_int_equal(dbk_sim_fail(at->sim, &fault), DAYBOOK_OK);
    for (size_t i = 0; i < STEP_COUNT; i++) {
        steps[i](at);
        play(at);
    }
    bool has_failed = dbk_sim_fault_hits(at->sim) > hits;
    dbk_sim_clear_faults(at->sim);
    bool was_poisoned = is_poisoned(at);
    check_health(at, was_poisoned);
    unsigned number = at->count;
    if (was_poisoned) {
        publish_plainly(at);
        if (at->messages[number].outcome != REFUSED)
            fail_msg("%s: a poisoned store takes a publish", at->where);
    } else {
        must_publish_soon(at);
    }
    crash_and_check(at);
    free_world(at);
    return has_failed;
}

static void the_disk_fails(void **unused) {
    (void)unused;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        for (int is_forever = 0; is_forever < 2; is_forever++) {
            uint64_t cases = 0;
            for (uint64_t nth = 1;; nth += nth == 1 ? 1 + (seed + i) % stride : stride, cases++)
                if (!fail_at(&kinds[i], nth, is_forever)) break;
            if (is_tracing)
                print_message("%s%s: %" PRIu64 "\n", kinds[i].name, is_forever ? " for ever" : "", cases);
        }
    }
    tell_answers();
}

static void the_disk_is_full(void **unused) {
    (void)unused;
    world *at = new_world("disk full", 0);
    begin(at);
    prepare(at);
    dbk_sim_set_capacity(at->sim, dbk_sim_used_bytes(at->sim) + (4 << 20));
    unsigned refused = 0;
    while (refused < 3 && at->count < MESSAGES_MAX - 40) {
        publish(at, NULL, LARGE);
        refused += at->messages[at->count - 1].outcome == REFUSED;
        play(at);
    }
    assert_int_equal(refused, 3);
    assert_int_equal(atomic_load(&at->complaints),
                     1); // who runs the server is told, and not with each message
    // What needs no room goes on: reading, acknowledging, deleting.
    consume(at);
    get_one(at);
    at->has_deleted = call(at, "delete", "$JS.API.STREAM.MSG.DELETE.S", "{\"seq\":2,\"no_erase\":true}");
    assert_true(at->has_deleted);
    dbk_sim_set_capacity(at->sim, 0);
    assert_false(is_poisoned(at));
    publish(at, NULL, LARGE);
    assert_int_equal(at->messages[at->count - 1].outcome, ACKNOWLEDGED);
    crash_and_check(at);
    free_world(at);
    tell_answers();
}

// ---- Memory is out ------------------------------------------------------------------------------------------

static void join_again(world *at) {
    wire_close(&at->client);
    join(at, &at->client, "SUB r.* 1\r\n");
}

static bool run_out_at(uint64_t nth) {
    world *at = new_world("memory", nth);
    begin(at);
    prepare(at);
    at->may_be_silent = true;
    bool has_failed = false;
    for (size_t i = 0; i < STEP_COUNT; i++) {
        // Each step anew: one allocation fails in each, wherever they run.
        fault_allocator_fail(&at->faults, nth, false);
        steps[i](at);
        has_failed = fault_allocator_has_failed(&at->faults) || has_failed;
        fault_allocator_fail(&at->faults, 0, false);
        join_again(at);
        play(at);
    }
    at->may_be_silent = false;
    must_publish_soon(at);
    crash_and_check(at);
    free_world(at);
    return has_failed;
}

static void memory_is_out(void **unused) {
    (void)unused;
    uint64_t step = stride / 3 + 1;
    for (uint64_t nth = 1 + seed % step; run_out_at(nth); nth += step) continue;
    tell_answers();
}

int main(void) {
    const char *given = getenv("DAYBOOK_SEED");
    seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    given = getenv("DAYBOOK_STRIDE");
    stride = given != NULL ? strtoull(given, NULL, 10) : STRIDE;
    is_tracing = getenv("DAYBOOK_TRACE") != NULL;
    printf("DAYBOOK_SEED=%" PRIu64 " DAYBOOK_STRIDE=%" PRIu64 "\n", seed, stride);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_disk_fails),
        cmocka_unit_test(the_disk_is_full),
        cmocka_unit_test(memory_is_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
