// SPDX-License-Identifier: Apache-2.0
//
// The manual page and the bash completion, both made from the rows of commands.c; the copies in packaging/
// are compared with them by a test.
#ifndef CLI_MANUAL_H
#define CLI_MANUAL_H

#include "cli/cli.h"

// "0 fine, 1 operating error, ...", without a full stop.
extern const char cli_exit_text[];

// troff with the man macros, daybook(1).
void cli_print_manual(cli_output *out);
void cli_print_completion(cli_output *out);

#endif
