// SPDX-License-Identifier: Apache-2.0
// The three implementations of the vfs are one: the same random calls give the same results and bytes on real
// files, on the simulated disk and in memory. The real one is the judge.
#define _POSIX_C_SOURCE 200809L // mkdtemp

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "io/io.h"
#include "io/memory.h"
#include "io/sim/sim.h"

enum {
    SIDES = 3,
    HANDLES = 4,
    NAMES = 9,
    RUNS = 40,
    CALLS = 600,
    SIZE_MAX_READ = 200000,
    LIST_TEXT_SIZE = 2000
};

// Folders first: only whole renames inside one folder make sense for all sides.
static const char *const names[NAMES] = {"d", "e", "a", "b", "c", "d/a", "d/b", "e/a", "missing/a"};

typedef struct side {
    daybook_vfs *vfs;
    const char *root;
    daybook_file *handles[HANDLES];
} side;

typedef struct call {
    unsigned kind;
    unsigned handle;
    const char *name;
    const char *other;
    unsigned flags;
    size_t size;
    uint64_t offset;
    char fill;
} call;

typedef struct answer {
    int64_t result;
    uint64_t number;
    char text[LIST_TEXT_SIZE];
} answer;

static uint64_t random_state;

static uint64_t next_random(uint64_t bound) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % bound;
}

typedef struct listing {
    char lines[32][64];
    size_t count;
} listing;

static int add_line(void *context, const daybook_vfs_entry *entry) {
    listing *seen = context;
    assert_true(seen->count < 32);
    // The size of a folder is each side's own affair.
    (void)snprintf(seen->lines[seen->count++], sizeof seen->lines[0], "%.40s %d %llu", entry->name,
                   entry->is_directory, entry->is_directory ? 0ull : (unsigned long long)entry->size);
    return 0;
}

static int compare_lines(const void *a, const void *b) {
    return strcmp(a, b);
}

static void list(side *at, const char *path, answer *answer_out) {
    listing seen = {.count = 0};
    answer_out->result = at->vfs->list(at->vfs, path, add_line, &seen);
    qsort(seen.lines, seen.count, sizeof seen.lines[0], compare_lines);
    size_t used = 0;
    for (size_t i = 0; i < seen.count; i++) {
        used += (size_t)snprintf(answer_out->text + used, LIST_TEXT_SIZE - used, "%s\n", seen.lines[i]);
    }
}

static uint8_t bytes[SIZE_MAX_READ];

static void perform(side *at, const call *what, answer *answer_out) {
    daybook_vfs *vfs = at->vfs;
    daybook_file **handle = &at->handles[what->handle];
    char path[DBK_PATH_SIZE_MAX];
    char other[DBK_PATH_SIZE_MAX];
    assert_int_equal(dbk_path_join(at->root, what->name, path, NULL), DAYBOOK_OK);
    assert_int_equal(dbk_path_join(at->root, what->other, other, NULL), DAYBOOK_OK);
    memset(answer_out, 0, sizeof *answer_out);
    switch (what->kind) {
    case 0:
    case 1:
        vfs->close(vfs, *handle);
        answer_out->result = vfs->open(vfs, path, what->flags, handle);
        return;
    case 2:
        answer_out->result = vfs->rename(vfs, path, other);
        return;
    case 3:
        answer_out->result = vfs->link(vfs, path, other);
        return;
    case 4:
        answer_out->result = vfs->unlink(vfs, path);
        return;
    case 5:
        answer_out->result = vfs->make_directory(vfs, path);
        return;
    case 6:
        answer_out->result = vfs->remove_directory(vfs, path);
        return;
    case 7:
        answer_out->result = vfs->sync_directory(vfs, path);
        return;
    case 8:
        list(at, path, answer_out);
        return;
    case 9:
        list(at, at->root, answer_out);
        return;
    default:
        break;
    }
    if (*handle == NULL) return;
    switch (what->kind) {
    case 10:
    case 11:
    case 12:
        memset(bytes, what->fill, what->size);
        answer_out->result = vfs->write_at(vfs, *handle, bytes, what->size, what->offset);
        return;
    case 13:
    case 14:
        memset(bytes, 0, sizeof bytes);
        answer_out->result = vfs->read_at(vfs, *handle, bytes, what->size, what->offset);
        for (size_t i = 0; i < what->size; i++) answer_out->number = answer_out->number * 31 + bytes[i];
        return;
    case 15:
        answer_out->result = vfs->truncate(vfs, *handle, what->offset);
        return;
    case 16:
        answer_out->result = vfs->file_size(vfs, *handle, &answer_out->number);
        return;
    case 17:
        answer_out->result = vfs->lock(vfs, *handle);
        return;
    default:
        answer_out->result = vfs->sync(vfs, *handle);
        return;
    }
}

static call draw_call(void) {
    static const uint64_t sizes[] = {1, 100, 4096, 65536, 100000};
    call what = {.kind = (unsigned)next_random(19), .handle = (unsigned)next_random(HANDLES)};
    what.name = names[next_random(NAMES)];
    what.other = names[next_random(NAMES)];
    bool is_of_folders = what.kind == 5 || (what.kind >= 6 && what.kind <= 8 && next_random(4) != 0);
    if (is_of_folders) what.name = names[next_random(2)];
    // The memory side does not rename folders, because nothing in the store does.
    // Renaming onto a folder fails everywhere, but which of several reasons is given first differs.
    if (what.kind == 2) what.name = names[2 + next_random(NAMES - 2)];
    if (what.kind == 2) what.other = names[2 + next_random(NAMES - 2)];
    what.flags = next_random(8) == 0 ? DAYBOOK_VFS_READ : DAYBOOK_VFS_WRITE;
    if (next_random(2) == 0) what.flags |= DAYBOOK_VFS_CREATE;
    if (next_random(6) == 0) what.flags |= DAYBOOK_VFS_CREATE | DAYBOOK_VFS_EXCLUSIVE;
    what.size = (size_t)next_random(sizes[next_random(5)]) + 1;
    what.offset = next_random(sizes[next_random(5)]);
    what.fill = (char)('A' + next_random(26));
    return what;
}

static void compare_run(side sides[SIDES], uint64_t seed) {
    static answer answers[SIDES];
    random_state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (unsigned n = 0; n < CALLS; n++) {
        call what = draw_call();
        for (size_t i = 0; i < SIDES; i++) perform(&sides[i], &what, &answers[i]);
        for (size_t i = 1; i < SIDES; i++) {
            // Nothing was asked to open a folder for reading only; there the sides may differ.
            bool is_folder_opened = what.kind <= 1 && answers[i].result == -EISDIR && answers[0].result == 0;
            if (is_folder_opened) {
                sides[0].vfs->close(sides[0].vfs, sides[0].handles[what.handle]);
                sides[0].handles[what.handle] = NULL;
                answers[0].result = -EISDIR;
            }
            if (memcmp(&answers[0], &answers[i], sizeof answers[0]) == 0) continue;
            fail_msg("seed %llu, call %u (kind %u, %s, %s, flags %u): side %zu answers %lld %llu '%s', not "
                     "%lld %llu '%s'",
                     (unsigned long long)seed, n, what.kind, what.name, what.other, what.flags, i,
                     (long long)answers[i].result, (unsigned long long)answers[i].number, answers[i].text,
                     (long long)answers[0].result, (unsigned long long)answers[0].number, answers[0].text);
        }
    }
}

static void close_and_remove_all(side *at) {
    char path[DBK_PATH_SIZE_MAX];
    for (size_t i = 0; i < HANDLES; i++) {
        at->vfs->close(at->vfs, at->handles[i]);
        at->handles[i] = NULL;
    }
    for (size_t i = NAMES; i-- > 0;) {
        assert_int_equal(dbk_path_join(at->root, names[i], path, NULL), DAYBOOK_OK);
        if (at->vfs->unlink(at->vfs, path) != 0) (void)at->vfs->remove_directory(at->vfs, path);
    }
    assert_int_equal(at->vfs->remove_directory(at->vfs, at->root), 0);
}

static void all_sides_answer_alike(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= RUNS; seed++) {
        char root[] = "test_io_same.XXXXXX";
        assert_non_null(mkdtemp(root));
        dbk_sim *sim = NULL;
        daybook_vfs *memory = NULL;
        assert_int_equal(dbk_sim_new(seed, &sim), DAYBOOK_OK);
        assert_int_equal(dbk_memory_vfs_new(dbk_allocator_default(), &memory), DAYBOOK_OK);
        side sides[SIDES] = {{.vfs = daybook_vfs_posix(), .root = root},
                             {.vfs = dbk_sim_vfs(sim), .root = "root"},
                             {.vfs = memory, .root = "root"}};
        for (size_t i = 1; i < SIDES; i++)
            assert_int_equal(sides[i].vfs->make_directory(sides[i].vfs, "root"), 0);
        compare_run(sides, seed);
        for (size_t i = 0; i < SIDES; i++) close_and_remove_all(&sides[i]);
        assert_int_equal(dbk_sim_open_files(sim), 0);
        dbk_sim_free(sim);
        dbk_memory_vfs_free(memory);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_sides_answer_alike)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
