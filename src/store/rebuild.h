// SPDX-License-Identifier: Apache-2.0
// A lost manifest, made again from what segments, deletion files and journal say of themselves.
#ifndef DBK_STORE_REBUILD_H
#define DBK_STORE_REBUILD_H

#include "index/cache.h"
#include "store/manifest.h"

/// Fill the initialised `manifest` (not yet on disk; its number is above every file's there). EDAMAGED
/// where neither a segment nor the journal tells which store it is.
daybook_status dbk_rebuild_manifest(const daybook_allocator *allocator, daybook_vfs *vfs,
                                    const char *directory, dbk_cache *cache, dbk_manifest *manifest,
                                    daybook_error *error);

#endif
