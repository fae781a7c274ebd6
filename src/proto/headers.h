// SPDX-License-Identifier: Apache-2.0
// Header blocks of messages, read in place and written.
//
//     dbk_headers headers;
//     if (!dbk_headers_open(block, &headers)) …            // not a header block
//     while (dbk_headers_next(&headers, &name, &value)) …
//     if (headers.is_malformed) …                           // a line was none, or the end was missing
//
// Format (NATS ADR-4): "NATS/1.0", then, in what a server says, a blank, a status of three digits and a blank
// with a description; CR LF; lines "Name: value" CR LF; CR LF. Names keep their case and are compared with
// it; a name may come several times, and order counts. Blanks around a value are left out.
//
// Lines that are none are passed over, and said so: a server hands on what it does not understand.
//
// Publish headers are all found in one pass over the block, by length and one comparison, so that a publish
// with ten of them costs no ten searches.
//
// Pure: no allocation when reading; slices are borrowed from the block.
#ifndef DBK_PROTO_HEADERS_H
#define DBK_PROTO_HEADERS_H

#include <stdbool.h>

#include "base/memory.h"
#include "base/number.h"

typedef struct dbk_headers {
    unsigned status; // 0: none
    dbk_slice description;
    dbk_slice left; // lines not read yet
    bool is_malformed;
} dbk_headers;

/// false: the first line is not that of a header block; there is nothing to read then.
bool dbk_headers_open(dbk_slice block, dbk_headers *headers_out);
/// false: there are no more.
bool dbk_headers_next(dbk_headers *headers, dbk_slice *name_out, dbk_slice *value_out);
/// The first value of `name`; false where there is none, value_out is then untouched. O(block).
bool dbk_headers_find(dbk_slice block, dbk_slice name, dbk_slice *value_out);

// What a publisher asks of a stream.

#define DBK_PUBLISH_HEADERS(X)                                               \
    X(MSG_ID, "Nats-Msg-Id")                                                 \
    X(EXPECTED_STREAM, "Nats-Expected-Stream")                               \
    X(EXPECTED_LAST_SEQUENCE, "Nats-Expected-Last-Sequence")                 \
    X(EXPECTED_LAST_MSG_ID, "Nats-Expected-Last-Msg-Id")                     \
    X(EXPECTED_LAST_SUBJECT_SEQUENCE, "Nats-Expected-Last-Subject-Sequence") \
    X(EXPECTED_LAST_SUBJECT, "Nats-Expected-Last-Subject-Sequence-Subject")  \
    X(ROLLUP, "Nats-Rollup")                                                 \
    X(TTL, "Nats-TTL")                                                       \
    X(MARKER_REASON, "Nats-Marker-Reason")                                   \
    X(INCREMENT, "Nats-Incr")                                                \
    X(BATCH_ID, "Nats-Batch-Id")                                             \
    X(BATCH_SEQUENCE, "Nats-Batch-Sequence")                                 \
    X(BATCH_COMMIT, "Nats-Batch-Commit")                                     \
    X(SCHEDULE, "Nats-Schedule")                                             \
    X(SCHEDULE_TARGET, "Nats-Schedule-Target")                               \
    X(SCHEDULE_TTL, "Nats-Schedule-TTL")                                     \
    X(SCHEDULE_SOURCE, "Nats-Schedule-Source")                               \
    X(SCHEDULE_ROLLUP, "Nats-Schedule-Rollup")                               \
    X(SCHEDULE_TIME_ZONE, "Nats-Schedule-Time-Zone")                         \
    X(REQUIRED_API_LEVEL, "Nats-Required-Api-Level")                         \
    X(KV_OPERATION, "KV-Operation")

typedef enum dbk_publish_header {
#define DBK_PUBLISH_HEADER_NAME(name, text) DBK_PUBLISH_##name,
    DBK_PUBLISH_HEADERS(DBK_PUBLISH_HEADER_NAME)
#undef DBK_PUBLISH_HEADER_NAME
        DBK_PUBLISH_HEADER_COUNT
} dbk_publish_header;

typedef struct dbk_publish_headers {
    uint32_t present;                           // bit DBK_PUBLISH_…: it is there; its value may be empty
    dbk_slice values[DBK_PUBLISH_HEADER_COUNT]; // the first of each name; unset where it is not present
    bool is_malformed;
} dbk_publish_headers;

static inline bool dbk_publish_headers_have(const dbk_publish_headers *headers, dbk_publish_header header) {
    return (headers->present >> header & 1) != 0;
}
/// All of them in one pass. An empty block has none and is not malformed. O(block).
void dbk_publish_headers_read(dbk_slice block, dbk_publish_headers *headers_out);
/// "Nats-Msg-Id" and so on. Static.
dbk_slice dbk_publish_header_name(dbk_publish_header header);

/// What sequence headers hold: digits only, up to 2^64 - 1.
static inline bool dbk_header_number(dbk_slice value, uint64_t *number_out) {
    return dbk_decimal_parse(value, number_out);
}

// Writing: begin, add any number, end.

/// status 0: without.
void dbk_headers_begin(dbk_buf *out, unsigned status, dbk_slice description);
/// The name holds no colon, CR or LF, the value no CR or LF: the caller sees to it.
void dbk_headers_add(dbk_buf *out, dbk_slice name, dbk_slice value);
void dbk_headers_add_number(dbk_buf *out, dbk_slice name, uint64_t number);
void dbk_headers_end(dbk_buf *out);
#endif
