// SPDX-License-Identifier: Apache-2.0
// Many connections, receivers that do not read, and senders of nonsense: one's trouble is nobody else's.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "lib/fault_allocator.h"
#include "lib/slow_build.h"
#include "server/wire.h"

static const char quiet[] = "{\"verbose\":false,\"headers\":true}";
static uint64_t state;

static uint64_t draw(uint64_t below) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

static void a_thousand_connections(void **unused) {
    (void)unused;
    enum { COUNT = 1000 };
    // Two ends of each, and some.
    struct rlimit files;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    if (files.rlim_cur < 2 * COUNT + 100) {
        files.rlim_cur = files.rlim_max < 4 * COUNT ? files.rlim_max : 4 * COUNT;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    }
    if (files.rlim_cur < 2 * COUNT + 100) {
        printf("SKIP: a process may open only %lu files here\n", (unsigned long)files.rlim_cur);
        skip();
    }
    fault_allocator faults;
    fault_allocator_init(&faults);
    daybook_server_options options;
    daybook_server_options_init(&options);
    options.host = "127.0.0.1";
    options.port = -1;
    options.allocator = &faults.allocator;
    daybook_server *server;
    assert_int_equal(daybook_server_start(&options, &server, NULL), DAYBOOK_OK);
    wire *clients = calloc(COUNT, sizeof *clients);
    assert_non_null(clients);
    uint64_t before = fault_allocator_live_bytes(&faults);
    for (int i = 0; i < COUNT; i++) {
        wire_open(&clients[i], daybook_server_port(server));
        wire_say(&clients[i],
                 "CONNECT {\"verbose\":false,\"name\":\"somebody\",\"lang\":\"c\",\"version\":\"1\"}\r\nSUB "
                 "news 1\r\n");
    }
    for (int i = 0; i < COUNT; i++) wire_sync(&clients[i]);
    uint64_t each = (fault_allocator_live_bytes(&faults) - before) / COUNT;
    assert_in_range(each, 1, 4096); // idle
    wire_say(&clients[0], "PUB news 5\r\nhello\r\n");
    for (int i = 0; i < COUNT; i++) wire_expect(&clients[i], "MSG news 1 5\r\nhello\r\n");
    for (int i = 0; i < COUNT; i += 2) wire_close(&clients[i]);
    for (int i = 1; i < COUNT; i += 2) wire_sync(&clients[i]);
    wire_say(&clients[1], "PUB news 2\r\nyo\r\n");
    for (int i = 1; i < COUNT; i += 2) wire_expect(&clients[i], "MSG news 1 2\r\nyo\r\n");
    wire_server_stop(server);
    for (int i = 1; i < COUNT; i += 2) {
        wire_expect_end(&clients[i]);
        wire_close(&clients[i]);
    }
    free(clients);
    assert_int_equal(fault_allocator_live(&faults), 0);
}

static void a_receiver_that_does_not_read_is_cut_off(void **unused) {
    (void)unused;
    daybook_server *server = wire_server("max_pending: 2mb, max_payload: 512kb, write_deadline: \"500ms\"");
    wire lazy, eager, sender;
    wire_join(&lazy, daybook_server_port(server), quiet);
    wire_join(&eager, daybook_server_port(server), quiet);
    wire_join(&sender, daybook_server_port(server), quiet);
    wire_say(&lazy, "SUB flood 1\r\n");
    wire_sync(&lazy);
    wire_say(&eager, "SUB other 1\r\n");
    wire_sync(&eager);
    enum { SIZE = 100 * 1000 };
    char *message = malloc(SIZE + 64);
    assert_non_null(message);
    int head = snprintf(message, 64, "PUB flood %d\r\n", SIZE);
    memset(message + head, 'x', SIZE);
    memcpy(message + head + SIZE, "\r\n", 2);
    size_t size = (size_t)head + SIZE + 2;
    time_t due = time(NULL) + WIRE_SECONDS;
    size_t at = 0;
    while (!wire_log_has("Slow Consumer Detected") && time(NULL) < due) {
        at = (at + wire_send_some(&sender, message + at, size - at)) % size;
    }
    assert_true(wire_log_has("Slow Consumer Detected"));
    if (at > 0) wire_send(&sender, message + at, size - at);
    // The sender and others are as they were.
    wire_sync(&sender);
    wire_say(&sender, "PUB other 2\r\nok\r\n");
    wire_expect(&eager, "MSG other 1 2\r\nok\r\n");
    wire_drain_to_end(&lazy);
    free(message);
    wire_close(&lazy);
    wire_close(&eager);
    wire_close(&sender);
    wire_server_stop(server);
}

typedef struct flood {
    wire *sender;
    const char *message;
    size_t size;
    int count;
} flood;

static void *send_all(void *context) {
    flood *f = context;
    for (int i = 0; i < f->count; i++) wire_send(f->sender, f->message, f->size);
    return NULL;
}

static void a_receiver_that_is_behind_slows_its_sender_down(void **unused) {
    (void)unused;
    // Far more than may wait for one, sent faster than it reads: nothing is lost, nobody is cut off.
    enum { SIZE = 32 * 1024, COUNT = IS_SLOW_BUILD ? 500 : 3000 };
    daybook_server *server = wire_server("max_pending: 4mb, max_payload: 1mb");
    wire reader, sender;
    wire_join(&reader, daybook_server_port(server), quiet);
    wire_join(&sender, daybook_server_port(server), quiet);
    wire_say(&reader, "SUB s 1\r\n");
    wire_sync(&reader);
    char *message = malloc(SIZE + 64), *expected = malloc(SIZE + 64);
    assert_non_null(message);
    assert_non_null(expected);
    int head = snprintf(message, 64, "PUB s %d\r\n", SIZE);
    memset(message + head, 'y', SIZE);
    memcpy(message + head + SIZE, "\r\n", 2);
    int expected_head = snprintf(expected, 64, "MSG s 1 %d\r\n", SIZE);
    memcpy(expected + expected_head, message + head, SIZE + 2);
    flood f = {.sender = &sender, .message = message, .size = (size_t)head + SIZE + 2, .count = COUNT};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, send_all, &f), 0);
    for (int i = 0; i < COUNT; i++) wire_expect_bytes(&reader, expected, (size_t)expected_head + SIZE + 2);
    pthread_join(thread, NULL);
    assert_false(wire_log_has("Slow Consumer"));
    free(message);
    free(expected);
    wire_close(&reader);
    wire_close(&sender);
    wire_server_stop(server);
}

static const char *const words[] = {
    "PUB ",
    "HPUB ",
    "SUB ",
    "UNSUB ",
    "PING",
    "PONG",
    "CONNECT ",
    "INFO ",
    "+OK",
    "-ERR ",
    "\r\n",
    "\n",
    " ",
    "a.b",
    "*",
    ">",
    "a..b",
    "1",
    "0",
    "-1",
    "99999999",
    "18446744073709551616",
    "{}",
    "{\"verbose\":false}",
    "{\"a\":",
    "\t",
    "NATS/1.0\r\n\r\n",
    "\xff\xfe",
    "12 12",
    "5\r\nhello\r\n",
    "$JS.API.INFO",
    "_INBOX.x",
};

static size_t make_nonsense(char *out, size_t max) {
    size_t size = 0, count = 1 + draw(30);
    for (size_t i = 0; i < count; i++) {
        const char *word = words[draw(sizeof words / sizeof *words)];
        size_t length = strlen(word);
        if (draw(10) == 0) { // bytes of any kind
            for (size_t n = draw(20); n > 0 && size < max; n--) out[size++] = (char)draw(256);
        }
        if (size + length > max) break;
        memcpy(out + size, word, length);
        size += length;
    }
    return size;
}

static void nonsense_hurts_nobody_else(void **unused) {
    (void)unused;
    state = (uint64_t)time(NULL) | 1;
    const char *given = getenv("DAYBOOK_SEED");
    if (given != NULL) state = strtoull(given, NULL, 10) | 1;
    printf("DAYBOOK_SEED=%llu\n", (unsigned long long)state);
    daybook_server *server = wire_server("max_control_line: 1024, max_payload: 10000, max_connections: 200");
    wire good;
    wire_join(&good, daybook_server_port(server), quiet);
    wire_say(&good, "SUB good 1\r\n");
    int rounds = IS_SLOW_BUILD ? 300 : 1500;
    for (int i = 0; i < rounds; i++) {
        wire bad;
        wire_open_silent(&bad, daybook_server_port(server));
        for (size_t n = 1 + draw(4); n > 0; n--) {
            char nonsense[2048];
            wire_send(&bad, nonsense, make_nonsense(nonsense, sizeof nonsense));
        }
        if (draw(8) == 0) { // gone without a word
            struct linger reset = {.l_onoff = 1, .l_linger = 0};
            (void)setsockopt(bad.socket, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        }
        wire_close(&bad);
        if (i % 50 == 0) {
            wire_say(&good, "PUB good 2\r\nok\r\n");
            // What the others published under that name may come between.
            (void)wire_until(&good, "MSG good 1 2\r\nok\r\n");
        }
    }
    wire_close(&good);
    wire_server_stop(server);
}

static void memory_that_is_out_ends_a_connection_and_no_more(void **unused) {
    (void)unused;
    fault_allocator faults;
    fault_allocator_init(&faults);
    daybook_server_options options;
    daybook_server_options_init(&options);
    options.host = "127.0.0.1";
    options.port = -1;
    options.allocator = &faults.allocator;
    for (uint64_t n = 1;; n++) {
        fault_allocator_fail(&faults, n, false);
        daybook_server *server;
        daybook_error error;
        daybook_error_init(&error);
        daybook_status status = daybook_server_start(&options, &server, &error);
        if (status == DAYBOOK_OK) {
            wire_server_stop(server);
            if (!fault_allocator_has_failed(&faults)) break;
        }
        assert_int_equal(fault_allocator_live(&faults), 0);
    }

    daybook_server *server;
    fault_allocator_fail(&faults, 0, false);
    assert_int_equal(daybook_server_start(&options, &server, NULL), DAYBOOK_OK);
    wire good;
    wire_join(&good, daybook_server_port(server), quiet);
    for (uint64_t n = 1; n < 60; n++) {
        fault_allocator_fail(&faults, n, false);
        wire other;
        wire_open_silent(&other, daybook_server_port(server));
        wire_say(
            &other,
            "CONNECT {\"verbose\":false,\"name\":\"n\"}\r\nSUB a.b 1\r\nSUB a.* g 2\r\nPUB a.b 3\r\nabc\r\n"
            "PUB a.b 9000\r\n");
        static char payload[9002];
        memset(payload, 'z', 9000);
        memcpy(payload + 9000, "\r\n", 2);
        wire_send(&other, payload, sizeof payload);
        wire_say(&other, "UNSUB 1\r\nNONSENSE\r\n");
        wire_drain_to_end(&other); // in the end, of one cause or the other
        wire_close(&other);
        fault_allocator_fail(&faults, 0, false);
        wire_sync(&good);
    }
    wire_close(&good);
    wire_server_stop(server);
    assert_int_equal(fault_allocator_live(&faults), 0);
}

static int64_t milliseconds(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/// `count` requests for a message, answers to PREFIX0, PREFIX1 ...; to be freed.
static char *make_pulls(const char *prefix, int count, size_t *size_out) {
    enum { PULL_SIZE_MAX = 128 };
    char *text = malloc((size_t)count * PULL_SIZE_MAX);
    assert_non_null(text);
    *size_out = 0;
    for (int i = 0; i < count; i++)
        *size_out += (size_t)snprintf(text + *size_out, PULL_SIZE_MAX,
                                      "PUB $JS.API.CONSUMER.MSG.NEXT.S.c %s%d 0\r\n\r\n", prefix, i);
    return text;
}

static void ask_api(wire *client, const char *subject, const char *body) {
    wire_publish(client, subject, "answer", body);
    const char *got = wire_until(client, "}\r\n");
    if (strstr(got, "\"error\"") != NULL) fail_msg("%s", got);
}

static void pulls_without_room(const char *max_waiting, int waiting_count) {
    enum { COUNT = 20000, ALL_MS_MAX = 10000 }; // it takes some 50 ms; with a look for each up to 100 s
    char body[256];
    daybook_server_options options;
    daybook_server_options_init(&options);
    options.config_text = daybook_text("jetstream: enabled");
    options.store_dir = ":memory:";
    daybook_server *server = wire_server_start(&options);
    wire waits, asks, other;
    wire_join(&waits, daybook_server_port(server), quiet);
    wire_join(&asks, daybook_server_port(server), quiet);
    wire_say(&waits, "SUB answer 1\r\nSUB box.> 2\r\n");
    ask_api(&waits, "$JS.API.STREAM.CREATE.S", "{\"name\":\"S\"}");
    (void)snprintf(body, sizeof body,
                   "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"c\",\"ack_policy\":\"explicit\","
                   "\"max_waiting\":%s}}",
                   max_waiting);
    ask_api(&waits, "$JS.API.CONSUMER.DURABLE.CREATE.S.c", body);
    size_t size;
    char *text = make_pulls("box.", waiting_count, &size);
    wire_send(&waits, text, size);
    free(text);
    wire_sync(&waits);
    // All wait, and the next one is told so.
    wire_say(&waits, "PUB $JS.API.CONSUMER.MSG.NEXT.S.c box.more 0\r\n\r\n");
    (void)wire_until(&waits, "409 Exceeded MaxWaiting");
    // The loop is done with all of them when their sender's PING is answered: it is free for others in between, since
    // none takes longer than a publish.
    text = make_pulls("nowhere.", COUNT, &size);
    int64_t asked_ms = milliseconds();
    wire_send(&asks, text, size);
    wire_sync(&asks);
    int64_t took_ms = milliseconds() - asked_ms;
    if (took_ms > ALL_MS_MAX) fail_msg("%d requests took %lld ms", COUNT, (long long)took_ms);
    free(text);
    wire_close(&asks);
    // Room comes back when nobody listens any more.
    wire_close(&waits);
    wire_join(&other, daybook_server_port(server), quiet);
    wire_say(&other, "SUB answer 1\r\n");
    for (int64_t due_ms = milliseconds() + WIRE_SECONDS * 1000;;) {
        wire_say(&other, "PUB $JS.API.CONSUMER.INFO.S.c answer 0\r\n\r\n");
        const char *got = wire_until(&other, "}\r\n");
        if (strstr(got, "\"num_waiting\":0") != NULL) break;
        if (milliseconds() > due_ms) fail_msg("%s", got);
    }
    wire_close(&other);
    wire_server_stop(server);
}

static void pulls_without_room_hold_up_nobody(void **unused) {
    (void)unused;
    pulls_without_room("512", 512);
}

static void nor_where_very_many_wait(void **unused) {
    (void)unused;
    pulls_without_room("16384", 16384);
}

int main(void) {
    state = 0x2545f4914f6cdd1d;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thousand_connections),
        cmocka_unit_test(a_receiver_that_does_not_read_is_cut_off),
        cmocka_unit_test(a_receiver_that_is_behind_slows_its_sender_down),
        cmocka_unit_test(nonsense_hurts_nobody_else),
        cmocka_unit_test(memory_that_is_out_ends_a_connection_and_no_more),
        cmocka_unit_test(pulls_without_room_hold_up_nobody),
        cmocka_unit_test(nor_where_very_many_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
