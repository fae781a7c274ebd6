// SPDX-License-Identifier: Apache-2.0
// Chains in an array of a power of two; doubled when there are as many nodes as chains, never shrunk.
#include "server/table.h"

#include "base/assert.h"

enum { BUCKETS_MIN = 16 };

void dbk_name_table_init(dbk_name_table *table, const daybook_allocator *allocator) {
    *table = (dbk_name_table){.allocator = allocator};
}

void dbk_name_table_deinit(dbk_name_table *table) {
    dbk_free(table->allocator, table->buckets);
    *table = (dbk_name_table){.allocator = table->allocator};
}

static dbk_name_table_node **bucket_of(const dbk_name_table *table, uint64_t hash) {
    return &table->buckets[hash & (table->bucket_count - 1)];
}

static dbk_name_table_node *first_of(dbk_name_table_node *node, uint64_t hash) {
    while (node != NULL && node->hash != hash) node = node->next;
    return node;
}

dbk_name_table_node *dbk_name_table_find(const dbk_name_table *table, uint64_t hash) {
    return table->bucket_count == 0 ? NULL : first_of(*bucket_of(table, hash), hash);
}

dbk_name_table_node *dbk_name_table_find_next(const dbk_name_table_node *node) {
    return first_of(node->next, node->hash);
}

static daybook_status grow(dbk_name_table *table) {
    size_t count = table->bucket_count == 0 ? BUCKETS_MIN : 2 * table->bucket_count;
    dbk_name_table grown = *table;
    grown.buckets = dbk_alloc_zeroed(table->allocator, count * sizeof *grown.buckets);
    if (grown.buckets == NULL) return DAYBOOK_ENOMEM;
    grown.bucket_count = count;
    for (size_t i = 0; i < table->bucket_count; i++) {
        for (dbk_name_table_node *node = table->buckets[i]; node != NULL;) {
            dbk_name_table_node *next = node->next;
            dbk_name_table_node **bucket = bucket_of(&grown, node->hash);
            node->next = *bucket;
            *bucket = node;
            node = next;
        }
    }
    dbk_free(table->allocator, table->buckets);
    *table = grown;
    return DAYBOOK_OK;
}

daybook_status dbk_name_table_insert(dbk_name_table *table, dbk_name_table_node *node, uint64_t hash) {
    // Where it cannot grow, longer chains do, as long as there are any.
    if (table->count >= table->bucket_count && grow(table) != DAYBOOK_OK && table->bucket_count == 0)
        return DAYBOOK_ENOMEM;
    dbk_name_table_node **bucket = bucket_of(table, hash);
    node->hash = hash;
    node->next = *bucket;
    *bucket = node;
    table->count++;
    return DAYBOOK_OK;
}

void dbk_name_table_remove(dbk_name_table *table, dbk_name_table_node *node) {
    dbk_name_table_node **link = bucket_of(table, node->hash);
    while (*link != node) {
        DBK_ASSERT(*link != NULL);
        link = &(*link)->next;
    }
    *link = node->next;
    node->next = NULL;
    table->count--;
}

dbk_name_table_node *dbk_name_table_next(const dbk_name_table *table, const dbk_name_table_node *node) {
    if (node != NULL && node->next != NULL) return node->next;
    if (table->bucket_count == 0) return NULL;
    size_t at = node == NULL ? 0 : (node->hash & (table->bucket_count - 1)) + 1;
    for (; at < table->bucket_count; at++)
        if (table->buckets[at] != NULL) return table->buckets[at];
    return NULL;
}
