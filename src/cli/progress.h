// SPDX-License-Identifier: Apache-2.0
//
// A progress line on stderr for work that takes longer than a second. Shown on a terminal only, redrawn at
// most ten times a second, wiped when done.
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include "cli/cli.h"

typedef struct cli_progress {
    const cli_context *context;
    int enabled;
    int shown;
    int64_t started_ns; // monotonic
    int64_t drawn_ns;
    uint64_t done;
    uint64_t total;    // 0: unknown
    const char *label; // "importing"
    const char *unit;  // "events", "B" (bytes are shown with binary units)
} cli_progress;

void cli_progress_init(cli_progress *progress, const cli_context *context, const char *label,
                       const char *unit);
// Cheap enough to call per event.
void cli_progress_update(cli_progress *progress, uint64_t done, uint64_t total);
void cli_progress_end(cli_progress *progress);
double cli_progress_seconds(const cli_progress *progress);
// A daybook_progress: `context` is a cli_progress. Never stops the work.
int cli_progress_hook(void *context, uint64_t done, uint64_t total);

// Monotonic clock.
int64_t cli_clock_ns(void);
// "1,204" into `out` (32 bytes); returns it.
const char *cli_grouped(uint64_t number, char out[32]);
// "3.4 MiB".
const char *cli_byte_text(uint64_t bytes, char out[32]);

#endif
