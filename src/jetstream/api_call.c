// SPDX-License-Identifier: Apache-2.0
// The table of calls, and a call's way: loop (found, kept behind what its connection published before,
// copied) -> worker (run) -> loop (effect, advisory, answer).
#include "jetstream/api_call.h"

#include "base/bytes.h"
#include "daybook/subject.h"
#include "jetstream/advisory.h"
#include "jetstream/delivery.h"
#include "jetstream/order.h"
#include "jetstream/push.h"
#include "proto/headers.h"
#include "proto/status.h"

enum { ARENA_CHUNK = 8 << 10, ANSWER_SIZE_MAX = 64 << 20 };

// ---- The table --------------------------------------------------------------------------------------------

typedef struct route {
    const char *filter; // of what follows $JS.API.
    dbk_api_answer kind;
    void (*run)(dbk_js_call *call);
    void (*serve)(dbk_jetstream *jetstream, dbk_client *from, dbk_slice subject,
                  const dbk_message *message); // on the loop; or run
    size_t stream_at;                          // which token names a stream
    dbk_js_order_scope scope; // of what its connection published into that stream this waits for
} route;

static void refuse_cluster(dbk_js_call *call) {
    dbk_js_call_refuse(call, DBK_API_ERR_CLUSTER_REQUIRED);
}

static void refuse_snapshot(dbk_js_call *call) {
    bool restores = call->kind == DBK_API_STREAM_RESTORE;
    dbk_api_error error;
    (void)dbk_api_fail_with(&error, restores ? DBK_API_ERR_STREAM_RESTORE : DBK_API_ERR_STREAM_SNAPSHOT,
                            "not supported by daybook; use `daybook %s`", restores ? "restore" : "backup");
    dbk_js_call_fail(call, &error);
}

// Asked most often first. What reads waits for publishes that nobody is told of, what is about a stream for
// all (order.h).
#define NONE DBK_JS_ORDER_NONE
#define UNTOLD DBK_JS_ORDER_UNTOLD
#define ALL DBK_JS_ORDER_ALL
static const route routes[] = {
    {"CONSUMER.MSG.NEXT.*.*", DBK_API_CONSUMER_INFO, NULL, dbk_js_serve_pull, 3, UNTOLD},
    {"DIRECT.GET.*", DBK_API_MESSAGE_GET, NULL, dbk_js_serve_direct, 2, UNTOLD},
    {"DIRECT.GET.*.>", DBK_API_MESSAGE_GET, NULL, dbk_js_serve_direct, 2, UNTOLD},
    {"CONSUMER.CREATE.*", DBK_API_CONSUMER_CREATE, dbk_js_consumer_create, NULL, 2, UNTOLD},
    {"CONSUMER.CREATE.*.*", DBK_API_CONSUMER_CREATE, dbk_js_consumer_create, NULL, 2, UNTOLD},
    {"CONSUMER.CREATE.*.*.>", DBK_API_CONSUMER_CREATE, dbk_js_consumer_create, NULL, 2, UNTOLD},
    {"CONSUMER.DURABLE.CREATE.*.*", DBK_API_CONSUMER_CREATE, dbk_js_consumer_create_durable, NULL, 3, UNTOLD},
    {"CONSUMER.INFO.*.*", DBK_API_CONSUMER_INFO, dbk_js_consumer_info, NULL, 2, UNTOLD},
    {"CONSUMER.DELETE.*.*", DBK_API_CONSUMER_DELETE, dbk_js_consumer_delete, NULL, 2, UNTOLD},
    {"CONSUMER.NAMES.*", DBK_API_CONSUMER_NAMES, dbk_js_consumer_names, NULL, 2, UNTOLD},
    {"CONSUMER.LIST.*", DBK_API_CONSUMER_LIST, dbk_js_consumer_list, NULL, 2, UNTOLD},
    {"CONSUMER.PAUSE.*.*", DBK_API_CONSUMER_PAUSE, dbk_js_consumer_pause, NULL, 2, UNTOLD},
    {"CONSUMER.RESET.*.*", DBK_API_CONSUMER_RESET, dbk_js_consumer_reset, NULL, 2, UNTOLD},
    {"CONSUMER.UNPIN.*.*", DBK_API_CONSUMER_UNPIN, dbk_js_consumer_unpin, NULL, 2, UNTOLD},
    {"STREAM.INFO.*", DBK_API_STREAM_INFO, dbk_js_stream_info, NULL, 2, ALL},
    {"STREAM.NAMES", DBK_API_STREAM_NAMES, dbk_js_stream_names, NULL, 0, NONE},
    {"STREAM.LIST", DBK_API_STREAM_LIST, dbk_js_stream_list, NULL, 0, NONE},
    {"STREAM.CREATE.*", DBK_API_STREAM_CREATE, dbk_js_stream_create, NULL, 2, ALL},
    {"STREAM.UPDATE.*", DBK_API_STREAM_UPDATE, dbk_js_stream_update, NULL, 2, ALL},
    {"STREAM.DELETE.*", DBK_API_STREAM_DELETE, dbk_js_stream_delete, NULL, 2, ALL},
    {"STREAM.PURGE.*", DBK_API_STREAM_PURGE, dbk_js_stream_purge, NULL, 2, ALL},
    {"STREAM.MSG.GET.*", DBK_API_MESSAGE_GET, dbk_js_message_get, NULL, 3, UNTOLD},
    {"STREAM.MSG.DELETE.*", DBK_API_MESSAGE_DELETE, dbk_js_message_delete, NULL, 3, ALL},
    {"INFO", DBK_API_ACCOUNT_INFO, dbk_js_account_info, NULL, 0, NONE},
    {"STREAM.SNAPSHOT.*", DBK_API_STREAM_SNAPSHOT, refuse_snapshot, NULL, 0, NONE},
    {"STREAM.RESTORE.*", DBK_API_STREAM_RESTORE, refuse_snapshot, NULL, 0, NONE},
    {"STREAM.LEADER.STEPDOWN.*", DBK_API_STREAM_LEADER_STEPDOWN, refuse_cluster, NULL, 0, NONE},
    {"STREAM.PEER.REMOVE.*", DBK_API_STREAM_REMOVE_PEER, refuse_cluster, NULL, 0, NONE},
    {"CONSUMER.LEADER.STEPDOWN.*.*", DBK_API_CONSUMER_LEADER_STEPDOWN, refuse_cluster, NULL, 0, NONE},
    {"META.LEADER.STEPDOWN", DBK_API_META_LEADER_STEPDOWN, refuse_cluster, NULL, 0, NONE},
    {"SERVER.REMOVE", DBK_API_META_SERVER_REMOVE, refuse_cluster, NULL, 0, NONE},
    {"ACCOUNT.PURGE.*", DBK_API_ACCOUNT_PURGE, refuse_cluster, NULL, 0, NONE},
};

#undef NONE
#undef UNTOLD
#undef ALL

static const route *find_route(dbk_slice subject) {
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
        if (daybook_filter_matches(daybook_text(routes[i].filter), subject)) return &routes[i];
    return NULL;
}

bool dbk_js_call_kind(size_t index, const char **filter_out, dbk_api_answer *kind_out) {
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (routes[i].serve != NULL || index-- > 0) continue;
        *filter_out = routes[i].filter;
        *kind_out = routes[i].kind;
        return true;
    }
    return false;
}

// ---- A call -----------------------------------------------------------------------------------------------

void dbk_js_call_fail(dbk_js_call *call, const dbk_api_error *error) {
    call->has_failed = true;
    dbk_buf_reset(&call->answer);
    dbk_api_write_failure(&call->answer, call->kind, error);
}

void dbk_js_call_refuse(dbk_js_call *call, dbk_api_error_kind kind) {
    dbk_api_error error;
    (void)dbk_api_fail(&error, kind);
    dbk_js_call_fail(call, &error);
}

void dbk_js_call_fail_status(dbk_js_call *call, daybook_status status, const daybook_error *cause,
                             dbk_api_error_kind otherwise) {
    dbk_api_error error;
    (void)dbk_api_fail_status(&error, status, cause, otherwise);
    dbk_js_call_fail(call, &error);
}

static void free_call(dbk_js_call *call) {
    dbk_js_release(&call->share);
    dbk_js_opened_deinit(call->jetstream->allocator, &call->opened);
    dbk_buf_deinit(&call->answer);
    dbk_arena_free(call->arena);
    dbk_free(call->jetstream->allocator, call);
}

static dbk_js_call *new_call(dbk_jetstream *jetstream, const route *to, dbk_client *from, dbk_slice subject,
                             const dbk_message *message) {
    size_t size = dbk_message_copy_size(message);
    dbk_js_call *call = dbk_alloc_zeroed(jetstream->allocator, sizeof *call + size);
    if (call == NULL) return NULL;
    call->jetstream = jetstream;
    call->kind = to->kind;
    call->settings = jetstream->settings;
    call->api_total = jetstream->api_total;
    call->api_errors = jetstream->api_errors;
    call->api_in_flight = jetstream->api_in_flight;
    call->random = dbk_broker_random(jetstream->broker);
    call->run = to->run;
    dbk_buf_init(&call->answer, jetstream->allocator, ANSWER_SIZE_MAX);
    if (dbk_arena_new(jetstream->allocator, ARENA_CHUNK, &call->arena) != DAYBOOK_OK) {
        free_call(call);
        return NULL;
    }
    dbk_js_hold(&call->share, from, sizeof *call + size + ARENA_CHUNK);
    dbk_message own = dbk_message_copy(message, call->bytes);
    call->asked = own.subject;
    call->subject =
        daybook_bytes((const char *)own.subject.data + own.subject.size - subject.size, subject.size);
    call->reply = own.reply;
    call->headers = dbk_message_headers(&own);
    call->body = dbk_message_data(&own);
    return call;
}

bool dbk_js_level_suffices(const dbk_jetstream *jetstream, dbk_slice headers) {
    dbk_slice value;
    uint64_t level;
    const dbk_api_dial *dial = &jetstream->broker->dial;
    if (dial->version < 212 || headers.size == 0) return true;
    if (!dbk_headers_find(headers, daybook_text("Nats-Required-Api-Level"), &value)) return true;
    return dbk_header_number(value, &level) && level <= (uint64_t)dbk_api_dial_level(dial);
}

// Where nothing is left of a stream, others have its room.
static bool removes(dbk_api_answer kind) {
    return kind == DBK_API_STREAM_PURGE || kind == DBK_API_STREAM_DELETE || kind == DBK_API_MESSAGE_DELETE ||
           kind == DBK_API_STREAM_UPDATE;
}

static void run_call(dbk_job *job) {
    dbk_js_call *call = DBK_OWNER(job, dbk_js_call, job);
    if (atomic_load(&call->jetstream->is_stopping)) {
        dbk_js_call_refuse(call, DBK_API_ERR_NOT_ENABLED);
    } else if (dbk_js_level_suffices(call->jetstream, call->headers)) {
        call->run(call);
        if (removes(call->kind)) dbk_js_usage_forget(&call->jetstream->usage);
    } else {
        dbk_js_call_refuse(call, DBK_API_ERR_REQUIRED_API_LEVEL);
    }
}

static void end_call(dbk_job *job) {
    dbk_js_call *call = DBK_OWNER(job, dbk_js_call, job);
    dbk_jetstream *jetstream = call->jetstream;
    // Once JetStream stops, the loop has no stream or consumer any more: what the call did is in the store,
    // and is seen by who opens it next.
    if (call->effect != NULL && !atomic_load(&jetstream->is_stopping)) call->effect(call);
    if (call->advisory != NULL) dbk_js_advise_of_call(call);
    if (dbk_buf_status(&call->answer) != DAYBOOK_OK) {
        dbk_buf_reset(&call->answer);
        dbk_js_call_refuse(call, DBK_API_ERR_INSUFFICIENT_RESOURCES);
    }
    if (call->has_failed) jetstream->api_errors++;
    if (dbk_buf_status(&call->answer) == DAYBOOK_OK)
        (void)dbk_broker_reply(jetstream->broker, call->reply, daybook_bytes(NULL, 0),
                               daybook_bytes(call->answer.data, call->answer.size));
    if (call->first != NULL) dbk_js_hand_first_over(call->first);
    dbk_js_audit_call(call);
    bool is_beside = call->kind == DBK_API_MESSAGE_GET;
    free_call(call);
    jetstream->api_in_flight--;
    if (is_beside) {
        dbk_js_end_job(jetstream);
    } else {
        dbk_js_end_call(jetstream);
    }
}

// What only the loop knows of the consumer that is asked about. Where one is to be made it may be there
// already: who listens is looked at anew, since the worker that asks whether it is in use goes by what was
// seen last. Where many pulls wait that may be 100 ms ago.
static void note_consumer(dbk_js_call *call) {
    if (call->kind != DBK_API_CONSUMER_INFO && call->kind != DBK_API_CONSUMER_CREATE) return;
    size_t at = dbk_slice_equal(dbk_js_call_token(call, 1), daybook_text("DURABLE")) ? 3 : 2;
    dbk_js_consumer *consumer =
        dbk_js_find_consumer(call->jetstream, dbk_js_call_token(call, at), dbk_js_call_token(call, at + 1));
    if (consumer == NULL) return;
    call->is_noted = true;
    call->waiting_count = dbk_js_count_pulls(consumer);
    call->push_bound = dbk_js_is_push_bound(consumer);
}

// The text of "deliver_subject" in a request, found without understanding it: the worker compares it with
// what it reads.
static dbk_slice seek_deliver_subject(dbk_slice body) {
    static const char name[] = "\"deliver_subject\"";
    const char *at = body.data, *end = at + body.size;
    size_t size = sizeof name - 1;
    while (at != NULL && (size_t)(end - at) > size && memcmp(at, name, size) != 0)
        at = memchr(at + 1, '"', (size_t)(end - at - 1));
    if (at == NULL || (size_t)(end - at) <= size) return daybook_bytes(NULL, 0);
    at += size;
    while (at < end && (*at == ':' || *at == ' ')) at++;
    const char *last = at < end && *at == '"' ? memchr(at + 1, '"', (size_t)(end - at - 1)) : NULL;
    return last == NULL ? daybook_bytes(NULL, 0) : daybook_bytes(at + 1, (size_t)(last - at - 1));
}

// Who listens already where a consumer is to deliver gets its first messages with it. Not where other calls
// come first: somebody may listen now who does not any more when it is made.
static void note_listeners(dbk_js_call *call) {
    if (call->kind != DBK_API_CONSUMER_CREATE || call->jetstream->call_runs) return;
    dbk_slice subject = seek_deliver_subject(call->body);
    if (daybook_subject_is_valid(subject) && dbk_route_is_wanted_exactly(call->jetstream->broker, subject))
        call->listened = subject;
}

static void refuse(dbk_jetstream *jetstream, dbk_slice reply, dbk_api_error_kind kind) {
    dbk_api_error error;
    dbk_buf *out = dbk_js_begin_answer(jetstream);
    (void)dbk_api_fail(&error, kind);
    dbk_buf_append_slice(out, daybook_text("{\"error\":"));
    dbk_api_write_error_object(out, &error);
    dbk_buf_append_u8(out, '}');
    jetstream->api_errors++;
    dbk_js_end_answer(jetstream, reply, false);
}

static void begin_call(dbk_jetstream *jetstream, const route *to, dbk_client *from, dbk_slice subject,
                       const dbk_message *message) {
    dbk_js_call *call = jetstream->api_in_flight >= jetstream->settings.requests_max
                            ? NULL
                            : new_call(jetstream, to, from, subject, message);
    if (call == NULL) {
        refuse(jetstream, message->reply, DBK_API_ERR_INSUFFICIENT_RESOURCES);
        return;
    }
    note_consumer(call);
    note_listeners(call);
    call->job.run = run_call;
    call->job.done = end_call;
    jetstream->api_in_flight++;
    // Reading a message changes nothing and waits for nothing.
    call->job.is_slow = true;
    if (to->kind == DBK_API_MESSAGE_GET) {
        dbk_js_begin_job(jetstream);
        dbk_jobs_submit(jetstream->broker->jobs, &call->job);
    } else {
        dbk_js_begin_call(jetstream, &call->job);
    }
}

// $JS.API.… or $JS.<domain>.API.…
static dbk_slice subject_of(const dbk_message *message) {
    bool has_domain = !dbk_slice_equal(dbk_js_token(message->subject, 1), daybook_text("API"));
    return dbk_js_tokens_from(message->subject, has_domain ? 3 : 2);
}

static void serve_route(dbk_jetstream *jetstream, const route *to, dbk_client *from, dbk_slice subject,
                        const dbk_message *message) {
    if (to->serve != NULL) {
        to->serve(jetstream, from, subject, message);
    } else {
        begin_call(jetstream, to, from, subject, message);
    }
}

void dbk_js_go_on(dbk_jetstream *jetstream, dbk_client *from, const dbk_message *message) {
    dbk_slice subject = subject_of(message);
    serve_route(jetstream, find_route(subject), from, subject, message);
}

// What its connection published before is still on its way.
static void keep(dbk_js_stream *stream, const route *to, dbk_client *from, const dbk_message *message,
                 uint64_t number) {
    dbk_jetstream *jetstream = stream->jetstream;
    if (dbk_js_order_keep(stream, from, message, number)) return;
    if (to->serve == NULL) {
        refuse(jetstream, message->reply, DBK_API_ERR_INSUFFICIENT_RESOURCES);
    } else {
        (void)dbk_broker_reply(jetstream->broker, message->reply,
                               dbk_status_block(DBK_STATUS_TOO_MANY_REQUESTS), daybook_bytes(NULL, 0));
    }
}

void dbk_js_serve_api(void *context, dbk_client *from, const dbk_message *message) {
    dbk_jetstream *jetstream = context;
    uint64_t number = 0;
    dbk_slice subject = subject_of(message);
    // A filter at its end has wildcards.
    const route *to = daybook_filter_is_valid(message->subject) ? find_route(subject) : NULL;
    dbk_js_stream *stream = to == NULL ? NULL
                                       : dbk_js_order_find(jetstream, from, to->scope,
                                                           dbk_js_token(subject, to->stream_at), &number);
    if (to == NULL) {
        refuse(jetstream, message->reply, DBK_API_ERR_BAD_REQUEST);
    } else if (stream != NULL) {
        keep(stream, to, from, message, number);
    } else {
        serve_route(jetstream, to, from, subject, message);
    }
    // Behind the call: account info does not count itself. Fetches are no requests of the API in NATS'
    // numbers.
    if (to == NULL || to->serve == NULL) jetstream->api_total++;
}
