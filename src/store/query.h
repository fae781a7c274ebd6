// SPDX-License-Identifier: Apache-2.0
// Queries inside the store: compiled once into terms, matched against events, and asked of sources.
//
// A compiled query is a conjunction of groups, a group a disjunction of clauses, a clause a conjunction of
// index terms. Every event that matches the query has, in every group, a clause all of whose terms it has;
// the reverse holds where a clause is `exact`. What the index does not know (times, versions, wildcards in
// the middle) is checked on the event.
#ifndef DBK_STORE_QUERY_H
#define DBK_STORE_QUERY_H

#include "store/store_internal.h"

typedef struct dbk_clause {
    dbk_slice *terms;
    size_t term_count; // 0: matches everything as far as the index can tell
    bool exact;
} dbk_clause;

typedef struct dbk_group {
    dbk_clause *clauses;
    size_t clause_count; // 0: nothing matches
} dbk_group;

typedef struct dbk_compiled {
    dbk_group *groups;
    size_t group_count;
} dbk_compiled;

/// Compile all parts of a query but ids, bounds and flags. `stream` may be NULL. Memory from the arena.
/// ENOMEM.
daybook_status dbk_query_compile(daybook_store *store, const daybook_query *query, const dbk_stream *stream,
                                 dbk_arena *arena, dbk_compiled *compiled_out);
/// Compile query items alone: one group.
daybook_status dbk_query_compile_items(daybook_store *store, const daybook_query_item *items,
                                       size_t item_count, const dbk_stream *stream, uint32_t flags,
                                       dbk_arena *arena, dbk_group *group_out);
/// Deep copies into the arena; a single slice in place. Copies of items lie side by side. ENOMEM.
daybook_status dbk_copy_slice(dbk_arena *arena, dbk_slice *slice);
daybook_status dbk_query_items_copy(const daybook_query_item *items, size_t count, dbk_arena *arena,
                                    const daybook_query_item **copies_out);
daybook_status dbk_query_copy(const daybook_query *query, dbk_arena *arena, daybook_query *copy_out);
/// EMISUSE, EINVALID, ESUBJECT: everything daybook/read.h demands.
daybook_status dbk_query_items_validate(const daybook_query_item *items, size_t count, daybook_error *error);
daybook_status dbk_query_validate(const daybook_query *query, daybook_error *error);

bool dbk_item_matches(const daybook_query_item *item, const dbk_event *event);
/// All parts but stream, limit and flags.
bool dbk_query_matches(const daybook_query *query, const dbk_event *event);

// ---- Asking a source --------------------------------------------------------------------------------------

/// Walks candidate positions of one source. Plans by the counts of its terms: either an intersection of
/// posting lists, or every position.
typedef struct dbk_candidates dbk_candidates;

/// `span`: how many positions the caller will look at, at most; a short stretch of a memory table is scanned.
daybook_status dbk_candidates_open(const daybook_allocator *allocator, dbk_source *source,
                                   const dbk_group *groups, size_t group_count, uint64_t span,
                                   dbk_candidates **candidates_out, daybook_error *error);
/// The first candidate >= position, END when there is none. `every` is set where all positions are candidates
/// (no index).
daybook_status dbk_candidates_seek(dbk_candidates *candidates, uint64_t position, uint64_t *position_out,
                                   daybook_error *error);
/// The last candidate <= position.
daybook_status dbk_candidates_seek_back(dbk_candidates *candidates, uint64_t position, uint64_t *position_out,
                                        daybook_error *error);
/// True where each candidate has every term of some clause of each group: no list was left out of the plan.
bool dbk_candidates_have_all_terms(const dbk_candidates *candidates);
void dbk_candidates_close(dbk_candidates *candidates);

// ---- The newest event of each subject (last.c) ------------------------------------------------------------

/// Do filters, and bounds of position, seq and recorded, say all that the query asks?
bool dbk_query_asks_for_subjects_only(const daybook_query *query);
/// `add` the position of each newest live event of a subject of `stream` that the query's filters match,
/// among those up to position_last, seq_to and before recorded_until; in no order. Lower bounds are the
/// caller's. For queries of which the above is true. ENOMEM; EDAMAGED, EIO: the index cannot be read.
daybook_status dbk_query_last_of_subjects(daybook_store *store, const dbk_stream *stream,
                                          const daybook_query *query, uint64_t position_last,
                                          daybook_status (*add)(void *context, uint64_t position),
                                          void *context, daybook_error *error);

// ---- Which segments are worth asking (sieve.c) ------------------------------------------------------------

/// Of the `count` segments of the view from `first` on, at most DBK_SIEVE_MAX: bit i is clear where segment
/// first + i surely has no event that matches the groups (has the term). Asks filters in memory only.
enum { DBK_SIEVE_MAX = 64 };
uint64_t dbk_sieve_groups(const dbk_view *view, size_t first, size_t count, const dbk_group *groups,
                          size_t group_count);
uint64_t dbk_sieve_term(const dbk_view *view, size_t first, size_t count, dbk_slice term);
/// Those that may know an id, as a supplied or made one, of an event stored or removed.
uint64_t dbk_sieve_id(const dbk_view *view, size_t first, size_t count, uint32_t stream_id, dbk_slice id_key);
/// Walks the segments worth asking, the newest first.
typedef struct dbk_sieve {
    const dbk_view *view;
    const dbk_group *group; // one of these three
    dbk_slice term;
    dbk_slice id_key;
    uint32_t stream_id; // with id_key
    size_t oldest;      // not asked below
    size_t first;       // `passing` begins here; not asked yet below
    uint64_t passing;
} dbk_sieve;
void dbk_sieve_begin(const dbk_view *view, size_t oldest, const dbk_group *group, dbk_sieve *sieve_out);
void dbk_sieve_begin_term(const dbk_view *view, dbk_slice term, dbk_sieve *sieve_out);
void dbk_sieve_begin_id(const dbk_view *view, uint32_t stream_id, dbk_slice id_key, dbk_sieve *sieve_out);
/// NULL where there is none left.
dbk_source *dbk_sieve_next(dbk_sieve *sieve);

#endif
