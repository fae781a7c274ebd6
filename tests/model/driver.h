// SPDX-License-Identifier: Apache-2.0
// Drives a store and the model (model.h) with the same random operations and compares every answer: appends
// with all conditions, batches over streams, deletes, purges, changes of streams, reads of every kind,
// flushes, merges, restarts.
//
// On a simulated disk that is told to stop (io/sim/sim.h) an operation may fail half done. The driver then is
// broken: its user crashes the disk, calls driver_recover, and the store must hold everything acknowledged
// and of the operation that failed all or nothing.
//
// Streams may have a sync_interval: the driver asks after each operation what is durable, and then wants exactly
// that to be seen. After a crash it looks how much of what was acknowledged before its sync is there: any beginning
// of it in the order of commit, and all of it where something behind it is.
//
// driver_step also submits chains of appends and waits for them: nothing is stored behind the first refused.
//
// Calls of the system may fail under it, too (driver_faults.c): then an operation may be refused, which leaves the
// driver broken for a moment, the disk running.
//
// A difference prints seed, operation and both answers, and ends the program with status 1.
#ifndef DBK_TESTS_DRIVER_H
#define DBK_TESTS_DRIVER_H

#include <stdio.h>

#include "io/sim/sim.h"
#include "model/model.h"
#include "model/random.h"

enum { DRIVER_CURSORS_MAX = 3, DRIVER_CHAIN_MAX = 8 };

typedef struct driver_options {
    uint64_t seed;
    const char *path;
    dbk_sim *sim; // NULL: real files
    unsigned open_flags;
    uint64_t memtable_bytes, journal_max_bytes, segment_max_bytes;
    bool has_ages;           // streams may have max_age; needs a simulated clock and no background threads
    bool has_subject_limits; // streams may have max_msgs_per_subject: their trims must not race with a crash
    bool heavy;              // larger data, more flushes
    const char *repeat;      // printed with a failure: the command that repeats it
} driver_options;

// A cursor that stays open over other operations.
typedef struct driver_cursor {
    daybook_cursor *cursor;
    daybook_query query;
    char filter[128];
    daybook_slice filter_slice;
    char type[64];
    daybook_slice type_slice;
    char tag[64];
    daybook_slice tag_slice;
    uint64_t seen; // position given last
    uint64_t last; // durable position when it was opened
} driver_cursor;

typedef enum driver_pending {
    PENDING_NOTHING,
    PENDING_APPEND,
    PENDING_DELETE,
    PENDING_PURGE,
    PENDING_ADD,
    PENDING_UPDATE,
    PENDING_REMOVE,
    PENDING_CHAIN
} driver_pending;

typedef struct driver_counts {
    uint64_t operations, appended, duplicates, conflicts, mixed, limits, removed, reads, checks, restarts,
        kills;
    uint64_t flushes, merges, pending_done, pending_undone;
    uint64_t chains, skipped;           // chains submitted; appends of them refused behind a refused one
    uint64_t deferred, lost;            // events acknowledged before the sync; of these gone after a crash
    uint64_t struck, refused, poisoned; // operations that met a fault; of these refused, or poisoned since
} driver_counts;

typedef struct driver {
    driver_options options;
    random_source random;
    model model;
    daybook_store *store;
    daybook_vfs *vfs;
    daybook_error error;
    driver_cursor cursors[DRIVER_CURSORS_MAX];
    const char *operation; // what runs, for failures
    uint64_t last_position, id_count, description_count;
    uint64_t settled_position; // up to here limits apply to what is durable
    int64_t last_recorded_ns;
    int64_t
        deferred_until_ns; // monotonic: by then what was acknowledged before its sync is due; 0: nothing is
    bool broken;
    bool is_faulty;       // calls fail; what they failed with is no answer about the store
    uint64_t hits_before; // of dbk_sim_fault_hits, when they began to
    bool is_closed_badly; // the last close told of a failure
    driver_counts counts;

    // What was under way when it broke.
    driver_pending pending;
    const model_said *batch[MODEL_BATCH_MAX];
    size_t batch_count;
    size_t pending_stream, pending_event;
    const model_said *chain[DRIVER_CHAIN_MAX]; // what may or may not be there, in order
    size_t chain_count;
    daybook_purge_options purge;
    char purge_filter[128];
    daybook_stream_config config;
    daybook_slice config_subjects[MODEL_SUBJECTS_MAX];
    char config_texts[MODEL_SUBJECTS_MAX + 2][64];
} driver;

void driver_init(driver *driven, const driver_options *options);
/// Opens; false where the simulated disk stopped meanwhile.
bool driver_open(driver *driven);
/// Closes store and cursors; failures are fine where the disk has stopped.
void driver_close(driver *driven);
void driver_deinit(driver *driven);

/// One random operation.
void driver_step(driver *driven);
/// One random operation that changes the store.
void driver_change(driver *driven);
/// Everything the store holds against the model.
void driver_check_all(driver *driven);
/// After a crash and driver_open: settles what was under way and checks everything.
void driver_recover(driver *driven);
/// Where a failing system refused what was under way, which changed nothing or said what it did: makes limits good
/// and checks everything.
void driver_resume(driver *driven);
/// One random operation while calls of the system fail (driver_faults.c), and whatever that makes necessary: opening
/// again where the store is poisoned. Needs a simulated disk.
void driver_step_with_fault(driver *driven);
/// daybook_verify on the closed store.
void driver_verify(driver *driven);

void driver_fail(driver *driven, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));
void driver_print_counts(const driver_counts *counts, const char *title);
void driver_add_counts(driver_counts *sum, const driver_counts *counts);

#endif
