// SPDX-License-Identifier: Apache-2.0
// What every fold of the toolkit shares: finding an aggregate and its stream, the moments one can look at,
// and replaying the events up to a moment into somebody's state, from a snapshot where there is a sound one.
#ifndef DBK_TOOLKIT_REPLAY_H
#define DBK_TOOLKIT_REPLAY_H

#include <jansson.h>

#include "base/memory.h"
#include "daybook/snapshot.h"

#define DBK_SNAPSHOT_BUCKET "SNAPSHOTS"
/// Values kept per aggregate, so that an earlier moment finds an earlier snapshot.
enum { DBK_SNAPSHOT_HISTORY = 5 };
/// Bytes of the longest JSON text given out, and of the longest state in a snapshot.
enum { DBK_STATE_TEXT_SIZE_MAX = 1 << 28 };

/// For messages: TEXT arguments of "%.*s", cut to what an error can show.
static inline int dbk_text_width(daybook_slice text) {
    return text.size > 300 ? 300 : (int)text.size;
}
#define DBK_TEXT(slice) dbk_text_width(slice), (slice).size == 0 ? "" : (const char *)(slice).data

/// An aggregate found in its stream.
typedef struct dbk_aggregate {
    char name[DAYBOOK_SUBJECT_SIZE_MAX + 1];
    char filter[DAYBOOK_SUBJECT_SIZE_MAX + 3]; // `<name>.>`
    char stream[DAYBOOK_STREAM_NAME_SIZE_MAX + 1];
    daybook_slice name_slice;
    daybook_slice filter_slice;
    daybook_slice stream_slice; // empty where no stream captures it
} dbk_aggregate;

/// Checks the name and finds the stream. ESUBJECT, ENOTFOUND (then all but the stream is filled in). The
/// result points into itself: do not copy it.
daybook_status dbk_aggregate_find(daybook_engine *engine, daybook_slice name, dbk_aggregate *aggregate_out,
                                  daybook_error *error);

/// EINVALID where more than one past is asked for; NULL is the present.
daybook_status dbk_moment_check(const daybook_moment *moment, daybook_error *error);
/// A query for the events of the aggregate at the moment; borrows `aggregate`. Without the bound by version:
/// places in the store are found at once, versions only by looking at events, so the reader stops behind it
/// by itself.
void dbk_moment_query(const dbk_aggregate *aggregate, const daybook_moment *moment, daybook_query *query_out);
/// ENOTFOUND with the reason: no event of the aggregate was there at the moment.
daybook_status dbk_moment_not_found(const dbk_aggregate *aggregate, const daybook_moment *moment,
                                    daybook_error *error);
/// OK where moment->version was assigned; the fold ended at `last_version`.
daybook_status dbk_moment_check_version(daybook_engine *engine, const dbk_aggregate *aggregate,
                                        const daybook_moment *moment, uint64_t last_version,
                                        daybook_error *error);
/// ENOTFOUND unless the event belongs to the aggregate asked for (and not to one of a longer name).
daybook_status dbk_event_check_aggregate(const dbk_aggregate *aggregate, const daybook_recorded_event *event,
                                         daybook_error *error);

/// How far a fold is: the last event folded, the greatest time, the snapshot it began with.
typedef struct dbk_place {
    uint64_t version, seq, position;
    int64_t time_ns, time_max_ns, recorded_ns;
    uint64_t snapshot_version; // 0: none
    uint64_t event_count;      // read for it
    uint64_t live_seq;         // of the last event that was seen in the stream, 0: none was
} dbk_place;

void dbk_place_init(dbk_place *place);
/// Moves behind the event and counts it.
void dbk_place_add(dbk_place *place, const daybook_recorded_event *event);

/// A state that is being folded, of whatever kind.
typedef struct dbk_folder {
    void *context;
    daybook_slice schema; // of its snapshots; empty: it has none
    bool is_json;         // its snapshots are JSON
    /// The state before the first event, whatever was there before. ENOMEM.
    daybook_status (*begin)(void *context, daybook_error *error);
    /// DAYBOOK_END ends the replay early, which is fine.
    daybook_status (*add)(void *context, const daybook_recorded_event *event, daybook_error *error);
    /// The state of a snapshot, made under `schema`; `state` is its JSON, or NULL where it is `bytes`.
    /// EINVALID: not one that can be used; the replay then begins it anew.
    daybook_status (*restore)(void *context, daybook_slice schema, json_t *state, daybook_slice bytes,
                              daybook_error *error);
    /// The state as a snapshot keeps it.
    daybook_status (*write)(void *context, dbk_buf *out, daybook_error *error);
} dbk_folder;

/// Replay the aggregate up to the moment, from the best snapshot or from the start; `place_out->version` is 0
/// where it has no event. ENOTFOUND for a version never assigned.
daybook_status dbk_replay(daybook_engine *engine, const dbk_aggregate *aggregate,
                          const daybook_moment *moment, const dbk_folder *folder, dbk_place *place_out,
                          daybook_error *error);
/// The events behind `place`, up to now.
daybook_status dbk_replay_more(daybook_engine *engine, const dbk_aggregate *aggregate,
                               const dbk_folder *folder, dbk_place *place, daybook_error *error);

/// The newest snapshot usable for the moment into the folder; `*is_found_out` is false where there is none.
/// Damaged, foreign and undecodable ones are passed over. Fails only where memory or the engine does.
daybook_status dbk_snapshot_find(daybook_engine *engine, const dbk_aggregate *aggregate,
                                 const daybook_moment *moment, const dbk_folder *folder, dbk_place *place_out,
                                 bool *is_found_out, daybook_error *error);
/// Replay and store a snapshot, unless the newest is of this version and it is not `forced`. `*is_stored_out`
/// says whether one was written. ENOTFOUND without events. EREADONLY.
daybook_status dbk_snapshot_take(daybook_engine *engine, const dbk_aggregate *aggregate,
                                 const dbk_folder *folder, bool is_forced, dbk_place *place_out,
                                 bool *is_stored_out, daybook_error *error);

#endif
