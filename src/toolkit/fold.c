// SPDX-License-Identifier: Apache-2.0
// Folding an aggregate's events into its state.
//
// The events are read one by one in order of position, which within an aggregate is the order of version;
// memory is the state and one event, however long the aggregate is. A damaged block fails the fold: a state
// that misses an event would be a guess.
//
// With a snapshot the fold begins *at* the snapshot's position, not behind it, so that the first event read
// proves that the snapshot belongs to this aggregate: it must be the very event (seq and position) the
// snapshot ended with. Otherwise (the stream was deleted and made anew, the snapshot was written by hand or
// comes from another store) the snapshot is passed over and the fold begins at the start. Where that event is
// no longer stored, removed by a limit, the snapshot counts if the stream is older than it and has assigned
// its seq and version. Removal by delete or purge takes the snapshots with it, in the store.
//
// The stream is that which captures `<aggregate>.x`; where none does (a stream of `orders.*.created` only),
// the one that holds events of it.
#include "toolkit/fold.h"

#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "daybook/subject.h"
#include "daybook/time.h"
#include "toolkit/json.h"

// Finding the aggregate.

typedef struct stream_search {
    dbk_aggregate *aggregate;
    uint64_t last_version;
    unsigned stream_count;
} stream_search;

static void set_stream(dbk_aggregate *aggregate, daybook_slice name) {
    size_t size = name.size < sizeof aggregate->stream ? name.size : sizeof aggregate->stream - 1;
    memcpy(aggregate->stream, name.data, size);
    aggregate->stream[size] = '\0';
    aggregate->stream_slice = daybook_bytes(aggregate->stream, size);
}

static int visit_aggregate(void *context, const daybook_list_entry *entry) {
    stream_search *search = context;
    if (!dbk_slice_equal(entry->name, search->aggregate->name_slice)) return 0;
    if (search->aggregate->stream_slice.size == 0) set_stream(search->aggregate, entry->stream);
    if (dbk_slice_equal(entry->stream, search->aggregate->stream_slice))
        search->last_version = entry->last_version;
    search->stream_count++;
    return 0;
}

static daybook_status find_stream_by_events(daybook_engine *engine, dbk_aggregate *aggregate,
                                            daybook_error *error) {
    stream_search search = {.aggregate = aggregate};
    aggregate->stream_slice = daybook_bytes(NULL, 0);
    DBK_TRY(daybook_engine_list(engine, DAYBOOK_LIST_AGGREGATES, daybook_bytes(NULL, 0),
                                aggregate->name_slice, visit_aggregate, &search, error));
    if (search.stream_count == 1) return DAYBOOK_OK;
    if (search.stream_count == 0)
        return dbk_fail(error, DAYBOOK_ENOTFOUND, "no aggregate '%.*s': no stream captures its subjects",
                        DBK_TEXT(aggregate->name_slice));
    return dbk_fail(
        error, DAYBOOK_EUNSUPPORTED,
        "aggregate '%.*s' has events in %u streams: its versions are counted in each; read it by stream",
        DBK_TEXT(aggregate->name_slice), search.stream_count);
}

daybook_status dbk_aggregate_find(daybook_engine *engine, daybook_slice name, dbk_aggregate *aggregate_out,
                                  daybook_error *error) {
    if (engine == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "no engine given");
    // Room for the dot and a token behind it: an aggregate always has further tokens.
    if (name.size > DAYBOOK_SUBJECT_SIZE_MAX - 2 || !daybook_subject_is_valid(name))
        return dbk_fail(
            error, DAYBOOK_ESUBJECT,
            "bad aggregate '%.*s': an aggregate is the leading tokens of a subject, like orders.123, "
            "without wildcards; correct it",
            DBK_TEXT(name));
    memset(aggregate_out, 0, sizeof *aggregate_out);
    memcpy(aggregate_out->name, name.data, name.size);
    aggregate_out->name_slice = daybook_bytes(aggregate_out->name, name.size);
    memcpy(aggregate_out->filter, name.data, name.size);
    memcpy(aggregate_out->filter + name.size, ".x", 3);
    aggregate_out->filter_slice = daybook_bytes(aggregate_out->filter, name.size + 2);
    daybook_slice stream;
    daybook_status status = daybook_engine_stream_find(engine, aggregate_out->filter_slice, &stream, error);
    aggregate_out->filter[name.size + 1] = '>';
    if (status == DAYBOOK_ENOSTREAM || status == DAYBOOK_ENOTFOUND)
        return find_stream_by_events(engine, aggregate_out, error);
    if (status == DAYBOOK_OK) set_stream(aggregate_out, stream);
    return status;
}

// Moments.

daybook_status dbk_moment_check(const daybook_moment *moment, daybook_error *error) {
    if (moment == NULL) return DAYBOOK_OK;
    if (moment->size < sizeof *moment)
        return dbk_fail(error, DAYBOOK_EMISUSE, "moment not made by daybook_moment_init");
    int count = (moment->version != 0) + (moment->seq != 0) + (moment->time_ns != DAYBOOK_TIME_NONE) +
                (moment->known_at_ns != DAYBOOK_TIME_NONE);
    if (count <= 1) return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_EINVALID,
                    "%d moments given: version, seq, time and known-at exclude each other; "
                    "give one",
                    count);
}

static int64_t behind(int64_t time_ns) {
    return time_ns == INT64_MAX ? DAYBOOK_TIME_NONE : time_ns + 1;
}

void dbk_moment_query(const dbk_aggregate *aggregate, const daybook_moment *moment,
                      daybook_query *query_out) {
    daybook_query_init(query_out);
    query_out->stream = aggregate->stream_slice;
    query_out->filters = &aggregate->filter_slice;
    query_out->filter_count = 1;
    if (moment == NULL) return;
    query_out->seq_to = moment->seq;
    if (moment->time_ns != DAYBOOK_TIME_NONE) query_out->time_until_ns = behind(moment->time_ns);
    if (moment->known_at_ns != DAYBOOK_TIME_NONE) query_out->recorded_until_ns = behind(moment->known_at_ns);
}

void dbk_query_from(const daybook_engine *engine, uint64_t seq, uint64_t position, daybook_query *query) {
    if ((daybook_engine_capabilities(engine) & DAYBOOK_ENGINE_POSITION) != 0)
        query->position_from = position;
    else
        query->seq_from = seq;
}

daybook_status dbk_moment_not_found(const dbk_aggregate *aggregate, const daybook_moment *moment,
                                    daybook_error *error) {
    char time[DAYBOOK_TIME_TEXT_SIZE];
    daybook_slice name = aggregate->name_slice;
    if (moment != NULL && moment->version != 0)
        return dbk_fail(error, DAYBOOK_ENOTFOUND, "aggregate '%.*s' has no event up to version %llu",
                        DBK_TEXT(name), (unsigned long long)moment->version);
    if (moment != NULL && moment->seq != 0)
        return dbk_fail(error, DAYBOOK_ENOTFOUND,
                        "aggregate '%.*s' has no event up to seq %llu of stream '%.*s'", DBK_TEXT(name),
                        (unsigned long long)moment->seq, DBK_TEXT(aggregate->stream_slice));
    if (moment != NULL && moment->time_ns != DAYBOOK_TIME_NONE) {
        daybook_time_format(moment->time_ns, time);
        return dbk_fail(error, DAYBOOK_ENOTFOUND, "aggregate '%.*s' has no event that happened by %s",
                        DBK_TEXT(name), time);
    }
    if (moment != NULL && moment->known_at_ns != DAYBOOK_TIME_NONE) {
        daybook_time_format(moment->known_at_ns, time);
        return dbk_fail(error, DAYBOOK_ENOTFOUND, "aggregate '%.*s' has no event recorded by %s",
                        DBK_TEXT(name), time);
    }
    return dbk_fail(error, DAYBOOK_ENOTFOUND, "no aggregate '%.*s': stream '%.*s' has no event of it",
                    DBK_TEXT(name), DBK_TEXT(aggregate->stream_slice));
}

// The version assigned last, 0 where no event of the aggregate is stored.
static daybook_status last_version(daybook_engine *engine, const dbk_aggregate *aggregate,
                                   uint64_t *version_out, daybook_error *error) {
    dbk_aggregate place = *aggregate;
    place.name_slice = aggregate->name_slice;
    stream_search search = {.aggregate = &place};
    DBK_TRY(daybook_engine_list(engine, DAYBOOK_LIST_AGGREGATES, aggregate->stream_slice,
                                aggregate->name_slice, visit_aggregate, &search, error));
    *version_out = search.last_version;
    return DAYBOOK_OK;
}

daybook_status dbk_moment_check_version(daybook_engine *engine, const dbk_aggregate *aggregate,
                                        const daybook_moment *moment, uint64_t folded_version,
                                        daybook_error *error) {
    if (moment == NULL || moment->version <= folded_version) return DAYBOOK_OK;
    uint64_t last = 0;
    DBK_TRY(last_version(engine, aggregate, &last, error));
    if (moment->version <= last)
        return DAYBOOK_OK; // That event was removed; the state is what is left of it.
    return dbk_fail(error, DAYBOOK_ENOTFOUND, "aggregate '%.*s' has no version %llu: its last is %llu",
                    DBK_TEXT(aggregate->name_slice), (unsigned long long)moment->version,
                    (unsigned long long)(last > folded_version ? last : folded_version));
}

// Folding.

void dbk_fold_deinit(dbk_fold *fold) {
    json_decref(fold->state);
    memset(fold, 0, sizeof *fold);
}

static daybook_status begin_fold(dbk_fold *fold) {
    memset(fold, 0, sizeof *fold);
    fold->time_max_ns = INT64_MIN;
    fold->state = json_object();
    return fold->state == NULL ? DAYBOOK_ENOMEM : DAYBOOK_OK;
}

daybook_status dbk_event_patch(const daybook_event *event, json_t **patch_out) {
    *patch_out = NULL;
    json_t *value = NULL;
    daybook_status status = event->data.size == 0 ? DAYBOOK_EINVALID
                                                  : dbk_json_parse(event->data, &value, NULL);
    if (status == DAYBOOK_EINVALID) return DAYBOOK_OK;
    DBK_TRY(status);
    if (json_is_object(value))
        *patch_out = value;
    else
        json_decref(value);
    return DAYBOOK_OK;
}

daybook_status dbk_event_check_aggregate(const dbk_aggregate *aggregate, const daybook_recorded_event *event,
                                         daybook_error *error) {
    if (dbk_slice_equal(event->aggregate, aggregate->name_slice)) return DAYBOOK_OK;
    if (event->aggregate.size == 0)
        return dbk_fail(error, DAYBOOK_ENOTFOUND,
                        "no aggregate '%.*s': the events of stream '%.*s' have none like it",
                        DBK_TEXT(aggregate->name_slice), DBK_TEXT(aggregate->stream_slice));
    return dbk_fail(
        error, DAYBOOK_ENOTFOUND, "no aggregate '%.*s': those of stream '%.*s' are named like '%.*s'",
        DBK_TEXT(aggregate->name_slice), DBK_TEXT(aggregate->stream_slice), DBK_TEXT(event->aggregate));
}

daybook_status dbk_fold_add(dbk_fold *fold, const daybook_recorded_event *event, const json_t *patch) {
    fold->event_count++;
    if (patch == NULL)
        fold->skipped_count++;
    else
        DBK_TRY(dbk_json_merge(fold->state, patch));
    fold->version = event->version;
    fold->seq = event->seq;
    fold->position = event->position;
    fold->time_ns = event->event.time_ns;
    fold->recorded_ns = event->recorded_ns;
    if (fold->time_ns > fold->time_max_ns) fold->time_max_ns = fold->time_ns;
    return DAYBOOK_OK;
}

static daybook_status add_event(dbk_fold *fold, const dbk_aggregate *aggregate,
                                const daybook_recorded_event *event, daybook_error *error) {
    DBK_TRY(dbk_event_check_aggregate(aggregate, event, error));
    json_t *patch = NULL;
    daybook_status status = dbk_event_patch(&event->event, &patch);
    if (status == DAYBOOK_OK) status = dbk_fold_add(fold, event, patch);
    json_decref(patch);
    if (status == DAYBOOK_ENOMEM)
        return dbk_fail(error, status, "out of memory: state of aggregate '%.*s' at version %llu",
                        DBK_TEXT(aggregate->name_slice), (unsigned long long)event->version);
    return status;
}

// The event a snapshot ended with is not where it says. Removed by a limit it may be; stored elsewhere it may
// not.
static daybook_status is_trusted_without_event(daybook_engine *engine, const dbk_aggregate *aggregate,
                                               const dbk_fold *fold, bool *is_trusted_out,
                                               daybook_error *error) {
    *is_trusted_out = false;
    daybook_stream_info *info = NULL;
    DBK_TRY(daybook_engine_stream_info(engine, aggregate->stream_slice, &info, error));
    bool is_of_stream = info->created_ns <= fold->recorded_ns && info->last_seq >= fold->seq;
    daybook_engine_stream_info_release(engine, info);
    if (!is_of_stream) return DAYBOOK_OK;
    daybook_query query;
    daybook_query_init(&query);
    query.stream = aggregate->stream_slice;
    query.seq_from = query.seq_to = fold->seq;
    uint64_t count = 0;
    DBK_TRY(daybook_engine_count(engine, &query, &count, error));
    if (count > 0) return DAYBOOK_OK;
    uint64_t last = 0;
    DBK_TRY(last_version(engine, aggregate, &last, error));
    *is_trusted_out = last >= fold->version;
    return DAYBOOK_OK;
}

// Whether the snapshot the fold begins with is of this very aggregate, judged by the first event at or behind
// its position (NULL: there is none).
static daybook_status prove_snapshot(daybook_engine *engine, const dbk_aggregate *aggregate,
                                     const dbk_fold *fold, const daybook_recorded_event *event,
                                     bool *is_sound_out, daybook_error *error) {
    if (event != NULL && event->version <= fold->version) {
        *is_sound_out = event->version == fold->version && event->seq == fold->seq &&
                        event->position == fold->position;
        return DAYBOOK_OK;
    }
    return is_trusted_without_event(engine, aggregate, fold, is_sound_out, error);
}

// Folds what the cursor gives, up to version `version_to`, 0 for all. `*is_sound_out` is false where the fold
// began with a snapshot that is not of this aggregate.
static daybook_status fold_cursor(daybook_engine *engine, const dbk_aggregate *aggregate,
                                  daybook_engine_cursor *cursor, uint64_t version_to, dbk_fold *fold,
                                  bool *is_sound_out, daybook_error *error) {
    bool is_proved = fold->snapshot_version == 0;
    *is_sound_out = true;
    for (;;) {
        daybook_recorded_event event;
        daybook_status status = daybook_engine_next(cursor, 0, &event, error);
        if (status != DAYBOOK_OK && status != DAYBOOK_END) return status;
        if (!is_proved) {
            is_proved = true;
            DBK_TRY(prove_snapshot(engine, aggregate, fold, status == DAYBOOK_OK ? &event : NULL,
                                   is_sound_out, error));
            if (!*is_sound_out) return DAYBOOK_OK;
            if (status == DAYBOOK_OK && event.version == fold->version) continue;
        }
        if (status == DAYBOOK_END || (version_to > 0 && event.version > version_to)) return DAYBOOK_OK;
        DBK_TRY(add_event(fold, aggregate, &event, error));
    }
}

static daybook_status fold_query(daybook_engine *engine, const dbk_aggregate *aggregate,
                                 const daybook_moment *moment, dbk_fold *fold, bool *is_sound_out,
                                 daybook_error *error) {
    daybook_query query;
    dbk_moment_query(aggregate, moment, &query);
    dbk_query_from(engine, fold->seq, fold->position, &query);
    uint64_t version_to = moment == NULL ? 0 : moment->version;
    daybook_engine_cursor *cursor = NULL;
    DBK_TRY(daybook_engine_read(engine, &query, &cursor, error));
    daybook_status status = fold_cursor(engine, aggregate, cursor, version_to, fold, is_sound_out, error);
    daybook_engine_cursor_close(cursor);
    return status;
}

daybook_status dbk_fold_load(daybook_engine *engine, const dbk_aggregate *aggregate,
                             const daybook_moment *moment, dbk_fold *fold_out, daybook_error *error) {
    dbk_fold fold;
    memset(&fold, 0, sizeof fold);
    memset(fold_out, 0, sizeof *fold_out);
    bool is_sound = false;
    daybook_status status = dbk_snapshot_find(engine, aggregate, moment, &fold, error);
    if (status == DAYBOOK_OK && fold.state != NULL)
        status = fold_query(engine, aggregate, moment, &fold, &is_sound, error);
    if (status == DAYBOOK_OK && !is_sound) {
        dbk_fold_deinit(&fold);
        status = begin_fold(&fold);
        if (status != DAYBOOK_OK) (void)dbk_fail(error, status, "out of memory: state not begun");
        if (status == DAYBOOK_OK) status = fold_query(engine, aggregate, moment, &fold, &is_sound, error);
    }
    if (status == DAYBOOK_OK)
        status = dbk_moment_check_version(engine, aggregate, moment, fold.version, error);
    if (status == DAYBOOK_OK && fold.version == 0) status = dbk_moment_not_found(aggregate, moment, error);
    if (status == DAYBOOK_OK)
        *fold_out = fold;
    else
        dbk_fold_deinit(&fold);
    return status;
}
