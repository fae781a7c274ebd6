// SPDX-License-Identifier: Apache-2.0
// A fixed piece of work on a simulated disk, cut into steps each of which either happens wholly or not at
// all, and what a store shows, boiled down to a few numbers, so that thousands of states can be compared in a
// second. Both for the suites that break each step in every place: test_every_step.c, test_errors.c.
//
// It covers creation, streams with every limit, appends (alone, in batches over streams, under conditions,
// with ids, rolling up), key-value, snapshots, a consumer whose messages are acknowledged with what they cause, moves
// of a machine, commands on an aggregate, deletes, purges, erasing, flush, merge, several laps of the smallest
// journal, expiry, changed and removed streams, closing and opening.
//
// A step that fails may be run again. A failed expectation prints what and where and ends the program.
#ifndef DBK_TESTS_WORKLOAD_H
#define DBK_TESTS_WORKLOAD_H

#include <stdbool.h>

#include "daybook/daybook.h"
#include "io/sim/sim.h"

typedef struct workload {
    dbk_sim *sim;
    daybook_vfs *vfs;
    daybook_store *store; // NULL while closed
    daybook_error error;
} workload;

typedef struct workload_step {
    const char *kind; // for tallies: "append", "flush" ...
    daybook_status (*run)(workload *work, unsigned number);
    unsigned number;
} workload_step;

/// All steps. The first creates the store, the last leaves it open.
extern const workload_step workload_steps[];
extern const size_t workload_step_count;
/// A few steps behind the opening of a store that exists.
extern const workload_step workload_later_steps[];
extern const size_t workload_later_step_count;

#define WORKLOAD_PATH "/store"

void workload_init(workload *work, dbk_sim *sim);
daybook_status workload_open(workload *work);
/// Closes what is open; whether that worked.
daybook_status workload_close(workload *work);
void workload_open_options(const workload *work, daybook_open_options *options_out);
/// daybook_verify on the closed store: OK or it ends the program, naming what was found.
void workload_verify(workload *work, const char *where);
/// One event more, under an id never used before.
daybook_status workload_append_after(workload *work, unsigned number);
/// An id deleted by the step of kind "delete" stays used up: true where the store says so.
bool workload_remembers_deleted(workload *work);

// ---- What a store shows ---------------------------------------------------------------------------------

typedef struct shown_event {
    uint64_t position;
    uint64_t exact; // all there is to it
    uint64_t loose; // without what differs when the same is done again: position, times, ids the store makes
} shown_event;

typedef struct shown_stream {
    char name[32];
    uint64_t count, first_seq, last_seq, bytes, config;
    bool is_aged; // what is too old may still be counted
} shown_stream;

// Deliveries are saved a little later and may be lost, and with them the floor; what is settled may not.
typedef struct shown_consumer {
    char name[32];
    uint64_t open_count; // messages not settled, delivered or not
    bool is_paused;
} shown_consumer;

enum { SHOWN_STREAMS_MAX = 24, SHOWN_CONSUMERS_MAX = 4 };

typedef struct shown {
    shown_event *events;
    size_t count, capacity;
    shown_stream streams[SHOWN_STREAMS_MAX];
    size_t stream_count;
    shown_consumer consumers[SHOWN_CONSUMERS_MAX];
    size_t consumer_count;
} shown;

shown_event shown_event_of(const daybook_recorded_event *recorded);
/// Reads everything and checks that all counts agree. False, with work->error, where reading fails; `where`
/// is for complaints.
bool shown_take(workload *work, shown *shown_out, const char *where);
void shown_deinit(shown *what);
bool shown_same(const shown *one, const shown *other, bool exactly);
/// The same but for what consumers have open: an answer counts at once, saved or not (daybook/consumer.h).
bool shown_same_events(const shown *one, const shown *other, bool exactly);
/// The same but for streams without events: one made on the way to an append is a commit of its own, and may
/// be there without the event.
bool shown_is_before(const shown *before, const shown *actual, bool exactly);
void shown_copy(shown *to, const shown *from);
/// What differs, on stderr.
void shown_explain(const shown *expected, const shown *actual, bool exactly);

/// May a failing system lead to this status? Anything else would be an answer about the store.
bool workload_is_operating_error(daybook_status status);

_Noreturn void workload_fail(workload *work, const char *where, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// Numbers from the environment and from a seed.

uint64_t number_from(const char *name, uint64_t otherwise);
typedef struct chance {
    uint64_t state;
} chance;
uint64_t chance_next(chance *source);
uint64_t chance_below(chance *source, uint64_t bound);

#endif
