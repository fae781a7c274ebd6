// SPDX-License-Identifier: Apache-2.0
// Passes every call on to the store and takes away from the answers what JetStream has none of: positions become
// seqs, versions and aggregates are gone. What a call may not ask is engine.c's to refuse.
#include "core_engine.h"

#include <stdlib.h>

typedef struct core_engine {
    daybook_engine head;
    daybook_store *store;
} core_engine;

typedef struct core_cursor {
    daybook_engine_cursor head;
    daybook_cursor *cursor;
} core_cursor;

static daybook_store *store_of(daybook_engine *engine) {
    return ((core_engine *)(void *)engine)->store;
}

static core_cursor *core_of(daybook_engine_cursor *cursor) {
    return (core_cursor *)(void *)cursor;
}

static daybook_status append(daybook_engine *engine, const daybook_event *events, size_t count,
                             const daybook_append_options *options, daybook_receipt *receipts,
                             daybook_error *error) {
    daybook_status status = daybook_append(store_of(engine), events, count, options, receipts, error);
    for (size_t i = 0; receipts != NULL && i < count; i++) {
        receipts[i].position = receipts[i].seq;
        receipts[i].version = 0;
    }
    return status;
}

static daybook_status read_events(daybook_engine *engine, const daybook_query *query,
                                  daybook_engine_cursor **cursor_out, daybook_error *error) {
    core_cursor *cursor = calloc(1, sizeof *cursor);
    if (cursor == NULL) return DAYBOOK_ENOMEM;
    cursor->head.calls = engine->calls;
    daybook_status status = daybook_read(store_of(engine), query, &cursor->cursor, error);
    if (status == DAYBOOK_OK)
        *cursor_out = &cursor->head;
    else
        free(cursor);
    return status;
}

static daybook_status next(daybook_engine_cursor *cursor, int timeout_ms, daybook_recorded_event *event_out,
                           daybook_error *error) {
    daybook_status status = daybook_cursor_next(core_of(cursor)->cursor, timeout_ms, event_out, error);
    if (status != DAYBOOK_OK) return status;
    event_out->position = event_out->seq;
    event_out->version = 0;
    event_out->aggregate = daybook_bytes(NULL, 0);
    return DAYBOOK_OK;
}

static void interrupt(daybook_engine_cursor *cursor) {
    daybook_cursor_interrupt(core_of(cursor)->cursor);
}

static void close_cursor(daybook_engine_cursor *cursor) {
    daybook_cursor_close(core_of(cursor)->cursor);
    free(core_of(cursor));
}

static daybook_status count_events(daybook_engine *engine, const daybook_query *query, uint64_t *count_out,
                                   daybook_error *error) {
    return daybook_count(store_of(engine), query, count_out, error);
}

static daybook_status list(daybook_engine *engine, int kind, daybook_slice stream, daybook_slice filter,
                           int (*visit)(void *context, const daybook_list_entry *entry), void *context,
                           daybook_error *error) {
    return daybook_list(store_of(engine), kind, stream, filter, visit, context, error);
}

static daybook_status add_stream(daybook_engine *engine, const daybook_stream_config *config,
                                 daybook_error *error) {
    return daybook_stream_add(store_of(engine), config, error);
}

static daybook_status update_stream(daybook_engine *engine, const daybook_stream_config *config,
                                    daybook_error *error) {
    return daybook_stream_update(store_of(engine), config, error);
}

static daybook_status remove_stream(daybook_engine *engine, daybook_slice name, daybook_error *error) {
    return daybook_stream_remove(store_of(engine), name, error);
}

static daybook_status get_stream_info(daybook_engine *engine, daybook_slice name,
                                      daybook_stream_info **info_out, daybook_error *error) {
    return daybook_stream_get_info(store_of(engine), name, info_out, error);
}

static void release_stream_info(daybook_engine *engine, daybook_stream_info *info) {
    daybook_stream_info_release(store_of(engine), info);
}

static daybook_status find_stream(daybook_engine *engine, daybook_slice subject, daybook_slice *name_out,
                                  daybook_error *error) {
    return daybook_stream_find(store_of(engine), subject, name_out, error);
}

static daybook_status purge_stream(daybook_engine *engine, daybook_slice name,
                                   const daybook_purge_options *options, uint64_t *removed_count_out,
                                   daybook_error *error) {
    return daybook_stream_purge(store_of(engine), name, options, removed_count_out, error);
}

// Consumers are in the core: the handles are the store's own, so only what makes them is here.

static daybook_status add_consumer(daybook_engine *engine, daybook_slice stream,
                                   const daybook_consumer_config *config,
                                   daybook_engine_consumer **consumer_out, daybook_error *error) {
    return daybook_engine_consumer_add(daybook_store_engine(store_of(engine)), stream, config, consumer_out,
                                       error);
}

static daybook_status remove_consumer(daybook_engine *engine, daybook_slice stream, daybook_slice name,
                                      daybook_error *error) {
    return daybook_consumer_remove(store_of(engine), stream, name, error);
}

static daybook_status open_consumer(daybook_engine *engine, daybook_slice stream, daybook_slice name,
                                    daybook_engine_consumer **consumer_out, daybook_error *error) {
    return daybook_engine_consumer_open(daybook_store_engine(store_of(engine)), stream, name, consumer_out,
                                        error);
}

static const daybook_engine_calls calls = {
    .size = sizeof calls,
    .append = append,
    .read = read_events,
    .next = next,
    .interrupt = interrupt,
    .cursor_close = close_cursor,
    .count = count_events,
    .list = list,
    .stream_add = add_stream,
    .stream_update = update_stream,
    .stream_remove = remove_stream,
    .stream_info = get_stream_info,
    .stream_info_release = release_stream_info,
    .stream_find = find_stream,
    .stream_purge = purge_stream,
    .consumer_add = add_consumer,
    .consumer_remove = remove_consumer,
    .consumer_open = open_consumer,
};

daybook_engine *core_engine_new(daybook_store *store) {
    core_engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL) return NULL;
    engine->head.size = sizeof engine->head;
    engine->head.name = "core";
    engine->head.calls = &calls;
    engine->store = store;
    return &engine->head;
}

void core_engine_free(daybook_engine *engine) {
    free(engine);
}
