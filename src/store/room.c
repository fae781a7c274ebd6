// SPDX-License-Identifier: Apache-2.0
// Room for what is appended, in memory table and journal: pacing, waiting, and when a flush is due.
//
// Only the leader asks for room, and holds no lock then. Appends that come faster than segments are written
// are slowed down first; where memory or journal are used up the leader wakes maintenance and waits for it,
// and only where maintenance fails, or makes no progress, does the append get an error.
//
// room_changes is bumped by whoever may have made room, and slept on. It is read before the look that finds
// none, so that no change is missed.
#include "base/time.h"
#include "store/commit_internal.h"
#include "store/reserve.h"

enum {
    PACE_FREE_PART = 4,     // of a table that is filled before anybody is held back
    PACE_SLOWEST_PART = 32, // of the flusher's rate that is always let in
    ROOM_WAIT_MS = 100,
    ROOM_WAITS_MAX = 300, // half a minute without any progress of maintenance
    ROOM_PAUSE_MS = 10,
    ROOM_PAUSES_MAX = 5,
    ROTATION_PAGES_MIN = 64,
    GROWTH_ROOM_PAGES = 2048, // half of what the journal grows by
    REMOVAL_PAGES_MAX = 128,  // half a piece: more than the longest record of removals
    REMOVAL_JOURNAL_SHARE = 32,
};
#define PACE_CREDIT_NS (2 * DBK_MILLISECOND_NS)
#define PACE_PAUSE_MIN_NS (DBK_MILLISECOND_NS / 20)
#define PACE_PAUSE_MAX_NS (20 * DBK_MILLISECOND_NS)

void dbk_commit_room_changed(daybook_store *store) {
    struct dbk_commit *commit = store->commit;
    if (commit == NULL) return;
    atomic_fetch_add(&commit->room_changes, 1);
    store->vfs->wake(store->vfs, (const volatile uint32_t *)(uintptr_t)&commit->room_changes, INT32_MAX, 0);
}

bool dbk_commit_has_background(const daybook_store *store) {
    return (store->options.flags & DAYBOOK_OPEN_NO_BACKGROUND) == 0;
}

static size_t frozen_count(daybook_store *store) {
    return atomic_load(&store->frozen_count);
}

// ---- Pacing -----------------------------------------------------------------------------------------------
//
// Appends that come faster than segments are written are slowed down before they have to be stopped. While
// a frozen table is being written, groups are small, and what they bring is let in at a rate
//
//     rate of the flusher * (2 * size - used) / used        (size: of a table; used: of the active one)
//
// that falls smoothly from several times what the flusher does to nothing where both tables are full: it
// meets the flusher's own rate when the active table is as full as the one being written was. So the time a
// group waits follows from its bytes and from how far behind the segments are, and no append meets a wall.

// Bytes per millisecond that may be let in; 0 where nothing need be held back.
static uint64_t allowed_rate(daybook_store *store) {
    if (!dbk_commit_has_background(store) || frozen_count(store) == 0) return 0;
    uint64_t size = store->options.memtable_bytes;
    uint64_t used = dbk_memtable_bytes(store->active->memtable);
    if (used < size / PACE_FREE_PART) return 0;
    uint64_t rate = dbk_maintenance_flush_rate(store);
    uint64_t left = used < 2 * size ? 2 * size - used : 0;
    uint64_t allowed = rate * (left / 1024) / (used / 1024);
    return allowed > rate / PACE_SLOWEST_PART ? allowed : rate / PACE_SLOWEST_PART;
}

bool dbk_commit_pace(daybook_store *store) {
    struct dbk_commit *commit = store->commit;
    uint64_t bytes = commit->paced_bytes;
    commit->paced_bytes = 0;
    uint64_t rate = allowed_rate(store);
    if (rate == 0) return false;
    int64_t now_ns = store->vfs->clock_monotonic_ns(store->vfs);
    int64_t from_ns = now_ns - PACE_CREDIT_NS; // time nobody used is not saved up for long
    if (commit->paced_until_ns > from_ns) from_ns = commit->paced_until_ns;
    int64_t until_ns = from_ns + (int64_t)(bytes * DBK_MILLISECOND_NS / rate);
    if (until_ns > now_ns + PACE_PAUSE_MAX_NS) until_ns = now_ns + PACE_PAUSE_MAX_NS;
    commit->paced_until_ns = until_ns;
    // The word changes where room was made or an urgent operation came: both end the pause.
    uint32_t seen = atomic_load(&commit->room_changes);
    if (until_ns - now_ns > PACE_PAUSE_MIN_NS && !dbk_commit_urgent_waits(commit))
        (void)store->vfs->wait(store->vfs, (const volatile uint32_t *)(uintptr_t)&commit->room_changes, seen,
                               until_ns - now_ns, 0);
    return true;
}

static void pause_for(daybook_store *store, int64_t pause_ns) {
    struct dbk_commit *commit = store->commit;
    (void)store->vfs->wait(store->vfs, (const volatile uint32_t *)(uintptr_t)&commit->room_changes,
                           atomic_load(&commit->room_changes), pause_ns, 0);
}

bool dbk_commit_wants_flush(daybook_store *store) {
    if (store->read_only || store->journal == NULL) return false;
    if (frozen_count(store) > 0) return true;
    pthread_mutex_lock(&store->state_lock);
    size_t bytes = dbk_memtable_bytes(store->active->memtable);
    bool empty = dbk_memtable_position_end(store->active->memtable) == store->active->position_first;
    pthread_mutex_unlock(&store->state_lock);
    if (bytes >= store->options.memtable_bytes && !empty) return true;
    uint64_t pages_max = store->options.journal_max_bytes / DBK_JOURNAL_PAGE_SIZE;
    uint64_t used = dbk_journal_used_pages(store->journal);
    return used >= pages_max / 2 || (used > 0 && atomic_load(&store->commit->room_wanted));
}

bool dbk_commit_is_journal_half_used(const daybook_store *store) {
    return dbk_journal_used_pages(store->journal) > dbk_journal_room_pages(store->journal);
}

bool dbk_commit_wants_growth(daybook_store *store) {
    uint64_t used = dbk_journal_used_pages(store->journal);
    uint64_t room = dbk_journal_room_pages(store->journal);
    uint64_t pages_max = store->options.journal_max_bytes / DBK_JOURNAL_PAGE_SIZE;
    // Not before the flusher would grow it: a wish it finds too early is not told again for this size.
    if (room >= GROWTH_ROOM_PAGES || !dbk_commit_is_journal_half_used(store)) return false;
    if (used + room + DBK_JOURNAL_PIECE_PAGES > pages_max) return false;
    uint64_t end_lsn = dbk_journal_durable_lsn(store->journal) + room;
    if (end_lsn == store->commit->growth_end_lsn) return false;
    store->commit->growth_end_lsn = end_lsn;
    return true;
}

// Wait until maintenance did something. Its last status tells whether there is hope.
// `seen` was read before the caller found that there is no room: what changed since ends the wait at once.
static daybook_status wait_for_room(daybook_store *store, uint32_t seen, const char *what,
                                    daybook_error *error) {
    struct dbk_commit *commit = store->commit;
    dbk_maintenance_kick(store);
    for (int i = 0; i < ROOM_WAITS_MAX; i++) {
        daybook_status status = (daybook_status)atomic_load(&store->maintenance_status);
        if (status != DAYBOOK_OK)
            return dbk_fail(error, status == DAYBOOK_EPOISONED ? DAYBOOK_ENOSPC : status,
                            "the %s is full and cannot be written out: %s; nothing was appended, it resumes "
                            "by itself when that has gone",
                            what, daybook_status_text(status));
        (void)store->vfs->wait(store->vfs, (const volatile uint32_t *)(uintptr_t)&commit->room_changes, seen,
                               ROOM_WAIT_MS * DBK_MILLISECOND_NS, 0);
        if (atomic_load(&commit->room_changes) != seen) return DAYBOOK_OK;
    }
    return dbk_fail(error, DAYBOOK_ENOSPC,
                    "the %s is full and was not written out in time; nothing was appended", what);
}

// Removals of events or of a stream, and operations without records of their own.
static bool frees_space(const dbk_operation *operation) {
    if (operation->kind != DBK_OPERATION_RECORDS) return false;
    if (operation->records.size == 0) return true;
    dbk_record_kind kind;
    size_t size;
    if (dbk_record_peek(operation->records, &kind, &size) != DAYBOOK_OK) return false;
    if (kind == DBK_RECORD_REMOVE) return true;
    dbk_catalogue_entry entry;
    return kind == DBK_RECORD_CATALOGUE &&
           dbk_catalogue_decode(daybook_bytes(operation->records.data, size), &entry) == DAYBOOK_OK &&
           !entry.present;
}

static uint64_t removal_pages(const daybook_store *store) {
    uint64_t share = store->options.journal_max_bytes / DBK_JOURNAL_PAGE_SIZE / REMOVAL_JOURNAL_SHARE;
    return share < REMOVAL_PAGES_MAX ? share : REMOVAL_PAGES_MAX;
}

// Journal pages that are left free: by all but maintenance for the records that ride along and a rotation's
// own, and by all that takes space for what gives it back.
uint64_t dbk_commit_reserved_pages(daybook_store *store, const dbk_operation *operation) {
    if (operation->urgent) return 0;
    uint64_t pages = frees_space(operation) ? 0 : removal_pages(store);
    if (!dbk_commit_has_background(store)) return pages;
    pthread_mutex_lock(&store->removal_lock);
    size_t lazy = store->commit->lazy.size;
    pthread_mutex_unlock(&store->removal_lock);
    return pages + dbk_journal_pages_for(lazy) + ROTATION_PAGES_MIN;
}

// Room on the disk for writing it out, and in the journal behind what the group holds; without waiting.
static daybook_status find_room(daybook_store *store, size_t bytes, dbk_operation *operation) {
    size_t size = dbk_journal_group_size(store->commit->group) + bytes;
    if (operation->kind == DBK_OPERATION_APPEND) DBK_TRY(dbk_reserve_for(store, size, &operation->error));
    // Without what a rotation writes the journal could never be emptied.
    uint64_t pages = dbk_journal_pages_for(size) + dbk_commit_reserved_pages(store, operation);
    while (dbk_journal_room_pages(store->journal) < pages) {
        DBK_TRY(dbk_maintenance_grow_journal(store, pages, &operation->error));
    }
    return DAYBOOK_OK;
}

// No room that waiting would bring: ELIMIT where there never will be, ENOSPC where there is none now.
static daybook_status explain_no_room(daybook_store *store, size_t bytes, daybook_status status,
                                      daybook_error *error) {
    uint64_t journal_bytes = store->options.journal_max_bytes;
    if (status != DAYBOOK_ELIMIT && status != DAYBOOK_ENOSPC) return status;
    if (dbk_journal_pages_for(bytes) > journal_bytes / DBK_JOURNAL_PAGE_SIZE / 2)
        return dbk_fail_limit(
            error, DAYBOOK_LIMIT_JOURNAL_SIZE, journal_bytes / 2, bytes,
            "a batch of %zu bytes does not fit the journal of %llu bytes: raise journal_max_bytes", bytes,
            (unsigned long long)journal_bytes);
    if (status == DAYBOOK_ENOSPC) return status;
    return dbk_fail(
        error, DAYBOOK_ENOSPC, "the journal of %llu bytes is full and %s; nothing was written; %s",
        (unsigned long long)journal_bytes,
        dbk_commit_has_background(store) ? "could not be written out" : "no background work writes it out",
        dbk_commit_has_background(store) ? "it resumes by itself when there is space"
                                         : "call daybook_maintain");
}

// Room for `bytes` more in the memory table and in the journal behind what the group holds. The leader holds
// no lock. DBK_COMMIT_YIELD where an urgent operation should go first.
daybook_status dbk_commit_make_room(daybook_store *store, size_t bytes, dbk_operation *operation) {
    daybook_error *error = &operation->error;
    bool fills_table = operation->kind == DBK_OPERATION_APPEND;
    struct dbk_commit *commit = store->commit;
    // Two tables may exist: the active one and one being written. Where none is being written, rotation is
    // what makes room.
    for (;;) {
        uint32_t seen = atomic_load(&commit->room_changes);
        if (!fills_table || !dbk_commit_has_background(store) || frozen_count(store) == 0 ||
            dbk_memtable_bytes(store->active->memtable) < 2 * store->options.memtable_bytes)
            break;
        if (dbk_commit_urgent_waits(commit)) return DBK_COMMIT_YIELD;
        DBK_TRY(wait_for_room(store, seen, "memory table", error));
    }
    daybook_status status = DAYBOOK_OK;
    for (;;) {
        uint32_t seen = atomic_load(&commit->room_changes);
        status = find_room(store, bytes, operation);
        if ((status != DAYBOOK_ELIMIT && status != DAYBOOK_ENOSPC) || !dbk_commit_has_background(store))
            break;
        if (dbk_journal_pages_for(bytes) > store->options.journal_max_bytes / DBK_JOURNAL_PAGE_SIZE / 2)
            break;
        if (!operation->urgent && dbk_commit_urgent_waits(commit)) return DBK_COMMIT_YIELD; // and come back
        // The second round to end from now has begun behind our wish, flushed everything and freed what it
        // could; what does not fit then does not fit the disk.
        uint64_t rounds = atomic_load(&store->round_count);
        if (operation->room_round == 0) operation->room_round = rounds + 2;
        if (rounds >= operation->room_round) {
            // What a thread that reads or merges let go of just now may still be on its way to the disk.
            if (operation->room_pauses == ROOM_PAUSES_MAX) break;
            operation->room_pauses++;
            dbk_maintenance_kick(store);
            pause_for(store, ROOM_PAUSE_MS * DBK_MILLISECOND_NS);
            continue;
        }
        atomic_store(&commit->room_wanted, true);
        status = wait_for_room(store, seen, "journal", error);
        if (status != DAYBOOK_OK) break;
    }
    atomic_store(&commit->room_wanted, false);
    return explain_no_room(store, bytes, status, error);
}
