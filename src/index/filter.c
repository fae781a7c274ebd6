// SPDX-License-Identifier: Apache-2.0
// Binary fuse filter, three probes, 8-bit fingerprints.
//
//   u64 seed
//   u32 segment_size     power of two; 0: the filter that contains everything (nothing follows)
//   u32 segment_count    number of segments a first probe may fall into
//   u8  cells[(segment_count + 2) * segment_size]
//
// A key, mixed with the seed, names one cell in each of three segments in a row; its fingerprint is the
// exclusive or of the three. Building is peeling: a cell that only one key touches decides that key's
// fingerprint; taking the key away frees others; keys are then assigned in the reverse order. A seed that
// does not peel is replaced by the next one. Sizes follow the paper (section 3): segment_size about 2^(ln(n)
// / ln(3.33) + 2.25), and 1.125 n cells for large n, more for small n.
//
// The number of cells and the place of each depend only on the keys and the seeds tried, which are fixed:
// equal sets give equal bytes. Pure but for the allocator, any thread.
#include "index/filter.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/error.h"

enum { HEAD_SIZE = 16, SEEDS_MAX = 100, SEEDS_BEFORE_SORT = 4, SEGMENT_SIZE_MAX = 1 << 14 };

typedef struct fuse_shape {
    dbk_filter_shape head;
    uint32_t cell_count;
} fuse_shape;

// Finalizer of MurmurHash3: a bijection that spreads every input bit.
static uint64_t mix(uint64_t hash, uint64_t seed) {
    uint64_t value = hash + seed;
    value ^= value >> 33;
    value *= UINT64_C(0xff51afd7ed558ccd);
    value ^= value >> 33;
    value *= UINT64_C(0xc4ceb9fe1a85ec53);
    value ^= value >> 33;
    return value;
}

static uint8_t fingerprint_of(uint64_t mixed) {
    return (uint8_t)(mixed ^ mixed >> 32);
}

static void cells_of(const dbk_filter_shape *shape, uint64_t mixed, uint32_t cells_out[3]) {
    // The high word of mixed * range is uniform over the range: the first cell, anywhere in the first
    // segment_count segments.
    uint64_t range = (uint64_t)shape->segment_count * shape->segment_size;
    uint32_t first = (uint32_t)(((mixed >> 32) * range) >> 32);
    uint32_t mask = shape->segment_size - 1;
    cells_out[0] = first;
    cells_out[1] = (first + shape->segment_size) ^ ((uint32_t)(mixed >> 18) & mask);
    cells_out[2] = (first + 2 * shape->segment_size) ^ ((uint32_t)mixed & mask);
}

// Integer stand-ins for the paper's formulas, exact enough and the same on every machine.
static uint32_t choose_segment_size(size_t count) {
    // 2^floor(ln(n) / ln(3.33) + 2.25): one doubling for each factor of 3.33.
    uint32_t size = 4;
    double bound = 0.740; // 3.33^(-0.25)
    // defensive: DBK_FILTER_KEYS_MAX keys need no segment of that size
    while (bound * 3.33 <= (double)count && size < SEGMENT_SIZE_MAX) {
        bound *= 3.33;
        size *= 2;
    }
    return size;
}

static double cells_per_key(size_t count) {
    // The paper: max(1.125, 0.875 + 0.25 * ln(10^6) / ln(n)). log2 by halving is close enough.
    double log2_count = 0;
    double value = (double)count;
    while (value >= 2) {
        value /= 2;
        log2_count += 1;
    }
    log2_count += value - 1;
    double factor = log2_count < 1 ? 4.0 : 0.875 + 0.25 * 19.93 / log2_count;
    return factor < 1.125 ? 1.125 : factor; // defensive: reached by more than DBK_FILTER_KEYS_MAX keys
}

static void choose_shape(fuse_shape *shape, size_t count) {
    dbk_filter_shape *head = &shape->head;
    head->segment_size = choose_segment_size(count);
    uint32_t cells = (uint32_t)((double)count * cells_per_key(count)) + 1;
    uint32_t segments = (cells + head->segment_size - 1) / head->segment_size;
    head->segment_count = segments <= 2 ? 1 : segments - 2;
    shape->cell_count = (head->segment_count + 2) * head->segment_size;
    DBK_ASSERT(shape->cell_count + HEAD_SIZE <= DBK_FILTER_SIZE_MAX);
}

typedef struct peeling {
    uint64_t *cell_xor;    // mixed keys that touch the cell, exclusive or
    uint32_t *cell_degree; // how many
    uint32_t *queue;       // cells of degree 1
    uint64_t *order;       // mixed keys in order of peeling
    uint32_t *order_cell;  // the cell that was theirs alone
} peeling;

// True when every key could be peeled.
static bool peel(const fuse_shape *shape, const uint64_t *hashes, size_t count, peeling *work) {
    memset(work->cell_xor, 0, shape->cell_count * sizeof *work->cell_xor);
    memset(work->cell_degree, 0, shape->cell_count * sizeof *work->cell_degree);
    uint32_t cells[3];
    for (size_t i = 0; i < count; i++) {
        uint64_t mixed = mix(hashes[i], shape->head.seed);
        cells_of(&shape->head, mixed, cells);
        for (int probe = 0; probe < 3; probe++) {
            work->cell_xor[cells[probe]] ^= mixed;
            work->cell_degree[cells[probe]]++;
        }
    }
    size_t queued = 0, peeled = 0;
    for (uint32_t cell = 0; cell < shape->cell_count; cell++)
        if (work->cell_degree[cell] == 1) work->queue[queued++] = cell;
    while (queued > 0) {
        uint32_t cell = work->queue[--queued];
        if (work->cell_degree[cell] != 1) continue; // Its key went by another cell.
        uint64_t mixed = work->cell_xor[cell];
        work->order[peeled] = mixed;
        work->order_cell[peeled++] = cell;
        cells_of(&shape->head, mixed, cells);
        for (int probe = 0; probe < 3; probe++) {
            work->cell_xor[cells[probe]] ^= mixed;
            if (--work->cell_degree[cells[probe]] == 1) work->queue[queued++] = cells[probe];
        }
    }
    return peeled == count;
}

static void assign(const fuse_shape *shape, const peeling *work, size_t count, uint8_t *cells_out) {
    uint32_t cells[3];
    for (size_t i = count; i-- > 0;) {
        uint64_t mixed = work->order[i];
        cells_of(&shape->head, mixed, cells);
        uint8_t value = fingerprint_of(mixed);
        for (int probe = 0; probe < 3; probe++)
            if (cells[probe] != work->order_cell[i]) value ^= cells_out[cells[probe]];
        cells_out[work->order_cell[i]] = value;
    }
}

static int compare_hashes(const void *a, const void *b) {
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static size_t remove_duplicates(uint64_t *hashes, size_t count) {
    qsort(hashes, count, sizeof *hashes, compare_hashes);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (i == 0 || hashes[i] != hashes[i - 1]) hashes[kept++] = hashes[i];
    return kept;
}

static bool peel_with_some_seed(fuse_shape *shape, uint64_t *hashes, size_t *count, peeling *work) {
    // defensive: no set of keys is known that none of so many seeds peels
    for (unsigned attempt = 0; attempt < SEEDS_MAX; attempt++) {
        // Equal hashes never peel. They are rare, so they are looked for only after some failures.
        if (attempt == SEEDS_BEFORE_SORT) *count = remove_duplicates(hashes, *count);
        shape->head.seed = mix(attempt, UINT64_C(0x9e3779b97f4a7c15));
        if (peel(shape, hashes, *count, work)) return true;
    }
    return false;
}

static void put_head(dbk_buf *buf, const fuse_shape *shape) {
    dbk_buf_append_u64(buf, shape->head.seed);
    dbk_buf_append_u32(buf, shape->head.segment_size);
    dbk_buf_append_u32(buf, shape->head.segment_count);
}

daybook_status dbk_filter_build(const daybook_allocator *allocator, uint64_t *hashes, size_t count,
                                dbk_buf *buf) {
    DBK_ASSERT(count > 0 && count <= DBK_FILTER_KEYS_MAX);
    fuse_shape shape;
    choose_shape(&shape, count);

    // One piece of memory, 8-byte parts first.
    size_t cells = shape.cell_count;
    size_t bytes = (cells + count) * sizeof(uint64_t) + (2 * cells + count) * sizeof(uint32_t);
    uint64_t *memory = dbk_alloc(allocator, bytes);
    if (memory == NULL) return DAYBOOK_ENOMEM;
    peeling work;
    work.cell_xor = memory;
    work.order = memory + cells;
    work.cell_degree = (uint32_t *)(memory + cells + count);
    work.order_cell = work.cell_degree + cells;
    work.queue = work.order_cell + count; // A cell's degree is 1 once at most, so it is queued once.

    // defensive: as above
    if (peel_with_some_seed(&shape, hashes, &count, &work)) {
        put_head(buf, &shape);
        uint8_t *out = dbk_buf_reserve(buf, cells);
        if (out != NULL) {
            memset(out, 0, cells);
            assign(&shape, &work, count, out);
            buf->size += cells;
        }
    } else {
        shape.head.segment_size = 0;
        shape.head.segment_count = 0;
        put_head(buf, &shape);
    }
    dbk_free(allocator, memory);
    return dbk_buf_status(buf);
}

void dbk_filter_get_shape(dbk_slice filter, dbk_filter_shape *shape_out) {
    const uint8_t *data = filter.data;
    shape_out->seed = dbk_get_u64(data);
    shape_out->segment_size = dbk_get_u32(data + 8);
    shape_out->segment_count = dbk_get_u32(data + 12);
}

bool dbk_filter_check(dbk_slice filter) {
    if (filter.size < HEAD_SIZE || filter.size > DBK_FILTER_SIZE_MAX) return false;
    dbk_filter_shape shape;
    dbk_filter_get_shape(filter, &shape);
    if (shape.segment_size == 0) return filter.size == HEAD_SIZE && shape.segment_count == 0;
    if (shape.segment_size > SEGMENT_SIZE_MAX || (shape.segment_size & (shape.segment_size - 1)) != 0)
        return false;
    if (shape.segment_count == 0 || shape.segment_count > DBK_FILTER_SIZE_MAX) return false;
    return (uint64_t)(shape.segment_count + 2) * shape.segment_size == filter.size - HEAD_SIZE;
}

void dbk_filter_probe_begin(const void *filter, const dbk_filter_shape *shape, uint64_t hash,
                            dbk_filter_probe *probe_out) {
    *probe_out = (dbk_filter_probe){.fingerprint = 0};
    if (shape->segment_size == 0) return;
    const uint8_t *data = (const uint8_t *)filter + HEAD_SIZE;
    uint64_t mixed = mix(hash, shape->seed);
    uint32_t cells[3];
    cells_of(shape, mixed, cells);
    probe_out->fingerprint = fingerprint_of(mixed);
    for (int i = 0; i < 3; i++) {
        probe_out->cells[i] = data + cells[i];
        __builtin_prefetch(probe_out->cells[i]);
    }
}

bool dbk_filter_probe_end(const dbk_filter_probe *probe) {
    const uint8_t *const *cells = probe->cells;
    return cells[0] == NULL || (uint8_t)(*cells[0] ^ *cells[1] ^ *cells[2]) == probe->fingerprint;
}

bool dbk_filter_may_contain(dbk_slice filter, uint64_t hash) {
    dbk_filter_shape shape;
    dbk_filter_get_shape(filter, &shape);
    dbk_filter_probe probe;
    dbk_filter_probe_begin(filter.data, &shape, hash, &probe);
    return dbk_filter_probe_end(&probe);
}
