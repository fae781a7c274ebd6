// SPDX-License-Identifier: Apache-2.0
// Damage at rest, backup and repair, on the simulated disk: whatever byte is changed in whatever file,
// verify tells, a reader reads the rest, a writer refuses or works, and after repair everything that could
// be read is there.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daybook/daybook.h"
#include "io/sim/sim.h"

enum { EVENT_COUNT = 400, REMOVED_SEQ = 7, REMOVED_LATE_SEQ = 390, FILES_MAX = 32 };

typedef struct fixture {
    dbk_sim *sim;
    daybook_vfs *vfs;
    daybook_open_options options;
} fixture;

static void begin(fixture *at, uint64_t seed) {
    memset(at, 0, sizeof *at);
    assert_int_equal(dbk_sim_new(seed, &at->sim), DAYBOOK_OK);
    at->vfs = dbk_sim_vfs(at->sim);
    daybook_open_options_init(&at->options);
    at->options.vfs = at->vfs;
    at->options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    at->options.memory_budget_bytes = 16 << 20;
    at->options.journal_max_bytes = 4 << 20;
}

static void end(fixture *at) {
    assert_int_equal(dbk_sim_open_files(at->sim), 0);
    assert_int_equal(dbk_sim_open_maps(at->sim), 0);
    dbk_sim_free(at->sim);
}

static daybook_store *open_store(fixture *at, const char *path, unsigned flags) {
    daybook_open_options options = at->options;
    options.flags |= flags;
    daybook_store *store = NULL;
    daybook_error error;
    daybook_status status = daybook_open(path, &options, &store, &error);
    if (status != DAYBOOK_OK) print_error("%s: %s\n", daybook_status_name(status), error.message);
    assert_int_equal(status, DAYBOOK_OK);
    return store;
}

static void append(daybook_store *store, const char *subject, daybook_slice data) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    event.data = data;
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    daybook_error error;
    daybook_status status = daybook_append(store, &event, 1, &options, NULL, &error);
    if (status != DAYBOOK_OK) print_error("append: %s\n", error.message);
    assert_int_equal(status, DAYBOOK_OK);
}

static void append_one(daybook_store *store, unsigned number) {
    char subject[64];
    char data[300];
    (void)snprintf(subject, sizeof subject, "orders.%u.placed", number % 17);
    int size =
        snprintf(data, sizeof data, "{\"number\":%u,\"text\":\"%0200u\"}", number, number * 2654435761u);
    append(store, subject, daybook_bytes(data, (size_t)size));
}

// Two segments, one with a deletion file, and events in the journal.
static void fill(fixture *at, const char *path) {
    daybook_store *store = open_store(at, path, 0);
    for (unsigned i = 1; i <= EVENT_COUNT; i++) {
        append_one(store, i);
        if (i == 150 || i == 300) assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
        if (i == 200)
            assert_int_equal(daybook_event_remove(store, daybook_text("ORDERS"), REMOVED_SEQ, 0, NULL),
                             DAYBOOK_OK);
    }
    assert_int_equal(daybook_event_remove(store, daybook_text("ORDERS"), REMOVED_LATE_SEQ, 0, NULL),
                     DAYBOOK_OK);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
}

typedef struct reading {
    unsigned count;
    unsigned damage_count;
    bool saw_removed;
} reading;

// Everything a reader gets, in order, without repeats, going on behind damage.
static reading read_all(daybook_store *store) {
    reading got = {0};
    daybook_query query;
    daybook_query_init(&query);
    daybook_cursor *cursor = NULL;
    daybook_error error;
    assert_int_equal(daybook_read(store, &query, &cursor, &error), DAYBOOK_OK);
    uint64_t last = 0;
    for (;;) {
        daybook_recorded_event event;
        daybook_status status = daybook_cursor_next(cursor, 0, &event, &error);
        if (status == DAYBOOK_END) break;
        if (status == DAYBOOK_EDAMAGED) {
            assert_true(error.message[0] != '\0');
            assert_true(++got.damage_count < 1000);
            continue;
        }
        assert_int_equal(status, DAYBOOK_OK);
        assert_true(event.position > last);
        last = event.position;
        got.count++;
        got.saw_removed = got.saw_removed || event.seq == REMOVED_SEQ || event.seq == REMOVED_LATE_SEQ;
    }
    daybook_cursor_close(cursor);
    return got;
}

static void count_finding(void *context, const daybook_finding *finding) {
    unsigned *count = context;
    assert_true(finding->message.size > 0);
    *count += finding->is_damage != 0;
}

static daybook_status verify(fixture *at, const char *path, unsigned *count) {
    *count = 0;
    daybook_error error;
    return daybook_verify(path, &at->options, count_finding, count, NULL, NULL, &error);
}

typedef struct file_list {
    daybook_vfs_entry entries[FILES_MAX];
    size_t count;
} file_list;

static int add_file(void *context, const daybook_vfs_entry *entry) {
    file_list *list = context;
    assert_true(list->count < FILES_MAX);
    list->entries[list->count++] = *entry;
    return 0;
}

static void copy_store(fixture *at, const char *from, const char *to) {
    file_list list = {.count = 0};
    assert_int_equal(at->vfs->list(at->vfs, from, add_file, &list), 0);
    assert_int_equal(at->vfs->make_directory(at->vfs, to), 0);
    static uint8_t bytes[8 << 20];
    for (size_t i = 0; i < list.count; i++) {
        char path[300];
        daybook_file *file = NULL;
        (void)snprintf(path, sizeof path, "%s/%s", from, list.entries[i].name);
        assert_int_equal(at->vfs->open(at->vfs, path, DAYBOOK_VFS_READ, &file), 0);
        uint64_t size = 0;
        for (int64_t moved = 1; moved > 0; size += (uint64_t)moved) {
            moved = at->vfs->read_at(at->vfs, file, bytes + size, sizeof bytes - size, size);
            assert_true(moved >= 0);
        }
        at->vfs->close(at->vfs, file);
        (void)snprintf(path, sizeof path, "%s/%s", to, list.entries[i].name);
        assert_int_equal(at->vfs->open(at->vfs, path, DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE, &file), 0);
        for (uint64_t done = 0; done < size;) {
            int64_t moved = at->vfs->write_at(at->vfs, file, bytes + done, size - done, done);
            assert_true(moved > 0);
            done += (uint64_t)moved;
        }
        at->vfs->close(at->vfs, file);
    }
}

static int remove_entry(void *context, const daybook_vfs_entry *entry) {
    return add_file(context, entry);
}

static void remove_store(fixture *at, const char *path) {
    file_list list = {.count = 0};
    (void)at->vfs->list(at->vfs, path, remove_entry, &list);
    for (size_t i = 0; i < list.count; i++) {
        char name[300];
        (void)snprintf(name, sizeof name, "%s/%s", path, list.entries[i].name);
        if (list.entries[i].is_directory) {
            remove_store(at, name);
        } else {
            assert_int_equal(at->vfs->unlink(at->vfs, name), 0);
        }
    }
    assert_int_equal(at->vfs->remove_directory(at->vfs, path), 0);
}

// After damage of any kind: nobody crashes or invents, verify and cursors agree, repair makes it writable.
static void check_damaged(fixture *at, const char *what) {
    unsigned findings = 0;
    daybook_status verified = verify(at, "/d", &findings);
    if (verified != DAYBOOK_OK && verified != DAYBOOK_EDAMAGED && verified != DAYBOOK_EFORMAT)
        print_error("%s\n", what);
    assert_true(verified == DAYBOOK_OK || verified == DAYBOOK_EDAMAGED || verified == DAYBOOK_EFORMAT);

    daybook_open_options options = at->options;
    options.flags |= DAYBOOK_OPEN_READ_ONLY;
    daybook_store *reader = NULL;
    daybook_error error;
    daybook_status status = daybook_open("/d", &options, &reader, &error);
    reading got = {0};
    if (status == DAYBOOK_OK) {
        got = read_all(reader);
        assert_true(got.count <= EVENT_COUNT - 2 || got.saw_removed);
        if (verified == DAYBOOK_OK && got.count != EVENT_COUNT - 2)
            print_error("%s: %u read\n", what, got.count);
        if (verified == DAYBOOK_OK) assert_int_equal(got.count, EVENT_COUNT - 2);
        assert_false(got.saw_removed); // not even where the deletion file is what was damaged
        assert_int_equal(daybook_close(reader, NULL), DAYBOOK_OK);
    } else {
        assert_int_not_equal(verified, DAYBOOK_OK);
    }
    if (verified == DAYBOOK_EFORMAT) return; // a newer program's: nothing to repair
    status = daybook_repair("/d", &at->options, 0, count_finding, &findings, &error);
    if (status != DAYBOOK_OK) print_error("%s: repair: %s\n", what, error.message);
    assert_int_equal(status, DAYBOOK_OK);
    assert_int_equal(verify(at, "/d", &findings), DAYBOOK_OK);
    daybook_store *store = open_store(at, "/d", 0);
    reading after = read_all(store);
    if (after.count < got.count)
        print_error("%s: %u before repair, %u after\n", what, got.count, after.count);
    assert_true(after.count >= got.count);
    assert_int_equal(after.damage_count, 0);
    append_one(store, 1);
    assert_int_equal(read_all(store).count, after.count + 1);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
}

static void flipped_bytes_are_told_contained_and_repaired(void **state) {
    (void)state;
    fixture at;
    begin(&at, 1);
    fill(&at, "/s");
    file_list list = {.count = 0};
    assert_int_equal(at.vfs->list(at.vfs, "/s", add_file, &list), 0);
    for (size_t i = 0; i < list.count; i++) {
        const daybook_vfs_entry *entry = &list.entries[i];
        if (strcmp(entry->name, "LOCK") == 0 || strcmp(entry->name, "live") == 0) continue;
        uint64_t used = entry->size < 300000 ? entry->size : 300000; // of the journal, what is in use
        uint64_t stride = used / 23 + 1;
        for (uint64_t offset = 3; offset < used; offset += stride) {
            copy_store(&at, "/s", "/d");
            char path[300];
            char what[340];
            (void)snprintf(path, sizeof path, "/d/%s", entry->name);
            (void)snprintf(what, sizeof what, "%s at %llu", entry->name, (unsigned long long)offset);
            assert_int_equal(dbk_sim_flip(at.sim, path, offset, 0x10), DAYBOOK_OK);
            check_damaged(&at, what);
            remove_store(&at, "/d");
        }
    }
    end(&at);
}

static void missing_and_short_files_are_told_contained_and_repaired(void **state) {
    (void)state;
    fixture at;
    begin(&at, 2);
    fill(&at, "/s");
    file_list list = {.count = 0};
    assert_int_equal(at.vfs->list(at.vfs, "/s", add_file, &list), 0);
    for (size_t i = 0; i < list.count; i++) {
        const daybook_vfs_entry *entry = &list.entries[i];
        if (strcmp(entry->name, "LOCK") == 0 || strcmp(entry->name, "live") == 0) continue;
        for (unsigned parts = 0; parts < 4; parts++) {
            copy_store(&at, "/s", "/d");
            char path[300];
            char what[340];
            (void)snprintf(path, sizeof path, "/d/%s", entry->name);
            (void)snprintf(what, sizeof what, "%s, %u quarters of it", entry->name, parts);
            if (parts == 0) {
                assert_int_equal(at.vfs->unlink(at.vfs, path), 0);
            } else {
                daybook_file *file = NULL;
                assert_int_equal(at.vfs->open(at.vfs, path, DAYBOOK_VFS_WRITE, &file), 0);
                assert_int_equal(at.vfs->truncate(at.vfs, file, entry->size * parts / 4), 0);
                at.vfs->close(at.vfs, file);
            }
            check_damaged(&at, what);
            remove_store(&at, "/d");
        }
    }
    end(&at);
}

static void a_sound_store_needs_no_repair(void **state) {
    (void)state;
    fixture at;
    begin(&at, 3);
    fill(&at, "/s");
    unsigned findings = 0;
    assert_int_equal(verify(&at, "/s", &findings), DAYBOOK_OK);
    assert_int_equal(daybook_repair("/s", &at.options, 0, count_finding, &findings, NULL), DAYBOOK_OK);
    assert_int_equal(findings, 0);
    daybook_store *store = open_store(&at, "/s", DAYBOOK_OPEN_READ_ONLY);
    assert_int_equal(read_all(store).count, EVENT_COUNT - 2);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    end(&at);
}

static void a_backup_is_restored_to_a_twin(void **state) {
    (void)state;
    for (unsigned flags = 0; flags <= DAYBOOK_OPEN_READ_ONLY; flags++) {
        fixture at;
        begin(&at, 4);
        fill(&at, "/s");
        daybook_store *store = open_store(&at, "/s", flags);
        daybook_error error;
        daybook_status status = daybook_backup(store, "/b", NULL, NULL, &error);
        if (status != DAYBOOK_OK) print_error("%s\n", error.message);
        assert_int_equal(status, DAYBOOK_OK);
        assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);

        // The store goes on, the backup follows.
        store = open_store(&at, "/s", 0);
        for (unsigned i = 0; i < 50; i++) append_one(store, i);
        if (flags != 0) {
            assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
            store = open_store(&at, "/s", flags);
        }
        assert_int_equal(daybook_backup(store, "/b", NULL, NULL, NULL), DAYBOOK_OK);
        assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);

        unsigned findings = 0;
        assert_int_equal(verify(&at, "/b", &findings), DAYBOOK_OK);
        daybook_open_options options = at.options;
        daybook_store *none = NULL;
        assert_int_equal(daybook_open("/b", &options, &none, NULL), DAYBOOK_EREADONLY);
        store = open_store(&at, "/b", DAYBOOK_OPEN_READ_ONLY);
        assert_int_equal(read_all(store).count, EVENT_COUNT + 48);
        assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);

        status = daybook_restore("/b", "/r", &at.options, NULL, NULL, &error);
        if (status != DAYBOOK_OK) print_error("%s\n", error.message);
        assert_int_equal(status, DAYBOOK_OK);
        assert_int_equal(daybook_restore("/b", "/r", &at.options, NULL, NULL, NULL), DAYBOOK_EEXISTS);
        assert_int_equal(daybook_restore("/s", "/r2", &at.options, NULL, NULL, NULL), DAYBOOK_EINVALID);
        store = open_store(&at, "/r", 0);
        reading got = read_all(store);
        assert_int_equal(got.count, EVENT_COUNT + 48);
        assert_false(got.saw_removed);
        append_one(store, 5);
        assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
        assert_int_equal(verify(&at, "/r", &findings), DAYBOOK_OK);
        end(&at);
    }
}

// What was said to be there is there when power is lost right behind it.
static void a_backup_and_what_it_is_restored_to_outlive_power_loss(void **state) {
    (void)state;
    fixture at;
    begin(&at, 9);
    fill(&at, "/s");
    daybook_store *store = open_store(&at, "/s", DAYBOOK_OPEN_READ_ONLY);
    assert_int_equal(daybook_backup(store, "/b", NULL, NULL, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    dbk_sim_crash(at.sim, DBK_SIM_POWER_LOSS_DROP_ALL);
    unsigned findings = 0;
    assert_int_equal(verify(&at, "/b", &findings), DAYBOOK_OK);
    assert_int_equal(daybook_restore("/b", "/r", &at.options, NULL, NULL, NULL), DAYBOOK_OK);
    dbk_sim_crash(at.sim, DBK_SIM_POWER_LOSS_DROP_ALL);
    store = open_store(&at, "/r", 0);
    assert_int_equal(read_all(store).count, EVENT_COUNT - 2);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    end(&at);
}

// A read fails `count` times in a row from the nth on. What the cursor gives, called again after each failure.
static uint64_t read_with_faults(const fixture *origin, uint64_t nth, unsigned count, bool *struck_out,
                                 uint64_t *lost_out) {
    fixture at = *origin;
    assert_int_equal(dbk_sim_clone(origin->sim, nth, &at.sim), DAYBOOK_OK);
    at.vfs = dbk_sim_vfs(at.sim);
    at.options.vfs = at.vfs;
    daybook_store *store = open_store(&at, "/s", DAYBOOK_OPEN_READ_ONLY);
    for (unsigned i = 0; i < count; i++) {
        dbk_sim_fault fault = {.kind = DBK_SIM_READ, .suffix = ".dbs", .nth = nth + i, .error = EIO};
        assert_int_equal(dbk_sim_fail(at.sim, &fault), DAYBOOK_OK);
    }
    daybook_query query;
    daybook_query_init(&query);
    daybook_slice filter = daybook_text("orders.*.placed");
    query.filters = &filter;
    query.filter_count = 1;
    daybook_cursor *cursor = NULL;
    daybook_status status = daybook_read(store, &query, &cursor, NULL);
    if (status != DAYBOOK_OK) status = daybook_read(store, &query, &cursor, NULL);
    assert_int_equal(status, DAYBOOK_OK);
    uint64_t events = 0, last = 0;
    *lost_out = 0;
    for (unsigned failures = 0; status != DAYBOOK_END;) {
        daybook_recorded_event event;
        daybook_error error;
        daybook_error_init(&error);
        status = daybook_cursor_next(cursor, 0, &event, &error);
        if (status == DAYBOOK_OK) {
            assert_true(event.position > last);
            last = event.position;
            events++;
        } else if (status != DAYBOOK_END) {
            assert_true(++failures < 5);
            unsigned long long from = 0, to = 0;
            const char *range = strstr(error.message, "positions ");
            if (status == DAYBOOK_EDAMAGED && range != NULL &&
                sscanf(range, "positions %llu to %llu", &from, &to) == 2)
                *lost_out += to - from + 1;
        }
    }
    *struck_out = dbk_sim_fault_hits(at.sim) > 0;
    daybook_cursor_close(cursor);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    end(&at);
    return events;
}

// A read that fails once costs nothing; a place that cannot be read costs what it says, and the rest is given.
static void reads_that_fail_leave_nothing_out_untold(void **state) {
    (void)state;
    fixture origin;
    begin(&origin, 11);
    fill(&origin, "/s");
    bool struck = true;
    for (uint64_t nth = 1; struck; nth++) {
        uint64_t lost = 0;
        assert_int_equal(read_with_faults(&origin, nth, 1, &struck, &lost), EVENT_COUNT - 2);
        assert_int_equal(lost, 0);
    }
    bool was_lost = false;
    struck = true;
    for (uint64_t nth = 1; struck; nth++) {
        uint64_t lost = 0;
        uint64_t events = read_with_faults(&origin, nth, 3, &struck, &lost);
        assert_true(events + lost >= EVENT_COUNT - 2); // of the positions lost two were removed
        was_lost = was_lost || lost > 0;
    }
    assert_true(was_lost);
    end(&origin);
}

static void note_unnamed(void *context, const daybook_finding *finding) {
    bool *told = context;
    static const char name[] = "segment-";
    const char *message = finding->message.data;
    if (finding->file.size < sizeof name || memcmp(finding->file.data, name, sizeof name - 1) != 0) return;
    assert_false(finding->is_damage);
    *told = *told || strstr(message, "cannot be read") != NULL;
}

// A repair without manifest leaves out the segment it cannot open: verify says what the file is.
static void a_segment_left_out_by_repair_is_told(void **state) {
    (void)state;
    fixture at;
    begin(&at, 10);
    fill(&at, "/s");
    file_list list = {.count = 0};
    assert_int_equal(at.vfs->list(at.vfs, "/s", add_file, &list), 0);
    bool is_spoiled = false;
    for (size_t i = 0; i < list.count; i++) {
        static const uint8_t zeros[4096];
        char path[300];
        (void)snprintf(path, sizeof path, "/s/%s", list.entries[i].name);
        if (strncmp(list.entries[i].name, "manifest-", 9) == 0) {
            assert_int_equal(at.vfs->unlink(at.vfs, path), 0);
        } else if (!is_spoiled && strncmp(list.entries[i].name, "segment-", 8) == 0) {
            is_spoiled = true;
            uint64_t size = list.entries[i].size;
            assert_int_equal(dbk_sim_overwrite(at.sim, path, 0, zeros, 64), DAYBOOK_OK);
            assert_int_equal(dbk_sim_overwrite(at.sim, path, size - 400, zeros, 400), DAYBOOK_OK);
        }
    }
    assert_true(is_spoiled);
    unsigned findings = 0;
    assert_int_equal(daybook_repair("/s", &at.options, 0, count_finding, &findings, NULL), DAYBOOK_OK);
    bool told = false;
    assert_int_equal(daybook_verify("/s", &at.options, note_unnamed, &told, NULL, NULL, NULL), DAYBOOK_OK);
    assert_true(told);
    end(&at);
}

// A file of the twin in the place of the store's own is refused, and the other way round.
static void files_of_a_twin_are_not_mixed(void **state) {
    (void)state;
    fixture at;
    begin(&at, 5);
    fill(&at, "/s");
    daybook_store *store = open_store(&at, "/s", 0);
    assert_int_equal(daybook_backup(store, "/b", NULL, NULL, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_restore("/b", "/r", &at.options, NULL, NULL, NULL), DAYBOOK_OK);
    store = open_store(&at, "/r", 0);
    append_one(store, 1);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    assert_int_equal(at.vfs->rename(at.vfs, "/r/journal", "/s/journal"), 0);
    daybook_store *none = NULL;
    daybook_error error;
    daybook_status status = daybook_open("/s", &at.options, &none, &error);
    assert_true(status == DAYBOOK_EFOREIGN || status == DAYBOOK_EDAMAGED);
    end(&at);
}

static void copy_manifest(fixture *at, const char *from, const char *to) {
    file_list list = {.count = 0};
    assert_int_equal(at->vfs->list(at->vfs, from, add_file, &list), 0);
    for (size_t i = 0; i < list.count; i++) {
        if (strncmp(list.entries[i].name, "manifest-", 9) != 0) continue;
        static uint8_t bytes[1 << 20];
        char path[300];
        daybook_file *file = NULL;
        (void)snprintf(path, sizeof path, "%s/%s", from, list.entries[i].name);
        assert_int_equal(at->vfs->open(at->vfs, path, DAYBOOK_VFS_READ, &file), 0);
        int64_t size = at->vfs->read_at(at->vfs, file, bytes, sizeof bytes, 0);
        assert_true(size > 0);
        at->vfs->close(at->vfs, file);
        (void)snprintf(path, sizeof path, "%s/%s", to, list.entries[i].name);
        assert_int_equal(at->vfs->open(at->vfs, path, DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE, &file), 0);
        assert_int_equal(at->vfs->truncate(at->vfs, file, 0), 0);
        assert_int_equal(at->vfs->write_at(at->vfs, file, bytes, (size_t)size, 0), size);
        at->vfs->close(at->vfs, file);
    }
}

// A manifest from before says that the store was closed where the journal goes on. Believed, it would make
// what came later vanish, and be overwritten.
static void an_older_manifest_is_told_and_repaired(void **state) {
    (void)state;
    fixture at;
    begin(&at, 7);
    fill(&at, "/s");
    copy_store(&at, "/s", "/d");
    daybook_store *store = open_store(&at, "/d", 0);
    for (unsigned i = 0; i < 5; i++) append_one(store, i);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    copy_manifest(&at, "/s", "/d");
    unsigned findings = 0;
    assert_int_equal(verify(&at, "/d", &findings), DAYBOOK_EDAMAGED);
    daybook_error error;
    daybook_error_init(&error);
    assert_int_equal(daybook_open("/d", &at.options, &store, &error), DAYBOOK_EDAMAGED);
    assert_non_null(strstr(error.message, "older"));
    assert_int_equal(daybook_repair("/d", &at.options, 0, count_finding, &findings, &error), DAYBOOK_OK);
    assert_int_equal(verify(&at, "/d", &findings), DAYBOOK_OK);
    store = open_store(&at, "/d", 0);
    assert_int_equal(read_all(store).count, EVENT_COUNT - 2 + 5);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    end(&at);
}

static bool holds(fixture *at, const char *path, const char *text) {
    static uint8_t bytes[16 << 20];
    daybook_file *file = NULL;
    assert_int_equal(at->vfs->open(at->vfs, path, DAYBOOK_VFS_READ, &file), 0);
    uint64_t size = 0;
    for (int64_t moved = 1; moved > 0; size += (uint64_t)moved) {
        moved = at->vfs->read_at(at->vfs, file, bytes + size, sizeof bytes - size, size);
        assert_true(moved >= 0);
    }
    at->vfs->close(at->vfs, file);
    size_t length = strlen(text);
    for (uint64_t i = 0; i + length <= size; i++) {
        if (bytes[i] == (uint8_t)text[0] && memcmp(bytes + i, text, length) == 0) return true;
    }
    return false;
}

// Of files whose names end with `ending`.
static unsigned files_holding(fixture *at, const char *ending, const char *text) {
    file_list list = {.count = 0};
    assert_int_equal(at->vfs->list(at->vfs, "/s", add_file, &list), 0);
    unsigned count = 0;
    for (size_t i = 0; i < list.count; i++) {
        char path[300];
        const char *name = list.entries[i].name;
        size_t size = strlen(name), ending_size = strlen(ending);
        if (size < ending_size || strcmp(name + size - ending_size, ending) != 0) continue;
        (void)snprintf(path, sizeof path, "/s/%s", name);
        count += holds(at, path, text);
    }
    return count;
}

static void append_secret(daybook_store *store, const char *secret, unsigned number) {
    char data[200];
    (void)snprintf(data, sizeof data, "{\"name\":\"%s\",\"number\":%u}", secret, number);
    append(store, "people.1.named", daybook_text(data));
}

// The secret is in the journal, in blocks and, as it is frequent, in the dictionary of the segment.
static void erased_events_leave_no_bytes(void **state) {
    (void)state;
    static const char secret[] = "XyZzY-5f3a9c-PlUgH";
    fixture at;
    begin(&at, 6);
    daybook_store *store = open_store(&at, "/s", 0);
    for (unsigned i = 0; i < 900; i++) {
        append_one(store, i);
        append_secret(store, secret, i);
        if (i % 200 == 99) assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
    }
    assert_true(files_holding(&at, "", secret) >= 2);
    daybook_purge_options purge;
    daybook_purge_options_init(&purge);
    purge.erase = 1;
    uint64_t removed = 0;
    assert_int_equal(daybook_stream_purge(store, daybook_text("PEOPLE"), &purge, &removed, NULL), DAYBOOK_OK);
    assert_int_equal(removed, 900);
    assert_int_equal(files_holding(&at, "", secret), 0);
    assert_int_equal(read_all(store).count, 900);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    unsigned findings = 0;
    assert_int_equal(verify(&at, "/s", &findings), DAYBOOK_OK);
    store = open_store(&at, "/s", 0);
    assert_int_equal(daybook_event_remove(store, daybook_text("ORDERS"), 3, 1, NULL), DAYBOOK_OK);
    assert_int_equal(read_all(store).count, 899);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    end(&at);
}

// Dictionaries are made of pieces of events, and segments share them: what is erased from the first is in
// those of the others.
static void erased_events_leave_no_bytes_in_shared_dictionaries(void **state) {
    (void)state;
    static const char secret[] = "XyZzY-5f3a9c-PlUgH";
    fixture at;
    begin(&at, 6);
    daybook_store *store = open_store(&at, "/s", 0);
    for (unsigned i = 0; i < 800; i++) {
        append_one(store, i);
        if (i < 400 && i % 4 == 0) append_secret(store, secret, i);
        if (i % 400 == 399) assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
    }
    assert_int_equal(files_holding(&at, ".dbs", secret), 2);
    daybook_purge_options purge;
    daybook_purge_options_init(&purge);
    purge.erase = 1;
    uint64_t removed = 0;
    assert_int_equal(daybook_stream_purge(store, daybook_text("PEOPLE"), &purge, &removed, NULL), DAYBOOK_OK);
    assert_int_equal(removed, 100);
    assert_int_equal(files_holding(&at, "", secret), 0);
    for (unsigned i = 800; i < 1200; i++) append_one(store, i);
    assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
    assert_int_equal(files_holding(&at, "", secret), 0);
    assert_int_equal(read_all(store).count, 1200);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    unsigned findings = 0;
    assert_int_equal(verify(&at, "/s", &findings), DAYBOOK_OK);
    end(&at);
}

static void maintain(daybook_store *store) {
    daybook_status status = DAYBOOK_OK;
    for (int i = 0; i < 20 && status == DAYBOOK_OK; i++) status = daybook_maintain(store, NULL);
    assert_int_equal(status, DAYBOOK_END);
}

// Removed without erasing and dropped by a merge since, events leave pieces in the dictionary, which is copied.
// Called again with erase, both calls find them: the purge of all, and the removal of one.
static void what_merges_dropped_is_erased_too(void **state) {
    (void)state;
    static const char secret[] = "XyZzY-5f3a9c-PlUgH";
    for (unsigned is_purge = 0; is_purge <= 1; is_purge++) {
        fixture at;
        begin(&at, 6);
        daybook_store *store = open_store(&at, "/s", 0);
        for (unsigned i = 0; i < 600; i++) {
            if (i % 4 == 0) append_one(store, i);
            append_secret(store, secret, i);
        }
        assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
        daybook_purge_options purge;
        daybook_purge_options_init(&purge);
        uint64_t removed = 0;
        assert_int_equal(daybook_stream_purge(store, daybook_text("PEOPLE"), &purge, &removed, NULL),
                         DAYBOOK_OK);
        assert_int_equal(removed, 600);
        maintain(store);
        assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
        store = open_store(&at, "/s", 0);
        assert_true(files_holding(&at, ".dbs", secret) >= 1); // else this shows nothing
        purge.erase = 1;
        if (is_purge)
            assert_int_equal(daybook_stream_purge(store, daybook_text("PEOPLE"), &purge, &removed, NULL),
                             DAYBOOK_OK);
        else
            assert_int_equal(daybook_event_remove(store, daybook_text("PEOPLE"), 600, 1, NULL), DAYBOOK_OK);
        assert_int_equal(files_holding(&at, "", secret), 0);
        assert_int_equal(read_all(store).count, 150);
        assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
        unsigned findings = 0;
        assert_int_equal(verify(&at, "/s", &findings), DAYBOOK_OK);
        end(&at);
    }
}

// A run of segments, one of which has a bad block: its neighbours become one without it.
static void segments_are_merged_around_a_damaged_one(void **state) {
    (void)state;
    enum { SEGMENTS = 6, EVENTS_EACH = 40 };
    fixture at;
    begin(&at, 5);
    daybook_store *store = open_store(&at, "/s", 0);
    for (unsigned i = 0; i < SEGMENTS * EVENTS_EACH; i++) {
        append_one(store, i);
        if (i % EVENTS_EACH == EVENTS_EACH - 1) assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
    }
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    daybook_file *file = NULL;
    assert_int_equal(at.vfs->open(at.vfs, "/s/segment-0000000000000002.dbs", DAYBOOK_VFS_WRITE, &file), 0);
    uint64_t size = 0;
    assert_int_equal(at.vfs->file_size(at.vfs, file, &size), 0);
    static const uint8_t zeros[256];
    assert_true(size > 3 * sizeof zeros);
    assert_int_equal(at.vfs->write_at(at.vfs, file, zeros, sizeof zeros, size / 4), (int64_t)sizeof zeros);
    at.vfs->close(at.vfs, file);

    store = open_store(&at, "/s", 0);
    unsigned damaged = 0, merged = 0;
    for (unsigned i = 0; i < 4; i++) {
        daybook_status status = daybook_maintain(store, NULL);
        damaged += status == DAYBOOK_EDAMAGED;
        merged += status == DAYBOOK_OK;
        assert_true(status == DAYBOOK_OK || status == DAYBOOK_END || status == DAYBOOK_EDAMAGED);
    }
    assert_int_equal(damaged, 1); // told once, then left out
    assert_true(merged >= 1);
    daybook_store_info info = {.size = sizeof info};
    assert_int_equal(daybook_info(store, &info, NULL), DAYBOOK_OK);
    assert_int_equal(info.merge_count, 1);
    assert_int_equal(info.segment_count, 3);
    // After ten minutes it is tried again: it may have been a bad moment of the device.
    dbk_sim_advance_ns(at.sim, INT64_C(601) * 1000000000);
    for (unsigned i = 0; i < 2 * 4 * EVENTS_EACH; i++) { // as large as what was merged, so that it pays
        append_one(store, i);
        if (i == 4 * EVENTS_EACH - 1) assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
    }
    for (unsigned i = 0; i < 3; i++) {
        append_one(store, i);
        assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
    }
    assert_int_equal(daybook_maintain(store, NULL), DAYBOOK_EDAMAGED);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    end(&at);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_store_needs_no_repair),
        cmocka_unit_test(a_backup_is_restored_to_a_twin),
        cmocka_unit_test(files_of_a_twin_are_not_mixed),
        cmocka_unit_test(an_older_manifest_is_told_and_repaired),
        cmocka_unit_test(erased_events_leave_no_bytes),
        cmocka_unit_test(erased_events_leave_no_bytes_in_shared_dictionaries),
        cmocka_unit_test(missing_and_short_files_are_told_contained_and_repaired),
        cmocka_unit_test(flipped_bytes_are_told_contained_and_repaired),
        cmocka_unit_test(segments_are_merged_around_a_damaged_one),
        cmocka_unit_test(what_merges_dropped_is_erased_too),
        cmocka_unit_test(a_backup_and_what_it_is_restored_to_outlive_power_loss),
        cmocka_unit_test(a_segment_left_out_by_repair_is_told),
        cmocka_unit_test(reads_that_fail_leave_nothing_out_untold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
