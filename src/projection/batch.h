// SPDX-License-Identifier: Apache-2.0
// Reading for a projection: a thread that follows the store, takes from each event the values its statements
// want, and hands over batches through a small ring; so reading and decoding run beside the database's work.
//
// A batch is filled while the one before it is written, up to `count_max` events or `wait_ns`; where the
// writer has nothing to do it gets what is there. So an event by itself is not kept waiting, and under load
// batches grow by themselves.
#ifndef DBK_PROJECTION_BATCH_H
#define DBK_PROJECTION_BATCH_H

#include "daybook/engine.h"
#include "daybook/sys/vfs.h"
#include "projection/target.h"

typedef struct dbk_batch_event {
    uint64_t position;
    int64_t recorded_ns;
    dbk_slice stream, subject, aggregate, id;
    uint32_t step_first, step_count;    // in the batch's steps
    const char *failure;                // why its values cannot be taken; NULL where they could
    const daybook_recorded_event *copy; // for a handler; else NULL
} dbk_batch_event;

typedef struct dbk_batch {
    dbk_arena *arena; // whatever the rest points to
    dbk_batch_event *events;
    size_t event_count, event_capacity;
    dbk_step *steps;
    size_t step_count, step_capacity;
    uint64_t position;     // whatever the projection wants up to here is in this batch or an earlier one
    dbk_mark mark;         // of the event at `position`, where it is none of `events`
    bool is_caught_up;     // nothing more was there
    daybook_status status; // OK; of the last batch: END, or what reading failed with
} dbk_batch;

typedef struct dbk_reader_options {
    const daybook_allocator *allocator;
    daybook_vfs *vfs;
    daybook_engine *engine;
    const dbk_definition *definition;
    bool is_copying;   // events are copied for a handler; no steps are made
    bool is_following; // else END where everything is read that was durable at the beginning
    uint32_t count_max;
    int64_t wait_ns;
    uint64_t position; // begin behind it
} dbk_reader_options;

typedef struct dbk_batch_reader dbk_batch_reader;

/// Starts the thread. What the options point to must outlive it.
daybook_status dbk_batch_reader_start(const dbk_reader_options *options, dbk_batch_reader **reader_out,
                                      daybook_error *error);
/// Ends the thread; batches taken are gone with it. NULL is fine.
void dbk_batch_reader_stop(dbk_batch_reader *reader);
/**
 * The next batch, borrowed until it is given back. One at a time.
 * @param timeout_ns  how long to wait for one
 * @return OK; TIMEOUT; after the last batch END, or what reading failed with
 */
daybook_status dbk_batch_reader_take(dbk_batch_reader *reader, int64_t timeout_ns, dbk_batch **batch_out,
                                     daybook_error *error);
void dbk_batch_reader_give_back(dbk_batch_reader *reader, dbk_batch *batch);

// Parts of it that replaying a parked event uses too.

daybook_status dbk_batch_init(dbk_batch *batch, const daybook_allocator *allocator);
void dbk_batch_reset(dbk_batch *batch);
void dbk_batch_deinit(dbk_batch *batch, const daybook_allocator *allocator);
/// Adds the event with the steps of all sections it matches, or with a copy. ENOMEM.
daybook_status dbk_batch_add(dbk_batch *batch, const dbk_reader_options *options,
                             const daybook_recorded_event *event, daybook_error *error);
/// The newest event of the store, position 0 where there is none.
daybook_status dbk_newest_event(daybook_engine *engine, dbk_mark *mark_out, daybook_error *error);
/// An event that can be known again by its id.
void dbk_mark_set(dbk_mark *mark, uint64_t position, dbk_slice id);

#endif
