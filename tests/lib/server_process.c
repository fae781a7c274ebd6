// SPDX-License-Identifier: Apache-2.0
#define _POSIX_C_SOURCE 200809L // nanosleep, kill
#include "lib/server_process.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/folder.h"

enum { START_MS = 20000, STOP_MS = 10000, STEP_MS = 5 };

static void sleep_ms(long duration_ms) {
    struct timespec left = {duration_ms / 1000, duration_ms % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0) continue;
}

bool server_process_find(const char *program, char *path_out, size_t capacity) {
    const char *search = getenv("PATH");
    char folders[4096];
    if (strchr(program, '/') != NULL) {
        int size = snprintf(path_out, capacity, "%s", program);
        return size > 0 && (size_t)size < capacity && access(path_out, X_OK) == 0;
    }
    (void)snprintf(folders, sizeof folders, "%s:/usr/sbin", search == NULL ? "" : search);
    for (char *at = folders; at != NULL;) {
        char *colon = strchr(at, ':');
        if (colon != NULL) *colon = '\0';
        int size = snprintf(path_out, capacity, "%s/%s", at, program);
        if (size > 0 && (size_t)size < capacity && access(path_out, X_OK) == 0) return true;
        at = colon == NULL ? NULL : colon + 1;
    }
    return false;
}

bool server_process_folder(server_process *server, char *why, size_t capacity) {
    *server = (server_process){0};
    if (folder_make("server", server->folder, sizeof server->folder)) return true;
    (void)snprintf(why, capacity, "there can be no folder for the server");
    server->folder[0] = '\0';
    return false;
}

// In the child: only what may be called between fork and exec.
static void become_server(char *const *arguments, char *const *environment, int log, pid_t parent) {
    (void)dup2(log, 1);
    (void)dup2(log, 2);
    // With the thread that started it, at the latest with the process.
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) _exit(1);
    (void)execve(arguments[0], arguments, environment);
    _exit(127);
}

// "{"nats":["nats://127.0.0.1:41337"]…", written by the server once it listens.
static bool read_ports(server_process *server, const char *path) {
    char text[1024];
    FILE *file = fopen(path, "r");
    size_t size = file == NULL ? 0 : fread(text, 1, sizeof text - 1, file);
    if (file != NULL) (void)fclose(file);
    text[size] = '\0';
    const char *url = strstr(text, "nats://");
    const char *end = url == NULL ? NULL : strchr(url, '"');
    if (end == NULL || (size_t)(end - url) >= sizeof server->url) return false;
    (void)snprintf(server->url, sizeof server->url, "%.*s", (int)(end - url), url);
    const char *port = strrchr(server->url, ':');
    server->port = (int)strtol(port + 1, NULL, 10);
    return server->port > 0;
}

static bool find_ports(server_process *server) {
    char path[512];
    DIR *folder = opendir(server->folder);
    const struct dirent *entry;
    bool found = false;
    while (folder != NULL && !found && (entry = readdir(folder)) != NULL) {
        // Not the one that is being written beside it: taken away, it would be missed.
        const char *ending = strrchr(entry->d_name, '.');
        if (ending == NULL || strcmp(ending, ".ports") != 0) continue;
        (void)snprintf(path, sizeof path, "%s/%.200s", server->folder, entry->d_name);
        found = read_ports(server, path);
        if (found) (void)remove(path); // that of the next start is another
    }
    if (folder != NULL) (void)closedir(folder);
    return found;
}

extern char **environ;

bool server_process_start(server_process *server, char *const arguments[], char *why, size_t capacity) {
    char log_path[128];
    (void)snprintf(log_path, sizeof log_path, "%s/log", server->folder);
    int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    pid_t parent = getpid();
    pid_t child = log < 0 ? -1 : fork();
    if (child == 0) become_server(arguments, environ, log, parent);
    if (log >= 0) (void)close(log);
    if (child < 0) {
        (void)snprintf(why, capacity, "the server cannot be started");
        return false;
    }
    server->process = (int)child;
    for (int waited_ms = 0; waited_ms < START_MS; waited_ms += STEP_MS) {
        if (find_ports(server)) return true;
        if (server_process_wait(server, 0)) break;
        sleep_ms(STEP_MS);
    }
    (void)snprintf(why, capacity, "%s does not listen (its log: %s)", arguments[0], log_path);
    return false;
}

bool server_process_wait(server_process *server, int duration_ms) {
    for (int waited_ms = 0;; waited_ms += STEP_MS) {
        if (server->process == 0) return true;
        if (waitpid((pid_t)server->process, &server->status, WNOHANG) != 0) {
            server->process = 0;
            return true;
        }
        if (waited_ms >= duration_ms) return false;
        sleep_ms(STEP_MS);
    }
}

bool server_process_stop(server_process *server) {
    if (server->process == 0) return true;
    (void)kill((pid_t)server->process, SIGTERM);
    if (server_process_wait(server, STOP_MS)) return true;
    (void)kill((pid_t)server->process, SIGKILL);
    (void)waitpid((pid_t)server->process, &server->status, 0);
    server->process = 0;
    return false;
}

void server_process_free(server_process *server) {
    (void)server_process_stop(server);
    if (server->folder[0] != '\0') (void)folder_remove(server->folder);
    server->folder[0] = '\0';
}
