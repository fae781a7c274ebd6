// SPDX-License-Identifier: Apache-2.0
// The bookkeeping of projections in PostgreSQL: what [setup] makes, who is in charge, checkpoints, parked
// events.
#include "postgres_model.h"

#include <time.h>

#include "base/bytes.h"

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

// Who is in charge.

// A session that was closed gives its locks up a moment later.
static void wait_until_nobody_is_in_charge(postgres_model *at) {
    static const char count_locks[] = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted";
    const struct timespec nap = {.tv_nsec = 10000000};
    for (int i = 0; i < 1000 && strcmp(postgres_ask(at, count_locks), "0") != 0; i++)
        (void)nanosleep(&nap, NULL);
}

static void one_instance_is_in_charge(void **context) {
    postgres_model *at = *context;
    const dbk_target_calls *calls = at->target->calls;
    postgres_start(at, postgres_orders_sql);
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
    wait_until_nobody_is_in_charge(at);
    assert_ok(at, calls->claim(at->target, "orders", "one", 3, &at->error));
    assert_asks(at, "SELECT format('%s %s', instance, updated_ns) FROM daybook_projection", "one 3");
}

static void a_checkpoint_that_moved_fences(void **context) {
    postgres_model *at = *context;
    const dbk_target_calls *calls = at->target->calls;
    static const char *const moves[] = {"position = 7", "hash = 'other'", "name = 'other'"};
    postgres_start(at, postgres_orders_sql);
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
    postgres_start(at, postgres_orders_sql);
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
    postgres_start(at, postgres_orders_sql);
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
    postgres_start(at, postgres_orders_sql);
    (void)postgres_ask(at, "CREATE VIEW theirs AS SELECT * FROM orders");
    assert_status(at, calls->drop(at->target, "orders", at->definition, &at->error), DAYBOOK_EINVALID);
    assert_says(at, "view theirs depends on table orders");
    assert_asks(at, "SELECT count(*) FROM daybook_projection", "1");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, postgres_open, postgres_close)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_wrong_setup_leaves_nothing),   TEST(one_instance_is_in_charge),
        TEST(a_checkpoint_that_moved_fences), TEST(books_are_kept),
        TEST(books_of_other_versions),        TEST(what_setup_made_is_dropped_and_nothing_else),
    };
    if (!postgres_begin()) return 77;
    int failed = cmocka_run_group_tests_name("postgres books", tests, NULL, NULL);
    postgres_end();
    return failed;
}
