// SPDX-License-Identifier: Apache-2.0
// Streams that copy others: mirrors and sources, over restart, gaps, filters, transforms, promotion, sources that come
// and go, and direct gets for the stream mirrored.
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

#define STREAM(name, subjects) "{\"name\":\"" name "\",\"subjects\":[\"" subjects "\"]}"
#define MIRROR(name, of, more) "{\"name\":\"" name "\",\"mirror\":{\"name\":\"" of "\"" more "}}"

static void make(const js_fixture *of, const char *name, const char *config) {
    char subject[64];
    (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.CREATE.%s", name);
    js_check(of, subject, config, "\"did_create\":true");
}

// Asks until the answer has this text: copies come a moment later.
static void await(const js_fixture *of, const char *subject, const char *data, const char *expected) {
    for (int64_t waited_ms = 0; waited_ms < JS_WAIT_MS; waited_ms += 20) {
        char *answer = js_ask(of, subject, NULL, NULL, data);
        bool has_it = strstr(answer, expected) != NULL;
        free(answer);
        if (has_it) return;
        nats_Sleep(20);
    }
    js_check(of, subject, data, expected); // says what there is instead
}

static void await_last(const js_fixture *of, const char *name, uint64_t seq) {
    char subject[64], expected[64];
    (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.INFO.%s", name);
    (void)snprintf(expected, sizeof expected, "\"last_seq\":%llu,", (unsigned long long)seq);
    await(of, subject, "", expected);
}

static void check_message(const js_fixture *of, const char *stream, uint64_t seq, const char *expected) {
    char subject[64], data[64];
    (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.MSG.GET.%s", stream);
    (void)snprintf(data, sizeof data, "{\"seq\":%llu}", (unsigned long long)seq);
    js_check(of, subject, data, expected);
}

static void restart(js_fixture *of) {
    js_stop(of);
    js_start(of);
}

// ---- Mirrors ----------------------------------------------------------------------------------------------

static void a_mirror_keeps_numbers_and_gaps(void **state) {
    js_fixture *of = *state;
    make(of, "O", STREAM("O", "o.>"));
    js_publish(of, "o.1", "one", 1);
    js_publish(of, "o.2", "two", 2);
    js_publish(of, "o.3", "three", 3);
    js_publish(of, "o.4", "four", 4);
    js_check(of, "$JS.API.STREAM.MSG.DELETE.O", "{\"seq\":2}", "\"success\":true");
    make(of, "M", MIRROR("M", "O", ""));
    await_last(of, "M", 4);
    js_check(of, "$JS.API.STREAM.INFO.M", "{\"deleted_details\":true}", "\"deleted\":[2]");
    check_message(of, "M", 3, "\"subject\":\"o.3\"");
    check_message(of, "M", 2, "\"err_code\":10037");
    js_publish(of, "o.5", "five", 5);
    await_last(of, "M", 5);
    // What the source removes later stays.
    js_check(of, "$JS.API.STREAM.MSG.DELETE.O", "{\"seq\":3}", "\"success\":true");
    js_publish(of, "o.6", "six", 6);
    await_last(of, "M", 6);
    check_message(of, "M", 3, "\"subject\":\"o.3\"");
    await(of, "$JS.API.STREAM.INFO.M", "", "\"mirror\":{\"name\":\"O\",\"lag\":0,\"active\":1}");
}

static void it_goes_on_after_a_restart(void **state) {
    js_fixture *of = *state;
    make(of, "O", STREAM("O", "o.>"));
    make(of, "M", MIRROR("M", "O", ""));
    for (uint64_t seq = 1; seq <= 20; seq++) js_publish(of, "o.x", "data", seq);
    restart(of); // in the middle of it, perhaps
    await_last(of, "M", 20);
    js_check(of, "$JS.API.STREAM.INFO.M", "", "\"messages\":20");
    restart(of);
    js_publish(of, "o.x", "data", 21);
    await_last(of, "M", 21);
    js_check(of, "$JS.API.STREAM.INFO.M", "", "\"messages\":21");
    // What was purged is not copied again.
    js_check(of, "$JS.API.STREAM.PURGE.M", "", "\"purged\":21");
    restart(of);
    js_publish(of, "o.x", "data", 22);
    await_last(of, "M", 22);
    js_check(of, "$JS.API.STREAM.INFO.M", "", "\"messages\":1,");
}

static void filters_and_transforms_of_a_mirror(void **state) {
    js_fixture *of = *state;
    make(of, "O", STREAM("O", "o.>"));
    js_publish(of, "o.a.1", "", 1);
    js_publish(of, "o.b.1", "", 2);
    js_publish(of, "o.a.2", "", 3);
    make(of, "F", MIRROR("F", "O", ",\"filter_subject\":\"o.a.*\""));
    make(of, "T", MIRROR("T", "O", ",\"subject_transforms\":[{\"src\":\"o.b.*\",\"dest\":\"x.$1\"}]"));
    make(of, "S", MIRROR("S", "O", ",\"opt_start_seq\":3"));
    await_last(of, "F", 3);
    js_check(of, "$JS.API.STREAM.INFO.F", "{\"subjects_filter\":\">\"}",
             "\"subjects\":{\"o.a.1\":1,\"o.a.2\":1}");
    await_last(of, "T", 2);
    check_message(of, "T", 2, "\"subject\":\"x.1\"");
    await_last(of, "S", 3);
    js_check(of, "$JS.API.STREAM.INFO.S", "", "\"first_seq\":3");
    js_check(of, "$JS.API.STREAM.INFO.T", "",
             "\"subject_transforms\":[{\"src\":\"o.b.*\",\"dest\":\"x.$1\"}]}");
}

static void a_mirror_is_not_published_to(void **state) {
    js_fixture *of = *state;
    make(of, "O", STREAM("O", "o.>"));
    make(of, "M", MIRROR("M", "O", ""));
    js_publish(of, "o.1", "", 1); // into the source alone
    await_last(of, "M", 1);
    js_check(of, "$JS.API.STREAM.NAMES", "{\"subject\":\"o.1\"}", "\"streams\":[\"O\"]");
}

static void it_waits_for_its_source(void **state) {
    js_fixture *of = *state;
    make(of, "M", MIRROR("M", "O", ""));
    await(of, "$JS.API.STREAM.INFO.M", "", "\"err_code\":10059");
    make(of, "O", STREAM("O", "o.>"));
    js_publish(of, "o.1", "", 1);
    await_last(of, "M", 1);
    js_check(of, "$JS.API.STREAM.DELETE.O", "", "\"success\":true");
    await(of, "$JS.API.STREAM.INFO.M", "", "\"err_code\":10059");
    js_check(of, "$JS.API.STREAM.INFO.M", "", "\"messages\":1,");
}

static void it_is_promoted(void **state) {
    js_fixture *of = *state;
    make(of, "O", STREAM("O", "o.>"));
    make(of, "M", MIRROR("M", "O", ""));
    js_publish(of, "o.1", "", 1);
    js_publish(of, "o.2", "", 2);
    await_last(of, "M", 2);
    js_check(of, "$JS.API.STREAM.UPDATE.M", MIRROR("M", "P", ""), "\"err_code\":10055");
    js_check(of, "$JS.API.STREAM.UPDATE.M", STREAM("M", "o.>"), "\"err_code\":10065"); // the source has them
    js_check(of, "$JS.API.STREAM.DELETE.O", "", "\"success\":true");
    js_check(of, "$JS.API.STREAM.UPDATE.M", STREAM("M", "o.>"), "\"subjects\":[\"o.\\u003e\"]");
    js_publish(of, "o.3", "", 3);
    restart(of);
    js_publish(of, "o.4", "", 4);
    js_check(of, "$JS.API.STREAM.INFO.M", "", "\"messages\":4,");
}

static void mirrors_of_mirrors(void **state) {
    js_fixture *of = *state;
    make(of, "O", STREAM("O", "o.>"));
    make(of, "M", MIRROR("M", "O", ""));
    make(of, "N", MIRROR("N", "M", ""));
    js_publish(of, "o.1", "", 1);
    js_publish(of, "o.2", "", 2);
    await_last(of, "N", 2);
}

static void direct_gets_for_the_stream_mirrored(void **state) {
    js_fixture *of = *state;
    make(of, "O", "{\"name\":\"O\",\"subjects\":[\"o.>\"],\"allow_direct\":true}");
    make(of, "M", MIRROR("M", "O", ""));
    js_check(of, "$JS.API.STREAM.INFO.M", "", "\"mirror_direct\":true"); // as the stream it mirrors
    js_publish(of, "o.1", "one", 1);
    await_last(of, "M", 1);
    js_check(of, "$JS.API.DIRECT.GET.O.o.1", "", "one");
    js_check(of, "$JS.API.STREAM.DELETE.O", "", "\"success\":true");
    js_check(of, "$JS.API.DIRECT.GET.O.o.1", "", "one");
    js_check(of, "$JS.API.DIRECT.GET.O", "{\"seq\":1}", "one");
}

static void consumers_read_mirrors(void **state) {
    js_fixture *of = *state;
    make(of, "O", STREAM("O", "o.>"));
    make(of, "M", MIRROR("M", "O", ""));
    js_check(of, "$JS.API.CONSUMER.CREATE.M.c.o.2",
             "{\"stream_name\":\"M\",\"config\":{\"name\":\"c\",\"ack_policy\":\"explicit\","
             "\"filter_subject\":\"o.2\"}}",
             "\"name\":\"c\"");
    natsSubscription *inbox = js_listen(of, "inbox.mine");
    js_send(of, "$JS.API.CONSUMER.MSG.NEXT.M.c", "inbox.mine", "{\"batch\":1,\"expires\":9000000000}");
    js_publish(of, "o.1", "no", 1);
    js_publish(of, "o.2", "yes", 2);
    js_check_next(inbox, "o.2", "yes", NULL, NULL);
    natsSubscription_Destroy(inbox);
}

// ---- Sources ----------------------------------------------------------------------------------------------

static void sources_are_merged(void **state) {
    js_fixture *of = *state;
    make(of, "A", STREAM("A", "a.>"));
    make(of, "B", STREAM("B", "b.>"));
    js_publish(of, "a.1", "one", 1);
    js_publish(of, "b.1", "two", 1);
    js_publish(of, "b.2", "no", 2);
    make(of, "S",
         "{\"name\":\"S\",\"subjects\":[\"s\"],\"sources\":[{\"name\":\"A\"},{\"name\":\"B\",\"filter_"
         "subject\":\"b."
         "1\"}]}");
    await_last(of, "S", 2);
    js_publish(of, "s", "three", 3); // its own
    js_publish(of, "a.2", "four", 2);
    await_last(of, "S", 4);
    js_check(of, "$JS.API.STREAM.INFO.S", "{\"subjects_filter\":\">\"}",
             "\"subjects\":{\"a.1\":1,\"a.2\":1,\"b.1\":1,\"s\":1}");
    js_check(of, "$JS.API.STREAM.INFO.S", "", "\"sources\":[{\"name\":\"A\"");
}

// Base64 of the headers is not read here: a direct get has them as they are.
static void the_header_says_where_from(void **state) {
    js_fixture *of = *state;
    make(of, "A", STREAM("A", "a.>"));
    make(of, "S",
         "{\"name\":\"S\",\"allow_direct\":true,\"sources\":[{\"name\":\"A\",\"subject_transforms\":[{"
         "\"src\":\"a."
         "*\",\"dest\":\"x.$1\"}]}]}");
    js_publish(of, "a.1", "one", 1);
    js_publish(of, "a.2", "two", 2);
    await_last(of, "S", 2);
    natsSubscription *inbox = js_listen(of, "inbox.mine");
    js_send(of, "$JS.API.DIRECT.GET.S", "inbox.mine", "{\"seq\":2}");
    js_check_next(inbox, "inbox.mine", "two", "Nats-Stream-Source", "A 2 a.* x.$1 a.2");
    natsSubscription_Destroy(inbox);
    check_message(of, "S", 2, "\"subject\":\"x.2\"");
}

static void nothing_comes_twice(void **state) {
    js_fixture *of = *state;
    make(of, "A", STREAM("A", "a.>"));
    make(of, "S", "{\"name\":\"S\",\"sources\":[{\"name\":\"A\"}]}");
    for (uint64_t seq = 1; seq <= 600; seq++) js_publish(of, "a.x", "data", seq);
    restart(of);
    await_last(of, "S", 600);
    // Also what is not there any more.
    js_check(of, "$JS.API.STREAM.PURGE.S", "", "\"purged\":600");
    restart(of);
    js_publish(of, "a.x", "data", 601);
    await_last(of, "S", 601);
    js_check(of, "$JS.API.STREAM.INFO.S", "", "\"messages\":1,");
    // One more source, and the first goes on where it was.
    make(of, "B", STREAM("B", "b.>"));
    js_publish(of, "b.x", "data", 1);
    js_check(of, "$JS.API.STREAM.UPDATE.S",
             "{\"name\":\"S\",\"sources\":[{\"name\":\"A\"},{\"name\":\"B\"}]}", "\"name\":\"B\"");
    await_last(of, "S", 602);
    js_publish(of, "a.x", "data", 602);
    await_last(of, "S", 603);
}

static void a_source_made_again_is_another(void **state) {
    js_fixture *of = *state;
    make(of, "A", STREAM("A", "a.>"));
    make(of, "S", "{\"name\":\"S\",\"sources\":[{\"name\":\"A\"}]}");
    js_publish(of, "a.x", "", 1);
    js_publish(of, "a.x", "", 2);
    await_last(of, "S", 2);
    js_check(of, "$JS.API.STREAM.DELETE.A", "", "\"success\":true");
    make(of, "A", STREAM("A", "a.>"));
    js_publish(of, "a.x", "", 1);
    await_last(of, "S", 3);
    js_check(of, "$JS.API.STREAM.DELETE.S", "", "\"success\":true");
    make(of, "S", "{\"name\":\"S\",\"sources\":[{\"name\":\"A\"}]}");
    await_last(of, "S", 1); // from the beginning
}

static void what_cannot_be_stored_is_passed_over(void **state) {
    js_fixture *of = *state;
    make(of, "A", STREAM("A", "a.>"));
    make(of, "S", "{\"name\":\"S\",\"max_msg_size\":100,\"sources\":[{\"name\":\"A\"}]}");
    char large[200];
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    js_publish(of, "a.1", "x", 1);
    js_publish(of, "a.2", large, 2);
    js_publish(of, "a.3", "x", 3);
    await_last(of, "S", 2);
    check_message(of, "S", 2, "\"subject\":\"a.3\"");
}

// As two that copy what the other one captures itself: fine, for nothing goes on.
static void messages_do_not_go_round(void **state) {
    js_fixture *of = *state;
    make(of, "A",
         "{\"name\":\"A\",\"subjects\":[\"a.>\"],\"sources\":[{\"name\":\"B\",\"filter_subject\":\"b.>\"}]}");
    make(of, "B",
         "{\"name\":\"B\",\"subjects\":[\"b.>\"],\"sources\":[{\"name\":\"A\",\"filter_subject\":\"a.>\"}]}");
    js_publish(of, "a.1", "", 1);
    await_last(of, "B", 1);
    js_publish(of, "b.1", "", 2);
    await_last(of, "A", 2);
    // By a stream between, and by what transforms may make.
    make(of, "C",
         "{\"name\":\"C\",\"sources\":[{\"name\":\"D\",\"subject_transforms\":[{\"src\":\"e.*\",\"dest\":\"c."
         "$1.x\"}]}]}");
    make(of, "D", MIRROR("D", "E", ""));
    js_check(of, "$JS.API.STREAM.CREATE.E",
             "{\"name\":\"E\",\"sources\":[{\"name\":\"C\",\"subject_transforms\":[{\"src\":\"c.*.x\","
             "\"dest\":\"e.$1\"}]}]}",
             "detected cycle");
    make(of, "E",
         "{\"name\":\"E\",\"subjects\":[\"e.>\"],\"sources\":[{\"name\":\"C\",\"filter_subject\":\"d.>\"}]}");
    js_check(of, "$JS.API.STREAM.UPDATE.E",
             "{\"name\":\"E\",\"subjects\":[\"e.>\"],\"sources\":[{\"name\":\"C\"}]}",
             "\"err_code\":10052,\"description\":\"detected cycle\"");
    js_check(of, "$JS.API.STREAM.CREATE.F", MIRROR("F", "F", ""), "detected cycle");
}

// Of its own publishers and of its sources together.
static void ids_are_known_whoever_stored_them(void **state) {
    js_fixture *of = *state;
    make(of, "A", STREAM("A", "a.>"));
    make(of, "S", "{\"name\":\"S\",\"subjects\":[\"s\"],\"sources\":[{\"name\":\"A\"}]}");
    free(js_ask(of, "a.1", "Nats-Msg-Id", "one", ""));
    await_last(of, "S", 1);
    char *answer = js_ask(of, "s", "Nats-Msg-Id", "one", "");
    if (strstr(answer, "\"duplicate\": true") == NULL) fail_msg("%s", answer);
    free(answer);
    free(js_ask(of, "s", "Nats-Msg-Id", "two", ""));
    free(js_ask(of, "a.2", "Nats-Msg-Id", "two", ""));
    js_publish(of, "a.3", "", 3); // what is left out holds up nothing
    await_last(of, "S", 3);
    check_message(of, "S", 3, "\"subject\":\"a.3\"");
}

static int set_up_with_little_room(void **state) {
    return js_set_up(state,
                     "announced_version: \"2.12.3\"\n"
                     "accounts { A { users: [ { user: a, password: a } ], jetstream { max_file: 10000 } } }\n"
                     "no_auth_user: a\n");
}

// Of what the account may store together a copy takes its part, message by message, and waits.
static void a_copy_waits_for_room(void **state) {
    js_fixture *of = *state;
    char data[1001], large[5001];
    memset(data, 'x', sizeof data - 1);
    data[sizeof data - 1] = '\0';
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    make(of, "V", STREAM("V", "v"));
    js_publish(of, "v", large, 1);
    make(of, "O", STREAM("O", "o.>"));
    for (uint64_t seq = 1; seq <= 3; seq++) js_publish(of, "o.x", data, seq);
    make(of, "M", MIRROR("M", "O", ""));
    await(of, "$JS.API.STREAM.INFO.M", "", "\"lag\":2");
    js_check(of, "$JS.API.STREAM.INFO.M", "", "\"last_seq\":1,");
    js_check(of, "$JS.API.STREAM.DELETE.V", "", "\"success\":true");
    await_last(of, "M", 3);
}

static void external_streams_are_refused(void **state) {
    js_fixture *of = *state;
    js_check(of, "$JS.API.STREAM.CREATE.M",
             MIRROR("M", "O", ",\"external\":{\"api\":\"$JS.x.API\",\"deliver\":\"\"}"),
             "mirrors of external streams are not supported by this server");
    make(of, "O", "{\"name\":\"O\",\"max_msg_size\":10}");
    js_check(of, "$JS.API.STREAM.CREATE.M", "{\"name\":\"M\",\"max_msg_size\":5,\"mirror\":{\"name\":\"O\"}}",
             "\"err_code\":10030");
    js_check(of, "$JS.API.STREAM.CREATE.S",
             "{\"name\":\"S\",\"max_msg_size\":5,\"sources\":[{\"name\":\"O\"}]}", "\"err_code\":10046");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_mirror_keeps_numbers_and_gaps, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(it_goes_on_after_a_restart, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(filters_and_transforms_of_a_mirror, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(a_mirror_is_not_published_to, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(it_waits_for_its_source, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(it_is_promoted, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(mirrors_of_mirrors, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(direct_gets_for_the_stream_mirrored, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(consumers_read_mirrors, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(sources_are_merged, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(the_header_says_where_from, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(nothing_comes_twice, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(a_source_made_again_is_another, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_stored_is_passed_over, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(messages_do_not_go_round, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(ids_are_known_whoever_stored_them, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(a_copy_waits_for_room, set_up_with_little_room, js_tear_down),
        cmocka_unit_test_setup_teardown(external_streams_are_refused, set_up, js_tear_down),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    nats_Close();
    return failed;
}
