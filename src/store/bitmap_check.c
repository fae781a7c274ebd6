// SPDX-License-Identifier: Apache-2.0
// Is a bitmap in portable Roaring format what it says? The library that reads it checks sizes only: with a
// wrong cardinality, unsorted numbers or runs that overlap it builds a bitmap whose operations may write past
// their memory. A checksum in front proves that the bytes are those that were written, not by whom.
//
// Format (github.com/RoaringBitmap/RoaringFormatSpec), little-endian:
//   u32 cookie: 12346, then u32 container count; or low half 12347, high half container count - 1, then one
//   bit per
//       container that says whether it is of runs
//   per container u16 key, u16 cardinality - 1; keys ascend
//   per container u32 offset; not where there are runs and fewer than 4 containers
//   containers: of runs: u16 run count, per run u16 first, u16 length - 1; cardinality up to 4096: u16 each,
//       ascending; else 8192 bytes of bits
#include "store/deletions.h"

#include "base/bytes.h"

enum {
    COOKIE_PLAIN = 12346,
    COOKIE_RUNS = 12347,
    CONTAINER_COUNT_MAX = 65536,
    OFFSETS_COUNT_MIN = 4,
    ARRAY_CARDINALITY_MAX = 4096,
    BITS_SIZE = 8192,
};

static bool check_runs(dbk_reader *reader, uint32_t cardinality) {
    uint32_t count = dbk_read_u16(reader);
    uint32_t found = 0;
    int64_t last = -1;
    for (uint32_t i = 0; i < count && !reader->failed; i++) {
        uint32_t first = dbk_read_u16(reader);
        uint32_t length = (uint32_t)dbk_read_u16(reader) + 1;
        if ((int64_t)first <= last || first + length > 65536) return false;
        last = (int64_t)first + length - 1;
        found += length;
    }
    return !reader->failed && found == cardinality;
}

static bool check_array(dbk_reader *reader, uint32_t cardinality) {
    dbk_slice numbers = dbk_read_bytes(reader, (size_t)cardinality * 2);
    if (reader->failed) return false;
    const uint8_t *bytes = numbers.data;
    for (uint32_t i = 1; i < cardinality; i++) {
        if (dbk_get_u16(bytes + 2 * i) <= dbk_get_u16(bytes + 2 * (i - 1))) return false;
    }
    return true;
}

static bool check_bits(dbk_reader *reader, uint32_t cardinality) {
    dbk_slice bits = dbk_read_bytes(reader, BITS_SIZE);
    if (reader->failed) return false;
    uint32_t found = 0;
    for (size_t i = 0; i < BITS_SIZE; i += 8) {
        found += (uint32_t)__builtin_popcountll(dbk_get_u64((const uint8_t *)bits.data + i));
    }
    return found == cardinality;
}

static bool is_of_runs(dbk_slice run_flags, uint32_t container) {
    return run_flags.size > 0 && ((const uint8_t *)run_flags.data)[container / 8] >> container % 8 & 1;
}

static bool check_container(dbk_reader *reader, const uint8_t *head, bool has_runs) {
    uint32_t cardinality = (uint32_t)dbk_get_u16(head + 2) + 1;
    if (has_runs) return check_runs(reader, cardinality);
    return cardinality <= ARRAY_CARDINALITY_MAX ? check_array(reader, cardinality)
                                                : check_bits(reader, cardinality);
}

static bool check_containers(dbk_reader *reader, const uint8_t *begin, dbk_slice heads, dbk_slice offsets,
                             dbk_slice run_flags) {
    const uint8_t *head = heads.data;
    for (uint32_t i = 0; i < heads.size / 4; i++, head += 4) {
        if (i > 0 && dbk_get_u16(head) <= dbk_get_u16(head - 4)) return false;
        if (offsets.size > 0 &&
            dbk_get_u32((const uint8_t *)offsets.data + 4 * (size_t)i) != (uint64_t)(reader->at - begin))
            return false;
        if (!check_container(reader, head, is_of_runs(run_flags, i))) return false;
    }
    return true;
}

bool dbk_bitmap_check(dbk_slice bytes) {
    dbk_reader reader;
    dbk_reader_init(&reader, bytes);
    uint32_t cookie = dbk_read_u32(&reader);
    uint32_t count = 0;
    dbk_slice run_flags = {NULL, 0};
    if ((cookie & 0xffff) == COOKIE_RUNS) {
        count = (cookie >> 16) + 1;
        run_flags = dbk_read_bytes(&reader, (count + 7) / 8);
    } else {
        count = dbk_read_u32(&reader);
        if (cookie != COOKIE_PLAIN || count > CONTAINER_COUNT_MAX) return false;
    }
    dbk_slice heads = dbk_read_bytes(&reader, (size_t)count * 4);
    dbk_slice offsets = {NULL, 0};
    if (run_flags.size == 0 || count >= OFFSETS_COUNT_MIN)
        offsets = dbk_read_bytes(&reader, (size_t)count * 4);
    if (reader.failed) return false;
    return check_containers(&reader, bytes.data, heads, offsets, run_flags) && dbk_reader_left(&reader) == 0;
}
