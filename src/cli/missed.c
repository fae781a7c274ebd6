// SPDX-License-Identifier: Apache-2.0
//
// A failed condition, with the events that were missed: what the caller needs to decide again. People see the
// first few as lines, programs up to a thousand in "missed".

#include "cli/event_text.h"

#include <stdio.h>
#include <unistd.h>

#define MISSED_SHOWN 10
#define MISSED_MAX 1000

// Into `out`: lines for people, else a JSON array; returns how many. What cannot be read is left out here:
// the conflict is what is reported.
static uint64_t put_missed(cli_context *context, const daybook_query *query, cli_output *out) {
    daybook_query bounded = *query;
    bounded.limit = MISSED_MAX;
    daybook_cursor *cursor = NULL;
    daybook_recorded_event event;
    uint64_t count = 0;
    if (daybook_read(context->store, &bounded, &cursor, NULL) != DAYBOOK_OK) return 0;
    daybook_status status;
    while ((status = daybook_cursor_next(cursor, 0, &event, NULL)) == DAYBOOK_OK ||
           status == DAYBOOK_EDAMAGED) {
        if (status != DAYBOOK_OK) continue;
        if (context->json) {
            cli_put_char(out, count == 0 ? '[' : ',');
            cli_put_event_json(out, &event, CLI_DATA_COMPACT);
        } else if (count < MISSED_SHOWN) {
            cli_put_event_line(context, out, &event);
        }
        count++;
    }
    daybook_cursor_close(cursor);
    if (context->json && count != 0) cli_put_char(out, ']');
    if (!context->json && count > MISSED_SHOWN)
        cli_put_format(out, "     ... and %llu%s more\n", (unsigned long long)(count - MISSED_SHOWN),
                       count == MISSED_MAX ? " or" : "");
    return count;
}

int cli_fail_missed(cli_context *context, const char *what, uint64_t expected, uint64_t actual,
                    const daybook_query *query) {
    cli_output text;
    cli_output_init(&text, -1);
    uint64_t count = query == NULL ? 0 : put_missed(context, query, &text);
    char message[768];
    (void)snprintf(message, sizeof message, "%s; %s", what,
                   count == 0 ? "read and decide again" : "read what was missed and decide again");
    cli_failure failure = {.status = DAYBOOK_ECONFLICT,
                           .exit_status = CLI_CONFLICT,
                           .message = message,
                           .has_values = 1,
                           .expected = expected,
                           .actual = actual};
    if (context->json) failure.missed = daybook_bytes(text.data, text.size);
    int status = cli_report(context, &failure);
    if (!context->json && text.size != 0) {
        cli_output err;
        cli_output_init(&err, STDERR_FILENO);
        err.session = context->session;
        cli_put(&err, text.data, text.size);
        (void)cli_output_flush(&err); // the exit status says it all where stderr does not work
        cli_output_deinit(&err);
    }
    cli_output_deinit(&text);
    return status;
}
