// SPDX-License-Identifier: Apache-2.0
// The fold behind state, history, diff and snapshots: which events make an aggregate's state, and the state
// as a JSON value while it grows.
#ifndef DBK_TOOLKIT_FOLD_H
#define DBK_TOOLKIT_FOLD_H

#include <jansson.h>

#include "base/memory.h"
#include "daybook/snapshot.h"

#define DBK_SNAPSHOT_BUCKET "SNAPSHOTS"
/// How the state in a snapshot was made; a snapshot of any other kind is not used.
#define DBK_SNAPSHOT_SCHEMA "merge-patch/1"
/// Values kept per aggregate, so that an earlier moment finds an earlier snapshot.
enum { DBK_SNAPSHOT_HISTORY = 5 };
/// Bytes of the longest JSON text given out.
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
    daybook_slice stream_slice;
} dbk_aggregate;

/// Checks the name and finds the stream. ESUBJECT, ENOTFOUND. The result points into itself: do not copy it.
daybook_status dbk_aggregate_find(daybook_engine *engine, daybook_slice name, dbk_aggregate *aggregate_out,
                                  daybook_error *error);

typedef struct dbk_fold {
    json_t *state; // owned; NULL before the fold begins
    uint64_t version, seq, position;
    int64_t time_ns, time_max_ns, recorded_ns;
    uint64_t event_count, skipped_count, snapshot_version;
} dbk_fold;

void dbk_fold_deinit(dbk_fold *fold);

/// EINVALID where more than one past is asked for; NULL is the present.
daybook_status dbk_moment_check(const daybook_moment *moment, daybook_error *error);
/// A query for the events of the aggregate at the moment; borrows `aggregate`. Without the bound by version:
/// places in the store are found at once, versions only by looking at events, so the reader stops behind it
/// by itself.
void dbk_moment_query(const dbk_aggregate *aggregate, const daybook_moment *moment, daybook_query *query_out);
/// Bounds the query to events at and behind this place: by position, which the store finds at once, where the
/// engine has it.
void dbk_query_from(const daybook_engine *engine, uint64_t seq, uint64_t position, daybook_query *query);
/// ENOTFOUND with the reason: no event of the aggregate was there at the moment.
daybook_status dbk_moment_not_found(const dbk_aggregate *aggregate, const daybook_moment *moment,
                                    daybook_error *error);
/// OK where moment->version was assigned; the fold ended at `last_version`.
daybook_status dbk_moment_check_version(daybook_engine *engine, const dbk_aggregate *aggregate,
                                        const daybook_moment *moment, uint64_t last_version,
                                        daybook_error *error);

/// The patch an event carries: `*patch_out` is NULL where its data is no JSON object. ENOMEM.
daybook_status dbk_event_patch(const daybook_event *event, json_t **patch_out);
/// ENOTFOUND unless the event belongs to the aggregate asked for (and not to one of a longer name).
daybook_status dbk_event_check_aggregate(const dbk_aggregate *aggregate, const daybook_recorded_event *event,
                                         daybook_error *error);
/// Count the event and merge `patch` (may be NULL) into the state.
daybook_status dbk_fold_add(dbk_fold *fold, const daybook_recorded_event *event, const json_t *patch);

/// Fold the aggregate up to the moment, from the best snapshot or from the start. ENOTFOUND. On OK `fold_out`
/// is released with dbk_fold_deinit.
daybook_status dbk_fold_load(daybook_engine *engine, const dbk_aggregate *aggregate,
                             const daybook_moment *moment, dbk_fold *fold_out, daybook_error *error);
/// The public form of a fold. Takes nothing from it.
daybook_status dbk_fold_give_state(const dbk_fold *fold, const dbk_aggregate *aggregate,
                                   daybook_state **state_out, daybook_error *error);

/// The newest snapshot usable for the moment into an empty fold; leaves it empty where there is none. Damaged
/// or foreign snapshots are passed over. Fails only where memory or the store does.
daybook_status dbk_snapshot_find(daybook_engine *engine, const dbk_aggregate *aggregate,
                                 const daybook_moment *moment, dbk_fold *fold_out, daybook_error *error);

#endif
