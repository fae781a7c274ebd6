// SPDX-License-Identifier: Apache-2.0
//
// The verbs `import csv|ndjson|xes|git`: one pipeline, four sources; see import.h.
//
//   order=file   source -> map -> id -> append
//   order=time   source -> map -> sorter, and when all is read: sorter -> id -> append
//
// In order of time a malformed source is found out before anything is appended, and before a store is made.
// In order of the file everything in front of the malformed place is imported. Either way the message says
// where it is and what was imported; the import can simply be run again, because what is stored is skipped.
#include "cli/import.h"

#include "cli/progress.h"

#include <stdio.h>
#include <stdlib.h>

#define PROGRESS_EVERY 256u // events

typedef struct import_run {
    cli_context *context;
    const char *path;
    cli_import_source *source;
    cli_import_map *map;
    cli_import_sorter *sorter; // NULL: in order of the file
    cli_import_ids *ids;
    cli_import_appender *appender;
    cli_import_problem problem;
    cli_progress progress;
    uint64_t event_count; // read from the source
} import_run;

// --- Reports ---------------------------------------------------------------------------------------------

static void say_created(import_run *run) {
    char name[256];
    while (run->appender != NULL && cli_import_appender_take_created(run->appender, name))
        cli_note_created(run->context, "stream", daybook_text(name));
}

// Malformed input and files that cannot be read are operating errors (exit 1) whatever their status; what the
// store says keeps its own exit status.
static int exit_of(const cli_import_problem *problem, bool is_input) {
    return is_input && problem->status != DAYBOOK_EUNSUPPORTED ? CLI_ERROR : cli_exit_of(problem->status);
}

static int report_problem(import_run *run, bool is_input) {
    const cli_import_problem *problem = &run->problem;
    cli_import_counts counts = {0, 0, 0};
    if (run->appender != NULL) {
        cli_import_problem later; // the first failure is the one to report
        (void)cli_import_appender_finish(run->appender, &later);
        counts = cli_import_appender_counts(run->appender);
    }
    cli_progress_end(&run->progress);
    say_created(run);
    char place[96] = "", stored[32], skipped[32], done[160] = "nothing was imported";
    if (problem->place.line != 0 && problem->place.column != 0) {
        (void)snprintf(place, sizeof place, ", line %llu, column %llu",
                       (unsigned long long)problem->place.line, (unsigned long long)problem->place.column);
    } else if (problem->place.line != 0) {
        (void)snprintf(place, sizeof place, ", line %llu", (unsigned long long)problem->place.line);
    }
    if (counts.stored > 0 || counts.duplicate > 0) {
        (void)snprintf(done, sizeof done, "%s event%s imported before it, %s stored already",
                       cli_grouped(counts.stored, stored), counts.stored == 1 ? " was" : "s were",
                       cli_grouped(counts.duplicate, skipped));
    }
    char message[2048];
    (void)snprintf(message, sizeof message, "cannot import %s%s: %s; %s",
                   strcmp(run->path, "-") == 0 ? "standard input" : run->path, place, problem->message, done);
    cli_failure failure = {.status = problem->status,
                           .exit_status = exit_of(problem, is_input),
                           .message = message,
                           .line = problem->place.line,
                           .column = problem->place.column};
    return cli_report(run->context, &failure);
}

// Said once at the end: a log may have one such activity a thousand times.
static void say_replaced(import_run *run, uint64_t count) {
    char number[32];
    if (count > 0)
        cli_note(
            run->context,
            "%s value%s of type, actor or tag had line breaks or control characters: replaced by a space; "
            "the data keeps %s",
            cli_grouped(count, number), count == 1 ? "" : "s", count == 1 ? "it" : "them");
}

static void report_success(import_run *run) {
    cli_output *out = run->context->out;
    cli_import_counts counts = cli_import_appender_counts(run->appender);
    double seconds = cli_progress_seconds(&run->progress);
    double rate = seconds > 0 ? (double)run->event_count / seconds : 0;
    uint64_t replaced = cli_import_map_replaced_count(run->map);
    say_replaced(run, replaced);
    if (run->context->json) {
        cli_put_format(out,
                       "{\"imported\":%llu,\"duplicates\":%llu,\"differs\":%llu,\"replaced\":%llu,"
                       "\"seconds\":%.3f,\"rate\":%.0f}\n",
                       (unsigned long long)counts.stored, (unsigned long long)counts.duplicate,
                       (unsigned long long)counts.differs, (unsigned long long)replaced, seconds, rate);
        return;
    }
    char stored[32], skipped[32], differing[32], rate_text[32];
    if (counts.stored == 0 && counts.duplicate > 0) {
        cli_put_format(out, "nothing new: %s event%s already stored", cli_grouped(counts.duplicate, skipped),
                       counts.duplicate == 1 ? " is" : "s are all");
    } else {
        cli_put_format(out, "%s event%s imported", cli_grouped(counts.stored, stored),
                       counts.stored == 1 ? "" : "s");
        if (counts.duplicate > 0)
            cli_put_format(out, ", %s skipped that %s stored already", cli_grouped(counts.duplicate, skipped),
                           counts.duplicate == 1 ? "is" : "are");
    }
    if (counts.differs > 0)
        cli_put_format(out, " (%s of them with other content under the same id)",
                       cli_grouped(counts.differs, differing));
    cli_put_format(out, ", %.2f s, %s events/s\n", seconds, cli_grouped((uint64_t)rate, rate_text));
}

// --- The pipeline ----------------------------------------------------------------------------------------

// The folder of the store, or TMPDIR: where there is likely to be room. Released with free; NULL: no memory.
static char *spill_directory(const cli_context *context) {
    const char *given = getenv("TMPDIR");
    if (given != NULL && given[0] != '\0') return strdup(given);
    char *path = strdup(context->store_path);
    if (path == NULL) return NULL;
    size_t size = strlen(path);
    while (size > 1 && path[size - 1] == '/') path[--size] = '\0';
    char *slash = strrchr(path, '/');
    if (slash == NULL) {
        free(path);
        return strdup(".");
    }
    slash[slash == path] = '\0'; // of "/store" the slash stays
    return path;
}

static daybook_status next_event(import_run *run, daybook_event *event, cli_import_place *place) {
    cli_import_record record = {.place = {0, 0}};
    daybook_status status = run->source->next(run->source, &record, &run->problem);
    if (status != DAYBOOK_OK) return status;
    *place = record.place;
    status = cli_import_map_apply(run->map, &record, event, &run->problem);
    if (status == DAYBOOK_OK) run->event_count++;
    return status;
}

static void show_reading(import_run *run) {
    if (run->event_count % PROGRESS_EVERY != 0) return;
    uint64_t done, total;
    run->source->progress(run->source, &done, &total);
    // What is read as bytes is shown as events; where the size is known the total is a good guess.
    uint64_t guess =
        total == 0 || done == 0 ? 0 : (uint64_t)((double)run->event_count * (double)total / (double)done);
    cli_progress_update(&run->progress, run->event_count, guess);
}

static daybook_status fill_sorter(import_run *run) {
    for (;;) {
        daybook_event event;
        cli_import_place place;
        daybook_status status = next_event(run, &event, &place);
        if (status == DAYBOOK_END) return cli_import_sorter_finish(run->sorter, &run->problem);
        if (status == DAYBOOK_OK && event.time_ns == DAYBOOK_TIME_NONE)
            status = cli_import_fail(&run->problem, DAYBOOK_EINVALID, place,
                                     "there is no time, and --order time needs one");
        if (status == DAYBOOK_OK) status = cli_import_sorter_add(run->sorter, &event, place, &run->problem);
        if (status != DAYBOOK_OK) return status;
        show_reading(run);
    }
}

// Append everything. `*is_input_out` says whether a failure is one of the source.
static daybook_status append_all(import_run *run, bool *is_input_out) {
    uint64_t done = 0;
    for (;;) {
        daybook_event event;
        cli_import_place place;
        daybook_status status = run->sorter != NULL
                                    ? cli_import_sorter_next(run->sorter, &event, &place, &run->problem)
                                    : next_event(run, &event, &place);
        if (status == DAYBOOK_END) return cli_import_appender_finish(run->appender, &run->problem);
        if (status == DAYBOOK_OK && cli_is_cut(run->context))
            status = cli_import_fail(&run->problem, DAYBOOK_ECLOSED, place, "it was interrupted");
        *is_input_out = status != DAYBOOK_OK;
        if (status == DAYBOOK_OK) status = cli_import_ids_apply(run->ids, &event, &run->problem);
        if (status == DAYBOOK_OK)
            status = cli_import_appender_add(run->appender, &event, place, &run->problem);
        if (status != DAYBOOK_OK) return status;
        done++;
        if (run->sorter == NULL) {
            show_reading(run);
        } else if (done % PROGRESS_EVERY == 0) {
            cli_progress_update(&run->progress, done, run->event_count);
        }
    }
}

static daybook_status begin_sorting(import_run *run) {
    char *directory = spill_directory(run->context);
    if (directory == NULL) return cli_import_no_memory(&run->problem);
    daybook_status status =
        cli_import_sorter_new(CLI_IMPORT_SORT_BYTES, directory, &run->sorter, &run->problem);
    free(directory);
    return status;
}

static int import_all(import_run *run, bool by_time) {
    cli_context *context = run->context;
    cli_progress_init(&run->progress, context, by_time ? "reading" : "importing", "events");
    if (by_time) {
        daybook_status status = begin_sorting(run);
        if (status == DAYBOOK_OK) status = fill_sorter(run);
        if (status != DAYBOOK_OK) return report_problem(run, true);
        run->progress.label = "importing";
    }
    int failed = cli_open_store(context, CLI_CREATE);
    if (failed) return failed;
    run->ids = cli_import_ids_new(by_time);
    if (run->ids == NULL) {
        (void)cli_import_no_memory(&run->problem);
        return report_problem(run, false);
    }
    bool is_input = false;
    daybook_status status =
        cli_import_appender_new(context->store, !context->no_create, &run->appender, &run->problem);
    if (status == DAYBOOK_OK) status = append_all(run, &is_input);
    if (status != DAYBOOK_OK) return report_problem(run, is_input);
    cli_progress_end(&run->progress);
    say_created(run);
    report_success(run);
    return CLI_FINE;
}

// With an open source in `run`: everything behind it. Closes what it opened.
static int import_source(import_run *run, cli_import_mapping *mapping, bool by_time) {
    cli_context *context = run->context;
    int outcome = CLI_FINE;
    size_t tag_count = cli_value_count(context, "tag");
    const char **tags = calloc(tag_count + 1, sizeof *tags);
    if (tags == NULL) {
        outcome = cli_fail(context, DAYBOOK_ENOMEM, "out of memory");
        goto done;
    }
    for (size_t i = 0; i < tag_count; i++) tags[i] = cli_value_text(context, "tag", i);
    mapping->tags = tags;
    mapping->tag_count = tag_count;
    if (cli_import_map_new(mapping, run->source, &run->map, &run->problem) != DAYBOOK_OK) {
        outcome =
            cli_fail(context, run->problem.status, "cannot import %s: %s", run->path, run->problem.message);
        goto done;
    }
    outcome = import_all(run, by_time);
done:
    cli_import_appender_free(run->appender);
    cli_import_ids_free(run->ids);
    cli_import_sorter_free(run->sorter);
    cli_import_map_free(run->map);
    run->source->close(run->source);
    free(tags);
    return outcome;
}

// --- The verbs -------------------------------------------------------------------------------------------

static void read_mapping(const cli_context *context, cli_import_mapping *mapping) {
    *mapping = (cli_import_mapping){
        .subject = cli_text(context, "subject"),
        .time = cli_text(context, "time"),
        .type = cli_text(context, "type"),
        .id = cli_text(context, "id"),
        .actor = cli_text(context, "actor"),
    };
}

static bool is_by_time(const cli_context *context, bool otherwise) {
    const char *order = cli_text(context, "order");
    return order == NULL ? otherwise : strcmp(order, "time") == 0;
}

static int run_import(cli_context *context, import_run *run, cli_import_mapping *mapping, bool by_time,
                      daybook_status opened) {
    if (opened != DAYBOOK_OK) return report_problem(run, true);
    if (context->read_only) { // refused anyhow, better before a long sort
        run->source->close(run->source);
        return cli_open_store(context, CLI_CREATE);
    }
    return import_source(run, mapping, by_time);
}

static int check_needed(cli_context *context, const char *option, const char *given, const char *example) {
    if (given != NULL) return CLI_FINE;
    return cli_fail(context, DAYBOOK_EINVALID,
                    "--%s is missing: nothing says which %s the events have; give --%s %s", option, option,
                    option, example);
}

int cli_run_import_csv(cli_context *context) {
    import_run run = {.context = context, .path = context->positionals[0]};
    cli_import_mapping mapping;
    read_mapping(context, &mapping);
    int failed = check_needed(context, "subject", mapping.subject, "'orders.{order}.{activity|slug}'");
    if (!failed) failed = check_needed(context, "time", mapping.time, "COLUMN");
    if (failed) return failed;
    const char *delimiter = cli_text(context, "delimiter");
    if (delimiter == NULL) delimiter = ",";
    if (strcmp(delimiter, "\\t") == 0 || strcmp(delimiter, "tab") == 0) delimiter = "\t";
    unsigned char byte = (unsigned char)delimiter[0];
    if (byte == '\0' || delimiter[1] != '\0' || byte >= 0x80 || byte == '"' || byte == '\r' || byte == '\n') {
        return cli_fail(
            context, DAYBOOK_EINVALID,
            "malformed --delimiter \"%s\": it is one ASCII character, not a quote; give ';' or '\\t'",
            delimiter);
    }
    daybook_status opened = cli_import_csv_open(context, run.path, (char)byte, &run.source, &run.problem);
    return run_import(context, &run, &mapping, is_by_time(context, true), opened);
}

int cli_run_import_ndjson(cli_context *context) {
    import_run run = {.context = context, .path = context->positionals[0]};
    cli_import_mapping mapping;
    read_mapping(context, &mapping);
    bool as_events = mapping.subject == NULL;
    if (as_events && (mapping.time != NULL || mapping.type != NULL || mapping.id != NULL ||
                      mapping.actor != NULL || cli_value_count(context, "tag") > 0)) {
        return cli_fail(
            context, DAYBOOK_EINVALID,
            "--subject is missing: without it lines are events that say their time, type, id, actor and "
            "tags themselves; give --subject TEMPLATE too, or none of these");
    }
    daybook_status opened =
        cli_import_ndjson_open(context, run.path, as_events, context->now_ns, &run.source, &run.problem);
    return run_import(context, &run, &mapping, is_by_time(context, false), opened);
}

#ifdef CLI_HAVE_XES
int cli_run_import_xes(cli_context *context) {
    import_run run = {.context = context, .path = context->positionals[0]};
    cli_import_mapping mapping;
    read_mapping(context, &mapping);
    int failed =
        check_needed(context, "subject", mapping.subject, "'cases.{case:concept:name}.{concept:name|slug}'");
    if (failed) return failed;
    if (mapping.time == NULL) mapping.time = "time:timestamp";
    daybook_status opened = cli_import_xes_open(context, run.path, &run.source, &run.problem);
    return run_import(context, &run, &mapping, is_by_time(context, true), opened);
}
#endif

int cli_run_import_git(cli_context *context) {
    import_run run = {.context = context, .path = context->positionals[0]};
    cli_import_mapping mapping;
    read_mapping(context, &mapping);
    if (mapping.subject == NULL) mapping.subject = "git.{path}.{change}";
    if (mapping.time == NULL) mapping.time = "time";
    if (mapping.actor == NULL) mapping.actor = "author";
    mapping.correlation = "commit";
    daybook_status opened = cli_import_git_open(context, run.path, &run.source, &run.problem);
    return run_import(context, &run, &mapping, is_by_time(context, true), opened);
}
