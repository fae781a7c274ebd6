// SPDX-License-Identifier: Apache-2.0
// A static approximate set of 64-bit hashes: "surely absent" or "probably present", about 9 bits a key and
// one wrong "present" in 256. Binary fuse filter with three probes and 8-bit fingerprints (Graf and Lemire,
// "Binary Fuse Filters: Fast and Smaller Than Xor Filters", 2022).
#ifndef DBK_INDEX_FILTER_H
#define DBK_INDEX_FILTER_H

#include "base/memory.h"

/// Keys of one filter; the encoded size is at most DBK_FILTER_SIZE_MAX.
enum { DBK_FILTER_KEYS_MAX = 32768, DBK_FILTER_SIZE_MAX = 65536 };

/// Append the encoded filter of `count` hashes (1 to DBK_FILTER_KEYS_MAX; their order is changed, duplicates
/// are fine). ENOMEM. Should none of a hundred seeds work, the filter says "present" always.
daybook_status dbk_filter_build(const daybook_allocator *allocator, uint64_t *hashes, size_t count,
                                dbk_buf *buf);

/// Whether the bytes are a well-formed filter, so that dbk_filter_may_contain is safe.
bool dbk_filter_check(dbk_slice filter);
/// False: surely absent. `filter` must have passed dbk_filter_check.
bool dbk_filter_may_contain(dbk_slice filter, uint64_t hash);

/// What the head of a filter says, for who asks it often.
typedef struct dbk_filter_shape {
    uint64_t seed;
    uint32_t segment_size; // 0: contains everything
    uint32_t segment_count;
} dbk_filter_shape;
void dbk_filter_get_shape(dbk_slice filter, dbk_filter_shape *shape_out);
/// The same question in two steps, so that many filters can be asked at once: the first only has the cells
/// fetched into the processor's cache, and the memory of one does not wait for that of another.
typedef struct dbk_filter_probe {
    const uint8_t *cells[3]; // NULL: present
    uint8_t fingerprint;
} dbk_filter_probe;
void dbk_filter_probe_begin(const void *filter, const dbk_filter_shape *shape, uint64_t hash,
                            dbk_filter_probe *probe_out);
bool dbk_filter_probe_end(const dbk_filter_probe *probe);

#endif
