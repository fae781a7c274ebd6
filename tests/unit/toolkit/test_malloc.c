// SPDX-License-Identifier: Apache-2.0
// The toolkit's own memory, which is malloc's, runs out at every step: each call of aggregates, machines and the test kit
// says so or did not need it, leaks nothing, and works when there is memory again. The linker puts the functions below in
// the place of malloc's (CMakeLists.txt); the store has memory of its own here, which does not fail.
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "account.h"
#include "daybook/daybook.h"
#include "lib/ignore.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *data, size_t size);
void __real_free(void *data);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *data, size_t size);
void __wrap_free(void *data);

static long allocations_left = LONG_MAX;
static bool has_failed;
static long live_count;

static bool fails(void) {
    if (allocations_left-- > 0) return false;
    has_failed = true;
    return true;
}

void *__wrap_malloc(size_t size) {
    void *data = fails() ? NULL : __real_malloc(size);
    live_count += data != NULL;
    return data;
}

void *__wrap_calloc(size_t count, size_t size) {
    void *data = fails() ? NULL : __real_calloc(count, size);
    live_count += data != NULL;
    return data;
}

void *__wrap_realloc(void *data, size_t size) {
    void *moved = fails() ? NULL : __real_realloc(data, size);
    live_count += data == NULL && moved != NULL;
    return moved;
}

void __wrap_free(void *data) {
    live_count -= data != NULL;
    __real_free(data);
}

static void *resize(void *context, void *data, size_t size) {
    (void)context;
    return __real_realloc(data, size);
}

static void release(void *context, void *data) {
    (void)context;
    __real_free(data);
}

static const daybook_allocator unfailing = {.resize = resize, .release = release};

static daybook_engine *engine;
static daybook_repository *accounts;
static daybook_machine *machine;
static daybook_error error;

#define ID daybook_text("1")

static daybook_status make_repository(void) {
    daybook_repository *made = NULL;
    daybook_status status = daybook_repository_new(engine, &account_type, NULL, &made, &error);
    assert_true((made != NULL) == (status == DAYBOOK_OK));
    daybook_repository_free(made);
    return status;
}

static daybook_status pay(void) {
    const account_command command = {.amount = 1, .event_count = 2};
    return daybook_execute(accounts, ID, account_pay, &command, NULL, NULL, &error);
}

static daybook_status load(void) {
    daybook_aggregate *loaded = NULL;
    daybook_status status = daybook_aggregate_load(accounts, ID, NULL, &loaded, &error);
    assert_true((loaded != NULL) == (status == DAYBOOK_OK));
    daybook_aggregate_release(loaded);
    return status;
}

static int look(void *context, const daybook_recorded_event *event, const void *state) {
    (void)context;
    (void)event;
    assert_non_null(((const account *)state)->owner);
    return 0;
}

static daybook_status tell_history(void) {
    return daybook_aggregate_history(accounts, ID, NULL, look, NULL, &error);
}

static daybook_status take_snapshot(void) {
    return daybook_aggregate_snapshot(accounts, ID, 1, &error);
}

static daybook_status note_nothing(const void *state, const void *command, daybook_decision *decision,
                                   daybook_error *failure) {
    (void)state;
    (void)command;
    const daybook_slice tag = daybook_text("t:1");
    const daybook_header header = {daybook_text("h"), daybook_text("v")};
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("accounts.2.noted");
    event.tags = &tag;
    event.tag_count = 1;
    event.headers = &header;
    event.header_count = 1;
    return daybook_decision_add_event(decision, &event, failure);
}

static daybook_status decide_over(void) {
    const daybook_slice tag = daybook_text("t:1");
    daybook_query_item item;
    daybook_query_item_init(&item);
    item.tags = &tag;
    item.tag_count = 1;
    return daybook_execute_over(engine, &account_type, &item, 1, note_nothing, NULL, NULL, NULL, &error);
}

static const char file[] = "{\"machine\":\"issue\",\"category\":\"issues\",\"initial\":\"a\","
                           "\"transitions\":[{\"from\":\"a\",\"to\":\"b\"},{\"from\":\"b\",\"to\":\"a\"}]}";

static daybook_status parse(void) {
    daybook_machine *made = NULL;
    daybook_status status = daybook_machine_parse(daybook_text(file), "file", &made, &error);
    assert_true((made != NULL) == (status == DAYBOOK_OK));
    daybook_machine_free(made);
    return status;
}

static daybook_status draw(void) {
    char *text = NULL;
    daybook_status status = daybook_machine_draw(machine, DAYBOOK_DRAWING_DOT, &text, &error);
    assert_true((text != NULL) == (status == DAYBOOK_OK));
    daybook_text_release(text);
    return status;
}

static void ignore_warning(void *context, daybook_slice warning) {
    (void)warning;
    *(bool *)context = true;
}

// It gives no status: that it could not look is a warning.
static daybook_status check(void) {
    bool is_warned = false;
    daybook_machine_check(machine, ignore_warning, &is_warned);
    return is_warned ? DAYBOOK_ENOMEM : DAYBOOK_OK;
}

static daybook_status move(void) {
    char state[DAYBOOK_TEXT_SIZE_MAX + 1];
    daybook_status status = daybook_machine_state(machine, engine, ID, NULL, state, NULL, &error);
    if (status != DAYBOOK_OK) return status;
    daybook_move_options options;
    daybook_move_options_init(&options);
    options.data = daybook_text("{\"hours\":2}");
    return daybook_machine_move(machine, engine, ID, daybook_text(state),
                                daybook_text(state[0] == 'a' ? "b" : "a"), &options, NULL, &error);
}

static daybook_status be_refused(void) {
    char state[DAYBOOK_TEXT_SIZE_MAX + 1];
    daybook_status status = daybook_machine_state(machine, engine, ID, NULL, state, NULL, &error);
    if (status == DAYBOOK_OK)
        status = daybook_machine_move(machine, engine, ID, daybook_text(""), daybook_text(state), NULL, NULL,
                                      &error);
    return status == DAYBOOK_EREFUSED ? DAYBOOK_OK : status;
}

static int ignore_change(void *context, const daybook_change *change) {
    (void)context;
    (void)change;
    return 0;
}

static daybook_status tell_moves(void) {
    return daybook_machine_history(machine, engine, ID, ignore_change, NULL, &error);
}

static daybook_status play(void) {
    daybook_scenario *scenario = NULL;
    daybook_status status = daybook_scenario_new(&account_type, &scenario, &error);
    if (status != DAYBOOK_OK) return status;
    const account_command command = {.amount = 5};
    const char *report = NULL;
    daybook_given(scenario, "opened", "ada");
    daybook_when(scenario, account_pay, &command);
    daybook_then(scenario, "paid", "5.0e0");
    status = daybook_scenario_end(scenario, &report);
    assert_non_null(report);
    daybook_scenario_free(scenario);
    // 5 and 5.0e0 are not the same; without memory it may be told as a decision that failed.
    return status == DAYBOOK_ECONFLICT && !has_failed ? DAYBOOK_OK : status;
}

// The issue's state is JSON.
#define ISSUE daybook_text("issues.1")

static daybook_status load_state(void) {
    daybook_state *state = NULL;
    daybook_status status = daybook_state_load(engine, ISSUE, NULL, &state, &error);
    assert_true((state != NULL) == (status == DAYBOOK_OK));
    daybook_state_release(state);
    return status;
}

static daybook_status tell_states(void) {
    return daybook_state_history(engine, ISSUE, NULL, ignore_history, NULL, &error);
}

static daybook_status tell_difference(void) {
    char *changes = NULL;
    daybook_status status = daybook_state_diff(engine, ISSUE, 0, 1, &changes, &error);
    assert_true((changes != NULL) == (status == DAYBOOK_OK));
    daybook_text_release(changes);
    return status;
}

static daybook_status tell_tree(void) {
    return daybook_trace(engine, daybook_text("c"), ignore_step, NULL, &error);
}

static daybook_status take_state(void) {
    return daybook_snapshot_force(engine, ISSUE, NULL, &error);
}

static daybook_status show_snapshot(void) {
    char *json = NULL;
    daybook_status status = daybook_snapshot_show(engine, ISSUE, &json, &error);
    assert_true((json != NULL) == (status == DAYBOOK_OK));
    daybook_text_release(json);
    return status;
}

static const struct {
    const char *name;
    daybook_status (*act)(void);
} calls[] = {
    {"make_repository", make_repository},
    {"pay", pay},
    {"load", load},
    {"history", tell_history},
    {"snapshot", take_snapshot},
    {"load from it", load},
    {"decide over", decide_over},
    {"decide over again", decide_over},
    {"parse", parse},
    {"draw", draw},
    {"check", check},
    {"move", move},
    {"move back", move},
    {"be refused", be_refused},
    {"moves", tell_moves},
    {"play", play},
    {"state", load_state},
    {"states", tell_states},
    {"difference", tell_difference},
    {"trace", tell_tree},
    {"take", take_state},
    {"show", show_snapshot},
    {"state from it", load_state},
};

enum { STEP_COUNT_MAX = 1000 };

static void check_call(size_t index) {
    for (long step = 0; step < STEP_COUNT_MAX; step++) {
        daybook_error_init(&error);
        long live_before = live_count;
        has_failed = false;
        allocations_left = step;
        daybook_status status = calls[index].act();
        allocations_left = LONG_MAX;
        if (live_count != live_before)
            fail_msg("%s, step %ld: %ld left", calls[index].name, step, live_count - live_before);
        bool is_told = status == DAYBOOK_ENOMEM || (calls[index].act == play && status == DAYBOOK_ECONFLICT);
        if (status != DAYBOOK_OK && !(has_failed && is_told))
            fail_msg("%s, step %ld: %s: %s", calls[index].name, step, daybook_status_name(status),
                     error.message);
        if (has_failed) continue;
        assert_true(step > 0);
        return;
    }
    fail_msg("%s: more than %d allocations", calls[index].name, STEP_COUNT_MAX);
}

static void open_all(daybook_store **store_out) {
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    options.allocator = &unfailing;
    assert_int_equal(daybook_open(":memory:", &options, store_out, NULL), DAYBOOK_OK);
    engine = daybook_store_engine(*store_out);
    account_types_init();
    daybook_repository_options settings;
    daybook_repository_options_init(&settings);
    settings.snapshot_every = 0; // No thread: the counters below are not shared.
    settings.auto_stream = 1;
    assert_int_equal(daybook_repository_new(engine, &account_type, &settings, &accounts, NULL), DAYBOOK_OK);
    const account_command command = {.owner = "ada"};
    assert_int_equal(daybook_execute(accounts, ID, account_open, &command, NULL, NULL, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_machine_parse(daybook_text(file), "file", &machine, NULL), DAYBOOK_OK);
    daybook_move_options move_options;
    daybook_move_options_init(&move_options);
    move_options.auto_stream = 1;
    move_options.correlation = daybook_text("c");
    assert_int_equal(daybook_machine_move(machine, engine, ID, daybook_text("a"), daybook_text("b"),
                                          &move_options, NULL, NULL),
                     DAYBOOK_OK);
    assert_int_equal(daybook_aggregate_snapshot(accounts, ID, 1, NULL), DAYBOOK_OK); // The bucket.
}

static void a_failing_malloc_is_a_status(void **context) {
    (void)context;
    daybook_store *store = NULL;
    json_set_alloc_funcs(__wrap_malloc, __wrap_free);
    open_all(&store);
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) check_call(i);
    daybook_machine_free(machine);
    daybook_repository_free(accounts);
    json_set_alloc_funcs(malloc, free);
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_failing_malloc_is_a_status)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
