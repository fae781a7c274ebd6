// SPDX-License-Identifier: Apache-2.0
#define _POSIX_C_SOURCE 200809L // popen
#include "scenarios/nats_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *program(void) {
    const char *named = getenv("DAYBOOK_NATS_SERVER");
    return named == NULL || *named == '\0' ? "nats-server" : named;
}

unsigned nats_server_version(void) {
    char path[512], command[640], line[128] = "";
    if (!server_process_find(program(), path, sizeof path)) return 0;
    (void)snprintf(command, sizeof command, "'%s' --version 2>/dev/null", path);
    FILE *output = popen(command, "r");
    if (output == NULL) return 0;
    if (fgets(line, sizeof line, output) == NULL) line[0] = '\0';
    (void)pclose(output);
    const char *at = strpbrk(line, "0123456789");
    char *end;
    if (at == NULL) return 0;
    unsigned long major = strtoul(at, &end, 10);
    if (*end != '.') return 0;
    return (unsigned)(major * 1000 + strtoul(end + 1, NULL, 10));
}

static bool start(nats_server *server, char *why, size_t capacity) {
    char path[512], store[128];
    if (!server_process_find(program(), path, sizeof path)) {
        (void)snprintf(why, capacity, "there is no %s (Debian: nats-server)", program());
        return false;
    }
    (void)snprintf(store, sizeof store, "%s/store", server->folder);
    char *arguments[] = {
        path,          (char *)"-a", (char *)"127.0.0.1",        (char *)"-p",   (char *)"-1", (char *)"-js",
        (char *)"-sd", store,        (char *)"--ports_file_dir", server->folder, NULL};
    return server_process_start(server, arguments, why, capacity);
}

bool nats_server_new(nats_server *server, char *why, size_t capacity) {
    return server_process_folder(server, why, capacity) && start(server, why, capacity);
}

bool nats_server_restart(nats_server *server, char *why, size_t capacity) {
    (void)server_process_stop(server);
    return start(server, why, capacity);
}

void nats_server_free(nats_server *server) {
    server_process_free(server);
}
