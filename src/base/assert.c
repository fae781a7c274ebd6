// SPDX-License-Identifier: Apache-2.0
// The only place where the library prints and stops: a broken invariant of our own. Going on would risk
// writing wrong bytes over right ones. Any thread.
#include "base/assert.h"

#include <stdio.h>

_Noreturn void dbk_assert_failed(const char *expression, const char *file, int line) {
    (void)fprintf(stderr, "daybook: broken invariant: %s at %s:%d\n", expression, file, line);
    (void)fflush(stderr);
    abort();
}
