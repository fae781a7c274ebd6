// SPDX-License-Identifier: Apache-2.0
// What a restricted user may have the server do: answers, deliveries and acknowledgements carry nobody further than the rules
// of whoever asked for them.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/folder.h"
#include "server/wire.h"

enum { SHORT_MS = 300, ORDER_COUNT = 3 };

// ---- The server -------------------------------------------------------------------------------------------

typedef struct fixture {
    char folder[32];
    daybook_server *server;
    int port;
    wire all; // may do anything
} fixture;

// Passwords are the names.
static const char config[] =
    "authorization { users: [\n"
    "{user: all, password: all}\n"
    "{user: writer, password: writer, permissions: {subscribe: \"_INBOX.>\", publish: [\"orders.>\",\n"
    "    \"$JS.API.DIRECT.GET.ORDERS\", \"$JS.API.CONSUMER.MSG.NEXT.ORDERS.mail\",\n"
    "    \"$JS.API.CONSUMER.DURABLE.CREATE.ORDERS.*\"]}}\n"
    "{user: acker, password: acker, permissions: {subscribe: \"_INBOX.>\", publish: \"$JS.ACK.A.C.>\"}}\n"
    "{user: tap, password: tap, permissions: {subscribe: {allow: \">\", deny: \"to.>\"}}}\n"
    "] }\n";

// Answers to its requests come to subscription "ask".
static void join_as(wire *client, int port, const char *user) {
    wire_join_as(client, port, user);
    wire_say(client, "SUB _INBOX.ask.");
    wire_say(client, user);
    wire_say(client, " ask\r\n");
}

// The data of the answer: valid until the next call.
static const char *ask_as(wire *client, const char *user, const char *subject, const char *body) {
    char line[256], reply[64];
    snprintf(reply, sizeof reply, "_INBOX.ask.%s", user);
    wire_publish(client, subject, reply, body);
    snprintf(line, sizeof line, "MSG _INBOX.ask.%s ask ", user);
    (void)wire_until(client, line);
    (void)wire_until(client, "\r\n"); // its size
    return wire_until(client, "\r\n");
}

static void ask(fixture *of, const char *subject, const char *body, const char *expected) {
    const char *answer = ask_as(&of->all, "all", subject, body);
    if (strstr(answer, expected) == NULL) fail_msg("%s: %s instead of %s", subject, answer, expected);
}

static void publish_as(wire *client, const char *user, const char *subject, const char *body) {
    const char *answer = ask_as(client, user, subject, body);
    if (strstr(answer, "\"seq\":") == NULL) fail_msg("%s: %s", subject, answer);
}

static int set_up(void **state) {
    fixture *of = calloc(1, sizeof *of);
    assert_non_null(of);
    assert_true(folder_make("rights", of->folder, sizeof of->folder));
    daybook_server_options options;
    daybook_server_options_init(&options);
    options.config_text = daybook_text(config);
    options.store_dir = of->folder;
    of->server = wire_server_start(&options);
    of->port = daybook_server_port(of->server);
    join_as(&of->all, of->port, "all");
    ask(of, "$JS.API.STREAM.CREATE.ORDERS",
        "{\"name\":\"ORDERS\",\"subjects\":[\"orders.>\"],\"allow_direct\":true}", "\"did_create\":true");
    ask(of, "$JS.API.STREAM.CREATE.OTHER", "{\"name\":\"OTHER\",\"subjects\":[\"other.>\"]}",
        "\"did_create\":true");
    for (int i = 0; i < ORDER_COUNT; i++) publish_as(&of->all, "all", "orders.1", ""); // an empty body
    publish_as(&of->all, "all", "other.1", "x");
    *state = of;
    return 0;
}

static int tear_down(void **state) {
    fixture *of = *state;
    wire_close(&of->all);
    wire_server_stop(of->server);
    assert_true(folder_remove(of->folder));
    free(of);
    return 0;
}

// What is acknowledged may be counted a moment later.
static void expect_count(fixture *of, const char *stream, int count) {
    char subject[64], expected[32];
    const char *info = "";
    snprintf(subject, sizeof subject, "$JS.API.STREAM.INFO.%s", stream);
    snprintf(expected, sizeof expected, "\"messages\":%d,", count);
    for (int i = 0; i < 200; i++) {
        info = ask_as(&of->all, "all", subject, "");
        if (strstr(info, expected) != NULL) return;
        wire_nap(10);
    }
    fail_msg("%s: %s instead of %s", stream, info, expected);
}

static void make_mail(fixture *of, const char *settings) {
    char body[512];
    snprintf(body, sizeof body, "{\"stream_name\":\"ORDERS\",\"config\":{\"durable_name\":\"mail\",%s}}",
             settings);
    ask(of, "$JS.API.CONSUMER.DURABLE.CREATE.ORDERS.mail", body, "\"name\":\"mail\"");
}

// What was begun with workers is over, more likely than not: what must not happen would have.
static void give_time(fixture *of) {
    wire_sync(&of->all);
    wire_expect_silence(&of->all, SHORT_MS);
}

// ---- Answers ----------------------------------------------------------------------------------------------

// An acknowledgement of ORDERS, {"stream":"ORDERS","seq":4}, was a request to purge OTHER below 4.
static void a_reply_may_not_be_a_request(void **state) {
    fixture *of = *state;
    wire writer;
    join_as(&writer, of->port, "writer");
    static const char *const replies[] = {"$JS.API.STREAM.PURGE.OTHER", "$JS.ACK.OTHER.C.1.1.1.1.0",
                                          "$JS.hub.API.STREAM.DELETE.OTHER", "$SYS.REQ.SERVER.PING"};
    for (size_t i = 0; i < sizeof replies / sizeof *replies; i++) {
        char line[256];
        snprintf(line, sizeof line, "PUB orders.x %s 0\r\n\r\n", replies[i]);
        wire_say(&writer, line);
        snprintf(line, sizeof line, "-ERR 'Permissions Violation for Publish with Reply of \"%s\"'\r\n",
                 replies[i]);
        wire_expect(&writer, line);
    }
    // Nor by those who may do anything: they need not know whom they answer.
    wire_say(&of->all, "PUB orders.x $JS.API.STREAM.PURGE.OTHER 0\r\n\r\n");
    assert_non_null(strstr(wire_until(&of->all, "\r\n"), "Permissions Violation for Publish with Reply"));
    // What begins alike is a subject like others.
    wire_say(&writer, "PUB orders.x $JSX.API 0\r\n\r\nPUB orders.x $SYSTEM 0\r\n\r\n");
    publish_as(&writer, "writer", "orders.x", "");
    give_time(of);
    expect_count(of, "ORDERS", ORDER_COUNT + 3);
    expect_count(of, "OTHER", 1);
    wire_close(&writer);
}

// Each of what the server sends to a subject somebody named: an acknowledgement, messages got, pulled and pushed.
static void no_answer_is_stored_in_a_stream(void **state) {
    fixture *of = *state;
    wire writer;
    join_as(&writer, of->port, "writer");
    make_mail(of, "\"ack_policy\":\"explicit\"");
    wire_say(&writer, "PUB orders.x other.forged 0\r\n\r\n"
                      "PUB $JS.API.DIRECT.GET.ORDERS other.forged 9\r\n{\"seq\":1}\r\n"
                      "PUB $JS.API.DIRECT.GET.ORDERS other.forged 7\r\nnothing\r\n"
                      "PUB $JS.API.CONSUMER.MSG.NEXT.ORDERS.mail other.forged 1\r\n2\r\n"
                      "PUB $JS.API.CONSUMER.MSG.NEXT.ORDERS.mail other.forged 7\r\nnothing\r\n");
    const char *answer = ask_as(&writer, "writer", "$JS.API.CONSUMER.DURABLE.CREATE.ORDERS.push",
                                "{\"stream_name\":\"ORDERS\",\"config\":{\"durable_name\":\"push\","
                                "\"ack_policy\":\"none\",\"deliver_subject\":\"other.forged\"}}");
    if (strstr(answer, "\"name\":\"push\"") == NULL) fail_msg("%s", answer);
    publish_as(&writer, "writer", "orders.x", ""); // acknowledged behind the first one
    give_time(of);
    expect_count(of, "OTHER", 1);
    expect_count(of, "ORDERS", ORDER_COUNT + 2);
    // What nobody can have stays where it is.
    ask(of, "$JS.API.CONSUMER.INFO.ORDERS.push", "", "\"num_pending\":5");
    ask(of, "$JS.API.CONSUMER.INFO.ORDERS.mail", "",
        "\"delivered\":{\"consumer_seq\":0,"); // nor was it fetched
    ask(of, "$JS.API.CONSUMER.INFO.ORDERS.mail", "", "\"num_waiting\":0");
    // Who may publish there does.
    publish_as(&of->all, "all", "other.2", "x");
    expect_count(of, "OTHER", 2);
    wire_close(&writer);
}

// An event without data was the request to delete a stream.
static void no_delivery_is_a_request(void **state) {
    fixture *of = *state;
    wire writer;
    join_as(&writer, of->port, "writer");
    const char *answer =
        ask_as(&writer, "writer", "$JS.API.CONSUMER.DURABLE.CREATE.ORDERS.push",
               "{\"stream_name\":\"ORDERS\",\"config\":{\"durable_name\":\"push\",\"ack_policy\":\"none\","
               "\"deliver_subject\":\"$JS.API.STREAM.DELETE.OTHER\"}}");
    if (strstr(answer, "\"name\":\"push\"") == NULL) fail_msg("%s", answer);
    give_time(of);
    expect_count(of, "OTHER", 1);
    ask(of, "$JS.API.CONSUMER.INFO.ORDERS.push", "", "\"num_pending\":3");
    wire_close(&writer);
}

// Each message delivered was a new one, to be delivered in turn.
static void a_pull_into_its_own_stream_does_not_fill_it(void **state) {
    fixture *of = *state;
    wire writer;
    join_as(&writer, of->port, "writer");
    make_mail(of, "\"ack_policy\":\"explicit\",\"max_ack_pending\":-1");
    wire_say(&writer, "PUB $JS.API.CONSUMER.MSG.NEXT.ORDERS.mail orders.again 6\r\n100000\r\n");
    wire_sync(&writer);
    publish_as(&writer, "writer", "orders.x", "");
    give_time(of);
    expect_count(of, "ORDERS", ORDER_COUNT + 1);
    ask(of, "$JS.API.CONSUMER.INFO.ORDERS.mail", "", "\"num_waiting\":0");
    wire_close(&writer);
}

// What the server says by itself may be kept: nobody chose the subject.
static void advisories_are_stored_in_a_stream(void **state) {
    fixture *of = *state;
    ask(of, "$JS.API.STREAM.CREATE.SAID",
        "{\"name\":\"SAID\",\"subjects\":[\"$JS.EVENT.ADVISORY.CONSUMER.CREATED.>\"]}",
        "\"did_create\":true");
    make_mail(of, "\"ack_policy\":\"explicit\"");
    expect_count(of, "SAID", 1);
}

// ---- Acknowledgements -------------------------------------------------------------------------------------

// With a domain and a hash in front, as other servers write them, stream and consumer stand where no rule looks:
// $JS.ACK.A.C.> would allow everything.
static void who_may_acknowledge_one_consumer_may_not_another(void **state) {
    fixture *of = *state;
    wire acker;
    join_as(&acker, of->port, "acker");
    make_mail(of, "\"ack_policy\":\"explicit\"");
    wire_say(&of->all, "SUB _INBOX.mail m\r\n"
                       "PUB $JS.API.CONSUMER.MSG.NEXT.ORDERS.mail _INBOX.mail 1\r\n1\r\n");
    (void)wire_until(&of->all, "MSG orders.1 m $JS.ACK.ORDERS.mail.1.1.1.");
    (void)wire_until(&of->all, "0\r\n\r\n");
    wire_sync(&acker);
    static const char *const bodies[] = {"", "+ACK", "+TERM", "-NAK", "+WPI", "+NXT 10"};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        char line[128];
        snprintf(line, sizeof line, "PUB $JS.ACK.A.C.ORDERS.mail.1.1.1.1.2 _INBOX.ask.acker %zu\r\n%s\r\n",
                 strlen(bodies[i]), bodies[i]);
        wire_say(&acker, line);
    }
    wire_sync(&acker);
    wire_expect_silence(&acker, SHORT_MS);
    ask(of, "$JS.API.CONSUMER.INFO.ORDERS.mail", "", "\"num_ack_pending\":1,");
    // As it is written here it counts.
    (void)ask_as(&of->all, "all", "$JS.ACK.ORDERS.mail.1.1.1.1.2", "+ACK");
    ask(of, "$JS.API.CONSUMER.INFO.ORDERS.mail", "", "\"num_ack_pending\":0,");
    wire_close(&acker);
}

// ---- Listeners --------------------------------------------------------------------------------------------

static void expect_pushed(wire *client, int first, int last) {
    for (int i = first; i <= last; i++) {
        char text[64];
        snprintf(text, sizeof text, "$JS.ACK.ORDERS.mail.1.%d.%d.", i, i); // delivered once each, in order
        (void)wire_until(client, text);
    }
}

// Pushes to "to.mail", where at first nobody listens who may have it.
static void push_past(fixture *of, const char *settings) {
    char body[256];
    wire reader;
    snprintf(body, sizeof body, "%s,\"deliver_subject\":\"to.mail\"", settings);
    make_mail(of, body);
    give_time(of);
    const char *info = ask_as(&of->all, "all", "$JS.API.CONSUMER.INFO.ORDERS.mail", "");
    assert_non_null(strstr(info, "\"delivered\":{\"consumer_seq\":0,"));
    assert_non_null(strstr(info, "\"num_pending\":3"));
    assert_null(strstr(info, "\"push_bound\":true"));
    // The trie says nothing of a second listener.
    join_as(&reader, of->port, "all");
    wire_say(&reader, "SUB to.mail r\r\n");
    expect_pushed(&reader, 1, ORDER_COUNT);
    ask(of, "$JS.API.CONSUMER.INFO.ORDERS.mail", "", "\"push_bound\":true");
    // And nothing of its end, while the first one stays.
    wire_close(&reader);
    do {
        info = ask_as(&of->all, "all", "$JS.API.CONSUMER.INFO.ORDERS.mail", "");
    } while (strstr(info, "\"push_bound\":true") != NULL);
    publish_as(&of->all, "all", "orders.1", "");
    give_time(of);
    ask(of, "$JS.API.CONSUMER.INFO.ORDERS.mail", "", "\"num_pending\":1");
    join_as(&reader, of->port, "all");
    wire_say(&reader, "SUB to.mail r\r\n");
    expect_pushed(&reader, ORDER_COUNT + 1, ORDER_COUNT + 1);
    wire_close(&reader);
    // It is no longer in use then, and may be changed.
    const char *answer = "";
    snprintf(body, sizeof body,
             "{\"stream_name\":\"ORDERS\",\"config\":{\"durable_name\":\"mail\",%s,"
             "\"deliver_subject\":\"to.other\"}}",
             settings);
    for (int i = 0; i < 200 && strstr(answer, "\"deliver_subject\":\"to.other\"") == NULL; i++) {
        wire_nap(10);
        answer = ask_as(&of->all, "all", "$JS.API.CONSUMER.DURABLE.CREATE.ORDERS.mail", body);
    }
    if (strstr(answer, "to.other") == NULL) fail_msg("%s", answer);
}

static void push_past_tap(fixture *of, const char *settings, const char *tapped) {
    char said[64];
    wire tap;
    join_as(&tap, of->port, "tap");
    snprintf(said, sizeof said, "SUB %s tapped\r\n", tapped);
    wire_say(&tap, said);
    wire_sync(&tap);
    push_past(of, settings);
    wire_close(&tap);
}

// Messages were fetched for it, given to nobody, and so lost where nothing is acknowledged,
static void a_listener_who_may_not_have_it_is_none(void **state) {
    push_past_tap(*state, "\"ack_policy\":\"none\"", ">");
}

// or given up after so many deliveries, as fast as the machine could.
static void nor_uses_it_up_deliveries(void **state) {
    push_past_tap(*state, "\"ack_policy\":\"explicit\",\"max_deliver\":2", "*.mail");
}

static void nor_do_members_of_a_group(void **state) {
    push_past_tap(*state, "\"ack_policy\":\"none\"", "> workers");
}

// What is pushed reaches connections only: a stream that keeps that very subject does not have it.
static void nor_is_a_stream_that_captures_it(void **state) {
    ask(*state, "$JS.API.STREAM.CREATE.TAP", "{\"name\":\"TAP\",\"subjects\":[\"to.mail\"]}",
        "\"did_create\":true");
    push_past(*state, "\"ack_policy\":\"none\"");
    ask(*state, "$JS.API.STREAM.INFO.TAP", "", "\"messages\":0,");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_reply_may_not_be_a_request, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_answer_is_stored_in_a_stream, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_delivery_is_a_request, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_pull_into_its_own_stream_does_not_fill_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(advisories_are_stored_in_a_stream, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_may_acknowledge_one_consumer_may_not_another, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_listener_who_may_not_have_it_is_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nor_uses_it_up_deliveries, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nor_do_members_of_a_group, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nor_is_a_stream_that_captures_it, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("server rights", tests, NULL, NULL);
}
