// SPDX-License-Identifier: Apache-2.0
//
// `projection check|run|rebuild|status|pause|resume|parked|rm`: read models in SQLite and PostgreSQL, kept up
// with the log by an SQL file (daybook/projection.h).
//
// run and rebuild read the store like any reader, so that whoever appends goes on. While they work, one small
// thread asks how far they are and draws the progress line; what the library reports may come from any of its
// threads, so both print under one lock.

#include "daybook/projection.h"
#include "cli/progress.h"
#include "cli/table.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOOK_AGAIN_MS = 100, ONCE_RETRY_COUNT = 8, REBUILD_RETRY_COUNT = 30 };

// --- The file and the database ---

// A file that is wrong is a malformed input: exit 1, not 2.
static int fail_file(cli_context *context, daybook_status status, const daybook_error *error) {
    cli_failure failure = {.status = status, .exit_status = CLI_ERROR, .message = error->message};
    return cli_report(context, &failure);
}

typedef struct sql_file {
    char *text;
    size_t size;
    char name[64]; // of the projection
} sql_file;

static int load(cli_context *context, const char *path, sql_file *file) {
    daybook_error error;
    daybook_error_init(&error);
    memset(file, 0, sizeof *file);
    int status = cli_read_file(context, path, &file->text, &file->size);
    if (status != CLI_FINE) return status;
    daybook_status checked =
        daybook_projection_check(daybook_bytes(file->text, file->size), path, file->name, &error);
    return checked == DAYBOOK_OK ? CLI_FINE : fail_file(context, checked, &error);
}

static const char *database_of(const cli_context *context) {
    return cli_text(context, "to");
}

static int need_database(cli_context *context) {
    const char *database = database_of(context);
    if (database == NULL)
        return cli_fail(
            context, DAYBOOK_EINVALID,
            "daybook %s needs the database: name it with --to sqlite:PATH or --to postgresql://HOST/DATABASE",
            context->command->name);
    // The library takes a plain path too; here a misspelt scheme would make a file of that name.
    static const char *const schemes[] = {"sqlite:", "postgresql:", "postgres://"};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
        if (strncmp(database, schemes[i], strlen(schemes[i])) == 0) return CLI_FINE;
    // Without what is behind a scheme, which may hold a password.
    size_t size = strcspn(database, ":");
    return cli_fail(context, DAYBOOK_EINVALID,
                    "cannot use --to %.*s%s: it begins with no database that is known; give sqlite:PATH or "
                    "postgresql://HOST/DATABASE",
                    (int)size, database, database[size] == ':' ? ":…" : "");
}

// What the database or the library said. A server that cannot be reached is unavailable, as a store would be.
static int fail_database(cli_context *context, daybook_status status, const daybook_error *error) {
    cli_failure failure = {.status = status, .exit_status = cli_exit_of(status), .message = error->message};
    const char *database = database_of(context);
    int is_server = database != NULL && strncmp(database, "postgres", strlen("postgres")) == 0;
    if (status == DAYBOOK_EIO && is_server &&
        strncmp(error->message, "PostgreSQL", strlen("PostgreSQL")) == 0)
        failure.exit_status = CLI_UNAVAILABLE;
    return cli_report(context, &failure);
}

static int fail_run(cli_context *context, daybook_status status, const daybook_error *error) {
    cli_failure failure = {.status = status, .exit_status = CLI_ERROR, .message = error->message};
    // A statement that is wrong, and an event that cannot be applied, are no arguments and no conditions.
    if (status == DAYBOOK_EINVALID || status == DAYBOOK_EREFUSED) return cli_report(context, &failure);
    return fail_database(context, status, error);
}

int cli_run_projection_check(cli_context *context) {
    sql_file file;
    int status = load(context, context->positionals[0], &file);
    if (status == CLI_FINE && context->json)
        cli_put_format(context->out, "{\"projection\":\"%s\"}\n", file.name);
    else if (status == CLI_FINE)
        cli_put_format(context->out,
                       "projection %s: no mistake found; its statements are checked by the database when "
                       "it runs\n",
                       file.name);
    free(file.text);
    return status;
}

// --- Running ---

typedef struct work {
    cli_context *context;
    daybook_projection *projection;
    int is_rebuild;
    uint64_t total;                // events to come when it began
    uint64_t start;                // events applied before
    daybook_projection_info known; // as the database has it; without its texts
    pthread_mutex_t lock;          // of what is printed
    pthread_cond_t wake;
    pthread_t watcher;
    int is_watched;
    int is_over;
    cli_progress progress;
} work;

static void report(void *context, const char *message) {
    work *done = context;
    pthread_mutex_lock(&done->lock);
    cli_progress_end(&done->progress);
    cli_note(done->context, "%s", message);
    pthread_mutex_unlock(&done->lock);
}

// Under the lock. A run that has caught up shows nothing; a rebuild is measured by positions.
static void draw(work *done) {
    daybook_projection_info info = {.size = sizeof info};
    daybook_projection_get_info(done->projection, &info);
    uint64_t applied = info.event_count >= done->start ? info.event_count - done->start : info.event_count;
    if (done->is_rebuild)
        cli_progress_update(&done->progress, info.rebuilt_position, done->total);
    else if (info.is_caught_up)
        cli_progress_end(&done->progress);
    else
        cli_progress_update(&done->progress, applied, done->total);
}

static void *watch(void *context) {
    work *done = context;
    pthread_mutex_lock(&done->lock);
    while (!done->is_over) {
        struct timespec until;
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += LOOK_AGAIN_MS * 1000000L;
        if (until.tv_nsec >= 1000000000L) {
            until.tv_nsec -= 1000000000L;
            until.tv_sec++;
        }
        (void)pthread_cond_timedwait(&done->wake, &done->lock, &until);
        if (!done->is_over) draw(done);
    }
    cli_progress_end(&done->progress);
    pthread_mutex_unlock(&done->lock);
    return NULL;
}

// Work goes on without a progress line where there is no thread for it.
static void begin_watching(work *done, const char *label) {
    cli_progress_init(&done->progress, done->context, label, "events");
    if (done->progress.enabled) done->is_watched = pthread_create(&done->watcher, NULL, watch, done) == 0;
}

static void end_watching(work *done) {
    if (!done->is_watched) return;
    pthread_mutex_lock(&done->lock);
    done->is_over = 1;
    (void)pthread_cond_signal(&done->wake);
    pthread_mutex_unlock(&done->lock);
    (void)pthread_join(done->watcher, NULL);
}

static void take_options(const cli_context *context, daybook_projection_options *options) {
    daybook_projection_options_init(options);
    int is_rebuild = strcmp(context->command->name, "projection rebuild") == 0;
    unsigned retry_count = is_rebuild                   ? REBUILD_RETRY_COUNT
                           : cli_given(context, "once") ? ONCE_RETRY_COUNT
                                                        : 0;
    options->batch_count = (uint32_t)cli_number(context, "batch", options->batch_count);
    options->retry_count = (uint32_t)cli_number(context, "retries", retry_count);
    const char *on_error = cli_text(context, "on-error");
    if (on_error == NULL) return;
    options->on_error = strcmp(on_error, "stop") == 0         ? DAYBOOK_PROJECTION_STOP
                        : strcmp(on_error, "park-event") == 0 ? DAYBOOK_PROJECTION_PARK_EVENT
                                                              : DAYBOOK_PROJECTION_PARK;
}

static int open_projection(work *done, const sql_file *file) {
    cli_context *context = done->context;
    daybook_projection_definition definition;
    daybook_projection_definition_init(&definition);
    definition.sql = daybook_bytes(file->text, file->size);
    definition.file = context->positionals[0];
    daybook_projection_options options;
    take_options(context, &options);
    options.report = report;
    options.report_context = done;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status made = daybook_projection_new(cli_engine(context), &definition, database_of(context),
                                                 &options, &done->projection, &error);
    return made == DAYBOOK_OK ? CLI_FINE : cli_fail_error(context, made, &error, NULL);
}

static int note_count(void *context, const daybook_projection_info *info) {
    work *done = context;
    daybook_projection_info own = {.size = sizeof own};
    daybook_projection_get_info(done->projection, &own);
    if (strcmp(info->name, own.name) != 0) return 0;
    done->known = *info;
    return 1;
}

// What the database says of the projection; zeroes where there is none.
static void look_up(work *done) {
    daybook_read_model *model = NULL;
    memset(&done->known, 0, sizeof done->known);
    if (daybook_read_model_open(database_of(done->context), NULL, &model, NULL) != DAYBOOK_OK) return;
    (void)daybook_read_model_list(model, note_count, done, NULL); // A database without any says ENOTFOUND.
    daybook_read_model_close(model);
}

static void put_summary(work *done) {
    cli_output *out = done->context->out;
    daybook_projection_info info = {.size = sizeof info};
    daybook_projection_get_info(done->projection, &info);
    uint64_t retry_count = info.retry_count;
    look_up(done);
    const daybook_projection_info *known = &done->known;
    uint64_t applied = known->event_count >= done->start ? known->event_count - done->start
                                                         : known->event_count;
    if (done->context->json) {
        cli_put_format(out, "{\"projection\":\"%s\",\"version\":%llu,\"position\":%llu,\"applied\":%llu",
                       info.name, (unsigned long long)info.version, (unsigned long long)known->position,
                       (unsigned long long)applied);
        cli_put_format(out, ",\"events\":%llu,\"parked\":%llu,\"retries\":%llu}\n",
                       (unsigned long long)known->event_count, (unsigned long long)known->parked_count,
                       (unsigned long long)retry_count);
        return;
    }
    char count[32], position[32], parked[32];
    cli_put_format(out, "%s: %s events applied, up to position %s", info.name, cli_grouped(applied, count),
                   cli_grouped(known->position, position));
    if (known->parked_count != 0)
        cli_put_format(out, ", %s parked", cli_grouped(known->parked_count, parked));
    cli_put_char(out, '\n');
}

static void interrupt(void *projection) {
    daybook_projection_interrupt(projection);
}

// What is to come, for the progress line; nothing is lost where it cannot be said.
static void look_ahead(work *done) {
    int64_t age_ns = 0;
    daybook_store_info store = {.size = sizeof store};
    look_up(done);
    done->start = done->is_rebuild ? 0 : done->known.event_count;
    if (done->is_rebuild && daybook_info(done->context->store, &store, NULL) == DAYBOOK_OK)
        done->total = store.durable_position;
    else if (done->is_rebuild ||
             daybook_projection_lag(done->projection, &done->total, &age_ns, NULL) != DAYBOOK_OK)
        done->total = 0;
}

static int run(work *done) {
    int is_rebuild = done->is_rebuild;
    cli_context *context = done->context;
    int status = cli_interrupts_begin(context, interrupt, done->projection);
    if (status != CLI_FINE) return status;
    daybook_error error;
    daybook_error_init(&error);
    unsigned flags = 0;
    if (!is_rebuild && !cli_given(context, "once")) flags |= DAYBOOK_PROJECTION_FOLLOW;
    if (!is_rebuild && cli_given(context, "standby")) flags |= DAYBOOK_PROJECTION_WAIT;
    look_ahead(done);
    begin_watching(done, is_rebuild ? "rebuilding" : "projecting");
    daybook_status ran = is_rebuild ? daybook_projection_rebuild(done->projection, &error)
                                    : daybook_projection_run(done->projection, flags, &error);
    end_watching(done);
    int was_interrupted = cli_interrupts_end(context);
    if (ran == DAYBOOK_ECLOSED && was_interrupted)
        return cli_fail(context, DAYBOOK_ECLOSED,
                        "the rebuild was interrupted: nothing was changed; begin it again");
    if (ran != DAYBOOK_OK) return fail_run(context, ran, &error);
    put_summary(done);
    return CLI_FINE;
}

static int run_file(cli_context *context, int is_rebuild) {
    sql_file file;
    work done;
    memset(&done, 0, sizeof done);
    done.context = context;
    done.is_rebuild = is_rebuild;
    int status = need_database(context);
    if (status != CLI_FINE) return status;
    status = load(context, context->positionals[0], &file);
    (void)pthread_mutex_init(&done.lock, NULL);
    (void)pthread_cond_init(&done.wake, NULL);
    if (status == CLI_FINE) {
        cli_interrupts_prepare(context);
        status = cli_open_store(context, CLI_READ);
    }
    if (status == CLI_FINE) status = open_projection(&done, &file);
    if (status == CLI_FINE) status = run(&done);
    daybook_projection_free(done.projection);
    (void)pthread_cond_destroy(&done.wake);
    (void)pthread_mutex_destroy(&done.lock);
    free(file.text);
    return status;
}

int cli_run_projection_run(cli_context *context) {
    return run_file(context, 0);
}

int cli_run_projection_rebuild(cli_context *context) {
    return run_file(context, 1);
}

// --- status ---

static const char *state_name(const daybook_projection_info *info) {
    switch (info->state) {
    case DAYBOOK_PROJECTION_PAUSED:
        return "paused";
    case DAYBOOK_PROJECTION_BUILDING:
        return "building";
    default:
        return "live";
    }
}

typedef struct status_view {
    cli_context *context;
    cli_table *table;
    const char *only; // this projection; NULL: all
    int was_found;
    int has_lag;
    uint64_t lag_count;
    int64_t lag_ns;
    char problem[DAYBOOK_ERROR_MESSAGE_MAX]; // why it cannot go on with this store; "" where it can
} status_view;

static void put_text_member(cli_output *out, const char *name, const char *text) {
    if (text == NULL || text[0] == '\0') return;
    cli_put_format(out, ",\"%s\":", name);
    cli_put_json_string(out, daybook_text(text));
}

static const char *problem_of(const status_view *view, const daybook_projection_info *info) {
    if (view->problem[0] != '\0') return view->problem;
    return info->error == NULL ? "" : info->error;
}

static void put_status_json(const status_view *view, const daybook_projection_info *info) {
    cli_output *out = view->context->out;
    cli_put_format(out, "{\"projection\":\"%s\",\"version\":%llu,\"state\":\"%s\",\"position\":%llu",
                   info->name, (unsigned long long)info->version, state_name(info),
                   (unsigned long long)info->position);
    cli_put_format(out, ",\"events\":%llu,\"parked\":%llu", (unsigned long long)info->event_count,
                   (unsigned long long)info->parked_count);
    if (view->has_lag)
        cli_put_format(out, ",\"lag_events\":%llu,\"lag_seconds\":%.3f", (unsigned long long)view->lag_count,
                       (double)view->lag_ns / 1e9);
    if (info->updated_ns != 0) {
        cli_puts(out, ",\"updated\":\"");
        cli_put_time(out, info->updated_ns);
        cli_put_char(out, '"');
    }
    put_text_member(out, "instance", info->instance);
    put_text_member(out, "error", problem_of(view, info));
    cli_puts(out, "}\n");
}

static void add_row(const status_view *view, const daybook_projection_info *info) {
    char seconds[48];
    cli_table *table = view->table;
    cli_table_text(table, info->name);
    cli_table_number(table, info->version);
    cli_table_text(table, state_name(info));
    cli_table_number(table, info->position);
    cli_table_number(table, info->event_count);
    cli_table_number(table, info->parked_count);
    if (view->has_lag) {
        cli_table_number(table, view->lag_count);
        (void)snprintf(seconds, sizeof seconds, "%.3f", (double)view->lag_ns / 1e9);
        cli_table_text(table, seconds);
    }
    cli_table_time(table, info->updated_ns == 0 ? DAYBOOK_TIME_NONE : info->updated_ns);
    cli_table_text(table, info->instance == NULL ? "" : info->instance);
    cli_table_text(table, problem_of(view, info));
}

static int show_status(void *context, const daybook_projection_info *info) {
    status_view *view = context;
    if (view->only != NULL && strcmp(view->only, info->name) != 0) return 0;
    view->was_found = 1;
    if (view->context->json)
        put_status_json(view, info);
    else
        add_row(view, info);
    return view->context->out->failed_errno != 0;
}

static int open_model(cli_context *context, daybook_read_model **model_out) {
    daybook_error error;
    daybook_error_init(&error);
    int status = need_database(context);
    if (status != CLI_FINE) return status;
    daybook_status opened = daybook_read_model_open(database_of(context), NULL, model_out, &error);
    return opened == DAYBOOK_OK ? CLI_FINE : fail_database(context, opened, &error);
}

static int list_status(status_view *view) {
    static const cli_column with_lag[] = {
        {"projection", 0}, {"version", 1},     {"state", 0},   {"position", 1}, {"events", 1}, {"parked", 1},
        {"lag_events", 1}, {"lag_seconds", 1}, {"updated", 0}, {"instance", 0}, {"error", 0}};
    static const cli_column without[] = {{"projection", 0}, {"version", 1},  {"state", 0},
                                         {"position", 1},   {"events", 1},   {"parked", 1},
                                         {"updated", 0},    {"instance", 0}, {"error", 0}};
    cli_context *context = view->context;
    daybook_read_model *model = NULL;
    int status = open_model(context, &model);
    if (status != CLI_FINE) return status;
    cli_table table = {.context = context};
    view->table = &table;
    size_t count = view->has_lag ? sizeof with_lag / sizeof with_lag[0] : sizeof without / sizeof without[0];
    if (!context->json) cli_table_init(&table, context, view->has_lag ? with_lag : without, count);
    daybook_error error;
    daybook_error_init(&error);
    daybook_status listed = daybook_read_model_list(model, show_status, view, &error);
    if (!context->json)
        status = cli_table_end(&table, view->only == NULL && listed == DAYBOOK_OK ? "no projections" : NULL);
    daybook_read_model_close(model);
    if (listed != DAYBOOK_OK) return fail_database(context, listed, &error);
    if (view->only != NULL && !view->was_found)
        return cli_fail(context, DAYBOOK_ENOTFOUND,
                        "no projection %s in %s: it never ran there; start it with daybook projection run",
                        view->only, database_of(context));
    return status;
}

// How far the read model is behind the store. Nobody can say where it was made from another one.
static daybook_status compare(status_view *view, daybook_projection *projection, daybook_error *error) {
    daybook_status checked = daybook_projection_check_store(projection, error);
    if (checked == DAYBOOK_ECONFLICT) {
        (void)snprintf(view->problem, sizeof view->problem, "%s", error->message);
        return DAYBOOK_OK;
    }
    if (checked != DAYBOOK_OK) return checked;
    daybook_status measured = daybook_projection_lag(projection, &view->lag_count, &view->lag_ns, error);
    view->has_lag = measured == DAYBOOK_OK;
    return measured;
}

static int measure_lag(status_view *view, sql_file *file) {
    cli_context *context = view->context;
    daybook_projection_definition definition;
    daybook_projection_definition_init(&definition);
    definition.sql = daybook_bytes(file->text, file->size);
    definition.file = context->positionals[0];
    int status = cli_open_store(context, CLI_READ);
    if (status != CLI_FINE) return status;
    daybook_error error;
    daybook_error_init(&error);
    daybook_projection *projection = NULL;
    daybook_status measured = daybook_projection_new(cli_engine(context), &definition, database_of(context),
                                                     NULL, &projection, &error);
    if (measured == DAYBOOK_OK) measured = compare(view, projection, &error);
    daybook_projection_free(projection);
    if (measured == DAYBOOK_ENOTFOUND) return CLI_FINE; // list_status says it better
    return measured == DAYBOOK_OK ? CLI_FINE : fail_database(context, measured, &error);
}

int cli_run_projection_status(cli_context *context) {
    status_view view = {.context = context};
    sql_file file = {.text = NULL};
    int status = need_database(context);
    if (status == CLI_FINE && context->positional_count > 0) {
        status = load(context, context->positionals[0], &file);
        view.only = file.name;
        if (status == CLI_FINE) status = measure_lag(&view, &file);
    }
    if (status == CLI_FINE) status = list_status(&view);
    free(file.text);
    return status;
}

// --- pause, resume, rm ---

static int change(cli_context *context,
                  daybook_status (*call)(daybook_read_model *model, const char *name, daybook_error *error),
                  const char *said, const char *more) {
    daybook_read_model *model = NULL;
    int status = open_model(context, &model);
    if (status != CLI_FINE) return status;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status changed = call(model, context->positionals[0], &error);
    daybook_read_model_close(model);
    if (changed != DAYBOOK_OK) return fail_database(context, changed, &error);
    cli_note(context, "%s projection %s%s", said, context->positionals[0], more);
    return CLI_FINE;
}

int cli_run_projection_pause(cli_context *context) {
    return change(context, daybook_read_model_pause, "paused", "");
}

int cli_run_projection_resume(cli_context *context) {
    return change(context, daybook_read_model_resume, "resumed", "");
}

static int pass_over(void *context, const daybook_parked_event *event) {
    (void)context;
    (void)event;
    return 0;
}

// Whether it is there.
static daybook_status look_only(daybook_read_model *model, const char *name, daybook_error *error) {
    return daybook_read_model_parked(model, name, pass_over, NULL, error);
}

// By name alone: its file, which may be gone, is not read.
int cli_run_projection_rm(cli_context *context) {
    int status = need_database(context);
    if (status == CLI_FINE)
        status = cli_confirm(context, "drop the tables of projection %s in %s", context->positionals[0],
                             database_of(context));
    if (status != CLI_FINE) return status;
    return context->dry_run ? change(context, look_only, "would remove",
                                     " and what its [setup] made; no [teardown] is run")
                            : change(context, daybook_read_model_drop, "removed",
                                     " and what its [setup] made; a [teardown] of its file was not run");
}

// --- parked ---

static int show_parked(void *context, const daybook_parked_event *event) {
    static const char *const requests[] = {"", "retry", "skip"};
    cli_table *table = context;
    cli_output *out = table->context->out;
    if (!table->context->json) {
        cli_table_number(table, event->position);
        cli_table_slice(table, event->subject);
        cli_table_number(table, event->attempt_count);
        cli_table_time(table, event->parked_ns);
        if (event->behind == 0)
            cli_table_text(table, "");
        else
            cli_table_number(table, event->behind);
        cli_table_text(table, requests[event->request]);
        cli_table_slice(table, event->error);
        return table->failed;
    }
    cli_put_format(out, "{\"position\":%llu,\"stream\":", (unsigned long long)event->position);
    cli_put_json_string(out, event->stream);
    cli_puts(out, ",\"subject\":");
    cli_put_json_string(out, event->subject);
    cli_put_format(out, ",\"attempts\":%llu,\"parked\":\"", (unsigned long long)event->attempt_count);
    cli_put_time(out, event->parked_ns);
    cli_put_char(out, '"');
    if (event->behind != 0) cli_put_format(out, ",\"behind\":%llu", (unsigned long long)event->behind);
    put_text_member(out, "request", requests[event->request]);
    cli_puts(out, ",\"error\":");
    cli_put_json_string(out, event->error);
    cli_puts(out, "}\n");
    return out->failed_errno != 0;
}

static int list_parked(cli_context *context, daybook_read_model *model) {
    static const cli_column columns[] = {{"position", 1}, {"subject", 0}, {"attempts", 1}, {"parked", 0},
                                         {"behind", 1},   {"request", 0}, {"error", 0}};
    cli_table table = {.context = context};
    if (!context->json) cli_table_init(&table, context, columns, sizeof columns / sizeof columns[0]);
    daybook_error error;
    daybook_error_init(&error);
    int status = CLI_FINE;
    daybook_status listed =
        daybook_read_model_parked(model, context->positionals[0], show_parked, &table, &error);
    if (!context->json) status = cli_table_end(&table, listed == DAYBOOK_OK ? "no parked events" : NULL);
    return listed == DAYBOOK_OK ? status : fail_database(context, listed, &error);
}

// POSITION or `all`, which the library knows as 0.
static int take_position(cli_context *context, const char *option, uint64_t *position_out) {
    const char *text = cli_text(context, option);
    *position_out = 0;
    if (strcmp(text, "all") == 0) return CLI_FINE;
    if (cli_parse_number(daybook_text(text), position_out) && *position_out > 0) return CLI_FINE;
    return cli_fail(context, DAYBOOK_EINVALID,
                    "cannot use --%s %s: give the position of a parked event, or all", option, text);
}

static int ask(cli_context *context, daybook_read_model *model, int is_skip, uint64_t position) {
    daybook_error error;
    daybook_error_init(&error);
    const char *name = context->positionals[0];
    daybook_status asked = is_skip ? daybook_read_model_skip(model, name, position, &error)
                                   : daybook_read_model_retry(model, name, position, &error);
    if (asked != DAYBOOK_OK) return fail_database(context, asked, &error);
    cli_note(context,
             "asked for: projection %s does it within a second where it runs, else when it runs next", name);
    return CLI_FINE;
}

int cli_run_projection_parked(cli_context *context) {
    int is_skip = cli_given(context, "skip");
    int is_retry = cli_given(context, "retry");
    uint64_t position = 0;
    int status = CLI_FINE;
    if (is_skip && is_retry)
        return cli_fail(context, DAYBOOK_EINVALID,
                        "cannot retry and skip at once: choose one of --retry and --skip");
    if (is_skip || is_retry) status = take_position(context, is_skip ? "skip" : "retry", &position);
    daybook_read_model *model = NULL;
    if (status == CLI_FINE) status = open_model(context, &model);
    if (status != CLI_FINE) return status;
    status = is_skip || is_retry ? ask(context, model, is_skip, position) : list_parked(context, model);
    daybook_read_model_close(model);
    return status;
}
