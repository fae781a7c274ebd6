// SPDX-License-Identifier: Apache-2.0
// Opening and closing a store.
//
// A store is a directory:
//   LOCK                   held by the writer (directory.c)
//   live                   what the writer tells readers of other processes (live.c)
//   journal                the durable tail (module journal)
//   reserve                room that appends may not use (reserve.c)
//   manifest-<number>      the durable root (manifest.c), and a copy of it, manifest-<number>.copy
//   segment-<id>.dbs       sealed events (module segment)
//   deletions-<id>-<generation>.dbd   removed events of a segment (deletions.c)
//   damaged-<time>/        bytes kept aside by repair
// Other files are left alone. Without a manifest there is no store.
//
// Creating: lock, zero-filled journal under a temporary name, renamed, directory synced, manifest last. A
// crash before that leaves LOCK and perhaps an empty journal; the next creation recognises those (and
// nothing else) and begins anew. A journal with anything but zeros and no manifest is a damaged store, not
// an unfinished one.
//
// Opening for writing: lock; sync what will be read, so that no decision rests on what only the page cache
// holds; manifest; streams and segments; replay of the journal; the manifest forgets that the store was
// closed; the journal begins a new epoch; then the live page, commit and maintenance. Damage to
// acknowledged data refuses; readers get what is readable. Positions of events that were never synced are
// given out again: nobody saw them.
//
// Closing: commits end, background work ends, a big rest is flushed, the witness is written, and the
// manifest says up to which LSN everything is known to be there, so that the next opening reads no further.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/time.h"
#include "io/memory.h"
#include "store/commit.h"
#include "store/consumer.h"
#include "store/directory.h"
#include "store/follower.h"
#include "store/maintenance.h"
#include "store/recovery.h"
#include "store/reserve.h"
#include "store/store_internal.h"

enum {
    JOURNAL_PIECES_FIRST = 4,
    FLUSH_AT_CLOSE_BYTES = 16 << 20,
    PATH_ROOM = 64, // behind the directory's path, for the names in it
};
#define MIB (UINT64_C(1) << 20)

// ---- Options --------------------------------------------------------------------------------------------

void daybook_open_options_init(daybook_open_options *options) {
    if (options == NULL) return;
    *options = (daybook_open_options){
        .size = sizeof *options,
        .memory_budget_bytes = 192 * MIB,
        .memtable_bytes = 32 * MIB,
        .journal_max_bytes = 256 * MIB,
        .segment_max_bytes = 2048 * MIB,
    };
}

static daybook_status check_option(const char *name, uint64_t value, uint64_t least, daybook_error *error) {
    if (value >= least) return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_EINVALID, "option %s is %llu bytes: it must be at least %llu", name,
                    (unsigned long long)value, (unsigned long long)least);
}

static daybook_status take_options(daybook_store *store, const daybook_open_options *given,
                                   daybook_error *error) {
    daybook_open_options *options = &store->options;
    daybook_open_options_init(options);
    if (given != NULL) {
        if (given->size < offsetof(daybook_open_options, lock_wait_ms)) {
            return dbk_fail(error, DAYBOOK_EMISUSE,
                            "daybook_open_options without size: call daybook_open_options_init");
        }
        memcpy(options, given, given->size < sizeof *options ? given->size : sizeof *options);
        options->size = sizeof *options;
    }
    DBK_TRY(check_option("memory_budget_bytes", options->memory_budget_bytes, 16 * MIB, error));
    DBK_TRY(check_option("memtable_bytes", options->memtable_bytes, 256 * 1024, error));
    DBK_TRY(check_option("journal_max_bytes", options->journal_max_bytes, 4 * MIB, error));
    DBK_TRY(check_option("segment_max_bytes", options->segment_max_bytes, MIB, error));
    // Two tables and what the indexes of a segment being written take must fit beside the cache.
    uint64_t memtable_max = options->memory_budget_bytes / 5;
    if (options->memtable_bytes > memtable_max) options->memtable_bytes = memtable_max;
    uint64_t journal_limit = (uint64_t)DBK_JOURNAL_PIECES_MAX * DBK_JOURNAL_PIECE_SIZE;
    if (options->journal_max_bytes > journal_limit) options->journal_max_bytes = journal_limit;
    store->read_only = (options->flags & DAYBOOK_OPEN_READ_ONLY) != 0;
    return DAYBOOK_OK;
}

// ---- Life of the struct ---------------------------------------------------------------------------------

static daybook_status new_store(const daybook_open_options *given, daybook_store **store_out,
                                daybook_error *error) {
    const daybook_allocator *allocator = dbk_allocator_default();
    if (given != NULL && given->size >= offsetof(daybook_open_options, vfs) && given->allocator != NULL) {
        allocator = given->allocator;
    }
    daybook_store *store = dbk_alloc_zeroed(allocator, sizeof *store);
    if (store == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory while opening the store");
    store->allocator = allocator;
    pthread_mutex_init(&store->state_lock, NULL);
    pthread_mutex_init(&store->removal_lock, NULL);
    pthread_mutex_init(&store->expiry_lock, NULL);
    atomic_init(&store->next_expiry_ns, INT64_MAX);
    pthread_mutex_init(&store->catalogue_lock, NULL);
    pthread_mutex_init(&store->told_lock, NULL);
    pthread_mutex_init(&store->consumers_lock, NULL);
    pthread_mutex_init(&store->view_lock, NULL);
    pthread_mutex_init(&store->maintenance_lock, NULL);
    pthread_mutex_init(&store->manifest_lock, NULL);
    dbk_clock_init(&store->clock);
    daybook_status status = take_options(store, given, error);
    if (status == DAYBOOK_OK) {
        store->vfs = store->options.vfs != NULL ? store->options.vfs : daybook_vfs_posix();
        dbk_clock_begin(&store->clock, store->vfs);
        uint64_t cache_bytes = store->options.memory_budget_bytes / 3;
        status = dbk_cache_new(allocator, (size_t)cache_bytes, &store->cache);
        if (status == DAYBOOK_OK) status = dbk_stream_table_new(allocator, &store->streams);
        if (status != DAYBOOK_OK) (void)dbk_fail(error, status, "out of memory while opening the store");
    }
    *store_out = store;
    return status;
}

// Everything in memory; files are closed without writing. Half-built is fine.
static void free_store(daybook_store *store) {
    if (store == NULL) return;
    dbk_consumers_free(store);
    dbk_follower_free(store);
    dbk_maintenance_free(store);
    dbk_commit_free(store);
    if (store->recovered_cut != NULL) {
        dbk_cut_deinit(store, store->recovered_cut);
        dbk_free(store->allocator, store->recovered_cut);
    }
    dbk_reserve_close(store);
    dbk_view_unref(store->view);
    dbk_manifest_deinit(&store->manifest);
    dbk_stream_table_free(store->streams);
    dbk_cache_free(store->cache);
    dbk_live_close(store->live);
    if (store->lock_file != NULL) store->vfs->close(store->vfs, store->lock_file);
    dbk_memory_vfs_free(store->owned_vfs);
    pthread_mutex_destroy(&store->state_lock);
    pthread_mutex_destroy(&store->removal_lock);
    pthread_mutex_destroy(&store->expiry_lock);
    pthread_mutex_destroy(&store->catalogue_lock);
    pthread_mutex_destroy(&store->consumers_lock);
    pthread_mutex_destroy(&store->view_lock);
    pthread_mutex_destroy(&store->maintenance_lock);
    pthread_mutex_destroy(&store->told_lock);
    pthread_mutex_destroy(&store->manifest_lock);
    dbk_clock_deinit(&store->clock);
    dbk_free(store->allocator, store);
}

static daybook_status take_path(daybook_store *store, const char *path, daybook_error *error) {
    if (strcmp(path, ":memory:") == 0) {
        daybook_status status = dbk_memory_vfs_new(store->allocator, &store->owned_vfs);
        if (status != DAYBOOK_OK) return dbk_fail(error, status, "out of memory while opening the store");
        store->vfs = store->owned_vfs;
        dbk_clock_begin(&store->clock, store->vfs);
        path = "store";
    }
    size_t size = strlen(path);
    while (size > 1 && path[size - 1] == '/') size--;
    if (size == 0)
        return dbk_fail(error, DAYBOOK_EINVALID, "the path of the store is empty; name a directory");
    if (size + PATH_ROOM >= sizeof store->path) {
        return dbk_fail(error, DAYBOOK_EINVALID,
                        "the path of the store has %zu bytes: at most %zu are possible", size,
                        sizeof store->path - PATH_ROOM - 1);
    }
    memcpy(store->path, path, size);
    store->path[size] = '\0';
    return DAYBOOK_OK;
}

daybook_status dbk_store_new_bare(const char *path, const daybook_open_options *options,
                                  daybook_store **store_out, daybook_error *error) {
    *store_out = NULL;
    daybook_store *store = NULL;
    daybook_status status = new_store(options, &store, error);
    if (status == DAYBOOK_OK) status = take_path(store, path, error);
    if (status != DAYBOOK_OK) {
        free_store(store);
        return status;
    }
    *store_out = store;
    return DAYBOOK_OK;
}

void dbk_store_free_bare(daybook_store *store) {
    free_store(store);
}

// ---- Creating -------------------------------------------------------------------------------------------

static daybook_status make_directory(daybook_store *store, daybook_error *error) {
    int result = store->vfs->make_directory(store->vfs, store->path);
    if (result < 0 && result != -EEXIST)
        return dbk_fail_system(error, result, "create the directory", store->path, 0);
    if (store->owned_vfs != NULL) return DAYBOOK_OK;
    return dbk_directory_sync_name(store->vfs, store->path, true, error);
}

// True where the file holds nothing but zeros: an unfinished creation.
static daybook_status is_blank(daybook_store *store, const char *path, bool *blank_out,
                               daybook_error *error) {
    *blank_out = true;
    daybook_file *file = NULL;
    int result = store->vfs->open(store->vfs, path, DAYBOOK_VFS_READ, &file);
    if (result == -ENOENT) return DAYBOOK_OK; // who began has taken it away
    if (result < 0) return dbk_fail_system(error, result, "open", path, 0);
    uint8_t page[DBK_JOURNAL_PAGE_SIZE];
    static const uint8_t zeros[DBK_JOURNAL_PAGE_SIZE];
    daybook_status status = DAYBOOK_OK;
    for (uint64_t offset = 0; *blank_out;) {
        int64_t moved = store->vfs->read_at(store->vfs, file, page, sizeof page, offset);
        if (moved == -EINTR) continue;
        if (moved < 0) status = dbk_fail_system(error, (int)moved, "read", path, offset);
        if (moved <= 0) break;
        *blank_out = memcmp(page, zeros, (size_t)moved) == 0;
        offset += (uint64_t)moved;
    }
    store->vfs->close(store->vfs, file);
    return status;
}

static daybook_status fail_headless(const char *path, daybook_error *error) {
    return dbk_fail_damaged(
        error, path, 0,
        "%s has files of a store but no manifest: it was lost; put it back, or run daybook repair", path);
}

// What is in a directory without manifest must be nothing, or what a creation that was cut short left.
static daybook_status check_empty(daybook_store *store, const dbk_directory *found, daybook_error *error) {
    if (found->segment_count > 0 || found->deletions_count > 0) return fail_headless(store->path, error);
    if (found->has_journal) {
        char path[DBK_PATH_SIZE_MAX];
        bool blank = false;
        DBK_TRY(dbk_path_join(store->path, "journal", path, error));
        DBK_TRY(is_blank(store, path, &blank, error));
        if (!blank) return fail_headless(store->path, error);
    }
    if (found->foreign_count > 0) {
        return dbk_fail(error, DAYBOOK_EFOREIGN,
                        "%s is not a store and not empty (it has %s): a store is only made in an empty "
                        "directory; name another",
                        store->path, found->foreign_name);
    }
    return DAYBOOK_OK;
}

static daybook_status random_u64(daybook_store *store, uint64_t *value_out, daybook_error *error) {
    uint64_t value = 0;
    while (value == 0) {
        int result = store->vfs->entropy(store->vfs, &value, sizeof value);
        if (result < 0) return dbk_fail_system(error, result, "get random bytes", NULL, 0);
    }
    *value_out = value;
    return DAYBOOK_OK;
}

static daybook_status create_journal(daybook_store *store, daybook_error *error) {
    char path[DBK_PATH_SIZE_MAX];
    char temporary[DBK_PATH_SIZE_MAX];
    dbk_journal_config config = dbk_store_journal_config(store, path);
    DBK_TRY(dbk_path_join(store->path, "journal.tmp", temporary, error));
    (void)store->vfs->unlink(store->vfs, temporary);
    (void)store->vfs->unlink(store->vfs, path); // blank: checked
    config.path = temporary;
    DBK_TRY(dbk_journal_create(&config, JOURNAL_PIECES_FIRST, error));
    int result = store->vfs->rename(store->vfs, temporary, path);
    if (result < 0) {
        (void)store->vfs->unlink(store->vfs, temporary);
        return dbk_fail_system(error, result, "rename to", path, 0);
    }
    result = store->vfs->sync_directory(store->vfs, store->path);
    if (result < 0) {
        (void)store->vfs->unlink(store->vfs, path);
        return dbk_fail_system(error, result, "sync the directory", store->path, 0);
    }
    return DAYBOOK_OK;
}

static daybook_status create_files(daybook_store *store, daybook_error *error) {
    uint8_t random[10];
    int result = store->vfs->entropy(store->vfs, random, sizeof random);
    if (result < 0) return dbk_fail_system(error, result, "get random bytes", NULL, 0);
    dbk_uuid_make_v7(store->vfs->clock_real_ns(store->vfs), random, &store->uuid);
    DBK_TRY(random_u64(store, &store->incarnation, error));
    DBK_TRY(create_journal(store, error));

    dbk_manifest *manifest = &store->manifest;
    dbk_manifest_init(manifest, store->allocator, store->vfs, store->path);
    manifest->journal_pieces =
        dbk_resize_array(store->allocator, NULL, JOURNAL_PIECES_FIRST, sizeof(uint32_t));
    if (manifest->journal_pieces == NULL)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory while creating the store");
    for (uint32_t i = 0; i < JOURNAL_PIECES_FIRST; i++) manifest->journal_pieces[i] = i;
    manifest->journal_piece_count = JOURNAL_PIECES_FIRST;
    manifest->journal_first_lsn = DBK_JOURNAL_PIECE_PAGES;
    manifest->journal_start_lsn = DBK_JOURNAL_PIECE_PAGES;
    manifest->journal_durable_lsn = DBK_JOURNAL_PIECE_PAGES;
    manifest->store_uuid = store->uuid;
    manifest->incarnation = store->incarnation;
    manifest->number = 1;
    return dbk_manifest_create(manifest, error);
}

// Take away what a failed creation left. The lock is held.
static void undo_creation(daybook_store *store, bool made_directory) {
    char path[DBK_PATH_SIZE_MAX];
    dbk_directory_remove_temporary(store->vfs, store->path);
    (void)dbk_store_journal_config(store, path);
    (void)store->vfs->unlink(store->vfs, path);
    if (dbk_path_join(store->path, "reserve", path, NULL) == DAYBOOK_OK)
        (void)store->vfs->unlink(store->vfs, path);
    if (!made_directory) return;
    if (dbk_path_join(store->path, "LOCK", path, NULL) == DAYBOOK_OK)
        (void)store->vfs->unlink(store->vfs, path);
    (void)store->vfs->remove_directory(store->vfs, store->path);
}

// Whoever made the directory may have died before its name was durable. A store once closed cleanly has been
// through here.
static daybook_status sync_name(daybook_store *store, daybook_error *error) {
    if (store->manifest.closed_clean) return DAYBOOK_OK;
    return dbk_directory_sync_name(store->vfs, store->path, false, error);
}

static daybook_status create(daybook_store *store, bool made_directory, daybook_error *error) {
    dbk_directory_remove_temporary(store->vfs, store->path);
    if (!made_directory) DBK_TRY(sync_name(store, error));
    daybook_status status = dbk_reserve_open(store, error);
    if (status == DAYBOOK_OK) status = create_files(store, error);
    if (status == DAYBOOK_OK) return DAYBOOK_OK;
    // Where the manifest has its name already, a sync behind it failed: what is there is a whole store,
    // leave it.
    dbk_directory found;
    if (dbk_directory_inspect(store->vfs, store->path, &found, NULL) == DAYBOOK_OK &&
        found.manifest_count == 0) {
        undo_creation(store, made_directory);
    }
    return status;
}

// ---- Opening for writing --------------------------------------------------------------------------------

static daybook_status fail_absent(const char *path, daybook_error *error) {
    return dbk_fail(error, DAYBOOK_ENOTFOUND,
                    "there is no store in %s; check the path, or create one by appending", path);
}

// Whether to go on at all, before the directory is touched. *made_out: it was absent and has been made.
//
// The lock is not held yet. While somebody else creates the store there are files of it and no manifest; the
// manifest comes before anything else is written, so whoever saw what only a whole store has, and no
// manifest, looks again.
static daybook_status prepare_directory(daybook_store *store, bool *made_out, daybook_error *error) {
    *made_out = false;
    bool must_exist = (store->options.flags & DAYBOOK_OPEN_MUST_EXIST) != 0;
    dbk_directory found;
    DBK_TRY(dbk_directory_inspect(store->vfs, store->path, &found, error));
    if (found.manifest_count > 0) return DAYBOOK_OK;
    if (!found.exists) {
        if (must_exist) return fail_absent(store->path, error);
        DBK_TRY(make_directory(store, error));
        *made_out = true;
        return DAYBOOK_OK;
    }
    daybook_status status = check_empty(store, &found, error);
    if (status == DAYBOOK_EDAMAGED) {
        DBK_TRY(dbk_directory_inspect(store->vfs, store->path, &found, error));
        if (found.manifest_count > 0) return DAYBOOK_OK;
    }
    if (status != DAYBOOK_OK) return status;
    return must_exist ? fail_absent(store->path, error) : DAYBOOK_OK;
}

static daybook_status sync_journal(daybook_store *store, daybook_error *error) {
    char path[DBK_PATH_SIZE_MAX];
    (void)dbk_store_journal_config(store, path);
    daybook_file *file = NULL;
    int result = store->vfs->open(store->vfs, path, DAYBOOK_VFS_WRITE, &file);
    if (result == -ENOENT) {
        return dbk_fail_damaged(error, path, 0,
                                "%s is missing: put it back; or run daybook repair, which goes on without it",
                                path);
    }
    if (result < 0) return dbk_fail_system(error, result, "open", path, 0);
    result = store->vfs->sync(store->vfs, file);
    store->vfs->close(store->vfs, file);
    return result < 0 ? dbk_fail_system(error, result, "sync", path, 0) : DAYBOOK_OK;
}

// No decision may rest on what only the page cache holds: all is synced before it is read (the manifest
// when it is loaded).
static daybook_status load_for_writing(daybook_store *store, daybook_error *error) {
    int result = store->vfs->sync_directory(store->vfs, store->path);
    if (result < 0) return dbk_fail_system(error, result, "sync the directory", store->path, 0);
    dbk_manifest_init(&store->manifest, store->allocator, store->vfs, store->path);
    DBK_TRY(dbk_manifest_load(&store->manifest, true, error));
    DBK_TRY(sync_name(store, error));
    store->uuid = store->manifest.store_uuid;
    store->incarnation = store->manifest.incarnation;
    if (store->manifest.journal_piece_count == 0) {
        return dbk_fail(error, DAYBOOK_EREADONLY,
                        "%s is a backup: restore it to another directory to write; or open for reading only",
                        store->path);
    }
    return sync_journal(store, error);
}

static daybook_status recover_segments(daybook_store *store, daybook_error *error) {
    dbk_source **sources = NULL;
    size_t count = 0;
    atomic_store(&store->flushed_position, store->manifest.flushed_position); // replay looks at both
    store->last_recorded_ns = store->manifest.last_recorded_ns;
    store->positions_end = store->manifest.positions_end;
    DBK_TRY(dbk_recovery_load_streams(store, &store->manifest, error));
    DBK_TRY(dbk_recovery_open_segments(store, &store->manifest, NULL, 1, false, &sources, &count, error));
    daybook_status status =
        dbk_recovery_begin_view(store, sources, count, store->manifest.flushed_position + 1, 1, error);
    if (status == DAYBOOK_OK) return DAYBOOK_OK;
    for (size_t i = 0; i < count; i++) dbk_source_unref(sources[i]);
    dbk_free(store->allocator, sources);
    return status;
}

static daybook_status recover_journal(daybook_store *store, dbk_journal_recovery *recovery,
                                      daybook_error *error) {
    store->recovered_cut = dbk_alloc_zeroed(store->allocator, sizeof *store->recovered_cut);
    if (store->recovered_cut == NULL)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory while opening %s", store->path);
    const dbk_manifest *manifest = &store->manifest;
    dbk_replay replay = {
        .store = store, .roll_bytes = (size_t)store->options.memtable_bytes, .cut = store->recovered_cut};
    uint64_t stop_lsn = manifest->closed_clean ? manifest->journal_durable_lsn : 0;
    DBK_TRY(dbk_recovery_replay(&replay, manifest, manifest->journal_start_lsn, stop_lsn,
                                manifest->journal_durable_lsn, recovery, error));
    if (recovery->damaged) {
        char path[DBK_PATH_SIZE_MAX];
        (void)dbk_store_journal_config(store, path);
        return dbk_fail_damaged(
            error, path, recovery->damage_offset,
            "%s is damaged at byte %llu: %s; open for reading only, run daybook verify, then repair", path,
            (unsigned long long)recovery->damage_offset, recovery->damage_text);
    }
    if (recovery->torn_pages > 0) {
        dbk_store_log(store, DAYBOOK_LOG_INFO,
                      "%llu pages of a commit that was never acknowledged were cut from the journal",
                      (unsigned long long)recovery->torn_pages);
    }
    store->open_replayed_bytes = recovery->replayed_bytes;
    store->open_torn_pages = recovery->torn_pages;
    return DAYBOOK_OK;
}

// Positions of events in memory are not given again. Who closed the store said exactly up to where they went.
static daybook_status skip_spent_positions(daybook_store *store, daybook_error *error) {
    if (store->manifest.closed_clean && store->manifest.positions_end > 0)
        store->positions_end = store->manifest.positions_end;
    if (store->positions_end <= store->next_position) return DAYBOOK_OK;
    daybook_status status = dbk_recovery_skip_to(store, store->positions_end);
    if (status != DAYBOOK_OK) return dbk_fail(error, status, "out of memory while opening %s", store->path);
    return DAYBOOK_OK;
}

static void publish_recovered(daybook_store *store) {
    atomic_store(&store->durable_position, store->next_position - 1);
    dbk_store_note_manifest(store);
}

static daybook_status open_journal(daybook_store *store, const dbk_journal_recovery *recovery,
                                   daybook_error *error) {
    dbk_manifest *manifest = &store->manifest;
    dbk_recovery_log_copies(store, false);
    if (manifest->closed_clean || !dbk_manifest_file_is_whole(&manifest->file)) {
        // From now on the journal may hold more than the manifest knows of. And where something is wrong with
        // a copy of the manifest, any edit writes both anew.
        dbk_manifest_edit edit;
        dbk_manifest_edit_init(&edit, store->allocator);
        dbk_manifest_edit_set_closed_clean(&edit, false);
        daybook_status status = dbk_commit_edit(store, &edit, error);
        dbk_manifest_edit_deinit(&edit);
        if (status != DAYBOOK_OK) return status;
    }
    char path[DBK_PATH_SIZE_MAX];
    dbk_journal_config config = dbk_store_journal_config(store, path);
    dbk_journal_map map = dbk_manifest_journal_map(manifest);
    return dbk_journal_open(&config, &map, recovery, manifest->journal_start_lsn, &store->journal, error);
}

static daybook_status open_live(daybook_store *store, uint64_t session, daybook_error *error) {
    daybook_status status =
        dbk_live_open(store->allocator, store->vfs, store->path, &store->uuid, true, &store->live, error);
    if (status == DAYBOOK_ENOSPC && dbk_make_space(store)) {
        status =
            dbk_live_open(store->allocator, store->vfs, store->path, &store->uuid, true, &store->live, error);
    }
    DBK_TRY(status);
    dbk_live_identify(store->live, store->incarnation, dbk_process_id(), session);
    dbk_publish_edit(store);
    return DAYBOOK_OK;
}

// Streams in memory begin empty: they get a new id, and what lies under the old one is nobody's.
typedef struct renewal {
    daybook_store *store;
    dbk_stream **streams;
    uint32_t *ids;
    size_t count;
    daybook_status status;
} renewal;

static void apply_renewal(void *context) {
    renewal *renewing = context;
    dbk_stream_table *table = renewing->store->streams;
    for (size_t i = 0; i < renewing->count; i++) {
        dbk_stream *old = renewing->streams[i];
        dbk_stream *fresh = NULL;
        dbk_stream_table_remove(table, old);
        daybook_status status = dbk_stream_table_add(table, renewing->ids[i], atomic_load(&old->config),
                                                     old->created_ns, &fresh, NULL);
        if (status != DAYBOOK_OK) renewing->status = status;
    }
}

static daybook_status encode_renewal(renewal *renewing, dbk_buf *records) {
    daybook_store *store = renewing->store;
    uint32_t id = dbk_stream_table_next_id(store->streams);
    dbk_buf value;
    dbk_buf_init(&value, store->allocator, DBK_RECORD_SIZE_MAX);
    daybook_status status = DAYBOOK_OK;
    for (size_t i = 0; status == DAYBOOK_OK && i < renewing->count; i++) {
        dbk_stream *stream = renewing->streams[i];
        char old_key[16];
        char new_key[16];
        renewing->ids[i] = id++;
        dbk_catalogue_entry gone = {.kind = DBK_CATALOGUE_STREAM, .key = dbk_stream_key(stream->id, old_key)};
        dbk_catalogue_entry entry = {
            .kind = DBK_CATALOGUE_STREAM, .present = true, .key = dbk_stream_key(renewing->ids[i], new_key)};
        dbk_buf_reset(&value);
        status =
            dbk_stream_encode(renewing->ids[i], atomic_load(&stream->config), stream->created_ns, &value);
        entry.value = daybook_bytes(value.data, value.size);
        if (status == DAYBOOK_OK) status = dbk_catalogue_encode(&gone, records);
        if (status == DAYBOOK_OK) status = dbk_catalogue_encode(&entry, records);
    }
    dbk_buf_deinit(&value);
    return status;
}

static daybook_status renew_memory_streams(daybook_store *store, daybook_error *error) {
    renewal renewing = {.store = store};
    size_t count = 0;
    daybook_status status = dbk_stream_table_all(store->streams, &renewing.streams, &count);
    if (status != DAYBOOK_OK) return dbk_fail(error, status, "out of memory while opening %s", store->path);
    for (size_t i = 0; i < count; i++) {
        if (renewing.streams[i]->storage != DAYBOOK_STORAGE_MEMORY) continue;
        renewing.streams[renewing.count++] = renewing.streams[i];
    }
    dbk_buf records;
    dbk_buf_init(&records, store->allocator, DBK_RECORD_SIZE_MAX);
    if (renewing.count > 0) {
        renewing.ids = dbk_resize_array(store->allocator, NULL, renewing.count, sizeof *renewing.ids);
        status = renewing.ids == NULL ? DAYBOOK_ENOMEM : encode_renewal(&renewing, &records);
        if (status != DAYBOOK_OK) {
            (void)dbk_fail(error, status, "out of memory while opening %s", store->path);
        } else {
            status = dbk_commit_records(store, daybook_bytes(records.data, records.size), apply_renewal,
                                        &renewing, error);
        }
        if (status == DAYBOOK_OK && renewing.status != DAYBOOK_OK) {
            status = dbk_fail(error, renewing.status, "a stream in memory of %s could not be made anew",
                              store->path);
        }
    }
    dbk_buf_deinit(&records);
    dbk_free(store->allocator, renewing.ids);
    dbk_free(store->allocator, renewing.streams);
    return status;
}

// Conditions of the first append are not to see what aged while nobody wrote. What fails here maintenance
// tries again.
static void trim_what_aged(daybook_store *store) {
    daybook_error error;
    daybook_error_init(&error);
    if (dbk_store_trim_ages(store, &error) != DAYBOOK_OK)
        dbk_store_log(store, DAYBOOK_LOG_WARNING, "limits of a stream: %s", error.message);
}

static void hold_recovered_trims(daybook_store *store, uint64_t position_from) {
    dbk_commit_hold_trim(store, &store->recovered_trims, position_from);
    if (store->recovered_cut != NULL && position_from < store->recovered_cut->trim_from)
        store->recovered_cut->trim_from = position_from;
}

static daybook_status open_locked(daybook_store *store, bool made_directory, uint64_t session,
                                  daybook_error *error) {
    // Another process may have made the store while we waited for the lock.
    dbk_directory found;
    DBK_TRY(dbk_directory_inspect(store->vfs, store->path, &found, error));
    if (found.manifest_count == 0) {
        DBK_TRY(check_empty(store, &found, error));
        DBK_TRY(create(store, made_directory, error));
    } else {
        DBK_TRY(load_for_writing(store, error));
        dbk_directory_remove_temporary(store->vfs, store->path);
        DBK_TRY(dbk_reserve_open(store, error));
    }
    dbk_journal_recovery recovery = {0};
    bool was_closed = store->manifest.closed_clean;
    uint64_t trim_from = store->manifest.trim_from; // read before others may write it; 0: no flush has said
    DBK_TRY(recover_segments(store, error));
    DBK_TRY(recover_journal(store, &recovery, error));
    DBK_TRY(skip_spent_positions(store, error));
    publish_recovered(store);
    dbk_remove_orphans(store);
    DBK_TRY(open_journal(store, &recovery, error));
    DBK_TRY(open_live(store, session, error));
    DBK_TRY(dbk_commit_new(store, error));
    // A flush in the background must not say that these limits are enforced before they are.
    bool has_trims = !was_closed || (trim_from != 0 && trim_from < store->next_position);
    if (has_trims) hold_recovered_trims(store, trim_from == 0 ? 1 : trim_from);
    trim_what_aged(store); // alone: who trims beside another only leaves a request
    DBK_TRY(dbk_maintenance_new(store, error));
    DBK_TRY(renew_memory_streams(store, error));
    if (dbk_reserve_is_lent(store)) dbk_reserve_restore(store);
    if (!has_trims) return DAYBOOK_OK;
    DBK_TRY(dbk_store_trim_recovered(store, store->recovered_trims.position_from, error));
    dbk_commit_release_trim(store, &store->recovered_trims);
    return DAYBOOK_OK;
}

static daybook_status open_writer(daybook_store *store, daybook_error *error) {
    bool made_directory = false;
    uint64_t session = 0;
    DBK_TRY(random_u64(store, &session, error));
    int result = store->vfs->entropy(store->vfs, store->id_base, sizeof store->id_base);
    if (result < 0) return dbk_fail_system(error, result, "get random bytes", NULL, 0);
    store->id_base[2] &= 0xdf; // room for counting up
    DBK_TRY(prepare_directory(store, &made_directory, error));
    daybook_status status = dbk_lock_take(store->vfs, store->path, store->options.lock_wait_ms, session,
                                          &store->lock_file, error);
    if (status == DAYBOOK_OK) return open_locked(store, made_directory, session, error);
    if (made_directory) (void)store->vfs->remove_directory(store->vfs, store->path); // only when empty
    return status;
}

daybook_status daybook_open(const char *path, const daybook_open_options *options, daybook_store **store_out,
                            daybook_error *error) {
    if (store_out == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "daybook_open without store_out");
    *store_out = NULL;
    if (path == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "daybook_open without path");
    daybook_store *store = NULL;
    daybook_status status = new_store(options, &store, error);
    if (status == DAYBOOK_OK) status = take_path(store, path, error);
    if (status == DAYBOOK_OK)
        status = store->read_only ? dbk_follower_open(store, error) : open_writer(store, error);
    if (status != DAYBOOK_OK) {
        if (store != NULL && store->maintenance != NULL) dbk_maintenance_stop(store);
        if (store != NULL && store->commit != NULL) dbk_commit_stop(store);
        if (store != NULL && store->journal != NULL) (void)dbk_journal_close(store->journal, NULL);
        free_store(store);
        return status;
    }
    *store_out = store;
    return DAYBOOK_OK;
}

// ---- Closing --------------------------------------------------------------------------------------------

static void keep_first(daybook_status *status, daybook_status next) {
    if (*status == DAYBOOK_OK) *status = next;
}

// The manifest says that nothing lies behind the journal's end.
static daybook_status mark_closed(daybook_store *store, daybook_error *error) {
    dbk_manifest_edit edit;
    dbk_manifest_edit_init(&edit, store->allocator);
    pthread_mutex_lock(&store->manifest_lock);
    dbk_journal_map map = dbk_manifest_journal_map(&store->manifest);
    dbk_manifest_edit_set_journal(&edit, store->manifest.journal_start_lsn,
                                  dbk_journal_durable_lsn(store->journal), &map);
    dbk_manifest_edit_set_closed_clean(&edit, true);
    dbk_manifest_edit_set_trim_from(&edit, dbk_commit_closed_trim_from(store));
    if (store->positions_end > 0) dbk_manifest_edit_set_positions_end(&edit, store->next_position);
    daybook_status status = dbk_commit_edit(store, &edit, error);
    pthread_mutex_unlock(&store->manifest_lock);
    dbk_manifest_edit_deinit(&edit);
    // A flush or merge that found commits closed had written its file already.
    if (status == DAYBOOK_OK) dbk_remove_doubtful(store);
    return status;
}

// What streams with a sync_interval acknowledged last could not be written.
static daybook_status tell_lost(daybook_store *store, bool poisoned, daybook_error *error) {
    if (!dbk_commit_lost_deferred(store)) return DAYBOOK_OK;
    return dbk_fail(error, poisoned ? DAYBOOK_EUNCERTAIN : DAYBOOK_ENOSPC,
                    "the journal could not be written while the store was closed: what streams with a "
                    "sync_interval acknowledged last %s; open the store again and look",
                    poisoned ? "may be lost" : "is lost");
}

static daybook_status close_writer(daybook_store *store, daybook_error *error) {
    daybook_status status = dbk_consumers_stop(store, error);
    bool was_poisoned = atomic_load(&store->poisoned);
    if (!was_poisoned) {
        (void)dbk_commit_trim_owed(store, NULL); // or the next opening does it
        uint64_t replay_bytes = dbk_journal_used_pages(store->journal) * DBK_JOURNAL_PAGE_SIZE;
        // What fails here is found again in the journal: the store is whole either way.
        if (replay_bytes > FLUSH_AT_CLOSE_BYTES) (void)dbk_maintenance_flush(store, NULL);
    }
    dbk_commit_stop(store);
    dbk_maintenance_stop(store);
    bool poisoned = atomic_load(&store->poisoned);
    keep_first(&status, tell_lost(store, poisoned, status == DAYBOOK_OK ? error : NULL));
    if (status == DAYBOOK_OK && poisoned && !was_poisoned) {
        // Removals by limits were under way, which the next opening finds out again.
        status = dbk_fail(error, DAYBOOK_EUNCERTAIN,
                          "the journal could not be written while the store was closed: nothing acknowledged "
                          "is lost, and the next opening for writing sets it right; look after the disk");
    }
    if (!poisoned) {
        daybook_error *first = status == DAYBOOK_OK ? error : NULL;
        daybook_status marked = dbk_journal_write_witness(store->journal, first);
        if (marked == DAYBOOK_OK) marked = mark_closed(store, first);
        keep_first(&status, marked);
    }
    dbk_live_values values = {
        .writer_open = false,
        .manifest_edit = atomic_load(&store->manifest_edit),
        .durable_lsn = dbk_journal_durable_lsn(store->journal),
        .durable_position = atomic_load(&store->durable_position),
    };
    dbk_live_publish(store->live, &values);
    keep_first(&status, dbk_journal_close(store->journal, status == DAYBOOK_OK ? error : NULL));
    store->journal = NULL;
    return status;
}

daybook_status daybook_close(daybook_store *store, daybook_error *error) {
    if (store == NULL) return DAYBOOK_OK;
    daybook_status status = store->read_only ? DAYBOOK_OK : close_writer(store, error);
    free_store(store);
    return status;
}
