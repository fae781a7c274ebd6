// SPDX-License-Identifier: Apache-2.0
//
// A histogram of durations, its buckets a 64th of a power of two wide. See latencies.h.
#include "cli/latencies.h"

#include <stddef.h>

// 64 buckets to each power of two.
static unsigned bucket_of(uint64_t ns) {
    if (ns < 64) return (unsigned)ns;
    unsigned exponent = 6;
    while (exponent < 62 && ns >> (exponent + 1) != 0) exponent++;
    return (exponent - 5) * 64 + (unsigned)(ns >> (exponent - 6) & 63);
}

static double middle_of(unsigned bucket) {
    if (bucket < 64) return bucket;
    unsigned exponent = bucket / 64 + 5;
    return ((double)(64 + bucket % 64) + 0.5) * (double)(UINT64_C(1) << (exponent - 6));
}

void cli_latencies_add(cli_latencies *latencies, int64_t ns) {
    latencies->counts[bucket_of(ns < 0 ? 0 : (uint64_t)ns)]++;
    latencies->count++;
    if (ns > latencies->longest_ns) latencies->longest_ns = ns;
}

void cli_latencies_merge(cli_latencies *into, const cli_latencies *from) {
    for (size_t i = 0; i < CLI_LATENCY_BUCKET_COUNT; i++) into->counts[i] += from->counts[i];
    into->count += from->count;
    if (from->longest_ns > into->longest_ns) into->longest_ns = from->longest_ns;
}

double cli_latencies_percentile(const cli_latencies *latencies, double part) {
    uint64_t wanted = (uint64_t)(part * (double)latencies->count), seen = 0;
    for (unsigned i = 0; i < CLI_LATENCY_BUCKET_COUNT; i++) {
        seen += latencies->counts[i];
        if (seen > wanted || (seen == latencies->count && seen > 0)) return middle_of(i) / 1000;
    }
    return 0;
}
