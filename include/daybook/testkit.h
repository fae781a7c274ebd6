/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Tests of deciders, without a store and without a test framework: given events, when a command, then
 * events, a refusal or a state. What differs is told in a text.
 *
 *     daybook_scenario *scenario;
 *     daybook_scenario_new(&order_type, &scenario, NULL);
 *     daybook_given(scenario, "placed", "{\"total\":42}");
 *     daybook_when(scenario, pay, &command);
 *     daybook_then(scenario, "paid", "{\"total\":42}");
 *     if (daybook_scenario_end(scenario, &report) != DAYBOOK_OK) fail(report);
 *     daybook_scenario_free(scenario);
 *
 * A test of a whole flow opens a store of its own without files: daybook_open(":memory:", ...).
 * A scenario belongs to one thread. Part of daybook-toolkit.
 */
#ifndef DAYBOOK_TESTKIT_H
#define DAYBOOK_TESTKIT_H

#include "daybook/aggregate.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct daybook_scenario daybook_scenario;

/** Of one aggregate of the type, `<category>.1`, or of a type for queries (then without category). */
DAYBOOK_API daybook_status daybook_scenario_new(const daybook_aggregate_type *type,
                                                daybook_scenario **scenario_out, daybook_error *error);
DAYBOOK_API void daybook_scenario_free(daybook_scenario *scenario);

/* Steps. None fails at once: what goes wrong is part of the report. Texts are copied. */

/** An event that happened before, oldest first; `data` NULL: empty. */
DAYBOOK_API void daybook_given(daybook_scenario *scenario, const char *type, const char *data);
/** The same with all its parts. */
DAYBOOK_API void daybook_given_event(daybook_scenario *scenario, const daybook_event *event);

/**
 * Decide the command now. The events it leads to are given from then on, so that a scenario may have several
 * commands; each has its own expectations, those between it and the next.
 */
DAYBOOK_API void daybook_when(daybook_scenario *scenario, daybook_decide decide, const void *command);

/** The next event of the command. `data` is compared as JSON where both are, else by bytes; NULL:
 *  anything. */
DAYBOOK_API void daybook_then(daybook_scenario *scenario, const char *type, const char *data);
/** The command led to no event and was not refused. */
DAYBOOK_API void daybook_then_nothing(daybook_scenario *scenario);
/** The command was refused, or failed with `status`, in words that contain `part` (NULL: any). */
DAYBOOK_API void daybook_then_refused(daybook_scenario *scenario, const char *part);
DAYBOOK_API void daybook_then_fails(daybook_scenario *scenario, daybook_status status, const char *part);
/** The state, with the events of the commands so far, is as `check` wants it: 0, or it says why not. */
DAYBOOK_API void daybook_then_state(daybook_scenario *scenario,
                                    int (*check)(void *context, const void *state, daybook_writer *why),
                                    void *context);
/** The state as its codec writes it is this JSON. */
DAYBOOK_API void daybook_then_state_json(daybook_scenario *scenario, const char *json);

/**
 * OK where everything was as expected; ECONFLICT with what differs in `*report_out`, which is borrowed from
 * the scenario and "" when fine; else what kept it from being run.
 */
DAYBOOK_API daybook_status daybook_scenario_end(daybook_scenario *scenario, const char **report_out);

#ifdef __cplusplus
}
#endif
#endif
