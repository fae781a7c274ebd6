/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Reading: a query opens a cursor, the cursor gives borrowed views of events in order of position.
 *
 *     daybook_query query;
 *     daybook_query_init(&query);
 *     daybook_slice filter = daybook_text("orders.123.>");
 *     query.filters = &filter;
 *     query.filter_count = 1;
 *     daybook_cursor *cursor;
 *     daybook_read(store, &query, &cursor, NULL);
 *     daybook_recorded_event event;
 *     while (daybook_cursor_next(cursor, 0, &event, NULL) == DAYBOOK_OK) { ... }
 *     daybook_cursor_close(cursor);
 *
 * A cursor sees events up to the durable position of the moment it was opened; with FOLLOW it goes
 * on with what becomes durable later, without gap or overlap.
 */
#ifndef DAYBOOK_READ_H
#define DAYBOOK_READ_H

#include "daybook/event.h"
#include "daybook/store.h"

#ifdef __cplusplus
extern "C" {
#endif

/** An event matches an item: one of the types AND all of the tags AND the filter. At least one part. */
typedef struct daybook_query_item {
    size_t size;
    const daybook_slice *types;
    size_t type_count;
    const daybook_slice *tags;
    size_t tag_count;
    daybook_slice filter;
} daybook_query_item;

enum daybook_query_flag {
    DAYBOOK_QUERY_REVERSE = 1,
    DAYBOOK_QUERY_FOLLOW = 2,           /* not with REVERSE */
    DAYBOOK_QUERY_LAST_PER_SUBJECT = 4, /* only the newest matching event of each subject */
    DAYBOOK_QUERY_INTERNAL = 8          /* also streams flagged internal, without naming them */
};

/** All parts given must hold. Empty or 0 (times: DAYBOOK_TIME_NONE) means: no such part. */
typedef struct daybook_query {
    size_t size;
    unsigned flags;
    daybook_slice stream;         /* only this one; empty: all but internal ones */
    const daybook_slice *filters; /* subject matches one of them */
    size_t filter_count;
    const daybook_slice *types; /* one of them */
    size_t type_count;
    const daybook_slice *tags; /* all of them */
    size_t tag_count;
    daybook_slice correlation;
    daybook_slice causation;
    daybook_slice actor;
    daybook_slice id;
    const daybook_query_item *items; /* one of them */
    size_t item_count;
    uint64_t position_from, position_to; /* ends included */
    uint64_t seq_from, seq_to;
    uint64_t version_from, version_to;
    int64_t recorded_since_ns, recorded_until_ns; /* since included, until excluded */
    int64_t time_since_ns, time_until_ns;
    uint64_t limit;
} daybook_query;

DAYBOOK_API void daybook_query_init(daybook_query *query);
DAYBOOK_API void daybook_query_item_init(daybook_query_item *item);

typedef struct daybook_cursor daybook_cursor;

/** The query is copied. ESUBJECT, EINVALID, ENOTFOUND (stream). */
DAYBOOK_API daybook_status daybook_read(daybook_store *store, const daybook_query *query,
                                        daybook_cursor **cursor_out, daybook_error *error);

/**
 * The next event, borrowed until the next call on the cursor.
 * @param timeout_ms  with FOLLOW: how long to wait when caught up; 0 not at all, negative for ever
 * @return OK; END (never with FOLLOW and limit 0); TIMEOUT; EDAMAGED: the block named in error cannot be
 *         read, nor when tried again, and the next call goes on behind it; ECLOSED. After any other status
 *         the same call may be made again and leaves nothing out.
 */
DAYBOOK_API daybook_status daybook_cursor_next(daybook_cursor *cursor, int timeout_ms,
                                               daybook_recorded_event *event_out, daybook_error *error);

/** The position up to which the cursor has seen everything, matching or not. */
DAYBOOK_API uint64_t daybook_cursor_position(const daybook_cursor *cursor);

/** Make a running or coming daybook_cursor_next return ECLOSED; any thread. */
DAYBOOK_API void daybook_cursor_interrupt(daybook_cursor *cursor);

DAYBOOK_API void daybook_cursor_close(daybook_cursor *cursor);

/** The number of events a query gives, counted without copying them. Ignores FOLLOW. */
DAYBOOK_API daybook_status daybook_count(daybook_store *store, const daybook_query *query,
                                         uint64_t *count_out, daybook_error *error);

/**
 * The number of live events of a stream whose seq is `seq_from` or greater, and whose subject matches one of
 * the filters (none: all), by the index: it costs some look-ups where daybook_count reads every one. Events
 * in damaged blocks are counted, too. Where filters overlap or the stream has DAYBOOK_STREAM_ALLOW_TTL it
 * reads as daybook_count does. What is appended or removed meanwhile may be counted or not. Any thread, and
 * stores that are open for reading only.
 * @return OK; ENOTFOUND: no such stream; ESUBJECT: a filter is none; EDAMAGED: of a part neither index nor
 *         events can be read; EIO, ENOMEM, EMISUSE
 */
DAYBOOK_API daybook_status daybook_stream_count(daybook_store *store, daybook_slice stream,
                                                const daybook_slice *filters, size_t filter_count,
                                                uint64_t seq_from, uint64_t *count_out, daybook_error *error);

/* What the store contains, without reading events. */
enum daybook_list_kind { DAYBOOK_LIST_AGGREGATES, DAYBOOK_LIST_SUBJECTS, DAYBOOK_LIST_TYPES };

typedef struct daybook_list_entry {
    size_t size;
    daybook_slice name;   /* aggregate, subject or type; borrowed during the visit */
    daybook_slice stream; /* empty for types */
    uint64_t event_count; /* live events */
    uint64_t last_seq;    /* 0 for types */
    uint64_t last_position;
    uint64_t last_version; /* aggregates: version assigned last */
} daybook_list_entry;

/**
 * Visit every aggregate, subject or type that has a live event, in byte order of (stream id, name).
 * @param stream  empty: all but internal ones
 * @param filter  aggregates and subjects: a subject filter (an aggregate matches where it, or it with
 *                further tokens, would); types: ignored. Empty: all
 */
DAYBOOK_API daybook_status daybook_list(daybook_store *store, int kind, daybook_slice stream,
                                        daybook_slice filter,
                                        int (*visit)(void *context, const daybook_list_entry *entry),
                                        void *context, daybook_error *error);

typedef struct daybook_subjects_options {
    size_t size;
    daybook_slice filter; /* empty: all */
    uint64_t offset;      /* so many of the first are left out */
    uint64_t limit;       /* at most so many are visited; default: no limit; 0: none */
} daybook_subjects_options;

DAYBOOK_API void daybook_subjects_options_init(daybook_subjects_options *options);

/**
 * A page of the subjects of a stream that have live events, in byte order, as daybook_list gives them; and
 * how many there are in all. Only those visited are counted through.
 * @param visit      may be NULL with limit 0; a non-zero return stops: `*total_out` is how many were met then
 * @param total_out  may be NULL: then it ends behind the page
 */
DAYBOOK_API daybook_status daybook_subjects(daybook_store *store, daybook_slice stream,
                                            const daybook_subjects_options *options,
                                            int (*visit)(void *context, const daybook_list_entry *entry),
                                            void *context, uint64_t *total_out, daybook_error *error);

#ifdef __cplusplus
}
#endif
#endif
