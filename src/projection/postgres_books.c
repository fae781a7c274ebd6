// SPDX-License-Identifier: Apache-2.0
// The bookkeeping of projections in PostgreSQL: checkpoints, parked events, what each projection made, and
// who is in charge. The tables lie in the first schema of the search path, as the read models do:
//
//   daybook_projection         a row per projection
//   daybook_parked             a row per event that could not be applied, or waits behind one
//   daybook_projection_object  what a [setup] brought into being, so that a rebuild or a removal drops that
//                              and nothing else; `name` is an identity as pg_identify_object writes it:
//                              public.f(integer)
//   daybook_projection_books   the version of these tables, a single row
//
// What [setup] made is what the catalogues have more than before, less what comes and goes with something
// else of it: indexes of its tables, sequences of its columns, types of its rows. Objects are dropped
// without CASCADE: what others built on them is not ours to drop, and the message names it.
//
// In charge is who holds an advisory lock of the session, named after schema and projection. It ends with
// the connection, so that another instance takes over at once and no clock is asked. The checkpoint is
// fenced besides: `save` finds the row only where position, instance and hash are as this instance left
// them. A server that ends a connection tells the client before it gives up the session's locks; so who
// finds the lock held by a session of its own name waits a moment.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "projection/postgres.h"

enum { CLAIM_TRY_COUNT = 40, CLAIM_PAUSE_NS = 25000000, NUMBER_SIZE = 24 };

#define STORE_COLUMN "store text NOT NULL DEFAULT ''"
#define MARK_POSITION_COLUMN "mark_position bigint NOT NULL DEFAULT 0"
#define MARK_ID_COLUMN "mark_id text NOT NULL DEFAULT ''"

// Tables of version 1 brought to what `tables` makes.
static const char from_version_1[] = "ALTER TABLE daybook_projection ADD COLUMN " STORE_COLUMN
                                     ", ADD COLUMN " MARK_POSITION_COLUMN ", ADD COLUMN " MARK_ID_COLUMN;

static const char tables[] =
    "CREATE TABLE IF NOT EXISTS daybook_projection (name text PRIMARY KEY, version bigint NOT NULL, hash "
    "text NOT NULL,"
    " position bigint NOT NULL, event_count bigint NOT NULL, state integer NOT NULL, updated_ns bigint NOT "
    "NULL,"
    " instance text NOT NULL, error text NOT NULL, " STORE_COLUMN ", " MARK_POSITION_COLUMN
    ", " MARK_ID_COLUMN ") WITH (fillfactor = 20, autovacuum_vacuum_threshold = 500);"
    "CREATE TABLE IF NOT EXISTS daybook_parked (projection text NOT NULL, position bigint NOT NULL, stream "
    "text NOT NULL,"
    " subject text NOT NULL, aggregate text NOT NULL, error text NOT NULL, attempt_count bigint NOT NULL,"
    " parked_ns bigint NOT NULL, behind bigint NOT NULL, request integer NOT NULL, PRIMARY KEY (projection, "
    "position));"
    "CREATE INDEX IF NOT EXISTS daybook_parked_aggregate ON daybook_parked (projection, aggregate, position);"
    "CREATE INDEX IF NOT EXISTS daybook_parked_request ON daybook_parked (projection) WHERE request <> 0;"
    "CREATE TABLE IF NOT EXISTS daybook_projection_object (projection text NOT NULL, kind text NOT NULL,"
    " name text NOT NULL, number bigint NOT NULL, PRIMARY KEY (kind, name));"
    "CREATE TABLE IF NOT EXISTS daybook_projection_books (version integer NOT NULL)";

// Values of our own statements.

static const char *number_text(char text[NUMBER_SIZE], int64_t number) {
    (void)snprintf(text, NUMBER_SIZE, "%" PRId64, number);
    return text;
}

static int64_t number_at(const PGresult *result, int row, int column) {
    return strtoll(PQgetvalue(result, row, column), NULL, 10);
}

static daybook_slice text_at(const PGresult *result, int row, int column) {
    return daybook_bytes(PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column));
}

// Rows that a statement of ours changed.
static daybook_status change(dbk_postgres *postgres, const char *sql, const char *const *values, int count,
                             uint64_t *row_count_out, daybook_error *error) {
    PGresult *result;
    DBK_TRY(dbk_postgres_query(postgres, sql, values, count, &result, error));
    *row_count_out = strtoull(PQcmdTuples(result), NULL, 10);
    PQclear(result);
    return DAYBOOK_OK;
}

// Whether one of our tables is there: where names without a schema lead, or in the shadow itself.
static daybook_status has_table(dbk_postgres *postgres, const char *name, bool *has_out,
                                daybook_error *error) {
    const char *values[] = {name, postgres->schema};
    PGresult *result;
    DBK_TRY(dbk_postgres_query(
        postgres,
        "SELECT pg_catalog.to_regclass(CASE WHEN $2 = '' THEN $1 ELSE $2 || '.' || $1 END) IS NOT NULL",
        values, 2, &result, error));
    *has_out = *PQgetvalue(result, 0, 0) == 't';
    PQclear(result);
    return DAYBOOK_OK;
}

static daybook_status fail_not_found(dbk_postgres *postgres, const char *name, daybook_error *error) {
    return dbk_postgres_fail(postgres, DBK_FAILURE_FATAL, "02000", DAYBOOK_ENOTFOUND, error,
                             "no projection '%s'", name);
}

// Version of the tables; 0 where there are none. Those of version 1 do not say it.
static daybook_status get_version(dbk_postgres *postgres, int64_t *version_out, daybook_error *error) {
    bool has = false;
    PGresult *result;
    DBK_TRY(has_table(postgres, "daybook_projection_books", &has, error));
    if (!has) {
        DBK_TRY(has_table(postgres, "daybook_projection", &has, error));
        *version_out = has ? 1 : 0;
        return DAYBOOK_OK;
    }
    DBK_TRY(dbk_postgres_query(postgres, "SELECT max(version) FROM daybook_projection_books", NULL, 0,
                               &result, error));
    *version_out = number_at(result, 0, 0);
    PQclear(result);
    if (*version_out <= DBK_BOOKS_VERSION) return DAYBOOK_OK;
    return dbk_postgres_fail(postgres, DBK_FAILURE_FATAL, "0A000", DAYBOOK_EUNSUPPORTED, error,
                             "a later daybook has kept projections in it: its bookkeeping is of version "
                             "%" PRId64 ", this one knows up to %d; use the later one",
                             *version_out, DBK_BOOKS_VERSION);
}

static daybook_status make_within(dbk_postgres *postgres, daybook_error *error) {
    int64_t version;
    char sql[128];
    // Two that make them at the same moment would trip over each other in spite of IF NOT EXISTS.
    DBK_TRY(dbk_postgres_exec(postgres, "SELECT pg_advisory_xact_lock(hashtextextended('daybook tables', 0))",
                              error));
    DBK_TRY(get_version(postgres, &version, error));
    if (version == 1) DBK_TRY(dbk_postgres_exec(postgres, from_version_1, error));
    DBK_TRY(dbk_postgres_exec(postgres, tables, error));
    (void)snprintf(sql, sizeof sql,
                   "DELETE FROM daybook_projection_books; INSERT INTO daybook_projection_books VALUES (%d)",
                   DBK_BOOKS_VERSION);
    return dbk_postgres_exec(postgres, sql, error);
}

daybook_status dbk_postgres_ensure(dbk_target *target, daybook_error *error) {
    dbk_postgres *postgres = dbk_postgres_of(target);
    static const char *const names[] = {"daybook_projection", "daybook_parked", "daybook_projection_object"};
    int64_t version;
    bool has = true;
    DBK_TRY(get_version(postgres, &version, error));
    for (size_t i = 0; has && i < sizeof names / sizeof names[0]; i++)
        DBK_TRY(has_table(postgres, names[i], &has, error));
    if (has && version == DBK_BOOKS_VERSION) return DAYBOOK_OK;
    DBK_TRY(dbk_postgres_start(postgres, error));
    return dbk_postgres_conclude(postgres, make_within(postgres, error), error);
}

// Checkpoints.

static void get_progress(const PGresult *result, int row, dbk_progress *progress) {
    memset(progress, 0, sizeof *progress);
    (void)snprintf(progress->name, sizeof progress->name, "%s", PQgetvalue(result, row, 0));
    progress->version = (uint64_t)number_at(result, row, 1);
    (void)snprintf(progress->hash, sizeof progress->hash, "%s", PQgetvalue(result, row, 2));
    progress->position = (uint64_t)number_at(result, row, 3);
    progress->event_count = (uint64_t)number_at(result, row, 4);
    progress->state = (int)number_at(result, row, 5);
    progress->updated_ns = number_at(result, row, 6);
    (void)snprintf(progress->instance, sizeof progress->instance, "%s", PQgetvalue(result, row, 7));
    (void)snprintf(progress->error, sizeof progress->error, "%s", PQgetvalue(result, row, 8));
    (void)snprintf(progress->store, sizeof progress->store, "%s", PQgetvalue(result, row, 9));
    progress->mark.position = (uint64_t)number_at(result, row, 10);
    (void)snprintf(progress->mark.id, sizeof progress->mark.id, "%s", PQgetvalue(result, row, 11));
}

// The rows as get_progress takes them, with `which` behind; NULL where there is no table. Who only looks
// leaves tables of version 1 as they are.
static daybook_status query_progress(dbk_postgres *postgres, const char *which, const char *name,
                                     PGresult **result_out, daybook_error *error) {
    const char *values[] = {postgres->schema};
    PGresult *result;
    *result_out = NULL;
    DBK_TRY(dbk_postgres_query(
        postgres,
        "SELECT t.oid IS NOT NULL, EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = t.oid AND"
        " attname = 'mark_id' AND NOT attisdropped) FROM (SELECT pg_catalog.to_regclass(CASE WHEN $1 = ''"
        " THEN 'daybook_projection' ELSE $1 || '.daybook_projection' END) AS oid) t",
        values, 1, &result, error));
    bool has = *PQgetvalue(result, 0, 0) == 't';
    bool is_version_1 = *PQgetvalue(result, 0, 1) != 't';
    PQclear(result);
    if (!has) return DAYBOOK_OK;
    char sql[256];
    (void)snprintf(sql, sizeof sql, "SELECT %s FROM daybook_projection %s",
                   is_version_1 ? DBK_PROGRESS_COLUMNS_1 ", '', 0, ''" : DBK_PROGRESS_COLUMNS, which);
    return dbk_postgres_query(postgres, sql, &name, name == NULL ? 0 : 1, result_out, error);
}

daybook_status dbk_postgres_load_progress(dbk_target *target, const char *name, dbk_progress *progress_out,
                                          daybook_error *error) {
    dbk_postgres *postgres = dbk_postgres_of(target);
    PGresult *result;
    DBK_TRY(query_progress(postgres, "WHERE name = $1", name, &result, error));
    bool is_found = PQntuples(result) > 0;
    if (is_found) get_progress(result, 0, progress_out);
    PQclear(result);
    return is_found ? DAYBOOK_OK : fail_not_found(postgres, name, error);
}

daybook_status dbk_postgres_list(dbk_target *target,
                                 int (*visit)(void *context, const dbk_progress *progress), void *context,
                                 daybook_error *error) {
    PGresult *result;
    DBK_TRY(query_progress(dbk_postgres_of(target), "ORDER BY name COLLATE \"C\"", NULL, &result, error));
    for (int row = 0; row < PQntuples(result); row++) {
        dbk_progress progress;
        get_progress(result, row, &progress);
        if (visit(context, &progress) != 0) break;
    }
    PQclear(result);
    return DAYBOOK_OK;
}

daybook_status dbk_postgres_set_state(dbk_target *target, const char *name, int state, const char *reason,
                                      int64_t now_ns, daybook_error *error) {
    dbk_postgres *postgres = dbk_postgres_of(target);
    char numbers[2][NUMBER_SIZE];
    const char *values[] = {name, number_text(numbers[0], state), reason, number_text(numbers[1], now_ns)};
    bool has = false;
    uint64_t row_count = 0;
    DBK_TRY(has_table(postgres, "daybook_projection", &has, error));
    if (has)
        DBK_TRY(
            change(postgres,
                   "UPDATE daybook_projection SET state = $2::integer, error = $3, updated_ns = $4::bigint"
                   " WHERE name = $1",
                   values, 4, &row_count, error));
    return row_count == 0 ? fail_not_found(postgres, name, error) : DAYBOOK_OK;
}

daybook_status dbk_postgres_save(dbk_target *target, const dbk_progress *progress, uint64_t previous_position,
                                 daybook_error *error) {
    dbk_postgres *postgres = dbk_postgres_of(target);
    char numbers[5][NUMBER_SIZE];
    const char *values[] = {progress->name,
                            number_text(numbers[0], (int64_t)progress->position),
                            number_text(numbers[1], (int64_t)progress->event_count),
                            number_text(numbers[2], progress->updated_ns),
                            progress->error,
                            number_text(numbers[3], (int64_t)previous_position),
                            postgres->instance,
                            progress->hash,
                            progress->store,
                            number_text(numbers[4], (int64_t)progress->mark.position),
                            progress->mark.id};
    return dbk_postgres_send(postgres,
                             "WITH saved AS (UPDATE daybook_projection SET position = $2::bigint,"
                             " event_count = $3::bigint, updated_ns = $4::bigint, error = $5, store = $9,"
                             " mark_position = $10::bigint, mark_id = $11 WHERE name = $1"
                             " AND position = $6::bigint AND instance = $7 AND hash = $8 RETURNING 1)"
                             " SELECT 1 / count(*) FROM saved",
                             values, 11, DBK_POSTGRES_SENT_SAVE, error);
}

// Making and dropping.

static daybook_status insert_row(dbk_postgres *postgres, const dbk_progress *progress, daybook_error *error) {
    char numbers[6][NUMBER_SIZE];
    const char *values[] = {progress->name,
                            number_text(numbers[0], (int64_t)progress->version),
                            progress->hash,
                            number_text(numbers[1], (int64_t)progress->position),
                            number_text(numbers[2], (int64_t)progress->event_count),
                            number_text(numbers[3], progress->state),
                            number_text(numbers[4], progress->updated_ns),
                            postgres->instance,
                            progress->error,
                            progress->store,
                            number_text(numbers[5], (int64_t)progress->mark.position),
                            progress->mark.id};
    return dbk_postgres_query(postgres,
                              "INSERT INTO daybook_projection (" DBK_PROGRESS_COLUMNS
                              ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
                              values, 12, NULL, error);
}

static daybook_status run_all(dbk_postgres *postgres, const dbk_definition *definition,
                              const dbk_statement *statements, size_t count, daybook_error *error) {
    for (size_t i = 0; i < count; i++)
        DBK_TRY(dbk_postgres_exec_statement(postgres, definition, &statements[i], error));
    return DAYBOOK_OK;
}

// Everything of a kind that can be made by SQL and dropped by its identity, as (catalogue, object).
#define ALL_OBJECTS                                                                                       \
    "(SELECT tableoid AS class, oid AS object FROM pg_class WHERE relkind NOT IN ('t', 'c')"              \
    " AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = pg_class.oid AND contype IN ('p', 'u', " \
    "'x'))"                                                                                               \
    " UNION ALL SELECT tableoid, oid FROM pg_proc"                                                        \
    " UNION ALL SELECT tableoid, oid FROM pg_type WHERE typtype <> 'b' AND typtype <> 'm'"                \
    " AND NOT EXISTS (SELECT FROM pg_class WHERE pg_class.oid = typrelid AND relkind <> 'c')"             \
    " UNION ALL SELECT tableoid, oid FROM pg_namespace"                                                   \
    " UNION ALL SELECT tableoid, oid FROM pg_trigger WHERE NOT tgisinternal"                              \
    " UNION ALL SELECT tableoid, oid FROM pg_rewrite WHERE rulename <> '_RETURN'"                         \
    " UNION ALL SELECT tableoid, oid FROM pg_policy"                                                      \
    " UNION ALL SELECT tableoid, oid FROM pg_statistic_ext)"

static const char remember_before[] =
    "CREATE TEMPORARY TABLE daybook_before ON COMMIT DROP AS SELECT * FROM " ALL_OBJECTS " o";

// Less what hangs on another of them (a: automatic, i: internal, P and S: partitions) or belongs to an
// extension, and less the temporary schemas that a session makes for itself.
static const char remember_after[] =
    "WITH made AS MATERIALIZED (SELECT * FROM " ALL_OBJECTS " o EXCEPT SELECT * FROM pg_temp.daybook_before)"
    " INSERT INTO daybook_projection_object SELECT $1, i.type, i.identity, m.object::bigint"
    " FROM made m, pg_identify_object(m.class, m.object, 0) i WHERE NOT EXISTS (SELECT FROM pg_depend d"
    " WHERE d.classid = m.class AND d.objid = m.object AND d.refobjid <> m.object AND d.deptype IN ('a', "
    "'i', 'P', 'S') AND EXISTS "
    "(SELECT FROM made"
    " WHERE made.class = d.refclassid AND made.object = d.refobjid)) AND NOT EXISTS (SELECT FROM pg_depend d"
    " WHERE d.classid = m.class AND d.objid = m.object AND d.deptype = 'e')"
    " AND (i.schema IS NULL OR i.schema NOT LIKE 'pg\\_%') AND i.identity NOT LIKE 'pg\\_%'";

// A shadow's objects must be all its own: a name with a schema would lead to the live ones.
static daybook_status check_schema(dbk_postgres *postgres, daybook_error *error) {
    const char *schema = postgres->schema;
    PGresult *result;
    if (*schema == '\0') return DAYBOOK_OK;
    DBK_TRY(dbk_postgres_query(
        postgres,
        "SELECT kind || ' ' || name FROM daybook_projection_object WHERE kind IN ('schema') OR"
        " position(quote_ident($1) || '.' IN name) = 0 LIMIT 1",
        &schema, 1, &result, error));
    daybook_status status = DAYBOOK_OK;
    if (PQntuples(result) > 0)
        status =
            dbk_postgres_fail(postgres, DBK_FAILURE_FATAL, "0A000", DAYBOOK_EUNSUPPORTED, error,
                              "[setup] makes %s: what is to be rebuilt side by side must be named without a"
                              " schema; choose one by search_path in the connection string",
                              PQgetvalue(result, 0, 0));
    PQclear(result);
    return status;
}

static daybook_status create(dbk_postgres *postgres, const dbk_definition *definition,
                             const dbk_progress *progress, daybook_error *error) {
    const char *name = progress->name;
    dbk_progress known;
    daybook_status status = dbk_postgres_load_progress(&postgres->target, name, &known, error);
    if (status == DAYBOOK_OK)
        return dbk_postgres_fail(postgres, DBK_FAILURE_FATAL, "42710", DAYBOOK_EEXISTS, error,
                                 "projection '%s' exists already", name);
    if (status != DAYBOOK_ENOTFOUND) return status;
    DBK_TRY(dbk_postgres_exec(postgres, remember_before, error));
    DBK_TRY(run_all(postgres, definition, definition->setup, definition->setup_count, error));
    DBK_TRY(dbk_postgres_query(postgres, remember_after, &name, 1, NULL, error));
    DBK_TRY(check_schema(postgres, error));
    return insert_row(postgres, progress, error);
}

daybook_status dbk_postgres_create(dbk_target *target, const dbk_definition *definition,
                                   const dbk_progress *progress, daybook_error *error) {
    dbk_postgres *postgres = dbk_postgres_of(target);
    DBK_TRY(dbk_postgres_start(postgres, error));
    // With one snapshot: what others make meanwhile is not taken for ours, and not dropped with ours one day.
    daybook_status status =
        dbk_postgres_exec(postgres, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", error);
    if (status != DAYBOOK_OK) return dbk_postgres_conclude(postgres, status, error);
    return dbk_postgres_conclude(postgres, create(postgres, definition, progress, error), error);
}

daybook_status dbk_postgres_exec_each(dbk_postgres *postgres, const char *sql, const char *const *values,
                                      int count, daybook_error *error) {
    PGresult *result;
    DBK_TRY(dbk_postgres_query(postgres, sql, values, count, &result, error));
    daybook_status status = DAYBOOK_OK;
    for (int row = 0; status == DAYBOOK_OK && row < PQntuples(result); row++)
        status = dbk_postgres_exec(postgres, PQgetvalue(result, row, 0), error);
    PQclear(result);
    return status;
}

// One statement for all of a kind, so that it does not matter which of two tables refers to the other. What
// users stands before what is used. What hangs on a table (triggers, rules, policies) comes first, and may
// be on a foreign one.
static const char drops[] =
    "WITH made AS (SELECT CASE kind WHEN 'composite type' THEN 'type' ELSE kind END AS kind, name, number"
    " FROM daybook_projection_object WHERE projection = $1)"
    " SELECT format('DROP %s IF EXISTS %s', kind, names) FROM ("
    "SELECT kind, name AS names FROM made WHERE kind IN ('trigger', 'rule', 'policy') UNION ALL"
    " SELECT kind, string_agg(name, ', ' ORDER BY number DESC) FROM made WHERE kind NOT IN ('trigger', "
    "'rule', 'policy')"
    " GROUP BY kind) o"
    " ORDER BY array_position(ARRAY['trigger', 'rule', 'policy', 'statistics object', 'index', 'materialized "
    "view',"
    " 'view', 'table', 'foreign table', 'sequence', 'aggregate', 'function', 'procedure', 'type', 'schema'], "
    "kind)"
    " NULLS FIRST";

daybook_status dbk_postgres_drop_objects(dbk_postgres *postgres, const char *name, daybook_error *error) {
    DBK_TRY(dbk_postgres_exec_each(postgres, drops, &name, 1, error));
    return dbk_postgres_query(postgres, "DELETE FROM daybook_projection_object WHERE projection = $1", &name,
                              1, NULL, error);
}

static daybook_status drop(dbk_postgres *postgres, const char *name, const dbk_definition *definition,
                           daybook_error *error) {
    dbk_progress known;
    DBK_TRY(dbk_postgres_load_progress(&postgres->target, name, &known, error));
    if (definition != NULL)
        DBK_TRY(run_all(postgres, definition, definition->teardown, definition->teardown_count, error));
    DBK_TRY(dbk_postgres_drop_objects(postgres, name, error));
    DBK_TRY(dbk_postgres_query(postgres, "DELETE FROM daybook_parked WHERE projection = $1", &name, 1, NULL,
                               error));
    return dbk_postgres_query(postgres, "DELETE FROM daybook_projection WHERE name = $1", &name, 1, NULL,
                              error);
}

daybook_status dbk_postgres_drop(dbk_target *target, const char *name, const dbk_definition *definition,
                                 daybook_error *error) {
    dbk_postgres *postgres = dbk_postgres_of(target);
    DBK_TRY(dbk_postgres_start(postgres, error));
    return dbk_postgres_conclude(postgres, drop(postgres, name, definition, error), error);
}

// Who is in charge.

#define LOCK_KEY "hashtextextended('daybook ' || $1 || ' ' || coalesce(current_schema(), '') || '.' || $2, 0)"

// Whether one of our name holds it: most likely our own last session, which is about to end.
static const char is_held_by_us[] =
    "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND "
    "l.granted"
    " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND l.objsubid = 1"
    " AND (l.classid::bigint << 32) + l.objid::bigint = " LOCK_KEY
    " AND a.application_name = current_setting('application_name') AND a.pid <> pg_backend_pid()";

static daybook_status ask(dbk_postgres *postgres, const char *sql, const char *const *values,
                          bool *answer_out, daybook_error *error) {
    PGresult *result;
    DBK_TRY(dbk_postgres_query(postgres, sql, values, 2, &result, error));
    const char *answer = PQgetvalue(result, 0, 0);
    *answer_out = *answer == 't' || (*answer >= '1' && *answer <= '9');
    PQclear(result);
    return DAYBOOK_OK;
}

daybook_status dbk_postgres_lock(dbk_postgres *postgres, const char *kind, const char *name,
                                 daybook_error *error) {
    const char *values[] = {kind, name};
    for (int attempt = 0; attempt < CLAIM_TRY_COUNT; attempt++) {
        bool is_locked = false;
        bool is_ours = false;
        DBK_TRY(ask(postgres, "SELECT pg_try_advisory_lock(" LOCK_KEY ")", values, &is_locked, error));
        if (is_locked) return DAYBOOK_OK;
        DBK_TRY(ask(postgres, is_held_by_us, values, &is_ours, error));
        if (!is_ours) break;
        dbk_postgres_pause(postgres, CLAIM_PAUSE_NS);
    }
    return dbk_postgres_fail(postgres, DBK_FAILURE_FATAL, "55P03", DAYBOOK_ELOCKED, error,
                             "another instance is at the %s of '%s'", kind, name);
}

daybook_status dbk_postgres_claim(dbk_target *target, const char *name, const char *instance, int64_t now_ns,
                                  daybook_error *error) {
    dbk_postgres *postgres = dbk_postgres_of(target);
    if (*postgres->claimed == '\0') {
        char label[DBK_POSTGRES_NAME_SIZE];
        (void)snprintf(label, sizeof label, "daybook %.40s %s", instance, name);
        const char *setting = label;
        DBK_TRY(dbk_postgres_query(postgres, "SELECT set_config('application_name', $1, false)", &setting, 1,
                                   NULL, error));
        DBK_TRY(dbk_postgres_lock(postgres, "projection", name, error));
    }
    (void)snprintf(postgres->claimed, sizeof postgres->claimed, "%s", name);
    (void)snprintf(postgres->instance, sizeof postgres->instance, "%s", instance);
    bool has = false;
    DBK_TRY(has_table(postgres, "daybook_projection", &has, error));
    if (!has) return DAYBOOK_OK;
    char number[NUMBER_SIZE];
    const char *values[] = {name, postgres->instance, number_text(number, now_ns)};
    return dbk_postgres_query(
        postgres, "UPDATE daybook_projection SET instance = $2, updated_ns = $3::bigint WHERE name = $1",
        values, 3, NULL, error);
}

void dbk_postgres_release(dbk_target *target) {
    dbk_postgres *postgres = dbk_postgres_of(target);
    const char *values[] = {"projection", postgres->claimed};
    // Where this fails the connection is gone, and the lock with it.
    if (*postgres->claimed != '\0')
        (void)dbk_postgres_query(postgres, "SELECT pg_advisory_unlock(" LOCK_KEY ")", values, 2, NULL, NULL);
    *postgres->claimed = '\0';
}

// Parked events.

// Texts of events may hold what PostgreSQL's cannot, and are not NUL-terminated: copied, NULs left out.
static const char *copy_slice(dbk_buf *texts, daybook_slice slice) {
    size_t start = texts->size;
    for (size_t i = 0; i < slice.size; i++)
        if (((const char *)slice.data)[i] != '\0') dbk_buf_append(texts, (const char *)slice.data + i, 1);
    dbk_buf_append_u8(texts, 0);
    return texts->failed ? "" : (const char *)texts->data + start;
}

daybook_status dbk_postgres_park(dbk_target *target, const char *name, const dbk_parked *parked,
                                 daybook_error *error) {
    dbk_postgres *postgres = dbk_postgres_of(target);
    char numbers[5][NUMBER_SIZE];
    dbk_buf texts;
    dbk_buf_init(&texts, postgres->allocator, 1 << 20);
    // Reserved at once, so that it does not move.
    size_t size = parked->stream.size + parked->subject.size + parked->aggregate.size + parked->error.size +
                  4;
    daybook_status status = dbk_buf_reserve(&texts, size) == NULL ? dbk_postgres_fail_memory(postgres, error)
                                                                  : DAYBOOK_OK;
    if (status == DAYBOOK_OK) {
        const char *values[] = {name,
                                number_text(numbers[0], (int64_t)parked->position),
                                copy_slice(&texts, parked->stream),
                                copy_slice(&texts, parked->subject),
                                copy_slice(&texts, parked->aggregate),
                                copy_slice(&texts, parked->error),
                                number_text(numbers[1], (int64_t)parked->attempt_count),
                                number_text(numbers[2], parked->parked_ns),
                                number_text(numbers[3], (int64_t)parked->behind),
                                number_text(numbers[4], (int64_t)parked->request)};
        status = dbk_postgres_send(
            postgres,
            "INSERT INTO daybook_parked (projection, " DBK_PARKED_COLUMNS
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
            " ON CONFLICT (projection, position) DO UPDATE SET stream = excluded.stream, subject = "
            "excluded.subject,"
            " aggregate = excluded.aggregate, error = excluded.error, attempt_count = excluded.attempt_count,"
            " parked_ns = excluded.parked_ns, behind = excluded.behind, request = excluded.request",
            values, 10, DBK_POSTGRES_SENT_PLAIN, error);
    }
    dbk_buf_deinit(&texts);
    return status;
}

daybook_status dbk_postgres_unpark(dbk_target *target, const char *name, uint64_t position,
                                   daybook_error *error) {
    char number[NUMBER_SIZE];
    const char *values[] = {name, number_text(number, (int64_t)position)};
    return dbk_postgres_send(dbk_postgres_of(target),
                             "DELETE FROM daybook_parked WHERE projection = $1 AND position = $2::bigint",
                             values, 2, DBK_POSTGRES_SENT_PLAIN, error);
}

static void get_parked(const PGresult *result, int row, dbk_parked *parked) {
    parked->position = (uint64_t)number_at(result, row, 0);
    parked->stream = text_at(result, row, 1);
    parked->subject = text_at(result, row, 2);
    parked->aggregate = text_at(result, row, 3);
    parked->error = text_at(result, row, 4);
    parked->attempt_count = (uint64_t)number_at(result, row, 5);
    parked->parked_ns = number_at(result, row, 6);
    parked->behind = (uint64_t)number_at(result, row, 7);
    parked->request = (dbk_parked_request)number_at(result, row, 8);
}

daybook_status dbk_postgres_parked(dbk_target *target, const char *name, daybook_slice aggregate,
                                   int (*visit)(void *context, const dbk_parked *parked), void *context,
                                   daybook_error *error) {
    dbk_postgres *postgres = dbk_postgres_of(target);
    bool has = false;
    DBK_TRY(has_table(postgres, "daybook_parked", &has, error));
    if (!has) return DAYBOOK_OK;
    char *wanted = dbk_copy_text(postgres->allocator, aggregate);
    if (wanted == NULL) return dbk_postgres_fail_memory(postgres, error);
    const char *values[] = {name, wanted};
    PGresult *result;
    daybook_status status = dbk_postgres_query(
        postgres,
        "SELECT " DBK_PARKED_COLUMNS
        " FROM daybook_parked WHERE projection = $1 AND ($2 = '' OR aggregate = $2) ORDER BY position",
        values, 2, &result, error);
    dbk_free(postgres->allocator, wanted);
    if (status != DAYBOOK_OK) return status;
    for (int row = 0; row < PQntuples(result); row++) {
        dbk_parked parked;
        get_parked(result, row, &parked);
        if (visit(context, &parked) != 0) break;
    }
    PQclear(result);
    return DAYBOOK_OK;
}

daybook_status dbk_postgres_request(dbk_target *target, const char *name, uint64_t position,
                                    dbk_parked_request request, daybook_error *error) {
    dbk_postgres *postgres = dbk_postgres_of(target);
    dbk_progress known;
    char numbers[2][NUMBER_SIZE];
    const char *values[] = {name, number_text(numbers[0], (int64_t)request),
                            number_text(numbers[1], (int64_t)position)};
    uint64_t row_count = 0;
    DBK_TRY(dbk_postgres_load_progress(target, name, &known, error));
    DBK_TRY(change(postgres,
                   "UPDATE daybook_parked SET request = $2::integer WHERE projection = $1"
                   " AND ($3::bigint = 0 AND behind = 0 OR position = $3::bigint)",
                   values, 3, &row_count, error));
    if (row_count > 0 || position == 0) return DAYBOOK_OK;
    return dbk_postgres_fail(postgres, DBK_FAILURE_FATAL, "02000", DAYBOOK_ENOTFOUND, error,
                             "no parked event at position %" PRIu64 " of projection '%s'", position, name);
}

daybook_status dbk_postgres_has_request(dbk_target *target, const char *name, bool *has_request_out,
                                        daybook_error *error) {
    PGresult *result;
    DBK_TRY(dbk_postgres_query(
        dbk_postgres_of(target),
        "SELECT EXISTS (SELECT FROM daybook_parked WHERE projection = $1 AND request <> 0)", &name, 1,
        &result, error));
    *has_request_out = *PQgetvalue(result, 0, 0) == 't';
    PQclear(result);
    return DAYBOOK_OK;
}
