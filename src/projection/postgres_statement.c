// SPDX-License-Identifier: Apache-2.0
// Statements in PostgreSQL: those of a definition, prepared once per connection with the types the server
// infers, and those of callbacks, prepared when they come and kept.
//
// Values go as text, which the column's own input function reads: binary was not faster
// (docs/design/projections.md). bytea is sent as it is. libpq takes text up to its NUL, so text with a NUL in
// it is refused here, as the server would.
//
// One thread at a time.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "projection/postgres.h"

enum { BYTEA_TYPE = 17 }; // its oid, the same in every database

// Preparing.

static daybook_status out_of_memory(dbk_postgres *postgres, const void *memory, daybook_error *error) {
    return memory == NULL ? dbk_postgres_fail_memory(postgres, error) : DAYBOOK_OK;
}

static daybook_status fail_at(dbk_postgres *postgres, PGresult *result, const dbk_statement *source,
                              const char *text, daybook_error *error) {
    char where[DAYBOOK_ERROR_FILE_MAX];
    if (result == NULL) return dbk_postgres_fail_connection(postgres, error);
    dbk_postgres_find_place(postgres, result, source, text, where, sizeof where);
    daybook_status status = dbk_postgres_fail_result(postgres, result, where, error);
    PQclear(result);
    return status;
}

static daybook_status compile(dbk_postgres *postgres, const dbk_definition *definition,
                              const dbk_statement *source, dbk_arena *arena, dbk_compiled *compiled_out,
                              daybook_error *error) {
    (void)dbk_target_fail(&postgres->target, DBK_FAILURE_FATAL, "42601", DAYBOOK_OK);
    return dbk_statement_compile(source, DBK_DIALECT_POSTGRES, definition->file.data, arena, compiled_out,
                                 error);
}

daybook_status dbk_postgres_exec_statement(dbk_postgres *postgres, const dbk_definition *definition,
                                           const dbk_statement *statement, daybook_error *error) {
    dbk_arena *arena;
    if (dbk_arena_new(postgres->allocator, 4096, &arena) != DAYBOOK_OK)
        return dbk_postgres_fail_memory(postgres, error);
    const dbk_definition *before = postgres->definition;
    dbk_compiled compiled;
    daybook_status status = compile(postgres, definition, statement, arena, &compiled, error);
    postgres->definition = definition; // messages name its file
    if (status == DAYBOOK_OK) {
        PGresult *result = PQexec(postgres->connection, compiled.text);
        if (dbk_postgres_is_fine(result))
            PQclear(result);
        else
            status = fail_at(postgres, result, statement, compiled.text, error);
    }
    postgres->definition = before;
    dbk_arena_free(arena);
    return status;
}

// Which parameters are bytea: the server says after preparing.
static daybook_status describe(dbk_postgres *postgres, dbk_postgres_statement *statement,
                               daybook_error *error) {
    bool *is_bytes = dbk_arena_alloc(postgres->arena, statement->parameter_count + 1);
    DBK_TRY(out_of_memory(postgres, is_bytes, error));
    PGresult *result = PQdescribePrepared(postgres->connection, statement->name);
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        return fail_at(postgres, result, statement->source, NULL, error);
    for (size_t i = 0; i < statement->parameter_count; i++)
        is_bytes[i] = PQparamtype(result, (int)i) == BYTEA_TYPE;
    PQclear(result);
    statement->is_bytes = is_bytes;
    return DAYBOOK_OK;
}

static daybook_status prepare_statement(dbk_postgres *postgres, const dbk_statement *source,
                                        dbk_postgres_statement *statement, daybook_error *error) {
    dbk_compiled compiled;
    DBK_TRY(compile(postgres, postgres->definition, source, postgres->arena, &compiled, error));
    *statement = (dbk_postgres_statement){
        .source = source, .parameters = compiled.parameters, .parameter_count = compiled.parameter_count};
    (void)snprintf(statement->name, sizeof statement->name, "daybook_%" PRIu32, postgres->statement_count++);
    PGresult *result = PQprepare(postgres->connection, statement->name, compiled.text, 0, NULL);
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        return fail_at(postgres, result, source, compiled.text, error);
    PQclear(result);
    return describe(postgres, statement, error);
}

// Room for the values of a statement with `count` parameters.
static daybook_status reserve_values(dbk_postgres *postgres, size_t count, daybook_error *error) {
    if (count <= postgres->values_capacity) return DAYBOOK_OK;
    const char **values = dbk_resize_array(postgres->allocator, postgres->values, count, sizeof *values);
    DBK_TRY(out_of_memory(postgres, values, error));
    postgres->values = values;
    int *lengths = dbk_resize_array(postgres->allocator, postgres->lengths, count, sizeof *lengths);
    DBK_TRY(out_of_memory(postgres, lengths, error));
    postgres->lengths = lengths;
    int *formats = dbk_resize_array(postgres->allocator, postgres->formats, count, sizeof *formats);
    DBK_TRY(out_of_memory(postgres, formats, error));
    postgres->formats = formats;
    postgres->values_capacity = count;
    return DAYBOOK_OK;
}

static daybook_status prepare_section(dbk_postgres *postgres, const dbk_section *source,
                                      dbk_postgres_section *section, daybook_error *error) {
    section->statements =
        dbk_arena_alloc(postgres->arena, (source->statement_count + 1) * sizeof *section->statements);
    DBK_TRY(out_of_memory(postgres, section->statements, error));
    for (size_t i = 0; i < source->statement_count; i++) {
        dbk_postgres_statement *statement = &section->statements[i];
        DBK_TRY(prepare_statement(postgres, &source->statements[i], statement, error));
        DBK_TRY(reserve_values(postgres, statement->parameter_count, error));
        section->statement_count++;
    }
    return DAYBOOK_OK;
}

// Their statements stay prepared on the server until the connection ends: names are not used again.
static void forget_sections(dbk_postgres *postgres) {
    dbk_postgres_load_deinit(postgres);
    postgres->sections = NULL;
    postgres->definition = NULL;
    dbk_arena_free(postgres->arena);
    postgres->arena = NULL;
}

daybook_status dbk_postgres_prepare(dbk_target *target, const dbk_definition *definition,
                                    daybook_error *error) {
    dbk_postgres *postgres = dbk_postgres_of(target);
    forget_sections(postgres);
    if (dbk_arena_new(postgres->allocator, 16384, &postgres->arena) != DAYBOOK_OK)
        return dbk_postgres_fail_memory(postgres, error);
    postgres->definition = definition;
    size_t size = (definition->section_count + 1) * sizeof *postgres->sections;
    postgres->sections = dbk_arena_alloc(postgres->arena, size);
    DBK_TRY(out_of_memory(postgres, postgres->sections, error));
    memset(postgres->sections, 0, size);
    for (size_t i = 0; i < definition->section_count; i++)
        DBK_TRY(prepare_section(postgres, &definition->sections[i], &postgres->sections[i], error));
    return dbk_postgres_prepare_loads(postgres, error);
}

// Applying.

static daybook_status refuse_nul(dbk_postgres *postgres, const dbk_statement *source, uint32_t step) {
    char where[DAYBOOK_ERROR_FILE_MAX] = "";
    if (source != NULL)
        (void)snprintf(where, sizeof where, "%s:%u: ", (const char *)postgres->definition->file.data,
                       source->line);
    daybook_status status =
        dbk_postgres_fail(postgres, DBK_FAILURE_EVENT, "22021", DAYBOOK_EINVALID, &postgres->failed,
                          "%stext of PostgreSQL cannot hold the character U+0000 (22021)", where);
    postgres->target.failure.step = step;
    return dbk_postgres_remember_failure(postgres, status);
}

// False where the text would end too early.
static bool set_value(dbk_postgres *postgres, size_t index, const dbk_value *value, bool is_bytes) {
    bool is_null = value->kind == DBK_VALUE_NULL;
    bool is_raw = value->kind == DBK_VALUE_BLOB && is_bytes;
    const char *data = value->text.size == 0 ? "" : value->text.data;
    postgres->values[index] = is_null ? NULL : data;
    postgres->lengths[index] = is_null ? 0 : (int)value->text.size;
    postgres->formats[index] = is_raw ? 1 : 0;
    return is_null || is_raw || memchr(data, '\0', value->text.size) == NULL;
}

static daybook_status send_statement(dbk_postgres *postgres, const dbk_postgres_statement *statement,
                                     const dbk_value *values, uint32_t step) {
    for (size_t i = 0; i < statement->parameter_count; i++)
        if (!set_value(postgres, i, &values[statement->parameters[i]], statement->is_bytes[i]))
            return refuse_nul(postgres, statement->source, step);
    int is_taken = PQsendQueryPrepared(postgres->connection, statement->name, (int)statement->parameter_count,
                                       postgres->values, postgres->lengths, postgres->formats, 0);
    return dbk_postgres_sent_one(postgres, is_taken, step, statement->source);
}

daybook_status dbk_postgres_apply_step(dbk_postgres *postgres, const dbk_step *step, uint32_t number,
                                       daybook_error *error) {
    if (postgres->has_failed) return dbk_postgres_repeat_failure(postgres, error);
    const dbk_postgres_section *section = &postgres->sections[step->section->index];
    for (size_t i = 0; i < section->statement_count; i++)
        if (send_statement(postgres, &section->statements[i], step->values, number) != DAYBOOK_OK)
            return dbk_postgres_repeat_failure(postgres, error);
    return DAYBOOK_OK;
}

daybook_status dbk_postgres_apply(dbk_target *target, const dbk_step *steps, size_t count,
                                  daybook_error *error) {
    dbk_postgres *postgres = dbk_postgres_of(target);
    if (postgres->is_loading) return dbk_postgres_load_steps(postgres, steps, count, error);
    for (size_t i = 0; i < count; i++)
        DBK_TRY(dbk_postgres_apply_step(postgres, &steps[i], postgres->step++, error));
    return DAYBOOK_OK;
}

// Callbacks.

static daybook_status prepare_cached(dbk_postgres *postgres, dbk_postgres_cached *cached, daybook_slice sql,
                                     daybook_error *error) {
    dbk_free(postgres->allocator, cached->text);
    cached->text_size = sql.size;
    cached->text = dbk_copy_text(postgres->allocator, sql);
    DBK_TRY(out_of_memory(postgres, cached->text, error));
    (void)snprintf(cached->name, sizeof cached->name, "daybook_%" PRIu32, postgres->statement_count++);
    int is_taken = PQsendPrepare(postgres->connection, cached->name, cached->text, 0, NULL);
    if (dbk_postgres_sent_one(postgres, is_taken, DBK_POSTGRES_SENT_PLAIN, NULL) == DAYBOOK_OK &&
        dbk_postgres_settle(postgres) == DAYBOOK_OK)
        return DAYBOOK_OK;
    dbk_free(postgres->allocator, cached->text);
    cached->text = NULL;
    return dbk_postgres_repeat_failure(postgres, error);
}

static daybook_status find_cached(dbk_postgres *postgres, daybook_slice sql, const char **name_out,
                                  daybook_error *error) {
    for (size_t i = 0; i < DBK_POSTGRES_CACHE_COUNT; i++) {
        const dbk_postgres_cached *known = &postgres->cache[i];
        if (known->text == NULL || known->text_size != sql.size ||
            memcmp(known->text, sql.data, sql.size) != 0)
            continue;
        *name_out = known->name;
        return DAYBOOK_OK;
    }
    dbk_postgres_cached *cached = &postgres->cache[postgres->cache_next];
    postgres->cache_next = (postgres->cache_next + 1) % DBK_POSTGRES_CACHE_COUNT;
    if (cached->text != NULL) { // it gives way
        char close[48];
        (void)snprintf(close, sizeof close, "DEALLOCATE %s", cached->name);
        DBK_TRY(dbk_postgres_send(postgres, close, NULL, 0, DBK_POSTGRES_SENT_PLAIN, error));
    }
    DBK_TRY(prepare_cached(postgres, cached, sql, error));
    *name_out = cached->name;
    return DAYBOOK_OK;
}

void dbk_postgres_write_hex(dbk_buf *text, daybook_slice bytes) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.size; i++) {
        unsigned char byte = ((const unsigned char *)bytes.data)[i];
        dbk_buf_append_u8(text, (uint8_t)digits[byte >> 4]);
        dbk_buf_append_u8(text, (uint8_t)digits[byte & 15]);
    }
}

// As text with a NUL behind it: those of callbacks have none. bytea reads its hexadecimal form.
static void write_value(dbk_buf *text, const dbk_value *value) {
    char number[40];
    switch (value->kind) {
    case DBK_VALUE_NULL:
        return;
    case DBK_VALUE_BOOLEAN:
        dbk_buf_append_slice(text, daybook_text(value->integer != 0 ? "true" : "false"));
        break;
    case DBK_VALUE_INTEGER:
        (void)snprintf(number, sizeof number, "%" PRId64, value->integer);
        dbk_buf_append_slice(text, daybook_text(number));
        break;
    case DBK_VALUE_REAL:
        (void)snprintf(number, sizeof number, "%.17g", value->real);
        dbk_buf_append_slice(text, daybook_text(number));
        break;
    case DBK_VALUE_BLOB:
        dbk_buf_append_slice(text, daybook_text("\\x"));
        dbk_postgres_write_hex(text, value->text);
        break;
    default:
        dbk_buf_append(text, value->text.size == 0 ? "" : value->text.data, value->text.size);
        break;
    }
    dbk_buf_append_u8(text, 0);
}

static daybook_status set_values(dbk_postgres *postgres, const dbk_value *values, size_t count,
                                 daybook_error *error) {
    DBK_TRY(reserve_values(postgres, count, error));
    dbk_buf_reset(&postgres->text);
    for (size_t i = 0; i < count; i++) {
        bool is_text = values[i].kind == DBK_VALUE_TEXT || values[i].kind == DBK_VALUE_JSON;
        if (is_text && values[i].text.size > 0 &&
            memchr(values[i].text.data, '\0', values[i].text.size) != NULL) {
            (void)refuse_nul(postgres, NULL, DBK_FAILURE_STEP_NONE);
            return dbk_postgres_repeat_failure(postgres, error);
        }
        postgres->lengths[i] = (int)postgres->text.size; // where it begins: the buffer may still move
        write_value(&postgres->text, &values[i]);
    }
    if (dbk_buf_status(&postgres->text) != DAYBOOK_OK) return dbk_postgres_fail_memory(postgres, error);
    for (size_t i = 0; i < count; i++)
        postgres->values[i] = values[i].kind == DBK_VALUE_NULL
                                  ? NULL
                                  : (const char *)postgres->text.data + postgres->lengths[i];
    return DAYBOOK_OK;
}

daybook_status dbk_postgres_execute(dbk_target *target, daybook_slice sql, const dbk_value *values,
                                    size_t count, uint64_t *row_count_out, daybook_error *error) {
    dbk_postgres *postgres = dbk_postgres_of(target);
    const char *name = NULL;
    if (postgres->is_loading) DBK_TRY(dbk_postgres_load_finish(postgres, error));
    if (postgres->has_failed) return dbk_postgres_repeat_failure(postgres, error);
    DBK_TRY(find_cached(postgres, sql, &name, error));
    DBK_TRY(set_values(postgres, values, count, error));
    int is_taken =
        PQsendQueryPrepared(postgres->connection, name, (int)count, postgres->values, NULL, NULL, 0);
    if (dbk_postgres_sent_one(postgres, is_taken, DBK_POSTGRES_SENT_CALL, NULL) != DAYBOOK_OK ||
        dbk_postgres_settle(postgres) != DAYBOOK_OK)
        return dbk_postgres_repeat_failure(postgres, error);
    uint64_t row_count = 0;
    const char *digits = postgres->called == NULL ? "" : PQcmdTuples(postgres->called);
    for (; *digits >= '0' && *digits <= '9'; digits++) row_count = row_count * 10 + (uint64_t)(*digits - '0');
    PQclear(postgres->called);
    postgres->called = NULL;
    if (row_count_out != NULL) *row_count_out = row_count;
    return DAYBOOK_OK;
}

void dbk_postgres_free_statements(dbk_postgres *postgres) {
    const daybook_allocator *allocator = postgres->allocator;
    forget_sections(postgres);
    for (size_t i = 0; i < DBK_POSTGRES_CACHE_COUNT; i++) dbk_free(allocator, postgres->cache[i].text);
    dbk_buf_deinit(&postgres->text);
    dbk_free(allocator, postgres->values);
    dbk_free(allocator, postgres->lengths);
    dbk_free(allocator, postgres->formats);
}
