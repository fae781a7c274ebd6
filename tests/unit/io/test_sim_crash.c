// SPDX-License-Identifier: Apache-2.0
// What survives a crash of the simulated disk, and what can.
#include "io/sim/sim.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "io/io.h"

enum { CREATE = DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE, BLOCK = 4096, SECTOR = 512, SEEDS = 300 };

static dbk_sim *new_sim(uint64_t seed) {
    dbk_sim *sim = NULL;
    assert_int_equal(dbk_sim_new(seed, &sim), DAYBOOK_OK);
    return sim;
}

static daybook_file *open_file(daybook_vfs *vfs, const char *path, unsigned flags) {
    daybook_file *file = NULL;
    assert_int_equal(vfs->open(vfs, path, flags, &file), 0);
    return file;
}

static void write_fill(daybook_vfs *vfs, daybook_file *file, char fill, size_t size, uint64_t offset) {
    static char data[8 * BLOCK];
    assert_true(size <= sizeof data);
    memset(data, fill, size);
    assert_int_equal(vfs->write_at(vfs, file, data, size, offset), size);
}

// The file's bytes; its size is returned. `data` has room for 8 blocks.
static size_t read_all(daybook_vfs *vfs, const char *path, char *data) {
    memset(data, 0, 8 * BLOCK);
    daybook_file *file = open_file(vfs, path, DAYBOOK_VFS_READ);
    int64_t size = vfs->read_at(vfs, file, data, 8 * BLOCK, 0);
    assert_true(size >= 0);
    vfs->close(vfs, file);
    return (size_t)size;
}

static bool exists(daybook_vfs *vfs, const char *path) {
    daybook_file *file = NULL;
    int result = vfs->open(vfs, path, DAYBOOK_VFS_READ, &file);
    assert_true(result == 0 || result == -ENOENT);
    vfs->close(vfs, file);
    return result == 0;
}

static bool is_filled(const char *data, size_t size, char fill) {
    for (size_t i = 0; i < size; i++) {
        if (data[i] != fill) return false;
    }
    return true;
}

// A durable file of `blocks` blocks of 'a', opened with the flags.
static daybook_file *durable_file(daybook_vfs *vfs, size_t blocks, unsigned flags) {
    daybook_file *file = open_file(vfs, "file", CREATE | flags);
    write_fill(vfs, file, 'a', blocks * BLOCK, 0);
    assert_int_equal(vfs->sync(vfs, file), 0);
    assert_int_equal(vfs->sync_directory(vfs, "/"), 0);
    return file;
}

static void synced_bytes_survive_every_crash(void **state) {
    (void)state;
    static char data[8 * BLOCK];
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        dbk_sim *sim = new_sim(seed);
        daybook_vfs *vfs = dbk_sim_vfs(sim);
        daybook_file *file = durable_file(vfs, 4, 0);
        write_fill(vfs, file, 'b', 2 * BLOCK, BLOCK);
        assert_int_equal(vfs->sync(vfs, file), 0);
        write_fill(vfs, file, 'c', BLOCK, 3 * BLOCK); // may or may not
        vfs->close(vfs, file);
        dbk_sim_crash(sim, DBK_SIM_POWER_LOSS);
        assert_int_equal(read_all(vfs, "file", data), 4 * BLOCK);
        assert_true(is_filled(data, BLOCK, 'a'));
        assert_true(is_filled(data + BLOCK, 2 * BLOCK, 'b'));
        dbk_sim_free(sim);
    }
}

static void unsynced_bytes_meet_every_fate(void **state) {
    (void)state;
    static char data[8 * BLOCK];
    unsigned kept = 0, dropped = 0, torn_512 = 0, torn_4096 = 0, garbage = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        dbk_sim *sim = new_sim(seed);
        daybook_vfs *vfs = dbk_sim_vfs(sim);
        daybook_file *file = durable_file(vfs, 4, 0);
        write_fill(vfs, file, 'b', 2 * BLOCK, BLOCK);
        vfs->close(vfs, file);
        dbk_sim_crash(sim, DBK_SIM_POWER_LOSS);
        assert_int_equal(read_all(vfs, "file", data), 4 * BLOCK);
        // Never beyond the write.
        assert_true(is_filled(data, BLOCK, 'a'));
        assert_true(is_filled(data + 3 * BLOCK, BLOCK, 'a'));
        unsigned new_sectors = 0, old_sectors = 0, wild_sectors = 0;
        bool is_mixed_block = false;
        for (size_t at = BLOCK; at < 3 * BLOCK; at += SECTOR) {
            bool is_new = is_filled(data + at, SECTOR, 'b');
            bool is_old = is_filled(data + at, SECTOR, 'a');
            new_sectors += is_new;
            old_sectors += is_old;
            wild_sectors += !is_new && !is_old;
            if (at % BLOCK != 0 && is_new != is_filled(data + at - SECTOR, SECTOR, 'b'))
                is_mixed_block = true;
        }
        if (wild_sectors > 0)
            garbage++;
        else if (old_sectors == 0)
            kept++;
        else if (new_sectors == 0)
            dropped++;
        else if (is_mixed_block)
            torn_512++;
        else
            torn_4096++;
        dbk_sim_free(sim);
    }
    assert_true(kept > 10);
    assert_true(dropped > 10);
    assert_true(torn_512 > 5);
    assert_true(torn_4096 > 2);
    assert_true(garbage > 5);
}

static void two_unsynced_writes_survive_in_every_combination(void **state) {
    (void)state;
    static char data[8 * BLOCK];
    unsigned seen[2][2] = {{0}};
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        dbk_sim *sim = new_sim(seed);
        daybook_vfs *vfs = dbk_sim_vfs(sim);
        daybook_file *file = durable_file(vfs, 2, 0);
        write_fill(vfs, file, 'b', BLOCK, 0);
        write_fill(vfs, file, 'c', BLOCK, BLOCK);
        vfs->close(vfs, file);
        dbk_sim_crash(sim, DBK_SIM_POWER_LOSS);
        (void)read_all(vfs, "file", data);
        bool first = is_filled(data, BLOCK, 'b');
        bool second = is_filled(data + BLOCK, BLOCK, 'c');
        if (first || is_filled(data, BLOCK, 'a')) {
            if (second || is_filled(data + BLOCK, BLOCK, 'a')) seen[first][second]++;
        }
        dbk_sim_free(sim);
    }
    assert_true(seen[0][0] > 5);
    assert_true(seen[0][1] > 5); // the later without the earlier
    assert_true(seen[1][0] > 5);
    assert_true(seen[1][1] > 5);
}

static void a_sync_file_is_durable_at_each_return(void **state) {
    (void)state;
    static char data[8 * BLOCK];
    dbk_sim *sim = new_sim(1);
    daybook_vfs *vfs = dbk_sim_vfs(sim);
    daybook_file *file = durable_file(vfs, 1, DAYBOOK_VFS_SYNC);
    write_fill(vfs, file, 'b', 2 * BLOCK, BLOCK); // size, too
    dbk_sim_crash(sim, DBK_SIM_POWER_LOSS_DROP_ALL);
    vfs->close(vfs, file);
    assert_int_equal(read_all(vfs, "file", data), 3 * BLOCK);
    assert_true(is_filled(data + BLOCK, 2 * BLOCK, 'b'));
    dbk_sim_free(sim);
}

static void an_older_unsynced_write_never_covers_a_durable_one(void **state) {
    (void)state;
    static char data[8 * BLOCK];
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        dbk_sim *sim = new_sim(seed);
        daybook_vfs *vfs = dbk_sim_vfs(sim);
        daybook_file *cached = durable_file(vfs, 2, 0);
        daybook_file *durable = open_file(vfs, "file", DAYBOOK_VFS_WRITE | DAYBOOK_VFS_SYNC);
        write_fill(vfs, cached, 'b', 2 * BLOCK, 0);
        write_fill(vfs, durable, 'c', BLOCK, 0);
        vfs->close(vfs, cached);
        vfs->close(vfs, durable);
        dbk_sim_crash(sim, seed == 0 ? DBK_SIM_POWER_LOSS_DROP_ALL : DBK_SIM_POWER_LOSS);
        assert_int_equal(read_all(vfs, "file", data), 2 * BLOCK);
        assert_true(is_filled(data, BLOCK, 'c'));
        dbk_sim_free(sim);
    }
}

static void all_or_nothing_can_be_asked_for(void **state) {
    (void)state;
    static char data[8 * BLOCK];
    for (int keeps = 0; keeps < 2; keeps++) {
        dbk_sim *sim = new_sim(1);
        daybook_vfs *vfs = dbk_sim_vfs(sim);
        daybook_file *file = durable_file(vfs, 1, 0);
        write_fill(vfs, file, 'b', 2 * BLOCK, 0);
        vfs->close(vfs, open_file(vfs, "new", CREATE));
        dbk_sim_crash(sim, keeps ? DBK_SIM_POWER_LOSS_KEEP_ALL : DBK_SIM_POWER_LOSS_DROP_ALL);
        vfs->close(vfs, file);
        assert_int_equal(read_all(vfs, "file", data), keeps ? 2 * BLOCK : BLOCK);
        assert_true(is_filled(data, BLOCK, keeps ? 'b' : 'a'));
        assert_int_equal(exists(vfs, "new"), keeps);
        assert_true(dbk_sim_used_bytes(sim) == (keeps ? 2u : 1u) * BLOCK);
        dbk_sim_free(sim);
    }
}

static void a_kill_keeps_the_page_cache_but_makes_nothing_durable(void **state) {
    (void)state;
    static char data[8 * BLOCK];
    dbk_sim *sim = new_sim(1);
    daybook_vfs *vfs = dbk_sim_vfs(sim);
    daybook_file *file = durable_file(vfs, 1, 0);
    write_fill(vfs, file, 'b', BLOCK, 0);
    dbk_sim_crash(sim, DBK_SIM_KILL);
    assert_int_equal(vfs->sync(vfs, file), -EIO);
    vfs->close(vfs, file);
    (void)read_all(vfs, "file", data);
    assert_true(is_filled(data, BLOCK, 'b'));
    dbk_sim_crash(sim, DBK_SIM_POWER_LOSS_DROP_ALL);
    (void)read_all(vfs, "file", data);
    assert_true(is_filled(data, BLOCK, 'a'));
    dbk_sim_free(sim);
}

static void handles_are_invalid_after_a_crash(void **state) {
    (void)state;
    dbk_sim *sim = new_sim(1);
    daybook_vfs *vfs = dbk_sim_vfs(sim);
    daybook_file *file = durable_file(vfs, 1, 0);
    assert_int_equal(vfs->lock(vfs, file), 0);
    dbk_sim_crash(sim, DBK_SIM_POWER_LOSS);
    char data[8];
    uint64_t size = 0;
    void *mapped = NULL;
    assert_int_equal(vfs->read_at(vfs, file, data, 8, 0), -EIO);
    assert_int_equal(vfs->write_at(vfs, file, data, 8, 0), -EIO);
    assert_int_equal(vfs->sync(vfs, file), -EIO);
    assert_int_equal(vfs->truncate(vfs, file, 0), -EIO);
    assert_int_equal(vfs->file_size(vfs, file, &size), -EIO);
    assert_int_equal(vfs->lock(vfs, file), -EIO);
    assert_int_equal(vfs->map_shared(vfs, file, 8, 0, &mapped), -EIO);
    daybook_file *again = open_file(vfs, "file", DAYBOOK_VFS_WRITE);
    assert_int_equal(vfs->lock(vfs, again), 0); // the lock was released
    vfs->close(vfs, file);                      // and the dead handle takes nothing with it
    daybook_file *third = open_file(vfs, "file", DAYBOOK_VFS_WRITE);
    assert_int_equal(vfs->lock(vfs, third), -EWOULDBLOCK);
    vfs->close(vfs, again);
    vfs->close(vfs, third);
    assert_int_equal(dbk_sim_open_files(sim), 0);
    dbk_sim_free(sim);
}

static void a_name_needs_its_directory_synced(void **state) {
    (void)state;
    unsigned survived = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        dbk_sim *sim = new_sim(seed);
        daybook_vfs *vfs = dbk_sim_vfs(sim);
        assert_int_equal(vfs->make_directory(vfs, "d"), 0);
        assert_int_equal(vfs->sync_directory(vfs, "/"), 0);
        daybook_file *kept = open_file(vfs, "d/kept", CREATE);
        assert_int_equal(vfs->sync_directory(vfs, "d"), 0);
        daybook_file *file = open_file(vfs, "d/file", CREATE);
        write_fill(vfs, file, 'a', 10, 0);
        assert_int_equal(vfs->sync(vfs, file), 0); // not enough
        assert_int_equal(vfs->sync_directory(vfs, "/"), 0);
        vfs->close(vfs, file);
        vfs->close(vfs, kept);
        dbk_sim_crash(sim, DBK_SIM_POWER_LOSS);
        assert_true(exists(vfs, "d/kept"));
        if (exists(vfs, "d/file")) {
            static char data[8 * BLOCK];
            survived++;
            assert_int_equal(read_all(vfs, "d/file", data), 10);
        }
        dbk_sim_free(sim);
    }
    assert_true(survived > SEEDS / 10);
    assert_true(survived < SEEDS * 9 / 10);
}

static void a_file_in_a_lost_directory_is_lost(void **state) {
    (void)state;
    dbk_sim *sim = new_sim(1);
    daybook_vfs *vfs = dbk_sim_vfs(sim);
    assert_int_equal(vfs->make_directory(vfs, "d"), 0);
    vfs->close(vfs, open_file(vfs, "d/file", CREATE));
    assert_int_equal(vfs->sync_directory(vfs, "d"), 0);
    dbk_sim_crash(sim, DBK_SIM_POWER_LOSS_DROP_ALL); // d itself was not synced
    assert_int_equal(vfs->make_directory(vfs, "d"), 0);
    assert_false(exists(vfs, "d/file"));
    dbk_sim_free(sim);
}

static void a_rename_is_kept_or_lost_as_a_whole(void **state) {
    (void)state;
    unsigned renamed = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        dbk_sim *sim = new_sim(seed);
        daybook_vfs *vfs = dbk_sim_vfs(sim);
        static char data[8 * BLOCK];
        daybook_file *old_file = open_file(vfs, "name", CREATE);
        daybook_file *new_file = open_file(vfs, "name.tmp", CREATE);
        write_fill(vfs, old_file, 'a', 3, 0);
        write_fill(vfs, new_file, 'b', 5, 0);
        assert_int_equal(vfs->sync(vfs, old_file), 0);
        assert_int_equal(vfs->sync(vfs, new_file), 0);
        assert_int_equal(vfs->sync_directory(vfs, "/"), 0);
        vfs->close(vfs, old_file);
        vfs->close(vfs, new_file);
        assert_int_equal(vfs->rename(vfs, "name.tmp", "name"), 0);
        assert_int_equal(read_all(vfs, "name", data), 5);
        dbk_sim_crash(sim, DBK_SIM_POWER_LOSS);
        size_t size = read_all(vfs, "name", data);
        assert_true(size == 3 || size == 5);
        assert_int_equal(exists(vfs, "name.tmp"), size == 3);
        renamed += size == 5;
        dbk_sim_free(sim);
    }
    assert_true(renamed > SEEDS / 10);
    assert_true(renamed < SEEDS * 9 / 10);
}

static void an_unlinked_name_may_come_back(void **state) {
    (void)state;
    static char data[8 * BLOCK];
    dbk_sim *sim = new_sim(1);
    daybook_vfs *vfs = dbk_sim_vfs(sim);
    vfs->close(vfs, durable_file(vfs, 1, 0));
    assert_int_equal(vfs->unlink(vfs, "file"), 0);
    assert_false(exists(vfs, "file"));
    dbk_sim_crash(sim, DBK_SIM_POWER_LOSS_DROP_ALL);
    assert_int_equal(read_all(vfs, "file", data), BLOCK);
    assert_int_equal(vfs->unlink(vfs, "file"), 0);
    assert_int_equal(vfs->sync_directory(vfs, "/"), 0);
    dbk_sim_crash(sim, DBK_SIM_POWER_LOSS);
    assert_false(exists(vfs, "file"));
    assert_true(dbk_sim_used_bytes(sim) == 0);
    dbk_sim_free(sim);
}

static void a_recreated_name_is_old_new_or_gone(void **state) {
    (void)state;
    unsigned seen[3] = {0};
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        dbk_sim *sim = new_sim(seed);
        daybook_vfs *vfs = dbk_sim_vfs(sim);
        static char data[8 * BLOCK];
        vfs->close(vfs, durable_file(vfs, 1, 0));
        assert_int_equal(vfs->unlink(vfs, "file"), 0);
        daybook_file *file = open_file(vfs, "file", CREATE | DAYBOOK_VFS_EXCLUSIVE);
        write_fill(vfs, file, 'n', 10, 0);
        assert_int_equal(vfs->sync(vfs, file), 0);
        vfs->close(vfs, file);
        dbk_sim_crash(sim, DBK_SIM_POWER_LOSS);
        if (!exists(vfs, "file")) {
            seen[2]++;
        } else {
            size_t size = read_all(vfs, "file", data);
            assert_true(size == 10 || size == BLOCK);
            seen[size == 10]++;
        }
        dbk_sim_free(sim);
    }
    assert_true(seen[0] > 5 && seen[1] > 5 && seen[2] > 5);
}

static void a_truncation_needs_a_sync(void **state) {
    (void)state;
    static char data[8 * BLOCK];
    dbk_sim *sim = new_sim(1);
    daybook_vfs *vfs = dbk_sim_vfs(sim);
    daybook_file *file = durable_file(vfs, 2, 0);
    assert_int_equal(vfs->truncate(vfs, file, 10), 0);
    dbk_sim_crash(sim, DBK_SIM_POWER_LOSS_DROP_ALL);
    vfs->close(vfs, file);
    assert_int_equal(read_all(vfs, "file", data), 2 * BLOCK);
    file = open_file(vfs, "file", DAYBOOK_VFS_WRITE);
    assert_int_equal(vfs->truncate(vfs, file, 10), 0);
    assert_int_equal(vfs->truncate(vfs, file, 20), 0);
    assert_int_equal(vfs->sync(vfs, file), 0);
    dbk_sim_crash(sim, DBK_SIM_POWER_LOSS_DROP_ALL);
    vfs->close(vfs, file);
    assert_int_equal(read_all(vfs, "file", data), 20);
    assert_true(is_filled(data, 10, 'a'));
    assert_true(is_filled(data + 10, 10, 0));
    dbk_sim_free(sim);
}

static void what_a_failed_sync_lost_stays_lost(void **state) {
    (void)state;
    static char data[8 * BLOCK];
    dbk_sim *sim = new_sim(1);
    daybook_vfs *vfs = dbk_sim_vfs(sim);
    daybook_file *file = durable_file(vfs, 2, 0);
    write_fill(vfs, file, 'b', BLOCK, 0);
    const dbk_sim_fault fault = {.kind = DBK_SIM_SYNC, .nth = 1, .error = EIO};
    assert_int_equal(dbk_sim_fail(sim, &fault), DAYBOOK_OK);
    assert_int_equal(vfs->sync(vfs, file), -EIO);
    write_fill(vfs, file, 'c', BLOCK, BLOCK);
    assert_int_equal(vfs->sync(vfs, file), 0); // reported once
    (void)read_all(vfs, "file", data);
    assert_true(is_filled(data, BLOCK, 'b')); // and still shown
    dbk_sim_crash(sim, DBK_SIM_POWER_LOSS_KEEP_ALL);
    vfs->close(vfs, file);
    (void)read_all(vfs, "file", data);
    assert_true(is_filled(data, BLOCK, 'a'));
    assert_true(is_filled(data + BLOCK, BLOCK, 'c'));
    dbk_sim_free(sim);
}

static void direct_reads_and_an_emptied_cache_show_what_a_failed_sync_lost(void **state) {
    (void)state;
    static _Alignas(BLOCK) char data[8 * BLOCK];
    dbk_sim *sim = new_sim(1);
    daybook_vfs *vfs = dbk_sim_vfs(sim);
    daybook_file *file = durable_file(vfs, 2, 0);
    write_fill(vfs, file, 'b', BLOCK, 0);
    const dbk_sim_fault fault = {.kind = DBK_SIM_SYNC, .nth = 1, .error = EIO};
    assert_int_equal(dbk_sim_fail(sim, &fault), DAYBOOK_OK);
    assert_int_equal(vfs->sync(vfs, file), -EIO);
    write_fill(vfs, file, 'c', BLOCK, BLOCK); // waits to be written: everybody sees it
    daybook_file *direct = open_file(vfs, "file", DAYBOOK_VFS_READ | DAYBOOK_VFS_DIRECT);
    assert_int_equal(vfs->read_at(vfs, direct, data, 2 * BLOCK, 0), 2 * BLOCK);
    assert_true(is_filled(data, BLOCK, 'a'));
    assert_true(is_filled(data + BLOCK, BLOCK, 'c'));
    vfs->close(vfs, direct);
    vfs->close(vfs, file);
    (void)read_all(vfs, "file", data);
    assert_true(is_filled(data, BLOCK, 'b'));
    dbk_sim_evict(sim);
    (void)read_all(vfs, "file", data);
    assert_true(is_filled(data, BLOCK, 'a'));
    assert_true(is_filled(data + BLOCK, BLOCK, 'c'));
    dbk_sim_free(sim);
}

// A little of everything that changes a disk, a mapping too; goes on as far as it can when the disk stops.
static void work_a_little(daybook_vfs *vfs) {
    static char data[4 * BLOCK];
    daybook_file *files[3] = {NULL};
    void *mapped = NULL;
    (void)vfs->open(vfs, "file", CREATE, &files[0]);
    if (files[0] == NULL) return;
    memset(data, 'a', sizeof data);
    (void)vfs->write_at(vfs, files[0], data, 4 * BLOCK, 0);
    (void)vfs->sync(vfs, files[0]);
    (void)vfs->sync_directory(vfs, "/");
    memset(data, 'b', sizeof data);
    (void)vfs->write_at(vfs, files[0], data, BLOCK, BLOCK);
    (void)vfs->sync(vfs, files[0]);
    (void)vfs->open(vfs, "file", DAYBOOK_VFS_WRITE | DAYBOOK_VFS_SYNC, &files[1]);
    if (files[1] != NULL) {
        memset(data, 'c', sizeof data);
        (void)vfs->write_at(vfs, files[1], data, 2 * BLOCK, 0);
        (void)vfs->write_at(vfs, files[0], data, BLOCK, 2 * BLOCK);
        (void)vfs->write_at(vfs, files[1], data, 100, 50);
    }
    (void)vfs->map_shared(vfs, files[0], BLOCK, 1, &mapped);
    if (mapped != NULL) ((uint32_t *)mapped)[7] = 0x77777777;
    (void)vfs->make_directory(vfs, "d");
    (void)vfs->open(vfs, "d/one", CREATE, &files[2]);
    (void)vfs->link(vfs, "file", "d/two");
    (void)vfs->sync_directory(vfs, "d");
    (void)vfs->rename(vfs, "d/one", "d/three");
    (void)vfs->truncate(vfs, files[0], 3 * BLOCK + 10);
    (void)vfs->sync_directory(vfs, "/");
    (void)vfs->unlink(vfs, "d/three");
    vfs->unmap_shared(vfs, mapped, BLOCK);
    for (size_t i = 0; i < 3; i++) vfs->close(vfs, files[i]);
}

typedef struct watcher {
    dbk_sim *sim;
    dbk_sim *clones[2][64];
    uint64_t count;
} watcher;

static void take_clones(void *context, uint64_t step) {
    watcher *watch = context;
    assert_int_equal(step, watch->count + 1);
    for (int i = 0; i < 2; i++)
        assert_int_equal(dbk_sim_clone(watch->sim, step, &watch->clones[i][watch->count]), DAYBOOK_OK);
    watch->count++;
}

static int list_entry(void *context, const daybook_vfs_entry *entry) {
    char *text = context;
    char line[300];
    (void)snprintf(line, sizeof line, "%s %u %d;", entry->name, (unsigned)entry->size, entry->is_directory);
    strcat(text, line);
    return 0;
}

static void assert_same_disk(dbk_sim *one, dbk_sim *other) {
    static char data[2][8 * BLOCK];
    static const char *const files[] = {"file", "d/one", "d/two", "d/three"};
    static const char *const directories[] = {"/", "d"};
    for (size_t i = 0; i < 2; i++) {
        char text[2][2000] = {"", ""};
        int first = dbk_sim_vfs(one)->list(dbk_sim_vfs(one), directories[i], list_entry, text[0]);
        assert_int_equal(dbk_sim_vfs(other)->list(dbk_sim_vfs(other), directories[i], list_entry, text[1]),
                         first);
        assert_string_equal(text[0], text[1]);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(exists(dbk_sim_vfs(one), files[i]), exists(dbk_sim_vfs(other), files[i]));
        if (!exists(dbk_sim_vfs(one), files[i])) continue;
        size_t size = read_all(dbk_sim_vfs(one), files[i], data[0]);
        assert_int_equal(read_all(dbk_sim_vfs(other), files[i], data[1]), size);
        assert_memory_equal(data[0], data[1], size);
    }
    assert_int_equal(dbk_sim_used_bytes(one), dbk_sim_used_bytes(other));
}

// A clone taken in the middle of a step is what a run stopped at that step has.
static void a_clone_crashes_like_a_stopped_original(void **state) {
    (void)state;
    static const dbk_sim_crash_kind kinds[] = {DBK_SIM_POWER_LOSS_KEEP_ALL, DBK_SIM_POWER_LOSS_DROP_ALL};
    watcher watch = {.sim = new_sim(1)};
    dbk_sim_set_observer(watch.sim, take_clones, &watch);
    work_a_little(dbk_sim_vfs(watch.sim));
    assert_int_equal(watch.count, dbk_sim_steps(watch.sim));
    assert_true(watch.count > 12 && watch.count < 64);
    dbk_sim_free(watch.sim); // clones outlive their original
    for (uint64_t stop = 1; stop <= watch.count; stop++) {
        for (size_t i = 0; i < 2; i++) {
            dbk_sim *stopped = new_sim(1);
            dbk_sim_stop_after(stopped, stop);
            work_a_little(dbk_sim_vfs(stopped));
            dbk_sim *clone = watch.clones[i][stop - 1];
            dbk_sim_crash(clone, kinds[i]);
            dbk_sim_crash(stopped, kinds[i]);
            assert_same_disk(clone, stopped);
            dbk_sim_free(stopped);
            dbk_sim_free(clone);
        }
    }
}

static void a_failed_sync_may_keep_some_pages(void **state) {
    (void)state;
    static char data[8 * BLOCK];
    dbk_sim *sim = new_sim(1);
    dbk_sim_set_failed_sync_kept(sim, 50);
    daybook_vfs *vfs = dbk_sim_vfs(sim);
    daybook_file *file = durable_file(vfs, 8, 0);
    write_fill(vfs, file, 'b', 8 * BLOCK, 0);
    const dbk_sim_fault fault = {.kind = DBK_SIM_SYNC, .nth = 1, .error = ENOSPC};
    assert_int_equal(dbk_sim_fail(sim, &fault), DAYBOOK_OK);
    assert_int_equal(vfs->sync(vfs, file), -ENOSPC);
    dbk_sim_crash(sim, DBK_SIM_POWER_LOSS);
    vfs->close(vfs, file);
    (void)read_all(vfs, "file", data);
    unsigned kept = 0;
    for (size_t block = 0; block < 8; block++) {
        bool is_new = is_filled(data + block * BLOCK, BLOCK, 'b');
        assert_true(is_new || is_filled(data + block * BLOCK, BLOCK, 'a'));
        kept += is_new;
    }
    assert_true(kept > 0 && kept < 8);
    dbk_sim_free(sim);
}

static void a_write_that_failed_is_never_durable_for_sure(void **state) {
    (void)state;
    static char data[8 * BLOCK];
    unsigned arrived = 0, lost = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        dbk_sim *sim = new_sim(seed);
        daybook_vfs *vfs = dbk_sim_vfs(sim);
        daybook_file *file = durable_file(vfs, 1, DAYBOOK_VFS_SYNC);
        const dbk_sim_fault fault = {.kind = DBK_SIM_WRITE, .nth = 1, .error = EIO};
        assert_int_equal(dbk_sim_fail(sim, &fault), DAYBOOK_OK);
        char block[BLOCK];
        memset(block, 'b', sizeof block);
        assert_int_equal(vfs->write_at(vfs, file, block, sizeof block, 0), -EIO);
        dbk_sim_crash(sim, DBK_SIM_POWER_LOSS);
        vfs->close(vfs, file);
        (void)read_all(vfs, "file", data);
        arrived += is_filled(data, BLOCK, 'b');
        lost += is_filled(data, BLOCK, 'a');
        dbk_sim_free(sim);
    }
    assert_true(arrived > 10);
    assert_true(lost > 10);
}

static void after_the_last_step_everything_fails(void **state) {
    (void)state;
    static char data[8 * BLOCK];
    dbk_sim *sim = new_sim(1);
    daybook_vfs *vfs = dbk_sim_vfs(sim);
    daybook_file *file = durable_file(vfs, 1, DAYBOOK_VFS_SYNC);
    uint64_t steps = dbk_sim_steps(sim);
    assert_int_equal(steps, 4); // create, write, sync, sync_directory
    dbk_sim_stop_after(sim, 2);
    write_fill(vfs, file, 'b', BLOCK, 0);
    char block[BLOCK];
    memset(block, 'c', sizeof block);
    assert_int_equal(vfs->read_at(vfs, file, block, 1, 0), 1); // no step
    assert_false(dbk_sim_is_stopped(sim));
    memset(block, 'c', sizeof block);
    assert_int_equal(vfs->write_at(vfs, file, block, BLOCK, 0), -EIO);
    assert_true(dbk_sim_is_stopped(sim));
    assert_int_equal(dbk_sim_steps(sim), steps + 2);
    daybook_file *other = NULL;
    uint64_t size = 0;
    assert_int_equal(vfs->open(vfs, "other", CREATE, &other), -EIO);
    assert_int_equal(vfs->read_at(vfs, file, block, 1, 0), -EIO);
    assert_int_equal(vfs->write_at(vfs, file, block, 1, 0), -EIO);
    assert_int_equal(vfs->sync(vfs, file), -EIO);
    assert_int_equal(vfs->file_size(vfs, file, &size), -EIO);
    assert_int_equal(vfs->rename(vfs, "file", "x"), -EIO);
    assert_int_equal(vfs->unlink(vfs, "file"), -EIO);
    assert_int_equal(vfs->sync_directory(vfs, "/"), -EIO);
    assert_true(vfs->clock_real_ns(vfs) > 0);
    vfs->close(vfs, file);
    dbk_sim_crash(sim, DBK_SIM_POWER_LOSS_DROP_ALL);
    (void)read_all(vfs, "file", data);
    assert_true(is_filled(data, BLOCK, 'b')); // the last write was under way, not durable
    assert_false(exists(vfs, "other"));
    dbk_sim_free(sim);
}

static void the_last_step_may_have_arrived(void **state) {
    (void)state;
    for (int keeps = 0; keeps < 2; keeps++) {
        dbk_sim *sim = new_sim(1);
        daybook_vfs *vfs = dbk_sim_vfs(sim);
        vfs->close(vfs, durable_file(vfs, 1, 0));
        dbk_sim_stop_after(sim, 1);
        assert_int_equal(vfs->rename(vfs, "file", "renamed"), -EIO);
        dbk_sim_crash(sim, keeps ? DBK_SIM_POWER_LOSS_KEEP_ALL : DBK_SIM_POWER_LOSS_DROP_ALL);
        assert_int_equal(exists(vfs, "renamed"), keeps);
        assert_int_equal(exists(vfs, "file"), !keeps);
        dbk_sim_stop_after(sim, 1);
        daybook_file *file = NULL;
        assert_int_equal(vfs->open(vfs, "new", CREATE, &file), -EIO);
        assert_null(file);
        dbk_sim_crash(sim, keeps ? DBK_SIM_POWER_LOSS_KEEP_ALL : DBK_SIM_POWER_LOSS_DROP_ALL);
        assert_int_equal(exists(vfs, "new"), keeps);
        dbk_sim_free(sim);
    }
}

static void a_mapping_outlives_the_crash_but_its_bytes_may_not(void **state) {
    (void)state;
    static char data[8 * BLOCK];
    dbk_sim *sim = new_sim(1);
    daybook_vfs *vfs = dbk_sim_vfs(sim);
    daybook_file *file = durable_file(vfs, 1, 0);
    void *mapped = NULL;
    assert_int_equal(vfs->map_shared(vfs, file, BLOCK, 1, &mapped), 0);
    memset(mapped, 'b', 100);
    assert_int_equal(vfs->sync(vfs, file), 0);
    memset(mapped, 'c', 50);
    (void)read_all(vfs, "file", data);
    assert_true(is_filled(data, 50, 'c'));
    dbk_sim_crash(sim, DBK_SIM_POWER_LOSS_DROP_ALL);
    assert_int_equal(*(char *)mapped, 'c'); // memory of a dead process
    *(char *)mapped = 'd';                  // which reaches nothing any more
    (void)read_all(vfs, "file", data);
    assert_true(is_filled(data, 100, 'b'));
    assert_true(is_filled(data + 100, BLOCK - 100, 'a'));
    vfs->unmap_shared(vfs, mapped, BLOCK);
    vfs->close(vfs, file);
    (void)read_all(vfs, "file", data);
    assert_true(is_filled(data, 100, 'b'));
    dbk_sim_free(sim);
}

static void crash_in_the_middle(dbk_sim *sim, char *data_out) {
    daybook_vfs *vfs = dbk_sim_vfs(sim);
    daybook_file *file = durable_file(vfs, 8, 0);
    for (uint64_t i = 0; i < 40; i++) write_fill(vfs, file, (char)('b' + i % 20), 1500, i * 700);
    vfs->close(vfs, file);
    dbk_sim_crash(sim, DBK_SIM_POWER_LOSS);
    (void)read_all(vfs, "file", data_out);
}

static void the_same_seed_crashes_the_same_way(void **state) {
    (void)state;
    static char data[3][8 * BLOCK];
    unsigned differing = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        for (size_t i = 0; i < 3; i++) {
            dbk_sim *sim = new_sim(i == 2 ? seed + 1000 : seed);
            crash_in_the_middle(sim, data[i]);
            dbk_sim_free(sim);
        }
        assert_memory_equal(data[0], data[1], sizeof data[0]);
        differing += memcmp(data[0], data[2], sizeof data[0]) != 0;
    }
    assert_true(differing > 10);
}

static void a_disk_crashes_many_times_without_losing_what_was_durable(void **state) {
    (void)state;
    static char data[8 * BLOCK];
    for (uint64_t seed = 0; seed < 50; seed++) {
        dbk_sim *sim = new_sim(seed);
        daybook_vfs *vfs = dbk_sim_vfs(sim);
        vfs->close(vfs, durable_file(vfs, 4, 0));
        for (int round = 0; round < 20; round++) {
            daybook_file *file = open_file(vfs, "file", DAYBOOK_VFS_WRITE);
            write_fill(vfs, file, (char)('A' + round), BLOCK, 0);
            assert_int_equal(vfs->sync(vfs, file), 0);
            write_fill(vfs, file, 'x', 3 * BLOCK, BLOCK);
            if (round % 3 == 0) assert_int_equal(vfs->truncate(vfs, file, 2 * BLOCK), 0);
            vfs->close(vfs, file);
            dbk_sim_crash(sim, round % 5 == 4 ? DBK_SIM_KILL : DBK_SIM_POWER_LOSS);
            size_t size = read_all(vfs, "file", data);
            assert_true(size >= 2 * BLOCK && size <= 4 * BLOCK);
            assert_true(is_filled(data, BLOCK, (char)('A' + round)));
        }
        dbk_sim_free(sim);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(synced_bytes_survive_every_crash),
        cmocka_unit_test(unsynced_bytes_meet_every_fate),
        cmocka_unit_test(two_unsynced_writes_survive_in_every_combination),
        cmocka_unit_test(a_sync_file_is_durable_at_each_return),
        cmocka_unit_test(an_older_unsynced_write_never_covers_a_durable_one),
        cmocka_unit_test(all_or_nothing_can_be_asked_for),
        cmocka_unit_test(a_kill_keeps_the_page_cache_but_makes_nothing_durable),
        cmocka_unit_test(handles_are_invalid_after_a_crash),
        cmocka_unit_test(a_name_needs_its_directory_synced),
        cmocka_unit_test(a_file_in_a_lost_directory_is_lost),
        cmocka_unit_test(a_rename_is_kept_or_lost_as_a_whole),
        cmocka_unit_test(an_unlinked_name_may_come_back),
        cmocka_unit_test(a_recreated_name_is_old_new_or_gone),
        cmocka_unit_test(a_truncation_needs_a_sync),
        cmocka_unit_test(what_a_failed_sync_lost_stays_lost),
        cmocka_unit_test(direct_reads_and_an_emptied_cache_show_what_a_failed_sync_lost),
        cmocka_unit_test(a_clone_crashes_like_a_stopped_original),
        cmocka_unit_test(a_failed_sync_may_keep_some_pages),
        cmocka_unit_test(a_write_that_failed_is_never_durable_for_sure),
        cmocka_unit_test(after_the_last_step_everything_fails),
        cmocka_unit_test(the_last_step_may_have_arrived),
        cmocka_unit_test(a_mapping_outlives_the_crash_but_its_bytes_may_not),
        cmocka_unit_test(the_same_seed_crashes_the_same_way),
        cmocka_unit_test(a_disk_crashes_many_times_without_losing_what_was_durable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
