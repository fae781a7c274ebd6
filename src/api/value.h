// SPDX-License-Identifier: Apache-2.0
// What the objects of JetStream's JSON are made of: lists, metadata, and texts of times and durations as Go's
// encoding/json, time and strconv write and read them, so that an answer of ours has the same bytes.
//
// Pure. Slices are borrowed: from the arena that a request was read into, or from the caller.
#ifndef DBK_API_VALUE_H
#define DBK_API_VALUE_H

#include "base/memory.h"

typedef struct dbk_api_texts {
    const dbk_slice *items;
    size_t count;
} dbk_api_texts;

typedef struct dbk_api_numbers {
    const uint64_t *items;
    size_t count;
} dbk_api_numbers;

typedef struct dbk_api_durations {
    const int64_t *items; // nanoseconds
    size_t count;
} dbk_api_durations;

/// Structs that lie one after the other; which, its field says.
typedef struct dbk_api_objects {
    const void *items;
    size_t count;
} dbk_api_objects;

typedef struct dbk_api_pair {
    dbk_slice name;
    dbk_slice value;
} dbk_api_pair;

/// Ascending by name, no name twice.
typedef struct dbk_api_metadata {
    const dbk_api_pair *items;
    size_t count;
} dbk_api_metadata;

typedef struct dbk_api_count {
    dbk_slice subject;
    uint64_t count;
} dbk_api_count;

/// Ascending by subject, none twice.
typedef struct dbk_api_counts {
    const dbk_api_count *items;
    size_t count;
} dbk_api_counts;

// Writers append to `out`; failures stay in it (dbk_buf_status).

/// A JSON string in standard base64 with padding.
void dbk_api_write_base64(dbk_buf *out, dbk_slice bytes);
/// A JSON string in RFC 3339, UTC, fraction without trailing zeros; 0 is Go's zero time
/// "0001-01-01T00:00:00Z".
void dbk_api_write_time(dbk_buf *out, int64_t time_ns);

/// RFC 3339 with an offset, as Go reads a time in JSON. Go's zero time gives 0, the epoch itself 1 (0 is
/// none), what lies beyond the years 1678 to 2261 their first or last nanosecond. False for anything else.
bool dbk_api_parse_time(dbk_slice text, int64_t *time_ns_out);
/// The header Nats-TTL: seconds, a duration of at least 1 s, or "never" in any case of letters.
/// @param ttl_ns_out  a whole number of seconds; 0: no TTL of its own; -1: never
/// @return false: MESSAGE_TTL_INVALID
bool dbk_api_parse_ttl(dbk_slice text, int64_t *ttl_ns_out);

enum { DBK_API_NAME_SIZE_MAX = 255 };
/// JetStream's rule for names of streams and consumers: not empty, at most 255 bytes, no white space, control
/// character, '.', '*', '>', '/', '\\'.
bool dbk_api_name_is_valid(dbk_slice name);

#endif
