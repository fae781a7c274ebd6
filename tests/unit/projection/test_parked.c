// SPDX-License-Identifier: Apache-2.0
// Events that cannot be applied: parked with their aggregate behind them, retried, skipped, or stopped at.
#include "read_model.h"

static void place_and_add(model *at, int order, const char *price) {
    char subject[64], data[64];
    snprintf(subject, sizeof subject, "orders.%d.placed", order);
    model_append(at, subject, "{\"customer\":\"c\"}");
    snprintf(subject, sizeof subject, "orders.%d.added", order);
    snprintf(data, sizeof data, "{\"price\":%s}", price);
    model_append(at, subject, data);
}

// Positions 1 to 6: order 2 is placed twice, which its primary key refuses.
static void append_with_duplicate(model *at) {
    place_and_add(at, 1, "5");
    model_append(at, "orders.2.placed", "{\"customer\":\"first\"}");
    model_append(at, "orders.2.placed", "{\"customer\":\"again\"}");
    model_append(at, "orders.2.added", "{\"price\":7}");
    model_append(at, "orders.1.paid", "{}");
}

static daybook_read_model *open_model(model *at) {
    daybook_read_model *read_model;
    assert_model_ok(at, daybook_read_model_open(at->database, NULL, &read_model, &at->error));
    return read_model;
}

static void retry(model *at, uint64_t position, daybook_status expected) {
    daybook_read_model *read_model = open_model(at);
    daybook_status status = daybook_read_model_retry(read_model, "order_totals", position, &at->error);
    daybook_read_model_close(read_model);
    assert_model(at, status, expected);
}

static void leave_out(model *at, uint64_t position, daybook_status expected) {
    daybook_read_model *read_model = open_model(at);
    daybook_status status = daybook_read_model_skip(read_model, "order_totals", position, &at->error);
    daybook_read_model_close(read_model);
    assert_model(at, status, expected);
}

static void the_event_and_its_aggregate_wait_and_others_go_on(void **context) {
    model *at = *context;
    append_with_duplicate(at);
    model_run(at, NULL, DAYBOOK_OK);
    assert_asks(at, "SELECT group_concat(position || ':' || behind) FROM daybook_parked", "4:0,5:4");
}

static void the_database_says_why(void **context) {
    model *at = *context;
    append_with_duplicate(at);
    model_run(at, NULL, DAYBOOK_OK);
    const char *error = model_ask(at, "SELECT error FROM daybook_parked WHERE position = 4");
    assert_non_null(strstr(error, "totals.sql:8"));
    assert_non_null(strstr(error, "UNIQUE constraint failed"));
    assert_asks(at, "SELECT state FROM order_totals WHERE order_id = '1'", "paid");
    assert_asks(at, "SELECT total FROM order_totals WHERE order_id = '2'", "0");
    assert_asks(at, "SELECT position || ' ' || event_count FROM daybook_projection", "6 4");
    assert_non_null(strstr(at->reports, "parked the event at position 4 (orders.2.placed)"));
}

static void what_waits_is_remembered_by_the_next_run(void **context) {
    model *at = *context;
    append_with_duplicate(at);
    model_run(at, NULL, DAYBOOK_OK);
    model_append(at, "orders.2.added", "{\"price\":1}");
    model_run(at, NULL, DAYBOOK_OK);
    assert_asks(at, "SELECT group_concat(position || ':' || behind) FROM daybook_parked", "4:0,5:4,7:4");
}

static void a_retry_that_works_lets_the_others_follow(void **context) {
    model *at = *context;
    append_with_duplicate(at);
    model_run(at, NULL, DAYBOOK_OK);
    model_execute(at, "DELETE FROM order_totals WHERE order_id = '2'");
    retry(at, 4, DAYBOOK_OK);
    model_run(at, NULL, DAYBOOK_OK);
    assert_asks(at, "SELECT count(*) FROM daybook_parked", "0");
    assert_asks(at, "SELECT customer || total FROM order_totals WHERE order_id = '2'", "again7");
    assert_asks(at, "SELECT event_count FROM daybook_projection", "6");
    model_append(at, "orders.2.added", "{\"price\":1}");
    model_run(at, NULL, DAYBOOK_OK);
    assert_asks(at, "SELECT total FROM order_totals WHERE order_id = '2'", "8");
}

static void a_retry_that_fails_counts_the_attempt(void **context) {
    model *at = *context;
    append_with_duplicate(at);
    model_run(at, NULL, DAYBOOK_OK);
    retry(at, 0, DAYBOOK_OK);
    model_run(at, NULL, DAYBOOK_OK);
    assert_asks(at, "SELECT attempt_count || ' ' || request FROM daybook_parked WHERE position = 4", "2 0");
    assert_asks(at, "SELECT behind || ' ' || attempt_count FROM daybook_parked WHERE position = 5", "4 0");
}

static void a_skipped_event_is_left_out_and_the_others_follow(void **context) {
    model *at = *context;
    append_with_duplicate(at);
    model_run(at, NULL, DAYBOOK_OK);
    leave_out(at, 4, DAYBOOK_OK);
    model_run(at, NULL, DAYBOOK_OK);
    assert_asks(at, "SELECT count(*) FROM daybook_parked", "0");
    assert_asks(at, "SELECT customer || total FROM order_totals WHERE order_id = '2'", "first7");
}

static void the_next_failure_holds_the_rest(void **context) {
    model *at = *context;
    append_with_duplicate(at);
    model_append(at, "orders.2.placed", "{}");
    model_append(at, "orders.2.added", "{\"price\":9}");
    model_run(at, NULL, DAYBOOK_OK);
    leave_out(at, 4, DAYBOOK_OK);
    model_run(at, NULL, DAYBOOK_OK);
    assert_asks(at, "SELECT group_concat(position || ':' || behind) FROM daybook_parked", "7:0,8:7");
    assert_asks(at, "SELECT total FROM order_totals WHERE order_id = '2'", "7");
    model_append(at, "orders.2.added", "{\"price\":1}");
    model_run(at, NULL, DAYBOOK_OK);
    assert_asks(at, "SELECT group_concat(position || ':' || behind) FROM daybook_parked", "7:0,8:7,9:7");
}

static void a_live_run_grants_what_is_asked(void **context) {
    model *at = *context;
    model_thread thread;
    daybook_projection *projection = model_projection(at, NULL);
    append_with_duplicate(at);
    model_start(at, &thread, projection, DAYBOOK_PROJECTION_FOLLOW);
    model_wait_caught_up(at, projection);
    leave_out(at, 4, DAYBOOK_OK);
    wait_until(strcmp(model_ask(at, "SELECT count(*) FROM daybook_parked"), "0") == 0);
    assert_model_ok(at, model_stop(&thread));
    daybook_projection_info info;
    daybook_projection_get_info(projection, &info);
    assert_int_equal(info.parked_count, 0);
    daybook_projection_free(projection);
    assert_asks(at, "SELECT customer || total FROM order_totals WHERE order_id = '2'", "first7");
}

static void an_event_that_was_removed_meanwhile_goes(void **context) {
    model *at = *context;
    append_with_duplicate(at);
    model_run(at, NULL, DAYBOOK_OK);
    daybook_purge_options options;
    daybook_purge_options_init(&options);
    options.filter = daybook_text("orders.2.placed");
    assert_model_ok(at, daybook_stream_purge(at->store, daybook_text("ORDERS"), &options, NULL, &at->error));
    retry(at, 4, DAYBOOK_OK);
    model_run(at, NULL, DAYBOOK_OK);
    assert_asks(at, "SELECT count(*) FROM daybook_parked", "0");
    assert_asks(at, "SELECT total FROM order_totals WHERE order_id = '2'", "7");
    assert_non_null(strstr(at->reports, "is not stored any more"));
}

static void data_that_is_not_what_is_expected_is_parked(void **context) {
    model *at = *context;
    model_append(at, "orders.1.placed", "{\"customer\":\"c\"}");
    model_append(at, "orders.1.added", "no JSON");
    model_append(at, "orders.2.placed", "{\"customer\":\"d\"}");
    model_append(at, "orders.2.added", "{\"cost\":1}");
    model_append(at, "orders.3.placed", "{\"customer\":\"e\"}");
    model_run(at, NULL, DAYBOOK_OK);
    assert_asks(at, "SELECT group_concat(position) FROM daybook_parked", "2,4");
    assert_asks(at, "SELECT count(*) FROM order_totals", "3");
    assert_non_null(
        strstr(model_ask(at, "SELECT error FROM daybook_parked WHERE position = 4"), ":data.price!"));
}

static void a_function_that_refuses_a_value_is_the_events_fault(void **context) {
    model *at = *context;
    model_append(at, "orders.1.happened", "{\"text\":\"{\"}");
    model_append(at, "orders.2.happened", "{\"text\":\"{}\"}");
    model_run(
        at,
        "-- projection: order_totals\n-- version: 1\n-- events: orders.>\n-- [setup]\nCREATE TABLE t (a);\n"
        "-- [on orders.>]\nINSERT INTO t VALUES (json(:data.text));\n",
        DAYBOOK_OK);
    assert_asks(at, "SELECT group_concat(position) FROM daybook_parked", "1");
    assert_asks(at, "SELECT group_concat(a) FROM t", "{}");
}

static void what_only_the_commit_refuses_is_found_too(void **context) {
    model *at = *context;
    for (int i = 1; i <= 5; i++) {
        char subject[64];
        snprintf(subject, sizeof subject, "orders.%d.happened", i);
        model_append(at, subject, i == 3 ? "{\"parent\":99}" : "{\"parent\":1}");
    }
    // A trigger's foreign keys are checked at the commit.
    model_run(at,
              "-- projection: order_totals\n-- version: 1\n-- events: orders.>\n-- [setup]\n"
              "CREATE TABLE parents (id INTEGER PRIMARY KEY); INSERT INTO parents VALUES (1);\n"
              "CREATE TABLE t (a, parent INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED);\n"
              "-- [on orders.>]\nINSERT INTO t VALUES (:aggregate_id, :data.parent);\n",
              DAYBOOK_OK);
    // SQLite enforces them only where a connection asks for it, which ours does.
    assert_asks(at, "SELECT group_concat(position) FROM daybook_parked", "3");
    assert_asks(at, "SELECT group_concat(a) FROM (SELECT a FROM t ORDER BY a)", "1,2,4,5");
}

static void events_are_parked_alone_where_order_does_not_matter(void **context) {
    model *at = *context;
    at->options.on_error = DAYBOOK_PROJECTION_PARK_EVENT;
    append_with_duplicate(at);
    model_run(at, NULL, DAYBOOK_OK);
    assert_asks(at, "SELECT group_concat(position || ':' || behind) FROM daybook_parked", "4:0");
    assert_asks(at, "SELECT total FROM order_totals WHERE order_id = '2'", "7");
}

static void stops_in_front_of_it_where_that_is_wanted(void **context) {
    model *at = *context;
    at->options.on_error = DAYBOOK_PROJECTION_STOP;
    append_with_duplicate(at);
    model_run(at, NULL, DAYBOOK_EREFUSED);
    assert_non_null(strstr(at->error.message, "position 4 (orders.2.placed)"));
    assert_non_null(strstr(at->error.message, "UNIQUE constraint failed"));
    assert_asks(at, "SELECT position || ' ' || event_count FROM daybook_projection", "3 3");
    assert_non_null(strstr(model_ask(at, "SELECT error FROM daybook_projection"), "UNIQUE"));
    model_run(at, NULL, DAYBOOK_EREFUSED);
    assert_asks(at, "SELECT position FROM daybook_projection", "3");
    model_execute(at, "DELETE FROM order_totals WHERE order_id = '2'");
    model_run(at, NULL, DAYBOOK_OK);
    assert_asks(at, "SELECT position || error FROM daybook_projection", "6");
}

typedef struct seen {
    int count;
    char text[512];
} seen;

static int note_parked(void *context, const daybook_parked_event *event) {
    seen *to = context;
    size_t used = strlen(to->text);
    snprintf(to->text + used, sizeof to->text - used, "%d:%.*s:%d:%d ", (int)event->position,
             (int)event->subject.size, (const char *)event->subject.data, (int)event->behind, event->request);
    to->count++;
    return 0;
}

static int note_info(void *context, const daybook_projection_info *info) {
    seen *to = context;
    size_t used = strlen(to->text);
    snprintf(to->text + used, sizeof to->text - used, "%s v%d at %d, %d parked; ", info->name,
             (int)info->version, (int)info->position, (int)info->parked_count);
    to->count++;
    return 0;
}

static void the_list_tells_of_them(void **context) {
    model *at = *context;
    append_with_duplicate(at);
    model_run(at, NULL, DAYBOOK_OK);
    leave_out(at, 4, DAYBOOK_OK);
    daybook_read_model *read_model = open_model(at);
    seen events = {0, ""}, infos = {0, ""};
    assert_model_ok(at,
                    daybook_read_model_parked(read_model, "order_totals", note_parked, &events, &at->error));
    assert_string_equal(events.text, "4:orders.2.placed:0:2 5:orders.2.added:4:0 ");
    assert_model_ok(at, daybook_read_model_list(read_model, note_info, &infos, &at->error));
    assert_string_equal(infos.text, "order_totals v1 at 6, 2 parked; ");
    assert_model(at, daybook_read_model_parked(read_model, "nobody", note_parked, &events, &at->error),
                 DAYBOOK_ENOTFOUND);
    daybook_read_model_close(read_model);
}

static void what_is_not_parked_cannot_be_retried(void **context) {
    model *at = *context;
    append_with_duplicate(at);
    model_run(at, NULL, DAYBOOK_OK);
    retry(at, 3, DAYBOOK_ENOTFOUND);
    leave_out(at, 99, DAYBOOK_ENOTFOUND);
}

static void many_parked_events_do_not_stop_the_rest(void **context) {
    model *at = *context;
    char subject[64];
    for (int i = 0; i < 2500; i++) {
        snprintf(subject, sizeof subject, "orders.%d.placed", i % 500);
        model_append(at, subject, "{\"customer\":\"c\"}");
    }
    model_run(at, NULL, DAYBOOK_OK);
    assert_asks(at, "SELECT count(*) FROM order_totals", "500");
    assert_asks(at, "SELECT count(*) FROM daybook_parked WHERE behind = 0", "500");
    assert_asks(at, "SELECT count(*) FROM daybook_parked", "2000");
    leave_out(at, 0, DAYBOOK_OK);
    model_run(at, NULL, DAYBOOK_OK);
    // Each skip shows the next one of its order.
    assert_asks(at, "SELECT count(*) FROM daybook_parked", "1500");
}

// Rows that statements of any connection gave out.
static uint64_t row_count;

static int count_row(unsigned kind, void *context, void *statement, void *more) {
    (void)kind;
    (void)context;
    (void)statement;
    (void)more;
    row_count++;
    return 0;
}

static int count_rows_of(sqlite3 *connection, char **message, const struct sqlite3_api_routines *routines) {
    (void)message;
    (void)routines;
    return sqlite3_trace_v2(connection, SQLITE_TRACE_ROW, count_row, NULL);
}

// Rows that a run reads which grants what was asked for.
static uint64_t rows_of_run(model *at) {
    row_count = 0;
    assert_int_equal(sqlite3_auto_extension((void (*)(void))count_rows_of), SQLITE_OK);
    model_run(at, NULL, DAYBOOK_OK);
    assert_int_equal(sqlite3_cancel_auto_extension((void (*)(void))count_rows_of), 1);
    return row_count;
}

static void granting_many_does_not_look_at_all_for_each(void **context) {
    enum { COUNT = 1000 };
    model *at = *context;
    at->options.on_error = DAYBOOK_PROJECTION_PARK_EVENT;
    model_append(at, "orders.7.placed", "{\"customer\":\"c\"}");
    for (int i = 0; i < COUNT; i++) {
        model_append(at, "orders.added", "{}");   // without aggregate; no section takes it
        model_append(at, "orders.7.added", "{}"); // all of one aggregate, and none waits for another
    }
    model_run(at, NULL, DAYBOOK_OK);
    assert_asks(at, "SELECT count(*) FROM daybook_parked WHERE behind = 0", "1000");
    model_execute(at, "UPDATE daybook_parked SET aggregate = '' WHERE position % 4 = 1");
    retry(at, 0, DAYBOOK_OK);
    assert_true(rows_of_run(at) < 20 * COUNT);
    assert_asks(at, "SELECT count(*) FROM daybook_parked WHERE attempt_count = 2 AND request = 0", "1000");
    leave_out(at, 0, DAYBOOK_OK);
    assert_true(rows_of_run(at) < 20 * COUNT);
    assert_asks(at, "SELECT count(*) FROM daybook_parked", "0");
}

static void who_waited_when_it_was_asked_for_is_looked_at_again(void **context) {
    model *at = *context;
    append_with_duplicate(at);
    model_append(at, "orders.2.added", "no JSON");
    model_append(at, "orders.2.added", "{\"price\":9}");
    model_run(at, NULL, DAYBOOK_OK);
    assert_asks(at, "SELECT group_concat(position || ':' || behind) FROM daybook_parked", "4:0,5:4,7:4,8:4");
    // 5 is taken along, 7 fails by itself and then holds 8.
    leave_out(at, 4, DAYBOOK_OK);
    retry(at, 5, DAYBOOK_OK);
    retry(at, 7, DAYBOOK_OK);
    retry(at, 8, DAYBOOK_OK);
    model_run(at, NULL, DAYBOOK_OK);
    assert_asks(at, "SELECT group_concat(position || ':' || behind || ':' || request) FROM daybook_parked",
                "7:0:0,8:7:0");
    assert_asks(at, "SELECT total FROM order_totals WHERE order_id = '2'", "7");
    leave_out(at, 7, DAYBOOK_OK);
    retry(at, 8, DAYBOOK_OK);
    model_run(at, NULL, DAYBOOK_OK);
    assert_asks(at, "SELECT count(*) FROM daybook_parked", "0");
    assert_asks(at, "SELECT total FROM order_totals WHERE order_id = '2'", "16");
}

static void one_that_waits_and_is_to_be_skipped_does_not_follow(void **context) {
    model *at = *context;
    append_with_duplicate(at);
    model_append(at, "orders.2.added", "no JSON");
    model_append(at, "orders.2.added", "{\"price\":9}");
    model_append(at, "orders.2.added", "{\"price\":20}");
    model_run(at, NULL, DAYBOOK_OK);
    leave_out(at, 4, DAYBOOK_OK);
    leave_out(at, 7, DAYBOOK_OK);
    leave_out(at, 8, DAYBOOK_OK);
    model_run(at, NULL, DAYBOOK_OK);
    assert_asks(at, "SELECT count(*) FROM daybook_parked", "0");
    assert_asks(at, "SELECT total FROM order_totals WHERE order_id = '2'", "27");
}

static void one_behind_the_next_failure_is_skipped_too(void **context) {
    model *at = *context;
    append_with_duplicate(at);
    model_append(at, "orders.2.added", "no JSON");
    model_append(at, "orders.2.added", "{\"price\":9}");
    model_run(at, NULL, DAYBOOK_OK);
    leave_out(at, 4, DAYBOOK_OK);
    leave_out(at, 8, DAYBOOK_OK);
    model_run(at, NULL, DAYBOOK_OK);
    assert_asks(at, "SELECT group_concat(position || ':' || behind) FROM daybook_parked", "7:0");
}

#define MODEL_TEST(function) \
    { #function, function, model_open, model_close, NULL }

int main(void) {
    const struct CMUnitTest tests[] = {
        MODEL_TEST(the_event_and_its_aggregate_wait_and_others_go_on),
        MODEL_TEST(the_database_says_why),
        MODEL_TEST(what_waits_is_remembered_by_the_next_run),
        MODEL_TEST(a_retry_that_works_lets_the_others_follow),
        MODEL_TEST(a_retry_that_fails_counts_the_attempt),
        MODEL_TEST(a_skipped_event_is_left_out_and_the_others_follow),
        MODEL_TEST(the_next_failure_holds_the_rest),
        MODEL_TEST(a_live_run_grants_what_is_asked),
        MODEL_TEST(an_event_that_was_removed_meanwhile_goes),
        MODEL_TEST(data_that_is_not_what_is_expected_is_parked),
        MODEL_TEST(a_function_that_refuses_a_value_is_the_events_fault),
        MODEL_TEST(what_only_the_commit_refuses_is_found_too),
        MODEL_TEST(events_are_parked_alone_where_order_does_not_matter),
        MODEL_TEST(stops_in_front_of_it_where_that_is_wanted),
        MODEL_TEST(the_list_tells_of_them),
        MODEL_TEST(what_is_not_parked_cannot_be_retried),
        MODEL_TEST(many_parked_events_do_not_stop_the_rest),
        MODEL_TEST(granting_many_does_not_look_at_all_for_each),
        MODEL_TEST(who_waited_when_it_was_asked_for_is_looked_at_again),
        MODEL_TEST(one_that_waits_and_is_to_be_skipped_does_not_follow),
        MODEL_TEST(one_behind_the_next_failure_is_skipped_too),
    };
    return cmocka_run_group_tests_name("projection/parked", tests, NULL, NULL);
}
