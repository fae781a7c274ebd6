// SPDX-License-Identifier: Apache-2.0
//
// How daybook says that something went wrong, and which exit status that is. People get one line,
// `daybook: what happened: why; what to do`; programs that asked for --json get one object with "error" (the
// name of the status), "message", "expected", "actual" and "missed", which are null and [] where they mean
// nothing. Standard output is flushed first, so that on a terminal things appear in the order they happened.

#include "cli/cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int cli_exit_of(daybook_status status) {
    switch (status) {
    case DAYBOOK_OK:
    case DAYBOOK_END:
        return CLI_FINE;
    case DAYBOOK_EINVALID:
    case DAYBOOK_ESUBJECT:
        return CLI_USAGE;
    case DAYBOOK_ECONFLICT:
    case DAYBOOK_EMIXED:
    case DAYBOOK_EREFUSED:
        return CLI_CONFLICT;
    case DAYBOOK_ENOTFOUND:
    case DAYBOOK_ENOSTREAM:
        return CLI_NOT_FOUND;
    case DAYBOOK_EDAMAGED:
    case DAYBOOK_EFOREIGN:
        return CLI_DAMAGED;
    case DAYBOOK_ELOCKED:
    case DAYBOOK_EPOISONED:
    case DAYBOOK_EUNSUPPORTED:
        return CLI_UNAVAILABLE;
    default:
        return CLI_ERROR;
    }
}

static void put_optional(cli_output *out, const char *name, int given, uint64_t number) {
    cli_put_format(out, ",\"%s\":", name);
    if (given)
        cli_put_number(out, number);
    else
        cli_puts(out, "null");
}

static void put_json(cli_output *out, const cli_failure *failure) {
    cli_puts(out, "{\"error\":");
    cli_put_json_string(out, daybook_text(daybook_status_name(failure->status)));
    cli_puts(out, ",\"message\":");
    cli_put_json_string(out, daybook_text(failure->message));
    put_optional(out, "expected", failure->has_values, failure->expected);
    put_optional(out, "actual", failure->has_values, failure->actual);
    cli_puts(out, ",\"missed\":");
    if (failure->missed.size != 0)
        cli_put_slice(out, failure->missed);
    else
        cli_puts(out, "[]");
    if (failure->line != 0) cli_put_format(out, ",\"line\":%llu", (unsigned long long)failure->line);
    if (failure->column != 0) cli_put_format(out, ",\"column\":%llu", (unsigned long long)failure->column);
    cli_puts(out, "}\n");
}

int cli_report(cli_context *context, const cli_failure *failure) {
    (void)cli_output_flush(context->out);
    cli_output err;
    cli_output_init(&err, STDERR_FILENO);
    err.session = context->session;
    if (context->json) {
        put_json(&err, failure);
    } else {
        cli_puts(&err, "daybook: ");
        cli_put_plain(&err, daybook_text(failure->message), 0);
        cli_put_char(&err, '\n');
    }
    // Nowhere is left to say that stderr does not work; the exit status says enough.
    (void)cli_output_flush(&err);
    cli_output_deinit(&err);
    return failure->exit_status;
}

static int report_text(cli_context *context, daybook_status status, int exit_status, uint64_t line,
                       uint64_t column, const char *message) {
    cli_failure failure = {
        .status = status, .exit_status = exit_status, .message = message, .line = line, .column = column};
    return cli_report(context, &failure);
}

int cli_fail(cli_context *context, daybook_status status, const char *format, ...) {
    char message[4096];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return report_text(context, status, cli_exit_of(status), 0, 0, message);
}

int cli_fail_error(cli_context *context, daybook_status status, const daybook_error *error,
                   const char *about) {
    char message[4096];
    const char *text = error != NULL && error->message[0] != '\0' ? error->message
                                                                  : daybook_status_text(status);
    const char *file =
        error != NULL && error->file[0] != '\0' && strstr(text, error->file) == NULL ? error->file : NULL;
    (void)snprintf(message, sizeof message, "%s%s%s%s%s", about == NULL ? "" : about,
                   about == NULL ? "" : ": ", text, file == NULL ? "" : "; the file is ",
                   file == NULL ? "" : file);
    cli_failure failure = {.status = status, .exit_status = cli_exit_of(status), .message = message};
    if (status == DAYBOOK_ECONFLICT && error != NULL) {
        failure.has_values = 1;
        failure.expected = error->expected;
        failure.actual = error->actual;
    }
    return cli_report(context, &failure);
}

int cli_fail_input(cli_context *context, const char *file, uint64_t line, uint64_t column, const char *format,
                   ...) {
    char reason[2048], message[4096];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    const char *name = file == NULL || strcmp(file, "-") == 0 ? "standard input" : file;
    int size = snprintf(message, sizeof message, "malformed input in %s", name);
    if (line != 0 && size >= 0 && (size_t)size < sizeof message)
        size +=
            snprintf(message + size, sizeof message - (size_t)size, ", line %llu", (unsigned long long)line);
    if (column != 0 && size >= 0 && (size_t)size < sizeof message)
        size += snprintf(message + size, sizeof message - (size_t)size, ", column %llu",
                         (unsigned long long)column);
    if (size >= 0 && (size_t)size < sizeof message)
        (void)snprintf(message + size, sizeof message - (size_t)size, ": %s", reason);
    return report_text(context, DAYBOOK_EINVALID, CLI_ERROR, line, column, message);
}

void cli_note(cli_context *context, const char *format, ...) {
    if (context->quiet) return;
    char message[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    (void)cli_output_flush(context->out);
    cli_output err;
    cli_output_init(&err, STDERR_FILENO);
    err.session = context->session;
    if (context->json) {
        cli_puts(&err, "{\"note\":");
        cli_put_json_string(&err, daybook_text(message));
        cli_puts(&err, "}\n");
    } else {
        cli_puts(&err, "daybook: ");
        cli_put_plain(&err, daybook_text(message), 0);
        cli_put_char(&err, '\n');
    }
    (void)cli_output_flush(&err);
    cli_output_deinit(&err);
}

void cli_note_created(cli_context *context, const char *kind, daybook_slice name) {
    int quiet = context->quiet;
    context->quiet = 0;
    cli_note(context, "created %s %.*s", kind, (int)name.size, (const char *)name.data);
    context->quiet = quiet;
}
