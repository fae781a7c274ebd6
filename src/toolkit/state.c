// SPDX-License-Identifier: Apache-2.0
// State, history and diff of an aggregate: the public face of fold.c.
//
// A daybook_state is one block: the struct, then the aggregate's name; its JSON text is a second one. Both
// come from malloc, because they outlive the call and are released without a store at hand.
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "toolkit/fold.h"
#include "json/json.h"

void daybook_moment_init(daybook_moment *moment) {
    memset(moment, 0, sizeof *moment);
    moment->size = sizeof *moment;
    moment->time_ns = DAYBOOK_TIME_NONE;
    moment->known_at_ns = DAYBOOK_TIME_NONE;
}

static daybook_status out_of_memory(daybook_error *error, const dbk_aggregate *aggregate) {
    return dbk_fail(error, DAYBOOK_ENOMEM,
                    "out of memory, or a text beyond %d bytes: state of aggregate '%.*s'",
                    DBK_STATE_TEXT_SIZE_MAX, DBK_TEXT(aggregate->name_slice));
}

// The text of `buf` with a NUL behind it; the buffer is left empty. NULL where it failed.
static char *take_text(dbk_buf *buf, size_t *size_out) {
    dbk_buf_append_u8(buf, '\0');
    if (dbk_buf_status(buf) != DAYBOOK_OK) return NULL;
    char *text = (char *)buf->data;
    if (size_out != NULL) *size_out = buf->size - 1;
    dbk_buf_init(buf, dbk_allocator_default(), DBK_STATE_TEXT_SIZE_MAX);
    return text;
}

void daybook_text_release(char *text) {
    dbk_free(dbk_allocator_default(), text);
}

void daybook_state_release(daybook_state *state) {
    if (state == NULL) return;
    daybook_text_release(state->json);
    dbk_free(dbk_allocator_default(), state);
}

daybook_status dbk_fold_give_state(const dbk_fold *fold, const dbk_aggregate *aggregate,
                                   daybook_state **state_out, daybook_error *error) {
    size_t name_size = aggregate->name_slice.size;
    daybook_state *state = dbk_alloc_zeroed(dbk_allocator_default(), sizeof *state + name_size + 1);
    dbk_buf text;
    dbk_buf_init(&text, dbk_allocator_default(), DBK_STATE_TEXT_SIZE_MAX);
    if (state != NULL) {
        dbk_json_write(&text, fold->state);
        state->json = take_text(&text, &state->json_size);
    }
    if (state == NULL || state->json == NULL) {
        dbk_buf_deinit(&text);
        daybook_state_release(state);
        return out_of_memory(error, aggregate);
    }
    char *name = (char *)(state + 1);
    memcpy(name, aggregate->name, name_size + 1);
    state->size = sizeof *state;
    state->aggregate = daybook_bytes(name, name_size);
    state->version = fold->place.version;
    state->seq = fold->place.seq;
    state->position = fold->place.position;
    state->time_ns = fold->place.time_ns;
    state->time_max_ns = fold->place.time_max_ns;
    state->recorded_ns = fold->place.recorded_ns;
    state->event_count = fold->place.event_count;
    state->skipped_count = fold->skipped_count;
    state->snapshot_version = fold->place.snapshot_version;
    *state_out = state;
    return DAYBOOK_OK;
}

daybook_status daybook_state_load(daybook_engine *engine, daybook_slice name, const daybook_moment *moment,
                                  daybook_state **state_out, daybook_error *error) {
    if (state_out == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "no room for the state given");
    *state_out = NULL;
    dbk_aggregate aggregate;
    dbk_fold fold;
    DBK_TRY(dbk_moment_check(moment, error));
    DBK_TRY(dbk_aggregate_find(engine, name, &aggregate, error));
    DBK_TRY(dbk_fold_load(engine, &aggregate, moment, &fold, error));
    daybook_status status = dbk_fold_give_state(&fold, &aggregate, state_out, error);
    dbk_fold_deinit(&fold);
    return status;
}

// History.

typedef struct history_walk {
    const dbk_aggregate *aggregate;
    dbk_fold fold;
    dbk_buf changes;
    dbk_buf state;
    int (*visit)(void *context, const daybook_recorded_event *event, daybook_slice changes,
                 daybook_slice state);
    void *context;
} history_walk;

static daybook_status write_changes(history_walk *history, const json_t *patch) {
    dbk_buf_reset(&history->changes);
    if (patch != NULL) return dbk_json_write_patch_changes(&history->changes, history->fold.state, patch);
    dbk_buf_append(&history->changes, "[]", 2);
    return dbk_buf_status(&history->changes);
}

static daybook_status visit_event(void *context, const daybook_recorded_event *event, daybook_error *error) {
    history_walk *history = context;
    json_t *patch = NULL;
    daybook_status status = dbk_event_patch(&event->event, &patch);
    if (status == DAYBOOK_OK) status = write_changes(history, patch);
    if (status == DAYBOOK_OK) status = dbk_fold_merge(&history->fold, patch);
    // An event without JSON leaves the state as it was, and so its text.
    if (status == DAYBOOK_OK && (patch != NULL || history->state.size == 0)) {
        dbk_buf_reset(&history->state);
        dbk_json_write(&history->state, history->fold.state);
        status = dbk_buf_status(&history->state);
    }
    json_decref(patch);
    if (status != DAYBOOK_OK) return out_of_memory(error, history->aggregate);
    int stop = history->visit(history->context, event,
                              daybook_bytes(history->changes.data, history->changes.size),
                              daybook_bytes(history->state.data, history->state.size));
    return stop ? DAYBOOK_END : DAYBOOK_OK;
}

static daybook_status begin_nothing(void *context, daybook_error *error) {
    (void)context; // It was begun before.
    (void)error;
    return DAYBOOK_OK;
}

static daybook_status visit_history(daybook_engine *engine, const daybook_moment *moment,
                                    history_walk *history, daybook_error *error) {
    // Without a schema it has no snapshots: every event is visited.
    const dbk_folder folder = {.context = history, .begin = begin_nothing, .add = visit_event};
    dbk_place place;
    DBK_TRY(dbk_replay(engine, history->aggregate, moment, &folder, &place, error));
    return place.version == 0 ? dbk_moment_not_found(history->aggregate, moment, error) : DAYBOOK_OK;
}

daybook_status daybook_state_history(daybook_engine *engine, daybook_slice name, const daybook_moment *moment,
                                     int (*visit)(void *context, const daybook_recorded_event *event,
                                                  daybook_slice changes, daybook_slice state),
                                     void *context, daybook_error *error) {
    if (visit == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "no visitor given");
    dbk_aggregate aggregate;
    DBK_TRY(dbk_moment_check(moment, error));
    DBK_TRY(dbk_aggregate_find(engine, name, &aggregate, error));
    history_walk history;
    memset(&history, 0, sizeof history);
    history.aggregate = &aggregate;
    history.visit = visit;
    history.context = context;
    dbk_buf_init(&history.changes, dbk_allocator_default(), DBK_STATE_TEXT_SIZE_MAX);
    dbk_buf_init(&history.state, dbk_allocator_default(), DBK_STATE_TEXT_SIZE_MAX);
    history.fold.state = json_object();
    daybook_status status = history.fold.state == NULL ? out_of_memory(error, &aggregate)
                                                       : visit_history(engine, moment, &history, error);
    dbk_fold_deinit(&history.fold);
    dbk_buf_deinit(&history.state);
    dbk_buf_deinit(&history.changes);
    return status;
}

// Diff.

static daybook_status load_version(daybook_engine *engine, const dbk_aggregate *aggregate, uint64_t version,
                                   dbk_fold *fold_out, daybook_error *error) {
    if (version > 0) {
        daybook_moment moment;
        daybook_moment_init(&moment);
        moment.version = version;
        return dbk_fold_load(engine, aggregate, &moment, fold_out, error);
    }
    memset(fold_out, 0, sizeof *fold_out);
    fold_out->state = json_object();
    return fold_out->state == NULL ? out_of_memory(error, aggregate) : DAYBOOK_OK;
}

daybook_status daybook_state_diff(daybook_engine *engine, daybook_slice name, uint64_t from, uint64_t to,
                                  char **changes_out, daybook_error *error) {
    if (changes_out == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "no room for the changes given");
    *changes_out = NULL;
    dbk_aggregate aggregate;
    DBK_TRY(dbk_aggregate_find(engine, name, &aggregate, error));
    dbk_fold before;
    dbk_fold after;
    memset(&after, 0, sizeof after);
    dbk_buf text;
    dbk_buf_init(&text, dbk_allocator_default(), DBK_STATE_TEXT_SIZE_MAX);
    daybook_status status = load_version(engine, &aggregate, from, &before, error);
    if (status == DAYBOOK_OK) {
        status = load_version(engine, &aggregate, to, &after, error);
        if (status == DAYBOOK_OK) {
            status = dbk_json_write_changes(&text, before.state, after.state);
            if (status == DAYBOOK_OK) *changes_out = take_text(&text, NULL);
            if (*changes_out == NULL) status = out_of_memory(error, &aggregate);
        }
        dbk_fold_deinit(&before);
    }
    dbk_fold_deinit(&after);
    dbk_buf_deinit(&text);
    return status;
}
