// SPDX-License-Identifier: Apache-2.0
// The catalogue of a journal that repair is about to replay.
//
// The records of streams are applied in the order of the journal to the catalogue the manifest has. Where
// that is younger than the record, one of three things is true: the stream was made and removed since, and
// the removal follows; it was changed since, and the change follows; or nothing happened to it. So what is
// there at the end is right, as long as the journal has no gap. Behind a gap a removal may be missing: then
// the younger of two streams that cannot live together, which is the one with the greater number, stays.
//
// Failure modes: records that cannot be decoded end the search (replay tells of them). EIO ends it too, and
// is kept in mind: where replay then reads everything, the catalogue is not to be trusted.
//
// Threads: none; repair holds the lock and is alone.
#include "store/salvage.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "store/recovery.h"

void dbk_salvage_deinit(dbk_salvage *salvage, const daybook_allocator *allocator) {
    dbk_free(allocator, salvage->removed);
    dbk_free(allocator, salvage->lost);
    *salvage = (dbk_salvage){0};
}

// ---- Streams that replace each other --------------------------------------------------------------------

static int greatest_first(const void *a, const void *b) {
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return left > right ? -1 : left < right;
}

static uint32_t number_of(dbk_slice key) {
    char text[16] = "";
    if (key.size < sizeof text) memcpy(text, key.data, key.size);
    return (uint32_t)strtoul(text, NULL, 10);
}

daybook_status dbk_salvage_drop_replaced(dbk_manifest *manifest) {
    const daybook_allocator *allocator = manifest->allocator;
    dbk_stream_table *table = NULL;
    dbk_manifest_edit edit;
    dbk_manifest_edit_init(&edit, allocator);
    dbk_slice *subjects =
        dbk_resize_array(allocator, NULL, DAYBOOK_STREAM_SUBJECT_COUNT_MAX, sizeof *subjects);
    daybook_status status = subjects == NULL ? DAYBOOK_ENOMEM : dbk_stream_table_new(allocator, &table);
    uint64_t *ids = dbk_resize_array(allocator, NULL, manifest->entry_count, sizeof *ids);
    if (ids == NULL) status = DAYBOOK_ENOMEM;
    for (size_t i = 0; status == DAYBOOK_OK && i < manifest->entry_count; i++)
        ids[i] = (uint64_t)number_of(manifest->entries[i].key) << 32 | i;
    if (status == DAYBOOK_OK && manifest->entry_count > 0)
        qsort(ids, manifest->entry_count, sizeof *ids, greatest_first);
    for (size_t i = 0; status == DAYBOOK_OK && i < manifest->entry_count; i++) {
        const dbk_manifest_entry *entry = &manifest->entries[ids[i] & UINT32_MAX];
        uint32_t id = 0;
        daybook_stream_config config;
        int64_t created_ns = 0;
        dbk_stream *stream = NULL;
        daybook_status added = dbk_stream_decode(entry->value, &id, &config, &created_ns, subjects);
        // The table takes ids in ascending order; here it only says whether two can live together.
        uint32_t rank = (uint32_t)i + 1;
        if (added == DAYBOOK_OK)
            added = dbk_stream_table_add(table, rank, &config, created_ns, &stream, NULL);
        if (added == DAYBOOK_ENOMEM) status = added;
        if (id >= manifest->next_stream_id) manifest->next_stream_id = id + 1;
        if (added == DAYBOOK_OK) continue;
        dbk_manifest_edit_remove_entry(&edit, entry->kind, entry->key);
        dbk_manifest_edit_remove_stream(&edit, (uint32_t)(ids[i] >> 32));
    }
    if (status == DAYBOOK_OK) status = dbk_manifest_apply(manifest, &edit);
    dbk_manifest_edit_deinit(&edit);
    dbk_stream_table_free(table);
    dbk_free(allocator, subjects);
    dbk_free(allocator, ids);
    return status;
}

// ---- Catalogue records of the journal -------------------------------------------------------------------

typedef struct collecting {
    dbk_salvage *salvage;
    dbk_manifest *manifest;
} collecting;

static daybook_status note_removed(dbk_salvage *salvage, const daybook_allocator *allocator, uint32_t id) {
    uint32_t *grown = dbk_grow_array(allocator, salvage->removed, &salvage->removed_capacity,
                                     salvage->removed_count + 1, sizeof *grown);
    if (grown == NULL) return DAYBOOK_ENOMEM;
    salvage->removed = grown;
    salvage->removed[salvage->removed_count++] = id;
    return DAYBOOK_OK;
}

static daybook_status take_entry(collecting *work, const dbk_catalogue_entry *entry) {
    dbk_manifest *manifest = work->manifest;
    uint32_t id = number_of(entry->key);
    dbk_manifest_edit edit;
    dbk_manifest_edit_init(&edit, manifest->allocator);
    daybook_status status = DAYBOOK_OK;
    if (entry->present) {
        dbk_manifest_edit_put_entry(&edit, entry->kind, entry->key, entry->value);
    } else {
        dbk_manifest_edit_remove_entry(&edit, entry->kind, entry->key);
        dbk_manifest_edit_remove_stream(&edit, id);
        status = note_removed(work->salvage, manifest->allocator, id);
    }
    if (status == DAYBOOK_OK) status = dbk_manifest_apply(manifest, &edit);
    if (status == DAYBOOK_OK && id >= manifest->next_stream_id) manifest->next_stream_id = id + 1;
    dbk_manifest_edit_deinit(&edit);
    return status;
}

static daybook_status visit_group(void *context, uint64_t first_lsn, uint64_t next_lsn, dbk_slice payload,
                                  daybook_error *error) {
    (void)first_lsn;
    (void)next_lsn;
    const uint8_t *at = payload.data;
    size_t left = payload.size;
    while (left > 0) {
        dbk_record_kind kind;
        size_t size = 0;
        dbk_catalogue_entry entry;
        daybook_status status = dbk_record_peek(daybook_bytes(at, left), &kind, &size);
        if (status == DAYBOOK_OK && kind == DBK_RECORD_CATALOGUE) {
            status = dbk_catalogue_decode(daybook_bytes(at, size), &entry);
            if (status == DAYBOOK_OK && entry.kind == DBK_CATALOGUE_STREAM)
                status = take_entry(context, &entry);
        }
        if (status != DAYBOOK_OK)
            return dbk_fail(error, status, "the streams in the journal cannot be read: %s",
                            daybook_status_text(status));
        at += size;
        left -= size;
    }
    return DAYBOOK_OK;
}

daybook_status dbk_salvage_catalogue(daybook_store *store, dbk_salvage *salvage, dbk_manifest *manifest,
                                     daybook_error *error) {
    char path[DBK_PATH_SIZE_MAX];
    dbk_journal_config config = dbk_store_journal_config(store, path);
    dbk_journal_map map = dbk_manifest_journal_map(&store->manifest);
    collecting work = {.salvage = salvage, .manifest = manifest};
    uint64_t start_lsn = manifest->journal_start_lsn;
    for (bool goes_on = map.piece_count > 0; goes_on;) {
        dbk_journal_recovery recovery = {0};
        daybook_error detail;
        daybook_error_init(&detail);
        daybook_status status = dbk_journal_recover(&config, &map, start_lsn, 0,
                                                    manifest->journal_durable_lsn, visit_group, &work,
                                                    &recovery, &detail);
        salvage->is_cut_short = salvage->is_cut_short || status == DAYBOOK_EIO;
        bool is_gone = status == DAYBOOK_EDAMAGED || status == DAYBOOK_EFOREIGN ||
                       status == DAYBOOK_EFORMAT || status == DAYBOOK_ENOTFOUND || status == DAYBOOK_EIO;
        if (status != DAYBOOK_OK && !is_gone) {
            if (error != NULL) *error = detail;
            return status;
        }
        goes_on = status == DAYBOOK_OK && recovery.damaged && recovery.resume_lsn > start_lsn;
        start_lsn = recovery.resume_lsn;
    }
    daybook_status status = dbk_salvage_drop_replaced(manifest);
    if (status != DAYBOOK_OK) return dbk_fail(error, status, "out of memory while repairing %s", store->path);
    return DAYBOOK_OK;
}

// ---- Events without a stream ----------------------------------------------------------------------------

daybook_status dbk_salvage_note_event(dbk_salvage *salvage, const daybook_allocator *allocator,
                                      const dbk_event *event) {
    for (size_t i = 0; i < salvage->removed_count; i++)
        if (salvage->removed[i] == event->stream_id) return DAYBOOK_OK;
    dbk_salvage_lost *lost = NULL;
    for (size_t i = 0; i < salvage->lost_count && lost == NULL; i++)
        if (salvage->lost[i].stream_id == event->stream_id) lost = &salvage->lost[i];
    if (lost == NULL) {
        dbk_salvage_lost *grown = dbk_grow_array(allocator, salvage->lost, &salvage->lost_capacity,
                                                 salvage->lost_count + 1, sizeof *grown);
        if (grown == NULL) return DAYBOOK_ENOMEM;
        salvage->lost = grown;
        lost = &grown[salvage->lost_count++];
        *lost = (dbk_salvage_lost){.stream_id = event->stream_id, .position_first = event->position};
    }
    lost->count++;
    lost->position_last = event->position;
    return DAYBOOK_OK;
}
