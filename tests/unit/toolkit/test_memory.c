// SPDX-License-Identifier: Apache-2.0
// Running out of memory at every step, in the store's allocator and in jansson: each call says so, leaks
// nothing, and works when there is memory again.
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "daybook/daybook.h"
#include "lib/fault_allocator.h"
#include "lib/ignore.h"

enum { STEP_COUNT_MAX = 2000 };

#define ORDER daybook_text("orders.1")
#define BUCKET daybook_text("b")

static daybook_status append(daybook_store *store, const char *id, const char *causation, const char *data) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("orders.1.step");
    event.id = daybook_text(id);
    event.causation = daybook_text(causation);
    event.correlation = daybook_text("all");
    event.data = daybook_text(data);
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = 1;
    return daybook_append(store, &event, 1, &options, NULL, NULL);
}

static daybook_status do_load(daybook_store *store) {
    daybook_state *state = NULL;
    daybook_status status = daybook_state_load(daybook_store_engine(store), ORDER, NULL, &state, NULL);
    if (status == DAYBOOK_OK)
        assert_string_equal(state->json, "{\"a\":{\"b\":2,\"c\":[1,2.5]},\"n\":\"x\"}");
    else
        assert_null(state);
    daybook_state_release(state);
    return status;
}

static daybook_status do_history(daybook_store *store) {
    return daybook_state_history(daybook_store_engine(store), ORDER, NULL, ignore_history, NULL, NULL);
}

static daybook_status do_diff(daybook_store *store) {
    char *changes = NULL;
    daybook_status status = daybook_state_diff(daybook_store_engine(store), ORDER, 1, 2, &changes, NULL);
    assert_true((changes != NULL) == (status == DAYBOOK_OK));
    daybook_text_release(changes);
    return status;
}

static daybook_status do_why(daybook_store *store) {
    return daybook_why(daybook_store_engine(store), daybook_text("two"), ignore_step, NULL, NULL);
}

static daybook_status do_trace(daybook_store *store) {
    return daybook_trace(daybook_store_engine(store), daybook_text("all"), ignore_step, NULL, NULL);
}

static daybook_status do_take(daybook_store *store) {
    return daybook_snapshot_take(daybook_store_engine(store), ORDER, NULL, NULL);
}

static daybook_status do_show(daybook_store *store) {
    char *json = NULL;
    daybook_status status = daybook_snapshot_show(daybook_store_engine(store), ORDER, &json, NULL);
    assert_true((json != NULL) == (status == DAYBOOK_OK));
    daybook_text_release(json);
    return status;
}

static daybook_status do_list(daybook_store *store) {
    return daybook_snapshot_list(daybook_store_engine(store), daybook_text(""), ignore_snapshot, NULL, NULL);
}

static daybook_status do_put(daybook_store *store) {
    return daybook_kv_put(daybook_store_engine(store), BUCKET, daybook_text("k"), daybook_text("v"), NULL,
                          NULL);
}

static daybook_status do_get(daybook_store *store) {
    daybook_kv_entry entry;
    daybook_engine_cursor *cursor = NULL;
    daybook_status status =
        daybook_kv_get(daybook_store_engine(store), BUCKET, daybook_text("k"), 0, &entry, &cursor, NULL);
    assert_true((cursor != NULL) == (status == DAYBOOK_OK));
    daybook_engine_cursor_close(cursor);
    return status;
}

static daybook_status do_create(daybook_store *store) {
    daybook_status status = daybook_kv_create(daybook_store_engine(store), BUCKET, daybook_text("new"),
                                              daybook_text("v"), NULL, NULL);
    // A round before may have created it and failed to delete it.
    if (status != DAYBOOK_OK && status != DAYBOOK_ECONFLICT) return status;
    return daybook_kv_delete(daybook_store_engine(store), BUCKET, daybook_text("new"), 0, 0, NULL, NULL);
}

typedef daybook_status (*operation)(daybook_store *store);
static const operation operations[] = {do_load, do_history, do_diff, do_why, do_trace, do_take,
                                       do_load, do_show,    do_list, do_put, do_get,   do_create};
enum { OPERATION_COUNT = sizeof operations / sizeof *operations };

static daybook_store *open_store(const daybook_allocator *allocator) {
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    options.allocator = allocator;
    daybook_store *store = NULL;
    assert_int_equal(daybook_open(":memory:", &options, &store, NULL), DAYBOOK_OK);
    daybook_kv_config config;
    daybook_kv_config_init(&config);
    config.bucket = BUCKET;
    assert_int_equal(daybook_kv_add(daybook_store_engine(store), &config, NULL), DAYBOOK_OK);
    assert_int_equal(append(store, "one", "", "{\"a\":{\"b\":1,\"c\":[1,2.5]}}"), DAYBOOK_OK);
    assert_int_equal(append(store, "two", "one", "{\"a\":{\"b\":2},\"n\":\"x\",\"gone\":null}"), DAYBOOK_OK);
    return store;
}

static void a_failing_allocator_of_the_store_is_a_status(void **context) {
    (void)context;
    fault_allocator faults;
    fault_allocator_init(&faults);
    daybook_store *store = open_store(&faults.allocator);
    for (size_t i = 0; i < OPERATION_COUNT; i++) {
        uint64_t step = 1;
        for (; step < STEP_COUNT_MAX; step++) {
            fault_allocator_fail(&faults, step, false);
            daybook_status status = operations[i](store);
            bool has_failed = fault_allocator_has_failed(&faults);
            fault_allocator_fail(&faults, 0, false);
            // OK with a failure: what failed was not needed.
            if (status != DAYBOOK_OK && (status != DAYBOOK_ENOMEM || !has_failed))
                fail_msg("operation %zu, step %d: %s", i, (int)step, daybook_status_name(status));
            if (!has_failed) break;
        }
        assert_true(step < STEP_COUNT_MAX);
        assert_int_equal(operations[i](store), DAYBOOK_OK);
    }
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    assert_int_equal(fault_allocator_live(&faults), 0);
}

static long allocations_left = LONG_MAX;
static long live_count;

static void *counted_malloc(size_t size) {
    if (allocations_left-- <= 0) return NULL;
    void *data = malloc(size);
    live_count += data != NULL;
    return data;
}

static void counted_free(void *data) {
    live_count -= data != NULL;
    free(data);
}

static void a_failing_allocator_of_jansson_is_a_status(void **context) {
    (void)context;
    daybook_store *store = open_store(NULL);
    json_set_alloc_funcs(counted_malloc, counted_free);
    for (size_t i = 0; i < OPERATION_COUNT; i++) {
        daybook_status status = DAYBOOK_ENOMEM;
        for (long step = 0; step < STEP_COUNT_MAX && status == DAYBOOK_ENOMEM; step++) {
            allocations_left = step;
            status = operations[i](store);
            allocations_left = LONG_MAX;
            assert_int_equal(live_count, 0);
        }
        if (status != DAYBOOK_OK) fail_msg("operation %zu: %s", i, daybook_status_name(status));
    }
    json_set_alloc_funcs(malloc, free);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failing_allocator_of_the_store_is_a_status),
        cmocka_unit_test(a_failing_allocator_of_jansson_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
