// SPDX-License-Identifier: Apache-2.0
// HTTP for the monitor: listens, hands each GET to a function, sends what that one made. Nothing here knows
// the server.
//
//     dbk_http_start(&settings, &http, &port, &error);   // from then on settings.serve is called
//     ...
//     dbk_http_stop(http);                               // waits for calls under way; connections are cut
//
// http.c does it with libmicrohttpd. Where that library is not installed http_none.c stands in its place, and
// starting says EUNSUPPORTED.
//
// What strangers may cost: DBK_HTTP_CONNECTIONS_MAX connections of DBK_HTTP_CONNECTION_SIZE bytes for what
// they say, DBK_HTTP_PAGES_MAX calls of `serve` at a time (some others wait for their turn, and hold up
// nobody), and beside them DBK_HTTP_THREADS for what `is_light` says may not wait for these;
// DBK_HTTP_IDLE_SECONDS without a byte moving. Who only holds connections keeps nobody out: the longest idle
// ones are cut for new ones. A request with a body is not read; one that is no GET and no HEAD gets 405.
#ifndef DBK_MONITOR_HTTP_H
#define DBK_MONITOR_HTTP_H

#include "base/memory.h"
#include "broker/log.h"

struct sockaddr;

enum {
    DBK_HTTP_THREADS = 2,            // of connections, and of light pages
    DBK_HTTP_PAGES_MAX = 2,          // threads of the others
    DBK_HTTP_PAGES_WAITING_MAX = 16, // for these, those being made included; others are told 503
    DBK_HTTP_CONNECTIONS_MAX = 64,
    DBK_HTTP_IDLE_MAX = 32, // of these, that wait for their client: beyond it the longest idle is cut
    DBK_HTTP_CONNECTION_SIZE = 16 * 1024,
    DBK_HTTP_IDLE_SECONDS = 10,
    DBK_HTTP_BODY_MAX = 64 * 1024 * 1024,

    DBK_HTTP_OK = 200,
    DBK_HTTP_BAD_REQUEST = 400,
    DBK_HTTP_NOT_FOUND = 404,
    DBK_HTTP_METHOD_NOT_ALLOWED = 405,
    DBK_HTTP_SERVER_ERROR = 500,
    DBK_HTTP_UNAVAILABLE = 503,
};

typedef struct dbk_http dbk_http;

/// A request, and its answer being made. Lives as long as the call of `serve`.
typedef struct dbk_http_exchange {
    const char *path; // decoded, without the query
    /// The first value of a parameter of the query, decoded; "" where it has none, NULL where it is absent.
    const char *(*argument)(const struct dbk_http_exchange *exchange, const char *name);
    void *connection; // http.c's

    unsigned status;          // DBK_HTTP_OK
    const char *content_type; // static; "application/json"
    dbk_buf body;
} dbk_http_exchange;

typedef struct dbk_http_settings {
    const daybook_allocator *allocator;
    const struct sockaddr *address; // with its port, 0: any; read during the start only
    const char *host;               // of it, for errors
    int port;                       // the same; 0: any
    const char *key, *certificate;  // PEM; NULL: no TLS
    dbk_log *log;
    void (*serve)(void *context, dbk_http_exchange *exchange); // from several threads at once
    bool (*is_light)(void *context,
                     const char *path); // it takes no time: answered at once, beside all others
    void *context;
} dbk_http_settings;

/// @return OK; EUNSUPPORTED: this build has no HTTP, or no TLS for it; EEXISTS, EPERMISSION, EIO: it cannot
///         listen; EINVALID: key or certificate; ENOMEM
daybook_status dbk_http_start(const dbk_http_settings *settings, dbk_http **http_out, int *port_out,
                              daybook_error *error);
/// NULL is fine. Not from within `serve`.
void dbk_http_stop(dbk_http *http);

#endif
