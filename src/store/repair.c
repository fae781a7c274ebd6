// SPDX-License-Identifier: Apache-2.0
// Repair: make a damaged store writable again, losing only what cannot be read, and say what that is.
//
// In this order, each step durable before the next, under the lock:
//   1. the bytes of every file that will be changed or left out are linked or copied to damaged-<time>/
//   2. manifest missing or damaged: rebuilt from what segments and journal say of themselves (rebuild.c);
//      damage to one of its copies: both are written anew. Up to where positions are spent a lost manifest
//      may have been the only one to say, so as many are skipped as are reserved at once
//   3. a damaged segment: its readable events go to a new segment; one that cannot be opened at all is left
//      out. A damaged deletion file: which events were removed is unknown, they are visible again (told, so
//      that they can be removed again)
//   4. a damaged journal: what can be replayed, also behind the damage, becomes a segment, and the journal
//      begins anew behind every LSN it ever used, so that nothing of it can come back. It is replayed under
//      the streams all of it together leaves (salvage.c), and everything is counted anew
// New files are written first; one edit of the manifest, the last step, makes all of it count at once. A
// crash or an error on the way leaves the damaged store or a repaired one; repairing again is fine.
//
// With dry_run the same is looked for, and nothing is written.
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "store/deletions.h"
#include "store/directory.h"
#include "store/finding.h"
#include "store/maintenance.h"
#include "store/rebuild.h"
#include "store/salvage.h"

enum { JOURNAL_PIECES_FIRST = 4, NAME_SIZE = 64 };

typedef struct repairing {
    daybook_store *store; // for recovery: no journal, commit or maintenance
    bool dry_run;
    bool distrusts_manifest; // it is made anew however sound it is
    bool is_rebuilt;         // it was made anew
    daybook_report report;
    void *report_context;
    size_t damage_count;
    char aside[NAME_SIZE]; // damaged-<time>
    bool has_aside;
    dbk_manifest_edit edit; // of the segments
    bool changes_segments;
    bool has_foreign_journal;
    dbk_salvage salvage;
    uint64_t next_segment_id;
    uint64_t next_generation;
    char (*gone)[NAME_SIZE]; // files to be removed when the edit is durable
    size_t gone_count;
    uint64_t made_first;  // number of the first segment made
    bool is_commit_tried; // they may be named since
} repairing;

static void tell(repairing *repair, bool is_damage, const char *file, uint64_t offset, uint64_t first,
                 uint64_t last, const char *format, ...) __attribute__((format(printf, 7, 8)));

static void tell(repairing *repair, bool is_damage, const char *file, uint64_t offset, uint64_t first,
                 uint64_t last, const char *format, ...) {
    repair->damage_count += is_damage;
    if (repair->report == NULL) return;
    char message[DBK_FINDING_MESSAGE_SIZE];
    const dbk_finding_place place = {is_damage, file, offset, first, last};
    va_list arguments;
    va_start(arguments, format);
    daybook_finding finding = dbk_finding_make(message, &place, format, arguments);
    va_end(arguments);
    repair->report(repair->report_context, &finding);
}

static bool is_damage(daybook_status status) {
    return status == DAYBOOK_EDAMAGED || status == DAYBOOK_ENOTFOUND || status == DAYBOOK_EFOREIGN ||
           status == DAYBOOK_EIO;
}

// ---- Keeping bytes aside --------------------------------------------------------------------------------

static daybook_status make_aside(repairing *repair, daybook_error *error) {
    if (repair->has_aside) return DAYBOOK_OK;
    daybook_store *store = repair->store;
    char path[DBK_PATH_SIZE_MAX];
    int64_t now_s = store->vfs->clock_real_ns(store->vfs) / 1000000000;
    for (int tries = 0; tries < 10000; tries++) {
        (void)snprintf(repair->aside, sizeof repair->aside, "damaged-%lld", (long long)(now_s + tries));
        DBK_TRY(dbk_path_join(store->path, repair->aside, path, error));
        int result = store->vfs->make_directory(store->vfs, path);
        if (result == -EEXIST) continue;
        if (result < 0) return dbk_fail_system(error, result, "create the directory", path, 0);
        repair->has_aside = true;
        return DAYBOOK_OK;
    }
    return dbk_fail(error, DAYBOOK_EEXISTS, "no free name for the damaged bytes in %s", store->path);
}

static daybook_status copy_aside(repairing *repair, const char *from_path, const char *to_path,
                                 daybook_error *error) {
    daybook_vfs *vfs = repair->store->vfs;
    daybook_file *from = NULL;
    daybook_file *to = NULL;
    uint8_t page[4096];
    int result = vfs->open(vfs, from_path, DAYBOOK_VFS_READ, &from);
    if (result == -ENOENT) return DAYBOOK_OK; // missing: that is the damage
    if (result < 0) return dbk_fail_system(error, result, "open", from_path, 0);
    daybook_status status = DAYBOOK_OK;
    result = vfs->open(vfs, to_path, DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE, &to);
    if (result < 0) status = dbk_fail_system(error, result, "create", to_path, 0);
    for (uint64_t offset = 0; status == DAYBOOK_OK;) {
        int64_t moved = vfs->read_at(vfs, from, page, sizeof page, offset);
        if (moved == -EINTR) continue;
        if (moved == 0) break;
        // A place that cannot be read is left as a hole: there is nothing to keep.
        if (moved == -EIO) {
            offset += sizeof page;
            uint64_t size = 0;
            if (vfs->file_size(vfs, from, &size) < 0 || offset >= size) break;
            continue;
        }
        if (moved < 0) status = dbk_fail_system(error, (int)moved, "read", from_path, offset);
        if (status == DAYBOOK_OK)
            status = dbk_write_exactly(vfs, to, to_path, page, (size_t)moved, offset, error);
        offset += (uint64_t)(moved > 0 ? moved : 0);
    }
    if (status == DAYBOOK_OK) {
        result = vfs->sync(vfs, to);
        if (result < 0) status = dbk_fail_system(error, result, "sync", to_path, 0);
    }
    if (to != NULL) vfs->close(vfs, to);
    vfs->close(vfs, from);
    return status;
}

// Keep the bytes of a file. `will_change`: the file itself is going to be written, so a link would not keep
// them.
static daybook_status keep_aside(repairing *repair, const char *name, bool will_change,
                                 daybook_error *error) {
    if (repair->dry_run) return DAYBOOK_OK;
    DBK_TRY(make_aside(repair, error));
    daybook_store *store = repair->store;
    char from_path[DBK_PATH_SIZE_MAX];
    char to_name[2 * NAME_SIZE];
    char to_path[DBK_PATH_SIZE_MAX];
    char directory[DBK_PATH_SIZE_MAX];
    (void)snprintf(to_name, sizeof to_name, "%s/%s", repair->aside, name);
    DBK_TRY(dbk_path_join(store->path, name, from_path, error));
    DBK_TRY(dbk_path_join(store->path, to_name, to_path, error));
    DBK_TRY(dbk_path_join(store->path, repair->aside, directory, error));
    int result = will_change ? -EPERM : store->vfs->link(store->vfs, from_path, to_path);
    if (result == -EEXIST || result == -ENOENT) return DAYBOOK_OK;
    if (result < 0) DBK_TRY(copy_aside(repair, from_path, to_path, error));
    result = store->vfs->sync_directory(store->vfs, directory);
    if (result == 0) result = store->vfs->sync_directory(store->vfs, store->path);
    return result < 0 ? dbk_fail_system(error, result, "sync the directory", directory, 0) : DAYBOOK_OK;
}

// Copies of the manifest that are not as they should be are given up with their file; should something have
// been acknowledged that only they held, its bytes are not lost.
static daybook_status commit_edit(repairing *repair, const dbk_manifest_edit *edit, daybook_error *error) {
    dbk_manifest *manifest = &repair->store->manifest;
    for (unsigned copy = 0; copy < DBK_MANIFEST_COPY_COUNT && !repair->is_rebuilt; copy++) {
        if (manifest->file.states[copy].kind == DBK_MANIFEST_COPY_SOUND) continue;
        char name[DBK_MANIFEST_NAME_SIZE];
        dbk_manifest_name(manifest->number, copy, name);
        DBK_TRY(keep_aside(repair, name, true, error));
    }
    repair->is_commit_tried = true;
    return dbk_manifest_commit(manifest, edit, error);
}

static daybook_status fail_memory(const daybook_store *store, daybook_error *error) {
    return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory while repairing %s", store->path);
}

static daybook_status remove_later(repairing *repair, const char *name, daybook_error *error) {
    void *grown = dbk_resize_array(repair->store->allocator, repair->gone, repair->gone_count + 1,
                                   sizeof *repair->gone);
    if (grown == NULL) return fail_memory(repair->store, error);
    repair->gone = grown;
    (void)snprintf(repair->gone[repair->gone_count++], NAME_SIZE, "%s", name);
    return DAYBOOK_OK;
}

static void remove_gone(repairing *repair) {
    for (size_t i = 0; i < repair->gone_count; i++) {
        char path[DBK_PATH_SIZE_MAX];
        if (dbk_path_join(repair->store->path, repair->gone[i], path, NULL) == DAYBOOK_OK) {
            (void)repair->store->vfs->unlink(repair->store->vfs, path);
        }
    }
    repair->gone_count = 0;
}

// ---- Segments -------------------------------------------------------------------------------------------

static void count_damage(void *context, const daybook_finding *finding) {
    size_t *count = context;
    *count += finding->is_damage != 0;
}

typedef struct salvage {
    repairing *repair;
    const char *name;
    const dbk_manifest_segment *entry;
    dbk_segment *segment;
    dbk_segment_writer *writer; // NULL: only looking
    uint64_t kept_count;
    uint64_t expected; // position behind the last event kept
} salvage;

static daybook_status salvage_block(salvage *saving, uint32_t number, daybook_error *error) {
    dbk_block_view view;
    memset(&view, 0, sizeof view);
    daybook_error detail;
    daybook_error_init(&detail);
    dbk_block_info info = {0};
    daybook_status status = dbk_segment_block_info(saving->segment, number, &info, &detail);
    if (status == DAYBOOK_OK) status = dbk_block_load(saving->segment, number, &view, &detail);
    if (is_damage(status)) {
        uint64_t first = info.position_first > 0 ? info.position_first : saving->expected;
        tell(saving->repair, true, saving->name, detail.offset, first, info.position_last,
             "block %u cannot be read, its events are left out: %s", (unsigned)number, detail.message);
        return DAYBOOK_OK;
    }
    for (uint32_t i = 0; status == DAYBOOK_OK && i < view.event_count; i++) {
        dbk_event event;
        status = dbk_block_event(&view, i, &event, &detail);
        if (is_damage(status)) {
            tell(saving->repair, true, saving->name, detail.offset, saving->expected, info.position_last,
                 "an event cannot be decoded and is left out: %s", detail.message);
            status = DAYBOOK_OK;
            continue;
        }
        if (status == DAYBOOK_OK && event.position >= saving->expected) {
            if (saving->writer != NULL) status = dbk_segment_writer_add(saving->writer, &event, &detail);
            saving->expected = event.position + 1;
            saving->kept_count++;
        }
    }
    dbk_block_release(&view);
    if (status != DAYBOOK_OK && error != NULL) *error = detail;
    return status;
}

static daybook_status salvage_segment(salvage *saving, daybook_error *error) {
    repairing *repair = saving->repair;
    daybook_store *store = repair->store;
    const dbk_segment_summary *old = &saving->entry->summary;
    dbk_segment_config config = dbk_store_segment_config(store, repair->next_segment_id);
    if (!repair->dry_run) {
        DBK_TRY(
            dbk_segment_writer_new(&config, old->position_first, old->position_last, &saving->writer, error));
    }
    saving->expected = old->position_first;
    daybook_status status = DAYBOOK_OK;
    uint32_t count = dbk_segment_block_count(saving->segment);
    for (uint32_t i = 0; status == DAYBOOK_OK && i < count; i++) status = salvage_block(saving, i, error);
    if (saving->writer == NULL) return status;
    // Ids and versions of removed events, which no block holds.
    if (status == DAYBOOK_OK) status = dbk_segment_writer_carry(saving->writer, saving->segment, NULL, error);
    if (status != DAYBOOK_OK) {
        dbk_segment_writer_abort(saving->writer);
        return status;
    }
    bool lost = false;
    status = dbk_segment_writer_carry(saving->writer, saving->segment, &lost, error);
    if (status != DAYBOOK_OK) {
        dbk_segment_writer_abort(saving->writer);
        return status;
    }
    if (lost) {
        tell(repair, true, saving->name, 0, old->position_first, old->position_last,
             "ids of removed events, or the last versions of aggregates without events, are lost in part");
    }
    dbk_buf catalogue;
    dbk_buf_init(&catalogue, store->allocator, DBK_RECORD_SIZE_MAX);
    (void)dbk_segment_read_catalogue(saving->segment, &catalogue,
                                     NULL); // lost with the rest, where it cannot be read
    dbk_manifest_segment fresh = {.deletion_generation = 0};
    status = dbk_segment_writer_finish(saving->writer, daybook_bytes(catalogue.data, catalogue.size),
                                       &fresh.summary, error);
    dbk_buf_deinit(&catalogue);
    if (status != DAYBOOK_OK) return status;
    repair->next_segment_id++;
    dbk_manifest_edit_remove_segment(&repair->edit, old->segment_id);
    dbk_manifest_edit_add_segment(&repair->edit, &fresh);
    if (saving->entry->deletion_generation == 0) return DAYBOOK_OK;
    // Removed events keep their positions, so the same bitmaps serve the new segment.
    dbk_deletions_config deletions = {.allocator = store->allocator,
                                      .vfs = store->vfs,
                                      .directory = store->path,
                                      .store_uuid = store->uuid,
                                      .segment_id = old->segment_id,
                                      .generation = saving->entry->deletion_generation};
    dbk_dead_copy dead = {0};
    if (dbk_deletions_read(&deletions, &dead.removed, &dead.for_ever, NULL) == DAYBOOK_OK) {
        deletions.segment_id = fresh.summary.segment_id;
        deletions.generation = repair->next_generation++;
        status = dbk_deletions_write(&deletions, dead.removed, dead.for_ever, error);
        dbk_dead_copy_deinit(&dead);
        dbk_manifest_edit_set_deletions(&repair->edit, deletions.segment_id, deletions.generation);
    }
    return status;
}

static daybook_status replace_segment(repairing *repair, const dbk_manifest_segment *entry, const char *name,
                                      daybook_error *error) {
    daybook_store *store = repair->store;
    const dbk_segment_summary *summary = &entry->summary;
    repair->changes_segments = true;
    dbk_segment_config config = dbk_store_segment_config(store, summary->segment_id);
    salvage saving = {.repair = repair, .name = name, .entry = entry};
    daybook_error detail;
    daybook_error_init(&detail);
    daybook_status status = dbk_segment_open(&config, store->cache, &saving.segment, &detail);
    if (status != DAYBOOK_OK && !is_damage(status)) {
        if (error != NULL) *error = detail;
        return status;
    }
    if (status != DAYBOOK_OK) {
        tell(repair, true, name, detail.offset, summary->position_first, summary->position_last,
             "cannot be opened, all its %llu events are lost: %s", (unsigned long long)summary->event_count,
             detail.message);
        dbk_manifest_edit_remove_segment(&repair->edit, summary->segment_id);
        // Where the file is of another store it is not ours to move.
        return status == DAYBOOK_EFOREIGN ? DAYBOOK_OK : keep_aside(repair, name, false, error);
    }
    status = keep_aside(repair, name, false, error);
    if (status == DAYBOOK_OK) status = salvage_segment(&saving, error);
    dbk_segment_unref(saving.segment);
    if (status != DAYBOOK_OK) return status;
    tell(repair, false, name, 0, summary->position_first, summary->position_last, "%llu of %llu events %s",
         (unsigned long long)saving.kept_count, (unsigned long long)summary->event_count,
         repair->dry_run ? "can be kept" : "are kept in a new segment");
    return repair->dry_run ? DAYBOOK_OK : remove_later(repair, name, error);
}

static daybook_status check_deletions(repairing *repair, const dbk_manifest_segment *entry,
                                      daybook_error *error) {
    daybook_store *store = repair->store;
    if (entry->deletion_generation == 0) return DAYBOOK_OK;
    dbk_deletions_config config = {.allocator = store->allocator,
                                   .vfs = store->vfs,
                                   .directory = store->path,
                                   .store_uuid = store->uuid,
                                   .segment_id = entry->summary.segment_id,
                                   .generation = entry->deletion_generation};
    dbk_dead_copy dead = {0};
    daybook_error detail;
    daybook_error_init(&detail);
    daybook_status status = dbk_deletions_read(&config, &dead.removed, &dead.for_ever, &detail);
    dbk_dead_copy_deinit(&dead);
    if (status == DAYBOOK_OK) return DAYBOOK_OK;
    if (!is_damage(status)) {
        if (error != NULL) *error = detail;
        return status;
    }
    char name[NAME_SIZE];
    dbk_deletions_name(config.segment_id, config.generation, name);
    tell(repair, true, name, detail.offset, entry->summary.position_first, entry->summary.position_last,
         "which events were removed one by one is lost, they are visible again: %s", detail.message);
    repair->changes_segments = true;
    dbk_manifest_edit_set_deletions(&repair->edit, config.segment_id, 0);
    return keep_aside(repair, name, false, error);
}

static daybook_status repair_segments(repairing *repair, daybook_error *error) {
    daybook_store *store = repair->store;
    for (size_t i = 0; i < store->manifest.segment_count; i++) {
        const dbk_manifest_segment *entry = &store->manifest.segments[i];
        dbk_segment_config config = dbk_store_segment_config(store, entry->summary.segment_id);
        char name[40];
        dbk_segment_name(entry->summary.segment_id, name);
        size_t count = 0;
        daybook_error detail;
        daybook_error_init(&detail);
        // First the bitmaps: a replaced segment takes them along.
        DBK_TRY(check_deletions(repair, entry, error));
        daybook_status status = dbk_segment_verify(&config, count_damage, &count, &detail);
        if (status == DAYBOOK_OK) continue;
        if (!is_damage(status)) {
            if (error != NULL) *error = detail;
            return status;
        }
        tell(repair, true, name, detail.offset, entry->summary.position_first, entry->summary.position_last,
             "%s", detail.message);
        DBK_TRY(replace_segment(repair, entry, name, error));
    }
    if (!repair->changes_segments || repair->dry_run) return DAYBOOK_OK;
    dbk_manifest_edit_set_next_ids(&repair->edit, repair->next_segment_id, store->manifest.next_stream_id);
    // In memory only: the last edit says it again.
    if (dbk_manifest_apply(&store->manifest, &repair->edit) != DAYBOOK_OK)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory while repairing %s", store->path);
    return DAYBOOK_OK;
}

// Segments made for an edit that was not even tried.
static void remove_made(repairing *repair) {
    daybook_store *store = repair->store;
    if (repair->made_first == 0 || repair->is_commit_tried || repair->dry_run) return;
    for (uint64_t id = repair->made_first; id <= repair->next_segment_id; id++) {
        char name[40];
        char path[DBK_PATH_SIZE_MAX];
        dbk_segment_name(id, name);
        if (dbk_path_join(store->path, name, path, NULL) == DAYBOOK_OK)
            (void)store->vfs->unlink(store->vfs, path);
    }
}

// ---- The journal ----------------------------------------------------------------------------------------

// Streams as they are at the end of the journal.
static daybook_status load_streams(repairing *repair, daybook_error *error) {
    daybook_store *store = repair->store;
    dbk_manifest last;
    daybook_status status = dbk_manifest_copy(&store->manifest, &last);
    if (status != DAYBOOK_OK) return dbk_fail(error, status, "out of memory while repairing %s", store->path);
    store->salvage = &repair->salvage;
    status = dbk_salvage_catalogue(store, &repair->salvage, &last, error);
    if (status == DAYBOOK_OK) status = dbk_recovery_load_streams(store, &last, error);
    dbk_manifest_deinit(&last);
    return status;
}

static daybook_status recover_memory(repairing *repair, daybook_error *error) {
    daybook_store *store = repair->store;
    dbk_source **sources = NULL;
    size_t count = 0;
    atomic_store(&store->flushed_position, store->manifest.flushed_position);
    store->last_recorded_ns = store->manifest.last_recorded_ns;
    store->positions_end = store->manifest.positions_end;
    DBK_TRY(load_streams(repair, error));
    // Damaged segments were replaced before; in a dry run they are still there, and only the journal
    // matters now.
    daybook_status status =
        dbk_recovery_open_segments(store, &store->manifest, NULL, 1, false, &sources, &count, error);
    if (repair->dry_run && is_damage(status)) {
        sources = dbk_resize_array(store->allocator, NULL, 1, sizeof *sources);
        status = sources == NULL ? dbk_fail(error, DAYBOOK_ENOMEM, "out of memory") : DAYBOOK_OK;
    }
    if (status != DAYBOOK_OK) return status;
    status = dbk_recovery_begin_view(store, sources, count, store->manifest.flushed_position + 1, 1, error);
    if (status != DAYBOOK_OK) {
        for (size_t i = 0; i < count; i++) dbk_source_unref(sources[i]);
        dbk_free(store->allocator, sources);
    }
    return status;
}

// Replay all that can be, over damage. *damaged_out: the journal must begin anew.
static daybook_status replay_over_damage(repairing *repair, bool guessed_start, bool *damaged_out,
                                         daybook_error *error) {
    daybook_store *store = repair->store;
    const dbk_manifest *manifest = &store->manifest;
    dbk_replay replay = {.store = store, .roll_bytes = (size_t)store->options.memtable_bytes};
    uint64_t start_lsn = manifest->journal_start_lsn;
    *damaged_out = false;
    for (;;) {
        uint64_t expected = store->next_position;
        dbk_journal_recovery recovery = {0};
        daybook_error detail;
        daybook_error_init(&detail);
        daybook_status status = dbk_recovery_replay(&replay, manifest, start_lsn, 0,
                                                    manifest->journal_durable_lsn, &recovery, &detail);
        if (*damaged_out && store->next_position > expected) {
            tell(repair, false, "journal", 0, expected, store->next_position - 1,
                 "read again behind the damage");
        }
        if (is_damage(status)) {
            repair->has_foreign_journal = status == DAYBOOK_EFOREIGN;
            tell(repair, true, "journal", detail.offset, store->next_position, 0, "%s", detail.message);
            *damaged_out = true;
            return DAYBOOK_OK;
        }
        if (status != DAYBOOK_OK) {
            if (error != NULL) *error = detail;
            return status;
        }
        if (!recovery.damaged) return DAYBOOK_OK;
        if (guessed_start && recovery.end_lsn == start_lsn && recovery.resume_lsn > start_lsn) {
            // A start that was guessed lies within a group of an older lap.
            start_lsn = recovery.resume_lsn;
            continue;
        }
        *damaged_out = true;
        tell(repair, true, "journal", recovery.damage_offset, store->next_position, 0,
             "acknowledged events from this position on are lost: %s", recovery.damage_text);
        if (recovery.resume_lsn <= start_lsn) return DAYBOOK_OK;
        start_lsn = recovery.resume_lsn;
    }
}

// A map of LSNs no page of the journal has, over the pieces the file really has; a new file where there is
// none.
static daybook_status plan_journal(repairing *repair, uint64_t *first_lsn, uint32_t **pieces, uint32_t *count,
                                   daybook_error *error) {
    daybook_store *store = repair->store;
    const dbk_manifest *manifest = &store->manifest;
    char path[DBK_PATH_SIZE_MAX];
    dbk_journal_config config = dbk_store_journal_config(store, path);
    uint64_t size = 0;
    daybook_file *file = NULL;
    int result = store->vfs->open(store->vfs, path, DAYBOOK_VFS_READ, &file);
    if (result == 0) {
        result = store->vfs->file_size(store->vfs, file, &size);
        store->vfs->close(store->vfs, file);
    }
    if (result < 0 && result != -ENOENT) return dbk_fail_system(error, result, "open", path, 0);
    uint64_t present = size / DBK_JOURNAL_PIECE_SIZE;
    *count = present < manifest->journal_piece_count ? (uint32_t)present : manifest->journal_piece_count;
    if (*count < JOURNAL_PIECES_FIRST || repair->has_foreign_journal) {
        // Too short to be of use, or another store's. Its bytes are kept aside.
        (void)store->vfs->unlink(store->vfs, path);
        DBK_TRY(dbk_journal_create(&config, JOURNAL_PIECES_FIRST, error));
        *count = JOURNAL_PIECES_FIRST;
    }
    uint64_t end = manifest->journal_first_lsn +
                   (uint64_t)manifest->journal_piece_count * DBK_JOURNAL_PIECE_PAGES;
    if (manifest->journal_durable_lsn > end) end = manifest->journal_durable_lsn;
    *first_lsn = (end / DBK_JOURNAL_PIECE_PAGES + 1) * DBK_JOURNAL_PIECE_PAGES;
    *pieces = dbk_resize_array(store->allocator, NULL, *count, sizeof **pieces);
    if (*pieces == NULL)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory while repairing %s", store->path);
    for (uint32_t i = 0; i < *count; i++) (*pieces)[i] = i;
    return DAYBOOK_OK;
}

static daybook_status write_deletions(repairing *repair, const dbk_view *view, const dbk_dead_copy *dead,
                                      dbk_manifest_edit *edit, daybook_error *error) {
    daybook_store *store = repair->store;
    for (size_t i = 0; i < view->segment_count; i++) {
        if (roaring_bitmap_is_empty(dead[i].removed)) continue;
        dbk_deletions_config config = {
            .allocator = store->allocator,
            .vfs = store->vfs,
            .directory = store->path,
            .store_uuid = store->uuid,
            .segment_id = dbk_segment_get_summary(view->sources[i]->segment)->segment_id,
            .generation = repair->next_generation++};
        DBK_TRY(dbk_deletions_write(&config, dead[i].removed, dead[i].for_ever, error));
        dbk_manifest_edit_set_deletions(edit, config.segment_id, config.generation);
    }
    return DAYBOOK_OK;
}

// Everything replayed goes to a segment; the journal begins anew.
static daybook_status flush_recovered(repairing *repair, dbk_manifest_edit *edit, dbk_cut *cut,
                                      daybook_error *error) {
    daybook_store *store = repair->store;
    dbk_view *view = dbk_store_get_view(store);
    dbk_dead_copy *dead = dbk_alloc_zeroed(store->allocator, view->source_count * sizeof *dead);
    daybook_status status = dead == NULL ? DAYBOOK_ENOMEM : DAYBOOK_OK;
    for (size_t i = 0; status == DAYBOOK_OK && i < view->source_count; i++) {
        status = dbk_dead_copy_take(view->sources[i], &dead[i]);
    }
    dbk_cut_capture(store, cut);
    if (status == DAYBOOK_OK) status = cut->status;
    cut->position_last = store->next_position - 1;
    if (status == DAYBOOK_OK) status = dbk_cut_write(cut, &store->manifest, edit);
    if (status != DAYBOOK_OK) (void)dbk_fail(error, status, "out of memory while repairing %s", store->path);
    dbk_manifest states;
    bool has_states = false;
    if (status == DAYBOOK_OK) {
        // Marks and streams as replayed decide what of the tables is alive.
        status = dbk_manifest_copy(&store->manifest, &states);
        has_states = status == DAYBOOK_OK;
        if (status == DAYBOOK_OK) status = dbk_manifest_apply(&states, edit);
        if (status != DAYBOOK_OK)
            (void)dbk_fail(error, status, "out of memory while repairing %s", store->path);
    }
    if (status == DAYBOOK_OK) {
        dbk_tail tail = {
            .view = view, .dead = dead, .manifest = &states, .position_last = cut->position_last};
        dbk_segment_config config = dbk_store_segment_config(store, repair->next_segment_id);
        dbk_manifest_segment segment = {0};
        bool wrote = false;
        status = dbk_tail_write(&tail, &config, &wrote, &segment.summary, error);
        if (wrote) {
            repair->next_segment_id++;
            dbk_manifest_edit_add_segment(edit, &segment);
        }
    }
    if (status == DAYBOOK_OK) status = write_deletions(repair, view, dead, edit, error);
    if (has_states) dbk_manifest_deinit(&states);
    for (size_t i = 0; dead != NULL && i < view->source_count; i++) dbk_dead_copy_deinit(&dead[i]);
    dbk_free(store->allocator, dead);
    dbk_view_unref(view);
    return status;
}

// The edit that makes everything count: it begins with what became of the segments.
static void begin_edit(repairing *repair, dbk_manifest_edit *edit) {
    dbk_manifest_edit_init(edit, repair->store->allocator);
    dbk_buf_append(&edit->records, repair->edit.records.data, repair->edit.records.size);
}

static daybook_status end_edit(repairing *repair, const dbk_manifest_edit *edit, daybook_error *error) {
    daybook_store *store = repair->store;
    int result = store->vfs->sync_directory(store->vfs, store->path);
    if (result < 0) return dbk_fail_system(error, result, "sync the directory", store->path, 0);
    DBK_TRY(commit_edit(repair, edit, error));
    remove_gone(repair);
    return DAYBOOK_OK;
}

static daybook_status begin_journal(repairing *repair, daybook_error *error) {
    daybook_store *store = repair->store;
    dbk_manifest_edit edit;
    dbk_cut cut = {0};
    dbk_journal_map map = {0};
    uint32_t *pieces = NULL;
    DBK_TRY(keep_aside(repair, "journal", true, error));
    begin_edit(repair, &edit);
    daybook_status status = flush_recovered(repair, &edit, &cut, error);
    if (status == DAYBOOK_OK) status = plan_journal(repair, &map.first_lsn, &pieces, &map.piece_count, error);
    if (status == DAYBOOK_OK) {
        map.pieces = pieces;
        dbk_manifest_edit_set_journal(&edit, map.first_lsn, map.first_lsn, &map);
        dbk_manifest_edit_set_flushed(&edit, cut.position_last, cut.last_recorded_ns);
        // What said that further positions were spent may be lost with the journal, or with the manifest.
        uint64_t spent_end = cut.positions_end;
        if (repair->is_rebuilt && spent_end <= cut.position_last) spent_end = cut.position_last + 1;
        if (spent_end > 0) dbk_manifest_edit_set_positions_end(&edit, spent_end + DBK_RESERVED_POSITIONS);
        dbk_manifest_edit_set_next_ids(&edit, repair->next_segment_id, cut.next_stream_id);
        dbk_manifest_edit_set_closed_clean(&edit, false);
        status = end_edit(repair, &edit, error);
    }
    dbk_free(store->allocator, pieces);
    dbk_cut_deinit(store, &cut);
    dbk_manifest_edit_deinit(&edit);
    return status;
}

// A backup has no journal: what its segments hold is all there is.
static daybook_status finish_backup(repairing *repair, daybook_error *error) {
    daybook_store *store = repair->store;
    dbk_manifest_edit edit;
    dbk_cut cut = {0};
    begin_edit(repair, &edit);
    dbk_cut_capture(store, &cut);
    daybook_status status = cut.status;
    if (status == DAYBOOK_OK) status = dbk_cut_write(&cut, &store->manifest, &edit);
    if (status != DAYBOOK_OK) {
        (void)dbk_fail(error, status, "out of memory while repairing %s", store->path);
    } else {
        dbk_manifest_edit_set_next_ids(&edit, repair->next_segment_id, cut.next_stream_id);
        status = end_edit(repair, &edit, error);
    }
    dbk_cut_deinit(store, &cut);
    dbk_manifest_edit_deinit(&edit);
    return status;
}

static void count_event(daybook_store *store, dbk_source *source, const dbk_event *event) {
    dbk_stream *stream = dbk_stream_table_find_id(store->streams, event->stream_id);
    if (stream == NULL) return;
    if (event->seq > stream->last_seq) stream->last_seq = event->seq;
    if (!dbk_store_is_live(store, source, event->stream_id, event->position)) return;
    atomic_fetch_add(&stream->message_count, 1);
    atomic_fetch_add(&stream->byte_count, dbk_event_cost(event));
}

static daybook_status count_segment(daybook_store *store, dbk_source *source, daybook_error *error) {
    dbk_block_view view;
    memset(&view, 0, sizeof view);
    daybook_status status = DAYBOOK_OK;
    uint32_t count = dbk_segment_block_count(source->segment);
    for (uint32_t number = 0; status == DAYBOOK_OK && number < count; number++) {
        status = dbk_block_load(source->segment, number, &view, error);
        for (uint32_t i = 0; status == DAYBOOK_OK && i < view.event_count; i++) {
            dbk_event event;
            status = dbk_block_event(&view, i, &event, error);
            if (status == DAYBOOK_OK) count_event(store, source, &event);
        }
    }
    dbk_block_release(&view);
    return status;
}

// Look at every event.
static daybook_status recount(daybook_store *store, daybook_error *error) {
    dbk_stream **streams = NULL;
    size_t count = 0;
    daybook_status status = dbk_stream_table_all(store->streams, &streams, &count);
    if (status != DAYBOOK_OK) return dbk_fail(error, status, "out of memory while repairing %s", store->path);
    for (size_t i = 0; i < count; i++) {
        atomic_store(&streams[i]->message_count, 0);
        atomic_store(&streams[i]->byte_count, 0);
    }
    dbk_free(store->allocator, streams);
    dbk_view *view = dbk_store_get_view(store);
    for (size_t i = 0; status == DAYBOOK_OK && i < view->source_count; i++) {
        dbk_source *source = view->sources[i];
        if (source->segment != NULL) {
            status = count_segment(store, source, error);
            continue;
        }
        uint64_t end = dbk_memtable_position_end(source->memtable);
        for (uint64_t position = source->position_first; position < end; position++) {
            dbk_event event;
            if (dbk_memtable_get(source->memtable, position, &event) == DAYBOOK_OK)
                count_event(store, source, &event);
        }
    }
    dbk_view_unref(view);
    return status;
}

// The mark of a clean end is taken back before anything is written behind it.
static bool goes_on_behind_its_end(repairing *repair) {
    const dbk_manifest *manifest = &repair->store->manifest;
    if (!manifest->closed_clean) return false;
    char path[DBK_PATH_SIZE_MAX];
    dbk_journal_config config = dbk_store_journal_config(repair->store, path);
    dbk_journal_map map = dbk_manifest_journal_map(manifest);
    bool goes_on = false;
    return dbk_journal_has_group(&config, &map, manifest->journal_durable_lsn, &goes_on, NULL) ==
               DAYBOOK_OK &&
           goes_on;
}

// Only a catalogue that is lost knew where these belong. The journal's bytes are kept aside.
static void tell_lost(repairing *repair) {
    for (size_t i = 0; i < repair->salvage.lost_count; i++) {
        const dbk_salvage_lost *lost = &repair->salvage.lost[i];
        tell(repair, true, "journal", 0, lost->position_first, lost->position_last,
             "%llu events of stream number %u are left out: no file that can be read knows this stream",
             (unsigned long long)lost->count, (unsigned)lost->stream_id);
    }
}

static daybook_status repair_journal(repairing *repair, bool rebuilt, daybook_error *error) {
    // Counts of a rebuilt manifest are guesses, those of a segment that was replaced too high, and what lies
    // behind damage may count what was lost in it; they are written with a new beginning of the journal.
    bool begin_anew = rebuilt || repair->changes_segments;
    bool damaged = false;
    bool is_backup = repair->store->manifest.journal_piece_count == 0;
    if (is_backup && (!begin_anew || repair->dry_run)) return DAYBOOK_OK;
    DBK_TRY(recover_memory(repair, error));
    if (is_backup) {
        DBK_TRY(recount(repair->store, error));
        return finish_backup(repair, error);
    }
    DBK_TRY(replay_over_damage(repair, rebuilt, &damaged, error));
    if (repair->salvage.is_cut_short && !damaged) {
        return dbk_fail(
            error, DAYBOOK_EIO,
            "%s/journal could be read only at the second try, and streams may be missing: nothing "
            "of it was changed; look at the device, then repair again",
            repair->store->path);
    }
    tell_lost(repair);
    if (!damaged && !begin_anew && goes_on_behind_its_end(repair)) {
        damaged = true;
        tell(repair, true, "journal", 0, repair->store->manifest.flushed_position + 1, 0,
             "the manifest says that it ended earlier: the manifest is an older one; all of it was read");
    }
    if ((!damaged && !begin_anew) || repair->dry_run) return DAYBOOK_OK;
    DBK_TRY(recount(repair->store, error));
    return begin_journal(repair, error);
}

// ---- All of it ------------------------------------------------------------------------------------------

static int keep_manifest(void *context, const daybook_vfs_entry *entry) {
    repairing *repair = context;
    if (dbk_file_classify(entry->name, NULL, NULL) != DBK_FILE_MANIFEST || strlen(entry->name) >= NAME_SIZE)
        return 0;
    return remove_later(repair, entry->name, NULL) == DAYBOOK_OK ? 0 : 1;
}

static void tell_left_out(void *context, const char *name, dbk_rebuild_part part, const daybook_error *why) {
    static const char *const what[] = {
        [DBK_REBUILD_SEGMENT] = "it is left out, with all its events",
        [DBK_REBUILD_CATALOGUE] = "what it says of the streams is left out",
        [DBK_REBUILD_PAGE] = "a page of it is left out",
    };
    tell(context, true, name, why->offset, 0, 0, "%s: %s", what[part], why->message);
}

// The manifest is lost: what the other files say of themselves becomes a new one.
static daybook_status rebuild(repairing *repair, const daybook_error *why, daybook_error *error) {
    daybook_store *store = repair->store;
    const char *name = dbk_finding_file(why, "manifest-*");
    tell(repair, !repair->distrusts_manifest, name, why->offset, 0, 0,
         "%s; it is rebuilt from segments and journal", why->message);
    dbk_manifest_deinit(&store->manifest);
    dbk_manifest_init(&store->manifest, store->allocator, store->vfs, store->path);
    DBK_TRY(dbk_rebuild_manifest(store->allocator, store->vfs, store->path, store->cache, &store->manifest,
                                 tell_left_out, repair, error));
    store->uuid = store->manifest.store_uuid;
    store->incarnation = store->manifest.incarnation;
    if (repair->dry_run) return DAYBOOK_OK;
    int result = store->vfs->list(store->vfs, store->path, keep_manifest, repair);
    if (result < 0) return dbk_fail_system(error, result, "list", store->path, 0);
    if (result > 0) return fail_memory(store, error);
    for (size_t i = 0; i < repair->gone_count; i++)
        DBK_TRY(keep_aside(repair, repair->gone[i], false, error));
    return DAYBOOK_OK; // written with the last edit
}

static daybook_status load(repairing *repair, bool *rebuilt_out, daybook_error *error) {
    daybook_store *store = repair->store;
    daybook_error detail;
    daybook_error_init(&detail);
    *rebuilt_out = false;
    dbk_manifest_init(&store->manifest, store->allocator, store->vfs, store->path);
    daybook_status status = dbk_manifest_load(&store->manifest, !repair->dry_run, &detail);
    if (status == DAYBOOK_OK && repair->distrusts_manifest) {
        status = dbk_fail(&detail, DAYBOOK_EDAMAGED, "set aside as asked for");
    }
    if (status == DAYBOOK_OK) {
        store->uuid = store->manifest.store_uuid;
        store->incarnation = store->manifest.incarnation;
        return DAYBOOK_OK;
    }
    if (status != DAYBOOK_EDAMAGED && status != DAYBOOK_ENOTFOUND) {
        if (error != NULL) *error = detail;
        return status;
    }
    *rebuilt_out = true;
    repair->is_rebuilt = true;
    return rebuild(repair, &detail, error);
}

// A manifest under which every segment and the journal are another store's is itself the stranger: repairing
// by it would leave everything out.
static daybook_status check_manifest_is_ours(repairing *repair, daybook_error *error) {
    daybook_store *store = repair->store;
    const dbk_manifest *manifest = &store->manifest;
    if (manifest->segment_count == 0) return DAYBOOK_OK;
    for (size_t i = 0; i < manifest->segment_count; i++) {
        dbk_segment_config config = dbk_store_segment_config(store, manifest->segments[i].summary.segment_id);
        dbk_segment *segment = NULL;
        daybook_status status = dbk_segment_open(&config, store->cache, &segment, NULL);
        dbk_segment_unref(segment);
        if (status != DAYBOOK_EFOREIGN) return DAYBOOK_OK;
    }
    char name[NAME_SIZE];
    dbk_manifest_name(manifest->number, 0, name);
    return dbk_fail(
        error, DAYBOOK_EFOREIGN,
        "%s/%s is of another store than all segments beside it: put back the one that belongs here, "
        "or move it away and repair again, which makes a new one from the segments",
        store->path, name);
}

// Damage to one copy of the manifest is made good from the other. Where one just was not finished the next
// writer does it.
static daybook_status repair_copies(repairing *repair, daybook_error *error) {
    dbk_manifest *manifest = &repair->store->manifest;
    bool is_damaged = false;
    for (unsigned copy = 0; copy < DBK_MANIFEST_COPY_COUNT; copy++) {
        const dbk_manifest_copy_state *state = &manifest->file.states[copy];
        if (!dbk_manifest_copy_is_damage(state)) continue;
        char name[DBK_MANIFEST_NAME_SIZE];
        char text[DBK_FINDING_MESSAGE_SIZE];
        dbk_manifest_name(manifest->number, copy, name);
        dbk_manifest_file_describe(&manifest->file, copy, text, sizeof text);
        tell(repair, true, name, state->offset, 0, 0, "%s", text);
        is_damaged = true;
    }
    if (!is_damaged || repair->dry_run) return DAYBOOK_OK;
    dbk_manifest_edit nothing;
    dbk_manifest_edit_init(&nothing, repair->store->allocator);
    daybook_status status = commit_edit(repair, &nothing, error);
    dbk_manifest_edit_deinit(&nothing);
    return status;
}

static daybook_status repair_all(repairing *repair, daybook_error *error) {
    daybook_store *store = repair->store;
    dbk_directory found;
    DBK_TRY(dbk_directory_inspect(store->vfs, store->path, &found, error));
    if (found.manifest_count == 0 && found.segment_count == 0 && !found.has_journal) {
        return dbk_fail(error, DAYBOOK_ENOTFOUND, "there is no store in %s; check the path", store->path);
    }
    bool rebuilt = false;
    DBK_TRY(load(repair, &rebuilt, error));
    if (!rebuilt) DBK_TRY(check_manifest_is_ours(repair, error));
    if (!rebuilt) DBK_TRY(repair_copies(repair, error));
    uint64_t next_id = store->manifest.next_segment_id;
    repair->next_segment_id = next_id > found.segment_id_max ? next_id : found.segment_id_max + 1;
    repair->made_first = repair->next_segment_id;
    repair->next_generation = found.generation_max + 1;
    DBK_TRY(repair_segments(repair, error));
    // A rebuilt manifest only guesses where the journal begins: what it holds is put into segments at once.
    return repair_journal(repair, rebuilt, error);
}

static daybook_status run(repairing *repair, const char *path, const daybook_open_options *options,
                          daybook_error *error) {
    if (path == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "repair or rebuild without path");
    DBK_TRY(dbk_store_new_bare(path, options, &repair->store, error));
    daybook_store *store = repair->store;
    dbk_manifest_edit_init(&repair->edit, store->allocator);
    dbk_directory found;
    daybook_status status = dbk_directory_inspect(store->vfs, store->path, &found, error);
    if (status == DAYBOOK_OK && !found.exists) {
        status = dbk_fail(error, DAYBOOK_ENOTFOUND, "there is no store in %s; check the path", path);
    }
    if (status == DAYBOOK_OK && !repair->dry_run) {
        status =
            dbk_lock_take(store->vfs, store->path, store->options.lock_wait_ms, 0, &store->lock_file, error);
    }
    if (status == DAYBOOK_OK) status = repair_all(repair, error);
    if (status == DAYBOOK_OK && repair->dry_run && repair->damage_count > 0) {
        status = dbk_fail(error, DAYBOOK_EDAMAGED,
                          "%s is damaged: %zu places; repair it, or restore a backup", path,
                          repair->damage_count);
    }
    if (status == DAYBOOK_OK && repair->has_aside) {
        tell(repair, false, repair->aside, 0, 0, 0, "holds the original bytes of what was changed");
    }
    if (status != DAYBOOK_OK) remove_made(repair);
    dbk_manifest_edit_deinit(&repair->edit);
    dbk_free(store->allocator, repair->gone);
    dbk_salvage_deinit(&repair->salvage, store->allocator);
    dbk_store_free_bare(store);
    return status;
}

daybook_status daybook_repair(const char *path, const daybook_open_options *options, int dry_run,
                              daybook_report report, void *report_context, daybook_error *error) {
    repairing repair = {.dry_run = dry_run != 0, .report = report, .report_context = report_context};
    return run(&repair, path, options, error);
}

daybook_status daybook_rebuild(const char *path, const daybook_open_options *options, int dry_run,
                               daybook_report report, void *report_context, daybook_error *error) {
    repairing repair = {.dry_run = dry_run != 0,
                        .distrusts_manifest = true,
                        .report = report,
                        .report_context = report_context};
    return run(&repair, path, options, error);
}
