// SPDX-License-Identifier: Apache-2.0
// Lists of positions as ranges; see ranges.h. Events that are removed together mostly lie together, so that a
// list of millions is a few ranges.
#include "store/ranges.h"

enum { CAPACITY_FIRST = 16 };

daybook_status dbk_ranges_add(dbk_ranges *ranges, const daybook_allocator *allocator, uint64_t position) {
    dbk_position_range *last = ranges->count > 0 ? &ranges->items[ranges->count - 1] : NULL;
    if (last != NULL && last->last + 1 == position) {
        last->last = position;
        return DAYBOOK_OK;
    }
    if (last != NULL && last->first == position + 1) {
        last->first = position;
        return DAYBOOK_OK;
    }
    if (ranges->count == ranges->capacity) {
        size_t capacity = ranges->capacity == 0 ? CAPACITY_FIRST : ranges->capacity * 2;
        dbk_position_range *items = dbk_resize_array(allocator, ranges->items, capacity, sizeof *items);
        if (items == NULL) return DAYBOOK_ENOMEM;
        ranges->items = items;
        ranges->capacity = capacity;
    }
    ranges->items[ranges->count++] = (dbk_position_range){position, position};
    return DAYBOOK_OK;
}

void dbk_ranges_reverse(dbk_ranges *ranges) {
    for (size_t i = 0; i < ranges->count / 2; i++) {
        dbk_position_range swap = ranges->items[i];
        ranges->items[i] = ranges->items[ranges->count - 1 - i];
        ranges->items[ranges->count - 1 - i] = swap;
    }
}

void dbk_ranges_deinit(dbk_ranges *ranges, const daybook_allocator *allocator) {
    dbk_free(allocator, ranges->items);
    *ranges = (dbk_ranges){0};
}
