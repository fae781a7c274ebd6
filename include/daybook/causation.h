/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Why something happened and what belongs together: the chain of causes of an event, the tree of a
 * correlation. Needs an engine with POSITION and TRACING. Part of daybook-toolkit.
 */
#ifndef DAYBOOK_CAUSATION_H
#define DAYBOOK_CAUSATION_H

#include "daybook/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * The causation chain of the event `reference` (`AGGREGATE@VERSION` or an id), from it back to the
 * first cause; at most 1,000 steps, a loop ends it.
 */
DAYBOOK_API daybook_status daybook_why(daybook_engine *engine, daybook_slice reference,
                                       int (*visit)(void *context, unsigned depth,
                                                    const daybook_recorded_event *event),
                                       void *context, daybook_error *error);

/** The events of a correlation as a tree by causation, parents before children, by position. */
DAYBOOK_API daybook_status daybook_trace(daybook_engine *engine, daybook_slice correlation,
                                         int (*visit)(void *context, unsigned depth,
                                                      const daybook_recorded_event *event),
                                         void *context, daybook_error *error);

#ifdef __cplusplus
}
#endif
#endif
