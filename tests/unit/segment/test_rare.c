// SPDX-License-Identifier: Apache-2.0
// What happens once in a lifetime: memory or a write that fails at the one place where nothing else has
// failed before, pages of the block index that say odd things under right checksums, bytes that change under
// a reader.
#include <errno.h>
#include <stdlib.h>

#include "forge.h"
#include "index/filter.h"
#include "lib/fault_allocator.h"
#include "segment/pack.h"
#include "segment/terms.h"

#define MERGED_PATH "/segment-0000000000000009.dbs"

// zstd's mark of a dictionary with tables, and no tables: refused by who packs and by who unpacks.
static const uint8_t refused_dictionary[64] = {0x37, 0xa4, 0x30, 0xec};

static dbk_segment *forge_open(forge *made, uint32_t block_count) {
    dbk_segment *segment = world_open(&made->world, 1);
    assert_int_equal(dbk_segment_block_count(segment), block_count);
    return segment;
}

// `count` events in blocks of `block_events`, whose pages `change` may alter, and one list of all.
static void forge_segment(forge *made, size_t block_events,
                          void (*change)(dbk_block_info *blocks, uint32_t count)) {
    made->change_blocks = change;
    forge_blocks(made, block_events);
    dbk_term_value value = forge_list(made);
    forge_term(made, DBK_TERM_STREAM, "", &value);
    forge_finish(made);
}

typedef daybook_status (*fault_step)(test_world *world);

static daybook_status try_step(test_world *world, fault_step step) {
    dbk_cache *shared = world->cache;
    daybook_status status = dbk_cache_new(world->allocator, 1 << 20, &world->cache);
    if (status == DAYBOOK_OK) status = step(world);
    dbk_cache_free(world->cache);
    world->cache = shared;
    (void)world->vfs->unlink(world->vfs, MERGED_PATH);
    assert_int_equal(dbk_sim_open_files(world->sim), 0);
    return status;
}

// Each call of the kind fails once with EIO, which comes back, or was not needed.
static void check_each_call(test_world *world, fault_step step, dbk_sim_kind kind) {
    uint64_t failed = 0;
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
        failed += status == DAYBOOK_EIO;
    }
    assert_true(failed > 0);
}

static daybook_status verify_step(test_world *world) {
    dbk_segment_config config = world_config(world, 1);
    return dbk_segment_verify(&config, NULL, NULL, NULL);
}

// ---- Verifying --------------------------------------------------------------------------------------------

// Several pages of the block index, and a dictionary of several levels with filters.
static void each_read_of_a_verification_may_fail(void **state) {
    (void)state;
    forge made;
    forge_begin(&made, DBK_BLOCK_PAGE_COUNT + 1);
    forge_segment(&made, 1, NULL);
    check_each_call(&made.world, verify_step, DBK_SIM_READ);
    forge_end(&made);
    test_world world;
    world_init(&world, 301);
    world.large_percent = 0;
    world_add_events(&world, 900);
    dbk_segment *segment = world_segment(&world, 0, 900);
    assert_true(segment->footer.filter_part_count > 0);
    dbk_segment_unref(segment);
    check_each_call(&world, verify_step, DBK_SIM_READ);
    world_deinit(&world);
}

// The dictionary says that the list ends one before its last, where no event is.
static void lists_end_where_the_dictionary_says(void **state) {
    (void)state;
    size_t count = 0;
    forge made;
    for (size_t tried = 20; count == 0; tried++) {
        forge_begin(&made, tried);
        const model_event *events = made.world.events;
        if (events[tried - 1].event.position > events[tried - 2].event.position + 1) count = tried;
        if (count == 0) forge_end(&made);
    }
    forge_blocks(&made, 10);
    dbk_term_value value = forge_list(&made);
    value.last--;
    forge_term(&made, DBK_TERM_STREAM, "", &value);
    forge_finish(&made);
    assert_int_equal(verify_step(&made.world), DAYBOOK_EDAMAGED);
    forge_end(&made);
}

// ---- Blocks and their page --------------------------------------------------------------------------------

static daybook_status find_and_load(test_world *world, dbk_segment *segment, uint64_t position) {
    dbk_block_place place;
    dbk_block_view view;
    memset(&view, 0, sizeof view);
    daybook_status status = dbk_segment_find_block(segment, position, &place, &world->error);
    if (status == DAYBOOK_OK) status = dbk_block_load_at(segment, &place, &view, &world->error);
    dbk_block_release(&view);
    return status;
}

static daybook_status find_step(test_world *world) {
    dbk_segment_config config = world_config(world, 1);
    dbk_segment *segment;
    DBK_TRY(dbk_segment_open(&config, world->cache, &segment, &world->error));
    daybook_status status = find_and_load(world, segment, world->events[0].event.position);
    dbk_segment_unref(segment);
    return status;
}

static void check_each_allocation(test_world *world, fault_step step) {
    fault_allocator faults;
    fault_allocator_init(&faults);
    const daybook_allocator *before = world->allocator;
    world->allocator = &faults.allocator;
    for (uint64_t nth = 1;; nth++) {
        fault_allocator_fail(&faults, nth, false);
        daybook_status status = try_step(world, step);
        bool has_failed = fault_allocator_has_failed(&faults);
        fault_allocator_fail(&faults, 0, false);
        assert_int_equal(fault_allocator_live(&faults), 0);
        if (status != DAYBOOK_OK) assert_int_equal(status, DAYBOOK_ENOMEM);
        if (has_failed) continue;
        assert_int_equal(status, DAYBOOK_OK);
        break;
    }
    world->allocator = before;
}

enum { SPREAD_EVENTS = 400 };

// Block 0 says it holds nearly all positions: where it lies is guessed far behind it.
static void first_block_claims_nearly_all(dbk_block_info *blocks, uint32_t count) {
    uint64_t last = blocks[count - 1].position_last;
    blocks[0].position_last = last - 1;
    for (uint32_t i = 1; i < count; i++) blocks[i].position_first = blocks[i].position_last = last;
}

static void last_block_is_longer_than_the_file(dbk_block_info *blocks, uint32_t count) {
    blocks[count - 1].file_bytes += 4000;
}

static void last_block_lies_behind_its_page(dbk_block_info *blocks, uint32_t count) {
    blocks[count - 1].file_offset += 1 << 20;
}

static void blocks_elsewhere_than_guessed_are_read_alone(void **state) {
    (void)state;
    static const struct {
        void (*change)(dbk_block_info *blocks, uint32_t count);
        bool is_last;
    } pages[] = {{first_block_claims_nearly_all, false},
                 {last_block_is_longer_than_the_file, true},
                 {last_block_lies_behind_its_page, true}};
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        forge made;
        forge_begin(&made, SPREAD_EVENTS);
        forge_segment(&made, 10, pages[i].change);
        dbk_segment *segment = forge_open(&made, SPREAD_EVENTS / 10);
        uint64_t last = made.world.events[SPREAD_EVENTS - 1].event.position;
        uint64_t position = pages[i].is_last ? last : made.base + (last - made.base) / 10 * 9;
        assert_int_equal(find_and_load(&made.world, segment, position), DAYBOOK_EDAMAGED);
        dbk_segment_unref(segment);
        forge_end(&made);
    }
}

static void page_begins_behind_itself(dbk_footer *footer) {
    footer->block_pages[0].first_block_offset = footer->block_pages[0].offset;
}

static void a_page_that_says_its_blocks_lie_behind_it_is_read_alone(void **state) {
    (void)state;
    forge made;
    forge_begin(&made, 60);
    forge_segment(&made, 10, NULL);
    forge_footer(&made, page_begins_behind_itself);
    dbk_segment *segment = forge_open(&made, 6);
    assert_int_equal(find_and_load(&made.world, segment, made.base), DAYBOOK_EDAMAGED);
    dbk_segment_unref(segment);
    forge_end(&made);
}

// The page is sound, the block read along with it is not; and without memory the page is read alone.
static void a_block_read_with_its_page_may_be_damaged(void **state) {
    (void)state;
    forge made;
    forge_begin(&made, 60);
    forge_segment(&made, 10, NULL);
    dbk_segment *segment = forge_open(&made, 6);
    uint64_t offset = segment->footer.block_pages[0].first_block_offset;
    dbk_segment_unref(segment);
    assert_int_equal(dbk_sim_flip(made.world.sim, WORLD_SEGMENT_PATH, offset + 40, 1), DAYBOOK_OK);
    segment = forge_open(&made, 6);
    assert_int_equal(find_and_load(&made.world, segment, made.base), DAYBOOK_EDAMAGED);
    assert_ok(&made.world,
              find_and_load(&made.world, segment, made.world.events[made.world.count - 1].event.position));
    dbk_segment_unref(segment);
    forge_end(&made);
}

// Gives event `index` a body of `size` bytes of noise.
static void make_noise(test_world *world, size_t index, size_t size, dbk_buf *buf) {
    uint8_t *noise = malloc(size);
    assert_non_null(noise);
    for (size_t i = 0; i < size; i++) noise[i] = (uint8_t)world_random(world, 256);
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("noise.1");
    event.id = daybook_text("noise");
    event.data = daybook_bytes(noise, size);
    dbk_buf_init(buf, world->allocator, 1 << 20);
    assert_int_equal(dbk_event_encode_body(&event, 0, (const uint8_t *)"0123456789abcdef", buf, NULL),
                     DAYBOOK_OK);
    dbk_event *of = &world->events[index].event;
    of->aggregate_size = 0;
    assert_int_equal(dbk_event_decode_body(daybook_bytes(buf->data, buf->size), of), DAYBOOK_OK);
    free(noise);
}

// The first block is larger than what is read at once: it gets memory of its own, and a window grows for it.
static void blocks_larger_than_a_read_need_memory_of_their_own(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 302);
    world.large_percent = 0;
    world_add_events(&world, 20);
    dbk_buf buf;
    make_noise(&world, 0, 200 * 1024, &buf);
    dbk_segment *segment = world_segment(&world, 0, 20);
    dbk_segment_unref(segment);
    check_each_allocation(&world, find_step);

    segment = world_open(&world, 1);
    fault_allocator faults;
    fault_allocator_init(&faults);
    dbk_file_window window;
    assert_int_equal(dbk_file_window_init(&window, &faults.allocator, &segment->reader, 4096), DAYBOOK_OK);
    dbk_block_info info;
    assert_ok(&world, dbk_segment_block_info(segment, 0, &info, &world.error));
    size_t size = info.file_bytes - DBK_CHUNK_CHECKSUM_SIZE;
    assert_true(size > 4096);
    dbk_slice payload;
    fault_allocator_fail(&faults, 1, false);
    assert_int_equal(
        dbk_file_window_chunk(&window, info.file_offset, size, "a block", &payload, &world.error),
        DAYBOOK_ENOMEM);
    assert_ok(&world,
              dbk_file_window_chunk(&window, info.file_offset, size, "a block", &payload, &world.error));
    assert_int_equal(payload.size, size);
    dbk_file_window_deinit(&window);
    assert_int_equal(fault_allocator_live(&faults), 0);
    dbk_segment_unref(segment);
    dbk_buf_deinit(&buf);
    world_deinit(&world);
}

static void a_view_may_move_to_another_segment(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 303);
    world_add_events(&world, 40);
    dbk_segment *segments[2] = {world_segment(&world, 0, 20), world_segment(&world, 20, 40)};
    dbk_block_view view;
    memset(&view, 0, sizeof view);
    for (int i = 0; i < 4; i++) {
        assert_ok(&world, dbk_block_load(segments[i % 2], 0, &view, &world.error));
        dbk_event event;
        assert_ok(&world, dbk_block_event(&view, 0, &event, &world.error));
        assert_true(event.position == world.events[i % 2 * 20].event.position);
    }
    dbk_block_release(&view);
    dbk_segment_unref(segments[0]);
    dbk_segment_unref(segments[1]);
    world_deinit(&world);
}

// ---- Scanning ---------------------------------------------------------------------------------------------

// The head of the block is as the index says, what is stored behind it is no block.
static void a_scan_meets_stored_bytes_that_are_no_block(void **state) {
    (void)state;
    forge made;
    forge_begin(&made, 60);
    forge_segment(&made, 10, NULL);
    dbk_segment *segment = forge_open(&made, 6);
    dbk_block_info info;
    assert_ok(&made.world, dbk_segment_block_info(segment, 0, &info, &made.world.error));
    dbk_segment_unref(segment);
    uint8_t bytes[1 << 16];
    size_t size = info.file_bytes - DBK_CHUNK_CHECKSUM_SIZE;
    assert_true(size <= sizeof bytes);
    forge_read(&made, info.file_offset, bytes, size);
    dbk_block_head head;
    dbk_slice stored;
    assert_true(dbk_block_head_decode(daybook_bytes(bytes, size), &head, &stored));
    memset(bytes + (size - stored.size), 0xff, stored.size);
    forge_write(&made, info.file_offset, bytes, size, true);
    segment = forge_open(&made, 6);
    dbk_block_scan *scan;
    dbk_block_place place;
    dbk_block_view view;
    memset(&view, 0, sizeof view);
    assert_ok(&made.world, dbk_block_scan_new(segment, &scan, &made.world.error));
    assert_ok(&made.world, dbk_block_scan_find(scan, made.base, &place, &made.world.error));
    assert_int_equal(dbk_block_scan_load(scan, &place, &view, &made.world.error), DAYBOOK_EDAMAGED);
    dbk_block_scan_free(scan);
    dbk_segment_unref(segment);
    forge_end(&made);
}

// All memory for unpacking that a cache has, and no more to be had until it is given back.
typedef struct hoard {
    fault_allocator *faults;
    dbk_cache *cache;
    size_t size, taken;
    void *scratch[64];
} hoard;

static void take_all(hoard *of, fault_allocator *faults, dbk_cache *cache) {
    *of = (hoard){.faults = faults, .cache = cache, .size = dbk_unpack_scratch_size() + 64 * 1024};
    fault_allocator_fail(faults, 1, true);
    while ((of->scratch[of->taken] = dbk_cache_take_scratch(cache, of->size)) != NULL)
        assert_true(++of->taken < sizeof of->scratch / sizeof of->scratch[0]);
}

static void give_all_back(hoard *of) {
    fault_allocator_fail(of->faults, 0, false);
    while (of->taken > 0) dbk_cache_give_scratch(of->cache, of->scratch[--of->taken], of->size);
}

static void a_scan_without_memory_to_unpack_in_says_so(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 304);
    world.large_percent = 0;
    world_add_events(&world, 100);
    dbk_segment_unref(world_segment(&world, 0, 100));
    dbk_segment_unref(world_segment(&world, 0, 100));
    fault_allocator faults;
    fault_allocator_init(&faults);
    dbk_cache *cache;
    assert_int_equal(dbk_cache_new(&faults.allocator, 1 << 20, &cache), DAYBOOK_OK);
    dbk_segment_config config = world_config(&world, 1);
    dbk_segment *segment;
    assert_ok(&world, dbk_segment_open(&config, cache, &segment, &world.error));
    dbk_block_scan *scan;
    dbk_block_place place;
    dbk_block_view view;
    memset(&view, 0, sizeof view);
    assert_ok(&world, dbk_block_scan_new(segment, &scan, &world.error));
    // The first loads what is needed but the block; then whoever else reads has all memory for unpacking.
    assert_ok(&world, dbk_block_scan_find(scan, world.events[0].event.position, &place, &world.error));
    assert_ok(&world, dbk_block_scan_load(scan, &place, &view, &world.error));
    uint64_t last = world.events[99].event.position;
    assert_ok(&world, dbk_block_scan_find(scan, last, &place, &world.error));
    assert_true(place.block_number > 0);
    hoard all;
    take_all(&all, &faults, cache);
    assert_int_equal(dbk_block_scan_load(scan, &place, &view, &world.error), DAYBOOK_ENOMEM);
    give_all_back(&all);
    // Nor is the page of the index read along with a block.
    dbk_segment *again;
    config.segment_id = 2;
    assert_ok(&world, dbk_segment_open(&config, cache, &again, &world.error));
    take_all(&all, &faults, cache);
    assert_int_equal(find_and_load(&world, again, world.events[0].event.position), DAYBOOK_ENOMEM);
    fault_allocator_fail(&faults, 2, false); // the first is for what is kept of the page
    assert_ok(&world, find_and_load(&world, again, world.events[0].event.position));
    give_all_back(&all);
    dbk_segment_unref(again);
    assert_ok(&world, dbk_block_scan_load(scan, &place, &view, &world.error));
    dbk_block_release(&view);
    dbk_block_scan_free(scan);
    dbk_segment_unref(segment);
    dbk_cache_free(cache);
    assert_int_equal(fault_allocator_live(&faults), 0);
    world_deinit(&world);
}

// ---- Pages and dictionaries -------------------------------------------------------------------------------

// Two parents name one page and disagree on its size.
static void a_page_in_the_cache_has_one_size(void **state) {
    (void)state;
    forge made;
    forge_begin(&made, 60);
    forge_segment(&made, 10, NULL);
    dbk_segment *segment = forge_open(&made, 6);
    const dbk_tree_root *root = &segment->footer.root;
    dbk_cache_entry *entry;
    dbk_term_page page;
    assert_ok(&made.world,
              dbk_segment_load_page(segment, 0, root->offset, root->size, &entry, &page, &made.world.error));
    dbk_cache_release(segment->cache, entry);
    assert_int_equal(
        dbk_segment_load_page(segment, 0, root->offset, root->size - 1, &entry, &page, &made.world.error),
        DAYBOOK_EDAMAGED);
    dbk_segment_unref(segment);
    forge_end(&made);
}

static void dictionaries_that_zstd_refuses_are_told(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 306);
    dbk_segment_config config = world_config(&world, 1);
    dbk_segment_writer *writer;
    assert_ok(&world, dbk_segment_writer_new(&config, 1, 10, &writer, &world.error));
    assert_int_equal(dbk_segment_writer_use_dictionary(
                         writer, daybook_bytes(refused_dictionary, sizeof refused_dictionary), &world.error),
                     DAYBOOK_EDAMAGED);
    assert_non_null(strstr(world.error.message, "dictionary"));
    dbk_segment_writer_abort(writer);
    world_deinit(&world);
}

static dbk_liveness every_third_is_removed(void *context, uint32_t stream_id, uint64_t position) {
    (void)context, (void)stream_id;
    return position % 3 == 0 ? DBK_REMOVED_FOR_EVER : DBK_LIVE;
}

static daybook_status merge(test_world *world, dbk_segment *const *inputs, size_t count,
                            dbk_segment_is_live is_live) {
    dbk_segment_config config = world_config(world, 9);
    dbk_segment_summary summary;
    return dbk_segment_merge(&config, inputs, count, dbk_segment_get_summary(inputs[0])->position_first,
                             dbk_segment_get_summary(inputs[count - 1])->position_last, is_live, NULL, 0, 0,
                             NULL, NULL, daybook_text(""), &summary, &world->error);
}

// The blocks are in the cache when the file's dictionary changes: the merge packs nothing with it.
static void a_merge_meets_a_dictionary_that_changed(void **state) {
    (void)state;
    forge made;
    forge_written(&made, 400);
    test_world *world = &made.world;
    dbk_segment *segment = world_open(world, 1);
    assert_int_equal(dbk_segment_dictionary_count(segment), 1);
    made.assembly.file.seed = segment->reader.seed;
    for (uint32_t i = 0; i < dbk_segment_block_count(segment); i++) {
        dbk_block_view view;
        memset(&view, 0, sizeof view);
        assert_ok(world, dbk_block_load(segment, i, &view, &world->error));
        dbk_block_release(&view);
    }
    const dbk_dictionary_place *place = &segment->footer.dictionaries[0];
    uint8_t *bytes = calloc(1, place->size);
    assert_non_null(bytes);
    memcpy(bytes, refused_dictionary, sizeof refused_dictionary);
    forge_write(&made, place->offset, bytes, place->size, true);
    free(bytes);
    assert_int_equal(merge(world, &segment, 1, every_third_is_removed), DAYBOOK_EDAMAGED);
    assert_non_null(strstr(world->error.message, "dictionary"));
    dbk_segment_unref(segment);
    forge_end(&made);
}

// ---- Merging ----------------------------------------------------------------------------------------------

static dbk_liveness all_live(void *context, uint32_t stream_id, uint64_t position) {
    (void)context, (void)stream_id, (void)position;
    return DBK_LIVE;
}

// Copies of dictionaries are read with their neighbours: one that claims another size than it came with is
// not taken.
static void a_dictionary_in_the_cache_has_one_size(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 305);
    world.large_percent = 0;
    world.next_segment_id = 2;
    world_add_events(&world, 400);
    dbk_segment *parts[2] = {world_segment(&world, 0, 200), world_segment(&world, 200, 400)};
    assert_ok(&world, merge(&world, parts, 2, all_live));
    dbk_segment *merged = world_open(&world, 9);
    assert_int_equal(dbk_segment_dictionary_count(merged), 2);
    dbk_cache_entry *entry;
    assert_ok(&world, dbk_segment_load_decoder(merged, 1, &entry, &world.error));
    dbk_cache_release(merged->cache, entry);
    merged->footer.dictionaries[1].size -= 8;
    assert_int_equal(dbk_segment_load_decoder(merged, 2, &entry, &world.error), DAYBOOK_EDAMAGED);
    merged->footer.dictionaries[1].size += 8;
    assert_ok(&world, dbk_segment_load_decoder(merged, 2, &entry, &world.error));
    dbk_cache_release(merged->cache, entry);
    dbk_segment_unref(merged);
    dbk_segment_unref(parts[0]);
    dbk_segment_unref(parts[1]);
    world_deinit(&world);
}

static daybook_status merge_pair_step(test_world *world) {
    dbk_segment *inputs[2] = {NULL, NULL};
    daybook_status status = DAYBOOK_OK;
    for (uint64_t i = 0; i < 2 && status == DAYBOOK_OK; i++) {
        dbk_segment_config config = world_config(world, i + 1);
        status = dbk_segment_open(&config, world->cache, &inputs[i], &world->error);
    }
    if (status == DAYBOOK_OK) status = merge(world, inputs, 2, all_live);
    dbk_segment_unref(inputs[0]);
    dbk_segment_unref(inputs[1]);
    return status;
}

// A block that is packed anew stands in front of one that is copied; nothing is collected before it is
// written.
static void each_write_and_allocation_of_a_merge_may_fail(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 307);
    world.large_percent = 0;
    world.stream_count = 1;
    world_add_events(&world, 200);
    size_t small = 0;
    while (world.events[small].event.body.size > DBK_BLOCK_TARGET / 8) small++;
    assert_true(small < 50);
    dbk_segment_unref(world_segment(&world, small, small + 1));
    dbk_segment_unref(world_segment(&world, small + 1, 200));
    world.memory_max = 16;
    check_each_call(&world, merge_pair_step, DBK_SIM_WRITE);
    check_each_allocation(&world, merge_pair_step);
    world_deinit(&world);
}

static dbk_liveness live_in_front_of(void *context, uint32_t stream_id, uint64_t position) {
    (void)stream_id;
    return position < *(const uint64_t *)context ? DBK_LIVE : DBK_REMOVED;
}

// One id of several events, whoever wrote them: the last is removed, the first stays to be found.
static void an_id_survives_its_last_event(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 308);
    world.stream_count = 1;
    world.large_percent = 0;
    world_add_events(&world, 24);
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("a.b");
    event.id = daybook_text("the same");
    dbk_buf buf;
    dbk_buf_init(&buf, world.allocator, 1 << 16);
    assert_int_equal(dbk_event_encode_body(&event, 0, (const uint8_t *)"0123456789abcdef", &buf, NULL),
                     DAYBOOK_OK);
    for (size_t i = 0; i < 24; i++) {
        dbk_event *of = &world.events[i].event;
        of->aggregate_size = 0;
        assert_int_equal(dbk_event_decode_body(daybook_bytes(buf.data, buf.size), of), DAYBOOK_OK);
    }
    dbk_segment *segment = world_segment(&world, 0, 24);
    dbk_segment_config config = world_config(&world, 9);
    dbk_segment_summary summary;
    const dbk_segment_summary *range = dbk_segment_get_summary(segment);
    uint64_t removed_from = world.events[1].event.position;
    assert_ok(&world, dbk_segment_merge(&config, &segment, 1, range->position_first, range->position_last,
                                        live_in_front_of, &removed_from, 0, 0, NULL, NULL, daybook_text(""),
                                        &summary, &world.error));
    dbk_segment *merged = world_open(&world, 9);
    dbk_id_lookup lookup;
    assert_ok(&world, dbk_segment_find_id(merged, 7, world.events[0].event.id_key, &lookup, &world.error));
    assert_int_equal(lookup.count, 1);
    assert_true(lookup.positions[0] == world.events[0].event.position);
    assert_true(lookup.dead);
    dbk_segment_unref(merged);
    dbk_segment_unref(segment);
    dbk_buf_deinit(&buf);
    world_deinit(&world);
}

// Terms that come from nowhere: `terms` of them, `numbers` postings each, every third number.
typedef struct made_source {
    dbk_term_source base;
    uint32_t terms, numbers; // asked for
    uint32_t term, number;   // given
    uint8_t bytes[8];
    fault_allocator *faults;
    uint32_t fails_at; // term from which on memory is out; 0: never
} made_source;

static daybook_status next_made(dbk_term_source *base, daybook_error *error) {
    (void)error;
    made_source *source = (made_source *)(void *)base;
    if (source->term == source->terms) return DAYBOOK_END;
    if (++source->term == source->fails_at) fault_allocator_fail(source->faults, 1, true);
    source->bytes[0] = DBK_TERM_TYPE;
    for (int i = 0; i < 4; i++) source->bytes[1 + i] = (uint8_t)(source->term >> (24 - 8 * i));
    base->term = daybook_bytes(source->bytes, 5);
    base->value = (dbk_term_value){.count = source->numbers, .last = (source->numbers - 1) * 3};
    source->number = 0;
    return DAYBOOK_OK;
}

static daybook_status take_made(dbk_term_source *base, uint32_t *numbers_out, size_t capacity,
                                size_t *count_out, daybook_error *error) {
    (void)error;
    made_source *source = (made_source *)(void *)base;
    *count_out = 0;
    while (*count_out < capacity && source->number < source->numbers)
        numbers_out[(*count_out)++] = source->number++ * 3;
    return DAYBOOK_OK;
}

static daybook_status merge_made(test_world *world, made_source *source, const daybook_allocator *allocator) {
    source->base.next = next_made;
    source->base.take = take_made;
    dbk_term_source *const sources[1] = {&source->base};
    dbk_file_writer file;
    assert_ok(world, dbk_file_writer_open(&file, world->allocator, world->vfs, "/terms", false, 1 << 16,
                                          &world->error));
    dbk_tree_builder *tree;
    assert_int_equal(dbk_tree_builder_new(allocator, &file, &tree), DAYBOOK_OK);
    daybook_status status = dbk_terms_merge(world->allocator, sources, 1, NULL, tree, &world->error);
    dbk_tree_builder_free(tree);
    dbk_file_writer_close(&file);
    return status;
}

static void a_long_list_that_cannot_be_written_ends_the_merge(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 309);
    made_source source = {.terms = 1, .numbers = 200000};
    dbk_sim_fault fault = {.kind = DBK_SIM_WRITE, .nth = 1, .is_forever = true, .error = ENOSPC};
    assert_int_equal(dbk_sim_fail(world.sim, &fault), DAYBOOK_OK);
    assert_int_equal(merge_made(&world, &source, world.allocator), DAYBOOK_ENOSPC);
    dbk_sim_clear_faults(world.sim);
    source.term = 0;
    assert_ok(&world, merge_made(&world, &source, world.allocator));
    world_deinit(&world);
}

// The filter of the terms so far is made when one more comes.
static void a_full_filter_needs_memory(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 310);
    fault_allocator faults;
    fault_allocator_init(&faults);
    made_source source = {.terms = DBK_FILTER_KEYS_MAX + 2,
                          .numbers = 1,
                          .faults = &faults,
                          .fails_at = DBK_FILTER_KEYS_MAX + 1};
    assert_int_equal(merge_made(&world, &source, &faults.allocator), DAYBOOK_ENOMEM);
    fault_allocator_fail(&faults, 0, false);
    assert_int_equal(fault_allocator_live(&faults), 0);
    source.term = source.fails_at = 0;
    assert_ok(&world, merge_made(&world, &source, &faults.allocator));
    assert_int_equal(fault_allocator_live(&faults), 0);
    world_deinit(&world);
}

static void a_directory_of_pages_needs_memory(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 311);
    world.large_percent = 0;
    world.stream_count = 1;
    world_add_events(&world, 9000);
    dbk_segment_unref(world_segment(&world, 0, 9000));
    fault_allocator faults;
    fault_allocator_init(&faults);
    world.allocator = &faults.allocator;
    dbk_segment *segment = world_open(&world, 1);
    uint8_t kind = DBK_TERM_STREAM;
    dbk_term_source *source;
    assert_ok(&world,
              dbk_segment_source_open(segment, daybook_bytes(&kind, 1), 1 << 16, &source, &world.error));
    assert_ok(&world, source->next(source, &world.error));
    assert_int_equal(source->value.form, DBK_POSTINGS_DIRECTORY);
    uint32_t numbers[16];
    size_t count;
    fault_allocator_fail(&faults, 1, true);
    assert_int_equal(source->take(source, numbers, 16, &count, &world.error), DAYBOOK_ENOMEM);
    fault_allocator_fail(&faults, 0, false);
    source->close(source);
    dbk_segment_unref(segment);
    assert_int_equal(fault_allocator_live(&faults), 0);
    world.allocator = dbk_allocator_default();
    world_deinit(&world);
}

// ---- Walking, ids, writing --------------------------------------------------------------------------------

// The first term that is not below the prefix is shorter than it.
static void a_prefix_longer_than_any_term_finds_nothing(void **state) {
    (void)state;
    forge made;
    forge_begin(&made, 60);
    forge_segment(&made, 10, NULL);
    dbk_segment *segment = forge_open(&made, 6);
    static const uint8_t prefix[12] = {DBK_TERM_STREAM, 0, 0, 0, 1};
    dbk_term_walk *walk;
    dbk_slice term;
    dbk_term_entry entry;
    assert_ok(&made.world,
              dbk_term_walk_open(segment, daybook_bytes(prefix, sizeof prefix), &walk, &made.world.error));
    assert_int_equal(dbk_term_walk_next(walk, &term, &entry, &made.world.error), DAYBOOK_END);
    dbk_term_walk_close(walk);
    dbk_segment_unref(segment);
    forge_end(&made);
}

// An id whose time is that of recording is looked for in all blocks of that time, also on the next page.
static void ids_are_looked_for_on_a_damaged_page(void **state) {
    (void)state;
    enum { COUNT = DBK_BLOCK_PAGE_COUNT + 2 };
    static const uint8_t made_id[16] = {1, 2, 3, 4, 5, 6, 0x70, 7, 0x80};
    dbk_uuid uuid;
    memcpy(uuid.bytes, made_id, sizeof made_id);
    int64_t time_ns;
    assert_true(dbk_uuid_v7_time_ns(&uuid, &time_ns));
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("a.b");
    forge made;
    forge_begin(&made, COUNT);
    dbk_buf buf;
    dbk_buf_init(&buf, made.world.allocator, 1 << 16);
    assert_int_equal(dbk_event_encode_body(&event, 0, made_id, &buf, NULL), DAYBOOK_OK);
    for (size_t i = 0; i < COUNT; i++) {
        dbk_event *of = &made.world.events[i].event;
        of->recorded_ns = time_ns;
        of->aggregate_size = 0;
        assert_int_equal(dbk_event_decode_body(daybook_bytes(buf.data, buf.size), of), DAYBOOK_OK);
    }
    forge_segment(&made, 1, NULL);
    dbk_slice id_key = made.world.events[0].event.id_key;
    dbk_segment *segment = forge_open(&made, COUNT);
    dbk_id_lookup lookup;
    assert_ok(&made.world, dbk_segment_find_id(segment, 7, id_key, &lookup, &made.world.error));
    assert_true(lookup.count > 0);
    uint64_t offset = segment->footer.block_pages[1].offset;
    dbk_segment_unref(segment);
    // The blocks of that page cannot be found one behind the other either.
    forge_write(&made, offset, "\xff\xff\xff", 3, false);
    segment = world_open(&made.world, 1);
    uint64_t first = segment->footer.block_pages[1].first_block_offset;
    dbk_segment_unref(segment);
    assert_int_equal(dbk_sim_flip(made.world.sim, WORLD_SEGMENT_PATH, first + 2, 1), DAYBOOK_OK);
    dbk_cache_free(made.world.cache);
    assert_int_equal(dbk_cache_new(made.world.allocator, 1 << 20, &made.world.cache), DAYBOOK_OK);
    segment = world_open(&made.world, 1);
    assert_int_equal(dbk_segment_find_id(segment, 7, id_key, &lookup, &made.world.error), DAYBOOK_EDAMAGED);
    dbk_segment_unref(segment);
    dbk_buf_deinit(&buf);
    forge_end(&made);
}

static void a_removed_event_of_a_new_stream_needs_memory(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 312);
    world_add_events(&world, 3);
    fault_allocator faults;
    fault_allocator_init(&faults);
    const daybook_allocator *before = world.allocator;
    world.allocator = &faults.allocator;
    dbk_segment_config config = world_config(&world, 1);
    dbk_segment_writer *writer;
    assert_ok(&world, dbk_segment_writer_new(&config, 1, 1000, &writer, &world.error));
    fault_allocator_fail(&faults, 1, true);
    assert_int_equal(dbk_segment_writer_add_removed(writer, &world.events[0].event, true, 1, &world.error),
                     DAYBOOK_ENOMEM);
    fault_allocator_fail(&faults, 0, false);
    dbk_segment_writer_abort(writer);
    assert_int_equal(fault_allocator_live(&faults), 0);
    world.allocator = before;
    world_deinit(&world);
}

// ---- Filters and counts -----------------------------------------------------------------------------------

// Whoever reads a filter is overtaken by one that asks twice, so that it is kept before.
static struct {
    daybook_vfs *inner;
    dbk_segment *segment;
    dbk_slice term;
    bool is_armed;
} overtaking;

static int64_t read_overtaken(daybook_vfs *vfs, daybook_file *file, void *data, size_t size,
                              uint64_t offset) {
    if (overtaking.is_armed) {
        overtaking.is_armed = false;
        for (int i = 0; i < 4; i++)
            assert_int_equal(dbk_segment_ask_filter(overtaking.segment, overtaking.term, NULL), DAYBOOK_OK);
    }
    return overtaking.inner->read_at(vfs, file, data, size, offset);
}

static void a_filter_is_kept_once(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 313);
    world.large_percent = 0;
    world_add_events(&world, 900);
    dbk_segment_unref(world_segment(&world, 0, 900));
    daybook_vfs vfs = *world.vfs, *before = world.vfs;
    vfs.read_at = read_overtaken;
    overtaking.inner = before;
    world.vfs = &vfs;
    dbk_cache *shared = world.cache;
    assert_int_equal(dbk_cache_new(world.allocator, 8 << 20, &world.cache), DAYBOOK_OK);
    dbk_segment *segment = world_open(&world, 1);
    assert_true(segment->footer.filter_part_count > 0);
    dbk_term term;
    dbk_term_make(&term, DBK_TERM_STREAM, world.events[0].event.stream_id, daybook_text(""));
    overtaking.segment = segment;
    overtaking.term = dbk_term_slice(&term);
    overtaking.is_armed = true;
    for (int i = 0; i < 3; i++)
        assert_int_equal(dbk_segment_ask_filter(segment, dbk_term_slice(&term), NULL), DAYBOOK_OK);
    assert_false(overtaking.is_armed);
    dbk_segment_unref(segment);
    dbk_cache_free(world.cache);
    world.cache = shared;
    world.vfs = before;
    world_deinit(&world);
}

static daybook_status count_step(test_world *world) {
    dbk_segment_config config = world_config(world, 1);
    dbk_segment *segment;
    DBK_TRY(dbk_segment_open(&config, world->cache, &segment, &world->error));
    dbk_term term;
    dbk_term_make(&term, DBK_TERM_STREAM, world->events[0].event.stream_id, daybook_text(""));
    dbk_term_entry entry;
    dbk_postings *postings = NULL;
    daybook_status status = dbk_segment_find_term(segment, dbk_term_slice(&term), &entry, &world->error);
    if (status == DAYBOOK_OK) status = dbk_postings_open(segment, &entry, &postings, &world->error);
    uint64_t first = world->events[0].event.position, last = world->events[world->count - 1].event.position;
    uint64_t count = 0;
    size_t at = 0;
    for (uint64_t position = first - 1; status == DAYBOOK_OK && position <= last + 1; position += 7) {
        while (at < world->count && world->events[at].event.position < position) at++;
        status = dbk_postings_count(postings, position, &count, &world->error);
        if (status == DAYBOOK_OK) assert_int_equal(count, world->count - at);
    }
    if (status == DAYBOOK_OK) status = dbk_postings_count(postings, last + 1, &count, &world->error);
    if (status == DAYBOOK_OK) assert_int_equal(count, 0);
    dbk_postings_close(postings);
    dbk_segment_unref(segment);
    return status;
}

static void postings_are_counted_from_anywhere(void **state) {
    (void)state;
    test_world world;
    world_init(&world, 314);
    world.large_percent = 0;
    world.stream_count = 1;
    for (int i = 0; i < 4; i++) { // runs with wide gaps between them, and pages of numbers
        world_add_events(&world, 2500);
        world.next_position += 500;
    }
    dbk_segment *segment = world_segment(&world, 0, world.count);
    dbk_term_entry none = {.postings_form = DBK_POSTINGS_NONE};
    dbk_postings *postings;
    uint64_t count = 1;
    assert_ok(&world, dbk_postings_open(segment, &none, &postings, &world.error));
    assert_ok(&world, dbk_postings_count(postings, 0, &count, &world.error));
    assert_int_equal(count, 0);
    dbk_postings_close(postings);
    dbk_segment_unref(segment);
    assert_ok(&world, count_step(&world));
    check_each_call(&world, count_step, DBK_SIM_READ);
    world_deinit(&world);
}

// A run that ends in front of the number, and a group whose numbers do not decode.
static void lists_of_hostile_groups_are_counted_or_refused(void **state) {
    (void)state;
    for (int is_refused = 0; is_refused < 2; is_refused++) {
        forge made;
        forge_begin(&made, 60);
        forge_blocks(&made, 10);
        uint8_t bytes[64];
        size_t size = dbk_put_varint(bytes, 0);
        dbk_term_value value;
        if (is_refused) { // more numbers than bytes
            size += dbk_put_varint(bytes + size, UINT64_C(20) << 1);
            size += dbk_put_varint(bytes + size, 19);
            memset(bytes + size, 0xff, 19);
            size += 19;
            value = forge_list_of(&made, bytes, size);
            value.count = 20;
        } else {
            size += dbk_put_varint(bytes + size, UINT64_C(5) << 1 | 1);
            value = forge_list_of(&made, bytes, size);
            value.count = 5;
        }
        forge_term(&made, DBK_TERM_STREAM, "", &value);
        forge_finish(&made);
        dbk_segment *segment = world_open(&made.world, 1);
        dbk_term term;
        dbk_term_make(&term, DBK_TERM_STREAM, 7, daybook_text(""));
        dbk_term_entry entry;
        assert_ok(&made.world,
                  dbk_segment_find_term(segment, dbk_term_slice(&term), &entry, &made.world.error));
        dbk_postings *postings;
        assert_ok(&made.world, dbk_postings_open(segment, &entry, &postings, &made.world.error));
        uint64_t count;
        daybook_status status = dbk_postings_count(postings, made.base + 8, &count, &made.world.error);
        assert_int_equal(status, is_refused ? DAYBOOK_EDAMAGED : DAYBOOK_OK);
        if (!is_refused) assert_int_equal(count, 0);
        dbk_postings_close(postings);
        dbk_segment_unref(segment);
        forge_end(&made);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_read_of_a_verification_may_fail),
        cmocka_unit_test(lists_end_where_the_dictionary_says),
        cmocka_unit_test(blocks_elsewhere_than_guessed_are_read_alone),
        cmocka_unit_test(a_page_that_says_its_blocks_lie_behind_it_is_read_alone),
        cmocka_unit_test(a_block_read_with_its_page_may_be_damaged),
        cmocka_unit_test(blocks_larger_than_a_read_need_memory_of_their_own),
        cmocka_unit_test(a_view_may_move_to_another_segment),
        cmocka_unit_test(a_scan_meets_stored_bytes_that_are_no_block),
        cmocka_unit_test(a_scan_without_memory_to_unpack_in_says_so),
        cmocka_unit_test(a_page_in_the_cache_has_one_size),
        cmocka_unit_test(a_dictionary_in_the_cache_has_one_size),
        cmocka_unit_test(dictionaries_that_zstd_refuses_are_told),
        cmocka_unit_test(a_merge_meets_a_dictionary_that_changed),
        cmocka_unit_test(each_write_and_allocation_of_a_merge_may_fail),
        cmocka_unit_test(an_id_survives_its_last_event),
        cmocka_unit_test(a_long_list_that_cannot_be_written_ends_the_merge),
        cmocka_unit_test(a_full_filter_needs_memory),
        cmocka_unit_test(a_directory_of_pages_needs_memory),
        cmocka_unit_test(a_prefix_longer_than_any_term_finds_nothing),
        cmocka_unit_test(ids_are_looked_for_on_a_damaged_page),
        cmocka_unit_test(a_removed_event_of_a_new_stream_needs_memory),
        cmocka_unit_test(a_filter_is_kept_once),
        cmocka_unit_test(postings_are_counted_from_anywhere),
        cmocka_unit_test(lists_of_hostile_groups_are_counted_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
