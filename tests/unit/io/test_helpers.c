// SPDX-License-Identifier: Apache-2.0
// The helpers of io.h over the simulated disk, which interrupts and shortens at will.
#include "io/io.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "io/sim/sim.h"
#include "lib/fault_allocator.h"

static int set_up(void **state) {
    dbk_sim *sim = NULL;
    if (dbk_sim_new(1, &sim) != DAYBOOK_OK) return -1;
    *state = sim;
    return 0;
}

static int tear_down(void **state) {
    dbk_sim *sim = *state;
    int leaked = dbk_sim_open_files(sim) != 0;
    dbk_sim_free(sim);
    return -leaked;
}

static daybook_file *open_file(daybook_vfs *vfs, const char *path) {
    daybook_file *file = NULL;
    assert_int_equal(vfs->open(vfs, path, DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE, &file), 0);
    return file;
}

static void paths_are_joined_with_one_slash(void **state) {
    (void)state;
    char path[DBK_PATH_SIZE_MAX];
    assert_int_equal(dbk_path_join("dir", "name", path, NULL), DAYBOOK_OK);
    assert_string_equal(path, "dir/name");
    assert_int_equal(dbk_path_join("dir/", "name", path, NULL), DAYBOOK_OK);
    assert_string_equal(path, "dir/name");
    assert_int_equal(dbk_path_join("/", "name", path, NULL), DAYBOOK_OK);
    assert_string_equal(path, "/name");
    assert_int_equal(dbk_path_join("", "name", path, NULL), DAYBOOK_OK);
    assert_string_equal(path, "name");
}

static void a_path_that_does_not_fit_is_refused(void **state) {
    (void)state;
    char directory[DBK_PATH_SIZE_MAX];
    memset(directory, 'd', sizeof directory);
    directory[DBK_PATH_SIZE_MAX - 6] = '\0';
    char path[DBK_PATH_SIZE_MAX];
    daybook_error error;
    assert_int_equal(dbk_path_join(directory, "name", path, &error), DAYBOOK_OK); // 4090 + 1 + 4 and NUL
    assert_int_equal(dbk_path_join(directory, "names", path, &error), DAYBOOK_EINVALID);
    assert_non_null(strstr(error.message, "path too long"));
}

static void short_and_interrupted_transfers_are_completed(void **state) {
    dbk_sim *sim = *state;
    daybook_vfs *vfs = dbk_sim_vfs(sim);
    daybook_file *file = open_file(vfs, "file");
    uint8_t data[10000];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i * 31 >> 3);
    dbk_sim_set_short_transfers(sim, 100);
    for (uint64_t n = 1; n <= 5; n += 2) {
        const dbk_sim_fault interrupt = {.kind = DBK_SIM_ANY, .nth = n, .error = EINTR};
        assert_int_equal(dbk_sim_fail(sim, &interrupt), DAYBOOK_OK);
    }
    assert_int_equal(dbk_write_exactly(vfs, file, "file", data, sizeof data, 100, NULL), DAYBOOK_OK);
    uint8_t back[10000];
    const dbk_sim_fault interrupt = {.kind = DBK_SIM_READ, .nth = 2, .error = EINTR};
    assert_int_equal(dbk_sim_fail(sim, &interrupt), DAYBOOK_OK);
    assert_int_equal(dbk_read_exactly(vfs, file, "file", back, sizeof back, 100, NULL), DAYBOOK_OK);
    assert_memory_equal(data, back, sizeof data);
    assert_int_equal(dbk_sim_fault_hits(sim), 4);
    assert_true(dbk_sim_count(sim, DBK_SIM_READ, NULL).calls > 3);
    vfs->close(vfs, file);
}

static void a_file_that_ends_early_is_damage(void **state) {
    dbk_sim *sim = *state;
    daybook_vfs *vfs = dbk_sim_vfs(sim);
    daybook_file *file = open_file(vfs, "file");
    assert_int_equal(dbk_write_exactly(vfs, file, "file", "12345", 5, 0, NULL), DAYBOOK_OK);
    char data[8];
    daybook_error error;
    assert_int_equal(dbk_read_exactly(vfs, file, "dir/file", data, 8, 2, &error), DAYBOOK_EDAMAGED);
    assert_string_equal(error.file, "dir/file");
    assert_true(error.offset == 5);
    vfs->close(vfs, file);
}

static void failing_transfers_name_file_and_offset(void **state) {
    dbk_sim *sim = *state;
    daybook_vfs *vfs = dbk_sim_vfs(sim);
    daybook_file *file = open_file(vfs, "file");
    daybook_error error;
    const dbk_sim_fault full = {.kind = DBK_SIM_WRITE, .nth = 1, .error = ENOSPC};
    assert_int_equal(dbk_sim_fail(sim, &full), DAYBOOK_OK);
    assert_int_equal(dbk_write_exactly(vfs, file, "file", "12345", 5, 4096, &error), DAYBOOK_ENOSPC);
    assert_int_equal(error.system_errno, ENOSPC);
    assert_true(error.offset == 4096);
    const dbk_sim_fault broken = {.kind = DBK_SIM_READ, .nth = 1, .error = EIO};
    assert_int_equal(dbk_sim_fail(sim, &broken), DAYBOOK_OK);
    char data[8];
    assert_int_equal(dbk_read_exactly(vfs, file, "file", data, 8, 512, &error), DAYBOOK_EIO);
    assert_true(error.offset == 512);
    vfs->close(vfs, file);
}

static void a_whole_file_is_read_behind_what_the_buffer_holds(void **state) {
    dbk_sim *sim = *state;
    daybook_vfs *vfs = dbk_sim_vfs(sim);
    daybook_file *file = open_file(vfs, "file");
    assert_int_equal(dbk_write_exactly(vfs, file, "file", "12345", 5, 0, NULL), DAYBOOK_OK);
    vfs->close(vfs, file);
    dbk_buf buf;
    dbk_buf_init(&buf, dbk_allocator_default(), 7);
    dbk_buf_append(&buf, "ab", 2);
    assert_int_equal(dbk_read_file(vfs, "file", &buf, NULL), DAYBOOK_OK);
    assert_int_equal(buf.size, 7);
    assert_memory_equal(buf.data, "ab12345", 7);
    daybook_error error;
    assert_int_equal(dbk_read_file(vfs, "file", &buf, &error), DAYBOOK_ELIMIT);
    assert_int_equal(buf.size, 7);
    assert_int_equal(dbk_read_file(vfs, "none", &buf, &error), DAYBOOK_ENOTFOUND);
    dbk_buf_deinit(&buf);
}

static void an_empty_file_is_read_as_nothing(void **state) {
    dbk_sim *sim = *state;
    daybook_vfs *vfs = dbk_sim_vfs(sim);
    vfs->close(vfs, open_file(vfs, "file"));
    dbk_buf buf;
    dbk_buf_init(&buf, dbk_allocator_default(), 10);
    assert_int_equal(dbk_read_file(vfs, "file", &buf, NULL), DAYBOOK_OK);
    assert_int_equal(buf.size, 0);
    dbk_buf_deinit(&buf);
}

static dbk_slice content_of(daybook_vfs *vfs, dbk_buf *buf) {
    dbk_buf_reset(buf);
    assert_int_equal(dbk_read_file(vfs, "dir/file", buf, NULL), DAYBOOK_OK);
    return daybook_bytes(buf->data, buf->size);
}

static bool is_text(dbk_slice bytes, const char *text) {
    return bytes.size == strlen(text) && memcmp(bytes.data, text, bytes.size) == 0;
}

// Replaces with every step failing, and with the power lost at every step: the old content or the new, never
// else.
static void replacing_is_atomic_under_every_fault(void **state) {
    (void)state;
    dbk_buf buf;
    dbk_buf_init(&buf, dbk_allocator_default(), 100);
    bool is_through = false;
    for (uint64_t n = 1; !is_through; n++) {
        for (uint64_t seed = 0; seed < 40; seed++) {
            dbk_sim *sim = NULL;
            assert_int_equal(dbk_sim_new(seed, &sim), DAYBOOK_OK);
            daybook_vfs *vfs = dbk_sim_vfs(sim);
            assert_int_equal(vfs->make_directory(vfs, "dir"), 0);
            assert_int_equal(vfs->sync_directory(vfs, "/"), 0);
            assert_int_equal(dbk_replace_file(vfs, "dir", "file", daybook_text("old"), NULL), DAYBOOK_OK);
            bool is_stop = seed % 2 == 0;
            const dbk_sim_fault fault = {.kind = DBK_SIM_ANY, .nth = n, .error = EIO};
            if (is_stop) {
                dbk_sim_stop_after(sim, n);
            } else {
                assert_int_equal(dbk_sim_fail(sim, &fault), DAYBOOK_OK);
            }
            daybook_status status = dbk_replace_file(vfs, "dir", "file", daybook_text("newer"), NULL);
            assert_int_equal(dbk_sim_open_files(sim), 0);
            bool was_hit = is_stop ? dbk_sim_is_stopped(sim) : dbk_sim_fault_hits(sim) > 0;
            if (was_hit) assert_int_equal(status, DAYBOOK_EIO);
            if (!was_hit && !is_stop) is_through = true;
            dbk_sim_crash(sim, seed % 3 == 0 ? DBK_SIM_KILL : DBK_SIM_POWER_LOSS);
            dbk_slice content = content_of(vfs, &buf);
            assert_true(is_text(content, "newer") || (status != DAYBOOK_OK && is_text(content, "old")));
            // A leftover temporary file is no obstacle.
            assert_int_equal(dbk_replace_file(vfs, "dir", "file", daybook_text("x"), NULL), DAYBOOK_OK);
            assert_true(is_text(content_of(vfs, &buf), "x"));
            dbk_sim_free(sim);
        }
    }
    dbk_buf_deinit(&buf);
}

static void aligned_memory_is_aligned_and_given_back(void **state) {
    (void)state;
    fault_allocator faults;
    fault_allocator_init(&faults);
    for (size_t size = 0; size < 20000; size += 1234) {
        uint8_t *data = dbk_aligned_alloc(&faults.allocator, size);
        assert_non_null(data);
        assert_int_equal((uintptr_t)data % DBK_IO_BLOCK_SIZE, 0);
        memset(data, 0xff, size);
        dbk_aligned_free(&faults.allocator, data);
    }
    dbk_aligned_free(&faults.allocator, NULL);
    assert_null(dbk_aligned_alloc(&faults.allocator, SIZE_MAX - 100));
    fault_allocator_fail(&faults, 1, false);
    assert_null(dbk_aligned_alloc(&faults.allocator, 10));
    assert_int_equal(fault_allocator_live(&faults), 0);
}

#define WITH_DISK(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_are_joined_with_one_slash),
        cmocka_unit_test(a_path_that_does_not_fit_is_refused),
        WITH_DISK(short_and_interrupted_transfers_are_completed),
        WITH_DISK(a_file_that_ends_early_is_damage),
        WITH_DISK(failing_transfers_name_file_and_offset),
        WITH_DISK(a_whole_file_is_read_behind_what_the_buffer_holds),
        WITH_DISK(an_empty_file_is_read_as_nothing),
        cmocka_unit_test(replacing_is_atomic_under_every_fault),
        cmocka_unit_test(aligned_memory_is_aligned_and_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
