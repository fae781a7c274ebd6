// SPDX-License-Identifier: Apache-2.0
// Mirrors and sources: streams that copy what others store. One dbk_js_copy for a mirror, and for each
// source.
#ifndef DBK_JETSTREAM_MIRROR_H
#define DBK_JETSTREAM_MIRROR_H

#include "jetstream/jetstream_internal.h"

/// The loop: what the stream copies from now on. What it copied before in the same way goes on. ENOMEM,
/// EINVALID: nothing was changed.
daybook_status dbk_js_set_copies(dbk_js_stream *stream, const dbk_api_stream_config *config);
/// The loop: it copies nothing any more.
void dbk_js_drop_copies(dbk_js_stream *stream);
/// The loop: a stream of this name was made, changed or removed. Who copies it looks again.
void dbk_js_note_source(dbk_jetstream *jetstream, dbk_slice name);
/// The loop: a mirror that answers direct gets for this stream; NULL: none.
dbk_js_stream *dbk_js_find_direct_mirror(const dbk_jetstream *jetstream, dbk_slice source);

/// How far a copy is.
typedef struct dbk_js_copy_state {
    bool was_seen;
    int64_t seen_ns; // by the clock, when it was in touch with its source last; INT64_MAX: it is
    uint64_t lag;
    bool has_error;
    dbk_api_error_kind error;
} dbk_js_copy_state;

/// Any thread. Zeros where there is no such copy (yet). `index_name` is that of dbk_api_source_index_name.
void dbk_js_get_copy_state(dbk_jetstream *jetstream, dbk_slice stream, dbk_slice index_name,
                           dbk_js_copy_state *state_out);

/// Where streams of this id have got to with their sources is forgotten: it was removed. Any thread but the
/// loop.
void dbk_js_forget_places(dbk_jetstream *jetstream, uint32_t stream_id);

#endif
