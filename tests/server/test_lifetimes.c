// SPDX-License-Identifier: Apache-2.0
// How long things live and how many may: consumers for ever and for a moment, those that are removed while they
// are used, calls that a stop meets, requests that are too many. An assertion of the server, or what a sanitizer finds, fails these tests.
#define _POSIX_C_SOURCE 200809L // send, threads
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "lib/folder.h"
#include "server/wire.h"

static const char quiet[] = "{\"verbose\":false,\"headers\":true,\"no_responders\":true}";

typedef struct fixture {
    char folder[64];
    const char *settings; // of its JetStream
    daybook_server *server;
    wire client; // subscribed to _INBOX.>
} fixture;

static void start(fixture *of) {
    char config[256];
    (void)snprintf(config, sizeof config, "jetstream { store_dir: \"%s\"\n%s }", of->folder, of->settings);
    of->server = wire_server(config);
    wire_join(&of->client, daybook_server_port(of->server), quiet);
    wire_say(&of->client, "SUB _INBOX.> 1\r\n");
    wire_sync(&of->client);
}

static void stop(fixture *of) {
    wire_server_stop(of->server);
    wire_close(&of->client);
}

static int set_up_with(void **state, const char *settings) {
    fixture *of = calloc(1, sizeof *of);
    assert_non_null(of);
    of->settings = settings;
    assert_true(folder_make("lifetimes", of->folder, sizeof of->folder));
    start(of);
    *state = of;
    return 0;
}

static int set_up(void **state) {
    return set_up_with(state, "");
}

static int set_up_narrow(void **state) {
    return set_up_with(state, "request_queue_limit: 5");
}

static int tear_down(void **state) {
    fixture *of = *state;
    stop(of);
    assert_true(folder_remove(of->folder));
    free(of);
    return 0;
}

// ---- Calls ------------------------------------------------------------------------------------------------

// For so long nothing of it comes.
static void expect_none(wire *client, const char *unwanted, int milliseconds) {
    wire_nap(milliseconds);
    const char *got = wire_settle(client);
    if (strstr(got, unwanted) != NULL) fail_msg("%s", got);
}

// What is answered, which has no headers; valid until the client reads again.
static const char *ask(wire *client, const char *subject, const char *body) {
    wire_publish(client, subject, "_INBOX.a", body);
    while (strncmp(wire_until(client, "\r\n"), "MSG ", 4) != 0) {
    } // the server's PING may come in front
    return wire_until(client, "\r\n");
}

static void ask_well(wire *client, const char *subject, const char *body) {
    const char *answer = ask(client, subject, body);
    if (strstr(answer, "\"error\"") != NULL) fail_msg("%s: %s", subject, answer);
}

static void add_stream(fixture *of) {
    ask_well(&of->client, "$JS.API.STREAM.CREATE.S", "{\"name\":\"S\",\"subjects\":[\"s.>\"]}");
}

static void add_consumer(wire *client, const char *name, const char *settings) {
    char subject[128], body[512];
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.CREATE.S.%s", name);
    (void)snprintf(body, sizeof body,
                   "{\"stream_name\":\"S\",\"config\":{\"name\":\"%s\",\"durable_name\":\"%s\","
                   "\"ack_policy\":\"explicit\"%s}}",
                   name, name, settings);
    ask_well(client, subject, body);
}

static bool is_there(wire *client, const char *name) {
    char subject[128];
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.INFO.S.%s", name);
    return strstr(ask(client, subject, ""), "\"error\"") == NULL;
}

// ---- For ever ---------------------------------------------------------------------------------------------

// Who says "never" says the largest number there is, or something near it.
static void what_lives_for_ever_is_not_removed(void **state) {
    fixture *of = *state;
    static const char *const durations[] = {"9223372036854775807", "9223372036854775806",
                                            "4611686018427387904"};
    add_stream(of);
    for (size_t i = 0; i < sizeof durations / sizeof *durations; i++) {
        char name[8], settings[80];
        (void)snprintf(name, sizeof name, "c%zu", i);
        (void)snprintf(settings, sizeof settings, ",\"inactive_threshold\":%s", durations[i]);
        add_consumer(&of->client, name, settings);
    }
    wire_nap(300);
    for (int again = 0; again < 2; again++) {
        assert_true(is_there(&of->client, "c0"));
        assert_true(is_there(&of->client, "c1"));
        assert_true(is_there(&of->client, "c2"));
        stop(of);
        start(of);
    }
    // Opened by use after a start, too.
    wire_publish(&of->client, "$JS.API.CONSUMER.MSG.NEXT.S.c0", "_INBOX.a", "{\"batch\":1,\"no_wait\":true}");
    (void)wire_until(&of->client, "404 No Messages\r\n\r\n\r\n");
    wire_nap(300);
    assert_true(is_there(&of->client, "c0"));
}

static void a_heartbeat_in_an_eternity_does_not_come_now(void **state) {
    static const char unwanted[] = "100 Idle Heartbeat";
    fixture *of = *state;
    add_stream(of);
    wire_say(&of->client, "SUB deliver.a 2\r\n");
    add_consumer(&of->client, "push",
                 ",\"deliver_subject\":\"deliver.a\",\"idle_heartbeat\":9223372036854775807");
    expect_none(&of->client, unwanted, 300);
    // It delivers all the same.
    wire_say(&of->client, "PUB s.1 2\r\nhi\r\n");
    (void)wire_until(&of->client, "hi\r\n");
    expect_none(&of->client, unwanted, 300);
    add_consumer(&of->client, "pull", "");
    wire_publish(&of->client, "$JS.API.CONSUMER.MSG.NEXT.S.pull", "_INBOX.a",
                 "{\"batch\":2,\"expires\":9223372036854775807,\"idle_heartbeat\":4611686018427387000}");
    (void)wire_until(&of->client, "hi\r\n");
    expect_none(&of->client, unwanted, 300);
}

static void heartbeats_have_a_shortest_time(void **state) {
    fixture *of = *state;
    add_stream(of);
    add_consumer(&of->client, "pull", "");
    wire_publish(&of->client, "$JS.API.CONSUMER.MSG.NEXT.S.pull", "_INBOX.a",
                 "{\"batch\":1,\"expires\":300000000,\"idle_heartbeat\":1}");
    const char *got = wire_until(&of->client, "408 Request Timeout");
    size_t count = 0;
    for (const char *at = got; (at = strstr(at, "100 Idle Heartbeat")) != NULL; at++) count++;
    assert_in_range(count, 1, 31); // every 10 ms
}

static void a_consumer_has_so_many_waiting_at_most(void **state) {
    enum { AT_MOST = 16384, AT_ONCE = 512 };
    fixture *of = *state;
    add_stream(of);
    add_consumer(&of->client, "pull", ",\"max_waiting\":1000000");
    static const char line[] = "PUB $JS.API.CONSUMER.MSG.NEXT.S.pull _INBOX.a 11\r\n{\"batch\":1}\r\n";
    static char text[AT_ONCE * sizeof line];
    for (size_t i = 0; i < AT_ONCE; i++) memcpy(text + i * (sizeof line - 1), line, sizeof line);
    for (size_t i = 0; i < AT_MOST / AT_ONCE; i++) wire_say(&of->client, text);
    const char *got = wire_settle(&of->client);
    if (strstr(got, "MaxWaiting") != NULL) fail_msg("%s", got);
    wire_say(&of->client, line);
    (void)wire_until(&of->client, "409 Exceeded MaxWaiting");
}

static void a_message_may_be_answered_in_an_eternity(void **state) {
    static const char unwanted[] = "hi\r\n"; // again
    fixture *of = *state;
    add_stream(of);
    add_consumer(&of->client, "c", ",\"ack_wait\":9223372036854775807");
    wire_say(&of->client, "PUB s.1 2\r\nhi\r\n");
    wire_publish(&of->client, "$JS.API.CONSUMER.MSG.NEXT.S.c", "_INBOX.a",
                 "{\"batch\":5,\"expires\":60000000000}");
    (void)wire_until(&of->client, "hi\r\n");
    wire_say(&of->client, "PUB $JS.ACK.S.c.1.1.1.1.0 35\r\n-NAK {\"delay\": 9223372036854775807}\r\n");
    expect_none(&of->client, unwanted, 300);
}

// ---- Removed in use ---------------------------------------------------------------------------------------

// A pull that finds nothing leaves a watch behind; the consumer is removed before, while and after it does.
static void a_consumer_is_removed_while_it_is_asked(void **state) {
    enum { ROUNDS = 400 };
    fixture *of = *state;
    add_stream(of);
    wire other; // events wake the watches meanwhile
    wire_join(&other, daybook_server_port(of->server), quiet);
    for (int i = 0; i < ROUNDS; i++) {
        add_consumer(&of->client, "c", "");
        wire_publish(&of->client, "$JS.API.CONSUMER.MSG.NEXT.S.c", "_INBOX.a",
                     "{\"batch\":100,\"expires\":5000000000}");
        if (i % 3 == 0) wire_say(&other, "PUB s.1 0\r\n\r\n");
        if (i % 5 == 0) (void)wire_settle(&other);
        wire_publish(&of->client, "$JS.API.CONSUMER.DELETE.S.c", "_INBOX.a", "");
        (void)wire_until(&of->client, "\"success\":true");
        // The end of the pull and messages for it, in front of that or behind it.
        (void)wire_settle(&of->client);
    }
    wire_close(&other);
}

// ---- The end ----------------------------------------------------------------------------------------------

// Calls run one after the other, so that a stop meets those that run and those that wait.
static void a_stop_meets_calls_under_way(void **state) {
    enum { ROUNDS = 12, CALLS = 100 };
    fixture *of = *state;
    add_stream(of);
    for (int round = 0; round < ROUNDS; round++) {
        char *text = calloc(CALLS, 512);
        assert_non_null(text);
        size_t size = 0;
        for (int i = 0; i < CALLS; i++) {
            char body[256];
            if (i % 4 == 3) {
                (void)snprintf(body, sizeof body, "{\"name\":\"S%d-%d\",\"subjects\":[\"t.%d.%d\"]}", round,
                               i, round, i);
                size += (size_t)snprintf(text + size, 512,
                                         "PUB $JS.API.STREAM.CREATE.S%d-%d _INBOX.a %zu\r\n%s\r\n", round, i,
                                         strlen(body), body);
            } else {
                (void)snprintf(
                    body, sizeof body,
                    "{\"stream_name\":\"S\",\"config\":{\"name\":\"c%d-%d\",\"durable_name\":\"c%d-%d\","
                    "\"ack_policy\":\"explicit\"%s}}",
                    round, i, round, i, i % 4 == 0 ? ",\"deliver_subject\":\"_INBOX.d\"" : "");
                size += (size_t)snprintf(text + size, 512,
                                         "PUB $JS.API.CONSUMER.CREATE.S.c%d-%d _INBOX.a %zu\r\n%s\r\n", round,
                                         i, strlen(body), body);
            }
        }
        wire_send(&of->client, text, size);
        free(text);
        (void)wire_until(&of->client, "\r\n"); // the first is answered
        if (round % 3 > 0) wire_nap(round);
        stop(of);
        start(of);
        // What the stop met is whole: it can be asked for, or is not there.
        (void)ask(&of->client, "$JS.API.CONSUMER.LIST.S", "");
        ask_well(&of->client, "$JS.API.STREAM.NAMES", "");
    }
}

// Who waits behind the call that runs is told that it was not done.
static void a_call_that_waits_is_refused_at_a_stop(void **state) {
    enum { CALLS = 300 };
    fixture *of = *state;
    add_stream(of);
    for (int i = 0; i < CALLS; i++) {
        char line[512], body[256];
        (void)snprintf(body, sizeof body, "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"c%d\"}}", i);
        (void)snprintf(line, sizeof line, "PUB $JS.API.CONSUMER.DURABLE.CREATE.S.c%d _INBOX.a %zu\r\n%s\r\n",
                       i, strlen(body), body);
        wire_say(&of->client, line);
        if (i == 0) (void)wire_until(&of->client, "\"name\":\"c0\"");
    }
    (void)wire_settle(&of->client); // all are read, one at least is done
    wire_server_stop(of->server);
    // Each was answered once: with what was made, or with the refusal, which is the last one's if any's.
    const char *end =
        wire_until(&of->client, "\"err_code\":10076,\"description\":\"JetStream not enabled\"}");
    assert_null(strstr(end, "\"err_code\":10008"));
    wire_drain_to_end(&of->client);
    wire_close(&of->client);
    start(of);
    assert_true(is_there(&of->client, "c0"));
    char last[16];
    (void)snprintf(last, sizeof last, "c%d", CALLS - 1);
    assert_false(is_there(&of->client, last));
}

// Who publishes on and on, and who reads the answers.
static const char one_publish[] = "PUB s.1 _INBOX.a 100\r\n"
                                  "0123456789012345678901234567890123456789012345678901234567890123456789"
                                  "012345678901234567890123456789\r\n";

static void *publish_on(void *context) {
    enum { COUNT = 200000 };
    const wire *client = context;
    for (int i = 0; i < COUNT; i++)
        if (send(client->socket, one_publish, sizeof one_publish - 1, MSG_NOSIGNAL) <= 0) break;
    return NULL;
}

typedef struct reading {
    const wire *client;
    atomic_bool has_read;
    char tail[4096]; // of what was read
    size_t size;
} reading;

static void *read_to_the_end(void *context) {
    reading *mine = context;
    char buffer[2048];
    for (;;) {
        ssize_t got = recv(mine->client->socket, buffer, sizeof buffer, 0);
        if (got <= 0) return NULL;
        atomic_store(&mine->has_read, true);
        size_t room = sizeof mine->tail - 1 - mine->size;
        if ((size_t)got > room) {
            size_t drop = (size_t)got - room;
            memmove(mine->tail, mine->tail + drop, mine->size - drop);
            mine->size -= drop;
        }
        memcpy(mine->tail + mine->size, buffer, (size_t)got);
        mine->size += (size_t)got;
        mine->tail[mine->size] = '\0';
    }
}

static unsigned long long last_number(const char *text, const char *key) {
    unsigned long long number = 0;
    for (const char *at = text; (at = strstr(at, key)) != NULL; at += strlen(key))
        number = strtoull(at + strlen(key), NULL, 10);
    return number;
}

// A socket that is closed with unread publishes in it is reset, and answers on their way would be lost.
static void a_stop_answers_all_it_has_stored(void **state) {
    enum { ROUNDS = 5 };
    fixture *of = *state;
    add_stream(of);
    for (int round = 0; round < ROUNDS; round++) {
        reading mine = {.client = &of->client};
        atomic_init(&mine.has_read, false);
        pthread_t writer, reader;
        assert_int_equal(pthread_create(&reader, NULL, read_to_the_end, &mine), 0);
        assert_int_equal(pthread_create(&writer, NULL, publish_on, &of->client), 0);
        while (!atomic_load(&mine.has_read)) wire_nap(1);
        wire_nap(10 * round);
        wire_server_stop(of->server);
        pthread_join(writer, NULL);
        pthread_join(reader, NULL);
        wire_close(&of->client);
        start(of);
        const char *info = ask(&of->client, "$JS.API.STREAM.INFO.S", "");
        unsigned long long stored = last_number(info, "\"last_seq\":");
        assert_true(stored > 0);
        assert_true(last_number(mine.tail, "\"seq\":") == stored);
    }
}

// ---- Too many ---------------------------------------------------------------------------------------------

// How often a text stands in another.
static size_t count_of(const char *text, const char *what) {
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, what)) != NULL; at++) count++;
    return count;
}

// `count` requests at once, so that they are read together; what came until all are answered.
static const char *flood(wire *client, const char *subject, const char *body, size_t count) {
    size_t size_max = strlen(subject) + strlen(body) + 64, size = 0;
    char *text = calloc(count, size_max);
    assert_non_null(text);
    for (size_t i = 0; i < count; i++)
        size += (size_t)snprintf(text + size, size_max, "PUB %s _INBOX.a %zu\r\n%s\r\n", subject,
                                 strlen(body), body);
    wire_send(client, text, size);
    free(text);
    wire_nap(500);
    wire_publish(client, "$JS.API.STREAM.DELETE.NONE", "_INBOX.a", ""); // calls are answered in turn
    static char all[1 << 20];
    (void)snprintf(all, sizeof all, "%s", wire_until(client, "stream_delete_response"));
    (void)wire_until(client, "\r\n");
    return all;
}

static void requests_beyond_the_limit_are_refused(void **state) {
    enum { COUNT = 100 };
    fixture *of = *state;
    add_stream(of);
    wire_say(&of->client, "PUB s.1 _INBOX.a 2\r\nhi\r\n");
    (void)wire_until(&of->client, "\"seq\":1}\r\n");
    wire_nap(50);
    const char *got = flood(&of->client, "$JS.API.CONSUMER.NAMES.S", "", COUNT);
    size_t refused = count_of(got, "\"err_code\":10023");
    size_t answered = count_of(got, "consumer_names_response");
    assert_in_range(refused, 1, COUNT - 5);
    assert_int_equal(refused + answered, COUNT);
}

static void direct_gets_beyond_the_limit_are_refused(void **state) {
    enum { COUNT = 100 };
    fixture *of = *state;
    ask_well(&of->client, "$JS.API.STREAM.CREATE.S",
             "{\"name\":\"S\",\"subjects\":[\"s.>\"],\"allow_direct\":true}");
    wire_say(&of->client, "PUB s.1 _INBOX.a 2\r\nhi\r\n");
    (void)wire_until(&of->client, "\"seq\":1}\r\n");
    char *text = calloc(COUNT, 64);
    assert_non_null(text);
    for (int i = 0; i < COUNT; i++) strcat(text, "PUB $JS.API.DIRECT.GET.S.s.1 _INBOX.a 0\r\n\r\n");
    wire_say(&of->client, text);
    free(text);
    size_t refused = 0, given = 0;
    while (refused + given < COUNT) {
        const char *line = wire_until(&of->client, "\r\n");
        refused += strstr(line, "429 Too Many Requests") != NULL;
        given += strcmp(line, "hi\r\n") == 0;
    }
    assert_in_range(refused, 1, COUNT - 5);
    // And later again.
    (void)wire_settle(&of->client);
    wire_say(&of->client, "PUB $JS.API.DIRECT.GET.S.s.1 _INBOX.a 0\r\n\r\n");
    (void)wire_until(&of->client, "hi\r\n");
}

static void a_direct_get_is_as_long_as_its_filters(void **state) {
    enum { FILTER_COUNT = 2000 };
    fixture *of = *state;
    ask_well(&of->client, "$JS.API.STREAM.CREATE.S",
             "{\"name\":\"S\",\"subjects\":[\"s.>\"],\"allow_direct\":true}");
    wire_say(&of->client, "PUB s.1 _INBOX.a 2\r\nhi\r\n");
    (void)wire_until(&of->client, "\"seq\":1}\r\n");
    static const size_t counts[] = {900, FILTER_COUNT};
    for (size_t i = 0; i < 2; i++) {
        char *body = calloc(FILTER_COUNT + 1, 100), head[80];
        assert_non_null(body);
        size_t size = (size_t)sprintf(body, "{\"multi_last\":[\"s.>\"");
        for (size_t at = 0; at < counts[i]; at++) size += (size_t)sprintf(body + size, ",\"s.%080zu\"", at);
        size += (size_t)sprintf(body + size, "]}");
        (void)snprintf(head, sizeof head, "PUB $JS.API.DIRECT.GET.S _INBOX.a %zu\r\n", size);
        wire_say(&of->client, head);
        wire_say(&of->client, body);
        wire_say(&of->client, "\r\n");
        (void)wire_until(&of->client, i == 0 ? "hi\r\n" : "NATS/1.0 408 Bad Request");
        (void)wire_settle(&of->client);
        free(body);
    }
}

// Names that nobody has made cost no more than the limit lets be looked for at once.
static void consumers_that_are_not_there_are_not_looked_for_without_end(void **state) {
    enum { COUNT = 2000 };
    fixture *of = *state;
    add_stream(of);
    add_consumer(&of->client, "c", "");
    for (int i = 0; i < COUNT; i++) {
        char line[128];
        (void)snprintf(
            line, sizeof line,
            "PUB $JS.ACK.S.ghost%d.1.1.1.1.0 0\r\n\r\nPUB $JS.API.CONSUMER.MSG.NEXT.S.ghost%d _INBOX.a "
            "0\r\n\r\n",
            i, i);
        wire_say(&of->client, line);
    }
    for (int i = 0; i < COUNT; i++) (void)wire_until(&of->client, "NATS/1.0 503\r\n\r\n\r\n");
    (void)wire_settle(&of->client);
    assert_true(is_there(&of->client, "c"));
}

static void a_pull_request_is_short(void **state) {
    fixture *of = *state;
    static char body[6000];
    char line[128];
    add_stream(of);
    add_consumer(&of->client, "c", "");
    memset(body, ' ', sizeof body - 1);
    memcpy(body, "{\"batch\":1,\"no_wait\":true", 25);
    body[sizeof body - 2] = '}';
    // Open, and not open yet.
    for (int i = 0; i < 2; i++) {
        (void)snprintf(line, sizeof line, "PUB $JS.API.CONSUMER.MSG.NEXT.S.c _INBOX.a %zu\r\n", strlen(body));
        wire_say(&of->client, line);
        wire_say(&of->client, body);
        wire_say(&of->client, "\r\n");
        (void)wire_until(&of->client, "400 Bad Request - request too long\r\n\r\n\r\n");
        wire_publish(&of->client, "$JS.API.CONSUMER.MSG.NEXT.S.c", "_INBOX.a",
                     "{\"batch\":1,\"no_wait\":true}");
        (void)wire_until(&of->client, "404 No Messages\r\n\r\n\r\n");
        stop(of);
        start(of);
    }
}

// Requests of one connection take so much memory, and then it is not read from: nothing is lost by that.
static void a_connection_may_ask_for_more_than_it_may_hold(void **state) {
    enum { COUNT = 40, BODY_SIZE = 1000000 };
    fixture *of = *state;
    char *body = malloc(BODY_SIZE + 1);
    assert_non_null(body);
    memset(body, ' ', BODY_SIZE);
    body[BODY_SIZE] = '\0';
    add_stream(of);
    wire other;
    wire_join(&other, daybook_server_port(of->server), quiet);
    wire_say(&other, "SUB _INBOX.> 1\r\n");
    for (int i = 0; i < COUNT; i++) {
        char line[80];
        (void)snprintf(line, sizeof line, "PUB $JS.API.STREAM.INFO.S _INBOX.a%d %d\r\n", i, BODY_SIZE);
        wire_say(&of->client, line);
        wire_say(&of->client, body);
        wire_say(&of->client, "\r\n");
        if (i % 8 == 0) wire_say(&other, "PING\r\n");
    }
    free(body);
    for (int i = 0; i < COUNT; i++) (void)wire_until(&of->client, "stream_info_response");
    (void)wire_until(&other, "PONG\r\n");
    wire_close(&other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_lives_for_ever_is_not_removed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_heartbeat_in_an_eternity_does_not_come_now, set_up, tear_down),
        cmocka_unit_test_setup_teardown(heartbeats_have_a_shortest_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_consumer_has_so_many_waiting_at_most, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_message_may_be_answered_in_an_eternity, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_consumer_is_removed_while_it_is_asked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stop_meets_calls_under_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_call_that_waits_is_refused_at_a_stop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stop_answers_all_it_has_stored, set_up, tear_down),
        cmocka_unit_test_setup_teardown(requests_beyond_the_limit_are_refused, set_up_narrow, tear_down),
        cmocka_unit_test_setup_teardown(a_direct_get_is_as_long_as_its_filters, set_up, tear_down),
        cmocka_unit_test_setup_teardown(direct_gets_beyond_the_limit_are_refused, set_up_narrow, tear_down),
        cmocka_unit_test_setup_teardown(consumers_that_are_not_there_are_not_looked_for_without_end,
                                        set_up_narrow, tear_down),
        cmocka_unit_test_setup_teardown(a_pull_request_is_short, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_connection_may_ask_for_more_than_it_may_hold, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
