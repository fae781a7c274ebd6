// SPDX-License-Identifier: Apache-2.0
// The system fails whoever reads, follows, closes, verifies, repairs, rebuilds, backs up or restores: each
// call of the vfs with each error, once or from then on, half of the cases with transfers that move less than
// asked. (test_errors.c does the same to what changes a store.) Whatever happens:
//
//   - the status is OK or one for operating errors, with a message
//   - when the fault is over the same call is answered, and the store shows what it showed before (or what a
//     repair kept, that said it could not read the rest)
//   - a follower gets each event once, in order, whatever failed in between
//   - no file and no map is left open
//
// DAYBOOK_SEED    default: from the clock, printed
// DAYBOOK_STRIDE  every how manyth N; default 7, instrumented 50, from a random one on; twice that for a rebuild, which
//                 makes more calls than all else, and a third of it for the others
// DAYBOOK_CASE    end behind this case, as a failure names it (with its seed and stride)
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/slow_build.h"
#include "sim/workload.h"

typedef struct care {
    workload work;
    char where[200];
    daybook_store *reader; // another process
    daybook_cursor *cursor;
    uint64_t followed; // position of the last event the follower got
    bool has_left_out; // repair said that it left out what it could not read
} care;

typedef struct phase {
    const char *name;
    void (*prepare)(care *at);       // nothing fails yet
    daybook_status (*act)(care *at); // may be called again after a failure
    uint64_t cases, failed;
} phase;

static const struct {
    dbk_sim_kind kind;
    const char *name;
} calls[] = {
    {DBK_SIM_OPEN, "open"},
    {DBK_SIM_READ, "read"},
    {DBK_SIM_WRITE, "write"},
    {DBK_SIM_SYNC, "sync"},
    {DBK_SIM_TRUNCATE, "truncate"},
    {DBK_SIM_FILE_SIZE, "size"},
    {DBK_SIM_LOCK, "lock"},
    {DBK_SIM_MAP, "map"},
    {DBK_SIM_RENAME, "rename"},
    {DBK_SIM_LINK, "link"},
    {DBK_SIM_UNLINK, "unlink"},
    {DBK_SIM_MAKE_DIRECTORY, "mkdir"},
    {DBK_SIM_REMOVE_DIRECTORY, "rmdir"},
    {DBK_SIM_SYNC_DIRECTORY, "dirsync"},
    {DBK_SIM_LIST, "list"},
    {DBK_SIM_FREE_BYTES, "free"},
};
static const struct {
    int number;
    const char *name;
} errors[] = {{EIO, "EIO"}, {ENOSPC, "ENOSPC"}, {EMFILE, "EMFILE"}, {EINTR, "EINTR"}};

static void must(care *at, const char *what, daybook_status status) {
    if (status != DAYBOOK_OK)
        workload_fail(&at->work, at->where, "%s: %s", what, daybook_status_name(status));
}

// ---- Phases -----------------------------------------------------------------------------------------------

static void prepare_open(care *at) {
    must(at, "opening", workload_open(&at->work));
}

static void prepare_nothing(care *at) {
    (void)at;
}

static daybook_status act_read(care *at) {
    static shown seen;
    return shown_take(&at->work, &seen, at->where) ? DAYBOOK_OK : at->work.error.status;
}

static void prepare_close(care *at) {
    prepare_open(at);
    must(at, "appending", workload_append_after(&at->work, 7));
}

// A store that closed with an error is closed.
static daybook_status act_close(care *at) {
    return at->work.store == NULL ? DAYBOOK_OK : workload_close(&at->work);
}

static void note(void *context, const daybook_finding *finding) {
    care *at = context;
    at->has_left_out = at->has_left_out || finding->is_damage;
}

static daybook_status act_verify(care *at) {
    daybook_open_options options;
    workload_open_options(&at->work, &options);
    return daybook_verify(WORKLOAD_PATH, &options, note, at, NULL, NULL, &at->work.error);
}

static daybook_status repair(care *at, int dry_run) {
    daybook_open_options options;
    workload_open_options(&at->work, &options);
    return daybook_repair(WORKLOAD_PATH, &options, dry_run, note, at, &at->work.error);
}

static daybook_status act_repair(care *at) {
    return repair(at, 0);
}

static daybook_status act_look_at_repair(care *at) {
    return repair(at, 1);
}

static daybook_status act_rebuild(care *at) {
    daybook_open_options options;
    workload_open_options(&at->work, &options);
    return daybook_rebuild(WORKLOAD_PATH, &options, 0, note, at, &at->work.error);
}

static daybook_status act_backup(care *at) {
    return daybook_backup(at->work.store, "/backup", NULL, NULL, &at->work.error);
}

static void prepare_restore(care *at) {
    prepare_open(at);
    must(at, "backing up", act_backup(at));
    must(at, "closing", workload_close(&at->work));
}

static daybook_status act_restore(care *at) {
    daybook_open_options options;
    workload_open_options(&at->work, &options);
    daybook_status status = daybook_restore("/backup", "/restored", &options, NULL, NULL, &at->work.error);
    // What was there before the failure is no empty directory; the message says so.
    return status == DAYBOOK_EEXISTS ? DAYBOOK_OK : status;
}

// ---- A follower in another process ------------------------------------------------------------------------

static void prepare_follower(care *at) {
    prepare_open(at);
    must(at, "appending", workload_append_after(&at->work, 3));
    daybook_open_options options;
    workload_open_options(&at->work, &options);
    options.flags |= DAYBOOK_OPEN_READ_ONLY;
    options.vfs = dbk_sim_process(at->work.sim, 1);
    must(at, "opening the reader", daybook_open(WORKLOAD_PATH, &options, &at->reader, &at->work.error));
    daybook_query query;
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_FOLLOW;
    must(at, "following", daybook_read(at->reader, &query, &at->cursor, &at->work.error));
    for (unsigned i = 0; i < 3; i++) must(at, "appending", workload_append_after(&at->work, 4 + i));
    must(at, "flushing", daybook_flush(at->work.store, &at->work.error));
    must(at, "appending", workload_append_after(&at->work, 8));
}

static daybook_status act_follow(care *at) {
    daybook_recorded_event event;
    daybook_status status;
    while ((status = daybook_cursor_next(at->cursor, 0, &event, &at->work.error)) == DAYBOOK_OK) {
        if (event.position <= at->followed)
            workload_fail(&at->work, at->where, "the follower gets position %" PRIu64 " behind %" PRIu64,
                          event.position, at->followed);
        at->followed = event.position;
    }
    return status == DAYBOOK_TIMEOUT ? DAYBOOK_OK : status;
}

static void end_follower(care *at, bool was_damaged) {
    if (at->reader == NULL) return;
    // What could not be read is left out where the follower was told so.
    daybook_query newest;
    daybook_query_init(&newest);
    newest.flags = DAYBOOK_QUERY_REVERSE;
    daybook_cursor *cursor = NULL;
    daybook_recorded_event event;
    must(at, "looking for the newest", daybook_read(at->work.store, &newest, &cursor, &at->work.error));
    must(at, "looking for the newest", daybook_cursor_next(cursor, 0, &event, &at->work.error));
    if (!was_damaged && at->followed != event.position)
        workload_fail(&at->work, at->where, "the follower ends at %" PRIu64 " of %" PRIu64, at->followed,
                      event.position);
    daybook_cursor_close(cursor);
    daybook_cursor_close(at->cursor);
    must(at, "closing the reader", daybook_close(at->reader, &at->work.error));
}

static phase phases[] = {
    {.name = "read", .prepare = prepare_open, .act = act_read},
    {.name = "follow", .prepare = prepare_follower, .act = act_follow},
    {.name = "close", .prepare = prepare_close, .act = act_close},
    {.name = "verify", .prepare = prepare_nothing, .act = act_verify},
    {.name = "repair, dry", .prepare = prepare_nothing, .act = act_look_at_repair},
    {.name = "repair", .prepare = prepare_nothing, .act = act_repair},
    {.name = "rebuild", .prepare = prepare_nothing, .act = act_rebuild},
    {.name = "backup", .prepare = prepare_open, .act = act_backup},
    {.name = "restore", .prepare = prepare_restore, .act = act_restore},
};
enum { PHASE_COUNT = sizeof phases / sizeof *phases };

// ---- Cases ------------------------------------------------------------------------------------------------

static void check_left(care *at, bool is_repaired, const shown *expected) {
    static shown now;
    // A repair that could not read a part is right to go on without it: what it kept must be sound.
    if (is_repaired && at->has_left_out) {
        must(at, "opening what was repaired", workload_open(&at->work));
        must(at, "closing what was repaired", workload_close(&at->work));
        workload_verify(&at->work, at->where);
        return;
    }
    if (at->work.store == NULL) must(at, "opening afterwards", workload_open(&at->work));
    if (!shown_take(&at->work, &now, at->where)) workload_fail(&at->work, at->where, "reading afterwards");
    if (!shown_same(expected, &now, true)) {
        shown_explain(expected, &now, true);
        workload_fail(&at->work, at->where, "the store shows something else afterwards");
    }
    must(at, "closing afterwards", workload_close(&at->work));
    workload_verify(&at->work, at->where);
    if (dbk_sim_open_files(at->work.sim) != 0 || dbk_sim_open_maps(at->work.sim) != 0)
        workload_fail(&at->work, at->where, "files or maps are left open");
}

// Whether the fault struck.
static bool run_case(phase *in, dbk_sim *disk, const dbk_sim_fault *fault, chance *source,
                     const char *where) {
    dbk_sim *sim = NULL;
    static shown expected;
    if (dbk_sim_clone(disk, chance_next(source), &sim) != DAYBOOK_OK) abort();
    care at = {.followed = 0};
    workload_init(&at.work, sim);
    (void)snprintf(at.where, sizeof at.where, "%s", where);
    dbk_sim_set_wait_limit_ns(sim, 0);
    in->prepare(&at);
    bool was_open = at.work.store != NULL;
    if (!was_open) must(&at, "opening", workload_open(&at.work));
    if (!shown_take(&at.work, &expected, at.where)) workload_fail(&at.work, at.where, "reading");
    if (!was_open || in->act == act_read) must(&at, "closing", workload_close(&at.work));
    if (in->act == act_read) must(&at, "opening", workload_open(&at.work)); // with an empty cache

    if (chance_below(source, 2) == 0) dbk_sim_set_short_transfers(sim, 30);
    if (dbk_sim_fail(sim, fault) != DAYBOOK_OK) abort();
    daybook_status status = in->act(&at);
    bool has_struck = dbk_sim_fault_hits(sim) > 0;
    dbk_sim_clear_faults(sim);
    dbk_sim_set_short_transfers(sim, 0);
    if (status != DAYBOOK_OK) {
        in->failed++;
        if (!has_struck) must(&at, "without a fault", status);
        if (!workload_is_operating_error(status) || at.work.error.status != status ||
            at.work.error.message[0] == '\0')
            workload_fail(&at.work, at.where, "the call gives %s", daybook_status_name(status));
        must(&at, "when the fault is over", in->act(&at));
    }
    end_follower(&at, status == DAYBOOK_EDAMAGED);
    bool is_repaired = in->act == act_repair || in->act == act_rebuild;
    if (has_struck) check_left(&at, is_repaired, &expected);
    if (at.work.store != NULL) (void)workload_close(&at.work);
    dbk_sim_free(sim);
    return has_struck;
}

int main(void) {
    uint64_t seed = number_from("DAYBOOK_SEED", (uint64_t)time(NULL)),
             stride = number_from("DAYBOOK_STRIDE", IS_SLOW_BUILD ? 50 : 7),
             last_case = number_from("DAYBOOK_CASE", 0);
    printf("DAYBOOK_SEED=%" PRIu64 " DAYBOOK_STRIDE=%" PRIu64 "\n", seed, stride);
    (void)fflush(stdout);
    dbk_sim *disk = NULL;
    if (dbk_sim_new(1, &disk) != DAYBOOK_OK) return 1;
    workload work;
    workload_init(&work, disk);
    for (size_t i = 0; i < workload_step_count; i++)
        if (workload_steps[i].run(&work, workload_steps[i].number) != DAYBOOK_OK)
            workload_fail(&work, workload_steps[i].kind, "the workload itself fails");
    if (workload_close(&work) != DAYBOOK_OK) workload_fail(&work, "close", "the workload itself fails");

    uint64_t number = 0;
    for (size_t p = 0; p < PHASE_COUNT; p++) {
        // A rebuild makes more calls than all others together.
        uint64_t step = phases[p].act == act_rebuild ? 2 * stride : (stride + 2) / 3;
        for (size_t c = 0; c < sizeof calls / sizeof *calls; c++) {
            for (size_t e = 0; e < 2 * (sizeof errors / sizeof *errors); e++) {
                bool is_forever = e % 2 != 0;
                if (is_forever && errors[e / 2].number == EINTR) continue; // no system does
                bool has_struck = true;
                chance offset = {.state = seed * 31 + (p * 64 + c) * 8 + e};
                for (uint64_t nth = 1 + chance_below(&offset, step); has_struck; nth += step) {
                    if (last_case != 0 && number == last_case) return 0;
                    char where[160];
                    (void)snprintf(where, sizeof where,
                                   "DAYBOOK_SEED=%" PRIu64 " DAYBOOK_STRIDE=%" PRIu64 " DAYBOOK_CASE=%" PRIu64
                                   " (%s, %s %s at call %" PRIu64 "%s)",
                                   seed, stride, ++number, phases[p].name, calls[c].name, errors[e / 2].name,
                                   nth, is_forever ? " and from then on" : "");
                    if (getenv("DAYBOOK_TRACE") != NULL) (void)fprintf(stderr, "%s\n", where);
                    dbk_sim_fault fault = {.kind = calls[c].kind,
                                           .nth = nth,
                                           .is_forever = is_forever,
                                           .error = errors[e / 2].number};
                    chance source = {.state = seed * 1000003 + number};
                    has_struck = run_case(&phases[p], disk, &fault, &source, where);
                    phases[p].cases += has_struck;
                }
            }
        }
    }
    dbk_sim_free(disk);
    for (size_t p = 0; p < PHASE_COUNT; p++)
        printf("%-12s %6" PRIu64 " cases, %6" PRIu64 " of them failed\n", phases[p].name, phases[p].cases,
               phases[p].failed);
    return 0;
}
