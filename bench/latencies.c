// SPDX-License-Identifier: Apache-2.0
// A histogram of times, its buckets a 64th of a power of two wide. See latencies.h.
#include "latencies.h"

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

void latencies_add(latencies *to, int64_t ns) {
    to->counts[bucket_of(ns < 0 ? 0 : (uint64_t)ns)]++;
    to->count++;
    if (ns > to->longest_ns) to->longest_ns = ns;
}

double latencies_percentile_us(const latencies *from, double part) {
    uint64_t wanted = (uint64_t)(part * (double)from->count), seen = 0;
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        seen += from->counts[i];
        if (seen > wanted || (seen == from->count && seen > 0)) return middle_of(i) / 1000;
    }
    return 0;
}
