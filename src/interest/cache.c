// SPDX-License-Identifier: Apache-2.0
// 1024 sets of four subjects. A look-up hashes the subject, compares four hashes in one cache line, then
// the text, then whether the result still holds.
//
// Holding: a literal filter that comes or goes throws out the result of its one subject. One with wildcards
// cannot name its subjects, so it counts up a generation: one of 1024 chosen by its first two tokens where
// these are literal, one of 256 by its first token where that is, else the one of all. A result keeps the
// sum of the three that concern its subject; generations only grow, so the sum is the same exactly while
// none has moved. So a client that subscribes to its inbox "_INBOX.x7Kp.*" leaves the results of everybody
// else alone.
//
// What is kept: a subject asked for a second time while the table `seen` remembers it. Most subjects of
// requests (reply inboxes) are asked for once; these cost no allocation and push nobody out. In a full set
// a result that does not hold goes first, then one in turn. Results beyond DBK_INTEREST_CACHE_BYTES push
// out others, set by set.
//
// A result that does not hold may point to entries that are no more; it is never read. Failure mode:
// without memory a result is not kept. Not thread-safe.
#include "interest/cache.h"

#include <string.h>

enum {
    SETS = DBK_INTEREST_CACHE_ENTRIES / DBK_INTEREST_CACHE_WAYS,
    SEEN = 2 * DBK_INTEREST_CACHE_ENTRIES,
    GENERATIONS_FIRST = 256,
    GENERATIONS_SECOND = 1024,
    // Their places in `generations`: that of all, those by first token, those by first two.
    AT_ALL = 0,
    AT_FIRST = 1,
    AT_SECOND = AT_FIRST + GENERATIONS_FIRST,
    GENERATIONS = AT_SECOND + GENERATIONS_SECOND
};

daybook_status dbk_interest_cache_init(dbk_interest_cache *cache, const daybook_allocator *allocator,
                                       const dbk_hash_key *key) {
    *cache = (dbk_interest_cache){.allocator = allocator, .key = *key};
    cache->sets = dbk_alloc_zeroed(allocator, SETS * sizeof *cache->sets);
    cache->seen = dbk_alloc_zeroed(allocator, SEEN * sizeof *cache->seen);
    cache->generations = dbk_alloc_zeroed(allocator, GENERATIONS * sizeof *cache->generations);
    bool is_complete = cache->sets != NULL && cache->seen != NULL && cache->generations != NULL;
    if (is_complete) return DAYBOOK_OK;
    dbk_interest_cache_deinit(cache);
    return DAYBOOK_ENOMEM;
}

static void drop(dbk_interest_cache *cache, dbk_interest_set *set, int way) {
    dbk_interest_cached *cached = set->slots[way].cached;
    if (cached == NULL) return;
    set->slots[way].cached = NULL;
    cache->count--;
    cache->bytes -= cached->bytes;
    dbk_free(cache->allocator, cached);
}

void dbk_interest_cache_deinit(dbk_interest_cache *cache) {
    if (cache->allocator == NULL) return;
    for (int i = 0; cache->sets != NULL && i < SETS; i++) {
        for (int way = 0; way < DBK_INTEREST_CACHE_WAYS; way++) drop(cache, &cache->sets[i], way);
    }
    dbk_free(cache->allocator, cache->sets);
    dbk_free(cache->allocator, cache->seen);
    dbk_free(cache->allocator, cache->generations);
    *cache = (dbk_interest_cache){.allocator = NULL};
}

// Places and reach

// Bytes up to the end of the token that begins at `start`.
static size_t token_end(dbk_slice text, size_t start) {
    const char *at = text.data;
    size_t end = start;
    while (end < text.size && at[end] != '.') end++;
    return end;
}

dbk_interest_place dbk_interest_place_of(const dbk_hash_key *key, dbk_slice text) {
    size_t first = token_end(text, 0);
    size_t second = first == text.size ? first : token_end(text, first + 1);
    return (dbk_interest_place){.first = (uint32_t)dbk_hash_bytes(key, text.data, first),
                                .second = (uint32_t)dbk_hash_bytes(key, text.data, second)};
}

static bool is_wild(dbk_slice text, size_t start, size_t end) {
    const char *at = text.data;
    return end == start + 1 && (at[start] == '*' || at[start] == '>');
}

dbk_interest_reach dbk_interest_reach_of(dbk_slice filter, bool is_literal) {
    if (is_literal) return DBK_REACH_SUBJECT;
    size_t first = token_end(filter, 0);
    if (is_wild(filter, 0, first)) return DBK_REACH_ALL;
    // Not literal, so another token follows.
    size_t second = token_end(filter, first + 1);
    return is_wild(filter, first + 1, second) ? DBK_REACH_FIRST : DBK_REACH_SECOND;
}

// Generations

static size_t generation_first(dbk_interest_place place) {
    return AT_FIRST + place.first % GENERATIONS_FIRST;
}

static size_t generation_second(dbk_interest_place place) {
    return AT_SECOND + place.second % GENERATIONS_SECOND;
}

static uint64_t stamp_of(const dbk_interest_cache *cache, dbk_interest_place place) {
    const uint64_t *generations = cache->generations;
    return generations[AT_ALL] + generations[generation_first(place)] + generations[generation_second(place)];
}

static bool holds(const dbk_interest_cache *cache, const dbk_interest_cached *cached) {
    return cached->stamp == stamp_of(cache, cached->place);
}

// Looking up

static dbk_interest_set *set_of(const dbk_interest_cache *cache, uint64_t hash) {
    return &cache->sets[hash % SETS];
}

// The way of the subject in its set, -1 where it is in none.
static int find(const dbk_interest_set *set, uint64_t hash, dbk_slice subject) {
    for (int way = 0; way < DBK_INTEREST_CACHE_WAYS; way++) {
        const dbk_interest_cached *cached = set->slots[way].cached;
        if (set->slots[way].hash != hash || cached == NULL) continue;
        if (dbk_slice_equal(daybook_bytes(cached->subject, cached->subject_size), subject)) return way;
    }
    return -1;
}

const dbk_interest_matches *dbk_interest_cache_get(const dbk_interest_cache *cache, uint64_t hash,
                                                   dbk_slice subject) {
    const dbk_interest_set *set = set_of(cache, hash);
    int way = find(set, hash, subject);
    if (way < 0 || !holds(cache, set->slots[way].cached)) return NULL;
    return &set->slots[way].cached->matches;
}

// Keeping

static size_t result_bytes(dbk_slice subject, const dbk_interest_matches *matches) {
    size_t pointers = matches->plain_count;
    for (size_t i = 0; i < matches->group_count; i++) pointers += matches->groups[i].count;
    return sizeof(dbk_interest_cached) + pointers * sizeof(dbk_interest_entry *) +
           matches->group_count * sizeof(dbk_interest_group) + subject.size;
}

// In one piece of memory, behind its head: groups, then pointers, then the subject, so that each is aligned.
static dbk_interest_cached *copy_result(const dbk_interest_cache *cache, dbk_slice subject,
                                        const dbk_interest_matches *matches, size_t bytes) {
    dbk_interest_cached *cached = dbk_alloc(cache->allocator, bytes);
    if (cached == NULL) return NULL;
    dbk_interest_group *groups = (dbk_interest_group *)(cached + 1);
    dbk_interest_entry **pointers = (dbk_interest_entry **)(groups + matches->group_count);
    *cached = (dbk_interest_cached){.place = dbk_interest_place_of(&cache->key, subject),
                                    .subject_size = (uint32_t)subject.size,
                                    .bytes = bytes,
                                    .matches = {.plain = pointers, .groups = groups}};
    cached->stamp = stamp_of(cache, cached->place);
    cached->matches.plain_count = matches->plain_count;
    cached->matches.group_count = matches->group_count;
    if (matches->plain_count > 0) memcpy(pointers, matches->plain, matches->plain_count * sizeof *pointers);
    pointers += matches->plain_count;
    for (size_t i = 0; i < matches->group_count; i++) {
        groups[i] = matches->groups[i];
        groups[i].members = pointers;
        memcpy(pointers, matches->groups[i].members, groups[i].count * sizeof *pointers);
        pointers += groups[i].count;
    }
    if (subject.size > 0) memcpy(pointers, subject.data, subject.size);
    cached->subject = (const char *)pointers;
    return cached;
}

// A free way, or one made free.
static int make_way(dbk_interest_cache *cache, dbk_interest_set *set) {
    for (int way = 0; way < DBK_INTEREST_CACHE_WAYS; way++) {
        if (set->slots[way].cached == NULL) return way;
    }
    for (int way = 0; way < DBK_INTEREST_CACHE_WAYS; way++) {
        if (holds(cache, set->slots[way].cached)) continue;
        drop(cache, set, way);
        return way;
    }
    int way = (int)(cache->way_next++ % DBK_INTEREST_CACHE_WAYS);
    drop(cache, set, way);
    return way;
}

static void make_bytes(dbk_interest_cache *cache, size_t bytes) {
    while (cache->bytes > DBK_INTEREST_CACHE_BYTES - bytes) {
        dbk_interest_set *set = &cache->sets[cache->hand++ % SETS];
        for (int way = 0; way < DBK_INTEREST_CACHE_WAYS; way++) drop(cache, set, way);
    }
}

// Was the subject asked for lately? It was, from now on.
static bool was_seen(dbk_interest_cache *cache, uint64_t hash) {
    uint32_t *seen = &cache->seen[(hash >> 16) % SEEN];
    uint32_t tag = (uint32_t)(hash >> 32);
    if (tag == 0) tag = 1; // 0: nobody
    bool is_same = *seen == tag;
    *seen = tag;
    return is_same;
}

const dbk_interest_matches *dbk_interest_cache_put(dbk_interest_cache *cache, uint64_t hash,
                                                   dbk_slice subject, const dbk_interest_matches *matches) {
    dbk_interest_set *set = set_of(cache, hash);
    int way = find(set, hash, subject); // one that does not hold any more
    if (way >= 0) {
        drop(cache, set, way);
    } else if (!was_seen(cache, hash)) {
        return matches;
    }
    size_t bytes = result_bytes(subject, matches);
    if (bytes > DBK_INTEREST_CACHE_RESULT_BYTES) return matches;
    dbk_interest_cached *cached = copy_result(cache, subject, matches, bytes);
    if (cached == NULL) return matches; // the answer is right all the same
    make_bytes(cache, bytes);
    way = make_way(cache, set);
    set->slots[way].hash = hash;
    set->slots[way].cached = cached;
    cache->count++;
    cache->bytes += bytes;
    return &cached->matches;
}

void dbk_interest_cache_touch(dbk_interest_cache *cache, dbk_slice filter, dbk_interest_reach reach) {
    dbk_interest_place place = dbk_interest_place_of(&cache->key, filter);
    if (reach == DBK_REACH_SUBJECT) {
        uint64_t hash = dbk_hash_bytes(&cache->key, filter.data, filter.size);
        dbk_interest_set *set = set_of(cache, hash);
        int way = find(set, hash, filter);
        if (way >= 0) drop(cache, set, way);
    } else if (reach == DBK_REACH_SECOND) {
        cache->generations[generation_second(place)]++;
    } else if (reach == DBK_REACH_FIRST) {
        cache->generations[generation_first(place)]++;
    } else {
        cache->generations[AT_ALL]++;
    }
}

void dbk_interest_cache_get_stats(const dbk_interest_cache *cache, dbk_interest_stats *stats) {
    stats->cache_count += cache->count;
    stats->cache_bytes += cache->bytes;
    for (int i = 0; i < SETS; i++) {
        for (int way = 0; way < DBK_INTEREST_CACHE_WAYS; way++) {
            const dbk_interest_cached *cached = cache->sets[i].slots[way].cached;
            if (cached == NULL || !holds(cache, cached)) continue;
            uint64_t fanout = cached->matches.plain_count + cached->matches.group_count;
            stats->fresh_count++;
            stats->fanout_total += fanout;
            if (fanout > stats->fanout_max) stats->fanout_max = fanout;
        }
    }
}
