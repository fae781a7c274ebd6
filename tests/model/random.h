// SPDX-License-Identifier: Apache-2.0
// Seeded randomness for whole-store tests: xorshift64*, the same numbers everywhere for the same seed.
#ifndef DBK_TESTS_RANDOM_H
#define DBK_TESTS_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

typedef struct random_source {
    uint64_t state;
} random_source;

static inline uint64_t random_next(random_source *random) {
    random->state ^= random->state >> 12;
    random->state ^= random->state << 25;
    random->state ^= random->state >> 27;
    return random->state * UINT64_C(2685821657736338717);
}

static inline void random_init(random_source *random, uint64_t seed) {
    random->state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    if (random->state == 0) random->state = 1;
    for (int i = 0; i < 8; i++) (void)random_next(random);
}

/// 0 to bound - 1; bound > 0.
static inline uint64_t random_below(random_source *random, uint64_t bound) {
    return (random_next(random) >> 11) % bound;
}

static inline bool random_percent(random_source *random, unsigned percent) {
    return random_below(random, 100) < percent;
}

/// 0 to bound - 1, small numbers far more often than great ones.
static inline uint64_t random_skewed(random_source *random, uint64_t bound) {
    uint64_t limit = random_below(random, bound) + 1;
    return random_below(random, limit);
}

#endif
