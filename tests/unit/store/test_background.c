// SPDX-License-Identifier: Apache-2.0
// Background work beside appends: what is held back and for how long, and what becomes of removed files. On
// the real vfs, in a folder of its own below the working directory, because it is about threads and time.
#define _POSIX_C_SOURCE 200809L // mkdtemp, nanosleep

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/time.h"
#include "daybook/daybook.h"
#include "store/commit_internal.h"
#include "store/maintenance.h"

// The real vfs, watched.
static struct {
    atomic_uint cut_count;
    atomic_uint_fast64_t cut_most; // bytes by which a file was cut at once
    _Atomic int64_t write_ns;      // a write of many bytes takes so long
    atomic_bool is_answered;
} watch;

static int watched_truncate(daybook_vfs *vfs, daybook_file *file, uint64_t size) {
    daybook_vfs *real = daybook_vfs_posix();
    uint64_t before = 0;
    assert_int_equal(real->file_size(vfs, file, &before), 0);
    if (before > size && before - size > atomic_load(&watch.cut_most))
        atomic_store(&watch.cut_most, before - size);
    atomic_fetch_add(&watch.cut_count, 1);
    return real->truncate(vfs, file, size);
}

static void sleep_ns(int64_t ns) {
    struct timespec pause = {.tv_sec = (time_t)(ns / DBK_SECOND_NS), .tv_nsec = (long)(ns % DBK_SECOND_NS)};
    while (nanosleep(&pause, &pause) != 0) continue;
}

// Segments are written by pieces of 256 KiB; nothing else here writes as many without O_DIRECT.
static int64_t watched_write_at(daybook_vfs *vfs, daybook_file *file, const void *data, size_t size,
                                uint64_t offset) {
    daybook_vfs *real = daybook_vfs_posix();
    if (size >= 64 * 1024 && real->is_direct(vfs, file) == 0) sleep_ns(atomic_load(&watch.write_ns));
    return real->write_at(vfs, file, data, size, offset);
}

typedef struct fixture {
    daybook_vfs vfs;
    char directory[64];
    daybook_open_options options;
    daybook_store *store;
} fixture;

static int set_up(void **state) {
    fixture *self = calloc(1, sizeof *self);
    if (self == NULL) return -1;
    self->vfs = *daybook_vfs_posix();
    self->vfs.truncate = watched_truncate;
    self->vfs.write_at = watched_write_at;
    atomic_store(&watch.cut_count, 0);
    atomic_store(&watch.cut_most, 0);
    atomic_store(&watch.write_ns, 0);
    (void)snprintf(self->directory, sizeof self->directory, "test_background.XXXXXX");
    if (mkdtemp(self->directory) == NULL) return -1;
    daybook_open_options_init(&self->options);
    self->options.vfs = &self->vfs;
    *state = self;
    return 0;
}

static int unlink_entry(void *context, const daybook_vfs_entry *entry) {
    const fixture *self = context;
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", self->directory, entry->name);
    return daybook_vfs_posix()->unlink(daybook_vfs_posix(), path);
}

static int tear_down(void **state) {
    fixture *self = *state;
    daybook_vfs *vfs = daybook_vfs_posix();
    if (self->store != NULL && daybook_close(self->store, NULL) != DAYBOOK_OK) return -1;
    int result = vfs->list(vfs, self->directory, unlink_entry, self);
    if (result == 0) result = vfs->remove_directory(vfs, self->directory);
    free(self);
    return result;
}

static void open_store(fixture *self) {
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = daybook_open(self->directory, &self->options, &self->store, &error);
    if (status != DAYBOOK_OK) print_error("%s\n", error.message);
    assert_int_equal(status, DAYBOOK_OK);
}

// ---- Removed files ----------------------------------------------------------------------------------------

enum { FILE_BYTES = 3 << 20 };

static void path_in(const fixture *self, const char *name, char path_out[256]) {
    (void)snprintf(path_out, 256, "%s/%s", self->directory, name);
}

static daybook_file *open_named(fixture *self, const char *name, unsigned flags) {
    char path[256];
    path_in(self, name, path);
    daybook_file *file = NULL;
    assert_int_equal(self->vfs.open(&self->vfs, path, flags, &file), 0);
    return file;
}

static void put_large_file(fixture *self, const char *name) {
    daybook_file *file = open_named(self, name, DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE);
    assert_int_equal(self->vfs.truncate(&self->vfs, file, FILE_BYTES), 0);
    self->vfs.close(&self->vfs, file);
    atomic_store(&watch.cut_count, 0);
}

static void wait_for_cuts(unsigned count) {
    for (int i = 0; i < 1000 && atomic_load(&watch.cut_count) < count; i++) sleep_ns(10 * DBK_MILLISECOND_NS);
    assert_true(atomic_load(&watch.cut_count) >= count);
}

static void space_of_a_removed_file_comes_back_in_steps(void **state) {
    fixture *self = *state;
    open_store(self);
    put_large_file(self, "large");
    dbk_discard_file(self->store, "large");
    char path[256];
    path_in(self, "large", path);
    daybook_file *file = NULL;
    assert_true(self->vfs.open(&self->vfs, path, DAYBOOK_VFS_READ, &file) < 0); // its name is gone at once
    wait_for_cuts(6);
    assert_true(atomic_load(&watch.cut_most) <= 512 * 1024);
}

static void a_removed_file_that_somebody_sees_is_left_whole(void **state) {
    fixture *self = *state;
    open_store(self);
    put_large_file(self, "read");
    put_large_file(self, "linked");
    char path[256], other[256];
    path_in(self, "linked", path);
    path_in(self, "copy", other);
    assert_int_equal(self->vfs.link(&self->vfs, path, other), 0);
    daybook_file *reader = open_named(self, "read", DAYBOOK_VFS_READ);
    dbk_discard_file(self->store, "read");
    dbk_discard_file(self->store, "linked");
    sleep_ns(1500 * DBK_MILLISECOND_NS); // the merger looks once a second
    assert_int_equal(atomic_load(&watch.cut_count), 0);
    uint64_t size = 0;
    assert_int_equal(self->vfs.file_size(&self->vfs, reader, &size), 0);
    assert_int_equal(size, FILE_BYTES);
    self->vfs.close(&self->vfs, reader);
    wait_for_cuts(6);
    daybook_file *copy = open_named(self, "copy", DAYBOOK_VFS_READ);
    assert_int_equal(self->vfs.file_size(&self->vfs, copy, &size), 0);
    assert_int_equal(size, FILE_BYTES);
    self->vfs.close(&self->vfs, copy);
}

// ---- Pacing -----------------------------------------------------------------------------------------------

static int64_t append_batch(fixture *self, unsigned number) {
    enum { COUNT = 64, DATA_BYTES = 1000 };
    static char data[DATA_BYTES];
    daybook_event events[COUNT];
    char subjects[COUNT][32];
    for (unsigned i = 0; i < DATA_BYTES; i++) data[i] = (char)('!' + (number * 7919u + i * i * 31u + i) % 90);
    for (unsigned i = 0; i < COUNT; i++) {
        daybook_event_init(&events[i]);
        (void)snprintf(subjects[i], sizeof subjects[i], "s.%u.x", number * COUNT + i);
        events[i].subject = daybook_text(subjects[i]);
        events[i].data = daybook_bytes(data, sizeof data);
    }
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    int64_t begin_ns = self->vfs.clock_monotonic_ns(&self->vfs);
    assert_int_equal(daybook_append(self->store, events, COUNT, &options, NULL, NULL), DAYBOOK_OK);
    return self->vfs.clock_monotonic_ns(&self->vfs) - begin_ns;
}

// A table of 2 MiB takes half a second to be written, and twelve of them are appended. Going on at full speed
// until there is no room would make some append wait for most of that, with each table once. (A loaded machine may
// hold up an append or two for as long.)
static void no_append_waits_for_a_whole_flush(void **state) {
    enum { BATCHES = 400, FLUSH_MS = 500 };
    fixture *self = *state;
    self->options.memtable_bytes = 2 << 20;
    open_store(self);
    atomic_store(&watch.write_ns, FLUSH_MS * DBK_MILLISECOND_NS);
    int64_t longest_ns = 0;
    unsigned slow_count = 0;
    for (unsigned i = 0; i < BATCHES; i++) {
        int64_t took_ns = append_batch(self, i);
        if (took_ns > longest_ns) longest_ns = took_ns;
        slow_count += took_ns > FLUSH_MS / 2 * DBK_MILLISECOND_NS;
    }
    daybook_store_info info = {.size = sizeof info};
    assert_int_equal(daybook_info(self->store, &info, NULL), DAYBOOK_OK);
    print_message("%llu flushes, %u slow appends, the longest took %lld ms\n",
                  (unsigned long long)info.flush_count, slow_count,
                  (long long)(longest_ns / DBK_MILLISECOND_NS));
    assert_true(info.flush_count >= 4);
    assert_true(slow_count * 4 <= info.flush_count);
    atomic_store(&watch.write_ns, 0);
}

// ---- The journal ------------------------------------------------------------------------------------------

static uint64_t journal_bytes(fixture *self) {
    daybook_store_info info = {.size = sizeof info};
    assert_int_equal(daybook_info(self->store, &info, NULL), DAYBOOK_OK);
    return info.journal_bytes;
}

// Asked before, the flusher would find nothing to do, and as it is asked once for each size, the leader of
// some later group would have to fill megabytes with zeros itself.
static void the_journal_is_asked_to_grow_once_half_of_it_is_used(void **state) {
    fixture *self = *state;
    self->options.flags |= DAYBOOK_OPEN_NO_BACKGROUND;
    open_store(self);
    uint64_t first_bytes = journal_bytes(self);
    uint64_t appended_bytes = 0;
    for (unsigned i = 0; appended_bytes < first_bytes / 2; i++) {
        assert_int_equal(self->store->commit->growth_end_lsn, 0);
        (void)append_batch(self, i);
        appended_bytes = dbk_journal_used_pages(self->store->journal) * DBK_JOURNAL_PAGE_SIZE;
    }
    assert_int_not_equal(self->store->commit->growth_end_lsn, 0);
    assert_int_equal(journal_bytes(self), first_bytes);
    // Filling more than there is takes longer than appends take for the other half.
    while (daybook_maintain(self->store, NULL) == DAYBOOK_OK) continue;
    assert_int_equal(journal_bytes(self), 2 * first_bytes);
}

static void *ask_info(void *context) {
    fixture *self = context;
    (void)journal_bytes(self);
    atomic_store(&watch.is_answered, true);
    return NULL;
}

// The lock of the manifest is held while the journal grows, which may take as long as the disk wants.
static void info_does_not_wait_for_the_journal_to_grow(void **state) {
    fixture *self = *state;
    self->options.flags |= DAYBOOK_OPEN_NO_BACKGROUND;
    open_store(self);
    atomic_store(&watch.is_answered, false);
    pthread_mutex_lock(&self->store->manifest_lock);
    pthread_t asker;
    assert_int_equal(pthread_create(&asker, NULL, ask_info, self), 0);
    for (int i = 0; i < 1000 && !atomic_load(&watch.is_answered); i++) sleep_ns(10 * DBK_MILLISECOND_NS);
    bool is_answered = atomic_load(&watch.is_answered);
    pthread_mutex_unlock(&self->store->manifest_lock);
    assert_int_equal(pthread_join(asker, NULL), 0);
    assert_true(is_answered);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(space_of_a_removed_file_comes_back_in_steps),
        WITH_FOLDER(a_removed_file_that_somebody_sees_is_left_whole),
        WITH_FOLDER(no_append_waits_for_a_whole_flush),
        WITH_FOLDER(the_journal_is_asked_to_grow_once_half_of_it_is_used),
        WITH_FOLDER(info_does_not_wait_for_the_journal_to_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
