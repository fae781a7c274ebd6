// SPDX-License-Identifier: Apache-2.0
// What goes wrong around a projection: a database that is locked, full, gone, damaged or no database, a store
// that is damaged or changed, memory that runs out. Nothing is lost, nothing skipped, and the message says
// what to do.
#include "read_model.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "faulty_vfs.h"
#include "lib/fault_allocator.h"
#include "projection/target.h"

static int has_report(model *at, const char *text) {
    pthread_mutex_lock(&at->report_lock);
    int has = strstr(at->reports, text) != NULL;
    pthread_mutex_unlock(&at->report_lock);
    return has;
}

static sqlite3 *lock_database(model *at) {
    sqlite3 *connection;
    assert_int_equal(sqlite3_open(at->path, &connection), SQLITE_OK);
    sqlite3_wal_autocheckpoint(connection, 0);
    sqlite3_db_config(connection, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)NULL);
    sqlite3_busy_timeout(connection, 5000);
    assert_int_equal(sqlite3_exec(connection, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    return connection;
}

static void a_locked_database_is_waited_for(void **context) {
    model *at = *context;
    model_thread thread;
    daybook_projection_info info;
    model_run(at, NULL, DAYBOOK_OK);
    daybook_projection *projection = model_projection(at, NULL);
    sqlite3 *connection = lock_database(at);
    model_append_many(at, 200, 20);
    model_start(at, &thread, projection, DAYBOOK_PROJECTION_FOLLOW);
    wait_until(has_report(at, "locked"));
    wait_until((daybook_projection_get_info(projection, &info), info.retry_count >= 2));
    assert_non_null(strstr(info.error, "locked"));
    assert_int_equal(sqlite3_exec(connection, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(connection);
    model_wait_caught_up(at, projection);
    daybook_projection_get_info(projection, &info);
    assert_string_equal(info.error, "");
    assert_model_ok(at, model_stop(&thread));
    daybook_projection_free(projection);
    model_compare_with_fold(at);
}

static void a_limit_of_retries_ends_the_run(void **context) {
    model *at = *context;
    model_run(at, NULL, DAYBOOK_OK);
    model_append_many(at, 20, 2);
    at->options.retry_count = 2;
    sqlite3 *connection = lock_database(at);
    model_run(at, NULL, DAYBOOK_ELOCKED);
    assert_non_null(strstr(at->error.message, "another process writes"));
    sqlite3_exec(connection, "ROLLBACK", NULL, NULL, NULL);
    sqlite3_close(connection);
    model_run(at, NULL, DAYBOOK_OK);
    model_compare_with_fold(at);
}

static void waiting_for_a_lock_can_be_interrupted(void **context) {
    model *at = *context;
    model_thread thread;
    model_run(at, NULL, DAYBOOK_OK);
    daybook_projection *projection = model_projection(at, NULL);
    sqlite3 *connection = lock_database(at);
    model_append_many(at, 20, 2);
    model_start(at, &thread, projection, DAYBOOK_PROJECTION_FOLLOW);
    wait_until(has_report(at, "locked"));
    assert_model_ok(at, model_stop(&thread));
    daybook_projection_free(projection);
    sqlite3_exec(connection, "ROLLBACK", NULL, NULL, NULL);
    sqlite3_close(connection);
}

static void a_full_disk_is_waited_for(void **context) {
    model *at = *context;
    model_thread thread;
    daybook_projection *projection = model_projection(at, NULL);
    model_start(at, &thread, projection, DAYBOOK_PROJECTION_FOLLOW);
    model_wait_caught_up(at, projection);
    faulty_vfs_fail(1, INT_MAX / 2, SQLITE_FULL);
    model_append_many(at, 200, 20);
    wait_until(has_report(at, "full"));
    assert_true(has_report(at, "make room"));
    faulty_vfs_fail(0, 0, 0);
    model_wait_caught_up(at, projection);
    assert_model_ok(at, model_stop(&thread));
    daybook_projection_free(projection);
    model_compare_with_fold(at);
}

// Every write and every sync fails once, as `code`; afterwards all is as if none had.
static void fail_each(model *at, int code) {
    model_append_many(at, 150, 20);
    for (int n = 1; n < 200; n++) {
        at->options.retry_count = 1;
        at->options.batch_count = 50;
        daybook_projection *projection = model_projection(at, NULL);
        faulty_vfs_fail(n, 1, code);
        daybook_status status = daybook_projection_run(projection, 0, &at->error);
        int has_failed = faulty_vfs_has_failed();
        faulty_vfs_fail(0, 0, 0);
        daybook_projection_free(projection);
        if (status != DAYBOOK_OK) assert_true(has_failed);
        model_run(at, NULL, DAYBOOK_OK);
        assert_asks(at, "SELECT position || ' ' || event_count FROM daybook_projection", "150 150");
        assert_asks(at, "PRAGMA integrity_check", "ok");
        model_compare_with_fold(at);
        if (!has_failed) {
            assert_true(n > 10);
            return;
        }
        daybook_read_model *read_model;
        assert_model_ok(at, daybook_read_model_open(at->database, NULL, &read_model, &at->error));
        assert_model_ok(at, daybook_read_model_drop(read_model, "order_totals", &at->error));
        daybook_read_model_close(read_model);
    }
    fail_msg("it needs more than 200 writes");
}

static void every_write_may_find_no_room(void **context) {
    fail_each(*context, SQLITE_FULL);
}

static void every_write_and_sync_may_fail(void **context) {
    fail_each(*context, SQLITE_IOERR_WRITE);
}

static void every_write_of_a_rebuild_may_fail(void **context) {
    model *at = *context;
    model_append_many(at, 150, 20);
    model_run(at, NULL, DAYBOOK_OK);
    for (int n = 1; n < 400; n++) {
        at->options.retry_count = 1;
        daybook_projection *projection = model_projection(at, NULL);
        faulty_vfs_fail(n, 1, n % 2 == 0 ? SQLITE_FULL : SQLITE_IOERR_WRITE);
        daybook_status status = daybook_projection_rebuild(projection, &at->error);
        int has_failed = faulty_vfs_has_failed();
        faulty_vfs_fail(0, 0, 0);
        daybook_projection_free(projection);
        if (status != DAYBOOK_OK) assert_true(has_failed);
        assert_asks(at, "SELECT position || ' ' || event_count FROM daybook_projection", "150 150");
        assert_asks(at, "PRAGMA integrity_check", "ok");
        model_compare_with_fold(at);
        if (!has_failed) return;
    }
    fail_msg("it needs more than 400 writes");
}

static void a_database_removed_under_it_is_noticed(void **context) {
    model *at = *context;
    model_thread thread;
    char path[200];
    daybook_projection *projection = model_projection(at, NULL);
    model_append_many(at, 100, 10);
    model_start(at, &thread, projection, DAYBOOK_PROJECTION_FOLLOW);
    model_wait_caught_up(at, projection);
    assert_int_equal(unlink(at->path), 0);
    snprintf(path, sizeof path, "%s-wal", at->path);
    (void)unlink(path);
    snprintf(path, sizeof path, "%s-shm", at->path);
    (void)unlink(path);
    model_append(at, "orders.999.placed", "{}");
    pthread_join(thread.thread, NULL);
    assert_int_equal(thread.status, DAYBOOK_ENOTFOUND);
    assert_non_null(strstr(thread.error.message, "removed or replaced: run again"));
    daybook_projection_free(projection);
    model_run(at, NULL, DAYBOOK_OK);
    model_compare_with_fold(at);
}

static void a_file_that_is_no_database_is_left_alone(void **context) {
    model *at = *context;
    char text[64] = "";
    FILE *file = fopen(at->path, "w");
    assert_non_null(file);
    fputs("Dear diary, today I will be mistaken for a database.", file);
    fclose(file);
    model_append_many(at, 10, 2);
    model_run(at, NULL, DAYBOOK_EDAMAGED);
    assert_non_null(strstr(at->error.message, "not a database"));
    file = fopen(at->path, "r");
    assert_non_null(file);
    assert_non_null(fgets(text, sizeof text, file));
    fclose(file);
    assert_string_equal(text, "Dear diary, today I will be mistaken for a database.");
}

static void a_missing_directory_is_said(void **context) {
    model *at = *context;
    snprintf(at->database, sizeof at->database, "sqlite:%s/nowhere/model.db", at->directory);
    model_run(at, NULL, DAYBOOK_ENOTFOUND);
    assert_non_null(strstr(at->error.message, "is there such a directory"));
}

static int lock_result;

static int fail_to_lock(daybook_vfs *vfs, daybook_file *file) {
    (void)vfs;
    (void)file;
    return lock_result;
}

static void a_lock_that_cannot_be_taken_is_not_called_held(void **context) {
    model *at = *context;
    static const struct {
        int result;
        daybook_status status;
        const char *words;
    } cases[] = {
        {-EWOULDBLOCK, DAYBOOK_ELOCKED, "another process holds"},
        {-EPERM, DAYBOOK_EPERMISSION, "cannot lock"},
        {-EACCES, DAYBOOK_EPERMISSION, "cannot lock"},
        {-EMFILE, DAYBOOK_EMFILE, "cannot lock"},
        {-ENOLCK, DAYBOOK_EIO, "file system that has locks"},
        {-ENOMEM, DAYBOOK_ENOMEM, "cannot lock"},
    };
    daybook_vfs vfs = *daybook_vfs_posix();
    vfs.lock = fail_to_lock;
    dbk_target_options options = {.allocator = dbk_allocator_default(), .vfs = &vfs};
    dbk_target *target, *shadow;
    assert_model_ok(at, dbk_target_open(at->database, &options, &target, &at->error));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lock_result = cases[i].result;
        assert_model(at, target->calls->claim(target, "order_totals", "test", 1, &at->error),
                     cases[i].status);
        assert_non_null(strstr(at->error.message, cases[i].words));
        assert_non_null(strstr(at->error.message, "model.db-projection-order_totals"));
        assert_int_equal(target->failure.kind, DBK_FAILURE_FATAL);
        assert_model(at, target->calls->shadow_open(target, "order_totals", &shadow, &at->error),
                     cases[i].status);
    }
    lock_result = 0; // and nothing stands in the way afterwards
    assert_model_ok(at, target->calls->claim(target, "order_totals", "test", 1, &at->error));
    target->calls->close(target);
}

static void unknown_databases_are_refused(void **context) {
    model *at = *context;
    daybook_read_model *read_model;
    assert_model(at, daybook_read_model_open("mysql://u:secret@h/d", NULL, &read_model, &at->error),
                 DAYBOOK_EINVALID);
    assert_non_null(strstr(at->error.message, "'mysql://"));
    assert_null(strstr(at->error.message, "secret"));
    assert_model(at, daybook_read_model_open("sqlite:", NULL, &read_model, &at->error), DAYBOOK_EINVALID);
    assert_model(at, daybook_read_model_open(at->database, NULL, &read_model, &at->error), DAYBOOK_ENOTFOUND);
    assert_int_equal(access(at->path, F_OK), -1);
    assert_false(daybook_projection_can("mysql"));
    assert_true(daybook_projection_can("sqlite"));
}

static void a_table_dropped_under_it_stops_the_run(void **context) {
    model *at = *context;
    model_append_many(at, 10, 2);
    model_run(at, NULL, DAYBOOK_OK);
    model_execute(at, "DROP TABLE order_totals");
    model_append(at, "orders.5.placed", "{}");
    model_run(at, NULL, DAYBOOK_EINVALID);
    assert_non_null(strstr(at->error.message, "no such table: order_totals"));
    assert_asks(at, "SELECT count(*) FROM daybook_parked", "0");
    assert_asks(at, "SELECT position FROM daybook_projection", "10");
}

static void a_table_dropped_while_it_runs_parks_nothing(void **context) {
    model *at = *context;
    model_thread thread;
    daybook_projection *projection = model_projection(at, NULL);
    model_append_many(at, 10, 2);
    model_start(at, &thread, projection, DAYBOOK_PROJECTION_FOLLOW);
    model_wait_caught_up(at, projection);
    model_execute(at, "DROP TABLE order_totals");
    model_append(at, "orders.5.placed", "{}");
    pthread_join(thread.thread, NULL);
    assert_int_equal(thread.status, DAYBOOK_EINVALID);
    daybook_projection_free(projection);
    assert_asks(at, "SELECT count(*) FROM daybook_parked", "0");
}

static void a_row_dropped_under_it_stops_the_run(void **context) {
    model *at = *context;
    model_thread thread;
    daybook_projection *projection = model_projection(at, NULL);
    model_append_many(at, 10, 2);
    model_start(at, &thread, projection, DAYBOOK_PROJECTION_FOLLOW);
    model_wait_caught_up(at, projection);
    model_execute(at, "DELETE FROM daybook_projection");
    pthread_join(thread.thread, NULL);
    assert_int_equal(thread.status, DAYBOOK_ENOTFOUND);
    daybook_projection_free(projection);
}

static void a_stream_removed_meanwhile_is_no_failure(void **context) {
    model *at = *context;
    model_thread thread;
    daybook_projection *projection = model_projection(at, NULL);
    model_append_many(at, 100, 10);
    model_start(at, &thread, projection, DAYBOOK_PROJECTION_FOLLOW);
    model_wait_caught_up(at, projection);
    assert_model_ok(at, daybook_stream_remove(at->store, daybook_text("ORDERS"), &at->error));
    model_append(at, "other.1.happened", "{}");
    wait_until(strcmp(model_ask(at, "SELECT position FROM daybook_projection"), "101") == 0);
    assert_model_ok(at, model_stop(&thread));
    daybook_projection_free(projection);
    assert_asks(at, "SELECT count(*) FROM order_totals", "10");
}

// An engine over the store's that finds a block damaged.

typedef struct damaged_cursor {
    daybook_engine_cursor base;
    daybook_engine_cursor *inner;
    int event_count;
    int is_reverse;
} damaged_cursor;

static daybook_engine *inner_engine;
static daybook_engine_calls damaged_calls;
static damaged_cursor cursors[16];
static int cursor_count;

static daybook_status damaged_read(daybook_engine *engine, const daybook_query *query,
                                   daybook_engine_cursor **cursor_out, daybook_error *error) {
    (void)engine;
    damaged_cursor *made = &cursors[cursor_count++ % 16];
    made->base.calls = &damaged_calls;
    made->event_count = 0;
    made->is_reverse = (query->flags & DAYBOOK_QUERY_REVERSE) != 0;
    *cursor_out = &made->base;
    return daybook_engine_read(inner_engine, query, &made->inner, error);
}

static daybook_status damaged_next(daybook_engine_cursor *cursor, int timeout_ms,
                                   daybook_recorded_event *event_out, daybook_error *error) {
    damaged_cursor *of = (damaged_cursor *)cursor;
    if (!of->is_reverse && of->event_count++ == 30) {
        snprintf(error->message, sizeof error->message, "block at 4711 is damaged");
        error->status = DAYBOOK_EDAMAGED;
        return DAYBOOK_EDAMAGED;
    }
    return daybook_engine_next(of->inner, timeout_ms, event_out, error);
}

static void damaged_close(daybook_engine_cursor *cursor) {
    daybook_engine_cursor_close(((damaged_cursor *)cursor)->inner);
}

static void a_damaged_store_stops_it_in_front_of_the_damage(void **context) {
    model *at = *context;
    model_append_many(at, 100, 10);
    inner_engine = daybook_store_engine(at->store);
    damaged_calls = *inner_engine->calls;
    damaged_calls.read = damaged_read;
    damaged_calls.next = damaged_next;
    damaged_calls.cursor_close = damaged_close;
    damaged_calls.get_info = NULL;
    daybook_engine damaged = *inner_engine;
    damaged.calls = &damaged_calls;
    daybook_projection_definition definition;
    daybook_projection_definition_init(&definition);
    definition.sql = daybook_text(model_sql);
    daybook_projection *projection;
    assert_model_ok(at, daybook_projection_new(&damaged, &definition, at->database, &at->options, &projection,
                                               &at->error));
    assert_model(at, daybook_projection_run(projection, 0, &at->error), DAYBOOK_EDAMAGED);
    assert_string_equal(at->error.message, "block at 4711 is damaged");
    assert_asks(at, "SELECT error FROM daybook_projection", "block at 4711 is damaged");
    assert_asks(at, "SELECT position || ' ' || event_count FROM daybook_projection", "30 30");
    daybook_projection_free(projection);
    model_run(at, NULL, DAYBOOK_OK);
    assert_asks(at, "SELECT error FROM daybook_projection", "");
    model_compare_with_fold(at);
}

static void a_reason_that_is_over_is_cleared(void **context) {
    model *at = *context;
    model_append_many(at, 10, 2);
    model_run(at, NULL, DAYBOOK_OK);
    model_execute(at, "UPDATE daybook_projection SET error = 'long ago'");
    model_run(at, NULL, DAYBOOK_OK);
    assert_asks(at, "SELECT position || error FROM daybook_projection", "10");
}

// Memory.

static daybook_status run_with(model *at, const daybook_allocator *allocator, int is_rebuild) {
    at->options.allocator = allocator;
    daybook_projection_definition definition;
    daybook_projection_definition_init(&definition);
    definition.sql = daybook_text(model_sql);
    daybook_projection *projection;
    daybook_status status = daybook_projection_new(daybook_store_engine(at->store), &definition, at->database,
                                                   &at->options, &projection, &at->error);
    if (status == DAYBOOK_OK && is_rebuild)
        status = daybook_projection_rebuild(projection, &at->error);
    else if (status == DAYBOOK_OK)
        status = daybook_projection_run(projection, 0, &at->error);
    daybook_projection_free(projection);
    at->options.allocator = NULL;
    return status;
}

static void fail_each_allocation(model *at, int is_rebuild) {
    fault_allocator faults;
    fault_allocator_init(&faults);
    model_append_many(at, 60, 8);
    model_append(at, "orders.1.placed", "{}"); // parked
    model_append(at, "orders.1.paid", "{}");
    model_append(at, "orders.2.added", "no JSON");
    for (uint64_t n = 1;; n++) {
        assert_true(n < 5000);
        fault_allocator_fail(&faults, n, false);
        daybook_status status = run_with(at, &faults.allocator, is_rebuild);
        assert_int_equal(fault_allocator_live(&faults), 0);
        if (!fault_allocator_has_failed(&faults)) {
            assert_model_ok(at, status);
            break;
        }
        if (status != DAYBOOK_OK) assert_model(at, status, DAYBOOK_ENOMEM);
    }
    assert_asks(at, "SELECT position FROM daybook_projection", "63");
    assert_asks(at, "SELECT group_concat(position || ':' || behind) FROM daybook_parked", "61:0,62:61,63:0");
    assert_asks(at, "SELECT event_count FROM daybook_projection", "60");
}

static void memory_may_run_out_anywhere_in_a_run(void **context) {
    fail_each_allocation(*context, 0);
}

static void memory_may_run_out_anywhere_in_a_rebuild(void **context) {
    fail_each_allocation(*context, 1);
}

static void memory_may_run_out_while_requests_are_granted(void **context) {
    model *at = *context;
    fault_allocator faults;
    fault_allocator_init(&faults);
    model_append(at, "orders.1.placed", "{}");
    model_append(at, "orders.1.placed", "{}");
    model_append(at, "orders.1.paid", "{}");
    model_append(at, "orders.2.added", "no JSON");
    model_run(at, NULL, DAYBOOK_OK);
    for (uint64_t n = 1;; n++) {
        assert_true(n < 5000);
        model_execute(at, "UPDATE daybook_parked SET request = 1 WHERE behind = 0");
        fault_allocator_fail(&faults, n, false);
        daybook_status status = run_with(at, &faults.allocator, 0);
        assert_int_equal(fault_allocator_live(&faults), 0);
        if (!fault_allocator_has_failed(&faults)) break;
        if (status != DAYBOOK_OK) assert_model(at, status, DAYBOOK_ENOMEM);
    }
    assert_asks(at, "SELECT group_concat(position || ':' || behind || ':' || request) FROM daybook_parked",
                "2:0:0,3:2:0,4:0:0");
}

static void memory_of_a_read_model_may_run_out(void **context) {
    model *at = *context;
    fault_allocator faults;
    daybook_read_model *read_model;
    fault_allocator_init(&faults);
    model_run(at, NULL, DAYBOOK_OK);
    for (uint64_t n = 1;; n++) {
        fault_allocator_fail(&faults, n, false);
        daybook_status status =
            daybook_read_model_open(at->database, &faults.allocator, &read_model, &at->error);
        if (status == DAYBOOK_OK) status = daybook_read_model_pause(read_model, "order_totals", &at->error);
        daybook_read_model_close(read_model);
        assert_int_equal(fault_allocator_live(&faults), 0);
        if (!fault_allocator_has_failed(&faults)) break;
        assert_model(at, status, DAYBOOK_ENOMEM);
    }
    assert_asks(at, "SELECT state FROM daybook_projection", "1");
}

static int register_vfs(void **context) {
    (void)context;
    faulty_vfs_register();
    return 0;
}

#define MODEL_TEST(function) \
    { #function, function, model_open, model_close, NULL }

int main(void) {
    const struct CMUnitTest tests[] = {
        MODEL_TEST(a_locked_database_is_waited_for),
        MODEL_TEST(a_limit_of_retries_ends_the_run),
        MODEL_TEST(waiting_for_a_lock_can_be_interrupted),
        MODEL_TEST(a_full_disk_is_waited_for),
        MODEL_TEST(every_write_may_find_no_room),
        MODEL_TEST(every_write_and_sync_may_fail),
        MODEL_TEST(every_write_of_a_rebuild_may_fail),
        MODEL_TEST(a_database_removed_under_it_is_noticed),
        MODEL_TEST(a_file_that_is_no_database_is_left_alone),
        MODEL_TEST(a_missing_directory_is_said),
        MODEL_TEST(a_lock_that_cannot_be_taken_is_not_called_held),
        MODEL_TEST(unknown_databases_are_refused),
        MODEL_TEST(a_table_dropped_under_it_stops_the_run),
        MODEL_TEST(a_table_dropped_while_it_runs_parks_nothing),
        MODEL_TEST(a_row_dropped_under_it_stops_the_run),
        MODEL_TEST(a_stream_removed_meanwhile_is_no_failure),
        MODEL_TEST(a_damaged_store_stops_it_in_front_of_the_damage),
        MODEL_TEST(a_reason_that_is_over_is_cleared),
        MODEL_TEST(memory_may_run_out_anywhere_in_a_run),
        MODEL_TEST(memory_may_run_out_anywhere_in_a_rebuild),
        MODEL_TEST(memory_may_run_out_while_requests_are_granted),
        MODEL_TEST(memory_of_a_read_model_may_run_out),
    };
    return cmocka_run_group_tests_name("projection/faults", tests, register_vfs, NULL);
}
