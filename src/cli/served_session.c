// SPDX-License-Identifier: Apache-2.0
//
// One command run for a caller in another process.
//
// Threads: the listener (served_commands.c) hears the caller and never waits; the command's own thread, and
// those it starts, print, read and wait. They meet in `lock`. Messages are whole, so both may send at any
// time; the command's sends wait for room, the listener's do not.
//
// Output is a call: a write is over when the caller has written, so that a full disk or a closed pipe there
// fails the very write it would fail at home, and what was not printed is not acknowledged.
//
// Input is a pair of sockets in this process. The command reads one end as it reads any descriptor; the
// listener fills the other with what the caller sends, one piece at a time, each asked for when the one
// before is in. The command's end was given one byte to hold at the listener's: when the input has come to
// its end, the byte is taken back and closing gives an end of file; in every other case closing with the byte
// unread gives ECONNRESET. So data that was cut off is never taken for data that ended.
//
// A caller that is gone, or the end of the server, fails what the command waits for and calls its
// interrupt. The command then ends by its own ways. It is never killed: the store is this process's.
#include "cli/served_session.h"
#include "cli/served_socket.h"

#include "cli/cli.h"
#include "cli/progress.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum channel_state {
    CHANNEL_FREE,
    CHANNEL_ASKED,
    CHANNEL_REFUSED, // failed_errno
    CHANNEL_OPEN,
};

typedef struct input_channel {
    int state;
    int failed_errno; // of opening, or of the end
    cli_served_opened opened;
    int end;                // the listener's; -1: closed
    unsigned char *pending; // CLI_SERVED_DATA_MAX; what did not fit yet
    size_t pending_size, pending_done;
    int is_wanted; // the caller was asked for the next piece
    int owes_want; // it is to be asked
    int is_ending; // the end came
    int is_cut;    // closed before it
    char text[CLI_SERVED_TEXT_MAX + 1];
} input_channel;

struct cli_session {
    int control;
    int wake;
    daybook_store *store;
    int64_t begun_ns;
    atomic_int phase;
    atomic_int is_cut;      // the caller is gone
    atomic_int is_stopping; // the server ends
    // The listener's.
    cli_served_hello hello;
    cli_served_arguments arguments;
    pthread_t thread;
    int has_thread;

    pthread_mutex_t write_lock; // held over a write and its answer
    pthread_mutex_t lock;
    pthread_cond_t changed;
    // Guarded by lock.
    int is_prepared;
    int interrupt_waits; // it came before there was a handler
    int interrupt_came;
    int was_stopped; // the server's end reached the command
    void (*interrupt)(void *what);
    void *what;
    int is_written;
    int written_errno;
    input_channel channels[CLI_SERVED_CHANNELS_MAX];
};

// --- The command's threads -------------------------------------------------------------------------------

static int write_part(cli_session *session, int type, const void *data, size_t size, int is_last) {
    return cli_served_send(session->control, type, is_last ? 1 : 0, 0, data, size, 0) == 0 ? 0 : EPIPE;
}

// Until the caller has answered.
static int await_written(cli_session *session) {
    (void)pthread_mutex_lock(&session->lock);
    while (!session->is_written && !atomic_load(&session->is_cut))
        (void)pthread_cond_wait(&session->changed, &session->lock);
    int failed = session->is_written ? session->written_errno : EPIPE;
    session->is_written = 0;
    (void)pthread_mutex_unlock(&session->lock);
    return failed;
}

int cli_session_write(cli_session *session, int descriptor, const void *data, size_t size) {
    if (size == 0) return 0;
    if (atomic_load(&session->is_cut)) return EPIPE;
    // The caller says itself why the command ended; what the command makes of it would only puzzle.
    if (descriptor == STDERR_FILENO && atomic_load(&session->is_stopping)) return 0;
    const char *bytes = data;
    int type = descriptor == STDERR_FILENO ? CLI_SERVED_ERRORS : CLI_SERVED_OUTPUT;
    int failed = 0;
    (void)pthread_mutex_lock(&session->write_lock);
    while (size > 0 && failed == 0) {
        size_t part = size < CLI_SERVED_DATA_MAX ? size : CLI_SERVED_DATA_MAX;
        failed = write_part(session, type, bytes, part, part == size);
        bytes += part;
        size -= part;
    }
    if (failed == 0) failed = await_written(session);
    (void)pthread_mutex_unlock(&session->write_lock);
    return failed;
}

static int is_over(const cli_session *session) {
    return atomic_load(&session->is_cut) || atomic_load(&session->is_stopping);
}

// The lock is held. Both ends, with the byte that makes an early end an error. 0 or errno.
static int make_pair(input_channel *input, int *descriptor_out) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) return errno;
    for (int i = 0; i < 2; i++) (void)fcntl(ends[i], F_SETFD, FD_CLOEXEC);
    int failed = send(ends[0], "", 1, MSG_NOSIGNAL) == 1 ? 0 : errno;
    if (failed == 0 && input->pending == NULL) {
        input->pending = malloc(CLI_SERVED_DATA_MAX);
        if (input->pending == NULL) failed = ENOMEM;
    }
    if (failed != 0) {
        (void)close(ends[0]);
        (void)close(ends[1]);
        return failed;
    }
    input->end = ends[1];
    *descriptor_out = ends[0];
    return 0;
}

// The lock is held. A free channel; -1 where there is none.
static int take_channel(cli_session *session) {
    for (int i = 0; i < CLI_SERVED_CHANNELS_MAX; i++) {
        input_channel *input = &session->channels[i];
        if (input->state != CHANNEL_FREE) continue;
        unsigned char *pending = input->pending;
        *input = (input_channel){.state = CHANNEL_ASKED, .end = -1, .pending = pending};
        return i;
    }
    return -1;
}

// The lock is held: the caller is asked, wait for its answer. 0 or errno.
static int await_opened(cli_session *session, input_channel *input) {
    while (input->state == CHANNEL_ASKED && !is_over(session))
        (void)pthread_cond_wait(&session->changed, &session->lock);
    if (input->state == CHANNEL_OPEN) return 0;
    if (input->state == CHANNEL_REFUSED) return input->failed_errno;
    session->was_stopped |= atomic_load(&session->is_stopping);
    return ECONNABORTED;
}

int cli_session_open(cli_session *session, int source, const char *path, cli_input *input_out) {
    *input_out = (cli_input){.descriptor = -1, .session = session};
    size_t path_size = strlen(path);
    if (path_size == 0) return ENOENT;
    if (path_size > CLI_SERVED_DATA_MAX) return ENAMETOOLONG;
    (void)pthread_mutex_lock(&session->lock);
    int number = take_channel(session);
    (void)pthread_mutex_unlock(&session->lock);
    if (number < 0) return EMFILE;
    input_channel *input = &session->channels[number];
    input_out->channel = (unsigned)number;
    int failed = cli_served_send(session->control, CLI_SERVED_OPEN, input_out->channel, (uint32_t)source,
                                 path, path_size, 0);
    (void)pthread_mutex_lock(&session->lock);
    if (failed == 0) failed = await_opened(session, input);
    if (failed == 0) failed = make_pair(input, &input_out->descriptor);
    if (failed == 0) {
        input_out->is_regular = input->opened.is_regular;
        input_out->is_directory = input->opened.is_directory;
        input_out->size = input->opened.size;
        input->is_wanted = 1;
    } else {
        input->state = CHANNEL_FREE;
    }
    (void)pthread_mutex_unlock(&session->lock);
    // A caller that is gone is noticed by the listener, which closes the input.
    if (failed == 0)
        (void)cli_served_send(session->control, CLI_SERVED_WANT, input_out->channel, CLI_SERVED_DATA_MAX,
                              NULL, 0, 0);
    return failed;
}

void cli_session_close(cli_session *session, unsigned number) {
    (void)pthread_mutex_lock(&session->lock);
    input_channel *input = &session->channels[number];
    if (input->end >= 0) (void)close(input->end);
    input->end = -1;
    (void)pthread_mutex_unlock(&session->lock);
    (void)cli_served_send(session->control, CLI_SERVED_CLOSE, number, 0, NULL, 0, 0);
    // Only now may the number be used again: what the caller says of it comes before what it says of the
    // next.
    (void)pthread_mutex_lock(&session->lock);
    input->state = CHANNEL_FREE;
    (void)pthread_mutex_unlock(&session->lock);
}

int cli_session_input_errno(cli_session *session, unsigned number, int failed) {
    (void)pthread_mutex_lock(&session->lock);
    const input_channel *input = &session->channels[number];
    if (input->is_ending && input->failed_errno != 0)
        failed = input->failed_errno;
    else if (input->is_cut)
        failed = ECONNABORTED;
    (void)pthread_mutex_unlock(&session->lock);
    return failed;
}

const char *cli_session_input_text(cli_session *session, unsigned number) {
    // Written once, before the end is seen; the lock is for the order of memory.
    (void)pthread_mutex_lock(&session->lock);
    const char *text = session->channels[number].text;
    (void)pthread_mutex_unlock(&session->lock);
    return text;
}

int cli_session_is_cut(const cli_session *session) {
    return is_over(session);
}

void cli_session_prepare(cli_session *session) {
    (void)pthread_mutex_lock(&session->lock);
    session->is_prepared = 1;
    (void)pthread_mutex_unlock(&session->lock);
    (void)cli_served_send(session->control, CLI_SERVED_PREPARED, 0, 0, NULL, 0, 0);
}

// The lock is held.
static void call_interrupt(cli_session *session) {
    if (session->interrupt == NULL) {
        session->interrupt_waits = 1;
        return;
    }
    if (session->interrupt_came) return;
    session->interrupt_came = 1;
    session->was_stopped |= atomic_load(&session->is_stopping);
    session->interrupt(session->what);
}

void cli_session_begin(cli_session *session, void (*interrupt)(void *what), void *what) {
    (void)pthread_mutex_lock(&session->lock);
    session->interrupt = interrupt;
    session->what = what;
    session->interrupt_came = 0;
    if (session->interrupt_waits || is_over(session)) call_interrupt(session);
    (void)pthread_mutex_unlock(&session->lock);
}

int cli_session_end(cli_session *session) {
    (void)pthread_mutex_lock(&session->lock);
    session->interrupt = NULL;
    int came = session->interrupt_came;
    (void)pthread_mutex_unlock(&session->lock);
    return came;
}

daybook_store *cli_session_store(const cli_session *session) {
    return session->store;
}

// --- The command -----------------------------------------------------------------------------------------

static int run_command(cli_session *session) {
    cli_output out;
    cli_output_init(&out, STDOUT_FILENO);
    out.session = session;
    cli_context context;
    cli_context_init(&context, &out);
    uint32_t flags = session->hello.flags;
    context.session = session;
    context.store_path = session->arguments.list[0];
    context.terminal_in = (flags & CLI_SERVED_TERMINAL_IN) != 0;
    context.terminal_out = (flags & CLI_SERVED_TERMINAL_OUT) != 0;
    context.terminal_err = (flags & CLI_SERVED_TERMINAL_ERR) != 0;
    context.color = (flags & CLI_SERVED_COLOR) != 0;
    context.columns = (int)(session->hello.columns < 10000 ? session->hello.columns : 10000);
    int status = cli_run(&context, (int)session->arguments.count, session->arguments.list);
    status = cli_finish(&context, status);
    cli_context_deinit(&context);
    cli_output_deinit(&out);
    return status;
}

static void *run_session(void *of_session) {
    cli_session *session = of_session;
    int status = run_command(session);
    (void)pthread_mutex_lock(&session->lock);
    int was_stopped = session->was_stopped || (atomic_load(&session->is_stopping) && status != CLI_FINE);
    (void)pthread_mutex_unlock(&session->lock);
    // Whether it arrives or not, the command is over.
    (void)cli_served_send(session->control, CLI_SERVED_RESULT, was_stopped ? 1 : 0, (uint32_t)status, NULL, 0,
                          0);
    int wake = session->wake;
    atomic_store(&session->phase, CLI_SESSION_DONE);
    while (write(wake, "", 1) < 0 && errno == EINTR) continue; // full: the listener is awake already
    return NULL;
}

// --- The listener ----------------------------------------------------------------------------------------

cli_session *cli_session_new(int control, daybook_store *store, int wake) {
    cli_session *session = calloc(1, sizeof *session);
    if (session == NULL) return NULL;
    session->control = control;
    session->store = store;
    session->wake = wake;
    session->begun_ns = cli_clock_ns();
    for (int i = 0; i < CLI_SERVED_CHANNELS_MAX; i++) session->channels[i].end = -1;
    (void)pthread_mutex_init(&session->write_lock, NULL);
    (void)pthread_mutex_init(&session->lock, NULL);
    (void)pthread_cond_init(&session->changed, NULL);
    return session;
}

void cli_session_free(cli_session *session) {
    if (session == NULL) return;
    if (session->has_thread) (void)pthread_join(session->thread, NULL);
    (void)close(session->control);
    for (int i = 0; i < CLI_SERVED_CHANNELS_MAX; i++) {
        if (session->channels[i].end >= 0) (void)close(session->channels[i].end);
        free(session->channels[i].pending);
    }
    cli_served_arguments_release(&session->arguments);
    (void)pthread_mutex_destroy(&session->write_lock);
    (void)pthread_mutex_destroy(&session->lock);
    (void)pthread_cond_destroy(&session->changed);
    free(session);
}

int cli_session_phase(const cli_session *session) {
    return atomic_load(&session->phase);
}

int cli_session_is_gone(const cli_session *session) {
    return atomic_load(&session->is_cut);
}

int64_t cli_session_begun_ns(const cli_session *session) {
    return session->begun_ns;
}

// The lock is held, the input open. Its descriptor gives what is in it, then an end or an error.
static void end_input(input_channel *input, int is_whole) {
    char byte;
    if (input->end < 0) return;
    if (is_whole) (void)recv(input->end, &byte, 1, MSG_DONTWAIT);
    (void)close(input->end);
    input->end = -1;
}

// The lock is held.
static void end_inputs(cli_session *session) {
    for (int i = 0; i < CLI_SERVED_CHANNELS_MAX; i++) {
        input_channel *input = &session->channels[i];
        if (input->state != CHANNEL_OPEN || input->end < 0) continue;
        input->is_cut = 1;
        session->was_stopped |= atomic_load(&session->is_stopping);
        end_input(input, 0);
    }
}

// The lock is held. As much as fits; then ask for the next piece, or end.
static void fill_input(cli_session *session, unsigned number) {
    input_channel *input = &session->channels[number];
    while (input->end >= 0 && input->pending_done < input->pending_size) {
        ssize_t count = send(input->end, input->pending + input->pending_done,
                             input->pending_size - input->pending_done, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
        if (count < 0) { // the command has closed it
            end_input(input, 0);
            return;
        }
        input->pending_done += (size_t)count;
    }
    if (input->end < 0) return;
    if (input->is_ending) {
        end_input(input, input->failed_errno == 0);
    } else if (input->owes_want) {
        int failed = cli_served_send(session->control, CLI_SERVED_WANT, number, CLI_SERVED_DATA_MAX, NULL, 0,
                                     MSG_DONTWAIT);
        if (failed == EAGAIN || failed == EWOULDBLOCK) return; // when there is room
        input->owes_want = 0;
        input->is_wanted = 1;
    }
}

size_t cli_session_poll(cli_session *session, struct pollfd *list) {
    size_t count = 1;
    list[0] = (struct pollfd){.fd = session->control, .events = POLLIN};
    (void)pthread_mutex_lock(&session->lock);
    for (int i = 0; i < CLI_SERVED_CHANNELS_MAX; i++) {
        const input_channel *input = &session->channels[i];
        if (input->state != CHANNEL_OPEN || input->end < 0) continue;
        if (input->pending_done < input->pending_size)
            list[count++] = (struct pollfd){.fd = input->end, .events = POLLOUT};
        else if (input->owes_want)
            list[0].events |= POLLOUT;
    }
    (void)pthread_mutex_unlock(&session->lock);
    return count;
}

static int take_hello(cli_session *session, const cli_served_message *message,
                      int (*admit)(void *context, const cli_served_hello *hello), void *context) {
    if (message->type != CLI_SERVED_HELLO || !cli_served_parse_hello(message->data, &session->hello))
        return 1;
    int refusal = session->hello.version != CLI_SERVED_VERSION ? CLI_SERVED_REFUSED_VERSION
                                                               : admit(context, &session->hello);
    if (refusal != 0) {
        const char *version = daybook_version();
        (void)cli_served_send(session->control, CLI_SERVED_REFUSED, 0, (uint32_t)refusal, version,
                              strlen(version), MSG_DONTWAIT);
        return 1;
    }
    atomic_store(&session->phase, CLI_SESSION_LISTENING);
    return cli_served_send(session->control, CLI_SERVED_WELCOME, 0, (uint32_t)getpid(), NULL, 0,
                           MSG_DONTWAIT);
}

static int take_arguments(cli_session *session, const cli_served_message *message) {
    if (message->type == CLI_SERVED_ARGUMENTS)
        return cli_served_arguments_add(&session->arguments, message->data.data, message->data.size);
    if (message->type != CLI_SERVED_RUN) return 1;
    int failed = cli_served_arguments_end(&session->arguments, message->number);
    if (failed != 0) return failed;
    atomic_store(&session->phase, CLI_SESSION_RUNNING);
    failed = pthread_create(&session->thread, NULL, run_session, session);
    session->has_thread = failed == 0;
    return failed;
}

// The lock is held. 1: nobody asked for that.
static int take_opened(input_channel *input, const cli_served_message *message) {
    if (input->state != CHANNEL_ASKED || !cli_served_parse_opened(message->data, &input->opened)) return 1;
    input->failed_errno = (int)message->number;
    input->state = message->number == 0 ? CHANNEL_OPEN : CHANNEL_REFUSED;
    return 0;
}

// The lock is held.
static int take_input(cli_session *session, const cli_served_message *message) {
    input_channel *input = &session->channels[message->channel];
    // What was asked for before the command closed it.
    if (input->state != CHANNEL_OPEN || input->end < 0) return 0;
    if (!input->is_wanted || input->is_ending) return 1;
    input->is_wanted = 0;
    if (message->type == CLI_SERVED_INPUT_END) {
        input->is_ending = 1;
        input->failed_errno = (int)message->number;
        if (message->data.size != 0) memcpy(input->text, message->data.data, message->data.size);
    } else {
        memcpy(input->pending, message->data.data, message->data.size);
        input->pending_size = message->data.size;
        input->pending_done = 0;
        input->owes_want = 1;
    }
    fill_input(session, message->channel);
    return 0;
}

static int take_message(cli_session *session, const cli_served_message *message) {
    int failed = 0;
    (void)pthread_mutex_lock(&session->lock);
    switch (message->type) {
    case CLI_SERVED_OPENED:
        failed = take_opened(&session->channels[message->channel], message);
        break;
    case CLI_SERVED_INPUT:
    case CLI_SERVED_INPUT_END:
        failed = take_input(session, message);
        break;
    case CLI_SERVED_WRITTEN:
        session->is_written = 1;
        session->written_errno = (int)message->number;
        break;
    case CLI_SERVED_INTERRUPT:
        if (session->is_prepared) call_interrupt(session);
        break;
    default:
        failed = 1;
        break;
    }
    (void)pthread_cond_broadcast(&session->changed);
    (void)pthread_mutex_unlock(&session->lock);
    return failed;
}

int cli_session_move(cli_session *session, unsigned char room[CLI_SERVED_MESSAGE_MAX + 1],
                     int (*admit)(void *context, const cli_served_hello *hello), void *context) {
    (void)pthread_mutex_lock(&session->lock);
    for (unsigned i = 0; i < CLI_SERVED_CHANNELS_MAX; i++)
        if (session->channels[i].state == CHANNEL_OPEN) fill_input(session, i);
    (void)pthread_mutex_unlock(&session->lock);
    ssize_t size;
    do size = recv(session->control, room, CLI_SERVED_MESSAGE_MAX + 1, MSG_DONTWAIT);
    while (size < 0 && errno == EINTR);
    if (size < 0) return errno != EAGAIN && errno != EWOULDBLOCK;
    cli_served_message message;
    if (size == 0 || !cli_served_parse(room, (size_t)size, 1, &message)) return 1;
    switch (cli_session_phase(session)) {
    case CLI_SESSION_GREETING:
        return take_hello(session, &message, admit, context);
    case CLI_SESSION_LISTENING:
        return take_arguments(session, &message);
    default:
        return take_message(session, &message);
    }
}

void cli_session_cut(cli_session *session) {
    if (atomic_exchange(&session->is_cut, 1)) return;
    (void)shutdown(session->control, SHUT_RDWR);
    (void)pthread_mutex_lock(&session->lock);
    end_inputs(session);
    call_interrupt(session);
    (void)pthread_cond_broadcast(&session->changed);
    (void)pthread_mutex_unlock(&session->lock);
}

void cli_session_stop(cli_session *session) {
    if (atomic_exchange(&session->is_stopping, 1)) return;
    (void)pthread_mutex_lock(&session->lock);
    end_inputs(session);
    call_interrupt(session);
    (void)pthread_cond_broadcast(&session->changed);
    (void)pthread_mutex_unlock(&session->lock);
}
