// SPDX-License-Identifier: Apache-2.0
// Doing what a wire script says against a server that runs already.
#ifndef DBK_TESTS_WIRE_RUNNER_H
#define DBK_TESTS_WIRE_RUNNER_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/server_process.h"
#include "wire/connection.h"
#include "wire/script.h"

enum { CONNECTION_COUNT_MAX = 64 };

typedef struct runner {
    const script *script;
    server_process *server;
    bool is_daybook;
    bool is_traced;
    unsigned version; // what it announces
    // Of the case that runs.
    const char *title;
    names captured;
    struct {
        char name[CONNECTION_NAME_SIZE];
        connection at;
    } connections[CONNECTION_COUNT_MAX];
    size_t connection_count;
    int limit_ms;
    bool is_bytewise;
    unsigned ask_count; // requests so far
    unsigned failed_count;
} runner;

/// What the server announces, from its INFO. 0: it says none.
unsigned runner_ask_version(runner *run);
/// All of it; failures are printed. False: there were some.
bool runner_run(runner *run);
/// The end of what the server printed.
void runner_show_log(const runner *run);

#endif
