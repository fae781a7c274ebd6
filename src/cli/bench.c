// SPDX-License-Identifier: Apache-2.0
//
// `bench`: measures the rows of docs/reference/benchmarks.md, each beside its floor.
//
// The process that was started only supervises. It makes a fresh folder under --dir, forks a process group of
// its own for the work, and removes the folder when that ends, however it ends: by itself, by a crash, or
// because a signal came, which then ends the whole group at once. In the group every row is a process again,
// so that `memory` measures one row's memory and a row that crashes costs itself only. Rows hand their result
// back through a pipe. No process that has a store open ever forks.
#include "cli/bench.h"

#include "cli/progress.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define EVENTS_DEFAULT 1000000u
#define EVENTS_MIN 1000u

// --- The rows and their targets --------------------------------------------------------------------------

static bool append_1_is_met(const cli_bench_result *result) {
    return result->value >= 0.85 * result->floor;
}

static bool append_64_is_met(const cli_bench_result *result) {
    return result->value >= 8 * result->floor;
}

static bool append_batch_is_met(const cli_bench_result *result) {
    return result->value >= 1500000;
}

static bool append_sustained_is_met(const cli_bench_result *result) {
    return result->value >= 250000 && result->p999 <= 20000;
}

static bool condition_is_met(const cli_bench_result *result) {
    return result->value <= 1.2 * result->floor;
}

static bool load_is_met(const cli_bench_result *result) {
    return result->p50 <= 30 && result->p99 <= 250;
}

static bool load_spread_is_met(const cli_bench_result *result) {
    return result->p50 <= 80 && result->p99 <= 250;
}

static bool replay_is_met(const cli_bench_result *result) {
    return result->value >= 0.7 * result->floor;
}

static bool open_clean_is_met(const cli_bench_result *result) {
    return result->value <= 50;
}

static bool open_killed_is_met(const cli_bench_result *result) {
    return result->value <= 500;
}

static bool memory_is_met(const cli_bench_result *result) {
    return result->value <= 256;
}

static bool disk_is_met(const cli_bench_result *result) {
    return result->value <= 0.35;
}

#define MILLION UINT64_C(1000000)

// In the order they run: what reads the store of orders as it was written comes before what adds to it.
static const cli_bench_row rows[] = {
    {"append_1", "commits/s", ">= 0.85 x floor", 0, append_1_is_met, cli_bench_append_1},
    {"append_64", "commits/s", ">= 8 x floor", MILLION, append_64_is_met, cli_bench_append_64},
    {"append_batch", "events/s", ">= 1,500,000", MILLION, append_batch_is_met, cli_bench_append_batch},
    {"append_sustained", "events/s", ">= 250,000, p99.9 <= 20 ms", MILLION, append_sustained_is_met,
     cli_bench_append_sustained},
    {"disk", "ratio", "<= 0.35", MILLION, disk_is_met, cli_bench_disk},
    {"load", "us", "p50 <= 30, p99 <= 250", 10 * MILLION, load_is_met, cli_bench_load},
    {"load_spread", "us", "p50 <= 80, p99 <= 250", 10 * MILLION, load_spread_is_met, cli_bench_load_spread},
    {"replay", "events/s", ">= 0.7 x floor", MILLION, replay_is_met, cli_bench_replay},
    {"open_clean", "ms", "<= 50", 10 * MILLION, open_clean_is_met, cli_bench_open_clean},
    {"condition", "us", "<= 1.2 x floor", 10 * MILLION, condition_is_met, cli_bench_condition},
    {"open_killed", "ms", "<= 500", 10 * MILLION, open_killed_is_met, cli_bench_open_killed},
    {"memory", "MiB", "<= 256", 10 * MILLION, memory_is_met, cli_bench_memory},
};

#define ROW_COUNT (sizeof rows / sizeof rows[0])

static bool is_wanted(const cli_context *context, const char *name) {
    size_t count = cli_value_count(context, "only");
    for (size_t i = 0; i < count; i++)
        if (strcmp(cli_value_text(context, "only", i), name) == 0) return true;
    return count == 0;
}

static int check_only(cli_context *context) {
    for (size_t i = 0; i < cli_value_count(context, "only"); i++) {
        const char *name = cli_value_text(context, "only", i);
        size_t row = 0;
        while (row < ROW_COUNT && strcmp(rows[row].name, name) != 0) row++;
        if (row < ROW_COUNT) continue;
        char list[256] = "";
        for (size_t k = 0, used = 0; k < ROW_COUNT; k++) {
            int size = snprintf(list + used, sizeof list - used, "%s%s", k == 0 ? "" : " ", rows[k].name);
            if (size > 0) used += (size_t)size;
        }
        return cli_fail(context, DAYBOOK_EINVALID, "there is no row \"%s\": the rows are %s", name, list);
    }
    return CLI_FINE;
}

// --- Output ----------------------------------------------------------------------------------------------

// Four significant digits, or all of a large whole number.
static const char *number_text(double number, char out[32]) {
    if (number >= 1000) return cli_grouped((uint64_t)(number + 0.5), out);
    (void)snprintf(out, 32,
                   number >= 100  ? "%.0f"
                   : number >= 10 ? "%.1f"
                   : number >= 1  ? "%.2f"
                                  : "%.3f",
                   number);
    return out;
}

static void put_member(cli_output *out, const char *name, bool is_known, double number) {
    if (is_known)
        cli_put_format(out, ",\"%s\":%.6g", name, number);
    else
        cli_put_format(out, ",\"%s\":null", name);
}

static void put_json(const cli_bench *bench, const cli_bench_row *row, const cli_bench_result *result) {
    cli_output *out = bench->context->out;
    cli_put_format(out, "{\"row\":\"%s\"", row->name);
    if (result->value >= 1000)
        cli_put_format(out, ",\"value\":%.0f", result->value);
    else
        put_member(out, "value", true, result->value);
    cli_put_format(out, ",\"unit\":\"%s\"", row->unit);
    put_member(out, "p50", result->has_percentiles, result->p50);
    put_member(out, "p99", result->has_percentiles, result->p99);
    put_member(out, "p999", result->has_percentiles, result->p999);
    put_member(out, "floor", result->floor > 0, result->floor);
    put_member(out, "ratio", result->floor > 0, result->value / result->floor);
    cli_put_format(out, ",\"target\":\"%s\",\"met\":%s}\n", row->target,
                   bench->event_count < row->events_needed ? "null"
                   : row->is_met(result)                   ? "true"
                                                           : "false");
}

static void put_header(const cli_bench *bench) {
    cli_put_format(bench->context->out, "%-17s %12s %-9s %9s %9s %9s %12s %7s  %-27s %s\n", "row", "value",
                   "unit", "p50", "p99", "p99.9", "floor", "ratio", "target", "met");
}

static void put_line(const cli_bench *bench, const cli_bench_row *row, const cli_bench_result *result) {
    char value[32], p50[32] = "", p99[32] = "", p999[32] = "", floor[32] = "", ratio[32] = "";
    if (result->has_percentiles) {
        (void)number_text(result->p50, p50);
        (void)number_text(result->p99, p99);
        (void)number_text(result->p999, p999);
    }
    if (result->floor > 0) {
        (void)number_text(result->floor, floor);
        (void)number_text(result->value / result->floor, ratio);
    }
    cli_put_format(bench->context->out, "%-17s %12s %-9s %9s %9s %9s %12s %7s  %-27s %s\n", row->name,
                   number_text(result->value, value), row->unit, p50, p99, p999, floor, ratio, row->target,
                   bench->event_count < row->events_needed ? "-"
                   : row->is_met(result)                   ? "yes"
                                                           : "no");
}

// --- Rows as processes -----------------------------------------------------------------------------------

static int wait_for(pid_t child) {
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return CLI_ERROR;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool read_result(int descriptor, cli_bench_result *result) {
    char *to = (char *)result;
    size_t left = sizeof *result;
    while (left > 0) {
        ssize_t count = read(descriptor, to, left);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return false;
        to += count;
        left -= (size_t)count;
    }
    return true;
}

static int run_row(cli_bench *bench, const cli_bench_row *row) {
    cli_context *context = bench->context;
    int ends[2];
    (void)cli_output_flush(context->out); // what is buffered must not be written twice
    if (pipe(ends) != 0) return cli_fail(context, DAYBOOK_EIO, "cannot make a pipe: %s", strerror(errno));
    pid_t child = fork();
    if (child < 0) {
        (void)close(ends[0]);
        (void)close(ends[1]);
        return cli_fail(context, DAYBOOK_EIO, "cannot fork: %s", strerror(errno));
    }
    if (child == 0) {
        (void)close(ends[0]);
        cli_bench_result result = {.value = 0};
        int outcome = row->run(bench, &result);
        if (outcome == CLI_FINE && write(ends[1], &result, sizeof result) != (ssize_t)sizeof result)
            outcome = CLI_ERROR;
        _exit(outcome);
    }
    (void)close(ends[1]);
    cli_bench_result result;
    bool has_result = read_result(ends[0], &result);
    (void)close(ends[0]);
    int outcome = wait_for(child);
    if (outcome == CLI_FINE && has_result) {
        if (context->json)
            put_json(bench, row, &result);
        else
            put_line(bench, row, &result);
        (void)cli_output_flush(context->out);
        return CLI_FINE;
    }
    if (outcome > 128) {
        return cli_fail(context, DAYBOOK_EIO, "row %s was not measured: its process ended by signal %d",
                        row->name, outcome - 128);
    }
    return outcome == CLI_FINE ? CLI_ERROR : outcome; // said by the row
}

// Every wanted row, also when one before it failed; the first failure counts.
static int run_rows(cli_bench *bench) {
    int outcome = CLI_FINE;
    if (!bench->context->json) put_header(bench);
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (!is_wanted(bench->context, rows[i].name)) continue;
        int row_outcome = run_row(bench, &rows[i]);
        if (outcome == CLI_FINE) outcome = row_outcome;
    }
    if (cli_output_flush(bench->context->out) != 0 && outcome == CLI_FINE) outcome = CLI_ERROR;
    return outcome;
}

// --- Supervision -----------------------------------------------------------------------------------------

// Wait for the worker or a signal. A signal ends the worker's whole group. Returns an exit status.
static int supervise(pid_t worker, const sigset_t *signals) {
    for (;;) {
        int number = 0;
        if (sigwait(signals, &number) != 0) continue;
        if (number == SIGCHLD) {
            int status;
            pid_t ended = waitpid(worker, &status, WNOHANG);
            if (ended != worker) continue; // stopped, or not ours
            // What the worker started ends with it.
            (void)kill(-worker, SIGKILL);
            return WIFEXITED(status) ? WEXITSTATUS(status) : CLI_ERROR;
        }
        (void)kill(-worker, SIGKILL);
        (void)wait_for(worker);
        return 128 + number;
    }
}

static int work_and_clean(cli_bench *bench) {
    cli_context *context = bench->context;
    sigset_t signals, before;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGINT);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGHUP);
    (void)sigaddset(&signals, SIGCHLD);
    (void)sigprocmask(SIG_BLOCK, &signals, &before);
    (void)cli_output_flush(context->out);
    int outcome;
    pid_t worker = fork();
    if (worker == 0) {
        (void)setpgid(0, 0);
        (void)sigprocmask(SIG_SETMASK, &before, NULL);
        _exit(run_rows(bench));
    }
    if (worker < 0) {
        outcome = cli_fail(context, DAYBOOK_EIO, "cannot fork: %s", strerror(errno));
    } else {
        (void)setpgid(worker, worker); // whichever of the two comes first
        outcome = supervise(worker, &signals);
    }
    int failed = cli_bench_remove_tree(bench->directory);
    if (failed != 0)
        cli_note(context, "%s could not be removed: %s; remove it by hand", bench->directory,
                 strerror(failed));
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    return outcome;
}

int cli_run_bench(cli_context *context) {
    cli_bench bench = {.context = context};
    int outcome = check_only(context);
    if (outcome != CLI_FINE) return outcome;
    bench.event_count = cli_number(context, "events", EVENTS_DEFAULT);
    if (bench.event_count < EVENTS_MIN)
        return cli_fail(context, DAYBOOK_EINVALID,
                        "cannot measure with %llu events: give --events %u or more",
                        (unsigned long long)bench.event_count, EVENTS_MIN);
    bench.scale = bench.event_count >= MILLION ? 1 : (double)bench.event_count / (double)MILLION;
    bench.kept = cli_text(context, "keep");
    if (bench.kept != NULL && mkdir(bench.kept, 0755) != 0 && errno != EEXIST)
        return cli_fail(context, DAYBOOK_EIO, "cannot make %s: %s; give another --keep", bench.kept,
                        strerror(errno));
    const char *parent = cli_text(context, "dir");
    int size = snprintf(bench.directory, sizeof bench.directory, "%s/daybook-bench-XXXXXX",
                        parent == NULL ? "." : parent);
    if (size < 0 || (size_t)size >= sizeof bench.directory - 64)
        return cli_fail(context, DAYBOOK_EINVALID, "the name of the folder is too long; give another --dir");
    if (mkdtemp(bench.directory) == NULL) {
        return cli_fail(context, errno == ENOSPC ? DAYBOOK_ENOSPC : DAYBOOK_EIO,
                        "cannot make a folder in %s: %s; give another --dir", parent == NULL ? "." : parent,
                        strerror(errno));
    }
    return work_and_clean(&bench);
}
