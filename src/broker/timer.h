// SPDX-License-Identifier: Apache-2.0
// Timers of the loop: a pairing heap through structs of their owners, so that starting and stopping allocate
// nothing and cost O(log n). Loop thread only.
#ifndef DBK_BROKER_TIMER_H
#define DBK_BROKER_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/memory.h"

typedef struct dbk_timer dbk_timer;
struct dbk_timer {
    dbk_timer *child, *next, *previous; // previous: left sibling, or the parent of a first child
    int64_t due_ns;
    uint64_t order; // started earlier comes earlier among equals
    bool is_active;
    void (*callback)(dbk_timer *timer); // owner by offset: DBK_OWNER(timer, struct owner, field)
};

typedef struct dbk_timers {
    dbk_timer *first;
    uint64_t order;
    void (*changed)(void *context); // the earliest due time is another one now; may be NULL
    void *context;
} dbk_timers;

void dbk_timers_init(dbk_timers *timers, void (*changed)(void *context), void *context);
/// Sets the callback; the timer is not started.
void dbk_timer_init(dbk_timer *timer, void (*callback)(dbk_timer *timer));
/// At `due_ns` of the loop's clock (dbk_broker_now_ns); a running timer is moved. Fires once; with INT64_MAX
/// never.
void dbk_timer_start_at(dbk_timers *timers, dbk_timer *timer, int64_t due_ns);
/// A stopped one may be stopped.
void dbk_timer_stop(dbk_timers *timers, dbk_timer *timer);
/// When the first is due; INT64_MAX: none is.
int64_t dbk_timers_due_ns(const dbk_timers *timers);
/// Calls those due at `now_ns` in order. They may start and stop timers; one started for a time already past
/// comes with the next call.
void dbk_timers_run(dbk_timers *timers, int64_t now_ns);

#endif
