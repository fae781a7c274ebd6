// SPDX-License-Identifier: Apache-2.0
// Streams that are made, changed and removed beside the API: by the embedding program, by an append with
// auto_stream, by commands of `daybook`. From start to stop their subjects are captured as if a request had
// come.
#ifndef DBK_JETSTREAM_CATALOGUE_H
#define DBK_JETSTREAM_CATALOGUE_H

#include "jetstream/jetstream_internal.h"

/// Before streams are listed, so that none is missed. What daybook_stream_watch gives.
daybook_status dbk_js_start_catalogue(dbk_jetstream *jetstream, daybook_error *error);
void dbk_js_stop_catalogue(dbk_jetstream *jetstream);

#endif
