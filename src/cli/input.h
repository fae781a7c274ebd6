// SPDX-License-Identifier: Apache-2.0
//
// What a command reads that is not the store: standard input or a file it was told the name of. Wherever the
// command runs, these are the caller's: its descriptors, its directory, its permissions.
#ifndef CLI_INPUT_H
#define CLI_INPUT_H

#include <stdint.h>
#include <sys/types.h>

struct cli_context;
struct cli_session;

typedef struct cli_input {
    int descriptor; // to read from, and to wait for
    int is_regular;
    int is_directory;
    int is_borrowed;             // standard input of this process: stays open
    uint64_t size;               // of a regular file, else 0
    struct cli_session *session; // NULL: of this process
    unsigned channel;
} cli_input;

// A file, or standard input for "-"; `context` NULL: of this process. 0 or errno; then there is nothing to
// close.
int cli_input_open(struct cli_context *context, const char *path, cli_input *input_out);
// As read, but that it goes on when a signal came; errno is what the caller's own read said.
ssize_t cli_input_read(const cli_input *input, void *data, size_t size);
// A read of the descriptor failed with `failed`: what did the caller's own read say?
int cli_input_errno(const cli_input *input, int failed);
void cli_input_close(cli_input *input);

#endif
