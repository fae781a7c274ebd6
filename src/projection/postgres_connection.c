// SPDX-License-Identifier: Apache-2.0
// A session with a PostgreSQL server: connecting, what it is set up for, and waiting for it.
//
// A session is set up for many small statements: JIT off, one plan per statement, and sequential scans only
// where nothing else is left. For a plan made while a table was small would scan it for ever, row by row,
// while it grows. What was set in the connection string or for the role stays. lock_timeout keeps a run from
// waiting behind a locked table without a word, keepalives from waiting for a machine that is gone.
//
// One thread at a time. libpq allocates by malloc.
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "projection/postgres.h"

enum { CONNECT_SECONDS = 15 };

void dbk_postgres_pause(dbk_postgres *postgres, int64_t wait_ns) {
    uint32_t word = 0;
    (void)postgres->vfs->wait(postgres->vfs, &word, 0, wait_ns, 0);
}

bool dbk_postgres_wait(dbk_postgres *postgres, bool is_write_wanted) {
    struct pollfd descriptor = {.fd = PQsocket(postgres->connection),
                                .events = (short)(POLLIN | (is_write_wanted ? POLLOUT : 0))};
    int ready = poll(&descriptor, 1, -1);
    if (ready < 0) return errno == EINTR;
    return ready == 0 || (descriptor.revents & ~POLLOUT) == 0 || PQconsumeInput(postgres->connection);
}

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
    daybook_status status = dbk_postgres_fail(postgres, DBK_FAILURE_FATAL, "08001", DAYBOOK_EINVALID, error,
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
            daybook_status status = dbk_postgres_fail(postgres, DBK_FAILURE_TRANSIENT, "08001", DAYBOOK_EIO,
                                                      error, "no answer within %d seconds", CONNECT_SECONDS);
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
daybook_status dbk_postgres_connect(dbk_postgres *postgres, daybook_error *error) {
    const char *const names[] = {
        "keepalives_idle", "keepalives_interval", "keepalives_count",          "tcp_user_timeout",
        "dbname",          "client_encoding",     "fallback_application_name", NULL};
    const char *const values[] = {"10", "5", "3", "30000", postgres->conninfo, "UTF8", "daybook", NULL};
    DBK_TRY(check_conninfo(postgres, error));
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
