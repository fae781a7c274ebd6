// SPDX-License-Identifier: Apache-2.0
//
// From argv to a context. Options may stand before or after the verb and between positionals; `--` ends
// them; `--name=value` and `--name value` are the same; short letters may be joined. An argument that begins
// with a minus and a digit is a positional (`-5` is JSON). The verb is found first, because it decides which
// options take a value; before the verb only global options are known. An empty value or positional is
// refused where it names something: for the library an empty name is one that was not given, so `--stream ""`
// (a shell variable that is not set) would ask for everything.

#include "cli/cli.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const cli_option *find_in(const cli_option *options, const char *name, size_t size) {
    for (; options != NULL && options->name != NULL; options++)
        if (strlen(options->name) == size && memcmp(options->name, name, size) == 0) return options;
    return NULL;
}

static const cli_option *find_letter(const cli_option *options, char letter) {
    for (; options != NULL && options->name != NULL; options++)
        if (options->letter == letter) return options;
    return NULL;
}

const cli_option *cli_find_option(const cli_command *command, const char *name, size_t name_size) {
    const cli_option *option = NULL;
    if (command != NULL) option = find_in(command->options, name, name_size);
    if (option == NULL && command != NULL && (command->flags & CLI_ASKS) != 0)
        option = find_in(cli_asking_options, name, name_size);
    if (option == NULL) option = find_in(cli_global_options, name, name_size);
    return option;
}

static const cli_option *find_short(const cli_command *command, char letter) {
    const cli_option *option = NULL;
    if (command != NULL) option = find_letter(command->options, letter);
    if (option == NULL && command != NULL && (command->flags & CLI_ASKS) != 0)
        option = find_letter(cli_asking_options, letter);
    if (option == NULL) option = find_letter(cli_global_options, letter);
    return option;
}

// "stream add" is two words, "append" one.
const cli_command *cli_find_command(const char *first, const char *second) {
    size_t first_size = strlen(first);
    for (const cli_command *command = cli_commands; command->name != NULL; command++) {
        if (strncmp(command->name, first, first_size) != 0) continue;
        const char *rest = command->name + first_size;
        if (*rest == '\0') return command;
        if (*rest == ' ' && second != NULL && strcmp(rest + 1, second) == 0) return command;
    }
    return NULL;
}

int cli_is_group(const char *first) {
    size_t size = strlen(first);
    for (const cli_command *command = cli_commands; command->name != NULL; command++)
        if (strncmp(command->name, first, size) == 0 && command->name[size] == ' ') return 1;
    return 0;
}

int cli_parse_number(daybook_slice text, uint64_t *number_out) {
    const char *digits = text.data;
    uint64_t number = 0;
    if (text.size == 0) return 0;
    for (size_t i = 0; i < text.size; i++) {
        if (digits[i] < '0' || digits[i] > '9') return 0;
        unsigned digit = (unsigned)(digits[i] - '0');
        if (number > (UINT64_MAX - digit) / 10) return 0;
        number = number * 10 + digit;
    }
    *number_out = number;
    return 1;
}

// "64MiB", "64M", "64MB" (decimal), "10k", "1048576".
static int parse_bytes(const char *text, uint64_t *number_out) {
    static const struct {
        const char *name;
        uint64_t factor;
    } units[] = {
        {"", 1},
        {"B", 1},
        {"K", 1024},
        {"KiB", 1024},
        {"k", 1024},
        {"kB", 1000},
        {"KB", 1000},
        {"M", 1u << 20},
        {"MiB", 1u << 20},
        {"MB", 1000000},
        {"G", 1u << 30},
        {"GiB", 1u << 30},
        {"GB", 1000000000},
        {"T", 1ull << 40},
        {"TiB", 1ull << 40},
        {"TB", 1000000000000},
    };
    size_t digits = strspn(text, "0123456789");
    uint64_t number;
    if (!cli_parse_number(daybook_bytes(text, digits), &number)) return 0;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(text + digits, units[i].name) != 0) continue;
        if (number > UINT64_MAX / units[i].factor) return 0;
        *number_out = number * units[i].factor;
        return 1;
    }
    return 0;
}

static int is_choice(const char *choices, const char *text) {
    size_t size = strlen(text);
    while (*choices != '\0') {
        size_t part = strcspn(choices, "|");
        if (part == size && memcmp(choices, text, size) == 0) return 1;
        choices += part;
        if (*choices == '|') choices++;
    }
    return 0;
}

// Why a whole number is none, for people.
static const char *number_fault(const char *text) {
    if (text[0] == '-') return "negative numbers are not allowed";
    if (text[0] != '\0' && strspn(text, "0123456789") == strlen(text))
        return "it is larger than 18446744073709551615";
    return "it is not a whole number";
}

// Check and convert the argument of an option. 0 or exit status.
static int convert(cli_context *context, const cli_option *option, cli_value *value) {
    const char *text = value->text;
    switch (option->kind) {
    case CLI_NUMBER:
        if (cli_parse_number(daybook_text(text), &value->number)) return 0;
        return cli_fail(context, DAYBOOK_EINVALID, "cannot use --%s '%s': %s; give a number from 0",
                        option->name, text, number_fault(text));
    case CLI_BYTES:
        if (parse_bytes(text, &value->number)) return 0;
        return cli_fail(
            context, DAYBOOK_EINVALID,
            "cannot use --%s '%s': it is not a size; give bytes, or a number with KiB, MiB or GiB",
            option->name, text);
    case CLI_TIME:
        if (daybook_time_parse(daybook_text(text), context->now_ns, &value->time_ns) == DAYBOOK_OK) return 0;
        return cli_fail(
            context, DAYBOOK_EINVALID,
            "cannot use --%s '%s': it is not a time; give RFC 3339 such as 2026-11-21T10:00:00Z, a "
            "date, now, or -90m",
            option->name, text);
    case CLI_DURATION:
        if (daybook_duration_parse(daybook_text(text), &value->time_ns) == DAYBOOK_OK) return 0;
        return cli_fail(context, DAYBOOK_EINVALID,
                        "cannot use --%s '%s': it is not a duration; give one such as 90s, 1h30m or 0",
                        option->name, text);
    case CLI_CHOICE:
        if (is_choice(option->choices, text)) return 0;
        return cli_fail(context, DAYBOOK_EINVALID, "cannot use --%s '%s': unknown choice; give one of %s",
                        option->name, text, option->choices);
    case CLI_FILTER:
        if (daybook_filter_is_valid(daybook_text(text))) return 0;
        return cli_fail(
            context, DAYBOOK_ESUBJECT,
            "cannot use --%s '%s': it is not a subject filter; give tokens joined by dots, * for one, "
            "a final > for the rest",
            option->name, text);
    default:
        if (text[0] != '\0' || option->may_be_empty) return 0;
        return cli_fail(context, DAYBOOK_EINVALID,
                        "cannot use --%s '': it is empty; give a value, or leave it out", option->name);
    }
}

static int add_value(cli_context *context, const cli_option *option, const char *text) {
    cli_value *value = &context->values[context->value_count];
    *value = (cli_value){.option = option, .text = text};
    if (option->kind != CLI_FLAG) {
        int status = convert(context, option, value);
        if (status != 0) return status;
        for (size_t i = 0; i < context->value_count && !option->repeats; i++)
            if (context->values[i].option == option && strcmp(context->values[i].text, text) != 0)
                return cli_fail(context, DAYBOOK_EINVALID, "--%s is given twice: '%s' and '%s'; give it once",
                                option->name, context->values[i].text, text);
    }
    context->value_count++;
    return 0;
}

static int unknown_option(cli_context *context, const char *argument) {
    if (context->command == NULL)
        return cli_fail(
            context, DAYBOOK_EINVALID,
            "unknown option %s: only options of every command may stand before it; see daybook --help",
            argument);
    return cli_fail(context, DAYBOOK_EINVALID,
                    "unknown option %s: daybook %s does not take it; see daybook %s --help", argument,
                    context->command->name, context->command->name);
}

// One argument that begins with a minus; moves *index behind what it used. 0 or exit status.
static int parse_option(cli_context *context, int count, char **arguments, int *index) {
    const char *argument = arguments[*index];
    (*index)++;
    if (argument[1] == '-') {
        const char *name = argument + 2;
        size_t size = strcspn(name, "=");
        const cli_option *option = cli_find_option(context->command, name, size);
        if (option == NULL) return unknown_option(context, argument);
        if (option->kind == CLI_FLAG) {
            if (name[size] == '=')
                return cli_fail(context, DAYBOOK_EINVALID, "--%s takes no value: '%s'; leave it out",
                                option->name, name + size + 1);
            return add_value(context, option, "");
        }
        if (name[size] == '=') return add_value(context, option, name + size + 1);
        if (*index >= count)
            return cli_fail(context, DAYBOOK_EINVALID, "--%s needs a value: none is given; give %s",
                            option->name, option->argument);
        return add_value(context, option, arguments[(*index)++]);
    }
    for (const char *letter = argument + 1; *letter != '\0'; letter++) {
        const cli_option *option = find_short(context->command, *letter);
        if (option == NULL) return unknown_option(context, argument);
        if (option->kind == CLI_FLAG) {
            int status = add_value(context, option, "");
            if (status != 0) return status;
            continue;
        }
        if (letter[1] != '\0') return add_value(context, option, letter + 1);
        if (*index >= count)
            return cli_fail(context, DAYBOOK_EINVALID, "-%c needs a value: none is given; give %s", *letter,
                            option->argument);
        return add_value(context, option, arguments[(*index)++]);
    }
    return 0;
}

static int is_option(const char *argument) {
    return argument[0] == '-' && argument[1] != '\0' && !(argument[1] >= '0' && argument[1] <= '9');
}

static int has_flag(const cli_context *context, const char *name) {
    for (size_t i = 0; i < context->value_count; i++)
        if (strcmp(context->values[i].option->name, name) == 0) return 1;
    return 0;
}

static const cli_value *last_value(const cli_context *context, const char *name) {
    const cli_value *found = NULL;
    for (size_t i = 0; i < context->value_count; i++)
        if (strcmp(context->values[i].option->name, name) == 0) found = &context->values[i];
    return found;
}

static void take_globals(cli_context *context) {
    context->json = has_flag(context, "json");
    context->csv = has_flag(context, "csv");
    context->quiet = has_flag(context, "quiet");
    context->read_only = has_flag(context, "read-only");
    context->no_create = has_flag(context, "no-create");
    context->force = has_flag(context, "force");
    context->dry_run = has_flag(context, "dry-run");
    const cli_value *value = last_value(context, "store");
    if (value != NULL) context->store_path = value->text;
    value = last_value(context, "wait");
    if (value != NULL) {
        int64_t wait_ms = value->time_ns / 1000000;
        context->wait_ms = wait_ms > UINT32_MAX ? UINT32_MAX : (unsigned)wait_ms;
    }
}

static int unknown_command(cli_context *context, const char *first, const char *second) {
    if (cli_is_group(first) && second != NULL)
        return cli_fail(context, DAYBOOK_EINVALID,
                        "unknown command '%s %s': no such verb; see daybook %s --help", first, second, first);
    return cli_fail(context, DAYBOOK_EINVALID, "unknown command '%s': no such verb; see daybook --help",
                    first);
}

static int check_positionals(cli_context *context) {
    const cli_command *command = context->command;
    if (command->run == NULL) return 0;
    if (context->positional_count < command->positional_min)
        return cli_fail(context, DAYBOOK_EINVALID,
                        "missing argument: daybook %s takes %s; see daybook %s --help", command->name,
                        command->usage, command->name);
    if (context->positional_count > command->positional_max)
        return cli_fail(context, DAYBOOK_EINVALID,
                        "unexpected argument '%s': daybook %s takes %s; see daybook %s --help",
                        context->positionals[command->positional_max], command->name,
                        command->usage[0] == '\0' ? "none" : command->usage, command->name);
    for (size_t i = 0; i < context->positional_count; i++) {
        if (context->positionals[i][0] != '\0' || (i != 0 && i == command->data_index)) continue;
        return cli_fail(context, DAYBOOK_EINVALID,
                        "argument %zu is empty: daybook %s takes %s; give a value, or leave it out", i + 1,
                        command->name, command->usage);
    }
    if (context->csv && (command->flags & CLI_TABLE) == 0)
        return cli_fail(context, DAYBOOK_EINVALID,
                        "cannot use --csv: daybook %s does not print a table; leave it out", command->name);
    if (context->csv && context->json)
        return cli_fail(context, DAYBOOK_EINVALID, "cannot use --csv and --json at once; choose one");
    return 0;
}

// JSON errors are wanted for errors in the arguments too, wherever --json stands.
static void look_ahead(cli_context *context, int count, char **arguments) {
    for (int i = 1; i < count; i++) {
        if (strcmp(arguments[i], "--") == 0) return;
        if (strcmp(arguments[i], "--json") == 0) context->json = 1;
    }
}

// Words of the command line: the verb (one or two of them), then positionals.
static int take_word(cli_context *context, const char **group, const char *word) {
    if (context->command != NULL) {
        context->positionals[context->positional_count++] = word;
        return 0;
    }
    if (*group == NULL && cli_is_group(word)) {
        *group = word;
        return 0;
    }
    context->command = *group != NULL ? cli_find_command(*group, word) : cli_find_command(word, NULL);
    return context->command != NULL ? 0 : unknown_command(context, *group != NULL ? *group : word, word);
}

static int parse_words(cli_context *context, int count, char **arguments, const char **group,
                       int *version_out) {
    int only_words = 0;
    for (int i = 1; i < count;) {
        const char *argument = arguments[i];
        int status = 0;
        if (!only_words && strcmp(argument, "--") == 0) {
            only_words = 1;
            i++;
        } else if (!only_words && context->command == NULL && strcmp(argument, "--version") == 0) {
            *version_out = 1;
            return 0;
        } else if (!only_words && is_option(argument)) {
            status = parse_option(context, count, arguments, &i);
        } else {
            status = take_word(context, group, argument);
            i++;
        }
        if (status != 0) return status;
        // What is not built in may be asked for with options nobody knows yet.
        if (context->command != NULL && context->command->run == NULL) return 0;
    }
    return 0;
}

static void print_help(cli_context *context, const char *group) {
    if (context->command != NULL)
        cli_print_help(context, context->command);
    else if (group != NULL)
        cli_print_group(context, group);
    else
        cli_print_overview(context);
}

int cli_parse(cli_context *context, int argument_count, char **arguments, int *help_out) {
    *help_out = 0;
    look_ahead(context, argument_count, arguments);
    size_t room = 1; // at most one value per letter of joined short options
    for (int i = 1; i < argument_count; i++) room += strlen(arguments[i]) + 1;
    context->values = calloc(room, sizeof *context->values);
    context->positionals = calloc((size_t)argument_count + 1, sizeof *context->positionals);
    if (context->values == NULL || context->positionals == NULL)
        return cli_fail(context, DAYBOOK_ENOMEM, "out of memory while reading the arguments");

    const char *group = NULL;
    int status = parse_words(context, argument_count, arguments, &group, help_out);
    if (status != 0) return status;
    if (*help_out) {
        cli_put_format(context->out, "daybook %s\n", daybook_version());
        return 0;
    }
    take_globals(context);
    if (has_flag(context, "help")) {
        *help_out = 1;
        print_help(context, group);
        return 0;
    }
    if (context->command == NULL && group != NULL)
        return cli_fail(context, DAYBOOK_EINVALID, "missing command after '%s': see daybook %s --help", group,
                        group);
    if (context->command == NULL)
        return cli_fail(context, DAYBOOK_EINVALID, "missing command: see daybook --help");
    return check_positionals(context);
}

// --- Reading the options ---

static const cli_value *value_of(const cli_context *context, const char *name) {
    assert(cli_find_option(context->command, name, strlen(name)) != NULL);
    return last_value(context, name);
}

int cli_given(const cli_context *context, const char *name) {
    return value_of(context, name) != NULL;
}

const char *cli_text(const cli_context *context, const char *name) {
    const cli_value *value = value_of(context, name);
    return value == NULL ? NULL : value->text;
}

daybook_slice cli_slice(const cli_context *context, const char *name) {
    return daybook_text(cli_text(context, name));
}

uint64_t cli_number(const cli_context *context, const char *name, uint64_t otherwise) {
    const cli_value *value = value_of(context, name);
    return value == NULL ? otherwise : value->number;
}

int64_t cli_time(const cli_context *context, const char *name, int64_t otherwise) {
    const cli_value *value = value_of(context, name);
    return value == NULL ? otherwise : value->time_ns;
}

size_t cli_value_count(const cli_context *context, const char *name) {
    size_t count = 0;
    (void)value_of(context, name);
    for (size_t i = 0; i < context->value_count; i++)
        if (strcmp(context->values[i].option->name, name) == 0) count++;
    return count;
}

const char *cli_value_text(const cli_context *context, const char *name, size_t index) {
    for (size_t i = 0; i < context->value_count; i++)
        if (strcmp(context->values[i].option->name, name) == 0 && index-- == 0)
            return context->values[i].text;
    return NULL;
}

int cli_value_slices(cli_context *context, const char *name, daybook_slice **slices_out, size_t *count_out) {
    *slices_out = NULL;
    *count_out = cli_value_count(context, name);
    if (*count_out == 0) return 0;
    *slices_out = calloc(*count_out, sizeof **slices_out);
    if (*slices_out == NULL)
        return cli_fail(context, DAYBOOK_ENOMEM, "out of memory while reading --%s", name);
    size_t found = 0;
    for (size_t i = 0; i < context->value_count; i++)
        if (strcmp(context->values[i].option->name, name) == 0)
            (*slices_out)[found++] = daybook_text(context->values[i].text);
    return 0;
}
