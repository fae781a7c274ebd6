// SPDX-License-Identifier: Apache-2.0
// /jsz and /healthz: the store's streams and consumers, asked by the page's own thread.
//
//     accounts=1 streams=1 consumers=1 config=1    each of the first three includes those before it
//     acc=NAME                                     of this account: there is one
//
// A stream or consumer looks as in JetStream's own answers: its handler is asked as a client would, and the
// answer taken apart. Streams that begin with '$' are the store's own.
//
// Bounds: DETAILS_MAX streams and consumers, DETAILS_SIZE_MAX bytes of what is told of them; what is beyond is
// left out. A page gives up when the server ends.
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "jetstream/api_call.h"
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
    dbk_jetstream *jetstream;
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

/// What the handler answers; NULL: an error, as where it is gone meanwhile.
static json_t *ask(detailing *details, dbk_api_answer kind, void (*handler)(dbk_js_call *call),
                   const char *subject) {
    const daybook_allocator *allocator = details->jetstream->allocator;
    dbk_js_call call;
    memset(&call, 0, sizeof call);
    call.jetstream = details->jetstream;
    call.settings = *details->settings;
    call.kind = kind;
    call.subject = daybook_text(subject);
    if (dbk_arena_new(allocator, ARENA_SIZE, &call.arena) != DAYBOOK_OK) return NULL;
    dbk_buf_init(&call.answer, allocator, ANSWER_MAX);
    if (kind == DBK_API_CONSUMER_INFO) {
        pthread_mutex_lock(&details->jetstream->lock);
        const dbk_js_consumer *consumer = dbk_js_find_consumer(
            details->jetstream, dbk_js_call_token(&call, 2), dbk_js_call_token(&call, 3));
        if (consumer != NULL) {
            call.waiting_count = atomic_load(&consumer->pull_count);
            call.push_bound = atomic_load(&consumer->is_bound);
        }
        pthread_mutex_unlock(&details->jetstream->lock);
    }
    handler(&call);
    json_t *answer = NULL;
    if (!call.has_failed && dbk_buf_status(&call.answer) == DAYBOOK_OK) {
        (void)dbk_json_parse(daybook_bytes(call.answer.data, call.answer.size), &answer, NULL);
        details->size += call.answer.size;
    }
    dbk_buf_deinit(&call.answer);
    dbk_arena_free(call.arena);
    return answer;
}

static int add_consumer_detail(void *context, dbk_slice stream, dbk_slice name) {
    detailing *details = context;
    char subject[1024];
    if (!may_tell_more(details)) return 1;
    details->left--;
    int size = snprintf(subject, sizeof subject, "CONSUMER.INFO.%.*s.%.*s", (int)stream.size,
                        (const char *)stream.data, (int)name.size, (const char *)name.data);
    if (size < 0 || (size_t)size >= sizeof subject) return 0;
    json_t *answer = ask(details, DBK_API_CONSUMER_INFO, dbk_js_consumer_info, subject);
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
    if (!begin_names(&names, details->jetstream->allocator)) {
        details->is_short_of_memory = true;
        return details->consumers;
    }
    // A stream that is gone meanwhile has none.
    (void)daybook_consumer_names(details->jetstream->store, stream, keep_consumer, &names, NULL);
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
    char subject[512];
    int size =
        snprintf(subject, sizeof subject, "STREAM.INFO.%.*s", (int)stream.size, (const char *)stream.data);
    if (size < 0 || (size_t)size >= sizeof subject) return NULL;
    json_t *answer = ask(details, DBK_API_STREAM_INFO, dbk_js_stream_info, subject);
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
    if (!begin_names(&names, details->jetstream->allocator)) {
        details->is_short_of_memory = true;
        return array;
    }
    daybook_status status = daybook_stream_list(details->jetstream->store, keep_stream, &names, NULL);
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
        detailing details = {.page = page,
                             .jetstream = page->jetstream,
                             .settings = &snapshot->settings,
                             .request = request,
                             .left = DETAILS_MAX};
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

// /healthz

typedef struct health_request {
    bool in_detail;
    const char *account, *stream, *consumer; // NULL: not asked for
} health_request;

/// What is wrong: the answer's status, and of whom it is said ("STREAM").
typedef struct health_complaint {
    unsigned status; // DBK_HTTP_OK: nothing
    const char *type;
    char text[512];
} health_complaint;

static void complain(health_complaint *complaint, unsigned status, const char *type, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void complain(health_complaint *complaint, unsigned status, const char *type, const char *format,
                     ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(complaint->text, sizeof complaint->text, format, arguments);
    va_end(arguments);
    complaint->status = status;
    complaint->type = type;
}

static json_t *health_error_value(const health_request *request, const health_complaint *complaint) {
    bool is_about_names = strcmp(complaint->type, "BAD_REQUEST") != 0;
    dbk_members members = dbk_members_begin();
    dbk_put_text(&members, "type", complaint->type);
    if (is_about_names) {
        dbk_put_text_if(&members, "account", request->account);
        dbk_put_text_if(&members, "stream", request->stream);
        dbk_put_text_if(&members, "consumer", request->consumer);
    }
    dbk_put_text(&members, "error", complaint->text);
    return dbk_members_end(&members);
}

static void answer_health(dbk_page *page, const health_request *request, const health_complaint *complaint) {
    dbk_members members = dbk_members_begin();
    bool is_error = request->in_detail || complaint->status == DBK_HTTP_BAD_REQUEST;
    bool is_fine = complaint->status == DBK_HTTP_OK;
    page->exchange->status = complaint->status;
    dbk_put_text(&members, "status", is_fine ? "ok" : is_error ? "error" : "unavailable");
    if (!is_fine && request->in_detail) {
        json_t *array = json_array();
        if (!dbk_append(array, health_error_value(request, complaint))) members.has_failed = true;
        dbk_put(&members, "errors", array);
    } else if (!is_fine) {
        dbk_put_text(&members, "error", complaint->text);
    }
    dbk_page_send_line(page, dbk_members_end(&members));
}

static bool has_stream(daybook_store *store, dbk_slice name) {
    daybook_stream_info *info = NULL;
    if (dbk_js_is_hidden(name) || daybook_stream_get_info(store, name, &info, NULL) != DAYBOOK_OK)
        return false;
    daybook_stream_info_release(store, info);
    return true;
}

static bool has_consumer(daybook_store *store, dbk_slice stream, dbk_slice name) {
    daybook_consumer_info *info = NULL;
    if (daybook_consumer_look(store, stream, name, &info, NULL) != DAYBOOK_OK) return false;
    daybook_consumer_info_release(store, info);
    return true;
}

static void check_names(const dbk_page *page, const health_request *request, const char *account,
                        health_complaint *complaint) {
    daybook_store *store = page->store;
    if (request->account == NULL) return;
    if (strcmp(request->account, account) != 0) {
        complain(complaint, DBK_HTTP_NOT_FOUND, "ACCOUNT", "JetStream account \"%.100s\" not found",
                 request->account);
    } else if (request->stream != NULL && !has_stream(store, daybook_text(request->stream))) {
        complain(complaint, DBK_HTTP_NOT_FOUND, "STREAM",
                 "JetStream stream \"%.100s\" not found on account \"%s\"", request->stream, account);
    } else if (request->consumer != NULL &&
               !has_consumer(store, daybook_text(request->stream), daybook_text(request->consumer))) {
        complain(complaint, DBK_HTTP_NOT_FOUND, "CONSUMER",
                 "JetStream consumer \"%.100s\" not found for stream \"%.100s\" on account \"%s\"",
                 request->consumer, request->stream, account);
    }
}

// A store whose sync failed takes nothing until it is opened again, which is a restart of the server.
static void check_store(const dbk_page *page, health_complaint *complaint) {
    daybook_store_info info;
    memset(&info, 0, sizeof info);
    info.size = sizeof info;
    if (daybook_info(page->store, &info, NULL) == DAYBOOK_OK && info.poisoned != 0)
        complain(
            complaint, DBK_HTTP_UNAVAILABLE, "JETSTREAM",
            "a sync of the store failed: nothing more is stored; look at the disk and restart the server");
}

static bool read_health(dbk_page *page, health_request *request_out) {
    static const char *const flags[] = {"js-enabled", "js-enabled-only", "js-server-only", "js-meta-only"};
    bool unused; // JetStream is there from the beginning, or was not asked for: both are fine, as there
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        if (!dbk_page_read_flag(page, flags[i], &unused)) return false;
    }
    request_out->account = dbk_page_read_text(page, "account");
    request_out->stream = dbk_page_read_text(page, "stream");
    request_out->consumer = dbk_page_read_text(page, "consumer");
    return dbk_page_read_flag(page, "details", &request_out->in_detail);
}

static void check_request(const health_request *request, health_complaint *complaint) {
    if (request->account == NULL && request->stream != NULL) {
        complain(complaint, DBK_HTTP_BAD_REQUEST, "BAD_REQUEST",
                 "\"account\" must not be empty when checking stream health");
    } else if (request->stream == NULL && request->consumer != NULL) {
        complain(complaint, DBK_HTTP_BAD_REQUEST, "BAD_REQUEST",
                 "\"stream\" must not be empty when checking consumer health");
    }
}

void dbk_page_healthz(dbk_page *page) {
    health_request request;
    health_complaint complaint = {.status = DBK_HTTP_OK, .type = "", .text = ""};
    if (!read_health(page, &request)) return;
    check_request(&request, &complaint);
    // That the loop answers and the store takes what comes is what health is.
    dbk_monitor_snapshot *snapshot =
        complaint.status == DBK_HTTP_OK ? dbk_page_look(page, &(dbk_monitor_snapshot_query){0}) : NULL;
    if (snapshot != NULL && snapshot->is_lame_duck) {
        complain(&complaint, DBK_HTTP_UNAVAILABLE, "CONN", "lame duck mode");
    } else if (snapshot != NULL && snapshot->has_jetstream) {
        check_store(page, &complaint);
        if (complaint.status == DBK_HTTP_OK) check_names(page, &request, snapshot->account, &complaint);
    } else if (snapshot == NULL && complaint.status == DBK_HTTP_OK) {
        dbk_buf_reset(&page->exchange->body);
        complain(&complaint, DBK_HTTP_UNAVAILABLE, "CONN", "the server is busy or ends");
    }
    answer_health(page, &request, &complaint);
    dbk_page_forget(page, snapshot);
}
