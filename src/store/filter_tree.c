// SPDX-License-Identifier: Apache-2.0
// A filter hangs at the node of its literal beginning: "a.b.*.c" and "a.b.>" at "a.b", "*.x" and ">" at the
// root, which is the empty beginning. Every node has a parent with one token less, so that a look-up may stop
// at the first token nobody has.
//
// A subject is captured by a filter at one of its own leading token sequences. Two filters can share a
// subject only where the beginning of one is a beginning of the other: the candidates for a filter are those
// on the way to its node, and those below it. With ten thousand streams `orders-17.>` that is one. Nodes stay
// when their filters go; a subtree without filters is not entered.
#include "store/filter_tree.h"

#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "subject/subject.h"

enum { ROOT = 0 };
#define NONE UINT32_MAX

typedef struct dbk_filter_node {
    dbk_slice prefix; // in the filter that was the first to need it
    uint32_t parent;  // NONE for the root
    uint32_t first_child;
    uint32_t next_sibling;
    uint32_t first_entry;
    uint32_t filter_count; // here and below
} node;

typedef struct dbk_filter_entry {
    dbk_slice filter;
    struct dbk_stream *stream;
    uint32_t next; // of the same node, or of the free ones
} entry;

void dbk_filter_tree_init(dbk_filter_tree *tree, const daybook_allocator *allocator) {
    *tree = (dbk_filter_tree){.allocator = allocator, .free_entries = NONE};
    dbk_hash_map_init(&tree->prefixes, allocator);
}

void dbk_filter_tree_deinit(dbk_filter_tree *tree) {
    dbk_free(tree->allocator, tree->nodes);
    dbk_free(tree->allocator, tree->entries);
    dbk_hash_map_deinit(&tree->prefixes);
}

// ---- Nodes ------------------------------------------------------------------------------------------------

static uint64_t prefix_hash(dbk_slice prefix) {
    return dbk_checksum(prefix.data, prefix.size, 0);
}

static dbk_slice literal_prefix(dbk_slice filter) {
    return daybook_bytes(filter.data, dbk_filter_literal_size(filter, UINT32_MAX));
}

// The leading token sequences of a literal: `*size` begins at 0, which is the root's; false behind the last.
static bool next_prefix(dbk_slice literal, size_t *size) {
    const char *bytes = literal.data;
    if (*size >= literal.size) return false;
    if (*size > 0) ++*size; // over the dot
    while (*size < literal.size && bytes[*size] != '.') ++*size;
    return true;
}

static uint32_t find_node(const dbk_filter_tree *tree, dbk_slice prefix) {
    uint64_t hash = prefix_hash(prefix);
    for (size_t step = 0;;) {
        uint32_t at = dbk_hash_map_find(&tree->prefixes, hash, &step);
        if (at == DBK_HASH_MAP_EMPTY) return NONE;
        if (dbk_slice_equal(tree->nodes[at].prefix, prefix)) return at;
    }
}

// Room was reserved.
static uint32_t add_node(dbk_filter_tree *tree, dbk_slice prefix, uint32_t parent) {
    uint32_t at = (uint32_t)tree->node_count++;
    tree->nodes[at] = (node){
        .prefix = prefix, .parent = parent, .first_child = NONE, .next_sibling = NONE, .first_entry = NONE};
    if (parent != NONE) {
        tree->nodes[at].next_sibling = tree->nodes[parent].first_child;
        tree->nodes[parent].first_child = at;
    }
    daybook_status status = dbk_hash_map_insert(&tree->prefixes, prefix_hash(prefix), at);
    DBK_ASSERT(status == DAYBOOK_OK);
    return at;
}

// The node behind `at` in the subtree of `top`, without entering what holds no filter; NONE at the end.
static uint32_t next_below(const dbk_filter_tree *tree, uint32_t top, uint32_t at) {
    uint32_t next = tree->nodes[at].first_child;
    for (;;) {
        while (next != NONE && tree->nodes[next].filter_count == 0) next = tree->nodes[next].next_sibling;
        if (next != NONE || at == top) return next;
        next = tree->nodes[at].next_sibling;
        at = tree->nodes[at].parent;
    }
}

// ---- Changes ----------------------------------------------------------------------------------------------

daybook_status dbk_filter_tree_reserve(dbk_filter_tree *tree, const dbk_slice *filters, size_t count) {
    if (count == 0) return DAYBOOK_OK; // an array without room is no array
    size_t node_count = 1;             // the root
    for (size_t i = 0; i < count; i++) {
        dbk_slice prefix = literal_prefix(filters[i]);
        for (size_t size = 0; next_prefix(prefix, &size);) node_count++;
    }
    node *nodes = dbk_grow_array(tree->allocator, tree->nodes, &tree->node_capacity,
                                 tree->node_count + node_count, sizeof *nodes);
    if (nodes == NULL) return DAYBOOK_ENOMEM;
    tree->nodes = nodes;
    entry *entries = dbk_grow_array(tree->allocator, tree->entries, &tree->entry_capacity,
                                    tree->entry_count + count, sizeof *entries);
    if (entries == NULL) return DAYBOOK_ENOMEM;
    tree->entries = entries;
    return dbk_hash_map_reserve(&tree->prefixes, node_count);
}

static uint32_t take_entry(dbk_filter_tree *tree) {
    uint32_t at = tree->free_entries;
    if (at == NONE) return (uint32_t)tree->entry_count++;
    tree->free_entries = tree->entries[at].next;
    return at;
}

void dbk_filter_tree_add(dbk_filter_tree *tree, dbk_slice filter, struct dbk_stream *stream) {
    dbk_slice literal = literal_prefix(filter);
    if (tree->node_count == 0) (void)add_node(tree, daybook_bytes(filter.data, 0), NONE);
    uint32_t at = ROOT;
    tree->nodes[ROOT].filter_count++;
    for (size_t size = 0; next_prefix(literal, &size);) {
        dbk_slice prefix = daybook_bytes(literal.data, size);
        uint32_t child = find_node(tree, prefix);
        at = child != NONE ? child : add_node(tree, prefix, at);
        tree->nodes[at].filter_count++;
    }
    uint32_t taken = take_entry(tree);
    tree->entries[taken] = (entry){.filter = filter, .stream = stream, .next = tree->nodes[at].first_entry};
    tree->nodes[at].first_entry = taken;
}

void dbk_filter_tree_remove(dbk_filter_tree *tree, dbk_slice filter, const struct dbk_stream *stream) {
    uint32_t at = find_node(tree, literal_prefix(filter));
    DBK_ASSERT(at != NONE);
    uint32_t *link = &tree->nodes[at].first_entry;
    while (*link != NONE &&
           (tree->entries[*link].stream != stream || !dbk_slice_equal(tree->entries[*link].filter, filter)))
        link = &tree->entries[*link].next;
    DBK_ASSERT(*link != NONE);
    uint32_t gone = *link;
    *link = tree->entries[gone].next;
    tree->entries[gone] = (entry){.next = tree->free_entries};
    tree->free_entries = gone;
    for (; at != NONE; at = tree->nodes[at].parent) tree->nodes[at].filter_count--;
}

// ---- Look-ups ---------------------------------------------------------------------------------------------

static struct dbk_stream *match_at(const dbk_filter_tree *tree, uint32_t at, dbk_slice subject) {
    for (uint32_t i = tree->nodes[at].first_entry; i != NONE; i = tree->entries[i].next)
        if (daybook_filter_matches(tree->entries[i].filter, subject)) return tree->entries[i].stream;
    return NULL;
}

struct dbk_stream *dbk_filter_tree_match(const dbk_filter_tree *tree, dbk_slice subject) {
    if (tree->node_count == 0) return NULL;
    struct dbk_stream *stream = match_at(tree, ROOT, subject);
    for (size_t size = 0; stream == NULL && next_prefix(subject, &size);) {
        uint32_t at = find_node(tree, daybook_bytes(subject.data, size));
        if (at == NONE) break;
        stream = match_at(tree, at, subject);
    }
    return stream;
}

typedef struct overlap_search {
    const dbk_filter_tree *tree;
    dbk_slice filter;
    int (*visit)(void *context, dbk_slice overlapping, struct dbk_stream *stream);
    void *context;
    size_t compared_count;
} overlap_search;

// True to stop.
static bool visit_node(overlap_search *search, uint32_t at) {
    const dbk_filter_tree *tree = search->tree;
    for (uint32_t i = tree->nodes[at].first_entry; i != NONE; i = tree->entries[i].next) {
        const entry *found = &tree->entries[i];
        search->compared_count++;
        if (daybook_filters_overlap(found->filter, search->filter) &&
            search->visit(search->context, found->filter, found->stream) != 0)
            return true;
    }
    return false;
}

size_t dbk_filter_tree_overlaps(const dbk_filter_tree *tree, dbk_slice filter,
                                int (*visit)(void *context, dbk_slice overlapping, struct dbk_stream *stream),
                                void *context) {
    overlap_search search = {.tree = tree, .filter = filter, .visit = visit, .context = context};
    if (tree->node_count == 0) return 0;
    dbk_slice literal = literal_prefix(filter);
    uint32_t at = ROOT;
    bool stop = visit_node(&search, ROOT);
    for (size_t size = 0; !stop && next_prefix(literal, &size);) {
        at = find_node(tree, daybook_bytes(literal.data, size));
        stop = at == NONE || visit_node(&search, at);
    }
    for (uint32_t below = stop ? NONE : next_below(tree, at, at); below != NONE && !stop;
         below = next_below(tree, at, below))
        stop = visit_node(&search, below);
    return search.compared_count;
}
