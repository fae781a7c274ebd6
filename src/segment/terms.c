// SPDX-License-Identifier: Apache-2.0
// Merging sorted sources of terms.
//
// The sources stand in a binary heap by (term, place in order). All that stand on the smallest term give
// their postings one after the other: they cover ascending ranges of positions, so that concatenation keeps
// order. Only one source's batch of numbers is in memory. What remains of a term:
//
//   postings      those not removed
//   last seq      that of the last source with a survivor, if its last event survived; else asked for by
//                 number
//   last version  the greatest (removed events count: versions are never reused)
//   dead ids      forgotten when older than asked and not for ever; the strongest of several wins
//
// A term without postings is dropped, but an aggregate stays for its version until its stream is gone. One
// thread; memory: one batch.
#include "segment/terms.h"

#include "base/assert.h"

enum { INTERRUPT_INTERVAL = 4096 };

typedef struct terms_merger {
    const daybook_allocator *allocator;
    dbk_term_source *const *sources;
    const dbk_term_filter *filter; // NULL: everything stays
    dbk_tree_builder *tree;
    daybook_error *error;
    uint32_t *heap; // places of sources that are not at their end
    size_t heap_size;
    dbk_term term; // the one at hand
    uint32_t numbers[DBK_TERM_TAKE_MAX];
} terms_merger;

// ---- Heap -------------------------------------------------------------------------------------------------

static bool is_before(const terms_merger *merger, uint32_t a, uint32_t b) {
    int order = dbk_slice_compare(merger->sources[a]->term, merger->sources[b]->term);
    return order != 0 ? order < 0 : a < b;
}

static void sift_down(terms_merger *merger, size_t at) {
    uint32_t *heap = merger->heap;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= merger->heap_size) return;
        if (child + 1 < merger->heap_size && is_before(merger, heap[child + 1], heap[child])) child++;
        if (!is_before(merger, heap[child], heap[at])) return;
        uint32_t place = heap[at];
        heap[at] = heap[child];
        heap[child] = place;
        at = child;
    }
}

// The source on top goes to its next term.
static daybook_status advance_top(terms_merger *merger) {
    dbk_term_source *source = merger->sources[merger->heap[0]];
    daybook_status status = source->next(source, merger->error);
    if (status != DAYBOOK_OK && status != DAYBOOK_END) return status;
    if (status == DAYBOOK_END) merger->heap[0] = merger->heap[--merger->heap_size];
    sift_down(merger, 0);
    return DAYBOOK_OK;
}

static daybook_status fill_heap(terms_merger *merger, size_t count) {
    for (uint32_t i = 0; i < count; i++) {
        daybook_status status = merger->sources[i]->next(merger->sources[i], merger->error);
        if (status == DAYBOOK_OK)
            merger->heap[merger->heap_size++] = i;
        else if (status != DAYBOOK_END)
            return status;
    }
    for (size_t at = merger->heap_size / 2; at-- > 0;) sift_down(merger, at);
    return DAYBOOK_OK;
}

// ---- One term ---------------------------------------------------------------------------------------------

static uint32_t stream_of_term(dbk_slice term) {
    const uint8_t *data = term.data;
    if (term.size < 5) return 0;
    return (uint32_t)data[1] << 24 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 8 | data[4];
}

// Rebase and filter in place; how many are left.
static size_t keep_live(terms_merger *merger, const dbk_term_source *source, size_t count) {
    uint32_t *numbers = merger->numbers;
    for (size_t i = 0; i < count; i++) numbers[i] += source->rebase;
    const dbk_term_filter *filter = merger->filter;
    if (filter == NULL || filter->is_removed == NULL) return count;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        numbers[kept] = numbers[i];
        if (!filter->is_removed(filter->context, numbers[i])) kept++;
    }
    return kept;
}

static daybook_status merge_postings(terms_merger *merger, dbk_term_source *source, dbk_term_value *value) {
    if (source->value.count == 0) return DAYBOOK_OK;
    uint64_t before = dbk_tree_posting_count(merger->tree);
    uint32_t last_taken = 0;
    for (;;) {
        size_t count;
        DBK_TRY(source->take(source, merger->numbers, DBK_TERM_TAKE_MAX, &count, merger->error));
        if (count == 0) break;
        last_taken = merger->numbers[count - 1] + source->rebase;
        size_t kept = keep_live(merger, source, count);
        DBK_TRY(dbk_tree_add_postings(merger->tree, merger->numbers, kept, merger->error));
    }
    if (dbk_tree_posting_count(merger->tree) == before) return DAYBOOK_OK;
    value->last_seq = source->value.last_seq;
    uint32_t last = dbk_tree_posting_last(merger->tree);
    const dbk_term_filter *filter = merger->filter;
    if (last == last_taken) return DAYBOOK_OK;
    DBK_ASSERT(filter != NULL); // without one nothing is removed
    // Looked up even where a later source replaces it: rare, and simple.
    if (merger->term.bytes[0] == DBK_TERM_ID) return DAYBOOK_OK;
    return filter->seq_of(filter->context, last, &value->last_seq, merger->error);
}

static void merge_dead_id(const dbk_term_value *from, dbk_term_value *into, bool is_first) {
    if (is_first || from->dead_removed_ns > into->dead_removed_ns)
        into->dead_removed_ns = from->dead_removed_ns;
    into->dead_for_ever = (!is_first && into->dead_for_ever) || from->dead_for_ever;
    into->dead_stream_id = from->dead_stream_id;
}

static bool is_worth_keeping(const terms_merger *merger, const dbk_term_value *value) {
    const dbk_term_filter *filter = merger->filter;
    uint8_t kind = merger->term.bytes[0];
    if (kind == DBK_TERM_DEAD_ID) {
        if (filter == NULL) return true;
        if (filter->is_stream_gone(filter->context, value->dead_stream_id)) return false;
        return value->dead_for_ever || value->dead_removed_ns >= filter->forget_before_ns;
    }
    if (dbk_tree_posting_count(merger->tree) > 0) return true;
    if (kind != DBK_TERM_AGGREGATE || value->last_version == 0) return false;
    if (filter == NULL) return true;
    return !filter->is_stream_gone(filter->context, stream_of_term(dbk_term_slice(&merger->term)));
}

static daybook_status merge_one_term(terms_merger *merger) {
    dbk_slice smallest = merger->sources[merger->heap[0]]->term;
    memcpy(merger->term.bytes, smallest.data, smallest.size);
    merger->term.size = smallest.size;
    dbk_slice term = dbk_term_slice(&merger->term);
    bool is_dead_id = merger->term.bytes[0] == DBK_TERM_DEAD_ID;
    dbk_term_value value;
    memset(&value, 0, sizeof value);
    dbk_tree_begin_term(merger->tree);
    bool is_first = true;
    do {
        dbk_term_source *source = merger->sources[merger->heap[0]];
        if (is_dead_id)
            merge_dead_id(&source->value, &value, is_first);
        else
            DBK_TRY(merge_postings(merger, source, &value));
        if (source->value.last_version > value.last_version) value.last_version = source->value.last_version;
        is_first = false;
        DBK_TRY(advance_top(merger));
    } while (merger->heap_size > 0 && dbk_slice_equal(merger->sources[merger->heap[0]]->term, term));
    if (!is_worth_keeping(merger, &value)) return DAYBOOK_OK;
    return dbk_tree_end_term(merger->tree, term, &value, merger->error);
}

daybook_status dbk_terms_merge(const daybook_allocator *allocator, dbk_term_source *const *sources,
                               size_t count, const dbk_term_filter *filter, dbk_tree_builder *tree,
                               daybook_error *error) {
    terms_merger *merger = dbk_alloc_zeroed(allocator, sizeof *merger);
    uint32_t *heap = dbk_resize_array(allocator, NULL, count, sizeof *heap);
    daybook_status status = DAYBOOK_OK;
    if (merger == NULL || heap == NULL) {
        status = dbk_fail(error, DAYBOOK_ENOMEM, "out of memory merging terms");
        goto done;
    }
    merger->allocator = allocator;
    merger->sources = sources;
    merger->filter = filter;
    merger->tree = tree;
    merger->error = error;
    merger->heap = heap;
    status = fill_heap(merger, count);
    for (uint64_t merged = 0; status == DAYBOOK_OK && merger->heap_size > 0; merged++) {
        if (merged % INTERRUPT_INTERVAL == 0 && filter != NULL && filter->interrupted != NULL &&
            filter->interrupted(filter->interrupted_context)) {
            status = dbk_fail(error, DAYBOOK_ECLOSED, "the merge was stopped");
            break;
        }
        status = merge_one_term(merger);
    }
done:
    dbk_free(allocator, heap);
    dbk_free(allocator, merger);
    return status;
}
