// SPDX-License-Identifier: Apache-2.0
// Publishing into streams.
//
//     loop     a message on a captured subject: copied, joins those that wait for its stream's next round
//     worker   a round: for each publish, in order: headers are read and checked, an event and its conditions
//              are made of them, submitted to the store. This may look into the index, so it is no matter for
//              the loop. Those of a small round are submitted at once, and where no group is being written
//              the worker writes it.
//     commit   the store's commit thread, or that worker: what became of it is noted in the publish, which is
//              a finished job
//     loop     the acknowledgement is written and routed
//
// A stream has one round under way at most, so publishes of a stream are submitted in the order in which the
// loop got them. A round costs one change of threads, however many publishes it takes: the busier a stream,
// the cheaper each. What comes behind a roll-up waits for it, as the store takes those only one by one.
//
// What is acknowledged is durable (or queued, where the stream has a sync_interval). Acknowledgements of one
// stream come in the order of its sequence numbers, errors as soon as they are known.
//
// The append names its stream: a subject that moves to another stream meanwhile is refused, not acknowledged
// as this one's.
//
// All headers are stored with the event as they are; Nats-Msg-Id is the event's id, too. Ids are looked at
// before conditions: who repeats a publish is told of the first one. Bytes under way are held against the
// publisher's connection, which is not read beyond a bound.
#include "api/answer.h"
#include "api/value.h"
#include "base/bytes.h"
#include "base/number.h"
#include "base/time.h"
#include "daybook/read.h"
#include "daybook/subject.h"
#include "jetstream/order.h"
#include "jetstream/rewrite.h"

enum {
    HEADER_BLOCK_MAX = 65535,
    BUNDLE_MAX = 64, // publishes submitted at once
};

#define COMPLAIN_EACH_NS (10 * DBK_SECOND_NS) // what the store cannot do is logged as often

// ---- A publish --------------------------------------------------------------------------------------------

static dbk_js_publish *new_publish(dbk_js_stream *stream, dbk_client *from, const dbk_message *message) {
    size_t size = dbk_message_copy_size(message);
    dbk_js_publish *publish = dbk_alloc(stream->jetstream->allocator, sizeof *publish + size);
    if (publish == NULL) return NULL;
    *publish = (dbk_js_publish){.stream = dbk_js_stream_ref(stream),
                                .held_size = sizeof *publish + size,
                                .is_announced = from == NULL,
                                .wants_ack = message->reply.size > 0 && !stream->rules.no_ack};
    publish->message = dbk_message_copy(message, publish->bytes);
    if (from != NULL) {
        publish->from = dbk_client_ref(from);
        dbk_client_hold(from, publish->held_size);
    }
    return publish;
}

void dbk_js_let_go(dbk_js_publish *publish) {
    if (publish->from == NULL) return;
    dbk_client_release(publish->from, publish->held_size);
    dbk_client_unref(publish->from);
    publish->from = NULL;
}

void dbk_js_forget(dbk_js_publish *publish) {
    dbk_js_stream *stream = publish->stream;
    dbk_jetstream *jetstream = stream->jetstream;
    const daybook_allocator *allocator = jetstream->allocator;
    dbk_js_let_go(publish);
    dbk_js_rewrite_forget(publish);
    dbk_free(allocator, publish->outcome.error);
    dbk_free(allocator, publish);
    dbk_js_stream_unref(stream);
    dbk_js_end_job(jetstream);
}

// ---- Acknowledging: the loop ------------------------------------------------------------------------------

static void write_ack(dbk_buf *out, const dbk_js_stream *stream, const dbk_js_outcome *said,
                      dbk_slice batch_id) {
    dbk_api_error none;
    const dbk_api_error *error = said->error;
    if (!said->has_error) {
        dbk_api_write_pub_ack(out, &(dbk_api_pub_ack){.stream = stream->name,
                                                      .domain = stream->jetstream->domain,
                                                      .seq = said->seq,
                                                      .is_duplicate = said->is_duplicate,
                                                      .batch = batch_id,
                                                      .batch_count = said->batch_count});
        return;
    }
    if (error == NULL) {
        (void)dbk_api_fail_memory(&none);
        error = &none;
    }
    dbk_api_write_pub_failure(out, error, stream->name, 0);
}

static void read_conflicting_id(dbk_job *job);

// The job's `done`: the append is durable or refused.
static void acknowledge(dbk_job *job) {
    dbk_js_publish *publish = DBK_OWNER(job, dbk_js_publish, job);
    dbk_jetstream *jetstream = publish->stream->jetstream;
    if (publish->outcome.conflicting_seq > 0) { // once more, with a worker before
        publish->job.run = read_conflicting_id;
        publish->job.is_slow = true;
        dbk_jobs_submit(jetstream->broker->jobs, &publish->job);
        return;
    }
    for (const dbk_js_publish *member = publish->members; member != NULL; member = member->next)
        dbk_js_republish(member);
    dbk_js_republish(publish);
    if (publish->wants_ack) {
        write_ack(dbk_js_begin_answer(jetstream), publish->stream, &publish->outcome, publish->batch_id);
        dbk_js_end_answer(jetstream, dbk_js_publish_reply(publish), false);
    }
    dbk_js_order_end(publish);
    while (publish->members != NULL) {
        dbk_js_publish *next = publish->members->next;
        dbk_js_forget(publish->members);
        publish->members = next;
    }
    dbk_js_forget(publish);
}

void dbk_js_refuse_with(dbk_js_publish *publish, dbk_api_error_kind kind, uint64_t number) {
    publish->outcome.has_error = true;
    publish->outcome.error = dbk_alloc(publish->stream->jetstream->allocator, sizeof *publish->outcome.error);
    if (publish->outcome.error != NULL)
        (void)dbk_api_fail_with(publish->outcome.error, kind, "%llu", (unsigned long long)number);
    acknowledge(&publish->job);
}

void dbk_js_refuse(dbk_js_publish *publish, dbk_api_error_kind kind) {
    dbk_js_refuse_with(publish, kind, 0); // its text has no number
}

// ---- What a store's refusal is called ---------------------------------------------------------------------

static dbk_publish_header conflicting_header(const dbk_js_publish *publish, const daybook_error *cause) {
    return cause->condition < DBK_JS_CONDITIONS_MAX ? publish->condition_headers[cause->condition]
                                                    : DBK_PUBLISH_EXPECTED_LAST_SEQUENCE;
}

static bool fail_conflict(const dbk_js_publish *publish, const daybook_error *cause,
                          dbk_api_error *error_out) {
    // The store knows ids by a hash: which one it is instead is read for who wants to know, see
    // read_conflicting_id.
    if (conflicting_header(publish, cause) == DBK_PUBLISH_EXPECTED_LAST_MSG_ID)
        return dbk_api_fail_with(error_out, DBK_API_ERR_STREAM_WRONG_LAST_MSG_ID, "%s", "");
    return dbk_api_fail_with(error_out, DBK_API_ERR_STREAM_WRONG_LAST_SEQUENCE, "%llu",
                             (unsigned long long)cause->actual);
}

static bool fail_limit(const daybook_error *cause, dbk_api_error *error_out) {
    const char *why = cause->message;
    switch ((daybook_limit)cause->limit) {
    case DAYBOOK_LIMIT_MAX_MSG_SIZE:
    case DAYBOOK_LIMIT_EVENT_SIZE:
        return dbk_api_fail(error_out, DBK_API_ERR_STREAM_MESSAGE_EXCEEDS_MAXIMUM);
    case DAYBOOK_LIMIT_BATCH_COUNT:
    case DAYBOOK_LIMIT_BATCH_SIZE:
        return dbk_api_fail_with(error_out, DBK_API_ERR_ATOMIC_PUBLISH_TOO_LARGE_BATCH, "%llu",
                                 (unsigned long long)cause->expected);
    case DAYBOOK_LIMIT_MAX_MSGS:
        why = "maximum messages exceeded";
        break;
    case DAYBOOK_LIMIT_MAX_BYTES:
        why = "maximum bytes exceeded";
        break;
    case DAYBOOK_LIMIT_MAX_MSGS_PER_SUBJECT:
        why = "maximum messages per subject exceeded";
        break;
    case DAYBOOK_LIMIT_JOURNAL_SIZE:
    case DAYBOOK_LIMIT_OTHER:
        break;
    }
    return dbk_api_fail_with(error_out, DBK_API_ERR_STREAM_STORE_FAILED, "%s", why);
}

static bool fail_append(const dbk_js_publish *publish, daybook_status status, const daybook_error *cause,
                        dbk_api_error *error_out) {
    switch (status) {
    case DAYBOOK_ECONFLICT:
        return fail_conflict(publish, cause, error_out);
    case DAYBOOK_ELIMIT:
        return fail_limit(cause, error_out);
    case DAYBOOK_ENOSTREAM:
    case DAYBOOK_ENOTFOUND:
        return dbk_api_fail(error_out, DBK_API_ERR_STREAM_NOT_FOUND);
    case DAYBOOK_ENOMEM:
        return dbk_api_fail_memory(error_out);
    default:
        return dbk_api_fail_status(error_out, status, cause, DBK_API_ERR_STREAM_STORE_FAILED);
    }
}

// What no publisher can mend: who runs the server is told, once in a while.
static bool is_of_system(daybook_status status) {
    switch (status) {
    case DAYBOOK_ENOSPC:
    case DAYBOOK_EIO:
    case DAYBOOK_EMFILE:
    case DAYBOOK_EDAMAGED:
    case DAYBOOK_EREADONLY:
    case DAYBOOK_EPERMISSION:
    case DAYBOOK_EPOISONED:
    case DAYBOOK_EUNCERTAIN:
        return true;
    default:
        return false;
    }
}

static void tell_log(const dbk_js_publish *publish, daybook_status status, const daybook_error *cause) {
    dbk_jetstream *jetstream = publish->stream->jetstream;
    if (!is_of_system(status)) return;
    int64_t now_ns = jetstream->broker->vfs->clock_monotonic_ns(jetstream->broker->vfs);
    if (!dbk_once_each(&jetstream->complain_next_ns, now_ns, COMPLAIN_EACH_NS)) return;
    bool has_message = cause != NULL && cause->message[0] != '\0';
    dbk_slice name = publish->stream->name;
    dbk_broker_log(jetstream->broker, ERROR, "JetStream stream '%.*s' cannot store: %s", (int)name.size,
                   (const char *)name.data, has_message ? cause->message : daybook_status_text(status));
}

// Any thread but the loop, which gets it next.
void dbk_js_finish_with_error(dbk_js_publish *publish, const dbk_api_error *error) {
    publish->outcome.has_error = true;
    dbk_api_error *copy = publish->wants_ack ? dbk_alloc(publish->stream->jetstream->allocator, sizeof *copy)
                                             : NULL;
    if (copy != NULL) *copy = *error;
    publish->outcome.error = copy;
    dbk_jobs_finish(publish->stream->jetstream->broker->jobs, &publish->job);
}

void dbk_js_finish(dbk_js_publish *publish, daybook_status status, const daybook_receipt *receipt,
                   const daybook_error *cause) {
    if (status != DAYBOOK_OK) {
        dbk_api_error error;
        tell_log(publish, status, cause);
        (void)fail_append(publish, status, cause, &error);
        if (publish->wants_ack && status == DAYBOOK_ECONFLICT &&
            conflicting_header(publish, cause) == DBK_PUBLISH_EXPECTED_LAST_MSG_ID)
            publish->outcome.conflicting_seq = cause->actual;
        dbk_js_finish_with_error(publish, &error);
        return;
    }
    dbk_js_note_receipt(publish, receipt);
    dbk_jobs_finish(publish->stream->jetstream->broker->jobs, &publish->job);
}

// A worker: the id of the message that has another one than was expected; none where that had none, or is
// gone.
static void read_conflicting_id(dbk_job *job) {
    dbk_js_publish *publish = DBK_OWNER(job, dbk_js_publish, job);
    daybook_store *store = publish->stream->jetstream->store;
    daybook_query query;
    daybook_cursor *cursor = NULL;
    daybook_recorded_event event;
    daybook_query_init(&query);
    query.stream = publish->stream->name;
    query.seq_from = query.seq_to = publish->outcome.conflicting_seq;
    publish->outcome.conflicting_seq = 0;
    daybook_status status = daybook_read(store, &query, &cursor, NULL);
    if (status == DAYBOOK_OK) status = daybook_cursor_next(cursor, 0, &event, NULL);
    dbk_slice id = daybook_text("");
    for (size_t i = 0; status == DAYBOOK_OK && i < event.event.header_count; i++)
        if (dbk_slice_equal(event.event.headers[i].name, daybook_text("Nats-Msg-Id")))
            id = event.event.headers[i].value;
    if (publish->outcome.error != NULL)
        (void)dbk_api_fail_with(publish->outcome.error, DBK_API_ERR_STREAM_WRONG_LAST_MSG_ID, "%.*s",
                                (int)id.size, (const char *)id.data);
    daybook_cursor_close(cursor);
}

// From the store's commit thread, or a worker.
static void appended(void *context, daybook_status status, const daybook_receipt *receipts, size_t count,
                     const daybook_error *error) {
    (void)count;
    dbk_js_finish(context, status, receipts, error);
}

// ---- Submitting: a worker ---------------------------------------------------------------------------------

static bool read_headers(dbk_js_making *make, dbk_api_error *error_out) {
    dbk_headers block;
    dbk_slice name, value;
    dbk_publish_headers_read(dbk_js_publish_headers(make->publish), &make->said);
    make->event.headers = make->headers;
    if (!dbk_headers_open(dbk_js_publish_headers(make->publish), &block)) return true;
    while (dbk_headers_next(&block, &name, &value)) {
        if (make->event.header_count == DAYBOOK_HEADER_COUNT_MAX)
            return make->publish->message.header_size > HEADER_BLOCK_MAX
                       ? dbk_api_fail(error_out, DBK_API_ERR_STREAM_HEADER_EXCEEDS_MAXIMUM)
                       : dbk_api_fail_with(error_out, DBK_API_ERR_STREAM_STORE_FAILED,
                                           "the message has more than %d headers", DAYBOOK_HEADER_COUNT_MAX);
        daybook_header *header = &make->headers[make->event.header_count++];
        header->name = name;
        header->value = value;
    }
    return true;
}

static daybook_condition *add_condition(dbk_js_making *make, int kind, dbk_publish_header header,
                                        uint64_t expected) {
    make->publish->condition_headers[make->condition_count] = (uint8_t)header;
    daybook_condition *condition = &make->conditions[make->condition_count++];
    daybook_condition_init(condition, kind);
    condition->stream = make->publish->stream->name;
    condition->expected = expected;
    return condition;
}

// Where something stands that is no number a condition was meant, and it cannot hold: no seq is that large.
static bool read_number(const dbk_js_making *make, dbk_publish_header header, uint64_t *number_out) {
    if (!dbk_js_making_has(make, header) || make->said.values[header].size == 0) return false;
    if (!dbk_header_number(make->said.values[header], number_out)) *number_out = UINT64_MAX;
    return true;
}

static bool add_conditions(dbk_js_making *make, dbk_api_error *error_out) {
    uint64_t expected;
    bool has_filter = dbk_js_making_has(make, DBK_PUBLISH_EXPECTED_LAST_SUBJECT);
    if (read_number(make, DBK_PUBLISH_EXPECTED_LAST_SUBJECT_SEQUENCE, &expected)) {
        daybook_condition *condition = add_condition(make, DAYBOOK_EXPECT_SUBJECT_SEQ,
                                                     DBK_PUBLISH_EXPECTED_LAST_SUBJECT_SEQUENCE, expected);
        condition->filter = has_filter ? make->said.values[DBK_PUBLISH_EXPECTED_LAST_SUBJECT]
                                       : make->event.subject;
        if (has_filter && !daybook_filter_is_valid(condition->filter))
            return dbk_api_fail(error_out, DBK_API_ERR_STREAM_EXPECTED_LAST_SEQ_PER_SUBJECT_INVALID);
    } else if (has_filter) {
        return dbk_api_fail(error_out, DBK_API_ERR_STREAM_EXPECTED_LAST_SEQ_PER_SUBJECT_INVALID);
    }
    if (read_number(make, DBK_PUBLISH_EXPECTED_LAST_SEQUENCE, &expected))
        (void)add_condition(make, DAYBOOK_EXPECT_STREAM_SEQ, DBK_PUBLISH_EXPECTED_LAST_SEQUENCE, expected);
    if (dbk_js_making_has(make, DBK_PUBLISH_EXPECTED_LAST_MSG_ID))
        add_condition(make, DAYBOOK_EXPECT_LAST_ID, DBK_PUBLISH_EXPECTED_LAST_MSG_ID, 0)->id =
            make->said.values[DBK_PUBLISH_EXPECTED_LAST_MSG_ID];
    return true;
}

#define ROLLUP_REFUSED "rollup not permitted"

static bool check_rollup(const dbk_js_making *make, dbk_api_error *error_out) {
    if (!dbk_js_making_has(make, DBK_PUBLISH_ROLLUP) || make->said.values[DBK_PUBLISH_ROLLUP].size == 0)
        return true;
    dbk_slice value = make->said.values[DBK_PUBLISH_ROLLUP];
    if (!make->rules->allow_rollup)
        return dbk_api_fail_with(error_out, DBK_API_ERR_STREAM_ROLLUP_FAILED, "%s", ROLLUP_REFUSED);
    if (!dbk_slice_equal(value, daybook_text("sub")) && !dbk_slice_equal(value, daybook_text("all")))
        return dbk_api_fail_with(error_out, DBK_API_ERR_STREAM_ROLLUP_FAILED,
                                 "rollup value invalid: \"%.*s\"", (int)value.size, (const char *)value.data);
    return true;
}

static bool check_sizes(const dbk_js_making *make, dbk_api_error *error_out) {
    const dbk_js_publish *publish = make->publish;
    if (publish->message.header_size > HEADER_BLOCK_MAX)
        return dbk_api_fail(error_out, DBK_API_ERR_STREAM_HEADER_EXCEEDS_MAXIMUM);
    if (make->rules->message_size_max > 0 && publish->message.payload.size > make->rules->message_size_max)
        return dbk_api_fail(error_out, DBK_API_ERR_STREAM_MESSAGE_EXCEEDS_MAXIMUM);
    return true;
}

// Has it the header, with a value, and has the server that is announced heard of it?
static bool says(const dbk_js_making *make, dbk_publish_header header, int since) {
    return make->publish->stream->jetstream->broker->dial.version >= since &&
           dbk_js_making_has(make, header) && make->said.values[header].size > 0;
}

static bool is_whole_number(dbk_slice text) {
    const char *at = text.data;
    size_t sign = at[0] == '-' || at[0] == '+';
    return dbk_is_decimal(daybook_bytes(at + sign, text.size - sign));
}

// No stream counts, or publishes later.
static bool check_counter(const dbk_js_making *make, dbk_api_error *error_out) {
    if (!says(make, DBK_PUBLISH_INCREMENT, 212)) return true;
    return dbk_api_fail(error_out, is_whole_number(make->said.values[DBK_PUBLISH_INCREMENT])
                                       ? DBK_API_ERR_MESSAGE_INCR_DISABLED
                                       : DBK_API_ERR_MESSAGE_INCR_INVALID);
}

static bool check_schedule(const dbk_js_making *make, dbk_api_error *error_out) {
    return !says(make, DBK_PUBLISH_SCHEDULE, 212) ||
           dbk_api_fail(error_out, DBK_API_ERR_MESSAGE_SCHEDULES_DISABLED);
}

// False: the header says no time to live.
static bool read_ttl(const dbk_js_making *make, int64_t *ttl_s_out) {
    int64_t ttl_ns = 0;
    *ttl_s_out = 0;
    if (says(make, DBK_PUBLISH_TTL, 211) &&
        (!dbk_api_parse_ttl(make->said.values[DBK_PUBLISH_TTL], &ttl_ns) || ttl_ns == 0))
        return false;
    int64_t ttl_s = ttl_ns / DBK_SECOND_NS;
    *ttl_s_out = ttl_ns < 0 ? DAYBOOK_TTL_NEVER : ttl_s < DAYBOOK_TTL_S_MAX ? ttl_s : DAYBOOK_TTL_S_MAX;
    return true;
}

static bool check_ttl_is_allowed(const dbk_js_making *make, dbk_api_error *error_out) {
    int64_t ttl_s;
    if (make->rules->allow_ttl || !read_ttl(make, &ttl_s) || ttl_s == 0) return true;
    return dbk_api_fail(error_out, DBK_API_ERR_MESSAGE_TTL_DISABLED);
}

// Who lives shorter than a marker of its stream lives as long, and its header says so: the first of the name
// is taken out, and another put behind the others.
static void raise_ttl(dbk_js_making *make) {
    const dbk_js_rules *rules = make->rules;
    if (make->event.ttl_s <= 0 || make->event.ttl_s >= rules->marker_ttl_s) return;
    make->event.ttl_s = rules->marker_ttl_s;
    size_t kept = 0, count = make->event.header_count;
    bool is_out = false;
    for (size_t i = 0; i < count; i++) {
        bool goes = !is_out &&
                    dbk_slice_equal(make->headers[i].name, dbk_publish_header_name(DBK_PUBLISH_TTL));
        if (goes)
            is_out = true;
        else
            make->headers[kept++] = make->headers[i];
    }
    if (!is_out) return; // defensive: it was read from there
    make->headers[kept].name = dbk_publish_header_name(DBK_PUBLISH_TTL);
    make->headers[kept].value = daybook_bytes(rules->marker_ttl, rules->marker_ttl_size);
}

static bool take_ttl(dbk_js_making *make, dbk_api_error *error_out) {
    if (!read_ttl(make, &make->event.ttl_s)) return dbk_api_fail(error_out, DBK_API_ERR_MESSAGE_TTL_INVALID);
    raise_ttl(make);
    return true;
}

// All that streams take together.
static bool check_room(const dbk_js_making *make, dbk_api_error *error_out) {
    dbk_jetstream *jetstream = make->publish->stream->jetstream;
    dbk_api_error_kind kind;
    if (dbk_js_usage_take(&jetstream->usage, make->rules->in_memory ? DBK_JS_MEMORY : DBK_JS_FILES,
                          make->event.subject.size + make->publish->message.payload.size, &kind))
        return true;
    return dbk_api_fail(error_out, kind);
}

bool dbk_js_finish_late_rollup(dbk_js_publish *publish, daybook_status status) {
    daybook_store *store = publish->stream->jetstream->store;
    daybook_stream_info *info;
    dbk_api_error error;
    if (status != DAYBOOK_EINVALID ||
        daybook_stream_get_info(store, publish->stream->name, &info, NULL) != DAYBOOK_OK)
        return false;
    bool is_late = (info->config.flags & DAYBOOK_STREAM_ALLOW_ROLLUP) == 0;
    daybook_stream_info_release(store, info);
    if (!is_late) return false;
    (void)dbk_api_fail_with(&error, DBK_API_ERR_STREAM_ROLLUP_FAILED, "%s", ROLLUP_REFUSED);
    dbk_js_finish_with_error(publish, &error);
    return true;
}

// nats-server's order, but for ids, which the store looks at before all conditions.
static bool check(dbk_js_making *make, dbk_api_error *error_out) {
    const dbk_js_stream *stream = make->publish->stream;
    if (make->rules->is_sealed) return dbk_api_fail(error_out, DBK_API_ERR_STREAM_SEALED);
    if (!check_counter(make, error_out)) return false;
    if (dbk_js_making_has(make, DBK_PUBLISH_EXPECTED_STREAM) &&
        !dbk_slice_equal(make->said.values[DBK_PUBLISH_EXPECTED_STREAM], stream->name))
        return dbk_api_fail(error_out, DBK_API_ERR_STREAM_NOT_MATCH);
    return check_ttl_is_allowed(make, error_out) && add_conditions(make, error_out) &&
           check_schedule(make, error_out) && check_rollup(make, error_out) && check_sizes(make, error_out) &&
           take_ttl(make, error_out) && check_room(make, error_out);
}

// The publish belongs to the commit thread, or is finished, when this returns.
static void submit(dbk_js_making *make, daybook_append_bundle *bundle) {
    dbk_js_publish *publish = make->publish;
    daybook_store *store = publish->stream->jetstream->store;
    daybook_error cause;
    daybook_error_init(&cause);
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.conditions = make->conditions;
    options.condition_count = make->condition_count;
    options.stream = publish->stream->name;
    options.bundle = bundle;
    daybook_receipt receipt;
    bool waits = dbk_js_is_rollup(make);
    if (waits) daybook_append_bundle_submit(store, bundle, false); // they are before it
    daybook_status status =
        waits ? daybook_append(store, &make->event, 1, &options, &receipt, &cause)
              : daybook_append_submit(store, &make->event, 1, &options, appended, publish, &cause);
    if (waits && dbk_js_finish_late_rollup(publish, status)) return;
    if (waits || status != DAYBOOK_OK) dbk_js_finish(publish, status, &receipt, &cause);
}

bool dbk_js_make(dbk_js_publish *publish, const dbk_js_rules *rules, dbk_js_making *make_out,
                 dbk_api_error *error_out) {
    make_out->publish = publish;
    make_out->rules = rules;
    make_out->condition_count = 0;
    daybook_event_init(&make_out->event);
    if (!dbk_js_rewrite_subject(publish, rules->rewrite, error_out)) return false;
    make_out->event.subject = dbk_js_publish_stored_subject(publish);
    make_out->event.data = dbk_js_publish_data(publish);
    if (!read_headers(make_out, error_out) || !check(make_out, error_out)) return false;
    if (dbk_js_making_has(make_out, DBK_PUBLISH_MSG_ID))
        make_out->event.id = make_out->said.values[DBK_PUBLISH_MSG_ID];
    return dbk_js_rewrite_find_last(publish, error_out);
}

static void append_one(dbk_js_publish *publish, const dbk_js_rules *rules, daybook_append_bundle *bundle) {
    dbk_js_making make;
    dbk_api_error error;
    if (dbk_js_make(publish, rules, &make, &error)) {
        submit(&make, bundle);
    } else {
        dbk_js_finish_with_error(publish, &error);
    }
}

static void run_round(dbk_job *job) {
    dbk_js_stream *stream = DBK_OWNER(job, dbk_js_stream, round);
    daybook_store *store = stream->jetstream->store;
    daybook_append_bundle bundle = {0};
    bool is_large = false;
    for (dbk_js_publish *publish = stream->taken; publish != NULL;) {
        dbk_js_publish *next = publish->next; // it may be gone in a moment
        if (publish->is_batch) {
            daybook_append_bundle_submit(store, &bundle, false);
            dbk_js_batch_append(publish, &stream->round_rules);
        } else {
            append_one(publish, &stream->round_rules, &bundle);
        }
        if (bundle.count == BUNDLE_MAX) { // written while the others are made
            daybook_append_bundle_submit(store, &bundle, false);
            is_large = true;
        }
        publish = next;
    }
    daybook_append_bundle_submit(store, &bundle, !is_large);
}

// ---- Rounds: the loop -------------------------------------------------------------------------------------

static void begin_round(dbk_js_stream *stream);

static void end_round(dbk_job *job) {
    dbk_js_stream *stream = DBK_OWNER(job, dbk_js_stream, round);
    dbk_jetstream *jetstream = stream->jetstream;
    stream->round_runs = false;
    stream->taken = NULL;
    dbk_js_rewrite_unref(stream->round_rules.rewrite);
    if (stream->first_waiting != NULL) begin_round(stream);
    dbk_js_stream_unref(stream);
    dbk_js_end_job(jetstream);
}

static void begin_round(dbk_js_stream *stream) {
    stream->taken = stream->first_waiting;
    stream->first_waiting = stream->last_waiting = NULL;
    stream->round_rules = stream->rules;
    (void)dbk_js_rewrite_ref(stream->round_rules.rewrite);
    stream->round_runs = true;
    stream->round = (dbk_job){.run = run_round, .done = end_round};
    dbk_js_begin_job(dbk_js_stream_ref(stream)->jetstream);
    dbk_jobs_submit(stream->jetstream->broker->jobs, &stream->round);
}

void dbk_js_enqueue(dbk_js_publish *publish) {
    dbk_js_stream *stream = publish->stream;
    publish->next = NULL;
    if (stream->last_waiting == NULL) {
        stream->first_waiting = publish;
    } else {
        stream->last_waiting->next = publish;
    }
    stream->last_waiting = publish;
    dbk_js_order_begin(publish);
    if (!stream->round_runs) begin_round(stream);
}

// A subject that several filters of its stream match comes with each of their services: the first takes it.
static bool is_taken_by_another(const dbk_js_subject *subject, const dbk_message *message) {
    if (!subject->stream->rules.subjects_overlap) return false;
    for (const dbk_js_subject *other = subject->stream->first_subject; other != subject; other = other->next)
        if (daybook_filter_matches(daybook_bytes(other->filter, other->filter_size), message->subject))
            return true;
    return false;
}

static void refuse_for_memory(dbk_js_stream *stream, const dbk_message *message) {
    if (message->reply.size == 0 || stream->rules.no_ack) return;
    write_ack(dbk_js_begin_answer(stream->jetstream), stream, &(dbk_js_outcome){.has_error = true},
              daybook_bytes(NULL, 0));
    dbk_js_end_answer(stream->jetstream, message->reply, false);
}

void dbk_js_capture(void *context, dbk_client *from, const dbk_message *message) {
    const dbk_js_subject *subject = context;
    dbk_js_stream *stream = subject->stream;
    if (is_taken_by_another(subject, message)) return;
    dbk_js_publish *publish = new_publish(stream, from, message);
    if (publish == NULL) {
        refuse_for_memory(stream, message);
        return;
    }
    publish->job.done = acknowledge;
    dbk_js_begin_job(stream->jetstream);
    if (!dbk_js_batch_take(publish)) dbk_js_enqueue(publish);
}
