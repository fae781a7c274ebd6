// SPDX-License-Identifier: Apache-2.0
// A server in a program: two calls, and what the program appends to its store and what clients of NATS publish is one stream. Here
// the client is in the same program; any other, in any language, connects to the same address.
//
//     cc server.c $(pkg-config --cflags --libs daybook daybook-server libnats)
//     ./a.out desk        (a directory; it is created)
#include <daybook/daybook.h>
#include <daybook/server.h>
#include <inttypes.h>
#include <nats/nats.h>
#include <stdio.h>

static int fail(const char *what, daybook_status status, const daybook_error *error) {
    fprintf(stderr, "%s: %s: %s\n", what, daybook_status_name(status), error->message);
    return 1;
}

// The program's own event. Its stream ORDERS is made with it.
static daybook_status append(daybook_store *store, daybook_error *error) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("orders.1.placed");
    event.data = daybook_text("{\"total\":42}");
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    return daybook_append(store, &event, 1, &options, NULL, error);
}

// What a client does: it reads what was appended, and publishes. The publish is on disk when it is acknowledged.
static natsStatus use(jsCtx *jetstream) {
    natsSubscription *subscription = NULL;
    natsMsg *message = NULL;
    jsPubAck *ack = NULL;
    natsStatus status = js_SubscribeSync(&subscription, jetstream, "orders.>", NULL, NULL, NULL);
    if (status == NATS_OK) status = natsSubscription_NextMsg(&message, subscription, 10000);
    if (status == NATS_OK)
        printf("the client got %s %s\n", natsMsg_GetSubject(message), natsMsg_GetData(message));
    if (status == NATS_OK)
        status = js_Publish(&ack, jetstream, "orders.1.paid", "{\"by\":\"card\"}", 13, NULL, NULL);
    if (status == NATS_OK) printf("the client's publish is %s %" PRIu64 "\n", ack->Stream, ack->Sequence);
    jsPubAck_Destroy(ack);
    natsMsg_Destroy(message);
    natsSubscription_Destroy(subscription);
    return status;
}

static int serve_a_client(const char *url) {
    natsConnection *connection = NULL;
    jsCtx *jetstream = NULL;
    natsStatus status = natsConnection_ConnectTo(&connection, url);
    if (status == NATS_OK) status = natsConnection_JetStream(&jetstream, connection, NULL);
    if (status == NATS_OK) status = use(jetstream);
    if (status != NATS_OK) fprintf(stderr, "the client: %s\n", natsStatus_GetText(status));
    jsCtx_Destroy(jetstream);
    natsConnection_Destroy(connection);
    nats_Close();
    return status == NATS_OK ? 0 : 1;
}

static daybook_status print_events(daybook_store *store, daybook_error *error) {
    daybook_query query;
    daybook_query_init(&query);
    daybook_cursor *cursor;
    daybook_recorded_event event;
    daybook_status status = daybook_read(store, &query, &cursor, error);
    if (status != DAYBOOK_OK) return status;
    while ((status = daybook_cursor_next(cursor, 0, &event, error)) == DAYBOOK_OK)
        printf("the program reads %.*s %.*s\n", (int)event.event.subject.size,
               (const char *)event.event.subject.data, (int)event.event.data.size,
               (const char *)event.event.data.data);
    daybook_cursor_close(cursor);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

int main(int argc, char **argv) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_store *store = NULL;
    daybook_status status = daybook_open(argc > 1 ? argv[1] : ":memory:", NULL, &store, &error);
    if (status != DAYBOOK_OK) return fail("open", status, &error);

    daybook_server_options options;
    daybook_server_options_init(&options);
    options.host = "127.0.0.1";
    options.port = -1; // any free one; daybook_server_url says which
    options.store = store;
    daybook_server *server = NULL;
    status = daybook_server_start(&options, &server, &error);
    if (status != DAYBOOK_OK) {
        (void)daybook_close(store, NULL);
        return fail("start", status, &error);
    }

    int failed = 0;
    if ((status = append(store, &error)) != DAYBOOK_OK) failed = fail("append", status, &error);
    if (!failed) failed = serve_a_client(daybook_server_url(server));
    if (!failed && (status = print_events(store, &error)) != DAYBOOK_OK)
        failed = fail("read", status, &error);

    status = daybook_server_stop(server, &error); // before the store
    if (status != DAYBOOK_OK) failed = fail("stop", status, &error);
    status = daybook_close(store, &error);
    if (status != DAYBOOK_OK) failed = fail("close", status, &error);
    return failed;
}
