// SPDX-License-Identifier: Apache-2.0
// Which segments of a view are worth asking. An aggregate lies in few of them, but each look-up has to ask
// all; so all are asked at once, before any of them is opened: the filters that lie in memory
// (segment/filters.c) answer in two passes, the first of which only has their cells fetched. So the memory
// of one is not waited for after that of another, and a segment that does not have the term costs some tens
// of nanoseconds.
//
// A filter only rules out; what it lets through is looked up as ever. Where one is not in memory its segment
// counts as having the term. Pure but for reading those filters; any thread that holds the view.
#include "store/query.h"

enum { TERMS_MAX = 64 }; // of one question; those beyond rule nothing out

static uint64_t all_of(size_t count) {
    return count >= DBK_SIEVE_MAX ? UINT64_MAX : (UINT64_C(1) << count) - 1;
}

// Those of `among` that may have the term.
static uint64_t sift(dbk_source *const *sources, uint64_t among, dbk_slice term) {
    dbk_filter_probe probes[DBK_SIEVE_MAX];
    uint64_t hash = dbk_term_hash(term), kept = among;
    for (uint64_t left = among; left != 0; left &= left - 1) {
        unsigned i = (unsigned)__builtin_ctzll(left);
        if (sources[i]->segment != NULL) {
            dbk_segment_probe_begin(sources[i]->segment, term, hash, &probes[i]);
        } else {
            probes[i] = (dbk_filter_probe){.fingerprint = 0};
        }
    }
    for (uint64_t left = among; left != 0; left &= left - 1) {
        unsigned i = (unsigned)__builtin_ctzll(left);
        if (!dbk_filter_probe_end(&probes[i])) kept &= ~(UINT64_C(1) << i);
    }
    return kept;
}

// Those of `among` with a clause all of whose terms they may have.
static uint64_t sift_group(dbk_source *const *sources, uint64_t among, const dbk_group *group,
                           size_t *terms_left) {
    uint64_t kept = 0;
    for (size_t i = 0; i < group->clause_count && kept != among; i++) {
        const dbk_clause *clause = &group->clauses[i];
        uint64_t may = among & ~kept;
        for (size_t j = 0; j < clause->term_count && may != 0 && *terms_left > 0; j++) {
            may = sift(sources, may, clause->terms[j]);
            --*terms_left;
        }
        kept |= may;
    }
    return kept;
}

uint64_t dbk_sieve_groups(const dbk_view *view, size_t first, size_t count, const dbk_group *groups,
                          size_t group_count) {
    uint64_t kept = all_of(count);
    if (count < 2) return kept; // it would be asked twice
    size_t terms_left = TERMS_MAX;
    for (size_t i = 0; i < group_count && kept != 0; i++)
        kept = sift_group(view->sources + first, kept, &groups[i], &terms_left);
    return kept;
}

uint64_t dbk_sieve_term(const dbk_view *view, size_t first, size_t count, dbk_slice term) {
    return count < 2 ? all_of(count) : sift(view->sources + first, all_of(count), term);
}

uint64_t dbk_sieve_id(const dbk_view *view, size_t first, size_t count, uint32_t stream_id,
                      dbk_slice id_key) {
    if (count < 2) return all_of(count);
    dbk_source *const *sources = view->sources + first;
    dbk_term stored, removed;
    uint64_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        bool may_be = sources[i]->segment == NULL ||
                      dbk_segment_may_have_made_id(sources[i]->segment, id_key);
        if (may_be) kept |= UINT64_C(1) << i;
    }
    if (sources[0]->segment == NULL) return all_of(count);
    // The terms of an id are the same in all segments of a store.
    dbk_segment_id_terms(sources[0]->segment, stream_id, id_key, &stored, &removed);
    kept |= sift(sources, all_of(count) & ~kept, dbk_term_slice(&stored));
    return kept | sift(sources, all_of(count) & ~kept, dbk_term_slice(&removed));
}

// ---- Newest first -----------------------------------------------------------------------------------------

void dbk_sieve_begin(const dbk_view *view, size_t oldest, const dbk_group *group, dbk_sieve *sieve_out) {
    size_t first = view->segment_count > oldest ? view->segment_count : oldest;
    *sieve_out = (dbk_sieve){.view = view, .group = group, .oldest = oldest, .first = first};
}

void dbk_sieve_begin_term(const dbk_view *view, dbk_slice term, dbk_sieve *sieve_out) {
    *sieve_out = (dbk_sieve){.view = view, .term = term, .first = view->segment_count};
}

void dbk_sieve_begin_id(const dbk_view *view, uint32_t stream_id, dbk_slice id_key, dbk_sieve *sieve_out) {
    *sieve_out =
        (dbk_sieve){.view = view, .id_key = id_key, .stream_id = stream_id, .first = view->segment_count};
}

static uint64_t ask(const dbk_sieve *sieve, size_t count) {
    if (sieve->group != NULL) return dbk_sieve_groups(sieve->view, sieve->first, count, sieve->group, 1);
    if (sieve->term.size > 0) return dbk_sieve_term(sieve->view, sieve->first, count, sieve->term);
    return dbk_sieve_id(sieve->view, sieve->first, count, sieve->stream_id, sieve->id_key);
}

dbk_source *dbk_sieve_next(dbk_sieve *sieve) {
    while (sieve->passing == 0) {
        size_t count = sieve->first - sieve->oldest;
        if (count == 0) return NULL;
        if (count > DBK_SIEVE_MAX) count = DBK_SIEVE_MAX;
        sieve->first -= count;
        sieve->passing = ask(sieve, count);
    }
    unsigned newest = 63 - (unsigned)__builtin_clzll(sieve->passing);
    sieve->passing &= ~(UINT64_C(1) << newest);
    return sieve->view->sources[sieve->first + newest];
}
