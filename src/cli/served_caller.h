// SPDX-License-Identifier: Apache-2.0
//
// The caller's side: a command is handed to the server that has the store.
#ifndef CLI_SERVED_CALLER_H
#define CLI_SERVED_CALLER_H

#include "cli/cli.h"

// 1: the server ran the command, or it cannot be run while there is one, and *status_out is the exit status;
// 0: run it here. Called when the arguments are known to be right, before anything is opened.
int cli_call_server(cli_context *context, int count, char **arguments, int *status_out);

// Whether a server listens for the store in `directory`.
int cli_has_server(const char *directory);

#endif
