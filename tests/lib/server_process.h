// SPDX-License-Identifier: Apache-2.0
// A server as a process of our own: nats-server, or another that takes its flags, on a free port of the loopback. It ends
// with this process, however this process ends; its folder stays behind then.
//
//     server_process server;
//     char why[256];
//     if (!server_process_find("nats-server", path, sizeof path)) …
//     if (!server_process_folder(&server, why, sizeof why)) …
//     char *arguments[] = {path, "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", server.folder, NULL};
//     if (!server_process_start(&server, arguments, why, sizeof why)) …
//     … server.port …
//     server_process_free(&server);
//
// It is ready when it has written its ports file. What it prints goes to the file `log` in the folder. One thread.
#ifndef DBK_TESTS_SERVER_PROCESS_H
#define DBK_TESTS_SERVER_PROCESS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct server_process {
    char folder[64]; // below the working directory
    char url[64];    // "nats://127.0.0.1:41337"
    int port;
    int process; // 0: none
    int status;  // of waitpid, once it has ended
} server_process;

/// Where the program is: as named, or in PATH or /usr/sbin, where Debian puts servers.
bool server_process_find(const char *program, char *path_out, size_t capacity);
/// A new, empty folder. False, and why.
bool server_process_folder(server_process *server, char *why, size_t capacity);
/// `arguments` begins with the program's path, ends with NULL, and asks for a ports file in the folder. May be called again
/// after a stop; the port is then another.
bool server_process_start(server_process *server, char *const arguments[], char *why, size_t capacity);
/// Waits for it to end by itself. False: it did not within the time.
bool server_process_wait(server_process *server, int duration_ms);
/// SIGTERM, and SIGKILL where that does not help. False: it had to be killed.
bool server_process_stop(server_process *server);
/// Ends it and removes the folder.
void server_process_free(server_process *server);

#endif
