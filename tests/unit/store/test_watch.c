// SPDX-License-Identifier: Apache-2.0
// Watches: whoever is armed and wants an event is told of it, once, and nobody else, whatever filters come
// and go. Compared with looking at each filter.
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "daybook/subject.h"
#include "store/watch.h"

enum { OWNER_COUNT = 120, FILTERS_MAX = 3, STEP_COUNT = 20000, TEXT_SIZE = 300 };

typedef struct owner {
    dbk_watch_owner head;
    dbk_stream *stream;
    char texts[FILTERS_MAX][TEXT_SIZE];
    dbk_slice filters[FILTERS_MAX];
    size_t filter_count;
    dbk_watch *watch; // or NULL
    bool armed;
    int calls;
} owner;

typedef struct world {
    dbk_watches watches;
    dbk_stream streams[2];
    owner owners[OWNER_COUNT];
    uint64_t random;
} world;

static uint64_t draw(world *at, uint64_t below) {
    at->random = at->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (at->random >> 33) % below;
}

// `depth` tokens of a few letters; in filters also wildcards.
static void make_text(world *at, bool is_filter, char text[TEXT_SIZE]) {
    // Now and then more tokens than are entered.
    uint64_t depth = draw(at, 40) == 0 ? 31 + draw(at, 4) : 1 + draw(at, 4);
    size_t used = 0;
    for (uint64_t i = 0; i < depth; i++) {
        const char *token = depth > 4 ? "a" : (const char *[]){"a", "b", "cc"}[draw(at, 3)];
        uint64_t kind = draw(at, 6);
        if (is_filter && kind == 0) token = "*";
        if (is_filter && kind == 1 && i + 1 == depth) token = ">";
        used += (size_t)snprintf(text + used, TEXT_SIZE - used, "%s%s", i > 0 ? "." : "", token);
    }
}

static void choose_filters(world *at, owner *of) {
    of->filter_count = draw(at, FILTERS_MAX + 1); // 0: everything
    for (size_t i = 0; i < of->filter_count; i++) {
        make_text(at, true, of->texts[i]);
        of->filters[i] = daybook_text(of->texts[i]);
    }
}

static bool wants(const owner *of, const dbk_stream *stream, dbk_slice subject) {
    if (of->stream != stream) return false;
    for (size_t i = 0; i < of->filter_count; i++)
        if (daybook_filter_matches(of->filters[i], subject)) return true;
    return of->filter_count == 0;
}

static void count_call(void *context) {
    ((owner *)context)->calls++;
}

static void begin_watch(world *at, owner *of) {
    choose_filters(at, of);
    of->stream = &at->streams[draw(at, 2)];
    dbk_watch_links *links = dbk_watch_links_new(&at->watches, of->stream, of->filters, of->filter_count);
    assert_non_null(links);
    of->watch = dbk_watch_new(&at->watches, &of->head, links, count_call, of);
    assert_non_null(of->watch);
}

static void end_watch(world *at, owner *of) {
    dbk_watch_end(&at->watches, of->watch);
    of->watch = NULL;
    of->armed = false;
    of->calls = 0;
}

static void change_filters(world *at, owner *of) {
    choose_filters(at, of);
    dbk_watch_owner_set_links(&at->watches, &of->head,
                              dbk_watch_links_new(&at->watches, of->stream, of->filters, of->filter_count));
}

// An event of one stream; those it concerns are called, at once or after others have been armed.
static void publish(world *at) {
    char text[TEXT_SIZE];
    make_text(at, false, text);
    dbk_slice subject = daybook_text(text);
    dbk_stream *stream = &at->streams[draw(at, 2)];
    dbk_watches_note_event(&at->watches, stream, subject);
    dbk_watches_call(&at->watches);
    for (size_t i = 0; i < OWNER_COUNT; i++) {
        owner *of = &at->owners[i];
        bool expected = of->armed && wants(of, stream, subject);
        if (of->calls != (expected ? 1 : 0))
            fail_msg("'%s': owner %zu was called %d times, expected %d", text, i, of->calls, expected);
        if (expected) of->armed = false;
        of->calls = 0;
    }
}

static void check_counts(world *at) {
    for (size_t s = 0; s < 2; s++) {
        unsigned armed = 0;
        for (size_t i = 0; i < OWNER_COUNT; i++)
            armed += at->owners[i].armed && at->owners[i].stream == &at->streams[s];
        assert_int_equal(atomic_load(&at->streams[s].watched_count), armed);
    }
}

static void those_and_only_those_are_told(void **state) {
    (void)state;
    static world at;
    memset(&at, 0, sizeof at);
    at.random = 5;
    dbk_watches_init(&at.watches, dbk_allocator_default());
    for (int step = 0; step < STEP_COUNT; step++) {
        owner *of = &at.owners[draw(&at, OWNER_COUNT)];
        switch (draw(&at, 8)) {
        case 0:
            if (of->watch == NULL) {
                begin_watch(&at, of);
            } else {
                end_watch(&at, of);
            }
            break;
        case 1:
            if (of->watch != NULL) change_filters(&at, of);
            break;
        case 2:
            publish(&at);
            break;
        case 3: // by itself
            dbk_watches_fire(&at.watches, &of->head);
            dbk_watches_call(&at.watches);
            assert_int_equal(of->calls, of->armed ? 1 : 0);
            of->armed = false;
            of->calls = 0;
            break;
        default:
            if (of->watch == NULL) break;
            dbk_watch_arm(&at.watches, of->watch);
            of->armed = true;
        }
        check_counts(&at);
    }
    for (size_t i = 0; i < OWNER_COUNT; i++)
        if (at.owners[i].watch != NULL) end_watch(&at, &at.owners[i]);
    dbk_watches_deinit(&at.watches);
}

static void several_watches_of_one_owner(void **state) {
    (void)state;
    dbk_watches watches;
    dbk_watches_init(&watches, dbk_allocator_default());
    dbk_stream stream = {0};
    owner first = {0}, second = {0};
    dbk_watch_owner of = {0};
    dbk_slice filter = daybook_text("a.*");
    dbk_watch *one =
        dbk_watch_new(&watches, &of, dbk_watch_links_new(&watches, &stream, &filter, 1), count_call, &first);
    dbk_watch *two =
        dbk_watch_new(&watches, &of, dbk_watch_links_new(&watches, &stream, &filter, 1), count_call, &second);
    dbk_watch_arm(&watches, one);
    dbk_watches_note_event(&watches, &stream, daybook_text("a.b"));
    // Armed again before it is called, and the other: the event concerns the one only.
    dbk_watch_arm(&watches, one);
    dbk_watch_arm(&watches, two);
    dbk_watches_call(&watches);
    assert_int_equal(first.calls, 1);
    assert_int_equal(second.calls, 0);
    dbk_watches_note_event(&watches, &stream, daybook_text("b.b"));
    dbk_watches_note_event(&watches, &stream, daybook_text("a.c"));
    dbk_watches_note_event(&watches, &stream, daybook_text("a.c"));
    dbk_watches_call(&watches);
    assert_int_equal(first.calls, 1);
    assert_int_equal(second.calls, 1);
    // One that ends after it fired is not called.
    dbk_watch_arm(&watches, one);
    dbk_watch_arm(&watches, two);
    dbk_watches_fire(&watches, &of);
    dbk_watch_end(&watches, two);
    dbk_watches_call(&watches);
    assert_int_equal(first.calls, 2);
    assert_int_equal(second.calls, 1);
    dbk_watch_end(&watches, one);
    assert_int_equal(atomic_load(&stream.watched_count), 0);
    dbk_watches_deinit(&watches);
}

typedef struct slow {
    atomic_bool runs, may_end, ended;
} slow;

static void call_slowly(void *context) {
    slow *at = context;
    atomic_store(&at->runs, true);
    while (!atomic_load(&at->may_end)) {
    }
    atomic_store(&at->ended, true);
}

static void *call_all(void *context) {
    dbk_watches_call(context);
    return NULL;
}

static void *let_end(void *context) {
    atomic_store(&((slow *)context)->may_end, true);
    return NULL;
}

static void the_end_waits_for_a_callback(void **state) {
    (void)state;
    dbk_watches watches;
    dbk_watches_init(&watches, dbk_allocator_default());
    dbk_stream stream = {0};
    dbk_watch_owner of = {0};
    slow at = {0};
    dbk_watch *watch =
        dbk_watch_new(&watches, &of, dbk_watch_links_new(&watches, &stream, NULL, 0), call_slowly, &at);
    dbk_watch_arm(&watches, watch);
    dbk_watches_note_event(&watches, &stream, daybook_text("a"));
    pthread_t caller, releaser;
    assert_int_equal(pthread_create(&caller, NULL, call_all, &watches), 0);
    while (!atomic_load(&at.runs)) {
    }
    assert_int_equal(pthread_create(&releaser, NULL, let_end, &at), 0);
    dbk_watch_end(&watches, watch);
    assert_true(atomic_load(&at.ended));
    pthread_join(caller, NULL);
    pthread_join(releaser, NULL);
    dbk_watches_deinit(&watches);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_and_only_those_are_told),
        cmocka_unit_test(several_watches_of_one_owner),
        cmocka_unit_test(the_end_waits_for_a_callback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
