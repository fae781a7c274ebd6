// SPDX-License-Identifier: Apache-2.0
// Crashes at every change of the disk, again and again on one journal, also within recovery and opening:
// everything acknowledged is replayed, in order, and behind it at most the one group in doubt. Each case is a
// seed, named when it fails; DAYBOOK_TEST_SEED runs one, DAYBOOK_TEST_CASES that many.
#include <errno.h>

#include "fixture.h"

static uint64_t number_from(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

static size_t random_size(test_log *log) {
    switch (log_random_below(log, 4)) {
    case 0:
        return 8 + log_random_below(log, 200);
    case 1:
        return 8 + log_random_below(log, 30000);
    case 2:
        return 8 + log_random_below(log, 300000);
    default:
        return 8 + log_random_below(log, 4000);
    }
}

// One random thing to do with an open journal. Anything but OK and ELIMIT means that the disk stopped.
static daybook_status step(test_log *log) {
    size_t size = random_size(log);
    switch (log_random_below(log, 24)) {
    case 0:
        return dbk_journal_write_witness(log->journal, &log->error);
    case 1:
        return log_try_recycle(log, log_random_below(log, 5));
    case 2:
        return log->map.piece_count < 8 && log_random_below(log, 4) == 0 ? log_try_grow(log, 1) : DAYBOOK_OK;
    case 3:
        return log_random_below(log, 4) == 0 ? dbk_journal_wipe_free(log->journal, &log->error) : DAYBOOK_OK;
    case 4: {
        daybook_status status = log_try_close(log);
        if (status == DAYBOOK_OK) status = log_try_recover(log);
        return status == DAYBOOK_OK ? log_try_open(log) : status;
    }
    default:
        if (dbk_journal_room_pages(log->journal) < dbk_journal_pages_for(size)) {
            DBK_TRY(log_try_recycle(log, log_random_below(log, 4)));
        }
        return log_try_append(log, size);
    }
}

static dbk_sim_crash_kind random_crash(test_log *log) {
    switch (log_random_below(log, 6)) {
    case 0:
        return DBK_SIM_POWER_LOSS_KEEP_ALL;
    case 1:
        return DBK_SIM_POWER_LOSS_DROP_ALL;
    case 2:
        return DBK_SIM_KILL;
    default:
        return DBK_SIM_POWER_LOSS;
    }
}

static void crash(test_log *log) {
    dbk_sim_crash(log->sim, random_crash(log));
    if (log->journal != NULL) (void)log_try_close(log);
}

// Recover, open and work until the disk stops, at a random step.
static void run_until_crash(test_log *log, uint64_t steps) {
    dbk_sim_stop_after(log->sim, steps);
    daybook_status status = log_try_recover(log);
    if (status == DAYBOOK_OK) status = log_try_open(log);
    while (status == DAYBOOK_OK || status == DAYBOOK_ELIMIT) status = step(log);
    if (!dbk_sim_is_stopped(log->sim)) fail_msg("%s: %s", daybook_status_name(status), log->error.message);
    crash(log);
}

static uint64_t seed_running; // 0: none

static void run_case(uint64_t seed) {
    test_log log;
    log_init(&log, seed, 2 + (uint32_t)(seed % 2));
    if (seed % 5 == 0) dbk_sim_set_short_transfers(log.sim, 20);
    uint64_t rounds = 2 + log_random_below(&log, 10);
    for (uint64_t i = 0; i < rounds; i++) {
        // Often within recovery and opening (few steps), also several times in a row.
        uint64_t steps = 1 + log_random_below(&log, log_random_below(&log, 3) == 0 ? 4 : 80);
        run_until_crash(&log, steps);
    }
    log_recover(&log);
    log_open(&log);
    for (int i = 0; i < 5; i++) log_append_round(&log, random_size(&log), 3);
    log_reopen(&log);
    log_close(&log);
    log_deinit(&log);
}

static void crashes_at_random_steps_lose_nothing_acknowledged(void **state) {
    (void)state;
    uint64_t first = number_from("DAYBOOK_TEST_SEED", 1);
    uint64_t count = number_from("DAYBOOK_TEST_CASES", getenv("DAYBOOK_TEST_SEED") != NULL ? 1 : 200);
    for (uint64_t seed = first; seed < first + count; seed++) {
        seed_running = seed;
        run_case(seed);
    }
    seed_running = 0;
}

static int name_seed(void **state) {
    (void)state;
    if (seed_running != 0) print_error("DAYBOOK_TEST_SEED=%llu fails\n", (unsigned long long)seed_running);
    return 0;
}

// The same work with a crash at step 1, 2, 3 ... until it runs through.
static bool run_script(uint64_t stop, dbk_sim_crash_kind kind) {
    test_log log;
    log_init(&log, stop, 2);
    dbk_sim_stop_after(log.sim, stop);
    daybook_status status = log_try_recover(&log);
    if (status == DAYBOOK_OK) status = log_try_open(&log);
    for (int i = 0; i < 12 && status == DAYBOOK_OK; i++) {
        status = log_try_append(&log, i % 4 == 3 ? 200000 : 3000);
        if (status == DAYBOOK_OK && i == 4) status = dbk_journal_write_witness(log.journal, &log.error);
        if (status == DAYBOOK_OK && i == 5) status = log_try_recycle(&log, 2);
        if (status == DAYBOOK_OK && i == 6) status = log_try_grow(&log, 2);
        if (status == DAYBOOK_OK && i == 8) status = dbk_journal_wipe_free(log.journal, &log.error);
        if (status == DAYBOOK_OK && i == 9) {
            status = log_try_close(&log);
            if (status == DAYBOOK_OK) status = log_try_recover(&log);
            if (status == DAYBOOK_OK) status = log_try_open(&log);
        }
    }
    if (status == DAYBOOK_OK && log.journal != NULL) status = log_try_close(&log);
    bool has_stopped = dbk_sim_is_stopped(log.sim);
    if (!has_stopped) log_assert_ok(&log, status);
    dbk_sim_crash(log.sim, kind);
    if (log.journal != NULL) (void)log_try_close(&log);
    // Three crashes in a row in recovery and opening.
    for (uint64_t i = 1; i <= 3; i++) {
        dbk_sim_stop_after(log.sim, i);
        if (log_try_recover(&log) == DAYBOOK_OK) (void)log_try_open(&log);
        dbk_sim_crash(log.sim, kind);
        if (log.journal != NULL) (void)log_try_close(&log);
    }
    log_recover(&log);
    log_open(&log);
    log_append(&log, 5000);
    log_reopen(&log);
    log_deinit(&log);
    return has_stopped;
}

static void crash_at_every_step_of_a_script_loses_nothing_acknowledged(void **state) {
    (void)state;
    static const dbk_sim_crash_kind kinds[] = {DBK_SIM_POWER_LOSS, DBK_SIM_POWER_LOSS_KEEP_ALL,
                                               DBK_SIM_POWER_LOSS_DROP_ALL, DBK_SIM_KILL};
    for (size_t i = 0; i < 4; i++) {
        uint64_t stop = 1;
        while (run_script(stop, kinds[i])) stop++;
        assert_true(stop > 25);
    }
}

// Creation: nothing, or a journal that opens. The caller's temporary name is played by the directory sync.
static void crash_while_creating_leaves_nothing_half_done(void **state) {
    (void)state;
    for (uint64_t stop = 1;; stop++) {
        test_log log;
        log_init_disk(&log, stop, 3);
        dbk_sim_stop_after(log.sim, stop);
        daybook_status status = dbk_journal_create(&log.config, 3, &log.error);
        bool is_created = status == DAYBOOK_OK && log.vfs->sync_directory(log.vfs, "/") == 0;
        dbk_sim_crash(log.sim, DBK_SIM_POWER_LOSS);
        if (!is_created) {
            (void)log.vfs->unlink(log.vfs,
                                  log.config.path); // what a caller does with a leftover temporary name
            log_create(&log);
        }
        log_recover(&log);
        log_open(&log);
        log_append(&log, 100000);
        log_reopen(&log);
        log_deinit(&log);
        if (is_created) break;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(crashes_at_random_steps_lose_nothing_acknowledged, name_seed),
        cmocka_unit_test(crash_at_every_step_of_a_script_loses_nothing_acknowledged),
        cmocka_unit_test(crash_while_creating_leaves_nothing_half_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
