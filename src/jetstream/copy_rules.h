// SPDX-License-Identifier: Apache-2.0
// How a mirror or a source copies: what its configuration says, and an event of the source as the copy is to
// have it.
//
// Subjects go through the transforms of the source, then of the stream. Headers stay as they are, without
// those that were meant for the stream they came from; a source's get Nats-Stream-Source. A roll-up that the
// stream does not allow loses its header, for the store would not take it; a time to live counts from when
// the source stored the message, and not at all where the stream allows none.
//
// Pure but for memory. Any thread.
#ifndef DBK_JETSTREAM_COPY_RULES_H
#define DBK_JETSTREAM_COPY_RULES_H

#include "api/stream_config.h"
#include "api/transform.h"
#include "base/memory.h"
#include "daybook/read.h"

/// Of one mirror or source. What it refers to lies in the arena it was made with.
typedef struct dbk_js_copy_rules {
    dbk_slice key; // all of it: who was told the same is the same
    dbk_slice index_name;
    dbk_slice source;
    bool is_mirror, allow_rollup, allow_ttl, in_memory;
    uint64_t start_seq;
    int64_t start_time_ns;
    dbk_slice *filters;                   // none: all
    const dbk_api_transform **transforms; // as many; NULL: the subject stays
    size_t filter_count;
    const dbk_api_transform *own_transform; // of the stream; NULL: none
} dbk_js_copy_rules;

/// `said` is the mirror or one of the sources of `config`. ENOMEM; EINVALID: a transform is none.
daybook_status dbk_js_copy_rules_make(const dbk_api_stream_config *config, const dbk_api_source *said,
                                      dbk_arena *arena, dbk_js_copy_rules *rules_out);

/// `from` as the stream stores it, in the arena. `now_ns` is the broker's clock: what is left of a time to
/// live depends on it. ENOMEM.
daybook_status dbk_js_copy_event(const dbk_js_copy_rules *rules, const daybook_recorded_event *from,
                                 int64_t now_ns, dbk_arena *arena, const daybook_allocator *allocator,
                                 daybook_event *event_out);

#endif
