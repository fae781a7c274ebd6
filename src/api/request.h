// SPDX-License-Identifier: Apache-2.0
// Requests of JetStream's API as structs.
//
//     dbk_api_purge_request request;
//     if (!dbk_api_read_purge(dial, payload, arena, &request, &error)) return refuse(&error);
//
// An empty payload (or white space, or {}) gives the defaults, which are all 0, false and empty. Names of
// fields are taken in any case of letters, null is nothing said, of a field given twice the last counts, all
// as in Go's encoding/json; a field unknown to the dial's version is passed over or, where the dial is
// strict, refused. A wrong type, a number out of range, and what is no JSON are INVALID_JSON, with Go's words
// where they are plain. Pure but for memory: texts are copied into `arena`. Out of memory is
// INSUFFICIENT_RESOURCES.
#ifndef DBK_API_REQUEST_H
#define DBK_API_REQUEST_H

#include "api/consumer_config.h"

// X(name, struct): each gives bool dbk_api_read_<name>(dial, text, arena, <struct> *out, error).
#define DBK_API_REQUEST_MAP(X)                          \
    X(stream_create, dbk_api_stream_create_request)     \
    X(stream_info, dbk_api_stream_info_request)         \
    X(stream_page, dbk_api_page_request)                \
    X(purge, dbk_api_purge_request)                     \
    X(message_get, dbk_api_message_get_request)         \
    X(message_delete, dbk_api_message_delete_request)   \
    X(consumer_create, dbk_api_consumer_create_request) \
    X(consumer_page, dbk_api_page_request)              \
    X(consumer_pause, dbk_api_pause_request)            \
    X(consumer_unpin, dbk_api_unpin_request)            \
    X(consumer_reset, dbk_api_reset_request)

/// STREAM.CREATE and STREAM.UPDATE.
typedef struct dbk_api_stream_create_request {
    dbk_api_stream_config config;
    bool is_pedantic; // 2.11
} dbk_api_stream_create_request;

/// STREAM.INFO.
typedef struct dbk_api_stream_info_request {
    int64_t offset; // of the subjects
    bool deleted_details;
    dbk_slice subjects_filter;
} dbk_api_stream_info_request;

/// STREAM.NAMES, STREAM.LIST, CONSUMER.NAMES, CONSUMER.LIST.
typedef struct dbk_api_page_request {
    int64_t offset;    // may be negative or beyond the end: the caller clamps
    dbk_slice subject; // streams only: those that capture what overlaps it
} dbk_api_page_request;

typedef struct dbk_api_purge_request {
    uint64_t seq; // up to but without it
    dbk_slice filter;
    uint64_t keep; // not with seq: BAD_REQUEST is the caller's
} dbk_api_purge_request;

/// STREAM.MSG.GET and DIRECT.GET; the latter has all of it, the former seq, last_by_subj, next_by_subj.
typedef struct dbk_api_message_get_request {
    uint64_t seq;
    dbk_slice last_by_subj;
    dbk_slice next_by_subj;
    int64_t batch;
    int64_t max_bytes;
    int64_t start_time_ns; // 0: none
    dbk_api_texts multi_last;
    uint64_t up_to_seq;
    int64_t up_to_time_ns; // 0: none
    bool no_headers;
    uint64_t min_last_seq;
} dbk_api_message_get_request;

typedef struct dbk_api_message_delete_request {
    uint64_t seq;
    bool no_erase;
} dbk_api_message_delete_request;

enum dbk_api_consumer_action {
    DBK_API_ACTION_CREATE_OR_UPDATE = 0,
    DBK_API_ACTION_UPDATE = 1,
    DBK_API_ACTION_CREATE = 2
};

/// CONSUMER.CREATE and CONSUMER.DURABLE.CREATE.
typedef struct dbk_api_consumer_create_request {
    dbk_slice stream_name;
    dbk_api_consumer_config config;
    int action; // enum dbk_api_consumer_action; 2.10
    bool is_pedantic;
} dbk_api_consumer_create_request;

typedef struct dbk_api_pause_request {
    int64_t pause_until_ns; // 0: go on
} dbk_api_pause_request;
typedef struct dbk_api_unpin_request {
    dbk_slice group;
} dbk_api_unpin_request;
typedef struct dbk_api_reset_request {
    uint64_t seq; // 0: the acknowledgement floor
} dbk_api_reset_request;

#define DBK_API_DECLARE_READ(name, type)                                                                    \
    bool dbk_api_read_##name(const dbk_api_dial *dial, dbk_slice text, dbk_arena *arena, type *request_out, \
                             dbk_api_error *error_out);
DBK_API_REQUEST_MAP(DBK_API_DECLARE_READ)
#undef DBK_API_DECLARE_READ

/// CONSUMER.MSG.NEXT, and what stands behind "+NXT ".
typedef struct dbk_api_pull_request {
    int64_t expires_ns; // 0: until served
    int64_t batch;      // as said: 0 and less mean 1
    int64_t max_bytes;  // 0: no limit
    bool no_wait;
    int64_t idle_heartbeat_ns;
    dbk_slice group;
    int64_t min_pending;
    int64_t min_ack_pending;
    dbk_slice id; // Nats-Pin-Id
    int64_t priority;
} dbk_api_pull_request;

/// Empty (batch 1), a number, or JSON; anything else counts as empty, as in nats-server. Without memory of
/// its own where it is empty or a number.
/// @return false: `error_out->description` is what stands behind "400 Bad Request - "
bool dbk_api_read_pull(const dbk_api_dial *dial, dbk_slice text, dbk_arena *arena,
                       dbk_api_pull_request *request_out, dbk_api_error *error_out);

/// For calls that take no payload (else NOT_EMPTY_REQUEST): nothing, white space, or an object without
/// members.
bool dbk_api_is_empty(dbk_slice text);

#endif
