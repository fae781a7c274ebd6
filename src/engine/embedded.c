// SPDX-License-Identifier: Apache-2.0
// A store as an engine: each call is one of the public API.
//
// Nothing is allocated: the engine lies in the store, the head of an engine's cursor in the store's cursor
// (store/engine_slot.h), so that a read through the engine costs one indirect call more than one without.
#include "daybook/engine.h"
#include "store/engine_slot.h"

static daybook_cursor *cursor_of(daybook_engine_cursor *cursor) {
    return (daybook_cursor *)(void *)cursor; // Its head; see engine_slot.h.
}

static daybook_status append(daybook_engine *engine, const daybook_event *events, size_t count,
                             const daybook_append_options *options, daybook_receipt *receipts,
                             daybook_error *error) {
    return daybook_append(dbk_store_of_engine(engine), events, count, options, receipts, error);
}

static daybook_status read_events(daybook_engine *engine, const daybook_query *query,
                                  daybook_engine_cursor **cursor_out, daybook_error *error) {
    daybook_cursor *cursor = NULL;
    daybook_status status = daybook_read(dbk_store_of_engine(engine), query, &cursor, error);
    if (status != DAYBOOK_OK) return status;
    *cursor_out = dbk_cursor_head(cursor);
    (*cursor_out)->calls = engine->calls;
    return DAYBOOK_OK;
}

static daybook_status next(daybook_engine_cursor *cursor, int timeout_ms, daybook_recorded_event *event_out,
                           daybook_error *error) {
    return daybook_cursor_next(cursor_of(cursor), timeout_ms, event_out, error);
}

static void interrupt(daybook_engine_cursor *cursor) {
    daybook_cursor_interrupt(cursor_of(cursor));
}

static void close_cursor(daybook_engine_cursor *cursor) {
    daybook_cursor_close(cursor_of(cursor));
}

static daybook_status count_events(daybook_engine *engine, const daybook_query *query, uint64_t *count_out,
                                   daybook_error *error) {
    return daybook_count(dbk_store_of_engine(engine), query, count_out, error);
}

static daybook_status list(daybook_engine *engine, int kind, daybook_slice stream, daybook_slice filter,
                           int (*visit)(void *context, const daybook_list_entry *entry), void *context,
                           daybook_error *error) {
    return daybook_list(dbk_store_of_engine(engine), kind, stream, filter, visit, context, error);
}

static daybook_status add_stream(daybook_engine *engine, const daybook_stream_config *config,
                                 daybook_error *error) {
    return daybook_stream_add(dbk_store_of_engine(engine), config, error);
}

static daybook_status update_stream(daybook_engine *engine, const daybook_stream_config *config,
                                    daybook_error *error) {
    return daybook_stream_update(dbk_store_of_engine(engine), config, error);
}

static daybook_status remove_stream(daybook_engine *engine, daybook_slice name, daybook_error *error) {
    return daybook_stream_remove(dbk_store_of_engine(engine), name, error);
}

static daybook_status get_stream_info(daybook_engine *engine, daybook_slice name,
                                      daybook_stream_info **info_out, daybook_error *error) {
    return daybook_stream_get_info(dbk_store_of_engine(engine), name, info_out, error);
}

static void release_stream_info(daybook_engine *engine, daybook_stream_info *info) {
    daybook_stream_info_release(dbk_store_of_engine(engine), info);
}

static daybook_status find_stream(daybook_engine *engine, daybook_slice subject, daybook_slice *name_out,
                                  daybook_error *error) {
    return daybook_stream_find(dbk_store_of_engine(engine), subject, name_out, error);
}

static daybook_status purge_stream(daybook_engine *engine, daybook_slice name,
                                   const daybook_purge_options *options, uint64_t *removed_count_out,
                                   daybook_error *error) {
    return daybook_stream_purge(dbk_store_of_engine(engine), name, options, removed_count_out, error);
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
};

enum {
#define BIT(name, bit, word, text) | (1 << (bit))
    EVERYTHING = 0 DAYBOOK_ENGINE_CAPABILITY_MAP(BIT)
#undef BIT
};

daybook_engine *daybook_store_engine(daybook_store *store) {
    if (store == NULL) return NULL;
    const daybook_engine head = {
        .size = sizeof head, .name = "store", .capabilities = EVERYTHING, .calls = &calls};
    return dbk_store_engine_slot(store, &head);
}
