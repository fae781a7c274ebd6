// SPDX-License-Identifier: Apache-2.0
//
// Durations collected in log-linear buckets, 64 to the power of two, so within 1.6 %: constant memory however
// many there are. For `bench`, and for the loads of bench/.
#ifndef CLI_LATENCIES_H
#define CLI_LATENCIES_H

#include <stdint.h>

#define CLI_LATENCY_BUCKET_COUNT (58 * 64)

// Zeroed: none.
typedef struct cli_latencies {
    uint64_t counts[CLI_LATENCY_BUCKET_COUNT];
    uint64_t count;
    int64_t longest_ns;
} cli_latencies;

// Less than 0 counts as 0.
void cli_latencies_add(cli_latencies *latencies, int64_t ns);
void cli_latencies_merge(cli_latencies *into, const cli_latencies *from);
// In microseconds; `part` from 0 to 1; 0 where there are none.
double cli_latencies_percentile(const cli_latencies *latencies, double part);

#endif
