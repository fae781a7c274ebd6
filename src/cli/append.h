// SPDX-License-Identifier: Apache-2.0
//
// What the three ways of `append` share: one event, one batch (append_batch.c), a stream of lines
// (append_each.c).
#ifndef CLI_APPEND_H
#define CLI_APPEND_H

#include "cli/cli.h"
#include "cli/input.h"

typedef struct cli_conditions {
    daybook_condition conditions[DAYBOOK_CONDITION_COUNT_MAX];
    size_t count;
    cli_query_items *queries; // backing of the FAIL_IF conditions
    size_t query_count;
} cli_conditions;

// From the options of the verb. 0 or exit status; release in both cases.
int cli_conditions_take(cli_context *context, cli_conditions *conditions);
void cli_conditions_release(cli_conditions *conditions);

// Report a failed append; a failed condition with the events that were missed. `first` is the first event of
// the call (conditions may mean its subject), `about` may be NULL. Returns the exit status.
int cli_fail_append(cli_context *context, daybook_status status, const daybook_error *error,
                    const cli_conditions *conditions, const daybook_event *first, const char *about);

// One acknowledgement: a line for people or {"stream","seq","position","version","id","duplicate"}; says that
// a stream was created. `id` is the one the event brought, may be empty.
void cli_put_receipt(cli_context *context, cli_output *out, const daybook_receipt *receipt, daybook_slice id);
void cli_note_stream(cli_context *context, const daybook_receipt *receipt);

int cli_run_append_batch(cli_context *context);

// Opens FILE or standard input ("-"). 0 or exit status.
int cli_open_input(cli_context *context, const char *file, cli_input *input_out);

#endif
