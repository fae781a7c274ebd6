// SPDX-License-Identifier: Apache-2.0
// A hash table through structs of their owners: chains, doubled as it grows. Keys are the owner's; who looks
// up walks those of one hash and compares. One thread.
#ifndef DBK_SERVER_TABLE_H
#define DBK_SERVER_TABLE_H

#include "base/memory.h"

typedef struct dbk_name_table_node dbk_name_table_node;
struct dbk_name_table_node {
    dbk_name_table_node *next;
    uint64_t hash;
};

typedef struct dbk_name_table {
    const daybook_allocator *allocator;
    dbk_name_table_node **buckets;
    size_t bucket_count; // a power of two, 0 before the first
    size_t count;
} dbk_name_table;

void dbk_name_table_init(dbk_name_table *table, const daybook_allocator *allocator);
/// The nodes are their owners'.
void dbk_name_table_deinit(dbk_name_table *table);
/// The first node of this hash, NULL: none.
dbk_name_table_node *dbk_name_table_find(const dbk_name_table *table, uint64_t hash);
/// The next one of the same hash.
dbk_name_table_node *dbk_name_table_find_next(const dbk_name_table_node *node);
/// ENOMEM: it is not in the table.
daybook_status dbk_name_table_insert(dbk_name_table *table, dbk_name_table_node *node, uint64_t hash);
/// It must be in the table.
void dbk_name_table_remove(dbk_name_table *table, dbk_name_table_node *node);
/// All, in no order: begins with NULL; the node given may have been removed only if `next` was asked before.
dbk_name_table_node *dbk_name_table_next(const dbk_name_table *table, const dbk_name_table_node *node);

#endif
