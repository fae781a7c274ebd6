// SPDX-License-Identifier: Apache-2.0
// A hash of text that others choose, under a key they do not know.
//
// Sixteen bytes a step: two words, each combined with a key or the state, multiplied to 128 bits, the
// halves combined. All four key words are random and secret, so nobody can choose a word that makes a
// factor zero, which is how hashes of this kind with public constants were broken. No cryptographic claim:
// what is hashed is never shown, only what takes time, and of that little is seen from outside. About 3 ns
// for a subject of 20 bytes.
#ifndef DBK_BASE_KEYED_HASH_H
#define DBK_BASE_KEYED_HASH_H

#include "base/bytes.h"

typedef struct dbk_hash_key {
    uint64_t words[4];
} dbk_hash_key;

static inline void dbk_hash_key_init(dbk_hash_key *key, const uint8_t seed[32]) {
    for (int i = 0; i < 4; i++) key->words[i] = dbk_get_u64(seed + 8 * i);
}

__extension__ typedef unsigned __int128 dbk_product;

static inline uint64_t dbk_hash_fold(uint64_t a, uint64_t b) {
    dbk_product product = (dbk_product)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/// The last 0 to 16 of `size` bytes as two words; together with the size they say all of them.
static inline void dbk_hash_rest(const uint8_t *data, size_t size, uint64_t *a_out, uint64_t *b_out) {
    if (size >= 8) {
        *a_out = dbk_get_u64(data);
        *b_out = dbk_get_u64(data + size - 8);
    } else if (size >= 4) {
        *a_out = dbk_get_u32(data);
        *b_out = dbk_get_u32(data + size - 4);
    } else if (size > 0) {
        *a_out = (uint64_t)data[0] << 16 | (uint64_t)data[size / 2] << 8 | data[size - 1];
        *b_out = 0;
    } else {
        *a_out = *b_out = 0;
    }
}

static inline uint64_t dbk_hash_bytes(const dbk_hash_key *key, const void *data, size_t size) {
    const uint8_t *at = (const uint8_t *)data;
    const uint64_t *words = key->words;
    uint64_t hash = words[0];
    size_t left = size;
    for (; left > 16; left -= 16, at += 16) {
        hash = dbk_hash_fold(dbk_get_u64(at) ^ words[1], dbk_get_u64(at + 8) ^ hash);
    }
    uint64_t a, b;
    dbk_hash_rest(at, left, &a, &b);
    hash = dbk_hash_fold(a ^ words[1], b ^ hash);
    return dbk_hash_fold(hash ^ words[2], size ^ words[3]);
}

#endif
