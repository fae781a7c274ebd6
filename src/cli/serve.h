// SPDX-License-Identifier: Apache-2.0
//
// What `daybook serve` and the program under the name nats-server have in common: texts of the configuration
// language made of flags, and a server that runs until a signal ends it.
#ifndef CLI_SERVE_H
#define CLI_SERVE_H

#include "cli/output.h"
#include "daybook/server.h"

// `key: "text"` with a line end; the text keeps every byte.
void cli_put_setting(cli_output *out, const char *key, const char *text);
// "text" in double quotes, as the configuration language reads it.
void cli_put_setting_text(cli_output *out, const char *text);

// Where log lines of a server go: standard error. Give it as log_context with cli_serve_log.
typedef struct cli_serve_log_lines {
    int is_quiet;    // errors and warnings only
    int hides_fatal; // who starts the server says it
    int said_fatal;
} cli_serve_log_lines;
void cli_serve_log(void *log_lines, int level, daybook_slice line);

// Before any thread is made, those of a store too: signals wait until cli_serve takes them. Also lets the
// process open as many files as it may.
void cli_serve_prepare(void);

// Start, call `ready`, serve until SIGINT or SIGTERM (a second one ends the process at once) or until the
// server ends by itself, stop. SIGHUP reloads, SIGUSR1 opens the log file again, SIGUSR2 begins lame duck.
daybook_status cli_serve(const daybook_server_options *options,
                         void (*ready)(void *context, daybook_server *server), void *context,
                         daybook_error *error);

#endif
