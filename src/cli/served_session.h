// SPDX-License-Identifier: Apache-2.0
//
// The server's side of a session: made when a caller connects, fed with what the caller says, run in a thread
// of its own, released when that has ended. All of it is for the one thread that listens, and none of it
// waits for the caller.
#ifndef CLI_SERVED_SESSION_H
#define CLI_SERVED_SESSION_H

#include "cli/session.h"

#include <poll.h>

enum cli_session_phase {
    CLI_SESSION_GREETING, // nothing was said yet
    CLI_SESSION_LISTENING,
    CLI_SESSION_RUNNING,
    CLI_SESSION_DONE // its thread has nothing left to do
};

// Owns the descriptor `control` from then on; a byte comes into `wake` when the command is done. NULL: no
// memory.
cli_session *cli_session_new(int control, daybook_store *store, int wake);
// Joins the thread.
void cli_session_free(cli_session *session);
int cli_session_phase(const cli_session *session);
// Was cut: there is nothing more to hear.
int cli_session_is_gone(const cli_session *session);
int64_t cli_session_begun_ns(const cli_session *session);

// What to wait for, into at most CLI_SESSION_POLLED places; returns how many.
enum { CLI_SESSION_POLLED = 1 + CLI_SERVED_CHANNELS_MAX };
size_t cli_session_poll(cli_session *session, struct pollfd *list);
// After the wait: move what can be moved. 0, or 1 where the caller is gone or makes no sense.
// `room` is for a message and one byte more. `admit` is asked when the caller has said who it is: 0 to go on,
// else a cli_served_refusal.
int cli_session_move(cli_session *session, unsigned char room[CLI_SERVED_MESSAGE_MAX + 1],
                     int (*admit)(void *context, const cli_served_hello *hello), void *context);
// The caller is gone: the command's output and input fail, it is interrupted.
void cli_session_cut(cli_session *session);
// The server ends: its input fails, it is interrupted; what it prints still arrives.
void cli_session_stop(cli_session *session);

#endif
