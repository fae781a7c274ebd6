// SPDX-License-Identifier: Apache-2.0
// What every user of files wants over the seam, written once: interrupted and short transfers completed,
// errors turned into statuses that name the file.
//
// A file is replaced through "<name>.tmp": written, synced, renamed over the old one, directory synced. A
// crash leaves the old or the new content, and at worst a temporary file, which the next replacement
// overwrites. Any thread, but one replacement of one name at a time.
#include "io/io.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

daybook_status dbk_path_join(const char *directory, const char *name, char path_out[DBK_PATH_SIZE_MAX],
                             daybook_error *error) {
    size_t directory_size = strlen(directory);
    size_t name_size = strlen(name);
    bool needs_slash = directory_size > 0 && directory[directory_size - 1] != '/';
    if (directory_size + needs_slash + name_size >= DBK_PATH_SIZE_MAX) {
        return dbk_fail(error, DAYBOOK_EINVALID,
                        "path too long: %.64s.../%.64s has over %d bytes; use a shorter one", directory, name,
                        DBK_PATH_SIZE_MAX - 1);
    }
    memcpy(path_out, directory, directory_size);
    if (needs_slash) path_out[directory_size++] = '/';
    memcpy(path_out + directory_size, name, name_size + 1);
    return DAYBOOK_OK;
}

daybook_status dbk_read_exactly(daybook_vfs *vfs, daybook_file *file, const char *path, void *data,
                                size_t size, uint64_t offset, daybook_error *error) {
    uint8_t *at = data;
    size_t done = 0;
    while (done < size) {
        int64_t moved = vfs->read_at(vfs, file, at + done, size - done, offset + done);
        if (moved == -EINTR) continue;
        if (moved < 0) return dbk_fail_system(error, (int)moved, "read", path, offset + done);
        if (moved == 0) {
            return dbk_fail_damaged(error, path, offset + done,
                                    "%s ends at byte %llu where %zu more are expected: the file was cut; "
                                    "run daybook verify",
                                    path, (unsigned long long)(offset + done), size - done);
        }
        done += (size_t)moved;
    }
    return DAYBOOK_OK;
}

daybook_status dbk_write_exactly(daybook_vfs *vfs, daybook_file *file, const char *path, const void *data,
                                 size_t size, uint64_t offset, daybook_error *error) {
    const uint8_t *at = data;
    size_t done = 0;
    while (done < size) {
        int64_t moved = vfs->write_at(vfs, file, at + done, size - done, offset + done);
        if (moved == -EINTR) continue;
        // A write that moves nothing has no errno; it would loop for ever.
        if (moved == 0) moved = -EIO;
        if (moved < 0) return dbk_fail_system(error, (int)moved, "write", path, offset + done);
        done += (size_t)moved;
    }
    return DAYBOOK_OK;
}

daybook_status dbk_read_file(daybook_vfs *vfs, const char *path, dbk_buf *buf, daybook_error *error) {
    daybook_file *file = NULL;
    int result = vfs->open(vfs, path, DAYBOOK_VFS_READ, &file);
    if (result < 0) return dbk_fail_system(error, result, "open", path, 0);

    daybook_status status = DAYBOOK_OK;
    uint64_t size = 0;
    result = vfs->file_size(vfs, file, &size);
    if (result < 0) {
        status = dbk_fail_system(error, result, "read the size of", path, 0);
        goto done;
    }
    if (size > buf->size_max - buf->size) {
        status = dbk_fail(error, DAYBOOK_ELIMIT,
                          "%s is too large: it has %llu bytes, at most %zu are expected", path,
                          (unsigned long long)size, buf->size_max - buf->size);
        goto done;
    }
    uint8_t *data = dbk_buf_reserve(buf, (size_t)size);
    if (data == NULL) {
        status = dbk_fail(error, DAYBOOK_ENOMEM, "out of memory: %s needs %llu bytes", path,
                          (unsigned long long)size);
        goto done;
    }
    status = dbk_read_exactly(vfs, file, path, data, (size_t)size, 0, error);
    if (status == DAYBOOK_OK) buf->size += (size_t)size;

done:
    vfs->close(vfs, file);
    return status;
}

static daybook_status write_new_file(daybook_vfs *vfs, const char *path, dbk_slice content,
                                     daybook_error *error) {
    daybook_file *file = NULL;
    int result = vfs->open(vfs, path, DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE, &file);
    if (result < 0) return dbk_fail_system(error, result, "create", path, 0);

    daybook_status status = DAYBOOK_OK;
    result = vfs->truncate(vfs, file, 0); // a leftover of an earlier crash
    if (result < 0) {
        status = dbk_fail_system(error, result, "truncate", path, 0);
        goto done;
    }
    status = dbk_write_exactly(vfs, file, path, content.data, content.size, 0, error);
    if (status != DAYBOOK_OK) goto done;
    result = vfs->sync(vfs, file);
    if (result < 0) status = dbk_fail_system(error, result, "sync", path, 0);

done:
    vfs->close(vfs, file);
    return status;
}

daybook_status dbk_replace_file(daybook_vfs *vfs, const char *directory, const char *name, dbk_slice content,
                                daybook_error *error) {
    char path[DBK_PATH_SIZE_MAX];
    char temporary[DBK_PATH_SIZE_MAX];
    DBK_TRY(dbk_path_join(directory, name, path, error));
    size_t size = strlen(path);
    if (size + sizeof ".tmp" > DBK_PATH_SIZE_MAX) {
        return dbk_fail(error, DAYBOOK_EINVALID, "path too long: %.64s...; use a shorter one", path);
    }
    memcpy(temporary, path, size);
    memcpy(temporary + size, ".tmp", sizeof ".tmp");

    daybook_status status = write_new_file(vfs, temporary, content, error);
    if (status == DAYBOOK_OK) {
        int result = vfs->rename(vfs, temporary, path);
        if (result < 0) status = dbk_fail_system(error, result, "rename to", path, 0);
    }
    if (status != DAYBOOK_OK) {
        (void)vfs->unlink(vfs, temporary); // the first failure is the one that matters
        return status;
    }
    int result = vfs->sync_directory(vfs, directory);
    if (result < 0) return dbk_fail_system(error, result, "sync the directory", directory, 0);
    return DAYBOOK_OK;
}

int dbk_allocate(daybook_vfs *vfs, daybook_file *file, uint64_t offset, uint64_t size) {
    bool exists = vfs->size >= offsetof(daybook_vfs, allocate) + sizeof vfs->allocate &&
                  vfs->allocate != NULL;
    return exists ? vfs->allocate(vfs, file, offset, size) : -EOPNOTSUPP;
}

int dbk_extend(daybook_vfs *vfs, daybook_file *file, const char *path, uint64_t size, uint64_t more) {
    uint64_t size_now = 0;
    int status = vfs->file_size(vfs, file, &size_now);
    if (status < 0) return status;
    uint64_t missing = size_now >= size + more ? 0 : size + more - (size_now > size ? size_now : size);
    // A file system may give what it has before it says no; others would miss that for as long.
    uint64_t free_bytes = 0;
    if (vfs->free_bytes(vfs, path, &free_bytes) == 0 && free_bytes < missing) return -ENOSPC;
    int result = dbk_allocate(vfs, file, size, more);
    if (result < 0 && result != -EOPNOTSUPP) (void)vfs->truncate(vfs, file, size);
    return result;
}

// The allocator knows no alignment: room for one block more, and the address to release in front.
bool dbk_has_is_unshared(const daybook_vfs *vfs) {
    return vfs->size >= offsetof(daybook_vfs, is_unshared) + sizeof vfs->is_unshared &&
           vfs->is_unshared != NULL;
}

void dbk_start_writing(daybook_vfs *vfs, daybook_file *file, uint64_t offset, uint64_t size) {
    if (vfs->size >= offsetof(daybook_vfs, start_writing) + sizeof vfs->start_writing &&
        vfs->start_writing != NULL)
        vfs->start_writing(vfs, file, offset, size);
}

void dbk_stand_back(daybook_vfs *vfs) {
    if (vfs->size >= offsetof(daybook_vfs, stand_back) + sizeof vfs->stand_back && vfs->stand_back != NULL)
        vfs->stand_back(vfs);
}

int dbk_is_unshared(daybook_vfs *vfs, daybook_file *file) {
    return dbk_has_is_unshared(vfs) ? vfs->is_unshared(vfs, file) : -ENOSYS;
}

void *dbk_aligned_alloc(const daybook_allocator *allocator, size_t size) {
    if (size > SIZE_MAX - DBK_IO_BLOCK_SIZE - sizeof(void *)) return NULL;
    uint8_t *raw = dbk_alloc(allocator, size + DBK_IO_BLOCK_SIZE + sizeof(void *));
    if (raw == NULL) return NULL;
    uintptr_t behind = (uintptr_t)raw + sizeof(void *);
    size_t skip = (DBK_IO_BLOCK_SIZE - behind % DBK_IO_BLOCK_SIZE) % DBK_IO_BLOCK_SIZE;
    uint8_t *data = raw + sizeof(void *) + skip;
    memcpy(data - sizeof(void *), &raw, sizeof raw);
    return data;
}

void dbk_aligned_free(const daybook_allocator *allocator, void *data) {
    if (data == NULL) return;
    void *raw = NULL;
    memcpy(&raw, (uint8_t *)data - sizeof(void *), sizeof raw);
    dbk_free(allocator, raw);
}
