// SPDX-License-Identifier: Apache-2.0
// A crash at every I/O step of the workload (workload.h), each with several random damages of what was not
// yet synced; then up to three crashes more while recovering, one right after recovery, and life goes on.
//
// The workload runs once. In each of its I/O steps the disk is cloned, when the effect of the step is in the
// page cache only; each clone loses power in its own way, or its process is killed. What such a disk must
// show after opening is exactly what the store showed before the step of the workload that was under way, or
// what it shows after it: so everything acknowledged is there, batches are whole, what survived is a prefix,
// and nothing removed is back. Counts, verify and the ids of deleted events are checked too.
//
// With a directory as argument it is the store of an older version, one file of which is to be opened here
// ("upgrade").
//
// DAYBOOK_SEED      of the damages; default: from the clock, printed
// DAYBOOK_DAMAGES   cases per I/O step; default 3
// DAYBOOK_CASE      run this case only, as a failure names it
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sim/golden.h"
#include "sim/workload.h"

enum { CRASHES_IN_RECOVERY_MAX = 3, RECOVERY_STEPS_MAX = 30, KINDS_MAX = 24 };

typedef struct kind_tally {
    const char *kind;
    uint64_t steps, cases, done;
} kind_tally;

typedef struct run {
    workload work;
    uint64_t seed, damages, only_case, case_number;
    // The disks as they were in each I/O step of the step under way.
    dbk_sim **clones;
    size_t clone_count, clone_capacity;
    shown before, after;
    bool exists;      // the store, acknowledged
    bool has_deleted; // a deletion whose id must be remembered was acknowledged
    bool has_flushed, has_merged;
    const char *step_kind;
    size_t step_index;
    kind_tally kinds[KINDS_MAX];
    size_t kind_count;
    uint64_t power_losses, kills, in_recovery, after_recovery;
} run;

static void take_clone(void *context, uint64_t step) {
    run *at = context;
    if (at->clone_count == at->clone_capacity) {
        at->clone_capacity = at->clone_capacity == 0 ? 64 : at->clone_capacity * 2;
        at->clones = realloc(at->clones, at->clone_capacity * sizeof(dbk_sim *));
        if (at->clones == NULL) abort();
    }
    if (dbk_sim_clone(at->work.sim, step, &at->clones[at->clone_count++]) != DAYBOOK_OK) abort();
}

static kind_tally *tally_of(run *at, const char *kind) {
    for (size_t i = 0; i < at->kind_count; i++) {
        if (strcmp(at->kinds[i].kind, kind) == 0) return &at->kinds[i];
    }
    if (at->kind_count == KINDS_MAX) abort();
    at->kinds[at->kind_count] = (kind_tally){.kind = kind};
    return &at->kinds[at->kind_count++];
}

// ---- One case -------------------------------------------------------------------------------------------

typedef struct broken {
    run *run;
    workload work;
    chance source;
    char where[160];
} broken;

static void crash(broken *at) {
    static const dbk_sim_crash_kind kinds[] = {DBK_SIM_POWER_LOSS,          DBK_SIM_POWER_LOSS,
                                               DBK_SIM_POWER_LOSS,          DBK_SIM_KILL,
                                               DBK_SIM_POWER_LOSS_KEEP_ALL, DBK_SIM_POWER_LOSS_DROP_ALL};
    dbk_sim_crash_kind kind = kinds[chance_below(&at->source, sizeof kinds / sizeof *kinds)];
    at->run->power_losses += kind != DBK_SIM_KILL;
    at->run->kills += kind == DBK_SIM_KILL;
    dbk_sim_crash(at->work.sim, kind);
}

// The process dies with its store open.
static void die(broken *at) {
    dbk_sim_stop_now(at->work.sim);
    (void)workload_close(&at->work);
    crash(at);
}

static void open_or_fail(broken *at, const char *when) {
    daybook_status status = workload_open(&at->work);
    if (status != DAYBOOK_OK)
        workload_fail(&at->work, at->where, "the store does not open %s: %s", when,
                      daybook_status_name(status));
}

static void crash_in_recovery(broken *at) {
    for (int depth = 0; depth < CRASHES_IN_RECOVERY_MAX && chance_below(&at->source, 5) < 2; depth++) {
        dbk_sim_stop_after(at->work.sim, 1 + chance_below(&at->source, RECOVERY_STEPS_MAX));
        (void)workload_open(&at->work);
        at->run->in_recovery += dbk_sim_is_stopped(at->work.sim);
        die(at);
    }
}

static void take(broken *at, shown *what) {
    if (!shown_take(&at->work, what, at->where)) workload_fail(&at->work, at->where, "reading fails");
}

// Whether the step under way is there; ends the program where what is there is neither before nor after.
static bool check_shown(broken *at, const shown *what) {
    run *whole = at->run;
    if (shown_same(&whole->after, what, true)) return true;
    if (shown_is_before(&whole->before, what, true)) return false;
    (void)fprintf(stderr, "\nagainst what was before:\n");
    shown_explain(&whole->before, what, true);
    (void)fprintf(stderr, "against what was to be:\n");
    shown_explain(&whole->after, what, true);
    workload_fail(&at->work, at->where, "the store shows neither what was before nor what was to be");
}

static void go_on(broken *at, shown *now, shown *later) {
    for (unsigned i = 0; i < 2; i++) {
        daybook_status status = workload_append_after(&at->work, i);
        if (status == DAYBOOK_OK && i == 0 && chance_below(&at->source, 3) == 0)
            status = daybook_flush(at->work.store, &at->work.error);
        if (status != DAYBOOK_OK)
            workload_fail(&at->work, at->where, "going on fails: %s", daybook_status_name(status));
    }
    bool is_deleted = at->run->has_deleted;
    if (is_deleted && !workload_remembers_deleted(&at->work))
        workload_fail(&at->work, at->where, "the id of a deleted event is free again");
    take(at, later);
    if (later->count != now->count + 2)
        workload_fail(&at->work, at->where, "two events more are not two more");
    for (size_t i = 0; i < now->count; i++) {
        if (now->events[i].exact != later->events[i].exact)
            workload_fail(&at->work, at->where, "an event has changed behind the crash");
    }
}

static bool run_case(run *whole, dbk_sim *disk, uint64_t number) {
    static shown first, second, third;
    broken at = {.run = whole, .source = {.state = whole->seed * 1000003 + number}};
    dbk_sim *sim = NULL;
    if (dbk_sim_clone(disk, chance_next(&at.source), &sim) != DAYBOOK_OK) abort();
    workload_init(&at.work, sim);
    (void)snprintf(at.where, sizeof at.where,
                   "DAYBOOK_SEED=%" PRIu64 " DAYBOOK_DAMAGES=%" PRIu64 " DAYBOOK_CASE=%" PRIu64
                   " (step %zu, %s)",
                   whole->seed, whole->damages, number, whole->step_index, whole->step_kind);
    crash(&at);
    crash_in_recovery(&at);
    open_or_fail(&at, "after a crash");
    take(&at, &first);
    bool is_done = check_shown(&at, &first);
    if (chance_below(&at.source, 2) == 0) {
        die(&at);
        whole->after_recovery++;
        open_or_fail(&at, "after a crash right after recovery");
        take(&at, &second);
        if (!shown_same(&first, &second, true)) {
            shown_explain(&first, &second, true);
            workload_fail(&at.work, at.where, "what was seen after recovery is gone after the next crash");
        }
    }
    go_on(&at, &first, &second);
    if (chance_below(&at.source, 3) == 0) {
        die(&at);
        open_or_fail(&at, "after going on and one more crash");
        take(&at, &third);
        if (!shown_same(&second, &third, true)) {
            shown_explain(&second, &third, true);
            workload_fail(&at.work, at.where,
                          "what was appended after the crash is not there after the next");
        }
    }
    if (workload_close(&at.work) != DAYBOOK_OK) workload_fail(&at.work, at.where, "closing fails");
    workload_verify(&at.work, at.where);
    if (dbk_sim_open_files(sim) != 0 || dbk_sim_open_maps(sim) != 0)
        workload_fail(&at.work, at.where, "files or maps are left open");
    dbk_sim_free(sim);
    return is_done;
}

// ---- The workload ---------------------------------------------------------------------------------------

static void run_cases(run *at) {
    kind_tally *tally = tally_of(at, at->step_kind);
    tally->steps += at->clone_count;
    for (size_t i = 0; i < at->clone_count; i++) {
        for (uint64_t damage = 0; damage < at->damages; damage++) {
            uint64_t number = ++at->case_number;
            if (at->only_case != 0 && number != at->only_case) continue;
            tally->cases++;
            tally->done += run_case(at, at->clones[i], number);
        }
        dbk_sim_free(at->clones[i]);
    }
    at->clone_count = 0;
}

static void run_steps(run *at, const workload_step *steps, size_t count) {
    for (size_t i = 0; i < count; i++) {
        at->step_kind = steps[i].kind;
        at->step_index = i;
        dbk_sim_set_observer(at->work.sim, take_clone, at);
        daybook_status status = steps[i].run(&at->work, steps[i].number);
        dbk_sim_set_observer(at->work.sim, NULL, NULL);
        if (status != DAYBOOK_OK)
            workload_fail(&at->work, steps[i].kind, "step %zu of the workload: %s", i,
                          daybook_status_name(status));
        if (!shown_take(&at->work, &at->after, steps[i].kind))
            workload_fail(&at->work, steps[i].kind, "reading");
        run_cases(at);
        daybook_store_info info;
        memset(&info, 0, sizeof info);
        info.size = sizeof info;
        if (daybook_info(at->work.store, &info, &at->work.error) != DAYBOOK_OK) abort();
        at->has_flushed = at->has_flushed || info.flush_count > 0;
        at->has_merged = at->has_merged || info.merge_count > 0;
        at->has_deleted = at->has_deleted || (strcmp(steps[i].kind, "delete") == 0);
        shown_copy(&at->before, &at->after);
    }
}

static double now_s(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void report(const run *at, double duration_s) {
    uint64_t cases = 0, steps = 0;
    for (size_t i = 0; i < at->kind_count; i++) {
        printf("%-9s %6" PRIu64 " I/O steps, %7" PRIu64 " cases, step under way there in %7" PRIu64 "\n",
               at->kinds[i].kind, at->kinds[i].steps, at->kinds[i].cases, at->kinds[i].done);
        cases += at->kinds[i].cases;
        steps += at->kinds[i].steps;
    }
    printf("%" PRIu64 " cases at %" PRIu64 " I/O steps: %" PRIu64 " power losses, %" PRIu64 " kills, %" PRIu64
           " of them while recovering, %" PRIu64 " right after; %.1f s, %.0f cases/s\n",
           cases, steps, at->power_losses, at->kills, at->in_recovery, at->after_recovery, duration_s,
           (double)cases / duration_s);
}

int main(int argc, char **argv) {
    run at = {.seed = number_from("DAYBOOK_SEED", (uint64_t)time(NULL)),
              .damages = number_from("DAYBOOK_DAMAGES", 3),
              .only_case = number_from("DAYBOOK_CASE", 0)};
    printf("DAYBOOK_SEED=%" PRIu64 "\n", at.seed);
    (void)fflush(stdout);
    dbk_sim *sim = NULL;
    if (dbk_sim_new(1, &sim) != DAYBOOK_OK) return 1;
    workload_init(&at.work, sim);
    double began_s = now_s();
    if (argc > 1) {
        golden_load(sim, argv[1], WORKLOAD_PATH);
        if (workload_open(&at.work) != DAYBOOK_OK || !shown_take(&at.work, &at.before, "golden"))
            workload_fail(&at.work, argv[1], "the golden store does not open");
        (void)workload_close(&at.work);
        dbk_sim_free(sim);
        if (dbk_sim_new(1, &sim) != DAYBOOK_OK) return 1;
        workload_init(&at.work, sim);
        golden_load(sim, argv[1], WORKLOAD_PATH);
        run_steps(&at, workload_later_steps, workload_later_step_count);
    } else {
        run_steps(&at, workload_steps, workload_step_count);
        if (!at.has_flushed || !at.has_merged)
            workload_fail(&at.work, "end", "the workload flushes or merges nothing");
    }
    if (workload_close(&at.work) != DAYBOOK_OK) workload_fail(&at.work, "end", "closing");
    report(&at, now_s() - began_s);
    dbk_sim_free(sim);
    shown_deinit(&at.before);
    shown_deinit(&at.after);
    free(at.clones);
    return 0;
}
