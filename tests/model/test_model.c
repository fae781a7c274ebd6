// SPDX-License-Identifier: Apache-2.0
// The store against the naive model: random operations, every answer compared. Each seed decides the
// surroundings too: a simulated disk without background threads (flush and merge come from the same random
// numbers, so that a seed repeats exactly), or a directory with them.
//
// Started as test_model_faults, calls of the system fail under a third of the operations, all on the simulated disk;
// a third of the seeds then has background threads, and does not repeat exactly.
//
// DAYBOOK_SEED   first seed; default: from the clock, printed
// DAYBOOK_SEEDS  how many; default: as many as fit into DAYBOOK_SECONDS (default 20, instrumented 12)
// DAYBOOK_STEPS  operations of one seed; default 1,500
// DAYBOOK_TRACE  set: says what each operation changes
// DAYBOOK_CHECK_EACH  set: compares everything after each operation (and what the seed does stays the same)
#define _POSIX_C_SOURCE 200809L // clock_gettime

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/folder.h"
#include "lib/slow_build.h"
#include "model/driver.h"

static uint64_t number(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text == NULL || *text == '\0' ? otherwise : strtoull(text, NULL, 10);
}

static void run(uint64_t seed, uint64_t steps, bool has_faults, driver_counts *sum) {
    char repeat[128], path[64];
    (void)snprintf(repeat, sizeof repeat,
                   "DAYBOOK_SEED=%" PRIu64 " DAYBOOK_SEEDS=1 DAYBOOK_STEPS=%" PRIu64 " test_model%s", seed,
                   steps, has_faults ? "_faults" : "");
    bool on_disk = !has_faults && seed % 4 == 3;
    bool has_background = has_faults ? seed % 3 == 2 : on_disk;
    driver_options options = {
        .seed = seed,
        .path = "store",
        .open_flags = has_background ? 0 : DAYBOOK_OPEN_NO_BACKGROUND,
        .memtable_bytes = 256 << 10,
        .journal_max_bytes = 4 << 20,
        .segment_max_bytes = seed % 3 == 0 ? 1 << 20 : 64 << 20,
        .has_ages = !has_background,
        .has_subject_limits = true,
        .heavy = seed % 2 == 0,
        .repeat = repeat,
    };
    if (on_disk) {
        if (!folder_make("model-test", path, sizeof path)) abort();
        options.path = path;
    } else if (dbk_sim_new(seed, &options.sim) != DAYBOOK_OK) {
        abort();
    }
    driver driven;
    driver_init(&driven, &options);
    (void)driver_open(&driven);
    for (uint64_t i = 0; i < steps; i++) {
        if (has_faults && random_percent(&driven.random, 33))
            driver_step_with_fault(&driven);
        else
            driver_step(&driven);
        if (getenv("DAYBOOK_CHECK_EACH") != NULL) driver_check_all(&driven);
    }
    driver_check_all(&driven);
    driver_close(&driven);
    driver_verify(&driven);
    driver_add_counts(sum, &driven.counts);
    driver_deinit(&driven);
    if (on_disk) (void)folder_remove(path);
    if (options.sim != NULL && (dbk_sim_open_files(options.sim) > 0 || dbk_sim_open_maps(options.sim) > 0))
        driver_fail(&driven, "%u files and %u maps are left open", dbk_sim_open_files(options.sim),
                    dbk_sim_open_maps(options.sim));
    dbk_sim_free(options.sim);
}

int main(int argument_count, char **arguments) {
    const char *name = argument_count == 0 ? "" : strrchr(arguments[0], '/');
    bool has_faults = strstr(name != NULL ? name : arguments[0], "test_model_faults") != NULL;
    uint64_t seed = number("DAYBOOK_SEED", (uint64_t)time(NULL) * 1000);
    uint64_t seeds = number("DAYBOOK_SEEDS", 0), seconds = number("DAYBOOK_SECONDS", IS_SLOW_BUILD ? 12 : 20);
    uint64_t steps = number("DAYBOOK_STEPS", 1500), done = 0;
    driver_counts sum;
    memset(&sum, 0, sizeof sum);
    time_t end = time(NULL) + (time_t)seconds;
    for (; seeds > 0 ? done < seeds : time(NULL) < end; done++) {
        printf("seed %" PRIu64 "\n", seed + done);
        (void)fflush(stdout);
        run(seed + done, steps, has_faults, &sum);
    }
    printf("%" PRIu64 " seeds from %" PRIu64 "\n", done, seed);
    driver_print_counts(&sum, has_faults ? "model with faults" : "model");
    return 0;
}
