// SPDX-License-Identifier: Apache-2.0
// Writing the journal: groups, witness, the map, room, and what happens after a failure.
//
// A group is written where its LSNs lie, runs of neighbouring pieces in one call each, by a file opened for
// direct and synchronous writes: when the last call returns, the group is durable. Only then next_lsn moves.
//
//          open                            failed write
//     ------------>  usable  ------------------------------->  poisoned
//                      | ^
//             no room  | | set_map (recycled or grown, durable in the manifest)
//                      v |
//                  ELIMIT, nothing written
//
// A failed write or sync is never repeated: the kernel may have dropped the pages and would report success.
// Whether the group arrived is found out by recovery after reopening; until then nothing is written, so that
// at most this one group is in doubt. Short and interrupted writes are no failures and are completed.
//
// Opening begins an epoch with a page of its own. It is written before any group, and makes the remains of a
// torn group above it stale (recovery.c). Where a full map has no place for it, it stays due until there is
// room.
//
// CONTROL_PAGES at the end of the map are kept from groups, so that a full journal can still be given a
// witness and be reopened a few times.
//
// Growing asks for the disk's room first, so that a full disk says no at once instead of after megabytes of
// zeros; then come the zeros, because room that was never written costs a commit of the file system each
// time.
//
// Zero-filling and wiping use a second handle without synchronous writes, and one sync at their end.
//
// Threads: one writes (groups, witness, close), one at a time calls grow, plan_recycle and set_map, one at a
// time wipe_free. `lock` guards the map, the range being written and the range being wiped; it is never held
// during I/O. While a range is being wiped, the writer does not enter it and the map does not move it: both
// wait for one write of at most a piece. The numbers that other threads look at are atomic.
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/assert.h"
#include "journal/journal_internal.h"

enum { CONTROL_PAGES = 8, ZEROS_SIZE = 1 << 20, FRUITLESS_WRITES_MAX = 100 };

_Static_assert((int)ZEROS_SIZE == (int)DBK_JOURNAL_PIECE_SIZE, "a piece is wiped by one write");

struct dbk_journal {
    // Set at open.
    const daybook_allocator *allocator;
    daybook_vfs *vfs;
    char *path;
    daybook_file *file;
    dbk_journal_identity identity;
    // Owned by the writing thread.
    uint32_t epoch;
    bool epoch_due;   // its first page is not written yet
    bool witness_due; // groups were written since the last control page
    uint64_t last_checksum;
    dbk_journal_group *control; // empty group for pages of epochs and witnesses
    // Guarded by lock.
    pthread_mutex_t lock;
    pthread_cond_t wiped;
    uint64_t first_lsn;
    uint32_t *pieces;
    uint32_t piece_count;
    uint64_t writing_end;          // LSNs below are written or being written
    uint64_t wipe_first, wipe_end; // being wiped ahead of the writer; empty when equal
    // Any thread.
    atomic_uint_fast64_t next_lsn; // = durable: groups are written one by one
    atomic_uint_fast64_t start_lsn;
    atomic_uint_fast64_t end_lsn; // of the map
    atomic_bool is_poisoned;
};

static uint64_t get(const atomic_uint_fast64_t *number) {
    return atomic_load_explicit(number, memory_order_acquire);
}

static void set(atomic_uint_fast64_t *number, uint64_t value) {
    atomic_store_explicit(number, value, memory_order_release);
}

// The map as it is; only with the lock held.
static dbk_journal_map map_of(const dbk_journal *journal) {
    return (dbk_journal_map){
        .first_lsn = journal->first_lsn, .piece_count = journal->piece_count, .pieces = journal->pieces};
}

// ---- Zeros ----

// Writes `size` zero bytes; the caller syncs.
static daybook_status write_zeros(daybook_vfs *vfs, daybook_file *file, const char *path,
                                  const uint8_t *zeros, uint64_t size, uint64_t offset,
                                  daybook_error *error) {
    while (size > 0) {
        size_t part = size < ZEROS_SIZE ? (size_t)size : ZEROS_SIZE;
        uint64_t done = 0;
        for (unsigned fruitless = 0; done < part;) {
            int64_t moved = vfs->write_at(vfs, file, zeros, part - (size_t)done, offset + done);
            if (moved == -EINTR) continue;
            if (moved < 0) return dbk_fail_system(error, (int)moved, "fill", path, offset + done);
            // Direct files want whole pages: what is beyond the last whole one is written again.
            uint64_t whole = (uint64_t)moved / DBK_JOURNAL_PAGE_SIZE * DBK_JOURNAL_PAGE_SIZE;
            if (whole == 0 && ++fruitless == FRUITLESS_WRITES_MAX) {
                return dbk_fail_system(error, -EIO, "fill", path, offset + done);
            }
            done += whole;
        }
        offset += part;
        size -= part;
    }
    return DAYBOOK_OK;
}

static daybook_status sync_file(daybook_vfs *vfs, daybook_file *file, const char *path,
                                daybook_error *error) {
    int result = vfs->sync(vfs, file);
    return result < 0 ? dbk_fail_system(error, result, "sync", path, 0) : DAYBOOK_OK;
}

// Make the file longer by zeros, synced.
static daybook_status add_zeros(daybook_vfs *vfs, daybook_file *file, const char *path, const uint8_t *zeros,
                                uint64_t size, uint64_t offset, daybook_error *error) {
    int result = dbk_extend(vfs, file, path, offset, size);
    if (result < 0 && result != -EOPNOTSUPP) {
        return dbk_fail_system(error, result, "make room in", path, offset);
    }
    DBK_TRY(write_zeros(vfs, file, path, zeros, size, offset, error));
    return sync_file(vfs, file, path, error);
}

static uint8_t *new_zeros(const daybook_allocator *allocator) {
    uint8_t *zeros = dbk_aligned_alloc(allocator, ZEROS_SIZE);
    if (zeros != NULL) memset(zeros, 0, ZEROS_SIZE);
    return zeros;
}

static daybook_status fail_memory(daybook_error *error) {
    return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory: the journal");
}

daybook_status dbk_journal_create(const dbk_journal_config *config, uint32_t piece_count,
                                  daybook_error *error) {
    daybook_vfs *vfs = config->vfs;
    if (piece_count == 0 || piece_count > DBK_JOURNAL_PIECES_MAX) {
        return dbk_fail(error, DAYBOOK_EINVALID, "the journal cannot have %u pieces: 1 to %d are allowed",
                        piece_count, DBK_JOURNAL_PIECES_MAX);
    }
    uint8_t *zeros = new_zeros(config->allocator);
    if (zeros == NULL) return fail_memory(error);
    daybook_file *file = NULL;
    unsigned flags = DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE | DAYBOOK_VFS_EXCLUSIVE | DAYBOOK_VFS_DIRECT;
    int result = vfs->open(vfs, config->path, flags, &file);
    if (result < 0) {
        dbk_aligned_free(config->allocator, zeros);
        return dbk_fail_system(error, result, "create", config->path, 0);
    }
    daybook_status status =
        add_zeros(vfs, file, config->path, zeros, (uint64_t)piece_count * DBK_JOURNAL_PIECE_SIZE, 0, error);
    vfs->close(vfs, file);
    dbk_aligned_free(config->allocator, zeros);
    if (status != DAYBOOK_OK)
        (void)vfs->unlink(vfs, config->path); // the first failure is the one that matters
    return status;
}

// ---- Writing ----

static daybook_status poison(dbk_journal *journal, daybook_error *error) {
    atomic_store_explicit(&journal->is_poisoned, true, memory_order_release);
    dbk_error_prepend(error, "whether the last events are stored is unknown until the store is reopened");
    if (error != NULL) error->status = DAYBOOK_EUNCERTAIN;
    return DAYBOOK_EUNCERTAIN;
}

static daybook_status fail_poisoned(const dbk_journal *journal, daybook_error *error) {
    return dbk_fail(error, DAYBOOK_EPOISONED,
                    "nothing was written: an earlier write of %s failed; reopen the store to go on",
                    journal->path);
}

// Completes interrupted and short writes. A direct file moves whole pages only, so a write cut within a page
// goes on from that page's begin; nothing of it counts as synced yet.
static daybook_status write_all(dbk_journal *journal, const uint8_t *data, uint64_t size, uint64_t offset,
                                daybook_error *error) {
    daybook_vfs *vfs = journal->vfs;
    unsigned fruitless = 0;
    for (uint64_t done = 0; done < size;) {
        int64_t moved = vfs->write_at(vfs, journal->file, data + done, (size_t)(size - done), offset + done);
        if (moved == -EINTR) continue;
        if (moved < 0) return dbk_fail_system(error, (int)moved, "write", journal->path, offset + done);
        uint64_t whole = (uint64_t)moved / DBK_JOURNAL_PAGE_SIZE * DBK_JOURNAL_PAGE_SIZE;
        fruitless = whole == 0 ? fruitless + 1 : 0;
        if (fruitless == FRUITLESS_WRITES_MAX) {
            return dbk_fail_system(error, -EIO, "write", journal->path, offset + done);
        }
        done += whole;
    }
    return DAYBOOK_OK;
}

// Take the LSNs for writing: waits while the wiping thread is in them.
static void begin_write(dbk_journal *journal, uint64_t lsn, uint64_t page_count) {
    pthread_mutex_lock(&journal->lock);
    while (journal->wipe_first < lsn + page_count && journal->wipe_end > lsn) {
        pthread_cond_wait(&journal->wiped, &journal->lock);
    }
    journal->writing_end = lsn + page_count;
    pthread_mutex_unlock(&journal->lock);
}

// Where the next pages lie, and how many of them in one piece of the file.
static uint64_t next_run(dbk_journal *journal, uint64_t lsn, uint64_t page_count, uint64_t *offset_out) {
    pthread_mutex_lock(&journal->lock);
    dbk_journal_map map = map_of(journal);
    uint64_t run = dbk_journal_map_run(&map, lsn, page_count);
    *offset_out = dbk_journal_map_offset(&map, lsn);
    pthread_mutex_unlock(&journal->lock);
    return run;
}

static daybook_status write_pages(dbk_journal *journal, const uint8_t *pages, uint64_t lsn,
                                  uint64_t page_count, daybook_error *error) {
    begin_write(journal, lsn, page_count);
    while (page_count > 0) {
        uint64_t offset = 0;
        uint64_t run = next_run(journal, lsn, page_count, &offset);
        DBK_TRY(write_all(journal, pages, run * DBK_JOURNAL_PAGE_SIZE, offset, error));
        pages += run * DBK_JOURNAL_PAGE_SIZE;
        lsn += run;
        page_count -= run;
    }
    return DAYBOOK_OK;
}

// Seal and write one group, of the caller or of a control page; the room was checked. The journal is not
// poisoned by it.
static daybook_status write_unguarded(dbk_journal *journal, dbk_journal_group *group, uint16_t flags,
                                      daybook_error *error) {
    uint64_t lsn = get(&journal->next_lsn);
    uint64_t page_count = dbk_journal_pages_for(group->size);
    dbk_journal_seal seal = {
        .flags = flags,
        .epoch = journal->epoch,
        .lsn = lsn,
        .durable_lsn = lsn,
        .previous_checksum = (flags & DBK_JOURNAL_EPOCH_PAGE) != 0 ? 0 : journal->last_checksum,
    };
    uint64_t checksum = dbk_journal_group_seal(group, &journal->identity, &seal);
    DBK_TRY(write_pages(journal, group->pages, lsn, page_count, error));
    journal->last_checksum = checksum;
    set(&journal->next_lsn, lsn + page_count);
    return DAYBOOK_OK;
}

static daybook_status write_sealed(dbk_journal *journal, dbk_journal_group *group, uint16_t flags,
                                   daybook_error *error) {
    daybook_status status = write_unguarded(journal, group, flags, error);
    return status == DAYBOOK_OK ? DAYBOOK_OK : poison(journal, error);
}

static uint64_t pages_left(const dbk_journal *journal) {
    return get(&journal->end_lsn) - get(&journal->next_lsn);
}

static daybook_status begin_epoch(dbk_journal *journal, daybook_error *error) {
    DBK_TRY(write_sealed(journal, journal->control, DBK_JOURNAL_EPOCH_PAGE, error));
    journal->epoch_due = false;
    return DAYBOOK_OK;
}

daybook_status dbk_journal_write_group(dbk_journal *journal, dbk_journal_group *group, uint64_t *next_lsn_out,
                                       daybook_error *error) {
    if (dbk_journal_is_poisoned(journal)) return fail_poisoned(journal, error);
    uint64_t page_count = dbk_journal_pages_for(group->size);
    uint64_t room = dbk_journal_room_pages(journal);
    if (group->size > 0 && page_count > room) {
        return dbk_fail(error, DAYBOOK_ELIMIT,
                        "the journal is full: %llu pages are needed, %llu are free; flush first",
                        (unsigned long long)page_count, (unsigned long long)room);
    }
    if (group->size > 0) {
        if (journal->epoch_due) DBK_TRY(begin_epoch(journal, error));
        DBK_TRY(write_sealed(journal, group, 0, error));
        journal->witness_due = true;
    }
    *next_lsn_out = get(&journal->next_lsn);
    return DAYBOOK_OK;
}

daybook_status dbk_journal_write_witness(dbk_journal *journal, daybook_error *error) {
    if (dbk_journal_is_poisoned(journal)) return fail_poisoned(journal, error);
    // Recovery learns the epoch from a page it replays; a start that has caught up with the end leaves none.
    bool epoch_is_unseen = get(&journal->start_lsn) == get(&journal->next_lsn);
    if ((!journal->witness_due && !epoch_is_unseen) || pages_left(journal) == 0) return DAYBOOK_OK;
    if (journal->epoch_due) {
        DBK_TRY(begin_epoch(journal, error));
    } else {
        DBK_TRY(write_sealed(journal, journal->control, DBK_JOURNAL_WITNESS_PAGE, error));
    }
    journal->witness_due = false;
    return DAYBOOK_OK;
}

daybook_status dbk_journal_group_new(dbk_journal *journal, dbk_journal_group **group_out) {
    return dbk_journal_group_new_with(journal->allocator, group_out);
}

// ---- Numbers for any thread ----

uint64_t dbk_journal_room_pages(const dbk_journal *journal) {
    // The end is read after the position it is compared with: it only grows, so the difference is never
    // negative.
    uint64_t next = get(&journal->next_lsn);
    uint64_t left = get(&journal->end_lsn) - next;
    return left > CONTROL_PAGES ? left - CONTROL_PAGES : 0;
}

uint64_t dbk_journal_used_pages(const dbk_journal *journal) {
    uint64_t start = get(&journal->start_lsn);
    return get(&journal->next_lsn) - start;
}

bool dbk_journal_is_poisoned(const dbk_journal *journal) {
    return atomic_load_explicit(&journal->is_poisoned, memory_order_acquire);
}

uint64_t dbk_journal_durable_lsn(const dbk_journal *journal) {
    return get(&journal->next_lsn);
}

// ---- Growing, recycling, wiping ----

// A copy of the map with room for `more` further pieces. The caller frees it.
static daybook_status copy_map(dbk_journal *journal, uint32_t more, uint32_t **pieces_out,
                               uint64_t *first_lsn_out, uint32_t *piece_count_out, daybook_error *error) {
    *pieces_out = NULL;
    pthread_mutex_lock(&journal->lock);
    uint32_t piece_count = journal->piece_count;
    uint32_t *pieces = dbk_resize_array(journal->allocator, NULL, (size_t)piece_count + more, sizeof *pieces);
    if (pieces != NULL) memcpy(pieces, journal->pieces, piece_count * sizeof *pieces);
    *first_lsn_out = journal->first_lsn;
    pthread_mutex_unlock(&journal->lock);
    if (pieces == NULL) return fail_memory(error);
    *pieces_out = pieces;
    *piece_count_out = piece_count;
    return DAYBOOK_OK;
}

static daybook_status open_second_handle(dbk_journal *journal, daybook_file **file_out,
                                         daybook_error *error) {
    unsigned flags = DAYBOOK_VFS_WRITE | DAYBOOK_VFS_DIRECT;
    int result = journal->vfs->open(journal->vfs, journal->path, flags, file_out);
    return result < 0 ? dbk_fail_system(error, result, "open", journal->path, 0) : DAYBOOK_OK;
}

static daybook_status extend_file(dbk_journal *journal, uint64_t size_now, uint64_t size_added,
                                  daybook_error *error) {
    daybook_vfs *vfs = journal->vfs;
    daybook_file *file = NULL;
    uint8_t *zeros = new_zeros(journal->allocator);
    if (zeros == NULL) return fail_memory(error);
    daybook_status status = open_second_handle(journal, &file, error);
    if (status == DAYBOOK_OK) {
        status = add_zeros(vfs, file, journal->path, zeros, size_added, size_now, error);
        // Bytes behind the map are never used; a full disk has better use for them. Growing again overwrites
        // them.
        if (status != DAYBOOK_OK) (void)vfs->truncate(vfs, file, size_now);
        vfs->close(vfs, file);
    }
    dbk_aligned_free(journal->allocator, zeros);
    return status;
}

daybook_status dbk_journal_grow(dbk_journal *journal, uint32_t piece_count, uint32_t **pieces_out,
                                uint64_t *first_lsn_out, uint32_t *piece_count_out, daybook_error *error) {
    *pieces_out = NULL;
    if (dbk_journal_is_poisoned(journal)) return fail_poisoned(journal, error);
    uint32_t *pieces = NULL;
    uint64_t first_lsn = 0;
    uint32_t count = 0;
    if (piece_count > DBK_JOURNAL_PIECES_MAX) piece_count = DBK_JOURNAL_PIECES_MAX; // refused below
    DBK_TRY(copy_map(journal, piece_count, &pieces, &first_lsn, &count, error));
    daybook_status status = DAYBOOK_OK;
    if (count + piece_count > DBK_JOURNAL_PIECES_MAX) {
        status = dbk_fail(error, DAYBOOK_ELIMIT,
                          "the journal cannot grow: it would have %u pieces; the limit is %d",
                          count + piece_count, DBK_JOURNAL_PIECES_MAX);
    } else {
        // The map, not the file's size, says where the end is: a growth that did not get into a manifest is
        // overwritten.
        status = extend_file(journal, (uint64_t)count * DBK_JOURNAL_PIECE_SIZE,
                             (uint64_t)piece_count * DBK_JOURNAL_PIECE_SIZE, error);
    }
    if (status != DAYBOOK_OK) {
        dbk_free(journal->allocator, pieces);
        return status;
    }
    for (uint32_t i = 0; i < piece_count; i++) pieces[count + i] = count + i;
    *pieces_out = pieces;
    *first_lsn_out = first_lsn;
    *piece_count_out = count + piece_count;
    return DAYBOOK_OK;
}

daybook_status dbk_journal_plan_recycle(dbk_journal *journal, uint64_t start_lsn, uint32_t **pieces_out,
                                        uint64_t *first_lsn_out, uint32_t *piece_count_out,
                                        daybook_error *error) {
    *pieces_out = NULL;
    uint32_t *pieces = NULL;
    uint64_t first_lsn = 0;
    uint32_t count = 0;
    if (start_lsn < get(&journal->start_lsn) || start_lsn > get(&journal->next_lsn)) {
        return dbk_fail(error, DAYBOOK_EMISUSE, "the journal cannot begin at LSN %llu: it holds %llu to %llu",
                        (unsigned long long)start_lsn, (unsigned long long)get(&journal->start_lsn),
                        (unsigned long long)get(&journal->next_lsn));
    }
    DBK_TRY(copy_map(journal, 0, &pieces, &first_lsn, &count, error));
    uint32_t freed = (uint32_t)((start_lsn - first_lsn) / DBK_JOURNAL_PIECE_PAGES);
    if (freed > 0 && freed < count) {
        // Rotate left by `freed`, through a copy: growth has left the spare room for none.
        uint32_t *rotated = dbk_resize_array(journal->allocator, NULL, count, sizeof *rotated);
        if (rotated == NULL) {
            dbk_free(journal->allocator, pieces);
            return fail_memory(error);
        }
        memcpy(rotated, pieces + freed, (count - freed) * sizeof *rotated);
        memcpy(rotated + (count - freed), pieces, freed * sizeof *rotated);
        dbk_free(journal->allocator, pieces);
        pieces = rotated;
    }
    *pieces_out = pieces;
    *first_lsn_out = first_lsn + (uint64_t)freed * DBK_JOURNAL_PIECE_PAGES;
    *piece_count_out = count;
    return DAYBOOK_OK;
}

// Whether the new map leaves every LSN that both maps have where it is, and loses none at or behind
// `start_lsn`. With the lock held.
static bool continues(const dbk_journal *journal, const dbk_journal_map *map, uint64_t start_lsn) {
    dbk_journal_map now = map_of(journal);
    if (map->first_lsn < now.first_lsn || map->first_lsn > start_lsn || map->piece_count < now.piece_count)
        return false;
    uint64_t skipped = (map->first_lsn - now.first_lsn) / DBK_JOURNAL_PIECE_PAGES;
    for (uint64_t i = skipped; i < now.piece_count; i++) {
        if (now.pieces[i] != map->pieces[i - skipped]) return false;
    }
    return true;
}

daybook_status dbk_journal_set_map(dbk_journal *journal, const dbk_journal_map *map, uint64_t start_lsn,
                                   daybook_error *error) {
    DBK_TRY(dbk_journal_map_check(journal->allocator, map, journal->path, error));
    uint32_t *pieces = dbk_resize_array(journal->allocator, NULL, map->piece_count, sizeof *pieces);
    if (pieces == NULL) return fail_memory(error);
    memcpy(pieces, map->pieces, map->piece_count * sizeof *pieces);

    pthread_mutex_lock(&journal->lock);
    // The range is known by its LSNs: a piece moved meanwhile could be written and wiped at once.
    while (journal->wipe_first != journal->wipe_end) pthread_cond_wait(&journal->wiped, &journal->lock);
    bool is_fine = start_lsn >= get(&journal->start_lsn) && start_lsn <= get(&journal->next_lsn) &&
                   continues(journal, map, start_lsn);
    uint32_t *unused = pieces;
    if (is_fine) {
        unused = journal->pieces;
        journal->pieces = pieces;
        journal->first_lsn = map->first_lsn;
        journal->piece_count = map->piece_count;
        set(&journal->start_lsn, start_lsn);
        set(&journal->end_lsn, dbk_journal_map_end(map));
    }
    pthread_mutex_unlock(&journal->lock);
    dbk_free(journal->allocator, unused);
    if (is_fine) return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_EMISUSE,
                    "the new journal map does not continue the one in use; plan it again");
}

// The next run of pages to wipe at or behind *cursor: given up, or ahead of the writer, within one piece.
// Those ahead are taken, so that the writer waits for them. False at the end of the map.
static bool take_wipe(dbk_journal *journal, uint64_t *cursor, uint64_t *offset_out,
                      uint64_t *page_count_out) {
    pthread_mutex_lock(&journal->lock);
    dbk_journal_map map = map_of(journal);
    uint64_t start = get(&journal->start_lsn);
    uint64_t lsn = *cursor < map.first_lsn ? map.first_lsn : *cursor;
    if (lsn >= start && lsn < journal->writing_end) lsn = journal->writing_end;
    uint64_t end = lsn < start ? start : dbk_journal_map_end(&map);
    bool found = lsn < end;
    if (found) {
        uint64_t in_piece = DBK_JOURNAL_PIECE_PAGES - lsn % DBK_JOURNAL_PIECE_PAGES;
        *page_count_out = end - lsn < in_piece ? end - lsn : in_piece;
        *offset_out = dbk_journal_map_offset(&map, lsn);
        *cursor = lsn + *page_count_out;
        journal->wipe_first = lsn;
        journal->wipe_end = *cursor;
    }
    pthread_mutex_unlock(&journal->lock);
    return found;
}

static void release_wipe(dbk_journal *journal) {
    pthread_mutex_lock(&journal->lock);
    journal->wipe_first = 0;
    journal->wipe_end = 0;
    pthread_cond_broadcast(&journal->wiped);
    pthread_mutex_unlock(&journal->lock);
}

daybook_status dbk_journal_wipe_free(dbk_journal *journal, daybook_error *error) {
    if (dbk_journal_is_poisoned(journal)) return fail_poisoned(journal, error);
    daybook_vfs *vfs = journal->vfs;
    daybook_file *file = NULL;
    uint8_t *zeros = new_zeros(journal->allocator);
    if (zeros == NULL) return fail_memory(error);
    daybook_status status = open_second_handle(journal, &file, error);
    uint64_t cursor = 0;
    uint64_t offset = 0;
    uint64_t page_count = 0;
    while (status == DAYBOOK_OK && take_wipe(journal, &cursor, &offset, &page_count)) {
        status =
            write_zeros(vfs, file, journal->path, zeros, page_count * DBK_JOURNAL_PAGE_SIZE, offset, error);
        release_wipe(journal);
    }
    if (status == DAYBOOK_OK) status = sync_file(vfs, file, journal->path, error);
    if (file != NULL) vfs->close(vfs, file);
    dbk_aligned_free(journal->allocator, zeros);
    return status;
}

// ---- Opening and closing ----

static void free_journal(dbk_journal *journal) {
    if (journal->file != NULL) journal->vfs->close(journal->vfs, journal->file);
    dbk_journal_group_free(journal->control);
    pthread_cond_destroy(&journal->wiped);
    pthread_mutex_destroy(&journal->lock);
    dbk_free(journal->allocator, journal->pieces);
    dbk_free(journal->allocator, journal->path);
    dbk_free(journal->allocator, journal);
}

// Everything but the file.
static daybook_status new_journal(const dbk_journal_config *config, const dbk_journal_map *map,
                                  uint64_t start_lsn, uint64_t next_lsn, dbk_journal **journal_out) {
    dbk_journal *journal = dbk_alloc_zeroed(config->allocator, sizeof *journal);
    if (journal == NULL) return DAYBOOK_ENOMEM;
    journal->allocator = config->allocator;
    journal->vfs = config->vfs;
    dbk_journal_identity_init(&journal->identity, &config->store_uuid, config->incarnation);
    pthread_mutex_init(&journal->lock, NULL); // cannot fail with default attributes
    pthread_cond_init(&journal->wiped, NULL);
    journal->path = dbk_copy_text(config->allocator, daybook_text(config->path));
    journal->pieces = dbk_resize_array(config->allocator, NULL, map->piece_count, sizeof *journal->pieces);
    if (journal->path == NULL || journal->pieces == NULL ||
        dbk_journal_group_new_with(config->allocator, &journal->control) != DAYBOOK_OK) {
        free_journal(journal);
        return DAYBOOK_ENOMEM;
    }
    memcpy(journal->pieces, map->pieces, map->piece_count * sizeof *journal->pieces);
    journal->piece_count = map->piece_count;
    journal->first_lsn = map->first_lsn;
    journal->writing_end = next_lsn;
    atomic_init(&journal->next_lsn, next_lsn);
    atomic_init(&journal->start_lsn, start_lsn);
    atomic_init(&journal->end_lsn, dbk_journal_map_end(map));
    atomic_init(&journal->is_poisoned, false);
    *journal_out = journal;
    return DAYBOOK_OK;
}

static daybook_status open_file(dbk_journal *journal, daybook_error *error) {
    daybook_vfs *vfs = journal->vfs;
    unsigned flags = DAYBOOK_VFS_WRITE | DAYBOOK_VFS_DIRECT | DAYBOOK_VFS_SYNC;
    int result = vfs->open(vfs, journal->path, flags, &journal->file);
    if (result < 0) return dbk_fail_system(error, result, "open", journal->path, 0);
    uint64_t size = 0;
    result = vfs->file_size(vfs, journal->file, &size);
    if (result < 0) return dbk_fail_system(error, result, "read the size of", journal->path, 0);
    uint64_t size_wanted = (uint64_t)journal->piece_count * DBK_JOURNAL_PIECE_SIZE;
    if (size < size_wanted) {
        return dbk_fail_damaged(
            error, journal->path, size,
            "%s was cut: it has %llu bytes where the manifest says %llu; run daybook verify", journal->path,
            (unsigned long long)size, (unsigned long long)size_wanted);
    }
    // What recovery read may still be on its way to the disk, after a process was killed within its last
    // write. It must be durable before a page that says so is.
    return sync_file(vfs, journal->file, journal->path, error);
}

static daybook_status check_open(const dbk_journal_config *config, const dbk_journal_map *map,
                                 const dbk_journal_recovery *recovery, uint64_t start_lsn,
                                 daybook_error *error) {
    if (recovery->damaged) {
        return dbk_fail_damaged(error, config->path, recovery->damage_offset,
                                "%s is damaged: %s; open the store for reading, or run daybook repair",
                                config->path, recovery->damage_text);
    }
    DBK_TRY(dbk_journal_map_check(config->allocator, map, config->path, error));
    if (start_lsn < map->first_lsn || start_lsn > recovery->end_lsn ||
        recovery->end_lsn > dbk_journal_map_end(map)) {
        return dbk_fail(error, DAYBOOK_EMISUSE,
                        "the journal cannot be opened: its map does not hold LSN %llu to %llu",
                        (unsigned long long)start_lsn, (unsigned long long)recovery->end_lsn);
    }
    if (recovery->epoch == UINT32_MAX) {
        return dbk_fail(error, DAYBOOK_ELIMIT, "the journal was opened too often: its epochs are used up");
    }
    return DAYBOOK_OK;
}

daybook_status dbk_journal_open(const dbk_journal_config *config, const dbk_journal_map *map,
                                const dbk_journal_recovery *recovery, uint64_t start_lsn,
                                dbk_journal **journal_out, daybook_error *error) {
    *journal_out = NULL;
    DBK_TRY(check_open(config, map, recovery, start_lsn, error));
    dbk_journal *journal = NULL;
    if (new_journal(config, map, start_lsn, recovery->end_lsn, &journal) != DAYBOOK_OK)
        return fail_memory(error);
    journal->epoch = recovery->epoch + 1;
    journal->epoch_due = true;
    daybook_status status = open_file(journal, error);
    if (status == DAYBOOK_OK && pages_left(journal) > 0) {
        // A failure here leaves no group in doubt: the journal is not opened, and opening again writes the
        // same page.
        status = write_unguarded(journal, journal->control, DBK_JOURNAL_EPOCH_PAGE, error);
        journal->epoch_due = false;
    }
    if (status != DAYBOOK_OK) {
        free_journal(journal);
        return status;
    }
    *journal_out = journal;
    return DAYBOOK_OK;
}

daybook_status dbk_journal_close(dbk_journal *journal, daybook_error *error) {
    if (journal == NULL) return DAYBOOK_OK;
    daybook_status status = DAYBOOK_OK;
    if (!dbk_journal_is_poisoned(journal)) status = dbk_journal_write_witness(journal, error);
    free_journal(journal);
    return status;
}
