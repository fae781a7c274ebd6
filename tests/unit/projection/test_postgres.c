// SPDX-License-Identifier: Apache-2.0
// PostgreSQL as a target: what is committed, what fails and how it is told, who is in charge.
#include "postgres_model.h"

#include "base/bytes.h"

static const char orders_sql[] = "-- projection: orders\n"
                                 "-- version: 1\n"
                                 "-- events: orders.>\n"
                                 "-- [setup]\n"
                                 "CREATE TABLE orders (id text PRIMARY KEY, total numeric NOT NULL, paid "
                                 "boolean NOT NULL DEFAULT false);\n"
                                 "-- [on type placed]\n"
                                 "INSERT INTO orders (id, total) VALUES (:aggregate_id, :data.total);\n"
                                 "-- [on type paid]\n"
                                 "UPDATE orders SET paid = true WHERE id = :aggregate_id;\n"
                                 "INSERT INTO orders (id, total) SELECT 'bonus-' || id, total / 10 FROM "
                                 "orders WHERE id = :aggregate_id;\n";

static void rows_and_checkpoint_are_one_transaction(void **context) {
    postgres_model *at = *context;
    const dbk_target_calls *calls = at->target->calls;
    postgres_start(at, orders_sql);
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

static const char values_sql[] = "-- projection: vals\n-- version: 1\n-- events: >\n-- [setup]\n"
                                 "CREATE TABLE vals (n integer, big bigint, d numeric, b boolean, t text, j "
                                 "jsonb, raw bytea, at timestamptz,"
                                 " missing text, subject varchar(200));\n"
                                 "-- [on a.put]\n"
                                 "INSERT INTO vals VALUES (:data.n, :data.big, :data.d, :data.b, :data.t, "
                                 ":data.j, :bytes, :time, :data.none,"
                                 " :subject);\n";

static const char values_data[] =
    "{\"n\":-7,\"big\":9007199254740993,\"d\":0.10000000000000000000001,\"b\":true,"
    "\"t\":\"tab\\t quote' back\\\\slash\\nline \xc3\xa4 \\\\N\",\"j\":{\"a\":[1,null,\"\\\\x\"]}}";

static void values_arrive_as_they_are(void **context) {
    postgres_model *at = *context;
    postgres_start(at, values_sql);
    assert_ok(at, at->target->calls->begin(at->target, &at->error));
    assert_ok(at, postgres_apply(at, at->target, "a.put", values_data));
    assert_ok(at, postgres_apply(at, at->target, "a.put", "{}"));
    assert_ok(at, postgres_commit(at, at->target, 2));
    assert_asks(at, "SELECT format('%s|%s|%s|%s|%s', n, big, d, b, j) FROM vals WHERE n IS NOT NULL",
                "-7|9007199254740993|0.10000000000000000000001|t|{\"a\": [1, null, \"\\\\x\"]}");
    assert_asks(at, "SELECT t FROM vals WHERE n IS NOT NULL", "tab\t quote' back\\slash\nline \xc3\xa4 \\N");
    assert_asks(at, "SELECT convert_from(raw, 'UTF8') FROM vals WHERE n IS NOT NULL", values_data);
    assert_asks(at, "SELECT at AT TIME ZONE 'UTC' FROM vals LIMIT 1", "2023-11-14 22:13:20.123457");
    assert_asks(at, "SELECT count(*) FROM vals WHERE missing IS NULL AND subject = 'a.put'", "2");
    assert_asks(at, "SELECT count(*) FROM vals WHERE n IS NULL AND t IS NULL AND j IS NULL AND b IS NULL",
                "1");
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
    postgres_start(at, orders_sql);
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

static void bytes_are_no_text(void **context) {
    postgres_model *at = *context;
    postgres_start(at, "-- projection: p\n-- version: 1\n-- events: >\n-- [setup]\nCREATE TABLE t (s text);\n"
                       "-- [on >]\nINSERT INTO t VALUES (:bytes);\n");
    dbk_step step = postgres_step(at, "a.b", "whole");
    dbk_value values[] = {{.kind = DBK_VALUE_BLOB, .text = daybook_bytes("cut\0off", 7)}};
    assert_ok(at, at->target->calls->begin(at->target, &at->error));
    assert_ok(at, at->target->calls->apply(at->target, &step, 1, &at->error));
    step.values = values;
    daybook_status status = at->target->calls->apply(at->target, &step, 1, &at->error);
    if (status == DAYBOOK_OK) status = postgres_commit(at, at->target, 2);
    assert_status(at, status, DAYBOOK_EINVALID);
    assert_failure(at->target, EVENT, "22021");
    assert_int_equal(at->target->failure.step, 1);
    assert_says(at, "model.sql:7: ");
    at->target->calls->rollback(at->target);
}

static void a_savepoint_takes_back_one_event(void **context) {
    postgres_model *at = *context;
    const dbk_target_calls *calls = at->target->calls;
    static const char *const totals[] = {"{\"total\":1}", "{\"total\":\"no\"}", "{\"total\":3}", "{}",
                                         "{\"total\":5}"};
    postgres_start(at, orders_sql);
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

// Statements.

static void a_wrong_statement_is_told_with_its_place(void **context) {
    postgres_model *at = *context;
    static const struct {
        const char *statement, *words;
        daybook_status status;
    } wrong[] = {
        {"INSERT INTO t (id,\n  \xc3\xa4, nowhere) VALUES (1, 2, 3)", "model.sql:8:7: ", DAYBOOK_EINVALID},
        {"INSERT INTO missing VALUES (:data.x)", "model.sql:7:13: ", DAYBOOK_EINVALID},
        {"INSERT INTO t (id) VALUES (:data.some.long.path, 1)", "model.sql:7:50: ", DAYBOOK_EINVALID},
        {"SELECT * FROM t WHERE :data.x IS NULL", "write its type behind it", DAYBOOK_EINVALID},
        {"INSERT INTO t VALUES ($1)", "in the writing of PostgreSQL", DAYBOOK_EINVALID},
        {"UPDATE t SET id = nosuch(:data.x)", "model.sql:7:19: ", DAYBOOK_EINVALID},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char sql[600];
        (void)snprintf(
            sql, sizeof sql,
            "-- projection: p%zu\n-- version: 1\n-- events: >\n-- [setup]\nCREATE TABLE IF NOT EXISTS t"
            " (id integer, \"\xc3\xa4\" text);\n-- [on >]\n%s;\n",
            i, wrong[i].statement);
        postgres_define(at, sql);
        assert_ok(at, at->target->calls->ensure(at->target, &at->error));
        assert_ok(at, at->target->calls->create(at->target, at->definition, &at->progress, &at->error));
        assert_status(at, at->target->calls->prepare(at->target, at->definition, &at->error),
                      wrong[i].status);
        assert_int_equal(at->target->failure.kind, DBK_FAILURE_FATAL);
        assert_says(at, wrong[i].words);
    }
}

static void a_wrong_setup_leaves_nothing(void **context) {
    postgres_model *at = *context;
    postgres_define(
        at, "-- projection: p\n-- version: 1\n-- events: >\n-- [setup]\nCREATE TABLE first (id integer);\n"
            "CREATE TABLE second (id nosuchtype);\n-- [on >]\nINSERT INTO first VALUES (1);\n");
    assert_ok(at, at->target->calls->ensure(at->target, &at->error));
    assert_status(at, at->target->calls->create(at->target, at->definition, &at->progress, &at->error),
                  DAYBOOK_EINVALID);
    assert_says(at, "model.sql:6:25: ");
    assert_failure(at->target, FATAL, "42704");
    assert_asks(at, "SELECT to_regclass('first')", "(null)");
    assert_asks(at, "SELECT count(*) FROM daybook_projection", "0");
}

// A plan made while a table was small must not scan it while it grows.
static void plans_stay_right_while_tables_grow(void **context) {
    postgres_model *at = *context;
    postgres_start(at, orders_sql);
    assert_ok(at, at->target->calls->begin(at->target, &at->error));
    assert_ok(at, postgres_apply(at, at->target, "orders.a.placed", "{\"total\":1}"));
    assert_ok(at, postgres_commit(at, at->target, 1));
    (void)postgres_ask(at, "ALTER TABLE orders SET (autovacuum_enabled = false); ANALYZE orders");
    for (int batch = 0; batch < 4; batch++) {
        assert_ok(at, at->target->calls->begin(at->target, &at->error));
        for (int n = 0; n < 500; n++) {
            char subject[40];
            (void)snprintf(subject, sizeof subject, "orders.%d-%d.placed", batch, n);
            assert_ok(at, postgres_apply(at, at->target, subject, "{\"total\":1}"));
            (void)snprintf(subject, sizeof subject, "orders.%d-%d.paid", batch, n);
            assert_ok(at, postgres_apply(at, at->target, subject, "{}"));
        }
        assert_ok(at, postgres_commit(at, at->target, 1000));
    }
    postgres_reconnect(at); // counts are told when a session ends
    for (int round = 0;
         round < 500 && strcmp(postgres_ask(at, "SELECT idx_scan >= 4000 FROM pg_stat_user_tables"
                                                " WHERE relname = 'orders'"),
                               "t") != 0;
         round++)
        (void)postgres_ask(at, "SELECT pg_sleep(0.01)");
    assert_asks(at, "SELECT seq_scan <= 3 FROM pg_stat_user_tables WHERE relname = 'orders'", "t");
}

// Callbacks.

static void callbacks_run_any_sql(void **context) {
    postgres_model *at = *context;
    const dbk_target_calls *calls = at->target->calls;
    uint64_t row_count = 99;
    postgres_start(at, orders_sql);
    (void)postgres_ask(at, "CREATE TABLE t (n bigint, r double precision, s text, b bytea, f boolean)");
    dbk_value values[] = {{.kind = DBK_VALUE_INTEGER, .integer = -5},
                          {.kind = DBK_VALUE_REAL, .real = 0.1},
                          {.kind = DBK_VALUE_TEXT, .text = daybook_bytes("it's\0", 4)},
                          {.kind = DBK_VALUE_BLOB, .text = daybook_bytes("\0\xff", 2)},
                          {.kind = DBK_VALUE_BOOLEAN, .integer = 1}};
    assert_ok(at, calls->begin(at->target, &at->error));
    for (int n = 0; n < 3; n++)
        assert_ok(at, calls->execute(at->target, daybook_text("INSERT INTO t VALUES ($1, $2, $3, $4, $5)"),
                                     values, 5, &row_count, &at->error));
    assert_int_equal(row_count, 1);
    assert_ok(at, calls->execute(at->target, daybook_text("UPDATE t SET n = n + 1"), NULL, 0, &row_count,
                                 &at->error));
    assert_int_equal(row_count, 3);
    // More statements than are kept prepared.
    for (int n = 0; n < 200; n++) {
        char sql[64];
        (void)snprintf(sql, sizeof sql, "UPDATE t SET r = %d WHERE n = $1", n % 100);
        dbk_value missing = {.kind = DBK_VALUE_NULL};
        assert_ok(at, calls->execute(at->target, daybook_text(sql), &missing, 1, &row_count, &at->error));
        assert_int_equal(row_count, 0);
    }
    assert_ok(at, postgres_commit(at, at->target, 1));
    assert_asks(at,
                "SELECT format('%s %s %s %s %s %s', count(*), min(n), min(r), min(s), min(encode(b, 'hex')),"
                " bool_and(f)) FROM t",
                "3 -4 0.1 it's 00ff t");

    assert_ok(at, calls->begin(at->target, &at->error));
    assert_ok(at, calls->savepoint(at->target, &at->error));
    assert_status(
        at,
        calls->execute(at->target, daybook_text("INSERT INTO t (n) VALUES (1/0)"), NULL, 0, NULL, &at->error),
        DAYBOOK_EINVALID);
    assert_failure(at->target, EVENT, "22012");
    assert_ok(at, calls->savepoint_rollback(at->target, &at->error));
    dbk_value nul = {.kind = DBK_VALUE_TEXT, .text = daybook_bytes("a\0b", 3)};
    assert_ok(at, calls->savepoint(at->target, &at->error));
    assert_status(
        at,
        calls->execute(at->target, daybook_text("INSERT INTO t (s) VALUES ($1)"), &nul, 1, NULL, &at->error),
        DAYBOOK_EINVALID);
    assert_ok(at, calls->savepoint_rollback(at->target, &at->error));
    assert_status(at, calls->execute(at->target, daybook_text("NONSENSE"), NULL, 0, NULL, &at->error),
                  DAYBOOK_EINVALID);
    assert_failure(at->target, FATAL, "42601");
    calls->rollback(at->target);
    assert_asks(at, "SELECT count(*) FROM t", "3");
}

// Who is in charge.

static void one_instance_is_in_charge(void **context) {
    postgres_model *at = *context;
    const dbk_target_calls *calls = at->target->calls;
    postgres_start(at, orders_sql);
    dbk_target *second = postgres_connect(at, "");
    assert_status(at, calls->claim(second, "orders", "two", 2, &at->error), DAYBOOK_ELOCKED);
    assert_says(at, "'orders'");
    assert_asks(at, "SELECT instance FROM daybook_projection", "one");
    // Another projection, and the same name in another schema, are somebody else's.
    assert_ok(at, calls->claim(second, "others", "two", 2, &at->error));
    (void)postgres_ask(at, "CREATE SCHEMA elsewhere");
    dbk_target *third = postgres_connect(at, "options=-csearch_path%3Delsewhere");
    assert_ok(at, calls->claim(third, "orders", "three", 2, &at->error));
    calls->close(third);
    calls->release(second);

    // Taken over while a batch is under way: it is not committed.
    assert_ok(at, calls->begin(at->target, &at->error));
    assert_ok(at, postgres_apply(at, at->target, "orders.1.placed", "{\"total\":1}"));
    (void)postgres_ask(at, "UPDATE daybook_projection SET instance = 'two'");
    assert_status(at, postgres_commit(at, at->target, 1), DAYBOOK_ECONFLICT);
    assert_failure(at->target, FENCED, "22012");
    calls->rollback(at->target);
    assert_asks(at, "SELECT count(*) FROM orders", "0");

    calls->release(at->target);
    assert_ok(at, calls->claim(second, "orders", "two", 2, &at->error));
    assert_status(at, calls->claim(at->target, "orders", "one", 2, &at->error), DAYBOOK_ELOCKED);
    calls->close(second);
    assert_ok(at, calls->claim(at->target, "orders", "one", 3, &at->error));
    assert_asks(at, "SELECT format('%s %s', instance, updated_ns) FROM daybook_projection", "one 3");
}

static void a_checkpoint_that_moved_fences(void **context) {
    postgres_model *at = *context;
    const dbk_target_calls *calls = at->target->calls;
    static const char *const moves[] = {"position = 7", "hash = 'other'", "name = 'other'"};
    postgres_start(at, orders_sql);
    for (size_t i = 0; i < sizeof moves / sizeof *moves; i++) {
        char sql[200];
        assert_ok(at, calls->begin(at->target, &at->error));
        assert_ok(at, postgres_apply(at, at->target, "orders.1.placed", "{\"total\":1}"));
        (void)snprintf(sql, sizeof sql, "BEGIN; UPDATE daybook_projection SET %s; SAVEPOINT s; COMMIT",
                       moves[i]);
        (void)postgres_ask(at, sql);
        assert_status(at, postgres_commit(at, at->target, 1), DAYBOOK_ECONFLICT);
        assert_failure(at->target, FENCED, "22012");
        calls->rollback(at->target);
        assert_asks(at, "SELECT count(*) FROM orders", "0");
        (void)snprintf(sql, sizeof sql,
                       "UPDATE daybook_projection SET name = 'orders', position = 0, hash = '%s'",
                       at->progress.hash);
        (void)postgres_ask(at, sql);
    }
    assert_ok(at, calls->begin(at->target, &at->error));
    assert_ok(at, postgres_commit(at, at->target, 1));
}

// Bookkeeping.

static int count_progress(void *context, const dbk_progress *progress) {
    char *names = context;
    (void)snprintf(names + strlen(names), 200 - strlen(names), "%s ", progress->name);
    return strlen(names) > 20;
}

static int note_parked(void *context, const dbk_parked *parked) {
    char *text = context;
    (void)snprintf(text + strlen(text), 400 - strlen(text), "%d:%.*s:%.*s:%d:%d ", (int)parked->position,
                   (int)parked->subject.size, (const char *)parked->subject.data, (int)parked->error.size,
                   (const char *)parked->error.data, (int)parked->behind, (int)parked->request);
    return 0;
}

static void books_are_kept(void **context) {
    postgres_model *at = *context;
    const dbk_target_calls *calls = at->target->calls;
    char text[400] = "";
    bool has_request = true;
    dbk_progress found;
    assert_status(at, calls->load(at->target, "orders", &found, &at->error), DAYBOOK_ENOTFOUND);
    assert_ok(at, calls->list(at->target, count_progress, text, &at->error));
    assert_ok(at, calls->parked(at->target, "orders", daybook_text(""), note_parked, text, &at->error));
    assert_status(at, calls->set_state(at->target, "orders", 1, "", 1, &at->error), DAYBOOK_ENOTFOUND);
    assert_string_equal(text, "");
    postgres_start(at, orders_sql);
    assert_ok(at, calls->ensure(at->target, &at->error));
    assert_status(at, calls->create(at->target, at->definition, &at->progress, &at->error), DAYBOOK_EEXISTS);
    assert_ok(at, calls->list(at->target, count_progress, text, &at->error));
    assert_string_equal(text, "orders ");
    assert_ok(at, calls->set_state(at->target, "orders", 1, "because", 77, &at->error));
    assert_ok(at, calls->load(at->target, "orders", &found, &at->error));
    assert_int_equal(found.state, 1);
    assert_string_equal(found.error, "because");

    dbk_parked parked = {.position = 4,
                         .stream = daybook_text("S"),
                         .subject = daybook_bytes("orders.4", 8),
                         .aggregate = daybook_text("orders.4"),
                         .error = daybook_bytes("it \0failed", 10),
                         .attempt_count = 1};
    assert_ok(at, calls->begin(at->target, &at->error));
    assert_ok(at, calls->park(at->target, "orders", &parked, &at->error));
    parked.attempt_count = 2; // replaces
    assert_ok(at, calls->park(at->target, "orders", &parked, &at->error));
    parked.position = 6, parked.behind = 4;
    assert_ok(at, calls->park(at->target, "orders", &parked, &at->error));
    parked.position = 5, parked.behind = 0, parked.aggregate = daybook_text("orders.5");
    assert_ok(at, calls->park(at->target, "orders", &parked, &at->error));
    assert_ok(at, postgres_commit(at, at->target, 6));
    *text = '\0';
    assert_ok(at,
              calls->parked(at->target, "orders", daybook_text("orders.4"), note_parked, text, &at->error));
    assert_string_equal(text, "4:orders.4:it failed:0:0 6:orders.4:it failed:4:0 ");
    assert_ok(at, calls->has_request(at->target, "orders", &has_request, &at->error));
    assert_false(has_request);
    assert_status(at, calls->request(at->target, "orders", 9, DBK_REQUEST_RETRY, &at->error),
                  DAYBOOK_ENOTFOUND);
    assert_ok(at, calls->request(at->target, "orders", 0, DBK_REQUEST_RETRY, &at->error));
    assert_ok(at, calls->request(at->target, "orders", 5, DBK_REQUEST_SKIP, &at->error));
    assert_ok(at, calls->has_request(at->target, "orders", &has_request, &at->error));
    assert_true(has_request);
    *text = '\0';
    assert_ok(at, calls->parked(at->target, "orders", daybook_text(""), note_parked, text, &at->error));
    assert_string_equal(text, "4:orders.4:it failed:0:1 5:orders.4:it failed:0:2 6:orders.4:it failed:4:0 ");
    // Within a transaction, too, after what was queued.
    assert_ok(at, calls->begin(at->target, &at->error));
    assert_ok(at, calls->unpark(at->target, "orders", 4, &at->error));
    *text = '\0';
    assert_ok(at,
              calls->parked(at->target, "orders", daybook_text("orders.4"), note_parked, text, &at->error));
    assert_string_equal(text, "6:orders.4:it failed:4:0 ");
    assert_ok(at, postgres_commit(at, at->target, 1));
    assert_asks(at, "SELECT count(*) FROM daybook_parked", "2");
}

static const char to_version_1[] =
    "ALTER TABLE daybook_projection DROP COLUMN store, DROP COLUMN mark_position, DROP COLUMN mark_id;"
    "DROP TABLE daybook_projection_books";

#define COLUMN_COUNT                                                                                   \
    "SELECT count(*) FROM pg_attribute WHERE attrelid = 'daybook_projection'::regclass AND attnum > 0" \
    " AND NOT attisdropped"

static void books_of_other_versions(void **context) {
    postgres_model *at = *context;
    const dbk_target_calls *calls = at->target->calls;
    dbk_progress found;
    char text[400] = "";
    postgres_start(at, orders_sql);
    (void)snprintf(at->progress.store, sizeof at->progress.store, "%s",
                   "5e0e2f9a-1111-4222-8333-444455556666");
    at->progress.mark = (dbk_mark){.position = 3, .id = "third"};
    assert_ok(at, calls->begin(at->target, &at->error));
    assert_ok(at, postgres_commit(at, at->target, 3));
    assert_ok(at, calls->load(at->target, "orders", &found, &at->error));
    assert_string_equal(found.store, at->progress.store);
    assert_int_equal(found.mark.position, 3);
    assert_string_equal(found.mark.id, "third");
    (void)postgres_ask(at, to_version_1);
    // Who only looks changes nothing.
    assert_ok(at, calls->load(at->target, "orders", &found, &at->error));
    assert_int_equal(found.position, 3);
    assert_string_equal(found.store, "");
    assert_int_equal(found.mark.position, 0);
    assert_string_equal(found.mark.id, "");
    assert_ok(at, calls->list(at->target, count_progress, text, &at->error));
    assert_string_equal(text, "orders ");
    assert_asks(at, COLUMN_COUNT, "9");
    assert_ok(at, calls->ensure(at->target, &at->error));
    assert_ok(at, calls->ensure(at->target, &at->error));
    assert_asks(at, COLUMN_COUNT, "12");
    assert_asks(at, "SELECT string_agg(version::text, ' ') FROM daybook_projection_books", "2");
    at->progress.mark = (dbk_mark){.position = 4, .id = "fourth"};
    assert_ok(at, calls->begin(at->target, &at->error));
    assert_ok(at, postgres_commit(at, at->target, 1));
    assert_asks(at, "SELECT format('%s %s %s', position, mark_position, mark_id) FROM daybook_projection",
                "4 4 fourth");
    (void)postgres_ask(at, "UPDATE daybook_projection_books SET version = 3");
    assert_status(at, calls->ensure(at->target, &at->error), DAYBOOK_EUNSUPPORTED);
    assert_says(at, "its bookkeeping is of version 3, this one knows up to 2");
    assert_int_equal(at->target->failure.kind, DBK_FAILURE_FATAL);
}

static const char rich_sql[] =
    "-- projection: rich\n-- version: 1\n-- events: >\n-- [setup]\n"
    "CREATE TYPE mood AS ENUM ('good', 'bad');\n"
    "CREATE DOMAIN amount AS numeric CHECK (VALUE >= 0);\n"
    "CREATE TYPE pair AS (a integer, b integer);\n"
    "CREATE SEQUENCE numbers;\n"
    "CREATE TABLE \"Main Table\" (id bigserial PRIMARY KEY, m mood, a amount, p pair, n bigint DEFAULT"
    " nextval('numbers'), other bigint);\n"
    "CREATE TABLE side (id bigint PRIMARY KEY REFERENCES \"Main Table\", g integer GENERATED ALWAYS AS "
    "IDENTITY);\n"
    "ALTER TABLE \"Main Table\" ADD FOREIGN KEY (other) REFERENCES side;\n"
    "CREATE TABLE parts (n integer) PARTITION BY RANGE (n);\n"
    "CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (10);\n"
    "CREATE INDEX side_index ON side (g);\n"
    "CREATE INDEX foreign_index ON not_ours (n);\n"
    "CREATE STATISTICS main_stats ON m, a FROM \"Main Table\";\n"
    "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;\n"
    "CREATE FUNCTION twice(n integer) RETURNS integer LANGUAGE sql AS 'SELECT 2 * n';\n"
    "CREATE TRIGGER noting BEFORE INSERT ON side FOR EACH ROW EXECUTE FUNCTION note();\n"
    "CREATE TRIGGER noting BEFORE INSERT ON not_ours FOR EACH ROW EXECUTE FUNCTION note();\n"
    "CREATE VIEW below AS SELECT id, twice(2) FROM \"Main Table\";\n"
    "CREATE VIEW above AS SELECT * FROM below;\n"
    "CREATE MATERIALIZED VIEW still AS SELECT count(*) FROM above;\n"
    "INSERT INTO \"Main Table\" (m) VALUES ('good');\n"
    "-- [on >]\nINSERT INTO side VALUES (:data.id);\n";

static const char inventory[] =
    "SELECT string_agg(name, ' ' ORDER BY name) FROM (SELECT relname FROM pg_class WHERE relnamespace ="
    " 'public'::regnamespace UNION ALL SELECT typname FROM pg_type WHERE typnamespace = "
    "'public'::regnamespace"
    " UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace UNION ALL SELECT "
    "tgname FROM"
    " pg_trigger WHERE NOT tgisinternal UNION ALL SELECT stxname FROM pg_statistic_ext) AS o(name)";

static void what_setup_made_is_dropped_and_nothing_else(void **context) {
    postgres_model *at = *context;
    const dbk_target_calls *calls = at->target->calls;
    static char before[4096];
    (void)postgres_ask(
        at, "CREATE TABLE not_ours (n integer); CREATE VIEW not_ours_either AS SELECT * FROM not_ours");
    assert_ok(at, calls->ensure(at->target, &at->error));
    (void)snprintf(before, sizeof before, "%s", postgres_ask(at, inventory));
    for (int round = 0; round < 2; round++) {
        postgres_start(at, rich_sql);
        assert_asks(at, "SELECT count(*) FROM side", "0");
        assert_asks(at, "SELECT count(*) FROM daybook_projection_object WHERE name LIKE '%foreign_index%'",
                    "1");
        // Without the definition: what is remembered is enough.
        assert_ok(at, calls->drop(at->target, "rich", round == 0 ? at->definition : NULL, &at->error));
        assert_asks(at, inventory, before);
        assert_asks(at, "SELECT count(*) FROM daybook_projection_object", "0");
        assert_status(at, calls->drop(at->target, "rich", NULL, &at->error), DAYBOOK_ENOTFOUND);
        calls->release(at->target);
    }
    // What others built on it keeps it.
    postgres_start(at, orders_sql);
    (void)postgres_ask(at, "CREATE VIEW theirs AS SELECT * FROM orders");
    assert_status(at, calls->drop(at->target, "orders", at->definition, &at->error), DAYBOOK_EINVALID);
    assert_says(at, "view theirs depends on table orders");
    assert_asks(at, "SELECT count(*) FROM daybook_projection", "1");
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
    postgres_start(at, orders_sql);
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
        TEST(values_arrive_as_they_are),
        TEST(the_event_that_fails_is_named),
        TEST(bytes_are_no_text),
        TEST(a_savepoint_takes_back_one_event),
        TEST(what_only_the_commit_refuses_is_of_an_event),
        TEST(failures_go_by_sqlstate),
        TEST(a_wrong_statement_is_told_with_its_place),
        TEST(a_wrong_setup_leaves_nothing),
        TEST(plans_stay_right_while_tables_grow),
        TEST(callbacks_run_any_sql),
        TEST(one_instance_is_in_charge),
        TEST(a_checkpoint_that_moved_fences),
        TEST(books_are_kept),
        TEST(books_of_other_versions),
        TEST(what_setup_made_is_dropped_and_nothing_else),
        TEST(opening_says_what_is_wrong),
        TEST(settings_of_the_user_stay),
        TEST(memory_running_out_is_told),
    };
    if (!postgres_begin()) return 77;
    int failed = cmocka_run_group_tests_name("postgres", tests, NULL, NULL);
    postgres_end();
    return failed;
}
