// SPDX-License-Identifier: Apache-2.0
// The outside world of options: files through the vfs, the environment.
#include "options/files.h"

#include <errno.h>
#include <stdlib.h>

static daybook_status read_bytes(daybook_vfs *vfs, daybook_file *file, const char *path, uint64_t size,
                                 dbk_buf *bytes, daybook_error *error) {
    uint8_t *room = dbk_buf_reserve(bytes, (size_t)size);
    if (room == NULL) return DAYBOOK_ENOMEM;
    uint64_t done = 0;
    while (done < size) {
        int64_t count = vfs->read_at(vfs, file, room + done, (size_t)(size - done), done);
        if (count == -EINTR) continue;
        if (count < 0) return dbk_fail_system(error, (int)count, "read", path, done);
        if (count == 0) break; // it was cut meanwhile
        done += (uint64_t)count;
    }
    bytes->size += (size_t)done;
    return DAYBOOK_OK;
}

daybook_status dbk_options_read_file(void *context, const char *path, dbk_buf *bytes, daybook_error *error) {
    daybook_vfs *vfs = context;
    daybook_file *file;
    int failed = vfs->open(vfs, path, DAYBOOK_VFS_READ, &file);
    if (failed < 0) return dbk_fail_system(error, failed, "open", path, 0);
    uint64_t size = 0;
    daybook_status status = DAYBOOK_OK;
    failed = vfs->file_size(vfs, file, &size);
    if (failed < 0) {
        status = dbk_fail_system(error, failed, "read", path, 0);
    } else if (size > bytes->size_max - bytes->size) {
        status = dbk_fail(error, DAYBOOK_ELIMIT, "%s has %llu bytes, more than a configuration may have",
                          path, (unsigned long long)size);
    } else {
        status = read_bytes(vfs, file, path, size, bytes, error);
    }
    vfs->close(vfs, file);
    return status;
}

const char *dbk_options_get_variable(void *context, const char *name) {
    (void)context;
    return getenv(name);
}
