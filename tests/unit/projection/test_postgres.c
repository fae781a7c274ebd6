// SPDX-License-Identifier: Apache-2.0
// PostgreSQL as a target: connecting, what is committed, what fails and how it is told.
#include "postgres_model.h"

#include "base/bytes.h"

static void rows_and_checkpoint_are_one_transaction(void **context) {
    postgres_model *at = *context;
    const dbk_target_calls *calls = at->target->calls;
    postgres_start(at, postgres_orders_sql);
    assert_ok(at, calls->begin(at->target, &at->error));
    assert_ok(at, postgres_apply(at, at->target, "orders.1.placed", "{\"total\":10.50}"));
    assert_ok(at, postgres_apply(at, at->target, "orders.2.placed", "{\"total\":1e3}"));
    assert_ok(at, postgres_apply(at, at->target, "orders.1.paid", "{}"));
    assert_asks(at, "SELECT count(*) FROM orders", "0");
    assert_ok(at, postgres_commit(at, at->target, 3));
    assert_asks(
        at, "SELECT string_agg(format('%s %s %s', id, round(total, 2), paid), ', ' ORDER BY id) FROM orders",
        "1 10.50 t, 2 1000.00 f, bonus-1 1.05 f");
    assert_asks(
        at, "SELECT format('%s %s %s %s', position, event_count, state, instance) FROM daybook_projection",
        "3 3 0 one");

    assert_ok(at, calls->begin(at->target, &at->error));
    assert_ok(at, postgres_apply(at, at->target, "orders.3.placed", "{\"total\":1}"));
    calls->rollback(at->target);
    assert_asks(at, "SELECT count(*) FROM orders", "3");

    dbk_progress found;
    assert_ok(at, calls->load(at->target, "orders", &found, &at->error));
    assert_int_equal(found.position, 3);
    assert_string_equal(found.hash, at->progress.hash);
    assert_status(at, calls->load(at->target, "other", &found, &at->error), DAYBOOK_ENOTFOUND);
}

static void batches_of_any_size_pass_through_the_pipeline(void **context) {
    postgres_model *at = *context;
    postgres_start(
        at, "-- projection: log\n-- version: 1\n-- events: >\n-- [setup]\nCREATE TABLE log (note text);\n"
            "-- [on >]\nINSERT INTO log VALUES (:data.note);\n"
            "SELECT repeat('x', 1000) FROM generate_series(1, 10) WHERE :data.note::text <> '';\n");
    // Answers of 10 kB each: neither side may stand with full buffers.
    static char data[2100];
    (void)snprintf(data, sizeof data, "{\"note\":\"%0*d\"}", 2000, 7);
    static const int sizes[] = {0, 1, 63, 64, 65, 3000};
    int total = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        dbk_step step = postgres_step(at, "a.b", data);
        assert_ok(at, at->target->calls->begin(at->target, &at->error));
        for (int n = 0; n < sizes[i]; n++)
            assert_ok(at, at->target->calls->apply(at->target, &step, 1, &at->error));
        assert_ok(at, postgres_commit(at, at->target, (uint64_t)sizes[i] + 1));
        total += sizes[i];
    }
    char expected[24];
    (void)snprintf(expected, sizeof expected, "%d", total);
    assert_asks(at, "SELECT count(*) FROM log", expected);
}

// Failures of events.

static void the_event_that_fails_is_named(void **context) {
    postgres_model *at = *context;
    const dbk_target_calls *calls = at->target->calls;
    static const struct {
        const char *subject, *data, *sqlstate, *words;
    } wrong[] = {
        {"orders.5.placed", "{\"total\":1}", "23505",
         "model.sql:7:1: PostgreSQL database postgres: duplicate key"},
        {"orders.x.placed", "{\"total\":\"much\"}", "22P02",
         "invalid input syntax for type numeric: \"much\""},
        {"orders.x.placed", "{}", "23502", "null value in column \"total\""},
        {"orders.5.paid", "{}", "23505", "model.sql:10:1"},
    };
    postgres_start(at, postgres_orders_sql);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_ok(at, calls->begin(at->target, &at->error));
        daybook_status status = DAYBOOK_OK;
        // A bonus is there already, so that paying 5 fails in its second statement.
        for (int n = 0; n < 200 && status == DAYBOOK_OK; n++) {
            char subject[40];
            (void)snprintf(subject, sizeof subject, n == 20 ? "orders.bonus-5.placed" : "orders.%d.placed",
                           n);
            status = n == 150 ? postgres_apply(at, at->target, wrong[i].subject, wrong[i].data)
                              : postgres_apply(at, at->target, subject, "{\"total\":3}");
        }
        if (status == DAYBOOK_OK) status = postgres_commit(at, at->target, 200);
        assert_status(at, status, DAYBOOK_EINVALID);
        assert_failure(at->target, EVENT, wrong[i].sqlstate);
        assert_int_equal(at->target->failure.step, 150);
        assert_says(at, wrong[i].words);
        calls->rollback(at->target);
        assert_asks(at, "SELECT count(*) FROM orders", "0");
        assert_asks(at, "SELECT position FROM daybook_projection", "0");
    }
}

static void a_savepoint_takes_back_one_event(void **context) {
    postgres_model *at = *context;
    const dbk_target_calls *calls = at->target->calls;
    static const char *const totals[] = {"{\"total\":1}", "{\"total\":\"no\"}", "{\"total\":3}", "{}",
                                         "{\"total\":5}"};
    postgres_start(at, postgres_orders_sql);
    assert_ok(at, calls->begin(at->target, &at->error));
    for (int n = 0; n < 5; n++) {
        char subject[40];
        (void)snprintf(subject, sizeof subject, "orders.%d.placed", n);
        assert_ok(at, calls->savepoint(at->target, &at->error));
        daybook_status status = postgres_apply(at, at->target, subject, totals[n]);
        if (status == DAYBOOK_OK) status = calls->savepoint_release(at->target, &at->error);
        assert_status(at, status, n % 2 == 0 ? DAYBOOK_OK : DAYBOOK_EINVALID);
        if (status == DAYBOOK_OK) continue;
        assert_failure(at->target, EVENT, n == 1 ? "22P02" : "23502");
        assert_int_equal(at->target->failure.step, 0);
        assert_ok(at, calls->savepoint_rollback(at->target, &at->error));
    }
    assert_ok(at, postgres_commit(at, at->target, 5));
    assert_asks(at, "SELECT string_agg(id, ' ' ORDER BY id) FROM orders", "0 2 4");
}

static void what_only_the_commit_refuses_is_of_an_event(void **context) {
    postgres_model *at = *context;
    postgres_start(at, "-- projection: p\n-- version: 1\n-- events: >\n-- [setup]\n"
                       "CREATE TABLE parent (id text PRIMARY KEY);\n"
                       "CREATE TABLE child (id text REFERENCES parent DEFERRABLE INITIALLY DEFERRED);\n"
                       "-- [on a.child]\nINSERT INTO child VALUES (:data.id);\n"
                       "-- [on a.parent]\nINSERT INTO parent VALUES (:data.id);\n");
    assert_ok(at, at->target->calls->begin(at->target, &at->error));
    assert_ok(at, postgres_apply(at, at->target, "a.child", "{\"id\":\"1\"}"));
    assert_ok(at, postgres_apply(at, at->target, "a.parent", "{\"id\":\"1\"}"));
    assert_ok(at, postgres_commit(at, at->target, 2));
    assert_ok(at, at->target->calls->begin(at->target, &at->error));
    assert_ok(at, postgres_apply(at, at->target, "a.child", "{\"id\":\"2\"}"));
    assert_status(at, postgres_commit(at, at->target, 1), DAYBOOK_EINVALID);
    assert_failure(at->target, EVENT, "23503");
    assert_int_equal(at->target->failure.step, DBK_FAILURE_STEP_NONE);
    at->target->calls->rollback(at->target);
    assert_asks(at, "SELECT count(*) FROM child", "1");
}

// Every kind of failure a statement can meet, raised as the server would.
static void failures_go_by_sqlstate(void **context) {
    postgres_model *at = *context;
    static const struct {
        const char *sqlstate;
        dbk_failure_kind kind;
        daybook_status status;
    } kinds[] = {
        {"40001", DBK_FAILURE_TRANSIENT, DAYBOOK_ELOCKED}, {"40P01", DBK_FAILURE_TRANSIENT, DAYBOOK_ELOCKED},
        {"53100", DBK_FAILURE_TRANSIENT, DAYBOOK_ENOSPC},  {"53200", DBK_FAILURE_TRANSIENT, DAYBOOK_ENOMEM},
        {"53300", DBK_FAILURE_TRANSIENT, DAYBOOK_EMFILE},  {"53400", DBK_FAILURE_TRANSIENT, DAYBOOK_EMFILE},
        {"55P03", DBK_FAILURE_TRANSIENT, DAYBOOK_ELOCKED}, {"55006", DBK_FAILURE_TRANSIENT, DAYBOOK_ELOCKED},
        {"57014", DBK_FAILURE_TRANSIENT, DAYBOOK_ELOCKED}, {"57P01", DBK_FAILURE_TRANSIENT, DAYBOOK_EIO},
        {"08006", DBK_FAILURE_TRANSIENT, DAYBOOK_EIO},     {"25006", DBK_FAILURE_FATAL, DAYBOOK_EREADONLY},
        {"22012", DBK_FAILURE_EVENT, DAYBOOK_EINVALID},    {"23514", DBK_FAILURE_EVENT, DAYBOOK_EINVALID},
        {"21000", DBK_FAILURE_EVENT, DAYBOOK_EINVALID},    {"44000", DBK_FAILURE_EVENT, DAYBOOK_EINVALID},
        {"54000", DBK_FAILURE_EVENT, DAYBOOK_EINVALID},    {"P0001", DBK_FAILURE_EVENT, DAYBOOK_EINVALID},
        {"40002", DBK_FAILURE_EVENT, DAYBOOK_EINVALID},    {"42P01", DBK_FAILURE_FATAL, DAYBOOK_EINVALID},
        {"42501", DBK_FAILURE_FATAL, DAYBOOK_EPERMISSION}, {"58030", DBK_FAILURE_FATAL, DAYBOOK_EIO},
        {"XX001", DBK_FAILURE_FATAL, DAYBOOK_EDAMAGED},    {"XX000", DBK_FAILURE_FATAL, DAYBOOK_EIO},
        {"0A000", DBK_FAILURE_FATAL, DAYBOOK_EINVALID},
    };
    postgres_start(
        at, "-- projection: p\n-- version: 1\n-- events: >\n-- [setup]\n"
            "CREATE FUNCTION raise(code text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE 'as asked'"
            " USING ERRCODE = code, DETAIL = 'why not'; END $$;\n"
            "-- [on a.raise]\nSELECT raise(:data.code);\n");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char data[40];
        (void)snprintf(data, sizeof data, "{\"code\":\"%s\"}", kinds[i].sqlstate);
        assert_ok(at, at->target->calls->begin(at->target, &at->error));
        daybook_status status = postgres_apply(at, at->target, "a.raise", data);
        if (status == DAYBOOK_OK) status = postgres_commit(at, at->target, 1);
        assert_status(at, status, kinds[i].status);
        assert_string_equal(at->target->failure.code, kinds[i].sqlstate);
        assert_int_equal(at->target->failure.kind, kinds[i].kind);
        assert_says(at, "model.sql:7:1: PostgreSQL database postgres: as asked (why not)");
        at->target->calls->rollback(at->target);
        assert_asks(at, "SELECT position FROM daybook_projection", "0");
    }
}

// Opening.

static void opening_says_what_is_wrong(void **context) {
    postgres_model *at = *context;
    dbk_target *target;
    char url[600];
    at->options.failure = &at->failure;
    static const struct {
        const char *url;
        daybook_status status;
        dbk_failure_kind kind;
    } wrong[] = {
        {"postgresql://[", DAYBOOK_EINVALID, DBK_FAILURE_FATAL},
        {"postgresql:host=/nowhere colour=red", DAYBOOK_EINVALID, DBK_FAILURE_FATAL},
        {"postgresql:host=/nowhere password=secret", DAYBOOK_EIO, DBK_FAILURE_TRANSIENT},
        {"postgresql://user:secret@127.0.0.1:1/x", DAYBOOK_EIO, DBK_FAILURE_TRANSIENT},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_status(at, dbk_target_open(wrong[i].url, &at->options, &target, &at->error), wrong[i].status);
        assert_null(target);
        assert_int_equal(at->failure.kind, wrong[i].kind);
        assert_null(strstr(at->error.message, "secret"));
    }
    (void)snprintf(url, sizeof url, "%s&dbname=nosuch", postgres.url);
    assert_status(at, dbk_target_open(url, &at->options, &target, &at->error), DAYBOOK_ENOTFOUND);
    assert_int_equal(at->failure.kind, DBK_FAILURE_FATAL);
    assert_string_equal(at->failure.code, "3D000");
    assert_says(at, "database \"nosuch\" does not exist");
    (void)snprintf(url, sizeof url, "%s&user=nobody_we_know", postgres.url);
    assert_status(at, dbk_target_open(url, &at->options, &target, &at->error), DAYBOOK_EPERMISSION);
    assert_string_equal(at->failure.code, "28000");

    at->options.is_read_only = true;
    target = postgres_connect(at, "");
    at->options.is_read_only = false;
    assert_status(at, target->calls->ensure(target, &at->error), DAYBOOK_EREADONLY);
    target->calls->close(target);
}

// The session is set up, but what somebody chose stays.
static void settings_of_the_user_stay(void **context) {
    postgres_model *at = *context;
    assert_ok(at, at->target->calls->claim(at->target, "orders", "one", 1, &at->error));
    assert_asks(at,
                "SELECT application_name FROM pg_stat_activity WHERE application_name LIKE 'daybook one%'",
                "daybook one orders");
    dbk_target *target = postgres_connect(at, "options=-clock_timeout%3D100ms");
    (void)postgres_ask(at, "CREATE TABLE t (n integer)");
    (void)postgres_ask(at, "BEGIN; LOCK TABLE t");
    assert_ok(at, target->calls->begin(target, &at->error));
    uint64_t row_count;
    assert_status(at,
                  target->calls->execute(target, daybook_text("INSERT INTO t VALUES (1)"), NULL, 0,
                                         &row_count, &at->error),
                  DAYBOOK_ELOCKED);
    assert_failure(target, TRANSIENT, "55P03");
    assert_false(target->failure.is_lost);
    target->calls->rollback(target);
    (void)postgres_ask(at, "ROLLBACK");
    assert_ok(at, target->calls->begin(target, &at->error));
    assert_ok(at, target->calls->execute(target, daybook_text("INSERT INTO t VALUES (1)"), NULL, 0,
                                         &row_count, &at->error));
    target->calls->rollback(target);
    target->calls->close(target);
}

// Memory is out at every place once: told, and the next transaction is right.
static void memory_running_out_is_told(void **context) {
    postgres_model *at = *context;
    const dbk_target_calls *calls = at->target->calls;
    postgres_start(at, postgres_orders_sql);
    uint64_t nth = 0;
    do {
        fault_allocator_fail(&at->faults, ++nth, false);
        dbk_target *target = NULL;
        char url[600];
        (void)snprintf(url, sizeof url, "%s", postgres.url);
        daybook_status status = dbk_target_open(url, &at->options, &target, &at->error);
        if (status == DAYBOOK_OK) status = calls->prepare(target, at->definition, &at->error);
        if (status == DAYBOOK_OK) status = calls->begin(target, &at->error);
        for (int n = 0; status == DAYBOOK_OK && n < 1100; n++)
            status = postgres_apply(at, target, "orders.1.paid", "{}");
        dbk_value value = {.kind = DBK_VALUE_INTEGER, .integer = 1};
        if (status == DAYBOOK_OK)
            status = calls->execute(target, daybook_text("SELECT $1::integer"), &value, 1, NULL, &at->error);
        if (status == DAYBOOK_OK) status = calls->commit(target, &at->error);
        if (status != DAYBOOK_OK && target != NULL) calls->rollback(target);
        if (fault_allocator_has_failed(&at->faults)) assert_status(at, status, DAYBOOK_ENOMEM);
        if (target != NULL) calls->close(target);
    } while (fault_allocator_has_failed(&at->faults));
    assert_true(nth > 8);
    fault_allocator_fail(&at->faults, 0, false);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, postgres_open, postgres_close)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(rows_and_checkpoint_are_one_transaction),
        TEST(batches_of_any_size_pass_through_the_pipeline),
        TEST(the_event_that_fails_is_named),
        TEST(a_savepoint_takes_back_one_event),
        TEST(what_only_the_commit_refuses_is_of_an_event),
        TEST(failures_go_by_sqlstate),
        TEST(opening_says_what_is_wrong),
        TEST(settings_of_the_user_stay),
        TEST(memory_running_out_is_told),
    };
    if (!postgres_begin()) return 77;
    int failed = cmocka_run_group_tests_name("postgres", tests, NULL, NULL);
    postgres_end();
    return failed;
}
