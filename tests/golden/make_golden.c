// SPDX-License-Identifier: Apache-2.0
// Makes the golden store of this format in an absent directory: the workload of tests/sim without what only
// fills the journal, left as a killed process leaves it. The clock and all randomness are simulated, so that
// the same program makes the same bytes. Called by tools/make-golden.
#include <stdio.h>
#include <string.h>

#include "sim/golden.h"
#include "sim/workload.h"

static void must(workload *work, daybook_status status, const char *what) {
    if (status != DAYBOOK_OK) workload_fail(work, "golden", "%s: %s", what, daybook_status_name(status));
}

// A second segment, deletion files beside both, and events in the journal.
static void add_segment(workload *work) {
    for (unsigned i = 100; i < 140; i++) must(work, workload_append_after(work, i), "append");
    must(work, daybook_flush(work->store, &work->error), "flush");
    must(work, daybook_event_remove(work->store, daybook_text("AFTER"), 7, 0, &work->error), "delete");
    must(work, daybook_event_remove(work->store, daybook_text("ORDERS"), 24, 0, &work->error), "delete");
    for (unsigned i = 140; i < 150; i++) must(work, workload_append_after(work, i), "append");
    must(work, daybook_flush(work->store, &work->error), "flush");
    for (unsigned i = 150; i < 160; i++) must(work, workload_append_after(work, i), "append");
    must(work, daybook_event_remove(work->store, daybook_text("AFTER"), 9, 0, &work->error), "delete");
    must(work, daybook_event_remove(work->store, daybook_text("AFTER"), 55, 0, &work->error), "delete");
}

int main(int argc, char **argv) {
    if (argc != 2) {
        (void)fprintf(stderr, "usage: make_golden DIRECTORY\n");
        return 2;
    }
    dbk_sim *sim = NULL;
    if (dbk_sim_new(1, &sim) != DAYBOOK_OK) return 1;
    workload work;
    workload_init(&work, sim);
    for (size_t i = 0; i < workload_step_count; i++) {
        const workload_step *step = &workload_steps[i];
        if (strcmp(step->kind, "wrap") == 0 || strcmp(step->kind, "maintain") == 0) continue;
        daybook_status status = step->run(&work, step->number);
        if (status != DAYBOOK_OK)
            workload_fail(&work, step->kind, "step %zu: %s", i, daybook_status_name(status));
    }
    add_segment(&work);
    dbk_sim_stop_now(sim);
    (void)workload_close(&work);
    dbk_sim_crash(sim, DBK_SIM_KILL);
    golden_save(sim, WORKLOAD_PATH, argv[1]);
    dbk_sim_free(sim);
    return 0;
}
