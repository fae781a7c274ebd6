// SPDX-License-Identifier: Apache-2.0
// SQL files of projections: what is read from them, how statements are written for a database, and what is
// refused, with its place.
#include "projection/definition.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "lib/fault_allocator.h"

#define HEAD "-- projection: p\n-- version: 1\n-- events: orders.> bills.*\n"
#define ON HEAD "-- [on orders.>]\n"

static dbk_definition *parse(const char *text) {
    dbk_definition *definition = NULL;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status =
        dbk_definition_parse(dbk_allocator_default(), daybook_text(text), "f.sql", &definition, &error);
    if (status != DAYBOOK_OK) fail_msg("%s", error.message);
    assert_non_null(definition);
    return definition;
}

static void assert_refused(const char *text, daybook_status expected, const char *message) {
    dbk_definition *definition = NULL;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status =
        dbk_definition_parse(dbk_allocator_default(), daybook_text(text), "f.sql", &definition, &error);
    assert_null(definition);
    if (strncmp(error.message, message, strlen(message)) != 0)
        fail_msg("%s\nexpected %s", error.message, message);
    assert_int_equal(status, expected);
}

static void assert_text(dbk_slice text, const char *expected) {
    if (!dbk_slice_equal(text, daybook_text(expected)))
        fail_msg("'%.*s', expected '%s'", (int)text.size, (const char *)text.data, expected);
}

static const char order_totals[] =
    "-- A read model.\n"
    "-- projection: order_totals\n"
    "-- version: 3\n"
    "-- events: orders.> bills.*\n"
    "-- events: $KV.rates.>\n"
    "\n"
    "-- [setup]\n"
    "CREATE TABLE order_totals (order_id TEXT PRIMARY KEY, total NUMERIC);\n"
    "CREATE INDEX i ON order_totals (total);\n"
    "-- [on orders.*.placed]\r\n"
    "-- placed\n"
    "INSERT INTO order_totals VALUES (:aggregate_id, :data.total);\n"
    "  --   [on type paid , settled late]  \n"
    "UPDATE order_totals SET state = :type, total = :data.total! WHERE order_id = :aggregate_id;\n"
    "DELETE FROM totals\n"
    "-- [setup]\n"
    "SELECT 1\n"
    "-- [teardown]\n"
    "DROP TABLE order_totals; ;\n";

static void a_file_is_read(void **state) {
    (void)state;
    dbk_definition *definition = parse(order_totals);
    assert_text(definition->file, "f.sql");
    assert_text(definition->name, "order_totals");
    assert_int_equal(definition->version, 3);
    assert_int_equal(definition->filter_count, 3);
    assert_text(definition->filters[1], "bills.*");
    assert_text(definition->filters[2], "$KV.rates.>");
    assert_int_equal(definition->setup_count, 3);
    assert_text(definition->setup[1].text, "CREATE INDEX i ON order_totals (total)");
    assert_int_equal(definition->setup[1].line, 9);
    assert_text(definition->setup[2].text, "SELECT 1");
    assert_int_equal(definition->teardown_count, 1);
    assert_text(definition->teardown[0].text, "DROP TABLE order_totals");
    assert_int_equal(definition->section_count, 2);
    assert_false(definition->is_insert_only);
    dbk_definition_free(definition);

    definition = parse(HEAD); // for callbacks: nothing to run
    assert_int_equal(definition->section_count, 0);
    assert_int_equal(definition->setup_count, 0);
    dbk_definition_free(definition);
}

static void its_sections_say_which_events_they_take(void **state) {
    (void)state;
    dbk_definition *definition = parse(order_totals);
    const dbk_section *placed = &definition->sections[0];
    const dbk_section *paid = &definition->sections[1];
    assert_text(placed->text, "on orders.*.placed");
    assert_text(placed->pattern, "orders.*.placed");
    assert_int_equal(placed->place.line, 10);
    assert_int_equal(placed->statement_count, 1);
    assert_int_equal(placed->parameter_count, 2);
    assert_int_equal(placed->statements[0].line, 12);
    assert_int_equal(paid->index, 1);
    assert_int_equal(paid->type_count, 2);
    assert_text(paid->types[0], "paid");
    assert_text(paid->types[1], "settled late");
    assert_int_equal(paid->place.column, 3);
    assert_int_equal(paid->statement_count, 2);
    assert_int_equal(paid->parameter_count, 3);
    assert_true(paid->parameters[1].is_required);

    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("orders.7.placed");
    event.type = daybook_text("paid");
    assert_true(dbk_section_matches(placed, &event));
    assert_true(dbk_section_matches(paid, &event));
    event.subject = daybook_text("orders.7.changed");
    event.type = daybook_text("pai");
    assert_false(dbk_section_matches(placed, &event));
    assert_false(dbk_section_matches(paid, &event));
    dbk_definition_free(definition);
}

static void the_hash_is_of_what_has_a_meaning(void **state) {
    (void)state;
    static const char *const texts[] = {ON "INSERT INTO t VALUES (1);",
                                        ON "-- why\n\n INSERT INTO t VALUES (1) ; -- done", // the same
                                        ON "INSERT INTO t VALUES (2);",
                                        ON "-- [setup]\nINSERT INTO t VALUES (1);-- [on bills.a]\nSELECT 1",
                                        HEAD "-- [on type a]\nINSERT INTO t VALUES (1);",
                                        HEAD "-- [on type b]\nINSERT INTO t VALUES (1);"};
    char hashes[6][DBK_DEFINITION_HASH_SIZE];
    for (size_t i = 0; i < 6; i++) {
        if (i == 3) continue;
        dbk_definition *definition = parse(texts[i]);
        memcpy(hashes[i], definition->hash, sizeof hashes[i]);
        assert_int_equal(strlen(hashes[i]), 64);
        dbk_definition_free(definition);
    }
    assert_string_equal(hashes[0], hashes[1]);
    assert_string_not_equal(hashes[0], hashes[2]);
    assert_string_not_equal(hashes[0], hashes[4]);
    assert_string_not_equal(hashes[4], hashes[5]);
}

static void what_is_wrong_is_told_with_its_place(void **state) {
    (void)state;
    static const struct {
        const char *text;
        const char *message;
    } cases[] = {
        {"", "f.sql:1:1: the projection has no name: begin"},
        {"-- projection: p\n", "f.sql:2:1: the projection has no version: add"},
        {"-- projection: p\n-- version: 1\n-- [setup]\n",
         "f.sql:3:1: the projection does not say which events"},
        {"-- projection: P\n", "f.sql:1:1: bad name 'P': it is"},
        {"-- projection: daybook_x\n", "f.sql:1:1: bad name 'daybook_x': names that begin with daybook"},
        {"-- projection: a\n-- projection: b\n", "f.sql:2:1: the name is given twice"},
        {"-- version: 0\n", "f.sql:1:1: bad version '0'"},
        {"-- version: 1.5\n", "f.sql:1:1: bad version '1.5'"},
        {"-- version:\n", "f.sql:1:1: bad version ''"},
        {"-- version: 1\n-- version: 1\n", "f.sql:2:1: the version is given twice"},
        {"-- events:\n", "f.sql:1:1: no filter: name"},
        {"-- events: a..b\n", "f.sql:1:1: bad filter 'a..b'"},
        {"SELECT 1;", "f.sql:1:1: a statement before the first section: write"},
        {HEAD "-- [setup\n", "f.sql:4:1: the header [setup of a section has no end"},
        {HEAD "-- [set up]\n", "f.sql:4:1: unknown section [set up]: there are"},
        {HEAD "-- [on]\n", "f.sql:4:1: unknown section [on]"},
        {HEAD "-- [on type]\n", "f.sql:4:1: no type: write"},
        {HEAD "-- [on type a,,b]\n", "f.sql:4:1: bad type ''"},
        {HEAD "-- [on a b]\n", "f.sql:4:1: bad subject pattern 'a b'"},
        {HEAD "-- [on carts.*]\n", "f.sql:4:1: no event can match 'carts.*': none of the filters"},
        {ON, "f.sql:4:1: section [on orders.>] has no statement: write one"},
        {ON "SELECT 1;\n-- version: 2\n", "f.sql:6:1: version: stands before the first section"},
        {ON "SELECT\n  :data.x, :nothing", "f.sql:6:12: :nothing: no such parameter: use :data.NAME"},
        {ON "SELECT :header", "f.sql:5:8: :header: which one? write :header.NAME"},
        {ON "SELECT :seq.a", "f.sql:5:8: :seq.: nothing is inside it: only :data has members"},
        {ON "SELECT :data.a[2", "f.sql:5:8: :data.a[2: the index has no end: close it with ]"},
        {ON "SELECT :data[1000001]", "f.sql:5:8: :data[100000: an index is at most"},
        {ON "SELECT :data.\"a", "f.sql:5:8: :data.\"a: the quoted name has no end"},
        {ON "SELECT :data.\"\"", "f.sql:5:8: :data.\"\": a name is missing"},
        {ON "SELECT :data[0]x", "f.sql:5:8: :data[0]: a space is missing behind it"},
        {ON "SELECT 'x\n", "f.sql:5:8: a string without its end: close it with '"},
        {ON "SELECT \"x\n", "f.sql:5:8: a quoted name without its end"},
        {ON "SELECT $a$ x $b$\n", "f.sql:5:8: a dollar-quoted string without its end"},
        {ON "SELECT /* x\n", "f.sql:5:8: a comment without its end: close it with */"},
        {ON "SELECT /* /* */ */ 1\n", "f.sql:5:8: a comment inside a comment: PostgreSQL nests"},
        {ON "SELECT (1,\n(2);\n-- [setup]", "f.sql:5:8: a parenthesis is not closed"},
        {ON "\n COMMIT;", "f.sql:6:2: COMMIT has no place in a projection: its statements"},
        {ON "begin;", "f.sql:5:1: BEGIN has no place"},
        {HEAD "-- [setup]\nCREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; SELECT 2;",
         "f.sql:5:1: the body of the statement has no end: write END;"},
        {HEAD "-- [setup]\nSELECT 1,\n :position;",
         "f.sql:6:2: parameter :position in a section that no event"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_refused(cases[i].text, DAYBOOK_EINVALID, cases[i].message);
    assert_refused("-- \xff", DAYBOOK_EINVALID, "f.sql:1:1: the file is no UTF-8 text");
}

static void the_bookkeeping_tables_are_not_written_to(void **state) {
    (void)state;
    static const char *const refused[] = {
        "UPDATE daybook_projection SET position = 0",
        "UPDATE OR REPLACE daybook_projection SET position = 0",
        "update only Daybook_Projection set position = 0",
        "INSERT INTO daybook_parked SELECT 1",
        "INSERT INTO main.daybook_parked SELECT 1",
        "INSERT INTO \"public\" . \"DAYBOOK_PARKED\" SELECT 1",
        "REPLACE INTO `daybook_projection` VALUES (1)",
        "DELETE FROM daybook_projection_object",
        "DELETE FROM ONLY public.daybook_projection_object",
        "DROP TABLE a, daybook_projection",
        "DROP INDEX daybook_parked_request",
        "ALTER TABLE a RENAME TO daybook_projection",
        "TRUNCATE daybook_projection",
        "CREATE TABLE IF NOT EXISTS daybook_projection_mine (a)",
        "CREATE VIEW daybook_parked AS SELECT 1",
        "CREATE INDEX i ON daybook_projection (name)",
        "CREATE TRIGGER t AFTER UPDATE ON daybook_projection BEGIN SELECT 1; END",
        "CREATE TRIGGER t AFTER UPDATE ON a BEGIN DELETE FROM daybook_parked; END",
        "WITH x AS (DELETE FROM daybook_parked RETURNING 1) SELECT 1",
        "MERGE INTO daybook_projection USING a ON true WHEN MATCHED THEN DELETE",
    };
    static const char *const taken[] = {
        "CREATE VIEW progress AS SELECT position FROM daybook_projection WHERE name = 'p'",
        "INSERT INTO a SELECT daybook_projection.position FROM daybook_projection",
        "SELECT 1 FROM a JOIN daybook_projection ON daybook_projection.name = a.name",
        "SELECT 1 FROM a JOIN b ON main.daybook_projection.name = a.name",
        "UPDATE a SET position = (SELECT position FROM daybook_projection)",
        "GRANT SELECT ON daybook_projection TO reader",
        "INSERT INTO a VALUES ('INTO daybook_projection')",
        "INSERT INTO daybook_p VALUES (1)",
        "INSERT INTO my_daybook_projection VALUES (1)",
    };
    char text[256];
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        (void)snprintf(text, sizeof text, HEAD "-- [setup]\n%s;\n", refused[i]);
        assert_refused(text, DAYBOOK_EINVALID, "f.sql:5:");
    }
    assert_refused(ON "SELECT 1;\nUPDATE\n  x.daybook_projection SET position = 0", DAYBOOK_EINVALID,
                   "f.sql:7:5: daybook_projection has no place here: it is the bookkeeping");
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
        (void)snprintf(text, sizeof text, HEAD "-- [setup]\n%s;\n", taken[i]);
        dbk_definition_free(parse(text));
    }
}

static void a_byte_order_mark_is_passed_over(void **state) {
    (void)state;
    dbk_definition *plain = parse(ON "SELECT :data.a;\n");
    dbk_definition *marked = parse("\xef\xbb\xbf" ON "SELECT :data.a;\n");
    assert_string_equal(marked->hash, plain->hash);
    assert_text(marked->name, "p");
    assert_int_equal(marked->sections[0].place.line, 4);
    dbk_definition_free(marked);
    dbk_definition_free(plain);
    assert_refused("\xef\xbb\xbfSELECT 1;", DAYBOOK_EINVALID, "f.sql:1:1: a statement before the first");
    assert_refused("\xef\xbb\xbf", DAYBOOK_EINVALID, "f.sql:1:1: the projection has no name");
    // Only one, and only there.
    assert_refused("\xef\xbb\xbf\xef\xbb\xbf" HEAD, DAYBOOK_EINVALID, "f.sql:1:1: a statement before");
}

static void a_nul_is_told_with_its_place(void **state) {
    (void)state;
    static const char text[] = HEAD "-- [on orders.>]\nSELECT '\0';\n";
    dbk_definition *definition = NULL;
    daybook_error error;
    daybook_error_init(&error);
    assert_int_equal(dbk_definition_parse(dbk_allocator_default(), daybook_bytes(text, sizeof text - 1),
                                          "f.sql", &definition, &error),
                     DAYBOOK_EINVALID);
    assert_null(definition);
    assert_non_null(strstr(error.message, "f.sql:5:9: the file holds a NUL byte"));
}

// `count` times `item` behind `head`.
static char *repeat(const char *head, const char *item, size_t count, const char *tail) {
    size_t size = strlen(item);
    char *text = malloc(strlen(head) + count * size + strlen(tail) + 1);
    assert_non_null(text);
    char *at = text + sprintf(text, "%s", head);
    for (size_t i = 0; i < count; i++, at += size) memcpy(at, item, size);
    (void)sprintf(at, "%s", tail);
    return text;
}

static void every_size_has_a_limit(void **state) {
    (void)state;
    struct {
        char *text;
        const char *message;
    } cases[] = {
        {repeat("-- events:", " a", DBK_DEFINITION_FILTER_COUNT_MAX + 1, "\n"),
         "f.sql:1:1: more than 256 filters"},
        {repeat(ON, "SELECT 1;", DBK_DEFINITION_STATEMENT_COUNT_MAX + 1, "\n"),
         "f.sql:5:90001: more than 10000 statements"},
        {repeat(HEAD, "-- [on orders.a]\nSELECT 1;\n", DBK_DEFINITION_SECTION_COUNT_MAX + 1, ""),
         "f.sql:2052:1: more than 1024 sections"},
        {repeat(ON "SELECT 1", ",:seq", DBK_STATEMENT_PARAMETER_COUNT_MAX + 1, ""),
         "f.sql:5:10250: more than 2048 parameters in one statement"},
        {repeat(ON "SELECT '", "x", DBK_STATEMENT_SIZE_MAX, "'"), "f.sql:5:1: a statement is longer"},
        {repeat("--", "x", DBK_DEFINITION_SIZE_MAX, ""), "f.sql:1:1: the file is longer"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_refused(cases[i].text, DAYBOOK_ELIMIT, cases[i].message);
        free(cases[i].text);
    }
    char *steps = repeat(ON "SELECT :data", ".a", DBK_PARAMETER_STEP_COUNT_MAX + 1, "");
    assert_refused(steps, DAYBOOK_EINVALID, "f.sql:5:8: :data");
    free(steps);
    char *name = repeat(ON "SELECT :data.", "n", DBK_PARAMETER_NAME_SIZE_MAX + 1, "");
    assert_refused(name, DAYBOOK_EINVALID, "f.sql:5:8: :data.nnn");
    free(name);
    char many[DBK_PARAMETER_COUNT_MAX * 24 + 256];
    char *at = many + sprintf(many, ON);
    for (int i = 0; i <= DBK_PARAMETER_COUNT_MAX; i++) at += sprintf(at, "SELECT :data[%d];", i);
    assert_refused(many, DAYBOOK_ELIMIT, "f.sql:5:");
}

// The statements of the only section, taken apart and written for both databases.
static void statements_are_written_for_a_database(void **state) {
    (void)state;
    static const struct {
        const char *text; // one statement
        const char *sqlite;
        const char *postgres; // NULL: the same
    } cases[] = {
        {"SELECT 1", "SELECT 1", NULL},
        {"SELECT :seq, :data.a, :seq", "SELECT ?1, ?2, ?1", "SELECT $1, $2, $3"},
        {"SELECT :data.total::numeric", "SELECT ?1::numeric", "SELECT $1::numeric"},
        {"SELECT a::text, b:=1, c[1:2]", "SELECT a::text, b:=1, c[1:2]", NULL},
        {"SELECT ':seq', \":seq\", `:seq` -- :seq\n, /* :seq */ :seq",
         "SELECT ':seq', \":seq\", `:seq` -- :seq\n, /* :seq */ ?1",
         "SELECT ':seq', \":seq\", `:seq` -- :seq\n, /* :seq */ $1"},
        {"SELECT 'it''s :seq', E'\\':seq', e'\\\\', :id", "SELECT 'it''s :seq', E'\\':seq', e'\\\\', ?1",
         "SELECT 'it''s :seq', E'\\':seq', e'\\\\', $1"},
        {"SELECT '\\', :id", "SELECT '\\', ?1", "SELECT '\\', $1"},
        {"SELECT $$ :seq; ' $$, $a$ $$ :seq $a$, a$b$c, :id",
         "SELECT $$ :seq; ' $$, $a$ $$ :seq $a$, a$b$c, ?1",
         "SELECT $$ :seq; ' $$, $a$ $$ :seq $a$, a$b$c, $1"},
        {"SELECT :data.\"a \"\"b\"\".c\".d[0][12].e!", "SELECT ?1", "SELECT $1"},
        {"SELECT :data.a!=1", "SELECT ?1!=1", "SELECT $1!=1"},
        {"SELECT :data.a.*, :data.a . b, :data[x]", "SELECT ?1.*, ?1 . b, ?2[x]",
         "SELECT $1.*, $2 . b, $3[x]"},
        {"SELECT :data.\xc3\xa4,:header.\"X-A\"", "SELECT ?1,?2", "SELECT $1,$2"},
        {"CREATE TRIGGER t AFTER INSERT ON a BEGIN UPDATE b SET c = CASE WHEN 1 THEN 2 END; SELECT 1; END",
         "CREATE TRIGGER t AFTER INSERT ON a BEGIN UPDATE b SET c = CASE WHEN 1 THEN 2 END; SELECT 1; END",
         NULL},
        {"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END",
         "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END", NULL},
        {"CREATE RULE r AS ON INSERT TO a DO (SELECT 1; SELECT 2)",
         "CREATE RULE r AS ON INSERT TO a DO (SELECT 1; SELECT 2)", NULL},
        {"CREATE TRIGGER t AFTER INSERT ON a EXECUTE FUNCTION f()",
         "CREATE TRIGGER t AFTER INSERT ON a EXECUTE FUNCTION f()", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[1024];
        (void)snprintf(text, sizeof text, ON "%s;\n SELECT 'second' ;", cases[i].text);
        dbk_definition *definition = parse(text);
        const dbk_section *section = &definition->sections[0];
        assert_int_equal(section->statement_count, 2);
        assert_text(section->statements[0].text, cases[i].text);
        assert_text(section->statements[1].text, "SELECT 'second'");
        for (int dialect = DBK_DIALECT_SQLITE; dialect <= DBK_DIALECT_POSTGRES; dialect++) {
            const char *expected = dialect == DBK_DIALECT_SQLITE || cases[i].postgres == NULL
                                       ? cases[i].sqlite
                                       : cases[i].postgres;
            dbk_compiled compiled;
            daybook_error error;
            daybook_error_init(&error);
            daybook_status status = dbk_statement_compile(&section->statements[0], (dbk_dialect)dialect,
                                                          "f.sql", definition->arena, &compiled, &error);
            assert_int_equal(status, DAYBOOK_OK);
            assert_string_equal(compiled.text, expected);
            assert_int_equal(compiled.text_size, strlen(expected));
        }
        dbk_definition_free(definition);
    }
}

static void a_parameter_of_the_database_s_own_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *text;
        const char *sqlite;
        const char *postgres;
    } cases[] = {
        {"SELECT\n ?1", "f.sql:6:2: a parameter in the writing of SQLite", NULL},
        {"SELECT @a", "f.sql:5:8: a parameter in the writing of SQLite", NULL},
        {"SELECT $a", "f.sql:5:8: a parameter in the writing of SQLite", NULL},
        {"SELECT :seq, $1", "f.sql:5:14: a parameter in the writing of SQLite",
         "f.sql:5:14: a parameter in the writing of PostgreSQL"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[256];
        (void)snprintf(text, sizeof text, ON "%s", cases[i].text);
        dbk_definition *definition = parse(text);
        for (int dialect = DBK_DIALECT_SQLITE; dialect <= DBK_DIALECT_POSTGRES; dialect++) {
            const char *expected = dialect == DBK_DIALECT_SQLITE ? cases[i].sqlite : cases[i].postgres;
            dbk_compiled compiled;
            daybook_error error;
            daybook_error_init(&error);
            daybook_status status = dbk_statement_compile(&definition->sections[0].statements[0],
                                                          (dbk_dialect)dialect, "f.sql", definition->arena,
                                                          &compiled, &error);
            assert_int_equal(status, expected == NULL ? DAYBOOK_OK : DAYBOOK_EINVALID);
            if (expected != NULL && strncmp(error.message, expected, strlen(expected)) != 0)
                fail_msg("%s", error.message);
        }
        dbk_definition_free(definition);
    }
}

static void places_lead_back_into_the_file(void **state) {
    (void)state;
    dbk_definition *definition = parse(ON "SELECT :data.long, :seq,\n  :data.long, wrong;");
    const dbk_statement *statement = &definition->sections[0].statements[0];
    static const struct {
        const char *writing; // of the compiled text
        dbk_place place;
    } cases[2][4] = {{{"SELECT", {5, 1}}, {"?2", {5, 20}}, {", wrong", {6, 13}}, {"wrong", {6, 15}}},
                     {{"SELECT", {5, 1}}, {"$2", {5, 20}}, {", wrong", {6, 13}}, {"wrong", {6, 15}}}};
    for (int dialect = DBK_DIALECT_SQLITE; dialect <= DBK_DIALECT_POSTGRES; dialect++) {
        dbk_compiled compiled;
        assert_int_equal(dbk_statement_compile(statement, (dbk_dialect)dialect, "f.sql", definition->arena,
                                               &compiled, NULL),
                         DAYBOOK_OK);
        for (size_t i = 0; i < 4; i++) {
            const char *found = strstr(compiled.text, cases[dialect][i].writing);
            assert_non_null(found);
            dbk_place place =
                dbk_statement_place(statement, (dbk_dialect)dialect, (size_t)(found - compiled.text));
            assert_int_equal(place.line, cases[dialect][i].place.line);
            assert_int_equal(place.column, cases[dialect][i].place.column);
        }
        assert_int_equal(dbk_statement_place(statement, (dbk_dialect)dialect, 9999).line, 6);
    }
    dbk_definition_free(definition);
}

static const dbk_insert *insert_of(dbk_definition **definition, const char *sql) {
    char text[512];
    (void)snprintf(text, sizeof text, ON "%s", sql);
    *definition = parse(text);
    const dbk_insert *insert = (*definition)->sections[0].statements[0].insert;
    assert_int_equal((*definition)->is_insert_only, insert != NULL);
    return insert;
}

static void plain_inserts_are_recognized(void **state) {
    (void)state;
    dbk_definition *definition = NULL;
    const dbk_insert *insert =
        insert_of(&definition,
                  "insert /* x */ into s.\"t 1\" (a, \"b\", c, d)\n VALUES (:seq, 'placed', :data.x, :seq)");
    assert_non_null(insert);
    assert_text(insert->table, "s.\"t 1\"");
    assert_int_equal(insert->column_count, 4);
    assert_text(insert->columns[1], "\"b\"");
    assert_int_equal(insert->value_count, 4);
    assert_int_equal(insert->values[0].parameter, 0);
    assert_true(insert->values[1].is_constant);
    assert_int_equal(insert->values[1].constant.kind, DBK_VALUE_TEXT);
    assert_string_equal(insert->values[1].constant.text.data, "placed");
    assert_int_equal(insert->values[2].parameter, 1);
    assert_int_equal(insert->values[3].parameter, 0);
    dbk_definition_free(definition);

    insert = insert_of(&definition, "INSERT INTO t VALUES (NULL, 42, '', :id)");
    assert_non_null(insert);
    assert_int_equal(insert->column_count, 0);
    assert_int_equal(insert->values[0].constant.kind, DBK_VALUE_NULL);
    assert_int_equal(insert->values[1].constant.integer, 42);
    assert_string_equal(insert->values[1].constant.text.data, "42");
    assert_int_equal(insert->values[2].constant.text.size, 0);
    dbk_definition_free(definition);
}

static void other_inserts_are_not_plain(void **state) {
    (void)state;
    static const char *const cases[] = {
        "INSERT INTO t VALUES (:seq) ON CONFLICT DO NOTHING",
        "INSERT INTO t VALUES (:seq) RETURNING a",
        "INSERT INTO t VALUES (:seq), (:id)",
        "INSERT INTO t VALUES (:seq + 1)",
        "INSERT INTO t VALUES (:seq::text)",
        "INSERT INTO t VALUES (-1)",
        "INSERT INTO t VALUES (1.5)",
        "INSERT INTO t VALUES (1234567890123456789)",
        "INSERT INTO t VALUES ('it''s')",
        "INSERT INTO t VALUES (E'x')",
        "INSERT INTO t VALUES (now())",
        "INSERT INTO t (a, b) VALUES (:seq)",
        "INSERT INTO t (a.b) VALUES (:seq)",
        "INSERT INTO t AS u VALUES (:seq)",
        "INSERT INTO t DEFAULT VALUES",
        "INSERT INTO t SELECT :seq",
        "INSERT INTO t /* a */ . /* b */ u VALUES (:seq)",
        "INSERT OR REPLACE INTO t VALUES (:seq)",
        "REPLACE INTO t VALUES (:seq)",
        "WITH a AS (SELECT 1) INSERT INTO t VALUES (:seq)",
        "UPDATE t SET a = :seq",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dbk_definition *definition = NULL;
        if (insert_of(&definition, cases[i]) != NULL) fail_msg("%s", cases[i]);
        dbk_definition_free(definition);
    }
    dbk_definition *definition = parse(ON "INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)");
    assert_false(definition->is_insert_only);
    dbk_definition_free(definition);
}

static void memory_that_runs_out_is_a_status(void **state) {
    (void)state;
    fault_allocator faults;
    fault_allocator_init(&faults);
    for (uint64_t n = 1;; n++) {
        fault_allocator_fail(&faults, n, false);
        dbk_definition *definition = NULL;
        daybook_status status =
            dbk_definition_parse(&faults.allocator, daybook_text(order_totals), "f.sql", &definition, NULL);
        dbk_definition_free(definition);
        assert_int_equal(fault_allocator_live(&faults), 0);
        if (!fault_allocator_has_failed(&faults)) {
            assert_int_equal(status, DAYBOOK_OK);
            assert_true(n > 5);
            break;
        }
        assert_int_equal(status, DAYBOOK_ENOMEM);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_read),
        cmocka_unit_test(its_sections_say_which_events_they_take),
        cmocka_unit_test(the_hash_is_of_what_has_a_meaning),
        cmocka_unit_test(what_is_wrong_is_told_with_its_place),
        cmocka_unit_test(the_bookkeeping_tables_are_not_written_to),
        cmocka_unit_test(a_byte_order_mark_is_passed_over),
        cmocka_unit_test(a_nul_is_told_with_its_place),
        cmocka_unit_test(every_size_has_a_limit),
        cmocka_unit_test(statements_are_written_for_a_database),
        cmocka_unit_test(a_parameter_of_the_database_s_own_is_refused),
        cmocka_unit_test(places_lead_back_into_the_file),
        cmocka_unit_test(plain_inserts_are_recognized),
        cmocka_unit_test(other_inserts_are_not_plain),
        cmocka_unit_test(memory_that_runs_out_is_a_status),
    };
    return cmocka_run_group_tests_name("projection/definition", tests, NULL, NULL);
}
