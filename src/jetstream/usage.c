// SPDX-License-Identifier: Apache-2.0
// See usage.h.
#include "jetstream/usage.h"

#include <string.h>

#include "base/bytes.h"
#include "base/time.h"
#include "daybook/stream.h"
#include "jetstream/jetstream_internal.h"

enum { RECOUNT_SHARE = 20 }; // a twentieth of the time at most is spent with adding up
static const int64_t stale_ns = DBK_SECOND_NS;

bool dbk_js_usage_init(dbk_js_usage *usage, dbk_broker *broker, daybook_store *store) {
    *usage = (dbk_js_usage){.broker = broker, .store = store};
    return pthread_mutex_init(&usage->lock, NULL) == 0;
}

void dbk_js_usage_deinit(dbk_js_usage *usage) {
    (void)pthread_mutex_destroy(&usage->lock);
}

void dbk_js_usage_set_room(dbk_js_usage *usage, const dbk_js_room *server_room,
                           const dbk_js_room *account_room) {
    pthread_mutex_lock(&usage->lock);
    usage->server_room = *server_room;
    usage->account_room = *account_room;
    memset(usage->is_told, 0, sizeof usage->is_told);
    pthread_mutex_unlock(&usage->lock);
}

static dbk_js_storage storage_of(const daybook_stream_config *config) {
    return config->storage == DAYBOOK_STORAGE_MEMORY ? DBK_JS_MEMORY : DBK_JS_FILES;
}

// ---- Sums -------------------------------------------------------------------------------------------------

// Bounds made before the limit may be of any size.
static uint64_t add(uint64_t sum, uint64_t more) {
    return more < INT64_MAX - sum ? sum + more : INT64_MAX;
}

static int add_stream(void *context, const daybook_stream_info *info) {
    dbk_js_sums *sums = context;
    if (dbk_js_is_hidden(info->config.name)) return 0;
    dbk_js_storage storage = storage_of(&info->config);
    sums->bytes[storage] += info->byte_count;
    sums->promised[storage] = add(sums->promised[storage], info->config.max_bytes);
    sums->message_count += info->message_count;
    sums->stream_count++;
    return 0;
}

static int add_consumer(void *context, dbk_slice stream, dbk_slice name) {
    dbk_js_sums *sums = context;
    (void)name;
    if (!dbk_js_is_hidden(stream)) sums->consumer_count++;
    return 0;
}

daybook_status dbk_js_sum(daybook_store *store, dbk_js_sums *sums_out, daybook_error *error) {
    *sums_out = (dbk_js_sums){0};
    DBK_TRY(daybook_stream_list(store, add_stream, sums_out, error));
    return daybook_consumer_names(store, daybook_bytes(NULL, 0), add_consumer, sums_out, error);
}

// ---- Stored -----------------------------------------------------------------------------------------------

// Where streams cannot be listed the last sum stays, with what was taken since, and that took its time as
// well.
static void recount(dbk_js_usage *usage, int64_t now_ns) {
    daybook_vfs *vfs = usage->broker->vfs;
    dbk_js_sums sums = {0};
    if (daybook_stream_list(usage->store, add_stream, &sums, NULL) == DAYBOOK_OK) {
        memcpy(usage->counted, sums.bytes, sizeof sums.bytes);
        memset(usage->since, 0, sizeof usage->since);
    }
    usage->counted_ns = vfs->clock_monotonic_ns(vfs);
    int64_t cost_ns = usage->counted_ns - now_ns, before_ns = usage->last_cost_ns;
    usage->last_cost_ns = cost_ns;
    usage->cost_ns = before_ns > 0 && before_ns < cost_ns ? before_ns
                                                          : cost_ns; // one that was held up says nothing
}

// As nats-server: the account's bound is not passed, the server's is noticed once it was.
static bool is_full(const dbk_js_usage *usage, dbk_js_storage storage, uint64_t size,
                    dbk_api_error_kind *kind_out) {
    int64_t server_max = usage->server_room.bytes_max[storage];
    int64_t account_max = usage->account_room.bytes_max[storage];
    uint64_t used = usage->counted[storage] + usage->since[storage];
    *kind_out = DBK_API_ERR_INSUFFICIENT_RESOURCES;
    if (server_max >= 0 && used > (uint64_t)server_max) return true;
    *kind_out = DBK_API_ERR_ACCOUNT_RESOURCES_EXCEEDED;
    return account_max >= 0 && used + size > (uint64_t)account_max;
}

// After a removal at once; else when the sum is old or a bound is reached, but RECOUNT_SHARE of the time at
// most.
static bool is_to_be_counted(const dbk_js_usage *usage, int64_t now_ns, dbk_js_storage storage,
                             uint64_t size) {
    dbk_api_error_kind kind;
    int64_t age_ns = now_ns - usage->counted_ns;
    if (usage->counted_ns == 0) return true;
    return age_ns >= RECOUNT_SHARE * usage->cost_ns &&
           (age_ns >= stale_ns || is_full(usage, storage, size, &kind));
}

static void tell(dbk_js_usage *usage, dbk_js_storage storage, dbk_api_error_kind kind) {
    if (usage->is_told[storage]) return;
    usage->is_told[storage] = true;
    const char *of = kind == DBK_API_ERR_INSUFFICIENT_RESOURCES ? "server" : "account";
    dbk_broker_log(usage->broker, ERROR,
                   "JetStream %s resource limits exceeded for %s: publishes are refused until there is room",
                   storage == DBK_JS_MEMORY ? "memory" : "file", of);
}

bool dbk_js_usage_take(dbk_js_usage *usage, dbk_js_storage storage, uint64_t size,
                       dbk_api_error_kind *kind_out) {
    pthread_mutex_lock(&usage->lock);
    bool is_bounded = usage->server_room.bytes_max[storage] >= 0 ||
                      usage->account_room.bytes_max[storage] >= 0;
    bool has_room = true;
    if (is_bounded) {
        int64_t now_ns = usage->broker->vfs->clock_monotonic_ns(usage->broker->vfs);
        if (is_to_be_counted(usage, now_ns, storage, size)) recount(usage, now_ns);
        has_room = !is_full(usage, storage, size, kind_out);
        if (has_room) {
            usage->since[storage] += size;
            usage->is_told[storage] = false;
        } else {
            tell(usage, storage, *kind_out);
        }
    }
    pthread_mutex_unlock(&usage->lock);
    return has_room;
}

void dbk_js_usage_forget(dbk_js_usage *usage) {
    pthread_mutex_lock(&usage->lock);
    usage->counted_ns = 0;
    pthread_mutex_unlock(&usage->lock);
}

// ---- Promised ---------------------------------------------------------------------------------------------

typedef struct dbk_js_promises {
    dbk_js_storage storage;
    daybook_slice except;
    uint64_t bytes;
} dbk_js_promises;

static int add_promised(void *context, const daybook_stream_info *info) {
    dbk_js_promises *promises = context;
    const daybook_stream_config *config = &info->config;
    if (dbk_js_is_hidden(config->name) || storage_of(config) != promises->storage || config->max_bytes == 0 ||
        dbk_slice_equal(config->name, promises->except))
        return 0;
    promises->bytes = add(promises->bytes, config->max_bytes);
    return 0;
}

static bool is_beyond(const dbk_js_room *room, const dbk_js_promises *promises, uint64_t wanted) {
    int64_t max = room->bytes_max[promises->storage];
    return max >= 0 && (promises->bytes > (uint64_t)max || wanted > (uint64_t)max - promises->bytes);
}

daybook_status dbk_js_usage_may_reserve(daybook_store *store, const dbk_js_room *server_room,
                                        const dbk_js_room *account_room, dbk_js_storage storage,
                                        daybook_slice name, int64_t bytes_max, dbk_api_error_kind *kind_out) {
    if (server_room->bytes_max[storage] < 0 && account_room->bytes_max[storage] < 0) return DAYBOOK_OK;
    dbk_js_promises promises = {.storage = storage, .except = name};
    DBK_TRY(daybook_stream_list(store, add_promised, &promises, NULL));
    uint64_t wanted = bytes_max > 0 ? (uint64_t)bytes_max : 1;
    *kind_out = storage == DBK_JS_MEMORY ? DBK_API_ERR_MEMORY_RESOURCES_EXCEEDED
                                         : DBK_API_ERR_STORAGE_RESOURCES_EXCEEDED;
    bool is_refused = is_beyond(server_room, &promises, wanted) || is_beyond(account_room, &promises, wanted);
    return is_refused ? DAYBOOK_ELIMIT : DAYBOOK_OK;
}
