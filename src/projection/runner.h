// SPDX-License-Identifier: Apache-2.0
// What runner.c, parked.c, history.c and projection.c share: a projection, and one run of it.
#ifndef DBK_PROJECTION_RUNNER_H
#define DBK_PROJECTION_RUNNER_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/hash_map.h"
#include "projection/batch.h"

struct daybook_projection {
    // Set at the beginning.
    const daybook_allocator *allocator;
    daybook_vfs *vfs;
    daybook_engine *engine;
    dbk_definition *definition;
    char *database;
    daybook_projection_options options; // without its texts
    char instance[DAYBOOK_PROJECTION_INSTANCE_MAX];
    daybook_projection_handler handler; // NULL: an SQL file
    void *context;

    _Atomic uint32_t is_interrupted; // slept on
    atomic_bool is_running;

    pthread_mutex_t lock; // of what follows
    daybook_projection_info info;
    char info_error[DAYBOOK_ERROR_MESSAGE_MAX];
    char told_error[DAYBOOK_ERROR_MESSAGE_MAX]; // what the last daybook_projection_get_info gave out
};

struct daybook_projection_transaction {
    dbk_target *target;
};

/// An aggregate of which an event is parked: its later ones wait behind it.
typedef struct dbk_held {
    char *aggregate;
    size_t aggregate_size;
    uint64_t position; // of the parked event
} dbk_held;

typedef struct dbk_held_set {
    const daybook_allocator *allocator;
    dbk_held *items;
    size_t count, capacity;
    dbk_hash_map map;
} dbk_held_set;

/// One run. Owned by the thread that runs it.
typedef struct dbk_run {
    daybook_projection *projection;
    dbk_target *target;
    bool is_shadow;
    unsigned flags; // daybook_projection_run_flag
    uint32_t batch_count;
    dbk_progress progress; // as committed last
    char store[37];        // UUID of the store that is read, "" where the engine tells none
    dbk_reader_options reader_options;
    dbk_batch_reader *reader;
    dbk_held_set held;
    int64_t tick_ns;       // when the database was last asked for wishes
    int64_t retry_wait_ns; // the next wait
    uint32_t retry_count;  // failures since the last commit
    bool is_waiting;       // for another instance to go; told once
} dbk_run;

int64_t dbk_projection_now_ns(daybook_projection *projection);
/// Tells the caller's `report`.
void dbk_projection_report(daybook_projection *projection, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline bool dbk_projection_is_interrupted(daybook_projection *projection) {
    return atomic_load(&projection->is_interrupted) != 0;
}
/// Sleeps, but not through an interruption.
void dbk_projection_sleep(daybook_projection *projection, int64_t timeout_ns);

// runner.c

void dbk_run_init(dbk_run *run, daybook_projection *projection, unsigned flags);
void dbk_run_deinit(dbk_run *run);
/// From the database's checkpoint to the end: caught up, interrupted, or failed. The target is open.
daybook_status dbk_run_attend(dbk_run *run, daybook_error *error);
/// After a failure: waits where trying again makes sense. True: try again.
bool dbk_run_may_retry(dbk_run *run, dbk_failure failure, daybook_status status, const daybook_error *error);
/// Applies one event's steps, or calls the handler.
daybook_status dbk_run_apply(dbk_run *run, const dbk_batch *batch, const dbk_batch_event *event,
                             daybook_error *error);
/// The failure of the last dbk_run_apply or target call that failed.
static inline dbk_failure_kind dbk_run_failure(const dbk_run *run) {
    return run->target->failure.kind;
}
/// dbk_run_apply between savepoints: with EVENT the transaction goes on.
daybook_status dbk_run_apply_alone(dbk_run *run, const dbk_batch *batch, const dbk_batch_event *event,
                                   daybook_error *error);
void dbk_run_publish(dbk_run *run);

// history.c

/// UUID of the store behind the engine; "" where the engine tells none.
daybook_status dbk_history_name(daybook_engine *engine, char store_out[37], daybook_error *error);
/// Whether the store is the one that the rows were made from and has not gone back since; else ECONFLICT, in
/// words.
daybook_status dbk_history_check(daybook_engine *engine, const dbk_progress *known, daybook_error *error);
/// ECONFLICT where the row says a position that no store has.
daybook_status dbk_history_check_row(const dbk_progress *known, daybook_error *error);

// parked.c

void dbk_held_init(dbk_held_set *set, const daybook_allocator *allocator);
void dbk_held_deinit(dbk_held_set *set);
daybook_status dbk_held_add(dbk_held_set *set, dbk_slice aggregate, uint64_t position, daybook_error *error);
/// Forgets all but the first `count`.
void dbk_held_cut(dbk_held_set *set, size_t count);
/// Position of the parked event that the aggregate waits for; 0: none.
uint64_t dbk_held_find(const dbk_held_set *set, dbk_slice aggregate);
/// As the database has it.
daybook_status dbk_held_load(dbk_run *run, daybook_error *error);
/// Retries and skips what was asked for.
daybook_status dbk_run_grant_requests(dbk_run *run, daybook_error *error);

#endif
