// SPDX-License-Identifier: Apache-2.0
// Subscriptions by token: a node for each token of a filter, its subscriptions where the filter ends.
//
//     add "a.b", "a.*", "a.> q"          root - a - b      plain: 1
//                                               \ *      plain: 1
//                                               \ >      lists: q: 1
//
// A node has its literal children in a table by hash, and two pointers for `*` and `>`. A subject is walked
// from the root with a stack, not by recursion: at each node with tokens left, `>` is collected and the
// literal child and `*` go on. No node is visited twice, so a match costs at most as many visits as there
// are nodes, however wildcards are nested, and with literal subscriptions only as many as the subject has
// tokens.
//
// Subscriptions hang on their node in a ring; those with a queue group in the ring of a list, which a table
// finds by node and name. Names are kept once for all nodes, so that merging the lists of several filters
// by name is marking the name: linear in what is found.
//
// What must not fail allocates nothing: add makes room beforehand for the deepest filter in the walk's
// stack, its tokens, and the text of a filter. Invariants: a node but the root has a subscription or a
// child; a list has a member, a queue name a list; stack and tokens have room for depth_max + 2. Failure
// mode: ENOMEM from add (nothing has changed) and collect. Not thread-safe.
#include "interest/trie.h"

#include <string.h>

#include "base/assert.h"
#include "base/error.h"

static uint32_t hash_of(const dbk_trie *trie, const void *data, size_t size) {
    return (uint32_t)dbk_hash_bytes(&trie->key, data, size);
}

// Nodes

static dbk_interest_node *new_node(dbk_trie *trie, dbk_interest_node *parent, const dbk_interest_token *token,
                                   uint8_t kind) {
    dbk_interest_node *node = dbk_alloc_zeroed(trie->allocator, sizeof *node + token->size);
    if (node == NULL) return NULL;
    node->link.hash = token->hash;
    node->link.size = token->size;
    node->parent = parent;
    node->kind = kind;
    if (token->size > 0) memcpy(node->token, token->data, token->size);
    dbk_link_table_init(&node->children);
    trie->node_count++;
    trie->bytes += sizeof *node + token->size;
    return node;
}

static void free_node(dbk_trie *trie, dbk_interest_node *node) {
    trie->node_count--;
    trie->bytes -= sizeof *node + node->link.size;
    dbk_free(trie->allocator, node);
}

static dbk_interest_node *literal_child(const dbk_interest_node *node, const dbk_interest_token *token) {
    dbk_table_link *link = dbk_link_table_find(&node->children, token->hash);
    for (; link != NULL; link = dbk_link_table_find_next(link)) {
        dbk_interest_node *child = (dbk_interest_node *)link;
        if (link->size == token->size && memcmp(child->token, token->data, token->size) == 0) return child;
    }
    return NULL;
}

static uint8_t kind_of(const dbk_interest_token *token) {
    if (token->size != 1) return DBK_NODE_LITERAL;
    return *token->data == '*' ? DBK_NODE_ONE : *token->data == '>' ? DBK_NODE_REST : DBK_NODE_LITERAL;
}

// The child of a filter's token, made where it is not there. NULL when memory is out.
static dbk_interest_node *open_child(dbk_trie *trie, dbk_interest_node *node,
                                     const dbk_interest_token *token) {
    uint8_t kind = kind_of(token);
    if (kind != DBK_NODE_LITERAL) {
        dbk_interest_node **wild = kind == DBK_NODE_ONE ? &node->one : &node->rest;
        if (*wild == NULL) *wild = new_node(trie, node, token, kind);
        return *wild;
    }
    dbk_interest_node *child = literal_child(node, token);
    if (child != NULL) return child;
    uint64_t before = dbk_link_table_bytes(&node->children);
    if (dbk_link_table_reserve(&node->children, trie->allocator) != DAYBOOK_OK) return NULL;
    trie->bytes += dbk_link_table_bytes(&node->children) - before;
    child = new_node(trie, node, token, kind);
    if (child != NULL) dbk_link_table_add(&node->children, &child->link);
    return child;
}

static bool is_unused(const dbk_interest_node *node) {
    return node->parent != NULL && node->plain == NULL && node->lists == NULL && node->one == NULL &&
           node->rest == NULL && node->children.count == 0;
}

static void detach(dbk_trie *trie, dbk_interest_node *node) {
    dbk_interest_node *parent = node->parent;
    if (parent->one == node) {
        parent->one = NULL;
    } else if (parent->rest == node) {
        parent->rest = NULL;
    } else {
        uint64_t before = dbk_link_table_bytes(&parent->children);
        dbk_link_table_remove(&parent->children, trie->allocator, &node->link);
        trie->bytes -= before - dbk_link_table_bytes(&parent->children);
    }
}

// Frees `node` and those above it as far as nothing needs them.
static void prune(dbk_trie *trie, dbk_interest_node *node) {
    while (is_unused(node)) {
        dbk_interest_node *parent = node->parent;
        // An empty table has no buckets but those of a reserve behind which memory was out for the child.
        trie->bytes -= dbk_link_table_bytes(&node->children);
        dbk_table_link *none = dbk_link_table_take_all(&node->children, trie->allocator);
        DBK_ASSERT(none == NULL);
        detach(trie, node);
        free_node(trie, node);
        node = parent;
    }
}

// Queue groups

static dbk_interest_queue *open_queue(dbk_trie *trie, dbk_slice name) {
    uint32_t hash = hash_of(trie, name.data, name.size);
    dbk_table_link *link = dbk_link_table_find(&trie->queues, hash);
    for (; link != NULL; link = dbk_link_table_find_next(link)) {
        dbk_interest_queue *queue = (dbk_interest_queue *)link;
        if (dbk_slice_equal(daybook_bytes(queue->name, link->size), name)) return queue;
    }
    if (dbk_link_table_reserve(&trie->queues, trie->allocator) != DAYBOOK_OK) return NULL;
    dbk_interest_queue *queue = dbk_alloc_zeroed(trie->allocator, sizeof *queue + name.size);
    if (queue == NULL) return NULL;
    queue->link.hash = hash;
    queue->link.size = (uint32_t)name.size;
    memcpy(queue->name, name.data, name.size);
    dbk_link_table_add(&trie->queues, &queue->link);
    trie->bytes += sizeof *queue + name.size;
    return queue;
}

static void close_queue(dbk_trie *trie, dbk_interest_queue *queue) {
    if (queue->use_count > 0) return;
    dbk_link_table_remove(&trie->queues, trie->allocator, &queue->link);
    trie->bytes -= sizeof *queue + queue->link.size;
    dbk_free(trie->allocator, queue);
}

static dbk_interest_list *open_list(dbk_trie *trie, dbk_interest_node *node, dbk_interest_queue *queue) {
    const void *identity[2] = {node, queue};
    uint32_t hash = hash_of(trie, identity, sizeof identity);
    dbk_table_link *link = dbk_link_table_find(&trie->lists, hash);
    for (; link != NULL; link = dbk_link_table_find_next(link)) {
        dbk_interest_list *list = (dbk_interest_list *)link;
        if (list->node == node && list->queue == queue) return list;
    }
    if (dbk_link_table_reserve(&trie->lists, trie->allocator) != DAYBOOK_OK) return NULL;
    dbk_interest_list *list = dbk_alloc_zeroed(trie->allocator, sizeof *list);
    if (list == NULL) return NULL;
    list->link.hash = hash;
    list->node = node;
    list->queue = queue;
    list->next = node->lists;
    if (list->next != NULL) list->next->previous = list;
    node->lists = list;
    queue->use_count++;
    dbk_link_table_add(&trie->lists, &list->link);
    trie->bytes += sizeof *list;
    return list;
}

static void close_list(dbk_trie *trie, dbk_interest_list *list) {
    if (list->count > 0) return;
    if (list->previous != NULL) {
        list->previous->next = list->next;
    } else {
        list->node->lists = list->next;
    }
    if (list->next != NULL) list->next->previous = list->previous;
    dbk_link_table_remove(&trie->lists, trie->allocator, &list->link);
    list->queue->use_count--;
    close_queue(trie, list->queue);
    trie->bytes -= sizeof *list;
    dbk_free(trie->allocator, list);
}

// NULL when memory is out; a name nobody uses is gone again then.
static dbk_interest_list *open_group(dbk_trie *trie, dbk_interest_node *node, dbk_slice queue_group) {
    dbk_interest_queue *queue = open_queue(trie, queue_group);
    if (queue == NULL) return NULL;
    dbk_interest_list *list = open_list(trie, node, queue);
    if (list == NULL) close_queue(trie, queue);
    return list;
}

// Rings

static void ring_add(dbk_interest_entry **first, dbk_interest_entry *entry) {
    if (*first == NULL) {
        entry->previous = entry->next = entry;
        *first = entry;
        return;
    }
    entry->next = *first;
    entry->previous = (*first)->previous;
    entry->previous->next = entry;
    entry->next->previous = entry;
}

static void ring_remove(dbk_interest_entry **first, dbk_interest_entry *entry) {
    if (entry->next == entry) {
        *first = NULL;
        return;
    }
    entry->previous->next = entry->next;
    entry->next->previous = entry->previous;
    if (*first == entry) *first = entry->next;
}

static void link_entry(dbk_interest_entry *entry) {
    if (entry->group == NULL) {
        ring_add(&entry->node->plain, entry);
        entry->node->plain_count++;
    } else {
        ring_add(&entry->group->first, entry);
        entry->group->count++;
    }
}

static void unlink_entry(dbk_interest_entry *entry) {
    if (entry->group == NULL) {
        ring_remove(&entry->node->plain, entry);
        entry->node->plain_count--;
    } else {
        ring_remove(&entry->group->first, entry);
        entry->group->count--;
    }
}

// Adding and removing

// The token that begins at `at`, not hashed; its size 0 where it is empty.
static dbk_interest_token token_at(const char *at, const char *end) {
    const char *dot = at == end ? NULL : memchr(at, '.', (size_t)(end - at));
    return (dbk_interest_token){.data = at, .size = (uint32_t)((dot == NULL ? end : dot) - at)};
}

// How many tokens a well-formed filter has; 0: it is none.
static size_t count_tokens(dbk_slice filter) {
    if (filter.size == 0 || filter.size > DBK_INTEREST_FILTER_SIZE_MAX) return 0;
    const char *at = filter.data, *end = at + filter.size;
    for (size_t count = 1;; count++) {
        dbk_interest_token token = token_at(at, end);
        if (token.size == 0) return 0;
        at += token.size;
        if (at == end) return count;
        if (kind_of(&token) == DBK_NODE_REST) return 0;
        at++;
    }
}

static daybook_status make_room(dbk_trie *trie, size_t token_count, size_t filter_size) {
    size_t depth = token_count > trie->depth_max ? token_count : trie->depth_max;
    dbk_interest_token *tokens =
        dbk_grow_array(trie->allocator, trie->tokens, &trie->token_capacity, depth + 2, sizeof *tokens);
    if (tokens == NULL) return DAYBOOK_ENOMEM;
    trie->tokens = tokens;
    dbk_interest_step *steps =
        dbk_grow_array(trie->allocator, trie->steps, &trie->step_capacity, depth + 2, sizeof *steps);
    if (steps == NULL) return DAYBOOK_ENOMEM;
    trie->steps = steps;
    char *path = dbk_grow_array(trie->allocator, trie->path, &trie->path_capacity, filter_size, 1);
    if (path == NULL) return DAYBOOK_ENOMEM;
    trie->path = path;
    trie->depth_max = depth;
    return DAYBOOK_OK;
}

// The node where the filter ends. NULL when memory is out; what was made for it is gone again then.
static dbk_interest_node *open_path(dbk_trie *trie, dbk_slice filter) {
    const char *at = filter.data, *end = at + filter.size;
    dbk_interest_node *node = trie->root;
    for (;;) {
        dbk_interest_token token = token_at(at, end);
        token.hash = hash_of(trie, token.data, token.size);
        dbk_interest_node *child = open_child(trie, node, &token);
        if (child == NULL) {
            prune(trie, node);
            return NULL;
        }
        node = child;
        at += token.size;
        if (at == end) return node;
        at++;
    }
}

daybook_status dbk_trie_add(dbk_trie *trie, dbk_slice filter, dbk_slice queue_group, void *subscriber,
                            dbk_interest_entry *entry_out) {
    size_t token_count = count_tokens(filter);
    if (token_count == 0 || queue_group.size > DBK_INTEREST_FILTER_SIZE_MAX) return DAYBOOK_ESUBJECT;
    DBK_TRY(make_room(trie, token_count, filter.size));
    dbk_interest_node *node = open_path(trie, filter);
    if (node == NULL) return DAYBOOK_ENOMEM;
    dbk_interest_list *list = NULL;
    if (queue_group.size > 0) {
        list = open_group(trie, node, queue_group);
        if (list == NULL) {
            prune(trie, node);
            return DAYBOOK_ENOMEM;
        }
    }
    *entry_out = (dbk_interest_entry){.subscriber = subscriber, .node = node, .group = list};
    link_entry(entry_out);
    return DAYBOOK_OK;
}

void dbk_trie_remove(dbk_trie *trie, dbk_interest_entry *entry) {
    dbk_interest_node *node = entry->node;
    dbk_interest_list *list = entry->group;
    unlink_entry(entry);
    if (list != NULL) close_list(trie, list);
    entry->node = NULL;
    entry->group = NULL;
    entry->previous = entry->next = NULL;
    prune(trie, node);
}

dbk_slice dbk_trie_filter(dbk_trie *trie, const dbk_interest_entry *entry, bool *is_literal_out) {
    // From its end, upwards: add has made room for it.
    char *end = trie->path + trie->path_capacity, *at = end;
    bool is_literal = true;
    for (const dbk_interest_node *node = entry->node; node->parent != NULL; node = node->parent) {
        if (at != end) *--at = '.';
        at -= node->link.size;
        memcpy(at, node->token, node->link.size);
        is_literal = is_literal && node->kind == DBK_NODE_LITERAL;
    }
    *is_literal_out = is_literal;
    return daybook_bytes(at, (size_t)(end - at));
}

// Matching

// The subject's tokens, as far as the trie is deep, into trie->tokens. How many it has; 0 where one is empty.
static size_t split_subject(dbk_trie *trie, dbk_slice subject) {
    if (subject.size == 0 || subject.size > DBK_INTEREST_FILTER_SIZE_MAX) return 0;
    const char *at = subject.data, *end = at + subject.size;
    for (size_t count = 0;;) {
        dbk_interest_token token = token_at(at, end);
        if (token.size == 0) return 0;
        if (count < trie->depth_max) {
            token.hash = hash_of(trie, token.data, token.size);
            trie->tokens[count] = token;
        }
        count++;
        at += token.size;
        if (at == end) return count;
        at++;
    }
}

static bool has_subscriptions(const dbk_interest_node *node) {
    return node->plain != NULL || node->lists != NULL;
}

// The next node whose subscriptions match, NULL at the end. One node of the stack may give two: its `>` and
// itself; never both, since the one needs tokens left and the other none.
static const dbk_interest_node *next_match(dbk_trie *trie, size_t token_count, size_t *step_count) {
    while (*step_count > 0) {
        dbk_interest_step step = trie->steps[--*step_count];
        const dbk_interest_node *node = step.node;
        trie->visit_count++;
        if (step.depth == token_count) {
            if (has_subscriptions(node)) return node;
            continue;
        }
        if (node->one != NULL) {
            trie->steps[(*step_count)++] = (dbk_interest_step){node->one, step.depth + 1};
        }
        if (node->children.count > 0) {
            const dbk_interest_node *child = literal_child(node, &trie->tokens[step.depth]);
            if (child != NULL) trie->steps[(*step_count)++] = (dbk_interest_step){child, step.depth + 1};
        }
        if (node->rest != NULL) return node->rest;
    }
    return NULL;
}

static size_t start_match(dbk_trie *trie, dbk_slice subject, size_t *step_count_out) {
    *step_count_out = 0;
    if (trie->depth_max == 0) return 0;
    size_t token_count = split_subject(trie, subject);
    if (token_count == 0) return 0;
    trie->steps[0] = (dbk_interest_step){trie->root, 0};
    *step_count_out = 1;
    return token_count;
}

bool dbk_trie_has(dbk_trie *trie, dbk_slice subject) {
    size_t step_count;
    size_t token_count = start_match(trie, subject, &step_count);
    return next_match(trie, token_count, &step_count) != NULL;
}

bool dbk_trie_has_exactly(dbk_trie *trie, dbk_slice subject) {
    const dbk_interest_node *node = trie->root;
    size_t token_count = split_subject(trie, subject);
    if (token_count == 0 || token_count > trie->depth_max) return false;
    for (size_t i = 0; i < token_count && node != NULL; i++) node = literal_child(node, &trie->tokens[i]);
    return node != NULL && has_subscriptions(node);
}

static daybook_status collect_plain(dbk_trie *trie, const dbk_interest_node *node) {
    size_t count = trie->matches.plain_count;
    dbk_interest_entry **plain = dbk_grow_array(trie->allocator, trie->plain, &trie->plain_capacity,
                                                count + node->plain_count, sizeof *plain);
    if (plain == NULL) return DAYBOOK_ENOMEM;
    trie->plain = plain;
    dbk_interest_entry *entry = node->plain;
    for (uint32_t i = 0; i < node->plain_count; i++, entry = entry->next) plain[count + i] = entry;
    trie->matches.plain_count += node->plain_count;
    return DAYBOOK_OK;
}

static daybook_status collect_lists(dbk_trie *trie, const dbk_interest_node *node) {
    for (dbk_interest_list *list = node->lists; list != NULL; list = list->next) {
        dbk_interest_list **found = dbk_grow_array(trie->allocator, trie->found, &trie->found_capacity,
                                                   trie->found_count + 1, sizeof *found);
        if (found == NULL) return DAYBOOK_ENOMEM;
        trie->found = found;
        found[trie->found_count++] = list;
    }
    return DAYBOOK_OK;
}

// Gives each name among the lists found a place in `merged`, with the number of its members.
static size_t merge_names(dbk_trie *trie) {
    size_t member_count = 0;
    trie->mark++;
    for (size_t i = 0; i < trie->found_count; i++) {
        const dbk_interest_list *list = trie->found[i];
        dbk_interest_queue *queue = list->queue;
        if (queue->mark != trie->mark) {
            queue->mark = trie->mark;
            queue->merged = (uint32_t)trie->matches.group_count++;
            trie->merged[queue->merged] =
                (dbk_interest_group){.name = daybook_bytes(queue->name, queue->link.size)};
        }
        trie->merged[queue->merged].count += list->count;
        member_count += list->count;
    }
    return member_count;
}

static void merge_members(dbk_trie *trie) {
    dbk_interest_entry **at = trie->members;
    for (size_t i = 0; i < trie->matches.group_count; i++) {
        trie->merged[i].members = at;
        at += trie->merged[i].count;
        trie->merged[i].count = 0;
    }
    for (size_t i = 0; i < trie->found_count; i++) {
        const dbk_interest_list *list = trie->found[i];
        dbk_interest_group *group = &trie->merged[list->queue->merged];
        dbk_interest_entry **to = trie->members + (group->members - trie->members);
        dbk_interest_entry *entry = list->first;
        for (uint32_t k = 0; k < list->count; k++, entry = entry->next) to[group->count++] = entry;
    }
}

static daybook_status merge_lists(dbk_trie *trie) {
    if (trie->found_count == 0) return DAYBOOK_OK;
    dbk_interest_group *merged = dbk_grow_array(trie->allocator, trie->merged, &trie->merged_capacity,
                                                trie->found_count, sizeof *merged);
    if (merged == NULL) return DAYBOOK_ENOMEM;
    trie->merged = merged;
    size_t member_count = merge_names(trie);
    dbk_interest_entry **members = dbk_grow_array(trie->allocator, trie->members, &trie->members_capacity,
                                                  member_count, sizeof *members);
    if (members == NULL) return DAYBOOK_ENOMEM;
    trie->members = members;
    merge_members(trie);
    return DAYBOOK_OK;
}

daybook_status dbk_trie_collect(dbk_trie *trie, dbk_slice subject) {
    trie->matches = (dbk_interest_matches){.plain_count = 0};
    trie->found_count = 0;
    size_t step_count;
    size_t token_count = start_match(trie, subject, &step_count);
    const dbk_interest_node *node;
    while ((node = next_match(trie, token_count, &step_count)) != NULL) {
        if (node->plain != NULL) DBK_TRY(collect_plain(trie, node));
        DBK_TRY(collect_lists(trie, node));
    }
    DBK_TRY(merge_lists(trie));
    trie->matches.plain = trie->plain;
    trie->matches.groups = trie->merged;
    return DAYBOOK_OK;
}

// Beginning and end

daybook_status dbk_trie_init(dbk_trie *trie, const daybook_allocator *allocator, const dbk_hash_key *key) {
    *trie = (dbk_trie){.allocator = allocator, .key = *key};
    dbk_interest_token none = {.data = "", .size = 0};
    trie->root = new_node(trie, NULL, &none, DBK_NODE_LITERAL);
    if (trie->root == NULL) return DAYBOOK_ENOMEM;
    trie->node_count = 0; // the root is no token
    return DAYBOOK_OK;
}

static void free_chain(const daybook_allocator *allocator, dbk_table_link *chain) {
    while (chain != NULL) {
        dbk_table_link *next = chain->next;
        dbk_free(allocator, chain); // what it is embedded in: it comes first there
        chain = next;
    }
}

// All nodes, without recursion: whose children are on the chain needs them no more.
static void free_nodes(const daybook_allocator *allocator, dbk_interest_node *root) {
    dbk_table_link *chain = root == NULL ? NULL : &root->link;
    while (chain != NULL) {
        dbk_interest_node *node = (dbk_interest_node *)chain;
        chain = chain->next;
        dbk_table_link *children[3] = {dbk_link_table_take_all(&node->children, allocator),
                                       node->one == NULL ? NULL : &node->one->link,
                                       node->rest == NULL ? NULL : &node->rest->link};
        for (int i = 0; i < 3; i++) {
            while (children[i] != NULL) {
                dbk_table_link *next = children[i]->next;
                children[i]->next = chain;
                chain = children[i];
                children[i] = next;
            }
        }
        dbk_free(allocator, node);
    }
}

void dbk_trie_deinit(dbk_trie *trie) {
    if (trie->allocator == NULL) return;
    const daybook_allocator *allocator = trie->allocator;
    free_nodes(allocator, trie->root);
    free_chain(allocator, dbk_link_table_take_all(&trie->lists, allocator));
    free_chain(allocator, dbk_link_table_take_all(&trie->queues, allocator));
    void *arrays[] = {trie->tokens, trie->steps,  trie->path,   trie->plain,
                      trie->found,  trie->merged, trie->members};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) dbk_free(allocator, arrays[i]);
    *trie = (dbk_trie){.allocator = NULL};
}

uint64_t dbk_trie_bytes(const dbk_trie *trie) {
    return trie->bytes + dbk_link_table_bytes(&trie->queues) + dbk_link_table_bytes(&trie->lists) +
           trie->token_capacity * sizeof *trie->tokens + trie->step_capacity * sizeof *trie->steps +
           trie->path_capacity + trie->plain_capacity * sizeof *trie->plain +
           trie->found_capacity * sizeof *trie->found + trie->merged_capacity * sizeof *trie->merged +
           trie->members_capacity * sizeof *trie->members;
}
