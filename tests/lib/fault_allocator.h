// SPDX-License-Identifier: Apache-2.0
// An allocator that fails when told, and knows what was not given back.
//
//     fault_allocator faults;
//     fault_allocator_init(&faults);
//     for (uint64_t n = 1;; n++) {
//         fault_allocator_fail(&faults, n, false);
//         daybook_status status = work(&faults.allocator);
//         assert_int_equal(fault_allocator_live(&faults), 0);
//         if (!fault_allocator_has_failed(&faults)) break; // needed fewer than n
//         assert_int_equal(status, DAYBOOK_ENOMEM);
//     }
//
// Any thread may allocate through it; the functions here are for the test's own thread.
#ifndef DBK_TESTS_FAULT_ALLOCATOR_H
#define DBK_TESTS_FAULT_ALLOCATOR_H

#include <stdbool.h>
#include <stdint.h>

#include "daybook/sys/allocator.h"

typedef struct fault_allocator {
    daybook_allocator allocator; // its context is this struct: do not move it
    uint64_t calls;              // all touched with atomics only
    uint64_t live_count;
    uint64_t live_bytes;
    uint64_t peak_bytes;
    uint64_t fail_from; // number of the call that fails; 0: none
    uint64_t fail_to;
    uint64_t failures;
} fault_allocator;

void fault_allocator_init(fault_allocator *faults);
/// The `nth` allocating call from now (1: the next) fails, and with is_forever all later ones. 0: none fails.
void fault_allocator_fail(fault_allocator *faults, uint64_t nth, bool is_forever);
/// Did a call fail since the last fault_allocator_fail?
bool fault_allocator_has_failed(const fault_allocator *faults);
/// Allocations not yet released.
uint64_t fault_allocator_live(const fault_allocator *faults);
uint64_t fault_allocator_live_bytes(const fault_allocator *faults);
uint64_t fault_allocator_peak_bytes(const fault_allocator *faults);

#endif
