// SPDX-License-Identifier: Apache-2.0
// Merging gives what writing all live events at once would have given; compared with the same naive model.
#include "fixture.h"

typedef struct model_truth {
    const test_world *world;
    uint32_t gone_stream; // 0: none
    uint64_t calls;
} model_truth;

static dbk_liveness ask_model(void *context, uint32_t stream_id, uint64_t position) {
    model_truth *truth = context;
    truth->calls++;
    if (stream_id == truth->gone_stream) return DBK_STREAM_GONE;
    size_t low = 0, high = truth->world->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (truth->world->events[middle].event.position < position)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == truth->world->count || truth->world->events[low].event.position != position) return DBK_LIVE;
    if (truth->world->events[low].event.stream_id != stream_id) return DBK_LIVE;
    return truth->world->events[low].liveness;
}

static dbk_segment *merge(test_world *world, dbk_segment **inputs, size_t count, uint32_t gone_stream,
                          int64_t now_ns, int64_t forget_before_ns) {
    model_truth truth = {world, gone_stream, 0};
    uint64_t segment_id = world->next_segment_id++;
    dbk_segment_config config = world_config(world, segment_id);
    dbk_segment_summary summary;
    assert_ok(world,
              dbk_segment_merge(&config, inputs, count, dbk_segment_get_summary(inputs[0])->position_first,
                                dbk_segment_get_summary(inputs[count - 1])->position_last, ask_model, &truth,
                                now_ns, forget_before_ns, NULL, NULL, daybook_text("the catalogue"), &summary,
                                &world->error));
    dbk_segment *segment = world_open(world, segment_id);
    assert_memory_equal(&summary, dbk_segment_get_summary(segment), sizeof summary);
    world_check_verify(world, segment_id);
    return segment;
}

static void remove_some(test_world *world, size_t first, size_t end, unsigned percent, int64_t removed_ns) {
    for (size_t i = first; i < end; i++) {
        if (world->events[i].liveness != DBK_LIVE || world_random(world, 100) >= percent) continue;
        world->events[i].liveness = world_random(world, 2) == 0 ? DBK_REMOVED : DBK_REMOVED_FOR_EVER;
        world->events[i].removed_ns = removed_ns;
    }
}

static void check_merges(uint64_t seed, size_t events_each, unsigned percent, size_t memory_max) {
    test_world world;
    world_init(&world, seed);
    world.memory_max = memory_max;
    dbk_segment *inputs[4];
    for (size_t i = 0; i < 4; i++) {
        world_add_events(&world, events_each);
        inputs[i] = world_segment(&world, i * events_each, (i + 1) * events_each);
    }
    remove_some(&world, 0, 4 * events_each, percent, 5000);
    // Two pairs, and the two results: each removal survives further merges.
    dbk_segment *left = merge(&world, inputs, 2, 0, 5000, 0);
    world_check(&world, left, 0, 2 * events_each);
    dbk_segment *right = merge(&world, inputs + 2, 2, 0, 5000, 0);
    world_check(&world, right, 2 * events_each, 4 * events_each);
    remove_some(&world, 0, 4 * events_each, percent / 2, 6000);
    dbk_segment *halves[] = {left, right};
    dbk_segment *all = merge(&world, halves, 2, 0, 6000, 0);
    world_check(&world, all, 0, 4 * events_each);
    // Once more alone, nothing new: the same again.
    dbk_segment *again = merge(&world, &all, 1, 0, 7000, 0);
    world_check(&world, again, 0, 4 * events_each);
    for (size_t i = 0; i < 4; i++) dbk_segment_unref(inputs[i]);
    dbk_segment_unref(left);
    dbk_segment_unref(right);
    dbk_segment_unref(all);
    dbk_segment_unref(again);
    world_deinit(&world);
}

static void merges_of_merges_answer_as_the_model(void **state) {
    (void)state;
    check_merges(1, 1, 0, 0);
    check_merges(2, 30, 0, 0);
    check_merges(3, 300, 0, 0);
    check_merges(4, 300, 10, 0);
    check_merges(5, 500, 60, 0);
    check_merges(6, 200, 99, 0);
    check_merges(7, 1500, 3, 200 * 1024); // dead ids through runs
}

static void large_merges_answer_as_the_model(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 8);
    world.aggregate_count = 10000;
    world.large_percent = 0;
    dbk_segment *inputs[3];
    for (size_t i = 0; i < 3; i++) {
        world_add_events(&world, 12000);
        inputs[i] = world_segment(&world, i * 12000, (i + 1) * 12000);
    }
    dbk_segment *all = merge(&world, inputs, 3, 0, 5000, 0);
    world_check(&world, all, 0, world.count);
    remove_some(&world, 0, world.count, 5, 6000);
    dbk_segment *rest = merge(&world, &all, 1, 0, 6000, 0);
    world_check(&world, rest, 0, world.count);
    for (size_t i = 0; i < 3; i++) dbk_segment_unref(inputs[i]);
    dbk_segment_unref(all);
    dbk_segment_unref(rest);
    world_deinit(&world);
}

static void all_removed_leaves_ids_and_versions(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 4);
    world_add_events(&world, 500);
    dbk_segment *input = world_segment(&world, 0, 500);
    remove_some(&world, 0, 500, 100, 5000);
    dbk_segment *merged = merge(&world, &input, 1, 0, 5000, 0);
    assert_int_equal(dbk_segment_get_summary(merged)->event_count, 0);
    assert_int_equal(dbk_segment_block_count(merged), 0);
    world_check(&world, merged, 0, 500);
    dbk_segment_unref(input);
    dbk_segment_unref(merged);
    world_deinit(&world);
}

static void gone_streams_leave_nothing(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 4);
    world_add_events(&world, 1000);
    remove_some(&world, 0, 1000, 20, 4000);
    dbk_segment *inputs[2] = {world_segment(&world, 0, 400), world_segment(&world, 400, 1000)};
    for (size_t i = 0; i < 1000; i++)
        if (world.events[i].event.stream_id == 307) world.events[i].liveness = DBK_STREAM_GONE;
    dbk_segment *merged = merge(&world, inputs, 2, 307, 5000, 0);
    world_check(&world, merged, 0, 1000);
    dbk_segment_unref(inputs[0]);
    dbk_segment_unref(inputs[1]);
    dbk_segment_unref(merged);
    world_deinit(&world);
}

static void dead_ids_are_forgotten_in_time(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 4);
    world_add_events(&world, 300);
    dbk_segment *input = world_segment(&world, 0, 300);
    remove_some(&world, 0, 100, 100, 5000);
    dbk_segment *first = merge(&world, &input, 1, 0, 5000, 0);
    remove_some(&world, 100, 200, 100, 6000);
    dbk_segment *second = merge(&world, &first, 1, 0, 6000, 5001);
    for (size_t i = 0; i < 200; i++) {
        const model_event *model = &world.events[i];
        dbk_id_lookup lookup;
        assert_ok(&world, dbk_segment_find_id(second, model->event.stream_id, model->event.id_key, &lookup,
                                              &world.error));
        assert_int_equal(lookup.dead, i >= 100 || model->liveness == DBK_REMOVED_FOR_EVER);
    }
    dbk_segment_unref(input);
    dbk_segment_unref(first);
    dbk_segment_unref(second);
    world_deinit(&world);
}

static bool always(void *context) {
    (void)context;
    return true;
}

static void an_interrupted_merge_leaves_no_file(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 4);
    world_add_events(&world, 300);
    dbk_segment *input = world_segment(&world, 0, 300);
    uint64_t bytes = dbk_sim_used_bytes(world.sim);
    model_truth truth = {&world, 0, 0};
    dbk_segment_config config = world_config(&world, 9);
    dbk_segment_summary summary;
    assert_int_equal(dbk_segment_merge(&config, &input, 1, dbk_segment_get_summary(input)->position_first,
                                       dbk_segment_get_summary(input)->position_last, ask_model, &truth, 0, 0,
                                       always, NULL, daybook_text(""), &summary, &world.error),
                     DAYBOOK_ECLOSED);
    assert_int_equal(dbk_sim_used_bytes(world.sim), bytes);
    dbk_segment_unref(input);
    world_deinit(&world);
}

static void inputs_out_of_order_are_refused(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 4);
    world_add_events(&world, 20);
    dbk_segment *inputs[2] = {world_segment(&world, 10, 20), world_segment(&world, 0, 10)};
    model_truth truth = {&world, 0, 0};
    dbk_segment_config config = world_config(&world, 9);
    dbk_segment_summary summary;
    assert_int_equal(dbk_segment_merge(&config, inputs, 2, 1, 100000, ask_model, &truth, 0, 0, NULL, NULL,
                                       daybook_text(""), &summary, &world.error),
                     DAYBOOK_EMISUSE);
    assert_int_equal(dbk_segment_merge(&config, inputs, 0, 1, 100000, ask_model, &truth, 0, 0, NULL, NULL,
                                       daybook_text(""), &summary, &world.error),
                     DAYBOOK_EMISUSE);
    dbk_segment_unref(inputs[0]);
    dbk_segment_unref(inputs[1]);
    world_deinit(&world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_of_merges_answer_as_the_model),
        cmocka_unit_test(large_merges_answer_as_the_model),
        cmocka_unit_test(all_removed_leaves_ids_and_versions),
        cmocka_unit_test(gone_streams_leave_nothing),
        cmocka_unit_test(dead_ids_are_forgotten_in_time),
        cmocka_unit_test(an_interrupted_merge_leaves_no_file),
        cmocka_unit_test(inputs_out_of_order_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
