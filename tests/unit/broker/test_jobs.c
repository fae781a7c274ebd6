// SPDX-License-Identifier: Apache-2.0
// Jobs: each runs once and comes back once, and the loop is woken for each group and not more.
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>

#include <cmocka.h>

#include "broker/jobs.h"
#include "broker/timer.h"
#include "lib/fault_allocator.h"

typedef struct waker {
    pthread_mutex_t lock;
    pthread_cond_t woken;
    unsigned count;
} waker;

static void wake(void *context) {
    waker *w = context;
    pthread_mutex_lock(&w->lock);
    w->count++;
    pthread_cond_signal(&w->woken);
    pthread_mutex_unlock(&w->lock);
}

static void waker_init(waker *w) {
    w->count = 0;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->woken, NULL);
}

static void wait_for_wake(waker *w) {
    pthread_mutex_lock(&w->lock);
    while (w->count == 0) pthread_cond_wait(&w->woken, &w->lock);
    w->count = 0;
    pthread_mutex_unlock(&w->lock);
}

typedef struct task {
    dbk_job job;
    unsigned number;
    atomic_uint run_count;
    unsigned done_count;
    atomic_uint *order; // number that may run next
    unsigned *done_order;
} task;

static void run_task(dbk_job *job) {
    task *t = DBK_OWNER(job, task, job);
    atomic_fetch_add(&t->run_count, 1);
    if (t->order != NULL) {
        // Nobody runs at the same time, nor before its turn.
        assert_int_equal(atomic_load(t->order), t->number);
        atomic_store(t->order, t->number + 1);
    }
}

static void end_task(dbk_job *job) {
    task *t = DBK_OWNER(job, task, job);
    t->done_count++;
    if (t->done_order != NULL) assert_int_equal((*t->done_order)++, t->number);
}

static void collect_all(dbk_jobs *jobs, waker *w, size_t count) {
    while (count > 0) {
        wait_for_wake(w);
        size_t got = dbk_jobs_collect(jobs);
        assert_true(got <= count);
        count -= got;
    }
}

static dbk_jobs *new_jobs(waker *w, unsigned workers) {
    dbk_jobs *jobs;
    waker_init(w);
    assert_int_equal(dbk_jobs_new(dbk_allocator_default(), workers, wake, w, &jobs), DAYBOOK_OK);
    return jobs;
}

static void end_jobs(dbk_jobs *jobs) {
    dbk_jobs_stop(jobs);
    assert_int_equal(dbk_jobs_collect(jobs), 0);
    dbk_jobs_free(jobs);
}

enum { TASKS = 2000 };

static void each_runs_once_and_comes_back_once(void **unused) {
    (void)unused;
    waker w;
    dbk_jobs *jobs = new_jobs(&w, 4);
    task *tasks = calloc(TASKS, sizeof *tasks);
    assert_non_null(tasks);
    for (unsigned i = 0; i < TASKS; i++) {
        tasks[i].job.run = run_task;
        tasks[i].job.done = end_task;
        dbk_jobs_submit(jobs, &tasks[i].job);
    }
    collect_all(jobs, &w, TASKS);
    for (unsigned i = 0; i < TASKS; i++) {
        assert_int_equal(atomic_load(&tasks[i].run_count), 1);
        assert_int_equal(tasks[i].done_count, 1);
    }
    end_jobs(jobs);
    free(tasks);
}

static void a_group_wakes_the_loop_once(void **unused) {
    (void)unused;
    waker w;
    dbk_jobs *jobs = new_jobs(&w, 1);
    task tasks[100];
    memset(tasks, 0, sizeof tasks);
    unsigned order = 0;
    for (unsigned i = 0; i < 100; i++) {
        tasks[i].job.done = end_task;
        tasks[i].number = i;
        tasks[i].done_order = &order;
        dbk_jobs_finish(jobs, &tasks[i].job);
    }
    assert_int_equal(w.count, 1);
    assert_int_equal(dbk_jobs_collect(jobs), 100); // in the order of finishing
    end_jobs(jobs);
}

static void stopping_finishes_what_was_submitted(void **unused) {
    (void)unused;
    waker w;
    dbk_jobs *jobs = new_jobs(&w, 2);
    task tasks[50];
    memset(tasks, 0, sizeof tasks);
    for (unsigned i = 0; i < 50; i++) {
        tasks[i].job.run = run_task;
        tasks[i].job.done = end_task;
        dbk_jobs_submit(jobs, &tasks[i].job);
    }
    dbk_jobs_stop(jobs);
    assert_int_equal(dbk_jobs_collect(jobs), 50);

    // Who comes after that works in the caller's thread.
    task late = {.job = {.run = run_task, .done = end_task}};
    dbk_jobs_submit(jobs, &late.job);
    assert_int_equal(atomic_load(&late.run_count), 1);
    assert_int_equal(dbk_jobs_collect(jobs), 1);
    assert_int_equal(late.done_count, 1);
    dbk_jobs_free(jobs);
}

// A worker that stands still until it is let go.
typedef struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned standing;
    bool is_open;
} gate;

typedef struct stander {
    dbk_job job;
    gate *gate;
} stander;

static void stand(dbk_job *job) {
    gate *at = DBK_OWNER(job, stander, job)->gate;
    pthread_mutex_lock(&at->lock);
    at->standing++;
    pthread_cond_broadcast(&at->changed);
    while (!at->is_open) pthread_cond_wait(&at->changed, &at->lock);
    pthread_mutex_unlock(&at->lock);
}

static void do_nothing(dbk_job *job) {
    (void)job;
}

static void gate_init(gate *at) {
    *at = (gate){.standing = 0};
    pthread_mutex_init(&at->lock, NULL);
    pthread_cond_init(&at->changed, NULL);
}

static void open_gate(gate *at) {
    pthread_mutex_lock(&at->lock);
    at->is_open = true;
    pthread_cond_broadcast(&at->changed);
    pthread_mutex_unlock(&at->lock);
}

// However many slow jobs wait, half of the workers are there for the others.
static void slow_jobs_leave_workers_to_the_others(void **unused) {
    (void)unused;
    enum { SLOW = 20, QUICK = 50 };
    waker w;
    dbk_jobs *jobs = new_jobs(&w, 4);
    gate at;
    gate_init(&at);
    stander slow[SLOW];
    memset(slow, 0, sizeof slow);
    for (unsigned i = 0; i < SLOW; i++) {
        slow[i] = (stander){.job = {.run = stand, .done = do_nothing, .is_slow = true}, .gate = &at};
        dbk_jobs_submit(jobs, &slow[i].job);
    }
    pthread_mutex_lock(&at.lock);
    while (at.standing < 2) pthread_cond_wait(&at.changed, &at.lock);
    pthread_mutex_unlock(&at.lock);
    task tasks[QUICK];
    memset(tasks, 0, sizeof tasks);
    for (unsigned i = 0; i < QUICK; i++) {
        tasks[i].job.run = run_task;
        tasks[i].job.done = end_task;
        dbk_jobs_submit(jobs, &tasks[i].job);
    }
    collect_all(jobs, &w, QUICK);
    pthread_mutex_lock(&at.lock);
    assert_int_equal(at.standing, 2);
    pthread_mutex_unlock(&at.lock);
    open_gate(&at);
    collect_all(jobs, &w, SLOW);
    end_jobs(jobs);
}

static void submit_standers(dbk_jobs *jobs, gate *at, stander *standers, size_t count, bool is_check) {
    for (size_t i = 0; i < count; i++) {
        standers[i] =
            (stander){.job = {.run = stand, .done = do_nothing, .is_slow = !is_check, .is_check = is_check},
                      .gate = at};
        dbk_jobs_submit(jobs, &standers[i].job);
    }
}

static void wait_for_standing(gate *at, unsigned count) {
    pthread_mutex_lock(&at->lock);
    while (at->standing < count) pthread_cond_wait(&at->changed, &at->lock);
    assert_int_equal(at->standing, count);
    pthread_mutex_unlock(&at->lock);
}

// However many passwords are tried, slow jobs have all their places, and the others theirs.
static void checks_take_no_place_of_slow_jobs(void **unused) {
    (void)unused;
    enum { CHECKS = 20, SLOW = 20, QUICK = 50 };
    waker w;
    dbk_jobs *jobs = new_jobs(&w, 5);
    gate checks_at, slow_at;
    gate_init(&checks_at);
    gate_init(&slow_at);
    stander checks[CHECKS], slow[SLOW];
    task first_slow = {.job = {.run = run_task, .done = end_task, .is_slow = true}};
    task tasks[QUICK];
    memset(tasks, 0, sizeof tasks);
    submit_standers(jobs, &checks_at, checks, CHECKS, true);
    wait_for_standing(&checks_at, DBK_JOBS_CHECKS_MAX);
    dbk_jobs_submit(jobs, &first_slow.job); // behind all of them, and it waits for none
    collect_all(jobs, &w, 1);
    assert_int_equal(first_slow.done_count, 1);
    submit_standers(jobs, &slow_at, slow, SLOW, false);
    wait_for_standing(&slow_at, 2);
    for (unsigned i = 0; i < QUICK; i++) {
        tasks[i].job.run = run_task;
        tasks[i].job.done = end_task;
        dbk_jobs_submit(jobs, &tasks[i].job);
    }
    collect_all(jobs, &w, QUICK);
    wait_for_standing(&checks_at, DBK_JOBS_CHECKS_MAX);
    wait_for_standing(&slow_at, 2);
    open_gate(&slow_at);
    collect_all(jobs, &w, SLOW);
    wait_for_standing(&checks_at, DBK_JOBS_CHECKS_MAX); // nor do they take more when nothing else is to do
    open_gate(&checks_at);
    collect_all(jobs, &w, CHECKS);
    end_jobs(jobs);
}

// Nor do the others keep slow ones from running.
static void quick_jobs_leave_a_worker_to_slow_ones(void **unused) {
    (void)unused;
    enum { QUICK = 20 };
    waker w;
    dbk_jobs *jobs = new_jobs(&w, 1);
    gate at;
    gate_init(&at);
    stander first = {.job = {.run = stand, .done = do_nothing}, .gate = &at};
    dbk_jobs_submit(jobs, &first.job);
    atomic_uint order;
    atomic_init(&order, 0);
    task tasks[QUICK + 1];
    memset(tasks, 0, sizeof tasks);
    for (unsigned i = 0; i <= QUICK;
         i++) { // the slow one comes last, and has not to wait for those before it
        tasks[i].job.run = run_task;
        tasks[i].job.done = end_task;
        tasks[i].job.is_slow = i == QUICK;
        tasks[i].number = i == QUICK ? 0 : i + 1;
        tasks[i].order = &order;
        dbk_jobs_submit(jobs, &tasks[i].job);
    }
    open_gate(&at);
    collect_all(jobs, &w, QUICK + 2);
    assert_int_equal(atomic_load(&tasks[QUICK].run_count), 1);
    end_jobs(jobs);
}

static void without_memory_there_are_none(void **unused) {
    (void)unused;
    fault_allocator faults;
    fault_allocator_init(&faults);
    fault_allocator_fail(&faults, 1, false);
    dbk_jobs *jobs;
    assert_int_equal(dbk_jobs_new(&faults.allocator, 1, wake, NULL, &jobs), DAYBOOK_ENOMEM);
    assert_null(jobs);
    assert_int_equal(fault_allocator_live(&faults), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_runs_once_and_comes_back_once),
        cmocka_unit_test(a_group_wakes_the_loop_once),
        cmocka_unit_test(stopping_finishes_what_was_submitted),
        cmocka_unit_test(slow_jobs_leave_workers_to_the_others),
        cmocka_unit_test(checks_take_no_place_of_slow_jobs),
        cmocka_unit_test(quick_jobs_leave_a_worker_to_slow_ones),
        cmocka_unit_test(without_memory_there_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
