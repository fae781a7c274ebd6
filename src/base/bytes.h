// SPDX-License-Identifier: Apache-2.0
// Bytes in and out: little-endian integers, varints (LEB128, at most 10 bytes, shortest form only), and a
// bounded reader that every decoder uses. All pure.
#ifndef DBK_BASE_BYTES_H
#define DBK_BASE_BYTES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/memory.h"

static inline uint16_t dbk_get_u16(const void *data) {
    uint16_t value;
    memcpy(&value, data, sizeof value);
    return value; // little-endian hosts only; base/bytes.c refuses to compile elsewhere
}
static inline uint32_t dbk_get_u32(const void *data) {
    uint32_t value;
    memcpy(&value, data, sizeof value);
    return value;
}
static inline uint64_t dbk_get_u64(const void *data) {
    uint64_t value;
    memcpy(&value, data, sizeof value);
    return value;
}
static inline void dbk_put_u16(void *data, uint16_t value) {
    memcpy(data, &value, sizeof value);
}
static inline void dbk_put_u32(void *data, uint32_t value) {
    memcpy(data, &value, sizeof value);
}
static inline void dbk_put_u64(void *data, uint64_t value) {
    memcpy(data, &value, sizeof value);
}

enum { DBK_VARINT_SIZE_MAX = 10 };
/// Writes 1 to 10 bytes, returns how many.
/// A copy of its bytes at *at, which goes behind them.
static inline dbk_slice dbk_slice_put(uint8_t **at, dbk_slice slice) {
    dbk_slice copy = {*at, slice.size};
    if (slice.size > 0) memcpy(*at, slice.data, slice.size);
    *at += slice.size;
    return copy;
}
size_t dbk_put_varint(void *data, uint64_t value);
size_t dbk_varint_size(uint64_t value);
static inline uint64_t dbk_zigzag(int64_t value) {
    return ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
}
static inline int64_t dbk_unzigzag(uint64_t value) {
    return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

/// Reads from borrowed bytes. A read past the end or a malformed varint sets `failed`, gives 0 or an empty
/// slice, and so does every later read: check once at the end.
typedef struct dbk_reader {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
} dbk_reader;

void dbk_reader_init(dbk_reader *reader, dbk_slice bytes);
static inline size_t dbk_reader_left(const dbk_reader *reader) {
    return (size_t)(reader->end - reader->at);
}
/// The rest of dbk_read_varint: values of several bytes, and failures.
uint64_t dbk_read_varint_long(dbk_reader *reader);

// Inline, because decoding an event is a few dozen of these, nearly all of one byte.
static inline uint64_t dbk_read_varint(dbk_reader *reader) {
    if (reader->at != reader->end && *reader->at < 0x80) return *reader->at++;
    return dbk_read_varint_long(reader);
}
static inline dbk_slice dbk_read_bytes(dbk_reader *reader, size_t size) {
    dbk_slice bytes = {NULL, 0};
    if (reader->failed || size > dbk_reader_left(reader)) {
        reader->at = reader->end;
        reader->failed = true;
        return bytes;
    }
    bytes.data = reader->at;
    bytes.size = size;
    reader->at += size;
    return bytes;
}
/// varint length, then the bytes.
static inline dbk_slice dbk_read_text(dbk_reader *reader) {
    uint64_t size = dbk_read_varint(reader);
    // What does not fit a size_t does not fit the rest either.
    return dbk_read_bytes(reader, size > SIZE_MAX ? SIZE_MAX : (size_t)size);
}
uint8_t dbk_read_u8(dbk_reader *reader);
uint16_t dbk_read_u16(dbk_reader *reader);
uint32_t dbk_read_u32(dbk_reader *reader);
uint64_t dbk_read_u64(dbk_reader *reader);

/// XXH3-64.
uint64_t dbk_checksum(const void *data, size_t size, uint64_t seed);

static inline bool dbk_slice_equal(dbk_slice a, dbk_slice b) {
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}
/// memcmp order, shorter first among equals: negative, 0, positive.
int dbk_slice_compare(dbk_slice a, dbk_slice b);
/// Bytes of the well-formed UTF-8 character at the front of `left` bytes; 0: there is none.
size_t dbk_utf8_size(const void *text, size_t left);
/// Well-formed UTF-8 (no surrogates, no overlong forms).
bool dbk_is_utf8(dbk_slice text);
/// Well-formed UTF-8 without control characters (U+0000-001F, U+007F).
bool dbk_is_plain_text(dbk_slice text);
/// SHA-256 (FIPS 180-4), streaming. Own code: the core links no crypto library for one hash.
typedef struct dbk_sha256 {
    uint32_t state[8];
    uint64_t size;
    uint8_t block[64];
} dbk_sha256;
void dbk_sha256_init(dbk_sha256 *hash);
void dbk_sha256_update(dbk_sha256 *hash, const void *data, size_t size);
void dbk_sha256_final(dbk_sha256 *hash, uint8_t digest_out[32]);

#endif
