// SPDX-License-Identifier: Apache-2.0
// Projections into PostgreSQL: the target, its statements that are settled at once, its transactions.
//
// A batch is one pipeline (postgres_pipeline.c): BEGIN, the statements of its events, the checkpoint's UPDATE
// and COMMIT are sent one behind the other without waiting.
//
// Fencing. COMMIT is sent before anybody knows whether the checkpoint's UPDATE found its row. So the UPDATE
// stands in a query that divides by the number of rows it found: none is an error, and the server skips the
// COMMIT.
//
// One thread at a time. libpq allocates by malloc; everything else comes from the allocator.
#include "projection/postgres.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"

enum { CALLBACK_TEXT_MAX = 64 << 20 };

// Statements settled at once.

bool dbk_postgres_is_fine(const PGresult *result) {
    ExecStatusType outcome = PQresultStatus(result);
    return outcome == PGRES_COMMAND_OK || outcome == PGRES_TUPLES_OK || outcome == PGRES_EMPTY_QUERY;
}

static daybook_status check_result(dbk_postgres *postgres, PGresult *result, PGresult **result_out,
                                   daybook_error *error) {
    daybook_status status = DAYBOOK_OK;
    if (!dbk_postgres_is_fine(result))
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
    if (postgres->is_in_transaction)
        return dbk_postgres_call(postgres, sql, values, count, result_out, error);
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
    if (dbk_postgres_settle(postgres) != DAYBOOK_OK) return dbk_postgres_repeat_failure(postgres, error);
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
        (void)dbk_postgres_settle(postgres);
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
    if (dbk_postgres_settle(postgres) != DAYBOOK_OK) return dbk_postgres_repeat_failure(postgres, error);
    return DAYBOOK_OK;
}

static daybook_status savepoint_rollback(dbk_target *target, daybook_error *error) {
    dbk_postgres *postgres = dbk_postgres_of(target);
    if (postgres->has_failed && postgres->target.failure.is_lost)
        return dbk_postgres_repeat_failure(postgres, error);
    (void)dbk_postgres_settle(postgres); // what it says is known, or does not matter any more
    if (PQstatus(postgres->connection) != CONNECTION_OK) return dbk_postgres_repeat_failure(postgres, error);
    postgres->has_failed = false;
    DBK_TRY(
        dbk_postgres_send(postgres, "ROLLBACK TO daybook_event", NULL, 0, DBK_POSTGRES_SENT_PLAIN, error));
    DBK_TRY(dbk_postgres_send(postgres, "RELEASE daybook_event", NULL, 0, DBK_POSTGRES_SENT_PLAIN, error));
    if (dbk_postgres_settle(postgres) != DAYBOOK_OK) return dbk_postgres_repeat_failure(postgres, error);
    return DAYBOOK_OK;
}

// Opening and closing.

void dbk_postgres_close(dbk_target *target) {
    dbk_postgres *postgres = dbk_postgres_of(target);
    if (postgres == NULL) return;
    const daybook_allocator *allocator = postgres->allocator;
    PQfinish(postgres->connection); // the server rolls back, and gives locks up
    dbk_postgres_free_statements(postgres);
    PQclear(postgres->called);
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
    .prepare = dbk_postgres_prepare,
    .begin = begin,
    .apply = dbk_postgres_apply,
    .execute = dbk_postgres_execute,
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
    daybook_status status = postgres->conninfo == NULL ? dbk_postgres_fail_memory(postgres, error)
                                                       : dbk_postgres_connect(postgres, error);
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
