/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Snapshots: folded states kept in bucket SNAPSHOTS under the aggregate's name, so that later folds begin
 * there. They are a cache: one that is damaged, of another schema or of another aggregate is passed over, and
 * removing events removes the snapshots that folded them. Part of daybook-toolkit.
 */
#ifndef DAYBOOK_SNAPSHOT_H
#define DAYBOOK_SNAPSHOT_H

#include "daybook/state.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Stored as {"aggregate","version","seq","position","schema","time","time_max","recorded","state"}. */

/** Fold and store a snapshot, unless the newest is of this version; `*state_out` may be NULL. ENOTFOUND. */
DAYBOOK_API daybook_status daybook_snapshot_take(daybook_engine *engine, daybook_slice aggregate,
                                                 daybook_state **state_out, daybook_error *error);
/** The same whatever the newest is, folded from the first event that is stored, without any snapshot: to
 *  supersede one that is suspected. What limits of the stream have removed is then not in it any more. */
DAYBOOK_API daybook_status daybook_snapshot_force(daybook_engine *engine, daybook_slice aggregate,
                                                  daybook_state **state_out, daybook_error *error);
/** The stored JSON of the newest snapshot. ENOTFOUND. */
DAYBOOK_API daybook_status daybook_snapshot_show(daybook_engine *engine, daybook_slice aggregate,
                                                 char **json_out, daybook_error *error);
DAYBOOK_API daybook_status daybook_snapshot_list(daybook_engine *engine, daybook_slice filter,
                                                 int (*visit)(void *context, daybook_slice aggregate,
                                                              daybook_slice json),
                                                 void *context, daybook_error *error);
DAYBOOK_API daybook_status daybook_snapshot_remove(daybook_engine *engine, daybook_slice aggregate,
                                                   daybook_error *error);

/**
 * Remove all but the newest `keep` snapshots of each aggregate that matches the filter (empty: of all). At
 * most 5 of each are kept anyhow. `dry_run` only counts.
 */
DAYBOOK_API daybook_status daybook_snapshot_prune(daybook_engine *engine, daybook_slice filter, uint64_t keep,
                                                  int dry_run, uint64_t *removed_count_out,
                                                  daybook_error *error);

#ifdef __cplusplus
}
#endif
#endif
