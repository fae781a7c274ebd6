// SPDX-License-Identifier: Apache-2.0
// Between the files of the manifest: records applied in two steps, and what looks into the arrays. Edits
// themselves are made with the functions of manifest.h.
#ifndef DBK_STORE_MANIFEST_EDIT_H
#define DBK_STORE_MANIFEST_EDIT_H

#include "store/manifest.h"

#define DBK_MANIFEST_EDIT_SIZE_MAX ((size_t)1 << 28)

/// What an edit adds at most: counted first, so that room and copies can be had before anything is changed.
typedef struct dbk_manifest_plan {
    size_t segment_count;
    size_t stream_count;
    size_t entry_count;
    bool has_journal;
    uint32_t piece_count;
    dbk_manifest_entry *entries; // copies, in order of their records
    size_t entries_made;
    uint32_t *pieces;
} dbk_manifest_plan;

/// Check the records, count what they add, and get room for it. EDAMAGED, ENOMEM. The plan begins zeroed and
/// is given up with dbk_manifest_plan_deinit, whatever was returned.
daybook_status dbk_manifest_prepare(dbk_manifest *manifest, dbk_slice records, dbk_manifest_plan *plan);
/// Put in what was prepared. Cannot fail.
void dbk_manifest_take(dbk_manifest *manifest, dbk_slice records, dbk_manifest_plan *plan);
void dbk_manifest_plan_deinit(const daybook_allocator *allocator, dbk_manifest_plan *plan);

/// Everything `manifest` says, as the records of a snapshot.
void dbk_manifest_write_snapshot(const dbk_manifest *manifest, dbk_manifest_edit *edit);
/// True where what was loaded makes sense as a whole.
bool dbk_manifest_is_consistent(const dbk_manifest *manifest);
void dbk_manifest_free_entry(const daybook_allocator *allocator, dbk_manifest_entry *entry);
int dbk_manifest_compare_entries(const void *a, const void *b);
int dbk_manifest_compare_streams(const void *a, const void *b);

#endif
