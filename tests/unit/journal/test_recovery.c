// SPDX-License-Identifier: Apache-2.0
// Torn or damaged: every subset of a torn group's pages, changed bytes below and above what is known to be
// durable, epochs after a torn end, older laps underneath, files that are foreign, short or unreadable.
#include <errno.h>

#include "fixture.h"
#include "lib/fault_allocator.h"

enum { PAGES_MAX = 8 };

typedef enum missing_as { MISSING_OLD, MISSING_GARBAGE, MISSING_HALF, MISSING_WAYS } missing_as;

// Pages of the group last appended, before and after it was written.
typedef struct group_pages {
    uint64_t first_lsn;
    uint64_t page_count;
    uint8_t before[PAGES_MAX][DBK_JOURNAL_PAGE_SIZE];
    uint8_t after[PAGES_MAX][DBK_JOURNAL_PAGE_SIZE];
} group_pages;

static size_t size_of_pages(uint64_t page_count) {
    return (size_t)page_count * DBK_JOURNAL_PAGE_PAYLOAD - DBK_JOURNAL_GROUP_HEAD_SIZE - 50;
}

// Append a group of that many pages, which from then on counts as never acknowledged.
static void append_in_doubt(test_log *log, uint64_t page_count, group_pages *pages) {
    assert_true(page_count <= PAGES_MAX);
    pages->first_lsn = dbk_journal_durable_lsn(log->journal);
    pages->page_count = page_count;
    uint64_t known = log->known_durable_lsn;
    for (uint64_t i = 0; i < page_count; i++) log_read_page(log, pages->first_lsn + i, pages->before[i]);
    log_append(log, size_of_pages(page_count));
    for (uint64_t i = 0; i < page_count; i++) log_read_page(log, pages->first_lsn + i, pages->after[i]);
    log->doubt = log->groups[--log->count];
    log->known_durable_lsn = known;
}

// The process dies: nothing more is written.
static void die(test_log *log) {
    dbk_sim_crash(log->sim, DBK_SIM_POWER_LOSS_DROP_ALL);
    (void)log_try_close(log);
}

static void put_missing(test_log *log, const group_pages *pages, uint64_t index, missing_as how) {
    uint8_t page[DBK_JOURNAL_PAGE_SIZE];
    if (how == MISSING_WAYS) how = (missing_as)log_random_below(log, MISSING_WAYS);
    memcpy(page, pages->before[index], sizeof page);
    if (how == MISSING_GARBAGE) {
        for (size_t i = 0; i < sizeof page; i++) page[i] = (uint8_t)log_random(log);
    } else if (how == MISSING_HALF) {
        size_t cut = 512 * (1 + (size_t)log_random_below(log, 7));
        bool first_part_is_new = log_random_below(log, 2) != 0;
        memcpy(page + (first_part_is_new ? 0 : cut), pages->after[index] + (first_part_is_new ? 0 : cut),
               first_part_is_new ? cut : sizeof page - cut);
    }
    log_put_page(log, pages->first_lsn + index, page);
}

// Leaves only the pages of `mask`.
static void tear(test_log *log, const group_pages *pages, unsigned mask, missing_as how) {
    for (uint64_t i = 0; i < pages->page_count; i++) {
        if ((mask >> i & 1) != 0) {
            log_put_page(log, pages->first_lsn + i, pages->after[i]);
        } else {
            put_missing(log, pages, i, how);
        }
    }
}

// A half page may be whole all the same, where the other half is equal (zeros behind a short payload).
static bool is_whole(test_log *log, const group_pages *pages) {
    uint8_t page[DBK_JOURNAL_PAGE_SIZE];
    for (uint64_t i = 0; i < pages->page_count; i++) {
        log_read_page(log, pages->first_lsn + i, page);
        if (memcmp(page, pages->after[i], sizeof page) != 0) return false;
    }
    return true;
}

static void check_torn(test_log *log, const group_pages *pages) {
    bool whole = is_whole(log, pages);
    uint64_t count = log->count;
    log_recover(log);
    assert_int_equal(log->count, count + (whole ? 1 : 0));
    assert_true(log->recovery.end_lsn == pages->first_lsn + (whole ? pages->page_count : 0));
}

// What lies under the torn group: zeros, or pages of an older lap.
static void prepare(test_log *log, uint64_t seed, bool has_older_lap) {
    log_init(log, seed, 1 + has_older_lap);
    log_reopen(log);
    int rounds = has_older_lap ? 700 : 5;
    for (int i = 0; i < rounds; i++) log_append_round(log, 8 + log_random_below(log, 12000), 3);
    if (dbk_journal_room_pages(log->journal) < 64) log_recycle(log, 2);
}

static void check_all_subsets(bool has_older_lap) {
    group_pages *first = calloc(1, sizeof *first);
    assert_non_null(first);
    for (uint64_t page_count = 1; page_count <= 6; page_count++) {
        for (unsigned mask = 0; mask < 1u << page_count; mask++) {
            test_log log;
            prepare(&log, page_count * 1000 + mask, has_older_lap);
            append_in_doubt(&log, page_count, first);
            die(&log);
            // The missing pages in each way, and last of all one of them at random, page by page.
            for (int how = 0; how <= MISSING_WAYS; how++) {
                log_group doubt = log.doubt;
                size_t count = log.count;
                tear(&log, first, mask, (missing_as)how);
                check_torn(&log, first);
                if (how == MISSING_WAYS) break;
                log.count = count;
                log.doubt = doubt;
            }
            // Life goes on over the remains: shorter and longer groups, more reopening.
            log_open(&log);
            log_append(&log, size_of_pages(1 + log_random_below(&log, 7)));
            log_reopen(&log);
            log_append(&log, size_of_pages(1 + log_random_below(&log, 7)));
            log_reopen(&log);
            log_deinit(&log);
        }
    }
    free(first);
}

static void torn_group_is_cut_whatever_pages_remain(void **state) {
    (void)state;
    check_all_subsets(false);
}

static void torn_group_over_an_older_lap_is_cut_whatever_pages_remain(void **state) {
    (void)state;
    check_all_subsets(true);
}

// A second group torn over the remains of the first, all subsets of both.
static void group_torn_over_the_remains_of_a_torn_group_is_cut(void **state) {
    (void)state;
    enum { FIRST = 5, SECOND = 3 };
    group_pages *first = calloc(2, sizeof *first);
    assert_non_null(first);
    group_pages *second = first + 1;
    for (unsigned mask = 0; mask < 1u << FIRST; mask++) {
        test_log log;
        log_init(&log, mask, 1);
        log_reopen(&log);
        log_append(&log, 100);
        append_in_doubt(&log, FIRST, first);
        die(&log);
        tear(&log, first, mask, MISSING_OLD);
        check_torn(&log, first);
        log_open(&log);
        append_in_doubt(&log, SECOND, second);
        die(&log);
        for (unsigned second_mask = 0; second_mask < 1u << SECOND; second_mask++) {
            for (int how = 0; how < MISSING_WAYS; how++) {
                size_t count = log.count;
                log_group doubt = log.doubt;
                tear(&log, second, second_mask, (missing_as)how);
                check_torn(&log, second);
                log.count = count;
                log.doubt = doubt;
            }
        }
        log_deinit(&log);
    }
    free(first);
}

// Crash while the page of the new epoch is written, three times in a row, then once after each recovery.
static void torn_epoch_pages_change_nothing(void **state) {
    (void)state;
    group_pages *torn = calloc(1, sizeof *torn);
    assert_non_null(torn);
    for (unsigned mask = 0; mask < 1u << 4; mask++) {
        test_log log;
        log_init(&log, 100 + mask, 1);
        log_reopen(&log);
        log_append(&log, 100);
        append_in_doubt(&log, 4, torn);
        die(&log);
        tear(&log, torn, mask, MISSING_OLD);
        for (int i = 0; i < 3; i++) {
            log_recover(&log);
            uint8_t before[DBK_JOURNAL_PAGE_SIZE];
            uint64_t lsn = log.recovery.end_lsn;
            log_read_page(&log, lsn, before);
            log_open(&log);
            die(&log);
            if (i == 0) log_put_page(&log, lsn, before); // lost
            if (i == 1) log_flip(&log, lsn, 30, 0xff);   // garbage
        }
        log_recover(&log);
        log_open(&log);
        log_append(&log, 20000);
        log_reopen(&log);
        log_deinit(&log);
        assert_int_equal(log.recovery.torn_pages, 0);
    }
    free(torn);
}

// ---- Damage ----

// The group that holds `lsn`, or -1 for pages of epochs and witnesses.
static long group_at(const test_log *log, uint64_t lsn) {
    for (size_t i = log->first; i < log->count; i++) {
        if (lsn >= log->groups[i].first_lsn && lsn < log->groups[i].next_lsn) return (long)i;
    }
    return -1;
}

static void check_damaged(test_log *log, uint64_t lsn, uint64_t known_durable_lsn) {
    long group = group_at(log, lsn);
    uint64_t begin = group < 0 ? lsn : log->groups[group].first_lsn;
    log_assert_ok(log, log_recover_with(log, 0, known_durable_lsn));
    assert_true(log->recovery.damaged);
    assert_true(log->recovery.damage_lsn == begin);
    assert_true(log->recovery.end_lsn == begin);
    assert_true(log->recovery.damage_offset == log_offset(log, lsn));
    assert_true(strlen(log->recovery.damage_text) > 10);
    if (group >= 0) assert_int_equal(log->replayed, (size_t)group - log->first);
    assert_int_equal(log_try_open(log), DAYBOOK_EDAMAGED);
    assert_null(log->journal);
}

static void changed_byte_below_a_later_group_is_damage(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 31, 1);
    log_reopen(&log);
    for (int i = 0; i < 8; i++) {
        log_append(&log, 8 + log_random_below(&log, 20000));
        if (i == 3) log_reopen(&log);
        if (i == 5) log_assert_ok(&log, dbk_journal_write_witness(log.journal, &log.error));
    }
    log_close(&log);
    log_recover(&log);
    uint64_t last = log.recovery.end_lsn - 1; // the witness of the close
    for (uint64_t lsn = log.start_lsn; lsn < last; lsn++) {
        for (int i = 0; i < 20; i++) {
            size_t at = i < 10 ? log_random_below(&log, 64) : log_random_below(&log, DBK_JOURNAL_PAGE_SIZE);
            uint8_t mask = (uint8_t)(1u << log_random_below(&log, 8));
            log_flip(&log, lsn, at, mask);
            check_damaged(&log, lsn, 0);
            // What lies behind can still be read from where it says.
            uint64_t resume_lsn = log.recovery.resume_lsn;
            assert_true(resume_lsn > lsn);
            long group = group_at(&log, resume_lsn);
            assert_true(group >= 0 || resume_lsn <= last);
            if (group >= 0) {
                size_t first = log.first;
                uint64_t start_lsn = log.start_lsn;
                log.first = (size_t)group;
                log.start_lsn = resume_lsn;
                log_recover(&log);
                log.first = first;
                log.start_lsn = start_lsn;
            }
            log_flip(&log, lsn, at, mask);
        }
    }
    log_reopen(&log);
    log_deinit(&log);
}

static void changed_byte_in_the_last_group_is_a_torn_end_unless_known_to_be_durable(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 32, 1);
    log_reopen(&log);
    for (int i = 0; i < 5; i++) log_append(&log, 8 + log_random_below(&log, 20000));
    die(&log);
    log_recover(&log);
    log_group last = log.groups[log.count - 1];
    for (uint64_t lsn = last.first_lsn; lsn < last.next_lsn; lsn++) {
        log_flip(&log, lsn, 200, 0x10);
        check_damaged(&log, lsn, last.next_lsn);
        log.count--; // no longer acknowledged, as far as the journal can tell
        log_assert_ok(&log, log_recover_with(&log, 0, last.first_lsn));
        assert_false(log.recovery.damaged);
        assert_true(log.recovery.end_lsn == last.first_lsn);
        assert_int_equal(log.recovery.torn_pages, last.next_lsn - last.first_lsn);
        log.count++;
        log_flip(&log, lsn, 200, 0x10);
    }
    log_deinit(&log);
}

static void witness_proves_the_last_group(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 33, 1);
    log_reopen(&log);
    for (int i = 0; i < 5; i++) log_append(&log, 8 + log_random_below(&log, 20000));
    log_assert_ok(&log, dbk_journal_write_witness(log.journal, &log.error));
    die(&log);
    log_flip(&log, log.groups[log.count - 1].next_lsn - 1, 100, 1);
    check_damaged(&log, log.groups[log.count - 1].next_lsn - 1, 0);
    log_deinit(&log);
}

static void later_group_far_away_is_found(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 34, 4);
    log_reopen(&log);
    log_append(&log, 100);
    log_append(&log, 2000000); // a group of 500 pages whose first page goes
    log_append(&log, 100);
    die(&log);
    uint64_t lsn = log.groups[1].first_lsn;
    static const uint8_t zeros[DBK_JOURNAL_PAGE_SIZE];
    log_put_page(&log, lsn, zeros);
    check_damaged(&log, lsn, 0);
    log_deinit(&log);
}

static void damage_in_every_lap_position_is_found(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        test_log log;
        log_init(&log, seed, 3);
        log_reopen(&log);
        for (uint64_t i = 0; i < 20 + seed * 3; i++)
            log_append_round(&log, 8 + log_random_below(&log, 100000), 4);
        die(&log);
        log_recover(&log);
        size_t victim = log.first + log_random_below(&log, log.count - log.first - 1); // not the last
        log_group group = log.groups[victim];
        uint64_t lsn = group.first_lsn + log_random_below(&log, group.next_lsn - group.first_lsn);
        log_flip(&log, lsn, log_random_below(&log, DBK_JOURNAL_PAGE_SIZE), 0x80);
        check_damaged(&log, lsn, 0);
        log_deinit(&log);
    }
}

// Pages with fitting checksums that contradict each other: no crash leaves them, whatever is behind.
static void contradiction_is_damage_even_at_the_end(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 35, 1);
    log_reopen(&log);
    log_append(&log, 100);
    log_append(&log, 9000);
    die(&log);
    dbk_journal_identity identity;
    dbk_journal_identity_init(&identity, &log.config.store_uuid, log.config.incarnation);
    log_group last = log.groups[log.count - 1];
    uint8_t page[DBK_JOURNAL_PAGE_SIZE];
    uint8_t original[DBK_JOURNAL_PAGE_SIZE];
    dbk_journal_page head;
    log_read_page(&log, last.first_lsn, original);
    static const struct {
        size_t at; // in the group head
        uint8_t value;
    } changes[] = {{8, 0xaa}, {16, 0x01}, {20, 0x09}, {24, 0x55}, {7, 0x40}};
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        memcpy(page, original, sizeof page);
        assert_int_equal(dbk_journal_page_decode(page, &identity, last.first_lsn, &head),
                         DBK_JOURNAL_PAGE_VALID);
        page[DBK_JOURNAL_PAGE_HEAD_SIZE + changes[i].at] ^= changes[i].value;
        (void)dbk_journal_page_encode(page, &identity, &head);
        log_put_page(&log, last.first_lsn, page);
        log_assert_ok(&log, log_recover_with(&log, 0, 0));
        assert_true(log.recovery.damaged);
        assert_true(log.recovery.damage_lsn == last.first_lsn);
        assert_int_equal(log.replayed, 1);
    }
    log_deinit(&log);
}

// Intact pages that belong to another group or epoch in the place of the last group's second: as good as
// missing.
static void page_of_another_group_or_epoch_does_not_complete_a_group(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 46, 1);
    log_reopen(&log);
    log_append(&log, 100);
    log_append(&log, 9000);
    die(&log);
    dbk_journal_identity identity;
    dbk_journal_identity_init(&identity, &log.config.store_uuid, log.config.incarnation);
    log_group last = log.groups[--log.count];
    for (int i = 0; i < 4; i++) {
        uint8_t page[DBK_JOURNAL_PAGE_SIZE];
        uint8_t original[DBK_JOURNAL_PAGE_SIZE];
        dbk_journal_page head;
        uint64_t lsn = i == 3 ? last.first_lsn : last.first_lsn + 1;
        log_read_page(&log, lsn, original);
        memcpy(page, original, sizeof page);
        assert_int_equal(dbk_journal_page_decode(page, &identity, lsn, &head), DBK_JOURNAL_PAGE_VALID);
        if (i == 0) head.epoch++;
        if (i == 1) head.group_lsn--;
        if (i == 2) head.epoch--;
        if (i == 3) head.epoch--; // older than the group before
        (void)dbk_journal_page_encode(page, &identity, &head);
        log_put_page(&log, lsn, page);
        log_assert_ok(&log, log_recover_with(&log, 0, 0));
        assert_false(log.recovery.damaged);
        assert_true(log.recovery.end_lsn == last.first_lsn);
        log_put_page(&log, lsn, original);
    }
    log_deinit(&log);
}

// ---- Bounds ----

static void known_clean_end_is_read_no_further(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 36, 16);
    log_reopen(&log);
    for (int i = 0; i < 5; i++) log_append(&log, 5000);
    log_assert_ok(&log, dbk_journal_write_witness(log.journal, &log.error));
    uint64_t end_lsn = dbk_journal_durable_lsn(log.journal);
    log_close(&log);
    dbk_sim_reset_counts(log.sim);
    log_assert_ok(&log, log_recover_with(&log, end_lsn, 0));
    assert_true(dbk_sim_count(log.sim, DBK_SIM_READ, "journal").bytes <= DBK_JOURNAL_PIECE_SIZE);
    assert_int_equal(log.replayed, 5);
    assert_false(log.recovery.damaged);
    assert_int_equal(log.recovery.epoch, 1);
    log_open(&log);
    log_append(&log, 100);
    log_reopen(&log);
    assert_int_equal(log.recovery.epoch, 2);
    log_close(&log);
    // Known, but not there.
    log_assert_ok(&log, log_recover_with(&log, log.recovery.end_lsn + 20, 0));
    assert_true(log.recovery.damaged);
    log_deinit(&log);
}

static void epoch_is_found_where_the_start_has_caught_up(void **state) {
    (void)state;
    group_pages *torn = calloc(1, sizeof *torn);
    assert_non_null(torn);
    for (unsigned mask = 0; mask < 8; mask++) {
        test_log log;
        log_init(&log, 37, 2);
        log_reopen(&log);
        for (int i = 0; i < 5; i++) log_reopen(&log); // epoch 6
        log_append(&log, 100);
        log_recycle(&log, 0);
        append_in_doubt(&log, 3, torn);
        die(&log);
        tear(&log, torn, mask, MISSING_OLD);
        log_recover(&log);
        if (mask != 0)
            assert_int_equal(log.recovery.epoch, 6); // of what remains, though none of it is replayed
        if (mask != 0 && mask != 7) { // the same where the end is known and nothing behind it is read
            log_assert_ok(&log, log_recover_with(&log, log.start_lsn, 0));
            assert_int_equal(log.recovery.epoch, 6);
        }
        log_open(&log);
        log_append(&log, size_of_pages(2));
        uint64_t end_lsn = dbk_journal_durable_lsn(log.journal);
        log_recycle(&log, 0); // start = end, and no page seen below a stop there
        die(&log);
        log_assert_ok(&log, log_recover_with(&log, end_lsn, 0));
        log_open(&log);
        log_append(&log, size_of_pages(2));
        log_reopen(&log);
        log_deinit(&log);
    }
    free(torn);
}

// A killed writer's last group is in the page cache only, and the sync that should settle it fails. From then
// on the page cache shows a group that the disk has not: it must not be built on, though the next sync
// succeeds.
static void group_that_only_the_page_cache_has_is_not_built_on(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 61, 2);
    log_reopen(&log);
    log_append(&log, 100);
    dbk_sim_stop_after(log.sim, 1);
    assert_int_equal(log_try_append(&log, 200), DAYBOOK_EUNCERTAIN);
    dbk_sim_crash(log.sim, DBK_SIM_KILL);
    (void)log_try_close(&log);
    const dbk_sim_fault fault = {.kind = DBK_SIM_SYNC, .nth = 1, .error = EIO};
    log_assert_ok(&log, dbk_sim_fail(log.sim, &fault));
    assert_int_equal(log_recover_with(&log, 0, 0), DAYBOOK_EIO);
    dbk_sim_clear_faults(log.sim);
    log_recover(&log);
    log_open(&log);
    log_append(&log, 300);
    die(&log);
    log_reopen(&log);
    log_close(&log);
    log_deinit(&log);
}

static void follower_reads_up_to_its_bound_beside_the_writer(void **state) {
    (void)state;
    test_log writer;
    log_init(&writer, 38, 2);
    log_reopen(&writer);
    test_log reader = writer;
    reader.journal = NULL;
    reader.group = NULL;
    for (int i = 0; i < 300; i++) {
        log_append_round(&writer, 8 + log_random_below(&writer, 30000), 3);
        // The reader has taken map and bound; the model is shared.
        reader.map = writer.map;
        reader.count = writer.count;
        reader.first = writer.count - 1;
        reader.start_lsn = writer.groups[writer.count - 1].first_lsn;
        log_assert_ok(&reader, log_recover_with(&reader, writer.known_durable_lsn, 0));
        assert_false(reader.recovery.damaged);
        assert_int_equal(reader.replayed, 1);
        assert_true(reader.recovery.end_lsn == writer.known_durable_lsn);
    }
    log_deinit(&writer);
}

static void bound_within_a_group_or_beyond_the_end_is_damage(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 47, 1);
    log_reopen(&log);
    log_append(&log, 100);
    log_append(&log, 20000);
    log_close(&log);
    uint64_t lsn = log.groups[1].first_lsn;
    log_assert_ok(&log, log_recover_with(&log, lsn + 1, 0));
    assert_true(log.recovery.damaged);
    assert_true(log.recovery.damage_lsn == lsn);
    uint64_t map_end = dbk_journal_map_end(&log.map);
    log_assert_ok(&log, log_recover_with(&log, 0, map_end + 1));
    assert_true(log.recovery.damaged);
    // A journal full to its last page, of which more is said to be durable.
    log_reopen(&log);
    log_append(&log, size_of_pages(dbk_journal_room_pages(log.journal)));
    for (int i = 0; i < 12; i++) log_reopen(&log);
    assert_true(dbk_journal_durable_lsn(log.journal) == map_end);
    log_close(&log);
    log_recover(&log);
    log_assert_ok(&log, log_recover_with(&log, 0, map_end + 1));
    assert_true(log.recovery.damaged);
    assert_true(log.recovery.damage_lsn == map_end);
    log_deinit(&log);
}

static daybook_status count_groups(void *context, uint64_t first_lsn, uint64_t next_lsn, dbk_slice payload,
                                   daybook_error *error) {
    (void)first_lsn;
    (void)next_lsn;
    (void)payload;
    (void)error;
    ++*(size_t *)context;
    return DAYBOOK_OK;
}

// A reader with an old map, lapped by the writer, is told; it never gets a wrong group.
static void lapped_follower_is_told(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 39, 2);
    log_reopen(&log);
    for (int i = 0; i < 10; i++) log_append(&log, 20000);
    uint32_t old_pieces[] = {0, 1};
    dbk_journal_map old_map = log.map;
    old_map.pieces = old_pieces;
    uint64_t start_lsn = log.groups[2].first_lsn;
    uint64_t stop_lsn = log.groups[9].next_lsn;
    for (int i = 0; i < 200; i++) log_append_round(&log, 20000, 2);
    size_t count = 0;
    dbk_journal_recovery recovery;
    log_assert_ok(&log, dbk_journal_recover(&log.config, &old_map, start_lsn, stop_lsn, 0, count_groups,
                                            &count, &recovery, &log.error));
    assert_true(recovery.damaged);
    assert_int_equal(count, 0);
    log_deinit(&log);
}

static daybook_status refuse_third(void *context, uint64_t first_lsn, uint64_t next_lsn, dbk_slice payload,
                                   daybook_error *error) {
    (void)first_lsn;
    (void)next_lsn;
    (void)payload;
    return ++*(int *)context == 3 ? dbk_fail(error, DAYBOOK_ENOMEM, "third") : DAYBOOK_OK;
}

static void failing_visit_ends_recovery(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 40, 1);
    log_reopen(&log);
    for (int i = 0; i < 5; i++) log_append(&log, 100);
    log_close(&log);
    int count = 0;
    dbk_journal_recovery recovery;
    assert_int_equal(dbk_journal_recover(&log.config, &log.map, log.start_lsn, 0, 0, refuse_third, &count,
                                         &recovery, &log.error),
                     DAYBOOK_ENOMEM);
    assert_int_equal(count, 3);
    assert_string_equal(log.error.message, "third");
    assert_int_equal(dbk_sim_open_files(log.sim), 0);
    log_deinit(&log);
}

// ---- Files that are not what they should be ----

static void foreign_journal_is_refused(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 41, 1);
    log_reopen(&log);
    log_append(&log, 100);
    log_close(&log);
    log.config.incarnation++;
    assert_int_equal(log_recover_with(&log, 0, 0), DAYBOOK_EFOREIGN);
    log.config.incarnation--;
    log.config.store_uuid.bytes[3] ^= 1;
    assert_int_equal(log_recover_with(&log, 0, 0), DAYBOOK_EFOREIGN);
    log.config.store_uuid.bytes[3] ^= 1;
    log_recover(&log);
    log_deinit(&log);
}

static void missing_journal_is_not_found(void **state) {
    (void)state;
    test_log log;
    log_init_disk(&log, 42, 1);
    assert_int_equal(log_recover_with(&log, 0, 0), DAYBOOK_ENOTFOUND);
    log_deinit(&log);
}

static void short_file_is_damage(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 43, 3);
    log_reopen(&log);
    for (int i = 0; i < 30; i++) log_append(&log, 50000);
    log_close(&log);
    daybook_file *file = NULL;
    assert_int_equal(log.vfs->open(log.vfs, "/journal", DAYBOOK_VFS_WRITE, &file), 0);
    // Behind the end of what is stored: a hint of later groups may be gone, so it is not taken for a torn
    // end.
    assert_int_equal(log.vfs->truncate(log.vfs, file, 2500000), 0);
    log_assert_ok(&log, log_recover_with(&log, 0, 0));
    assert_true(log.recovery.damaged);
    assert_int_equal(log.replayed, 30);
    assert_int_equal(log_try_open(&log), DAYBOOK_EDAMAGED);
    // Within it.
    assert_int_equal(log.vfs->truncate(log.vfs, file, 700000), 0);
    log_assert_ok(&log, log_recover_with(&log, 0, 0));
    assert_true(log.recovery.damaged);
    assert_true(log.replayed > 5 && log.replayed < 30);
    assert_int_equal(log.vfs->truncate(log.vfs, file, 0), 0);
    log_assert_ok(&log, log_recover_with(&log, 0, 0));
    assert_true(log.recovery.damaged);
    log.vfs->close(log.vfs, file);
    log_deinit(&log);
}

static void unreadable_page_is_damage_and_the_rest_is_read(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 44, 1);
    log_reopen(&log);
    for (int i = 0; i < 10; i++) log_append(&log, 100);
    log_close(&log);
    // Once: reading again page by page heals it.
    dbk_sim_fault once = {.kind = DBK_SIM_READ, .suffix = "journal", .nth = 1, .error = EIO};
    log_assert_ok(&log, dbk_sim_fail(log.sim, &once));
    log_recover(&log);
    // The window, then its fifth page.
    dbk_sim_fault page = {.kind = DBK_SIM_READ, .suffix = "journal", .nth = 5, .error = EIO};
    log_assert_ok(&log, dbk_sim_fail(log.sim, &once));
    log_assert_ok(&log, dbk_sim_fail(log.sim, &page));
    log_assert_ok(&log, log_recover_with(&log, 0, 0));
    assert_true(log.recovery.damaged);
    assert_true(log.replayed >= 2 && log.replayed <= 3);
    dbk_sim_clear_faults(log.sim);
    // Other failures are no damage.
    dbk_sim_fault other = {.kind = DBK_SIM_READ, .suffix = "journal", .nth = 1, .error = ENOMEM};
    log_assert_ok(&log, dbk_sim_fail(log.sim, &other));
    assert_int_equal(log_recover_with(&log, 0, 0), DAYBOOK_ENOMEM);
    dbk_sim_clear_faults(log.sim);
    log_recover(&log);
    log_deinit(&log);
}

static void start_outside_the_map_is_damage(void **state) {
    (void)state;
    test_log log;
    log_init(&log, 45, 1);
    log.start_lsn = log.map.first_lsn - 1;
    assert_int_equal(log_recover_with(&log, 0, 0), DAYBOOK_EDAMAGED);
    log.start_lsn = dbk_journal_map_end(&log.map) + 1;
    assert_int_equal(log_recover_with(&log, 0, 0), DAYBOOK_EDAMAGED);
    log.start_lsn = dbk_journal_map_end(&log.map);
    log_assert_ok(&log, log_recover_with(&log, 0, 0));
    log_deinit(&log);
}

// Random bytes all over the file: never a crash, a hang or a group that was not written.
static void random_damage_never_invents_a_group(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        test_log log;
        log_init(&log, seed, 2);
        log_reopen(&log);
        for (int i = 0; i < 40; i++) log_append_round(&log, 8 + log_random_below(&log, 40000), 3);
        die(&log);
        for (uint64_t i = 1 + log_random_below(&log, 40); i > 0; i--) {
            uint64_t lsn = log.map.first_lsn + log_random_below(&log, 512);
            uint8_t page[DBK_JOURNAL_PAGE_SIZE];
            log_read_page(&log, log.map.first_lsn + log_random_below(&log, 512), page);
            if (log_random_below(&log, 2)) {
                log_put_page(&log, lsn, page); // a page in the wrong place
            } else {
                log_flip(&log, lsn, log_random_below(&log, DBK_JOURNAL_PAGE_SIZE), (uint8_t)log_random(&log));
            }
        }
        log_assert_ok(&log, log_recover_with(&log, 0, 0));
        log_deinit(&log);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(torn_group_is_cut_whatever_pages_remain),
        cmocka_unit_test(torn_group_over_an_older_lap_is_cut_whatever_pages_remain),
        cmocka_unit_test(group_torn_over_the_remains_of_a_torn_group_is_cut),
        cmocka_unit_test(torn_epoch_pages_change_nothing),
        cmocka_unit_test(changed_byte_below_a_later_group_is_damage),
        cmocka_unit_test(changed_byte_in_the_last_group_is_a_torn_end_unless_known_to_be_durable),
        cmocka_unit_test(witness_proves_the_last_group),
        cmocka_unit_test(later_group_far_away_is_found),
        cmocka_unit_test(damage_in_every_lap_position_is_found),
        cmocka_unit_test(contradiction_is_damage_even_at_the_end),
        cmocka_unit_test(page_of_another_group_or_epoch_does_not_complete_a_group),
        cmocka_unit_test(known_clean_end_is_read_no_further),
        cmocka_unit_test(epoch_is_found_where_the_start_has_caught_up),
        cmocka_unit_test(group_that_only_the_page_cache_has_is_not_built_on),
        cmocka_unit_test(follower_reads_up_to_its_bound_beside_the_writer),
        cmocka_unit_test(bound_within_a_group_or_beyond_the_end_is_damage),
        cmocka_unit_test(lapped_follower_is_told),
        cmocka_unit_test(failing_visit_ends_recovery),
        cmocka_unit_test(foreign_journal_is_refused),
        cmocka_unit_test(missing_journal_is_not_found),
        cmocka_unit_test(short_file_is_damage),
        cmocka_unit_test(unreadable_page_is_damage_and_the_rest_is_read),
        cmocka_unit_test(start_outside_the_map_is_damage),
        cmocka_unit_test(random_damage_never_invents_a_group),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
