// SPDX-License-Identifier: Apache-2.0
// The bookkeeping of projections in SQLite: checkpoints, parked events, what each projection made, and who is
// in charge.
//
//   daybook_projection         a row per projection
//   daybook_parked             a row per event that could not be applied, or waits behind one
//   daybook_projection_object  what a [setup] brought into being, so that a rebuild or a removal drops that
//                              and nothing else
//   daybook_projection_books   the version of these tables, a single row
//
// In charge is who holds a lock on the file PATH-projection-NAME. It ends with the process, so that another
// one takes over at once and no clock is asked. The checkpoint is fenced besides: `save` finds the row only
// where position and instance are as this instance left them.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "projection/sqlite.h"

#define STORE_COLUMN "store TEXT NOT NULL DEFAULT ''"
#define MARK_POSITION_COLUMN "mark_position INTEGER NOT NULL DEFAULT 0"
#define MARK_ID_COLUMN "mark_id TEXT NOT NULL DEFAULT ''"

// Tables of version 1 brought to what `tables` makes.
static const char from_version_1[] = "ALTER TABLE daybook_projection ADD COLUMN " STORE_COLUMN
                                     "; ALTER TABLE daybook_projection ADD COLUMN " MARK_POSITION_COLUMN
                                     "; ALTER TABLE daybook_projection ADD COLUMN " MARK_ID_COLUMN;

static const char tables[] =
    "CREATE TABLE IF NOT EXISTS daybook_projection (name TEXT PRIMARY KEY, version INTEGER NOT NULL, hash "
    "TEXT NOT NULL,"
    " position INTEGER NOT NULL, event_count INTEGER NOT NULL, state INTEGER NOT NULL, updated_ns INTEGER "
    "NOT NULL,"
    " instance TEXT NOT NULL, error TEXT NOT NULL, " STORE_COLUMN ", " MARK_POSITION_COLUMN
    ", " MARK_ID_COLUMN ") WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS daybook_parked (projection TEXT NOT NULL, position INTEGER NOT NULL, stream "
    "TEXT NOT NULL,"
    " subject TEXT NOT NULL, aggregate TEXT NOT NULL, error TEXT NOT NULL, attempt_count INTEGER NOT NULL,"
    " parked_ns INTEGER NOT NULL, behind INTEGER NOT NULL, request INTEGER NOT NULL, PRIMARY KEY "
    "(projection, position))"
    " WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS daybook_parked_aggregate ON daybook_parked (projection, aggregate, position);"
    "CREATE INDEX IF NOT EXISTS daybook_parked_request ON daybook_parked (projection) WHERE request <> 0;"
    // Its key first: PRAGMA integrity_check of SQLite 3.40 complains of a table without rowid whose key is
    // not.
    "CREATE TABLE IF NOT EXISTS daybook_projection_object (name TEXT PRIMARY KEY, projection TEXT NOT NULL,"
    " kind TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS daybook_projection_books (version INTEGER NOT NULL)";

// Values of our own statements, `$1` and so on.

static dbk_value integer_value(int64_t integer) {
    return (dbk_value){.kind = DBK_VALUE_INTEGER, .integer = integer};
}

static dbk_value text_value(daybook_slice text) {
    return (dbk_value){.kind = DBK_VALUE_TEXT, .text = text};
}

static daybook_status run(dbk_sqlite *sqlite, const char *sql, const dbk_value *values, size_t count,
                          uint64_t *row_count_out, daybook_error *error) {
    return sqlite->target.calls->execute(&sqlite->target, daybook_text(sql), values, count, row_count_out,
                                         error);
}

// A query of ours with one or two values of text, `$1` and `$2`; to be stepped and reset.
static daybook_status query(dbk_sqlite *sqlite, const char *sql, daybook_slice first, daybook_slice second,
                            sqlite3_stmt **statement_out, daybook_error *error) {
    dbk_sqlite_statement *statement;
    DBK_TRY(dbk_sqlite_statement_of(sqlite, daybook_text(sql), &statement, error));
    daybook_slice texts[] = {first, second};
    *statement_out = statement->statement;
    for (int i = 0; i < sqlite3_bind_parameter_count(statement->statement) && i < 2; i++)
        if (sqlite3_bind_text(statement->statement, i + 1, texts[i].size == 0 ? "" : texts[i].data,
                              (int)texts[i].size, SQLITE_TRANSIENT) != SQLITE_OK)
            return dbk_sqlite_fail(sqlite, NULL, error);
    return DAYBOOK_OK;
}

// Behind the last step, which gave `code`: a row where no more was asked for, the end, or a failure.
static daybook_status end_query(dbk_sqlite *sqlite, sqlite3_stmt *row, int code, daybook_error *error) {
    daybook_status status = DAYBOOK_OK;
    if (code != SQLITE_ROW && code != SQLITE_DONE) status = dbk_sqlite_fail(sqlite, NULL, error);
    (void)sqlite3_reset(row);
    return status;
}

// Ends a transaction as `status` says.
static daybook_status conclude(dbk_sqlite *sqlite, daybook_status status, daybook_error *error) {
    if (status == DAYBOOK_OK) status = dbk_sqlite_commit(&sqlite->target, error);
    if (status != DAYBOOK_OK) dbk_sqlite_rollback(&sqlite->target);
    return status;
}

static bool has_table(dbk_sqlite *sqlite, const char *name) {
    return sqlite3_table_column_metadata(sqlite->connection, "main", name, NULL, NULL, NULL, NULL, NULL,
                                         NULL) == SQLITE_OK;
}

static daybook_status fail_not_found(dbk_sqlite *sqlite, const char *name, daybook_error *error) {
    dbk_target_fail(&sqlite->target, DBK_FAILURE_FATAL, "12", DAYBOOK_OK);
    return dbk_fail(error, DAYBOOK_ENOTFOUND, "no projection '%s' in %s", name, sqlite->path);
}

// Version of the tables; 0 where there are none. Those of version 1 do not say it.
static daybook_status get_version(dbk_sqlite *sqlite, int64_t *version_out, daybook_error *error) {
    *version_out = has_table(sqlite, "daybook_projection") ? 1 : 0;
    if (!has_table(sqlite, "daybook_projection_books")) return DAYBOOK_OK;
    sqlite3_stmt *row;
    DBK_TRY(query(sqlite, "SELECT max(version) FROM daybook_projection_books", daybook_text(NULL),
                  daybook_text(NULL), &row, error));
    int code = sqlite3_step(row);
    if (code == SQLITE_ROW) *version_out = sqlite3_column_int64(row, 0);
    return end_query(sqlite, row, code, error);
}

static daybook_status check_version(dbk_sqlite *sqlite, int64_t version, daybook_error *error) {
    if (version <= DBK_BOOKS_VERSION) return DAYBOOK_OK;
    dbk_target_fail(&sqlite->target, DBK_FAILURE_FATAL, "1", DAYBOOK_OK);
    return dbk_fail(error, DAYBOOK_EUNSUPPORTED,
                    "%s: a later daybook has kept projections in it: its bookkeeping is of version %" PRId64
                    ", this one knows up to %d; use the later one",
                    sqlite->path, version, DBK_BOOKS_VERSION);
}

static daybook_status make_tables(dbk_sqlite *sqlite, daybook_error *error) {
    int64_t version;
    char sql[128];
    // Again, now that nobody else can make them: a look into the file, for what is known of it may be old.
    DBK_TRY(dbk_sqlite_exec(sqlite, "SELECT count(*) FROM sqlite_master", error));
    DBK_TRY(get_version(sqlite, &version, error));
    DBK_TRY(check_version(sqlite, version, error));
    if (version == 1) DBK_TRY(dbk_sqlite_exec(sqlite, from_version_1, error));
    DBK_TRY(dbk_sqlite_exec(sqlite, tables, error));
    snprintf(sql, sizeof sql,
             "DELETE FROM daybook_projection_books; INSERT INTO daybook_projection_books VALUES (%d)",
             DBK_BOOKS_VERSION);
    return dbk_sqlite_exec(sqlite, sql, error);
}

daybook_status dbk_sqlite_ensure(dbk_target *target, daybook_error *error) {
    dbk_sqlite *sqlite = dbk_sqlite_of(target);
    int64_t version;
    DBK_TRY(get_version(sqlite, &version, error));
    DBK_TRY(check_version(sqlite, version, error));
    if (version == DBK_BOOKS_VERSION && has_table(sqlite, "daybook_projection") &&
        has_table(sqlite, "daybook_parked") && has_table(sqlite, "daybook_projection_object"))
        return DAYBOOK_OK;
    DBK_TRY(dbk_sqlite_exec(sqlite, "BEGIN IMMEDIATE", error));
    return conclude(sqlite, make_tables(sqlite, error), error);
}

// Checkpoints.

static void column_text(sqlite3_stmt *statement, int column, char *text, size_t size) {
    const char *found = (const char *)sqlite3_column_text(statement, column);
    snprintf(text, size, "%s", found == NULL ? "" : found);
}

static void get_progress(sqlite3_stmt *row, dbk_progress *progress) {
    memset(progress, 0, sizeof *progress);
    column_text(row, 0, progress->name, sizeof progress->name);
    progress->version = (uint64_t)sqlite3_column_int64(row, 1);
    column_text(row, 2, progress->hash, sizeof progress->hash);
    progress->position = (uint64_t)sqlite3_column_int64(row, 3);
    progress->event_count = (uint64_t)sqlite3_column_int64(row, 4);
    progress->state = (int)sqlite3_column_int64(row, 5);
    progress->updated_ns = sqlite3_column_int64(row, 6);
    column_text(row, 7, progress->instance, sizeof progress->instance);
    column_text(row, 8, progress->error, sizeof progress->error);
    column_text(row, 9, progress->store, sizeof progress->store);
    progress->mark.position = (uint64_t)sqlite3_column_int64(row, 10);
    column_text(row, 11, progress->mark.id, sizeof progress->mark.id);
}

// The rows as get_progress takes them, with `which` behind. Who only looks leaves tables of version 1 as they
// are.
static daybook_status query_progress(dbk_sqlite *sqlite, const char *which, const char *name,
                                     sqlite3_stmt **row_out, daybook_error *error) {
    bool is_version_1 = sqlite3_table_column_metadata(sqlite->connection, "main", "daybook_projection",
                                                      "mark_id", NULL, NULL, NULL, NULL, NULL) != SQLITE_OK;
    char sql[256];
    snprintf(sql, sizeof sql, "SELECT %s FROM daybook_projection %s",
             is_version_1 ? DBK_PROGRESS_COLUMNS_1 ", '', 0, ''" : DBK_PROGRESS_COLUMNS, which);
    return query(sqlite, sql, daybook_text(name), daybook_text(NULL), row_out, error);
}

daybook_status dbk_sqlite_load(dbk_target *target, const char *name, dbk_progress *progress_out,
                               daybook_error *error) {
    dbk_sqlite *sqlite = dbk_sqlite_of(target);
    if (!has_table(sqlite, "daybook_projection")) return fail_not_found(sqlite, name, error);
    sqlite3_stmt *row;
    DBK_TRY(query_progress(sqlite, "WHERE name = ?1", name, &row, error));
    int code = sqlite3_step(row);
    if (code == SQLITE_ROW) get_progress(row, progress_out);
    DBK_TRY(end_query(sqlite, row, code, error));
    return code == SQLITE_ROW ? DAYBOOK_OK : fail_not_found(sqlite, name, error);
}

daybook_status dbk_sqlite_list(dbk_target *target, int (*visit)(void *context, const dbk_progress *progress),
                               void *context, daybook_error *error) {
    dbk_sqlite *sqlite = dbk_sqlite_of(target);
    if (!has_table(sqlite, "daybook_projection")) return DAYBOOK_OK;
    sqlite3_stmt *row;
    DBK_TRY(query_progress(sqlite, "ORDER BY name", NULL, &row, error));
    int code;
    dbk_progress progress;
    while ((code = sqlite3_step(row)) == SQLITE_ROW) {
        get_progress(row, &progress);
        if (visit(context, &progress) != 0) break;
    }
    return end_query(sqlite, row, code, error);
}

daybook_status dbk_sqlite_set_state(dbk_target *target, const char *name, int state, const char *reason,
                                    int64_t now_ns, daybook_error *error) {
    dbk_sqlite *sqlite = dbk_sqlite_of(target);
    if (!has_table(sqlite, "daybook_projection")) return fail_not_found(sqlite, name, error);
    dbk_value values[] = {text_value(daybook_text(name)), integer_value(state),
                          text_value(daybook_text(reason)), integer_value(now_ns)};
    uint64_t row_count;
    DBK_TRY(run(sqlite,
                "UPDATE daybook_projection SET state = $2, error = $3, updated_ns = $4 WHERE name = $1",
                values, 4, &row_count, error));
    return row_count == 0 ? fail_not_found(sqlite, name, error) : DAYBOOK_OK;
}

daybook_status dbk_sqlite_save(dbk_target *target, const dbk_progress *progress, uint64_t previous_position,
                               daybook_error *error) {
    dbk_sqlite *sqlite = dbk_sqlite_of(target);
    dbk_value values[] = {
        text_value(daybook_text(progress->name)),      integer_value((int64_t)progress->position),
        integer_value((int64_t)progress->event_count), integer_value(progress->updated_ns),
        text_value(daybook_text(progress->error)),     integer_value((int64_t)previous_position),
        text_value(daybook_text(sqlite->instance)),    text_value(daybook_text(progress->hash)),
        text_value(daybook_text(progress->store)),     integer_value((int64_t)progress->mark.position),
        text_value(daybook_text(progress->mark.id))};
    uint64_t row_count;
    DBK_TRY(run(sqlite,
                "UPDATE daybook_projection SET position = $2, event_count = $3, updated_ns = $4, error = $5,"
                " store = $9, mark_position = $10, mark_id = $11"
                " WHERE name = $1 AND position = $6 AND instance = $7 AND hash = $8",
                values, 11, &row_count, error));
    if (row_count != 0) return DAYBOOK_OK;
    dbk_target_fail(&sqlite->target, DBK_FAILURE_FENCED, "0", DAYBOOK_OK);
    return dbk_fail(error, DAYBOOK_ECONFLICT,
                    "the checkpoint of '%s' in %s moved from %" PRIu64
                    " meanwhile: another instance is in charge, or it was"
                    " rebuilt",
                    progress->name, sqlite->path, previous_position);
}

// Making and dropping.

static daybook_status insert_row(dbk_sqlite *sqlite, const dbk_progress *progress, daybook_error *error) {
    dbk_value values[] = {text_value(daybook_text(progress->name)),
                          integer_value((int64_t)progress->version),
                          text_value(daybook_text(progress->hash)),
                          integer_value((int64_t)progress->position),
                          integer_value((int64_t)progress->event_count),
                          integer_value(progress->state),
                          integer_value(progress->updated_ns),
                          text_value(daybook_text(sqlite->instance)),
                          text_value(daybook_text(progress->error)),
                          text_value(daybook_text(progress->store)),
                          integer_value((int64_t)progress->mark.position),
                          text_value(daybook_text(progress->mark.id))};
    return run(sqlite,
               "INSERT INTO daybook_projection (" DBK_PROGRESS_COLUMNS
               ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
               values, 12, NULL, error);
}

// A statement of [setup] or [teardown]: once, with no values.
static daybook_status run_text(dbk_sqlite *sqlite, daybook_slice sql, daybook_error *error) {
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(sqlite->connection, sql.data, (int)sql.size, &statement, NULL) != SQLITE_OK) {
        daybook_status status = dbk_sqlite_fail(sqlite, NULL, error);
        (void)sqlite3_finalize(statement);
        return status;
    }
    daybook_status status = statement == NULL ? DAYBOOK_OK : dbk_sqlite_finish(sqlite, statement, error);
    (void)sqlite3_finalize(statement);
    return status;
}

static daybook_status run_all(dbk_sqlite *sqlite, const dbk_definition *definition,
                              const dbk_statement *statements, size_t count, daybook_error *error) {
    for (size_t i = 0; i < count; i++) {
        daybook_status status = run_text(sqlite, statements[i].text, error);
        if (status == DAYBOOK_OK) continue;
        char where[DAYBOOK_ERROR_FILE_MAX];
        snprintf(where, sizeof where, "%s:%u", (const char *)definition->file.data, statements[i].line);
        dbk_error_prepend(error, where);
        return status;
    }
    return DAYBOOK_OK;
}

static daybook_status remember_objects(dbk_sqlite *sqlite, const char *name, daybook_error *error) {
    dbk_value value = text_value(daybook_text(name));
    return run(
        sqlite,
        "INSERT INTO daybook_projection_object SELECT name, $1, type FROM sqlite_master WHERE sql IS NOT NULL"
        " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT IN (SELECT name FROM temp.daybook_before)",
        &value, 1, NULL, error);
}

static daybook_status create(dbk_sqlite *sqlite, const dbk_definition *definition,
                             const dbk_progress *progress, daybook_error *error) {
    dbk_progress known;
    daybook_status status = dbk_sqlite_load(&sqlite->target, progress->name, &known, error);
    if (status == DAYBOOK_OK) {
        dbk_target_fail(&sqlite->target, DBK_FAILURE_FATAL, "0", DAYBOOK_OK);
        return dbk_fail(error, DAYBOOK_EEXISTS, "projection '%s' exists already in %s", progress->name,
                        sqlite->path);
    }
    if (status != DAYBOOK_ENOTFOUND) return status;
    DBK_TRY(
        dbk_sqlite_exec(sqlite,
                        "DELETE FROM temp.daybook_before; INSERT INTO temp.daybook_before SELECT name FROM"
                        " sqlite_master",
                        error));
    DBK_TRY(run_all(sqlite, definition, definition->setup, definition->setup_count, error));
    DBK_TRY(remember_objects(sqlite, progress->name, error));
    return insert_row(sqlite, progress, error);
}

daybook_status dbk_sqlite_create(dbk_target *target, const dbk_definition *definition,
                                 const dbk_progress *progress, daybook_error *error) {
    dbk_sqlite *sqlite = dbk_sqlite_of(target);
    DBK_TRY(dbk_sqlite_exec(sqlite, "CREATE TEMP TABLE IF NOT EXISTS daybook_before (name TEXT)", error));
    DBK_TRY(dbk_sqlite_begin(target, error));
    return conclude(sqlite, create(sqlite, definition, progress, error), error);
}

// One object to drop, found anew after each, because one takes others with it.
static daybook_status next_object(dbk_sqlite *sqlite, const char *name, char *sql, size_t size,
                                  daybook_error *error) {
    sqlite3_stmt *row;
    DBK_TRY(query(
        sqlite,
        "SELECT o.kind, o.name FROM daybook_projection_object o JOIN sqlite_master m ON m.name = o.name AND"
        " m.type = o.kind WHERE o.projection = ?1 ORDER BY CASE o.kind WHEN 'trigger' THEN 0 WHEN 'view' "
        "THEN 1"
        " WHEN 'index' THEN 2 ELSE 3 END, instr(m.sql, 'VIRTUAL') = 0, o.name LIMIT 1",
        daybook_text(name), daybook_text(NULL), &row, error));
    int code = sqlite3_step(row);
    *sql = '\0';
    if (code == SQLITE_ROW) {
        const char *kind = (const char *)sqlite3_column_text(row, 0);
        const char *object = (const char *)sqlite3_column_text(row, 1);
        if (kind == NULL || object == NULL)
            code = SQLITE_NOMEM; // for making the text
        else
            sqlite3_snprintf((int)size, sql, "DROP %s \"%w\"", kind, object);
    }
    return end_query(sqlite, row, code, error);
}

daybook_status dbk_sqlite_drop_objects(dbk_sqlite *sqlite, const char *name, daybook_error *error) {
    char sql[1200]; // names of SQLite have no limit of their own; a longer one gives a syntax error
    for (;;) {
        DBK_TRY(next_object(sqlite, name, sql, sizeof sql, error));
        if (*sql == '\0') break;
        DBK_TRY(dbk_sqlite_exec(sqlite, sql, error));
    }
    dbk_value value = text_value(daybook_text(name));
    return run(sqlite, "DELETE FROM daybook_projection_object WHERE projection = $1", &value, 1, NULL, error);
}

static daybook_status drop(dbk_sqlite *sqlite, const char *name, const dbk_definition *definition,
                           daybook_error *error) {
    dbk_progress known;
    DBK_TRY(dbk_sqlite_load(&sqlite->target, name, &known, error));
    DBK_TRY(
        dbk_sqlite_exec(sqlite, "PRAGMA defer_foreign_keys=ON", error)); // the order of tables is no matter
    if (definition != NULL)
        DBK_TRY(run_all(sqlite, definition, definition->teardown, definition->teardown_count, error));
    DBK_TRY(dbk_sqlite_drop_objects(sqlite, name, error));
    dbk_value value = text_value(daybook_text(name));
    DBK_TRY(run(sqlite, "DELETE FROM daybook_parked WHERE projection = $1", &value, 1, NULL, error));
    return run(sqlite, "DELETE FROM daybook_projection WHERE name = $1", &value, 1, NULL, error);
}

daybook_status dbk_sqlite_drop(dbk_target *target, const char *name, const dbk_definition *definition,
                               daybook_error *error) {
    dbk_sqlite *sqlite = dbk_sqlite_of(target);
    DBK_TRY(dbk_sqlite_begin(target, error));
    return conclude(sqlite, drop(sqlite, name, definition, error), error);
}

// Who is in charge.

static daybook_status take_lock(daybook_vfs *vfs, const char *path, const char *name, daybook_file **lock_out,
                                daybook_error *error) {
    daybook_file *file = NULL;
    int result = vfs->open(vfs, path, DAYBOOK_VFS_WRITE | DAYBOOK_VFS_CREATE, &file);
    if (result != 0) return dbk_fail_system(error, result, "open", path, 0);
    result = vfs->lock(vfs, file);
    if (result == 0) {
        *lock_out = file;
        return DAYBOOK_OK;
    }
    vfs->close(vfs, file);
    if (result != -EWOULDBLOCK) return dbk_fail_system(error, result, "lock", path, 0);
    return dbk_fail(error, DAYBOOK_ELOCKED, "another process holds %s: projection '%s' is run there", path,
                    name);
}

daybook_status dbk_sqlite_lock(dbk_sqlite *sqlite, const char *kind, const char *name,
                               daybook_file **lock_out, daybook_error *error) {
    size_t size = strlen(sqlite->path) + strlen(kind) + strlen(name) + 3;
    char *path = dbk_alloc(sqlite->allocator, size);
    *lock_out = NULL;
    dbk_target_fail(&sqlite->target, DBK_FAILURE_FATAL, "14", DAYBOOK_OK);
    if (path == NULL) return dbk_sqlite_fail_memory(sqlite, error);
    snprintf(path, size, "%s-%s-%s", sqlite->path, kind, name);
    daybook_status status = take_lock(sqlite->vfs, path, name, lock_out, error);
    dbk_free(sqlite->allocator, path);
    return status;
}

daybook_status dbk_sqlite_claim(dbk_target *target, const char *name, const char *instance, int64_t now_ns,
                                daybook_error *error) {
    dbk_sqlite *sqlite = dbk_sqlite_of(target);
    if (sqlite->lock == NULL && !sqlite->is_in_memory)
        DBK_TRY(dbk_sqlite_lock(sqlite, "projection", name, &sqlite->lock, error));
    snprintf(sqlite->instance, sizeof sqlite->instance, "%s", instance);
    if (!has_table(sqlite, "daybook_projection")) return DAYBOOK_OK;
    dbk_value values[] = {text_value(daybook_text(name)), text_value(daybook_text(sqlite->instance)),
                          integer_value(now_ns)};
    return run(sqlite, "UPDATE daybook_projection SET instance = $2, updated_ns = $3 WHERE name = $1", values,
               3, NULL, error);
}

void dbk_sqlite_release(dbk_target *target) {
    dbk_sqlite *sqlite = dbk_sqlite_of(target);
    if (sqlite->lock != NULL) sqlite->vfs->close(sqlite->vfs, sqlite->lock);
    sqlite->lock = NULL;
}

// Parked events.

daybook_status dbk_sqlite_park(dbk_target *target, const char *name, const dbk_parked *parked,
                               daybook_error *error) {
    dbk_value values[] = {text_value(daybook_text(name)),
                          integer_value((int64_t)parked->position),
                          text_value(parked->stream),
                          text_value(parked->subject),
                          text_value(parked->aggregate),
                          text_value(parked->error),
                          integer_value((int64_t)parked->attempt_count),
                          integer_value(parked->parked_ns),
                          integer_value((int64_t)parked->behind),
                          integer_value((int64_t)parked->request)};
    return run(dbk_sqlite_of(target),
               "INSERT OR REPLACE INTO daybook_parked (projection, " DBK_PARKED_COLUMNS
               ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
               values, 10, NULL, error);
}

daybook_status dbk_sqlite_unpark(dbk_target *target, const char *name, uint64_t position,
                                 daybook_error *error) {
    dbk_value values[] = {text_value(daybook_text(name)), integer_value((int64_t)position)};
    return run(dbk_sqlite_of(target), "DELETE FROM daybook_parked WHERE projection = $1 AND position = $2",
               values, 2, NULL, error);
}

static daybook_slice column_slice(sqlite3_stmt *row, int column) {
    const void *text = sqlite3_column_text(row, column);
    return daybook_bytes(text, text == NULL ? 0 : (size_t)sqlite3_column_bytes(row, column));
}

static void get_parked(sqlite3_stmt *row, dbk_parked *parked) {
    parked->position = (uint64_t)sqlite3_column_int64(row, 0);
    parked->stream = column_slice(row, 1);
    parked->subject = column_slice(row, 2);
    parked->aggregate = column_slice(row, 3);
    parked->error = column_slice(row, 4);
    parked->attempt_count = (uint64_t)sqlite3_column_int64(row, 5);
    parked->parked_ns = sqlite3_column_int64(row, 6);
    parked->behind = (uint64_t)sqlite3_column_int64(row, 7);
    parked->request = (dbk_parked_request)sqlite3_column_int64(row, 8);
}

daybook_status dbk_sqlite_parked(dbk_target *target, const char *name, daybook_slice aggregate,
                                 int (*visit)(void *context, const dbk_parked *parked), void *context,
                                 daybook_error *error) {
    dbk_sqlite *sqlite = dbk_sqlite_of(target);
    if (!has_table(sqlite, "daybook_parked")) return DAYBOOK_OK;
    const char *sql = aggregate.size == 0
                          ? "SELECT " DBK_PARKED_COLUMNS
                            " FROM daybook_parked WHERE projection = ?1 ORDER BY position"
                          : "SELECT " DBK_PARKED_COLUMNS
                            " FROM daybook_parked WHERE projection = ?1 AND aggregate = ?2 ORDER BY position";
    sqlite3_stmt *row;
    DBK_TRY(query(sqlite, sql, daybook_text(name), aggregate, &row, error));
    int code;
    dbk_parked parked;
    while ((code = sqlite3_step(row)) == SQLITE_ROW) {
        get_parked(row, &parked);
        if (visit(context, &parked) != 0) break;
    }
    return end_query(sqlite, row, code, error);
}

daybook_status dbk_sqlite_request(dbk_target *target, const char *name, uint64_t position,
                                  dbk_parked_request request, daybook_error *error) {
    dbk_sqlite *sqlite = dbk_sqlite_of(target);
    dbk_progress known;
    DBK_TRY(dbk_sqlite_load(target, name, &known, error));
    dbk_value values[] = {text_value(daybook_text(name)), integer_value((int64_t)request),
                          integer_value((int64_t)position)};
    uint64_t row_count;
    DBK_TRY(run(sqlite,
                "UPDATE daybook_parked SET request = $2 WHERE projection = $1 AND ($3 = 0 AND behind = 0 OR "
                "position = $3)",
                values, 3, &row_count, error));
    if (row_count > 0 || position == 0) return DAYBOOK_OK;
    dbk_target_fail(&sqlite->target, DBK_FAILURE_FATAL, "12", DAYBOOK_OK);
    return dbk_fail(error, DAYBOOK_ENOTFOUND, "no parked event at position %" PRIu64 " of projection '%s'",
                    position, name);
}

daybook_status dbk_sqlite_has_request(dbk_target *target, const char *name, bool *has_request_out,
                                      daybook_error *error) {
    dbk_sqlite *sqlite = dbk_sqlite_of(target);
    *has_request_out = false;
    sqlite3_stmt *row;
    DBK_TRY(query(sqlite, "SELECT 1 FROM daybook_parked WHERE projection = ?1 AND request <> 0 LIMIT 1",
                  daybook_text(name), daybook_text(NULL), &row, error));
    int code = sqlite3_step(row);
    *has_request_out = code == SQLITE_ROW;
    return end_query(sqlite, row, code, error);
}
