// SPDX-License-Identifier: Apache-2.0
// Priority groups of pull consumers (NATS ADR-42): who of those who ask may have messages.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/js_fixture.h"

#define NEXT "$JS.API.CONSUMER.MSG.NEXT.S.c"
#define INFO "$JS.API.CONSUMER.INFO.S.c"
#define UNPIN "$JS.API.CONSUMER.UNPIN.S.c"

static int set_up(void **state) {
    return js_set_up(state, "announced_version: \"2.12.3\"");
}

// A stream S, a consumer c with the policy and the group "jobs", `more` begins with a comma or is empty.
static void add_consumer(const js_fixture *of, const char *policy, const char *more) {
    char request[512];
    js_check(of, "$JS.API.STREAM.CREATE.S", "{\"name\":\"S\",\"subjects\":[\"s.>\"]}", "\"did_create\":true");
    (void)snprintf(request, sizeof request,
                   "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"c\",\"ack_policy\":\"explicit\","
                   "\"priority_groups\":[\"jobs\"],\"priority_policy\":\"%s\"%s}}",
                   policy, more);
    js_check(of, "$JS.API.CONSUMER.CREATE.S.c", request, "\"priority_groups\":[\"jobs\"]");
}

static void publish_some(const js_fixture *of, int first, int count) {
    for (int i = 0; i < count; i++) js_publish(of, "s.1", "x", (uint64_t)(first + i));
}

// The next message's Nats-Pin-Id.
static void take_pin(natsSubscription *inbox, char id_out[64]) {
    natsMsg *message = js_next(inbox);
    const char *id = NULL;
    assert_int_equal(natsMsgHeader_Get(message, "Nats-Pin-Id", &id), NATS_OK);
    (void)snprintf(id_out, 64, "%s", id);
    assert_true(*id_out != '\0');
    natsMsg_Destroy(message);
}

static void requests_name_their_group(void **state) {
    js_fixture *of = *state;
    add_consumer(of, "overflow", "");
    natsSubscription *inbox = js_listen(of, "inbox.a");
    static const char *const refused[][2] = {
        {"{\"batch\":1}", "Bad Request - Priority Group missing"},
        {"1", "Bad Request - Priority Group missing"},
        {"{\"batch\":1,\"group\":\"ghost\"}", "Bad Request - Invalid Priority Group"},
        {"{\"batch\":1,\"group\":\"job\"}", "Bad Request - Invalid Priority Group"},
        {"{\"batch\":1,\"group\":\"jobs\",\"id\":\"x\"}",
         "Bad Request - Not a Pinned Client Priority consumer"}};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        js_send(of, NEXT, "inbox.a", refused[i][0]);
        js_check_status(inbox, "400", refused[i][1]);
    }
    js_check(of, UNPIN, "{\"group\":\"jobs\"}", "\"err_code\":10160"); // nobody is pinned in an overflow
    natsSubscription_Destroy(inbox);
}

static void overflow_waits_for_its_threshold(void **state) {
    js_fixture *of = *state;
    add_consumer(of, "overflow", "");
    natsSubscription *far = js_listen(of, "inbox.far");
    natsSubscription *near = js_listen(of, "inbox.near");
    js_send(of, NEXT, "inbox.far",
            "{\"batch\":10,\"group\":\"jobs\",\"min_pending\":4,\"expires\":30000000000}");
    publish_some(of, 1, 3);
    js_check_silence(far); // 3 are pending
    publish_some(of, 4, 2);
    js_check_next(far, "s.1", "x", NULL, NULL); // 5, 4
    js_check_next(far, "s.1", "x", NULL, NULL);
    js_check_silence(far); // 3 again
    js_send(of, NEXT, "inbox.near", "{\"batch\":10,\"group\":\"jobs\",\"expires\":30000000000}");
    for (int i = 0; i < 3; i++) js_check_next(near, "s.1", "x", NULL, NULL); // who has none waits for nothing
    js_check_silence(far);
    // 5 are delivered and not answered.
    js_send(of, NEXT, "inbox.near",
            "{\"batch\":1,\"group\":\"jobs\",\"min_pending\":1000,"
            "\"min_ack_pending\":1000,\"no_wait\":true}");
    natsSubscription_Destroy(near); // its other request goes with it
    natsSubscription *other = js_listen(of, "inbox.other");
    js_send(of, NEXT, "inbox.other",
            "{\"batch\":1,\"group\":\"jobs\",\"min_pending\":1000,\"min_ack_pending\":5,\"expires\":"
            "30000000000}");
    publish_some(of, 6, 1);
    js_check_next(other, "s.1", "x", NULL, NULL);
    js_check_silence(far);
    natsSubscription_Destroy(other);
    natsSubscription_Destroy(far);
}

static void overflow_below_its_threshold_does_not_wait_where_it_says_so(void **state) {
    js_fixture *of = *state;
    add_consumer(of, "overflow", "");
    natsSubscription *inbox = js_listen(of, "inbox.a");
    publish_some(of, 1, 2);
    js_send(of, NEXT, "inbox.a", "{\"batch\":1,\"group\":\"jobs\",\"min_pending\":9,\"no_wait\":true}");
    js_check_status(inbox, "404", "No Messages");
    js_send(of, NEXT, "inbox.a", "{\"batch\":1,\"group\":\"jobs\",\"min_pending\":9,\"expires\":300000000}");
    js_check_status(inbox, "408", "Request Timeout");
    js_check(of, INFO, "", "\"num_pending\":2"); // none was taken and given back
    js_check(of, INFO, "", "\"consumer_seq\":0");
    natsSubscription_Destroy(inbox);
}

static void lower_numbers_come_first(void **state) {
    js_fixture *of = *state;
    add_consumer(of, "prioritized", "");
    natsSubscription *five = js_listen(of, "inbox.five");
    natsSubscription *zero = js_listen(of, "inbox.zero");
    natsSubscription *also = js_listen(of, "inbox.also");
    js_send(of, NEXT, "inbox.five", "{\"batch\":1,\"group\":\"jobs\",\"priority\":10}");
    js_check_status(five, "400", "Bad Request - Priority must be 0 to 9");
    js_send(of, NEXT, "inbox.five", "{\"batch\":1,\"group\":\"jobs\",\"priority\":-1}");
    js_check_status(five, "400", "Bad Request - Priority must be 0 to 9");
    js_send(of, NEXT, "inbox.five",
            "{\"batch\":9,\"group\":\"jobs\",\"priority\":5,\"expires\":30000000000}");
    publish_some(of, 1, 1);
    js_check_next(five, "s.1", "x", NULL, NULL); // nobody is before it
    js_send(of, NEXT, "inbox.zero", "{\"batch\":2,\"group\":\"jobs\",\"expires\":30000000000}");
    js_send(of, NEXT, "inbox.also", "{\"batch\":2,\"group\":\"jobs\",\"expires\":30000000000}");
    publish_some(of, 2, 4);
    for (int i = 0; i < 2; i++) { // those of one priority share
        js_check_next(zero, "s.1", "x", NULL, NULL);
        js_check_next(also, "s.1", "x", NULL, NULL);
    }
    js_check_silence(five);
    publish_some(of, 6, 1);
    js_check_next(five, "s.1", "x", NULL, NULL); // they have all they asked for
    natsSubscription_Destroy(five);
    natsSubscription_Destroy(zero);
    natsSubscription_Destroy(also);
}

static void one_client_is_pinned(void **state) {
    js_fixture *of = *state;
    char pin[64], again[64], request[256];
    add_consumer(of, "pinned_client", ",\"priority_timeout\":60000000000");
    js_check(of, INFO, "",
             "\"priority_groups\":[{\"group\":\"jobs\",\"pinned_ts\":\"0001-01-01T00:00:00Z\"}]");
    natsSubscription *told = js_listen(of, "$JS.EVENT.ADVISORY.CONSUMER.PINNED.S.c");
    natsSubscription *a = js_listen(of, "inbox.a");
    natsSubscription *b = js_listen(of, "inbox.b");
    js_send(of, NEXT, "inbox.a", "{\"batch\":2,\"group\":\"jobs\",\"expires\":30000000000}");
    js_send(of, NEXT, "inbox.b", "{\"batch\":9,\"group\":\"jobs\",\"expires\":30000000000}");
    publish_some(of, 1, 3);
    take_pin(a, pin);
    take_pin(a, again); // also what is left of the same request
    assert_string_equal(pin, again);
    js_check_silence(a);
    js_check_silence(b); // it stands by
    natsMsg *advisory = js_next(told);
    assert_non_null(strstr(natsMsg_GetData(advisory), "consumer_group_pinned\""));
    assert_non_null(strstr(natsMsg_GetData(advisory), "\"group\":\"jobs\""));
    assert_non_null(strstr(natsMsg_GetData(advisory), pin));
    natsMsg_Destroy(advisory);
    js_check(of, INFO, "", pin);
    js_check(of, INFO, "", "\"num_redelivered\":0");
    js_send(of, NEXT, "inbox.b", "{\"batch\":1,\"group\":\"jobs\",\"id\":\"another\"}");
    js_check_status(b, "423", "Nats-Pin-Id mismatch");
    (void)snprintf(request, sizeof request,
                   "{\"batch\":2,\"group\":\"jobs\",\"expires\":30000000000,\"id\":\"%s\"}", pin);
    js_send(of, NEXT, "inbox.a", request);
    take_pin(a, again);
    assert_string_equal(pin, again);
    natsSubscription_Destroy(told);
    natsSubscription_Destroy(a);
    natsSubscription_Destroy(b);
}

// Who waits under the pin is told, who stands by is next, and has another id.
static void a_pin_can_be_taken_away(void **state) {
    js_fixture *of = *state;
    char pin[64], other[64], request[256];
    add_consumer(of, "pinned_client", "");
    natsSubscription *told = js_listen(of, "$JS.EVENT.ADVISORY.CONSUMER.UNPINNED.S.c");
    natsSubscription *a = js_listen(of, "inbox.a");
    natsSubscription *b = js_listen(of, "inbox.b");
    js_send(of, NEXT, "inbox.a", "{\"batch\":5,\"group\":\"jobs\",\"expires\":30000000000}");
    publish_some(of, 1, 1);
    take_pin(a, pin);
    js_send(of, NEXT, "inbox.b", "{\"batch\":5,\"group\":\"jobs\",\"expires\":30000000000}");
    js_check(of, UNPIN, "", "\"error\"");
    js_check(of, UNPIN, "{not json", "\"error\"");
    js_check(of, UNPIN, "{\"group\":\"ghost\"}", "\"err_code\":10160");
    js_check(of, "$JS.API.CONSUMER.UNPIN.S.none", "{\"group\":\"jobs\"}", "\"err_code\":10014");
    js_check(of, INFO, "", pin);
    js_check(of, UNPIN, "{\"group\":\"jobs\"}", "consumer_unpin_response");
    js_check_status(a, "423", "Nats-Wrong-Pin-Id");
    natsMsg *advisory = js_next(told);
    assert_non_null(strstr(natsMsg_GetData(advisory), "consumer_group_unpinned\""));
    assert_non_null(strstr(natsMsg_GetData(advisory), "\"reason\":\"admin\""));
    natsMsg_Destroy(advisory);
    publish_some(of, 2, 1);
    take_pin(b, other);
    assert_string_not_equal(pin, other);
    (void)snprintf(request, sizeof request, "{\"batch\":1,\"group\":\"jobs\",\"id\":\"%s\"}", pin);
    js_send(of, NEXT, "inbox.a", request);
    js_check_status(a, "423", "Nats-Pin-Id mismatch");
    natsSubscription_Destroy(told);
    natsSubscription_Destroy(a);
    natsSubscription_Destroy(b);
}

static void a_silent_client_loses_its_pin(void **state) {
    js_fixture *of = *state;
    char pin[64], other[64];
    add_consumer(of, "pinned_client", ",\"priority_timeout\":500000000");
    natsSubscription *told = js_listen(of, "$JS.EVENT.ADVISORY.CONSUMER.UNPINNED.S.c");
    natsSubscription *a = js_listen(of, "inbox.a");
    natsSubscription *b = js_listen(of, "inbox.b");
    js_send(of, NEXT, "inbox.a", "{\"batch\":1,\"group\":\"jobs\",\"expires\":30000000000}");
    publish_some(of, 1, 2);
    take_pin(a, pin);
    js_send(of, NEXT, "inbox.b", "{\"batch\":1,\"group\":\"jobs\",\"expires\":30000000000}");
    take_pin(b, other); // half a second later
    assert_string_not_equal(pin, other);
    natsMsg *advisory = js_next(told);
    assert_non_null(strstr(natsMsg_GetData(advisory), "\"reason\":\"timeout\""));
    natsMsg_Destroy(advisory);
    natsSubscription_Destroy(told);
    natsSubscription_Destroy(a);
    natsSubscription_Destroy(b);
}

// Nobody is pinned who got nothing: nobody would know the id.
static void a_request_that_got_nothing_pins_nobody(void **state) {
    js_fixture *of = *state;
    char pin[64];
    add_consumer(of, "pinned_client", "");
    natsSubscription *a = js_listen(of, "inbox.a");
    js_send(of, NEXT, "inbox.a", "{\"batch\":1,\"group\":\"jobs\",\"no_wait\":true}");
    js_check_status(a, "404", "No Messages");
    js_check(of, INFO, "",
             "\"priority_groups\":[{\"group\":\"jobs\",\"pinned_ts\":\"0001-01-01T00:00:00Z\"}]");
    publish_some(of, 1, 1);
    js_send(of, NEXT, "inbox.a", "{\"batch\":1,\"group\":\"jobs\",\"no_wait\":true}");
    take_pin(a, pin);
    natsSubscription_Destroy(a);
}

static void the_policy_stays(void **state) {
    js_fixture *of = *state;
    add_consumer(of, "pinned_client", "");
    js_check(of, "$JS.API.CONSUMER.CREATE.S.c",
             "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"c\",\"ack_policy\":\"explicit\","
             "\"priority_groups\":[\"jobs\"],\"priority_policy\":\"overflow\"}}",
             "priority policy can not be updated");
    js_check(of, "$JS.API.CONSUMER.CREATE.S.c",
             "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"c\",\"ack_policy\":\"explicit\"}}",
             "priority policy can not be updated");
    js_check(of, "$JS.API.CONSUMER.CREATE.S.c",
             "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"c\",\"ack_policy\":\"explicit\","
             "\"priority_groups\":[\"jobs\"],\"priority_policy\":\"pinned_client\","
             "\"priority_timeout\":300000000000}}",
             "\"priority_timeout\":300000000000");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(requests_name_their_group, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(overflow_waits_for_its_threshold, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(overflow_below_its_threshold_does_not_wait_where_it_says_so, set_up,
                                        js_tear_down),
        cmocka_unit_test_setup_teardown(lower_numbers_come_first, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(one_client_is_pinned, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(a_pin_can_be_taken_away, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(a_silent_client_loses_its_pin, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(a_request_that_got_nothing_pins_nobody, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(the_policy_stays, set_up, js_tear_down),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    nats_Close();
    return failed;
}
