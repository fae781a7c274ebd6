// SPDX-License-Identifier: Apache-2.0
//
// `--help`, made from the rows of commands.c.

#include "cli/manual.h"

#include <stdio.h>
#include <string.h>

#define WIDTH 100

// Text wrapped to WIDTH columns with `indent` blanks before each line but the first, which began at `column`.
// A blank is written with the word behind it, so that no line ends with one.
static void put_wrapped(cli_output *out, const char *text, size_t indent, size_t column) {
    size_t blank = 0;
    while (*text != '\0') {
        if (*text == '\n') {
            cli_put_char(out, '\n');
            text++;
            column = blank = 0;
            if (*text != '\n' && *text != '\0') {
                cli_put_spaces(out, indent);
                column = indent;
            }
            continue;
        }
        size_t word = strcspn(text, " \n");
        if (column > indent && column + blank + word > WIDTH) {
            cli_put_char(out, '\n');
            cli_put_spaces(out, indent);
            column = indent;
            blank = 0;
        }
        cli_put_spaces(out, blank);
        cli_put(out, text, word);
        column += blank + word;
        text += word;
        blank = *text == ' ';
        text += blank;
    }
}

static void put_option(cli_output *out, const cli_option *option) {
    char left[128];
    char letter[8] = "    ";
    if (option->letter != 0) (void)snprintf(letter, sizeof letter, "-%c, ", option->letter);
    int size = snprintf(left, sizeof left, "  %s--%s%s%s", letter, option->name,
                        option->argument == NULL ? "" : " ",
                        option->argument == NULL ? "" : option->argument);
    size_t column = size < 0 ? 0 : (size_t)size;
    cli_put(out, left, column);
    if (column > 36) {
        cli_put_char(out, '\n');
        column = 0;
    }
    cli_put_spaces(out, 38 - column);
    put_wrapped(out, option->help, 38, 38);
    cli_put_char(out, '\n');
}

static void put_options(cli_output *out, const cli_option *options) {
    for (; options != NULL && options->name != NULL; options++) put_option(out, options);
}

static int takes_csv(const cli_command *command) {
    return (command->flags & CLI_TABLE) != 0;
}

static void put_global_options(cli_output *out, const cli_command *command) {
    for (const cli_option *option = cli_global_options; option->name != NULL; option++)
        if (strcmp(option->name, "csv") != 0 || command == NULL || takes_csv(command))
            put_option(out, option);
}

static void put_usage(cli_output *out, const cli_command *command) {
    cli_put_format(out, "Usage: daybook [-s STORE] %s%s%s%s\n", command->name,
                   command->usage[0] == '\0' ? "" : " ", command->usage,
                   command->options != NULL || (command->flags & CLI_ASKS) != 0 ? " [OPTION...]" : "");
}

void cli_print_help(cli_context *context, const cli_command *command) {
    cli_output *out = context->out;
    put_usage(out, command);
    cli_put_char(out, '\n');
    cli_put_char(out,
                 (char)(command->summary[0] >= 'a' && command->summary[0] <= 'z' ? command->summary[0] - 32
                                                                                 : command->summary[0]));
    cli_puts(out, command->summary + 1);
    cli_puts(out, ".\n");
    if (command->run == NULL) cli_puts(out, "Not built into this program.\n");
    if (command->description != NULL) {
        cli_put_char(out, '\n');
        put_wrapped(out, command->description, 0, 0);
        cli_put_char(out, '\n');
    }
    if (command->options != NULL || (command->flags & CLI_ASKS) != 0) {
        cli_puts(out, "\nOptions:\n");
        put_options(out, command->options);
        if ((command->flags & CLI_ASKS) != 0) put_options(out, cli_asking_options);
    }
    cli_puts(out, "\nOptions of every command:\n");
    put_global_options(out, command);
    if (command->examples != NULL) {
        cli_puts(out, "\nExamples:\n  ");
        for (const char *at = command->examples; *at != '\0'; at++) {
            cli_put_char(out, *at);
            if (*at == '\n') cli_put(out, "  ", 2);
        }
        cli_put_char(out, '\n');
    }
}

static void put_row(cli_output *out, const cli_command *command) {
    size_t size = strlen(command->name) + strlen(command->usage) + 3;
    cli_put_format(out, "  %s %s", command->name, command->usage);
    if (size > 34) {
        cli_put_char(out, '\n');
        size = 0;
    }
    cli_put_spaces(out, 36 - size);
    cli_puts(out, command->summary);
    cli_put_char(out, '\n');
}

void cli_print_overview(cli_context *context) {
    cli_output *out = context->out;
    cli_puts(out,
             "daybook: an embedded event store. Append events durably, rebuild state, travel in time.\n\n"
             "Usage: daybook [-s STORE] COMMAND [ARGUMENT...] [OPTION...]\n\nCommands:\n");
    for (const cli_command *command = cli_commands; command->name != NULL; command++)
        if ((command->flags & CLI_HIDDEN) == 0) put_row(out, command);
    cli_puts(out, "\nOptions of every command:\n");
    put_global_options(out, NULL);
    cli_puts(
        out,
        "      --version                       the version, then stop\n\n"
        "daybook COMMAND --help tells what a command takes, daybook help does the same.\n\n"
        "TIME: RFC 3339 with T or a blank (2026-11-21T10:00:00Z, any offset, none is UTC), a date, now, or "
        "-90m.\nExit status: ");
    cli_puts(out, cli_exit_text);
    cli_puts(out, ".\n");
}

void cli_print_group(cli_context *context, const char *group) {
    cli_output *out = context->out;
    size_t size = strlen(group);
    cli_put_format(out, "Usage: daybook [-s STORE] %s COMMAND [ARGUMENT...] [OPTION...]\n\nCommands:\n",
                   group);
    for (const cli_command *command = cli_commands; command->name != NULL; command++)
        if (strncmp(command->name, group, size) == 0 && command->name[size] == ' ') put_row(out, command);
    cli_put_format(out, "\ndaybook %s COMMAND --help tells what a command takes.\n", group);
}

int cli_run_help(cli_context *context) {
    if (cli_given(context, "man")) {
        cli_print_manual(context->out);
        return CLI_FINE;
    }
    if (cli_given(context, "bash-completion")) {
        cli_print_completion(context->out);
        return CLI_FINE;
    }
    if (context->positional_count == 0) {
        cli_print_overview(context);
        return CLI_FINE;
    }
    const char *first = context->positionals[0];
    const char *second = context->positional_count > 1 ? context->positionals[1] : NULL;
    const cli_command *command = cli_find_command(first, second);
    if (command != NULL)
        cli_print_help(context, command);
    else if (second == NULL && cli_is_group(first))
        cli_print_group(context, first);
    else
        return cli_fail(context, DAYBOOK_EINVALID,
                        "unknown command '%s%s%s': no such verb; see daybook --help", first,
                        second == NULL ? "" : " ", second == NULL ? "" : second);
    return CLI_FINE;
}
