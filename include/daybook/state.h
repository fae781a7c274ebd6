/* SPDX-License-Identifier: Apache-2.0 */
/**
 * State from events, for JSON events and without a line of code: an aggregate's events are folded
 * with JSON merge patch (RFC 7396). Events whose data is not a JSON object are counted and skipped.
 * Snapshots (snapshot.h) shorten the fold. For states of your own type see aggregate.h. Part of
 * daybook-toolkit.
 *
 *     daybook_state *state;
 *     daybook_state_load(daybook_store_engine(store), daybook_text("orders.123"), NULL, &state, &error);
 *     puts(state->json);
 *     daybook_state_release(state);
 *
 * Every `..._out` text is owned by the caller and released with daybook_text_release.
 */
#ifndef DAYBOOK_STATE_H
#define DAYBOOK_STATE_H

#include "daybook/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Which past to see; at most one field is given (0 or DAYBOOK_TIME_NONE: not given). */
typedef struct daybook_moment {
    size_t size;
    uint64_t version;    /* events up to this version; ENOTFOUND where it was never assigned */
    uint64_t seq;        /* events up to this seq of the stream */
    int64_t time_ns;     /* events with `time` <= this, in order of version */
    int64_t known_at_ns; /* events with `recorded` <= this */
} daybook_moment;

DAYBOOK_API void daybook_moment_init(daybook_moment *moment);

typedef struct daybook_state {
    size_t size;
    char *json; /* compact JSON of the state, "{}" for none; NUL-terminated */
    size_t json_size;
    daybook_slice aggregate; /* borrowed from the state */
    uint64_t version;        /* of the last event folded */
    uint64_t seq;
    uint64_t position;
    int64_t time_ns;     /* of the last event folded */
    int64_t time_max_ns; /* greatest `time` folded */
    int64_t recorded_ns;
    uint64_t event_count;      /* events read for it */
    uint64_t skipped_count;    /* events whose data is no JSON object that can be folded */
    uint64_t snapshot_version; /* version of the snapshot it began with, 0 for none */
} daybook_state;

/** ENOTFOUND where no such aggregate has an event at the moment. Release with daybook_state_release. */
DAYBOOK_API daybook_status daybook_state_load(daybook_engine *engine, daybook_slice aggregate,
                                              const daybook_moment *moment, daybook_state **state_out,
                                              daybook_error *error);
DAYBOOK_API void daybook_state_release(daybook_state *state);

/**
 * Visit each event of the aggregate with what it changed.
 * `changes` is a JSON array of {"path","from","to"} (JSON Pointer; absent member = not there before
 * or after); `state` is the state after the event. Borrowed during the visit.
 */
DAYBOOK_API daybook_status daybook_state_history(daybook_engine *engine, daybook_slice aggregate,
                                                 const daybook_moment *moment,
                                                 int (*visit)(void *context,
                                                              const daybook_recorded_event *event,
                                                              daybook_slice changes, daybook_slice state),
                                                 void *context, daybook_error *error);

/** Changes from version `from` to version `to` (0 = the empty state), as in daybook_state_history. */
DAYBOOK_API daybook_status daybook_state_diff(daybook_engine *engine, daybook_slice aggregate, uint64_t from,
                                              uint64_t to, char **changes_out, daybook_error *error);
DAYBOOK_API void daybook_text_release(char *text);

#ifdef __cplusplus
}
#endif
#endif
