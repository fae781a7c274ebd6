// SPDX-License-Identifier: Apache-2.0
// Subjects that a stream rewrites: subject_transform and republish, alone and together, over restart, update,
// batches and conditions.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/js_fixture.h"

static int set_up(void **state) {
    return js_set_up(state, "announced_version: \"2.12.3\"");
}

#define TRANSFORMED                              \
    "{\"name\":\"T\",\"subjects\":[\"t.in.*\"]," \
    "\"subject_transform\":{\"src\":\"t.in.*\",\"dest\":\"t.done.{{wildcard(1)}}\"}"

static void subjects_are_stored_transformed(void **state) {
    js_fixture *of = *state;
    js_check(of, "$JS.API.STREAM.CREATE.T", TRANSFORMED "}", "\"did_create\":true");
    js_publish(of, "t.in.a", "one", 1);
    js_publish(of, "t.in.b", "two", 2);
    for (int i = 0; i < 2; i++) { // also after a restart
        js_check(of, "$JS.API.STREAM.MSG.GET.T", "{\"seq\":1}", "\"subject\":\"t.done.a\"");
        js_check(of, "$JS.API.STREAM.MSG.GET.T", "{\"last_by_subj\":\"t.done.b\"}", "\"seq\":2");
        js_check(of, "$JS.API.STREAM.MSG.GET.T", "{\"last_by_subj\":\"t.in.b\"}", "\"err_code\":10037");
        js_check(of, "$JS.API.STREAM.INFO.T", "{\"subjects_filter\":\">\"}",
                 "\"subjects\":{\"t.done.a\":1,\"t.done.b\":1}");
        js_stop(of);
        js_start(of);
    }
    js_publish(of, "t.in.c", "three", 3);
    js_check(of, "$JS.API.STREAM.MSG.GET.T", "{\"seq\":3}", "\"subject\":\"t.done.c\"");
}

static void what_the_source_does_not_match_stays(void **state) {
    js_fixture *of = *state;
    js_check(of, "$JS.API.STREAM.CREATE.T",
             "{\"name\":\"T\",\"subjects\":[\"t.>\"],\"subject_transform\":{\"src\":\"t.x.*\",\"dest\":\"t.y."
             "$1\"}}",
             "\"did_create\":true");
    js_publish(of, "t.x.1", "", 1);
    js_publish(of, "t.z.1", "", 2);
    js_check(of, "$JS.API.STREAM.MSG.GET.T", "{\"seq\":1}", "\"subject\":\"t.y.1\"");
    js_check(of, "$JS.API.STREAM.MSG.GET.T", "{\"seq\":2}", "\"subject\":\"t.z.1\"");
}

// The transform of an update counts from then on, and what it stored before stays.
static void updates_count(void **state) {
    js_fixture *of = *state;
    js_check(of, "$JS.API.STREAM.CREATE.T", "{\"name\":\"T\",\"subjects\":[\"t.in.*\"]}",
             "\"did_create\":true");
    js_publish(of, "t.in.a", "", 1);
    js_check(of, "$JS.API.STREAM.UPDATE.T", TRANSFORMED "}", "\"subject_transform\"");
    js_publish(of, "t.in.a", "", 2);
    js_check(of, "$JS.API.STREAM.UPDATE.T", "{\"name\":\"T\",\"subjects\":[\"t.in.*\"]}", "\"config\"");
    js_publish(of, "t.in.a", "", 3);
    js_check(of, "$JS.API.STREAM.INFO.T", "{\"subjects_filter\":\">\"}",
             "\"subjects\":{\"t.done.a\":1,\"t.in.a\":2}");
    // Its consumers may still ask for what was stored.
    js_check(of, "$JS.API.CONSUMER.CREATE.T.c.t.done.>",
             "{\"stream_name\":\"T\",\"config\":{\"name\":\"c\",\"ack_policy\":\"explicit\","
             "\"filter_subject\":\"t.done.>\"}}",
             "\"num_pending\":1");
}

static void consumers_see_what_is_stored(void **state) {
    js_fixture *of = *state;
    js_check(of, "$JS.API.STREAM.CREATE.T", TRANSFORMED "}", "\"did_create\":true");
    js_check(of, "$JS.API.CONSUMER.CREATE.T.c.t.done.a",
             "{\"stream_name\":\"T\",\"config\":{\"name\":\"c\",\"ack_policy\":\"explicit\","
             "\"filter_subject\":\"t.done.a\"}}",
             "\"name\":\"c\"");
    natsSubscription *inbox = js_listen(of, "inbox.mine");
    js_send(of, "$JS.API.CONSUMER.MSG.NEXT.T.c", "inbox.mine", "{\"batch\":2,\"expires\":9000000000}");
    js_publish(of, "t.in.b", "not this", 1);
    js_publish(of, "t.in.a", "this", 2); // wakes who waits for the stored subject
    js_check_next(inbox, "t.done.a", "this", NULL, NULL);
    js_check_silence(inbox);
    natsSubscription_Destroy(inbox);
}

static void conditions_are_of_the_stored_subject(void **state) {
    js_fixture *of = *state;
    static const char expected[] = "Nats-Expected-Last-Subject-Sequence";
    js_check(of, "$JS.API.STREAM.CREATE.T", TRANSFORMED "}", "\"did_create\":true");
    static const char *const steps[][2] = {
        {"0", "\"seq\":1"}, {"0", "\"err_code\":10071"}, {"1", "\"seq\":2"}, {"1", "\"err_code\":10071"}};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        char *answer = js_ask(of, "t.in.a", expected, steps[i][0], "x");
        if (strstr(answer, steps[i][1]) == NULL) fail_msg("%zu: %s", i, answer);
        free(answer);
    }
}

#define REPUBLISHED                           \
    "{\"name\":\"R\",\"subjects\":[\"r.>\"]," \
    "\"republish\":{\"src\":\"r.in.>\",\"dest\":\"out.>\""

static void check_header(natsMsg *message, const char *name, const char *expected) {
    const char *had = NULL;
    assert_int_equal(natsMsgHeader_Get(message, name, &had), NATS_OK);
    assert_string_equal(had, expected);
}

static void what_is_stored_is_republished(void **state) {
    js_fixture *of = *state;
    js_check(of, "$JS.API.STREAM.CREATE.R", REPUBLISHED "}}", "\"did_create\":true");
    natsSubscription *out = js_listen(of, "out.>");
    js_publish(of, "r.in.1", "one", 1);
    js_publish(of, "r.elsewhere", "not this", 2);
    js_publish(of, "r.in.2", "two", 3);
    js_publish(of, "r.in.1", "three", 4);
    static const char *const expected[][4] = {
        {"out.1", "one", "1", "0"}, {"out.2", "two", "3", "0"}, {"out.1", "three", "4", "1"}};
    for (size_t i = 0; i < 3; i++) {
        natsMsg *message = js_next(out);
        const char *time = NULL;
        assert_string_equal(natsMsg_GetSubject(message), expected[i][0]);
        assert_int_equal(natsMsg_GetDataLength(message), strlen(expected[i][1]));
        assert_memory_equal(natsMsg_GetData(message), expected[i][1], strlen(expected[i][1]));
        check_header(message, "Nats-Stream", "R");
        check_header(message, "Nats-Subject", i == 1 ? "r.in.2" : "r.in.1");
        check_header(message, "Nats-Sequence", expected[i][2]);
        check_header(message, "Nats-Last-Sequence", expected[i][3]);
        assert_int_equal(natsMsgHeader_Get(message, "Nats-Time-Stamp", &time), NATS_OK);
        assert_int_equal(time[strlen(time) - 1], 'Z');
        assert_null(natsMsg_GetReply(message));
        natsMsg_Destroy(message);
    }
    js_check_silence(out);
    natsSubscription_Destroy(out);
}

static void refused_and_repeated_ones_are_not(void **state) {
    js_fixture *of = *state;
    js_check(of, "$JS.API.STREAM.CREATE.R", REPUBLISHED "}}", "\"did_create\":true");
    natsSubscription *out = js_listen(of, "out.>");
    for (int i = 0; i < 2; i++) {
        char *answer = js_ask(of, "r.in.1", "Nats-Msg-Id", "same", "x");
        assert_non_null(strstr(answer, "\"seq\":1"));
        free(answer);
    }
    char *answer = js_ask(of, "r.in.1", "Nats-Expected-Last-Sequence", "7", "x");
    assert_non_null(strstr(answer, "\"err_code\":10071"));
    free(answer);
    js_check_next(out, "out.1", "x", "Nats-Msg-Id", "same");
    js_check_silence(out);
    natsSubscription_Destroy(out);
}

// The publisher's headers go along, but for those that only the server may say.
static void headers_are_the_servers(void **state) {
    js_fixture *of = *state;
    js_check(of, "$JS.API.STREAM.CREATE.R", REPUBLISHED ",\"headers_only\":true}}", "\"did_create\":true");
    natsSubscription *out = js_listen(of, "out.>");
    free(js_ask(of, "r.in.1", "Nats-Sequence", "999", "12345"));
    js_check_next(out, "out.1", "", "Nats-Sequence", "1");
    free(js_ask(of, "r.in.1", "Kind", "order", "12345"));
    js_check_next(out, "out.1", "", "Kind", "order");
    free(js_ask(of, "r.in.1", NULL, NULL, "12345"));
    js_check_next(out, "out.1", "", "Nats-Msg-Size", "5");
    natsSubscription_Destroy(out);
}

// The message before is named though its successor has removed it, and though many are under way at once.
static void the_message_before_is_named(void **state) {
    js_fixture *of = *state;
    enum { COUNT = 500 };
    js_check(of, "$JS.API.STREAM.CREATE.R", REPUBLISHED "},\"max_msgs_per_subject\":1}",
             "\"did_create\":true");
    natsSubscription *out = js_listen(of, "out.>");
    char subject[32], seq[16], last[16];
    for (int i = 0; i < COUNT; i++) {
        (void)snprintf(subject, sizeof subject, "r.in.%d", i % 3);
        assert_int_equal(natsConnection_PublishString(of->connection, subject, "x"), NATS_OK);
    }
    for (int i = 0; i < COUNT; i++) {
        (void)snprintf(subject, sizeof subject, "out.%d", i % 3);
        (void)snprintf(seq, sizeof seq, "%d", i + 1);
        (void)snprintf(last, sizeof last, "%d", i < 3 ? 0 : i - 2);
        natsMsg *message = js_next(out);
        assert_string_equal(natsMsg_GetSubject(message), subject);
        check_header(message, "Nats-Sequence", seq);
        check_header(message, "Nats-Last-Sequence", last);
        natsMsg_Destroy(message);
    }
    // And after a restart, when only the store knows.
    natsSubscription_Destroy(out);
    js_stop(of);
    js_start(of);
    out = js_listen(of, "out.>");
    js_publish(of, "r.in.0", "x", COUNT + 1);
    (void)snprintf(last, sizeof last, "%d", COUNT - 1); // 499 was on r.in.0: 0-based 498
    js_check_next(out, "out.0", "x", "Nats-Last-Sequence", last);
    natsSubscription_Destroy(out);
}

// Transformed first; the republish sees the stored subject. In a batch each one goes out, when all are stored.
static void batches_are_rewritten_too(void **state) {
    js_fixture *of = *state;
    js_check(of, "$JS.API.STREAM.CREATE.T",
             TRANSFORMED ",\"republish\":{\"src\":\"t.done.>\",\"dest\":\"out.>\"},\"allow_atomic\":true}",
             "\"did_create\":true");
    natsSubscription *out = js_listen(of, "out.>");
    for (int i = 1; i <= 3; i++) {
        natsMsg *request = NULL;
        natsMsg *reply = NULL;
        char number[16];
        (void)snprintf(number, sizeof number, "%d", i);
        assert_int_equal(natsMsg_Create(&request, "t.in.a", NULL, number, 1), NATS_OK);
        assert_int_equal(natsMsgHeader_Set(request, "Nats-Batch-Id", "b"), NATS_OK);
        assert_int_equal(natsMsgHeader_Set(request, "Nats-Batch-Sequence", number), NATS_OK);
        if (i == 3) {
            js_check_silence(out); // nothing is stored yet
            assert_int_equal(natsMsgHeader_Set(request, "Nats-Batch-Commit", "1"), NATS_OK);
        }
        assert_int_equal(natsConnection_RequestMsg(&reply, of->connection, request, JS_WAIT_MS), NATS_OK);
        natsMsg_Destroy(request);
        natsMsg_Destroy(reply);
    }
    for (int i = 1; i <= 3; i++) {
        char number[16], last[16];
        (void)snprintf(number, sizeof number, "%d", i);
        (void)snprintf(last, sizeof last, "%d", i - 1);
        natsMsg *message = js_next(out);
        assert_string_equal(natsMsg_GetSubject(message), "out.a");
        assert_memory_equal(natsMsg_GetData(message), number, 1);
        check_header(message, "Nats-Subject", "t.done.a");
        check_header(message, "Nats-Sequence", number);
        check_header(message, "Nats-Last-Sequence", last);
        natsMsg_Destroy(message);
    }
    natsSubscription_Destroy(out);
}

// Another stream may capture what is republished.
static void republished_messages_may_be_captured(void **state) {
    js_fixture *of = *state;
    js_check(of, "$JS.API.STREAM.CREATE.R", REPUBLISHED "}}", "\"did_create\":true");
    js_check(of, "$JS.API.STREAM.CREATE.O", "{\"name\":\"O\",\"subjects\":[\"out.>\"]}",
             "\"did_create\":true");
    js_publish(of, "r.in.1", "x", 1);
    char *answer = NULL;
    for (int i = 0; i < 100; i++) { // it is acknowledged to nobody
        free(answer);
        answer = js_ask(of, "$JS.API.STREAM.INFO.O", NULL, NULL, "");
        if (strstr(answer, "\"messages\":1") != NULL) break;
        nats_Sleep(20);
    }
    assert_non_null(strstr(answer, "\"messages\":1"));
    free(answer);
    js_check(of, "$JS.API.STREAM.MSG.GET.O", "{\"seq\":1}", "\"subject\":\"out.1\"");
}

// What a stream keeps of another one's republishing it does not republish: two that name each other end there.
static void streams_that_republish_into_each_other_end(void **state) {
    js_fixture *of = *state;
    js_check(of, "$JS.API.STREAM.CREATE.A",
             "{\"name\":\"A\",\"subjects\":[\"a.*\"],\"republish\":{\"src\":\"a.*\",\"dest\":\"b.$1\"}}",
             "\"did_create\":true");
    js_check(of, "$JS.API.STREAM.CREATE.B",
             "{\"name\":\"B\",\"subjects\":[\"b.*\"],\"republish\":{\"src\":\"b.*\",\"dest\":\"a.$1\"}}",
             "\"did_create\":true");
    js_publish(of, "a.1", "x", 1);
    nats_Sleep(JS_SHORT_MS);
    js_publish(of, "a.1", "y", 2); // nothing came back
    js_publish(of, "b.1", "z", 3); // behind what came of the two
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(subjects_are_stored_transformed, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(what_the_source_does_not_match_stays, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(updates_count, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(consumers_see_what_is_stored, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(conditions_are_of_the_stored_subject, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(what_is_stored_is_republished, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(refused_and_repeated_ones_are_not, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(headers_are_the_servers, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(the_message_before_is_named, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(batches_are_rewritten_too, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(republished_messages_may_be_captured, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(streams_that_republish_into_each_other_end, set_up, js_tear_down),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    nats_Close();
    return failed;
}
