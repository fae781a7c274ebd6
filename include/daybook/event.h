/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Events: what a producer says (daybook_event) and what the store gives back
 * (daybook_recorded_event).
 *
 *     daybook_event event;
 *     daybook_event_init(&event);
 *     event.subject = daybook_text("orders.123.shipped");
 *     event.data = daybook_text("{\"carrier\":\"DHL\"}");
 *
 * Text is UTF-8 without control characters. Absent fields are empty slices.
 */
#ifndef DAYBOOK_EVENT_H
#define DAYBOOK_EVENT_H

#include "daybook/slice.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DAYBOOK_SUBJECT_SIZE_MAX 1024   /* bytes of a subject or filter */
#define DAYBOOK_TEXT_SIZE_MAX 255       /* bytes of id, type, schema, correlation, causation, actor, tag */
#define DAYBOOK_TAG_COUNT_MAX 128       /* tags of one event */
#define DAYBOOK_HEADER_COUNT_MAX 256    /* headers of one event */
#define DAYBOOK_HEADER_SIZE_MAX 65535   /* bytes of one header's value; a name has DAYBOOK_TEXT_SIZE_MAX */
#define DAYBOOK_BATCH_COUNT_MAX 65535   /* events of one append */
#define DAYBOOK_BATCH_SIZE_MAX 16777216 /* bytes of one append, encoded */

/** `time_ns` not given: the store takes the time it records the event. */
#define DAYBOOK_TIME_NONE INT64_MIN

#define DAYBOOK_TTL_NEVER (-1)       /* ttl_s: the event does not expire, also not by its stream's max_age */
#define DAYBOOK_TTL_S_MAX 2147483647 /* seconds of an event's own time to live */

typedef struct daybook_header {
    daybook_slice name;  /* 1 to 255 bytes, printable ASCII without ':' and space */
    daybook_slice value; /* 0 to 65,535 bytes UTF-8 without control characters other than tab */
} daybook_header;

/** Borrowed by every call it is passed to. In arrays, `size` of the first element is the stride. */
typedef struct daybook_event {
    size_t size;               /* set by daybook_event_init */
    daybook_slice subject;     /* required, no wildcards */
    daybook_slice data;        /* opaque bytes, may be empty */
    daybook_slice id;          /* unique in its stream; empty: a UUIDv7 is made */
    daybook_slice type;        /* empty: derived from the subject (the tokens after the aggregate) */
    daybook_slice schema;      /* version of the event's schema, "1.2.0" */
    daybook_slice correlation; /* what it belongs to */
    daybook_slice causation;   /* the id of the event that caused it */
    daybook_slice actor;       /* who */
    int64_t time_ns;           /* when it happened, since the Unix epoch; DAYBOOK_TIME_NONE: now */
    const daybook_slice *tags;
    size_t tag_count;
    const daybook_header *headers;
    size_t header_count;
    /** Seconds after which the event is gone, counted from when it was recorded; 0: none of its own.
     *  DAYBOOK_TTL_NEVER, or up to DAYBOOK_TTL_S_MAX. The stream must allow it (DAYBOOK_STREAM_ALLOW_TTL).
     *  A shorter max_age of the stream comes first. */
    int64_t ttl_s;
} daybook_event;

/** Empty event: sets `size` and `time_ns` = DAYBOOK_TIME_NONE, zeroes the rest. */
DAYBOOK_API void daybook_event_init(daybook_event *event);

/**
 * An event as stored. All slices and arrays are borrowed from the cursor that gave it and are valid
 * until the next call on that cursor. `event.type` is filled in where it was derived.
 */
typedef struct daybook_recorded_event {
    size_t size;
    daybook_event event;
    daybook_slice stream;    /* name */
    daybook_slice aggregate; /* leading tokens of the subject; empty for a subject without */
    uint64_t seq;            /* in its stream: 1, 2, 3 ..., or as they were given (append.h) */
    uint64_t position;       /* in the store, strictly increasing in commit order */
    uint64_t version;        /* in its aggregate: 1, 2, 3 ...; 0 without aggregate */
    int64_t recorded_ns;     /* when the store wrote it; never goes back */
} daybook_recorded_event;

#ifdef __cplusplus
}
#endif
#endif
