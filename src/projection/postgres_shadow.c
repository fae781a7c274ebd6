// SPDX-License-Identifier: Apache-2.0
// Rebuilding side by side in PostgreSQL: the shadow is a schema of its own, daybook_build_NAME, that comes
// first in the search path of a second connection; so the same SQL makes the same tables in it, with
// bookkeeping of their own. Commits there do not wait for the disk: rows and checkpoint lie in the same
// log, and what a crash takes it takes of both.
//
// The switch is one transaction of the live connection. It begins with a lock on the live row (the fence),
// which the live run takes too at the beginning of each of its transactions: so the live checkpoint stands
// still, and the shadow is brought beyond it, however fast events come, while others go on reading. Then
// the live objects are dropped, the shadow's move into their schema (ALTER ... SET SCHEMA; indexes,
// constraints and sequences of columns go with their tables), row and parked events are exchanged. It
// writes no rows, and waits only for readers who are at a live table at that moment: not longer than
// LOCK_TIMEOUT at a time, which is less than deadlock_timeout, so that a reader of several tables is never
// the one to be refused; then it lets go and is tried again. Its commit makes what the shadow wrote
// durable, because the log is one.
//
// What an administrator did to the live tables beside the file is kept: owner, grants on tables and
// columns, and further indexes, which are built on the shadow's tables before the switch. What others built
// on them (views, foreign keys) PostgreSQL keeps from being dropped: then nothing is changed, and the
// message names it.
//
// A second rebuild of the same projection is kept out by an advisory lock of the shadow's session.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "projection/postgres.h"

#define LOCK_TIMEOUT "500ms"

// Names of PostgreSQL end at 63 bytes; a longer one is told apart by its hash.
static void name_schema(const char *name, char schema[DBK_POSTGRES_NAME_SIZE]) {
    static const char prefix[] = "daybook_build_";
    size_t size = strlen(name);
    if (size + sizeof prefix <= DBK_POSTGRES_NAME_SIZE) {
        (void)snprintf(schema, DBK_POSTGRES_NAME_SIZE, "%s%s", prefix, name);
        return;
    }
    dbk_sha256 sha;
    uint8_t hash[32];
    dbk_sha256_init(&sha);
    dbk_sha256_update(&sha, name, size);
    dbk_sha256_final(&sha, hash);
    (void)snprintf(schema, DBK_POSTGRES_NAME_SIZE, "%s%.32s_%02x%02x%02x%02x%02x", prefix, name, hash[0],
                   hash[1], hash[2], hash[3], hash[4]);
}

// The schema's name is letters, digits and '_' only, and needs no quotes.
static daybook_status exec_schema(dbk_postgres *postgres, const char *before, const char *after,
                                  daybook_error *error) {
    char sql[256];
    (void)snprintf(sql, sizeof sql, "%s %s %s", before, postgres->schema, after);
    return dbk_postgres_exec(postgres, sql, error);
}

// Opening.

static daybook_status make_schema(dbk_postgres *shadow, daybook_error *error) {
    DBK_TRY(exec_schema(shadow, "DROP SCHEMA IF EXISTS", "CASCADE", error));
    DBK_TRY(exec_schema(shadow, "CREATE SCHEMA", "", error));
    const char *schema = shadow->schema;
    DBK_TRY(dbk_postgres_query(
        shadow,
        "SELECT set_config('search_path', $1 || ', ' || current_setting('search_path'), false),"
        " set_config('synchronous_commit', 'off', false)",
        &schema, 1, NULL, error));
    return dbk_postgres_ensure(&shadow->target, error);
}

daybook_status dbk_postgres_shadow_open(dbk_target *target, const char *name, dbk_target **shadow_out,
                                        daybook_error *error) {
    dbk_postgres *postgres = dbk_postgres_of(target);
    dbk_target_options options = {
        .allocator = postgres->allocator, .vfs = postgres->vfs, .failure = &target->failure};
    dbk_postgres *shadow;
    *shadow_out = NULL;
    DBK_TRY(dbk_postgres_open_with(postgres->conninfo, &options, &shadow, error));
    name_schema(name, shadow->schema);
    daybook_status status = dbk_postgres_lock(shadow, "rebuild", name, error);
    if (status == DAYBOOK_OK) status = make_schema(shadow, error);
    if (status == DAYBOOK_OK) {
        *shadow_out = &shadow->target;
        return DAYBOOK_OK;
    }
    target->failure = shadow->target.failure;
    dbk_postgres_close(&shadow->target);
    return status;
}

void dbk_postgres_shadow_close(dbk_target *target, bool is_removed) {
    dbk_postgres *shadow = dbk_postgres_of(target);
    if (shadow == NULL) return;
    if (shadow->is_in_transaction) shadow->target.calls->rollback(target);
    // Where this fails the next rebuild does it.
    if (is_removed) (void)exec_schema(shadow, "DROP SCHEMA IF EXISTS", "CASCADE", NULL);
    dbk_postgres_close(target);
}

// Before the switch.

// Indexes of live tables that the shadow's tables of the same name lack. `$2` is the shadow's schema; the
// definition names the live table behind ON, where ours has to stand.
static const char further_indexes[] =
    "SELECT replace(pg_get_indexdef(i.indexrelid), ' ON ' || format('%I.%I', n.nspname, t.relname) || ' ',"
    " ' ON ' || format('%I.%I', $2::text, t.relname) || ' ')"
    " FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid"
    " JOIN pg_namespace n ON n.oid = t.relnamespace JOIN pg_class s ON s.relname = t.relname AND s.relkind = "
    "t.relkind"
    " AND s.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $2)"
    " WHERE t.oid IN (SELECT to_regclass(o.name) FROM pg_temp.daybook_live o WHERE o.kind LIKE '%table%'"
    " AND o.projection = $1) AND NOT EXISTS (SELECT FROM pg_class y WHERE y.relname = x.relname"
    " AND y.relnamespace = s.relnamespace)"
    " AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)";

static daybook_status add_indexes(dbk_postgres *shadow, const char *live_schema, const char *name,
                                  daybook_error *error) {
    const char *values[] = {name, shadow->schema};
    char sql[320];
    (void)snprintf(
        sql, sizeof sql,
        "CREATE TEMPORARY TABLE daybook_live ON COMMIT DROP AS SELECT * FROM %s.daybook_projection_object",
        live_schema);
    DBK_TRY(dbk_postgres_exec(shadow, sql, error));
    return dbk_postgres_exec_each(shadow, further_indexes, values, 2, error);
}

// Where names without a schema lead but for the shadow, quoted; and whether there is bookkeeping in it.
static daybook_status find_live_schema(dbk_postgres *shadow, char *schema, size_t size, bool *has_books_out,
                                       daybook_error *error) {
    const char *own = shadow->schema;
    PGresult *result;
    DBK_TRY(dbk_postgres_query(shadow,
                               "SELECT quote_ident(n.nspname), to_regclass(quote_ident(n.nspname) || "
                               "'.daybook_projection_object') IS NOT NULL"
                               " FROM unnest(current_schemas(false)) WITH ORDINALITY s(name, place) JOIN "
                               "pg_namespace n ON n.nspname = s.name"
                               " WHERE s.name <> $1 ORDER BY place LIMIT 1",
                               &own, 1, &result, error));
    daybook_status status = DAYBOOK_OK;
    if (PQntuples(result) == 0)
        status = dbk_postgres_fail(shadow, DBK_FAILURE_FATAL, "3F000", DAYBOOK_ENOTFOUND, error,
                                   "no schema to make tables in; create one that is in the search path");
    if (status == DAYBOOK_OK) {
        (void)snprintf(schema, size, "%s", PQgetvalue(result, 0, 0));
        *has_books_out = *PQgetvalue(result, 0, 1) == 't';
    }
    PQclear(result);
    return status;
}

static daybook_status projection_of(dbk_postgres *shadow, char *name, size_t size, daybook_error *error) {
    PGresult *result;
    DBK_TRY(dbk_postgres_query(shadow, "SELECT name FROM daybook_projection", NULL, 0, &result, error));
    (void)snprintf(name, size, "%s", PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");
    PQclear(result);
    return DAYBOOK_OK;
}

daybook_status dbk_postgres_shadow_finish(dbk_target *target, daybook_error *error) {
    dbk_postgres *shadow = dbk_postgres_of(target);
    char schema[2 * DBK_POSTGRES_NAME_SIZE + 2];
    char name[DBK_DEFINITION_NAME_SIZE_MAX + 1];
    bool has_books = false;
    DBK_TRY(find_live_schema(shadow, schema, sizeof schema, &has_books, error));
    DBK_TRY(projection_of(shadow, name, sizeof name, error));
    if (has_books && *name != '\0') {
        DBK_TRY(dbk_postgres_start(shadow, error));
        DBK_TRY(dbk_postgres_conclude(shadow, add_indexes(shadow, schema, name, error), error));
    }
    // Statistics, so that the first readers have plans for what is there now.
    return dbk_postgres_exec_each(
        shadow,
        "SELECT format('ANALYZE %s', c.oid::regclass) FROM pg_class c WHERE relkind IN ('r',"
        " 'p', 'm') AND relnamespace = current_schema()::regnamespace",
        NULL, 0, error);
}

// The switch.

// What others may do with the live tables, and who owns them, as statements that do the same to tables of
// the same name once they stand in their place. Kept as text, because the tables are dropped in between.
static const char remember_grants[] =
    "CREATE TEMPORARY TABLE daybook_grant ON COMMIT DROP AS"
    " WITH live AS (SELECT c.oid, c.relname, c.relkind, c.relowner, c.relacl, c.relnamespace FROM pg_class c"
    " WHERE c.oid IN (SELECT to_regclass(o.name) FROM daybook_projection_object o WHERE o.projection = $1)"
    " AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')),"
    " shadow AS (SELECT c.oid, c.relname, c.relkind, c.relowner FROM pg_class c"
    " WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $2))"
    " SELECT 1 AS step, format('GRANT %s ON %s TO %s%s', a.privilege_type, format('%I.%I',"
    " l.relnamespace::regnamespace::text, l.relname), CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE"
    " quote_ident(pg_get_userbyid(a.grantee)) END, CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE "
    "'' END) AS sql"
    " FROM live l JOIN shadow s USING (relname, relkind), aclexplode(l.relacl) a WHERE a.grantee <> "
    "l.relowner"
    " UNION ALL SELECT 2, format('GRANT %s (%I) ON %s TO %s', a.privilege_type, t.attname, format('%I.%I',"
    " l.relnamespace::regnamespace::text, l.relname), CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE"
    " quote_ident(pg_get_userbyid(a.grantee)) END) FROM live l JOIN shadow s USING (relname, relkind)"
    " JOIN pg_attribute t ON t.attrelid = l.oid, aclexplode(t.attacl) a WHERE EXISTS (SELECT FROM "
    "pg_attribute u"
    " WHERE u.attrelid = s.oid AND u.attname = t.attname AND NOT u.attisdropped)"
    " UNION ALL SELECT 3, format('ALTER TABLE %s OWNER TO %I', format('%I.%I', "
    "l.relnamespace::regnamespace::text,"
    " l.relname), pg_get_userbyid(l.relowner)) FROM live l JOIN shadow s USING (relname, relkind)"
    " WHERE l.relowner <> s.relowner AND l.relkind <> 'S'";

// Everything of the shadow but its bookkeeping and what moves along with it. $1: the schema, $2: where to.
static const char moves[] =
    "SELECT sql FROM ("
    " SELECT c.oid, format('ALTER %s %I.%I SET SCHEMA %s', CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN"
    " 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'c' THEN 'TYPE' ELSE "
    "'TABLE' END,"
    " n.nspname, c.relname, $2::text) AS sql FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c') AND c.relname NOT IN"
    " ('daybook_projection', 'daybook_parked', 'daybook_projection_object', 'daybook_projection_books')"
    " AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid"
    " AND c.relkind = 'S' AND d.deptype IN ('a', 'i'))"
    " UNION ALL SELECT p.oid, format('ALTER ROUTINE %s SET SCHEMA %s', p.oid::regprocedure, $2::text) FROM "
    "pg_proc p"
    " JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = $1"
    " UNION ALL SELECT t.oid, format('ALTER TYPE %I.%I SET SCHEMA %s', n.nspname, t.typname, $2::text) FROM "
    "pg_type t"
    " JOIN pg_namespace n ON n.oid = t.typnamespace WHERE n.nspname = $1 AND t.typtype IN ('e', 'd', 'r')"
    " UNION ALL SELECT e.oid, format('ALTER STATISTICS %I.%I SET SCHEMA %s', n.nspname, e.stxname, $2::text)"
    " FROM pg_statistic_ext e JOIN pg_namespace n ON n.oid = e.stxnamespace WHERE n.nspname = $1) m ORDER BY "
    "oid";

// The live checkpoint may not be beyond the shadow's, unless the shadow was filled behind the fence: then it
// holds all there is, and what lies between was purged or is of a newer state of a store that was restored.
// Where there is no live row, the shadow's becomes it.
static daybook_status compare(dbk_postgres *postgres, dbk_postgres *shadow, const char *name, bool was_fenced,
                              bool *is_live_out, uint64_t *position_out, daybook_error *error) {
    PGresult *result;
    DBK_TRY(dbk_postgres_query(postgres, "SELECT position FROM daybook_projection WHERE name = $1 FOR UPDATE",
                               &name, 1, &result, error));
    *is_live_out = PQntuples(result) > 0;
    PQclear(result);
    dbk_progress live = {0};
    dbk_progress built;
    if (*is_live_out) DBK_TRY(dbk_postgres_load_progress(&postgres->target, name, &live, error));
    daybook_status status = dbk_postgres_load_progress(&shadow->target, name, &built, error);
    if (status != DAYBOOK_OK) {
        postgres->target.failure = shadow->target.failure;
        return status;
    }
    *position_out = built.position;
    if (was_fenced || live.position <= built.position) return DAYBOOK_OK;
    return dbk_postgres_fail(postgres, DBK_FAILURE_FENCED, "0", DAYBOOK_ECONFLICT, error,
                             "the live '%s' is at %" PRIu64 ", the rebuilt at %" PRIu64 ": catch up first",
                             name, live.position, built.position);
}

// Row, parked events and remembered objects.
static daybook_status take_books(dbk_postgres *postgres, const char *schema, const char *live,
                                 const char *name, bool is_live, int64_t now_ns, daybook_error *error) {
    char now[24];
    char sql[1024];
    (void)snprintf(now, sizeof now, "%" PRId64, now_ns);
    const char *values[] = {name, now};
    if (is_live)
        (void)snprintf(
            sql, sizeof sql,
            "UPDATE daybook_projection l SET version = s.version, hash = s.hash, position = s.position,"
            " event_count = s.event_count, updated_ns = $2::bigint, error = s.error, store = s.store,"
            " mark_position = s.mark_position, mark_id = s.mark_id"
            " FROM %s.daybook_projection s WHERE l.name = $1 AND s.name = $1",
            schema);
    else
        (void)snprintf(sql, sizeof sql,
                       "INSERT INTO daybook_projection (" DBK_PROGRESS_COLUMNS
                       ") SELECT name, version, hash, position, event_count, 0, $2::bigint, instance, error,"
                       " store, mark_position, mark_id FROM %s.daybook_projection WHERE name = $1",
                       schema);
    DBK_TRY(dbk_postgres_query(postgres, sql, values, 2, NULL, error));
    DBK_TRY(dbk_postgres_query(postgres, "DELETE FROM daybook_parked WHERE projection = $1", values, 1, NULL,
                               error));
    (void)snprintf(sql, sizeof sql,
                   "INSERT INTO daybook_parked SELECT * FROM %s.daybook_parked WHERE projection = $1",
                   schema);
    DBK_TRY(dbk_postgres_query(postgres, sql, values, 1, NULL, error));
    (void)snprintf(
        sql, sizeof sql,
        "INSERT INTO daybook_projection_object SELECT projection, kind, replace(name, '%s.', $2 || '.'),"
        " number FROM %s.daybook_projection_object WHERE projection = $1",
        schema, schema);
    const char *where[] = {name, live};
    return dbk_postgres_query(postgres, sql, where, 2, NULL, error);
}

static daybook_status drop_schema(dbk_postgres *postgres, const char *schema, daybook_error *error) {
    char sql[512];
    (void)snprintf(sql, sizeof sql,
                   "DROP TABLE %s.daybook_projection, %s.daybook_parked, %s.daybook_projection_object,"
                   " %s.daybook_projection_books; DROP SCHEMA %s",
                   schema, schema, schema, schema, schema);
    return dbk_postgres_exec(postgres, sql, error);
}

static daybook_status do_switch(dbk_postgres *postgres, dbk_postgres *shadow, const char *name,
                                bool was_fenced, int64_t now_ns, daybook_error *error) {
    const char *schema = shadow->schema;
    char live[2 * DBK_POSTGRES_NAME_SIZE + 2];
    bool is_live = false;
    uint64_t position = 0;
    bool has_books = false;
    DBK_TRY(find_live_schema(shadow, live, sizeof live, &has_books, error));
    DBK_TRY(compare(postgres, shadow, name, was_fenced, &is_live, &position, error));
    DBK_TRY(dbk_postgres_exec(postgres, "SET LOCAL lock_timeout = '" LOCK_TIMEOUT "'", error));
    const char *grants[] = {name, schema};
    DBK_TRY(dbk_postgres_query(postgres, remember_grants, grants, 2, NULL, error));
    DBK_TRY(dbk_postgres_drop_objects(postgres, name, error));
    const char *places[] = {schema, live};
    DBK_TRY(dbk_postgres_exec_each(postgres, moves, places, 2, error));
    DBK_TRY(dbk_postgres_exec_each(postgres, "SELECT sql FROM pg_temp.daybook_grant ORDER BY step", NULL, 0,
                                   error));
    DBK_TRY(take_books(postgres, schema, live, name, is_live, now_ns, error));
    return drop_schema(postgres, schema, error);
}

static bool is_fenced(const dbk_postgres *postgres) {
    return PQtransactionStatus(postgres->connection) == PQTRANS_INTRANS;
}

daybook_status dbk_postgres_shadow_fence(dbk_target *target, const char *name, daybook_error *error) {
    dbk_postgres *postgres = dbk_postgres_of(target);
    DBK_TRY(dbk_postgres_ensure(target, error));
    DBK_TRY(dbk_postgres_start(postgres, error));
    daybook_status status = dbk_postgres_query(
        postgres, "SELECT FROM daybook_projection WHERE name = $1 FOR UPDATE", &name, 1, NULL, error);
    return status == DAYBOOK_OK ? status : dbk_postgres_conclude(postgres, status, error);
}

void dbk_postgres_shadow_unfence(dbk_target *target) {
    dbk_postgres *postgres = dbk_postgres_of(target);
    dbk_failure failure = target->failure;
    if (is_fenced(postgres)) (void)dbk_postgres_exec(postgres, "ROLLBACK", NULL);
    target->failure = failure;
}

daybook_status dbk_postgres_shadow_switch(dbk_target *target, dbk_target *shadow, const char *name,
                                          int64_t now_ns, daybook_error *error) {
    dbk_postgres *postgres = dbk_postgres_of(target);
    bool was_fenced = is_fenced(postgres);
    if (!was_fenced) {
        DBK_TRY(dbk_postgres_ensure(target, error));
        DBK_TRY(dbk_postgres_start(postgres, error));
    }
    daybook_status status = do_switch(postgres, dbk_postgres_of(shadow), name, was_fenced, now_ns, error);
    return dbk_postgres_conclude(postgres, status, error);
}
