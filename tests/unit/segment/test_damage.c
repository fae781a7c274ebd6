// SPDX-License-Identifier: Apache-2.0
// Damaged, cut, extended and hostile files: found and named, and what is outside of the damage stays
// readable.
#include <stdlib.h>

#include "fixture.h"
#include "segment/footer.h"
#include "segment/reader.h"

typedef struct damage_count {
    uint64_t count;
    uint64_t offset; // of the last
} damage_count;

static void count_damage(void *context, const daybook_finding *finding) {
    damage_count *damages = context;
    if (!finding->is_damage) return;
    damages->count++;
    damages->offset = finding->offset;
    assert_true(finding->file.size > 0 && finding->message.size > 0);
}

// How many events can be read one way or the other; wrong content fails the test.
static size_t count_readable(test_world *world, dbk_segment *segment) {
    size_t readable = 0;
    dbk_block_view view;
    memset(&view, 0, sizeof view);
    for (uint32_t number = 0; number < dbk_segment_block_count(segment); number++) {
        daybook_status status = dbk_block_load(segment, number, &view, &world->error);
        if (status != DAYBOOK_OK) {
            assert_int_equal(status, DAYBOOK_EDAMAGED);
            assert_string_equal(world->error.file, WORLD_SEGMENT_PATH);
            continue;
        }
        for (uint32_t i = 0; i < view.event_count; i++) {
            dbk_event event;
            assert_int_equal(dbk_block_event(&view, i, &event, NULL), DAYBOOK_OK);
            size_t at = 0;
            while (at < world->count && world->events[at].event.position != event.position) at++;
            assert_true(at < world->count);
            assert_true(dbk_slice_equal(event.body, world->events[at].event.body));
            readable++;
        }
    }
    dbk_block_release(&view);
    return readable;
}

static void walk_everything(test_world *world, dbk_segment *segment) {
    dbk_term_walk *walk;
    dbk_slice term;
    dbk_term_entry entry;
    daybook_status status = dbk_term_walk_open(segment, daybook_text(""), &walk, &world->error);
    if (status == DAYBOOK_EDAMAGED) return;
    assert_int_equal(status, DAYBOOK_OK);
    while ((status = dbk_term_walk_next(walk, &term, &entry, &world->error)) == DAYBOOK_OK) {
        dbk_postings *postings;
        uint64_t position = 0;
        status = dbk_postings_open(segment, &entry, &postings, &world->error);
        for (uint64_t i = 0; status == DAYBOOK_OK && i <= entry.count; i++) {
            status = dbk_postings_seek(postings, position, &position, &world->error);
            position++;
        }
        assert_true(status == DAYBOOK_END || status == DAYBOOK_EDAMAGED || status == DAYBOOK_OK);
        dbk_postings_close(postings);
    }
    assert_true(status == DAYBOOK_END || status == DAYBOOK_EDAMAGED);
    dbk_term_walk_close(walk);
    for (size_t i = 0; i < world->count; i += 7) {
        dbk_id_lookup lookup;
        status = dbk_segment_find_id(segment, world->events[i].event.stream_id, world->events[i].event.id_key,
                                     &lookup, &world->error);
        assert_true(status == DAYBOOK_OK || status == DAYBOOK_EDAMAGED);
    }
}

// Opens what can be opened, reads what can be read; returns how many events that were.
static size_t read_all(test_world *world) {
    dbk_segment_config config = world_config(world, 1);
    dbk_segment *segment;
    daybook_status status = dbk_segment_open(&config, world->cache, &segment, &world->error);
    if (status != DAYBOOK_OK) {
        assert_true(status == DAYBOOK_EDAMAGED || status == DAYBOOK_EFORMAT || status == DAYBOOK_EFOREIGN);
        return 0;
    }
    size_t readable = count_readable(world, segment);
    walk_everything(world, segment);
    dbk_segment_unref(segment);
    return readable;
}

static void every_flipped_byte_is_found_and_contained(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 31);
    world.large_percent = 0;
    world_add_events(&world, 40);
    world.events[3].liveness = DBK_REMOVED;
    dbk_segment_unref(world_segment(&world, 0, 40));
    uint64_t size = world_file_size(&world);
    dbk_segment_config config = world_config(&world, 1);
    size_t least = SIZE_MAX;
    for (uint64_t offset = 0; offset < size; offset++) {
        uint8_t mask = (uint8_t)(1u << world_random(&world, 8));
        assert_int_equal(dbk_sim_flip(world.sim, WORLD_SEGMENT_PATH, offset, mask), DAYBOOK_OK);
        damage_count damages = {0, 0};
        daybook_error_init(&world.error);
        daybook_status status = dbk_segment_verify(&config, count_damage, &damages, &world.error);
        assert_int_equal(status, DAYBOOK_EDAMAGED);
        assert_true(damages.count > 0);
        assert_string_equal(world.error.file, WORLD_SEGMENT_PATH);
        if (offset % 5 == 0) {
            size_t readable = read_all(&world);
            if (readable < least) least = readable;
        }
        assert_int_equal(dbk_sim_flip(world.sim, WORLD_SEGMENT_PATH, offset, mask), DAYBOOK_OK);
    }
    // One damage takes one block of events at most.
    assert_true(least >= 39 - 25);
    assert_int_equal(read_all(&world), 39);
    world_deinit(&world);
}

static void cut_files_are_damaged(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 32);
    world_add_events(&world, 20);
    dbk_segment_unref(world_segment(&world, 0, 20));
    uint64_t size = world_file_size(&world);
    dbk_segment_config config = world_config(&world, 1);
    for (uint64_t cut = size; cut > 0;) {
        uint64_t step = 1 + world_random(&world, 200);
        cut = cut > step ? cut - step : 0;
        world_resize_file(&world, cut);
        dbk_segment *segment;
        daybook_error_init(&world.error);
        if (size - cut <= 64) {
            // One of the two tails is left.
            assert_int_equal(read_all(&world), 20);
        } else {
            assert_int_equal(dbk_segment_open(&config, world.cache, &segment, &world.error),
                             DAYBOOK_EDAMAGED);
            assert_string_equal(world.error.file, WORLD_SEGMENT_PATH);
        }
        assert_int_equal(dbk_segment_verify(&config, NULL, NULL, &world.error), DAYBOOK_EDAMAGED);
    }
    world_deinit(&world);
}

static void extended_files_are_damaged(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 33);
    world_add_events(&world, 20);
    dbk_segment_unref(world_segment(&world, 0, 20));
    uint64_t size = world_file_size(&world);
    dbk_segment_config config = world_config(&world, 1);
    static const uint64_t more[] = {1, 63, 64, 128, 5000};
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) {
        world_resize_file(&world, size + more[i]);
        assert_int_equal(dbk_segment_verify(&config, NULL, NULL, &world.error), DAYBOOK_EDAMAGED);
        assert_int_equal(read_all(&world), 20); // what was there is there
        world_resize_file(&world, size);
    }
    assert_int_equal(read_all(&world), 20);
    world_deinit(&world);
}

static void random_files_are_damaged(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 34);
    world_add_events(&world, 2);
    dbk_segment_unref(world_segment(&world, 0, 2));
    dbk_segment_config config = world_config(&world, 1);
    for (unsigned i = 0; i < 50; i++) {
        uint8_t bytes[3000];
        for (size_t j = 0; j < sizeof bytes; j++) bytes[j] = (uint8_t)world_random(&world, 256);
        world_resize_file(&world, 300 + world_random(&world, 2700));
        assert_int_equal(
            dbk_sim_overwrite(world.sim, WORLD_SEGMENT_PATH, 0, bytes, (size_t)world_file_size(&world)),
            DAYBOOK_OK);
        dbk_segment *segment;
        assert_int_equal(dbk_segment_open(&config, world.cache, &segment, &world.error), DAYBOOK_EDAMAGED);
    }
    world_deinit(&world);
}

static void a_newer_format_is_refused(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 35);
    world_add_events(&world, 2);
    dbk_segment_unref(world_segment(&world, 0, 2));
    uint8_t head[DBK_SEGMENT_HEAD_SIZE];
    dbk_segment_head fields = {.segment_id = 1};
    dbk_segment_head_encode(&fields, head);
    dbk_put_u32(head + 8, 2);
    dbk_put_u64(head + 72, dbk_checksum(head, 72, 0));
    assert_int_equal(dbk_sim_overwrite(world.sim, WORLD_SEGMENT_PATH, 0, head, sizeof head), DAYBOOK_OK);
    dbk_segment_config config = world_config(&world, 1);
    dbk_segment *segment;
    assert_int_equal(dbk_segment_open(&config, world.cache, &segment, &world.error), DAYBOOK_EFORMAT);
    assert_non_null(strstr(world.error.message, "has format 2: this program knows format 1"));
    world_deinit(&world);
}

// Bytes changed *and* the checksum made right again: as only a hostile writer could.
static void change_chunk(test_world *world, const dbk_segment *segment, uint64_t offset, size_t size,
                         uint64_t at, uint8_t value) {
    uint8_t *bytes = malloc(size + 8);
    assert_non_null(bytes);
    assert_int_equal(dbk_chunk_read(&segment->reader, offset, size, "x", bytes, NULL), DAYBOOK_OK);
    bytes[at] = value;
    dbk_put_u64(bytes + size, dbk_chunk_checksum(segment->reader.seed, offset, bytes, size));
    assert_int_equal(dbk_sim_overwrite(world->sim, WORLD_SEGMENT_PATH, offset, bytes, size + 8), DAYBOOK_OK);
    free(bytes);
}

static void head_and_footer_must_agree(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 41);
    world_add_events(&world, 50);
    dbk_segment_unref(world_segment(&world, 0, world.count));
    for (int part = 0; part < 3; part++) {
        uint8_t saved[DBK_SEGMENT_HEAD_SIZE];
        uint8_t bytes[DBK_SEGMENT_HEAD_SIZE];
        daybook_file *file;
        assert_int_equal(world.vfs->open(world.vfs, WORLD_SEGMENT_PATH, DAYBOOK_VFS_READ, &file), 0);
        assert_int_equal(world.vfs->read_at(world.vfs, file, saved, sizeof saved, 0), sizeof saved);
        world.vfs->close(world.vfs, file);
        dbk_segment_head head;
        assert_int_equal(dbk_segment_head_decode(saved, &head), DAYBOOK_OK);
        if (part == 0) head.position_first++;
        if (part == 1) head.position_last++;
        if (part == 2) head.incarnation++;
        dbk_segment_head_encode(&head, bytes);
        assert_int_equal(dbk_sim_overwrite(world.sim, WORLD_SEGMENT_PATH, 0, bytes, sizeof bytes),
                         DAYBOOK_OK);
        dbk_segment_config config = world_config(&world, 1);
        dbk_segment *segment;
        assert_int_equal(dbk_segment_open(&config, world.cache, &segment, &world.error), DAYBOOK_EDAMAGED);
        assert_int_equal(dbk_sim_overwrite(world.sim, WORLD_SEGMENT_PATH, 0, saved, sizeof saved),
                         DAYBOOK_OK);
    }
    world_deinit(&world);
}

// What a block's head says is what the block index says of it; verify compares.
static void blocks_must_agree_with_the_block_index(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 42);
    world.large_percent = 0;
    world_add_events(&world, 100);
    dbk_segment *segment = world_segment(&world, 0, world.count);
    dbk_block_info info;
    assert_ok(&world, dbk_segment_block_info(segment, 0, &info, &world.error));
    size_t size = info.file_bytes - DBK_CHUNK_CHECKSUM_SIZE;
    uint8_t *saved = malloc(size + DBK_CHUNK_CHECKSUM_SIZE);
    assert_non_null(saved);
    assert_ok(&world, dbk_chunk_read(&segment->reader, info.file_offset, size, "x", saved, &world.error));
    dbk_block_head head;
    size_t head_size;
    assert_true(dbk_block_head_peek(daybook_bytes(saved, size), &head, &head_size));
    unsigned different = 0;
    for (size_t at = 0; at < head_size; at++) {
        dbk_block_head now;
        size_t ignored;
        saved[at] ^= 1;
        bool is_head = dbk_block_head_peek(daybook_bytes(saved, size), &now, &ignored);
        change_chunk(&world, segment, info.file_offset, size, at, saved[at]);
        saved[at] ^= 1;
        if (is_head &&
            (now.position_first != head.position_first || now.position_last != head.position_last ||
             now.recorded_first_ns != head.recorded_first_ns || now.time_min_ns != head.time_min_ns ||
             now.recorded_last_ns != head.recorded_last_ns || now.time_max_ns != head.time_max_ns)) {
            dbk_segment_config config = world_config(&world, 1);
            assert_int_equal(dbk_segment_verify(&config, NULL, NULL, &world.error), DAYBOOK_EDAMAGED);
            different++;
        }
        change_chunk(&world, segment, info.file_offset, size, at, saved[at]);
    }
    assert_true(different > 0);
    free(saved);
    dbk_segment_unref(segment);
    world_deinit(&world);
}

// Two right chunks of one size in each other's place.
static void chunks_are_bound_to_their_place(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 43);
    dbk_file_writer writer;
    assert_ok(&world, dbk_file_writer_open(&writer, world.allocator, world.vfs, WORLD_SEGMENT_PATH, false,
                                           1 << 20, &world.error));
    writer.seed = 17;
    uint64_t offsets[2];
    assert_ok(&world, dbk_file_write_chunk(&writer, daybook_text("one chunk"), &offsets[0], &world.error));
    assert_ok(&world, dbk_file_write_chunk(&writer, daybook_text("two chunk"), &offsets[1], &world.error));
    assert_ok(&world, dbk_file_writer_flush(&writer, &world.error));
    dbk_file_reader reader = {
        .vfs = world.vfs, .path = WORLD_SEGMENT_PATH, .file = writer.file, .size = writer.offset, .seed = 17};
    enum { SIZE = 9, WHOLE = SIZE + DBK_CHUNK_CHECKSUM_SIZE };
    uint8_t bytes[2][WHOLE];
    for (int i = 0; i < 2; i++)
        assert_ok(&world, dbk_chunk_read(&reader, offsets[i], SIZE, "a chunk", bytes[i], &world.error));
    for (int i = 0; i < 2; i++)
        assert_int_equal(dbk_sim_overwrite(world.sim, WORLD_SEGMENT_PATH, offsets[i], bytes[1 - i], WHOLE),
                         DAYBOOK_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(dbk_chunk_read(&reader, offsets[i], SIZE, "a chunk", bytes[i], &world.error),
                         DAYBOOK_EDAMAGED);
    dbk_file_writer_close(&writer);
    world_deinit(&world);
}

static dbk_liveness all_live(void *context, uint32_t stream_id, uint64_t position) {
    (void)context;
    (void)stream_id;
    return position % 5 == 0 ? DBK_REMOVED : DBK_LIVE;
}

static void use_hostile(test_world *world) {
    dbk_segment_config config = world_config(world, 1);
    (void)dbk_segment_verify(&config, NULL, NULL, &world->error);
    dbk_segment *segment;
    if (dbk_segment_open(&config, world->cache, &segment, &world->error) != DAYBOOK_OK) return;
    dbk_term_walk *walk;
    dbk_slice term;
    dbk_term_entry entry;
    if (dbk_term_walk_open(segment, daybook_text(""), &walk, &world->error) == DAYBOOK_OK)
        while (dbk_term_walk_next(walk, &term, &entry, &world->error) == DAYBOOK_OK) {
            dbk_postings *postings;
            if (dbk_postings_open(segment, &entry, &postings, &world->error) != DAYBOOK_OK) continue;
            uint64_t position;
            for (unsigned i = 0; i < 5; i++) {
                (void)dbk_postings_seek(postings, world_random(world, 2000), &position, &world->error);
                (void)dbk_postings_seek_back(postings, world_random(world, 2000), &position, &world->error);
            }
            dbk_postings_close(postings);
        }
    dbk_term_walk_close(walk);
    dbk_block_view view;
    memset(&view, 0, sizeof view);
    for (uint32_t i = 0; i < dbk_segment_block_count(segment) && i < 1000; i++) {
        dbk_event event;
        if (dbk_block_load(segment, i, &view, &world->error) != DAYBOOK_OK) continue;
        for (uint32_t j = 0; j < view.event_count; j++)
            (void)dbk_block_event(&view, j, &event, &world->error);
    }
    dbk_block_release(&view);
    for (size_t i = 0; i < world->count; i += 11) {
        dbk_id_lookup lookup;
        (void)dbk_segment_find_id(segment, world->events[i].event.stream_id, world->events[i].event.id_key,
                                  &lookup, &world->error);
    }
    const dbk_segment_summary *summary = dbk_segment_get_summary(segment);
    dbk_segment_config merged = world_config(world, 2);
    dbk_segment_summary merged_summary;
    (void)dbk_segment_merge(&merged, &segment, 1, summary->position_first, summary->position_last, all_live,
                            NULL, 0, 0, NULL, NULL, daybook_text(""), &merged_summary, &world->error);
    (void)world->vfs->unlink(world->vfs, "/segment-0000000000000002.dbs");
    dbk_segment_unref(segment);
}

static void hostile_bytes_under_right_checksums_harm_nobody(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 36);
    world.large_percent = 0;
    world_add_events(&world, 700);
    world.events[3].liveness = DBK_REMOVED;
    dbk_segment *segment = world_segment(&world, 0, world.count);
    for (unsigned round = 0; round < 400; round++) {
        const dbk_footer *footer = &segment->footer;
        uint64_t offset = footer->root.offset;
        size_t size = footer->root.size;
        dbk_block_info info;
        uint32_t page = 0;
        switch (world_random(&world, 7)) {
        case 0: // The footer; both copies stay readable, the first is believed.
            offset = segment->tail.footer_offset;
            size = (size_t)segment->tail.footer_size;
            break;
        case 1:
            page = (uint32_t)world_random(&world, footer->block_page_count);
            offset = footer->block_pages[page].offset;
            size = footer->block_pages[page].size;
            break;
        case 2: {
            assert_int_equal(dbk_segment_block_info(
                                 segment, (uint32_t)world_random(&world, footer->block_count), &info, NULL),
                             DAYBOOK_OK);
            offset = info.file_offset;
            size = info.file_bytes - 8;
            break;
        }
        case 3:
            if (footer->filter_part_count == 0) continue;
            offset = footer->filter_parts[0].offset;
            size = footer->filter_parts[0].size;
            break;
        case 4:
            if (footer->dictionary_count == 0) continue;
            offset = footer->dictionaries[0].offset;
            size = footer->dictionaries[0].size;
            break;
        default: { // A leaf or a posting list.
            dbk_walk_level level;
            uint8_t bytes[DBK_TERM_PAGE_SIZE_MAX + 8], leaf[DBK_TERM_PAGE_SIZE_MAX];
            assert_int_equal(dbk_chunk_read(&segment->reader, offset, size, "x", bytes, NULL), DAYBOOK_OK);
            assert_true(dbk_term_page_open(daybook_bytes(bytes, size), &level.page));
            dbk_term_cursor_init(&level.cursor, &level.page);
            for (uint64_t i = 0, n = 1 + world_random(&world, 40); i < n; i++)
                if (dbk_term_cursor_next(&level.cursor) != DAYBOOK_OK) break;
            offset = level.cursor.child_offset;
            size = level.cursor.child_size;
            if (world_random(&world, 2) == 0) break;
            assert_int_equal(dbk_chunk_read(&segment->reader, offset, size, "x", bytes, NULL), DAYBOOK_OK);
            assert_int_equal(dbk_segment_open_page(segment, 0, offset, daybook_bytes(bytes, size), leaf,
                                                   &level.page, NULL),
                             DAYBOOK_OK);
            dbk_term_cursor_init(&level.cursor, &level.page);
            while (dbk_term_cursor_next(&level.cursor) == DAYBOOK_OK) {
                if (level.cursor.value.form < DBK_POSTINGS_PAGE) continue;
                offset = level.cursor.value.postings_offset;
                size = level.cursor.value.postings_size;
                if (world_random(&world, 3) == 0) break;
            }
        }
        }
        uint8_t *saved = malloc(size + 8);
        assert_int_equal(dbk_chunk_read(&segment->reader, offset, size, "x", saved, NULL), DAYBOOK_OK);
        for (uint64_t i = 0, n = 1 + world_random(&world, 3); i < n; i++)
            change_chunk(&world, segment, offset, size, world_random(&world, size),
                         (uint8_t)world_random(&world, 256));
        use_hostile(&world);
        assert_int_equal(dbk_sim_overwrite(world.sim, WORLD_SEGMENT_PATH, offset, saved, size + 8),
                         DAYBOOK_OK);
        free(saved);
    }
    dbk_segment_unref(segment);
    world_check_verify(&world, 1);
    world_deinit(&world);
}

// Everything readable goes into a new segment; returns how many dead ids it knows.
static size_t salvage(test_world *world, bool *lost_out) {
    dbk_segment *damaged = world_open(world, 1), *salvaged;
    const dbk_segment_summary *old = dbk_segment_get_summary(damaged);
    dbk_segment_config config = world_config(world, 2);
    dbk_segment_writer *writer;
    dbk_segment_summary summary;
    assert_ok(world, dbk_segment_writer_new(&config, old->position_first, old->position_last, &writer,
                                            &world->error));
    assert_ok(world, dbk_segment_writer_carry(writer, damaged, lost_out, &world->error));
    assert_ok(world, dbk_segment_writer_finish(writer, daybook_text(""), &summary, &world->error));
    dbk_segment_unref(damaged);
    salvaged = world_open(world, 2);
    size_t known = 0;
    for (size_t i = 0; i < world->count; i++) {
        const model_event *model = &world->events[i];
        dbk_id_lookup lookup;
        assert_ok(world, dbk_segment_find_id(salvaged, model->event.stream_id, model->event.id_key, &lookup,
                                             &world->error));
        if (model->liveness == DBK_LIVE)
            assert_false(lookup.dead);
        else
            known += lookup.dead && lookup.dead_for_ever == (model->liveness == DBK_REMOVED_FOR_EVER);
    }
    dbk_segment_unref(salvaged);
    world_check_verify(world, 2);
    assert_int_equal(world->vfs->unlink(world->vfs, "/segment-0000000000000002.dbs"), 0);
    return known;
}

static void repair_carries_what_is_known_of_removed_events(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 37);
    world.large_percent = 0;
    world_add_events(&world, 1000);
    size_t removed = 0;
    for (size_t i = 0; i < world.count; i += 2, removed++)
        world.events[i].liveness = i % 4 == 0 ? DBK_REMOVED : DBK_REMOVED_FOR_EVER;
    dbk_segment *segment = world_segment(&world, 0, world.count);
    uint64_t first = segment->tail.footer_offset, index_begin = 0;
    for (uint32_t i = 0; i < segment->footer.block_page_count; i++)
        index_begin = segment->footer.block_pages[i].offset;
    dbk_segment_unref(segment);
    bool lost;
    assert_int_equal(salvage(&world, &lost), removed);
    assert_false(lost);
    size_t most = 0;
    for (unsigned round = 0; round < 40; round++) {
        uint64_t offset = index_begin + 1000 + world_random(&world, first - index_begin - 1000);
        assert_int_equal(dbk_sim_flip(world.sim, WORLD_SEGMENT_PATH, offset, 1), DAYBOOK_OK);
        size_t known = salvage(&world, &lost);
        assert_true(known == removed || lost);
        if (lost && known > most) most = known;
        assert_int_equal(dbk_sim_flip(world.sim, WORLD_SEGMENT_PATH, offset, 1), DAYBOOK_OK);
    }
    assert_true(most > removed / 2);
    world_deinit(&world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_flipped_byte_is_found_and_contained),
        cmocka_unit_test(cut_files_are_damaged),
        cmocka_unit_test(extended_files_are_damaged),
        cmocka_unit_test(random_files_are_damaged),
        cmocka_unit_test(a_newer_format_is_refused),
        cmocka_unit_test(repair_carries_what_is_known_of_removed_events),
        cmocka_unit_test(head_and_footer_must_agree),
        cmocka_unit_test(blocks_must_agree_with_the_block_index),
        cmocka_unit_test(chunks_are_bound_to_their_place),
        cmocka_unit_test(hostile_bytes_under_right_checksums_harm_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
