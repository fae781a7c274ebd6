// SPDX-License-Identifier: Apache-2.0
// What changed between two JSON objects, or what a merge patch would change in one, as a JSON array of
// {"path","from","to"}; see json.h for the form.
//
// The path under way is one buffer that grows and is cut back with the recursion; its escaping (RFC 6901:
// "~0" for "~", "~1" for "/") is done when a name is pushed, that of JSON when it is written.
#include <string.h>

#include "base/error.h"
#include "json/json.h"

enum { PATH_SIZE_MAX = 1 << 24 };

typedef struct change_writer {
    dbk_buf *out;
    dbk_buf path;
    bool is_first;
} change_writer;

static size_t push_name(change_writer *writer, const char *name) {
    size_t mark = writer->path.size;
    dbk_buf_append_u8(&writer->path, '/');
    for (; *name != '\0'; name++) {
        if (*name == '~')
            dbk_buf_append(&writer->path, "~0", 2);
        else if (*name == '/')
            dbk_buf_append(&writer->path, "~1", 2);
        else
            dbk_buf_append_u8(&writer->path, (uint8_t)*name);
    }
    return mark;
}

static void pop_name(change_writer *writer, size_t mark) {
    if (!writer->path.failed) writer->path.size = mark;
}

static void write_change(change_writer *writer, const json_t *from, const json_t *to) {
    dbk_buf *out = writer->out;
    if (!writer->is_first) dbk_buf_append_u8(out, ',');
    writer->is_first = false;
    dbk_buf_append(out, "{\"path\":", 8);
    dbk_json_write_string(out, daybook_bytes(writer->path.data, writer->path.size));
    if (from != NULL) {
        dbk_buf_append(out, ",\"from\":", 8);
        dbk_json_write(out, from);
    }
    if (to != NULL) {
        dbk_buf_append(out, ",\"to\":", 6);
        dbk_json_write(out, to);
    }
    dbk_buf_append_u8(out, '}');
}

static bool are_equal(const json_t *a, const json_t *b) {
    return json_equal(a, b) == 1;
}

static void begin(change_writer *writer, dbk_buf *out) {
    writer->out = out;
    writer->is_first = true;
    dbk_buf_init(&writer->path, dbk_allocator_default(), PATH_SIZE_MAX);
    dbk_buf_append_u8(out, '[');
}

static daybook_status finish(change_writer *writer, daybook_status status) {
    dbk_buf_append_u8(writer->out, ']');
    if (status == DAYBOOK_OK) status = dbk_buf_status(&writer->path);
    if (status == DAYBOOK_OK) status = dbk_buf_status(writer->out);
    dbk_buf_deinit(&writer->path);
    return status;
}

static void compare_objects(change_writer *writer, const json_t *from, const json_t *to);

static void compare_member(change_writer *writer, const char *name, const json_t *from, const json_t *to) {
    size_t mark = push_name(writer, name);
    if (json_is_object(from) && json_is_object(to))
        compare_objects(writer, from, to);
    else if (from == NULL || to == NULL || !are_equal(from, to))
        write_change(writer, from, to);
    pop_name(writer, mark);
}

static void compare_objects(change_writer *writer, const json_t *from, const json_t *to) {
    json_t *old = (json_t *)(uintptr_t)from; // Iterated, not changed.
    json_t *new = (json_t *)(uintptr_t)to;
    for (void *at = json_object_iter(old); at != NULL; at = json_object_iter_next(old, at)) {
        const char *name = json_object_iter_key(at);
        compare_member(writer, name, json_object_iter_value(at), json_object_get(to, name));
    }
    for (void *at = json_object_iter(new); at != NULL; at = json_object_iter_next(new, at)) {
        const char *name = json_object_iter_key(at);
        if (json_object_get(from, name) == NULL)
            compare_member(writer, name, NULL, json_object_iter_value(at));
    }
}

daybook_status dbk_json_write_changes(dbk_buf *out, const json_t *from, const json_t *to) {
    change_writer writer;
    begin(&writer, out);
    compare_objects(&writer, from, to);
    return finish(&writer, DAYBOOK_OK);
}

static daybook_status patch_object(change_writer *writer, const json_t *target, const json_t *patch);

static daybook_status patch_member(change_writer *writer, const json_t *from, json_t *value) {
    if (json_is_null(value)) {
        if (from != NULL) write_change(writer, from, NULL);
        return DAYBOOK_OK;
    }
    if (json_is_object(value)) {
        if (json_is_object(from)) return patch_object(writer, from, value);
        json_t *to = NULL; // What is left of the object without its nulls.
        DBK_TRY(dbk_json_merge_any(NULL, value, &to));
        write_change(writer, from, to);
        json_decref(to);
        return DAYBOOK_OK;
    }
    if (from == NULL || !are_equal(from, value)) write_change(writer, from, value);
    return DAYBOOK_OK;
}

static daybook_status patch_object(change_writer *writer, const json_t *target, const json_t *patch) {
    json_t *members = (json_t *)(uintptr_t)patch; // Iterated, not changed.
    for (void *at = json_object_iter(members); at != NULL; at = json_object_iter_next(members, at)) {
        const char *name = json_object_iter_key(at);
        size_t mark = push_name(writer, name);
        DBK_TRY(patch_member(writer, json_object_get(target, name), json_object_iter_value(at)));
        pop_name(writer, mark);
    }
    return DAYBOOK_OK;
}

daybook_status dbk_json_write_patch_changes(dbk_buf *out, const json_t *target, const json_t *patch) {
    change_writer writer;
    begin(&writer, out);
    return finish(&writer, patch_object(&writer, target, patch));
}
