// SPDX-License-Identifier: Apache-2.0
// Deletion files: which events of a segment have been removed since it was written. Immutable; a change is
// a new file of a higher generation, named by the manifest.
#ifndef DBK_STORE_DELETIONS_H
#define DBK_STORE_DELETIONS_H

#include <roaring/roaring.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/uuid.h"
#include "daybook/sys/vfs.h"

typedef struct dbk_deletions_config {
    const daybook_allocator *allocator;
    daybook_vfs *vfs;
    const char *directory;
    dbk_uuid store_uuid;
    uint64_t segment_id;
    uint64_t generation;
} dbk_deletions_config;

void dbk_deletions_name(uint64_t segment_id, uint64_t generation, char name_out[64]);
bool dbk_deletions_parse_name(const char *name, uint64_t *segment_id_out, uint64_t *generation_out);

/// Durable when it returns.
daybook_status dbk_deletions_write(const dbk_deletions_config *config, const roaring_bitmap_t *removed,
                                   const roaring_bitmap_t *for_ever, daybook_error *error);
/// Both bitmaps are owned by the caller. ENOTFOUND, EDAMAGED, EFORMAT, EFOREIGN.
daybook_status dbk_deletions_read(const dbk_deletions_config *config, roaring_bitmap_t **removed_out,
                                  roaring_bitmap_t **for_ever_out, daybook_error *error);

/// Whether the bytes are one well-formed bitmap in portable Roaring format (bitmap_check.c).
bool dbk_bitmap_check(dbk_slice bytes);

#endif
