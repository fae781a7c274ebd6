// SPDX-License-Identifier: Apache-2.0
// The fold behind state, history and diff: JSON merge patch, and the state as a JSON value while it grows.
#ifndef DBK_TOOLKIT_FOLD_H
#define DBK_TOOLKIT_FOLD_H

#include "toolkit/replay.h"

/// How the state in a snapshot was made; a snapshot of any other kind is not used.
#define DBK_FOLD_SCHEMA "merge-patch/1"

typedef struct dbk_fold {
    json_t *state; // owned; NULL before the fold begins
    dbk_place place;
    uint64_t skipped_count;
} dbk_fold;

void dbk_fold_deinit(dbk_fold *fold);
/// A folder over the fold, which is emptied.
void dbk_fold_folder(dbk_fold *fold, dbk_folder *folder_out);

/// The patch an event carries: `*patch_out` is NULL where its data is no JSON object. ENOMEM.
daybook_status dbk_event_patch(const daybook_event *event, json_t **patch_out);
/// Merge `patch` into the state; NULL is counted as skipped.
daybook_status dbk_fold_merge(dbk_fold *fold, const json_t *patch);

/// Fold the aggregate up to the moment, from the best snapshot or from the start. ENOTFOUND. On OK `fold_out`
/// is released with dbk_fold_deinit.
daybook_status dbk_fold_load(daybook_engine *engine, const dbk_aggregate *aggregate,
                             const daybook_moment *moment, dbk_fold *fold_out, daybook_error *error);
/// The public form of a fold. Takes nothing from it.
daybook_status dbk_fold_give_state(const dbk_fold *fold, const dbk_aggregate *aggregate,
                                   daybook_state **state_out, daybook_error *error);

#endif
