// SPDX-License-Identifier: Apache-2.0
//
// Listens for commands on a served store. One thread accepts callers and hears all of them
// (served_session.c); it waits for nothing but the next thing to do.
//
// Bounds: COMMANDS_MAX commands at a time, of which those that only read leave WRITERS_MIN places free; a
// read that finds none is done by its caller, a write waits there. A caller says what it wants within
// GREETING_NS, and a connection whose command is over ends within LINGER_NS.
//
// The end: no new callers, commands are interrupted, and awaited, because the store is closed after. A caller
// that takes nothing in holds its command up; after STOP_GRACE_NS it is treated as gone.
#include "cli/served_commands.h"

#include "cli/progress.h"
#include "cli/served_session.h"
#include "cli/served_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    COMMANDS_MAX = 256,
    WRITERS_MIN = 64,
    CONNECTIONS_MAX = 2 * COMMANDS_MAX,
    POLLED_MAX = 2 + CONNECTIONS_MAX * CLI_SESSION_POLLED,
};

#define SECOND_NS INT64_C(1000000000)
#define GREETING_NS (10 * SECOND_NS)
#define LINGER_NS (10 * SECOND_NS)
#define LINGER_AT_END_NS (SECOND_NS / 2)
#define STOP_GRACE_NS (2 * SECOND_NS)
#define ACCEPT_AGAIN_NS (SECOND_NS / 10)

typedef struct connection {
    cli_session *session;
    int64_t over_ns; // when its command was over; 0: not yet
    int is_gone;     // just now, or it made no sense
    size_t polled;   // first place in `list`
    size_t polled_count;
} connection;

struct cli_served_commands {
    daybook_store *store;
    char *directory;
    int listener;
    int wake[2]; // a byte for each command that is over, and for the end
    pthread_t thread;
    atomic_int is_ending;
    // The listener's.
    connection connections[CONNECTIONS_MAX];
    size_t count;
    int64_t accept_from_ns; // there were no descriptors left
    int64_t ending_ns;
    struct pollfd list[POLLED_MAX];
    unsigned char message[CLI_SERVED_MESSAGE_MAX + 1];
};

static size_t running_count(const cli_served_commands *commands) {
    size_t count = 0;
    for (size_t i = 0; i < commands->count; i++)
        count += cli_session_phase(commands->connections[i].session) != CLI_SESSION_DONE;
    return count;
}

// A new caller has said who it is; it counts itself.
static int admit(void *context, const cli_served_hello *hello) {
    const cli_served_commands *commands = context;
    if (atomic_load(&commands->is_ending)) return CLI_SERVED_REFUSED_ENDING;
    size_t places = (hello->flags & CLI_SERVED_READS) != 0 ? COMMANDS_MAX - WRITERS_MIN : COMMANDS_MAX;
    return running_count(commands) > places ? CLI_SERVED_REFUSED_BUSY : 0;
}

static void take_callers(cli_served_commands *commands) {
    while (commands->count < CONNECTIONS_MAX) {
        int control = cli_served_accept(commands->listener);
        if (control < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
        if (control < 0 && (errno == EACCES || errno == ECONNABORTED || errno == EINTR)) continue;
        if (control < 0) { // no descriptors: those that wait are taken when others have gone
            commands->accept_from_ns = cli_clock_ns() + ACCEPT_AGAIN_NS;
            return;
        }
        cli_session *session = cli_session_new(control, commands->store, commands->wake[1]);
        if (session == NULL) {
            (void)close(control);
            return;
        }
        commands->connections[commands->count++] = (connection){.session = session};
    }
}

// Whether the connection is to be ended now.
static int is_finished(cli_served_commands *commands, connection *ended, int is_gone, int64_t now_ns) {
    int phase = cli_session_phase(ended->session);
    if (phase == CLI_SESSION_DONE) {
        if (ended->over_ns == 0) ended->over_ns = now_ns;
        // Closed with something unread, the caller would not get the result; so it closes first.
        int64_t linger_ns = commands->ending_ns != 0 ? LINGER_AT_END_NS : LINGER_NS;
        return is_gone || cli_session_is_gone(ended->session) || now_ns - ended->over_ns > linger_ns;
    }
    if (phase == CLI_SESSION_RUNNING) {
        if (is_gone) cli_session_cut(ended->session);
        return 0; // when its command is over
    }
    return is_gone || commands->ending_ns != 0 || now_ns - cli_session_begun_ns(ended->session) > GREETING_NS;
}

// First all are heard, then those that are over go: to admit a caller all of them are counted.
static void move_all(cli_served_commands *commands) {
    for (size_t i = 0; i < commands->count; i++) {
        connection *moved = &commands->connections[i];
        int is_ready = 0;
        for (size_t j = 0; j < moved->polled_count; j++)
            is_ready |= commands->list[moved->polled + j].revents != 0;
        moved->is_gone = is_ready &&
                         cli_session_move(moved->session, commands->message, admit, commands) != 0;
    }
    int64_t now_ns = cli_clock_ns();
    size_t kept = 0;
    for (size_t i = 0; i < commands->count; i++) {
        connection moved = commands->connections[i];
        if (is_finished(commands, &moved, moved.is_gone, now_ns))
            cli_session_free(moved.session);
        else
            commands->connections[kept++] = moved;
    }
    commands->count = kept;
}

static int has_deadline(const cli_served_commands *commands) {
    for (size_t i = 0; i < commands->count; i++)
        if (cli_session_phase(commands->connections[i].session) != CLI_SESSION_RUNNING) return 1;
    return commands->ending_ns != 0 || commands->accept_from_ns != 0;
}

static int takes_callers(cli_served_commands *commands) {
    if (commands->ending_ns != 0 || commands->count == CONNECTIONS_MAX) return 0;
    if (commands->accept_from_ns > cli_clock_ns()) return 0;
    commands->accept_from_ns = 0;
    return 1;
}

static void wait_for_something(cli_served_commands *commands) {
    size_t count = 2;
    commands->list[0] = (struct pollfd){.fd = commands->wake[0], .events = POLLIN};
    commands->list[1] =
        (struct pollfd){.fd = takes_callers(commands) ? commands->listener : -1, .events = POLLIN};
    for (size_t i = 0; i < commands->count; i++) {
        connection *waiting = &commands->connections[i];
        waiting->polled = count;
        waiting->polled_count = cli_session_poll(waiting->session, commands->list + count);
        // Nothing more is to be heard from a caller that is gone, and poll would tell of it for ever.
        if (cli_session_is_gone(waiting->session)) waiting->polled_count = 0;
        count += waiting->polled_count;
    }
    if (poll(commands->list, (nfds_t)count, has_deadline(commands) ? 100 : -1) < 0)
        for (size_t i = 0; i < count; i++) commands->list[i].revents = 0;
    char bytes[256];
    if (commands->list[0].revents != 0)
        while (read(commands->wake[0], bytes, sizeof bytes) == (ssize_t)sizeof bytes) continue;
}

static void stop_all(cli_served_commands *commands) {
    int64_t now_ns = cli_clock_ns();
    int is_late = commands->ending_ns != 0 && now_ns - commands->ending_ns > STOP_GRACE_NS;
    for (size_t i = 0; i < commands->count; i++) {
        cli_session_stop(commands->connections[i].session);
        if (is_late) cli_session_cut(commands->connections[i].session);
    }
    if (commands->ending_ns == 0) commands->ending_ns = now_ns;
}

static void *listen_all(void *of_commands) {
    cli_served_commands *commands = of_commands;
    while (!atomic_load(&commands->is_ending) || commands->count > 0) {
        wait_for_something(commands);
        int has_callers = commands->list[1].revents != 0;
        move_all(commands);
        if (atomic_load(&commands->is_ending))
            stop_all(commands);
        else if (has_callers)
            take_callers(commands);
    }
    return NULL;
}

static void release(cli_served_commands *commands) {
    if (commands->listener >= 0) {
        (void)close(commands->listener);
        cli_served_unlink(commands->directory);
    }
    for (int i = 0; i < 2; i++)
        if (commands->wake[i] >= 0) (void)close(commands->wake[i]);
    free(commands->directory);
    free(commands);
}

int cli_served_commands_begin(daybook_store *store, cli_served_commands **commands_out) {
    *commands_out = NULL;
    const char *directory = store == NULL ? NULL : daybook_store_path(store);
    if (directory == NULL) return 0;
    cli_served_commands *commands = calloc(1, sizeof *commands);
    if (commands == NULL) return ENOMEM;
    commands->store = store;
    commands->listener = commands->wake[0] = commands->wake[1] = -1;
    commands->directory = strdup(directory);
    int failed = commands->directory == NULL ? ENOMEM : 0;
    if (failed == 0 && pipe(commands->wake) != 0) failed = errno;
    for (int i = 0; failed == 0 && i < 2; i++) {
        (void)fcntl(commands->wake[i], F_SETFD, FD_CLOEXEC);
        (void)fcntl(commands->wake[i], F_SETFL, O_NONBLOCK);
    }
    if (failed == 0) {
        commands->listener = cli_served_listen(directory);
        if (commands->listener < 0) failed = errno;
    }
    if (failed == 0) failed = pthread_create(&commands->thread, NULL, listen_all, commands);
    if (failed != 0) {
        release(commands);
        return failed;
    }
    *commands_out = commands;
    return 0;
}

void cli_served_commands_end(cli_served_commands *commands) {
    if (commands == NULL) return;
    atomic_store(&commands->is_ending, 1);
    while (write(commands->wake[1], "", 1) < 0 && errno == EINTR) continue; // full: it is awake already
    (void)pthread_join(commands->thread, NULL);
    release(commands);
}
