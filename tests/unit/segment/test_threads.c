// SPDX-License-Identifier: Apache-2.0
// One open segment, one small cache, many readers, while it is merged; for the thread sanitizer, too.
#include <pthread.h>
#include <stdlib.h>

#include "fixture.h"

typedef struct segment_reader {
    test_world *world;
    dbk_segment *segment;
    uint64_t random_state;
    unsigned wrong;
} segment_reader;

static uint64_t random_below(segment_reader *reader, uint64_t bound) {
    reader->random_state = reader->random_state * UINT64_C(6364136223846793005) +
                           UINT64_C(1442695040888963407);
    return (reader->random_state >> 33) % bound;
}

static bool read_one(segment_reader *reader, dbk_block_view *view) {
    const test_world *world = reader->world;
    const dbk_event *expected = &world->events[random_below(reader, world->count)].event;
    dbk_term term;
    dbk_term_entry entry;
    dbk_term_make(&term, DBK_TERM_SUBJECT, expected->stream_id, expected->subject);
    if (dbk_segment_find_term(reader->segment, dbk_term_slice(&term), &entry, NULL) != DAYBOOK_OK)
        return false;
    dbk_postings *postings;
    if (dbk_postings_open(reader->segment, &entry, &postings, NULL) != DAYBOOK_OK) return false;
    uint64_t position = 0;
    bool is_found = dbk_postings_seek(postings, expected->position, &position, NULL) == DAYBOOK_OK;
    dbk_postings_close(postings);
    if (!is_found || position != expected->position) return false;
    dbk_block_place place;
    dbk_event event;
    if (dbk_segment_find_block(reader->segment, position, &place, NULL) != DAYBOOK_OK) return false;
    if (dbk_block_load_at(reader->segment, &place, view, NULL) != DAYBOOK_OK) return false;
    if (dbk_block_event(view, dbk_block_find(view, position), &event, NULL) != DAYBOOK_OK) return false;
    return event.position == expected->position && dbk_slice_equal(event.body, expected->body);
}

static void *read_many(void *context) {
    segment_reader *reader = context;
    dbk_block_view view;
    memset(&view, 0, sizeof view);
    for (unsigned i = 0; i < 3000; i++) reader->wrong += !read_one(reader, &view);
    dbk_block_release(&view);
    dbk_segment_unref(reader->segment);
    return NULL;
}

static dbk_liveness some_removed(void *context, uint32_t stream_id, uint64_t position) {
    (void)context;
    (void)stream_id;
    return position % 10 == 0 ? DBK_REMOVED : DBK_LIVE;
}

static void many_readers_and_a_merge_share_a_segment(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 71);
    dbk_cache_free(world.cache);
    assert_int_equal(dbk_cache_new(world.allocator, 300 * 1024, &world.cache), DAYBOOK_OK); // always evicting
    world_add_events(&world, 3000);
    dbk_segment *segment = world_segment(&world, 0, world.count);
    pthread_t threads[4];
    segment_reader readers[4];
    for (unsigned i = 0; i < 4; i++) {
        readers[i] = (segment_reader){&world, dbk_segment_ref(segment), i, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, read_many, &readers[i]), 0);
    }
    dbk_segment_config config = world_config(&world, 2);
    dbk_segment_summary summary;
    assert_ok(&world,
              dbk_segment_merge(&config, &segment, 1, dbk_segment_get_summary(segment)->position_first,
                                dbk_segment_get_summary(segment)->position_last, some_removed, NULL, 0, 0,
                                NULL, NULL, daybook_text(""), &summary, &world.error));
    dbk_segment_unref(segment); // The readers keep it open.
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(readers[i].wrong, 0);
    }
    assert_int_equal(dbk_cache_bytes(world.cache), 0); // forgotten with the last reference
    world_check_verify(&world, 2);
    world_deinit(&world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_readers_and_a_merge_share_a_segment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
