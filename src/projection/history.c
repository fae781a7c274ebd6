// SPDX-License-Identifier: Apache-2.0
// Whether a read model goes on with the history that it was made from.
//
// A store that was restored from an older backup lacks events that are in the rows, and gives their positions
// to others; so does another store. A run that took it would leave out, or mix up, without a word. Beside the
// checkpoint stand therefore the UUID of the store and a mark: position and id of the last event that was
// seen. It is another history where
//   - the UUID is another one: a backup keeps it, a new store has its own;
//   - the checkpoint lies behind the store's end;
//   - another event has the mark's position. Where that event was removed, or lies in a damaged block, there
//     is nothing to compare, and the checkpoint is believed.
// The way out is a rebuild in each case.
//
// No state; the thread of the run.
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "projection/runner.h"

#define REBUILD "build the tables anew (daybook projection rebuild)"

// What the engine can say; `durable_position` without an end where it says nothing.
static daybook_status ask(daybook_engine *engine, daybook_engine_info *info_out, daybook_error *error) {
    *info_out = (daybook_engine_info){.size = sizeof *info_out};
    daybook_status status = daybook_engine_get_info(engine, info_out, error);
    if (status != DAYBOOK_EUNSUPPORTED) return status;
    *info_out = (daybook_engine_info){.size = sizeof *info_out, .durable_position = UINT64_MAX};
    return DAYBOOK_OK;
}

daybook_status dbk_history_name(daybook_engine *engine, char store_out[37], daybook_error *error) {
    daybook_engine_info info;
    DBK_TRY(ask(engine, &info, error));
    memcpy(store_out, info.store, sizeof info.store);
    return DAYBOOK_OK;
}

daybook_status dbk_history_check_row(const dbk_progress *known, daybook_error *error) {
    if (known->position <= INT64_MAX) return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_ECONFLICT,
                    "the row of projection '%s' says position %" PRId64 ", which no store has: somebody "
                    "changed it; " REBUILD,
                    known->name, (int64_t)known->position);
}

static daybook_status check_mark(daybook_engine *engine, const dbk_progress *known, daybook_error *error) {
    const dbk_mark *mark = &known->mark;
    if (mark->position == 0 || *mark->id == '\0') return DAYBOOK_OK;
    daybook_query query;
    daybook_query_init(&query);
    query.position_from = mark->position;
    query.position_to = mark->position;
    daybook_engine_cursor *cursor;
    DBK_TRY(daybook_engine_read(engine, &query, &cursor, error));
    daybook_recorded_event event;
    event.size = sizeof event;
    daybook_status status = daybook_engine_next(cursor, 0, &event, error);
    bool is_same = status != DAYBOOK_OK || dbk_slice_equal(event.event.id, daybook_text(mark->id));
    daybook_engine_cursor_close(cursor);
    // It was removed, or cannot be read any more, which is no reason not to go on behind it.
    if (status == DAYBOOK_END || status == DAYBOOK_EDAMAGED) return DAYBOOK_OK;
    if (status != DAYBOOK_OK || is_same) return status;
    return dbk_fail(error, DAYBOOK_ECONFLICT,
                    "at position %" PRIu64
                    " the store has another event than the one projection '%s' has seen "
                    "there: it was restored from an older backup and written to since; " REBUILD,
                    mark->position, known->name);
}

daybook_status dbk_history_check(daybook_engine *engine, const dbk_progress *known, daybook_error *error) {
    daybook_engine_info info;
    DBK_TRY(dbk_history_check_row(known, error));
    if (known->position == 0) return DAYBOOK_OK; // nothing of any store is in
    DBK_TRY(ask(engine, &info, error));
    if (*known->store != '\0' && *info.store != '\0' && strcmp(known->store, info.store) != 0)
        return dbk_fail(
            error, DAYBOOK_ECONFLICT,
            "the read model of projection '%s' was made from store %s, and this is store %s: run it "
            "with the other one, or " REBUILD,
            known->name, known->store, info.store);
    if (known->position > info.durable_position)
        return dbk_fail(error, DAYBOOK_ECONFLICT,
                        "the read model of projection '%s' stands at position %" PRIu64
                        ", but the store ends at %" PRIu64 ": it was restored from an older backup; " REBUILD,
                        known->name, known->position, info.durable_position);
    return check_mark(engine, known, error);
}
