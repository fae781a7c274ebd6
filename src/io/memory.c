// SPDX-License-Identifier: Apache-2.0
// The vfs of ":memory:" stores. A flat table of nodes with whole paths as names: a store has one directory
// and a few hundred files, so a linear search does. Bytes of a file lie in chunks that never move, so that
// map_shared can hand out a pointer into the first one.
//
// Invariants: names are normalised (no leading, doubled or trailing slash; the root is ""); a node without a
// name lives on while handles or mappings refer to it. A chunk that was never written is NULL and reads as
// zeros. Failure modes: -ENOMEM, -ENOENT, -EEXIST, -ENOTEMPTY ... as a real file system; a write never fails
// half-way. Threads: one mutex over everything.
#include "io/memory.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

enum { CHUNK_SIZE = 64 * 1024, PATH_MAX_SIZE = 4096 };

typedef struct memory_node {
    struct memory_node *next;
    char *name;                     // NULL: unlinked. Names linked to the same content share it
    struct memory_content *content; // NULL: a directory
} memory_node;

typedef struct memory_content {
    unsigned references; // names, handles and mappings
    uint8_t **chunks;
    size_t chunk_count;
    uint64_t size;
    const daybook_file *lock_holder;
} memory_content;

struct daybook_file {
    memory_content *content;
    bool may_write;
};

typedef struct memory_map {
    struct memory_map *next;
    memory_content *content;
    void *data;
} memory_map;

typedef struct memory_vfs {
    daybook_vfs vfs;
    const daybook_allocator *allocator;
    pthread_mutex_t lock;
    memory_node *nodes;
    memory_map *maps;
} memory_vfs;

static memory_vfs *self_of(daybook_vfs *vfs) {
    return vfs->context;
}

// ---- Names and content

static int normalise(const char *path, char name_out[PATH_MAX_SIZE]) {
    size_t size = 0;
    for (const char *at = path; *at != '\0'; at++) {
        if (*at == '/' && (size == 0 || name_out[size - 1] == '/')) continue;
        if (size + 1 >= PATH_MAX_SIZE) return -ENAMETOOLONG;
        name_out[size++] = *at;
    }
    if (size > 0 && name_out[size - 1] == '/') size--;
    name_out[size] = '\0';
    return 0;
}

static memory_node *find_node(memory_vfs *self, const char *name) {
    for (memory_node *node = self->nodes; node != NULL; node = node->next) {
        if (strcmp(node->name, name) == 0) return node;
    }
    return NULL;
}

// 0 where the directory of `name` exists, else what is wrong with it.
static int check_parent(memory_vfs *self, const char *name) {
    const char *slash = strrchr(name, '/');
    if (slash == NULL) return 0; // in the root
    char parent[PATH_MAX_SIZE];
    memcpy(parent, name, (size_t)(slash - name));
    parent[slash - name] = '\0';
    memory_node *node = find_node(self, parent);
    if (node == NULL) return check_parent(self, parent) == -ENOTDIR ? -ENOTDIR : -ENOENT;
    return node->content == NULL ? 0 : -ENOTDIR;
}

// The node of `name`; NULL where there is none, with -ENOENT or -ENOTDIR.
static memory_node *find_existing(memory_vfs *self, const char *name, int *result_out) {
    memory_node *node = find_node(self, name);
    int result = node == NULL ? check_parent(self, name) : 0;
    *result_out = node == NULL && result == 0 ? -ENOENT : result;
    return node;
}

static void unref_content(memory_vfs *self, memory_content *content) {
    if (content == NULL || --content->references > 0) return;
    for (size_t i = 0; i < content->chunk_count; i++) dbk_free(self->allocator, content->chunks[i]);
    dbk_free(self->allocator, content->chunks);
    dbk_free(self->allocator, content);
}

static int add_node(memory_vfs *self, const char *name, memory_content *content) {
    int result = check_parent(self, name);
    if (result < 0) return result;
    memory_node *node = dbk_alloc_zeroed(self->allocator, sizeof *node);
    char *copy = dbk_copy_text(self->allocator, daybook_text(name));
    if (node == NULL || copy == NULL) {
        dbk_free(self->allocator, node);
        dbk_free(self->allocator, copy);
        return -ENOMEM;
    }
    node->name = copy;
    node->content = content;
    node->next = self->nodes;
    self->nodes = node;
    return 0;
}

static void remove_node(memory_vfs *self, memory_node *gone) {
    memory_node **at = &self->nodes;
    while (*at != gone) at = &(*at)->next;
    *at = gone->next;
    unref_content(self, gone->content);
    dbk_free(self->allocator, gone->name);
    dbk_free(self->allocator, gone);
}

static int ensure_chunks(memory_vfs *self, memory_content *content, uint64_t end) {
    size_t needed = (size_t)((end + CHUNK_SIZE - 1) / CHUNK_SIZE);
    if (needed > content->chunk_count) {
        size_t capacity = needed + needed / 2;
        uint8_t **chunks = dbk_resize_array(self->allocator, content->chunks, capacity, sizeof *chunks);
        if (chunks == NULL) return -ENOMEM;
        memset(chunks + content->chunk_count, 0, (capacity - content->chunk_count) * sizeof *chunks);
        content->chunks = chunks;
        content->chunk_count = capacity;
    }
    return 0;
}

static uint8_t *writable_chunk(memory_vfs *self, memory_content *content, size_t number) {
    if (content->chunks[number] == NULL)
        content->chunks[number] = dbk_alloc_zeroed(self->allocator, CHUNK_SIZE);
    return content->chunks[number];
}

// ---- Files

static int open_locked(memory_vfs *self, const char *name, unsigned flags, daybook_file *file) {
    memory_node *node = find_node(self, name);
    if (node != NULL && (flags & DAYBOOK_VFS_CREATE) != 0 && (flags & DAYBOOK_VFS_EXCLUSIVE) != 0)
        return -EEXIST;
    if (node != NULL && node->content == NULL) return -EISDIR;
    if (node != NULL) {
        file->content = node->content;
        file->content->references++;
        return 0;
    }
    int result = check_parent(self, name);
    if (result < 0) return result;
    if ((flags & DAYBOOK_VFS_CREATE) == 0) return -ENOENT;
    memory_content *content = dbk_alloc_zeroed(self->allocator, sizeof *content);
    if (content == NULL) return -ENOMEM;
    content->references = 2; // the name and the handle
    result = add_node(self, name, content);
    if (result < 0) {
        dbk_free(self->allocator, content);
        return result;
    }
    file->content = content;
    return 0;
}

static int memory_open(daybook_vfs *vfs, const char *path, unsigned flags, daybook_file **file_out) {
    memory_vfs *self = self_of(vfs);
    *file_out = NULL;
    char name[PATH_MAX_SIZE];
    int result = normalise(path, name);
    if (result < 0) return result;
    daybook_file *file = dbk_alloc_zeroed(self->allocator, sizeof *file);
    if (file == NULL) return -ENOMEM;
    file->may_write = (flags & DAYBOOK_VFS_WRITE) != 0;
    pthread_mutex_lock(&self->lock);
    result = open_locked(self, name, flags, file);
    pthread_mutex_unlock(&self->lock);
    if (result < 0) {
        dbk_free(self->allocator, file);
        return result;
    }
    *file_out = file;
    return 0;
}

static void memory_close(daybook_vfs *vfs, daybook_file *file) {
    if (file == NULL) return;
    memory_vfs *self = self_of(vfs);
    pthread_mutex_lock(&self->lock);
    if (file->content->lock_holder == file) file->content->lock_holder = NULL;
    unref_content(self, file->content);
    pthread_mutex_unlock(&self->lock);
    dbk_free(self->allocator, file);
}

static int64_t memory_read_at(daybook_vfs *vfs, daybook_file *file, void *data, size_t size,
                              uint64_t offset) {
    memory_vfs *self = self_of(vfs);
    pthread_mutex_lock(&self->lock);
    memory_content *content = file->content;
    uint64_t left = offset < content->size ? content->size - offset : 0;
    if (size > left) size = (size_t)left;
    for (size_t done = 0; done < size;) {
        size_t at = (size_t)((offset + done) % CHUNK_SIZE);
        size_t part = CHUNK_SIZE - at < size - done ? CHUNK_SIZE - at : size - done;
        const uint8_t *chunk = content->chunks[(offset + done) / CHUNK_SIZE];
        if (chunk != NULL) {
            memcpy((uint8_t *)data + done, chunk + at, part);
        } else {
            memset((uint8_t *)data + done, 0, part);
        }
        done += part;
    }
    pthread_mutex_unlock(&self->lock);
    return (int64_t)size;
}

static int64_t memory_write_at(daybook_vfs *vfs, daybook_file *file, const void *data, size_t size,
                               uint64_t offset) {
    if (!file->may_write) return -EBADF;
    if (offset > INT64_MAX - size) return -EFBIG;
    memory_vfs *self = self_of(vfs);
    pthread_mutex_lock(&self->lock);
    memory_content *content = file->content;
    int64_t result = ensure_chunks(self, content, offset + size);
    size_t done = 0;
    while (result == 0 && done < size) {
        size_t at = (size_t)((offset + done) % CHUNK_SIZE);
        size_t part = CHUNK_SIZE - at < size - done ? CHUNK_SIZE - at : size - done;
        uint8_t *chunk = writable_chunk(self, content, (size_t)((offset + done) / CHUNK_SIZE));
        if (chunk == NULL) {
            result = -ENOMEM;
            break;
        }
        memcpy(chunk + at, (const uint8_t *)data + done, part);
        done += part;
    }
    if (done > 0 && offset + done > content->size) content->size = offset + done;
    pthread_mutex_unlock(&self->lock);
    return done > 0 || result == 0 ? (int64_t)done : result;
}

static int memory_sync(daybook_vfs *vfs, daybook_file *file) {
    (void)vfs;
    (void)file;
    return 0;
}

static int memory_truncate(daybook_vfs *vfs, daybook_file *file, uint64_t size) {
    if (!file->may_write) return -EINVAL;
    memory_vfs *self = self_of(vfs);
    pthread_mutex_lock(&self->lock);
    memory_content *content = file->content;
    int result = ensure_chunks(self, content, size);
    if (result == 0 && size < content->size) {
        // What is cut must read as zeros when the file grows again; the first chunk may be mapped and stays.
        size_t number = (size_t)(size / CHUNK_SIZE);
        size_t at = (size_t)(size % CHUNK_SIZE);
        for (size_t i = number; i < content->chunk_count; i++) {
            uint8_t *chunk = content->chunks[i];
            if (chunk == NULL) continue;
            if (i == 0 || (i == number && at > 0)) {
                memset(chunk + (i == number ? at : 0), 0, CHUNK_SIZE - (i == number ? at : 0));
            } else {
                dbk_free(self->allocator, chunk);
                content->chunks[i] = NULL;
            }
        }
    }
    if (result == 0) content->size = size;
    pthread_mutex_unlock(&self->lock);
    return result;
}

static int memory_file_size(daybook_vfs *vfs, daybook_file *file, uint64_t *size_out) {
    memory_vfs *self = self_of(vfs);
    pthread_mutex_lock(&self->lock);
    *size_out = file->content->size;
    pthread_mutex_unlock(&self->lock);
    return 0;
}

static int memory_is_direct(daybook_vfs *vfs, daybook_file *file) {
    (void)vfs;
    (void)file;
    return 0;
}

static int memory_lock(daybook_vfs *vfs, daybook_file *file) {
    memory_vfs *self = self_of(vfs);
    pthread_mutex_lock(&self->lock);
    const daybook_file *holder = file->content->lock_holder;
    if (holder == NULL) file->content->lock_holder = file;
    pthread_mutex_unlock(&self->lock);
    return holder == NULL || holder == file ? 0 : -EWOULDBLOCK;
}

static int memory_map_shared(daybook_vfs *vfs, daybook_file *file, size_t size, int writable,
                             void **data_out) {
    (void)writable;
    *data_out = NULL;
    if (size > CHUNK_SIZE) return -EINVAL;
    memory_vfs *self = self_of(vfs);
    memory_map *map = dbk_alloc_zeroed(self->allocator, sizeof *map);
    if (map == NULL) return -ENOMEM;
    pthread_mutex_lock(&self->lock);
    int result = ensure_chunks(self, file->content, size);
    map->data = result == 0 ? writable_chunk(self, file->content, 0) : NULL;
    if (map->data != NULL) {
        map->content = file->content;
        map->content->references++;
        map->next = self->maps;
        self->maps = map;
        *data_out = map->data;
    } else if (result == 0) {
        result = -ENOMEM;
    }
    pthread_mutex_unlock(&self->lock);
    if (result < 0) dbk_free(self->allocator, map);
    return result;
}

static void memory_unmap_shared(daybook_vfs *vfs, void *data, size_t size) {
    (void)size;
    memory_vfs *self = self_of(vfs);
    pthread_mutex_lock(&self->lock);
    for (memory_map **at = &self->maps; *at != NULL; at = &(*at)->next) {
        if ((*at)->data != data) continue;
        memory_map *gone = *at;
        *at = gone->next;
        unref_content(self, gone->content);
        dbk_free(self->allocator, gone);
        break;
    }
    pthread_mutex_unlock(&self->lock);
}

// ---- Directories

// Both names normalised, the lock taken; then `act`, then the lock is given back.
static int with_names(daybook_vfs *vfs, const char *from, const char *to,
                      int (*act)(memory_vfs *self, const char *from, const char *to)) {
    memory_vfs *self = self_of(vfs);
    char from_name[PATH_MAX_SIZE];
    char to_name[PATH_MAX_SIZE];
    int result = normalise(from, from_name);
    if (result == 0) result = normalise(to, to_name);
    if (result < 0) return result;
    pthread_mutex_lock(&self->lock);
    result = act(self, from_name, to_name);
    pthread_mutex_unlock(&self->lock);
    return result;
}

static int rename_locked(memory_vfs *self, const char *from, const char *to) {
    int result = check_parent(self, from);
    if (result == 0) result = check_parent(self, to);
    if (result < 0) return result;
    memory_node *node = find_node(self, from);
    if (node == NULL) return -ENOENT;
    if (node->content == NULL) return -EINVAL; // nobody renames directories here
    memory_node *old = find_node(self, to);
    if (old != NULL && old->content == NULL) return -EISDIR;
    if (old != NULL && old->content == node->content) return 0; // two names of one file: POSIX does nothing
    char *copy = dbk_copy_text(self->allocator, daybook_text(to));
    if (copy == NULL) return -ENOMEM;
    if (old != NULL) remove_node(self, old);
    dbk_free(self->allocator, node->name);
    node->name = copy;
    return 0;
}

static int memory_rename(daybook_vfs *vfs, const char *from, const char *to) {
    return with_names(vfs, from, to, rename_locked);
}

static int link_locked(memory_vfs *self, const char *from, const char *to) {
    int result = 0;
    memory_node *node = find_existing(self, from, &result);
    if (node == NULL) return result;
    if (find_node(self, to) != NULL) return -EEXIST;
    result = check_parent(self, to);
    if (result < 0) return result;
    if (node->content == NULL) return -EPERM;
    result = add_node(self, to, node->content);
    if (result == 0) node->content->references++;
    return result;
}

static int memory_link(daybook_vfs *vfs, const char *from, const char *to) {
    return with_names(vfs, from, to, link_locked);
}

static int unlink_locked(memory_vfs *self, const char *name, const char *unused) {
    (void)unused;
    int result = 0;
    memory_node *node = find_existing(self, name, &result);
    if (node == NULL) return result;
    if (node->content == NULL) return -EISDIR;
    remove_node(self, node);
    return 0;
}

static int memory_unlink(daybook_vfs *vfs, const char *path) {
    return with_names(vfs, path, "", unlink_locked);
}

static int make_directory_locked(memory_vfs *self, const char *name, const char *unused) {
    (void)unused;
    if (name[0] == '\0' || find_node(self, name) != NULL) return -EEXIST;
    return add_node(self, name, NULL);
}

static int memory_make_directory(daybook_vfs *vfs, const char *path) {
    return with_names(vfs, path, "", make_directory_locked);
}

// The part of `name` below `directory` without further slashes; NULL when it lies elsewhere.
static const char *child_of(const char *directory, const char *name) {
    size_t size = strlen(directory);
    const char *rest = name;
    if (size > 0) {
        if (strncmp(name, directory, size) != 0 || name[size] != '/') return NULL;
        rest = name + size + 1;
    }
    return rest[0] == '\0' || strchr(rest, '/') != NULL ? NULL : rest;
}

static int remove_directory_locked(memory_vfs *self, const char *name, const char *unused) {
    (void)unused;
    int result = 0;
    memory_node *found = find_existing(self, name, &result);
    if (found == NULL) return result;
    if (found->content != NULL) return -ENOTDIR;
    for (memory_node *node = self->nodes; node != NULL; node = node->next) {
        if (child_of(name, node->name) != NULL) return -ENOTEMPTY;
    }
    remove_node(self, found);
    return 0;
}

static int memory_remove_directory(daybook_vfs *vfs, const char *path) {
    return with_names(vfs, path, "", remove_directory_locked);
}

static int sync_directory_locked(memory_vfs *self, const char *name, const char *unused) {
    (void)unused;
    if (name[0] == '\0') return 0;
    int result = 0;
    memory_node *node = find_existing(self, name, &result);
    return node != NULL && node->content != NULL ? -ENOTDIR : result;
}

static int memory_sync_directory(daybook_vfs *vfs, const char *path) {
    return with_names(vfs, path, "", sync_directory_locked);
}

// The entries are copied first: `visit` may call back into the vfs.
static int copy_entries(memory_vfs *self, const char *directory, daybook_vfs_entry **entries_out,
                        size_t *count_out) {
    size_t count = 0;
    for (memory_node *node = self->nodes; node != NULL; node = node->next) {
        if (child_of(directory, node->name) != NULL) count++;
    }
    daybook_vfs_entry *entries = dbk_alloc_zeroed(self->allocator, count * sizeof *entries);
    if (entries == NULL) return -ENOMEM;
    size_t at = 0;
    for (memory_node *node = self->nodes; node != NULL; node = node->next) {
        const char *child = child_of(directory, node->name);
        if (child == NULL) continue;
        size_t size = strlen(child);
        if (size >= sizeof entries[at].name) size = sizeof entries[at].name - 1;
        memcpy(entries[at].name, child, size);
        entries[at].is_directory = node->content == NULL;
        entries[at].size = node->content == NULL ? 0 : node->content->size;
        at++;
    }
    *entries_out = entries;
    *count_out = count;
    return 0;
}

static int memory_list(daybook_vfs *vfs, const char *path,
                       int (*visit)(void *context, const daybook_vfs_entry *entry), void *context) {
    memory_vfs *self = self_of(vfs);
    char name[PATH_MAX_SIZE];
    int result = normalise(path, name);
    if (result < 0) return result;
    daybook_vfs_entry *entries = NULL;
    size_t count = 0;
    pthread_mutex_lock(&self->lock);
    result = sync_directory_locked(self, name, NULL); // does it exist?
    if (result == 0) result = copy_entries(self, name, &entries, &count);
    pthread_mutex_unlock(&self->lock);
    for (size_t i = 0; result == 0 && i < count; i++) result = visit(context, &entries[i]);
    dbk_free(self->allocator, entries);
    return result;
}

static int memory_free_bytes(daybook_vfs *vfs, const char *path, uint64_t *bytes_out) {
    (void)vfs;
    (void)path;
    *bytes_out = UINT64_MAX;
    return 0;
}

// ---- Life

daybook_status dbk_memory_vfs_new(const daybook_allocator *allocator, daybook_vfs **vfs_out) {
    *vfs_out = NULL;
    memory_vfs *self = dbk_alloc_zeroed(allocator, sizeof *self);
    if (self == NULL) return DAYBOOK_ENOMEM;
    self->allocator = allocator;
    pthread_mutex_init(&self->lock, NULL);
    self->vfs = *daybook_vfs_posix(); // clocks, entropy, wait and wake
    self->vfs.size = sizeof self->vfs;
    self->vfs.context = self;
    self->vfs.open = memory_open;
    self->vfs.close = memory_close;
    self->vfs.read_at = memory_read_at;
    self->vfs.write_at = memory_write_at;
    self->vfs.sync = memory_sync;
    self->vfs.truncate = memory_truncate;
    self->vfs.file_size = memory_file_size;
    self->vfs.is_direct = memory_is_direct;
    self->vfs.lock = memory_lock;
    self->vfs.map_shared = memory_map_shared;
    self->vfs.unmap_shared = memory_unmap_shared;
    self->vfs.rename = memory_rename;
    self->vfs.link = memory_link;
    self->vfs.unlink = memory_unlink;
    self->vfs.make_directory = memory_make_directory;
    self->vfs.remove_directory = memory_remove_directory;
    self->vfs.sync_directory = memory_sync_directory;
    self->vfs.list = memory_list;
    self->vfs.free_bytes = memory_free_bytes;
    self->vfs.allocate = NULL; // memory is allocated when it is written
    *vfs_out = &self->vfs;
    return DAYBOOK_OK;
}

void dbk_memory_vfs_free(daybook_vfs *vfs) {
    if (vfs == NULL) return;
    memory_vfs *self = self_of(vfs);
    while (self->nodes != NULL) remove_node(self, self->nodes);
    pthread_mutex_destroy(&self->lock);
    dbk_free(self->allocator, self);
}
