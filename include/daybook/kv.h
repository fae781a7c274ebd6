/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Key-value buckets on streams, with the NATS KV conventions: bucket B is stream KV_B, key k the
 * subject $KV.B.k, a value's revision its seq; delete and purge are marker events with the header
 * KV-Operation.
 */
#ifndef DAYBOOK_KV_H
#define DAYBOOK_KV_H

#include "daybook/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct daybook_kv_config {
    size_t size;
    daybook_slice bucket; /* letters, digits, '_' and '-' */
    uint32_t history;     /* values kept per key, 1 to 64; default 1 */
    int64_t ttl_ns;       /* 0: for ever */
    uint64_t max_bytes;
    uint64_t max_value_size;
    int storage;
    daybook_slice description;
} daybook_kv_config;

DAYBOOK_API void daybook_kv_config_init(daybook_kv_config *config);
DAYBOOK_API daybook_status daybook_kv_add(daybook_engine *engine, const daybook_kv_config *config,
                                          daybook_error *error);
DAYBOOK_API daybook_status daybook_kv_remove(daybook_engine *engine, daybook_slice bucket,
                                             daybook_error *error);

enum daybook_kv_operation { DAYBOOK_KV_PUT, DAYBOOK_KV_DELETE, DAYBOOK_KV_PURGE };

/** Borrowed from the call or cursor that gave it. */
typedef struct daybook_kv_entry {
    size_t size;
    daybook_slice bucket;
    daybook_slice key;
    daybook_slice value;
    uint64_t revision;
    uint64_t position;
    int64_t created_ns;
    int operation;
} daybook_kv_entry;

/** Set a value; the revision given out is its seq. */
DAYBOOK_API daybook_status daybook_kv_put(daybook_engine *engine, daybook_slice bucket, daybook_slice key,
                                          daybook_slice value, uint64_t *revision_out, daybook_error *error);
/** ECONFLICT where the key has a value (a deleted or purged one has none). */
DAYBOOK_API daybook_status daybook_kv_create(daybook_engine *engine, daybook_slice bucket, daybook_slice key,
                                             daybook_slice value, uint64_t *revision_out,
                                             daybook_error *error);
/** ECONFLICT unless `revision` is the key's last. */
DAYBOOK_API daybook_status daybook_kv_update(daybook_engine *engine, daybook_slice bucket, daybook_slice key,
                                             daybook_slice value, uint64_t revision, uint64_t *revision_out,
                                             daybook_error *error);
/** The key's value, at `revision` or, 0, the last. ENOTFOUND. `*cursor_out` owns the entry: close it
 *  with daybook_engine_cursor_close. */
DAYBOOK_API daybook_status daybook_kv_get(daybook_engine *engine, daybook_slice bucket, daybook_slice key,
                                          uint64_t revision, daybook_kv_entry *entry_out,
                                          daybook_engine_cursor **cursor_out, daybook_error *error);
/** Mark as deleted; with `purge` the history goes too. `revision` 0: whatever it is. */
DAYBOOK_API daybook_status daybook_kv_delete(daybook_engine *engine, daybook_slice bucket, daybook_slice key,
                                             int purge, uint64_t revision, uint64_t *revision_out,
                                             daybook_error *error);

/** `filter` over keys, empty for all. With `history` all kept values, else the last of each key. */
DAYBOOK_API daybook_status daybook_kv_read(daybook_engine *engine, daybook_slice bucket, daybook_slice filter,
                                           int history, int follow, daybook_engine_cursor **cursor_out,
                                           daybook_error *error);
/** Like daybook_engine_next for a cursor of daybook_kv_read. */
DAYBOOK_API daybook_status daybook_kv_next(daybook_engine_cursor *cursor, int timeout_ms,
                                           daybook_kv_entry *entry_out, daybook_error *error);

#ifdef __cplusplus
}
#endif
#endif
