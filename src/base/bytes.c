// SPDX-License-Identifier: Apache-2.0
// Integers to bytes and back, and the bounded reader of every decoder.
//
// Varints are LEB128: seven bits a byte, lowest first, high bit set on all but the last. Only the shortest
// form is accepted, so that a value has one encoding and checksums over encodings mean equality. At most ten
// bytes; the tenth may only be 1.
//
// Invariant of the reader: at <= end, always; after a failure at == end, so that every later read fails too.
// Pure, any thread.
#include "base/bytes.h"

#include <xxhash.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "daybook stores little-endian integers by plain copies and is written for little-endian hosts"
#endif

size_t dbk_put_varint(void *data, uint64_t value) {
    uint8_t *bytes = data;
    size_t size = 0;
    while (value >= 0x80) {
        bytes[size++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    bytes[size++] = (uint8_t)value;
    return size;
}

size_t dbk_varint_size(uint64_t value) {
    size_t size = 1;
    while (value >= 0x80) {
        value >>= 7;
        size++;
    }
    return size;
}

void dbk_reader_init(dbk_reader *reader, dbk_slice bytes) {
    static const uint8_t nothing[1];
    reader->at = bytes.size == 0 ? nothing : bytes.data;
    reader->end = reader->at + bytes.size;
    reader->failed = false;
}

static void fail(dbk_reader *reader) {
    reader->at = reader->end;
    reader->failed = true;
}

// The next `size` > 0 bytes, or NULL.
static const uint8_t *take(dbk_reader *reader, size_t size) {
    return dbk_read_bytes(reader, size).data;
}

uint8_t dbk_read_u8(dbk_reader *reader) {
    const uint8_t *data = take(reader, 1);
    return data == NULL ? 0 : *data;
}

uint16_t dbk_read_u16(dbk_reader *reader) {
    const uint8_t *data = take(reader, sizeof(uint16_t));
    return data == NULL ? 0 : dbk_get_u16(data);
}

uint32_t dbk_read_u32(dbk_reader *reader) {
    const uint8_t *data = take(reader, sizeof(uint32_t));
    return data == NULL ? 0 : dbk_get_u32(data);
}

uint64_t dbk_read_u64(dbk_reader *reader) {
    const uint8_t *data = take(reader, sizeof(uint64_t));
    return data == NULL ? 0 : dbk_get_u64(data);
}

uint64_t dbk_read_varint_long(dbk_reader *reader) {
    const uint8_t *at = reader->at;
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (at == reader->end) break;
        uint8_t byte = *at++;
        if (shift == 63 && byte > 1) break; // more than 64 bits
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte >= 0x80) continue;
        if (byte == 0 && shift != 0) break; // not the shortest form
        reader->at = at;
        return value;
    }
    fail(reader);
    return 0;
}

uint64_t dbk_checksum(const void *data, size_t size, uint64_t seed) {
    return XXH3_64bits_withSeed(data, size, seed);
}

int dbk_slice_compare(dbk_slice a, dbk_slice b) {
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    if (order != 0) return order;
    return (a.size > b.size) - (a.size < b.size);
}
