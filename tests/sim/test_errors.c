// SPDX-License-Identifier: Apache-2.0
// The system fails: at the N-th call of a kind within a step of the workload (workload.h), or within the
// opening before it, for every N, once or from then on. Whatever the store answers:
//
//   - a step that says it failed has not happened (or, where it says that this is uncertain, may turn out to
//     have happened when the store is opened again); a step that says it is done shows
//   - the status is one for operating errors, with a message
//   - when the fault is over, the same store takes the step again, unless it is poisoned; then, and only then,
//     it must be opened again, and takes it
//   - after one more crash all of it is still there, and verify finds nothing
//
// The step is the first after opening, or comes behind a few others in the same life of the store.
//
// A failed sync leaves in the page cache what is not on the disk: half of the cases empty the cache before
// the store is opened again, and direct reads see the disk at once.
//
// DAYBOOK_SEED    default: from the clock, printed
// DAYBOOK_STRIDE  every how manyth N; default 10, instrumented 70, from a random one on; 1: all
// DAYBOOK_CASE    end behind this case, as a failure names it (with its seed and stride)
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/slow_build.h"
#include "sim/workload.h"

typedef struct fault_kind {
    dbk_sim_kind kind;
    int error;
    const char *name;
    uint64_t cases, failed_opens, failed_steps, poisoned, happened;
} fault_kind;

static fault_kind kinds[] = {
    {.kind = DBK_SIM_OPEN, .error = EIO, .name = "open EIO"},
    {.kind = DBK_SIM_OPEN, .error = EMFILE, .name = "open EMFILE"},
    {.kind = DBK_SIM_OPEN, .error = ENOSPC, .name = "open ENOSPC"},
    {.kind = DBK_SIM_READ, .error = EIO, .name = "read EIO"},
    {.kind = DBK_SIM_READ, .error = EINTR, .name = "read EINTR"},
    {.kind = DBK_SIM_WRITE, .error = EIO, .name = "write EIO"},
    {.kind = DBK_SIM_WRITE, .error = ENOSPC, .name = "write ENOSPC"},
    {.kind = DBK_SIM_WRITE, .error = EINTR, .name = "write EINTR"},
    {.kind = DBK_SIM_SYNC, .error = EIO, .name = "sync EIO"},
    {.kind = DBK_SIM_SYNC, .error = ENOSPC, .name = "sync ENOSPC"},
    {.kind = DBK_SIM_TRUNCATE, .error = EIO, .name = "truncate EIO"},
    {.kind = DBK_SIM_TRUNCATE, .error = ENOSPC, .name = "truncate ENOSPC"},
    {.kind = DBK_SIM_FILE_SIZE, .error = EIO, .name = "size EIO"},
    {.kind = DBK_SIM_LOCK, .error = EIO, .name = "lock EIO"},
    {.kind = DBK_SIM_MAP, .error = ENOMEM, .name = "map ENOMEM"},
    {.kind = DBK_SIM_RENAME, .error = EIO, .name = "rename EIO"},
    {.kind = DBK_SIM_RENAME, .error = ENOSPC, .name = "rename ENOSPC"},
    {.kind = DBK_SIM_LINK, .error = EIO, .name = "link EIO"},
    {.kind = DBK_SIM_UNLINK, .error = EIO, .name = "unlink EIO"},
    {.kind = DBK_SIM_MAKE_DIRECTORY, .error = ENOSPC, .name = "mkdir ENOSPC"},
    {.kind = DBK_SIM_SYNC_DIRECTORY, .error = EIO, .name = "dirsync EIO"},
    {.kind = DBK_SIM_SYNC_DIRECTORY, .error = ENOSPC, .name = "dirsync ENOSPC"},
    {.kind = DBK_SIM_LIST, .error = EIO, .name = "list EIO"},
    {.kind = DBK_SIM_FREE_BYTES, .error = EIO, .name = "free EIO"},
};
enum { KIND_COUNT = sizeof kinds / sizeof *kinds };

typedef struct faulty {
    workload work;
    chance source;
    char where[200];
    const workload_step *step;
    size_t lead; // steps before it, from the opening on
    const shown *before, *after;
} faulty;

static void check_error(faulty *at, const char *what, daybook_status status) {
    if (!workload_is_operating_error(status) || at->work.error.status != status ||
        at->work.error.message[0] == '\0')
        workload_fail(&at->work, at->where, "%s gives %s", what, daybook_status_name(status));
}

static bool is_poisoned(faulty *at) {
    daybook_store_info info;
    memset(&info, 0, sizeof info);
    info.size = sizeof info;
    if (daybook_info(at->work.store, &info, &at->work.error) != DAYBOOK_OK)
        workload_fail(&at->work, at->where, "no info");
    return info.poisoned != 0;
}

static void must_open(faulty *at, const char *when) {
    daybook_status status = workload_open(&at->work);
    if (status != DAYBOOK_OK)
        workload_fail(&at->work, at->where, "the store does not open %s: %s", when,
                      daybook_status_name(status));
}

typedef enum sight { SIGHT_BEFORE, SIGHT_AFTER, SIGHT_NEITHER } sight;

static sight look_once(faulty *at, shown *now, const char *when) {
    if (!shown_take(&at->work, now, at->where)) workload_fail(&at->work, at->where, "reading %s", when);
    if (shown_same(at->after, now, false)) return SIGHT_AFTER;
    return shown_is_before(at->before, now, false) ? SIGHT_BEFORE : SIGHT_NEITHER;
}

// Whether the step is there. A limit that could not be enforced because of the fault is owed, and enforced by
// the background work.
static bool look(faulty *at, const char *when) {
    static shown now;
    sight seen = look_once(at, &now, when);
    if (seen == SIGHT_NEITHER) {
        dbk_sim_advance_ns(at->work.sim, INT64_C(2000000000)); // limits are looked at each second
        for (int i = 0; i < 10 && daybook_maintain(at->work.store, &at->work.error) == DAYBOOK_OK; i++) {
        }
        seen = look_once(at, &now, when);
    }
    if (seen != SIGHT_NEITHER) return seen == SIGHT_AFTER;
    (void)fprintf(stderr, "\nagainst what was before:\n");
    shown_explain(at->before, &now, false);
    (void)fprintf(stderr, "against what was to be:\n");
    shown_explain(at->after, &now, false);
    workload_fail(&at->work, at->where, "%s the store shows neither what was before nor what was to be",
                  when);
}

static void open_again(faulty *at, const char *when) {
    if (at->work.store != NULL) (void)workload_close(&at->work);
    if (chance_below(&at->source, 2) == 0) dbk_sim_evict(at->work.sim);
    must_open(at, when);
}

// The fault is over: the step is done if it was not.
static void take_again(faulty *at, const char *when) {
    if (look(at, when)) return;
    daybook_status status = at->step->run(&at->work, at->step->number);
    if (status != DAYBOOK_OK)
        workload_fail(&at->work, at->where, "the step fails again %s: %s", when, daybook_status_name(status));
    if (!look(at, "after the step was taken again")) workload_fail(&at->work, at->where, "it is not there");
}

static void crash_and_compare(faulty *at) {
    static const dbk_sim_crash_kind crashes[] = {DBK_SIM_POWER_LOSS, DBK_SIM_POWER_LOSS_DROP_ALL,
                                                 DBK_SIM_KILL};
    static shown seen, left;
    if (!shown_take(&at->work, &seen, at->where)) workload_fail(&at->work, at->where, "reading");
    dbk_sim_stop_now(at->work.sim);
    (void)workload_close(&at->work);
    dbk_sim_crash(at->work.sim, crashes[chance_below(&at->source, 3)]);
    dbk_sim_evict(at->work.sim);
    must_open(at, "after the crash at the end");
    if (!shown_take(&at->work, &left, at->where)) workload_fail(&at->work, at->where, "reading");
    if (!shown_same(&seen, &left, true)) {
        shown_explain(&seen, &left, true);
        workload_fail(&at->work, at->where, "the crash at the end took what was there");
    }
    if (workload_close(&at->work) != DAYBOOK_OK) workload_fail(&at->work, at->where, "closing");
    workload_verify(&at->work, at->where);
    if (dbk_sim_open_files(at->work.sim) != 0 || dbk_sim_open_maps(at->work.sim) != 0)
        workload_fail(&at->work, at->where, "files or maps are left open");
}

static void end_fault(faulty *at) {
    dbk_sim_clear_faults(at->work.sim);
}

static void after_failed_open(faulty *at, fault_kind *kind, daybook_status status) {
    kind->failed_opens++;
    check_error(at, "opening", status);
    end_fault(at);
    open_again(at, "after the fault is over");
    if (at->step->run != workload_steps[0].run) take_again(at, "after opening failed");
}

static void after_failed_step(faulty *at, fault_kind *kind, daybook_status status) {
    kind->failed_steps++;
    check_error(at, at->step->kind, status);
    end_fault(at);
    if (at->work.store == NULL) {
        open_again(at, "after the step that opens failed");
    } else {
        bool is_there = look(at, "after a failed step");
        bool has_effect = !shown_same_events(at->before, at->after, false);
        if (is_there && has_effect && status == DAYBOOK_EUNCERTAIN)
            workload_fail(&at->work, at->where, "what is uncertain is shown");
        if (is_poisoned(at)) {
            kind->poisoned++;
            status = workload_append_after(&at->work, 9);
            if (status != DAYBOOK_EPOISONED)
                workload_fail(&at->work, at->where, "a poisoned store gives %s", daybook_status_name(status));
            open_again(at, "after it was poisoned");
        }
    }
    kind->happened += look(at, "after the fault");
    take_again(at, "after the fault");
}

// Opens and does what comes before the step, where nothing may fail.
static void lead_in(faulty *at) {
    must_open(at, "at the beginning");
    for (const workload_step *step = at->step - at->lead; step < at->step; step++) {
        daybook_status status = step->run(&at->work, step->number);
        if (status != DAYBOOK_OK)
            workload_fail(&at->work, at->where, "a step before (%s): %s", step->kind,
                          daybook_status_name(status));
    }
}

// Whether the fault struck.
static bool run_case(faulty *at, fault_kind *kind, dbk_sim *disk, bool is_first, uint64_t nth,
                     bool is_forever) {
    dbk_sim *sim = NULL;
    if (dbk_sim_clone(disk, chance_next(&at->source), &sim) != DAYBOOK_OK) abort();
    workload_init(&at->work, sim);
    dbk_sim_set_wait_limit_ns(sim, 0);
    dbk_sim_set_failed_sync_kept(sim, (unsigned)chance_below(&at->source, 3) * 50);
    const dbk_sim_fault fault = {
        .kind = kind->kind, .nth = nth, .is_forever = is_forever, .error = kind->error};
    if (at->lead > 0) lead_in(at);
    if (dbk_sim_fail(sim, &fault) != DAYBOOK_OK) abort();
    daybook_status status = is_first || at->lead > 0 ? DAYBOOK_OK : workload_open(&at->work);
    if (status != DAYBOOK_OK) {
        after_failed_open(at, kind, status);
    } else {
        status = at->step->run(&at->work, at->step->number);
        if (status != DAYBOOK_OK) {
            after_failed_step(at, kind, status);
        } else {
            end_fault(at);
            if (!look(at, "after the step"))
                workload_fail(&at->work, at->where, "a step that is done is not there");
        }
    }
    bool has_struck = dbk_sim_fault_hits(sim) > 0;
    if (has_struck) crash_and_compare(at);
    if (at->work.store != NULL) (void)workload_close(&at->work);
    dbk_sim_free(sim);
    return has_struck;
}

// ---- All cases ------------------------------------------------------------------------------------------

enum { LEAD_MAX = 5 };

typedef struct run {
    uint64_t seed, stride, last_case, case_number;
    dbk_sim *disks[LEAD_MAX + 1]; // as they were this many steps ago
} run;

// EINTR from then on is no fault a system has.
static bool can_last(const fault_kind *kind) {
    return kind->error != EINTR;
}

static void run_faults(run *whole, size_t lead, size_t step, const shown *before, const shown *after) {
    for (size_t k = 0; k < KIND_COUNT; k++) {
        for (int is_forever = 0; is_forever <= can_last(&kinds[k]); is_forever++) {
            chance offset = {.state = whole->seed * 977 + (step * KIND_COUNT + k) * 2 + (unsigned)is_forever};
            bool has_struck = true;
            for (uint64_t nth = 1 + chance_below(&offset, whole->stride); has_struck; nth += whole->stride) {
                uint64_t number = ++whole->case_number;
                if (whole->last_case != 0 && number > whole->last_case) return;
                faulty at = {.source = {.state = whole->seed * 1000003 + number},
                             .step = &workload_steps[step],
                             .lead = lead,
                             .before = before,
                             .after = after};
                (void)snprintf(at.where, sizeof at.where,
                               "DAYBOOK_SEED=%" PRIu64 " DAYBOOK_STRIDE=%" PRIu64 " DAYBOOK_CASE=%" PRIu64
                               " (step %zu, %zu steps after opening, %s, %s at call %" PRIu64 "%s)",
                               whole->seed, whole->stride, number, step, lead, workload_steps[step].kind,
                               kinds[k].name, nth, is_forever ? " and from then on" : "");
                if (getenv("DAYBOOK_TRACE") != NULL) (void)fprintf(stderr, "%s\n", at.where);
                has_struck = run_case(&at, &kinds[k], whole->disks[lead], step == 0, nth, is_forever != 0);
                kinds[k].cases += has_struck;
            }
        }
    }
}

int main(void) {
    run whole = {.seed = number_from("DAYBOOK_SEED", (uint64_t)time(NULL)),
                 .stride = number_from("DAYBOOK_STRIDE", IS_SLOW_BUILD ? 70 : 10),
                 .last_case = number_from("DAYBOOK_CASE", 0)};
    printf("DAYBOOK_SEED=%" PRIu64 " DAYBOOK_STRIDE=%" PRIu64 "\n", whole.seed, whole.stride);
    (void)fflush(stdout);
    dbk_sim *sim = NULL;
    if (dbk_sim_new(1, &sim) != DAYBOOK_OK) return 1;
    static shown before, after;
    workload work;
    workload_init(&work, sim);
    for (size_t i = 0; i < workload_step_count; i++) {
        dbk_sim_free(whole.disks[LEAD_MAX]);
        memmove(&whole.disks[1], &whole.disks[0], LEAD_MAX * sizeof(dbk_sim *));
        if (dbk_sim_clone(sim, i, &whole.disks[0]) != DAYBOOK_OK) return 1;
        if (workload_steps[i].run(&work, workload_steps[i].number) != DAYBOOK_OK ||
            !shown_take(&work, &after, "workload"))
            workload_fail(&work, workload_steps[i].kind, "the workload itself fails");
        run_faults(&whole, 0, i, &before, &after);
        if (i > LEAD_MAX) run_faults(&whole, LEAD_MAX, i, &before, &after);
        shown_copy(&before, &after);
    }
    (void)workload_close(&work);
    for (size_t i = 0; i <= LEAD_MAX; i++) dbk_sim_free(whole.disks[i]);
    dbk_sim_free(sim);
    uint64_t cases = 0;
    for (size_t k = 0; k < KIND_COUNT; k++) {
        printf("%-16s %6" PRIu64 " cases: %6" PRIu64 " openings and %6" PRIu64 " steps failed, %5" PRIu64
               " poisoned, %5" PRIu64 " had happened\n",
               kinds[k].name, kinds[k].cases, kinds[k].failed_opens, kinds[k].failed_steps, kinds[k].poisoned,
               kinds[k].happened);
        cases += kinds[k].cases;
    }
    printf("%" PRIu64 " cases\n", cases);
    shown_deinit(&before);
    shown_deinit(&after);
    return 0;
}
