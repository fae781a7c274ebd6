// SPDX-License-Identifier: Apache-2.0
//
// The progress line. Looking at the clock costs about 25 ns, so updates may come per event.

#include "cli/progress.h"

#include "cli/session.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define FIRST_AFTER_NS 1000000000
#define AGAIN_AFTER_NS 100000000
#define BAR_COLUMNS 24

int64_t cli_clock_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void cli_progress_init(cli_progress *progress, const cli_context *context, const char *label,
                       const char *unit) {
    *progress = (cli_progress){.context = context,
                               .enabled = context->terminal_err && !context->quiet,
                               .started_ns = cli_clock_ns(),
                               .label = label,
                               .unit = unit};
}

double cli_progress_seconds(const cli_progress *progress) {
    return (double)(cli_clock_ns() - progress->started_ns) / 1e9;
}

const char *cli_grouped(uint64_t number, char out[32]) {
    char digits[24];
    int count = snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);
    int at = 0;
    for (int i = 0; i < count; i++) {
        if (i != 0 && (count - i) % 3 == 0) out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
    return out;
}

const char *cli_byte_text(uint64_t bytes, char out[32]) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    int unit = 0;
    while (value >= 1024 && unit < 6) {
        value /= 1024;
        unit++;
    }
    (void)snprintf(out, 32, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return out;
}

static const char *amount(const cli_progress *progress, uint64_t number, char out[32]) {
    return progress->unit[0] == 'B' ? cli_byte_text(number, out) : cli_grouped(number, out);
}

// A progress line that cannot be shown is no failure of the work.
static void show(cli_progress *progress, const char *text, size_t size) {
    cli_session *session = progress->context->session;
    int failed = session != NULL ? cli_session_write(session, STDERR_FILENO, text, size) != 0
                                 : write(STDERR_FILENO, text, size) < 0;
    if (failed) progress->enabled = 0;
}

static void draw(cli_progress *progress, int64_t now_ns) {
    char line[256], done[32], total[32], rate[32];
    double seconds = (double)(now_ns - progress->started_ns) / 1e9;
    (void)amount(progress, progress->done, done);
    (void)amount(progress, (uint64_t)((double)progress->done / seconds), rate);
    const char *unit = progress->unit[0] == 'B' ? "" : progress->unit;
    int size;
    if (progress->total != 0) {
        char bar[BAR_COLUMNS + 1];
        double part = (double)progress->done / (double)progress->total;
        int full = part >= 1 ? BAR_COLUMNS : (int)(part * BAR_COLUMNS);
        for (int i = 0; i < BAR_COLUMNS; i++) bar[i] = i < full ? '#' : '.';
        bar[BAR_COLUMNS] = '\0';
        (void)amount(progress, progress->total, total);
        size = snprintf(line, sizeof line, "\r\033[K%s [%s] %3.0f%%  %s of %s %s  %s/s", progress->label, bar,
                        part > 1 ? 100.0 : part * 100, done, total, unit, rate);
    } else {
        size = snprintf(line, sizeof line, "\r\033[K%s  %s %s  %s/s  %.0f s", progress->label, done, unit,
                        rate, seconds);
    }
    if (size <= 0) return;
    if ((size_t)size >= sizeof line) size = (int)sizeof line - 1;
    show(progress, line, (size_t)size);
    progress->shown = 1;
    progress->drawn_ns = now_ns;
}

void cli_progress_update(cli_progress *progress, uint64_t done, uint64_t total) {
    progress->done = done;
    progress->total = total;
    if (!progress->enabled) return;
    int64_t now_ns = cli_clock_ns();
    if (now_ns - progress->started_ns < FIRST_AFTER_NS || now_ns - progress->drawn_ns < AGAIN_AFTER_NS)
        return;
    draw(progress, now_ns);
}

void cli_progress_end(cli_progress *progress) {
    if (!progress->shown) return;
    static const char wipe[] = "\r\033[K";
    show(progress, wipe, sizeof wipe - 1);
    progress->shown = 0;
}

int cli_progress_hook(void *context, uint64_t done, uint64_t total) {
    cli_progress_update(context, done, total);
    return 0;
}
