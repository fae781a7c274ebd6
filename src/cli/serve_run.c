// SPDX-License-Identifier: Apache-2.0
//
// A server in this process until a signal ends it. Signals are blocked in every thread and taken by one of
// their own, because the library may not be called from a handler. They have to be blocked before the store
// or the server makes threads, which inherit the mask. The main thread waits for the server's end, whatever
// brings it.
//
// Memory that was freed stays with the allocator, which hopes for more of the same: after a burst of large
// messages a server would hold hundreds of megabytes for ever. So it is given back once the process is calm
// again, and only then, because it holds up whoever allocates, and what is needed again must be faulted in
// anew. The thread of the signals looks every few seconds. This is the program's business: a server in
// somebody's program leaves their allocator alone.

#include "cli/serve.h"

#include <errno.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/served_commands.h"

void cli_put_setting_text(cli_output *out, const char *text) {
    cli_put_char(out, '"');
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte == '"' || byte == '\\') {
            cli_put_char(out, '\\');
            cli_put_char(out, *text);
        } else if (byte < ' ' || byte == 0x7f) {
            cli_put_format(out, "\\x%02x", byte);
        } else {
            cli_put_char(out, *text);
        }
    }
    cli_put_char(out, '"');
}

void cli_put_setting(cli_output *out, const char *key, const char *text) {
    cli_puts(out, key);
    cli_puts(out, ": ");
    cli_put_setting_text(out, text);
    cli_put_char(out, '\n');
}

void cli_serve_log(void *log_lines, int level, daybook_slice line) {
    cli_serve_log_lines *lines = log_lines;
    if (level == DAYBOOK_SERVER_LOG_FATAL) {
        if (lines->hides_fatal) return;
        lines->said_fatal = 1;
    } else if (lines->is_quiet && level != DAYBOOK_SERVER_LOG_ERROR && level != DAYBOOK_SERVER_LOG_WARNING) {
        return;
    }
    // At once, so that lines of several threads and processes stay whole. Nobody is there to be told of a
    // failure.
    struct iovec parts[2] = {{(void *)(uintptr_t)line.data, line.size}, {"\n", 1}};
    ssize_t written = writev(STDERR_FILENO, parts, 2);
    (void)written;
}

// Commands on the store. They begin when the server is there and end before the store is closed: by the
// server, where it opened the store itself, else by who called us.
static struct {
    pthread_mutex_t lock;
    cli_served_commands *commands;
    int is_over;
} commands = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct {
    sigset_t signals;
    sigset_t before;
    pthread_t thread;
    daybook_server *server;
    atomic_int is_over;
    int is_stopping; // the thread's
} serving;

// As many connections as the system allows; shells give 1,024. Where that fails, the server says so when it
// matters.
static void raise_open_files(void) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == files.rlim_max) return;
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
}

void cli_serve_prepare(void) {
    raise_open_files();
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};
    (void)sigemptyset(&serving.signals);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        (void)sigaddset(&serving.signals, numbers[i]);
    (void)pthread_sigmask(SIG_BLOCK, &serving.signals, &serving.before);
}

static void take_signal(int number) {
    daybook_error error;
    switch (number) {
    case SIGHUP:
        // What is wrong with the configuration stands in the log, made from `error`; the old one goes on.
        daybook_error_init(&error);
        (void)daybook_server_reload(serving.server, &error);
        break;
    case SIGUSR1:
        daybook_server_reopen_log(serving.server);
        break;
    case SIGUSR2:
        daybook_server_lame_duck(serving.server);
        break;
    default:
        if (serving.is_stopping) _exit(CLI_ERROR);
        serving.is_stopping = 1;
        daybook_server_interrupt(serving.server);
    }
}

enum { LOOK_S = 5, CALM_US = 50 * 1000, WORTH_US = 50 * 1000 };

typedef struct cpu_looks {
    int64_t last_us;  // used by the process when last looked at
    int64_t given_us; // when memory was given back
} cpu_looks;

static int64_t used_cpu_us(void) {
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
    return (int64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec +
           usage.ru_stime.tv_usec;
}

// Once after each time that something was done: since it last happened the process has worked, and now it
// hardly does.
static void give_memory_back(cpu_looks *looks) {
    int64_t now_us = used_cpu_us();
    int is_calm = now_us - looks->last_us < CALM_US;
    looks->last_us = now_us;
    if (!is_calm || now_us - looks->given_us < WORTH_US) return;
#ifdef __GLIBC__
    (void)malloc_trim(0); // whether there was anything is all it says
#endif
    looks->last_us = looks->given_us = used_cpu_us();
}

static void *take_signals(void *unused) {
    (void)unused;
    cpu_looks looks = {0};
    for (;;) {
        int number = sigtimedwait(&serving.signals, NULL, &(struct timespec){.tv_sec = LOOK_S});
        if (atomic_load(&serving.is_over)) return NULL;
        if (number > 0) {
            take_signal(number);
        } else if (errno == EAGAIN) {
            give_memory_back(&looks);
        }
    }
}

static daybook_status fail_thread(int failure, daybook_error *error) {
    daybook_error_init(error);
    error->status = DAYBOOK_EIO;
    (void)snprintf(error->message, sizeof error->message, "cannot wait for signals: %s; try again",
                   strerror(failure));
    return DAYBOOK_EIO;
}

static void say_no_commands(const daybook_server_options *options, int failed) {
    if (options->log == NULL) return;
    char line[256];
    int size = snprintf(line, sizeof line,
                        "cannot listen for commands of this store: %s; they wait for the lock until this "
                        "server ends",
                        strerror(failed));
    options->log(options->log_context, DAYBOOK_SERVER_LOG_WARNING, daybook_bytes(line, (size_t)size));
}

// Where they cannot be served, commands wait for the lock as for any writer; that is worth a line, not an
// end.
static void begin_commands(const daybook_server_options *options) {
    int failed = 0;
    (void)pthread_mutex_lock(&commands.lock);
    // A server that has ended already may have closed the store.
    if (!commands.is_over)
        failed = cli_served_commands_begin(daybook_server_store(serving.server), &commands.commands);
    (void)pthread_mutex_unlock(&commands.lock);
    if (failed != 0) say_no_commands(options, failed);
}

static void end_commands(void *unused) {
    (void)unused;
    (void)pthread_mutex_lock(&commands.lock);
    commands.is_over = 1;
    cli_served_commands_end(commands.commands);
    commands.commands = NULL;
    (void)pthread_mutex_unlock(&commands.lock);
}

daybook_status cli_serve(const daybook_server_options *options,
                         void (*ready)(void *context, daybook_server *server), void *context,
                         daybook_error *error) {
    daybook_server_options with_end = *options;
    with_end.closing = end_commands;
    commands.is_over = 0;
    daybook_status status = daybook_server_start(&with_end, &serving.server, error);
    if (status != DAYBOOK_OK) {
        (void)pthread_sigmask(SIG_SETMASK, &serving.before, NULL);
        return status;
    }
    atomic_store(&serving.is_over, 0);
    serving.is_stopping = 0;
    int failure = pthread_create(&serving.thread, NULL, take_signals, NULL);
    if (failure != 0) {
        (void)daybook_server_stop(serving.server, NULL);
        (void)pthread_sigmask(SIG_SETMASK, &serving.before, NULL);
        return fail_thread(failure, error);
    }
    // Before it is said to be ready, so that commands find it then.
    begin_commands(options);
    if (ready != NULL) ready(context, serving.server);
    (void)daybook_server_wait(serving.server, -1);
    end_commands(NULL);
    atomic_store(&serving.is_over, 1);
    (void)pthread_kill(serving.thread, SIGTERM);
    (void)pthread_join(serving.thread, NULL);
    status = daybook_server_stop(serving.server, error);
    (void)pthread_sigmask(SIG_SETMASK, &serving.before, NULL);
    return status;
}
