// SPDX-License-Identifier: Apache-2.0
// What a stream makes of subjects: subject_transform before a message is stored, republish once it is.
#ifndef DBK_JETSTREAM_REWRITE_H
#define DBK_JETSTREAM_REWRITE_H

#include "jetstream/publish.h"

/// Of a configuration: counted by the loop, never changed, so that rounds on workers may go on with the one
/// they began with. *rewrite_out is NULL where the configuration says neither. ENOMEM; EINVALID: what is kept
/// of it cannot be a transform.
daybook_status dbk_js_rewrite_new(const daybook_allocator *allocator, const dbk_api_stream_config *config,
                                  dbk_js_rewrite **rewrite_out);
/// NULL is fine, for both. The loop.
dbk_js_rewrite *dbk_js_rewrite_ref(dbk_js_rewrite *rewrite);
void dbk_js_rewrite_unref(dbk_js_rewrite *rewrite);

/// A worker, first of all: the subject it is stored with (dbk_js_publish_stored_subject), and where it is
/// republished to. False: out of memory.
bool dbk_js_rewrite_subject(dbk_js_publish *publish, const dbk_js_rewrite *rewrite, dbk_api_error *error_out);
/// A worker, in the stream's round and before it is submitted: which message its subject had last. Does
/// nothing where it is not republished. False: the publish is refused.
bool dbk_js_rewrite_find_last(dbk_js_publish *publish, dbk_api_error *error_out);
/// The loop, for each publish in order of their sequence numbers: it is stored, so republish it, if so.
void dbk_js_republish(const dbk_js_publish *publish);
/// The loop: what the two above gave it.
void dbk_js_rewrite_forget(dbk_js_publish *publish);

#endif
