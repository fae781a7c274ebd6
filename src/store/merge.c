// SPDX-License-Identifier: Apache-2.0
// Merging: neighbouring segments become one, so that their number stays logarithmic and removed events give
// back their space.
//
// Choice: segments have a level, the base-4 logarithm of their size over LEVEL_BYTES. From the lowest level
// up, the first run of at least FAN_IN_MIN neighbours at or below that level is merged (at most FAN_IN_MAX
// of them, and never beyond segment_max_bytes or SEGMENT_EVENTS_MAX), if the result has at least GROWTH times
// the bytes of the largest: else a few small neighbours would have a large one rewritten again and again. So
// a byte is rewritten a logarithmic number of times, and the sizes of segments left over fall off as a
// geometric series. A segment more than half of whose events are removed is rewritten alone: that is what
// frees space, and may use the reserve for it; a run is only merged where the disk has room for the result.
//
// A segment that cannot be read (damage, I/O errors) is left out for a while: its neighbours on either side
// are merged without it. Else one bad block would keep all others from being merged, until the store is
// repaired.
//
// As a flush, a merge works on a copy of what is removed when it begins, and hands on what was removed
// meanwhile when it takes effect: into a deletion file of the new segment (its inputs' files may hold
// removals the journal does not have any more) and into memory. Inputs go away after the edit; readers that
// hold them keep their descriptors.
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "store/deletions.h"
#include "store/maintenance.h"
#include "store/reserve.h"

enum {
    FAN_IN_MIN = 4,
    FAN_IN_MAX = 8,
    GROWTH_HALVES = 5, // GROWTH is 2.5
    LEVEL_BYTES = 32 << 10,
    LEVELS_MAX = 20,
    SAMPLE_BLOCKS = 400,
    SAMPLE_COUNT_MAX = 8192,
    SAMPLE_BYTES_MAX = 2 << 20
};
#define SEGMENT_EVENTS_MAX (UINT64_C(16) << 20)
#define POSITION_SPAN_MAX UINT32_MAX
#define UNMERGEABLE_NS (600 * DBK_SECOND_NS)

// ---- Choosing -------------------------------------------------------------------------------------------

static unsigned level_of(const dbk_segment_summary *summary) {
    unsigned level = 0;
    for (uint64_t bytes = summary->file_bytes; bytes >= LEVEL_BYTES && level < LEVELS_MAX; bytes /= 4)
        level++;
    return level;
}

static const dbk_segment_summary *summary_at(const dbk_view *view, size_t index) {
    return dbk_segment_get_summary(view->sources[index]->segment);
}

static bool is_unmergeable(const daybook_store *store, const dbk_view *view, size_t index) {
    const struct dbk_maintenance *maintenance = store->maintenance;
    uint64_t id = summary_at(view, index)->segment_id;
    for (size_t i = 0; i < maintenance->unmergeable_count; i++) {
        if (maintenance->unmergeable[i].segment_id == id) return true;
    }
    return false;
}

// Those whose time is over may be tried again.
static void forget_unmergeable(daybook_store *store) {
    struct dbk_maintenance *maintenance = store->maintenance;
    int64_t now_ns = store->vfs->clock_monotonic_ns(store->vfs);
    size_t kept = 0;
    for (size_t i = 0; i < maintenance->unmergeable_count; i++) {
        if (maintenance->unmergeable[i].until_ns > now_ns)
            maintenance->unmergeable[kept++] = maintenance->unmergeable[i];
    }
    maintenance->unmergeable_count = kept;
}

// A merge failed: where the error names an input, that one is left out for a while.
static void note_unmergeable(daybook_store *store, const dbk_view *view, size_t first, size_t count,
                             const daybook_error *error) {
    struct dbk_maintenance *maintenance = store->maintenance;
    for (size_t i = first; i < first + count; i++) {
        char name[40];
        char path[DBK_PATH_SIZE_MAX];
        uint64_t id = summary_at(view, i)->segment_id;
        dbk_segment_name(id, name);
        if (dbk_path_join(store->path, name, path, NULL) != DAYBOOK_OK || strcmp(path, error->file) != 0)
            continue;
        if (maintenance->unmergeable_count == DBK_UNMERGEABLE_MAX) return;
        maintenance->unmergeable[maintenance->unmergeable_count++] = (dbk_unmergeable){
            .segment_id = id,
            .until_ns = store->vfs->clock_monotonic_ns(store->vfs) + UNMERGEABLE_NS,
        };
    }
}

// How many segments from `first` on may become one.
static size_t fitting(const daybook_store *store, const dbk_view *view, size_t first, size_t count) {
    uint64_t bytes = 0;
    uint64_t events = 0;
    size_t fit = 0;
    while (fit < count && fit < FAN_IN_MAX) {
        const dbk_segment_summary *summary = summary_at(view, first + fit);
        bytes += summary->file_bytes;
        events += summary->event_count;
        uint64_t span = summary->position_last - summary_at(view, first)->position_first;
        if (bytes > store->options.segment_max_bytes || events > SEGMENT_EVENTS_MAX ||
            span >= POSITION_SPAN_MAX)
            break;
        fit++;
    }
    return fit;
}

static bool is_worth_it(const dbk_view *view, size_t first, size_t count) {
    uint64_t bytes = 0;
    uint64_t largest = 0;
    for (size_t i = first; i < first + count; i++) {
        uint64_t added = summary_at(view, i)->file_bytes;
        bytes += added;
        if (added > largest) largest = added;
    }
    return bytes * 2 >= largest * GROWTH_HALVES;
}

static bool choose_run(const daybook_store *store, const dbk_view *view, size_t *first_out,
                       size_t *count_out) {
    for (unsigned level = 0; level <= LEVELS_MAX; level++) {
        for (size_t first = 0; first < view->segment_count; first++) {
            size_t count = 0;
            while (first + count < view->segment_count &&
                   level_of(summary_at(view, first + count)) <= level &&
                   !is_unmergeable(store, view, first + count))
                count++;
            size_t fit = fitting(store, view, first, count);
            while (fit >= FAN_IN_MIN && !is_worth_it(view, first, fit)) fit--;
            if (fit >= FAN_IN_MIN) {
                *first_out = first;
                *count_out = fit;
                return true;
            }
        }
    }
    return false;
}

static uint64_t dead_count(const daybook_store *store, dbk_source *source) {
    uint64_t dead = atomic_load(&source->dead.count);
    dbk_segment_stream part;
    for (uint32_t i = 0; dbk_segment_get_stream(source->segment, i, &part); i++) {
        const dbk_stream *stream = dbk_stream_table_find_id(store->streams, part.stream_id);
        bool gone = stream == NULL || atomic_load(&stream->removed);
        if (gone || atomic_load(&stream->first_position) > part.last_position) dead += part.event_count;
    }
    return dead;
}

// The smallest first: where there is hardly any room, what it gives back makes room for the next one.
static bool choose_half_dead(const daybook_store *store, const dbk_view *view, size_t *first_out,
                             size_t *count_out) {
    bool found = false;
    for (size_t i = 0; i < view->segment_count; i++) {
        const dbk_segment_summary *summary = summary_at(view, i);
        if (found && summary->file_bytes >= summary_at(view, *first_out)->file_bytes) continue;
        if (is_unmergeable(store, view, i)) continue;
        if (summary->event_count == 0 || dead_count(store, view->sources[i]) * 2 <= summary->event_count)
            continue;
        *first_out = i;
        *count_out = 1;
        found = true;
    }
    return found;
}

// A merge needs room for its result beside its inputs, and gives back less: where that would fill the disk,
// appends have better use for it.
static bool fits_disk(const daybook_store *store, const dbk_view *view, size_t first, size_t count) {
    if (dbk_reserve_is_short(store)) return false;
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++) bytes += summary_at(view, first + i)->file_bytes;
    uint64_t free_bytes = 0;
    if (store->vfs->free_bytes(store->vfs, store->path, &free_bytes) < 0) return true;
    return bytes + 2 * store->options.memtable_bytes <= free_bytes; // flushes go on meanwhile
}

// ---- Merging --------------------------------------------------------------------------------------------

typedef struct merging {
    daybook_store *store;
    dbk_view *view; // pins the inputs: view->sources[first .. first + count)
    size_t first;
    size_t count;
    dbk_dead_copy *dead; // of each input, when the merge began
    size_t last_input;   // of the last liveness asked for: they come in order
    uint64_t position_first;
    uint64_t position_last;
    bool erasing; // written anew, for good, and not to be interrupted
    dbk_segment_summary summary;
    dbk_source *source;
} merging;

static void merging_deinit(merging *merge) {
    for (size_t i = 0; merge->dead != NULL && i < merge->count; i++) dbk_dead_copy_deinit(&merge->dead[i]);
    dbk_free(merge->store->allocator, merge->dead);
    dbk_source_unref(merge->source);
}

static dbk_source *input_at(const merging *merge, size_t index) {
    return merge->view->sources[merge->first + index];
}

static dbk_liveness is_live(void *context, uint32_t stream_id, uint64_t position) {
    merging *merge = context;
    const dbk_stream *stream = dbk_stream_table_find_id(merge->store->streams, stream_id);
    if (stream == NULL || atomic_load(&stream->removed)) return DBK_STREAM_GONE;
    size_t index = merge->last_input;
    if (position < input_at(merge, index)->position_first ||
        position > input_at(merge, index)->position_last) {
        for (index = 0; index + 1 < merge->count && position > input_at(merge, index)->position_last;
             index++) {
        }
        merge->last_input = index;
    }
    uint32_t relative = (uint32_t)(position - input_at(merge, index)->position_first);
    dbk_liveness alive = roaring_bitmap_contains(merge->dead[index].for_ever, relative) ? DBK_REMOVED_FOR_EVER
                         : roaring_bitmap_contains(merge->dead[index].removed, relative) ? DBK_REMOVED
                                                                                         : DBK_LIVE;
    if (alive == DBK_LIVE) alive = dbk_stream_liveness(stream, position);
    return dbk_stream_liveness_of_id(stream, alive);
}

static bool is_interrupted(void *context) {
    const merging *merge = context;
    return !merge->erasing && atomic_load(&merge->store->maintenance->stop);
}

// The longest time any stream remembers the ids of events removed by limits.
static int64_t duplicate_window_max(const daybook_store *store) {
    dbk_stream **streams = NULL;
    size_t count = 0;
    int64_t longest = 0;
    if (dbk_stream_table_all(store->streams, &streams, &count) != DAYBOOK_OK) return INT64_MAX;
    for (size_t i = 0; i < count; i++) {
        const daybook_stream_config *config = atomic_load(&streams[i]->config);
        if (config->duplicate_window_ns > longest) longest = config->duplicate_window_ns;
    }
    dbk_free(store->allocator, streams);
    return longest;
}

static int compare_ids(const void *a, const void *b) {
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

static daybook_status merge_catalogue(const merging *merge, dbk_manifest_edit *records,
                                      daybook_error *error) {
    const daybook_allocator *allocator = merge->store->allocator;
    size_t capacity = 0;
    for (size_t i = 0; i < merge->count; i++) {
        capacity += dbk_segment_get_summary(input_at(merge, i)->segment)->stream_count;
    }
    uint32_t *ids = dbk_resize_array(allocator, NULL, capacity, sizeof *ids);
    if (ids == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory while merging segments");
    size_t count = 0;
    for (size_t i = 0; i < merge->count; i++) {
        dbk_segment_stream part;
        for (uint32_t at = 0;
             count < capacity && dbk_segment_get_stream(input_at(merge, i)->segment, at, &part); at++) {
            ids[count++] = part.stream_id;
        }
    }
    if (count > 0) qsort(ids, count, sizeof *ids, compare_ids);
    size_t unique = 0;
    for (size_t i = 0; i < count; i++) {
        if (unique == 0 || ids[unique - 1] != ids[i]) ids[unique++] = ids[i];
    }
    daybook_status status = dbk_segment_catalogue(merge->store, ids, unique, records);
    dbk_free(allocator, ids);
    return status == DAYBOOK_OK ? status : dbk_fail(error, status, "out of memory while merging segments");
}

// Inputs to one segment by dbk_segment_merge: blocks without removed events are copied.
static daybook_status write_by_merge(merging *merge, const dbk_segment_config *config, dbk_slice catalogue,
                                     daybook_error *error) {
    daybook_store *store = merge->store;
    dbk_segment **inputs = dbk_resize_array(store->allocator, NULL, merge->count, sizeof *inputs);
    if (inputs == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory while merging segments");
    for (size_t i = 0; i < merge->count; i++) inputs[i] = input_at(merge, i)->segment;
    int64_t now_ns = store->vfs->clock_real_ns(store->vfs);
    int64_t window_ns = duplicate_window_max(store);
    int64_t forget_before_ns = dbk_clock_expiry_ns(store);
    forget_before_ns = window_ns < forget_before_ns ? forget_before_ns - window_ns : INT64_MIN;
    daybook_status status = dbk_segment_merge(config, inputs, merge->count, merge->position_first,
                                              merge->position_last, is_live, merge, now_ns, forget_before_ns,
                                              is_interrupted, merge, catalogue, &merge->summary, error);
    dbk_free(store->allocator, inputs);
    return status;
}

// One segment written anew, event by event, with a dictionary trained from what is alive: the old
// dictionary is made of pieces of events, of those to be erased, too.
typedef struct rewriting {
    merging *merge;
    dbk_segment *from;
    dbk_segment_writer *writer;
    dbk_buf bodies; // of samples, one behind the other
    dbk_slice *samples;
    size_t sample_count;
} rewriting;

static daybook_status sample_block(rewriting *work, const dbk_block_view *view, daybook_error *error) {
    for (uint32_t i = 0; i < view->event_count && work->sample_count < SAMPLE_COUNT_MAX; i++) {
        dbk_event event;
        DBK_TRY(dbk_block_event(view, i, &event, error));
        if (is_live(work->merge, event.stream_id, event.position) != DBK_LIVE) continue;
        if (work->bodies.size + event.body.size > work->bodies.size_max) continue;
        work->samples[work->sample_count++] =
            daybook_bytes(NULL, event.body.size); // placed when the buffer stands still
        dbk_buf_append_slice(&work->bodies, event.body);
    }
    return DAYBOOK_OK;
}

static daybook_status train_anew(rewriting *work, daybook_error *error) {
    const daybook_allocator *allocator = work->merge->store->allocator;
    work->samples = dbk_resize_array(allocator, NULL, SAMPLE_COUNT_MAX, sizeof *work->samples);
    if (work->samples == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory while erasing");
    uint32_t count = dbk_segment_block_count(work->from);
    uint32_t every = count / SAMPLE_BLOCKS + 1;
    dbk_block_view view;
    memset(&view, 0, sizeof view);
    daybook_status status = DAYBOOK_OK;
    for (uint32_t number = 0; status == DAYBOOK_OK && number < count; number += every) {
        status = dbk_block_load(work->from, number, &view, error);
        if (status == DAYBOOK_OK) status = sample_block(work, &view, error);
    }
    dbk_block_release(&view);
    if (status == DAYBOOK_OK && work->bodies.failed)
        status = dbk_fail(error, DAYBOOK_ENOMEM, "out of memory while erasing");
    size_t at = 0;
    for (size_t i = 0; status == DAYBOOK_OK && i < work->sample_count; i++) {
        work->samples[i].data = work->bodies.data + at;
        at += work->samples[i].size;
    }
    if (status == DAYBOOK_OK)
        status = dbk_segment_writer_train(work->writer, work->samples, work->sample_count, error);
    return status;
}

static daybook_status rewrite_block(rewriting *work, const dbk_block_view *view, int64_t now_ns,
                                    daybook_error *error) {
    for (uint32_t i = 0; i < view->event_count; i++) {
        dbk_event event;
        DBK_TRY(dbk_block_event(view, i, &event, error));
        dbk_liveness alive = is_live(work->merge, event.stream_id, event.position);
        if (alive == DBK_LIVE) {
            DBK_TRY(dbk_segment_writer_add(work->writer, &event, error));
        } else if (alive != DBK_STREAM_GONE) {
            int64_t since_ns = alive == DBK_REMOVED_BY_AGE_OF_ID ? event.recorded_ns : now_ns;
            DBK_TRY(dbk_segment_writer_add_removed(work->writer, &event, alive == DBK_REMOVED_FOR_EVER,
                                                   since_ns, error));
        }
    }
    return DAYBOOK_OK;
}

static daybook_status rewrite_blocks(rewriting *work, daybook_error *error) {
    const daybook_store *store = work->merge->store;
    int64_t now_ns = store->vfs->clock_real_ns(store->vfs);
    dbk_block_view view;
    memset(&view, 0, sizeof view);
    daybook_status status = DAYBOOK_OK;
    uint32_t count = dbk_segment_block_count(work->from);
    for (uint32_t number = 0; status == DAYBOOK_OK && number < count; number++) {
        status = dbk_block_load(work->from, number, &view, error);
        if (status == DAYBOOK_OK) status = rewrite_block(work, &view, now_ns, error);
    }
    dbk_block_release(&view);
    return status;
}

static daybook_status write_anew(merging *merge, const dbk_segment_config *config, dbk_slice catalogue,
                                 daybook_error *error) {
    rewriting work = {.merge = merge, .from = input_at(merge, 0)->segment};
    dbk_buf_init(&work.bodies, merge->store->allocator, SAMPLE_BYTES_MAX);
    daybook_status status =
        dbk_segment_writer_new(config, merge->position_first, merge->position_last, &work.writer, error);
    if (status != DAYBOOK_OK) goto done;
    status = train_anew(&work, error);
    if (status == DAYBOOK_OK) status = rewrite_blocks(&work, error);
    if (status == DAYBOOK_OK) status = dbk_segment_writer_carry(work.writer, work.from, NULL, error);
    if (status != DAYBOOK_OK) {
        dbk_segment_writer_abort(work.writer);
        goto done;
    }
    status = dbk_segment_writer_finish(work.writer, catalogue, &merge->summary, error);
done:
    dbk_buf_deinit(&work.bodies);
    dbk_free(merge->store->allocator, work.samples);
    return status;
}

static daybook_status write_merged(merging *merge, daybook_error *error) {
    daybook_store *store = merge->store;
    dbk_segment_config config =
        dbk_store_segment_config(store, atomic_fetch_add(&store->maintenance->next_segment_id, 1));
    dbk_manifest_edit catalogue;
    dbk_manifest_edit_init(&catalogue, store->allocator);
    daybook_status status = merge_catalogue(merge, &catalogue, error);
    if (status == DAYBOOK_OK) {
        dbk_slice records = daybook_bytes(catalogue.records.data, catalogue.records.size);
        status = merge->erasing ? write_anew(merge, &config, records, error)
                                : write_by_merge(merge, &config, records, error);
    }
    dbk_manifest_edit_deinit(&catalogue);
    if (status != DAYBOOK_OK) return status;

    dbk_segment *segment = NULL;
    status = dbk_segment_open(&config, store->cache, &segment, error);
    if (status == DAYBOOK_OK) {
        status = dbk_source_new(store->allocator, NULL, segment, merge->position_first, merge->position_last,
                                &merge->source);
        if (status != DAYBOOK_OK) {
            dbk_segment_unref(segment);
            (void)dbk_fail(error, status, "out of memory while merging segments");
        }
    }
    if (status != DAYBOOK_OK) { // no edit names it yet
        char name[40];
        dbk_segment_name(config.segment_id, name);
        dbk_remove_file(store, name);
    }
    return status;
}

// ---- Publishing -----------------------------------------------------------------------------------------

// What was removed from the inputs since the merge began is removed from the new segment.
static void inherit_removals(merging *merge) {
    for (size_t i = 0; i < merge->count; i++) {
        dbk_source *from = input_at(merge, i);
        pthread_rwlock_rdlock(&from->dead.lock);
        roaring_bitmap_t *since = roaring_bitmap_andnot(from->dead.removed, merge->dead[i].removed);
        roaring_uint32_iterator_t *at = roaring_create_iterator(since);
        for (; at->has_value; roaring_advance_uint32_iterator(at)) {
            uint64_t position = from->position_first + at->current_value;
            if (dbk_source_is_dead(merge->source, position)) continue;
            bool for_ever = roaring_bitmap_contains(from->dead.for_ever, at->current_value);
            dbk_source_mark_dead(merge->source, position, position, for_ever);
        }
        roaring_free_uint32_iterator(at);
        roaring_bitmap_free(since);
        pthread_rwlock_unlock(&from->dead.lock);
    }
}

static daybook_status prepare_view(merging *merge, dbk_view **view_out, daybook_error *error) {
    daybook_store *store = merge->store;
    dbk_view *old = dbk_store_get_view(store);
    size_t count = old->source_count - merge->count + 1;
    dbk_source **sources = dbk_resize_array(store->allocator, NULL, count, sizeof *sources);
    daybook_status status = sources == NULL ? DAYBOOK_ENOMEM : DAYBOOK_OK;
    if (status == DAYBOOK_OK) {
        // Flushes only added segments behind the inputs: their indexes are still right.
        size_t behind = merge->first + merge->count;
        memcpy(sources, old->sources, merge->first * sizeof *sources);
        sources[merge->first] = merge->source;
        memcpy(sources + merge->first + 1, old->sources + behind,
               (old->source_count - behind) * sizeof *sources);
        status = dbk_view_new(store->allocator, old->generation + 1, sources,
                              old->segment_count - merge->count + 1, count, view_out);
    }
    if (status == DAYBOOK_OK) {
        for (size_t i = 0; i < count; i++) dbk_source_ref(sources[i]);
    } else {
        (void)dbk_fail(error, status, "out of memory while merging segments");
    }
    dbk_free(store->allocator, sources);
    dbk_view_unref(old);
    return status;
}

static daybook_status write_inherited(merging *merge, uint64_t *generation_out, daybook_error *error) {
    pthread_rwlock_wrlock(&merge->source->dead.lock);
    merge->source->dead.changed = false;
    pthread_rwlock_unlock(&merge->source->dead.lock);
    dbk_dead_copy dead = {0};
    daybook_status status = dbk_dead_copy_take(merge->source, &dead);
    if (status != DAYBOOK_OK) return dbk_fail(error, status, "out of memory while merging segments");
    status = dbk_write_deletions(merge->store, merge->summary.segment_id, &dead, generation_out, error);
    dbk_dead_copy_deinit(&dead);
    return status;
}

static daybook_status commit_merge(merging *merge, uint64_t generation, daybook_error *error) {
    daybook_store *store = merge->store;
    dbk_manifest_edit edit;
    dbk_manifest_edit_init(&edit, store->allocator);
    for (size_t i = 0; i < merge->count; i++) {
        dbk_manifest_edit_remove_segment(&edit,
                                         dbk_segment_get_summary(input_at(merge, i)->segment)->segment_id);
    }
    dbk_manifest_segment segment = {.summary = merge->summary, .deletion_generation = generation};
    dbk_manifest_edit_add_segment(&edit, &segment);
    pthread_mutex_lock(&store->manifest_lock);
    dbk_manifest_edit_set_next_ids(&edit, atomic_load(&store->maintenance->next_segment_id),
                                   store->manifest.next_stream_id);
    daybook_status status = dbk_commit_edit(store, &edit, error);
    pthread_mutex_unlock(&store->manifest_lock);
    dbk_manifest_edit_deinit(&edit);
    return status;
}

static void remove_inputs(merging *merge) {
    for (size_t i = 0; i < merge->count; i++) {
        dbk_source *input = input_at(merge, i);
        uint64_t id = dbk_segment_get_summary(input->segment)->segment_id;
        char name[64];
        dbk_segment_name(id, name);
        if (merge->erasing) {
            dbk_remove_file(merge->store, name);
        } else {
            dbk_discard_file(merge->store, name);
        }
        if (input->dead.generation == 0) continue;
        dbk_deletions_name(id, input->dead.generation, name);
        dbk_remove_file(merge->store, name);
    }
}

static void forget_written(merging *merge, uint64_t generation) {
    char name[64];
    dbk_segment_name(merge->summary.segment_id, name);
    dbk_remove_file_later(merge->store, name);
    if (generation == 0) return;
    dbk_deletions_name(merge->summary.segment_id, generation, name);
    dbk_remove_file_later(merge->store, name);
}

static daybook_status publish(merging *merge, daybook_error *error) {
    daybook_store *store = merge->store;
    dbk_view *view = NULL;
    uint64_t generation = 0;
    pthread_mutex_lock(&store->maintenance_lock);
    daybook_status status = prepare_view(merge, &view, error);
    inherit_removals(merge);
    if (status == DAYBOOK_OK) status = write_inherited(merge, &generation, error);
    if (status == DAYBOOK_OK) status = dbk_commit_write_lazy(store, error);
    if (status == DAYBOOK_OK) status = commit_merge(merge, generation, error);
    if (status == DAYBOOK_OK) {
        merge->source->dead.generation = generation;
        pthread_mutex_lock(&store->removal_lock);
        inherit_removals(merge); // once more: removals went on while we wrote
        dbk_store_set_view(store, view);
        view = NULL;
        pthread_mutex_unlock(&store->removal_lock);
        remove_inputs(merge);
    } else {
        forget_written(merge, generation);
    }
    pthread_mutex_unlock(&store->maintenance_lock);
    dbk_view_unref(view);
    if (status == DAYBOOK_OK) {
        dbk_remove_doubtful(store);
        atomic_fetch_add(&store->merge_count, 1);
        atomic_fetch_add(&store->merged_bytes, merge->summary.file_bytes);
    }
    return status;
}

// merge_lock is held.
static daybook_status merge_range(daybook_store *store, dbk_view *view, size_t first, size_t count,
                                  bool erasing, daybook_error *error) {
    merging merge = {.store = store, .view = view, .first = first, .count = count, .erasing = erasing};
    merge.position_first = view->sources[first]->position_first;
    merge.position_last = view->sources[first + count - 1]->position_last;
    atomic_fetch_or(&store->maintenance->running, DAYBOOK_BACKGROUND_MERGE);
    merge.dead = dbk_alloc_zeroed(store->allocator, count * sizeof *merge.dead);
    daybook_status status = merge.dead == NULL ? DAYBOOK_ENOMEM : DAYBOOK_OK;
    for (size_t i = 0; status == DAYBOOK_OK && i < count; i++) {
        status = dbk_dead_copy_take(view->sources[first + i], &merge.dead[i]);
    }
    if (status != DAYBOOK_OK) (void)dbk_fail(error, status, "out of memory while merging segments");
    if (status == DAYBOOK_OK) status = write_merged(&merge, error);
    if (status == DAYBOOK_ENOSPC && count == 1 && dbk_make_space(store)) status = write_merged(&merge, error);
    if (status == DAYBOOK_OK) status = publish(&merge, error);
    merging_deinit(&merge);
    atomic_fetch_and(&store->maintenance->running, ~(unsigned)DAYBOOK_BACKGROUND_MERGE);
    return status;
}

// What of it cannot be read is left out next time. merge_lock is held.
static daybook_status merge_readable(daybook_store *store, dbk_view *view, size_t first, size_t count,
                                     daybook_error *error) {
    daybook_error detail;
    daybook_error_init(&detail);
    daybook_status status = merge_range(store, view, first, count, false, &detail);
    if (dbk_is_unreadable(status)) note_unmergeable(store, view, first, count, &detail);
    if (status != DAYBOOK_OK && error != NULL) *error = detail;
    return status;
}

daybook_status dbk_merge_once(daybook_store *store, bool removed_only, daybook_error *error) {
    struct dbk_maintenance *maintenance = store->maintenance;
    pthread_mutex_lock(&maintenance->merge_lock);
    dbk_view *view = dbk_store_get_view(store);
    size_t first = 0;
    size_t count = 0;
    daybook_status status = DAYBOOK_END;
    forget_unmergeable(store);
    bool found = !removed_only && choose_run(store, view, &first, &count) &&
                 fits_disk(store, view, first, count);
    if (found || choose_half_dead(store, view, &first, &count))
        status = merge_readable(store, view, first, count, error);
    dbk_view_unref(view);
    pthread_mutex_unlock(&maintenance->merge_lock);
    return status;
}

// ---- Erasing --------------------------------------------------------------------------------------------

static bool has_removed(dbk_source *source, uint64_t first) {
    if (source->position_last < first) return false;
    if (first < source->position_first) first = source->position_first;
    pthread_rwlock_rdlock(&source->dead.lock);
    bool found = roaring_bitmap_range_cardinality(source->dead.removed, first - source->position_first,
                                                  source->position_last - source->position_first + 1) > 0;
    pthread_rwlock_unlock(&source->dead.lock);
    return found;
}

// Limits and purges of a whole stream leave a mark instead of single removals.
static bool has_marked(const daybook_store *store, const dbk_source *source, uint64_t first) {
    if (source->position_last < first) return false;
    dbk_segment_stream part;
    for (uint32_t i = 0; dbk_segment_get_stream(source->segment, i, &part); i++) {
        if (part.event_count == 0 || part.last_position < first) continue;
        const dbk_stream *stream = dbk_stream_table_find_id(store->streams, part.stream_id);
        if (stream == NULL || atomic_load(&stream->removed)) return true;
        if (atomic_load(&stream->first_position) > part.first_position) return true;
    }
    return false;
}

// Segments share dictionaries (segment/dictionary.c), which are made of pieces of events: of events in the
// first segment that has it, or none of it is left. What of the others has one in common with a segment that
// is rewritten, and first had it, is rewritten too.
typedef struct erasing {
    daybook_store *store;
    dbk_view *view;
    bool *is_due;      // of each segment
    uint64_t **hashes; // of each segment's dictionaries
} erasing;

static daybook_status begin_erasing(erasing *work, daybook_error *error) {
    const daybook_allocator *allocator = work->store->allocator;
    size_t count = work->view->segment_count;
    work->is_due = dbk_alloc_zeroed(allocator, count * sizeof *work->is_due + 1);
    work->hashes = dbk_alloc_zeroed(allocator, count * sizeof *work->hashes + 1);
    bool has_memory = work->is_due != NULL && work->hashes != NULL;
    for (size_t i = 0; has_memory && i < count; i++) {
        const dbk_segment *segment = work->view->sources[i]->segment;
        size_t dictionaries = dbk_segment_dictionary_count(segment);
        work->hashes[i] = dbk_resize_array(allocator, NULL, dictionaries, sizeof **work->hashes);
        has_memory = work->hashes[i] != NULL;
        if (has_memory) DBK_TRY(dbk_segment_hash_dictionaries(segment, work->hashes[i], error));
    }
    return has_memory ? DAYBOOK_OK : dbk_fail(error, DAYBOOK_ENOMEM, "out of memory while erasing");
}

static void release_view(erasing *work) {
    const daybook_allocator *allocator = work->store->allocator;
    for (size_t i = 0; work->hashes != NULL && i < work->view->segment_count; i++)
        dbk_free(allocator, work->hashes[i]);
    dbk_free(allocator, work->hashes);
    dbk_view_unref(work->view);
}

static bool has_dictionary(const erasing *work, size_t index, uint64_t hash) {
    uint32_t count = dbk_segment_dictionary_count(work->view->sources[index]->segment);
    for (uint32_t i = 0; i < count; i++) {
        if (work->hashes[index][i] == hash) return true;
    }
    return false;
}

static void mark_sharers(erasing *work, size_t index) {
    uint32_t count = dbk_segment_dictionary_count(work->view->sources[index]->segment);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t hash = work->hashes[index][i];
        bool is_first = true;
        for (size_t before = 0; before < index && is_first; before++)
            is_first = !has_dictionary(work, before, hash);
        for (size_t behind = index + 1; is_first && behind < work->view->segment_count; behind++) {
            if (has_dictionary(work, behind, hash)) work->is_due[behind] = true;
        }
    }
}

// Did events of the stream within these seqs go to the segment, or to one it was merged from, and are not
// there any more? Merging copies dictionaries whole.
static bool has_lost(const erasing *work, size_t index, uint32_t stream_id, uint64_t first, uint64_t last) {
    dbk_segment_stream part;
    if (!dbk_segment_find_stream(work->view->sources[index]->segment, stream_id, &part)) return false;
    uint64_t seq_max = part.seq_max, event_count = part.event_count, seq_before = 0;
    for (size_t i = 0; i < index; i++) {
        if (dbk_segment_find_stream(work->view->sources[i]->segment, stream_id, &part) &&
            part.seq_max > seq_before)
            seq_before = part.seq_max;
    }
    return seq_max >= first && seq_before < last && seq_max > seq_before &&
           seq_max - seq_before > event_count;
}

static bool has_dropped(const erasing *work, size_t index, const dbk_dropped *dropped) {
    if (dropped == NULL) return false;
    if (has_lost(work, index, dropped->stream_id, dropped->seq_first, dropped->seq_last)) return true;
    return dropped->snapshots_id != 0 && has_lost(work, index, dropped->snapshots_id, 1, UINT64_MAX);
}

static daybook_status find_due(erasing *work, uint64_t position_first, const dbk_dropped *dropped,
                               daybook_error *error) {
    DBK_TRY(begin_erasing(work, error));
    for (size_t i = 0; i < work->view->segment_count; i++) {
        dbk_source *source = work->view->sources[i];
        if (!has_removed(source, position_first) && !has_marked(work->store, source, position_first) &&
            !has_dropped(work, i, dropped))
            continue;
        work->is_due[i] = true;
        mark_sharers(work, i);
    }
    return DAYBOOK_OK;
}

daybook_status dbk_merge_erase(daybook_store *store, uint64_t position_first, const dbk_dropped *dropped,
                               daybook_error *error) {
    erasing work = {.store = store, .view = dbk_store_get_view(store)};
    daybook_status status = find_due(&work, position_first, dropped, error);
    size_t count = work.view->segment_count;
    release_view(&work); // it would keep the files that are replaced
    // Rewriting keeps the number and order of segments; a flush meanwhile adds some behind, which hold
    // nothing removed before.
    for (size_t i = 0; status == DAYBOOK_OK && i < count; i++) {
        if (!work.is_due[i]) continue;
        dbk_view *view = dbk_store_get_view(store);
        status = merge_range(store, view, i, 1, true, error);
        dbk_view_unref(view);
    }
    dbk_free(store->allocator, work.is_due);
    return status;
}
