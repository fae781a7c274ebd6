// SPDX-License-Identifier: Apache-2.0
// A hash table of links embedded in what it holds: adding allocates nothing but now and then a larger
// bucket array, and up to DBK_LINK_TABLE_CHAIN_MAX links not even that. Links come and go one by one. Keys
// and their comparison are the caller's. (What only grows, and holds numbers of things that lie elsewhere, is
// better served by base/hash_map.h.)
//
//     for (dbk_table_link *link = dbk_link_table_find(&table, hash); link != NULL;
//          link = dbk_link_table_find_next(link))
//         if (key of DBK_OWNER(link, thing, link) is the one) return it;
//
// Not thread-safe.
#ifndef DBK_BASE_LINK_TABLE_H
#define DBK_BASE_LINK_TABLE_H

#include "base/memory.h"

/// A member of what is in the table.
typedef struct dbk_table_link {
    struct dbk_table_link *next; // of the same bucket
    uint32_t hash;
    uint32_t size; // the owner's: of the key, say
} dbk_table_link;

typedef struct dbk_link_table {
    union {
        dbk_table_link *chain;    // bucket_count 0: all links
        dbk_table_link **buckets; // a power of two
    };
    uint32_t bucket_count;
    uint32_t count;
} dbk_link_table;

enum { DBK_LINK_TABLE_CHAIN_MAX = 6 };

static inline void dbk_link_table_init(dbk_link_table *table) {
    *table = (dbk_link_table){.bucket_count = 0};
}

/// Makes room for one more link. ENOMEM: nothing has changed.
daybook_status dbk_link_table_reserve(dbk_link_table *table, const daybook_allocator *allocator);
/// After a reserve. `link->hash` is set.
void dbk_link_table_add(dbk_link_table *table, dbk_table_link *link);
/// Both at once, where longer chains will do without memory for more. `link->hash` is set.
static inline void dbk_link_table_insert(dbk_link_table *table, const daybook_allocator *allocator,
                                         dbk_table_link *link) {
    (void)dbk_link_table_reserve(table, allocator);
    dbk_link_table_add(table, link);
}
/// The link is in the table. The last one takes all memory along. Cannot fail: where there is no memory for a
/// smaller array the large one stays.
void dbk_link_table_remove(dbk_link_table *table, const daybook_allocator *allocator, dbk_table_link *link);

/// The first link with this hash, NULL: none.
static inline dbk_table_link *dbk_link_table_find(const dbk_link_table *table, uint32_t hash) {
    dbk_table_link *link = table->bucket_count == 0 ? table->chain
                                                    : table->buckets[hash & (table->bucket_count - 1)];
    while (link != NULL && link->hash != hash) link = link->next;
    return link;
}
/// The next one with the same hash.
static inline dbk_table_link *dbk_link_table_find_next(const dbk_table_link *before) {
    dbk_table_link *link = before->next;
    while (link != NULL && link->hash != before->hash) link = link->next;
    return link;
}
/// All links in no order: begin with NULL. None may come or go between two calls.
dbk_table_link *dbk_link_table_next(const dbk_link_table *table, const dbk_table_link *link);
/// Some links, those of one bucket: begin with position 0 and go on with what it returns, until that is 0.
/// Links may come and go between two calls, and the table grow and shrink: what is there all the time is
/// visited once.
uint32_t dbk_link_table_scan(const dbk_link_table *table, uint32_t position,
                             void (*visit)(void *context, dbk_table_link *link), void *context);
/// Takes all links out, as one chain; the table is empty then and holds no memory.
dbk_table_link *dbk_link_table_take_all(dbk_link_table *table, const daybook_allocator *allocator);
static inline size_t dbk_link_table_bytes(const dbk_link_table *table) {
    return table->bucket_count * sizeof(dbk_table_link *);
}

#endif
