// SPDX-License-Identifier: Apache-2.0
// Giving back the space of removed files a little at a time.
//
// Removing a file of a hundred megabytes frees all its blocks at once. Where the file system tells the device
// of freed blocks as it goes (ext4 with `discard`), nothing else is written for as long as that takes, and
// the sync of every append waits: 30 ms for 64 MiB, measured. And the one who pays is whoever lets go of the
// file last, which may be a flush or a thread that reads. So a file of some size loses its name at once, is
// kept open, and is cut from its end in steps with pauses between, by the merging thread.
//
// Invariant: a file is cut only where nobody can see it: it has no name any more, for good (the directory was
// synced), and the vfs says that no other open file shares it. A backup that linked it, a reader in another
// process, a cursor of this one: then it is let alone, and looked at again; after PATIENCE_NS, or when there
// are COUNT_MAX of them, it is simply closed, as it is when the store closes, when a disk is full, and where
// the vfs cannot tell. A crash leaves nothing: what has no name goes with the process.
//
// Any thread may hand in files; one thread (the merger) cuts.
#include "base/time.h"
#include "store/maintenance.h"

enum { SMALL_BYTES = 1 << 20, STEP_BYTES = 512 << 10, COUNT_MAX = 64 };
#define PAUSE_NS (1 * DBK_MILLISECOND_NS)
#define PATIENCE_NS (30 * DBK_SECOND_NS)

struct dbk_discard {
    dbk_discard *next;
    daybook_file *file;
    uint64_t size;
    int64_t since_ns;
    bool is_nameless; // for good
};

static void push(struct dbk_maintenance *maintenance, dbk_discard *discard) {
    pthread_mutex_lock(&maintenance->discard_lock);
    discard->next = maintenance->discards;
    maintenance->discards = discard;
    maintenance->discard_count++;
    pthread_mutex_unlock(&maintenance->discard_lock);
}

static void let_go(daybook_store *store, dbk_discard *discard) {
    store->vfs->close(store->vfs, discard->file);
    dbk_free(store->allocator, discard);
}

// A handle of the file by which it can be cut; NULL where it is not worth it, or not to be had.
static dbk_discard *hold(daybook_store *store, const char *name) {
    struct dbk_maintenance *maintenance = store->maintenance;
    char path[DBK_PATH_SIZE_MAX];
    if (!maintenance->merger_runs || atomic_load(&maintenance->stop) || !dbk_has_is_unshared(store->vfs) ||
        atomic_load(&maintenance->discard_count) >= COUNT_MAX ||
        dbk_path_join(store->path, name, path, NULL) != DAYBOOK_OK)
        return NULL;
    dbk_discard *discard = dbk_alloc_zeroed(store->allocator, sizeof *discard);
    if (discard == NULL) return NULL;
    bool is_held = store->vfs->open(store->vfs, path, DAYBOOK_VFS_WRITE, &discard->file) == 0;
    if (is_held && store->vfs->file_size(store->vfs, discard->file, &discard->size) == 0 &&
        discard->size > SMALL_BYTES) {
        discard->since_ns = store->vfs->clock_monotonic_ns(store->vfs);
        return discard;
    }
    if (is_held) store->vfs->close(store->vfs, discard->file);
    dbk_free(store->allocator, discard);
    return NULL;
}

void dbk_discard_file(daybook_store *store, const char *name) {
    dbk_discard *discard = hold(store, name);
    dbk_remove_file(store, name);
    if (discard != NULL) push(store->maintenance, discard);
}

static dbk_discard *take_all(struct dbk_maintenance *maintenance) {
    pthread_mutex_lock(&maintenance->discard_lock);
    dbk_discard *all = maintenance->discards;
    maintenance->discards = NULL;
    maintenance->discard_count = 0;
    pthread_mutex_unlock(&maintenance->discard_lock);
    return all;
}

static void pause_a_little(daybook_store *store) {
    uint32_t word = 0;
    (void)store->vfs->wait(store->vfs, &word, 0, PAUSE_NS, 0);
}

static void cut(daybook_store *store, dbk_discard *discard) {
    struct dbk_maintenance *maintenance = store->maintenance;
    while (discard->size > 0 && !atomic_load(&maintenance->stop) &&
           !atomic_load(&maintenance->discards_at_once)) {
        discard->size = discard->size > STEP_BYTES ? discard->size - STEP_BYTES : 0;
        if (store->vfs->truncate(store->vfs, discard->file, discard->size) < 0) break; // closing does it
        pause_a_little(store);
    }
}

// Names of files that came since the last time are removed for good. Where that fails, nothing is cut.
static void make_nameless(daybook_store *store, dbk_discard *all) {
    bool is_due = false;
    for (dbk_discard *discard = all; discard != NULL; discard = discard->next)
        is_due = is_due || !discard->is_nameless;
    if (!is_due || store->vfs->sync_directory(store->vfs, store->path) < 0) return;
    for (dbk_discard *discard = all; discard != NULL; discard = discard->next) discard->is_nameless = true;
}

bool dbk_discard_some(daybook_store *store) {
    struct dbk_maintenance *maintenance = store->maintenance;
    dbk_discard *all = take_all(maintenance);
    if (all == NULL) return false;
    int64_t now_ns = store->vfs->clock_monotonic_ns(store->vfs);
    bool some_left = false;
    make_nameless(store, all);
    while (all != NULL) {
        dbk_discard *discard = all;
        all = discard->next;
        int unshared = discard->is_nameless ? dbk_is_unshared(store->vfs, discard->file) : -1;
        if (unshared > 0) {
            cut(store, discard);
        } else if (unshared == 0 && now_ns - discard->since_ns < PATIENCE_NS &&
                   !atomic_load(&maintenance->stop) && !atomic_load(&maintenance->discards_at_once)) {
            push(maintenance, discard);
            some_left = true;
            continue;
        }
        let_go(store, discard);
    }
    atomic_store(&maintenance->discards_at_once, false);
    return some_left;
}

void dbk_discard_all(daybook_store *store) {
    struct dbk_maintenance *maintenance = store->maintenance;
    atomic_store(&maintenance->discards_at_once, true); // for the one being cut
    for (dbk_discard *all = take_all(maintenance); all != NULL;) {
        dbk_discard *next = all->next;
        let_go(store, all);
        all = next;
    }
}
