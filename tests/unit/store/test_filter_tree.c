// SPDX-License-Identifier: Apache-2.0
// The tree of filters: compared with looking at every filter, over random filters that come and go, and what
// a look costs where there are many.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "daybook/subject.h"
#include "store/filter_tree.h"

enum { FILTERS_MAX = 40, ROUNDS = 20000 };

typedef struct held {
    char text[64];
    bool live;
} held;

static uint64_t seed;

static unsigned draw(unsigned below) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % below;
}

static void random_text(char *text, bool is_filter) {
    static const char *const tokens[] = {"a", "b", "ab", "*", ">"};
    unsigned count = 1 + draw(4);
    text[0] = '\0';
    for (unsigned i = 0; i < count; i++) {
        unsigned kind = draw(is_filter ? 5 : 3);
        if (kind == 4 && i + 1 < count) kind = 3;
        if (i > 0) strcat(text, ".");
        strcat(text, tokens[kind]);
    }
}

// Streams are told apart by their address; nobody looks into one.
static struct dbk_stream *stream_of(held *filter) {
    return (struct dbk_stream *)(void *)filter;
}

typedef struct marks {
    held *filters;
    bool seen[FILTERS_MAX];
} marks;

static int mark_seen(void *context, dbk_slice overlapping, struct dbk_stream *stream) {
    marks *found = context;
    size_t at = (size_t)((held *)(void *)stream - found->filters);
    assert_true(dbk_slice_equal(overlapping, daybook_text(found->filters[at].text)));
    assert_false(found->seen[at]);
    found->seen[at] = true;
    return 0;
}

static void compare(const dbk_filter_tree *tree, held *filters) {
    char text[64];
    random_text(text, false);
    struct dbk_stream *stream = dbk_filter_tree_match(tree, daybook_text(text));
    bool matched = false;
    for (size_t i = 0; i < FILTERS_MAX; i++)
        matched |= filters[i].live &&
                   daybook_filter_matches(daybook_text(filters[i].text), daybook_text(text));
    assert_int_equal(stream != NULL, matched);
    if (stream != NULL)
        assert_true(daybook_filter_matches(daybook_text(((held *)(void *)stream)->text), daybook_text(text)));
    random_text(text, true);
    marks found = {.filters = filters};
    (void)dbk_filter_tree_overlaps(tree, daybook_text(text), mark_seen, &found);
    for (size_t i = 0; i < FILTERS_MAX; i++)
        assert_int_equal(found.seen[i],
                         filters[i].live &&
                             daybook_filters_overlap(daybook_text(filters[i].text), daybook_text(text)));
}

static void it_finds_what_looking_at_every_filter_finds(void **state) {
    (void)state;
    dbk_filter_tree tree;
    dbk_filter_tree_init(&tree, dbk_allocator_default());
    // A text is never changed once it was in the tree.
    held *filters = calloc(FILTERS_MAX, sizeof *filters);
    char *texts = calloc(ROUNDS, sizeof filters->text);
    assert_non_null(filters);
    assert_non_null(texts);
    dbk_slice added[FILTERS_MAX];
    for (size_t round = 0; round < ROUNDS; round++) {
        size_t at = draw(FILTERS_MAX);
        if (filters[at].live) {
            dbk_filter_tree_remove(&tree, added[at], stream_of(&filters[at]));
        } else {
            char *text = texts + round * sizeof filters->text;
            random_text(text, true);
            memcpy(filters[at].text, text, sizeof filters->text);
            added[at] = daybook_text(text);
            assert_int_equal(dbk_filter_tree_reserve(&tree, &added[at], 1), DAYBOOK_OK);
            dbk_filter_tree_add(&tree, added[at], stream_of(&filters[at]));
        }
        filters[at].live = !filters[at].live;
        compare(&tree, filters);
    }
    // Entries of removed filters are used again.
    assert_true(tree.entry_count <= FILTERS_MAX);
    dbk_filter_tree_deinit(&tree);
    free(texts);
    free(filters);
}

static int refuse(void *context, dbk_slice overlapping, struct dbk_stream *stream) {
    (void)context, (void)overlapping, (void)stream;
    return 1;
}

static void among_many_only_neighbours_are_compared(void **state) {
    (void)state;
    enum { COUNT = 100000 };
    dbk_filter_tree tree;
    dbk_filter_tree_init(&tree, dbk_allocator_default());
    held *filters = calloc(COUNT, sizeof *filters);
    assert_non_null(filters);
    size_t compared = 0;
    for (size_t i = 0; i < COUNT; i++) {
        (void)snprintf(filters[i].text, sizeof filters[i].text, i % 2 == 0 ? "$KV.b%zu.>" : "s%zu.*.x", i);
        dbk_slice filter = daybook_text(filters[i].text);
        assert_int_equal(dbk_filter_tree_reserve(&tree, &filter, 1), DAYBOOK_OK);
        compared += dbk_filter_tree_overlaps(&tree, filter, refuse, NULL);
        dbk_filter_tree_add(&tree, filter, stream_of(&filters[i]));
    }
    assert_int_equal(compared, 0);
    assert_int_equal(dbk_filter_tree_overlaps(&tree, daybook_text("$KV.b500.k"), refuse, NULL), 1);
    assert_ptr_equal(dbk_filter_tree_match(&tree, daybook_text("s501.7.x")), stream_of(&filters[501]));
    assert_null(dbk_filter_tree_match(&tree, daybook_text("s501.7.y")));
    dbk_filter_tree_deinit(&tree);
    free(filters);
}

int main(void) {
    const char *given = getenv("DAYBOOK_SEED");
    seed = given == NULL ? 1 : strtoull(given, NULL, 10);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_finds_what_looking_at_every_filter_finds),
        cmocka_unit_test(among_many_only_neighbours_are_compared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
