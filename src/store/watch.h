// SPDX-License-Identifier: Apache-2.0
// Who wants to be told of an event: watches of consumers, found by the subject of what was published, however
// many there are.
//
// A watch is armed, fires once, and is armed again by whoever looked in vain. What fired is called by
// dbk_watches_call, without the lock. Any thread; the lock is a leaf of the store's (store_internal.h).
#ifndef DBK_STORE_WATCH_H
#define DBK_STORE_WATCH_H

#include <pthread.h>
#include <stdatomic.h>

#include "store/streams.h"

typedef struct dbk_watch dbk_watch;
typedef struct dbk_watch_links dbk_watch_links; // where a list of filters is entered

typedef struct dbk_watches {
    const daybook_allocator *allocator;
    pthread_mutex_t lock;
    pthread_cond_t called;      // with lock: a callback has returned
    struct dbk_watch_set *sets; // one for each stream that was ever watched
    dbk_watch *fired;           // first in, first out
    dbk_watch **fired_end;
} dbk_watches;

/// Of a consumer: its watches, and where its filters are entered. Zeroed to begin with.
typedef struct dbk_watch_owner {
    dbk_watch *first; // guarded by the lock, as the links
    dbk_watch_links *links;
    atomic_uint armed_count;
} dbk_watch_owner;

void dbk_watches_init(dbk_watches *watches, const daybook_allocator *allocator);
/// All have ended.
void dbk_watches_deinit(dbk_watches *watches);

/// Enter filters (none: everything of the stream), to be used or dropped. NULL when memory is out.
dbk_watch_links *dbk_watch_links_new(dbk_watches *watches, dbk_stream *stream, const dbk_slice *filters,
                                     size_t count);
/// NULL is fine.
void dbk_watch_links_drop(dbk_watches *watches, dbk_watch_links *links);
/// From now on these are the owner's, taken over; where nobody watches it they are dropped.
void dbk_watch_owner_set_links(dbk_watches *watches, dbk_watch_owner *owner, dbk_watch_links *links);

/// Not armed. `links` is taken over where the owner has none yet, else dropped, also where memory is out
/// (NULL).
dbk_watch *dbk_watch_new(dbk_watches *watches, dbk_watch_owner *owner, dbk_watch_links *links,
                         void (*callback)(void *context), void *context);
/// It is gone, and no callback of it runs, when this returns.
void dbk_watch_end(dbk_watches *watches, dbk_watch *watch);
/// What is published from now on, or fires its owner, fires it. What was published before, the caller sees.
void dbk_watch_arm(dbk_watches *watches, dbk_watch *watch);

/// Is some watch on the stream armed? To be asked after an event was made visible.
static inline bool dbk_stream_is_watched(const dbk_stream *stream) {
    return atomic_load_explicit(&((dbk_stream *)(uintptr_t)stream)->watched_count, memory_order_seq_cst) > 0;
}
/// An event of this subject is visible: fire whom it concerns.
void dbk_watches_note_event(dbk_watches *watches, dbk_stream *stream, dbk_slice subject);
/// Fire all of one owner.
void dbk_watches_fire(dbk_watches *watches, dbk_watch_owner *owner);
/// Call those that fired. Holds no lock of the store that lasts.
void dbk_watches_call(dbk_watches *watches);

#endif
