// SPDX-License-Identifier: Apache-2.0
// The disk or the memory fails at every step in turn: a status, no leak, no file left behind, and the next
// try succeeds.
#include <errno.h>
#include <stdio.h>

#include "fixture.h"
#include "lib/fault_allocator.h"

static dbk_liveness some_removed(void *context, uint32_t stream_id, uint64_t position) {
    (void)context;
    (void)stream_id;
    return position % 3 == 0 ? DBK_REMOVED : DBK_LIVE;
}

static daybook_status merge_into(test_world *world, dbk_segment **inputs, size_t count, uint64_t segment_id) {
    dbk_segment_config config = world_config(world, segment_id);
    dbk_segment_summary summary;
    return dbk_segment_merge(&config, inputs, count, dbk_segment_get_summary(inputs[0])->position_first,
                             dbk_segment_get_summary(inputs[count - 1])->position_last, some_removed, NULL, 0,
                             0, NULL, NULL, daybook_text("the catalogue"), &summary, &world->error);
}

static daybook_status write_again(test_world *world, uint64_t segment_id) {
    return world_write(world, 0, world->count, world->events[0].event.position,
                       world->events[world->count - 1].event.position, segment_id);
}

static int count_entry(void *context, const daybook_vfs_entry *entry) {
    (void)entry;
    (*(unsigned *)context)++;
    return 0;
}

static unsigned count_files(test_world *world) {
    unsigned count = 0;
    assert_int_equal(world->vfs->list(world->vfs, "/", count_entry, &count), 0);
    return count;
}

static void a_failing_disk_leaves_no_file_when_writing(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 51);
    world.memory_max = 64 * 1024; // with runs
    world_add_events(&world, 400);
    static const int errors[] = {EIO, ENOSPC, EMFILE};
    for (size_t e = 0; e < 3; e++) {
        for (uint64_t nth = 1;; nth++) {
            dbk_sim_fault fault = {.kind = DBK_SIM_ANY, .nth = nth, .error = errors[e]};
            uint64_t hits = dbk_sim_fault_hits(world.sim);
            assert_int_equal(dbk_sim_fail(world.sim, &fault), DAYBOOK_OK);
            daybook_status status = write_again(&world, 1);
            dbk_sim_clear_faults(world.sim);
            bool was_hit = dbk_sim_fault_hits(world.sim) > hits;
            // Only what is removed anyway may fail unnoticed.
            if (status == DAYBOOK_OK) {
                world_check_verify(&world, 1);
                assert_int_equal(world.vfs->unlink(world.vfs, "/segment-0000000000000001.dbs"), 0);
            } else {
                assert_true(was_hit);
            }
            assert_true(count_files(&world) <= (was_hit && status == DAYBOOK_OK ? 1u : 0u));
            (void)world.vfs->unlink(world.vfs, "/segment-0000000000000001-t.tmp");
            assert_int_equal(dbk_sim_open_files(world.sim), 0);
            if (!was_hit) break;
        }
    }
    world_deinit(&world);
}

static void a_failing_disk_leaves_no_file_when_merging(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 52);
    world.memory_max = 64 * 1024;
    world_add_events(&world, 300);
    dbk_segment_unref(world_segment(&world, 0, 150));
    dbk_segment_unref(world_segment(&world, 150, 300));
    for (uint64_t nth = 1;; nth++) {
        // Opened anew each time, so that reads are not answered by the cache.
        dbk_segment *inputs[2] = {world_open(&world, 1), world_open(&world, 2)};
        dbk_sim_fault fault = {.kind = DBK_SIM_ANY, .nth = nth, .error = EIO};
        uint64_t hits = dbk_sim_fault_hits(world.sim);
        assert_int_equal(dbk_sim_fail(world.sim, &fault), DAYBOOK_OK);
        daybook_status status = merge_into(&world, inputs, 2, 3);
        dbk_sim_clear_faults(world.sim);
        bool was_hit = dbk_sim_fault_hits(world.sim) > hits;
        if (status == DAYBOOK_OK) {
            world_check_verify(&world, 3);
            assert_int_equal(world.vfs->unlink(world.vfs, "/segment-0000000000000003.dbs"), 0);
        } else {
            assert_int_equal(status, DAYBOOK_EIO);
        }
        assert_true(count_files(&world) <= (was_hit && status == DAYBOOK_OK ? 3u : 2u));
        (void)world.vfs->unlink(world.vfs, "/segment-0000000000000003-t.tmp");
        dbk_segment_unref(inputs[0]);
        dbk_segment_unref(inputs[1]);
        assert_int_equal(dbk_sim_open_files(world.sim), 0);
        if (!was_hit) break;
    }
    world_deinit(&world);
}

// With memory for a few bytes each call that writes is one that can fail. The last writes (footers, tails)
// are taken one by one, the others at a stride.
typedef daybook_status (*write_step_of)(test_world *world);

static void check_each_write(test_world *world, write_step_of write, const char *name, unsigned stride) {
    unsigned files = count_files(world);
    uint64_t before = dbk_sim_count(world->sim, DBK_SIM_WRITE, NULL).calls;
    assert_ok(world, write(world));
    uint64_t total = dbk_sim_count(world->sim, DBK_SIM_WRITE, NULL).calls - before;
    assert_int_equal(world->vfs->unlink(world->vfs, name), 0);
    assert_true(total > 500);
    for (uint64_t nth = 1 + world_random(world, stride); nth <= total;
         nth += nth + 100 < total ? stride : 1) {
        dbk_sim_fault fault = {.kind = DBK_SIM_WRITE, .nth = nth, .error = EIO};
        assert_int_equal(dbk_sim_fail(world->sim, &fault), DAYBOOK_OK);
        assert_int_equal(write(world), DAYBOOK_EIO);
        dbk_sim_clear_faults(world->sim);
        assert_int_equal(count_files(world), files);
        assert_int_equal(dbk_sim_open_files(world->sim), 0);
    }
}

static daybook_status write_first(test_world *world) {
    return write_again(world, 1);
}

static daybook_status merge_two(test_world *world) {
    dbk_segment *inputs[2] = {world_open(world, 1), world_open(world, 2)};
    daybook_status status = merge_into(world, inputs, 2, 3);
    dbk_segment_unref(inputs[0]);
    dbk_segment_unref(inputs[1]);
    return status;
}

static void each_write_that_fails_is_told(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 56);
    world.memory_max = 16;
    world.large_percent = 0;
    world.stream_count = 1;
    world.aggregate_count = 4;
    world_add_events(&world, 180);
    world.events[7].liveness = DBK_REMOVED;
    check_each_write(&world, write_first, "/segment-0000000000000001.dbs", 7);
    dbk_segment_unref(world_segment(&world, 0, 60));
    dbk_segment_unref(world_segment(&world, 60, 180));
    check_each_write(&world, merge_two, "/segment-0000000000000003.dbs", 11);
    world_deinit(&world);
}

static void short_transfers_are_completed(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 53);
    world_add_events(&world, 300);
    dbk_sim_set_short_transfers(world.sim, 50);
    dbk_segment *segment = world_segment(&world, 0, 300);
    world_check(&world, segment, 0, 300);
    dbk_segment_unref(segment);
    world_deinit(&world);
}

static void a_crash_while_writing_leaves_at_most_a_temporary_file(void **state) {
    (void)state;
    for (uint64_t steps = 1; steps < 60; steps++) {
        test_world world;
        world_init(&world, 500 + steps);
        world_add_events(&world, 200);
        dbk_sim_stop_after(world.sim, steps);
        daybook_status status = write_again(&world, 1);
        bool is_stopped = dbk_sim_is_stopped(world.sim);
        assert_int_equal(status == DAYBOOK_OK, !is_stopped);
        dbk_sim_crash(world.sim, DBK_SIM_POWER_LOSS);
        dbk_segment_config config = world_config(&world, 1);
        dbk_segment *segment;
        status = dbk_segment_open(&config, world.cache, &segment, &world.error);
        // Under its own name it is whole or not there.
        if (status == DAYBOOK_OK) {
            world_check_events(&world, segment, 0, 200);
            dbk_segment_unref(segment);
            world_check_verify(&world, 1);
        } else {
            assert_int_equal(status, DAYBOOK_ENOTFOUND);
            assert_true(is_stopped);
            assert_ok(&world, write_again(&world, 1)); // over the leftovers
        }
        world_deinit(&world);
        if (!is_stopped) break;
    }
}

// ---- Memory -----------------------------------------------------------------------------------------------

typedef daybook_status (*fault_step)(test_world *world);

// Runs `step` with every allocation failing in turn, once and from then on.
static void check_memory(test_world *world, fault_allocator *faults, fault_step step) {
    for (int is_forever = 0; is_forever < 2; is_forever++) {
        for (uint64_t nth = 1;; nth += 1 + nth / 50) {
            uint64_t live = fault_allocator_live(faults);
            fault_allocator_fail(faults, nth, is_forever != 0);
            daybook_status status = step(world);
            bool has_failed = fault_allocator_has_failed(faults);
            fault_allocator_fail(faults, 0, false);
            if (status != DAYBOOK_OK) assert_int_equal(status, DAYBOOK_ENOMEM);
            assert_true(fault_allocator_live(faults) == live);
            if (!has_failed) {
                assert_int_equal(status, DAYBOOK_OK);
                break;
            }
        }
    }
}

static daybook_status write_step(test_world *world) {
    daybook_status status = write_again(world, 1);
    if (status == DAYBOOK_OK)
        assert_int_equal(world->vfs->unlink(world->vfs, "/segment-0000000000000001.dbs"), 0);
    assert_int_equal(count_files(world), 0);
    return status;
}

static void memory_out_when_writing(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 54);
    fault_allocator faults;
    fault_allocator_init(&faults);
    world.allocator = &faults.allocator;
    world_add_events(&world, 300);
    world.events[5].liveness = DBK_REMOVED;
    check_memory(&world, &faults, write_step);
    world.memory_max = 64 * 1024;
    check_memory(&world, &faults, write_step);
    world_deinit(&world);
}

static daybook_status merge_step(test_world *world) {
    dbk_segment *inputs[2] = {NULL, NULL};
    dbk_cache *cache;
    daybook_status status = dbk_cache_new(world->allocator, 1 << 20, &cache);
    if (status != DAYBOOK_OK) return status;
    for (uint64_t i = 0; i < 2 && status == DAYBOOK_OK; i++) {
        dbk_segment_config config = world_config(world, i + 1);
        status = dbk_segment_open(&config, cache, &inputs[i], &world->error);
    }
    if (status == DAYBOOK_OK) status = merge_into(world, inputs, 2, 3);
    if (status == DAYBOOK_OK)
        assert_int_equal(world->vfs->unlink(world->vfs, "/segment-0000000000000003.dbs"), 0);
    dbk_segment_unref(inputs[0]);
    dbk_segment_unref(inputs[1]);
    dbk_cache_free(cache);
    assert_int_equal(count_files(world), 2);
    return status;
}

static daybook_status read_step(test_world *world) {
    dbk_cache *cache;
    daybook_status status = dbk_cache_new(world->allocator, 1 << 20, &cache);
    if (status != DAYBOOK_OK) return status;
    dbk_segment_config config = world_config(world, 1);
    dbk_segment *segment = NULL;
    dbk_block_view view;
    memset(&view, 0, sizeof view);
    dbk_term_walk *walk = NULL;
    status = dbk_segment_open(&config, cache, &segment, &world->error);
    for (uint32_t i = 0; status == DAYBOOK_OK && i < dbk_segment_block_count(segment); i++)
        status = dbk_block_load(segment, i, &view, &world->error);
    if (status == DAYBOOK_OK) status = dbk_term_walk_open(segment, daybook_text(""), &walk, &world->error);
    while (status == DAYBOOK_OK) {
        dbk_slice term;
        dbk_term_entry entry;
        status = dbk_term_walk_next(walk, &term, &entry, &world->error);
        if (status != DAYBOOK_OK) break;
        status = dbk_segment_find_term(segment, term, &entry, &world->error);
        dbk_postings *postings = NULL;
        uint64_t position;
        if (status == DAYBOOK_OK) status = dbk_postings_open(segment, &entry, &postings, &world->error);
        if (status == DAYBOOK_OK) status = dbk_postings_seek(postings, 0, &position, &world->error);
        if (status == DAYBOOK_END) status = DAYBOOK_OK;
        dbk_postings_close(postings);
    }
    dbk_term_walk_close(walk);
    dbk_block_release(&view);
    dbk_segment_unref(segment);
    dbk_cache_free(cache);
    if (status == DAYBOOK_END) status = dbk_segment_verify(&config, NULL, NULL, &world->error);
    return status;
}

static void memory_out_when_reading_and_merging(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 55);
    world_add_events(&world, 200);
    dbk_segment_unref(world_segment(&world, 0, 100));
    dbk_segment_unref(world_segment(&world, 100, 200));
    fault_allocator faults;
    fault_allocator_init(&faults);
    world.allocator = &faults.allocator;
    check_memory(&world, &faults, merge_step);
    check_memory(&world, &faults, read_step);
    world_deinit(&world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failing_disk_leaves_no_file_when_writing),
        cmocka_unit_test(a_failing_disk_leaves_no_file_when_merging),
        cmocka_unit_test(each_write_that_fails_is_told),
        cmocka_unit_test(short_transfers_are_completed),
        cmocka_unit_test(a_crash_while_writing_leaves_at_most_a_temporary_file),
        cmocka_unit_test(memory_out_when_writing),
        cmocka_unit_test(memory_out_when_reading_and_merging),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
