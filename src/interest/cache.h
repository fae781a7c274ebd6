// SPDX-License-Identifier: Apache-2.0
// Results of matches by subject, as long as no filter that matches the subject comes or goes.
#ifndef DBK_INTEREST_CACHE_H
#define DBK_INTEREST_CACHE_H

#include "base/keyed_hash.h"
#include "interest/interest.h"

enum {
    DBK_INTEREST_CACHE_ENTRIES = 4096,        // subjects at most
    DBK_INTEREST_CACHE_BYTES = 8 << 20,       // of all results at most
    DBK_INTEREST_CACHE_RESULT_BYTES = 1 << 20 // of one result at most
};

/// Where a text stands by its first two tokens; equal for texts with equal first tokens.
typedef struct dbk_interest_place {
    uint32_t first;  // hash of the first token
    uint32_t second; // hash of the first two, with the dot between them; of the one where there is no second
} dbk_interest_place;
dbk_interest_place dbk_interest_place_of(const dbk_hash_key *key, dbk_slice text);

/// How much of a filter is literal, which bounds the subjects it can match.
typedef enum dbk_interest_reach {
    DBK_REACH_SUBJECT, // one: the filter itself
    DBK_REACH_SECOND,  // those with its first two tokens
    DBK_REACH_FIRST,   // those with its first token
    DBK_REACH_ALL
} dbk_interest_reach;
dbk_interest_reach dbk_interest_reach_of(dbk_slice filter, bool is_literal);

typedef struct dbk_interest_cached {
    uint64_t stamp; // sum of the generations that concern the subject, when it was filled
    dbk_interest_place place;
    uint32_t subject_size;
    size_t bytes; // of this allocation
    const char *subject;
    dbk_interest_matches matches;
    // then: pointers to entries, groups, the subject
} dbk_interest_cached;

enum { DBK_INTEREST_CACHE_WAYS = 4 };

typedef struct dbk_interest_set {
    struct {
        uint64_t hash;
        dbk_interest_cached *cached; // NULL: free
    } slots[DBK_INTEREST_CACHE_WAYS];
} dbk_interest_set;

typedef struct dbk_interest_cache {
    const daybook_allocator *allocator;
    dbk_hash_key key;
    dbk_interest_set *sets;
    uint32_t *seen;        // subjects asked for lately, by hash: those asked for twice are kept
    uint64_t *generations; // see cache.c
    size_t count;
    size_t bytes;
    uint32_t way_next; // where a full set makes room
    uint32_t hand;     // the set where memory is made free next
} dbk_interest_cache;

daybook_status dbk_interest_cache_init(dbk_interest_cache *cache, const daybook_allocator *allocator,
                                       const dbk_hash_key *key);
void dbk_interest_cache_deinit(dbk_interest_cache *cache);

/// The result for the subject with this hash, NULL where there is none that still holds.
const dbk_interest_matches *dbk_interest_cache_get(const dbk_interest_cache *cache, uint64_t hash,
                                                   dbk_slice subject);
/// Offers a result just collected: what is kept of it, or `matches` itself where nothing is: the subject
/// was not asked for before, it is too large, memory is out.
const dbk_interest_matches *dbk_interest_cache_put(dbk_interest_cache *cache, uint64_t hash,
                                                   dbk_slice subject, const dbk_interest_matches *matches);
/// A filter comes or goes.
void dbk_interest_cache_touch(dbk_interest_cache *cache, dbk_slice filter, dbk_interest_reach reach);
/// Adds cache_count, cache_bytes, fresh_count, fanout_*.
void dbk_interest_cache_get_stats(const dbk_interest_cache *cache, dbk_interest_stats *stats);

#endif
