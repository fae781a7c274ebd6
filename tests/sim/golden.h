// SPDX-License-Identifier: Apache-2.0
// Stores between real files and a simulated disk: those of tests/golden.
#ifndef DBK_TESTS_GOLDEN_H
#define DBK_TESTS_GOLDEN_H

#include "io/sim/sim.h"

/// Copies the files of `directory` (not those in directories below it) to `path`, all durable. A failure ends
/// the program.
void golden_load(dbk_sim *sim, const char *directory, const char *path);

/// The other way round: makes `directory`.
void golden_save(dbk_sim *sim, const char *path, const char *directory);

#endif
