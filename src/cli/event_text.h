// SPDX-License-Identifier: Apache-2.0
//
// Events for people, and JSON laid out for people.
#ifndef CLI_EVENT_TEXT_H
#define CLI_EVENT_TEXT_H

#include "cli/cli.h"

// One line: position, time, subject, version, data; cut to the terminal's width.
void cli_put_event_line(cli_context *context, cli_output *out, const daybook_recorded_event *event);
// The same below `depth` levels of a tree.
void cli_put_event_branch(cli_context *context, cli_output *out, unsigned depth,
                          const daybook_recorded_event *event);

// Columns and row of `read --csv`.
void cli_put_event_csv_header(cli_output *out);
void cli_put_event_csv(cli_output *out, const daybook_recorded_event *event);

// Valid JSON over several lines, two blanks per level, without a newline at its end.
void cli_put_json_pretty(cli_output *out, daybook_slice json);

// A JSON array of {"path","from","to"}: `separator` stands between changes and ends the last where `close`.
//   ~ /status "open" -> "paid"     + /paidAt "2026-..."     - /cart [...]
// 0, or 1 where the array is not one.
int cli_put_changes(cli_context *context, cli_output *out, daybook_slice changes, const char *separator);

#endif
