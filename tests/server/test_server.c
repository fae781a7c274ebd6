// SPDX-License-Identifier: Apache-2.0
// A server inside this process, spoken to through sockets: what NATS clients say and hear, limits, and its end.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "daybook/daybook.h"
#include "server/wire.h"

static const char quiet[] =
    "{\"verbose\":false,\"pedantic\":false,\"protocol\":1,\"headers\":true,\"no_responders\":true}";

static void it_greets_and_says_where_it_is(void **unused) {
    (void)unused;
    daybook_server *server = wire_server(NULL);
    int port = daybook_server_port(server);
    char url[64];
    (void)snprintf(url, sizeof url, "nats://127.0.0.1:%d", port);
    assert_string_equal(daybook_server_url(server), url);
    assert_int_equal(daybook_server_monitor_port(server), 0);
    assert_null(daybook_server_store(server));
    wire client;
    wire_open(&client, port);
    assert_non_null(strstr(
        client.info, "\"headers\":true,\"max_payload\":1048576,\"client_id\":1,\"client_ip\":\"127.0.0.1\""));
    assert_non_null(strstr(client.info, "\"proto\":1"));
    assert_null(strstr(client.info, "auth_required"));
    wire_close(&client);
    assert_true(wire_log_has("[INF] Server is ready"));
    (void)snprintf(url, sizeof url, "Listening for client connections on 127.0.0.1:%d", port);
    assert_true(wire_log_has(url));
    wire_server_stop(server);
    assert_int_equal(daybook_server_stop(NULL, NULL), DAYBOOK_OK);
}

static void messages_reach_who_wants_them(void **unused) {
    (void)unused;
    daybook_server *server = wire_server(NULL);
    wire a, b;
    wire_join(&a, daybook_server_port(server), quiet);
    wire_join(&b, daybook_server_port(server), quiet);
    wire_say(&a, "SUB orders.* 1\r\nSUB orders.> two\r\nSUB other 3\r\n");
    wire_sync(&a);
    wire_say(
        &b,
        "PUB orders.created 5\r\nhello\r\nPUB orders.created reply.to 0\r\n\r\npub orders.a.b 1\r\nx\r\n");
    wire_sync(&b);
    // The order among one client's subscriptions is nobody's promise; each gets each message once.
    const char *got = wire_until(&a, "MSG orders.a.b two 1\r\nx\r\n");
    assert_non_null(strstr(got, "MSG orders.created 1 5\r\nhello\r\n"));
    assert_non_null(strstr(got, "MSG orders.created two 5\r\nhello\r\n"));
    assert_non_null(strstr(got, "MSG orders.created 1 reply.to 0\r\n\r\n"));
    assert_non_null(strstr(got, "MSG orders.created two reply.to 0\r\n\r\n"));
    wire_sync(&a);
    wire_close(&a);
    wire_close(&b);
    wire_server_stop(server);
}

static void echo_is_as_asked(void **unused) {
    (void)unused;
    daybook_server *server = wire_server(NULL);
    wire a, b;
    wire_join(&a, daybook_server_port(server), quiet);
    wire_join(&b, daybook_server_port(server), "{\"verbose\":false,\"echo\":false}");
    wire_say(&a, "SUB x 1\r\nPUB x 1\r\na\r\nPING\r\n");
    wire_expect(&a, "MSG x 1 1\r\na\r\nPONG\r\n");
    wire_say(&b, "SUB x 1\r\nPUB x 1\r\nb\r\nPING\r\n");
    wire_expect(&b, "PONG\r\n");
    wire_expect(&a, "MSG x 1 1\r\nb\r\n");
    wire_close(&a);
    wire_close(&b);
    wire_server_stop(server);
}

static void a_group_shares(void **unused) {
    (void)unused;
    enum { MEMBERS = 4, MESSAGES = 400 };
    daybook_server *server = wire_server(NULL);
    wire members[MEMBERS], sender;
    for (int i = 0; i < MEMBERS; i++) {
        wire_join(&members[i], daybook_server_port(server), quiet);
        wire_say(&members[i], "SUB work.> crew 7\r\n");
        wire_sync(&members[i]);
    }
    wire_join(&sender, daybook_server_port(server), quiet);
    for (int i = 0; i < MESSAGES; i++) wire_say(&sender, "PUB work.now 2\r\nhi\r\n");
    wire_sync(&sender);
    int total = 0;
    for (int i = 0; i < MEMBERS; i++) {
        wire_say(&members[i], "PING\r\n");
        const char *got = wire_until(&members[i], "PONG\r\n");
        int count = 0;
        for (const char *at = got; (at = strstr(at, "MSG work.now 7 2\r\nhi\r\n")) != NULL; at++) count++;
        assert_in_range(count, 1, MESSAGES - 1); // at random: that one has none of 400 does not happen
        total += count;
        wire_close(&members[i]);
    }
    assert_int_equal(total, MESSAGES);
    wire_close(&sender);
    wire_server_stop(server);
}

static void headers_go_to_who_understands_them(void **unused) {
    (void)unused;
    daybook_server *server = wire_server(NULL);
    wire with, without;
    wire_join(&with, daybook_server_port(server), quiet);
    wire_join(&without, daybook_server_port(server), "{\"verbose\":false}");
    wire_say(&with, "SUB h 1\r\n");
    wire_sync(&with);
    wire_say(&without, "SUB h 2\r\n");
    wire_sync(&without);
    wire_say(&with, "HPUB h 22 27\r\nNATS/1.0\r\nA: b c d\r\n\r\nhello\r\n");
    wire_expect(&with, "HMSG h 1 22 27\r\nNATS/1.0\r\nA: b c d\r\n\r\nhello\r\n");
    wire_expect(&without, "MSG h 2 5\r\nhello\r\n");
    wire_say(&with, "HPUB h re 12 12\r\nNATS/1.0\r\n\r\n\r\n");
    wire_expect(&with, "HMSG h 1 re 12 12\r\nNATS/1.0\r\n\r\n\r\n");
    wire_expect(&without, "MSG h 2 re 0\r\n\r\n");
    wire_say(&without, "HPUB h 12 12\r\nNATS/1.0\r\n\r\n\r\n");
    wire_expect_end(&without);
    wire_close(&with);
    wire_close(&without);
    wire_server_stop(server);
}

static void whoever_asks_nobody_is_told_so(void **unused) {
    (void)unused;
    daybook_server *server = wire_server(NULL);
    wire a, b;
    wire_join(&a, daybook_server_port(server), quiet);
    wire_join(&b, daybook_server_port(server), quiet);
    wire_say(&b, "SUB inbox.* 9\r\n");
    wire_sync(&b);
    wire_say(&a, "SUB inbox.> 1\r\nPUB nobody inbox.1 2\r\nhi\r\nPING\r\n");
    // On the asker's own subscription, and nobody else's.
    wire_expect(&a, "HMSG inbox.1 1 38 38\r\nNATS/1.0 503\r\nNats-Subject: nobody\r\n\r\n\r\nPONG\r\n");
    wire_sync(&b);
    wire_close(&b);
    wire_open(&b, daybook_server_port(server));
    wire_say(&b, "CONNECT {\"verbose\":false,\"no_responders\":true}\r\n");
    wire_expect(&b, "-ERR 'no responders requires headers support'\r\n");
    wire_expect_end(&b);
    wire_close(&a);
    wire_close(&b);
    wire_server_stop(server);
}

static void unsubscribing_after_so_many(void **unused) {
    (void)unused;
    daybook_server *server = wire_server(NULL);
    wire a;
    wire_join(&a, daybook_server_port(server), quiet);
    wire_say(&a, "SUB x 1\r\nUNSUB 1 2\r\nPUB x 1\r\n1\r\nPUB x 1\r\n2\r\nPUB x 1\r\n3\r\nPING\r\n");
    wire_expect(&a, "MSG x 1 1\r\n1\r\nMSG x 1 1\r\n2\r\nPONG\r\n");
    // Its sid is free again, at once.
    wire_say(&a, "SUB x 1\r\nPUB x 1\r\n4\r\nPUB x 1\r\n5\r\nUNSUB 1 1\r\nPUB x 1\r\n6\r\nUNSUB 1\r\nUNSUB "
                 "never\r\nPING\r\n");
    wire_expect(&a, "MSG x 1 1\r\n4\r\nMSG x 1 1\r\n5\r\nPONG\r\n");
    wire_close(&a);
    wire_server_stop(server);
}

static void verbose_and_pedantic(void **unused) {
    (void)unused;
    daybook_server *server = wire_server(NULL);
    wire a;
    wire_open(&a, daybook_server_port(server));
    wire_say(&a, "PUB early 0\r\n\r\n"); // who says nothing is verbose
    wire_expect(&a, "+OK\r\n");
    wire_say(&a, "CONNECT {\"verbose\":true,\"pedantic\":true}\r\n");
    wire_expect(&a, "+OK\r\n");
    wire_say(&a, "SUB a.b 1\r\nPUB a.b 1\r\nx\r\nUNSUB 1\r\n");
    wire_expect(&a, "+OK\r\n+OK\r\nMSG a.b 1 1\r\nx\r\n+OK\r\n");
    wire_say(&a, "PUB a.* 0\r\n\r\n");
    wire_expect(&a, "-ERR 'Invalid Publish Subject'\r\n+OK\r\n");
    wire_say(&a, "SUB a..b 1\r\n");
    wire_expect(&a, "-ERR 'Invalid Subject'\r\n");
    wire_say(&a, "SUB a.> b 1\r\nSUB >.a 2\r\n");
    wire_expect(&a, "+OK\r\n-ERR 'Invalid Subject'\r\n");
    wire_sync(&a);
    wire_close(&a);
    wire_server_stop(server);
}

/// Opens a connection, says something, and expects this answer and the end.
static void expect_rejection(int port, const char *said, const char *answer) {
    wire a;
    wire_join(&a, port, quiet);
    wire_say(&a, said);
    if (answer != NULL) wire_expect(&a, answer);
    wire_expect_end(&a);
    wire_close(&a);
}

static void what_is_wrong_ends_the_connection_with_its_text(void **unused) {
    (void)unused;
    daybook_server *server = wire_server("max_payload: 1000, max_control_line: 512, max_subscriptions: 2");
    int port = daybook_server_port(server);
    expect_rejection(port, "NONSENSE\r\n", "-ERR 'Unknown Protocol Operation'\r\n");
    expect_rejection(port, "PUB x 1001\r\n", "-ERR 'Maximum Payload Violation'\r\n");
    expect_rejection(port, "PUB x 2\r\nabcd\r\n", "-ERR 'Unknown Protocol Operation'\r\n");
    expect_rejection(port, "PUB x\r\n", NULL);
    expect_rejection(port, "PUB x abc\r\n", NULL);
    expect_rejection(port, "SUB a\r\n", NULL);
    expect_rejection(port, "CONNECT {\"protocol\":2}\r\n", "-ERR 'invalid client protocol'\r\n");
    expect_rejection(port, "CONNECT nothing\r\n", NULL);
    expect_rejection(port, "CONNECT {\"verbose\":1}\r\n", NULL);
    char line[600];
    (void)snprintf(line, sizeof line, "SUB %0540d 1\r\n", 0);
    expect_rejection(port, line, "-ERR 'maximum control line exceeded'\r\n");
    wire a;
    wire_join(&a, port, quiet);
    wire_say(&a, "SUB a 1\r\nSUB b 2\r\nSUB c 3\r\n");
    wire_expect(&a, "-ERR 'maximum subscriptions exceeded'\r\n");
    wire_sync(&a);
    wire_close(&a);
    wire_server_stop(server);
}

static void too_many_connections(void **unused) {
    (void)unused;
    daybook_server *server = wire_server("max_connections: 2");
    wire a, b, c;
    wire_join(&a, daybook_server_port(server), quiet);
    wire_join(&b, daybook_server_port(server), quiet);
    wire_open(&c, daybook_server_port(server));
    wire_expect(&c, "-ERR 'maximum connections exceeded'\r\n");
    wire_expect_end(&c);
    wire_close(&c);
    wire_close(&b);
    wire_sync(&a);
    wire_join(&b, daybook_server_port(server), quiet); // there is room again
    wire_close(&a);
    wire_close(&b);
    wire_server_stop(server);
}

static void large_payloads_pass_whole(void **unused) {
    (void)unused;
    static const size_t sizes[] = {4096, 4097, 8190, 8200, 65536, 70000, 1 << 20};
    daybook_server *server = wire_server(NULL);
    wire a, b;
    wire_join(&a, daybook_server_port(server), quiet);
    wire_join(&b, daybook_server_port(server), quiet);
    wire_say(&a, "SUB big 1\r\nSUB big 2\r\n");
    wire_sync(&a);
    char *payload = malloc(1 << 20);
    assert_non_null(payload);
    for (size_t i = 0; i < 1 << 20; i++) payload[i] = (char)('a' + i * 31 % 26);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char head[64];
        (void)snprintf(head, sizeof head, "PUB big %zu\r\n", sizes[i]);
        wire_say(&b, head);
        wire_send(&b, payload, sizes[i]);
        wire_say(&b, "\r\n");
        for (int each = 0; each < 2; each++) {
            const char *line = wire_until(&a, "\r\n");
            (void)snprintf(head, sizeof head, " %zu\r\n", sizes[i]);
            assert_memory_equal(line, "MSG big ", 8);
            assert_string_equal(line + 9, head);
            wire_expect_bytes(&a, payload, sizes[i]);
            wire_expect(&a, "\r\n");
        }
    }
    wire_sync(&b);
    free(payload);
    wire_close(&a);
    wire_close(&b);
    wire_server_stop(server);
}

static void bytes_may_come_one_by_one(void **unused) {
    (void)unused;
    daybook_server *server = wire_server(NULL);
    wire a;
    wire_join(&a, daybook_server_port(server), quiet);
    const char *said = "SUB one.* grp 12\r\nPUB one.two re.ply 11\r\nhello\r\nworl\r\nPING\r\n";
    for (const char *at = said; *at != '\0'; at++) {
        wire_send(&a, at, 1);
        struct timespec nap = {.tv_nsec = 300000};
        nanosleep(&nap, NULL);
    }
    wire_expect(&a, "MSG one.two 12 re.ply 11\r\nhello\r\nworl\r\nPONG\r\n");
    wire_close(&a);
    wire_server_stop(server);
}

static void pings_find_who_is_gone(void **unused) {
    (void)unused;
    daybook_server *server = wire_server("ping_interval: \"100ms\", ping_max: 2");
    wire a, b;
    wire_open(&a, daybook_server_port(server));
    wire_open(&b, daybook_server_port(server));
    wire_say(&a, "CONNECT {\"verbose\":false}\r\n");
    wire_say(&b, "CONNECT {\"verbose\":false}\r\n");
    for (int i = 0; i < 6; i++) {
        wire_expect(&b, "PING\r\n");
        wire_say(&b, "PONG\r\n");
    }
    wire_expect(&a, "PING\r\nPING\r\n-ERR 'Stale Connection'\r\n");
    wire_expect_end(&a);
    wire_close(&a);
    wire_close(&b);
    wire_server_stop(server);
}

static void it_ends_when_asked_and_begins_on_the_same_port(void **unused) {
    (void)unused;
    daybook_server *server = wire_server(NULL);
    int port = daybook_server_port(server);
    assert_int_equal(daybook_server_wait(server, 10000000), DAYBOOK_TIMEOUT);

    daybook_server_options options;
    daybook_server_options_init(&options);
    options.host = "127.0.0.1";
    options.port = port;
    daybook_server *second;
    daybook_error error;
    daybook_error_init(&error);
    assert_int_equal(daybook_server_start(&options, &second, &error), DAYBOOK_EEXISTS);
    assert_null(second);
    assert_non_null(strstr(error.message, "cannot listen on 127.0.0.1"));

    wire a;
    wire_join(&a, port, quiet);
    daybook_server_interrupt(server);
    wire_expect_end(&a);
    assert_int_equal(daybook_server_wait(server, -1), DAYBOOK_OK);
    daybook_server_interrupt(server); // too late, and harmless
    wire_server_stop(server);
    wire_close(&a);

    assert_int_equal(daybook_server_start(&options, &second, &error), DAYBOOK_OK);
    wire_join(&a, port, quiet);
    wire_close(&a);
    wire_server_stop(second);
}

// Until the server captures the subject, and says so.
static void publish_to_stream(wire *client, const char *subject) {
    for (int tries = 0; tries < 500; tries++) {
        char said[64];
        (void)snprintf(said, sizeof said, "PUB %s answer 1\r\nx\r\n", subject);
        wire_say(client, said);
        bool is_captured = strncmp(wire_until(client, "\r\n"), "MSG answer 1 ", 13) == 0;
        if (is_captured) {
            assert_non_null(strstr(wire_until(client, "\r\n"), "\"seq\":1"));
            return;
        }
        (void)wire_until(client, "\r\n\r\n\r\n"); // no responders
        wire_expect_silence(client, 10);
    }
    fail_msg("%s is not captured", subject);
}

static void add_stream(daybook_store *store, const char *name, const char *subject) {
    daybook_slice subjects = daybook_text(subject);
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text(name);
    config.subjects = &subjects;
    config.subject_count = 1;
    assert_int_equal(daybook_stream_add(store, &config, NULL), DAYBOOK_OK);
}

// A store has one server: another is refused, whatever it fails by, and the first goes on hearing of streams.
static void a_second_server_on_a_store_leaves_the_first_alone(void **unused) {
    (void)unused;
    daybook_store *store;
    assert_int_equal(daybook_open(":memory:", NULL, &store, NULL), DAYBOOK_OK);
    daybook_server_options options;
    daybook_server_options_init(&options);
    options.host = "127.0.0.1";
    options.port = -1;
    options.store = store;
    daybook_error error;
    daybook_error_init(&error);
    daybook_server *first, *second;
    assert_int_equal(daybook_server_start(&options, &first, &error), DAYBOOK_OK);
    wire client;
    wire_join(&client, daybook_server_port(first), quiet);
    wire_say(&client, "SUB answer 1\r\n");
    add_stream(store, "A", "a.>");
    publish_to_stream(&client, "a.1");

    assert_int_equal(daybook_server_start(&options, &second, &error), DAYBOOK_EEXISTS);
    assert_null(second);
    assert_non_null(strstr(error.message, "another server serves it"));
    add_stream(store, "B", "b.>");
    publish_to_stream(&client, "b.1");
    options.port = daybook_server_port(first);
    assert_int_equal(daybook_server_start(&options, &second, &error), DAYBOOK_EEXISTS);
    add_stream(store, "C", "c.>");
    publish_to_stream(&client, "c.1");
    wire_close(&client);
    assert_int_equal(daybook_server_stop(first, &error), DAYBOOK_OK);

    // Behind it the next may.
    options.port = -1;
    assert_int_equal(daybook_server_start(&options, &second, &error), DAYBOOK_OK);
    wire_join(&client, daybook_server_port(second), quiet);
    wire_say(&client, "SUB answer 1\r\n");
    add_stream(store, "D", "d.>");
    publish_to_stream(&client, "d.1");
    wire_close(&client);
    assert_int_equal(daybook_server_stop(second, &error), DAYBOOK_OK);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
}

static void a_lame_duck_tells_and_ends(void **unused) {
    (void)unused;
    daybook_server *server = wire_server("lame_duck_duration: \"30s\"\nlame_duck_grace_period: \"100ms\"");
    wire a, b;
    wire_join(&a, daybook_server_port(server), quiet);
    wire_join(&b, daybook_server_port(server), "{\"verbose\":false}"); // of protocol 0: told nothing
    daybook_server_lame_duck(server);
    assert_non_null(strstr(wire_until(&a, "\r\n"), "\"ldm\":true"));
    wire_drain_to_end(&a);
    wire_drain_to_end(&b);
    assert_int_equal(daybook_server_wait(server, (int64_t)10 * 1000000000), DAYBOOK_OK);
    assert_true(wire_log_has("Entering lame duck mode, stop accepting new clients"));
    wire_server_stop(server);
    wire_close(&a);
    wire_close(&b);
}

static void wrong_configurations_are_refused_with_their_place(void **unused) {
    (void)unused;
    daybook_server_options options;
    daybook_server_options_init(&options);
    options.config_text = daybook_text("port: -1\nno_such_key: 1\n");
    daybook_server *server;
    daybook_error error;
    daybook_error_init(&error);
    assert_int_equal(daybook_server_start(&options, &server, &error), DAYBOOK_EINVALID);
    assert_non_null(strstr(error.message, ":2:"));
    assert_int_equal(daybook_server_check(&options, &error), DAYBOOK_EINVALID);
    options.config_text = daybook_text("port: -1");
    assert_int_equal(daybook_server_check(&options, &error), DAYBOOK_OK);
    options.port = 70000;
    assert_int_equal(daybook_server_start(&options, &server, &error), DAYBOOK_EMISUSE);
    daybook_server_options nothing = {0};
    assert_int_equal(daybook_server_start(&nothing, &server, &error), DAYBOOK_EMISUSE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_greets_and_says_where_it_is),
        cmocka_unit_test(messages_reach_who_wants_them),
        cmocka_unit_test(echo_is_as_asked),
        cmocka_unit_test(a_group_shares),
        cmocka_unit_test(headers_go_to_who_understands_them),
        cmocka_unit_test(whoever_asks_nobody_is_told_so),
        cmocka_unit_test(unsubscribing_after_so_many),
        cmocka_unit_test(verbose_and_pedantic),
        cmocka_unit_test(what_is_wrong_ends_the_connection_with_its_text),
        cmocka_unit_test(too_many_connections),
        cmocka_unit_test(large_payloads_pass_whole),
        cmocka_unit_test(bytes_may_come_one_by_one),
        cmocka_unit_test(pings_find_who_is_gone),
        cmocka_unit_test(it_ends_when_asked_and_begins_on_the_same_port),
        cmocka_unit_test(a_second_server_on_a_store_leaves_the_first_alone),
        cmocka_unit_test(a_lame_duck_tells_and_ends),
        cmocka_unit_test(wrong_configurations_are_refused_with_their_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
