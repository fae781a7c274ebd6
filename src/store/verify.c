// SPDX-License-Identifier: Apache-2.0
// Verifying: every byte of a store is read and checked, nothing is written.
//
//   manifest    the newest file, every edit, both copies of it; nothing in it contradicts the rest
//   segments    dbk_segment_verify; what the manifest says of each; no gap in what they cover is told,
//               since positions of events that were never stored may be missing
//   deletions   checksum, and only positions of their segment
//   journal     every group from the start on, every record decoded, positions ascending
//   names       files the manifest does not know: told, no damage
//
// Beside a running writer files are replaced while we read. Damage found is therefore only told when the
// manifest is still the same afterwards; else everything begins again.
#include <stdarg.h>
#include <string.h>

#include "base/bytes.h"
#include "store/deletions.h"
#include "store/directory.h"
#include "store/finding.h"
#include "store/live.h"
#include "store/recovery.h"

enum { ATTEMPTS_MAX = 20 };

// ---- Findings -------------------------------------------------------------------------------------------

// Kept until the end, because a writer may make them void.
typedef struct kept_finding {
    bool is_damage;
    uint64_t offset, position_first, position_last;
    char *file;
    char *message;
} kept_finding;

typedef struct verifying {
    const daybook_allocator *allocator;
    daybook_vfs *vfs;
    const char *path;
    dbk_manifest manifest;
    kept_finding *findings;
    size_t finding_count;
    size_t damage_count;
    bool out_of_memory;
    daybook_progress progress;
    void *progress_context;
    uint64_t done, total;
    uint64_t last_position; // of the journal's records
    // What ended looking at the names.
    daybook_status names_status;
    daybook_error names_error;
} verifying;

static void drop_findings(verifying *verify) {
    for (size_t i = 0; i < verify->finding_count; i++) {
        dbk_free(verify->allocator, verify->findings[i].file);
        dbk_free(verify->allocator, verify->findings[i].message);
    }
    verify->finding_count = 0;
    verify->damage_count = 0;
}

static void keep(void *context, const daybook_finding *finding) {
    verifying *verify = context;
    kept_finding *grown =
        dbk_resize_array(verify->allocator, verify->findings, verify->finding_count + 1, sizeof *grown);
    if (grown == NULL) {
        verify->out_of_memory = true;
        return;
    }
    verify->findings = grown;
    kept_finding *kept = &grown[verify->finding_count];
    *kept = (kept_finding){.is_damage = finding->is_damage != 0,
                           .offset = finding->offset,
                           .position_first = finding->position_first,
                           .position_last = finding->position_last,
                           .file = dbk_copy_text(verify->allocator, finding->file),
                           .message = dbk_copy_text(verify->allocator, finding->message)};
    verify->finding_count++;
    verify->damage_count += kept->is_damage;
    if (kept->file == NULL || kept->message == NULL) verify->out_of_memory = true;
}

static void tell(verifying *verify, bool is_damage, const char *file, uint64_t offset, uint64_t first,
                 uint64_t last, const char *format, ...) __attribute__((format(printf, 7, 8)));

static void tell(verifying *verify, bool is_damage, const char *file, uint64_t offset, uint64_t first,
                 uint64_t last, const char *format, ...) {
    char message[DBK_FINDING_MESSAGE_SIZE];
    const dbk_finding_place place = {is_damage, file, offset, first, last};
    va_list arguments;
    va_start(arguments, format);
    daybook_finding finding = dbk_finding_make(message, &place, format, arguments);
    va_end(arguments);
    keep(verify, &finding);
}

// What keeps us from reading on (memory, permissions, descriptors), as against damage.
static bool ends_it(daybook_status status) {
    return status != DAYBOOK_OK && status != DAYBOOK_EDAMAGED && status != DAYBOOK_EFOREIGN &&
           status != DAYBOOK_ENOTFOUND && status != DAYBOOK_EIO;
}

// Damage becomes a finding; what keeps us from reading on ends it.
static daybook_status absorb(verifying *verify, daybook_status status, const daybook_error *detail,
                             const char *file, uint64_t first, uint64_t last, daybook_error *error) {
    if (ends_it(status)) {
        if (error != NULL) *error = *detail;
        return status;
    }
    if (status != DAYBOOK_OK) tell(verify, true, file, detail->offset, first, last, "%s", detail->message);
    return DAYBOOK_OK;
}

static daybook_status advance(verifying *verify, uint64_t bytes, daybook_error *error) {
    verify->done += bytes;
    if (verify->progress == NULL) return DAYBOOK_OK;
    uint64_t done = verify->done < verify->total ? verify->done : verify->total;
    if (verify->progress(verify->progress_context, done, verify->total) == 0) return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_ECLOSED, "verifying was interrupted");
}

// ---- Beside a writer ------------------------------------------------------------------------------------

// Did a writer change the manifest while we looked?
static bool has_changed(verifying *verify) {
    dbk_manifest now;
    dbk_manifest_init(&now, verify->allocator, verify->vfs, verify->path);
    bool changed = dbk_manifest_load(&now, false, NULL) == DAYBOOK_OK &&
                   now.edit_count != verify->manifest.edit_count;
    dbk_manifest_deinit(&now);
    return changed;
}

// Does the present manifest still name the segment, with this deletion file?
static bool is_still_named(verifying *verify, const dbk_manifest_segment *entry) {
    dbk_manifest now;
    dbk_manifest_init(&now, verify->allocator, verify->vfs, verify->path);
    bool named = true;
    if (dbk_manifest_load(&now, false, NULL) == DAYBOOK_OK) {
        const dbk_manifest_segment *found = dbk_manifest_find_segment(&now, entry->summary.segment_id);
        named = found != NULL && found->deletion_generation == entry->deletion_generation;
    }
    dbk_manifest_deinit(&now);
    return named;
}

// ---- Segments and deletions -----------------------------------------------------------------------------

static dbk_segment_config segment_config(const verifying *verify, uint64_t segment_id) {
    return (dbk_segment_config){.allocator = verify->allocator,
                                .vfs = verify->vfs,
                                .directory = verify->path,
                                .store_uuid = verify->manifest.store_uuid,
                                .incarnation = verify->manifest.incarnation,
                                .segment_id = segment_id,
                                .memory_max = 16 << 20};
}

// What the manifest says of a segment against what it is; and what is lost where it cannot be opened.
static daybook_status compare_summary(verifying *verify, const char *name, const dbk_segment_summary *said,
                                      daybook_error *error) {
    dbk_segment_config config = segment_config(verify, said->segment_id);
    dbk_cache *cache = NULL;
    dbk_segment *segment = NULL;
    if (dbk_cache_new(verify->allocator, 1 << 20, &cache) != DAYBOOK_OK) {
        verify->out_of_memory = true;
        return DAYBOOK_OK;
    }
    daybook_status status = dbk_segment_open(&config, cache, &segment, error);
    if (ends_it(status)) {
        dbk_cache_free(cache);
        return status;
    }
    // Why it cannot be opened was told by dbk_segment_verify.
    if (status != DAYBOOK_OK) {
        tell(verify, true, name, 0, said->position_first, said->position_last,
             "cannot be opened: none of its %llu events can be read", (unsigned long long)said->event_count);
    } else {
        const dbk_segment_summary *found = dbk_segment_get_summary(segment);
        bool same = found->position_first == said->position_first &&
                    found->position_last == said->position_last && found->event_count == said->event_count &&
                    found->file_bytes == said->file_bytes &&
                    memcmp(found->sha256, said->sha256, sizeof said->sha256) == 0;
        if (!same) {
            tell(verify, true, name, 0, said->position_first, said->position_last,
                 "not the file the manifest names: it was replaced by another one of this store");
        }
        dbk_segment_unref(segment);
    }
    dbk_cache_free(cache);
    return DAYBOOK_OK;
}

static daybook_status verify_deletions(verifying *verify, const dbk_manifest_segment *entry,
                                       daybook_error *error) {
    if (entry->deletion_generation == 0) return DAYBOOK_OK;
    const dbk_segment_summary *summary = &entry->summary;
    dbk_deletions_config config = {.allocator = verify->allocator,
                                   .vfs = verify->vfs,
                                   .directory = verify->path,
                                   .store_uuid = verify->manifest.store_uuid,
                                   .segment_id = summary->segment_id,
                                   .generation = entry->deletion_generation};
    char name[64];
    dbk_deletions_name(summary->segment_id, entry->deletion_generation, name);
    roaring_bitmap_t *removed = NULL;
    roaring_bitmap_t *for_ever = NULL;
    daybook_error detail;
    daybook_error_init(&detail);
    daybook_status status = dbk_deletions_read(&config, &removed, &for_ever, &detail);
    if (status == DAYBOOK_ENOTFOUND && !is_still_named(verify, entry)) return DAYBOOK_OK;
    DBK_TRY(absorb(verify, status, &detail, name, summary->position_first, summary->position_last, error));
    if (status != DAYBOOK_OK) return DAYBOOK_OK;
    uint64_t span = summary->position_last - summary->position_first;
    bool outside = !roaring_bitmap_is_empty(removed) && roaring_bitmap_maximum(removed) > span;
    if (outside || !roaring_bitmap_is_subset(for_ever, removed)) {
        tell(verify, true, name, 0, summary->position_first, summary->position_last,
             "removes events its segment does not hold");
    }
    roaring_bitmap_free(removed);
    roaring_bitmap_free(for_ever);
    return DAYBOOK_OK;
}

static daybook_status verify_segment(verifying *verify, const dbk_manifest_segment *entry,
                                     daybook_error *error) {
    const dbk_segment_summary *summary = &entry->summary;
    dbk_segment_config config = segment_config(verify, summary->segment_id);
    char name[40];
    dbk_segment_name(summary->segment_id, name);
    daybook_error detail;
    daybook_error_init(&detail);
    size_t damage_before = verify->damage_count;
    daybook_status status = dbk_segment_verify(&config, keep, verify, &detail);
    if (status == DAYBOOK_ENOTFOUND && !is_still_named(verify, entry)) {
        tell(verify, false, name, 0, summary->position_first, summary->position_last,
             "merged into another segment while this one was to be verified");
        return DAYBOOK_OK;
    }
    // It reports what it finds itself; only what kept it from looking is for us.
    if (status != DAYBOOK_EDAMAGED || verify->damage_count == damage_before) {
        DBK_TRY(
            absorb(verify, status, &detail, name, summary->position_first, summary->position_last, error));
    }
    DBK_TRY(compare_summary(verify, name, summary, error));
    DBK_TRY(verify_deletions(verify, entry, error));
    return advance(verify, summary->file_bytes, error);
}

// ---- The journal ----------------------------------------------------------------------------------------

static daybook_status verify_record(verifying *verify, dbk_slice record, dbk_record_kind kind) {
    dbk_event event;
    dbk_remove remove;
    dbk_catalogue_entry entry;
    uint64_t positions_end;
    switch (kind) {
    case DBK_RECORD_EVENT:
        DBK_TRY(dbk_event_decode(record, &event));
        if (event.position <= verify->last_position) return DAYBOOK_EDAMAGED;
        verify->last_position = event.position;
        return DAYBOOK_OK;
    case DBK_RECORD_REMOVE:
        return dbk_remove_decode(record, &remove);
    case DBK_RECORD_CATALOGUE:
        return dbk_catalogue_decode(record, &entry);
    case DBK_RECORD_POSITIONS:
        return dbk_positions_decode(record, &positions_end);
    }
    return DAYBOOK_EFORMAT;
}

static daybook_status verify_group(void *context, uint64_t first_lsn, uint64_t next_lsn, dbk_slice payload,
                                   daybook_error *error) {
    (void)next_lsn;
    (void)error;
    verifying *verify = context;
    const uint8_t *at = payload.data;
    size_t left = payload.size;
    while (left > 0) {
        dbk_record_kind kind;
        size_t size = 0;
        daybook_status status = dbk_record_peek(daybook_bytes(at, left), &kind, &size);
        if (status == DAYBOOK_OK) status = verify_record(verify, daybook_bytes(at, size), kind);
        if (status != DAYBOOK_OK) {
            tell(verify, true, "journal", 0, verify->last_position + 1, 0,
                 "a record of the group at LSN %llu cannot be read although its checksum holds: %s",
                 (unsigned long long)first_lsn, daybook_status_text(status));
            return DAYBOOK_OK; // the next group may be fine
        }
        at += size;
        left -= size;
    }
    return DAYBOOK_OK;
}

// Up to where a running writer says that the journal is durable; 0: to the end.
static uint64_t journal_stop(const verifying *verify) {
    const dbk_manifest *manifest = &verify->manifest;
    uint64_t stop_lsn = manifest->closed_clean ? manifest->journal_durable_lsn : 0;
    dbk_live *live = NULL;
    if (dbk_live_open(verify->allocator, verify->vfs, verify->path, &manifest->store_uuid, false, &live,
                      NULL) != DAYBOOK_OK) {
        return stop_lsn;
    }
    dbk_live_values values;
    uint64_t session = 0;
    bool is_known = dbk_live_get(live, &values);
    if (dbk_lock_is_held(verify->vfs, verify->path, &session) && is_known && values.session == session &&
        values.writer_open) {
        stop_lsn = values.durable_lsn;
    }
    dbk_live_close(live);
    return stop_lsn;
}

// A journal that was closed cleanly is read up to its end only, wherever the file ends.
static void check_journal_size(verifying *verify, const char *path) {
    uint64_t needed = (uint64_t)verify->manifest.journal_piece_count * DBK_JOURNAL_PIECE_SIZE;
    daybook_file *file = NULL;
    uint64_t size = 0;
    if (verify->vfs->open(verify->vfs, path, DAYBOOK_VFS_READ, &file) < 0) return; // told by recovery
    if (verify->vfs->file_size(verify->vfs, file, &size) == 0 && size < needed)
        tell(verify, true, "journal", size, 0, 0, "ends at byte %llu, the manifest says that it has %llu",
             (unsigned long long)size, (unsigned long long)needed);
    verify->vfs->close(verify->vfs, file);
}

static daybook_status verify_journal(verifying *verify, daybook_error *error) {
    const dbk_manifest *manifest = &verify->manifest;
    if (manifest->journal_piece_count == 0) return DAYBOOK_OK; // a backup has none
    char path[DBK_PATH_SIZE_MAX];
    DBK_TRY(dbk_path_join(verify->path, "journal", path, error));
    dbk_journal_config config = {.allocator = verify->allocator,
                                 .vfs = verify->vfs,
                                 .path = path,
                                 .store_uuid = manifest->store_uuid,
                                 .incarnation = manifest->incarnation};
    check_journal_size(verify, path);
    dbk_journal_map map = dbk_manifest_journal_map(manifest);
    verify->last_position = manifest->flushed_position;
    uint64_t stop_lsn = journal_stop(verify);
    uint64_t start_lsn = manifest->journal_start_lsn;
    bool goes_on = false;
    bool is_clean_end = manifest->closed_clean && stop_lsn == manifest->journal_durable_lsn;
    if (is_clean_end && dbk_journal_has_group(&config, &map, stop_lsn, &goes_on, NULL) == DAYBOOK_OK &&
        goes_on && !has_changed(verify)) {
        tell(verify, true, "journal", 0, manifest->flushed_position + 1, 0,
             "the manifest says that it ended at LSN %llu, and it goes on: the manifest is an older one",
             (unsigned long long)stop_lsn);
        stop_lsn = 0;
    }
    // Behind damage it goes on with the next group that can be read.
    while (stop_lsn == 0 || start_lsn < stop_lsn) {
        dbk_journal_recovery recovery = {0};
        daybook_error detail;
        daybook_error_init(&detail);
        daybook_status status = dbk_journal_recover(&config, &map, start_lsn, stop_lsn,
                                                    manifest->journal_durable_lsn, verify_group, verify,
                                                    &recovery, &detail);
        DBK_TRY(absorb(verify, status, &detail, "journal", verify->last_position + 1, 0, error));
        if (status != DAYBOOK_OK) return DAYBOOK_OK;
        if (recovery.torn_pages > 0) {
            tell(verify, false, "journal", 0, 0, 0,
                 "%llu pages of a commit that was never acknowledged lie at the end",
                 (unsigned long long)recovery.torn_pages);
        }
        if (!recovery.damaged) break;
        if (has_changed(verify)) {
            tell(verify, false, "journal", 0, 0, 0, "written over while it was to be verified");
            break;
        }
        if (recovery.resume_lsn == 0 && stop_lsn == manifest->journal_durable_lsn && manifest->closed_clean) {
            // What is behind the damage is only looked for where the end is not given.
            stop_lsn = 0;
            start_lsn = recovery.end_lsn;
            continue;
        }
        tell(verify, true, "journal", recovery.damage_offset, verify->last_position + 1, 0, "%s",
             recovery.damage_text);
        if (recovery.resume_lsn <= start_lsn) break;
        start_lsn = recovery.resume_lsn;
    }
    return advance(verify, (uint64_t)manifest->journal_piece_count * DBK_JOURNAL_PIECE_SIZE, error);
}

// ---- Names ----------------------------------------------------------------------------------------------

static void leave_untold(void *context, const daybook_finding *finding) {
    (void)context;
    (void)finding;
}

// Sound, a crash left it behind, and it holds nothing that is not elsewhere. Else the manifest was perhaps
// made without it, because it could not be read. No damage of the store as it is: nothing in it is served.
static daybook_status look_at_unnamed(verifying *verify, const char *name, uint64_t id,
                                      daybook_error *error) {
    dbk_segment_config config = segment_config(verify, id);
    daybook_error detail;
    daybook_error_init(&detail);
    daybook_status status = dbk_segment_verify(&config, leave_untold, NULL, &detail);
    if (status == DAYBOOK_ENOTFOUND) return DAYBOOK_OK; // gone since
    if (ends_it(status)) {
        if (error != NULL) *error = detail;
        return status;
    }
    if (status == DAYBOOK_OK)
        tell(verify, false, name, 0, 0, 0,
             "the manifest does not name this segment: left behind by an interrupted flush or merge");
    else
        tell(verify, false, name, detail.offset, 0, 0,
             "the manifest does not name this segment, and it cannot be read (%s): what it held is not part "
             "of "
             "the store; if a repair left it out, put a sound copy in its place and run daybook rebuild",
             detail.message);
    return DAYBOOK_OK;
}

static int look_at_name(void *context, const daybook_vfs_entry *entry) {
    verifying *verify = context;
    uint64_t id = 0;
    uint64_t generation = 0;
    const dbk_manifest_segment *known = NULL;
    switch (dbk_file_classify(entry->name, &id, &generation)) {
    case DBK_FILE_SEGMENT:
        if (dbk_manifest_find_segment(&verify->manifest, id) != NULL) break;
        verify->names_status = look_at_unnamed(verify, entry->name, id, &verify->names_error);
        if (verify->names_status != DAYBOOK_OK) return 1;
        break;
    case DBK_FILE_DELETIONS:
        known = dbk_manifest_find_segment(&verify->manifest, id);
        if (known != NULL && known->deletion_generation == generation) break;
        tell(verify, false, entry->name, 0, 0, 0, "the manifest does not name this deletion file");
        break;
    case DBK_FILE_MANIFEST:
        if (id != verify->manifest.number)
            tell(verify, false, entry->name, 0, 0, 0, "an older manifest, left behind");
        break;
    case DBK_FILE_TEMPORARY:
        tell(verify, false, entry->name, 0, 0, 0,
             "an unfinished file, removed when the store is next opened for writing");
        break;
    case DBK_FILE_FOREIGN:
        tell(verify, false, entry->name, 0, 0, 0, "not a file of the store; left alone");
        break;
    case DBK_FILE_LOCK:
    case DBK_FILE_LIVE:
    case DBK_FILE_RESERVE:
    case DBK_FILE_COMMANDS:
    case DBK_FILE_JOURNAL:
    case DBK_FILE_DAMAGED:
        break;
    }
    return 0;
}

static daybook_status verify_names(verifying *verify, daybook_error *error) {
    verify->names_status = DAYBOOK_OK;
    daybook_error_init(&verify->names_error);
    int result = verify->vfs->list(verify->vfs, verify->path, look_at_name, verify);
    if (verify->names_status != DAYBOOK_OK) {
        if (error != NULL) *error = verify->names_error;
        return verify->names_status;
    }
    return result < 0 ? dbk_fail_system(error, result, "list", verify->path, 0) : DAYBOOK_OK;
}

// ---- All of it ------------------------------------------------------------------------------------------

static void compare_positions(verifying *verify) {
    const dbk_manifest *manifest = &verify->manifest;
    char name[40];
    uint64_t next = 1;
    for (size_t i = 0; i < manifest->segment_count; i++) {
        const dbk_segment_summary *summary = &manifest->segments[i].summary;
        if (summary->position_first > next) {
            // Positions of streams kept in memory are never stored; only a whole range without a segment is
            // odd.
            dbk_manifest_name(manifest->number, 0, name);
            tell(verify, false, name, 0, next, summary->position_first - 1,
                 "no segment covers these positions");
        }
        next = summary->position_last + 1;
    }
}

// Where the copies of the manifest differ from what both say together.
static void tell_copies(verifying *verify) {
    const dbk_manifest_file *file = &verify->manifest.file;
    for (unsigned copy = 0; copy < DBK_MANIFEST_COPY_COUNT; copy++) {
        const dbk_manifest_copy_state *state = &file->states[copy];
        if (state->kind == DBK_MANIFEST_COPY_SOUND || state->kind == DBK_MANIFEST_COPY_UNNEEDED) continue;
        char name[DBK_MANIFEST_NAME_SIZE];
        char text[DBK_FINDING_MESSAGE_SIZE];
        dbk_manifest_name(verify->manifest.number, copy, name);
        dbk_manifest_file_describe(file, copy, text, sizeof text);
        tell(verify, dbk_manifest_copy_is_damage(state), name, state->offset, 0, 0, "%s", text);
    }
}

static daybook_status verify_once(verifying *verify, daybook_error *error) {
    daybook_error detail;
    daybook_error_init(&detail);
    verify->done = 0;
    dbk_manifest_deinit(&verify->manifest);
    dbk_manifest_init(&verify->manifest, verify->allocator, verify->vfs, verify->path);
    daybook_status status = dbk_manifest_load(&verify->manifest, false, &detail);
    if (status == DAYBOOK_EDAMAGED) {
        const char *name = dbk_finding_file(&detail, "manifest-*");
        tell(verify, true, name, detail.offset, 0, 0, "%s", detail.message);
        return DAYBOOK_OK; // without it nobody knows what the rest should be
    }
    if (status != DAYBOOK_OK) {
        if (error != NULL) *error = detail;
        return status;
    }
    const dbk_manifest *manifest = &verify->manifest;
    verify->total = (uint64_t)manifest->journal_piece_count * DBK_JOURNAL_PIECE_SIZE;
    for (size_t i = 0; i < manifest->segment_count; i++)
        verify->total += manifest->segments[i].summary.file_bytes;
    tell_copies(verify);
    compare_positions(verify);
    for (size_t i = 0; i < manifest->segment_count; i++)
        DBK_TRY(verify_segment(verify, &manifest->segments[i], error));
    DBK_TRY(verify_journal(verify, error));
    return verify_names(verify, error);
}

static void report_all(const verifying *verify, daybook_report report, void *context) {
    for (size_t i = 0; report != NULL && i < verify->finding_count; i++) {
        const kept_finding *kept = &verify->findings[i];
        daybook_finding finding = {.size = sizeof finding,
                                   .is_damage = kept->is_damage,
                                   .file = daybook_text(kept->file),
                                   .offset = kept->offset,
                                   .position_first = kept->position_first,
                                   .position_last = kept->position_last,
                                   .message = daybook_text(kept->message)};
        report(context, &finding);
    }
}

static daybook_status check_present(daybook_vfs *vfs, const char *path, bool *headless_out,
                                    daybook_error *error) {
    dbk_directory found;
    DBK_TRY(dbk_directory_inspect(vfs, path, &found, error));
    *headless_out = found.manifest_count == 0 && (found.segment_count > 0 || found.has_journal);
    if (found.manifest_count > 0 || *headless_out) return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_ENOTFOUND, "there is no store in %s; check the path", path);
}

daybook_status daybook_verify(const char *path, const daybook_open_options *options, daybook_report report,
                              void *report_context, daybook_progress progress, void *progress_context,
                              daybook_error *error) {
    if (path == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "daybook_verify without path");
    daybook_open_options used;
    daybook_open_options_init(&used);
    if (options != NULL) memcpy(&used, options, options->size < sizeof used ? options->size : sizeof used);
    verifying verify = {.allocator = used.allocator != NULL ? used.allocator : dbk_allocator_default(),
                        .vfs = used.vfs != NULL ? used.vfs : daybook_vfs_posix(),
                        .path = path,
                        .progress = progress,
                        .progress_context = progress_context};
    bool headless = false;
    DBK_TRY(check_present(verify.vfs, path, &headless, error));
    daybook_status status = DAYBOOK_OK;
    if (headless) {
        tell(&verify, true, "manifest-*", 0, 0, 0,
             "no file of this name is left, although there are other files of a store; run daybook repair, "
             "which "
             "makes it again from them, or restore a backup");
    } else {
        for (int attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
            drop_findings(&verify);
            status = verify_once(&verify, error);
            if ((status == DAYBOOK_OK && verify.damage_count == 0) || status == DAYBOOK_ECLOSED ||
                !has_changed(&verify))
                break;
        }
    }
    if (status == DAYBOOK_OK && verify.out_of_memory)
        status = dbk_fail(error, DAYBOOK_ENOMEM, "out of memory while verifying %s", path);
    if (status == DAYBOOK_OK || verify.damage_count > 0) report_all(&verify, report, report_context);
    if (status == DAYBOOK_OK && verify.damage_count > 0) {
        status = dbk_fail(error, DAYBOOK_EDAMAGED,
                          "%s is damaged: %zu places; run daybook repair, or restore a backup", path,
                          verify.damage_count);
    }
    drop_findings(&verify);
    dbk_free(verify.allocator, verify.findings);
    dbk_manifest_deinit(&verify.manifest);
    return status;
}
