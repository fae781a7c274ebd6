// SPDX-License-Identifier: Apache-2.0
// Key-value buckets on a store.
#include "fixture.h"

static const char bucket_text[] = "config";
#define BUCKET daybook_text(bucket_text)

static void add_bucket(fixture *store, uint32_t history) {
    daybook_kv_config config;
    daybook_kv_config_init(&config);
    config.bucket = BUCKET;
    config.history = history;
    assert_ok(store, daybook_kv_add(daybook_store_engine(store->store), &config, &store->error));
}

static uint64_t put(fixture *store, const char *key, const char *value) {
    uint64_t revision = 0;
    assert_ok(store, daybook_kv_put(daybook_store_engine(store->store), BUCKET, daybook_text(key),
                                    daybook_text(value), &revision, &store->error));
    return revision;
}

static daybook_status get(fixture *store, const char *key, uint64_t revision, const char *expected) {
    daybook_kv_entry entry;
    daybook_engine_cursor *cursor = NULL;
    daybook_status status = daybook_kv_get(daybook_store_engine(store->store), BUCKET, daybook_text(key),
                                           revision, &entry, &cursor, &store->error);
    if (status != DAYBOOK_OK) {
        assert_null(cursor);
        return status;
    }
    assert_slice(entry.value, expected);
    assert_slice(entry.key, key);
    assert_slice(entry.bucket, bucket_text);
    assert_int_equal(entry.operation, DAYBOOK_KV_PUT);
    assert_true(entry.created_ns > 0);
    assert_true(entry.position > 0);
    if (revision != 0) assert_int_equal(entry.revision, revision);
    daybook_engine_cursor_close(cursor);
    return DAYBOOK_OK;
}

static uint64_t mark(fixture *store, const char *key, int purge) {
    uint64_t revision = 0;
    assert_ok(store, daybook_kv_delete(daybook_store_engine(store->store), BUCKET, daybook_text(key), purge,
                                       0, &revision, &store->error));
    return revision;
}

static void a_value_put_is_got_back(void **context) {
    fixture *store = *context;
    add_bucket(store, 1);
    assert_int_equal(put(store, "a", "1"), 1);
    assert_int_equal(put(store, "b.c", ""), 2);
    assert_int_equal(put(store, "a", "2"), 3);
    fixture_reopen(store);
    assert_ok(store, get(store, "a", 0, "2"));
    assert_ok(store, get(store, "b.c", 0, ""));
    assert_status(store, get(store, "b", 0, NULL), DAYBOOK_ENOTFOUND);
    assert_status(store, get(store, "a", 1, NULL), DAYBOOK_ENOTFOUND);
    assert_status(store, get(store, "a", 2, NULL), DAYBOOK_ENOTFOUND);
}

static void a_bucket_is_the_stream_nats_would_make(void **context) {
    fixture *store = *context;
    daybook_kv_config config;
    daybook_kv_config_init(&config);
    config.bucket = BUCKET;
    config.history = 7;
    config.ttl_ns = INT64_C(60000000000);
    config.max_bytes = 1 << 20;
    config.max_value_size = 1 << 10;
    config.description = daybook_text("settings");
    assert_ok(store, daybook_kv_add(daybook_store_engine(store->store), &config, &store->error));
    assert_status(store, daybook_kv_add(daybook_store_engine(store->store), &config, &store->error),
                  DAYBOOK_EEXISTS);
    assert_non_null(strstr(store->error.message, "bucket 'config' exists"));
    fixture_reopen(store);
    daybook_stream_info *info = NULL;
    assert_ok(store, daybook_stream_get_info(store->store, daybook_text("KV_config"), &info, &store->error));
    assert_int_equal(info->config.subject_count, 1);
    assert_slice(info->config.subjects[0], "$KV.config.>");
    assert_int_equal(info->config.aggregate_tokens, 0);
    assert_int_equal(info->config.max_msgs_per_subject, 7);
    assert_int_equal(info->config.max_age_ns, INT64_C(60000000000));
    assert_int_equal(info->config.duplicate_window_ns, INT64_C(60000000000));
    assert_int_equal(info->config.max_bytes, 1 << 20);
    assert_int_equal(info->config.max_msg_size, 1 << 10);
    assert_int_equal(info->config.discard, DAYBOOK_DISCARD_NEW);
    assert_int_equal(info->config.flags,
                     DAYBOOK_STREAM_ALLOW_ROLLUP | DAYBOOK_STREAM_DENY_DELETE | DAYBOOK_STREAM_INTERNAL);
    assert_slice(info->config.description, "settings");
    daybook_stream_info_release(store->store, info);
}

static void malformed_names_and_settings_are_refused(void **context) {
    fixture *store = *context;
    daybook_kv_config config;
    const char *names[] = {"", "a.b", "a b", "a/b", "\xc3\xa4", "*"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        daybook_kv_config_init(&config);
        config.bucket = daybook_text(names[i]);
        assert_status(store, daybook_kv_add(daybook_store_engine(store->store), &config, &store->error),
                      DAYBOOK_EINVALID);
    }
    daybook_kv_config_init(&config);
    config.bucket = BUCKET;
    config.history = 0;
    assert_status(store, daybook_kv_add(daybook_store_engine(store->store), &config, &store->error),
                  DAYBOOK_EINVALID);
    config.history = 65;
    assert_status(store, daybook_kv_add(daybook_store_engine(store->store), &config, &store->error),
                  DAYBOOK_EINVALID);
    config.history = 1;
    config.ttl_ns = -1;
    assert_status(store, daybook_kv_add(daybook_store_engine(store->store), &config, &store->error),
                  DAYBOOK_EINVALID);
    add_bucket(store, 1);
    const char *keys[] = {"", ".a", "a.", "a..b", "a b", "a.*", ">", "a\n"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        assert_status(store,
                      daybook_kv_put(daybook_store_engine(store->store), BUCKET, daybook_text(keys[i]),
                                     daybook_text("1"), NULL, &store->error),
                      DAYBOOK_ESUBJECT);
    char *longest = malloc(2000);
    memset(longest, 'k', 2000);
    assert_status(store,
                  daybook_kv_put(daybook_store_engine(store->store), BUCKET, daybook_bytes(longest, 2000),
                                 daybook_text("1"), NULL, &store->error),
                  DAYBOOK_ESUBJECT);
    free(longest);
    assert_int_equal(put(store, "orders.%20\xc3\xa4=/-_x", "1"), 1);
}

static void an_absent_bucket_is_named(void **context) {
    fixture *store = *context;
    uint64_t revision = 0;
    daybook_engine_cursor *cursor = NULL;
    assert_status(store, get(store, "a", 0, NULL), DAYBOOK_ENOTFOUND);
    assert_non_null(strstr(store->error.message, "no bucket 'config'"));
    assert_status(store,
                  daybook_kv_put(daybook_store_engine(store->store), BUCKET, daybook_text("a"),
                                 daybook_text("1"), &revision, &store->error),
                  DAYBOOK_ENOTFOUND);
    assert_non_null(strstr(store->error.message, "no bucket 'config'"));
    assert_status(store,
                  daybook_kv_delete(daybook_store_engine(store->store), BUCKET, daybook_text("a"), 0, 0, NULL,
                                    &store->error),
                  DAYBOOK_ENOTFOUND);
    assert_status(store,
                  daybook_kv_read(daybook_store_engine(store->store), BUCKET, daybook_text(""), 0, 0, &cursor,
                                  &store->error),
                  DAYBOOK_ENOTFOUND);
    assert_status(store, daybook_kv_remove(daybook_store_engine(store->store), BUCKET, &store->error),
                  DAYBOOK_ENOTFOUND);
    add_bucket(store, 1);
    put(store, "a", "1");
    assert_ok(store, daybook_kv_remove(daybook_store_engine(store->store), BUCKET, &store->error));
    assert_status(store, get(store, "a", 0, NULL), DAYBOOK_ENOTFOUND);
    add_bucket(store, 1);
    assert_status(store, get(store, "a", 0, NULL), DAYBOOK_ENOTFOUND);
    assert_non_null(strstr(store->error.message, "no key 'a'"));
}

static void create_wants_no_value_and_goes_over_markers(void **context) {
    fixture *store = *context;
    add_bucket(store, 5);
    uint64_t revision = 0;
    daybook_slice key = daybook_text("a");
    assert_ok(store, daybook_kv_create(daybook_store_engine(store->store), BUCKET, key, daybook_text("1"),
                                       &revision, &store->error));
    assert_int_equal(revision, 1);
    assert_status(store,
                  daybook_kv_create(daybook_store_engine(store->store), BUCKET, key, daybook_text("2"),
                                    &revision, &store->error),
                  DAYBOOK_ECONFLICT);
    assert_int_equal(store->error.actual, 1);
    assert_int_equal(store->error.expected, 0);
    assert_int_equal(mark(store, "a", 0), 2);
    assert_ok(store, daybook_kv_create(daybook_store_engine(store->store), BUCKET, key, daybook_text("3"),
                                       &revision, &store->error));
    assert_int_equal(revision, 3);
    assert_int_equal(mark(store, "a", 1), 4);
    assert_ok(store, daybook_kv_create(daybook_store_engine(store->store), BUCKET, key, daybook_text("5"),
                                       &revision, &store->error));
    assert_int_equal(revision, 5);
    assert_ok(store, get(store, "a", 0, "5"));
}

static void update_wants_the_revision(void **context) {
    fixture *store = *context;
    add_bucket(store, 1);
    uint64_t revision = 0;
    daybook_slice key = daybook_text("a");
    put(store, "a", "1");
    put(store, "b", "1");
    assert_ok(store, daybook_kv_update(daybook_store_engine(store->store), BUCKET, key, daybook_text("2"), 1,
                                       &revision, &store->error));
    assert_int_equal(revision, 3);
    assert_status(store,
                  daybook_kv_update(daybook_store_engine(store->store), BUCKET, key, daybook_text("3"), 1,
                                    &revision, &store->error),
                  DAYBOOK_ECONFLICT);
    assert_int_equal(store->error.actual, 3);
    assert_int_equal(store->error.expected, 1);
    assert_non_null(strstr(store->error.message, "key 'a' of bucket 'config' is at revision 3, not 1"));
    assert_status(
        store,
        daybook_kv_update(daybook_store_engine(store->store), BUCKET, key, daybook_text("3"), 99, NULL, NULL),
        DAYBOOK_ECONFLICT);
    assert_ok(store, get(store, "a", 0, "2"));
    assert_status(
        store,
        daybook_kv_delete(daybook_store_engine(store->store), BUCKET, key, 0, 1, &revision, &store->error),
        DAYBOOK_ECONFLICT);
    assert_ok(store, daybook_kv_delete(daybook_store_engine(store->store), BUCKET, key, 0, 3, &revision,
                                       &store->error));
    assert_status(store, get(store, "a", 0, NULL), DAYBOOK_ENOTFOUND);
    assert_non_null(strstr(store->error.message, "was deleted at revision"));
}

typedef struct seen {
    char text[1024];
} seen;

static daybook_status read_all(fixture *store, const char *filter, int history, seen *all) {
    daybook_engine_cursor *cursor = NULL;
    all->text[0] = '\0';
    daybook_status status = daybook_kv_read(daybook_store_engine(store->store), BUCKET, daybook_text(filter),
                                            history, 0, &cursor, &store->error);
    if (status != DAYBOOK_OK) return status;
    daybook_kv_entry entry;
    while ((status = daybook_kv_next(cursor, 0, &entry, &store->error)) == DAYBOOK_OK) {
        static const char *names[] = {"", "DEL", "PURGE"};
        size_t used = strlen(all->text);
        (void)snprintf(all->text + used, sizeof all->text - used, "%.*s@%d=%.*s%s ", (int)entry.key.size,
                       (const char *)entry.key.data, (int)entry.revision, (int)entry.value.size,
                       entry.value.size == 0 ? "" : (const char *)entry.value.data, names[entry.operation]);
    }
    daybook_engine_cursor_close(cursor);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

static void check_all(fixture *store, const char *filter, int history, const char *expected) {
    seen all;
    assert_ok(store, read_all(store, filter, history, &all));
    assert_string_equal(all.text, expected);
}

static void history_is_kept_as_long_as_configured(void **context) {
    fixture *store = *context;
    add_bucket(store, 3);
    for (int i = 1; i <= 5; i++) {
        char value[12];
        (void)snprintf(value, sizeof value, "%d", i);
        put(store, "a", value);
    }
    put(store, "b", "x");
    fixture_reopen(store);
    check_all(store, "", 1, "a@3=3 a@4=4 a@5=5 b@6=x ");
    check_all(store, "a", 1, "a@3=3 a@4=4 a@5=5 ");
    assert_ok(store, get(store, "a", 4, "4"));
    assert_status(store, get(store, "a", 2, NULL), DAYBOOK_ENOTFOUND);
}

static void a_delete_marks_and_a_purge_takes_the_history(void **context) {
    fixture *store = *context;
    add_bucket(store, 10);
    put(store, "a", "1");
    put(store, "b", "1");
    put(store, "a", "2");
    mark(store, "a", 0);
    check_all(store, "", 1, "a@1=1 b@2=1 a@3=2 a@4=DEL ");
    check_all(store, "", 0, "b@2=1 a@4=DEL ");
    assert_ok(store, get(store, "a", 3, "2"));
    assert_status(store, get(store, "a", 4, NULL), DAYBOOK_ENOTFOUND);
    mark(store, "a", 1);
    check_all(store, "", 1, "b@2=1 a@5=PURGE ");
    fixture_reopen(store);
    check_all(store, "", 1, "b@2=1 a@5=PURGE ");
    assert_status(store, get(store, "a", 3, NULL), DAYBOOK_ENOTFOUND);
    assert_status(store, get(store, "a", 0, NULL), DAYBOOK_ENOTFOUND);
}

static void keys_are_read_by_filter_last_of_each(void **context) {
    fixture *store = *context;
    add_bucket(store, 1);
    put(store, "eu.de.tax", "19");
    put(store, "eu.fr.tax", "20");
    put(store, "us.tax", "0");
    put(store, "eu.de.tax", "16");
    check_all(store, "", 0, "eu.fr.tax@2=20 us.tax@3=0 eu.de.tax@4=16 ");
    check_all(store, "eu.>", 0, "eu.fr.tax@2=20 eu.de.tax@4=16 ");
    check_all(store, "*.tax", 0, "us.tax@3=0 ");
    check_all(store, "eu.de.tax", 0, "eu.de.tax@4=16 ");
    seen all;
    assert_status(store, read_all(store, "a..b", 0, &all), DAYBOOK_ESUBJECT);
}

static void a_watch_gives_the_last_values_and_then_what_comes(void **context) {
    fixture *store = *context;
    add_bucket(store, 5);
    put(store, "a", "1");
    put(store, "a", "2");
    daybook_engine_cursor *cursor = NULL;
    assert_ok(store, daybook_kv_read(daybook_store_engine(store->store), BUCKET, daybook_text(""), 0, 1,
                                     &cursor, &store->error));
    daybook_kv_entry entry;
    assert_ok(store, daybook_kv_next(cursor, 0, &entry, &store->error));
    assert_int_equal(entry.revision, 2);
    assert_status(store, daybook_kv_next(cursor, 0, &entry, &store->error), DAYBOOK_TIMEOUT);
    put(store, "b", "3");
    put(store, "b", "4");
    mark(store, "a", 0);
    assert_ok(store, daybook_kv_next(cursor, 1000, &entry, &store->error));
    assert_int_equal(entry.revision, 3);
    assert_ok(store, daybook_kv_next(cursor, 1000, &entry, &store->error));
    assert_int_equal(entry.revision, 4);
    assert_ok(store, daybook_kv_next(cursor, 1000, &entry, &store->error));
    assert_int_equal(entry.operation, DAYBOOK_KV_DELETE);
    assert_slice(entry.key, "a");
    assert_slice(entry.value, "");
    assert_status(store, daybook_kv_next(cursor, 0, &entry, &store->error), DAYBOOK_TIMEOUT);
    daybook_engine_cursor_close(cursor);
}

static void markers_of_a_server_count_as_deleted(void **context) {
    fixture *store = *context;
    add_bucket(store, 5);
    static const char *reasons[] = {"MaxAge", "Purge", "Remove"};
    for (int i = 0; i < 3; i++) {
        put(store, "a", "1");
        daybook_header header = {daybook_text("Nats-Marker-Reason"), daybook_text(reasons[i])};
        daybook_event event;
        daybook_event_init(&event);
        event.subject = daybook_text("$KV.config.a");
        event.headers = &header;
        event.header_count = 1;
        fixture_append_event(store, &event);
        assert_status(store, get(store, "a", 0, NULL), DAYBOOK_ENOTFOUND);
        assert_non_null(strstr(store->error.message, i == 2 ? "deleted" : "purged"));
    }
}

static void a_value_beyond_the_limit_is_refused(void **context) {
    fixture *store = *context;
    daybook_kv_config config;
    daybook_kv_config_init(&config);
    config.bucket = BUCKET;
    config.max_value_size = 4;
    assert_ok(store, daybook_kv_add(daybook_store_engine(store->store), &config, &store->error));
    put(store, "a", "1234");
    assert_status(store,
                  daybook_kv_put(daybook_store_engine(store->store), BUCKET, daybook_text("a"),
                                 daybook_text("12345"), NULL, &store->error),
                  DAYBOOK_ELIMIT);
}

static void buckets_stay_out_of_ordinary_reads(void **context) {
    fixture *store = *context;
    add_bucket(store, 1);
    put(store, "a", "1");
    fixture_append(store, "orders.1.placed", "{}", NULL);
    daybook_query query;
    daybook_query_init(&query);
    uint64_t count = 0;
    assert_ok(store, daybook_count(store->store, &query, &count, &store->error));
    assert_int_equal(count, 1);
}

static void misuse_is_refused(void **context) {
    fixture *store = *context;
    daybook_kv_entry entry;
    daybook_engine_cursor *cursor = NULL;
    assert_status(store, daybook_kv_add(daybook_store_engine(store->store), NULL, &store->error),
                  DAYBOOK_EMISUSE);
    assert_status(store, daybook_kv_put(NULL, BUCKET, BUCKET, BUCKET, NULL, &store->error), DAYBOOK_EMISUSE);
    assert_status(
        store,
        daybook_kv_get(daybook_store_engine(store->store), BUCKET, BUCKET, 0, NULL, &cursor, &store->error),
        DAYBOOK_EMISUSE);
    assert_status(
        store,
        daybook_kv_get(daybook_store_engine(store->store), BUCKET, BUCKET, 0, &entry, NULL, &store->error),
        DAYBOOK_EMISUSE);
    assert_status(store, daybook_kv_next(NULL, 0, &entry, &store->error), DAYBOOK_EMISUSE);
    fixture_append(store, "orders.1.placed", "{}", NULL);
    daybook_query query;
    daybook_query_init(&query);
    assert_ok(store, daybook_engine_read(daybook_store_engine(store->store), &query, &cursor, &store->error));
    assert_status(store, daybook_kv_next(cursor, 0, &entry, &store->error), DAYBOOK_EMISUSE);
    daybook_engine_cursor_close(cursor);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(a_value_put_is_got_back),
        FIXTURE_TEST(a_bucket_is_the_stream_nats_would_make),
        FIXTURE_TEST(malformed_names_and_settings_are_refused),
        FIXTURE_TEST(an_absent_bucket_is_named),
        FIXTURE_TEST(create_wants_no_value_and_goes_over_markers),
        FIXTURE_TEST(update_wants_the_revision),
        FIXTURE_TEST(history_is_kept_as_long_as_configured),
        FIXTURE_TEST(a_delete_marks_and_a_purge_takes_the_history),
        FIXTURE_TEST(keys_are_read_by_filter_last_of_each),
        FIXTURE_TEST(a_watch_gives_the_last_values_and_then_what_comes),
        FIXTURE_TEST(markers_of_a_server_count_as_deleted),
        FIXTURE_TEST(a_value_beyond_the_limit_is_refused),
        FIXTURE_TEST(buckets_stay_out_of_ordinary_reads),
        FIXTURE_TEST(misuse_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
