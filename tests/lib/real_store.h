// SPDX-License-Identifier: Apache-2.0
// What suites with a store in a real directory, in several threads or processes, share: the directory, its
// removal, the seed, and the way to end with a message.
//
//     number_from("DAYBOOK_SECONDS", 6);
//     real_seed = number_from("DAYBOOK_SEED", (uint64_t)now_ns() % 1000000);
//     real_begin("kill-test");
//     daybook_store *store = real_open(&options);
//     ...
//     real_end();
//
// The directory stays where a test fails, so that it can be looked at.
#ifndef DBK_TESTS_REAL_STORE_H
#define DBK_TESTS_REAL_STORE_H

#include <stdint.h>

#include "daybook/daybook.h"

/// The directory, and the number all is drawn from; both in every message of `fail`.
extern char real_path[64];
extern uint64_t real_seed;

/// A new directory "<name>-XXXXXX" in the one the test runs in.
void real_begin(const char *name);
/// Remove it with all that is in it.
void real_end(void);
/// Options with little memory and a small journal, so that flush, merge and laps come often.
void real_options(daybook_open_options *options_out);
/// Opens, or fails.
daybook_store *real_open(const daybook_open_options *options);

/// Says what, with seed and directory, and ends the process at once.
void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
/// Of a clock that is never set back.
int64_t now_ns(void);
/// A number from the environment.
uint64_t number_from(const char *name, uint64_t otherwise);

#endif
