// SPDX-License-Identifier: Apache-2.0
#include "sim/golden.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COPY_SIZE = 1 << 16, PATH_SIZE = 4096 };

typedef struct loading {
    daybook_vfs *from, *to;
    const char *directory, *path;
    int count;
} loading;

static void must(int result, const char *what, const char *path) {
    if (result >= 0) return;
    (void)fprintf(stderr, "golden store: cannot %s %s: %s\n", what, path, strerror(-result));
    abort();
}

static int load_file(void *context, const daybook_vfs_entry *entry) {
    loading *load = context;
    static char bytes[COPY_SIZE];
    char from_path[PATH_SIZE], to_path[PATH_SIZE];
    if (entry->is_directory) return 0;
    (void)snprintf(from_path, sizeof from_path, "%s/%s", load->directory, entry->name);
    (void)snprintf(to_path, sizeof to_path, "%s/%s", load->path, entry->name);
    daybook_file *from = NULL, *to = NULL;
    must(load->from->open(load->from, from_path, DAYBOOK_VFS_READ, &from), "open", from_path);
    must(load->to->open(load->to, to_path, DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE, &to), "create", to_path);
    for (uint64_t offset = 0;;) {
        int64_t moved = load->from->read_at(load->from, from, bytes, sizeof bytes, offset);
        must((int)moved, "read", from_path);
        if (moved == 0) break;
        int64_t written = load->to->write_at(load->to, to, bytes, (size_t)moved, offset);
        if (written != moved) must(-EIO, "write", to_path);
        offset += (uint64_t)moved;
    }
    must(load->to->sync(load->to, to), "sync", to_path);
    load->to->close(load->to, to);
    load->from->close(load->from, from);
    load->count++;
    return 0;
}

static void copy(daybook_vfs *from, const char *directory, daybook_vfs *to, const char *path) {
    loading load = {.from = from, .to = to, .directory = directory, .path = path};
    must(to->make_directory(to, path), "make", path);
    must(from->list(from, directory, load_file, &load), "list", directory);
    if (load.count == 0) must(-ENOENT, "find files in", directory);
    must(to->sync_directory(to, path), "sync", path);
}

void golden_load(dbk_sim *sim, const char *directory, const char *path) {
    copy(daybook_vfs_posix(), directory, dbk_sim_vfs(sim), path);
    must(dbk_sim_vfs(sim)->sync_directory(dbk_sim_vfs(sim), "/"), "sync", "/");
}

void golden_save(dbk_sim *sim, const char *path, const char *directory) {
    copy(dbk_sim_vfs(sim), path, daybook_vfs_posix(), directory);
}
