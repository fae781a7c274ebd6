// SPDX-License-Identifier: Apache-2.0
// The file `reserve`: bytes of the disk held without being used, so that a full disk is a state one can leave
// from within. Its content means nothing and is never read.
//
// Held is RESERVE_BYTES_MIN for removals, the manifest and being opened, and five quarters of what the memory
// tables hold, because a flush writes them out, with their index. It grows in steps before an append is
// accepted; where the disk refuses, the append is refused. Journal pages for removals are kept by room.c.
//
// What must succeed (flush, deletions, rewriting a segment that is mostly removed, the manifest, opening)
// and meets ENOSPC is lent the whole reserve and tries once more. The file goes away with its bytes: that
// frees an inode too, for a disk that has none left. While it is lent, appends and the growing journal take
// nothing. Then the store is short of space: each round of maintenance does what frees some and takes the
// reserve again, as much as there is; each append tries for itself first, so that work resumes as soon as
// somebody frees enough.
//
// The room is real, made by fallocate: a number of free bytes asked for before would be gone when it is
// needed, because others fill the same disk. Where the file system cannot do that, free space is asked for
// (`held` is then what it had), which is all that is possible there.
//
// Nothing here is durable or needs to be: after a crash the file is taken as it is found, and its length made
// sure of. Stores in memory have none.
//
// Threads: any; `lock` guards the file and is held during its system calls, `held` is read by anybody.
#include "store/reserve.h"

#include <errno.h>

enum { STEP_BYTES = 1 << 20, STEP_BYTES_LARGE = 8 << 20, RESERVE_BYTES_MIN = 1 << 20 };

struct dbk_reserve {
    char path[DBK_PATH_SIZE_MAX];
    pthread_mutex_t lock;
    daybook_file *file; // NULL: given up, or there is no inode for it
    bool is_soft;       // the file system cannot allocate: the file stays empty
    atomic_uint_fast64_t held;
    atomic_bool is_lent;
    atomic_bool was_refused; // somebody asked for more than the disk had, and nothing has changed since
};

// ---- How much -------------------------------------------------------------------------------------------

static uint64_t unflushed_bytes(daybook_store *store) {
    dbk_view *view = dbk_store_get_view(store);
    uint64_t bytes = 0;
    for (size_t i = view->segment_count; i < view->source_count; i++) {
        if (view->sources[i]->memtable != NULL) bytes += dbk_memtable_bytes(view->sources[i]->memtable);
    }
    dbk_view_unref(view);
    return bytes;
}

static uint64_t needed_for(uint64_t bytes) {
    return RESERVE_BYTES_MIN + bytes + bytes / 4;
}

static uint64_t in_steps(uint64_t bytes) {
    uint64_t step = bytes < STEP_BYTES_LARGE ? STEP_BYTES : STEP_BYTES_LARGE;
    return (bytes + step - 1) / step * step;
}

// ---- The file -------------------------------------------------------------------------------------------

static int open_file(daybook_store *store, struct dbk_reserve *reserve) {
    if (reserve->file != NULL) return 0;
    return store->vfs->open(store->vfs, reserve->path, DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE,
                            &reserve->file);
}

// Hold `bytes`; 0 or -errno, and then as much as before. The lock is held.
static int hold(daybook_store *store, struct dbk_reserve *reserve, uint64_t bytes) {
    uint64_t held = atomic_load(&reserve->held);
    if (bytes <= held) return 0;
    int result = open_file(store, reserve);
    if (result == 0) result = dbk_extend(store->vfs, reserve->file, reserve->path, held, bytes - held);
    if (result == -EOPNOTSUPP) {
        reserve->is_soft = true;
        result = 0;
    }
    if (result == 0) atomic_store(&reserve->held, bytes);
    return result;
}

static bool is_full(int result) {
    return result == -ENOSPC || result == -EDQUOT;
}

// Hold what can be had of `bytes`, but not nothing for want of little.
static int hold_most(daybook_store *store, struct dbk_reserve *reserve, uint64_t bytes) {
    int result = hold(store, reserve, bytes);
    while (is_full(result) && bytes > atomic_load(&reserve->held) + STEP_BYTES / 16) {
        bytes -= (bytes - atomic_load(&reserve->held)) / 2;
        result = hold(store, reserve, bytes);
        if (result == 0) return -ENOSPC; // enough for now
    }
    return result;
}

// ---- For everybody --------------------------------------------------------------------------------------

daybook_status dbk_reserve_for(daybook_store *store, size_t bytes, daybook_error *error) {
    struct dbk_reserve *reserve = store->reserve;
    if (reserve == NULL) return DAYBOOK_OK;
    // The leader may look at the active table, and most of the time there is no other.
    bool is_alone = atomic_load(&store->frozen_count) == 0;
    uint64_t unflushed = is_alone ? dbk_memtable_bytes(store->active->memtable) : unflushed_bytes(store);
    uint64_t needed = needed_for(unflushed + bytes);
    if (needed <= atomic_load_explicit(&reserve->held, memory_order_relaxed)) return DAYBOOK_OK;
    pthread_mutex_lock(&reserve->lock);
    int result = atomic_load(&reserve->is_lent) ? -ENOSPC : hold(store, reserve, in_steps(needed));
    if (is_full(result) && !atomic_load(&reserve->is_lent)) result = hold(store, reserve, needed);
    pthread_mutex_unlock(&reserve->lock);
    atomic_store(&reserve->was_refused, result != 0);
    if (result == 0) return DAYBOOK_OK;
    daybook_status status = dbk_fail_system(error, result, "make room for writing out in", reserve->path, 0);
    dbk_error_prepend(error, "nothing was appended; it resumes by itself when there is space");
    return status;
}

bool dbk_reserve_lend(daybook_store *store) {
    struct dbk_reserve *reserve = store->reserve;
    if (reserve == NULL) return false;
    pthread_mutex_lock(&reserve->lock);
    bool gave = reserve->file != NULL && !reserve->is_soft;
    if (gave) {
        store->vfs->close(store->vfs, reserve->file);
        reserve->file = NULL;
        gave = store->vfs->unlink(store->vfs, reserve->path) == 0;
    }
    atomic_store(&reserve->held, 0);
    atomic_store(&reserve->is_lent, true);
    pthread_mutex_unlock(&reserve->lock);
    return gave;
}

void dbk_reserve_restore(daybook_store *store) {
    struct dbk_reserve *reserve = store->reserve;
    if (reserve == NULL) return;
    // More than was ever asked for at once, so that appends that were refused find it enough.
    uint64_t bytes = in_steps(needed_for(unflushed_bytes(store)) + STEP_BYTES);
    pthread_mutex_lock(&reserve->lock);
    atomic_store(&reserve->is_lent, false);
    if (hold_most(store, reserve, bytes) == 0) atomic_store(&reserve->was_refused, false);
    pthread_mutex_unlock(&reserve->lock);
}

void dbk_reserve_note_full(daybook_store *store) {
    if (store->reserve != NULL) atomic_store(&store->reserve->was_refused, true);
}

bool dbk_reserve_is_lent(const daybook_store *store) {
    return store->reserve != NULL && atomic_load(&store->reserve->is_lent);
}

bool dbk_reserve_is_short(const daybook_store *store) {
    struct dbk_reserve *reserve = store->reserve;
    if (reserve == NULL) return false;
    return atomic_load(&reserve->was_refused) || atomic_load(&reserve->held) < RESERVE_BYTES_MIN;
}

bool dbk_reserve_is_tight(const daybook_store *store) {
    if (store->reserve == NULL) return false;
    uint64_t free_bytes = 0;
    if (dbk_reserve_is_short(store)) return true;
    return store->vfs->free_bytes(store->vfs, store->path, &free_bytes) == 0 &&
           free_bytes < atomic_load(&store->reserve->held) + 2 * store->options.memtable_bytes;
}

// ---- Life -----------------------------------------------------------------------------------------------

// What an earlier writer left. A copied file may have holes: its room is made sure of.
static int take_over(daybook_store *store, struct dbk_reserve *reserve) {
    uint64_t size = 0;
    int result = store->vfs->file_size(store->vfs, reserve->file, &size);
    if (result < 0 || size == 0) return result;
    result = dbk_allocate(store->vfs, reserve->file, 0, size);
    if (result == 0) atomic_store(&reserve->held, size);
    if (result == 0) return 0;
    return store->vfs->truncate(store->vfs, reserve->file, 0);
}

daybook_status dbk_reserve_open(daybook_store *store, daybook_error *error) {
    if (store->owned_vfs != NULL) return DAYBOOK_OK;
    struct dbk_reserve *reserve = dbk_alloc_zeroed(store->allocator, sizeof *reserve);
    if (reserve == NULL)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory while opening %s", store->path);
    daybook_status status = dbk_path_join(store->path, "reserve", reserve->path, error);
    if (status != DAYBOOK_OK) {
        dbk_free(store->allocator, reserve);
        return status;
    }
    pthread_mutex_init(&reserve->lock, NULL);
    store->reserve = reserve;
    int result = open_file(store, reserve);
    if (result == 0) result = take_over(store, reserve);
    if (result == 0) result = hold_most(store, reserve, in_steps(RESERVE_BYTES_MIN));
    if (result == 0 || is_full(result)) return DAYBOOK_OK;
    return dbk_fail_system(error, result, "make room in", reserve->path, 0);
}

void dbk_reserve_close(daybook_store *store) {
    struct dbk_reserve *reserve = store->reserve;
    if (reserve == NULL) return;
    store->reserve = NULL;
    if (reserve->file != NULL) {
        uint64_t bytes = store->view == NULL ? RESERVE_BYTES_MIN : needed_for(unflushed_bytes(store));
        if (!reserve->is_soft && in_steps(bytes) < atomic_load(&reserve->held)) {
            // Where this fails, more is held than needed.
            (void)store->vfs->truncate(store->vfs, reserve->file, in_steps(bytes));
        }
        store->vfs->close(store->vfs, reserve->file);
    }
    pthread_mutex_destroy(&reserve->lock);
    dbk_free(store->allocator, reserve);
}
