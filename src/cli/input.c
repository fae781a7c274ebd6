// SPDX-License-Identifier: Apache-2.0
//
// Files and standard input of the caller. In a command that a server runs they come through its session.
#include "cli/input.h"

#include "cli/cli.h"
#include "cli/session.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_here(const char *path, cli_input *input) {
    input->is_borrowed = strcmp(path, "-") == 0;
    input->descriptor = input->is_borrowed ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (input->descriptor < 0) return errno;
    struct stat status;
    if (fstat(input->descriptor, &status) != 0) return 0; // reading says what is wrong with it
    input->is_regular = S_ISREG(status.st_mode);
    input->is_directory = S_ISDIR(status.st_mode);
    if (input->is_regular) input->size = (uint64_t)status.st_size;
    return 0;
}

int cli_input_open(cli_context *context, const char *path, cli_input *input_out) {
    *input_out = (cli_input){.descriptor = -1};
    if (context != NULL) context->has_input = 1;
    if (context == NULL || context->session == NULL) return open_here(path, input_out);
    int source = strcmp(path, "-") == 0 ? CLI_SERVED_STANDARD_INPUT : CLI_SERVED_FILE;
    return cli_session_open(context->session, source, path, input_out);
}

int cli_input_errno(const cli_input *input, int failed) {
    return input->session == NULL ? failed : cli_session_input_errno(input->session, input->channel, failed);
}

ssize_t cli_input_read(const cli_input *input, void *data, size_t size) {
    ssize_t count;
    do count = read(input->descriptor, data, size);
    while (count < 0 && errno == EINTR);
    if (count < 0) errno = cli_input_errno(input, errno);
    return count;
}

void cli_input_close(cli_input *input) {
    if (input->descriptor < 0) return;
    if (!input->is_borrowed) (void)close(input->descriptor); // read only: nothing can be lost
    if (input->session != NULL) cli_session_close(input->session, input->channel);
    input->descriptor = -1;
}
