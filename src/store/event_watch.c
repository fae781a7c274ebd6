// SPDX-License-Identifier: Apache-2.0
// Being told of new events of a stream without a consumer: a watch of its own (watch.h), with its own
// filters.
//
// It lies in the registry of consumers, which is made where nobody asked for one yet, as that is what a
// commit looks at. A stream lives as long as its store, so a watch on one that was removed does no harm: it
// stays silent. Threads: any; a handle is one thread's at a time.
#include "daybook/subject.h"
#include "store/consumer.h"

struct daybook_event_watch {
    const daybook_allocator *allocator;
    dbk_watches *watches;
    dbk_watch_owner owner;
    dbk_watch *watch;
};

static daybook_status check(const daybook_store *store, const daybook_slice *filters, size_t count,
                            void (*callback)(void *context), daybook_error *error) {
    if (store == NULL || callback == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE, "no store, or nobody to tell: pass both");
    if (store->read_only)
        return dbk_fail(error, DAYBOOK_EREADONLY,
                        "the store is open for reading only: follow it with a cursor (DAYBOOK_QUERY_FOLLOW)");
    for (size_t i = 0; i < count; i++) {
        if (!daybook_filter_is_valid(filters[i]))
            return dbk_fail(error, DAYBOOK_ESUBJECT, "'%.*s' is no subject filter",
                            (int)(filters[i].size < 200 ? filters[i].size : 200),
                            (const char *)filters[i].data);
    }
    return DAYBOOK_OK;
}

daybook_status daybook_event_watch_open(daybook_store *store, daybook_slice stream,
                                        const daybook_slice *filters, size_t filter_count,
                                        void (*callback)(void *context), void *context,
                                        daybook_event_watch **watch_out, daybook_error *error) {
    struct dbk_consumers *registry;
    *watch_out = NULL;
    DBK_TRY(check(store, filters, filter_count, callback, error));
    DBK_TRY(dbk_consumers_get(store, &registry, error));
    dbk_stream *of = dbk_stream_table_find(store->streams, stream);
    if (of == NULL)
        return dbk_fail(error, DAYBOOK_ENOTFOUND, "there is no stream '%.*s'",
                        (int)(stream.size < 255 ? stream.size : 255), (const char *)stream.data);
    daybook_event_watch *opened = dbk_alloc_zeroed(store->allocator, sizeof *opened);
    if (opened == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory watching a stream");
    opened->allocator = store->allocator;
    opened->watches = &registry->watches;
    dbk_watch_links *links = dbk_watch_links_new(opened->watches, of, filters, filter_count);
    if (links != NULL)
        opened->watch = dbk_watch_new(opened->watches, &opened->owner, links, callback, context);
    if (opened->watch == NULL) {
        dbk_free(store->allocator, opened);
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory watching a stream");
    }
    *watch_out = opened;
    return DAYBOOK_OK;
}

void daybook_event_watch_arm(daybook_event_watch *watch) {
    dbk_watch_arm(watch->watches, watch->watch);
}

void daybook_event_watch_close(daybook_event_watch *watch) {
    if (watch == NULL) return;
    dbk_watch_end(watch->watches, watch->watch);
    dbk_free(watch->allocator, watch);
}
