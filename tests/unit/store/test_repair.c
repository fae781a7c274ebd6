// SPDX-License-Identifier: Apache-2.0
// Repair of what happened more than once: streams that were removed, made again or are in memory, a repair that
// was stopped and done again, and what becomes of events nobody can place.
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
#include "lib/fault_allocator.h"

enum { FINDINGS_MAX = 64, NAMES_MAX = 32 };

typedef struct told {
    bool is_damage;
    uint64_t position_first, position_last;
    char file[64];
    char message[400];
} told;

typedef struct fixture {
    dbk_sim *sim;
    daybook_vfs *vfs;
    daybook_open_options options;
    daybook_error error;
    told findings[FINDINGS_MAX];
    size_t finding_count;
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
    daybook_error_init(&at->error);
}

static void end(fixture *at) {
    assert_int_equal(dbk_sim_open_files(at->sim), 0);
    assert_int_equal(dbk_sim_open_maps(at->sim), 0);
    dbk_sim_free(at->sim);
}

static void must(const fixture *at, const char *what, daybook_status status) {
    if (status != DAYBOOK_OK) fail_msg("%s: %s: %s", what, daybook_status_name(status), at->error.message);
}

static void note(void *context, const daybook_finding *finding) {
    fixture *at = context;
    if (at->finding_count == FINDINGS_MAX) return;
    told *kept = &at->findings[at->finding_count++];
    kept->is_damage = finding->is_damage != 0;
    kept->position_first = finding->position_first;
    kept->position_last = finding->position_last;
    (void)snprintf(kept->file, sizeof kept->file, "%.*s", (int)finding->file.size,
                   (const char *)finding->file.data);
    (void)snprintf(kept->message, sizeof kept->message, "%.*s", (int)finding->message.size,
                   (const char *)finding->message.data);
}

static const told *find_told(const fixture *at, const char *text) {
    for (size_t i = 0; i < at->finding_count; i++)
        if (strstr(at->findings[i].message, text) != NULL) return &at->findings[i];
    return NULL;
}

static daybook_status repair(fixture *at, const char *path) {
    at->finding_count = 0;
    return daybook_repair(path, &at->options, 0, note, at, &at->error);
}

static daybook_status rebuild(fixture *at) {
    at->finding_count = 0;
    return daybook_rebuild("/s", &at->options, 0, note, at, &at->error);
}

static daybook_status verify(fixture *at, const char *path) {
    at->finding_count = 0;
    return daybook_verify(path, &at->options, note, at, NULL, NULL, &at->error);
}

static daybook_store *open_path(fixture *at, const char *path, unsigned flags) {
    daybook_open_options options = at->options;
    options.flags |= flags;
    daybook_store *store = NULL;
    must(at, "open", daybook_open(path, &options, &store, &at->error));
    return store;
}

static daybook_store *open_store(fixture *at) {
    return open_path(at, "/s", 0);
}

static void add_stream(fixture *at, daybook_store *store, const char *name, const char *filter, int storage) {
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    daybook_slice subjects = daybook_text(filter);
    config.name = daybook_text(name);
    config.subjects = &subjects;
    config.subject_count = 1;
    config.storage = storage;
    must(at, name, daybook_stream_add(store, &config, &at->error));
}

static void append(fixture *at, daybook_store *store, const char *subject, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        daybook_event event;
        daybook_event_init(&event);
        event.subject = daybook_text(subject);
        must(at, subject, daybook_append(store, &event, 1, NULL, NULL, &at->error));
    }
}

static void flush(fixture *at, daybook_store *store) {
    must(at, "flush", daybook_flush(store, &at->error));
}

static void close_store(fixture *at, daybook_store *store) {
    must(at, "close", daybook_close(store, &at->error));
}

// Events of a stream that can be read; the stream must say the same.
static uint64_t count_of(fixture *at, daybook_store *store, const char *name) {
    daybook_query query;
    daybook_query_init(&query);
    query.stream = daybook_text(name);
    daybook_cursor *cursor = NULL;
    must(at, name, daybook_read(store, &query, &cursor, &at->error));
    daybook_recorded_event event;
    uint64_t count = 0;
    daybook_status status;
    while ((status = daybook_cursor_next(cursor, 0, &event, &at->error)) == DAYBOOK_OK) count++;
    if (status != DAYBOOK_END) must(at, name, status);
    daybook_cursor_close(cursor);
    daybook_stream_info *info = NULL;
    must(at, name, daybook_stream_get_info(store, daybook_text(name), &info, &at->error));
    assert_int_equal(info->message_count, count);
    daybook_stream_info_release(store, info);
    return count;
}

// ---- Streams that changed -------------------------------------------------------------------------------

// At each opening a stream in memory gets a new number; segments know the older ones, the journal the newer.
static void a_store_with_streams_in_memory_is_rebuilt(void **state) {
    (void)state;
    for (unsigned lives = 1; lives <= 4; lives++) {
        fixture at;
        begin(&at, lives);
        daybook_store *store = open_store(&at);
        add_stream(&at, store, "FLEETING", "fleeting.>", DAYBOOK_STORAGE_MEMORY);
        add_stream(&at, store, "ORDERS", "orders.>", DAYBOOK_STORAGE_FILE);
        for (unsigned life = 1; life <= lives; life++) {
            append(&at, store, "fleeting.1", 2);
            append(&at, store, "orders.1", 3);
            if (life != 3) flush(&at, store);
            append(&at, store, "fleeting.1", 1);
            append(&at, store, "orders.2", 1);
            close_store(&at, store);
            store = open_store(&at);
        }
        close_store(&at, store);
        must(&at, "rebuild", rebuild(&at));
        assert_non_null(find_told(&at, "it is rebuilt from segments and journal"));
        must(&at, "verify", verify(&at, "/s"));
        store = open_store(&at);
        assert_int_equal(count_of(&at, store, "ORDERS"), 4 * lives);
        assert_int_equal(count_of(&at, store, "FLEETING"), 0);
        append(&at, store, "fleeting.1", 1);
        assert_int_equal(count_of(&at, store, "FLEETING"), 1);
        close_store(&at, store);
        end(&at);
    }
}

// The journal may still hold how streams came and went before the catalogues of the segments were written.
static void streams_that_came_and_went_are_rebuilt(void **state) {
    (void)state;
    fixture at;
    begin(&at, 2);
    daybook_store *store = open_store(&at);
    add_stream(&at, store, "GONE", "gone.>", DAYBOOK_STORAGE_FILE);
    add_stream(&at, store, "AGAIN", "again.>", DAYBOOK_STORAGE_FILE);
    add_stream(&at, store, "ORDERS", "orders.>", DAYBOOK_STORAGE_FILE);
    append(&at, store, "gone.1", 2);
    append(&at, store, "again.1", 2);
    must(&at, "remove", daybook_stream_remove(store, daybook_text("GONE"), &at.error));
    must(&at, "remove", daybook_stream_remove(store, daybook_text("AGAIN"), &at.error));
    add_stream(&at, store, "AGAIN", "again.>", DAYBOOK_STORAGE_FILE);
    append(&at, store, "again.1", 5);
    append(&at, store, "orders.1", 3);
    flush(&at, store);
    add_stream(&at, store, "LATE", "late.>", DAYBOOK_STORAGE_FILE);
    add_stream(&at, store, "EMPTY", "empty.>", DAYBOOK_STORAGE_FILE);
    append(&at, store, "late.1", 1);
    append(&at, store, "again.1", 1);
    close_store(&at, store);
    must(&at, "rebuild", rebuild(&at));
    must(&at, "verify", verify(&at, "/s"));
    store = open_store(&at);
    assert_int_equal(count_of(&at, store, "AGAIN"), 6);
    assert_int_equal(count_of(&at, store, "ORDERS"), 3);
    assert_int_equal(count_of(&at, store, "LATE"), 1);
    assert_int_equal(count_of(&at, store, "EMPTY"), 0);
    daybook_stream_info *info = NULL;
    assert_int_equal(daybook_stream_get_info(store, daybook_text("GONE"), &info, NULL), DAYBOOK_ENOTFOUND);
    close_store(&at, store);
    end(&at);
}

// Removals the journal holds may be counted already in what the catalogues say: no damage, and nothing behind
// them is given up.
static void removals_that_are_counted_already_are_rebuilt(void **state) {
    (void)state;
    fixture at;
    begin(&at, 3);
    daybook_store *store = open_store(&at);
    add_stream(&at, store, "ORDERS", "orders.>", DAYBOOK_STORAGE_FILE);
    append(&at, store, "orders.1", 10);
    flush(&at, store);
    uint64_t removed = 0;
    must(&at, "purge", daybook_stream_purge(store, daybook_text("ORDERS"), NULL, &removed, &at.error));
    assert_int_equal(removed, 10);
    append(&at, store, "orders.2", 1);
    flush(&at, store);
    append(&at, store, "orders.3", 4);
    close_store(&at, store);
    must(&at, "rebuild", rebuild(&at));
    must(&at, "verify", verify(&at, "/s"));
    store = open_store(&at);
    assert_int_equal(count_of(&at, store, "ORDERS"), 5);
    close_store(&at, store);
    end(&at);
}

// Damage the page of the journal that is the nth written.
static void damage_page(fixture *at, unsigned nth) {
    daybook_file *file = NULL;
    assert_int_equal(at->vfs->open(at->vfs, "/s/journal", DAYBOOK_VFS_READ | DAYBOOK_VFS_WRITE, &file), 0);
    uint8_t page[4096];
    unsigned count = 0;
    for (uint64_t offset = 0; count < nth; offset += sizeof page) {
        assert_int_equal(at->vfs->read_at(at->vfs, file, page, sizeof page, offset), sizeof page);
        if (memcmp(page, "DBJP", 4) != 0 || ++count < nth) continue;
        page[100] ^= 0x55;
        assert_int_equal(at->vfs->write_at(at->vfs, file, page, sizeof page, offset), sizeof page);
    }
    assert_int_equal(at->vfs->sync(at->vfs, file), 0);
    at->vfs->close(at->vfs, file);
}

// What was removed behind the damage counts what was lost in it: nothing behind it is given up for that.
static void removals_behind_damage_are_replayed(void **state) {
    (void)state;
    unsigned lost_count = 0;
    for (unsigned nth = 2; nth <= 12; nth++) {
        fixture at;
        begin(&at, 4);
        daybook_store *store = open_store(&at);
        add_stream(&at, store, "ORDERS", "orders.>", DAYBOOK_STORAGE_FILE);
        append(&at, store, "orders.1", 6);
        must(&at, "purge", daybook_stream_purge(store, daybook_text("ORDERS"), NULL, NULL, &at.error));
        append(&at, store, "orders.2", 3);
        close_store(&at, store);
        damage_page(&at, nth);
        must(&at, "repair", repair(&at, "/s"));
        must(&at, "verify", verify(&at, "/s"));
        store = open_store(&at);
        daybook_slice name;
        if (daybook_stream_find(store, daybook_text("orders.2"), &name, NULL) == DAYBOOK_OK) {
            uint64_t count = count_of(&at, store, "ORDERS"); // one page, one event, or the purge of six
            assert_true(count == 2 || count == 3 || count == 9);
            lost_count += count == 2;
        }
        close_store(&at, store);
        end(&at);
    }
    assert_int_equal(lost_count, 3);
}

// The record that made room for a stream lies in the damage: the younger of two streams of one name stays.
static void a_stream_made_again_behind_damage_stays(void **state) {
    (void)state;
    for (unsigned nth = 2; nth <= 8; nth++) {
        fixture at;
        begin(&at, 5);
        daybook_store *store = open_store(&at);
        add_stream(&at, store, "ORDERS", "orders.>", DAYBOOK_STORAGE_FILE);
        append(&at, store, "orders.1", 2);
        must(&at, "remove", daybook_stream_remove(store, daybook_text("ORDERS"), &at.error));
        add_stream(&at, store, "SALES", "orders.1.>", DAYBOOK_STORAGE_FILE);
        append(&at, store, "orders.1.1", 3);
        close_store(&at, store);
        damage_page(&at, nth);
        must(&at, "repair", repair(&at, "/s"));
        must(&at, "verify", verify(&at, "/s"));
        store = open_store(&at);
        daybook_slice name;
        if (daybook_stream_find(store, daybook_text("orders.1.1"), &name, NULL) == DAYBOOK_OK &&
            name.size == 5 && memcmp(name.data, "SALES", 5) == 0)
            assert_in_range(count_of(&at, store, "SALES"), 2, 3);
        close_store(&at, store);
        end(&at);
    }
}

// ---- Readers behind damage ------------------------------------------------------------------------------

static void edit_stream(fixture *at, daybook_store *store, const char *name, const char *filter) {
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    daybook_slice subjects = daybook_text(filter);
    config.name = daybook_text(name);
    config.subjects = &subjects;
    config.subject_count = 1;
    config.description = daybook_text("edited");
    must(at, name, daybook_stream_update(store, &config, &at->error));
}

// Streams that came, went, gave subjects to each other and were edited, and removals of what they held.
static void prepare_history(fixture *at) {
    begin(at, 9);
    daybook_store *store = open_store(at);
    add_stream(at, store, "SALES", "sales.>", DAYBOOK_STORAGE_FILE);
    add_stream(at, store, "ORDERS", "orders.>", DAYBOOK_STORAGE_FILE);
    append(at, store, "orders.1", 3);
    must(at, "purge", daybook_stream_purge(store, daybook_text("ORDERS"), NULL, NULL, &at->error));
    must(at, "remove", daybook_stream_remove(store, daybook_text("ORDERS"), &at->error));
    add_stream(at, store, "ORDERS", "orders.>", DAYBOOK_STORAGE_FILE);
    edit_stream(at, store, "SALES", "sales.new.>");
    add_stream(at, store, "OLD", "sales.old.>", DAYBOOK_STORAGE_FILE);
    edit_stream(at, store, "SALES", "sales.new.>");
    append(at, store, "sales.old.1", 2);
    append(at, store, "sales.new.1", 2);
    append(at, store, "orders.2", 4);
    must(at, "delete", daybook_event_remove(store, daybook_text("ORDERS"), 2, 0, &at->error));
    close_store(at, store);
}

// Whatever record is lost, the rest is read: the loss of one does not make those behind it unreadable.
static void a_reader_goes_on_behind_any_lost_record(void **state) {
    (void)state;
    for (unsigned nth = 2; nth <= 22; nth++) {
        fixture at;
        prepare_history(&at);
        damage_page(&at, nth);
        daybook_store *store = open_path(&at, "/s", DAYBOOK_OPEN_READ_ONLY);
        daybook_query query;
        daybook_query_init(&query);
        daybook_cursor *cursor = NULL;
        must(&at, "read", daybook_read(store, &query, &cursor, &at.error));
        daybook_recorded_event event;
        daybook_status status;
        unsigned newest = 0, told_of = 0;
        while ((status = daybook_cursor_next(cursor, 0, &event, &at.error)) != DAYBOOK_END) {
            told_of += status == DAYBOOK_EDAMAGED;
            if (status != DAYBOOK_EDAMAGED) must(&at, "next", status);
            if (status == DAYBOOK_OK)
                newest += event.event.subject.size == 8 &&
                          memcmp(event.event.subject.data, "orders.2", 8) == 0;
            assert_true(told_of < 10);
        }
        daybook_cursor_close(cursor);
        // Of four one is deleted; what cannot be read is one of them, their stream, or the deletion.
        if (newest < 2 || newest > 4) print_error("page %u: %u events of four\n", nth, newest);
        assert_true(newest >= 2 || newest == 0);
        close_store(&at, store);
        must(&at, "repair", repair(&at, "/s"));
        must(&at, "verify", verify(&at, "/s"));
        end(&at);
    }
}

// ---- Repairs that were stopped --------------------------------------------------------------------------

static int note_name(void *context, const daybook_vfs_entry *entry) {
    char(*names)[64] = context;
    for (size_t i = 0; i < NAMES_MAX; i++) {
        if (names[i][0] != '\0') continue;
        (void)snprintf(names[i], sizeof names[i], "%.60s", entry->name);
        break;
    }
    return 0;
}

// Do something to every file whose name begins so.
static void each_file(fixture *at, const char *directory, const char *prefix,
                      void (*act)(fixture *at, const char *path)) {
    char names[NAMES_MAX][64] = {""};
    assert_int_equal(at->vfs->list(at->vfs, directory, note_name, names), 0);
    for (size_t i = 0; i < NAMES_MAX && names[i][0] != '\0'; i++) {
        char path[96];
        if (strncmp(names[i], prefix, strlen(prefix)) != 0) continue;
        assert_true((size_t)snprintf(path, sizeof path, "%s/%s", directory, names[i]) < sizeof path);
        act(at, path);
    }
}

static void remove_file(fixture *at, const char *path) {
    assert_int_equal(at->vfs->unlink(at->vfs, path), 0);
}

static void damage_block(fixture *at, const char *path) {
    daybook_file *file = NULL;
    uint8_t byte = 0;
    assert_int_equal(at->vfs->open(at->vfs, path, DAYBOOK_VFS_READ | DAYBOOK_VFS_WRITE, &file), 0);
    assert_int_equal(at->vfs->read_at(at->vfs, file, &byte, 1, 200), 1);
    byte ^= 0x55;
    assert_int_equal(at->vfs->write_at(at->vfs, file, &byte, 1, 200), 1);
    assert_int_equal(at->vfs->sync(at->vfs, file), 0);
    at->vfs->close(at->vfs, file);
}

enum { DAMAGED_SEGMENT, DAMAGED_BACKUP, LOST_MANIFEST, LOST_MANIFEST_OF_BACKUP, DAMAGE_KIND_COUNT };

static const char *prepare_damage(fixture *at, int kind) {
    begin(at, 6);
    daybook_store *store = open_store(at);
    add_stream(at, store, "ORDERS", "orders.>", DAYBOOK_STORAGE_FILE);
    add_stream(at, store, "SALES", "sales.>", DAYBOOK_STORAGE_FILE);
    append(at, store, "orders.1", 7);
    must(at, "remove", daybook_event_remove(store, daybook_text("ORDERS"), 2, 0, &at->error));
    flush(at, store);
    append(at, store, "sales.1", 5);
    flush(at, store);
    append(at, store, "orders.2", 3);
    must(at, "backup", daybook_backup(store, "/backup", NULL, NULL, &at->error));
    close_store(at, store);
    const char *path = kind == DAMAGED_BACKUP || kind == LOST_MANIFEST_OF_BACKUP ? "/backup" : "/s";
    bool is_lost = kind == LOST_MANIFEST || kind == LOST_MANIFEST_OF_BACKUP;
    if (is_lost)
        each_file(at, path, "manifest-", remove_file);
    else
        each_file(at, path, "segment-", damage_block);
    return path;
}

static void check_repaired(fixture *at, const char *path, const char *where) {
    daybook_status status = repair(at, path);
    if (status != DAYBOOK_OK) print_error("%s\n", where);
    must(at, "repair again", status);
    status = verify(at, path);
    if (status != DAYBOOK_OK) print_error("%s\n", where);
    must(at, "verify", status);
    daybook_store *store = open_path(at, path, strcmp(path, "/s") == 0 ? 0 : DAYBOOK_OPEN_READ_ONLY);
    daybook_stream_info *info = NULL;
    static const char *const names[] = {"ORDERS", "SALES"};
    for (size_t i = 0; i < 2; i++) {
        if (daybook_stream_get_info(store, daybook_text(names[i]), &info, NULL) != DAYBOOK_OK) continue;
        daybook_stream_info_release(store, info);
        (void)count_of(at, store, names[i]);
    }
    close_store(at, store);
}

// Whatever call fails, once or from then on: what a repair after that leaves is sound, and counted right.
static void a_repair_that_was_stopped_is_done_again(void **state) {
    (void)state;
    static const dbk_sim_kind kinds[] = {DBK_SIM_OPEN,   DBK_SIM_READ, DBK_SIM_WRITE,
                                         DBK_SIM_SYNC,   DBK_SIM_LINK, DBK_SIM_FILE_SIZE,
                                         DBK_SIM_RENAME, DBK_SIM_LIST, DBK_SIM_SYNC_DIRECTORY};
    for (int damage = 0; damage < DAMAGE_KIND_COUNT; damage++) {
        fixture origin;
        const char *path = prepare_damage(&origin, damage);
        for (size_t kind = 0; kind < 2 * sizeof kinds / sizeof *kinds; kind++) {
            dbk_sim_fault fault = {.kind = kinds[kind / 2], .is_forever = kind % 2 != 0, .error = EIO};
            bool has_struck = true;
            for (fault.nth = 1; has_struck; fault.nth += kind / 2 < 3 ? 7 : 2) { // opens, reads, writes
                fixture at = origin;
                char where[80];
                (void)snprintf(where, sizeof where, "damage %d, call %d failing %llu%s", damage, fault.kind,
                               (unsigned long long)fault.nth, fault.is_forever ? " and on" : "");
                assert_int_equal(dbk_sim_clone(origin.sim, 7, &at.sim), DAYBOOK_OK);
                at.vfs = dbk_sim_vfs(at.sim);
                at.options.vfs = at.vfs;
                assert_int_equal(dbk_sim_fail(at.sim, &fault), DAYBOOK_OK);
                (void)repair(&at, path);
                has_struck = dbk_sim_fault_hits(at.sim) > 0;
                dbk_sim_clear_faults(at.sim);
                check_repaired(&at, path, where);
                end(&at);
            }
        }
        // A crash at each of its steps; then it is opened as it is, where it can be.
        for (uint64_t step = 1, is_over = 0; !is_over; step += 5) {
            fixture at = origin;
            assert_int_equal(dbk_sim_clone(origin.sim, step, &at.sim), DAYBOOK_OK);
            at.vfs = dbk_sim_vfs(at.sim);
            at.options.vfs = at.vfs;
            dbk_sim_stop_after(at.sim, step);
            is_over = repair(&at, path) == DAYBOOK_OK;
            dbk_sim_crash(at.sim, step % 2 == 0 ? DBK_SIM_KILL : DBK_SIM_POWER_LOSS);
            check_repaired(&at, path, "a crash");
            end(&at);
        }
        end(&origin);
    }
}

static void damage_footer(fixture *at, const char *path) {
    daybook_file *file = NULL;
    uint64_t size = 0;
    uint8_t zeros[400] = {0};
    assert_int_equal(at->vfs->open(at->vfs, path, DAYBOOK_VFS_READ | DAYBOOK_VFS_WRITE, &file), 0);
    assert_int_equal(at->vfs->file_size(at->vfs, file, &size), 0);
    assert_int_equal(at->vfs->write_at(at->vfs, file, zeros, sizeof zeros, size - sizeof zeros),
                     sizeof zeros);
    assert_int_equal(at->vfs->sync(at->vfs, file), 0);
    at->vfs->close(at->vfs, file);
}

// The only catalogue that knew the stream is lost with its segment, the journal holds more of its events.
static void events_of_a_stream_nobody_knows_are_told(void **state) {
    (void)state;
    fixture at;
    begin(&at, 8);
    daybook_store *store = open_store(&at);
    add_stream(&at, store, "ORDERS", "orders.>", DAYBOOK_STORAGE_FILE);
    append(&at, store, "orders.1", 2);
    // Overwrites what the journal has given up: how the stream was made, too.
    must(&at, "erase", daybook_event_remove(store, daybook_text("ORDERS"), 1, 1, &at.error));
    append(&at, store, "orders.1", 4);
    close_store(&at, store);
    each_file(&at, "/s", "manifest-", remove_file);
    each_file(&at, "/s", "segment-", damage_footer);
    must(&at, "repair", repair(&at, "/s"));
    const told *lost = find_told(&at, "4 events of stream number");
    assert_non_null(lost);
    assert_true(lost->is_damage);
    assert_int_equal(lost->position_last - lost->position_first, 3);
    end(&at);
}

// A vfs whose `nth` listing fails, or finds no memory for the first thing it is told.
static struct {
    daybook_vfs *inner;
    fault_allocator faults;
    unsigned nth, count;
    int result; // 0: memory
} listing;

static int failing_list(daybook_vfs *vfs, const char *path,
                        int (*visit)(void *context, const daybook_vfs_entry *entry), void *context) {
    (void)vfs;
    bool is_it = ++listing.count == listing.nth;
    if (is_it && listing.result != 0) return listing.result;
    if (is_it) fault_allocator_fail(&listing.faults, 1, false);
    int result = listing.inner->list(listing.inner, path, visit, context);
    if (is_it) fault_allocator_fail(&listing.faults, 0, false);
    return result;
}

// How many listings of a rebuild failed it.
static unsigned rebuild_with_each_listing_failing(fixture *at, int result, daybook_status expected) {
    unsigned failed = 0;
    listing.result = result;
    for (listing.nth = 1;; listing.nth++) {
        listing.count = 0;
        daybook_status status = rebuild(at);
        if (status != DAYBOOK_OK && status != expected)
            fail_msg("listing %u: %s: %s", listing.nth, daybook_status_name(status), at->error.message);
        failed += status == expected;
        if (listing.count < listing.nth) return failed;
    }
}

static void a_listing_that_fails_is_told_as_what_it_is(void **state) {
    (void)state;
    fixture at;
    begin(&at, 31);
    daybook_store *store = open_store(&at);
    add_stream(&at, store, "ORDERS", "orders.>", DAYBOOK_STORAGE_FILE);
    must(&at, "close", daybook_close(store, &at.error));
    listing.inner = at.vfs;
    fault_allocator_init(&listing.faults);
    daybook_vfs vfs = *at.vfs;
    vfs.list = failing_list;
    at.options.vfs = &vfs;
    at.options.allocator = &listing.faults.allocator;
    assert_true(rebuild_with_each_listing_failing(&at, -EACCES, DAYBOOK_EPERMISSION) >= 2);
    assert_true(rebuild_with_each_listing_failing(&at, 0, DAYBOOK_ENOMEM) >= 1);
    assert_int_equal(fault_allocator_live(&listing.faults), 0);
    at.options.vfs = at.vfs;
    at.options.allocator = NULL;
    must(&at, "close", daybook_close(open_store(&at), &at.error));
    end(&at);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_listing_that_fails_is_told_as_what_it_is),
        cmocka_unit_test(removals_that_are_counted_already_are_rebuilt),
        cmocka_unit_test(a_store_with_streams_in_memory_is_rebuilt),
        cmocka_unit_test(streams_that_came_and_went_are_rebuilt),
        cmocka_unit_test(removals_behind_damage_are_replayed),
        cmocka_unit_test(a_stream_made_again_behind_damage_stays),
        cmocka_unit_test(events_of_a_stream_nobody_knows_are_told),
        cmocka_unit_test(a_reader_goes_on_behind_any_lost_record),
        cmocka_unit_test(a_repair_that_was_stopped_is_done_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
