// SPDX-License-Identifier: Apache-2.0
// Streams that copy one another in a circle, in which messages would go round for ever.
#ifndef DBK_JETSTREAM_CYCLE_H
#define DBK_JETSTREAM_CYCLE_H

#include "api/stream_config.h"
#include "daybook/store.h"

/// Could a message of the stream, were it configured so, come back to it and go on? Any thread.
/// @param arena  for what is read meanwhile
/// ENOMEM, and what reading the configurations of others gives.
daybook_status dbk_js_find_cycle(daybook_store *store, const dbk_api_stream_config *config, dbk_arena *arena,
                                 bool *has_cycle_out, daybook_error *error);

#endif
