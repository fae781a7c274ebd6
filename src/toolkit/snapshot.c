// SPDX-License-Identifier: Apache-2.0
// Snapshots: the folded state of an aggregate in bucket SNAPSHOTS under the aggregate's name, as
//
//     {"aggregate":"orders.123","version":7,"seq":19,"position":40,"schema":"merge-patch/1",
//      "time":T,"time_max":T,"recorded":T,"state":{...}}       T: RFC 3339, UTC, nine digits
//
// The bucket is made by the first snapshot and keeps the newest DBK_SNAPSHOT_HISTORY per aggregate, so that a
// look at an earlier moment may still begin with an earlier snapshot. Snapshots are a cache: one that is
// damaged, malformed, of another schema or not of this aggregate is passed over and the events are folded
// instead.
//
// Which one serves a moment: the newest with version <= asked; seq <= asked; time_max <= T (then every event
// it folded has time <= T; events it did not fold come by the query); recorded <= T for known-at.
//
// A snapshot must not bring back what was removed. The store removes an aggregate's snapshots together with
// its events, but a snapshot under way at that moment is stored after it. Therefore taking one looks at the
// stream's count of removals before folding and after storing, and when it moved removes what it stored and
// folds again. Where removals never stop (limits of a busy stream) the events it folded are counted instead.
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "daybook/kv.h"
#include "daybook/subject.h"
#include "daybook/time.h"
#include "toolkit/fold.h"
#include "toolkit/json.h"

enum {
    TAKE_ATTEMPT_COUNT_MAX = 4,
    SNAPSHOT_LOOK_COUNT_MAX = 64, // What a bucket made by hand may keep.
};

static daybook_slice bucket_name(void) {
    return daybook_text(DBK_SNAPSHOT_BUCKET);
}

// Text.

static bool get_count(const json_t *object, const char *name, uint64_t *count_out) {
    const json_t *value = json_object_get(object, name);
    if (!json_is_integer(value) || json_integer_value(value) < 1) return false;
    *count_out = (uint64_t)json_integer_value(value);
    return true;
}

static bool get_time(const json_t *object, const char *name, int64_t *time_ns_out) {
    const json_t *value = json_object_get(object, name);
    if (!json_is_string(value)) return false;
    daybook_slice text = daybook_bytes(json_string_value(value), json_string_length(value));
    // Only full times; "now" and the like are no stored times.
    if (text.size == 0 || ((const char *)text.data)[text.size - 1] != 'Z') return false;
    return daybook_time_parse(text, 0, time_ns_out) == DAYBOOK_OK;
}

static bool get_text(const json_t *object, const char *name, daybook_slice expected) {
    const json_t *value = json_object_get(object, name);
    return json_is_string(value) &&
           dbk_slice_equal(daybook_bytes(json_string_value(value), json_string_length(value)), expected);
}

static bool decode(const json_t *snapshot, daybook_slice aggregate, dbk_fold *fold) {
    json_t *state = json_object_get(snapshot, "state");
    if (!json_is_object(state) || !get_text(snapshot, "aggregate", aggregate) ||
        !get_text(snapshot, "schema", daybook_text(DBK_SNAPSHOT_SCHEMA)) ||
        !get_count(snapshot, "version", &fold->version) || !get_count(snapshot, "seq", &fold->seq) ||
        !get_count(snapshot, "position", &fold->position) || !get_time(snapshot, "time", &fold->time_ns) ||
        !get_time(snapshot, "time_max", &fold->time_max_ns) ||
        !get_time(snapshot, "recorded", &fold->recorded_ns))
        return false;
    fold->snapshot_version = fold->version;
    fold->state = json_incref(state);
    return true;
}

static void write_count(dbk_buf *out, const char *name, uint64_t count) {
    char digits[20];
    size_t at = sizeof digits;
    do digits[--at] = (char)('0' + count % 10);
    while ((count /= 10) > 0);
    dbk_buf_append(out, name, strlen(name));
    dbk_buf_append(out, digits + at, sizeof digits - at);
}

static void write_time(dbk_buf *out, const char *name, int64_t time_ns) {
    char text[DAYBOOK_TIME_TEXT_SIZE];
    size_t size = daybook_time_format(time_ns, text);
    dbk_buf_append(out, name, strlen(name));
    dbk_json_write_string(out, daybook_bytes(text, size));
}

static void encode(dbk_buf *out, const dbk_aggregate *aggregate, const dbk_fold *fold) {
    dbk_buf_append_slice(out, daybook_text("{\"aggregate\":"));
    dbk_json_write_string(out, aggregate->name_slice);
    write_count(out, ",\"version\":", fold->version);
    write_count(out, ",\"seq\":", fold->seq);
    write_count(out, ",\"position\":", fold->position);
    dbk_buf_append_slice(out, daybook_text(",\"schema\":\"" DBK_SNAPSHOT_SCHEMA "\""));
    write_time(out, ",\"time\":", fold->time_ns);
    write_time(out, ",\"time_max\":", fold->time_max_ns);
    write_time(out, ",\"recorded\":", fold->recorded_ns);
    dbk_buf_append_slice(out, daybook_text(",\"state\":"));
    dbk_json_write(out, fold->state);
    dbk_buf_append_u8(out, '}');
}

// Finding.

static bool is_usable(const dbk_fold *fold, const daybook_moment *moment) {
    if (moment == NULL) return true;
    if (moment->version != 0 && fold->version > moment->version) return false;
    if (moment->seq != 0 && fold->seq > moment->seq) return false;
    if (moment->time_ns != DAYBOOK_TIME_NONE && fold->time_max_ns > moment->time_ns) return false;
    return moment->known_at_ns == DAYBOOK_TIME_NONE || fold->recorded_ns <= moment->known_at_ns;
}

static daybook_status try_snapshot(daybook_slice text, const dbk_aggregate *aggregate,
                                   const daybook_moment *moment, dbk_fold *fold_out) {
    json_t *snapshot = NULL;
    daybook_status status = dbk_json_parse(text, &snapshot, NULL);
    if (status == DAYBOOK_EINVALID) return DAYBOOK_OK;
    DBK_TRY(status);
    dbk_fold fold;
    memset(&fold, 0, sizeof fold);
    if (decode(snapshot, aggregate->name_slice, &fold)) {
        if (is_usable(&fold, moment))
            *fold_out = fold;
        else
            dbk_fold_deinit(&fold);
    }
    json_decref(snapshot);
    return DAYBOOK_OK;
}

static const char subject_prefix[] = "$KV." DBK_SNAPSHOT_BUCKET ".";

typedef struct snapshot_subject {
    char text[sizeof subject_prefix + DAYBOOK_SUBJECT_SIZE_MAX];
} snapshot_subject;

// The subject of an aggregate's snapshots; no valid one where the name is too long for a key.
static daybook_slice make_subject(const dbk_aggregate *aggregate, snapshot_subject *subject) {
    size_t prefix_size = sizeof subject_prefix - 1;
    memcpy(subject->text, subject_prefix, prefix_size);
    memcpy(subject->text + prefix_size, aggregate->name, aggregate->name_slice.size);
    return daybook_bytes(subject->text, prefix_size + aggregate->name_slice.size);
}

static daybook_slice stream_name(void) {
    return daybook_text("KV_" DBK_SNAPSHOT_BUCKET);
}

// The snapshots of one aggregate, newest first.
static daybook_status open_snapshots(daybook_engine *engine, const dbk_aggregate *aggregate,
                                     daybook_engine_cursor **cursor_out, daybook_error *error) {
    snapshot_subject subject;
    daybook_slice filter = make_subject(aggregate, &subject);
    if (!daybook_subject_is_valid(filter)) return DAYBOOK_ENOTFOUND;
    daybook_query query;
    daybook_query_init(&query);
    query.stream = stream_name();
    query.filters = &filter;
    query.filter_count = 1;
    query.flags = DAYBOOK_QUERY_REVERSE;
    query.limit = SNAPSHOT_LOOK_COUNT_MAX;
    return daybook_engine_read(engine, &query, cursor_out, error);
}

daybook_status dbk_snapshot_find(daybook_engine *engine, const dbk_aggregate *aggregate,
                                 const daybook_moment *moment, dbk_fold *fold_out, daybook_error *error) {
    daybook_engine_cursor *cursor = NULL;
    daybook_status status = open_snapshots(engine, aggregate, &cursor, error);
    if (status == DAYBOOK_ENOTFOUND) return DAYBOOK_OK;
    DBK_TRY(status);
    while (fold_out->state == NULL) {
        daybook_kv_entry entry;
        status = daybook_kv_next(cursor, 0, &entry, error);
        if (status == DAYBOOK_EDAMAGED) continue; // A cache: what it lost is folded.
        if (status != DAYBOOK_OK || entry.operation != DAYBOOK_KV_PUT) break;
        status = try_snapshot(entry.value, aggregate, moment, fold_out);
        if (status != DAYBOOK_OK) {
            (void)dbk_fail(error, status, "out of memory: snapshot of aggregate '%.*s'",
                           DBK_TEXT(aggregate->name_slice));
            break;
        }
    }
    daybook_engine_cursor_close(cursor);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

// Taking.

static daybook_status put_snapshot(daybook_engine *engine, const dbk_aggregate *aggregate, daybook_slice text,
                                   daybook_error *error) {
    daybook_status status = daybook_kv_put(engine, bucket_name(), aggregate->name_slice, text, NULL, error);
    if (status != DAYBOOK_ENOTFOUND) return status;
    daybook_kv_config config;
    daybook_kv_config_init(&config);
    config.bucket = bucket_name();
    config.history = DBK_SNAPSHOT_HISTORY;
    config.description = daybook_text("Folded states of aggregates");
    status = daybook_kv_add(engine, &config, error);
    if (status != DAYBOOK_OK && status != DAYBOOK_EEXISTS)
        return status; // EEXISTS: another thread was first.
    return daybook_kv_put(engine, bucket_name(), aggregate->name_slice, text, NULL, error);
}

static daybook_status store_fold(daybook_engine *engine, const dbk_aggregate *aggregate, const dbk_fold *fold,
                                 daybook_error *error) {
    dbk_buf text;
    dbk_buf_init(&text, dbk_allocator_default(), DBK_STATE_TEXT_SIZE_MAX);
    encode(&text, aggregate, fold);
    daybook_status status = dbk_buf_status(&text);
    if (status != DAYBOOK_OK)
        (void)dbk_fail(error, status, "out of memory: snapshot of aggregate '%.*s'",
                       DBK_TEXT(aggregate->name_slice));
    if (status == DAYBOOK_OK)
        status = put_snapshot(engine, aggregate, daybook_bytes(text.data, text.size), error);
    dbk_buf_deinit(&text);
    return status;
}

// A number that changes when events of the aggregate up to `version` (0: all) are removed. Cheap: the
// removals of its whole stream. Exact: what is left of the aggregate.
static daybook_status removal_mark(daybook_engine *engine, const dbk_aggregate *aggregate, uint64_t version,
                                   bool is_exact, uint64_t *mark_out, daybook_error *error) {
    if (is_exact) {
        daybook_query query;
        dbk_moment_query(aggregate, NULL, &query);
        query.version_to = version;
        return daybook_engine_count(engine, &query, mark_out, error);
    }
    daybook_stream_info *info = NULL;
    DBK_TRY(daybook_engine_stream_info(engine, aggregate->stream_slice, &info, error));
    *mark_out = info->last_seq - info->message_count;
    daybook_engine_stream_info_release(engine, info);
    return DAYBOOK_OK;
}

// With their bytes, because what was removed meanwhile may have been erased.
static daybook_status remove_snapshots(daybook_engine *engine, const dbk_aggregate *aggregate,
                                       daybook_error *error) {
    snapshot_subject subject;
    daybook_purge_options options;
    daybook_purge_options_init(&options);
    options.filter = make_subject(aggregate, &subject);
    options.erase = (daybook_engine_capabilities(engine) & DAYBOOK_ENGINE_ERASE) != 0;
    return daybook_engine_stream_purge(engine, stream_name(), &options, NULL, error);
}

// The version a snapshot taken now folds to; only used to count up to it.
static daybook_status version_now(daybook_engine *engine, const dbk_aggregate *aggregate,
                                  uint64_t *version_out, daybook_error *error) {
    daybook_query query;
    dbk_moment_query(aggregate, NULL, &query);
    query.flags = DAYBOOK_QUERY_REVERSE;
    query.limit = 1;
    daybook_engine_cursor *cursor = NULL;
    DBK_TRY(daybook_engine_read(engine, &query, &cursor, error));
    daybook_recorded_event event;
    daybook_status status = daybook_engine_next(cursor, 0, &event, error);
    if (status == DAYBOOK_OK) *version_out = event.version;
    daybook_engine_cursor_close(cursor);
    return status == DAYBOOK_END ? dbk_moment_not_found(aggregate, NULL, error) : status;
}

// One try; `*is_done_out` is false where events were removed meanwhile.
static daybook_status take_once(daybook_engine *engine, const dbk_aggregate *aggregate, bool is_exact,
                                dbk_fold *fold_out, bool *is_done_out, daybook_error *error) {
    daybook_moment moment;
    daybook_moment_init(&moment);
    uint64_t before = 0;
    uint64_t after = 0;
    if (is_exact) DBK_TRY(version_now(engine, aggregate, &moment.version, error));
    DBK_TRY(removal_mark(engine, aggregate, moment.version, is_exact, &before, error));
    DBK_TRY(dbk_fold_load(engine, aggregate, &moment, fold_out, error));
    *is_done_out = true;
    if (fold_out->snapshot_version == fold_out->version) return DAYBOOK_OK; // It is stored already.
    DBK_TRY(store_fold(engine, aggregate, fold_out, error));
    DBK_TRY(removal_mark(engine, aggregate, moment.version, is_exact, &after, error));
    if (before == after) return DAYBOOK_OK;
    *is_done_out = false;
    return remove_snapshots(engine, aggregate, error);
}

static daybook_status take(daybook_engine *engine, const dbk_aggregate *aggregate, dbk_fold *fold_out,
                           daybook_error *error) {
    for (int attempt = 0; attempt < TAKE_ATTEMPT_COUNT_MAX; attempt++) {
        bool is_done = false;
        dbk_fold_deinit(fold_out);
        DBK_TRY(take_once(engine, aggregate, attempt > 0, fold_out, &is_done, error));
        if (is_done) return DAYBOOK_OK;
    }
    return dbk_fail(error, DAYBOOK_ECONFLICT,
                    "no snapshot of aggregate '%.*s': its events are being removed all the time; try again",
                    DBK_TEXT(aggregate->name_slice));
}

static daybook_status check_writable(daybook_engine *engine, daybook_error *error) {
    if (!daybook_engine_is_read_only(engine)) return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_EREADONLY,
                    "no snapshot taken: the store is open for reading only; open it for writing");
}

daybook_status daybook_snapshot_take(daybook_engine *engine, daybook_slice name, daybook_state **state_out,
                                     daybook_error *error) {
    if (state_out != NULL) *state_out = NULL;
    dbk_aggregate aggregate;
    dbk_fold fold;
    memset(&fold, 0, sizeof fold);
    DBK_TRY(dbk_aggregate_find(engine, name, &aggregate, error));
    DBK_TRY(check_writable(engine, error));
    daybook_status status = take(engine, &aggregate, &fold, error);
    if (status == DAYBOOK_OK && state_out != NULL)
        status = dbk_fold_give_state(&fold, &aggregate, state_out, error);
    dbk_fold_deinit(&fold);
    return status;
}

// Looking at them, and removing.

static daybook_status no_snapshot(daybook_error *error, daybook_slice aggregate) {
    return dbk_fail(error, DAYBOOK_ENOTFOUND,
                    "no snapshot of aggregate '%.*s': none was taken, or it was removed",
                    DBK_TEXT(aggregate));
}

daybook_status daybook_snapshot_show(daybook_engine *engine, daybook_slice name, char **json_out,
                                     daybook_error *error) {
    if (json_out == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "no room for the snapshot given");
    *json_out = NULL;
    daybook_kv_entry entry;
    daybook_engine_cursor *cursor = NULL;
    daybook_status status = daybook_kv_get(engine, bucket_name(), name, 0, &entry, &cursor, error);
    if (status == DAYBOOK_ENOTFOUND) return no_snapshot(error, name);
    DBK_TRY(status);
    *json_out = dbk_copy_text(dbk_allocator_default(), entry.value);
    daybook_engine_cursor_close(cursor);
    return *json_out != NULL ? DAYBOOK_OK
                             : dbk_fail(error, DAYBOOK_ENOMEM, "out of memory: snapshot of aggregate '%.*s'",
                                        DBK_TEXT(name));
}

daybook_status daybook_snapshot_list(daybook_engine *engine, daybook_slice filter,
                                     int (*visit)(void *context, daybook_slice aggregate, daybook_slice json),
                                     void *context, daybook_error *error) {
    if (visit == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "no visitor given");
    daybook_engine_cursor *cursor = NULL;
    daybook_status status = daybook_kv_read(engine, bucket_name(), filter, 0, 0, &cursor, error);
    if (status == DAYBOOK_ENOTFOUND) return DAYBOOK_OK; // No bucket yet: none were taken.
    DBK_TRY(status);
    daybook_kv_entry entry;
    int stop = 0;
    while (!stop && (status = daybook_kv_next(cursor, 0, &entry, error)) == DAYBOOK_OK)
        if (entry.operation == DAYBOOK_KV_PUT) stop = visit(context, entry.key, entry.value);
    daybook_engine_cursor_close(cursor);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

daybook_status daybook_snapshot_remove(daybook_engine *engine, daybook_slice name, daybook_error *error) {
    daybook_kv_entry entry;
    daybook_engine_cursor *cursor = NULL;
    daybook_status status = daybook_kv_get(engine, bucket_name(), name, 0, &entry, &cursor, error);
    if (status == DAYBOOK_ENOTFOUND) return no_snapshot(error, name);
    DBK_TRY(status);
    daybook_engine_cursor_close(cursor);
    return daybook_kv_delete(engine, bucket_name(), name, 1, 0, NULL, error);
}
