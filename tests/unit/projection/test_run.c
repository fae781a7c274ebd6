// SPDX-License-Identifier: Apache-2.0
// Running a projection into SQLite: the read model is what a fold of the log gives, live and from the start.
#include "read_model.h"

static void rows_are_those_of_a_fold(void **context) {
    model *at = *context;
    model_append_many(at, 3000, 200);
    model_append(at, "other.1.placed", "{}");
    model_run(at, NULL, DAYBOOK_OK);
    model_compare_with_fold(at);
    assert_asks(at, "SELECT position FROM daybook_projection WHERE name = 'order_totals'", "3001");
    assert_asks(at, "SELECT event_count FROM daybook_projection", "3000");
}

static void a_second_run_goes_on_from_the_checkpoint(void **context) {
    model *at = *context;
    model_append_many(at, 100, 10);
    model_run(at, NULL, DAYBOOK_OK);
    model_run(at, NULL, DAYBOOK_OK);
    assert_asks(at, "SELECT event_count FROM daybook_projection", "100");
    model_append(at, "orders.77.placed", "{\"customer\":\"c1\"}");
    model_run(at, NULL, DAYBOOK_OK);
    assert_asks(at, "SELECT event_count FROM daybook_projection", "101");
    assert_asks(at, "SELECT customer FROM order_totals WHERE order_id = '77'", "c1");
    model_compare_with_fold(at);
}

static void an_empty_store_gives_empty_tables(void **context) {
    model *at = *context;
    model_run(at, NULL, DAYBOOK_OK);
    assert_asks(at, "SELECT count(*) FROM order_totals", "0");
    assert_asks(at, "SELECT position FROM daybook_projection", "0");
}

static void follows_what_is_appended(void **context) {
    model *at = *context;
    model_thread thread;
    daybook_projection *projection = model_projection(at, NULL);
    model_append_many(at, 500, 50);
    model_start(at, &thread, projection, DAYBOOK_PROJECTION_FOLLOW);
    model_wait_caught_up(at, projection);
    model_compare_with_fold(at);
    model_append(at, "orders.600.placed", "{\"customer\":\"late\"}");
    model_wait_caught_up(at, projection);
    assert_asks(at, "SELECT customer FROM order_totals WHERE order_id = '600'", "late");
    daybook_projection_info info;
    wait_until((daybook_projection_get_info(projection, &info), info.is_caught_up));
    assert_int_equal(info.event_count, 501);
    assert_true(info.recorded_ns > 0);
    assert_model_ok(at, model_stop(&thread));
    daybook_projection_get_info(projection, &info);
    assert_false(info.is_active);
    daybook_projection_free(projection);
    model_compare_with_fold(at);
}

static void the_checkpoint_passes_events_nobody_wants(void **context) {
    model *at = *context;
    model_thread thread;
    daybook_projection *projection = model_projection(at, NULL);
    model_start(at, &thread, projection, DAYBOOK_PROJECTION_FOLLOW);
    for (int i = 0; i < 20; i++) model_append(at, "other.1.happened", "{}");
    wait_until(strcmp(model_ask(at, "SELECT position FROM daybook_projection"), "20") == 0);
    assert_asks(at, "SELECT event_count FROM daybook_projection", "0");
    assert_model_ok(at, model_stop(&thread));
    daybook_projection_free(projection);
}

static void lag_counts_what_is_to_come(void **context) {
    model *at = *context;
    uint64_t event_count;
    int64_t age_ns;
    daybook_projection *projection = model_projection(at, NULL);
    model_append_many(at, 30, 3);
    assert_model_ok(at, daybook_projection_lag(projection, &event_count, &age_ns, &at->error));
    assert_int_equal(event_count, 30);
    model_nap();
    assert_model_ok(at, daybook_projection_lag(projection, &event_count, &age_ns, &at->error));
    assert_true(age_ns >= 10000000);
    assert_model_ok(at, daybook_projection_run(projection, 0, &at->error));
    assert_model_ok(at, daybook_projection_lag(projection, &event_count, &age_ns, &at->error));
    assert_int_equal(event_count, 0);
    assert_int_equal(age_ns, 0);
    daybook_projection_free(projection);
}

static void an_interruption_before_the_run_ends_it_at_once(void **context) {
    model *at = *context;
    daybook_projection *projection = model_projection(at, NULL);
    daybook_projection_interrupt(projection);
    assert_model_ok(at, daybook_projection_run(projection, DAYBOOK_PROJECTION_FOLLOW, &at->error));
    daybook_projection_free(projection);
}

static void another_version_asks_for_a_rebuild(void **context) {
    model *at = *context;
    char changed[2048];
    model_run(at, NULL, DAYBOOK_OK);
    snprintf(changed, sizeof changed, "%s", model_sql);
    *strstr(changed, "version: 1") = 'v';
    strstr(changed, "version: 1")[9] = '2';
    model_run(at, changed, DAYBOOK_ECONFLICT);
    assert_non_null(strstr(at->error.message, "version 1"));
    assert_non_null(strstr(at->error.message, "rebuild"));
    assert_non_null(strstr(at->error.message, "totals.sql"));
    assert_asks(at, "SELECT version FROM daybook_projection", "1");
}

static void a_definition_changed_in_silence_is_noticed(void **context) {
    model *at = *context;
    char changed[2048];
    model_run(at, NULL, DAYBOOK_OK);
    snprintf(changed, sizeof changed, "%s-- [on type shipped]\nDELETE FROM order_totals;\n", model_sql);
    model_run(at, changed, DAYBOOK_ECONFLICT);
    assert_non_null(strstr(at->error.message, "was changed, but not its version 1"));
}

static void a_wrong_statement_is_named_with_file_and_line(void **context) {
    model *at = *context;
    model_run(at,
              "-- projection: wrong\n-- version: 1\n-- events: orders.>\n-- [setup]\nCREATE TABLE t (a);\n"
              "-- [on orders.>]\nINSERT INTO t\n  VALUES (:subject, :id);\n",
              DAYBOOK_EINVALID);
    assert_non_null(strstr(at->error.message, "totals.sql:7"));
    model_run(at,
              "-- projection: wrong2\n-- version: 1\n-- events: orders.>\n-- [setup]\nCREATE TABEL t (a);\n"
              "-- [on orders.>]\nSELECT 1;\n",
              DAYBOOK_EINVALID);
    assert_non_null(strstr(at->error.message, "totals.sql:5"));
    assert_asks(at, "SELECT count(*) FROM daybook_projection WHERE name = 'wrong2'", "0");
}

static void several_projections_share_a_database(void **context) {
    model *at = *context;
    model_append_many(at, 200, 20);
    model_run(at, NULL, DAYBOOK_OK);
    model_run(at,
              "-- projection: log\n-- version: 1\n-- events: >\n-- [setup]\nCREATE TABLE log (position "
              "INTEGER PRIMARY KEY,"
              " subject TEXT, time TEXT);\n-- [on >]\nINSERT INTO log VALUES (:position, :subject, :time);\n",
              DAYBOOK_OK);
    assert_asks(at, "SELECT count(*) FROM log", "200");
    assert_asks(at, "SELECT group_concat(name) FROM daybook_projection", "log,order_totals");
    model_compare_with_fold(at);
}

#define MODEL_TEST(function) \
    { #function, function, model_open, model_close, NULL }

int main(void) {
    const struct CMUnitTest tests[] = {
        MODEL_TEST(rows_are_those_of_a_fold),
        MODEL_TEST(a_second_run_goes_on_from_the_checkpoint),
        MODEL_TEST(an_empty_store_gives_empty_tables),
        MODEL_TEST(follows_what_is_appended),
        MODEL_TEST(the_checkpoint_passes_events_nobody_wants),
        MODEL_TEST(lag_counts_what_is_to_come),
        MODEL_TEST(an_interruption_before_the_run_ends_it_at_once),
        MODEL_TEST(another_version_asks_for_a_rebuild),
        MODEL_TEST(a_definition_changed_in_silence_is_noticed),
        MODEL_TEST(a_wrong_statement_is_named_with_file_and_line),
        MODEL_TEST(several_projections_share_a_database),
    };
    return cmocka_run_group_tests_name("projection/run", tests, NULL, NULL);
}
