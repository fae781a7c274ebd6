// SPDX-License-Identifier: Apache-2.0
// A store open for reading: built from the manifest and the journal, then kept up with a writer in another
// process.
//
// Which end: while a writer lives (it holds LOCK, and the live page carries the session LOCK names) the
// journal is read up to the durable LSN of the live page, no further: what lies behind is not acknowledged.
// Without one the reader recovers as a writer would, in memory, and writes nothing.
//
// Refreshing, one thread at a time (follower->lock); many cursors of the store share the result:
//   - nothing changed on the live page: done.
//   - the manifest changed: load it. Its segments take the place of the memory tables they cover, or of the
//     segments they were merged from; removals replayed before are handed on.
//   - the durable LSN grew: replay the journal from where we were.
//   - what we would have to replay is not in the journal any more (the writer flushed and recycled past
//     us): start over from the manifest, aside, and swap the result in. The same when a page on the way
//     turns out to be of a later lap, or a file is gone: the writer went on while we read. Only when the
//     manifest has not changed meanwhile it is damage.
//
// Starting over builds into a shadow (a store struct with a view and a table of streams of its own),
// because cursors go on reading the store meanwhile: the manifest's streams and marks are older than what
// cursors have seen. Then the store takes over in one go; durable position and marks never go back.
//
// What memory tables of a reader hold is bounded by what the writer has not flushed; tables are rolled
// small, so that what is flushed can be dropped soon.
//
// Threads: any. Waiting sleeps on the live page (a futex shared between processes), with a tick to notice a
// writer that appeared where none was.
#include "store/follower.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/time.h"
#include "store/directory.h"
#include "store/recovery.h"

enum { ATTEMPTS_MAX = 100, ATTEMPT_DELAY_MS = 2, TICK_MS = 500, START_WAIT_MS = 1000 };

struct dbk_follower {
    pthread_mutex_t lock; // one refresh at a time
    uint64_t next_lsn;    // the journal is replayed up to here
    uint64_t session;     // the live page named when we started over; 0: there was none
    bool is_damaged;      // the journal; replay ends before it

    pthread_mutex_t seen_lock;
    bool has_seen;        // guarded by seen_lock, as what follows
    dbk_live_values seen; // up to which the store is
};

// ---- Is there a writer? ---------------------------------------------------------------------------------

static bool open_live(daybook_store *store) {
    struct dbk_follower *follower = store->follower;
    if (store->live != NULL) return true;
    dbk_live *live = NULL;
    if (dbk_live_open(store->allocator, store->vfs, store->path, &store->uuid, false, &live, NULL) !=
        DAYBOOK_OK)
        return false;
    pthread_mutex_lock(&follower->seen_lock);
    store->live = live;
    pthread_mutex_unlock(&follower->seen_lock);
    return true;
}

// Whether a writer lives, and what the live page says; *known_out is false where it says nothing.
static bool find_writer(daybook_store *store, dbk_live_values *values, bool *known_out) {
    *known_out = false;
    if (!open_live(store)) return false;
    // A writer that is just opening holds the lock but has not published yet: it will in a moment.
    int64_t until_ns = store->vfs->clock_monotonic_ns(store->vfs) + START_WAIT_MS * DBK_MILLISECOND_NS;
    for (;;) {
        *known_out = dbk_live_get(store->live, values);
        uint64_t session = 0;
        if (!dbk_lock_is_held(store->vfs, store->path, &session)) return false;
        if (*known_out && values->writer_open && values->session == session) return true;
        if (store->vfs->clock_monotonic_ns(store->vfs) >= until_ns) return false;
        dbk_sleep_ns(store->vfs, ATTEMPT_DELAY_MS * DBK_MILLISECOND_NS);
    }
}

static void set_seen(daybook_store *store, const dbk_live_values *values) {
    struct dbk_follower *follower = store->follower;
    pthread_mutex_lock(&follower->seen_lock);
    follower->has_seen = values != NULL;
    if (values != NULL) follower->seen = *values;
    pthread_mutex_unlock(&follower->seen_lock);
}

// ---- Views ----------------------------------------------------------------------------------------------

static bool has_source(dbk_source *const *sources, size_t count, const dbk_source *source) {
    for (size_t i = 0; i < count; i++) {
        if (sources[i] == source) return true;
    }
    return false;
}

static void mark_in(dbk_source *const *sources, size_t count, uint64_t first, uint64_t last, bool for_ever) {
    for (size_t i = 0; i < count; i++) {
        if (sources[i]->position_first <= last && sources[i]->position_last >= first) {
            dbk_source_mark_dead(sources[i], first, last, for_ever);
        }
    }
}

// Removals known of `from` are removals of whatever holds its events now.
static void hand_on_removals(dbk_source *from, dbk_source *const *sources, size_t count) {
    if (atomic_load(&from->dead.count) == 0) return;
    pthread_rwlock_rdlock(&from->dead.lock);
    roaring_uint32_iterator_t *at = roaring_create_iterator(from->dead.removed);
    while (at->has_value) {
        uint32_t first = at->current_value;
        uint32_t last = first;
        bool for_ever = roaring_bitmap_contains(from->dead.for_ever, first);
        while (roaring_advance_uint32_iterator(at) && at->current_value == last + 1 &&
               roaring_bitmap_contains(from->dead.for_ever, at->current_value) == for_ever) {
            last++;
        }
        mark_in(sources, count, from->position_first + first, from->position_first + last, for_ever);
    }
    roaring_free_uint32_iterator(at);
    pthread_rwlock_unlock(&from->dead.lock);
}

// What of a memory table lies behind `flushed`, in a table of its own: tables of a reader are small, and a
// source that showed only part of its table would be a trap for everybody who walks the table's indexes.
static daybook_status copy_behind(daybook_store *store, dbk_source *from, uint64_t flushed,
                                  dbk_source **source_out) {
    dbk_memtable *memtable = NULL;
    DBK_TRY(dbk_memtable_new(store->allocator, flushed + 1, &memtable));
    uint64_t end = dbk_memtable_position_end(from->memtable);
    daybook_status status = DAYBOOK_OK;
    for (uint64_t position = flushed + 1; status == DAYBOOK_OK && position < end; position++) {
        dbk_event event;
        status = dbk_memtable_get(from->memtable, position, &event);
        if (status == DAYBOOK_OK) {
            status = dbk_memtable_add(memtable, &event);
        } else if (status == DAYBOOK_ENOTFOUND) {
            status = DAYBOOK_OK;
        }
    }
    if (status == DAYBOOK_OK && end > flushed + 1) status = dbk_memtable_skip_to(memtable, end);
    if (status == DAYBOOK_OK) {
        status =
            dbk_source_new(store->allocator, memtable, NULL, flushed + 1, from->position_last, source_out);
    }
    if (status != DAYBOOK_OK) dbk_memtable_unref(memtable);
    return status;
}

// Append to `sources` what of the memory tables of `old` lies behind `flushed`; the last one is active.
static daybook_status keep_memtables(daybook_store *store, const dbk_view *old, uint64_t flushed,
                                     dbk_source **sources, size_t *count) {
    for (size_t i = old->segment_count; i < old->source_count; i++) {
        dbk_source *source = old->sources[i];
        bool is_active = i + 1 == old->source_count;
        if (source->memtable == NULL) continue; // a gap in the journal: the store is read anew then
        if (!is_active && source->position_last <= flushed) continue;
        if (source->position_first > flushed) {
            sources[(*count)++] = dbk_source_ref(source);
        } else {
            DBK_TRY(copy_behind(store, source, flushed, &sources[*count]));
            (*count)++;
        }
    }
    return DAYBOOK_OK;
}

static void adopt_manifest(daybook_store *store, dbk_manifest *fresh) {
    pthread_mutex_lock(&store->manifest_lock);
    dbk_manifest_deinit(&store->manifest);
    store->manifest = *fresh;
    dbk_manifest_init(fresh, store->allocator, store->vfs, store->path);
    dbk_store_note_manifest(store);
    pthread_mutex_unlock(&store->manifest_lock);
    atomic_store(&store->flushed_position, store->manifest.flushed_position);
}

// A view of the fresh manifest's segments and of the memory tables behind them.
static daybook_status change_view(daybook_store *store, const dbk_manifest *fresh, daybook_error *error) {
    dbk_view *old = dbk_store_get_view(store);
    dbk_source **sources = NULL;
    size_t segment_count = 0;
    size_t extra = old->source_count - old->segment_count + 1;
    daybook_status status =
        dbk_recovery_open_segments(store, fresh, old, extra, false, &sources, &segment_count, error);
    if (status != DAYBOOK_OK) {
        dbk_view_unref(old);
        return status;
    }
    size_t count = segment_count;
    dbk_view *view = NULL;
    status = keep_memtables(store, old, fresh->flushed_position, sources, &count);
    if (status == DAYBOOK_OK) {
        status = dbk_view_new(store->allocator, old->generation + 1, sources, segment_count, count, &view);
    }
    if (status == DAYBOOK_OK) {
        pthread_mutex_lock(&store->removal_lock);
        for (size_t i = 0; i < old->source_count; i++) {
            if (!has_source(sources, count, old->sources[i]))
                hand_on_removals(old->sources[i], sources, count);
        }
        store->active = sources[count - 1];
        dbk_store_set_view(store, view);
        pthread_mutex_unlock(&store->removal_lock);
    } else {
        for (size_t i = 0; i < count; i++) dbk_source_unref(sources[i]);
        (void)dbk_fail(error, status, "out of memory while reading %s", store->path);
    }
    dbk_free(store->allocator, sources);
    dbk_view_unref(old);
    return status;
}

// ---- Starting over --------------------------------------------------------------------------------------

// What replay and recovery touch of a store, on a view of its own.
static daybook_status shadow_init(daybook_store *shadow, const daybook_store *store) {
    memset(shadow, 0, sizeof *shadow);
    shadow->allocator = store->allocator;
    shadow->vfs = store->vfs;
    shadow->options = store->options;
    memcpy(shadow->path, store->path, sizeof shadow->path);
    shadow->read_only = true;
    shadow->uuid = store->uuid;
    shadow->incarnation = store->incarnation;
    shadow->cache = store->cache;
    pthread_mutex_init(&shadow->state_lock, NULL);
    pthread_mutex_init(&shadow->removal_lock, NULL);
    pthread_mutex_init(&shadow->view_lock, NULL);
    return dbk_stream_table_new(store->allocator, &shadow->streams);
}

static void shadow_deinit(daybook_store *shadow) {
    dbk_view_unref(shadow->view);
    dbk_stream_table_free(shadow->streams);
    pthread_mutex_destroy(&shadow->state_lock);
    pthread_mutex_destroy(&shadow->removal_lock);
    pthread_mutex_destroy(&shadow->view_lock);
}

static size_t roll_bytes(const daybook_store *store) {
    return (size_t)(store->options.memtable_bytes / 4);
}

// Replay as far as can be read; damage on the way is logged and ends it, *damaged_out.
static daybook_status replay_some(daybook_store *store, const dbk_manifest *manifest, uint64_t start_lsn,
                                  uint64_t stop_lsn, uint64_t *next_lsn_out, dbk_journal_recovery *recovery,
                                  daybook_error *error) {
    dbk_replay replay = {.store = store, .roll_bytes = roll_bytes(store)};
    *recovery = (dbk_journal_recovery){0};
    *next_lsn_out = start_lsn;
    if (manifest->journal_piece_count == 0) return DAYBOOK_OK; // a backup
    if (stop_lsn != 0 && stop_lsn <= start_lsn) return DAYBOOK_OK;
    DBK_TRY(dbk_recovery_replay(&replay, manifest, start_lsn, stop_lsn, manifest->journal_durable_lsn,
                                recovery, error));
    *next_lsn_out = recovery->end_lsn;
    return DAYBOOK_OK;
}

// The table that holds `position`: mostly the active one, but tables are rolled while replay goes on.
static size_t table_of(const dbk_view *view, uint64_t position) {
    size_t at = view->source_count - 1;
    while (at > view->segment_count && view->sources[at]->position_first > position) at--;
    return at;
}

// The range of positions that should follow what was replayed, and does not. The table that holds the first
// event behind it becomes one that begins there.
static daybook_status insert_gap(daybook_store *store, uint64_t first, uint64_t last, const char *damage) {
    dbk_view *old = store->view;
    size_t at = table_of(old, last + 1);
    dbk_source **sources = dbk_resize_array(store->allocator, NULL, old->source_count + 1, sizeof *sources);
    dbk_source *gap = NULL;
    dbk_source *behind = NULL;
    dbk_view *view = NULL;
    if (sources == NULL) return DAYBOOK_ENOMEM;
    daybook_status status = dbk_source_new_damaged(store->allocator, first, last, damage, &gap);
    dbk_source *table = old->sources[at];
    if (status == DAYBOOK_OK) {
        dbk_memtable *memtable = dbk_memtable_ref(table->memtable);
        status = dbk_source_new(store->allocator, memtable, NULL, last + 1,
                                atomic_load(&table->position_last), &behind);
        if (status != DAYBOOK_OK) dbk_memtable_unref(memtable);
    }
    if (status == DAYBOOK_OK) {
        memcpy(sources, old->sources, at * sizeof *sources);
        sources[at] = gap;
        sources[at + 1] = behind;
        memcpy(&sources[at + 2], &old->sources[at + 1], (old->source_count - at - 1) * sizeof *sources);
        status = dbk_view_new(store->allocator, old->generation, sources, old->segment_count,
                              old->source_count + 1, &view);
    }
    if (status == DAYBOOK_OK) {
        for (size_t i = 0; i < old->source_count; i++) {
            if (i != at) dbk_source_ref(old->sources[i]);
        }
        hand_on_removals(table, &behind, 1);
        if (store->active == table) store->active = behind;
        dbk_store_set_view(store, view);
    } else {
        dbk_source_unref(gap);
        dbk_source_unref(behind);
    }
    dbk_free(store->allocator, sources);
    return status;
}

// Position of the first event at or behind `position`; 0 where there is none.
static uint64_t first_event(const daybook_store *store, uint64_t position) {
    const dbk_view *view = store->view;
    dbk_event event;
    for (size_t i = view->segment_count; i < view->source_count; i++) {
        dbk_memtable *memtable = view->sources[i]->memtable;
        if (memtable == NULL) continue; // an earlier gap
        uint64_t at = dbk_memtable_position_first(memtable);
        if (at < position) at = position;
        for (; at < dbk_memtable_position_end(memtable); at++) {
            if (dbk_memtable_get(memtable, at, &event) == DAYBOOK_OK) return at;
        }
    }
    return 0;
}

// Replay what can be read behind the damage that `recovery` tells of, marking what is missing in between.
static daybook_status replay_over_damage(daybook_store *store, const dbk_manifest *manifest,
                                         uint64_t stop_lsn, uint64_t *next_lsn,
                                         dbk_journal_recovery *recovery, daybook_error *error) {
    if (recovery->damaged) dbk_stream_table_note_gap(store->streams);
    while (recovery->damaged) {
        char damage[DBK_PATH_SIZE_MAX + 256];
        uint64_t missing = store->next_position;
        uint64_t resume_lsn = recovery->resume_lsn;
        (void)snprintf(damage, sizeof damage, "%s/journal is damaged at byte %llu: %s; run daybook verify",
                       store->path, (unsigned long long)recovery->damage_offset, recovery->damage_text);
        dbk_store_log(store, DAYBOOK_LOG_ERROR, "%s", damage);
        daybook_status status = DAYBOOK_OK;
        if (store->active->position_first < missing) status = dbk_recovery_roll(store, missing);
        recovery->damaged = false;
        if (status == DAYBOOK_OK && resume_lsn > *next_lsn) {
            status = replay_some(store, manifest, resume_lsn, stop_lsn, next_lsn, recovery, error);
            if (status != DAYBOOK_OK) return status;
        }
        uint64_t found = first_event(store, missing);
        if (found == missing) continue; // what is lost were removals or changes of streams
        if (found == 0) {
            // Nothing comes behind: one position stands for all that is lost.
            found = missing + 1;
            if (dbk_memtable_position_end(store->active->memtable) <= missing) {
                status = dbk_memtable_skip_to(store->active->memtable, found);
                store->next_position = found;
            }
        }
        if (status == DAYBOOK_OK) status = insert_gap(store, missing, found - 1, damage);
        if (status != DAYBOOK_OK)
            return dbk_fail(error, status, "out of memory while reading %s", store->path);
    }
    return DAYBOOK_OK;
}

static uint64_t map_end(const dbk_manifest *manifest) {
    return manifest->journal_first_lsn + (uint64_t)manifest->journal_piece_count * DBK_JOURNAL_PIECE_PAGES;
}

static void raise_to(atomic_uint_fast64_t *value, uint64_t other) {
    if (other > atomic_load(value)) atomic_store(value, other);
}

static daybook_status take_stream(daybook_store *store, const dbk_stream *from, daybook_error *error) {
    const daybook_stream_config *config = atomic_load(&from->config);
    dbk_stream *stream = dbk_stream_table_find_id(store->streams, from->id);
    if (stream == NULL) {
        DBK_TRY(dbk_stream_table_add(store->streams, from->id, config, from->created_ns, &stream, error));
    } else {
        DBK_TRY(dbk_stream_table_update(store->streams, stream, config, error));
    }
    stream->last_seq = from->last_seq;
    raise_to(&stream->first_seq, atomic_load(&from->first_seq));
    raise_to(&stream->first_position, atomic_load(&from->first_position));
    raise_to(&stream->purged_position, atomic_load(&from->purged_position));
    raise_to(&stream->published_seq, atomic_load(&from->published_seq));
    atomic_store(&stream->message_count, atomic_load(&from->message_count));
    atomic_store(&stream->byte_count, atomic_load(&from->byte_count));
    atomic_store(&stream->last_recorded_ns, atomic_load(&from->last_recorded_ns));
    return DAYBOOK_OK;
}

// Make the store's streams those of the shadow: first what is gone, so that names and subjects are free.
static daybook_status take_streams(daybook_store *store, const daybook_store *shadow, daybook_error *error) {
    dbk_stream **old = NULL;
    dbk_stream **fresh = NULL;
    size_t old_count = 0;
    size_t fresh_count = 0;
    daybook_status status = dbk_stream_table_all(store->streams, &old, &old_count);
    if (status == DAYBOOK_OK) status = dbk_stream_table_all(shadow->streams, &fresh, &fresh_count);
    if (status != DAYBOOK_OK) (void)dbk_fail(error, status, "out of memory while reading %s", store->path);
    for (size_t i = 0; status == DAYBOOK_OK && i < old_count; i++) {
        const dbk_stream *in = dbk_stream_table_find_id(shadow->streams, old[i]->id);
        bool is_gone = in == NULL || atomic_load(&in->removed); // what was replayed may have removed it
        if (is_gone) dbk_stream_table_remove(store->streams, old[i]);
    }
    for (size_t i = 0; status == DAYBOOK_OK && i < fresh_count; i++)
        status = take_stream(store, fresh[i], error);
    dbk_free(store->allocator, old);
    dbk_free(store->allocator, fresh);
    return status;
}

// Take the shadow's view and position for the store's own.
static void publish_shadow(daybook_store *store, daybook_store *shadow) {
    uint64_t position = shadow->next_position - 1;
    pthread_mutex_lock(&store->removal_lock);
    dbk_store_set_view(store, shadow->view);
    shadow->view = NULL;
    store->active = shadow->active;
    store->next_position = shadow->next_position;
    store->positions_end = shadow->positions_end;
    store->last_recorded_ns = shadow->last_recorded_ns;
    pthread_mutex_unlock(&store->removal_lock);
    if (position > atomic_load(&store->durable_position)) atomic_store(&store->durable_position, position);
}

static daybook_status check_identity(const daybook_store *store, const dbk_manifest *fresh,
                                     daybook_error *error) {
    static const dbk_uuid none = {{0}};
    if (memcmp(&store->uuid, &none, sizeof none) == 0) return DAYBOOK_OK; // the first load
    if (memcmp(&store->uuid, &fresh->store_uuid, sizeof none) == 0 &&
        store->incarnation == fresh->incarnation) {
        return DAYBOOK_OK;
    }
    return dbk_fail(error, DAYBOOK_EFOREIGN, "%s is another store now: it was replaced; open it again",
                    store->path);
}

// One attempt. *manifest_edit_out says which manifest it rested on; *lapped_out: the journal did not hold
// what that manifest and the live page promise, as when the writer went on meanwhile.
static daybook_status try_start_over(daybook_store *store, bool accept_damage, uint64_t *manifest_edit_out,
                                     bool *lapped_out, daybook_error *error) {
    struct dbk_follower *follower = store->follower;
    *lapped_out = false;
    dbk_manifest fresh;
    dbk_manifest_init(&fresh, store->allocator, store->vfs, store->path);
    daybook_store *shadow = NULL;
    dbk_source **sources = NULL;
    size_t count = 0;
    daybook_status status = dbk_manifest_load(&fresh, false, error);
    if (status == DAYBOOK_OK) status = check_identity(store, &fresh, error);
    if (status != DAYBOOK_OK) goto done;
    *manifest_edit_out = fresh.edit_count;
    store->uuid = fresh.store_uuid;
    store->incarnation = fresh.incarnation;
    // The end is asked for after the manifest: what a manifest gave up of the journal was durable before.
    dbk_live_values values = {0};
    bool is_known = false;
    bool writer_lives = find_writer(store, &values, &is_known);
    uint64_t stop_lsn = writer_lives         ? values.durable_lsn
                        : fresh.closed_clean ? fresh.journal_durable_lsn
                                             : 0;
    // A page that is newer than the manifest may be its writer's last word: what it tells of is taken in the next time.
    if (values.manifest_edit > fresh.edit_count) values.manifest_edit = fresh.edit_count;

    shadow = dbk_alloc(store->allocator, sizeof *shadow);
    if (shadow == NULL) {
        status = dbk_fail(error, DAYBOOK_ENOMEM, "out of memory while reading %s", store->path);
        goto done;
    }
    status = shadow_init(shadow, store);
    if (status != DAYBOOK_OK) {
        (void)dbk_fail(error, status, "out of memory while reading %s", store->path);
        goto done;
    }
    atomic_store(&shadow->flushed_position, fresh.flushed_position);
    shadow->last_recorded_ns = fresh.last_recorded_ns;
    shadow->positions_end = fresh.positions_end;
    uint64_t generation = 1;
    if (store->view != NULL) {
        dbk_view *view = dbk_store_get_view(store);
        generation = view->generation + 1;
        status = dbk_recovery_open_segments(store, &fresh, view, 1, accept_damage, &sources, &count, error);
        dbk_view_unref(view);
    } else {
        status = dbk_recovery_open_segments(store, &fresh, NULL, 1, accept_damage, &sources, &count, error);
    }
    if (status != DAYBOOK_OK) goto done;
    status = dbk_recovery_begin_view(shadow, sources, count, fresh.flushed_position + 1, generation, error);
    if (status != DAYBOOK_OK) {
        for (size_t i = 0; i < count; i++) dbk_source_unref(sources[i]);
        dbk_free(store->allocator, sources);
        goto done;
    }
    status = dbk_recovery_load_streams(shadow, &fresh, error);
    uint64_t next_lsn = 0;
    dbk_journal_recovery recovery = {0};
    if (status == DAYBOOK_OK) {
        status = replay_some(shadow, &fresh, fresh.journal_start_lsn, stop_lsn, &next_lsn, &recovery, error);
    }
    bool is_missing = status == DAYBOOK_ENOTFOUND && accept_damage;
    if (is_missing) { // what the segments hold can be read all the same
        status = DAYBOOK_OK;
        recovery.damaged = true;
        (void)snprintf(recovery.damage_text, sizeof recovery.damage_text, "the file is missing");
    }
    if (status != DAYBOOK_OK) goto done;
    *lapped_out = recovery.damaged || (stop_lsn > fresh.journal_start_lsn && next_lsn < stop_lsn);
    if (*lapped_out && !accept_damage) goto done;
    if (*lapped_out) {
        if (!recovery.damaged) { // it ends before what a writer said is there
            recovery.damaged = true;
            recovery.resume_lsn = 0;
            (void)snprintf(recovery.damage_text, sizeof recovery.damage_text,
                           "it ends before its acknowledged end");
        }
        if (!writer_lives && !is_missing) {
            // What is behind the damage is only looked for where the end is not given.
            stop_lsn = 0;
            status = replay_some(shadow, &fresh, next_lsn, stop_lsn, &next_lsn, &recovery, error);
        }
        if (status == DAYBOOK_OK)
            status = replay_over_damage(shadow, &fresh, stop_lsn, &next_lsn, &recovery, error);
        if (status != DAYBOOK_OK) goto done;
    }
    store->open_replayed_bytes = recovery.replayed_bytes;
    store->open_torn_pages = recovery.torn_pages;
    status = take_streams(store, shadow, error);
    if (status != DAYBOOK_OK) goto done;
    adopt_manifest(store, &fresh);
    publish_shadow(store, shadow);
    follower->is_damaged = *lapped_out;
    follower->next_lsn = next_lsn;
    follower->session = is_known ? values.session : 0;
    // Where the manifest is newer than the page we read, the page will say so in a moment.
    set_seen(store, is_known ? &values : NULL);
done:
    if (shadow != NULL) shadow_deinit(shadow);
    dbk_free(store->allocator, shadow);
    dbk_manifest_deinit(&fresh);
    return status;
}

static bool may_be_race(daybook_status status) {
    return status == DAYBOOK_ENOTFOUND || status == DAYBOOK_EDAMAGED || status == DAYBOOK_EIO ||
           status == DAYBOOK_EFOREIGN;
}

// A writer beside us replaces files and pages while we read. What fails is tried again as long as the
// manifest changes, and once more; then it is what it looks like.
static daybook_status start_over(daybook_store *store, daybook_error *error) {
    uint64_t edit_before = UINT64_MAX;
    bool last_chance = false;
    daybook_status status = DAYBOOK_OK;
    for (int attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
        uint64_t edit = UINT64_MAX - 1;
        bool lapped = false;
        status = try_start_over(store, last_chance, &edit, &lapped, error);
        if (status == DAYBOOK_OK && (!lapped || last_chance)) return DAYBOOK_OK;
        if (status != DAYBOOK_OK && (!may_be_race(status) || last_chance)) return status;
        last_chance = edit == edit_before;
        edit_before = edit;
        if (!last_chance) dbk_sleep_ns(store->vfs, ATTEMPT_DELAY_MS * DBK_MILLISECOND_NS);
    }
    if (status != DAYBOOK_OK) return status;
    return dbk_fail(error, DAYBOOK_EIO, "%s changes faster than it can be read; try again", store->path);
}

// ---- Keeping up -----------------------------------------------------------------------------------------

static void publish_position(daybook_store *store) {
    uint64_t position = store->next_position - 1;
    if (position > atomic_load(&store->durable_position)) atomic_store(&store->durable_position, position);
}

static void announce(daybook_store *store) {
    atomic_fetch_add_explicit(&store->publish_count, 1, memory_order_release);
    store->vfs->wake(store->vfs, (const volatile uint32_t *)(uintptr_t)&store->publish_count, INT32_MAX, 0);
}

// Take a newer manifest in. *behind_out: it has given up what we have not replayed.
static daybook_status follow_manifest(daybook_store *store, bool *behind_out, daybook_error *error) {
    struct dbk_follower *follower = store->follower;
    *behind_out = false;
    dbk_manifest fresh;
    dbk_manifest_init(&fresh, store->allocator, store->vfs, store->path);
    daybook_status status = dbk_manifest_load(&fresh, false, error);
    if (status == DAYBOOK_OK) status = check_identity(store, &fresh, error);
    if (status == DAYBOOK_OK) {
        *behind_out = fresh.journal_start_lsn > follower->next_lsn ||
                      fresh.flushed_position > atomic_load(&store->durable_position);
        if (!*behind_out) {
            status = change_view(store, &fresh, error);
            if (status == DAYBOOK_OK) adopt_manifest(store, &fresh);
        }
    }
    dbk_manifest_deinit(&fresh);
    return status;
}

// What changed since, where nothing stands in the way; *behind_out: start over.
static daybook_status catch_up(daybook_store *store, const dbk_live_values *values, bool *behind_out,
                               daybook_error *error) {
    struct dbk_follower *follower = store->follower;
    *behind_out = follower->is_damaged;
    if (*behind_out) return DAYBOOK_OK;
    if (values->manifest_edit > atomic_load(&store->manifest_edit) ||
        values->durable_lsn > map_end(&store->manifest)) {
        daybook_status status = follow_manifest(store, behind_out, error);
        if (status != DAYBOOK_OK && may_be_race(status)) {
            *behind_out = true;
            return DAYBOOK_OK;
        }
        if (status != DAYBOOK_OK || *behind_out) return status;
    }
    if (values->durable_lsn <= follower->next_lsn) return DAYBOOK_OK;
    uint64_t next_lsn = 0;
    dbk_journal_recovery recovery;
    daybook_status status = replay_some(store, &store->manifest, follower->next_lsn, values->durable_lsn,
                                        &next_lsn, &recovery, error);
    if (status == DAYBOOK_OK) {
        follower->next_lsn = next_lsn;
        publish_position(store);
        *behind_out = recovery.damaged || next_lsn < values->durable_lsn;
    } else if (may_be_race(status)) {
        *behind_out = true;
        status = DAYBOOK_OK;
    }
    return status;
}

static bool is_new(const struct dbk_follower *follower, const dbk_live_values *values) {
    return !follower->has_seen || follower->seen.session != values->session ||
           follower->seen.durable_lsn != values->durable_lsn ||
           follower->seen.manifest_edit != values->manifest_edit;
}

static daybook_status refresh(daybook_store *store, daybook_error *error) {
    struct dbk_follower *follower = store->follower;
    dbk_live_values values = {0};
    if (!open_live(store) || !dbk_live_get(store->live, &values)) return DAYBOOK_OK;
    if (values.session == 0 || !is_new(follower, &values)) return DAYBOOK_OK;
    // Another writer, perhaps gone again already: what it left is found as at opening.
    bool behind = values.session != follower->session;
    if (!behind) DBK_TRY(catch_up(store, &values, &behind, error));
    if (behind) {
        DBK_TRY(start_over(store, error));
    } else {
        set_seen(store, &values);
    }
    announce(store);
    return DAYBOOK_OK;
}

daybook_status dbk_follower_refresh(daybook_store *store, daybook_error *error) {
    if (!store->read_only || store->follower == NULL) return DAYBOOK_OK;
    pthread_mutex_lock(&store->follower->lock);
    daybook_status status = refresh(store, error);
    pthread_mutex_unlock(&store->follower->lock);
    return status;
}

void dbk_follower_hold(daybook_store *store) {
    pthread_mutex_lock(&store->follower->lock);
}

void dbk_follower_let_go(daybook_store *store) {
    pthread_mutex_unlock(&store->follower->lock);
}

// ---- Waiting --------------------------------------------------------------------------------------------

void dbk_store_wait_published(daybook_store *store, uint32_t seen_publish_count, int64_t timeout_ns) {
    if (atomic_load_explicit(&store->publish_count, memory_order_acquire) != seen_publish_count) return;
    const volatile uint32_t *word = (const volatile uint32_t *)(uintptr_t)&store->publish_count;
    struct dbk_follower *follower = store->follower;
    if (follower == NULL) {
        atomic_fetch_add(&store->publish_waiters, 1);
        (void)store->vfs->wait(store->vfs, word, seen_publish_count, timeout_ns, 0);
        atomic_fetch_sub(&store->publish_waiters, 1);
        return;
    }
    int64_t tick_ns = TICK_MS * DBK_MILLISECOND_NS;
    if (timeout_ns < 0 || timeout_ns > tick_ns) timeout_ns = tick_ns;
    pthread_mutex_lock(&follower->seen_lock);
    dbk_live *live = store->live; // once there it stays until the store closes
    bool has_seen = follower->has_seen;
    dbk_live_values seen = follower->seen;
    pthread_mutex_unlock(&follower->seen_lock);
    if (live != NULL && has_seen) {
        dbk_live_wait(live, &seen, timeout_ns);
    } else {
        (void)store->vfs->wait(store->vfs, word, seen_publish_count, timeout_ns, 0);
    }
}

// ---- Life -----------------------------------------------------------------------------------------------

static daybook_status check_present(daybook_store *store, daybook_error *error) {
    dbk_directory found;
    DBK_TRY(dbk_directory_inspect(store->vfs, store->path, &found, error));
    if (found.manifest_count > 0) return DAYBOOK_OK;
    if (found.segment_count > 0) {
        return dbk_fail_damaged(
            error, store->path, 0,
            "%s has files of a store but no manifest: it was lost; put it back, or run daybook repair",
            store->path);
    }
    return dbk_fail(error, DAYBOOK_ENOTFOUND, "there is no store in %s; check the path", store->path);
}

daybook_status dbk_follower_open(daybook_store *store, daybook_error *error) {
    DBK_TRY(check_present(store, error));
    struct dbk_follower *follower = dbk_alloc_zeroed(store->allocator, sizeof *follower);
    if (follower == NULL)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory while opening %s", store->path);
    pthread_mutex_init(&follower->lock, NULL);
    pthread_mutex_init(&follower->seen_lock, NULL);
    store->follower = follower;
    dbk_manifest_init(&store->manifest, store->allocator, store->vfs, store->path);
    DBK_TRY(start_over(store, error));
    // Beside a writer a copy of the manifest may be missing because it is just being replaced.
    uint64_t session = 0;
    if (!dbk_lock_is_held(store->vfs, store->path, &session)) dbk_recovery_log_copies(store, true);
    return DAYBOOK_OK;
}

void dbk_follower_free(daybook_store *store) {
    struct dbk_follower *follower = store->follower;
    if (follower == NULL) return;
    pthread_mutex_destroy(&follower->lock);
    pthread_mutex_destroy(&follower->seen_lock);
    dbk_free(store->allocator, follower);
    store->follower = NULL;
}
