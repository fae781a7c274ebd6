// SPDX-License-Identifier: Apache-2.0
//
// `daybook` on a directory that `daybook serve` has: the command runs there (served_session.c), and this
// process is its hands. It prints what the command prints, reads what the command asks for, and passes ^C on
// where the command knows what to do with it; elsewhere, and the second time, ^C ends this process, and the
// server ends the command.
//
// The server is told nothing of this machine but the words of the command line, and opens nothing itself:
// files are opened here, by this user, in this directory, and only those that the command line names. So a
// server in a sandbox, or of another user, needs no access to them, and cannot reach others through a caller.
//
// Where no server answers, a command that only reads is run here, on a read-only store. One that writes waits
// for the lock as ever; meanwhile it looks for a server, because one that is starting holds the lock before
// it listens.
//
// One thread.
#include "cli/served_caller.h"

#include "cli/git_history.h"
#include "cli/input.h"
#include "cli/progress.h"
#include "cli/served_protocol.h"
#include "cli/served_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define READ_WAIT_NS INT64_C(1000000000) // a read is done here when no server has answered by then
#define LOOK_AGAIN_NS 10000000

typedef struct hand {
    cli_input input;          // descriptor -1: none
    cli_git_history *history; // of git, else NULL
    int is_wanted;
} hand;

typedef struct call {
    cli_context *context;
    char **arguments; // of this process
    size_t count;
    int control;
    unsigned long server; // process id
    int output_errno;     // of standard output and error since the last answer
    hand hands[CLI_SERVED_CHANNELS_MAX];
    unsigned char message[CLI_SERVED_MESSAGE_MAX + 1];
    unsigned char bytes[CLI_SERVED_DATA_MAX];
} call;

enum outcome {
    CALL_NO_SERVER,
    CALL_BUSY,    // or ending, or silent: look again
    CALL_VERSION, // it does not understand us
    CALL_WELCOME,
};

// --- Signals ---------------------------------------------------------------------------------------------

// A byte for a signal, once the command is prepared for it.
static int signals[2] = {-1, -1};
static volatile sig_atomic_t has_come;

// As everywhere the second one ends the program, whatever is under way: it may be stuck writing where nobody
// reads.
static void take_signal(int number) {
    (void)number;
    if (has_come) _exit(CLI_ERROR);
    has_come = 1;
    int kept = errno;
    ssize_t written = write(signals[1], "", 1);
    (void)written; // the only one: there is room
    errno = kept;
}

// 0 or errno.
static int begin_signals(void) {
    if (signals[0] >= 0) return 0;
    if (pipe(signals) != 0) return errno;
    for (int i = 0; i < 2; i++) {
        (void)fcntl(signals[i], F_SETFD, FD_CLOEXEC);
        (void)fcntl(signals[i], F_SETFL, O_NONBLOCK);
    }
    struct sigaction action = {.sa_handler = take_signal}; // without SA_RESTART: a write that waits is cut
    (void)sigemptyset(&action.sa_mask);
    (void)sigaddset(&action.sa_mask, SIGINT);
    (void)sigaddset(&action.sa_mask, SIGTERM);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    return 0;
}

// --- Messages --------------------------------------------------------------------------------------------

// 0 or errno. Waits for room: the server always takes messages.
static int say(call *said, int type, unsigned channel, uint32_t number, const void *data, size_t size) {
    return cli_served_send(said->control, type, channel, number, data, size, 0);
}

// 1 with a message; 0: the server is gone; -1: it makes no sense.
static int hear(call *heard, cli_served_message *message_out) {
    ssize_t size;
    do size = recv(heard->control, heard->message, sizeof heard->message, 0);
    while (size < 0 && errno == EINTR);
    if (size <= 0) return 0;
    return cli_served_parse(heard->message, (size_t)size, 0, message_out) ? 1 : -1;
}

static void pass_signal(call *called) {
    char byte;
    if (signals[0] >= 0 && read(signals[0], &byte, 1) == 1)
        (void)say(called, CLI_SERVED_INTERRUPT, 0, 0, NULL, 0);
}

static int say_hello(call *greeted) {
    const cli_context *context = greeted->context;
    cli_served_hello hello = {.version = CLI_SERVED_VERSION, .columns = (uint32_t)context->columns};
    if (context->terminal_in) hello.flags |= CLI_SERVED_TERMINAL_IN;
    if (context->terminal_out) hello.flags |= CLI_SERVED_TERMINAL_OUT;
    if (context->terminal_err) hello.flags |= CLI_SERVED_TERMINAL_ERR;
    if (context->color) hello.flags |= CLI_SERVED_COLOR;
    if ((context->command->flags & CLI_READS) != 0 || context->dry_run) hello.flags |= CLI_SERVED_READS;
    unsigned char data[CLI_SERVED_HELLO_SIZE];
    cli_served_put_hello(data, &hello);
    return say(greeted, CLI_SERVED_HELLO, 0, 0, data, sizeof data);
}

static int await_answer(call *greeted, int64_t until_ns) {
    struct pollfd waiting = {.fd = greeted->control, .events = POLLIN};
    for (;;) {
        int64_t left_ns = until_ns - cli_clock_ns();
        int ready = poll(&waiting, 1, left_ns <= 0 ? 0 : (int)(left_ns / 1000000 + 1));
        if (ready >= 0 || errno != EINTR) return ready > 0;
    }
}

static int greet(call *greeted, int64_t until_ns) {
    greeted->control = cli_served_connect(greeted->context->store_path);
    if (greeted->control < 0) return errno == EAGAIN ? CALL_BUSY : CALL_NO_SERVER;
    cli_served_message message;
    int outcome = CALL_BUSY;
    if (say_hello(greeted) != 0)
        outcome = CALL_NO_SERVER; // it ended just now
    else if (await_answer(greeted, until_ns) && hear(greeted, &message) == 1) {
        greeted->server = message.number;
        if (message.type == CLI_SERVED_WELCOME) return CALL_WELCOME;
        if (message.type == CLI_SERVED_REFUSED && message.number == CLI_SERVED_REFUSED_VERSION)
            outcome = CALL_VERSION;
    }
    (void)close(greeted->control);
    greeted->control = -1;
    return outcome;
}

// The store as the command line names it, then its words. 0 or errno.
static int say_arguments(call *said) {
    cli_served_arguments all = {.bytes = NULL};
    int failed =
        cli_served_arguments_add(&all, said->context->store_path, strlen(said->context->store_path) + 1);
    for (size_t i = 1; failed == 0 && i < said->count; i++)
        failed = cli_served_arguments_add(&all, said->arguments[i], strlen(said->arguments[i]) + 1);
    for (size_t done = 0; failed == 0 && done < all.size;) {
        size_t part = all.size - done < CLI_SERVED_DATA_MAX ? all.size - done : CLI_SERVED_DATA_MAX;
        failed = say(said, CLI_SERVED_ARGUMENTS, 0, 0, all.bytes + done, part);
        done += part;
    }
    if (failed == 0) failed = say(said, CLI_SERVED_RUN, 0, (uint32_t)said->count, NULL, 0);
    cli_served_arguments_release(&all);
    return failed;
}

// --- Input -----------------------------------------------------------------------------------------------

static void drop_hand(hand *dropped) {
    cli_git_history_close(dropped->history);
    if (dropped->history == NULL) cli_input_close(&dropped->input);
    *dropped = (hand){.input = {.descriptor = -1}};
}

// 0 or errno.
static int open_hand(call *opened, hand *into, uint32_t source, const char *path) {
    // The server asks for what the command line names, or it asks for nothing.
    int is_named = cli_served_is_named(opened->arguments + 1, opened->count - 1, path);
    switch (source) {
    case CLI_SERVED_STANDARD_INPUT:
        return is_named || opened->context->terminal_in ? cli_input_open(NULL, "-", &into->input) : EPERM;
    case CLI_SERVED_FILE:
        return is_named ? cli_input_open(NULL, path, &into->input) : EPERM;
    case CLI_SERVED_GIT:
        if (!is_named) return EPERM;
        char text[CLI_SERVED_TEXT_MAX]; // the errno says enough of what fails before git runs
        int failed = cli_git_history_start(path, &into->history, text, sizeof text);
        if (failed == 0) into->input.descriptor = cli_git_history_descriptor(into->history);
        return failed;
    default:
        return EINVAL;
    }
}

// 0 or errno of the conversation.
static int take_open(call *called, const cli_served_message *message) {
    hand *into = &called->hands[message->channel];
    drop_hand(into);
    char path[CLI_SERVED_DATA_MAX + 1];
    memcpy(path, message->data.data, message->data.size);
    path[message->data.size] = '\0';
    int failed = open_hand(called, into, message->number, path);
    cli_served_opened opened = {.size = into->input.size,
                                .is_regular = into->input.is_regular,
                                .is_directory = into->input.is_directory};
    unsigned char data[CLI_SERVED_OPENED_SIZE];
    cli_served_put_opened(data, &opened);
    return say(called, CLI_SERVED_OPENED, message->channel, (uint32_t)failed, data, sizeof data);
}

static int say_end(call *called, unsigned channel, int failed) {
    hand *ended = &called->hands[channel];
    char text[CLI_SERVED_TEXT_MAX] = "";
    if (failed == 0 && ended->history != NULL)
        failed = cli_git_history_end(ended->history, text, sizeof text);
    ended->is_wanted = 0;
    return say(called, CLI_SERVED_INPUT_END, channel, (uint32_t)failed, text, strlen(text));
}

static int pass_input(call *called, unsigned channel) {
    hand *from = &called->hands[channel];
    ssize_t count = read(from->input.descriptor, called->bytes, sizeof called->bytes);
    if (count < 0 && errno == EINTR) return 0;
    if (count <= 0) return say_end(called, channel, count < 0 ? errno : 0);
    from->is_wanted = 0;
    return say(called, CLI_SERVED_INPUT, channel, 0, called->bytes, (size_t)count);
}

// --- Output ----------------------------------------------------------------------------------------------

// 0 or errno. A signal that cuts it is passed on at once: the command ends behind what it has written.
static int write_all(call *called, int descriptor, daybook_slice data) {
    const char *bytes = data.data;
    for (size_t done = 0; done < data.size;) {
        ssize_t count = write(descriptor, bytes + done, data.size - done);
        if (count < 0 && errno != EINTR) return errno;
        if (count > 0) done += (size_t)count;
        if (done < data.size) pass_signal(called);
    }
    return 0;
}

static int take_output(call *called, const cli_served_message *message) {
    int descriptor = message->type == CLI_SERVED_OUTPUT ? STDOUT_FILENO : STDERR_FILENO;
    if (called->output_errno == 0) called->output_errno = write_all(called, descriptor, message->data);
    if (message->channel == 0) return 0;
    int failed = called->output_errno;
    called->output_errno = 0;
    return say(called, CLI_SERVED_WRITTEN, 0, (uint32_t)failed, NULL, 0);
}

// --- The command -----------------------------------------------------------------------------------------

static int report(call *called, const char *what) {
    char message[1024];
    (void)snprintf(
        message, sizeof message,
        "daybook %s was cut short: the server of %s (process %lu) %s; what was acknowledged is stored, "
        "look what else is before you run it again",
        called->context->command->name, called->context->store_path, called->server, what);
    cli_failure failure = {.status = DAYBOOK_ECLOSED, .exit_status = CLI_UNAVAILABLE, .message = message};
    return cli_report(called->context, &failure);
}

// 0 to go on; 1 with the exit status.
static int take_message(call *called, int *status_out) {
    cli_served_message message;
    int heard = hear(called, &message);
    if (heard != 1) {
        *status_out = report(called, heard == 0 ? "is gone" : "says what nobody understands");
        return 1;
    }
    switch (message.type) {
    case CLI_SERVED_OPEN:
        (void)take_open(called, &message);
        return 0;
    case CLI_SERVED_WANT:
        called->hands[message.channel].is_wanted = called->hands[message.channel].input.descriptor >= 0;
        return 0;
    case CLI_SERVED_CLOSE:
        drop_hand(&called->hands[message.channel]);
        return 0;
    case CLI_SERVED_OUTPUT:
    case CLI_SERVED_ERRORS:
        (void)take_output(called, &message);
        return 0;
    case CLI_SERVED_PREPARED:
        (void)begin_signals(); // without, the signals end this process at once
        return 0;
    case CLI_SERVED_RESULT:
        *status_out = message.channel == 0 ? (int)message.number : report(called, "is stopping");
        return 1;
    default:
        *status_out = report(called, "says what nobody understands");
        return 1;
    }
}

// What cannot be said is heard as the end of the server, behind what it said before.
static int converse(call *called) {
    int status = CLI_FINE;
    for (;;) {
        struct pollfd list[2 + CLI_SERVED_CHANNELS_MAX] = {{.fd = called->control, .events = POLLIN},
                                                           {.fd = signals[0], .events = POLLIN}};
        for (int i = 0; i < CLI_SERVED_CHANNELS_MAX; i++)
            list[2 + i] = (struct pollfd){
                .fd = called->hands[i].is_wanted ? called->hands[i].input.descriptor : -1, .events = POLLIN};
        if (poll(list, sizeof list / sizeof list[0], -1) < 0) continue; // a signal
        if (list[1].revents != 0) pass_signal(called);
        // What the server says first: it may want no more input.
        if (list[0].revents != 0) {
            if (take_message(called, &status)) return status;
            continue;
        }
        for (unsigned i = 0; i < CLI_SERVED_CHANNELS_MAX; i++)
            if (list[2 + i].revents != 0) (void)pass_input(called, i);
    }
}

static int hand_over(call *called) {
    for (int i = 0; i < CLI_SERVED_CHANNELS_MAX; i++) called->hands[i] = (hand){.input = {.descriptor = -1}};
    int failed = say_arguments(called);
    int status = failed == E2BIG || failed == ENOMEM
                     ? cli_fail(called->context, DAYBOOK_ELIMIT,
                                "cannot hand the command to the server of %s: %s; give its data in a file or "
                                "on standard input",
                                called->context->store_path, strerror(failed))
                     : converse(called);
    for (int i = 0; i < CLI_SERVED_CHANNELS_MAX; i++) drop_hand(&called->hands[i]);
    (void)close(called->control);
    return status;
}

// --- Finding the server ----------------------------------------------------------------------------------

int cli_has_server(const char *directory) {
    int control = cli_served_connect(directory);
    if (control < 0) return 0;
    (void)close(control);
    return 1;
}

// As readers of a store look: the lock is ours for an instant where nobody holds it, which writers expect.
static int is_locked(const char *directory) {
    size_t size = strlen(directory) + sizeof "/LOCK";
    char *path = malloc(size);
    if (path == NULL) return 0;
    (void)snprintf(path, size, "%s/LOCK", directory);
    daybook_vfs *vfs = daybook_vfs_posix();
    daybook_file *file = NULL;
    int is_held = 0;
    if (vfs->open(vfs, path, DAYBOOK_VFS_READ, &file) >= 0) {
        is_held = vfs->lock(vfs, file) == -EWOULDBLOCK;
        vfs->close(vfs, file);
    }
    free(path);
    return is_held;
}

static int fail_version(cli_context *context) {
    return cli_fail(context, DAYBOOK_EUNSUPPORTED,
                    "cannot hand the command to the server of %s: it is another version of daybook than this "
                    "one, %s; stop it and start it with this one",
                    context->store_path, daybook_version());
}

static int fail_alone(call *called) {
    (void)close(called->control);
    return cli_fail(called->context, DAYBOOK_ELOCKED,
                    "cannot %s %s: daybook serve has it (process %lu); stop the server first",
                    called->context->command->name, called->context->store_path, called->server);
}

// A command that writes. Until the server takes it, the lock is free, or the time is over.
static int call_to_write(call *called, int *status_out) {
    cli_context *context = called->context;
    int64_t until_ns = cli_clock_ns() + (int64_t)context->wait_ms * 1000000;
    for (;;) {
        // However short the wait, a server that is there is heard.
        int64_t answer_ns = cli_clock_ns() + READ_WAIT_NS;
        int outcome = greet(called, until_ns > answer_ns ? until_ns : answer_ns);
        if (outcome == CALL_WELCOME) {
            *status_out = (context->command->flags & CLI_ALONE) != 0 ? fail_alone(called) : hand_over(called);
            return 1;
        }
        if (outcome == CALL_VERSION) {
            *status_out = fail_version(context);
            return 1;
        }
        if (outcome == CALL_NO_SERVER && !is_locked(context->store_path)) return 0;
        if (cli_clock_ns() >= until_ns) {
            context->wait_ms = 0; // it is over; opening says who has the store
            return 0;
        }
        struct timespec pause = {.tv_nsec = LOOK_AGAIN_NS};
        (void)nanosleep(&pause, NULL);
    }
}

int cli_call_server(cli_context *context, int count, char **arguments, int *status_out) {
    unsigned flags = context->command->flags;
    if ((flags & (CLI_WITHOUT_STORE | CLI_HERE)) != 0) return 0;
    if (context->command->run == cli_run_info && cli_given(context, "build")) return 0;
    // Of these a trial needs no lock.
    if ((flags & CLI_ALONE) != 0 && context->dry_run) return 0;
    if ((flags & CLI_STORE_IS_ARGUMENT) != 0) context->store_path = context->positionals[0];
    call *called = calloc(1, sizeof *called);
    if (called == NULL) {
        *status_out = cli_fail(context, DAYBOOK_ENOMEM, "out of memory");
        return 1;
    }
    called->context = context;
    called->arguments = arguments;
    called->count = (size_t)count;
    int is_done = 0;
    if ((flags & CLI_READS) == 0 && !context->dry_run && !context->read_only) {
        is_done = call_to_write(called, status_out);
    } else if (greet(called, cli_clock_ns() + READ_WAIT_NS) == CALL_WELCOME) {
        *status_out = hand_over(called);
        is_done = 1;
    }
    free(called);
    return is_done;
}
