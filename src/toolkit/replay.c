// SPDX-License-Identifier: Apache-2.0
// Replaying an aggregate's events into a state.
//
// The events are read one by one in order of position, which within an aggregate is the order of version;
// memory is the state and one event, however long the aggregate is. A damaged block fails the replay: a state
// that misses an event would be a guess.
//
// With a snapshot the replay begins *at* the snapshot's position, not behind it, so that the first event read
// proves that the snapshot belongs to this aggregate: it must be the very event (seq and position) the
// snapshot ended with. Otherwise (the stream was deleted and made anew, the snapshot was written by hand or
// comes from another store) the snapshot is passed over and the replay begins at the start. Where that event
// is no longer stored, removed by a limit, the snapshot counts if the stream is older than it and has
// assigned its seq and version. Removal by delete or purge takes the snapshots with it, in the store.
//
// An engine without VERSION gives events without versions: there the replay counts the events it sees, and a
// snapshot's version goes on from where it was.
//
// The stream is that which captures `<aggregate>.x`; where none does (a stream of `orders.*.created` only),
// the one that holds events of it.
#include "toolkit/replay.h"

#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "daybook/subject.h"
#include "daybook/time.h"

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
    uint64_t needs = DAYBOOK_ENGINE_VERSION | DAYBOOK_ENGINE_POSITION;
    if ((daybook_engine_capabilities(engine) & needs) == needs)
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
    memset(aggregate_out, 0, sizeof *aggregate_out);
    if (engine == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "no engine given");
    // Room for the dot and a token behind it: an aggregate always has further tokens.
    if (name.size > DAYBOOK_SUBJECT_SIZE_MAX - 2 || !daybook_subject_is_valid(name))
        return dbk_fail(
            error, DAYBOOK_ESUBJECT,
            "bad aggregate '%.*s': an aggregate is the leading tokens of a subject, like orders.123, "
            "without wildcards; correct it",
            DBK_TEXT(name));
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

// By position, which the store finds at once, where the engine has it.
static void bound_query(const daybook_engine *engine, uint64_t seq, uint64_t position, daybook_query *query) {
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

static bool counts_versions(const daybook_engine *engine) {
    return (daybook_engine_capabilities(engine) & DAYBOOK_ENGINE_VERSION) != 0;
}

// The version assigned last, 0 where no event of the aggregate is stored or the engine counts none.
static daybook_status last_version(daybook_engine *engine, const dbk_aggregate *aggregate,
                                   uint64_t *version_out, daybook_error *error) {
    *version_out = 0;
    if (!counts_versions(engine)) return DAYBOOK_OK;
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

// Replaying.

void dbk_place_init(dbk_place *place) {
    memset(place, 0, sizeof *place);
    place->time_max_ns = INT64_MIN;
}

void dbk_place_add(dbk_place *place, const daybook_recorded_event *event) {
    place->version = event->version;
    place->seq = event->seq;
    place->live_seq = event->seq;
    place->position = event->position;
    place->time_ns = event->event.time_ns;
    place->recorded_ns = event->recorded_ns;
    if (place->time_ns > place->time_max_ns) place->time_max_ns = place->time_ns;
    place->event_count++;
}

typedef struct replay {
    daybook_engine *engine;
    const dbk_aggregate *aggregate;
    const dbk_folder *folder;
    dbk_place *place;
    uint64_t version_to; // 0: all
    bool is_stopped;     // by the folder
    bool is_proved;      // that the snapshot, if any, is of this aggregate
} replay;

// The next event with version and aggregate, also where the engine gives none: there the fold counts.
static daybook_status next_event(const replay *work, daybook_engine_cursor *cursor,
                                 daybook_recorded_event *event_out, daybook_error *error) {
    DBK_TRY(daybook_engine_next(cursor, 0, event_out, error));
    if (counts_versions(work->engine)) return dbk_event_check_aggregate(work->aggregate, event_out, error);
    event_out->aggregate = work->aggregate->name_slice;
    event_out->version = event_out->seq <= work->place->seq ? work->place->version : work->place->version + 1;
    return DAYBOOK_OK;
}

// The event a snapshot ended with is not where it says. Removed by a limit it may be; stored elsewhere it may
// not.
static daybook_status is_trusted_without_event(const replay *work, bool *is_trusted_out,
                                               daybook_error *error) {
    const dbk_place *place = work->place;
    *is_trusted_out = false;
    daybook_stream_info *info = NULL;
    DBK_TRY(daybook_engine_stream_info(work->engine, work->aggregate->stream_slice, &info, error));
    bool is_of_stream = info->created_ns <= place->recorded_ns && info->last_seq >= place->seq;
    daybook_engine_stream_info_release(work->engine, info);
    if (!is_of_stream) return DAYBOOK_OK;
    daybook_query query;
    daybook_query_init(&query);
    query.stream = work->aggregate->stream_slice;
    query.seq_from = query.seq_to = place->seq;
    uint64_t count = 0;
    DBK_TRY(daybook_engine_count(work->engine, &query, &count, error));
    if (count > 0) return DAYBOOK_OK;
    uint64_t last = 0;
    DBK_TRY(last_version(work->engine, work->aggregate, &last, error));
    *is_trusted_out = last >= place->version || !counts_versions(work->engine);
    return DAYBOOK_OK;
}

// Whether the snapshot the fold begins with is of this very aggregate, judged by the first event at or behind
// its place (NULL: there is none).
static daybook_status prove_snapshot(const replay *work, const daybook_recorded_event *event,
                                     bool *is_sound_out, daybook_error *error) {
    const dbk_place *place = work->place;
    if (event != NULL && event->version <= place->version) {
        *is_sound_out = event->version == place->version && event->seq == place->seq &&
                        event->position == place->position;
        return DAYBOOK_OK;
    }
    return is_trusted_without_event(work, is_sound_out, error);
}

// Folds what the cursor gives. `*is_sound_out` is false where the fold began with a snapshot that is not of
// this aggregate.
static daybook_status replay_cursor(replay *work, daybook_engine_cursor *cursor, bool *is_sound_out,
                                    daybook_error *error) {
    *is_sound_out = true;
    for (;;) {
        daybook_recorded_event event;
        daybook_status status = next_event(work, cursor, &event, error);
        if (status != DAYBOOK_OK && status != DAYBOOK_END) return status;
        if (!work->is_proved) {
            work->is_proved = true;
            DBK_TRY(prove_snapshot(work, status == DAYBOOK_OK ? &event : NULL, is_sound_out, error));
            if (!*is_sound_out) return DAYBOOK_OK;
            if (status == DAYBOOK_OK && event.version == work->place->version) {
                work->place->live_seq = event.seq;
                continue;
            }
        }
        if (status == DAYBOOK_END || (work->version_to > 0 && event.version > work->version_to))
            return DAYBOOK_OK;
        dbk_place_add(work->place, &event);
        status = work->folder->add(work->folder->context, &event, error);
        work->is_stopped = status == DAYBOOK_END;
        if (work->is_stopped) return DAYBOOK_OK;
        DBK_TRY(status);
    }
}

static daybook_status replay_query(replay *work, const daybook_query *query, bool *is_sound_out,
                                   daybook_error *error) {
    daybook_engine_cursor *cursor = NULL;
    DBK_TRY(daybook_engine_read(work->engine, query, &cursor, error));
    daybook_status status = replay_cursor(work, cursor, is_sound_out, error);
    daybook_engine_cursor_close(cursor);
    return status;
}

daybook_status dbk_replay(daybook_engine *engine, const dbk_aggregate *aggregate,
                          const daybook_moment *moment, const dbk_folder *folder, dbk_place *place_out,
                          daybook_error *error) {
    replay work = {.engine = engine, .aggregate = aggregate, .folder = folder, .place = place_out};
    work.version_to = moment == NULL ? 0 : moment->version;
    daybook_query query;
    dbk_moment_query(aggregate, moment, &query);
    bool is_sound = false;
    dbk_place_init(place_out);
    if (folder->schema.size > 0)
        DBK_TRY(dbk_snapshot_find(engine, aggregate, moment, folder, place_out, &is_sound, error));
    if (is_sound) {
        bound_query(engine, place_out->seq, place_out->position, &query);
        DBK_TRY(replay_query(&work, &query, &is_sound, error));
    }
    if (!is_sound) {
        dbk_place_init(place_out);
        DBK_TRY(folder->begin(folder->context, error));
        dbk_moment_query(aggregate, moment, &query);
        work.is_proved = true;
        DBK_TRY(replay_query(&work, &query, &is_sound, error));
    }
    if (work.is_stopped) return DAYBOOK_OK;
    return dbk_moment_check_version(engine, aggregate, moment, place_out->version, error);
}

daybook_status dbk_replay_more(daybook_engine *engine, const dbk_aggregate *aggregate,
                               const dbk_folder *folder, dbk_place *place, daybook_error *error) {
    replay work = {
        .engine = engine, .aggregate = aggregate, .folder = folder, .place = place, .is_proved = true};
    daybook_query query;
    dbk_moment_query(aggregate, NULL, &query);
    bound_query(engine, place->seq + 1, place->position + 1, &query);
    bool is_sound = true;
    return replay_query(&work, &query, &is_sound, error);
}
