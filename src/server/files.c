// SPDX-License-Identifier: Apache-2.0
// See files.h. Files are written aside and renamed, so that nobody reads half of one.
#include "server/files.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "base/bytes.h"
#include "base/error.h"
#include "json/json.h"

static int write_all(daybook_vfs *vfs, daybook_file *file, const void *data, size_t size) {
    int failure = vfs->truncate(vfs, file, 0);
    for (size_t done = 0; failure == 0 && done < size;) {
        int64_t written = vfs->write_at(vfs, file, (const uint8_t *)data + done, size - done, done);
        if (written <= 0) {
            failure = written < 0 ? (int)written : -EIO;
        } else {
            done += (size_t)written;
        }
    }
    return failure;
}

static daybook_status write_file(daybook_vfs *vfs, const char *path, const void *data, size_t size,
                                 daybook_error *error) {
    char aside[4096];
    int length = snprintf(aside, sizeof aside, "%s.new", path);
    if (length < 0 || (size_t)length >= sizeof aside) {
        return dbk_fail(error, DAYBOOK_ELIMIT, "%s cannot be written: its name is too long", path);
    }
    daybook_file *file = NULL;
    int failure = vfs->open(vfs, aside, DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE, &file);
    if (failure != 0) return dbk_fail_system(error, failure, "create", aside, 0);
    failure = write_all(vfs, file, data, size);
    vfs->close(vfs, file);
    if (failure == 0) failure = vfs->rename(vfs, aside, path);
    if (failure == 0) return DAYBOOK_OK;
    (void)vfs->unlink(vfs, aside);
    return dbk_fail_system(error, failure, "write", path, 0);
}

daybook_status dbk_pid_file_write(daybook_vfs *vfs, const char *path, daybook_error *error) {
    char text[32];
    int length = snprintf(text, sizeof text, "%ld\n", (long)uv_os_getpid());
    return write_file(vfs, path, text, (size_t)length, error);
}

static void append(dbk_buf *out, const char *text) {
    dbk_buf_append(out, text, strlen(text));
}

daybook_status dbk_ports_file_write(daybook_vfs *vfs, const daybook_allocator *allocator,
                                    const char *directory, const char *program, const char *url,
                                    const char *monitor_url, char **path_out, daybook_error *error) {
    *path_out = NULL;
    char path[4096];
    int length = snprintf(path, sizeof path, "%s/%s_%ld.ports", directory, program, (long)uv_os_getpid());
    if (length < 0 || (size_t)length >= sizeof path) {
        return dbk_fail(error, DAYBOOK_ELIMIT,
                        "the ports file cannot be written: the name of its folder is too long");
    }
    dbk_buf text;
    dbk_buf_init(&text, allocator, 8192);
    append(&text, "{\"nats\":[");
    dbk_json_write_go_string(&text, daybook_text(url));
    append(&text, "]");
    if (monitor_url != NULL) {
        append(&text, ",\"monitoring\":[");
        dbk_json_write_go_string(&text, daybook_text(monitor_url));
        append(&text, "]");
    }
    append(&text, "}");
    *path_out = dbk_copy_text(allocator, daybook_text(path));
    daybook_status status = text.failed || *path_out == NULL
                                ? dbk_fail(error, DAYBOOK_ENOMEM, "out of memory for the ports file")
                                : write_file(vfs, path, text.data, text.size, error);
    dbk_buf_deinit(&text);
    if (status != DAYBOOK_OK) {
        dbk_free(allocator, *path_out);
        *path_out = NULL;
    }
    return status;
}

daybook_status dbk_make_directories(daybook_vfs *vfs, const daybook_allocator *allocator, const char *path,
                                    daybook_error *error) {
    char *part = dbk_copy_text(allocator, daybook_text(path));
    if (part == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory for a folder's name");
    daybook_status status = DAYBOOK_OK;
    size_t size = strlen(part);
    for (size_t i = 1; i <= size && status == DAYBOOK_OK; i++) {
        if (part[i] != '/' && part[i] != '\0') continue;
        part[i] = '\0';
        int failure = vfs->make_directory(vfs, part);
        // One above may be read-only and there: what counts is whether the last can be made.
        if (failure != 0 && failure != -EEXIST && i == size) {
            status = dbk_fail_system(error, failure, "make the folder", path, 0);
        }
        if (i < size) part[i] = '/';
    }
    dbk_free(allocator, part);
    return status;
}
