// SPDX-License-Identifier: Apache-2.0
//
// The history of a git repository, as `git log` writes it for `import git`: a child process and its output.
#ifndef CLI_GIT_HISTORY_H
#define CLI_GIT_HISTORY_H

#include <stddef.h>

typedef struct cli_git_history cli_git_history;

// Start git in the repository `path`. 0, or errno with what failed in `text` (at least 256 bytes).
int cli_git_history_start(const char *path, cli_git_history **history_out, char *text, size_t text_size);
// To read from until its end.
int cli_git_history_descriptor(const cli_git_history *history);
// At the end: wait for git. 0; ENOENT: there is no git; EIO with what git said.
int cli_git_history_end(cli_git_history *history, char *text, size_t text_size);
// A git that still runs ends with its pipe, and is waited for. NULL is fine.
void cli_git_history_close(cli_git_history *history);

#endif
