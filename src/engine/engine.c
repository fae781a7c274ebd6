// SPDX-License-Identifier: Apache-2.0
// The engine interface: one checked step between who calls and the engine's own functions.
//
// Here it is decided, for all engines alike, what a call needs beyond the core, and a call whose engine lacks
// that is refused by name before the engine sees it. An engine therefore cannot do less than it was asked to
// by forgetting a check. No state, any thread.
#include "daybook/engine.h"
#include "base/error.h"

typedef struct capability_row {
    uint64_t bit;
    const char *name;
    const char *text;
} capability_row;

static const capability_row rows[] = {
#define ROW(name, bit, word, text) {UINT64_C(1) << (bit), word, text},
    DAYBOOK_ENGINE_CAPABILITY_MAP(ROW)
#undef ROW
};

const char *daybook_engine_name(const daybook_engine *engine) {
    return engine == NULL ? "" : engine->name;
}

uint64_t daybook_engine_capabilities(const daybook_engine *engine) {
    return engine == NULL ? 0 : engine->capabilities;
}

int daybook_engine_is_read_only(const daybook_engine *engine) {
    return engine != NULL && engine->read_only;
}

const char *daybook_engine_capability_name(uint64_t capability) {
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].bit == capability) return rows[i].name;
    return NULL;
}

static daybook_status no_engine(daybook_error *error) {
    return dbk_fail(error, DAYBOOK_EMISUSE, "no engine given: daybook_store_engine makes one of a store");
}

static daybook_status refuse(const daybook_engine *engine, uint64_t missing, const char *who,
                             daybook_error *error) {
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if ((missing & rows[i].bit) != 0)
            return dbk_fail(error, DAYBOOK_EUNSUPPORTED,
                            "%s needs '%s' (%s), which engine '%s' does not have", who, rows[i].name,
                            rows[i].text, engine->name);
    return dbk_fail(error, DAYBOOK_EUNSUPPORTED, "%s needs what this version of daybook does not know", who);
}

daybook_status daybook_engine_require(const daybook_engine *engine, uint64_t capabilities, const char *who,
                                      daybook_error *error) {
    if (engine == NULL) return no_engine(error);
    uint64_t missing = capabilities & ~engine->capabilities;
    return missing == 0 ? DAYBOOK_OK : refuse(engine, missing, who == NULL ? "this call" : who, error);
}

// What calls need.

uint64_t daybook_engine_query_needs(const daybook_query *query) {
    uint64_t needs = 0;
    if (query->stream.size == 0 || query->position_from != 0 || query->position_to != 0)
        needs |= DAYBOOK_ENGINE_POSITION;
    if (query->type_count > 0 || query->tag_count > 0 || query->item_count > 0)
        needs |= DAYBOOK_ENGINE_EVENTS_MATCH;
    if (query->correlation.size > 0 || query->causation.size > 0 || query->actor.size > 0 ||
        query->id.size > 0)
        needs |= DAYBOOK_ENGINE_TRACING;
    if (query->version_from != 0 || query->version_to != 0) needs |= DAYBOOK_ENGINE_VERSION;
    if (query->recorded_until_ns != DAYBOOK_TIME_NONE || query->time_since_ns != DAYBOOK_TIME_NONE ||
        query->time_until_ns != DAYBOOK_TIME_NONE)
        needs |= DAYBOOK_ENGINE_TIME;
    if ((query->flags & DAYBOOK_QUERY_REVERSE) != 0 && query->limit != 1) needs |= DAYBOOK_ENGINE_REVERSE;
    return needs;
}

uint64_t daybook_engine_append_needs(const daybook_append_options *options) {
    if (options == NULL) return 0;
    uint64_t needs = options->condition_count > 1 ? (uint64_t)DAYBOOK_ENGINE_CONDITIONS : 0;
    if (options->ack_count > 0) needs |= DAYBOOK_ENGINE_APPEND_AND_ACK;
    const unsigned char *at = (const unsigned char *)options->conditions;
    for (size_t i = 0; i < options->condition_count; i++) {
        const daybook_condition *condition = (const daybook_condition *)(const void *)at;
        if (condition->kind == DAYBOOK_EXPECT_VERSION) needs |= DAYBOOK_ENGINE_VERSION;
        if (condition->kind == DAYBOOK_FAIL_IF_EVENTS_MATCH) needs |= DAYBOOK_ENGINE_EVENTS_MATCH;
        at += options->conditions->size;
    }
    return needs;
}

uint64_t daybook_engine_consumer_needs(const daybook_consumer_config *config) {
    return (config->flags & DAYBOOK_CONSUMER_IN_ORDER) != 0 ? (uint64_t)DAYBOOK_ENGINE_IN_ORDER : 0;
}

daybook_status daybook_engine_get_info(daybook_engine *engine, daybook_engine_info *info_out,
                                       daybook_error *error) {
    if (engine == NULL) return no_engine(error);
    if (info_out == NULL || info_out->size < sizeof *info_out)
        return dbk_fail(
            error, DAYBOOK_EMISUSE,
            "nowhere to put what is known of the store: pass a daybook_engine_info with its size");
    if (engine->calls->get_info == NULL)
        return dbk_fail(error, DAYBOOK_EUNSUPPORTED, "engine '%s' cannot say which store is behind it",
                        engine->name);
    *info_out = (daybook_engine_info){.size = sizeof *info_out};
    return engine->calls->get_info(engine, info_out, error);
}

// The calls.

daybook_status daybook_engine_append(daybook_engine *engine, const daybook_event *events, size_t count,
                                     const daybook_append_options *options, daybook_receipt *receipts,
                                     daybook_error *error) {
    if (engine == NULL) return no_engine(error);
    if (options != NULL && options->condition_count > 0 &&
        (options->conditions == NULL || options->conditions->size < sizeof *options->conditions))
        return dbk_fail(error, DAYBOOK_EMISUSE,
                        "the conditions were not initialised: begin each with daybook_condition_init");
    DBK_TRY(daybook_engine_require(engine, daybook_engine_append_needs(options), "this append", error));
    return engine->calls->append(engine, events, count, options, receipts, error);
}

static daybook_status check_query(const daybook_engine *engine, const daybook_query *query,
                                  daybook_error *error) {
    if (engine == NULL) return no_engine(error);
    if (query == NULL || query->size < sizeof *query)
        return dbk_fail(error, DAYBOOK_EMISUSE,
                        "the query was not initialised: begin it with daybook_query_init");
    return daybook_engine_require(engine, daybook_engine_query_needs(query), "this read", error);
}

daybook_status daybook_engine_read(daybook_engine *engine, const daybook_query *query,
                                   daybook_engine_cursor **cursor_out, daybook_error *error) {
    if (cursor_out == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE,
                        "nowhere to put the cursor: pass a pointer to one as cursor_out");
    *cursor_out = NULL;
    DBK_TRY(check_query(engine, query, error));
    return engine->calls->read(engine, query, cursor_out, error);
}

daybook_status daybook_engine_next(daybook_engine_cursor *cursor, int timeout_ms,
                                   daybook_recorded_event *event_out, daybook_error *error) {
    if (cursor == NULL || event_out == NULL)
        return dbk_fail(
            error, DAYBOOK_EMISUSE,
            "no cursor, or nowhere to put the event: pass an open cursor and a pointer as event_out");
    return cursor->calls->next(cursor, timeout_ms, event_out, error);
}

void daybook_engine_interrupt(daybook_engine_cursor *cursor) {
    if (cursor != NULL) cursor->calls->interrupt(cursor);
}

void daybook_engine_cursor_close(daybook_engine_cursor *cursor) {
    if (cursor != NULL) cursor->calls->cursor_close(cursor);
}

daybook_status daybook_engine_count(daybook_engine *engine, const daybook_query *query, uint64_t *count_out,
                                    daybook_error *error) {
    if (count_out == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE, "nowhere to put the count: pass a pointer as count_out");
    DBK_TRY(check_query(engine, query, error));
    return engine->calls->count(engine, query, count_out, error);
}

daybook_status daybook_engine_list(daybook_engine *engine, int kind, daybook_slice stream,
                                   daybook_slice filter,
                                   int (*visit)(void *context, const daybook_list_entry *entry),
                                   void *context, daybook_error *error) {
    if (engine == NULL) return no_engine(error);
    if (visit == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "nobody to tell: pass a function as visit");
    uint64_t needs = stream.size == 0 ? (uint64_t)DAYBOOK_ENGINE_POSITION : 0;
    if (kind == DAYBOOK_LIST_AGGREGATES) needs |= DAYBOOK_ENGINE_VERSION;
    if (kind == DAYBOOK_LIST_TYPES) needs |= DAYBOOK_ENGINE_EVENTS_MATCH;
    DBK_TRY(daybook_engine_require(engine, needs, "this list", error));
    return engine->calls->list(engine, kind, stream, filter, visit, context, error);
}

daybook_status daybook_engine_stream_add(daybook_engine *engine, const daybook_stream_config *config,
                                         daybook_error *error) {
    return engine == NULL ? no_engine(error) : engine->calls->stream_add(engine, config, error);
}

daybook_status daybook_engine_stream_update(daybook_engine *engine, const daybook_stream_config *config,
                                            daybook_error *error) {
    return engine == NULL ? no_engine(error) : engine->calls->stream_update(engine, config, error);
}

daybook_status daybook_engine_stream_remove(daybook_engine *engine, daybook_slice name,
                                            daybook_error *error) {
    return engine == NULL ? no_engine(error) : engine->calls->stream_remove(engine, name, error);
}

daybook_status daybook_engine_stream_info(daybook_engine *engine, daybook_slice name,
                                          daybook_stream_info **info_out, daybook_error *error) {
    if (engine == NULL) return no_engine(error);
    if (info_out == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE,
                        "nowhere to put what is known of the stream: pass a pointer as info_out");
    return engine->calls->stream_info(engine, name, info_out, error);
}

void daybook_engine_stream_info_release(daybook_engine *engine, daybook_stream_info *info) {
    if (engine != NULL && info != NULL) engine->calls->stream_info_release(engine, info);
}

daybook_status daybook_engine_stream_find(daybook_engine *engine, daybook_slice subject,
                                          daybook_slice *name_out, daybook_error *error) {
    if (engine == NULL) return no_engine(error);
    if (name_out == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE,
                        "nowhere to put the stream's name: pass a pointer as name_out");
    return engine->calls->stream_find(engine, subject, name_out, error);
}

daybook_status daybook_engine_stream_purge(daybook_engine *engine, daybook_slice name,
                                           const daybook_purge_options *options, uint64_t *removed_count_out,
                                           daybook_error *error) {
    if (engine == NULL) return no_engine(error);
    if (options != NULL && options->erase)
        DBK_TRY(daybook_engine_require(engine, DAYBOOK_ENGINE_ERASE, "this purge", error));
    return engine->calls->stream_purge(engine, name, options, removed_count_out, error);
}

// Consumers.

static daybook_status check_consumer(const daybook_engine *engine, const daybook_consumer_config *config,
                                     daybook_error *error) {
    if (engine == NULL) return no_engine(error);
    if (config == NULL || config->size < sizeof *config)
        return dbk_fail(error, DAYBOOK_EMISUSE,
                        "the configuration was not initialised: begin it with daybook_consumer_config_init");
    return daybook_engine_require(engine, daybook_engine_consumer_needs(config), "this consumer", error);
}

static daybook_status no_consumer(daybook_error *error) {
    return dbk_fail(error, DAYBOOK_EMISUSE,
                    "no consumer: open one with daybook_engine_consumer_open or _add");
}

daybook_status daybook_engine_consumer_add(daybook_engine *engine, daybook_slice stream,
                                           const daybook_consumer_config *config,
                                           daybook_engine_consumer **consumer_out, daybook_error *error) {
    if (consumer_out != NULL) *consumer_out = NULL;
    DBK_TRY(check_consumer(engine, config, error));
    return engine->calls->consumer_add(engine, stream, config, consumer_out, error);
}

daybook_status daybook_engine_consumer_update(daybook_engine *engine, daybook_slice stream,
                                              const daybook_consumer_config *config, daybook_error *error) {
    DBK_TRY(check_consumer(engine, config, error));
    return engine->calls->consumer_update(engine, stream, config, error);
}

daybook_status daybook_engine_consumer_pause(daybook_engine *engine, daybook_slice stream, daybook_slice name,
                                             int64_t until_ns, daybook_error *error) {
    return engine == NULL ? no_engine(error)
                          : engine->calls->consumer_pause(engine, stream, name, until_ns, error);
}

daybook_status daybook_engine_consumer_remove(daybook_engine *engine, daybook_slice stream,
                                              daybook_slice name, daybook_error *error) {
    return engine == NULL ? no_engine(error) : engine->calls->consumer_remove(engine, stream, name, error);
}

daybook_status daybook_engine_consumer_info(daybook_engine *engine, daybook_slice stream, daybook_slice name,
                                            daybook_consumer_info **info_out, daybook_error *error) {
    if (engine == NULL) return no_engine(error);
    if (info_out == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE,
                        "nowhere to put what is known of the consumer: pass a pointer as info_out");
    return engine->calls->consumer_info(engine, stream, name, info_out, error);
}

void daybook_engine_consumer_info_release(daybook_engine *engine, daybook_consumer_info *info) {
    if (engine != NULL && info != NULL) engine->calls->consumer_info_release(engine, info);
}

daybook_status daybook_engine_consumer_list(daybook_engine *engine, daybook_slice stream,
                                            int (*visit)(void *context, const daybook_consumer_info *info),
                                            void *context, daybook_error *error) {
    if (visit == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "nobody to tell: pass a function as visit");
    uint64_t needs = stream.size == 0 ? (uint64_t)DAYBOOK_ENGINE_POSITION : 0;
    DBK_TRY(daybook_engine_require(engine, needs, "this list", error));
    return engine->calls->consumer_list(engine, stream, visit, context, error);
}

daybook_status daybook_engine_consumer_open(daybook_engine *engine, daybook_slice stream, daybook_slice name,
                                            daybook_engine_consumer **consumer_out, daybook_error *error) {
    if (consumer_out == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE,
                        "nowhere to put the consumer: pass a pointer to one as consumer_out");
    *consumer_out = NULL;
    if (engine == NULL) return no_engine(error);
    return engine->calls->consumer_open(engine, stream, name, consumer_out, error);
}

void daybook_engine_consumer_close(daybook_engine_consumer *consumer) {
    if (consumer != NULL) consumer->calls->consumer_close(consumer);
}

daybook_slice daybook_engine_consumer_name(const daybook_engine_consumer *consumer) {
    return consumer == NULL ? daybook_bytes(NULL, 0) : consumer->calls->consumer_name(consumer);
}

void daybook_engine_consumer_interrupt(daybook_engine_consumer *consumer) {
    if (consumer != NULL) consumer->calls->consumer_interrupt(consumer);
}

daybook_status daybook_engine_consumer_fetch(daybook_engine_consumer *consumer,
                                             const daybook_fetch_options *options, daybook_batch **batch_out,
                                             daybook_error *error) {
    if (batch_out == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE, "nowhere to put the batch: pass a pointer as batch_out");
    *batch_out = NULL;
    if (consumer == NULL) return no_consumer(error);
    return consumer->calls->consumer_fetch(consumer, options, batch_out, error);
}

void daybook_engine_batch_release(daybook_engine_consumer *consumer, daybook_batch *batch) {
    if (consumer != NULL && batch != NULL) consumer->calls->batch_release(consumer, batch);
}

daybook_status daybook_engine_consumer_ack(daybook_engine_consumer *consumer, uint64_t seq, unsigned flags,
                                           daybook_error *error) {
    return consumer == NULL ? no_consumer(error) : consumer->calls->consumer_ack(consumer, seq, flags, error);
}

daybook_status daybook_engine_consumer_nak(daybook_engine_consumer *consumer, uint64_t seq, int64_t delay_ns,
                                           daybook_error *error) {
    return consumer == NULL ? no_consumer(error)
                            : consumer->calls->consumer_nak(consumer, seq, delay_ns, error);
}

daybook_status daybook_engine_consumer_progress(daybook_engine_consumer *consumer, uint64_t seq,
                                                daybook_error *error) {
    return consumer == NULL ? no_consumer(error) : consumer->calls->consumer_progress(consumer, seq, error);
}

daybook_status daybook_engine_consumer_term(daybook_engine_consumer *consumer, uint64_t seq,
                                            daybook_slice reason, daybook_error *error) {
    return consumer == NULL ? no_consumer(error)
                            : consumer->calls->consumer_term(consumer, seq, reason, error);
}

// What daybook_append_options.acks names comes back to the engine it is of, which alone knows what it is.
daybook_consumer *daybook_engine_consumer_for_ack(daybook_engine_consumer *consumer) {
    return (daybook_consumer *)(void *)consumer;
}
