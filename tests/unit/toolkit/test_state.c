// SPDX-License-Identifier: Apache-2.0
// State, history and diff of aggregates on a store.
#include "fixture.h"

#define ORDER daybook_text("orders.1")

static void append_life_of_an_order(fixture *store) {
    fixture_append(store, "orders.1.placed", "{\"customer\":\"ada\",\"items\":[1,2],\"total\":59.99}",
                   "2026-01-01T10:00:00Z");
    fixture_append(store, "orders.2.placed", "{\"customer\":\"bob\"}", "2026-01-01T10:30:00Z");
    fixture_append(store, "orders.1.paid", "{\"paid\":true,\"payment\":{\"by\":\"card\",\"note\":null}}",
                   "2026-01-01T11:00:00Z");
    fixture_append(store, "orders.1.note.added", "called the customer", "2026-01-01T12:00:00Z");
    fixture_append(store, "orders.1.shipped", "{\"payment\":{\"by\":null},\"carrier\":\"DHL\"}",
                   "2026-01-02T10:00:00Z");
    fixture_reopen(store);
}

static const char placed[] = "{\"customer\":\"ada\",\"items\":[1,2],\"total\":59.99}";
static const char paid[] =
    "{\"customer\":\"ada\",\"items\":[1,2],\"total\":59.99,\"paid\":true,\"payment\":{\"by\":\"card\"}}";
static const char shipped[] =
    "{\"customer\":\"ada\",\"items\":[1,2],\"total\":59.99,\"paid\":true,\"payment\":{},\"carrier\":\"DHL\"}";

static daybook_state *load(fixture *store, daybook_slice aggregate, const daybook_moment *moment) {
    daybook_state *state = NULL;
    assert_ok(store, daybook_state_load(daybook_store_engine(store->store), aggregate, moment, &state,
                                        &store->error));
    assert_int_equal(strlen(state->json), state->json_size);
    return state;
}

static void check_state(fixture *store, daybook_slice aggregate, const daybook_moment *moment,
                        const char *expected) {
    daybook_state *state = load(store, aggregate, moment);
    assert_string_equal(state->json, expected);
    daybook_state_release(state);
}

static void check_absent(fixture *store, daybook_slice aggregate, const daybook_moment *moment,
                         daybook_status expected) {
    daybook_state *state = NULL;
    assert_status(
        store,
        daybook_state_load(daybook_store_engine(store->store), aggregate, moment, &state, &store->error),
        expected);
    assert_null(state);
}

static daybook_moment at_version(uint64_t version) {
    daybook_moment moment;
    daybook_moment_init(&moment);
    moment.version = version;
    return moment;
}

static void a_state_is_the_fold_of_the_events(void **context) {
    fixture *store = *context;
    append_life_of_an_order(store);
    fixture_reopen(store);
    daybook_state *state = load(store, ORDER, NULL);
    assert_string_equal(state->json, shipped);
    assert_slice(state->aggregate, "orders.1");
    assert_int_equal(state->version, 4);
    assert_int_equal(state->seq, 5);
    assert_true(state->position >= 5);
    assert_int_equal(state->event_count, 4);
    assert_int_equal(state->skipped_count, 1);
    assert_int_equal(state->snapshot_version, 0);
    assert_int_equal(state->time_ns, fixture_time("2026-01-02T10:00:00Z"));
    assert_int_equal(state->time_max_ns, state->time_ns);
    assert_true(state->recorded_ns > 0);
    daybook_state_release(state);
    daybook_state_release(NULL);
    check_state(store, daybook_text("orders.2"), NULL, "{\"customer\":\"bob\"}");
}

static void an_aggregate_without_json_has_an_empty_state(void **context) {
    fixture *store = *context;
    fixture_append(store, "orders.9.a", "", NULL);
    fixture_append(store, "orders.9.b", "[1]", NULL);
    fixture_append(store, "orders.9.c", "{\"a\":", NULL);
    daybook_state *state = load(store, daybook_text("orders.9"), NULL);
    assert_string_equal(state->json, "{}");
    assert_int_equal(state->skipped_count, 3);
    daybook_state_release(state);
}

static void what_is_no_aggregate_is_not_found_or_refused(void **context) {
    fixture *store = *context;
    append_life_of_an_order(store);
    check_absent(store, daybook_text("orders.3"), NULL, DAYBOOK_ENOTFOUND);
    check_absent(store, daybook_text("orders.11"), NULL, DAYBOOK_ENOTFOUND);
    check_absent(store, daybook_text("nobody.1"), NULL, DAYBOOK_ENOTFOUND);
    check_absent(store, daybook_text("orders"), NULL, DAYBOOK_ENOTFOUND);
    assert_non_null(strstr(store->error.message, "named like 'orders.1'"));
    check_absent(store, daybook_text("orders.1.placed"), NULL, DAYBOOK_ENOTFOUND);
    check_absent(store, daybook_text("orders.*"), NULL, DAYBOOK_ESUBJECT);
    check_absent(store, daybook_text("orders.>"), NULL, DAYBOOK_ESUBJECT);
    check_absent(store, daybook_text(""), NULL, DAYBOOK_ESUBJECT);
    check_absent(store, daybook_text("orders..1"), NULL, DAYBOOK_ESUBJECT);
    char *longest = malloc(DAYBOOK_SUBJECT_SIZE_MAX + 1);
    memset(longest, 'a', DAYBOOK_SUBJECT_SIZE_MAX + 1);
    check_absent(store, daybook_bytes(longest, DAYBOOK_SUBJECT_SIZE_MAX + 1), NULL, DAYBOOK_ESUBJECT);
    check_absent(store, daybook_bytes(longest, DAYBOOK_SUBJECT_SIZE_MAX), NULL, DAYBOOK_ESUBJECT);
    check_absent(store, daybook_bytes(longest, DAYBOOK_SUBJECT_SIZE_MAX - 2), NULL, DAYBOOK_ENOTFOUND);
    free(longest);
    assert_status(store, daybook_state_load(NULL, ORDER, NULL, NULL, &store->error), DAYBOOK_EMISUSE);
}

static void a_state_at_a_version_or_seq_ends_there(void **context) {
    fixture *store = *context;
    append_life_of_an_order(store);
    fixture_reopen(store);
    daybook_moment moment = at_version(1);
    check_state(store, ORDER, &moment, placed);
    moment = at_version(2);
    check_state(store, ORDER, &moment, paid);
    moment = at_version(3);
    check_state(store, ORDER, &moment, paid);
    moment = at_version(4);
    check_state(store, ORDER, &moment, shipped);
    moment = at_version(5);
    check_absent(store, ORDER, &moment, DAYBOOK_ENOTFOUND);
    assert_non_null(strstr(store->error.message, "no version 5: its last is 4"));
    daybook_moment_init(&moment);
    moment.seq = 2;
    check_state(store, ORDER, &moment, placed);
    moment.seq = 1;
    check_absent(store, daybook_text("orders.2"), &moment, DAYBOOK_ENOTFOUND);
    moment.seq = 1000;
    check_state(store, ORDER, &moment, shipped);
    moment.version = 1;
    check_absent(store, ORDER, &moment, DAYBOOK_EINVALID);
}

static void a_state_at_a_time_has_the_events_that_had_happened(void **context) {
    fixture *store = *context;
    append_life_of_an_order(store);
    // Told late: it happened before the parcel was shipped.
    fixture_append(store, "orders.1.address.changed", "{\"street\":\"Elm\",\"paid\":\"late\"}",
                   "2026-01-01T10:45:00Z");
    daybook_moment moment;
    daybook_moment_init(&moment);
    moment.time_ns = fixture_time("2026-01-01T09:59:59.999999999Z");
    check_absent(store, ORDER, &moment, DAYBOOK_ENOTFOUND);
    moment.time_ns = fixture_time("2026-01-01T10:00:00Z");
    check_state(store, ORDER, &moment, placed);
    moment.time_ns = fixture_time("2026-01-01T11:00:00Z");
    daybook_state *state = load(store, ORDER, &moment);
    assert_string_equal(state->json,
                        "{\"customer\":\"ada\",\"items\":[1,2],\"total\":59.99,\"paid\":\"late\","
                        "\"payment\":{\"by\":\"card\"},\"street\":\"Elm\"}");
    assert_int_equal(state->version, 5);
    assert_int_equal(state->event_count, 3);
    assert_int_equal(state->time_ns, fixture_time("2026-01-01T10:45:00Z"));
    assert_int_equal(state->time_max_ns, fixture_time("2026-01-01T11:00:00Z"));
    daybook_state_release(state);
    moment.time_ns = INT64_MAX;
    state = load(store, ORDER, &moment);
    assert_int_equal(state->event_count, 5);
    daybook_state_release(state);
    moment.time_ns = 0;
    check_absent(store, ORDER, &moment, DAYBOOK_ENOTFOUND);
}

static void a_state_known_at_has_the_events_that_were_recorded(void **context) {
    fixture *store = *context;
    daybook_receipt first = fixture_append(store, "orders.1.placed", placed, "2026-01-01T10:00:00Z");
    daybook_receipt second = first;
    // Until the clock has moved, so that the two can be told apart.
    while (second.recorded_ns == first.recorded_ns)
        second = fixture_append(store, "orders.2.placed", "{}", NULL);
    daybook_receipt third = fixture_append(store, "orders.1.paid", "{\"paid\":true}", "2025-01-01T10:00:00Z");
    daybook_moment moment;
    daybook_moment_init(&moment);
    moment.known_at_ns = first.recorded_ns;
    check_state(store, ORDER, &moment, placed);
    moment.known_at_ns = first.recorded_ns - 1;
    check_absent(store, ORDER, &moment, DAYBOOK_ENOTFOUND);
    moment.known_at_ns = third.recorded_ns;
    daybook_state *state = load(store, ORDER, &moment);
    assert_int_equal(state->version, 2);
    daybook_state_release(state);
}

static void a_removed_event_is_left_out_and_its_version_stays_known(void **context) {
    fixture *store = *context;
    append_life_of_an_order(store);
    assert_ok(store, daybook_event_remove(store->store, daybook_text("ORDERS"), 5, 0, &store->error));
    fixture_reopen(store);
    check_state(store, ORDER, NULL, paid);
    daybook_moment moment = at_version(4);
    daybook_state *state = load(store, ORDER, &moment);
    assert_string_equal(state->json, paid);
    assert_int_equal(state->version, 3);
    daybook_state_release(state);
    moment = at_version(5);
    check_absent(store, ORDER, &moment, DAYBOOK_ENOTFOUND);
    assert_ok(store, daybook_flush(store->store, &store->error));
    moment = at_version(4);
    check_state(store, ORDER, &moment, paid);
    assert_ok(store, daybook_event_remove(store->store, daybook_text("ORDERS"), 1, 0, &store->error));
    moment = at_version(1);
    check_absent(store, ORDER, &moment, DAYBOOK_ENOTFOUND);
}

static void aggregates_may_have_other_token_counts(void **context) {
    fixture *store = *context;
    daybook_slice filter = daybook_text("shop.>");
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text("SHOP");
    config.subjects = &filter;
    config.subject_count = 1;
    config.aggregate_tokens = 3;
    assert_ok(store, daybook_stream_add(store->store, &config, &store->error));
    fixture_append(store, "shop.v1.7.opened", "{\"a\":1}", NULL);
    fixture_append(store, "shop.v1.8.opened", "{\"b\":1}", NULL);
    check_state(store, daybook_text("shop.v1.7"), NULL, "{\"a\":1}");
    check_absent(store, daybook_text("shop.v1"), NULL, DAYBOOK_ENOTFOUND);
    assert_non_null(strstr(store->error.message, "named like 'shop.v1.7'"));
}

static void a_stream_of_some_subjects_only_is_found_by_its_events(void **context) {
    fixture *store = *context;
    fixture_add_stream(store, "CREATED", "users.*.created");
    fixture_append(store, "users.1.created", "{\"name\":\"ada\"}", NULL);
    check_state(store, daybook_text("users.1"), NULL, "{\"name\":\"ada\"}");
    check_absent(store, daybook_text("users.2"), NULL, DAYBOOK_ENOTFOUND);
    fixture_add_stream(store, "RENAMED", "users.*.renamed");
    fixture_append(store, "users.1.renamed", "{\"name\":\"bob\"}", NULL);
    check_absent(store, daybook_text("users.1"), NULL, DAYBOOK_EUNSUPPORTED);
}

// History.

typedef struct lines {
    char text[4096];
    int stop_after;
} lines;

static int note_event(void *context, const daybook_recorded_event *event, daybook_slice changes,
                      daybook_slice state) {
    lines *all = context;
    size_t used = strlen(all->text);
    (void)snprintf(all->text + used, sizeof all->text - used, "%d %.*s %.*s %.*s\n", (int)event->version,
                   (int)event->event.type.size, (const char *)event->event.type.data, (int)changes.size,
                   (const char *)changes.data, (int)state.size, (const char *)state.data);
    return all->stop_after > 0 && --all->stop_after == 0;
}

static void a_history_shows_what_each_event_changed(void **context) {
    fixture *store = *context;
    append_life_of_an_order(store);
    fixture_reopen(store);
    lines all = {.stop_after = 0};
    assert_ok(store, daybook_state_history(daybook_store_engine(store->store), ORDER, NULL, note_event, &all,
                                           &store->error));
    char expected[4096];
    (void)snprintf(
        expected, sizeof expected,
        "1 placed [{\"path\":\"/customer\",\"to\":\"ada\"},{\"path\":\"/items\",\"to\":[1,2]},"
        "{\"path\":\"/total\",\"to\":59.99}] %s\n"
        "2 paid [{\"path\":\"/paid\",\"to\":true},{\"path\":\"/payment\",\"to\":{\"by\":\"card\"}}] %s\n"
        "3 note.added [] %s\n"
        "4 shipped [{\"path\":\"/payment/by\",\"from\":\"card\"},"
        "{\"path\":\"/carrier\",\"to\":\"DHL\"}] %s\n",
        placed, paid, paid, shipped);
    assert_string_equal(all.text, expected);
}

static void a_history_ends_at_its_moment_or_when_told(void **context) {
    fixture *store = *context;
    append_life_of_an_order(store);
    lines all = {.stop_after = 1};
    assert_ok(store, daybook_state_history(daybook_store_engine(store->store), ORDER, NULL, note_event, &all,
                                           &store->error));
    assert_null(strstr(all.text, "2 paid"));
    daybook_moment moment = at_version(2);
    lines two = {.stop_after = 0};
    assert_ok(store, daybook_state_history(daybook_store_engine(store->store), ORDER, &moment, note_event,
                                           &two, &store->error));
    assert_non_null(strstr(two.text, "2 paid"));
    assert_null(strstr(two.text, "3 note"));
    moment = at_version(9);
    assert_status(store,
                  daybook_state_history(daybook_store_engine(store->store), ORDER, &moment, note_event, &two,
                                        &store->error),
                  DAYBOOK_ENOTFOUND);
    assert_status(store,
                  daybook_state_history(daybook_store_engine(store->store), daybook_text("orders.7"), NULL,
                                        note_event, &two, &store->error),
                  DAYBOOK_ENOTFOUND);
    assert_status(
        store,
        daybook_state_history(daybook_store_engine(store->store), ORDER, NULL, NULL, NULL, &store->error),
        DAYBOOK_EMISUSE);
}

static void a_history_of_events_without_json_has_an_empty_state(void **context) {
    fixture *store = *context;
    fixture_append(store, "orders.9.a", "text", NULL);
    lines all = {.stop_after = 0};
    assert_ok(store, daybook_state_history(daybook_store_engine(store->store), daybook_text("orders.9"), NULL,
                                           note_event, &all, &store->error));
    assert_string_equal(all.text, "1 a [] {}\n");
}

// Diff.

static void check_diff(fixture *store, uint64_t from, uint64_t to, const char *expected) {
    char *changes = NULL;
    assert_ok(store, daybook_state_diff(daybook_store_engine(store->store), ORDER, from, to, &changes,
                                        &store->error));
    assert_string_equal(changes, expected);
    daybook_text_release(changes);
}

static void a_diff_is_between_any_two_versions(void **context) {
    fixture *store = *context;
    append_life_of_an_order(store);
    check_diff(store, 2, 2, "[]");
    check_diff(store, 2, 3, "[]");
    check_diff(store, 1, 4,
               "[{\"path\":\"/paid\",\"to\":true},{\"path\":\"/payment\",\"to\":{}},"
               "{\"path\":\"/carrier\",\"to\":\"DHL\"}]");
    check_diff(store, 4, 2,
               "[{\"path\":\"/payment/by\",\"to\":\"card\"},{\"path\":\"/carrier\",\"from\":\"DHL\"}]");
    check_diff(store, 0, 1,
               "[{\"path\":\"/customer\",\"to\":\"ada\"},{\"path\":\"/items\",\"to\":[1,2]},"
               "{\"path\":\"/total\",\"to\":59.99}]");
    check_diff(store, 0, 0, "[]");
    char *changes = NULL;
    assert_status(
        store, daybook_state_diff(daybook_store_engine(store->store), ORDER, 1, 5, &changes, &store->error),
        DAYBOOK_ENOTFOUND);
    assert_status(
        store, daybook_state_diff(daybook_store_engine(store->store), ORDER, 5, 1, &changes, &store->error),
        DAYBOOK_ENOTFOUND);
    assert_null(changes);
}

static void a_long_aggregate_folds_event_by_event(void **context) {
    fixture *store = *context;
    enum { COUNT = 3000, BATCH = 500 };
    static char subjects[BATCH][32];
    static char data[BATCH][64];
    static daybook_event events[BATCH];
    for (int i = 0; i < COUNT; i += BATCH) {
        for (int j = 0; j < BATCH; j++) {
            (void)snprintf(subjects[j], sizeof subjects[j], "orders.1.step");
            (void)snprintf(data[j], sizeof data[j], "{\"last\":%d,\"k%d\":%d}", i + j + 1, (i + j) % 10,
                           i + j + 1);
            daybook_event_init(&events[j]);
            events[j].subject = daybook_text(subjects[j]);
            events[j].data = daybook_text(data[j]);
        }
        assert_ok(store, daybook_append(store->store, events, BATCH, NULL, NULL, &store->error));
    }
    assert_ok(store, daybook_flush(store->store, &store->error));
    daybook_state *state = load(store, ORDER, NULL);
    assert_int_equal(state->version, COUNT);
    assert_non_null(strstr(state->json, "\"last\":3000"));
    assert_non_null(strstr(state->json, "\"k4\":2995"));
    daybook_state_release(state);
    daybook_moment moment = at_version(1234);
    state = load(store, ORDER, &moment);
    assert_non_null(strstr(state->json, "\"last\":1234"));
    daybook_state_release(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(a_state_is_the_fold_of_the_events),
        FIXTURE_TEST(an_aggregate_without_json_has_an_empty_state),
        FIXTURE_TEST(what_is_no_aggregate_is_not_found_or_refused),
        FIXTURE_TEST(a_state_at_a_version_or_seq_ends_there),
        FIXTURE_TEST(a_state_at_a_time_has_the_events_that_had_happened),
        FIXTURE_TEST(a_state_known_at_has_the_events_that_were_recorded),
        FIXTURE_TEST(a_removed_event_is_left_out_and_its_version_stays_known),
        FIXTURE_TEST(aggregates_may_have_other_token_counts),
        FIXTURE_TEST(a_stream_of_some_subjects_only_is_found_by_its_events),
        FIXTURE_TEST(a_history_shows_what_each_event_changed),
        FIXTURE_TEST(a_history_ends_at_its_moment_or_when_told),
        FIXTURE_TEST(a_history_of_events_without_json_has_an_empty_state),
        FIXTURE_TEST(a_diff_is_between_any_two_versions),
        FIXTURE_TEST(a_long_aggregate_folds_event_by_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
