// SPDX-License-Identifier: Apache-2.0
// The pipeline of a batch: statements are sent one behind the other without waiting, and one sync at the end
// asks for all answers, so that a batch costs one round trip however many statements it has. What comes back
// is read while there is still something to send, so that neither side can stand with full buffers. After the
// first error the server skips everything up to the sync, COMMIT included, so a batch is in whole or not at
// all. Results come in the order of sending; a ring of tags says whose each is, and so which event a failure
// belongs to.
//
// The first failure of a transaction counts, and every later call repeats it.
//
// One thread at a time.
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "projection/postgres.h"

enum { UNREAD_COUNT_MAX = 64 }; // statements sent before the next look at what came back

daybook_status dbk_postgres_repeat_failure(const dbk_postgres *postgres, daybook_error *error) {
    if (error != NULL) *error = postgres->failed;
    return postgres->failed.status;
}

daybook_status dbk_postgres_remember_failure(dbk_postgres *postgres, daybook_status status) {
    postgres->has_failed = true;
    postgres->failed.status = status;
    return status;
}

static daybook_status lose_connection(dbk_postgres *postgres) {
    if (postgres->has_failed) return postgres->failed.status;
    return dbk_postgres_remember_failure(postgres, dbk_postgres_fail_connection(postgres, &postgres->failed));
}

static daybook_status wait_for_server(dbk_postgres *postgres, bool is_write_wanted) {
    return dbk_postgres_wait(postgres, is_write_wanted) ? DAYBOOK_OK : lose_connection(postgres);
}

static daybook_status push(dbk_postgres *postgres, uint32_t tag, const dbk_statement *source) {
    if (postgres->sent_count == postgres->sent_capacity) {
        size_t capacity = postgres->sent_capacity == 0 ? 1024 : postgres->sent_capacity * 2;
        dbk_postgres_sent *grown = dbk_resize_array(postgres->allocator, NULL, capacity, sizeof *grown);
        if (grown == NULL)
            return dbk_postgres_remember_failure(postgres,
                                                 dbk_postgres_fail_memory(postgres, &postgres->failed));
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
    if (sent.source != NULL)
        dbk_postgres_find_place(postgres, result, sent.source, NULL, where, sizeof where);
    daybook_status status =
        dbk_postgres_fail_result(postgres, result, sent.source == NULL ? NULL : where, &postgres->failed);
    if (sent.tag == DBK_POSTGRES_SENT_SAVE && strcmp(postgres->target.failure.code, "22012") == 0)
        status = dbk_postgres_fail(
            postgres, DBK_FAILURE_FENCED, "22012", DAYBOOK_ECONFLICT, &postgres->failed,
            "the checkpoint of '%s' moved meanwhile: another instance is in charge, or it was"
            " rebuilt",
            postgres->claimed);
    if (sent.tag < DBK_POSTGRES_STEP_MAX) postgres->target.failure.step = sent.tag;
    (void)dbk_postgres_remember_failure(postgres, status);
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
daybook_status dbk_postgres_settle(dbk_postgres *postgres) {
    if (!PQpipelineSync(postgres->connection)) return lose_connection(postgres);
    DBK_TRY(push(postgres, DBK_POSTGRES_SENT_SYNC, NULL));
    DBK_TRY(receive(postgres, true));
    return postgres->has_failed ? postgres->failed.status : DAYBOOK_OK;
}

// Something was handed to libpq: remember it, and keep both directions moving.
daybook_status dbk_postgres_sent_one(dbk_postgres *postgres, int is_taken, uint32_t tag,
                                     const dbk_statement *source) {
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
    if (postgres->has_failed) return dbk_postgres_repeat_failure(postgres, error);
    int is_taken = PQsendQueryParams(postgres->connection, sql, count, NULL, values, NULL, NULL, 0);
    if (dbk_postgres_sent_one(postgres, is_taken, tag, NULL) != DAYBOOK_OK)
        return dbk_postgres_repeat_failure(postgres, error);
    return DAYBOOK_OK;
}

daybook_status dbk_postgres_call(dbk_postgres *postgres, const char *sql, const char *const *values,
                                 int count, PGresult **result_out, daybook_error *error) {
    daybook_status status = dbk_postgres_send(postgres, sql, values, count, DBK_POSTGRES_SENT_CALL, error);
    if (status == DAYBOOK_OK && dbk_postgres_settle(postgres) != DAYBOOK_OK)
        status = dbk_postgres_repeat_failure(postgres, error);
    if (status == DAYBOOK_OK && result_out != NULL)
        *result_out = postgres->called;
    else
        PQclear(postgres->called);
    postgres->called = NULL;
    return status;
}
