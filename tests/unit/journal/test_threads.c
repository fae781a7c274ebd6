// SPDX-License-Identifier: Apache-2.0
// One thread writes while others grow and recycle, wipe, and look at the numbers. Meant for the
// thread sanitizer, too.
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#include "fixture.h"

enum { GROUPS = 1500, PIECES_MAX_HERE = 12 };

// The model's manifest, shared by both threads.
typedef struct common {
    test_log log;
    pthread_mutex_t lock; // of log.first, count, groups, map, start_lsn
    atomic_bool is_done;
} common;

// cmocka cannot fail a test from another thread.
static void give_up(const daybook_error *error) {
    (void)fprintf(stderr, "%s\n", error->message);
    abort();
}

static void write_groups(common *shared) {
    test_log *log = &shared->log;
    uint64_t random_state = 5;
    for (int i = 0; i < GROUPS;) {
        random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407u;
        size_t size = 8 + (size_t)(random_state >> 33) % 60000;
        log_group written = {.id = log->next_id, .size = (uint32_t)size};
        log_assert_ok(log, log_fill(log->group, written.id, size));
        daybook_error error;
        daybook_error_init(&error);
        uint64_t next_lsn = 0;
        daybook_status status = dbk_journal_write_group(log->journal, log->group, &next_lsn, &error);
        if (status == DAYBOOK_ELIMIT) {
            sched_yield(); // the other thread makes room
            continue;
        }
        if (status != DAYBOOK_OK) fail_msg("%s", error.message);
        written.next_lsn = next_lsn;
        written.first_lsn = next_lsn - dbk_journal_pages_for(size);
        pthread_mutex_lock(&shared->lock);
        log->groups[log->count++] = written;
        log->next_id++;
        pthread_mutex_unlock(&shared->lock);
        i++;
    }
}

static void adopt(common *shared, uint32_t *pieces, uint64_t first_lsn, uint32_t piece_count,
                  uint64_t start_lsn) {
    test_log *log = &shared->log;
    memcpy(log->pieces, pieces, piece_count * sizeof *pieces);
    log->map.first_lsn = first_lsn;
    log->map.piece_count = piece_count;
    log->start_lsn = start_lsn;
    dbk_free(log->config.allocator, pieces);
    daybook_error error;
    daybook_error_init(&error);
    if (dbk_journal_set_map(log->journal, &log->map, start_lsn, &error) != DAYBOOK_OK) give_up(&error);
}

static void *maintain(void *context) {
    common *shared = context;
    test_log *log = &shared->log;
    for (int round = 0; !atomic_load(&shared->is_done); round++) {
        pthread_mutex_lock(&shared->lock);
        size_t kept = 5;
        size_t first = log->count > log->first + kept ? log->count - kept : log->first;
        uint64_t start_lsn = first > log->first ? log->groups[first - 1].next_lsn : log->start_lsn;
        log->first = first;
        pthread_mutex_unlock(&shared->lock);
        daybook_error error;
        daybook_error_init(&error);
        uint32_t *pieces = NULL;
        uint64_t first_lsn = 0;
        uint32_t piece_count = 0;
        if (dbk_journal_plan_recycle(log->journal, start_lsn, &pieces, &first_lsn, &piece_count, &error) !=
            DAYBOOK_OK) {
            give_up(&error);
        }
        adopt(shared, pieces, first_lsn, piece_count, start_lsn);
        if (round % 16 == 3 && piece_count < PIECES_MAX_HERE) {
            if (dbk_journal_grow(log->journal, 1, &pieces, &first_lsn, &piece_count, &error) != DAYBOOK_OK) {
                give_up(&error);
            }
            adopt(shared, pieces, first_lsn, piece_count, log->start_lsn);
        }
        sched_yield();
    }
    return NULL;
}

static void *wipe(void *context) {
    common *shared = context;
    while (!atomic_load(&shared->is_done)) {
        daybook_error error;
        daybook_error_init(&error);
        if (dbk_journal_wipe_free(shared->log.journal, &error) != DAYBOOK_OK) give_up(&error);
        sched_yield();
    }
    return NULL;
}

static void *look(void *context) {
    common *shared = context;
    uint64_t before = 0;
    while (!atomic_load(&shared->is_done)) {
        uint64_t durable = dbk_journal_durable_lsn(shared->log.journal);
        if (durable < before) abort();
        before = durable;
        uint64_t pages = (uint64_t)PIECES_MAX_HERE * DBK_JOURNAL_PIECE_PAGES;
        if (dbk_journal_used_pages(shared->log.journal) > pages) abort();
        if (dbk_journal_room_pages(shared->log.journal) > 4 * pages) abort(); // never wraps around
        if (dbk_journal_is_poisoned(shared->log.journal)) abort();
        sched_yield();
    }
    return NULL;
}

static void writing_beside_growing_recycling_and_wiping(void **state) {
    (void)state;
    static common shared;
    log_init(&shared.log, 51, 3);
    pthread_mutex_init(&shared.lock, NULL);
    log_reopen(&shared.log);
    pthread_t maintainer;
    pthread_t wiper;
    pthread_t looker;
    assert_int_equal(pthread_create(&maintainer, NULL, maintain, &shared), 0);
    assert_int_equal(pthread_create(&wiper, NULL, wipe, &shared), 0);
    assert_int_equal(pthread_create(&looker, NULL, look, &shared), 0);
    write_groups(&shared);
    atomic_store(&shared.is_done, true);
    pthread_join(maintainer, NULL);
    pthread_join(wiper, NULL);
    pthread_join(looker, NULL);
    dbk_sim_crash(shared.log.sim, DBK_SIM_POWER_LOSS_DROP_ALL);
    (void)log_try_close(&shared.log);
    log_recover(&shared.log);
    assert_true(shared.log.recovery.group_count >= 5);
    log_deinit(&shared.log);
    pthread_mutex_destroy(&shared.lock);
}

// ---- Somebody reaches a piece just being wiped ----

// The wiping thread lets another try, and gives it time, before its zeros go to the disk.
typedef struct slow_wipe {
    daybook_vfs vfs;
    daybook_vfs *below;
    test_log log;
    void *(*act)(void *context); // of the other
    pthread_t other;
    bool is_armed;
    atomic_bool has_acted;
    bool was_late; // it was through only after the zeros
} slow_wipe;

static void *append_one(void *context) {
    slow_wipe *slow = context;
    daybook_error error;
    daybook_error_init(&error);
    uint64_t next_lsn = 0;
    if (dbk_journal_write_group(slow->log.journal, slow->log.group, &next_lsn, &error) != DAYBOOK_OK)
        give_up(&error);
    atomic_store(&slow->has_acted, true);
    return NULL;
}

static void *recycle_all_but_one(void *context) {
    slow_wipe *slow = context;
    if (log_try_recycle(&slow->log, 1) != DAYBOOK_OK) give_up(&slow->log.error);
    atomic_store(&slow->has_acted, true);
    return NULL;
}

static int64_t write_slowly(daybook_vfs *vfs, daybook_file *file, const void *data, size_t size,
                            uint64_t offset) {
    slow_wipe *slow = (slow_wipe *)(void *)vfs;
    if (slow->is_armed) {
        slow->is_armed = false;
        if (pthread_create(&slow->other, NULL, slow->act, slow) != 0) abort();
        struct timespec pause = {.tv_nsec = 1000000};
        for (int i = 0; i < 50 && !atomic_load(&slow->has_acted); i++) (void)nanosleep(&pause, NULL);
        slow->was_late = !atomic_load(&slow->has_acted);
    }
    return slow->below->write_at(slow->below, file, data, size, offset);
}

static int64_t write_behind_the_writer(daybook_vfs *vfs, daybook_file *file, const void *data, size_t size,
                                       uint64_t offset) {
    slow_wipe *slow = (slow_wipe *)(void *)vfs;
    if (slow->is_armed && offset >= DBK_JOURNAL_PIECE_SIZE) {
        slow->is_armed = false;
        slow->act(slow); // in this thread: waiting for the piece would be for ever
    }
    return slow->below->write_at(slow->below, file, data, size, offset);
}

static void begin_slow(slow_wipe *slow, uint64_t seed, void *(*act)(void *context)) {
    test_log *log = &slow->log;
    log_init(log, seed, 2);
    slow->act = act;
    slow->below = log->vfs;
    slow->vfs = *log->vfs;
    slow->vfs.write_at = write_slowly;
    log_recover(log);
    log->config.vfs = &slow->vfs;
    log_open(log);
}

static void writer_waits_for_the_piece_being_wiped(void **state) {
    (void)state;
    static slow_wipe slow;
    test_log *log = &slow.log;
    begin_slow(&slow, 52, append_one);
    log_append(log, 1000);
    log_group written = {.id = log->next_id++, .size = 5000};
    written.first_lsn = dbk_journal_durable_lsn(log->journal);
    written.next_lsn = written.first_lsn + dbk_journal_pages_for(written.size);
    log_assert_ok(log, log_fill(log->group, written.id, written.size));
    slow.is_armed = true;
    log_assert_ok(log, dbk_journal_wipe_free(log->journal, &log->error));
    pthread_join(slow.other, NULL);
    assert_true(slow.was_late);
    log->groups[log->count++] = written;
    log_close(log);
    log_recover(log);
    log_deinit(log);
}

static void writer_does_not_wait_for_another_piece(void **state) {
    (void)state;
    static slow_wipe slow;
    test_log *log = &slow.log;
    begin_slow(&slow, 54, append_one);
    slow.vfs.write_at = write_behind_the_writer;
    log_append(log, 1000);
    log_group written = {.id = log->next_id++, .size = 5000};
    written.first_lsn = dbk_journal_durable_lsn(log->journal);
    written.next_lsn = written.first_lsn + dbk_journal_pages_for(written.size);
    log_assert_ok(log, log_fill(log->group, written.id, written.size));
    slow.is_armed = true;
    log_assert_ok(log, dbk_journal_wipe_free(log->journal, &log->error));
    assert_true(atomic_load(&slow.has_acted));
    log->groups[log->count++] = written;
    log_close(log);
    log_recover(log);
    log_deinit(log);
}

static void piece_being_wiped_is_not_recycled(void **state) {
    (void)state;
    static slow_wipe slow;
    test_log *log = &slow.log;
    begin_slow(&slow, 53, recycle_all_but_one);
    log_append(log, 400000);
    log_append(log, 400000);
    log_recycle(log, 1); // the begin of the first piece is free, its end is in use
    log_append(log, 400000);
    slow.is_armed = true;
    log_assert_ok(log, dbk_journal_wipe_free(log->journal, &log->error));
    pthread_join(slow.other, NULL);
    assert_true(slow.was_late);
    for (int i = 0; i < 3; i++) log_append_round(log, 400000, 1);
    log_close(log);
    log_recover(log);
    log_deinit(log);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writing_beside_growing_recycling_and_wiping),
        cmocka_unit_test(writer_waits_for_the_piece_being_wiped),
        cmocka_unit_test(writer_does_not_wait_for_another_piece),
        cmocka_unit_test(piece_being_wiped_is_not_recycled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
