// SPDX-License-Identifier: Apache-2.0
// Loading by COPY in PostgreSQL: the same rows as by statements.
#include "postgres_model.h"

#include "base/bytes.h"

// COPY.

static const char log_sql[] =
    "-- projection: log\n-- version: 1\n-- events: >\n-- [setup]\n"
    "CREATE TABLE log (id bigserial PRIMARY KEY, n integer, big numeric, t text, j jsonb, raw bytea, b "
    "boolean,"
    " at timestamptz, code varchar(5) DEFAULT 'none', one integer);\n"
    "CREATE TABLE \"Other Log\" (subject text PRIMARY KEY, \"The Text\" text, k numeric(6,2));\n"
    "-- [on log.*.full]\n"
    "INSERT INTO log (n, big, t, j, raw, b, at, one) VALUES (:data.n, :data.big, :data.t, :data.j, :bytes, "
    ":data.b,"
    " :time, 1);\n"
    "-- [on log.*.short]\nINSERT INTO log (n, big, t, j, raw, b, at, one) VALUES (NULL, 7, :data.t, NULL, "
    "'i-s', NULL,"
    " :time, 2);\n"
    "-- [on other.>]\nINSERT INTO \"Other Log\" VALUES (:subject, :data.t, 2);\n";

static void put_log(postgres_model *at, dbk_target *target, int first, int count) {
    static const char *const data[] = {"{\"n\":-7,\"big\":1e40,\"t\":\"tab\\t back\\\\slash \\\\N \\\\. "
                                       "line\\r\\n end\",\"j\":{\"a\":\"\\\\\"},\"b\":true}",
                                       "{\"t\":\"\",\"j\":[]}", "{\"t\":\"\\\\.\"}", "{}"};
    for (int i = first; i < first + count; i++) {
        char subject[40];
        (void)snprintf(subject, sizeof subject, "%s.%d.%s", i % 3 == 2 ? "other" : "log", i,
                       i % 3 == 0 ? "full" : "short");
        assert_ok(at, postgres_apply(at, target, subject, data[i / 3 % 4]));
    }
}

static const char log_sum[] = "SELECT md5(string_agg(l, E'\\n' ORDER BY l)) FROM (SELECT log::text AS l FROM "
                              "log UNION ALL SELECT o::text FROM"
                              " \"Other Log\" o) x";

// Rows of one COPY have one command number, those of statements one each.
static const char log_commands[] = "SELECT count(DISTINCT (xmin::text, cmin::text)) FROM log";

static void put_all(postgres_model *at, dbk_target *target, int batch_count) {
    for (int first = 0; first < 3000; first += batch_count) {
        assert_ok(at, target->calls->begin(target, &at->error));
        put_log(at, target, first, batch_count);
        assert_ok(at, postgres_commit(at, target, (uint64_t)batch_count));
    }
}

// Small batches, large ones, and rebuilt: in other words, but the same rows in the same order.
static void bulk_and_statements_give_the_same_rows(void **context) {
    postgres_model *at = *context;
    const dbk_target_calls *calls = at->target->calls;
    static const int batch_counts[] = {50, 1000};
    char expected[2][64];
    for (int i = 0; i < 2; i++) {
        postgres_start(at, log_sql);
        assert_true(at->definition->is_insert_only);
        put_all(at, at->target, batch_counts[i]);
        (void)snprintf(expected[i], sizeof expected[i], "%s", postgres_ask(at, log_sum));
        int command_count = atoi(postgres_ask(at, log_commands));
        if (i == 0)
            assert_int_equal(command_count, 2000);
        else
            assert_int_equal(command_count, 3);
        if (i == 1) break;
        assert_ok(at, calls->drop(at->target, "log", NULL, &at->error));
        calls->release(at->target);
    }
    assert_string_equal(expected[0], expected[1]);
    dbk_target *shadow = postgres_open_shadow(at);
    put_all(at, shadow, 3000);
    assert_ok(at, calls->shadow_finish(shadow, &at->error));
    assert_ok(at, calls->shadow_switch(at->target, shadow, "log", 1, &at->error));
    calls->shadow_close(shadow, true);
    assert_asks(at, log_sum, expected[0]);
}

static void an_event_that_copy_refuses_is_named(void **context) {
    postgres_model *at = *context;
    const dbk_target_calls *calls = at->target->calls;
    static const struct {
        const char *subject, *data, *sqlstate;
    } wrong[] = {{"log.5.full", "{\"n\":\"seven\"}", "22P02"},
                 {"log.5.full", "{\"n\":3000000000}", "22003"},
                 {"other.2.short", "{}", "23505"}};
    postgres_define(at, log_sql);
    dbk_target *shadow = postgres_open_shadow(at);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_ok(at, calls->begin(shadow, &at->error));
        put_log(at, shadow, 0, 100);
        assert_ok(at, postgres_apply(at, shadow, wrong[i].subject, wrong[i].data));
        assert_ok(at, postgres_apply(at, shadow, "log.8.short", "{}"));
        assert_status(at, postgres_commit(at, shadow, 102), DAYBOOK_EINVALID);
        assert_failure(shadow, EVENT, wrong[i].sqlstate);
        assert_int_equal(shadow->failure.step, 100);
        assert_says(at, "model.sql:");
        calls->rollback(shadow);
        // As the runner does: each event in a savepoint, without the one.
        assert_ok(at, calls->begin(shadow, &at->error));
        assert_ok(at, calls->savepoint(shadow, &at->error));
        daybook_status status = postgres_apply(at, shadow, "log.5.full", "{\"n\":\"seven\"}");
        if (status == DAYBOOK_OK) status = calls->savepoint_release(shadow, &at->error);
        assert_status(at, status, DAYBOOK_EINVALID);
        assert_ok(at, calls->savepoint_rollback(shadow, &at->error));
        assert_ok(at, postgres_apply(at, shadow, "log.9.short", "{\"t\":\"careful\"}"));
        assert_ok(at, postgres_commit(at, shadow, 2));
    }
    assert_asks(at, "SELECT count(*) FROM daybook_build_log.log", "3");
    calls->shadow_close(shadow, true);
}

static void where_copy_is_at_odds_statements_decide(void **context) {
    postgres_model *at = *context;
    postgres_define(
        at, "-- projection: fk\n-- version: 1\n-- events: >\n-- [setup]\n"
            "CREATE TABLE parent (id text PRIMARY KEY);\nCREATE TABLE child (id text REFERENCES parent);\n"
            "-- [on a.child]\nINSERT INTO child VALUES (:data.id);\n"
            "-- [on a.parent]\nINSERT INTO parent VALUES (:data.id);\n");
    dbk_target *shadow = postgres_open_shadow(at);
    for (int i = 0; i < 3; i++) {
        char data[40];
        (void)snprintf(data, sizeof data, "{\"id\":\"%d\"}", i);
        assert_ok(at, shadow->calls->begin(shadow, &at->error));
        assert_ok(at, postgres_apply(at, shadow, "a.parent", data));
        assert_ok(at, postgres_apply(at, shadow, "a.child", data));
        assert_ok(at, postgres_commit(at, shadow, 2));
    }
    assert_asks(at, "SELECT count(*) FROM daybook_build_fk.child", "3");
    shadow->calls->shadow_close(shadow, true);
}

static void rules_and_triggers_are_kept(void **context) {
    postgres_model *at = *context;
    postgres_define(
        at, "-- projection: p\n-- version: 1\n-- events: >\n-- [setup]\nCREATE TABLE t (n integer);\n"
            "CREATE TABLE doubled (n integer);\n"
            "CREATE RULE twice AS ON INSERT TO t DO ALSO INSERT INTO doubled VALUES (2 * NEW.n);\n"
            "CREATE TABLE statements (n integer);\n"
            "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO statements"
            " VALUES (1); RETURN NULL; END $$;\n"
            "CREATE TABLE u (n integer);\n"
            "CREATE TRIGGER noting AFTER INSERT ON u EXECUTE FUNCTION note();\n"
            "-- [on a.>]\nINSERT INTO t VALUES (:data.n);\n-- [on b.>]\nINSERT INTO u VALUES (:data.n);\n");
    dbk_target *shadow = postgres_open_shadow(at);
    assert_ok(at, shadow->calls->begin(shadow, &at->error));
    for (int i = 0; i < 100; i++) {
        assert_ok(at, postgres_apply(at, shadow, "a.b", "{\"n\":21}"));
        assert_ok(at, postgres_apply(at, shadow, "b.b", "{\"n\":21}"));
    }
    assert_ok(at, postgres_commit(at, shadow, 200));
    assert_asks(at, "SELECT sum(n) FROM daybook_build_p.doubled", "4200");
    assert_asks(at, "SELECT count(*) FROM daybook_build_p.statements", "100");
    shadow->calls->shadow_close(shadow, true);
}

// Two column lists of one table: by statements, because rows keep their order.
static void rows_of_a_table_keep_their_order(void **context) {
    postgres_model *at = *context;
    postgres_start(at, "-- projection: p\n-- version: 1\n-- events: >\n-- [setup]\n"
                       "CREATE TABLE t (id bigserial, n integer, code text DEFAULT 'none');\n"
                       "-- [on a.>]\nINSERT INTO t (n) VALUES (:data.n);\n"
                       "-- [on b.>]\nINSERT INTO t (code, n) VALUES ('given', :data.n);\n");
    assert_ok(at, at->target->calls->begin(at->target, &at->error));
    for (int i = 0; i < 300; i++) {
        char data[40];
        (void)snprintf(data, sizeof data, "{\"n\":%d}", i + 1);
        assert_ok(at, postgres_apply(at, at->target, i % 2 == 0 ? "a.b" : "b.b", data));
    }
    assert_ok(at, postgres_commit(at, at->target, 300));
    assert_asks(at, "SELECT count(*) FROM t WHERE id = n AND (code = 'none') = (n % 2 = 1)", "300");
}

static void bulk_of_any_size_and_rollback(void **context) {
    postgres_model *at = *context;
    postgres_define(at, log_sql);
    dbk_target *shadow = postgres_open_shadow(at);
    static const int counts[] = {0, 1, 20000};
    int total = 0;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        for (int round = 0; round < 2; round++) {
            assert_ok(at, shadow->calls->begin(shadow, &at->error));
            for (int n = 0; n < counts[i]; n++)
                assert_ok(
                    at, postgres_apply(at, shadow, "log.1.short", "{\"t\":\"some text to make it longer\"}"));
            if (round == 0)
                shadow->calls->rollback(shadow);
            else
                assert_ok(at, postgres_commit(at, shadow, (uint64_t)counts[i] + 1));
        }
        total += counts[i];
    }
    char expected[24];
    (void)snprintf(expected, sizeof expected, "%d", total);
    assert_asks(at, "SELECT count(*) FROM daybook_build_log.log", expected);
    assert_asks(at,
                "SELECT max(id) - min(id) + 1 FROM (SELECT id FROM daybook_build_log.log ORDER BY id DESC "
                "LIMIT 20000) l",
                "20000");
    shadow->calls->shadow_close(shadow, true);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, postgres_open, postgres_close)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(bulk_and_statements_give_the_same_rows),  TEST(an_event_that_copy_refuses_is_named),
        TEST(where_copy_is_at_odds_statements_decide), TEST(rules_and_triggers_are_kept),
        TEST(rows_of_a_table_keep_their_order),        TEST(bulk_of_any_size_and_rollback),
    };
    if (!postgres_begin()) return 77;
    int failed = cmocka_run_group_tests_name("postgres copy", tests, NULL, NULL);
    postgres_end();
    return failed;
}
