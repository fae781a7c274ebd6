// SPDX-License-Identifier: Apache-2.0
//
// `git log` of a repository: a child whose output is read and whose words on standard error are kept, because
// the last of them say what was wrong. Started by the process of whoever imports: with its environment, its
// user.
#include "cli/git_history.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ; // POSIX has it without a header

struct cli_git_history {
    pid_t child; // 0: reaped
    int descriptor;
    FILE *errors; // what git says on stderr
};

// 0 or errno.
static int spawn_git(cli_git_history *git, const char *path) {
    int ends[2];
    if (pipe(ends) != 0) return errno;
    (void)fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    git->descriptor = ends[0];
    const char *const arguments[] = {
        "git",
        "--no-pager",
        "-C",
        path,
        "-c",
        "log.showRoot=true",
        "-c",
        "log.diffMerges=first-parent",
        "-c",
        "log.showSignature=false",
        "log",
        "--first-parent",
        "-m",
        "--reverse",
        "--raw",
        "-z",
        "--no-abbrev",
        "--no-renames",
        "--no-color",
        "--no-ext-diff",
        "--ignore-submodules=none",
        "--no-notes",
        "--encoding=UTF-8",
        "--format=%x01%H%x00%an%x00%ae%x00%cI%x00%s",
        "HEAD",
        "--",
        NULL,
    };
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int failed = posix_spawn_file_actions_init(&actions);
    if (failed == 0) {
        failed = posix_spawnattr_init(&attributes);
        if (failed != 0) (void)posix_spawn_file_actions_destroy(&actions);
    }
    if (failed == 0) {
        // This program ignores SIGPIPE; git is to end by it when nobody reads on.
        sigset_t defaults;
        (void)sigemptyset(&defaults);
        (void)sigaddset(&defaults, SIGPIPE);
        (void)posix_spawnattr_setsigdefault(&attributes, &defaults);
        (void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
        failed = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
        if (failed == 0) failed = posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
        if (failed == 0)
            failed = posix_spawn_file_actions_adddup2(&actions, fileno(git->errors), STDERR_FILENO);
        if (failed == 0) failed = posix_spawn_file_actions_addclose(&actions, ends[1]);
        // The prototype wants `char *const []` for reasons of history; the strings are not written to.
        union {
            const char *const *given;
            char *const *wanted;
        } argument_list = {arguments};
        if (failed == 0)
            failed = posix_spawnp(&git->child, "git", &actions, &attributes, argument_list.wanted, environ);
        (void)posix_spawnattr_destroy(&attributes);
        (void)posix_spawn_file_actions_destroy(&actions);
    }
    (void)close(ends[1]);
    if (failed != 0) git->child = 0;
    return failed;
}

// The last line git wrote to stderr, which is the one that matters.
static void last_words(cli_git_history *git, char *text, size_t size) {
    char line[512];
    (void)snprintf(text, size, "git failed and said nothing");
    rewind(git->errors);
    while (fgets(line, sizeof line, git->errors) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "fatal: ", 7) == 0 || strncmp(line, "error: ", 7) == 0) {
            (void)snprintf(text, size, "git says: %.400s", line + 7);
            return;
        }
        if (line[0] != '\0') (void)snprintf(text, size, "git says: %.400s", line);
    }
}

int cli_git_history_start(const char *path, cli_git_history **history_out, char *text, size_t text_size) {
    *history_out = NULL;
    cli_git_history *git = calloc(1, sizeof *git);
    if (git == NULL) {
        (void)snprintf(text, text_size, "out of memory");
        return ENOMEM;
    }
    git->descriptor = -1;
    git->errors = tmpfile();
    int failed = git->errors == NULL ? errno : 0;
    if (failed != 0) {
        (void)snprintf(text, text_size, "cannot make a temporary file: %s; set TMPDIR", strerror(failed));
    } else {
        failed = spawn_git(git, path);
        if (failed != 0) (void)snprintf(text, text_size, "cannot run git: %s; install git", strerror(failed));
    }
    if (failed != 0) {
        cli_git_history_close(git);
        return failed;
    }
    *history_out = git;
    return 0;
}

int cli_git_history_descriptor(const cli_git_history *history) {
    return history->descriptor;
}

int cli_git_history_end(cli_git_history *git, char *text, size_t text_size) {
    int outcome = 0;
    pid_t reaped;
    do reaped = waitpid(git->child, &outcome, 0);
    while (reaped < 0 && errno == EINTR);
    git->child = 0;
    if (reaped > 0 && WIFEXITED(outcome) && WEXITSTATUS(outcome) == 0) return 0;
    last_words(git, text, text_size);
    return reaped > 0 && WIFEXITED(outcome) && WEXITSTATUS(outcome) == 127 ? ENOENT : EIO;
}

void cli_git_history_close(cli_git_history *git) {
    if (git == NULL) return;
    if (git->descriptor >= 0) (void)close(git->descriptor); // a child that still writes ends by SIGPIPE
    if (git->child != 0) {
        int outcome;
        while (waitpid(git->child, &outcome, 0) < 0 && errno == EINTR) continue;
    }
    if (git->errors != NULL) (void)fclose(git->errors);
    free(git);
}
