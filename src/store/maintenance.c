// SPDX-License-Identifier: Apache-2.0
// Background work: when to flush, merge, grow the journal, apply limits by age and write the witness.
//
// Two threads, so that a long merge never holds up a flush (appends wait for flushes, nobody waits for a
// merge):
//   flusher  deferred groups, growth of the journal, flush; once a second limits by age and, when nothing
//            was written for a second, the witness page that makes the journal's end certain
//   merger   merges while one is due
// Each sleeps on its own word and is woken by dbk_maintenance_kick. With DAYBOOK_OPEN_NO_BACKGROUND there
// are none, and daybook_maintain does one round of both. Where processors are few both stand back behind the
// threads of callers: what they do can wait, an append cannot, and appends that get too far ahead are held
// back (room.c).
//
// Failures (disk full, I/O): logged, remembered in store->maintenance_status for appends that find no room,
// tried again with growing delay. What is tried again uses new file names. A poisoned journal ends
// flushing: the cut needs the commit queue.
#include <limits.h>

#include "base/time.h"
#include "store/commit.h"
#include "store/consumer.h"
#include "store/directory.h"
#include "store/expiry.h"
#include "store/maintenance.h"
#include "store/reserve.h"

enum {
    RETRY_DELAY_MIN_MS = 50,
    RETRY_DELAY_MAX_MS = 5000,
    GROW_PIECES = 16,
    GROW_DISK_SHARE = 8, // of free space, at most one in so many
    MERGE_POLL_MS = 1000,
    DISCARD_POLL_MS = 100,
    SEGMENTS_MAX = 60,
    FLUSH_RATE_DEFAULT = 16 << 10 // bytes per millisecond, until one was measured
};

static const volatile uint32_t *word_of(const _Atomic uint32_t *word) {
    return (const volatile uint32_t *)(uintptr_t)word;
}

static void bump(daybook_store *store, _Atomic uint32_t *word) {
    atomic_fetch_add_explicit(word, 1, memory_order_release);
    store->vfs->wake(store->vfs, word_of(word), INT_MAX, 0);
}

void dbk_maintenance_kick(daybook_store *store) {
    struct dbk_maintenance *maintenance = store->maintenance;
    if (maintenance == NULL || !maintenance->flusher_runs) return;
    // Woken and not yet looking: it will see what we came for.
    if (atomic_exchange(&maintenance->is_kicked, true)) return;
    bump(store, &maintenance->flush_word);
}

uint64_t dbk_maintenance_flush_rate(const daybook_store *store) {
    uint64_t rate = store->maintenance == NULL ? 0 : atomic_load(&store->maintenance->flush_rate);
    return rate == 0 ? FLUSH_RATE_DEFAULT : rate;
}

unsigned dbk_maintenance_running(const daybook_store *store) {
    return store->maintenance == NULL ? 0 : atomic_load(&store->maintenance->running);
}

// ---- The journal's size ---------------------------------------------------------------------------------

static uint32_t pieces_max(const daybook_store *store) {
    return (uint32_t)(store->options.journal_max_bytes / DBK_JOURNAL_PIECE_SIZE);
}

// Add pieces to the journal. manifest_lock is held.
static daybook_status grow(daybook_store *store, uint32_t piece_count, daybook_error *error) {
    if (dbk_reserve_is_lent(store))
        return dbk_fail(error, DAYBOOK_ENOSPC, "the disk is full: what it has is needed for writing out");
    uint32_t *pieces = NULL;
    dbk_journal_map map = {0};
    DBK_TRY(dbk_journal_grow(store->journal, piece_count, &pieces, &map.first_lsn, &map.piece_count, error));
    map.pieces = pieces;
    uint64_t start_lsn = store->manifest.journal_start_lsn;
    dbk_manifest_edit edit;
    dbk_manifest_edit_init(&edit, store->allocator);
    dbk_manifest_edit_set_journal(&edit, start_lsn, dbk_journal_durable_lsn(store->journal), &map);
    daybook_status status = dbk_commit_edit(store, &edit, error);
    if (status == DAYBOOK_OK) status = dbk_journal_set_map(store->journal, &map, start_lsn, error);
    dbk_manifest_edit_deinit(&edit);
    dbk_free(store->allocator, pieces);
    return status;
}

// How many pieces to grow by, so that growth is rare but a small disk is not filled with an empty journal. A
// small journal doubles: filling more with zeros would take longer than appends take for what is left of it.
static uint32_t growth(daybook_store *store, uint32_t most) {
    uint64_t free_bytes = 0;
    uint32_t count = store->manifest.journal_piece_count;
    uint64_t pieces = count < GROW_PIECES ? count : GROW_PIECES;
    if (store->vfs->free_bytes(store->vfs, store->path, &free_bytes) == 0 &&
        free_bytes / DBK_JOURNAL_PIECE_SIZE / GROW_DISK_SHARE < pieces) {
        pieces = free_bytes / DBK_JOURNAL_PIECE_SIZE / GROW_DISK_SHARE;
    }
    if (pieces == 0) pieces = 1;
    return pieces < most ? (uint32_t)pieces : most;
}

daybook_status dbk_maintenance_grow_journal(daybook_store *store, uint64_t pages, daybook_error *error) {
    daybook_status status = DAYBOOK_OK;
    pthread_mutex_lock(&store->manifest_lock);
    uint64_t room = dbk_journal_room_pages(store->journal);
    uint32_t count = store->manifest.journal_piece_count;
    uint32_t most = pieces_max(store);
    if (room < pages && count >= most) {
        status = dbk_fail(error, DAYBOOK_ELIMIT, "the journal has its maximum of %llu bytes",
                          (unsigned long long)store->options.journal_max_bytes);
    } else if (room < pages) {
        uint64_t needed = (pages - room + DBK_JOURNAL_PIECE_PAGES - 1) / DBK_JOURNAL_PIECE_PAGES;
        uint64_t ahead = growth(store, most - count);
        if (needed < ahead) needed = ahead;
        if (needed > most - count) needed = most - count;
        status = grow(store, (uint32_t)needed, error);
        if (status == DAYBOOK_ENOSPC) dbk_reserve_note_full(store);
        // For the edit of the manifest, and without a flush that would end it.
        if (!store->maintenance->flusher_runs && dbk_reserve_is_lent(store)) dbk_reserve_restore(store);
    }
    pthread_mutex_unlock(&store->manifest_lock);
    return status;
}

static daybook_status grow_ahead(daybook_store *store, bool *did, daybook_error *error) {
    pthread_mutex_lock(&store->manifest_lock);
    uint32_t count = store->manifest.journal_piece_count;
    uint32_t most = pieces_max(store);
    daybook_status status = DAYBOOK_OK;
    bool grew = false;
    if (count < most && dbk_commit_is_journal_half_used(store)) {
        status = grow(store, growth(store, most - count), error);
        grew = status == DAYBOOK_OK;
    }
    pthread_mutex_unlock(&store->manifest_lock);
    *did = *did || grew;
    if (grew) dbk_commit_room_changed(store);
    return status;
}

// ---- A round --------------------------------------------------------------------------------------------

static daybook_status write_witness(daybook_store *store, daybook_error *error) {
    struct dbk_maintenance *maintenance = store->maintenance;
    uint64_t lsn = dbk_journal_durable_lsn(store->journal);
    bool idle = lsn == maintenance->lsn_last_second;
    maintenance->lsn_last_second = lsn;
    if (!idle || lsn == maintenance->lsn_witnessed) return DAYBOOK_OK;
    daybook_status status = dbk_commit_write_witness(store, error);
    // A page that failed ends writing as a group does, and whoever asks must hear of it before the next
    // append.
    if (dbk_journal_is_poisoned(store->journal)) atomic_store(&store->poisoned, true);
    if (status != DAYBOOK_OK) return status;
    maintenance->lsn_last_second = dbk_journal_durable_lsn(store->journal);
    maintenance->lsn_witnessed = maintenance->lsn_last_second;
    return DAYBOOK_OK;
}

static void keep_first(daybook_status *status, daybook_status next) {
    if (*status == DAYBOOK_OK) *status = next;
}

static daybook_status expire_at(daybook_store *store, int64_t now_ns, daybook_error *error) {
    return now_ns < atomic_load(&store->next_expiry_ns) ? DAYBOOK_OK : dbk_store_expire(store, true, error);
}

static daybook_status each_second(daybook_store *store, daybook_error *error) {
    struct dbk_maintenance *maintenance = store->maintenance;
    int64_t now_ns = store->vfs->clock_monotonic_ns(store->vfs);
    if (now_ns < maintenance->next_second_ns) return expire_at(store, now_ns, error);
    maintenance->next_second_ns = now_ns + DBK_SECOND_NS;
    daybook_status status = dbk_store_trim_ages(store, error);
    keep_first(&status, write_witness(store, status == DAYBOOK_OK ? error : NULL));
    return status;
}

static void note_failure(daybook_store *store, daybook_status status, const daybook_error *error) {
    struct dbk_maintenance *maintenance = store->maintenance;
    int64_t delay_ns = maintenance->retry_delay_ns * 2;
    if (delay_ns < RETRY_DELAY_MIN_MS * DBK_MILLISECOND_NS)
        delay_ns = RETRY_DELAY_MIN_MS * DBK_MILLISECOND_NS;
    if (delay_ns > RETRY_DELAY_MAX_MS * DBK_MILLISECOND_NS)
        delay_ns = RETRY_DELAY_MAX_MS * DBK_MILLISECOND_NS;
    maintenance->retry_delay_ns = delay_ns;
    maintenance->retry_at_ns = store->vfs->clock_monotonic_ns(store->vfs) + delay_ns;
    atomic_store(&store->maintenance_status, status);
    if (status == DAYBOOK_ENOSPC) dbk_discard_all(store);
    dbk_store_log(store, DAYBOOK_LOG_ERROR, "background work failed: %s; it is tried again in %lld ms",
                  error->message, (long long)(delay_ns / DBK_MILLISECOND_NS));
    dbk_commit_room_changed(store);
}

static void note_success(daybook_store *store) {
    struct dbk_maintenance *maintenance = store->maintenance;
    if (maintenance->retry_delay_ns == 0) return;
    maintenance->retry_delay_ns = 0;
    maintenance->retry_at_ns = 0;
    atomic_store(&store->maintenance_status, DAYBOOK_OK);
    dbk_store_log(store, DAYBOOK_LOG_INFO, "background work goes on");
    dbk_commit_room_changed(store);
}

// Where flushes are faster than merges the flusher merges, too: appends then wait for it, and reads stay
// cheap. A merge that fails (damage, no space for it) must not end flushing; the merger tells of it.
static void merge_if_many(daybook_store *store) {
    daybook_status status = DAYBOOK_OK;
    while (status == DAYBOOK_OK && !atomic_load(&store->maintenance->stop)) {
        dbk_view *view = dbk_store_get_view(store);
        size_t count = view->segment_count;
        dbk_view_unref(view);
        if (count <= SEGMENTS_MAX) return;
        status = dbk_merge_once(store, false, NULL);
    }
}

bool dbk_make_space(daybook_store *store) {
    bool freed = false;
    if (store->maintenance != NULL) {
        freed = atomic_load(&store->maintenance->discard_count) > 0;
        dbk_discard_all(store);
    }
    return dbk_reserve_lend(store) || freed;
}

// The disk is full: rewrite what is mostly removed, take what the disk has for the reserve. Failures are the
// full disk's, which appends hear of.
static void free_space(daybook_store *store) {
    dbk_discard_all(store);
    daybook_status status = DAYBOOK_OK;
    while (status == DAYBOOK_OK && !atomic_load(&store->maintenance->stop)) {
        status = dbk_merge_once(store, true, NULL);
        dbk_discard_all(store);
    }
    dbk_reserve_restore(store);
}

// Everything but merging in its own time. round_lock is held.
static daybook_status round_once(daybook_store *store, bool *did, daybook_error *error) {
    if (atomic_load(&store->poisoned)) return DAYBOOK_OK;
    DBK_TRY(dbk_commit_write_deferred(store, false, error));
    DBK_TRY(dbk_commit_trim_owed(store, error));
    // A journal that cannot grow must not keep a flush from giving back what it has; and for want of space
    // nothing has failed yet.
    daybook_error detail;
    daybook_error_init(&detail);
    daybook_status grown = grow_ahead(store, did, &detail);
    if (grown == DAYBOOK_ENOSPC) grown = DAYBOOK_OK;
    bool flushed = false;
    DBK_TRY(dbk_flush(store, false, &flushed, error));
    *did = *did || flushed;
    if (flushed && store->maintenance->merger_runs) {
        bump(store, &store->maintenance->merge_word);
        merge_if_many(store);
    }
    if (dbk_reserve_is_short(store)) free_space(store);
    DBK_TRY(each_second(store, error));
    if (grown != DAYBOOK_OK && error != NULL) *error = detail;
    return grown;
}

static void run_round(daybook_store *store) {
    struct dbk_maintenance *maintenance = store->maintenance;
    if (store->vfs->clock_monotonic_ns(store->vfs) < maintenance->retry_at_ns) return;
    daybook_error error;
    daybook_error_init(&error);
    bool did = false;
    pthread_mutex_lock(&maintenance->round_lock);
    daybook_status status = round_once(store, &did, &error);
    if (status == DAYBOOK_OK) {
        note_success(store);
    } else if (!atomic_load(&store->poisoned)) {
        note_failure(store, status, &error);
    }
    atomic_fetch_add(&store->round_count, 1);
    pthread_mutex_unlock(&maintenance->round_lock);
    dbk_commit_room_changed(store);
}

// ---- Threads --------------------------------------------------------------------------------------------

static int64_t flusher_timeout_ns(daybook_store *store) {
    struct dbk_maintenance *maintenance = store->maintenance;
    int64_t now_ns = store->vfs->clock_monotonic_ns(store->vfs);
    int64_t until_ns = maintenance->next_second_ns;
    int64_t expiry_ns = atomic_load(&store->next_expiry_ns);
    if (expiry_ns < until_ns && maintenance->retry_at_ns <= now_ns) until_ns = expiry_ns;
    if (maintenance->retry_at_ns > now_ns && maintenance->retry_at_ns < until_ns)
        until_ns = maintenance->retry_at_ns;
    int64_t deferred_ns = dbk_commit_deferred_until(store);
    if (deferred_ns != 0 && deferred_ns < until_ns) until_ns = deferred_ns;
    return until_ns > now_ns ? until_ns - now_ns : DBK_MILLISECOND_NS;
}

static void *run_flusher(void *context) {
    daybook_store *store = context;
    struct dbk_maintenance *maintenance = store->maintenance;
    dbk_stand_back(store->vfs);
    while (!atomic_load(&maintenance->stop)) {
        uint32_t word = atomic_load_explicit(&maintenance->flush_word, memory_order_acquire);
        (void)atomic_exchange(&maintenance->is_kicked, false);
        run_round(store);
        if (atomic_load(&maintenance->stop)) break;
        (void)store->vfs->wait(store->vfs, word_of(&maintenance->flush_word), word, flusher_timeout_ns(store),
                               0);
    }
    return NULL;
}

static void *run_merger(void *context) {
    daybook_store *store = context;
    struct dbk_maintenance *maintenance = store->maintenance;
    int64_t delay_ms = MERGE_POLL_MS;
    dbk_stand_back(store->vfs);
    while (!atomic_load(&maintenance->stop)) {
        uint32_t word = atomic_load_explicit(&maintenance->merge_word, memory_order_acquire);
        daybook_error error;
        daybook_error_init(&error);
        daybook_status status = dbk_merge_once(store, false, &error);
        if (status == DAYBOOK_ENOSPC) dbk_discard_all(store);
        bool discards_left = dbk_discard_some(store);
        if (status == DAYBOOK_OK) {
            delay_ms = MERGE_POLL_MS;
            continue;
        }
        if (status != DAYBOOK_END && status != DAYBOOK_ECLOSED) {
            dbk_store_log(store, DAYBOOK_LOG_ERROR,
                          "merging failed: %s; other segments are merged, these are tried again later",
                          error.message);
            if (delay_ms < 64 * MERGE_POLL_MS) delay_ms *= 2;
        }
        if (atomic_load(&maintenance->stop)) break;
        (void)store->vfs->wait(store->vfs, word_of(&maintenance->merge_word), word,
                               (discards_left ? DISCARD_POLL_MS : delay_ms) * DBK_MILLISECOND_NS, 0);
    }
    return NULL;
}

static daybook_status start_threads(daybook_store *store, daybook_error *error) {
    struct dbk_maintenance *maintenance = store->maintenance;
    atomic_store(&maintenance->flusher_runs, true);
    atomic_store(&maintenance->merger_runs, true);
    if (pthread_create(&maintenance->flusher, NULL, run_flusher, store) != 0)
        atomic_store(&maintenance->flusher_runs, false);
    if (pthread_create(&maintenance->merger, NULL, run_merger, store) != 0)
        atomic_store(&maintenance->merger_runs, false);
    if (maintenance->flusher_runs && maintenance->merger_runs) return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_ENOMEM, "the threads for background work could not be started");
}

daybook_status dbk_maintenance_new(daybook_store *store, daybook_error *error) {
    dbk_directory found;
    DBK_TRY(dbk_directory_inspect(store->vfs, store->path, &found, error));
    struct dbk_maintenance *maintenance = dbk_alloc_zeroed(store->allocator, sizeof *maintenance);
    if (maintenance == NULL)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory while opening %s", store->path);
    pthread_mutex_init(&maintenance->merge_lock, NULL);
    pthread_mutex_init(&maintenance->flush_lock, NULL);
    dbk_dictionary_init(&maintenance->dictionary, store->allocator);
    pthread_mutex_init(&maintenance->doubtful_lock, NULL);
    pthread_mutex_init(&maintenance->round_lock, NULL);
    pthread_mutex_init(&maintenance->discard_lock, NULL);
    // Names of files that are there are not used again, whoever left them.
    uint64_t next_id = store->manifest.next_segment_id;
    atomic_init(&maintenance->next_segment_id,
                next_id > found.segment_id_max ? next_id : found.segment_id_max + 1);
    atomic_init(&maintenance->next_generation, found.generation_max + 1);
    maintenance->lsn_witnessed = dbk_journal_durable_lsn(store->journal);
    if (store->recovered_cut != NULL) {
        maintenance->cut = *store->recovered_cut;
        dbk_free(store->allocator, store->recovered_cut);
        store->recovered_cut = NULL;
    }
    store->maintenance = maintenance;
    if ((store->options.flags & DAYBOOK_OPEN_NO_BACKGROUND) != 0) return DAYBOOK_OK;
    return start_threads(store, error);
}

void dbk_maintenance_stop(daybook_store *store) {
    struct dbk_maintenance *maintenance = store->maintenance;
    if (maintenance == NULL) return;
    atomic_store(&maintenance->stop, true);
    bump(store, &maintenance->flush_word);
    bump(store, &maintenance->merge_word);
    if (maintenance->flusher_runs) pthread_join(maintenance->flusher, NULL);
    if (maintenance->merger_runs) pthread_join(maintenance->merger, NULL);
    maintenance->flusher_runs = false;
    maintenance->merger_runs = false;
}

void dbk_maintenance_free(daybook_store *store) {
    struct dbk_maintenance *maintenance = store->maintenance;
    if (maintenance == NULL) return;
    dbk_discard_all(store);
    dbk_cut_deinit(store, &maintenance->cut);
    dbk_dictionary_deinit(&maintenance->dictionary);
    dbk_free(store->allocator, maintenance->doubtful);
    pthread_mutex_destroy(&maintenance->merge_lock);
    pthread_mutex_destroy(&maintenance->flush_lock);
    pthread_mutex_destroy(&maintenance->doubtful_lock);
    pthread_mutex_destroy(&maintenance->round_lock);
    pthread_mutex_destroy(&maintenance->discard_lock);
    dbk_free(store->allocator, maintenance);
    store->maintenance = NULL;
}

// ---- On demand ------------------------------------------------------------------------------------------

daybook_status dbk_maintenance_flush(daybook_store *store, daybook_error *error) {
    bool did = false;
    DBK_TRY(dbk_commit_write_deferred(store, true, error));
    return dbk_flush(store, true, &did, error);
}

void dbk_maintenance_free_space(daybook_store *store) {
    if (!dbk_reserve_is_tight(store)) return;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = dbk_maintenance_flush(store, &error);
    if (status != DAYBOOK_OK)
        dbk_store_log(store, DAYBOOK_LOG_WARNING, "removed events still take their space: %s", error.message);
    free_space(store);
}

daybook_status dbk_maintenance_erase(daybook_store *store, uint64_t position_first,
                                     const dbk_dropped *dropped, daybook_error *error) {
    struct dbk_maintenance *maintenance = store->maintenance;
    pthread_mutex_lock(&maintenance->merge_lock);
    dbk_flush_forget_dictionary(store); // what is written from here on holds nothing of what was removed
    // Now every event concerned lies in a segment or nowhere, and the journal begins behind them.
    daybook_status status = dbk_maintenance_flush(store, error);
    if (status == DAYBOOK_OK) status = dbk_merge_erase(store, position_first, dropped, error);
    if (status == DAYBOOK_OK) status = dbk_journal_wipe_free(store->journal, error);
    pthread_mutex_unlock(&maintenance->merge_lock);
    return status;
}

static daybook_status check_writer(daybook_store *store, const char *call, daybook_error *error) {
    if (store == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "%s without a store", call);
    if (store->read_only)
        return dbk_fail(error, DAYBOOK_EREADONLY, "%s is open for reading only", store->path);
    if (atomic_load(&store->poisoned))
        return dbk_fail(error, DAYBOOK_EPOISONED, "an earlier sync failed: reopen %s", store->path);
    return DAYBOOK_OK;
}

daybook_status daybook_flush(daybook_store *store, daybook_error *error) {
    DBK_TRY(check_writer(store, "daybook_flush", error));
    return dbk_maintenance_flush(store, error);
}

daybook_status daybook_maintain(daybook_store *store, daybook_error *error) {
    DBK_TRY(check_writer(store, "daybook_maintain", error));
    struct dbk_maintenance *maintenance = store->maintenance;
    bool did = false;
    pthread_mutex_lock(&maintenance->round_lock);
    daybook_status status = round_once(store, &did, error);
    atomic_store(&store->maintenance_status, status);
    pthread_mutex_unlock(&maintenance->round_lock);
    struct dbk_consumers *consumers = atomic_load(&store->consumers);
    if (status == DAYBOOK_OK && consumers != NULL && !consumers->keeper_runs)
        (void)dbk_consumers_keep(consumers);
    if (status == DAYBOOK_OK) {
        status = dbk_merge_once(store, false, error);
        if (status == DAYBOOK_END && did) status = DAYBOOK_OK;
    }
    return status;
}
