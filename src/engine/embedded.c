// SPDX-License-Identifier: Apache-2.0
// A store as an engine: each call is one of the public API.
//
// Nothing is allocated: the engine lies in the store, the heads of an engine's cursor and consumer in the
// store's (store/engine_slot.h), so that a read through the engine costs one indirect call more than one
// without.
#include "daybook/engine.h"

#include <string.h>

#include "daybook/store.h"
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

// Consumers.

static daybook_consumer *consumer_of(const daybook_engine_consumer *consumer) {
    return (daybook_consumer *)(uintptr_t)consumer; // Its head; see engine_slot.h.
}

static void give_consumer(daybook_engine *engine, daybook_consumer *consumer,
                          daybook_engine_consumer **consumer_out) {
    if (consumer_out == NULL) return;
    *consumer_out = dbk_consumer_head(consumer);
    (*consumer_out)->calls = engine->calls;
}

static daybook_status add_consumer(daybook_engine *engine, daybook_slice stream,
                                   const daybook_consumer_config *config,
                                   daybook_engine_consumer **consumer_out, daybook_error *error) {
    daybook_consumer *consumer = NULL;
    daybook_status status = daybook_consumer_add(dbk_store_of_engine(engine), stream, config,
                                                 consumer_out == NULL ? NULL : &consumer, error);
    if (status == DAYBOOK_OK) give_consumer(engine, consumer, consumer_out);
    return status;
}

static daybook_status update_consumer(daybook_engine *engine, daybook_slice stream,
                                      const daybook_consumer_config *config, daybook_error *error) {
    return daybook_consumer_update(dbk_store_of_engine(engine), stream, config, error);
}

static daybook_status pause_consumer(daybook_engine *engine, daybook_slice stream, daybook_slice name,
                                     int64_t until_ns, daybook_error *error) {
    return daybook_consumer_pause(dbk_store_of_engine(engine), stream, name, until_ns, error);
}

static daybook_status remove_consumer(daybook_engine *engine, daybook_slice stream, daybook_slice name,
                                      daybook_error *error) {
    return daybook_consumer_remove(dbk_store_of_engine(engine), stream, name, error);
}

static daybook_status get_consumer_info(daybook_engine *engine, daybook_slice stream, daybook_slice name,
                                        daybook_consumer_info **info_out, daybook_error *error) {
    return daybook_consumer_get_info(dbk_store_of_engine(engine), stream, name, info_out, error);
}

static void release_consumer_info(daybook_engine *engine, daybook_consumer_info *info) {
    daybook_consumer_info_release(dbk_store_of_engine(engine), info);
}

static daybook_status list_consumers(daybook_engine *engine, daybook_slice stream,
                                     int (*visit)(void *context, const daybook_consumer_info *info),
                                     void *context, daybook_error *error) {
    return daybook_consumer_list(dbk_store_of_engine(engine), stream, visit, context, error);
}

static daybook_status open_consumer(daybook_engine *engine, daybook_slice stream, daybook_slice name,
                                    daybook_engine_consumer **consumer_out, daybook_error *error) {
    daybook_consumer *consumer = NULL;
    daybook_status status =
        daybook_consumer_open(dbk_store_of_engine(engine), stream, name, &consumer, error);
    if (status == DAYBOOK_OK) give_consumer(engine, consumer, consumer_out);
    return status;
}

static void close_consumer(daybook_engine_consumer *consumer) {
    daybook_consumer_close(consumer_of(consumer));
}

static daybook_slice name_of_consumer(const daybook_engine_consumer *consumer) {
    return daybook_consumer_name(consumer_of(consumer));
}

static void interrupt_consumer(daybook_engine_consumer *consumer) {
    daybook_consumer_interrupt(consumer_of(consumer));
}

static daybook_status fetch(daybook_engine_consumer *consumer, const daybook_fetch_options *options,
                            daybook_batch **batch_out, daybook_error *error) {
    return daybook_consumer_fetch(consumer_of(consumer), options, batch_out, error);
}

static void release_batch(daybook_engine_consumer *consumer, daybook_batch *batch) {
    (void)consumer;
    daybook_batch_release(batch);
}

static daybook_status ack(daybook_engine_consumer *consumer, uint64_t seq, unsigned flags,
                          daybook_error *error) {
    return daybook_consumer_ack(consumer_of(consumer), seq, flags, error);
}

static daybook_status nak(daybook_engine_consumer *consumer, uint64_t seq, int64_t delay_ns,
                          daybook_error *error) {
    return daybook_consumer_nak(consumer_of(consumer), seq, delay_ns, error);
}

static daybook_status progress(daybook_engine_consumer *consumer, uint64_t seq, daybook_error *error) {
    return daybook_consumer_progress(consumer_of(consumer), seq, error);
}

static daybook_status term(daybook_engine_consumer *consumer, uint64_t seq, daybook_slice reason,
                           daybook_error *error) {
    return daybook_consumer_term(consumer_of(consumer), seq, reason, error);
}

static daybook_status get_info(daybook_engine *engine, daybook_engine_info *info_out, daybook_error *error) {
    daybook_store_info info = {.size = sizeof info};
    daybook_status status = daybook_info(dbk_store_of_engine(engine), &info, error);
    if (status != DAYBOOK_OK) return status;
    memcpy(info_out->store, info.uuid, sizeof info_out->store);
    info_out->durable_position = info.durable_position;
    return DAYBOOK_OK;
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
    .consumer_update = update_consumer,
    .consumer_pause = pause_consumer,
    .consumer_remove = remove_consumer,
    .consumer_info = get_consumer_info,
    .consumer_info_release = release_consumer_info,
    .consumer_list = list_consumers,
    .consumer_open = open_consumer,
    .consumer_close = close_consumer,
    .consumer_name = name_of_consumer,
    .consumer_interrupt = interrupt_consumer,
    .consumer_fetch = fetch,
    .batch_release = release_batch,
    .consumer_ack = ack,
    .consumer_nak = nak,
    .consumer_progress = progress,
    .consumer_term = term,
    .get_info = get_info,
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
