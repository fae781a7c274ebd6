// SPDX-License-Identifier: Apache-2.0
//
// The socket of a served store. An address of a socket has room for 107 bytes, paths for more: where the path
// is longer the directory is opened and the socket named through /proc/self/fd.
//
// Who may connect is said twice: the file is 0600, and each side asks the kernel who the other is. A caller
// talks to a server of its own user or of root's, root to any; a server listens to its own user and to root.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE // struct ucred, accept4
#endif

#include "cli/served_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/served_protocol.h"

#define NAME "commands"

// The address; *folder_out is to be closed when it was used. 0 or errno.
static int make_address(const char *directory, struct sockaddr_un *address, int *folder_out) {
    *folder_out = -1;
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    size_t room = sizeof address->sun_path;
    int size = snprintf(address->sun_path, room, "%s/" NAME, directory);
    if (size > 0 && (size_t)size < room) return 0;
    *folder_out = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*folder_out < 0) return errno;
    (void)snprintf(address->sun_path, room, "/proc/self/fd/%d/" NAME, *folder_out);
    return 0;
}

static int is_user(int connection, int (*is_fine)(uid_t user)) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && is_fine(peer.uid);
}

static int may_serve(uid_t user) {
    return user == geteuid() || user == 0 || geteuid() == 0;
}

static int may_call(uid_t user) {
    return user == geteuid() || user == 0;
}

static int fail(int descriptor, int failed) {
    if (descriptor >= 0) (void)close(descriptor);
    errno = failed;
    return -1;
}

// 0 or errno.
static int remove_stale(const char *path) {
    struct stat status;
    if (lstat(path, &status) != 0) return errno == ENOENT ? 0 : errno;
    if (!S_ISSOCK(status.st_mode)) return EEXIST;
    return unlink(path) == 0 || errno == ENOENT ? 0 : errno;
}

int cli_served_listen(const char *directory) {
    struct sockaddr_un address;
    int folder;
    int failed = make_address(directory, &address, &folder);
    if (failed != 0) return fail(-1, failed);
    failed = remove_stale(address.sun_path);
    int listener = -1;
    if (failed == 0) {
        listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        // The mode of the socket becomes that of the name, so that there is no moment at which it is open to
        // others.
        if (listener < 0 || fchmod(listener, 0600) != 0 ||
            bind(listener, (const struct sockaddr *)&address, sizeof address) != 0 ||
            listen(listener, 128) != 0)
            failed = errno;
    }
    if (folder >= 0) (void)close(folder);
    return failed == 0 ? listener : fail(listener, failed);
}

void cli_served_unlink(const char *directory) {
    struct sockaddr_un address;
    int folder;
    if (make_address(directory, &address, &folder) != 0) return;
    (void)remove_stale(address.sun_path); // what stays is taken over by the next server
    if (folder >= 0) (void)close(folder);
}

int cli_served_connect(const char *directory) {
    struct sockaddr_un address;
    int folder;
    int failed = make_address(directory, &address, &folder);
    if (failed != 0) return fail(-1, failed);
    int connection = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (connection < 0 || connect(connection, (const struct sockaddr *)&address, sizeof address) != 0)
        failed = errno;
    else if (!is_user(connection, may_serve))
        failed = EACCES;
    if (folder >= 0) (void)close(folder);
    return failed == 0 ? connection : fail(connection, failed);
}

int cli_served_accept(int listener) {
    int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (connection < 0 || is_user(connection, may_call)) return connection;
    return fail(connection, EACCES);
}

int cli_served_send(int connection, int type, unsigned channel, uint32_t number, const void *data,
                    size_t size, int flags) {
    unsigned char head[CLI_SERVED_HEAD_SIZE];
    cli_served_put_head(head, type, channel, number);
    struct iovec parts[2] = {{head, sizeof head}, {(void *)(uintptr_t)data, size}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = size == 0 ? 1 : 2};
    ssize_t sent;
    do sent = sendmsg(connection, &message, MSG_NOSIGNAL | flags);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? errno : 0;
}
