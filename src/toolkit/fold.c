// SPDX-License-Identifier: Apache-2.0
// The fold without a model: events whose data is a JSON object are merged into the state as RFC 7396 says,
// others are counted and change nothing. How events are found and read is replay.c's.
#include "toolkit/fold.h"

#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "json/json.h"

void dbk_fold_deinit(dbk_fold *fold) {
    json_decref(fold->state);
    memset(fold, 0, sizeof *fold);
}

static daybook_status begin(void *context, daybook_error *error) {
    dbk_fold *fold = context;
    dbk_fold_deinit(fold);
    dbk_place_init(&fold->place);
    fold->state = json_object();
    return fold->state == NULL ? dbk_fail(error, DAYBOOK_ENOMEM, "out of memory: state not begun")
                               : DAYBOOK_OK;
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

daybook_status dbk_fold_merge(dbk_fold *fold, const json_t *patch) {
    if (patch != NULL) return dbk_json_merge(fold->state, patch);
    fold->skipped_count++;
    return DAYBOOK_OK;
}

static daybook_status add(void *context, const daybook_recorded_event *event, daybook_error *error) {
    dbk_fold *fold = context;
    json_t *patch = NULL;
    daybook_status status = dbk_event_patch(&event->event, &patch);
    if (status == DAYBOOK_OK) status = dbk_fold_merge(fold, patch);
    json_decref(patch);
    if (status == DAYBOOK_ENOMEM)
        return dbk_fail(error, status, "out of memory: state of aggregate '%.*s' at version %llu",
                        DBK_TEXT(event->aggregate), (unsigned long long)event->version);
    return status;
}

static daybook_status restore(void *context, daybook_slice schema, json_t *state, daybook_slice bytes,
                              daybook_error *error) {
    (void)bytes;
    (void)error;
    dbk_fold *fold = context;
    if (!json_is_object(state) || !dbk_slice_equal(schema, daybook_text(DBK_FOLD_SCHEMA)))
        return DAYBOOK_EINVALID;
    dbk_fold_deinit(fold);
    fold->state = json_incref(state);
    return DAYBOOK_OK;
}

static daybook_status write_state(void *context, dbk_buf *out, daybook_error *error) {
    (void)error;
    const dbk_fold *fold = context;
    dbk_json_write(out, fold->state);
    return dbk_buf_status(out);
}

void dbk_fold_folder(dbk_fold *fold, dbk_folder *folder_out) {
    memset(fold, 0, sizeof *fold);
    *folder_out = (dbk_folder){
        .context = fold,
        .schema = daybook_text(DBK_FOLD_SCHEMA),
        .is_json = true,
        .begin = begin,
        .add = add,
        .restore = restore,
        .write = write_state,
    };
}

daybook_status dbk_fold_load(daybook_engine *engine, const dbk_aggregate *aggregate,
                             const daybook_moment *moment, dbk_fold *fold_out, daybook_error *error) {
    dbk_folder folder;
    dbk_place place;
    dbk_fold_folder(fold_out, &folder);
    daybook_status status = dbk_replay(engine, aggregate, moment, &folder, &place, error);
    if (status == DAYBOOK_OK && place.version == 0) status = dbk_moment_not_found(aggregate, moment, error);
    if (status == DAYBOOK_OK)
        fold_out->place = place;
    else
        dbk_fold_deinit(fold_out);
    return status;
}
