// SPDX-License-Identifier: Apache-2.0
// A library to be preloaded: lets one system call of the library's posix side fail, chosen by name and
// number.
//
//   INJECT=<call>:<nth>:<error>[+]    the nth call (from 1) fails with EIO, ENOSPC, EMFILE, EINTR ... or, SHORT,
//                                     moves less than asked; with + every later one, too
//   INJECT_REPORT=<path>              at the end: "<calls> <failed>", decimal
//
// A failing write may have moved nothing; a failing sync has not synced: what it should have synced stays in
// the page cache, as after a real failure. Any thread.
#define _GNU_SOURCE // RTLD_NEXT, fallocate

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SHORT = -1, SHORT_UNIT = 512 };

static char call_chosen[32];
static unsigned long nth;
static int error_chosen;
static bool for_ever;
static atomic_ulong calls, failed;

static const struct name {
    const char *text;
    int error;
} names[] = {{"EIO", EIO},       {"ENOSPC", ENOSPC}, {"EMFILE", EMFILE}, {"EINTR", EINTR},
             {"EACCES", EACCES}, {"EROFS", EROFS},   {"EDQUOT", EDQUOT}, {"SHORT", SHORT}};

static void begin(void) __attribute__((constructor));
static void begin(void) {
    const char *said = getenv("INJECT");
    char error[16] = "";
    if (said == NULL || sscanf(said, "%31[^:]:%lu:%15[A-Z]", call_chosen, &nth, error) != 3) return;
    for_ever = said[strlen(said) - 1] == '+';
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(error, names[i].text) == 0) error_chosen = names[i].error;
    }
}

static void end(void) __attribute__((destructor));
static void end(void) {
    const char *path = getenv("INJECT_REPORT");
    FILE *file = path == NULL ? NULL : fopen(path, "w");
    if (file == NULL) return;
    (void)fprintf(file, "%lu %lu\n", atomic_load(&calls), atomic_load(&failed));
    (void)fclose(file);
}

// The error for this call, 0 for none.
static int fate(const char *call) {
    if (strcmp(call, call_chosen) != 0) return 0;
    unsigned long number = atomic_fetch_add(&calls, 1) + 1;
    if (number != nth && !(for_ever && number > nth)) return 0;
    atomic_fetch_add(&failed, 1);
    return error_chosen;
}

// A function pointer from an object pointer: what dlsym is for, and pedantry forbids.
#define REAL(name) (*(__typeof__(&name) *)&(void *){dlsym(RTLD_NEXT, #name)})

#define FAIL(call)              \
    do {                        \
        int error = fate(call); \
        if (error > 0) {        \
            errno = error;      \
            return -1;          \
        }                       \
    } while (0)

int open(const char *path, int flags, ...) {
    mode_t mode = 0;
    if ((flags & O_CREAT) != 0) {
        va_list arguments;
        va_start(arguments, flags);
        mode = va_arg(arguments, mode_t);
        va_end(arguments);
    }
    FAIL("open");
    return REAL(open)(path, flags, mode);
}

// Less than asked, never nothing: that would be the end of the file.
static size_t cut(size_t size) {
    if (size >= 2 * SHORT_UNIT) return size / 2 / SHORT_UNIT * SHORT_UNIT;
    return size > 1 ? size / 2 : size;
}

ssize_t pread(int file, void *data, size_t size, off_t offset) {
    int error = fate("pread");
    if (error == SHORT) size = cut(size);
    if (error > 0) {
        errno = error;
        return -1;
    }
    return REAL(pread)(file, data, size, offset);
}

ssize_t pwrite(int file, const void *data, size_t size, off_t offset) {
    int error = fate("pwrite");
    if (error == SHORT) size = cut(size);
    if (error > 0) {
        errno = error;
        return -1;
    }
    return REAL(pwrite)(file, data, size, offset);
}

int fdatasync(int file) {
    FAIL("fdatasync");
    return REAL(fdatasync)(file);
}

int fsync(int file) {
    FAIL("fsync");
    return REAL(fsync)(file);
}

int ftruncate(int file, off_t size) {
    FAIL("ftruncate");
    return REAL(ftruncate)(file, size);
}

int fallocate(int file, int mode, off_t offset, off_t size) {
    FAIL("fallocate");
    return REAL(fallocate)(file, mode, offset, size);
}

int rename(const char *from, const char *to) {
    FAIL("rename");
    return REAL(rename)(from, to);
}

int unlink(const char *path) {
    FAIL("unlink");
    return REAL(unlink)(path);
}

int flock(int file, int operation) {
    FAIL("flock");
    return REAL(flock)(file, operation);
}

int mkdir(const char *path, mode_t mode) {
    FAIL("mkdir");
    return REAL(mkdir)(path, mode);
}

void *mmap(void *address, size_t size, int protection, int flags, int file, off_t offset) {
    int error = (flags & MAP_SHARED) != 0 ? fate("mmap") : 0;
    if (error > 0) {
        errno = error;
        return MAP_FAILED;
    }
    return REAL(mmap)(address, size, protection, flags, file, offset);
}
