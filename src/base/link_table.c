// SPDX-License-Identifier: Apache-2.0
// Chained buckets. Up to DBK_LINK_TABLE_CHAIN_MAX links are one chain without an array: most nodes of a
// subject trie have one child. Beyond, as many buckets as links, to the next power of two; a quarter of them
// when seven eighths are more than needed. The hash is kept in the link, so moving needs no keys.
//
// Invariant: bucket_count is 0 or a power of two; where each link was added after a successful reserve, count
// is at most DBK_LINK_TABLE_CHAIN_MAX or bucket_count. Failure mode: no memory for the array: growing reports
// it and changes nothing, shrinking stays as it is.
#include "base/link_table.h"

#include <string.h>

#include "base/assert.h"

enum { BUCKETS_FIRST = 16, BUCKETS_MAX = 1 << 30 };

static dbk_table_link **bucket_of(dbk_link_table *table, uint32_t hash) {
    return table->bucket_count == 0 ? &table->chain : &table->buckets[hash & (table->bucket_count - 1)];
}

static void put(dbk_link_table *table, dbk_table_link *link) {
    dbk_table_link **bucket = bucket_of(table, link->hash);
    link->next = *bucket;
    *bucket = link;
}

static void put_chain(dbk_link_table *table, dbk_table_link *chain) {
    while (chain != NULL) {
        dbk_table_link *next = chain->next;
        put(table, chain);
        chain = next;
    }
}

// Moves all links into `bucket_count` new buckets; 0: into one chain.
static daybook_status rebuild(dbk_link_table *table, const daybook_allocator *allocator,
                              uint32_t bucket_count) {
    dbk_link_table built = {.bucket_count = bucket_count, .count = table->count};
    if (bucket_count > 0) {
        built.buckets = dbk_alloc_zeroed(allocator, bucket_count * sizeof(dbk_table_link *));
        if (built.buckets == NULL) return DAYBOOK_ENOMEM;
    }
    if (table->bucket_count == 0) put_chain(&built, table->chain);
    for (uint32_t i = 0; i < table->bucket_count; i++) put_chain(&built, table->buckets[i]);
    if (table->bucket_count > 0) dbk_free(allocator, table->buckets);
    *table = built;
    return DAYBOOK_OK;
}

daybook_status dbk_link_table_reserve(dbk_link_table *table, const daybook_allocator *allocator) {
    uint32_t buckets = table->bucket_count;
    if (table->count < (buckets == 0 ? DBK_LINK_TABLE_CHAIN_MAX : buckets)) return DAYBOOK_OK;
    if (buckets >= BUCKETS_MAX) return DAYBOOK_ENOMEM;
    return rebuild(table, allocator, buckets == 0 ? BUCKETS_FIRST : buckets * 2);
}

void dbk_link_table_add(dbk_link_table *table, dbk_table_link *link) {
    put(table, link);
    table->count++;
}

void dbk_link_table_remove(dbk_link_table *table, const daybook_allocator *allocator, dbk_table_link *link) {
    dbk_table_link **at = bucket_of(table, link->hash);
    while (*at != link) {
        DBK_ASSERT(*at != NULL);
        at = &(*at)->next;
    }
    *at = link->next;
    table->count--;
    if (table->bucket_count == 0 || table->count >= table->bucket_count / 8) return;
    uint32_t smaller = table->count <= DBK_LINK_TABLE_CHAIN_MAX / 2 ? 0 : table->bucket_count / 4;
    (void)rebuild(table, allocator, smaller); // without memory for it the large array does as well
}

dbk_table_link *dbk_link_table_next(const dbk_link_table *table, const dbk_table_link *link) {
    if (link != NULL && link->next != NULL) return link->next;
    if (table->bucket_count == 0) return link == NULL ? table->chain : NULL;
    uint32_t at = link == NULL ? 0 : (link->hash & (table->bucket_count - 1)) + 1;
    while (at < table->bucket_count && table->buckets[at] == NULL) at++;
    return at < table->bucket_count ? table->buckets[at] : NULL;
}

static uint32_t reversed(uint32_t bits) {
    bits = (bits >> 1 & 0x55555555u) | (bits & 0x55555555u) << 1;
    bits = (bits >> 2 & 0x33333333u) | (bits & 0x33333333u) << 2;
    bits = (bits >> 4 & 0x0f0f0f0fu) | (bits & 0x0f0f0f0fu) << 4;
    bits = (bits >> 8 & 0x00ff00ffu) | (bits & 0x00ff00ffu) << 8;
    return bits >> 16 | bits << 16;
}

// A position is a hash with its bits reversed: in that order the links of a bucket stand together, whatever
// the number of buckets. All before the position were visited.
uint32_t dbk_link_table_scan(const dbk_link_table *table, uint32_t position,
                             void (*visit)(void *context, dbk_table_link *link), void *context) {
    uint32_t mask = table->bucket_count == 0 ? 0 : table->bucket_count - 1;
    uint32_t bucket = reversed(position) & mask;
    dbk_table_link *link = table->bucket_count == 0 ? table->chain : table->buckets[bucket];
    for (; link != NULL; link = link->next) {
        if (reversed(link->hash) >= position) visit(context, link);
    }
    return reversed(bucket | ~mask) + 1;
}

dbk_table_link *dbk_link_table_take_all(dbk_link_table *table, const daybook_allocator *allocator) {
    // Emptying into one chain needs no memory.
    (void)rebuild(table, allocator, 0);
    dbk_table_link *chain = table->chain;
    dbk_link_table_init(table);
    return chain;
}
