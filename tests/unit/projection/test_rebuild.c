// SPDX-License-Identifier: Apache-2.0
// Rebuilding side by side: the new tables take the place of the old ones in one step, and nothing is lost
// meanwhile.
#include "read_model.h"

#include <stdatomic.h>
#include <unistd.h>

static const char second_version[] =
    "-- projection: order_totals\n-- version: 2\n-- events: orders.>\n-- [setup]\n"
    "CREATE TABLE order_totals (order_id TEXT PRIMARY KEY, customer TEXT, total INTEGER NOT NULL, item_count "
    "INTEGER NOT"
    " NULL, state TEXT NOT NULL, doubled INTEGER AS (total * 2) STORED);\n"
    "CREATE INDEX order_totals_total ON order_totals (total);\n"
    "CREATE VIEW paid_orders AS SELECT * FROM order_totals WHERE state = 'paid';\n"
    "CREATE TABLE changes (id INTEGER PRIMARY KEY AUTOINCREMENT, order_id TEXT REFERENCES order_totals "
    "(order_id));\n"
    "CREATE TRIGGER noted AFTER INSERT ON order_totals BEGIN INSERT INTO changes (order_id) VALUES "
    "(new.order_id); END;\n"
    "-- [on orders.*.placed]\n"
    "INSERT INTO order_totals VALUES (:aggregate_id, :data.customer, 0, 0, 'placed');\n"
    "-- [on orders.*.added]\n"
    "UPDATE order_totals SET total = total + :data.price!, item_count = item_count + 1 WHERE order_id = "
    ":aggregate_id;\n"
    "-- [on type paid]\n"
    "UPDATE order_totals SET state = 'paid' WHERE order_id = :aggregate_id;\n";

static void rebuild(model *at, const char *sql, daybook_status expected) {
    daybook_projection *projection = model_projection(at, sql);
    daybook_status status = daybook_projection_rebuild(projection, &at->error);
    daybook_projection_free(projection);
    assert_model(at, status, expected);
}

static void rows_are_made_anew(void **context) {
    model *at = *context;
    model_append_many(at, 3000, 200);
    model_run(at, NULL, DAYBOOK_OK);
    model_execute(at, "DELETE FROM order_totals; INSERT INTO order_totals VALUES ('x', 'y', 1, 2, 'z')");
    rebuild(at, NULL, DAYBOOK_OK);
    model_compare_with_fold(at);
    assert_asks(at, "SELECT position || ' ' || event_count || ' ' || state FROM daybook_projection",
                "3000 3000 0");
    model_append_many(at, 10, 1);
    model_run(at, NULL, DAYBOOK_OK);
    assert_asks(at, "SELECT position FROM daybook_projection", "3010");
}

static void another_version_takes_over_with_all_that_it_makes(void **context) {
    model *at = *context;
    model_append_many(at, 500, 40);
    model_run(at, NULL, DAYBOOK_OK);
    model_execute(at, "CREATE TABLE foreign_table (a); INSERT INTO foreign_table VALUES (1)");
    rebuild(at, second_version, DAYBOOK_OK);
    model_compare_with_fold(at);
    assert_asks(at, "SELECT version FROM daybook_projection", "2");
    assert_asks(at, "SELECT count(*) FROM order_totals WHERE doubled = 2 * total", "40");
    assert_asks(at, "SELECT count(*) FROM changes", "40");
    assert_asks(at, "SELECT max(seq) FROM sqlite_sequence", "40");
    assert_asks(at, "SELECT count(*) FROM paid_orders WHERE state <> 'paid'", "0");
    assert_asks(at, "SELECT count(*) FROM sqlite_master WHERE name = 'order_totals_state'", "0");
    assert_asks(at, "SELECT a FROM foreign_table", "1");
    assert_asks(at, "PRAGMA integrity_check", "ok");
    assert_asks(at, "PRAGMA foreign_key_check", "(none)");
    model_run(at, second_version, DAYBOOK_OK);
    model_run(at, NULL, DAYBOOK_ECONFLICT);
    // And back again: what the second version made is gone.
    rebuild(at, NULL, DAYBOOK_OK);
    model_compare_with_fold(at);
    assert_asks(at, "SELECT count(*) FROM sqlite_master WHERE name IN ('changes', 'paid_orders', 'noted')",
                "0");
}

static void there_need_not_be_anything_before(void **context) {
    model *at = *context;
    model_append_many(at, 100, 10);
    rebuild(at, NULL, DAYBOOK_OK);
    model_compare_with_fold(at);
    model_run(at, NULL, DAYBOOK_OK);
    assert_asks(at, "SELECT event_count FROM daybook_projection", "100");
}

static void the_live_one_goes_on_meanwhile_and_after(void **context) {
    model *at = *context;
    model_thread thread;
    daybook_projection *projection = model_projection(at, NULL);
    model_append_many(at, 2000, 100);
    model_start(at, &thread, projection, DAYBOOK_PROJECTION_FOLLOW);
    model_wait_caught_up(at, projection);
    for (int i = 0; i < 5; i++) {
        char subject[64];
        rebuild(at, NULL, DAYBOOK_OK);
        snprintf(subject, sizeof subject, "orders.%d.placed", 5000 + i);
        model_append(at, subject, "{\"customer\":\"late\"}");
    }
    model_wait_caught_up(at, projection);
    assert_model_ok(at, model_stop(&thread));
    daybook_projection_free(projection);
    model_compare_with_fold(at);
    assert_asks(at, "SELECT event_count FROM daybook_projection", "2005");
}

static void *append_all(void *context) {
    model *at = context;
    for (int i = 0; i < 3000; i++) {
        char subject[64];
        snprintf(subject, sizeof subject, "orders.%d.placed", 10000 + i);
        model_append(at, subject, "{\"customer\":\"x\"}");
    }
    return NULL;
}

static void appends_during_a_rebuild_are_in(void **context) {
    model *at = *context;
    model_thread thread;
    pthread_t appender;
    daybook_projection *projection = model_projection(at, NULL);
    model_append_many(at, 2000, 100);
    model_start(at, &thread, projection, DAYBOOK_PROJECTION_FOLLOW);
    assert_int_equal(pthread_create(&appender, NULL, append_all, at), 0);
    for (int i = 0; i < 3; i++) rebuild(at, NULL, DAYBOOK_OK);
    pthread_join(appender, NULL);
    model_wait_caught_up(at, projection);
    assert_model_ok(at, model_stop(&thread));
    daybook_projection_free(projection);
    model_compare_with_fold(at);
    assert_asks(at, "SELECT event_count FROM daybook_projection", "5000");
}

static atomic_bool is_over;

static void *append_until_over(void *context) {
    model *at = context;
    for (int i = 0; !is_over && i < 1000000; i++) {
        char subject[64];
        snprintf(subject, sizeof subject, "orders.%d.%s", 10000 + i / 50, i % 50 == 0 ? "placed" : "added");
        model_append(at, subject, "{\"customer\":\"x\",\"price\":1}");
    }
    return NULL;
}

static void a_rebuild_ends_however_fast_events_come(void **context) {
    model *at = *context;
    model_thread thread;
    pthread_t appender;
    daybook_projection *projection = model_projection(at, NULL);
    model_append_many(at, 5000, 100);
    model_start(at, &thread, projection, DAYBOOK_PROJECTION_FOLLOW);
    is_over = 0;
    assert_int_equal(pthread_create(&appender, NULL, append_until_over, at), 0);
    rebuild(at, NULL, DAYBOOK_OK);
    rebuild(at, NULL, DAYBOOK_OK);
    is_over = 1;
    pthread_join(appender, NULL);
    model_wait_caught_up(at, projection);
    assert_model_ok(at, model_stop(&thread));
    daybook_projection_free(projection);
    model_compare_with_fold(at);
}

static void a_live_run_of_the_old_version_ends_and_says_why(void **context) {
    model *at = *context;
    model_thread thread;
    daybook_projection *projection = model_projection(at, NULL);
    model_append_many(at, 100, 10);
    model_start(at, &thread, projection, DAYBOOK_PROJECTION_FOLLOW);
    model_wait_caught_up(at, projection);
    rebuild(at, second_version, DAYBOOK_OK);
    pthread_join(thread.thread, NULL);
    assert_int_equal(thread.status, DAYBOOK_ECONFLICT);
    assert_non_null(strstr(thread.error.message, "version 2"));
    daybook_projection_free(projection);
    model_compare_with_fold(at);
}

static void a_failed_rebuild_changes_nothing(void **context) {
    model *at = *context;
    char path[256];
    model_append_many(at, 100, 10);
    model_run(at, NULL, DAYBOOK_OK);
    rebuild(at,
            "-- projection: order_totals\n-- version: 2\n-- events: orders.>\n-- [setup]\nCREATE TABLE "
            "order_totals (a);\n"
            "-- [on orders.>]\nINSERT INTO nowhere VALUES (1);\n",
            DAYBOOK_EINVALID);
    assert_non_null(strstr(at->error.message, "totals.sql:7"));
    at->options.on_error = DAYBOOK_PROJECTION_STOP;
    model_append(at, "orders.1.added", "no JSON");
    rebuild(at, NULL, DAYBOOK_EREFUSED);
    assert_asks(at, "SELECT version || ' ' || position FROM daybook_projection", "1 100");
    assert_asks(at, "SELECT count(*) FROM order_totals", "10");
    snprintf(path, sizeof path, "%s-rebuild-order_totals", at->path);
    assert_int_equal(access(path, F_OK), -1);
}

static void a_table_of_somebody_else_is_not_replaced(void **context) {
    model *at = *context;
    model_append_many(at, 10, 2);
    model_run(at, NULL, DAYBOOK_OK);
    model_execute(at, "CREATE TABLE changes (mine)");
    rebuild(at, second_version, DAYBOOK_EINVALID);
    assert_non_null(strstr(at->error.message, "changes"));
    assert_asks(at, "SELECT version FROM daybook_projection", "1");
    assert_asks(at, "SELECT count(*) FROM order_totals", "2");
}

static void virtual_tables_are_refused(void **context) {
    model *at = *context;
    model_append_many(at, 10, 2);
    rebuild(at,
            "-- projection: order_totals\n-- version: 2\n-- events: orders.>\n-- [setup]\nCREATE VIRTUAL "
            "TABLE words USING"
            " fts5(a);\n-- [on orders.>]\nINSERT INTO words VALUES (:subject);\n",
            DAYBOOK_EUNSUPPORTED);
    assert_non_null(strstr(at->error.message, "words"));
}

static void parked_events_are_those_of_the_new_tables(void **context) {
    model *at = *context;
    model_append(at, "orders.1.placed", "{}");
    model_append(at, "orders.1.placed", "{}");
    model_run(at, NULL, DAYBOOK_OK);
    assert_asks(at, "SELECT count(*) FROM daybook_parked", "1");
    rebuild(at,
            "-- projection: order_totals\n-- version: 2\n-- events: orders.>\n-- [setup]\nCREATE TABLE "
            "order_totals (a);\n"
            "-- [on orders.>]\nINSERT INTO order_totals VALUES (:id);\n",
            DAYBOOK_OK);
    assert_asks(at, "SELECT count(*) FROM daybook_parked", "0");
    assert_asks(at, "SELECT count(*) FROM order_totals", "2");
    rebuild(at, NULL, DAYBOOK_OK);
    assert_asks(at, "SELECT count(*) FROM daybook_parked", "1");
}

static void a_paused_projection_stays_paused(void **context) {
    model *at = *context;
    daybook_read_model *read_model;
    model_append_many(at, 10, 2);
    model_run(at, NULL, DAYBOOK_OK);
    assert_model_ok(at, daybook_read_model_open(at->database, NULL, &read_model, &at->error));
    assert_model_ok(at, daybook_read_model_pause(read_model, "order_totals", &at->error));
    rebuild(at, NULL, DAYBOOK_OK);
    model_run(at, NULL, DAYBOOK_EREFUSED);
    assert_model_ok(at, daybook_read_model_resume(read_model, "order_totals", &at->error));
    model_run(at, NULL, DAYBOOK_OK);
    daybook_read_model_close(read_model);
}

static void an_interruption_leaves_everything_as_it_was(void **context) {
    model *at = *context;
    model_append_many(at, 100, 10);
    model_run(at, NULL, DAYBOOK_OK);
    model_execute(at, "UPDATE order_totals SET customer = 'mark'");
    daybook_projection *projection = model_projection(at, NULL);
    daybook_projection_interrupt(projection);
    assert_model(at, daybook_projection_rebuild(projection, &at->error), DAYBOOK_ECLOSED);
    daybook_projection_free(projection);
    assert_asks(at, "SELECT count(*) FROM order_totals WHERE customer = 'mark'", "10");
}

static void what_an_earlier_rebuild_left_is_removed(void **context) {
    model *at = *context;
    char path[256];
    snprintf(path, sizeof path, "%s-rebuild-order_totals", at->path);
    FILE *left = fopen(path, "w");
    assert_non_null(left);
    fputs("half a database", left);
    fclose(left);
    model_append_many(at, 100, 10);
    rebuild(at, NULL, DAYBOOK_OK);
    model_compare_with_fold(at);
}

static void dropping_removes_all_that_was_made(void **context) {
    model *at = *context;
    daybook_read_model *read_model;
    model_append_many(at, 100, 10);
    model_execute(at, "CREATE TABLE foreign_table (a)");
    model_run(at, second_version, DAYBOOK_OK);
    assert_model_ok(at, daybook_read_model_open(at->database, NULL, &read_model, &at->error));
    assert_model_ok(at, daybook_read_model_drop(read_model, "order_totals", &at->error));
    assert_model(at, daybook_read_model_drop(read_model, "order_totals", &at->error), DAYBOOK_ENOTFOUND);
    daybook_read_model_close(read_model);
    assert_asks(at,
                "SELECT group_concat(name) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE "
                "'daybook%' AND name"
                " NOT LIKE 'sqlite%'",
                "foreign_table");
    assert_asks(at, "SELECT count(*) FROM daybook_projection", "0");
    model_run(at, NULL, DAYBOOK_OK);
    model_compare_with_fold(at);
}

static void dropping_with_the_definition_runs_its_teardown(void **context) {
    model *at = *context;
    static const char sql[] =
        "-- projection: order_totals\n-- version: 1\n-- events: orders.>\n-- [setup]\nCREATE TABLE "
        "order_totals (a);\n"
        "CREATE TABLE further (a);\n-- [on orders.>]\nINSERT INTO order_totals VALUES (:id);\n"
        "-- [teardown]\nINSERT INTO kept SELECT count(*) FROM order_totals;\nDROP TABLE further;\n";
    model_append_many(at, 20, 2);
    model_run(at, sql, DAYBOOK_OK);
    model_execute(at, "CREATE TABLE kept (a)");
    daybook_projection *projection = model_projection(at, sql);
    assert_model_ok(at, daybook_projection_drop(projection, &at->error));
    assert_model(at, daybook_projection_drop(projection, &at->error), DAYBOOK_ENOTFOUND);
    daybook_projection_free(projection);
    assert_asks(at, "SELECT a FROM kept", "20");
    assert_asks(at, "SELECT count(*) FROM sqlite_master WHERE name IN ('order_totals', 'further')", "0");
    assert_asks(at, "SELECT count(*) FROM daybook_projection", "0");
}

static void a_teardown_that_fails_drops_nothing(void **context) {
    model *at = *context;
    static const char sql[] = "-- projection: order_totals\n-- version: 1\n-- events: orders.>\n-- "
                              "[setup]\nCREATE TABLE order_totals (a);\n"
                              "-- [on orders.>]\nINSERT INTO order_totals VALUES (:id);\n-- [teardown]\nDROP "
                              "TABLE nothing_of_that_name;\n";
    model_run(at, sql, DAYBOOK_OK);
    daybook_projection *projection = model_projection(at, sql);
    assert_model(at, daybook_projection_drop(projection, &at->error), DAYBOOK_EINVALID);
    assert_non_null(strstr(at->error.message, "totals.sql:9"));
    daybook_projection_free(projection);
    assert_asks(at, "SELECT count(*) FROM daybook_projection", "1");
    model_run(at, sql, DAYBOOK_OK);
}

#define MODEL_TEST(function) \
    { #function, function, model_open, model_close, NULL }

int main(void) {
    const struct CMUnitTest tests[] = {
        MODEL_TEST(rows_are_made_anew),
        MODEL_TEST(another_version_takes_over_with_all_that_it_makes),
        MODEL_TEST(there_need_not_be_anything_before),
        MODEL_TEST(the_live_one_goes_on_meanwhile_and_after),
        MODEL_TEST(appends_during_a_rebuild_are_in),
        MODEL_TEST(a_rebuild_ends_however_fast_events_come),
        MODEL_TEST(a_live_run_of_the_old_version_ends_and_says_why),
        MODEL_TEST(a_failed_rebuild_changes_nothing),
        MODEL_TEST(a_table_of_somebody_else_is_not_replaced),
        MODEL_TEST(virtual_tables_are_refused),
        MODEL_TEST(parked_events_are_those_of_the_new_tables),
        MODEL_TEST(a_paused_projection_stays_paused),
        MODEL_TEST(an_interruption_leaves_everything_as_it_was),
        MODEL_TEST(what_an_earlier_rebuild_left_is_removed),
        MODEL_TEST(dropping_removes_all_that_was_made),
        MODEL_TEST(dropping_with_the_definition_runs_its_teardown),
        MODEL_TEST(a_teardown_that_fails_drops_nothing),
    };
    return cmocka_run_group_tests_name("projection/rebuild", tests, NULL, NULL);
}
