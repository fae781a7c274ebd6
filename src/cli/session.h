// SPDX-License-Identifier: Apache-2.0
//
// A command that a server runs for a caller in another process: what of that caller it sees. A command does
// not ask whether it has a session; the parts that touch the outside (output, input, interrupts, context) do.
// All of it is for the threads of the command.
#ifndef CLI_SESSION_H
#define CLI_SESSION_H

#include "cli/input.h"
#include "cli/served_protocol.h"
#include "daybook/store.h"

typedef struct cli_session cli_session;

// Write to the caller's descriptor 1 or 2; back when it is written. 0 or errno; EPIPE where the caller is
// gone.
int cli_session_write(cli_session *session, int descriptor, const void *data, size_t size);

// A cli_served_source of the caller's. 0 or errno.
int cli_session_open(cli_session *session, int source, const char *path, cli_input *input_out);
void cli_session_close(cli_session *session, unsigned channel);
int cli_session_input_errno(cli_session *session, unsigned channel, int failed);
// What the caller said at the end of an input; "" for nothing. Valid until it is closed.
const char *cli_session_input_text(cli_session *session, unsigned channel);

// The caller is gone, or the server ends: nobody waits for the rest.
int cli_session_is_cut(const cli_session *session);

// From now on an interrupt of the caller's waits for a handler, as cli_interrupts_prepare.
void cli_session_prepare(cli_session *session);
// Call `interrupt` once, in another thread, when the command is to end: the caller's ^C (where it was
// prepared), the caller is gone, the server ends. At once where that has been already.
void cli_session_begin(cli_session *session, void (*interrupt)(void *what), void *what);
// Before `what` goes. Returns 1 where it was called.
int cli_session_end(cli_session *session);

daybook_store *cli_session_store(const cli_session *session);

#endif
