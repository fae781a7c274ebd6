// SPDX-License-Identifier: Apache-2.0
//
// The socket by which commands reach the server of a store: the file "commands" in the store's directory, for
// its owner only.
#ifndef CLI_SERVED_SOCKET_H
#define CLI_SERVED_SOCKET_H

#include <stddef.h>
#include <stdint.h>

// A listening socket in `directory`, in place of one that a dead server left. The caller holds the store's
// lock, so that no other server is behind the name. The descriptor, or -1 with errno (EEXIST: the name is
// something else).
int cli_served_listen(const char *directory);
// The lock is still held.
void cli_served_unlink(const char *directory);
// A connection to the server of the store; -1 with errno where there is none (ENOENT, ECONNREFUSED) or it is
// none to talk to (EACCES).
int cli_served_connect(const char *directory);
// The next caller, of the server's user or root; -1 with errno (EAGAIN: none now).
int cli_served_accept(int listener);
// A message, with `flags` of sendmsg. 0 or errno (EAGAIN: no room, where they say not to wait for it).
int cli_served_send(int connection, int type, unsigned channel, uint32_t number, const void *data,
                    size_t size, int flags);

#endif
