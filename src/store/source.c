// SPDX-License-Identifier: Apache-2.0
// Sources, their dead sets, and views: see source.h.
#include "store/source.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "store/store_internal.h"

static daybook_status new_source(const daybook_allocator *allocator, dbk_memtable *memtable,
                                 dbk_segment *segment, char *damage, uint64_t position_first,
                                 uint64_t position_last, dbk_source **source_out) {
    *source_out = NULL;
    dbk_source *source = dbk_alloc_zeroed(allocator, sizeof *source);
    if (source == NULL) return DAYBOOK_ENOMEM;
    source->dead.removed = roaring_bitmap_create();
    source->dead.for_ever = roaring_bitmap_create();
    if (source->dead.removed == NULL || source->dead.for_ever == NULL) {
        if (source->dead.removed != NULL) roaring_bitmap_free(source->dead.removed);
        if (source->dead.for_ever != NULL) roaring_bitmap_free(source->dead.for_ever);
        dbk_free(allocator, source);
        return DAYBOOK_ENOMEM;
    }
    pthread_rwlock_init(&source->dead.lock, NULL);
    pthread_mutex_init(&source->expiry.lock, NULL);
    atomic_init(&source->refs, 1);
    source->allocator = allocator;
    source->memtable = memtable;
    source->segment = segment;
    source->damage = damage;
    source->position_first = position_first;
    source->position_last = position_last;
    *source_out = source;
    return DAYBOOK_OK;
}

daybook_status dbk_source_new(const daybook_allocator *allocator, dbk_memtable *memtable,
                              dbk_segment *segment, uint64_t position_first, uint64_t position_last,
                              dbk_source **source_out) {
    DBK_ASSERT((memtable == NULL) != (segment == NULL));
    return new_source(allocator, memtable, segment, NULL, position_first, position_last, source_out);
}

daybook_status dbk_source_new_damaged(const daybook_allocator *allocator, uint64_t position_first,
                                      uint64_t position_last, const char *damage, dbk_source **source_out) {
    *source_out = NULL;
    char *copy = dbk_copy_text(allocator, daybook_text(damage));
    if (copy == NULL) return DAYBOOK_ENOMEM;
    daybook_status status =
        new_source(allocator, NULL, NULL, copy, position_first, position_last, source_out);
    if (status != DAYBOOK_OK) dbk_free(allocator, copy);
    return status;
}

daybook_status dbk_source_check(const dbk_source *source, daybook_error *error) {
    if (source->damage == NULL) return DAYBOOK_OK;
    return dbk_fail_damaged(error, NULL, 0, "%s", source->damage);
}

dbk_source *dbk_source_ref(dbk_source *source) {
    atomic_fetch_add_explicit(&source->refs, 1, memory_order_relaxed);
    return source;
}

void dbk_source_unref(dbk_source *source) {
    if (source == NULL || atomic_fetch_sub_explicit(&source->refs, 1, memory_order_acq_rel) != 1) return;
    if (source->memtable != NULL) dbk_memtable_unref(source->memtable);
    if (source->segment != NULL) dbk_segment_unref(source->segment);
    dbk_free(source->allocator, source->damage);
    roaring_bitmap_free(source->dead.removed);
    roaring_bitmap_free(source->dead.for_ever);
    pthread_rwlock_destroy(&source->dead.lock);
    pthread_mutex_destroy(&source->expiry.lock);
    dbk_free(source->allocator, source->expiry.items);
    dbk_free(source->allocator, source);
}

bool dbk_source_is_dead(dbk_source *source, uint64_t position) {
    if (atomic_load_explicit(&source->dead.count, memory_order_acquire) == 0) return false;
    pthread_rwlock_rdlock(&source->dead.lock);
    bool dead = roaring_bitmap_contains(source->dead.removed, (uint32_t)(position - source->position_first));
    pthread_rwlock_unlock(&source->dead.lock);
    return dead;
}

dbk_liveness dbk_source_liveness(dbk_source *source, uint64_t position) {
    if (atomic_load_explicit(&source->dead.count, memory_order_acquire) == 0) return DBK_LIVE;
    uint32_t relative = (uint32_t)(position - source->position_first);
    pthread_rwlock_rdlock(&source->dead.lock);
    bool removed = roaring_bitmap_contains(source->dead.removed, relative);
    bool for_ever = removed && roaring_bitmap_contains(source->dead.for_ever, relative);
    pthread_rwlock_unlock(&source->dead.lock);
    return for_ever ? DBK_REMOVED_FOR_EVER : removed ? DBK_REMOVED : DBK_LIVE;
}

daybook_status dbk_source_read(dbk_source *source, uint64_t position, dbk_block_view *block,
                               dbk_event *event_out, daybook_error *error) {
    if (source->memtable != NULL) return dbk_memtable_get(source->memtable, position, event_out);
    bool loaded = block->memory != NULL && block->segment == source->segment &&
                  position >= block->position_first && position <= block->position_last;
    if (!loaded) {
        dbk_block_place place;
        daybook_status status = dbk_segment_find_block(source->segment, position, &place, error);
        if (status == DAYBOOK_END) return DAYBOOK_ENOTFOUND;
        if (status != DAYBOOK_OK) return status;
        DBK_TRY(dbk_block_load_at(source->segment, &place, block, error));
    }
    uint32_t index = dbk_block_find(block, position);
    if (index >= block->event_count) return DAYBOOK_ENOTFOUND;
    DBK_TRY(dbk_block_event(block, index, event_out, error));
    return event_out->position == position ? DAYBOOK_OK : DAYBOOK_ENOTFOUND;
}

daybook_status dbk_source_find_seq(dbk_source *source, const dbk_segment_stream *in, bool given, uint64_t seq,
                                   uint64_t slack, uint64_t *position_out, daybook_error *error) {
    dbk_segment *segment = source->segment;
    if (seq <= in->first_seq) {
        *position_out = in->first_position;
        return DAYBOOK_OK;
    }
    if (seq > in->last_seq) {
        *position_out = in->last_position + 1;
        return DAYBOOK_OK;
    }
    // Each event of the stream takes a position at least, which bounds where the seq can lie from both sides;
    // but seqs that were given may leave out more than positions do.
    uint64_t low = given ? in->first_position : in->first_position + (seq - in->first_seq);
    uint64_t high = given ? in->last_position : in->last_position - (in->last_seq - seq);
    *position_out = low;
    if (high <= low + slack) return DAYBOOK_OK;
    dbk_term term;
    dbk_term_entry entry;
    dbk_term_make(&term, DBK_TERM_STREAM, in->stream_id, daybook_bytes(NULL, 0));
    DBK_TRY(dbk_segment_find_term(segment, dbk_term_slice(&term), &entry, error));
    dbk_postings *postings;
    DBK_TRY(dbk_postings_open(segment, &entry, &postings, error));
    dbk_block_view block = {0};
    daybook_status status = DAYBOOK_OK;
    while (status == DAYBOOK_OK && high > low + slack) {
        uint64_t middle = low + (high - low) / 2, position;
        dbk_event event;
        status = dbk_postings_seek(postings, middle, &position, error);
        if (status == DAYBOOK_END || (status == DAYBOOK_OK && position >= high)) {
            high = middle;
            status = DAYBOOK_OK;
            continue;
        }
        if (status == DAYBOOK_OK) status = dbk_source_read(source, position, &block, &event, error);
        if (status != DAYBOOK_OK) break;
        if (event.seq < seq) {
            low = position + 1;
        } else {
            high = middle;
        }
    }
    dbk_block_release(&block);
    dbk_postings_close(postings);
    *position_out = low;
    return status;
}

daybook_status dbk_source_copy_dead(dbk_source *source, roaring_bitmap_t **dead_out) {
    *dead_out = NULL;
    if (atomic_load_explicit(&source->dead.count, memory_order_acquire) == 0) return DAYBOOK_OK;
    pthread_rwlock_rdlock(&source->dead.lock);
    *dead_out = roaring_bitmap_copy(source->dead.removed);
    pthread_rwlock_unlock(&source->dead.lock);
    return *dead_out == NULL ? DAYBOOK_ENOMEM : DAYBOOK_OK;
}

void dbk_source_mark_dead(dbk_source *source, uint64_t first, uint64_t last, bool for_ever) {
    if (first < source->position_first) first = source->position_first;
    if (last > source->position_last) last = source->position_last;
    if (first > last) return;
    uint64_t begin = first - source->position_first;
    uint64_t end = last - source->position_first + 1;
    pthread_rwlock_wrlock(&source->dead.lock);
    roaring_bitmap_add_range(source->dead.removed, begin, end);
    if (for_ever) roaring_bitmap_add_range(source->dead.for_ever, begin, end);
    source->dead.changed = true;
    atomic_store_explicit(&source->dead.count, roaring_bitmap_get_cardinality(source->dead.removed),
                          memory_order_release);
    pthread_rwlock_unlock(&source->dead.lock);
}

// ---- Views ------------------------------------------------------------------------------------------------

daybook_status dbk_view_new(const daybook_allocator *allocator, uint64_t generation,
                            dbk_source *const *sources, size_t segment_count, size_t source_count,
                            dbk_view **view_out) {
    *view_out = NULL;
    dbk_view *view = dbk_alloc(allocator, sizeof *view + source_count * sizeof(dbk_source *));
    if (view == NULL) return DAYBOOK_ENOMEM;
    atomic_init(&view->refs, 1);
    view->allocator = allocator;
    view->generation = generation;
    view->segment_count = segment_count;
    view->source_count = source_count;
    for (size_t i = 0; i < source_count; i++) {
        DBK_ASSERT(i == 0 || sources[i]->position_first > sources[i - 1]->position_last);
        view->sources[i] = sources[i];
    }
    *view_out = view;
    return DAYBOOK_OK;
}

dbk_view *dbk_view_ref(dbk_view *view) {
    atomic_fetch_add_explicit(&view->refs, 1, memory_order_relaxed);
    return view;
}

void dbk_view_unref(dbk_view *view) {
    if (view == NULL || atomic_fetch_sub_explicit(&view->refs, 1, memory_order_acq_rel) != 1) return;
    for (size_t i = 0; i < view->source_count; i++) dbk_source_unref(view->sources[i]);
    dbk_free(view->allocator, view);
}

size_t dbk_view_find(const dbk_view *view, uint64_t position) {
    size_t low = 0;
    for (size_t high = view->source_count; low < high;) {
        size_t middle = low + (high - low) / 2;
        if (view->sources[middle]->position_last < position) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

dbk_view *dbk_store_get_view(daybook_store *store) {
    pthread_mutex_lock(&store->view_lock);
    dbk_view *view = dbk_view_ref(store->view);
    pthread_mutex_unlock(&store->view_lock);
    return view;
}

void dbk_store_set_view(daybook_store *store, dbk_view *view) {
    pthread_mutex_lock(&store->view_lock);
    dbk_view *old = store->view;
    store->view = view;
    size_t memtable_count = view == NULL ? 0 : view->source_count - view->segment_count;
    atomic_store(&store->frozen_count, memtable_count > 0 ? memtable_count - 1 : 0);
    atomic_store_explicit(&store->view_generation, view == NULL ? 0 : view->generation, memory_order_release);
    pthread_mutex_unlock(&store->view_lock);
    dbk_view_unref(old);
}

bool dbk_store_is_live(daybook_store *store, dbk_source *source, uint32_t stream_id, uint64_t position) {
    const dbk_stream *stream = dbk_stream_table_find_id(store->streams, stream_id);
    return stream != NULL && !atomic_load_explicit(&stream->removed, memory_order_acquire) &&
           position >= atomic_load_explicit(&stream->first_position, memory_order_acquire) &&
           !dbk_source_is_dead(source, position);
}

void dbk_store_log(daybook_store *store, int level, const char *format, ...) {
    if (store->options.log == NULL) return;
    char message[DAYBOOK_ERROR_MESSAGE_MAX];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (size < 0) return;
    store->options.log(store->options.log_context, level, daybook_text(message));
}
