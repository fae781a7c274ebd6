// SPDX-License-Identifier: Apache-2.0
// $JS.EVENT.ADVISORY.>: what happened to streams and consumers, told to whoever listens.
//
// Nothing is written where nobody does. Advisories about messages (given up, terminated) are the store's: it
// tells them instead of appending them, and whoever captures their subject gets them like any publish.
#ifndef DBK_JETSTREAM_ADVISORY_H
#define DBK_JETSTREAM_ADVISORY_H

#include "jetstream/jetstream_internal.h"

struct dbk_js_call;

/// The store's advisories go out from here, until stopped. What daybook_advisory_watch gives.
daybook_status dbk_js_start_advisories(dbk_jetstream *jetstream, daybook_error *error);
void dbk_js_stop_advisories(dbk_jetstream *jetstream);
/// Of a call that made, changed or removed a stream or consumer: call->advisory, stream_name, consumer_name.
void dbk_js_advise_of_call(const struct dbk_js_call *call);
/// Of any call, once it is answered: who asked what, and what the answer was ($JS.EVENT.ADVISORY.API).
/// Messages that were read are not told of.
void dbk_js_audit_call(const struct dbk_js_call *call);
/// `what` is "CONSUMER.DELETED" or such, `action` "delete" or such; `consumer` may be empty.
void dbk_js_advise(dbk_jetstream *jetstream, const char *what, const char *action, dbk_slice stream,
                   dbk_slice consumer);
/// Who pulls from a consumer is pinned (`pinned_id`), or not any more (`reason`); the other is NULL.
void dbk_js_advise_of_pin(const dbk_js_consumer *consumer, const char *group, const char *pinned_id,
                          const char *reason);

#endif
