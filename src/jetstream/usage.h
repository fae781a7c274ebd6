// SPDX-License-Identifier: Apache-2.0
// What all streams take together, against `max_mem` and `max_file`: of the server (block jetstream), and of
// the account (block accounts; clients are told those). As with nats-server, a stream with `max_bytes` has
// these promised to it when it is made, and what is really stored is looked at with each publish.
//
// Promised: looked up anew each time; streams are made rarely.
// Stored: adding up streams costs a walk over them, so it is done when the last sum and all that was taken
// since reach a bound, and each second, as not only publishes write to the store, but a twentieth of the time
// at most. What is on its way to the disk is missing in a fresh sum: a bound may be passed by that much, 32
// MiB.
//
// Threads: dbk_js_usage_take from workers, dbk_js_usage_set_room from the loop; the lock is held while
// streams are added up.
#ifndef DBK_JETSTREAM_USAGE_H
#define DBK_JETSTREAM_USAGE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "api/error.h"
#include "broker/broker.h"
#include "daybook/store.h"

typedef enum dbk_js_storage { DBK_JS_FILES, DBK_JS_MEMORY, DBK_JS_STORAGES } dbk_js_storage;

typedef struct dbk_js_room {
    int64_t bytes_max[DBK_JS_STORAGES]; // -1: no limit
} dbk_js_room;

typedef struct dbk_js_usage {
    dbk_broker *broker;
    daybook_store *store;
    pthread_mutex_t lock; // of what follows
    dbk_js_room server_room, account_room;
    uint64_t counted[DBK_JS_STORAGES]; // bytes of messages
    uint64_t since[DBK_JS_STORAGES];   // taken since they were added up
    int64_t counted_ns;                // monotonic; 0: never
    int64_t cost_ns, last_cost_ns;     // what that took
    bool is_told[DBK_JS_STORAGES];     // the log knows that there is no room
} dbk_js_usage;

/// Of all streams and consumers but those nobody sees. Promises add up to INT64_MAX and stay there.
typedef struct dbk_js_sums {
    uint64_t bytes[DBK_JS_STORAGES];    // of messages
    uint64_t promised[DBK_JS_STORAGES]; // max_bytes of streams
    uint64_t stream_count, consumer_count, message_count;
} dbk_js_sums;

/// What daybook_stream_list and daybook_consumer_names give; `sums_out` has what was added up until then.
daybook_status dbk_js_sum(daybook_store *store, dbk_js_sums *sums_out, daybook_error *error);

/// False: there is no mutex.
bool dbk_js_usage_init(dbk_js_usage *usage, dbk_broker *broker, daybook_store *store);
void dbk_js_usage_deinit(dbk_js_usage *usage);
void dbk_js_usage_set_room(dbk_js_usage *usage, const dbk_js_room *server_room,
                           const dbk_js_room *account_room);

/// May a message of so many bytes be stored? It is counted where it may. False: `kind_out` is the error.
bool dbk_js_usage_take(dbk_js_usage *usage, dbk_js_storage storage, uint64_t size,
                       dbk_api_error_kind *kind_out);

/// Something was removed: what is stored is added up with the next publish.
void dbk_js_usage_forget(dbk_js_usage *usage);

/// May the stream `name`, there already or not, have `bytes_max`? Without a bound (0 or less) it needs some
/// room left. OK; ELIMIT: `kind_out` is the error; what daybook_stream_list gives.
daybook_status dbk_js_usage_may_reserve(daybook_store *store, const dbk_js_room *server_room,
                                        const dbk_js_room *account_room, dbk_js_storage storage,
                                        daybook_slice name, int64_t bytes_max, dbk_api_error_kind *kind_out);

#endif
