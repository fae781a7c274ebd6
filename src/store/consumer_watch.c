// SPDX-License-Identifier: Apache-2.0
// Watching consumers: telling without a thread for each, and without waking all, that a fetch may give
// something.
//
// A fetch in vain arms the handle's watch and looks once more, so that nothing comes unseen in between; what
// comes then fires it. New events are matched by the leader of the commit that made them visible (watch.c);
// answers and changes fire their consumer's watches where they would wake who waits. Removals, which run
// under the store's locks, leave the call to the keeper.
#include "base/assert.h"
#include "store/consumer.h"

void dbk_consumers_note_published(daybook_store *store, uint64_t position_first, uint64_t position_last) {
    struct dbk_consumers *registry = atomic_load(&store->consumers);
    // Only who leads puts another table in its place.
    const dbk_memtable *memtable = store->active->memtable;
    dbk_stream *stream = NULL;
    for (uint64_t position = position_first; position <= position_last; position++) {
        dbk_event event;
        if (dbk_memtable_get(memtable, position, &event) != DAYBOOK_OK) continue;
        if (stream == NULL || stream->id != event.stream_id)
            stream = dbk_stream_table_find_id(store->streams, event.stream_id);
        if (stream != NULL && dbk_stream_is_watched(stream))
            dbk_watches_note_event(&registry->watches, stream, event.subject);
    }
    dbk_watches_call(&registry->watches);
}

static struct dbk_consumers *registry_of(const daybook_consumer *consumer) {
    return atomic_load(&consumer->consumer->store->consumers);
}

void dbk_consumer_end_watch(daybook_consumer *consumer) {
    dbk_watch *watch = atomic_exchange(&consumer->watch, NULL);
    if (watch != NULL) dbk_watch_end(&registry_of(consumer)->watches, watch);
}

// The consumer's lock is held, by which the filters stay as they are. Not change_lock: who watches must not
// wait for one that is added meanwhile, which reads and syncs. Another configuration takes its filters along
// behind this lock, to the owner of any watch there is by then.
static dbk_watch *new_watch(daybook_consumer *consumer, void (*callback)(void *context), void *context) {
    dbk_consumer *of = consumer->consumer;
    dbk_watches *watches = &registry_of(consumer)->watches;
    dbk_watch_links *links =
        dbk_watch_links_new(watches, of->stream, of->config->filters, of->config->filter_count);
    return links == NULL ? NULL : dbk_watch_new(watches, &of->watch_owner, links, callback, context);
}

daybook_status daybook_consumer_watch(daybook_consumer *consumer, void (*callback)(void *context),
                                      void *context, daybook_error *error) {
    if (consumer == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE,
                        "no consumer: open one with daybook_consumer_open or daybook_consumer_add");
    if (callback == NULL) {
        dbk_consumer_end_watch(consumer);
        return DAYBOOK_OK;
    }
    if (atomic_load(&consumer->watch) != NULL)
        return dbk_fail(
            error, DAYBOOK_EMISUSE,
            "the handle of consumer %s is watched already: end that watch, or open another handle",
            consumer->consumer->name);
    pthread_mutex_lock(&consumer->consumer->lock);
    dbk_watch *watch = new_watch(consumer, callback, context);
    pthread_mutex_unlock(&consumer->consumer->lock);
    if (watch == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory watching a consumer");
    atomic_store(&consumer->watch, watch);
    return DAYBOOK_OK;
}

int64_t daybook_consumer_next_due_ns(const daybook_consumer *consumer) {
    if (consumer == NULL) return INT64_MAX;
    daybook_vfs *vfs = consumer->consumer->store->vfs;
    int64_t due_at_ns = atomic_load(&((daybook_consumer *)(uintptr_t)consumer)->due_at_ns);
    if (due_at_ns == INT64_MAX) return due_at_ns;
    int64_t left_ns = due_at_ns - vfs->clock_monotonic_ns(vfs);
    return left_ns > 0 ? left_ns : 0;
}
