// SPDX-License-Identifier: Apache-2.0
// Work that may wait for the disk or compute for long, away from the loop, and its way back.
//
// Slow jobs (API calls, reads) have half of the workers at most, so that the others are always there for what
// should go on: publishes and deliveries. Where no slow job runs the next one comes first, so that neither
// kind starves.
//
// Checks of passwords stand in a lane of their own, DBK_JOBS_CHECKS_MAX run at a time, and they take no slow
// job's place: who may not come in can ask for them without end, and shall hold up nobody who is in.
//
// A job is embedded in what it works for and allocates nothing. `run` is called on a worker, `done`
// afterwards on the loop; whoever has no worker's part (the store's commit thread, say) calls dbk_jobs_finish
// alone. Finished jobs are pushed on a stack without a lock; the loop is woken only by who finds the stack
// empty, so that a group of a hundred acknowledgements costs one wake-up. The loop takes the whole stack and
// calls `done` in the order of finishing.
#ifndef DBK_BROKER_JOBS_H
#define DBK_BROKER_JOBS_H

#include <stdbool.h>

#include "base/memory.h"

enum { DBK_JOBS_CHECKS_MAX = 1 };

typedef struct dbk_job dbk_job;
struct dbk_job {
    dbk_job *next;              // of the lane or stack it is in
    bool is_slow;               // may read or compute for long; set before it is submitted
    bool is_check;              // of a password: not a slow one besides; set before it is submitted
    void (*run)(dbk_job *job);  // on a worker; may be NULL for what only finishes
    void (*done)(dbk_job *job); // on the loop; may free the job
};

typedef struct dbk_jobs dbk_jobs;

/// Starts the workers. `wake` is called from any thread when finished jobs wait: it must make the loop call
/// dbk_jobs_collect soon. EIO where threads cannot be had, ENOMEM.
daybook_status dbk_jobs_new(const daybook_allocator *allocator, unsigned worker_count,
                            void (*wake)(void *context), void *wake_context, dbk_jobs **jobs_out);
/// Lets workers finish all that was submitted, and ends them. `done` of these is still to be called by
/// dbk_jobs_collect. Later submissions run in the calling thread.
void dbk_jobs_stop(dbk_jobs *jobs);
/// After dbk_jobs_stop and a last dbk_jobs_collect. NULL is fine.
void dbk_jobs_free(dbk_jobs *jobs);

/// Any worker, in any order. From any thread. The caller sets run, done, is_slow and is_check.
void dbk_jobs_submit(dbk_jobs *jobs, dbk_job *job);
/// `done` will be called on the loop. From any thread; once per job.
void dbk_jobs_finish(dbk_jobs *jobs, dbk_job *job);
/// Calls `done` of all that are finished now; how many. What finishes meanwhile wakes the loop again. Loop
/// only.
size_t dbk_jobs_collect(dbk_jobs *jobs);

#endif
