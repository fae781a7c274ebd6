// SPDX-License-Identifier: Apache-2.0
// What streams take, against the bounds: how often it is added up, and that the sums are right at their ends.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "broker/broker.h"
#include "daybook/daybook.h"
#include "io/sim/sim.h"
#include "jetstream/usage.h"
#include "lib/fault_allocator.h"

typedef struct world {
    dbk_sim *sim;
    fault_allocator faults;
    dbk_broker broker; // of it only what usage.c looks at
    daybook_store *store;
    dbk_js_usage usage;
} world;

static const dbk_js_room no_room_is_bounded = {.bytes_max = {-1, -1}};

static void set_up(world *at) {
    memset(at, 0, sizeof *at);
    assert_int_equal(dbk_sim_new(3, &at->sim), DAYBOOK_OK);
    fault_allocator_init(&at->faults);
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.vfs = dbk_sim_vfs(at->sim);
    options.allocator = &at->faults.allocator;
    options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    assert_int_equal(daybook_open("/s", &options, &at->store, NULL), DAYBOOK_OK);
    at->broker.vfs = options.vfs;
    assert_true(dbk_js_usage_init(&at->usage, &at->broker, at->store));
}

static void tear_down(world *at) {
    dbk_js_usage_deinit(&at->usage);
    assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
    assert_int_equal(fault_allocator_live(&at->faults), 0);
    dbk_sim_free(at->sim);
}

static void add_stream(world *at, const char *name, const char *filter, uint64_t bytes_max) {
    daybook_slice subject = daybook_text(filter);
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text(name);
    config.subjects = &subject;
    config.subject_count = 1;
    config.max_bytes = bytes_max;
    assert_int_equal(daybook_stream_add(at->store, &config, NULL), DAYBOOK_OK);
}

static bool take(world *at, uint64_t size) {
    dbk_api_error_kind kind;
    return dbk_js_usage_take(&at->usage, DBK_JS_FILES, size, &kind);
}

// Where streams cannot be listed, what is known and what is taken goes on to count, and not each publish lists them.
static void a_list_that_fails_is_not_asked_for_with_each_publish(void **state) {
    (void)state;
    static world at;
    set_up(&at);
    add_stream(&at, "A", "a.>", 0);
    dbk_js_room account = {.bytes_max = {1000, -1}};
    dbk_js_usage_set_room(&at.usage, &no_room_is_bounded, &account);
    assert_true(take(&at, 400));
    dbk_sim_advance_ns(at.sim, 2 * DBK_SECOND_NS);
    fault_allocator_fail(&at.faults, 1, true);
    assert_true(take(&at, 400)); // asks, in vain
    assert_true(fault_allocator_has_failed(&at.faults));
    uint64_t calls = at.faults.calls;
    assert_true(take(&at, 100));
    assert_true(take(&at, 100));
    assert_int_equal(at.faults.calls, calls);
    assert_false(take(&at, 1)); // 1000 are taken, as far as is known
    fault_allocator_fail(&at.faults, 0, false);
    dbk_sim_advance_ns(at.sim, 2 * DBK_SECOND_NS);
    assert_true(take(&at, 1000)); // nothing of it was stored
    tear_down(&at);
}

// A walk over many streams takes long: however old the sum, publishes wait for a twentieth of the time at most.
static void counting_takes_its_share_of_the_time(void **state) {
    (void)state;
    static world at;
    set_up(&at);
    add_stream(&at, "A", "a.>", 0);
    dbk_js_room account = {.bytes_max = {1000, -1}};
    dbk_js_usage_set_room(&at.usage, &no_room_is_bounded, &account);
    assert_true(take(&at, 400));
    at.usage.cost_ns = DBK_SECOND_NS; // so long it took
    int64_t counted_ns = at.usage.counted_ns;
    dbk_sim_advance_ns(at.sim, 19 * DBK_SECOND_NS);
    assert_true(take(&at, 100));
    assert_int_equal(at.usage.counted_ns, counted_ns);
    dbk_sim_advance_ns(at.sim, 2 * DBK_SECOND_NS);
    assert_true(take(&at, 100));
    assert_int_not_equal(at.usage.counted_ns, counted_ns);
    // What was removed is looked at without waiting.
    at.usage.cost_ns = DBK_SECOND_NS;
    dbk_js_usage_forget(&at.usage);
    dbk_sim_advance_ns(at.sim, DBK_MILLISECOND_NS);
    assert_true(take(&at, 1000));
    tear_down(&at);
}

static void promises_that_exceed_everything_leave_no_room(void **state) {
    (void)state;
    static world at;
    set_up(&at);
    add_stream(&at, "A", "a.>", INT64_MAX);
    add_stream(&at, "B", "b.>", INT64_MAX);
    add_stream(&at, "C", "c.>", 3); // 2^64 + 1 together
    dbk_js_room server = {.bytes_max = {1 << 20, -1}};
    dbk_api_error_kind kind;
    assert_int_equal(dbk_js_usage_may_reserve(at.store, &server, &no_room_is_bounded, DBK_JS_FILES,
                                              daybook_text("D"), 100, &kind),
                     DAYBOOK_ELIMIT);
    tear_down(&at);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_that_fails_is_not_asked_for_with_each_publish),
        cmocka_unit_test(counting_takes_its_share_of_the_time),
        cmocka_unit_test(promises_that_exceed_everything_leave_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
