// SPDX-License-Identifier: Apache-2.0
// Order per aggregate: the table and the lists (aggregates.h says what for).
#include "consumer/aggregates.h"

#include "base/assert.h"
#include "base/error.h"

enum { CAPACITY_MIN = 64 };
#define NO_NODE UINT32_MAX

struct dbk_aggregate_slot {
    uint64_t aggregate; // 0: free
    uint64_t seq;       // in flight
    uint32_t head;      // of those that wait
    uint32_t tail;
};

struct dbk_aggregate_node {
    uint64_t seq;
    uint32_t next;
};

void dbk_aggregates_init(dbk_aggregates *aggregates, const daybook_allocator *allocator) {
    *aggregates = (dbk_aggregates){.allocator = allocator, .free_node = NO_NODE};
}

void dbk_aggregates_deinit(dbk_aggregates *aggregates) {
    dbk_free(aggregates->allocator, aggregates->slots);
    dbk_free(aggregates->allocator, aggregates->nodes);
    dbk_aggregates_init(aggregates, aggregates->allocator);
}

// The slot of the aggregate, or the free one where it would go.
static size_t find(const dbk_aggregates *aggregates, uint64_t aggregate) {
    size_t mask = aggregates->capacity - 1, at = (size_t)aggregate & mask;
    while (aggregates->slots[at].aggregate != 0 && aggregates->slots[at].aggregate != aggregate)
        at = (at + 1) & mask;
    return at;
}

static daybook_status make_room(dbk_aggregates *aggregates) {
    if (aggregates->capacity > 0 && aggregates->count < aggregates->capacity / 2) return DAYBOOK_OK;
    size_t capacity = aggregates->capacity == 0 ? CAPACITY_MIN : aggregates->capacity * 2;
    struct dbk_aggregate_slot *slots = dbk_alloc_zeroed(aggregates->allocator, capacity * sizeof *slots);
    if (slots == NULL) return DAYBOOK_ENOMEM;
    dbk_aggregates old = *aggregates;
    aggregates->slots = slots;
    aggregates->capacity = capacity;
    for (size_t i = 0; i < old.capacity; i++) {
        if (old.slots[i].aggregate != 0) slots[find(aggregates, old.slots[i].aggregate)] = old.slots[i];
    }
    dbk_free(aggregates->allocator, old.slots);
    return DAYBOOK_OK;
}

bool dbk_aggregates_is_busy(const dbk_aggregates *aggregates, uint64_t aggregate) {
    if (aggregate == 0 || aggregates->count == 0) return false;
    return aggregates->slots[find(aggregates, aggregate)].aggregate != 0;
}

daybook_status dbk_aggregates_begin(dbk_aggregates *aggregates, uint64_t aggregate, uint64_t seq) {
    if (aggregate == 0) return DAYBOOK_OK;
    DBK_TRY(make_room(aggregates));
    struct dbk_aggregate_slot *slot = &aggregates->slots[find(aggregates, aggregate)];
    DBK_ASSERT(slot->aggregate == 0);
    *slot = (struct dbk_aggregate_slot){aggregate, seq, NO_NODE, NO_NODE};
    aggregates->count++;
    return DAYBOOK_OK;
}

static daybook_status take_node(dbk_aggregates *aggregates, uint32_t *node_out) {
    if (aggregates->free_node != NO_NODE) {
        *node_out = aggregates->free_node;
        aggregates->free_node = aggregates->nodes[*node_out].next;
        return DAYBOOK_OK;
    }
    struct dbk_aggregate_node *nodes = dbk_grow_array(aggregates->allocator, aggregates->nodes,
                                                      &aggregates->node_capacity, aggregates->node_count + 1,
                                                      sizeof *nodes);
    if (nodes == NULL || aggregates->node_count >= NO_NODE) return DAYBOOK_ENOMEM;
    aggregates->nodes = nodes;
    *node_out = (uint32_t)aggregates->node_count++;
    return DAYBOOK_OK;
}

daybook_status dbk_aggregates_wait(dbk_aggregates *aggregates, uint64_t aggregate, uint64_t seq) {
    uint32_t node;
    DBK_TRY(take_node(aggregates, &node));
    struct dbk_aggregate_slot *slot = &aggregates->slots[find(aggregates, aggregate)];
    DBK_ASSERT(slot->aggregate == aggregate);
    aggregates->nodes[node] = (struct dbk_aggregate_node){seq, NO_NODE};
    if (slot->tail == NO_NODE) {
        slot->head = node;
    } else {
        aggregates->nodes[slot->tail].next = node;
    }
    slot->tail = node;
    return DAYBOOK_OK;
}

void dbk_aggregates_take_back(dbk_aggregates *aggregates, uint64_t aggregate, uint64_t seq) {
    struct dbk_aggregate_slot *slot = &aggregates->slots[find(aggregates, aggregate)];
    uint32_t last = slot->tail, before = NO_NODE;
    DBK_ASSERT(last != NO_NODE && aggregates->nodes[last].seq == seq);
    for (uint32_t node = slot->head; node != last; node = aggregates->nodes[node].next) before = node;
    slot->tail = before;
    if (before == NO_NODE) {
        slot->head = NO_NODE;
    } else {
        aggregates->nodes[before].next = NO_NODE;
    }
    aggregates->nodes[last].next = aggregates->free_node;
    aggregates->free_node = last;
}

// What probed past the freed slot moves back.
static void free_slot(dbk_aggregates *aggregates, size_t at) {
    size_t mask = aggregates->capacity - 1;
    for (size_t next = (at + 1) & mask; aggregates->slots[next].aggregate != 0; next = (next + 1) & mask) {
        size_t home = (size_t)aggregates->slots[next].aggregate & mask;
        if (((next - home) & mask) < ((next - at) & mask)) continue;
        aggregates->slots[at] = aggregates->slots[next];
        at = next;
    }
    aggregates->slots[at] = (struct dbk_aggregate_slot){0};
    aggregates->count--;
}

uint64_t dbk_aggregates_end(dbk_aggregates *aggregates, uint64_t aggregate, uint64_t seq) {
    if (aggregate == 0 || aggregates->count == 0) return 0;
    size_t at = find(aggregates, aggregate);
    struct dbk_aggregate_slot *slot = &aggregates->slots[at];
    if (slot->aggregate == 0 || slot->seq != seq) return 0;
    if (slot->head == NO_NODE) {
        free_slot(aggregates, at);
        return 0;
    }
    uint32_t node = slot->head;
    slot->seq = aggregates->nodes[node].seq;
    slot->head = aggregates->nodes[node].next;
    if (slot->head == NO_NODE) slot->tail = NO_NODE;
    aggregates->nodes[node].next = aggregates->free_node;
    aggregates->free_node = node;
    return slot->seq;
}

size_t dbk_aggregates_bytes(const dbk_aggregates *aggregates) {
    return aggregates->capacity * sizeof(struct dbk_aggregate_slot) +
           aggregates->node_capacity * sizeof(struct dbk_aggregate_node);
}
