// SPDX-License-Identifier: Apache-2.0
// The loop of a projection: take charge, go on from the checkpoint, write batch after batch, each with its
// checkpoint in one transaction.
//
// Exactly once. The checkpoint is part of the transaction that writes the rows, and is moved only from where
// this run left it, under this run's name. So a kill, a lost answer to a commit, a second instance or a
// rebuild that came between leave either both or neither, and whoever goes on reads the checkpoint.
//
// After a failure that may pass (dbk_failure_kind TRANSIENT) the run lets go of everything, waits, opens the
// database anew and begins at its checkpoint: one way back for locks, full disks and servers that restart.
//
// An event that cannot be applied. A batch is first written as a whole; nearly all are. Where that fails
// because of an event it is rolled back and written again with a savepoint around each event, which finds it.
// What fails only at the commit (deferred constraints) is found by one transaction per event. What is found
// is parked (parked.c), or ends the run in front of it.
//
// Once in a while, and between two batches, the database is asked whether somebody paused the projection or
// wants a parked event retried.
#include "projection/runner.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/time.h"

static const int64_t tick_interval_ns = 500 * DBK_MILLISECOND_NS;
static const int64_t take_timeout_ns = 200 * DBK_MILLISECOND_NS;
static const int64_t idle_save_interval_ns = DBK_SECOND_NS;
static const int64_t claim_interval_ns = 200 * DBK_MILLISECOND_NS;

// Small things.

int64_t dbk_projection_now_ns(daybook_projection *projection) {
    return projection->vfs->clock_real_ns(projection->vfs);
}

void dbk_projection_report(daybook_projection *projection, const char *format, ...) {
    if (projection->options.report == NULL) return;
    char message[DAYBOOK_ERROR_MESSAGE_MAX + 256];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    projection->options.report(projection->options.report_context, message);
}

void dbk_projection_sleep(daybook_projection *projection, int64_t timeout_ns) {
    daybook_vfs *vfs = projection->vfs;
    int64_t end_ns = vfs->clock_monotonic_ns(vfs) + timeout_ns;
    while (!dbk_projection_is_interrupted(projection)) {
        int64_t left_ns = end_ns - vfs->clock_monotonic_ns(vfs);
        if (left_ns <= 0) break;
        (void)vfs->wait(vfs, (const volatile uint32_t *)(uintptr_t)&projection->is_interrupted, 0, left_ns,
                        0);
    }
}

void dbk_run_init(dbk_run *run, daybook_projection *projection, unsigned flags) {
    memset(run, 0, sizeof *run);
    run->projection = projection;
    run->flags = flags;
    run->batch_count = projection->options.batch_count;
    run->retry_wait_ns = projection->options.retry_wait_ns;
    dbk_held_init(&run->held, projection->allocator);
}

void dbk_run_deinit(dbk_run *run) {
    dbk_batch_reader_stop(run->reader);
    run->reader = NULL;
    dbk_held_deinit(&run->held);
}

void dbk_run_publish(dbk_run *run) {
    daybook_projection *projection = run->projection;
    pthread_mutex_lock(&projection->lock);
    if (run->is_shadow) {
        projection->info.rebuilt_position = run->progress.position;
    } else {
        projection->info.position = run->progress.position;
        projection->info.event_count = run->progress.event_count;
        projection->info.updated_ns = run->progress.updated_ns;
        projection->info.state = run->progress.state;
    }
    pthread_mutex_unlock(&projection->lock);
}

// Failures.

static const char *message_of(const daybook_error *error, daybook_status status) {
    return error != NULL && error->message[0] != '\0' ? error->message : daybook_status_text(status);
}

bool dbk_run_may_retry(dbk_run *run, dbk_failure failure, daybook_status status, const daybook_error *error) {
    daybook_projection *projection = run->projection;
    const daybook_projection_options *options = &projection->options;
    if (dbk_projection_is_interrupted(projection)) return false;
    if (failure.kind == DBK_FAILURE_FENCED) {
        if (run->retry_count++ > 10) return false; // whoever moves it does not stop
        dbk_projection_report(projection, "%s", message_of(error, status));
        return true;
    }
    if (failure.kind != DBK_FAILURE_TRANSIENT) return false;
    if (options->retry_count != 0 && run->retry_count >= options->retry_count) return false;
    run->retry_count++;
    pthread_mutex_lock(&projection->lock);
    projection->info.retry_count++;
    snprintf(projection->info_error, sizeof projection->info_error, "%s", message_of(error, status));
    pthread_mutex_unlock(&projection->lock);
    dbk_projection_report(projection, "%s; trying again in %" PRId64 " ms", message_of(error, status),
                          run->retry_wait_ns / DBK_MILLISECOND_NS);
    dbk_projection_sleep(projection, run->retry_wait_ns);
    run->retry_wait_ns *= 2;
    if (run->retry_wait_ns > options->retry_wait_max_ns) run->retry_wait_ns = options->retry_wait_max_ns;
    return !dbk_projection_is_interrupted(projection);
}

static void note_success(dbk_run *run) {
    run->retry_count = 0;
    run->retry_wait_ns = run->projection->options.retry_wait_ns;
    pthread_mutex_lock(&run->projection->lock);
    run->projection->info_error[0] = '\0';
    pthread_mutex_unlock(&run->projection->lock);
    dbk_run_publish(run);
}

// Applying.

static daybook_status call_handler(dbk_run *run, const dbk_batch_event *event, daybook_error *error) {
    daybook_projection_transaction transaction = {run->target};
    run->target->failure.kind = DBK_FAILURE_NONE;
    daybook_status status =
        run->projection->handler(run->projection->context, &transaction, event->copy, error);
    if (status == DAYBOOK_OK || run->target->failure.kind != DBK_FAILURE_NONE) return status;
    bool is_of_event = status == DAYBOOK_EINVALID || status == DAYBOOK_EREFUSED;
    return dbk_target_fail(run->target, is_of_event ? DBK_FAILURE_EVENT : DBK_FAILURE_FATAL, "", status);
}

daybook_status dbk_run_apply(dbk_run *run, const dbk_batch *batch, const dbk_batch_event *event,
                             daybook_error *error) {
    if (event->copy != NULL) return call_handler(run, event, error);
    if (event->step_count == 0) return DAYBOOK_OK;
    return run->target->calls->apply(run->target, &batch->steps[event->step_first], event->step_count, error);
}

daybook_status dbk_run_apply_alone(dbk_run *run, const dbk_batch *batch, const dbk_batch_event *event,
                                   daybook_error *error) {
    const dbk_target_calls *calls = run->target->calls;
    DBK_TRY(calls->savepoint(run->target, error));
    daybook_status status = dbk_run_apply(run, batch, event, error);
    if (status == DAYBOOK_OK) status = calls->savepoint_release(run->target, error);
    if (status == DAYBOOK_OK || run->target->failure.kind != DBK_FAILURE_EVENT) return status;
    dbk_failure failure = run->target->failure;
    daybook_error undoing;
    daybook_error_init(&undoing);
    daybook_status undone = calls->savepoint_rollback(run->target, &undoing);
    if (undone != DAYBOOK_OK) {
        if (error != NULL) *error = undoing;
        return undone;
    }
    run->target->failure = failure;
    return status;
}

// Writing a batch.

/// How a part of a batch is written.
typedef struct writing {
    dbk_batch *batch;
    size_t first, end;   // events
    uint64_t position;   // the checkpoint behind them
    bool is_careful;     // a savepoint around each event
    const char *refusal; // the one event is refused without trying, because of this
    // Results.
    uint64_t applied_count;
    uint64_t parked_count;
    bool is_stopped; // in front of an event, on_error STOP; `error` says why
} writing;

static daybook_status park(dbk_run *run, const dbk_batch_event *event, const char *reason, uint64_t behind,
                           writing *done, daybook_error *error) {
    daybook_projection *projection = run->projection;
    dbk_parked parked = {.position = event->position,
                         .stream = event->stream,
                         .subject = event->subject,
                         .aggregate = event->aggregate,
                         .error = daybook_text(reason),
                         .attempt_count = behind == 0 ? 1 : 0,
                         .parked_ns = dbk_projection_now_ns(projection),
                         .behind = behind};
    DBK_TRY(run->target->calls->park(run->target, run->progress.name, &parked, error));
    done->parked_count++;
    if (behind != 0 || event->aggregate.size == 0 || projection->options.on_error != DAYBOOK_PROJECTION_PARK)
        return DAYBOOK_OK;
    daybook_status status = dbk_held_add(&run->held, event->aggregate, event->position, error);
    return status == DAYBOOK_OK ? status : dbk_target_fail(run->target, DBK_FAILURE_FATAL, "", status);
}

// The event cannot be applied: park it, or stop in front of it.
static daybook_status refuse(dbk_run *run, const dbk_batch_event *event, const char *reason, writing *done,
                             daybook_error *error) {
    daybook_projection *projection = run->projection;
    if (projection->options.on_error == DAYBOOK_PROJECTION_STOP) {
        done->is_stopped = true;
        done->position = event->position - 1;
        char words[DAYBOOK_ERROR_MESSAGE_MAX];
        snprintf(words, sizeof words, "%s", reason); // it may lie in `error`
        (void)dbk_fail(error, DAYBOOK_EREFUSED, "event at position %" PRIu64 " (%.*s) cannot be applied: %s",
                       event->position, (int)event->subject.size, (const char *)event->subject.data, words);
        return DAYBOOK_OK;
    }
    dbk_projection_report(projection, "parked the event at position %" PRIu64 " (%.*s): %s", event->position,
                          (int)event->subject.size, (const char *)event->subject.data, reason);
    return park(run, event, reason, 0, done, error);
}

static daybook_status write_event(dbk_run *run, writing *done, const dbk_batch_event *event,
                                  daybook_error *error) {
    uint64_t behind = dbk_held_find(&run->held, event->aggregate);
    if (behind != 0) return park(run, event, "", behind, done, error);
    const char *reason = event->failure != NULL ? event->failure : done->refusal;
    if (reason != NULL) return refuse(run, event, reason, done, error);
    daybook_status status = done->is_careful ? dbk_run_apply_alone(run, done->batch, event, error)
                                             : dbk_run_apply(run, done->batch, event, error);
    if (status == DAYBOOK_OK) {
        done->applied_count++;
        return DAYBOOK_OK;
    }
    if (!done->is_careful || run->target->failure.kind != DBK_FAILURE_EVENT) return status;
    char words[DAYBOOK_ERROR_MESSAGE_MAX];
    snprintf(words, sizeof words, "%s", message_of(error, status));
    return refuse(run, event, words, done, error);
}

// Whether the event goes in as it is, so that it can go together with its neighbours.
static bool is_plain(const dbk_run *run, const writing *done, const dbk_batch_event *event) {
    return !done->is_careful && done->refusal == NULL && event->failure == NULL && event->copy == NULL &&
           dbk_held_find(&run->held, event->aggregate) == 0;
}

// The plain events from `*at` on, which is advanced: their steps lie one behind the other.
static daybook_status write_plain(dbk_run *run, writing *done, size_t *at, daybook_error *error) {
    const dbk_batch *batch = done->batch;
    size_t first = *at;
    size_t step_count = 0;
    for (; *at < done->end && is_plain(run, done, &batch->events[*at]); ++*at)
        step_count += batch->events[*at].step_count;
    done->applied_count += *at - first;
    if (step_count == 0) return DAYBOOK_OK;
    return run->target->calls->apply(run->target, &batch->steps[batch->events[first].step_first], step_count,
                                     error);
}

// The last event that the checkpoint has passed.
static void set_mark(const writing *done, dbk_progress *progress) {
    const dbk_batch *batch = done->batch;
    if (batch->mark.position != 0 && batch->mark.position == progress->position) {
        progress->mark = batch->mark;
        return;
    }
    size_t at = done->end;
    while (at > done->first && batch->events[at - 1].position > progress->position) at--;
    if (at > done->first)
        dbk_mark_set(&progress->mark, batch->events[at - 1].position, batch->events[at - 1].id);
}

static daybook_status write_within(dbk_run *run, writing *done, dbk_progress *progress,
                                   daybook_error *error) {
    for (size_t i = done->first; i < done->end && !done->is_stopped;) {
        if (is_plain(run, done, &done->batch->events[i]))
            DBK_TRY(write_plain(run, done, &i, error));
        else
            DBK_TRY(write_event(run, done, &done->batch->events[i++], error));
    }
    *progress = run->progress;
    // In front of an event to stop at there may be nothing new.
    if (done->position > progress->position) progress->position = done->position;
    set_mark(done, progress);
    progress->event_count += done->applied_count;
    progress->updated_ns = dbk_projection_now_ns(run->projection);
    progress->error[0] = '\0';
    if (done->is_stopped && error != NULL)
        snprintf(progress->error, sizeof progress->error, "%s", error->message);
    return run->target->calls->save(run->target, progress, run->progress.position, error);
}

static void note_recorded(dbk_run *run, const writing *done) {
    if (run->is_shadow || done->end == done->first) return;
    pthread_mutex_lock(&run->projection->lock);
    run->projection->info.recorded_ns = done->batch->events[done->end - 1].recorded_ns;
    run->projection->info.parked_count += done->parked_count;
    pthread_mutex_unlock(&run->projection->lock);
}

// One transaction. `is_at_commit_out`: it failed where no single event was at work.
static daybook_status write_part(dbk_run *run, writing *done, bool *is_at_commit_out, daybook_error *error) {
    const dbk_target_calls *calls = run->target->calls;
    size_t held_count = run->held.count;
    dbk_progress progress;
    daybook_error ending; // `error` keeps why an event stopped it
    daybook_error_init(&ending);
    done->applied_count = 0;
    done->parked_count = 0;
    done->is_stopped = false;
    *is_at_commit_out = false;
    daybook_status status = calls->begin(run->target, error);
    if (status == DAYBOOK_OK) status = write_within(run, done, &progress, error);
    if (status == DAYBOOK_OK) {
        status = calls->commit(run->target, &ending);
        *is_at_commit_out = status != DAYBOOK_OK;
        if (status != DAYBOOK_OK && error != NULL) *error = ending;
    }
    if (status != DAYBOOK_OK) {
        calls->rollback(run->target);
        dbk_held_cut(&run->held, held_count);
        return status;
    }
    run->progress = progress;
    note_recorded(run, done);
    note_success(run);
    return DAYBOOK_OK;
}

// A transaction for each event: for what only the commit refuses.
static daybook_status write_singly(dbk_run *run, writing *whole, daybook_error *error) {
    bool is_at_commit;
    for (size_t i = whole->first; i < whole->end && !whole->is_stopped; i++) {
        writing part = {.batch = whole->batch, .first = i, .end = i + 1, .is_careful = true};
        part.position = i + 1 == whole->end ? whole->position : whole->batch->events[i].position;
        daybook_status status = write_part(run, &part, &is_at_commit, error);
        if (status != DAYBOOK_OK && run->target->failure.kind == DBK_FAILURE_EVENT) {
            char words[DAYBOOK_ERROR_MESSAGE_MAX];
            snprintf(words, sizeof words, "%s", message_of(error, status));
            part.refusal = words;
            status = write_part(run, &part, &is_at_commit, error);
        }
        DBK_TRY(status);
        whole->is_stopped = part.is_stopped;
    }
    return DAYBOOK_OK;
}

static bool is_worth_saving(dbk_run *run, const dbk_batch *batch) {
    // Why an earlier run ended is over with.
    if (batch->event_count > 0 || run->progress.error[0] != '\0') return true;
    if (batch->position <= run->progress.position) return false;
    return batch->status != DAYBOOK_OK ||
           dbk_projection_now_ns(run->projection) - run->progress.updated_ns >= idle_save_interval_ns;
}

static daybook_status write_batch(dbk_run *run, dbk_batch *batch, daybook_error *error) {
    if (!is_worth_saving(run, batch)) return DAYBOOK_OK;
    writing whole = {.batch = batch, .end = batch->event_count, .position = batch->position};
    bool is_at_commit;
    daybook_status status = write_part(run, &whole, &is_at_commit, error);
    if (status != DAYBOOK_OK && run->target->failure.kind == DBK_FAILURE_EVENT) {
        whole.is_careful = true;
        whole.position = batch->position;
        status = write_part(run, &whole, &is_at_commit, error);
        if (status != DAYBOOK_OK && is_at_commit && run->target->failure.kind == DBK_FAILURE_EVENT) {
            whole.position = batch->position;
            status = write_singly(run, &whole, error);
        }
    }
    if (status == DAYBOOK_OK && whole.is_stopped)
        return dbk_target_fail(run->target, DBK_FAILURE_FATAL, "", DAYBOOK_EREFUSED);
    return status;
}

// Beginning.

// Whoever asks the database why the projection stands still finds it there. An attempt: the failure itself
// may be why it cannot be written.
static void leave_reason(dbk_run *run, daybook_status status, const daybook_error *error) {
    const dbk_target_calls *calls = run->target->calls;
    dbk_failure failure = run->target->failure;
    daybook_error ignored;
    dbk_progress known;
    bool is_said = status == DAYBOOK_OK || status == DAYBOOK_END || status == DAYBOOK_ECLOSED ||
                   status == DAYBOOK_EREFUSED || status == DAYBOOK_ENOMEM;
    if (run->is_shadow || is_said || failure.kind != DBK_FAILURE_FATAL) return;
    daybook_error_init(&ignored);
    if (calls->load(run->target, run->progress.name, &known, &ignored) == DAYBOOK_OK)
        (void)calls->set_state(run->target, known.name, known.state, message_of(error, status),
                               dbk_projection_now_ns(run->projection), &ignored);
    run->target->failure = failure;
}

static daybook_status refuse_version(dbk_run *run, const dbk_progress *known, daybook_error *error) {
    const dbk_definition *definition = run->projection->definition;
    (void)dbk_target_fail(run->target, DBK_FAILURE_FATAL, "", DAYBOOK_OK);
    if (known->version != definition->version)
        return dbk_fail(error, DAYBOOK_ECONFLICT,
                        "%s: the tables of projection '%s' are of version %" PRIu64
                        ", the definition is of version %" PRIu64 "; rebuild it (daybook projection rebuild)",
                        (const char *)definition->file.data, known->name, known->version,
                        definition->version);
    return dbk_fail(error, DAYBOOK_ECONFLICT,
                    "%s: the definition of projection '%s' was changed, but not its version %" PRIu64
                    "; raise the version and rebuild it (daybook projection rebuild)",
                    (const char *)definition->file.data, known->name, known->version);
}

static daybook_status create(dbk_run *run, daybook_error *error) {
    const dbk_definition *definition = run->projection->definition;
    dbk_progress made = {.version = definition->version,
                         .state = run->is_shadow ? DAYBOOK_PROJECTION_BUILDING : DAYBOOK_PROJECTION_LIVE,
                         .updated_ns = dbk_projection_now_ns(run->projection)};
    snprintf(made.name, sizeof made.name, "%s", (const char *)definition->name.data);
    snprintf(made.hash, sizeof made.hash, "%s", definition->hash);
    snprintf(made.instance, sizeof made.instance, "%s", run->projection->instance);
    snprintf(made.store, sizeof made.store, "%s", run->store);
    DBK_TRY(run->target->calls->create(run->target, definition, &made, error));
    run->progress = made;
    return DAYBOOK_OK;
}

// Whether it goes on with the history that it began with. Asked behind the checkpoint: the store knows by now
// what another instance has read.
static daybook_status check_store(dbk_run *run, daybook_error *error) {
    daybook_status status = dbk_history_check(run->projection->engine, &run->progress, error);
    if (status != DAYBOOK_OK) {
        (void)dbk_target_fail(run->target, DBK_FAILURE_FATAL, "", status);
        leave_reason(run, status, error);
        return status;
    }
    // Known from now on, also where it was not: `save` writes it.
    if (run->store[0] != '\0') memcpy(run->progress.store, run->store, sizeof run->store);
    return DAYBOOK_OK;
}

static daybook_status load_or_create(dbk_run *run, daybook_error *error) {
    const dbk_definition *definition = run->projection->definition;
    daybook_status status =
        run->target->calls->load(run->target, (const char *)definition->name.data, &run->progress, error);
    if (status == DAYBOOK_ENOTFOUND) return create(run, error);
    DBK_TRY(status);
    if (run->progress.version != definition->version || strcmp(run->progress.hash, definition->hash) != 0)
        return refuse_version(run, &run->progress, error);
    return check_store(run, error);
}

static daybook_status take_charge(dbk_run *run, daybook_error *error) {
    const dbk_target_calls *calls = run->target->calls;
    daybook_projection *projection = run->projection;
    DBK_TRY(calls->ensure(run->target, error));
    for (;;) {
        daybook_status status = calls->claim(run->target, (const char *)projection->definition->name.data,
                                             projection->instance, dbk_projection_now_ns(projection), error);
        // Locked by a transaction is another thing: it is TRANSIENT.
        bool is_held = status == DAYBOOK_ELOCKED && run->target->failure.kind != DBK_FAILURE_TRANSIENT;
        if (!is_held || (run->flags & DAYBOOK_PROJECTION_WAIT) == 0) return status;
        if (dbk_projection_is_interrupted(projection)) return DAYBOOK_ECLOSED;
        if (!run->is_waiting)
            dbk_projection_report(projection, "%s; waiting for its place", message_of(error, status));
        run->is_waiting = true;
        dbk_projection_sleep(projection, claim_interval_ns);
    }
}

static daybook_status begin(dbk_run *run, daybook_error *error) {
    daybook_projection *projection = run->projection;
    DBK_TRY(take_charge(run, error));
    daybook_status status = dbk_history_name(projection->engine, run->store, error);
    if (status != DAYBOOK_OK) return dbk_target_fail(run->target, DBK_FAILURE_FATAL, "", status);
    DBK_TRY(load_or_create(run, error));
    if (run->is_waiting)
        dbk_projection_report(projection, "took over projection '%s' at position %" PRIu64,
                              run->progress.name, run->progress.position);
    run->is_waiting = false;
    DBK_TRY(run->target->calls->prepare(run->target, projection->definition, error));
    DBK_TRY(dbk_held_load(run, error));
    run->reader_options = (dbk_reader_options){.allocator = projection->allocator,
                                               .vfs = projection->vfs,
                                               .engine = projection->engine,
                                               .definition = projection->definition,
                                               .is_copying = projection->handler != NULL,
                                               .is_following = (run->flags & DAYBOOK_PROJECTION_FOLLOW) != 0,
                                               .count_max = run->batch_count,
                                               .wait_ns = projection->options.batch_wait_ns,
                                               .position = run->progress.position};
    dbk_run_publish(run);
    run->tick_ns = 0;
    return DAYBOOK_OK;
}

// The loop.

static void note_state(dbk_run *run, int state) {
    if (state == run->progress.state) return;
    dbk_projection_report(run->projection, "projection '%s' was %s", run->progress.name,
                          state == DAYBOOK_PROJECTION_PAUSED ? "paused" : "resumed");
    run->progress.state = state;
    dbk_run_publish(run);
}

// Whether somebody wants something. FENCED where the row is not what this run left.
static daybook_status tick(dbk_run *run, daybook_error *error) {
    const dbk_target_calls *calls = run->target->calls;
    daybook_vfs *vfs = run->projection->vfs;
    int64_t now_ns = vfs->clock_monotonic_ns(vfs);
    if (run->is_shadow || (run->tick_ns != 0 && now_ns - run->tick_ns < tick_interval_ns)) return DAYBOOK_OK;
    run->tick_ns = now_ns;
    dbk_progress known;
    daybook_status status = calls->load(run->target, run->progress.name, &known, error);
    if (status == DAYBOOK_ENOTFOUND)
        return dbk_fail(error, status, "projection '%s' was dropped while it ran", run->progress.name);
    DBK_TRY(status);
    if (known.position != run->progress.position || strcmp(known.hash, run->progress.hash) != 0) {
        (void)dbk_target_fail(run->target, DBK_FAILURE_FENCED, "", DAYBOOK_OK);
        return dbk_fail(error, DAYBOOK_ECONFLICT,
                        "projection '%s' was rebuilt: going on from position %" PRIu64, known.name,
                        known.position);
    }
    note_state(run, known.state);
    bool has_request;
    DBK_TRY(calls->has_request(run->target, run->progress.name, &has_request, error));
    return has_request ? dbk_run_grant_requests(run, error) : DAYBOOK_OK;
}

static void note_caught_up(dbk_run *run, bool is_caught_up) {
    if (run->is_shadow) return;
    pthread_mutex_lock(&run->projection->lock);
    run->projection->info.is_active = 1;
    run->projection->info.is_caught_up = is_caught_up;
    pthread_mutex_unlock(&run->projection->lock);
}

static daybook_status take_and_write(dbk_run *run, daybook_error *error) {
    dbk_batch *batch;
    daybook_status status = dbk_batch_reader_take(run->reader, take_timeout_ns, &batch, error);
    if (status == DAYBOOK_TIMEOUT) return DAYBOOK_OK;
    if (status != DAYBOOK_OK) {
        // Reading failed, or is over: no matter of the database.
        return dbk_target_fail(run->target, DBK_FAILURE_FATAL, "", status);
    }
    status = write_batch(run, batch, error);
    bool is_caught_up = batch->is_caught_up;
    dbk_batch_reader_give_back(run->reader, batch);
    if (status == DAYBOOK_OK) note_caught_up(run, is_caught_up);
    return status;
}

static daybook_status refuse_paused(dbk_run *run, daybook_error *error) {
    (void)dbk_target_fail(run->target, DBK_FAILURE_FATAL, "", DAYBOOK_OK);
    return dbk_fail(error, DAYBOOK_EREFUSED,
                    "projection '%s' is paused; resume it (daybook projection resume)", run->progress.name);
}

static daybook_status loop(dbk_run *run, daybook_error *error) {
    bool is_following = (run->flags & DAYBOOK_PROJECTION_FOLLOW) != 0;
    for (;;) {
        if (dbk_projection_is_interrupted(run->projection)) return DAYBOOK_OK;
        DBK_TRY(tick(run, error));
        if (run->progress.state == DAYBOOK_PROJECTION_PAUSED) {
            if (!is_following) return refuse_paused(run, error);
            dbk_projection_sleep(run->projection, take_timeout_ns);
            continue;
        }
        DBK_TRY(take_and_write(run, error));
    }
}

daybook_status dbk_run_attend(dbk_run *run, daybook_error *error) {
    run->target->failure = (dbk_failure){.kind = DBK_FAILURE_FATAL, .step = DBK_FAILURE_STEP_NONE};
    DBK_TRY(begin(run, error));
    note_caught_up(run, false);
    daybook_status status = dbk_batch_reader_start(&run->reader_options, &run->reader, error);
    if (status != DAYBOOK_OK) return dbk_target_fail(run->target, DBK_FAILURE_FATAL, "", status);
    status = loop(run, error);
    dbk_batch_reader_stop(run->reader);
    run->reader = NULL;
    leave_reason(run, status, error);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}
