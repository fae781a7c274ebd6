// SPDX-License-Identifier: Apache-2.0
// wire_run daybook PROGRAM SCRIPT, wire_run nats SCRIPT: a wire script against a server of its own. DAYBOOK_NATS_SERVER names
// the nats-server, else it is that of PATH. DAYBOOK_TRACE=1 shows every line. 77: there is no such server, or it is too old.
#define _XOPEN_SOURCE 700 // realpath
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/server_process.h"
#include "wire/runner.h"
#include "wire/script.h"

enum { SKIPPED = 77, ARGUMENT_COUNT_MAX = 32, PATH_SIZE = 4096 };

static bool can_serve(const char *program) {
    char command[PATH_SIZE + 64];
    (void)snprintf(command, sizeof command, "'%s' serve --help >/dev/null 2>&1", program);
    int status = system(command);
    return status != -1 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int skip(const char *why) {
    printf("SKIP: %s\n", why);
    return SKIPPED;
}

// Under the name nats-server the program takes that one's flags: a link in the server's folder.
static bool link_program(const runner *run, const char *program, char *path_out, size_t capacity) {
    char *absolute = realpath(program, NULL);
    (void)snprintf(path_out, capacity, "%s/nats-server", run->server->folder);
    bool is_linked = absolute != NULL && symlink(absolute, path_out) == 0;
    free(absolute);
    return is_linked;
}

static bool start(runner *run, char *program) {
    static char store[128], config[128], flags[1024], linked[128];
    char *arguments[ARGUMENT_COUNT_MAX] = {program};
    char why[512] = "", *left = NULL;
    size_t count = 1;
    (void)snprintf(store, sizeof store, "%s/store", run->server->folder);
    (void)snprintf(config, sizeof config, "%s/server.conf", run->server->folder);
    (void)snprintf(flags, sizeof flags, "%s", run->script->flags);
    if (run->is_daybook) {
        if (!link_program(run, program, linked, sizeof linked)) {
            fprintf(stderr, "no link to %s\n", program);
            return false;
        }
        arguments[0] = linked;
    }
    char *const always[] = {
        (char *)"-a",        (char *)"127.0.0.1", (char *)"-p", (char *)"-1", (char *)"--ports_file_dir",
        run->server->folder, (char *)"-c",        config};
    for (size_t i = 0; i < sizeof always / sizeof *always; i++) arguments[count++] = always[i];
    if (run->script->with_jetstream) {
        arguments[count++] = (char *)"-js";
        arguments[count++] = (char *)"-sd";
        arguments[count++] = store;
    }
    for (char *flag = strtok_r(flags, " ", &left); flag != NULL && count + 1 < ARGUMENT_COUNT_MAX;
         flag = strtok_r(NULL, " ", &left))
        arguments[count++] = flag;
    FILE *file = fopen(config, "w");
    bool is_written = file != NULL && fputs(run->script->config, file) >= 0;
    if (file != NULL && fclose(file) != 0) is_written = false;
    if (is_written && server_process_start(run->server, arguments, why, sizeof why)) return true;
    fprintf(stderr, "%s\n", is_written ? why : "the configuration cannot be written");
    runner_show_log(run);
    return false;
}

// What a server leaves when it is told to end.
static bool stop(const runner *run) {
    bool was_running = run->server->process != 0;
    if (!server_process_stop(run->server)) {
        fprintf(stderr, "the server did not end when told to\n");
        return false;
    }
    if (!was_running || !run->is_daybook ||
        (WIFEXITED(run->server->status) && WEXITSTATUS(run->server->status) == 0))
        return true;
    fprintf(stderr, "the server ended with status %#x\n", (unsigned)run->server->status);
    runner_show_log(run);
    return false;
}

static int run_script(runner *run, char *program) {
    if (!start(run, program)) return 1;
    run->version = runner_ask_version(run);
    if (run->version == 0) {
        fprintf(stderr, "the server announces no version\n");
        return 1;
    }
    if (run->version < run->script->needed_version) {
        printf("SKIP: it needs %u.%u: %s\n", run->script->needed_version / 1000,
               run->script->needed_version % 1000, run->script->needed_why);
        return SKIPPED;
    }
    bool is_good = runner_run(run);
    return stop(run) && is_good ? 0 : 1;
}

int main(int argc, char **argv) {
    static runner run;
    static script read;
    server_process server;
    char program[PATH_SIZE], why[512];
    const char *named = getenv("DAYBOOK_NATS_SERVER");
    bool is_daybook = argc == 4 && strcmp(argv[1], "daybook") == 0;
    if (!is_daybook && (argc != 3 || strcmp(argv[1], "nats") != 0)) {
        fprintf(stderr, "wire_run daybook PROGRAM SCRIPT\nwire_run nats SCRIPT\n");
        return 2;
    }
    if (is_daybook) {
        (void)snprintf(program, sizeof program, "%s", argv[2]);
        if (!can_serve(program)) return skip("the program has no serve");
    } else if (!server_process_find(named == NULL || *named == '\0' ? "nats-server" : named, program,
                                    sizeof program)) {
        return skip("there is no nats-server (Debian: nats-server)");
    }
    script_read(&read, argv[argc - 1]);
    if (!server_process_folder(&server, why, sizeof why)) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    run = (runner){.script = &read,
                   .server = &server,
                   .is_daybook = is_daybook,
                   .is_traced = getenv("DAYBOOK_TRACE") != NULL};
    int result = run_script(&run, program);
    server_process_free(&server);
    script_free(&read);
    return result;
}
