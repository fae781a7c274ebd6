// SPDX-License-Identifier: Apache-2.0
// Building a dictionary of terms: each write and each allocation fails once, with lists of every form, pages
// of pages, and filters.
#include <errno.h>
#include <stdlib.h>

#include "fixture.h"
#include "lib/fault_allocator.h"
#include "segment/tree.h"

// A disk that takes everything and keeps nothing, until its n-th write.
static struct {
    uint64_t writes, fails_at; // 0: never
} disk;

static int64_t take_write(daybook_vfs *vfs, daybook_file *file, const void *data, size_t size,
                          uint64_t offset) {
    (void)vfs, (void)file, (void)data, (void)offset;
    return ++disk.writes == disk.fails_at ? -EIO : (int64_t)size;
}

enum { SMALL_TERMS = 1100, LARGE_TERMS = 2600, LONG_LIST = 40000 };

static daybook_status add_term(dbk_tree_builder *tree, uint64_t *number, size_t size, size_t count,
                               uint32_t step) {
    uint8_t term[DBK_TERM_SIZE_MAX];
    uint64_t mixed = ++*number * UINT64_C(0x9e3779b97f4a7c15);
    term[0] = DBK_TERM_TYPE;
    for (int i = 0; i < 4; i++) term[1 + i] = (uint8_t)(*number >> (24 - 8 * i));
    for (size_t i = 5; i < size; i++) term[i] = (uint8_t)((mixed = mixed * 6364136223846793005u + 1) >> 56);
    dbk_tree_begin_term(tree);
    for (size_t i = 0; i < count; i++) {
        uint32_t posting = (uint32_t)i * step;
        DBK_TRY(dbk_tree_add_postings(tree, &posting, 1, NULL));
    }
    dbk_term_value value;
    memset(&value, 0, sizeof value);
    return dbk_tree_end_term(tree, daybook_bytes(term, size), &value, NULL);
}

static daybook_status add_terms(dbk_tree_builder *tree, bool is_large) {
    uint64_t number = 0;
    DBK_TRY(add_term(tree, &number, 20, 0, 0));
    DBK_TRY(add_term(tree, &number, 20, 3, 1));
    DBK_TRY(add_term(tree, &number, 20, 30, 90000)); // few numbers, too far apart to lie in the leaf
    DBK_TRY(add_term(tree, &number, 20, 500, 3));
    DBK_TRY(add_term(tree, &number, 20, LONG_LIST, 3));
    for (int i = 0; i < SMALL_TERMS; i++) DBK_TRY(add_term(tree, &number, 6, 1, 1));
    if (!is_large) return DAYBOOK_OK;
    // Long terms fill leaves, leaves fill the page above them.
    for (int i = 0; i < LARGE_TERMS; i++) DBK_TRY(add_term(tree, &number, 900, 1, 1));
    return DAYBOOK_OK;
}

static daybook_status build(test_world *world, daybook_vfs *vfs, const daybook_allocator *allocator,
                            bool is_large, size_t memory_max) {
    dbk_file_writer file;
    dbk_tree_builder *tree = NULL;
    dbk_tree_root root;
    dbk_buf parts, separators;
    dbk_buf_init(&parts, allocator, 1 << 20);
    dbk_buf_init(&separators, allocator, 1 << 20);
    disk.writes = 0;
    daybook_status status =
        dbk_file_writer_open(&file, allocator, vfs, "/tree", false, memory_max, &world->error);
    if (status == DAYBOOK_OK) status = dbk_tree_builder_new(allocator, &file, &tree);
    if (status == DAYBOOK_OK) status = add_terms(tree, is_large);
    if (status == DAYBOOK_OK)
        status = dbk_tree_builder_finish(tree, &root, &parts, &separators, &world->error);
    if (status == DAYBOOK_OK) {
        assert_true(root.height == (is_large ? 3 : 2));
        assert_true(parts.size > 0);
    }
    dbk_tree_builder_free(tree);
    dbk_file_writer_close(&file);
    dbk_buf_deinit(&parts);
    dbk_buf_deinit(&separators);
    return status;
}

static void each_write_of_a_tree_that_fails_is_told(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 81);
    daybook_vfs vfs = *world.vfs;
    vfs.write_at = take_write;
    for (int is_large = 0; is_large < 2; is_large++) {
        disk.fails_at = 0;
        assert_ok(&world, build(&world, &vfs, world.allocator, is_large, 16));
        uint64_t total = disk.writes, stride = is_large ? total / 150 : total / 400;
        // The end page by page: filters, pages that were open, the root.
        for (uint64_t at = 1; at <= total; at += at + 300 < total ? stride : 7) {
            disk.fails_at = at;
            assert_int_equal(build(&world, &vfs, world.allocator, is_large, 16), DAYBOOK_EIO);
        }
    }
    disk.fails_at = 0;
    world_deinit(&world);
}

static void each_allocation_of_a_tree_that_fails_is_told(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 82);
    daybook_vfs vfs = *world.vfs;
    vfs.write_at = take_write;
    fault_allocator faults;
    fault_allocator_init(&faults);
    for (uint64_t nth = 1;; nth++) {
        fault_allocator_fail(&faults, nth, false);
        daybook_status status = build(&world, &vfs, &faults.allocator, true, 1 << 20);
        assert_int_equal(fault_allocator_live(&faults), 0);
        if (!fault_allocator_has_failed(&faults)) break;
        assert_int_equal(status, DAYBOOK_ENOMEM);
    }
    world_deinit(&world);
}

static void a_list_beyond_4_gib_is_refused(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 83);
    daybook_vfs vfs = *world.vfs;
    vfs.write_at = take_write;
    dbk_file_writer file;
    dbk_tree_builder *tree;
    assert_ok(&world,
              dbk_file_writer_open(&file, world.allocator, &vfs, "/tree", false, 1 << 20, &world.error));
    assert_int_equal(dbk_tree_builder_new(world.allocator, &file, &tree), DAYBOOK_OK);
    dbk_tree_begin_term(tree);
    daybook_status status = DAYBOOK_OK;
    for (uint32_t i = 0; i < LONG_LIST && status == DAYBOOK_OK; i++) {
        uint32_t posting = i * 3;
        if (i == LONG_LIST / 2) file.offset += UINT64_C(5) << 30; // as if the pages in front were as long
        status = dbk_tree_add_postings(tree, &posting, 1, &world.error);
    }
    assert_int_equal(status, DAYBOOK_ELIMIT);
    dbk_tree_builder_free(tree);
    dbk_file_writer_close(&file);
    world_deinit(&world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_write_of_a_tree_that_fails_is_told),
        cmocka_unit_test(each_allocation_of_a_tree_that_fails_is_told),
        cmocka_unit_test(a_list_beyond_4_gib_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
