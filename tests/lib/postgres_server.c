// SPDX-License-Identifier: Apache-2.0
#include "lib/postgres_server.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void give_up(const char *what, const char *why) {
    (void)fprintf(stderr, "\nthe PostgreSQL server for tests: %s: %s\n", what, why);
    abort();
}

// Both ends are closed by exec, so that no other child keeps the server alive.
static void make_pipe(int ends[2]) {
    if (pipe(ends) != 0) give_up("pipe", "no descriptors");
    for (int end = 0; end < 2; end++) {
        if (fcntl(ends[end], F_SETFD, FD_CLOEXEC) != 0) give_up("fcntl", "refused");
    }
}

static void read_answer(postgres_server *server, const char *command, char *line, size_t line_size) {
    if (fgets(line, (int)line_size, server->answers) == NULL) give_up(command, "its keeper has died");
    line[strcspn(line, "\n")] = '\0';
}

bool postgres_server_start(postgres_server *server) {
    int commands[2];
    int answers[2];
    make_pipe(commands);
    make_pipe(answers);
    posix_spawn_file_actions_t actions;
    if (posix_spawn_file_actions_init(&actions) != 0 ||
        posix_spawn_file_actions_adddup2(&actions, commands[0], STDIN_FILENO) != 0 ||
        posix_spawn_file_actions_adddup2(&actions, answers[1], STDOUT_FILENO) != 0) {
        give_up("posix_spawn_file_actions", "no memory");
    }
    char script[] = POSTGRES_SERVER_SCRIPT;
    char *arguments[] = {script, (char[]){"serve"}, NULL};
    int failure = posix_spawn(&server->keeper, script, &actions, NULL, arguments, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(commands[0]);
    (void)close(answers[1]);
    if (failure != 0) {
        (void)close(commands[1]);
        (void)close(answers[0]);
        (void)printf("SKIP: %s does not run: %s\n", script, strerror(failure));
        return false;
    }
    server->commands = fdopen(commands[1], "w");
    server->answers = fdopen(answers[0], "r");
    if (server->commands == NULL || server->answers == NULL) give_up("fdopen", "no memory");

    char line[512];
    read_answer(server, "serve", line, sizeof line);
    if (strncmp(line, "ready ", 6) != 0) {
        (void)printf("%s\n", line);
        postgres_server_end(server);
        return false;
    }
    if ((size_t)snprintf(server->url, sizeof server->url, "%s", line + 6) >= sizeof server->url) {
        (void)printf("SKIP: the server's URL is longer than %zu bytes\n", sizeof server->url - 1);
        postgres_server_end(server);
        return false;
    }
    return true;
}

void postgres_server_do(postgres_server *server, const char *command) {
    char line[4096];
    if (fprintf(server->commands, "%s\n", command) < 0 || fflush(server->commands) != 0) {
        give_up(command, "its keeper has died");
    }
    read_answer(server, command, line, sizeof line);
    if (strcmp(line, "ok") != 0) give_up(command, line);
}

void postgres_server_end(postgres_server *server) {
    (void)fclose(server->commands);
    (void)fclose(server->answers);
    int status;
    (void)waitpid(server->keeper, &status, 0);
}
