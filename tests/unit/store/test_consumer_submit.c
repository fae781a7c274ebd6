// SPDX-License-Identifier: Apache-2.0
// Submitted answers: each is told once, and then it is on disk; those of many share commits; and
// what could not be saved, is not pending, or belongs to what is removed or closed meanwhile is told as well.
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/time.h"
#include "daybook/daybook.h"
#include "io/sim/sim.h"
#include "store/consumer.h"

enum { CONSUMER_COUNT = 20, EVENT_COUNT = 200, WORKER_COUNT = 3, PATIENCE_SECONDS = 30 };

static const daybook_slice s = {"S", 1};

// What was told.
typedef struct tally {
    pthread_mutex_t lock;
    pthread_cond_t told;
    unsigned ok, not_found, failed;
    daybook_status last_failure;
} tally;

static void note(void *context, daybook_status status, const daybook_error *error) {
    tally *at = context;
    pthread_mutex_lock(&at->lock);
    assert_true((status == DAYBOOK_OK) == (error == NULL));
    if (status == DAYBOOK_OK) {
        at->ok++;
    } else if (status == DAYBOOK_ENOTFOUND) {
        at->not_found++;
    } else {
        at->failed++;
        at->last_failure = status;
    }
    pthread_cond_signal(&at->told);
    pthread_mutex_unlock(&at->lock);
}

static void await(tally *at, unsigned count) {
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += PATIENCE_SECONDS;
    pthread_mutex_lock(&at->lock);
    int status = 0;
    while (at->ok + at->not_found + at->failed < count && status == 0)
        status = pthread_cond_timedwait(&at->told, &at->lock, &deadline);
    unsigned told = at->ok + at->not_found + at->failed;
    pthread_mutex_unlock(&at->lock);
    assert_int_equal(told, count);
}

typedef struct world {
    dbk_sim *sim;
    daybook_store *store;
    tally tally;
} world;

static void open_store(world *at) {
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.vfs = dbk_sim_vfs(at->sim);
    options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    assert_int_equal(daybook_open("/s", &options, &at->store, NULL), DAYBOOK_OK);
}

static void add_stream(daybook_store *store, int retention, int storage) {
    daybook_slice subject = daybook_text("s.>");
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = s;
    config.subjects = &subject;
    config.subject_count = 1;
    config.retention = retention;
    config.storage = storage;
    assert_int_equal(daybook_stream_add(store, &config, NULL), DAYBOOK_OK);
}

static int set_up(void **state) {
    static world at;
    memset(&at, 0, sizeof at);
    if (dbk_sim_new(19, &at.sim) != DAYBOOK_OK) return -1;
    pthread_mutex_init(&at.tally.lock, NULL);
    pthread_cond_init(&at.tally.told, NULL);
    open_store(&at);
    *state = &at;
    return 0;
}

static int tear_down(void **state) {
    world *at = *state;
    daybook_status status = daybook_close(at->store, NULL);
    dbk_sim_free(at->sim);
    return status == DAYBOOK_OK ? 0 : -1;
}

static void append(daybook_store *store, size_t count) {
    daybook_event events[EVENT_COUNT];
    for (size_t i = 0; i < count; i++) {
        daybook_event_init(&events[i]);
        events[i].subject = daybook_text("s.1.x");
    }
    assert_int_equal(daybook_append(store, events, count, NULL, NULL, NULL), DAYBOOK_OK);
}

static daybook_consumer *add(daybook_store *store, const char *name, int ack) {
    daybook_consumer_config config;
    daybook_consumer_config_init(&config);
    config.name = daybook_text(name);
    config.ack_wait_ns = 10 * DBK_SECOND_NS;
    config.ack = ack;
    daybook_consumer *consumer;
    assert_int_equal(daybook_consumer_add(store, s, &config, &consumer, NULL), DAYBOOK_OK);
    return consumer;
}

// How many came.
static size_t fetch(daybook_consumer *consumer, size_t count) {
    daybook_fetch_options options;
    daybook_fetch_options_init(&options);
    options.count = count;
    options.timeout_ms = 0;
    daybook_batch *batch;
    daybook_status status = daybook_consumer_fetch(consumer, &options, &batch, NULL);
    if (status != DAYBOOK_OK) {
        assert_int_equal(status, DAYBOOK_TIMEOUT);
        return 0;
    }
    size_t got = batch->count;
    daybook_batch_release(batch);
    return got;
}

static void submit(world *at, daybook_consumer *consumer, uint64_t seq) {
    assert_int_equal(daybook_consumer_ack_submit(consumer, seq, note, &at->tally, NULL), DAYBOOK_OK);
}

static void lose_power_and_open(world *at, dbk_sim_crash_kind kind) {
    dbk_sim_stop_now(at->sim);
    (void)daybook_close(at->store, NULL);
    dbk_sim_crash(at->sim, kind);
    open_store(at);
}

static void what_is_told_is_on_disk(void **state) {
    world *at = *state;
    add_stream(at->store, DAYBOOK_RETENTION_LIMITS, DAYBOOK_STORAGE_FILE);
    append(at->store, 10);
    daybook_consumer *consumer = add(at->store, "c", DAYBOOK_ACK_EXPLICIT);
    assert_int_equal(fetch(consumer, 10), 10);
    for (uint64_t seq = 1; seq <= 9; seq++) submit(at, consumer, seq);
    submit(at, consumer, 9); // twice
    submit(at, consumer, 99);
    await(&at->tally, 11);
    assert_int_equal(at->tally.ok, 9);
    assert_int_equal(at->tally.not_found, 2);
    daybook_consumer_close(consumer);
    lose_power_and_open(at, DBK_SIM_POWER_LOSS_DROP_ALL);
    assert_int_equal(daybook_consumer_open(at->store, s, daybook_text("c"), &consumer, NULL), DAYBOOK_OK);
    dbk_sim_advance_ns(at->sim, 11 * DBK_SECOND_NS);
    assert_int_equal(fetch(consumer, 10), 1);
    assert_int_equal(daybook_consumer_ack(consumer, 10, 0, NULL), DAYBOOK_OK);
    daybook_consumer_close(consumer);
}

static void submit_end(world *at, daybook_consumer *consumer, uint64_t seq) {
    assert_int_equal(daybook_consumer_term_submit(consumer, seq, daybook_text("no"), note, &at->tally, NULL),
                     DAYBOOK_OK);
}

static void note_advisory(void *context, daybook_slice subject, daybook_slice json) {
    (void)json;
    static const char expected[] = "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.S.c";
    assert_int_equal(subject.size, sizeof expected - 1);
    assert_memory_equal(subject.data, expected, subject.size);
    ++*(int *)context;
}

// A termination too: it does not come again, whatever is lost behind what was told.
static void what_is_terminated_and_told_is_on_disk(void **state) {
    world *at = *state;
    add_stream(at->store, DAYBOOK_RETENTION_LIMITS, DAYBOOK_STORAGE_FILE);
    append(at->store, 10);
    daybook_consumer *consumer = add(at->store, "c", DAYBOOK_ACK_EXPLICIT);
    assert_int_equal(fetch(consumer, 10), 10);
    int advisories = 0;
    assert_int_equal(daybook_advisory_watch(at->store, note_advisory, &advisories, NULL), DAYBOOK_OK);
    for (uint64_t seq = 1; seq <= 5; seq++) submit_end(at, consumer, seq);
    submit(at, consumer, 6);
    submit_end(at, consumer, 6); // twice
    submit_end(at, consumer, 99);
    await(&at->tally, 8);
    assert_int_equal(at->tally.ok, 6);
    assert_int_equal(at->tally.not_found, 2);
    (void)daybook_maintain(at->store, NULL);
    assert_int_equal(advisories, 5);
    // One that nobody waits for is taken back.
    assert_int_equal(daybook_consumer_term(consumer, 7, daybook_text(""), NULL), DAYBOOK_OK);
    daybook_consumer_close(consumer);
    lose_power_and_open(at, DBK_SIM_POWER_LOSS_DROP_ALL);
    assert_int_equal(daybook_consumer_open(at->store, s, daybook_text("c"), &consumer, NULL), DAYBOOK_OK);
    dbk_sim_advance_ns(at->sim, 11 * DBK_SECOND_NS);
    assert_int_equal(fetch(consumer, 10), 4); // 7 to 10
    daybook_consumer_close(consumer);
}

static void a_termination_that_is_refused_changes_nothing(void **state) {
    world *at = *state;
    add_stream(at->store, DAYBOOK_RETENTION_LIMITS, DAYBOOK_STORAGE_FILE);
    append(at->store, 1);
    daybook_consumer *consumer = add(at->store, "c", DAYBOOK_ACK_EXPLICIT);
    assert_int_equal(fetch(consumer, 1), 1);
    daybook_slice reason = daybook_text("\x01");
    assert_int_equal(daybook_consumer_term_submit(consumer, 1, reason, note, &at->tally, NULL),
                     DAYBOOK_EINVALID);
    assert_int_equal(daybook_consumer_term_submit(NULL, 1, reason, note, &at->tally, NULL), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_consumer_term_submit(consumer, 1, reason, NULL, NULL, NULL), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_consumer_ack(consumer, 1, 0, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_consumer_remove(at->store, s, daybook_text("c"), NULL), DAYBOOK_OK);
    assert_int_equal(daybook_consumer_term_submit(consumer, 1, daybook_text(""), note, &at->tally, NULL),
                     DAYBOOK_ENOTFOUND);
    assert_int_equal(at->tally.ok + at->tally.not_found + at->tally.failed, 0);
    daybook_consumer_close(consumer);
}

static void all_before_it_with_policy_all(void **state) {
    world *at = *state;
    add_stream(at->store, DAYBOOK_RETENTION_LIMITS, DAYBOOK_STORAGE_FILE);
    append(at->store, 10);
    daybook_consumer *consumer = add(at->store, "c", DAYBOOK_ACK_ALL);
    assert_int_equal(fetch(consumer, 10), 10);
    submit(at, consumer, 8);
    await(&at->tally, 1);
    daybook_consumer_close(consumer);
    lose_power_and_open(at, DBK_SIM_POWER_LOSS_DROP_ALL);
    assert_int_equal(daybook_consumer_open(at->store, s, daybook_text("c"), &consumer, NULL), DAYBOOK_OK);
    dbk_sim_advance_ns(at->sim, 11 * DBK_SECOND_NS);
    assert_int_equal(fetch(consumer, 10), 2);
    daybook_consumer_close(consumer);
}

// Changes and whole states in turn: the latter are the keeper's, here daybook_maintain's.
static void states_are_saved_in_between(void **state) {
    world *at = *state;
    add_stream(at->store, DAYBOOK_RETENTION_LIMITS, DAYBOOK_STORAGE_FILE);
    append(at->store, EVENT_COUNT);
    daybook_consumer *consumer = add(at->store, "c", DAYBOOK_ACK_EXPLICIT);
    atomic_load(&at->store->consumers)->checkpoint_changes = 50;
    assert_int_equal(fetch(consumer, EVENT_COUNT), EVENT_COUNT);
    for (uint64_t seq = 1; seq <= EVENT_COUNT; seq++) {
        submit(at, consumer, seq);
        (void)daybook_maintain(at->store, NULL);
        await(&at->tally, (unsigned)seq);
    }
    assert_int_equal(at->tally.ok, EVENT_COUNT);
    daybook_consumer_close(consumer);
    lose_power_and_open(at, DBK_SIM_POWER_LOSS_DROP_ALL);
    assert_int_equal(daybook_consumer_open(at->store, s, daybook_text("c"), &consumer, NULL), DAYBOOK_OK);
    dbk_sim_advance_ns(at->sim, 11 * DBK_SECOND_NS);
    assert_int_equal(fetch(consumer, 10), 0);
    daybook_consumer_close(consumer);
}

static void what_a_work_queue_settles_is_removed(void **state) {
    world *at = *state;
    add_stream(at->store, DAYBOOK_RETENTION_WORKQUEUE, DAYBOOK_STORAGE_FILE);
    append(at->store, 10);
    daybook_consumer *consumer = add(at->store, "c", DAYBOOK_ACK_EXPLICIT);
    assert_int_equal(fetch(consumer, 10), 10);
    for (uint64_t seq = 1; seq <= 6; seq++) submit(at, consumer, seq);
    (void)daybook_maintain(at->store, NULL);
    await(&at->tally, 6);
    assert_int_equal(at->tally.ok, 6);
    daybook_consumer_close(consumer);
    lose_power_and_open(at, DBK_SIM_POWER_LOSS_DROP_ALL);
    daybook_stream_info *info;
    assert_int_equal(daybook_stream_get_info(at->store, s, &info, NULL), DAYBOOK_OK);
    assert_int_equal(info->message_count, 4);
    daybook_stream_info_release(at->store, info);
}

static void what_is_not_kept_is_told_at_once(void **state) {
    world *at = *state;
    add_stream(at->store, DAYBOOK_RETENTION_LIMITS, DAYBOOK_STORAGE_MEMORY);
    append(at->store, 3);
    daybook_consumer *consumer = add(at->store, "c", DAYBOOK_ACK_EXPLICIT);
    assert_int_equal(fetch(consumer, 3), 3);
    submit(at, consumer, 1);
    submit(at, consumer, 7);
    assert_int_equal(at->tally.ok, 1);
    assert_int_equal(at->tally.not_found, 1);
    assert_int_equal(daybook_consumer_ack_submit(NULL, 1, note, &at->tally, NULL), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_consumer_ack_submit(consumer, 1, NULL, NULL, NULL), DAYBOOK_EMISUSE);
    daybook_consumer_close(consumer);
}

static void a_sync_that_fails_is_told(void **state) {
    world *at = *state;
    add_stream(at->store, DAYBOOK_RETENTION_LIMITS, DAYBOOK_STORAGE_FILE);
    append(at->store, 3);
    daybook_consumer *consumer = add(at->store, "c", DAYBOOK_ACK_EXPLICIT);
    assert_int_equal(fetch(consumer, 3), 3);
    (void)daybook_maintain(at->store, NULL);
    dbk_sim_fault fault = {
        .kind = DBK_SIM_ANY, .suffix = "journal", .nth = 1, .is_forever = true, .error = 5};
    assert_int_equal(dbk_sim_fail(at->sim, &fault), DAYBOOK_OK);
    submit_end(at, consumer, 1);
    await(&at->tally, 1);
    assert_int_equal(at->tally.failed, 1);
    assert_int_equal(at->tally.last_failure, DAYBOOK_EUNCERTAIN);
    // It counts all the same; the next one is refused as well, by closing where nobody serves it before.
    assert_int_equal(daybook_consumer_ack(consumer, 1, 0, NULL), DAYBOOK_ENOTFOUND);
    submit(at, consumer, 2);
    daybook_consumer_close(consumer);
    dbk_sim_clear_faults(at->sim);
    assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_EUNCERTAIN);
    await(&at->tally, 2);
    assert_int_equal(at->tally.failed, 2);
    assert_int_equal(at->tally.last_failure, DAYBOOK_EPOISONED);
    open_store(at);
}

static void the_consumer_is_removed_meanwhile(void **state) {
    world *at = *state;
    add_stream(at->store, DAYBOOK_RETENTION_WORKQUEUE, DAYBOOK_STORAGE_FILE);
    append(at->store, 3);
    daybook_consumer *consumer = add(at->store, "c", DAYBOOK_ACK_EXPLICIT);
    assert_int_equal(fetch(consumer, 3), 3);
    submit(at, consumer, 1); // is the keeper's to save, which does not run
    assert_int_equal(daybook_consumer_remove(at->store, s, daybook_text("c"), NULL), DAYBOOK_OK);
    await(&at->tally, 1);
    assert_int_equal(at->tally.not_found, 1);
    assert_int_equal(daybook_consumer_ack_submit(consumer, 2, note, &at->tally, NULL), DAYBOOK_ENOTFOUND);
    daybook_consumer_close(consumer);
}

static void closing_saves_what_is_waited_for(void **state) {
    world *at = *state;
    add_stream(at->store, DAYBOOK_RETENTION_WORKQUEUE, DAYBOOK_STORAGE_FILE);
    append(at->store, 3);
    daybook_consumer *consumer = add(at->store, "c", DAYBOOK_ACK_EXPLICIT);
    assert_int_equal(fetch(consumer, 3), 3);
    submit(at, consumer, 1);
    daybook_consumer_close(consumer);
    assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
    assert_int_equal(at->tally.ok, 1);
    open_store(at);
}

static void many_share_a_commit(void **state) {
    world *at = *state;
    add_stream(at->store, DAYBOOK_RETENTION_LIMITS, DAYBOOK_STORAGE_FILE);
    append(at->store, EVENT_COUNT);
    daybook_consumer *consumers[CONSUMER_COUNT];
    for (size_t i = 0; i < CONSUMER_COUNT; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "c%zu", i);
        consumers[i] = add(at->store, name, DAYBOOK_ACK_EXPLICIT);
        assert_int_equal(fetch(consumers[i], EVENT_COUNT), EVENT_COUNT);
    }
    daybook_store_info before = {.size = sizeof before}, after = {.size = sizeof after};
    assert_int_equal(daybook_info(at->store, &before, NULL), DAYBOOK_OK);
    for (uint64_t seq = 1; seq <= EVENT_COUNT; seq++) {
        for (size_t i = 0; i < CONSUMER_COUNT; i++) submit(at, consumers[i], seq);
    }
    await(&at->tally, CONSUMER_COUNT * EVENT_COUNT);
    assert_int_equal(at->tally.ok, CONSUMER_COUNT * EVENT_COUNT);
    assert_int_equal(daybook_info(at->store, &after, NULL), DAYBOOK_OK);
    assert_true(after.group_count - before.group_count < CONSUMER_COUNT * EVENT_COUNT / 2);
    for (size_t i = 0; i < CONSUMER_COUNT; i++) daybook_consumer_close(consumers[i]);
}

// ---- Threads ----------------------------------------------------------------------------------------------

typedef struct worker {
    world *at;
    daybook_consumer *consumer;
    uint64_t first;
} worker;

static void *acknowledge(void *context) {
    const worker *mine = context;
    for (uint64_t seq = mine->first; seq <= EVENT_COUNT; seq += WORKER_COUNT) {
        submit(mine->at, mine->consumer, seq);
        if (seq % 7 == 0) (void)daybook_consumer_ack(mine->consumer, seq, DAYBOOK_ACK_CONFIRMED, NULL);
    }
    return NULL;
}

// Beside confirmed answers, the keeper, and states that are saved in between.
static void threads_lose_none(void **state) {
    (void)state;
    static world at;
    memset(&at, 0, sizeof at);
    pthread_mutex_init(&at.tally.lock, NULL);
    pthread_cond_init(&at.tally.told, NULL);
    assert_int_equal(daybook_open(":memory:", NULL, &at.store, NULL), DAYBOOK_OK);
    add_stream(at.store, DAYBOOK_RETENTION_LIMITS, DAYBOOK_STORAGE_FILE);
    append(at.store, EVENT_COUNT);
    daybook_consumer *consumer = add(at.store, "c", DAYBOOK_ACK_EXPLICIT);
    atomic_load(&at.store->consumers)->checkpoint_changes = 100;
    assert_int_equal(fetch(consumer, EVENT_COUNT), EVENT_COUNT);
    pthread_t threads[WORKER_COUNT];
    worker workers[WORKER_COUNT];
    for (size_t i = 0; i < WORKER_COUNT; i++) {
        workers[i] = (worker){&at, consumer, i + 1};
        assert_int_equal(pthread_create(&threads[i], NULL, acknowledge, &workers[i]), 0);
    }
    for (size_t i = 0; i < WORKER_COUNT; i++) pthread_join(threads[i], NULL);
    daybook_consumer_close(consumer);
    await(&at.tally, EVENT_COUNT);
    assert_int_equal(at.tally.ok, EVENT_COUNT);
    assert_int_equal(daybook_close(at.store, NULL), DAYBOOK_OK);
}

// ---- A full queue -----------------------------------------------------------------------------------------

// Appends wait behind a completion that does not end: as if the disk stood still.
typedef struct jam {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stands, is_over;
    unsigned completed;
} jam;

static void complete(void *context, daybook_status status, const daybook_receipt *receipts,
                     size_t receipt_count, const daybook_error *error) {
    jam *of = context;
    (void)status, (void)receipts, (void)receipt_count, (void)error;
    pthread_mutex_lock(&of->lock);
    of->stands = true;
    pthread_cond_broadcast(&of->changed);
    while (!of->is_over) pthread_cond_wait(&of->changed, &of->lock);
    of->completed++;
    pthread_cond_broadcast(&of->changed);
    pthread_mutex_unlock(&of->lock);
}

static void submit_bytes(daybook_store *store, jam *of, size_t size) {
    void *data = test_calloc(1, size);
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("s.1.x");
    event.data = daybook_bytes(data, size);
    assert_int_equal(daybook_append_submit(store, &event, 1, NULL, complete, of, NULL), DAYBOOK_OK);
    test_free(data);
}

typedef struct late {
    world *at;
    daybook_consumer *consumer;
    atomic_bool has_returned;
} late;

static void *acknowledge_late(void *context) {
    late *mine = context;
    submit(mine->at, mine->consumer, 1);
    atomic_store(&mine->has_returned, true);
    return NULL;
}

static void a_full_queue_holds_up_nobody_who_acknowledges(void **state) {
    (void)state;
    enum { MEBIBYTE = 1 << 20, NAP_MS = 10 };
    static const size_t sizes[] = {8 * MEBIBYTE, 8 * MEBIBYTE, 8 * MEBIBYTE, 12 * MEBIBYTE}; // 32 are taken
    static const size_t size_count = sizeof sizes / sizeof *sizes;
    static world at;
    memset(&at, 0, sizeof at);
    pthread_mutex_init(&at.tally.lock, NULL);
    pthread_cond_init(&at.tally.told, NULL);
    assert_int_equal(daybook_open(":memory:", NULL, &at.store, NULL), DAYBOOK_OK);
    add_stream(at.store, DAYBOOK_RETENTION_LIMITS, DAYBOOK_STORAGE_FILE);
    append(at.store, 1);
    daybook_consumer *consumer = add(at.store, "c", DAYBOOK_ACK_EXPLICIT);
    assert_int_equal(fetch(consumer, 1), 1);
    jam queue = {.stands = false};
    pthread_mutex_init(&queue.lock, NULL);
    pthread_cond_init(&queue.changed, NULL);
    submit_bytes(at.store, &queue, 1);
    pthread_mutex_lock(&queue.lock);
    while (!queue.stands) pthread_cond_wait(&queue.changed, &queue.lock);
    pthread_mutex_unlock(&queue.lock);
    for (size_t i = 0; i < size_count; i++) submit_bytes(at.store, &queue, sizes[i]);
    late mine = {.at = &at, .consumer = consumer};
    atomic_init(&mine.has_returned, false);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, acknowledge_late, &mine), 0);
    for (int i = 0; i < PATIENCE_SECONDS * 1000 / NAP_MS && !atomic_load(&mine.has_returned); i++) {
        struct timespec nap = {.tv_nsec = NAP_MS * 1000000L};
        nanosleep(&nap, NULL);
    }
    bool has_returned = atomic_load(&mine.has_returned);
    assert_int_equal(at.tally.ok, 0); // it is not durable, and not said to be
    pthread_mutex_lock(&queue.lock);
    queue.is_over = true;
    pthread_cond_broadcast(&queue.changed);
    while (queue.completed < 1 + size_count) pthread_cond_wait(&queue.changed, &queue.lock);
    pthread_mutex_unlock(&queue.lock);
    pthread_join(thread, NULL);
    await(&at.tally, 1);
    assert_int_equal(at.tally.ok, 1);
    assert_true(has_returned);
    daybook_consumer_close(consumer);
    assert_int_equal(daybook_close(at.store, NULL), DAYBOOK_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_told_is_on_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_terminated_and_told_is_on_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_termination_that_is_refused_changes_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(all_before_it_with_policy_all, set_up, tear_down),
        cmocka_unit_test_setup_teardown(states_are_saved_in_between, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_a_work_queue_settles_is_removed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_kept_is_told_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_sync_that_fails_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_consumer_is_removed_meanwhile, set_up, tear_down),
        cmocka_unit_test_setup_teardown(closing_saves_what_is_waited_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_share_a_commit, set_up, tear_down),
        cmocka_unit_test(threads_lose_none),
        cmocka_unit_test(a_full_queue_holds_up_nobody_who_acknowledges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
