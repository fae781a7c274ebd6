// SPDX-License-Identifier: Apache-2.0
// Times as numbers: the pure part of daybook/time.h lives in base/time.c.
#ifndef DBK_BASE_TIME_H
#define DBK_BASE_TIME_H

#include <stdatomic.h>
#include <stdbool.h>

#include "daybook/time.h"

#define DBK_SECOND_NS INT64_C(1000000000)
#define DBK_MILLISECOND_NS INT64_C(1000000)

/// `delay_ns` after `time_ns`; INT64_MAX, which is never, where that is beyond what a time can be. "For ever"
/// is often said as the largest number there is, so durations that others say are added with this.
static inline int64_t dbk_time_after(int64_t time_ns, int64_t delay_ns) {
    return time_ns > 0 && delay_ns > INT64_MAX - time_ns ? INT64_MAX : time_ns + delay_ns;
}

/// For what is said once in a while, by whoever comes first: not again before `each_ns` are over. 0 in
/// *next_ns: at once.
static inline bool dbk_once_each(atomic_int_fast64_t *next_ns, int64_t now_ns, int64_t each_ns) {
    int_fast64_t due_ns = atomic_load(next_ns);
    return now_ns >= due_ns && atomic_compare_exchange_strong(next_ns, &due_ns, now_ns + each_ns);
}

#endif
