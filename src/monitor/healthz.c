// SPDX-License-Identifier: Apache-2.0
// /healthz: does the loop answer, and does the store take what comes; is a stream or a consumer there.
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daybook/consumer.h"
#include "daybook/stream.h"
#include "jetstream/settings.h"
#include "monitor/page.h"

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
