// SPDX-License-Identifier: Apache-2.0
// Many consumers: each is found by its name, listed in order and counted, while others come and go, after
// opening and by readers.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daybook/daybook.h"
#include "io/sim/sim.h"

enum { NAME_COUNT = 150, STEP_COUNT = 1200 };

typedef struct world {
    dbk_sim *sim;
    daybook_store *store;
    bool is_there[2][NAME_COUNT];
    uint64_t random;
} world;

static const daybook_slice streams[] = {{"A", 1}, {"B", 1}};

static uint64_t draw(world *at, uint64_t below) {
    at->random = at->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (at->random >> 33) % below;
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
    at.random = 41;
    if (dbk_sim_new(41, &at.sim) != DAYBOOK_OK) return -1;
    open_store(&at, 0);
    for (size_t i = 0; i < 2; i++) {
        daybook_slice subject = daybook_text(i == 0 ? "a.>" : "b.>");
        daybook_stream_config config;
        daybook_stream_config_init(&config);
        config.name = streams[i];
        config.subjects = &subject;
        config.subject_count = 1;
        if (daybook_stream_add(at.store, &config, NULL) != DAYBOOK_OK) return -1;
    }
    *state = &at;
    return 0;
}

static int tear_down(void **state) {
    world *at = *state;
    daybook_status status = daybook_close(at->store, NULL);
    dbk_sim_free(at->sim);
    return status == DAYBOOK_OK ? 0 : -1;
}

typedef struct names {
    const world *at;
    size_t next; // stream * NAME_COUNT + number of the name to come, or later
    size_t count, count_max;
} names;

static int note_name(void *context, daybook_slice stream, daybook_slice name) {
    names *found = context;
    char text[16];
    (void)snprintf(text, sizeof text, "%.*s", (int)name.size, (const char *)name.data);
    size_t of = *(const char *)stream.data == 'A' ? 0 : 1;
    size_t number = (size_t)strtoul(text + 1, NULL, 10);
    assert_true(found->at->is_there[of][number]);
    assert_true(of * NAME_COUNT + number >= found->next); // ascending
    found->next = of * NAME_COUNT + number + 1;
    return ++found->count == found->count_max;
}

static void compare(world *at) {
    size_t total = 0;
    for (size_t of = 0; of < 2; of++) {
        size_t expected = 0;
        for (size_t i = 0; i < NAME_COUNT; i++) expected += at->is_there[of][i];
        uint64_t count;
        assert_int_equal(daybook_consumer_count(at->store, streams[of], &count, NULL), DAYBOOK_OK);
        assert_int_equal(count, expected);
        names found = {.at = at};
        assert_int_equal(daybook_consumer_names(at->store, streams[of], note_name, &found, NULL), DAYBOOK_OK);
        assert_int_equal(found.count, expected);
        total += expected;
    }
    names all = {.at = at};
    assert_int_equal(daybook_consumer_names(at->store, daybook_bytes(NULL, 0), note_name, &all, NULL),
                     DAYBOOK_OK);
    assert_int_equal(all.count, total);
    if (total < 2) return;
    names some = {.at = at, .count_max = 1};
    assert_int_equal(daybook_consumer_names(at->store, daybook_bytes(NULL, 0), note_name, &some, NULL),
                     DAYBOOK_OK);
    assert_int_equal(some.count, 1);
}

static void each_is_found_listed_and_counted(void **state) {
    world *at = *state;
    for (int step = 0; step < STEP_COUNT; step++) {
        size_t of = (size_t)draw(at, 2), number = (size_t)draw(at, NAME_COUNT);
        char text[16];
        (void)snprintf(text, sizeof text, "c%03zu", number);
        daybook_consumer_config config;
        daybook_consumer_config_init(&config);
        config.name = daybook_text(text);
        daybook_consumer *consumer;
        switch (draw(at, 8)) {
        case 0:
        case 1:
            assert_int_equal(daybook_consumer_remove(at->store, streams[of], config.name, NULL),
                             at->is_there[of][number] ? DAYBOOK_OK : DAYBOOK_ENOTFOUND);
            at->is_there[of][number] = false;
            break;
        case 2:
            assert_int_equal(daybook_consumer_open(at->store, streams[of], config.name, &consumer, NULL),
                             at->is_there[of][number] ? DAYBOOK_OK : DAYBOOK_ENOTFOUND);
            daybook_consumer_close(consumer);
            break;
        case 3:
            if (draw(at, 20) == 0) {
                assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
                open_store(at, 0);
            }
            compare(at);
            break;
        default:
            assert_int_equal(daybook_consumer_add(at->store, streams[of], &config, NULL, NULL), DAYBOOK_OK);
            at->is_there[of][number] = true;
        }
    }
    assert_int_equal(daybook_close(at->store, NULL), DAYBOOK_OK);
    open_store(at, DAYBOOK_OPEN_READ_ONLY);
    compare(at);
    compare(at);
}

static void wrong_arguments_are_refused(void **state) {
    world *at = *state;
    uint64_t count;
    names found = {.at = at};
    assert_int_equal(daybook_consumer_count(NULL, streams[0], &count, NULL), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_consumer_count(at->store, streams[0], NULL, NULL), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_consumer_count(at->store, daybook_text("X"), &count, NULL), DAYBOOK_ENOTFOUND);
    assert_int_equal(daybook_consumer_names(NULL, streams[0], note_name, &found, NULL), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_consumer_names(at->store, streams[0], NULL, NULL, NULL), DAYBOOK_EMISUSE);
    assert_int_equal(daybook_consumer_names(at->store, daybook_text("X"), note_name, &found, NULL),
                     DAYBOOK_ENOTFOUND);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_is_found_listed_and_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(wrong_arguments_are_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
