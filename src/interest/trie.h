// SPDX-License-Identifier: Apache-2.0
// The trie of subscriptions under interest.h: filters in, and for a subject what matches, collected anew
// each time.
#ifndef DBK_INTEREST_TRIE_H
#define DBK_INTEREST_TRIE_H

#include "base/keyed_hash.h"
#include "base/link_table.h"
#include "interest/interest.h"

typedef struct dbk_interest_node dbk_interest_node;

/// The name of a queue group, once for all filters.
typedef struct dbk_interest_queue {
    dbk_table_link link; // in trie.queues; size: of the name
    uint64_t mark;       // of the collection that saw it last
    uint32_t merged;     // in that collection: its place in `merged`
    uint32_t use_count;  // lists with this name
    char name[];
} dbk_interest_queue;

/// The members of one queue group at one node.
typedef struct dbk_interest_list {
    dbk_table_link link; // in trie.lists, by node and queue
    dbk_interest_node *node;
    dbk_interest_queue *queue;
    dbk_interest_entry *first; // a ring
    uint32_t count;
    struct dbk_interest_list *previous; // of the node
    struct dbk_interest_list *next;
} dbk_interest_list;

enum dbk_interest_node_kind { DBK_NODE_LITERAL, DBK_NODE_ONE, DBK_NODE_REST };

/// A token.
struct dbk_interest_node {
    dbk_table_link link; // among the literal children of its parent; size: of the token
    dbk_interest_node *parent;
    dbk_link_table children;   // literal ones
    dbk_interest_node *one;    // `*`
    dbk_interest_node *rest;   // `>`
    dbk_interest_entry *plain; // a ring, the oldest first
    dbk_interest_list *lists;
    uint32_t plain_count;
    uint8_t kind;
    char token[];
};

typedef struct dbk_interest_token {
    const char *data;
    uint32_t size;
    uint32_t hash;
} dbk_interest_token;

typedef struct dbk_interest_step {
    const dbk_interest_node *node;
    size_t depth; // tokens consumed
} dbk_interest_step;

typedef struct dbk_trie {
    const daybook_allocator *allocator;
    dbk_hash_key key;
    dbk_interest_node *root;
    dbk_link_table queues;
    dbk_link_table lists;

    // Room for everything that may not fail, made by add.
    size_t depth_max; // tokens of the deepest filter there ever was
    dbk_interest_token *tokens;
    size_t token_capacity;
    dbk_interest_step *steps;
    size_t step_capacity;
    char *path; // the text of a filter
    size_t path_capacity;

    // The result of the last collection.
    dbk_interest_matches matches;
    dbk_interest_entry **plain;
    size_t plain_capacity;
    dbk_interest_list **found;
    size_t found_count;
    size_t found_capacity;
    dbk_interest_group *merged;
    size_t merged_capacity;
    dbk_interest_entry **members;
    size_t members_capacity;
    uint64_t mark; // number of collections

    uint64_t node_count;
    uint64_t visit_count;
    uint64_t bytes; // nodes, lists and queues
} dbk_trie;

daybook_status dbk_trie_init(dbk_trie *trie, const daybook_allocator *allocator, const dbk_hash_key *key);
void dbk_trie_deinit(dbk_trie *trie);
/// As dbk_interest_add.
daybook_status dbk_trie_add(dbk_trie *trie, dbk_slice filter, dbk_slice queue_group, void *subscriber,
                            dbk_interest_entry *entry_out);
void dbk_trie_remove(dbk_trie *trie, dbk_interest_entry *entry);
/// The filter of an entry, and whether it has no wildcard. Valid until the next call.
dbk_slice dbk_trie_filter(dbk_trie *trie, const dbk_interest_entry *entry, bool *is_literal_out);
/// Fills trie->matches; valid until the next add, remove or collect. ENOMEM.
daybook_status dbk_trie_collect(dbk_trie *trie, dbk_slice subject);
bool dbk_trie_has(dbk_trie *trie, dbk_slice subject);
/// One of this very subject: no wildcard counts.
bool dbk_trie_has_exactly(dbk_trie *trie, dbk_slice subject);
uint64_t dbk_trie_bytes(const dbk_trie *trie);

#endif
