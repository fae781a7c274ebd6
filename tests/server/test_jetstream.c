// SPDX-License-Identifier: Apache-2.0
// JetStream over the wire, as libnats uses it, against a server in this process: what clients do all day.
// What exactly is said is for the wire scripts; here it is what comes of it.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/js_fixture.h"

static int set_up(void **state) {
    return js_set_up(state, "");
}

static int set_up_2_12(void **state) {
    return js_set_up(state, "announced_version: 2.12.3");
}

static void add_stream(const js_fixture *of, const char *name, const char *subject) {
    jsStreamConfig config;
    jsErrCode code = 0;
    assert_int_equal(jsStreamConfig_Init(&config), NATS_OK);
    config.Name = name;
    config.Subjects = &subject;
    config.SubjectsLen = 1;
    config.AllowDirect = true;
    natsStatus status = js_AddStream(NULL, of->js, &config, NULL, &code);
    if (status != NATS_OK) fail_msg("%s: %s, %d", name, natsStatus_GetText(status), (int)code);
}

static uint64_t publish(const js_fixture *of, const char *subject, const char *data) {
    jsPubAck *ack = NULL;
    jsErrCode code = 0;
    natsStatus status = js_Publish(&ack, of->js, subject, data, (int)strlen(data), NULL, &code);
    if (status != NATS_OK) fail_msg("%s: %s, %d", subject, natsStatus_GetText(status), (int)code);
    uint64_t seq = ack->Sequence;
    jsPubAck_Destroy(ack);
    return seq;
}

static void check_message(natsMsg *message, const char *subject, const char *data) {
    assert_string_equal(natsMsg_GetSubject(message), subject);
    assert_int_equal(natsMsg_GetDataLength(message), strlen(data));
    assert_memory_equal(natsMsg_GetData(message), data, strlen(data));
}

// ---- Publishing -------------------------------------------------------------------------------------------

static void publishes_are_kept_in_order(void **state) {
    js_fixture *of = *state;
    enum { COUNT = 2000 };
    add_stream(of, "ORDERS", "orders.>");
    jsPubOptions options;
    assert_int_equal(jsPubOptions_Init(&options), NATS_OK);
    for (int i = 0; i < COUNT; i++) {
        char data[16];
        int size = snprintf(data, sizeof data, "%d", i);
        assert_int_equal(js_PublishAsync(of->js, "orders.7.placed", data, size, &options), NATS_OK);
    }
    options.MaxWait = JS_WAIT_MS;
    assert_int_equal(js_PublishAsyncComplete(of->js, &options), NATS_OK);
    js_stop(of);
    js_start(of); // what was acknowledged is there
    for (int i = 0; i < COUNT; i += 97) {
        natsMsg *message = NULL;
        char data[16];
        (void)snprintf(data, sizeof data, "%d", i);
        assert_int_equal(js_GetMsg(&message, of->js, "ORDERS", (uint64_t)i + 1, NULL, NULL), NATS_OK);
        check_message(message, "orders.7.placed", data);
        natsMsg_Destroy(message);
    }
    assert_int_equal(publish(of, "orders.7.paid", "x"), COUNT + 1);
}

static void one_of_many_who_expect_wins(void **state) {
    js_fixture *of = *state;
    jsPubOptions options;
    jsErrCode code = 0;
    add_stream(of, "ORDERS", "orders.>");
    assert_int_equal(jsPubOptions_Init(&options), NATS_OK);
    assert_int_equal(publish(of, "orders.1", "first"), 1);
    options.ExpectLastSubjectSeq = 1;
    assert_int_equal(js_Publish(NULL, of->js, "orders.1", "a", 1, &options, &code), NATS_OK);
    assert_int_equal(js_Publish(NULL, of->js, "orders.1", "b", 1, &options, &code), NATS_ERR);
    assert_int_equal(code, 10071);
    assert_int_equal(jsPubOptions_Init(&options), NATS_OK);
    options.MsgId = "same";
    for (int i = 0; i < 2; i++) {
        jsPubAck *ack = NULL;
        assert_int_equal(js_Publish(&ack, of->js, "orders.1", "c", 1, &options, &code), NATS_OK);
        assert_int_equal(ack->Sequence, 3);
        assert_int_equal(ack->Duplicate, i == 1);
        jsPubAck_Destroy(ack);
    }
}

// ---- Consumers --------------------------------------------------------------------------------------------

static natsSubscription *pull_from(const js_fixture *of, const char *filter, const char *durable) {
    natsSubscription *subscription = NULL;
    jsErrCode code = 0;
    natsStatus status = js_PullSubscribe(&subscription, of->js, filter, durable, NULL, NULL, &code);
    if (status != NATS_OK) fail_msg("%s: %s, %d", durable, natsStatus_GetText(status), (int)code);
    return subscription;
}

static void pulled_messages_come_once_acknowledged(void **state) {
    js_fixture *of = *state;
    enum { COUNT = 300 };
    add_stream(of, "ORDERS", "orders.>");
    for (int i = 0; i < COUNT; i++) {
        char data[16];
        (void)snprintf(data, sizeof data, "%d", i);
        (void)publish(of, i % 3 == 0 ? "orders.a" : "orders.b", data);
    }
    natsSubscription *subscription = pull_from(of, "orders.a", "mail");
    for (int i = 0; i < COUNT;) {
        natsMsgList list = {0};
        assert_int_equal(natsSubscription_Fetch(&list, subscription, 7, JS_WAIT_MS, NULL), NATS_OK);
        assert_true(list.Count > 0);
        for (int j = 0; j < list.Count; j++, i += 3) {
            char data[16];
            (void)snprintf(data, sizeof data, "%d", i);
            check_message(list.Msgs[j], "orders.a", data);
            assert_int_equal(natsMsg_AckSync(list.Msgs[j], NULL, NULL), NATS_OK);
        }
        natsMsgList_Destroy(&list);
    }
    natsMsgList list = {0};
    assert_int_equal(natsSubscription_Fetch(&list, subscription, 1, JS_SHORT_MS, NULL), NATS_TIMEOUT);
    natsSubscription_Destroy(subscription);
    // A durable one goes on where it was, also after a restart.
    js_stop(of);
    js_start(of);
    subscription = pull_from(of, "orders.a", "mail");
    assert_int_equal(natsSubscription_Fetch(&list, subscription, 1, JS_SHORT_MS, NULL), NATS_TIMEOUT);
    (void)publish(of, "orders.a", "new");
    assert_int_equal(natsSubscription_Fetch(&list, subscription, 1, JS_WAIT_MS, NULL), NATS_OK);
    check_message(list.Msgs[0], "orders.a", "new");
    natsMsgList_Destroy(&list);
    natsSubscription_Destroy(subscription);
}

static void a_waiting_pull_is_woken(void **state) {
    js_fixture *of = *state;
    natsMsg *message = NULL;
    natsSubscription *inbox = NULL;
    add_stream(of, "ORDERS", "orders.>");
    natsSubscription *subscription = pull_from(of, "orders.>", "mail");
    assert_int_equal(natsConnection_SubscribeSync(&inbox, of->connection, "inbox.of.mine"), NATS_OK);
    assert_int_equal(
        natsConnection_PublishRequestString(of->connection, "$JS.API.CONSUMER.MSG.NEXT.ORDERS.mail",
                                            "inbox.of.mine", "{\"batch\":3,\"expires\":9000000000}"),
        NATS_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(natsSubscription_NextMsg(&message, inbox, 50), NATS_TIMEOUT);
        (void)publish(of, "orders.1", "x");
        assert_int_equal(natsSubscription_NextMsg(&message, inbox, JS_WAIT_MS), NATS_OK);
        check_message(message, "orders.1", "x");
        natsMsg_Destroy(message);
    }
    (void)publish(of, "orders.1", "nobody waits for this");
    assert_int_equal(natsSubscription_NextMsg(&message, inbox, JS_SHORT_MS), NATS_TIMEOUT);
    natsSubscription_Destroy(inbox);
    natsSubscription_Destroy(subscription);
}

static void what_is_given_back_comes_again(void **state) {
    js_fixture *of = *state;
    natsMsgList list = {0};
    jsMsgMetaData *data = NULL;
    add_stream(of, "ORDERS", "orders.>");
    natsSubscription *subscription = pull_from(of, "orders.>", "mail");
    (void)publish(of, "orders.1", "x");
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(natsSubscription_Fetch(&list, subscription, 1, JS_WAIT_MS, NULL), NATS_OK);
        assert_int_equal(natsMsg_GetMetaData(&data, list.Msgs[0]), NATS_OK);
        assert_int_equal(data->NumDelivered, i);
        assert_int_equal(data->Sequence.Stream, 1);
        assert_string_equal(data->Stream, "ORDERS");
        assert_string_equal(data->Consumer, "mail");
        jsMsgMetaData_Destroy(data);
        assert_int_equal(natsMsg_NakWithDelay(list.Msgs[0], i == 1 ? 0 : 100, NULL), NATS_OK);
        natsMsgList_Destroy(&list);
    }
    natsSubscription_Destroy(subscription);
}

static void pushed_messages_come(void **state) {
    js_fixture *of = *state;
    enum { COUNT = 1000 };
    natsSubscription *subscription = NULL;
    jsErrCode code = 0;
    add_stream(of, "ORDERS", "orders.>");
    for (int i = 0; i < COUNT / 2; i++) (void)publish(of, "orders.1", "x");
    natsStatus status = js_SubscribeSync(&subscription, of->js, "orders.>", NULL, NULL, &code);
    if (status != NATS_OK) fail_msg("%s, %d", natsStatus_GetText(status), (int)code);
    for (int i = 0; i < COUNT; i++) {
        natsMsg *message = NULL;
        if (i >= COUNT / 2) (void)publish(of, "orders.1", "x");
        assert_int_equal(natsSubscription_NextMsg(&message, subscription, JS_WAIT_MS), NATS_OK);
        jsMsgMetaData *data = NULL;
        assert_int_equal(natsMsg_GetMetaData(&data, message), NATS_OK);
        assert_int_equal(data->Sequence.Stream, i + 1);
        jsMsgMetaData_Destroy(data);
        assert_int_equal(natsMsg_Ack(message, NULL), NATS_OK);
        natsMsg_Destroy(message);
    }
    natsSubscription_Destroy(subscription);
}

static void make_pushing(const js_fixture *of, const char *name, const char *subject) {
    jsConsumerConfig config;
    jsErrCode code = 0;
    assert_int_equal(jsConsumerConfig_Init(&config), NATS_OK);
    config.Durable = name;
    config.DeliverSubject = subject;
    config.AckPolicy = js_AckExplicit;
    natsStatus status = js_AddConsumer(NULL, of->js, "ORDERS", &config, NULL, &code);
    if (status != NATS_OK) fail_msg("%s, %d", natsStatus_GetText(status), (int)code);
}

// Each is delivered once and in order, as many as there are.
static void expect_first_deliveries(natsSubscription *subscription, int from, int to) {
    for (int i = from; i <= to; i++) {
        natsMsg *message = NULL;
        jsMsgMetaData *data = NULL;
        assert_int_equal(natsSubscription_NextMsg(&message, subscription, JS_WAIT_MS), NATS_OK);
        assert_int_equal(natsMsg_GetMetaData(&data, message), NATS_OK);
        assert_int_equal(data->Sequence.Stream, i);
        assert_int_equal(data->Sequence.Consumer, i);
        assert_int_equal(data->NumDelivered, 1);
        jsMsgMetaData_Destroy(data);
        natsMsg_Destroy(message);
    }
}

// The first messages come with the consumer where somebody listens (delivery.h), the rest behind them; where nobody does
// all wait.
static void what_a_new_consumer_pushes_is_whole(void **state) {
    js_fixture *of = *state;
    enum { COUNT = 100, FEW = 10 };
    natsSubscription *subscriptions[3] = {0};
    add_stream(of, "ORDERS", "orders.>");
    for (int i = 0; i < FEW; i++) (void)publish(of, "orders.1", "x");
    assert_int_equal(natsConnection_SubscribeSync(&subscriptions[0], of->connection, "to.few"), NATS_OK);
    make_pushing(of, "few", "to.few");
    expect_first_deliveries(subscriptions[0], 1, FEW);
    for (int i = FEW; i < COUNT; i++) (void)publish(of, "orders.1", "x");
    expect_first_deliveries(subscriptions[0], FEW + 1, COUNT);
    assert_int_equal(natsConnection_SubscribeSync(&subscriptions[1], of->connection, "to.many"), NATS_OK);
    make_pushing(of, "many", "to.many");
    expect_first_deliveries(subscriptions[1], 1, COUNT);
    make_pushing(of, "late", "to.late");
    assert_int_equal(natsConnection_SubscribeSync(&subscriptions[2], of->connection, "to.late"), NATS_OK);
    expect_first_deliveries(subscriptions[2], 1, COUNT);
    for (int i = 0; i < 3; i++) natsSubscription_Destroy(subscriptions[i]);
}

static void an_ordered_consumer_reads_all_with_flow_control(void **state) {
    js_fixture *of = *state;
    enum { COUNT = 3000, SIZE = 1000 };
    natsSubscription *subscription = NULL;
    jsErrCode code = 0;
    char *data = calloc(1, SIZE);
    assert_non_null(data);
    add_stream(of, "ORDERS", "orders.>");
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(js_PublishAsync(of->js, "orders.1", data, SIZE, NULL), NATS_OK);
    jsPubOptions options;
    assert_int_equal(jsPubOptions_Init(&options), NATS_OK);
    options.MaxWait = JS_WAIT_MS;
    assert_int_equal(js_PublishAsyncComplete(of->js, &options), NATS_OK);
    free(data);
    jsSubOptions ordered;
    assert_int_equal(jsSubOptions_Init(&ordered), NATS_OK);
    ordered.Ordered = true;
    natsStatus status = js_SubscribeSync(&subscription, of->js, "orders.>", NULL, &ordered, &code);
    if (status != NATS_OK) fail_msg("%s, %d", natsStatus_GetText(status), (int)code);
    for (int i = 0; i < COUNT; i++) {
        natsMsg *message = NULL;
        assert_int_equal(natsSubscription_NextMsg(&message, subscription, JS_WAIT_MS), NATS_OK);
        jsMsgMetaData *meta = NULL;
        assert_int_equal(natsMsg_GetMetaData(&meta, message), NATS_OK);
        assert_int_equal(meta->Sequence.Stream, i + 1);
        assert_int_equal(meta->NumPending, COUNT - 1 - i);
        jsMsgMetaData_Destroy(meta);
        natsMsg_Destroy(message);
    }
    natsSubscription_Destroy(subscription);
}

// ---- Newer than libnats -----------------------------------------------------------------------------------

static char *batch_message(const js_fixture *of, const char *id, int number, const char *commit,
                           const char *subject, const char *expected_last) {
    char sequence[16];
    const char *headers[4][2] = {{"Nats-Batch-Id", id}, {"Nats-Batch-Sequence", sequence}};
    size_t count = 2;
    (void)snprintf(sequence, sizeof sequence, "%d", number);
    if (commit != NULL) {
        headers[count][0] = "Nats-Batch-Commit";
        headers[count++][1] = commit;
    }
    if (expected_last != NULL) {
        headers[count][0] = "Nats-Expected-Last-Subject-Sequence";
        headers[count++][1] = expected_last;
    }
    return js_ask_with(of, subject, headers, count, "x");
}

static uint64_t stored_count(const js_fixture *of, const char *name) {
    jsStreamInfo *info = NULL;
    assert_int_equal(js_GetStreamInfo(&info, of->js, name, NULL, NULL), NATS_OK);
    uint64_t count = info->State.Msgs;
    jsStreamInfo_Destroy(info);
    return count;
}

static void check_and_free(char *answer, const char *expected) {
    if (strstr(answer, expected) == NULL) fail_msg("%s instead of %s", answer, expected);
    free(answer);
}

// An acknowledgement without data: there is no more to say yet.
static void check_empty_and_free(char *answer) {
    assert_string_equal(answer, "");
    free(answer);
}

static void a_batch_is_stored_all_or_none(void **state) {
    js_fixture *of = *state;
    js_check(of, "$JS.API.STREAM.CREATE.B",
             "{\"name\":\"B\",\"subjects\":[\"b.>\"],\"allow_atomic\":true,\"allow_direct\":true}",
             "\"allow_atomic\":true");
    check_empty_and_free(batch_message(of, "one", 1, NULL, "b.1", "0"));
    check_empty_and_free(batch_message(of, "one", 2, NULL, "b.2", NULL));
    assert_int_equal(stored_count(of, "B"), 0);
    check_and_free(batch_message(of, "one", 3, "1", "b.1", NULL), "\"batch\":\"one\",\"count\":3");
    assert_int_equal(stored_count(of, "B"), 3);
    // A condition that fails, a gap, no beginning.
    check_empty_and_free(batch_message(of, "two", 1, NULL, "b.1", "1"));
    check_and_free(batch_message(of, "two", 2, "1", "b.3", NULL), "\"err_code\":10071");
    check_empty_and_free(batch_message(of, "three", 1, NULL, "b.1", NULL));
    check_and_free(batch_message(of, "three", 3, "1", "b.1", NULL), "\"err_code\":10176");
    check_and_free(batch_message(of, "three", 2, "1", "b.1", NULL), "\"err_code\":10176");
    check_and_free(batch_message(of, "four", 1, "no", "b.1", NULL), "\"err_code\":10200");
    assert_int_equal(stored_count(of, "B"), 3);
    check_and_free(batch_message(of, "five", 1, "1", "b.1", "3"), "\"count\":1");
    assert_int_equal(stored_count(of, "B"), 4);
    // What waits when the server stops is not stored, and nothing waits for it.
    check_empty_and_free(batch_message(of, "six", 1, NULL, "b.1", NULL));
}

// The status of the next message of an inbox; or 0, and its sequence numbers: it is acknowledged then.
static int next_of(const js_fixture *of, natsSubscription *inbox, int *stream_seq_out,
                   int *consumer_seq_out) {
    natsMsg *message = NULL;
    const char *status = NULL;
    int code = 0;
    assert_int_equal(natsSubscription_NextMsg(&message, inbox, JS_WAIT_MS), NATS_OK);
    if (natsMsgHeader_Get(message, "Status", &status) == NATS_OK) {
        code = (int)strtol(status, NULL, 10);
    } else {
        const char *reply = natsMsg_GetReply(message);
        assert_int_equal(sscanf(reply, "$JS.ACK.ORDERS.mail.1.%d.%d.", stream_seq_out, consumer_seq_out), 2);
        assert_int_equal(natsConnection_PublishString(of->connection, reply, "+ACK"), NATS_OK);
    }
    natsMsg_Destroy(message);
    return code;
}

static void expect_next(const js_fixture *of, natsSubscription *inbox, int number) {
    int stream_seq = 0, consumer_seq = 0;
    assert_int_equal(next_of(of, inbox, &stream_seq, &consumer_seq), 0);
    assert_int_equal(stream_seq, number);
    assert_int_equal(consumer_seq, number);
}

static void expect_status(const js_fixture *of, natsSubscription *inbox, int status) {
    int stream_seq = 0, consumer_seq = 0;
    assert_int_equal(next_of(of, inbox, &stream_seq, &consumer_seq), status);
}

static natsSubscription *pull(const js_fixture *of, const char *inbox, const char *request) {
    natsSubscription *subscription = js_listen(of, inbox);
    js_send(of, "$JS.API.CONSUMER.MSG.NEXT.ORDERS.mail", inbox, request);
    return subscription;
}

static void make_mail(const js_fixture *of, const char *settings) {
    char request[256];
    (void)snprintf(
        request, sizeof request,
        "{\"stream_name\":\"ORDERS\",\"config\":{\"durable_name\":\"mail\",\"ack_policy\":\"explicit\"%s}}",
        settings);
    add_stream(of, "ORDERS", "orders.>");
    js_check(of, "$JS.API.CONSUMER.DURABLE.CREATE.ORDERS.mail", request, "\"name\":\"mail\"");
}

static void a_request_gets_as_many_bytes_as_it_asks_for(void **state) {
    js_fixture *of = *state;
    make_mail(of, "");
    for (int i = 0; i < 5; i++) (void)publish(of, "orders.a", "0123456789");
    // A message has 65 bytes: its subject 8, its data 10, $JS.ACK.ORDERS.mail.1.1.1.<19 digits>.4 the rest.
    natsSubscription *inbox =
        pull(of, "inbox.bytes", "{\"batch\":10,\"max_bytes\":150,\"expires\":9000000000}");
    expect_next(of, inbox, 1);
    expect_next(of, inbox, 2);
    expect_status(of, inbox, 409);
    natsSubscription_Destroy(inbox);
    inbox = pull(of, "inbox.few", "{\"batch\":10,\"max_bytes\":20,\"expires\":9000000000}");
    expect_status(of, inbox, 409);
    natsSubscription_Destroy(inbox);
}

static void a_request_that_does_not_wait_waits_for_answers(void **state) {
    js_fixture *of = *state;
    make_mail(of, ",\"max_ack_pending\":1");
    for (int i = 0; i < 3; i++) (void)publish(of, "orders.a", "x");
    natsSubscription *inbox = pull(of, "inbox.none", "{\"batch\":5,\"no_wait\":true}");
    for (int i = 1; i <= 3; i++) expect_next(of, inbox, i);
    expect_status(of, inbox, 408);
    natsSubscription_Destroy(inbox);
    inbox = pull(of, "inbox.empty", "{\"batch\":5,\"no_wait\":true}");
    expect_status(of, inbox, 404);
    natsSubscription_Destroy(inbox);
}

static void a_push_consumer_in_use_is_not_taken_away(void **state) {
    js_fixture *of = *state;
    natsSubscription *inbox = NULL;
    const char *create = "$JS.API.CONSUMER.DURABLE.CREATE.ORDERS.mail";
    const char *one = "{\"stream_name\":\"ORDERS\",\"config\":{\"durable_name\":\"mail\","
                      "\"ack_policy\":\"explicit\",\"deliver_subject\":\"to.one\"}}";
    const char *two = "{\"stream_name\":\"ORDERS\",\"config\":{\"durable_name\":\"mail\","
                      "\"ack_policy\":\"explicit\",\"deliver_subject\":\"to.two\"}}";
    add_stream(of, "ORDERS", "orders.>");
    assert_int_equal(natsConnection_SubscribeSync(&inbox, of->connection, "to.one"), NATS_OK);
    js_check(of, create, one, "\"name\":\"mail\"");
    js_check(of, create, two, "\"err_code\":10013");
    natsSubscription_Destroy(inbox);
    js_check(of, create, two, "\"deliver_subject\":\"to.two\"");
}

static void what_is_not_done_is_refused(void **state) {
    js_fixture *of = *state;
    js_check(of, "$JS.API.STREAM.CREATE.S",
             "{\"name\":\"S\",\"subjects\":[\"s\"],\"allow_msg_counter\":true}", "\"err_code\":10052");
}

// What a direct get gives, as "<seq>:<pending> " for each message and the status of the end.
static void get_many(const js_fixture *of, const char *request, const char *expected) {
    natsSubscription *inbox = NULL;
    char got[512] = "";
    bool is_over = false;
    assert_int_equal(natsConnection_SubscribeSync(&inbox, of->connection, "inbox.many"), NATS_OK);
    assert_int_equal(
        natsConnection_PublishRequestString(of->connection, "$JS.API.DIRECT.GET.B", "inbox.many", request),
        NATS_OK);
    while (!is_over) {
        natsMsg *message = NULL;
        const char *status = NULL, *seq = NULL, *pending = NULL;
        assert_int_equal(natsSubscription_NextMsg(&message, inbox, JS_WAIT_MS), NATS_OK);
        is_over = natsMsgHeader_Get(message, "Status", &status) == NATS_OK;
        if (natsMsgHeader_Get(message, "Nats-Sequence", &seq) != NATS_OK) seq = "";
        if (natsMsgHeader_Get(message, "Nats-Num-Pending", &pending) != NATS_OK) pending = "";
        size_t size = strlen(got);
        (void)snprintf(got + size, sizeof got - size, "%s:%s ", is_over ? status : seq, pending);
        natsMsg_Destroy(message);
    }
    natsSubscription_Destroy(inbox);
    assert_string_equal(got, expected);
}

static void many_messages_are_got_at_once(void **state) {
    js_fixture *of = *state;
    add_stream(of, "B", "b.>");
    for (int i = 0; i < 6; i++) (void)publish(of, i % 2 == 0 ? "b.even" : "b.odd", "x");
    get_many(of, "{\"seq\":1,\"batch\":3}", "1:5 2:4 3:3 204:3 ");
    get_many(of, "{\"seq\":2,\"batch\":10,\"next_by_subj\":\"b.odd\"}", "2:2 4:1 6:0 204:0 ");
    get_many(of, "{\"multi_last\":[\"b.*\"]}", "5:1 6:0 204:0 ");
    get_many(of, "{\"multi_last\":[\"b.*\"],\"up_to_seq\":4}", "3:1 4:0 204:0 ");
    get_many(of, "{\"multi_last\":[\"b.none\"]}", "404: ");
    get_many(of, "{\"seq\":9,\"batch\":3}", "404: ");
    get_many(of, "{\"batch\":3}", "408: ");
}

// Each says how many are left, whether all are in one piece of the answer (512 at most) or not.
static void what_is_left_is_told_with_each(void **state) {
    enum { EVEN = 600, ALL = 2 * EVEN };
    js_fixture *of = *state;
    natsSubscription *inbox = NULL;
    add_stream(of, "B", "b.>");
    for (int i = 0; i < ALL; i++) (void)publish(of, i % 2 == 0 ? "b.even" : "b.odd", "x");
    assert_int_equal(natsConnection_SubscribeSync(&inbox, of->connection, "inbox.all"), NATS_OK);
    const struct {
        const char *request;
        int count, left; // how many come, and how many are left behind the last
    } cases[] = {{"{\"seq\":1,\"batch\":1000,\"next_by_subj\":\"b.even\"}", EVEN, 0},
                 {"{\"seq\":1,\"batch\":600,\"next_by_subj\":\"b.even\"}", EVEN, 0},
                 {"{\"seq\":1,\"batch\":550,\"next_by_subj\":\"b.*\"}", 550, ALL - 550},
                 {"{\"seq\":1,\"batch\":512}", 512, ALL - 512},
                 {"{\"seq\":1,\"batch\":7,\"next_by_subj\":\"b.odd\"}", 7, EVEN - 7},
                 {"{\"seq\":1191,\"batch\":50,\"next_by_subj\":\"b.odd\"}", 5, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(natsConnection_PublishRequestString(of->connection, "$JS.API.DIRECT.GET.B",
                                                             "inbox.all", cases[i].request),
                         NATS_OK);
        for (int at = cases[i].count; at >= 0; at--) { // and the end
            natsMsg *message = NULL;
            const char *pending = NULL, *status = NULL;
            assert_int_equal(natsSubscription_NextMsg(&message, inbox, JS_WAIT_MS), NATS_OK);
            assert_int_equal(natsMsgHeader_Get(message, "Nats-Num-Pending", &pending), NATS_OK);
            assert_int_equal(strtol(pending, NULL, 10), cases[i].left + (at > 0 ? at - 1 : 0));
            assert_int_equal(natsMsgHeader_Get(message, "Status", &status) == NATS_OK, at == 0);
            if (at > 0) assert_memory_equal(natsMsg_GetData(message), "x", 1);
            natsMsg_Destroy(message);
        }
    }
    natsSubscription_Destroy(inbox);
}

// ---- Buckets ----------------------------------------------------------------------------------------------

static void buckets_keep_values(void **state) {
    js_fixture *of = *state;
    kvStore *bucket = NULL;
    kvEntry *entry = NULL;
    kvWatcher *watcher = NULL;
    uint64_t revision = 0;
    kvConfig config;
    assert_int_equal(kvConfig_Init(&config), NATS_OK);
    config.Bucket = "settings";
    config.History = 3;
    assert_int_equal(js_CreateKeyValue(&bucket, of->js, &config), NATS_OK);
    assert_int_equal(kvStore_PutString(&revision, bucket, "color", "red"), NATS_OK);
    assert_int_equal(revision, 1);
    assert_int_equal(kvStore_CreateString(&revision, bucket, "color", "blue"), NATS_ERR);
    assert_int_equal(kvStore_UpdateString(&revision, bucket, "color", "green", 1), NATS_OK);
    assert_int_equal(kvStore_UpdateString(&revision, bucket, "color", "white", 1), NATS_ERR);
    assert_int_equal(kvStore_Get(&entry, bucket, "color"), NATS_OK);
    assert_string_equal(kvEntry_ValueString(entry), "green");
    assert_int_equal(kvEntry_Revision(entry), 2);
    kvEntry_Destroy(entry);
    assert_int_equal(kvStore_Get(&entry, bucket, "shape"), NATS_NOT_FOUND);
    assert_int_equal(kvStore_WatchAll(&watcher, bucket, NULL), NATS_OK);
    assert_int_equal(kvWatcher_Next(&entry, watcher, JS_WAIT_MS), NATS_OK);
    assert_string_equal(kvEntry_ValueString(entry), "green");
    kvEntry_Destroy(entry);
    assert_int_equal(kvWatcher_Next(&entry, watcher, JS_WAIT_MS), NATS_OK);
    assert_null(entry); // all of the present
    assert_int_equal(kvStore_Delete(bucket, "color"), NATS_OK);
    assert_int_equal(kvWatcher_Next(&entry, watcher, JS_WAIT_MS), NATS_OK);
    assert_int_equal(kvEntry_Operation(entry), kvOp_Delete);
    kvEntry_Destroy(entry);
    kvWatcher_Destroy(watcher);
    assert_int_equal(kvStore_CreateString(&revision, bucket, "color", "black"), NATS_OK);
    assert_int_equal(kvStore_Purge(bucket, "color", NULL), NATS_OK);
    assert_int_equal(kvStore_Get(&entry, bucket, "color"), NATS_NOT_FOUND);
    kvStore_Destroy(bucket);
    assert_int_equal(js_DeleteKeyValue(of->js, "settings"), NATS_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(publishes_are_kept_in_order, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(one_of_many_who_expect_wins, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(pulled_messages_come_once_acknowledged, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(a_waiting_pull_is_woken, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(what_is_given_back_comes_again, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(pushed_messages_come, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(what_a_new_consumer_pushes_is_whole, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(an_ordered_consumer_reads_all_with_flow_control, set_up,
                                        js_tear_down),
        cmocka_unit_test_setup_teardown(a_batch_is_stored_all_or_none, set_up_2_12, js_tear_down),
        cmocka_unit_test_setup_teardown(a_request_gets_as_many_bytes_as_it_asks_for, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(a_request_that_does_not_wait_waits_for_answers, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(a_push_consumer_in_use_is_not_taken_away, set_up, js_tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_done_is_refused, set_up_2_12, js_tear_down),
        cmocka_unit_test_setup_teardown(many_messages_are_got_at_once, set_up_2_12, js_tear_down),
        cmocka_unit_test_setup_teardown(what_is_left_is_told_with_each, set_up_2_12, js_tear_down),
        cmocka_unit_test_setup_teardown(buckets_keep_values, set_up, js_tear_down),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    nats_Close();
    return failed;
}
