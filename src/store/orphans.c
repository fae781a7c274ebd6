// SPDX-License-Identifier: Apache-2.0
// Files a crash left behind. A flush or merge gives its segment a name before the manifest knows it, and
// removes its inputs after; a process that dies in between leaves a file no manifest names.
//
// Nothing is removed because the manifest does not mention it. Removed is only what something valid takes
// the place of:
//   - a segment of this store all of whose positions lie in segments the manifest names and that were
//     opened: its events are there (the inputs of a merge, or a flush that was done over)
//   - a deletion file older than the one the manifest names for that segment, or of a segment removed just
//     now
//   - a manifest with a smaller number than the one that was loaded
// Everything else stays, verify tells of it. Called once by open, under the lock.
#include <string.h>

#include "store/deletions.h"
#include "store/directory.h"
#include "store/maintenance.h"

enum { ORPHANS_MAX = 256 };

typedef struct orphan {
    char name[64];
    dbk_file_kind kind;
    uint64_t id;
    uint64_t generation;
} orphan;

typedef struct orphans {
    const dbk_manifest *manifest;
    orphan *list;
    size_t count;
} orphans;

static bool is_named(const dbk_manifest *manifest, dbk_file_kind kind, uint64_t id, uint64_t generation) {
    if (kind == DBK_FILE_MANIFEST) return id >= manifest->number;
    const dbk_manifest_segment *segment = dbk_manifest_find_segment(manifest, id);
    if (kind == DBK_FILE_SEGMENT || segment == NULL) return segment != NULL;
    return segment->deletion_generation == generation;
}

static int collect(void *context, const daybook_vfs_entry *entry) {
    orphans *found = context;
    uint64_t id = 0;
    uint64_t generation = 0;
    dbk_file_kind kind = dbk_file_classify(entry->name, &id, &generation);
    if (kind != DBK_FILE_MANIFEST && kind != DBK_FILE_SEGMENT && kind != DBK_FILE_DELETIONS) return 0;
    if (is_named(found->manifest, kind, id, generation)) return 0;
    if (found->count == ORPHANS_MAX) return 1; // the rest next time
    orphan *left = &found->list[found->count++];
    *left = (orphan){.kind = kind, .id = id, .generation = generation};
    memcpy(left->name, entry->name, strlen(entry->name) + 1); // our names are short
    return 0;
}

// True where segments of the view, all of them readable, hold every position of the range.
static bool is_covered(const dbk_view *view, uint64_t first, uint64_t last) {
    for (size_t i = 0; i < view->segment_count && first <= last; i++) {
        const dbk_source *source = view->sources[i];
        if (source->segment == NULL || source->position_first > first || source->position_last < first)
            continue;
        if (source->position_last >= last) return true;
        first = source->position_last + 1;
    }
    return false;
}

static bool segment_is_replaced(daybook_store *store, const dbk_view *view, uint64_t segment_id) {
    dbk_segment_config config = dbk_store_segment_config(store, segment_id);
    dbk_segment *segment = NULL;
    if (dbk_segment_open(&config, store->cache, &segment, NULL) != DAYBOOK_OK) return false;
    const dbk_segment_summary *summary = dbk_segment_get_summary(segment);
    bool covered = is_covered(view, summary->position_first, summary->position_last);
    dbk_segment_unref(segment);
    return covered;
}

static bool was_removed(const orphans *found, uint64_t segment_id) {
    for (size_t i = 0; i < found->count; i++) {
        if (found->list[i].kind == DBK_FILE_SEGMENT && found->list[i].id == segment_id)
            return found->list[i].name[0] == '\0';
    }
    return false;
}

static bool is_replaced(daybook_store *store, const dbk_view *view, const orphans *found,
                        const orphan *left) {
    const dbk_manifest_segment *segment = dbk_manifest_find_segment(&store->manifest, left->id);
    switch (left->kind) {
    case DBK_FILE_MANIFEST:
        return true;
    case DBK_FILE_SEGMENT:
        return segment_is_replaced(store, view, left->id);
    case DBK_FILE_DELETIONS:
        if (segment == NULL) return was_removed(found, left->id);
        return left->generation < segment->deletion_generation;
    default:
        return false;
    }
}

void dbk_remove_orphans(daybook_store *store) {
    orphans found = {.manifest = &store->manifest};
    found.list = dbk_resize_array(store->allocator, NULL, ORPHANS_MAX, sizeof *found.list);
    if (found.list == NULL) return; // next time
    (void)store->vfs->list(store->vfs, store->path, collect, &found);
    dbk_view *view = dbk_store_get_view(store);
    // Segments first: their deletion files follow them.
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < found.count; i++) {
            orphan *left = &found.list[i];
            if ((left->kind == DBK_FILE_DELETIONS) != (pass == 1) || !is_replaced(store, view, &found, left))
                continue;
            dbk_store_log(store, DAYBOOK_LOG_INFO,
                          "%s was left behind by a crash and replaced since: removed", left->name);
            dbk_remove_file(store, left->name);
            left->name[0] = '\0';
        }
    }
    dbk_view_unref(view);
    dbk_free(store->allocator, found.list);
}
