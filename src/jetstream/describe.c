// SPDX-License-Identifier: Apache-2.0
// See describe.h: the handlers of the API, called without a client.
#include "jetstream/describe.h"

#include <stdio.h>
#include <string.h>

#include "daybook/consumer.h"
#include "daybook/stream.h"
#include "jetstream/api_call.h"

enum { ARENA_SIZE = 8 * 1024 };

static bool describe(dbk_js_call *call, void (*handler)(dbk_js_call *call), dbk_buf *answer) {
    if (dbk_arena_new(call->jetstream->allocator, ARENA_SIZE, &call->arena) != DAYBOOK_OK) return false;
    call->answer = *answer;
    handler(call);
    *answer = call->answer;
    dbk_arena_free(call->arena);
    return !call->has_failed && dbk_buf_status(answer) == DAYBOOK_OK;
}

static dbk_js_call make_call(dbk_jetstream *jetstream, const dbk_js_settings *settings, dbk_api_answer kind,
                             const char *subject) {
    return (dbk_js_call){
        .jetstream = jetstream, .settings = *settings, .kind = kind, .subject = daybook_text(subject)};
}

bool dbk_jetstream_describe_stream(dbk_jetstream *jetstream, const dbk_js_settings *settings,
                                   dbk_slice stream, dbk_buf *answer) {
    char subject[512];
    int size =
        snprintf(subject, sizeof subject, "STREAM.INFO.%.*s", (int)stream.size, (const char *)stream.data);
    if (size < 0 || (size_t)size >= sizeof subject) return false;
    dbk_js_call call = make_call(jetstream, settings, DBK_API_STREAM_INFO, subject);
    return describe(&call, dbk_js_stream_info, answer);
}

bool dbk_jetstream_describe_consumer(dbk_jetstream *jetstream, const dbk_js_settings *settings,
                                     dbk_slice stream, dbk_slice consumer, dbk_buf *answer) {
    char subject[1024];
    int size = snprintf(subject, sizeof subject, "CONSUMER.INFO.%.*s.%.*s", (int)stream.size,
                        (const char *)stream.data, (int)consumer.size, (const char *)consumer.data);
    if (size < 0 || (size_t)size >= sizeof subject) return false;
    dbk_js_call call = make_call(jetstream, settings, DBK_API_CONSUMER_INFO, subject);
    return describe(&call, dbk_js_consumer_info, answer);
}
