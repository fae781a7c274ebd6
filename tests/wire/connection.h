// SPDX-License-Identifier: Apache-2.0
// A TCP connection of a wire script: bytes out, lines in. Whatever waits does so with poll and a time limit; while bytes are
// sent what arrives is read, so that neither side blocks the other.
#ifndef DBK_TESTS_WIRE_CONNECTION_H
#define DBK_TESTS_WIRE_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>

#include "wire/match.h"

typedef struct connection {
    int socket; // -1: none
    char *data; // what arrived and was not taken
    size_t size, capacity;
    bool has_ended; // the other side closed or reset it
    bool is_broken; // sending does not work any more
} connection;

/// To 127.0.0.1. False where nobody listens.
bool connection_open(connection *at, int port);
/// Bytes the other side does not take any more are dropped: it has closed, or is about to.
void connection_send(connection *at, const char *data, size_t size, int limit_ms);
/// Waits until `count` lines are there; said_out is all of them but the last CR LF. False: time is over, or the end came;
/// said_out is then what is there.
bool connection_lines(connection *at, size_t count, int limit_ms, text *said_out);
/// Forget the first `size` bytes.
void connection_take(connection *at, size_t size);
/// Waits until something is there, or the end. False: time is over.
bool connection_wait(connection *at, int limit_ms);
/// The same for any of several; the index of one that has something. -1: time is over.
int connection_wait_any(connection *const *all, size_t count, int limit_ms);
/// Waits for the end. False: time is over, or there are bytes that nobody expected.
bool connection_wait_end(connection *at, int limit_ms);
/// Nothing more is sent; what comes is still read.
void connection_shut(connection *at);
/// `with_reset`: the other side is told nothing but that.
void connection_close(connection *at, bool with_reset);

/// A clock that only goes forward.
long long now_ms(void);

#endif
