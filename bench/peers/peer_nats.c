// SPDX-License-Identifier: Apache-2.0
// NATS JetStream by its C client: a file stream on orders.<aggregate>, expected last sequence per subject,
// ids by Nats-Msg-Id (remembered for two minutes). The server of `run` is reached at --mode, as
// "<settings>=<url>". Weaker than what the others promise: a batch is published without waiting in between,
// so it is not atomic, and only the first event of an aggregate carries an expectation in it; ids are
// forgotten. An aggregate is loaded by one direct get after the other, the way these versions offer to a
// reader without a consumer.
#include "peer.h"

#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char settings[64], url[128];

typedef struct client {
    natsConnection *connection;
    jsCtx *stream;
    uint64_t last_seq; // of the aggregate in work
} client;

static void check(natsStatus status) {
    if (status != NATS_OK) die("%s (%s)", natsStatus_GetText(status), nats_GetLastError(NULL));
}

static const char *version(void) {
    static char text[64];
    natsConnection *connection;
    check(natsConnection_ConnectTo(&connection, url));
    char server[32] = "";
    natsConnection_GetConnectedServerId(connection, server, sizeof server);
    natsConnection_Destroy(connection);
    const char *known = getenv("PEER_VERSION");
    snprintf(text, sizeof text, "%s", known != NULL ? known : "?");
    return text;
}

static void *join(void *context) {
    (void)context;
    client *own = need(calloc(1, sizeof *own));
    check(natsConnection_ConnectTo(&own->connection, url));
    jsOptions options;
    jsOptions_Init(&options);
    options.PublishAsync.MaxPending = 4096;
    options.Wait = 30000;
    check(natsConnection_JetStream(&own->stream, own->connection, &options));
    return own;
}

static void leave(void *context) {
    client *own = context;
    jsCtx_Destroy(own->stream);
    natsConnection_Destroy(own->connection);
    free(own);
}

static void *open_store(const char *directory, const char *mode) {
    (void)directory;
    const char *divider = strchr(mode, '=');
    if (divider == NULL) die("--mode wants <settings>=<url>");
    snprintf(settings, sizeof settings, "%.*s", (int)(divider - mode), mode);
    snprintf(url, sizeof url, "%s", divider + 1);
    client *own = join(NULL);
    const char *subjects[] = {"orders.>"};
    jsStreamConfig config;
    jsStreamConfig_Init(&config);
    config.Name = "ORDERS";
    config.Subjects = subjects;
    config.SubjectsLen = 1;
    config.AllowDirect = true;
    check(js_AddStream(NULL, own->stream, &config, NULL, NULL));
    return own;
}

static natsMsg *make_message(const peer_event *event) {
    char subject[64];
    snprintf(subject, sizeof subject, "orders.%s", event->aggregate);
    natsMsg *message;
    check(natsMsg_Create(&message, subject, NULL, event->data, (int)event->data_size));
    char step[12];
    snprintf(step, sizeof step, "%u", event->version);
    check(natsMsgHeader_Set(message, "Version", step));
    check(natsMsgHeader_Set(message, "Type", event->type));
    return message;
}

static void append_one(client *own, const peer_event *event) {
    if (event->version == 1) own->last_seq = 0;
    natsMsg *message = make_message(event);
    jsPubOptions options;
    jsPubOptions_Init(&options);
    options.MsgId = event->id;
    if (event->version == 1) {
        options.ExpectNoMessage = false;
        check(natsMsgHeader_Set(message, "Nats-Expected-Last-Subject-Sequence", "0"));
    } else {
        options.ExpectLastSubjectSeq = own->last_seq;
    }
    jsPubAck *answer = NULL;
    check(js_PublishMsg(&answer, own->stream, message, &options, NULL));
    own->last_seq = answer->Sequence;
    if (answer->Duplicate) die("an id is known");
    jsPubAck_Destroy(answer);
    natsMsg_Destroy(message);
}

static void append(void *context, const peer_event *events, size_t count) {
    client *own = context;
    if (count == 1) {
        append_one(own, events);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        natsMsg *message = make_message(&events[i]);
        if (events[i].version == 1)
            check(natsMsgHeader_Set(message, "Nats-Expected-Last-Subject-Sequence", "0"));
        jsPubOptions options;
        jsPubOptions_Init(&options);
        options.MsgId = events[i].id;
        check(js_PublishMsgAsync(own->stream, &message, &options));
    }
    jsPubOptions options;
    jsPubOptions_Init(&options);
    options.MaxWait = 60000;
    check(js_PublishAsyncComplete(own->stream, &options));
    natsMsgList unacknowledged;
    if (js_PublishAsyncGetPendingList(&unacknowledged, own->stream) == NATS_OK && unacknowledged.Count > 0)
        die("%d events of a batch were not acknowledged", unacknowledged.Count);
}

static void visit_message(natsMsg *message, peer_visit visit, void *context) {
    const char *step = "0";
    check(natsMsgHeader_Get(message, "Version", &step));
    visit(context, (unsigned)strtoul(step, NULL, 10), natsMsg_GetData(message),
          (size_t)natsMsg_GetDataLength(message));
}

static void load(void *context, const char *aggregate, peer_visit visit, void *visit_context) {
    client *own = context;
    char subject[64];
    snprintf(subject, sizeof subject, "orders.%s", aggregate);
    uint64_t seq = 1;
    for (;;) {
        jsDirectGetMsgOptions options;
        jsDirectGetMsgOptions_Init(&options);
        options.NextBySubject = subject;
        options.Sequence = seq;
        natsMsg *message = NULL;
        natsStatus status = js_DirectGetMsg(&message, own->stream, "ORDERS", NULL, &options);
        if (status == NATS_NOT_FOUND) return;
        check(status);
        seq = natsMsg_GetSequence(message) + 1;
        visit_message(message, visit, visit_context);
        natsMsg_Destroy(message);
    }
}

// An ordered consumer, as a client replays a stream.
static void replay(void *context, peer_visit visit, void *visit_context) {
    client *own = context;
    jsStreamInfo *info = NULL;
    check(js_GetStreamInfo(&info, own->stream, "ORDERS", NULL, NULL));
    uint64_t left = info->State.Msgs;
    jsStreamInfo_Destroy(info);
    jsSubOptions options;
    jsSubOptions_Init(&options);
    options.Ordered = true;
    natsSubscription *subscription;
    check(js_SubscribeSync(&subscription, own->stream, "orders.>", NULL, &options, NULL));
    check(natsSubscription_SetPendingLimits(subscription, -1, -1));
    for (; left > 0; left--) {
        natsMsg *message;
        check(natsSubscription_NextMsg(&message, subscription, 30000));
        visit_message(message, visit, visit_context);
        natsMsg_Destroy(message);
    }
    natsSubscription_Destroy(subscription);
}

const peer peer_here = {.name = "NATS JetStream",
                        .settings = settings,
                        .version = version,
                        .open = open_store,
                        .join = join,
                        .append = append,
                        .load = load,
                        .replay = replay,
                        .leave = leave,
                        .close = leave};
