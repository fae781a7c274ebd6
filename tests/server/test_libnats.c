// SPDX-License-Identifier: Apache-2.0
// A server inside this process and the C client of NATS: publish, subscribe, request and reply, drain.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nats/nats.h>

#include <cmocka.h>

#include "daybook/server.h"

static daybook_server *server;
static natsConnection *connection;

static int start(void **unused) {
    (void)unused;
    daybook_server_options options;
    daybook_server_options_init(&options);
    options.host = "127.0.0.1";
    options.port = -1;
    if (daybook_server_start(&options, &server, NULL) != DAYBOOK_OK) return -1;
    return natsConnection_ConnectTo(&connection, daybook_server_url(server)) == NATS_OK ? 0 : -1;
}

static int stop(void **unused) {
    (void)unused;
    natsConnection_Destroy(connection);
    nats_Close();
    return daybook_server_stop(server, NULL) == DAYBOOK_OK ? 0 : -1;
}

static void publish_and_subscribe(void **unused) {
    (void)unused;
    natsSubscription *subscription;
    assert_int_equal(natsConnection_SubscribeSync(&subscription, connection, "orders.*"), NATS_OK);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(natsConnection_PublishString(connection, "orders.created", "hello"), NATS_OK);
    }
    for (int i = 0; i < 1000; i++) {
        natsMsg *message;
        assert_int_equal(natsSubscription_NextMsg(&message, subscription, 10000), NATS_OK);
        assert_string_equal(natsMsg_GetSubject(message), "orders.created");
        assert_int_equal(natsMsg_GetDataLength(message), 5);
        natsMsg_Destroy(message);
    }
    natsSubscription_Destroy(subscription);
}

static void answer(natsConnection *to, natsSubscription *subscription, natsMsg *message, void *context) {
    (void)subscription;
    (void)context;
    natsConnection_PublishString(to, natsMsg_GetReply(message), "here");
    natsMsg_Destroy(message);
}

static void request_and_reply(void **unused) {
    (void)unused;
    natsSubscription *subscription;
    natsMsg *message;
    assert_int_equal(natsConnection_RequestString(&message, connection, "nobody", "hello", 10000),
                     NATS_NO_RESPONDERS);
    assert_int_equal(natsConnection_Subscribe(&subscription, connection, "help", answer, NULL), NATS_OK);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(natsConnection_RequestString(&message, connection, "help", "hello", 10000), NATS_OK);
        assert_memory_equal(natsMsg_GetData(message), "here", 4);
        natsMsg_Destroy(message);
    }
    natsSubscription_Destroy(subscription);
}

static void headers_and_large_payloads(void **unused) {
    (void)unused;
    natsSubscription *subscription;
    natsMsg *message, *got;
    assert_int_equal(natsConnection_SubscribeSync(&subscription, connection, "h"), NATS_OK);
    char *payload = malloc(1000000);
    assert_non_null(payload);
    memset(payload, 'p', 1000000);
    assert_int_equal(natsMsg_Create(&message, "h", NULL, payload, 1000000), NATS_OK);
    assert_int_equal(natsMsgHeader_Set(message, "Trace-Id", "42"), NATS_OK);
    assert_int_equal(natsConnection_PublishMsg(connection, message), NATS_OK);
    assert_int_equal(natsSubscription_NextMsg(&got, subscription, 10000), NATS_OK);
    const char *value = NULL;
    assert_int_equal(natsMsgHeader_Get(got, "Trace-Id", &value), NATS_OK);
    assert_string_equal(value, "42");
    assert_int_equal(natsMsg_GetDataLength(got), 1000000);
    assert_memory_equal(natsMsg_GetData(got), payload, 1000000);
    natsMsg_Destroy(got);
    natsMsg_Destroy(message);
    natsSubscription_Destroy(subscription);
    free(payload);
}

static void the_server_is_known(void **unused) {
    (void)unused;
    char id[100];
    assert_int_equal(natsConnection_GetConnectedServerId(connection, id, sizeof id), NATS_OK);
    assert_int_equal(strlen(id), 56);
    assert_int_equal(natsConnection_GetMaxPayload(connection), 1048576);
    int64_t rtt;
    assert_int_equal(natsConnection_GetRTT(connection, &rtt), NATS_OK);
    assert_int_equal(natsConnection_FlushTimeout(connection, 10000), NATS_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(publish_and_subscribe),
        cmocka_unit_test(request_and_reply),
        cmocka_unit_test(headers_and_large_payloads),
        cmocka_unit_test(the_server_is_known),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
