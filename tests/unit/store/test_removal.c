// SPDX-License-Identifier: Apache-2.0
// What a removal says of itself when memory runs out on the way: counts, and what is there after reopening.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_purge_that_fails_half_way_says_what_it_removed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
