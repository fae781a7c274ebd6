// SPDX-License-Identifier: Apache-2.0
// Snapshots: the folded state of an aggregate in bucket SNAPSHOTS under the aggregate's name, as
//
//     {"aggregate":"orders.123","version":7,"seq":19,"position":40,"schema":"merge-patch/1",
//      "time":T,"time_max":T,"recorded":T,"state":{...}}       T: RFC 3339, UTC, nine digits
//
// A state that is no JSON stands in "state_base64" instead. What the schema means is the folder's (replay.h).
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
// folds again. Where the stream has limits, which remove all the time, and in every further try, the
// aggregate's own events are counted instead.
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/number.h"
#include "daybook/kv.h"
#include "daybook/subject.h"
#include "daybook/time.h"
#include "toolkit/fold.h"
#include "json/json.h"

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

// Everything of a snapshot but its state.
static bool decode(const json_t *snapshot, daybook_slice aggregate, dbk_place *place) {
    dbk_place_init(place);
    if (!get_text(snapshot, "aggregate", aggregate) || !get_count(snapshot, "version", &place->version) ||
        !get_count(snapshot, "seq", &place->seq) || !get_count(snapshot, "position", &place->position) ||
        !get_time(snapshot, "time", &place->time_ns) ||
        !get_time(snapshot, "time_max", &place->time_max_ns) ||
        !get_time(snapshot, "recorded", &place->recorded_ns))
        return false;
    place->snapshot_version = place->version;
    return true;
}

// Base64 of RFC 4648 with padding: what JSON holds of a state that is none.

static const char digits64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void write_base64(dbk_buf *out, daybook_slice bytes) {
    const uint8_t *data = bytes.data;
    for (size_t i = 0; i < bytes.size; i += 3) {
        size_t left = bytes.size - i;
        uint32_t group = (uint32_t)data[i] << 16 | (left > 1 ? (uint32_t)data[i + 1] << 8 : 0) |
                         (left > 2 ? data[i + 2] : 0);
        char text[4] = {digits64[group >> 18], digits64[group >> 12 & 63],
                        left > 1 ? digits64[group >> 6 & 63] : '=', left > 2 ? digits64[group & 63] : '='};
        dbk_buf_append(out, text, sizeof text);
    }
}

// false where the text is none, or memory is out (then `out` has failed).
static bool read_base64(daybook_slice text, dbk_buf *out) {
    const char *at = text.data;
    if (text.size % 4 != 0) return false;
    for (size_t i = 0; i < text.size; i += 4) {
        uint32_t group = 0;
        int count = 3;
        for (size_t j = 0; j < 4; j++) {
            const char *digit = at[i + j] == '\0' ? NULL : strchr(digits64, at[i + j]);
            bool is_padding = at[i + j] == '=' && i + 4 == text.size &&
                              (j == 3 || (j == 2 && at[i + 3] == '='));
            if (digit == NULL && !is_padding) return false;
            if (is_padding && (int)j - 1 < count) count = (int)j - 1;
            group = group << 6 | (digit == NULL ? 0 : (uint32_t)(digit - digits64));
        }
        for (int byte = 0; byte < count; byte++) dbk_buf_append_u8(out, (uint8_t)(group >> (16 - 8 * byte)));
    }
    return dbk_buf_status(out) == DAYBOOK_OK;
}

static void write_count(dbk_buf *out, const char *name, uint64_t count) {
    dbk_buf_append(out, name, strlen(name));
    dbk_decimal_append(out, count);
}

static void write_time(dbk_buf *out, const char *name, int64_t time_ns) {
    char text[DAYBOOK_TIME_TEXT_SIZE];
    size_t size = daybook_time_format(time_ns, text);
    dbk_buf_append(out, name, strlen(name));
    dbk_json_write_string(out, daybook_bytes(text, size));
}

static void encode(dbk_buf *out, const dbk_aggregate *aggregate, const dbk_place *place,
                   const dbk_folder *folder, daybook_slice state) {
    dbk_buf_append_slice(out, daybook_text("{\"aggregate\":"));
    dbk_json_write_string(out, aggregate->name_slice);
    write_count(out, ",\"version\":", place->version);
    write_count(out, ",\"seq\":", place->seq);
    write_count(out, ",\"position\":", place->position);
    dbk_buf_append_slice(out, daybook_text(",\"schema\":"));
    dbk_json_write_string(out, folder->schema);
    write_time(out, ",\"time\":", place->time_ns);
    write_time(out, ",\"time_max\":", place->time_max_ns);
    write_time(out, ",\"recorded\":", place->recorded_ns);
    if (folder->is_json) {
        dbk_buf_append_slice(out, daybook_text(",\"state\":"));
        dbk_buf_append_slice(out, state);
    } else {
        dbk_buf_append_slice(out, daybook_text(",\"state_base64\":\""));
        write_base64(out, state);
        dbk_buf_append_u8(out, '"');
    }
    dbk_buf_append_u8(out, '}');
}

// Finding.

static bool is_usable(const dbk_place *place, const daybook_moment *moment) {
    if (moment == NULL) return true;
    if (moment->version != 0 && place->version > moment->version) return false;
    if (moment->seq != 0 && place->seq > moment->seq) return false;
    if (moment->time_ns != DAYBOOK_TIME_NONE && place->time_max_ns > moment->time_ns) return false;
    return moment->known_at_ns == DAYBOOK_TIME_NONE || place->recorded_ns <= moment->known_at_ns;
}

// The state of a decoded snapshot into the folder. EINVALID: it cannot be used.
static daybook_status restore(const json_t *snapshot, const dbk_folder *folder, daybook_error *error) {
    const json_t *schema = json_object_get(snapshot, "schema");
    json_t *state = json_object_get(snapshot, "state");
    const json_t *encoded = json_object_get(snapshot, "state_base64");
    if (!json_is_string(schema)) return DAYBOOK_EINVALID;
    daybook_slice name = daybook_bytes(json_string_value(schema), json_string_length(schema));
    if (state != NULL) return folder->restore(folder->context, name, state, daybook_bytes(NULL, 0), error);
    if (!json_is_string(encoded)) return DAYBOOK_EINVALID;
    dbk_buf bytes;
    dbk_buf_init(&bytes, dbk_allocator_default(), DBK_STATE_TEXT_SIZE_MAX);
    bool is_sound =
        read_base64(daybook_bytes(json_string_value(encoded), json_string_length(encoded)), &bytes);
    daybook_status status = dbk_buf_status(&bytes);
    if (status == DAYBOOK_OK)
        status = !is_sound ? DAYBOOK_EINVALID
                           : folder->restore(folder->context, name, NULL,
                                             daybook_bytes(bytes.data, bytes.size), error);
    dbk_buf_deinit(&bytes);
    return status;
}

static daybook_status try_snapshot(daybook_slice text, const dbk_aggregate *aggregate,
                                   const daybook_moment *moment, const dbk_folder *folder,
                                   dbk_place *place_out, bool *is_found_out, daybook_error *error) {
    json_t *snapshot = NULL;
    daybook_status status = dbk_json_parse(text, &snapshot, NULL);
    if (status == DAYBOOK_EINVALID) return DAYBOOK_OK;
    DBK_TRY(status);
    dbk_place place;
    if (decode(snapshot, aggregate->name_slice, &place) && is_usable(&place, moment)) {
        status = restore(snapshot, folder, error);
        *is_found_out = status == DAYBOOK_OK;
        if (*is_found_out) *place_out = place;
    }
    json_decref(snapshot);
    // Whatever is wrong with a state in a snapshot, its events are there.
    return status == DAYBOOK_ENOMEM ? status : DAYBOOK_OK;
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

// The snapshots of one aggregate, newest first where the engine reads backwards; else the newest alone.
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
    bool goes_back = (daybook_engine_capabilities(engine) & DAYBOOK_ENGINE_REVERSE) != 0;
    query.limit = goes_back ? SNAPSHOT_LOOK_COUNT_MAX : 1;
    return daybook_engine_read(engine, &query, cursor_out, error);
}

daybook_status dbk_snapshot_find(daybook_engine *engine, const dbk_aggregate *aggregate,
                                 const daybook_moment *moment, const dbk_folder *folder, dbk_place *place_out,
                                 bool *is_found_out, daybook_error *error) {
    *is_found_out = false;
    daybook_engine_cursor *cursor = NULL;
    daybook_status status = open_snapshots(engine, aggregate, &cursor, error);
    if (status == DAYBOOK_ENOTFOUND) return DAYBOOK_OK;
    DBK_TRY(status);
    while (!*is_found_out) {
        daybook_kv_entry entry;
        status = daybook_kv_next(cursor, 0, &entry, error);
        if (status == DAYBOOK_EDAMAGED) continue; // A cache: what it lost is folded.
        if (status != DAYBOOK_OK || entry.operation != DAYBOOK_KV_PUT) break;
        status = try_snapshot(entry.value, aggregate, moment, folder, place_out, is_found_out, error);
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
    config.description = daybook_text("folded states of aggregates");
    status = daybook_kv_add(engine, &config, error);
    if (status != DAYBOOK_OK && status != DAYBOOK_EEXISTS) return status;
    return daybook_kv_put(engine, bucket_name(), aggregate->name_slice, text, NULL, error);
}

static daybook_status check_state(const dbk_folder *folder, daybook_slice state, daybook_error *error) {
    if (!folder->is_json) return DAYBOOK_OK;
    json_t *value = NULL;
    daybook_status status = dbk_json_parse(state, &value, NULL);
    json_decref(value);
    return status != DAYBOOK_EINVALID
               ? status
               : dbk_fail(error, status,
                          "no snapshot: the codec of schema '%.*s' says it writes JSON, and wrote none",
                          DBK_TEXT(folder->schema));
}

static daybook_status store_state(daybook_engine *engine, const dbk_aggregate *aggregate,
                                  const dbk_folder *folder, const dbk_place *place, daybook_error *error) {
    dbk_buf state;
    dbk_buf text;
    dbk_buf_init(&state, dbk_allocator_default(), DBK_STATE_TEXT_SIZE_MAX);
    dbk_buf_init(&text, dbk_allocator_default(), DBK_STATE_TEXT_SIZE_MAX);
    daybook_status status = folder->write(folder->context, &state, error);
    if (status == DAYBOOK_OK) status = dbk_buf_status(&state);
    if (status == DAYBOOK_OK) status = check_state(folder, daybook_bytes(state.data, state.size), error);
    if (status == DAYBOOK_OK) {
        encode(&text, aggregate, place, folder, daybook_bytes(state.data, state.size));
        status = dbk_buf_status(&text);
    }
    if (status == DAYBOOK_ENOMEM)
        (void)dbk_fail(error, status, "out of memory: snapshot of aggregate '%.*s'",
                       DBK_TEXT(aggregate->name_slice));
    if (status == DAYBOOK_OK)
        status = put_snapshot(engine, aggregate, daybook_bytes(text.data, text.size), error);
    dbk_buf_deinit(&text);
    dbk_buf_deinit(&state);
    return status;
}

// What changes when events of the aggregate are removed. Cheap: what its whole stream has lost. Exact: what
// is left of the aggregate up to the place, which the limits of a busy stream do not move all the time.
typedef struct removal_mark {
    bool is_exact;
    uint64_t seq_to; // exact: of the newest event when the fold began
    uint64_t count;
} removal_mark;

static daybook_status set_mark(daybook_engine *engine, const dbk_aggregate *aggregate, removal_mark *mark,
                               bool *has_limits_out, daybook_error *error) {
    daybook_query query;
    dbk_moment_query(aggregate, NULL, &query);
    query.seq_to = mark->seq_to;
    if (mark->is_exact) return daybook_engine_count(engine, &query, &mark->count, error);
    daybook_stream_info *info = NULL;
    DBK_TRY(daybook_engine_stream_info(engine, aggregate->stream_slice, &info, error));
    mark->count = info->last_seq - info->message_count;
    const daybook_stream_config *config = &info->config;
    if (has_limits_out != NULL)
        *has_limits_out = config->max_msgs != 0 || config->max_bytes != 0 || config->max_age_ns != 0 ||
                          config->max_msgs_per_subject != 0;
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

// The newest event's seq; only what is folded up to it is counted.
static daybook_status newest_seq(daybook_engine *engine, const dbk_aggregate *aggregate, uint64_t *seq_out,
                                 daybook_error *error) {
    daybook_query query;
    dbk_moment_query(aggregate, NULL, &query);
    query.flags = DAYBOOK_QUERY_REVERSE;
    query.limit = 1;
    daybook_engine_cursor *cursor = NULL;
    DBK_TRY(daybook_engine_read(engine, &query, &cursor, error));
    daybook_recorded_event event;
    daybook_status status = daybook_engine_next(cursor, 0, &event, error);
    if (status == DAYBOOK_OK) *seq_out = event.seq;
    daybook_engine_cursor_close(cursor);
    return status == DAYBOOK_END ? dbk_moment_not_found(aggregate, NULL, error) : status;
}

typedef struct taking {
    bool is_forced;
    bool is_exact; // this try counts the aggregate's events
    bool is_done;  // nothing was removed meanwhile
    bool is_stored;
} taking;

static daybook_status take_once(daybook_engine *engine, const dbk_aggregate *aggregate,
                                const dbk_folder *folder, taking *work, dbk_place *place_out,
                                daybook_error *error) {
    daybook_moment moment;
    daybook_moment_init(&moment);
    removal_mark before = {.is_exact = work->is_exact};
    bool has_limits = false;
    if (!before.is_exact) {
        DBK_TRY(set_mark(engine, aggregate, &before, &has_limits, error));
        before.is_exact = has_limits;
    }
    if (before.is_exact) {
        DBK_TRY(newest_seq(engine, aggregate, &before.seq_to, error));
        DBK_TRY(set_mark(engine, aggregate, &before, NULL, error));
        moment.seq = before.seq_to;
    }
    dbk_folder begins_anew = *folder;
    if (work->is_forced) begins_anew.schema = daybook_bytes(NULL, 0); // No snapshot is looked for.
    DBK_TRY(dbk_replay(engine, aggregate, &moment, &begins_anew, place_out, error));
    if (place_out->version == 0) return dbk_moment_not_found(aggregate, NULL, error);
    work->is_done = true;
    if (place_out->snapshot_version == place_out->version) return DAYBOOK_OK;
    DBK_TRY(store_state(engine, aggregate, folder, place_out, error));
    work->is_stored = true;
    removal_mark after = before;
    DBK_TRY(set_mark(engine, aggregate, &after, NULL, error));
    if (before.count == after.count) return DAYBOOK_OK;
    work->is_done = work->is_stored = false;
    return remove_snapshots(engine, aggregate, error);
}

static daybook_status check_writable(daybook_engine *engine, daybook_error *error) {
    if (!daybook_engine_is_read_only(engine)) return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_EREADONLY,
                    "no snapshot taken: the store is open for reading only; open it for writing");
}

daybook_status dbk_snapshot_take(daybook_engine *engine, const dbk_aggregate *aggregate,
                                 const dbk_folder *folder, bool is_forced, dbk_place *place_out,
                                 bool *is_stored_out, daybook_error *error) {
    DBK_TRY(check_writable(engine, error));
    for (int attempt = 0; attempt < TAKE_ATTEMPT_COUNT_MAX; attempt++) {
        taking work = {.is_forced = is_forced, .is_exact = attempt > 0};
        DBK_TRY(take_once(engine, aggregate, folder, &work, place_out, error));
        if (is_stored_out != NULL) *is_stored_out = work.is_stored;
        if (work.is_done) return DAYBOOK_OK;
    }
    return dbk_fail(error, DAYBOOK_ECONFLICT,
                    "no snapshot of aggregate '%.*s': its events are being removed all the time; try again",
                    DBK_TEXT(aggregate->name_slice));
}

static daybook_status take(daybook_engine *engine, daybook_slice name, bool is_forced,
                           daybook_state **state_out, daybook_error *error) {
    if (state_out != NULL) *state_out = NULL;
    dbk_aggregate aggregate;
    dbk_fold fold;
    dbk_folder folder;
    dbk_place place;
    DBK_TRY(dbk_aggregate_find(engine, name, &aggregate, error));
    dbk_fold_folder(&fold, &folder);
    daybook_status status = dbk_snapshot_take(engine, &aggregate, &folder, is_forced, &place, NULL, error);
    if (status == DAYBOOK_OK) fold.place = place;
    if (status == DAYBOOK_OK && state_out != NULL)
        status = dbk_fold_give_state(&fold, &aggregate, state_out, error);
    dbk_fold_deinit(&fold);
    return status;
}

daybook_status daybook_snapshot_take(daybook_engine *engine, daybook_slice name, daybook_state **state_out,
                                     daybook_error *error) {
    return take(engine, name, false, state_out, error);
}

daybook_status daybook_snapshot_force(daybook_engine *engine, daybook_slice name, daybook_state **state_out,
                                      daybook_error *error) {
    return take(engine, name, true, state_out, error);
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

// Pruning.

typedef struct pruning {
    daybook_engine *engine;
    uint64_t keep;
    int dry_run;
    uint64_t removed_count;
    daybook_status status;
    daybook_error *error;
} pruning;

static daybook_status prune_key(pruning *work, daybook_slice aggregate) {
    snapshot_subject subject;
    size_t prefix_size = sizeof subject_prefix - 1;
    memcpy(subject.text, subject_prefix, prefix_size);
    memcpy(subject.text + prefix_size, aggregate.data, aggregate.size);
    daybook_slice filter = daybook_bytes(subject.text, prefix_size + aggregate.size);
    daybook_query query;
    daybook_query_init(&query);
    query.stream = stream_name();
    query.filters = &filter;
    query.filter_count = 1;
    uint64_t count = 0;
    DBK_TRY(daybook_engine_count(work->engine, &query, &count, work->error));
    if (count <= work->keep) return DAYBOOK_OK;
    uint64_t removed_count = count - work->keep;
    daybook_purge_options options;
    daybook_purge_options_init(&options);
    options.filter = filter;
    options.keep = work->keep;
    if (!work->dry_run)
        DBK_TRY(
            daybook_engine_stream_purge(work->engine, stream_name(), &options, &removed_count, work->error));
    work->removed_count += removed_count;
    return DAYBOOK_OK;
}

static int prune(void *context, daybook_slice aggregate, daybook_slice json) {
    (void)json;
    pruning *work = context;
    work->status = prune_key(work, aggregate);
    return work->status != DAYBOOK_OK;
}

daybook_status daybook_snapshot_prune(daybook_engine *engine, daybook_slice filter, uint64_t keep,
                                      int dry_run, uint64_t *removed_count_out, daybook_error *error) {
    pruning work = {.engine = engine, .keep = keep, .dry_run = dry_run, .error = error};
    daybook_status status = daybook_snapshot_list(engine, filter, prune, &work, error);
    if (status == DAYBOOK_OK) status = work.status;
    if (removed_count_out != NULL) *removed_count_out = work.removed_count;
    return status;
}
