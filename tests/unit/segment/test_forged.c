// SPDX-License-Identifier: Apache-2.0
// Parts of a segment that contradict one another under right checksums: each is told as damage by whoever
// meets it, and harms nobody.
#include <errno.h>
#include <stdlib.h>

#include "forge.h"
#include "lib/fault_allocator.h"

static void what_is_forged_without_a_lie_is_sound(void **state) {
    (void)state;
    forge made;
    forge_begin(&made, 60);
    forge_blocks(&made, 10);
    dbk_term_value value = forge_list(&made);
    forge_term(&made, DBK_TERM_STREAM, "", &value);
    forge_finish(&made);
    assert_int_equal(forge_use(&made), DAYBOOK_OK);
    forge_end(&made);
}

// ---- Posting lists ----------------------------------------------------------------------------------------

enum { EVENTS = 60 };

typedef dbk_term_value (*make_list)(forge *made);

static daybook_status use_list(make_list make) {
    forge made;
    forge_begin(&made, EVENTS);
    forge_blocks(&made, 10);
    dbk_term_value value = make(&made);
    forge_term(&made, DBK_TERM_STREAM, "", &value);
    forge_finish(&made);
    daybook_status status = forge_use(&made);
    forge_end(&made);
    return status;
}

static dbk_term_value inline_numbers_overflow(forge *made) {
    dbk_term_value value = forge_list(made);
    value.form = DBK_POSTINGS_INLINE;
    value.count = 3;
    value.inline_size = 4;
    memset(value.inline_bytes, 0xff, sizeof value.inline_bytes);
    return value;
}

static dbk_term_value page_too_large(forge *made) {
    dbk_term_value value = forge_list(made);
    value.postings_size = DBK_POSTINGS_PAGE_SIZE_MAX + 1;
    return value;
}

static dbk_term_value page_is_none(forge *made) {
    return forge_list_of(made, "\xff\xff\xff\xff\xff", 5);
}

static dbk_term_value list_begins_elsewhere(forge *made) {
    dbk_term_value value = forge_list(made);
    value.first = 1;
    return value;
}

static dbk_term_value list_ends_behind_its_last(forge *made) {
    dbk_term_value value = forge_list(made);
    value.count--;
    return value;
}

// A group of numbers as a page has it: first less the first before, count, bytes, distances less one.
static size_t put_group(uint8_t *out, uint32_t first, uint32_t count, bool is_run, uint8_t distance) {
    size_t size = dbk_put_varint(out, first);
    size += dbk_put_varint(out + size, (uint64_t)count << 1 | (is_run ? 1 : 0));
    if (is_run) return size;
    size += dbk_put_varint(out + size, count - 1);
    for (uint32_t i = 1; i < count; i++) out[size++] = distance;
    return size;
}

// The last number lies behind all of the page's.
static dbk_term_value numbers_are_missing(forge *made) {
    uint8_t bytes[32];
    return forge_list_of(made, bytes, put_group(bytes, 0, 5, true, 0));
}

static dbk_term_value last_numbers_are_missing(forge *made) {
    uint8_t bytes[32];
    return forge_list_of(made, bytes, put_group(bytes, 0, 5, false, 0));
}

// The second group begins among the numbers of the first.
static dbk_term_value groups_overlap(forge *made) {
    uint8_t bytes[64];
    size_t size = put_group(bytes, 0, 5, false, 3);
    size += put_group(bytes + size, 6, 55, true, 0);
    return forge_list_of(made, bytes, size);
}

static dbk_term_value group_is_cut(forge *made) {
    uint8_t bytes[64];
    size_t size = put_group(bytes, 0, EVENTS, false, 0);
    bytes[1] += 2; // one number more than there are distances
    return forge_list_of(made, bytes, size);
}

static void lists_that_contradict_the_dictionary_are_damage(void **state) {
    (void)state;
    static const make_list cases[] = {
        inline_numbers_overflow,
        page_too_large,
        page_is_none,
        list_begins_elsewhere,
        list_ends_behind_its_last,
        numbers_are_missing,
        groups_overlap,
        last_numbers_are_missing,
        group_is_cut,
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (use_list(cases[i]) != DAYBOOK_EDAMAGED) fail_msg("case %zu", i);
}

// ---- Directories of lists ---------------------------------------------------------------------------------

// Two pages of runs, [0, 30) and [30, end], and their directory; `change` may make a lie of it.
typedef struct directory {
    uint64_t pages_offset;
    uint32_t page_count, size;
    struct {
        uint32_t first, last, offset;
    } pages[2];
    size_t encoded_size; // 0: what it should be
    uint32_t first;      // of the dictionary
    uint64_t count;
} directory;

static dbk_term_value forge_directory(forge *made, void (*change)(directory *listed)) {
    uint8_t page[2][16], bytes[64] = {0};
    uint32_t last = (uint32_t)(made->world.next_position - 1 - made->base);
    size_t first_size = put_group(page[0], 0, 30, true, 0);
    size_t second_size = put_group(page[1], 30, last - 29, true, 0);
    directory listed = {.page_count = 2, .count = last + 1, .pages = {{0, 29, 0}, {30, last, 0}}};
    listed.pages_offset = forge_chunk(made, page[0], first_size);
    uint64_t second = forge_chunk(made, page[1], second_size);
    listed.pages[1].offset = (uint32_t)(second - listed.pages_offset);
    listed.size = listed.pages[1].offset + (uint32_t)second_size + DBK_CHUNK_CHECKSUM_SIZE;
    if (change != NULL) change(&listed);
    dbk_put_u64(bytes, listed.pages_offset);
    dbk_put_u32(bytes + 8, listed.page_count);
    dbk_put_u32(bytes + 12, listed.size);
    for (size_t i = 0; i < 2; i++) {
        dbk_put_u32(bytes + 16 + i * 12, listed.pages[i].first);
        dbk_put_u32(bytes + 20 + i * 12, listed.pages[i].last);
        dbk_put_u32(bytes + 24 + i * 12, listed.pages[i].offset);
    }
    dbk_term_value value = forge_list_of(made, bytes, listed.encoded_size == 0 ? 40 : listed.encoded_size);
    value.form = DBK_POSTINGS_DIRECTORY;
    value.first = listed.first;
    value.count = listed.count < made->world.count ? listed.count : made->world.count;
    value.last = last;
    return value;
}

static void entry_is_cut(directory *listed) {
    listed->encoded_size = 27;
}

static void head_is_cut(directory *listed) {
    listed->encoded_size = 15;
}

static void count_is_another(directory *listed) {
    listed->page_count = 3;
}

static void pages_go_back(directory *listed) {
    listed->pages[0].offset = listed->pages[1].offset;
}

static void page_has_no_room(directory *listed) {
    listed->pages[0].offset = listed->pages[1].offset - 8;
}

static void last_page_has_no_room(directory *listed) {
    listed->size = listed->pages[1].offset + 8;
}

static void page_lies_outside(directory *listed) {
    listed->pages_offset = UINT64_C(1) << 40;
}

static void page_begins_elsewhere(directory *listed) {
    listed->pages[1].first = 31;
}

static void first_page_begins_later(directory *listed) {
    listed->pages[0].first = 5;
    listed->first = 3;
}

static void pages_end_too_early(directory *listed) {
    listed->pages[1].last = 40;
}

static void second_page_is_the_first(directory *listed) {
    listed->pages[1] = listed->pages[0];
    listed->pages[1].offset = 0;
    listed->pages[1].last = 58;
    listed->size = listed->pages[0].offset + 3 + DBK_CHUNK_CHECKSUM_SIZE;
}

static void directories_that_contradict_their_pages_are_damage(void **state) {
    (void)state;
    static void (*const cases[])(directory *) = {
        entry_is_cut,          head_is_cut,         count_is_another,         pages_go_back,
        page_has_no_room,      page_lies_outside,   page_begins_elsewhere,    first_page_begins_later,
        last_page_has_no_room, pages_end_too_early, second_page_is_the_first,
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        forge made;
        forge_begin(&made, EVENTS);
        forge_blocks(&made, 10);
        dbk_term_value value = forge_directory(&made, cases[i]);
        forge_term(&made, DBK_TERM_STREAM, "", &value);
        forge_finish(&made);
        if (forge_use(&made) != DAYBOOK_EDAMAGED) fail_msg("case %zu", i);
        forge_end(&made);
    }
}

// ---- Block index ------------------------------------------------------------------------------------------

static daybook_status use_blocks(void (*change)(dbk_block_info *blocks, uint32_t count)) {
    forge made;
    forge_begin(&made, EVENTS);
    made.change_blocks = change;
    forge_blocks(&made, 10);
    dbk_term_value value = forge_list(&made);
    forge_term(&made, DBK_TERM_STREAM, "", &value);
    forge_finish(&made);
    daybook_status status = forge_use(&made);
    forge_end(&made);
    return status;
}

static void begins_in_front_of_the_segment(dbk_block_info *blocks, uint32_t count) {
    (void)count;
    blocks[0].position_first -= 5;
}

static void lies_far_away(dbk_block_info *blocks, uint32_t count) {
    blocks[count - 1].file_offset += UINT64_C(5) << 30;
}

static void lies_behind_the_page(dbk_block_info *blocks, uint32_t count) {
    blocks[count - 1].file_offset += 1 << 20;
}

static void reaches_behind_the_page(dbk_block_info *blocks, uint32_t count) {
    blocks[count - 1].file_bytes += 100;
}

static void has_fewer_events(dbk_block_info *blocks, uint32_t count) {
    (void)count;
    blocks[1].event_count--;
}

static void begins_later(dbk_block_info *blocks, uint32_t count) {
    (void)count;
    blocks[1].position_first++;
}

static void ends_earlier(dbk_block_info *blocks, uint32_t count) {
    (void)count;
    blocks[1].position_last--;
}

static void was_recorded_later(dbk_block_info *blocks, uint32_t count) {
    (void)count;
    blocks[1].recorded_first_ns++;
}

static void was_recorded_until_later(dbk_block_info *blocks, uint32_t count) {
    (void)count;
    blocks[1].recorded_last_ns++;
}

static void happened_earlier(dbk_block_info *blocks, uint32_t count) {
    (void)count;
    blocks[1].time_min_ns--;
}

static void happened_later(dbk_block_info *blocks, uint32_t count) {
    (void)count;
    blocks[1].time_max_ns++;
}

static void blocks_unlike_their_index_are_damage(void **state) {
    (void)state;
    static void (*const cases[])(dbk_block_info *, uint32_t) = {
        begins_in_front_of_the_segment,
        lies_far_away,
        lies_behind_the_page,
        reaches_behind_the_page,
        has_fewer_events,
        begins_later,
        ends_earlier,
        was_recorded_later,
        was_recorded_until_later,
        happened_earlier,
        happened_later,
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (use_blocks(cases[i]) != DAYBOOK_EDAMAGED) fail_msg("case %zu", i);
}

// ---- Footer -----------------------------------------------------------------------------------------------

static daybook_status use_footer(size_t events_of_a_block, void (*change)(dbk_footer *footer)) {
    forge made;
    // One block more than a page of the block index has.
    forge_begin(&made, events_of_a_block == 1 ? DBK_BLOCK_PAGE_COUNT + 1 : EVENTS);
    forge_blocks(&made, events_of_a_block);
    dbk_term_value value = forge_list(&made);
    forge_term(&made, DBK_TERM_STREAM, "", &value);
    forge_finish(&made);
    assert_int_equal(forge_use(&made), DAYBOOK_OK);
    forge_footer(&made, change);
    daybook_status status = forge_use(&made);
    forge_end(&made);
    return status;
}

static void catalogue_is_too_large(dbk_footer *footer) {
    footer->catalogue_size = UINT64_C(1) << 40;
}

static void catalogue_lies_outside(dbk_footer *footer) {
    footer->catalogue_offset = UINT64_C(1) << 40;
}

static void has_more_terms(dbk_footer *footer) {
    footer->root.term_count++;
}

static void has_more_events(dbk_footer *footer) {
    footer->summary.event_count++;
}

static void has_events_for_more_blocks(dbk_footer *footer) {
    footer->summary.event_count = UINT64_C(1) << 50;
}

static void has_more_blocks_than_bytes(dbk_footer *footer) {
    footer->block_count = 0;
    footer->block_page_count = 0;
    footer->root.size = footer->root.height = 0;
}

static void page_ends_in_front_of_the_segment(dbk_footer *footer) {
    footer->block_pages[0].position_last = footer->summary.position_first - 1;
}

static void page_ends_behind_the_segment(dbk_footer *footer) {
    footer->block_pages[0].position_last = footer->summary.position_last + 1;
}

static void page_lies_outside_of_the_file(dbk_footer *footer) {
    footer->block_pages[0].offset = UINT64_C(1) << 40;
}

static void blocks_lie_behind_their_page(dbk_footer *footer) {
    footer->block_pages[0].first_block_offset = footer->block_pages[0].offset + 1;
}

static void blocks_lie_outside_of_the_file(dbk_footer *footer) {
    footer->block_pages[0].first_block_offset = UINT64_C(1) << 40;
    footer->block_pages[0].offset = UINT64_C(1) << 41;
}

static void pages_lie_at_one_place(dbk_footer *footer) {
    footer->block_pages[1].offset = footer->block_pages[0].offset;
    footer->block_pages[1].size = footer->block_pages[0].size;
}

static void pages_describe_the_same_blocks(dbk_footer *footer) {
    footer->block_pages[1].first_block_offset = footer->block_pages[0].first_block_offset;
}

static void first_page_ends_at_once(dbk_footer *footer) {
    footer->block_pages[0].position_last = footer->summary.position_first;
}

static void incarnation_is_another(dbk_footer *footer) {
    footer->incarnation++;
}

static void store_is_another(dbk_footer *footer) {
    footer->store_uuid.bytes[0]++;
}

static void range_begins_earlier(dbk_footer *footer) {
    footer->summary.position_first--;
}

static void range_ends_later(dbk_footer *footer) {
    footer->summary.position_last++;
}

static void root_lies_outside(dbk_footer *footer) {
    footer->root.offset = UINT64_C(1) << 40;
}

static void root_is_of_another_level(dbk_footer *footer) {
    footer->root.height++;
}

static void root_is_of_another_size(dbk_footer *footer) {
    footer->root.size--;
}

static void streams_are_others(dbk_footer *footer) {
    footer->streams[0].stream_id++;
}

static void footers_that_contradict_the_rest_are_damage(void **state) {
    (void)state;
    static const struct {
        void (*change)(dbk_footer *);
        size_t events_of_a_block;
        daybook_status status;
    } cases[] = {
        {catalogue_is_too_large, 10, DAYBOOK_EDAMAGED},
        {catalogue_lies_outside, 10, DAYBOOK_EDAMAGED},
        {has_more_terms, 10, DAYBOOK_EDAMAGED},
        {has_more_events, 10, DAYBOOK_EDAMAGED},
        {has_events_for_more_blocks, 10, DAYBOOK_EDAMAGED},
        {has_more_blocks_than_bytes, 10, DAYBOOK_EDAMAGED},
        {page_ends_in_front_of_the_segment, 10, DAYBOOK_EDAMAGED},
        {page_ends_behind_the_segment, 10, DAYBOOK_EDAMAGED},
        {page_lies_outside_of_the_file, 10, DAYBOOK_EDAMAGED},
        {blocks_lie_behind_their_page, 10, DAYBOOK_EDAMAGED},
        {blocks_lie_outside_of_the_file, 10, DAYBOOK_EDAMAGED},
        {pages_lie_at_one_place, 1, DAYBOOK_EDAMAGED},
        {pages_describe_the_same_blocks, 1, DAYBOOK_EDAMAGED},
        {first_page_ends_at_once, 1, DAYBOOK_EDAMAGED},
        {incarnation_is_another, 10, DAYBOOK_EDAMAGED},
        {store_is_another, 10, DAYBOOK_EFOREIGN},
        {range_begins_earlier, 10, DAYBOOK_EDAMAGED},
        {range_ends_later, 10, DAYBOOK_EDAMAGED},
        {root_lies_outside, 10, DAYBOOK_EDAMAGED},
        {root_is_of_another_level, 10, DAYBOOK_EDAMAGED},
        {root_is_of_another_size, 10, DAYBOOK_EDAMAGED},
        {streams_are_others, 10, DAYBOOK_EDAMAGED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (use_footer(cases[i].events_of_a_block, cases[i].change) != cases[i].status)
            fail_msg("case %zu", i);
}

// ---- Trees ------------------------------------------------------------------------------------------------

// Two leaves below a page; in front of the second leaf's terms stands "b".
typedef struct forged_tree {
    forge made;
    uint64_t leaves[2], list;
    uint32_t leaf_sizes[2], list_size;
    dbk_term_page_builder page;
} forged_tree;

static void begin_tree(forged_tree *tree) {
    forge *made = &tree->made;
    forge_begin(made, EVENTS);
    forge_blocks(made, 10);
    dbk_term_value value = forge_list(made), alike = value;
    tree->list = value.postings_offset;
    tree->list_size = value.postings_size;
    value.last_version = 5;
    for (int i = 0; i < 2; i++) {
        dbk_term_page_begin(&made->leaf, 0);
        if (i == 0) {
            forge_term(made, DBK_TERM_STREAM, "", &alike);
            forge_term(made, DBK_TERM_AGGREGATE, "orders0.1", &value);
        } else {
            forge_term(made, DBK_TERM_TYPE, "b", &alike);
            dbk_term_value dead = {.dead_stream_id = 7, .dead_removed_ns = 5, .dead_for_ever = true};
            forge_term(made, (dbk_term_kind)DBK_TERM_DEAD_ID, "0123456789abcdef", &dead);
        }
        dbk_slice leaf = dbk_term_page_finish(&made->leaf);
        made->root.term_count += made->leaf.entry_count;
        tree->leaves[i] = forge_chunk(made, leaf.data, leaf.size);
        tree->leaf_sizes[i] = (uint32_t)leaf.size;
    }
    dbk_term_page_begin(&tree->page, 1);
}

static void add_child(forged_tree *tree, const char *separator, int leaf) {
    dbk_term_page_add_child(&tree->page, daybook_text(separator), tree->leaves[leaf], tree->leaf_sizes[leaf]);
}

static void end_tree(forged_tree *tree) {
    dbk_slice page = dbk_term_page_finish(&tree->page);
    dbk_tree_root *root = &tree->made.root;
    root->height = 2;
    root->size = (uint32_t)page.size;
    root->offset = forge_chunk(&tree->made, page.data, page.size);
    forge_finish(&tree->made);
}

// Each byte of each part, changed in a few ways: whatever it becomes, nobody is harmed and all that is
// answered is one of a few statuses (forge_use asserts it).
static void change_each_byte(forge *made, uint64_t offset, size_t size) {
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    forge_read(made, offset, bytes, size);
    static const uint8_t changes[] = {0x01, 0x80, 0xff, 0x10};
    for (size_t at = 0; at < size; at++) {
        for (size_t i = 0; i < sizeof changes; i++) {
            uint8_t before = bytes[at];
            bytes[at] ^= changes[i];
            forge_write(made, offset, bytes, size, true);
            (void)forge_use(made);
            bytes[at] = before;
        }
    }
    forge_write(made, offset, bytes, size, true);
    assert_int_equal(forge_use(made), DAYBOOK_OK);
    free(bytes);
}

static void each_byte_changed_under_its_checksum_harms_nobody(void **state) {
    (void)state;
    static forged_tree tree;
    memset(&tree, 0, sizeof tree);
    begin_tree(&tree);
    add_child(&tree, "", 0);
    add_child(&tree, "\x08", 1);
    end_tree(&tree);
    forge *made = &tree.made;
    assert_int_equal(forge_use(made), DAYBOOK_OK);
    dbk_segment *segment = world_open(&made->world, 1);
    dbk_footer *footer = &segment->footer;
    dbk_block_page page = footer->block_pages[0];
    uint64_t footer_offset = segment->tail.footer_offset;
    size_t footer_size = (size_t)segment->tail.footer_size;
    dbk_segment_unref(segment);
    change_each_byte(made, made->root.offset, made->root.size);
    change_each_byte(made, tree.leaves[0], tree.leaf_sizes[0]);
    change_each_byte(made, tree.leaves[1], tree.leaf_sizes[1]);
    change_each_byte(made, tree.list, tree.list_size);
    change_each_byte(made, page.offset, page.size);
    change_each_byte(made, footer_offset, footer_size);
    forge_end(made);
}

static void leaves_out_of_order_are_damage(void **state) {
    (void)state;
    static forged_tree tree;
    memset(&tree, 0, sizeof tree);
    begin_tree(&tree);
    add_child(&tree, "", 1);
    add_child(&tree, "\x08", 0);
    end_tree(&tree);
    assert_int_equal(forge_use(&tree.made), DAYBOOK_EDAMAGED);
    forge_end(&tree.made);
}

// Every page names the one below as often as it has room for: a walk through all of them would not end.
static void pages_with_many_parents_end_a_walk(void **state) {
    (void)state;
    static forged_tree tree;
    memset(&tree, 0, sizeof tree);
    begin_tree(&tree);
    uint64_t offset = tree.leaves[0];
    uint32_t size = tree.leaf_sizes[0];
    for (uint8_t level = 1; level < 6; level++) {
        dbk_term_page_begin(&tree.page, level);
        for (char child = 'a'; child < 'z'; child++)
            dbk_term_page_add_child(&tree.page, daybook_bytes(&child, 1), offset, size);
        dbk_slice page = dbk_term_page_finish(&tree.page);
        size = (uint32_t)page.size;
        offset = forge_chunk(&tree.made, page.data, page.size);
    }
    tree.made.root = (dbk_tree_root){.offset = offset, .size = size, .height = 6, .term_count = 2};
    forge_finish(&tree.made);
    assert_int_equal(forge_use(&tree.made), DAYBOOK_EDAMAGED);
    forge_end(&tree.made);
}

// ---- Dictionaries for compression -------------------------------------------------------------------------

// Two dictionaries; the blocks need none.
static void begin_with_dictionaries(forge *made) {
    forge_begin(made, EVENTS);
    uint32_t number;
    static const char texts[2][40] = {"a dictionary of words that nobody uses",
                                      "another one, of other words, for nobody"};
    for (int i = 0; i < 2; i++)
        assert_ok(&made->world, dbk_assembly_add_dictionary(&made->assembly, daybook_bytes(texts[i], 39),
                                                            &number, &made->world.error));
    // What is there already is not stored again.
    assert_ok(&made->world, dbk_assembly_add_dictionary(&made->assembly, daybook_bytes(texts[0], 39), &number,
                                                        &made->world.error));
    assert_int_equal(number, 1);
}

static void copies_lie_apart(dbk_footer *footer) {
    footer->dictionaries[0].copy_offset--;
}

static void copies_lie_outside(dbk_footer *footer) {
    footer->dictionaries[0].copy_offset = UINT64_C(1) << 40;
    footer->dictionaries[1].copy_offset = footer->dictionaries[0].copy_offset + 39 + 8;
}

static void last_copy_reaches_outside(dbk_footer *footer) {
    footer->dictionaries[1].size = DBK_DICTIONARY_SIZE_MAX;
}

static void two_share_a_copy(dbk_footer *footer) {
    footer->dictionaries[1].copy_offset = footer->dictionaries[0].copy_offset;
    footer->dictionaries[1].size--;
}

static void dictionaries_in_wrong_places_are_damage(void **state) {
    (void)state;
    static void (*const cases[])(dbk_footer *) = {copies_lie_apart, copies_lie_outside,
                                                  last_copy_reaches_outside, two_share_a_copy};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        forge made;
        begin_with_dictionaries(&made);
        forge_blocks(&made, 10);
        dbk_term_value value = forge_list(&made);
        forge_term(&made, DBK_TERM_STREAM, "", &value);
        forge_finish(&made);
        assert_int_equal(forge_use(&made), DAYBOOK_OK);
        forge_footer(&made, cases[i]);
        dbk_segment *segment = world_open(&made.world, 1);
        dbk_cache_entry *entry = NULL;
        for (uint32_t number = 1; number <= 2; number++) {
            daybook_status status = dbk_segment_load_decoder(segment, number, &entry, &made.world.error);
            assert_true(status == DAYBOOK_OK || status == DAYBOOK_EDAMAGED);
            dbk_cache_release(made.world.cache, entry);
        }
        dbk_segment_unref(segment);
        if (forge_use(&made) != DAYBOOK_EDAMAGED) fail_msg("case %zu", i);
        forge_end(&made);
    }
}

// A block that says it needs dictionary `number`.
static daybook_status use_block_with_dictionary(uint32_t number, bool has_magic) {
    forge made;
    begin_with_dictionaries(&made);
    if (has_magic) { // zstd takes what begins so for a dictionary of its own making, and finds none
        uint32_t ignored;
        uint8_t bad[64] = {0x37, 0xa4, 0x30, 0xec};
        assert_ok(&made.world, dbk_assembly_add_dictionary(&made.assembly, daybook_bytes(bad, sizeof bad),
                                                           &ignored, &made.world.error));
    }
    dbk_block_builder *builder;
    assert_int_equal(dbk_block_builder_new(made.world.allocator, &builder), DAYBOOK_OK);
    for (size_t i = 0; i < EVENTS; i++)
        assert_int_equal(dbk_block_builder_add(builder, &made.world.events[i].event), DAYBOOK_OK);
    dbk_block_head head;
    dbk_slice payload, stored;
    assert_int_equal(dbk_block_builder_finish(builder, NULL, 0, &head, &payload), DAYBOOK_OK);
    assert_true(dbk_block_head_decode(payload, &head, &stored));
    head.dictionary = number;
    dbk_buf buf;
    dbk_buf_init(&buf, made.world.allocator, 1 << 20);
    dbk_block_head_encode(&head, &buf);
    dbk_buf_append_slice(&buf, stored);
    assert_ok(&made.world, dbk_assembly_add_block(&made.assembly, &head, daybook_bytes(buf.data, buf.size),
                                                  &made.world.error));
    dbk_buf_deinit(&buf);
    dbk_block_builder_free(builder);
    assert_ok(&made.world, dbk_assembly_end_blocks(&made.assembly, &made.world.error));
    dbk_term_value value = forge_list(&made);
    forge_term(&made, DBK_TERM_STREAM, "", &value);
    forge_finish(&made);
    daybook_status status = forge_use(&made);
    forge_end(&made);
    return status;
}

static void blocks_of_a_dictionary_that_is_none_are_damage(void **state) {
    (void)state;
    assert_int_equal(use_block_with_dictionary(0, false), DAYBOOK_OK);
    assert_int_equal(use_block_with_dictionary(3, false), DAYBOOK_EDAMAGED);
    assert_int_equal(use_block_with_dictionary(3, true), DAYBOOK_EDAMAGED);
}

// ---- The disk and the memory fail -------------------------------------------------------------------------

static void make_tree_with_dictionaries(forged_tree *tree) {
    memset(tree, 0, sizeof *tree);
    begin_tree(tree);
    add_child(tree, "", 0);
    add_child(tree, "\x08", 1);
    end_tree(tree);
}

static void check_failing_reads(forge *made) {
    made->is_failing = true;
    for (uint64_t nth = 1;; nth++) {
        for (int is_forever = 0; is_forever < 2; is_forever++) {
            dbk_sim_fault fault = {.kind = DBK_SIM_READ,
                                   .nth = nth,
                                   .error = is_forever ? ENOMEM : EIO,
                                   .is_forever = is_forever};
            uint64_t hits = dbk_sim_fault_hits(made->world.sim);
            assert_int_equal(dbk_sim_fail(made->world.sim, &fault), DAYBOOK_OK);
            (void)forge_use(made);
            dbk_sim_clear_faults(made->world.sim);
            assert_int_equal(dbk_sim_open_files(made->world.sim), 0);
            if (dbk_sim_fault_hits(made->world.sim) == hits) return;
        }
    }
}

static void check_failing_memory(forge *made, unsigned stride) {
    fault_allocator faults;
    fault_allocator_init(&faults);
    const daybook_allocator *before = made->world.allocator;
    made->world.allocator = &faults.allocator;
    made->is_failing = true;
    for (uint64_t nth = 1;; nth += nth < 300 ? 1 : stride) {
        fault_allocator_fail(&faults, nth, false);
        (void)forge_use(made);
        bool has_failed = fault_allocator_has_failed(&faults);
        assert_int_equal(fault_allocator_live(&faults), 0);
        if (!has_failed) break;
    }
    made->world.allocator = before;
}

static void each_read_that_fails_is_told(void **state) {
    (void)state;
    static forged_tree tree;
    make_tree_with_dictionaries(&tree);
    check_failing_reads(&tree.made);
    forge_end(&tree.made);
    forge made;
    forge_written(&made, 160);
    check_failing_reads(&made);
    forge_end(&made);
}

static void each_allocation_that_fails_is_told(void **state) {
    (void)state;
    static forged_tree tree;
    make_tree_with_dictionaries(&tree);
    check_failing_memory(&tree.made, 3);
    // Also where a page of the block index must be made again.
    dbk_segment *segment = world_open(&tree.made.world, 1);
    uint64_t offset = segment->footer.block_pages[0].offset;
    dbk_segment_unref(segment);
    forge_write(&tree.made, offset, "\xff\xff\xff", 3, false);
    check_failing_memory(&tree.made, 3);
    check_failing_reads(&tree.made);
    forge_end(&tree.made);
    forge made;
    forge_written(&made, 160);
    check_failing_memory(&made, 7);
    forge_end(&made);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_forged_without_a_lie_is_sound),
        cmocka_unit_test(lists_that_contradict_the_dictionary_are_damage),
        cmocka_unit_test(directories_that_contradict_their_pages_are_damage),
        cmocka_unit_test(blocks_unlike_their_index_are_damage),
        cmocka_unit_test(footers_that_contradict_the_rest_are_damage),
        cmocka_unit_test(each_byte_changed_under_its_checksum_harms_nobody),
        cmocka_unit_test(leaves_out_of_order_are_damage),
        cmocka_unit_test(pages_with_many_parents_end_a_walk),
        cmocka_unit_test(dictionaries_in_wrong_places_are_damage),
        cmocka_unit_test(blocks_of_a_dictionary_that_is_none_are_damage),
        cmocka_unit_test(each_read_that_fails_is_told),
        cmocka_unit_test(each_allocation_that_fails_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
