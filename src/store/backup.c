// SPDX-License-Identifier: Apache-2.0
// Backup and restore.
//
// A backup is a directory with segments, deletion files and a manifest without a journal: everything it
// holds lies in segments. It can be verified and read like a store; writing needs a restore.
//
// Backing up: a consistent state is pinned (see below), then each segment is linked or, on another file
// system, copied, what is there already and sound is kept, all is verified, and the manifest comes last,
// under a greater number than the one before. A crash leaves the old backup. What only the old manifest
// named is removed afterwards.
//   A writer flushes first and holds merge_lock, so that no segment goes away; its manifest then is the
//   state. A reader pins its view: segments, removed events, and its memory tables, which become one more
//   segment of the backup. The writer may merge a segment away before it is linked; then it begins again
//   from a newer state.
//
// Restoring: the same into an absent or empty directory, by copying, with a new journal and a new random
// incarnation, so that the two never mix; manifest last.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "store/deletions.h"
#include "store/directory.h"
#include "store/follower.h"
#include "store/maintenance.h"

enum { COPY_SIZE = 1 << 20, ATTEMPTS_MAX = 20, JOURNAL_PIECES_FIRST = 4 };

typedef struct copying {
    const daybook_allocator *allocator;
    daybook_vfs *from_vfs;
    daybook_vfs *to_vfs;
    const char *from;
    const char *to;
    dbk_uuid store_uuid;
    uint64_t incarnation;
    size_t memory_max;
    bool may_link;
    daybook_progress progress;
    void *progress_context;
    uint64_t done, total;
    uint64_t *brought; // ids of segments put there, by attempts that failed, too
    size_t brought_count;
} copying;

static daybook_status step(copying *copy, uint64_t bytes, daybook_error *error) {
    copy->done += bytes;
    if (copy->progress == NULL || copy->progress(copy->progress_context, copy->done, copy->total) == 0)
        return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_ECLOSED, "copying to %s was interrupted; run it again to go on", copy->to);
}

// ---- Files ----------------------------------------------------------------------------------------------

static daybook_status copy_bytes(copying *copy, daybook_file *from, const char *from_path, daybook_file *to,
                                 const char *to_path, daybook_error *error) {
    uint8_t *bytes = dbk_alloc(copy->allocator, COPY_SIZE);
    if (bytes == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory while copying %s", from_path);
    daybook_status status = DAYBOOK_OK;
    for (uint64_t offset = 0; status == DAYBOOK_OK;) {
        int64_t moved = copy->from_vfs->read_at(copy->from_vfs, from, bytes, COPY_SIZE, offset);
        if (moved == -EINTR) continue;
        if (moved < 0) status = dbk_fail_system(error, (int)moved, "read", from_path, offset);
        if (moved <= 0) break;
        status = dbk_write_exactly(copy->to_vfs, to, to_path, bytes, (size_t)moved, offset, error);
        offset += (uint64_t)moved;
        if (status == DAYBOOK_OK) status = step(copy, (uint64_t)moved, error);
    }
    dbk_free(copy->allocator, bytes);
    if (status == DAYBOOK_OK) {
        int result = copy->to_vfs->sync(copy->to_vfs, to);
        if (result < 0) status = dbk_fail_system(error, result, "sync", to_path, 0);
    }
    return status;
}

// Through a temporary name, so that a file under its own name is whole.
static daybook_status copy_file(copying *copy, const char *name, daybook_error *error) {
    char from_path[DBK_PATH_SIZE_MAX];
    char to_path[DBK_PATH_SIZE_MAX];
    char temporary[DBK_PATH_SIZE_MAX];
    char temporary_name[80];
    (void)snprintf(temporary_name, sizeof temporary_name, "%s.tmp", name);
    DBK_TRY(dbk_path_join(copy->from, name, from_path, error));
    DBK_TRY(dbk_path_join(copy->to, name, to_path, error));
    DBK_TRY(dbk_path_join(copy->to, temporary_name, temporary, error));
    daybook_file *from = NULL;
    daybook_file *to = NULL;
    int result = copy->from_vfs->open(copy->from_vfs, from_path, DAYBOOK_VFS_READ, &from);
    if (result < 0) return dbk_fail_system(error, result, "open", from_path, 0);
    (void)copy->to_vfs->unlink(copy->to_vfs, temporary);
    daybook_status status = DAYBOOK_OK;
    result = copy->to_vfs->open(copy->to_vfs, temporary, DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE, &to);
    if (result < 0) status = dbk_fail_system(error, result, "create", temporary, 0);
    if (status == DAYBOOK_OK) status = copy_bytes(copy, from, from_path, to, temporary, error);
    if (to != NULL) copy->to_vfs->close(copy->to_vfs, to);
    copy->from_vfs->close(copy->from_vfs, from);
    if (status == DAYBOOK_OK) {
        result = copy->to_vfs->rename(copy->to_vfs, temporary, to_path);
        if (result < 0) status = dbk_fail_system(error, result, "rename to", to_path, 0);
    }
    if (status != DAYBOOK_OK) (void)copy->to_vfs->unlink(copy->to_vfs, temporary);
    return status;
}

static daybook_status link_or_copy(copying *copy, const char *name, uint64_t bytes, daybook_error *error) {
    char from_path[DBK_PATH_SIZE_MAX];
    char to_path[DBK_PATH_SIZE_MAX];
    DBK_TRY(dbk_path_join(copy->from, name, from_path, error));
    DBK_TRY(dbk_path_join(copy->to, name, to_path, error));
    (void)copy->to_vfs->unlink(copy->to_vfs, to_path); // a file that was not sound
    if (copy->may_link && copy->from_vfs->link(copy->from_vfs, from_path, to_path) == 0)
        return step(copy, bytes, error);
    return copy_file(copy, name, error);
}

static dbk_segment_config target_config(const copying *copy, uint64_t segment_id) {
    return (dbk_segment_config){.allocator = copy->allocator,
                                .vfs = copy->to_vfs,
                                .directory = copy->to,
                                .store_uuid = copy->store_uuid,
                                .incarnation = copy->incarnation,
                                .segment_id = segment_id,
                                .memory_max = copy->memory_max};
}

// True where the target holds this segment already, sound in every byte.
static bool has_segment(copying *copy, const dbk_segment_summary *summary) {
    dbk_segment_config config = target_config(copy, summary->segment_id);
    dbk_cache *cache = NULL;
    dbk_segment *segment = NULL;
    if (dbk_cache_new(copy->allocator, COPY_SIZE, &cache) != DAYBOOK_OK) return false;
    bool same = dbk_segment_open(&config, cache, &segment, NULL) == DAYBOOK_OK;
    if (same) {
        const dbk_segment_summary *found = dbk_segment_get_summary(segment);
        same = found->file_bytes == summary->file_bytes && found->event_count == summary->event_count &&
               memcmp(found->sha256, summary->sha256, sizeof found->sha256) == 0;
        dbk_segment_unref(segment);
    }
    dbk_cache_free(cache);
    return same && dbk_segment_verify(&config, NULL, NULL, NULL) == DAYBOOK_OK;
}

static daybook_status note_brought(copying *copy, uint64_t segment_id, daybook_error *error) {
    uint64_t *grown =
        dbk_resize_array(copy->allocator, copy->brought, copy->brought_count + 1, sizeof *grown);
    if (grown == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory while copying to %s", copy->to);
    copy->brought = grown;
    copy->brought[copy->brought_count++] = segment_id;
    return DAYBOOK_OK;
}

static daybook_status bring_segment(copying *copy, const dbk_segment_summary *summary, daybook_error *error) {
    if (has_segment(copy, summary)) return step(copy, summary->file_bytes, error);
    char name[40];
    dbk_segment_name(summary->segment_id, name);
    DBK_TRY(note_brought(copy, summary->segment_id, error));
    DBK_TRY(link_or_copy(copy, name, summary->file_bytes, error));
    dbk_segment_config config = target_config(copy, summary->segment_id);
    return dbk_segment_verify(&config, NULL, NULL, error);
}

static dbk_deletions_config deletions_of(const copying *copy, uint64_t segment_id, uint64_t generation) {
    return (dbk_deletions_config){.allocator = copy->allocator,
                                  .vfs = copy->to_vfs,
                                  .directory = copy->to,
                                  .store_uuid = copy->store_uuid,
                                  .segment_id = segment_id,
                                  .generation = generation};
}

static daybook_status bring_deletions(copying *copy, uint64_t segment_id, uint64_t generation,
                                      daybook_error *error) {
    if (generation == 0) return DAYBOOK_OK;
    char name[64];
    dbk_deletions_name(segment_id, generation, name);
    DBK_TRY(link_or_copy(copy, name, 0, error));
    dbk_deletions_config config = deletions_of(copy, segment_id, generation);
    roaring_bitmap_t *removed = NULL;
    roaring_bitmap_t *for_ever = NULL;
    DBK_TRY(dbk_deletions_read(&config, &removed, &for_ever, error));
    roaring_bitmap_free(removed);
    roaring_bitmap_free(for_ever);
    return DAYBOOK_OK;
}

static daybook_status sync_target(const copying *copy, daybook_error *error) {
    int result = copy->to_vfs->sync_directory(copy->to_vfs, copy->to);
    return result < 0 ? dbk_fail_system(error, result, "sync the directory", copy->to, 0) : DAYBOOK_OK;
}

static uint64_t segment_bytes(const dbk_manifest *manifest) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < manifest->segment_count; i++) bytes += manifest->segments[i].summary.file_bytes;
    return bytes;
}

// ---- What is backed up ----------------------------------------------------------------------------------

// A state of a store that is all in segments but for what `view` (a reader's; may be NULL) holds in memory.
typedef struct pinned {
    daybook_store *store;
    dbk_manifest manifest;
    dbk_view *view;
    dbk_dead_copy *dead; // of each source of the view
    uint64_t position_last;
} pinned;

static void unpin(pinned *pin) {
    for (size_t i = 0; pin->dead != NULL && i < pin->view->source_count; i++)
        dbk_dead_copy_deinit(&pin->dead[i]);
    dbk_free(pin->store->allocator, pin->dead);
    dbk_view_unref(pin->view);
    dbk_manifest_deinit(&pin->manifest);
}

static daybook_status pin_writer(pinned *pin, daybook_error *error) {
    daybook_store *store = pin->store;
    DBK_TRY(dbk_maintenance_flush(store, error));
    pthread_mutex_lock(&store->manifest_lock);
    daybook_status status = dbk_manifest_copy(&store->manifest, &pin->manifest);
    pthread_mutex_unlock(&store->manifest_lock);
    return status == DAYBOOK_OK ? status : dbk_fail(error, status, "out of memory while backing up");
}

// States and catalogue as of what the reader has replayed, on top of the manifest's.
static daybook_status apply_states(pinned *pin) {
    daybook_store *store = pin->store;
    dbk_cut cut = {0};
    dbk_manifest_edit edit;
    dbk_manifest_edit_init(&edit, store->allocator);
    dbk_cut_capture(store, &cut);
    daybook_status status = cut.status;
    if (status == DAYBOOK_OK) status = dbk_cut_write(&cut, &pin->manifest, &edit);
    if (status == DAYBOOK_OK) {
        dbk_manifest_edit_set_flushed(&edit, pin->position_last, cut.last_recorded_ns);
        dbk_manifest_edit_set_next_ids(&edit, pin->manifest.next_segment_id, cut.next_stream_id);
        if (cut.positions_end > pin->manifest.positions_end)
            dbk_manifest_edit_set_positions_end(&edit, cut.positions_end);
        status = dbk_manifest_apply(&pin->manifest, &edit);
    }
    dbk_manifest_edit_deinit(&edit);
    dbk_cut_deinit(store, &cut);
    return status;
}

static daybook_status pin_reader(pinned *pin, daybook_error *error) {
    daybook_store *store = pin->store;
    DBK_TRY(dbk_follower_refresh(store, error));
    dbk_follower_hold(store);
    daybook_status status = dbk_manifest_copy(&store->manifest, &pin->manifest);
    if (status == DAYBOOK_OK) {
        pin->view = dbk_store_get_view(store);
        pin->position_last = atomic_load(&store->durable_position);
        pin->dead = dbk_alloc_zeroed(store->allocator, pin->view->source_count * sizeof *pin->dead);
        if (pin->dead == NULL) status = DAYBOOK_ENOMEM;
    }
    for (size_t i = 0; status == DAYBOOK_OK && i < pin->view->source_count; i++) {
        status = dbk_dead_copy_take(pin->view->sources[i], &pin->dead[i]);
    }
    if (status == DAYBOOK_OK) status = apply_states(pin);
    dbk_follower_let_go(store);
    return status == DAYBOOK_OK ? status : dbk_fail(error, status, "out of memory while backing up");
}

// ---- A reader's share -----------------------------------------------------------------------------------

static daybook_status write_tail_events(const dbk_tail *tail, dbk_segment_writer *writer,
                                        daybook_error *error) {
    int64_t now_ns = tail->manifest->vfs->clock_real_ns(tail->manifest->vfs);
    for (size_t i = tail->view->segment_count; i < tail->view->source_count; i++) {
        const dbk_source *source = tail->view->sources[i];
        DBK_TRY(dbk_source_check(source, error)); // a backup without them would pass for whole
        uint64_t end = dbk_memtable_position_end(source->memtable);
        if (end > tail->position_last + 1) end = tail->position_last + 1;
        for (uint64_t position = source->position_first; position < end; position++) {
            dbk_event event;
            daybook_status status = dbk_memtable_get(source->memtable, position, &event);
            if (status == DAYBOOK_ENOTFOUND) continue;
            if (status != DAYBOOK_OK) return dbk_fail(error, status, "an event in memory cannot be read");
            const dbk_manifest_stream *stream = dbk_manifest_find_stream(tail->manifest, event.stream_id);
            if (stream == NULL) continue;
            uint32_t relative = (uint32_t)(position - source->position_first);
            bool for_ever = roaring_bitmap_contains(tail->dead[i].for_ever, relative);
            if (roaring_bitmap_contains(tail->dead[i].removed, relative) ||
                position < stream->first_position) {
                DBK_TRY(dbk_segment_writer_add_removed(writer, &event, for_ever, now_ns, error));
            } else {
                DBK_TRY(dbk_segment_writer_add(writer, &event, error));
            }
        }
    }
    return DAYBOOK_OK;
}

static void write_whole_catalogue(const dbk_manifest *manifest, dbk_manifest_edit *catalogue) {
    for (size_t i = 0; i < manifest->stream_count; i++)
        dbk_manifest_edit_put_stream(catalogue, &manifest->streams[i]);
    for (size_t i = 0; i < manifest->entry_count; i++) {
        const dbk_manifest_entry *entry = &manifest->entries[i];
        dbk_manifest_edit_put_entry(catalogue, entry->kind, entry->key, entry->value);
    }
}

daybook_status dbk_tail_write(const dbk_tail *tail, const dbk_segment_config *config, bool *wrote_out,
                              dbk_segment_summary *summary_out, daybook_error *error) {
    *wrote_out = false;
    if (tail->view->source_count == tail->view->segment_count) return DAYBOOK_OK;
    uint64_t position_first = tail->view->sources[tail->view->segment_count]->position_first;
    if (position_first > tail->position_last) return DAYBOOK_OK;
    dbk_segment_writer *writer = NULL;
    DBK_TRY(dbk_segment_writer_new(config, position_first, tail->position_last, &writer, error));
    daybook_status status = write_tail_events(tail, writer, error);
    if (status != DAYBOOK_OK) {
        dbk_segment_writer_abort(writer);
        return status;
    }
    dbk_manifest_edit catalogue;
    dbk_manifest_edit_init(&catalogue, config->allocator);
    write_whole_catalogue(tail->manifest, &catalogue);
    status = dbk_segment_writer_finish(writer, daybook_bytes(catalogue.records.data, catalogue.records.size),
                                       summary_out, error);
    dbk_manifest_edit_deinit(&catalogue);
    *wrote_out = status == DAYBOOK_OK;
    return status;
}

static daybook_status write_tail(pinned *pin, copying *copy, uint64_t segment_id, daybook_error *error) {
    dbk_tail tail = {.view = pin->view,
                     .dead = pin->dead,
                     .manifest = &pin->manifest,
                     .position_last = pin->position_last};
    dbk_segment_config config = target_config(copy, segment_id);
    dbk_manifest_segment segment = {0};
    bool wrote = false;
    DBK_TRY(dbk_tail_write(&tail, &config, &wrote, &segment.summary, error));
    if (!wrote) return DAYBOOK_OK;
    DBK_TRY(dbk_segment_verify(&config, NULL, NULL, error));
    dbk_manifest_edit edit;
    dbk_manifest_edit_init(&edit, copy->allocator);
    dbk_manifest_edit_add_segment(&edit, &segment);
    daybook_status status = dbk_manifest_apply(&pin->manifest, &edit);
    dbk_manifest_edit_deinit(&edit);
    return status == DAYBOOK_OK ? step(copy, segment.summary.file_bytes, error)
                                : dbk_fail(error, status, "out of memory while backing up");
}

// Removed events of a reader's segments, as it knows them now.
static daybook_status write_reader_deletions(pinned *pin, copying *copy, uint64_t generation,
                                             daybook_error *error) {
    dbk_manifest_edit edit;
    dbk_manifest_edit_init(&edit, pin->store->allocator);
    daybook_status status = DAYBOOK_OK;
    for (size_t i = 0; status == DAYBOOK_OK && i < pin->view->segment_count; i++) {
        const dbk_segment *segment = pin->view->sources[i]->segment;
        if (segment == NULL) continue;
        uint64_t segment_id = dbk_segment_get_summary(segment)->segment_id;
        bool nothing = roaring_bitmap_is_empty(pin->dead[i].removed);
        dbk_manifest_edit_set_deletions(&edit, segment_id, nothing ? 0 : generation);
        if (nothing) continue;
        dbk_deletions_config config = deletions_of(copy, segment_id, generation);
        status = dbk_deletions_write(&config, pin->dead[i].removed, pin->dead[i].for_ever, error);
    }
    if (status == DAYBOOK_OK) {
        status = dbk_manifest_apply(&pin->manifest, &edit);
        if (status != DAYBOOK_OK) (void)dbk_fail(error, status, "out of memory while backing up");
    }
    dbk_manifest_edit_deinit(&edit);
    return status;
}

// ---- Backing up -----------------------------------------------------------------------------------------

// The manifest of the backup that is there already, if any.
static daybook_status load_old(copying *copy, dbk_manifest *old, bool *has_old_out, dbk_directory *found,
                               daybook_error *error) {
    *has_old_out = false;
    dbk_manifest_init(old, copy->allocator, copy->to_vfs, copy->to);
    if (found->has_journal) {
        return dbk_fail(error, DAYBOOK_EEXISTS, "%s is a store, not a backup; name another directory",
                        copy->to);
    }
    if (found->manifest_count == 0) {
        if (found->foreign_count == 0) return DAYBOOK_OK;
        return dbk_fail(error, DAYBOOK_EFOREIGN,
                        "%s is not empty and no backup (it has %s); name another directory", copy->to,
                        found->foreign_name);
    }
    DBK_TRY(dbk_manifest_load(old, false, error));
    if (memcmp(&old->store_uuid, &copy->store_uuid, sizeof copy->store_uuid) != 0) {
        return dbk_fail(error, DAYBOOK_EFOREIGN, "%s is a backup of another store; name another directory",
                        copy->to);
    }
    *has_old_out = true;
    return DAYBOOK_OK;
}

static void remove_target(copying *copy, const char *name) {
    char path[DBK_PATH_SIZE_MAX];
    if (dbk_path_join(copy->to, name, path, NULL) == DAYBOOK_OK)
        (void)copy->to_vfs->unlink(copy->to_vfs, path);
}

// What the old manifest named and the new one does not.
static void remove_outdated(copying *copy, const dbk_manifest *old, const dbk_manifest *fresh) {
    char name[64];
    for (size_t i = 0; i < old->segment_count; i++) {
        const dbk_manifest_segment *segment = &old->segments[i];
        uint64_t id = segment->summary.segment_id;
        const dbk_manifest_segment *kept = dbk_manifest_find_segment(fresh, id);
        if (kept == NULL) {
            dbk_segment_name(id, name);
            remove_target(copy, name);
        }
        if (segment->deletion_generation == 0) continue;
        if (kept != NULL && kept->deletion_generation == segment->deletion_generation) continue;
        dbk_deletions_name(id, segment->deletion_generation, name);
        remove_target(copy, name);
    }
    for (unsigned i = 0; i < DBK_MANIFEST_COPY_COUNT; i++) {
        dbk_manifest_name(old->number, i, name);
        remove_target(copy, name);
    }
}

// What attempts that met a moving store brought in vain.
static void remove_unused(copying *copy, const dbk_manifest *fresh) {
    for (size_t i = 0; i < copy->brought_count; i++) {
        char name[40];
        if (dbk_manifest_find_segment(fresh, copy->brought[i]) != NULL) continue;
        dbk_segment_name(copy->brought[i], name);
        remove_target(copy, name);
    }
}

static daybook_status bring_all(pinned *pin, copying *copy, daybook_error *error) {
    for (size_t i = 0; i < pin->manifest.segment_count; i++) {
        const dbk_manifest_segment *segment = &pin->manifest.segments[i];
        DBK_TRY(bring_segment(copy, &segment->summary, error));
        if (pin->view != NULL) continue;
        DBK_TRY(bring_deletions(copy, segment->summary.segment_id, segment->deletion_generation, error));
    }
    return DAYBOOK_OK;
}

static daybook_status write_manifest(copying *copy, dbk_manifest *manifest, uint64_t number,
                                     daybook_error *error) {
    dbk_free(manifest->allocator, manifest->journal_pieces);
    manifest->journal_pieces = NULL;
    manifest->journal_piece_count = 0;
    manifest->closed_clean = true;
    manifest->directory = copy->to;
    manifest->vfs = copy->to_vfs;
    manifest->number = number;
    DBK_TRY(sync_target(copy, error));
    return dbk_manifest_create(manifest, error);
}

// An id above all that either side uses, and with bit 62 above what the store will soon give. A store that
// was restored from a backup has such segments of its own, so its next id alone says too little.
static uint64_t tail_id(const dbk_manifest *manifest, const dbk_directory *target) {
    uint64_t id = manifest->next_segment_id;
    if (id <= target->segment_id_max) id = target->segment_id_max + 1;
    for (size_t i = 0; i < manifest->segment_count; i++)
        if (id <= manifest->segments[i].summary.segment_id) id = manifest->segments[i].summary.segment_id + 1;
    return id | UINT64_C(1) << 62;
}

static daybook_status back_up_once(daybook_store *store, copying *copy, daybook_error *error) {
    pinned pin = {.store = store};
    dbk_manifest_init(&pin.manifest, store->allocator, store->vfs, store->path);
    dbk_manifest old;
    dbk_manifest_init(&old, copy->allocator, copy->to_vfs, copy->to);
    bool has_old = false;
    dbk_directory found;
    daybook_status status = dbk_directory_inspect(copy->to_vfs, copy->to, &found, error);
    if (status == DAYBOOK_OK) status = load_old(copy, &old, &has_old, &found, error);
    if (status == DAYBOOK_OK) status = store->read_only ? pin_reader(&pin, error) : pin_writer(&pin, error);
    if (status != DAYBOOK_OK) goto done;
    copy->done = 0;
    copy->total = segment_bytes(&pin.manifest);
    status = bring_all(&pin, copy, error);
    if (status == DAYBOOK_OK && pin.view != NULL) {
        status = write_tail(&pin, copy, tail_id(&pin.manifest, &found), error);
        if (status == DAYBOOK_OK)
            status = write_reader_deletions(&pin, copy, found.generation_max + 1, error);
    }
    if (status == DAYBOOK_OK)
        status = write_manifest(copy, &pin.manifest, has_old ? old.number + 1 : 1, error);
    if (status == DAYBOOK_OK && has_old) remove_outdated(copy, &old, &pin.manifest);
    if (status == DAYBOOK_OK) remove_unused(copy, &pin.manifest);
done:
    dbk_manifest_deinit(&old);
    unpin(&pin);
    return status;
}

static daybook_status make_target(daybook_vfs *vfs, const char *path, bool *made_out, daybook_error *error) {
    int result = vfs->make_directory(vfs, path);
    *made_out = result == 0;
    if (result < 0 && result != -EEXIST)
        return dbk_fail_system(error, result, "create the directory", path, 0);
    // One that was there may have been made by somebody who died before its name was durable.
    daybook_status status = dbk_directory_sync_name(vfs, path, *made_out, error);
    if (status != DAYBOOK_OK && *made_out) (void)vfs->remove_directory(vfs, path);
    return status;
}

daybook_status daybook_backup(daybook_store *store, const char *directory, daybook_progress progress,
                              void *progress_context, daybook_error *error) {
    if (store == NULL || directory == NULL || directory[0] == '\0') {
        return dbk_fail(error, DAYBOOK_EMISUSE, "daybook_backup without store or directory");
    }
    // A store in memory is backed up to files.
    copying copy = {.allocator = store->allocator,
                    .from_vfs = store->vfs,
                    .to_vfs = store->owned_vfs != NULL ? daybook_vfs_posix() : store->vfs,
                    .from = store->path,
                    .to = directory,
                    .store_uuid = store->uuid,
                    .incarnation = store->incarnation,
                    .memory_max = (size_t)(store->options.memory_budget_bytes / 8),
                    .may_link = store->owned_vfs == NULL,
                    .progress = progress,
                    .progress_context = progress_context};
    bool made = false;
    DBK_TRY(make_target(copy.to_vfs, directory, &made, error));
    daybook_file *lock = NULL;
    daybook_status status = dbk_lock_take(copy.to_vfs, directory, 0, 0, &lock, error);
    if (status != DAYBOOK_OK) return status;
    dbk_directory_remove_temporary(copy.to_vfs, directory);
    if (!store->read_only) pthread_mutex_lock(&store->maintenance->merge_lock);
    for (int attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
        status = back_up_once(store, &copy, error);
        // Only beside a writer may a file go away under us.
        if (!store->read_only || status != DAYBOOK_ENOTFOUND) break;
    }
    if (!store->read_only) pthread_mutex_unlock(&store->maintenance->merge_lock);
    dbk_free(copy.allocator, copy.brought);
    copy.to_vfs->close(copy.to_vfs, lock);
    return status;
}

// ---- Restoring ------------------------------------------------------------------------------------------

static daybook_status check_target(daybook_vfs *vfs, const char *path, daybook_error *error) {
    dbk_directory found;
    DBK_TRY(dbk_directory_inspect(vfs, path, &found, error));
    if (found.manifest_count > 0) {
        return dbk_fail(error, DAYBOOK_EEXISTS,
                        "there is a store in %s already; restore to another directory", path);
    }
    if (found.foreign_count > 0) {
        return dbk_fail(error, DAYBOOK_EFOREIGN, "%s is not empty (it has %s); restore to another directory",
                        path, found.foreign_name);
    }
    if (found.has_journal || found.segment_count > 0) {
        return dbk_fail(error, DAYBOOK_EFOREIGN,
                        "%s has files of a store but no manifest; restore to another directory", path);
    }
    return DAYBOOK_OK;
}

static daybook_status make_journal(copying *copy, daybook_error *error) {
    char path[DBK_PATH_SIZE_MAX];
    DBK_TRY(dbk_path_join(copy->to, "journal", path, error));
    dbk_journal_config config = {.allocator = copy->allocator,
                                 .vfs = copy->to_vfs,
                                 .path = path,
                                 .store_uuid = copy->store_uuid,
                                 .incarnation = copy->incarnation};
    return dbk_journal_create(&config, JOURNAL_PIECES_FIRST, error);
}

// The manifest of the restored store: the backup's, another incarnation, a journal behind every LSN ever
// used.
static daybook_status prepare_manifest(copying *copy, dbk_manifest *manifest, daybook_error *error) {
    uint64_t first_lsn = manifest->journal_durable_lsn > manifest->journal_start_lsn
                             ? manifest->journal_durable_lsn
                             : manifest->journal_start_lsn;
    first_lsn = (first_lsn / DBK_JOURNAL_PIECE_PAGES + 2) * DBK_JOURNAL_PIECE_PAGES;
    static const uint32_t pieces[JOURNAL_PIECES_FIRST] = {0, 1, 2, 3};
    dbk_journal_map map = {first_lsn, JOURNAL_PIECES_FIRST, pieces};
    dbk_manifest_edit edit;
    dbk_manifest_edit_init(&edit, copy->allocator);
    dbk_manifest_edit_set_incarnation(&edit, copy->incarnation);
    dbk_manifest_edit_set_journal(&edit, first_lsn, first_lsn, &map);
    dbk_manifest_edit_set_closed_clean(&edit, false);
    daybook_status status = dbk_manifest_apply(manifest, &edit);
    dbk_manifest_edit_deinit(&edit);
    manifest->directory = copy->to;
    manifest->vfs = copy->to_vfs;
    manifest->number = 1;
    return status == DAYBOOK_OK ? status : dbk_fail(error, status, "out of memory while restoring");
}

static daybook_status restore_files(copying *copy, dbk_manifest *manifest, daybook_error *error) {
    DBK_TRY(check_target(copy->to_vfs, copy->to, error));
    copy->total = segment_bytes(manifest);
    for (size_t i = 0; i < manifest->segment_count; i++) {
        const dbk_manifest_segment *segment = &manifest->segments[i];
        DBK_TRY(bring_segment(copy, &segment->summary, error));
        DBK_TRY(bring_deletions(copy, segment->summary.segment_id, segment->deletion_generation, error));
    }
    uint64_t incarnation = 0;
    while (incarnation == 0) {
        int result = copy->to_vfs->entropy(copy->to_vfs, &incarnation, sizeof incarnation);
        if (result < 0) return dbk_fail_system(error, result, "get random bytes", NULL, 0);
    }
    copy->incarnation = incarnation;
    DBK_TRY(prepare_manifest(copy, manifest, error));
    DBK_TRY(make_journal(copy, error));
    DBK_TRY(sync_target(copy, error));
    return dbk_manifest_create(manifest, error);
}

// Take away what a failed restore brought. The lock is held.
static void undo_restore(copying *copy, const dbk_manifest *manifest, bool made) {
    char name[64];
    dbk_directory found;
    if (dbk_directory_inspect(copy->to_vfs, copy->to, &found, NULL) != DAYBOOK_OK || found.manifest_count > 0)
        return;
    for (size_t i = 0; i < manifest->segment_count; i++) {
        const dbk_manifest_segment *segment = &manifest->segments[i];
        dbk_segment_name(segment->summary.segment_id, name);
        remove_target(copy, name);
        dbk_deletions_name(segment->summary.segment_id, segment->deletion_generation, name);
        remove_target(copy, name);
    }
    remove_target(copy, "journal");
    dbk_directory_remove_temporary(copy->to_vfs, copy->to);
    if (!made) return;
    remove_target(copy, "LOCK");
    (void)copy->to_vfs->remove_directory(copy->to_vfs, copy->to);
}

static daybook_status restore_locked(copying *copy, dbk_manifest *manifest, bool made, daybook_error *error) {
    daybook_file *lock = NULL;
    DBK_TRY(dbk_lock_take(copy->to_vfs, copy->to, 0, 0, &lock, error));
    daybook_status status = check_target(copy->to_vfs, copy->to, error);
    if (status == DAYBOOK_OK) {
        dbk_directory_remove_temporary(copy->to_vfs, copy->to);
        status = restore_files(copy, manifest, error);
        if (status != DAYBOOK_OK) undo_restore(copy, manifest, made);
    }
    copy->to_vfs->close(copy->to_vfs, lock);
    return status;
}

daybook_status daybook_restore(const char *backup, const char *path, const daybook_open_options *options,
                               daybook_progress progress, void *progress_context, daybook_error *error) {
    if (backup == NULL || path == NULL || path[0] == '\0') {
        return dbk_fail(error, DAYBOOK_EMISUSE, "daybook_restore without backup or path");
    }
    daybook_open_options used;
    daybook_open_options_init(&used);
    if (options != NULL) memcpy(&used, options, options->size < sizeof used ? options->size : sizeof used);
    daybook_vfs *vfs = used.vfs != NULL ? used.vfs : daybook_vfs_posix();
    const daybook_allocator *allocator = used.allocator != NULL ? used.allocator : dbk_allocator_default();
    dbk_manifest manifest;
    dbk_manifest_init(&manifest, allocator, vfs, backup);
    daybook_status status = dbk_manifest_load(&manifest, false, error);
    if (status == DAYBOOK_ENOTFOUND) {
        (void)dbk_fail(error, status, "there is no backup in %s; check the path", backup);
    } else if (status == DAYBOOK_OK && manifest.journal_piece_count > 0) {
        status = dbk_fail(error, DAYBOOK_EINVALID,
                          "%s is a store, not a backup: make one of it with daybook backup", backup);
    }
    bool made = false;
    if (status == DAYBOOK_OK) status = check_target(vfs, path, error);
    if (status == DAYBOOK_OK) status = make_target(vfs, path, &made, error);
    if (status == DAYBOOK_OK) {
        copying copy = {.allocator = allocator,
                        .from_vfs = vfs,
                        .to_vfs = vfs,
                        .from = backup,
                        .to = path,
                        .store_uuid = manifest.store_uuid,
                        .incarnation = manifest.incarnation,
                        .memory_max = (size_t)(used.memory_budget_bytes / 8),
                        .progress = progress,
                        .progress_context = progress_context};
        status = restore_locked(&copy, &manifest, made, error);
        dbk_free(allocator, copy.brought);
    }
    dbk_manifest_deinit(&manifest);
    return status;
}
