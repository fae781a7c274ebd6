// SPDX-License-Identifier: Apache-2.0
// Deletion files: what was written comes back; what belongs to another store, segment or generation, and
// every changed or missing byte, is refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "io/io.h"
#include "io/sim/sim.h"
#include "lib/fault_allocator.h"
#include "store/deletions.h"

typedef struct fixture {
    dbk_sim *sim;
    fault_allocator faults;
    dbk_deletions_config config;
    daybook_error error;
} fixture;

static roaring_bitmap_t *bitmap_of(size_t count, const uint32_t *numbers) {
    roaring_bitmap_t *bitmap = roaring_bitmap_of_ptr(count, numbers);
    assert_non_null(bitmap);
    return bitmap;
}

static void begin(fixture *at) {
    memset(at, 0, sizeof *at);
    fault_allocator_init(&at->faults);
    daybook_error_init(&at->error);
    assert_int_equal(dbk_sim_new(1, &at->sim), DAYBOOK_OK);
    at->config = (dbk_deletions_config){.allocator = &at->faults.allocator,
                                        .vfs = dbk_sim_vfs(at->sim),
                                        .directory = "/s",
                                        .segment_id = 7,
                                        .generation = 2};
    memset(at->config.store_uuid.bytes, 5, sizeof at->config.store_uuid.bytes);
    assert_int_equal(at->config.vfs->make_directory(at->config.vfs, "/s"), 0);
    roaring_bitmap_t *removed = bitmap_of(3, (const uint32_t[]){1, 5, 70000});
    roaring_bitmap_t *for_ever = bitmap_of(1, (const uint32_t[]){5});
    assert_int_equal(dbk_deletions_write(&at->config, removed, for_ever, &at->error), DAYBOOK_OK);
    roaring_bitmap_free(removed);
    roaring_bitmap_free(for_ever);
}

static void end(fixture *at) {
    assert_int_equal(fault_allocator_live(&at->faults), 0);
    assert_int_equal(dbk_sim_open_files(at->sim), 0);
    dbk_sim_free(at->sim);
}

static daybook_status read_as(fixture *at, const dbk_deletions_config *config) {
    roaring_bitmap_t *removed, *for_ever;
    daybook_status status = dbk_deletions_read(config, &removed, &for_ever, &at->error);
    if (status != DAYBOOK_OK) {
        assert_null(removed);
        assert_null(for_ever);
        return status;
    }
    assert_int_equal(roaring_bitmap_get_cardinality(removed), 3);
    assert_true(roaring_bitmap_contains(removed, 70000));
    assert_int_equal(roaring_bitmap_get_cardinality(for_ever), 1);
    assert_true(roaring_bitmap_contains(for_ever, 5));
    roaring_bitmap_free(removed);
    roaring_bitmap_free(for_ever);
    return DAYBOOK_OK;
}

// Under the name of another one's file.
static void give_name(fixture *at, const dbk_deletions_config *config) {
    char from[80] = "/s/", to[80] = "/s/";
    dbk_deletions_name(at->config.segment_id, at->config.generation, from + 3);
    dbk_deletions_name(config->segment_id, config->generation, to + 3);
    dbk_buf content;
    dbk_buf_init(&content, at->config.allocator, 1 << 20);
    assert_int_equal(dbk_read_file(at->config.vfs, from, &content, NULL), DAYBOOK_OK);
    assert_int_equal(
        dbk_replace_file(at->config.vfs, "/s", to + 3, daybook_bytes(content.data, content.size), NULL),
        DAYBOOK_OK);
    dbk_buf_deinit(&content);
}

static void what_was_written_comes_back(void **state) {
    (void)state;
    fixture at;
    begin(&at);
    assert_int_equal(read_as(&at, &at.config), DAYBOOK_OK);
    end(&at);
}

static void it_belongs_to_one_store(void **state) {
    (void)state;
    fixture at;
    begin(&at);
    dbk_deletions_config theirs = at.config;
    theirs.store_uuid.bytes[15]++;
    assert_int_equal(read_as(&at, &theirs), DAYBOOK_EFOREIGN);
    assert_non_null(strstr(at.error.message, "another store"));
    end(&at);
}

static void it_belongs_to_one_generation_of_one_segment(void **state) {
    (void)state;
    fixture at;
    begin(&at);
    dbk_deletions_config other = at.config;
    other.segment_id++;
    assert_int_equal(read_as(&at, &other), DAYBOOK_ENOTFOUND);
    give_name(&at, &other);
    assert_int_equal(read_as(&at, &other), DAYBOOK_EDAMAGED);
    assert_non_null(strstr(at.error.message, "name of another"));
    other = at.config;
    other.generation--;
    give_name(&at, &other);
    assert_int_equal(read_as(&at, &other), DAYBOOK_EDAMAGED);
    assert_int_equal(read_as(&at, &at.config), DAYBOOK_OK);
    end(&at);
}

static void every_changed_byte_is_refused(void **state) {
    (void)state;
    fixture at;
    begin(&at);
    char path[80] = "/s/";
    dbk_deletions_name(7, 2, path + 3);
    dbk_buf content;
    dbk_buf_init(&content, at.config.allocator, 1 << 20);
    assert_int_equal(dbk_read_file(at.config.vfs, path, &content, NULL), DAYBOOK_OK);
    size_t size = content.size;
    for (size_t i = 0; i < size; i++) {
        content.data[i] ^= 0x10;
        assert_int_equal(
            dbk_replace_file(at.config.vfs, "/s", path + 3, daybook_bytes(content.data, size), NULL),
            DAYBOOK_OK);
        daybook_status status = read_as(&at, &at.config);
        assert_true(status == DAYBOOK_EDAMAGED || (i >= 4 && i < 7 && status == DAYBOOK_EFORMAT));
        content.data[i] ^= 0x10;
        assert_int_equal(
            dbk_replace_file(at.config.vfs, "/s", path + 3, daybook_bytes(content.data, i), NULL),
            DAYBOOK_OK);
        assert_int_equal(read_as(&at, &at.config), DAYBOOK_EDAMAGED);
    }
    dbk_buf_deinit(&content);
    end(&at);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_comes_back),
        cmocka_unit_test(it_belongs_to_one_store),
        cmocka_unit_test(it_belongs_to_one_generation_of_one_segment),
        cmocka_unit_test(every_changed_byte_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
