// SPDX-License-Identifier: Apache-2.0
//
// What every verb stands on: the terminal it writes to, the store it opens, the question it asks before it
// destroys something, the bytes it reads from standard input.

#include "cli/cli.h"
#include "cli/input.h"
#include "cli/progress.h"
#include "cli/served_caller.h"
#include "cli/session.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WAIT_MS_DEFAULT 5000
#define LOOK_AGAIN_MS 50
#define COLUMNS_MIN 40

static int terminal_columns(void) {
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
    return size.ws_col < COLUMNS_MIN ? COLUMNS_MIN : size.ws_col;
}

void cli_context_init(cli_context *context, cli_output *out) {
    memset(context, 0, sizeof *context);
    context->out = out;
    context->wait_ms = WAIT_MS_DEFAULT;
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    context->now_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    const char *path = getenv("DAYBOOK_STORE");
    context->store_path = path != NULL && path[0] != '\0' ? path : "./daybook-store";
    context->terminal_in = isatty(STDIN_FILENO);
    context->terminal_out = isatty(STDOUT_FILENO);
    context->terminal_err = isatty(STDERR_FILENO);
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    context->color = context->terminal_out && (no_color == NULL || no_color[0] == '\0') &&
                     (term == NULL || strcmp(term, "dumb") != 0);
    context->columns = context->terminal_out ? terminal_columns() : 0;
}

void cli_context_deinit(cli_context *context) {
    free(context->values);
    free(context->positionals);
    context->values = NULL;
    context->positionals = NULL;
}

// --- The store ---

int cli_check_store_path(cli_context *context) {
    const char *path = context->store_path;
    if (path[0] == '\0')
        return cli_fail(context, DAYBOOK_EINVALID,
                        "no store: the path given with --store is empty; give a directory");
    const char *scheme = strstr(path, "://");
    if (scheme == NULL) return CLI_FINE;
    return cli_fail(context, DAYBOOK_EUNSUPPORTED,
                    "cannot reach %s: %.*s:// is not built in; give the directory of a store", path,
                    (int)(scheme - path), path);
}

void cli_open_options(const cli_context *context, int access, daybook_open_options *options_out) {
    daybook_open_options_init(options_out);
    options_out->lock_wait_ms = context->wait_ms;
    if (access == CLI_READ)
        options_out->flags = DAYBOOK_OPEN_READ_ONLY | DAYBOOK_OPEN_MUST_EXIST;
    else if (access == CLI_WRITE)
        options_out->flags = DAYBOOK_OPEN_MUST_EXIST;
}

// Whether the command can still go to a server that has the store.
static int is_for_server(const cli_context *context) {
    return (context->command->flags & (CLI_HERE | CLI_ALONE | CLI_WITHOUT_STORE)) == 0 &&
           !context->has_input && cli_has_server(context->store_path);
}

// A writer waits for the lock. Who comes to hold it may be a server, which would not let go: then the command
// is for that one, unless it has begun to read its input.
static daybook_status open_to_write(cli_context *context, daybook_open_options *options, int *hand_over_out,
                                    daybook_error *error) {
    int64_t until_ns = cli_clock_ns() + (int64_t)context->wait_ms * 1000000;
    *hand_over_out = 0;
    for (;;) {
        int64_t left_ms = (until_ns - cli_clock_ns()) / 1000000;
        options->lock_wait_ms = left_ms <= 0              ? 0
                                : left_ms < LOOK_AGAIN_MS ? (unsigned)left_ms
                                                          : LOOK_AGAIN_MS;
        daybook_error_init(error);
        daybook_status status = daybook_open(context->store_path, options, &context->store, error);
        if (status == DAYBOOK_OK) return status;
        context->store = NULL;
        if (status != DAYBOOK_ELOCKED || left_ms <= 0) return status;
        if (!is_for_server(context)) continue;
        *hand_over_out = 1;
        context->wait_ms = (unsigned)left_ms;
        return status;
    }
}

static int fail_open(cli_context *context, daybook_status status, const daybook_error *error) {
    if (status == DAYBOOK_ENOTFOUND)
        return cli_fail(context, status,
                        "no store in %s: there is none; make one with daybook append, import or demo, "
                        "or name another with -s",
                        context->store_path);
    return cli_fail_error(context, status, error, NULL);
}

int cli_open_store(cli_context *context, int access) {
    if (access != CLI_READ && context->read_only)
        return cli_fail(context, DAYBOOK_EREADONLY,
                        "daybook %s refused: it writes, and --read-only is given; leave that out",
                        context->command->name);
    if (context->session != NULL) {
        context->store = cli_session_store(context->session);
        return CLI_FINE;
    }
    daybook_error error;
    daybook_error_init(&error);
    daybook_open_options options;
    cli_open_options(context, access == CLI_CREATE ? CLI_WRITE : access, &options);
    int hand_over = 0;
    daybook_status status = access == CLI_READ
                                ? daybook_open(context->store_path, &options, &context->store, &error)
                                : open_to_write(context, &options, &hand_over, &error);
    if (status == DAYBOOK_OK) return CLI_FINE;
    context->store = NULL;
    if (hand_over) return CLI_HAND_OVER;
    if (status != DAYBOOK_ENOTFOUND || access != CLI_CREATE) return fail_open(context, status, &error);
    if (context->no_create)
        return cli_fail(context, status,
                        "no store in %s: there is none, and --no-create is given; leave that out or "
                        "name another with -s",
                        context->store_path);
    options.flags &= ~(unsigned)DAYBOOK_OPEN_MUST_EXIST;
    status = open_to_write(context, &options, &hand_over, &error);
    if (hand_over) return CLI_HAND_OVER;
    if (status != DAYBOOK_OK) return cli_fail_error(context, status, &error, NULL); // why none could be made
    // Another process may have been first while we waited for the lock; then it has said so.
    daybook_store_info info = {.size = sizeof info};
    if (daybook_info(context->store, &info, NULL) != DAYBOOK_OK || info.durable_position == 0)
        cli_note_created(context, "store", daybook_text(context->store_path));
    return CLI_FINE;
}

daybook_engine *cli_engine(const cli_context *context) {
    return daybook_store_engine(context->store);
}

// --- Asking ---

// The first character of the answer; 0 where there is none.
static char ask(cli_context *context, const char *question) {
    cli_output err;
    cli_output_init(&err, STDERR_FILENO);
    err.session = context->session;
    cli_put_format(&err, "%s? [y/N] ", question);
    (void)cli_output_flush(&err); // who sees no question gives no answer
    cli_output_deinit(&err);
    cli_input input;
    char answer[256]; // a terminal gives a line at a time
    if (cli_input_open(context, "-", &input) != 0) return 0;
    ssize_t count = cli_input_read(&input, answer, sizeof answer);
    cli_input_close(&input);
    return count > 0 ? answer[0] : 0;
}

int cli_confirm(cli_context *context, const char *format, ...) {
    char question[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(question, sizeof question, format, arguments);
    va_end(arguments);
    if (context->force || context->dry_run) return CLI_FINE;
    if (!context->terminal_in || !context->terminal_err)
        return cli_fail(
            context, DAYBOOK_EINVALID,
            "daybook %s refused: it would %s, and nobody can be asked here; give --force, or --dry-run to "
            "see what it would do",
            context->command->name, question);
    if (question[0] >= 'a' && question[0] <= 'z') question[0] = (char)(question[0] - 'a' + 'A');
    char first = ask(context, question);
    if (first == 'y' || first == 'Y') return CLI_FINE;
    cli_note(context, "nothing was changed");
    return CLI_ERROR;
}

// --- Data ---

static int read_stdin(cli_context *context, const cli_input *input, char **data_out, size_t *size_out) {
    size_t capacity = 64 * 1024, size = 0;
    char *data = malloc(capacity);
    while (data != NULL) {
        if (size == capacity) {
            capacity *= 2;
            char *larger = realloc(data, capacity);
            if (larger == NULL) break;
            data = larger;
        }
        ssize_t count = cli_input_read(input, data + size, capacity - size);
        if (count < 0) {
            int failed = errno;
            free(data);
            return cli_fail(context, DAYBOOK_EIO, "cannot read standard input: %s; nothing was done",
                            strerror(failed));
        }
        if (count == 0) {
            *data_out = data;
            *size_out = size;
            return CLI_FINE;
        }
        size += (size_t)count;
        if (size > DAYBOOK_BATCH_SIZE_MAX) {
            free(data);
            return cli_fail(
                context, DAYBOOK_ELIMIT,
                "standard input is too large: an event holds at most %d bytes; store the data elsewhere and "
                "append a reference",
                DAYBOOK_BATCH_SIZE_MAX);
        }
    }
    free(data);
    return cli_fail(context, DAYBOOK_ENOMEM, "out of memory while reading standard input");
}

int cli_read_data(cli_context *context, const char *argument, char **data_out, size_t *size_out) {
    *data_out = NULL;
    *size_out = 0;
    if (argument == NULL) return CLI_FINE;
    if (strcmp(argument, "-") == 0) {
        cli_input input;
        int failed = cli_input_open(context, argument, &input);
        if (failed != 0)
            return cli_fail(context, DAYBOOK_EIO, "cannot read standard input: %s; nothing was done",
                            strerror(failed));
        int status = read_stdin(context, &input, data_out, size_out);
        cli_input_close(&input);
        return status;
    }
    size_t size = strlen(argument);
    char *data = malloc(size + 1);
    if (data == NULL) return cli_fail(context, DAYBOOK_ENOMEM, "out of memory while reading the arguments");
    memcpy(data, argument, size + 1);
    *data_out = data;
    *size_out = size;
    return CLI_FINE;
}

enum { FILE_SIZE_MAX = 16 << 20 };

// 0 or errno.
static int read_whole(const cli_input *input, char *text, size_t *size_out) {
    size_t size = 0;
    for (;;) {
        ssize_t count = cli_input_read(input, text + size, FILE_SIZE_MAX - size);
        if (count < 0) return errno;
        size += (size_t)count;
        if (size == FILE_SIZE_MAX) return EFBIG;
        if (count == 0) break;
    }
    *size_out = size;
    return 0;
}

int cli_read_file(cli_context *context, const char *path, char **text_out, size_t *size_out) {
    *text_out = NULL;
    cli_input input;
    int failed = cli_input_open(context, path, &input);
    if (failed != 0)
        return cli_fail(context, failed == ENOENT ? DAYBOOK_ENOTFOUND : DAYBOOK_EIO, "cannot read %s: %s",
                        path, strerror(failed));
    char *text = malloc(FILE_SIZE_MAX);
    failed = text == NULL ? ENOMEM : read_whole(&input, text, size_out);
    cli_input_close(&input);
    if (failed != 0) {
        free(text);
        return cli_fail(context, DAYBOOK_EIO, "cannot read %s: %s", path, strerror(failed));
    }
    *text_out = text;
    return CLI_FINE;
}
