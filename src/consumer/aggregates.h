// SPDX-License-Identifier: Apache-2.0
// In order per aggregate: which aggregates have a message in flight, and what waits behind it.
//
// Aggregates are known by a 64-bit hash of their name. Two that share one are kept in one order, which is
// stricter than asked and does no harm. A message without aggregate (hash 0) waits for nobody and is not kept
// here.
//
// One open-addressing table, linear probing, deletion by moving back; what waits is a list in an array of
// nodes. Not thread-safe.
#ifndef DBK_CONSUMER_AGGREGATES_H
#define DBK_CONSUMER_AGGREGATES_H

#include "base/memory.h"

typedef struct dbk_aggregates {
    const daybook_allocator *allocator;
    struct dbk_aggregate_slot *slots;
    size_t capacity; // power of two, or 0
    size_t count;
    struct dbk_aggregate_node *nodes;
    size_t node_capacity;
    size_t node_count; // ever used
    uint32_t free_node;
} dbk_aggregates;

void dbk_aggregates_init(dbk_aggregates *aggregates, const daybook_allocator *allocator);
void dbk_aggregates_deinit(dbk_aggregates *aggregates);
/// Is one of the aggregate in flight?
bool dbk_aggregates_is_busy(const dbk_aggregates *aggregates, uint64_t aggregate);
/// `seq` is in flight; none was. ENOMEM.
daybook_status dbk_aggregates_begin(dbk_aggregates *aggregates, uint64_t aggregate, uint64_t seq);
/// `seq` waits behind what is in flight and behind what waits already. ENOMEM.
daybook_status dbk_aggregates_wait(dbk_aggregates *aggregates, uint64_t aggregate, uint64_t seq);
/// `seq`, which was the last to wait, does not after all.
void dbk_aggregates_take_back(dbk_aggregates *aggregates, uint64_t aggregate, uint64_t seq);
/// `seq` is settled. Where it was in flight the first that waits takes its place and is given; 0 where none
/// does.
uint64_t dbk_aggregates_end(dbk_aggregates *aggregates, uint64_t aggregate, uint64_t seq);
size_t dbk_aggregates_bytes(const dbk_aggregates *aggregates);

#endif
