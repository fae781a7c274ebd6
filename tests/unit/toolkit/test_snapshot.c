// SPDX-License-Identifier: Apache-2.0
// Snapshots: used when they may be, passed over when they may not, never a way back for what was removed.
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "fixture.h"

#define ORDER daybook_text("orders.1")
#define BUCKET daybook_text("SNAPSHOTS")

// Version n sets "n" to n; version n happened on day n of January.
static daybook_receipt step(fixture *store, int n) {
    char data[64];
    char time[32];
    (void)snprintf(data, sizeof data, "{\"n\":%d,\"v%d\":true}", n, n);
    (void)snprintf(time, sizeof time, "2026-01-%02dT00:00:00Z", n);
    return fixture_append(store, "orders.1.step", data, time);
}

static void take(fixture *store) {
    assert_ok(store, daybook_snapshot_take(daybook_store_engine(store->store), ORDER, NULL, &store->error));
    fixture_reopen(store);
}

// A second thread takes snapshots while events come and go.
typedef struct taker {
    fixture *store;
    atomic_bool stop;
    unsigned taken;
} taker;

static void *take_all_the_time(void *context) {
    taker *work = context;
    while (!atomic_load(&work->stop))
        work->taken += daybook_snapshot_take(daybook_store_engine(work->store->store), ORDER, NULL, NULL) ==
                       DAYBOOK_OK;
    return NULL;
}

static void check_no_secret(fixture *store) {
    daybook_engine_cursor *cursor = NULL;
    daybook_status status = daybook_kv_read(daybook_store_engine(store->store), BUCKET,
                                            daybook_text("orders.1"), 1, 0, &cursor, &store->error);
    if (status == DAYBOOK_ENOTFOUND) return; // None was taken.
    assert_ok(store, status);
    daybook_kv_entry entry;
    while ((status = daybook_kv_next(cursor, 0, &entry, &store->error)) == DAYBOOK_OK) {
        for (size_t i = 0; i + 6 <= entry.value.size; i++)
            if (memcmp((const char *)entry.value.data + i, "secret", 6) == 0)
                fail_msg("a removed event is in the snapshot of revision %d", (int)entry.revision);
    }
    assert_status(store, status, DAYBOOK_END);
    daybook_engine_cursor_close(cursor);
}

static void a_snapshot_under_way_does_not_bring_back_what_is_removed(void **context) {
    fixture *store = *context;
    step(store, 1);
    for (unsigned round = 0; round < 5; round++) {
        taker work = {.store = store};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, take_all_the_time, &work), 0);
        for (unsigned i = 0; i < 20; i++) {
            daybook_receipt receipt = fixture_append(store, "orders.1.told", "{\"secret\":true}", NULL);
            fixture_append(store, "orders.1.step", "{\"more\":true}", NULL);
            assert_ok(store, daybook_event_remove(store->store, daybook_text("ORDERS"), receipt.seq, 0,
                                                  &store->error));
        }
        atomic_store(&work.stop, true);
        assert_int_equal(pthread_join(thread, NULL), 0);
        check_no_secret(store);
        fixture_reopen(store);
        check_no_secret(store);
    }
}

// The same with the removal where it hurts most: the state is folded, and not stored yet.
static struct {
    fixture *store;
    const daybook_engine_calls *calls;
    uint64_t seq;
    bool is_removed;
} meanwhile;

static daybook_status append_behind_a_removal(daybook_engine *engine, const daybook_event *events,
                                              size_t count, const daybook_append_options *options,
                                              daybook_receipt *receipts, daybook_error *error) {
    if (!meanwhile.is_removed) {
        meanwhile.is_removed = true;
        assert_ok(meanwhile.store, daybook_event_remove(meanwhile.store->store, daybook_text("ORDERS"),
                                                        meanwhile.seq, 0, &meanwhile.store->error));
    }
    return meanwhile.calls->append(engine, events, count, options, receipts, error);
}

static void what_is_removed_before_a_snapshot_is_stored_is_not_in_it(void **context) {
    fixture *store = *context;
    step(store, 1);
    daybook_receipt receipt = fixture_append(store, "orders.1.told", "{\"secret\":true}", NULL);
    step(store, 2);
    daybook_engine *engine = daybook_store_engine(store->store);
    meanwhile.store = store;
    meanwhile.calls = engine->calls;
    meanwhile.seq = receipt.seq;
    meanwhile.is_removed = false;
    daybook_engine_calls calls = *engine->calls;
    calls.append = append_behind_a_removal;
    engine->calls = &calls;
    daybook_status status = daybook_snapshot_take(engine, ORDER, NULL, &store->error);
    engine->calls = meanwhile.calls;
    assert_ok(store, status);
    assert_true(meanwhile.is_removed);
    check_no_secret(store);
    fixture_reopen(store);
    check_no_secret(store);
}

// Loads, checks which snapshot it began with, and that the state has the member `n` = version expected.
static void check_load(fixture *store, const daybook_moment *moment, uint64_t version,
                       uint64_t snapshot_version) {
    daybook_state *state = NULL;
    assert_ok(store,
              daybook_state_load(daybook_store_engine(store->store), ORDER, moment, &state, &store->error));
    assert_int_equal(state->version, version);
    assert_int_equal(state->snapshot_version, snapshot_version);
    char member[32];
    (void)snprintf(member, sizeof member, "{\"n\":%d,\"v1\":true", (int)version);
    if (strncmp(state->json, member, strlen(member)) != 0) fail_msg("%s", state->json);
    assert_int_equal(state->event_count, version - snapshot_version);
    daybook_state_release(state);
}

static void put_text(fixture *store, const char *text) {
    assert_ok(store, daybook_kv_put(daybook_store_engine(store->store), BUCKET, ORDER, daybook_text(text),
                                    NULL, &store->error));
}

static char *show(fixture *store) {
    char *json = NULL;
    assert_ok(store, daybook_snapshot_show(daybook_store_engine(store->store), ORDER, &json, &store->error));
    return json;
}

static void a_snapshot_shortens_the_fold(void **context) {
    fixture *store = *context;
    for (int n = 1; n <= 3; n++) step(store, n);
    daybook_state *state = NULL;
    assert_ok(store, daybook_snapshot_take(daybook_store_engine(store->store), ORDER, &state, &store->error));
    assert_int_equal(state->version, 3);
    daybook_state_release(state);
    check_load(store, NULL, 3, 3);
    step(store, 4);
    step(store, 5);
    fixture_reopen(store);
    check_load(store, NULL, 5, 3);
    take(store);
    check_load(store, NULL, 5, 5);
}

static void a_snapshot_says_what_it_holds(void **context) {
    fixture *store = *context;
    step(store, 2);
    daybook_receipt last = step(store, 1);
    take(store);
    char *json = show(store);
    char expected[1024];
    char recorded[DAYBOOK_TIME_TEXT_SIZE];
    daybook_time_format(last.recorded_ns, recorded);
    (void)snprintf(expected, sizeof expected,
                   "{\"aggregate\":\"orders.1\",\"version\":2,\"seq\":2,\"position\":%llu,"
                   "\"schema\":\"merge-patch/1\",\"time\":\"2026-01-01T00:00:00.000000000Z\","
                   "\"time_max\":\"2026-01-02T00:00:00.000000000Z\",\"recorded\":\"%s\","
                   "\"state\":{\"n\":1,\"v2\":true,\"v1\":true}}",
                   (unsigned long long)last.position, recorded);
    assert_string_equal(json, expected);
    daybook_text_release(json);
}

static void taking_again_without_new_events_stores_nothing(void **context) {
    fixture *store = *context;
    step(store, 1);
    take(store);
    take(store);
    daybook_stream_info *info = NULL;
    assert_ok(store,
              daybook_stream_get_info(store->store, daybook_text("KV_SNAPSHOTS"), &info, &store->error));
    assert_int_equal(info->last_seq, 1);
    daybook_stream_info_release(store->store, info);
}

static void an_earlier_moment_uses_an_earlier_snapshot_or_none(void **context) {
    fixture *store = *context;
    daybook_receipt receipts[10];
    for (int n = 1; n <= 9; n++) {
        receipts[n] = step(store, n);
        // The clock must tell the events apart for --known-at.
        while (n > 1 && receipts[n].recorded_ns == receipts[n - 1].recorded_ns)
            receipts[n].recorded_ns = fixture_append(store, "orders.2.tick", "", NULL).recorded_ns;
        if (n % 3 == 0) take(store);
    }
    daybook_moment moment;
    for (uint64_t version = 1; version <= 9; version++) {
        uint64_t base = version / 3 * 3;
        daybook_moment_init(&moment);
        moment.version = version;
        check_load(store, &moment, version, base);
        daybook_moment_init(&moment);
        moment.seq = receipts[version].seq;
        check_load(store, &moment, version, base);
        daybook_moment_init(&moment);
        moment.time_ns = fixture_time("2026-01-01T00:00:00Z") +
                         (int64_t)(version - 1) * INT64_C(86400000000000);
        check_load(store, &moment, version, base);
    }
    daybook_moment_init(&moment);
    moment.version = 10;
    daybook_state *state = NULL;
    assert_status(
        store, daybook_state_load(daybook_store_engine(store->store), ORDER, &moment, &state, &store->error),
        DAYBOOK_ENOTFOUND);
    daybook_moment_init(&moment);
    moment.known_at_ns = receipts[1].recorded_ns;
    check_load(store, &moment, 1, 0);
    moment.known_at_ns = INT64_MAX;
    check_load(store, &moment, 9, 9);
}

static void a_snapshot_with_a_later_time_than_asked_is_not_used(void **context) {
    fixture *store = *context;
    step(store, 1);
    fixture_append(store, "orders.1.step", "{\"future\":true}", "2030-01-01T00:00:00Z");
    fixture_append(store, "orders.1.step", "{\"n\":3}", "2026-01-03T00:00:00Z");
    take(store);
    daybook_moment moment;
    daybook_moment_init(&moment);
    moment.time_ns = fixture_time("2026-01-03T00:00:00Z");
    daybook_state *state = NULL;
    assert_ok(store,
              daybook_state_load(daybook_store_engine(store->store), ORDER, &moment, &state, &store->error));
    assert_string_equal(state->json, "{\"n\":3,\"v1\":true}");
    assert_int_equal(state->snapshot_version, 0);
    assert_int_equal(state->version, 3);
    daybook_state_release(state);
}

static void a_malformed_or_foreign_snapshot_is_passed_over(void **context) {
    fixture *store = *context;
    for (int n = 1; n <= 3; n++) step(store, n);
    take(store);
    char *json = show(store);
    put_text(store, "");
    check_load(store, NULL, 3, 3); // The older one still serves.
    static const struct {
        const char *from, *to;
    } spoils[] = {
        {"{\"aggregate\"", "[\"aggregate\""}, {"orders.1", "orders.2"},
        {"\"version\":3", "\"version\":0"},   {"\"version\":3", "\"version\":\"3\""},
        {"merge-patch/1", "merge-patch/2"},   {"\"state\":{", "\"stat\":{"},
        {"\"version\":3", "\"version\":7"},   {"\"version\":3", "\"version\":2"},
        {"\"seq\":3", "\"seq\":4"},           {"\"time_max\":\"2026", "\"time_max\":\"now"},
        {"\"position\":", "\"position\":9"},  {"\"seq\":3", "\"seq\":-3"},
    };
    for (size_t i = 0; i < sizeof spoils / sizeof *spoils; i++) {
        char spoiled[1024];
        const char *found = strstr(json, spoils[i].from);
        assert_non_null(found);
        size_t at = (size_t)(found - json);
        (void)snprintf(spoiled, sizeof spoiled, "%.*s%s%s", (int)at, json, spoils[i].to,
                       json + at + strlen(spoils[i].from));
        assert_ok(store, daybook_snapshot_remove(daybook_store_engine(store->store), ORDER, &store->error));
        put_text(store, spoiled);
        daybook_state *state = NULL;
        assert_ok(store,
                  daybook_state_load(daybook_store_engine(store->store), ORDER, NULL, &state, &store->error));
        if (state->version != 3 || state->snapshot_version != 0) fail_msg("spoil %zu was used", i);
        daybook_state_release(state);
    }
    daybook_text_release(json);
}

static void a_stream_made_anew_never_meets_the_snapshots_of_the_old_one(void **context) {
    fixture *store = *context;
    for (int n = 1; n <= 3; n++) step(store, n);
    take(store);
    assert_ok(store, daybook_stream_remove(store->store, daybook_text("ORDERS"), &store->error));
    fixture_add_stream(store, "ORDERS", "orders.>");
    fixture_append(store, "orders.1.step", "{\"new\":1}", NULL);
    for (int round = 0; round < 2; round++) {
        daybook_state *state = NULL;
        assert_ok(store,
                  daybook_state_load(daybook_store_engine(store->store), ORDER, NULL, &state, &store->error));
        assert_null(strstr(state->json, "v1"));
        assert_int_equal(state->snapshot_version, 0);
        daybook_state_release(state);
        // Also once it has as many versions as the snapshot.
        for (int n = 0; n < 5; n++) fixture_append(store, "orders.1.step", "{\"new\":2}", NULL);
    }
}

static void a_snapshot_does_not_bring_back_a_removed_event(void **context) {
    fixture *store = *context;
    for (int n = 1; n <= 3; n++) step(store, n);
    take(store);
    assert_ok(store, daybook_event_remove(store->store, daybook_text("ORDERS"), 2, 0, &store->error));
    fixture_reopen(store);
    daybook_state *state = NULL;
    assert_ok(store,
              daybook_state_load(daybook_store_engine(store->store), ORDER, NULL, &state, &store->error));
    assert_string_equal(state->json, "{\"n\":3,\"v1\":true,\"v3\":true}");
    assert_int_equal(state->snapshot_version, 0);
    daybook_state_release(state);
}

static void a_snapshot_survives_its_events_going_by_a_limit(void **context) {
    fixture *store = *context;
    daybook_slice filter = daybook_text("short.>");
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text("SHORT");
    config.subjects = &filter;
    config.subject_count = 1;
    config.max_msgs = 2;
    assert_ok(store, daybook_stream_add(store->store, &config, &store->error));
    fixture_append(store, "short.1.a", "{\"a\":1}", NULL);
    fixture_append(store, "short.1.b", "{\"b\":1}", NULL);
    assert_ok(store, daybook_snapshot_take(daybook_store_engine(store->store), daybook_text("short.1"), NULL,
                                           &store->error));
    fixture_append(store, "short.1.c", "{\"c\":1}", NULL);
    fixture_append(store, "short.1.d", "{\"d\":1}", NULL);
    daybook_state *state = NULL;
    assert_ok(store, daybook_state_load(daybook_store_engine(store->store), daybook_text("short.1"), NULL,
                                        &state, &store->error));
    assert_string_equal(state->json, "{\"a\":1,\"b\":1,\"c\":1,\"d\":1}");
    assert_int_equal(state->snapshot_version, 2);
    daybook_state_release(state);
}

static void one_taken_by_force_does_not_look_at_others(void **context) {
    fixture *store = *context;
    daybook_engine *engine = daybook_store_engine(store->store);
    for (int n = 1; n <= 3; n++) step(store, n);
    assert_ok(store, daybook_snapshot_take(engine, ORDER, NULL, &store->error));
    char *json = show(store);
    char wrong[1024];
    // Sound in every respect but what it says.
    const char *at = strstr(json, "\"n\":3");
    assert_non_null(at);
    (void)snprintf(wrong, sizeof wrong, "%.*s\"n\":8%s", (int)(at - json), json, at + 5);
    put_text(store, wrong);
    daybook_text_release(json);
    daybook_state *state = NULL;
    assert_ok(store, daybook_snapshot_take(engine, ORDER, &state, &store->error));
    assert_int_equal(state->snapshot_version, 3);
    daybook_state_release(state);
    assert_ok(store, daybook_snapshot_force(engine, ORDER, &state, &store->error));
    assert_int_equal(state->snapshot_version, 0);
    assert_int_equal(state->event_count, 3);
    daybook_state_release(state);
    check_load(store, NULL, 3, 3);
    assert_status(store, daybook_snapshot_force(engine, daybook_text("orders.9"), NULL, &store->error),
                  DAYBOOK_ENOTFOUND);
}

static void older_ones_are_pruned(void **context) {
    fixture *store = *context;
    daybook_engine *engine = daybook_store_engine(store->store);
    uint64_t count = 7;
    assert_ok(store, daybook_snapshot_prune(engine, daybook_text(""), 1, 0, &count, &store->error));
    assert_int_equal(count, 0);
    for (int n = 1; n <= 4; n++) {
        step(store, n);
        assert_ok(store, daybook_snapshot_take(engine, ORDER, NULL, &store->error));
        fixture_append(store, "orders.2.step", "{\"n\":1}", NULL);
        assert_ok(store, daybook_snapshot_take(engine, daybook_text("orders.2"), NULL, &store->error));
    }
    assert_ok(store, daybook_snapshot_prune(engine, ORDER, 2, 1, &count, &store->error));
    assert_int_equal(count, 2);
    assert_ok(store, daybook_snapshot_prune(engine, ORDER, 2, 0, &count, &store->error));
    assert_int_equal(count, 2);
    assert_ok(store, daybook_snapshot_prune(engine, daybook_text(""), 1, 0, &count, &store->error));
    assert_int_equal(count, 4);
    fixture_reopen(store);
    check_load(store, NULL, 4, 4);
    daybook_moment moment;
    daybook_moment_init(&moment);
    moment.version = 3;
    check_load(store, &moment, 3, 0);
}

typedef struct names {
    char text[256];
} names;

static int note_name(void *context, daybook_slice aggregate, daybook_slice json) {
    names *all = context;
    assert_true(json.size > 0);
    size_t used = strlen(all->text);
    (void)snprintf(all->text + used, sizeof all->text - used, "%.*s ", (int)aggregate.size,
                   (const char *)aggregate.data);
    return 0;
}

static void check_list(fixture *store, const char *filter, const char *expected) {
    names all = {""};
    assert_ok(store, daybook_snapshot_list(daybook_store_engine(store->store), daybook_text(filter),
                                           note_name, &all, &store->error));
    assert_string_equal(all.text, expected);
}

static void snapshots_are_shown_listed_and_removed(void **context) {
    fixture *store = *context;
    char *json = NULL;
    check_list(store, "", "");
    assert_status(store,
                  daybook_snapshot_show(daybook_store_engine(store->store), ORDER, &json, &store->error),
                  DAYBOOK_ENOTFOUND);
    assert_status(store, daybook_snapshot_remove(daybook_store_engine(store->store), ORDER, &store->error),
                  DAYBOOK_ENOTFOUND);
    assert_status(store,
                  daybook_snapshot_take(daybook_store_engine(store->store), ORDER, NULL, &store->error),
                  DAYBOOK_ENOTFOUND);
    step(store, 1);
    fixture_append(store, "orders.2.step", "{}", NULL);
    take(store);
    assert_ok(store, daybook_snapshot_take(daybook_store_engine(store->store), daybook_text("orders.2"), NULL,
                                           &store->error));
    check_list(store, "", "orders.1 orders.2 ");
    check_list(store, "orders.2", "orders.2 ");
    check_list(store, "users.>", "");
    assert_ok(store, daybook_snapshot_remove(daybook_store_engine(store->store), ORDER, &store->error));
    check_list(store, "", "orders.2 ");
    assert_status(store,
                  daybook_snapshot_show(daybook_store_engine(store->store), ORDER, &json, &store->error),
                  DAYBOOK_ENOTFOUND);
    assert_status(store, daybook_snapshot_remove(daybook_store_engine(store->store), ORDER, &store->error),
                  DAYBOOK_ENOTFOUND);
    assert_null(json);
    check_load(store, NULL, 1, 0);
}

static void a_store_open_for_reading_uses_snapshots_and_takes_none(void **context) {
    fixture *store = *context;
    if (store->is_memory) skip();
    step(store, 1);
    take(store);
    step(store, 2);
    fixture_reopen_read_only(store);
    check_load(store, NULL, 2, 1);
    assert_status(store,
                  daybook_snapshot_take(daybook_store_engine(store->store), ORDER, NULL, &store->error),
                  DAYBOOK_EREADONLY);
    assert_non_null(strstr(store->error.message, "reading only"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(a_snapshot_shortens_the_fold),
        FIXTURE_TEST(a_snapshot_says_what_it_holds),
        FIXTURE_TEST(taking_again_without_new_events_stores_nothing),
        FIXTURE_TEST(an_earlier_moment_uses_an_earlier_snapshot_or_none),
        FIXTURE_TEST(a_snapshot_with_a_later_time_than_asked_is_not_used),
        FIXTURE_TEST(a_malformed_or_foreign_snapshot_is_passed_over),
        FIXTURE_TEST(a_stream_made_anew_never_meets_the_snapshots_of_the_old_one),
        FIXTURE_TEST(a_snapshot_does_not_bring_back_a_removed_event),
        FIXTURE_TEST(a_snapshot_survives_its_events_going_by_a_limit),
        FIXTURE_TEST(a_snapshot_under_way_does_not_bring_back_what_is_removed),
        FIXTURE_TEST(what_is_removed_before_a_snapshot_is_stored_is_not_in_it),
        FIXTURE_TEST(one_taken_by_force_does_not_look_at_others),
        FIXTURE_TEST(older_ones_are_pruned),
        FIXTURE_TEST(snapshots_are_shown_listed_and_removed),
        FIXTURE_TEST(a_store_open_for_reading_uses_snapshots_and_takes_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
