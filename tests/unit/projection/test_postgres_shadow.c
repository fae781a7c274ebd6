// SPDX-License-Identifier: Apache-2.0
// Rebuilding side by side in PostgreSQL.
#include "postgres_model.h"

#include "base/bytes.h"

static const char orders_sql[] = "-- projection: orders\n-- version: 2\n-- events: orders.>\n-- [setup]\n"
                                 "CREATE TABLE orders (id text PRIMARY KEY, total numeric NOT NULL, number "
                                 "bigserial, paid boolean DEFAULT false);\n"
                                 "CREATE VIEW big_orders AS SELECT * FROM orders WHERE total > 100;\n"
                                 "-- [on type placed]\n"
                                 "INSERT INTO orders (id, total) VALUES (:aggregate_id, :data.total);\n"
                                 "-- [on type paid]\n"
                                 "UPDATE orders SET paid = true WHERE id = :aggregate_id;\n";

static void put_order(postgres_model *at, dbk_target *target, const char *subject, int total) {
    char data[40];
    (void)snprintf(data, sizeof data, "{\"total\":%d,\"a\":%d}", total, total);
    assert_ok(at, target->calls->begin(target, &at->error));
    assert_ok(at, postgres_apply(at, target, subject, data));
    assert_ok(at, postgres_commit(at, target, 1));
}

static void the_switch_exchanges_everything_at_once(void **context) {
    postgres_model *at = *context;
    const dbk_target_calls *calls = at->target->calls;
    postgres_start(at, orders_sql);
    put_order(at, at->target, "orders.1.placed", 5);
    put_order(at, at->target, "orders.2.placed", 5);
    assert_ok(at, calls->set_state(at->target, "orders", 1, "", 1, &at->error));
    dbk_progress live = at->progress;
    dbk_parked parked = {.position = 1, .stream = daybook_text("S"), .subject = daybook_text("orders.9")};

    dbk_target *shadow = postgres_open_shadow(at);
    put_order(at, shadow, "orders.1.placed", 500);
    // Too early, and nothing changes.
    assert_status(at, calls->shadow_switch(at->target, shadow, "orders", 9, &at->error), DAYBOOK_ECONFLICT);
    assert_failure(at->target, FENCED, "0");
    put_order(at, shadow, "orders.2.placed", 500);
    at->progress.mark = (dbk_mark){.position = 3, .id = "third"};
    put_order(at, shadow, "orders.3.placed", 50);
    assert_ok(at, calls->begin(shadow, &at->error));
    assert_ok(at, calls->park(shadow, "orders", &parked, &at->error));
    assert_ok(at, postgres_commit(at, shadow, 1));
    assert_asks(at, "SELECT string_agg(format('%s=%s', id, total), ' ' ORDER BY id) FROM orders", "1=5 2=5");
    assert_asks(at, "SELECT count(*) FROM daybook_parked", "0");

    assert_ok(at, calls->shadow_finish(shadow, &at->error));
    assert_ok(at, calls->shadow_switch(at->target, shadow, "orders", 9, &at->error));
    calls->shadow_close(shadow, true);
    assert_asks(at, "SELECT string_agg(format('%s=%s', id, total), ' ' ORDER BY id) FROM orders",
                "1=500 2=500 3=50");
    assert_asks(at, "SELECT count(*) FROM big_orders", "2");
    // The row is the shadow's, its state and instance are the live one's.
    assert_asks(at,
                "SELECT format('%s %s %s %s %s', position, event_count, state, instance, updated_ns)"
                " FROM daybook_projection",
                "4 4 1 one 9");
    assert_asks(at, "SELECT format('%s %s', mark_position, mark_id) FROM daybook_projection", "3 third");
    assert_asks(at, "SELECT count(*) FROM daybook_parked", "1");
    assert_asks(at, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'daybook%'", "0");
    assert_asks(at, "SELECT string_agg(name, ' ' ORDER BY name) FROM daybook_projection_object",
                "public.big_orders public.orders");

    // A batch of the run that did not know is fenced; it then goes on with the tables that are there.
    at->progress = live;
    assert_ok(at, calls->begin(at->target, &at->error));
    assert_ok(at, postgres_apply(at, at->target, "orders.9.placed", "{\"total\":1}"));
    assert_status(at, postgres_commit(at, at->target, 1), DAYBOOK_ECONFLICT);
    calls->rollback(at->target);
    assert_ok(at, calls->load(at->target, "orders", &at->progress, &at->error));
    put_order(at, at->target, "orders.4.placed", 1);
    assert_asks(at, "SELECT number FROM orders WHERE id = '4'", "5"); // the sequence came along
    put_order(at, at->target, "orders.1.paid", 1);
    assert_asks(at, "SELECT paid FROM orders WHERE id = '1'", "t");
    assert_ok(at, calls->drop(at->target, "orders", NULL, &at->error));
    assert_asks(at, "SELECT to_regclass('orders')", "(null)");
}

static void without_a_live_one_the_shadow_becomes_it(void **context) {
    postgres_model *at = *context;
    const dbk_target_calls *calls = at->target->calls;
    postgres_define(at, orders_sql);
    dbk_target *shadow = postgres_open_shadow(at);
    put_order(at, shadow, "orders.1.placed", 500);
    assert_ok(at, calls->shadow_finish(shadow, &at->error));
    assert_ok(at, calls->shadow_switch(at->target, shadow, "orders", 9, &at->error));
    calls->shadow_close(shadow, true);
    assert_asks(at, "SELECT format('%s %s', position, state) FROM daybook_projection", "1 0");
    assert_asks(at, "SELECT count(*) FROM orders", "1");
}

static void what_an_administrator_did_is_kept(void **context) {
    postgres_model *at = *context;
    const dbk_target_calls *calls = at->target->calls;
    (void)postgres_ask(
        at, "DROP ROLE IF EXISTS reader; CREATE ROLE reader; GRANT USAGE ON SCHEMA public TO reader");
    postgres_start(at, orders_sql);
    (void)postgres_ask(at,
                       "GRANT SELECT, DELETE ON orders TO reader; GRANT UPDATE (total) ON orders TO PUBLIC;"
                       " GRANT SELECT ON big_orders TO reader WITH GRANT OPTION;"
                       " CREATE INDEX orders_by_total ON public.orders (total) WHERE total > 3");
    dbk_target *shadow = postgres_open_shadow(at);
    assert_ok(at, calls->shadow_finish(shadow, &at->error));
    assert_ok(at, calls->shadow_switch(at->target, shadow, "orders", 9, &at->error));
    calls->shadow_close(shadow, true);
    assert_asks(
        at,
        "SELECT concat_ws(' ', has_table_privilege('reader', 'orders', 'SELECT'), has_table_privilege("
        "'reader', 'orders', 'INSERT'), has_column_privilege('reader', 'orders', 'total', 'UPDATE'),"
        " has_table_privilege('reader', 'big_orders', 'SELECT WITH GRANT OPTION'))",
        "t f t t");
    assert_asks(
        at, "SELECT indexdef FROM pg_indexes WHERE indexname = 'orders_by_total'",
        "CREATE INDEX orders_by_total ON public.orders USING btree (total) WHERE (total > (3)::numeric)");
    assert_asks(at, "SELECT count(*) FROM pg_indexes WHERE tablename = 'orders'", "2");
    (void)postgres_ask(at, "DROP OWNED BY reader; DROP ROLE reader");
}

static void what_others_built_on_it_keeps_the_switch_from_happening(void **context) {
    postgres_model *at = *context;
    const dbk_target_calls *calls = at->target->calls;
    postgres_start(at, orders_sql);
    put_order(at, at->target, "orders.1.placed", 5);
    (void)postgres_ask(at, "CREATE VIEW theirs AS SELECT id FROM orders");
    dbk_target *shadow = postgres_open_shadow(at);
    put_order(at, shadow, "orders.1.placed", 500);
    assert_status(at, calls->shadow_switch(at->target, shadow, "orders", 9, &at->error), DAYBOOK_EINVALID);
    assert_failure(at->target, FATAL, "2BP01");
    assert_says(at, "view theirs depends on table orders");
    calls->shadow_close(shadow, true);
    assert_asks(at, "SELECT total FROM orders", "5");
    assert_asks(at, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'daybook%'", "0");
}

// A reader at the table is waited for, but not for ever.
static void a_reader_keeps_the_switch_waiting(void **context) {
    postgres_model *at = *context;
    const dbk_target_calls *calls = at->target->calls;
    at->target->calls->close(at->target);
    at->target = postgres_connect(at, "options=-clock_timeout%3D50ms");
    postgres_start(at, orders_sql);
    dbk_target *shadow = postgres_open_shadow(at);
    (void)postgres_ask(at, "BEGIN; SELECT count(*) FROM orders");
    assert_status(at, calls->shadow_switch(at->target, shadow, "orders", 9, &at->error), DAYBOOK_ELOCKED);
    assert_failure(at->target, TRANSIENT, "55P03");
    (void)postgres_ask(at, "ROLLBACK");
    assert_ok(at, calls->shadow_switch(at->target, shadow, "orders", 9, &at->error));
    calls->shadow_close(shadow, true);
}

static void a_second_rebuild_is_kept_out(void **context) {
    postgres_model *at = *context;
    const dbk_target_calls *calls = at->target->calls;
    postgres_start(at, orders_sql);
    dbk_target *shadow = postgres_open_shadow(at);
    dbk_target *second = postgres_connect(at, "");
    dbk_target *other = NULL;
    assert_status(at, calls->shadow_open(second, "orders", &other, &at->error), DAYBOOK_ELOCKED);
    assert_null(other);
    put_order(at, shadow, "orders.1.placed", 500);
    // What an interrupted one left goes when the next begins.
    calls->shadow_close(shadow, false);
    assert_asks(at, "SELECT count(*) FROM daybook_build_orders.orders", "1");
    assert_ok(at, calls->shadow_open(second, "orders", &other, &at->error));
    assert_asks(at, "SELECT to_regclass('daybook_build_orders.orders')", "(null)");
    calls->shadow_close(other, true);
    calls->close(second);
    assert_asks(at, "SELECT total FROM orders UNION ALL SELECT 0", "0");
}

static void names_with_a_schema_are_refused(void **context) {
    postgres_model *at = *context;
    dbk_target *shadow;
    postgres_define(
        at, "-- projection: p\n-- version: 1\n-- events: >\n-- [setup]\nCREATE TABLE public.t (n integer);\n"
            "-- [on >]\nINSERT INTO public.t VALUES (1);\n");
    assert_ok(at, at->target->calls->shadow_open(at->target, "p", &shadow, &at->error));
    assert_status(at, at->target->calls->create(shadow, at->definition, &at->progress, &at->error),
                  DAYBOOK_EUNSUPPORTED);
    assert_says(at, "table public.t");
    at->target->calls->shadow_close(shadow, true);
    assert_asks(at, "SELECT to_regclass('t')", "(null)");
}

// Longer names than PostgreSQL has room for; alike but for their ends.
static void long_names_do_not_meet(void **context) {
    postgres_model *at = *context;
    char names[2][64];
    dbk_target *shadows[2];
    for (int i = 0; i < 2; i++) {
        (void)snprintf(names[i], sizeof names[i], "p%061d%d", 7, i);
        char sql[400];
        (void)snprintf(
            sql, sizeof sql,
            "-- projection: %s\n-- version: 1\n-- events: >\n-- [setup]\nCREATE TABLE t%d (n integer);\n"
            "-- [on >]\nINSERT INTO t%d VALUES (%d);\n",
            names[i], i, i, i);
        postgres_define(at, sql);
        shadows[i] = postgres_open_shadow(at);
        assert_ok(at, shadows[i]->calls->begin(shadows[i], &at->error));
        assert_ok(at, postgres_apply(at, shadows[i], "a.b", "{}"));
        assert_ok(at, postgres_commit(at, shadows[i], 1));
    }
    for (int i = 0; i < 2; i++) {
        assert_ok(at, at->target->calls->shadow_switch(at->target, shadows[i], names[i], 1, &at->error));
        at->target->calls->shadow_close(shadows[i], true);
    }
    assert_asks(at, "SELECT t0.n + 10 * t1.n FROM t0, t1", "10");
}

// Everything a setup can make moves, and works in its new place.
static void all_kinds_of_objects_move(void **context) {
    postgres_model *at = *context;
    const dbk_target_calls *calls = at->target->calls;
    static const char sql[] =
        "-- projection: rich\n-- version: 1\n-- events: >\n-- [setup]\n"
        "CREATE TYPE mood AS ENUM ('good', 'bad');\nCREATE DOMAIN amount AS numeric CHECK (VALUE >= 0);\n"
        "CREATE TYPE pair AS (a integer, b integer);\nCREATE SEQUENCE numbers;\n"
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.n = nextval('numbers');"
        " RETURN NEW; END $$;\n"
        "CREATE TABLE \"Main\" (id bigserial PRIMARY KEY, m mood, a amount, p pair, n bigint);\n"
        "CREATE TABLE side (id bigint REFERENCES \"Main\", g integer GENERATED ALWAYS AS IDENTITY);\n"
        "CREATE TABLE parts (n integer) PARTITION BY RANGE (n);\n"
        "CREATE TABLE low PARTITION OF parts FOR VALUES FROM (0) TO (10);\n"
        "CREATE INDEX parts_index ON parts (n);\nCREATE STATISTICS stats ON m, a FROM \"Main\";\n"
        "CREATE TRIGGER noting BEFORE INSERT ON \"Main\" FOR EACH ROW EXECUTE FUNCTION note();\n"
        "CREATE VIEW joined AS SELECT m.id, m.n, s.g FROM \"Main\" m LEFT JOIN side s USING (id);\n"
        "CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM joined;\n"
        "-- [on >]\nINSERT INTO \"Main\" (m, a, p) VALUES ('good', :data.a, ROW(1, 2)::pair);\n"
        "INSERT INTO side (id) SELECT max(id) FROM \"Main\";\nINSERT INTO parts VALUES (:data.a::integer % "
        "10);\n";
    postgres_start(at, sql);
    put_order(at, at->target, "a.b", 1);
    for (int round = 0; round < 2; round++) {
        dbk_target *shadow = postgres_open_shadow(at);
        for (int i = 0; i < 3; i++) {
            assert_ok(at, calls->begin(shadow, &at->error));
            assert_ok(at, postgres_apply(at, shadow, "a.b", "{\"a\":12}"));
            assert_ok(at, postgres_commit(at, shadow, 1));
        }
        assert_ok(at, calls->shadow_finish(shadow, &at->error));
        assert_ok(at, calls->shadow_switch(at->target, shadow, "rich", 9, &at->error));
        calls->shadow_close(shadow, true);
        assert_asks(at, "SELECT string_agg(format('%s-%s-%s', id, n, g), ' ' ORDER BY id) FROM joined",
                    "1-1-1 2-2-2 3-3-3");
        assert_asks(at, "SELECT count(*) FROM low", "3");
        assert_asks(
            at,
            "SELECT count(*) FROM pg_indexes WHERE schemaname = 'public' AND tablename IN ('parts', 'low')",
            "2");
        assert_asks(at, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'daybook%'", "0");
        assert_asks(at, "SELECT count(*) FROM pg_statistic_ext WHERE stxnamespace = 'public'::regnamespace",
                    "1");
        (void)postgres_ask(at, "INSERT INTO \"Main\" (m) VALUES ('bad'); REFRESH MATERIALIZED VIEW counted");
        assert_asks(at, "SELECT * FROM counted", "4");
    }
    assert_ok(at, calls->drop(at->target, "rich", NULL, &at->error));
    assert_asks(at, "SELECT count(*) FROM pg_type WHERE typname IN ('mood', 'amount', 'pair')", "0");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, postgres_open, postgres_close)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(the_switch_exchanges_everything_at_once),
        TEST(without_a_live_one_the_shadow_becomes_it),
        TEST(what_an_administrator_did_is_kept),
        TEST(what_others_built_on_it_keeps_the_switch_from_happening),
        TEST(a_reader_keeps_the_switch_waiting),
        TEST(a_second_rebuild_is_kept_out),
        TEST(names_with_a_schema_are_refused),
        TEST(long_names_do_not_meet),
        TEST(all_kinds_of_objects_move),
    };
    if (!postgres_begin()) return 77;
    int failed = cmocka_run_group_tests_name("postgres shadow", tests, NULL, NULL);
    postgres_end();
    return failed;
}
