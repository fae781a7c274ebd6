// SPDX-License-Identifier: Apache-2.0
// The vfs over the simulated disk: processes and handles, stops, faults and counters, clocks and sleeping.
// What it promises is in sim.h, how data gets lost in disk.c.
//
// Every call takes the one mutex and goes through enter(): is the process alive, is the world stopped, count,
// does a fault strike, is this the last step. A call that is the last step still has its effect, but in the
// page cache only, and returns -EIO: its caller cannot know.
//
// wait and wake use a mutex and a condition of their own, so that a sleeper never holds up a call, and so
// that the order between a change of the word and the wake is the caller's business, as with futexes. One
// condition for all words: every wake looks like a spurious one to the others, which the contract allows.
//
// Failure modes: memory running out in the simulation is -ENOMEM; during a power loss, an assertion.
#define _POSIX_C_SOURCE 200809L // clock_gettime, pthread_condattr_setclock

#include "io/sim/sim.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/time.h"
#include "io/sim/disk.h"

enum { DIRECT_ALIGNMENT = 4096, SECTOR_SIZE = 512, UNLIMITED_FREE_TIB = 1 };
static const int64_t real_start_ns = INT64_C(1767225600) * DBK_SECOND_NS; // 2026-01-01T00:00:00Z
static const int64_t tick_default_ns = 1000;

typedef struct process {
    daybook_vfs vfs; // its context is this process
    dbk_sim *sim;
    unsigned generation; // handles of an older one are invalid
} process;

// Counters of one file name.
typedef struct name_counts {
    char *name;
    dbk_sim_counts kinds[DBK_SIM_KIND_COUNT];
} name_counts;

struct daybook_file {
    daybook_file *next;
    process *owner;
    unsigned generation;
    dbk_sim_node *node;
    unsigned flags;
    bool is_direct;
    size_t counts_index;
};

struct dbk_sim {
    pthread_mutex_t mutex; // guards everything but the sleepers
    dbk_sim_disk disk;
    dbk_sim_random chance; // of faults and entropy; the disk has its own
    process processes[DBK_SIM_PROCESS_COUNT_MAX];
    daybook_file *files;
    unsigned file_count;
    unsigned map_count;

    // Faults.
    uint64_t steps;
    uint64_t stop_step; // 0: none
    bool is_stopped;
    dbk_sim_observe *observe;
    void *observe_context;
    dbk_sim_fault faults[DBK_SIM_FAULT_COUNT_MAX]; // `nth` counts down to 1
    size_t fault_count;
    uint64_t fault_hits;
    unsigned short_percent;
    uint64_t capacity;
    unsigned open_files_max;
    bool is_direct_supported;
    unsigned failed_sync_kept_percent;

    // Counters.
    name_counts *names;
    size_t name_count;
    size_t name_capacity;

    // Clocks.
    int64_t real_ns;
    int64_t monotonic_ns;
    int64_t tick_ns;
    int64_t wait_limit_ns;

    // Sleepers.
    pthread_mutex_t sleep_mutex;
    pthread_cond_t wakened;
    uint64_t wakes;
};

static const daybook_allocator *heap(void) {
    return dbk_allocator_default();
}

static void lock(dbk_sim *sim) {
    int result = pthread_mutex_lock(&sim->mutex);
    DBK_ASSERT(result == 0);
}

static void unlock(dbk_sim *sim) {
    int result = pthread_mutex_unlock(&sim->mutex);
    DBK_ASSERT(result == 0);
}

static process *process_of(daybook_vfs *vfs) {
    return vfs->context;
}

static dbk_sim *sim_of(daybook_vfs *vfs) {
    return process_of(vfs)->sim;
}

// Counting and failing.

static const char *last_part(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL || slash[1] == '\0' ? path : slash + 1;
}

static bool ends_in(const char *name, const char *suffix) {
    if (suffix == NULL) return true;
    size_t name_size = strlen(name);
    size_t suffix_size = strlen(suffix);
    return name_size >= suffix_size && strcmp(name + name_size - suffix_size, suffix) == 0;
}

static int find_counts(dbk_sim *sim, const char *path, size_t *index_out) {
    const char *name = last_part(path);
    for (size_t i = 0; i < sim->name_count; i++) {
        if (strcmp(sim->names[i].name, name) != 0) continue;
        *index_out = i;
        return 0;
    }
    if (sim->name_count == sim->name_capacity) {
        size_t capacity = sim->name_capacity == 0 ? 64 : sim->name_capacity * 2;
        name_counts *names = dbk_resize_array(heap(), sim->names, capacity, sizeof *names);
        if (names == NULL) return -ENOMEM;
        sim->names = names;
        sim->name_capacity = capacity;
    }
    char *copy = dbk_copy_text(heap(), daybook_text(name));
    if (copy == NULL) return -ENOMEM;
    memset(&sim->names[sim->name_count], 0, sizeof sim->names[0]);
    sim->names[sim->name_count].name = copy;
    *index_out = sim->name_count++;
    return 0;
}

// The error of the first fault that strikes, or 0. All matching faults count the call.
static int strike(dbk_sim *sim, dbk_sim_kind kind, const char *name) {
    int error = 0;
    for (size_t i = 0; i < sim->fault_count; i++) {
        dbk_sim_fault *fault = &sim->faults[i];
        if (fault->nth == 0) continue; // spent
        if (fault->kind != DBK_SIM_ANY && fault->kind != kind) continue;
        if (!ends_in(name, fault->suffix)) continue;
        if (fault->nth > 1) {
            fault->nth--;
            continue;
        }
        if (!fault->is_forever) fault->nth = 0;
        if (error == 0) error = fault->error;
    }
    sim->fault_hits += error != 0;
    return error;
}

// What happens to a call on its way in.
typedef struct entry {
    int result;     // negative errno: return it (a struck write or sync looks at it first)
    bool is_struck; // by a fault
    bool is_last;   // the step at which the world stops
} entry;

static bool changes_disk(dbk_sim_kind kind) {
    switch (kind) {
    case DBK_SIM_WRITE:
    case DBK_SIM_SYNC:
    case DBK_SIM_TRUNCATE:
    case DBK_SIM_RENAME:
    case DBK_SIM_LINK:
    case DBK_SIM_UNLINK:
    case DBK_SIM_MAKE_DIRECTORY:
    case DBK_SIM_REMOVE_DIRECTORY:
    case DBK_SIM_SYNC_DIRECTORY:
        return true;
    default:
        return false; // an open that creates calls take_step itself
    }
}

static bool take_step(dbk_sim *sim) {
    sim->steps++;
    if (sim->steps != sim->stop_step) return false;
    sim->is_stopped = true;
    return true;
}

static entry enter_named(dbk_sim *sim, dbk_sim_kind kind, size_t counts_index) {
    if (sim->is_stopped) return (entry){.result = -EIO};
    sim->names[counts_index].kinds[kind].calls++;
    int error = strike(sim, kind, sim->names[counts_index].name);
    if (error != 0) return (entry){.result = -error, .is_struck = true};
    return (entry){.is_last = changes_disk(kind) && take_step(sim)};
}

static entry enter_path(dbk_sim *sim, dbk_sim_kind kind, const char *path) {
    size_t counts_index = 0;
    int result = find_counts(sim, path, &counts_index);
    if (result < 0) return (entry){.result = result};
    return enter_named(sim, kind, counts_index);
}

static bool is_alive(const daybook_file *file) {
    return file->generation == file->owner->generation;
}

static entry enter_file(dbk_sim *sim, dbk_sim_kind kind, daybook_file *file) {
    if (!is_alive(file)) return (entry){.result = -EIO};
    return enter_named(sim, kind, file->counts_index);
}

// A step has its effect in the page cache and nowhere else.
static void show_step(dbk_sim *sim) {
    if (sim->observe != NULL) sim->observe(sim->observe_context, sim->steps);
}

// The result of a call that took effect: the last step tells nobody.
static int leave(dbk_sim *sim, entry entered, int result) {
    if (result == 0) show_step(sim);
    return entered.is_last ? -EIO : result;
}

// Opening.

static int create_node(dbk_sim *sim, dbk_sim_node *directory, dbk_slice name, dbk_sim_node **node_out) {
    dbk_sim_node *node = dbk_sim_node_new(false);
    if (node == NULL) return -ENOMEM;
    int result = dbk_sim_set_entry(&sim->disk, directory, name, node);
    dbk_sim_node_unref(&sim->disk, node); // the entry holds it
    if (result < 0) return result;
    *node_out = node;
    bool is_last = take_step(sim);
    show_step(sim);
    return is_last ? -EIO : 0;
}

static int find_or_create(dbk_sim *sim, const char *path, unsigned flags, dbk_sim_node **node_out) {
    dbk_sim_node *directory = NULL;
    dbk_slice name;
    int result = dbk_sim_find_parent(&sim->disk, path, &directory, &name);
    if (result < 0) return result;
    dbk_sim_node *node = name.size == 0 ? directory : dbk_sim_find_entry(directory, name);
    if (node == NULL && (flags & DAYBOOK_VFS_CREATE) == 0) return -ENOENT;
    if (node == NULL) return create_node(sim, directory, name, node_out);
    if ((flags & DAYBOOK_VFS_CREATE) != 0 && (flags & DAYBOOK_VFS_EXCLUSIVE) != 0) return -EEXIST;
    if (node->is_directory) return -EISDIR;
    *node_out = node;
    return 0;
}

static int open_locked(dbk_sim *sim, process *owner, const char *path, unsigned flags,
                       daybook_file **file_out) {
    entry entered = enter_path(sim, DBK_SIM_OPEN, path);
    if (entered.result < 0) return entered.result;
    if (sim->open_files_max != 0 && sim->file_count >= sim->open_files_max) return -EMFILE;
    daybook_file *file = dbk_alloc_zeroed(heap(), sizeof *file);
    if (file == NULL) return -ENOMEM;
    dbk_sim_node *node = NULL;
    int result = find_or_create(sim, path, flags, &node);
    if (result == 0) result = find_counts(sim, path, &file->counts_index);
    if (result < 0) {
        dbk_free(heap(), file);
        return result;
    }
    file->next = sim->files;
    file->owner = owner;
    file->generation = owner->generation;
    file->node = dbk_sim_node_ref(node);
    file->flags = flags;
    file->is_direct = (flags & DAYBOOK_VFS_DIRECT) != 0 && sim->is_direct_supported;
    sim->files = file;
    sim->file_count++;
    *file_out = file;
    return 0;
}

static int sim_open(daybook_vfs *vfs, const char *path, unsigned flags, daybook_file **file_out) {
    dbk_sim *sim = sim_of(vfs);
    *file_out = NULL;
    lock(sim);
    int result = open_locked(sim, process_of(vfs), path, flags, file_out);
    unlock(sim);
    return result;
}

static void free_file(dbk_sim *sim, daybook_file *file) {
    for (daybook_file **at = &sim->files; *at != NULL; at = &(*at)->next) {
        if (*at != file) continue;
        *at = file->next;
        sim->file_count--;
        if (file->node->lock_holder == file) file->node->lock_holder = NULL;
        dbk_sim_node_unref(&sim->disk, file->node);
        dbk_free(heap(), file);
        return;
    }
    DBK_UNREACHABLE(); // closed twice
}

static void sim_close(daybook_vfs *vfs, daybook_file *file) {
    if (file == NULL) return;
    dbk_sim *sim = sim_of(vfs);
    lock(sim);
    free_file(sim, file);
    unlock(sim);
}

// Bytes.

static bool is_misaligned(const daybook_file *file, const void *data, size_t size, uint64_t offset) {
    if (!file->is_direct) return false;
    return (uintptr_t)data % DIRECT_ALIGNMENT != 0 || size % DIRECT_ALIGNMENT != 0 ||
           offset % DIRECT_ALIGNMENT != 0;
}

static size_t shorten(dbk_sim *sim, const daybook_file *file, size_t size) {
    size_t unit = file->is_direct ? SECTOR_SIZE : 1;
    if (size <= unit || !dbk_sim_random_chance(&sim->chance, sim->short_percent)) return size;
    size_t units = size / unit;
    return (size_t)(1 + dbk_sim_random_below(&sim->chance, units - (size % unit == 0))) * unit;
}

static int64_t read_locked(dbk_sim *sim, daybook_file *file, void *data, size_t size, uint64_t offset) {
    entry entered = enter_file(sim, DBK_SIM_READ, file);
    if (entered.result < 0) return entered.result;
    if (is_misaligned(file, data, size, offset)) return -EINVAL;
    size_t asked = shorten(sim, file, size);
    int64_t moved = file->is_direct ? dbk_sim_node_read_direct(file->node, data, asked, offset)
                                    : (int64_t)dbk_sim_node_read(file->node, data, asked, offset);
    if (moved > 0) sim->names[file->counts_index].kinds[DBK_SIM_READ].bytes += (uint64_t)moved;
    return moved;
}

static int64_t sim_read_at(daybook_vfs *vfs, daybook_file *file, void *data, size_t size, uint64_t offset) {
    dbk_sim *sim = sim_of(vfs);
    lock(sim);
    int64_t moved = read_locked(sim, file, data, size, offset);
    unlock(sim);
    return moved;
}

// How much of a write the disk has room for.
static size_t fitting(const dbk_sim *sim, const daybook_file *file, size_t size, uint64_t offset) {
    uint64_t file_size = file->node->view.size;
    if (sim->capacity == 0 || offset + size <= file_size) return size;
    uint64_t room = sim->capacity > sim->disk.used_bytes ? sim->capacity - sim->disk.used_bytes : 0;
    uint64_t end_max = file_size + room;
    if (offset >= end_max) return 0;
    size_t fits = end_max - offset < size ? (size_t)(end_max - offset) : size;
    return file->is_direct ? fits / SECTOR_SIZE * SECTOR_SIZE : fits;
}

// A write that failed with EIO: all of it, some first sectors, or nothing is there, and none of it durable.
static void write_struck(dbk_sim *sim, daybook_file *file, const void *data, size_t size, uint64_t offset) {
    size_t arrived = 0;
    switch (dbk_sim_random_below(&sim->chance, 3)) {
    case 0:
        arrived = size;
        break;
    case 1:
        arrived = (size_t)dbk_sim_random_below(&sim->chance, size / SECTOR_SIZE + 1) * SECTOR_SIZE;
        break;
    default:
        break;
    }
    (void)dbk_sim_node_write(&sim->disk, file->node, data, fitting(sim, file, arrived, offset), offset,
                             false);
}

static int64_t write_locked(dbk_sim *sim, daybook_file *file, const void *data, size_t size,
                            uint64_t offset) {
    bool is_writable = (file->flags & DAYBOOK_VFS_WRITE) != 0;
    entry entered = enter_file(sim, DBK_SIM_WRITE, file);
    if (entered.is_struck && entered.result == -EIO && is_writable && size > 0) {
        write_struck(sim, file, data, size, offset);
    }
    if (entered.result < 0) return entered.result;
    if (!is_writable) return -EBADF;
    if (is_misaligned(file, data, size, offset)) return -EINVAL;
    if (size == 0) return 0;
    size_t moved = fitting(sim, file, shorten(sim, file, size), offset);
    if (moved == 0) return -ENOSPC;
    bool is_durable = (file->flags & DAYBOOK_VFS_SYNC) != 0 && !entered.is_last;
    bool is_shown = sim->observe != NULL;
    int result = dbk_sim_node_write(&sim->disk, file->node, data, moved, offset, is_durable && !is_shown);
    if (result < 0) return result;
    show_step(sim);
    if (is_shown && is_durable) result = dbk_sim_node_settle_write(file->node);
    if (result < 0) return result;
    if (entered.is_last) return -EIO;
    sim->names[file->counts_index].kinds[DBK_SIM_WRITE].bytes += moved;
    return (int64_t)moved;
}

static int64_t sim_write_at(daybook_vfs *vfs, daybook_file *file, const void *data, size_t size,
                            uint64_t offset) {
    dbk_sim *sim = sim_of(vfs);
    lock(sim);
    int64_t moved = write_locked(sim, file, data, size, offset);
    unlock(sim);
    return moved;
}

static int sync_locked(dbk_sim *sim, daybook_file *file) {
    entry entered = enter_file(sim, DBK_SIM_SYNC, file);
    if (entered.is_struck && entered.result != -EINTR) {
        dbk_sim_node_sync_failed(&sim->disk, file->node, sim->failed_sync_kept_percent);
    }
    if (entered.result < 0) return entered.result;
    show_step(sim);
    return entered.is_last ? -EIO : dbk_sim_node_sync(file->node);
}

static int sim_sync(daybook_vfs *vfs, daybook_file *file) {
    dbk_sim *sim = sim_of(vfs);
    lock(sim);
    int result = sync_locked(sim, file);
    unlock(sim);
    return result;
}

static int truncate_locked(dbk_sim *sim, daybook_file *file, uint64_t size) {
    entry entered = enter_file(sim, DBK_SIM_TRUNCATE, file);
    if (entered.result < 0) return entered.result;
    if ((file->flags & DAYBOOK_VFS_WRITE) == 0) return -EINVAL;
    uint64_t others = sim->disk.used_bytes - file->node->view.size;
    bool grows = size > file->node->view.size;
    if (grows && sim->capacity != 0 && others + size > sim->capacity) return -ENOSPC;
    return leave(sim, entered, dbk_sim_node_truncate(&sim->disk, file->node, size, false));
}

static int sim_truncate(daybook_vfs *vfs, daybook_file *file, uint64_t size) {
    dbk_sim *sim = sim_of(vfs);
    lock(sim);
    int result = truncate_locked(sim, file, size);
    unlock(sim);
    return result;
}

static int sim_file_size(daybook_vfs *vfs, daybook_file *file, uint64_t *size_out) {
    dbk_sim *sim = sim_of(vfs);
    lock(sim);
    entry entered = enter_file(sim, DBK_SIM_FILE_SIZE, file);
    if (entered.result == 0) *size_out = file->node->view.size;
    unlock(sim);
    return entered.result;
}

static int sim_is_direct(daybook_vfs *vfs, daybook_file *file) {
    (void)vfs;
    return file->is_direct; // never changes after open
}

static int sim_lock(daybook_vfs *vfs, daybook_file *file) {
    dbk_sim *sim = sim_of(vfs);
    lock(sim);
    entry entered = enter_file(sim, DBK_SIM_LOCK, file);
    int result = entered.result;
    if (result == 0 && file->node->lock_holder != NULL && file->node->lock_holder != file)
        result = -EWOULDBLOCK;
    if (result == 0) file->node->lock_holder = file;
    unlock(sim);
    return result;
}

static int sim_map_shared(daybook_vfs *vfs, daybook_file *file, size_t size, int writable, void **data_out) {
    dbk_sim *sim = sim_of(vfs);
    *data_out = NULL;
    lock(sim);
    entry entered = enter_file(sim, DBK_SIM_MAP, file);
    int result = entered.result;
    if (result == 0 && writable && (file->flags & DAYBOOK_VFS_WRITE) == 0) result = -EACCES;
    if (result == 0) result = dbk_sim_node_map(&sim->disk, file->node, size, data_out);
    if (result == 0) sim->map_count++;
    unlock(sim);
    return result;
}

static void sim_unmap_shared(daybook_vfs *vfs, void *data, size_t size) {
    (void)size;
    if (data == NULL) return;
    dbk_sim *sim = sim_of(vfs);
    lock(sim);
    dbk_sim_unmap(&sim->disk, data);
    sim->map_count--;
    unlock(sim);
}

// Names.

// The place of a name. `node_out` is what it names now, NULL for nothing.
static int locate(dbk_sim *sim, const char *path, dbk_sim_node **directory_out, dbk_slice *name_out,
                  dbk_sim_node **node_out) {
    int result = dbk_sim_find_parent(&sim->disk, path, directory_out, name_out);
    if (result < 0) return result;
    if (name_out->size == 0) return -EBUSY; // the root itself
    *node_out = dbk_sim_find_entry(*directory_out, *name_out);
    return 0;
}

static int rename_locked(dbk_sim *sim, const char *from, const char *to) {
    entry entered = enter_path(sim, DBK_SIM_RENAME, to);
    if (entered.result < 0) return entered.result;
    dbk_sim_node *from_directory = NULL;
    dbk_sim_node *to_directory = NULL;
    dbk_sim_node *node = NULL;
    dbk_sim_node *replaced = NULL;
    dbk_slice from_name;
    dbk_slice to_name;
    int result = locate(sim, from, &from_directory, &from_name, &node);
    if (result == 0) result = locate(sim, to, &to_directory, &to_name, &replaced);
    if (result < 0) return result;
    if (node == NULL) return -ENOENT;
    if (node == replaced) return leave(sim, entered, 0); // two names of one file: POSIX does nothing
    if (replaced != NULL && node->is_directory && !replaced->is_directory) return -ENOTDIR;
    if (replaced != NULL && !node->is_directory && replaced->is_directory) return -EISDIR;
    if (replaced != NULL && replaced->view_entries.count > 0) return -ENOTEMPTY;
    return leave(sim, entered,
                 dbk_sim_move_entry(&sim->disk, from_directory, from_name, to_directory, to_name));
}

static int sim_rename(daybook_vfs *vfs, const char *from, const char *to) {
    dbk_sim *sim = sim_of(vfs);
    lock(sim);
    int result = rename_locked(sim, from, to);
    unlock(sim);
    return result;
}

static int link_locked(dbk_sim *sim, const char *from, const char *to) {
    entry entered = enter_path(sim, DBK_SIM_LINK, to);
    if (entered.result < 0) return entered.result;
    dbk_sim_node *node = NULL;
    dbk_sim_node *directory = NULL;
    dbk_sim_node *present = NULL;
    dbk_slice name;
    int result = dbk_sim_find(&sim->disk, from, &node);
    if (result == 0) result = locate(sim, to, &directory, &name, &present);
    if (result < 0) return result;
    if (present != NULL) return -EEXIST;
    if (node->is_directory) return -EPERM;
    return leave(sim, entered, dbk_sim_set_entry(&sim->disk, directory, name, node));
}

static int sim_link(daybook_vfs *vfs, const char *from, const char *to) {
    dbk_sim *sim = sim_of(vfs);
    lock(sim);
    int result = link_locked(sim, from, to);
    unlock(sim);
    return result;
}

static int unlink_locked(dbk_sim *sim, const char *path) {
    entry entered = enter_path(sim, DBK_SIM_UNLINK, path);
    if (entered.result < 0) return entered.result;
    dbk_sim_node *directory = NULL;
    dbk_sim_node *node = NULL;
    dbk_slice name;
    int result = locate(sim, path, &directory, &name, &node);
    if (result < 0) return result;
    if (node == NULL) return -ENOENT;
    if (node->is_directory) return -EISDIR;
    return leave(sim, entered, dbk_sim_set_entry(&sim->disk, directory, name, NULL));
}

static int sim_unlink(daybook_vfs *vfs, const char *path) {
    dbk_sim *sim = sim_of(vfs);
    lock(sim);
    int result = unlink_locked(sim, path);
    unlock(sim);
    return result;
}

static int make_directory_locked(dbk_sim *sim, const char *path) {
    entry entered = enter_path(sim, DBK_SIM_MAKE_DIRECTORY, path);
    if (entered.result < 0) return entered.result;
    dbk_sim_node *directory = NULL;
    dbk_sim_node *present = NULL;
    dbk_slice name;
    int result = locate(sim, path, &directory, &name, &present);
    if (result == -EBUSY || present != NULL) return -EEXIST;
    if (result < 0) return result;
    dbk_sim_node *node = dbk_sim_node_new(true);
    if (node == NULL) return -ENOMEM;
    result = dbk_sim_set_entry(&sim->disk, directory, name, node);
    dbk_sim_node_unref(&sim->disk, node);
    return leave(sim, entered, result);
}

static int sim_make_directory(daybook_vfs *vfs, const char *path) {
    dbk_sim *sim = sim_of(vfs);
    lock(sim);
    int result = make_directory_locked(sim, path);
    unlock(sim);
    return result;
}

static int remove_directory_locked(dbk_sim *sim, const char *path) {
    entry entered = enter_path(sim, DBK_SIM_REMOVE_DIRECTORY, path);
    if (entered.result < 0) return entered.result;
    dbk_sim_node *directory = NULL;
    dbk_sim_node *node = NULL;
    dbk_slice name;
    int result = locate(sim, path, &directory, &name, &node);
    if (result < 0) return result;
    if (node == NULL) return -ENOENT;
    if (!node->is_directory) return -ENOTDIR;
    if (node->view_entries.count > 0) return -ENOTEMPTY;
    return leave(sim, entered, dbk_sim_set_entry(&sim->disk, directory, name, NULL));
}

static int sim_remove_directory(daybook_vfs *vfs, const char *path) {
    dbk_sim *sim = sim_of(vfs);
    lock(sim);
    int result = remove_directory_locked(sim, path);
    unlock(sim);
    return result;
}

static int sync_directory_locked(dbk_sim *sim, const char *path) {
    entry entered = enter_path(sim, DBK_SIM_SYNC_DIRECTORY, path);
    if (entered.result < 0) return entered.result;
    dbk_sim_node *directory = NULL;
    int result = dbk_sim_find(&sim->disk, path, &directory);
    if (result < 0) return result;
    if (!directory->is_directory) return -ENOTDIR;
    show_step(sim);
    if (entered.is_last) return -EIO;
    dbk_sim_sync_names(&sim->disk, directory);
    return 0;
}

static int sim_sync_directory(daybook_vfs *vfs, const char *path) {
    dbk_sim *sim = sim_of(vfs);
    lock(sim);
    int result = sync_directory_locked(sim, path);
    unlock(sim);
    return result;
}

// A copy of the entries, so that `visit` runs without the mutex and may call the vfs.
static int copy_entries(dbk_sim *sim, const char *path, daybook_vfs_entry **entries_out, size_t *count_out) {
    entry entered = enter_path(sim, DBK_SIM_LIST, path);
    if (entered.result < 0) return entered.result;
    dbk_sim_node *directory = NULL;
    int result = dbk_sim_find(&sim->disk, path, &directory);
    if (result < 0) return result;
    if (!directory->is_directory) return -ENOTDIR;
    const dbk_sim_entries *from = &directory->view_entries;
    daybook_vfs_entry *entries = dbk_resize_array(heap(), NULL, from->count, sizeof *entries);
    if (entries == NULL) return -ENOMEM;
    for (size_t i = 0; i < from->count; i++) {
        const dbk_sim_node *node = from->items[i].node;
        // Names were checked to fit when they were made.
        (void)snprintf(entries[i].name, sizeof entries[i].name, "%s", from->items[i].name);
        entries[i].size = node->view.size;
        entries[i].is_directory = node->is_directory;
    }
    *entries_out = entries;
    *count_out = from->count;
    return 0;
}

static int sim_list(daybook_vfs *vfs, const char *path,
                    int (*visit)(void *context, const daybook_vfs_entry *entry), void *context) {
    dbk_sim *sim = sim_of(vfs);
    daybook_vfs_entry *entries = NULL;
    size_t count = 0;
    lock(sim);
    int result = copy_entries(sim, path, &entries, &count);
    unlock(sim);
    for (size_t i = 0; i < count && result == 0; i++) result = visit(context, &entries[i]);
    dbk_free(heap(), entries);
    return result;
}

static int sim_free_bytes(daybook_vfs *vfs, const char *path, uint64_t *bytes_out) {
    dbk_sim *sim = sim_of(vfs);
    lock(sim);
    entry entered = enter_path(sim, DBK_SIM_FREE_BYTES, path);
    if (entered.result == 0) {
        uint64_t total = sim->capacity != 0 ? sim->capacity : (uint64_t)UNLIMITED_FREE_TIB << 40;
        *bytes_out = total > sim->disk.used_bytes ? total - sim->disk.used_bytes : 0;
    }
    unlock(sim);
    return entered.result;
}

// Clocks, randomness, sleeping.

static int64_t read_clock(dbk_sim *sim, const int64_t *clock) {
    lock(sim);
    sim->real_ns += sim->tick_ns;
    sim->monotonic_ns += sim->tick_ns;
    int64_t now = *clock;
    unlock(sim);
    return now;
}

static int64_t sim_clock_real_ns(daybook_vfs *vfs) {
    dbk_sim *sim = sim_of(vfs);
    return read_clock(sim, &sim->real_ns);
}

static int64_t sim_clock_monotonic_ns(daybook_vfs *vfs) {
    dbk_sim *sim = sim_of(vfs);
    return read_clock(sim, &sim->monotonic_ns);
}

static int sim_entropy(daybook_vfs *vfs, void *data, size_t size) {
    dbk_sim *sim = sim_of(vfs);
    uint8_t *bytes = data;
    lock(sim);
    for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)(dbk_sim_random_next(&sim->chance) >> 32);
    unlock(sim);
    return 0;
}

static struct timespec deadline_after(int64_t duration_ns) {
    struct timespec at;
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    int64_t nanoseconds = at.tv_nsec + duration_ns % DBK_SECOND_NS;
    at.tv_sec += (time_t)(duration_ns / DBK_SECOND_NS + nanoseconds / DBK_SECOND_NS);
    at.tv_nsec = (long)(nanoseconds % DBK_SECOND_NS);
    return at;
}

// Sleeps until any wake or the deadline; the word is looked at under the mutex every wake takes.
static int sleep_on(dbk_sim *sim, const volatile uint32_t *word, uint32_t expected,
                    const struct timespec *deadline) {
    int result = pthread_mutex_lock(&sim->sleep_mutex);
    DBK_ASSERT(result == 0);
    uint64_t wakes = sim->wakes;
    if (__atomic_load_n(word, __ATOMIC_SEQ_CST) != expected) {
        result = EAGAIN;
    } else {
        while (result == 0 && sim->wakes == wakes) {
            result = deadline == NULL ? pthread_cond_wait(&sim->wakened, &sim->sleep_mutex)
                                      : pthread_cond_timedwait(&sim->wakened, &sim->sleep_mutex, deadline);
        }
    }
    (void)pthread_mutex_unlock(&sim->sleep_mutex);
    return -result;
}

static void wake_all(dbk_sim *sim) {
    int result = pthread_mutex_lock(&sim->sleep_mutex);
    DBK_ASSERT(result == 0);
    sim->wakes++;
    (void)pthread_cond_broadcast(&sim->wakened);
    (void)pthread_mutex_unlock(&sim->sleep_mutex);
}

static void advance(dbk_sim *sim, int64_t duration_ns) {
    lock(sim);
    sim->real_ns += duration_ns;
    sim->monotonic_ns += duration_ns;
    unlock(sim);
}

static int sim_wait(daybook_vfs *vfs, const volatile uint32_t *word, uint32_t expected, int64_t timeout_ns,
                    int shared) {
    (void)shared;
    dbk_sim *sim = sim_of(vfs);
    if (timeout_ns < 0) return sleep_on(sim, word, expected, NULL);
    lock(sim);
    int64_t limit_ns = sim->wait_limit_ns;
    unlock(sim);
    struct timespec deadline = deadline_after(limit_ns >= 0 && limit_ns < timeout_ns ? limit_ns : timeout_ns);
    int result = sleep_on(sim, word, expected, &deadline);
    if (result == -ETIMEDOUT) advance(sim, timeout_ns);
    return result;
}

static void sim_wake(daybook_vfs *vfs, const volatile uint32_t *word, int count, int shared) {
    (void)word;
    (void)count; // more may wake than asked; to them it is a spurious wake
    (void)shared;
    wake_all(sim_of(vfs));
}

static int sim_is_unshared(daybook_vfs *vfs, daybook_file *file) {
    dbk_sim *sim = sim_of(vfs);
    lock(sim);
    entry entered = enter_file(sim, DBK_SIM_FILE_SIZE, file);
    // Names, seen or durable, changes of names and handles all count.
    int result = entered.result < 0 ? entered.result : file->node->references == 1;
    unlock(sim);
    return result;
}

// The simulation itself.

static daybook_vfs vfs_of(process *owner) {
    return (daybook_vfs){
        .size = sizeof(daybook_vfs),
        .context = owner,
        .open = sim_open,
        .close = sim_close,
        .read_at = sim_read_at,
        .write_at = sim_write_at,
        .sync = sim_sync,
        .truncate = sim_truncate,
        .file_size = sim_file_size,
        .is_direct = sim_is_direct,
        .lock = sim_lock,
        .map_shared = sim_map_shared,
        .unmap_shared = sim_unmap_shared,
        .rename = sim_rename,
        .link = sim_link,
        .unlink = sim_unlink,
        .make_directory = sim_make_directory,
        .remove_directory = sim_remove_directory,
        .sync_directory = sim_sync_directory,
        .list = sim_list,
        .free_bytes = sim_free_bytes,
        .clock_real_ns = sim_clock_real_ns,
        .clock_monotonic_ns = sim_clock_monotonic_ns,
        .entropy = sim_entropy,
        .wait = sim_wait,
        .wake = sim_wake,
        .is_unshared = sim_is_unshared,
    };
}

static int init_threads(dbk_sim *sim) {
    pthread_condattr_t attributes;
    int result = pthread_condattr_init(&attributes);
    if (result != 0) return -result;
    result = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    if (result == 0) result = pthread_cond_init(&sim->wakened, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    if (result == 0) result = pthread_mutex_init(&sim->sleep_mutex, NULL);
    if (result != 0) return -result;
    pthread_mutexattr_t kind;
    result = pthread_mutexattr_init(&kind);
    if (result != 0) return -result;
    // An observer, called with the mutex held, may clone.
    result = pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_RECURSIVE);
    if (result == 0) result = pthread_mutex_init(&sim->mutex, &kind);
    (void)pthread_mutexattr_destroy(&kind);
    return -result;
}

// Everything but the disk.
static dbk_sim *new_machine(uint64_t seed) {
    dbk_sim *sim = dbk_alloc_zeroed(heap(), sizeof *sim);
    if (sim == NULL) return NULL;
    if (init_threads(sim) < 0) {
        dbk_free(heap(), sim);
        return NULL;
    }
    sim->chance.state = seed ^ UINT64_C(0x5851f42d4c957f2d);
    sim->is_direct_supported = true;
    sim->real_ns = real_start_ns;
    sim->monotonic_ns = DBK_SECOND_NS;
    sim->tick_ns = tick_default_ns;
    sim->wait_limit_ns = -1;
    for (size_t i = 0; i < DBK_SIM_PROCESS_COUNT_MAX; i++) {
        sim->processes[i].sim = sim;
        sim->processes[i].vfs = vfs_of(&sim->processes[i]);
    }
    return sim;
}

daybook_status dbk_sim_new(uint64_t seed, dbk_sim **sim_out) {
    *sim_out = NULL;
    dbk_sim *sim = new_machine(seed);
    if (sim == NULL) return DAYBOOK_ENOMEM;
    if (dbk_sim_disk_init(&sim->disk, seed) < 0) {
        dbk_sim_free(sim);
        return DAYBOOK_ENOMEM;
    }
    *sim_out = sim;
    return DAYBOOK_OK;
}

daybook_status dbk_sim_clone(dbk_sim *sim, uint64_t seed, dbk_sim **clone_out) {
    *clone_out = NULL;
    dbk_sim *clone = new_machine(seed);
    if (clone == NULL) return DAYBOOK_ENOMEM;
    lock(sim);
    int result = dbk_sim_disk_clone(&sim->disk, seed, &clone->disk);
    clone->short_percent = sim->short_percent;
    clone->capacity = sim->capacity;
    clone->open_files_max = sim->open_files_max;
    clone->is_direct_supported = sim->is_direct_supported;
    clone->failed_sync_kept_percent = sim->failed_sync_kept_percent;
    clone->real_ns = sim->real_ns;
    clone->monotonic_ns = sim->monotonic_ns;
    clone->tick_ns = sim->tick_ns;
    clone->wait_limit_ns = sim->wait_limit_ns;
    unlock(sim);
    if (result < 0) {
        dbk_sim_free(clone);
        return DAYBOOK_ENOMEM;
    }
    *clone_out = clone;
    return DAYBOOK_OK;
}

void dbk_sim_set_observer(dbk_sim *sim, dbk_sim_observe *observe, void *context) {
    lock(sim);
    sim->observe = observe;
    sim->observe_context = context;
    unlock(sim);
}

void dbk_sim_free(dbk_sim *sim) {
    if (sim == NULL) return;
    while (sim->files != NULL) free_file(sim, sim->files);
    dbk_sim_disk_deinit(&sim->disk);
    for (size_t i = 0; i < sim->name_count; i++) dbk_free(heap(), sim->names[i].name);
    dbk_free(heap(), sim->names);
    (void)pthread_mutex_destroy(&sim->mutex);
    (void)pthread_mutex_destroy(&sim->sleep_mutex);
    (void)pthread_cond_destroy(&sim->wakened);
    dbk_free(heap(), sim);
}

daybook_vfs *dbk_sim_vfs(dbk_sim *sim) {
    return dbk_sim_process(sim, 0);
}

daybook_vfs *dbk_sim_process(dbk_sim *sim, unsigned number) {
    DBK_ASSERT(number < DBK_SIM_PROCESS_COUNT_MAX);
    return &sim->processes[number].vfs;
}

static void kill_process(dbk_sim *sim, process *victim) {
    victim->generation++;
    for (daybook_file *file = sim->files; file != NULL; file = file->next) {
        if (file->owner == victim && file->node->lock_holder == file) file->node->lock_holder = NULL;
    }
}

void dbk_sim_kill(dbk_sim *sim, unsigned process_number) {
    DBK_ASSERT(process_number < DBK_SIM_PROCESS_COUNT_MAX);
    lock(sim);
    kill_process(sim, &sim->processes[process_number]);
    unlock(sim);
    wake_all(sim);
}

void dbk_sim_crash(dbk_sim *sim, dbk_sim_crash_kind kind) {
    lock(sim);
    for (size_t i = 0; i < DBK_SIM_PROCESS_COUNT_MAX; i++) kill_process(sim, &sim->processes[i]);
    if (kind != DBK_SIM_KILL) {
        int result = dbk_sim_disk_lose_power(&sim->disk, kind);
        DBK_ASSERT(result == 0); // only memory; nothing sensible could go on
    }
    sim->is_stopped = false;
    sim->stop_step = 0;
    sim->fault_count = 0;
    unlock(sim);
    wake_all(sim);
}

uint64_t dbk_sim_steps(dbk_sim *sim) {
    lock(sim);
    uint64_t steps = sim->steps;
    unlock(sim);
    return steps;
}

void dbk_sim_stop_after(dbk_sim *sim, uint64_t steps) {
    lock(sim);
    sim->stop_step = steps == 0 ? 0 : sim->steps + steps;
    unlock(sim);
}

void dbk_sim_stop_now(dbk_sim *sim) {
    lock(sim);
    sim->is_stopped = true;
    unlock(sim);
}

bool dbk_sim_is_stopped(dbk_sim *sim) {
    lock(sim);
    bool is_stopped = sim->is_stopped;
    unlock(sim);
    return is_stopped;
}

daybook_status dbk_sim_fail(dbk_sim *sim, const dbk_sim_fault *fault) {
    if (fault->nth == 0 || fault->error <= 0) return DAYBOOK_EMISUSE;
    daybook_status status = DAYBOOK_ELIMIT;
    lock(sim);
    size_t at = 0;
    while (at < sim->fault_count && sim->faults[at].nth != 0) at++; // a spent one may be replaced
    if (at < DBK_SIM_FAULT_COUNT_MAX) {
        sim->faults[at] = *fault;
        if (at == sim->fault_count) sim->fault_count++;
        status = DAYBOOK_OK;
    }
    unlock(sim);
    return status;
}

void dbk_sim_clear_faults(dbk_sim *sim) {
    lock(sim);
    sim->fault_count = 0;
    unlock(sim);
}

uint64_t dbk_sim_fault_hits(dbk_sim *sim) {
    lock(sim);
    uint64_t hits = sim->fault_hits;
    unlock(sim);
    return hits;
}

void dbk_sim_set_short_transfers(dbk_sim *sim, unsigned percent) {
    lock(sim);
    sim->short_percent = percent;
    unlock(sim);
}

void dbk_sim_set_capacity(dbk_sim *sim, uint64_t bytes) {
    lock(sim);
    sim->capacity = bytes;
    unlock(sim);
}

void dbk_sim_set_open_files_max(dbk_sim *sim, unsigned count) {
    lock(sim);
    sim->open_files_max = count;
    unlock(sim);
}

void dbk_sim_set_direct(dbk_sim *sim, bool is_supported) {
    lock(sim);
    sim->is_direct_supported = is_supported;
    unlock(sim);
}

void dbk_sim_evict(dbk_sim *sim) {
    lock(sim);
    int result = dbk_sim_disk_evict(&sim->disk);
    DBK_ASSERT(result == 0); // only memory; nothing sensible could go on
    unlock(sim);
}

void dbk_sim_set_failed_sync_kept(dbk_sim *sim, unsigned percent) {
    lock(sim);
    sim->failed_sync_kept_percent = percent;
    unlock(sim);
}

static daybook_status overwrite_locked(dbk_sim *sim, const char *path, uint64_t offset, const void *data,
                                       size_t size) {
    dbk_sim_node *node = NULL;
    if (dbk_sim_find(&sim->disk, path, &node) < 0 || node->is_directory) return DAYBOOK_ENOTFOUND;
    if (offset > node->view.size || size > node->view.size - offset) return DAYBOOK_EINVALID;
    if (size > 0 && dbk_sim_node_overwrite(node, offset, data, size) < 0) return DAYBOOK_ENOMEM;
    return DAYBOOK_OK;
}

daybook_status dbk_sim_overwrite(dbk_sim *sim, const char *path, uint64_t offset, const void *data,
                                 size_t size) {
    lock(sim);
    daybook_status status = overwrite_locked(sim, path, offset, data, size);
    unlock(sim);
    return status;
}

daybook_status dbk_sim_flip(dbk_sim *sim, const char *path, uint64_t offset, uint8_t mask) {
    lock(sim);
    dbk_sim_node *node = NULL;
    daybook_status status = DAYBOOK_ENOTFOUND;
    uint8_t byte = 0;
    if (dbk_sim_find(&sim->disk, path, &node) == 0 && !node->is_directory) {
        status = dbk_sim_node_read(node, &byte, 1, offset) == 1 ? DAYBOOK_OK : DAYBOOK_EINVALID;
    }
    if (status == DAYBOOK_OK) {
        byte ^= mask;
        if (dbk_sim_node_overwrite(node, offset, &byte, 1) < 0) status = DAYBOOK_ENOMEM;
    }
    unlock(sim);
    return status;
}

dbk_sim_counts dbk_sim_count(dbk_sim *sim, dbk_sim_kind kind, const char *suffix) {
    dbk_sim_counts sum = {0};
    lock(sim);
    for (size_t i = 0; i < sim->name_count; i++) {
        if (!ends_in(sim->names[i].name, suffix)) continue;
        for (int k = 0; k < DBK_SIM_KIND_COUNT; k++) {
            if (kind != DBK_SIM_ANY && kind != (dbk_sim_kind)k) continue;
            sum.calls += sim->names[i].kinds[k].calls;
            sum.bytes += sim->names[i].kinds[k].bytes;
        }
    }
    unlock(sim);
    return sum;
}

void dbk_sim_reset_counts(dbk_sim *sim) {
    lock(sim);
    for (size_t i = 0; i < sim->name_count; i++) memset(sim->names[i].kinds, 0, sizeof sim->names[i].kinds);
    unlock(sim);
}

unsigned dbk_sim_open_files(dbk_sim *sim) {
    lock(sim);
    unsigned count = sim->file_count;
    unlock(sim);
    return count;
}

unsigned dbk_sim_open_maps(dbk_sim *sim) {
    lock(sim);
    unsigned count = sim->map_count;
    unlock(sim);
    return count;
}

uint64_t dbk_sim_used_bytes(dbk_sim *sim) {
    lock(sim);
    uint64_t bytes = sim->disk.used_bytes;
    unlock(sim);
    return bytes;
}

void dbk_sim_set_tick_ns(dbk_sim *sim, int64_t tick_ns) {
    lock(sim);
    sim->tick_ns = tick_ns;
    unlock(sim);
}

void dbk_sim_set_real_ns(dbk_sim *sim, int64_t real_ns) {
    lock(sim);
    sim->real_ns = real_ns;
    unlock(sim);
}

void dbk_sim_advance_ns(dbk_sim *sim, int64_t duration_ns) {
    advance(sim, duration_ns);
    wake_all(sim);
}

void dbk_sim_set_wait_limit_ns(dbk_sim *sim, int64_t limit_ns) {
    lock(sim);
    sim->wait_limit_ns = limit_ns;
    unlock(sim);
}
