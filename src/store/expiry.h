// SPDX-License-Identifier: Apache-2.0
// Events that outlive their own time to live: finding and removing them. See expiry.c.
#ifndef DBK_STORE_EXPIRY_H
#define DBK_STORE_EXPIRY_H

#include "store/source.h"

struct daybook_store;
struct dbk_stream;

/// Something that is due.
typedef struct dbk_due {
    int64_t due_ns; // of a segment: the second of its term
    uint64_t position;
    uint32_t stream_id;
    bool is_done; // removed, or there is nothing to remove
} dbk_due;

/// May an event of the source have outlived its own time to live and not be removed yet? A segment is asked
/// by index; of a memory table the answer is yes: its events are looked at at little cost.
bool dbk_expiry_may_be_due(dbk_source *source, int64_t now_ns);

/// May some event of the stream in this segment, at or before `last`, have expired and not be removed yet, so
/// that the index does not decide? With `by_age` by max_age, too: who writes may leave that to the removal.
/// Ask before what is removed: a removal in between is then seen there.
bool dbk_expiry_may_hide(dbk_source *source, const struct dbk_stream *stream, uint64_t last, bool by_age,
                         int64_t now_ns);

/// Remove some of what has expired in streams that allow times to live, and say in store->next_expiry_ns when
/// there is more. Leaves markers where streams want them, unless not `may_mark`: then what needs one stays.
/// Does nothing where somebody else is at it. Bounded; never waits for the commit thread nor for room.
daybook_status dbk_store_expire(struct daybook_store *store, bool may_mark, daybook_error *error);

/// The same for who waits for it: a few steps, and no markers, so that what needs one stays.
daybook_status dbk_store_expire_some(struct daybook_store *store, daybook_error *error);

/// May a round have something to do?
bool dbk_store_has_expired(struct daybook_store *store);

/// What is due of the stream and not removed, but for what max_age hides: for readers' counts.
daybook_status dbk_expiry_count(struct daybook_store *store, struct dbk_stream *stream, int64_t now_ns,
                                uint64_t *count_out, uint64_t *bytes_out, daybook_error *error);

#endif
