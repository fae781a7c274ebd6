// SPDX-License-Identifier: Apache-2.0
// The trie (trie.c) behind its cache (cache.c), and watches.
//
// Watches hang in 4096 lists by the hash of their subject. Those of a filter without wildcards that comes or
// goes become pending; telling asks the trie anew how it stands for each and calls those for whom it changed.
// Pending ones wait in a list, and one loop tells them: a callback that adds or removes only adds to that
// list, so there is no nesting.
//
// Invariants: outside of telling no watch is pending; watch->has_interest is what was told last, or said by
// start. Not thread-safe.
#include "interest/interest.h"

#include "base/error.h"
#include "interest/cache.h"
#include "interest/trie.h"
#include "subject/subject.h"

enum { WATCH_BUCKETS = 4096 };

struct dbk_interest {
    const daybook_allocator *allocator;
    dbk_hash_key key;
    dbk_trie trie;
    dbk_interest_cache cache;
    uint64_t subscription_count;
    uint64_t insert_count;
    uint64_t remove_count;
    uint64_t match_count;
    uint64_t hit_count;

    uint64_t watch_count;
    dbk_interest_watch *pending; // the first to be told
    dbk_interest_watch *pending_last;
    bool is_telling;
    dbk_interest_watch *watches[WATCH_BUCKETS];
};

daybook_status dbk_interest_new(const daybook_allocator *allocator,
                                const uint8_t seed[DBK_INTEREST_SEED_SIZE], dbk_interest **interest_out) {
    *interest_out = NULL;
    dbk_interest *interest = dbk_alloc_zeroed(allocator, sizeof *interest);
    if (interest == NULL) return DAYBOOK_ENOMEM;
    interest->allocator = allocator;
    dbk_hash_key_init(&interest->key, seed);
    daybook_status status = dbk_trie_init(&interest->trie, allocator, &interest->key);
    if (status == DAYBOOK_OK) status = dbk_interest_cache_init(&interest->cache, allocator, &interest->key);
    if (status != DAYBOOK_OK) {
        dbk_interest_free(interest);
        return status;
    }
    *interest_out = interest;
    return DAYBOOK_OK;
}

void dbk_interest_free(dbk_interest *interest) {
    if (interest == NULL) return;
    dbk_trie_deinit(&interest->trie);
    dbk_interest_cache_deinit(&interest->cache);
    dbk_free(interest->allocator, interest);
}

// Watches

static size_t watch_bucket(const dbk_interest *interest, dbk_slice subject) {
    return dbk_hash_bytes(&interest->key, subject.data, subject.size) % WATCH_BUCKETS;
}

static void become_pending(dbk_interest *interest, dbk_interest_watch *watch) {
    if (watch->is_pending) return;
    watch->is_pending = true;
    watch->next_pending = NULL;
    watch->previous_pending = interest->pending_last;
    if (interest->pending_last != NULL) {
        interest->pending_last->next_pending = watch;
    } else {
        interest->pending = watch;
    }
    interest->pending_last = watch;
}

static void be_pending_no_more(dbk_interest *interest, dbk_interest_watch *watch) {
    if (!watch->is_pending) return;
    watch->is_pending = false;
    if (watch->previous_pending != NULL) {
        watch->previous_pending->next_pending = watch->next_pending;
    } else {
        interest->pending = watch->next_pending;
    }
    if (watch->next_pending != NULL) {
        watch->next_pending->previous_pending = watch->previous_pending;
    } else {
        interest->pending_last = watch->previous_pending;
    }
}

static void mark_watches(dbk_interest *interest, dbk_slice filter, bool is_literal) {
    if (interest->watch_count == 0 || !is_literal) return;
    size_t bucket = watch_bucket(interest, filter);
    for (dbk_interest_watch *watch = interest->watches[bucket]; watch != NULL; watch = watch->next)
        if (dbk_slice_equal(filter, watch->subject)) become_pending(interest, watch);
}

static void tell_watches(dbk_interest *interest) {
    if (interest->is_telling) return; // further out somebody tells, and comes to what was added
    interest->is_telling = true;
    while (interest->pending != NULL) {
        dbk_interest_watch *watch = interest->pending;
        be_pending_no_more(interest, watch);
        bool has_interest = dbk_trie_has_exactly(&interest->trie, watch->subject);
        if (has_interest == watch->has_interest) continue;
        watch->has_interest = has_interest;
        watch->changed(watch, has_interest);
    }
    interest->is_telling = false;
}

bool dbk_interest_watch_start(dbk_interest *interest, dbk_slice subject, dbk_interest_watch *watch) {
    size_t bucket = watch_bucket(interest, subject);
    watch->subject = subject;
    watch->has_interest = dbk_trie_has_exactly(&interest->trie, subject);
    watch->is_pending = false;
    watch->is_watching = true;
    watch->bucket = (uint32_t)bucket;
    watch->previous = NULL;
    watch->next = interest->watches[bucket];
    if (watch->next != NULL) watch->next->previous = watch;
    interest->watches[bucket] = watch;
    interest->watch_count++;
    return watch->has_interest;
}

void dbk_interest_watch_stop(dbk_interest *interest, dbk_interest_watch *watch) {
    if (!watch->is_watching) return;
    be_pending_no_more(interest, watch);
    if (watch->previous != NULL) {
        watch->previous->next = watch->next;
    } else {
        interest->watches[watch->bucket] = watch->next;
    }
    if (watch->next != NULL) watch->next->previous = watch->previous;
    watch->is_watching = false;
    interest->watch_count--;
}

// Subscriptions

// The subscription of this entry came, or is about to go.
static void touch(dbk_interest *interest, const dbk_interest_entry *entry) {
    bool is_literal;
    dbk_slice filter = dbk_trie_filter(&interest->trie, entry, &is_literal);
    dbk_interest_cache_touch(&interest->cache, filter, dbk_interest_reach_of(filter, is_literal));
    mark_watches(interest, filter, is_literal);
}

daybook_status dbk_interest_add(dbk_interest *interest, dbk_slice filter, dbk_slice queue_group,
                                void *subscriber, dbk_interest_entry *entry_out) {
    DBK_TRY(dbk_trie_add(&interest->trie, filter, queue_group, subscriber, entry_out));
    interest->insert_count++;
    interest->subscription_count++;
    touch(interest, entry_out);
    tell_watches(interest);
    return DAYBOOK_OK;
}

void dbk_interest_remove(dbk_interest *interest, dbk_interest_entry *entry) {
    if (entry->node == NULL) return;
    interest->remove_count++;
    interest->subscription_count--;
    touch(interest, entry);
    dbk_trie_remove(&interest->trie, entry);
    tell_watches(interest);
}

daybook_status dbk_interest_match(dbk_interest *interest, dbk_slice subject,
                                  const dbk_interest_matches **matches_out) {
    uint64_t hash = dbk_hash_bytes(&interest->key, subject.data, subject.size);
    const dbk_interest_matches *cached = dbk_interest_cache_get(&interest->cache, hash, subject);
    interest->match_count++;
    if (cached != NULL) {
        interest->hit_count++;
        *matches_out = cached;
        return DAYBOOK_OK;
    }
    *matches_out = NULL;
    DBK_TRY(dbk_trie_collect(&interest->trie, subject));
    *matches_out = dbk_interest_cache_put(&interest->cache, hash, subject, &interest->trie.matches);
    return DAYBOOK_OK;
}

bool dbk_interest_has(dbk_interest *interest, dbk_slice subject) {
    uint64_t hash = dbk_hash_bytes(&interest->key, subject.data, subject.size);
    const dbk_interest_matches *cached = dbk_interest_cache_get(&interest->cache, hash, subject);
    if (cached != NULL) return cached->plain_count + cached->group_count > 0;
    return dbk_trie_has(&interest->trie, subject);
}

void dbk_interest_get_stats(const dbk_interest *interest, dbk_interest_stats *stats_out) {
    *stats_out = (dbk_interest_stats){.subscription_count = interest->subscription_count,
                                      .insert_count = interest->insert_count,
                                      .remove_count = interest->remove_count,
                                      .match_count = interest->match_count,
                                      .cache_hit_count = interest->hit_count,
                                      .node_count = interest->trie.node_count,
                                      .visit_count = interest->trie.visit_count,
                                      .bytes = sizeof *interest + dbk_trie_bytes(&interest->trie),
                                      .watch_count = interest->watch_count};
    dbk_interest_cache_get_stats(&interest->cache, stats_out);
}
