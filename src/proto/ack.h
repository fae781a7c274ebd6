// SPDX-License-Identifier: Apache-2.0
// Acknowledgements of consumers: the reply subject every delivered message carries, and what comes back on
// it.
//
// Format (NATS ADR-15), numbers in decimal:
//
//     v1    $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time, ns>.<pending>
//     v2    $JS.ACK.<domain or _>.<account hash>.<stream>.<consumer>.…the same five….[<anything>…]
//
// Both are read; which is written is the prefix's matter, and which is taken is the caller's: domain and hash
// of v2 must be compared, or v2 be refused, where rights are by v1's prefix. v1 has nine tokens, v2 eleven or
// more. The part before the numbers is the same for all messages of a consumer: it is made once, and a
// delivery writes the numbers behind it.
//
// Bodies: empty, "+ACK", "+OK"; "-NAK" with a delay, {"delay": nanoseconds} or 1m30s; "+WPI"; "+TERM" with a
// reason; "+NXT" with a pull request.
//
// Pure: no allocation; slices are borrowed from what is read.
#ifndef DBK_PROTO_ACK_H
#define DBK_PROTO_ACK_H

#include <stdbool.h>

#include "base/memory.h"
#include "base/number.h"

typedef struct dbk_ack_subject {
    dbk_slice domain;       // v2; empty: v1, or "_"
    dbk_slice account_hash; // v2
    dbk_slice stream;
    dbk_slice consumer;
    uint64_t delivered; // how often it was, this time included: 1 or more
    uint64_t stream_sequence;
    uint64_t consumer_sequence;
    int64_t time_ns;
    uint64_t pending;
    bool is_v2; // what was read; encoding does not look at it
} dbk_ack_subject;

enum {
    DBK_ACK_NUMBERS_SIZE_MAX = 5 * DBK_DECIMAL_SIZE_MAX + 4,
    DBK_ACK_NAME_SIZE_MAX = 255, // of a stream, a consumer, a domain
    DBK_ACK_PREFIX_SIZE_MAX = 8 + 4 * (DBK_ACK_NAME_SIZE_MAX + 1),
    DBK_ACK_SUBJECT_SIZE_MAX = DBK_ACK_PREFIX_SIZE_MAX + DBK_ACK_NUMBERS_SIZE_MAX
};

/// What stands before the numbers, "$JS.ACK.ORDERS.mail."; v2 where an account hash is given. Returns its
/// size; `out` has room for DBK_ACK_PREFIX_SIZE_MAX bytes, 0: a name is longer than DBK_ACK_NAME_SIZE_MAX.
size_t dbk_ack_prefix_encode(const dbk_ack_subject *names, char *out);
/// The numbers of `ack`; `out` has room for DBK_ACK_NUMBERS_SIZE_MAX bytes. Returns their size. No NUL is
/// written.
size_t dbk_ack_numbers_encode(const dbk_ack_subject *ack, char *out);
/// false: it is not one. Sequences are not compared with anything.
bool dbk_ack_subject_decode(dbk_slice subject, dbk_ack_subject *ack_out);

typedef enum dbk_ack_kind {
    DBK_ACK_DONE,     // acknowledged
    DBK_ACK_AGAIN,    // -NAK: deliver it again, after delay_ns
    DBK_ACK_PROGRESS, // +WPI: it takes longer
    DBK_ACK_TERM,     // never again; text: the reason, may be empty
    DBK_ACK_NEXT,     // acknowledged, and here is a pull request: text
    DBK_ACK_UNKNOWN   // to be passed over
} dbk_ack_kind;

typedef struct dbk_ack_body {
    dbk_ack_kind kind;
    dbk_slice text;        // behind the word, without blanks around
    int64_t delay_ns;      // AGAIN; 0 or less: at once
    bool is_delay_garbled; // AGAIN: there is something, but no delay; taken as none
} dbk_ack_body;

/// `body` without headers.
dbk_ack_body dbk_ack_body_read(dbk_slice body);

#endif
