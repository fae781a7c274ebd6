// SPDX-License-Identifier: Apache-2.0
// The filters of all streams, to find who captures a subject and what overlaps a filter: a tree of the
// literal tokens filters begin with. Filters are borrowed: they must live as long as the tree, also when
// removed. Not thread-safe: the table of streams locks around it.
#ifndef DBK_STORE_FILTER_TREE_H
#define DBK_STORE_FILTER_TREE_H

#include "base/hash_map.h"

struct dbk_stream;

typedef struct dbk_filter_tree {
    const daybook_allocator *allocator;
    struct dbk_filter_node *nodes;
    size_t node_count, node_capacity;
    struct dbk_filter_entry *entries;
    size_t entry_count, entry_capacity;
    uint32_t free_entries; // a list of removed ones
    dbk_hash_map prefixes; // hash of a node's prefix -> its index
} dbk_filter_tree;

void dbk_filter_tree_init(dbk_filter_tree *tree, const daybook_allocator *allocator);
void dbk_filter_tree_deinit(dbk_filter_tree *tree);

/// Room for these filters: adding them cannot fail then. ENOMEM.
daybook_status dbk_filter_tree_reserve(dbk_filter_tree *tree, const dbk_slice *filters, size_t count);
void dbk_filter_tree_add(dbk_filter_tree *tree, dbk_slice filter, struct dbk_stream *stream);
/// A filter that was added for this stream.
void dbk_filter_tree_remove(dbk_filter_tree *tree, dbk_slice filter, const struct dbk_stream *stream);

/// The stream of the filter that matches a valid subject; NULL when none does. A hash look-up per leading
/// token that any filter has.
struct dbk_stream *dbk_filter_tree_match(const dbk_filter_tree *tree, dbk_slice subject);

/// Calls `visit` for every filter that shares a subject with `filter`, until it returns non-zero. Returns the
/// number of filters compared: those that begin with the literal tokens `filter` begins with, or with fewer
/// of them and a wildcard.
size_t dbk_filter_tree_overlaps(const dbk_filter_tree *tree, dbk_slice filter,
                                int (*visit)(void *context, dbk_slice overlapping, struct dbk_stream *stream),
                                void *context);

#endif
