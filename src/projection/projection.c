// SPDX-License-Identifier: Apache-2.0
// Projections as programs see them: made, run, asked, ended.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/time.h"
#include "projection/runner.h"

enum { SHADOW_BATCH_COUNT = 20000 };

void daybook_projection_definition_init(daybook_projection_definition *definition) {
    if (definition == NULL) return;
    memset(definition, 0, sizeof *definition);
    definition->size = sizeof *definition;
    definition->version = 1;
}

void daybook_projection_options_init(daybook_projection_options *options) {
    if (options == NULL) return;
    memset(options, 0, sizeof *options);
    options->size = sizeof *options;
    options->batch_count = 1000;
    options->batch_wait_ns = 20 * DBK_MILLISECOND_NS;
    options->on_error = DAYBOOK_PROJECTION_PARK;
    options->retry_wait_ns = 50 * DBK_MILLISECOND_NS;
    options->retry_wait_max_ns = 10 * DBK_SECOND_NS;
}

daybook_status daybook_projection_check(daybook_slice sql, const char *file, char name_out[64],
                                        daybook_error *error) {
    if (name_out == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "no room for the name given");
    dbk_definition *definition;
    DBK_TRY(dbk_definition_parse(dbk_allocator_default(), sql, file == NULL ? "(text)" : file, &definition,
                                 error));
    snprintf(name_out, 64, "%s", (const char *)definition->name.data);
    dbk_definition_free(definition);
    return DAYBOOK_OK;
}

// Making.

// A handler's definition as a file, with one section that stands for it and that nobody runs.
static daybook_status write_file(const daybook_projection_definition *given, dbk_buf *text) {
    char head[160];
    snprintf(head, sizeof head, "-- projection: %s\n-- version: %" PRIu64 "\n-- events:", given->name,
             given->version);
    dbk_buf_append_slice(text, daybook_text(head));
    for (size_t i = 0; i < given->filter_count; i++) {
        dbk_buf_append_slice(text, daybook_text(" "));
        dbk_buf_append_slice(text, given->filters[i]);
    }
    dbk_buf_append_slice(text,
                         daybook_text(given->filter_count == 0 ? " >\n-- [setup]\n" : "\n-- [setup]\n"));
    dbk_buf_append_slice(text, given->setup);
    dbk_buf_append_slice(text, daybook_text("\n-- [teardown]\n"));
    dbk_buf_append_slice(text, given->teardown);
    dbk_buf_append_slice(text, daybook_text("\n-- [on >]\nSELECT 1;\n"));
    return dbk_buf_status(text);
}

static daybook_status parse(daybook_projection *projection, const daybook_projection_definition *given,
                            daybook_error *error) {
    const char *file = given->file;
    if (given->handler == NULL)
        return dbk_definition_parse(projection->allocator, given->sql, file == NULL ? "(text)" : file,
                                    &projection->definition, error);
    if (given->name == NULL || strlen(given->name) > DBK_DEFINITION_NAME_SIZE_MAX)
        return dbk_fail(error, DAYBOOK_EINVALID, "a projection with a handler needs a name of 1 to %d bytes",
                        DBK_DEFINITION_NAME_SIZE_MAX);
    dbk_buf text;
    dbk_buf_init(&text, projection->allocator, DBK_DEFINITION_SIZE_MAX);
    daybook_status status = write_file(given, &text);
    if (status == DAYBOOK_OK)
        status = dbk_definition_parse(projection->allocator, daybook_bytes(text.data, text.size),
                                      file == NULL ? given->name : file, &projection->definition, error);
    else
        status = dbk_fail(error, status, "out of memory for a projection");
    dbk_buf_deinit(&text);
    return status;
}

static daybook_status check_database(const char *database, daybook_error *error) {
    bool is_postgres = strncmp(database, "postgres", 8) == 0;
    const char *kind = is_postgres ? "postgresql" : "sqlite";
    if (daybook_projection_can(kind)) return DAYBOOK_OK;
    // Without the connection string: it may hold a password.
    return dbk_fail(error, DAYBOOK_EUNSUPPORTED,
                    "this build cannot write to %s: it is without %s; build it again where its library and "
                    "headers are",
                    is_postgres ? "PostgreSQL" : "SQLite", is_postgres ? "libpq" : "SQLite");
}

static daybook_status check_options(const daybook_projection_options *options, daybook_error *error) {
    const char *problem = NULL;
    if (options->batch_count == 0)
        problem = "batch_count must be above zero";
    else if (options->batch_wait_ns < 0)
        problem = "batch_wait_ns must not be below zero";
    else if (options->retry_wait_ns <= 0)
        problem = "retry_wait_ns must be above zero";
    else if (options->retry_wait_max_ns < options->retry_wait_ns)
        problem = "retry_wait_max_ns must not be below retry_wait_ns";
    else if (options->on_error < DAYBOOK_PROJECTION_PARK || options->on_error > DAYBOOK_PROJECTION_STOP)
        problem = "on_error must be one of daybook_projection_on_error";
    if (problem == NULL) return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_EINVALID, "options of a projection out of range: %s", problem);
}

static daybook_status check_arguments(daybook_engine *engine, const daybook_projection_definition *definition,
                                      const char *database, const daybook_projection_options *options,
                                      daybook_error *error) {
    if (engine == NULL || definition == NULL || database == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE, "no engine, definition or database given");
    if (definition->size != sizeof *definition || options->size != sizeof *options)
        return dbk_fail(error, DAYBOOK_EMISUSE, "definition or options were not initialised");
    if (definition->handler == NULL && definition->sql.size == 0)
        return dbk_fail(error, DAYBOOK_EINVALID, "neither SQL nor a handler given");
    DBK_TRY(check_options(options, error));
    DBK_TRY(check_database(database, error));
    return daybook_engine_require(engine, DAYBOOK_ENGINE_POSITION | DAYBOOK_ENGINE_EVENTS_MATCH,
                                  "a projection", error);
}

static daybook_status name_instance(daybook_projection *projection, const char *given, daybook_error *error) {
    // Unique to each handle, because the checkpoint is fenced by it.
    uint8_t random[6];
    if (projection->vfs->entropy(projection->vfs, random, sizeof random) < 0)
        return dbk_fail(error, DAYBOOK_EIO, "the system gives no randomness");
    snprintf(projection->instance, sizeof projection->instance, "%.48s-%02x%02x%02x%02x%02x%02x",
             given == NULL ? "daybook" : given, random[0], random[1], random[2], random[3], random[4],
             random[5]);
    return DAYBOOK_OK;
}

static daybook_status fill(daybook_projection *projection, const daybook_projection_definition *definition,
                           const char *database, daybook_error *error) {
    projection->database = dbk_copy_text(projection->allocator, daybook_text(database));
    if (projection->database == NULL)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory for a projection");
    DBK_TRY(name_instance(projection, projection->options.instance, error));
    projection->options.instance = NULL;
    DBK_TRY(parse(projection, definition, error));
    projection->handler = definition->handler;
    projection->context = definition->context;
    projection->info.size = sizeof projection->info;
    projection->info.name = projection->definition->name.data;
    projection->info.version = projection->definition->version;
    projection->info.instance = projection->instance;
    projection->info.error = projection->told_error;
    return DAYBOOK_OK;
}

daybook_status daybook_projection_new(daybook_engine *engine, const daybook_projection_definition *definition,
                                      const char *database, const daybook_projection_options *options,
                                      daybook_projection **projection_out, daybook_error *error) {
    daybook_projection_options defaults;
    daybook_projection_options_init(&defaults);
    if (options == NULL) options = &defaults;
    if (projection_out == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "no room for the projection given");
    *projection_out = NULL;
    DBK_TRY(check_arguments(engine, definition, database, options, error));
    const daybook_allocator *allocator = options->allocator == NULL ? dbk_allocator_default()
                                                                    : options->allocator;
    daybook_projection *projection = dbk_alloc_zeroed(allocator, sizeof *projection);
    if (projection == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory for a projection");
    projection->allocator = allocator;
    projection->vfs = daybook_vfs_posix();
    projection->engine = engine;
    projection->options = *options;
    pthread_mutex_init(&projection->lock, NULL);
    daybook_status status = fill(projection, definition, database, error);
    if (status != DAYBOOK_OK) {
        daybook_projection_free(projection);
        return status;
    }
    *projection_out = projection;
    return DAYBOOK_OK;
}

void daybook_projection_free(daybook_projection *projection) {
    if (projection == NULL) return;
    dbk_definition_free(projection->definition);
    pthread_mutex_destroy(&projection->lock);
    dbk_free(projection->allocator, projection->database);
    dbk_free(projection->allocator, projection);
}

// Handlers.

static dbk_value value_of(const daybook_value *given, char time_text[DAYBOOK_TIME_TEXT_SIZE]) {
    dbk_value value = {.kind = DBK_VALUE_NULL};
    value.text = given->bytes;
    switch (given->kind) {
    case DAYBOOK_VALUE_INTEGER:
        value.kind = DBK_VALUE_INTEGER;
        value.integer = given->integer;
        break;
    case DAYBOOK_VALUE_REAL:
        value.kind = DBK_VALUE_REAL;
        value.real = given->real;
        break;
    case DAYBOOK_VALUE_TEXT:
        value.kind = DBK_VALUE_TEXT;
        break;
    case DAYBOOK_VALUE_BYTES:
        value.kind = DBK_VALUE_BLOB;
        break;
    case DAYBOOK_VALUE_TIME:
        value.kind = DBK_VALUE_TEXT;
        value.text = daybook_bytes(time_text, daybook_time_format(given->integer, time_text));
        break;
    default:
        break;
    }
    return value;
}

enum { VALUE_COUNT_MAX = 100, NUMBER_TEXT_SIZE = 40 };

daybook_status daybook_projection_execute(daybook_projection_transaction *transaction, const char *sql,
                                          const daybook_value *values, size_t count, uint64_t *row_count_out,
                                          daybook_error *error) {
    dbk_value made[VALUE_COUNT_MAX];
    char texts[VALUE_COUNT_MAX][NUMBER_TEXT_SIZE];
    if (transaction == NULL || sql == NULL || (values == NULL && count > 0))
        return dbk_fail(error, DAYBOOK_EMISUSE, "no transaction, SQL or values given");
    if (count > VALUE_COUNT_MAX)
        return dbk_fail(error, DAYBOOK_ELIMIT, "%zu values: a statement takes at most %d", count,
                        VALUE_COUNT_MAX);
    for (size_t i = 0; i < count; i++) {
        made[i] = value_of(&values[i], texts[i]);
        if (made[i].kind == DBK_VALUE_INTEGER)
            made[i].text = daybook_bytes(
                texts[i], (size_t)snprintf(texts[i], sizeof texts[i], "%" PRId64, made[i].integer));
        if (made[i].kind == DBK_VALUE_REAL)
            made[i].text =
                daybook_bytes(texts[i], (size_t)snprintf(texts[i], sizeof texts[i], "%.17g", made[i].real));
    }
    dbk_target *target = transaction->target;
    return target->calls->execute(target, daybook_text(sql), made, count, row_count_out, error);
}

// Running.

static daybook_status open_target(daybook_projection *projection, dbk_target **target_out,
                                  dbk_failure *failure, daybook_error *error) {
    dbk_target_options options = {
        .allocator = projection->allocator, .vfs = projection->vfs, .failure = failure};
    return dbk_target_open(projection->database, &options, target_out, error);
}

// One attempt, from opening the database to closing it.
static daybook_status attempt(dbk_run *run, dbk_failure *failure, daybook_error *error) {
    daybook_status status = open_target(run->projection, &run->target, failure, error);
    if (status != DAYBOOK_OK) return status;
    status = dbk_run_attend(run, error);
    *failure = run->target->failure;
    run->target->calls->close(run->target);
    run->target = NULL;
    return status;
}

static daybook_status begin_use(daybook_projection *projection, daybook_error *error) {
    bool is_running = false;
    if (atomic_compare_exchange_strong(&projection->is_running, &is_running, true)) return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_EMISUSE, "the projection is run already by this handle; take another one");
}

static void end_use(daybook_projection *projection) {
    pthread_mutex_lock(&projection->lock);
    projection->info.is_active = 0;
    pthread_mutex_unlock(&projection->lock);
    atomic_store(&projection->is_interrupted, 0);
    atomic_store(&projection->is_running, false);
}

static void give_error(daybook_error *error, const daybook_error *local, daybook_status status) {
    if (status != DAYBOOK_OK && error != NULL) {
        *error = *local;
        error->status = status;
    }
}

daybook_status daybook_projection_run(daybook_projection *projection, unsigned flags, daybook_error *error) {
    if (projection == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "no projection given");
    DBK_TRY(begin_use(projection, error));
    daybook_error local;
    daybook_status status;
    dbk_failure failure;
    dbk_run run;
    dbk_run_init(&run, projection, flags);
    do {
        daybook_error_init(&local);
        status = attempt(&run, &failure, &local);
    } while (status != DAYBOOK_OK && dbk_run_may_retry(&run, failure, status, &local));
    if (dbk_projection_is_interrupted(projection) &&
        (status == DAYBOOK_ECLOSED || failure.kind == DBK_FAILURE_TRANSIENT))
        status = DAYBOOK_OK;
    dbk_run_deinit(&run);
    end_use(projection);
    give_error(error, &local, status);
    return status;
}

// Dropping.

static daybook_status drop(daybook_projection *projection, daybook_error *error) {
    dbk_target_options options = {
        .allocator = projection->allocator, .vfs = projection->vfs, .must_exist = true};
    const char *name = projection->definition->name.data;
    dbk_target *target;
    dbk_progress known;
    DBK_TRY(dbk_target_open(projection->database, &options, &target, error));
    const dbk_target_calls *calls = target->calls;
    daybook_status status = calls->load(target, name, &known, error);
    if (status == DAYBOOK_OK)
        status = calls->claim(target, name, projection->instance, dbk_projection_now_ns(projection), error);
    if (status == DAYBOOK_OK) status = calls->drop(target, name, projection->definition, error);
    calls->close(target);
    return status;
}

daybook_status daybook_projection_drop(daybook_projection *projection, daybook_error *error) {
    if (projection == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "no projection given");
    DBK_TRY(begin_use(projection, error));
    daybook_status status = drop(projection, error);
    end_use(projection);
    return status;
}

void daybook_projection_interrupt(daybook_projection *projection) {
    if (projection == NULL) return;
    atomic_store(&projection->is_interrupted, 1);
    projection->vfs->wake(projection->vfs, (const volatile uint32_t *)(uintptr_t)&projection->is_interrupted,
                          INT32_MAX, 0);
}

void daybook_projection_get_info(daybook_projection *projection, daybook_projection_info *info_out) {
    if (projection == NULL || info_out == NULL) return;
    pthread_mutex_lock(&projection->lock);
    memcpy(projection->told_error, projection->info_error, sizeof projection->told_error);
    *info_out = projection->info;
    pthread_mutex_unlock(&projection->lock);
}

// Lag.

// All zero where nothing is in yet.
static daybook_status load_progress(daybook_projection *projection, dbk_progress *progress_out,
                                    daybook_error *error) {
    dbk_target_options options = {
        .allocator = projection->allocator, .vfs = projection->vfs, .is_read_only = true, .must_exist = true};
    dbk_target *target;
    memset(progress_out, 0, sizeof *progress_out);
    daybook_status status = dbk_target_open(projection->database, &options, &target, error);
    if (status == DAYBOOK_OK) {
        const char *name = projection->definition->name.data;
        status = target->calls->load(target, name, progress_out, error);
        target->calls->close(target);
    }
    return status == DAYBOOK_ENOTFOUND ? DAYBOOK_OK : status;
}

static daybook_status age_of_next(daybook_projection *projection, daybook_query *query, int64_t *age_ns_out,
                                  daybook_error *error) {
    daybook_engine_cursor *cursor;
    daybook_recorded_event event;
    event.size = sizeof event;
    query->limit = 1;
    *age_ns_out = 0;
    DBK_TRY(daybook_engine_read(projection->engine, query, &cursor, error));
    daybook_status status = daybook_engine_next(cursor, 0, &event, error);
    if (status == DAYBOOK_OK) *age_ns_out = dbk_projection_now_ns(projection) - event.recorded_ns;
    if (*age_ns_out < 0) *age_ns_out = 0;
    daybook_engine_cursor_close(cursor);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

daybook_status daybook_projection_lag(daybook_projection *projection, uint64_t *event_count_out,
                                      int64_t *age_ns_out, daybook_error *error) {
    if (projection == NULL || event_count_out == NULL || age_ns_out == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE, "no projection or no room for its lag given");
    daybook_projection_info info;
    daybook_projection_get_info(projection, &info);
    dbk_progress known = {.position = info.position};
    if (!info.is_active) DBK_TRY(load_progress(projection, &known, error));
    DBK_TRY(dbk_history_check_row(&known, error));
    daybook_query query;
    daybook_query_init(&query);
    query.filters = projection->definition->filters;
    query.filter_count = projection->definition->filter_count;
    query.position_from = known.position + 1;
    DBK_TRY(daybook_engine_count(projection->engine, &query, event_count_out, error));
    return age_of_next(projection, &query, age_ns_out, error);
}

daybook_status daybook_projection_check_store(daybook_projection *projection, daybook_error *error) {
    if (projection == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "no projection given");
    dbk_progress known;
    DBK_TRY(load_progress(projection, &known, error));
    return dbk_history_check(projection->engine, &known, error);
}

// Rebuilding.

// Fill the shadow up to what is durable now.
static daybook_status catch_up(dbk_run *run, daybook_error *error) {
    daybook_status status = dbk_run_attend(run, error);
    if (status == DAYBOOK_OK && dbk_projection_is_interrupted(run->projection)) return DAYBOOK_ECLOSED;
    return status;
}

// The live checkpoint stands still from here on, until the switch or this function's failure.
static daybook_status catch_up_behind_fence(dbk_run *run, dbk_target *live, dbk_failure *failure,
                                            daybook_error *error) {
    daybook_status status = live->calls->shadow_fence(live, run->progress.name, error);
    *failure = live->failure;
    if (status != DAYBOOK_OK) return status;
    status = catch_up(run, error);
    *failure = run->target->failure;
    if (status != DAYBOOK_OK) live->calls->shadow_unfence(live);
    return status;
}

static daybook_status put_in_place(dbk_run *run, dbk_target *live, dbk_failure *failure,
                                   daybook_error *error) {
    dbk_target *shadow = run->target;
    daybook_status status = DAYBOOK_OK;
    if (shadow->calls->shadow_finish != NULL) status = shadow->calls->shadow_finish(shadow, error);
    *failure = shadow->failure;
    if (status == DAYBOOK_OK && live->calls->shadow_fence != NULL)
        status = catch_up_behind_fence(run, live, failure, error);
    if (status != DAYBOOK_OK) return status;
    status = live->calls->shadow_switch(live, shadow, run->progress.name,
                                        dbk_projection_now_ns(run->projection), error);
    *failure = live->failure;
    return status;
}

// Until the switch has found the shadow where the live one is, or ahead.
static daybook_status build(dbk_run *run, dbk_target *live, dbk_failure *failure, daybook_error *error) {
    for (;;) {
        daybook_status status = catch_up(run, error);
        *failure = run->target->failure;
        if (status != DAYBOOK_OK) return status;
        for (;;) {
            status = put_in_place(run, live, failure, error);
            if (status == DAYBOOK_OK || status == DAYBOOK_ECLOSED || failure->kind == DBK_FAILURE_FENCED)
                break;
            // Somebody else writes just now: the shadow waits.
            if (failure->is_lost || !dbk_run_may_retry(run, *failure, status, error)) return status;
        }
        if (status == DAYBOOK_OK || status == DAYBOOK_ECLOSED) return status;
    }
}

static daybook_status rebuild(dbk_run *run, dbk_failure *failure, daybook_error *error) {
    dbk_target *live;
    DBK_TRY(open_target(run->projection, &live, failure, error));
    const char *name = run->projection->definition->name.data;
    daybook_status status = live->calls->ensure(live, error);
    if (status == DAYBOOK_OK) status = live->calls->shadow_open(live, name, &run->target, error);
    *failure = live->failure;
    if (status == DAYBOOK_OK) {
        status = build(run, live, failure, error);
        live->calls->shadow_close(run->target, true);
        run->target = NULL;
    }
    live->calls->close(live);
    return status;
}

daybook_status daybook_projection_rebuild(daybook_projection *projection, daybook_error *error) {
    if (projection == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "no projection given");
    DBK_TRY(begin_use(projection, error));
    daybook_error local;
    daybook_status status;
    dbk_failure failure = {.kind = DBK_FAILURE_FATAL};
    dbk_run run;
    dbk_run_init(&run, projection, 0);
    run.is_shadow = true;
    if (run.batch_count < SHADOW_BATCH_COUNT) run.batch_count = SHADOW_BATCH_COUNT;
    do {
        daybook_error_init(&local);
        status = rebuild(&run, &failure, &local);
    } while (status != DAYBOOK_OK && status != DAYBOOK_ECLOSED &&
             dbk_run_may_retry(&run, failure, status, &local));
    if (status == DAYBOOK_ECLOSED && dbk_projection_is_interrupted(projection))
        (void)dbk_fail(&local, status, "the rebuild of '%s' was interrupted; nothing was changed",
                       (const char *)projection->definition->name.data);
    dbk_run_deinit(&run);
    end_use(projection);
    give_error(error, &local, status);
    return status;
}
