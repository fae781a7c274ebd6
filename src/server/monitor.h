// SPDX-License-Identifier: Apache-2.0
// The HTTP monitor: what a server does, as JSON with nats-server's fields and as metrics for Prometheus.
//
//     /varz /connz /subsz (/subscriptionsz) /jsz /healthz /accountz /accstatz /routez /gatewayz /leafz    JSON
//     /metrics                                                                                   text
//     /                                                                                          a list of these
//
// all below http_base_path. Pages are made on threads of http.c. What only the loop knows they ask it for:
// the request is handed over like a finished job, the loop copies in slices (monitor_snapshot.h), the asker
// is woken. As many requests as http.c has threads are under way at most; one for which nothing is done for
// MONITOR_WAIT_NS (monitor.c) is told 503, and what the loop makes for it then is thrown away. What streams
// and consumers are like is asked of the store by the page's own thread.
//
// Nothing here asks who is there: whoever reaches the port may read. It changes nothing.
//
// Threads: start and what follows on the loop's side, as said; pages on http.c's.
#ifndef DBK_SERVER_MONITOR_H
#define DBK_SERVER_MONITOR_H

#include "daybook/status.h"

struct dbk_client;
struct daybook_server;

typedef struct dbk_monitor dbk_monitor;

/// Where options->http has a port: listens, sets server->monitor, monitor_port and monitor_url. Else, and
/// where this build has no HTTP (a warning then), nothing. Before the loop's thread begins, after JetStream.
/// @return as dbk_http_start, but for EUNSUPPORTED without https; ENOTFOUND, EPERMISSION: https, of its files
daybook_status dbk_monitor_start(struct daybook_server *server, daybook_error *error);
/// On the loop, or without one: nobody is answered any more, threads are over. Wishes under way are still to
/// be collected (dbk_jobs_collect) before dbk_monitor_free. NULL is fine.
void dbk_monitor_stop(dbk_monitor *monitor);
/// NULL is fine.
void dbk_monitor_free(dbk_monitor *monitor);
/// A connection ends: it is remembered for /connz?state=closed. It still has its subscriptions. On the loop;
/// NULL is fine.
void dbk_monitor_note_closed(dbk_monitor *monitor, struct dbk_client *client);
/// It leaves the list of connections. On the loop; NULL is fine.
void dbk_monitor_note_left(dbk_monitor *monitor, const struct dbk_client *client);

#endif
