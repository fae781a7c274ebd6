// SPDX-License-Identifier: Apache-2.0
//
// `daybook serve`: a store over the NATS protocol. Options become lines of the configuration language, which
// the server lays over its file, so that a reload keeps them.
//
// Without a configuration file it listens on 127.0.0.1 only: nobody said who may connect.

#include "cli/serve.h"

#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

static int fail_settings(cli_context *context, const cli_output *settings) {
    if (settings->failed_errno == 0) return CLI_FINE;
    return cli_fail(context, DAYBOOK_ENOMEM, "out of memory while reading the options");
}

static void put_port(cli_context *context, cli_output *out, const char *option, const char *key) {
    if (!cli_given(context, option)) return;
    uint64_t port = cli_number(context, option, 0);
    if (port == 0) {
        cli_put_format(out, "%s: -1\n", key); // any free one
    } else {
        cli_put_format(out, "%s: %llu\n", key, (unsigned long long)port);
    }
}

static int put_set(cli_context *context, cli_output *out) {
    for (size_t i = 0; i < cli_value_count(context, "set"); i++) {
        const char *setting = cli_value_text(context, "set", i);
        const char *equal = strchr(setting, '=');
        if (equal == NULL || equal == setting)
            return cli_fail(
                context, DAYBOOK_EINVALID,
                "cannot use --set '%s': it is no setting; give KEY=VALUE, such as max_payload=2MB", setting);
        cli_put(out, setting, (size_t)(equal - setting));
        cli_puts(out, ": ");
        cli_puts(out, equal + 1);
        cli_put_char(out, '\n');
    }
    return CLI_FINE;
}

static int put_settings(cli_context *context, cli_output *out) {
    static const struct {
        const char *option;
        const char *key;
    } texts[] = {{"host", "host"},
                 {"name", "server_name"},
                 {"log", "log_file"},
                 {"pid", "pid_file"},
                 {"ports-dir", "ports_file_dir"}};
    put_port(context, out, "port", "port");
    put_port(context, out, "http-port", "http_port");
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const char *text = cli_text(context, texts[i].option);
        if (text != NULL) cli_put_setting(out, texts[i].key, text);
    }
    if (cli_given(context, "debug")) cli_puts(out, "debug: true\n");
    if (cli_given(context, "trace")) cli_puts(out, "trace: true\n");
    int status = put_set(context, out);
    return status != CLI_FINE ? status : fail_settings(context, out);
}

// The directory to serve; 0 where the configuration names it.
static int choose_store(cli_context *context, int *has_store_out) {
    int is_named = cli_given(context, "store");
    *has_store_out = 1;
    if (context->positional_count > 0) {
        if (is_named && strcmp(context->store_path, context->positionals[0]) != 0)
            return cli_fail(context, DAYBOOK_EINVALID,
                            "two stores: '%s' and, with --store, '%s'; a server has one, name it once",
                            context->positionals[0], context->store_path);
        context->store_path = context->positionals[0];
        return cli_check_store_path(context);
    }
    const char *environment = getenv("DAYBOOK_STORE");
    *has_store_out = is_named || (environment != NULL && environment[0] != '\0') ||
                     !cli_given(context, "config");
    return CLI_FINE;
}

typedef struct run {
    cli_context *context;
    cli_serve_log_lines lines;
} run;

static void say_ready(void *of_run, daybook_server *server) {
    run *served = of_run;
    // From now on it ends by itself or not at all: then the log says why.
    served->lines.hides_fatal = 0;
    if (!served->context->json) return;
    cli_output *out = served->context->out;
    cli_puts(out, "{\"url\":");
    cli_put_json_string(out, daybook_text(daybook_server_url(server)));
    cli_put_format(out, ",\"port\":%d,\"monitor_port\":%d}\n", daybook_server_port(server),
                   daybook_server_monitor_port(server));
    (void)cli_output_flush(out); // a failure sticks; main says it
}

static int serve(cli_context *context, daybook_server_options *options, int has_store) {
    daybook_error error;
    daybook_error_init(&error);
    // Before the store: a mistake in an option leaves no directory behind.
    daybook_status status = daybook_server_check(options, &error);
    if (status != DAYBOOK_OK) return cli_fail_error(context, status, &error, NULL);
    if (cli_given(context, "check")) {
        cli_note(context, "the configuration is valid");
        return CLI_FINE;
    }
    cli_serve_prepare();
    if (has_store) {
        int opened = cli_open_store(context, CLI_CREATE);
        if (opened != CLI_FINE) return opened;
        options->store = context->store;
    }
    run served = {.context = context, .lines = {.is_quiet = context->quiet, .hides_fatal = 1}};
    options->log = cli_serve_log;
    options->log_context = &served.lines;
    status = cli_serve(options, say_ready, &served, &error);
    return status == DAYBOOK_OK ? CLI_FINE : cli_fail_error(context, status, &error, NULL);
}

int cli_run_serve(cli_context *context) {
    int has_store = 0;
    int status = choose_store(context, &has_store);
    if (status != CLI_FINE) return status;
    cli_output settings;
    cli_output_init(&settings, -1);
    status = put_settings(context, &settings);
    if (status == CLI_FINE) {
        daybook_server_options options;
        daybook_server_options_init(&options);
        options.program = "daybook";
        options.config_file = cli_text(context, "config");
        if (options.config_file == NULL) options.config_text = daybook_text("host: 127.0.0.1");
        options.overrides = daybook_bytes(settings.data, settings.size);
        status = serve(context, &options, has_store);
    }
    cli_output_deinit(&settings);
    return status;
}
