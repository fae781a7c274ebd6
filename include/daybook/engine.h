/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The engine: what the toolkit stands on. An open store is one; a NATS JetStream cluster can be another, and
 * so can a wrapper that counts or traces.
 *
 *     daybook_engine *engine = daybook_store_engine(store);
 *     daybook_state_load(engine, daybook_text("orders.123"), NULL, &state, &error);
 *
 * Every engine gives the core. What goes beyond it is a named capability; a call that needs one the engine
 * lacks fails with EUNSUPPORTED and says which, and never does less than it was asked to.
 *
 * The core: append one event or a batch into one stream, under at most one condition (EXPECT_STREAM_SEQ or
 * EXPECT_SUBJECT_SEQ, wildcards allowed); read one stream by filters, seq bounds, `recorded_since`, last per
 * subject, limit and follow, or its newest event (REVERSE with limit 1); streams; purge; consumers.
 * How each call maps to JetStream: docs/design/engine.md.
 */
#ifndef DAYBOOK_ENGINE_H
#define DAYBOOK_ENGINE_H

#include "daybook/append.h"
#include "daybook/consumer.h"
#include "daybook/read.h"
#include "daybook/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

/* X(name, bit, word, text): what an engine may give beyond the core. Bits are part of the ABI. */
#define DAYBOOK_ENGINE_CAPABILITY_MAP(X)                                                            \
    X(POSITION, 0, "position", "one order over all streams, and reads over several")                \
    X(VERSION, 1, "version", "versions of aggregates counted by the store, and conditions on them") \
    X(EVENTS_MATCH, 2, "events-match", "types, tags and query items, in reads and in conditions")   \
    X(SEVERAL_STREAMS, 3, "several-streams", "one atomic batch over several streams")               \
    X(CONDITIONS, 4, "conditions", "several conditions in one append")                              \
    X(TRACING, 5, "tracing", "reads by id, correlation, causation and actor")                       \
    X(REVERSE, 6, "reverse", "reading backwards further than the newest event")                     \
    X(TIME, 7, "time", "reads by `time`, and up to a time of recording")                            \
    X(ID_FOR_EVER, 8, "id-for-ever", "an event's id is known as long as the event is stored")       \
    X(ERASE, 9, "erase", "overwriting the bytes of removed events")                                 \
    X(APPEND_AND_ACK, 10, "append-and-ack", "acknowledging messages in the commit of an append")    \
    X(IN_ORDER, 11, "in-order", "consumers with one message of an aggregate in flight at a time")

enum daybook_engine_capability {
#define DAYBOOK_ENGINE_CAPABILITY_ENUM(name, bit, word, text) DAYBOOK_ENGINE_##name = 1 << (bit),
    DAYBOOK_ENGINE_CAPABILITY_MAP(DAYBOOK_ENGINE_CAPABILITY_ENUM)
#undef DAYBOOK_ENGINE_CAPABILITY_ENUM
};

typedef struct daybook_engine daybook_engine;
typedef struct daybook_engine_cursor daybook_engine_cursor;
typedef struct daybook_engine_consumer daybook_engine_consumer;

/** The open store as an engine. Borrowed: it lives as long as the store. NULL for NULL. Any thread. */
DAYBOOK_API daybook_engine *daybook_store_engine(daybook_store *store);

DAYBOOK_API const char *daybook_engine_name(const daybook_engine *engine);
/** The bits of daybook_engine_capability that it has. */
DAYBOOK_API uint64_t daybook_engine_capabilities(const daybook_engine *engine);
/** "position" and so on, for one bit; NULL for a bit that is none. Static storage. */
DAYBOOK_API const char *daybook_engine_capability_name(uint64_t capability);
/** 1 where nothing can be appended, because it was opened for reading only. */
DAYBOOK_API int daybook_engine_is_read_only(const daybook_engine *engine);

/**
 * OK where the engine has all of `capabilities`, else EUNSUPPORTED with a message that names the first
 * missing one and `who` needs it. To be asked once at start rather than found out in the middle.
 */
DAYBOOK_API daybook_status daybook_engine_require(const daybook_engine *engine, uint64_t capabilities,
                                                  const char *who, daybook_error *error);

/** Which store is behind an engine, and how far it goes. */
typedef struct daybook_engine_info {
    size_t size;
    char store[37]; /* UUID of the store, which a backup of it keeps; "" where the engine has none */
    uint64_t durable_position; /* what readers see, removed events counted; 0 without POSITION */
} daybook_engine_info;

/** EUNSUPPORTED where the engine cannot say. `info_out->size` is set by the caller. */
DAYBOOK_API daybook_status daybook_engine_get_info(daybook_engine *engine, daybook_engine_info *info_out,
                                                   daybook_error *error);

/* The calls. Each is that of append.h, read.h, stream.h or consumer.h; what is said there holds here. */

/** Without POSITION the receipts' `position` is the seq, without VERSION their `version` is 0. */
DAYBOOK_API daybook_status daybook_engine_append(daybook_engine *engine, const daybook_event *events,
                                                 size_t count, const daybook_append_options *options,
                                                 daybook_receipt *receipts, daybook_error *error);
/** Likewise for events: `position` is the seq, `version` 0 and `aggregate` empty. */
DAYBOOK_API daybook_status daybook_engine_read(daybook_engine *engine, const daybook_query *query,
                                               daybook_engine_cursor **cursor_out, daybook_error *error);
DAYBOOK_API daybook_status daybook_engine_next(daybook_engine_cursor *cursor, int timeout_ms,
                                               daybook_recorded_event *event_out, daybook_error *error);
/** Any thread. */
DAYBOOK_API void daybook_engine_interrupt(daybook_engine_cursor *cursor);
DAYBOOK_API void daybook_engine_cursor_close(daybook_engine_cursor *cursor);
DAYBOOK_API daybook_status daybook_engine_count(daybook_engine *engine, const daybook_query *query,
                                                uint64_t *count_out, daybook_error *error);
/** Aggregates need VERSION, types EVENTS_MATCH. */
DAYBOOK_API daybook_status daybook_engine_list(daybook_engine *engine, int kind, daybook_slice stream,
                                               daybook_slice filter,
                                               int (*visit)(void *context, const daybook_list_entry *entry),
                                               void *context, daybook_error *error);
DAYBOOK_API daybook_status daybook_engine_stream_add(daybook_engine *engine,
                                                     const daybook_stream_config *config,
                                                     daybook_error *error);
DAYBOOK_API daybook_status daybook_engine_stream_update(daybook_engine *engine,
                                                        const daybook_stream_config *config,
                                                        daybook_error *error);
DAYBOOK_API daybook_status daybook_engine_stream_remove(daybook_engine *engine, daybook_slice name,
                                                        daybook_error *error);
/** Released with daybook_engine_stream_info_release. */
DAYBOOK_API daybook_status daybook_engine_stream_info(daybook_engine *engine, daybook_slice name,
                                                      daybook_stream_info **info_out, daybook_error *error);
DAYBOOK_API void daybook_engine_stream_info_release(daybook_engine *engine, daybook_stream_info *info);
DAYBOOK_API daybook_status daybook_engine_stream_find(daybook_engine *engine, daybook_slice subject,
                                                      daybook_slice *name_out, daybook_error *error);
DAYBOOK_API daybook_status daybook_engine_stream_purge(daybook_engine *engine, daybook_slice name,
                                                       const daybook_purge_options *options,
                                                       uint64_t *removed_count_out, daybook_error *error);

/* Consumers: the calls of consumer.h, with a handle of the engine's own. */

DAYBOOK_API daybook_status daybook_engine_consumer_add(daybook_engine *engine, daybook_slice stream,
                                                       const daybook_consumer_config *config,
                                                       daybook_engine_consumer **consumer_out,
                                                       daybook_error *error);
DAYBOOK_API daybook_status daybook_engine_consumer_update(daybook_engine *engine, daybook_slice stream,
                                                          const daybook_consumer_config *config,
                                                          daybook_error *error);
DAYBOOK_API daybook_status daybook_engine_consumer_pause(daybook_engine *engine, daybook_slice stream,
                                                         daybook_slice name, int64_t until_ns,
                                                         daybook_error *error);
DAYBOOK_API daybook_status daybook_engine_consumer_remove(daybook_engine *engine, daybook_slice stream,
                                                          daybook_slice name, daybook_error *error);
/** Released with daybook_engine_consumer_info_release. */
DAYBOOK_API daybook_status daybook_engine_consumer_info(daybook_engine *engine, daybook_slice stream,
                                                        daybook_slice name, daybook_consumer_info **info_out,
                                                        daybook_error *error);
DAYBOOK_API void daybook_engine_consumer_info_release(daybook_engine *engine, daybook_consumer_info *info);
/** Of one stream; of all (empty) with POSITION. */
DAYBOOK_API daybook_status daybook_engine_consumer_list(daybook_engine *engine, daybook_slice stream,
                                                        int (*visit)(void *context,
                                                                     const daybook_consumer_info *info),
                                                        void *context, daybook_error *error);
DAYBOOK_API daybook_status daybook_engine_consumer_open(daybook_engine *engine, daybook_slice stream,
                                                        daybook_slice name,
                                                        daybook_engine_consumer **consumer_out,
                                                        daybook_error *error);
DAYBOOK_API void daybook_engine_consumer_close(daybook_engine_consumer *consumer);
DAYBOOK_API daybook_slice daybook_engine_consumer_name(const daybook_engine_consumer *consumer);
DAYBOOK_API void daybook_engine_consumer_interrupt(daybook_engine_consumer *consumer);
/** `*batch_out` is released with daybook_engine_batch_release. */
DAYBOOK_API daybook_status daybook_engine_consumer_fetch(daybook_engine_consumer *consumer,
                                                         const daybook_fetch_options *options,
                                                         daybook_batch **batch_out, daybook_error *error);
DAYBOOK_API void daybook_engine_batch_release(daybook_engine_consumer *consumer, daybook_batch *batch);
DAYBOOK_API daybook_status daybook_engine_consumer_ack(daybook_engine_consumer *consumer, uint64_t seq,
                                                       unsigned flags, daybook_error *error);
DAYBOOK_API daybook_status daybook_engine_consumer_nak(daybook_engine_consumer *consumer, uint64_t seq,
                                                       int64_t delay_ns, daybook_error *error);
DAYBOOK_API daybook_status daybook_engine_consumer_progress(daybook_engine_consumer *consumer, uint64_t seq,
                                                            daybook_error *error);
DAYBOOK_API daybook_status daybook_engine_consumer_term(daybook_engine_consumer *consumer, uint64_t seq,
                                                        daybook_slice reason, daybook_error *error);
/** The consumer as daybook_append_options.acks takes it (APPEND_AND_ACK). */
DAYBOOK_API daybook_consumer *daybook_engine_consumer_for_ack(daybook_engine_consumer *consumer);

/* For who writes an engine. */

/** What a query or an append asks beyond the core; daybook_engine_read and the others check it. */
DAYBOOK_API uint64_t daybook_engine_query_needs(const daybook_query *query);
DAYBOOK_API uint64_t daybook_engine_append_needs(const daybook_append_options *options);
DAYBOOK_API uint64_t daybook_engine_consumer_needs(const daybook_consumer_config *config);

/**
 * One function per call above, same contracts. They are reached only with an engine, a query and room for
 * results, and never with what the engine's capabilities do not cover.
 */
typedef struct daybook_engine_calls {
    size_t size;
    daybook_status (*append)(daybook_engine *engine, const daybook_event *events, size_t count,
                             const daybook_append_options *options, daybook_receipt *receipts,
                             daybook_error *error);
    daybook_status (*read)(daybook_engine *engine, const daybook_query *query,
                           daybook_engine_cursor **cursor_out, daybook_error *error);
    daybook_status (*next)(daybook_engine_cursor *cursor, int timeout_ms, daybook_recorded_event *event_out,
                           daybook_error *error);
    void (*interrupt)(daybook_engine_cursor *cursor);
    void (*cursor_close)(daybook_engine_cursor *cursor);
    daybook_status (*count)(daybook_engine *engine, const daybook_query *query, uint64_t *count_out,
                            daybook_error *error);
    daybook_status (*list)(daybook_engine *engine, int kind, daybook_slice stream, daybook_slice filter,
                           int (*visit)(void *context, const daybook_list_entry *entry), void *context,
                           daybook_error *error);
    daybook_status (*stream_add)(daybook_engine *engine, const daybook_stream_config *config,
                                 daybook_error *error);
    daybook_status (*stream_update)(daybook_engine *engine, const daybook_stream_config *config,
                                    daybook_error *error);
    daybook_status (*stream_remove)(daybook_engine *engine, daybook_slice name, daybook_error *error);
    daybook_status (*stream_info)(daybook_engine *engine, daybook_slice name, daybook_stream_info **info_out,
                                  daybook_error *error);
    void (*stream_info_release)(daybook_engine *engine, daybook_stream_info *info);
    daybook_status (*stream_find)(daybook_engine *engine, daybook_slice subject, daybook_slice *name_out,
                                  daybook_error *error);
    daybook_status (*stream_purge)(daybook_engine *engine, daybook_slice name,
                                   const daybook_purge_options *options, uint64_t *removed_count_out,
                                   daybook_error *error);
    daybook_status (*consumer_add)(daybook_engine *engine, daybook_slice stream,
                                   const daybook_consumer_config *config,
                                   daybook_engine_consumer **consumer_out, daybook_error *error);
    daybook_status (*consumer_update)(daybook_engine *engine, daybook_slice stream,
                                      const daybook_consumer_config *config, daybook_error *error);
    daybook_status (*consumer_pause)(daybook_engine *engine, daybook_slice stream, daybook_slice name,
                                     int64_t until_ns, daybook_error *error);
    daybook_status (*consumer_remove)(daybook_engine *engine, daybook_slice stream, daybook_slice name,
                                      daybook_error *error);
    daybook_status (*consumer_info)(daybook_engine *engine, daybook_slice stream, daybook_slice name,
                                    daybook_consumer_info **info_out, daybook_error *error);
    void (*consumer_info_release)(daybook_engine *engine, daybook_consumer_info *info);
    daybook_status (*consumer_list)(daybook_engine *engine, daybook_slice stream,
                                    int (*visit)(void *context, const daybook_consumer_info *info),
                                    void *context, daybook_error *error);
    daybook_status (*consumer_open)(daybook_engine *engine, daybook_slice stream, daybook_slice name,
                                    daybook_engine_consumer **consumer_out, daybook_error *error);
    void (*consumer_close)(daybook_engine_consumer *consumer);
    daybook_slice (*consumer_name)(const daybook_engine_consumer *consumer);
    void (*consumer_interrupt)(daybook_engine_consumer *consumer);
    daybook_status (*consumer_fetch)(daybook_engine_consumer *consumer, const daybook_fetch_options *options,
                                     daybook_batch **batch_out, daybook_error *error);
    void (*batch_release)(daybook_engine_consumer *consumer, daybook_batch *batch);
    daybook_status (*consumer_ack)(daybook_engine_consumer *consumer, uint64_t seq, unsigned flags,
                                   daybook_error *error);
    daybook_status (*consumer_nak)(daybook_engine_consumer *consumer, uint64_t seq, int64_t delay_ns,
                                   daybook_error *error);
    daybook_status (*consumer_progress)(daybook_engine_consumer *consumer, uint64_t seq,
                                        daybook_error *error);
    daybook_status (*consumer_term)(daybook_engine_consumer *consumer, uint64_t seq, daybook_slice reason,
                                    daybook_error *error);
    /* May be NULL. `info_out` comes with all zero but its size. */
    daybook_status (*get_info)(daybook_engine *engine, daybook_engine_info *info_out, daybook_error *error);
} daybook_engine_calls;

/** An engine begins with this; what it needs besides comes behind. Constant while anybody uses it. */
struct daybook_engine {
    size_t size;
    const char *name;
    uint64_t capabilities;
    int read_only;
    const daybook_engine_calls *calls;
};

/** So does a cursor, which one thread at a time uses. */
struct daybook_engine_cursor {
    const daybook_engine_calls *calls;
};

/** And a consumer. */
struct daybook_engine_consumer {
    const daybook_engine_calls *calls;
};

#ifdef __cplusplus
}
#endif
#endif
