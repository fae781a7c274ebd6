// SPDX-License-Identifier: Apache-2.0
// The HTTP monitor: fields against those nats-server documents, arguments, its life with the server, and what
// strangers may send.
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "server/wire.h"

static const char quiet[] =
    "{\"verbose\":false,\"headers\":true,\"no_responders\":true,\"name\":\"a \\\"name\\\"\","
    "\"lang\":\"c\",\"version\":\"1.2\"}";

// What came for a request, as a whole: the connection is closed behind it.
typedef struct answer {
    int status;
    char *text; // with the headers
    const char *body;
} answer;

static answer ask_raw(daybook_server *server, const char *request) {
    wire http;
    wire_open_silent(&http, daybook_server_monitor_port(server));
    wire_say(&http, request);
    const char *head = wire_until(&http, "\r\n\r\n");
    answer got = {.status = atoi(head + strlen("HTTP/1.1 "))};
    const char *length = strstr(head, "Content-Length: ");
    assert_non_null(length);
    size_t size = strtoul(length + strlen("Content-Length: "), NULL, 10), head_size = strlen(head);
    bool is_head = strncmp(request, "HEAD", 4) == 0;
    got.text = malloc(head_size + size + 1);
    assert_non_null(got.text);
    memcpy(got.text, head, head_size + 1);
    got.body = got.text + head_size;
    if (!is_head && size > 0) {
        char *rest = got.text + head_size;
        wire_take(&http, rest, size);
        rest[size] = '\0';
    }
    wire_close(&http);
    return got;
}

static answer ask(daybook_server *server, const char *target) {
    char request[4096];
    (void)snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                   target);
    return ask_raw(server, request);
}

static json_t *ask_json(daybook_server *server, const char *target) {
    answer got = ask(server, target);
    if (got.status != 200) fail_msg("%s: %s", target, got.text);
    assert_non_null(strstr(got.text, "Content-Type: application/json"));
    json_t *value = json_loads(got.body, JSON_REJECT_DUPLICATES, NULL);
    if (value == NULL) fail_msg("%s is no JSON: %s", target, got.body);
    free(got.text);
    return value;
}

static void expect_status(daybook_server *server, const char *target, int status) {
    answer got = ask(server, target);
    if (got.status != status) fail_msg("%s: %d expected, got %s", target, status, got.text);
    free(got.text);
}

static long long number(const json_t *object, const char *name) {
    const json_t *value = json_object_get(object, name);
    if (!json_is_integer(value)) fail_msg("%s is no integer", name);
    return json_integer_value(value);
}

static const char *text(const json_t *object, const char *name) {
    const json_t *value = json_object_get(object, name);
    if (!json_is_string(value)) fail_msg("%s is no text", name);
    return json_string_value(value);
}

/// These names are there, in this order; others may be between them.
static void expect_order(json_t *object, const char *names) {
    char copy[1024], *rest = NULL;
    (void)snprintf(copy, sizeof copy, "%s", names);
    const char *wanted = strtok_r(copy, " ", &rest);
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) {
        if (wanted != NULL && strcmp(key, wanted) == 0) wanted = strtok_r(NULL, " ", &rest);
    }
    if (wanted != NULL) fail_msg("%s is absent or not in its place", wanted);
}

static void varz_has_nats_fields(void **unused) {
    (void)unused;
    daybook_server *server =
        wire_server("http_port: -1, server_name: \"me\", max_payload: 4096, server_tags: [\"a:b\"], "
                    "announced_version: \"2.12.1\"");
    char line[96];
    (void)snprintf(line, sizeof line, "[INF] Starting http monitor on 127.0.0.1:%d",
                   daybook_server_monitor_port(server));
    assert_true(wire_log_has(line));
    wire a, b;
    wire_join(&a, daybook_server_port(server), quiet);
    wire_join(&b, daybook_server_port(server), quiet);
    wire_say(&a, "SUB x 1\r\n");
    wire_sync(&a);
    wire_say(&b, "PUB x 5\r\nhello\r\n");
    wire_sync(&b);
    wire_expect(&a, "MSG x 1 5\r\nhello\r\n");
    json_t *varz = ask_json(server, "/varz");
    expect_order(varz,
                 "server_id server_name version proto go host port max_connections ping_interval ping_max "
                 "http_host http_port http_base_path https_port auth_timeout max_control_line max_payload "
                 "max_pending cluster gateway leaf mqtt websocket jetstream tls_timeout write_deadline start "
                 "now uptime mem cores gomaxprocs cpu connections total_connections routes remotes leafnodes "
                 "in_msgs out_msgs in_bytes out_bytes slow_consumers subscriptions http_req_stats "
                 "config_load_time tags slow_consumer_stats");
    assert_string_equal(text(varz, "server_name"), "me");
    assert_int_equal(strlen(text(varz, "server_id")), 56);
    assert_int_equal(number(varz, "port"), daybook_server_port(server));
    assert_int_equal(number(varz, "http_port"), daybook_server_monitor_port(server));
    assert_int_equal(number(varz, "max_payload"), 4096);
    assert_int_equal(number(varz, "connections"), 2);
    assert_int_equal(number(varz, "total_connections"), 2);
    assert_int_equal(number(varz, "in_msgs"), 1);
    assert_int_equal(number(varz, "in_bytes"), 5);
    assert_int_equal(number(varz, "out_msgs"), 1);
    assert_int_equal(number(varz, "out_bytes"), 5);
    assert_int_equal(number(varz, "subscriptions"), 2); // and $SYS.REQ.USER.INFO
    assert_true(number(varz, "mem") > 0 && number(varz, "cores") > 0);
    assert_int_equal(number(json_object_get(varz, "http_req_stats"), "/varz"), 1);
    assert_int_equal(json_object_size(json_object_get(varz, "jetstream")), 0);
    json_decref(varz);
    wire_close(&a);
    wire_close(&b);
    wire_server_stop(server);
}

static void connz_shows_a_page_of_connections(void **unused) {
    (void)unused;
    enum { COUNT = 5 };
    daybook_server *server = wire_server("http_port: -1");
    wire clients[COUNT];
    for (int i = 0; i < COUNT; i++) {
        wire_join(&clients[i], daybook_server_port(server), quiet);
        for (int j = 0; j <= i; j++) {
            char line[64];
            (void)snprintf(line, sizeof line, "SUB s.%d.%d crew %d\r\n", i, j, j);
            wire_say(&clients[i], line);
        }
        wire_sync(&clients[i]);
    }
    json_t *connz = ask_json(server, "/connz?sort=subs&limit=2&offset=1&subs=1");
    expect_order(connz, "server_id now num_connections total offset limit connections");
    assert_int_equal(number(connz, "num_connections"), 2);
    assert_int_equal(number(connz, "total"), COUNT);
    assert_int_equal(number(connz, "offset"), 1);
    assert_int_equal(number(connz, "limit"), 2);
    json_t *first = json_array_get(json_object_get(connz, "connections"), 0);
    expect_order(
        first,
        "cid kind type ip port start last_activity uptime idle pending_bytes in_msgs out_msgs in_bytes "
        "out_bytes subscriptions name lang version subscriptions_list");
    assert_int_equal(number(first, "cid"), 4);
    assert_int_equal(number(first, "subscriptions"), 4);
    assert_string_equal(text(first, "name"), "a \"name\"");
    assert_string_equal(text(first, "ip"), "127.0.0.1");
    assert_int_equal(json_array_size(json_object_get(first, "subscriptions_list")), 4);
    json_decref(connz);
    connz = ask_json(server, "/connz?cid=1&subs=detail");
    assert_int_equal(number(connz, "total"), COUNT);
    assert_int_equal(number(connz, "num_connections"), 1);
    first = json_array_get(json_object_get(connz, "connections"), 0);
    json_t *detail = json_array_get(json_object_get(first, "subscriptions_list_detail"), 0);
    assert_string_equal(text(detail, "subject"), "s.0.0");
    assert_string_equal(text(detail, "qgroup"), "crew");
    assert_string_equal(text(detail, "sid"), "0");
    assert_int_equal(number(detail, "cid"), 1);
    json_decref(connz);
    connz = ask_json(server, "/connz?offset=99");
    assert_int_equal(number(connz, "num_connections"), 0);
    assert_int_equal(number(connz, "total"), COUNT);
    json_decref(connz);
    for (int i = 0; i < COUNT; i++) wire_close(&clients[i]);
    wire_server_stop(server);
}

static void ended_connections_are_remembered(void **unused) {
    (void)unused;
    daybook_server *server = wire_server("http_port: -1, max_closed_clients: 2");
    for (int i = 0; i < 3; i++) {
        wire client;
        wire_join(&client, daybook_server_port(server), quiet);
        wire_say(&client, "SUB x 1\r\n");
        wire_sync(&client);
        wire_say(&client, "nonsense\r\n");
        wire_drain_to_end(&client);
        wire_close(&client);
    }
    json_t *connz = ask_json(server, "/connz?state=closed&sort=stop");
    assert_int_equal(number(connz, "total"), 2);
    json_t *first = json_array_get(json_object_get(connz, "connections"), 0);
    assert_int_equal(number(first, "cid"), 3);
    assert_string_equal(text(first, "reason"), "Parse Error");
    assert_int_equal(number(first, "subscriptions"), 1);
    expect_order(first, "last_activity stop reason uptime");
    json_decref(connz);
    connz = ask_json(server, "/connz");
    assert_int_equal(number(connz, "total"), 0);
    json_decref(connz);
    wire_server_stop(server);
}

static void subsz_counts_and_lists(void **unused) {
    (void)unused;
    daybook_server *server = wire_server("http_port: -1");
    wire client;
    wire_join(&client, daybook_server_port(server), quiet);
    wire_say(&client, "SUB a.* 1\r\nSUB b 2\r\nSUB bad\xff.x 3\r\nPUB b 0\r\n\r\n");
    wire_expect(&client, "MSG b 2 0\r\n\r\n");
    wire_sync(&client);
    json_t *subsz = ask_json(server, "/subsz");
    expect_order(
        subsz, "server_id now num_subscriptions num_cache num_inserts num_removes num_matches cache_hit_rate "
               "max_fanout avg_fanout total offset limit");
    assert_int_equal(number(subsz, "num_subscriptions"), 4); // $SYS.REQ.USER.INFO is one
    assert_int_equal(number(subsz, "num_inserts"), 4);
    assert_null(json_object_get(subsz, "subscriptions_list"));
    json_decref(subsz);
    subsz = ask_json(server, "/subscriptionsz?subs=1&test=a.x");
    assert_int_equal(number(subsz, "total"), 1);
    assert_string_equal(text(json_array_get(json_object_get(subsz, "subscriptions_list"), 0), "subject"),
                        "a.*");
    json_decref(subsz);
    subsz = ask_json(server, "/subsz?subs=1&limit=2&offset=1");
    assert_int_equal(json_array_size(json_object_get(subsz, "subscriptions_list")), 2);
    json_decref(subsz);
    subsz = ask_json(server, "/subsz?subs=1&limit=2&offset=2");
    assert_int_equal(json_array_size(json_object_get(subsz, "subscriptions_list")), 1);
    json_decref(subsz);
    expect_status(server, "/subsz?subs=1&test=a.*", 400);
    wire_close(&client);
    wire_server_stop(server);
}

static daybook_server *server_with_jetstream(void) {
    daybook_server_options options;
    daybook_server_options_init(&options);
    options.config_text = daybook_text("http_port: -1, jetstream: enabled");
    options.store_dir = ":memory:";
    return wire_server_start(&options);
}

static void request(wire *client, const char *subject, const char *body) {
    wire_say(client, "SUB r 9\r\n");
    wire_publish(client, subject, "r", body);
    const char *got = wire_until(client, "}\r\n");
    if (strstr(got, "\"error\"") != NULL) fail_msg("%s", got);
    wire_say(client, "UNSUB 9\r\n");
    wire_sync(client);
}

static void jsz_shows_streams_and_consumers(void **unused) {
    (void)unused;
    daybook_server *server = server_with_jetstream();
    wire client;
    wire_join(&client, daybook_server_port(server), quiet);
    request(&client, "$JS.API.STREAM.CREATE.ORDERS", "{\"name\":\"ORDERS\",\"subjects\":[\"orders.>\"]}");
    request(
        &client, "$JS.API.CONSUMER.DURABLE.CREATE.ORDERS.mail",
        "{\"stream_name\":\"ORDERS\",\"config\":{\"durable_name\":\"mail\",\"ack_policy\":\"explicit\"}}");
    request(&client, "orders.1", "hello");
    json_t *jsz = ask_json(server, "/jsz");
    expect_order(
        jsz, "memory storage reserved_memory reserved_storage accounts ha_assets api server_id now config "
             "limits streams consumers messages bytes total");
    assert_int_equal(number(jsz, "streams"), 1);
    assert_int_equal(number(jsz, "consumers"), 1);
    assert_int_equal(number(jsz, "messages"), 1);
    assert_int_equal(number(json_object_get(jsz, "api"), "total"), 2);
    assert_int_equal(number(json_object_get(jsz, "api"), "errors"), 0);
    assert_null(json_object_get(jsz, "account_details"));
    json_decref(jsz);
    jsz = ask_json(server, "/jsz?consumers=true&config=true");
    json_t *account = json_array_get(json_object_get(jsz, "account_details"), 0);
    assert_string_equal(text(account, "name"), "$G");
    assert_int_equal(json_array_size(json_object_get(account, "stream_detail")), 1);
    json_t *stream = json_array_get(json_object_get(account, "stream_detail"), 0);
    expect_order(stream, "name created config state consumer_detail");
    assert_string_equal(text(stream, "name"), "ORDERS");
    assert_int_equal(number(json_object_get(stream, "state"), "messages"), 1);
    json_t *consumer = json_array_get(json_object_get(stream, "consumer_detail"), 0);
    assert_string_equal(text(consumer, "name"), "mail");
    assert_int_equal(number(consumer, "num_pending"), 1);
    assert_null(json_object_get(consumer, "type"));
    json_decref(jsz);
    json_t *varz = ask_json(server, "/varz");
    expect_order(json_object_get(varz, "jetstream"), "config stats");
    json_decref(varz);
    answer metrics = ask(server, "/metrics");
    assert_int_equal(metrics.status, 200);
    assert_non_null(strstr(metrics.text, "Content-Type: text/plain; version=0.0.4"));
    assert_non_null(strstr(metrics.body, "\n# TYPE daybook_connections gauge\ndaybook_connections 1\n"));
    assert_non_null(strstr(metrics.body, "\ndaybook_stream_messages{stream=\"ORDERS\"} 1\n"));
    free(metrics.text);
    expect_status(server, "/healthz?account=$G&stream=ORDERS&consumer=mail", 200);
    expect_status(server, "/healthz?account=$G&stream=NONE", 404);
    expect_status(server, "/healthz?account=$G&stream=ORDERS&consumer=none", 404);
    expect_status(server, "/healthz?stream=ORDERS", 400);
    jsz = ask_json(server, "/jsz?acc=nobody&streams=1");
    assert_null(json_object_get(jsz, "account_details"));
    json_decref(jsz);
    wire_close(&client);
    wire_server_stop(server);
}

static void small_pages(void **unused) {
    (void)unused;
    daybook_server *server = wire_server("http_port: -1");
    answer health = ask(server, "/healthz");
    assert_int_equal(health.status, 200);
    assert_string_equal(health.body, "{\"status\":\"ok\"}");
    free(health.text);
    // It was not asked for.
    expect_status(server, "/healthz?js-enabled-only=true", 200);
    json_t *page = ask_json(server, "/routez");
    assert_int_equal(number(page, "num_routes"), 0);
    assert_int_equal(json_array_size(json_object_get(page, "routes")), 0);
    json_decref(page);
    page = ask_json(server, "/gatewayz");
    expect_order(page, "server_id now outbound_gateways inbound_gateways");
    json_decref(page);
    page = ask_json(server, "/leafz");
    assert_int_equal(number(page, "leafnodes"), 0);
    json_decref(page);
    page = ask_json(server, "/accountz");
    assert_string_equal(json_string_value(json_array_get(json_object_get(page, "accounts"), 0)), "$G");
    json_decref(page);
    page = ask_json(server, "/jsz");
    assert_true(json_is_true(json_object_get(page, "disabled")));
    json_decref(page);
    expect_status(server, "/", 200);
    expect_status(server, "/nothing", 404);
    expect_status(server, "/varz/", 404);
    wire_server_stop(server);
}

static void pages_lie_below_the_base_path(void **unused) {
    (void)unused;
    daybook_server *server = wire_server("http_port: -1, http_base_path: \"/nats/\"");
    expect_status(server, "/nats/varz", 200);
    expect_status(server, "/nats", 200);
    expect_status(server, "/nats/", 200);
    expect_status(server, "/varz", 404);
    expect_status(server, "/natsvarz", 404);
    wire_server_stop(server);
}

static void arguments_are_checked(void **unused) {
    (void)unused;
    daybook_server *server = wire_server("http_port: -1");
    static const char *const bad[] = {
        "/connz?sort=colour",
        "/connz?limit=many",
        "/connz?offset=1e3",
        "/connz?subs=perhaps",
        "/connz?state=asleep",
        "/connz?sort=stop",
        "/connz?sort=reason&state=any",
        "/connz?cid=%00",
        "/connz?limit=99999999999999999999999",
        "/jsz?streams=2",
        "/subsz?subs=-",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        // A value that begins with NUL is an empty one.
        expect_status(server, bad[i], strstr(bad[i], "%00") != NULL ? 200 : 400);
    }
    static const char *const good[] = {
        "/connz?limit=-1&offset=-7",
        "/connz?limit=9223372036854775807&offset=9223372036854775807",
        "/connz?sort=rtt&state=any",
        "/connz?sort=&limit=",
        "/subsz?subs=1&limit=9223372036854775807",
        "/varz?x=%zz&&&=",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) expect_status(server, good[i], 200);
    // What was sent comes back as plain text only, bounded, and with nothing but ASCII.
    answer got = ask(server, "/connz?sort=%3Cscript%3E%0d%0aX:%201%ff");
    assert_int_equal(got.status, 400);
    assert_string_equal(got.body, "invalid sorting option: <script>\\x0d\\x0aX: 1\\xff");
    assert_non_null(strstr(got.text, "Content-Type: text/plain"));
    assert_non_null(strstr(got.text, "X-Content-Type-Options: nosniff"));
    free(got.text);
    // In front of JSON stands a name or nothing.
    got = ask(server, "/healthz?callback=a.b_1");
    assert_string_equal(got.body, "a.b_1({\"status\":\"ok\"})");
    assert_non_null(strstr(got.text, "Content-Type: application/javascript"));
    free(got.text);
    got = ask(server, "/healthz?callback=alert(1)//");
    assert_int_equal(got.status, 400);
    assert_null(strstr(got.body, "alert"));
    free(got.text);
    wire_server_stop(server);
}

static void strangers_are_kept_short(void **unused) {
    (void)unused;
    daybook_server *server = wire_server("http_port: -1");
    int port = daybook_server_monitor_port(server);
    answer got = ask_raw(server, "HEAD /varz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_int_equal(got.status, 200);
    free(got.text);
    got = ask_raw(server, "POST /varz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
    assert_int_equal(got.status, 405);
    assert_non_null(strstr(got.text, "Allow: GET, HEAD"));
    free(got.text);
    // A body that never ends, a line that never ends, no HTTP at all, half a request: each ends, nobody else
    // is hurt.
    static const char *const rude[] = {
        "GET /varz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nsome",
        "\x16\x03\x01\x02\x01\x01",
        "CONNECT {}\r\nPING\r\n\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof rude / sizeof *rude; i++) {
        wire http;
        wire_open_silent(&http, port);
        wire_say(&http, rude[i]);
        wire_drain_to_end(&http);
        wire_close(&http);
    }
    wire endless;
    wire_open_silent(&endless, port);
    char block[8192];
    memset(block, 'a', sizeof block);
    wire_say(&endless, "GET /");
    for (int i = 0; i < 64; i++) (void)wire_send_some(&endless, block, sizeof block);
    wire_close(&endless);
    // Several that say nothing do not keep others from an answer.
    wire silent[16];
    for (int i = 0; i < 16; i++) wire_open_silent(&silent[i], port);
    expect_status(server, "/healthz", 200);
    // And the server ends with them there.
    wire_server_stop(server);
    for (int i = 0; i < 16; i++) wire_close(&silent[i]);
}

static void without_a_port_there_is_none(void **unused) {
    (void)unused;
    daybook_server *server = wire_server("http_port: 0");
    assert_int_equal(daybook_server_monitor_port(server), 0);
    assert_false(wire_log_has("http monitor"));
    wire_server_stop(server);
}

static void a_taken_port_is_an_error(void **unused) {
    (void)unused;
    daybook_server *server = wire_server("http_port: -1");
    char config[64];
    (void)snprintf(config, sizeof config, "http_port: %d", daybook_server_monitor_port(server));
    daybook_server_options options;
    daybook_server_options_init(&options);
    options.config_text = daybook_text(config);
    options.host = "127.0.0.1";
    options.port = -1;
    daybook_server *other = NULL;
    daybook_error error;
    daybook_error_init(&error);
    assert_int_equal(daybook_server_start(&options, &other, &error), DAYBOOK_EEXISTS);
    char where[64];
    (void)snprintf(where, sizeof where,
                   "HTTP monitor cannot listen on 127.0.0.1:%d: ", daybook_server_monitor_port(server));
    assert_non_null(strstr(error.message, where));
    expect_status(server, "/varz", 200);
    wire_server_stop(server);
}

static void a_reload_keeps_it(void **unused) {
    (void)unused;
    daybook_server *server = wire_server("http_port: -1");
    int port = daybook_server_monitor_port(server);
    daybook_error error;
    daybook_error_init(&error);
    assert_int_equal(daybook_server_reload(server, &error), DAYBOOK_OK);
    assert_int_equal(daybook_server_monitor_port(server), port);
    expect_status(server, "/varz", 200);
    wire_server_stop(server);
}

/// A number of /metrics.
static long long metric(daybook_server *server, const char *name) {
    char line[128];
    answer got = ask(server, "/metrics");
    (void)snprintf(line, sizeof line, "\n%s ", name);
    const char *at = strstr(got.body, line);
    if (at == NULL) fail_msg("%s is not among the metrics", name);
    long long value = atoll(at + strlen(line));
    free(got.text);
    return value;
}

static void subscribe_often(wire *client, int count) {
    char line[64];
    for (int i = 0; i < count; i++) {
        (void)snprintf(line, sizeof line, "SUB s.%d %d\r\n", i, i);
        wire_say(client, line);
        if (i % 1000 == 999) wire_sync(client);
    }
    wire_sync(client);
}

static void the_loop_copies_in_slices(void **unused) {
    (void)unused;
    enum { COUNT = 20000, SLICE = 1024 };
    daybook_server *server = wire_server("http_port: -1");
    wire client;
    wire_join(&client, daybook_server_port(server), quiet);
    subscribe_often(&client, COUNT);
    long long before = metric(server, "daybook_monitor_slices_total");
    // All are looked at, each once.
    json_t *page = ask_json(server, "/subsz?subs=1&test=s.777");
    assert_int_equal(number(page, "total"), 1);
    json_decref(page);
    long long after = metric(server, "daybook_monitor_slices_total");
    assert_true(after - before > COUNT / SLICE);
    // Copied ones, too: each sid once.
    page = ask_json(server, "/connz?subs=detail");
    json_t *list =
        json_object_get(json_array_get(json_object_get(page, "connections"), 0), "subscriptions_list_detail");
    assert_int_equal(json_array_size(list), COUNT);
    char *seen = calloc(COUNT, 1);
    assert_non_null(seen);
    for (size_t i = 0; i < COUNT; i++) seen[atoi(text(json_array_get(list, i), "sid"))]++;
    for (size_t i = 0; i < COUNT; i++) assert_int_equal(seen[i], 1);
    free(seen);
    json_decref(page);
    assert_true(metric(server, "daybook_monitor_slices_total") - after > COUNT / SLICE);
    // Without a subject whole connections are passed over.
    before = metric(server, "daybook_monitor_slices_total");
    page = ask_json(server, "/subsz?subs=1&limit=10");
    assert_int_equal(number(page, "total"), COUNT);
    assert_int_equal(json_array_size(json_object_get(page, "subscriptions_list")), 10);
    json_decref(page);
    wire_close(&client);
    wire_server_stop(server);
}

// Clients choose how long what they say is: what is told of it has a bound of its own.
static void long_names_are_told_of_up_to_a_size(void **unused) {
    (void)unused;
    enum { COUNT = 8000, NAME_SIZE = 3000, TEXT_MAX = 16 << 20 };
    daybook_server *server = wire_server("http_port: -1");
    wire client;
    wire_join(&client, daybook_server_port(server), quiet);
    char line[NAME_SIZE + 64], name[NAME_SIZE + 1];
    memset(name, 'x', NAME_SIZE);
    name[NAME_SIZE] = '\0';
    for (int i = 0; i < COUNT; i++) {
        (void)snprintf(line, sizeof line, "SUB %s.%d %d\r\n", name, i, i);
        wire_say(&client, line);
        if (i % 1000 == 999) wire_sync(&client);
    }
    json_t *page = ask_json(server, "/subsz?subs=1&limit=100000");
    assert_int_equal(number(page, "total"), COUNT);
    size_t told = json_array_size(json_object_get(page, "subscriptions_list"));
    assert_in_range(told * NAME_SIZE, TEXT_MAX / 10 * 9, TEXT_MAX + NAME_SIZE);
    json_decref(page);
    // Those that are looked for are counted all the same.
    page = ask_json(server, "/connz?subs=1");
    json_t *connection = json_array_get(json_object_get(page, "connections"), 0);
    assert_int_equal(number(connection, "subscriptions"), COUNT);
    told = json_array_size(json_object_get(connection, "subscriptions_list"));
    assert_in_range(told * NAME_SIZE, TEXT_MAX / 10 * 9, TEXT_MAX + NAME_SIZE);
    json_decref(page);
    wire_close(&client);
    wire_server_stop(server);
}

typedef struct crowd {
    daybook_server *server;
    atomic_bool is_over;
    int round_count;
} crowd;

static void *come_and_go(void *context) {
    crowd *all = context;
    while (!atomic_load(&all->is_over)) {
        enum { COUNT = 40 };
        wire clients[COUNT];
        for (int i = 0; i < COUNT; i++) wire_join(&clients[i], daybook_server_port(all->server), quiet);
        for (int i = 0; i < COUNT; i++) subscribe_often(&clients[i], i % 4 == 0 ? 200 : 3);
        for (int i = 0; i < COUNT; i++) wire_close(&clients[(i * 7) % COUNT]);
        all->round_count++;
    }
    return NULL;
}

static void pages_while_connections_come_and_go(void **unused) {
    (void)unused;
    static const char *const targets[] = {
        "/connz?subs=1",           "/connz?state=any&limit=5",        "/subsz?subs=1&test=s.1",
        "/subsz?subs=1&offset=30", "/connz?state=closed&sort=reason", "/metrics"};
    crowd all = {.server = wire_server("http_port: -1, max_closed_clients: 50")};
    atomic_init(&all.is_over, false);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, come_and_go, &all), 0);
    for (int i = 0; i < 60; i++) {
        expect_status(all.server, targets[(size_t)i % (sizeof targets / sizeof *targets)], 200);
    }
    atomic_store(&all.is_over, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(all.round_count > 0);
    wire_server_stop(all.server);
}

static void who_holds_connections_makes_room(void **unused) {
    (void)unused;
    enum { COUNT = 64 };
    daybook_server *server = wire_server("http_port: -1");
    wire silent[COUNT];
    for (int i = 0; i < COUNT; i++) wire_open_silent(&silent[i], daybook_server_monitor_port(server));
    wire one_more;
    wire_open_silent(&one_more, daybook_server_monitor_port(server));
    wire_say(&one_more, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    (void)wire_until(&one_more, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < COUNT / 4; i++) wire_expect_end(&silent[i]); // some of those idle for longest
    for (int i = 0; i < COUNT; i++) wire_close(&silent[i]);
    wire_close(&one_more);
    wire_server_stop(server);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(varz_has_nats_fields),
        cmocka_unit_test(connz_shows_a_page_of_connections),
        cmocka_unit_test(ended_connections_are_remembered),
        cmocka_unit_test(subsz_counts_and_lists),
        cmocka_unit_test(jsz_shows_streams_and_consumers),
        cmocka_unit_test(small_pages),
        cmocka_unit_test(pages_lie_below_the_base_path),
        cmocka_unit_test(arguments_are_checked),
        cmocka_unit_test(strangers_are_kept_short),
        cmocka_unit_test(without_a_port_there_is_none),
        cmocka_unit_test(a_taken_port_is_an_error),
        cmocka_unit_test(a_reload_keeps_it),
        cmocka_unit_test(the_loop_copies_in_slices),
        cmocka_unit_test(long_names_are_told_of_up_to_a_size),
        cmocka_unit_test(pages_while_connections_come_and_go),
        cmocka_unit_test(who_holds_connections_makes_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
