// SPDX-License-Identifier: Apache-2.0
// Sources of sorted terms with their postings, and the merging of several into a dictionary. A source is the
// memory of a writer (gather.h), a part of it that went to a temporary file, or the dictionary of a finished
// segment (walk.c).
#ifndef DBK_SEGMENT_TERMS_H
#define DBK_SEGMENT_TERMS_H

#include "index/term_page.h"
#include "segment/tree.h"

typedef struct dbk_term_source dbk_term_source;

/// Embedded at the begin of each kind of source.
struct dbk_term_source {
    /// The next term into `term` and `value` (of it count, last, last_seq, last_version and the dead id's
    /// fields); END behind the last. All postings of a term are taken first: what is left is skipped or taken
    /// for damage.
    daybook_status (*next)(dbk_term_source *source, daybook_error *error);
    /// Up to `capacity` more postings of the current term; *count_out 0 when there are no more.
    daybook_status (*take)(dbk_term_source *source, uint32_t *numbers_out, size_t capacity, size_t *count_out,
                           daybook_error *error);
    void (*close)(dbk_term_source *source);

    dbk_slice term; // borrowed until the next call
    dbk_term_value value;
    uint32_t rebase; // added to every posting; set by who merges
};

enum { DBK_TERM_TAKE_MAX = 256 };

/// What a merge leaves out. All NULL or 0 in a writer, which leaves out nothing.
typedef struct dbk_term_filter {
    void *context;
    /// Whether the event at this number (rebased) is gone. May be NULL: none is.
    bool (*is_removed)(void *context, uint32_t number);
    bool (*is_stream_gone)(void *context, uint32_t stream_id);
    /// The seq of the event at this number; asked for only where the last event of a term was removed.
    daybook_status (*seq_of)(void *context, uint32_t number, uint64_t *seq_out, daybook_error *error);
    int64_t forget_before_ns;
    bool (*interrupted)(void *context); // may be NULL
    void *interrupted_context;
} dbk_term_filter;

/// Merge sources, which follow each other in order of position, into the tree. `filter` may be NULL.
daybook_status dbk_terms_merge(const daybook_allocator *allocator, dbk_term_source *const *sources,
                               size_t count, const dbk_term_filter *filter, dbk_tree_builder *tree,
                               daybook_error *error);

#endif
