// SPDX-License-Identifier: Apache-2.0
// See denied.h: a service for each call there is, so that other subjects have no responder.
#include "jetstream/denied.h"

#include <stdio.h>

#include "base/assert.h"
#include "broker/broker.h"
#include "jetstream/api_call.h"

enum { CALLS_MAX = 64, FILTER_MAX = 64, ANSWER_SIZE_MAX = 4096 };

typedef struct denied_call {
    dbk_broker *broker;
    dbk_service *service;
    dbk_api_answer kind;
} denied_call;

struct dbk_js_denied {
    const daybook_allocator *allocator;
    size_t count;
    denied_call calls[CALLS_MAX];
};

static void refuse(void *context, dbk_client *from, const dbk_message *message) {
    const denied_call *call = context;
    dbk_api_error error;
    dbk_buf out;
    (void)from;
    (void)dbk_api_fail(&error, DBK_API_ERR_NOT_ENABLED_FOR_ACCOUNT);
    dbk_buf_init(&out, call->broker->allocator, ANSWER_SIZE_MAX);
    dbk_api_write_failure(&out, call->kind, &error);
    if (dbk_buf_status(&out) == DAYBOOK_OK)
        (void)dbk_broker_reply(call->broker, message->reply, daybook_bytes(NULL, 0),
                               daybook_bytes(out.data, out.size));
    dbk_buf_deinit(&out);
}

daybook_status dbk_js_denied_start(dbk_broker *broker, dbk_js_denied **denied_out) {
    char filter[FILTER_MAX];
    const char *rest;
    dbk_api_answer kind;
    dbk_js_denied *denied = *denied_out = dbk_alloc_zeroed(broker->allocator, sizeof *denied);
    if (denied == NULL) return DAYBOOK_ENOMEM;
    denied->allocator = broker->allocator;
    while (dbk_js_call_kind(denied->count, &rest, &kind)) {
        DBK_ASSERT(denied->count < CALLS_MAX);
        denied_call *call = &denied->calls[denied->count++];
        *call = (denied_call){.broker = broker, .kind = kind};
        (void)snprintf(filter, sizeof filter, "$JS.API.%s", rest);
        DBK_TRY(dbk_service_add(broker, daybook_text(filter), DBK_SERVICE_OF_CLIENTS, refuse, call,
                                &call->service));
    }
    return DAYBOOK_OK;
}

void dbk_js_denied_free(dbk_js_denied *denied) {
    if (denied == NULL) return;
    for (size_t i = 0; i < denied->count; i++) dbk_service_remove(denied->calls[i].service);
    dbk_free(denied->allocator, denied);
}
