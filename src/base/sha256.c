// SPDX-License-Identifier: Apache-2.0
// SHA-256 as FIPS 180-4 specifies it, streaming. Used for the digest of whole segments and for ids derived
// from content. Plain C, and on x86-64 the SHA instructions where the processor has them: in plain C the
// digest was an eighth of the time to write a segment. Not thread-safe per object.
#include "base/bytes.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define DBK_SHA256_X86 1
#include <cpuid.h>
#include <immintrin.h>
#include <stdatomic.h>
#endif

static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate_right(uint32_t value, unsigned bits) {
    return value >> bits | value << (32 - bits);
}

static uint32_t get_big_endian(const uint8_t *data) {
    return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
}

static void put_big_endian(uint8_t *data, uint32_t value) {
    data[0] = (uint8_t)(value >> 24);
    data[1] = (uint8_t)(value >> 16);
    data[2] = (uint8_t)(value >> 8);
    data[3] = (uint8_t)value;
}

static void compress_plain(uint32_t state[8], const uint8_t block[64]) {
    uint32_t w[64];
    for (size_t i = 0; i < 16; i++) w[i] = get_big_endian(block + 4 * i);
    for (size_t i = 16; i < 64; i++) {
        uint32_t s0 = rotate_right(w[i - 15], 7) ^ rotate_right(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t s1 = rotate_right(w[i - 2], 17) ^ rotate_right(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (size_t i = 0; i < 64; i++) {
        uint32_t s1 = rotate_right(e, 6) ^ rotate_right(e, 11) ^ rotate_right(e, 25);
        uint32_t t1 = h + s1 + ((e & f) ^ (~e & g)) + round_constants[i] + w[i];
        uint32_t s0 = rotate_right(a, 2) ^ rotate_right(a, 13) ^ rotate_right(a, 22);
        uint32_t t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
        h = g;
        g = f;
        f = e;
        e = d + t1;
        d = c;
        c = b;
        b = a;
        a = t1 + t2;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
    state[5] += f;
    state[6] += g;
    state[7] += h;
}

static void compress_blocks_plain(uint32_t state[8], const uint8_t *data, size_t count) {
    for (; count > 0; count--, data += 64) compress_plain(state, data);
}

#ifdef DBK_SHA256_X86
// Four rounds at a time; the instructions keep the state as (A B E F) and (C D G H).
__attribute__((target("sha,sse4.1,ssse3"))) static void
compress_blocks_x86(uint32_t state[8], const uint8_t *data, size_t count) {
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)state), 0xb1);
    __m128i high = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)(state + 4)), 0x1b);
    __m128i abef = _mm_alignr_epi8(low, high, 8);
    __m128i cdgh = _mm_blend_epi16(high, low, 0xf0);
    for (; count > 0; count--, data += 64) {
        __m128i abef_before = abef, cdgh_before = cdgh, w[4];
        for (size_t i = 0; i < 4; i++)
            w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(data + 16 * i)), swap);
#pragma GCC unroll 16
        for (size_t i = 0; i < 16; i++) {
            __m128i constants = _mm_loadu_si128((const __m128i *)(const void *)(round_constants + 4 * i));
            __m128i sum = _mm_add_epi32(w[i % 4], constants);
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
            if (i >= 12) continue;
            __m128i older = _mm_sha256msg1_epu32(w[i % 4], w[(i + 1) % 4]);
            __m128i middle = _mm_alignr_epi8(w[(i + 3) % 4], w[(i + 2) % 4], 4);
            w[i % 4] = _mm_sha256msg2_epu32(_mm_add_epi32(older, middle), w[(i + 3) % 4]);
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    low = _mm_shuffle_epi32(abef, 0x1b);
    high = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)(void *)state, _mm_blend_epi16(low, high, 0xf0));
    _mm_storeu_si128((__m128i *)(void *)(state + 4), _mm_alignr_epi8(high, low, 8));
}

static int has_sha_instructions(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & bit_SSE4_1) == 0 || (c & bit_SSSE3) == 0) return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA) != 0;
}
#endif

static void compress_blocks(uint32_t state[8], const uint8_t *data, size_t count) {
#ifdef DBK_SHA256_X86
    static atomic_int known; // 0: not asked yet, 1: no, 2: yes. Asking twice does no harm.
    int answer = atomic_load_explicit(&known, memory_order_relaxed);
    if (answer == 0) {
        answer = 1 + has_sha_instructions();
        atomic_store_explicit(&known, answer, memory_order_relaxed);
    }
    if (answer == 2) {
        compress_blocks_x86(state, data, count);
        return;
    }
#endif
    compress_blocks_plain(state, data, count);
}

void dbk_sha256_init(dbk_sha256 *hash) {
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memset(hash, 0, sizeof *hash);
    memcpy(hash->state, start, sizeof start);
}

void dbk_sha256_update(dbk_sha256 *hash, const void *data, size_t size) {
    if (size == 0) return;
    const uint8_t *at = data;
    size_t filled = (size_t)(hash->size % 64);
    hash->size += size;
    if (filled > 0) {
        size_t part = 64 - filled < size ? 64 - filled : size;
        memcpy(hash->block + filled, at, part);
        at += part;
        size -= part;
        if (filled + part < 64) return;
        compress_blocks(hash->state, hash->block, 1);
    }
    compress_blocks(hash->state, at, size / 64);
    at += size / 64 * 64;
    size %= 64;
    if (size > 0) memcpy(hash->block, at, size);
}

void dbk_sha256_final(dbk_sha256 *hash, uint8_t digest_out[32]) {
    uint64_t bits = hash->size * 8;
    uint8_t padding[72] = {0x80};
    size_t filled = (size_t)(hash->size % 64);
    size_t zeros_end = filled < 56 ? 56 - filled : 120 - filled; // then eight bytes of length end a block
    put_big_endian(padding + zeros_end, (uint32_t)(bits >> 32));
    put_big_endian(padding + zeros_end + 4, (uint32_t)bits);
    dbk_sha256_update(hash, padding, zeros_end + 8);
    for (size_t i = 0; i < 8; i++) put_big_endian(digest_out + 4 * i, hash->state[i]);
}
