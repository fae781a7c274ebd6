// SPDX-License-Identifier: Apache-2.0
// A server with JetStream in the test's process, libnats connected to it, and requests as JSON text for what libnats has no
// calls for.
//
//     int set_up(void **state) { return js_set_up(state, "announced_version: \"2.12.3\""); }
//     js_check(of, "$JS.API.STREAM.CREATE.S", "{\"name\":\"S\"}", "\"did_create\":true");
//
// Everything fails the test that does not come within JS_WAIT_MS.
#ifndef DBK_TESTS_SERVER_JS_FIXTURE_H
#define DBK_TESTS_SERVER_JS_FIXTURE_H

#include <nats/nats.h>

#include "daybook/daybook.h"
#include "daybook/server.h"

enum { JS_WAIT_MS = 10000, JS_SHORT_MS = 200 };

typedef struct js_fixture {
    char folder[64];
    const char *overrides; // of its configuration
    daybook_server *server;
    natsConnection *connection;
    jsCtx *js;
} js_fixture;

/// For cmocka: `overrides` is static.
int js_set_up(void **state, const char *overrides);
int js_tear_down(void **state);
void js_stop(js_fixture *of);
void js_start(js_fixture *of);

/// The answer, NUL-terminated, to be freed. `header` may be NULL.
char *js_ask(const js_fixture *of, const char *subject, const char *header, const char *value,
             const char *data);
/// The same with several headers: names and values.
char *js_ask_with(const js_fixture *of, const char *subject, const char *headers[][2], size_t header_count,
                  const char *data);
/// The answer has this text.
void js_check(const js_fixture *of, const char *subject, const char *data, const char *expected);
/// A publish is acknowledged with `seq`.
void js_publish(const js_fixture *of, const char *subject, const char *data, uint64_t seq);
natsSubscription *js_listen(const js_fixture *of, const char *subject);
/// The next message, to be destroyed.
natsMsg *js_next(natsSubscription *subscription);
/// The next message has this subject, data and header; `name` may be NULL.
void js_check_next(natsSubscription *subscription, const char *subject, const char *data, const char *name,
                   const char *value);
/// The next one is a status: "408", "Request Timeout".
void js_check_status(natsSubscription *subscription, const char *code, const char *description);
/// Nothing comes for JS_SHORT_MS.
void js_check_silence(natsSubscription *subscription);
/// A request without waiting for its answer, which goes to `reply`.
void js_send(const js_fixture *of, const char *subject, const char *reply, const char *data);

#endif
