// SPDX-License-Identifier: Apache-2.0
// JetStream: the store behind the protocol. What others see of it: who starts it, and the monitor.
//
//     dbk_jetstream_start(broker, store, &jetstream, &error);   // before listening
//     ...
//     dbk_jetstream_stop(jetstream);                            // its services are gone; nothing new begins
//     while (!dbk_jetstream_is_idle(jetstream)) …               // the loop goes on calling finished jobs
//     dbk_jetstream_free(jetstream);                            // then the store may be closed
//
// Streams and consumers are the store's; what is here is who listens: a service for each subject a stream
// captures (capture.c), for `$JS.API.>` (api_call.c), `$JS.ACK.>` (ack.c), `$JS.FC.>` (push.c), and the
// requests and subscriptions that consumers deliver to (delivery.c, pull.c, push.c).
//
// Threads: everything here on the loop, but for the part of start that lists streams (it reads the catalogue,
// in memory). Whatever may touch the disk is a job.
#ifndef DBK_JETSTREAM_JETSTREAM_H
#define DBK_JETSTREAM_JETSTREAM_H

#include <stdbool.h>

#include "broker/route.h"
#include "daybook/store.h"

typedef struct dbk_jetstream dbk_jetstream;
struct dbk_js_settings;

/// Needs of the broker options, jobs, timers, interest. What the store gives; ENOMEM.
daybook_status dbk_jetstream_start(dbk_broker *broker, daybook_store *store, dbk_jetstream **jetstream_out,
                                   daybook_error *error);
/// broker->options are others now: bounds hold from the next request on. NULL is fine.
void dbk_jetstream_reload(dbk_jetstream *jetstream);
/// Waiting pulls are told "409 Server Shutdown", publishes under way still go to the store and are answered.
/// A second time does nothing. NULL is fine.
void dbk_jetstream_stop(dbk_jetstream *jetstream);
/// No job, no publish is under way. NULL is idle.
bool dbk_jetstream_is_idle(const dbk_jetstream *jetstream);
/// It must be idle. NULL is fine.
void dbk_jetstream_free(dbk_jetstream *jetstream);

/// What monitoring shows.
typedef struct dbk_jetstream_counters {
    uint64_t api_total, api_errors, api_in_flight;
    uint64_t ack_total; // answers to deliveries
    uint64_t stream_count;
    uint64_t consumer_count; // with a place here: those nobody used since the start are not counted
} dbk_jetstream_counters;
void dbk_jetstream_count(const dbk_jetstream *jetstream, dbk_jetstream_counters *counters_out);
/// As they are now. On the loop.
void dbk_jetstream_get_settings(const dbk_jetstream *jetstream, struct dbk_js_settings *settings_out);

#endif
