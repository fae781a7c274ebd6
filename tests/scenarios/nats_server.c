// SPDX-License-Identifier: Apache-2.0
#define _XOPEN_SOURCE 700 // mkdtemp, nftw
#include "scenarios/nats_server.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { START_MS = 20000, STOP_MS = 10000, STEP_MS = 10 };

static void sleep_ms(long duration_ms) {
    struct timespec left = {duration_ms / 1000, duration_ms % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0) continue;
}

static const char *program(void) {
    const char *named = getenv("DAYBOOK_NATS_SERVER");
    return named == NULL || *named == '\0' ? "nats-server" : named;
}

unsigned nats_server_version(void) {
    char command[512], line[128] = "";
    // Debian's is in /usr/sbin, which is not in everybody's PATH.
    (void)snprintf(command, sizeof command, "PATH=$PATH:/usr/sbin; '%s' --version 2>/dev/null", program());
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

// In the child: only what may be called between fork and exec.
static void become_server(const char *name, char *const *arguments, char *const *environment, int log,
                          pid_t parent) {
    (void)dup2(log, 1);
    (void)dup2(log, 2);
    // With the thread that started it, at the latest with the process.
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) _exit(1);
    (void)execve(name, arguments, environment);
    _exit(127);
}

extern char **environ;

// Where the program is: exec does not look for it.
static bool find_program(char *path, size_t capacity) {
    if (strchr(program(), '/') != NULL) {
        (void)snprintf(path, capacity, "%s", program());
        return true;
    }
    const char *search = getenv("PATH");
    char folders[4096];
    (void)snprintf(folders, sizeof folders, "%s:/usr/sbin", search == NULL ? "" : search);
    for (char *at = folders; at != NULL;) {
        char *colon = strchr(at, ':');
        if (colon != NULL) *colon = '\0';
        (void)snprintf(path, capacity, "%.400s/%.100s", at, program());
        if (access(path, X_OK) == 0) return true;
        at = colon == NULL ? NULL : colon + 1;
    }
    return false;
}

// "{"nats":["nats://127.0.0.1:41337"]…", written by the server once it listens.
static bool read_url(nats_server *server) {
    char path[512], text[1024];
    DIR *folder = opendir(server->folder);
    const struct dirent *entry;
    bool found = false;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        if (strstr(entry->d_name, ".ports") == NULL) continue;
        (void)snprintf(path, sizeof path, "%s/%.200s", server->folder, entry->d_name);
        FILE *file = fopen(path, "r");
        size_t size = file == NULL ? 0 : fread(text, 1, sizeof text - 1, file);
        if (file != NULL) (void)fclose(file);
        text[size] = '\0';
        const char *url = strstr(text, "nats://");
        const char *end = url == NULL ? NULL : strchr(url, '"');
        if (end == NULL || (size_t)(end - url) >= sizeof server->url) continue;
        (void)snprintf(server->url, sizeof server->url, "%.*s", (int)(end - url), url);
        found = true;
        (void)remove(path); // that of the next start is another
    }
    if (folder != NULL) (void)closedir(folder);
    return found;
}

static bool start(nats_server *server, char *why, size_t capacity) {
    char path[512], store[128], log_path[128];
    if (!find_program(path, sizeof path)) {
        (void)snprintf(why, capacity, "there is no %s (Debian: nats-server)", program());
        return false;
    }
    (void)snprintf(store, sizeof store, "%s/store", server->folder);
    (void)snprintf(log_path, sizeof log_path, "%s/log", server->folder);
    char *arguments[] = {
        path,          (char *)"-a", (char *)"127.0.0.1",        (char *)"-p",   (char *)"-1", (char *)"-js",
        (char *)"-sd", store,        (char *)"--ports_file_dir", server->folder, NULL};
    int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    pid_t parent = getpid();
    pid_t child = log < 0 ? -1 : fork();
    if (child == 0) become_server(path, arguments, environ, log, parent);
    if (log >= 0) (void)close(log);
    if (child < 0) {
        (void)snprintf(why, capacity, "the server cannot be started");
        return false;
    }
    server->process = (int)child;
    for (int waited_ms = 0; waited_ms < START_MS; waited_ms += STEP_MS) {
        if (read_url(server)) return true;
        if (waitpid(child, NULL, WNOHANG) == child) {
            server->process = 0;
            break;
        }
        sleep_ms(STEP_MS);
    }
    (void)snprintf(why, capacity, "%s does not listen (its log: %s)", path, log_path);
    return false;
}

static void stop(nats_server *server) {
    if (server->process == 0) return;
    pid_t process = (pid_t)server->process;
    server->process = 0;
    (void)kill(process, SIGTERM);
    for (int waited_ms = 0; waited_ms < STOP_MS; waited_ms += STEP_MS) {
        if (waitpid(process, NULL, WNOHANG) != 0) return;
        sleep_ms(STEP_MS);
    }
    (void)kill(process, SIGKILL);
    (void)waitpid(process, NULL, 0);
}

bool nats_server_new(nats_server *server, char *why, size_t capacity) {
    *server = (nats_server){0};
    (void)snprintf(server->folder, sizeof server->folder, "nats-server-XXXXXX");
    if (mkdtemp(server->folder) == NULL) {
        (void)snprintf(why, capacity, "there can be no folder for the server");
        server->folder[0] = '\0';
        return false;
    }
    return start(server, why, capacity);
}

bool nats_server_restart(nats_server *server, char *why, size_t capacity) {
    stop(server);
    return start(server, why, capacity);
}

static int remove_entry(const char *entry, const struct stat *facts, int kind, struct FTW *place) {
    (void)facts, (void)kind, (void)place;
    return remove(entry);
}

void nats_server_free(nats_server *server) {
    stop(server);
    if (server->folder[0] != '\0') (void)nftw(server->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    server->folder[0] = '\0';
}
