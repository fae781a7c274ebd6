// SPDX-License-Identifier: Apache-2.0
// When messages fall due: a timer wheel of ranges of seqs.
//
// Not a timer per message: a slot holds ranges (first seq, last seq). What is delivered one behind the other
// for the same tick extends one range, so five million messages in flight cost a few kilobytes here. A range
// says only where to look: each message's own deadline, kept with the message (pending.h), decides. A
// deadline that moves adds a range where it moved to; the old range then finds a deadline that is not its
// own, and passes the message over.
//
//   level 0    64 slots of one tick
//   level n    64 slots of 64^n ticks; when its time begins, a slot's ranges are given to the visitor, which
//              adds what is not due yet again, now to a lower level
//
// Six levels of ticks of 10 ms are 21 years. Not thread-safe.
#ifndef DBK_CONSUMER_SCHEDULE_H
#define DBK_CONSUMER_SCHEDULE_H

#include "base/memory.h"

enum { DBK_SCHEDULE_LEVELS = 6, DBK_SCHEDULE_SLOTS = 64 };

typedef struct dbk_seq_range {
    uint64_t first;
    uint64_t last;
} dbk_seq_range;

/// A list of ranges that grows at its end.
typedef struct dbk_seq_ranges {
    dbk_seq_range *items;
    size_t count;
    size_t capacity;
} dbk_seq_ranges;

typedef struct dbk_schedule {
    const daybook_allocator *allocator;
    uint64_t now;                           // ticks up to here have been visited
    uint64_t occupied[DBK_SCHEDULE_LEVELS]; // a bit per slot that holds ranges
    dbk_seq_ranges slots[DBK_SCHEDULE_LEVELS][DBK_SCHEDULE_SLOTS];
    dbk_seq_ranges visiting; // being given to the visitor
} dbk_schedule;

/// Ranges whose messages with a deadline before `before` are to be looked at. It may add.
typedef void (*dbk_schedule_visit)(void *context, uint64_t first, uint64_t last, uint64_t before);

void dbk_schedule_init(dbk_schedule *schedule, const daybook_allocator *allocator, uint64_t now);
void dbk_schedule_deinit(dbk_schedule *schedule);
/// The message `seq` falls due at `tick`, which lies behind `now`. `previous` is the greatest seq before it
/// that is in flight, 0 for none: a range that reaches it grows, because nothing lies between. ENOMEM.
daybook_status dbk_schedule_add(dbk_schedule *schedule, uint64_t tick, uint64_t seq, uint64_t previous);
/// Let time pass.
void dbk_schedule_advance(dbk_schedule *schedule, uint64_t now, dbk_schedule_visit visit, void *context);
/// When to advance next; UINT64_MAX where nothing is scheduled. Not later than the first deadline.
uint64_t dbk_schedule_next(const dbk_schedule *schedule);
size_t dbk_schedule_bytes(const dbk_schedule *schedule);

#endif
