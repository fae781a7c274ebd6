// SPDX-License-Identifier: Apache-2.0
// A set of seqs, kept as ranges: what a consumer gave up, what of a stream nobody wants.
//
// Invariants: ranges ascend, and between two of them lies at least one seq that is not in the set.
//
// Memory is bounded where `range_max` is set: where one range more is needed, the smallest gaps are closed
// first, a sixteenth of all, and what lies in them counts as in the set. So the set may name too much, never
// too little; who uses it must bear that. Zeroed it is empty, without a bound. Not thread-safe.
#ifndef DBK_CONSUMER_SEQ_SET_H
#define DBK_CONSUMER_SEQ_SET_H

#include "consumer/schedule.h"

typedef struct dbk_seq_set {
    dbk_seq_range *items; // owned
    size_t count;
    size_t capacity;
    size_t range_max; // 0: no bound; else 2 at least
} dbk_seq_set;

/// Leaves it empty; the bound stays.
void dbk_seq_set_deinit(dbk_seq_set *set, const daybook_allocator *allocator);
/// Is any of first to last in it?
bool dbk_seq_set_has_any(const dbk_seq_set *set, uint64_t first, uint64_t last);
static inline bool dbk_seq_set_has(const dbk_seq_set *set, uint64_t seq) {
    return dbk_seq_set_has_any(set, seq, seq);
}
/// ENOMEM, and nothing changed.
daybook_status dbk_seq_set_add(dbk_seq_set *set, const daybook_allocator *allocator, uint64_t first,
                               uint64_t last);
/// ENOMEM, and nothing changed: only where something before and something behind stays of one range.
daybook_status dbk_seq_set_remove(dbk_seq_set *set, const daybook_allocator *allocator, uint64_t first,
                                  uint64_t last);

#endif
