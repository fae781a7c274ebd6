// SPDX-License-Identifier: Apache-2.0
//
// Commands on a store that this process serves: other processes of its user hand theirs over, and they run
// here, on the store that is open. A thread listens; each command has one of its own.
#ifndef CLI_SERVED_COMMANDS_H
#define CLI_SERVED_COMMANDS_H

#include "daybook/store.h"

typedef struct cli_served_commands cli_served_commands;

// Listen for the store, which is open for writing. 0 or errno; then commands wait for the lock, as for any
// writer.
int cli_served_commands_begin(daybook_store *store, cli_served_commands **commands_out);
// Interrupt the commands that run and wait for their end. NULL is fine. Before the store is closed.
void cli_served_commands_end(cli_served_commands *commands);

#endif
