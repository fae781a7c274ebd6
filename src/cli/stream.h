// SPDX-License-Identifier: Apache-2.0
//
// What `stream ...` and `kv ...` share about streams.
#ifndef CLI_STREAM_H
#define CLI_STREAM_H

#include "cli/cli.h"

// Apply the options of `stream add` and `stream edit` to a configuration. `*subjects_out` backs
// config->subjects where --subjects or positionals behind the name are given; released with free.
int cli_take_stream_config(cli_context *context, daybook_stream_config *config, daybook_slice **subjects_out);

// All there is to say about a stream: one JSON object, or lines for people.
void cli_put_stream(cli_context *context, const daybook_stream_info *info);

// "30d", "1h30m", "2m", "250ms"; "0" for none. `out` has 48 bytes.
const char *cli_duration_text(int64_t duration_ns, char out[48]);

#endif
