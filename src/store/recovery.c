// SPDX-License-Identifier: Apache-2.0
// Rebuilding memory. The manifest gives, for one point of the journal (its start LSN): which segments hold
// everything at or below flushed_position, which of their events are removed, the state of every stream and
// the catalogue. The journal from there on is replayed in order, so that afterwards memory is what it was
// when the last replayed group was published. Deletion files may already hold removals the replay meets
// again: marking twice is harmless, and counts come from the states and the records, never from the
// bitmaps.
//
// A journal may hold more than one memory table's worth of events; replay then freezes tables as it goes
// and captures at each freeze what a flush up to there must write (dbk_cut).
//
// Threads: a store being opened has one; a reader's refresh holds the follower's mutex.
#include "store/recovery.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "store/deletions.h"

enum { SKIPPED_SLOTS_MAX = 1 << 20 };

// ---- Cuts -----------------------------------------------------------------------------------------------

static void capture_stream(dbk_stream *stream, dbk_cut_stream *captured) {
    captured->stream = stream;
    captured->config = atomic_load(&stream->config);
    captured->state = (dbk_manifest_stream){
        .id = stream->id,
        .last_seq = stream->last_seq,
        .first_seq = atomic_load(&stream->first_seq),
        .first_position = atomic_load(&stream->first_position),
        .purged_position = atomic_load(&stream->purged_position),
        .message_count = atomic_load(&stream->message_count),
        .byte_count = atomic_load(&stream->byte_count),
        .last_recorded_ns = atomic_load(&stream->last_recorded_ns),
    };
}

void dbk_cut_capture(daybook_store *store, dbk_cut *cut) {
    dbk_cut_deinit(store, cut);
    dbk_stream **streams = NULL;
    size_t count = 0;
    cut->status = dbk_stream_table_all(store->streams, &streams, &count);
    if (cut->status == DAYBOOK_OK) {
        cut->streams = dbk_resize_array(store->allocator, NULL, count, sizeof *cut->streams);
        if (cut->streams == NULL) cut->status = DAYBOOK_ENOMEM;
    }
    if (cut->status == DAYBOOK_OK) {
        for (size_t i = 0; i < count; i++) capture_stream(streams[i], &cut->streams[i]);
        cut->stream_count = count;
    }
    cut->position_last = store->active->position_first - 1;
    cut->last_recorded_ns = store->last_recorded_ns;
    cut->positions_end = store->positions_end;
    cut->trim_from = dbk_commit_trim_from(store);
    cut->next_stream_id = dbk_stream_table_next_id(store->streams);
    dbk_free(store->allocator, streams);
}

void dbk_cut_deinit(daybook_store *store, dbk_cut *cut) {
    dbk_free(store->allocator, cut->streams);
    *cut = (dbk_cut){0};
}

static bool same_state(const dbk_manifest_stream *a, const dbk_manifest_stream *b) {
    return a->last_seq == b->last_seq && a->first_seq == b->first_seq &&
           a->first_position == b->first_position && a->purged_position == b->purged_position &&
           a->message_count == b->message_count && a->byte_count == b->byte_count &&
           a->last_recorded_ns == b->last_recorded_ns;
}

static daybook_status write_entry(const dbk_cut_stream *captured, const dbk_manifest *manifest,
                                  dbk_buf *scratch, dbk_manifest_edit *edit) {
    char text[16];
    dbk_slice key = dbk_stream_key(captured->state.id, text);
    dbk_buf_reset(scratch);
    DBK_TRY(dbk_stream_encode(captured->state.id, captured->config, captured->stream->created_ns, scratch));
    dbk_slice value = daybook_bytes(scratch->data, scratch->size);
    const dbk_manifest_entry *known = dbk_manifest_find_entry(manifest, DBK_CATALOGUE_STREAM, key);
    if (known == NULL || !dbk_slice_equal(known->value, value)) {
        dbk_manifest_edit_put_entry(edit, DBK_CATALOGUE_STREAM, key, value);
    }
    return DAYBOOK_OK;
}

static bool has_stream(const dbk_cut *cut, uint32_t id) {
    size_t low = 0;
    for (size_t high = cut->stream_count; low < high;) {
        size_t middle = low + (high - low) / 2;
        if (cut->streams[middle].state.id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < cut->stream_count && cut->streams[low].state.id == id;
}

// Streams that are gone leave the manifest, their entries too.
static void write_gone(const dbk_cut *cut, const dbk_manifest *manifest, dbk_manifest_edit *edit) {
    for (size_t i = 0; i < manifest->stream_count; i++) {
        uint32_t id = manifest->streams[i].id;
        if (has_stream(cut, id)) continue;
        char text[16];
        dbk_manifest_edit_remove_stream(edit, id);
        dbk_manifest_edit_remove_entry(edit, DBK_CATALOGUE_STREAM, dbk_stream_key(id, text));
    }
}

daybook_status dbk_cut_write(const dbk_cut *cut, const dbk_manifest *manifest, dbk_manifest_edit *edit) {
    dbk_buf scratch;
    dbk_buf_init(&scratch, manifest->allocator, DBK_RECORD_SIZE_MAX);
    daybook_status status = DAYBOOK_OK;
    for (size_t i = 0; status == DAYBOOK_OK && i < cut->stream_count; i++) {
        const dbk_cut_stream *captured = &cut->streams[i];
        const dbk_manifest_stream *known = dbk_manifest_find_stream(manifest, captured->state.id);
        if (known == NULL || !same_state(known, &captured->state))
            dbk_manifest_edit_put_stream(edit, &captured->state);
        status = write_entry(captured, manifest, &scratch, edit);
    }
    dbk_buf_deinit(&scratch);
    if (status == DAYBOOK_OK) write_gone(cut, manifest, edit);
    return status == DAYBOOK_OK ? dbk_buf_status(&edit->records) : status;
}

// ---- Configurations of lower layers ---------------------------------------------------------------------

dbk_segment_config dbk_store_segment_config(const daybook_store *store, uint64_t segment_id) {
    return (dbk_segment_config){
        .allocator = store->allocator,
        .vfs = store->vfs,
        .directory = store->path,
        .store_uuid = store->uuid,
        .incarnation = store->incarnation,
        .segment_id = segment_id,
        .memory_max = (size_t)(store->options.memory_budget_bytes / 8),
    };
}

dbk_journal_config dbk_store_journal_config(const daybook_store *store, char path[DBK_PATH_SIZE_MAX]) {
    (void)dbk_path_join(store->path, "journal", path,
                        NULL); // longer names were joined when the store was opened
    return (dbk_journal_config){
        .allocator = store->allocator,
        .vfs = store->vfs,
        .path = path,
        .store_uuid = store->uuid,
        .incarnation = store->incarnation,
    };
}

// ---- The manifest ---------------------------------------------------------------------------------------

void dbk_recovery_log_copies(daybook_store *store, bool damage_only) {
    const dbk_manifest *manifest = &store->manifest;
    for (unsigned copy = 0; copy < DBK_MANIFEST_COPY_COUNT; copy++) {
        const dbk_manifest_copy_state *state = &manifest->file.states[copy];
        bool is_damage = dbk_manifest_copy_is_damage(state);
        if (state->kind == DBK_MANIFEST_COPY_SOUND || (damage_only && !is_damage)) continue;
        char name[DBK_MANIFEST_NAME_SIZE];
        char text[256];
        dbk_manifest_name(manifest->number, copy, name);
        dbk_manifest_file_describe(&manifest->file, copy, text, sizeof text);
        dbk_store_log(store, is_damage ? DAYBOOK_LOG_WARNING : DAYBOOK_LOG_INFO,
                      "%s: %s; a writer writes both copies anew", name, text);
    }
}

// ---- Streams --------------------------------------------------------------------------------------------

static void set_state(dbk_stream *stream, const dbk_manifest_stream *state) {
    const daybook_stream_config *config = atomic_load(&stream->config);
    uint64_t first_seq = config->first_seq > 1 ? config->first_seq : 1;
    dbk_manifest_stream nothing = {.first_seq = first_seq, .last_seq = first_seq - 1};
    if (state == NULL) state = &nothing;
    stream->last_seq = state->last_seq;
    atomic_store(&stream->first_seq, state->first_seq > first_seq ? state->first_seq : first_seq);
    atomic_store(&stream->first_position, state->first_position);
    atomic_store(&stream->purged_position, state->purged_position);
    atomic_store(&stream->message_count, state->message_count);
    atomic_store(&stream->byte_count, state->byte_count);
    atomic_store(&stream->published_seq, state->last_seq);
    atomic_store(&stream->last_recorded_ns, state->last_recorded_ns);
}

static bool same_config(const daybook_allocator *allocator, const dbk_stream *stream, dbk_slice value) {
    dbk_buf present;
    dbk_buf_init(&present, allocator, DBK_RECORD_SIZE_MAX);
    bool same = dbk_stream_encode(stream->id, atomic_load(&stream->config), stream->created_ns, &present) ==
                    DAYBOOK_OK &&
                dbk_slice_equal(daybook_bytes(present.data, present.size), value);
    dbk_buf_deinit(&present);
    return same;
}

static daybook_status load_stream(daybook_store *store, const dbk_manifest *manifest,
                                  const dbk_manifest_entry *entry, dbk_slice *subjects,
                                  daybook_error *error) {
    uint32_t id = 0;
    daybook_stream_config config;
    int64_t created_ns = 0;
    if (dbk_stream_decode(entry->value, &id, &config, &created_ns, subjects) != DAYBOOK_OK) {
        return dbk_fail(error, DAYBOOK_EDAMAGED,
                        "the manifest of %s holds a stream that cannot be read; run daybook verify",
                        store->path);
    }
    dbk_stream *stream = dbk_stream_table_find_id(store->streams, id);
    if (stream == NULL) {
        DBK_TRY(dbk_stream_table_add(store->streams, id, &config, created_ns, &stream, error));
    } else if (!same_config(store->allocator, stream, entry->value)) {
        DBK_TRY(dbk_stream_table_update(store->streams, stream, &config, error));
    }
    set_state(stream, dbk_manifest_find_stream(manifest, id));
    return DAYBOOK_OK;
}

static daybook_status remove_unknown_streams(daybook_store *store, const dbk_manifest *manifest,
                                             daybook_error *error) {
    dbk_stream **streams = NULL;
    size_t count = 0;
    daybook_status status = dbk_stream_table_all(store->streams, &streams, &count);
    if (status != DAYBOOK_OK)
        return dbk_fail(error, status, "out of memory while reading the streams of %s", store->path);
    for (size_t i = 0; i < count; i++) {
        char text[16];
        dbk_slice key = dbk_stream_key(streams[i]->id, text);
        if (dbk_manifest_find_entry(manifest, DBK_CATALOGUE_STREAM, key) == NULL) {
            dbk_stream_table_remove(store->streams, streams[i]);
        }
    }
    dbk_free(store->allocator, streams);
    return DAYBOOK_OK;
}

daybook_status dbk_recovery_load_streams(daybook_store *store, const dbk_manifest *manifest,
                                         daybook_error *error) {
    // First what is gone, so that names and subjects are free for those that came after.
    DBK_TRY(remove_unknown_streams(store, manifest, error));
    dbk_slice *subjects =
        dbk_resize_array(store->allocator, NULL, DAYBOOK_STREAM_SUBJECT_COUNT_MAX, sizeof *subjects);
    if (subjects == NULL)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory while reading the streams of %s", store->path);
    daybook_status status = DAYBOOK_OK;
    for (size_t i = 0; status == DAYBOOK_OK && i < manifest->entry_count; i++) {
        if (manifest->entries[i].kind != DBK_CATALOGUE_STREAM) continue;
        status = load_stream(store, manifest, &manifest->entries[i], subjects, error);
    }
    dbk_free(store->allocator, subjects);
    if (status == DAYBOOK_OK && manifest->next_stream_id > dbk_stream_table_next_id(store->streams)) {
        dbk_stream_table_set_next_id(store->streams, manifest->next_stream_id);
    }
    return status;
}

// ---- Segments -------------------------------------------------------------------------------------------

static daybook_status load_deletions(daybook_store *store, dbk_source *source, uint64_t segment_id,
                                     uint64_t generation, daybook_error *error) {
    if (generation == 0 || generation <= source->dead.generation) return DAYBOOK_OK;
    dbk_deletions_config config = {.allocator = store->allocator,
                                   .vfs = store->vfs,
                                   .directory = store->path,
                                   .store_uuid = store->uuid,
                                   .segment_id = segment_id,
                                   .generation = generation};
    roaring_bitmap_t *removed = NULL;
    roaring_bitmap_t *for_ever = NULL;
    DBK_TRY(dbk_deletions_read(&config, &removed, &for_ever, error));
    pthread_rwlock_wrlock(&source->dead.lock);
    roaring_bitmap_or_inplace(source->dead.removed, removed);
    roaring_bitmap_or_inplace(source->dead.for_ever, for_ever);
    source->dead.generation = generation;
    atomic_store_explicit(&source->dead.count, roaring_bitmap_get_cardinality(source->dead.removed),
                          memory_order_release);
    pthread_rwlock_unlock(&source->dead.lock);
    roaring_bitmap_free(removed);
    roaring_bitmap_free(for_ever);
    return DAYBOOK_OK;
}

static dbk_source *find_source(dbk_view *view, uint64_t segment_id) {
    for (size_t i = 0; view != NULL && i < view->segment_count; i++) {
        const dbk_segment *segment = view->sources[i]->segment;
        if (segment != NULL && dbk_segment_get_summary(segment)->segment_id == segment_id)
            return view->sources[i];
    }
    return NULL;
}

// The manifest and the file must speak of the same thing.
static daybook_status check_summary(const daybook_store *store, const dbk_segment_summary *said,
                                    const dbk_segment_summary *found, daybook_error *error) {
    char name[40];
    dbk_segment_name(said->segment_id, name);
    if (said->position_first == found->position_first && said->position_last == found->position_last &&
        said->event_count == found->event_count && said->file_bytes == found->file_bytes) {
        return DAYBOOK_OK;
    }
    return dbk_fail_damaged(
        error, name, 0, "%s of %s is not the file the manifest names: it was replaced; run daybook verify",
        name, store->path);
}

// The manifest names a file that is not there.
static daybook_status fail_missing(const daybook_store *store, const char *name,
                                   const dbk_segment_summary *summary, daybook_error *error) {
    return dbk_fail_damaged(error, name, 0,
                            "%s/%s is missing: the events at positions %llu to %llu are in it; put it back, "
                            "or run daybook repair",
                            store->path, name, (unsigned long long)summary->position_first,
                            (unsigned long long)summary->position_last);
}

static daybook_status open_source(daybook_store *store, const dbk_manifest_segment *entry,
                                  dbk_source **source_out, daybook_error *error) {
    const dbk_segment_summary *summary = &entry->summary;
    dbk_segment_config config = dbk_store_segment_config(store, summary->segment_id);
    dbk_segment *segment = NULL;
    char name[64];
    daybook_status status = dbk_segment_open(&config, store->cache, &segment, error);
    if (status == DAYBOOK_ENOTFOUND) {
        dbk_segment_name(summary->segment_id, name);
        status = fail_missing(store, name, summary, error);
    }
    if (status == DAYBOOK_OK) status = check_summary(store, summary, dbk_segment_get_summary(segment), error);
    if (status != DAYBOOK_OK) {
        if (segment != NULL) dbk_segment_unref(segment);
        return status;
    }
    dbk_source *source = NULL;
    status = dbk_source_new(store->allocator, NULL, segment, summary->position_first, summary->position_last,
                            &source);
    if (status != DAYBOOK_OK) {
        dbk_segment_unref(segment);
        return dbk_fail(error, status, "out of memory while opening %s", store->path);
    }
    status = load_deletions(store, source, summary->segment_id, entry->deletion_generation, error);
    if (status == DAYBOOK_ENOTFOUND) {
        dbk_deletions_name(summary->segment_id, entry->deletion_generation, name);
        status = fail_missing(store, name, summary, error);
    }
    if (status != DAYBOOK_OK) {
        dbk_source_unref(source);
        return status;
    }
    *source_out = source;
    return DAYBOOK_OK;
}

static bool is_damage(daybook_status status) {
    return status == DAYBOOK_EDAMAGED || status == DAYBOOK_EFOREIGN || status == DAYBOOK_EIO;
}

static daybook_status open_or_stand_in(daybook_store *store, const dbk_manifest_segment *entry, bool lenient,
                                       dbk_source **source_out, daybook_error *error) {
    daybook_error detail;
    daybook_error_init(&detail);
    daybook_status status = open_source(store, entry, source_out, &detail);
    if (lenient && is_damage(status)) {
        const dbk_segment_summary *summary = &entry->summary;
        dbk_store_log(store, DAYBOOK_LOG_ERROR, "%s", detail.message);
        status = dbk_source_new_damaged(store->allocator, summary->position_first, summary->position_last,
                                        detail.message, source_out);
        if (status != DAYBOOK_OK)
            (void)dbk_fail(&detail, status, "out of memory while opening %s", store->path);
    }
    if (status != DAYBOOK_OK && error != NULL) *error = detail;
    return status;
}

daybook_status dbk_recovery_open_segments(daybook_store *store, const dbk_manifest *manifest, dbk_view *reuse,
                                          size_t extra, bool lenient, dbk_source ***sources_out,
                                          size_t *count_out, daybook_error *error) {
    *sources_out = NULL;
    dbk_source **sources =
        dbk_resize_array(store->allocator, NULL, manifest->segment_count + extra, sizeof *sources);
    if (sources == NULL)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory while opening %s", store->path);
    size_t count = 0;
    daybook_status status = DAYBOOK_OK;
    for (size_t i = 0; status == DAYBOOK_OK && i < manifest->segment_count; i++) {
        const dbk_manifest_segment *entry = &manifest->segments[i];
        dbk_source *known = find_source(reuse, entry->summary.segment_id);
        if (known != NULL) {
            sources[count++] = dbk_source_ref(known);
            status =
                load_deletions(store, known, entry->summary.segment_id, entry->deletion_generation, error);
        } else {
            status = open_or_stand_in(store, entry, lenient, &sources[count], error);
            if (status == DAYBOOK_OK) count++;
        }
    }
    if (status != DAYBOOK_OK) {
        for (size_t i = 0; i < count; i++) dbk_source_unref(sources[i]);
        dbk_free(store->allocator, sources);
        return status;
    }
    *sources_out = sources;
    *count_out = count;
    return DAYBOOK_OK;
}

// ---- Views ----------------------------------------------------------------------------------------------

static daybook_status new_active(daybook_store *store, uint64_t position_first, dbk_source **source_out) {
    dbk_memtable *memtable = NULL;
    DBK_TRY(dbk_memtable_new(store->allocator, position_first, &memtable));
    daybook_status status =
        dbk_source_new(store->allocator, memtable, NULL, position_first, UINT64_MAX, source_out);
    if (status != DAYBOOK_OK) dbk_memtable_unref(memtable);
    return status;
}

daybook_status dbk_recovery_begin_view(daybook_store *store, dbk_source **sources, size_t segment_count,
                                       uint64_t position_first, uint64_t generation, daybook_error *error) {
    dbk_source *active = NULL;
    dbk_view *view = NULL;
    daybook_status status = new_active(store, position_first, &active);
    if (status == DAYBOOK_OK) {
        sources[segment_count] = active;
        status = dbk_view_new(store->allocator, generation, sources, segment_count, segment_count + 1, &view);
    }
    if (status != DAYBOOK_OK) {
        dbk_source_unref(active);
        return dbk_fail(error, status, "out of memory while opening %s", store->path);
    }
    dbk_free(store->allocator, sources);
    store->active = active;
    store->next_position = position_first;
    dbk_store_set_view(store, view);
    return DAYBOOK_OK;
}

daybook_status dbk_recovery_roll(daybook_store *store, uint64_t position_first) {
    dbk_source *fresh = NULL;
    DBK_TRY(new_active(store, position_first, &fresh));
    dbk_view *old = dbk_store_get_view(store);
    dbk_source **sources = dbk_resize_array(store->allocator, NULL, old->source_count + 1, sizeof *sources);
    dbk_view *view = NULL;
    daybook_status status = sources == NULL ? DAYBOOK_ENOMEM : DAYBOOK_OK;
    if (status == DAYBOOK_OK) {
        memcpy(sources, old->sources, old->source_count * sizeof *sources);
        sources[old->source_count] = fresh;
        atomic_store(&store->active->position_last, position_first - 1);
        status = dbk_view_new(store->allocator, old->generation, sources, old->segment_count,
                              old->source_count + 1, &view);
        if (status != DAYBOOK_OK) atomic_store(&store->active->position_last, UINT64_MAX);
    }
    if (status == DAYBOOK_OK) {
        for (size_t i = 0; i < old->source_count; i++) dbk_source_ref(old->sources[i]);
        store->active = fresh;
        dbk_store_set_view(store, view);
    } else {
        dbk_source_unref(fresh);
    }
    dbk_free(store->allocator, sources);
    dbk_view_unref(old);
    return status;
}

daybook_status dbk_recovery_skip_to(daybook_store *store, uint64_t position) {
    dbk_memtable *memtable = store->active->memtable;
    // A slot costs memory, a table that begins elsewhere costs a flush.
    if (position - dbk_memtable_position_end(memtable) <= SKIPPED_SLOTS_MAX) {
        DBK_TRY(dbk_memtable_skip_to(memtable, position));
    } else {
        DBK_TRY(dbk_recovery_roll(store, position));
    }
    store->next_position = position;
    return DAYBOOK_OK;
}

// ---- Replay ---------------------------------------------------------------------------------------------

static daybook_status replay_group(void *context, uint64_t first_lsn, uint64_t next_lsn, dbk_slice payload,
                                   daybook_error *error) {
    (void)first_lsn;
    dbk_replay *replay = context;
    daybook_store *store = replay->store;
    const uint8_t *at = payload.data;
    size_t left = payload.size;
    while (left > 0) {
        dbk_record_kind kind;
        size_t size = 0;
        daybook_status status = dbk_record_peek(daybook_bytes(at, left), &kind, &size);
        if (status != DAYBOOK_OK) {
            return dbk_fail(error, status,
                            "the journal of %s holds a record this program cannot read; run daybook verify",
                            store->path);
        }
        DBK_TRY(dbk_store_replay(store, daybook_bytes(at, size), error));
        at += size;
        left -= size;
    }
    replay->next_lsn = next_lsn;
    store->next_position = dbk_memtable_position_end(store->active->memtable);
    bool is_full = dbk_memtable_bytes(store->active->memtable) >= replay->roll_bytes &&
                   store->next_position > store->active->position_first;
    if (!is_full) return DAYBOOK_OK;
    daybook_status status = dbk_recovery_roll(store, store->next_position);
    if (status == DAYBOOK_OK && replay->cut != NULL) {
        dbk_cut_capture(store, replay->cut);
        status = replay->cut->status;
        replay->cut->flush_lsn = next_lsn;
        replay->cut->valid = status == DAYBOOK_OK;
    }
    if (status != DAYBOOK_OK)
        return dbk_fail(error, status, "out of memory while replaying the journal of %s", store->path);
    return DAYBOOK_OK;
}

daybook_status dbk_recovery_replay(dbk_replay *replay, const dbk_manifest *manifest, uint64_t start_lsn,
                                   uint64_t stop_lsn, uint64_t known_durable_lsn,
                                   dbk_journal_recovery *recovery_out, daybook_error *error) {
    char path[DBK_PATH_SIZE_MAX];
    dbk_journal_config config = dbk_store_journal_config(replay->store, path);
    dbk_journal_map map = dbk_manifest_journal_map(manifest);
    replay->next_lsn = start_lsn;
    DBK_TRY(dbk_journal_recover(&config, &map, start_lsn, stop_lsn, known_durable_lsn, replay_group, replay,
                                recovery_out, error));
    bool is_clean_end = manifest->closed_clean && stop_lsn == manifest->journal_durable_lsn;
    if (replay->store->lock_file == NULL || !is_clean_end || recovery_out->damaged) return DAYBOOK_OK;
    // The mark of a clean end is taken back before anything is written behind it. (A reader may be looking at
    // a manifest that a writer is just replacing.)
    bool goes_on = false;
    DBK_TRY(dbk_journal_has_group(&config, &map, stop_lsn, &goes_on, error));
    if (!goes_on) return DAYBOOK_OK;
    recovery_out->damaged = true;
    recovery_out->damage_lsn = stop_lsn;
    recovery_out->damage_offset = 0;
    (void)snprintf(
        recovery_out->damage_text, sizeof recovery_out->damage_text,
        "the manifest says that it ended at LSN %llu, and it goes on: the manifest is an older one",
        (unsigned long long)stop_lsn);
    return DAYBOOK_OK;
}
