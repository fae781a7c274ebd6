// SPDX-License-Identifier: Apache-2.0
// Streams that know ids for the duplicate window only: an id counts from when its event was recorded,
// whatever became of the event, over flushes, merges, removals, opening and power loss; then it may come
// again, and its newest event is the one that counts. And the condition on the last id of a stream.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "daybook/daybook.h"
#include "io/sim/sim.h"

enum { STEP_COUNT = 1500, ID_COUNT = 12 };

#define WINDOW_NS (120 * DBK_SECOND_NS)

typedef struct world {
    dbk_sim *sim;
    daybook_store *store;
} world;

static const daybook_slice s = {"S", 1};
static daybook_slice subjects[] = {{"s.>", 3}};

static void open_store(world *at) {
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.vfs = dbk_sim_vfs(at->sim);
    options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    assert_int_equal(daybook_open("/s", &options, &at->store, NULL), DAYBOOK_OK);
}

static daybook_stream_config config_of(void) {
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = s;
    config.subjects = subjects;
    config.subject_count = 1;
    config.flags = DAYBOOK_STREAM_IDS_IN_WINDOW;
    config.duplicate_window_ns = WINDOW_NS;
    return config;
}

static int set_up(void **state) {
    static world at;
    memset(&at, 0, sizeof at);
    if (dbk_sim_new(29, &at.sim) != DAYBOOK_OK) return -1;
    open_store(&at);
    daybook_stream_config config = config_of();
    if (daybook_stream_add(at.store, &config, NULL) != DAYBOOK_OK) return -1;
    *state = &at;
    return 0;
}

static int tear_down(void **state) {
    world *at = *state;
    daybook_status status = daybook_close(at->store, NULL);
    dbk_sim_free(at->sim);
    return status == DAYBOOK_OK ? 0 : -1;
}

static void reopen(world *at) {
    assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
    open_store(at);
}

static void lose_power(world *at) {
    dbk_sim_stop_now(at->sim);
    (void)daybook_close(at->store, NULL);
    dbk_sim_crash(at->sim, DBK_SIM_POWER_LOSS_DROP_ALL);
    open_store(at);
}

static void care(world *at) {
    while (daybook_maintain(at->store, NULL) == DAYBOOK_OK) {
    }
}

// The receipt of an event with this id ("": without).
static daybook_receipt append(world *at, const char *id) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("s.1.x");
    event.id = daybook_text(id);
    daybook_receipt receipt;
    assert_int_equal(daybook_append(at->store, &event, 1, NULL, &receipt, NULL), DAYBOOK_OK);
    return receipt;
}

static bool is_known(world *at, const char *id) {
    return (append(at, id).flags & DAYBOOK_RECEIPT_DUPLICATE) != 0;
}

static void remove_event(world *at, uint64_t seq) {
    assert_int_equal(daybook_event_remove(at->store, s, seq, 0, NULL), DAYBOOK_OK);
}

// ---- By hand ----------------------------------------------------------------------------------------------

static void an_id_comes_again_when_its_time_is_over(void **state) {
    world *at = *state;
    assert_int_equal(append(at, "a").seq, 1);
    dbk_sim_advance_ns(at->sim, WINDOW_NS - DBK_SECOND_NS);
    daybook_receipt receipt = append(at, "a");
    assert_int_equal(receipt.flags, DAYBOOK_RECEIPT_DUPLICATE);
    assert_int_equal(receipt.seq, 1);
    // The duplicate does not extend it.
    dbk_sim_advance_ns(at->sim, 2 * DBK_SECOND_NS);
    receipt = append(at, "a");
    assert_int_equal(receipt.flags, 0);
    assert_int_equal(receipt.seq, 2);
    // The newest is the one that counts, in memory and in segments.
    receipt = append(at, "a");
    assert_int_equal(receipt.flags, DAYBOOK_RECEIPT_DUPLICATE);
    assert_int_equal(receipt.seq, 2);
    assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
    assert_int_equal(append(at, "a").seq, 2);
    reopen(at);
    assert_int_equal(append(at, "a").seq, 2);
    dbk_sim_advance_ns(at->sim, WINDOW_NS + DBK_SECOND_NS);
    assert_int_equal(append(at, "a").seq, 3);
    lose_power(at);
    assert_int_equal(append(at, "a").seq, 3);
    // Reading by id gives all of them.
    daybook_query query;
    daybook_query_init(&query);
    query.id = daybook_text("a");
    uint64_t count;
    assert_int_equal(daybook_count(at->store, &query, &count, NULL), DAYBOOK_OK);
    assert_true(count >= 2);
}

static void an_id_outlives_its_event_within_the_window(void **state) {
    world *at = *state;
    for (int with_flush = 0; with_flush < 2; with_flush++) {
        uint64_t first = append(at, "a").seq;
        append(at, "b");
        append(at, "");
        if (with_flush) assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
        dbk_sim_advance_ns(at->sim, WINDOW_NS / 2);
        remove_event(at, first);
        daybook_purge_options purge;
        daybook_purge_options_init(&purge);
        assert_int_equal(daybook_stream_purge(at->store, s, &purge, NULL, NULL), DAYBOOK_OK);
        daybook_receipt receipt = append(at, "a");
        assert_int_equal(receipt.flags & ~(unsigned)DAYBOOK_RECEIPT_DIFFERS,
                         DAYBOOK_RECEIPT_DUPLICATE | DAYBOOK_RECEIPT_DELETED);
        assert_true(is_known(at, "b"));
        // Written without them, by a flush and by merges: what is left of an id is when it was recorded.
        append(at, "");
        assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
        care(at);
        assert_true(is_known(at, "a"));
        assert_true(is_known(at, "b"));
        reopen(at);
        assert_true(is_known(at, "a"));
        // Half of the window was over when they were removed.
        dbk_sim_advance_ns(at->sim, WINDOW_NS / 2 + DBK_SECOND_NS);
        assert_false(is_known(at, "a"));
        assert_false(is_known(at, "b"));
        dbk_sim_advance_ns(at->sim, 2 * WINDOW_NS);
    }
}

static void no_window_knows_no_id(void **state) {
    world *at = *state;
    daybook_stream_config config = config_of();
    config.duplicate_window_ns = 0;
    assert_int_equal(daybook_stream_update(at->store, &config, NULL), DAYBOOK_OK);
    assert_int_equal(append(at, "a").seq, 1);
    assert_int_equal(append(at, "a").seq, 2);
    // How long ids are known is fixed, the window is not.
    config.flags = 0;
    assert_int_equal(daybook_stream_update(at->store, &config, NULL), DAYBOOK_EINVALID);
    config = config_of();
    assert_int_equal(daybook_stream_update(at->store, &config, NULL), DAYBOOK_OK);
    assert_true(is_known(at, "a"));
}

// ---- Against a model --------------------------------------------------------------------------------------

typedef struct model {
    uint64_t random;
    int64_t recorded_ns[ID_COUNT]; // of its newest event
    uint64_t seq[ID_COUNT];
    bool was_ever[ID_COUNT];
} model;

static uint64_t draw(model *of, uint64_t below) {
    of->random = of->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (of->random >> 33) % below;
}

static void append_and_compare(world *at, model *of) {
    size_t number = (size_t)draw(of, ID_COUNT);
    char id[8];
    (void)snprintf(id, sizeof id, "i%zu", number);
    int64_t now_ns = dbk_sim_vfs(at->sim)->clock_real_ns(dbk_sim_vfs(at->sim));
    bool expected = of->was_ever[number] && now_ns - of->recorded_ns[number] <= WINDOW_NS;
    daybook_receipt receipt = append(at, id);
    bool known = (receipt.flags & DAYBOOK_RECEIPT_DUPLICATE) != 0;
    // A moment passes between the two looks at the clock.
    int64_t distance_ns = now_ns - of->recorded_ns[number] - WINDOW_NS;
    if (known != expected && (distance_ns > DBK_MILLISECOND_NS || distance_ns < -DBK_MILLISECOND_NS))
        fail_msg("%s: known %d, expected %d, %lld ns beyond the window", id, known, expected,
                 (long long)distance_ns);
    if (known) {
        // Where its event is stored, it is that one.
        if (receipt.seq != 0) assert_int_equal(receipt.seq, of->seq[number]);
        return;
    }
    of->was_ever[number] = true;
    of->recorded_ns[number] = receipt.recorded_ns;
    of->seq[number] = receipt.seq;
}

static void it_is_so_whatever_happens(void **state) {
    world *at = *state;
    model of = {.random = 31};
    for (int step = 0; step < STEP_COUNT; step++) {
        switch (draw(&of, 16)) {
        case 0:
            assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
            break;
        case 1:
            care(at);
            break;
        case 2:
            reopen(at);
            break;
        case 3:
            lose_power(at);
            break;
        case 4: {
            daybook_purge_options purge;
            daybook_purge_options_init(&purge);
            purge.keep = draw(&of, 4);
            assert_int_equal(daybook_stream_purge(at->store, s, &purge, NULL, NULL), DAYBOOK_OK);
            break;
        }
        case 5:
            (void)daybook_event_remove(at->store, s, of.seq[draw(&of, ID_COUNT)], 0, NULL);
            break;
        case 6:
        case 7:
            dbk_sim_advance_ns(at->sim, (int64_t)draw(&of, 60) * DBK_SECOND_NS);
            break;
        default:
            append_and_compare(at, &of);
        }
    }
}

// ---- The last id ------------------------------------------------------------------------------------------

static daybook_status append_if(world *at, const char *expected, const char *id, daybook_error *error) {
    daybook_condition condition;
    daybook_condition_init(&condition, DAYBOOK_EXPECT_LAST_ID);
    condition.id = daybook_text(expected);
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.conditions = &condition;
    options.condition_count = 1;
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("s.1.x");
    event.id = daybook_text(id);
    return daybook_append(at->store, &event, 1, &options, NULL, error);
}

static void the_last_id_is_a_condition(void **state) {
    world *at = *state;
    daybook_error error;
    daybook_error_init(&error);
    assert_int_equal(append_if(at, "a", "b", &error), DAYBOOK_ECONFLICT);
    assert_int_equal(error.actual, 0);
    assert_int_equal(append_if(at, "", "a", NULL), DAYBOOK_OK);
    assert_int_equal(append_if(at, "", "b", &error), DAYBOOK_ECONFLICT);
    assert_int_equal(error.actual, 1);
    assert_int_equal(error.condition, 0);
    assert_int_equal(append_if(at, "b", "b", NULL), DAYBOOK_ECONFLICT);
    assert_int_equal(append_if(at, "a", "b", NULL), DAYBOOK_OK);
    // In a segment, behind other streams' events, after opening.
    daybook_slice others[] = {daybook_text("o.>")};
    daybook_stream_config config = config_of();
    config.name = daybook_text("OTHER");
    config.subjects = others;
    assert_int_equal(daybook_stream_add(at->store, &config, NULL), DAYBOOK_OK);
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("o.1.x");
    event.id = daybook_text("o");
    assert_int_equal(daybook_append(at->store, &event, 1, NULL, NULL, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_flush(at->store, NULL), DAYBOOK_OK);
    reopen(at);
    assert_int_equal(append_if(at, "a", "c", NULL), DAYBOOK_ECONFLICT);
    assert_int_equal(append_if(at, "o", "c", NULL), DAYBOOK_ECONFLICT);
    assert_int_equal(append_if(at, "b", "c", NULL), DAYBOOK_OK);
    // What was removed is not the last any more; an event without an id is.
    remove_event(at, 3);
    assert_int_equal(append_if(at, "c", "d", NULL), DAYBOOK_ECONFLICT);
    assert_int_equal(append_if(at, "b", "", NULL), DAYBOOK_OK);
    assert_int_equal(append_if(at, "b", "d", NULL), DAYBOOK_ECONFLICT);
    assert_int_equal(append_if(at, "", "d", NULL), DAYBOOK_OK);
    // An id that looks like one the store makes.
    assert_int_equal(append_if(at, "d", "0190f1d2-7c3a-7def-8000-000000000001", NULL), DAYBOOK_OK);
    assert_int_equal(append_if(at, "0190f1d2-7c3a-7def-8000-000000000001", "e", NULL), DAYBOOK_OK);
    char much[300];
    memset(much, 'x', sizeof much - 1);
    much[sizeof much - 1] = '\0';
    assert_int_equal(append_if(at, much, "f", NULL), DAYBOOK_EINVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_id_comes_again_when_its_time_is_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_id_outlives_its_event_within_the_window, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_window_knows_no_id, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_is_so_whatever_happens, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_last_id_is_a_condition, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
