// SPDX-License-Identifier: Apache-2.0
// PostgreSQL: an event table with its indexes, fsync and synchronous_commit on, over a Unix socket. A lone
// event is one prepared statement, a batch a transaction in pipeline mode. The server of `run` listens in
// --mode (a socket folder).
#include "peer.h"

#include <arpa/inet.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char connection_text[4096];
static char version_text[64] = "15";

static const char *version(void) {
    return version_text;
}

static void check(PGconn *connection, PGresult *result, ExecStatusType wanted) {
    if (PQresultStatus(result) != wanted) die("%s", PQerrorMessage(connection));
    PQclear(result);
}

static void execute(PGconn *connection, const char *sql) {
    check(connection, PQexec(connection, sql), PGRES_COMMAND_OK);
}

static void *join(void *context) {
    (void)context;
    PGconn *connection = PQconnectdb(connection_text);
    if (PQstatus(connection) != CONNECTION_OK) die("%s", PQerrorMessage(connection));
    static const struct {
        const char *name, *sql;
    } statements[] = {
        // The version must follow the one before it, as an expected version demands.
        {"append",
         "INSERT INTO events(id, aggregate, version, type, data) SELECT $1::uuid, $2, $3::int, $4, $5::bytea"
         " WHERE coalesce((SELECT max(version) FROM events WHERE aggregate = $2), 0) = $3::int - 1"},
        {"load", "SELECT version, data FROM events WHERE aggregate = $1 ORDER BY version"},
        {"replay", "SELECT version, data FROM events ORDER BY position"},
    };
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
        check(connection, PQprepare(connection, statements[i].name, statements[i].sql, 0, NULL),
              PGRES_COMMAND_OK);
    return connection;
}

static void leave(void *context) {
    PQfinish(context);
}

static void *open_store(const char *directory, const char *mode) {
    (void)directory;
    snprintf(connection_text, sizeof connection_text, "host=%s dbname=postgres user=postgres", mode);
    PGconn *connection = PQconnectdb(connection_text);
    if (PQstatus(connection) != CONNECTION_OK) die("%s", PQerrorMessage(connection));
    snprintf(version_text, sizeof version_text, "%d.%d", PQserverVersion(connection) / 10000,
             PQserverVersion(connection) % 10000);
    execute(connection, "CREATE TABLE events(position bigserial PRIMARY KEY, id uuid NOT NULL UNIQUE,"
                        " aggregate text NOT NULL, version int NOT NULL, type text NOT NULL,"
                        " data bytea NOT NULL, UNIQUE(aggregate, version))");
    return connection;
}

// Parameters of one event; version as text, data binary.
typedef struct parameters {
    const char *values[5];
    int sizes[5];
    int formats[5];
    char version[12];
} parameters;

static void bind_event(const peer_event *event, parameters *out) {
    snprintf(out->version, sizeof out->version, "%u", event->version);
    const char *values[] = {event->id, event->aggregate, out->version, event->type, event->data};
    memcpy(out->values, values, sizeof values);
    memset(out->sizes, 0, sizeof out->sizes);
    memset(out->formats, 0, sizeof out->formats);
    out->sizes[4] = (int)event->data_size;
    out->formats[4] = 1;
}

static void check_insert(PGconn *connection, PGresult *result) {
    if (PQresultStatus(result) != PGRES_COMMAND_OK) die("%s", PQerrorMessage(connection));
    if (strcmp(PQcmdTuples(result), "1") != 0) die("an expected version did not hold");
    PQclear(result);
}

static void append_one(PGconn *connection, const peer_event *event) {
    parameters bound;
    bind_event(event, &bound);
    check_insert(connection,
                 PQexecPrepared(connection, "append", 5, bound.values, bound.sizes, bound.formats, 0));
}

// The result of one piped command and the NULL that ends it.
static PGresult *take(PGconn *connection) {
    PGresult *result = PQgetResult(connection);
    if (result == NULL) die("%s", PQerrorMessage(connection));
    PGresult *end = PQgetResult(connection);
    if (end != NULL) die("a command gave two results");
    return result;
}

static void check_sent(int sent, PGconn *connection) {
    if (sent != 1) die("%s", PQerrorMessage(connection));
}

static void append(void *context, const peer_event *events, size_t count) {
    PGconn *connection = context;
    if (count == 1) {
        append_one(connection, events);
        return;
    }
    check_sent(PQenterPipelineMode(connection), connection);
    check_sent(PQsendQueryParams(connection, "BEGIN", 0, NULL, NULL, NULL, NULL, 0), connection);
    for (size_t i = 0; i < count; i++) {
        parameters bound;
        bind_event(&events[i], &bound);
        check_sent(PQsendQueryPrepared(connection, "append", 5, bound.values, bound.sizes, bound.formats, 0),
                   connection);
    }
    check_sent(PQsendQueryParams(connection, "COMMIT", 0, NULL, NULL, NULL, NULL, 0), connection);
    check_sent(PQpipelineSync(connection), connection);
    check(connection, take(connection), PGRES_COMMAND_OK);
    for (size_t i = 0; i < count; i++) check_insert(connection, take(connection));
    check(connection, take(connection), PGRES_COMMAND_OK);
    check(connection, PQgetResult(connection), PGRES_PIPELINE_SYNC);
    check_sent(PQexitPipelineMode(connection), connection);
}

static void visit_rows(const PGresult *result, peer_visit visit, void *context) {
    for (int row = 0; row < PQntuples(result); row++) {
        uint32_t version_number;
        memcpy(&version_number, PQgetvalue(result, row, 0), sizeof version_number);
        visit(context, ntohl(version_number), PQgetvalue(result, row, 1),
              (size_t)PQgetlength(result, row, 1));
    }
}

static void load(void *context, const char *aggregate, peer_visit visit, void *visit_context) {
    PGconn *connection = context;
    PGresult *result = PQexecPrepared(connection, "load", 1, &aggregate, NULL, NULL, 1);
    if (PQresultStatus(result) != PGRES_TUPLES_OK) die("%s", PQerrorMessage(connection));
    visit_rows(result, visit, visit_context);
    PQclear(result);
}

static void replay(void *context, peer_visit visit, void *visit_context) {
    PGconn *connection = context;
    check_sent(PQsendQueryPrepared(connection, "replay", 0, NULL, NULL, NULL, 1), connection);
    check_sent(PQsetSingleRowMode(connection), connection);
    PGresult *result;
    while ((result = PQgetResult(connection)) != NULL) {
        ExecStatusType status = PQresultStatus(result);
        if (status != PGRES_SINGLE_TUPLE && status != PGRES_TUPLES_OK) die("%s", PQerrorMessage(connection));
        visit_rows(result, visit, visit_context);
        PQclear(result);
    }
}

static void close_store(void *context) {
    execute(context, "CHECKPOINT");
    PQfinish(context);
}

const peer peer_here = {.name = "PostgreSQL",
                        .settings = "fsync, synchronous_commit=on, Unix socket",
                        .version = version,
                        .open = open_store,
                        .join = join,
                        .append = append,
                        .load = load,
                        .replay = replay,
                        .leave = leave,
                        .close = close_store};
