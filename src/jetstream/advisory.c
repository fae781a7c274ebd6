// SPDX-License-Identifier: Apache-2.0
// See advisory.h: those of calls, written as text, and those of the store, routed.
#include "jetstream/advisory.h"

#include <stdio.h>

#include "api/answer.h"
#include "base/number.h"
#include "broker/user_info.h"
#include "jetstream/api_call.h"
#include "json/json.h"

enum { SUBJECT_MAX = 700 };

// ---- Of calls ---------------------------------------------------------------------------------------------

// "STREAM.CREATED" -> "stream_action", "CONSUMER.DELETED" -> "consumer_action".
static void write_advisory(dbk_jetstream *jetstream, dbk_buf *out, const char *what, const char *action,
                           dbk_slice stream, dbk_slice consumer) {
    bool of_consumer = strncmp(what, "CONSUMER.", 9) == 0;
    char id[2 * sizeof(uint64_t) + 8];
    (void)snprintf(id, sizeof id, "%016llx", (unsigned long long)dbk_broker_random(jetstream->broker));
    dbk_buf_append_slice(out, daybook_text("{\"type\":\"io.nats.jetstream.advisory.v1."));
    dbk_buf_append_slice(out, daybook_text(of_consumer ? "consumer_action" : "stream_action"));
    dbk_buf_append_slice(out, daybook_text("\",\"id\":"));
    dbk_json_write_go_string(out, daybook_text(id));
    dbk_buf_append_slice(out, daybook_text(",\"timestamp\":"));
    dbk_api_write_time(out, dbk_broker_clock_ns(jetstream->broker));
    dbk_buf_append_slice(out, daybook_text(",\"stream\":"));
    dbk_json_write_go_string(out, stream);
    if (of_consumer) {
        dbk_buf_append_slice(out, daybook_text(",\"consumer\":"));
        dbk_json_write_go_string(out, consumer);
    }
    dbk_buf_append_slice(out, daybook_text(",\"action\":"));
    dbk_json_write_go_string(out, daybook_text(action));
    if (jetstream->domain.size > 0) {
        dbk_buf_append_slice(out, daybook_text(",\"domain\":"));
        dbk_json_write_go_string(out, jetstream->domain);
    }
    dbk_buf_append_u8(out, '}');
}

void dbk_js_advise(dbk_jetstream *jetstream, const char *what, const char *action, dbk_slice stream,
                   dbk_slice consumer) {
    char subject[SUBJECT_MAX];
    int size = snprintf(subject, sizeof subject, "$JS.EVENT.ADVISORY.%s.%.*s%s%.*s", what, (int)stream.size,
                        (const char *)stream.data, consumer.size > 0 ? "." : "", (int)consumer.size,
                        consumer.size > 0 ? (const char *)consumer.data : "");
    if (size < 0 || (size_t)size >= sizeof subject ||
        !dbk_route_has_interest(jetstream->broker, daybook_text(subject)))
        return;
    dbk_buf *out = dbk_js_begin_answer(jetstream);
    write_advisory(jetstream, out, what, action, stream, consumer);
    dbk_js_end_announcement(jetstream, daybook_text(subject));
}

void dbk_js_advise_of_call(const dbk_js_call *call) {
    dbk_js_advise(call->jetstream, call->advisory, call->action, call->stream_name, call->consumer_name);
}

static void add_member(dbk_buf *out, const char *name, dbk_slice value) {
    dbk_buf_append_slice(out, daybook_text(",\""));
    dbk_buf_append_slice(out, daybook_text(name));
    dbk_buf_append_slice(out, daybook_text("\":"));
    dbk_json_write_go_string(out, value);
}

void dbk_js_advise_of_pin(const dbk_js_consumer *consumer, const char *group, const char *pinned_id,
                          const char *reason) {
    dbk_jetstream *jetstream = consumer->stream->jetstream;
    dbk_slice stream = consumer->stream->name;
    char subject[SUBJECT_MAX];
    char id[2 * sizeof(uint64_t) + 8];
    int size = snprintf(subject, sizeof subject, "$JS.EVENT.ADVISORY.CONSUMER.%s.%.*s.%.*s",
                        pinned_id != NULL ? "PINNED" : "UNPINNED", (int)stream.size,
                        (const char *)stream.data, (int)consumer->name.size,
                        (const char *)consumer->name.data);
    if (size < 0 || (size_t)size >= sizeof subject ||
        !dbk_route_has_interest(jetstream->broker, daybook_text(subject)))
        return;
    (void)snprintf(id, sizeof id, "%016llx", (unsigned long long)dbk_broker_random(jetstream->broker));
    dbk_buf *out = dbk_js_begin_answer(jetstream);
    dbk_buf_append_slice(out, daybook_text("{\"type\":\"io.nats.jetstream.advisory.v1.consumer_group_"));
    dbk_buf_append_slice(out, daybook_text(pinned_id != NULL ? "pinned\"" : "unpinned\""));
    add_member(out, "id", daybook_text(id));
    dbk_buf_append_slice(out, daybook_text(",\"timestamp\":"));
    dbk_api_write_time(out, dbk_broker_clock_ns(jetstream->broker));
    add_member(out, "stream", stream);
    add_member(out, "consumer", consumer->name);
    if (jetstream->domain.size > 0) add_member(out, "domain", jetstream->domain);
    add_member(out, "group", daybook_text(group));
    add_member(out, pinned_id != NULL ? "pinned_id" : "reason",
               daybook_text(pinned_id != NULL ? pinned_id : reason));
    dbk_buf_append_u8(out, '}');
    dbk_js_end_answer(jetstream, daybook_text(subject), false);
}

// ---- Who asked what ---------------------------------------------------------------------------------------

static void add_fact(dbk_buf *out, const char *name, const char *value) {
    if (value != NULL && value[0] != '\0') add_member(out, name, daybook_text(value));
}

// Since 2.10 it says who; before only from where.
static void write_asker(dbk_jetstream *jetstream, dbk_buf *out, const dbk_client *client) {
    const dbk_broker *broker = jetstream->broker;
    bool is_told = broker->dial.version >= 210;
    dbk_buf_append_slice(out, daybook_text(",\"client\":{"));
    if (is_told) {
        dbk_buf_append_slice(out, daybook_text("\"start\":"));
        dbk_api_write_time(out, client->started_ns);
        add_member(out, "host", daybook_text(client->address));
        dbk_buf_append_slice(out, daybook_text(",\"id\":"));
        dbk_decimal_append(out, client->id);
        dbk_buf_append_u8(out, ',');
    }
    dbk_buf_append_slice(out, daybook_text("\"acc\":"));
    dbk_json_write_go_string(out, daybook_text(broker->options->auth.account_name));
    if (is_told) {
        add_fact(out, "user", dbk_client_user_name(client));
        add_fact(out, "name", client->facts == NULL ? NULL : client->facts->name);
        add_fact(out, "lang", client->facts == NULL ? NULL : client->facts->lang);
        add_fact(out, "ver", client->facts == NULL ? NULL : client->facts->version);
    }
    int64_t rtt_ns = client->rtt_ns > 0 ? client->rtt_ns : client->greeting_ns;
    if (rtt_ns > 0) {
        dbk_buf_append_slice(out, daybook_text(",\"rtt\":"));
        dbk_decimal_append_signed(out, rtt_ns);
    }
    add_member(out, "server", daybook_text(jetstream->server_name));
    if (is_told) dbk_buf_append_slice(out, daybook_text(",\"kind\":\"Client\",\"client_type\":\"nats\""));
    dbk_buf_append_u8(out, '}');
}

void dbk_js_audit_call(const dbk_js_call *call) {
    dbk_jetstream *jetstream = call->jetstream;
    dbk_slice subject = daybook_text("$JS.EVENT.ADVISORY.API");
    char id[2 * sizeof(uint64_t) + 8];
    if (call->share.from == NULL || (call->kind == DBK_API_MESSAGE_GET && !call->has_failed) ||
        !dbk_route_has_interest(jetstream->broker, subject))
        return;
    (void)snprintf(id, sizeof id, "%016llx", (unsigned long long)dbk_broker_random(jetstream->broker));
    dbk_buf *out = dbk_js_begin_answer(jetstream);
    dbk_buf_append_slice(out, daybook_text("{\"type\":\"io.nats.jetstream.advisory.v1.api_audit\""));
    add_member(out, "id", daybook_text(id));
    dbk_buf_append_slice(out, daybook_text(",\"timestamp\":"));
    dbk_api_write_time(out, dbk_broker_clock_ns(jetstream->broker));
    add_member(out, "server", daybook_text(jetstream->server_name));
    write_asker(jetstream, out, call->share.from);
    dbk_buf_append_slice(out, daybook_text(",\"subject\":"));
    dbk_json_write_go_string(out, call->asked);
    if (call->body.size > 0) add_member(out, "request", call->body);
    add_member(out, "response", daybook_bytes(call->answer.data, call->answer.size));
    if (jetstream->domain.size > 0) add_member(out, "domain", jetstream->domain);
    dbk_buf_append_u8(out, '}');
    dbk_js_end_announcement(jetstream, subject);
}

// ---- Of the store -----------------------------------------------------------------------------------------

typedef struct told_advisory {
    dbk_job job;
    dbk_jetstream *jetstream;
    size_t subject_size, json_size;
    uint8_t bytes[];
} told_advisory;

static void route_told(dbk_job *job) {
    told_advisory *told = DBK_OWNER(job, told_advisory, job);
    dbk_jetstream *jetstream = told->jetstream;
    (void)dbk_broker_announce(jetstream->broker, daybook_bytes(told->bytes, told->subject_size),
                              daybook_bytes(NULL, 0),
                              daybook_bytes(told->bytes + told->subject_size, told->json_size));
    dbk_free(jetstream->allocator, told);
}

// From a thread of the store. Not counted as under way: all finished jobs are done before JetStream is freed.
static void take_told(void *context, daybook_slice subject, daybook_slice json) {
    dbk_jetstream *jetstream = context;
    told_advisory *told = dbk_alloc(jetstream->allocator, sizeof *told + subject.size + json.size);
    if (told == NULL) {
        dbk_broker_log(jetstream->broker, WARNING, "Out of memory: an advisory is lost");
        return;
    }
    *told = (told_advisory){.job = {.done = route_told},
                            .jetstream = jetstream,
                            .subject_size = subject.size,
                            .json_size = json.size};
    memcpy(told->bytes, subject.data, subject.size);
    memcpy(told->bytes + subject.size, json.data, json.size);
    dbk_jobs_finish(jetstream->broker->jobs, &told->job);
}

daybook_status dbk_js_start_advisories(dbk_jetstream *jetstream, daybook_error *error) {
    return daybook_advisory_watch(jetstream->store, take_told, jetstream, error);
}

void dbk_js_stop_advisories(dbk_jetstream *jetstream) {
    (void)daybook_advisory_watch(jetstream->store, NULL, jetstream, NULL); // another's, or none, stays
}
