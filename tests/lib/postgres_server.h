// SPDX-License-Identifier: Apache-2.0
// A private PostgreSQL server for a test: own data, own Unix socket, fsync on, gone when the test is gone,
// whatever ends it. tests/lib/postgres_server.py does the work; this talks to it.
//
//     postgres_server server;
//     if (!postgres_server_start(&server)) return 77; // it has printed "SKIP: why"
//     ... PQconnectdb(server.url) ...
//     postgres_server_do(&server, "kill");
//     postgres_server_do(&server, "start");
//     postgres_server_end(&server);
//
// Starting takes a second or two; tests of one program share a server. One thread at a time.
#ifndef DBK_TESTS_POSTGRES_SERVER_H
#define DBK_TESTS_POSTGRES_SERVER_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

typedef struct postgres_server {
    char url[256]; // postgresql://…
    pid_t keeper;
    FILE *commands;
    FILE *answers;
} postgres_server;

/// False where there can be none here, which it says; ends the program where there should be one and is not.
bool postgres_server_start(postgres_server *server);
/// "start", "stop", "kill", "restart", "freeze", "thaw" or "set NAME VALUE": see postgres_server.py. Returns
/// when done.
void postgres_server_do(postgres_server *server, const char *command);
void postgres_server_end(postgres_server *server);

#endif
