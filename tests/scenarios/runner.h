// SPDX-License-Identifier: Apache-2.0
// Runs scenarios against a driver, many side by side because most of a scenario is waiting.
//
// Times in a scenario are short. Where the machine was so slow that a time passed which should not have, a
// scenario that failed says nothing: it is run again by itself, with all times doubled, then four times as
// long, and so on. The same where a server told it what was so a moment ago. So nothing depends on how fast
// the machine is, and a real difference still fails.
//
// DAYBOOK_SCENARIO=<text>  only scenarios whose title or file has it in it
// DAYBOOK_TRACE=1          each line with what came of it
#ifndef DBK_TESTS_SCENARIOS_RUNNER_H
#define DBK_TESTS_SCENARIOS_RUNNER_H

#include "scenarios/driver.h"
#include "scenarios/scenario.h"

/// Prints what failed and why, what was skipped and why, and how many passed. Returns the exit status.
int scenarios_run(const scenario_set *set, scenario_driver *driver, unsigned lanes);

#endif
