// SPDX-License-Identifier: Apache-2.0
// Scenarios against the library: a store in a directory of its own for each, with its threads and the real
// clock. A request is a thread that fetches.
#define _POSIX_C_SOURCE 200809L // nanosleep
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/folder.h"
#include "scenarios/driver.h"

enum { HANDLES_MAX = 16 };
#define MILLISECOND_NS 1000000L

typedef struct handle {
    char name[64];
    daybook_consumer *consumer;
} handle;

struct scenario_session {
    char path[64];
    char stream[64];
    daybook_store *store;
    handle handles[HANDLES_MAX];
    size_t handle_count;
    uint64_t advisory_seq; // the last that was told
};

struct scenario_request {
    char name[64];
    daybook_consumer *consumer;
    daybook_fetch_options options;
    pthread_t thread;
    daybook_status status;
    daybook_batch *batch;
    daybook_error error;
};

static scenario_outcome outcome_of(daybook_status status, const daybook_error *error, char *why) {
    (void)snprintf(why, WHY_SIZE, "%s: %s", daybook_status_name(status),
                   status == DAYBOOK_OK ? "" : error->message);
    switch (status) {
    case DAYBOOK_OK:
        return OUTCOME_OK;
    case DAYBOOK_TIMEOUT:
        return OUTCOME_NOTHING;
    case DAYBOOK_EINVALID:
    case DAYBOOK_EEXISTS:
    case DAYBOOK_ESUBJECT:
        return OUTCOME_REFUSED;
    case DAYBOOK_ELIMIT:
        return OUTCOME_LIMIT;
    case DAYBOOK_ENOTFOUND:
        return OUTCOME_ABSENT;
    default:
        return OUTCOME_BROKEN;
    }
}

// ---- The store --------------------------------------------------------------------------------------------

static daybook_status open_store(scenario_session *session, daybook_error *error) {
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.memory_budget_bytes = 16 << 20;
    options.memtable_bytes = 1 << 20;
    options.journal_max_bytes = 4 << 20;
    return daybook_open(session->path, &options, &session->store, error);
}

static void free_session(scenario_session *session) {
    (void)folder_remove(session->path);
    free(session);
}

static scenario_session *begin(scenario_driver *driver, unsigned lane, const char *stream, char *why) {
    (void)driver, (void)lane;
    scenario_session *session = calloc(1, sizeof *session);
    daybook_error error;
    daybook_error_init(&error);
    (void)snprintf(why, WHY_SIZE, "no memory or no directory");
    if (session == NULL) return NULL;
    (void)snprintf(session->stream, sizeof session->stream, "%s", stream);
    if (!folder_make("scenario", session->path, sizeof session->path)) {
        free(session);
        return NULL;
    }
    if (open_store(session, &error) == DAYBOOK_OK) return session;
    (void)snprintf(why, WHY_SIZE, "the store does not open: %s", error.message);
    free_session(session);
    return NULL;
}

static void close_handles(scenario_session *session) {
    for (size_t i = 0; i < session->handle_count; i++) daybook_consumer_close(session->handles[i].consumer);
    session->handle_count = 0;
}

static void end(scenario_session *session) {
    close_handles(session);
    daybook_error error;
    daybook_error_init(&error);
    if (daybook_close(session->store, &error) != DAYBOOK_OK)
        (void)fprintf(stderr, "closing the store of a scenario: %s\n", error.message);
    free_session(session);
}

static scenario_outcome restart(scenario_session *session, char *why) {
    daybook_error error;
    daybook_error_init(&error);
    close_handles(session);
    daybook_status status = daybook_close(session->store, &error);
    session->store = NULL;
    if (status == DAYBOOK_OK) status = open_store(session, &error);
    return outcome_of(status, &error, why);
}

// ---- The stream -------------------------------------------------------------------------------------------

static scenario_outcome add_stream(scenario_session *session, const daybook_stream_config *config,
                                   char *why) {
    daybook_error error;
    daybook_error_init(&error);
    return outcome_of(daybook_stream_add(session->store, config, &error), &error, why);
}

static scenario_outcome remove_stream(scenario_session *session, char *why) {
    daybook_error error;
    daybook_error_init(&error);
    return outcome_of(daybook_stream_remove(session->store, daybook_text(session->stream), &error), &error,
                      why);
}

static scenario_outcome append(scenario_session *session, const char *subject, const char *data, char *why) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    event.data = daybook_text(data);
    return outcome_of(daybook_append(session->store, &event, 1, NULL, NULL, &error), &error, why);
}

// The events of a stream that match and lie in a range of seqs, one after the other.
static daybook_status read_first(scenario_session *session, const char *stream, uint64_t from, uint64_t to,
                                 daybook_cursor **cursor_out, daybook_recorded_event *event_out,
                                 daybook_error *error) {
    daybook_query query;
    daybook_query_init(&query);
    query.stream = daybook_text(stream);
    query.seq_from = from;
    query.seq_to = to;
    daybook_status status = daybook_read(session->store, &query, cursor_out, error);
    return status == DAYBOOK_OK ? daybook_cursor_next(*cursor_out, 0, event_out, error) : status;
}

static scenario_outcome has_event(scenario_session *session, uint64_t seq, char *why) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_cursor *cursor = NULL;
    daybook_recorded_event event;
    daybook_status status = read_first(session, session->stream, seq, seq, &cursor, &event, &error);
    daybook_cursor_close(cursor);
    return status == DAYBOOK_END ? OUTCOME_ABSENT : outcome_of(status, &error, why);
}

static scenario_outcome remove_event(scenario_session *session, uint64_t seq, char *why) {
    daybook_error error;
    daybook_error_init(&error);
    return outcome_of(daybook_event_remove(session->store, daybook_text(session->stream), seq, 0, &error),
                      &error, why);
}

static scenario_outcome purge(scenario_session *session, const daybook_purge_options *options, char *why) {
    daybook_error error;
    daybook_error_init(&error);
    return outcome_of(
        daybook_stream_purge(session->store, daybook_text(session->stream), options, NULL, &error), &error,
        why);
}

// ---- Consumers --------------------------------------------------------------------------------------------

// The handle of a consumer, opened where there is none.
static daybook_status handle_of(scenario_session *session, const char *name, daybook_consumer **consumer_out,
                                daybook_error *error) {
    for (size_t i = 0; i < session->handle_count; i++) {
        *consumer_out = session->handles[i].consumer;
        if (strcmp(session->handles[i].name, name) == 0) return DAYBOOK_OK;
    }
    daybook_status status = daybook_consumer_open(session->store, daybook_text(session->stream),
                                                  daybook_text(name), consumer_out, error);
    if (status != DAYBOOK_OK || session->handle_count == HANDLES_MAX) return status;
    handle *added = &session->handles[session->handle_count++];
    (void)snprintf(added->name, sizeof added->name, "%s", name);
    added->consumer = *consumer_out;
    return DAYBOOK_OK;
}

static void release(scenario_session *session, const char *name) {
    for (size_t i = 0; i < session->handle_count; i++) {
        if (strcmp(session->handles[i].name, name) != 0) continue;
        daybook_consumer_close(session->handles[i].consumer);
        session->handles[i] = session->handles[--session->handle_count];
        return;
    }
}

static scenario_outcome add(scenario_session *session, const daybook_consumer_config *config, char *why) {
    daybook_error error;
    daybook_error_init(&error);
    return outcome_of(
        daybook_consumer_add(session->store, daybook_text(session->stream), config, NULL, &error), &error,
        why);
}

static scenario_outcome update(scenario_session *session, const daybook_consumer_config *config, char *why) {
    daybook_error error;
    daybook_error_init(&error);
    return outcome_of(daybook_consumer_update(session->store, daybook_text(session->stream), config, &error),
                      &error, why);
}

static scenario_outcome remove_consumer(scenario_session *session, const char *name, char *why) {
    daybook_error error;
    daybook_error_init(&error);
    return outcome_of(
        daybook_consumer_remove(session->store, daybook_text(session->stream), daybook_text(name), &error),
        &error, why);
}

static scenario_outcome pause_until(scenario_session *session, const char *name, int64_t until_ns,
                                    char *why) {
    daybook_error error;
    daybook_error_init(&error);
    return outcome_of(daybook_consumer_pause(session->store, daybook_text(session->stream),
                                             daybook_text(name), until_ns, &error),
                      &error, why);
}

static scenario_outcome get_info(scenario_session *session, const char *name, scenario_info *into,
                                 char *why) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_consumer_info *info;
    daybook_status status = daybook_consumer_get_info(session->store, daybook_text(session->stream),
                                                      daybook_text(name), &info, &error);
    if (status == DAYBOOK_OK) {
        *into = (scenario_info){
            .delivered_number = info->delivered_number,
            .delivered_seq = info->delivered_seq,
            .floor_number = info->floor_number,
            .floor_seq = info->floor_seq,
            .ack_pending = info->ack_pending_count,
            .redelivered = info->redelivered_count,
            .waiting = info->waiting_count,
            .pending = info->pending_count,
        };
        daybook_consumer_info_release(session->store, info);
    }
    return outcome_of(status, &error, why);
}

// ---- Messages ---------------------------------------------------------------------------------------------

static void *run_fetch(void *context) {
    scenario_request *request = context;
    request->status =
        daybook_consumer_fetch(request->consumer, &request->options, &request->batch, &request->error);
    return NULL;
}

static scenario_outcome request(scenario_session *session, const char *name,
                                const daybook_fetch_options *options, scenario_request **request_out,
                                char *why) {
    scenario_request *made = calloc(1, sizeof *made);
    if (made == NULL) return OUTCOME_BROKEN;
    made->options = *options;
    (void)snprintf(made->name, sizeof made->name, "%s", name);
    daybook_error_init(&made->error);
    daybook_status status = handle_of(session, name, &made->consumer, &made->error);
    if (status != DAYBOOK_OK || pthread_create(&made->thread, NULL, run_fetch, made) != 0) {
        scenario_outcome outcome = outcome_of(status, &made->error, why);
        free(made);
        return status == DAYBOOK_OK ? OUTCOME_BROKEN : outcome;
    }
    *request_out = made;
    return OUTCOME_OK;
}

static void copy_text(char *into, size_t capacity, daybook_slice from) {
    size_t size = from.size < capacity - 1 ? from.size : capacity - 1;
    if (size > 0) memcpy(into, from.data, size);
    into[size] = '\0';
}

static void copy_message(const daybook_message *from, scenario_message *into) {
    *into = (scenario_message){
        .seq = from->event.seq,
        .number = from->delivery,
        .delivery_count = from->delivery_count,
        .pending_count = from->pending_count,
        .recorded_ns = from->event.recorded_ns,
        .data_size = from->event.event.data.size,
        .said_size = from->data_size,
    };
    copy_text(into->subject, sizeof into->subject, from->event.event.subject);
    copy_text(into->data, sizeof into->data, from->event.event.data);
}

static scenario_outcome collect(scenario_session *session, scenario_request *request,
                                scenario_messages *messages, char *why) {
    char name[sizeof request->name];
    memcpy(name, request->name, sizeof name);
    (void)pthread_join(request->thread, NULL);
    scenario_outcome outcome = outcome_of(request->status, &request->error, why);
    for (size_t i = 0; request->batch != NULL && i < request->batch->count && i < MESSAGES_MAX; i++)
        copy_message(&request->batch->messages[i], &messages->items[messages->count++]);
    daybook_batch_release(request->batch);
    free(request);
    if (outcome == OUTCOME_ABSENT) release(session, name); // for one made anew there is another handle
    return outcome;
}

static scenario_outcome answer(scenario_session *session, const char *name, const scenario_reply *reply,
                               char *why) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_consumer *consumer;
    daybook_status status = handle_of(session, name, &consumer, &error);
    if (status != DAYBOOK_OK) return outcome_of(status, &error, why);
    switch (reply->kind) {
    case SAYS_ACK:
        status =
            daybook_consumer_ack(consumer, reply->seq, reply->confirmed ? DAYBOOK_ACK_CONFIRMED : 0, &error);
        break;
    case SAYS_NAK:
        status = daybook_consumer_nak(consumer, reply->seq, reply->delay_ns, &error);
        break;
    case SAYS_PROGRESS:
        status = daybook_consumer_progress(consumer, reply->seq, &error);
        break;
    case SAYS_TERM:
        status = daybook_consumer_term(consumer, reply->seq,
                                       daybook_text(reply->reason == NULL ? "" : reply->reason), &error);
        break;
    }
    scenario_outcome outcome = outcome_of(status, &error, why);
    return outcome == OUTCOME_ABSENT ? OUTCOME_NOT_PENDING : outcome;
}

// ---- Advisories -------------------------------------------------------------------------------------------

static uint64_t number_behind(const char *json, const char *key) {
    const char *at = strstr(json, key);
    return at == NULL ? 0 : strtoull(at + strlen(key), NULL, 10);
}

// "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.<stream>.<consumer>"
static void describe_advisory(const daybook_recorded_event *event, char text[ADVISORY_SIZE]) {
    char subject[256], json[1024];
    copy_text(subject, sizeof subject, event->event.subject);
    copy_text(json, sizeof json, event->event.data);
    const char *consumer = strrchr(subject, '.');
    bool terminated = strstr(subject, ".MSG_TERMINATED.") != NULL;
    (void)snprintf(text, ADVISORY_SIZE, "%s %s %" PRIu64 " %" PRIu64,
                   terminated ? "terminated" : "max_deliver", consumer == NULL ? "" : consumer + 1,
                   number_behind(json, "\"stream_seq\":"), number_behind(json, "\"deliveries\":"));
}

static scenario_outcome next_advisory(scenario_session *session, int timeout_ms, char text[ADVISORY_SIZE],
                                      char *why) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_cursor *cursor = NULL;
    daybook_recorded_event event;
    daybook_status status =
        read_first(session, "$ADVISORIES", session->advisory_seq + 1, 0, &cursor, &event, &error);
    if (status == DAYBOOK_OK) {
        session->advisory_seq = event.seq;
        describe_advisory(&event, text);
    } else if (status == DAYBOOK_END || status == DAYBOOK_ENOTFOUND) {
        status = DAYBOOK_TIMEOUT;
        struct timespec moment = {0, timeout_ms * MILLISECOND_NS};
        (void)nanosleep(&moment, NULL);
    }
    daybook_cursor_close(cursor);
    return outcome_of(status, &error, why);
}

void scenario_driver_library(scenario_driver *driver_out) {
    *driver_out = (scenario_driver){
        .name = "daybook",
        .version = UINT_MAX,
        .tells_not_pending = true,
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
}
