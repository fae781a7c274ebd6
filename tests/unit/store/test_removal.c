// SPDX-License-Identifier: Apache-2.0
// What a removal says of itself when memory runs out on the way: counts, and what is there after reopening.
// And what it counts when snapshots that may have folded the event are stored while it looks for them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "daybook/daybook.h"
#include "io/sim/sim.h"
#include "lib/fault_allocator.h"

enum { BATCH = 1000, BATCH_COUNT = 104, EVENT_COUNT = BATCH * BATCH_COUNT, ATTEMPTS_MAX = 2000 };

typedef struct state_of_stream {
    uint64_t count, bytes;
} state_of_stream;

static daybook_store *open_store(dbk_sim *sim, fault_allocator *faults) {
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.vfs = dbk_sim_vfs(sim);
    options.allocator = &faults->allocator;
    options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    options.journal_max_bytes = 64 << 20;
    options.memtable_bytes = 64 << 20;
    daybook_store *store = NULL;
    assert_int_equal(daybook_open("/s", &options, &store, NULL), DAYBOOK_OK);
    return store;
}

// Two subjects by turns: the events of one nowhere lie together.
static void fill(daybook_store *store) {
    static daybook_event events[BATCH];
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    for (size_t i = 0; i < BATCH; i++) {
        daybook_event_init(&events[i]);
        events[i].subject = daybook_text(i % 2 == 0 ? "many.1.even" : "many.1.odd");
    }
    for (size_t i = 0; i < BATCH_COUNT; i++)
        assert_int_equal(daybook_append(store, events, BATCH, &options, NULL, NULL), DAYBOOK_OK);
}

static state_of_stream look(daybook_store *store) {
    daybook_stream_info *info = NULL;
    assert_int_equal(daybook_stream_get_info(store, daybook_text("MANY"), &info, NULL), DAYBOOK_OK);
    state_of_stream said = {info->message_count, info->byte_count};
    daybook_stream_info_release(store, info);
    daybook_query query;
    daybook_query_init(&query);
    uint64_t found = 0;
    assert_int_equal(daybook_count(store, &query, &found, NULL), DAYBOOK_OK);
    assert_int_equal(found, said.count);
    return said;
}

// So many events that they take two commits: what the first removed is counted when the second fails.
static void a_purge_that_fails_half_way_says_what_it_removed(void **state) {
    (void)state;
    dbk_sim *sim = NULL;
    assert_int_equal(dbk_sim_new(3, &sim), DAYBOOK_OK);
    fault_allocator faults;
    fault_allocator_init(&faults);
    daybook_store *store = open_store(sim, &faults);
    fill(store);
    state_of_stream before = look(store);
    assert_int_equal(before.count, EVENT_COUNT);
    uint64_t cost = before.bytes / EVENT_COUNT; // about: the subjects are of different length
    daybook_purge_options options;
    daybook_purge_options_init(&options);
    options.filter = daybook_text("many.1.even");
    uint64_t sum = 0;
    bool was_partial = false;
    daybook_status status = DAYBOOK_ENOMEM;
    for (uint64_t step = 1; status != DAYBOOK_OK && step < ATTEMPTS_MAX; step++) {
        uint64_t removed = 7;
        fault_allocator_fail(&faults, was_partial ? 0 : step, true);
        status = daybook_stream_purge(store, daybook_text("MANY"), &options, &removed, NULL);
        fault_allocator_fail(&faults, 0, false);
        assert_true(status == DAYBOOK_OK || status == DAYBOOK_ENOMEM);
        sum += removed;
        if (status == DAYBOOK_OK || removed == 0) continue;
        assert_false(was_partial);
        was_partial = true;
        state_of_stream half = look(store);
        assert_int_equal(half.count, EVENT_COUNT - sum);
        assert_true(half.bytes < before.bytes - removed * (cost - 1));
        dbk_sim_crash(sim, DBK_SIM_POWER_LOSS_DROP_ALL);
        (void)daybook_close(store, NULL);
        store = open_store(sim, &faults);
        state_of_stream again = look(store);
        assert_int_equal(again.count, half.count);
        assert_int_equal(again.bytes, half.bytes);
    }
    assert_int_equal(status, DAYBOOK_OK);
    assert_true(was_partial);
    assert_int_equal(sum, EVENT_COUNT / 2);
    assert_int_equal(look(store).count, EVENT_COUNT / 2);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    assert_int_equal(fault_allocator_live(&faults), 0);
    dbk_sim_free(sim);
}

// A memory of which one allocation, the `nth` of one thread, waits until another thread stored a snapshot, or
// could not because of a lock that is held there.
enum { ALLOCATIONS_MAX = 24, HOLD_MS = 50 };

typedef struct holding_allocator {
    daybook_allocator allocator;
    pthread_t held_thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int nth; // left to count; 0: nothing is held
    bool is_wanted, is_stored;
} holding_allocator;

static void *hold_and_resize(void *context, void *data, size_t size) {
    holding_allocator *holding = context;
    (void)pthread_mutex_lock(&holding->lock);
    if (holding->nth > 0 && pthread_equal(pthread_self(), holding->held_thread) && --holding->nth == 0) {
        holding->is_wanted = true;
        (void)pthread_cond_broadcast(&holding->changed);
        struct timespec until;
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += HOLD_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        while (!holding->is_stored &&
               pthread_cond_timedwait(&holding->changed, &holding->lock, &until) == 0) {
        }
    }
    (void)pthread_mutex_unlock(&holding->lock);
    return realloc(data, size);
}

static void release_held(void *context, void *data) {
    (void)context;
    free(data);
}

typedef struct storing {
    daybook_store *store;
    holding_allocator *holding;
    daybook_status status;
} storing;

static daybook_status append_one(daybook_store *store, const char *subject) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    event.data = daybook_text("{}");
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    return daybook_append(store, &event, 1, &options, NULL, NULL);
}

static void *store_when_wanted(void *context) {
    storing *work = context;
    holding_allocator *holding = work->holding;
    (void)pthread_mutex_lock(&holding->lock);
    while (!holding->is_wanted) (void)pthread_cond_wait(&holding->changed, &holding->lock);
    (void)pthread_mutex_unlock(&holding->lock);
    work->status = append_one(work->store, "$KV.SNAPSHOTS.orders.1");
    (void)pthread_mutex_lock(&holding->lock);
    holding->is_stored = true;
    (void)pthread_cond_broadcast(&holding->changed);
    (void)pthread_mutex_unlock(&holding->lock);
    return NULL;
}

static void check_count(daybook_store *store, const char *stream) {
    daybook_stream_info *info = NULL;
    assert_int_equal(daybook_stream_get_info(store, daybook_text(stream), &info, NULL), DAYBOOK_OK);
    uint64_t said = info->message_count;
    daybook_stream_info_release(store, info);
    daybook_query query;
    daybook_query_init(&query);
    query.stream = daybook_text(stream);
    uint64_t found = 0;
    assert_int_equal(daybook_count(store, &query, &found, NULL), DAYBOOK_OK);
    assert_int_equal(said, found);
}

static void snapshots_stored_while_they_are_looked_for_are_counted_once(void **state) {
    (void)state;
    holding_allocator holding = {
        .allocator = {.context = &holding, .resize = hold_and_resize, .release = release_held},
        .held_thread = pthread_self(),
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .changed = PTHREAD_COND_INITIALIZER,
    };
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.allocator = &holding.allocator;
    daybook_store *store = NULL;
    assert_int_equal(daybook_open(":memory:", &options, &store, NULL), DAYBOOK_OK);
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text("KV_SNAPSHOTS");
    daybook_slice subject = daybook_text("$KV.SNAPSHOTS.>");
    config.subjects = &subject;
    config.subject_count = 1;
    assert_int_equal(daybook_stream_add(store, &config, NULL), DAYBOOK_OK);
    for (int nth = 1; nth <= ALLOCATIONS_MAX; nth++) {
        assert_int_equal(append_one(store, "orders.1.placed"), DAYBOOK_OK);
        assert_int_equal(append_one(store, "$KV.SNAPSHOTS.orders.1"), DAYBOOK_OK);
        storing work = {.store = store, .holding = &holding};
        holding.is_wanted = holding.is_stored = false;
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, store_when_wanted, &work), 0);
        (void)pthread_mutex_lock(&holding.lock);
        holding.nth = nth;
        (void)pthread_mutex_unlock(&holding.lock);
        assert_int_equal(daybook_event_remove(store, daybook_text("ORDERS"), (uint64_t)nth, 0, NULL),
                         DAYBOOK_OK);
        (void)pthread_mutex_lock(&holding.lock);
        holding.nth = 0;
        holding.is_wanted = true; // it took fewer allocations: the other thread need not wait any more
        (void)pthread_cond_broadcast(&holding.changed);
        (void)pthread_mutex_unlock(&holding.lock);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(work.status, DAYBOOK_OK);
        check_count(store, "KV_SNAPSHOTS");
        check_count(store, "ORDERS");
    }
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
}

// First what each subject has too much goes, then what the stream as a whole still has: none goes for one that goes anyway.
static void an_update_of_two_limits_removes_no_more_than_they_ask(void **state) {
    (void)state;
    daybook_store *store = NULL;
    assert_int_equal(daybook_open(":memory:", NULL, &store, NULL), DAYBOOK_OK);
    static const char *const subjects[] = {"two.1.a", "two.1.a", "two.2.b", "two.2.b"};
    for (size_t i = 0; i < 4; i++) assert_int_equal(append_one(store, subjects[i]), DAYBOOK_OK);
    daybook_stream_info *info = NULL;
    assert_int_equal(daybook_stream_get_info(store, daybook_text("TWO"), &info, NULL), DAYBOOK_OK);
    daybook_stream_config config = info->config;
    config.max_msgs = 2;
    config.max_msgs_per_subject = 1;
    assert_int_equal(daybook_stream_update(store, &config, NULL), DAYBOOK_OK);
    daybook_stream_info_release(store, info);
    assert_int_equal(daybook_stream_get_info(store, daybook_text("TWO"), &info, NULL), DAYBOOK_OK);
    assert_int_equal(info->message_count, 2);
    assert_int_equal(info->first_seq, 2);
    daybook_stream_info_release(store, info);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
}

static daybook_stream_config limited_stream(const daybook_slice *subject) {
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text("L");
    config.subjects = subject;
    config.subject_count = 1;
    config.aggregate_tokens = 0;
    config.max_msgs = 3;
    config.max_msgs_per_subject = 1;
    return config;
}

static uint64_t first_seq_of(daybook_store *store, uint64_t expected_count) {
    daybook_stream_info *info = NULL;
    assert_int_equal(daybook_stream_get_info(store, daybook_text("L"), &info, NULL), DAYBOOK_OK);
    assert_int_equal(info->message_count, expected_count);
    uint64_t seq = info->first_seq;
    daybook_stream_info_release(store, info);
    return seq;
}

static void append_batch(daybook_store *store, const char *const *subjects, size_t count) {
    daybook_event events[4];
    for (size_t i = 0; i < count; i++) {
        daybook_event_init(&events[i]);
        events[i].subject = daybook_text(subjects[i]);
    }
    assert_int_equal(daybook_append(store, events, count, NULL, NULL, NULL), DAYBOOK_OK);
}

// Of a batch, too: the stream has room for what its subjects keep, so that the oldest event stays.
static void a_batch_over_two_limits_removes_no_more_than_they_ask(void **state) {
    (void)state;
    daybook_store *store = NULL;
    assert_int_equal(daybook_open(":memory:", NULL, &store, NULL), DAYBOOK_OK);
    daybook_slice subject = daybook_text("l.>");
    daybook_stream_config config = limited_stream(&subject);
    assert_int_equal(daybook_stream_add(store, &config, NULL), DAYBOOK_OK);
    static const char *const old[] = {"l.old"}, *const doubled[] = {"l.a", "l.b", "l.b", "l.a"};
    append_batch(store, old, 1);
    append_batch(store, doubled, 4);
    assert_int_equal(first_seq_of(store, 3), 1); // l.old, and the second of each
    static const char *const more[] = {"l.c"};
    append_batch(store, more, 1);
    assert_int_equal(first_seq_of(store, 3), 4);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_purge_that_fails_half_way_says_what_it_removed),
        cmocka_unit_test(an_update_of_two_limits_removes_no_more_than_they_ask),
        cmocka_unit_test(a_batch_over_two_limits_removes_no_more_than_they_ask),
        cmocka_unit_test(snapshots_stored_while_they_are_looked_for_are_counted_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
