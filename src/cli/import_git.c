// SPDX-License-Identifier: Apache-2.0
//
// The history of a git repository, read from `git log --raw -z` through a pipe: one record per file changed
// in a commit of the first-parent history, oldest commit first. Merges show what they brought to the first
// parent; renames are a deletion and an addition.
//
//   commit = \1 hash NUL author NUL time NUL summary NUL
//   change = ':' mode SP mode SP blob SP blob SP letter NUL path NUL
//
// Columns for templates: path change commit blob mode summary author email time. Data is {commit, blob, mode,
// summary}; of a deleted file blob and mode are null, so that the folded state says that it is gone. Paths
// may be any bytes; what is no UTF-8 in a summary or name becomes U+FFFD.
//
// Nothing of the repository is run: no hooks, no filters, no pager. When git fails, its own words are passed
// on. One thread; the child ends with its pipe.
#include "cli/import.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ; // POSIX has it without a header

#define GIT_CHUNK_SIZE (128u * 1024)
#define GIT_TOKEN_SIZE_MAX (1024u * 1024)

enum {
    GIT_PATH,
    GIT_CHANGE,
    GIT_COMMIT,
    GIT_BLOB,
    GIT_MODE,
    GIT_SUMMARY,
    GIT_AUTHOR,
    GIT_EMAIL,
    GIT_TIME,
    GIT_FIELD_COUNT
};

static const daybook_slice git_columns[GIT_FIELD_COUNT] = {
    {"path", 4},    {"change", 6}, {"commit", 6}, {"blob", 4}, {"mode", 4},
    {"summary", 7}, {"author", 6}, {"email", 5},  {"time", 4},
};

typedef struct git_source {
    cli_import_source base;
    pid_t child; // 0: reaped
    int descriptor;
    FILE *errors; // what git says on stderr
    char *data;
    size_t capacity, begin, end;
    bool at_end;
    // The commit being read. Its texts are copied, because the buffer moves on.
    cli_output commit;
    size_t ends[5];    // of hash, author, email, time, summary in `commit`
    cli_output change; // path and what the raw line said
    cli_import_field fields[GIT_FIELD_COUNT];
} git_source;

static const cli_import_place nowhere;

// --- The child -------------------------------------------------------------------------------------------

static daybook_status spawn_git(git_source *git, const char *path, cli_import_problem *problem) {
    int ends[2];
    if (pipe(ends) != 0)
        return cli_import_fail(problem, errno == EMFILE ? DAYBOOK_EMFILE : DAYBOOK_EIO, nowhere,
                               "cannot make a pipe: %s", strerror(errno));
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
    if (failed == 0) return DAYBOOK_OK;
    git->child = 0;
    return cli_import_fail(problem, DAYBOOK_EUNSUPPORTED, nowhere, "cannot run git: %s; install git",
                           strerror(failed));
}

// The last line git wrote to stderr, which is the one that matters.
static void last_words(git_source *git, char *text, size_t size) {
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

static daybook_status reap(git_source *git, cli_import_problem *problem) {
    int outcome = 0;
    pid_t reaped;
    do reaped = waitpid(git->child, &outcome, 0);
    while (reaped < 0 && errno == EINTR);
    git->child = 0;
    if (reaped > 0 && WIFEXITED(outcome) && WEXITSTATUS(outcome) == 0) return DAYBOOK_OK;
    char text[480];
    last_words(git, text, sizeof text);
    if (reaped > 0 && WIFEXITED(outcome) && WEXITSTATUS(outcome) == 127)
        return cli_import_fail(problem, DAYBOOK_EUNSUPPORTED, nowhere, "cannot run git; install git");
    return cli_import_fail(problem, DAYBOOK_EIO, nowhere, "%s", text);
}

// --- Tokens ----------------------------------------------------------------------------------------------

static daybook_status fill(git_source *git, cli_import_problem *problem) {
    if (git->begin > 0) {
        memmove(git->data, git->data + git->begin, git->end - git->begin);
        git->end -= git->begin;
        git->begin = 0;
    }
    if (git->capacity - git->end < GIT_CHUNK_SIZE) {
        if (git->capacity > GIT_TOKEN_SIZE_MAX)
            return cli_import_fail(problem, DAYBOOK_EINVALID, nowhere,
                                   "git log has a name or summary over 1 MiB");
        char *data = realloc(git->data, git->capacity + GIT_CHUNK_SIZE);
        if (data == NULL) return cli_import_no_memory(problem);
        git->data = data;
        git->capacity += GIT_CHUNK_SIZE;
    }
    ssize_t count;
    do count = read(git->descriptor, git->data + git->end, git->capacity - git->end);
    while (count < 0 && errno == EINTR);
    if (count < 0)
        return cli_import_fail(problem, DAYBOOK_EIO, nowhere, "cannot read from git: %s", strerror(errno));
    git->end += (size_t)count;
    git->at_end = count == 0;
    return DAYBOOK_OK;
}

// The next text up to a NUL, borrowed until the next call; END at the end of git's output.
static daybook_status next_token(git_source *git, daybook_slice *token_out, cli_import_problem *problem) {
    size_t scanned = 0;
    for (;;) {
        const char *from = git->data + git->begin;
        size_t size = git->end - git->begin;
        const char *found = size > scanned ? memchr(from + scanned, '\0', size - scanned) : NULL;
        if (found != NULL) {
            *token_out = (daybook_slice){from, (size_t)(found - from)};
            git->begin += token_out->size + 1;
            return DAYBOOK_OK;
        }
        if (git->at_end) break;
        scanned = size;
        daybook_status status = fill(git, problem);
        if (status != DAYBOOK_OK) return status;
    }
    daybook_status status = reap(git, problem);
    if (status != DAYBOOK_OK) return status;
    size_t left = git->end - git->begin;
    for (size_t i = 0; i < left; i++)
        if (git->data[git->begin + i] != '\n')
            return cli_import_fail(problem, DAYBOOK_EIO, nowhere, "git log ended in the middle of a line");
    return DAYBOOK_END;
}

static void put_repaired(cli_output *out, daybook_slice text) {
    const char *data = text.data;
    for (size_t at = 0; at < text.size;) {
        size_t valid = cli_utf8_valid_size((daybook_slice){data + at, text.size - at});
        cli_put(out, data + at, valid);
        at += valid;
        if (at == text.size) break;
        cli_puts(out, "\xEF\xBF\xBD");
        at++;
    }
}

static daybook_status read_commit(git_source *git, daybook_slice hash, cli_import_problem *problem) {
    git->commit.size = 0;
    put_repaired(&git->commit, hash);
    git->ends[0] = git->commit.size;
    for (size_t i = 1; i < 5; i++) {
        daybook_slice token;
        daybook_status status = next_token(git, &token, problem);
        if (status == DAYBOOK_END)
            return cli_import_fail(problem, DAYBOOK_EIO, nowhere, "git log ended in the middle of a commit");
        if (status != DAYBOOK_OK) return status;
        put_repaired(&git->commit, token);
        git->ends[i] = git->commit.size;
    }
    return git->commit.failed_errno ? cli_import_no_memory(problem) : DAYBOOK_OK;
}

// --- Records ---------------------------------------------------------------------------------------------

static void set_field(git_source *git, unsigned index, daybook_slice value, bool hidden) {
    git->fields[index] = (cli_import_field){.name = git_columns[index], .value = value, .hidden = hidden};
}

static daybook_slice commit_part(const git_source *git, unsigned part) {
    size_t begin = part == 0 ? 0 : git->ends[part - 1];
    return (daybook_slice){git->commit.data + begin, git->ends[part] - begin};
}

// ":100644 100755 <old> <new> M": four words behind the colon and a letter.
static bool split_change(daybook_slice line, daybook_slice words_out[5]) {
    const char *at = line.data, *end = at + line.size;
    at++;
    for (unsigned i = 0; i < 5; i++) {
        const char *space = i == 4 ? end : memchr(at, ' ', (size_t)(end - at));
        if (space == NULL || space == at) return false;
        words_out[i] = (daybook_slice){at, (size_t)(space - at)};
        at = space + 1;
    }
    return true;
}

static daybook_status read_change(git_source *git, daybook_slice line, cli_import_record *record_out,
                                  cli_import_problem *problem) {
    daybook_slice words[5], path;
    git->change.size = 0;
    cli_put_slice(&git->change, line); // the path's token may move the buffer
    daybook_status status = next_token(git, &path, problem);
    if (status == DAYBOOK_END)
        return cli_import_fail(problem, DAYBOOK_EIO, nowhere, "git log ended in the middle of a change");
    if (status != DAYBOOK_OK) return status;
    if (git->change.failed_errno) return cli_import_no_memory(problem);
    line = (daybook_slice){git->change.data, git->change.size};
    if (!split_change(line, words) || git->commit.size == 0)
        return cli_import_fail(problem, DAYBOOK_EIO, nowhere,
                               "git log wrote a line that is not understood: %.*s",
                               (int)(line.size > 200 ? 200 : line.size), (const char *)line.data);
    char letter = *(const char *)words[4].data;
    bool is_deleted = letter == 'D';
    set_field(git, GIT_PATH, path, true);
    set_field(git, GIT_CHANGE,
              daybook_text(letter == 'A' ? "added"
                           : is_deleted  ? "deleted"
                                         : "modified"),
              true);
    set_field(git, GIT_COMMIT, commit_part(git, 0), false);
    set_field(git, GIT_BLOB, is_deleted ? daybook_text("null") : words[3], false);
    set_field(git, GIT_MODE, is_deleted ? daybook_text("null") : words[1], false);
    if (is_deleted) git->fields[GIT_BLOB].kind = git->fields[GIT_MODE].kind = CLI_IMPORT_LITERAL;
    set_field(git, GIT_AUTHOR, commit_part(git, 1), true);
    set_field(git, GIT_EMAIL, commit_part(git, 2), true);
    set_field(git, GIT_TIME, commit_part(git, 3), true);
    set_field(git, GIT_SUMMARY, commit_part(git, 4), false);
    *record_out = (cli_import_record){.fields = git->fields, .field_count = GIT_FIELD_COUNT};
    return DAYBOOK_OK;
}

static daybook_status git_next(cli_import_source *source, cli_import_record *record_out,
                               cli_import_problem *problem) {
    git_source *git = (git_source *)source;
    if (git->child == 0) return DAYBOOK_END;
    for (;;) {
        daybook_slice token;
        daybook_status status = next_token(git, &token, problem);
        if (status != DAYBOOK_OK) return status;
        const char *text = token.data;
        while (token.size > 0 && *text == '\n') token = (daybook_slice){++text, token.size - 1};
        if (token.size == 0) continue;
        if (*text == ':') return read_change(git, token, record_out, problem);
        if (*text != '\1')
            return cli_import_fail(problem, DAYBOOK_EIO, nowhere,
                                   "git log wrote something that is not understood");
        status = read_commit(git, (daybook_slice){text + 1, token.size - 1}, problem);
        if (status != DAYBOOK_OK) return status;
    }
}

static void git_progress(cli_import_source *source, uint64_t *done_out, uint64_t *total_out) {
    (void)source;
    *done_out = *total_out = 0;
}

static void git_close(cli_import_source *source) {
    git_source *git = (git_source *)source;
    if (git == NULL) return;
    if (git->descriptor >= 0) (void)close(git->descriptor); // a child that still writes ends by SIGPIPE
    if (git->child != 0) {
        int outcome;
        while (waitpid(git->child, &outcome, 0) < 0 && errno == EINTR) continue;
    }
    if (git->errors != NULL) (void)fclose(git->errors);
    free(git->data);
    cli_output_deinit(&git->commit);
    cli_output_deinit(&git->change);
    free(git);
}

daybook_status cli_import_git_open(const char *path, cli_import_source **source_out,
                                   cli_import_problem *problem) {
    *source_out = NULL;
    git_source *git = calloc(1, sizeof *git);
    if (git == NULL) return cli_import_no_memory(problem);
    git->base = (cli_import_source){.next = git_next,
                                    .progress = git_progress,
                                    .close = git_close,
                                    .columns = git_columns,
                                    .column_count = GIT_FIELD_COUNT};
    git->descriptor = -1;
    cli_output_init(&git->commit, -1);
    cli_output_init(&git->change, -1);
    git->errors = tmpfile();
    daybook_status status = DAYBOOK_OK;
    if (git->errors == NULL) {
        status = cli_import_fail(problem, DAYBOOK_EIO, nowhere,
                                 "cannot make a temporary file: %s; set TMPDIR", strerror(errno));
    } else {
        status = spawn_git(git, path, problem);
    }
    if (status != DAYBOOK_OK) {
        git_close(&git->base);
        return status;
    }
    *source_out = &git->base;
    return DAYBOOK_OK;
}
