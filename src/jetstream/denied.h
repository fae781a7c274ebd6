// SPDX-License-Identifier: Apache-2.0
// $JS.API.> of a server that would have JetStream, and whose account does not: each request is told so
// (10039). Pulls and direct gets find nobody, nor does anything where the server itself has none. Loop
// thread.
#ifndef DBK_JETSTREAM_DENIED_H
#define DBK_JETSTREAM_DENIED_H

#include "broker/route.h"

typedef struct dbk_js_denied dbk_js_denied;

/// ENOMEM: what there is of it is still to be freed.
daybook_status dbk_js_denied_start(dbk_broker *broker, dbk_js_denied **denied_out);
/// Before the trie is freed. NULL is fine.
void dbk_js_denied_free(dbk_js_denied *denied);

#endif
