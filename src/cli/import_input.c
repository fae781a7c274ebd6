// SPDX-License-Identifier: Apache-2.0
//
// Bytes of a source: a file, a .gz file (known by its content, not its name) or standard input. zlib passes
// what is not gzip through unchanged, so there is one way in. A .gz that ends early is an error, never a
// short log: zlib says so when the end is reached. One thread.
#include "cli/import.h"
#include "cli/input.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#ifdef CLI_WITH_ZLIB
#include <zlib.h>
#endif

struct cli_import_input {
    char *path;
    cli_input source;
    uint64_t size; // of the file, 0 where unknown
    uint64_t done; // bytes taken, where zlib cannot tell
#ifdef CLI_WITH_ZLIB
    gzFile file;
#endif
};

static const cli_import_place nowhere;

static daybook_status open_source(cli_import_input *input, cli_context *context,
                                  cli_import_problem *problem) {
    int failed = cli_input_open(context, input->path, &input->source);
    if (failed != 0) {
        return cli_import_fail(problem, failed == ENOENT ? DAYBOOK_ENOTFOUND : DAYBOOK_EIO, nowhere,
                               "cannot open it: %s", strerror(failed));
    }
    if (input->source.is_directory) {
        cli_input_close(&input->source);
        return cli_import_fail(problem, DAYBOOK_EIO, nowhere, "it is a directory; name a file");
    }
    input->size = input->source.size;
    return DAYBOOK_OK;
}

daybook_status cli_import_input_open(cli_context *context, const char *path, cli_import_input **input_out,
                                     cli_import_problem *problem) {
    *input_out = NULL;
    cli_import_input *input = calloc(1, sizeof *input);
    if (input == NULL) return cli_import_no_memory(problem);
    input->path = strdup(path);
    daybook_status status = DAYBOOK_OK;
    if (input->path == NULL) {
        status = cli_import_no_memory(problem);
    } else {
        status = open_source(input, context, problem);
    }
    if (status != DAYBOOK_OK) {
        free(input->path);
        free(input);
        return status;
    }
#ifdef CLI_WITH_ZLIB
    // A descriptor of its own: zlib closes what it reads.
    int copy = dup(input->source.descriptor);
    if (copy >= 0) input->file = gzdopen(copy, "rb");
    if (input->file == NULL || gzbuffer(input->file, CLI_IMPORT_CHUNK_SIZE) != 0) {
        if (input->file == NULL && copy >= 0) (void)close(copy);
        cli_import_input_close(input);
        return cli_import_no_memory(problem);
    }
#endif
    *input_out = input;
    return DAYBOOK_OK;
}

#ifdef CLI_WITH_ZLIB
daybook_status cli_import_input_read(cli_import_input *input, void *data, size_t size, size_t *size_out,
                                     cli_import_problem *problem) {
    int count = gzread(input->file, data, (unsigned)size);
    int code = Z_OK;
    // At the end zlib reports a cut file only through gzerror, as Z_BUF_ERROR.
    const char *text = count <= 0 ? gzerror(input->file, &code) : "";
    if (count < 0 || (code != Z_OK && code != Z_STREAM_END)) {
        if (code == Z_ERRNO)
            return cli_import_fail(problem, DAYBOOK_EIO, nowhere, "cannot read it: %s",
                                   strerror(cli_input_errno(&input->source, errno)));
        if (code == Z_BUF_ERROR)
            return cli_import_fail(problem, DAYBOOK_EIO, nowhere, "the .gz ends too early; fetch it again");
        return cli_import_fail(problem, DAYBOOK_EIO, nowhere, "the .gz is damaged: %s", text);
    }
    *size_out = (size_t)count;
    return DAYBOOK_OK;
}
#else
daybook_status cli_import_input_read(cli_import_input *input, void *data, size_t size, size_t *size_out,
                                     cli_import_problem *problem) {
    ssize_t count = cli_input_read(&input->source, data, size);
    if (count < 0)
        return cli_import_fail(problem, DAYBOOK_EIO, nowhere, "cannot read it: %s", strerror(errno));
    const unsigned char *bytes = data;
    if (input->done == 0 && count > 2 && bytes[0] == 0x1f && bytes[1] == 0x8b)
        return cli_import_fail(problem, DAYBOOK_EUNSUPPORTED, nowhere,
                               "it is gzip, and zlib is not built in; gunzip it first");
    input->done += (uint64_t)count;
    *size_out = (size_t)count;
    return DAYBOOK_OK;
}
#endif

void cli_import_input_progress(cli_import_input *input, uint64_t *done_out, uint64_t *total_out) {
#ifdef CLI_WITH_ZLIB
    z_off_t offset = gzoffset(input->file);
    // What comes through a pipe has no offset; where it is no gzip, as much was read as was given.
    if (offset < 0 && gzdirect(input->file)) offset = gztell(input->file);
    *done_out = offset < 0 ? 0 : (uint64_t)offset;
    *total_out = offset < 0 ? 0 : input->size;
#else
    *done_out = input->done;
    *total_out = input->size;
#endif
}

void cli_import_input_close(cli_import_input *input) {
    if (input == NULL) return;
#ifdef CLI_WITH_ZLIB
    if (input->file != NULL) (void)gzclose_r(input->file); // reading: nothing can be lost
#endif
    cli_input_close(&input->source);
    free(input->path);
    free(input);
}
