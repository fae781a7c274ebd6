// SPDX-License-Identifier: Apache-2.0
// Pages whose checksums fit and whose fields cannot be: no crash leaves them, so recovery must call them
// damage; and what recovery does when the system fails it at one call or another.
#include <errno.h>

#include "fixture.h"

static dbk_journal_identity identity_of(const test_log *log) {
    dbk_journal_identity identity;
    dbk_journal_identity_init(&identity, &log->config.store_uuid, log->config.incarnation);
    return identity;
}

// A journal of two pieces: an epoch page, groups of one page, and one of several pages across the pieces'
// border.
static void make_log(test_log *log) {
    log_init(log, 71, 2);
    log_reopen(log);
    for (int i = 0; i < 20; i++) log_append(log, 100);
    for (int i = 0; i < 8; i++) log_append(log, 40 * 4000);
    log_close(log);
}

// The first group of one page (or of several) from the first on.
static uint64_t group_with(const test_log *log, bool has_several_pages) {
    for (size_t i = 0; i < log->count; i++) {
        bool several = log->groups[i].next_lsn - log->groups[i].first_lsn > 1;
        if (several == has_several_pages) return log->groups[i].first_lsn;
    }
    fail_msg("no such group");
    return 0;
}

static void assert_damaged_at(test_log *log, uint64_t lsn) {
    log_assert_ok(log, log_recover_with(log, 0, 0));
    assert_true(log->recovery.damaged);
    assert_true(log->recovery.damage_lsn == lsn);
}

// Change the page at `lsn` by `at`, `mask` of its group head, and by its own head; the checksum fits again.
static void forge(test_log *log, uint64_t lsn, size_t at, uint8_t mask, uint32_t epoch_added,
                  uint16_t flags) {
    dbk_journal_identity identity = identity_of(log);
    uint8_t page[DBK_JOURNAL_PAGE_SIZE];
    dbk_journal_page head;
    log_read_page(log, lsn, page);
    assert_int_equal(dbk_journal_page_decode(page, &identity, lsn, &head), DBK_JOURNAL_PAGE_VALID);
    page[DBK_JOURNAL_PAGE_HEAD_SIZE + at] ^= mask;
    head.epoch += epoch_added;
    head.flags ^= flags;
    (void)dbk_journal_page_encode(page, &identity, &head);
    log_put_page(log, lsn, page);
}

static void each_contradiction_of_intact_pages_is_damage(void **state) {
    (void)state;
    static const struct {
        bool is_epoch_page, has_several_pages;
        unsigned page;
        size_t at;
        uint8_t mask;
        uint32_t epoch_added;
        uint16_t flags;
    } cases[] = {
        {false, false, 0, 24, 0x55, 0, 0},                 // checksums of further pages, without any
        {false, false, 0, 0, 0, 1, 0},                     // of an epoch that never began
        {false, true, 1, 0, 0, 0, DBK_JOURNAL_EPOCH_PAGE}, // flags unlike the first page's
        {true, false, 0, 8, 0x55, 0, 0},                   // an epoch that follows a group
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        test_log log;
        make_log(&log);
        uint64_t lsn = group_with(&log, cases[i].has_several_pages);
        if (cases[i].is_epoch_page) lsn = log.start_lsn;
        forge(&log, lsn + cases[i].page, cases[i].at, cases[i].mask, cases[i].epoch_added, cases[i].flags);
        assert_damaged_at(&log, lsn);
        log_deinit(&log);
    }
}

static void page_with_anything_in_its_unused_field_is_broken(void **state) {
    (void)state;
    enum { AT_ZERO = 38, AT_CHECKSUM = 56 };
    dbk_uuid uuid = {{1}};
    dbk_journal_identity identity;
    dbk_journal_identity_init(&identity, &uuid, 5);
    uint8_t page[DBK_JOURNAL_PAGE_SIZE] = {0};
    dbk_journal_page head = {.payload_size = 32, .epoch = 1, .lsn = 9, .group_lsn = 9};
    (void)dbk_journal_page_encode(page, &identity, &head);
    assert_int_equal(dbk_journal_page_decode(page, &identity, 9, &head), DBK_JOURNAL_PAGE_VALID);
    page[AT_ZERO] = 1;
    dbk_put_u64(page + AT_CHECKSUM, 0);
    dbk_put_u64(page + AT_CHECKSUM, dbk_checksum(page, sizeof page, identity.seed + 9));
    assert_int_equal(dbk_journal_page_decode(page, &identity, 9, &head), DBK_JOURNAL_PAGE_BROKEN);
}

static void group_heads_that_contradict_themselves_are_refused(void **state) {
    (void)state;
    static const struct {
        bool is_sound;
        uint16_t flags;
        dbk_journal_group_head head;
    } cases[] = {
        {true, 0, {.payload_size = 10, .page_count = 1}},
        {true, DBK_JOURNAL_EPOCH_PAGE, {.payload_size = 0, .page_count = 1}},
        {false, DBK_JOURNAL_EPOCH_PAGE, {.payload_size = 10, .page_count = 1}}, // control pages carry nothing
        {false, 0, {.payload_size = 10, .page_count = 2}},
        {false, 0, {.payload_size = (uint32_t)DBK_JOURNAL_GROUP_SIZE_MAX + 1, .page_count = 1}},
        {false, 0, {.payload_size = 10, .page_count = 1, .durable_lsn = 10}}, // synced before it was written
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t bytes[DBK_JOURNAL_PAGE_SIZE] = {0};
        dbk_journal_group_head_encode(bytes, &cases[i].head);
        dbk_journal_page page = {.flags = cases[i].flags, .lsn = 9, .group_lsn = 9};
        page.payload_size = (uint16_t)dbk_journal_page_payload_size(&cases[i].head, 0);
        dbk_journal_group_head decoded;
        if (dbk_journal_group_head_decode(bytes, &page, &decoded) != cases[i].is_sound)
            fail_msg("case %zu", i);
        page.payload_size++;
        assert_false(dbk_journal_group_head_decode(bytes, &page, &decoded));
    }
}

static void maps_beyond_their_limits_are_damage(void **state) {
    (void)state;
    static const uint32_t pieces[] = {0};
    const daybook_allocator *allocator = dbk_allocator_default();
    dbk_journal_map map = {.first_lsn = 256, .piece_count = 1, .pieces = pieces};
    assert_int_equal(dbk_journal_map_check(allocator, &map, "journal", NULL), DAYBOOK_OK);
    map.piece_count = DBK_JOURNAL_PIECES_MAX + 1;
    assert_int_equal(dbk_journal_map_check(allocator, &map, "journal", NULL), DAYBOOK_EDAMAGED);
    map = (dbk_journal_map){.first_lsn = 256, .piece_count = 1};
    assert_int_equal(dbk_journal_map_check(allocator, &map, "journal", NULL), DAYBOOK_EDAMAGED);
}

static void a_group_takes_no_more_than_its_limit(void **state) {
    (void)state;
    dbk_journal_group *group;
    assert_int_equal(dbk_journal_group_new_with(dbk_allocator_default(), &group), DAYBOOK_OK);
    assert_int_equal(dbk_journal_group_append(group, "", (size_t)DBK_JOURNAL_GROUP_SIZE_MAX + 1),
                     DAYBOOK_ELIMIT);
    assert_int_equal(dbk_journal_group_size(group), 0);
    dbk_journal_group_free(group);
    dbk_journal_group_free(NULL);
}

// ---- The system fails recovery ----------------------------------------------------------------------------

static daybook_status recover_failing(test_log *log, dbk_sim_kind kind, uint64_t nth, int number,
                                      uint64_t stop_lsn) {
    dbk_sim_fault fault = {.kind = kind, .suffix = "journal", .nth = nth, .error = number};
    log_assert_ok(log, dbk_sim_fail(log->sim, &fault));
    daybook_status status = log_recover_with(log, stop_lsn, 0);
    dbk_sim_clear_faults(log->sim);
    return status;
}

static void a_failure_at_any_read_is_told(void **state) {
    (void)state;
    test_log log;
    make_log(&log);
    uint64_t nth = 1;
    for (;; nth++) {
        uint64_t hits = dbk_sim_fault_hits(log.sim);
        daybook_status status = recover_failing(&log, DBK_SIM_READ, nth, ENOMEM, 0);
        if (dbk_sim_fault_hits(log.sim) == hits) break;
        assert_int_equal(status, DAYBOOK_ENOMEM);
    }
    assert_true(nth > 2); // also at pages within a group
    // While the pages of a window are read one by one.
    dbk_sim_fault once = {.kind = DBK_SIM_READ, .suffix = "journal", .nth = 1, .error = EIO};
    log_assert_ok(&log, dbk_sim_fail(log.sim, &once));
    assert_int_equal(recover_failing(&log, DBK_SIM_READ, 3, ENOMEM, 0), DAYBOOK_ENOMEM);
    // While the epoch is looked for behind a clean end that is the start.
    assert_int_equal(recover_failing(&log, DBK_SIM_READ, 1, ENOMEM, log.start_lsn), DAYBOOK_ENOMEM);
    // An interrupted read is none.
    log_assert_ok(&log, recover_failing(&log, DBK_SIM_READ, 1, EINTR, 0));
    log_recover(&log);
    log_deinit(&log);
}

// A group is broken: recovery looks at what lies behind it.
static void a_failure_while_looking_behind_a_broken_group_is_told(void **state) {
    (void)state;
    test_log log;
    make_log(&log);
    log_flip(&log, group_with(&log, false), 100, 1);
    uint64_t nth = 1;
    for (;; nth++) {
        uint64_t hits = dbk_sim_fault_hits(log.sim);
        daybook_status status = recover_failing(&log, DBK_SIM_READ, nth, ENOMEM, 0);
        if (dbk_sim_fault_hits(log.sim) == hits) break;
        assert_int_equal(status, DAYBOOK_ENOMEM);
    }
    assert_true(nth > 2);
    assert_damaged_at(&log, group_with(&log, false));
    log_deinit(&log);
}

static void reading_resumes_at_a_group_that_does_not_contradict_itself(void **state) {
    (void)state;
    enum { AT_PAGE_COUNT = 20 };
    test_log log;
    make_log(&log);
    uint64_t lsn = group_with(&log, false);
    log_flip(&log, lsn, 100, 1);
    forge(&log, lsn + 1, AT_PAGE_COUNT, 1, 0, 0);
    assert_damaged_at(&log, lsn);
    assert_true(log.recovery.resume_lsn == lsn + 2);
    log_deinit(&log);
}

static void media_that_cannot_be_written_need_no_sync(void **state) {
    (void)state;
    test_log log;
    make_log(&log);
    static const int harmless[] = {EROFS, EINVAL, EBADF};
    for (size_t i = 0; i < 3; i++)
        log_assert_ok(&log, recover_failing(&log, DBK_SIM_SYNC, 1, harmless[i], 0));
    assert_int_equal(recover_failing(&log, DBK_SIM_SYNC, 1, EIO, 0), DAYBOOK_EIO);
    log_deinit(&log);
}

static void bounds_that_cannot_be_are_damage(void **state) {
    (void)state;
    test_log log;
    make_log(&log);
    uint64_t end = dbk_journal_map_end(&log.map);
    // The end said to be clean lies behind the map: what is missing was synced.
    log_assert_ok(&log, log_recover_with(&log, end + 5, 0));
    assert_true(log.recovery.damaged);
    dbk_journal_recovery recovery;
    assert_int_equal(dbk_journal_recover(&log.config, &log.map, log.start_lsn + 2, log.start_lsn + 1, 0, NULL,
                                         NULL, &recovery, &log.error),
                     DAYBOOK_EDAMAGED);
    // Without anybody to visit.
    log_assert_ok(&log, dbk_journal_recover(&log.config, &log.map, log.start_lsn, 0, 0, NULL, NULL, &recovery,
                                            &log.error));
    assert_int_equal(recovery.group_count, log.count);
    log_deinit(&log);
}

static void has_group_tells_only_of_groups(void **state) {
    (void)state;
    test_log log;
    make_log(&log);
    uint64_t several = group_with(&log, true);
    const struct {
        bool has;
        uint64_t lsn;
    } cases[] = {
        {true, group_with(&log, false)},
        {true, several},
        {false, several + 1}, // within a group
        {false, log.map.first_lsn - 1},
        {false, dbk_journal_map_end(&log.map)},
        {false, dbk_journal_map_end(&log.map) - 1}, // never written
    };
    bool has;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        log_assert_ok(&log, dbk_journal_has_group(&log.config, &log.map, cases[i].lsn, &has, &log.error));
        if (has != cases[i].has) fail_msg("case %zu", i);
    }
    static const dbk_sim_kind kinds[] = {DBK_SIM_OPEN, DBK_SIM_FILE_SIZE, DBK_SIM_READ};
    for (size_t i = 0; i < 3; i++) {
        dbk_sim_fault fault = {.kind = kinds[i], .suffix = "journal", .nth = 1, .error = ENOMEM};
        log_assert_ok(&log, dbk_sim_fail(log.sim, &fault));
        assert_int_equal(dbk_journal_has_group(&log.config, &log.map, several, &has, &log.error),
                         DAYBOOK_ENOMEM);
        assert_false(has);
        dbk_sim_clear_faults(log.sim);
    }
    daybook_file *file = NULL;
    assert_int_equal(log.vfs->open(log.vfs, "/journal", DAYBOOK_VFS_WRITE, &file), 0);
    assert_int_equal(log.vfs->truncate(log.vfs, file, 2 * DBK_JOURNAL_PIECE_SIZE - 1), 0);
    log.vfs->close(log.vfs, file);
    daybook_status status = dbk_journal_has_group(&log.config, &log.map, several, &has, &log.error);
    assert_int_equal(status, DAYBOOK_EDAMAGED);
    log_deinit(&log);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_contradiction_of_intact_pages_is_damage),
        cmocka_unit_test(page_with_anything_in_its_unused_field_is_broken),
        cmocka_unit_test(group_heads_that_contradict_themselves_are_refused),
        cmocka_unit_test(maps_beyond_their_limits_are_damage),
        cmocka_unit_test(a_group_takes_no_more_than_its_limit),
        cmocka_unit_test(a_failure_at_any_read_is_told),
        cmocka_unit_test(a_failure_while_looking_behind_a_broken_group_is_told),
        cmocka_unit_test(reading_resumes_at_a_group_that_does_not_contradict_itself),
        cmocka_unit_test(media_that_cannot_be_written_need_no_sync),
        cmocka_unit_test(bounds_that_cannot_be_are_damage),
        cmocka_unit_test(has_group_tells_only_of_groups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
