// SPDX-License-Identifier: Apache-2.0
// /jsz: the store's streams and consumers, asked by the page's own thread.
//
//     accounts=1 streams=1 consumers=1 config=1    each of the first three includes those before it
//     acc=NAME                                     of this account: there is one
//
// A stream or consumer looks as in JetStream's own answers: its handler is asked as a client would, and the
// answer taken apart. Streams that begin with '$' are the store's own.
//
// Bounds: DETAILS_MAX streams and consumers, DETAILS_SIZE_MAX bytes of what is told of them; what is beyond
// is left out. A page gives up when the server ends.
#include <string.h>

#include "jetstream/describe.h"
#include "monitor/page.h"
#include "json/json.h"

enum {
    DETAILS_MAX = 16384,
    DETAILS_SIZE_MAX = 32 << 20,
    ARENA_SIZE = 8 * 1024,
    ANSWER_MAX = 4 * 1024 * 1024,
};

json_t *dbk_jetstream_config_value(const dbk_page *page, const dbk_monitor_snapshot *snapshot) {
    dbk_members members = dbk_members_begin();
    dbk_put_number(&members, "max_memory", snapshot->memory_max);
    dbk_put_number(&members, "max_storage", snapshot->file_max);
    dbk_put_text_if(&members, "store_dir", snapshot->store_dir);
    // Whatever was asked for: what is acknowledged is on disk.
    if (dbk_page_is_recent(page)) dbk_put_flag(&members, "sync_always", true);
    dbk_put_text_if(&members, "domain", snapshot->domain);
    if (dbk_page_is_recent(page)) dbk_put_flag_if(&members, "strict", snapshot->strict);
    return dbk_members_end(&members);
}

json_t *dbk_jetstream_limits_value(const dbk_monitor_snapshot *snapshot) {
    dbk_members members = dbk_members_begin();
    dbk_put_number_if(&members, "max_request_batch", snapshot->request_batch_max);
    dbk_put_number_if(&members, "max_ack_pending", snapshot->ack_pending_max);
    dbk_put_number_if(&members, "max_duplicate_window", snapshot->duplicates_max_ns);
    return dbk_members_end(&members);
}

/// An account has no level of its own.
static json_t *api_value(const dbk_page *page, const dbk_monitor_snapshot *snapshot, bool is_of_account) {
    dbk_members members = dbk_members_begin();
    // Known since 2.11, as API levels are.
    int level = dbk_api_dial_level(&page->broker->dial);
    bool has_level = snapshot->has_jetstream && !is_of_account;
    if (level > 0) dbk_put_number(&members, "level", has_level ? level : 0);
    dbk_put_count(&members, "total", snapshot->jetstream.api_total);
    dbk_put_count(&members, "errors", snapshot->jetstream.api_errors);
    if (snapshot->jetstream.api_in_flight > 0) {
        dbk_put_count(&members, "inflight", snapshot->jetstream.api_in_flight);
    }
    return dbk_members_end(&members);
}

void dbk_put_jetstream_stats(dbk_members *members, const dbk_page *page, const dbk_monitor_snapshot *snapshot,
                             const dbk_js_sums *sums, bool is_of_account) {
    dbk_put_count(members, "memory", sums->bytes[DBK_JS_MEMORY]);
    dbk_put_count(members, "storage", sums->bytes[DBK_JS_FILES]);
    dbk_put_count(members, "reserved_memory", sums->promised[DBK_JS_MEMORY]);
    dbk_put_count(members, "reserved_storage", sums->promised[DBK_JS_FILES]);
    dbk_put_count(members, "accounts", is_of_account || !snapshot->has_jetstream ? 0 : 1);
    dbk_put_count(members, "ha_assets", 0);
    dbk_put(members, "api", api_value(page, snapshot, is_of_account));
}

// Details.

typedef struct jsz_request {
    bool accounts, streams, consumers, config;
    size_t offset, limit; // of accounts
} jsz_request;

typedef struct detailing {
    dbk_page *page;
    const dbk_js_settings *settings;
    const jsz_request *request;
    size_t left;       // details that may still be told
    size_t size;       // of what was told
    json_t *consumers; // of the stream being told
    bool is_short_of_memory;
} detailing;

static bool may_tell_more(const detailing *details) {
    return details->left > 0 && details->size < DETAILS_SIZE_MAX && !dbk_page_is_late(details->page);
}

/// NULL: an error, as where it is gone meanwhile. `consumer` NULL: the stream itself.
static json_t *describe(detailing *details, dbk_slice stream, const dbk_slice *consumer) {
    dbk_jetstream *jetstream = details->page->jetstream;
    dbk_buf answer;
    dbk_buf_init(&answer, details->page->broker->allocator, ANSWER_MAX);
    bool is_told =
        consumer != NULL
            ? dbk_jetstream_describe_consumer(jetstream, details->settings, stream, *consumer, &answer)
            : dbk_jetstream_describe_stream(jetstream, details->settings, stream, &answer);
    json_t *value = NULL;
    if (is_told) (void)dbk_json_parse(daybook_bytes(answer.data, answer.size), &value, NULL);
    if (is_told) details->size += answer.size;
    dbk_buf_deinit(&answer);
    return value;
}

static int add_consumer_detail(void *context, dbk_slice stream, dbk_slice name) {
    detailing *details = context;
    if (!may_tell_more(details)) return 1;
    details->left--;
    json_t *answer = describe(details, stream, &name);
    if (answer == NULL) return 0;
    (void)json_object_del(answer, "type");
    if (!details->request->config) (void)json_object_del(answer, "config");
    details->is_short_of_memory = !dbk_append(details->consumers, answer);
    return details->is_short_of_memory;
}

// Names first: a handler is not called from within the listing, which may hold what the handler needs.
typedef struct name_list {
    dbk_arena *arena;
    dbk_slice *items;
    size_t count, capacity;
    const daybook_allocator *allocator;
    bool is_short_of_memory;
} name_list;

static int keep_name(name_list *names, dbk_slice name) {
    if (names->count == DETAILS_MAX) return 1;
    dbk_slice *items =
        dbk_grow_array(names->allocator, names->items, &names->capacity, names->count + 1, sizeof *items);
    dbk_slice copy = dbk_arena_copy_text(names->arena, name);
    if (items != NULL) names->items = items;
    names->is_short_of_memory = items == NULL || copy.data == NULL;
    if (names->is_short_of_memory) return 1;
    names->items[names->count++] = copy;
    return 0;
}

static int keep_stream(void *context, const daybook_stream_info *info) {
    return dbk_js_is_hidden(info->config.name) ? 0 : keep_name(context, info->config.name);
}

static int keep_consumer(void *context, dbk_slice stream, dbk_slice name) {
    (void)stream;
    return keep_name(context, name);
}

static bool begin_names(name_list *names, const daybook_allocator *allocator) {
    *names = (name_list){.allocator = allocator};
    return dbk_arena_new(allocator, ARENA_SIZE, &names->arena) == DAYBOOK_OK;
}

static void end_names(name_list *names) {
    dbk_arena_free(names->arena);
    dbk_free(names->allocator, names->items);
}

static json_t *consumers_value(detailing *details, dbk_slice stream) {
    name_list names;
    details->consumers = json_array();
    if (!begin_names(&names, details->page->broker->allocator)) {
        details->is_short_of_memory = true;
        return details->consumers;
    }
    // A stream that is gone meanwhile has none.
    (void)daybook_consumer_names(details->page->store, stream, keep_consumer, &names, NULL);
    details->is_short_of_memory = details->consumers == NULL || names.is_short_of_memory;
    for (size_t i = 0; i < names.count && !details->is_short_of_memory; i++) {
        if (add_consumer_detail(details, stream, names.items[i]) != 0) break;
    }
    end_names(&names);
    return details->consumers;
}

static json_t *take_member(const json_t *from, const char *name) {
    return json_incref(json_object_get(from, name));
}

/// NULL: it is gone meanwhile, or memory is out.
static json_t *stream_value(detailing *details, dbk_slice stream) {
    json_t *answer = describe(details, stream, NULL);
    if (answer == NULL) return NULL;
    dbk_members members = dbk_members_begin();
    dbk_put_slice(&members, "name", stream);
    dbk_put(&members, "created", take_member(answer, "created"));
    if (details->request->config) dbk_put(&members, "config", take_member(answer, "config"));
    dbk_put(&members, "state", take_member(answer, "state"));
    json_decref(answer);
    if (details->request->consumers) {
        json_t *consumers = consumers_value(details, stream);
        if (consumers == NULL || json_array_size(consumers) > 0) {
            dbk_put(&members, "consumer_detail", consumers);
        } else {
            json_decref(consumers);
        }
    }
    return dbk_members_end(&members);
}

static json_t *streams_value(detailing *details) {
    name_list names;
    json_t *array = json_array();
    if (!begin_names(&names, details->page->broker->allocator)) {
        details->is_short_of_memory = true;
        return array;
    }
    daybook_status status = daybook_stream_list(details->page->store, keep_stream, &names, NULL);
    details->is_short_of_memory = array == NULL || names.is_short_of_memory || status == DAYBOOK_ENOMEM;
    for (size_t i = 0; i < names.count && !details->is_short_of_memory; i++) {
        if (!may_tell_more(details)) break;
        details->left--;
        json_t *stream = stream_value(details, names.items[i]);
        if (stream != NULL && !dbk_append(array, stream)) details->is_short_of_memory = true;
    }
    end_names(&names);
    return array;
}

static json_t *account_value(dbk_page *page, const jsz_request *request, const dbk_monitor_snapshot *snapshot,
                             const dbk_js_sums *sums) {
    dbk_members members = dbk_members_begin();
    dbk_put_text(&members, "name", snapshot->account);
    dbk_put_text(&members, "id", snapshot->account);
    dbk_put_jetstream_stats(&members, page, snapshot, sums, true);
    if (request->streams) {
        detailing details = {
            .page = page, .settings = &snapshot->settings, .request = request, .left = DETAILS_MAX};
        dbk_put(&members, "stream_detail", streams_value(&details));
        if (details.is_short_of_memory) members.has_failed = true;
    }
    return dbk_members_end(&members);
}

static json_t *no_config_value(void) {
    dbk_members members = dbk_members_begin();
    dbk_put_number(&members, "max_memory", 0);
    dbk_put_number(&members, "max_storage", 0);
    return dbk_members_end(&members);
}

static bool read_request(dbk_page *page, jsz_request *request_out) {
    bool of_leader; // this one is its own
    if (!dbk_page_read_flag(page, "accounts", &request_out->accounts) ||
        !dbk_page_read_flag(page, "streams", &request_out->streams) ||
        !dbk_page_read_flag(page, "consumers", &request_out->consumers) ||
        !dbk_page_read_flag(page, "config", &request_out->config) ||
        !dbk_page_read_flag(page, "leader-only", &of_leader) ||
        !dbk_page_read_range(page, DBK_PAGE_LIMIT_DEFAULT, &request_out->offset, &request_out->limit))
        return false;
    if (request_out->consumers) request_out->streams = true;
    if (request_out->streams) request_out->accounts = true;
    return true;
}

static void put_details(dbk_members *members, dbk_page *page, const jsz_request *request,
                        const dbk_monitor_snapshot *snapshot, const dbk_js_sums *sums) {
    const char *account = dbk_page_read_text(page, "acc");
    bool is_asked_for = account != NULL ? strcmp(account, snapshot->account) == 0
                                        : request->accounts && request->offset == 0;
    if (!is_asked_for || !snapshot->has_jetstream) return;
    json_t *array = json_array();
    if (!dbk_append(array, account_value(page, request, snapshot, sums))) members->has_failed = true;
    dbk_put(members, "account_details", array);
}

static void put_head(dbk_members *members, const dbk_page *page, const dbk_monitor_snapshot *snapshot) {
    dbk_put_text(members, "server_id", page->broker->id);
    dbk_put_time(members, "now", snapshot->now_ns);
    dbk_put_flag_if(members, "disabled", !snapshot->has_jetstream);
    dbk_put(members, "config",
            snapshot->has_jetstream ? dbk_jetstream_config_value(page, snapshot) : no_config_value());
    if (dbk_page_is_recent(page) && snapshot->has_jetstream) {
        dbk_put(members, "limits", dbk_jetstream_limits_value(snapshot));
    }
}

static void put_all(dbk_members *members, dbk_page *page, const jsz_request *request,
                    const dbk_monitor_snapshot *snapshot) {
    dbk_js_sums sums = {0};
    bool is_recent = dbk_page_is_recent(page);
    if (snapshot->has_jetstream) (void)dbk_js_sum(page->store, &sums, NULL); // what cannot be told now: none
    // Sums stood behind the head once.
    if (!is_recent) put_head(members, page, snapshot);
    dbk_put_jetstream_stats(members, page, snapshot, &sums, false);
    if (is_recent) put_head(members, page, snapshot);
    dbk_put_count(members, "streams", sums.stream_count);
    dbk_put_count(members, "consumers", sums.consumer_count);
    dbk_put_count(members, "messages", sums.message_count);
    dbk_put_count(members, "bytes", sums.bytes[DBK_JS_FILES] + sums.bytes[DBK_JS_MEMORY]);
    put_details(members, page, request, snapshot, &sums);
    if (is_recent) dbk_put_count(members, "total", snapshot->has_jetstream ? 1 : 0); // accounts
}

void dbk_page_jsz(dbk_page *page) {
    jsz_request request;
    if (!read_request(page, &request)) return;
    dbk_monitor_snapshot *snapshot = dbk_page_look(page, &(dbk_monitor_snapshot_query){0});
    if (snapshot == NULL) return;
    dbk_members members = dbk_members_begin();
    put_all(&members, page, &request, snapshot);
    dbk_page_send(page, dbk_members_end(&members));
    dbk_page_forget(page, snapshot);
}
