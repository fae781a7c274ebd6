// SPDX-License-Identifier: Apache-2.0
//
// `state`, `why` and `trace`: what the toolkit folds and finds, printed. States and changes come as JSON
// texts and are passed on as they are.

#include "cli/event_text.h"

// At most one of --at, --at-seq, --at-time, --known-at. 0 or exit status.
static int take_moment(cli_context *context, daybook_moment *moment) {
    daybook_moment_init(moment);
    static const char *const names[] = {"at", "at-seq", "at-time", "known-at"};
    const char *given = NULL;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (!cli_given(context, names[i])) continue;
        if (given != NULL)
            return cli_fail(context, DAYBOOK_EINVALID,
                            "cannot use --%s with --%s: each names a moment of its own; choose one", given,
                            names[i]);
        given = names[i];
    }
    moment->version = cli_number(context, "at", 0);
    moment->seq = cli_number(context, "at-seq", 0);
    moment->time_ns = cli_time(context, "at-time", DAYBOOK_TIME_NONE);
    moment->known_at_ns = cli_time(context, "known-at", DAYBOOK_TIME_NONE);
    if (cli_given(context, "at") && moment->version == 0)
        return cli_fail(context, DAYBOOK_ENOTFOUND,
                        "no version 0: versions begin at 1; give another with --at");
    if (cli_given(context, "at-seq") && moment->seq == 0)
        return cli_fail(context, DAYBOOK_ENOTFOUND,
                        "no state at seq 0: seqs begin at 1; give another with --at-seq");
    return CLI_FINE;
}

static int check_aggregate(cli_context *context, const char *aggregate) {
    if (daybook_subject_is_valid(daybook_text(aggregate))) return CLI_FINE;
    return cli_fail(
        context, DAYBOOK_ESUBJECT,
        "cannot use the aggregate '%s': it is not one; give its tokens joined by dots, such as orders.123",
        aggregate);
}

static void put_state_json(cli_output *out, daybook_slice aggregate, const daybook_state *state) {
    cli_puts(out, "{\"aggregate\":");
    cli_put_json_string(out, aggregate);
    cli_put_format(out, ",\"version\":%llu,\"seq\":%llu,\"time\":\"", (unsigned long long)state->version,
                   (unsigned long long)state->seq);
    cli_put_time(out, state->time_ns);
    cli_puts(out, "\",\"state\":");
    cli_put(out, state->json, state->json_size);
    cli_puts(out, "}\n");
}

static void put_state_text(cli_context *context, daybook_slice aggregate, const daybook_state *state) {
    cli_output *out = context->out;
    if (context->color) cli_puts(out, "\033[1m");
    cli_put_plain(out, aggregate, 0);
    if (context->color) cli_puts(out, "\033[0m");
    cli_put_format(out, "  version %llu, seq %llu, ", (unsigned long long)state->version,
                   (unsigned long long)state->seq);
    cli_put_time(out, state->time_ns);
    cli_put_char(out, '\n');
    cli_put_json_pretty(out, daybook_bytes(state->json, state->json_size));
    cli_put_char(out, '\n');
    if (state->skipped_count != 0)
        cli_note(
            context,
            "%llu events were skipped: their data is no JSON object that can be folded; daybook read shows "
            "them",
            (unsigned long long)state->skipped_count);
}

typedef struct history {
    cli_context *context;
    int malformed;
} history;

static int show_change(void *context, const daybook_recorded_event *event, daybook_slice changes,
                       daybook_slice state) {
    history *work = context;
    cli_output *out = work->context->out;
    (void)state;
    if (work->context->json) {
        cli_puts(out, "{\"aggregate\":");
        cli_put_json_string(out, event->aggregate);
        cli_put_format(out, ",\"version\":%llu,\"seq\":%llu,\"time\":\"", (unsigned long long)event->version,
                       (unsigned long long)event->seq);
        cli_put_time(out, event->event.time_ns);
        cli_puts(out, "\",\"type\":");
        cli_put_json_string(out, event->event.type);
        cli_puts(out, ",\"id\":");
        cli_put_json_string(out, event->event.id);
        cli_puts(out, ",\"changes\":");
        cli_put_slice(out, changes);
        cli_puts(out, "}\n");
    } else {
        cli_put_format(out, "%6llu  ", (unsigned long long)event->version);
        cli_put_time(out, event->event.time_ns);
        cli_puts(out, "  ");
        cli_put_plain(out, event->event.type, 0);
        cli_puts(out, "  ");
        work->malformed |= cli_put_changes(work->context, out, changes, "  ");
        cli_put_char(out, '\n');
    }
    return out->failed_errno != 0;
}

static int print_history(cli_context *context, daybook_slice aggregate, const daybook_moment *moment) {
    history work = {.context = context};
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status =
        daybook_state_history(cli_engine(context), aggregate, moment, show_change, &work, &error);
    if (context->out->failed_errno != 0) return CLI_ERROR;
    if (status != DAYBOOK_OK) return cli_fail_error(context, status, &error, NULL);
    return work.malformed ? cli_fail(context, DAYBOOK_EIO,
                                     "the changes could not be shown: they are not as expected; use --json")
                          : CLI_FINE;
}

int cli_run_state(cli_context *context) {
    daybook_moment moment;
    daybook_slice aggregate = daybook_text(context->positionals[0]);
    int status = check_aggregate(context, context->positionals[0]);
    if (status == CLI_FINE) status = take_moment(context, &moment);
    if (status == CLI_FINE) status = cli_open_store(context, CLI_READ);
    if (status != CLI_FINE) return status;
    if (cli_given(context, "history")) return print_history(context, aggregate, &moment);
    daybook_state *state = NULL;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status loaded = daybook_state_load(cli_engine(context), aggregate, &moment, &state, &error);
    if (loaded != DAYBOOK_OK) return cli_fail_error(context, loaded, &error, NULL);
    if (context->json)
        put_state_json(context->out, aggregate, state);
    else
        put_state_text(context, aggregate, state);
    daybook_state_release(state);
    return CLI_FINE;
}

// --- Causes ---

static int show_event(void *context, unsigned depth, const daybook_recorded_event *event) {
    cli_context *shown = context;
    if (shown->json) {
        cli_put_format(shown->out, "{\"depth\":%u,", depth);
        cli_put_event_members(shown->out, event, CLI_DATA_COMPACT);
        cli_puts(shown->out, "}\n");
    } else {
        cli_put_event_branch(shown, shown->out, depth, event);
    }
    return shown->out->failed_errno != 0;
}

// daybook_why goes so many steps back; that more may come is said.
enum { WHY_STEP_COUNT_MAX = 1000 };

static int show_cause(void *context, unsigned depth, const daybook_recorded_event *event) {
    int stop = show_event(context, depth, event);
    daybook_slice cause = event->event.causation;
    if (stop == 0 && depth + 1 == WHY_STEP_COUNT_MAX && cause.size != 0)
        cli_note(context,
                 "stopped after 1,000 events: the cause of the last is '%.*s'; go on with daybook why",
                 (int)cause.size, (const char *)cause.data);
    return stop;
}

static int check_text(cli_context *context, const char *what, const char *text) {
    if (text[0] != '\0') return CLI_FINE;
    return cli_fail(context, DAYBOOK_EINVALID, "no %s: the argument is empty; give one", what);
}

typedef int (*shower)(void *context, unsigned depth, const daybook_recorded_event *event);

static int run_causes(cli_context *context, const char *what, shower show,
                      daybook_status (*follow)(daybook_engine *engine, daybook_slice reference, shower visit,
                                               void *context, daybook_error *error)) {
    daybook_error error;
    daybook_error_init(&error);
    int status = check_text(context, what, context->positionals[0]);
    if (status == CLI_FINE) status = cli_open_store(context, CLI_READ);
    if (status != CLI_FINE) return status;
    daybook_status found =
        follow(cli_engine(context), daybook_text(context->positionals[0]), show, context, &error);
    return found == DAYBOOK_OK || context->out->failed_errno != 0
               ? CLI_FINE
               : cli_fail_error(context, found, &error, NULL);
}

int cli_run_why(cli_context *context) {
    return run_causes(context, "event", show_cause, daybook_why);
}

int cli_run_trace(cli_context *context) {
    return run_causes(context, "correlation", show_event, daybook_trace);
}
