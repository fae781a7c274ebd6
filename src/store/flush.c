// SPDX-License-Identifier: Apache-2.0
// Flushing: the frozen memory tables become one segment, the manifest names it, the journal before it is
// given up.
//
// 1. Cut: the active table is frozen and what the manifest must say at that point of the journal is
//    captured (commit order decides the point; dbk_commit_rotate). From here on the cut is pending until it
//    is written, over failures too.
// 2. Write: events of the frozen tables into a new segment, without locks. Events removed by now leave
//   their ids only.
// 3. Publish, under maintenance_lock: removed events of older segments into new deletion files; one
//    manifest edit (segment, states and catalogue of the cut, journal start at the cut, freed pieces at its
//    end); then the view takes the segment in place of the tables, with what was removed since step 2.
//
// Why nothing is lost or comes back: a removal below the cut's LSN was applied before the cut, so it is
// either in the segment's absence of the event or in a deletion file of this edit; one above it is
// replayed. Counts are the cut's, the journal from there on changes them. Marking twice is harmless.
//
// Failures: nothing was given up before the edit is durable, so each step may fail and be tried again. When
// the edit itself fails it may be on disk all the same; the files it names stay until a later edit
// succeeded (dbk_remove_file_later). On a full disk each step gives up the reserve and tries once more.
#include <stdio.h>
#include <string.h>

#include "base/time.h"
#include "store/deletions.h"
#include "store/maintenance.h"
#include "store/reserve.h"

enum { TRAIN_BYTES_MAX = 2 << 20, TRAIN_COUNT_MAX = 8192, RATE_BYTES_MIN = 64 << 10 };

// ---- Removed events -------------------------------------------------------------------------------------

daybook_status dbk_dead_copy_take(dbk_source *source, dbk_dead_copy *copy_out) {
    pthread_rwlock_rdlock(&source->dead.lock);
    copy_out->removed = roaring_bitmap_copy(source->dead.removed);
    copy_out->for_ever = roaring_bitmap_copy(source->dead.for_ever);
    pthread_rwlock_unlock(&source->dead.lock);
    if (copy_out->removed != NULL && copy_out->for_ever != NULL) return DAYBOOK_OK;
    dbk_dead_copy_deinit(copy_out);
    return DAYBOOK_ENOMEM;
}

void dbk_dead_copy_deinit(dbk_dead_copy *copy) {
    if (copy->removed != NULL) roaring_bitmap_free(copy->removed);
    if (copy->for_ever != NULL) roaring_bitmap_free(copy->for_ever);
    *copy = (dbk_dead_copy){0};
}

daybook_status dbk_write_deletions(daybook_store *store, uint64_t segment_id, const dbk_dead_copy *dead,
                                   uint64_t *generation_out, daybook_error *error) {
    *generation_out = 0;
    if (roaring_bitmap_is_empty(dead->removed)) return DAYBOOK_OK;
    dbk_deletions_config config = {.allocator = store->allocator,
                                   .vfs = store->vfs,
                                   .directory = store->path,
                                   .store_uuid = store->uuid,
                                   .segment_id = segment_id,
                                   .generation = atomic_fetch_add(&store->maintenance->next_generation, 1)};
    daybook_status status = dbk_deletions_write(&config, dead->removed, dead->for_ever, error);
    if (status == DAYBOOK_ENOSPC && dbk_make_space(store)) {
        config.generation = atomic_fetch_add(&store->maintenance->next_generation, 1);
        status = dbk_deletions_write(&config, dead->removed, dead->for_ever, error);
    }
    DBK_TRY(status);
    *generation_out = config.generation;
    return DAYBOOK_OK;
}

// ---- Files that are no longer needed --------------------------------------------------------------------

void dbk_remove_file(daybook_store *store, const char *name) {
    char path[DBK_PATH_SIZE_MAX];
    if (dbk_path_join(store->path, name, path, NULL) != DAYBOOK_OK) return;
    int result = store->vfs->unlink(store->vfs, path);
    if (result < 0)
        dbk_store_log(store, DAYBOOK_LOG_WARNING, "%s is not needed any more but cannot be removed: errno %d",
                      path, -result);
}

void dbk_remove_file_later(daybook_store *store, const char *name) {
    struct dbk_maintenance *maintenance = store->maintenance;
    pthread_mutex_lock(&maintenance->doubtful_lock);
    void *grown = dbk_resize_array(store->allocator, maintenance->doubtful, maintenance->doubtful_count + 1,
                                   sizeof *maintenance->doubtful);
    if (grown != NULL) { // else it stays behind, and verify names it
        maintenance->doubtful = grown;
        (void)snprintf(maintenance->doubtful[maintenance->doubtful_count++], sizeof *maintenance->doubtful,
                       "%s", name);
    }
    pthread_mutex_unlock(&maintenance->doubtful_lock);
}

void dbk_remove_doubtful(daybook_store *store) {
    struct dbk_maintenance *maintenance = store->maintenance;
    pthread_mutex_lock(&maintenance->doubtful_lock);
    for (size_t i = 0; i < maintenance->doubtful_count; i++) dbk_remove_file(store, maintenance->doubtful[i]);
    maintenance->doubtful_count = 0;
    pthread_mutex_unlock(&maintenance->doubtful_lock);
}

// ---- Edits ----------------------------------------------------------------------------------------------

void dbk_publish_edit(daybook_store *store) {
    if (store->live == NULL) return;
    dbk_live_values values = {
        .writer_open = true,
        .manifest_edit = atomic_load(&store->manifest_edit),
        .durable_lsn = dbk_journal_durable_lsn(store->journal),
        .durable_position = atomic_load(&store->durable_position),
    };
    dbk_live_publish(store->live, &values);
}

daybook_status dbk_commit_edit(daybook_store *store, const dbk_manifest_edit *edit, daybook_error *error) {
    daybook_status status = dbk_manifest_commit(&store->manifest, edit, error);
    if (status == DAYBOOK_ENOSPC && dbk_make_space(store))
        status = dbk_manifest_commit(&store->manifest, edit, error);
    if (status == DAYBOOK_OK) {
        dbk_store_note_manifest(store);
        dbk_publish_edit(store);
    }
    return status;
}

daybook_status dbk_segment_catalogue(daybook_store *store, const uint32_t *ids, size_t count,
                                     dbk_manifest_edit *records) {
    dbk_buf value;
    dbk_buf_init(&value, store->allocator, DBK_RECORD_SIZE_MAX);
    daybook_status status = DAYBOOK_OK;
    for (size_t i = 0; status == DAYBOOK_OK && i < count; i++) {
        const dbk_stream *stream = dbk_stream_table_find_id(store->streams, ids[i]);
        if (stream == NULL || atomic_load(&stream->removed)) continue;
        char text[16];
        dbk_buf_reset(&value);
        status = dbk_stream_encode(ids[i], atomic_load(&stream->config), stream->created_ns, &value);
        if (status != DAYBOOK_OK) break;
        dbk_manifest_edit_put_entry(records, DBK_CATALOGUE_STREAM, dbk_stream_key(ids[i], text),
                                    daybook_bytes(value.data, value.size));
        dbk_manifest_stream state = {
            .id = ids[i],
            .last_seq = atomic_load(&stream->published_seq),
            .first_seq = atomic_load(&stream->first_seq),
            .first_position = atomic_load(&stream->first_position),
            .purged_position = atomic_load(&stream->purged_position),
            .message_count = atomic_load(&stream->message_count),
            .byte_count = atomic_load(&stream->byte_count),
            .last_recorded_ns = atomic_load(&stream->last_recorded_ns),
        };
        dbk_manifest_edit_put_stream(records, &state);
    }
    dbk_buf_deinit(&value);
    return status == DAYBOOK_OK ? dbk_buf_status(&records->records) : status;
}

// ---- Writing the segment --------------------------------------------------------------------------------

// A flush on its way. `view` pins the sources.
typedef struct flushing {
    daybook_store *store;
    dbk_view *view;
    size_t source_first; // frozen tables: view->sources[source_first .. source_end)
    size_t source_end;
    dbk_dead_copy *dead; // of each of them, when the writing began
    uint64_t position_first;
    uint64_t position_last;
    int64_t now_ns;
    uint64_t bytes; // of the records in the tables
    bool has_segment;
    dbk_segment_summary summary;
    dbk_source *source; // of the new segment
} flushing;

static void flushing_deinit(flushing *flush) {
    size_t count = flush->source_end - flush->source_first;
    for (size_t i = 0; flush->dead != NULL && i < count; i++) dbk_dead_copy_deinit(&flush->dead[i]);
    dbk_free(flush->store->allocator, flush->dead);
    dbk_source_unref(flush->source);
    dbk_view_unref(flush->view);
}

static daybook_status begin(flushing *flush, const dbk_cut *cut) {
    daybook_store *store = flush->store;
    flush->view = dbk_store_get_view(store);
    flush->source_first = flush->view->segment_count;
    flush->source_end = flush->source_first;
    while (flush->source_end < flush->view->source_count &&
           flush->view->sources[flush->source_end]->position_last <= cut->position_last) {
        flush->source_end++;
    }
    size_t count = flush->source_end - flush->source_first;
    if (count == 0) return DAYBOOK_OK;
    flush->position_first = flush->view->sources[flush->source_first]->position_first;
    flush->position_last = flush->view->sources[flush->source_end - 1]->position_last;
    flush->now_ns = store->vfs->clock_real_ns(store->vfs);
    flush->dead = dbk_alloc_zeroed(store->allocator, count * sizeof *flush->dead);
    if (flush->dead == NULL) return DAYBOOK_ENOMEM;
    for (size_t i = 0; i < count; i++) {
        DBK_TRY(dbk_dead_copy_take(flush->view->sources[flush->source_first + i], &flush->dead[i]));
    }
    return DAYBOOK_OK;
}

static dbk_liveness liveness(const flushing *flush, size_t index, const dbk_event *event) {
    const dbk_source *source = flush->view->sources[flush->source_first + index];
    const dbk_stream *stream = dbk_stream_table_find_id(flush->store->streams, event->stream_id);
    if (stream == NULL || atomic_load(&stream->removed)) return DBK_STREAM_GONE;
    uint32_t relative = (uint32_t)(event->position - source->position_first);
    dbk_liveness alive = roaring_bitmap_contains(flush->dead[index].for_ever, relative) ? DBK_REMOVED_FOR_EVER
                         : roaring_bitmap_contains(flush->dead[index].removed, relative) ? DBK_REMOVED
                                                                                         : DBK_LIVE;
    if (alive == DBK_LIVE) alive = dbk_stream_liveness(stream, event->position);
    return dbk_stream_liveness_of_id(stream, alive);
}

typedef daybook_status (*visit_event)(void *context, const dbk_event *event, dbk_liveness alive,
                                      daybook_error *error);

static daybook_status visit_events(const flushing *flush, visit_event visit, void *context,
                                   daybook_error *error) {
    for (size_t i = flush->source_first; i < flush->source_end; i++) {
        const dbk_source *source = flush->view->sources[i];
        uint64_t end = dbk_memtable_position_end(source->memtable);
        for (uint64_t position = source->position_first; position < end; position++) {
            dbk_event event;
            daybook_status status = dbk_memtable_get(source->memtable, position, &event);
            if (status == DAYBOOK_ENOTFOUND) continue;
            if (status != DAYBOOK_OK) return dbk_fail(error, status, "an event in memory cannot be read");
            DBK_TRY(visit(context, &event, liveness(flush, i - flush->source_first, &event), error));
        }
    }
    return DAYBOOK_OK;
}

typedef struct survey {
    uint64_t live_count, removed_count;
    uint64_t live_bytes;
    uint64_t bytes; // of all records
    // Training.
    uint64_t every; // one of so many live events is a sample
    uint64_t seen;
    dbk_slice *samples;
    size_t sample_count;
    size_t sample_bytes;
    dbk_segment_writer *writer;
} survey;

static daybook_status count_event(void *context, const dbk_event *event, dbk_liveness alive,
                                  daybook_error *error) {
    (void)error;
    survey *found = context;
    found->bytes += DBK_EVENT_HEAD_SIZE + event->body.size;
    if (alive == DBK_LIVE) {
        found->live_count++;
        found->live_bytes += event->body.size;
    } else if (alive != DBK_STREAM_GONE) {
        found->removed_count++;
    }
    return DAYBOOK_OK;
}

static daybook_status sample_event(void *context, const dbk_event *event, dbk_liveness alive,
                                   daybook_error *error) {
    (void)error;
    survey *found = context;
    if (alive != DBK_LIVE || found->seen++ % found->every != 0) return DAYBOOK_OK;
    if (found->sample_count == TRAIN_COUNT_MAX || found->sample_bytes + event->body.size > TRAIN_BYTES_MAX)
        return DAYBOOK_OK;
    found->samples[found->sample_count++] = event->body;
    found->sample_bytes += event->body.size;
    return DAYBOOK_OK;
}

static daybook_status use_dictionary(daybook_store *store, const survey *found, daybook_error *error) {
    dbk_dictionary *dictionary = &store->maintenance->dictionary;
    bool is_used;
    if (dbk_dictionary_choose(store->allocator, found->samples, found->sample_count, dictionary, &is_used) !=
        DAYBOOK_OK)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory while writing a segment");
    if (!is_used) return DAYBOOK_OK;
    dbk_slice bytes = daybook_bytes(dictionary->bytes.data, dictionary->bytes.size);
    return dbk_segment_writer_use_dictionary(found->writer, bytes, error);
}

static daybook_status train(const flushing *flush, survey *found, daybook_error *error) {
    uint64_t by_bytes = found->live_bytes / TRAIN_BYTES_MAX + 1;
    uint64_t by_count = found->live_count / TRAIN_COUNT_MAX + 1;
    found->every = by_bytes > by_count ? by_bytes : by_count;
    const daybook_allocator *allocator = flush->store->allocator;
    found->samples = dbk_resize_array(allocator, NULL, TRAIN_COUNT_MAX, sizeof *found->samples);
    if (found->samples == NULL)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory while writing a segment");
    daybook_status status = visit_events(flush, sample_event, found, error);
    if (status == DAYBOOK_OK) status = use_dictionary(flush->store, found, error);
    dbk_free(allocator, found->samples);
    return status;
}

typedef struct writing {
    dbk_segment_writer *writer;
    int64_t now_ns;
} writing;

static daybook_status write_event(void *context, const dbk_event *event, dbk_liveness alive,
                                  daybook_error *error) {
    writing *to = context;
    switch (alive) {
    case DBK_LIVE:
        return dbk_segment_writer_add(to->writer, event, error);
    case DBK_REMOVED:
    case DBK_REMOVED_FOR_EVER:
        return dbk_segment_writer_add_removed(to->writer, event, alive == DBK_REMOVED_FOR_EVER, to->now_ns,
                                              error);
    case DBK_REMOVED_BY_AGE_OF_ID:
        return dbk_segment_writer_add_removed(to->writer, event, false, event->recorded_ns, error);
    case DBK_STREAM_GONE:
        break;
    }
    return DAYBOOK_OK;
}

static daybook_status cut_catalogue(daybook_store *store, const dbk_cut *cut, dbk_manifest_edit *records,
                                    daybook_error *error) {
    uint32_t *ids = dbk_resize_array(store->allocator, NULL, cut->stream_count, sizeof *ids);
    if (ids == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory while writing a segment");
    // Only streams that grew since the last flush have events here.
    size_t count = 0;
    pthread_mutex_lock(&store->manifest_lock);
    for (size_t i = 0; i < cut->stream_count; i++) {
        const dbk_manifest_stream *known =
            dbk_manifest_find_stream(&store->manifest, cut->streams[i].state.id);
        if (known == NULL || known->last_seq != cut->streams[i].state.last_seq)
            ids[count++] = cut->streams[i].state.id;
    }
    pthread_mutex_unlock(&store->manifest_lock);
    daybook_status status = dbk_segment_catalogue(store, ids, count, records);
    dbk_free(store->allocator, ids);
    return status == DAYBOOK_OK ? status : dbk_fail(error, status, "out of memory while writing a segment");
}

static daybook_status open_written(flushing *flush, daybook_error *error) {
    daybook_store *store = flush->store;
    dbk_segment_config config = dbk_store_segment_config(store, flush->summary.segment_id);
    dbk_segment *segment = NULL;
    DBK_TRY(dbk_segment_open(&config, store->cache, &segment, error));
    daybook_status status = dbk_source_new(store->allocator, NULL, segment, flush->summary.position_first,
                                           flush->summary.position_last, &flush->source);
    if (status == DAYBOOK_OK) return DAYBOOK_OK;
    dbk_segment_unref(segment);
    return dbk_fail(error, status, "out of memory while opening a segment");
}

static daybook_status write_segment(flushing *flush, const dbk_cut *cut, daybook_error *error) {
    daybook_store *store = flush->store;
    survey found = {0};
    DBK_TRY(visit_events(flush, count_event, &found, error));
    flush->bytes = found.bytes;
    if (found.live_count + found.removed_count == 0) return DAYBOOK_OK;
    dbk_segment_config config =
        dbk_store_segment_config(store, atomic_fetch_add(&store->maintenance->next_segment_id, 1));
    dbk_manifest_edit catalogue;
    dbk_manifest_edit_init(&catalogue, store->allocator);
    daybook_status status = cut_catalogue(store, cut, &catalogue, error);
    if (status == DAYBOOK_OK) {
        status = dbk_segment_writer_new(&config, flush->position_first, flush->position_last, &found.writer,
                                        error);
    }
    if (status != DAYBOOK_OK) goto done;
    status = train(flush, &found, error);
    writing to = {.writer = found.writer, .now_ns = flush->now_ns};
    if (status == DAYBOOK_OK) status = visit_events(flush, write_event, &to, error);
    if (status != DAYBOOK_OK) {
        dbk_segment_writer_abort(found.writer);
        goto done;
    }
    status = dbk_segment_writer_finish(
        found.writer, daybook_bytes(catalogue.records.data, catalogue.records.size), &flush->summary, error);
    if (status != DAYBOOK_OK) goto done;
    flush->has_segment = true;
    status = open_written(flush, error);
    if (status != DAYBOOK_OK) { // no edit names it yet
        char name[40];
        dbk_segment_name(flush->summary.segment_id, name);
        dbk_remove_file(store, name);
    }
done:
    dbk_manifest_edit_deinit(&catalogue);
    return status;
}

// ---- Publishing -----------------------------------------------------------------------------------------

// Deletion files written for an edit, to be adopted or given up with it.
typedef struct new_deletions {
    struct new_deletion {
        dbk_source *source; // borrowed from the view
        uint64_t segment_id;
        uint64_t generation;
    } * list;
    size_t count;
} new_deletions;

static bool take_changed(dbk_source *source) {
    pthread_rwlock_wrlock(&source->dead.lock);
    bool changed = source->dead.changed;
    source->dead.changed = false;
    pthread_rwlock_unlock(&source->dead.lock);
    return changed;
}

static void set_changed(dbk_source *source) {
    pthread_rwlock_wrlock(&source->dead.lock);
    source->dead.changed = true;
    pthread_rwlock_unlock(&source->dead.lock);
}

static daybook_status write_changed(daybook_store *store, dbk_view *view, new_deletions *written,
                                    dbk_manifest_edit *edit, daybook_error *error) {
    written->list = dbk_resize_array(store->allocator, NULL, view->segment_count, sizeof *written->list);
    if (written->list == NULL)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory while writing deletions");
    for (size_t i = 0; i < view->segment_count; i++) {
        dbk_source *source = view->sources[i];
        // The mark is taken down before the copy: what is removed between the two is in the copy and marked
        // again.
        if (source->segment == NULL || !take_changed(source)) continue;
        struct new_deletion *deletion = &written->list[written->count];
        *deletion = (struct new_deletion){.source = source,
                                          .segment_id = dbk_segment_get_summary(source->segment)->segment_id};
        dbk_dead_copy dead = {0};
        daybook_status status = dbk_dead_copy_take(source, &dead);
        if (status == DAYBOOK_OK) {
            status = dbk_write_deletions(store, deletion->segment_id, &dead, &deletion->generation, error);
        } else {
            (void)dbk_fail(error, status, "out of memory while writing deletions");
        }
        dbk_dead_copy_deinit(&dead);
        if (status != DAYBOOK_OK) {
            set_changed(source);
            return status;
        }
        if (deletion->generation == 0) continue;
        written->count++;
        dbk_manifest_edit_set_deletions(edit, deletion->segment_id, deletion->generation);
    }
    return DAYBOOK_OK;
}

static void adopt_deletions(daybook_store *store, new_deletions *written) {
    for (size_t i = 0; i < written->count; i++) {
        struct new_deletion *deletion = &written->list[i];
        if (deletion->source->dead.generation != 0) {
            char name[64];
            dbk_deletions_name(deletion->segment_id, deletion->source->dead.generation, name);
            dbk_remove_file(store, name);
        }
        deletion->source->dead.generation = deletion->generation;
    }
}

static void give_up_deletions(daybook_store *store, new_deletions *written) {
    for (size_t i = 0; i < written->count; i++) {
        char name[64];
        dbk_deletions_name(written->list[i].segment_id, written->list[i].generation, name);
        set_changed(written->list[i].source);
        dbk_remove_file_later(store, name);
    }
}

// The journal's start moves to the cut; the pieces before it go to the end of the map. manifest_lock is held.
static daybook_status commit_with_journal(daybook_store *store, const dbk_cut *cut, dbk_manifest_edit *edit,
                                          daybook_error *error) {
    uint32_t *pieces = NULL;
    dbk_journal_map map = {0};
    DBK_TRY(dbk_journal_plan_recycle(store->journal, cut->flush_lsn, &pieces, &map.first_lsn,
                                     &map.piece_count, error));
    map.pieces = pieces;
    dbk_manifest_edit_set_journal(edit, cut->flush_lsn, dbk_journal_durable_lsn(store->journal), &map);
    daybook_status status = dbk_commit_edit(store, edit, error);
    if (status == DAYBOOK_OK) {
        status = dbk_journal_set_map(store->journal, &map, cut->flush_lsn, error);
        // The manifest and the journal's idea of its own map differ now only in what is free: the next edit
        // repairs that.
        if (status != DAYBOOK_OK) {
            dbk_store_log(store, DAYBOOK_LOG_ERROR, "the journal did not take over its new map: %s",
                          daybook_status_name(status));
            status = DAYBOOK_OK;
        }
    }
    dbk_free(store->allocator, pieces);
    return status;
}

// The view with the segment in place of the frozen tables. maintenance_lock is held, so that nobody else
// changes it.
static daybook_status prepare_view(flushing *flush, dbk_view **view_out, daybook_error *error) {
    daybook_store *store = flush->store;
    dbk_view *old = dbk_store_get_view(store);
    size_t gone = flush->source_end - flush->source_first;
    // Merges only changed what lies before the tables.
    size_t first = old->segment_count;
    size_t segment_count = first + flush->has_segment;
    size_t count = old->source_count - gone + flush->has_segment;
    dbk_source **sources = dbk_resize_array(store->allocator, NULL, count, sizeof *sources);
    daybook_status status = sources == NULL ? DAYBOOK_ENOMEM : DAYBOOK_OK;
    if (status == DAYBOOK_OK) {
        memcpy(sources, old->sources, first * sizeof *sources);
        if (flush->has_segment) sources[first] = flush->source;
        memcpy(sources + segment_count, old->sources + first + gone,
               (old->source_count - first - gone) * sizeof *sources);
        status = dbk_view_new(store->allocator, old->generation + 1, sources, segment_count, count, view_out);
    }
    if (status == DAYBOOK_OK) {
        for (size_t i = 0; i < count; i++) dbk_source_ref(sources[i]);
    } else {
        (void)dbk_fail(error, status, "out of memory while taking over a segment");
    }
    dbk_free(store->allocator, sources);
    dbk_view_unref(old);
    return status;
}

// What was removed from the tables since the segment was written is removed from the segment. removal_lock
// is held.
static void inherit_removals(flushing *flush) {
    if (!flush->has_segment) return;
    size_t count = flush->source_end - flush->source_first;
    for (size_t i = 0; i < count; i++) {
        dbk_source *from = flush->view->sources[flush->source_first + i];
        pthread_rwlock_rdlock(&from->dead.lock);
        roaring_bitmap_t *since = roaring_bitmap_andnot(from->dead.removed, flush->dead[i].removed);
        roaring_uint32_iterator_t *at = roaring_create_iterator(since);
        for (; at->has_value; roaring_advance_uint32_iterator(at)) {
            uint64_t position = from->position_first + at->current_value;
            bool for_ever = roaring_bitmap_contains(from->dead.for_ever, at->current_value);
            dbk_source_mark_dead(flush->source, position, position, for_ever);
        }
        roaring_free_uint32_iterator(at);
        roaring_bitmap_free(since);
        pthread_rwlock_unlock(&from->dead.lock);
    }
}

static daybook_status publish(flushing *flush, const dbk_cut *cut, daybook_error *error) {
    daybook_store *store = flush->store;
    struct dbk_maintenance *maintenance = store->maintenance;
    dbk_manifest_edit edit;
    dbk_manifest_edit_init(&edit, store->allocator);
    new_deletions written = {0};
    dbk_view *view = NULL;
    pthread_mutex_lock(&store->maintenance_lock);
    dbk_view *present = dbk_store_get_view(store);
    daybook_status status = prepare_view(flush, &view, error);
    if (status == DAYBOOK_OK) status = write_changed(store, present, &written, &edit, error);
    if (status == DAYBOOK_OK) status = dbk_commit_write_lazy(store, error);
    if (status == DAYBOOK_OK) {
        pthread_mutex_lock(&store->manifest_lock);
        dbk_manifest_segment segment = {.summary = flush->summary};
        if (flush->has_segment) dbk_manifest_edit_add_segment(&edit, &segment);
        dbk_manifest_edit_set_flushed(&edit, cut->position_last, cut->last_recorded_ns);
        dbk_manifest_edit_set_trim_from(&edit, cut->trim_from);
        if (cut->positions_end > 0) dbk_manifest_edit_set_positions_end(&edit, cut->positions_end);
        dbk_manifest_edit_set_next_ids(&edit, atomic_load(&maintenance->next_segment_id),
                                       cut->next_stream_id);
        status = dbk_cut_write(cut, &store->manifest, &edit);
        if (status == DAYBOOK_OK) {
            status = commit_with_journal(store, cut, &edit, error);
        } else {
            (void)dbk_fail(error, status, "out of memory while writing the manifest");
        }
        pthread_mutex_unlock(&store->manifest_lock);
    }
    if (status == DAYBOOK_OK) {
        pthread_mutex_lock(&store->removal_lock);
        inherit_removals(flush);
        dbk_store_set_view(store, view);
        view = NULL;
        atomic_store(&store->flushed_position, cut->position_last);
        pthread_mutex_unlock(&store->removal_lock);
        adopt_deletions(store, &written);
    } else {
        give_up_deletions(store, &written);
    }
    dbk_view_unref(present);
    pthread_mutex_unlock(&store->maintenance_lock);
    dbk_view_unref(view);
    dbk_free(store->allocator, written.list);
    dbk_manifest_edit_deinit(&edit);
    if (status == DAYBOOK_OK) dbk_remove_doubtful(store);
    return status;
}

// ---- A flush --------------------------------------------------------------------------------------------

// What appends are paced by: how fast this flush was, smoothed over the last few.
static void note_rate(const flushing *flush, int64_t took_ns) {
    atomic_uint_fast64_t *rate = &flush->store->maintenance->flush_rate;
    if (flush->bytes < RATE_BYTES_MIN || took_ns < DBK_MILLISECOND_NS) return;
    uint64_t now = flush->bytes / (uint64_t)(took_ns / DBK_MILLISECOND_NS);
    uint64_t before = atomic_load(rate);
    uint64_t smooth = before == 0 ? now : (3 * before + now) / 4;
    atomic_store(rate, smooth > 0 ? smooth : 1);
}

// Write the pending cut. flush_lock is held.
static daybook_status write_cut(daybook_store *store, daybook_error *error) {
    struct dbk_maintenance *maintenance = store->maintenance;
    flushing flush = {.store = store};
    atomic_fetch_or(&maintenance->running, DAYBOOK_BACKGROUND_FLUSH);
    int64_t begin_ns = store->vfs->clock_monotonic_ns(store->vfs);
    daybook_status status = begin(&flush, &maintenance->cut);
    if (status != DAYBOOK_OK) (void)dbk_fail(error, status, "out of memory while writing a segment");
    if (status == DAYBOOK_OK) status = write_segment(&flush, &maintenance->cut, error);
    if (status == DAYBOOK_ENOSPC && dbk_make_space(store)) // what the reserve is there for
        status = write_segment(&flush, &maintenance->cut, error);
    if (status == DAYBOOK_OK) {
        status = publish(&flush, &maintenance->cut, error);
        if (status != DAYBOOK_OK && flush.has_segment) {
            char name[40];
            dbk_segment_name(flush.summary.segment_id, name);
            dbk_remove_file_later(store, name);
        }
    }
    if (status == DAYBOOK_OK) note_rate(&flush, store->vfs->clock_monotonic_ns(store->vfs) - begin_ns);
    flushing_deinit(&flush);
    atomic_fetch_and(&maintenance->running, ~(unsigned)DAYBOOK_BACKGROUND_FLUSH);
    if (status == DAYBOOK_OK) {
        dbk_cut_deinit(store, &maintenance->cut);
        atomic_fetch_add(&store->flush_count, 1);
        if (flush.has_segment) atomic_fetch_add(&store->flushed_bytes, flush.summary.file_bytes);
        dbk_commit_room_changed(store);
    }
    return status;
}

typedef struct capturing {
    daybook_store *store;
    dbk_cut *cut;
} capturing;

static void capture(void *context) {
    capturing *into = context;
    dbk_cut_capture(into->store, into->cut);
}

// Freeze the active table. flush_lock is held; no cut is pending.
static daybook_status make_cut(daybook_store *store, daybook_error *error) {
    struct dbk_maintenance *maintenance = store->maintenance;
    capturing into = {.store = store, .cut = &maintenance->cut};
    dbk_source *frozen = NULL;
    uint64_t flush_lsn = 0;
    pthread_mutex_lock(&store->maintenance_lock);
    daybook_status status = dbk_commit_rotate(store, true, &frozen, &flush_lsn, capture, &into, error);
    pthread_mutex_unlock(&store->maintenance_lock);
    dbk_source_unref(frozen); // the view holds it
    if (status == DAYBOOK_OK && maintenance->cut.status != DAYBOOK_OK) {
        status = dbk_fail(error, maintenance->cut.status, "out of memory while freezing the memory table");
    }
    if (status != DAYBOOK_OK) {
        dbk_cut_deinit(store, &maintenance->cut);
        return status;
    }
    maintenance->cut.flush_lsn = flush_lsn;
    maintenance->cut.valid = true;
    return DAYBOOK_OK;
}

static bool has_nothing_new(daybook_store *store) {
    pthread_mutex_lock(&store->manifest_lock);
    const dbk_manifest *manifest = &store->manifest;
    bool nothing = manifest->flushed_position == atomic_load(&store->durable_position) &&
                   manifest->journal_start_lsn == dbk_journal_durable_lsn(store->journal);
    pthread_mutex_unlock(&store->manifest_lock);
    return nothing;
}

daybook_status dbk_flush(daybook_store *store, bool force, bool *did_out, daybook_error *error) {
    struct dbk_maintenance *maintenance = store->maintenance;
    *did_out = false;
    daybook_status status = DAYBOOK_OK;
    pthread_mutex_lock(&maintenance->flush_lock);
    if (maintenance->cut.valid) {
        status = write_cut(store, error);
        *did_out = status == DAYBOOK_OK;
    }
    bool due = force ? !has_nothing_new(store) : dbk_commit_wants_flush(store);
    if (status == DAYBOOK_OK && due) {
        status = make_cut(store, error);
        if (status == DAYBOOK_OK) status = write_cut(store, error);
        if (status == DAYBOOK_OK) *did_out = true;
    }
    if (dbk_reserve_is_lent(store)) dbk_reserve_restore(store);
    pthread_mutex_unlock(&maintenance->flush_lock);
    return status;
}

void dbk_flush_forget_dictionary(daybook_store *store) {
    struct dbk_maintenance *maintenance = store->maintenance;
    pthread_mutex_lock(&maintenance->flush_lock);
    dbk_dictionary_forget(&maintenance->dictionary);
    pthread_mutex_unlock(&maintenance->flush_lock);
}
