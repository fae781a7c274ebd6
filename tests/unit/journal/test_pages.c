// SPDX-License-Identifier: Apache-2.0
// Pages, groups and the map as values.
#include "fixture.h"
#include "lib/fault_allocator.h"

static dbk_journal_identity identity_of(uint8_t byte, uint64_t incarnation) {
    dbk_uuid uuid;
    memset(uuid.bytes, byte, sizeof uuid.bytes);
    dbk_journal_identity identity;
    dbk_journal_identity_init(&identity, &uuid, incarnation);
    return identity;
}

static void make_page(uint8_t *page, const dbk_journal_identity *identity, uint64_t lsn) {
    for (size_t i = 0; i < DBK_JOURNAL_PAGE_SIZE; i++) page[i] = (uint8_t)(i * 7);
    dbk_journal_page head = {.flags = 0, .payload_size = 4000, .epoch = 3, .lsn = lsn, .group_lsn = lsn - 2};
    (void)dbk_journal_page_encode(page, identity, &head);
}

static void page_round_trips_and_is_left_as_it_was(void **state) {
    (void)state;
    uint8_t page[DBK_JOURNAL_PAGE_SIZE];
    uint8_t before[DBK_JOURNAL_PAGE_SIZE];
    dbk_journal_identity identity = identity_of(1, 2);
    make_page(page, &identity, 77);
    memcpy(before, page, sizeof page);
    dbk_journal_page head;
    assert_int_equal(dbk_journal_page_decode(page, &identity, 77, &head), DBK_JOURNAL_PAGE_VALID);
    assert_memory_equal(before, page, sizeof page);
    assert_int_equal(head.payload_size, 4000);
    assert_int_equal(head.epoch, 3);
    assert_int_equal(head.lsn, 77);
    assert_int_equal(head.group_lsn, 75);
}

static void page_with_any_byte_changed_is_not_valid(void **state) {
    (void)state;
    uint8_t page[DBK_JOURNAL_PAGE_SIZE];
    dbk_journal_identity identity = identity_of(1, 2);
    make_page(page, &identity, 77);
    dbk_journal_page head;
    for (size_t i = 0; i < sizeof page; i++) {
        for (unsigned bit = 0; bit < 8; bit += i < 64 ? 1 : 5) {
            page[i] ^= (uint8_t)(1u << bit);
            assert_int_not_equal(dbk_journal_page_decode(page, &identity, 77, &head), DBK_JOURNAL_PAGE_VALID);
            page[i] ^= (uint8_t)(1u << bit);
        }
    }
    assert_int_equal(dbk_journal_page_decode(page, &identity, 77, &head), DBK_JOURNAL_PAGE_VALID);
}

static void page_is_valid_only_where_it_belongs(void **state) {
    (void)state;
    uint8_t page[DBK_JOURNAL_PAGE_SIZE];
    dbk_journal_identity identity = identity_of(1, 2);
    dbk_journal_identity twin = identity_of(1, 3);
    dbk_journal_identity stranger = identity_of(2, 2);
    make_page(page, &identity, 77);
    dbk_journal_page head;
    assert_int_equal(dbk_journal_page_decode(page, &identity, 78, &head), DBK_JOURNAL_PAGE_OTHER);
    assert_int_equal(dbk_journal_page_decode(page, &twin, 77, &head), DBK_JOURNAL_PAGE_FOREIGN);
    assert_int_equal(dbk_journal_page_decode(page, &stranger, 77, &head), DBK_JOURNAL_PAGE_FOREIGN);
    page[100] ^= 1;
    assert_int_equal(dbk_journal_page_decode(page, &stranger, 77, &head), DBK_JOURNAL_PAGE_BROKEN);
    assert_int_equal(dbk_journal_page_decode(page, &identity, 77, &head), DBK_JOURNAL_PAGE_BROKEN);
    memset(page, 0, sizeof page);
    assert_int_equal(dbk_journal_page_decode(page, &identity, 77, &head), DBK_JOURNAL_PAGE_EMPTY);
}

static void page_with_impossible_fields_is_broken_though_its_checksum_fits(void **state) {
    (void)state;
    uint8_t page[DBK_JOURNAL_PAGE_SIZE] = {0};
    dbk_journal_identity identity = identity_of(1, 2);
    const dbk_journal_page heads[] = {
        {.flags = 4, .payload_size = 32, .epoch = 1, .lsn = 9, .group_lsn = 9},
        {.payload_size = DBK_JOURNAL_PAGE_PAYLOAD + 1, .epoch = 1, .lsn = 9, .group_lsn = 9},
        {.payload_size = 32, .epoch = 1, .lsn = 9, .group_lsn = 10},
    };
    dbk_journal_page head;
    for (size_t i = 0; i < 3; i++) {
        (void)dbk_journal_page_encode(page, &identity, &heads[i]);
        assert_int_equal(dbk_journal_page_decode(page, &identity, 9, &head), DBK_JOURNAL_PAGE_BROKEN);
    }
}

static void pages_for_counts_the_group_head(void **state) {
    (void)state;
    assert_int_equal(dbk_journal_pages_for(0), 1);
    assert_int_equal(dbk_journal_pages_for(DBK_JOURNAL_PAGE_PAYLOAD - 32), 1);
    assert_int_equal(dbk_journal_pages_for(DBK_JOURNAL_PAGE_PAYLOAD - 31), 2);
    assert_int_equal(dbk_journal_pages_for(2 * DBK_JOURNAL_PAGE_PAYLOAD - 32), 2);
    assert_int_equal(dbk_journal_pages_for(2 * DBK_JOURNAL_PAGE_PAYLOAD - 31), 3);
}

// Every sealed page decodes, the payload is where it should be, and the rest of the last page is zero.
static void check_sealed(const dbk_journal_group *group, const uint8_t *expected, uint64_t lsn,
                         const dbk_journal_identity *identity) {
    uint64_t page_count = dbk_journal_pages_for(group->size);
    size_t done = 0;
    for (uint64_t i = 0; i < page_count; i++) {
        uint8_t *page = group->pages + i * DBK_JOURNAL_PAGE_SIZE;
        dbk_journal_page head;
        assert_int_equal(dbk_journal_page_decode(page, identity, lsn + i, &head), DBK_JOURNAL_PAGE_VALID);
        assert_int_equal(head.group_lsn, lsn);
        size_t skipped = i == 0 ? DBK_JOURNAL_GROUP_HEAD_SIZE : 0;
        size_t size = head.payload_size - skipped;
        if (size > 0) {
            assert_memory_equal(page + DBK_JOURNAL_PAGE_HEAD_SIZE + skipped, expected + done, size);
        }
        done += size;
        for (size_t at = DBK_JOURNAL_PAGE_HEAD_SIZE + head.payload_size; at < DBK_JOURNAL_PAGE_SIZE; at++) {
            assert_int_equal(page[at], 0);
        }
    }
    assert_int_equal(done, group->size);
}

static void groups_of_all_sizes_lie_in_their_pages(void **state) {
    (void)state;
    enum { SIZE_MAX_TESTED = 3 * DBK_JOURNAL_PAGE_PAYLOAD };
    static uint8_t expected[SIZE_MAX_TESTED + 100];
    dbk_journal_identity identity = identity_of(1, 2);
    dbk_journal_group *group = NULL;
    assert_int_equal(dbk_journal_group_new_with(dbk_allocator_default(), &group), DAYBOOK_OK);
    for (size_t i = 0; i < sizeof expected; i++) expected[i] = (uint8_t)(i * 31 + i / 256);
    for (size_t size = 0; size <= SIZE_MAX_TESTED; size += size % 4032 > 3990 || size % 4032 < 40 ? 1 : 97) {
        dbk_journal_group_reset(group);
        for (size_t done = 0; done < size;) {
            size_t part = 1 + (done * 13) % 700;
            if (part > size - done) part = size - done;
            assert_int_equal(dbk_journal_group_append(group, expected + done, part), DAYBOOK_OK);
            done += part;
        }
        assert_int_equal(dbk_journal_group_size(group), size);
        dbk_journal_seal seal = {.epoch = 1, .lsn = 500, .durable_lsn = 500, .previous_checksum = 7};
        uint64_t first = dbk_journal_group_seal(group, &identity, &seal);
        check_sealed(group, expected, 500, &identity);
        assert_true(first == dbk_journal_group_seal(group, &identity, &seal)); // sealing again gives the same
    }
    dbk_journal_group_free(group);
}

static void truncated_group_is_as_if_never_longer(void **state) {
    (void)state;
    static uint8_t bytes[20000];
    memset(bytes, 'x', sizeof bytes);
    dbk_journal_identity identity = identity_of(1, 2);
    dbk_journal_seal seal = {.epoch = 1, .lsn = 500, .durable_lsn = 500};
    dbk_journal_group *group = NULL;
    dbk_journal_group *fresh = NULL;
    assert_int_equal(dbk_journal_group_new_with(dbk_allocator_default(), &group), DAYBOOK_OK);
    assert_int_equal(dbk_journal_group_new_with(dbk_allocator_default(), &fresh), DAYBOOK_OK);
    assert_int_equal(dbk_journal_group_append(group, bytes, 20000), DAYBOOK_OK);
    dbk_journal_group_truncate(group, 4500);
    assert_int_equal(dbk_journal_group_append(group, "end", 3), DAYBOOK_OK);
    assert_int_equal(dbk_journal_group_append(fresh, bytes, 4500), DAYBOOK_OK);
    assert_int_equal(dbk_journal_group_append(fresh, "end", 3), DAYBOOK_OK);
    assert_true(dbk_journal_group_seal(group, &identity, &seal) ==
                dbk_journal_group_seal(fresh, &identity, &seal));
    assert_memory_equal(group->pages, fresh->pages, 2 * DBK_JOURNAL_PAGE_SIZE);
    dbk_journal_group_free(group);
    dbk_journal_group_free(fresh);
}

static void group_out_of_memory_stays_as_it_was(void **state) {
    (void)state;
    static uint8_t bytes[300000];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i >> 3);
    fault_allocator faults;
    fault_allocator_init(&faults);
    dbk_journal_group *group = NULL;
    assert_int_equal(dbk_journal_group_new_with(&faults.allocator, &group), DAYBOOK_OK);
    assert_int_equal(dbk_journal_group_append(group, bytes, 5000), DAYBOOK_OK);
    fault_allocator_fail(&faults, 1, true);
    assert_int_equal(dbk_journal_group_append(group, bytes + 5000, 295000), DAYBOOK_ENOMEM);
    assert_int_equal(dbk_journal_group_size(group), 5000);
    fault_allocator_fail(&faults, 0, false);
    assert_int_equal(dbk_journal_group_append(group, bytes + 5000, 295000), DAYBOOK_OK);
    dbk_journal_identity identity = identity_of(1, 2);
    dbk_journal_seal seal = {.epoch = 1, .lsn = 500, .durable_lsn = 500};
    (void)dbk_journal_group_seal(group, &identity, &seal);
    check_sealed(group, bytes, 500, &identity);
    // A large group's memory goes back when small ones follow.
    uint64_t large = fault_allocator_live_bytes(&faults);
    for (int i = 0; i < 20; i++) {
        dbk_journal_group_reset(group);
        assert_int_equal(dbk_journal_group_append(group, bytes, 100), DAYBOOK_OK);
    }
    assert_true(fault_allocator_live_bytes(&faults) <= large);
    dbk_journal_group_free(group);
    assert_int_equal(fault_allocator_live(&faults), 0);
}

static void map_gives_runs_of_neighbours(void **state) {
    (void)state;
    static const uint32_t pieces[] = {3, 4, 5, 0, 1, 2, 6};
    dbk_journal_map map = {.first_lsn = 2560, .piece_count = 7, .pieces = pieces};
    assert_int_equal(dbk_journal_map_check(dbk_allocator_default(), &map, "journal", NULL), DAYBOOK_OK);
    assert_int_equal(dbk_journal_map_end(&map), 2560 + 7 * 256);
    assert_int_equal(dbk_journal_map_offset(&map, 2560), 3 * DBK_JOURNAL_PIECE_SIZE);
    assert_int_equal(dbk_journal_map_offset(&map, 2560 + 3 * 256 + 1), DBK_JOURNAL_PAGE_SIZE);
    assert_int_equal(dbk_journal_map_run(&map, 2560, 10000), 3 * 256);
    assert_int_equal(dbk_journal_map_run(&map, 2560 + 10, 10000), 3 * 256 - 10);
    assert_int_equal(dbk_journal_map_run(&map, 2560 + 10, 5), 5);
    assert_int_equal(dbk_journal_map_run(&map, 2560 + 6 * 256, 10000), 256);
}

static void map_with_a_piece_missing_or_twice_is_damage(void **state) {
    (void)state;
    static const uint32_t twice[] = {0, 1, 1};
    static const uint32_t beyond[] = {0, 1, 3};
    dbk_journal_map map = {.first_lsn = 256, .piece_count = 3, .pieces = twice};
    assert_int_equal(dbk_journal_map_check(dbk_allocator_default(), &map, "journal", NULL), DAYBOOK_EDAMAGED);
    map.pieces = beyond;
    assert_int_equal(dbk_journal_map_check(dbk_allocator_default(), &map, "journal", NULL), DAYBOOK_EDAMAGED);
    map.piece_count = 2;
    assert_int_equal(dbk_journal_map_check(dbk_allocator_default(), &map, "journal", NULL), DAYBOOK_OK);
    map.first_lsn = 255;
    assert_int_equal(dbk_journal_map_check(dbk_allocator_default(), &map, "journal", NULL), DAYBOOK_EDAMAGED);
    map.first_lsn = UINT64_MAX / 256 * 256;
    assert_int_equal(dbk_journal_map_check(dbk_allocator_default(), &map, "journal", NULL), DAYBOOK_EDAMAGED);
    map = (dbk_journal_map){.piece_count = 0};
    assert_int_equal(dbk_journal_map_check(dbk_allocator_default(), &map, "journal", NULL), DAYBOOK_EDAMAGED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(page_round_trips_and_is_left_as_it_was),
        cmocka_unit_test(page_with_any_byte_changed_is_not_valid),
        cmocka_unit_test(page_is_valid_only_where_it_belongs),
        cmocka_unit_test(page_with_impossible_fields_is_broken_though_its_checksum_fits),
        cmocka_unit_test(pages_for_counts_the_group_head),
        cmocka_unit_test(groups_of_all_sizes_lie_in_their_pages),
        cmocka_unit_test(truncated_group_is_as_if_never_longer),
        cmocka_unit_test(group_out_of_memory_stays_as_it_was),
        cmocka_unit_test(map_gives_runs_of_neighbours),
        cmocka_unit_test(map_with_a_piece_missing_or_twice_is_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
