// SPDX-License-Identifier: Apache-2.0
// Crashes at random I/O steps. The driver of tests/model works on a simulated disk that stops in the middle
// of a change; then power fails or the process dies, and the store must open by itself with everything
// acknowledged, the operation under way wholly there or wholly absent, nothing removed come back, nothing
// invented, and work on. Opening may crash again, three deep. All that the driver compares is the oracle: it
// knows nothing of files.
//
// A third of the seeds has background threads; there a crash also meets flush and merge in the middle, but a
// seed does not repeat exactly.
//
// DAYBOOK_SEED   first seed; default: from the clock, printed
// DAYBOOK_SEEDS  how many; default: as many as fit into DAYBOOK_SECONDS (default 20, instrumented 12)
// DAYBOOK_CRASHES  crashes of one seed; default 12
// DAYBOOK_TRACE  set: says what each operation changes
// DAYBOOK_CHECK_EACH  set: compares everything after each operation
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/slow_build.h"
#include "model/driver.h"

enum { CRASHES_IN_RECOVERY_MAX = 3, STEPS_BETWEEN_MAX = 400 };

static uint64_t number(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text == NULL || *text == '\0' ? otherwise : strtoull(text, NULL, 10);
}

typedef struct tally {
    driver_counts counts;
    uint64_t crashes, power_losses, in_recovery, during[8];
} tally;

// Far or near: early steps meet what follows an opening, late ones flush, merge and the journal's laps.
static uint64_t random_stop(random_source *random) {
    switch (random_below(random, 4)) {
    case 0:
        return random_below(random, 20) + 1;
    case 1:
        return random_below(random, 200) + 1;
    default:
        return random_below(random, 2000) + 1;
    }
}

static void crash(dbk_sim *sim, random_source *random, tally *sum) {
    static const dbk_sim_crash_kind kinds[] = {DBK_SIM_POWER_LOSS,          DBK_SIM_POWER_LOSS,
                                               DBK_SIM_POWER_LOSS,          DBK_SIM_KILL,
                                               DBK_SIM_POWER_LOSS_KEEP_ALL, DBK_SIM_POWER_LOSS_DROP_ALL};
    dbk_sim_crash_kind kind = kinds[random_below(random, sizeof kinds / sizeof *kinds)];
    sum->crashes++;
    if (getenv("DAYBOOK_TRACE") != NULL) (void)fprintf(stderr, "crash of kind %d\n", (int)kind);
    sum->power_losses += kind != DBK_SIM_KILL;
    dbk_sim_crash(sim, kind);
}

static void reopen(driver *driven, random_source *random, tally *sum) {
    dbk_sim *sim = driven->options.sim;
    for (int depth = 0; depth < CRASHES_IN_RECOVERY_MAX && random_percent(random, 40); depth++) {
        dbk_sim_stop_after(sim, random_below(random, 25) + 1);
        bool opened = driver_open(driven);
        if (opened && random_percent(random, 50)) {
            dbk_sim_stop_after(sim, 0);
            if (!dbk_sim_is_stopped(sim)) {
                // Nothing was in the way.
                driver_close(driven);
                continue;
            }
        }
        dbk_sim_stop_now(sim);
        driver_close(driven);
        sum->in_recovery++;
        crash(sim, random, sum);
    }
    driven->operation = "opening after a crash";
    if (!driver_open(driven)) driver_fail(driven, "the store does not open after a crash");
    driver_recover(driven);
}

static void run(uint64_t seed, uint64_t crashes, tally *sum) {
    char repeat[128];
    (void)snprintf(repeat, sizeof repeat,
                   "DAYBOOK_SEED=%" PRIu64 " DAYBOOK_SEEDS=1 DAYBOOK_CRASHES=%" PRIu64 " test_sim", seed,
                   crashes);
    random_source random;
    random_init(&random, seed ^ UINT64_C(0x5117));
    bool background = seed % 3 == 2;
    driver_options options = {
        .seed = seed,
        .path = "store",
        .open_flags = background ? 0 : DAYBOOK_OPEN_NO_BACKGROUND,
        .memtable_bytes = 256 << 10,
        .journal_max_bytes = 4 << 20,
        .segment_max_bytes = seed % 2 == 0 ? 1 << 20 : 64 << 20,
        .has_ages = !background,
        .has_subject_limits = true,
        .heavy = seed % 5 != 0,
        .repeat = repeat,
    };
    if (dbk_sim_new(seed, &options.sim) != DAYBOOK_OK) abort();
    dbk_sim_set_direct(options.sim, seed % 7 != 0);
    dbk_sim_set_short_transfers(options.sim, seed % 4 == 0 ? 5 : 0);
    driver driven;
    driver_init(&driven, &options);
    // The first opening creates the store: it too may be cut short.
    dbk_sim_stop_after(options.sim, random_below(&random, 60));
    if (!driver_open(&driven) || dbk_sim_is_stopped(options.sim)) {
        dbk_sim_stop_now(options.sim);
        driver_close(&driven);
        crash(options.sim, &random, sum);
        reopen(&driven, &random, sum);
    }
    for (uint64_t i = 0; i < crashes; i++) {
        dbk_sim_stop_after(options.sim, random_stop(&random));
        uint64_t steps = random_below(&random, STEPS_BETWEEN_MAX) + 1;
        for (uint64_t step = 0; step < steps && !driven.broken; step++) {
            driver_change(&driven);
            if (getenv("DAYBOOK_CHECK_EACH") != NULL && !driven.broken) driver_check_all(&driven);
        }
        sum->during[driven.broken ? driven.pending : 0]++;
        dbk_sim_stop_now(options.sim);
        driver_close(&driven);
        crash(options.sim, &random, sum);
        reopen(&driven, &random, sum);
        for (uint64_t step = 0; step < 20; step++) {
            driver_change(&driven);
            if (getenv("DAYBOOK_CHECK_EACH") != NULL) driver_check_all(&driven);
        }
        driver_check_all(&driven);
    }
    driver_close(&driven);
    driver_verify(&driven);
    driver_add_counts(&sum->counts, &driven.counts);
    driver_deinit(&driven);
    dbk_sim_free(options.sim);
}

int main(void) {
    uint64_t seed = number("DAYBOOK_SEED", (uint64_t)time(NULL) * 1000);
    uint64_t seeds = number("DAYBOOK_SEEDS", 0), seconds = number("DAYBOOK_SECONDS", IS_SLOW_BUILD ? 12 : 20);
    uint64_t crashes = number("DAYBOOK_CRASHES", 12), done = 0;
    tally sum;
    memset(&sum, 0, sizeof sum);
    time_t end = time(NULL) + (time_t)seconds;
    for (; seeds > 0 ? done < seeds : time(NULL) < end; done++) {
        printf("seed %" PRIu64 "\n", seed + done);
        (void)fflush(stdout);
        run(seed + done, crashes, &sum);
    }
    driver_print_counts(&sum.counts, "sim");
    printf("%" PRIu64 " seeds from %" PRIu64 ", %" PRIu64 " crashes (%" PRIu64 " power losses, %" PRIu64
           " while opening), under way: append %" PRIu64 ", delete %" PRIu64 ", purge %" PRIu64
           ", stream %" PRIu64 ", other %" PRIu64 "\n",
           done, seed, sum.crashes, sum.power_losses, sum.in_recovery, sum.during[PENDING_APPEND],
           sum.during[PENDING_DELETE], sum.during[PENDING_PURGE],
           sum.during[PENDING_ADD] + sum.during[PENDING_UPDATE] + sum.during[PENDING_REMOVE], sum.during[0]);
    return 0;
}
