// SPDX-License-Identifier: Apache-2.0
// Scans: blocks in order, many with one read, give what blocks one by one give, damaged ones included.
#include "fixture.h"
#include "segment/reader.h"

// Every event from `position` on against the model from `at` on.
static void check_from(test_world *world, dbk_segment *segment, uint64_t position, size_t at) {
    dbk_block_scan *scan;
    assert_ok(world, dbk_block_scan_new(segment, &scan, &world->error));
    dbk_block_view view = {0};
    dbk_block_place place;
    daybook_status status;
    while ((status = dbk_block_scan_find(scan, position, &place, &world->error)) == DAYBOOK_OK) {
        assert_ok(world, dbk_block_scan_load(scan, &place, &view, &world->error));
        for (uint32_t i = dbk_block_find(&view, position); i < view.event_count; i++) {
            dbk_event event;
            assert_ok(world, dbk_block_event(&view, i, &event, &world->error));
            assert_true(at < world->count);
            assert_int_equal(event.position, world->events[at].event.position);
            assert_int_equal(event.seq, world->events[at].event.seq);
            assert_true(dbk_slice_equal(event.body, world->events[at].event.body));
            at++;
        }
        position = place.position_last + 1;
    }
    assert_int_equal(status, DAYBOOK_END);
    assert_int_equal(at, world->count);
    dbk_block_release(&view);
    dbk_block_scan_free(scan);
}

static void a_scan_gives_every_event(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        test_world world;
        world_init(&world, seed);
        world.with_dictionary = seed % 2 == 0;
        world.large_percent = seed % 3 == 0 ? 5 : 0; // some larger than a window
        world_add_events(&world, 4000);
        dbk_segment *segment = world_segment(&world, 0, world.count);
        check_from(&world, segment, 0, 0);
        for (unsigned i = 0; i < 5; i++) {
            size_t at = (size_t)world_random(&world, world.count);
            check_from(&world, segment, world.events[at].event.position, at);
        }
        dbk_segment_unref(segment);
        world_deinit(&world);
    }
}

static void a_scan_finds_blocks_anywhere(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 21);
    world.large_percent = 0;
    world_add_events(&world, 20000);
    dbk_segment *segment = world_segment(&world, 0, world.count);
    assert_true(dbk_segment_block_count(segment) > 3 * DBK_BLOCK_PAGE_COUNT);
    dbk_block_scan *scan;
    assert_ok(&world, dbk_block_scan_new(segment, &scan, &world.error));
    for (uint64_t i = 0; i < 20000; i++) {
        // Mostly forward by a little, now and then anywhere, also outside.
        uint64_t span = world.next_position + 10;
        uint64_t position = i % 7 == 0 ? world_random(&world, span)
                                       : (i * 3 + world_random(&world, 40)) % span;
        dbk_block_place expected = {0}, found = {0};
        daybook_status status = dbk_segment_find_block(segment, position, &expected, &world.error);
        assert_int_equal(dbk_block_scan_find(scan, position, &found, &world.error), status);
        assert_int_equal(found.block_number, expected.block_number);
        if (status != DAYBOOK_OK) continue;
        // The halving way.
        uint32_t low = 0, high = dbk_segment_block_count(segment);
        while (low < high) {
            uint32_t middle = low + (high - low) / 2;
            dbk_block_place place;
            assert_ok(&world, dbk_segment_block_place(segment, middle, &place, &world.error));
            if (place.position_last < position)
                low = middle + 1;
            else
                high = middle;
        }
        assert_int_equal(found.block_number, low);
    }
    dbk_block_scan_free(scan);
    dbk_segment_unref(segment);
    world_deinit(&world);
}

static void a_scan_reads_many_blocks_at_once(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 22);
    world.with_dictionary = true;
    world.large_percent = 0;
    world_add_events(&world, 10000);
    dbk_segment_unref(world_segment(&world, 0, world.count));
    dbk_segment *segment = world_open(&world, 1);
    dbk_sim_reset_counts(world.sim);
    check_from(&world, segment, 0, 0);
    uint64_t reads = dbk_sim_count(world.sim, DBK_SIM_READ, NULL).calls;
    assert_true(reads < dbk_segment_block_count(segment) / 4);
    // Nothing but pages of the block index and the dictionary is left in the cache.
    assert_true(dbk_cache_bytes(world.cache) < dbk_segment_get_summary(segment)->data_bytes / 4);
    dbk_segment_unref(segment);
    world_deinit(&world);
}

static void a_damaged_block_spoils_no_other(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 23);
    world.large_percent = 0;
    world_add_events(&world, 4000);
    dbk_segment *segment = world_segment(&world, 0, world.count);
    uint32_t broken = dbk_segment_block_count(segment) / 2;
    dbk_block_place place;
    assert_ok(&world, dbk_segment_block_place(segment, broken, &place, &world.error));
    assert_int_equal(dbk_sim_flip(world.sim, WORLD_SEGMENT_PATH, place.file_offset + 50, 0x10), DAYBOOK_OK);
    dbk_block_scan *scan;
    assert_ok(&world, dbk_block_scan_new(segment, &scan, &world.error));
    dbk_block_view view = {0};
    uint64_t position = 0, damaged = 0, loaded = 0;
    while (dbk_block_scan_find(scan, position, &place, &world.error) == DAYBOOK_OK) {
        daybook_status status = dbk_block_scan_load(scan, &place, &view, &world.error);
        position = place.position_last + 1;
        if (status == DAYBOOK_OK) {
            loaded++;
            continue;
        }
        assert_int_equal(status, DAYBOOK_EDAMAGED);
        assert_int_equal(place.block_number, broken);
        assert_int_equal(world.error.offset, place.file_offset);
        damaged++;
    }
    assert_int_equal(damaged, 1);
    assert_int_equal(loaded, dbk_segment_block_count(segment) - 1);
    dbk_block_release(&view);
    dbk_block_scan_free(scan);
    dbk_segment_unref(segment);
    world_deinit(&world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scan_gives_every_event),
        cmocka_unit_test(a_scan_finds_blocks_anywhere),
        cmocka_unit_test(a_scan_reads_many_blocks_at_once),
        cmocka_unit_test(a_damaged_block_spoils_no_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
