// SPDX-License-Identifier: Apache-2.0
// RocksDB, sync=true: one batch per append with the event by position, its place by (aggregate, version) and
// its id. Writers of one aggregate take turns (a table of mutexes); RocksDB groups the commits itself.
// Positions are given before the write, so a reader can see a gap: weaker than what the others promise.
#include "record.h"

#include <pthread.h>
#include <rocksdb/c.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_SIZE = 1 + PEER_KEY_SIZE, MUTEXES = 1024 };

typedef struct store {
    rocksdb_t *database;
    rocksdb_options_t *options;
    rocksdb_writeoptions_t *writing;
    rocksdb_readoptions_t *reading;
    atomic_uint_fast64_t position;
    pthread_mutex_t mutexes[MUTEXES];
} store;

static void check(char *failure) {
    if (failure != NULL) die("%s", failure);
}

static const char *version(void) {
    return ROCKSDB_PACKAGE_VERSION;
}

static void *open_store(const char *directory, const char *mode) {
    (void)mode;
    store *own = need(calloc(1, sizeof *own));
    own->options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(own->options, 1);
    rocksdb_options_increase_parallelism(own->options, 2);
    rocksdb_options_set_compression(own->options, rocksdb_lz4_compression);
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_bloom_full(10));
    rocksdb_block_based_options_set_block_cache(table, rocksdb_cache_create_lru((size_t)192 << 20));
    rocksdb_options_set_block_based_table_factory(own->options, table);
    own->writing = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(own->writing, 1);
    own->reading = rocksdb_readoptions_create();
    char *failure = NULL;
    own->database = rocksdb_open(own->options, directory, &failure);
    check(failure);
    for (size_t i = 0; i < MUTEXES; i++) pthread_mutex_init(&own->mutexes[i], NULL);
    return own;
}

static void *join(void *context) {
    return context;
}

static void put_position(uint64_t position, char out[9]) {
    out[0] = 'e';
    for (int i = 0; i < 8; i++) out[1 + i] = (char)(position >> (56 - 8 * i));
}

static void make_key(const char *aggregate, unsigned at_version, char out[KEY_SIZE]) {
    out[0] = 'a';
    peer_make_key(aggregate, at_version, out + 1);
}

static bool has(store *own, const char *key, size_t key_size) {
    char *failure = NULL;
    rocksdb_pinnableslice_t *found = rocksdb_get_pinned(own->database, own->reading, key, key_size, &failure);
    check(failure);
    bool is_there = found != NULL;
    rocksdb_pinnableslice_destroy(found);
    return is_there;
}

static pthread_mutex_t *mutex_of(store *own, const char *aggregate) {
    uint32_t hash = 2166136261u;
    for (; *aggregate != '\0'; aggregate++) hash = (hash ^ (unsigned char)*aggregate) * 16777619u;
    return &own->mutexes[hash % MUTEXES];
}

static void append(void *context, const peer_event *events, size_t count) {
    store *own = context;
    // A batch of new aggregates has no rival for them; a lone event takes its aggregate's turn.
    pthread_mutex_t *mutex = count == 1 ? mutex_of(own, events[0].aggregate) : NULL;
    if (mutex != NULL) pthread_mutex_lock(mutex);
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    for (size_t i = 0; i < count; i++) {
        char key[KEY_SIZE], place[9], record[PEER_RECORD_SIZE_MAX], id[1 + PEER_ID_SIZE];
        make_key(events[i].aggregate, events[i].version, key);
        if (has(own, key, KEY_SIZE)) die("a version is taken");
        if (events[i].version > 1 && count == 1) {
            make_key(events[i].aggregate, events[i].version - 1, key);
            if (!has(own, key, KEY_SIZE)) die("an expected version did not hold");
            make_key(events[i].aggregate, events[i].version, key);
        }
        id[0] = 'i';
        memcpy(id + 1, events[i].id, PEER_ID_SIZE);
        if (has(own, id, sizeof id)) die("an id is known");
        put_position(atomic_fetch_add(&own->position, 1) + 1, place);
        rocksdb_writebatch_put(batch, place, sizeof place, record, peer_make_record(&events[i], record));
        rocksdb_writebatch_put(batch, key, KEY_SIZE, place, sizeof place);
        rocksdb_writebatch_put(batch, id, sizeof id, place, sizeof place);
    }
    char *failure = NULL;
    rocksdb_write(own->database, own->writing, batch, &failure);
    check(failure);
    rocksdb_writebatch_destroy(batch);
    if (mutex != NULL) pthread_mutex_unlock(mutex);
}

static void load(void *context, const char *aggregate, peer_visit visit, void *visit_context) {
    store *own = context;
    char key[KEY_SIZE];
    make_key(aggregate, 0, key);
    rocksdb_iterator_t *iterator = rocksdb_create_iterator(own->database, own->reading);
    for (rocksdb_iter_seek(iterator, key, KEY_SIZE); rocksdb_iter_valid(iterator);
         rocksdb_iter_next(iterator)) {
        size_t size;
        const char *found = rocksdb_iter_key(iterator, &size);
        if (size != KEY_SIZE || memcmp(found, key, KEY_SIZE - 2) != 0) break;
        const char *place = rocksdb_iter_value(iterator, &size);
        char *failure = NULL;
        rocksdb_pinnableslice_t *record =
            rocksdb_get_pinned(own->database, own->reading, place, size, &failure);
        check(failure);
        const char *bytes = rocksdb_pinnableslice_value(record, &size);
        peer_visit_record(bytes, size, visit, visit_context);
        rocksdb_pinnableslice_destroy(record);
    }
    rocksdb_iter_destroy(iterator);
}

static void replay(void *context, peer_visit visit, void *visit_context) {
    store *own = context;
    rocksdb_iterator_t *iterator = rocksdb_create_iterator(own->database, own->reading);
    for (rocksdb_iter_seek(iterator, "e", 1); rocksdb_iter_valid(iterator); rocksdb_iter_next(iterator)) {
        size_t size;
        const char *key = rocksdb_iter_key(iterator, &size);
        if (key[0] != 'e') break;
        const char *bytes = rocksdb_iter_value(iterator, &size);
        peer_visit_record(bytes, size, visit, visit_context);
    }
    rocksdb_iter_destroy(iterator);
}

static void leave(void *context) {
    (void)context;
}

static void close_store(void *context) {
    store *own = context;
    rocksdb_close(own->database);
    rocksdb_options_destroy(own->options);
    rocksdb_writeoptions_destroy(own->writing);
    rocksdb_readoptions_destroy(own->reading);
    for (size_t i = 0; i < MUTEXES; i++) pthread_mutex_destroy(&own->mutexes[i]);
    free(own);
}

const peer peer_here = {.name = "RocksDB",
                        .settings = "sync=true, LZ4",
                        .version = version,
                        .open = open_store,
                        .join = join,
                        .append = append,
                        .load = load,
                        .replay = replay,
                        .leave = leave,
                        .close = close_store};
