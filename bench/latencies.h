// SPDX-License-Identifier: Apache-2.0
// Durations collected in buckets, within 1.6 %: constant memory however many there are.
#ifndef DBK_BENCH_LATENCIES_H
#define DBK_BENCH_LATENCIES_H

#include <stdint.h>

enum { LATENCY_BUCKETS = 58 * 64 };

typedef struct latencies {
    uint64_t counts[LATENCY_BUCKETS];
    uint64_t count;
    int64_t longest_ns;
} latencies;

void latencies_add(latencies *to, int64_t ns);
/// `part` of 1: the duration that so many are not longer than, in microseconds; 0 where there are none.
double latencies_percentile_us(const latencies *from, double part);

#endif
