// SPDX-License-Identifier: Apache-2.0
// Rebuilding the manifest.
//
//   identity   store UUID from the head of a segment, or of a journal page; incarnation from the journal,
//              the youngest there is
//   segments   every one that can be opened; where two overlap (inputs of a merge that were not removed
//              yet) the one with the greater id. Deletions: the highest generation there is of each
//   streams    the catalogue copies in the segments, later ones over earlier; of two that claim one name or
//              subject the one with the greater id. last_seq is the greatest any segment knows. Repair puts
//              what the journal says of streams over them (salvage.c)
//   journal    every page names its LSN, and a page belongs where LSN and place agree within the piece: the
//              greatest such LSN of a piece says which LSNs it holds. The start is the lowest from which
//              pieces follow each other without a gap to the newest; it may be too low: events that are in
//              segments are skipped, marks are raised only
//
// What cannot be known: streams removed and marks set after the last segment that mentions them was
// written, when the journal has given them up already. Counts are guesses; repair counts anew.
#include "store/rebuild.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "io/io.h"
#include "store/deletions.h"
#include "store/directory.h"
#include "store/identity.h"
#include "store/salvage.h"

enum { PAGE_BATCH = 64 };

typedef struct rebuilding {
    const daybook_allocator *allocator;
    daybook_vfs *vfs;
    const char *directory;
    dbk_cache *cache;
    dbk_manifest *manifest;
    dbk_rebuild_report report;
    void *report_context;
    uint64_t *ids; // of segments
    size_t id_count;
    struct deletion_name {
        uint64_t segment_id, generation;
    } * deletions;
    size_t deletion_count;
    uint64_t number_max;
    bool has_identity;
    uint64_t *bases; // of each piece of the journal: its first LSN, 0 unknown
    uint32_t piece_count;
} rebuilding;

static int visit_name(void *context, const daybook_vfs_entry *entry) {
    rebuilding *work = context;
    uint64_t id = 0;
    uint64_t generation = 0;
    void *grown = NULL;
    switch (dbk_file_classify(entry->name, &id, &generation)) {
    case DBK_FILE_MANIFEST:
        if (id > work->number_max) work->number_max = id;
        break;
    case DBK_FILE_SEGMENT:
        grown = dbk_resize_array(work->allocator, work->ids, work->id_count + 1, sizeof *work->ids);
        if (grown == NULL) return 1;
        work->ids = grown;
        work->ids[work->id_count++] = id;
        break;
    case DBK_FILE_DELETIONS:
        grown = dbk_resize_array(work->allocator, work->deletions, work->deletion_count + 1,
                                 sizeof *work->deletions);
        if (grown == NULL) return 1;
        work->deletions = grown;
        work->deletions[work->deletion_count++] = (struct deletion_name){id, generation};
        break;
    default:
        break;
    }
    return 0;
}

static int newest_first(const void *a, const void *b) {
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return left > right ? -1 : left < right;
}

static daybook_status fail_memory(const rebuilding *work, daybook_error *error) {
    return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory while rebuilding the manifest of %s",
                    work->directory);
}

// ---- The journal's pages --------------------------------------------------------------------------------

// Bytes that are gone, as against a lack of means to look at them.
static bool is_lost(daybook_status status) {
    return status == DAYBOOK_EDAMAGED || status == DAYBOOK_EFOREIGN || status == DAYBOOK_ENOTFOUND ||
           status == DAYBOOK_EIO;
}

// What a page says of itself; its checksum is left to recovery, a page that lies finds no neighbours.
static void look_at_page(rebuilding *work, const uint8_t *page, uint64_t number) {
    static const uint8_t magic[4] = {'D', 'B', 'J', 'P'};
    if (memcmp(page, magic, sizeof magic) != 0) return;
    uint64_t lsn = dbk_get_u64(page + 40);
    if (lsn == 0 || lsn % DBK_JOURNAL_PIECE_PAGES != number % DBK_JOURNAL_PIECE_PAGES) return;
    if (!work->has_identity) {
        memcpy(work->manifest->store_uuid.bytes, page + 8, 16);
        work->has_identity = true;
    }
    if (memcmp(work->manifest->store_uuid.bytes, page + 8, 16) != 0) return;
    uint64_t base = lsn - lsn % DBK_JOURNAL_PIECE_PAGES;
    uint64_t *known = &work->bases[number / DBK_JOURNAL_PIECE_PAGES];
    if (base <= *known) return;
    *known = base;
    work->manifest->incarnation = dbk_get_u64(page + 24);
}

static daybook_status look_at_pages(rebuilding *work, daybook_file *file, const char *path, uint8_t *pages,
                                    uint64_t first, uint64_t count, daybook_error *error) {
    DBK_TRY(dbk_read_exactly(work->vfs, file, path, pages, count * DBK_JOURNAL_PAGE_SIZE,
                             first * DBK_JOURNAL_PAGE_SIZE, error));
    for (uint64_t i = 0; i < count; i++) look_at_page(work, pages + i * DBK_JOURNAL_PAGE_SIZE, first + i);
    return DAYBOOK_OK;
}
// A page less would make its piece look like one of an earlier lap: so nothing is left out that can be
// read, and it is told.
static daybook_status look_at_page_alone(rebuilding *work, daybook_file *file, const char *path,
                                         uint8_t *page, uint64_t number, daybook_error *error) {
    daybook_error detail;
    daybook_error_init(&detail);
    daybook_status status = look_at_pages(work, file, path, page, number, 1, &detail);
    if (status == DAYBOOK_OK) return status;
    if (is_lost(status)) {
        work->report(work->report_context, "journal", DBK_REBUILD_PAGE, &detail);
        return DAYBOOK_OK;
    }
    if (error != NULL) *error = detail;
    return status;
}

static daybook_status look_at_journal(rebuilding *work, daybook_error *error) {
    char path[DBK_PATH_SIZE_MAX];
    DBK_TRY(dbk_path_join(work->directory, "journal", path, error));
    daybook_file *file = NULL;
    int result = work->vfs->open(work->vfs, path, DAYBOOK_VFS_READ, &file);
    if (result == -ENOENT) return DAYBOOK_OK;
    if (result < 0) return dbk_fail_system(error, result, "open", path, 0);
    uint64_t size = 0;
    result = work->vfs->file_size(work->vfs, file, &size);
    uint64_t pieces = size / DBK_JOURNAL_PIECE_SIZE;
    work->piece_count = pieces > DBK_JOURNAL_PIECES_MAX ? DBK_JOURNAL_PIECES_MAX : (uint32_t)pieces;
    work->bases = dbk_alloc_zeroed(work->allocator, (work->piece_count + 1) * sizeof *work->bases);
    uint8_t *pages = dbk_alloc(work->allocator, PAGE_BATCH * DBK_JOURNAL_PAGE_SIZE);
    daybook_status status = DAYBOOK_OK;
    if (result < 0) status = dbk_fail_system(error, result, "read the size of", path, 0);
    if (work->bases == NULL || pages == NULL) status = fail_memory(work, error);
    uint64_t count = (uint64_t)work->piece_count * DBK_JOURNAL_PIECE_PAGES;
    for (uint64_t first = 0; status == DAYBOOK_OK && first < count; first += PAGE_BATCH) {
        status = look_at_pages(work, file, path, pages, first, PAGE_BATCH, error);
        if (!is_lost(status)) continue;
        status = DAYBOOK_OK;
        for (uint64_t i = 0; status == DAYBOOK_OK && i < PAGE_BATCH; i++)
            status = look_at_page_alone(work, file, path, pages, first + i, error);
    }
    dbk_free(work->allocator, pages);
    work->vfs->close(work->vfs, file);
    return status;
}

// The map: pieces by their LSNs, then those that hold none.
static daybook_status derive_map(rebuilding *work, daybook_error *error) {
    dbk_manifest *manifest = work->manifest;
    uint32_t count = work->piece_count;
    uint32_t *pieces = dbk_resize_array(work->allocator, NULL, count, sizeof *pieces);
    if (pieces == NULL) return fail_memory(work, error);
    uint64_t newest = 0;
    for (uint32_t i = 0; i < count; i++) newest = work->bases[i] > newest ? work->bases[i] : newest;
    // Downwards from the newest as long as there is a piece for the LSNs before.
    uint64_t first = newest;
    uint32_t used = 0;
    bool found = newest > 0;
    while (found) {
        found = false;
        for (uint32_t i = 0; i < count && !found; i++) {
            if (work->bases[i] != first) continue;
            pieces[used++] = i;
            work->bases[i] = UINT64_MAX; // taken
            found = true;
        }
        if (found) first -= DBK_JOURNAL_PIECE_PAGES;
        if (first == 0) break;
    }
    for (uint32_t i = 0; i < used / 2; i++) {
        uint32_t other = pieces[i];
        pieces[i] = pieces[used - 1 - i];
        pieces[used - 1 - i] = other;
    }
    manifest->journal_first_lsn = used > 0 ? newest - (uint64_t)(used - 1) * DBK_JOURNAL_PIECE_PAGES
                                           : DBK_JOURNAL_PIECE_PAGES;
    for (uint32_t i = 0; i < count; i++) {
        if (work->bases[i] != UINT64_MAX) pieces[used++] = i;
    }
    manifest->journal_pieces = pieces;
    manifest->journal_piece_count = count;
    manifest->journal_start_lsn = manifest->journal_first_lsn;
    manifest->journal_durable_lsn = manifest->journal_first_lsn;
    return DAYBOOK_OK;
}

// ---- Segments -------------------------------------------------------------------------------------------

static void look_at_head(rebuilding *work, uint64_t segment_id) {
    dbk_segment_head head;
    if (work->has_identity) return;
    if (!dbk_identity_read_segment_head(work->vfs, work->directory, segment_id, &head)) return;
    work->manifest->store_uuid = head.store_uuid;
    work->manifest->incarnation = head.incarnation;
    work->has_identity = true;
}

static bool overlaps(const dbk_manifest *manifest, const dbk_segment_summary *summary) {
    for (size_t i = 0; i < manifest->segment_count; i++) {
        const dbk_segment_summary *other = &manifest->segments[i].summary;
        if (other->position_first <= summary->position_last &&
            other->position_last >= summary->position_first)
            return true;
    }
    return false;
}

static uint64_t newest_generation(const rebuilding *work, uint64_t segment_id) {
    uint64_t generation = 0;
    for (size_t i = 0; i < work->deletion_count; i++) {
        const struct deletion_name *name = &work->deletions[i];
        if (name->segment_id == segment_id && name->generation > generation) generation = name->generation;
    }
    return generation;
}

static dbk_segment_config config_of(const rebuilding *work, uint64_t segment_id) {
    return (dbk_segment_config){.allocator = work->allocator,
                                .vfs = work->vfs,
                                .directory = work->directory,
                                .store_uuid = work->manifest->store_uuid,
                                .incarnation = work->manifest->incarnation,
                                .segment_id = segment_id,
                                .memory_max = 16 << 20};
}

static daybook_status take_segment(rebuilding *work, uint64_t segment_id, daybook_error *error) {
    dbk_manifest *manifest = work->manifest;
    dbk_segment_config config = config_of(work, segment_id);
    dbk_segment *segment = NULL;
    if (segment_id >= manifest->next_segment_id) manifest->next_segment_id = segment_id + 1;
    daybook_error detail;
    daybook_error_init(&detail);
    daybook_status status = dbk_segment_open(&config, work->cache, &segment, &detail);
    if (is_lost(status)) { // stays where it is
        char name[40];
        dbk_segment_name(segment_id, name);
        work->report(work->report_context, name, DBK_REBUILD_SEGMENT, &detail);
        return DAYBOOK_OK;
    }
    if (status != DAYBOOK_OK) {
        if (error != NULL) *error = detail;
        return status;
    }
    dbk_manifest_segment entry = {.summary = *dbk_segment_get_summary(segment),
                                  .deletion_generation = newest_generation(work, segment_id)};
    if (!overlaps(manifest, &entry.summary)) {
        dbk_manifest_edit edit;
        dbk_manifest_edit_init(&edit, work->allocator);
        dbk_manifest_edit_add_segment(&edit, &entry);
        uint64_t flushed = manifest->flushed_position > entry.summary.position_last
                               ? manifest->flushed_position
                               : entry.summary.position_last;
        int64_t recorded = manifest->last_recorded_ns > entry.summary.recorded_last_ns
                               ? manifest->last_recorded_ns
                               : entry.summary.recorded_last_ns;
        dbk_manifest_edit_set_flushed(&edit, flushed, recorded);
        if (dbk_manifest_apply(manifest, &edit) != DAYBOOK_OK) status = fail_memory(work, error);
        dbk_manifest_edit_deinit(&edit);
    }
    dbk_segment_unref(segment);
    return status;
}

// ---- Streams --------------------------------------------------------------------------------------------

// States only grow while catalogues are put over each other.
static void keep_greatest(dbk_manifest *manifest, const dbk_manifest *before) {
    for (size_t i = 0; i < manifest->stream_count; i++) {
        dbk_manifest_stream *stream = &manifest->streams[i];
        const dbk_manifest_stream *old = dbk_manifest_find_stream(before, stream->id);
        if (old == NULL) continue;
        if (old->last_seq > stream->last_seq) stream->last_seq = old->last_seq;
        if (old->first_seq > stream->first_seq) stream->first_seq = old->first_seq;
        if (old->first_position > stream->first_position) stream->first_position = old->first_position;
        if (old->last_recorded_ns > stream->last_recorded_ns)
            stream->last_recorded_ns = old->last_recorded_ns;
    }
}

static daybook_status take_catalogue(rebuilding *work, const dbk_manifest_segment *entry,
                                     daybook_error *error) {
    dbk_segment_config config = config_of(work, entry->summary.segment_id);
    dbk_segment *segment = NULL;
    dbk_buf records;
    dbk_buf_init(&records, work->allocator, (size_t)1 << 28);
    dbk_manifest before;
    daybook_status status = dbk_segment_open(&config, work->cache, &segment, error);
    if (status != DAYBOOK_OK) return status;
    daybook_error detail;
    daybook_error_init(&detail);
    status = dbk_segment_read_catalogue(segment, &records, &detail);
    if (is_lost(status)) {
        char name[40];
        dbk_segment_name(entry->summary.segment_id, name);
        work->report(work->report_context, name, DBK_REBUILD_CATALOGUE, &detail);
        status = DAYBOOK_OK;
    } else if (status != DAYBOOK_OK) {
        if (error != NULL) *error = detail;
    } else {
        status = dbk_manifest_copy(work->manifest, &before);
        if (status == DAYBOOK_OK) {
            status = dbk_manifest_apply_records(work->manifest, daybook_bytes(records.data, records.size));
            keep_greatest(work->manifest, &before);
            dbk_manifest_deinit(&before);
        }
        if (status == DAYBOOK_EDAMAGED) status = DAYBOOK_OK; // a catalogue that says nothing
        if (status != DAYBOOK_OK) (void)fail_memory(work, error);
    }
    dbk_buf_deinit(&records);
    dbk_segment_stream part;
    for (uint32_t i = 0; dbk_segment_get_stream(segment, i, &part); i++) {
        for (size_t at = 0; at < work->manifest->stream_count; at++) {
            dbk_manifest_stream *stream = &work->manifest->streams[at];
            if (stream->id == part.stream_id && part.last_seq > stream->last_seq)
                stream->last_seq = part.last_seq;
        }
    }
    dbk_segment_unref(segment);
    return status;
}

// ---- All of it ------------------------------------------------------------------------------------------

static daybook_status rebuild(rebuilding *work, daybook_error *error) {
    int result = work->vfs->list(work->vfs, work->directory, visit_name, work);
    if (result < 0) return dbk_fail_system(error, result, "list", work->directory, 0);
    if (result > 0) return fail_memory(work, error);
    if (work->id_count > 0) qsort(work->ids, work->id_count, sizeof *work->ids, newest_first);
    for (size_t i = 0; i < work->id_count; i++) look_at_head(work, work->ids[i]);
    DBK_TRY(look_at_journal(work, error));
    if (!work->has_identity) {
        return dbk_fail_damaged(
            error, work->directory, 0,
            "no file in %s tells which store it is: nothing can be repaired; restore a backup",
            work->directory);
    }
    work->manifest->number = work->number_max; // the first edit begins the next
    for (size_t i = 0; i < work->id_count; i++) DBK_TRY(take_segment(work, work->ids[i], error));
    for (size_t i = 0; i < work->manifest->segment_count; i++)
        DBK_TRY(take_catalogue(work, &work->manifest->segments[i], error));
    if (dbk_salvage_drop_replaced(work->manifest) != DAYBOOK_OK) return fail_memory(work, error);
    return derive_map(work, error);
}

daybook_status dbk_rebuild_manifest(const daybook_allocator *allocator, daybook_vfs *vfs,
                                    const char *directory, dbk_cache *cache, dbk_manifest *manifest,
                                    dbk_rebuild_report report, void *report_context, daybook_error *error) {
    rebuilding work = {.allocator = allocator,
                       .vfs = vfs,
                       .directory = directory,
                       .cache = cache,
                       .manifest = manifest,
                       .report = report,
                       .report_context = report_context};
    daybook_status status = rebuild(&work, error);
    dbk_free(allocator, work.ids);
    dbk_free(allocator, work.deletions);
    dbk_free(allocator, work.bases);
    return status;
}
