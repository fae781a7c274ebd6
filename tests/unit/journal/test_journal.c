// SPDX-License-Identifier: Apache-2.0
// Writing: groups of many sizes, laps, growth, room, witness, wiping, and what happens after failures.
#include <errno.h>

#include "fixture.h"
#include "lib/fault_allocator.h"

static void groups_of_many_sizes_come_back(void **state) {
    (void)state;
    static const size_t sizes[] = {8,    9,    100,  3999,  4000,   4001,   4032,
                                   8031, 8032, 8033, 40000, 300000, 1100000};
    test_log log;
    log_init(&log, 1, 4);
    log_reopen(&log);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) log_append(&log, sizes[i]);
    log_reopen(&log);
    assert_int_equal(log.recovery.group_count, sizeof sizes / sizeof sizes[0]);
    assert_int_equal(log.recovery.torn_pages, 0);
    log_append(&log, 50);
    log_reopen(&log);
    assert_int_equal(log.recovery.epoch, 2);
    log_close(&log);
    log_deinit(&log);
}

static void empty_group_writes_nothing(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 1, 1);
    log_reopen(&log);
    uint64_t before = dbk_journal_durable_lsn(log.journal);
    uint64_t next_lsn = 0;
    dbk_journal_group_reset(log.group);
    log_assert_ok(&log, dbk_journal_write_group(log.journal, log.group, &next_lsn, &log.error));
    assert_true(next_lsn == before);
    assert_true(dbk_journal_durable_lsn(log.journal) == before);
    log_deinit(&log);
}

static void creating_over_an_existing_file_is_refused(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 1, 2);
    assert_int_equal(dbk_journal_create(&log.config, 2, &log.error), DAYBOOK_EEXISTS);
    log.config.path = "/other";
    assert_int_equal(dbk_journal_create(&log.config, 0, &log.error), DAYBOOK_EINVALID);
    assert_int_equal(dbk_journal_create(&log.config, DBK_JOURNAL_PIECES_MAX + 1, &log.error),
                     DAYBOOK_EINVALID);
    // A failure leaves no file.
    dbk_sim_set_capacity(log.sim, 3 << 20);
    assert_int_equal(dbk_journal_create(&log.config, 2, &log.error), DAYBOOK_ENOSPC);
    dbk_sim_set_capacity(log.sim, 0);
    log_assert_ok(&log, dbk_journal_create(&log.config, 2, &log.error));
    log_deinit(&log);
}

static void journal_wraps_hundreds_of_times(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 7, 3);
    log_reopen(&log);
    for (int i = 0; i < 3000; i++) {
        log_append_round(&log, 8 + log_random_below(&log, log_random_below(&log, 10) == 0 ? 1200000 : 300000),
                         2);
        if (i % 100 == 0) log_reopen(&log);
    }
    assert_true(log.map.first_lsn > 100 * 3 * DBK_JOURNAL_PIECE_PAGES); // pages in the file: that many laps
    log_reopen(&log);
    log_close(&log);
    log_deinit(&log);
}

static void journal_grows_in_the_middle_of_a_lap(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 8, 2);
    log_reopen(&log);
    for (int i = 0; i < 400; i++) {
        log_append_round(&log, 8 + log_random_below(&log, 200000), 3);
        if (i % 40 == 20) log_grow(&log, 1 + (uint32_t)log_random_below(&log, 3));
        if (i % 70 == 0) log_reopen(&log);
    }
    assert_true(log.map.piece_count >= 12);
    log_reopen(&log);
    uint64_t size = dbk_sim_used_bytes(log.sim);
    assert_int_equal(size, (uint64_t)log.map.piece_count * DBK_JOURNAL_PIECE_SIZE);
    log_close(&log);
    log_deinit(&log);
}

static void growth_that_fails_leaves_the_journal_usable(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 9, 2);
    log_reopen(&log);
    log_append(&log, 100);
    dbk_sim_set_capacity(log.sim, 3 << 20);
    assert_int_equal(log_try_grow(&log, 4), DAYBOOK_ENOSPC);
    assert_int_equal(dbk_sim_used_bytes(log.sim), 2 << 20); // what was added went back
    log_append(&log, 100);
    dbk_sim_set_capacity(log.sim, 0);
    // Room was to be had, but not the zeros, or not their sync.
    for (int sync = 0; sync < 2; sync++) {
        dbk_sim_fault fault = {.kind = sync ? DBK_SIM_SYNC : DBK_SIM_WRITE, .nth = 1, .error = EIO};
        log_assert_ok(&log, dbk_sim_fail(log.sim, &fault));
        assert_int_equal(log_try_grow(&log, 4), DAYBOOK_EIO);
        dbk_sim_clear_faults(log.sim);
        assert_int_equal(dbk_sim_used_bytes(log.sim), 2 << 20);
        log_append(&log, 100);
    }
    log_grow(&log, 4);
    log_reopen(&log);
    assert_int_equal(log_try_grow(&log, DBK_JOURNAL_PIECES_MAX), DAYBOOK_ELIMIT);
    assert_int_equal(log_try_grow(&log, UINT32_MAX), DAYBOOK_ELIMIT);
    log_close(&log);
    log_deinit(&log);
}

static void room_is_what_can_be_written(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 10, 1);
    log_reopen(&log);
    uint64_t room = dbk_journal_room_pages(log.journal);
    assert_true(room > 240 && room < 256);
    assert_int_equal(dbk_journal_used_pages(log.journal), 1); // the epoch
    size_t largest = (size_t)room * DBK_JOURNAL_PAGE_PAYLOAD - DBK_JOURNAL_GROUP_HEAD_SIZE;
    assert_int_equal(log_try_append(&log, largest + 1), DAYBOOK_ELIMIT);
    assert_false(dbk_journal_is_poisoned(log.journal));
    log_append(&log, largest);
    assert_int_equal(dbk_journal_room_pages(log.journal), 0);
    assert_int_equal(log_try_append(&log, 8), DAYBOOK_ELIMIT);
    log_recycle(&log, 0);
    assert_int_equal(dbk_journal_used_pages(log.journal), 0);
    assert_int_equal(log_try_append(&log, 8), DAYBOOK_ELIMIT); // the last piece is still in use
    log_grow(&log, 1);
    log_append(&log, 8);
    log_reopen(&log);
    log_close(&log);
    log_deinit(&log);
}

static void full_journal_can_be_reopened_any_number_of_times(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 11, 1);
    log_reopen(&log);
    uint64_t room = dbk_journal_room_pages(log.journal);
    log_append(&log, (size_t)room * DBK_JOURNAL_PAGE_PAYLOAD - DBK_JOURNAL_GROUP_HEAD_SIZE);
    for (int i = 0; i < 30; i++) log_reopen(&log);
    assert_int_equal(log_try_append(&log, 8), DAYBOOK_ELIMIT);
    log_assert_ok(&log, dbk_journal_write_witness(log.journal, &log.error)); // no room for one either
    uint64_t lsn = dbk_journal_durable_lsn(log.journal);
    assert_true(lsn == dbk_journal_map_end(&log.map));
    log_grow(&log, 1); // the epoch that was due comes first
    log_append(&log, 8);
    log_append(&log, 9000);
    log_reopen(&log);
    assert_int_equal(log.recovery.group_count, 3);
    log_close(&log);
    log_deinit(&log);
}

static void epoch_that_was_due_is_written_instead_of_a_witness(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 20, 1);
    log_reopen(&log);
    for (int i = 0; i < 255; i++) log_reopen(&log);
    log_reopen(&log); // full: nothing was written
    uint64_t lsn = dbk_journal_durable_lsn(log.journal);
    assert_true(lsn == dbk_journal_map_end(&log.map));
    log_recycle(&log, 0); // room again, and no page left that tells the epoch
    log_assert_ok(&log, dbk_journal_write_witness(log.journal, &log.error));
    assert_true(dbk_journal_durable_lsn(log.journal) == lsn + 1);
    log_append(&log, 100);
    log_reopen(&log);
    log_close(&log);
    log_deinit(&log);
}

static void witness_is_written_once_and_only_when_due(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 12, 1);
    log_reopen(&log);
    uint64_t lsn = dbk_journal_durable_lsn(log.journal);
    log_assert_ok(&log, dbk_journal_write_witness(log.journal, &log.error));
    assert_true(dbk_journal_durable_lsn(log.journal) == lsn); // the epoch's page is one
    log_append(&log, 8);
    log_assert_ok(&log, dbk_journal_write_witness(log.journal, &log.error));
    assert_true(dbk_journal_durable_lsn(log.journal) == lsn + 2);
    log_assert_ok(&log, dbk_journal_write_witness(log.journal, &log.error));
    assert_true(dbk_journal_durable_lsn(log.journal) == lsn + 2);
    // A start that has caught up leaves no page that tells the epoch.
    log_recycle(&log, 0);
    log_assert_ok(&log, dbk_journal_write_witness(log.journal, &log.error));
    assert_true(dbk_journal_durable_lsn(log.journal) == lsn + 3);
    log_assert_ok(&log, dbk_journal_write_witness(log.journal, &log.error));
    assert_true(dbk_journal_durable_lsn(log.journal) == lsn + 3);
    log_close(&log);
    log_deinit(&log);
}

static void group_in_neighbouring_pieces_is_one_write(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 13, 4);
    log_reopen(&log);
    dbk_sim_reset_counts(log.sim);
    log_append(&log, 2500000);
    assert_int_equal(dbk_sim_count(log.sim, DBK_SIM_WRITE, "journal").calls, 1);
    assert_int_equal(dbk_sim_count(log.sim, DBK_SIM_SYNC, "journal").calls,
                     0); // the write itself is synchronous
    log_deinit(&log);
}

static void short_and_interrupted_transfers_are_completed(void **state) {
    (void)state;
    for (int direct = 0; direct < 2; direct++) {
        test_log log;
        log_init(&log, 14 + (uint64_t)direct, 3);
        dbk_sim_set_direct(log.sim, direct != 0);
        dbk_sim_set_short_transfers(log.sim, 40);
        log_reopen(&log);
        for (int i = 0; i < 200; i++) {
            dbk_sim_fault fault = {.kind = DBK_SIM_WRITE, .suffix = "journal", .nth = 1, .error = EINTR};
            if (i % 3 == 0) log_assert_ok(&log, dbk_sim_fail(log.sim, &fault));
            log_append_round(&log, 8 + log_random_below(&log, 100000), 4);
            if (i % 50 == 0) log_reopen(&log);
            dbk_sim_clear_faults(log.sim);
        }
        log_reopen(&log);
        log_close(&log);
        log_deinit(&log);
    }
}

// EIO or ENOSPC at the n-th write: that group is in doubt, nothing is written afterwards, and what recovery
// finds is everything acknowledged and perhaps the group in doubt.
static void check_failed_write(uint64_t seed, uint64_t nth, int error) {
    test_log log;
    log_init(&log, seed, 2);
    log_reopen(&log);
    dbk_sim_fault fault = {.kind = DBK_SIM_WRITE, .suffix = "journal", .nth = nth, .error = error};
    log_assert_ok(&log, dbk_sim_fail(log.sim, &fault));
    for (uint64_t i = 1; i < nth; i++) log_append(&log, 8 + log_random_below(&log, 20000));
    assert_int_equal(log_try_append(&log, 8 + log_random_below(&log, 20000)), DAYBOOK_EUNCERTAIN);
    assert_int_equal(log.error.status, DAYBOOK_EUNCERTAIN);
    assert_int_equal(log.error.system_errno, error);
    assert_true(dbk_journal_is_poisoned(log.journal));
    dbk_sim_clear_faults(log.sim);
    uint64_t durable = dbk_journal_durable_lsn(log.journal);
    uint64_t steps = dbk_sim_steps(log.sim);
    assert_int_equal(log_try_append(&log, 8), DAYBOOK_EPOISONED);
    assert_int_equal(dbk_journal_write_witness(log.journal, &log.error), DAYBOOK_EPOISONED);
    assert_int_equal(log_try_grow(&log, 1), DAYBOOK_EPOISONED);
    assert_int_equal(dbk_journal_wipe_free(log.journal, &log.error), DAYBOOK_EPOISONED);
    assert_true(dbk_journal_durable_lsn(log.journal) == durable);
    log_close(&log); // writes nothing either
    assert_true(dbk_sim_steps(log.sim) == steps);
    if (seed % 2 == 0) dbk_sim_crash(log.sim, DBK_SIM_POWER_LOSS);
    log_reopen(&log);
    log_append(&log, 100);
    log_reopen(&log);
    log_close(&log);
    log_deinit(&log);
}

static void failed_write_poisons(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++)
        check_failed_write(seed, 1 + seed % 6, seed % 3 == 0 ? ENOSPC : EIO);
}

static void failed_write_without_an_error_to_fill_poisons(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 61, 1);
    log_reopen(&log);
    log_assert_ok(&log, log_fill(log.group, 1, 100));
    dbk_sim_fault fault = {.kind = DBK_SIM_WRITE, .suffix = "journal", .nth = 1, .error = EIO};
    log_assert_ok(&log, dbk_sim_fail(log.sim, &fault));
    uint64_t next_lsn = 0;
    assert_int_equal(dbk_journal_write_group(log.journal, log.group, &next_lsn, NULL), DAYBOOK_EUNCERTAIN);
    assert_true(dbk_journal_is_poisoned(log.journal));
    assert_int_equal(dbk_journal_write_group(log.journal, log.group, &next_lsn, NULL), DAYBOOK_EPOISONED);
    log_deinit(&log);
    assert_int_equal(dbk_journal_close(NULL, NULL), DAYBOOK_OK);
}

// The page of an epoch that had no place when the journal was opened fails, before a group and at the end.
static void failed_page_of_an_epoch_poisons(void **state) {
    (void)state;
    for (int is_end = 0; is_end < 2; is_end++) {
        test_log log;
        log_init(&log, 62, 1);
        for (int i = 0; i < 257; i++) log_reopen(&log);
        assert_true(dbk_journal_durable_lsn(log.journal) == dbk_journal_map_end(&log.map));
        log_recycle(&log, 0);
        dbk_sim_fault fault = {.kind = DBK_SIM_WRITE, .suffix = "journal", .nth = 1, .error = EIO};
        log_assert_ok(&log, dbk_sim_fail(log.sim, &fault));
        daybook_status status = is_end ? dbk_journal_write_witness(log.journal, &log.error)
                                       : log_try_append(&log, 100);
        assert_int_equal(status, DAYBOOK_EUNCERTAIN);
        assert_true(dbk_journal_is_poisoned(log.journal));
        dbk_sim_clear_faults(log.sim);
        log.doubt.id = 0; // the epoch's page failed: nothing of the group was written
        log_reopen(&log);
        log_append(&log, 100);
        log_close(&log);
        log_deinit(&log);
    }
}

static void start_at_the_end_of_a_full_map_gets_no_witness(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 63, 1);
    for (int i = 0; i < 257; i++) log_reopen(&log);
    uint64_t end = dbk_journal_map_end(&log.map);
    log_assert_ok(&log, dbk_journal_set_map(log.journal, &log.map, end, &log.error));
    log_assert_ok(&log, dbk_journal_write_witness(log.journal, &log.error));
    assert_true(dbk_journal_durable_lsn(log.journal) == end);
    log_deinit(&log);
}

static int allocate_all(daybook_vfs *vfs, daybook_file *file, uint64_t offset, uint64_t size) {
    (void)vfs, (void)file, (void)offset, (void)size;
    return 0;
}

static void creating_and_growing_survive_what_the_disk_does(void **state) {
    (void)state;
    test_log log;
    log_init_disk(&log, 64, 2);
    daybook_vfs vfs = *log.vfs;
    // Memory.
    fault_allocator faults;
    fault_allocator_init(&faults);
    log.config.allocator = &faults.allocator;
    fault_allocator_fail(&faults, 1, true);
    assert_int_equal(dbk_journal_create(&log.config, 2, &log.error), DAYBOOK_ENOMEM);
    log.config.allocator = dbk_allocator_default();
    // Interrupted writes go on.
    dbk_sim_fault fault = {.kind = DBK_SIM_WRITE, .suffix = "journal", .nth = 1, .error = EINTR};
    log_assert_ok(&log, dbk_sim_fail(log.sim, &fault));
    log_create(&log);
    dbk_sim_clear_faults(log.sim);
    log_reopen(&log);
    // The second handle cannot be had.
    fault = (dbk_sim_fault){
        .kind = DBK_SIM_OPEN, .suffix = "journal", .nth = 1, .error = EMFILE, .is_forever = true};
    log_assert_ok(&log, dbk_sim_fail(log.sim, &fault));
    assert_int_equal(log_try_grow(&log, 1), DAYBOOK_EMFILE);
    assert_int_equal(dbk_journal_wipe_free(log.journal, &log.error), DAYBOOK_EMFILE);
    dbk_sim_clear_faults(log.sim);
    log_grow(&log, 1);
    log_close(&log);
    // A disk that gives room without writing.
    vfs.allocate = allocate_all;
    log.config.vfs = &vfs;
    log_reopen(&log);
    log_grow(&log, 1);
    log_append(&log, 100);
    log_close(&log);
    log_recover(&log);
    log_deinit(&log);
}

static void wiping_without_memory_is_a_status(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 65, 2);
    fault_allocator faults;
    fault_allocator_init(&faults);
    log.config.allocator = &faults.allocator;
    log_reopen(&log);
    fault_allocator_fail(&faults, 1, true);
    assert_int_equal(dbk_journal_wipe_free(log.journal, &log.error), DAYBOOK_ENOMEM);
    fault_allocator_fail(&faults, 0, false);
    log_assert_ok(&log, dbk_journal_wipe_free(log.journal, &log.error));
    log_deinit(&log);
    assert_int_equal(fault_allocator_live(&faults), 0);
}

static void failure_to_open_leaves_nothing_behind(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 15, 2);
    log_reopen(&log);
    log_append(&log, 100);
    log_close(&log);
    static const dbk_sim_kind kinds[] = {DBK_SIM_OPEN, DBK_SIM_FILE_SIZE, DBK_SIM_SYNC, DBK_SIM_WRITE};
    for (size_t i = 0; i < 4; i++) {
        log_recover(&log);
        dbk_sim_fault fault = {.kind = kinds[i], .suffix = "journal", .nth = 1, .error = EIO};
        log_assert_ok(&log, dbk_sim_fail(log.sim, &fault));
        assert_int_equal(log_try_open(&log), DAYBOOK_EIO);
        assert_null(log.journal);
        assert_int_equal(dbk_sim_open_files(log.sim), 0);
        dbk_sim_clear_faults(log.sim);
    }
    log_reopen(&log);
    log_append(&log, 100);
    log_reopen(&log);
    log_deinit(&log);
}

static void opening_what_was_not_recovered_so_is_refused(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 21, 2);
    log_reopen(&log);
    log_append(&log, 100);
    log_close(&log);
    log_recover(&log);
    dbk_journal_recovery recovered = log.recovery;
    uint64_t start_lsn = log.start_lsn;
    log.start_lsn = recovered.end_lsn + 1;
    assert_int_equal(log_try_open(&log), DAYBOOK_EMISUSE);
    log.start_lsn = log.map.first_lsn - 1;
    assert_int_equal(log_try_open(&log), DAYBOOK_EMISUSE);
    log.start_lsn = start_lsn;
    log.recovery.end_lsn = dbk_journal_map_end(&log.map) + 1;
    assert_int_equal(log_try_open(&log), DAYBOOK_EMISUSE);
    log.recovery = recovered;
    log.recovery.epoch = UINT32_MAX;
    assert_int_equal(log_try_open(&log), DAYBOOK_ELIMIT);
    log.recovery = recovered;
    daybook_file *file = NULL;
    assert_int_equal(log.vfs->open(log.vfs, "/journal", DAYBOOK_VFS_WRITE, &file), 0);
    assert_int_equal(log.vfs->truncate(log.vfs, file, 1 << 20), 0);
    log.vfs->close(log.vfs, file);
    assert_int_equal(log_try_open(&log), DAYBOOK_EDAMAGED);
    assert_int_equal(dbk_sim_open_files(log.sim), 0);
    log_deinit(&log);
}

// A device that takes less than a page each time never finishes one: an error, no endless loop.
static int64_t write_a_sector(daybook_vfs *vfs, daybook_file *file, const void *data, size_t size,
                              uint64_t offset) {
    (void)vfs;
    (void)file;
    (void)data;
    (void)offset;
    return size < 512 ? (int64_t)size : 512;
}

static void write_without_progress_is_an_error(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 22, 2);
    log_reopen(&log);
    log_close(&log);
    log_recover(&log);
    daybook_vfs vfs = *log.vfs;
    log.config.vfs = &vfs;
    log_open(&log);
    vfs.write_at = write_a_sector;
    assert_int_equal(log_try_grow(&log, 1), DAYBOOK_EIO);
    assert_int_equal(log_try_append(&log, 100), DAYBOOK_EUNCERTAIN);
    log_close(&log);
    log_deinit(&log);
}

static void running_out_of_memory_anywhere_is_a_status(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 16, 2);
    log_reopen(&log);
    log_append(&log, 1500000); // into the second piece, so that recycling moves the first
    log_append(&log, 100);
    log_close(&log);
    fault_allocator faults;
    fault_allocator_init(&faults);
    log.config.allocator = &faults.allocator;
    for (uint64_t nth = 1;; nth++) {
        fault_allocator_fail(&faults, nth, false);
        daybook_status status = log_recover_with(&log, 0, 0);
        if (status == DAYBOOK_OK) {
            status = dbk_journal_open(&log.config, &log.map, &log.recovery, log.start_lsn, &log.journal,
                                      &log.error);
        }
        if (status == DAYBOOK_OK) {
            status = dbk_journal_group_new(log.journal, &log.group);
            if (status == DAYBOOK_OK) status = log_try_grow(&log, 1);
            if (status == DAYBOOK_OK) status = log_try_recycle(&log, 1);
            if (status == DAYBOOK_OK) status = dbk_journal_wipe_free(log.journal, &log.error);
            (void)log_try_close(&log);
        }
        assert_int_equal(fault_allocator_live(&faults), 0);
        if (!fault_allocator_has_failed(&faults)) {
            log_assert_ok(&log, status);
            break;
        }
        assert_int_equal(status, DAYBOOK_ENOMEM);
    }
    log_deinit(&log);
}

static void map_that_moves_pages_in_use_is_refused(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 17, 3);
    log_reopen(&log);
    log_append(&log, 100);
    uint32_t swapped[] = {1, 0, 2};
    uint32_t fewer[] = {0, 1};
    dbk_journal_map map = log.map;
    map.pieces = swapped;
    assert_int_equal(dbk_journal_set_map(log.journal, &map, log.start_lsn, &log.error), DAYBOOK_EMISUSE);
    map.pieces = fewer;
    map.piece_count = 2;
    assert_int_equal(dbk_journal_set_map(log.journal, &map, log.start_lsn, &log.error), DAYBOOK_EMISUSE);
    map = log.map;
    map.first_lsn += DBK_JOURNAL_PIECE_PAGES; // gives up what is behind the start
    assert_int_equal(dbk_journal_set_map(log.journal, &map, log.start_lsn, &log.error), DAYBOOK_EMISUSE);
    map.first_lsn -= 2 * DBK_JOURNAL_PIECE_PAGES; // takes back what was given up
    assert_int_equal(dbk_journal_set_map(log.journal, &map, log.start_lsn, &log.error), DAYBOOK_EMISUSE);
    assert_int_equal(dbk_journal_set_map(log.journal, &log.map, log.start_lsn - 1, &log.error),
                     DAYBOOK_EMISUSE);
    uint64_t next = dbk_journal_durable_lsn(log.journal);
    assert_int_equal(dbk_journal_set_map(log.journal, &log.map, next + 1, &log.error), DAYBOOK_EMISUSE);
    log_assert_ok(&log, dbk_journal_set_map(log.journal, &log.map, log.start_lsn, &log.error));
    uint32_t *pieces = NULL;
    uint64_t first_lsn = 0;
    uint32_t count = 0;
    assert_int_equal(dbk_journal_plan_recycle(log.journal, next + 1, &pieces, &first_lsn, &count, &log.error),
                     DAYBOOK_EMISUSE);
    assert_int_equal(
        dbk_journal_plan_recycle(log.journal, log.start_lsn - 1, &pieces, &first_lsn, &count, &log.error),
        DAYBOOK_EMISUSE);
    assert_null(pieces);
    log_append(&log, 100);
    log_reopen(&log);
    log_deinit(&log);
}

// Every page outside [start, end) is zero; those inside still replay.
static void wiping_leaves_only_what_is_in_use(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 18, 4);
    log_reopen(&log);
    for (int i = 0; i < 60; i++) log_append_round(&log, 8 + log_random_below(&log, 400000), 2);
    log_recycle(&log, 1);
    log_assert_ok(&log, dbk_journal_wipe_free(log.journal, &log.error));
    uint64_t next = dbk_journal_durable_lsn(log.journal);
    static const uint8_t zeros[DBK_JOURNAL_PAGE_SIZE];
    uint8_t page[DBK_JOURNAL_PAGE_SIZE];
    uint64_t used = 0;
    for (uint64_t lsn = log.map.first_lsn; lsn < dbk_journal_map_end(&log.map); lsn++) {
        log_read_page(&log, lsn, page);
        bool is_zero = memcmp(page, zeros, sizeof page) == 0;
        assert_int_equal(is_zero, lsn < log.start_lsn || lsn >= next);
        used += !is_zero;
    }
    assert_true(used > 0);
    // Power loss changes nothing: the wiped pages are durable.
    dbk_sim_crash(log.sim, DBK_SIM_POWER_LOSS_DROP_ALL);
    (void)log_try_close(&log);
    for (uint64_t lsn = next; lsn < dbk_journal_map_end(&log.map); lsn++) {
        log_read_page(&log, lsn, page);
        assert_memory_equal(page, zeros, sizeof page);
    }
    log_reopen(&log);
    for (int i = 0; i < 30; i++) log_append_round(&log, 8 + log_random_below(&log, 400000), 2);
    log_reopen(&log);
    log_close(&log);
    log_deinit(&log);
}

// A disk on which free pages are wiped just when a group has been written and its write has not returned.
static struct wiping_disk {
    daybook_vfs *inner;
    dbk_journal *journal; // NULL: not now
} wiping_disk;

static int64_t write_and_wipe(daybook_vfs *vfs, daybook_file *file, const void *data, size_t size,
                              uint64_t offset) {
    (void)vfs;
    int64_t moved = wiping_disk.inner->write_at(wiping_disk.inner, file, data, size, offset);
    dbk_journal *journal = wiping_disk.journal;
    wiping_disk.journal = NULL; // its own writes
    if (journal != NULL) assert_int_equal(dbk_journal_wipe_free(journal, NULL), DAYBOOK_OK);
    return moved;
}

static void wiping_spares_the_group_on_its_way(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 21, 4);
    wiping_disk.inner = log.config.vfs;
    daybook_vfs vfs = *log.config.vfs;
    vfs.write_at = write_and_wipe;
    log.config.vfs = &vfs;
    log_reopen(&log);
    static const size_t sizes[] = {8, 5000, 300000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        log_append(&log, 100);
        wiping_disk.journal = log.journal;
        log_append(&log, sizes[i]);
        assert_null(wiping_disk.journal);
    }
    log_reopen(&log); // everything is there
    log_close(&log);
    log_deinit(&log);
}

static void every_handle_is_closed(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 19, 2);
    log_reopen(&log);
    log_append(&log, 100);
    log_grow(&log, 1);
    log_assert_ok(&log, dbk_journal_wipe_free(log.journal, &log.error));
    assert_int_equal(dbk_sim_open_files(log.sim), 1);
    log_close(&log);
    log_recover(&log);
    assert_int_equal(dbk_sim_open_files(log.sim), 0);
    log_deinit(&log);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_of_many_sizes_come_back),
        cmocka_unit_test(empty_group_writes_nothing),
        cmocka_unit_test(creating_over_an_existing_file_is_refused),
        cmocka_unit_test(journal_wraps_hundreds_of_times),
        cmocka_unit_test(journal_grows_in_the_middle_of_a_lap),
        cmocka_unit_test(growth_that_fails_leaves_the_journal_usable),
        cmocka_unit_test(room_is_what_can_be_written),
        cmocka_unit_test(full_journal_can_be_reopened_any_number_of_times),
        cmocka_unit_test(epoch_that_was_due_is_written_instead_of_a_witness),
        cmocka_unit_test(witness_is_written_once_and_only_when_due),
        cmocka_unit_test(group_in_neighbouring_pieces_is_one_write),
        cmocka_unit_test(short_and_interrupted_transfers_are_completed),
        cmocka_unit_test(failed_write_poisons),
        cmocka_unit_test(failed_write_without_an_error_to_fill_poisons),
        cmocka_unit_test(failed_page_of_an_epoch_poisons),
        cmocka_unit_test(start_at_the_end_of_a_full_map_gets_no_witness),
        cmocka_unit_test(creating_and_growing_survive_what_the_disk_does),
        cmocka_unit_test(wiping_without_memory_is_a_status),
        cmocka_unit_test(failure_to_open_leaves_nothing_behind),
        cmocka_unit_test(opening_what_was_not_recovered_so_is_refused),
        cmocka_unit_test(write_without_progress_is_an_error),
        cmocka_unit_test(running_out_of_memory_anywhere_is_a_status),
        cmocka_unit_test(map_that_moves_pages_in_use_is_refused),
        cmocka_unit_test(wiping_leaves_only_what_is_in_use),
        cmocka_unit_test(wiping_spares_the_group_on_its_way),
        cmocka_unit_test(every_handle_is_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
