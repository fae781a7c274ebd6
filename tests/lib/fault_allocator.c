// SPDX-License-Identifier: Apache-2.0
// Each allocation carries its size in front, in a header that keeps the alignment of malloc. Growing counts
// as an allocating call: it is where real ones fail.
#include "lib/fault_allocator.h"

#include <stdlib.h>
#include <string.h>

typedef union header {
    size_t size;
    long double alignment_a; // what malloc promises: aligned for every type
    void *alignment_b;
} header;

static uint64_t load(const uint64_t *value) {
    return __atomic_load_n(value, __ATOMIC_SEQ_CST);
}

static uint64_t add(uint64_t *value, uint64_t change) {
    return __atomic_add_fetch(value, change, __ATOMIC_SEQ_CST);
}

static void raise_peak(fault_allocator *faults, uint64_t bytes) {
    uint64_t peak = load(&faults->peak_bytes);
    while (peak < bytes && !__atomic_compare_exchange_n(&faults->peak_bytes, &peak, bytes, false,
                                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
    }
}

static void *resize(void *context, void *data, size_t size) {
    fault_allocator *faults = context;
    uint64_t call = add(&faults->calls, 1);
    if (call >= load(&faults->fail_from) && call <= load(&faults->fail_to)) {
        (void)add(&faults->failures, 1);
        return NULL;
    }
    if (size > SIZE_MAX - sizeof(header)) return NULL;
    header *old = data == NULL ? NULL : (header *)data - 1;
    size_t old_size = old == NULL ? 0 : old->size;
    // Always moved, so that a pointer kept across a resize is found by the address sanitizer.
    header *fresh = malloc(sizeof *fresh + size);
    if (fresh == NULL) return NULL;
    fresh->size = size;
    if (old != NULL) {
        memcpy(fresh + 1, old + 1, size < old_size ? size : old_size);
        free(old);
    } else {
        (void)add(&faults->live_count, 1);
    }
    raise_peak(faults, add(&faults->live_bytes, size - old_size));
    return fresh + 1;
}

static void release(void *context, void *data) {
    fault_allocator *faults = context;
    if (data == NULL) return;
    header *old = (header *)data - 1;
    (void)add(&faults->live_count, UINT64_MAX); // minus one
    (void)add(&faults->live_bytes, 0 - (uint64_t)old->size);
    free(old);
}

void fault_allocator_init(fault_allocator *faults) {
    *faults = (fault_allocator){.allocator = {.context = faults, .resize = resize, .release = release}};
}

void fault_allocator_fail(fault_allocator *faults, uint64_t nth, bool is_forever) {
    uint64_t first = load(&faults->calls) + nth;
    __atomic_store_n(&faults->failures, 0, __ATOMIC_SEQ_CST);
    // Empty range first, so that no call in between sees half of the new one.
    __atomic_store_n(&faults->fail_to, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&faults->fail_from, first, __ATOMIC_SEQ_CST);
    uint64_t last = nth == 0 ? 0 : is_forever ? UINT64_MAX : first;
    __atomic_store_n(&faults->fail_to, last, __ATOMIC_SEQ_CST);
}

bool fault_allocator_has_failed(const fault_allocator *faults) {
    return load(&faults->failures) > 0;
}

uint64_t fault_allocator_live(const fault_allocator *faults) {
    return load(&faults->live_count);
}

uint64_t fault_allocator_live_bytes(const fault_allocator *faults) {
    return load(&faults->live_bytes);
}

uint64_t fault_allocator_peak_bytes(const fault_allocator *faults) {
    return load(&faults->peak_bytes);
}
