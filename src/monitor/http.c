// SPDX-License-Identifier: Apache-2.0
// See http.h. libmicrohttpd with a few threads, each with an epoll of its own. Never select(): with thousands
// of clients descriptors are beyond what it can hold.
//
// A request is answered when its headers are there. A GET that brings a body is cut off at the body's first
// byte.
//
// A light page is made by the thread of its connection. Any other is made by a worker, and its connection is
// suspended meanwhile: so no page, however long it takes, holds up connections of the same thread, and who
// asks whether the server lives is answered. Once the worker has made it the connection goes on, and
// on_request, called again, sends it.
//
// Nor do connections: those that wait for their client, to ask or to read, stand in a list by how long they
// do. Where it grows beyond DBK_HTTP_IDLE_MAX the first is cut, whatever trickles through it. With the pages
// that may wait these are fewer than there may be connections, so that a new one always finds a place,
// whoever holds the others.
//
// Stopping: no request is taken any more, the workers make what they have (it is told to be short), and each
// of their connections goes on before libmicrohttpd ends, which must not find one suspended.
//
// Threads: libmicrohttpd's and the workers'. They inherit the signal mask of whoever starts, which blocks all
// (src/server/server.c).
#include "monitor/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/error.h"
#include "broker/jobs.h"

enum { OPTIONS_MAX = 12 };
_Static_assert(DBK_HTTP_IDLE_MAX + DBK_HTTP_PAGES_WAITING_MAX + DBK_HTTP_THREADS < DBK_HTTP_CONNECTIONS_MAX,
               "a new connection finds a place");

/// Who asks: of a connection, as long as that is there.
typedef struct peer {
    struct peer *previous, *next; // of http->idle; NULL where it is not in it
    int descriptor;
    bool is_idle; // it is in it
} peer;

struct dbk_http {
    const daybook_allocator *allocator;
    dbk_log *log;
    void (*serve)(void *context, dbk_http_exchange *exchange);
    bool (*is_light)(void *context, const char *path);
    void *context;
    struct MHD_Daemon *daemon;
    dbk_jobs *jobs;

    pthread_mutex_t lock;
    bool is_stopping;       // guarded by it: nothing is submitted any more
    atomic_uint page_count; // with the workers

    pthread_mutex_t idle_lock; // of what follows, and of peers
    peer *first_idle, *last_idle;
    size_t idle_count;
};

/// Freed by on_completed. A worker's between `suspend` and `go_on`, its connection's thread's otherwise.
typedef struct request {
    dbk_job job;
    dbk_http *http;
    struct MHD_Connection *connection;
    dbk_http_exchange exchange;
    bool is_begun, is_made;
} request;

// Peers. With the lock.

static void leave_idle(dbk_http *http, peer *of) {
    if (!of->is_idle) return;
    *(of->previous != NULL ? &of->previous->next : &http->first_idle) = of->next;
    *(of->next != NULL ? &of->next->previous : &http->last_idle) = of->previous;
    of->previous = of->next = NULL;
    of->is_idle = false;
    http->idle_count--;
}

/// Behind all others. Where they are too many the first is cut: its thread sees that, and ends it.
static void join_idle(dbk_http *http, peer *of) {
    leave_idle(http, of);
    of->previous = http->last_idle;
    *(of->previous != NULL ? &of->previous->next : &http->first_idle) = of;
    http->last_idle = of;
    of->is_idle = true;
    if (++http->idle_count <= DBK_HTTP_IDLE_MAX) return;
    peer *first = http->first_idle;
    leave_idle(http, first);
    (void)shutdown(first->descriptor, SHUT_RDWR); // fails where the other side was quicker
}

static peer *peer_of(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}

/// It is the client's turn, or ours.
static void set_idle(dbk_http *http, struct MHD_Connection *connection, bool is_idle) {
    peer *of = peer_of(connection);
    if (of == NULL) return;
    pthread_mutex_lock(&http->idle_lock);
    if (is_idle) {
        join_idle(http, of);
    } else {
        leave_idle(http, of);
    }
    pthread_mutex_unlock(&http->idle_lock);
}

/// It comes, and goes. One for which there is no memory is in no list, and goes when it is silent for long.
static void on_connection(void *context, struct MHD_Connection *connection, void **peer_state,
                          enum MHD_ConnectionNotificationCode code) {
    dbk_http *http = context;
    peer *of = *peer_state;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) { // its descriptor is open until this returns
        *peer_state = NULL;
        if (of == NULL) return;
        pthread_mutex_lock(&http->idle_lock);
        leave_idle(http, of);
        pthread_mutex_unlock(&http->idle_lock);
        dbk_free(http->allocator, of);
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    of = info != NULL ? dbk_alloc_zeroed(http->allocator, sizeof *of) : NULL;
    *peer_state = of;
    if (of == NULL) return;
    of->descriptor = info->connect_fd;
    pthread_mutex_lock(&http->idle_lock);
    join_idle(http, of);
    pthread_mutex_unlock(&http->idle_lock);
}

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

static void make(request *asked) {
    dbk_http *http = asked->http;
    http->serve(http->context, &asked->exchange);
    asked->is_made = true;
}

static enum MHD_Result send_made(request *asked) {
    dbk_http_exchange *exchange = &asked->exchange;
    enum MHD_Result result = dbk_buf_status(&exchange->body) == DAYBOOK_OK
                                 ? queue(asked->connection, exchange->status, exchange->content_type,
                                         exchange->body.data, exchange->body.size)
                                 : queue_text(asked->connection, DBK_HTTP_SERVER_ERROR,
                                              "the answer is too large, or memory is out\n");
    dbk_buf_deinit(&exchange->body); // it was copied, and may be long on its way
    set_idle(asked->http, asked->connection, true);
    return result;
}

static void run_page(dbk_job *job) {
    make(DBK_OWNER(job, request, job));
}

// From here on it is its connection's again, and may be gone at once.
static void go_on(dbk_job *job) {
    request *made = DBK_OWNER(job, request, job);
    (void)atomic_fetch_sub(&made->http->page_count, 1);
    MHD_resume_connection(made->connection);
}

/// Under the jobs' lock, in the worker that ended one: there is no loop to wait for.
static void collect(void *context) {
    dbk_http *http = context;
    (void)dbk_jobs_collect(http->jobs);
}

/// Lets a worker make it; on_request is called again when it is made.
static enum MHD_Result hand_to_worker(request *asked) {
    dbk_http *http = asked->http;
    asked->job = (dbk_job){.run = run_page, .done = go_on};
    pthread_mutex_lock(&http->lock);
    const char *refusal = http->is_stopping ? "the server ends\n"
                          : atomic_load(&http->page_count) >= DBK_HTTP_PAGES_WAITING_MAX
                              ? "too many pages are asked for at a time; ask again\n"
                              : NULL;
    if (refusal == NULL) {
        (void)atomic_fetch_add(&http->page_count, 1);
        set_idle(http, asked->connection, false);
        MHD_suspend_connection(asked->connection);
        dbk_jobs_submit(http->jobs, &asked->job);
    }
    pthread_mutex_unlock(&http->lock);
    return refusal == NULL ? MHD_YES : queue_text(asked->connection, DBK_HTTP_UNAVAILABLE, refusal);
}

static enum MHD_Result serve(request *asked, const char *path) {
    dbk_http *http = asked->http;
    if (asked->is_made) return send_made(asked);
    asked->is_begun = true;
    asked->exchange = (dbk_http_exchange){.path = path, // the connection's, as long as this request
                                          .argument = find_argument,
                                          .connection = asked->connection,
                                          .status = DBK_HTTP_OK,
                                          .content_type = "application/json"};
    dbk_buf_init(&asked->exchange.body, http->allocator, DBK_HTTP_BODY_MAX);
    if (!http->is_light(http->context, path)) return hand_to_worker(asked);
    make(asked);
    return send_made(asked);
}

static request *new_request(dbk_http *http, struct MHD_Connection *connection) {
    request *made = dbk_alloc_zeroed(http->allocator, sizeof *made);
    if (made == NULL) return NULL;
    made->http = http;
    made->connection = connection;
    return made;
}

/// Of each request, however it ended.
static void on_completed(void *context, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code) {
    request *asked = *state;
    (void)code;
    *state = NULL;
    set_idle(context, connection, true); // the next one may be long in coming
    if (asked == NULL) return;
    if (asked->is_begun) dbk_buf_deinit(&asked->exchange.body);
    dbk_free(asked->http->allocator, asked);
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *upload_data,
                                  size_t *upload_size, void **state) {
    (void)version;
    (void)upload_data;
    if (*state == NULL) {
        bool is_known = strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
        if (!is_known)
            return queue_text(connection, DBK_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD are served here\n");
        *state = new_request(context, connection);
        return *state != NULL ? MHD_YES : MHD_NO; // the next call comes with the body, or without one
    }
    if (*upload_size != 0) return MHD_NO;
    return serve(*state, path);
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
    options[count++] = (struct MHD_OptionItem){MHD_OPTION_NOTIFY_COMPLETED,
                                               (intptr_t)(MHD_RequestCompletedCallback)on_completed, http};
    options[count++] = (struct MHD_OptionItem){MHD_OPTION_NOTIFY_CONNECTION,
                                               (intptr_t)(MHD_NotifyConnectionCallback)on_connection, http};
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
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
    http->is_light = settings->is_light;
    http->context = settings->context;
    atomic_init(&http->page_count, 0);
    bool has_lock = pthread_mutex_init(&http->lock, NULL) == 0;
    if (!has_lock || pthread_mutex_init(&http->idle_lock, NULL) != 0) {
        if (has_lock) pthread_mutex_destroy(&http->lock);
        dbk_free(settings->allocator, http);
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory for the HTTP monitor");
    }
    daybook_status status = dbk_jobs_new(http->allocator, DBK_HTTP_PAGES_MAX, collect, http, &http->jobs);
    if (status == DAYBOOK_OK) {
        status = listen_there(http, settings, port_out, error);
    } else {
        (void)dbk_fail(error, status, "the HTTP monitor cannot start its threads");
    }
    if (status != DAYBOOK_OK) {
        dbk_http_stop(http);
        return status;
    }
    *http_out = http;
    return DAYBOOK_OK;
}

void dbk_http_stop(dbk_http *http) {
    if (http == NULL) return;
    pthread_mutex_lock(&http->lock);
    http->is_stopping = true;
    pthread_mutex_unlock(&http->lock);
    dbk_jobs_stop(http->jobs);
    if (http->daemon != NULL) MHD_stop_daemon(http->daemon);
    dbk_jobs_free(http->jobs);
    pthread_mutex_destroy(&http->idle_lock);
    pthread_mutex_destroy(&http->lock);
    dbk_free(http->allocator, http);
}
