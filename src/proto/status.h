// SPDX-License-Identifier: Apache-2.0
// What a server says in fixed words, with the texts clients compare.
//
// A status is a message without data whose header block begins "NATS/1.0 404 No Messages". Those that need no
// further headers are constant blocks, sent as they are.
#ifndef DBK_PROTO_STATUS_H
#define DBK_PROTO_STATUS_H

#include "base/memory.h"

#define DBK_STATUSES(X)                                               \
    X(IDLE_HEARTBEAT, "100 Idle Heartbeat")                           \
    X(FLOW_CONTROL, "100 FlowControl Request")                        \
    X(END_OF_BATCH, "204 EOB")                                        \
    X(NO_MESSAGES, "404 No Messages")                                 \
    X(MESSAGE_NOT_FOUND, "404 Message Not Found")                     \
    X(NO_RESULTS, "404 No Results")                                   \
    X(REQUEST_TIMEOUT, "408 Request Timeout")                         \
    X(DIRECT_EMPTY_REQUEST, "408 Empty Request")                      \
    X(DIRECT_BAD_REQUEST, "408 Bad Request")                          \
    X(DIRECT_MALFORMED_REQUEST, "408 Malformed Request")              \
    X(CONSUMER_DELETED, "409 Consumer Deleted")                       \
    X(CONSUMER_IS_PUSH, "409 Consumer is push based")                 \
    X(EXCEEDED_MAX_WAITING, "409 Exceeded MaxWaiting")                \
    X(MESSAGE_EXCEEDS_MAX_BYTES, "409 Message Size Exceeds MaxBytes") \
    X(SERVER_SHUTDOWN, "409 Server Shutdown")                         \
    X(API_LEVEL, "412 Required Api Level")                            \
    X(TOO_MANY_RESULTS, "413 Too Many Results")                       \
    X(WRONG_PIN_ID, "423 Nats-Wrong-Pin-Id")                          \
    X(TOO_MANY_REQUESTS, "429 Too Many Requests")                     \
    X(NO_RESPONDERS, "503")

typedef enum dbk_status {
#define DBK_STATUS_NAME(name, text) DBK_STATUS_##name,
    DBK_STATUSES(DBK_STATUS_NAME)
#undef DBK_STATUS_NAME
        DBK_STATUS_COUNT
} dbk_status;

/// "NATS/1.0 404 No Messages" CR LF CR LF: a whole block. Static.
dbk_slice dbk_status_block(dbk_status status);
/// The same without the last CR LF: headers may follow (dbk_headers_add, dbk_headers_end). Static.
dbk_slice dbk_status_line(dbk_status status);

#endif
