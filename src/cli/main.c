// SPDX-License-Identifier: Apache-2.0
//
// The program: set the world right, run the command. A descriptor 0, 1 or 2 that is closed at the start is
// filled with one that fails, lest a store file be given its number and be printed into.

#include "cli/cli.h"
#ifdef CLI_HAVE_SERVER
#include "cli/nats_server.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

static void fill_standard_descriptors(void) {
    for (int descriptor = 0; descriptor <= 2; descriptor++) {
        if (fcntl(descriptor, F_GETFD) != -1 || errno != EBADF) continue;
        // open gives the lowest free number, which is this one. Writing to it fails, as on a closed one.
        int opened = open("/dev/null", descriptor == 0 ? O_WRONLY : O_RDONLY);
        if (opened < 0) _exit(CLI_ERROR);
    }
}

static int run(cli_context *context, int count, char **arguments) {
#ifdef CLI_HAVE_SERVER
    if (cli_is_nats_server(arguments[0])) return cli_run_nats_server(context->out, count, arguments);
#endif
    return cli_run(context, count, arguments);
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
    status = cli_finish(&context, status);
    cli_context_deinit(&context);
    cli_output_deinit(&out);
    return status;
}
