// SPDX-License-Identifier: Apache-2.0
// Who wants which subject: subscriptions by filter, and for a subject the subscriptions that get it.
//
//     dbk_interest_add(interest, daybook_text("orders.*"), daybook_text(""), client, &subscription->entry);
//     dbk_interest_match(interest, daybook_text("orders.7"), &matches);
//     for (size_t i = 0; i < matches->plain_count; i++) deliver(matches->plain[i]->subscriber);
//     for (size_t i = 0; i < matches->group_count; i++) deliver(one of matches->groups[i].members);
//
// Filters and subjects are split at dots; a token of a filter that is nothing but `*` stands for one token, a
// final `>` for one or more. Which bytes a token may hold is the caller's to check; here anything goes but a
// dot. A published subject is taken literally: its `*` and `>` are plain tokens, as with NATS.
//
// One thread, no locks. How it works: trie.c, cache.c, interest.c.
#ifndef DBK_INTEREST_INTEREST_H
#define DBK_INTEREST_INTEREST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"

typedef struct dbk_interest dbk_interest;

enum { DBK_INTEREST_SEED_SIZE = 32 };

/// One subscription. Embedded in what its owner keeps of it; must not move between add and remove.
typedef struct dbk_interest_entry {
    void *subscriber; // as given to add; the owner may change it
    // Owned by the trie.
    struct dbk_interest_node *node;  // NULL where the entry is in no trie
    struct dbk_interest_list *group; // NULL for a plain subscription
    struct dbk_interest_entry *previous;
    struct dbk_interest_entry *next;
} dbk_interest_entry;

/// A queue group: all members with this name, over all filters that match. One of them gets the message.
typedef struct dbk_interest_group {
    dbk_slice name;
    dbk_interest_entry *const *members; // in no order to rely on
    size_t count;                       // at least 1
} dbk_interest_group;

typedef struct dbk_interest_matches {
    dbk_interest_entry *const *plain;
    size_t plain_count;
    const dbk_interest_group *groups;
    size_t group_count;
} dbk_interest_matches;

/// Counts since the trie was made, and what is in it now.
typedef struct dbk_interest_stats {
    uint64_t subscription_count;
    uint64_t insert_count;
    uint64_t remove_count;
    uint64_t match_count;
    uint64_t cache_hit_count; // of match_count
    uint64_t cache_count;     // subjects cached, stale ones included
    uint64_t cache_bytes;
    uint64_t fanout_max;   // over the cached subjects: subscriptions that get one message
    uint64_t fanout_total; // of fresh_count subjects; the average is fanout_total / fresh_count
    uint64_t fresh_count;  // cached subjects that are not stale
    uint64_t node_count;   // tokens in the trie
    uint64_t visit_count;  // nodes looked at by matches that were not cached
    uint64_t bytes;        // of trie and tables, without cache and without the entries
    uint64_t watch_count;
} dbk_interest_stats;

/// `seed` is random and secret: clients choose the tokens, and must not be able to choose their hashes.
/// ENOMEM.
daybook_status dbk_interest_new(const daybook_allocator *allocator,
                                const uint8_t seed[DBK_INTEREST_SEED_SIZE], dbk_interest **interest_out);
/// Entries that are still in it are the caller's to forget, and so are watches: nothing is told. NULL is
/// fine.
void dbk_interest_free(dbk_interest *interest);

/// Subscribe. `queue_group` empty: a plain subscription. Filter and group are copied. The entry is written
/// only on OK. O(tokens). Watches of its subject are told before this returns.
/// @return OK, ENOMEM, ESUBJECT (empty, an empty token, `>` before the last token, longer than
/// DBK_INTEREST_FILTER_SIZE_MAX); nothing was changed then.
daybook_status dbk_interest_add(dbk_interest *interest, dbk_slice filter, dbk_slice queue_group,
                                void *subscriber, dbk_interest_entry *entry_out);
enum { DBK_INTEREST_FILTER_SIZE_MAX = 1 << 20 };
/// Unsubscribe. Cannot fail; an entry that is in no trie (all zero, or removed) is fine. O(tokens) at worst,
/// O(1) where others remain at its filter.
void dbk_interest_remove(dbk_interest *interest, dbk_interest_entry *entry);

/// Who gets a message on `subject`. What comes out is valid until the next add, remove or match. A subject
/// with an empty token, or an empty one, matches nothing. Queue groups are merged by name over all filters.
/// @return OK, ENOMEM.
daybook_status dbk_interest_match(dbk_interest *interest, dbk_slice subject,
                                  const dbk_interest_matches **matches_out);
/// Is there any subscription for `subject`? Never allocates; results of a match stay valid.
bool dbk_interest_has(dbk_interest *interest, dbk_slice subject);

void dbk_interest_get_stats(const dbk_interest *interest, dbk_interest_stats *stats_out);

/// To be told when the first subscription of this very subject, which has no wildcards, appears and when the
/// last one is gone. Those whose wildcards match it count for nothing: who looks at everything wants nobody
/// to begin sending. Embedded in what its owner keeps; must not move between start and stop.
typedef struct dbk_interest_watch {
    /// Called from within add and remove, on their thread, when the trie is consistent again: it may call
    /// anything here, starting and stopping watches (this one too) included, but freeing the trie.
    void (*changed)(struct dbk_interest_watch *watch, bool has_interest);
    void *context; // the owner's
    // Owned by the trie.
    dbk_slice subject;
    bool has_interest;
    bool is_watching;
    bool is_pending;
    uint32_t bucket;
    struct dbk_interest_watch *previous;
    struct dbk_interest_watch *next;
    struct dbk_interest_watch *previous_pending;
    struct dbk_interest_watch *next_pending;
} dbk_interest_watch;

/// Begins to watch, and says how it stands now. Set `changed` and `context` before. `subject` is borrowed
/// until stop. Cannot fail. A flicker within one call of add or remove is not told.
bool dbk_interest_watch_start(dbk_interest *interest, dbk_slice subject, dbk_interest_watch *watch);
/// Afterwards `changed` is not called any more. A watch that was not started (all zero) or stopped is fine.
void dbk_interest_watch_stop(dbk_interest *interest, dbk_interest_watch *watch);

#endif
