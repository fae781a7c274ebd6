// SPDX-License-Identifier: Apache-2.0
// The live page: a small file `live` mapped by the writer and by readers of other processes. A hint, never
// trusted after a crash: a reader checks everything it leads to. The writer stores, in this order: manifest
// edit, durable LSN, durable position, then bumps `wake` and calls vfs->wake; a seqlock word guards against
// reading a half-written set.
#ifndef DBK_STORE_LIVE_H
#define DBK_STORE_LIVE_H

#include "base/error.h"
#include "base/uuid.h"
#include "daybook/sys/vfs.h"

typedef struct dbk_live dbk_live;

typedef struct dbk_live_values {
    uint64_t incarnation;
    uint64_t process_id;    // of the writer
    uint64_t session;       // random, of the writer's opening; LOCK names it, too
    bool writer_open;       // cleared on close; may be stale after a crash
    uint64_t manifest_edit; // dbk_manifest.edit_count
    uint64_t durable_lsn;
    uint64_t durable_position;
} dbk_live_values;

/// Writer: create and map. Reader: map an existing one; ENOTFOUND when absent or not of this store.
daybook_status dbk_live_open(const daybook_allocator *allocator, daybook_vfs *vfs, const char *directory,
                             const dbk_uuid *store_uuid, bool writer, dbk_live **live_out,
                             daybook_error *error);
void dbk_live_close(dbk_live *live);
/// Writer: who it is, once, before the first publish.
void dbk_live_identify(dbk_live *live, uint64_t incarnation, uint64_t process_id, uint64_t session);
/// Writer; any thread. Identity is what dbk_live_identify said, numbers never go back: a thread that took
/// its values a moment earlier does no harm.
void dbk_live_publish(dbk_live *live, const dbk_live_values *values);
/// Reader. Returns false where a consistent set cannot be had (writer died in the middle).
bool dbk_live_get(dbk_live *live, dbk_live_values *values_out);
/// Sleep until the page changes from `seen` (session, durable_lsn, manifest_edit) or the time is over.
void dbk_live_wait(dbk_live *live, const dbk_live_values *seen, int64_t timeout_ns);

#endif
