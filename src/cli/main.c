// SPDX-License-Identifier: Apache-2.0
//
// The program: set the world right, parse, run the verb, end.
//
// Ending is where promises break quietly, so it is done in one place: output that could not be written turns
// success into exit 1 (without a word where the reader of a pipe has gone), and a store that cannot be closed
// well says so. A descriptor 0, 1 or 2 that is closed at the start is filled with one that fails, lest a
// store file be given its number and be printed into.

#include "cli/cli.h"
#ifdef CLI_HAVE_SERVER
#include "cli/nats_server.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void fill_standard_descriptors(void) {
    for (int descriptor = 0; descriptor <= 2; descriptor++) {
        if (fcntl(descriptor, F_GETFD) != -1 || errno != EBADF) continue;
        // open gives the lowest free number, which is this one. Writing to it fails, as on a closed one.
        int opened = open("/dev/null", descriptor == 0 ? O_WRONLY : O_RDONLY);
        if (opened < 0) _exit(CLI_ERROR);
    }
}

static int finish_output(cli_context *context, int status) {
    int failed = cli_output_flush(context->out);
    if (failed == 0) return status;
    if (failed != EPIPE && !context->output_failure_said)
        (void)cli_fail(context,
                       failed == ENOSPC   ? DAYBOOK_ENOSPC
                       : failed == ENOMEM ? DAYBOOK_ENOMEM
                                          : DAYBOOK_EIO,
                       "cannot write the output: %s; not all of it was printed", strerror(failed));
    return status == CLI_FINE ? CLI_ERROR : status;
}

static int close_store(cli_context *context, int status) {
    if (context->store == NULL) return status;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status closed = daybook_close(context->store, &error);
    context->store = NULL;
    if (closed == DAYBOOK_OK || status != CLI_FINE) return status;
    return cli_fail_error(context, closed, &error, "closing the store");
}

static int run(cli_context *context, int count, char **arguments) {
#ifdef CLI_HAVE_SERVER
    if (cli_is_nats_server(arguments[0])) return cli_run_nats_server(context->out, count, arguments);
#endif
    int help = 0;
    int status = cli_parse(context, count, arguments, &help);
    if (status != CLI_FINE || help) return status;
    if (context->command->run == NULL)
        return cli_fail(context, DAYBOOK_EUNSUPPORTED,
                        "daybook %s is not built in: this build has no such part; see daybook info --build",
                        context->command->name);
    if ((context->command->flags & CLI_WITHOUT_STORE) == 0) {
        status = cli_check_store_path(context);
        if (status != CLI_FINE) return status;
    }
    return context->command->run(context);
}

int main(int count, char **arguments) {
    fill_standard_descriptors();
    // Writing to a pipe nobody reads gives EPIPE, which the output remembers.
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    (void)sigaction(SIGPIPE, &ignore, NULL);
    // A limit on the size of files gives EFBIG, which is an error as others are.
    (void)sigaction(SIGXFSZ, &ignore, NULL);

    cli_output out;
    cli_output_init(&out, STDOUT_FILENO);
    cli_context context;
    cli_context_init(&context, &out);
    int status = run(&context, count, arguments);
    status = finish_output(&context, status);
    status = close_store(&context, status);
    cli_context_deinit(&context);
    cli_output_deinit(&out);
    return status;
}
