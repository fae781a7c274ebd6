// SPDX-License-Identifier: Apache-2.0
// The real side of the seam, for Linux: each function is one system call with its result as 0, a count or a
// negative errno. Policy (retries of short transfers, messages) is in io.c, not here.
//
// - Descriptors are close-on-exec and never 0, 1 or 2, so that a stray write to standard output of a host
//   that closed it cannot land in a store.
// - O_DIRECT is dropped where open refuses it with EINVAL (tmpfs, some network file systems).
// - The lock is flock(2): it belongs to the open file, so a second open in the same process is caught too,
//   which fcntl locks would silently allow (and drop on any close).
// - A failed fdatasync is reported once and never repeated here: the kernel marks the pages clean, a second
//   call would succeed although the data is gone. Only EINTR, where nothing was decided, is repeated.
//
// Thread-safe: a daybook_file is immutable after open.
#define _GNU_SOURCE // O_DIRECT, F_DUPFD_CLOEXEC, fallocate, getrandom, syscall, flock, leases

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/time.h"
#include "daybook/sys/vfs.h"

enum { BACKGROUND_NICE = 5 }; // beyond what the process has; the system cuts it at 19
enum { FIRST_FREE_DESCRIPTOR = 3, FILE_MODE = 0666, DIRECTORY_MODE = 0777 }; // both narrowed by the umask

struct daybook_file {
    int descriptor;
    bool is_direct;
};

static int result_of(int result) {
    return result < 0 ? -errno : 0;
}

static int open_flags(unsigned flags) {
    int result = O_CLOEXEC | O_NOCTTY;
    result |= (flags & DAYBOOK_VFS_WRITE) != 0 ? O_RDWR : O_RDONLY;
    if ((flags & DAYBOOK_VFS_CREATE) != 0) result |= O_CREAT;
    if ((flags & DAYBOOK_VFS_EXCLUSIVE) != 0) result |= O_EXCL;
    if ((flags & DAYBOOK_VFS_SYNC) != 0) result |= O_DSYNC;
    return result;
}

static int open_retrying(const char *path, int flags) {
    int descriptor = -1;
    do {
        descriptor = open(path, flags, FILE_MODE);
    } while (descriptor < 0 && errno == EINTR);
    return descriptor < 0 ? -errno : descriptor;
}

// A descriptor above the standard ones for the same open file, or a negative errno.
static int move_up(int descriptor) {
    if (descriptor < 0 || descriptor >= FIRST_FREE_DESCRIPTOR) return descriptor;
    int moved = fcntl(descriptor, F_DUPFD_CLOEXEC, FIRST_FREE_DESCRIPTOR);
    int result = moved < 0 ? -errno : moved;
    (void)close(descriptor);
    return result;
}

static int posix_open(daybook_vfs *vfs, const char *path, unsigned flags, daybook_file **file_out) {
    (void)vfs;
    *file_out = NULL;
    daybook_file *file = dbk_alloc_zeroed(dbk_allocator_default(), sizeof *file);
    if (file == NULL) return -ENOMEM;

    int system_flags = open_flags(flags);
    file->is_direct = (flags & DAYBOOK_VFS_DIRECT) != 0;
    int descriptor = open_retrying(path, system_flags | (file->is_direct ? O_DIRECT : 0));
    if (descriptor == -EINVAL && file->is_direct) {
        file->is_direct = false;
        // Linux may have created the file before it refused O_DIRECT: EXCLUSIVE must not trip over that.
        descriptor = open_retrying(path, system_flags);
        if (descriptor == -EEXIST && (flags & DAYBOOK_VFS_EXCLUSIVE) != 0) {
            descriptor = open_retrying(path, system_flags & ~O_EXCL);
        }
    }
    descriptor = move_up(descriptor);
    if (descriptor < 0) {
        dbk_free(dbk_allocator_default(), file);
        return descriptor;
    }
    file->descriptor = descriptor;
    *file_out = file;
    return 0;
}

static void posix_close(daybook_vfs *vfs, daybook_file *file) {
    (void)vfs;
    if (file == NULL) return;
    (void)close(file->descriptor); // Linux releases the descriptor even on EINTR and EIO
    dbk_free(dbk_allocator_default(), file);
}

static int64_t posix_read_at(daybook_vfs *vfs, daybook_file *file, void *data, size_t size, uint64_t offset) {
    (void)vfs;
    ssize_t moved = pread(file->descriptor, data, size, (off_t)offset);
    return moved < 0 ? -errno : moved;
}

static int64_t posix_write_at(daybook_vfs *vfs, daybook_file *file, const void *data, size_t size,
                              uint64_t offset) {
    (void)vfs;
    ssize_t moved = pwrite(file->descriptor, data, size, (off_t)offset);
    return moved < 0 ? -errno : moved;
}

static int posix_sync(daybook_vfs *vfs, daybook_file *file) {
    (void)vfs;
    int result = 0;
    do {
        result = result_of(fdatasync(file->descriptor));
    } while (result == -EINTR);
    return result;
}

static int posix_truncate(daybook_vfs *vfs, daybook_file *file, uint64_t size) {
    (void)vfs;
    int result = 0;
    do {
        result = result_of(ftruncate(file->descriptor, (off_t)size));
    } while (result == -EINTR);
    return result;
}

static int posix_allocate(daybook_vfs *vfs, daybook_file *file, uint64_t offset, uint64_t size) {
    (void)vfs;
    int result = 0;
    do {
        result = result_of(fallocate(file->descriptor, 0, (off_t)offset, (off_t)size));
    } while (result == -EINTR);
    return result == -ENOSYS ? -EOPNOTSUPP : result;
}

static int posix_file_size(daybook_vfs *vfs, daybook_file *file, uint64_t *size_out) {
    (void)vfs;
    struct stat info;
    if (fstat(file->descriptor, &info) < 0) return -errno;
    *size_out = (uint64_t)info.st_size;
    return 0;
}

static int posix_is_direct(daybook_vfs *vfs, daybook_file *file) {
    (void)vfs;
    return file->is_direct;
}

static int posix_lock(daybook_vfs *vfs, daybook_file *file) {
    (void)vfs;
    int result = 0;
    do {
        result = result_of(flock(file->descriptor, LOCK_EX | LOCK_NB));
    } while (result == -EINTR);
    return result;
}

static int posix_map_shared(daybook_vfs *vfs, daybook_file *file, size_t size, int writable,
                            void **data_out) {
    (void)vfs;
    *data_out = NULL;
    int protection = PROT_READ | (writable ? PROT_WRITE : 0);
    void *data = mmap(NULL, size, protection, MAP_SHARED, file->descriptor, 0);
    if (data == MAP_FAILED) return -errno;
    *data_out = data;
    return 0;
}

static void posix_unmap_shared(daybook_vfs *vfs, void *data, size_t size) {
    (void)vfs;
    if (data != NULL) (void)munmap(data, size);
}

static int posix_rename(daybook_vfs *vfs, const char *from, const char *to) {
    (void)vfs;
    return result_of(rename(from, to));
}

static int posix_link(daybook_vfs *vfs, const char *from, const char *to) {
    (void)vfs;
    return result_of(link(from, to));
}

static int posix_unlink(daybook_vfs *vfs, const char *path) {
    (void)vfs;
    return result_of(unlink(path));
}

static int posix_make_directory(daybook_vfs *vfs, const char *path) {
    (void)vfs;
    return result_of(mkdir(path, DIRECTORY_MODE));
}

static int posix_remove_directory(daybook_vfs *vfs, const char *path) {
    (void)vfs;
    return result_of(rmdir(path));
}

static int posix_sync_directory(daybook_vfs *vfs, const char *path) {
    (void)vfs;
    int descriptor = move_up(open_retrying(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (descriptor < 0) return descriptor;
    int result = 0;
    do {
        result = result_of(fsync(descriptor));
    } while (result == -EINTR);
    (void)close(descriptor);
    return result;
}

static bool is_self_or_parent(const char *name) {
    return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

// The entry of `name`, or a negative errno.
static int describe(int directory, const char *name, daybook_vfs_entry *entry_out) {
    struct stat info;
    if (fstatat(directory, name, &info, AT_SYMLINK_NOFOLLOW) < 0) return -errno;
    int size = snprintf(entry_out->name, sizeof entry_out->name, "%s", name);
    if (size < 0 || (size_t)size >= sizeof entry_out->name) return -ENAMETOOLONG;
    entry_out->size = (uint64_t)info.st_size;
    entry_out->is_directory = S_ISDIR(info.st_mode);
    return 0;
}

static int visit_all(DIR *directory, int (*visit)(void *context, const daybook_vfs_entry *entry),
                     void *context) {
    for (;;) {
        errno = 0;
        const struct dirent *found = readdir(directory);
        if (found == NULL) return -errno;
        if (is_self_or_parent(found->d_name)) continue;
        daybook_vfs_entry entry;
        int result = describe(dirfd(directory), found->d_name, &entry);
        if (result == -ENOENT) continue; // removed since it was listed
        if (result < 0) return result;
        result = visit(context, &entry);
        if (result != 0) return result;
    }
}

static int posix_list(daybook_vfs *vfs, const char *path,
                      int (*visit)(void *context, const daybook_vfs_entry *entry), void *context) {
    (void)vfs;
    int descriptor = move_up(open_retrying(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (descriptor < 0) return descriptor;
    DIR *directory = fdopendir(descriptor);
    if (directory == NULL) {
        int result = -errno;
        (void)close(descriptor);
        return result;
    }
    int result = visit_all(directory, visit, context);
    (void)closedir(directory);
    return result;
}

static int posix_free_bytes(daybook_vfs *vfs, const char *path, uint64_t *bytes_out) {
    (void)vfs;
    struct statvfs info;
    if (statvfs(path, &info) < 0) return -errno;
    *bytes_out = (uint64_t)info.f_bavail * info.f_frsize;
    return 0;
}

static int64_t clock_ns(clockid_t clock) {
    struct timespec now;
    (void)clock_gettime(clock, &now); // cannot fail with these two clocks
    return (int64_t)now.tv_sec * DBK_SECOND_NS + now.tv_nsec;
}

static int64_t posix_clock_real_ns(daybook_vfs *vfs) {
    (void)vfs;
    return clock_ns(CLOCK_REALTIME);
}

static int64_t posix_clock_monotonic_ns(daybook_vfs *vfs) {
    (void)vfs;
    return clock_ns(CLOCK_MONOTONIC);
}

static int posix_entropy(daybook_vfs *vfs, void *data, size_t size) {
    (void)vfs;
    uint8_t *at = data;
    while (size > 0) {
        ssize_t moved = getrandom(at, size, 0);
        if (moved < 0 && errno == EINTR) continue;
        if (moved < 0) return -errno;
        at += moved;
        size -= (size_t)moved;
    }
    return 0;
}

static int posix_wait(daybook_vfs *vfs, const volatile uint32_t *word, uint32_t expected, int64_t timeout_ns,
                      int shared) {
    (void)vfs;
    struct timespec timeout = {.tv_sec = (time_t)(timeout_ns / DBK_SECOND_NS),
                               .tv_nsec = (long)(timeout_ns % DBK_SECOND_NS)};
    int operation = shared ? FUTEX_WAIT : FUTEX_WAIT_PRIVATE;
    long result = syscall(SYS_futex, word, operation, expected, timeout_ns < 0 ? NULL : &timeout, NULL, 0);
    if (result == 0 || errno == EINTR) return 0;
    return -errno;
}

static void posix_wake(daybook_vfs *vfs, const volatile uint32_t *word, int count, int shared) {
    (void)vfs;
    (void)syscall(SYS_futex, word, shared ? FUTEX_WAKE : FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

// The kernel gives a write lease only to the one who has the file open alone; it is given back at once.
static int posix_is_unshared(daybook_vfs *vfs, daybook_file *file) {
    (void)vfs;
    struct stat info;
    if (fstat(file->descriptor, &info) < 0) return -errno;
    if (info.st_nlink > 0) return 0;
    if (fcntl(file->descriptor, F_SETLEASE, F_WRLCK) < 0) return errno == EAGAIN ? 0 : -errno;
    (void)fcntl(file->descriptor, F_SETLEASE, F_UNLCK); // closing does it, too
    return 1;
}

static void posix_start_writing(daybook_vfs *vfs, daybook_file *file, uint64_t offset, uint64_t size) {
    (void)vfs;
    // Errors show in sync: this call does not take them from the file.
    (void)sync_file_range(file->descriptor, (off64_t)offset, (off64_t)size, SYNC_FILE_RANGE_WRITE);
}

// Of Linux, and only there: a thread has a nice value of its own, and 0 means the calling one. A third of the
// share of others, so that who holds a lock of the store's is not kept from going on for long.
static void posix_stand_back(daybook_vfs *vfs) {
    (void)vfs;
    errno = 0;
    int nice_value = getpriority(PRIO_PROCESS, 0);
    if (nice_value != -1 || errno == 0) (void)setpriority(PRIO_PROCESS, 0, nice_value + BACKGROUND_NICE);
}

daybook_vfs *daybook_vfs_posix(void) {
    static daybook_vfs vfs = {
        .size = sizeof(daybook_vfs),
        .open = posix_open,
        .close = posix_close,
        .read_at = posix_read_at,
        .write_at = posix_write_at,
        .sync = posix_sync,
        .truncate = posix_truncate,
        .file_size = posix_file_size,
        .is_direct = posix_is_direct,
        .lock = posix_lock,
        .map_shared = posix_map_shared,
        .unmap_shared = posix_unmap_shared,
        .rename = posix_rename,
        .link = posix_link,
        .unlink = posix_unlink,
        .make_directory = posix_make_directory,
        .remove_directory = posix_remove_directory,
        .sync_directory = posix_sync_directory,
        .list = posix_list,
        .free_bytes = posix_free_bytes,
        .clock_real_ns = posix_clock_real_ns,
        .clock_monotonic_ns = posix_clock_monotonic_ns,
        .entropy = posix_entropy,
        .wait = posix_wait,
        .wake = posix_wake,
        .allocate = posix_allocate,
        .is_unshared = posix_is_unshared,
        .start_writing = posix_start_writing,
        .stand_back = posix_stand_back,
    };
    return &vfs;
}
