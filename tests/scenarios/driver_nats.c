// SPDX-License-Identifier: Apache-2.0
// Scenarios against a nats-server, through libnats: its JetStream calls where there are some (streams,
// publishing, purging, removing, restart), requests to $JS.API where there are none or where they hide what
// the server says (consumers with all of their settings, pulls with their statuses, answers to a chosen
// delivery).
//
// The server takes answers in the order they come, but later than the connection takes what follows. So
// each answer is followed by one that says nothing and wants a reply: when that is there, the answer has
// been taken.
//
// Two servers: one for all that run side by side, one for the scenarios that restart it (lane 0).
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <nats/nats.h>

#include "scenarios/driver.h"
#include "scenarios/nats_server.h"

enum { REPLIES_MAX = 512, REQUEST_MS = 10000, GRACE_MS = 2000, NO_WAIT_MS = 1500 };
#define MILLISECOND_NS INT64_C(1000000)

typedef struct servers {
    nats_server shared, own;
    bool has_own;
} servers;

// How a delivery is answered.
typedef struct delivery {
    char consumer[64];
    uint64_t seq;
    char reply[256];
} delivery;

struct scenario_session {
    nats_server *server;
    unsigned version;
    char stream[64];
    natsConnection *connection;
    jsCtx *js;
    natsSubscription *advisories;
    delivery deliveries[REPLIES_MAX];
    size_t delivery_count;
};

struct scenario_request {
    char consumer[64];
    natsSubscription *inbox;
    natsInbox *name;
    size_t count;
    int64_t until_ms; // by the library's clock
};

static scenario_outcome fail_with(natsStatus status, jsErrCode code, const char *what, char *why) {
    (void)snprintf(why, WHY_SIZE, "%s: %s (%d) %s", what, natsStatus_GetText(status), (int)code,
                   nats_GetLastError(NULL) == NULL ? "" : nats_GetLastError(NULL));
    return OUTCOME_BROKEN;
}

static scenario_outcome outcome_of(natsStatus status, jsErrCode code, const char *what, char *why) {
    if (status == NATS_OK) return OUTCOME_OK;
    (void)fail_with(status, code, what, why);
    return status == NATS_NOT_FOUND ? OUTCOME_ABSENT : OUTCOME_BROKEN;
}

// ---- Connections ------------------------------------------------------------------------------------------

static bool connect_to(scenario_session *session, char *why) {
    char subject[160];
    natsOptions *options = NULL;
    natsStatus status = natsOptions_Create(&options);
    if (status == NATS_OK) status = natsOptions_SetURL(options, session->server->url);
    if (status == NATS_OK) status = natsOptions_SetAllowReconnect(options, false);
    if (status == NATS_OK) status = natsConnection_Connect(&session->connection, options);
    natsOptions_Destroy(options);
    if (status == NATS_OK) status = natsConnection_JetStream(&session->js, session->connection, NULL);
    (void)snprintf(subject, sizeof subject, "$JS.EVENT.ADVISORY.CONSUMER.*.%s.>", session->stream);
    if (status == NATS_OK)
        status = natsConnection_SubscribeSync(&session->advisories, session->connection, subject);
    if (status == NATS_OK) return true;
    (void)fail_with(status, 0, "connecting", why);
    return false;
}

static void disconnect(scenario_session *session) {
    natsSubscription_Destroy(session->advisories);
    jsCtx_Destroy(session->js);
    natsConnection_Destroy(session->connection);
    session->advisories = NULL;
    session->js = NULL;
    session->connection = NULL;
}

static scenario_session *begin(scenario_driver *driver, unsigned lane, const char *stream, char *why) {
    servers *of = driver->context;
    scenario_session *session = calloc(1, sizeof *session);
    if (session == NULL) return NULL;
    session->server = &of->shared;
    session->version = driver->version;
    if (lane == 0) {
        if (!of->has_own && !nats_server_new(&of->own, why, WHY_SIZE)) {
            free(session);
            return NULL;
        }
        of->has_own = true;
        session->server = &of->own;
    }
    (void)snprintf(session->stream, sizeof session->stream, "%s", stream);
    if (connect_to(session, why)) return session;
    disconnect(session);
    free(session);
    return NULL;
}

static void end(scenario_session *session) {
    (void)js_DeleteStream(session->js, session->stream, NULL, NULL);
    disconnect(session);
    free(session);
}

static scenario_outcome restart(scenario_session *session, char *why) {
    disconnect(session);
    if (!nats_server_restart(session->server, why, WHY_SIZE)) return OUTCOME_BROKEN;
    return connect_to(session, why) ? OUTCOME_OK : OUTCOME_BROKEN;
}

static scenario_outcome outcome_of_error(json_int_t code, json_int_t detail) {
    enum { CANNOT_BE_CHANGED = 10012, DOES_NOT_EXIST = 10149 };
    if (code == 404 || detail == DOES_NOT_EXIST) return OUTCOME_ABSENT;
    return code == 400 || detail == CANNOT_BE_CHANGED ? OUTCOME_REFUSED : OUTCOME_BROKEN;
}

// A request to the API and its answer, to be released. An error in it becomes an outcome.
static scenario_outcome call(scenario_session *session, const char *subject, json_t *body,
                             json_t **answer_out, char *why) {
    natsMsg *reply = NULL;
    char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
    natsStatus status = natsConnection_RequestString(&reply, session->connection, subject,
                                                     text == NULL ? "" : text, REQUEST_MS);
    free(text);
    if (status != NATS_OK) return outcome_of(status, 0, subject, why);
    json_t *answer = json_loadb(natsMsg_GetData(reply), (size_t)natsMsg_GetDataLength(reply), 0, NULL);
    natsMsg_Destroy(reply);
    const json_t *error = json_object_get(answer, "error");
    scenario_outcome outcome = answer == NULL ? OUTCOME_BROKEN : OUTCOME_OK;
    if (error != NULL) {
        json_int_t code = json_integer_value(json_object_get(error, "code"));
        (void)snprintf(why, WHY_SIZE, "%d: %s (%d)", (int)code,
                       json_string_value(json_object_get(error, "description")),
                       (int)json_integer_value(json_object_get(error, "err_code")));
        outcome = outcome_of_error(code, json_integer_value(json_object_get(error, "err_code")));
    }
    if (answer_out != NULL && outcome == OUTCOME_OK) {
        *answer_out = answer;
    } else {
        json_decref(answer);
    }
    return outcome;
}

// ---- The stream -------------------------------------------------------------------------------------------

static scenario_outcome add_stream(scenario_session *session, const daybook_stream_config *config,
                                   char *why) {
    static const jsRetentionPolicy retentions[] = {js_LimitsPolicy, js_InterestPolicy, js_WorkQueuePolicy};
    const char *subjects[] = {config->subjects[0].data};
    jsStreamConfig said;
    (void)jsStreamConfig_Init(&said);
    said.Name = session->stream;
    said.Subjects = subjects;
    said.SubjectsLen = 1;
    said.Retention = retentions[config->retention];
    said.Storage = config->storage == DAYBOOK_STORAGE_MEMORY ? js_MemoryStorage : js_FileStorage;
    if (config->max_msgs > 0) said.MaxMsgs = (int64_t)config->max_msgs;
    if (config->max_msgs_per_subject > 0) said.MaxMsgsPerSubject = (int64_t)config->max_msgs_per_subject;
    if (config->max_age_ns > 0) {
        said.MaxAge = config->max_age_ns;
        said.Duplicates = config->max_age_ns; // it must not be more
    }
    jsErrCode code = 0;
    return outcome_of(js_AddStream(NULL, session->js, &said, NULL, &code), code, "adding the stream", why);
}

static scenario_outcome remove_stream(scenario_session *session, char *why) {
    jsErrCode code = 0;
    return outcome_of(js_DeleteStream(session->js, session->stream, NULL, &code), code, "removing the stream",
                      why);
}

static scenario_outcome append(scenario_session *session, const char *subject, const char *data, char *why) {
    jsErrCode code = 0;
    return outcome_of(js_Publish(NULL, session->js, subject, data, (int)strlen(data), NULL, &code), code,
                      "publishing", why);
}

static scenario_outcome has_event(scenario_session *session, uint64_t seq, char *why) {
    natsMsg *message = NULL;
    jsErrCode code = 0;
    natsStatus status = js_GetMsg(&message, session->js, session->stream, seq, NULL, &code);
    natsMsg_Destroy(message);
    return outcome_of(status, code, "reading a message", why);
}

static scenario_outcome remove_event(scenario_session *session, uint64_t seq, char *why) {
    jsErrCode code = 0;
    return outcome_of(js_DeleteMsg(session->js, session->stream, seq, NULL, &code), code,
                      "removing a message", why);
}

static scenario_outcome purge(scenario_session *session, const daybook_purge_options *options, char *why) {
    jsOptions said;
    jsErrCode code = 0;
    (void)jsOptions_Init(&said);
    if (options->filter.size > 0) said.Stream.Purge.Subject = options->filter.data;
    said.Stream.Purge.Sequence = options->seq_to;
    said.Stream.Purge.Keep = options->keep;
    return outcome_of(js_PurgeStream(session->js, session->stream, &said, &code), code, "purging", why);
}

// ---- Consumers --------------------------------------------------------------------------------------------

static void set_text(json_t *object, const char *key, daybook_slice text) {
    (void)json_object_set_new(object, key, json_stringn(text.data, text.size));
}

static void set_number(json_t *object, const char *key, int64_t number) {
    (void)json_object_set_new(object, key, json_integer(number));
}

// "2026-01-01T00:00:00.000000000Z"
static void set_time(json_t *object, const char *key, int64_t at_ns) {
    char text[DAYBOOK_TIME_TEXT_SIZE];
    daybook_time_format(at_ns, text);
    (void)json_object_set_new(object, key, json_string(text));
}

static void set_filters(json_t *object, const daybook_consumer_config *config) {
    if (config->filter_count == 1) set_text(object, "filter_subject", config->filters[0]);
    if (config->filter_count < 2) return;
    json_t *list = json_array();
    for (size_t i = 0; i < config->filter_count; i++)
        (void)json_array_append_new(list, json_stringn(config->filters[i].data, config->filters[i].size));
    (void)json_object_set_new(object, "filter_subjects", list);
}

static json_t *config_as_json(const daybook_consumer_config *config) {
    static const char *const policies[] = {
        "all", "last", "new", "by_start_sequence", "by_start_time", "last_per_subject"};
    static const char *const acks[] = {"explicit", "all", "none"};
    static const char *const replays[] = {"instant", "original"};
    bool durable = (config->flags & DAYBOOK_CONSUMER_DURABLE) != 0;
    json_t *object = json_object();
    set_text(object, "name", config->name);
    if (durable) set_text(object, "durable_name", config->name);
    (void)json_object_set_new(object, "deliver_policy", json_string(policies[config->deliver]));
    (void)json_object_set_new(object, "ack_policy", json_string(acks[config->ack]));
    (void)json_object_set_new(object, "replay_policy", json_string(replays[config->replay]));
    if (config->start_seq > 0) set_number(object, "opt_start_seq", (int64_t)config->start_seq);
    if (config->deliver == DAYBOOK_DELIVER_BY_START_TIME)
        set_time(object, "opt_start_time", config->start_time_ns);
    set_filters(object, config);
    // Without acknowledgement there is nothing to wait for, and the server says so of some versions.
    if (config->ack != DAYBOOK_ACK_NONE) {
        set_number(object, "ack_wait", config->ack_wait_ns);
        set_number(object, "max_ack_pending",
                   config->max_ack_pending == 0 ? -1 : (int64_t)config->max_ack_pending);
    }
    set_number(object, "max_deliver", config->max_deliver == 0 ? -1 : (int64_t)config->max_deliver);
    set_number(object, "max_waiting", (int64_t)config->max_waiting);
    if (config->inactive_threshold_ns > 0)
        set_number(object, "inactive_threshold", config->inactive_threshold_ns);
    if ((config->flags & DAYBOOK_CONSUMER_HEADERS_ONLY) != 0)
        (void)json_object_set_new(object, "headers_only", json_true());
    json_t *backoff = json_array();
    for (size_t i = 0; i < config->backoff_count; i++)
        (void)json_array_append_new(backoff, json_integer(config->backoff_ns[i]));
    if (config->backoff_count > 0) (void)json_object_set(object, "backoff", backoff);
    json_decref(backoff);
    return object;
}

static scenario_outcome configure(scenario_session *session, const daybook_consumer_config *config,
                                  const char *action, char *why) {
    char subject[256];
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.CREATE.%s.%.*s", session->stream,
                   (int)config->name.size, (const char *)config->name.data);
    json_t *body = json_object();
    (void)json_object_set_new(body, "stream_name", json_string(session->stream));
    (void)json_object_set_new(body, "config", config_as_json(config));
    // Before 2.10 there is one request for both.
    if (session->version >= 2010) (void)json_object_set_new(body, "action", json_string(action));
    scenario_outcome outcome = call(session, subject, body, NULL, why);
    json_decref(body);
    return outcome;
}

static scenario_outcome add(scenario_session *session, const daybook_consumer_config *config, char *why) {
    return configure(session, config, "create", why);
}

static scenario_outcome update(scenario_session *session, const daybook_consumer_config *config, char *why) {
    return configure(session, config, "update", why);
}

static scenario_outcome call_consumer(scenario_session *session, const char *verb, const char *name,
                                      json_t *body, json_t **answer_out, char *why) {
    char subject[256];
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.%s.%s.%s", verb, session->stream, name);
    return call(session, subject, body, answer_out, why);
}

static scenario_outcome remove_consumer(scenario_session *session, const char *name, char *why) {
    return call_consumer(session, "DELETE", name, NULL, NULL, why);
}

static scenario_outcome pause_until(scenario_session *session, const char *name, int64_t until_ns,
                                    char *why) {
    json_t *body = json_object();
    if (until_ns > 0) set_time(body, "pause_until", until_ns);
    scenario_outcome outcome = call_consumer(session, "PAUSE", name, body, NULL, why);
    json_decref(body);
    return outcome;
}

static uint64_t number_in(const json_t *object, const char *key, const char *inner) {
    const json_t *value = json_object_get(object, key);
    if (inner != NULL) value = json_object_get(value, inner);
    return (uint64_t)json_integer_value(value);
}

static scenario_outcome get_info(scenario_session *session, const char *name, scenario_info *info,
                                 char *why) {
    json_t *answer = NULL;
    scenario_outcome outcome = call_consumer(session, "INFO", name, NULL, &answer, why);
    if (outcome != OUTCOME_OK) return outcome;
    *info = (scenario_info){
        .delivered_number = number_in(answer, "delivered", "consumer_seq"),
        .delivered_seq = number_in(answer, "delivered", "stream_seq"),
        .floor_number = number_in(answer, "ack_floor", "consumer_seq"),
        .floor_seq = number_in(answer, "ack_floor", "stream_seq"),
        .ack_pending = number_in(answer, "num_ack_pending", NULL),
        .redelivered = number_in(answer, "num_redelivered", NULL),
        .waiting = number_in(answer, "num_waiting", NULL),
        .pending = number_in(answer, "num_pending", NULL),
    };
    json_decref(answer);
    return OUTCOME_OK;
}

static void release(scenario_session *session, const char *name) {
    (void)session, (void)name; // a connection holds no consumer
}

// ---- Messages ---------------------------------------------------------------------------------------------

static scenario_outcome request(scenario_session *session, const char *name,
                                const daybook_fetch_options *options, scenario_request **request_out,
                                char *why) {
    char subject[256];
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.MSG.NEXT.%s.%s", session->stream, name);
    scenario_request *made = calloc(1, sizeof *made);
    json_t *body = json_object();
    set_number(body, "batch", (int64_t)options->count);
    if (options->timeout_ms > 0) {
        set_number(body, "expires", options->timeout_ms * MILLISECOND_NS);
    } else {
        (void)json_object_set_new(body, "no_wait", json_true());
    }
    if (options->max_bytes > 0) set_number(body, "max_bytes", (int64_t)options->max_bytes);
    char *text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    natsStatus status = made == NULL || text == NULL ? NATS_NO_MEMORY : natsInbox_Create(&made->name);
    if (status == NATS_OK)
        status = natsConnection_SubscribeSync(&made->inbox, session->connection, made->name);
    if (status == NATS_OK)
        status = natsConnection_PublishRequestString(session->connection, subject, made->name, text);
    if (status == NATS_OK) status = natsConnection_Flush(session->connection);
    free(text);
    if (status != NATS_OK) {
        free(made);
        return fail_with(status, 0, "requesting messages", why);
    }
    made->count = options->count;
    made->until_ms = nats_Now() + (options->timeout_ms > 0 ? options->timeout_ms + GRACE_MS : NO_WAIT_MS);
    (void)snprintf(made->consumer, sizeof made->consumer, "%s", name);
    *request_out = made;
    return OUTCOME_OK;
}

// The last tokens of "$JS.ACK.<stream>.<consumer>.<deliveries>.<seq>.<number>.<time>.<pending>", or of its
// longer form.
static bool read_reply(const char *reply, scenario_message *into) {
    char copy[256];
    uint64_t numbers[5] = {0};
    (void)snprintf(copy, sizeof copy, "%s", reply);
    char *dots[16];
    size_t count = 0;
    for (char *at = copy; count < 16 && (at = strchr(at, '.')) != NULL; at++) dots[count++] = at;
    if (count < 8) return false;
    // Nine tokens, or twelve: domain, account and a random one more.
    size_t first = count == 8 ? 3 : 5;
    for (size_t i = 0; i < 5; i++) numbers[i] = strtoull(dots[first + i] + 1, NULL, 10);
    into->delivery_count = numbers[0];
    into->seq = numbers[1];
    into->number = numbers[2];
    into->recorded_ns = (int64_t)numbers[3];
    into->pending_count = numbers[4];
    return true;
}

static void remember(scenario_session *session, const char *consumer, uint64_t seq, const char *reply) {
    if (session->delivery_count == REPLIES_MAX) return;
    delivery *added = &session->deliveries[session->delivery_count++];
    (void)snprintf(added->consumer, sizeof added->consumer, "%s", consumer);
    added->seq = seq;
    (void)snprintf(added->reply, sizeof added->reply, "%s", reply);
}

static bool copy_message(scenario_session *session, const char *consumer, natsMsg *from,
                         scenario_message *into) {
    const char *reply = natsMsg_GetReply(from), *said = NULL;
    if (reply == NULL || !read_reply(reply, into)) return false;
    int size = natsMsg_GetDataLength(from);
    (void)snprintf(into->subject, sizeof into->subject, "%s", natsMsg_GetSubject(from));
    (void)snprintf(into->data, sizeof into->data, "%.*s", size, natsMsg_GetData(from));
    into->data_size = into->said_size = (uint64_t)size;
    if (natsMsgHeader_Get(from, "Nats-Msg-Size", &said) == NATS_OK)
        into->said_size = strtoull(said, NULL, 10);
    remember(session, consumer, into->seq, reply);
    return true;
}

// What the server says instead of a message.
static scenario_outcome read_status(natsMsg *message, const char *status, char *why) {
    const char *description = "";
    (void)natsMsgHeader_Get(message, "Description", &description);
    (void)snprintf(why, WHY_SIZE, "%s %s", status, description);
    if (strcmp(status, "404") == 0 || strcmp(status, "408") == 0) return OUTCOME_NOTHING;
    if (strcmp(status, "503") == 0 || strstr(description, "Deleted") != NULL) return OUTCOME_ABSENT;
    if (strstr(description, "MaxWaiting") != NULL) return OUTCOME_LIMIT;
    // The batch ended because of its size, or because nothing more fits for now.
    if (strstr(description, "Size Exceeds MaxBytes") != NULL ||
        strstr(description, "MaxAckPending") != NULL || strstr(description, "Batch Completed") != NULL)
        return OUTCOME_NOTHING;
    return OUTCOME_BROKEN;
}

static scenario_outcome receive(scenario_session *session, const scenario_request *request,
                                scenario_messages *messages, char *why) {
    while (messages->count < request->count) {
        natsMsg *message = NULL;
        int64_t left_ms = request->until_ms - nats_Now();
        natsStatus status = natsSubscription_NextMsg(&message, request->inbox, left_ms < 1 ? 1 : left_ms);
        if (status == NATS_TIMEOUT) {
            (void)snprintf(why, WHY_SIZE, "no word from the server");
            return OUTCOME_NOTHING;
        }
        if (status == NATS_NO_RESPONDERS) return OUTCOME_ABSENT;
        if (status != NATS_OK) return fail_with(status, 0, "receiving", why);
        const char *said = NULL;
        scenario_outcome outcome = OUTCOME_OK;
        if (natsMsgHeader_Get(message, "Status", &said) == NATS_OK) {
            outcome = read_status(message, said, why);
        } else if (messages->count < MESSAGES_MAX &&
                   copy_message(session, request->consumer, message, &messages->items[messages->count])) {
            messages->count++;
        } else {
            outcome = OUTCOME_BROKEN;
        }
        natsMsg_Destroy(message);
        if (outcome != OUTCOME_OK) return outcome;
    }
    return OUTCOME_OK;
}

static scenario_outcome collect(scenario_session *session, scenario_request *request,
                                scenario_messages *messages, char *why) {
    scenario_outcome outcome = receive(session, request, messages, why);
    natsSubscription_Destroy(request->inbox);
    natsInbox_Destroy(request->name);
    free(request);
    // Some came, then the end of the batch.
    return messages->count > 0 && outcome != OUTCOME_BROKEN ? OUTCOME_OK : outcome;
}

static const char *find_reply(const scenario_session *session, const char *consumer,
                              const scenario_reply *reply) {
    const char *found = NULL;
    for (size_t i = 0; i < session->delivery_count; i++) {
        const delivery *at = &session->deliveries[i];
        if (at->seq != reply->seq || strcmp(at->consumer, consumer) != 0) continue;
        if (found == NULL || !reply->of_first) found = at->reply;
    }
    return found;
}

static void write_answer(const scenario_reply *reply, char *text, size_t capacity) {
    static const char *const words[] = {
        [SAYS_ACK] = "+ACK", [SAYS_NAK] = "-NAK", [SAYS_PROGRESS] = "+WPI", [SAYS_TERM] = "+TERM"};
    (void)snprintf(text, capacity, "%s", words[reply->kind]);
    if (reply->kind == SAYS_NAK && reply->delay_ns > 0)
        (void)snprintf(text, capacity, "-NAK {\"delay\":%" PRId64 "}", reply->delay_ns);
    if (reply->kind == SAYS_TERM && reply->reason != NULL)
        (void)snprintf(text, capacity, "+TERM %s", reply->reason);
}

static scenario_outcome answer(scenario_session *session, const char *name, const scenario_reply *reply,
                               char *why) {
    const char *to = find_reply(session, name, reply);
    if (to == NULL) return OUTCOME_NOT_PENDING; // never delivered: there is nowhere to send it
    char text[256];
    write_answer(reply, text, sizeof text);
    natsMsg *taken = NULL;
    natsStatus status = NATS_OK;
    if (reply->confirmed) {
        status = natsConnection_RequestString(&taken, session->connection, to, text, REQUEST_MS);
    } else {
        status = natsConnection_PublishString(session->connection, to, text);
        // "+NOTHING" is no answer.
        if (status == NATS_OK)
            status = natsConnection_RequestString(&taken, session->connection, to, "+NOTHING", REQUEST_MS);
    }
    natsMsg_Destroy(taken);
    return outcome_of(status, 0, "answering", why);
}

// ---- Advisories -------------------------------------------------------------------------------------------

// False for kinds that scenarios do not ask for.
static bool describe_advisory(natsMsg *message, char text[ADVISORY_SIZE]) {
    json_t *json = json_loadb(natsMsg_GetData(message), (size_t)natsMsg_GetDataLength(message), 0, NULL);
    const char *type = json_string_value(json_object_get(json, "type"));
    const char *kind = type == NULL ? NULL : strrchr(type, '.');
    bool known = kind != NULL && (strcmp(kind, ".max_deliver") == 0 || strcmp(kind, ".terminated") == 0);
    if (known)
        (void)snprintf(text, ADVISORY_SIZE, "%s %s %" PRIu64 " %" PRIu64, kind + 1,
                       json_string_value(json_object_get(json, "consumer")),
                       number_in(json, "stream_seq", NULL), number_in(json, "deliveries", NULL));
    json_decref(json);
    return known;
}

static scenario_outcome next_advisory(scenario_session *session, int timeout_ms, char text[ADVISORY_SIZE],
                                      char *why) {
    for (;;) {
        natsMsg *message = NULL;
        natsStatus status = natsSubscription_NextMsg(&message, session->advisories, timeout_ms);
        if (status == NATS_TIMEOUT) return OUTCOME_NOTHING;
        if (status != NATS_OK) return fail_with(status, 0, "waiting for an advisory", why);
        bool known = describe_advisory(message, text);
        natsMsg_Destroy(message);
        if (known) return OUTCOME_OK;
    }
}

// ---- The driver -------------------------------------------------------------------------------------------

bool scenario_driver_nats(scenario_driver *driver_out, char why[WHY_SIZE]) {
    static servers all;
    *driver_out = (scenario_driver){
        .name = "nats",
        .version = nats_server_version(),
        .settle_ms = 2000,
        .context = &all,
        .begin = begin,
        .end = end,
        .restart = restart,
        .add_stream = add_stream,
        .remove_stream = remove_stream,
        .append = append,
        .has_event = has_event,
        .remove_event = remove_event,
        .purge = purge,
        .add = add,
        .update = update,
        .remove = remove_consumer,
        .pause = pause_until,
        .info = get_info,
        .release = release,
        .request = request,
        .collect = collect,
        .answer = answer,
        .next_advisory = next_advisory,
    };
    if (driver_out->version < 2009) {
        (void)snprintf(why, WHY_SIZE, "there is no nats-server, 2.9 at least (Debian: nats-server)");
        return false;
    }
    if (nats_server_new(&all.shared, why, WHY_SIZE)) return true;
    nats_server_free(&all.shared);
    return false;
}

void scenario_driver_nats_stop(scenario_driver *driver) {
    servers *all = driver->context;
    nats_server_free(&all->shared);
    if (all->has_own) nats_server_free(&all->own);
    nats_Close();
}
