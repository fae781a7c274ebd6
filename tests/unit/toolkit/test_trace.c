// SPDX-License-Identifier: Apache-2.0
// Causation chains and correlation trees on a store.
#include "fixture.h"

// Append an event of a story: id, what caused it, and what it belongs to.
static void tell(fixture *store, const char *subject, const char *id, const char *causation,
                 const char *correlation) {
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text(subject);
    event.id = daybook_text(id);
    event.causation = daybook_text(causation);
    event.correlation = daybook_text(correlation);
    fixture_append_event(store, &event);
}

typedef struct lines {
    char text[4096];
    unsigned count;
    unsigned depth_max;
    unsigned stop_after;
} lines;

static int note_event(void *context, unsigned depth, const daybook_recorded_event *event) {
    lines *all = context;
    size_t used = strlen(all->text);
    (void)snprintf(all->text + used, sizeof all->text - used, "%u%.*s ", depth, (int)event->event.id.size,
                   (const char *)event->event.id.data);
    if (depth > all->depth_max) all->depth_max = depth;
    return ++all->count == all->stop_after;
}

static void check_why(fixture *store, const char *reference, const char *expected) {
    lines all = {.count = 0};
    assert_ok(store, daybook_why(daybook_store_engine(store->store), daybook_text(reference), note_event,
                                 &all, &store->error));
    assert_string_equal(all.text, expected);
}

static void check_trace(fixture *store, const char *correlation, const char *expected) {
    lines all = {.count = 0};
    assert_ok(store, daybook_trace(daybook_store_engine(store->store), daybook_text(correlation), note_event,
                                   &all, &store->error));
    assert_string_equal(all.text, expected);
}

static void why_follows_causation_back_to_the_first_cause(void **context) {
    fixture *store = *context;
    fixture_add_stream(store, "PAYMENTS", "payments.>");
    tell(store, "orders.1.placed", "a", "", "x");
    tell(store, "payments.9.requested", "b", "a", "x");
    tell(store, "payments.9.made", "c", "b", "x");
    tell(store, "orders.1.paid", "d", "c", "x");
    fixture_reopen(store);
    check_why(store, "d", "0d 1c 2b 3a ");
    check_why(store, "orders.1@2", "0d 1c 2b 3a ");
    check_why(store, "payments.9@1", "0b 1a ");
    check_why(store, "orders.1@1", "0a ");
    lines two = {.stop_after = 2};
    assert_ok(store, daybook_why(daybook_store_engine(store->store), daybook_text("d"), note_event, &two,
                                 &store->error));
    assert_string_equal(two.text, "0d 1c ");
}

static void why_ends_where_the_cause_is_not_stored(void **context) {
    fixture *store = *context;
    tell(store, "orders.1.placed", "a", "somewhere-else", "");
    check_why(store, "a", "0a ");
}

static void why_refuses_what_it_cannot_find(void **context) {
    fixture *store = *context;
    tell(store, "orders.1.placed", "a", "", "");
    const char *absent[] = {"b",          "orders.1@2", "orders.1@0",
                            "orders.2@1", "orders@1",   "nobody.1@1",
                            "@1",         "a@",         "orders.1@99999999999999999999"};
    lines all = {.count = 0};
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        assert_status(store,
                      daybook_why(daybook_store_engine(store->store), daybook_text(absent[i]), note_event,
                                  &all, &store->error),
                      DAYBOOK_ENOTFOUND);
    assert_int_equal(all.count, 0);
    assert_status(
        store,
        daybook_why(daybook_store_engine(store->store), daybook_text(""), note_event, &all, &store->error),
        DAYBOOK_EINVALID);
    assert_status(
        store, daybook_why(daybook_store_engine(store->store), daybook_text("a"), NULL, NULL, &store->error),
        DAYBOOK_EMISUSE);
}

static void an_id_may_look_like_a_reference(void **context) {
    fixture *store = *context;
    tell(store, "orders.1.placed", "mail@7", "", "");
    tell(store, "orders.1.paid", "b", "mail@7", "");
    check_why(store, "mail@7", "0mail@7 ");
    check_why(store, "b", "0b 1mail@7 ");
}

static void why_ends_in_a_loop(void **context) {
    fixture *store = *context;
    tell(store, "orders.1.a", "a", "c", "x");
    tell(store, "orders.1.b", "b", "a", "x");
    tell(store, "orders.1.c", "c", "b", "x");
    tell(store, "orders.1.d", "d", "d", "x");
    check_why(store, "c", "0c 1b 2a ");
    check_why(store, "d", "0d ");
    check_trace(store, "x", "0a 1b 2c 0d ");
}

static void of_equal_ids_the_newest_before_the_effect_is_the_cause(void **context) {
    fixture *store = *context;
    fixture_add_stream(store, "OTHER", "other.>");
    tell(store, "orders.1.a", "same", "", "first");
    tell(store, "other.1.a", "same", "root", "second");
    tell(store, "orders.1.b", "effect", "same", "x");
    tell(store, "orders.1.c", "root", "", "x");
    check_why(store, "effect", "0effect 1same 2root ");
}

static void trace_is_a_tree_parents_first_by_position(void **context) {
    fixture *store = *context;
    tell(store, "orders.1.a", "a", "", "x");
    tell(store, "orders.2.b", "b", "elsewhere", "x");
    tell(store, "orders.3.c", "c", "a", "x");
    tell(store, "orders.4.d", "d", "b", "x");
    tell(store, "orders.5.z", "z", "a", "y");
    tell(store, "orders.5.e", "e", "a", "x");
    tell(store, "orders.6.f", "f", "c", "x");
    tell(store, "orders.7.g", "g", "h", "x"); // Told before its cause.
    tell(store, "orders.8.h", "h", "b", "x");
    fixture_reopen(store);
    check_trace(store, "x", "0a 1c 2f 1e 0b 1d 1h 2g ");
    check_trace(store, "y", "0z ");
    lines all = {.stop_after = 3};
    assert_ok(store, daybook_trace(daybook_store_engine(store->store), daybook_text("x"), note_event, &all,
                                   &store->error));
    assert_string_equal(all.text, "0a 1c 2f ");
    assert_status(store,
                  daybook_trace(daybook_store_engine(store->store), daybook_text("nothing"), note_event, &all,
                                &store->error),
                  DAYBOOK_ENOTFOUND);
    assert_status(
        store,
        daybook_trace(daybook_store_engine(store->store), daybook_text(""), note_event, &all, &store->error),
        DAYBOOK_EINVALID);
}

// A chain of `count` events, each caused by the one before.
static void tell_chain(fixture *store, unsigned count) {
    enum { BATCH = 500 };
    static char ids[BATCH + 1][16];
    static daybook_event events[BATCH];
    strcpy(ids[BATCH], "");
    for (unsigned i = 0; i < count; i += BATCH) {
        char last[16];
        strcpy(last, ids[BATCH]);
        for (unsigned j = 0; j < BATCH; j++) {
            (void)snprintf(ids[j], sizeof ids[j], "e%u", i + j);
            daybook_event_init(&events[j]);
            events[j].subject = daybook_text("orders.1.step");
            events[j].id = daybook_text(ids[j]);
            events[j].causation = daybook_text(j == 0 ? last : ids[j - 1]);
            events[j].correlation = daybook_text("long");
        }
        assert_ok(store, daybook_append(store->store, events, BATCH, NULL, NULL, &store->error));
        strcpy(ids[BATCH], ids[BATCH - 1]);
    }
}

static void long_chains_are_walked_without_recursion(void **context) {
    fixture *store = *context;
    tell_chain(store, 5000);
    lines all = {.count = 0};
    assert_ok(store, daybook_trace(daybook_store_engine(store->store), daybook_text("long"), note_event, &all,
                                   &store->error));
    assert_int_equal(all.count, 5000);
    assert_int_equal(all.depth_max, 4999);
    lines back = {.count = 0};
    assert_ok(store, daybook_why(daybook_store_engine(store->store), daybook_text("e4999"), note_event, &back,
                                 &store->error));
    assert_int_equal(back.count, 1000);
}

static void wide_trees_are_walked_in_order(void **context) {
    fixture *store = *context;
    enum { COUNT = 600 };
    tell(store, "orders.1.root", "root", "", "wide");
    for (unsigned i = 0; i < COUNT; i++) {
        char id[16];
        char cause[16];
        (void)snprintf(id, sizeof id, "w%u", i);
        (void)snprintf(cause, sizeof cause, "w%u", i - COUNT / 2);
        tell(store, "orders.1.leaf", id, i < COUNT / 2 ? "root" : cause, "wide");
    }
    lines all = {.count = 0};
    assert_ok(store, daybook_trace(daybook_store_engine(store->store), daybook_text("wide"), note_event, &all,
                                   &store->error));
    assert_int_equal(all.count, COUNT + 1);
    assert_int_equal(strncmp(all.text, "0root 1w0 2w300 1w1 2w301 ", 26), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(why_follows_causation_back_to_the_first_cause),
        FIXTURE_TEST(why_ends_where_the_cause_is_not_stored),
        FIXTURE_TEST(why_refuses_what_it_cannot_find),
        FIXTURE_TEST(an_id_may_look_like_a_reference),
        FIXTURE_TEST(why_ends_in_a_loop),
        FIXTURE_TEST(of_equal_ids_the_newest_before_the_effect_is_the_cause),
        FIXTURE_TEST(trace_is_a_tree_parents_first_by_position),
        FIXTURE_TEST(long_chains_are_walked_without_recursion),
        FIXTURE_TEST(wide_trees_are_walked_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
