// SPDX-License-Identifier: Apache-2.0
// Statements in PostgreSQL: their values, their plans, those of callbacks, and wrong ones.
#include "postgres_model.h"

#include "base/bytes.h"

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

// A plan made while a table was small must not scan it while it grows.
static void plans_stay_right_while_tables_grow(void **context) {
    postgres_model *at = *context;
    postgres_start(at, postgres_orders_sql);
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
    postgres_start(at, postgres_orders_sql);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, postgres_open, postgres_close)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(values_arrive_as_they_are),
        TEST(bytes_are_no_text),
        TEST(a_wrong_statement_is_told_with_its_place),
        TEST(plans_stay_right_while_tables_grow),
        TEST(callbacks_run_any_sql),
    };
    if (!postgres_begin()) return 77;
    int failed = cmocka_run_group_tests_name("postgres statements", tests, NULL, NULL);
    postgres_end();
    return failed;
}
