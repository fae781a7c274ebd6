// SPDX-License-Identifier: Apache-2.0
// SQLite: one table, WAL, synchronous=FULL. Writers share one connection behind a mutex, which is faster than
// one connection each waiting for the file lock; each reader has a connection of its own.
#include "peer.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct store {
    char path[4096];
    sqlite3 *database;
    sqlite3_stmt *begin, *insert, *commit;
    pthread_mutex_t mutex;
} store;

typedef struct client {
    store *store;
    sqlite3 *database; // for reading
    sqlite3_stmt *load, *replay;
} client;

static void check(int result, int wanted, sqlite3 *database) {
    if (result != wanted) die("%s", sqlite3_errmsg(database));
}

static sqlite3_stmt *prepare(sqlite3 *database, const char *sql) {
    sqlite3_stmt *statement;
    check(sqlite3_prepare_v2(database, sql, -1, &statement, NULL), SQLITE_OK, database);
    return statement;
}

static sqlite3 *connect_to(const char *path) {
    sqlite3 *database;
    check(sqlite3_open(path, &database), SQLITE_OK, database);
    check(sqlite3_exec(database,
                       "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-131072", NULL,
                       NULL, NULL),
          SQLITE_OK, database);
    return database;
}

static void *open_store(const char *directory, const char *mode) {
    (void)mode;
    store *own = need(calloc(1, sizeof *own));
    snprintf(own->path, sizeof own->path, "%s/events.sqlite", directory);
    own->database = connect_to(own->path);
    check(sqlite3_exec(
              own->database,
              "CREATE TABLE events(position INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,"
              " aggregate TEXT NOT NULL, version INTEGER NOT NULL, type TEXT NOT NULL,"
              " data BLOB NOT NULL, UNIQUE(aggregate, version))",
              NULL, NULL, NULL),
          SQLITE_OK, own->database);
    own->begin = prepare(own->database, "BEGIN IMMEDIATE");
    own->commit = prepare(own->database, "COMMIT");
    // The version must follow the one before it, as an expected version demands.
    own->insert = prepare(
        own->database, "INSERT INTO events(id, aggregate, version, type, data) SELECT ?1, ?2, ?3, ?4, ?5"
                       " WHERE coalesce((SELECT max(version) FROM events WHERE aggregate = ?2), 0) = ?3 - 1");
    pthread_mutex_init(&own->mutex, NULL);
    return own;
}

static void *join(void *context) {
    client *own = need(calloc(1, sizeof *own));
    own->store = context;
    own->database = connect_to(own->store->path);
    own->load =
        prepare(own->database, "SELECT version, data FROM events WHERE aggregate = ?1 ORDER BY version");
    own->replay = prepare(own->database, "SELECT version, data FROM events ORDER BY position");
    return own;
}

static void step(sqlite3 *database, sqlite3_stmt *statement) {
    check(sqlite3_step(statement), SQLITE_DONE, database);
    sqlite3_reset(statement);
}

static void append(void *context, const peer_event *events, size_t count) {
    store *own = ((client *)context)->store;
    pthread_mutex_lock(&own->mutex);
    step(own->database, own->begin);
    for (size_t i = 0; i < count; i++) {
        sqlite3_bind_text(own->insert, 1, events[i].id, PEER_ID_SIZE, SQLITE_STATIC);
        sqlite3_bind_text(own->insert, 2, events[i].aggregate, -1, SQLITE_STATIC);
        sqlite3_bind_int(own->insert, 3, (int)events[i].version);
        sqlite3_bind_text(own->insert, 4, events[i].type, -1, SQLITE_STATIC);
        sqlite3_bind_blob(own->insert, 5, events[i].data, (int)events[i].data_size, SQLITE_STATIC);
        step(own->database, own->insert);
        if (sqlite3_changes(own->database) != 1) die("an expected version did not hold");
    }
    step(own->database, own->commit);
    pthread_mutex_unlock(&own->mutex);
}

static void visit_all(client *own, sqlite3_stmt *statement, peer_visit visit, void *context) {
    int result;
    while ((result = sqlite3_step(statement)) == SQLITE_ROW)
        visit(context, (unsigned)sqlite3_column_int(statement, 0), sqlite3_column_blob(statement, 1),
              (size_t)sqlite3_column_bytes(statement, 1));
    check(result, SQLITE_DONE, own->database);
    sqlite3_reset(statement);
}

static void load(void *context, const char *aggregate, peer_visit visit, void *visit_context) {
    client *own = context;
    sqlite3_bind_text(own->load, 1, aggregate, -1, SQLITE_STATIC);
    visit_all(own, own->load, visit, visit_context);
}

static void replay(void *context, peer_visit visit, void *visit_context) {
    client *own = context;
    visit_all(own, own->replay, visit, visit_context);
}

static void leave(void *context) {
    client *own = context;
    sqlite3_finalize(own->load);
    sqlite3_finalize(own->replay);
    sqlite3_close(own->database);
    free(own);
}

static void close_store(void *context) {
    store *own = context;
    sqlite3_finalize(own->begin);
    sqlite3_finalize(own->insert);
    sqlite3_finalize(own->commit);
    sqlite3_close(own->database);
    pthread_mutex_destroy(&own->mutex);
    free(own);
}

const peer peer_here = {.name = "SQLite",
                        .settings = "WAL, synchronous=FULL",
                        .version = sqlite3_libversion,
                        .open = open_store,
                        .join = join,
                        .append = append,
                        .load = load,
                        .replay = replay,
                        .leave = leave,
                        .close = close_store};
