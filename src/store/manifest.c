// SPDX-License-Identifier: Apache-2.0
// The manifest in memory, and its life: created, loaded, changed by edits. Its bytes on the disk are
// manifest_file.c, the records in an edit manifest_edit.c.
//
// An edit is first prepared in memory (growing arrays, copies of entries), then made durable, and only then
// put in: applying a durable edit cannot fail. When making it durable fails, whether it is on the disk is
// unknown: the file is given up, the number of the edit is skipped, and the next edit begins a new file with
// a snapshot of what memory says, which outranks the old one. A file that has grown by as much as its
// snapshot (at least REWRITE_BYTES_MIN) is replaced the same way, and one of whose copies something is wrong;
// the old one is removed last.
//
// Loading applies snapshot and edits one after the other, and refuses what contradicts itself (EDAMAGED).
//
// Threads: none of its own; the caller holds store->maintenance's manifest lock.
#include "store/manifest.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "store/manifest_edit.h"

enum { REWRITE_BYTES_MIN = 64 * 1024, LOAD_ATTEMPTS_MAX = 20 };

// ---- In memory ------------------------------------------------------------------------------------------

void dbk_manifest_init(dbk_manifest *manifest, const daybook_allocator *allocator, daybook_vfs *vfs,
                       const char *directory) {
    *manifest = (dbk_manifest){.allocator = allocator,
                               .vfs = vfs,
                               .directory = directory,
                               .last_recorded_ns = INT64_MIN,
                               .next_segment_id = 1,
                               .next_stream_id = 1};
}

static void clear_content(dbk_manifest *manifest) {
    for (size_t i = 0; i < manifest->entry_count; i++)
        dbk_manifest_free_entry(manifest->allocator, &manifest->entries[i]);
    dbk_free(manifest->allocator, manifest->entries);
    dbk_free(manifest->allocator, manifest->streams);
    dbk_free(manifest->allocator, manifest->segments);
    dbk_free(manifest->allocator, manifest->journal_pieces);
    dbk_manifest_file_close(&manifest->file, manifest->vfs);
    dbk_manifest_init(manifest, manifest->allocator, manifest->vfs, manifest->directory);
}

void dbk_manifest_deinit(dbk_manifest *manifest) {
    if (manifest == NULL || manifest->allocator == NULL) return;
    clear_content(manifest);
}

daybook_status dbk_manifest_copy(const dbk_manifest *from, dbk_manifest *to) {
    dbk_manifest_init(to, from->allocator, from->vfs, from->directory);
    to->store_uuid = from->store_uuid;
    to->number = from->number;
    to->edit_count = from->edit_count;
    dbk_manifest_edit edit;
    dbk_manifest_edit_init(&edit, from->allocator);
    dbk_manifest_write_snapshot(from, &edit);
    daybook_status status = dbk_manifest_apply(to, &edit);
    dbk_manifest_edit_deinit(&edit);
    if (status != DAYBOOK_OK) dbk_manifest_deinit(to);
    return status;
}

const dbk_manifest_segment *dbk_manifest_find_segment(const dbk_manifest *manifest, uint64_t segment_id) {
    for (size_t i = 0; i < manifest->segment_count; i++) {
        if (manifest->segments[i].summary.segment_id == segment_id) return &manifest->segments[i];
    }
    return NULL;
}

const dbk_manifest_stream *dbk_manifest_find_stream(const dbk_manifest *manifest, uint32_t stream_id) {
    if (manifest->stream_count == 0) return NULL;
    dbk_manifest_stream key = {.id = stream_id};
    return bsearch(&key, manifest->streams, manifest->stream_count, sizeof key, dbk_manifest_compare_streams);
}

const dbk_manifest_entry *dbk_manifest_find_entry(const dbk_manifest *manifest, dbk_catalogue_kind kind,
                                                  dbk_slice key) {
    if (manifest->entry_count == 0) return NULL;
    dbk_manifest_entry wanted = {.kind = kind, .key = key};
    return bsearch(&wanted, manifest->entries, manifest->entry_count, sizeof wanted,
                   dbk_manifest_compare_entries);
}

// ---- Writing --------------------------------------------------------------------------------------------

static dbk_manifest_place place_of(const dbk_manifest *manifest, uint64_t number) {
    return (dbk_manifest_place){.allocator = manifest->allocator,
                                .vfs = manifest->vfs,
                                .directory = manifest->directory,
                                .store_uuid = manifest->store_uuid,
                                .incarnation = manifest->incarnation,
                                .number = number};
}

// Begin file `number` with memory's state and, unless NULL, the edit behind it.
static daybook_status begin_file(dbk_manifest *manifest, uint64_t number, const dbk_manifest_edit *edit,
                                 daybook_error *error) {
    dbk_manifest_place place = place_of(manifest, number);
    dbk_manifest_edit snapshot;
    dbk_manifest_edit_init(&snapshot, manifest->allocator);
    dbk_manifest_write_snapshot(manifest, &snapshot);
    daybook_status status = dbk_manifest_file_begin(&manifest->file, &place, manifest->edit_count,
                                                    &snapshot.records, edit == NULL ? NULL : &edit->records,
                                                    error);
    dbk_manifest_edit_deinit(&snapshot);
    return status;
}

daybook_status dbk_manifest_create(dbk_manifest *manifest, daybook_error *error) {
    return begin_file(manifest, manifest->number, NULL, error);
}

// Begin the file after this one; the old one goes when the new one is durable.
static daybook_status commit_to_new_file(dbk_manifest *manifest, const dbk_manifest_edit *edit,
                                         daybook_error *error) {
    // Should it fail, a rename may have happened and may last: this number is taken, the next attempt uses
    // another.
    manifest->number++;
    DBK_TRY(begin_file(manifest, manifest->number, edit, error));
    dbk_manifest_place place = place_of(manifest, manifest->number);
    dbk_manifest_file_remove_older(&place, manifest->number);
    return DAYBOOK_OK;
}

static daybook_status commit_to_file(dbk_manifest *manifest, const dbk_manifest_edit *edit,
                                     daybook_error *error) {
    dbk_manifest_place place = place_of(manifest, manifest->number);
    return dbk_manifest_file_append(&manifest->file, &place, manifest->edit_count + 1, &edit->records, error);
}

daybook_status dbk_manifest_commit(dbk_manifest *manifest, const dbk_manifest_edit *edit,
                                   daybook_error *error) {
    dbk_manifest_plan plan = {0};
    dbk_slice records = daybook_bytes(edit->records.data, edit->records.size);
    daybook_status status = dbk_buf_status(&edit->records);
    if (status == DAYBOOK_OK) status = dbk_manifest_prepare(manifest, records, &plan);
    if (status != DAYBOOK_OK) {
        (void)dbk_fail(error, status, "cannot change the manifest of %s: %s", manifest->directory,
                       daybook_status_text(status));
        goto done;
    }
    const dbk_manifest_file *file = &manifest->file;
    uint64_t growth_max = file->snapshot_size > REWRITE_BYTES_MIN ? file->snapshot_size : REWRITE_BYTES_MIN;
    bool is_due = file->size + edit->records.size > file->snapshot_size + growth_max;
    if (file->copies[0] == NULL || is_due) {
        status = commit_to_new_file(manifest, edit, error);
    } else {
        status = commit_to_file(manifest, edit, error);
    }
    // A number that may be on disk is not used again, so that readers can tell the two edits apart.
    manifest->edit_count++;
    if (status == DAYBOOK_OK) dbk_manifest_take(manifest, records, &plan);
done:
    dbk_manifest_plan_deinit(manifest->allocator, &plan);
    return status;
}

// ---- Loading --------------------------------------------------------------------------------------------

static daybook_status load_frame(dbk_manifest *manifest, const dbk_manifest_frame *frame, bool is_first,
                                 const char *name, daybook_error *error) {
    dbk_manifest_plan plan = {0};
    daybook_status status = DAYBOOK_EDAMAGED;
    if (frame->kind == (is_first ? DBK_MANIFEST_SNAPSHOT : DBK_MANIFEST_EDIT)) {
        status = dbk_manifest_prepare(manifest, frame->records, &plan);
    }
    if (status == DAYBOOK_OK) {
        dbk_manifest_take(manifest, frame->records, &plan);
        manifest->edit_count = frame->edit_number;
    }
    dbk_manifest_plan_deinit(manifest->allocator, &plan);
    if (status == DAYBOOK_EDAMAGED) {
        // The checksum is right: written by a program that knows more, or by a bug.
        return dbk_fail_damaged(
            error, name, frame->offset,
            "%s has an edit this program does not understand at byte %llu; use a newer daybook", name,
            (unsigned long long)frame->offset);
    }
    if (status != DAYBOOK_OK) return dbk_fail(error, status, "out of memory while reading %s", name);
    return DAYBOOK_OK;
}

static daybook_status load_frames(dbk_manifest *manifest, dbk_slice content, daybook_error *error) {
    char name[DBK_MANIFEST_NAME_SIZE];
    dbk_manifest_name(manifest->number, 0, name);
    dbk_manifest_frame frame;
    uint64_t offset = 0;
    for (bool is_first = true; dbk_manifest_file_next(content, &offset, &frame); is_first = false)
        DBK_TRY(load_frame(manifest, &frame, is_first, name, error));
    if (!dbk_manifest_is_consistent(manifest)) {
        return dbk_fail_damaged(error, name, 0, "%s contradicts itself; run daybook verify", name);
    }
    return DAYBOOK_OK;
}

static daybook_status load_once(dbk_manifest *manifest, bool writer, daybook_error *error) {
    dbk_manifest_place place = place_of(manifest, 0);
    dbk_buf content;
    dbk_buf_init(&content, manifest->allocator, DBK_MANIFEST_SIZE_MAX);
    daybook_status status = dbk_manifest_file_read(&manifest->file, &place, writer, &content, error);
    manifest->number = place.number;
    manifest->store_uuid = place.store_uuid;
    manifest->incarnation = place.incarnation;
    if (status == DAYBOOK_OK)
        status = load_frames(manifest, daybook_bytes(content.data, content.size), error);
    dbk_buf_deinit(&content);
    return status;
}

daybook_status dbk_manifest_load(dbk_manifest *manifest, bool writer, daybook_error *error) {
    daybook_status status = DAYBOOK_ENOTFOUND;
    for (int attempt = 0; attempt < LOAD_ATTEMPTS_MAX; attempt++) {
        clear_content(manifest);
        status = load_once(manifest, writer, error);
        // A writer beside us may have replaced the file between listing and opening; then there is a newer
        // one.
        bool may_be_replaced = status == DAYBOOK_ENOTFOUND && manifest->number != 0;
        if (!may_be_replaced) break;
    }
    if (status != DAYBOOK_OK) clear_content(manifest);
    return status;
}
