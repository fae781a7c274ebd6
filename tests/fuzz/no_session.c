// SPDX-License-Identifier: Apache-2.0
//
// Parts of the program ask their session, where they have one; in a fuzz target they never have.
#include "cli/session.h"

#include "fuzz.h"

int cli_session_write(cli_session *session, int descriptor, const void *data, size_t size) {
    (void)descriptor, (void)data, (void)size;
    FUZZ_CHECK(session == NULL);
    return 0;
}

int cli_session_open(cli_session *session, int source, const char *path, cli_input *input_out) {
    (void)source, (void)path, (void)input_out;
    FUZZ_CHECK(session == NULL);
    return 0;
}

void cli_session_close(cli_session *session, unsigned channel) {
    (void)channel;
    FUZZ_CHECK(session == NULL);
}

int cli_session_input_errno(cli_session *session, unsigned channel, int failed) {
    (void)channel;
    FUZZ_CHECK(session == NULL);
    return failed;
}
