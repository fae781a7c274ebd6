// SPDX-License-Identifier: Apache-2.0
//
// The program under the name nats-server: its flags, messages and exit statuses, so that what starts a
// nats-server starts this one instead.
#ifndef CLI_NATS_SERVER_H
#define CLI_NATS_SERVER_H

#include "cli/output.h"

// Is this how the program was called?
int cli_is_nats_server(const char *program);
// Everything: flags, signals to others, serving. The exit status: 0 fine, 1 failed, 2 a flag that is none.
int cli_run_nats_server(cli_output *out, int count, char **arguments);

// --signal COMMAND[=PID|FILE]. 0, or 1 with a message in `message`.
int cli_send_signal(const char *text, char *message, size_t message_size);

#endif
