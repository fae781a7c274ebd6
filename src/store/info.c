// SPDX-License-Identifier: Apache-2.0
// What a store says of itself. Numbers are taken one after the other while others work: each is right,
// together they may be of slightly different moments. Any thread. Also its room for an engine
// (engine_slot.h).
#include "base/error.h"
#include "store/store_internal.h"

static void add_view(daybook_store *store, daybook_store_info *info) {
    dbk_view *view = dbk_store_get_view(store);
    for (size_t i = 0; i < view->segment_count; i++) {
        dbk_segment_sizes sizes;
        dbk_segment_get_sizes(view->sources[i]->segment, &sizes);
        info->block_bytes += sizes.blocks;
        info->index_bytes += sizes.terms + sizes.filters + sizes.block_index;
    }
    info->memory_bytes = dbk_cache_bytes(store->cache);
    for (size_t i = view->segment_count; i < view->source_count; i++) {
        if (view->sources[i]->memtable != NULL)
            info->memory_bytes += dbk_memtable_bytes(view->sources[i]->memtable);
    }
    dbk_view_unref(view);
}

static daybook_status add_streams(daybook_store *store, daybook_store_info *info, daybook_error *error) {
    dbk_stream **streams = NULL;
    size_t count = 0;
    daybook_status status = dbk_stream_table_all(store->streams, &streams, &count);
    if (status != DAYBOOK_OK) return dbk_fail(error, status, "out of memory while asking %s", store->path);
    info->stream_count = count;
    for (size_t i = 0; status == DAYBOOK_OK && i < count; i++) {
        const daybook_stream_config *config = atomic_load(&streams[i]->config);
        uint64_t expired_count, expired_bytes, live = atomic_load(&streams[i]->message_count);
        status = dbk_store_count_expired(store, streams[i], &expired_count, &expired_bytes, error);
        info->event_count += live - (expired_count < live ? expired_count : live);
        bool is_internal = (config->flags & DAYBOOK_STREAM_INTERNAL) != 0; // it promises nothing to anybody
        info->sync_interval_streams += config->sync_interval_ns > 0 && !is_internal;
    }
    dbk_free(store->allocator, streams);
    return status;
}

void dbk_store_note_manifest(daybook_store *store) {
    const dbk_manifest *manifest = &store->manifest;
    uint64_t segment_bytes = 0;
    for (size_t i = 0; i < manifest->segment_count; i++)
        segment_bytes += manifest->segments[i].summary.file_bytes;
    atomic_store(&store->segment_count, manifest->segment_count);
    atomic_store(&store->segment_bytes, segment_bytes);
    atomic_store(&store->journal_bytes, (uint64_t)manifest->journal_piece_count * DBK_JOURNAL_PIECE_SIZE);
    atomic_store(&store->manifest_edit, manifest->edit_count);
}

daybook_engine *dbk_store_engine_slot(daybook_store *store, const daybook_engine *head) {
    pthread_mutex_lock(&store->state_lock);
    if (store->engine.calls == NULL) {
        store->engine = *head;
        store->engine.read_only = store->read_only;
    }
    pthread_mutex_unlock(&store->state_lock);
    return &store->engine;
}

daybook_store *dbk_store_of_engine(daybook_engine *engine) {
    return (daybook_store *)(void *)((char *)engine - offsetof(daybook_store, engine));
}

const char *daybook_store_path(const daybook_store *store) {
    return store == NULL || store->owned_vfs != NULL ? NULL : store->path;
}

daybook_status daybook_info(daybook_store *store, daybook_store_info *info_out, daybook_error *error) {
    if (store == NULL || info_out == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE, "daybook_info without store or info_out");
    if (store->read_only) DBK_TRY(dbk_follower_refresh(store, error));
    daybook_store_info info = {.size = sizeof info};
    dbk_uuid_format(&store->uuid, info.uuid);
    info.durable_position = atomic_load(&store->durable_position);
    info.flushed_position = atomic_load(&store->flushed_position);
    DBK_TRY(add_streams(store, &info, error));
    // Not from the manifest: its lock is held while the journal is filled with zeros.
    info.segment_count = atomic_load(&store->segment_count);
    info.segment_bytes = atomic_load(&store->segment_bytes);
    info.journal_bytes = atomic_load(&store->journal_bytes);
    if (store->journal != NULL)
        info.journal_used_bytes = dbk_journal_used_pages(store->journal) * DBK_JOURNAL_PAGE_SIZE;
    if (store->journal == NULL) info.journal_used_bytes = store->open_replayed_bytes;
    add_view(store, &info);
    info.group_count = atomic_load(&store->group_count);
    info.commit_count = atomic_load(&store->commit_count);
    info.flush_count = atomic_load(&store->flush_count);
    info.merge_count = atomic_load(&store->merge_count);
    info.flushed_bytes = atomic_load(&store->flushed_bytes);
    info.merged_bytes = atomic_load(&store->merged_bytes);
    info.open_replayed_bytes = store->open_replayed_bytes;
    info.open_torn_pages = store->open_torn_pages;
    pthread_mutex_lock(&store->state_lock);
    info.last_recorded_ns = store->last_recorded_ns;
    pthread_mutex_unlock(&store->state_lock);
    info.clock_held_ns = dbk_clock_held_ns(store);
    info.background = dbk_maintenance_running(store);
    info.read_only = store->read_only;
    info.poisoned = atomic_load(&store->poisoned);
    // A caller built against an older header has a shorter struct.
    size_t size = info_out->size > 0 && info_out->size < sizeof info ? info_out->size : sizeof info;
    info.size = size;
    memcpy(info_out, &info, size);
    return DAYBOOK_OK;
}
