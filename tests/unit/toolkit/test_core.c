// SPDX-License-Identifier: Apache-2.0
// The toolkit on an engine that has the core and nothing else: what docs/design/toolkit.md says works there does, and
// what needs more is refused by name. (Aggregates and machines have cases of their own for it.)
#include "fixture.h"
#include "unit/engine/core_engine.h"

#define ORDER daybook_text("orders.1")
#define BUCKET daybook_text("b")

static daybook_engine *begin(fixture *store) {
    daybook_engine *core = core_engine_new(store->store);
    assert_non_null(core);
    return core;
}

static void step(fixture *store, int n) {
    char data[64];
    (void)snprintf(data, sizeof data, "{\"n\":%d,\"v%d\":true}", n, n);
    fixture_append(store, "orders.1.step", data, NULL);
    fixture_append(store, "orders.2.step", data, NULL); // So that seq and version differ.
}

static void check_state(fixture *store, daybook_engine *core, const daybook_moment *moment, const char *json,
                        uint64_t version, uint64_t snapshot_version) {
    daybook_state *state = NULL;
    assert_ok(store, daybook_state_load(core, ORDER, moment, &state, &store->error));
    assert_string_equal(state->json, json);
    assert_int_equal(state->version, version);
    assert_int_equal(state->snapshot_version, snapshot_version);
    daybook_state_release(state);
}

static void versions_are_counted_where_the_engine_counts_none(void **context) {
    fixture *store = *context;
    daybook_engine *core = begin(store);
    for (int n = 1; n <= 3; n++) step(store, n);
    check_state(store, core, NULL, "{\"n\":3,\"v1\":true,\"v2\":true,\"v3\":true}", 3, 0);
    daybook_moment moment;
    daybook_moment_init(&moment);
    moment.version = 2;
    check_state(store, core, &moment, "{\"n\":2,\"v1\":true,\"v2\":true}", 2, 0);
    daybook_moment_init(&moment);
    moment.seq = 4;
    check_state(store, core, &moment, "{\"n\":2,\"v1\":true,\"v2\":true}", 2, 0);
    daybook_moment_init(&moment);
    moment.version = 4;
    daybook_state *state = NULL;
    assert_status(store, daybook_state_load(core, ORDER, &moment, &state, &store->error), DAYBOOK_ENOTFOUND);
    assert_status(store, daybook_state_load(core, daybook_text("orders.9"), NULL, &state, &store->error),
                  DAYBOOK_ENOTFOUND);
    assert_status(store, daybook_state_load(core, daybook_text("users.9"), NULL, &state, &store->error),
                  DAYBOOK_ENOTFOUND);
    char *changes = NULL;
    assert_ok(store, daybook_state_diff(core, ORDER, 2, 3, &changes, &store->error));
    assert_string_equal(changes, "[{\"path\":\"/n\",\"from\":2,\"to\":3},{\"path\":\"/v3\",\"to\":true}]");
    daybook_text_release(changes);
    core_engine_free(core);
}

static int note_version(void *context, const daybook_recorded_event *event, daybook_slice changes,
                        daybook_slice state) {
    (void)changes;
    (void)state;
    assert_int_equal(event->version, ++*(uint64_t *)context);
    assert_slice(event->aggregate, "orders.1");
    return 0;
}

static void history_counts_too(void **context) {
    fixture *store = *context;
    daybook_engine *core = begin(store);
    for (int n = 1; n <= 3; n++) step(store, n);
    uint64_t version = 0;
    assert_ok(store, daybook_state_history(core, ORDER, NULL, note_version, &version, &store->error));
    assert_int_equal(version, 3);
    core_engine_free(core);
}

static void snapshots_are_taken_used_and_proved(void **context) {
    fixture *store = *context;
    daybook_engine *core = begin(store);
    for (int n = 1; n <= 2; n++) step(store, n);
    assert_ok(store, daybook_snapshot_take(core, ORDER, NULL, &store->error));
    step(store, 3);
    check_state(store, core, NULL, "{\"n\":3,\"v1\":true,\"v2\":true,\"v3\":true}", 3, 2);
    // Looked for is the newest alone; an earlier moment folds.
    daybook_moment moment;
    daybook_moment_init(&moment);
    moment.version = 1;
    check_state(store, core, &moment, "{\"n\":1,\"v1\":true}", 1, 0);
    // Its snapshot kept by hand over a stream made anew: that has another event at that seq, or none.
    char *json = NULL;
    assert_ok(store, daybook_snapshot_show(core, ORDER, &json, &store->error));
    assert_ok(store, daybook_stream_remove(store->store, daybook_text("ORDERS"), &store->error));
    fixture_add_stream(store, "ORDERS", "orders.>");
    assert_ok(store, daybook_kv_put(core, daybook_text("SNAPSHOTS"), ORDER, daybook_text(json), NULL,
                                    &store->error));
    daybook_text_release(json);
    fixture_append(store, "orders.1.step", "{\"new\":1}", NULL);
    check_state(store, core, NULL, "{\"new\":1}", 1, 0);
    fixture_append(store, "orders.2.step", "{}", NULL);
    fixture_append(store, "orders.2.step", "{}", NULL);
    fixture_append(store, "orders.1.step", "{\"new\":2}", NULL);
    check_state(store, core, NULL, "{\"new\":2}", 2, 0);
    uint64_t count = 0;
    assert_ok(store, daybook_snapshot_prune(core, daybook_text(""), 0, 0, &count, &store->error));
    assert_int_equal(count, 1);
    core_engine_free(core);
}

static void buckets_work(void **context) {
    fixture *store = *context;
    daybook_engine *core = begin(store);
    daybook_kv_config config;
    daybook_kv_config_init(&config);
    config.bucket = BUCKET;
    config.history = 3;
    daybook_slice key = daybook_text("k");
    uint64_t revision = 0;
    assert_ok(store, daybook_kv_add(core, &config, &store->error));
    assert_ok(store, daybook_kv_create(core, BUCKET, key, daybook_text("1"), &revision, &store->error));
    assert_status(store, daybook_kv_create(core, BUCKET, key, daybook_text("2"), NULL, &store->error),
                  DAYBOOK_ECONFLICT);
    assert_ok(store,
              daybook_kv_update(core, BUCKET, key, daybook_text("2"), revision, &revision, &store->error));
    assert_status(store, daybook_kv_update(core, BUCKET, key, daybook_text("3"), 1, NULL, &store->error),
                  DAYBOOK_ECONFLICT);
    daybook_kv_entry entry;
    daybook_engine_cursor *cursor = NULL;
    assert_ok(store, daybook_kv_get(core, BUCKET, key, 1, &entry, &cursor, &store->error));
    assert_slice(entry.value, "1");
    daybook_engine_cursor_close(cursor);
    assert_ok(store, daybook_kv_delete(core, BUCKET, key, 0, 0, &revision, &store->error));
    assert_status(store, daybook_kv_get(core, BUCKET, key, 0, &entry, &cursor, &store->error),
                  DAYBOOK_ENOTFOUND);
    assert_ok(store, daybook_kv_create(core, BUCKET, key, daybook_text("4"), NULL, &store->error));
    assert_ok(store, daybook_kv_read(core, BUCKET, daybook_text(""), 1, 0, &cursor, &store->error));
    int count = 0;
    while (daybook_kv_next(cursor, 0, &entry, &store->error) == DAYBOOK_OK) count++;
    assert_int_equal(count, 3);
    daybook_engine_cursor_close(cursor);
    assert_ok(store, daybook_kv_remove(core, BUCKET, &store->error));
    core_engine_free(core);
}

static int ignore_step(void *context, unsigned depth, const daybook_recorded_event *event) {
    (void)context;
    (void)depth;
    (void)event;
    return 0;
}

static void what_needs_more_is_refused_by_name(void **context) {
    fixture *store = *context;
    daybook_engine *core = begin(store);
    step(store, 1);
    daybook_state *state = NULL;
    daybook_moment moment;
    daybook_moment_init(&moment);
    moment.time_ns = 1;
    assert_status(store, daybook_state_load(core, ORDER, &moment, &state, &store->error),
                  DAYBOOK_EUNSUPPORTED);
    assert_non_null(strstr(store->error.message, "'time'"));
    daybook_moment_init(&moment);
    moment.known_at_ns = 1;
    assert_status(store, daybook_state_load(core, ORDER, &moment, &state, &store->error),
                  DAYBOOK_EUNSUPPORTED);
    assert_status(store, daybook_why(core, daybook_text("orders.1@1"), ignore_step, NULL, &store->error),
                  DAYBOOK_EUNSUPPORTED);
    assert_status(store, daybook_trace(core, daybook_text("c"), ignore_step, NULL, &store->error),
                  DAYBOOK_EUNSUPPORTED);
    assert_non_null(strstr(store->error.message, "engine 'core'"));
    core_engine_free(core);
}

int main(void) {
#define CASE(function) \
    { #function, function, fixture_open, fixture_close, NULL }
    const struct CMUnitTest tests[] = {
        CASE(versions_are_counted_where_the_engine_counts_none),
        CASE(history_counts_too),
        CASE(snapshots_are_taken_used_and_proved),
        CASE(buckets_work),
        CASE(what_needs_more_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
