// SPDX-License-Identifier: Apache-2.0
// The real side of the seam, in a folder of its own below the working directory.
#define _POSIX_C_SOURCE 200809L // mkdtemp, fork, dup

#include "daybook/sys/vfs.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/time.h"
#include "base/uuid.h"
#include "daybook/id.h"
#include "io/io.h"

typedef struct fixture {
    daybook_vfs *vfs;
    char directory[64];
    char path[128];
} fixture;

static int set_up(void **state) {
    fixture *self = calloc(1, sizeof *self);
    if (self == NULL) return -1;
    self->vfs = daybook_vfs_posix();
    (void)snprintf(self->directory, sizeof self->directory, "test_io_posix.XXXXXX");
    if (mkdtemp(self->directory) == NULL) return -1;
    (void)snprintf(self->path, sizeof self->path, "%s/file", self->directory);
    *state = self;
    return 0;
}

static int unlink_entry(void *context, const daybook_vfs_entry *entry) {
    const fixture *self = context;
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", self->directory, entry->name);
    if (entry->is_directory) return self->vfs->remove_directory(self->vfs, path);
    return self->vfs->unlink(self->vfs, path);
}

static int tear_down(void **state) {
    fixture *self = *state;
    int result = self->vfs->list(self->vfs, self->directory, unlink_entry, self);
    if (result == 0) result = self->vfs->remove_directory(self->vfs, self->directory);
    free(self);
    return result;
}

static daybook_file *open_file(fixture *self, unsigned flags) {
    daybook_file *file = NULL;
    assert_int_equal(self->vfs->open(self->vfs, self->path, flags, &file), 0);
    assert_non_null(file);
    return file;
}

static void bytes_come_back(void **state) {
    fixture *self = *state;
    daybook_vfs *vfs = self->vfs;
    daybook_file *file = open_file(self, DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE | DAYBOOK_VFS_EXCLUSIVE);
    assert_int_equal(vfs->write_at(vfs, file, "hello", 5, 3), 5);
    uint64_t size = 0;
    assert_int_equal(vfs->file_size(vfs, file, &size), 0);
    assert_int_equal(size, 8);
    char data[10];
    assert_int_equal(vfs->read_at(vfs, file, data, sizeof data, 0), 8);
    assert_memory_equal(data, "\0\0\0hello", 8);
    assert_int_equal(vfs->read_at(vfs, file, data, sizeof data, 8), 0);
    assert_int_equal(vfs->sync(vfs, file), 0);
    assert_int_equal(vfs->truncate(vfs, file, 4), 0);
    assert_int_equal(vfs->read_at(vfs, file, data, sizeof data, 0), 4);
    assert_int_equal(vfs->is_direct(vfs, file), 0);
    vfs->close(vfs, file);
    vfs->close(vfs, NULL);
}

static void opening_keeps_to_its_flags(void **state) {
    fixture *self = *state;
    daybook_vfs *vfs = self->vfs;
    daybook_file *file = (daybook_file *)self;
    assert_int_equal(vfs->open(vfs, self->path, DAYBOOK_VFS_WRITE, &file), -ENOENT);
    assert_null(file);
    file = open_file(self, DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE);
    vfs->close(vfs, file);
    assert_int_equal(
        vfs->open(vfs, self->path, DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE | DAYBOOK_VFS_EXCLUSIVE, &file),
        -EEXIST);
    file = open_file(self, DAYBOOK_VFS_READ);
    assert_int_equal(vfs->write_at(vfs, file, "x", 1, 0), -EBADF);
    vfs->close(vfs, file);
}

static void direct_files_take_aligned_blocks(void **state) {
    fixture *self = *state;
    daybook_vfs *vfs = self->vfs;
    unsigned flags = DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE | DAYBOOK_VFS_EXCLUSIVE | DAYBOOK_VFS_DIRECT |
                     DAYBOOK_VFS_SYNC;
    daybook_file *file = open_file(self, flags);
    int is_direct = vfs->is_direct(vfs, file);
    assert_true(is_direct == 0 || is_direct == 1);
    uint8_t *block = dbk_aligned_alloc(dbk_allocator_default(), DBK_IO_BLOCK_SIZE);
    assert_non_null(block);
    memset(block, 'x', DBK_IO_BLOCK_SIZE);
    assert_int_equal(vfs->write_at(vfs, file, block, DBK_IO_BLOCK_SIZE, DBK_IO_BLOCK_SIZE),
                     DBK_IO_BLOCK_SIZE);
    assert_int_equal(vfs->read_at(vfs, file, block, DBK_IO_BLOCK_SIZE, 0), DBK_IO_BLOCK_SIZE);
    assert_int_equal(block[17], 0);
    dbk_aligned_free(dbk_allocator_default(), block);
    vfs->close(vfs, file);
}

static void a_second_open_of_a_locked_file_is_refused_the_lock(void **state) {
    fixture *self = *state;
    daybook_vfs *vfs = self->vfs;
    daybook_file *first = open_file(self, DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE);
    daybook_file *second = open_file(self, DAYBOOK_VFS_WRITE);
    assert_int_equal(vfs->lock(vfs, first), 0);
    assert_int_equal(vfs->lock(vfs, first), 0);
    assert_int_equal(vfs->lock(vfs, second), -EWOULDBLOCK);
    // Closing another handle of the file must not drop it, as it would with fcntl locks.
    daybook_file *third = open_file(self, DAYBOOK_VFS_READ);
    vfs->close(vfs, third);
    assert_int_equal(vfs->lock(vfs, second), -EWOULDBLOCK);
    vfs->close(vfs, first);
    assert_int_equal(vfs->lock(vfs, second), 0);
    vfs->close(vfs, second);
}

static void names_change_as_told(void **state) {
    fixture *self = *state;
    daybook_vfs *vfs = self->vfs;
    char other[160], folder[160];
    (void)snprintf(other, sizeof other, "%s/other", self->directory);
    (void)snprintf(folder, sizeof folder, "%s/folder", self->directory);
    vfs->close(vfs, open_file(self, DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE));
    assert_int_equal(vfs->link(vfs, self->path, other), 0);
    assert_int_equal(vfs->link(vfs, self->path, other), -EEXIST);
    assert_int_equal(vfs->unlink(vfs, self->path), 0);
    assert_int_equal(vfs->unlink(vfs, self->path), -ENOENT);
    assert_int_equal(vfs->rename(vfs, other, self->path), 0);
    assert_int_equal(vfs->rename(vfs, other, self->path), -ENOENT);
    assert_int_equal(vfs->make_directory(vfs, folder), 0);
    assert_int_equal(vfs->make_directory(vfs, folder), -EEXIST);
    assert_int_equal(vfs->sync_directory(vfs, self->directory), 0);
    assert_int_equal(vfs->sync_directory(vfs, self->path), -ENOTDIR);
    assert_int_equal(vfs->remove_directory(vfs, folder), 0);
    assert_int_equal(vfs->remove_directory(vfs, folder), -ENOENT);
    assert_int_equal(vfs->remove_directory(vfs, self->directory), -ENOTEMPTY);
}

typedef struct listing {
    unsigned files, directories;
    uint64_t bytes;
    int stop_with;
} listing;

static int count_entry(void *context, const daybook_vfs_entry *entry) {
    listing *seen = context;
    seen->files += !entry->is_directory;
    seen->directories += entry->is_directory != 0;
    if (!entry->is_directory) seen->bytes += entry->size;
    assert_string_not_equal(entry->name, ".");
    assert_string_not_equal(entry->name, "..");
    return seen->stop_with;
}

static void lists_give_names_sizes_and_kinds(void **state) {
    fixture *self = *state;
    daybook_vfs *vfs = self->vfs;
    char folder[160];
    (void)snprintf(folder, sizeof folder, "%s/folder", self->directory);
    assert_int_equal(vfs->make_directory(vfs, folder), 0);
    daybook_file *file = open_file(self, DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE);
    assert_int_equal(vfs->write_at(vfs, file, "12345", 5, 0), 5);
    vfs->close(vfs, file);
    listing seen = {0};
    assert_int_equal(vfs->list(vfs, self->directory, count_entry, &seen), 0);
    assert_int_equal(seen.files, 1);
    assert_int_equal(seen.directories, 1);
    assert_int_equal(seen.bytes, 5);
    listing stopped = {.stop_with = 7};
    assert_int_equal(vfs->list(vfs, self->directory, count_entry, &stopped), 7);
    assert_int_equal(stopped.files + stopped.directories, 1);
    assert_int_equal(vfs->list(vfs, "no such folder", count_entry, &seen), -ENOENT);
    uint64_t free_bytes = 0;
    assert_int_equal(vfs->free_bytes(vfs, self->directory, &free_bytes), 0);
    assert_true(free_bytes > 0);
}

static void a_file_never_gets_a_standard_descriptor(void **state) {
    fixture *self = *state;
    daybook_vfs *vfs = self->vfs;
    (void)fflush(stdout);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        // Only system calls in here; the parent judges by the exit status.
        (void)close(0);
        (void)close(1);
        (void)close(2);
        daybook_file *file = NULL;
        if (vfs->open(vfs, self->path, DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE, &file) != 0) _exit(1);
        if (fcntl(0, F_GETFD) != -1 || fcntl(1, F_GETFD) != -1 || fcntl(2, F_GETFD) != -1) _exit(2);
        int flags = fcntl(3, F_GETFD);
        _exit(flags == -1 || (flags & FD_CLOEXEC) == 0 ? 3 : 0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    // Descriptor 3 may have been taken before; then the file is further up, which is as good.
    assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 3);
}

static void a_mapped_page_is_shared_between_processes(void **state) {
    fixture *self = *state;
    daybook_vfs *vfs = self->vfs;
    daybook_file *file = open_file(self, DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE);
    assert_int_equal(vfs->truncate(vfs, file, 4096), 0);
    void *mapped = NULL;
    assert_int_equal(vfs->map_shared(vfs, file, 4096, 1, &mapped), 0);
    uint32_t *word = mapped;
    (void)fflush(stdout);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        daybook_file *own = NULL;
        void *own_map = NULL;
        if (vfs->open(vfs, self->path, DAYBOOK_VFS_WRITE, &own) != 0) _exit(1);
        if (vfs->map_shared(vfs, own, 4096, 1, &own_map) != 0) _exit(2);
        uint32_t *own_word = own_map;
        __atomic_store_n(own_word, 1, __ATOMIC_SEQ_CST);
        vfs->wake(vfs, own_word, 1, 1);
        _exit(0);
    }
    int rounds = 0;
    while (__atomic_load_n(word, __ATOMIC_SEQ_CST) == 0 && rounds++ < 100) {
        int result = vfs->wait(vfs, word, 0, 100 * DBK_MILLISECOND_NS, 1);
        assert_true(result == 0 || result == -EAGAIN || result == -ETIMEDOUT);
    }
    assert_int_equal(*word, 1);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    vfs->unmap_shared(vfs, mapped, 4096);
    vfs->unmap_shared(vfs, NULL, 4096);
    vfs->close(vfs, file);
}

static uint32_t shared_word;

static void *set_and_wake(void *argument) {
    daybook_vfs *vfs = argument;
    __atomic_store_n(&shared_word, 1, __ATOMIC_SEQ_CST);
    vfs->wake(vfs, &shared_word, 1, 0);
    return NULL;
}

static void a_sleeper_wakes_or_times_out(void **state) {
    fixture *self = *state;
    daybook_vfs *vfs = self->vfs;
    shared_word = 0;
    assert_int_equal(vfs->wait(vfs, &shared_word, 5, -1, 0), -EAGAIN);
    int64_t start_ns = vfs->clock_monotonic_ns(vfs);
    assert_int_equal(vfs->wait(vfs, &shared_word, 0, 5 * DBK_MILLISECOND_NS, 0), -ETIMEDOUT);
    assert_true(vfs->clock_monotonic_ns(vfs) - start_ns >= 5 * DBK_MILLISECOND_NS);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, set_and_wake, vfs), 0);
    while (__atomic_load_n(&shared_word, __ATOMIC_SEQ_CST) == 0) (void)vfs->wait(vfs, &shared_word, 0, -1, 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void clocks_run_and_ids_differ(void **state) {
    fixture *self = *state;
    daybook_vfs *vfs = self->vfs;
    int64_t real_ns = vfs->clock_real_ns(vfs);
    assert_true(real_ns > INT64_C(1577836800) * DBK_SECOND_NS); // after 2020
    int64_t before_ns = vfs->clock_monotonic_ns(vfs);
    assert_true(vfs->clock_monotonic_ns(vfs) >= before_ns);
    uint8_t random[300] = {0};
    assert_int_equal(vfs->entropy(vfs, random, sizeof random), 0);
    unsigned zeros = 0;
    for (size_t i = 0; i < sizeof random; i++) zeros += random[i] == 0;
    assert_true(zeros < 100);

    char a[37], b[37];
    assert_int_equal(daybook_id_make(a), DAYBOOK_OK);
    assert_int_equal(daybook_id_make(b), DAYBOOK_OK);
    assert_string_not_equal(a, b);
    assert_int_equal(daybook_id_make(NULL), DAYBOOK_EMISUSE);
    dbk_uuid uuid;
    assert_true(dbk_uuid_parse(daybook_text(a), &uuid));
    int64_t id_ns = 0;
    assert_true(dbk_uuid_v7_time_ns(&uuid, &id_ns));
    assert_true(id_ns >= real_ns - DBK_MILLISECOND_NS && id_ns <= real_ns + 60 * DBK_SECOND_NS);
}

static void a_file_is_replaced_as_a_whole(void **state) {
    fixture *self = *state;
    daybook_vfs *vfs = self->vfs;
    for (int round = 0; round < 2; round++) {
        char text[32];
        int size = snprintf(text, sizeof text, "content %d", round);
        assert_int_equal(
            dbk_replace_file(vfs, self->directory, "file", daybook_bytes(text, (size_t)size), NULL),
            DAYBOOK_OK);
        dbk_buf buf;
        dbk_buf_init(&buf, dbk_allocator_default(), 100);
        assert_int_equal(dbk_read_file(vfs, self->path, &buf, NULL), DAYBOOK_OK);
        assert_int_equal(buf.size, size);
        assert_memory_equal(buf.data, text, buf.size);
        dbk_buf_deinit(&buf);
    }
    listing seen = {0};
    assert_int_equal(vfs->list(vfs, self->directory, count_entry, &seen), 0);
    assert_int_equal(seen.files, 1); // no temporary left
}

static void a_file_is_unshared_when_nobody_else_sees_it(void **state) {
    fixture *self = *state;
    daybook_vfs *vfs = self->vfs;
    daybook_file *file = open_file(self, DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE);
    assert_int_equal(vfs->is_unshared(vfs, file), 0); // it has a name
    char other[160];
    (void)snprintf(other, sizeof other, "%s/other", self->directory);
    assert_int_equal(vfs->link(vfs, self->path, other), 0);
    assert_int_equal(vfs->unlink(vfs, self->path), 0);
    assert_int_equal(vfs->is_unshared(vfs, file), 0); // it has another name
    daybook_file *reader = NULL;
    assert_int_equal(vfs->open(vfs, other, DAYBOOK_VFS_READ, &reader), 0);
    assert_int_equal(vfs->unlink(vfs, other), 0);
    assert_int_equal(vfs->is_unshared(vfs, file), 0); // somebody has it open
    vfs->close(vfs, reader);
    assert_int_equal(vfs->is_unshared(vfs, file), 1);
    vfs->close(vfs, file);
}

typedef struct standing {
    daybook_vfs *vfs;
    int before, after;
} standing;

static void *stand_back(void *context) {
    standing *noted = context;
    noted->before = getpriority(PRIO_PROCESS, 0);
    noted->vfs->stand_back(noted->vfs);
    noted->after = getpriority(PRIO_PROCESS, 0);
    return NULL;
}

static void a_thread_that_stands_back_does_so_alone(void **state) {
    fixture *self = *state;
    int mine = getpriority(PRIO_PROCESS, 0);
    standing noted = {.vfs = self->vfs};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, stand_back, &noted), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(noted.before, mine);
    assert_true(mine >= 19 || noted.after > mine); // there is nothing behind 19
    assert_int_equal(getpriority(PRIO_PROCESS, 0), mine);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(bytes_come_back),
        WITH_FOLDER(opening_keeps_to_its_flags),
        WITH_FOLDER(direct_files_take_aligned_blocks),
        WITH_FOLDER(a_second_open_of_a_locked_file_is_refused_the_lock),
        WITH_FOLDER(names_change_as_told),
        WITH_FOLDER(lists_give_names_sizes_and_kinds),
        WITH_FOLDER(a_file_never_gets_a_standard_descriptor),
        WITH_FOLDER(a_mapped_page_is_shared_between_processes),
        WITH_FOLDER(a_sleeper_wakes_or_times_out),
        WITH_FOLDER(clocks_run_and_ids_differ),
        WITH_FOLDER(a_file_is_replaced_as_a_whole),
        WITH_FOLDER(a_file_is_unshared_when_nobody_else_sees_it),
        WITH_FOLDER(a_thread_that_stands_back_does_so_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
