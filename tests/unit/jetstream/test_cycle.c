// SPDX-License-Identifier: Apache-2.0
// Which streams that copy one another would send a message round and round: each case is the streams there are
// and the one that is asked about. What is none has to be seen as none as long as filters and fixed tokens say so.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/request.h"
#include "daybook/daybook.h"
#include "jetstream/cycle.h"
#include "lib/fault_allocator.h"

enum { PRESENT_MAX = 4, CHUNK_BYTES = 1 << 16, SMALL_CHUNK_BYTES = 256 };

typedef struct scene {
    const char *present[PRESENT_MAX]; // up to NULL
    const char *asked;
    bool has_cycle;
} scene;

// A stream of one source by a filter; one that transforms what it takes from its source; one that takes all.
#define BY(name, of, filter) \
    "{\"name\":\"" name "\",\"sources\":[{\"name\":\"" of "\",\"filter_subject\":\"" filter "\"}]}"
#define AS(name, of, from, to)                                                                          \
    "{\"name\":\"" name "\",\"sources\":[{\"name\":\"" of "\",\"subject_transforms\":[{\"src\":\"" from \
    "\",\"dest\":\"" to "\"}]}]}"
#define ALL(name, of) "{\"name\":\"" name "\",\"sources\":[{\"name\":\"" of "\"}]}"
#define MIRROR(name, of) "{\"name\":\"" name "\",\"mirror\":{\"name\":\"" of "\"}}"

static const scene scenes[] = {
    // As far as there is anything to copy.
    {{NULL}, "{\"name\":\"A\",\"subjects\":[\"a\"]}", false},
    {{NULL}, ALL("A", "NONE"), false},
    {{ALL("A", "B")}, ALL("B", "C"), false},
    {{ALL("A", "B")}, ALL("B", "A"), true},
    {{MIRROR("A", "B")}, ALL("B", "A"), true},
    {{ALL("A", "B"), ALL("B", "C"), MIRROR("C", "D")}, ALL("D", "A"), true},
    // A circle beside the way is none of this stream's.
    {{ALL("A", "B"), ALL("B", "A")}, ALL("C", "A"), false},
    // Two ways to the same stream are no circle.
    {{ALL("A", "C"), ALL("B", "C")},
     "{\"name\":\"D\",\"sources\":[{\"name\":\"A\"},{\"name\":\"B\"}]}",
     false},
    // Filters that nothing passes both of, and those that something does.
    {{BY("A", "B", "b.>")}, BY("B", "A", "a.>"), false},
    {{BY("A", "B", "b.>")}, BY("B", "A", "*.x"), true},
    {{BY("A", "B", "b.x")}, BY("B", "A", "b.y"), false},
    {{ALL("A", "B")}, BY("B", "A", "a.>"), true},
    // What passes one of them only on its way is stopped at the next.
    {{BY("A", "B", "x.>"), BY("B", "C", "y.>")}, ALL("C", "A"), false},
    {{BY("A", "B", "x.>"), BY("B", "C", "*.y")}, ALL("C", "A"), true},
    // What a transform makes is its destination, ...
    {{AS("A", "B", "b.*", "a.$1")}, BY("B", "A", "b.>"), false},
    {{AS("A", "B", "b.*", "a.$1")}, BY("B", "A", "a.>"), false},
    {{AS("A", "B", "b.*", "a.$1")}, AS("B", "A", "a.*", "b.$1"), true},
    {{AS("A", "B", "b", "a")}, AS("B", "A", "a", "c"), false},
    {{AS("A", "B", "b", "a")}, AS("B", "A", "a", "b"), true},
    // ... from the first token on that depends on the subject anything.
    {{AS("A", "B", "b.*.*", "a.$1.x")}, AS("B", "A", "a.*.y", "b.$1.x"), true},
    {{AS("A", "B", "b.*.*", "a.x.$1")}, AS("B", "A", "a.y.*", "b.$1.x"), false},
};

static dbk_api_stream_config read_config(const char *text, dbk_arena *arena) {
    dbk_api_dial newest;
    dbk_api_stream_create_request request;
    dbk_api_error refused;
    dbk_api_dial_init(&newest, "2.14.6");
    if (!dbk_api_read_stream_create(&newest, daybook_text(text), arena, &request, &refused) ||
        !dbk_api_stream_config_check(&newest, &request.config, NULL, false, arena, &refused))
        fail_msg("%s: %s", text, refused.description);
    return request.config;
}

static void add_present(daybook_store *store, const char *text, dbk_arena *arena) {
    dbk_api_stream_config config = read_config(text, arena);
    daybook_stream_config stored;
    dbk_api_error refused;
    daybook_error error;
    daybook_error_init(&error);
    assert_true(dbk_api_stream_config_to_store(&config, NULL, arena, &stored, &refused));
    if (daybook_stream_add(store, &stored, &error) != DAYBOOK_OK) fail_msg("%s: %s", text, error.message);
}

static daybook_store *open_scene(const scene *of, dbk_arena *arena) {
    daybook_store *store;
    daybook_open_options options;
    daybook_open_options_init(&options);
    options.flags = DAYBOOK_OPEN_NO_BACKGROUND;
    assert_int_equal(daybook_open(":memory:", &options, &store, NULL), DAYBOOK_OK);
    for (size_t i = 0; i < PRESENT_MAX && of->present[i] != NULL; i++)
        add_present(store, of->present[i], arena);
    return store;
}

static void circles_are_found_and_nothing_else(void **unused) {
    (void)unused;
    for (size_t i = 0; i < sizeof scenes / sizeof *scenes; i++) {
        dbk_arena *arena;
        bool has_cycle;
        daybook_error error;
        daybook_error_init(&error);
        assert_int_equal(dbk_arena_new(dbk_allocator_default(), CHUNK_BYTES, &arena), DAYBOOK_OK);
        daybook_store *store = open_scene(&scenes[i], arena);
        dbk_api_stream_config asked = read_config(scenes[i].asked, arena);
        if (dbk_js_find_cycle(store, &asked, arena, &has_cycle, &error) != DAYBOOK_OK)
            fail_msg("scene %zu: %s", i, error.message);
        if (has_cycle != scenes[i].has_cycle)
            fail_msg("scene %zu, %s: %d", i, scenes[i].asked, (int)has_cycle);
        assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK); // and all it was asked for was given back
        dbk_arena_free(arena);
    }
}

// Said as that, never as no circle; at whatever allocation, and with nothing kept.
static void memory_that_is_out_is_said(void **unused) {
    (void)unused;
    static const scene long_way = {
        {ALL("A", "B"), ALL("B", "C"), AS("C", "D", "c.*", "d.$1")}, ALL("D", "A"), true};
    dbk_arena *arena;
    assert_int_equal(dbk_arena_new(dbk_allocator_default(), CHUNK_BYTES, &arena), DAYBOOK_OK);
    daybook_store *store = open_scene(&long_way, arena);
    dbk_api_stream_config asked = read_config(long_way.asked, arena);
    fault_allocator faults;
    fault_allocator_init(&faults);
    bool is_refused = true;
    for (uint64_t number = 1; is_refused; number++) {
        dbk_arena *narrow = NULL;
        bool has_cycle = false;
        fault_allocator_fail(&faults, number, false);
        daybook_status status = dbk_arena_new(&faults.allocator, SMALL_CHUNK_BYTES, &narrow);
        if (status == DAYBOOK_OK) status = dbk_js_find_cycle(store, &asked, narrow, &has_cycle, NULL);
        is_refused = status == DAYBOOK_ENOMEM;
        assert_true(is_refused || (status == DAYBOOK_OK && has_cycle));
        dbk_arena_free(narrow);
        assert_int_equal(fault_allocator_live(&faults), 0);
        assert_true(number < 1000);
    }
    assert_int_equal(daybook_close(store, NULL), DAYBOOK_OK);
    dbk_arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(circles_are_found_and_nothing_else),
        cmocka_unit_test(memory_that_is_out_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
