// SPDX-License-Identifier: Apache-2.0
//
// A command from its words to its exit status, in this process or, where a server has the store, there.
//
// Ending is where promises break quietly, so it is done in one place: output that could not be written turns
// success into exit 1 (without a word where the reader of a pipe has gone), and a store that cannot be closed
// well says so.

#include "cli/served_caller.h"

#include <errno.h>
#include <string.h>

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
    if (context->store == NULL || context->session != NULL) return status;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status closed = daybook_close(context->store, &error);
    context->store = NULL;
    if (closed == DAYBOOK_OK || status != CLI_FINE) return status;
    return cli_fail_error(context, closed, &error, "closing the store");
}

int cli_finish(cli_context *context, int status) {
    status = finish_output(context, status);
    return close_store(context, status);
}

// In a session: only what was made for it, whatever the caller says.
static int run_for_caller(cli_context *context) {
    if ((context->command->flags & (CLI_WITHOUT_STORE | CLI_HERE | CLI_ALONE)) != 0)
        return cli_fail(context, DAYBOOK_EINVALID,
                        "daybook %s is not for the server of a store: it runs where it is called",
                        context->command->name);
    return context->command->run(context);
}

int cli_run(cli_context *context, int count, char **arguments) {
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
    if (context->session != NULL) return run_for_caller(context);
    do {
        if (cli_call_server(context, count, arguments, &status)) return status;
        status = context->command->run(context);
    } while (status == CLI_HAND_OVER);
    return status;
}
