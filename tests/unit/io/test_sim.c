// SPDX-License-Identifier: Apache-2.0
// The simulated vfs as a file system, its faults, counters and clocks. What crashes do is in
// test_sim_crash.c.
#include "io/sim/sim.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "io/io.h"

enum { CREATE = DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE };

static int set_up(void **state) {
    dbk_sim *sim = NULL;
    if (dbk_sim_new(1, &sim) != DAYBOOK_OK) return -1;
    *state = sim;
    return 0;
}

static int tear_down(void **state) {
    dbk_sim_free(*state); // also with files left open
    return 0;
}

static daybook_file *open_file(daybook_vfs *vfs, const char *path, unsigned flags) {
    daybook_file *file = NULL;
    assert_int_equal(vfs->open(vfs, path, flags, &file), 0);
    return file;
}

static void fail_with(dbk_sim *sim, dbk_sim_kind kind, const char *suffix, uint64_t nth, bool is_forever,
                      int error) {
    const dbk_sim_fault fault = {
        .kind = kind, .suffix = suffix, .nth = nth, .is_forever = is_forever, .error = error};
    assert_int_equal(dbk_sim_fail(sim, &fault), DAYBOOK_OK);
}

static void bytes_come_back(void **state) {
    daybook_vfs *vfs = dbk_sim_vfs(*state);
    daybook_file *file = open_file(vfs, "file", CREATE | DAYBOOK_VFS_EXCLUSIVE);
    assert_int_equal(vfs->write_at(vfs, file, "hello", 5, 3), 5);
    char data[10];
    assert_int_equal(vfs->read_at(vfs, file, data, sizeof data, 0), 8);
    assert_memory_equal(data, "\0\0\0hello", 8);
    assert_int_equal(vfs->read_at(vfs, file, data, sizeof data, 8), 0);
    assert_int_equal(vfs->read_at(vfs, file, data, sizeof data, UINT64_MAX), 0);
    assert_int_equal(vfs->truncate(vfs, file, 4), 0);
    assert_int_equal(vfs->truncate(vfs, file, 6), 0);
    assert_int_equal(vfs->read_at(vfs, file, data, sizeof data, 0), 6);
    assert_memory_equal(data, "\0\0\0h\0\0", 6);
    assert_true(dbk_sim_used_bytes(*state) == 6);
    vfs->close(vfs, file);
    vfs->close(vfs, NULL);
}

static void opening_keeps_to_its_flags(void **state) {
    daybook_vfs *vfs = dbk_sim_vfs(*state);
    daybook_file *file = NULL;
    assert_int_equal(vfs->open(vfs, "file", DAYBOOK_VFS_WRITE, &file), -ENOENT);
    assert_int_equal(vfs->open(vfs, "dir/file", CREATE, &file), -ENOENT);
    vfs->close(vfs, open_file(vfs, "/file", CREATE));
    assert_int_equal(vfs->open(vfs, "./file", CREATE | DAYBOOK_VFS_EXCLUSIVE, &file), -EEXIST);
    assert_int_equal(vfs->open(vfs, "file/x", CREATE, &file), -ENOTDIR);
    assert_int_equal(vfs->open(vfs, "", CREATE, &file), -ENOENT);
    assert_int_equal(vfs->open(vfs, "/", DAYBOOK_VFS_WRITE, &file), -EISDIR);
    file = open_file(vfs, "file", DAYBOOK_VFS_READ);
    assert_int_equal(vfs->write_at(vfs, file, "x", 1, 0), -EBADF);
    vfs->close(vfs, file);
}

static void an_unlinked_file_lives_while_open(void **state) {
    dbk_sim *sim = *state;
    daybook_vfs *vfs = dbk_sim_vfs(sim);
    daybook_file *file = open_file(vfs, "file", CREATE);
    assert_int_equal(vfs->write_at(vfs, file, "hello", 5, 0), 5);
    assert_int_equal(vfs->unlink(vfs, "file"), 0);
    char data[5];
    assert_int_equal(vfs->read_at(vfs, file, data, 5, 0), 5);
    vfs->close(vfs, file);
    assert_int_equal(vfs->sync_directory(vfs, "/"), 0);
    assert_true(dbk_sim_used_bytes(sim) == 0);
}

static void names_change_as_told(void **state) {
    daybook_vfs *vfs = dbk_sim_vfs(*state);
    assert_int_equal(vfs->make_directory(vfs, "d"), 0);
    assert_int_equal(vfs->make_directory(vfs, "d"), -EEXIST);
    assert_int_equal(vfs->make_directory(vfs, "/"), -EEXIST);
    vfs->close(vfs, open_file(vfs, "d/a", CREATE));
    assert_int_equal(vfs->link(vfs, "d/a", "d/b"), 0);
    assert_int_equal(vfs->link(vfs, "d/a", "d/b"), -EEXIST);
    assert_int_equal(vfs->link(vfs, "d/none", "d/c"), -ENOENT);
    assert_int_equal(vfs->link(vfs, "d", "e"), -EPERM);
    assert_int_equal(vfs->rename(vfs, "d/a", "d/b"), 0); // two names of one file: both stay
    assert_int_equal(vfs->unlink(vfs, "d/a"), 0);
    assert_int_equal(vfs->unlink(vfs, "d/a"), -ENOENT);
    assert_int_equal(vfs->rename(vfs, "d/a", "d/c"), -ENOENT);
    assert_int_equal(vfs->rename(vfs, "d/b", "d/c"), 0);
    assert_int_equal(vfs->rename(vfs, "d/c", "d"), -EISDIR);
    assert_int_equal(vfs->remove_directory(vfs, "d"), -ENOTEMPTY);
    assert_int_equal(vfs->unlink(vfs, "d"), -EISDIR);
    assert_int_equal(vfs->remove_directory(vfs, "d/c"), -ENOTDIR);
    assert_int_equal(vfs->rename(vfs, "d/c", "c"), 0);
    assert_int_equal(vfs->remove_directory(vfs, "d"), 0);
    assert_int_equal(vfs->sync_directory(vfs, "d"), -ENOENT);
    assert_int_equal(vfs->sync_directory(vfs, "c"), -ENOTDIR);
}

typedef struct listing {
    daybook_vfs *vfs;
    unsigned files, directories;
    uint64_t bytes;
} listing;

static int unlink_entry(void *context, const daybook_vfs_entry *entry) {
    listing *seen = context;
    seen->files += !entry->is_directory;
    seen->directories += entry->is_directory != 0;
    seen->bytes += entry->size;
    return entry->is_directory ? 0 : seen->vfs->unlink(seen->vfs, entry->name);
}

static void a_list_may_be_changed_while_it_is_visited(void **state) {
    daybook_vfs *vfs = dbk_sim_vfs(*state);
    daybook_file *file = open_file(vfs, "a", CREATE);
    assert_int_equal(vfs->write_at(vfs, file, "12345", 5, 0), 5);
    vfs->close(vfs, file);
    vfs->close(vfs, open_file(vfs, "b", CREATE));
    assert_int_equal(vfs->make_directory(vfs, "d"), 0);
    listing seen = {.vfs = vfs};
    assert_int_equal(vfs->list(vfs, "/", unlink_entry, &seen), 0);
    assert_int_equal(seen.files, 2);
    assert_int_equal(seen.directories, 1);
    assert_int_equal(seen.bytes, 5);
    listing after = {.vfs = vfs};
    assert_int_equal(vfs->list(vfs, ".", unlink_entry, &after), 0);
    assert_int_equal(after.files, 0);
    assert_int_equal(after.directories, 1);
}

static void a_lock_belongs_to_one_handle(void **state) {
    dbk_sim *sim = *state;
    daybook_vfs *vfs = dbk_sim_vfs(sim);
    daybook_vfs *other = dbk_sim_process(sim, 1);
    daybook_file *first = open_file(vfs, "file", CREATE);
    daybook_file *second = open_file(other, "file", DAYBOOK_VFS_WRITE);
    assert_int_equal(vfs->lock(vfs, first), 0);
    assert_int_equal(vfs->lock(vfs, first), 0);
    assert_int_equal(other->lock(other, second), -EWOULDBLOCK);
    dbk_sim_kill(sim, 0);
    assert_int_equal(other->lock(other, second), 0);
    assert_int_equal(vfs->lock(vfs, first), -EIO); // its process is dead
    vfs->close(vfs, first);
    daybook_file *third = open_file(vfs, "file", DAYBOOK_VFS_READ); // started again
    assert_int_equal(vfs->lock(vfs, third), -EWOULDBLOCK);
    other->close(other, second);
    assert_int_equal(vfs->lock(vfs, third), 0);
    vfs->close(vfs, third);
}

static void direct_files_insist_on_alignment(void **state) {
    dbk_sim *sim = *state;
    daybook_vfs *vfs = dbk_sim_vfs(sim);
    uint8_t *block = dbk_aligned_alloc(dbk_allocator_default(), 2 * DBK_IO_BLOCK_SIZE);
    memset(block, 1, 2 * DBK_IO_BLOCK_SIZE);
    daybook_file *file = open_file(vfs, "file", CREATE | DAYBOOK_VFS_DIRECT);
    assert_int_equal(vfs->is_direct(vfs, file), 1);
    assert_int_equal(vfs->write_at(vfs, file, block, 4096, 4096), 4096);
    assert_int_equal(vfs->write_at(vfs, file, block + 8, 4096, 0), -EINVAL);
    assert_int_equal(vfs->write_at(vfs, file, block, 512, 0), -EINVAL);
    assert_int_equal(vfs->write_at(vfs, file, block, 4096, 512), -EINVAL);
    assert_int_equal(vfs->read_at(vfs, file, block, 100, 0), -EINVAL);
    assert_int_equal(vfs->read_at(vfs, file, block, 8192, 0), 8192);
    vfs->close(vfs, file);
    dbk_sim_set_direct(sim, false);
    file = open_file(vfs, "file", DAYBOOK_VFS_WRITE | DAYBOOK_VFS_DIRECT);
    assert_int_equal(vfs->is_direct(vfs, file), 0);
    assert_int_equal(vfs->write_at(vfs, file, block + 8, 100, 3), 100);
    vfs->close(vfs, file);
    dbk_aligned_free(dbk_allocator_default(), block);
}

static void faults_strike_the_nth_call_of_their_kind(void **state) {
    dbk_sim *sim = *state;
    daybook_vfs *vfs = dbk_sim_vfs(sim);
    daybook_file *log = open_file(vfs, "x.log", CREATE);
    daybook_file *data = open_file(vfs, "x.data", CREATE);
    fail_with(sim, DBK_SIM_WRITE, ".log", 2, false, ENOSPC);
    assert_int_equal(vfs->write_at(vfs, log, "1", 1, 0), 1);
    assert_int_equal(vfs->write_at(vfs, data, "1", 1, 0), 1); // another file
    assert_int_equal(vfs->sync(vfs, log), 0);                 // another kind
    assert_int_equal(vfs->write_at(vfs, log, "2", 1, 0), -ENOSPC);
    assert_int_equal(vfs->write_at(vfs, log, "2", 1, 0), 1); // once
    assert_int_equal(dbk_sim_fault_hits(sim), 1);
    fail_with(sim, DBK_SIM_SYNC, NULL, 1, true, EIO);
    assert_int_equal(vfs->sync(vfs, log), -EIO);
    assert_int_equal(vfs->sync(vfs, data), -EIO);
    dbk_sim_clear_faults(sim);
    assert_int_equal(vfs->sync(vfs, data), 0);
    fail_with(sim, DBK_SIM_OPEN, "new", 1, false, EMFILE);
    daybook_file *file = NULL;
    assert_int_equal(vfs->open(vfs, "new", CREATE, &file), -EMFILE);
    assert_null(file);
    assert_int_equal(vfs->open(vfs, "new", DAYBOOK_VFS_WRITE, &file), -ENOENT); // it was not created
    fail_with(sim, DBK_SIM_RENAME, NULL, 1, false, EIO);
    assert_int_equal(vfs->rename(vfs, "x.log", "y.log"), -EIO);
    assert_int_equal(vfs->rename(vfs, "x.log", "y.log"), 0);
    vfs->close(vfs, log);
    vfs->close(vfs, data);
}

static void impossible_faults_are_refused(void **state) {
    dbk_sim *sim = *state;
    assert_int_equal(dbk_sim_fail(sim, &(dbk_sim_fault){.nth = 0, .error = EIO}), DAYBOOK_EMISUSE);
    assert_int_equal(dbk_sim_fail(sim, &(dbk_sim_fault){.nth = 1, .error = -EIO}), DAYBOOK_EMISUSE);
    for (int i = 0; i < DBK_SIM_FAULT_COUNT_MAX; i++) fail_with(sim, DBK_SIM_ANY, NULL, 1000, false, EIO);
    assert_int_equal(dbk_sim_fail(sim, &(dbk_sim_fault){.nth = 1, .error = EIO}), DAYBOOK_ELIMIT);
}

static void a_full_disk_takes_what_fits(void **state) {
    dbk_sim *sim = *state;
    daybook_vfs *vfs = dbk_sim_vfs(sim);
    static const uint8_t data[1000];
    dbk_sim_set_capacity(sim, 1500);
    daybook_file *file = open_file(vfs, "file", CREATE);
    assert_int_equal(vfs->write_at(vfs, file, data, 1000, 0), 1000);
    uint64_t left = 0;
    assert_int_equal(vfs->free_bytes(vfs, "/", &left), 0);
    assert_true(left == 500);
    assert_int_equal(vfs->write_at(vfs, file, data, 1000, 1000), 500);
    assert_int_equal(vfs->write_at(vfs, file, data, 1000, 1500), -ENOSPC);
    assert_int_equal(vfs->write_at(vfs, file, data, 1000, 500), 1000); // overwriting needs no room
    assert_int_equal(vfs->truncate(vfs, file, 1501), -ENOSPC);
    assert_int_equal(vfs->truncate(vfs, file, 100), 0);
    assert_int_equal(vfs->write_at(vfs, file, data, 1000, 100), 1000);
    vfs->close(vfs, file);
}

static void open_files_are_limited_and_counted(void **state) {
    dbk_sim *sim = *state;
    daybook_vfs *vfs = dbk_sim_vfs(sim);
    dbk_sim_set_open_files_max(sim, 2);
    daybook_file *a = open_file(vfs, "a", CREATE);
    daybook_file *b = open_file(vfs, "b", CREATE);
    daybook_file *c = NULL;
    assert_int_equal(vfs->open(vfs, "c", CREATE, &c), -EMFILE);
    assert_int_equal(dbk_sim_open_files(sim), 2);
    vfs->close(vfs, a);
    c = open_file(vfs, "c", CREATE);
    vfs->close(vfs, b);
    vfs->close(vfs, c);
    assert_int_equal(dbk_sim_open_files(sim), 0);
}

static void short_transfers_move_at_least_a_byte(void **state) {
    dbk_sim *sim = *state;
    daybook_vfs *vfs = dbk_sim_vfs(sim);
    daybook_file *file = open_file(vfs, "file", CREATE);
    static uint8_t data[1000];
    assert_int_equal(vfs->write_at(vfs, file, data, sizeof data, 0), 1000);
    dbk_sim_set_short_transfers(sim, 100);
    for (int i = 0; i < 200; i++) {
        int64_t moved = vfs->read_at(vfs, file, data, sizeof data, 0);
        assert_true(moved >= 1 && moved < 1000);
        moved = vfs->write_at(vfs, file, data, sizeof data, 0);
        assert_true(moved >= 1 && moved < 1000);
        assert_int_equal(vfs->read_at(vfs, file, data, 1, 0), 1);
    }
    vfs->close(vfs, file);
    uint8_t *block = dbk_aligned_alloc(dbk_allocator_default(), 4096);
    memset(block, 0, 4096);
    file = open_file(vfs, "direct", CREATE | DAYBOOK_VFS_DIRECT);
    for (int i = 0; i < 50; i++) {
        int64_t moved = vfs->write_at(vfs, file, block, 4096, 0);
        assert_true(moved >= 512 && moved < 4096 && moved % 512 == 0);
    }
    vfs->close(vfs, file);
    dbk_aligned_free(dbk_allocator_default(), block);
}

static void calls_and_bytes_are_counted_by_name(void **state) {
    dbk_sim *sim = *state;
    daybook_vfs *vfs = dbk_sim_vfs(sim);
    assert_int_equal(vfs->make_directory(vfs, "d"), 0);
    daybook_file *seg = open_file(vfs, "d/1.seg", CREATE);
    daybook_file *log = open_file(vfs, "d/1.log", CREATE);
    char data[100] = {0};
    assert_int_equal(vfs->write_at(vfs, seg, data, 100, 0), 100);
    assert_int_equal(vfs->write_at(vfs, log, data, 10, 0), 10);
    assert_int_equal(vfs->read_at(vfs, seg, data, 60, 80), 20);
    assert_int_equal(vfs->read_at(vfs, seg, data, 5, 0), 5);
    assert_int_equal(vfs->read_at(vfs, log, data, 3, 0), 3);
    assert_int_equal(vfs->sync(vfs, seg), 0);
    dbk_sim_counts reads = dbk_sim_count(sim, DBK_SIM_READ, ".seg");
    assert_true(reads.calls == 2 && reads.bytes == 25);
    reads = dbk_sim_count(sim, DBK_SIM_READ, NULL);
    assert_true(reads.calls == 3 && reads.bytes == 28);
    assert_true(dbk_sim_count(sim, DBK_SIM_WRITE, ".log").bytes == 10);
    assert_true(dbk_sim_count(sim, DBK_SIM_SYNC, "1.seg").calls == 1);
    assert_true(dbk_sim_count(sim, DBK_SIM_OPEN, NULL).calls == 2);
    assert_true(dbk_sim_count(sim, DBK_SIM_ANY, ".log").calls == 3);
    dbk_sim_reset_counts(sim);
    assert_true(dbk_sim_count(sim, DBK_SIM_ANY, NULL).calls == 0);
    vfs->close(vfs, seg);
    vfs->close(vfs, log);
}

static void bytes_at_rest_can_be_damaged(void **state) {
    dbk_sim *sim = *state;
    daybook_vfs *vfs = dbk_sim_vfs(sim);
    daybook_file *file = open_file(vfs, "file", CREATE);
    assert_int_equal(vfs->write_at(vfs, file, "hello", 5, 0), 5);
    assert_int_equal(vfs->sync(vfs, file), 0);
    assert_int_equal(vfs->write_at(vfs, file, "HE", 2, 0), 2); // not yet synced
    assert_int_equal(vfs->sync_directory(vfs, "/"), 0);
    assert_int_equal(dbk_sim_flip(sim, "file", 1, 1), DAYBOOK_OK);
    assert_int_equal(dbk_sim_overwrite(sim, "file", 3, "xy", 2), DAYBOOK_OK);
    assert_int_equal(dbk_sim_flip(sim, "file", 5, 1), DAYBOOK_EINVALID);
    assert_int_equal(dbk_sim_overwrite(sim, "file", 4, "xy", 2), DAYBOOK_EINVALID);
    assert_int_equal(dbk_sim_flip(sim, "none", 0, 1), DAYBOOK_ENOTFOUND);
    char data[5];
    assert_int_equal(vfs->read_at(vfs, file, data, 5, 0), 5);
    assert_memory_equal(data, "HDlxy", 5);
    vfs->close(vfs, file);
    dbk_sim_crash(sim, DBK_SIM_POWER_LOSS_KEEP_ALL);
    file = open_file(vfs, "file", DAYBOOK_VFS_READ);
    assert_int_equal(vfs->read_at(vfs, file, data, 5, 0), 5);
    assert_memory_equal(data, "HDlxy", 5);
    vfs->close(vfs, file);
}

static void clocks_move_when_told(void **state) {
    dbk_sim *sim = *state;
    daybook_vfs *vfs = dbk_sim_vfs(sim);
    char text[DAYBOOK_TIME_TEXT_SIZE];
    (void)daybook_time_format(vfs->clock_real_ns(vfs), text);
    assert_string_equal(text, "2026-01-01T00:00:00.000001000Z");
    int64_t first = vfs->clock_monotonic_ns(vfs);
    assert_true(vfs->clock_monotonic_ns(vfs) == first + 1000);
    dbk_sim_set_tick_ns(sim, 0);
    int64_t real = vfs->clock_real_ns(vfs);
    dbk_sim_advance_ns(sim, DBK_SECOND_NS);
    assert_true(vfs->clock_real_ns(vfs) == real + DBK_SECOND_NS);
    assert_true(vfs->clock_monotonic_ns(vfs) == first + 1000 + DBK_SECOND_NS);
    dbk_sim_set_real_ns(sim, 77); // a jump back leaves the other alone
    assert_true(vfs->clock_real_ns(vfs) == 77);
    assert_true(vfs->clock_monotonic_ns(vfs) == first + 1000 + DBK_SECOND_NS);
}

static void entropy_depends_on_the_seed_only(void **state) {
    (void)state;
    uint8_t bytes[3][32];
    static const uint64_t seeds[3] = {5, 5, 6};
    for (size_t i = 0; i < 3; i++) {
        dbk_sim *sim = NULL;
        assert_int_equal(dbk_sim_new(seeds[i], &sim), DAYBOOK_OK);
        daybook_vfs *vfs = dbk_sim_vfs(sim);
        assert_int_equal(vfs->entropy(vfs, bytes[i], 32), 0);
        dbk_sim_free(sim);
    }
    assert_memory_equal(bytes[0], bytes[1], 32);
    assert_memory_not_equal(bytes[0], bytes[2], 32);
}

static void a_timeout_moves_the_clocks(void **state) {
    dbk_sim *sim = *state;
    daybook_vfs *vfs = dbk_sim_vfs(sim);
    uint32_t word = 3;
    assert_int_equal(vfs->wait(vfs, &word, 4, -1, 0), -EAGAIN);
    dbk_sim_set_tick_ns(sim, 0);
    int64_t before = vfs->clock_monotonic_ns(vfs);
    assert_int_equal(vfs->wait(vfs, &word, 3, 2 * DBK_MILLISECOND_NS, 0), -ETIMEDOUT);
    assert_true(vfs->clock_monotonic_ns(vfs) == before + 2 * DBK_MILLISECOND_NS);
    dbk_sim_set_wait_limit_ns(sim, DBK_MILLISECOND_NS);
    assert_int_equal(vfs->wait(vfs, &word, 3, 3600 * DBK_SECOND_NS, 0), -ETIMEDOUT); // at once
    assert_true(vfs->clock_monotonic_ns(vfs) == before + 2 * DBK_MILLISECOND_NS + 3600 * DBK_SECOND_NS);
}

typedef struct turn {
    daybook_vfs *vfs;
    uint32_t word;
    uint32_t own;
} turn;

static void *take_turns(void *argument) {
    turn *self = argument;
    daybook_vfs *vfs = self->vfs;
    for (uint32_t next = self->own; next < 2000; next += 2) {
        for (;;) {
            uint32_t seen = __atomic_load_n(&self->word, __ATOMIC_SEQ_CST);
            if (seen == next) break;
            (void)vfs->wait(vfs, &self->word, seen, -1, 0);
        }
        __atomic_store_n(&self->word, next + 1, __ATOMIC_SEQ_CST);
        vfs->wake(vfs, &self->word, 1, 0);
    }
    return NULL;
}

static void *take_even_turns(void *argument) {
    turn *self = argument;
    daybook_vfs *vfs = self->vfs;
    for (uint32_t next = 0; next < 2000; next += 2) {
        uint32_t seen = 0;
        while ((seen = __atomic_load_n(&self->word, __ATOMIC_SEQ_CST)) != next) {
            (void)vfs->wait(vfs, &self->word, seen, -1, 0);
        }
        __atomic_store_n(&self->word, next + 1, __ATOMIC_SEQ_CST);
        vfs->wake(vfs, &self->word, 1, 0);
    }
    return NULL;
}

static void two_threads_take_turns_without_losing_a_wake(void **state) {
    turn shared = {.vfs = dbk_sim_vfs(*state), .own = 1};
    pthread_t odd, even;
    assert_int_equal(pthread_create(&odd, NULL, take_turns, &shared), 0);
    assert_int_equal(pthread_create(&even, NULL, take_even_turns, &shared), 0);
    assert_int_equal(pthread_join(odd, NULL), 0);
    assert_int_equal(pthread_join(even, NULL), 0);
    assert_int_equal(shared.word, 2000);
}

static void a_mapped_page_is_one_for_all(void **state) {
    dbk_sim *sim = *state;
    daybook_vfs *vfs = dbk_sim_vfs(sim);
    daybook_vfs *other = dbk_sim_process(sim, 1);
    daybook_file *file = open_file(vfs, "live", CREATE);
    void *mapped = NULL;
    assert_int_equal(vfs->map_shared(vfs, file, 4096, 1, &mapped), -EINVAL); // behind the end
    assert_int_equal(vfs->truncate(vfs, file, 4096), 0);
    assert_int_equal(vfs->map_shared(vfs, file, 4096, 1, &mapped), 0);
    assert_int_equal((uintptr_t)mapped % 4096, 0);
    daybook_file *reader = open_file(other, "live", DAYBOOK_VFS_READ);
    void *seen = NULL;
    assert_int_equal(other->map_shared(other, reader, 4096, 1, &seen), -EACCES);
    assert_int_equal(other->map_shared(other, reader, 4096, 0, &seen), 0);
    __atomic_store_n((uint64_t *)mapped, 42, __ATOMIC_SEQ_CST);
    assert_true(__atomic_load_n((uint64_t *)seen, __ATOMIC_SEQ_CST) == 42);
    uint64_t number = 0;
    assert_int_equal(other->read_at(other, reader, &number, 8, 0), 8);
    assert_true(number == 42);
    number = 43;
    assert_int_equal(vfs->write_at(vfs, file, &number, 8, 0), 8);
    assert_true(*(uint64_t *)seen == 43);
    assert_int_equal(dbk_sim_open_maps(sim), 2);
    vfs->unmap_shared(vfs, mapped, 4096);
    vfs->close(vfs, file);
    assert_true(*(uint64_t *)seen == 43);
    other->unmap_shared(other, seen, 4096);
    assert_int_equal(other->read_at(other, reader, &number, 8, 0), 8);
    assert_true(number == 43);
    other->close(other, reader);
    assert_int_equal(dbk_sim_open_maps(sim), 0);
}

#define WITH_DISK(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_DISK(bytes_come_back),
        WITH_DISK(opening_keeps_to_its_flags),
        WITH_DISK(an_unlinked_file_lives_while_open),
        WITH_DISK(names_change_as_told),
        WITH_DISK(a_list_may_be_changed_while_it_is_visited),
        WITH_DISK(a_lock_belongs_to_one_handle),
        WITH_DISK(direct_files_insist_on_alignment),
        WITH_DISK(faults_strike_the_nth_call_of_their_kind),
        WITH_DISK(impossible_faults_are_refused),
        WITH_DISK(a_full_disk_takes_what_fits),
        WITH_DISK(open_files_are_limited_and_counted),
        WITH_DISK(short_transfers_move_at_least_a_byte),
        WITH_DISK(calls_and_bytes_are_counted_by_name),
        WITH_DISK(bytes_at_rest_can_be_damaged),
        WITH_DISK(clocks_move_when_told),
        cmocka_unit_test(entropy_depends_on_the_seed_only),
        WITH_DISK(a_timeout_moves_the_clocks),
        WITH_DISK(two_threads_take_turns_without_losing_a_wake),
        WITH_DISK(a_mapped_page_is_one_for_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
