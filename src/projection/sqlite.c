// SPDX-License-Identifier: Apache-2.0
// Projections into SQLite: connection, statements, transactions.
//
// Durability. The database is in WAL mode with synchronous=FULL: a commit syncs the WAL, so rows and
// checkpoint of a batch survive together or not at all.
//
// Writes and checkpoints never overlap. Releases of SQLite before 3.51.3, those of current distributions
// among them, can lose pages where one connection resets the WAL by a write while another one checkpoints.
// Here no connection checkpoints by itself (wal_autocheckpoint=0, NO_CKPT_ON_CLOSE). A checkpoint is taken
// between two batches, by a connection that does nothing else, while the writing connection of the same
// process holds the database's write lock by an empty BEGIN IMMEDIATE: so no process can write meanwhile, not
// even one that is not ours. One connection doing both, without that lock, would keep apart its own writes
// and checkpoints, but not those of another process (`projection pause`, a second projection in the same
// file).
//
// The file is looked after: one that was removed or replaced under us would take writes without complaint, so
// each transaction asks whether its name still leads to it.
//
// Failures. Busy, locked and full may pass; constraints, types and sizes are of the event; the rest needs a
// person. SQLITE_ERROR at a step is both (malformed JSON in json(), or a table that was dropped): a statement
// that cannot be prepared again is wrong, else the event is. SQLite has one allocator for the process: what
// it allocates does not come from ours.
//
// One thread at a time.
#include "projection/sqlite.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"

enum {
    BUSY_WAIT_MS = 200,    // the runner waits longer by itself, and can be interrupted there
    WAL_PAGE_COUNT = 4000, // checkpoint when the WAL has so many: 16 MiB
    CACHE_KIB = 65536,     // of pages; upserts meet random keys
    SHADOW_CACHE_KIB = 262144
};

// Failures.

typedef struct meaning {
    int code;
    dbk_failure_kind kind;
    daybook_status status;
    const char *advice;
} meaning;

// By extended code first, then by primary code.
static const meaning meanings[] = {
    {SQLITE_BUSY, DBK_FAILURE_TRANSIENT, DAYBOOK_ELOCKED, "; another process writes to the database"},
    {SQLITE_LOCKED, DBK_FAILURE_TRANSIENT, DAYBOOK_ELOCKED, ""},
    {SQLITE_PROTOCOL, DBK_FAILURE_TRANSIENT, DAYBOOK_ELOCKED, ""},
    {SQLITE_FULL, DBK_FAILURE_TRANSIENT, DAYBOOK_ENOSPC, "; make room on its disk, or raise max_page_count"},
    {SQLITE_NOMEM, DBK_FAILURE_FATAL, DAYBOOK_ENOMEM, ""},
    {SQLITE_IOERR_NOMEM, DBK_FAILURE_FATAL, DAYBOOK_ENOMEM, ""},
    {SQLITE_CONSTRAINT, DBK_FAILURE_EVENT, DAYBOOK_EINVALID, ""},
    {SQLITE_MISMATCH, DBK_FAILURE_EVENT, DAYBOOK_EINVALID, ""},
    {SQLITE_TOOBIG, DBK_FAILURE_EVENT, DAYBOOK_EINVALID, ""},
    {SQLITE_RANGE, DBK_FAILURE_EVENT, DAYBOOK_EINVALID, ""},
    {SQLITE_CORRUPT, DBK_FAILURE_FATAL, DAYBOOK_EDAMAGED,
     "; the file is damaged: move it away, and the projection is built anew"},
    {SQLITE_NOTADB, DBK_FAILURE_FATAL, DAYBOOK_EDAMAGED, "; give the path of a database, or of none yet"},
    {SQLITE_READONLY_DBMOVED, DBK_FAILURE_FATAL, DAYBOOK_ENOTFOUND,
     "; the file was removed or replaced: run again"},
    {SQLITE_READONLY, DBK_FAILURE_FATAL, DAYBOOK_EREADONLY,
     "; it needs write permission on file and directory"},
    {SQLITE_PERM, DBK_FAILURE_FATAL, DAYBOOK_EPERMISSION, ""},
    {SQLITE_AUTH, DBK_FAILURE_FATAL, DAYBOOK_EPERMISSION, ""},
    {SQLITE_CANTOPEN, DBK_FAILURE_FATAL, DAYBOOK_ENOTFOUND,
     "; is there such a directory, and may it be written to?"},
    {SQLITE_ERROR, DBK_FAILURE_FATAL, DAYBOOK_EINVALID, ""},
};

static const meaning *meaning_of(int extended) {
    static const meaning other = {0, DBK_FAILURE_FATAL, DAYBOOK_EIO, ""};
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
            if (meanings[i].code == (round == 0 ? extended : (extended & 0xff))) return &meanings[i];
    return &other;
}

static daybook_status fail_code(dbk_sqlite *sqlite, int extended, const char *words, const char *where,
                                daybook_error *error) {
    const meaning *known = meaning_of(extended);
    char code[16];
    snprintf(code, sizeof code, "%d", extended);
    dbk_target_fail(&sqlite->target, known->kind, code, DAYBOOK_OK);
    return dbk_fail(error, known->status, "%s%s%s: %s%s", where == NULL ? "" : where,
                    where == NULL ? "" : ": ", sqlite->path, words, known->advice);
}

daybook_status dbk_sqlite_fail(dbk_sqlite *sqlite, const char *where, daybook_error *error) {
    return fail_code(sqlite, sqlite3_extended_errcode(sqlite->connection), sqlite3_errmsg(sqlite->connection),
                     where, error);
}

daybook_status dbk_sqlite_fail_memory(dbk_sqlite *sqlite, daybook_error *error) {
    dbk_target_fail(&sqlite->target, DBK_FAILURE_FATAL, "7", DAYBOOK_OK);
    return dbk_fail(error, DAYBOOK_ENOMEM, "%s: out of memory", sqlite->path);
}

// Statements.

daybook_status dbk_sqlite_exec(dbk_sqlite *sqlite, const char *sql, daybook_error *error) {
    if (sqlite3_exec(sqlite->connection, sql, NULL, NULL, NULL) != SQLITE_OK)
        return dbk_sqlite_fail(sqlite, NULL, error);
    return DAYBOOK_OK;
}

static void statement_deinit(dbk_sqlite *sqlite, dbk_sqlite_statement *statement) {
    (void)sqlite3_finalize(statement->statement);
    dbk_free(sqlite->allocator, statement->text);
    memset(statement, 0, sizeof *statement);
}

daybook_status dbk_sqlite_statement_of(dbk_sqlite *sqlite, daybook_slice sql,
                                       dbk_sqlite_statement **statement_out, daybook_error *error) {
    *statement_out = NULL;
    for (size_t i = 0; i < sqlite->cache_count; i++) {
        dbk_sqlite_statement *known = &sqlite->cache[i];
        if (known->text_size != sql.size || memcmp(known->text, sql.data, sql.size) != 0) continue;
        *statement_out = known;
        return DAYBOOK_OK;
    }
    dbk_sqlite_statement made = {0};
    made.text = dbk_copy_text(sqlite->allocator, sql);
    if (made.text == NULL) return dbk_sqlite_fail_memory(sqlite, error);
    made.text_size = sql.size;
    const char *tail = NULL;
    if (sqlite3_prepare_v3(sqlite->connection, made.text, (int)sql.size + 1, SQLITE_PREPARE_PERSISTENT,
                           &made.statement, &tail) != SQLITE_OK) {
        daybook_status status = dbk_sqlite_fail(sqlite, NULL, error);
        statement_deinit(sqlite, &made);
        return status;
    }
    size_t at = sqlite->cache_count;
    if (at == DBK_SQLITE_CACHE_COUNT) {
        at = sqlite->cache_next;
        sqlite->cache_next = (at + 1) % DBK_SQLITE_CACHE_COUNT;
        statement_deinit(sqlite, &sqlite->cache[at]);
    } else {
        sqlite->cache_count++;
    }
    sqlite->cache[at] = made;
    *statement_out = &sqlite->cache[at];
    return DAYBOOK_OK;
}

daybook_status dbk_sqlite_finish(dbk_sqlite *sqlite, sqlite3_stmt *statement, daybook_error *error) {
    int code = SQLITE_ROW;
    while (code == SQLITE_ROW) code = sqlite3_step(statement);
    if (code == SQLITE_DONE) {
        (void)sqlite3_reset(statement);
        return DAYBOOK_OK;
    }
    daybook_status status = dbk_sqlite_fail(sqlite, NULL, error);
    (void)sqlite3_reset(statement); // it says the same once more
    return status;
}

static int bind(sqlite3_stmt *statement, int index, const dbk_value *value) {
    switch (value->kind) {
    case DBK_VALUE_NULL:
        return sqlite3_bind_null(statement, index);
    case DBK_VALUE_BOOLEAN:
    case DBK_VALUE_INTEGER:
        return sqlite3_bind_int64(statement, index, value->integer);
    case DBK_VALUE_REAL:
        return sqlite3_bind_double(statement, index, value->real);
    case DBK_VALUE_BLOB:
        // A NULL pointer would bind NULL.
        return sqlite3_bind_blob64(statement, index, value->text.size == 0 ? "" : value->text.data,
                                   value->text.size, SQLITE_STATIC);
    default:
        return sqlite3_bind_text64(statement, index, value->text.size == 0 ? "" : value->text.data,
                                   value->text.size, SQLITE_STATIC, SQLITE_UTF8);
    }
}

// "file:line" of a section's statement.
static void place_text(const dbk_sqlite *sqlite, const dbk_statement *source, char *text, size_t size) {
    snprintf(text, size, "%s:%u", (const char *)sqlite->definition->file.data, source->line);
}

// SQLITE_ERROR at a step: of the event, if the statement itself is still right.
static void judge_error(dbk_sqlite *sqlite, const dbk_sqlite_statement *statement) {
    if ((sqlite3_extended_errcode(sqlite->connection) & 0xff) != SQLITE_ERROR) return;
    sqlite3_stmt *again = NULL;
    const char *text = sqlite3_sql(statement->statement);
    if (text != NULL && sqlite3_prepare_v2(sqlite->connection, text, -1, &again, NULL) == SQLITE_OK)
        sqlite->target.failure.kind = DBK_FAILURE_EVENT;
    (void)sqlite3_finalize(again);
}

static daybook_status fail_statement(dbk_sqlite *sqlite, dbk_sqlite_statement *statement,
                                     daybook_error *error) {
    char where[DAYBOOK_ERROR_FILE_MAX] = "";
    if (statement->source != NULL) place_text(sqlite, statement->source, where, sizeof where);
    daybook_status status = dbk_sqlite_fail(sqlite, *where == '\0' ? NULL : where, error);
    judge_error(sqlite, statement);
    sqlite->target.failure.step = sqlite->step;
    (void)sqlite3_reset(statement->statement);
    return status;
}

static daybook_status step_to_end(dbk_sqlite *sqlite, dbk_sqlite_statement *statement, daybook_error *error) {
    int code = SQLITE_ROW;
    while (code == SQLITE_ROW) code = sqlite3_step(statement->statement);
    if (code != SQLITE_DONE) return fail_statement(sqlite, statement, error);
    (void)sqlite3_reset(statement->statement);
    return DAYBOOK_OK;
}

static daybook_status run_statement(dbk_sqlite *sqlite, dbk_sqlite_statement *statement,
                                    const dbk_value *values, daybook_error *error) {
    sqlite3_stmt *prepared = statement->statement;
    for (size_t i = 0; i < statement->parameter_count; i++)
        if (bind(prepared, (int)i + 1, &values[statement->parameters[i]]) != SQLITE_OK)
            return fail_statement(sqlite, statement, error);
    return step_to_end(sqlite, statement, error);
}

// Many rows by one statement: all or none of them.
static daybook_status run_bulk(dbk_sqlite *sqlite, dbk_sqlite_statement *bulk, const dbk_step *steps,
                               daybook_error *error) {
    int index = 1;
    for (size_t row = 0; row < DBK_SQLITE_BULK_COUNT; row++)
        for (size_t i = 0; i < bulk->parameter_count; i++)
            if (bind(bulk->statement, index++, &steps[row].values[bulk->parameters[i]]) != SQLITE_OK)
                return fail_statement(sqlite, bulk, error);
    return step_to_end(sqlite, bulk, error);
}

static bool is_bulk(const dbk_sqlite_section *section, const dbk_step *steps, size_t count) {
    if (section->bulk.statement == NULL || count < DBK_SQLITE_BULK_COUNT) return false;
    for (size_t i = 1; i < DBK_SQLITE_BULK_COUNT; i++)
        if (steps[i].section != steps->section) return false;
    return true;
}

static daybook_status apply(dbk_target *target, const dbk_step *steps, size_t count, daybook_error *error) {
    dbk_sqlite *sqlite = dbk_sqlite_of(target);
    for (size_t i = 0; i < count; i++, sqlite->step++) {
        dbk_sqlite_section *section = &sqlite->sections[steps[i].section->index];
        if (is_bulk(section, &steps[i], count - i)) {
            DBK_TRY(run_bulk(sqlite, &section->bulk, &steps[i], error));
            i += DBK_SQLITE_BULK_COUNT - 1;
            sqlite->step += DBK_SQLITE_BULK_COUNT - 1;
            continue;
        }
        for (size_t j = 0; j < section->statement_count; j++)
            DBK_TRY(run_statement(sqlite, &section->statements[j], steps[i].values, error));
    }
    return DAYBOOK_OK;
}

// `$N` and `?N` of a callback's statement, whatever order they stand in.
static daybook_status bind_by_name(dbk_sqlite *sqlite, sqlite3_stmt *statement, const dbk_value *values,
                                   size_t count, daybook_error *error) {
    int placeholder_count = sqlite3_bind_parameter_count(statement);
    for (int i = 1; i <= placeholder_count; i++) {
        const char *name = sqlite3_bind_parameter_name(statement, i);
        if (name == NULL) continue; // a number that was left out
        size_t number = 0;
        for (const char *at = name + 1; number <= count && *at >= '0' && *at <= '9'; at++)
            number = number * 10 + (size_t)(*at - '0');
        if (number < 1 || number > count) {
            dbk_target_fail(&sqlite->target, DBK_FAILURE_FATAL, "25", DAYBOOK_OK);
            return dbk_fail(error, DAYBOOK_EINVALID, "no value for %s: %zu were given, for $1 and so on",
                            name, count);
        }
        if (bind(statement, i, &values[number - 1]) != SQLITE_OK) return dbk_sqlite_fail(sqlite, NULL, error);
    }
    return DAYBOOK_OK;
}

static daybook_status execute(dbk_target *target, daybook_slice sql, const dbk_value *values, size_t count,
                              uint64_t *row_count_out, daybook_error *error) {
    dbk_sqlite *sqlite = dbk_sqlite_of(target);
    dbk_sqlite_statement *statement;
    DBK_TRY(dbk_sqlite_statement_of(sqlite, sql, &statement, error));
    if (statement->statement == NULL) return DAYBOOK_OK; // only a comment
    DBK_TRY(bind_by_name(sqlite, statement->statement, values, count, error));
    int code = SQLITE_ROW;
    uint64_t row_count = 0;
    for (;;) {
        code = sqlite3_step(statement->statement);
        if (code != SQLITE_ROW) break;
        row_count++;
    }
    if (code != SQLITE_DONE) return fail_statement(sqlite, statement, error);
    if (row_count == 0 && !sqlite3_stmt_readonly(statement->statement))
        row_count = (uint64_t)sqlite3_changes64(sqlite->connection);
    (void)sqlite3_reset(statement->statement);
    (void)sqlite3_clear_bindings(statement->statement); // what was bound belongs to the caller
    if (row_count_out != NULL) *row_count_out = row_count;
    return DAYBOOK_OK;
}

static void forget_sections(dbk_sqlite *sqlite) {
    for (size_t i = 0; i < sqlite->section_count; i++) {
        const dbk_sqlite_section *section = &sqlite->sections[i];
        for (size_t j = 0; j < section->statement_count; j++)
            (void)sqlite3_finalize(section->statements[j].statement);
        (void)sqlite3_finalize(section->bulk.statement);
    }
    sqlite->sections = NULL;
    sqlite->section_count = 0;
    sqlite->definition = NULL;
    dbk_arena_free(sqlite->arena);
    sqlite->arena = NULL;
}

static daybook_status prepare_statement(dbk_sqlite *sqlite, const dbk_statement *source,
                                        dbk_sqlite_statement *statement_out, daybook_error *error) {
    dbk_compiled compiled;
    dbk_target_fail(&sqlite->target, DBK_FAILURE_FATAL, "1", DAYBOOK_OK);
    DBK_TRY(dbk_statement_compile(source, DBK_DIALECT_SQLITE, sqlite->definition->file.data, sqlite->arena,
                                  &compiled, error));
    *statement_out = (dbk_sqlite_statement){
        .source = source, .parameters = compiled.parameters, .parameter_count = compiled.parameter_count};
    if (sqlite3_prepare_v3(sqlite->connection, compiled.text, (int)compiled.text_size + 1,
                           SQLITE_PREPARE_PERSISTENT, &statement_out->statement, NULL) == SQLITE_OK)
        return DAYBOOK_OK;
    char where[DAYBOOK_ERROR_FILE_MAX];
    place_text(sqlite, source, where, sizeof where);
#if SQLITE_VERSION_NUMBER >= 3038000
    int offset = sqlite3_error_offset(sqlite->connection);
    if (offset >= 0) {
        dbk_place place = dbk_statement_place(source, DBK_DIALECT_SQLITE, (size_t)offset);
        snprintf(where, sizeof where, "%s:%u:%u", (const char *)sqlite->definition->file.data, place.line,
                 place.column);
    }
#endif
    return dbk_sqlite_fail(sqlite, where, error);
}

// One row of a plain INSERT: parameters as ?, constants as they are.
static void write_bulk_row(dbk_buf *text, const dbk_insert *insert) {
    for (size_t i = 0; i < insert->value_count; i++) {
        const dbk_insert_value *value = &insert->values[i];
        dbk_slice constant = value->constant.text;
        dbk_buf_append_slice(text, daybook_text(i == 0 ? "(" : ", "));
        if (!value->is_constant) {
            dbk_buf_append_slice(text, daybook_text("?"));
        } else if (value->constant.kind == DBK_VALUE_NULL) {
            dbk_buf_append_slice(text, daybook_text("NULL"));
        } else if (value->constant.kind != DBK_VALUE_TEXT) {
            dbk_buf_append_slice(text, constant);
        } else {
            dbk_buf_append_slice(text, daybook_text("'"));
            for (size_t j = 0; j < constant.size; j++) {
                const char *at = (const char *)constant.data + j;
                dbk_buf_append(text, at, 1);
                if (*at == '\'') dbk_buf_append(text, at, 1);
            }
            dbk_buf_append_slice(text, daybook_text("'"));
        }
    }
    dbk_buf_append_slice(text, daybook_text(")"));
}

static void write_bulk(dbk_buf *text, const dbk_insert *insert) {
    dbk_buf_append_slice(text, daybook_text("INSERT INTO "));
    dbk_buf_append_slice(text, insert->table);
    for (size_t i = 0; i < insert->column_count; i++) {
        dbk_buf_append_slice(text, daybook_text(i == 0 ? " (" : ", "));
        dbk_buf_append_slice(text, insert->columns[i]);
    }
    dbk_buf_append_slice(text, daybook_text(insert->column_count == 0 ? " VALUES " : ") VALUES "));
    for (int row = 0; row < DBK_SQLITE_BULK_COUNT; row++) {
        if (row > 0) dbk_buf_append_slice(text, daybook_text(", "));
        write_bulk_row(text, insert);
    }
}

// The same INSERT for many rows costs half as much a row: each statement begins and ends once. It is tried
// where every value is one the statement alone takes; if it fails, the batch is gone through again event by
// event.
static daybook_status prepare_bulk(dbk_sqlite *sqlite, const dbk_section *source, dbk_sqlite_section *section,
                                   daybook_error *error) {
    if (source->statement_count != 1 || source->statements[0].insert == NULL) return DAYBOOK_OK;
    const dbk_insert *insert = source->statements[0].insert;
    dbk_sqlite_statement made = {.source = &source->statements[0]};
    uint32_t *parameters = dbk_arena_alloc(sqlite->arena, insert->value_count * sizeof *parameters);
    if (parameters == NULL) return dbk_sqlite_fail_memory(sqlite, error);
    for (size_t i = 0; i < insert->value_count; i++)
        if (!insert->values[i].is_constant) parameters[made.parameter_count++] = insert->values[i].parameter;
    made.parameters = parameters;
    int limit = sqlite3_limit(sqlite->connection, SQLITE_LIMIT_VARIABLE_NUMBER, -1);
    if (made.parameter_count * DBK_SQLITE_BULK_COUNT > (size_t)limit) return DAYBOOK_OK;
    dbk_buf text;
    dbk_buf_init(&text, sqlite->allocator, (size_t)DBK_STATEMENT_SIZE_MAX * (DBK_SQLITE_BULK_COUNT + 1));
    write_bulk(&text, insert);
    daybook_status status = DAYBOOK_OK;
    if (dbk_buf_status(&text) != DAYBOOK_OK)
        status = dbk_sqlite_fail_memory(sqlite, error);
    else if (sqlite3_prepare_v3(sqlite->connection, (const char *)text.data, (int)text.size,
                                SQLITE_PREPARE_PERSISTENT, &made.statement, NULL) != SQLITE_OK)
        status = dbk_sqlite_fail(sqlite, NULL, error);
    dbk_buf_deinit(&text);
    section->bulk = made;
    return status;
}

static daybook_status prepare_section(dbk_sqlite *sqlite, const dbk_section *source,
                                      dbk_sqlite_section *section, daybook_error *error) {
    section->statements =
        dbk_arena_alloc(sqlite->arena, source->statement_count * sizeof *section->statements);
    if (section->statements == NULL) return dbk_sqlite_fail_memory(sqlite, error);
    for (size_t i = 0; i < source->statement_count; i++) {
        dbk_sqlite_statement made = {0};
        DBK_TRY(prepare_statement(sqlite, &source->statements[i], &made, error));
        if (made.statement == NULL) continue; // only a comment
        section->statements[section->statement_count++] = made;
    }
    return prepare_bulk(sqlite, source, section, error);
}

static daybook_status prepare(dbk_target *target, const dbk_definition *definition, daybook_error *error) {
    dbk_sqlite *sqlite = dbk_sqlite_of(target);
    forget_sections(sqlite);
    if (dbk_arena_new(sqlite->allocator, 16384, &sqlite->arena) != DAYBOOK_OK)
        return dbk_sqlite_fail_memory(sqlite, error);
    sqlite->definition = definition;
    size_t size = (definition->section_count + 1) * sizeof *sqlite->sections;
    sqlite->sections = dbk_arena_alloc(sqlite->arena, size);
    if (sqlite->sections == NULL) return dbk_sqlite_fail_memory(sqlite, error);
    memset(sqlite->sections, 0, size);
    sqlite->section_count = definition->section_count;
    for (size_t i = 0; i < definition->section_count; i++)
        DBK_TRY(prepare_section(sqlite, &definition->sections[i], &sqlite->sections[i], error));
    return DAYBOOK_OK;
}

// Transactions.

static daybook_status check_file(dbk_sqlite *sqlite, daybook_error *error) {
    int has_moved = 0;
    if (sqlite->is_in_memory) return DAYBOOK_OK;
    (void)sqlite3_file_control(sqlite->connection, "main", SQLITE_FCNTL_HAS_MOVED, &has_moved);
    if (has_moved == 0) return DAYBOOK_OK;
    return fail_code(sqlite, SQLITE_READONLY_DBMOVED, "the database is not there any more", NULL, error);
}

daybook_status dbk_sqlite_begin(dbk_target *target, daybook_error *error) {
    dbk_sqlite *sqlite = dbk_sqlite_of(target);
    sqlite->step = 0;
    DBK_TRY(check_file(sqlite, error));
    return dbk_sqlite_exec(sqlite, "BEGIN IMMEDIATE", error);
}

// A hint only: what fails is done after a later batch. See the head.
static void checkpoint(dbk_sqlite *sqlite) {
    if (sqlite->checkpointer == NULL || sqlite->wal_page_count == 0) return;
    if (sqlite3_exec(sqlite->connection, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK) return;
    (void)sqlite3_wal_checkpoint_v2(sqlite->checkpointer, "main", SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    (void)sqlite3_exec(sqlite->connection, "ROLLBACK", NULL, NULL, NULL);
}

daybook_status dbk_sqlite_commit(dbk_target *target, daybook_error *error) {
    dbk_sqlite *sqlite = dbk_sqlite_of(target);
    DBK_TRY(dbk_sqlite_exec(sqlite, "COMMIT", error));
    if (sqlite->wal_page_count >= WAL_PAGE_COUNT) checkpoint(sqlite);
    // Committed into a file without a name: nobody will find it.
    return check_file(sqlite, error);
}

void dbk_sqlite_rollback(dbk_target *target) {
    dbk_sqlite *sqlite = dbk_sqlite_of(target);
    // Some failures have ended it already.
    if (!sqlite3_get_autocommit(sqlite->connection))
        (void)sqlite3_exec(sqlite->connection, "ROLLBACK", NULL, NULL, NULL);
}

static daybook_status savepoint(dbk_target *target, daybook_error *error) {
    dbk_sqlite_of(target)->step = 0;
    return dbk_sqlite_exec(dbk_sqlite_of(target), "SAVEPOINT daybook_event", error);
}

static daybook_status savepoint_release(dbk_target *target, daybook_error *error) {
    return dbk_sqlite_exec(dbk_sqlite_of(target), "RELEASE daybook_event", error);
}

static daybook_status savepoint_rollback(dbk_target *target, daybook_error *error) {
    return dbk_sqlite_exec(dbk_sqlite_of(target), "ROLLBACK TO daybook_event; RELEASE daybook_event", error);
}

// Opening and closing.

static int remember_pages(void *context, sqlite3 *connection, const char *name, int page_count) {
    (void)connection;
    (void)name;
    dbk_sqlite *sqlite = context;
    sqlite->wal_page_count = page_count;
    return SQLITE_OK;
}

void dbk_sqlite_close(dbk_target *target) {
    dbk_sqlite *sqlite = dbk_sqlite_of(target);
    if (sqlite == NULL) return;
    forget_sections(sqlite);
    for (size_t i = 0; i < sqlite->cache_count; i++) statement_deinit(sqlite, &sqlite->cache[i]);
    if (sqlite->connection != NULL) {
        dbk_sqlite_rollback(target);
        checkpoint(sqlite);
    }
    (void)sqlite3_close(sqlite->checkpointer);
    (void)sqlite3_close(sqlite->connection);
    if (sqlite->lock != NULL) sqlite->vfs->close(sqlite->vfs, sqlite->lock);
    dbk_free(sqlite->allocator, sqlite->path);
    dbk_free(sqlite->allocator, sqlite);
}

static const dbk_target_calls calls = {
    .name = "sqlite",
    .close = dbk_sqlite_close,
    .ensure = dbk_sqlite_ensure,
    .load = dbk_sqlite_load,
    .list = dbk_sqlite_list,
    .create = dbk_sqlite_create,
    .drop = dbk_sqlite_drop,
    .set_state = dbk_sqlite_set_state,
    .claim = dbk_sqlite_claim,
    .release = dbk_sqlite_release,
    .prepare = prepare,
    .begin = dbk_sqlite_begin,
    .apply = apply,
    .execute = execute,
    .savepoint = savepoint,
    .savepoint_release = savepoint_release,
    .savepoint_rollback = savepoint_rollback,
    .park = dbk_sqlite_park,
    .unpark = dbk_sqlite_unpark,
    .save = dbk_sqlite_save,
    .commit = dbk_sqlite_commit,
    .rollback = dbk_sqlite_rollback,
    .parked = dbk_sqlite_parked,
    .request = dbk_sqlite_request,
    .has_request = dbk_sqlite_has_request,
    .shadow_open = dbk_sqlite_shadow_open,
    .shadow_finish = NULL,
    .shadow_fence = dbk_sqlite_shadow_fence,
    .shadow_unfence = dbk_sqlite_shadow_unfence,
    .shadow_switch = dbk_sqlite_shadow_switch,
    .shadow_close = dbk_sqlite_shadow_close,
};

static daybook_status open_connection(dbk_sqlite *sqlite, int flags, sqlite3 **connection_out,
                                      daybook_error *error) {
    int code = sqlite3_open_v2(sqlite->path, connection_out,
                               flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE,
                               NULL);
    if (code == SQLITE_OK) {
        (void)sqlite3_busy_timeout(*connection_out, BUSY_WAIT_MS);
        (void)sqlite3_db_config(*connection_out, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)NULL);
        (void)sqlite3_wal_autocheckpoint(*connection_out, 0);
        return DAYBOOK_OK;
    }
    if (*connection_out == NULL) return dbk_sqlite_fail_memory(sqlite, error);
    return fail_code(sqlite, code, sqlite3_errmsg(*connection_out), NULL, error);
}

static daybook_status configure_shadow(dbk_sqlite *sqlite, daybook_error *error) {
    char sql[200];
    // Nothing of it need survive a crash: it is then made anew. Statements can be undone, by a journal in
    // memory.
    snprintf(sql, sizeof sql,
             "PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF; PRAGMA foreign_keys=ON; PRAGMA "
             "secure_delete=OFF; PRAGMA cache_size=-%d",
             SHADOW_CACHE_KIB);
    return dbk_sqlite_exec(sqlite, sql, error);
}

static daybook_status configure(dbk_sqlite *sqlite, daybook_error *error) {
    char sql[160];
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(sqlite->connection, "PRAGMA journal_mode=WAL", -1, &statement, NULL) !=
            SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW) {
        daybook_status status = dbk_sqlite_fail(sqlite, NULL, error);
        (void)sqlite3_finalize(statement);
        return status;
    }
    const char *mode = (const char *)sqlite3_column_text(statement, 0);
    bool is_wal = mode != NULL &&
                  (strcmp(mode, "wal") == 0 || (sqlite->is_in_memory && strcmp(mode, "memory") == 0));
    (void)sqlite3_finalize(statement);
    if (!is_wal)
        return fail_code(sqlite, SQLITE_READONLY, "the database cannot be put into WAL mode", NULL, error);
    snprintf(sql, sizeof sql, "PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA cache_size=-%d",
             CACHE_KIB);
    DBK_TRY(dbk_sqlite_exec(sqlite, sql, error));
    (void)sqlite3_wal_hook(sqlite->connection, remember_pages, sqlite);
    if (sqlite->is_in_memory) return DAYBOOK_OK;
    return open_connection(sqlite, SQLITE_OPEN_READWRITE, &sqlite->checkpointer, error);
}

// That it is a database at all shows with the first look into it.
static daybook_status open_all(dbk_sqlite *sqlite, daybook_error *error) {
    int flags = sqlite->is_read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    if (!sqlite->is_read_only && !sqlite->must_exist) flags |= SQLITE_OPEN_CREATE;
    DBK_TRY(open_connection(sqlite, flags, &sqlite->connection, error));
    DBK_TRY(dbk_sqlite_exec(sqlite, "SELECT count(*) FROM sqlite_master", error));
    if (sqlite->is_read_only) return DAYBOOK_OK;
    return sqlite->is_shadow ? configure_shadow(sqlite, error) : configure(sqlite, error);
}

daybook_status dbk_sqlite_open_file(const char *path, const dbk_target_options *options, bool is_shadow,
                                    daybook_file *lock, dbk_sqlite **sqlite_out, daybook_error *error) {
    *sqlite_out = NULL;
    dbk_sqlite *sqlite = dbk_alloc_zeroed(options->allocator, sizeof *sqlite);
    if (sqlite == NULL) {
        if (lock != NULL) options->vfs->close(options->vfs, lock);
        return dbk_fail(error, DAYBOOK_ENOMEM, "%s: out of memory", path);
    }
    sqlite->target.calls = &calls;
    sqlite->allocator = options->allocator;
    sqlite->vfs = options->vfs;
    sqlite->lock = lock;
    sqlite->is_shadow = is_shadow;
    sqlite->is_read_only = options->is_read_only;
    sqlite->must_exist = options->must_exist;
    sqlite->is_in_memory = strcmp(path, ":memory:") == 0;
    sqlite->path = dbk_copy_text(options->allocator, daybook_text(path));
    daybook_status status = sqlite->path == NULL ? dbk_fail(error, DAYBOOK_ENOMEM, "%s: out of memory", path)
                                                 : open_all(sqlite, error);
    if (status != DAYBOOK_OK) {
        if (options->failure != NULL) *options->failure = sqlite->target.failure;
        dbk_sqlite_close(&sqlite->target);
        return status;
    }
    *sqlite_out = sqlite;
    return DAYBOOK_OK;
}

daybook_status dbk_sqlite_open(const char *path, const dbk_target_options *options, dbk_target **target_out,
                               daybook_error *error) {
    dbk_sqlite *sqlite;
    daybook_status status = dbk_sqlite_open_file(path, options, false, NULL, &sqlite, error);
    *target_out = sqlite == NULL ? NULL : &sqlite->target;
    return status;
}
