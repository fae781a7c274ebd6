// SPDX-License-Identifier: Apache-2.0
// Projections into PostgreSQL: connection, failures, statements, transactions.
//
// A batch is one pipeline. BEGIN, the statements of its events, the checkpoint's UPDATE and COMMIT are sent
// one behind the other without waiting, and one sync at the end asks for all answers: a batch costs one
// round trip however many statements it has. What comes back is read while there is still something to
// send, so that neither side can stand with full buffers. After the first error the server skips everything
// up to the sync, COMMIT included, so a batch is in whole or not at all. Results come in the order of
// sending; a ring of tags says whose each is, and so which event a failure belongs to.
//
// Fencing. COMMIT is sent before anybody knows whether the checkpoint's UPDATE found its row. So the UPDATE
// stands in a query that divides by the number of rows it found: none is an error, and the server skips the
// COMMIT.
//
// Statements are prepared once per connection, with the types the server infers; values go as text, which
// the column's own input function reads: binary was not faster (docs/design/projections.md). bytea is sent
// as it is. libpq takes text up to its NUL, so text with a NUL in it is refused here, as the server would.
//
// A session is set up for many small statements: JIT off, one plan per statement, and sequential scans only
// where nothing else is left. For a plan made while a table was small would scan it for ever, row by row,
// while it grows. What was set in the connection string or for the role stays. lock_timeout keeps a run
// from waiting behind a locked table without a word, keepalives from waiting for a machine that is gone.
//
// Failures go by SQLSTATE: what may pass (connection, locks, serialization, resources), what is of the
// event (data, constraints, RAISE), and the rest, which needs a person. A lost connection is said, not
// mended: the runner opens anew. Connection strings hold passwords and are never repeated in messages.
//
// One thread at a time. libpq allocates by malloc; everything else comes from the allocator.
#include "projection/postgres.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"

enum {
    CONNECT_SECONDS = 15,
    UNREAD_COUNT_MAX = 64, // statements sent before the next look at what came back
    CALLBACK_TEXT_MAX = 64 << 20,
    CONNECTION_WORDS_MAX = 300,
    BYTEA_TYPE = 17 // its oid, the same in every database
};

// Failures.

typedef struct meaning {
    const char *sqlstate; // or its beginning
    dbk_failure_kind kind;
    daybook_status status;
    const char *advice;
} meaning;

#define TRANSIENT DBK_FAILURE_TRANSIENT
#define EVENT DBK_FAILURE_EVENT
#define FATAL DBK_FAILURE_FATAL

// The first that fits.
static const meaning meanings[] = {
    {"08P01", FATAL, DAYBOOK_EIO, ""},
    {"08", TRANSIENT, DAYBOOK_EIO, ""},
    {"25006", FATAL, DAYBOOK_EREADONLY, "; write to the primary (target_session_attrs=read-write)"},
    {"25P03", TRANSIENT, DAYBOOK_EIO, ""},
    {"26000", FATAL, DAYBOOK_EINVALID,
     "; a prepared statement vanished: connect to the server itself, not to a pooler of transactions"},
    {"28", FATAL, DAYBOOK_EPERMISSION, "; check user and password"},
    {"3D000", FATAL, DAYBOOK_ENOTFOUND, "; create it"},
    {"40002", EVENT, DAYBOOK_EINVALID, ""},
    {"40", TRANSIENT, DAYBOOK_ELOCKED, ""},
    {"42501", FATAL, DAYBOOK_EPERMISSION, "; grant it to the role"},
    {"42P18", FATAL, DAYBOOK_EINVALID, "; write its type behind it: :data.total::numeric"},
    {"53100", TRANSIENT, DAYBOOK_ENOSPC, "; make room on the server's disk"},
    {"53200", TRANSIENT, DAYBOOK_ENOMEM, ""},
    {"53", TRANSIENT, DAYBOOK_EMFILE, ""},
    {"54", EVENT, DAYBOOK_EINVALID, ""},
    {"55006", TRANSIENT, DAYBOOK_ELOCKED, ""},
    {"55P03", TRANSIENT, DAYBOOK_ELOCKED, "; another session holds a lock on the table"},
    {"57P04", FATAL, DAYBOOK_ENOTFOUND, ""},
    {"57P", TRANSIENT, DAYBOOK_EIO, ""},
    {"57014", TRANSIENT, DAYBOOK_ELOCKED, ""},
    {"57", TRANSIENT, DAYBOOK_EIO, ""},
    {"58", FATAL, DAYBOOK_EIO, ""},
    {"XX001", FATAL, DAYBOOK_EDAMAGED, ""},
    {"XX002", FATAL, DAYBOOK_EDAMAGED, ""},
    {"XX", FATAL, DAYBOOK_EIO, ""},
    {"09", EVENT, DAYBOOK_EINVALID, ""},
    {"21", EVENT, DAYBOOK_EINVALID, ""},
    {"22", EVENT, DAYBOOK_EINVALID, ""},
    {"23", EVENT, DAYBOOK_EINVALID, ""},
    {"27", EVENT, DAYBOOK_EINVALID, ""},
    {"2F", EVENT, DAYBOOK_EINVALID, ""},
    {"38", EVENT, DAYBOOK_EINVALID, ""},
    {"39", EVENT, DAYBOOK_EINVALID, ""},
    {"44", EVENT, DAYBOOK_EINVALID, ""},
    {"P0", EVENT, DAYBOOK_EINVALID, ""},
    {"", FATAL, DAYBOOK_EINVALID, ""},
};

static const meaning *meaning_of(const char *sqlstate) {
    size_t at = 0;
    while (strncmp(sqlstate, meanings[at].sqlstate, strlen(meanings[at].sqlstate)) != 0) at++;
    return &meanings[at];
}

// The server closes the connection behind these.
static bool ends_connection(const char *sqlstate) {
    return strncmp(sqlstate, "08", 2) == 0 || strncmp(sqlstate, "57P", 3) == 0 ||
           strcmp(sqlstate, "25P03") == 0;
}

daybook_status dbk_postgres_fail(dbk_postgres *postgres, dbk_failure_kind kind, const char *sqlstate,
                                 daybook_status status, daybook_error *error, const char *format, ...) {
    char words[DAYBOOK_ERROR_MESSAGE_MAX];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    (void)dbk_target_fail(&postgres->target, kind, sqlstate, status);
    return dbk_fail(error, status, "%s: %s", postgres->label, words);
}

daybook_status dbk_postgres_fail_memory(dbk_postgres *postgres, daybook_error *error) {
    return dbk_postgres_fail(postgres, TRANSIENT, "53200", DAYBOOK_ENOMEM, error, "out of memory");
}

daybook_status dbk_postgres_fail_result(dbk_postgres *postgres, const PGresult *result, const char *where,
                                        daybook_error *error) {
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (sqlstate == NULL) return dbk_postgres_fail_connection(postgres, error);
    const meaning *known = meaning_of(sqlstate);
    const char *words = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
    (void)dbk_target_fail(&postgres->target, known->kind, sqlstate, known->status);
    postgres->target.failure.is_lost = ends_connection(sqlstate);
    return dbk_fail(error, known->status, "%s%s%s: %s%s%s%s (%s)%s", where == NULL ? "" : where,
                    where == NULL ? "" : ": ", postgres->label, words == NULL ? "failed" : words,
                    detail == NULL ? "" : " (", detail == NULL ? "" : detail, detail == NULL ? "" : ")",
                    sqlstate, known->advice);
}

// libpq's words up to the end of the line, where `FATAL:  28P01: words` carries a code (PQERRORS_VERBOSE).
static void connection_words(const char *message, char *sqlstate, char *words) {
    size_t size = strcspn(message, "\n");
    (void)snprintf(words, CONNECTION_WORDS_MAX, "%.*s", (int)size, message);
    for (char *at = words; (at = strstr(at, ":  ")) != NULL; at++) {
        const char *code = at + 3;
        if (strspn(code, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") < 5 || code[5] != ':') continue;
        (void)snprintf(sqlstate, 6, "%s", code);
        memmove(at + 2, code + 6, strlen(code + 6) + 1);
    }
}

daybook_status dbk_postgres_fail_connection(dbk_postgres *postgres, daybook_error *error) {
    char sqlstate[6] = "08006";
    char words[CONNECTION_WORDS_MAX] = "";
    connection_words(PQerrorMessage(postgres->connection), sqlstate, words);
    const meaning *known = meaning_of(sqlstate);
    if (PQconnectionNeedsPassword(postgres->connection)) known = meaning_of("28");
    daybook_status status = dbk_postgres_fail(postgres, known->kind, sqlstate, known->status, error, "%s%s",
                                              *words == '\0' ? "the connection is lost" : words,
                                              known->advice);
    postgres->target.failure.is_lost = true;
    return status;
}

// Of the transaction: the first failure counts, and every later call repeats it.
static daybook_status repeat_failure(const dbk_postgres *postgres, daybook_error *error) {
    if (error != NULL) *error = postgres->failed;
    return postgres->failed.status;
}

static daybook_status remember_failure(dbk_postgres *postgres, daybook_status status) {
    postgres->has_failed = true;
    postgres->failed.status = status;
    return status;
}

static daybook_status lose_connection(dbk_postgres *postgres) {
    if (postgres->has_failed) return postgres->failed.status;
    return remember_failure(postgres, dbk_postgres_fail_connection(postgres, &postgres->failed));
}

// Where a failure stands in the file. The server counts characters from 1.
static void find_place(const dbk_postgres *postgres, const PGresult *result, const dbk_statement *source,
                       const char *text, char *where, size_t size) {
    const char *position = PQresultErrorField(result, PG_DIAG_STATEMENT_POSITION);
    dbk_place place = {source->line, source->column};
    uint64_t character = 0;
    for (; position != NULL && *position >= '0' && *position <= '9'; position++)
        character = character * 10 + (uint64_t)(*position - '0');
    if (character > 0 && text != NULL) {
        const char *at = text;
        for (uint64_t i = 1; i < character && *at != '\0'; i++) do
                at++;
            while (((unsigned char)*at & 0xc0) == 0x80);
        place = dbk_statement_place(source, DBK_DIALECT_POSTGRES, (size_t)(at - text));
    }
    (void)snprintf(where, size, "%s:%u:%u", (const char *)postgres->definition->file.data, place.line,
                   place.column);
}

// Sending and receiving.

void dbk_postgres_pause(dbk_postgres *postgres, int64_t wait_ns) {
    uint32_t word = 0;
    (void)postgres->vfs->wait(postgres->vfs, &word, 0, wait_ns, 0);
}

// Until there is something to read, or room to write where something waits for it.
static daybook_status wait_for_server(dbk_postgres *postgres, bool is_write_wanted) {
    struct pollfd descriptor = {.fd = PQsocket(postgres->connection),
                                .events = (short)(POLLIN | (is_write_wanted ? POLLOUT : 0))};
    int ready = poll(&descriptor, 1, -1);
    if (ready < 0 && errno != EINTR) return lose_connection(postgres);
    if (ready > 0 && (descriptor.revents & ~POLLOUT) != 0 && !PQconsumeInput(postgres->connection))
        return lose_connection(postgres);
    return DAYBOOK_OK;
}

static daybook_status push(dbk_postgres *postgres, uint32_t tag, const dbk_statement *source) {
    if (postgres->sent_count == postgres->sent_capacity) {
        size_t capacity = postgres->sent_capacity == 0 ? 1024 : postgres->sent_capacity * 2;
        dbk_postgres_sent *grown = dbk_resize_array(postgres->allocator, NULL, capacity, sizeof *grown);
        if (grown == NULL)
            return remember_failure(postgres, dbk_postgres_fail_memory(postgres, &postgres->failed));
        for (size_t i = 0; i < postgres->sent_count; i++)
            grown[i] = postgres->sent[(postgres->sent_first + i) % postgres->sent_capacity];
        dbk_free(postgres->allocator, postgres->sent);
        postgres->sent = grown;
        postgres->sent_first = 0;
        postgres->sent_capacity = capacity;
    }
    size_t last = (postgres->sent_first + postgres->sent_count++) % postgres->sent_capacity;
    postgres->sent[last] = (dbk_postgres_sent){.tag = tag, .source = source};
    return DAYBOOK_OK;
}

static void pop(dbk_postgres *postgres) {
    postgres->sent_first = (postgres->sent_first + 1) % postgres->sent_capacity;
    postgres->sent_count--;
    postgres->is_head_answered = false;
}

static void judge(dbk_postgres *postgres, const PGresult *result, dbk_postgres_sent sent) {
    if (postgres->has_failed) return;
    char where[DAYBOOK_ERROR_FILE_MAX];
    if (sent.source != NULL) find_place(postgres, result, sent.source, NULL, where, sizeof where);
    daybook_status status =
        dbk_postgres_fail_result(postgres, result, sent.source == NULL ? NULL : where, &postgres->failed);
    if (sent.tag == DBK_POSTGRES_SENT_SAVE && strcmp(postgres->target.failure.code, "22012") == 0)
        status = dbk_postgres_fail(
            postgres, DBK_FAILURE_FENCED, "22012", DAYBOOK_ECONFLICT, &postgres->failed,
            "the checkpoint of '%s' moved meanwhile: another instance is in charge, or it was"
            " rebuilt",
            postgres->claimed);
    if (sent.tag < DBK_POSTGRES_STEP_MAX) postgres->target.failure.step = sent.tag;
    (void)remember_failure(postgres, status);
}

// One result of the first of `sent`, or its end.
static void take_result(dbk_postgres *postgres, PGresult *result) {
    if (result == NULL) {
        if (postgres->is_head_answered) pop(postgres);
        return;
    }
    dbk_postgres_sent sent = postgres->sent[postgres->sent_first];
    switch (PQresultStatus(result)) {
    case PGRES_PIPELINE_SYNC:
        pop(postgres);
        break;
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_EMPTY_QUERY:
        postgres->is_head_answered = true;
        if (sent.tag == DBK_POSTGRES_SENT_CALL) {
            PQclear(postgres->called);
            postgres->called = result;
            return;
        }
        break;
    case PGRES_PIPELINE_ABORTED:
        postgres->is_head_answered = true;
        break; // the failure came before
    default:
        postgres->is_head_answered = true;
        judge(postgres, result, sent);
    }
    PQclear(result);
}

// What has arrived; with `is_all` until everything sent is answered. A failure on the way is in
// postgres->failed.
static daybook_status receive(dbk_postgres *postgres, bool is_all) {
    PGconn *connection = postgres->connection;
    int idle_count = 0;
    if (!is_all && !PQconsumeInput(connection)) return lose_connection(postgres);
    while (postgres->sent_count > 0) {
        int unsent = PQflush(connection);
        if (PQisBusy(connection)) {
            if (!is_all && unsent == 0) return DAYBOOK_OK;
            DBK_TRY(wait_for_server(postgres, unsent > 0));
            continue;
        }
        PGresult *result = PQgetResult(connection);
        bool is_idle = result == NULL && !postgres->is_head_answered;
        take_result(postgres, result);
        idle_count = is_idle ? idle_count + 1 : 0;
        if (idle_count > 2 || (is_idle && PQstatus(connection) == CONNECTION_BAD))
            return lose_connection(postgres);
    }
    return DAYBOOK_OK;
}

// Everything sent is answered.
static daybook_status settle(dbk_postgres *postgres) {
    if (!PQpipelineSync(postgres->connection)) return lose_connection(postgres);
    DBK_TRY(push(postgres, DBK_POSTGRES_SENT_SYNC, NULL));
    DBK_TRY(receive(postgres, true));
    return postgres->has_failed ? postgres->failed.status : DAYBOOK_OK;
}

// Something was handed to libpq: remember it, and keep both directions moving.
static daybook_status sent(dbk_postgres *postgres, int is_taken, uint32_t tag, const dbk_statement *source) {
    if (!is_taken) return lose_connection(postgres);
    DBK_TRY(push(postgres, tag, source));
    if (++postgres->unread_count < UNREAD_COUNT_MAX) return DAYBOOK_OK;
    postgres->unread_count = 0;
    DBK_TRY(receive(postgres, false));
    return postgres->has_failed ? postgres->failed.status : DAYBOOK_OK;
}

daybook_status dbk_postgres_send(dbk_postgres *postgres, const char *sql, const char *const *values,
                                 int count, uint32_t tag, daybook_error *error) {
    if (postgres->is_loading) DBK_TRY(dbk_postgres_load_finish(postgres, error));
    if (postgres->has_failed) return repeat_failure(postgres, error);
    int is_taken = PQsendQueryParams(postgres->connection, sql, count, NULL, values, NULL, NULL, 0);
    if (sent(postgres, is_taken, tag, NULL) != DAYBOOK_OK) return repeat_failure(postgres, error);
    return DAYBOOK_OK;
}

static daybook_status call_in_pipeline(dbk_postgres *postgres, const char *sql, const char *const *values,
                                       int count, PGresult **result_out, daybook_error *error) {
    daybook_status status = dbk_postgres_send(postgres, sql, values, count, DBK_POSTGRES_SENT_CALL, error);
    if (status == DAYBOOK_OK && settle(postgres) != DAYBOOK_OK) status = repeat_failure(postgres, error);
    if (status == DAYBOOK_OK && result_out != NULL)
        *result_out = postgres->called;
    else
        PQclear(postgres->called);
    postgres->called = NULL;
    return status;
}

static daybook_status check_result(dbk_postgres *postgres, PGresult *result, PGresult **result_out,
                                   daybook_error *error) {
    ExecStatusType outcome = PQresultStatus(result);
    daybook_status status = DAYBOOK_OK;
    if (outcome != PGRES_COMMAND_OK && outcome != PGRES_TUPLES_OK && outcome != PGRES_EMPTY_QUERY)
        status = result == NULL ? dbk_postgres_fail_connection(postgres, error)
                                : dbk_postgres_fail_result(postgres, result, NULL, error);
    if (status == DAYBOOK_OK && result_out != NULL)
        *result_out = result;
    else
        PQclear(result);
    return status;
}

daybook_status dbk_postgres_query(dbk_postgres *postgres, const char *sql, const char *const *values,
                                  int count, PGresult **result_out, daybook_error *error) {
    if (result_out != NULL) *result_out = NULL;
    if (postgres->is_in_transaction) return call_in_pipeline(postgres, sql, values, count, result_out, error);
    PGresult *result = PQexecParams(postgres->connection, sql, count, NULL, values, NULL, NULL, 0);
    return check_result(postgres, result, result_out, error);
}

daybook_status dbk_postgres_exec(dbk_postgres *postgres, const char *sql, daybook_error *error) {
    return check_result(postgres, PQexec(postgres->connection, sql), NULL, error);
}

daybook_status dbk_postgres_start(dbk_postgres *postgres, daybook_error *error) {
    return dbk_postgres_exec(postgres, DBK_POSTGRES_BEGIN, error);
}

daybook_status dbk_postgres_conclude(dbk_postgres *postgres, daybook_status status, daybook_error *error) {
    if (status == DAYBOOK_OK) status = dbk_postgres_exec(postgres, "COMMIT", error);
    if (status == DAYBOOK_OK) return status;
    dbk_failure failure = postgres->target.failure; // that of the work counts, not of its end
    if (PQtransactionStatus(postgres->connection) != PQTRANS_IDLE)
        (void)dbk_postgres_exec(postgres, "ROLLBACK", NULL);
    postgres->target.failure = failure;
    return status;
}

// Preparing.

static daybook_status out_of_memory(dbk_postgres *postgres, const void *memory, daybook_error *error) {
    return memory == NULL ? dbk_postgres_fail_memory(postgres, error) : DAYBOOK_OK;
}

static daybook_status fail_at(dbk_postgres *postgres, PGresult *result, const dbk_statement *source,
                              const char *text, daybook_error *error) {
    char where[DAYBOOK_ERROR_FILE_MAX];
    if (result == NULL) return dbk_postgres_fail_connection(postgres, error);
    find_place(postgres, result, source, text, where, sizeof where);
    daybook_status status = dbk_postgres_fail_result(postgres, result, where, error);
    PQclear(result);
    return status;
}

static daybook_status compile(dbk_postgres *postgres, const dbk_definition *definition,
                              const dbk_statement *source, dbk_arena *arena, dbk_compiled *compiled_out,
                              daybook_error *error) {
    (void)dbk_target_fail(&postgres->target, FATAL, "42601", DAYBOOK_OK);
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
        ExecStatusType outcome = PQresultStatus(result);
        if (outcome == PGRES_COMMAND_OK || outcome == PGRES_TUPLES_OK || outcome == PGRES_EMPTY_QUERY)
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

static daybook_status prepare(dbk_target *target, const dbk_definition *definition, daybook_error *error) {
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
    daybook_status status = dbk_postgres_fail(postgres, EVENT, "22021", DAYBOOK_EINVALID, &postgres->failed,
                                              "%stext of PostgreSQL cannot hold the character U+0000 (22021)",
                                              where);
    postgres->target.failure.step = step;
    return remember_failure(postgres, status);
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
    return sent(postgres, is_taken, step, statement->source);
}

daybook_status dbk_postgres_apply_step(dbk_postgres *postgres, const dbk_step *step, uint32_t number,
                                       daybook_error *error) {
    if (postgres->has_failed) return repeat_failure(postgres, error);
    const dbk_postgres_section *section = &postgres->sections[step->section->index];
    for (size_t i = 0; i < section->statement_count; i++)
        if (send_statement(postgres, &section->statements[i], step->values, number) != DAYBOOK_OK)
            return repeat_failure(postgres, error);
    return DAYBOOK_OK;
}

static daybook_status apply(dbk_target *target, const dbk_step *steps, size_t count, daybook_error *error) {
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
    if (sent(postgres, is_taken, DBK_POSTGRES_SENT_PLAIN, NULL) == DAYBOOK_OK &&
        settle(postgres) == DAYBOOK_OK)
        return DAYBOOK_OK;
    dbk_free(postgres->allocator, cached->text);
    cached->text = NULL;
    return repeat_failure(postgres, error);
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

// As text with a NUL behind it: those of callbacks have none. bytea reads its hexadecimal form.
static void write_value(dbk_buf *text, const dbk_value *value) {
    static const char digits[] = "0123456789abcdef";
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
        for (size_t i = 0; i < value->text.size; i++) {
            unsigned char byte = ((const unsigned char *)value->text.data)[i];
            dbk_buf_append_u8(text, (uint8_t)digits[byte >> 4]);
            dbk_buf_append_u8(text, (uint8_t)digits[byte & 15]);
        }
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
            return repeat_failure(postgres, error);
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

static daybook_status execute(dbk_target *target, daybook_slice sql, const dbk_value *values, size_t count,
                              uint64_t *row_count_out, daybook_error *error) {
    dbk_postgres *postgres = dbk_postgres_of(target);
    const char *name = NULL;
    if (postgres->is_loading) DBK_TRY(dbk_postgres_load_finish(postgres, error));
    if (postgres->has_failed) return repeat_failure(postgres, error);
    DBK_TRY(find_cached(postgres, sql, &name, error));
    DBK_TRY(set_values(postgres, values, count, error));
    int is_taken =
        PQsendQueryPrepared(postgres->connection, name, (int)count, postgres->values, NULL, NULL, 0);
    if (sent(postgres, is_taken, DBK_POSTGRES_SENT_CALL, NULL) != DAYBOOK_OK ||
        settle(postgres) != DAYBOOK_OK)
        return repeat_failure(postgres, error);
    uint64_t row_count = 0;
    const char *digits = postgres->called == NULL ? "" : PQcmdTuples(postgres->called);
    for (; *digits >= '0' && *digits <= '9'; digits++) row_count = row_count * 10 + (uint64_t)(*digits - '0');
    PQclear(postgres->called);
    postgres->called = NULL;
    if (row_count_out != NULL) *row_count_out = row_count;
    return DAYBOOK_OK;
}

// Transactions.

daybook_status dbk_postgres_begin_pipeline(dbk_postgres *postgres, daybook_error *error) {
    if (!PQenterPipelineMode(postgres->connection)) return dbk_postgres_fail_connection(postgres, error);
    postgres->is_in_transaction = true;
    postgres->is_loading = false;
    DBK_TRY(dbk_postgres_send(postgres, DBK_POSTGRES_BEGIN, NULL, 0, DBK_POSTGRES_SENT_PLAIN, error));
    if (*postgres->schema != '\0' || *postgres->claimed == '\0') return DAYBOOK_OK;
    // The row before the tables, as the switch of a rebuild does: neither waits for the other's second lock.
    const char *name = postgres->claimed;
    return dbk_postgres_send(postgres, "SELECT FROM daybook_projection WHERE name = $1 FOR UPDATE", &name, 1,
                             DBK_POSTGRES_SENT_PLAIN, error);
}

static daybook_status begin(dbk_target *target, daybook_error *error) {
    dbk_postgres *postgres = dbk_postgres_of(target);
    postgres->has_failed = false;
    postgres->step = 0;
    postgres->unread_count = 0;
    daybook_error_init(&postgres->failed);
    if (PQstatus(postgres->connection) != CONNECTION_OK) return dbk_postgres_fail_connection(postgres, error);
    dbk_postgres_load_reset(postgres);
    postgres->is_loading = postgres->loads != NULL && !postgres->is_load_refused;
    if (!postgres->is_loading) return dbk_postgres_begin_pipeline(postgres, error);
    postgres->is_in_transaction = true; // it begins with the first rows
    return DAYBOOK_OK;
}

static void leave(dbk_postgres *postgres) {
    if (PQpipelineStatus(postgres->connection) != PQ_PIPELINE_OFF)
        (void)PQexitPipelineMode(postgres->connection);
    postgres->is_in_transaction = false;
    postgres->is_loading = false;
    postgres->sent_count = 0;
    postgres->is_head_answered = false;
}

static daybook_status commit(dbk_target *target, daybook_error *error) {
    dbk_postgres *postgres = dbk_postgres_of(target);
    DBK_TRY(dbk_postgres_send(postgres, "COMMIT", NULL, 0, DBK_POSTGRES_SENT_PLAIN, error));
    if (settle(postgres) != DAYBOOK_OK) return repeat_failure(postgres, error);
    leave(postgres);
    if (postgres->is_load_repeated) postgres->is_load_refused = true;
    return DAYBOOK_OK;
}

static void rollback(dbk_target *target) {
    dbk_postgres *postgres = dbk_postgres_of(target);
    dbk_failure failure = postgres->target.failure;
    if (postgres->is_loading) dbk_postgres_load_reset(postgres);
    if (PQpipelineStatus(postgres->connection) != PQ_PIPELINE_OFF &&
        PQstatus(postgres->connection) == CONNECTION_OK)
        (void)settle(postgres);
    PQclear(postgres->called);
    postgres->called = NULL;
    leave(postgres);
    PGTransactionStatusType state = PQtransactionStatus(postgres->connection);
    if (state == PQTRANS_INTRANS || state == PQTRANS_INERROR)
        (void)dbk_postgres_exec(postgres, "ROLLBACK", NULL);
    postgres->target.failure = failure;
}

static daybook_status savepoint(dbk_target *target, daybook_error *error) {
    dbk_postgres *postgres = dbk_postgres_of(target);
    DBK_TRY(dbk_postgres_send(postgres, "SAVEPOINT daybook_event", NULL, 0, DBK_POSTGRES_SENT_PLAIN, error));
    postgres->step = 0;
    return DAYBOOK_OK;
}

static daybook_status savepoint_release(dbk_target *target, daybook_error *error) {
    dbk_postgres *postgres = dbk_postgres_of(target);
    DBK_TRY(dbk_postgres_send(postgres, "RELEASE daybook_event", NULL, 0, DBK_POSTGRES_SENT_PLAIN, error));
    if (settle(postgres) != DAYBOOK_OK) return repeat_failure(postgres, error);
    return DAYBOOK_OK;
}

static daybook_status savepoint_rollback(dbk_target *target, daybook_error *error) {
    dbk_postgres *postgres = dbk_postgres_of(target);
    if (postgres->has_failed && postgres->target.failure.is_lost) return repeat_failure(postgres, error);
    (void)settle(postgres); // what it says is known, or does not matter any more
    if (PQstatus(postgres->connection) != CONNECTION_OK) return repeat_failure(postgres, error);
    postgres->has_failed = false;
    DBK_TRY(
        dbk_postgres_send(postgres, "ROLLBACK TO daybook_event", NULL, 0, DBK_POSTGRES_SENT_PLAIN, error));
    DBK_TRY(dbk_postgres_send(postgres, "RELEASE daybook_event", NULL, 0, DBK_POSTGRES_SENT_PLAIN, error));
    if (settle(postgres) != DAYBOOK_OK) return repeat_failure(postgres, error);
    return DAYBOOK_OK;
}

// Opening and closing.

void dbk_postgres_close(dbk_target *target) {
    dbk_postgres *postgres = dbk_postgres_of(target);
    if (postgres == NULL) return;
    const daybook_allocator *allocator = postgres->allocator;
    PQfinish(postgres->connection); // the server rolls back, and gives locks up
    forget_sections(postgres);
    for (size_t i = 0; i < DBK_POSTGRES_CACHE_COUNT; i++) dbk_free(allocator, postgres->cache[i].text);
    dbk_buf_deinit(&postgres->text);
    PQclear(postgres->called);
    dbk_free(allocator, postgres->values);
    dbk_free(allocator, postgres->lengths);
    dbk_free(allocator, postgres->formats);
    dbk_free(allocator, postgres->sent);
    dbk_free(allocator, postgres->steps);
    dbk_free(allocator, postgres->conninfo);
    dbk_free(allocator, postgres);
}

static const dbk_target_calls calls = {
    .name = "postgresql",
    .close = dbk_postgres_close,
    .ensure = dbk_postgres_ensure,
    .load = dbk_postgres_load_progress,
    .list = dbk_postgres_list,
    .create = dbk_postgres_create,
    .drop = dbk_postgres_drop,
    .set_state = dbk_postgres_set_state,
    .claim = dbk_postgres_claim,
    .release = dbk_postgres_release,
    .prepare = prepare,
    .begin = begin,
    .apply = apply,
    .execute = execute,
    .savepoint = savepoint,
    .savepoint_release = savepoint_release,
    .savepoint_rollback = savepoint_rollback,
    .park = dbk_postgres_park,
    .unpark = dbk_postgres_unpark,
    .save = dbk_postgres_save,
    .commit = commit,
    .rollback = rollback,
    .parked = dbk_postgres_parked,
    .request = dbk_postgres_request,
    .has_request = dbk_postgres_has_request,
    .shadow_open = dbk_postgres_shadow_open,
    .shadow_finish = dbk_postgres_shadow_finish,
    .shadow_fence = dbk_postgres_shadow_fence,
    .shadow_unfence = dbk_postgres_shadow_unfence,
    .shadow_switch = dbk_postgres_shadow_switch,
    .shadow_close = dbk_postgres_shadow_close,
};

static daybook_status check_conninfo(dbk_postgres *postgres, daybook_error *error) {
    if (strchr(postgres->conninfo, '=') == NULL && strstr(postgres->conninfo, "://") == NULL)
        return DAYBOOK_OK;
    char *problem = NULL;
    PQconninfoOption *options = PQconninfoParse(postgres->conninfo, &problem);
    if (options != NULL) {
        PQconninfoFree(options);
        return DAYBOOK_OK;
    }
    size_t size = problem == NULL ? 0 : strcspn(problem, "\n");
    daybook_status status = dbk_postgres_fail(postgres, FATAL, "08001", DAYBOOK_EINVALID, error,
                                              "the connection string is wrong: %.*s", (int)size,
                                              problem == NULL ? "" : problem);
    PQfreemem(problem);
    return status;
}

static void ignore_notice(void *context, const char *message) {
    (void)context;
    (void)message;
}

// libpq applies no timeout of its own to a connection that is made in steps.
static daybook_status wait_for_connection(dbk_postgres *postgres, daybook_error *error) {
    PGconn *connection = postgres->connection;
    int64_t until_ns = postgres->vfs->clock_monotonic_ns(postgres->vfs) +
                       CONNECT_SECONDS * INT64_C(1000000000);
    PostgresPollingStatusType next = PGRES_POLLING_WRITING;
    while (next != PGRES_POLLING_OK) {
        if (next == PGRES_POLLING_FAILED || PQsocket(connection) < 0)
            return dbk_postgres_fail_connection(postgres, error);
        int64_t left_ns = until_ns - postgres->vfs->clock_monotonic_ns(postgres->vfs);
        struct pollfd descriptor = {.fd = PQsocket(connection),
                                    .events = next == PGRES_POLLING_READING ? POLLIN : POLLOUT};
        int ready = left_ns <= 0 ? 0 : poll(&descriptor, 1, (int)(left_ns / 1000000) + 1);
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) {
            daybook_status status = dbk_postgres_fail(postgres, TRANSIENT, "08001", DAYBOOK_EIO, error,
                                                      "no answer within %d seconds", CONNECT_SECONDS);
            postgres->target.failure.is_lost = true;
            return status;
        }
        next = PQconnectPoll(connection);
    }
    return DAYBOOK_OK;
}

// What the connection string, the role or the database says about a setting stays.
static const char settings[] =
    "SELECT set_config(v.name, v.value, false) FROM (VALUES ('jit', 'off'), ('enable_seqscan', 'off'),"
    " ('plan_cache_mode', 'force_generic_plan'), ('lock_timeout', '5s'), ('tcp_keepalives_idle', '10'),"
    " ('tcp_keepalives_interval', '5'), ('tcp_keepalives_count', '3'), ('tcp_user_timeout', '30s')) v(name, "
    "value)"
    " JOIN pg_catalog.pg_settings s ON s.name = v.name"
    " WHERE s.source NOT IN ('client', 'user', 'database', 'database user')";

// tcp_user_timeout and keepalives of both sides: neither waits for hours for one that is gone, and its
// locks go.
static daybook_status connect(dbk_postgres *postgres, daybook_error *error) {
    const char *const names[] = {
        "keepalives_idle", "keepalives_interval", "keepalives_count",          "tcp_user_timeout",
        "dbname",          "client_encoding",     "fallback_application_name", NULL};
    const char *const values[] = {"10", "5", "3", "30000", postgres->conninfo, "UTF8", "daybook", NULL};
    postgres->connection = PQconnectStartParams(names, values, 1);
    if (postgres->connection == NULL) return dbk_postgres_fail_memory(postgres, error);
    (void)PQsetNoticeProcessor(postgres->connection, ignore_notice, NULL);
    (void)PQsetErrorVerbosity(postgres->connection,
                              PQERRORS_VERBOSE); // with SQLSTATE, also where connecting fails
    DBK_TRY(wait_for_connection(postgres, error));
    (void)PQsetErrorVerbosity(postgres->connection, PQERRORS_DEFAULT);
    (void)snprintf(postgres->label, sizeof postgres->label, "PostgreSQL database %s",
                   PQdb(postgres->connection));
    if (PQsetnonblocking(postgres->connection, 1) != 0) return dbk_postgres_fail_connection(postgres, error);
    DBK_TRY(dbk_postgres_query(postgres, settings, NULL, 0, NULL, error));
    if (postgres->is_read_only)
        return dbk_postgres_exec(postgres, "SET default_transaction_read_only = on", error);
    return DAYBOOK_OK;
}

daybook_status dbk_postgres_open_with(const char *conninfo, const dbk_target_options *options,
                                      dbk_postgres **postgres_out, daybook_error *error) {
    *postgres_out = NULL;
    dbk_postgres *postgres = dbk_alloc_zeroed(options->allocator, sizeof *postgres);
    if (postgres == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "PostgreSQL: out of memory");
    postgres->target.calls = &calls;
    postgres->allocator = options->allocator;
    postgres->vfs = options->vfs;
    postgres->is_read_only = options->is_read_only;
    (void)snprintf(postgres->label, sizeof postgres->label, "PostgreSQL");
    daybook_error_init(&postgres->failed);
    dbk_buf_init(&postgres->text, options->allocator, CALLBACK_TEXT_MAX);
    postgres->conninfo = dbk_copy_text(options->allocator, daybook_text(conninfo));
    daybook_status status = out_of_memory(postgres, postgres->conninfo, error);
    if (status == DAYBOOK_OK) status = check_conninfo(postgres, error);
    if (status == DAYBOOK_OK) status = connect(postgres, error);
    if (status == DAYBOOK_OK) {
        *postgres_out = postgres;
        return DAYBOOK_OK;
    }
    if (options->failure != NULL) *options->failure = postgres->target.failure;
    dbk_postgres_close(&postgres->target);
    return status;
}

daybook_status dbk_postgres_open(const char *conninfo, const dbk_target_options *options,
                                 dbk_target **target_out, daybook_error *error) {
    dbk_postgres *postgres;
    *target_out = NULL;
    DBK_TRY(dbk_postgres_open_with(conninfo, options, &postgres, error));
    *target_out = &postgres->target;
    return DAYBOOK_OK;
}
