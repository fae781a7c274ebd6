// SPDX-License-Identifier: Apache-2.0
// Seqs as ranges: see seq_set.h. A range is found by halving; ranges behind it move when one comes or goes.
#include "consumer/seq_set.h"

#include <string.h>

#include "base/error.h"

enum { CLOSED_AT_ONCE_PART = 16 };

void dbk_seq_set_deinit(dbk_seq_set *set, const daybook_allocator *allocator) {
    dbk_free(allocator, set->items);
    *set = (dbk_seq_set){.range_max = set->range_max};
}

// The first range that ends at `seq` or behind it.
static size_t find(const dbk_seq_set *set, uint64_t seq) {
    size_t low = 0, high = set->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (set->items[middle].last < seq) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool dbk_seq_set_has_any(const dbk_seq_set *set, uint64_t first, uint64_t last) {
    size_t at = find(set, first);
    return at < set->count && set->items[at].first <= last;
}

// Ranges from `at` on take the place of those from `end` on.
static void close_up(dbk_seq_set *set, size_t at, size_t end) {
    if (at == end) return;
    memmove(set->items + at, set->items + end, (set->count - end) * sizeof *set->items);
    set->count -= end - at;
}

static bool is_full(const dbk_seq_set *set) {
    return set->range_max > 0 && set->count >= set->range_max && set->count > 1;
}

static uint64_t gap_behind(const dbk_seq_set *set, size_t at) {
    return set->items[at + 1].first - set->items[at].last;
}

static size_t count_gaps(const dbk_seq_set *set, uint64_t size_max) {
    size_t count = 0;
    for (size_t i = 0; i + 1 < set->count; i++) count += gap_behind(set, i) <= size_max;
    return count;
}

// The least size that `wanted` gaps do not exceed.
static uint64_t find_gap_size(const dbk_seq_set *set, size_t wanted) {
    uint64_t low = 0, high = UINT64_MAX;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (count_gaps(set, middle) >= wanted) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

// The smallest gaps, a sixteenth of them at once: what that costs is spread over as many ranges that come.
static void close_smallest_gaps(dbk_seq_set *set) {
    size_t wanted = set->count / CLOSED_AT_ONCE_PART;
    if (wanted == 0) wanted = 1;
    uint64_t size = find_gap_size(set, wanted);
    size_t equal = wanted -
                   (size == 0 ? 0 : count_gaps(set, size - 1)); // to be closed, of those of that size
    size_t into = 0;
    for (size_t i = 1; i < set->count; i++) {
        uint64_t gap = set->items[i].first - set->items[into].last;
        if (gap > size || (gap == size && equal == 0)) {
            set->items[++into] = set->items[i];
            continue;
        }
        if (gap == size) equal--;
        set->items[into].last = set->items[i].last;
    }
    set->count = into + 1;
}

// Room for one range at `at`, which is not filled.
static daybook_status open_up(dbk_seq_set *set, const daybook_allocator *allocator, size_t at) {
    dbk_seq_range *items =
        dbk_grow_array(allocator, set->items, &set->capacity, set->count + 1, sizeof *items);
    if (items == NULL) return DAYBOOK_ENOMEM;
    set->items = items;
    if (at < set->count) memmove(items + at + 1, items + at, (set->count - at) * sizeof *items);
    set->count++;
    return DAYBOOK_OK;
}

daybook_status dbk_seq_set_add(dbk_seq_set *set, const daybook_allocator *allocator, uint64_t first,
                               uint64_t last) {
    for (;;) {
        size_t at = find(set, first == 0 ? 0 : first - 1), end = at;
        // Those it meets become one with it.
        while (end < set->count && (last == UINT64_MAX || set->items[end].first <= last + 1)) {
            if (set->items[end].first < first) first = set->items[end].first;
            if (set->items[end].last > last) last = set->items[end].last;
            end++;
        }
        if (end > at) {
            set->items[at] = (dbk_seq_range){first, last};
            close_up(set, at + 1, end);
            return DAYBOOK_OK;
        }
        if (!is_full(set)) {
            DBK_TRY(open_up(set, allocator, at));
            set->items[at] = (dbk_seq_range){first, last};
            return DAYBOOK_OK;
        }
        close_smallest_gaps(set);
    }
}

// Out of the middle of the range at `at`.
static daybook_status split(dbk_seq_set *set, const daybook_allocator *allocator, size_t at, uint64_t first,
                            uint64_t last) {
    DBK_TRY(open_up(set, allocator, at));
    set->items[at] = (dbk_seq_range){set->items[at + 1].first, first - 1};
    set->items[at + 1].first = last + 1;
    return DAYBOOK_OK;
}

daybook_status dbk_seq_set_remove(dbk_seq_set *set, const daybook_allocator *allocator, uint64_t first,
                                  uint64_t last) {
    size_t at = find(set, first);
    if (at == set->count || set->items[at].first > last) return DAYBOOK_OK;
    if (set->items[at].first < first && set->items[at].last > last) {
        if (is_full(set)) close_smallest_gaps(set);
        return split(set, allocator, find(set, first), first, last);
    }
    if (set->items[at].first < first) set->items[at++].last = first - 1;
    size_t end = at;
    while (end < set->count && set->items[end].last <= last) end++;
    if (end < set->count && set->items[end].first <= last) set->items[end].first = last + 1;
    close_up(set, at, end);
    return DAYBOOK_OK;
}
