// SPDX-License-Identifier: Apache-2.0
// The pairing heap (Fredman, Sedgewick, Sleator, Tarjan 1986): a tree in which no child is due before its
// parent. Starting links a single node to the root in O(1); stopping cuts a subtree out, merges its children
// in pairs, and links the result back: O(log n) amortised. Merging in pairs goes over a list, not down a
// recursion, so that no number of timers can exhaust the stack.
#include "broker/timer.h"

#include <stddef.h>

static bool is_before(const dbk_timer *a, const dbk_timer *b) {
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

/// The heap of both; either may be NULL. Roots have neither siblings nor parent.
static dbk_timer *meld(dbk_timer *a, dbk_timer *b) {
    if (a == NULL) return b;
    if (b == NULL) return a;
    if (is_before(b, a)) {
        dbk_timer *swap = a;
        a = b;
        b = swap;
    }
    b->previous = a;
    b->next = a->child;
    if (b->next != NULL) b->next->previous = b;
    a->child = b;
    a->next = a->previous = NULL;
    return a;
}

/// The heap of a list of siblings.
static dbk_timer *meld_siblings(dbk_timer *first) {
    // Left to right in pairs, each pair put in front of a list; then all of that list into one.
    dbk_timer *pairs = NULL;
    while (first != NULL) {
        dbk_timer *a = first, *b = a->next;
        first = b != NULL ? b->next : NULL;
        a->next = a->previous = NULL;
        if (b != NULL) b->next = b->previous = NULL;
        dbk_timer *pair = meld(a, b);
        pair->next = pairs;
        pairs = pair;
    }
    dbk_timer *heap = NULL;
    while (pairs != NULL) {
        dbk_timer *next = pairs->next;
        pairs->next = NULL;
        heap = meld(heap, pairs);
        pairs = next;
    }
    return heap;
}

void dbk_timers_init(dbk_timers *timers, void (*changed)(void *context), void *context) {
    *timers = (dbk_timers){.changed = changed, .context = context};
}

void dbk_timer_init(dbk_timer *timer, void (*callback)(dbk_timer *timer)) {
    *timer = (dbk_timer){.callback = callback};
}

int64_t dbk_timers_due_ns(const dbk_timers *timers) {
    return timers->first != NULL ? timers->first->due_ns : INT64_MAX;
}

static void take_out(dbk_timers *timers, dbk_timer *timer) {
    dbk_timer *children = meld_siblings(timer->child);
    if (timer == timers->first) {
        timers->first = children;
    } else {
        if (timer->previous->child == timer) {
            timer->previous->child = timer->next;
        } else {
            timer->previous->next = timer->next;
        }
        if (timer->next != NULL) timer->next->previous = timer->previous;
        timers->first = meld(timers->first, children);
    }
    timer->child = timer->next = timer->previous = NULL;
    timer->is_active = false;
}

static void tell(dbk_timers *timers, int64_t due_before_ns) {
    if (timers->changed != NULL && dbk_timers_due_ns(timers) != due_before_ns)
        timers->changed(timers->context);
}

void dbk_timer_start_at(dbk_timers *timers, dbk_timer *timer, int64_t due_ns) {
    int64_t due_before_ns = dbk_timers_due_ns(timers);
    if (timer->is_active) take_out(timers, timer);
    timer->due_ns = due_ns;
    timer->order = ++timers->order;
    timer->is_active = true;
    timers->first = meld(timers->first, timer);
    tell(timers, due_before_ns);
}

void dbk_timer_stop(dbk_timers *timers, dbk_timer *timer) {
    if (!timer->is_active) return;
    int64_t due_before_ns = dbk_timers_due_ns(timers);
    take_out(timers, timer);
    tell(timers, due_before_ns);
}

void dbk_timers_run(dbk_timers *timers, int64_t now_ns) {
    uint64_t order_max = timers->order; // what is started from now on waits for the next call
    while (timers->first != NULL && timers->first->due_ns <= now_ns && timers->first->order <= order_max) {
        dbk_timer *timer = timers->first;
        take_out(timers, timer);
        timer->callback(timer);
    }
    if (timers->changed != NULL) timers->changed(timers->context);
}
