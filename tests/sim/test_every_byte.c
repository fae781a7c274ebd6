// SPDX-License-Identifier: Apache-2.0
// Damage at rest, exhaustively: a small store that has everything (segments, one of them merged, deletion
// files, a journal in use, a manifest with edits, a live page) and each of its bytes changed in turn, each of
// its files cut, made longer, emptied, removed, replaced by an older version of itself and by the same file
// of another store. Whatever was done:
//
//   - verify, reading and opening for writing end without a crash, in a status with a message
//   - what is read was written: nothing invented, nothing removed is back (but what the lost part of a
//     journal had removed, and nothing else says so; and to readers of an older manifest, of which verify tells)
//   - what is missing was found: verify names the file and a range of positions that holds it
//   - it is contained: everything but one block, or one commit of the journal, can be read; and everything
//     where only one copy of the manifest is concerned, which the next writer heals
//   - nothing was deleted or changed by looking, nor by an opening that was refused
//   - repair makes the store whole again: it loses nothing that could be read, keeps the damaged bytes aside,
//     and what it makes verifies, takes appends and shows nothing new but what it said it would
//
// The store is broken twice over: closed, and as a killed process leaves it.
//
// DAYBOOK_SEED    where sampling begins; default: from the clock, printed
// DAYBOOK_STRIDE  every how manyth byte; default 151, instrumented 2401; 1: all (of the pages of
// the
//                 journal that are not in use, a few)
// DAYBOOK_TRACE   set: names each case before it runs
// DAYBOOK_ONLY    only files whose name begins so
// DAYBOOK_KEEP_GOING  set: goes on behind a failure
#define _POSIX_C_SOURCE 200809L // fork

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/slow_build.h"
#include "sim/workload.h"

enum {
    FILES_MAX = 24,
    NAME_SIZE = 64,
    FILE_SIZE_MAX = 6 << 20,
    BLOCK_EVENTS_MAX = 60,
    JOURNAL_USED = 160 << 10,
    MANIFEST_STRIDE = 37
};

// ---- Files ----------------------------------------------------------------------------------------------

typedef struct bytes {
    uint8_t *data;
    size_t size;
} bytes;

typedef struct listed {
    char names[FILES_MAX][NAME_SIZE];
    bool is_directory[FILES_MAX];
    size_t count;
} listed;

static int add_name(void *context, const daybook_vfs_entry *entry) {
    listed *list = context;
    if (list->count == FILES_MAX) abort();
    list->is_directory[list->count] = entry->is_directory != 0;
    (void)snprintf(list->names[list->count++], NAME_SIZE, "%.63s", entry->name);
    return 0;
}

static listed list_files(dbk_sim *sim, const char *directory) {
    listed list = {.count = 0};
    daybook_vfs *vfs = dbk_sim_vfs(sim);
    if (vfs->list(vfs, directory, add_name, &list) != 0) abort();
    return list;
}

static void path_of(const char *name, char path[300]) {
    (void)snprintf(path, 300, "%s/%s", WORKLOAD_PATH, name);
}

// False where there is no such file.
static bool load(dbk_sim *sim, const char *name, bytes *content) {
    daybook_vfs *vfs = dbk_sim_vfs(sim);
    char path[300];
    path_of(name, path);
    daybook_file *file = NULL;
    uint64_t size = 0;
    if (vfs->open(vfs, path, DAYBOOK_VFS_READ, &file) != 0) return false;
    if (vfs->file_size(vfs, file, &size) != 0 || size > FILE_SIZE_MAX) abort();
    content->data = malloc((size_t)size + 1);
    content->size = (size_t)size;
    if (content->data == NULL || vfs->read_at(vfs, file, content->data, content->size, 0) != (int64_t)size)
        abort();
    vfs->close(vfs, file);
    return true;
}

static void store_bytes(dbk_sim *sim, const char *name, const void *data, size_t size) {
    daybook_vfs *vfs = dbk_sim_vfs(sim);
    char path[300];
    path_of(name, path);
    daybook_file *file = NULL;
    if (vfs->open(vfs, path, DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE, &file) != 0) abort();
    if (vfs->truncate(vfs, file, 0) != 0) abort();
    if (size > 0 && vfs->write_at(vfs, file, data, size, 0) != (int64_t)size) abort();
    if (vfs->sync(vfs, file) != 0) abort();
    vfs->close(vfs, file);
}

static bool begins(const char *name, const char *prefix) {
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

static const char MANIFEST[] = "manifest-0000000000000001";
static const char BOTH_COPIES[] = "manifest-0000000000000001, both copies";

// What means nothing after the process has gone.
static bool is_hint(const char *name) {
    return strcmp(name, "LOCK") == 0 || strcmp(name, "live") == 0 || strcmp(name, "reserve") == 0;
}

// ---- The store ------------------------------------------------------------------------------------------

typedef struct original {
    dbk_sim *sim;          // the whole store
    shown all;             // what it shows
    shown earlier[2];      // what it showed when it was flushed last, and before what the journal removes
    uint64_t journal_used; // bytes
    bytes manifest;        // as it was when it said less
    uint64_t last_group;   // killed: position of the last commit, which looks torn when damaged; else 0
    const char *name;
} original;

typedef struct counts {
    uint64_t cases, found, unfound, read_fully, unreadable, refused, opened, repaired, lost_events;
} counts;

static void must(workload *work, daybook_status status, const char *what) {
    if (status != DAYBOOK_OK)
        workload_fail(work, "making the store", "%s: %s", what, daybook_status_name(status));
}

static void append_some(workload *work, unsigned from, unsigned to) {
    for (unsigned i = from; i < to; i++) {
        char subject[64], data[300], id[32];
        (void)snprintf(subject, sizeof subject, "orders.%u.placed", i % 7);
        int size = snprintf(data, sizeof data, "{\"number\":%u,\"text\":\"%0*u\"}", i, (int)(i * 31 % 180),
                            i * 2654435761u);
        (void)snprintf(id, sizeof id, "order-%u", i);
        daybook_slice tag = daybook_text(i % 2 == 0 ? "even" : "odd");
        daybook_event event;
        daybook_event_init(&event);
        event.subject = daybook_text(subject);
        event.data = daybook_bytes(data, (size_t)size);
        if (i % 3 == 0) event.id = daybook_text(id);
        event.tags = &tag;
        event.tag_count = 1;
        daybook_append_options options;
        daybook_append_options_init(&options);
        options.auto_stream = 1;
        must(work, daybook_append(work->store, &event, 1, &options, NULL, &work->error), "append");
    }
}

static void remove_one(workload *work, uint64_t seq) {
    must(work, daybook_event_remove(work->store, daybook_text("ORDERS"), seq, 0, &work->error), "delete");
}

static void put(workload *work, const char *key, const char *value) {
    must(work,
         daybook_kv_put(daybook_store_engine(work->store), daybook_text("B"), daybook_text(key),
                        daybook_text(value), NULL, &work->error),
         "put");
}

// Steps that make it; an older version of it ends before the last ones.
static void make_store(dbk_sim *sim, bool is_older, bool is_closed, original *made) {
    workload work;
    workload_init(&work, sim);
    must(&work, workload_open(&work), "open");
    daybook_kv_config config;
    daybook_kv_config_init(&config);
    config.bucket = daybook_text("B");
    must(&work, daybook_kv_add(daybook_store_engine(work.store), &config, &work.error), "bucket");
    append_some(&work, 0, 60);
    put(&work, "one", "1");
    put(&work, "one", "2");
    remove_one(&work, 7); // before its segment is written
    must(&work, daybook_flush(work.store, &work.error), "flush");
    append_some(&work, 60, 120);
    remove_one(&work, 20); // a deletion file
    put(&work, "two", "2");
    must(&work, daybook_flush(work.store, &work.error), "flush");
    append_some(&work, 120, 130);
    if (made != NULL && !load(sim, MANIFEST, &made->manifest)) abort();
    shown *earlier = made == NULL ? NULL : made->earlier;
    if (!is_older) {
        remove_one(&work, 21); // a second generation
        remove_one(&work, 100);
        must(&work, daybook_flush(work.store, &work.error), "flush");
        if (earlier != NULL && !shown_take(&work, &earlier[0], "making the store")) abort();
        put(&work, "one", "3");
        append_some(&work, 130, 140);
        if (earlier != NULL && !shown_take(&work, &earlier[1], "making the store")) abort();
        remove_one(&work, 135); // in the journal
        append_some(&work, 140, 143);
    }
    if (is_closed) must(&work, workload_close(&work), "close");
    if (is_closed) return;
    dbk_sim_stop_now(sim);
    (void)workload_close(&work);
    dbk_sim_crash(sim, DBK_SIM_KILL);
}

static original make_original(bool is_closed) {
    original made = {.name = is_closed ? "closed" : "killed"};
    if (dbk_sim_new(1, &made.sim) != DAYBOOK_OK) abort();
    make_store(made.sim, false, is_closed, &made);
    workload work;
    dbk_sim *copy = NULL;
    if (dbk_sim_clone(made.sim, 1, &copy) != DAYBOOK_OK) abort();
    workload_init(&work, copy);
    must(&work, workload_open(&work), "open");
    if (!shown_take(&work, &made.all, "making the store")) abort();
    daybook_store_info info;
    memset(&info, 0, sizeof info);
    info.size = sizeof info;
    must(&work, daybook_info(work.store, &info, &work.error), "info");
    made.journal_used = info.journal_used_bytes;
    must(&work, workload_close(&work), "close");
    dbk_sim_free(copy);
    if (!is_closed) made.last_group = made.all.events[made.all.count - 1].position;
    return made;
}

// ---- Looking at a damaged store -------------------------------------------------------------------------

enum { RANGES_MAX = 64 };

typedef struct findings {
    const char *file;     // the damaged one
    bool names_file;      // one finding of damage names it
    bool names_deletions; // repair: what was removed one by one is visible again
    bool is_open_ended;   // a finding without a last position: all from `open_from` on
    uint64_t open_from;
    uint64_t first[RANGES_MAX], last[RANGES_MAX];
    size_t range_count, damage_count;
} findings;

static void note(void *context, const daybook_finding *finding) {
    findings *found = context;
    if (finding->message.size == 0) abort();
    char path[300];
    (void)snprintf(path, sizeof path, "%.*s", (int)finding->file.size, (const char *)finding->file.data);
    const char *name = strrchr(path, '/') == NULL ? path : strrchr(path, '/') + 1;
    // The manifest is one thing in several files.
    if (strcmp(name, found->file) == 0 || (begins(name, "manifest") && begins(found->file, "manifest")))
        found->names_file = true;
    if (!finding->is_damage) return;
    found->damage_count++;
    if (begins(name, "deletions")) found->names_deletions = true;
    if (finding->position_first == 0) return;
    if (finding->position_last == 0) {
        if (!found->is_open_ended || finding->position_first < found->open_from)
            found->open_from = finding->position_first;
        found->is_open_ended = true;
    } else if (found->range_count < RANGES_MAX) {
        found->first[found->range_count] = finding->position_first;
        found->last[found->range_count++] = finding->position_last;
    }
}

static bool is_named(const findings *found, uint64_t position) {
    if (found->is_open_ended && position >= found->open_from) return true;
    for (size_t i = 0; i < found->range_count; i++) {
        if (position >= found->first[i] && position <= found->last[i]) return true;
    }
    return false;
}

typedef struct broken {
    const original *from;
    workload work;
    const char *file;
    char where[200];
    bool is_there[1024]; // of the original's events
    size_t read_count, missing_count, told_count;
    bool is_found; // by verify
    bool is_reader;
    size_t returned_count; // removed events read
} broken;

static size_t index_of(const shown *all, uint64_t position) {
    for (size_t i = 0; i < all->count; i++) {
        if (all->events[i].position == position) return i;
    }
    return SIZE_MAX;
}

// Reads everything there is; what is read must be in the original. `may_return`: removed events may be back.
static void read_all(broken *at, bool may_return) {
    daybook_query query;
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_INTERNAL;
    daybook_cursor *cursor = NULL;
    memset(at->is_there, 0, sizeof at->is_there);
    at->read_count = at->missing_count = at->told_count = 0;
    if (daybook_read(at->work.store, &query, &cursor, &at->work.error) != DAYBOOK_OK)
        workload_fail(&at->work, at->where, "no cursor");
    uint64_t last = 0;
    for (;;) {
        daybook_recorded_event event;
        daybook_status status = daybook_cursor_next(cursor, 0, &event, &at->work.error);
        if (status == DAYBOOK_END) break;
        if (status == DAYBOOK_EDAMAGED || status == DAYBOOK_EFOREIGN) {
            if (at->work.error.message[0] == '\0' || ++at->told_count > 1000)
                workload_fail(&at->work, at->where, "damage without a message, or without end");
            continue;
        }
        if (status != DAYBOOK_OK)
            workload_fail(&at->work, at->where, "reading gives %s", daybook_status_name(status));
        if (event.position <= last) workload_fail(&at->work, at->where, "position %" PRIu64 " again", last);
        last = event.position;
        size_t index = index_of(&at->from->all, event.position);
        bool is_behind = at->is_found || strstr(at->where, "older version") != NULL;
        bool lost_removal = strcmp(at->file, "journal") == 0 && is_behind &&
                            (index_of(&at->from->earlier[0], event.position) != SIZE_MAX ||
                             index_of(&at->from->earlier[1], event.position) != SIZE_MAX);
        at->returned_count += index == SIZE_MAX;
        if (index == SIZE_MAX && !may_return && !lost_removal)
            workload_fail(&at->work, at->where, "an event that never was or was removed: position %" PRIu64,
                          event.position);
        if (index == SIZE_MAX) continue;
        if (shown_event_of(&event).exact != at->from->all.events[index].exact)
            workload_fail(&at->work, at->where, "the event at position %" PRIu64 " is another",
                          event.position);
        at->is_there[index] = true;
        at->read_count++;
    }
    daybook_cursor_close(cursor);
    at->missing_count = at->from->all.count - at->read_count;
}

static daybook_status open_store(broken *at, unsigned flags) {
    daybook_open_options options;
    workload_open_options(&at->work, &options);
    options.flags |= flags;
    daybook_error_init(&at->work.error);
    daybook_status status = daybook_open(WORKLOAD_PATH, &options, &at->work.store, &at->work.error);
    if (status != DAYBOOK_OK && at->work.error.message[0] == '\0')
        workload_fail(&at->work, at->where, "%s without a message", daybook_status_name(status));
    return status;
}

static void check_unchanged(broken *at, dbk_sim *before, const char *by) {
    listed files = list_files(before, WORKLOAD_PATH);
    for (size_t i = 0; i < files.count; i++) {
        if (is_hint(files.names[i])) continue;
        bytes old = {NULL}, now = {NULL};
        if (!load(before, files.names[i], &old)) abort();
        if (!load(at->work.sim, files.names[i], &now))
            workload_fail(&at->work, at->where, "%s was removed by %s", files.names[i], by);
        if (old.size != now.size || memcmp(old.data, now.data, old.size) != 0)
            workload_fail(&at->work, at->where, "%s was changed by %s", files.names[i], by);
        free(old.data);
        free(now.data);
    }
}

static bool is_refusal(daybook_status status) {
    return status == DAYBOOK_EDAMAGED || status == DAYBOOK_EFORMAT || status == DAYBOOK_EFOREIGN ||
           status == DAYBOOK_ENOTFOUND;
}

// Only the last commit of a killed process may go without being found: it looks like one that was torn. And
// so does everything that an older version of its journal lacks, as far as anything else knows.
static bool may_go_unfound(const broken *at) {
    if (at->from->last_group != 0 && strstr(at->where, "journal: an older version") != NULL) return true;
    for (size_t i = 0; i < at->from->all.count; i++) {
        if (!at->is_there[i] &&
            (at->from->last_group == 0 || at->from->all.events[i].position < at->from->last_group))
            return false;
    }
    return true;
}

static void check_reading(broken *at, daybook_status verified, const findings *found, counts *sum,
                          size_t missing_max) {
    // A reader of an older manifest sees an older state; verify says so, and a writer is refused.
    read_all(at, at->is_found && strstr(at->where, "manifest") != NULL && strstr(at->where, "older") != NULL);
    sum->read_fully += at->missing_count == 0;
    sum->lost_events += at->missing_count;
    if (at->missing_count == 0) return;
    // Nobody reads past what is missing without being told, but of an older manifest by a reader.
    bool is_old_reader = at->is_reader && strstr(at->where, "manifest") != NULL &&
                         (strstr(at->where, "older") != NULL || strstr(at->where, "cut") != NULL);
    if (at->told_count == 0 && !may_go_unfound(at) && !is_old_reader)
        workload_fail(&at->work, at->where, "%zu events are missing, and reading says nothing",
                      at->missing_count);
    if (verified == DAYBOOK_OK && !may_go_unfound(at))
        workload_fail(&at->work, at->where, "%zu events are missing, verify finds nothing",
                      at->missing_count);
    if (verified == DAYBOOK_OK) return;
    for (size_t i = 0; i < at->from->all.count; i++) {
        uint64_t position = at->from->all.events[i].position;
        if (!at->is_there[i] && !is_named(found, position))
            workload_fail(&at->work, at->where, "position %" PRIu64 " is missing, no finding names it",
                          position);
    }
    if (at->missing_count > missing_max)
        workload_fail(&at->work, at->where, "%zu events cannot be read, at most %zu should",
                      at->missing_count, missing_max);
}

// One copy of the manifest is not as it was, the other is. But a copy of a store that went another way is
// none that could be told from the true one.
static bool is_one_copy(const char *file, const char *what) {
    return begins(file, "manifest") && file != BOTH_COPIES && strstr(what, "older") == NULL;
}

// The store was opened for writing, and everything is there: nothing is left of the damage.
static void check_healed(broken *at) {
    daybook_open_options options;
    workload_open_options(&at->work, &options);
    findings left = {.file = at->file};
    daybook_status status = daybook_verify(WORKLOAD_PATH, &options, note, &left, NULL, NULL, &at->work.error);
    if (status != DAYBOOK_OK || left.names_file)
        workload_fail(&at->work, at->where, "not healed by a writer: %s", daybook_status_name(status));
}

static void check_repair(broken *at, const findings *found, counts *sum) {
    static bool could_read[1024];
    memcpy(could_read, at->is_there, sizeof could_read);
    bytes damaged = {NULL};
    const char *name_kept = at->file == BOTH_COPIES ? MANIFEST : at->file;
    bool is_present = load(at->work.sim, name_kept, &damaged);
    daybook_open_options options;
    workload_open_options(&at->work, &options);
    findings told = {.file = at->file};
    daybook_status status = daybook_repair(WORKLOAD_PATH, &options, 0, note, &told, &at->work.error);
    if (status == DAYBOOK_EFOREIGN && begins(at->file, "manifest")) { // it says what to do
        free(damaged.data);
        return;
    }
    if (status != DAYBOOK_OK)
        workload_fail(&at->work, at->where, "repair gives %s", daybook_status_name(status));
    findings after = {.file = at->file};
    status = daybook_verify(WORKLOAD_PATH, &options, note, &after, NULL, NULL, &at->work.error);
    if (status != DAYBOOK_OK)
        workload_fail(&at->work, at->where, "verify after repair gives %s", daybook_status_name(status));
    if (open_store(at, 0) != DAYBOOK_OK) workload_fail(&at->work, at->where, "no opening after repair");
    read_all(at, told.names_deletions || begins(at->file, "manifest"));
    for (size_t i = 0; i < at->from->all.count; i++) {
        if (could_read[i] && !at->is_there[i])
            workload_fail(&at->work, at->where, "repair lost position %" PRIu64,
                          at->from->all.events[i].position);
    }
    if (at->told_count > 0) workload_fail(&at->work, at->where, "damage is left after repair");
    append_some(&at->work, 500, 501);
    if (workload_close(&at->work) != DAYBOOK_OK) workload_fail(&at->work, at->where, "closing after repair");
    workload_verify(&at->work, at->where);
    sum->repaired++;
    if (is_present && found->damage_count > 0 && found->names_file) {
        listed files = list_files(at->work.sim, WORKLOAD_PATH);
        bytes now = {NULL};
        // What is of another store is not moved.
        bool is_kept = load(at->work.sim, name_kept, &now) && now.size == damaged.size &&
                       memcmp(now.data, damaged.data, now.size) == 0;
        free(now.data);
        for (size_t i = 0; i < files.count && !is_kept; i++) {
            char name[2 * NAME_SIZE];
            bytes kept = {NULL};
            if (!files.is_directory[i] || !begins(files.names[i], "damaged-")) continue;
            (void)snprintf(name, sizeof name, "%s/%s", files.names[i], name_kept);
            is_kept = load(at->work.sim, name, &kept) && kept.size == damaged.size &&
                      memcmp(kept.data, damaged.data, kept.size) == 0;
            free(kept.data);
        }
        if (!is_kept)
            workload_fail(&at->work, at->where, "repair did not keep the damaged bytes of %s", at->file);
    }
    free(damaged.data);
}

// `sim` holds the damaged store, and is freed.
static void check_case(const original *from, dbk_sim *sim, const char *file, const char *what,
                       size_t missing_max, counts *sum) {
    broken at = {.from = from, .file = file};
    (void)snprintf(at.where, sizeof at.where, "%s store, %s: %s", from->name, file, what);
    if (getenv("DAYBOOK_TRACE") != NULL) (void)fprintf(stderr, "%s\n", at.where);
    workload_init(&at.work, sim);
    dbk_sim *before = NULL;
    if (dbk_sim_clone(sim, 1, &before) != DAYBOOK_OK) abort();
    sum->cases++;

    daybook_open_options options;
    workload_open_options(&at.work, &options);
    findings found = {.file = file};
    daybook_status verified =
        daybook_verify(WORKLOAD_PATH, &options, note, &found, NULL, NULL, &at.work.error);
    if (verified != DAYBOOK_OK && !is_refusal(verified))
        workload_fail(&at.work, at.where, "verify gives %s", daybook_status_name(verified));
    at.is_found = verified != DAYBOOK_OK;
    sum->found += verified != DAYBOOK_OK;
    sum->unfound += verified == DAYBOOK_OK;
    // A cut manifest ends in an edit that was never acknowledged, as far as it knows; the others contradict
    // it.
    bool is_stranger = (begins(file, "manifest") && strstr(what, "cut") != NULL) ||
                       strstr(what, "older") != NULL || strstr(what, "another store") != NULL;
    if (verified == DAYBOOK_EDAMAGED && !found.names_file && !is_stranger)
        workload_fail(&at.work, at.where, "no finding names %s", file);
    if (verified != DAYBOOK_OK && is_hint(file))
        workload_fail(&at.work, at.where, "a hint is taken for damage");

    at.is_reader = true;
    daybook_status status = open_store(&at, DAYBOOK_OPEN_READ_ONLY);
    if (status == DAYBOOK_OK) {
        check_reading(&at, verified, &found, sum, missing_max);
        if (workload_close(&at.work) != DAYBOOK_OK) workload_fail(&at.work, at.where, "closing a reader");
    } else {
        sum->unreadable++;
        if (!is_refusal(status))
            workload_fail(&at.work, at.where, "a reader gets %s", daybook_status_name(status));
        // Of another store or a newer program: refused as a whole.
        if (!begins(file, "manifest") && status != DAYBOOK_EFORMAT && status != DAYBOOK_EFOREIGN)
            workload_fail(&at.work, at.where, "nothing can be read: %s", at.work.error.message);
        if (verified == DAYBOOK_OK) workload_fail(&at.work, at.where, "verify finds nothing");
    }
    if (is_one_copy(file, what) && (status != DAYBOOK_OK || at.missing_count > 0))
        workload_fail(&at.work, at.where, "a reader needs both copies: %s", at.work.error.message);
    if (is_one_copy(file, what) && !found.names_file)
        workload_fail(&at.work, at.where, "verify does not tell of the copy");
    check_unchanged(&at, before, "looking");

    dbk_sim *writable = NULL;
    if (dbk_sim_clone(sim, 2, &writable) != DAYBOOK_OK) abort();
    workload_init(&at.work, writable);
    at.is_reader = false;
    status = open_store(&at, 0);
    sum->opened += status == DAYBOOK_OK;
    sum->refused += status != DAYBOOK_OK;
    if (status == DAYBOOK_OK) {
        check_reading(&at, verified, &found, sum, missing_max);
        // An append that would have to look into what is damaged is refused.
        status = workload_append_after(&at.work, 1);
        if (status != DAYBOOK_OK && (status != DAYBOOK_EDAMAGED || verified == DAYBOOK_OK))
            workload_fail(&at.work, at.where, "an append gives %s", daybook_status_name(status));
        if (workload_close(&at.work) != DAYBOOK_OK) workload_fail(&at.work, at.where, "closing");
    } else {
        if (!is_refusal(status))
            workload_fail(&at.work, at.where, "a writer gets %s", daybook_status_name(status));
        if (verified == DAYBOOK_OK) workload_fail(&at.work, at.where, "a writer is refused a sound store");
        check_unchanged(&at, before, "an opening that was refused");
    }
    if (is_one_copy(file, what) && (status != DAYBOOK_OK || at.missing_count > 0))
        workload_fail(&at.work, at.where, "a writer needs both copies: %s", at.work.error.message);
    if (is_one_copy(file, what)) check_healed(&at);
    dbk_sim_free(writable);

    workload_init(&at.work, sim);
    if (verified == DAYBOOK_EDAMAGED) check_repair(&at, &found, sum);
    dbk_sim_free(before);
    dbk_sim_free(sim);
}

// With DAYBOOK_KEEP_GOING each case has a process of its own, so that all failures are seen, and nothing
// counted.
static void check(const original *from, dbk_sim *sim, const char *file, const char *what, size_t missing_max,
                  counts *sum) {
    if (getenv("DAYBOOK_KEEP_GOING") == NULL) {
        check_case(from, sim, file, what, missing_max, sum);
        return;
    }
    pid_t child = fork();
    if (child < 0) abort();
    if (child == 0) {
        check_case(from, sim, file, what, missing_max, sum);
        _Exit(0);
    }
    int status = 0;
    if (waitpid(child, &status, 0) != child) abort();
    dbk_sim_free(sim);
}

// ---- Damages --------------------------------------------------------------------------------------------

static dbk_sim *copy_of(const original *from) {
    dbk_sim *copy = NULL;
    if (dbk_sim_clone(from->sim, 1, &copy) != DAYBOOK_OK) abort();
    return copy;
}

static size_t missing_max(const original *from, const char *file) {
    if (begins(file, "manifest")) return from->all.count;
    return BLOCK_EVENTS_MAX;
}

static void copy_name(char name[NAME_SIZE]) {
    (void)snprintf(name, NAME_SIZE, "%s.copy", MANIFEST);
}

static void flip_other_copy(dbk_sim *sim, uint64_t offset, uint8_t mask) {
    char name[NAME_SIZE], path[300];
    copy_name(name);
    path_of(name, path);
    if (dbk_sim_flip(sim, path, offset, mask) != DAYBOOK_OK) abort();
}

static void flip_bytes(const original *from, const char *file, size_t begin, size_t end, uint64_t stride,
                       chance *source, counts *sum) {
    for (uint64_t offset = begin + chance_below(source, stride); offset < end; offset += stride) {
        dbk_sim *sim = copy_of(from);
        char path[300], what[64];
        path_of(file == BOTH_COPIES ? MANIFEST : file, path);
        uint8_t mask = (uint8_t)(1u << chance_below(source, 8));
        (void)snprintf(what, sizeof what, "byte %" PRIu64 " ^ 0x%02x", offset, mask);
        if (dbk_sim_flip(sim, path, offset, mask) != DAYBOOK_OK) abort();
        if (file == BOTH_COPIES) flip_other_copy(sim, offset, mask);
        check(from, sim, file, what, missing_max(from, file), sum);
    }
}

static void replace_file(const original *from, const char *file, const bytes *content, size_t size,
                         const char *what, counts *sum) {
    dbk_sim *sim = copy_of(from);
    char other[NAME_SIZE];
    copy_name(other);
    store_bytes(sim, file == BOTH_COPIES ? MANIFEST : file, content->data, size);
    if (file == BOTH_COPIES) store_bytes(sim, other, content->data, size);
    check(from, sim, file, what, from->all.count, sum);
}

static void change_length(const original *from, const char *file, const bytes *content, counts *sum) {
    const size_t sizes[] = {0,
                            1,
                            63,
                            64,
                            4096,
                            content->size / 4,
                            content->size / 2,
                            content->size * 3 / 4,
                            content->size - content->size % 4096,
                            content->size - 1};
    char what[64];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        if (sizes[i] >= content->size) continue;
        (void)snprintf(what, sizeof what, "cut to %zu of %zu bytes", sizes[i], content->size);
        replace_file(from, file, content, sizes[i], what, sum);
    }
    bytes more = {.data = malloc(content->size + 8192), .size = content->size + 8192};
    if (more.data == NULL) abort();
    for (int fill = 0; fill < 2; fill++) {
        memcpy(more.data, content->data, content->size);
        memset(more.data + content->size, fill == 0 ? 0 : 0xa5, 8192);
        replace_file(from, file, &more, content->size + 1, fill == 0 ? "a zero more" : "a byte more", sum);
        replace_file(from, file, &more, more.size, fill == 0 ? "8 KiB of zeros more" : "8 KiB more", sum);
    }
    free(more.data);
}

static void remove_file(const original *from, const char *file, counts *sum) {
    dbk_sim *sim = copy_of(from);
    daybook_vfs *vfs = dbk_sim_vfs(sim);
    char path[300], other[NAME_SIZE];
    path_of(file == BOTH_COPIES ? MANIFEST : file, path);
    if (vfs->unlink(vfs, path) != 0) abort();
    copy_name(other);
    path_of(other, path);
    if (file == BOTH_COPIES && vfs->unlink(vfs, path) != 0) abort();
    check(from, sim, file, "removed", from->all.count, sum);
}

static void take_from(const original *from, const char *file, dbk_sim *other, const char *what, counts *sum) {
    bytes content = {NULL}, own = {NULL};
    const char *name = file == BOTH_COPIES ? MANIFEST : file;
    if (!load(other, name, &content)) return;
    if (!load(from->sim, name, &own)) abort();
    if (content.size != own.size || memcmp(content.data, own.data, own.size) != 0)
        replace_file(from, file, &content, content.size, what, sum);
    free(content.data);
    free(own.data);
}

// The manifest as a whole: what its two copies cannot make good.
static void damage_both_copies(const original *from, uint64_t stride, dbk_sim *older, dbk_sim *other,
                               chance *source, counts *flips, counts *lengths, counts *strangers) {
    bytes content = {NULL};
    if (!load(from->sim, MANIFEST, &content)) abort();
    flip_bytes(from, BOTH_COPIES, 0, content.size, stride, source, flips);
    change_length(from, BOTH_COPIES, &content, lengths);
    remove_file(from, BOTH_COPIES, lengths);
    take_from(from, BOTH_COPIES, older, "an older version of itself", strangers);
    take_from(from, BOTH_COPIES, other, "the same file of another store", strangers);
    free(content.data);
}

static void print(const char *kind, const char *store, const counts *sum) {
    printf("%s, %s store: %" PRIu64 " cases, %" PRIu64 " found by verify, %" PRIu64
           " of no consequence; %" PRIu64 " times nothing could be read, else all of it %" PRIu64
           " times (twice per case), %" PRIu64 " events in all could not; writer refused %" PRIu64
           ", opened %" PRIu64 "; %" PRIu64 " repaired\n",
           kind, store, sum->cases, sum->found, sum->unfound, sum->unreadable, sum->read_fully,
           sum->lost_events, sum->refused, sum->opened, sum->repaired);
    (void)fflush(stdout);
}

int main(void) {
    uint64_t seed = number_from("DAYBOOK_SEED", (uint64_t)time(NULL));
    uint64_t stride = number_from("DAYBOOK_STRIDE", IS_SLOW_BUILD ? 2401 : 151);
    (void)mallopt(M_MMAP_THRESHOLD, 256 << 20); // buffers of whole files come and go
    (void)mallopt(M_TRIM_THRESHOLD, 256 << 20);
    printf("DAYBOOK_SEED=%" PRIu64 "\n", seed);
    (void)fflush(stdout);
    dbk_sim *older = NULL, *other = NULL;
    if (dbk_sim_new(1, &older) != DAYBOOK_OK || dbk_sim_new(99, &other) != DAYBOOK_OK) return 1;
    make_store(older, true, true, NULL);
    make_store(other, false, true, NULL);
    for (int is_closed = 0; is_closed < 2; is_closed++) {
        original from = make_original(is_closed != 0);
        chance source = {.state = seed + (unsigned)is_closed};
        counts flips = {0}, lengths = {0}, strangers = {0};
        listed files = list_files(from.sim, WORKLOAD_PATH);
        for (size_t i = 0; i < files.count; i++) {
            const char *file = files.names[i];
            bytes content = {NULL};
            if (getenv("DAYBOOK_ONLY") != NULL && !begins(file, getenv("DAYBOOK_ONLY"))) continue;
            if (!load(from.sim, file, &content)) abort();
            uint64_t step = begins(file, "deletions") && stride > 5 ? 5 : stride;
            if (begins(file, "manifest") && step > MANIFEST_STRIDE) step = MANIFEST_STRIDE;
            if (strcmp(file, "journal") == 0) {
                size_t end = content.size;
                while (end > 0 && content.data[end - 1] == 0) end--;
                end = (end / 4096 + 2) * 4096;
                size_t used = end - (size_t)from.journal_used - 2 * 4096;
                flip_bytes(&from, file, 0, used, 40 * 61, &source, &flips);
                flip_bytes(&from, file, used, end, step, &source, &flips);
            } else {
                bool is_all_alike = strcmp(file, "reserve") == 0 && content.size > 1;
                flip_bytes(&from, file, 0, is_all_alike ? 1 : content.size, step, &source, &flips);
            }
            change_length(&from, file, &content, &lengths);
            remove_file(&from, file, &lengths);
            take_from(&from, file, older, "an older version of itself", &strangers);
            take_from(&from, file, other, "the same file of another store", &strangers);
            if (begins(file, "manifest"))
                replace_file(&from, file, &from.manifest, from.manifest.size, "as it was earlier",
                             &strangers);
            free(content.data);
        }
        if (getenv("DAYBOOK_ONLY") == NULL || begins(MANIFEST, getenv("DAYBOOK_ONLY")))
            damage_both_copies(&from, stride, older, other, &source, &flips, &lengths, &strangers);
        free(from.manifest.data);
        print("bytes changed", from.name, &flips);
        print("files cut, extended, removed", from.name, &lengths);
        print("files of another time or store", from.name, &strangers);
        shown_deinit(&from.all);
        shown_deinit(&from.earlier[0]);
        shown_deinit(&from.earlier[1]);
        dbk_sim_free(from.sim);
    }
    dbk_sim_free(older);
    dbk_sim_free(other);
    return 0;
}
