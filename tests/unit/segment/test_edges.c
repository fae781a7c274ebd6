// SPDX-License-Identifier: Apache-2.0
// Limits, misuse, and events as the store does not make them but the format allows them.
#include <stdlib.h>

#include "fixture.h"
#include "lib/fault_allocator.h"
#include "segment/assembly.h"
#include "segment/gather.h"
#include "segment/pack.h"
#include "segment/reader.h"

static void paths_that_are_too_long_are_refused(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 91);
    world_add_events(&world, 3);
    char directory[DBK_PATH_SIZE_MAX + 1];
    memset(directory, 'd', sizeof directory - 1);
    directory[0] = '/';
    directory[sizeof directory - 1] = '\0';
    world.directory = directory;
    dbk_segment_config config = world_config(&world, 1);
    dbk_segment *segment;
    assert_int_equal(dbk_segment_open(&config, world.cache, &segment, &world.error), DAYBOOK_EINVALID);
    assert_int_equal(world_write(&world, 0, 3, 1, 2000, 1), DAYBOOK_EINVALID);
    world_deinit(&world);
}

static void ranges_that_cannot_be_are_refused(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 92);
    world_add_events(&world, 3);
    assert_int_equal(world_write(&world, 0, 3, 10, 9, 1), DAYBOOK_EMISUSE);
    assert_int_equal(world_write(&world, 0, 3, 0, UINT64_C(1) << 32, 1), DAYBOOK_EMISUSE);
    uint64_t first = world.events[0].event.position, last = world.events[2].event.position;
    assert_int_equal(world_write(&world, 0, 3, first + 1, last, 1), DAYBOOK_EMISUSE);
    assert_int_equal(world_write(&world, 0, 3, first, last - 1, 1), DAYBOOK_EMISUSE);
    dbk_segment_config config = world_config(&world, 1);
    dbk_segment_writer *writer;
    assert_ok(&world, dbk_segment_writer_new(&config, first, last, &writer, &world.error));
    assert_ok(&world, dbk_segment_writer_add(writer, &world.events[1].event, &world.error));
    // Not behind the one before; and from then on nothing works.
    assert_int_equal(dbk_segment_writer_add(writer, &world.events[0].event, &world.error), DAYBOOK_EMISUSE);
    assert_int_equal(dbk_segment_writer_add(writer, &world.events[2].event, &world.error), DAYBOOK_EMISUSE);
    assert_int_equal(dbk_segment_writer_add_removed(writer, &world.events[2].event, true, 0, &world.error),
                     DAYBOOK_EMISUSE);
    assert_int_equal(dbk_segment_writer_train(writer, NULL, 0, &world.error), DAYBOOK_EMISUSE);
    dbk_segment_writer_abort(writer);
    dbk_segment_writer_abort(NULL);
    dbk_block_scan_free(NULL);
    dbk_tree_builder_free(NULL);
    world_deinit(&world);
}

static void a_dictionary_is_trained_before_the_first_event_only(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 93);
    world_add_events(&world, 200);
    dbk_slice bodies[200];
    for (size_t i = 0; i < 200; i++) bodies[i] = world.events[i].event.body;
    dbk_segment_config config = world_config(&world, 1);
    dbk_segment_writer *writer;
    for (int has_events = 0; has_events < 2; has_events++) {
        assert_ok(&world, dbk_segment_writer_new(&config, 1, 1 << 20, &writer, &world.error));
        if (has_events)
            assert_ok(&world, dbk_segment_writer_add(writer, &world.events[0].event, &world.error));
        else
            assert_ok(&world, dbk_segment_writer_train(writer, bodies, 200, &world.error));
        assert_int_equal(dbk_segment_writer_train(writer, bodies, 200, &world.error), DAYBOOK_EMISUSE);
        dbk_segment_writer_abort(writer);
    }
    world_deinit(&world);
}

static void a_segment_has_no_more_dictionaries_or_blocks_than_numbers(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 94);
    dbk_segment_config config = world_config(&world, 1);
    dbk_assembly *assembly = malloc(sizeof *assembly);
    assert_non_null(assembly);
    assert_ok(&world, dbk_assembly_open(assembly, &config, 1, 100, &world.error));
    size_t size = (size_t)DBK_DICTIONARIES_MAX * sizeof(dbk_dictionary_place);
    memset(dbk_buf_reserve(&assembly->dictionaries, size), 0, size);
    assembly->dictionaries.size = size;
    uint32_t number;
    assert_int_equal(dbk_assembly_add_dictionary(assembly, daybook_text("one more"), &number, &world.error),
                     DAYBOOK_ELIMIT);
    assembly->block_count = UINT32_MAX - DBK_BLOCK_PAGE_COUNT;
    dbk_block_head head = {.event_count = 1};
    assert_int_equal(dbk_assembly_add_block(assembly, &head, daybook_text("a block"), &world.error),
                     DAYBOOK_ELIMIT);
    dbk_assembly_abort(assembly);
    free(assembly);
    world_deinit(&world);
}

// A clock that was set back: recorded times need not ascend, in a block and from block to block.
static void times_that_go_back_are_kept(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 95);
    world.large_percent = 0;
    world_add_events(&world, 60);
    for (size_t i = 0; i < 60; i++)
        world.events[i].event.recorded_ns -= (int64_t)i * 1000000000 * (i % 7 == 0 ? 3 : 1);
    dbk_segment *segment = world_segment(&world, 0, 60);
    dbk_block_view view;
    memset(&view, 0, sizeof view);
    size_t at = 0;
    for (uint32_t number = 0; number < dbk_segment_block_count(segment); number++) {
        assert_ok(&world, dbk_block_load(segment, number, &view, &world.error));
        for (uint32_t i = 0; i < view.event_count; i++) {
            dbk_event event;
            assert_ok(&world, dbk_block_event(&view, i, &event, &world.error));
            assert_true(event.recorded_ns == world.events[at++].event.recorded_ns);
        }
    }
    dbk_block_release(&view);
    dbk_segment_unref(segment);
    world_check_verify(&world, 1);
    world_deinit(&world);
}

static void entries_that_come_from_nowhere_are_refused(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 96);
    world_add_events(&world, 5);
    dbk_segment *segment = world_segment(&world, 0, 5);
    dbk_postings *postings;
    dbk_term_entry sound = {.count = 2, .postings_form = DBK_POSTINGS_INLINE, .postings_size = 1};
    assert_ok(&world, dbk_postings_open(segment, &sound, &postings, &world.error));
    dbk_postings_close(postings);
    for (int i = 0; i < 4; i++) {
        dbk_term_entry entry = sound;
        if (i == 0) entry.count = 0;
        if (i == 1) entry.count = DBK_POSTINGS_INLINE_COUNT_MAX + 1;
        if (i == 2) entry.postings_size = DBK_POSTINGS_INLINE_SIZE_MAX + 1;
        if (i == 3) entry.postings_inline[0] = 0x80; // a number that does not end
        assert_int_equal(dbk_postings_open(segment, &entry, &postings, &world.error), DAYBOOK_EMISUSE);
        assert_null(postings);
    }
    char text[DBK_TERM_SIZE_MAX + 1] = {0};
    dbk_term_entry entry;
    assert_int_equal(dbk_segment_find_term(segment, daybook_bytes(text, 0), &entry, NULL), DAYBOOK_ENOTFOUND);
    assert_int_equal(dbk_segment_find_term(segment, daybook_bytes(text, sizeof text), &entry, NULL),
                     DAYBOOK_ENOTFOUND);
    dbk_term_walk *walk;
    assert_int_equal(dbk_term_walk_open(segment, daybook_bytes(text, sizeof text), &walk, &world.error),
                     DAYBOOK_EMISUSE);
    dbk_segment_unref(segment);
    world_deinit(&world);
}

// Whoever wrote it: a segment may hold an id more than once.
static void an_id_of_many_events_gives_the_newest(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 97);
    world.stream_count = 1;
    world.large_percent = 0;
    world_add_events(&world, 24);
    static const uint8_t made[16] = {1, 2, 3, 4, 5, 6, 0x70, 7, 0x80};
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("a.b");
    for (size_t given = 0; given < 2; given++) {
        // With an id of the producer's; and one that its own time explains.
        event.id = given == 0 ? daybook_text("the same") : daybook_text("");
        dbk_buf buf;
        dbk_buf_init(&buf, world.allocator, 1 << 16);
        assert_int_equal(dbk_event_encode_body(&event, 0, made, &buf, NULL), DAYBOOK_OK);
        for (size_t i = 0; i < 24; i++) {
            dbk_event *of = &world.events[i].event;
            dbk_uuid uuid;
            memcpy(uuid.bytes, made, sizeof made);
            int64_t time_ns;
            assert_true(dbk_uuid_v7_time_ns(&uuid, &time_ns));
            of->recorded_ns = given == 0 ? of->recorded_ns : time_ns;
            of->aggregate_size = 0;
            assert_int_equal(dbk_event_decode_body(daybook_bytes(buf.data, buf.size), of), DAYBOOK_OK);
        }
        dbk_segment *segment = world_segment(&world, 0, 24);
        dbk_id_lookup lookup;
        assert_ok(&world, dbk_segment_find_id(segment, world.events[0].event.stream_id,
                                              world.events[0].event.id_key, &lookup, &world.error));
        assert_int_equal(lookup.count, 8);
        for (size_t i = 0; i < 8; i++)
            assert_true(lookup.positions[i] == world.events[23 - i].event.position);
        dbk_segment_unref(segment);
        dbk_buf_deinit(&buf);
    }
    world_deinit(&world);
}

// ---- Merging ----------------------------------------------------------------------------------------------

static dbk_liveness all_live(void *context, uint32_t stream_id, uint64_t position) {
    (void)context, (void)stream_id, (void)position;
    return DBK_LIVE;
}

static bool interrupt_after(void *context) {
    return (*(int *)context)-- <= 0;
}

static daybook_status merge(test_world *world, dbk_segment *const *inputs, size_t count, uint64_t first,
                            uint64_t last, int *steps) {
    dbk_segment_config config = world_config(world, 9);
    dbk_segment_summary summary;
    daybook_status status = dbk_segment_merge(&config, inputs, count, first, last, all_live, NULL, 0, 0,
                                              steps == NULL ? NULL : interrupt_after, steps, daybook_text(""),
                                              &summary, &world->error);
    (void)world->vfs->unlink(world->vfs, "/segment-0000000000000009.dbs");
    return status;
}

static void merging_what_does_not_belong_together_is_refused(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 98);
    world_add_events(&world, 40);
    dbk_segment *pair[] = {world_segment(&world, 0, 20), world_segment(&world, 20, 40)};
    dbk_segment *turned[] = {pair[1], pair[0]};
    uint64_t first = world.events[0].event.position, last = world.events[39].event.position;
    assert_ok(&world, merge(&world, pair, 2, first, last, NULL));
    assert_int_equal(merge(&world, pair, 0, first, last, NULL), DAYBOOK_EMISUSE);
    assert_int_equal(merge(&world, turned, 2, first, last, NULL), DAYBOOK_EMISUSE);
    assert_int_equal(merge(&world, pair, 2, first, last - 1, NULL), DAYBOOK_EMISUSE);
    world.store_uuid.bytes[0]++;
    assert_int_equal(merge(&world, pair, 2, first, last, NULL), DAYBOOK_EFOREIGN);
    world.store_uuid.bytes[0]--;
    // Stopped wherever it asks.
    for (int steps = 0;; steps++) {
        int left = steps;
        daybook_status status = merge(&world, pair, 2, first, last, &left);
        if (status == DAYBOOK_OK) break;
        assert_int_equal(status, DAYBOOK_ECLOSED);
    }
    dbk_segment_unref(pair[0]);
    dbk_segment_unref(pair[1]);
    world_deinit(&world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_that_are_too_long_are_refused),
        cmocka_unit_test(ranges_that_cannot_be_are_refused),
        cmocka_unit_test(a_dictionary_is_trained_before_the_first_event_only),
        cmocka_unit_test(a_segment_has_no_more_dictionaries_or_blocks_than_numbers),
        cmocka_unit_test(times_that_go_back_are_kept),
        cmocka_unit_test(entries_that_come_from_nowhere_are_refused),
        cmocka_unit_test(an_id_of_many_events_gives_the_newest),
        cmocka_unit_test(merging_what_does_not_belong_together_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
