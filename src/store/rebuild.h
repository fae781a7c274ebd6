// SPDX-License-Identifier: Apache-2.0
// A lost manifest, made again from what segments, deletion files and journal say of themselves.
#ifndef DBK_STORE_REBUILD_H
#define DBK_STORE_REBUILD_H

#include "index/cache.h"
#include "store/manifest.h"

/// What cannot be read and is left out: a segment with all its events, what a segment says of the streams, a
/// page of the journal.
typedef enum dbk_rebuild_part {
    DBK_REBUILD_SEGMENT,
    DBK_REBUILD_CATALOGUE,
    DBK_REBUILD_PAGE
} dbk_rebuild_part;
/// Told of each, and why.
typedef void (*dbk_rebuild_report)(void *context, const char *name, dbk_rebuild_part part,
                                   const daybook_error *why);

/// Fill the initialised `manifest` (not yet on disk; its number is the greatest of any file there, so that
/// the first edit begins the next). EDAMAGED where neither a segment nor the journal tells which store it is.
/// What merely keeps us from looking (memory, permissions, too many open files) ends it.
daybook_status dbk_rebuild_manifest(const daybook_allocator *allocator, daybook_vfs *vfs,
                                    const char *directory, dbk_cache *cache, dbk_manifest *manifest,
                                    dbk_rebuild_report report, void *report_context, daybook_error *error);

#endif
