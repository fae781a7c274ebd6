// SPDX-License-Identifier: Apache-2.0
// Key-value buckets, to the NATS conventions, so that a bucket moves to a NATS server as it is.
//
//     bucket B        stream KV_B, subjects $KV.B.>, no aggregates, `history` values per subject, discard
//                     new, roll-up allowed, delete of single events denied, internal (read only when named)
//     put k           an event on $KV.B.k; its seq is the revision
//     create k        expects no live event on the subject; where the last one is a marker, its seq instead
//     update k        expects the revision
//     delete k        empty event with KV-Operation: DEL
//     purge k         empty event with KV-Operation: PURGE and Nats-Rollup: sub, which removes what is older
//     limit markers   Nats-Marker-Reason: MaxAge or Purge count as PURGE, Remove as DEL
//
// A key is whatever makes `$KV.B.<key>` a valid subject: wider than NATS clients accept
// ([-/_=.a-zA-Z0-9]+), because snapshot keys are aggregates, whose tokens may hold any UTF-8.
//
// Nothing is kept between calls: an entry is a view of the event under a cursor. Any thread.
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "daybook/kv.h"
#include "daybook/subject.h"

enum {
    HISTORY_MAX = 64,
    BUCKET_SIZE_MAX = DAYBOOK_STREAM_NAME_SIZE_MAX - 3,
    CREATE_ATTEMPT_COUNT_MAX = 8,
};

#define NO_EXPECTATION UINT64_MAX
#define DUPLICATE_WINDOW_NS INT64_C(120000000000)

static const char subject_prefix[] = "$KV.";
enum { SUBJECT_PREFIX_SIZE = sizeof subject_prefix - 1 };

typedef struct subject_text {
    char text[SUBJECT_PREFIX_SIZE + BUCKET_SIZE_MAX + 1 + DAYBOOK_SUBJECT_SIZE_MAX + 1];
    size_t size;
} subject_text;

typedef struct stream_text {
    char text[DAYBOOK_STREAM_NAME_SIZE_MAX + 1];
    size_t size;
} stream_text;

static int width(daybook_slice text) {
    return text.size > 300 ? 300 : (int)text.size;
}

#define TEXT(slice) width(slice), (slice).size == 0 ? "" : (const char *)(slice).data

static daybook_slice slice_of(const subject_text *subject) {
    return daybook_bytes(subject->text, subject->size);
}

static daybook_status check_bucket(daybook_slice bucket, daybook_error *error) {
    const char *name = bucket.data;
    bool is_valid = bucket.size >= 1 && bucket.size <= BUCKET_SIZE_MAX;
    for (size_t i = 0; is_valid && i < bucket.size; i++) {
        char byte = name[i];
        is_valid = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                   (byte >= '0' && byte <= '9') || byte == '_' || byte == '-';
    }
    if (is_valid) return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_EINVALID,
                    "bad bucket name '%.*s': a name is 1 to %d letters, digits, '_' and '-'; choose another",
                    TEXT(bucket), BUCKET_SIZE_MAX);
}

static void stream_name(daybook_slice bucket, stream_text *stream_out) {
    memcpy(stream_out->text, "KV_", 3);
    memcpy(stream_out->text + 3, bucket.data, bucket.size);
    stream_out->size = 3 + bucket.size;
    stream_out->text[stream_out->size] = '\0';
}

static daybook_slice stream_slice(const stream_text *stream) {
    return daybook_bytes(stream->text, stream->size);
}

// `tail` is a key or a filter over keys, at most DAYBOOK_SUBJECT_SIZE_MAX bytes.
static void join_subject(daybook_slice bucket, daybook_slice tail, subject_text *subject_out) {
    char *at = subject_out->text;
    memcpy(at, subject_prefix, SUBJECT_PREFIX_SIZE);
    at += SUBJECT_PREFIX_SIZE;
    memcpy(at, bucket.data, bucket.size);
    at += bucket.size;
    *at++ = '.';
    memcpy(at, tail.data, tail.size);
    at += tail.size;
    *at = '\0';
    subject_out->size = (size_t)(at - subject_out->text);
}

static daybook_status make_subject(daybook_slice bucket, daybook_slice key, subject_text *subject_out,
                                   daybook_error *error) {
    DBK_TRY(check_bucket(bucket, error));
    if (key.size > 0 && key.size <= DAYBOOK_SUBJECT_SIZE_MAX) {
        join_subject(bucket, key, subject_out);
        if (daybook_subject_is_valid(slice_of(subject_out))) return DAYBOOK_OK;
    }
    return dbk_fail(
        error, DAYBOOK_ESUBJECT,
        "bad key '%.*s': a key is tokens joined by dots, without wildcards, white space or control "
        "characters, and fits a subject of %d bytes; correct it",
        TEXT(key), DAYBOOK_SUBJECT_SIZE_MAX);
}

static daybook_status no_bucket(daybook_error *error, daybook_slice bucket) {
    return dbk_fail(error, DAYBOOK_ENOTFOUND,
                    "no bucket '%.*s': it was never added or has been removed; add it first", TEXT(bucket));
}

void daybook_kv_config_init(daybook_kv_config *config) {
    memset(config, 0, sizeof *config);
    config->size = sizeof *config;
    config->history = 1;
}

daybook_status daybook_kv_add(daybook_engine *engine, const daybook_kv_config *config, daybook_error *error) {
    if (engine == NULL || config == NULL || config->size < sizeof *config)
        return dbk_fail(error, DAYBOOK_EMISUSE, "no engine or no bucket configuration given");
    DBK_TRY(check_bucket(config->bucket, error));
    if (config->history < 1 || config->history > HISTORY_MAX)
        return dbk_fail(error, DAYBOOK_EINVALID, "history of %u values: a bucket keeps 1 to %d per key",
                        config->history, HISTORY_MAX);
    if (config->ttl_ns < 0)
        return dbk_fail(error, DAYBOOK_EINVALID, "negative time to live: give a duration, or 0 for ever");

    stream_text name;
    subject_text subject;
    stream_name(config->bucket, &name);
    join_subject(config->bucket, daybook_text(">"), &subject);
    daybook_slice filter = slice_of(&subject);

    daybook_stream_config stream;
    daybook_stream_config_init(&stream);
    stream.name = stream_slice(&name);
    stream.subjects = &filter;
    stream.subject_count = 1;
    stream.aggregate_tokens = 0;
    stream.flags = DAYBOOK_STREAM_ALLOW_ROLLUP | DAYBOOK_STREAM_DENY_DELETE | DAYBOOK_STREAM_INTERNAL;
    stream.discard = DAYBOOK_DISCARD_NEW;
    stream.storage = config->storage;
    stream.max_msgs_per_subject = config->history;
    stream.max_bytes = config->max_bytes;
    stream.max_msg_size = config->max_value_size;
    stream.max_age_ns = config->ttl_ns;
    stream.duplicate_window_ns =
        config->ttl_ns > 0 && config->ttl_ns < DUPLICATE_WINDOW_NS ? config->ttl_ns : DUPLICATE_WINDOW_NS;
    stream.description = config->description;
    daybook_status status = daybook_engine_stream_add(engine, &stream, error);
    if (status == DAYBOOK_EEXISTS)
        return dbk_fail(error, status, "bucket '%.*s' exists already; choose another name or use it as it is",
                        TEXT(config->bucket));
    return status;
}

daybook_status daybook_kv_remove(daybook_engine *engine, daybook_slice bucket, daybook_error *error) {
    if (engine == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "no engine given");
    DBK_TRY(check_bucket(bucket, error));
    stream_text name;
    stream_name(bucket, &name);
    daybook_status status = daybook_engine_stream_remove(engine, stream_slice(&name), error);
    return status == DAYBOOK_ENOTFOUND ? no_bucket(error, bucket) : status;
}

// Reading.

static bool is_text(daybook_slice slice, const char *text) {
    return dbk_slice_equal(slice, daybook_text(text));
}

static int operation_of(const daybook_event *event) {
    for (size_t i = 0; i < event->header_count; i++) {
        const daybook_header *header = &event->headers[i];
        if (is_text(header->name, "KV-Operation")) {
            if (is_text(header->value, "DEL")) return DAYBOOK_KV_DELETE;
            if (is_text(header->value, "PURGE")) return DAYBOOK_KV_PURGE;
        } else if (is_text(header->name, "Nats-Marker-Reason")) {
            return is_text(header->value, "Remove") ? DAYBOOK_KV_DELETE : DAYBOOK_KV_PURGE;
        }
    }
    return DAYBOOK_KV_PUT;
}

static daybook_status make_entry(const daybook_recorded_event *recorded, daybook_kv_entry *entry_out,
                                 daybook_error *error) {
    daybook_slice subject = recorded->event.subject;
    const char *text = subject.data;
    const char *dot = NULL;
    if (subject.size > SUBJECT_PREFIX_SIZE && memcmp(text, subject_prefix, SUBJECT_PREFIX_SIZE) == 0)
        dot = memchr(text + SUBJECT_PREFIX_SIZE, '.', subject.size - SUBJECT_PREFIX_SIZE);
    if (dot == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE, "subject '%.*s' is no key: the cursor is not one of a bucket",
                        TEXT(subject));
    size_t bucket_size = (size_t)(dot - text) - SUBJECT_PREFIX_SIZE;
    memset(entry_out, 0, sizeof *entry_out);
    entry_out->size = sizeof *entry_out;
    entry_out->bucket = daybook_bytes(text + SUBJECT_PREFIX_SIZE, bucket_size);
    entry_out->key = daybook_bytes(dot + 1, subject.size - (size_t)(dot + 1 - text));
    entry_out->value = recorded->event.data;
    entry_out->revision = recorded->seq;
    entry_out->position = recorded->position;
    entry_out->created_ns = recorded->recorded_ns;
    entry_out->operation = operation_of(&recorded->event);
    return DAYBOOK_OK;
}

daybook_status daybook_kv_next(daybook_engine_cursor *cursor, int timeout_ms, daybook_kv_entry *entry_out,
                               daybook_error *error) {
    if (cursor == NULL || entry_out == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE, "no cursor or no room for the entry given");
    daybook_recorded_event recorded;
    DBK_TRY(daybook_engine_next(cursor, timeout_ms, &recorded, error));
    return make_entry(&recorded, entry_out, error);
}

// The event of one key at `revision`, 0 for the last, markers included. ENOTFOUND; then no cursor is left.
static daybook_status find_entry(daybook_engine *engine, daybook_slice bucket, const subject_text *subject,
                                 uint64_t revision, daybook_kv_entry *entry_out,
                                 daybook_engine_cursor **cursor_out, daybook_error *error) {
    stream_text name;
    stream_name(bucket, &name);
    daybook_slice filter = slice_of(subject);
    daybook_query query;
    daybook_query_init(&query);
    query.stream = stream_slice(&name);
    query.filters = &filter;
    query.filter_count = 1;
    query.flags = DAYBOOK_QUERY_REVERSE;
    query.limit = 1;
    query.seq_from = query.seq_to = revision;

    daybook_engine_cursor *cursor = NULL;
    daybook_status status = daybook_engine_read(engine, &query, &cursor, error);
    if (status == DAYBOOK_ENOTFOUND) return no_bucket(error, bucket);
    if (status == DAYBOOK_OK) status = daybook_kv_next(cursor, 0, entry_out, error);
    if (status == DAYBOOK_OK) {
        *cursor_out = cursor;
        return DAYBOOK_OK;
    }
    daybook_engine_cursor_close(cursor);
    if (status != DAYBOOK_END) return status;
    daybook_slice key = daybook_bytes(subject->text + SUBJECT_PREFIX_SIZE + bucket.size + 1,
                                      subject->size - SUBJECT_PREFIX_SIZE - bucket.size - 1);
    if (revision == 0)
        return dbk_fail(error, DAYBOOK_ENOTFOUND, "no key '%.*s' in bucket '%.*s'", TEXT(key), TEXT(bucket));
    return dbk_fail(
        error, DAYBOOK_ENOTFOUND,
        "key '%.*s' of bucket '%.*s' has no revision %llu: it is not one of this key or is no longer kept",
        TEXT(key), TEXT(bucket), (unsigned long long)revision);
}

daybook_status daybook_kv_get(daybook_engine *engine, daybook_slice bucket, daybook_slice key,
                              uint64_t revision, daybook_kv_entry *entry_out,
                              daybook_engine_cursor **cursor_out, daybook_error *error) {
    if (cursor_out != NULL) *cursor_out = NULL;
    if (engine == NULL || entry_out == NULL || cursor_out == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE, "no engine or no room for the entry given");
    subject_text subject;
    DBK_TRY(make_subject(bucket, key, &subject, error));
    daybook_kv_entry entry;
    daybook_engine_cursor *cursor = NULL;
    DBK_TRY(find_entry(engine, bucket, &subject, revision, &entry, &cursor, error));
    if (entry.operation != DAYBOOK_KV_PUT) {
        daybook_status status =
            dbk_fail(error, DAYBOOK_ENOTFOUND, "key '%.*s' of bucket '%.*s' was %s at revision %llu",
                     TEXT(key), TEXT(bucket), entry.operation == DAYBOOK_KV_DELETE ? "deleted" : "purged",
                     (unsigned long long)entry.revision);
        daybook_engine_cursor_close(cursor);
        return status;
    }
    *entry_out = entry;
    *cursor_out = cursor;
    return DAYBOOK_OK;
}

daybook_status daybook_kv_read(daybook_engine *engine, daybook_slice bucket, daybook_slice filter,
                               int history, int follow, daybook_engine_cursor **cursor_out,
                               daybook_error *error) {
    if (cursor_out != NULL) *cursor_out = NULL;
    if (engine == NULL || cursor_out == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE, "no engine or no room for the cursor given");
    DBK_TRY(check_bucket(bucket, error));
    if (filter.size == 0) filter = daybook_text(">");
    if (!daybook_filter_is_valid(filter))
        return dbk_fail(
            error, DAYBOOK_ESUBJECT,
            "bad filter '%.*s': a filter is tokens joined by dots, '*' for one token, a final '>' for the "
            "rest; correct it",
            TEXT(filter));
    stream_text name;
    subject_text subject;
    stream_name(bucket, &name);
    join_subject(bucket, filter, &subject);
    daybook_slice subject_filter = slice_of(&subject);
    daybook_query query;
    daybook_query_init(&query);
    query.stream = stream_slice(&name);
    query.filters = &subject_filter;
    query.filter_count = 1;
    if (!history) query.flags |= DAYBOOK_QUERY_LAST_PER_SUBJECT;
    if (follow) query.flags |= DAYBOOK_QUERY_FOLLOW;
    daybook_status status = daybook_engine_read(engine, &query, cursor_out, error);
    return status == DAYBOOK_ENOTFOUND ? no_bucket(error, bucket) : status;
}

// Writing.

typedef struct kv_write {
    daybook_slice bucket;
    daybook_slice key;
    const subject_text *subject;
    daybook_slice value;
    const daybook_header *headers;
    size_t header_count;
} kv_write;

// `expected` is the seq the key's last live event must have, 0 for none, NO_EXPECTATION for anything.
static daybook_status append_entry(daybook_engine *engine, const kv_write *write, uint64_t expected,
                                   uint64_t *revision_out, daybook_error *error) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = slice_of(write->subject);
    event.data = write->value;
    event.headers = write->headers;
    event.header_count = write->header_count;

    daybook_condition condition;
    daybook_append_options options;
    daybook_append_options_init(&options);
    if (expected != NO_EXPECTATION) {
        daybook_condition_init(&condition, DAYBOOK_EXPECT_SUBJECT_SEQ);
        condition.expected = expected;
        options.conditions = &condition;
        options.condition_count = 1;
    }

    daybook_receipt receipt;
    memset(&receipt, 0, sizeof receipt);
    receipt.size = sizeof receipt;
    daybook_status status = daybook_engine_append(engine, &event, 1, &options, &receipt, error);
    if (status == DAYBOOK_ENOSTREAM) return no_bucket(error, write->bucket);
    if (status == DAYBOOK_OK && revision_out != NULL) *revision_out = receipt.seq;
    return status;
}

// Says in words of the bucket what an append condition found; keeps the numbers.
static daybook_status conflict(daybook_error *error, const kv_write *write, uint64_t expected,
                               uint64_t actual) {
    daybook_status status;
    if (expected == 0)
        status = dbk_fail(error, DAYBOOK_ECONFLICT,
                          "key '%.*s' of bucket '%.*s' has a value: revision %llu; update it instead",
                          TEXT(write->key), TEXT(write->bucket), (unsigned long long)actual);
    else
        status = dbk_fail(error, DAYBOOK_ECONFLICT,
                          "key '%.*s' of bucket '%.*s' is at revision %llu, not %llu; read it and try again",
                          TEXT(write->key), TEXT(write->bucket), (unsigned long long)actual,
                          (unsigned long long)expected);
    if (error != NULL) {
        error->expected = expected;
        error->actual = actual;
    }
    return status;
}

static daybook_status begin_write(daybook_engine *engine, daybook_slice bucket, daybook_slice key,
                                  daybook_slice value, subject_text *subject, kv_write *write_out,
                                  daybook_error *error) {
    if (engine == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "no engine given");
    DBK_TRY(make_subject(bucket, key, subject, error));
    memset(write_out, 0, sizeof *write_out);
    write_out->bucket = bucket;
    write_out->key = key;
    write_out->subject = subject;
    write_out->value = value;
    return DAYBOOK_OK;
}

daybook_status daybook_kv_put(daybook_engine *engine, daybook_slice bucket, daybook_slice key,
                              daybook_slice value, uint64_t *revision_out, daybook_error *error) {
    subject_text subject;
    kv_write write;
    DBK_TRY(begin_write(engine, bucket, key, value, &subject, &write, error));
    return append_entry(engine, &write, NO_EXPECTATION, revision_out, error);
}

static daybook_status update(daybook_engine *engine, const kv_write *write, uint64_t revision,
                             uint64_t *revision_out, daybook_error *error) {
    daybook_error detail;
    daybook_error_init(&detail);
    daybook_status status = append_entry(engine, write, revision, revision_out, &detail);
    if (status == DAYBOOK_ECONFLICT) return conflict(error, write, revision, detail.actual);
    if (status != DAYBOOK_OK && error != NULL) *error = detail;
    return status;
}

daybook_status daybook_kv_update(daybook_engine *engine, daybook_slice bucket, daybook_slice key,
                                 daybook_slice value, uint64_t revision, uint64_t *revision_out,
                                 daybook_error *error) {
    subject_text subject;
    kv_write write;
    DBK_TRY(begin_write(engine, bucket, key, value, &subject, &write, error));
    return update(engine, &write, revision, revision_out, error);
}

// What create must expect after a conflict: the marker's seq, 0 where the key is gone meanwhile. ECONFLICT
// where it has a value.
static daybook_status expectation_over_marker(daybook_engine *engine, const kv_write *write,
                                              uint64_t *expected_out, daybook_error *error) {
    daybook_kv_entry entry;
    daybook_engine_cursor *cursor = NULL;
    daybook_status status = find_entry(engine, write->bucket, write->subject, 0, &entry, &cursor, error);
    if (status == DAYBOOK_ENOTFOUND) {
        *expected_out = 0;
        return DAYBOOK_OK;
    }
    DBK_TRY(status);
    *expected_out = entry.revision;
    if (entry.operation == DAYBOOK_KV_PUT) status = conflict(error, write, 0, entry.revision);
    daybook_engine_cursor_close(cursor);
    return status;
}

daybook_status daybook_kv_create(daybook_engine *engine, daybook_slice bucket, daybook_slice key,
                                 daybook_slice value, uint64_t *revision_out, daybook_error *error) {
    subject_text subject;
    kv_write write;
    DBK_TRY(begin_write(engine, bucket, key, value, &subject, &write, error));
    uint64_t expected = 0;
    daybook_status status = DAYBOOK_ECONFLICT;
    // Another writer may delete or purge between the look and the append; each round then sees a newer
    // marker.
    for (int attempt = 0; attempt < CREATE_ATTEMPT_COUNT_MAX; attempt++) {
        status = update(engine, &write, expected, revision_out, error);
        if (status != DAYBOOK_ECONFLICT) return status;
        DBK_TRY(expectation_over_marker(engine, &write, &expected, error));
    }
    return dbk_fail(error, DAYBOOK_ECONFLICT,
                    "key '%.*s' of bucket '%.*s' not created: other writers keep changing it; try again",
                    TEXT(key), TEXT(bucket));
}

daybook_status daybook_kv_delete(daybook_engine *engine, daybook_slice bucket, daybook_slice key, int purge,
                                 uint64_t revision, uint64_t *revision_out, daybook_error *error) {
    subject_text subject;
    kv_write write;
    DBK_TRY(begin_write(engine, bucket, key, daybook_bytes(NULL, 0), &subject, &write, error));
    daybook_header headers[2];
    headers[0].name = daybook_text("KV-Operation");
    headers[0].value = daybook_text(purge ? "PURGE" : "DEL");
    headers[1].name = daybook_text("Nats-Rollup");
    headers[1].value = daybook_text("sub");
    write.headers = headers;
    write.header_count = purge ? 2 : 1;
    if (revision == 0) return append_entry(engine, &write, NO_EXPECTATION, revision_out, error);
    return update(engine, &write, revision, revision_out, error);
}
