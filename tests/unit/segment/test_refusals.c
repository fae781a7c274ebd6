// SPDX-License-Identifier: Apache-2.0
// What is refused deep in reading and merging: contradictions that only one reader meets, and every allocation
// and read of small operations failing in turn.
#include <errno.h>
#include <stdlib.h>

#include "forge.h"
#include "lib/fault_allocator.h"

enum { EVENTS = 60 };

#define MERGED_PATH "/segment-0000000000000009.dbs"

static dbk_liveness all_live(void *context, uint32_t stream_id, uint64_t position) {
    (void)context, (void)stream_id, (void)position;
    return DBK_LIVE;
}

// Positions in front of the one in `context` are removed for ever.
static dbk_liveness live_from(void *context, uint32_t stream_id, uint64_t position) {
    (void)stream_id;
    return position < *(const uint64_t *)context ? DBK_REMOVED_FOR_EVER : DBK_LIVE;
}

// All positions but the one in `context` and those in front of it are removed for ever.
static dbk_liveness live_until(void *context, uint32_t stream_id, uint64_t position) {
    (void)stream_id;
    return position > *(const uint64_t *)context ? DBK_REMOVED_FOR_EVER : DBK_LIVE;
}

static dbk_liveness every_third_is_removed_for_ever(void *context, uint32_t stream_id, uint64_t position) {
    (void)context, (void)stream_id;
    return position % 3 == 0 ? DBK_REMOVED_FOR_EVER : DBK_LIVE;
}

static daybook_status merge(test_world *world, dbk_segment *const *inputs, size_t count,
                            dbk_segment_is_live is_live, void *context) {
    dbk_segment_config config = world_config(world, 9);
    dbk_segment_summary summary;
    daybook_status status =
        dbk_segment_merge(&config, inputs, count, dbk_segment_get_summary(inputs[0])->position_first,
                          dbk_segment_get_summary(inputs[count - 1])->position_last, is_live, context, 0, 0,
                          NULL, NULL, daybook_text(""), &summary, &world->error);
    return status;
}

static void drop_merged(test_world *world) {
    (void)world->vfs->unlink(world->vfs, MERGED_PATH);
}

// ---- Everything fails in turn -----------------------------------------------------------------------------

typedef daybook_status (*fault_step)(test_world *world);

// Each try begins with an empty cache, so that nothing that was read before hides a failure.
static daybook_status try_step(test_world *world, fault_step step) {
    dbk_cache *shared = world->cache;
    daybook_status status = dbk_cache_new(world->allocator, 1 << 20, &world->cache);
    if (status == DAYBOOK_OK) status = step(world);
    dbk_cache_free(world->cache);
    world->cache = shared;
    drop_merged(world);
    assert_int_equal(dbk_sim_open_files(world->sim), 0);
    return status;
}

static void check_each_allocation(test_world *world, fault_step step, uint64_t stride) {
    fault_allocator faults;
    fault_allocator_init(&faults);
    const daybook_allocator *before = world->allocator;
    world->allocator = &faults.allocator;
    for (uint64_t nth = 1;; nth += stride) {
        fault_allocator_fail(&faults, nth, false);
        daybook_status status = try_step(world, step);
        bool has_failed = fault_allocator_has_failed(&faults);
        fault_allocator_fail(&faults, 0, false);
        assert_int_equal(fault_allocator_live(&faults), 0);
        if (!has_failed) {
            assert_int_equal(status, DAYBOOK_OK);
            break;
        }
        if (status != DAYBOOK_OK) assert_int_equal(status, DAYBOOK_ENOMEM);
    }
    world->allocator = before;
}

static void check_each_call(test_world *world, fault_step step, dbk_sim_kind kind) {
    for (uint64_t nth = 1;; nth++) {
        dbk_sim_fault fault = {.kind = kind, .nth = nth, .error = EIO};
        uint64_t hits = dbk_sim_fault_hits(world->sim);
        assert_int_equal(dbk_sim_fail(world->sim, &fault), DAYBOOK_OK);
        daybook_status status = try_step(world, step);
        dbk_sim_clear_faults(world->sim);
        if (dbk_sim_fault_hits(world->sim) == hits) {
            assert_int_equal(status, DAYBOOK_OK);
            break;
        }
        if (status != DAYBOOK_OK) assert_int_equal(status, DAYBOOK_EIO);
    }
}

static daybook_status open_one(test_world *world, uint64_t segment_id, dbk_segment **segment_out) {
    dbk_segment_config config = world_config(world, segment_id);
    return dbk_segment_open(&config, world->cache, segment_out, &world->error);
}

static daybook_status merge_step(test_world *world) {
    dbk_segment *inputs[2] = {NULL, NULL};
    daybook_status status = open_one(world, 1, &inputs[0]);
    if (status == DAYBOOK_OK) status = open_one(world, 2, &inputs[1]);
    if (status == DAYBOOK_OK) status = merge(world, inputs, 2, every_third_is_removed_for_ever, NULL);
    dbk_segment_unref(inputs[0]);
    dbk_segment_unref(inputs[1]);
    return status;
}

// One segment has a dictionary, the other none.
static void begin_pair(test_world *world) {
    world_init(world, 201);
    world->large_percent = 0;
    world->stream_count = 2;
    world->aggregate_count = 3;
    world_add_events(world, 170);
    dbk_segment_unref(world_segment(world, 0, 150));
    world->with_dictionary = false;
    dbk_segment_unref(world_segment(world, 150, 170));
}

static void each_allocation_of_a_merge_may_fail(void **state) {
    (void)state;
    test_world world;
    begin_pair(&world);
    check_each_allocation(&world, merge_step, 1);
    world_deinit(&world);
}

static void each_read_of_a_merge_may_fail(void **state) {
    (void)state;
    test_world world;
    begin_pair(&world);
    world.memory_max = 16;
    check_each_call(&world, merge_step, DBK_SIM_READ);
    world_deinit(&world);
}

static daybook_status find_step(test_world *world) {
    dbk_segment *segment = NULL;
    daybook_status status = open_one(world, 1, &segment);
    const dbk_event *of = &world->events[world->count / 2].event;
    dbk_id_lookup lookup;
    dbk_block_place place;
    dbk_block_view view;
    memset(&view, 0, sizeof view);
    if (status == DAYBOOK_OK)
        status = dbk_segment_find_id(segment, of->stream_id, of->id_key, &lookup, &world->error);
    if (status == DAYBOOK_OK) status = dbk_segment_find_block(segment, of->position, &place, &world->error);
    if (status == DAYBOOK_OK) status = dbk_block_load_at(segment, &place, &view, &world->error);
    if (status == DAYBOOK_OK) status = dbk_block_load(segment, 0, &view, &world->error);
    if (status == DAYBOOK_OK) status = dbk_block_load(segment, 0, &view, &world->error); // loaded already
    if (status == DAYBOOK_OK) {
        uint64_t *hashes = malloc((dbk_segment_dictionary_count(segment) + 1) * sizeof *hashes);
        assert_non_null(hashes);
        status = dbk_segment_hash_dictionaries(segment, hashes, &world->error);
        free(hashes);
    }
    dbk_block_release(&view);
    dbk_segment_unref(segment);
    return status;
}

// The error may be NULL: whoever is told by the findings needs none.
static daybook_status verify_step(test_world *world) {
    dbk_segment_config config = world_config(world, 1);
    return dbk_segment_verify(&config, NULL, NULL, NULL);
}

static daybook_status scan_step(test_world *world) {
    dbk_segment *segment = NULL;
    dbk_block_scan *scan = NULL;
    dbk_block_view view;
    memset(&view, 0, sizeof view);
    daybook_status status = open_one(world, 1, &segment);
    if (status == DAYBOOK_OK) status = dbk_block_scan_new(segment, &scan, &world->error);
    for (size_t i = 0; i < world->count && status == DAYBOOK_OK; i += 40) {
        dbk_block_place place;
        status = dbk_block_scan_find(scan, world->events[i].event.position, &place, &world->error);
        if (status == DAYBOOK_OK) status = dbk_block_scan_load(scan, &place, &view, &world->error);
    }
    dbk_block_release(&view);
    dbk_block_scan_free(scan);
    dbk_segment_unref(segment);
    return status;
}

// A segment merged of ten that brought a dictionary each.
static void begin_merged(test_world *world) {
    enum { PARTS = 10, PART_EVENTS = 200 };
    world_init(world, 202);
    world->large_percent = 1;
    world->stream_count = 1;
    world->aggregate_count = 3;
    world->next_segment_id = 10;
    world_add_events(world, PARTS * PART_EVENTS);
    dbk_segment *parts[PARTS];
    for (size_t i = 0; i < PARTS; i++)
        parts[i] = world_segment(world, i * PART_EVENTS, (i + 1) * PART_EVENTS);
    dbk_segment_config config = world_config(world, 1);
    dbk_segment_summary summary;
    assert_ok(world,
              dbk_segment_merge(&config, parts, PARTS, dbk_segment_get_summary(parts[0])->position_first,
                                dbk_segment_get_summary(parts[PARTS - 1])->position_last, all_live, NULL, 0,
                                0, NULL, NULL, daybook_text(""), &summary, &world->error));
    for (size_t i = 0; i < PARTS; i++) dbk_segment_unref(parts[i]);
    dbk_segment *merged = world_open(world, 1);
    assert_int_equal(dbk_segment_dictionary_count(merged), PARTS);
    dbk_segment_unref(merged);
}

static void each_step_of_looking_up_may_fail(void **state) {
    (void)state;
    test_world world;
    begin_merged(&world);
    static const fault_step steps[] = {find_step, scan_step};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        check_each_allocation(&world, steps[i], 1);
        check_each_call(&world, steps[i], DBK_SIM_READ);
    }
    world_deinit(&world);
    begin_pair(&world);
    check_each_allocation(&world, verify_step, 1);
    check_each_call(&world, verify_step, DBK_SIM_READ);
    world_deinit(&world);
}

static void a_damaged_copy_of_a_dictionary_spares_its_neighbours(void **state) {
    (void)state;
    test_world world;
    begin_merged(&world);
    dbk_segment *segment = world_open(&world, 1);
    uint64_t offset = segment->footer.dictionaries[1].copy_offset;
    assert_int_equal(dbk_sim_flip(world.sim, WORLD_SEGMENT_PATH, offset + 10, 1), DAYBOOK_OK);
    dbk_block_view view;
    memset(&view, 0, sizeof view);
    for (uint32_t i = 0; i < dbk_segment_block_count(segment); i++)
        assert_ok(&world, dbk_block_load(segment, i, &view, &world.error));
    dbk_block_release(&view);
    uint64_t hashes[10];
    assert_ok(&world, dbk_segment_hash_dictionaries(segment, hashes, &world.error));
    assert_true(hashes[0] != hashes[1]);
    dbk_segment_unref(segment);
    world_deinit(&world);
}

// ---- The frame --------------------------------------------------------------------------------------------

static void forge_sound(forge *made) {
    forge_begin(made, EVENTS);
    forge_blocks(made, 10);
    dbk_term_value value = forge_list(made);
    forge_term(made, DBK_TERM_STREAM, "", &value);
    forge_finish(made);
    assert_int_equal(forge_use(made), DAYBOOK_OK);
}

static int failing_size(daybook_vfs *vfs, daybook_file *file, uint64_t *size_out) {
    (void)vfs, (void)file, (void)size_out;
    return -EIO;
}

static void a_size_that_cannot_be_asked_for_is_told(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 203);
    world_add_events(&world, 5);
    dbk_segment_unref(world_segment(&world, 0, 5));
    daybook_vfs vfs = *world.vfs, *before = world.vfs;
    vfs.file_size = failing_size;
    world.vfs = &vfs;
    dbk_segment *segment;
    assert_int_equal(open_one(&world, 1, &segment), DAYBOOK_EIO);
    world.vfs = before;
    world_deinit(&world);
}

static dbk_segment_tail tail_of(forge *made) {
    uint8_t bytes[DBK_SEGMENT_TAIL_SIZE];
    uint64_t at = world_file_size(&made->world) - sizeof bytes;
    dbk_segment_tail tail;
    forge_read(made, at, bytes, sizeof bytes);
    assert_int_equal(dbk_segment_tail_decode(bytes, at, &tail), DAYBOOK_OK);
    return tail;
}

static void write_tail(forge *made, const dbk_segment_tail *tail, uint64_t at) {
    uint8_t bytes[DBK_SEGMENT_TAIL_SIZE];
    dbk_segment_tail_encode(tail, at, bytes);
    forge_write(made, at, bytes, sizeof bytes, false);
}

static daybook_status open_forged(forge *made) {
    dbk_segment *segment;
    daybook_status status = open_one(&made->world, 1, &segment);
    dbk_segment_unref(segment);
    return status;
}

static daybook_status open_forged_step(test_world *world) {
    dbk_segment *segment;
    daybook_status status = open_one(world, 1, &segment);
    dbk_segment_unref(segment);
    return status;
}

static void either_tail_serves_alone(void **state) {
    (void)state;
    forge made;
    forge_sound(&made);
    uint64_t size = world_file_size(&made.world);
    dbk_segment_tail tail = tail_of(&made);
    // Longer, and the second tail is gone: the first is found.
    static const uint8_t nothing[DBK_SEGMENT_TAIL_SIZE] = {0};
    forge_write(&made, size - DBK_SEGMENT_TAIL_SIZE, nothing, sizeof nothing, false);
    world_resize_file(&made.world, size + 100);
    assert_int_equal(open_forged(&made), DAYBOOK_OK);
    check_each_allocation(&made.world, open_forged_step, 1);
    check_each_call(&made.world, open_forged_step, DBK_SIM_READ);
    // Shorter by the second tail.
    world_resize_file(&made.world, size - DBK_SEGMENT_TAIL_SIZE);
    assert_int_equal(open_forged(&made), DAYBOOK_OK);
    // One that was written for another size is not believed.
    world_resize_file(&made.world, size + 100);
    tail.file_size = size + 1000;
    write_tail(&made, &tail, size - 2 * DBK_SEGMENT_TAIL_SIZE);
    assert_int_equal(open_forged(&made), DAYBOOK_EDAMAGED);
    forge_end(&made);
}

static void tails_of_a_newer_format_are_told(void **state) {
    (void)state;
    forge made;
    forge_sound(&made);
    uint64_t at = world_file_size(&made.world) - 2 * DBK_SEGMENT_TAIL_SIZE;
    uint8_t bytes[DBK_SEGMENT_TAIL_SIZE];
    forge_read(&made, at, bytes, sizeof bytes);
    dbk_put_u32(bytes + 8, DBK_SEGMENT_FORMAT + 1);
    dbk_put_u64(bytes + 56, dbk_checksum(bytes, 56, at));
    forge_write(&made, at, bytes, sizeof bytes, false);
    assert_int_equal(open_forged(&made), DAYBOOK_EFORMAT);
    forge_end(&made);
}

static void footers_larger_than_the_file_are_damage(void **state) {
    (void)state;
    forge made;
    forge_sound(&made);
    uint64_t at = world_file_size(&made.world) - 2 * DBK_SEGMENT_TAIL_SIZE;
    dbk_segment_tail tail = tail_of(&made);
    tail.footer_size = UINT64_C(1) << 40;
    write_tail(&made, &tail, at);
    write_tail(&made, &tail, at + DBK_SEGMENT_TAIL_SIZE);
    assert_int_equal(open_forged(&made), DAYBOOK_EDAMAGED);
    forge_end(&made);
}

static void store_is_another(dbk_footer *footer) {
    footer->store_uuid.bytes[0]++;
}

static void has_more_blocks_than_the_file_has_room_for(dbk_footer *footer) {
    enum { PAGES = 20 };
    footer->block_pages =
        dbk_resize_array(dbk_allocator_default(), footer->block_pages, PAGES, sizeof *footer->block_pages);
    assert_non_null(footer->block_pages);
    dbk_block_page first = footer->block_pages[0];
    for (uint32_t i = 0; i < PAGES; i++) {
        footer->block_pages[i] = first;
        footer->block_pages[i].position_last = first.position_last - PAGES + 1 + i;
    }
    footer->block_page_count = PAGES;
    footer->block_count = PAGES * DBK_BLOCK_PAGE_COUNT;
}

static void head_and_footer_must_agree(void **state) {
    (void)state;
    forge made;
    forge_sound(&made);
    forge_footer(&made, has_more_blocks_than_the_file_has_room_for);
    assert_int_equal(open_forged(&made), DAYBOOK_EDAMAGED);
    forge_end(&made);
    // The footer is another store's, and its seed fits: only the head tells.
    forge_sound(&made);
    dbk_uuid theirs = made.world.store_uuid;
    theirs.bytes[0]++;
    made.is_reseeded = true;
    made.assembly.file.seed = dbk_segment_seed(&theirs, 42, 1);
    forge_footer(&made, store_is_another);
    memset(&made.world.store_uuid, 0, sizeof made.world.store_uuid);
    assert_int_equal(open_forged(&made), DAYBOOK_EDAMAGED);
    forge_end(&made);
}

static void chunks_that_end_behind_the_file_are_damage(void **state) {
    (void)state;
    forge made;
    forge_sound(&made);
    dbk_segment *segment = world_open(&made.world, 1);
    const dbk_file_reader *reader = &segment->reader;
    uint8_t bytes[64];
    for (uint64_t left = 0; left < 12; left++)
        assert_int_equal(dbk_chunk_read(reader, reader->size - left, 1, "a chunk", bytes, &made.world.error),
                         DAYBOOK_EDAMAGED);
    assert_int_equal(dbk_chunk_read(reader, reader->size + 1, 1, "a chunk", bytes, &made.world.error),
                     DAYBOOK_EDAMAGED);
    dbk_cache_entry *entry;
    assert_int_equal(
        dbk_segment_load(segment, 80, (size_t)reader->size + 1, "a chunk", &entry, &made.world.error),
        DAYBOOK_EDAMAGED);
    dbk_term_page page;
    assert_int_equal(
        dbk_segment_load_page(segment, 0, 80, DBK_TERM_PAGE_SIZE_MAX + 1, &entry, &page, &made.world.error),
        DAYBOOK_EDAMAGED);
    dbk_segment_unref(segment);
    forge_end(&made);
}

// ---- Blocks -----------------------------------------------------------------------------------------------

// The page of the block index is damaged, and block `number` is what `change` makes of its head.
static daybook_status remake_with(uint32_t number, void (*change)(dbk_block_head *head, dbk_slice stored)) {
    forge made;
    forge_sound(&made);
    dbk_segment *segment = world_open(&made.world, 1);
    dbk_block_info info;
    assert_ok(&made.world, dbk_segment_block_info(segment, number, &info, &made.world.error));
    uint64_t page_offset = segment->footer.block_pages[0].offset;
    dbk_segment_unref(segment);
    size_t size = info.file_bytes - DBK_CHUNK_CHECKSUM_SIZE;
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    forge_read(&made, info.file_offset, bytes, size);
    dbk_block_head head;
    dbk_slice stored;
    assert_true(dbk_block_head_decode(daybook_bytes(bytes, size), &head, &stored));
    change(&head, stored);
    dbk_buf buf;
    dbk_buf_init(&buf, made.world.allocator, 1 << 20);
    dbk_block_head_encode(&head, &buf);
    dbk_buf_append_slice(&buf, stored);
    forge_write(&made, info.file_offset, buf.data, buf.size < size ? buf.size : size, true);
    forge_write(&made, page_offset, "\xff\xff\xff", 3, false);
    dbk_buf_deinit(&buf);
    free(bytes);
    daybook_status status = forge_use(&made);
    forge_end(&made);
    return status;
}

static void says_it_is_huge(dbk_block_head *head, dbk_slice stored) {
    (void)stored;
    head->stored_size += 1 << 20;
    head->bodies_size += 1 << 20;
}

static void lies_in_front_of_the_one_before(dbk_block_head *head, dbk_slice stored) {
    (void)stored;
    head->position_first -= 5;
}

static void heads_of_blocks_are_not_believed_without_the_index(void **state) {
    (void)state;
    assert_int_equal(remake_with(0, says_it_is_huge), DAYBOOK_EDAMAGED);
    assert_int_equal(remake_with(1, lies_in_front_of_the_one_before), DAYBOOK_EDAMAGED);
}

static void a_chunk_that_is_no_block_is_damage(void **state) {
    (void)state;
    forge made;
    forge_sound(&made);
    dbk_segment *segment = world_open(&made.world, 1);
    dbk_block_info info;
    assert_ok(&made.world, dbk_segment_block_info(segment, 1, &info, &made.world.error));
    dbk_segment_unref(segment);
    size_t size = info.file_bytes - DBK_CHUNK_CHECKSUM_SIZE;
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    memset(bytes, 0xff, size);
    forge_write(&made, info.file_offset, bytes, size, true);
    free(bytes);
    assert_int_equal(forge_use(&made), DAYBOOK_EDAMAGED);
    forge_end(&made);
}

static void begins_where_the_one_before_ends(dbk_block_info *blocks, uint32_t count) {
    (void)count;
    blocks[1].position_first = blocks[0].position_last;
}

// Called with what the last page has: one block.
static void begins_within_the_page_before(dbk_block_info *blocks, uint32_t count) {
    (void)count;
    blocks[0].position_first -= 5;
}

static void blocks_that_overlap_are_damage(void **state) {
    (void)state;
    for (int has_pages = 0; has_pages < 2; has_pages++) {
        forge made;
        forge_begin(&made, has_pages ? DBK_BLOCK_PAGE_COUNT + 1 : EVENTS);
        made.change_blocks = has_pages ? begins_within_the_page_before : begins_where_the_one_before_ends;
        forge_blocks(&made, has_pages ? 1 : 10);
        dbk_term_value value = forge_list(&made);
        forge_term(&made, DBK_TERM_STREAM, "", &value);
        forge_finish(&made);
        assert_int_equal(forge_use(&made), DAYBOOK_EDAMAGED);
        forge_end(&made);
    }
}

// ---- Terms ------------------------------------------------------------------------------------------------

// Terms of a store that a writer does not make: an aggregate without a stream, one without a version.
static void odd_terms_harm_nobody(void **state) {
    (void)state;
    forge made;
    forge_begin(&made, EVENTS);
    forge_blocks(&made, 10);
    dbk_term_value value = forge_list(&made), bare = {.form = DBK_POSTINGS_NONE, .last_version = 3};
    forge_term(&made, DBK_TERM_STREAM, "", &value);
    static const uint8_t cut[] = {DBK_TERM_AGGREGATE, 0, 0};
    dbk_term_page_add_leaf(&made.leaf, daybook_bytes(cut, sizeof cut), &bare);
    bare.last_version = 0;
    forge_term(&made, DBK_TERM_AGGREGATE, "orders0.1", &bare);
    forge_finish(&made);
    assert_int_equal(forge_use(&made), DAYBOOK_OK);
    forge_end(&made);
}

// A directory whose first page begins behind the list's first number.
static void numbers_in_front_of_the_first_page_are_damage(void **state) {
    (void)state;
    forge made;
    forge_begin(&made, EVENTS);
    forge_blocks(&made, 10);
    uint8_t page[16], bytes[28];
    size_t size = dbk_put_varint(page, 5);
    size += dbk_put_varint(page + size, UINT64_C(25) << 1 | 1);
    dbk_put_u64(bytes, forge_chunk(&made, page, size));
    dbk_put_u32(bytes + 8, 1);
    dbk_put_u32(bytes + 12, (uint32_t)size + DBK_CHUNK_CHECKSUM_SIZE);
    dbk_put_u32(bytes + 16, 5);
    dbk_put_u32(bytes + 20, 29);
    dbk_put_u32(bytes + 24, 0);
    dbk_term_value value = forge_list_of(&made, bytes, sizeof bytes);
    value.form = DBK_POSTINGS_DIRECTORY;
    value.first = 3;
    value.count = 25;
    value.last = 29;
    forge_term(&made, DBK_TERM_STREAM, "", &value);
    forge_finish(&made);
    dbk_segment *segment = world_open(&made.world, 1);
    dbk_term term;
    dbk_term_make(&term, DBK_TERM_STREAM, 7, daybook_text(""));
    dbk_term_entry entry;
    assert_ok(&made.world, dbk_segment_find_term(segment, dbk_term_slice(&term), &entry, &made.world.error));
    dbk_postings *postings;
    assert_ok(&made.world, dbk_postings_open(segment, &entry, &postings, &made.world.error));
    uint64_t found;
    assert_int_equal(dbk_postings_seek_back(postings, made.base + 4, &found, &made.world.error),
                     DAYBOOK_EDAMAGED);
    dbk_postings_close(postings);
    dbk_segment_unref(segment);
    assert_int_equal(forge_use(&made), DAYBOOK_EDAMAGED);
    forge_end(&made);
}

// The list that a page has is shorter than the dictionary says, or ends elsewhere.
static void lists_are_compared_with_the_dictionary(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        forge made;
        forge_begin(&made, EVENTS);
        forge_blocks(&made, 10);
        dbk_term_value value = forge_list(&made);
        if (i == 0) value.count--;
        if (i == 1) value.last--;
        forge_term(&made, DBK_TERM_TYPE, "b", &value);
        forge_finish(&made);
        dbk_segment_config config = world_config(&made.world, 1);
        assert_int_equal(dbk_segment_verify(&config, NULL, NULL, NULL), DAYBOOK_EDAMAGED);
        forge_end(&made);
    }
}

// ---- Walking ----------------------------------------------------------------------------------------------

static void add_leaf(forge *made, dbk_term_page_builder *above, const char *separator, dbk_term_kind kind,
                     const char *text, const dbk_term_value *value) {
    dbk_term_page_begin(&made->leaf, 0);
    forge_term(made, kind, text, value);
    dbk_slice leaf = dbk_term_page_finish(&made->leaf);
    made->root.term_count++;
    dbk_term_page_add_child(above, daybook_text(separator), forge_chunk(made, leaf.data, leaf.size),
                            (uint32_t)leaf.size);
}

static void put_root(forge *made, dbk_term_page_builder *page, uint32_t height) {
    dbk_slice bytes = dbk_term_page_finish(page);
    made->root.height = height;
    made->root.size = (uint32_t)bytes.size;
    made->root.offset = forge_chunk(made, bytes.data, bytes.size);
}

// Three levels: the second page of the middle one says it has no first child, or a damaged one.
static void pages_without_a_first_child_are_damage(void **state) {
    (void)state;
    static dbk_term_page_builder middle, root;
    forge made;
    forge_begin(&made, EVENTS);
    forge_blocks(&made, 10);
    dbk_term_value value = forge_list(&made);
    dbk_term_page_begin(&root, 2);
    static const struct {
        const char *separator, *text;
        dbk_term_kind kind;
    } leaves[] = {{"", "", DBK_TERM_STREAM}, {"\x08", "b", DBK_TERM_TYPE}};
    uint64_t offset = 0;
    size_t size = 0;
    for (int i = 0; i < 2; i++) {
        dbk_term_page_begin(&middle, 1);
        add_leaf(&made, &middle, leaves[i].separator, leaves[i].kind, leaves[i].text, &value);
        dbk_slice page = dbk_term_page_finish(&middle);
        size = page.size;
        offset = forge_chunk(&made, page.data, page.size);
        dbk_term_page_add_child(&root, daybook_text(leaves[i].separator), offset, (uint32_t)size);
    }
    put_root(&made, &root, 3);
    forge_finish(&made);
    assert_int_equal(forge_use(&made), DAYBOOK_OK);
    uint8_t bytes[DBK_TERM_PAGE_SIZE_MAX];
    forge_read(&made, offset, bytes, size);
    for (size_t at = 0; at < size; at++) {
        uint8_t before = bytes[at];
        for (unsigned changed = 0; changed < 256; changed += 5) {
            bytes[at] = (uint8_t)changed;
            forge_write(&made, offset, bytes, size, true);
            dbk_segment *segment = world_open(&made.world, 1);
            dbk_term_walk *walk;
            dbk_slice term;
            dbk_term_entry entry;
            daybook_status status = dbk_term_walk_open(segment, daybook_text(""), &walk, &made.world.error);
            while (status == DAYBOOK_OK) status = dbk_term_walk_next(walk, &term, &entry, &made.world.error);
            assert_true(status == DAYBOOK_END || status == DAYBOOK_EDAMAGED);
            dbk_term_walk_close(walk);
            dbk_segment_unref(segment);
        }
        bytes[at] = before;
    }
    forge_end(&made);
}

static size_t count_terms(forge *made, const char *prefix) {
    dbk_segment *segment = world_open(&made->world, 1);
    dbk_term_walk *walk;
    dbk_slice term;
    dbk_term_entry entry;
    size_t count = 0;
    assert_ok(&made->world, dbk_term_walk_open(segment, daybook_text(prefix), &walk, &made->world.error));
    daybook_status status;
    while ((status = dbk_term_walk_next(walk, &term, &entry, &made->world.error)) == DAYBOOK_OK) count++;
    assert_int_equal(status, DAYBOOK_END);
    dbk_term_walk_close(walk);
    dbk_segment_unref(segment);
    return count;
}

static void a_prefix_may_begin_with_the_next_leaf(void **state) {
    (void)state;
    static dbk_term_page_builder root;
    forge made;
    forge_begin(&made, EVENTS);
    forge_blocks(&made, 10);
    dbk_term_value value = forge_list(&made);
    dbk_term_page_begin(&root, 1);
    char separator[2] = {(char)(DBK_TERM_TYPE + 1), 0};
    add_leaf(&made, &root, "", DBK_TERM_STREAM, "", &value);
    add_leaf(&made, &root, separator, (dbk_term_kind)DBK_TERM_DEAD_ID, "0123456789abcdef",
             &(dbk_term_value){.dead_stream_id = 7});
    put_root(&made, &root, 2);
    forge_finish(&made);
    char prefix[8] = {(char)DBK_TERM_TYPE, 0};
    assert_int_equal(count_terms(&made, prefix), 0); // behind the first leaf's last, in front of the second
    prefix[0] = (char)DBK_TERM_DEAD_ID;
    assert_int_equal(count_terms(&made, prefix), 1);
    prefix[0] = (char)(DBK_TERM_STREAM);
    assert_int_equal(count_terms(&made, prefix), 1);
    forge_end(&made);
}

static void numbers_are_taken_a_few_at_a_time(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 204);
    world.large_percent = 0;
    world.stream_count = 2;
    world_add_events(&world, 500);
    dbk_segment *segment = world_segment(&world, 0, 500);
    for (size_t capacity = 1; capacity < 12; capacity += 5) {
        uint8_t kind = DBK_TERM_STREAM;
        dbk_term_source *source;
        assert_ok(&world,
                  dbk_segment_source_open(segment, daybook_bytes(&kind, 1), 1 << 14, &source, &world.error));
        size_t total = 0;
        while (source->next(source, &world.error) == DAYBOOK_OK) {
            uint32_t numbers[16];
            size_t count;
            do {
                assert_ok(&world, source->take(source, numbers, capacity, &count, &world.error));
                assert_true(count <= capacity);
                total += count;
            } while (count > 0);
        }
        assert_int_equal(total, 500);
        source->close(source);
    }
    dbk_segment_unref(segment);
    world_deinit(&world);
}

// ---- Merging ----------------------------------------------------------------------------------------------

// What a merge answers of a segment whose list names, instead of event `missing`, the position behind it, which
// no event has.
static daybook_status merge_with_a_lie(size_t count, size_t missing, bool is_behind_all,
                                       dbk_segment_is_live is_live) {
    forge made;
    forge_begin(&made, count);
    test_world *world = &made.world;
    if (is_behind_all) { // the last event is in no block, and the footer does not know it
        world->count--;
        made.streams[0].last_position--;
    }
    forge_blocks(&made, 10);
    static uint8_t bytes[4096];
    size_t size = dbk_put_varint(bytes, 0), total = is_behind_all ? count - 1 : count;
    uint8_t distances[2048];
    size_t at = 0;
    uint32_t last = 0;
    for (size_t i = 1; i < count; i++) {
        if (is_behind_all && i == missing) continue;
        uint32_t number = (uint32_t)(world->events[i].event.position - made.base);
        if (!is_behind_all && i == missing) number++;
        at += dbk_put_varint(distances + at, number - last - 1);
        last = number;
    }
    size += dbk_put_varint(bytes + size, (uint64_t)total << 1);
    size += dbk_put_varint(bytes + size, at);
    memcpy(bytes + size, distances, at);
    dbk_term_value value = forge_list_of(&made, bytes, size + at);
    value.count = total;
    value.last = last;
    forge_term(&made, DBK_TERM_STREAM, "", &value);
    forge_finish(&made);
    dbk_segment *segment = world_open(world, 1);
    uint64_t position = world->events[missing].event.position;
    daybook_status status = merge(world, &segment, 1, is_live, &position);
    drop_merged(world);
    dbk_segment_unref(segment);
    world->count = count;
    forge_end(&made);
    return status;
}

// The first event, not the last, with a position behind it that is nobody's.
static size_t find_gap(size_t count) {
    test_world world;
    world_init(&world, 71); // as forge_begin has it
    world.large_percent = 0;
    world.stream_count = 1;
    world.aggregate_count = 2;
    world_add_events(&world, count);
    size_t found = 0;
    for (size_t i = 1; i + 1 < count && found == 0; i++)
        if (world.events[i + 1].event.position > world.events[i].event.position + 1) found = i;
    world_deinit(&world);
    assert_true(found > 0);
    return found;
}

static dbk_liveness live_behind(void *context, uint32_t stream_id, uint64_t position) {
    (void)stream_id;
    return position <= *(const uint64_t *)context ? DBK_REMOVED_FOR_EVER : DBK_LIVE;
}

static dbk_liveness live_up_to_behind(void *context, uint32_t stream_id, uint64_t position) {
    (void)stream_id;
    return position > *(const uint64_t *)context + 1 ? DBK_REMOVED_FOR_EVER : DBK_LIVE;
}

static void positions_that_no_block_has_are_damage(void **state) {
    (void)state;
    enum { COUNT = 100 };
    size_t gap = find_gap(COUNT);
    assert_int_equal(merge_with_a_lie(COUNT, gap, false, live_behind), DAYBOOK_EDAMAGED);
    assert_int_equal(merge_with_a_lie(COUNT, gap, false, live_up_to_behind), DAYBOOK_EDAMAGED);
    assert_int_equal(merge_with_a_lie(COUNT, 5, true, all_live), DAYBOOK_EDAMAGED);
}

// The end of the stream's events in the one input is not known from its footer.
static void streams_are_others(dbk_footer *footer) {
    footer->streams[0].stream_id++;
}

static void streams_of_the_neighbour_alone_are_merged(void **state) {
    (void)state;
    forge made;
    forge_sound(&made);
    forge_footer(&made, streams_are_others);
    test_world *world = &made.world;
    size_t first = world->count;
    world_add_events(world, 20);
    uint64_t position = world->events[first].event.position;
    for (size_t i = first; i < world->count; i++)
        world->events[i].event.seq -= first; // the greatest was before
    assert_ok(world, world_write(world, first, world->count, position,
                                 world->events[world->count - 1].event.position, 2));
    dbk_segment *inputs[2] = {world_open(world, 1), world_open(world, 2)};
    assert_ok(world, merge(world, inputs, 2, all_live, NULL));
    drop_merged(world);
    dbk_segment_unref(inputs[0]);
    dbk_segment_unref(inputs[1]);
    forge_end(&made);
}

// Events of a stream that the segment does not name: removed, they leave nothing behind.
static void events_of_unknown_streams_leave_nothing(void **state) {
    (void)state;
    forge made;
    forge_begin(&made, EVENTS);
    made.world.events[10].event.stream_id = 99;
    forge_blocks(&made, 10);
    dbk_term_value value = forge_list(&made);
    forge_term(&made, DBK_TERM_STREAM, "", &value);
    forge_finish(&made);
    dbk_segment *segment = world_open(&made.world, 1);
    uint64_t position = made.world.events[30].event.position;
    assert_ok(&made.world, merge(&made.world, &segment, 1, live_from, &position));
    drop_merged(&made.world);
    assert_ok(&made.world, merge(&made.world, &segment, 1, live_until, &position));
    drop_merged(&made.world);
    dbk_segment_unref(segment);
    forge_end(&made);
}

// Removed events in one part of a wide range, blocks in another; and seqs that do not ascend.
static void removed_events_of_a_wide_range_are_found(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 205);
    world.large_percent = 0;
    world.stream_count = 1;
    for (int i = 0; i < 3; i++) {
        world_add_events(&world, 200);
        world.next_position += 100000;
    }
    for (size_t i = 400; i < 600; i++) world.events[i].event.seq -= 399;
    dbk_segment *inputs[2] = {world_segment(&world, 0, 400), world_segment(&world, 400, 600)};
    uint64_t position = world.events[100].event.position;
    assert_ok(&world, merge(&world, inputs, 2, live_from, &position));
    for (size_t i = 0; i < 100; i++) world.events[i].liveness = DBK_REMOVED_FOR_EVER;
    dbk_segment *merged = world_open(&world, 9);
    assert_int_equal(dbk_segment_get_summary(merged)->event_count, 500);
    dbk_segment_stream stream;
    assert_true(dbk_segment_find_stream(merged, 7, &stream));
    assert_int_equal(stream.seq_max, 400);
    dbk_segment_unref(merged);
    dbk_segment_unref(inputs[0]);
    dbk_segment_unref(inputs[1]);
    world_deinit(&world);
}

// Of two dead ids that are the same the younger and the stronger stay.
static void equal_dead_ids_of_two_segments_become_one(void **state) {
    (void)state;
    for (int turn = 0; turn < 4; turn++) {
        bool is_for_ever = turn < 2;
        test_world world;
        world_init(&world, 206);
        world.stream_count = 1;
        world.large_percent = 0;
        world_add_events(&world, 40);
        model_event *events[2] = {&world.events[3], &world.events[30]};
        events[1]->event.id_key = events[0]->event.id_key;
        events[turn % 2]->removed_ns = 7;
        events[turn % 2]->liveness = is_for_ever ? DBK_REMOVED_FOR_EVER : DBK_REMOVED;
        events[1 - turn % 2]->removed_ns = 9;
        events[1 - turn % 2]->liveness = DBK_REMOVED;
        dbk_segment *inputs[2] = {world_segment(&world, 0, 20), world_segment(&world, 20, 40)};
        assert_ok(&world, merge(&world, inputs, 2, all_live, NULL));
        dbk_segment *merged = world_open(&world, 9);
        dbk_id_lookup lookup;
        assert_ok(&world, dbk_segment_find_id(merged, 7, events[0]->event.id_key, &lookup, &world.error));
        assert_true(lookup.dead);
        assert_int_equal(lookup.dead_for_ever, is_for_ever);
        if (!is_for_ever) assert_int_equal(lookup.dead_removed_ns, 9);
        dbk_segment_unref(merged);
        dbk_segment_unref(inputs[0]);
        dbk_segment_unref(inputs[1]);
        world_deinit(&world);
    }
}

// ---- Writing ----------------------------------------------------------------------------------------------

// What comes out of order keeps the greatest seq; and streams whose hashes agree are told apart.
static void seqs_may_go_back_in_a_segment(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 207);
    world.stream_count = 1;
    world_add_events(&world, 30);
    for (size_t i = 10; i < 30; i++) world.events[i].event.seq -= 9;
    world.events[12].liveness = DBK_REMOVED;
    dbk_segment *segment = world_segment(&world, 0, 30);
    dbk_segment_stream stream;
    assert_true(dbk_segment_find_stream(segment, 7, &stream));
    assert_int_equal(stream.seq_max, 21);
    // Carried behind an event of a greater seq.
    dbk_segment_config config = world_config(&world, 9);
    dbk_segment_writer *writer;
    dbk_segment_summary written;
    assert_ok(&world, dbk_segment_writer_new(&config, 1, world.next_position, &writer, &world.error));
    dbk_event high = world.events[0].event;
    high.seq = 1000;
    assert_ok(&world, dbk_segment_writer_add(writer, &high, &world.error));
    assert_ok(&world, dbk_segment_writer_carry(writer, segment, NULL, &world.error));
    // A step that fails, and nothing works any more.
    assert_int_equal(dbk_segment_writer_add(writer, &high, &world.error), DAYBOOK_EMISUSE);
    assert_int_equal(dbk_segment_writer_carry(writer, segment, NULL, &world.error), DAYBOOK_EMISUSE);
    assert_int_equal(dbk_segment_writer_use_dictionary(writer, daybook_text("words"), &world.error),
                     DAYBOOK_EMISUSE);
    assert_int_equal(dbk_segment_writer_finish(writer, daybook_text(""), &written, &world.error),
                     DAYBOOK_EMISUSE);
    dbk_segment_unref(segment);
    world_deinit(&world);
}

typedef struct hashed_stream {
    uint32_t hash, id;
} hashed_stream;

static int compare_hashed(const void *a, const void *b) {
    const hashed_stream *left = a, *right = b;
    return (left->hash > right->hash) - (left->hash < right->hash);
}

// Two stream ids of which the half of the hash that a hash map keeps is the same.
static void find_collision(test_world *world, uint32_t ids_out[2]) {
    enum { COUNT = 1 << 18 };
    hashed_stream *streams = malloc(COUNT * sizeof *streams);
    assert_non_null(streams);
    for (size_t i = 0; i < COUNT; i++) {
        streams[i].id = (uint32_t)world_random(world, UINT32_MAX);
        uint64_t hash = streams[i].id * UINT64_C(0x9e3779b97f4a7c15);
        streams[i].hash = (uint32_t)((hash ^ hash >> 29) >> 32);
    }
    qsort(streams, COUNT, sizeof *streams, compare_hashed);
    size_t at = 1;
    while (at < COUNT && (streams[at].hash != streams[at - 1].hash || streams[at].id == streams[at - 1].id))
        at++;
    assert_true(at < COUNT);
    ids_out[0] = streams[at - 1].id;
    ids_out[1] = streams[at].id;
    free(streams);
}

static void streams_of_equal_hashes_are_told_apart(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 208);
    uint32_t ids[2];
    find_collision(&world, ids);
    world_add_events(&world, 12);
    for (size_t i = 0; i < 12; i++) world.events[i].event.stream_id = ids[i % 2];
    dbk_segment *segment = world_segment(&world, 0, 12);
    for (int i = 0; i < 2; i++) {
        dbk_segment_stream stream;
        assert_true(dbk_segment_find_stream(segment, ids[i], &stream));
        assert_int_equal(stream.event_count, 6);
    }
    dbk_segment_unref(segment);
    world_deinit(&world);
}

// ---- Ids --------------------------------------------------------------------------------------------------

static void ids_of_any_form_are_looked_up(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 209);
    world.stream_count = 1;
    world.large_percent = 0;
    world_add_events(&world, 24);
    // Given by the producer, with the time of recording in it: found in the index and in the blocks, told once.
    static const uint8_t made[16] = {1, 2, 3, 4, 5, 6, 0x70, 7, 0x80};
    char text[37];
    dbk_uuid uuid;
    memcpy(uuid.bytes, made, sizeof made);
    dbk_uuid_format(&uuid, text);
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("a.b");
    event.id = daybook_text(text);
    dbk_buf buf;
    dbk_buf_init(&buf, world.allocator, 1 << 16);
    assert_int_equal(dbk_event_encode_body(&event, 0, made, &buf, NULL), DAYBOOK_OK);
    int64_t time_ns;
    assert_true(dbk_uuid_v7_time_ns(&uuid, &time_ns));
    for (size_t i = 0; i < 24; i++) {
        dbk_event *of = &world.events[i].event;
        of->recorded_ns = time_ns;
        of->aggregate_size = 0;
        assert_int_equal(dbk_event_decode_body(daybook_bytes(buf.data, buf.size), of), DAYBOOK_OK);
    }
    world.events[0].event.position = 0; // nothing lies in front of it
    assert_ok(&world, world_write(&world, 0, 3, 0, world.events[2].event.position, 1));
    assert_ok(&world, world_write(&world, 0, 24, 0, world.events[23].event.position, 2));
    static const size_t counts[] = {3, 8};
    for (uint64_t id = 1; id <= 2; id++) {
        dbk_segment *segment = world_open(&world, id);
        dbk_id_lookup lookup;
        assert_ok(&world,
                  dbk_segment_find_id(segment, 7, world.events[0].event.id_key, &lookup, &world.error));
        assert_int_equal(lookup.count, counts[id - 1]);
        for (size_t i = 1; i < lookup.count; i++) assert_true(lookup.positions[i] < lookup.positions[i - 1]);
        assert_ok(&world, dbk_segment_find_id(segment, 7, daybook_bytes("S0123456789abcdef", 17), &lookup,
                                              &world.error));
        assert_int_equal(lookup.count, 0);
        assert_ok(&world, dbk_segment_find_id(segment, 7, daybook_bytes(NULL, 0), &lookup, &world.error));
        assert_int_equal(lookup.count, 0);
        dbk_segment_unref(segment);
    }
    // The store's mark on an id that holds no time.
    dbk_event odd = world.events[1].event;
    odd.flags |= DBK_EVENT_ID_MADE;
    assert_true(dbk_id_is_by_time(&odd));
    odd.id_key = daybook_text("none");
    assert_false(dbk_id_is_by_time(&odd));
    dbk_buf_deinit(&buf);
    world_deinit(&world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_damaged_copy_of_a_dictionary_spares_its_neighbours),
        cmocka_unit_test(a_size_that_cannot_be_asked_for_is_told),
        cmocka_unit_test(either_tail_serves_alone),
        cmocka_unit_test(tails_of_a_newer_format_are_told),
        cmocka_unit_test(footers_larger_than_the_file_are_damage),
        cmocka_unit_test(head_and_footer_must_agree),
        cmocka_unit_test(chunks_that_end_behind_the_file_are_damage),
        cmocka_unit_test(heads_of_blocks_are_not_believed_without_the_index),
        cmocka_unit_test(a_chunk_that_is_no_block_is_damage),
        cmocka_unit_test(blocks_that_overlap_are_damage),
        cmocka_unit_test(odd_terms_harm_nobody),
        cmocka_unit_test(numbers_in_front_of_the_first_page_are_damage),
        cmocka_unit_test(lists_are_compared_with_the_dictionary),
        cmocka_unit_test(pages_without_a_first_child_are_damage),
        cmocka_unit_test(a_prefix_may_begin_with_the_next_leaf),
        cmocka_unit_test(numbers_are_taken_a_few_at_a_time),
        cmocka_unit_test(positions_that_no_block_has_are_damage),
        cmocka_unit_test(streams_of_the_neighbour_alone_are_merged),
        cmocka_unit_test(events_of_unknown_streams_leave_nothing),
        cmocka_unit_test(removed_events_of_a_wide_range_are_found),
        cmocka_unit_test(equal_dead_ids_of_two_segments_become_one),
        cmocka_unit_test(seqs_may_go_back_in_a_segment),
        cmocka_unit_test(streams_of_equal_hashes_are_told_apart),
        cmocka_unit_test(ids_of_any_form_are_looked_up),
        cmocka_unit_test(each_allocation_of_a_merge_may_fail),
        cmocka_unit_test(each_read_of_a_merge_may_fail),
        cmocka_unit_test(each_step_of_looking_up_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
