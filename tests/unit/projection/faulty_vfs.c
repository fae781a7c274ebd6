// SPDX-License-Identifier: Apache-2.0
#include "faulty_vfs.h"

#include <sqlite3.h>
#include <stdatomic.h>
#include <string.h>

typedef struct faulty_file {
    sqlite3_file base;
    sqlite3_file *inner; // behind this struct
} faulty_file;

static sqlite3_vfs *inner_vfs;
static sqlite3_vfs faulty_vfs;
static atomic_int write_count, fail_from, fail_to, fail_code, failure_count;

static int passes(void) {
    int number = atomic_fetch_add(&write_count, 1) + 1;
    int from = atomic_load(&fail_from);
    if (from == 0 || number < from || number >= atomic_load(&fail_to)) return SQLITE_OK;
    atomic_fetch_add(&failure_count, 1);
    return atomic_load(&fail_code);
}

static sqlite3_file *inner_of(sqlite3_file *file) {
    return ((faulty_file *)file)->inner;
}

static int do_close(sqlite3_file *file) {
    sqlite3_file *inner = inner_of(file);
    return inner->pMethods == NULL ? SQLITE_OK : inner->pMethods->xClose(inner);
}

static int do_read(sqlite3_file *file, void *data, int size, sqlite3_int64 offset) {
    return inner_of(file)->pMethods->xRead(inner_of(file), data, size, offset);
}

static int do_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset) {
    int code = passes();
    return code != SQLITE_OK ? code : inner_of(file)->pMethods->xWrite(inner_of(file), data, size, offset);
}

static int do_truncate(sqlite3_file *file, sqlite3_int64 size) {
    int code = passes();
    return code != SQLITE_OK ? code : inner_of(file)->pMethods->xTruncate(inner_of(file), size);
}

static int do_sync(sqlite3_file *file, int flags) {
    int code = passes();
    if (code == SQLITE_FULL) code = SQLITE_OK; // a sync finds no room only in writing
    return code != SQLITE_OK ? SQLITE_IOERR_FSYNC : inner_of(file)->pMethods->xSync(inner_of(file), flags);
}

static int do_size(sqlite3_file *file, sqlite3_int64 *size_out) {
    return inner_of(file)->pMethods->xFileSize(inner_of(file), size_out);
}

static int do_lock(sqlite3_file *file, int kind) {
    return inner_of(file)->pMethods->xLock(inner_of(file), kind);
}

static int do_unlock(sqlite3_file *file, int kind) {
    return inner_of(file)->pMethods->xUnlock(inner_of(file), kind);
}

static int do_check_lock(sqlite3_file *file, int *is_locked_out) {
    return inner_of(file)->pMethods->xCheckReservedLock(inner_of(file), is_locked_out);
}

static int do_control(sqlite3_file *file, int operation, void *argument) {
    return inner_of(file)->pMethods->xFileControl(inner_of(file), operation, argument);
}

static int do_sector_size(sqlite3_file *file) {
    return inner_of(file)->pMethods->xSectorSize(inner_of(file));
}

static int do_characteristics(sqlite3_file *file) {
    return inner_of(file)->pMethods->xDeviceCharacteristics(inner_of(file));
}

static int do_map(sqlite3_file *file, int region, int size, int is_extending, void volatile **data_out) {
    return inner_of(file)->pMethods->xShmMap(inner_of(file), region, size, is_extending, data_out);
}

static int do_map_lock(sqlite3_file *file, int offset, int count, int flags) {
    return inner_of(file)->pMethods->xShmLock(inner_of(file), offset, count, flags);
}

static void do_barrier(sqlite3_file *file) {
    inner_of(file)->pMethods->xShmBarrier(inner_of(file));
}

static int do_unmap(sqlite3_file *file, int is_deleting) {
    return inner_of(file)->pMethods->xShmUnmap(inner_of(file), is_deleting);
}

static const sqlite3_io_methods methods = {2,
                                           do_close,
                                           do_read,
                                           do_write,
                                           do_truncate,
                                           do_sync,
                                           do_size,
                                           do_lock,
                                           do_unlock,
                                           do_check_lock,
                                           do_control,
                                           do_sector_size,
                                           do_characteristics,
                                           do_map,
                                           do_map_lock,
                                           do_barrier,
                                           do_unmap,
                                           NULL,
                                           NULL};

static int do_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *flags_out) {
    (void)vfs;
    faulty_file *made = (faulty_file *)file;
    made->inner = (sqlite3_file *)(void *)(made + 1);
    memset(made->inner, 0, sizeof *made->inner);
    int code = inner_vfs->xOpen(inner_vfs, name, made->inner, flags, flags_out);
    made->base.pMethods = made->inner->pMethods == NULL ? NULL : &methods;
    return code;
}

void faulty_vfs_register(void) {
    if (inner_vfs != NULL) return;
    inner_vfs = sqlite3_vfs_find(NULL);
    faulty_vfs = *inner_vfs;
    faulty_vfs.zName = "faulty";
    faulty_vfs.pNext = NULL;
    faulty_vfs.szOsFile = (int)sizeof(faulty_file) + inner_vfs->szOsFile;
    faulty_vfs.xOpen = do_open;
    sqlite3_vfs_register(&faulty_vfs, 1);
}

void faulty_vfs_fail(int nth, int count, int code) {
    int now = atomic_load(&write_count);
    atomic_store(&failure_count, 0);
    atomic_store(&fail_code, code);
    atomic_store(&fail_to, nth == 0 ? 0 : now + nth + count);
    atomic_store(&fail_from, nth == 0 ? 0 : now + nth);
}

int faulty_vfs_has_failed(void) {
    return atomic_load(&failure_count) > 0;
}

int faulty_vfs_write_count(void) {
    return atomic_load(&write_count);
}
