// SPDX-License-Identifier: Apache-2.0
// Assertions for our own bugs. Bytes from disk and arguments of callers are validated, never asserted.
#ifndef DBK_BASE_ASSERT_H
#define DBK_BASE_ASSERT_H

#include <assert.h>
#include <stdlib.h>

/// Stops the process after naming the broken invariant. Never returns.
_Noreturn void dbk_assert_failed(const char *expression, const char *file, int line);

#define DBK_ASSERT(expression) ((expression) ? (void)0 : dbk_assert_failed(#expression, __FILE__, __LINE__))

/// Checks whole structures; only in debug builds.
#ifdef NDEBUG
// Compiled, so that what only a check uses counts as used; never run.
#define DBK_ASSERT_SLOW(expression) ((void)sizeof((expression) ? 1 : 0))
#else
#define DBK_ASSERT_SLOW(expression) DBK_ASSERT(expression)
#endif

#define DBK_UNREACHABLE() dbk_assert_failed("unreachable", __FILE__, __LINE__)

#endif
