// SPDX-License-Identifier: Apache-2.0
// What a server says in fixed words: statuses in header blocks and errors of the protocol. Each stands in one table, with the
// text clients compare.
//
// A status is a message without data whose header block begins "NATS/1.0 404 No Messages". Those that need no further headers
// are constant blocks, sent as they are.
//
// An error is the line -ERR '<text>'; after some of them the server closes the connection.
#ifndef DBK_PROTO_STATUS_H
#define DBK_PROTO_STATUS_H

#include <stdbool.h>

#include "base/memory.h"

#define DBK_STATUSES(X)                                               \
    X(IDLE_HEARTBEAT, "100 Idle Heartbeat")                           \
    X(FLOW_CONTROL, "100 FlowControl Request")                        \
    X(END_OF_BATCH, "204 EOB")                                        \
    X(BAD_REQUEST, "400 Bad Request")                                 \
    X(NO_MESSAGES, "404 No Messages")                                 \
    X(MESSAGE_NOT_FOUND, "404 Message Not Found")                     \
    X(NO_RESULTS, "404 No Results")                                   \
    X(REQUEST_TIMEOUT, "408 Request Timeout")                         \
    X(REQUESTS_PENDING, "408 Requests Pending")                       \
    X(INTEREST_EXPIRED, "408 Interest Expired")                       \
    X(DIRECT_EMPTY_REQUEST, "408 Empty Request")                      \
    X(DIRECT_BAD_REQUEST, "408 Bad Request")                          \
    X(DIRECT_MALFORMED_REQUEST, "408 Malformed Request")              \
    X(BATCH_COMPLETED, "409 Batch Completed")                         \
    X(CONSUMER_DELETED, "409 Consumer Deleted")                       \
    X(CONSUMER_IS_PUSH, "409 Consumer is push based")                 \
    X(EXCEEDED_MAX_WAITING, "409 Exceeded MaxWaiting")                \
    X(MESSAGE_EXCEEDS_MAX_BYTES, "409 Message Size Exceeds MaxBytes") \
    X(SERVER_SHUTDOWN, "409 Server Shutdown")                         \
    X(LEADERSHIP_CHANGE, "409 Leadership Change")                     \
    X(API_LEVEL, "412 Required Api Level")                            \
    X(TOO_MANY_RESULTS, "413 Too Many Results")                       \
    X(WRONG_PIN_ID, "423 Nats-Wrong-Pin-Id")                          \
    X(PIN_ID_MISMATCH, "423 Nats-Pin-Id mismatch")                    \
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

// name, text, does the connection end with it
#define DBK_PROTO_ERRORS(X)                                                          \
    X(UNKNOWN_OPERATION, "Unknown Protocol Operation", true)                         \
    X(PROTOCOL_VERSION, "invalid client protocol", true)                             \
    X(CONTROL_LINE, "maximum control line exceeded", true)                           \
    X(PAYLOAD, "Maximum Payload Violation", true)                                    \
    X(HEADERS_NOT_SUPPORTED, "message headers not supported", true)                  \
    X(NO_RESPONDERS_WITHOUT_HEADERS, "no responders requires headers support", true) \
    X(INVALID_SUBJECT, "Invalid Subject", false)                                     \
    X(INVALID_PUBLISH_SUBJECT, "Invalid Publish Subject", false)                     \
    X(AUTHORIZATION, "Authorization Violation", true)                                \
    X(AUTHENTICATION_TIMEOUT, "Authentication Timeout", true)                        \
    X(AUTHENTICATION_EXPIRED, "User Authentication Expired", true)                   \
    X(AUTHENTICATION_REVOKED, "User Authentication Revoked", true)                   \
    X(MAX_CONNECTIONS, "maximum connections exceeded", true)                         \
    X(MAX_ACCOUNT_CONNECTIONS, "maximum account active connections exceeded", true)  \
    X(MAX_SUBSCRIPTIONS, "maximum subscriptions exceeded", false)                    \
    X(STALE, "Stale Connection", true)                                               \
    X(SLOW_CONSUMER, "Slow Consumer", true)                                          \
    X(TLS_REQUIRED, "Secure Connection - TLS Required", true)                        \
    X(SERVER_SHUTDOWN, "Server Shutdown", true)

typedef enum dbk_proto_error {
#define DBK_PROTO_ERROR_NAME(name, text, closes) DBK_ERROR_##name,
    DBK_PROTO_ERRORS(DBK_PROTO_ERROR_NAME)
#undef DBK_PROTO_ERROR_NAME
        DBK_ERROR_COUNT
} dbk_proto_error;

/// "-ERR 'Stale Connection'" CR LF. Static.
dbk_slice dbk_proto_error_line(dbk_proto_error error);
/// Without "-ERR ''". Static.
dbk_slice dbk_proto_error_text(dbk_proto_error error);
bool dbk_proto_error_closes(dbk_proto_error error);

#endif
