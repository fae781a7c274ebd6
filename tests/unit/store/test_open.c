// SPDX-License-Identifier: Apache-2.0
// Opening: a store is made whole or not at all, one writer at a time, nothing of others is touched, every
// call to the outside and every allocation may fail, and what a crash leaves is opened again.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daybook/daybook.h"
#include "io/sim/sim.h"
#include "lib/fault_allocator.h"
#include "store/maintenance.h"

typedef struct fixture {
    dbk_sim *sim;
    daybook_vfs *vfs;
    daybook_open_options options;
    daybook_error error;
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

static daybook_status try_open(fixture *at, unsigned flags, daybook_store **store_out) {
    daybook_open_options options = at->options;
    options.flags |= flags;
    return daybook_open("/s", &options, store_out, &at->error);
}

static daybook_store *open_store(fixture *at, unsigned flags) {
    daybook_store *store = NULL;
    daybook_status status = try_open(at, flags, &store);
    if (status != DAYBOOK_OK) print_error("%s: %s\n", daybook_status_name(status), at->error.message);
    assert_int_equal(status, DAYBOOK_OK);
    return store;
}

static daybook_status append_to(daybook_store *store, const char *subject) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    return daybook_append(store, &event, 1, &options, NULL, NULL);
}

static uint64_t count_of(daybook_store *store) {
    daybook_query query;
    daybook_query_init(&query);
    uint64_t count = UINT64_MAX;
    assert_int_equal(daybook_count(store, &query, &count, NULL), DAYBOOK_OK);
    return count;
}

static void put_file(fixture *at, const char *path, const char *text) {
    daybook_file *file = NULL;
    assert_int_equal(at->vfs->open(at->vfs, path, DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE, &file), 0);
    assert_int_equal(at->vfs->write_at(at->vfs, file, text, strlen(text), 0), (int64_t)strlen(text));
    at->vfs->close(at->vfs, file);
}

static int count_entry(void *context, const daybook_vfs_entry *entry) {
    (void)entry;
    ++*(unsigned *)context;
    return 0;
}

static void a_store_is_made_and_found_again(void **state) {
    (void)state;
    fixture at;
    begin(&at, 1);
    daybook_store *store = NULL;
    assert_int_equal(try_open(&at, DAYBOOK_OPEN_MUST_EXIST, &store), DAYBOOK_ENOTFOUND);
    assert_int_equal(try_open(&at, DAYBOOK_OPEN_READ_ONLY, &store), DAYBOOK_ENOTFOUND);
    assert_null(store);
    unsigned count = 0;
    assert_int_equal(at.vfs->list(at.vfs, "/s", count_entry, &count), -ENOENT);
    store = open_store(&at, 0);
    daybook_store_info first = {.size = sizeof first};
    assert_int_equal(daybook_info(store, &first, NULL), DAYBOOK_OK);
    for (int i = 0; i < 5; i++) assert_int_equal(append_to(store, "orders.1.placed"), DAYBOOK_OK);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    for (int i = 0; i < 4; i++) {
        store = open_store(&at, DAYBOOK_OPEN_MUST_EXIST);
        daybook_store_info info = {.size = sizeof info};
        assert_int_equal(daybook_info(store, &info, NULL), DAYBOOK_OK);
        assert_string_equal(info.uuid, first.uuid);
        assert_int_equal(info.durable_position, 5);
        assert_int_equal(count_of(store), 5);
        assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    }
    assert_int_equal(daybook_close(NULL, NULL), DAYBOOK_OK);
    end(&at);
}

static void a_second_writer_is_refused_by_name(void **state) {
    (void)state;
    fixture at;
    begin(&at, 2);
    daybook_store *store = open_store(&at, 0);
    daybook_store *second = NULL;
    assert_int_equal(try_open(&at, 0, &second), DAYBOOK_ELOCKED);
    assert_non_null(strstr(at.error.message, "in use by process"));
    daybook_open_options options = at.options;
    options.vfs = dbk_sim_process(at.sim, 1);
    options.lock_wait_ms = 200;
    int64_t before = at.vfs->clock_monotonic_ns(at.vfs);
    assert_int_equal(daybook_open("/s", &options, &second, &at.error), DAYBOOK_ELOCKED);
    assert_true(at.vfs->clock_monotonic_ns(at.vfs) - before >= INT64_C(200000000));
    daybook_store *reader = open_store(&at, DAYBOOK_OPEN_READ_ONLY);
    assert_int_equal(daybook_close(reader, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_open("/s", &options, &second, &at.error), DAYBOOK_OK);
    assert_int_equal(daybook_close(second, NULL), DAYBOOK_OK);
    end(&at);
}

static void what_is_not_a_store_is_left_alone(void **state) {
    (void)state;
    fixture at;
    begin(&at, 3);
    daybook_store *store = NULL;
    assert_int_equal(at.vfs->make_directory(at.vfs, "/s"), 0);
    put_file(&at, "/s/notes.txt", "mine");
    assert_int_equal(try_open(&at, 0, &store), DAYBOOK_EFOREIGN);
    assert_non_null(strstr(at.error.message, "notes.txt"));
    assert_int_equal(try_open(&at, DAYBOOK_OPEN_READ_ONLY, &store), DAYBOOK_ENOTFOUND);
    unsigned count = 0;
    assert_int_equal(at.vfs->list(at.vfs, "/s", count_entry, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(at.vfs->unlink(at.vfs, "/s/notes.txt"), 0);
    put_file(&at, "/s/segment-0000000000000001.dbs", "a segment without its manifest");
    assert_int_equal(try_open(&at, 0, &store), DAYBOOK_EDAMAGED);
    assert_int_equal(at.vfs->unlink(at.vfs, "/s/segment-0000000000000001.dbs"), 0);
    put_file(&at, "/s/journal", "not a blank one");
    assert_int_equal(try_open(&at, 0, &store), DAYBOOK_EDAMAGED);
    assert_int_equal(at.vfs->unlink(at.vfs, "/s/journal"), 0);
    assert_int_equal(at.vfs->remove_directory(at.vfs, "/s"), 0);
    put_file(&at, "/s", "a file");
    assert_int_equal(try_open(&at, 0, &store), DAYBOOK_EINVALID);
    end(&at);
}

static void files_of_others_in_a_store_stay(void **state) {
    (void)state;
    fixture at;
    begin(&at, 4);
    daybook_store *store = open_store(&at, 0);
    assert_int_equal(append_to(store, "a.b.c"), DAYBOOK_OK);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    put_file(&at, "/s/notes.txt", "mine");
    put_file(&at, "/s/segment-00000000000000ff.dbs", "named by no manifest");
    put_file(&at, "/s/manifest-0000000000000001.tmp", "left by a crash");
    store = open_store(&at, 0);
    assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    daybook_file *file = NULL;
    assert_int_equal(at.vfs->open(at.vfs, "/s/notes.txt", DAYBOOK_VFS_READ, &file), 0);
    at.vfs->close(at.vfs, file);
    assert_int_equal(at.vfs->open(at.vfs, "/s/segment-00000000000000ff.dbs", DAYBOOK_VFS_READ, &file), 0);
    at.vfs->close(at.vfs, file);
    assert_int_equal(at.vfs->open(at.vfs, "/s/manifest-0000000000000001.tmp", DAYBOOK_VFS_READ, &file),
                     -ENOENT);
    end(&at);
}

static void info_tells_what_segments_hold_and_cost(void **state) {
    (void)state;
    fixture at;
    begin(&at, 44);
    daybook_store *store = open_store(&at, DAYBOOK_OPEN_NO_BACKGROUND);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 50; i++) assert_int_equal(append_to(store, "a.b.c"), DAYBOOK_OK);
        assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
    }
    daybook_store_info flushed = {.size = sizeof flushed}, merged = {.size = sizeof merged};
    assert_int_equal(daybook_info(store, &flushed, NULL), DAYBOOK_OK);
    assert_int_equal(flushed.segment_count, 4);
    assert_true(flushed.flushed_bytes == flushed.segment_bytes && flushed.merged_bytes == 0);
    assert_true(flushed.block_bytes > 0 && flushed.index_bytes > 0);
    assert_true(flushed.block_bytes + flushed.index_bytes < flushed.segment_bytes);
    while (daybook_maintain(store, NULL) == DAYBOOK_OK) {
    }
    assert_int_equal(daybook_info(store, &merged, NULL), DAYBOOK_OK);
    assert_int_equal(merged.segment_count, 1);
    assert_true(merged.flushed_bytes == flushed.flushed_bytes && merged.merged_bytes == merged.segment_bytes);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    end(&at);
}

static void merging_writes_each_byte_a_few_times(void **state) {
    (void)state;
    fixture at;
    begin(&at, 45);
    daybook_store *store = open_store(&at, DAYBOOK_OPEN_NO_BACKGROUND);
    daybook_store_info info = {.size = sizeof info};
    for (int round = 1; round <= 128; round++) {
        for (int i = 0; i < 40; i++) assert_int_equal(append_to(store, "a.b.c"), DAYBOOK_OK);
        assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
        while (daybook_maintain(store, NULL) == DAYBOOK_OK) {
        }
        assert_int_equal(daybook_info(store, &info, NULL), DAYBOOK_OK);
        assert_true(info.segment_count <= 9);
    }
    // Four at once: each of the four levels of 128 = 2 * 4 * 4 * 4 segments rewrites a byte once, not quite
    // so neatly. Taking up small segments into a large one again and again would be 20 times.
    assert_true(info.merged_bytes < 4 * info.flushed_bytes);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    end(&at);
}

// Its events are in no journal, but their removals may be.
static void a_stream_in_memory_that_was_purged_opens_again(void **state) {
    (void)state;
    fixture at;
    begin(&at, 6);
    daybook_store *store = open_store(&at, 0);
    daybook_stream_config config;
    daybook_slice subject = daybook_text("m.>");
    daybook_stream_config_init(&config);
    config.name = daybook_text("M");
    config.subjects = &subject;
    config.subject_count = 1;
    config.storage = DAYBOOK_STORAGE_MEMORY;
    assert_int_equal(daybook_stream_add(store, &config, NULL), DAYBOOK_OK);
    assert_int_equal(append_to(store, "a.b.c"), DAYBOOK_OK);
    for (int i = 0; i < 4; i++) assert_int_equal(append_to(store, "m.b.c"), DAYBOOK_OK);
    assert_int_equal(daybook_event_remove(store, config.name, 2, 0, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_stream_purge(store, config.name, NULL, NULL, NULL), DAYBOOK_OK);
    daybook_store *reader = open_store(&at, DAYBOOK_OPEN_READ_ONLY);
    assert_int_equal(count_of(reader), 1);
    assert_int_equal(daybook_close(reader, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    store = open_store(&at, 0);
    assert_int_equal(count_of(store), 1);
    // What comes takes positions of its own or theirs; the old removals do not reach it.
    for (int i = 0; i < 4; i++) assert_int_equal(append_to(store, "a.b.c"), DAYBOOK_OK);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    store = open_store(&at, 0);
    assert_int_equal(count_of(store), 5);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    end(&at);
}

static void flip_in_both_copies(fixture *at, size_t offset, uint8_t mask) {
    assert_int_equal(dbk_sim_flip(at->sim, "/s/manifest-0000000000000001", offset, mask), DAYBOOK_OK);
    assert_int_equal(dbk_sim_flip(at->sim, "/s/manifest-0000000000000001.copy", offset, mask), DAYBOOK_OK);
}

typedef struct told_log {
    unsigned warnings;
    char text[300];
} told_log;

static void take_log(void *context, int level, daybook_slice message) {
    told_log *told = context;
    if (level != DAYBOOK_LOG_WARNING) return;
    told->warnings++;
    (void)snprintf(told->text, sizeof told->text, "%.*s", (int)message.size, (const char *)message.data);
}

static void damage_to_a_copy_of_the_manifest_is_logged_and_healed(void **state) {
    (void)state;
    fixture at;
    begin(&at, 5);
    daybook_store *store = open_store(&at, 0);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    assert_int_equal(dbk_sim_flip(at.sim, "/s/manifest-0000000000000001.copy", 70, 1), DAYBOOK_OK);
    told_log told = {0};
    at.options.log = take_log;
    at.options.log_context = &told;
    // A reader tells and leaves it, a writer tells and mends it; then nothing is left to tell.
    static const struct {
        unsigned flags, warnings;
    } steps[] = {{DAYBOOK_OPEN_READ_ONLY, 1}, {0, 2}, {DAYBOOK_OPEN_READ_ONLY, 2}, {0, 2}};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        assert_int_equal(try_open(&at, steps[i].flags, &store), DAYBOOK_OK);
        assert_int_equal(told.warnings, steps[i].warnings);
        assert_non_null(strstr(told.text, "manifest-0000000000000001.copy: it is damaged at byte 70"));
        assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    }
    end(&at);
}

static void a_newer_format_is_refused(void **state) {
    (void)state;
    fixture at;
    begin(&at, 5);
    daybook_store *store = open_store(&at, 0);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    flip_in_both_copies(&at, 4, 0x04);
    assert_int_equal(try_open(&at, 0, &store), DAYBOOK_EFORMAT);
    assert_int_equal(try_open(&at, DAYBOOK_OPEN_READ_ONLY, &store), DAYBOOK_EFORMAT);
    end(&at);
}

static void what_makes_a_format_unknown_is_said(void **state) {
    (void)state;
    static const struct {
        size_t offset;
        const char *says;
    } cases[] = {{5, "manifest-0000000000000001 has format 258: this program knows formats up to 2;"},
                 {6, "manifest-0000000000000001 has checksums of kind 0: this program knows kind 1;"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fixture at;
        begin(&at, 5);
        daybook_store *store = open_store(&at, 0);
        assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
        flip_in_both_copies(&at, cases[i].offset, 0x01);
        assert_int_equal(try_open(&at, 0, &store), DAYBOOK_EFORMAT);
        assert_non_null(strstr(at.error.message, cases[i].says));
        end(&at);
    }
}

static void a_store_in_memory_needs_no_files(void **state) {
    (void)state;
    daybook_store *store = NULL;
    assert_int_equal(daybook_open(":memory:", NULL, &store, NULL), DAYBOOK_OK);
    for (int i = 0; i < 100; i++) assert_int_equal(append_to(store, "a.b.c"), DAYBOOK_OK);
    assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
    assert_int_equal(append_to(store, "a.b.c"), DAYBOOK_OK);
    assert_int_equal(count_of(store), 101);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
}

static void a_stream_in_memory_begins_empty(void **state) {
    (void)state;
    fixture at;
    begin(&at, 6);
    daybook_store *store = open_store(&at, 0);
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    daybook_slice subject = daybook_text("tick.>");
    config.name = daybook_text("TICKS");
    config.subjects = &subject;
    config.subject_count = 1;
    config.storage = DAYBOOK_STORAGE_MEMORY;
    assert_int_equal(daybook_stream_add(store, &config, NULL), DAYBOOK_OK);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 10; i++) {
            assert_int_equal(append_to(store, "tick.1.tock"), DAYBOOK_OK);
            assert_int_equal(append_to(store, "orders.1.placed"), DAYBOOK_OK);
            if (i == 5 && round == 1) assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
        }
        daybook_stream_info *info = NULL;
        assert_int_equal(daybook_stream_get_info(store, daybook_text("TICKS"), &info, NULL), DAYBOOK_OK);
        assert_int_equal(info->message_count, 10);
        assert_int_equal(info->last_seq, 10);
        daybook_stream_info_release(store, info);
        assert_int_equal(count_of(store), 10 * (unsigned)(round + 1) + 10);
        assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
        store = open_store(&at, 0);
        assert_int_equal(count_of(store), 10 * (unsigned)(round + 1));
    }
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    end(&at);
}

static void opening_reads_no_event_block(void **state) {
    (void)state;
    fixture at;
    begin(&at, 7);
    daybook_store *store = open_store(&at, 0);
    for (int i = 0; i < 3000; i++) {
        char subject[40];
        (void)snprintf(subject, sizeof subject, "orders.%d.placed", i);
        assert_int_equal(append_to(store, subject), DAYBOOK_OK);
        if (i % 700 == 699) assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
    }
    while (daybook_maintain(store, NULL) == DAYBOOK_OK) {
    }
    assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    dbk_sim_reset_counts(at.sim);
    store = open_store(&at, 0);
    dbk_sim_counts segments = dbk_sim_count(at.sim, DBK_SIM_READ, ".dbs");
    assert_true(segments.calls <= 16);
    assert_true(segments.bytes < 24 << 10);
    // A clean end is known from the manifest: the rest of the journal is not searched.
    assert_true(dbk_sim_count(at.sim, DBK_SIM_READ, "journal").bytes <= 2 << 20);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    end(&at);
}

// Batches of nearly half the smallest journal, one after the other, with background threads: each finds room.
static void large_batches_find_room_in_a_small_journal(void **state) {
    (void)state;
    enum { BATCH = 95, ROUNDS = 15 };
    fixture at;
    begin(&at, 9);
    at.options.flags = 0;
    daybook_store *store = open_store(&at, 0);
    static const char data[20000];
    static daybook_event events[BATCH];
    for (unsigned i = 0; i < BATCH; i++) {
        daybook_event_init(&events[i]);
        events[i].subject = daybook_text("orders.1.placed");
        events[i].data = daybook_bytes(data, sizeof data);
    }
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    for (unsigned round = 0; round < ROUNDS; round++) {
        daybook_status status = daybook_append(store, events, BATCH, &options, NULL, &at.error);
        if (status != DAYBOOK_OK) print_error("round %u: %s\n", round, at.error.message);
        assert_int_equal(status, DAYBOOK_OK);
    }
    assert_int_equal(count_of(store), BATCH * ROUNDS);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    end(&at);
}

// The disk fills up: appends are refused before anything is lost, and go on when there is space again.
static void a_full_disk_refuses_and_resumes(void **state) {
    (void)state;
    fixture at;
    begin(&at, 10);
    at.options.flags = 0;
    daybook_store *store = open_store(&at, 0);
    dbk_sim_set_capacity(at.sim, 4500 << 10);
    unsigned acknowledged = 0;
    daybook_status status = DAYBOOK_OK;
    for (unsigned i = 0; i < 3000 && status == DAYBOOK_OK; i++) {
        status = append_to(store, "orders.1.placed");
        acknowledged += status == DAYBOOK_OK;
    }
    assert_int_equal(count_of(store), acknowledged);
    dbk_sim_set_capacity(at.sim, 0);
    for (unsigned tries = 0; tries < 100 && status != DAYBOOK_OK; tries++) {
        status = append_to(store, "orders.1.placed");
        acknowledged += status == DAYBOOK_OK;
        if (status != DAYBOOK_OK) assert_int_equal(status, DAYBOOK_ENOSPC);
        if (status != DAYBOOK_OK) (void)daybook_flush(store, NULL);
    }
    assert_int_equal(status, DAYBOOK_OK);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    store = open_store(&at, 0);
    assert_int_equal(count_of(store), acknowledged);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    end(&at);
}

// The process or the power goes away at every step of a first opening, then of the second.
static void creation_is_whole_or_nothing(void **state) {
    (void)state;
    bool finished = false;
    for (uint64_t steps = 1; !finished; steps++) {
        for (uint64_t seed = 1; seed <= 6; seed++) {
            fixture at;
            begin(&at, seed * 977 + steps);
            dbk_sim_stop_after(at.sim, steps);
            daybook_store *store = NULL;
            bool opened = try_open(&at, 0, &store) == DAYBOOK_OK;
            bool appended = opened && append_to(store, "a.b.c") == DAYBOOK_OK;
            if (opened) (void)daybook_close(store, NULL);
            finished = !dbk_sim_is_stopped(at.sim);
            dbk_sim_crash(at.sim, seed % 3 == 0 ? DBK_SIM_KILL : DBK_SIM_POWER_LOSS);
            daybook_status status = try_open(&at, DAYBOOK_OPEN_MUST_EXIST, &store);
            if (status != DAYBOOK_OK && status != DAYBOOK_ENOTFOUND) {
                print_error("step %u seed %u: %s\n", (unsigned)steps, (unsigned)seed, at.error.message);
            }
            assert_true(status == DAYBOOK_OK || (status == DAYBOOK_ENOTFOUND && !opened));
            if (status == DAYBOOK_OK) assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
            store = open_store(&at, 0);
            assert_true(count_of(store) >= (appended ? 1u : 0u));
            assert_int_equal(append_to(store, "a.b.c"), DAYBOOK_OK);
            assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
            end(&at);
        }
    }
}

// A killed creation may have left the name of the store unsynced: the next opening makes it durable before
// anything is acknowledged, also where it finds everything else in order.
static void the_name_that_a_killed_creation_left_is_made_durable(void **state) {
    (void)state;
    bool finished = false;
    for (uint64_t steps = 1; !finished; steps++) {
        fixture at;
        begin(&at, steps);
        dbk_sim_stop_after(at.sim, steps);
        daybook_store *store = NULL;
        if (try_open(&at, 0, &store) == DAYBOOK_OK) (void)daybook_close(store, NULL);
        finished = !dbk_sim_is_stopped(at.sim);
        dbk_sim_crash(at.sim, DBK_SIM_KILL);
        store = open_store(&at, 0);
        assert_int_equal(append_to(store, "a.b.c"), DAYBOOK_OK);
        dbk_sim_stop_now(at.sim);
        (void)daybook_close(store, NULL);
        dbk_sim_crash(at.sim, DBK_SIM_POWER_LOSS_DROP_ALL);
        store = open_store(&at, DAYBOOK_OPEN_MUST_EXIST);
        assert_int_equal(count_of(store), 1);
        assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
        end(&at);
    }
}

// Every call to the outside fails once while a store is made, opened, used and closed.
static void every_failing_call_is_answered(void **state) {
    (void)state;
    static const int errors[] = {EIO, ENOSPC};
    for (size_t kind = 0; kind < 2; kind++) {
        bool hit = true;
        for (uint64_t nth = 1; hit; nth++) {
            fixture at;
            begin(&at, nth);
            if (nth % 2 == 0) {
                daybook_store *first = open_store(&at, 0);
                assert_int_equal(append_to(first, "a.b.c"), DAYBOOK_OK);
                assert_int_equal(daybook_flush(first, NULL), DAYBOOK_OK);
                assert_int_equal(append_to(first, "a.b.c"), DAYBOOK_OK);
                assert_int_equal(daybook_close(first, NULL), DAYBOOK_OK);
            }
            dbk_sim_fault fault = {.kind = DBK_SIM_ANY, .nth = nth, .error = errors[kind]};
            assert_int_equal(dbk_sim_fail(at.sim, &fault), DAYBOOK_OK);
            uint64_t before = dbk_sim_fault_hits(at.sim);
            unsigned acknowledged = nth % 2 == 0 ? 2 : 0;
            daybook_store *store = NULL;
            daybook_status status = try_open(&at, 0, &store);
            if (status == DAYBOOK_OK) {
                acknowledged += append_to(store, "a.b.c") == DAYBOOK_OK;
                (void)daybook_flush(store, NULL);
                acknowledged += append_to(store, "a.b.c") == DAYBOOK_OK;
                (void)daybook_close(store, NULL);
            } else {
                assert_true(at.error.message[0] != '\0');
            }
            hit = dbk_sim_fault_hits(at.sim) > before;
            dbk_sim_clear_faults(at.sim);
            store = open_store(&at, 0);
            assert_true(count_of(store) >= acknowledged);
            assert_int_equal(append_to(store, "a.b.c"), DAYBOOK_OK);
            assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
            end(&at);
        }
    }
}

// The witness makes the journal's end certain: a close that could not write it says so.
static void a_close_without_witness_says_so(void **state) {
    (void)state;
    fixture at;
    begin(&at, 9);
    daybook_store *store = open_store(&at, 0);
    assert_int_equal(append_to(store, "a.b.c"), DAYBOOK_OK);
    const dbk_sim_fault fault = {.kind = DBK_SIM_WRITE, .suffix = "journal", .nth = 1, .error = EIO};
    assert_int_equal(dbk_sim_fail(at.sim, &fault), DAYBOOK_OK);
    assert_int_not_equal(daybook_close(store, &at.error), DAYBOOK_OK);
    assert_true(at.error.message[0] != '\0');
    dbk_sim_clear_faults(at.sim);
    store = open_store(&at, 0);
    assert_int_equal(count_of(store), 1);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    end(&at);
}

// Every allocation fails once while a store with a segment and a journal is opened and closed.
static void every_failing_allocation_is_answered(void **state) {
    (void)state;
    for (unsigned flags = 0; flags <= DAYBOOK_OPEN_READ_ONLY; flags++) {
        fixture at;
        begin(&at, 8);
        daybook_store *store = open_store(&at, 0);
        for (int i = 0; i < 20; i++) assert_int_equal(append_to(store, "a.b.c"), DAYBOOK_OK);
        assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
        assert_int_equal(append_to(store, "a.b.c"), DAYBOOK_OK);
        assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
        fault_allocator faults;
        fault_allocator_init(&faults);
        at.options.allocator = &faults.allocator;
        for (uint64_t nth = 1;; nth++) {
            fault_allocator_fail(&faults, nth, false);
            daybook_status status = try_open(&at, flags, &store);
            bool failed = fault_allocator_has_failed(&faults);
            fault_allocator_fail(&faults, 0, false);
            if (status == DAYBOOK_OK) {
                assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
            } else {
                assert_int_equal(status, DAYBOOK_ENOMEM);
            }
            assert_int_equal(fault_allocator_live(&faults), 0);
            if (!failed) break;
        }
        end(&at);
    }
}

static void add_limited(daybook_store *store) {
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    daybook_slice subjects = daybook_text("limited.>");
    config.name = daybook_text("LIMITED");
    config.subjects = &subjects;
    config.subject_count = 1;
    config.max_msgs_per_subject = 1;
    assert_int_equal(daybook_stream_add(store, &config, NULL), DAYBOOK_OK);
}

// Each of 1000 subjects twice, in one commit: the trim of the older ones rides with the next, which never
// comes.
static void append_untrimmed(daybook_store *store) {
    enum { COUNT = 2000 };
    static daybook_event events[COUNT];
    static char subjects[COUNT][32];
    static const char data[200];
    for (int i = 0; i < COUNT; i++) {
        (void)snprintf(subjects[i], sizeof subjects[i], "limited.%d", i % (COUNT / 2));
        daybook_event_init(&events[i]);
        events[i].subject = daybook_text(subjects[i]);
        events[i].data = daybook_bytes(data, sizeof data);
    }
    assert_int_equal(daybook_append(store, events, COUNT, NULL, NULL, NULL), DAYBOOK_OK);
}

// Memory tables that filled up in recovery are flushed in the background while the opening still enforces the
// limits of what they hold: a crash then would meet them in segments, and nothing that asks for it.
static void a_flush_while_opening_leaves_limits_owed(void **state) {
    (void)state;
    fixture at;
    begin(&at, 5);
    at.options.memtable_bytes = 256 << 10;
    daybook_store *store = open_store(&at, 0);
    add_limited(store);
    append_untrimmed(store);
    dbk_sim_stop_now(at.sim);
    (void)daybook_close(store, NULL);
    dbk_sim_crash(at.sim, DBK_SIM_KILL);
    store = open_store(&at, 0);
    assert_int_equal(count_of(store), 1000);
    assert_true(store->maintenance->cut.valid);
    assert_int_equal(store->maintenance->cut.trim_from, 1);
    // What this opening enforced is enforced: the next cut says so.
    assert_int_equal(append_to(store, "limited.1"), DAYBOOK_OK);
    assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
    assert_int_equal(store->manifest.trim_from, 2002);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    end(&at);
}

static void limits_that_are_being_enforced_are_said(void **state) {
    (void)state;
    fixture at;
    begin(&at, 6);
    daybook_store *store = open_store(&at, 0);
    add_limited(store);
    assert_int_equal(append_to(store, "limited.1"), DAYBOOK_OK);
    dbk_trim_hold late, early;
    dbk_commit_hold_trim(store, &early, 1);
    dbk_commit_hold_trim(store, &late, 2);
    assert_int_equal(append_to(store, "limited.2"), DAYBOOK_OK);
    assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
    assert_int_equal(store->manifest.trim_from, 1);
    dbk_commit_release_trim(store, &early);
    assert_int_equal(append_to(store, "limited.3"), DAYBOOK_OK);
    assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
    assert_int_equal(store->manifest.trim_from, 2);
    dbk_commit_release_trim(store, &late);
    assert_int_equal(append_to(store, "limited.4"), DAYBOOK_OK);
    assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
    assert_int_equal(store->manifest.trim_from, 5);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    end(&at);
}

static uint64_t position_of_append(daybook_store *store, const char *subject) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    daybook_receipt receipt = {.size = sizeof receipt};
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    assert_int_equal(daybook_append(store, &event, 1, &options, &receipt, NULL), DAYBOOK_OK);
    return receipt.position;
}

static daybook_store *crash_and_open(fixture *at, daybook_store *store) {
    dbk_sim_stop_now(at->sim);
    (void)daybook_close(store, NULL);
    dbk_sim_crash(at->sim, DBK_SIM_POWER_LOSS);
    return open_store(at, 0);
}

// Who read an event in memory may have kept its position: what comes after a crash lies behind it.
static void positions_of_events_in_memory_are_not_given_again(void **state) {
    (void)state;
    fixture at;
    begin(&at, 8);
    daybook_store *store = open_store(&at, 0);
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    daybook_slice subjects = daybook_text("mem.>");
    config.name = daybook_text("MEM");
    config.subjects = &subjects;
    config.subject_count = 1;
    config.storage = DAYBOOK_STORAGE_MEMORY;
    assert_int_equal(daybook_stream_add(store, &config, NULL), DAYBOOK_OK);
    uint64_t last = position_of_append(store, "orders.1.placed");
    for (int life = 0; life < 8; life++) {
        uint64_t syncs = dbk_sim_steps(at.sim);
        for (int i = 0; i < 100; i++) {
            uint64_t next = position_of_append(store, "mem.1");
            assert_int_equal(next, last + 1);
            last = next;
        }
        assert_in_range(dbk_sim_steps(at.sim) - syncs, 0, 10); // one reservation, not a hundred
        // Before and behind a flush, which gives up the journal; with and without events behind in files.
        if (life % 2 == 1) assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
        if (life % 4 >= 2) last = position_of_append(store, "mem.1");
        store = crash_and_open(&at, store);
        uint64_t position = position_of_append(store, "orders.1.placed");
        assert_true(position > last);
        assert_true(position <= last + 65536);
        last = position;
        if (life % 3 == 0) last = position_of_append(store, "mem.2");
        // A store that was closed goes on where it was.
        assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
        store = open_store(&at, 0);
        position = position_of_append(store, "orders.1.placed");
        assert_int_equal(position, last + 1);
        last = position;
    }
    assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
    assert_int_equal(count_of(store), 1 + 8 * 2);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    daybook_open_options options = at.options;
    assert_int_equal(daybook_verify("/s", &options, NULL, NULL, NULL, NULL, &at.error), DAYBOOK_OK);
    end(&at);
}

static int add_manifest_name(void *context, const daybook_vfs_entry *entry) {
    char(*names)[64] = context;
    if (strncmp(entry->name, "manifest-", 9) != 0) return 0;
    for (size_t i = 0; i < 4; i++) {
        if (names[i][0] != '\0') continue;
        (void)snprintf(names[i], sizeof names[i], "/s/%.50s", entry->name);
        break;
    }
    return 0;
}

static void remove_manifest(fixture *at) {
    char names[4][64] = {""};
    assert_int_equal(at->vfs->list(at->vfs, "/s", add_manifest_name, names), 0);
    for (size_t i = 0; i < 4 && names[i][0] != '\0'; i++)
        assert_int_equal(at->vfs->unlink(at->vfs, names[i]), 0);
}

// Up to where positions are spent only the manifest said, and it is lost, or set aside: what comes lies
// behind them all the same.
static void a_rebuilt_manifest_gives_no_position_again(void **state) {
    (void)state;
    for (int is_lost = 0; is_lost < 2; is_lost++) {
        fixture at;
        begin(&at, 9);
        daybook_store *store = open_store(&at, 0);
        daybook_stream_config config;
        daybook_stream_config_init(&config);
        daybook_slice subjects = daybook_text("mem.>");
        config.name = daybook_text("MEM");
        config.subjects = &subjects;
        config.subject_count = 1;
        config.storage = DAYBOOK_STORAGE_MEMORY;
        assert_int_equal(daybook_stream_add(store, &config, NULL), DAYBOOK_OK);
        (void)position_of_append(store, "mem.1"); // reserves
        for (int i = 0; i < 600; i++)
            (void)position_of_append(store, "orders.1.placed"); // pages of the journal
        // Flushes, and overwrites what the journal has given up: the reservation, too.
        assert_int_equal(daybook_event_remove(store, daybook_text("ORDERS"), 1, 1, NULL), DAYBOOK_OK);
        uint64_t last = 0;
        for (int i = 0; i < 300; i++) last = position_of_append(store, "mem.1");
        dbk_sim_stop_now(at.sim);
        (void)daybook_close(store, NULL);
        dbk_sim_crash(at.sim, DBK_SIM_KILL);
        if (is_lost != 0) {
            remove_manifest(&at);
            assert_int_equal(daybook_repair("/s", &at.options, 0, NULL, NULL, &at.error), DAYBOOK_OK);
        } else {
            assert_int_equal(daybook_rebuild("/s", &at.options, 0, NULL, NULL, &at.error), DAYBOOK_OK);
        }
        store = open_store(&at, 0);
        assert_true(position_of_append(store, "orders.1.placed") > last);
        assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
        end(&at);
    }
}

// ---- While others make or change the store ------------------------------------------------------------------

// A directory as others change it while it is looked at. The lock is not held at that time.
static struct {
    dbk_sim *sim;
    unsigned shown_manifests;  // listings before these
    unsigned hidden_manifests; // listings that meet a manifest neither before nor behind its replacement
    unsigned gone_manifests;   // files of it that are replaced between a listing and their opening
    bool creates; // somebody makes the store before the journal of an unfinished creation is read
    bool undoes;  // ... or takes that journal away
    int (*visit)(void *context, const daybook_vfs_entry *entry);
    void *visit_context;
} others;

static int visit_but_manifests(void *context, const daybook_vfs_entry *entry) {
    (void)context;
    return strncmp(entry->name, "manifest-", 9) == 0 ? 0 : others.visit(others.visit_context, entry);
}

static int list_beside_others(daybook_vfs *vfs, const char *path,
                              int (*visit)(void *context, const daybook_vfs_entry *entry), void *context) {
    (void)vfs;
    daybook_vfs *plain = dbk_sim_vfs(others.sim);
    if (others.shown_manifests > 0 || others.hidden_manifests == 0) {
        if (others.shown_manifests > 0) others.shown_manifests--;
        return plain->list(plain, path, visit, context);
    }
    others.hidden_manifests--;
    others.visit = visit;
    others.visit_context = context;
    return plain->list(plain, path, visit_but_manifests, NULL);
}

static int open_beside_others(daybook_vfs *vfs, const char *path, unsigned flags, daybook_file **file_out) {
    daybook_vfs *plain = dbk_sim_vfs(others.sim);
    if (strcmp(path, "/s/journal") == 0 && others.creates) {
        others.creates = false;
        fixture at = {.sim = others.sim, .vfs = plain};
        daybook_open_options_init(&at.options);
        at.options.vfs = plain;
        daybook_store *store = open_store(&at, 0);
        assert_int_equal(append_to(store, "orders.1.placed"), DAYBOOK_OK);
        assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    }
    if (strcmp(path, "/s/journal") == 0 && others.undoes) {
        others.undoes = false;
        assert_int_equal(plain->unlink(plain, path), 0);
    }
    bool creates = (flags & DAYBOOK_VFS_CREATE) != 0;
    if (others.gone_manifests > 0 && !creates && strstr(path, "/manifest-") != NULL) {
        others.gone_manifests--;
        return -ENOENT;
    }
    return plain->open(vfs, path, flags, file_out);
}

static void look_beside_others(fixture *at, daybook_vfs *vfs_out) {
    memset(&others, 0, sizeof others);
    others.sim = at->sim;
    *vfs_out = *at->vfs;
    vfs_out->list = list_beside_others;
    vfs_out->open = open_beside_others;
    at->options.vfs = vfs_out;
}

static void begin_unfinished(fixture *at) {
    begin(at, 31);
    assert_int_equal(at->vfs->make_directory(at->vfs, "/s"), 0);
    daybook_file *file = NULL;
    assert_int_equal(at->vfs->open(at->vfs, "/s/journal", DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE, &file), 0);
    static const uint8_t zeros[4096];
    assert_int_equal(at->vfs->write_at(at->vfs, file, zeros, sizeof zeros, 0), sizeof zeros);
    at->vfs->close(at->vfs, file);
}

static void a_store_that_others_are_making_is_opened(void **state) {
    (void)state;
    fixture at;
    daybook_vfs vfs;
    begin_unfinished(&at);
    look_beside_others(&at, &vfs);
    others.creates = true;
    daybook_store *store = open_store(&at, 0);
    assert_false(others.creates);
    assert_int_equal(count_of(store), 1);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    end(&at);
}

static void what_others_began_and_took_back_is_made(void **state) {
    (void)state;
    fixture at;
    daybook_vfs vfs;
    begin_unfinished(&at);
    look_beside_others(&at, &vfs);
    others.undoes = true;
    daybook_store *store = open_store(&at, 0);
    assert_false(others.undoes);
    assert_int_equal(count_of(store), 0);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    end(&at);
}

static void a_manifest_that_is_being_replaced_is_not_lost(void **state) {
    (void)state;
    static const unsigned ways[] = {0, DAYBOOK_OPEN_READ_ONLY};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        fixture at;
        daybook_vfs vfs;
        begin(&at, 32);
        daybook_store *store = open_store(&at, 0);
        assert_int_equal(append_to(store, "orders.1.placed"), DAYBOOK_OK);
        assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
        assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
        look_beside_others(&at, &vfs);
        others.hidden_manifests = 3;
        store = open_store(&at, ways[i]);
        assert_int_equal(others.hidden_manifests, 0);
        assert_int_equal(count_of(store), 1);
        assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
        // Where it stays away it is lost.
        others.hidden_manifests = 1000;
        assert_int_equal(try_open(&at, ways[i], &store), DAYBOOK_EDAMAGED);
        assert_non_null(strstr(at.error.message, "no manifest"));
        end(&at);
    }
}

static daybook_status verify_it(fixture *at) {
    return daybook_verify("/s", &at->options, NULL, NULL, NULL, NULL, &at->error);
}

static daybook_status repair_nothing(fixture *at) {
    return daybook_repair("/s", &at->options, 1, NULL, NULL, &at->error);
}

static daybook_status back_it_up(fixture *at) {
    daybook_store *store = NULL;
    DBK_TRY(try_open(at, DAYBOOK_OPEN_READ_ONLY, &store));
    daybook_status status = daybook_backup(store, "/b", NULL, NULL, &at->error);
    (void)daybook_close(store, NULL);
    return status;
}

static daybook_status restore_it(fixture *at) {
    static unsigned count;
    char path[16];
    (void)snprintf(path, sizeof path, "/r%u", count++);
    return daybook_restore("/b", path, &at->options, NULL, NULL, &at->error);
}

// Where there is one already: that is what it says, and nothing else.
static daybook_status restore_onto_it(fixture *at) {
    daybook_status status = daybook_restore("/b", "/s", &at->options, NULL, NULL, &at->error);
    return status == DAYBOOK_EEXISTS ? DAYBOOK_OK : DAYBOOK_EINVALID;
}

// Whatever looks at a store or a backup without its lock, whichever look misses the manifest.
static void a_manifest_is_looked_for_by_all(void **state) {
    (void)state;
    static daybook_status (*const ways[])(fixture * at) = {verify_it, repair_nothing, back_it_up, restore_it,
                                                           restore_onto_it};
    fixture at;
    daybook_vfs vfs;
    begin(&at, 33);
    daybook_store *store = open_store(&at, 0);
    assert_int_equal(append_to(store, "orders.1.placed"), DAYBOOK_OK);
    assert_int_equal(daybook_flush(store, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_backup(store, "/b", NULL, NULL, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        bool met = true;
        for (unsigned shown = 0; met; shown++) {
            for (unsigned gone = 0; gone <= 2; gone += 2) {
                look_beside_others(&at, &vfs);
                others.shown_manifests = shown;
                others.hidden_manifests = 3;
                others.gone_manifests = gone;
                if (ways[i](&at) != DAYBOOK_OK)
                    fail_msg("way %u, listing %u: %s", (unsigned)i, shown, at.error.message);
                at.options.vfs = at.vfs;
                met = others.hidden_manifests == 0;
                assert_true(shown > 0 || met);
            }
        }
    }
    end(&at);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_store_is_made_and_found_again),
        cmocka_unit_test(a_second_writer_is_refused_by_name),
        cmocka_unit_test(what_is_not_a_store_is_left_alone),
        cmocka_unit_test(files_of_others_in_a_store_stay),
        cmocka_unit_test(info_tells_what_segments_hold_and_cost),
        cmocka_unit_test(merging_writes_each_byte_a_few_times),
        cmocka_unit_test(a_stream_in_memory_that_was_purged_opens_again),
        cmocka_unit_test(damage_to_a_copy_of_the_manifest_is_logged_and_healed),
        cmocka_unit_test(a_newer_format_is_refused),
        cmocka_unit_test(what_makes_a_format_unknown_is_said),
        cmocka_unit_test(a_store_in_memory_needs_no_files),
        cmocka_unit_test(a_stream_in_memory_begins_empty),
        cmocka_unit_test(opening_reads_no_event_block),
        cmocka_unit_test(large_batches_find_room_in_a_small_journal),
        cmocka_unit_test(a_full_disk_refuses_and_resumes),
        cmocka_unit_test(creation_is_whole_or_nothing),
        cmocka_unit_test(the_name_that_a_killed_creation_left_is_made_durable),
        cmocka_unit_test(every_failing_call_is_answered),
        cmocka_unit_test(a_close_without_witness_says_so),
        cmocka_unit_test(every_failing_allocation_is_answered),
        cmocka_unit_test(a_flush_while_opening_leaves_limits_owed),
        cmocka_unit_test(limits_that_are_being_enforced_are_said),
        cmocka_unit_test(positions_of_events_in_memory_are_not_given_again),
        cmocka_unit_test(a_rebuilt_manifest_gives_no_position_again),
        cmocka_unit_test(a_store_that_others_are_making_is_opened),
        cmocka_unit_test(what_others_began_and_took_back_is_made),
        cmocka_unit_test(a_manifest_that_is_being_replaced_is_not_lost),
        cmocka_unit_test(a_manifest_is_looked_for_by_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
