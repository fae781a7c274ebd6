// SPDX-License-Identifier: Apache-2.0
// Who watches streams is told of every change, and of nothing else.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daybook/daybook.h"
#include "io/sim/sim.h"

typedef struct world {
    dbk_sim *sim;
    daybook_store *store;
    char told[256]; // names, a blank behind each
} world;

static void take_told(void *context, daybook_slice name) {
    world *at = context;
    size_t size = strlen(at->told);
    assert_true(size + name.size + 2 <= sizeof at->told);
    memcpy(at->told + size, name.data, name.size);
    memcpy(at->told + size + name.size, " ", 2);
}

static void open_store(world *at, unsigned flags) {
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.vfs = dbk_sim_vfs(at->sim);
    options.flags = DAYBOOK_OPEN_NO_BACKGROUND | flags;
    assert_int_equal(daybook_open("/s", &options, &at->store, NULL), DAYBOOK_OK);
}

static int set_up(void **state) {
    static world at;
    memset(&at, 0, sizeof at);
    if (dbk_sim_new(7, &at.sim) != DAYBOOK_OK) return -1;
    open_store(&at, 0);
    *state = &at;
    return 0;
}

static int tear_down(void **state) {
    world *at = *state;
    assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
    dbk_sim_free(at->sim);
    return 0;
}

static void check_told(world *at, const char *expected) {
    assert_string_equal(at->told, expected);
    at->told[0] = '\0';
}

static daybook_stream_config config_of(const char *name, daybook_slice *subject) {
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text(name);
    config.subjects = subject;
    config.subject_count = 1;
    return config;
}

static daybook_status append(world *at, const char *subject, int auto_stream) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.auto_stream = auto_stream;
    return daybook_append(at->store, &event, 1, &options, NULL, NULL);
}

static void each_change_is_told(void **state) {
    world *at = *state;
    daybook_slice subject = daybook_text("a.>");
    daybook_stream_config config = config_of("A", &subject);
    assert_int_equal(daybook_stream_watch(at->store, take_told, at, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_stream_add(at->store, &config, NULL), DAYBOOK_OK);
    check_told(at, "A ");
    config.max_msgs = 5;
    assert_int_equal(daybook_stream_update(at->store, &config, NULL), DAYBOOK_OK);
    check_told(at, "A ");
    assert_int_equal(append(at, "a.1.x", 1), DAYBOOK_OK);
    check_told(at, "");
    assert_int_equal(append(at, "b.1.x", 1), DAYBOOK_OK);
    check_told(at, "B ");
    assert_int_equal(daybook_stream_remove(at->store, config.name, NULL), DAYBOOK_OK);
    check_told(at, "A ");
}

static void what_did_not_happen_is_not_told(void **state) {
    world *at = *state;
    daybook_slice subject = daybook_text("a.>");
    daybook_stream_config config = config_of("A", &subject);
    assert_int_equal(daybook_stream_watch(at->store, take_told, at, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_stream_update(at->store, &config, NULL), DAYBOOK_ENOTFOUND);
    assert_int_equal(daybook_stream_remove(at->store, config.name, NULL), DAYBOOK_ENOTFOUND);
    assert_int_equal(append(at, "a.1.x", 0), DAYBOOK_ENOSTREAM);
    check_told(at, "");
    assert_int_equal(daybook_stream_add(at->store, &config, NULL), DAYBOOK_OK);
    at->told[0] = '\0';
    assert_int_not_equal(daybook_stream_add(at->store, &config, NULL), DAYBOOK_OK);
    check_told(at, "");
    assert_int_equal(daybook_stream_watch(at->store, NULL, at, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_stream_remove(at->store, config.name, NULL), DAYBOOK_OK);
    check_told(at, "");
}

static void nobody_takes_anothers_place(void **state) {
    world *at = *state;
    world other = {.told = ""};
    daybook_slice subject = daybook_text("a.>");
    daybook_stream_config config = config_of("A", &subject);
    assert_int_equal(daybook_stream_watch(at->store, take_told, at, NULL), DAYBOOK_OK);
    daybook_error error;
    daybook_error_init(&error);
    assert_int_equal(daybook_stream_watch(at->store, take_told, &other, &error), DAYBOOK_EEXISTS);
    assert_non_null(strstr(error.message, "watched already"));
    // Who was refused ends nothing of the one that is told.
    assert_int_equal(daybook_stream_watch(at->store, NULL, &other, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_stream_watch(at->store, take_told, at, NULL), DAYBOOK_OK); // its own place
    assert_int_equal(daybook_stream_add(at->store, &config, NULL), DAYBOOK_OK);
    check_told(at, "A ");
    assert_int_equal(daybook_stream_watch(at->store, NULL, at, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_stream_watch(at->store, take_told, &other, NULL), DAYBOOK_OK);
    assert_int_equal(daybook_stream_remove(at->store, config.name, NULL), DAYBOOK_OK);
    check_told(at, "");
    check_told(&other, "A ");
    assert_int_equal(daybook_stream_watch(at->store, NULL, &other, NULL), DAYBOOK_OK);
}

static void only_a_writer_is_told(void **state) {
    world *at = *state;
    assert_int_equal(append(at, "b.1.x", 1), DAYBOOK_OK);
    assert_int_equal(daybook_stream_watch(NULL, take_told, at, NULL), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
    open_store(at, DAYBOOK_OPEN_READ_ONLY);
    assert_int_equal(daybook_stream_watch(at->store, take_told, at, NULL), DAYBOOK_EREADONLY);
}

static void a_store_knows_its_path(void **state) {
    world *at = *state;
    assert_string_equal(daybook_store_path(at->store), "/s");
    assert_null(daybook_store_path(NULL));
    daybook_store *in_memory;
    assert_int_equal(daybook_open(":memory:", NULL, &in_memory, NULL), DAYBOOK_OK);
    assert_null(daybook_store_path(in_memory));
    assert_int_equal(daybook_close(in_memory, NULL), DAYBOOK_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_change_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_did_not_happen_is_not_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_takes_anothers_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_a_writer_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_store_knows_its_path, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
