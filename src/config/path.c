// SPDX-License-Identifier: Apache-2.0
// Joins the folder of one file and the path of another, so that one file has one name however it was reached:
// a circle of includes is then seen by comparing names. "a/../b" becomes "b" without asking whether "a" is a
// link, as nats-server does it.
#include "config/path.h"

#include <string.h>

typedef struct path_builder {
    char *text;
    size_t size;
    size_t root_size; // 1 where the path is absolute
} path_builder;

static size_t last_part(const path_builder *path) {
    size_t start = path->size;
    while (start > path->root_size && path->text[start - 1] != '/') start--;
    return start;
}

static bool ends_in_parent(const path_builder *path) {
    size_t start = last_part(path);
    return path->size - start == 2 && memcmp(path->text + start, "..", 2) == 0;
}

static void remove_last(path_builder *path) {
    path->size = last_part(path);
    if (path->size > path->root_size) path->size--; // the slash before it
}

static void add_part(path_builder *path, const char *part, size_t size) {
    if (size == 0 || (size == 1 && part[0] == '.')) return;
    if (size == 2 && memcmp(part, "..", 2) == 0) {
        if (path->size > path->root_size && !ends_in_parent(path)) {
            remove_last(path);
            return;
        }
        if (path->root_size > 0) return; // above the root is the root
    }
    if (path->size > path->root_size) path->text[path->size++] = '/';
    memcpy(path->text + path->size, part, size);
    path->size += size;
}

static void add_parts(path_builder *path, const char *text, size_t size) {
    const char *end = text + size;
    while (text < end) {
        const char *slash = memchr(text, '/', (size_t)(end - text));
        const char *part_end = slash == NULL ? end : slash;
        add_part(path, text, (size_t)(part_end - text));
        text = slash == NULL ? end : slash + 1;
    }
}

char *dbk_config_join_path(dbk_arena *arena, const char *from, dbk_slice path) {
    const char *text = path.size == 0 ? "" : path.data;
    bool is_absolute = text[0] == '/' && path.size > 0;
    const char *slash = is_absolute ? NULL : strrchr(from, '/');
    size_t folder_size = slash == NULL ? 0 : (size_t)(slash - from) + 1;
    path_builder joined = {.text = dbk_arena_alloc(arena, folder_size + path.size + 2)};
    if (joined.text == NULL) return NULL;
    if (is_absolute || (folder_size > 0 && from[0] == '/')) {
        joined.text[0] = '/';
        joined.size = joined.root_size = 1;
    }
    add_parts(&joined, from, folder_size);
    add_parts(&joined, text, path.size);
    joined.text[joined.size] = '\0';
    return joined.text;
}
