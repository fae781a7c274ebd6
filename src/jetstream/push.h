// SPDX-License-Identifier: Apache-2.0
// Push consumers: what delivers to a subject without being asked.
#ifndef DBK_JETSTREAM_PUSH_H
#define DBK_JETSTREAM_PUSH_H

#include "jetstream/delivery.h"

/// deliver_subject is set, or another one: deliver there.
void dbk_js_start_push(dbk_js_consumer *consumer);
/// It delivers no more. One that does not push is fine.
void dbk_js_stop_push(dbk_js_consumer *consumer);
dbk_js_plan dbk_js_plan_push(dbk_js_consumer *consumer);
/// To the deliver subject. False: nobody listens there.
bool dbk_js_give_to_push(dbk_js_consumer *consumer, const dbk_js_outgoing *outgoing);
/// Does somebody listen now who may have what is delivered? The loop's: it looks, and delivers where somebody
/// is new. Workers read consumer->is_bound, which says so as of the last look.
bool dbk_js_is_push_bound(dbk_js_consumer *consumer);
/// A service's handler for $JS.FC.<stream>.<consumer>.<…>; the context is a dbk_jetstream.
void dbk_js_serve_flow(void *context, dbk_client *from, const dbk_message *message);
/// Opens the consumers of the store that push: begins a job. ENOMEM.
daybook_status dbk_js_find_pushing(dbk_jetstream *jetstream);

/// A service's handler for $JS.ACK.>; the context is a dbk_jetstream. ack.c
void dbk_js_serve_ack(void *context, dbk_client *from, const dbk_message *message);

#endif
