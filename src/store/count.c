// SPDX-License-Identifier: Apache-2.0
// How many events of a stream match subject filters from a seq on, without reading them: the index is asked.
//
// Without filters, and without removed events but the oldest, the stream's own numbers say it. Else each
// segment is asked for its terms: the stream's where there is no filter, the subject's for a filter without
// wildcards, the aggregate's for all its events ("orders.7.>"), else each subject the dictionary lists that
// matches. A term's entry says how many events have it; where only a part of the segment counts (the first
// that is in question), or events of it were removed, its posting list is counted: by groups of numbers, or
// number by number against the removed ones. What memory tables hold is looked at event by event, as far as
// their index says it may match, or along the subject's or aggregate's chain.
//
// Cost: one look-up for each segment and filter of a subject or an aggregate, mostly answered by the
// segments' filters, all at once (sieve.c); with other wildcards a walk through the subjects below the
// filter's literal tokens in each segment. Where events of a segment were removed, a step for each event that
// matches or for each that was removed, whichever is less.
//
// What has expired and was not removed yet is counted here, and left out by daybook_stream_count: where
// events expire by age alone it lies before all others.
//
// Failure: where a part of the index cannot be read, the events of that segment are counted by reading them.
#include "base/assert.h"
#include "daybook/subject.h"
#include "store/query.h"
#include "subject/subject.h"

enum {
    SEEK_FACTOR = 16, // so many steps along a list cost what finding one number in it does
    CHUNK_POSITIONS = 256
};

typedef struct counting {
    daybook_store *store;
    dbk_stream *stream;
    const dbk_slice *filters;
    size_t filter_count;
    uint64_t seq_from;
    // The segment being asked.
    dbk_source *source;
    uint64_t first;         // position from which events count
    bool all;               // every event of the stream in it counts
    roaring_bitmap_t *dead; // NULL: none
    uint64_t count;         // of it
} counting;

// ---- One term ---------------------------------------------------------------------------------------------

static uint64_t position_of(const counting *of, uint32_t dead) {
    return of->source->position_first + dead;
}

// Removed ones among the list's numbers, each looked for.
static daybook_status count_dead(const counting *of, dbk_postings *postings, uint64_t *count_out,
                                 daybook_error *error) {
    *count_out = 0;
    daybook_status status = DAYBOOK_OK;
    roaring_uint32_iterator_t *at = roaring_create_iterator(of->dead);
    if (at == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory counting events");
    for (; status == DAYBOOK_OK && at->has_value; roaring_advance_uint32_iterator(at)) {
        uint64_t position = position_of(of, at->current_value), found;
        if (position < of->first) continue;
        status = dbk_postings_seek(postings, position, &found, error);
        if (status == DAYBOOK_OK) *count_out += found == position;
    }
    roaring_free_uint32_iterator(at);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

// The list's numbers that were not removed, each looked at.
static daybook_status count_living(const counting *of, dbk_postings *postings, uint64_t *count_out,
                                   daybook_error *error) {
    *count_out = 0;
    uint64_t position = of->first;
    daybook_status status;
    while ((status = dbk_postings_seek(postings, position, &position, error)) == DAYBOOK_OK) {
        *count_out += !roaring_bitmap_contains(of->dead, (uint32_t)(position - of->source->position_first));
        position++;
    }
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

static daybook_status count_postings(const counting *of, dbk_postings *postings, uint64_t listed_count,
                                     uint64_t *count_out, daybook_error *error) {
    bool few_dead = of->dead == NULL || roaring_bitmap_get_cardinality(of->dead) < listed_count / SEEK_FACTOR;
    if (!few_dead) return count_living(of, postings, count_out, error);
    uint64_t dead_count = 0;
    DBK_TRY(dbk_postings_count(postings, of->first, count_out, error));
    if (of->dead != NULL) DBK_TRY(count_dead(of, postings, &dead_count, error));
    *count_out -= dead_count;
    return DAYBOOK_OK;
}

static daybook_status add_term(counting *of, const dbk_term_entry *entry, daybook_error *error) {
    if (entry->count == 0 || entry->last_position < of->first) return DAYBOOK_OK;
    if (of->all) {
        of->count += entry->count;
        return DAYBOOK_OK;
    }
    dbk_postings *postings;
    DBK_TRY(dbk_postings_open(of->source->segment, entry, &postings, error));
    uint64_t count;
    daybook_status status = count_postings(of, postings, entry->count, &count, error);
    dbk_postings_close(postings);
    if (status == DAYBOOK_OK) of->count += count;
    return status;
}

// ---- Filters with a term of their own ---------------------------------------------------------------------

// True: the events that match the filter are those with the term.
static bool has_term(const counting *of, dbk_slice filter, dbk_term *term_out) {
    if (dbk_filter_is_literal(filter)) {
        dbk_term_make(term_out, DBK_TERM_SUBJECT, of->stream->id, filter);
        return true;
    }
    // All behind as many tokens as name an aggregate of the stream: then it has one, which is they.
    dbk_slice prefix = daybook_bytes(filter.data, dbk_filter_prefix_size(filter));
    if (prefix.size == 0 || dbk_subject_token_count(prefix) != of->stream->aggregate_tokens) return false;
    dbk_term_make(term_out, DBK_TERM_AGGREGATE, of->stream->id, prefix);
    return true;
}

static bool have_terms(const counting *of) {
    dbk_term term;
    for (size_t i = 0; i < of->filter_count; i++) {
        if (!has_term(of, of->filters[i], &term)) return false;
    }
    return of->filter_count > 0;
}

// Of at most DBK_SIEVE_MAX segments from `first` on, those that may have some: bit i is for segment first +
// i.
static uint64_t worth_asking(const counting *of, const dbk_view *view, size_t first) {
    size_t count = view->segment_count - first;
    if (count > DBK_SIEVE_MAX) count = DBK_SIEVE_MAX;
    if (!have_terms(of)) return UINT64_MAX;
    uint64_t worth = 0;
    for (size_t i = 0; i < of->filter_count; i++) {
        dbk_term term;
        (void)has_term(of, of->filters[i], &term);
        worth |= dbk_sieve_term(view, first, count, dbk_term_slice(&term));
    }
    return worth;
}

// ---- One segment ------------------------------------------------------------------------------------------

static daybook_status add_term_named(counting *of, const dbk_term *term, daybook_error *error) {
    dbk_term_entry entry;
    daybook_status status = dbk_segment_find_term(of->source->segment, dbk_term_slice(term), &entry, error);
    if (status == DAYBOOK_ENOTFOUND) return DAYBOOK_OK;
    return status == DAYBOOK_OK ? add_term(of, &entry, error) : status;
}

static daybook_status add_matching(counting *of, dbk_slice filter, size_t prefix_size, daybook_error *error) {
    dbk_term prefix;
    dbk_term_make(&prefix, DBK_TERM_SUBJECT, of->stream->id, daybook_bytes(filter.data, prefix_size));
    size_t head = prefix.size - prefix_size; // kind and stream
    dbk_term_walk *walk;
    DBK_TRY(dbk_term_walk_open(of->source->segment, dbk_term_slice(&prefix), &walk, error));
    dbk_slice term;
    dbk_term_entry entry;
    daybook_status status;
    while ((status = dbk_term_walk_next(walk, &term, &entry, error)) == DAYBOOK_OK) {
        dbk_slice subject = daybook_bytes((const uint8_t *)term.data + head, term.size - head);
        if (daybook_filter_matches(filter, subject)) status = add_term(of, &entry, error);
        if (status != DAYBOOK_OK) break;
    }
    dbk_term_walk_close(walk);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

static daybook_status add_terms(counting *of, daybook_error *error) {
    dbk_term term;
    if (of->filter_count == 0) {
        dbk_term_make(&term, DBK_TERM_STREAM, of->stream->id, daybook_bytes(NULL, 0));
        return add_term_named(of, &term, error);
    }
    for (size_t i = 0; i < of->filter_count; i++) {
        dbk_slice filter = of->filters[i];
        size_t literal = dbk_filter_literal_size(filter, UINT32_MAX);
        // With the dot behind it: "a" is no beginning of "ab.c".
        DBK_TRY(has_term(of, filter, &term) ? add_term_named(of, &term, error)
                                            : add_matching(of, filter, literal + (literal > 0), error));
    }
    return DAYBOOK_OK;
}

static daybook_status count_in_segment(counting *of, daybook_error *error) {
    dbk_segment_stream in;
    of->count = 0;
    if (!dbk_segment_find_stream(of->source->segment, of->stream->id, &in) || in.event_count == 0 ||
        in.last_seq < of->seq_from)
        return DAYBOOK_OK;
    of->first = atomic_load(&of->stream->first_position);
    uint64_t position;
    DBK_TRY(dbk_source_find_seq(of->source, &in, dbk_stream_has_given_seqs(of->stream), of->seq_from, 0,
                                &position, error));
    if (position > of->first) of->first = position;
    if (of->first > in.last_position) return DAYBOOK_OK;
    if (dbk_source_copy_dead(of->source, &of->dead) != DAYBOOK_OK)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory counting events");
    of->all = of->first <= in.first_position && of->dead == NULL;
    daybook_status status = add_terms(of, error);
    if (of->dead != NULL) roaring_bitmap_free(of->dead);
    of->dead = NULL;
    return status;
}

// ---- One memory table -------------------------------------------------------------------------------------

static bool is_wanted(const counting *of, const dbk_event *event) {
    if (event->stream_id != of->stream->id || dbk_source_is_dead(of->source, event->position)) return false;
    for (size_t i = 0; i < of->filter_count; i++) {
        if (daybook_filter_matches(of->filters[i], event->subject)) return true;
    }
    return of->filter_count == 0;
}

static daybook_status count_each(counting *of, dbk_candidates *candidates, uint64_t last,
                                 daybook_error *error) {
    daybook_status status;
    uint64_t position = of->first;
    while ((status = dbk_candidates_seek(candidates, position, &position, error)) == DAYBOOK_OK) {
        dbk_event event;
        if (position > last) return DAYBOOK_OK;
        if (dbk_memtable_get(of->source->memtable, position, &event) == DAYBOOK_OK)
            of->count += is_wanted(of, &event);
        position++;
    }
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

static daybook_status count_candidates(counting *of, dbk_arena *arena, uint64_t last, daybook_error *error) {
    daybook_query query;
    dbk_compiled compiled;
    dbk_candidates *candidates;
    daybook_query_init(&query);
    query.filters = of->filters;
    query.filter_count = of->filter_count;
    if (dbk_query_compile(of->store, &query, of->stream, arena, &compiled) != DAYBOOK_OK)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory counting events");
    DBK_TRY(dbk_candidates_open(of->store->allocator, of->source, compiled.groups, compiled.group_count,
                                last - of->first + 1, &candidates, error));
    daybook_status status = count_each(of, candidates, last, error);
    dbk_candidates_close(candidates);
    return status;
}

static daybook_status count_by_index(counting *of, uint64_t last, daybook_error *error) {
    dbk_arena *arena;
    if (dbk_arena_new(of->store->allocator, 1024, &arena) != DAYBOOK_OK)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory counting events");
    daybook_status status = count_candidates(of, arena, last, error);
    dbk_arena_free(arena);
    return status;
}

// Newest first: the table chains the events of a subject, and of an aggregate.
static daybook_status count_chain(counting *of, const dbk_term *term, uint64_t last) {
    uint64_t positions[CHUNK_POSITIONS];
    size_t count = CHUNK_POSITIONS;
    while (count == CHUNK_POSITIONS && last >= of->first) {
        DBK_TRY(dbk_memtable_postings_back(of->source->memtable, dbk_term_slice(term), of->first, last,
                                           positions, CHUNK_POSITIONS, &count));
        for (size_t i = 0; i < count; i++) of->count += !dbk_source_is_dead(of->source, positions[i]);
        if (count > 0) last = positions[count - 1] - 1;
    }
    return DAYBOOK_OK;
}

static daybook_status count_in_memtable(counting *of, uint64_t last, daybook_error *error) {
    of->count = 0;
    of->first = atomic_load(&of->stream->first_position);
    uint64_t position = dbk_memtable_find_seq(of->source->memtable, of->stream->id, of->seq_from);
    if (position > of->first) of->first = position;
    if (of->first > last) return DAYBOOK_OK;
    if (!have_terms(of)) return count_by_index(of, last, error);
    for (size_t i = 0; i < of->filter_count; i++) {
        dbk_term term;
        (void)has_term(of, of->filters[i], &term);
        if (count_chain(of, &term, last) != DAYBOOK_OK)
            return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory counting events");
    }
    return DAYBOOK_OK;
}

// ---- The whole --------------------------------------------------------------------------------------------

// By reading what lies within these positions.
static daybook_status count_by_cursor(const counting *of, uint64_t position_from, uint64_t position_to,
                                      uint64_t *count_out, daybook_error *error) {
    *count_out = 0;
    if (position_from > position_to) return DAYBOOK_OK;
    daybook_query query;
    daybook_query_init(&query);
    query.filters = of->filters;
    query.filter_count = of->filter_count;
    query.seq_from = of->seq_from;
    query.position_from = position_from;
    query.position_to = position_to;
    daybook_cursor *cursor;
    DBK_TRY(dbk_cursor_open(of->store, &query, of->stream, &cursor, error));
    daybook_status status = dbk_cursor_count(cursor, count_out, error);
    daybook_cursor_close(cursor);
    return status;
}

// What of the source lies up to `last`.
static daybook_status count_source(counting *of, dbk_source *source, uint64_t last, uint64_t *count_out,
                                   daybook_error *error) {
    DBK_TRY(dbk_source_check(source, error));
    of->source = source;
    daybook_status status = source->memtable != NULL ? count_in_memtable(of, last, error)
                                                     : count_in_segment(of, error);
    *count_out = of->count;
    if (status != DAYBOOK_EDAMAGED) return status;
    dbk_store_log(of->store, DAYBOOK_LOG_ERROR, "index damaged, counting events instead: %s",
                  error != NULL ? error->message : "run daybook verify");
    return count_by_cursor(of, source->position_first, source->position_last, count_out, error);
}

// The stream's numbers, of one moment, which *bound_out is. True where they say all there is to say.
static bool count_by_numbers(const counting *of, dbk_count_bound *bound_out, uint64_t *count_out) {
    dbk_stream *stream = of->stream;
    pthread_mutex_lock(&of->store->state_lock);
    uint64_t first_seq = atomic_load(&stream->first_seq);
    uint64_t behind = atomic_load(&stream->published_seq) + 1;
    bool whole = atomic_load(&stream->message_count) == behind - first_seq;
    *bound_out = (dbk_count_bound){behind - 1, of->store->published_position};
    pthread_mutex_unlock(&of->store->state_lock);
    uint64_t seq = of->seq_from > first_seq ? of->seq_from : first_seq;
    *count_out = seq < behind ? behind - seq : 0;
    return seq >= behind || (whole && of->filter_count == 0);
}

daybook_status dbk_count_matching(daybook_store *store, dbk_stream *stream, const dbk_slice *filters,
                                  size_t filter_count, uint64_t seq_from, dbk_count_bound *bound_out,
                                  uint64_t *count_out, daybook_error *error) {
    counting of = {.store = store,
                   .stream = stream,
                   .filters = filters,
                   .filter_count = filter_count,
                   .seq_from = seq_from};
    *count_out = 0;
    if (filter_count == 1 && dbk_slice_equal(filters[0], daybook_text(">"))) of.filter_count = 0;
    // The view first: what its segments hold was published by the moment the numbers are of.
    dbk_view *view = dbk_store_get_view(store);
    bool is_told = false;
    if (store->read_only) {
        uint64_t durable = atomic_load_explicit(&store->durable_position, memory_order_acquire);
        *bound_out = (dbk_count_bound){UINT64_MAX, durable};
    } else {
        is_told = count_by_numbers(&of, bound_out, count_out);
    }
    daybook_status status = DAYBOOK_OK;
    uint64_t total = 0, count, next = 1, worth = 0;
    for (size_t i = 0; !is_told && status == DAYBOOK_OK && i < view->source_count; i++) {
        dbk_source *source = view->sources[i];
        uint64_t end = source->memtable != NULL ? dbk_memtable_position_end(source->memtable)
                                                : source->position_last + 1;
        next = end > bound_out->position ? bound_out->position + 1 : end;
        if (i < view->segment_count && i % DBK_SIEVE_MAX == 0) worth = worth_asking(&of, view, i);
        if (i < view->segment_count && (worth >> i % DBK_SIEVE_MAX & 1) == 0) continue;
        status = count_source(&of, source, next - 1, &count, error);
        total += status == DAYBOOK_OK ? count : 0;
    }
    dbk_view_unref(view);
    if (is_told || status != DAYBOOK_OK) return status;
    // A table begun since then.
    DBK_TRY(count_by_cursor(&of, next, bound_out->position, &count, error));
    *count_out = total + count;
    return DAYBOOK_OK;
}

// ---- For users --------------------------------------------------------------------------------------------

// As recorded times never descend, what has aged lies before the rest. `*seq_out` is the first that has not,
// from there on; UINT64_MAX: all have.
static daybook_status pass_aged(daybook_store *store, dbk_stream *stream, uint64_t *seq_out,
                                daybook_error *error) {
    int64_t max_age_ns = dbk_stream_max_age_ns(stream);
    int64_t now_ns = max_age_ns > 0 ? dbk_clock_expiry_ns(store) : 0;
    if (now_ns <= max_age_ns) return DAYBOOK_OK; // nothing ages, or is as old
    daybook_query query;
    daybook_cursor *cursor;
    daybook_recorded_event event;
    daybook_query_init(&query);
    query.seq_from = *seq_out;
    query.recorded_since_ns = now_ns - max_age_ns + 1;
    query.limit = 1;
    DBK_TRY(dbk_cursor_open(store, &query, stream, &cursor, error));
    daybook_status status = daybook_cursor_next(cursor, 0, &event, error);
    if (status == DAYBOOK_OK) *seq_out = event.seq;
    if (status == DAYBOOK_END) *seq_out = UINT64_MAX;
    daybook_cursor_close(cursor);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

static bool filters_overlap(const daybook_slice *filters, size_t count) {
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (daybook_filters_overlap(filters[i], filters[j])) return true;
        }
    }
    return false;
}

daybook_status daybook_stream_count(daybook_store *store, daybook_slice name, const daybook_slice *filters,
                                    size_t filter_count, uint64_t seq_from, uint64_t *count_out,
                                    daybook_error *error) {
    if (store == NULL || count_out == NULL || name.size == 0)
        return dbk_fail(error, DAYBOOK_EMISUSE, "counting needs a store, a stream and a place for the count");
    *count_out = 0;
    daybook_query query;
    daybook_query_init(&query);
    query.stream = name;
    query.filters = filters;
    query.filter_count = filter_count;
    query.seq_from = seq_from;
    DBK_TRY(dbk_query_validate(&query, error));
    if (store->read_only) DBK_TRY(dbk_follower_refresh(store, error));
    dbk_stream *stream = dbk_stream_table_find(store->streams, name);
    if (stream == NULL)
        return dbk_fail(error, DAYBOOK_ENOTFOUND, "there is no stream '%.*s'",
                        (int)(name.size < 255 ? name.size : 255), (const char *)name.data);
    if (dbk_stream_allows_ttl(stream) || filters_overlap(filters, filter_count))
        return daybook_count(store, &query, count_out, error);
    DBK_TRY(pass_aged(store, stream, &seq_from, error));
    dbk_count_bound bound;
    return dbk_count_matching(store, stream, filters, filter_count, seq_from, &bound, count_out, error);
}
