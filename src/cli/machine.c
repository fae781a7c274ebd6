// SPDX-License-Identifier: Apache-2.0
//
// `machine check|draw|state|history|move`: state machines declared in a JSON file (daybook/machine.h).

#include "cli/event_text.h"
#include "cli/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int load_machine(cli_context *context, daybook_machine **machine_out) {
    const char *path = context->positionals[0];
    char *text = NULL;
    size_t size = 0;
    int status = cli_read_file(context, path, &text, &size);
    if (status != CLI_FINE) return status;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status parsed = daybook_machine_parse(daybook_bytes(text, size), path, machine_out, &error);
    free(text);
    if (parsed == DAYBOOK_OK) return CLI_FINE;
    // A malformed file is no malformed argument: exit 1.
    cli_failure failure = {.status = parsed, .exit_status = CLI_ERROR, .message = error.message};
    return cli_report(context, &failure);
}

// --- check and draw: no store ---

static void note_warning(void *context, daybook_slice warning) {
    cli_context *shown = context;
    cli_output *out = shown->out;
    if (shown->json) {
        cli_puts(out, "{\"warning\":");
        cli_put_json_string(out, warning);
        cli_puts(out, "}\n");
    } else {
        cli_puts(out, "warning: ");
        cli_put_plain(out, warning, 0);
        cli_put_char(out, '\n');
    }
}

int cli_run_machine_check(cli_context *context) {
    daybook_machine *machine = NULL;
    int status = load_machine(context, &machine);
    if (status != CLI_FINE) return status;
    daybook_machine_check(machine, note_warning, context);
    cli_output *out = context->out;
    if (context->json) {
        cli_puts(out, "{\"machine\":");
        cli_put_json_string(out, daybook_machine_name(machine));
        cli_put_format(out, ",\"states\":%zu,\"transitions\":%zu}\n", daybook_machine_state_count(machine),
                       daybook_machine_transition_count(machine));
    } else {
        cli_puts(out, "machine ");
        cli_put_plain(out, daybook_machine_name(machine), 0);
        cli_put_format(out, ": %zu states, %zu transitions\n", daybook_machine_state_count(machine),
                       daybook_machine_transition_count(machine));
    }
    daybook_machine_free(machine);
    return CLI_FINE;
}

int cli_run_machine_draw(cli_context *context) {
    daybook_machine *machine = NULL;
    int status = load_machine(context, &machine);
    if (status != CLI_FINE) return status;
    const char *format = cli_text(context, "format");
    int drawing = format != NULL && strcmp(format, "dot") == 0 ? DAYBOOK_DRAWING_DOT
                                                               : DAYBOOK_DRAWING_MERMAID;
    char *text = NULL;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status drawn = daybook_machine_draw(machine, drawing, &text, &error);
    daybook_machine_free(machine);
    if (drawn != DAYBOOK_OK) return cli_fail_error(context, drawn, &error, NULL);
    if (context->json) {
        cli_puts(context->out, "{\"drawing\":");
        cli_put_json_string(context->out, daybook_text(text));
        cli_puts(context->out, "}\n");
    } else {
        cli_puts(context->out, text);
    }
    daybook_text_release(text);
    return CLI_FINE;
}

// --- state, history, move ---

static void put_aggregate(cli_context *context, const daybook_machine *machine) {
    char name[2 * DAYBOOK_SUBJECT_SIZE_MAX];
    daybook_slice category = daybook_machine_category(machine);
    (void)snprintf(name, sizeof name, "%.*s.%s", (int)category.size, (const char *)category.data,
                   context->positionals[1]);
    if (context->json)
        cli_put_json_string(context->out, daybook_text(name));
    else
        cli_put_plain(context->out, daybook_text(name), 0);
}

static void put_state(cli_context *context, const daybook_machine *machine, const char *state,
                      uint64_t version) {
    cli_output *out = context->out;
    if (context->json) cli_puts(out, "{\"aggregate\":");
    put_aggregate(context, machine);
    if (context->json) {
        cli_put_format(out, ",\"version\":%llu,\"state\":", (unsigned long long)version);
        cli_put_json_string(out, daybook_text(state));
        cli_puts(out, "}\n");
    } else {
        cli_put_format(out, "  version %llu  ", (unsigned long long)version);
        cli_put_plain(out, daybook_text(state), 0);
        cli_put_char(out, '\n');
    }
}

int cli_run_machine_state(cli_context *context) {
    daybook_machine *machine = NULL;
    int status = load_machine(context, &machine);
    if (status == CLI_FINE) status = cli_open_store(context, CLI_READ);
    if (status == CLI_FINE) {
        daybook_moment moment;
        daybook_moment_init(&moment);
        moment.version = cli_number(context, "at", 0);
        moment.time_ns = cli_time(context, "at-time", DAYBOOK_TIME_NONE);
        moment.known_at_ns = cli_time(context, "known-at", DAYBOOK_TIME_NONE);
        char state[DAYBOOK_TEXT_SIZE_MAX + 1];
        uint64_t version = 0;
        daybook_error error;
        daybook_error_init(&error);
        daybook_status found = daybook_machine_state(machine, cli_engine(context),
                                                     daybook_text(context->positionals[1]), &moment, state,
                                                     &version, &error);
        if (found == DAYBOOK_OK)
            put_state(context, machine, state, version);
        else
            status = cli_fail_error(context, found, &error, NULL);
    }
    daybook_machine_free(machine);
    return status;
}

static void put_json_member(cli_output *out, const char *name, daybook_slice text) {
    if (text.size == 0) return;
    cli_put_format(out, ",\"%s\":", name);
    cli_put_json_string(out, text);
}

static int show_change(void *context, const daybook_change *change) {
    cli_table *table = context;
    cli_output *out = table->context->out;
    const daybook_recorded_event *event = change->event;
    if (!table->context->json) {
        cli_table_number(table, event->version);
        cli_table_time(table, event->event.time_ns);
        cli_table_slice(table, change->from);
        cli_table_slice(table, change->to);
        cli_table_slice(table, event->event.actor);
        cli_table_slice(table, change->reason);
        cli_table_text(table, change->is_declared ? "" : "not declared");
        return table->failed;
    }
    cli_put_format(out, "{\"version\":%llu,\"time\":\"", (unsigned long long)event->version);
    cli_put_time(out, event->event.time_ns);
    cli_puts(out, "\"");
    put_json_member(out, "from", change->from);
    put_json_member(out, "to", change->to);
    put_json_member(out, "type", event->event.type);
    put_json_member(out, "actor", event->event.actor);
    put_json_member(out, "reason", change->reason);
    put_json_member(out, "correlation", event->event.correlation);
    put_json_member(out, "causation", event->event.causation);
    cli_put_format(out, ",\"declared\":%s}\n", change->is_declared ? "true" : "false");
    return out->failed_errno != 0;
}

int cli_run_machine_history(cli_context *context) {
    static const cli_column columns[] = {{"version", 1}, {"time", 0},   {"from", 0}, {"to", 0},
                                         {"actor", 0},   {"reason", 0}, {"", 0}};
    daybook_machine *machine = NULL;
    int status = load_machine(context, &machine);
    if (status == CLI_FINE) status = cli_open_store(context, CLI_READ);
    if (status == CLI_FINE) {
        cli_table table = {.context = context};
        if (!context->json) cli_table_init(&table, context, columns, sizeof columns / sizeof columns[0]);
        daybook_error error;
        daybook_error_init(&error);
        daybook_status visited = daybook_machine_history(
            machine, cli_engine(context), daybook_text(context->positionals[1]), show_change, &table, &error);
        if (!context->json) status = cli_table_end(&table, visited == DAYBOOK_OK ? "no moves" : NULL);
        if (visited != DAYBOOK_OK) status = cli_fail_error(context, visited, &error, NULL);
    }
    daybook_machine_free(machine);
    return status;
}

static int move(cli_context *context, const daybook_machine *machine) {
    daybook_move_options options;
    daybook_move_options_init(&options);
    options.actor = cli_slice(context, "actor");
    options.correlation = cli_slice(context, "correlation");
    options.causation = cli_slice(context, "causation");
    options.reason = cli_slice(context, "reason");
    options.data = cli_slice(context, "data");
    options.skip_guards = cli_given(context, "skip-guards");
    options.auto_stream = !context->no_create;
    daybook_execute_result result;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status moved = daybook_machine_move(
        machine, cli_engine(context), daybook_text(context->positionals[1]), cli_slice(context, "from"),
        daybook_text(context->positionals[2]), &options, &result, &error);
    if (moved != DAYBOOK_OK) {
        // A stale state is no failed condition of an append: no numbers belong to it.
        cli_failure failure = {.status = moved, .exit_status = cli_exit_of(moved), .message = error.message};
        return cli_report(context, &failure);
    }
    put_state(context, machine, context->positionals[2], result.version);
    return CLI_FINE;
}

int cli_run_machine_move(cli_context *context) {
    daybook_machine *machine = NULL;
    int status = load_machine(context, &machine);
    if (status == CLI_FINE) status = cli_open_store(context, CLI_WRITE);
    if (status == CLI_FINE) status = move(context, machine);
    daybook_machine_free(machine);
    return status;
}
