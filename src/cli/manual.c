// SPDX-License-Identifier: Apache-2.0
//
// daybook(1) as troff and the completion script for bash. Verbs without a function are left out of both.
// The manual has no date and no build in it, so that the copy in the repository can be compared byte by byte;
// therefore also optional verbs are always in it.

#include "cli/manual.h"

#include <string.h>

const char cli_exit_text[] =
    "0 fine; 1 operating error (disk full, I/O, a limit, a malformed input file); 2 malformed "
    "argument;\n3 condition failed; 4 not found; 5 damage found; 6 locked, poisoned or not "
    "built in";

static int is_shown(const cli_command *command) {
    return (command->flags & CLI_HIDDEN) == 0;
}

// troff: a backslash and a leading dot or quote mean something, a minus is to stay one.
static void put_roff(cli_output *out, const char *text) {
    int at_start = 1;
    for (; *text != '\0'; text++) {
        if (at_start && (*text == '.' || *text == '\'')) cli_puts(out, "\\&");
        at_start = *text == '\n';
        if (*text == '\\')
            cli_puts(out, "\\e");
        else if (*text == '-')
            cli_puts(out, "\\-");
        else if (*text == '\'')
            cli_puts(out, "\\(aq");
        else if (*text == '`')
            cli_puts(out, "\\(ga");
        else if (*text == '^')
            cli_puts(out, "\\(ha");
        else if (*text == '~')
            cli_puts(out, "\\(ti");
        else
            cli_put_char(out, *text);
    }
}

// Paragraphs parted by an empty line.
static void put_paragraphs(cli_output *out, const char *text) {
    while (*text != '\0') {
        const char *end = strstr(text, "\n\n");
        size_t size = end == NULL ? strlen(text) : (size_t)(end - text);
        char paragraph[4096];
        if (size >= sizeof paragraph) size = sizeof paragraph - 1;
        memcpy(paragraph, text, size);
        paragraph[size] = '\0';
        put_roff(out, paragraph);
        cli_put_char(out, '\n');
        text += size;
        if (end != NULL) {
            text += 2;
            cli_puts(out, ".PP\n");
        }
    }
}

static void put_option(cli_output *out, const cli_option *option) {
    cli_puts(out, ".TP\n");
    if (option->letter != 0) cli_put_format(out, "\\fB\\-%c\\fR, ", option->letter);
    cli_puts(out, "\\fB\\-\\-");
    put_roff(out, option->name);
    cli_puts(out, "\\fR");
    if (option->argument != NULL) {
        cli_puts(out, " \\fI");
        put_roff(out, option->argument);
        cli_puts(out, "\\fR");
    }
    cli_put_char(out, '\n');
    put_roff(out, option->help);
    cli_puts(out, ".\n");
}

static void put_options(cli_output *out, const cli_option *options) {
    for (; options != NULL && options->name != NULL; options++) put_option(out, options);
}

static void put_examples(cli_output *out, const char *examples) {
    cli_puts(out, ".PP\n.EX\n");
    put_roff(out, examples);
    cli_puts(out, "\n.EE\n");
}

static void put_command(cli_output *out, const cli_command *command) {
    cli_puts(out, ".SS daybook ");
    put_roff(out, command->name);
    if (command->usage[0] != '\0') {
        cli_put_char(out, ' ');
        put_roff(out, command->usage);
    }
    cli_put_char(out, '\n');
    cli_put_char(out, (char)(command->summary[0] - 32));
    put_roff(out, command->summary + 1);
    cli_puts(out, ".\n");
    if (command->description != NULL) {
        cli_puts(out, ".PP\n");
        put_paragraphs(out, command->description);
    }
    put_options(out, command->options);
    if ((command->flags & CLI_ASKS) != 0) put_options(out, cli_asking_options);
    if (command->examples != NULL) put_examples(out, command->examples);
}

void cli_print_manual(cli_output *out) {
    cli_put_format(out,
                   ".\\\" Made by `daybook help --man`; do not edit.\n.TH DAYBOOK 1 \"\" \"daybook %s\" "
                   "\"User Commands\"\n",
                   daybook_version());
    cli_puts(
        out,
        ".SH NAME\ndaybook \\- embedded event store: append events, rebuild state, travel in time\n"
        ".SH SYNOPSIS\n\\fBdaybook\\fR [\\fB\\-s\\fR \\fISTORE\\fR] \\fICOMMAND\\fR [\\fIARGUMENT\\fR...] "
        "[\\fIOPTION\\fR...]\n.SH DESCRIPTION\n");
    put_paragraphs(
        out,
        "A store is a directory of streams. A stream is a log that captures subjects, an event has a "
        "subject such as orders.123.shipped: category, id of the aggregate, type. Everything "
        "acknowledged is on disk.\n\n"
        "One process writes at a time; another waits for it up to --wait, then fails and names it. "
        "Readers never wait. Only append, import, demo, restore and serve create a store, and say so.\n\n"
        "On a terminal output is for people; with --json it is one object per line, and errors "
        "are objects on standard error with error, message, expected, actual and missed.\n\n"
        "TIME is RFC 3339 with T or a blank, any offset (none is UTC), a date, now, or an offset such "
        "as -90m. Options may stand before or after the command's arguments; -- ends them.");
    cli_puts(out, ".SH OPTIONS OF EVERY COMMAND\n");
    put_options(out, cli_global_options);
    cli_puts(out, ".SH COMMANDS\n");
    for (const cli_command *command = cli_commands; command->name != NULL; command++)
        if (is_shown(command)) put_command(out, command);
    cli_puts(out,
             ".SH EXIT STATUS\n"
             ".TP\n0\nFine, also where a read finds nothing.\n"
             ".TP\n1\nOperating error: disk full, input or output failed, a limit, a malformed input file.\n"
             ".TP\n2\nMalformed argument, subject or time.\n"
             ".TP\n3\nA condition failed, a rule refused, or stored and new ids are mixed.\n"
             ".TP\n4\nNo such store, stream, aggregate, version or key.\n"
             ".TP\n5\nDamage found.\n"
             ".TP\n6\nLocked, unreachable, poisoned or not built in.\n"
             ".SH ENVIRONMENT\n.TP\n\\fBDAYBOOK_STORE\\fR\nThe store where \\-s is not given.\n"
             ".TP\n\\fBNO_COLOR\\fR\nNo colours, also on a terminal.\n");
}

// --- bash ---

static void put_words(cli_output *out, const cli_option *options) {
    for (; options != NULL && options->name != NULL; options++) cli_put_format(out, " --%s", options->name);
}

// Names of the verbs of two words below a first word, once each; those of one word where `group` is NULL.
static void put_names(cli_output *out, const char *group) {
    char last[64] = "";
    for (const cli_command *command = cli_commands; command->name != NULL; command++) {
        if (!is_shown(command)) continue;
        size_t size = strcspn(command->name, " ");
        if (group == NULL) {
            if (strlen(last) == size && memcmp(last, command->name, size) == 0) continue;
            memcpy(last, command->name, size);
            last[size] = '\0';
            cli_put_format(out, " %s", last);
        } else if (strlen(group) == size && memcmp(group, command->name, size) == 0 &&
                   command->name[size] == ' ') {
            cli_put_format(out, " %s", command->name + size + 1);
        }
    }
}

// case arms that tell what the argument of an option is; the same name means the same kind everywhere but
// for choices, which are told apart by their text.
static void put_argument_arms(cli_output *out) {
    cli_puts(out,
             "    --store|-s|--dir) compopt -o dirnames; COMPREPLY=(); return ;;\n"
             "    --batch) compopt -o filenames; COMPREPLY=($(compgen -f -- \"$current\")); return ;;\n");
    static const char *const seen_names[] = {"discard", "storage", "order"};
    for (size_t i = 0; i < sizeof seen_names / sizeof seen_names[0]; i++) {
        for (const cli_command *command = cli_commands; command->name != NULL; command++) {
            const cli_option *option = cli_find_option(command, seen_names[i], strlen(seen_names[i]));
            if (option == NULL || option->kind != CLI_CHOICE) continue;
            cli_put_format(out, "    --%s) COMPREPLY=($(compgen -W \"", option->name);
            for (const char *at = option->choices; *at != '\0'; at++)
                cli_put_char(out, *at == '|' ? ' ' : *at);
            cli_puts(out, "\" -- \"$current\")); return ;;\n");
            break;
        }
    }
}

// Options with an argument: their next word is no verb.
static void put_arguments_pattern(cli_output *out) {
    cli_puts(out, "      -s|--store|--wait) ((i++)) ;;\n");
}

void cli_print_completion(cli_output *out) {
    cli_puts(out,
             "# bash completion for daybook\n# Made by `daybook help --bash-completion`; do not edit.\n\n"
             "_daybook() {\n"
             "  local current=\"${COMP_WORDS[COMP_CWORD]}\" previous=\"${COMP_WORDS[COMP_CWORD - 1]}\"\n"
             "  local verb=\"\" second=\"\" words=\"\" i\n"
             "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
             "    case \"${COMP_WORDS[i]}\" in\n");
    put_arguments_pattern(out);
    cli_puts(out, "      -*) ;;\n"
                  "      *) if [[ -z $verb ]]; then verb=\"${COMP_WORDS[i]}\"\n"
                  "         elif [[ -z $second ]]; then second=\"${COMP_WORDS[i]}\"; fi ;;\n"
                  "    esac\n  done\n"
                  "  case \"$previous\" in\n");
    put_argument_arms(out);
    cli_puts(out, "  esac\n  case \"$verb\" in\n    \"\") words=\"");
    put_names(out, NULL);
    cli_puts(out, "\" ;;\n");
    char last[64] = "";
    for (const cli_command *command = cli_commands; command->name != NULL; command++) {
        if (!is_shown(command)) continue;
        size_t size = strcspn(command->name, " ");
        if (command->name[size] == '\0' || (strlen(last) == size && memcmp(last, command->name, size) == 0))
            continue;
        memcpy(last, command->name, size);
        last[size] = '\0';
        cli_put_format(out, "    %s) [[ -z $second ]] && words=\"", last);
        put_names(out, last);
        cli_puts(out, "\" ;;\n");
    }
    cli_puts(out, "    help) words=\"");
    put_names(out, NULL);
    cli_puts(out, "\" ;;\n  esac\n  if [[ $current == -* ]]; then\n    words=\"");
    put_words(out, cli_global_options);
    cli_puts(out, "\"\n    case \"$verb $second\" in\n");
    for (const cli_command *command = cli_commands; command->name != NULL; command++) {
        if (!is_shown(command) || (command->options == NULL && (command->flags & CLI_ASKS) == 0)) continue;
        int two_words = strchr(command->name, ' ') != NULL;
        cli_put_format(out, "      \"%s%s) words+=\"", command->name, two_words ? "\"" : " \"*");
        put_words(out, command->options);
        if ((command->flags & CLI_ASKS) != 0) put_words(out, cli_asking_options);
        cli_puts(out, "\" ;;\n");
    }
    cli_puts(out, "    esac\n  fi\n"
                  "  COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
                  "  [[ ${#COMPREPLY[@]} -eq 0 && $current != -* ]] && compopt -o default\n"
                  "  return 0\n}\n\ncomplete -F _daybook daybook\n");
}
