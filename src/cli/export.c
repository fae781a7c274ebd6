// SPDX-License-Identifier: Apache-2.0
//
// `export`: events as NDJSON in the names of `read`, in order of position, data byte for byte: JSON that one
// line can give back exactly is written as `data`, other text (JSON with line breaks too) as `text`, the rest
// as `data_base64`. `import ndjson` makes of it events that are equal in all but `recorded`.
//
// Damage is reported where it is met, what lies behind it is still written, and the exit status is 5: an
// export is often the last look at a store.

#include "cli/cli.h"

#include "cli/progress.h"

#include <stdlib.h>

#define PROGRESS_EVERY 1024u
#define DAMAGE_REPORT_COUNT_MAX 100u

static int make_filters(cli_context *context, daybook_query *query, daybook_slice **filters_out) {
    *filters_out = NULL;
    if (context->positional_count == 0) return CLI_FINE;
    daybook_slice *filters = calloc(context->positional_count, sizeof *filters);
    if (filters == NULL)
        return cli_fail(context, DAYBOOK_ENOMEM, "out of memory while reading the arguments");
    *filters_out = filters;
    for (size_t i = 0; i < context->positional_count; i++) {
        filters[i] = daybook_text(context->positionals[i]);
        if (!daybook_filter_is_valid(filters[i])) {
            return cli_fail(
                context, DAYBOOK_ESUBJECT,
                "cannot use the filter '%s': it is not a subject filter; give tokens joined by dots, * for "
                "one, a final > for the rest",
                context->positionals[i]);
        }
        if (context->positionals[i][0] == '$') query->flags |= DAYBOOK_QUERY_INTERNAL;
    }
    query->filters = filters;
    query->filter_count = context->positional_count;
    return CLI_FINE;
}

static int write_events(cli_context *context, daybook_cursor *cursor, uint64_t total) {
    cli_progress progress;
    cli_progress_init(&progress, context, "exporting", "events");
    uint64_t count = 0, damage_count = 0;
    daybook_status status;
    for (;;) {
        daybook_recorded_event event;
        daybook_error error;
        daybook_error_init(&error);
        status = daybook_cursor_next(cursor, 0, &event, &error);
        if (status == DAYBOOK_EDAMAGED) {
            if (damage_count++ < DAMAGE_REPORT_COUNT_MAX) (void)cli_fail_error(context, status, &error, NULL);
            continue;
        }
        if (status != DAYBOOK_OK && status != DAYBOOK_END) {
            cli_progress_end(&progress);
            return cli_fail_error(context, status, &error, "the export is not complete");
        }
        if (status == DAYBOOK_END) break;
        cli_put_event_json(context->out, &event, CLI_DATA_EXACT);
        cli_put_char(context->out, '\n');
        if (context->out->failed_errno != 0) return CLI_ERROR; // main says why
        if (++count % PROGRESS_EVERY == 0) cli_progress_update(&progress, count, total);
    }
    // The rate is that of what has been written, not of what waits in a buffer.
    if (cli_output_flush(context->out) != 0) return CLI_ERROR;
    cli_progress_end(&progress);
    double seconds = cli_progress_seconds(&progress);
    char count_text[32], rate_text[32];
    cli_note(context, "%s event%s exported, %.2f s, %s events/s", cli_grouped(count, count_text),
             count == 1 ? "" : "s", seconds,
             cli_grouped(seconds > 0 ? (uint64_t)((double)count / seconds) : 0, rate_text));
    return damage_count == 0 ? CLI_FINE : CLI_DAMAGED;
}

int cli_run_export(cli_context *context) {
    daybook_query query;
    daybook_query_init(&query);
    if (cli_given(context, "all")) query.flags |= DAYBOOK_QUERY_INTERNAL;
    query.stream = cli_slice(context, "stream");
    daybook_slice *filters;
    int outcome = make_filters(context, &query, &filters);
    if (outcome == CLI_FINE) outcome = cli_open_store(context, CLI_READ);
    if (outcome != CLI_FINE) {
        free(filters);
        return outcome;
    }
    uint64_t total = 0;
    daybook_error error;
    daybook_error_init(&error);
    // Only to draw a bar: where counting fails, reading says why.
    if (context->terminal_err && daybook_count(context->store, &query, &total, NULL) != DAYBOOK_OK) total = 0;
    daybook_cursor *cursor = NULL;
    daybook_status status = daybook_read(context->store, &query, &cursor, &error);
    if (status != DAYBOOK_OK) {
        outcome = cli_fail_error(context, status, &error, NULL);
    } else {
        outcome = write_events(context, cursor, total);
        daybook_cursor_close(cursor);
    }
    free(filters);
    return outcome;
}
