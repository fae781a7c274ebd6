// SPDX-License-Identifier: Apache-2.0
// Snapshots that repositories take by themselves, and those of other schemas: what is loaded is always what the
// events say.
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "account.h"
#include "daybook/kv.h"
#include "fixture.h"
#include "unit/engine/core_engine.h"

static const char one[] = "1";
#define ONE daybook_text(one)
#define BUCKET daybook_text("SNAPSHOTS")
#define KEY daybook_text("accounts.1")

static daybook_repository *begin(fixture *store, daybook_engine *engine, uint32_t every) {
    daybook_repository *accounts = NULL;
    daybook_repository_options options;
    daybook_repository_options_init(&options);
    assert_int_equal(options.snapshot_every, 50);
    options.snapshot_every = every;
    options.auto_stream = 1;
    assert_ok(store, daybook_repository_new(engine, &account_type, &options, &accounts, &store->error));
    return accounts;
}

static daybook_repository *begin_on_store(fixture *store, uint32_t every) {
    return begin(store, daybook_store_engine(store->store), every);
}

static int add_accounts(void **context) {
    account_types_init();
    if (fixture_open(context) != 0) return -1;
    fixture_add_stream(*context, "ACCOUNTS", "accounts.>");
    return 0;
}

static void open_account(fixture *store, daybook_repository *accounts) {
    const account_command command = {.owner = "ada"};
    assert_ok(store, daybook_execute(accounts, ONE, account_open, &command, NULL, NULL, &store->error));
}

static void pay(fixture *store, daybook_repository *accounts, int64_t amount, int count) {
    const account_command command = {.amount = amount, .event_count = count};
    assert_ok(store, daybook_execute(accounts, ONE, account_pay, &command, NULL, NULL, &store->error));
}

// The balance now, and from which snapshot, over how many events.
static void check(fixture *store, daybook_repository *accounts, int64_t balance, uint64_t snapshot_version,
                  uint64_t event_count) {
    daybook_aggregate *loaded = NULL;
    assert_ok(store, daybook_aggregate_load(accounts, ONE, NULL, &loaded, &store->error));
    const account *state = daybook_aggregate_state(loaded);
    assert_int_equal(state->balance, balance);
    assert_int_equal(daybook_aggregate_snapshot_version(loaded), snapshot_version);
    assert_int_equal(daybook_aggregate_event_count(loaded), event_count);
    daybook_aggregate_release(loaded);
}

static void one_is_taken_every_so_many_events(void **context) {
    fixture *store = *context;
    daybook_repository *accounts = begin_on_store(store, 10);
    open_account(store, accounts);
    for (int i = 0; i < 8; i++) pay(store, accounts, 1, 1);
    daybook_repository_wait(accounts);
    check(store, accounts, 8, 0, 9);
    pay(store, accounts, 1, 1);
    daybook_repository_wait(accounts);
    check(store, accounts, 9, 10, 0);
    for (int i = 0; i < 35; i++) {
        pay(store, accounts, 1, 1);
        daybook_repository_wait(accounts);
    }
    check(store, accounts, 44, 40, 5);
    // A batch past it counts as well.
    pay(store, accounts, 1, 25);
    daybook_repository_wait(accounts);
    check(store, accounts, 69, 70, 0);
    daybook_repository_info info;
    daybook_repository_get_info(accounts, &info);
    assert_int_equal(info.snapshot_count, 5);
    assert_int_equal(info.snapshot_fail_count, 0);
    daybook_repository_free(accounts);
    fixture_reopen(store);
    accounts = begin_on_store(store, 10);
    check(store, accounts, 69, 70, 0);
    daybook_repository_free(accounts);
}

static void a_load_replays_at_most_so_many_events(void **context) {
    fixture *store = *context;
    // Appended by somebody who takes none: the first load finds it due, the next is short.
    for (int i = 0; i < 120; i++) fixture_append(store, "accounts.1.paid", "1", NULL);
    daybook_repository *accounts = begin_on_store(store, 50);
    check(store, accounts, 120, 0, 120);
    daybook_repository_wait(accounts);
    check(store, accounts, 120, 120, 0);
    for (int i = 0; i < 200; i++) {
        pay(store, accounts, 1, 1);
        daybook_repository_wait(accounts);
        daybook_aggregate *loaded = NULL;
        assert_ok(store, daybook_aggregate_load(accounts, ONE, NULL, &loaded, &store->error));
        assert_true(daybook_aggregate_event_count(loaded) < 50);
        assert_int_equal(((const account *)daybook_aggregate_state(loaded))->balance, 121 + i);
        daybook_aggregate_release(loaded);
    }
    daybook_repository_free(accounts);
}

static void without_codec_or_number_none_is_taken(void **context) {
    fixture *store = *context;
    daybook_repository *accounts = begin_on_store(store, 0);
    open_account(store, accounts);
    pay(store, accounts, 1, 60);
    daybook_repository_wait(accounts);
    check(store, accounts, 60, 0, 61);
    daybook_repository_free(accounts);
    account_type.codec = NULL;
    accounts = begin_on_store(store, 10);
    check(store, accounts, 60, 0, 61);
    daybook_repository_wait(accounts);
    check(store, accounts, 60, 0, 61);
    assert_status(store, daybook_aggregate_snapshot(accounts, ONE, 0, &store->error), DAYBOOK_EMISUSE);
    daybook_repository_free(accounts);
}

static uint64_t snapshot_count(fixture *store) {
    daybook_stream_info *info = NULL;
    if (daybook_stream_get_info(store->store, daybook_text("KV_SNAPSHOTS"), &info, NULL) != DAYBOOK_OK)
        return 0;
    uint64_t count = info->last_seq;
    daybook_stream_info_release(store->store, info);
    return count;
}

static void one_is_taken_on_demand_and_again_when_forced(void **context) {
    fixture *store = *context;
    daybook_repository *accounts = begin_on_store(store, 50);
    assert_status(store, daybook_aggregate_snapshot(accounts, ONE, 0, &store->error), DAYBOOK_ENOTFOUND);
    open_account(store, accounts);
    assert_ok(store, daybook_aggregate_snapshot(accounts, ONE, 0, &store->error));
    check(store, accounts, 0, 1, 0);
    assert_ok(store, daybook_aggregate_snapshot(accounts, ONE, 0, &store->error));
    assert_int_equal(snapshot_count(store), 1);
    assert_ok(store, daybook_aggregate_snapshot(accounts, ONE, 1, &store->error));
    assert_int_equal(snapshot_count(store), 2);
    daybook_repository_free(accounts);
}

// Other schemas.

static char *show(fixture *store) {
    char *json = NULL;
    assert_ok(store, daybook_snapshot_show(daybook_store_engine(store->store), KEY, &json, &store->error));
    return json;
}

// Puts the newest snapshot again with `from` replaced by `to`, as the only one.
static void spoil(fixture *store, const char *json, const char *from, const char *to) {
    char text[1024];
    const char *found = strstr(json, from);
    assert_non_null(found);
    (void)snprintf(text, sizeof text, "%.*s%s%s", (int)(found - json), json, to, found + strlen(from));
    daybook_engine *engine = daybook_store_engine(store->store);
    assert_ok(store, daybook_snapshot_remove(engine, KEY, &store->error));
    assert_ok(store, daybook_kv_put(engine, BUCKET, KEY, daybook_text(text), NULL, &store->error));
}

static void prepare(fixture *store, daybook_repository *accounts) {
    open_account(store, accounts);
    pay(store, accounts, 7, 1);
    pay(store, accounts, 100, 1);
    assert_ok(store, daybook_aggregate_snapshot(accounts, ONE, 0, &store->error));
    check(store, accounts, 107, 3, 0);
}

static void another_schema_is_never_read_as_ours(void **context) {
    fixture *store = *context;
    daybook_repository *accounts = begin_on_store(store, 0);
    prepare(store, accounts);
    char *json = show(store);
    spoil(store, json, "account/2", "account/3");
    check(store, accounts, 107, 0, 3);
    spoil(store, json, "\"schema\":\"account/2\"", "\"schema\":7");
    check(store, accounts, 107, 0, 3);
    spoil(store, json, "account/2", "merge-patch/1");
    check(store, accounts, 107, 0, 3);
    daybook_text_release(json);
    // And ours is not read as merge patch.
    daybook_state *state = NULL;
    assert_ok(store, daybook_aggregate_snapshot(accounts, ONE, 1, &store->error));
    assert_ok(store,
              daybook_state_load(daybook_store_engine(store->store), KEY, NULL, &state, &store->error));
    assert_int_equal(state->snapshot_version, 0);
    assert_string_equal(state->json, "{}");
    daybook_state_release(state);
    daybook_repository_free(accounts);
}

static void an_older_schema_is_brought_forward(void **context) {
    fixture *store = *context;
    daybook_repository *accounts = begin_on_store(store, 0);
    prepare(store, accounts);
    char *json = show(store);
    const char *at = strstr(json, "\"state_base64\":");
    assert_non_null(at);
    char old[64];
    (void)snprintf(old, sizeof old, "%s", at);
    // account/1: the balance in hundreds, 3, and the owner.
    spoil(store, json, at, "\"state_base64\":\"AwAAAAAAAABhZGE=\"}");
    char *spoiled = show(store);
    check(store, accounts, 107, 0, 3); // account/2 of 11 bytes: refused by decode.
    spoil(store, spoiled, "account/2", "account/1");
    daybook_aggregate *loaded = NULL;
    assert_ok(store, daybook_aggregate_load(accounts, ONE, NULL, &loaded, &store->error));
    const account *state = daybook_aggregate_state(loaded);
    assert_int_equal(state->balance, 300);
    assert_string_equal(state->owner, "ada");
    assert_int_equal(daybook_aggregate_snapshot_version(loaded), 3);
    daybook_aggregate_release(loaded);
    // The migration refuses it.
    spoil(store, spoiled, "AwAAAAAAAABhZGE=\"", "AwAA\"");
    daybook_text_release(spoiled);
    spoiled = show(store);
    spoil(store, spoiled, "account/2", "account/1");
    check(store, accounts, 107, 0, 3);
    daybook_text_release(spoiled);
    daybook_text_release(json);
    daybook_repository_free(accounts);
}

static daybook_status to_nowhere(void *context, daybook_slice state, daybook_writer *writer,
                                 daybook_error *error) {
    (void)context;
    (void)error;
    daybook_writer_put(writer, state.data, state.size);
    return DAYBOOK_OK;
}

static void migrations_in_a_circle_end(void **context) {
    fixture *store = *context;
    const daybook_snapshot_migration circle[] = {
        {daybook_text("a"), daybook_text("b"), to_nowhere},
        {daybook_text("b"), daybook_text("a"), to_nowhere},
    };
    account_codec.migrations = circle;
    account_codec.migration_count = 2;
    daybook_repository *accounts = begin_on_store(store, 0);
    prepare(store, accounts);
    char *json = show(store);
    spoil(store, json, "account/2", "a");
    check(store, accounts, 107, 0, 3);
    daybook_text_release(json);
    daybook_repository_free(accounts);
}

static void bytes_that_are_no_base64_are_passed_over(void **context) {
    fixture *store = *context;
    daybook_repository *accounts = begin_on_store(store, 0);
    prepare(store, accounts);
    char *json = show(store);
    const char *at = strstr(json, "\"state_base64\":");
    static const char *const spoils[] = {
        "\"state_base64\":\"\"}",           "\"state_base64\":\"A\"}",
        "\"state_base64\":\"====\"}",       "\"state_base64\":\"AA=A\"}",
        "\"state_base64\":\"AAA*\"}",       "\"state_base64\":\"AA==AAAA\"}",
        "\"state_base64\":[\"AAAA\"]}",     "\"state\":{}}",
        "\"state_base64\":\"\\u0000AAA\"}",
    };
    for (size_t i = 0; i < sizeof spoils / sizeof spoils[0]; i++) {
        spoil(store, json, at, spoils[i]);
        check(store, accounts, 107, 0, 3);
    }
    daybook_text_release(json);
    daybook_repository_free(accounts);
}

static void a_json_state_stands_in_the_snapshot_as_json(void **context) {
    fixture *store = *context;
    account_type.codec = &account_json;
    daybook_repository *accounts = begin_on_store(store, 0);
    open_account(store, accounts);
    pay(store, accounts, 7, 1);
    assert_ok(store, daybook_aggregate_snapshot(accounts, ONE, 0, &store->error));
    check(store, accounts, 7, 2, 0);
    char *json = show(store);
    assert_non_null(strstr(json, "\"schema\":\"account-json/1\""));
    assert_non_null(strstr(json, "\"state\":{\"balance\":7,\"payments\":1}}"));
    daybook_text_release(json);
    daybook_repository_free(accounts);
}

static daybook_status encode_nonsense(const void *state, void *context, daybook_writer *writer,
                                      daybook_error *error) {
    (void)state;
    (void)context;
    (void)error;
    daybook_writer_put(writer, "{\"a\":", 5);
    return DAYBOOK_OK;
}

static void a_codec_that_writes_no_json_is_found_out(void **context) {
    fixture *store = *context;
    account_json.encode = encode_nonsense;
    account_type.codec = &account_json;
    daybook_repository *accounts = begin_on_store(store, 5);
    open_account(store, accounts);
    assert_status(store, daybook_aggregate_snapshot(accounts, ONE, 0, &store->error), DAYBOOK_EINVALID);
    pay(store, accounts, 1, 10);
    daybook_repository_wait(accounts);
    daybook_repository_info info;
    daybook_repository_get_info(accounts, &info);
    assert_int_equal(info.snapshot_fail_count, 1);
    assert_non_null(strstr(info.snapshot_failure, "account-json/1"));
    assert_int_equal(snapshot_count(store), 0);
    check(store, accounts, 10, 0, 11);
    daybook_repository_free(accounts);
}

// Removal.

static void a_removed_event_takes_the_snapshots_with_it(void **context) {
    fixture *store = *context;
    daybook_repository *accounts = begin_on_store(store, 0);
    prepare(store, accounts);
    assert_ok(store, daybook_event_remove(store->store, daybook_text("ACCOUNTS"), 3, 0, &store->error));
    check(store, accounts, 7, 0, 2);
    daybook_repository_free(accounts);
}

typedef struct payer {
    daybook_repository *accounts;
    atomic_bool stop;
    atomic_bool failed;
} payer;

static void *pay_all_the_time(void *context) {
    payer *work = context;
    const account_command command = {.amount = 1};
    while (!atomic_load(&work->stop)) {
        daybook_status status = daybook_execute(work->accounts, ONE, account_pay, &command, NULL, NULL, NULL);
        // Its balance may be gone with a removed event, but adding is always possible.
        if (status != DAYBOOK_OK && status != DAYBOOK_ECONFLICT) atomic_store(&work->failed, true);
    }
    return NULL;
}

// While snapshots take themselves, events of a great amount come and are removed: none may stay in a state.
static void snapshots_under_way_do_not_bring_back_what_is_removed(void **context) {
    fixture *store = *context;
    daybook_repository *accounts = begin_on_store(store, 2);
    open_account(store, accounts);
    payer work = {.accounts = accounts};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, pay_all_the_time, &work), 0);
    for (int i = 0; i < 40; i++) {
        daybook_receipt receipt = fixture_append(store, "accounts.1.paid", "1000000", NULL);
        assert_ok(store, daybook_event_remove(store->store, daybook_text("ACCOUNTS"), receipt.seq, 0,
                                              &store->error));
    }
    atomic_store(&work.stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_false(atomic_load(&work.failed));
    daybook_repository_wait(accounts);
    daybook_aggregate *loaded = NULL;
    assert_ok(store, daybook_aggregate_load(accounts, ONE, NULL, &loaded, &store->error));
    assert_true(((const account *)daybook_aggregate_state(loaded))->balance < 1000000);
    daybook_aggregate_release(loaded);
    daybook_repository_free(accounts);
}

static void a_stream_with_limits_has_snapshots_too(void **context) {
    fixture *store = *context;
    daybook_slice subjects = daybook_text("accounts.>");
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_text("ACCOUNTS");
    config.subjects = &subjects;
    config.subject_count = 1;
    config.max_msgs = 20;
    assert_ok(store, daybook_stream_update(store->store, &config, &store->error));
    daybook_repository *accounts = begin_on_store(store, 10);
    open_account(store, accounts);
    // Long after its first events are gone the state is whole, because each snapshot began with the one before.
    for (int i = 1; i <= 100; i++) {
        pay(store, accounts, 1, 1);
        daybook_repository_wait(accounts);
        daybook_aggregate *loaded = NULL;
        assert_ok(store, daybook_aggregate_load(accounts, ONE, NULL, &loaded, &store->error));
        assert_int_equal(((const account *)daybook_aggregate_state(loaded))->balance, i);
        daybook_aggregate_release(loaded);
    }
    daybook_repository_info info;
    daybook_repository_get_info(accounts, &info);
    assert_int_equal(info.snapshot_fail_count, 0);
    assert_int_equal(info.snapshot_count, 10);
    daybook_repository_free(accounts);
}

static void the_core_of_an_engine_has_snapshots_too(void **context) {
    fixture *store = *context;
    daybook_engine *core = core_engine_new(store->store);
    assert_non_null(core);
    daybook_repository *accounts = begin(store, core, 10);
    open_account(store, accounts);
    for (int i = 0; i < 25; i++) {
        pay(store, accounts, 1, 1);
        daybook_repository_wait(accounts);
    }
    check(store, accounts, 25, 20, 6);
    daybook_repository_free(accounts);
    core_engine_free(core);
}

static void a_store_open_for_reading_takes_none(void **context) {
    fixture *store = *context;
    if (store->is_memory) skip();
    daybook_repository *accounts = begin_on_store(store, 0);
    open_account(store, accounts);
    pay(store, accounts, 1, 60);
    daybook_repository_free(accounts);
    fixture_reopen_read_only(store);
    accounts = begin_on_store(store, 10);
    check(store, accounts, 60, 0, 61);
    daybook_repository_wait(accounts);
    check(store, accounts, 60, 0, 61);
    assert_status(store, daybook_aggregate_snapshot(accounts, ONE, 0, &store->error), DAYBOOK_EREADONLY);
    daybook_repository_info info;
    daybook_repository_get_info(accounts, &info);
    assert_int_equal(info.snapshot_fail_count, 0);
    daybook_repository_free(accounts);
}

int main(void) {
#define CASE(function)                                                                     \
    {#function " (memory)", function, add_accounts, fixture_close, NULL}, {                \
#function " (directory)", function, add_accounts, fixture_close, fixture_directory \
    }
    const struct CMUnitTest tests[] = {
        CASE(one_is_taken_every_so_many_events),
        CASE(a_load_replays_at_most_so_many_events),
        CASE(without_codec_or_number_none_is_taken),
        CASE(one_is_taken_on_demand_and_again_when_forced),
        CASE(another_schema_is_never_read_as_ours),
        CASE(an_older_schema_is_brought_forward),
        CASE(migrations_in_a_circle_end),
        CASE(bytes_that_are_no_base64_are_passed_over),
        CASE(a_json_state_stands_in_the_snapshot_as_json),
        CASE(a_codec_that_writes_no_json_is_found_out),
        CASE(a_removed_event_takes_the_snapshots_with_it),
        CASE(snapshots_under_way_do_not_bring_back_what_is_removed),
        CASE(a_stream_with_limits_has_snapshots_too),
        CASE(the_core_of_an_engine_has_snapshots_too),
        CASE(a_store_open_for_reading_takes_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
