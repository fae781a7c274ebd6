// SPDX-License-Identifier: Apache-2.0
// A hash table of links embedded in what it holds: adding allocates nothing but now and then a larger
// bucket array, and up to DBK_TABLE_CHAIN_MAX links not even that. Keys and their comparison are the
// caller's.
//
//     for (dbk_table_link *link = dbk_table_first(&table, hash); link != NULL; link = link->next)
//         if (link->hash == hash && ...) return (thing *)link;
//
// Not thread-safe.
#ifndef DBK_INTEREST_TABLE_H
#define DBK_INTEREST_TABLE_H

#include "base/memory.h"

/// The first member of what is in the table.
typedef struct dbk_table_link {
    struct dbk_table_link *next; // of the same bucket
    uint32_t hash;
    uint32_t size; // the owner's: of the key, say
} dbk_table_link;

typedef struct dbk_table {
    union {
        dbk_table_link *chain;    // bucket_count 0: all links
        dbk_table_link **buckets; // a power of two
    };
    uint32_t bucket_count;
    uint32_t count;
} dbk_table;

enum { DBK_TABLE_CHAIN_MAX = 6 };

static inline void dbk_table_init(dbk_table *table) {
    *table = (dbk_table){.bucket_count = 0};
}

/// Makes room for one more link. ENOMEM: nothing has changed.
daybook_status dbk_table_reserve(dbk_table *table, const daybook_allocator *allocator);
/// After a reserve. `link->hash` is set.
void dbk_table_add(dbk_table *table, dbk_table_link *link);
/// The link is in the table. Cannot fail: where there is no memory for a smaller array the large one stays.
void dbk_table_remove(dbk_table *table, const daybook_allocator *allocator, dbk_table_link *link);

/// Where to look for links with this hash; others are among them.
static inline dbk_table_link *dbk_table_first(const dbk_table *table, uint32_t hash) {
    return table->bucket_count == 0 ? table->chain : table->buckets[hash & (table->bucket_count - 1)];
}
/// Takes all links out, as one chain; the table is empty then and holds no memory.
dbk_table_link *dbk_table_take_all(dbk_table *table, const daybook_allocator *allocator);
static inline size_t dbk_table_bytes(const dbk_table *table) {
    return table->bucket_count * sizeof(dbk_table_link *);
}

#endif
