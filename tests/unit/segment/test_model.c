// SPDX-License-Identifier: Apache-2.0
// What goes into a segment comes out, by every way there is; compared with a naive model.
#define _POSIX_C_SOURCE 200809L // mkdtemp

#include <stdio.h>
#include <stdlib.h>

#include "fixture.h"

static void check_random_segment(uint64_t seed, size_t count, size_t memory_max, bool with_dictionary) {
    test_world world;
    world_init(&world, seed);
    world.memory_max = memory_max;
    world.with_dictionary = with_dictionary;
    world_add_events(&world, count);
    dbk_segment *segment = world_segment(&world, 0, count);
    world_check(&world, segment, 0, count);
    world_check_verify(&world, 1);
    dbk_segment_unref(segment);
    world_deinit(&world);
}

static void random_segments_answer_as_the_model(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++)
        check_random_segment(seed, 1 + 37 * seed * seed, 0, seed % 2 == 0);
    check_random_segment(77, 3000, 0, true);
}

static void terms_beyond_the_memory_go_through_runs(void **state) {
    (void)state;
    check_random_segment(5, 3000, 300 * 1024, true);
    check_random_segment(6, 700, 1, true); // a run per event
}

static void one_event_is_a_segment(void **state) {
    (void)state;
    for (uint64_t seed = 100; seed < 120; seed++) check_random_segment(seed, 1, 0, true);
}

static void a_large_segment_has_paged_postings_and_several_filters(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 9);
    world.aggregate_count = 20000;
    world.large_percent = 0;
    world_add_events(&world, 40000);
    dbk_segment *segment = world_segment(&world, 0, world.count);
    world_check(&world, segment, 0, world.count);
    world_check_verify(&world, 1);
    dbk_segment_unref(segment);
    world_deinit(&world);
}

static void removed_events_leave_ids_and_versions(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 21);
    world_add_events(&world, 2000);
    for (size_t i = 0; i < world.count; i++) {
        unsigned dice = (unsigned)world_random(&world, 10);
        if (dice > 3) continue;
        world.events[i].liveness = dice == 0 ? DBK_REMOVED_FOR_EVER : DBK_REMOVED;
        world.events[i].removed_ns = world.now_ns + (int64_t)i;
    }
    dbk_segment *segment = world_segment(&world, 0, world.count);
    world_check(&world, segment, 0, world.count);
    world_check_verify(&world, 1);
    dbk_segment_unref(segment);
    world_deinit(&world);
}

static void a_segment_may_hold_no_events(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 3);
    assert_ok(&world, world_write(&world, 0, 0, 10, 20, 1));
    dbk_segment *segment = world_open(&world, 1);
    assert_int_equal(dbk_segment_get_summary(segment)->event_count, 0);
    assert_int_equal(dbk_segment_block_count(segment), 0);
    dbk_block_place place;
    assert_int_equal(dbk_segment_find_block(segment, 0, &place, NULL), DAYBOOK_END);
    dbk_term_entry entry;
    assert_int_equal(dbk_segment_find_term(segment, daybook_text("x"), &entry, NULL), DAYBOOK_ENOTFOUND);
    dbk_term_walk *walk;
    dbk_slice term;
    assert_ok(&world, dbk_term_walk_open(segment, daybook_text(""), &walk, &world.error));
    assert_int_equal(dbk_term_walk_next(walk, &term, &entry, NULL), DAYBOOK_END);
    dbk_term_walk_close(walk);
    dbk_id_lookup lookup;
    assert_ok(&world, dbk_segment_find_id(segment, 1, daybook_text("Tx"), &lookup, &world.error));
    assert_int_equal(lookup.count, 0);
    world_check_verify(&world, 1);
    dbk_segment_unref(segment);
    world_deinit(&world);
}

static void an_event_of_16_mib_has_a_block_of_its_own(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 3);
    world_add_events(&world, 3);
    model_event *model = &world.events[1];
    size_t size = DBK_EVENT_BODY_SIZE_MAX;
    uint8_t *body = calloc(size, 1);
    memcpy(body, model->event.body.data, model->event.body.size);
    for (size_t i = model->event.body.size; i < size; i++) body[i] = (uint8_t)world_random(&world, 256);
    free(model->body);
    model->body = body;
    assert_int_equal(dbk_event_decode_body(daybook_bytes(body, size), &model->event), DAYBOOK_OK);
    dbk_segment *segment = world_segment(&world, 0, 3);
    assert_int_equal(dbk_segment_block_count(segment), 3);
    world_check(&world, segment, 0, 3);
    dbk_segment_unref(segment);
    world_deinit(&world);
}

static void a_real_disk_does_as_well(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 12);
    char directory[] = "/tmp/daybook-segment-XXXXXX";
    assert_non_null(mkdtemp(directory));
    world.vfs = daybook_vfs_posix();
    world.directory = directory;
    world.memory_max = 400 * 1024;
    world_add_events(&world, 2000);
    dbk_segment *segment = world_segment(&world, 0, world.count);
    world_check(&world, segment, 0, world.count);
    world_check_verify(&world, 1);
    dbk_segment_unref(segment);
    char path[100];
    (void)snprintf(path, sizeof path, "%s/segment-0000000000000001.dbs", directory);
    assert_int_equal(world.vfs->unlink(world.vfs, path), 0);
    assert_int_equal(world.vfs->remove_directory(world.vfs, directory), 0); // nothing else is left in it
    world_deinit(&world);
}

static void events_out_of_order_are_refused(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 3);
    world_add_events(&world, 2);
    dbk_segment_config config = world_config(&world, 1);
    dbk_segment_writer *writer;
    uint64_t first = world.events[0].event.position, last = world.events[1].event.position;
    assert_ok(&world, dbk_segment_writer_new(&config, first, last, &writer, &world.error));
    assert_ok(&world, dbk_segment_writer_add(writer, &world.events[1].event, &world.error));
    assert_int_equal(dbk_segment_writer_add(writer, &world.events[0].event, &world.error), DAYBOOK_EMISUSE);
    dbk_segment_summary summary;
    assert_int_equal(dbk_segment_writer_finish(writer, daybook_text(""), &summary, &world.error),
                     DAYBOOK_EMISUSE);
    assert_int_equal(dbk_sim_used_bytes(world.sim), 0);
    world_deinit(&world);
}

static void a_segment_is_never_overwritten(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 3);
    world_add_events(&world, 2);
    dbk_segment *segment = world_segment(&world, 0, 2);
    assert_int_equal(world_write(&world, 0, 1, 1, 2000, 1), DAYBOOK_EEXISTS);
    world_check_verify(&world, 1);
    dbk_segment_unref(segment);
    world_deinit(&world);
}

static void segments_of_other_stores_are_foreign(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 3);
    world_add_events(&world, 2);
    dbk_segment_unref(world_segment(&world, 0, 2));
    dbk_segment_config config = world_config(&world, 1);
    config.store_uuid.bytes[3] ^= 1;
    dbk_segment *segment;
    assert_int_equal(dbk_segment_open(&config, world.cache, &segment, &world.error), DAYBOOK_EFOREIGN);
    assert_int_equal(dbk_segment_verify(&config, NULL, NULL, &world.error), DAYBOOK_EFOREIGN);
    memset(&config.store_uuid, 0, sizeof config.store_uuid);
    assert_ok(&world, dbk_segment_open(&config, world.cache, &segment, &world.error));
    dbk_segment_unref(segment);
    // Another incarnation of the same store is fine.
    config = world_config(&world, 1);
    config.incarnation = 43;
    assert_ok(&world, dbk_segment_open(&config, world.cache, &segment, &world.error));
    dbk_segment_unref(segment);
    // A renamed file is not what its name says.
    assert_int_equal(
        world.vfs->rename(world.vfs, "/segment-0000000000000001.dbs", "/segment-0000000000000002.dbs"), 0);
    config = world_config(&world, 2);
    assert_int_equal(dbk_segment_open(&config, world.cache, &segment, &world.error), DAYBOOK_EFOREIGN);
    config = world_config(&world, 1);
    assert_int_equal(dbk_segment_open(&config, world.cache, &segment, &world.error), DAYBOOK_ENOTFOUND);
    world_deinit(&world);
}

static void one_aggregate_costs_few_reads(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 11);
    world.aggregate_count = 20000;
    world.large_percent = 0;
    world_add_events(&world, 30000);
    dbk_segment_unref(world_segment(&world, 0, world.count));
    dbk_sim_reset_counts(world.sim);
    dbk_segment *segment = world_open(&world, 1);
    assert_true(dbk_sim_count(world.sim, DBK_SIM_READ, NULL).calls <= 4);
    const dbk_event *event = &world.events[500].event;
    while (event->aggregate_size == 0) event++;
    dbk_term term;
    dbk_term_make(&term, DBK_TERM_AGGREGATE, event->stream_id, dbk_event_aggregate(event));
    dbk_term_entry entry;
    dbk_sim_reset_counts(world.sim);
    assert_ok(&world, dbk_segment_find_term(segment, dbk_term_slice(&term), &entry, &world.error));
    assert_true(dbk_sim_count(world.sim, DBK_SIM_READ, NULL).calls <= 4); // filter, root, inner, leaf
    dbk_block_place place;
    dbk_block_view view;
    memset(&view, 0, sizeof view);
    assert_ok(&world, dbk_segment_find_block(segment, entry.last_position, &place, &world.error));
    assert_ok(&world, dbk_block_load_at(segment, &place, &view, &world.error));
    assert_true(dbk_sim_count(world.sim, DBK_SIM_READ, NULL).calls <= 7); // block page, block, dictionary
    dbk_block_release(&view);
    dbk_sim_reset_counts(world.sim);
    assert_ok(&world, dbk_segment_find_term(segment, dbk_term_slice(&term), &entry, &world.error));
    assert_int_equal(dbk_sim_count(world.sim, DBK_SIM_READ, NULL).calls, 0);
    dbk_segment_unref(segment);
    world_deinit(&world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_segments_answer_as_the_model),
        cmocka_unit_test(terms_beyond_the_memory_go_through_runs),
        cmocka_unit_test(one_event_is_a_segment),
        cmocka_unit_test(a_large_segment_has_paged_postings_and_several_filters),
        cmocka_unit_test(removed_events_leave_ids_and_versions),
        cmocka_unit_test(a_segment_may_hold_no_events),
        cmocka_unit_test(an_event_of_16_mib_has_a_block_of_its_own),
        cmocka_unit_test(a_real_disk_does_as_well),
        cmocka_unit_test(events_out_of_order_are_refused),
        cmocka_unit_test(a_segment_is_never_overwritten),
        cmocka_unit_test(segments_of_other_stores_are_foreign),
        cmocka_unit_test(one_aggregate_costs_few_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
