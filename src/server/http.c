// SPDX-License-Identifier: Apache-2.0
// See http.h. libmicrohttpd with a few threads, each with an epoll of its own: a call of `serve` that waits
// holds up the connections of its thread only. Never select(): with thousands of clients descriptors are
// beyond what it can hold.
//
// A request is answered when its headers are there. A GET that brings a body is cut off at the body's first
// byte.
//
// Threads: libmicrohttpd's. They inherit the signal mask of whoever starts, which blocks all (server.c).
#include "server/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/error.h"

enum { OPTIONS_MAX = 12 };

struct dbk_http {
    const daybook_allocator *allocator;
    dbk_log *log;
    void (*serve)(void *context, dbk_http_exchange *exchange);
    void *context;
    struct MHD_Daemon *daemon;
};

// Answers.

static enum MHD_Result queue(struct MHD_Connection *connection, unsigned status, const char *content_type,
                             const void *data, size_t size) {
    // It copies: the body is of our allocator, and gone when this returns.
    struct MHD_Response *response =
        MHD_create_response_from_buffer(size, (void *)(uintptr_t)data, MHD_RESPMEM_MUST_COPY);
    if (response == NULL) return MHD_NO; // the connection is cut
    enum MHD_Result result = MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    if (result == MHD_YES) result = MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (result == MHD_YES) result = MHD_add_response_header(response, "Access-Control-Allow-Origin", "*");
    if (result == MHD_YES && status == DBK_HTTP_METHOD_NOT_ALLOWED) {
        result = MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
        if (result == MHD_YES) {
            result = MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
        }
    }
    if (result == MHD_YES) result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result queue_text(struct MHD_Connection *connection, unsigned status, const char *text) {
    return queue(connection, status, "text/plain; charset=utf-8", text, strlen(text));
}

// Requests.

static const char *find_argument(const dbk_http_exchange *exchange, const char *name) {
    const char *value = NULL;
    if (MHD_lookup_connection_value_n(exchange->connection, MHD_GET_ARGUMENT_KIND, name, strlen(name), &value,
                                      NULL) != MHD_YES)
        return NULL;
    return value != NULL ? value : "";
}

static enum MHD_Result serve(dbk_http *http, struct MHD_Connection *connection, const char *path) {
    dbk_http_exchange exchange = {.path = path,
                                  .argument = find_argument,
                                  .connection = connection,
                                  .status = DBK_HTTP_OK,
                                  .content_type = "application/json"};
    dbk_buf_init(&exchange.body, http->allocator, DBK_HTTP_BODY_MAX);
    http->serve(http->context, &exchange);
    enum MHD_Result result =
        dbk_buf_status(&exchange.body) == DAYBOOK_OK
            ? queue(connection, exchange.status, exchange.content_type, exchange.body.data,
                    exchange.body.size)
            : queue_text(connection, DBK_HTTP_SERVER_ERROR, "the answer is too large, or memory is out\n");
    dbk_buf_deinit(&exchange.body);
    return result;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *upload_data,
                                  size_t *upload_size, void **state) {
    static int seen; // its address says: not the first call for this request
    (void)version;
    (void)upload_data;
    if (*state == NULL) {
        *state = &seen;
        bool is_known = strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
        if (is_known) return MHD_YES; // the next call comes with the body, or without one
        return queue_text(connection, DBK_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD are served here\n");
    }
    if (*upload_size != 0) return MHD_NO;
    return serve(context, connection, path);
}

// Life.

static void log_line(void *context, const char *format, va_list arguments) {
    const dbk_http *http = context;
    char line[512];
    int failure = errno; // whoever starts the daemon looks at it afterwards
    (void)vsnprintf(line, sizeof line, format, arguments);
    line[strcspn(line, "\r\n")] = '\0';
    // What strangers do wrong must not fill a log.
    dbk_log_write(http->log, DAYBOOK_SERVER_LOG_DEBUG, "HTTP monitor: %s", line);
    errno = failure;
}

static daybook_status fail_to_listen(const dbk_http_settings *settings, int failure, daybook_error *error) {
    if (failure == ENOMEM) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory for the HTTP monitor");
    daybook_status status = failure == EADDRINUSE                   ? DAYBOOK_EEXISTS
                            : failure == EACCES                     ? DAYBOOK_EPERMISSION
                            : settings->key != NULL && failure == 0 ? DAYBOOK_EINVALID
                                                                    : DAYBOOK_EIO;
    char port[16] = "";
    if (settings->port > 0) (void)snprintf(port, sizeof port, ":%d", settings->port);
    return dbk_fail(error, status,
                    "the HTTP monitor cannot listen on %s%s: %s; choose another address or port",
                    settings->host, port,
                    failure != 0            ? strerror(failure)
                    : settings->key != NULL ? "its certificate or key is refused"
                                            : "its library does not say why");
}

static daybook_status listen_there(dbk_http *http, const dbk_http_settings *settings, int *port_out,
                                   daybook_error *error) {
    struct MHD_OptionItem options[OPTIONS_MAX];
    size_t count = 0;
    // The logger must be the first.
    options[count++] =
        (struct MHD_OptionItem){MHD_OPTION_EXTERNAL_LOGGER, (intptr_t)(MHD_LogCallback)log_line, http};
    options[count++] = (struct MHD_OptionItem){MHD_OPTION_SOCK_ADDR, 0, (void *)(uintptr_t)settings->address};
    options[count++] = (struct MHD_OptionItem){MHD_OPTION_CONNECTION_LIMIT, DBK_HTTP_CONNECTIONS_MAX, NULL};
    options[count++] =
        (struct MHD_OptionItem){MHD_OPTION_CONNECTION_MEMORY_LIMIT, DBK_HTTP_CONNECTION_SIZE, NULL};
    options[count++] = (struct MHD_OptionItem){MHD_OPTION_CONNECTION_TIMEOUT, DBK_HTTP_IDLE_SECONDS, NULL};
    options[count++] = (struct MHD_OptionItem){MHD_OPTION_THREAD_POOL_SIZE, DBK_HTTP_THREADS, NULL};
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ERROR_LOG;
    if (settings->address->sa_family == AF_INET6) flags |= MHD_USE_IPv6;
    if (settings->key != NULL) {
        flags |= MHD_USE_TLS;
        options[count++] =
            (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)settings->key};
        options[count++] =
            (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)settings->certificate};
    }
    options[count] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    errno = 0;
    http->daemon =
        MHD_start_daemon(flags, 0, NULL, NULL, on_request, http, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
    if (http->daemon == NULL) return fail_to_listen(settings, errno, error);
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_BIND_PORT);
    if (info == NULL || info->port == 0) return fail_to_listen(settings, EIO, error);
    *port_out = info->port;
    return DAYBOOK_OK;
}

daybook_status dbk_http_start(const dbk_http_settings *settings, dbk_http **http_out, int *port_out,
                              daybook_error *error) {
    *http_out = NULL;
    *port_out = 0;
    if (settings->key != NULL && MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES) {
        return dbk_fail(error, DAYBOOK_EUNSUPPORTED,
                        "https: this system's libmicrohttpd has no TLS; use http");
    }
    dbk_http *http = dbk_alloc_zeroed(settings->allocator, sizeof *http);
    if (http == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory for the HTTP monitor");
    http->allocator = settings->allocator;
    http->log = settings->log;
    http->serve = settings->serve;
    http->context = settings->context;
    daybook_status status = listen_there(http, settings, port_out, error);
    if (status != DAYBOOK_OK) {
        dbk_http_stop(http);
        return status;
    }
    *http_out = http;
    return DAYBOOK_OK;
}

void dbk_http_stop(dbk_http *http) {
    if (http == NULL) return;
    if (http->daemon != NULL) MHD_stop_daemon(http->daemon);
    dbk_free(http->allocator, http);
}
