// SPDX-License-Identifier: Apache-2.0
// Loading in bulk: where every section is one plain INSERT, batches worth it go by COPY, in text form,
// which the columns' own input functions read as they read the values of a statement. A row costs the
// server less than half as much.
//
// Rows are gathered per table and sent when there are many; a COPY stays open until another table's turn
// comes, or anything else is to be done in the transaction, so that the server works while rows are made.
// Rows of one table keep their order; those of different tables do not, which only a constraint between
// them can see. Triggers and rules can see more, the number of statements for one; tables that have any for
// INSERT get statements.
//
// Where COPY refuses, statements have the last word: the transaction goes back to its beginning and the
// same steps are sent as statements. They name the event, if it is one; if they succeed (a foreign key met
// in the other order), COPY is not tried again on this connection.
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "projection/postgres.h"

enum {
    LOAD_COUNT_MIN = 64,    // fewer steps are one round trip as statements, and four by COPY
    CHUNK_SIZE = 256 << 10, // rows of a table that are sent together
    ROWS_SIZE_MAX = 1 << 30 // of one chunk: a single row may be large
};

// Which table.

static bool is_same_target(const dbk_insert *a, const dbk_insert *b) {
    if (!dbk_slice_equal(a->table, b->table) || a->column_count != b->column_count) return false;
    for (size_t i = 0; i < a->column_count; i++)
        if (!dbk_slice_equal(a->columns[i], b->columns[i])) return false;
    return true;
}

static const char *make_sql(dbk_postgres *postgres, const dbk_insert *insert) {
    size_t size = insert->table.size + sizeof "COPY  () FROM STDIN";
    for (size_t i = 0; i < insert->column_count; i++) size += insert->columns[i].size + 2;
    char *sql = dbk_arena_alloc(postgres->arena, size);
    if (sql == NULL) return NULL;
    int at = snprintf(sql, size, "COPY %.*s", (int)insert->table.size, (const char *)insert->table.data);
    for (size_t i = 0; i < insert->column_count; i++)
        at += snprintf(sql + at, size - (size_t)at, "%s%.*s%s", i == 0 ? " (" : ", ",
                       (int)insert->columns[i].size, (const char *)insert->columns[i].data,
                       i + 1 == insert->column_count ? ")" : "");
    (void)snprintf(sql + at, size - (size_t)at, " FROM STDIN");
    return sql;
}

static dbk_postgres_load *load_of(dbk_postgres *postgres, const dbk_insert *insert) {
    dbk_postgres_load **end = &postgres->loads;
    for (; *end != NULL; end = &(*end)->next)
        if (is_same_target((*end)->insert, insert)) return *end;
    dbk_postgres_load *load = dbk_arena_alloc(postgres->arena, sizeof *load);
    const char *sql = make_sql(postgres, insert);
    if (load == NULL || sql == NULL) return NULL;
    *load = (dbk_postgres_load){.insert = insert, .sql = sql};
    dbk_buf_init(&load->rows, postgres->allocator, ROWS_SIZE_MAX);
    *end = load;
    return load;
}

// Whether a table is named with different columns: its rows would need a COPY each, to keep their order.
static bool has_rivals(const dbk_definition *definition) {
    for (size_t i = 0; i < definition->section_count; i++) {
        if (definition->sections[i].statement_count == 0) continue;
        const dbk_insert *one = definition->sections[i].statements[0].insert;
        for (size_t j = 0; j < i; j++) {
            if (definition->sections[j].statement_count == 0) continue;
            const dbk_insert *other = definition->sections[j].statements[0].insert;
            if (dbk_slice_equal(one->table, other->table) && !is_same_target(one, other)) return true;
        }
    }
    return false;
}

// Rules rewrite an INSERT, and COPY passes them by; triggers see the rows of many events at once; a view
// takes no COPY.
static daybook_status check_table(dbk_postgres *postgres, const dbk_insert *insert, bool *takes_copy_out,
                                  daybook_error *error) {
    char *table = dbk_copy_text(postgres->allocator, insert->table);
    if (table == NULL) return dbk_postgres_fail_memory(postgres, error);
    const char *values[] = {table};
    PGresult *result;
    daybook_status status = dbk_postgres_query(
        postgres,
        "SELECT FROM pg_class c WHERE oid = to_regclass($1) AND relkind IN ('r', 'p') AND NOT relhasrules "
        "AND NOT"
        " EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal AND tgtype & 4 <> 0)",
        values, 1, &result, error);
    dbk_free(postgres->allocator, table);
    if (status != DAYBOOK_OK) return status;
    *takes_copy_out = PQntuples(result) > 0;
    PQclear(result);
    return DAYBOOK_OK;
}

daybook_status dbk_postgres_prepare_loads(dbk_postgres *postgres, daybook_error *error) {
    const dbk_definition *definition = postgres->definition;
    if (!definition->is_insert_only || has_rivals(definition)) return DAYBOOK_OK;
    for (size_t i = 0; i < definition->section_count; i++) {
        const dbk_section *section = &definition->sections[i];
        bool takes_copy = true;
        if (section->statement_count > 0)
            DBK_TRY(check_table(postgres, section->statements[0].insert, &takes_copy, error));
        if (!takes_copy) return DAYBOOK_OK;
    }
    for (size_t i = 0; i < definition->section_count; i++) {
        const dbk_section *section = &definition->sections[i];
        if (section->statement_count == 0) continue;
        postgres->sections[i].load = load_of(postgres, section->statements[0].insert);
        if (postgres->sections[i].load == NULL) return dbk_postgres_fail_memory(postgres, error);
    }
    return DAYBOOK_OK;
}

// Rows.

static void write_text(dbk_buf *row, daybook_slice text) {
    const char *data = text.data;
    size_t start = 0;
    for (size_t i = 0; i < text.size; i++) {
        char letter = data[i] == '\\'   ? '\\'
                      : data[i] == '\n' ? 'n'
                      : data[i] == '\r' ? 'r'
                      : data[i] == '\t' ? 't'
                                        : 0;
        if (letter == 0) continue;
        dbk_buf_append(row, data + start, i - start);
        dbk_buf_append_u8(row, '\\');
        dbk_buf_append_u8(row, (uint8_t)letter);
        start = i + 1;
    }
    dbk_buf_append(row, data + start, text.size - start);
}

// The hexadecimal form of bytea, its backslash doubled.
static void write_bytes(dbk_buf *row, daybook_slice bytes) {
    dbk_buf_append_slice(row, daybook_text("\\\\x"));
    dbk_postgres_write_hex(row, bytes);
}

// False where a text holds what PostgreSQL's cannot.
static bool write_value(dbk_buf *row, const dbk_value *value) {
    if (value->kind == DBK_VALUE_NULL) {
        dbk_buf_append_slice(row, daybook_text("\\N"));
    } else if (value->kind == DBK_VALUE_BLOB) {
        write_bytes(row, value->text);
    } else if (value->text.size > 0) {
        if (memchr(value->text.data, '\0', value->text.size) != NULL) return false;
        write_text(row, value->text);
    }
    return true;
}

static bool write_row(dbk_buf *rows, const dbk_insert *insert, const dbk_value *values) {
    for (size_t i = 0; i < insert->value_count; i++) {
        const dbk_insert_value *value = &insert->values[i];
        if (i > 0) dbk_buf_append_u8(rows, '\t');
        if (!write_value(rows, value->is_constant ? &value->constant : &values[value->parameter]))
            return false;
    }
    dbk_buf_append_u8(rows, '\n');
    return true;
}

// Sending. A failure here is looked into by sending statements; what it was does not matter unless it may
// pass.

static daybook_status wait_until_sent(dbk_postgres *postgres, daybook_error *error) {
    for (;;) {
        int unsent = PQflush(postgres->connection);
        if (unsent == 0) return DAYBOOK_OK;
        if (unsent < 0) return dbk_postgres_fail_connection(postgres, error);
        if (!dbk_postgres_wait(postgres, true)) return dbk_postgres_fail_connection(postgres, error);
    }
}

static daybook_status end_copy(dbk_postgres *postgres, daybook_error *error) {
    PGconn *connection = postgres->connection;
    if (postgres->copying == NULL) return DAYBOOK_OK;
    postgres->copying = NULL;
    if (PQputCopyEnd(connection, NULL) < 0) return dbk_postgres_fail_connection(postgres, error);
    daybook_status status = DAYBOOK_OK;
    PGresult *result;
    while ((result = PQgetResult(connection)) != NULL) {
        if (PQresultStatus(result) != PGRES_COMMAND_OK && status == DAYBOOK_OK)
            status = dbk_postgres_fail_result(postgres, result, NULL, error);
        PQclear(result);
    }
    return status;
}

static daybook_status start_copy(dbk_postgres *postgres, dbk_postgres_load *load, daybook_error *error) {
    if (postgres->copying == load) return DAYBOOK_OK;
    DBK_TRY(end_copy(postgres, error));
    PGresult *result = PQexec(postgres->connection, load->sql);
    daybook_status status = DAYBOOK_OK;
    if (PQresultStatus(result) == PGRES_COPY_IN)
        postgres->copying = load;
    else
        status = result == NULL ? dbk_postgres_fail_connection(postgres, error)
                                : dbk_postgres_fail_result(postgres, result, NULL, error);
    PQclear(result);
    return status;
}

static daybook_status send_rows(dbk_postgres *postgres, dbk_postgres_load *load, daybook_error *error) {
    if (load->rows.size == 0) return DAYBOOK_OK;
    DBK_TRY(start_copy(postgres, load, error));
    int is_taken = PQputCopyData(postgres->connection, (const char *)load->rows.data, (int)load->rows.size);
    dbk_buf_reset(&load->rows);
    if (is_taken != 1) return dbk_postgres_fail_connection(postgres, error);
    return wait_until_sent(postgres, error);
}

static daybook_status load_step(dbk_postgres *postgres, const dbk_step *step, daybook_error *error) {
    dbk_postgres_load *load = postgres->sections[step->section->index].load;
    if (load == NULL) return DAYBOOK_OK; // a section without statements
    const dbk_insert *insert = step->section->statements[0].insert;
    if (!write_row(&load->rows, insert, step->values))
        return dbk_postgres_fail(postgres, DBK_FAILURE_EVENT, "22021", DAYBOOK_EINVALID, error,
                                 "text of PostgreSQL cannot hold the character U+0000");
    if (dbk_buf_status(&load->rows) != DAYBOOK_OK) return dbk_postgres_fail_memory(postgres, error);
    return load->rows.size < CHUNK_SIZE ? DAYBOOK_OK : send_rows(postgres, load, error);
}

// The transaction.

void dbk_postgres_load_reset(dbk_postgres *postgres) {
    if (postgres->copying != NULL) (void)end_copy(postgres, NULL);
    for (dbk_postgres_load *load = postgres->loads; load != NULL; load = load->next)
        dbk_buf_reset(&load->rows);
    postgres->step_count = 0;
    postgres->is_load_open = false;
    postgres->is_load_repeated = false;
}

void dbk_postgres_load_deinit(dbk_postgres *postgres) {
    for (dbk_postgres_load *load = postgres->loads; load != NULL; load = load->next)
        dbk_buf_deinit(&load->rows);
    postgres->loads = NULL;
    postgres->copying = NULL;
}

static daybook_status remember_steps(dbk_postgres *postgres, const dbk_step *steps, size_t count,
                                     daybook_error *error) {
    dbk_step *grown = dbk_grow_array(postgres->allocator, postgres->steps, &postgres->step_capacity,
                                     postgres->step_count + count, sizeof *grown);
    if (grown == NULL) return dbk_postgres_fail_memory(postgres, error);
    postgres->steps = grown;
    if (count > 0) memcpy(&grown[postgres->step_count], steps, count * sizeof *steps);
    postgres->step_count += count;
    postgres->step += (uint32_t)count;
    return DAYBOOK_OK;
}

static daybook_status open_load(dbk_postgres *postgres, daybook_error *error) {
    static const char format[] = DBK_POSTGRES_BEGIN "%s%s%s; SAVEPOINT daybook_load";
    bool is_live = *postgres->schema == '\0' && *postgres->claimed != '\0';
    char sql[256];
    // The row before the tables, as in begin_pipeline. Names of projections are letters, digits and '_'.
    (void)snprintf(sql, sizeof sql, format, is_live ? "; SELECT FROM daybook_projection WHERE name = '" : "",
                   is_live ? postgres->claimed : "", is_live ? "' FOR UPDATE" : "");
    postgres->is_load_open = true;
    return dbk_postgres_exec(postgres, sql, error);
}

static daybook_status enter_pipeline(dbk_postgres *postgres, daybook_error *error) {
    postgres->is_loading = false;
    if (!PQenterPipelineMode(postgres->connection)) return dbk_postgres_fail_connection(postgres, error);
    return DAYBOOK_OK;
}

static daybook_status send_statements(dbk_postgres *postgres, daybook_error *error) {
    for (size_t i = 0; i < postgres->step_count; i++)
        DBK_TRY(dbk_postgres_apply_step(postgres, &postgres->steps[i], (uint32_t)i, error));
    return DAYBOOK_OK;
}

// COPY has failed: the same as statements.
static daybook_status repeat(dbk_postgres *postgres, daybook_error *error) {
    size_t count = postgres->step_count;
    dbk_postgres_load_reset(postgres);
    postgres->step_count = count;
    DBK_TRY(dbk_postgres_exec(postgres, "ROLLBACK TO SAVEPOINT daybook_load", error));
    DBK_TRY(enter_pipeline(postgres, error));
    postgres->is_load_repeated = true;
    return send_statements(postgres, error);
}

// After a failure of COPY: what may pass is told as it is.
static daybook_status look_into(dbk_postgres *postgres, daybook_status status, daybook_error *error) {
    if (status == DAYBOOK_OK) return status;
    if (postgres->target.failure.kind == DBK_FAILURE_TRANSIENT) return status;
    if (PQtransactionStatus(postgres->connection) == PQTRANS_IDLE) return status; // it did not even begin
    return repeat(postgres, error);
}

static daybook_status finish(dbk_postgres *postgres, daybook_error *error) {
    for (dbk_postgres_load *load = postgres->loads; load != NULL; load = load->next)
        DBK_TRY(send_rows(postgres, load, error));
    DBK_TRY(end_copy(postgres, error));
    return enter_pipeline(postgres, error);
}

daybook_status dbk_postgres_load_finish(dbk_postgres *postgres, daybook_error *error) {
    if (postgres->is_load_open) return look_into(postgres, finish(postgres, error), error);
    DBK_TRY(dbk_postgres_begin_pipeline(postgres, error));
    return send_statements(postgres, error);
}

daybook_status dbk_postgres_load_steps(dbk_postgres *postgres, const dbk_step *steps, size_t count,
                                       daybook_error *error) {
    size_t next = postgres->is_load_open ? postgres->step_count : 0;
    daybook_status status = DAYBOOK_OK;
    DBK_TRY(remember_steps(postgres, steps, count, error));
    if (!postgres->is_load_open) {
        if (postgres->step_count < LOAD_COUNT_MIN) return DAYBOOK_OK;
        status = open_load(postgres, error);
    }
    for (; status == DAYBOOK_OK && next < postgres->step_count; next++)
        status = load_step(postgres, &postgres->steps[next], error);
    return look_into(postgres, status, error);
}
