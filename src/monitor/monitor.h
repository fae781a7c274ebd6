// SPDX-License-Identifier: Apache-2.0
// The HTTP monitor: what a server does, as JSON with nats-server's fields and as metrics for Prometheus.
//
//     JSON           /varz /connz /subsz (/subscriptionsz) /jsz /healthz /accountz /accstatz
//                    /routez /gatewayz /leafz
//     text           /metrics
//     a list of all  /
//
// all below http_base_path. Pages are made on threads of http.c. What only the loop knows they ask it for:
// the request is handed over like a finished job, the loop copies in slices (snapshot.h), the asker is woken.
// As many requests as http.c has threads are under way at most; one for which nothing is done for
// MONITOR_WAIT_NS (monitor.c) is told 503, and what the loop makes for it then is thrown away. What streams
// and consumers are like is asked of the store by the page's own thread.
//
// Nothing here asks who is there: whoever reaches the port may read. It changes nothing.
//
// Threads: start and what follows on the loop's side, as said; pages on http.c's.
#ifndef DBK_MONITOR_MONITOR_H
#define DBK_MONITOR_MONITOR_H

#include "broker/broker.h"
#include "jetstream/jetstream.h"

typedef struct dbk_monitor dbk_monitor;

/// Where options->http has a port: listens, and is told by the broker of connections that end. Else, and
/// where this build has no HTTP (a warning then), NULL. Before the loop's thread begins. JetStream and store
/// are borrowed; both NULL: there is no JetStream.
/// @return as dbk_http_start, but for EUNSUPPORTED without https; ENOTFOUND, EPERMISSION: https, of its files
daybook_status dbk_monitor_start(dbk_broker *broker, dbk_jetstream *jetstream, daybook_store *store,
                                 dbk_monitor **monitor_out, daybook_error *error);
/// 0: there is none.
int dbk_monitor_port(const dbk_monitor *monitor);
/// NULL: there is none.
const char *dbk_monitor_url(const dbk_monitor *monitor);
/// On the loop, or without one: nobody is answered any more, threads are over. Wishes under way are still to
/// be collected (dbk_jobs_collect) before dbk_monitor_free. NULL is fine.
void dbk_monitor_stop(dbk_monitor *monitor);
/// NULL is fine.
void dbk_monitor_free(dbk_monitor *monitor);

#endif
