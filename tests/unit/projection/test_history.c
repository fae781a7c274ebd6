// SPDX-License-Identifier: Apache-2.0
// A store that is not the one the read model was made from, or has gone back since, is noticed at once and
// told in words; and bookkeeping tables of other versions.
#include "read_model.h"

#include "projection/target.h"

static void rebuild(model *at) {
    daybook_projection *projection = model_projection(at, NULL);
    daybook_status status = daybook_projection_rebuild(projection, &at->error);
    daybook_projection_free(projection);
    assert_model_ok(at, status);
}

// What a run, and who only asks, say of the store.
static void assert_refused(model *at, const char *words) {
    daybook_projection *projection = model_projection(at, NULL);
    assert_model(at, daybook_projection_check_store(projection, &at->error), DAYBOOK_ECONFLICT);
    assert_non_null(strstr(at->error.message, words));
    assert_model(at, daybook_projection_run(projection, DAYBOOK_PROJECTION_FOLLOW, &at->error),
                 DAYBOOK_ECONFLICT);
    assert_non_null(strstr(at->error.message, words));
    assert_non_null(strstr(at->error.message, "projection rebuild"));
    daybook_projection_free(projection);
    assert_non_null(strstr(model_ask(at, "SELECT error FROM daybook_projection"), words));
}

static void assert_taken(model *at) {
    daybook_projection *projection = model_projection(at, NULL);
    assert_model_ok(at, daybook_projection_check_store(projection, &at->error));
    assert_model_ok(at, daybook_projection_run(projection, 0, &at->error));
    daybook_projection_free(projection);
    assert_asks(at, "SELECT error FROM daybook_projection", "");
}

static void another_store_is_refused(void **context) {
    model *at = *context;
    model_append_many(at, 20, 3);
    assert_taken(at); // there is nothing yet
    daybook_store *first = at->store;
    model_open_store(at);
    model_append_many(at, 30, 3);
    assert_refused(at, "was made from store");
    assert_asks(at, "SELECT position FROM daybook_projection", "20");
    daybook_store *second = at->store;
    at->store = first; // with the right one it goes on
    model_append(at, "orders.1.added", "{\"price\":1}");
    assert_taken(at);
    assert_asks(at, "SELECT position FROM daybook_projection", "21");
    assert_model_ok(at, daybook_close(first, &at->error));
    at->store = second;
    assert_refused(at, "was made from store");
    rebuild(at);
    assert_taken(at);
    model_compare_with_fold(at);
}

static void tables_without_events_are_of_no_store(void **context) {
    model *at = *context;
    model_run(at, NULL, DAYBOOK_OK);
    assert_model_ok(at, daybook_close(at->store, &at->error));
    model_open_store(at);
    model_append_many(at, 20, 3);
    assert_taken(at);
    assert_model_ok(at, daybook_close(at->store, &at->error));
    model_open_store(at);
    assert_refused(at, "was made from store");
}

static void a_store_that_ends_before_the_checkpoint_is_refused(void **context) {
    model *at = *context;
    model_append_many(at, 20, 3);
    model_run(at, NULL, DAYBOOK_OK);
    model_execute(at, "UPDATE daybook_projection SET position = 99");
    assert_refused(at, "stands at position 99, but the store ends at 20");
    rebuild(at);
    assert_taken(at);
    assert_asks(at, "SELECT position FROM daybook_projection", "20");
}

static void another_event_at_the_mark_is_refused(void **context) {
    model *at = *context;
    model_append_many(at, 20, 3);
    model_run(at, NULL, DAYBOOK_OK);
    assert_asks(at, "SELECT mark_position || ' ' || length(mark_id) FROM daybook_projection", "20 36");
    model_execute(at, "UPDATE daybook_projection SET mark_id = 'another'");
    assert_refused(at, "at position 20 the store has another event");
    rebuild(at);
    assert_taken(at);
    assert_asks(at, "SELECT mark_position || ' ' || length(mark_id) FROM daybook_projection", "20 36");
}

static void the_mark_may_be_an_event_nobody_wants(void **context) {
    model *at = *context;
    model_append_many(at, 20, 3);
    model_append(at, "other.1.happened", "{}");
    model_run(at, NULL, DAYBOOK_OK);
    assert_asks(at, "SELECT position || ' ' || mark_position FROM daybook_projection", "21 21");
    model_execute(at, "UPDATE daybook_projection SET mark_id = 'another'");
    assert_refused(at, "at position 21 the store has another event");
}

static void a_mark_that_was_removed_is_no_other_history(void **context) {
    model *at = *context;
    daybook_purge_options options;
    daybook_purge_options_init(&options);
    model_append_many(at, 20, 3);
    model_run(at, NULL, DAYBOOK_OK);
    assert_model_ok(at, daybook_stream_purge(at->store, daybook_text("ORDERS"), &options, NULL, &at->error));
    assert_taken(at);
    model_append(at, "orders.9.placed", "{}");
    assert_taken(at);
    assert_asks(at, "SELECT position || ' ' || mark_position FROM daybook_projection", "21 21");
}

// An engine over the store's that cannot read an event by its position.

static daybook_engine *inner_engine;
static daybook_engine_calls damaged_calls;
static daybook_engine_cursor damaged_cursor = {&damaged_calls};

static daybook_status damaged_read(daybook_engine *engine, const daybook_query *query,
                                   daybook_engine_cursor **cursor_out, daybook_error *error) {
    (void)engine;
    if (query->position_from == 0 || query->position_from != query->position_to)
        return daybook_engine_read(inner_engine, query, cursor_out, error);
    *cursor_out = &damaged_cursor;
    return DAYBOOK_OK;
}

static daybook_status damaged_next(daybook_engine_cursor *cursor, int timeout_ms,
                                   daybook_recorded_event *event_out, daybook_error *error) {
    (void)cursor;
    (void)timeout_ms;
    (void)event_out;
    error->status = DAYBOOK_EDAMAGED;
    return DAYBOOK_EDAMAGED;
}

static void damaged_close(daybook_engine_cursor *cursor) {
    (void)cursor;
}

static daybook_status damaged_info(daybook_engine *engine, daybook_engine_info *info_out,
                                   daybook_error *error) {
    (void)engine;
    return daybook_engine_get_info(inner_engine, info_out, error);
}

static void a_mark_that_cannot_be_read_is_no_other_history(void **context) {
    model *at = *context;
    daybook_projection_definition definition;
    daybook_projection *projection;
    model_append_many(at, 20, 3);
    model_run(at, NULL, DAYBOOK_OK);
    model_append_many(at, 10, 1);
    inner_engine = daybook_store_engine(at->store);
    damaged_calls = *inner_engine->calls;
    damaged_calls.read = damaged_read;
    damaged_calls.next = damaged_next;
    damaged_calls.cursor_close = damaged_close;
    damaged_calls.get_info = damaged_info;
    daybook_engine damaged = *inner_engine;
    damaged.calls = &damaged_calls;
    daybook_projection_definition_init(&definition);
    definition.sql = daybook_text(model_sql);
    assert_model_ok(at, daybook_projection_new(&damaged, &definition, at->database, &at->options, &projection,
                                               &at->error));
    assert_model_ok(at, daybook_projection_run(projection, 0, &at->error));
    daybook_projection_free(projection);
    assert_asks(at, "SELECT position FROM daybook_projection", "30");
}

static void the_mark_stays_in_front_of_an_event_to_stop_at(void **context) {
    model *at = *context;
    at->options.on_error = DAYBOOK_PROJECTION_STOP;
    model_append(at, "orders.1.placed", "{}");
    model_append(at, "orders.2.placed", "{}");
    model_append(at, "orders.2.placed", "{}"); // twice
    model_append(at, "orders.3.placed", "{}");
    model_run(at, NULL, DAYBOOK_EREFUSED);
    assert_asks(at, "SELECT position || ' ' || mark_position FROM daybook_projection", "2 2");
    model_run(at, NULL, DAYBOOK_EREFUSED);
    assert_asks(at, "SELECT position || ' ' || mark_position FROM daybook_projection", "2 2");
    model_execute(at, "DELETE FROM order_totals WHERE order_id = '2'");
    model_run(at, NULL, DAYBOOK_OK);
    assert_asks(at, "SELECT position || ' ' || mark_position FROM daybook_projection", "4 4");
}

static int note_info(void *context, const daybook_projection_info *info) {
    snprintf(context, 256, "%llu %s", (unsigned long long)info->position, info->error);
    return 0;
}

static void a_row_that_says_what_no_store_has_is_told(void **context) {
    model *at = *context;
    char text[256] = "";
    uint64_t event_count;
    int64_t age_ns;
    daybook_read_model *read_model;
    model_append_many(at, 20, 3);
    model_run(at, NULL, DAYBOOK_OK);
    model_execute(at, "UPDATE daybook_projection SET position = -5");
    assert_refused(at, "says position -5, which no store has");
    assert_model_ok(at, daybook_read_model_open(at->database, NULL, &read_model, &at->error));
    assert_model_ok(at, daybook_read_model_list(read_model, note_info, text, &at->error));
    daybook_read_model_close(read_model);
    assert_int_equal(strncmp(text, "0 the row of projection", 23), 0);
    daybook_projection *projection = model_projection(at, NULL);
    assert_model(at, daybook_projection_lag(projection, &event_count, &age_ns, &at->error),
                 DAYBOOK_ECONFLICT);
    daybook_projection_free(projection);
    rebuild(at);
    assert_taken(at);
    model_compare_with_fold(at);
}

// Versions of the bookkeeping tables.

// As daybook made them before they had a version.
static const char to_version_1[] =
    "ALTER TABLE daybook_projection RENAME TO later;"
    "CREATE TABLE daybook_projection (name TEXT PRIMARY KEY, version INTEGER NOT NULL, hash TEXT NOT NULL,"
    " position INTEGER NOT NULL, event_count INTEGER NOT NULL, state INTEGER NOT NULL, updated_ns INTEGER "
    "NOT NULL,"
    " instance TEXT NOT NULL, error TEXT NOT NULL) WITHOUT ROWID;"
    "INSERT INTO daybook_projection SELECT name, version, hash, position, event_count, state, updated_ns, "
    "instance,"
    " error FROM later; DROP TABLE later; DROP TABLE daybook_projection_books";

#define COLUMN_COUNT "SELECT count(*) FROM pragma_table_info('daybook_projection')"

static void tables_of_version_1_are_taken_over(void **context) {
    model *at = *context;
    char text[256] = "";
    daybook_read_model *read_model;
    model_append_many(at, 20, 3);
    model_append(at, "orders.1.placed", "{}"); // parked
    model_run(at, NULL, DAYBOOK_OK);
    model_execute(at, to_version_1);
    // Who only looks changes nothing.
    assert_model_ok(at, daybook_read_model_open(at->database, NULL, &read_model, &at->error));
    assert_model_ok(at, daybook_read_model_list(read_model, note_info, text, &at->error));
    assert_string_equal(text, "21 ");
    assert_model_ok(at, daybook_read_model_pause(read_model, "order_totals", &at->error));
    assert_model_ok(at, daybook_read_model_resume(read_model, "order_totals", &at->error));
    assert_asks(at, COLUMN_COUNT, "9");
    // A run does, and goes on from the checkpoint.
    model_append_many(at, 1, 3);
    assert_taken(at);
    assert_model_ok(at, daybook_read_model_list(read_model, note_info, text, &at->error));
    assert_string_equal(text, "22 "); // by a connection that knew the old ones
    daybook_read_model_close(read_model);
    assert_asks(at, COLUMN_COUNT, "12");
    assert_asks(at, "SELECT group_concat(version) FROM daybook_projection_books", "2");
    assert_asks(at,
                "SELECT position || ' ' || mark_position || ' ' || length(mark_id) || ' ' || length(store)"
                " FROM daybook_projection",
                "22 22 36 36");
    assert_asks(at, "SELECT count(*) FROM daybook_parked", "2");
    model_execute(at, to_version_1);
    rebuild(at);
    assert_asks(at, "SELECT mark_position || ' ' || length(store) FROM daybook_projection", "22 36");
    model_execute(at, to_version_1);
    assert_model_ok(at, daybook_read_model_open(at->database, NULL, &read_model, &at->error));
    assert_model_ok(at, daybook_read_model_drop(read_model, "order_totals", &at->error));
    daybook_read_model_close(read_model);
    model_run(at, NULL, DAYBOOK_OK);
    assert_asks(at, COLUMN_COUNT, "12");
}

static void two_may_bring_them_up_at_once(void **context) {
    model *at = *context;
    dbk_target *target;
    dbk_target_options options = {.allocator = dbk_allocator_default(), .vfs = daybook_vfs_posix()};
    model_run(at, NULL, DAYBOOK_OK);
    model_execute(at, to_version_1);
    assert_model_ok(at, dbk_target_open(at->database, &options, &target, &at->error));
    model_run(at, NULL, DAYBOOK_OK); // while the other one knows the old ones
    assert_model_ok(at, target->calls->ensure(target, &at->error));
    target->calls->close(target);
    assert_asks(at, COLUMN_COUNT, "12");
    assert_asks(at, "SELECT group_concat(version) FROM daybook_projection_books", "2");
}

static void tables_of_a_later_version_are_left_alone(void **context) {
    model *at = *context;
    model_append_many(at, 20, 3);
    model_run(at, NULL, DAYBOOK_OK);
    model_execute(at, "UPDATE daybook_projection_books SET version = 3");
    model_append_many(at, 1, 3);
    model_run(at, NULL, DAYBOOK_EUNSUPPORTED);
    assert_non_null(strstr(at->error.message, "its bookkeeping is of version 3, this one knows up to 2"));
    assert_asks(at, "SELECT position FROM daybook_projection", "20");
}

#define MODEL_TEST(function) \
    { #function, function, model_open, model_close, NULL }

int main(void) {
    const struct CMUnitTest tests[] = {
        MODEL_TEST(another_store_is_refused),
        MODEL_TEST(tables_without_events_are_of_no_store),
        MODEL_TEST(a_store_that_ends_before_the_checkpoint_is_refused),
        MODEL_TEST(another_event_at_the_mark_is_refused),
        MODEL_TEST(the_mark_may_be_an_event_nobody_wants),
        MODEL_TEST(a_mark_that_was_removed_is_no_other_history),
        MODEL_TEST(a_mark_that_cannot_be_read_is_no_other_history),
        MODEL_TEST(the_mark_stays_in_front_of_an_event_to_stop_at),
        MODEL_TEST(a_row_that_says_what_no_store_has_is_told),
        MODEL_TEST(tables_of_version_1_are_taken_over),
        MODEL_TEST(two_may_bring_them_up_at_once),
        MODEL_TEST(tables_of_a_later_version_are_left_alone),
    };
    return cmocka_run_group_tests_name("projection/history", tests, NULL, NULL);
}
