// SPDX-License-Identifier: Apache-2.0
// LMDB, synchronous: events by position, positions by (aggregate, version), ids. One writer at a time is
// LMDB's own rule; a commit is its sync.
#include "record.h"

#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct store {
    MDB_env *environment;
    MDB_dbi events, aggregates, ids;
    uint64_t position; // guarded by LMDB's lock of writers
} store;

static void check(int result) {
    if (result != 0) die("%s", mdb_strerror(result));
}

static const char *version(void) {
    static char text[32];
    int major, minor, patch;
    (void)mdb_version(&major, &minor, &patch);
    snprintf(text, sizeof text, "%d.%d.%d", major, minor, patch);
    return text;
}

static MDB_val value(const void *bytes, size_t size) {
    return (MDB_val){.mv_size = size, .mv_data = (void *)(uintptr_t)bytes};
}

static void *open_store(const char *directory, const char *mode) {
    (void)mode;
    store *own = need(calloc(1, sizeof *own));
    check(mdb_env_create(&own->environment));
    check(mdb_env_set_mapsize(own->environment, (size_t)32 << 30));
    check(mdb_env_set_maxdbs(own->environment, 3));
    check(mdb_env_set_maxreaders(own->environment, 1024));
    check(mdb_env_open(own->environment, directory, MDB_NOTLS, 0644));
    MDB_txn *transaction;
    check(mdb_txn_begin(own->environment, NULL, 0, &transaction));
    check(mdb_dbi_open(transaction, "events", MDB_CREATE | MDB_INTEGERKEY, &own->events));
    check(mdb_dbi_open(transaction, "aggregates", MDB_CREATE, &own->aggregates));
    check(mdb_dbi_open(transaction, "ids", MDB_CREATE, &own->ids));
    check(mdb_txn_commit(transaction));
    return own;
}

static void *join(void *context) {
    return context;
}

static void visit_record(const MDB_val *record, peer_visit visit, void *context) {
    peer_visit_record(record->mv_data, record->mv_size, visit, context);
}

static void append(void *context, const peer_event *events, size_t count) {
    store *own = context;
    MDB_txn *transaction;
    check(mdb_txn_begin(own->environment, NULL, 0, &transaction));
    for (size_t i = 0; i < count; i++) {
        char text[PEER_KEY_SIZE], record[PEER_RECORD_SIZE_MAX];
        if (events[i].version > 1) { // the version before must be there, as an expected version demands
            peer_make_key(events[i].aggregate, events[i].version - 1, text);
            MDB_val key = value(text, PEER_KEY_SIZE), found;
            check(mdb_get(transaction, own->aggregates, &key, &found));
        }
        size_t position = ++own->position;
        MDB_val key = value(&position, sizeof position),
                data = value(record, peer_make_record(&events[i], record));
        check(mdb_put(transaction, own->events, &key, &data, MDB_APPEND));
        MDB_val place = value(&position, sizeof position);
        peer_make_key(events[i].aggregate, events[i].version, text);
        key = value(text, PEER_KEY_SIZE);
        check(mdb_put(transaction, own->aggregates, &key, &place, MDB_NOOVERWRITE));
        key = value(events[i].id, PEER_ID_SIZE);
        check(mdb_put(transaction, own->ids, &key, &place, MDB_NOOVERWRITE));
    }
    check(mdb_txn_commit(transaction));
}

static void load(void *context, const char *aggregate, peer_visit visit, void *visit_context) {
    store *own = context;
    MDB_txn *transaction;
    MDB_cursor *cursor;
    check(mdb_txn_begin(own->environment, NULL, MDB_RDONLY, &transaction));
    check(mdb_cursor_open(transaction, own->aggregates, &cursor));
    char text[PEER_KEY_SIZE];
    peer_make_key(aggregate, 0, text);
    MDB_val key = value(text, PEER_KEY_SIZE), place;
    int result = mdb_cursor_get(cursor, &key, &place, MDB_SET_RANGE);
    while (result == 0 && memcmp(key.mv_data, text, PEER_KEY_SIZE - 2) == 0) {
        MDB_val record;
        check(mdb_get(transaction, own->events, &place, &record));
        visit_record(&record, visit, visit_context);
        result = mdb_cursor_get(cursor, &key, &place, MDB_NEXT);
    }
    if (result != 0 && result != MDB_NOTFOUND) check(result);
    mdb_cursor_close(cursor);
    mdb_txn_abort(transaction);
}

static void replay(void *context, peer_visit visit, void *visit_context) {
    store *own = context;
    MDB_txn *transaction;
    MDB_cursor *cursor;
    check(mdb_txn_begin(own->environment, NULL, MDB_RDONLY, &transaction));
    check(mdb_cursor_open(transaction, own->events, &cursor));
    MDB_val key, record;
    int result;
    while ((result = mdb_cursor_get(cursor, &key, &record, MDB_NEXT)) == 0)
        visit_record(&record, visit, visit_context);
    if (result != MDB_NOTFOUND) check(result);
    mdb_cursor_close(cursor);
    mdb_txn_abort(transaction);
}

static void leave(void *context) {
    (void)context;
}

static void close_store(void *context) {
    store *own = context;
    mdb_env_close(own->environment);
    free(own);
}

const peer peer_here = {.name = "LMDB",
                        .settings = "synchronous commits",
                        .version = version,
                        .open = open_store,
                        .join = join,
                        .append = append,
                        .load = load,
                        .replay = replay,
                        .leave = leave,
                        .close = close_store};
