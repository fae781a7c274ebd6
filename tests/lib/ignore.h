// SPDX-License-Identifier: Apache-2.0
// Visitors for tests to which only the call matters, not what is visited.
#ifndef DBK_TESTS_IGNORE_H
#define DBK_TESTS_IGNORE_H

#include "daybook/daybook.h"

static inline int ignore_history(void *context, const daybook_recorded_event *event, daybook_slice changes,
                                 daybook_slice state) {
    (void)context, (void)event, (void)changes, (void)state;
    return 0;
}

static inline int ignore_step(void *context, unsigned depth, const daybook_recorded_event *event) {
    (void)context, (void)depth, (void)event;
    return 0;
}

static inline int ignore_snapshot(void *context, daybook_slice aggregate, daybook_slice json) {
    (void)context, (void)aggregate, (void)json;
    return 0;
}

#endif
