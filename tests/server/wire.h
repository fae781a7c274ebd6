// SPDX-License-Identifier: Apache-2.0
// A NATS client that is nothing but a socket: what is sent and what must come back, byte for byte.
//
//     wire client;
//     wire_open(&client, port);                       // INFO is read and kept
//     wire_say(&client, "CONNECT {\"verbose\":false}\r\nSUB a 1\r\nPING\r\n");
//     wire_expect(&client, "PONG\r\n");
//
// Everything fails the test that does not come within WIRE_SECONDS.
#ifndef DBK_TESTS_SERVER_WIRE_H
#define DBK_TESTS_SERVER_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daybook/server.h"

enum { WIRE_SECONDS = 20 };

typedef struct wire {
    int socket;
    char info[4096];
    char *received; // not yet expected
    size_t size, capacity;
} wire;

/// Connects to 127.0.0.1 and reads INFO.
void wire_open(wire *client, int port);
/// The same without waiting for INFO.
void wire_open_silent(wire *client, int port);
/// wire_open from an address of this machine, "127.0.0.2".
void wire_open_from(wire *client, const char *address, int port);
/// wire_open, CONNECT without verbose, PING, PONG.
void wire_join(wire *client, int port, const char *connect_json);
/// The same as a user whose password is its name.
void wire_join_as(wire *client, int port, const char *user);
void wire_close(wire *client);

void wire_say(wire *client, const char *text);
void wire_send(wire *client, const void *data, size_t size);
/// A message of `body` to `subject`, answers to `reply`, which may be "".
void wire_publish(wire *client, const char *subject, const char *reply, const char *body);
/// What the server takes at once, at most `size` bytes; 0: nothing more for now, or the connection is gone.
size_t wire_send_some(wire *client, const void *data, size_t size);
/// The next bytes are exactly these; a PING of the server before them is passed over.
void wire_expect(wire *client, const char *text);
void wire_expect_bytes(wire *client, const void *data, size_t size);
/// The next `size` bytes.
void wire_take(wire *client, void *data_out, size_t size);
/// Reads until `text` has come, and returns all up to its end: NUL-terminated, valid until the next call of this thread.
const char *wire_until(wire *client, const char *text);
/// Waits until anything comes, which stays to be expected.
void wire_wait(wire *client);
/// Does `text` come within so long? It stays to be read. False also where the connection ends before.
bool wire_comes(wire *client, const char *text, int milliseconds);
/// Nothing more comes, and the connection ends.
void wire_expect_end(wire *client);
/// Whatever comes is thrown away until the connection ends.
void wire_drain_to_end(wire *client);
/// Nothing comes for so long.
void wire_expect_silence(wire *client, int milliseconds);
/// PING, PONG: the server has seen all that was sent before, and answered it with nothing.
void wire_sync(wire *client);
/// The same where anything may have come: it is what is returned, as by wire_until.
const char *wire_settle(wire *client);

/// For what there is no event to wait for.
void wire_nap(int milliseconds);

/// A server on any port of 127.0.0.1, of these options otherwise.
daybook_server *wire_server_start(daybook_server_options *options);
/// A server on any port; `config` in the configuration language, may be NULL. What it logs is kept for wire_log.
daybook_server *wire_server(const char *config);
/// The same with a configuration file, for reloads.
daybook_server *wire_server_of_file(const char *path);
/// Ends it and checks that it ends well.
void wire_server_stop(daybook_server *server);
/// Does some line of the log so far hold `text`?
bool wire_log_has(const char *text);
/// All of it so far, for who knows that nothing is written: valid until the next line.
const char *wire_log(void);
/// How often it does.
size_t wire_log_count(const char *text);
/// Waits until some line does.
void wire_log_wait(const char *text);

#endif
