// SPDX-License-Identifier: Apache-2.0
// Reading the journal back: replaying groups, and telling a torn end from damage.
//
// The question. Behind the last valid group lies, at LSN B, something that is no valid group. Either a group
// was being written there when the machine stopped (nobody was told that it is durable; it is cut), or
// acknowledged data was there and is gone (then nothing may be written, and people must know). The journal is
// built so that this can be decided:
//
// 1. One group is in flight: the group behind B is written only after all of B was synced. So a valid page
//    of a *later* group (its group_lsn > B) proves that B was durable: damage. Pages of the group at B itself
//    prove nothing, whichever are present: a drive may write them in any order, the first one last.
//
// 2. A page counts only where it belongs. The map gives every LSN one place, for good: an assignment is
//    durable in the manifest before a page is written under it and never changes while the LSN is in use;
//    recycling gives a piece greater LSNs, never smaller ones. So what an older lap left behind has another
//    LSN than its place and is no page of ours, and no page can lie outside the map. All places from B to
//    the map's end are looked at; none is guessed.
//
// 3. Remains of a torn group are no later group. Let the torn group begin at T. Recovery ended there, and
//    the next epoch begins with a page at T, durable before anything else is written. Its remains keep
//    group_lsn = T. Wherever a later recovery finds its first bad group B: either B < T, then the epoch's
//    page at T or a group behind it proves damage, and rightly, for all below T was durable; or B >= T, then
//    the remains have group_lsn = T <= B and prove nothing. This holds for every earlier epoch, so stale
//    pages are told by group_lsn alone. Epochs guard validity: a group consists of pages of one epoch, and
//    a group of an older epoch than one before it is none, so that remains never complete a newer group.
//
// 4. Crash while the epoch's page is written: it is one page; it is there or it is not. If not, B is still T
//    and the next recovery does the same again. A new epoch is greater than that of every page in its place
//    from the start on, found by the same look at all places.
//
// 5. Crash right after recovery, any number of times: each durable epoch page is a valid group of its own
//    and ends the log one page further; nothing else changes.
//
// 6. A write or sync failed: the journal was poisoned, so nothing was written behind the doubtful group;
//    as 1.
//
// 7. A group in flight may cover several pieces, and end where the map ends: all of its places are in the
//    map (2).
//
// Besides, B below a durable LSN known from elsewhere (the manifest, the live page, a clean close) is damage
// without further proof. What remains undecidable is damage to the very last group, before its witness is
// written: it looks torn.
//
// A group all of whose pages are valid but which contradicts itself or the one before it (chain, counts)
// cannot be made by a crash, for within an epoch every page is written once: damage. Places that cannot be
// read, and a file shorter than the map, are damage too: what they hide could be the proof.
//
// An open with a known clean end (stop_lsn) reads no further than that; where it has seen no page at all it
// still looks at all places, for the epoch.
//
// Hostile bytes: every size is checked against the map before use, memory grows with valid pages only.
// Threads: none; everything is local to the call.
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "journal/journal_internal.h"

enum { FRUITLESS_READS_MAX = 100 };

typedef struct scanner {
    const dbk_journal_config *config;
    const dbk_journal_map *map;
    dbk_journal_identity identity;
    daybook_file *file;
    uint64_t known_durable_lsn;
    // The pages read last, one behind the other in the file.
    uint8_t *window;
    uint64_t window_page_count_max;
    uint64_t window_first_lsn;
    uint64_t window_page_count;
    bool is_unreadable[DBK_JOURNAL_PIECE_PAGES];
    // What was seen so far.
    bool has_group;
    uint32_t epoch; // of the last group
    uint32_t epoch_max;
    uint64_t last_checksum;
    bool has_unreadable;
    uint64_t first_unreadable_lsn;
    dbk_buf payload; // of groups of several pages
} scanner;

typedef enum group_verdict {
    GROUP_FINE,
    GROUP_ABSENT,        // as a torn group or the end may look
    GROUP_CONTRADICTORY, // as no crash leaves it
    GROUP_FOREIGN,
} group_verdict;

typedef struct found_group {
    group_verdict verdict;
    // FINE.
    uint16_t flags;
    uint32_t epoch;
    uint64_t checksum;
    uint64_t next_lsn;
    dbk_slice payload;
    // Otherwise.
    uint64_t bad_lsn;
    const char *why;
} found_group;

// ---- Reading pages ----

// 0, a negative errno, or -ENODATA where the file ends before.
static int read_fully(scanner *scan, uint8_t *data, uint64_t size, uint64_t offset) {
    daybook_vfs *vfs = scan->config->vfs;
    unsigned fruitless = 0;
    for (uint64_t done = 0; done < size;) {
        int64_t moved = vfs->read_at(vfs, scan->file, data + done, (size_t)(size - done), offset + done);
        if (moved == -EINTR) continue;
        if (moved < 0) return (int)moved;
        if (moved == 0) return -ENODATA;
        // Direct files want whole pages: one read in part is read again.
        uint64_t whole = (uint64_t)moved / DBK_JOURNAL_PAGE_SIZE * DBK_JOURNAL_PAGE_SIZE;
        fruitless = whole == 0 ? fruitless + 1 : 0;
        if (fruitless == FRUITLESS_READS_MAX) return -ENODATA;
        done += whole;
    }
    return 0;
}

static void note_unreadable(scanner *scan, uint64_t lsn) {
    if (scan->has_unreadable) return;
    scan->has_unreadable = true;
    scan->first_unreadable_lsn = lsn;
}

// A window that cannot be read as a whole is read page by page, so that one bad sector costs one page.
static int read_single_pages(scanner *scan, uint64_t lsn, uint64_t page_count, uint64_t offset) {
    for (uint64_t i = 0; i < page_count; i++) {
        uint64_t at = i * DBK_JOURNAL_PAGE_SIZE;
        int result = read_fully(scan, scan->window + at, DBK_JOURNAL_PAGE_SIZE, offset + at);
        if (result != 0 && result != -EIO && result != -ENODATA) return result;
        scan->is_unreadable[i] = result != 0;
        if (result != 0) note_unreadable(scan, lsn + i);
    }
    return 0;
}

static daybook_status load_window(scanner *scan, uint64_t lsn, uint64_t limit_lsn, daybook_error *error) {
    uint64_t page_count_max = DBK_JOURNAL_PIECE_PAGES - lsn % DBK_JOURNAL_PIECE_PAGES;
    if (page_count_max > limit_lsn - lsn) page_count_max = limit_lsn - lsn;
    if (page_count_max > scan->window_page_count_max) page_count_max = scan->window_page_count_max;
    uint64_t offset = dbk_journal_map_offset(scan->map, lsn);
    memset(scan->is_unreadable, 0, sizeof scan->is_unreadable);
    int result = read_fully(scan, scan->window, page_count_max * DBK_JOURNAL_PAGE_SIZE, offset);
    if (result == -EIO || result == -ENODATA) result = read_single_pages(scan, lsn, page_count_max, offset);
    if (result != 0) {
        scan->window_page_count = 0;
        return dbk_fail_system(error, result, "read", scan->config->path, offset);
    }
    scan->window_first_lsn = lsn;
    scan->window_page_count = page_count_max;
    return DAYBOOK_OK;
}

// The page at `lsn` < limit_lsn, borrowed until the next call, and what it is. *head_out is set when VALID.
static daybook_status get_page(scanner *scan, uint64_t lsn, uint64_t limit_lsn, const uint8_t **page_out,
                               dbk_journal_page_state *state_out, dbk_journal_page *head_out,
                               daybook_error *error) {
    if (lsn < scan->window_first_lsn || lsn - scan->window_first_lsn >= scan->window_page_count) {
        DBK_TRY(load_window(scan, lsn, limit_lsn, error));
    }
    uint64_t index = lsn - scan->window_first_lsn;
    uint8_t *page = scan->window + index * DBK_JOURNAL_PAGE_SIZE;
    *page_out = page;
    if (scan->is_unreadable[index]) {
        *state_out = DBK_JOURNAL_PAGE_BROKEN;
        return DAYBOOK_OK;
    }
    *state_out = dbk_journal_page_decode(page, &scan->identity, lsn, head_out);
    if (*state_out == DBK_JOURNAL_PAGE_VALID && head_out->epoch > scan->epoch_max)
        scan->epoch_max = head_out->epoch;
    return DAYBOOK_OK;
}

// ---- Reading groups ----

static const char *describe(dbk_journal_page_state state) {
    static const char *const texts[] = {
        [DBK_JOURNAL_PAGE_VALID] = "belongs to another group",
        [DBK_JOURNAL_PAGE_EMPTY] = "is empty",
        [DBK_JOURNAL_PAGE_OTHER] = "is that of an older lap",
        [DBK_JOURNAL_PAGE_FOREIGN] = "is that of another store",
        [DBK_JOURNAL_PAGE_BROKEN] = "is broken",
    };
    return texts[state];
}

static void judge(found_group *found, group_verdict verdict, uint64_t bad_lsn, const char *why) {
    found->verdict = verdict;
    found->bad_lsn = bad_lsn;
    found->why = why;
}

// Whether a group with this first page may follow what was read before.
static bool may_follow(const scanner *scan, const dbk_journal_page *page,
                       const dbk_journal_group_head *head) {
    bool begins_epoch = (page->flags & DBK_JOURNAL_EPOCH_PAGE) != 0;
    if (begins_epoch && head->previous_checksum != 0) return false;
    if (!scan->has_group) return true;
    if (begins_epoch) return page->epoch > scan->epoch;
    return page->epoch == scan->epoch && head->previous_checksum == scan->last_checksum;
}

// First page: everything that can be said before the others are read.
static void judge_first_page(const scanner *scan, const uint8_t *bytes, dbk_journal_page_state state,
                             const dbk_journal_page *page, uint64_t lsn, uint64_t limit_lsn,
                             dbk_journal_group_head *head_out, found_group *found) {
    found->verdict = GROUP_FINE;
    if (state == DBK_JOURNAL_PAGE_FOREIGN) {
        judge(found, GROUP_FOREIGN, lsn, describe(state));
    } else if (state != DBK_JOURNAL_PAGE_VALID || page->group_lsn != lsn) {
        judge(found, GROUP_ABSENT, lsn, describe(state));
    } else if (scan->has_group && page->epoch < scan->epoch) {
        judge(found, GROUP_ABSENT, lsn, "is of an older epoch");
    } else if (!dbk_journal_group_head_decode(bytes, page, head_out)) {
        judge(found, GROUP_CONTRADICTORY, lsn, "contradicts itself");
    } else if (head_out->page_count > limit_lsn - lsn) {
        judge(found, GROUP_CONTRADICTORY, lsn, "begins a group beyond the end");
    } else if (!may_follow(scan, page, head_out)) {
        judge(found, GROUP_CONTRADICTORY, lsn, "does not follow the group before it");
    }
}

static void judge_further_page(dbk_journal_page_state state, const dbk_journal_page *page,
                               const found_group *group, const dbk_journal_group_head *head,
                               uint64_t group_lsn, uint64_t lsn, found_group *found) {
    if (state != DBK_JOURNAL_PAGE_VALID || page->group_lsn != group_lsn) {
        judge(found, GROUP_ABSENT, lsn, describe(state));
    } else if (page->epoch != group->epoch) {
        judge(found, GROUP_ABSENT, lsn, "is of another epoch");
    } else if (page->flags != group->flags ||
               page->payload_size != dbk_journal_page_payload_size(head, lsn - group_lsn)) {
        judge(found, GROUP_CONTRADICTORY, lsn, "contradicts its group");
    }
}

// The pages behind the first; the payload is gathered.
static daybook_status read_further_pages(scanner *scan, uint64_t group_lsn, uint64_t limit_lsn,
                                         const dbk_journal_group_head *head, found_group *found,
                                         daybook_error *error) {
    uint64_t folded = 0;
    for (uint64_t i = 1; i < head->page_count; i++) {
        const uint8_t *bytes = NULL;
        dbk_journal_page_state state;
        dbk_journal_page page;
        DBK_TRY(get_page(scan, group_lsn + i, limit_lsn, &bytes, &state, &page, error));
        judge_further_page(state, &page, found, head, group_lsn, group_lsn + i, found);
        if (found->verdict != GROUP_FINE) return DAYBOOK_OK;
        folded = dbk_journal_fold_checksum(folded, page.checksum);
        dbk_buf_append(&scan->payload, bytes + DBK_JOURNAL_PAGE_HEAD_SIZE, page.payload_size);
    }
    if (folded != head->pages_checksum) {
        judge(found, GROUP_CONTRADICTORY, group_lsn, "does not fit its further pages");
        return DAYBOOK_OK;
    }
    if (dbk_buf_status(&scan->payload) != DAYBOOK_OK) {
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory: a group of the journal has %u bytes",
                        head->payload_size);
    }
    found->payload = daybook_bytes(scan->payload.data, scan->payload.size);
    return DAYBOOK_OK;
}

static daybook_status read_group(scanner *scan, uint64_t lsn, uint64_t limit_lsn, found_group *found,
                                 daybook_error *error) {
    const uint8_t *bytes = NULL;
    dbk_journal_page_state state;
    dbk_journal_page page = {0};
    dbk_journal_group_head head = {0};
    DBK_TRY(get_page(scan, lsn, limit_lsn, &bytes, &state, &page, error));
    judge_first_page(scan, bytes, state, &page, lsn, limit_lsn, &head, found);
    if (found->verdict != GROUP_FINE) return DAYBOOK_OK;

    found->flags = page.flags;
    found->epoch = page.epoch;
    found->checksum = page.checksum;
    found->next_lsn = lsn + head.page_count;
    const uint8_t *payload = bytes + DBK_JOURNAL_PAGE_HEAD_SIZE + DBK_JOURNAL_GROUP_HEAD_SIZE;
    found->payload = daybook_bytes(payload, page.payload_size - DBK_JOURNAL_GROUP_HEAD_SIZE);
    if (head.page_count == 1) {
        if (head.pages_checksum != 0) judge(found, GROUP_CONTRADICTORY, lsn, "contradicts itself");
        return DAYBOOK_OK;
    }
    dbk_buf_reset(&scan->payload);
    dbk_buf_append_slice(&scan->payload, found->payload);
    return read_further_pages(scan, lsn, limit_lsn, &head, found, error);
}

// ---- Torn or damaged ----

// What lies in the places from the first bad group on.
typedef struct remainder {
    uint64_t later_lsn;  // a valid page of a later group; UINT64_MAX: none
    uint64_t resume_lsn; // the first page of the first later group; UINT64_MAX: none
    uint64_t torn_pages;
} remainder;

static daybook_status look_at_remains(scanner *scan, uint64_t group_lsn, remainder *remains_out,
                                      daybook_error *error) {
    remainder remains = {.later_lsn = UINT64_MAX, .resume_lsn = UINT64_MAX};
    uint64_t end = dbk_journal_map_end(scan->map);
    bool is_torn_run = true; // still among pages that the torn group may have touched
    for (uint64_t lsn = group_lsn; lsn < end; lsn++) {
        const uint8_t *bytes = NULL;
        dbk_journal_page_state state;
        dbk_journal_page page;
        DBK_TRY(get_page(scan, lsn, end, &bytes, &state, &page, error));
        bool is_valid = state == DBK_JOURNAL_PAGE_VALID;
        bool is_of_group = is_valid && page.group_lsn == group_lsn;
        if (state != DBK_JOURNAL_PAGE_BROKEN && !is_of_group) is_torn_run = false;
        if (is_of_group || is_torn_run) remains.torn_pages++;
        if (!is_valid || page.group_lsn <= group_lsn) continue;
        if (remains.later_lsn == UINT64_MAX) remains.later_lsn = lsn;
        dbk_journal_group_head ignored;
        if (remains.resume_lsn == UINT64_MAX && page.group_lsn == lsn &&
            dbk_journal_group_head_decode(bytes, &page, &ignored)) {
            remains.resume_lsn = lsn;
        }
    }
    *remains_out = remains;
    return DAYBOOK_OK;
}

static void set_damage(scanner *scan, dbk_journal_recovery *recovery, uint64_t bad_lsn, const char *format,
                       ...) __attribute__((format(printf, 4, 5)));

static void set_damage(scanner *scan, dbk_journal_recovery *recovery, uint64_t bad_lsn, const char *format,
                       ...) {
    recovery->damaged = true;
    recovery->damage_lsn = recovery->end_lsn;
    uint64_t end = dbk_journal_map_end(scan->map);
    // Where the map ends there is no place.
    recovery->damage_offset = bad_lsn < end ? dbk_journal_map_offset(scan->map, bad_lsn) : 0;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(recovery->damage_text, sizeof recovery->damage_text, format, arguments);
    va_end(arguments);
}

// The group at recovery->end_lsn is not FINE: which is it?
static daybook_status decide(scanner *scan, const found_group *found, bool looks_further,
                             dbk_journal_recovery *recovery, daybook_error *error) {
    unsigned long long bad_lsn = found->bad_lsn;
    remainder remains = {.later_lsn = UINT64_MAX, .resume_lsn = UINT64_MAX};
    if (looks_further) DBK_TRY(look_at_remains(scan, recovery->end_lsn, &remains, error));
    if (found->verdict == GROUP_CONTRADICTORY) {
        set_damage(scan, recovery, found->bad_lsn, "the page of LSN %llu %s", bad_lsn, found->why);
    } else if (recovery->end_lsn < scan->known_durable_lsn) {
        set_damage(scan, recovery, found->bad_lsn,
                   "the page of LSN %llu %s, but everything below LSN %llu was synced", bad_lsn, found->why,
                   (unsigned long long)scan->known_durable_lsn);
    } else if (remains.later_lsn != UINT64_MAX) {
        set_damage(scan, recovery, found->bad_lsn,
                   "the page of LSN %llu %s, but LSN %llu of a later group is there", bad_lsn, found->why,
                   (unsigned long long)remains.later_lsn);
    } else {
        recovery->torn_pages = remains.torn_pages;
    }
    if (recovery->damaged && remains.resume_lsn != UINT64_MAX) recovery->resume_lsn = remains.resume_lsn;
    return DAYBOOK_OK;
}

static daybook_status fail_foreign(const scanner *scan, uint64_t lsn, daybook_error *error) {
    uint64_t offset = dbk_journal_map_offset(scan->map, lsn);
    return dbk_fail(
        error, DAYBOOK_EFOREIGN,
        "%s belongs to another store: its page at byte %llu carries another store's identity; put back "
        "the file that belongs here",
        scan->config->path, (unsigned long long)offset);
}

// ---- The whole ----

// Replay up to limit_lsn or the first group that is none. recovery->end_lsn moves along.
static daybook_status replay(scanner *scan, uint64_t limit_lsn, dbk_journal_visit visit, void *context,
                             found_group *found, dbk_journal_recovery *recovery, daybook_error *error) {
    found->verdict = GROUP_FINE;
    while (recovery->end_lsn < limit_lsn) {
        uint64_t lsn = recovery->end_lsn;
        DBK_TRY(read_group(scan, lsn, limit_lsn, found, error));
        if (found->verdict != GROUP_FINE) return DAYBOOK_OK;
        if (found->payload.size > 0) {
            if (visit != NULL) DBK_TRY(visit(context, lsn, found->next_lsn, found->payload, error));
            recovery->group_count++;
            recovery->replayed_bytes += found->payload.size;
        }
        scan->has_group = true;
        scan->epoch = found->epoch;
        scan->last_checksum = found->checksum;
        recovery->end_lsn = found->next_lsn;
    }
    return DAYBOOK_OK;
}

static daybook_status recover(scanner *scan, uint64_t stop_lsn, dbk_journal_visit visit, void *context,
                              dbk_journal_recovery *recovery, daybook_error *error) {
    uint64_t map_end = dbk_journal_map_end(scan->map);
    uint64_t limit_lsn = stop_lsn != 0 && stop_lsn < map_end ? stop_lsn : map_end;
    found_group found;
    DBK_TRY(replay(scan, limit_lsn, visit, context, &found, recovery, error));
    if (found.verdict == GROUP_FOREIGN) return fail_foreign(scan, recovery->end_lsn, error);
    if (found.verdict != GROUP_FINE) {
        DBK_TRY(decide(scan, &found, stop_lsn == 0, recovery, error));
    } else if (recovery->end_lsn < scan->known_durable_lsn) {
        set_damage(scan, recovery, recovery->end_lsn,
                   "it ends at LSN %llu, but everything below LSN %llu was synced",
                   (unsigned long long)recovery->end_lsn, (unsigned long long)scan->known_durable_lsn);
    } else if (stop_lsn != 0 && !scan->has_group) {
        remainder ignored;
        DBK_TRY(look_at_remains(scan, recovery->end_lsn, &ignored, error));
    }
    if (scan->has_unreadable && !recovery->damaged) {
        set_damage(scan, recovery, scan->first_unreadable_lsn, "the page of LSN %llu cannot be read",
                   (unsigned long long)scan->first_unreadable_lsn);
    }
    recovery->epoch = scan->epoch_max;
    return DAYBOOK_OK;
}

// What is read must be on the disk, not on its way: a process may have been killed within its last write.
// Media that cannot be written have nothing on its way.
static daybook_status settle(scanner *scan, daybook_error *error) {
    daybook_vfs *vfs = scan->config->vfs;
    int result = vfs->sync(vfs, scan->file);
    if (result == 0 || result == -EROFS || result == -EINVAL || result == -EBADF) return DAYBOOK_OK;
    return dbk_fail_system(error, result, "sync", scan->config->path, 0);
}

static daybook_status check_recover(const dbk_journal_config *config, const dbk_journal_map *map,
                                    uint64_t start_lsn, uint64_t stop_lsn, daybook_error *error) {
    DBK_TRY(dbk_journal_map_check(config->allocator, map, config->path, error));
    if (start_lsn >= map->first_lsn && start_lsn <= dbk_journal_map_end(map) &&
        (stop_lsn == 0 || start_lsn <= stop_lsn)) {
        return DAYBOOK_OK;
    }
    return dbk_fail_damaged(
        error, config->path, 0,
        "the journal map is damaged: it begins at LSN %llu with %u pieces and cannot hold LSN %llu; "
        "run daybook verify",
        (unsigned long long)map->first_lsn, map->piece_count, (unsigned long long)start_lsn);
}

static daybook_status open_scan(scanner *scan, uint64_t page_count_max, daybook_error *error) {
    daybook_vfs *vfs = scan->config->vfs;
    scan->window_page_count_max = page_count_max < DBK_JOURNAL_PIECE_PAGES ? page_count_max
                                                                           : DBK_JOURNAL_PIECE_PAGES;
    if (scan->window_page_count_max == 0) scan->window_page_count_max = 1;
    scan->window =
        dbk_aligned_alloc(scan->config->allocator, scan->window_page_count_max * DBK_JOURNAL_PAGE_SIZE);
    if (scan->window == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory: reading the journal");
    int result = vfs->open(vfs, scan->config->path, DAYBOOK_VFS_READ | DAYBOOK_VFS_DIRECT, &scan->file);
    return result < 0 ? dbk_fail_system(error, result, "open", scan->config->path, 0) : DAYBOOK_OK;
}

daybook_status dbk_journal_recover(const dbk_journal_config *config, const dbk_journal_map *map,
                                   uint64_t start_lsn, uint64_t stop_lsn, uint64_t known_durable_lsn,
                                   dbk_journal_visit visit, void *context, dbk_journal_recovery *recovery_out,
                                   daybook_error *error) {
    DBK_TRY(check_recover(config, map, start_lsn, stop_lsn, error));
    scanner scan = {.config = config, .map = map};
    scan.known_durable_lsn = stop_lsn > known_durable_lsn ? stop_lsn : known_durable_lsn;
    dbk_journal_identity_init(&scan.identity, &config->store_uuid, config->incarnation);
    dbk_buf_init(&scan.payload, config->allocator, DBK_JOURNAL_GROUP_SIZE_MAX);

    dbk_journal_recovery recovery = {.end_lsn = start_lsn};
    uint64_t page_count = stop_lsn != 0 ? stop_lsn - start_lsn : DBK_JOURNAL_PIECE_PAGES;
    daybook_status status = open_scan(&scan, page_count, error);
    if (status == DAYBOOK_OK && stop_lsn == 0) status = settle(&scan, error);
    if (status == DAYBOOK_OK) status = recover(&scan, stop_lsn, visit, context, &recovery, error);
    if (scan.file != NULL) config->vfs->close(config->vfs, scan.file);
    dbk_aligned_free(config->allocator, scan.window);
    dbk_buf_deinit(&scan.payload);
    if (status == DAYBOOK_OK) *recovery_out = recovery;
    return status;
}

daybook_status dbk_journal_has_group(const dbk_journal_config *config, const dbk_journal_map *map,
                                     uint64_t lsn, bool *has_out, daybook_error *error) {
    *has_out = false;
    scanner scan = {.config = config, .map = map};
    dbk_journal_identity_init(&scan.identity, &config->store_uuid, config->incarnation);
    uint64_t size = 0;
    uint64_t size_wanted = (uint64_t)map->piece_count * DBK_JOURNAL_PIECE_SIZE;
    daybook_status status = open_scan(&scan, 1, error);
    int result = status == DAYBOOK_OK ? config->vfs->file_size(config->vfs, scan.file, &size) : 0;
    if (result < 0) status = dbk_fail_system(error, result, "read the size of", config->path, 0);
    if (status == DAYBOOK_OK && size < size_wanted) {
        status =
            dbk_fail_damaged(error, config->path, size,
                             "%s was cut: it has %llu bytes where the manifest says %llu; run daybook verify",
                             config->path, (unsigned long long)size, (unsigned long long)size_wanted);
    }
    if (status == DAYBOOK_OK && lsn >= map->first_lsn && lsn < dbk_journal_map_end(map)) {
        const uint8_t *bytes = NULL;
        dbk_journal_page_state state;
        dbk_journal_page page;
        status = get_page(&scan, lsn, lsn + 1, &bytes, &state, &page, error);
        *has_out = status == DAYBOOK_OK && state == DBK_JOURNAL_PAGE_VALID && page.group_lsn == lsn;
    }
    if (scan.file != NULL) config->vfs->close(config->vfs, scan.file);
    dbk_aligned_free(config->allocator, scan.window);
    return status;
}
