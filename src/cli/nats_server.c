// SPDX-License-Identifier: Apache-2.0
//
// Flags as Go's flag package takes them: one dash or two, `-name value` or `-name=value`, a boolean only with
// `=`, the last one counts, and the first word that is no flag ends them. They become lines of the
// configuration language that the server lays over its file, as the command line does in nats-server.

#include "cli/nats_server.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/serve.h"

enum { EXIT_FAILED = 1, EXIT_FLAG = 2 };

typedef enum flag_kind { FLAG_BOOLEAN, FLAG_INTEGER, FLAG_TEXT } flag_kind;

typedef enum flag_meaning {
    MEANS_SETTING, // `key` of the configuration
    MEANS_NONE     // text_of finds it
} flag_meaning;

typedef struct flag {
    const char *names; // separated by blanks
    flag_kind kind;
    flag_meaning meaning;
    const char *key; // MEANS_SETTING: "port"; several separated by blanks
    const char *help;
} flag;

static const flag flags[] = {
    {"a addr net", FLAG_TEXT, MEANS_SETTING, "host", "address to listen on (default 0.0.0.0)"},
    {"p port", FLAG_INTEGER, MEANS_SETTING, "port", "port for clients (default 4222, -1: any free one)"},
    {"n name server_name", FLAG_TEXT, MEANS_SETTING, "server_name", "name of the server (default: its id)"},
    {"P pid", FLAG_TEXT, MEANS_SETTING, "pid_file", "file for the process id"},
    {"m http_port", FLAG_INTEGER, MEANS_SETTING, "http_port",
     "port of the HTTP monitor: /varz /connz /jsz /healthz, /metrics (-1: any free one)"},
    {"ms https_port", FLAG_INTEGER, MEANS_SETTING, "https_port", "the same over HTTPS"},
    {"c config", FLAG_TEXT, MEANS_NONE, NULL, "configuration file"},
    {"t", FLAG_BOOLEAN, MEANS_NONE, NULL, "check the configuration, then stop"},
    {"sl signal", FLAG_TEXT, MEANS_NONE, NULL,
     "send stop, quit, term, reopen, reload or ldm to a server, then stop; ldm=PID or ldm=PIDFILE names it"},
    {"client_advertise", FLAG_TEXT, MEANS_SETTING, "client_advertise", "host:port clients are told to use"},
    {"ports_file_dir", FLAG_TEXT, MEANS_SETTING, "ports_file_dir",
     "folder for the file that names the ports"},
    {"l log", FLAG_TEXT, MEANS_SETTING, "log_file", "file for the log (default: standard error)"},
    {"T logtime", FLAG_BOOLEAN, MEANS_SETTING, "logtime", "time in log lines (default true)"},
    {"s syslog", FLAG_BOOLEAN, MEANS_SETTING, "syslog", "not served; log lines go to standard error"},
    {"r remote_syslog", FLAG_TEXT, MEANS_SETTING, "remote_syslog", "not served"},
    {"D debug", FLAG_BOOLEAN, MEANS_SETTING, "debug", "more log lines"},
    {"V trace", FLAG_BOOLEAN, MEANS_SETTING, "trace", "lines of the protocol in the log"},
    {"VV", FLAG_BOOLEAN, MEANS_SETTING, "trace_verbose", "the same; there is no system account"},
    {"DV", FLAG_BOOLEAN, MEANS_SETTING, "debug trace", "debug and trace"},
    {"DVV", FLAG_BOOLEAN, MEANS_SETTING, "debug trace_verbose", "debug and verbose trace"},
    {"log_size_limit", FLAG_INTEGER, MEANS_SETTING, "log_size_limit",
     "begin the log file anew at so many bytes"},
    {"max_traced_msg_len", FLAG_INTEGER, MEANS_SETTING, "max_traced_msg_len",
     "bytes of a message in a trace"},
    {"js jetstream", FLAG_BOOLEAN, MEANS_SETTING, "jetstream", "streams and consumers"},
    {"sd store_dir", FLAG_TEXT, MEANS_SETTING, "store_dir", "directory of the store"},
    {"user", FLAG_TEXT, MEANS_NONE, NULL, "user who may connect"},
    {"pass", FLAG_TEXT, MEANS_NONE, NULL, "and the password"},
    {"auth", FLAG_TEXT, MEANS_NONE, NULL, "token of those who may connect"},
    {"tls", FLAG_BOOLEAN, MEANS_NONE, NULL, "TLS for clients"},
    {"tlscert", FLAG_TEXT, MEANS_NONE, NULL, "certificate of the server"},
    {"tlskey", FLAG_TEXT, MEANS_NONE, NULL, "and its key"},
    {"tlsverify", FLAG_BOOLEAN, MEANS_NONE, NULL, "clients must show a certificate"},
    {"tlscacert", FLAG_TEXT, MEANS_NONE, NULL, "authority that signed it"},
    {"profile", FLAG_INTEGER, MEANS_SETTING, "prof_port", "not served"},
    {"cluster cluster_listen", FLAG_TEXT, MEANS_NONE, NULL, "not served: this is one node"},
    {"cluster_name", FLAG_TEXT, MEANS_NONE, NULL, "not served"},
    {"cluster_advertise", FLAG_TEXT, MEANS_NONE, NULL, "not served"},
    {"no_advertise", FLAG_BOOLEAN, MEANS_NONE, NULL, "not served"},
    {"connect_retries", FLAG_INTEGER, MEANS_NONE, NULL, "not served"},
    {"routes", FLAG_TEXT, MEANS_NONE, NULL, "refused: this is one node"},
    {"h help", FLAG_BOOLEAN, MEANS_NONE, NULL, "this text"},
    {"help_tls", FLAG_BOOLEAN, MEANS_NONE, NULL, "about TLS"},
    {"v version", FLAG_BOOLEAN, MEANS_NONE, NULL, "the version clients are told"},
};

enum { FLAG_COUNT = sizeof flags / sizeof flags[0] };

typedef struct parsed_flags {
    const char *program;
    const char *texts[FLAG_COUNT]; // NULL: not given; booleans are "true" and "false"
    char **rest;
    int rest_count;
    char message[512];
    cli_output settings;
} parsed_flags;

static int has_name(const char *names, const char *name, size_t size) {
    for (const char *at = names; *at != '\0'; at += strspn(at, " ")) {
        size_t length = strcspn(at, " ");
        if (length == size && memcmp(at, name, size) == 0) return 1;
        at += length;
    }
    return 0;
}

static const flag *find_flag(const char *name, size_t size) {
    for (size_t i = 0; i < FLAG_COUNT; i++)
        if (has_name(flags[i].names, name, size)) return &flags[i];
    return NULL;
}

static const char *text_of(const parsed_flags *parsed, const char *name) {
    const flag *found = find_flag(name, strlen(name));
    const char *text = parsed->texts[found - flags];
    return text == NULL || text[0] == '\0' ? NULL : text;
}

static int is_on(const parsed_flags *parsed, const char *name) {
    const char *text = text_of(parsed, name);
    return text != NULL && strcmp(text, "true") == 0;
}

// --- Parsing ---

// What Go's ParseBool takes.
static const char *read_boolean(const char *text) {
    static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True"};
    static const char *const no[] = {"0", "f", "F", "false", "FALSE", "False"};
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        if (strcmp(text, yes[i]) == 0) return "true";
        if (strcmp(text, no[i]) == 0) return "false";
    }
    return NULL;
}

static int is_integer(const char *text) {
    char *end;
    errno = 0;
    (void)strtoll(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && text[0] != ' ';
}

static int put_message(parsed_flags *parsed, const char *format, ...) CLI_PRINTF(2, 3);

static int put_message(parsed_flags *parsed, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(parsed->message, sizeof parsed->message, format, arguments);
    va_end(arguments);
    return EXIT_FLAG;
}

static void put_flag_setting(parsed_flags *parsed, const flag *given, const char *text) {
    if (given->meaning != MEANS_SETTING) return;
    for (const char *at = given->key; *at != '\0'; at += strspn(at, " ")) {
        char key[64];
        size_t size = strcspn(at, " ");
        (void)snprintf(key, sizeof key, "%.*s", (int)size, at);
        at += size;
        if (given->kind == FLAG_TEXT) {
            cli_put_setting(&parsed->settings, key, text);
        } else {
            cli_put_format(&parsed->settings, "%s: %s\n", key, text);
        }
    }
}

static int take_value(parsed_flags *parsed, const flag *given, const char *name, const char *text) {
    if (given->kind == FLAG_BOOLEAN) {
        const char *word = read_boolean(text);
        if (word == NULL)
            return put_message(parsed, "invalid boolean value \"%s\" for -%s: parse error", text, name);
        text = word;
    } else if (given->kind == FLAG_INTEGER && !is_integer(text)) {
        return put_message(parsed, "invalid value \"%s\" for flag -%s: parse error", text, name);
    }
    parsed->texts[given - flags] = text;
    put_flag_setting(parsed, given, text);
    return 0;
}

static int parse_flags(parsed_flags *parsed, int count, char **arguments) {
    int i = 1;
    while (i < count && arguments[i][0] == '-' && arguments[i][1] != '\0') {
        const char *argument = arguments[i++];
        const char *name = argument + (argument[1] == '-' ? 2 : 1);
        if (strcmp(argument, "--") == 0) break;
        size_t size = strcspn(name, "=");
        if (size == 0 || name[0] == '-') return put_message(parsed, "bad flag syntax: %s", argument);
        const flag *given = find_flag(name, size);
        char said[64];
        (void)snprintf(said, sizeof said, "%.*s", (int)(size < sizeof said ? size : sizeof said - 1), name);
        if (given == NULL) return put_message(parsed, "flag provided but not defined: -%s", said);
        const char *value = "true";
        if (name[size] == '=') {
            value = name + size + 1;
        } else if (given->kind != FLAG_BOOLEAN) {
            if (i >= count) return put_message(parsed, "flag needs an argument: -%s", said);
            value = arguments[i++];
        }
        int status = take_value(parsed, given, said, value);
        if (status != 0) return status;
    }
    parsed->rest = arguments + i;
    parsed->rest_count = count - i;
    return 0;
}

// --- Flags that make a block together ---

static void put_block_text(parsed_flags *parsed, const char *flag_name, const char *key) {
    const char *text = text_of(parsed, flag_name);
    if (text != NULL) cli_put_setting(&parsed->settings, key, text);
}

static void put_authorization(parsed_flags *parsed) {
    if (text_of(parsed, "user") == NULL && text_of(parsed, "pass") == NULL && text_of(parsed, "auth") == NULL)
        return;
    cli_puts(&parsed->settings, "authorization {\n");
    put_block_text(parsed, "user", "user");
    put_block_text(parsed, "pass", "password");
    put_block_text(parsed, "auth", "token");
    cli_puts(&parsed->settings, "}\n");
}

static void put_tls(parsed_flags *parsed) {
    static const char *const names[] = {"tls", "tlscert", "tlskey", "tlsverify", "tlscacert"};
    const char *word = text_of(parsed, "tls");
    if (word != NULL && strcmp(word, "false") == 0) {
        cli_puts(&parsed->settings, "tls: false\n");
        return;
    }
    int is_given = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) is_given |= text_of(parsed, names[i]) != NULL;
    if (!is_given) return;
    cli_puts(&parsed->settings, "tls {\n");
    put_block_text(parsed, "tlscert", "cert_file");
    put_block_text(parsed, "tlskey", "key_file");
    put_block_text(parsed, "tlscacert", "ca_file");
    if (is_on(parsed, "tlsverify")) cli_puts(&parsed->settings, "verify: true\n");
    cli_puts(&parsed->settings, "}\n");
}

static void put_cluster(parsed_flags *parsed) {
    static const char *const names[] = {"cluster", "cluster_name", "cluster_advertise", "routes"};
    int is_given = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) is_given |= text_of(parsed, names[i]) != NULL;
    if (!is_given) return;
    cli_puts(&parsed->settings, "cluster {\n");
    put_block_text(parsed, "cluster", "listen");
    put_block_text(parsed, "cluster_name", "name");
    put_block_text(parsed, "cluster_advertise", "advertise");
    put_block_text(parsed, "routes", "routes");
    cli_puts(&parsed->settings, "}\n");
}

// --- Texts ---

static void put_usage(cli_output *out, const char *program) {
    cli_put_format(out, "Usage: %s [options]\n\nA NATS server for one node on a daybook store.\n\nOptions:\n",
                   program);
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        size_t column = 0;
        cli_puts(out, "    ");
        for (const char *at = flags[i].names; *at != '\0'; at += strspn(at, " ")) {
            size_t size = strcspn(at, " ");
            cli_put_format(out, "%s%s%.*s", column == 0 ? "" : ", ", size > 2 ? "--" : "-", (int)size, at);
            column += size + (column == 0 ? 0 : 2) + (size > 2 ? 2 : 1);
            at += size;
        }
        const char *argument = flags[i].kind == FLAG_BOOLEAN   ? ""
                               : flags[i].kind == FLAG_INTEGER ? " N"
                                                               : " TEXT";
        cli_puts(out, argument);
        column += strlen(argument);
        cli_put_spaces(out, column < 34 ? 34 - column : 1);
        cli_put_format(out, "%s\n", flags[i].help);
    }
    cli_puts(out, "\nSignals: INT and TERM stop, HUP reload, USR1 open the log again, USR2 lame duck.\n"
                  "Under the name daybook this program has more commands: daybook --help.\n");
}

static void put_tls_help(cli_output *out) {
    cli_puts(out, "TLS in the configuration file:\n\n"
                  "    tls {\n"
                  "        cert_file: \"server-cert.pem\"\n"
                  "        key_file: \"server-key.pem\"\n"
                  "        ca_file: \"ca.pem\"          # with verify: who signs clients\n"
                  "        verify: true               # clients must show a certificate\n"
                  "        min_version: \"1.3\"\n"
                  "        timeout: 2\n"
                  "    }\n\n"
                  "cipher_suites and curve_preferences are named as OpenSSL and IANA name them.\n");
}

static int fail(const parsed_flags *parsed, const char *message) {
    fprintf(stderr, "%s: %s\n", parsed->program, message);
    return EXIT_FAILED;
}

static int fail_flag(const parsed_flags *parsed) {
    fprintf(stderr, "%s\n", parsed->message);
    cli_output usage;
    cli_output_init(&usage, STDERR_FILENO);
    put_usage(&usage, parsed->program);
    (void)cli_output_flush(&usage); // standard error is where a failure would be told
    cli_output_deinit(&usage);
    return EXIT_FLAG;
}

// --- Running ---

static int check(parsed_flags *parsed, const daybook_server_options *options) {
    daybook_error error;
    daybook_error_init(&error);
    if (options->config_file == NULL)
        return fail(parsed, "must specify [-c, --config] option to check configuration file syntax");
    if (daybook_server_check(options, &error) != DAYBOOK_OK) return fail(parsed, error.message);
    fprintf(stderr, "%s: configuration file %s is valid\n", parsed->program, options->config_file);
    return 0;
}

static int serve(parsed_flags *parsed) {
    put_authorization(parsed);
    put_tls(parsed);
    put_cluster(parsed);
    if (parsed->settings.failed_errno != 0) return fail(parsed, "out of memory");
    daybook_server_options options;
    daybook_server_options_init(&options);
    options.program = parsed->program;
    options.config_file = text_of(parsed, "config");
    options.overrides = daybook_bytes(parsed->settings.data, parsed->settings.size);
    if (is_on(parsed, "t")) return check(parsed, &options);
    cli_serve_log_lines lines = {0};
    options.log = cli_serve_log;
    options.log_context = &lines;
    cli_serve_prepare();
    daybook_error error;
    daybook_error_init(&error);
    if (cli_serve(&options, NULL, NULL, &error) == DAYBOOK_OK) return 0;
    return lines.said_fatal ? EXIT_FAILED : fail(parsed, error.message);
}

static int run(parsed_flags *parsed, cli_output *out) {
    const char *word = parsed->rest_count > 0 ? parsed->rest[0] : "";
    if (is_on(parsed, "version") || strcmp(word, "version") == 0) {
        cli_put_format(out, "nats-server: v%s\n", daybook_server_announced_version());
        return 0;
    }
    if (is_on(parsed, "help") || strcmp(word, "help") == 0) {
        put_usage(out, parsed->program);
        return 0;
    }
    if (is_on(parsed, "help_tls")) {
        put_tls_help(out);
        return 0;
    }
    if (word[0] != '\0') {
        (void)put_message(parsed, "unrecognized command: \"%s\"", word);
        return fail(parsed, parsed->message);
    }
    const char *signal_text = text_of(parsed, "signal");
    if (signal_text == NULL) return serve(parsed);
    if (cli_send_signal(signal_text, parsed->message, sizeof parsed->message) == 0) return 0;
    return fail(parsed, parsed->message);
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

int cli_is_nats_server(const char *program) {
    return program != NULL && strcmp(base_name(program), "nats-server") == 0;
}

int cli_run_nats_server(cli_output *out, int count, char **arguments) {
    parsed_flags parsed = {.program = base_name(arguments[0])};
    cli_output_init(&parsed.settings, -1);
    int status = parse_flags(&parsed, count, arguments);
    status = status != 0 ? fail_flag(&parsed) : run(&parsed, out);
    cli_output_deinit(&parsed.settings);
    return status;
}
