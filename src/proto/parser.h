// SPDX-License-Identifier: Apache-2.0
// What a client says to a NATS server, one operation after the other, taken from a buffer in place.
//
//     dbk_proto_parser parser = {.limits = {.line_size_max = 4096, .payload_size_max = 1 << 20}};
//     while ((result = dbk_proto_next(&parser, daybook_bytes(at, size), &operation)) == DBK_PROTO_OPERATION) {
//         serve(&operation);
//         at += operation.size, size -= operation.size;
//     }
//     if (result == DBK_PROTO_MORE) …  // read at least parser.wanted bytes in all, and come again
//
// Format (NATS client protocol): a line ends with LF, a CR before it is left out. It begins with a verb, in
// small or capital letters, and goes on with fields separated by blanks, tabs and CRs:
//
//     CONNECT <JSON>                              PING     PONG     INFO <JSON>     +OK     -ERR <text>
//     PUB <subject> [<reply>] <size>              SUB <subject> [<queue group>] <sid>
//     HPUB <subject> [<reply>] <headers> <size>   UNSUB <sid> [<max>]
//
// PUB and HPUB are followed by `size` bytes and CR LF; the first `headers` bytes of them are a header block
// (proto/headers.h). Sizes are decimal, of at most nine digits. What follows PING, PONG and +OK is passed
// over.
//
// Invariant: what comes out does not depend on how the bytes arrive, in one piece or byte by byte. An error
// is told with the first byte that makes it certain, so nobody waits for the end of a line that cannot become
// one.
//
// Fields hold no blank, CR or LF; any other byte, NUL included, is possible. Whether subjects and queue
// groups are valid is not looked at: what is depends on the connection.
//
// Pure: no allocation, nothing kept of the buffer but two numbers, so that a line or a payload that arrives
// byte by byte is not searched anew each time. One parser per connection.
#ifndef DBK_PROTO_PARSER_H
#define DBK_PROTO_PARSER_H

#include <stdbool.h>

#include "base/memory.h"

typedef enum dbk_proto_verb {
    DBK_PROTO_PUB,
    DBK_PROTO_HPUB,
    DBK_PROTO_SUB,
    DBK_PROTO_UNSUB,
    DBK_PROTO_PING,
    DBK_PROTO_PONG,
    DBK_PROTO_CONNECT,
    DBK_PROTO_INFO,
    DBK_PROTO_PLUS_OK,
    DBK_PROTO_MINUS_ERR
} dbk_proto_verb;

/// Slices are borrowed from the buffer; those the verb does not have are empty.
typedef struct dbk_proto_operation {
    dbk_proto_verb verb;
    size_t size; // bytes of the buffer it takes, at least 1
    dbk_slice subject;
    dbk_slice reply;
    dbk_slice queue_group;
    dbk_slice sid;
    dbk_slice text;     // the verb's fields as said, without blanks around: CONNECT's JSON, what to trace
    dbk_slice payload;  // PUB, HPUB: headers and data
    size_t header_size; // HPUB: of the payload
    uint64_t max;       // UNSUB; 0: none, or nothing that could be understood as one
} dbk_proto_operation;

typedef enum dbk_proto_result {
    DBK_PROTO_OPERATION,
    DBK_PROTO_MORE,        // the buffer ends within an operation
    DBK_PROTO_NOT_CONNECT, // something else than CONNECT, where limits.connect_only; nothing of it was read
    DBK_PROTO_UNKNOWN,     // no such verb
    DBK_PROTO_BAD_FIELDS,  // too many or too few of them
    DBK_PROTO_BAD_SIZE,    // no number where a size belongs, or headers larger than the whole
    DBK_PROTO_LINE_TOO_LONG,
    DBK_PROTO_PAYLOAD_TOO_LARGE, // told before the payload is read; operation.subject and so on are set
    DBK_PROTO_BAD_PAYLOAD_END    // no CR LF behind the payload; operation.subject and so on are set
} dbk_proto_result;

typedef struct dbk_proto_limits {
    size_t line_size_max; // of what follows the verb and a blank, without the line's end
    size_t payload_size_max;
    bool connect_only; // until it is known who is there: nothing else is taken (nor kept, nor waited for)
} dbk_proto_limits;

/// Zeroed but for the limits, which may change between operations, except while dbk_proto_next wants more.
typedef struct dbk_proto_parser {
    dbk_proto_limits limits;
    size_t searched; // leading bytes of the buffer known to hold no LF
    size_t wanted;   // after DBK_PROTO_MORE: the buffer's size with which it can go on; 0: not known
} dbk_proto_parser;

/**
 * The operation at the beginning of the buffer. After MORE, call it again with the same bytes and some behind
 * them. After anything but OPERATION and MORE the connection's bytes cannot be understood any further: say
 * why, and close it; operation_out->verb and ->text are set where they are known. O(bytes of the line) for
 * all calls until the operation is there, plus O(1) for each of them.
 */
dbk_proto_result dbk_proto_next(dbk_proto_parser *parser, dbk_slice buffer,
                                dbk_proto_operation *operation_out);

/// An upper bound of the bytes that are kept while a line is not ended.
size_t dbk_proto_line_bytes_max(const dbk_proto_limits *limits);

#endif
