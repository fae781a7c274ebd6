// SPDX-License-Identifier: Apache-2.0
// A growing list of positions, kept as ranges: what a removal names. Zeroed it is empty. One thread at a
// time.
#ifndef DBK_STORE_RANGES_H
#define DBK_STORE_RANGES_H

#include "base/memory.h"
#include "record/record.h"

typedef struct dbk_ranges {
    dbk_position_range *items; // owned
    size_t count;
    size_t capacity;
} dbk_ranges;

/// Positions come all in ascending or all in descending order, and so do the ranges then. Neighbours share
/// one. ENOMEM.
daybook_status dbk_ranges_add(dbk_ranges *ranges, const daybook_allocator *allocator, uint64_t position);
/// Ascending from descending: what a record wants.
void dbk_ranges_reverse(dbk_ranges *ranges);
/// Leaves it empty.
void dbk_ranges_deinit(dbk_ranges *ranges, const daybook_allocator *allocator);

#endif
