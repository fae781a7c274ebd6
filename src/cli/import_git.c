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
// on. One thread. git itself runs in the process of whoever imports (git_history.c).
#include "cli/git_history.h"
#include "cli/import.h"
#include "cli/session.h"

#include <errno.h>
#include <stdlib.h>

#define GIT_CHUNK_SIZE (128u * 1024)
#define GIT_TOKEN_SIZE_MAX (1024u * 1024)
#define GIT_TEXT_SIZE 480u

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
    cli_git_history *history; // of this process; NULL: the caller's
    cli_input input;
    char *data;
    size_t capacity, begin, end;
    bool at_end;
    bool has_ended; // and was asked how
    // The commit being read. Its texts are copied, because the buffer moves on.
    cli_output commit;
    size_t ends[5];    // of hash, author, email, time, summary in `commit`
    cli_output change; // path and what the raw line said
    cli_import_field fields[GIT_FIELD_COUNT];
} git_source;

static const cli_import_place nowhere;

// --- git -------------------------------------------------------------------------------------------------

// `failed` is an errno, `text` what git or the caller's process said.
static daybook_status fail_git(int failed, const char *text, cli_import_problem *problem) {
    daybook_status status = failed == ENOENT   ? DAYBOOK_EUNSUPPORTED
                            : failed == EMFILE ? DAYBOOK_EMFILE
                            : failed == ENOMEM ? DAYBOOK_ENOMEM
                                               : DAYBOOK_EIO;
    if (text[0] != '\0') return cli_import_fail(problem, status, nowhere, "%s", text);
    return cli_import_fail(problem, status, nowhere, "cannot run git: %s; install git", strerror(failed));
}

// git runs where the caller is.
static daybook_status start_git(git_source *git, cli_context *context, const char *path,
                                cli_import_problem *problem) {
    char text[GIT_TEXT_SIZE] = "";
    int failed;
    if (context != NULL && context->session != NULL) {
        failed = cli_session_open(context->session, CLI_SERVED_GIT, path, &git->input);
    } else {
        failed = cli_git_history_start(path, &git->history, text, sizeof text);
        if (failed == 0)
            git->input =
                (cli_input){.descriptor = cli_git_history_descriptor(git->history), .is_borrowed = 1};
    }
    return failed == 0 ? DAYBOOK_OK : fail_git(failed, text, problem);
}

// At the end of its output. In a session the end says itself how git ended.
static daybook_status end_git(git_source *git, cli_import_problem *problem) {
    git->has_ended = true;
    if (git->history == NULL) return DAYBOOK_OK;
    char text[GIT_TEXT_SIZE] = "";
    int failed = cli_git_history_end(git->history, text, sizeof text);
    if (failed == ENOENT)
        return cli_import_fail(problem, DAYBOOK_EUNSUPPORTED, nowhere, "cannot run git; install git");
    return failed == 0 ? DAYBOOK_OK : fail_git(failed, text, problem);
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
    ssize_t count = cli_input_read(&git->input, git->data + git->end, git->capacity - git->end);
    if (count < 0) {
        int failed = errno;
        const char *text =
            git->input.session == NULL ? "" : cli_session_input_text(git->input.session, git->input.channel);
        if (text[0] != '\0') return fail_git(failed, text, problem);
        return cli_import_fail(problem, DAYBOOK_EIO, nowhere, "cannot read from git: %s", strerror(failed));
    }
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
    daybook_status status = end_git(git, problem);
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
    if (git->has_ended) return DAYBOOK_END;
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
    cli_input_close(&git->input);
    cli_git_history_close(git->history);
    free(git->data);
    cli_output_deinit(&git->commit);
    cli_output_deinit(&git->change);
    free(git);
}

daybook_status cli_import_git_open(cli_context *context, const char *path, cli_import_source **source_out,
                                   cli_import_problem *problem) {
    *source_out = NULL;
    git_source *git = calloc(1, sizeof *git);
    if (git == NULL) return cli_import_no_memory(problem);
    git->base = (cli_import_source){.next = git_next,
                                    .progress = git_progress,
                                    .close = git_close,
                                    .columns = git_columns,
                                    .column_count = GIT_FIELD_COUNT};
    git->input.descriptor = -1;
    cli_output_init(&git->commit, -1);
    cli_output_init(&git->change, -1);
    daybook_status status = start_git(git, context, path, problem);
    if (status != DAYBOOK_OK) {
        git_close(&git->base);
        return status;
    }
    *source_out = &git->base;
    return DAYBOOK_OK;
}
