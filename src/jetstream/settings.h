// SPDX-License-Identifier: Apache-2.0
// What options say about JetStream, and which streams are seen.
#ifndef DBK_JETSTREAM_SETTINGS_H
#define DBK_JETSTREAM_SETTINGS_H

#include "api/consumer_config.h"
#include "api/dial.h"
#include "api/stream_config.h"
#include "jetstream/usage.h"

/// Streams whose name begins with '$' are the store's own: nobody sees them, and they count for nobody.
static inline bool dbk_js_is_hidden(dbk_slice stream) {
    return stream.size > 0 && *(const char *)stream.data == '$';
}

/// What options say and a reload changes. The loop's; a call takes them along to its worker.
typedef struct dbk_js_settings {
    dbk_api_dial dial;
    dbk_api_stream_limits stream_limits;
    dbk_api_consumer_caps consumer_caps;
    int64_t streams_max, consumers_max; // -1: none
    dbk_js_room server_room, account_room;
    uint64_t batches_max, stream_batches_max, batch_size_max;
    uint64_t requests_max; // under way, of each kind: API calls, direct gets, consumers being opened
    int64_t batch_timeout_ns;
} dbk_js_settings;

#endif
