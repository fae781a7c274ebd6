// SPDX-License-Identifier: Apache-2.0
// Candidate positions of one source: posting lists of its terms, intersected and united by leaping from one
// to the next, in either direction. Which lists take part is planned from their lengths: the shortest group
// leads, groups up to LEAP_FACTOR times as long help, longer ones are cheaper to check on the event. Where
// even the shortest holds a good part of the source, every position is a candidate and events are read in
// order.
//
// "Nothing more" is FAR (forward: UINT64_MAX, backward: 0; positions begin with 1), so that comparisons need
// no special case.
#include "base/assert.h"
#include "store/query.h"

enum {
    CHUNK_POSITIONS = 128, // asked of a memory table at once
    LEAP_FACTOR = 16,
    SCAN_SHARE = 3,       // a group with more than 1/3 of the source's events is not used
    SCAN_SPAN_MAX = 2048, // so short a stretch of a memory table is scanned, unless its index pays
};

typedef struct leaf {
    dbk_slice term;
    uint64_t count;
    dbk_postings *postings; // segment
    // Memory table: what the last question gave, ascending or descending.
    uint64_t *chunk;
    size_t chunk_count;
    uint64_t chunk_from; // the position it was asked for
    uint64_t chunk_to;   // it is complete up to here, in the direction asked
    bool chunk_back;
} leaf;

typedef struct clause {
    leaf *leaves;
    size_t leaf_count;
    // The last answer: nothing lies between seek_from and seek_to.
    bool cached;
    bool cached_back;
    uint64_t cached_from;
    uint64_t cached_to;
} clause;

typedef struct group {
    clause *clauses;
    size_t clause_count;
    uint64_t count; // upper bound of its candidates
} group;

struct dbk_candidates {
    const daybook_allocator *allocator;
    dbk_source *source;
    dbk_arena *arena;
    group *groups;
    size_t group_count;
    bool all;   // every position
    bool none;  // no position
    bool loose; // a list takes no part: a candidate need not have its term
};

static uint64_t far_end(bool back) {
    return back ? 0 : UINT64_MAX;
}
static bool is_before(uint64_t a, uint64_t b, bool back) {
    return back ? a > b : a < b;
}

// ---- Leaves -----------------------------------------------------------------------------------------------

static daybook_status seek_chunk(dbk_candidates *candidates, leaf *at, uint64_t position, bool back,
                                 uint64_t *found_out) {
    bool inside = at->chunk != NULL && at->chunk_back == back && !is_before(position, at->chunk_from, back) &&
                  !is_before(at->chunk_to, position, back);
    if (!inside) {
        if (at->chunk == NULL)
            at->chunk = dbk_arena_alloc(candidates->arena, CHUNK_POSITIONS * sizeof *at->chunk);
        if (at->chunk == NULL) return DAYBOOK_ENOMEM;
        dbk_memtable *memtable = candidates->source->memtable;
        DBK_TRY(back ? dbk_memtable_postings_back(memtable, at->term, 0, position, at->chunk, CHUNK_POSITIONS,
                                                  &at->chunk_count)
                     : dbk_memtable_postings(memtable, at->term, position, UINT64_MAX, at->chunk,
                                             CHUNK_POSITIONS, &at->chunk_count));
        at->chunk_back = back;
        at->chunk_from = position;
        at->chunk_to = at->chunk_count < CHUNK_POSITIONS ? far_end(back) : at->chunk[at->chunk_count - 1];
    }
    size_t low = 0;
    for (size_t high = at->chunk_count; low < high;) {
        size_t middle = low + (high - low) / 2;
        if (is_before(at->chunk[middle], position, back)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *found_out = low < at->chunk_count ? at->chunk[low] : far_end(back);
    return DAYBOOK_OK;
}

static daybook_status seek_leaf(dbk_candidates *candidates, leaf *at, uint64_t position, bool back,
                                uint64_t *found_out, daybook_error *error) {
    if (candidates->source->memtable != NULL) {
        daybook_status status = seek_chunk(candidates, at, position, back, found_out);
        return status == DAYBOOK_OK ? status
                                    : dbk_fail(error, status, "out of memory reading the memory table");
    }
    daybook_status status = back ? dbk_postings_seek_back(at->postings, position, found_out, error)
                                 : dbk_postings_seek(at->postings, position, found_out, error);
    if (status != DAYBOOK_END) return status;
    *found_out = far_end(back);
    return DAYBOOK_OK;
}

// ---- Leaping ----------------------------------------------------------------------------------------------

static daybook_status seek_clause(dbk_candidates *candidates, clause *at, uint64_t position, bool back,
                                  uint64_t *found_out, daybook_error *error) {
    if (at->cached && at->cached_back == back && !is_before(position, at->cached_from, back) &&
        !is_before(at->cached_to, position, back)) {
        *found_out = at->cached_to;
        return DAYBOOK_OK;
    }
    uint64_t reached = position;
    for (size_t agreeing = 0, i = 0; agreeing < at->leaf_count && reached != far_end(back);
         i = (i + 1) % at->leaf_count) {
        uint64_t found;
        DBK_TRY(seek_leaf(candidates, &at->leaves[i], reached, back, &found, error));
        agreeing = found == reached ? agreeing + 1 : 1;
        reached = found;
    }
    at->cached = true;
    at->cached_back = back;
    at->cached_from = position;
    at->cached_to = reached;
    *found_out = reached;
    return DAYBOOK_OK;
}

static daybook_status seek_group(dbk_candidates *candidates, group *at, uint64_t position, bool back,
                                 uint64_t *found_out, daybook_error *error) {
    uint64_t nearest = far_end(back);
    for (size_t i = 0; i < at->clause_count && nearest != position; i++) {
        uint64_t found;
        DBK_TRY(seek_clause(candidates, &at->clauses[i], position, back, &found, error));
        if (is_before(found, nearest, back)) nearest = found;
    }
    *found_out = nearest;
    return DAYBOOK_OK;
}

static daybook_status seek(dbk_candidates *candidates, uint64_t position, bool back, uint64_t *position_out,
                           daybook_error *error) {
    if (candidates->none) return DAYBOOK_END;
    uint64_t reached = position;
    if (!candidates->all) {
        for (size_t agreeing = 0, i = 0; agreeing < candidates->group_count && reached != far_end(back);
             i = (i + 1) % candidates->group_count) {
            uint64_t found;
            DBK_TRY(seek_group(candidates, &candidates->groups[i], reached, back, &found, error));
            agreeing = found == reached ? agreeing + 1 : 1;
            reached = found;
        }
    }
    if (reached == far_end(back)) return DAYBOOK_END;
    *position_out = reached;
    return DAYBOOK_OK;
}

daybook_status dbk_candidates_seek(dbk_candidates *candidates, uint64_t position, uint64_t *position_out,
                                   daybook_error *error) {
    return seek(candidates, position, false, position_out, error);
}

daybook_status dbk_candidates_seek_back(dbk_candidates *candidates, uint64_t position, uint64_t *position_out,
                                        daybook_error *error) {
    return seek(candidates, position, true, position_out, error);
}

bool dbk_candidates_have_all_terms(const dbk_candidates *candidates) {
    return !candidates->all && !candidates->loose;
}

// ---- Planning ---------------------------------------------------------------------------------------------

static bool is_key_term(dbk_slice term) {
    uint8_t kind = ((const uint8_t *)term.data)[0];
    return kind == DBK_TERM_SUBJECT || kind == DBK_TERM_AGGREGATE;
}

// Look a term up. ENOTFOUND: nothing in this source has it.
static daybook_status open_leaf(dbk_candidates *candidates, dbk_slice term, leaf *at, daybook_error *error) {
    at->term = term;
    if (candidates->source->memtable != NULL) {
        daybook_status status = dbk_memtable_count(candidates->source->memtable, term, &at->count);
        if (status != DAYBOOK_OK) return dbk_fail(error, status, "out of memory reading the memory table");
        return at->count > 0 ? DAYBOOK_OK : DAYBOOK_ENOTFOUND;
    }
    dbk_term_entry entry;
    DBK_TRY(dbk_segment_find_term(candidates->source->segment, term, &entry, error));
    at->count = entry.count;
    if (entry.count == 0) return DAYBOOK_ENOTFOUND;
    return dbk_postings_open(candidates->source->segment, &entry, &at->postings, error);
}

static void close_clause(clause *at) {
    for (size_t i = 0; i < at->leaf_count; i++) {
        if (at->leaves[i].postings != NULL) dbk_postings_close(at->leaves[i].postings);
        at->leaves[i].postings = NULL;
    }
}

// Drop the lists that are much longer than the clause's shortest; sort the rest by length.
static uint64_t keep_short_leaves(clause *at) {
    for (size_t i = 1; i < at->leaf_count; i++) {
        for (size_t j = i; j > 0 && at->leaves[j].count < at->leaves[j - 1].count; j--) {
            leaf swap = at->leaves[j];
            at->leaves[j] = at->leaves[j - 1];
            at->leaves[j - 1] = swap;
        }
    }
    uint64_t shortest = at->leaves[0].count;
    size_t kept = 1;
    while (kept < at->leaf_count && at->leaves[kept].count / LEAP_FACTOR <= shortest) kept++;
    for (size_t i = kept; i < at->leaf_count; i++) {
        if (at->leaves[i].postings != NULL) dbk_postings_close(at->leaves[i].postings);
    }
    at->leaf_count = kept;
    return shortest;
}

// *unbounded_out: a clause without terms, the index says nothing. ENOTFOUND: the clause matches nothing here.
static daybook_status open_clause(dbk_candidates *candidates, const dbk_clause *said, bool keys_only,
                                  clause *at, bool *unbounded_out, daybook_error *error) {
    *at = (clause){0};
    at->leaves = dbk_arena_alloc(candidates->arena, said->term_count * sizeof *at->leaves + 1);
    if (at->leaves == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory planning a read");
    for (size_t i = 0; i < said->term_count; i++) {
        if (keys_only && !is_key_term(said->terms[i])) continue;
        at->leaves[at->leaf_count] = (leaf){0};
        daybook_status status = open_leaf(candidates, said->terms[i], &at->leaves[at->leaf_count], error);
        if (status != DAYBOOK_OK) {
            close_clause(at);
            return status;
        }
        at->leaf_count++;
    }
    *unbounded_out = at->leaf_count == 0;
    return DAYBOOK_OK;
}

static void close_group(group *at) {
    for (size_t i = 0; i < at->clause_count; i++) close_clause(&at->clauses[i]);
    at->clause_count = 0;
}

static daybook_status open_group(dbk_candidates *candidates, const dbk_group *said, bool keys_only, group *at,
                                 bool *unbounded_out, daybook_error *error) {
    *at = (group){0};
    *unbounded_out = false;
    at->clauses = dbk_arena_alloc(candidates->arena, said->clause_count * sizeof *at->clauses + 1);
    if (at->clauses == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory planning a read");
    for (size_t i = 0; i < said->clause_count && !*unbounded_out; i++) {
        clause *fresh = &at->clauses[at->clause_count];
        daybook_status status =
            open_clause(candidates, &said->clauses[i], keys_only, fresh, unbounded_out, error);
        if (status == DAYBOOK_ENOTFOUND) continue;
        if (status != DAYBOOK_OK) {
            close_group(at);
            return status;
        }
        if (*unbounded_out) break;
        size_t leaf_count = fresh->leaf_count;
        at->count += keep_short_leaves(fresh);
        if (fresh->leaf_count < leaf_count) candidates->loose = true;
        at->clause_count++;
    }
    if (*unbounded_out) close_group(at);
    return DAYBOOK_OK;
}

static bool is_answered_by_keys(const dbk_group *said) {
    for (size_t i = 0; i < said->clause_count; i++) {
        bool has_key = false;
        for (size_t j = 0; j < said->clauses[i].term_count; j++)
            has_key = has_key || is_key_term(said->clauses[i].terms[j]);
        if (!has_key) return false;
    }
    return true;
}

static uint64_t source_events(const dbk_source *source) {
    if (source->segment != NULL) return dbk_segment_get_summary(source->segment)->event_count;
    return dbk_memtable_position_end(source->memtable) - dbk_memtable_position_first(source->memtable);
}

// Keep the groups worth leaping over.
static void choose_groups(dbk_candidates *candidates) {
    uint64_t shortest = UINT64_MAX;
    for (size_t i = 0; i < candidates->group_count; i++) {
        if (candidates->groups[i].count < shortest) shortest = candidates->groups[i].count;
    }
    if (candidates->group_count > 0 && shortest == 0) {
        candidates->none = true;
        return;
    }
    candidates->all = candidates->group_count == 0 ||
                      shortest > source_events(candidates->source) / SCAN_SHARE;
    size_t kept = 0;
    for (size_t i = 0; i < candidates->group_count; i++) {
        group *at = &candidates->groups[i];
        if (candidates->all || at->count / LEAP_FACTOR > shortest) {
            close_group(at);
        } else {
            group swap = candidates->groups[kept];
            candidates->groups[kept++] = *at;
            if (at != &candidates->groups[kept - 1]) *at = swap;
        }
    }
    candidates->group_count = kept;
}

static daybook_status plan(dbk_candidates *candidates, const dbk_group *groups, size_t group_count,
                           uint64_t span, daybook_error *error) {
    candidates->groups = dbk_arena_alloc(candidates->arena, group_count * sizeof *candidates->groups + 1);
    if (candidates->groups == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory planning a read");
    dbk_memtable *memtable = candidates->source->memtable;
    bool keys_only = memtable != NULL && span <= SCAN_SPAN_MAX && !dbk_memtable_index_pays(memtable, span);
    for (size_t i = 0; i < group_count; i++) {
        if (groups[i].clause_count == 0) {
            candidates->none = true;
            return DAYBOOK_OK;
        }
        if (keys_only && !is_answered_by_keys(&groups[i])) continue;
        bool unbounded;
        DBK_TRY(open_group(candidates, &groups[i], keys_only, &candidates->groups[candidates->group_count],
                           &unbounded, error));
        if (!unbounded) candidates->group_count++;
    }
    choose_groups(candidates);
    return DAYBOOK_OK;
}

daybook_status dbk_candidates_open(const daybook_allocator *allocator, dbk_source *source,
                                   const dbk_group *groups, size_t group_count, uint64_t span,
                                   dbk_candidates **candidates_out, daybook_error *error) {
    *candidates_out = NULL;
    dbk_candidates *candidates = dbk_alloc_zeroed(allocator, sizeof *candidates);
    if (candidates == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory planning a read");
    candidates->allocator = allocator;
    candidates->source = source;
    daybook_status status = dbk_arena_new(allocator, 1024, &candidates->arena);
    if (status != DAYBOOK_OK) (void)dbk_fail(error, status, "out of memory planning a read");
    if (status == DAYBOOK_OK) status = plan(candidates, groups, group_count, span, error);
    if (status != DAYBOOK_OK) {
        dbk_candidates_close(candidates);
        return status;
    }
    *candidates_out = candidates;
    return DAYBOOK_OK;
}

void dbk_candidates_close(dbk_candidates *candidates) {
    if (candidates == NULL) return;
    for (size_t i = 0; i < candidates->group_count; i++) close_group(&candidates->groups[i]);
    dbk_arena_free(candidates->arena);
    dbk_free(candidates->allocator, candidates);
}
