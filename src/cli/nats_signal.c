// SPDX-License-Identifier: Apache-2.0
//
// `nats-server --signal COMMAND[=PID|FILE]`: tells a running server something. Without a process it is the
// only one of the name nats-server; where there are several, they are listed.

#include "cli/nats_server.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

static int say(char *message, size_t size, const char *format, ...) CLI_PRINTF(3, 4);

static int say(char *message, size_t size, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, size, format, arguments);
    va_end(arguments);
    return 1;
}

static int signal_number(const char *command, size_t size) {
    static const struct {
        const char *command;
        int number;
    } signals[] = {{"stop", SIGKILL},   {"quit", SIGINT},   {"term", SIGTERM},
                   {"reopen", SIGUSR1}, {"reload", SIGHUP}, {"ldm", SIGUSR2}};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        if (strlen(signals[i].command) == size && memcmp(signals[i].command, command, size) == 0)
            return signals[i].number;
    return 0;
}

// A process id and perhaps a line end; 0 where it is none.
static pid_t read_process(const char *text) {
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    while (*end == '\n' || *end == '\r' || *end == ' ') end++;
    return errno == 0 && end != text && *end == '\0' && number > 0 && number <= 0x7fffffff ? (pid_t)number
                                                                                           : 0;
}

static size_t read_small_file(const char *path, char *text, size_t size) {
    FILE *file = fopen(path, "re");
    if (file == NULL) return 0;
    size_t count = fread(text, 1, size - 1, file);
    (void)fclose(file); // only read
    text[count] = '\0';
    return count;
}

static int is_server(const char *process) {
    char path[300];
    char name[32];
    (void)snprintf(path, sizeof path, "/proc/%s/comm", process);
    return read_small_file(path, name, sizeof name) > 0 && strcmp(name, "nats-server\n") == 0;
}

// The only other process of the name nats-server.
static int find_server(pid_t *process_out, char *message, size_t size) {
    DIR *processes = opendir("/proc");
    if (processes == NULL)
        return say(message, size, "cannot list processes: %s; give the process id", strerror(errno));
    size_t count = 0;
    char list[256] = "";
    for (struct dirent *entry = readdir(processes); entry != NULL; entry = readdir(processes)) {
        pid_t process = read_process(entry->d_name);
        if (process == 0 || process == getpid() || !is_server(entry->d_name)) continue;
        size_t used = strlen(list);
        (void)snprintf(list + used, sizeof list - used, "\n%d", (int)process);
        *process_out = process;
        count++;
    }
    (void)closedir(processes);
    if (count == 1) return 0;
    if (count == 0) return say(message, size, "no nats-server processes running");
    return say(message, size, "multiple nats-server processes running:%s", list);
}

static int choose_process(const char *text, pid_t *process_out, char *message, size_t size) {
    if (text == NULL || text[0] == '\0') return find_server(process_out, message, size);
    char content[64];
    const char *digits = read_small_file(text, content, sizeof content) > 0 ? content : text;
    *process_out = read_process(digits);
    if (*process_out != 0) return 0;
    return say(message, size, "invalid pid: %s is neither a process id nor a file that holds one", text);
}

int cli_send_signal(const char *text, char *message, size_t message_size) {
    size_t size = strcspn(text, "=");
    const char *process_text = text[size] == '=' ? text + size + 1 : NULL;
    if (process_text != NULL && strchr(process_text, '=') != NULL)
        return say(message, message_size, "invalid signal parameters: %s", process_text);
    int number = signal_number(text, size);
    if (number == 0) return say(message, message_size, "unknown signal \"%.*s\"", (int)size, text);
    pid_t process = 0;
    int status = choose_process(process_text, &process, message, message_size);
    if (status != 0) return status;
    if (kill(process, number) == 0) return 0;
    return say(message, message_size, "cannot signal process %d: %s", (int)process, strerror(errno));
}
