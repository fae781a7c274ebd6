// SPDX-License-Identifier: Apache-2.0
// Who publishes and asks on the same connection, without waiting between, is told of what it published; nobody else
// waits for it. The disk of these tests writes when it is let: until then publishes are under way.
#define _POSIX_C_SOURCE 200809L
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>

#include <cmocka.h>

#include "daybook/daybook.h"
#include "io/sim/sim.h"
#include "server/wire.h"

enum { SHORT_MS = 150, LIMIT = 5, ROUNDS = 200, PATIENCE_MS = 20000 };

static const char quiet[] = "{\"verbose\":false,\"headers\":true,\"no_responders\":true}";

typedef struct fixture {
    dbk_sim *sim;
    daybook_vfs vfs; // the simulated one, with a gate before what writes
    daybook_store *store;
    daybook_server *server;
    wire client, other; // subscribed to _INBOX.a, _INBOX.b
} fixture;

// ---- The gate -----------------------------------------------------------------------------------------------

static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_opened = PTHREAD_COND_INITIALIZER;
static bool is_shut;
static daybook_vfs *behind; // the simulated one

static void set_gate(bool shut) {
    pthread_mutex_lock(&gate_lock);
    is_shut = shut;
    pthread_cond_broadcast(&gate_opened);
    pthread_mutex_unlock(&gate_lock);
}

static void pass_gate(void) {
    pthread_mutex_lock(&gate_lock);
    while (is_shut) pthread_cond_wait(&gate_opened, &gate_lock);
    pthread_mutex_unlock(&gate_lock);
}

static int64_t write_at(daybook_vfs *vfs, daybook_file *file, const void *data, size_t size,
                        uint64_t offset) {
    (void)vfs;
    pass_gate();
    return behind->write_at(behind, file, data, size, offset);
}

static int sync_file(daybook_vfs *vfs, daybook_file *file) {
    (void)vfs;
    pass_gate();
    return behind->sync(behind, file);
}

// ---- Server and connections ---------------------------------------------------------------------------------

static void join(wire *client, const fixture *of, const char *subscription) {
    wire_join(client, daybook_server_port(of->server), quiet);
    wire_say(client, subscription);
    wire_sync(client);
}

static void ask(wire *client, const char *subject, const char *body, const char *expected) {
    wire_publish(client, subject, "_INBOX.a", body);
    (void)wire_until(client, expected);
}

static int set_up(void **state) {
    daybook_error error;
    daybook_error_init(&error);
    fixture *of = calloc(1, sizeof *of);
    assert_non_null(of);
    set_gate(false);
    assert_int_equal(dbk_sim_new(1, &of->sim), DAYBOOK_OK);
    behind = dbk_sim_vfs(of->sim);
    of->vfs = *behind;
    of->vfs.write_at = write_at;
    of->vfs.sync = sync_file;
    daybook_open_options open;
    daybook_open_options_init(&open);
    open.vfs = &of->vfs;
    if (daybook_open("/s", &open, &of->store, &error) != DAYBOOK_OK) fail_msg("%s", error.message);
    daybook_server_options options;
    daybook_server_options_init(&options);
    options.store = of->store;
    options.config_text = daybook_text("announced_version: \"2.12.3\"\njetstream { request_queue_limit: 5 }");
    of->server = wire_server_start(&options);
    join(&of->client, of, "SUB _INBOX.a 1\r\n");
    join(&of->other, of, "SUB _INBOX.b 1\r\n");
    ask(&of->client, "$JS.API.STREAM.CREATE.S",
        "{\"name\":\"S\",\"subjects\":[\"s.>\"],\"allow_direct\":true}", "\"did_create\":true");
    ask(&of->client, "$JS.API.CONSUMER.CREATE.S.c",
        "{\"stream_name\":\"S\",\"config\":{\"name\":\"c\",\"durable_name\":\"c\",\"ack_policy\":"
        "\"explicit\"}}",
        "\"num_pending\":0");
    ask(&of->client, "s.1", "m1", "\"seq\":1}");
    *state = of;
    return 0;
}

static void stop_server(fixture *of) {
    if (of->server != NULL) wire_server_stop(of->server);
    of->server = NULL;
}

static int tear_down(void **state) {
    fixture *of = *state;
    set_gate(false);
    stop_server(of);
    wire_close(&of->client);
    wire_close(&of->other);
    assert_int_equal(daybook_close(of->store, NULL), DAYBOOK_OK);
    dbk_sim_free(of->sim);
    free(of);
    return 0;
}

// It has asked, and hears nothing but the server's PING.
static void expect_waiting(wire *client) {
    for (int i = 0; i < 2; i++) {
        if (i > 0) wire_nap(SHORT_MS);
        const char *got = wire_settle(client);
        if (strstr(got, "MSG _INBOX") != NULL) fail_msg("expected nothing, got '%s'", got);
    }
}

// ---- Requests wait --------------------------------------------------------------------------------------------

typedef struct question {
    const char *subject, *body, *expected; // the number is that of the message just published
} question;

static const question questions[] = {
    {"$JS.API.STREAM.INFO.S", "", "\"messages\":%d,"},
    {"$JS.API.STREAM.MSG.GET.S", "{\"seq\":%d}", "\"subject\":\"s.%d\""},
    {"$JS.API.DIRECT.GET.S", "{\"seq\":%d}", "Nats-Subject: s.%d\r\n"},
    {"$JS.API.DIRECT.GET.S", "{\"seq\":%d,\"batch\":1}", "Nats-Subject: s.%d\r\n"},
    {"$JS.API.DIRECT.GET.S.s.%d", "", "Nats-Subject: s.%d\r\n"},
    {"$JS.API.CONSUMER.INFO.S.c", "", "\"num_pending\":%d"},
    {"$JS.API.CONSUMER.CREATE.S.new",
     "{\"stream_name\":\"S\",\"config\":{\"name\":\"new\",\"ack_policy\":\"none\"}}", "\"num_pending\":%d"},
    {"$JS.API.CONSUMER.DURABLE.CREATE.S.old",
     "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"old\",\"ack_policy\":\"explicit\"}}",
     "\"num_pending\":%d"},
    {"$JS.API.CONSUMER.MSG.NEXT.S.c", "{\"batch\":100,\"no_wait\":true}", "m%d\r\n"},
    {"$JS.API.STREAM.MSG.DELETE.S", "{\"seq\":%d}", "\"success\":true"},
};

static const char *with_number(char text[512], const char *format, int number) {
    const char *at = strstr(format, "%d");
    if (at == NULL) return format;
    (void)snprintf(text, 512, "%.*s%d%s", (int)(at - format), format, number, at + 2);
    return text;
}

static void publish(wire *client, int number, const char *reply) {
    char subject[32], body[32];
    (void)snprintf(subject, sizeof subject, "s.%d", number);
    (void)snprintf(body, sizeof body, "m%d", number);
    wire_publish(client, subject, reply, body);
}

static void put_question(wire *client, const question *put, int number) {
    char subject[512], body[512];
    wire_publish(client, with_number(subject, put->subject, number), "_INBOX.a",
                 with_number(body, put->body, number));
}

static void who_asks_is_told_of_what_it_published(void **state) {
    fixture *of = *state;
    int number = 1;
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++) {
        char expected[512];
        set_gate(true);
        publish(&of->client, ++number, "");
        put_question(&of->client, &questions[i], number);
        expect_waiting(&of->client);
        set_gate(false);
        (void)wire_until(&of->client, with_number(expected, questions[i].expected, number));
        // Whatever else is said, as the end of a pull, was said when this is answered.
        ask(&of->client, "$JS.API.STREAM.INFO.S", "", "stream_info_response");
    }
    set_gate(true);
    publish(&of->client, ++number, "");
    wire_publish(&of->client, "$JS.API.STREAM.PURGE.S", "_INBOX.a", "");
    expect_waiting(&of->client);
    set_gate(false);
    (void)wire_until(&of->client, "\"purged\":11"); // of 12 one was deleted
}

// Without a gate, as fast as it goes: each answer is of the moment behind the publish.
static void each_answer_has_the_message_before(void **state) {
    fixture *of = *state;
    for (int number = 2; number < ROUNDS; number++) {
        publish(&of->client, number, "");
        put_question(&of->client, &questions[number % 3], number);
        char expected[512];
        (void)wire_until(&of->client, with_number(expected, questions[number % 3].expected, number));
    }
}

static void several_go_on_in_the_order_of_coming(void **state) {
    fixture *of = *state;
    set_gate(true);
    publish(&of->client, 2, "");
    wire_publish(&of->client, "$JS.API.STREAM.INFO.S", "_INBOX.a", "");
    publish(&of->client, 3, "");
    wire_publish(&of->client, "$JS.API.STREAM.PURGE.S", "_INBOX.a", "{\"keep\":1}");
    wire_publish(&of->client, "$JS.API.STREAM.INFO.S", "_INBOX.a", "");
    expect_waiting(&of->client);
    set_gate(false);
    (void)wire_until(&of->client, "\"messages\":"); // 2 or 3
    (void)wire_until(&of->client, "\"purged\":2");
    (void)wire_until(&of->client, "\"messages\":1,");
}

// ---- Who does not wait ----------------------------------------------------------------------------------------

static void others_do_not_wait(void **state) {
    fixture *of = *state;
    set_gate(true);
    publish(&of->client, 2, "");
    (void)wire_settle(&of->client);
    wire_publish(&of->other, "$JS.API.STREAM.INFO.S", "_INBOX.b", "");
    (void)wire_until(&of->other, "\"messages\":1,");
    wire_publish(&of->other, "$JS.API.DIRECT.GET.S", "_INBOX.b", "{\"last_by_subj\":\"s.>\"}");
    (void)wire_until(&of->other, "Nats-Subject: s.1\r\n");
    set_gate(false);
}

static void another_stream_is_not_waited_for(void **state) {
    fixture *of = *state;
    ask(&of->client, "$JS.API.STREAM.CREATE.T", "{\"name\":\"T\",\"subjects\":[\"t.>\"]}",
        "\"did_create\":true");
    set_gate(true);
    publish(&of->client, 2, "");
    ask(&of->client, "$JS.API.STREAM.INFO.T", "", "\"messages\":0,");
    ask(&of->client, "$JS.API.STREAM.NAMES", "", "\"S\"");
    set_gate(false);
}

// Who shares its connection loads while others of it append.
static void reading_does_not_wait_for_what_is_acknowledged(void **state) {
    fixture *of = *state;
    set_gate(true);
    publish(&of->client, 2, "_INBOX.a");
    ask(&of->client, "$JS.API.DIRECT.GET.S", "{\"last_by_subj\":\"s.>\"}", "Nats-Subject: s.1\r\n");
    ask(&of->client, "$JS.API.CONSUMER.MSG.NEXT.S.c", "{\"batch\":9,\"no_wait\":true}", "m1\r\n");
    (void)wire_until(&of->client, "Request Timeout");
    wire_publish(&of->client, "$JS.API.STREAM.INFO.S", "_INBOX.a", "");
    expect_waiting(&of->client);
    set_gate(false);
    (void)wire_until(&of->client, "\"seq\":2}"); // the acknowledgement first
    (void)wire_until(&of->client, "\"messages\":2,");
}

// ---- Ends -----------------------------------------------------------------------------------------------------

static void requests_beyond_the_limit_do_not_wait(void **state) {
    fixture *of = *state;
    set_gate(true);
    publish(&of->client, 2, "");
    for (int i = 0; i < LIMIT; i++)
        wire_publish(&of->client, "$JS.API.DIRECT.GET.S", "_INBOX.a", "{\"seq\":2}");
    expect_waiting(&of->client);
    ask(&of->client, "$JS.API.DIRECT.GET.S", "{\"seq\":2}", "429 Too Many Requests");
    ask(&of->client, "$JS.API.STREAM.INFO.S", "", "\"err_code\":10023");
    set_gate(false);
    for (int i = 0; i < LIMIT; i++) (void)wire_until(&of->client, "Nats-Sequence: 2\r\n");
    ask(&of->client, "$JS.API.STREAM.INFO.S", "", "\"messages\":2,");
}

static void who_leaves_is_waited_for_by_nobody(void **state) {
    fixture *of = *state;
    set_gate(true);
    publish(&of->client, 2, "");
    wire_publish(&of->client, "$JS.API.STREAM.MSG.GET.S", "_INBOX.a", "{\"seq\":2}");
    wire_publish(&of->client, "$JS.API.STREAM.PURGE.S", "_INBOX.a", "");
    (void)wire_settle(&of->client);
    wire_close(&of->client);
    (void)wire_settle(&of->other);
    set_gate(false);
    join(&of->client, of, "SUB _INBOX.a 1\r\n"); // for the end
    for (int i = 0; i < PATIENCE_MS / 10; i++) { // what it asked for is done all the same
        wire_publish(&of->other, "$JS.API.STREAM.INFO.S", "_INBOX.b", "");
        if (strstr(wire_until(&of->other, "\"consumer_count\":"), "\"messages\":0,") != NULL) return;
        wire_nap(10);
    }
    fail_msg("the stream was not purged");
}

static void *stop_in_thread(void *context) {
    stop_server(context);
    return NULL;
}

static void a_stop_answers_those_that_wait(void **state) {
    fixture *of = *state;
    pthread_t stopping;
    set_gate(true);
    publish(&of->client, 2, "");
    wire_publish(&of->client, "$JS.API.CONSUMER.MSG.NEXT.S.c", "_INBOX.a",
                 "{\"batch\":1,\"expires\":60000000000}");
    wire_publish(&of->client, "$JS.API.STREAM.INFO.S", "_INBOX.a", "");
    expect_waiting(&of->client);
    assert_int_equal(pthread_create(&stopping, NULL, stop_in_thread, of), 0);
    (void)wire_until(&of->client, "Server Shutdown"); // while the publish is under way
    (void)wire_until(&of->client, "JetStream not enabled");
    set_gate(false);
    pthread_join(stopping, NULL);
}

// The stream is removed while requests of it wait: all are answered.
static void a_removed_stream_keeps_no_request(void **state) {
    fixture *of = *state;
    set_gate(true);
    wire_publish(&of->other, "$JS.API.STREAM.DELETE.S", "_INBOX.b", "");
    (void)wire_settle(&of->other);
    publish(&of->client, 2, "");
    wire_publish(&of->client, "$JS.API.DIRECT.GET.S", "_INBOX.a", "{\"seq\":2}");
    wire_publish(&of->client, "$JS.API.STREAM.INFO.S", "_INBOX.a", "");
    expect_waiting(&of->client);
    set_gate(false);
    (void)wire_until(&of->other, "\"success\":true");
    const char *got = wire_until(&of->client, "stream_info_response");
    if (strstr(got, "NATS/1.0 ") == NULL) (void)wire_until(&of->client, "NATS/1.0 ");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_asks_is_told_of_what_it_published, set_up, tear_down),
        cmocka_unit_test_setup_teardown(each_answer_has_the_message_before, set_up, tear_down),
        cmocka_unit_test_setup_teardown(several_go_on_in_the_order_of_coming, set_up, tear_down),
        cmocka_unit_test_setup_teardown(others_do_not_wait, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_stream_is_not_waited_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reading_does_not_wait_for_what_is_acknowledged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(requests_beyond_the_limit_do_not_wait, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_leaves_is_waited_for_by_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stop_answers_those_that_wait, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_removed_stream_keeps_no_request, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
