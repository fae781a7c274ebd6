// SPDX-License-Identifier: Apache-2.0
// Rebuilding side by side in SQLite: the shadow is a file of its own, PATH-rebuild-NAME, in which the same
// SQL makes the same tables. It is written without syncs; a crash leaves a file that the next rebuild
// removes.
//
// The switch is one transaction of the live connection, with the shadow attached. It begins by taking the
// write lock (the fence), so that the live checkpoint stands still while the shadow is brought to it, however
// fast events come. Then the live objects are dropped, the shadow's CREATE statements run, its rows copied,
// row and parked events exchanged. Where table and indexes are the same on both sides, INSERT ... SELECT *
// copies pages of records without looking into them (SQLite's transfer optimisation), so the copy costs a
// small part of the rebuild, and readers see the old rows up to the commit. Exchanging the files would spare
// the copy but take with it other projections and foreign tables in the same database, and readers would go
// on reading the file that went; renaming tables within one database needs SQL with other names, and SQL
// cannot be rewritten safely.
//
// Virtual tables cannot be copied like this; a projection that makes some is refused here.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "projection/sqlite.h"

static char *shadow_path(const dbk_sqlite *sqlite, const char *name, const char *suffix) {
    size_t size = strlen(sqlite->path) + strlen(name) + strlen(suffix) + sizeof "-rebuild-";
    char *path = dbk_alloc(sqlite->allocator, size);
    if (path != NULL) snprintf(path, size, "%s-rebuild-%s%s", sqlite->path, name, suffix);
    return path;
}

static daybook_status remove_one(dbk_sqlite *sqlite, const char *name, const char *suffix,
                                 daybook_error *error) {
    char *path = shadow_path(sqlite, name, suffix);
    if (path == NULL) return dbk_sqlite_fail_memory(sqlite, error);
    int result = sqlite->vfs->unlink(sqlite->vfs, path);
    daybook_status status = DAYBOOK_OK;
    if (result != 0) status = dbk_fail_system(error, result, "removing", path, 0);
    dbk_free(sqlite->allocator, path);
    return status == DAYBOOK_ENOTFOUND ? DAYBOOK_OK : status;
}

static daybook_status remove_files(dbk_sqlite *sqlite, const char *name, daybook_error *error) {
    DBK_TRY(remove_one(sqlite, name, "-journal", error));
    return remove_one(sqlite, name, "", error);
}

daybook_status dbk_sqlite_shadow_open(dbk_target *target, const char *name, dbk_target **shadow_out,
                                      daybook_error *error) {
    dbk_sqlite *sqlite = dbk_sqlite_of(target);
    daybook_file *lock;
    *shadow_out = NULL;
    dbk_target_fail(target, DBK_FAILURE_FATAL, "14", DAYBOOK_OK);
    if (sqlite->is_in_memory)
        return dbk_fail(error, DAYBOOK_EUNSUPPORTED,
                        "a database in memory cannot be rebuilt: it begins empty anyway");
    DBK_TRY(dbk_sqlite_lock(sqlite, "rebuild-lock", name, &lock, error));
    daybook_status status = remove_files(sqlite, name, error);
    char *path = status == DAYBOOK_OK ? shadow_path(sqlite, name, "") : NULL;
    if (path == NULL) {
        sqlite->vfs->close(sqlite->vfs, lock);
        return status != DAYBOOK_OK ? status : dbk_sqlite_fail_memory(sqlite, error);
    }
    dbk_target_options options = {
        .allocator = sqlite->allocator, .vfs = sqlite->vfs, .failure = &target->failure};
    dbk_sqlite *shadow;
    status = dbk_sqlite_open_file(path, &options, true, lock, &shadow, error);
    dbk_free(sqlite->allocator, path);
    if (status == DAYBOOK_OK) *shadow_out = &shadow->target;
    return status;
}

void dbk_sqlite_shadow_close(dbk_target *target, bool is_removed) {
    if (target == NULL) return;
    dbk_sqlite *shadow = dbk_sqlite_of(target);
    daybook_vfs *vfs = shadow->vfs;
    // Removed while it is locked, so that nobody else's is. What cannot be removed the next rebuild removes.
    if (is_removed) (void)vfs->unlink(vfs, shadow->path);
    dbk_sqlite_close(target);
}

// The switch.

// SQL whose `%w` is a name.
static daybook_status exec_name(dbk_sqlite *sqlite, const char *format, const char *name,
                                daybook_error *error) {
    char *sql = sqlite3_mprintf(format, name, name);
    if (sql == NULL) return dbk_sqlite_fail_memory(sqlite, error);
    daybook_status status = dbk_sqlite_exec(sqlite, sql, error);
    sqlite3_free(sql);
    return status;
}

// The first column of each row: statements that change the schema cannot run beside a query, so it is
// gathered first.
typedef struct names {
    dbk_buf text; // NUL-terminated, one behind the other
    size_t count;
} names;

static daybook_status gather(dbk_sqlite *sqlite, const char *sql, const char *parameter, names *found,
                             daybook_error *error) {
    sqlite3_stmt *row = NULL;
    dbk_buf_reset(&found->text);
    found->count = 0;
    if (sqlite3_prepare_v2(sqlite->connection, sql, -1, &row, NULL) != SQLITE_OK ||
        (parameter != NULL && sqlite3_bind_text(row, 1, parameter, -1, SQLITE_STATIC) != SQLITE_OK)) {
        daybook_status status = dbk_sqlite_fail(sqlite, NULL, error);
        (void)sqlite3_finalize(row);
        return status;
    }
    int code;
    while ((code = sqlite3_step(row)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(row, 0);
        dbk_buf_append(&found->text, text == NULL ? "" : text, text == NULL ? 1 : strlen(text) + 1);
        found->count++;
    }
    daybook_status status = DAYBOOK_OK;
    if (code != SQLITE_DONE)
        status = dbk_sqlite_fail(sqlite, NULL, error);
    else if (dbk_buf_status(&found->text) != DAYBOOK_OK)
        status = dbk_sqlite_fail_memory(sqlite, error);
    (void)sqlite3_finalize(row);
    return status;
}

static const char *next_name(const char *name) {
    return name + strlen(name) + 1;
}

// What the shadow's [setup] made, and nothing else that lies there.
#define MADE "name IN (SELECT name FROM daybook_shadow.daybook_projection_object) AND sql IS NOT NULL"

static daybook_status refuse_virtual(dbk_sqlite *sqlite, names *found, daybook_error *error) {
    DBK_TRY(gather(sqlite, "SELECT name FROM daybook_shadow.sqlite_master WHERE sql LIKE 'CREATE VIRTUAL%'",
                   NULL, found, error));
    if (found->count == 0) return DAYBOOK_OK;
    dbk_target_fail(&sqlite->target, DBK_FAILURE_FATAL, "1", DAYBOOK_OK);
    return dbk_fail(error, DAYBOOK_EUNSUPPORTED,
                    "table %s cannot be rebuilt side by side, because it is virtual: drop the projection and "
                    "run it again",
                    (const char *)found->text.data);
}

static daybook_status make_objects(dbk_sqlite *sqlite, const char *kinds, names *found,
                                   daybook_error *error) {
    char sql[320];
    snprintf(sql, sizeof sql,
             "SELECT sql FROM daybook_shadow.sqlite_master WHERE type IN (%s) AND " MADE
             " ORDER BY type = 'index', rowid",
             kinds);
    DBK_TRY(gather(sqlite, sql, NULL, found, error));
    const char *statement = (const char *)found->text.data;
    for (size_t i = 0; i < found->count; i++, statement = next_name(statement))
        DBK_TRY(dbk_sqlite_exec(sqlite, statement, error));
    return DAYBOOK_OK;
}

// A table with generated columns takes no `SELECT *`.
static daybook_status copy_listed(dbk_sqlite *sqlite, const char *table, daybook_error *error) {
    names columns;
    dbk_buf_init(&columns.text, sqlite->allocator, 1 << 20);
    daybook_status status =
        gather(sqlite,
               "SELECT group_concat('\"' || replace(name, '\"', '\"\"') || '\"', ', ') FROM"
               " pragma_table_xinfo(?1) WHERE hidden = 0",
               table, &columns, error);
    if (status == DAYBOOK_OK) {
        char *sql = sqlite3_mprintf("INSERT INTO main.\"%w\" (%s) SELECT %s FROM daybook_shadow.\"%w\"",
                                    table, columns.text.data, columns.text.data, table);
        status = sql == NULL ? dbk_sqlite_fail_memory(sqlite, error) : dbk_sqlite_exec(sqlite, sql, error);
        sqlite3_free(sql);
    }
    dbk_buf_deinit(&columns.text);
    return status;
}

static daybook_status copy_table(dbk_sqlite *sqlite, const char *table, daybook_error *error) {
    names generated;
    dbk_buf_init(&generated.text, sqlite->allocator, 1 << 20);
    daybook_status status =
        gather(sqlite, "SELECT name FROM pragma_table_xinfo(?1) WHERE hidden > 1", table, &generated, error);
    dbk_buf_deinit(&generated.text);
    if (status != DAYBOOK_OK) return status;
    if (generated.count > 0) return copy_listed(sqlite, table, error);
    return exec_name(sqlite, "INSERT INTO main.\"%w\" SELECT * FROM daybook_shadow.\"%w\"", table, error);
}

static daybook_status copy_tables(dbk_sqlite *sqlite, names *found, daybook_error *error) {
    DBK_TRY(gather(sqlite,
                   "SELECT name FROM daybook_shadow.sqlite_master WHERE type = 'table' AND " MADE
                   " ORDER BY rowid",
                   NULL, found, error));
    const char *table = (const char *)found->text.data;
    for (size_t i = 0; i < found->count; i++, table = next_name(table))
        DBK_TRY(copy_table(sqlite, table, error));
    return DAYBOOK_OK;
}

// The live checkpoint may not be beyond the shadow's, unless the shadow was filled behind the fence: then it
// holds all there is, and what lies between was purged or is of a newer state of a store that was restored.
// ENOTFOUND: there is no live one.
static daybook_status compare(dbk_sqlite *sqlite, dbk_target *shadow, const char *name, bool was_fenced,
                              dbk_progress *live, daybook_error *error) {
    dbk_progress built;
    DBK_TRY(shadow->calls->load(shadow, name, &built, error));
    daybook_status status = dbk_sqlite_load(&sqlite->target, name, live, error);
    if (status != DAYBOOK_OK || was_fenced || live->position <= built.position) return status;
    dbk_target_fail(&sqlite->target, DBK_FAILURE_FENCED, "0", DAYBOOK_OK);
    return dbk_fail(error, DAYBOOK_ECONFLICT,
                    "the rebuild of '%s' stands at %" PRIu64 ", the live one at %" PRIu64
                    " already: it must catch up",
                    name, built.position, live->position);
}

static daybook_status exchange_rows(dbk_sqlite *sqlite, const char *name, bool has_live,
                                    const dbk_progress *live, int64_t now_ns, daybook_error *error) {
    char *sql = sqlite3_mprintf(
        "DELETE FROM daybook_projection WHERE name = %Q;"
        "INSERT INTO daybook_projection (" DBK_PROGRESS_COLUMNS
        ") SELECT name, version, hash, position, event_count, %d, %lld, %Q, '', store, mark_position, mark_id"
        " FROM daybook_shadow.daybook_projection WHERE name = %Q;"
        "DELETE FROM daybook_parked WHERE projection = %Q;"
        "INSERT INTO daybook_parked SELECT * FROM daybook_shadow.daybook_parked WHERE projection = %Q;"
        "INSERT INTO daybook_projection_object SELECT * FROM daybook_shadow.daybook_projection_object WHERE"
        " projection = %Q",
        name, has_live ? live->state : DAYBOOK_PROJECTION_LIVE, (long long)now_ns,
        has_live ? live->instance : "", name, name, name, name);
    if (sql == NULL) return dbk_sqlite_fail_memory(sqlite, error);
    daybook_status status = dbk_sqlite_exec(sqlite, sql, error);
    sqlite3_free(sql);
    return status;
}

static daybook_status switch_in(dbk_sqlite *sqlite, dbk_target *shadow, const char *name, bool was_fenced,
                                int64_t now_ns, names *found, daybook_error *error) {
    dbk_progress live;
    daybook_status status = compare(sqlite, shadow, name, was_fenced, &live, error);
    bool has_live = status == DAYBOOK_OK;
    if (!has_live && status != DAYBOOK_ENOTFOUND) return status;
    DBK_TRY(refuse_virtual(sqlite, found, error));
    DBK_TRY(dbk_sqlite_drop_objects(sqlite, name, error));
    DBK_TRY(make_objects(sqlite, "'table', 'index'", found, error));
    DBK_TRY(copy_tables(sqlite, found, error));
    DBK_TRY(make_objects(sqlite, "'view', 'trigger'", found, error)); // triggers must not see the copying
    return exchange_rows(sqlite, name, has_live, &live, now_ns, error);
}

static bool is_fenced(const dbk_sqlite *sqlite) {
    return !sqlite3_get_autocommit(sqlite->connection);
}

// Writing the live row takes the write lock of the live database and of nothing else, so that the shadow can
// still be filled; BEGIN IMMEDIATE would take that of every attached database.
daybook_status dbk_sqlite_shadow_fence(dbk_target *target, const char *name, daybook_error *error) {
    dbk_sqlite *sqlite = dbk_sqlite_of(target);
    char *path = shadow_path(sqlite, name, "");
    if (path == NULL) return dbk_sqlite_fail_memory(sqlite, error);
    daybook_status status = exec_name(sqlite, "ATTACH '%q' AS daybook_shadow", path, error);
    dbk_free(sqlite->allocator, path);
    if (status != DAYBOOK_OK) return status;
    status = dbk_sqlite_exec(sqlite, "BEGIN", error);
    if (status == DAYBOOK_OK)
        status =
            exec_name(sqlite, "UPDATE daybook_projection SET name = name WHERE name = '%q'", name, error);
    if (status != DAYBOOK_OK) dbk_sqlite_shadow_unfence(target);
    return status;
}

void dbk_sqlite_shadow_unfence(dbk_target *target) {
    dbk_sqlite *sqlite = dbk_sqlite_of(target);
    dbk_sqlite_rollback(target);
    (void)sqlite3_exec(sqlite->connection, "DETACH daybook_shadow", NULL, NULL, NULL);
}

daybook_status dbk_sqlite_shadow_switch(dbk_target *target, dbk_target *shadow, const char *name,
                                        int64_t now_ns, daybook_error *error) {
    dbk_sqlite *sqlite = dbk_sqlite_of(target);
    names found = {.count = 0};
    bool was_fenced = is_fenced(sqlite);
    if (!was_fenced) DBK_TRY(dbk_sqlite_shadow_fence(target, name, error));
    dbk_buf_init(&found.text, sqlite->allocator, 64 << 20);
    // Tables go and come in an order that foreign keys know nothing of; at the commit they must hold again.
    daybook_status status = dbk_sqlite_exec(sqlite, "PRAGMA defer_foreign_keys=ON", error);
    if (status == DAYBOOK_OK) status = switch_in(sqlite, shadow, name, was_fenced, now_ns, &found, error);
    if (status == DAYBOOK_OK) status = dbk_sqlite_commit(target, error);
    dbk_sqlite_shadow_unfence(target);
    dbk_buf_deinit(&found.text);
    return status;
}
