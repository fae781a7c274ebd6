// SPDX-License-Identifier: Apache-2.0
// Scenarios: what a consumer is given and told, and what must come of it, as text. README.md describes the
// words.
#ifndef DBK_TESTS_SCENARIOS_SCENARIO_H
#define DBK_TESTS_SCENARIOS_SCENARIO_H

#include <stdbool.h>
#include <stddef.h>

typedef struct scenario_line {
    unsigned number;
    const char *text;
} scenario_line;

typedef struct scenario {
    const char *file;
    const char *title;
    scenario_line *lines;
    size_t line_count;
    bool restarts; // the server, which others must not be using
} scenario;

typedef struct scenario_set {
    scenario *items;
    size_t count;
    char **texts; // of the files: the lines point into them
    size_t text_count;
} scenario_set;

/// Appends those of a file. Ends the process with a word where the file cannot be read.
void scenario_set_read(scenario_set *set, const char *path);
/// All memory of a set and its files; scenarios are borrowed from it.
void scenario_set_free(scenario_set *set);

#endif
