// SPDX-License-Identifier: Apache-2.0
#include "server/js_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/folder.h"

static void say(void *context, int level, daybook_slice line) {
    (void)context;
    if (level <= DAYBOOK_SERVER_LOG_WARNING) print_message("%.*s\n", (int)line.size, (const char *)line.data);
}

void js_start(js_fixture *of) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_server_options options;
    daybook_server_options_init(&options);
    options.host = "127.0.0.1";
    options.port = -1;
    options.store_dir = of->folder;
    options.overrides = daybook_text(of->overrides);
    options.log = say;
    if (daybook_server_start(&options, &of->server, &error) != DAYBOOK_OK) fail_msg("%s", error.message);
    assert_int_equal(natsConnection_ConnectTo(&of->connection, daybook_server_url(of->server)), NATS_OK);
    assert_int_equal(natsConnection_JetStream(&of->js, of->connection, NULL), NATS_OK);
}

void js_stop(js_fixture *of) {
    daybook_error error;
    daybook_error_init(&error);
    jsCtx_Destroy(of->js);
    natsConnection_Destroy(of->connection);
    if (daybook_server_stop(of->server, &error) != DAYBOOK_OK) fail_msg("%s", error.message);
    of->server = NULL;
}

int js_set_up(void **state, const char *overrides) {
    js_fixture *of = calloc(1, sizeof *of);
    assert_non_null(of);
    of->overrides = overrides;
    assert_true(folder_make("jetstream", of->folder, sizeof of->folder));
    js_start(of);
    *state = of;
    return 0;
}

int js_tear_down(void **state) {
    js_fixture *of = *state;
    js_stop(of);
    assert_true(folder_remove(of->folder));
    free(of);
    return 0;
}

char *js_ask_with(const js_fixture *of, const char *subject, const char *headers[][2], size_t header_count,
                  const char *data) {
    natsMsg *request = NULL;
    natsMsg *reply = NULL;
    assert_int_equal(natsMsg_Create(&request, subject, NULL, data, (int)strlen(data)), NATS_OK);
    for (size_t i = 0; i < header_count; i++)
        assert_int_equal(natsMsgHeader_Set(request, headers[i][0], headers[i][1]), NATS_OK);
    assert_int_equal(natsConnection_RequestMsg(&reply, of->connection, request, JS_WAIT_MS), NATS_OK);
    natsMsg_Destroy(request);
    size_t size = (size_t)natsMsg_GetDataLength(reply);
    char *text = calloc(1, size + 1);
    assert_non_null(text);
    if (size > 0) memcpy(text, natsMsg_GetData(reply), size);
    natsMsg_Destroy(reply);
    return text;
}

char *js_ask(const js_fixture *of, const char *subject, const char *header, const char *value,
             const char *data) {
    const char *headers[1][2] = {{header, value}};
    return js_ask_with(of, subject, headers, header != NULL ? 1 : 0, data);
}

void js_check(const js_fixture *of, const char *subject, const char *data, const char *expected) {
    char *answer = js_ask(of, subject, NULL, NULL, data);
    if (strstr(answer, expected) == NULL) fail_msg("%s: no %s in %s", subject, expected, answer);
    free(answer);
}

void js_publish(const js_fixture *of, const char *subject, const char *data, uint64_t seq) {
    char expected[48];
    (void)snprintf(expected, sizeof expected, "\"seq\":%llu", (unsigned long long)seq);
    js_check(of, subject, data, expected);
}

natsSubscription *js_listen(const js_fixture *of, const char *subject) {
    natsSubscription *subscription = NULL;
    assert_int_equal(natsConnection_SubscribeSync(&subscription, of->connection, subject), NATS_OK);
    return subscription;
}

natsMsg *js_next(natsSubscription *subscription) {
    natsMsg *message = NULL;
    assert_int_equal(natsSubscription_NextMsg(&message, subscription, JS_WAIT_MS), NATS_OK);
    return message;
}

void js_check_next(natsSubscription *subscription, const char *subject, const char *data, const char *name,
                   const char *value) {
    natsMsg *message = js_next(subscription);
    assert_string_equal(natsMsg_GetSubject(message), subject);
    assert_int_equal(natsMsg_GetDataLength(message), strlen(data));
    if (*data != '\0') assert_memory_equal(natsMsg_GetData(message), data, strlen(data));
    if (name != NULL) {
        const char *had = NULL;
        assert_int_equal(natsMsgHeader_Get(message, name, &had), NATS_OK);
        assert_string_equal(had, value);
    }
    natsMsg_Destroy(message);
}

void js_check_status(natsSubscription *subscription, const char *code, const char *description) {
    natsMsg *message = js_next(subscription);
    const char *had = NULL;
    assert_int_equal(natsMsgHeader_Get(message, "Status", &had), NATS_OK);
    assert_string_equal(had, code);
    assert_int_equal(natsMsgHeader_Get(message, "Description", &had), NATS_OK);
    assert_string_equal(had, description);
    natsMsg_Destroy(message);
}

void js_check_silence(natsSubscription *subscription) {
    natsMsg *message = NULL;
    assert_int_equal(natsSubscription_NextMsg(&message, subscription, JS_SHORT_MS), NATS_TIMEOUT);
}

void js_send(const js_fixture *of, const char *subject, const char *reply, const char *data) {
    assert_int_equal(natsConnection_PublishRequestString(of->connection, subject, reply, data), NATS_OK);
}
