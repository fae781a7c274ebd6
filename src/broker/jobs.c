// SPDX-License-Identifier: Apache-2.0
// Workers, their queue, and the stack of finished jobs.
//
// One lock guards the lanes and the counts; workers sleep on one condition. What comes back uses no lock: a
// stack is pushed with compare-and-swap and taken whole with an exchange, so there is no ABA. Who pushed on
// an empty stack wakes the loop; whoever pushes after that finds it not empty, and the loop, which takes the
// stack only after the wake, finds both.
//
// Threads: as jobs.h says of each function.
#include "broker/jobs.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/assert.h"

enum { WORKERS_MAX = 64 };

// First in, first out.
typedef struct lane {
    dbk_job *first, *last;
} lane;

struct dbk_jobs {
    const daybook_allocator *allocator;
    void (*wake)(void *context);
    void *wake_context;
    _Atomic(dbk_job *) finished;

    pthread_mutex_t lock; // of what follows
    pthread_cond_t work;
    lane quick, slow, checks;
    unsigned slow_count, slow_max; // running
    unsigned check_count;          // running
    size_t waiting_count;          // submitted, not run to the end
    bool is_stopping;
    bool is_alone; // the workers are gone

    unsigned worker_count;
    pthread_t workers[WORKERS_MAX];
};

static void push_waiting(dbk_jobs *jobs, dbk_job *job) {
    lane *into = job->is_check ? &jobs->checks : job->is_slow ? &jobs->slow : &jobs->quick;
    job->next = NULL;
    if (into->last == NULL) {
        into->first = job;
    } else {
        into->last->next = job;
    }
    into->last = job;
}

static dbk_job *pop(lane *from) {
    dbk_job *job = from->first;
    if (job == NULL) return NULL;
    from->first = job->next;
    if (from->first == NULL) from->last = NULL;
    return job;
}

/// NULL: none may run now. One that has to wait is taken by who ends another of its kind. A check goes first:
/// the next one comes by way of the loop, and what waited meanwhile is taken before it.
static dbk_job *pop_waiting(dbk_jobs *jobs) {
    bool is_check = jobs->checks.first != NULL && jobs->check_count < DBK_JOBS_CHECKS_MAX;
    if (is_check) {
        jobs->check_count++;
        return pop(&jobs->checks);
    }
    bool may_be_slow = jobs->slow.first != NULL && jobs->slow_count < jobs->slow_max;
    bool is_slow = may_be_slow && (jobs->slow_count == 0 || jobs->quick.first == NULL);
    jobs->slow_count += is_slow;
    return pop(is_slow ? &jobs->slow : &jobs->quick);
}

/// Runs one and hands it back. Called without the lock, returns with it.
static void run_job(dbk_jobs *jobs, dbk_job *job) {
    if (job->run != NULL) job->run(job);
    pthread_mutex_lock(&jobs->lock);
    if (job->is_check) {
        jobs->check_count--;
    } else {
        jobs->slow_count -= job->is_slow;
    }
    jobs->waiting_count--; // before it is handed back: who has collected all finds none waiting
    dbk_jobs_finish(jobs, job);
}

static void *work(void *context) {
    dbk_jobs *jobs = context;
    pthread_mutex_lock(&jobs->lock);
    for (;;) {
        dbk_job *job = pop_waiting(jobs);
        if (job != NULL) {
            pthread_mutex_unlock(&jobs->lock);
            run_job(jobs, job);
        } else if (jobs->is_stopping && jobs->waiting_count == 0) {
            break;
        } else {
            pthread_cond_wait(&jobs->work, &jobs->lock);
        }
    }
    pthread_cond_broadcast(&jobs->work); // the others see that nothing is left
    pthread_mutex_unlock(&jobs->lock);
    return NULL;
}

daybook_status dbk_jobs_new(const daybook_allocator *allocator, unsigned worker_count,
                            void (*wake)(void *context), void *wake_context, dbk_jobs **jobs_out) {
    *jobs_out = NULL;
    dbk_jobs *jobs = dbk_alloc_zeroed(allocator, sizeof *jobs);
    if (jobs == NULL) return DAYBOOK_ENOMEM;
    jobs->allocator = allocator;
    jobs->wake = wake;
    jobs->wake_context = wake_context;
    atomic_init(&jobs->finished, NULL);
    if (pthread_mutex_init(&jobs->lock, NULL) != 0) goto no_lock;
    if (pthread_cond_init(&jobs->work, NULL) != 0) goto no_condition;
    DBK_ASSERT(worker_count > 0 && worker_count <= WORKERS_MAX);
    while (jobs->worker_count < worker_count) {
        if (pthread_create(&jobs->workers[jobs->worker_count], NULL, work, jobs) != 0) break;
        jobs->worker_count++;
    }
    if (jobs->worker_count == 0) goto no_workers; // fewer than wished do as well
    pthread_mutex_lock(&jobs->lock);
    jobs->slow_max = jobs->worker_count > 1 ? jobs->worker_count / 2 : 1;
    pthread_mutex_unlock(&jobs->lock);
    *jobs_out = jobs;
    return DAYBOOK_OK;

no_workers:
    pthread_cond_destroy(&jobs->work);
no_condition:
    pthread_mutex_destroy(&jobs->lock);
no_lock:
    dbk_free(allocator, jobs);
    return DAYBOOK_EIO;
}

void dbk_jobs_stop(dbk_jobs *jobs) {
    if (jobs == NULL) return;
    pthread_mutex_lock(&jobs->lock);
    jobs->is_stopping = true;
    pthread_cond_broadcast(&jobs->work);
    pthread_mutex_unlock(&jobs->lock);
    for (; jobs->worker_count > 0; jobs->worker_count--) {
        pthread_join(jobs->workers[jobs->worker_count - 1], NULL);
    }
    pthread_mutex_lock(&jobs->lock);
    jobs->is_alone = true;
    pthread_mutex_unlock(&jobs->lock);
}

void dbk_jobs_free(dbk_jobs *jobs) {
    if (jobs == NULL) return;
    DBK_ASSERT(jobs->worker_count == 0 && jobs->waiting_count == 0);
    pthread_cond_destroy(&jobs->work);
    pthread_mutex_destroy(&jobs->lock);
    dbk_free(jobs->allocator, jobs);
}

void dbk_jobs_submit(dbk_jobs *jobs, dbk_job *job) {
    pthread_mutex_lock(&jobs->lock);
    jobs->waiting_count++;
    push_waiting(jobs, job);
    if (!jobs->is_alone) {
        pthread_cond_signal(&jobs->work);
        pthread_mutex_unlock(&jobs->lock);
        return;
    }
    // Where the workers are gone what waits runs here.
    while ((job = pop_waiting(jobs)) != NULL) {
        pthread_mutex_unlock(&jobs->lock);
        run_job(jobs, job);
    }
    pthread_mutex_unlock(&jobs->lock);
}

void dbk_jobs_finish(dbk_jobs *jobs, dbk_job *job) {
    dbk_job *top = atomic_load_explicit(&jobs->finished, memory_order_relaxed);
    do {
        job->next = top;
    } while (!atomic_compare_exchange_weak_explicit(&jobs->finished, &top, job, memory_order_release,
                                                    memory_order_relaxed));
    // `job` may be gone by now.
    if (top == NULL) jobs->wake(jobs->wake_context);
}

size_t dbk_jobs_collect(dbk_jobs *jobs) {
    dbk_job *job = atomic_exchange_explicit(&jobs->finished, NULL, memory_order_acquire);
    dbk_job *oldest = NULL;
    while (job != NULL) {
        dbk_job *next = job->next;
        job->next = oldest;
        oldest = job;
        job = next;
    }
    size_t count = 0;
    for (; oldest != NULL; count++) {
        job = oldest;
        oldest = job->next;
        job->done(job);
    }
    return count;
}
