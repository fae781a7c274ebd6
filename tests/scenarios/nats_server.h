// SPDX-License-Identifier: Apache-2.0
// A nats-server of our own: on a free port of the loopback, with JetStream in a folder of its own. It ends
// with this process, however this process ends; its folder stays behind then.
//
// DAYBOOK_NATS_SERVER names the program; else it is nats-server of PATH.
#ifndef DBK_TESTS_SCENARIOS_NATS_SERVER_H
#define DBK_TESTS_SCENARIOS_NATS_SERVER_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/server_process.h"

typedef server_process nats_server; // its url is where to connect

/// "2.9.10" of the program as 2009. 0 where it does not run.
unsigned nats_server_version(void);
/// In a new folder below the working directory. False, and why.
bool nats_server_new(nats_server *server, char *why, size_t capacity);
/// Ends it and starts it again on the same folder; the port is another.
bool nats_server_restart(nats_server *server, char *why, size_t capacity);
/// Ends it and removes the folder.
void nats_server_free(nats_server *server);

#endif
