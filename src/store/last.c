// SPDX-License-Identifier: Apache-2.0
// The newest event of each subject of a stream, from the index: a step for each subject, however many events
// it has.
//
// Sources are asked from the newest to the oldest, each for the subjects that no newer one had an event of. A
// filter without wildcards is one look-up in a source, or none where the segment's filter rules it out; for
// others the dictionary is walked below the filter's literal tokens. A term's entry names its newest event;
// its posting list is walked back from there where that event is removed or lies behind a bound. Events are
// read only to compare times: what has outlived its own time to live is passed over for the one before it.
//
// Failure: EDAMAGED or EIO where the index cannot be read: the caller reads events instead.
#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash_map.h"
#include "daybook/subject.h"
#include "store/expiry.h"
#include "store/query.h"
#include "subject/subject.h"

enum { CHUNK_POSITIONS = 64 };

// Subjects whose newest event was found.
typedef struct found_subjects {
    dbk_hash_map map; // hash -> index
    dbk_arena *arena;
    dbk_slice *subjects;
    size_t count, capacity;
} found_subjects;

typedef struct search {
    daybook_store *store;
    const dbk_stream *stream;
    const daybook_query *query;
    uint64_t last; // position
    daybook_status (*add)(void *context, uint64_t position);
    void *context;
    found_subjects found;
    // The source in hand.
    dbk_source *source;
    uint64_t source_last; // position: what lies behind is not asked for
    bool reads;           // events, because some of the source may be recorded too late, or have expired
    int64_t now_ns;       // by which they expire; 0: none has a time to live
    dbk_block_view block;
} search;

static daybook_status out_of_memory(daybook_error *error) {
    return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory listing subjects");
}

// ---- Subjects found ---------------------------------------------------------------------------------------

static bool is_found(const found_subjects *found, dbk_slice subject, uint64_t hash) {
    for (size_t step = 0;;) {
        uint32_t at = dbk_hash_map_find(&found->map, hash, &step);
        if (at == DBK_HASH_MAP_EMPTY) return false;
        if (dbk_slice_equal(found->subjects[at], subject)) return true;
    }
}

static daybook_status note_found(search *of, dbk_slice subject, uint64_t hash, uint64_t position,
                                 daybook_error *error) {
    found_subjects *found = &of->found;
    dbk_slice *subjects = dbk_grow_array(of->store->allocator, found->subjects, &found->capacity,
                                         found->count + 1, sizeof *subjects);
    if (subjects == NULL) return out_of_memory(error);
    found->subjects = subjects;
    void *copy = dbk_arena_alloc(found->arena, subject.size);
    if (copy == NULL) return out_of_memory(error);
    memcpy(copy, subject.data, subject.size);
    subjects[found->count] = daybook_bytes(copy, subject.size);
    if (dbk_hash_map_insert(&found->map, hash, (uint32_t)found->count) != DAYBOOK_OK)
        return out_of_memory(error);
    found->count++;
    return of->add(of->context, position) == DAYBOOK_OK ? DAYBOOK_OK : out_of_memory(error);
}

// ---- One subject in one source ----------------------------------------------------------------------------

// OK: it counts; ENOTFOUND: it does not, older ones may.
static daybook_status check(search *of, uint64_t position, daybook_error *error) {
    if (position > of->source_last || dbk_source_is_dead(of->source, position)) return DAYBOOK_ENOTFOUND;
    if (!of->reads) return DAYBOOK_OK;
    dbk_event event;
    DBK_TRY(dbk_source_read(of->source, position, &of->block, &event, error));
    if (event.ttl_s > 0 && dbk_clock_has_expired_at(of->now_ns, of->stream, &event)) return DAYBOOK_ENOTFOUND;
    return of->query->recorded_until_ns == DAYBOOK_TIME_NONE ||
                   event.recorded_ns < of->query->recorded_until_ns
               ? DAYBOOK_OK
               : DAYBOOK_ENOTFOUND;
}

static uint64_t first_live(const search *of) {
    uint64_t first = atomic_load(&((dbk_stream *)(uintptr_t)of->stream)->first_position);
    return first > of->source->position_first ? first : of->source->position_first;
}

// *position_out is 0 where none counts.
static daybook_status newest_of_entry(search *of, const dbk_term_entry *entry, uint64_t *position_out,
                                      daybook_error *error) {
    *position_out = 0;
    uint64_t first = first_live(of);
    if (entry->count == 0 || entry->last_position < first) return DAYBOOK_OK;
    daybook_status status = check(of, entry->last_position, error);
    if (status == DAYBOOK_OK) *position_out = entry->last_position;
    if (status != DAYBOOK_ENOTFOUND || entry->count == 1)
        return status == DAYBOOK_ENOTFOUND ? DAYBOOK_OK : status;
    dbk_postings *postings;
    DBK_TRY(dbk_postings_open(of->source->segment, entry, &postings, error));
    uint64_t position = of->source_last < entry->last_position ? of->source_last : entry->last_position;
    while (*position_out == 0 && position >= first) {
        status = dbk_postings_seek_back(postings, position, &position, error);
        if (status != DAYBOOK_OK || position < first) break;
        status = check(of, position, error);
        if (status == DAYBOOK_OK) *position_out = position;
        if (status != DAYBOOK_OK && status != DAYBOOK_ENOTFOUND) break;
        status = DAYBOOK_OK;
        if (position-- == 0) break;
    }
    dbk_postings_close(postings);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

static daybook_status newest_in_memtable(search *of, dbk_slice term, uint64_t *position_out,
                                         daybook_error *error) {
    *position_out = 0;
    uint64_t first = first_live(of);
    uint64_t last = of->source_last;
    for (size_t count = CHUNK_POSITIONS; count == CHUNK_POSITIONS && last >= first;) {
        uint64_t positions[CHUNK_POSITIONS];
        if (dbk_memtable_postings_back(of->source->memtable, term, first, last, positions, CHUNK_POSITIONS,
                                       &count) != DAYBOOK_OK)
            return out_of_memory(error);
        for (size_t i = 0; i < count; i++) {
            daybook_status status = check(of, positions[i], error);
            if (status == DAYBOOK_OK) *position_out = positions[i];
            if (status != DAYBOOK_ENOTFOUND) return status;
        }
        if (count > 0) last = positions[count - 1] - 1;
    }
    return DAYBOOK_OK;
}

// The subject's term in the source; `entry` is that of a segment.
static daybook_status look(search *of, dbk_slice term, const dbk_term_entry *entry, daybook_error *error) {
    dbk_slice subject = daybook_bytes((const char *)term.data + 5, term.size - 5);
    uint64_t hash = dbk_checksum(subject.data, subject.size, 0);
    if (is_found(&of->found, subject, hash)) return DAYBOOK_OK;
    uint64_t position;
    DBK_TRY(entry != NULL ? newest_of_entry(of, entry, &position, error)
                          : newest_in_memtable(of, term, &position, error));
    return position == 0 ? DAYBOOK_OK : note_found(of, subject, hash, position, error);
}

// ---- One filter in one source -----------------------------------------------------------------------------

static daybook_status look_for_literal(search *of, dbk_slice subject, daybook_error *error) {
    dbk_term term;
    dbk_term_make(&term, DBK_TERM_SUBJECT, of->stream->id, subject);
    if (of->source->memtable != NULL) return look(of, dbk_term_slice(&term), NULL, error);
    dbk_term_entry entry;
    daybook_status status = dbk_segment_find_term(of->source->segment, dbk_term_slice(&term), &entry, error);
    if (status == DAYBOOK_ENOTFOUND) return DAYBOOK_OK;
    return status == DAYBOOK_OK ? look(of, dbk_term_slice(&term), &entry, error) : status;
}

static bool matches(dbk_slice filter, dbk_slice term) {
    return daybook_filter_matches(filter, daybook_bytes((const char *)term.data + 5, term.size - 5)) != 0;
}

static daybook_status walk_segment(search *of, dbk_slice filter, dbk_slice prefix, daybook_error *error) {
    dbk_term_walk *terms;
    DBK_TRY(dbk_term_walk_open(of->source->segment, prefix, &terms, error));
    dbk_slice term;
    dbk_term_entry entry;
    daybook_status status;
    while ((status = dbk_term_walk_next(terms, &term, &entry, error)) == DAYBOOK_OK) {
        if (matches(filter, term)) status = look(of, term, &entry, error);
        if (status != DAYBOOK_OK) break;
    }
    dbk_term_walk_close(terms);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

// Terms of a memory table are copied first: their list may not be asked while it is walked.
typedef struct term_list {
    const daybook_allocator *allocator;
    dbk_arena *arena;
    dbk_slice filter;
    dbk_slice *terms;
    size_t count, capacity;
} term_list;

static daybook_status collect(void *context, dbk_slice term) {
    term_list *list = context;
    if (!matches(list->filter, term)) return DAYBOOK_OK;
    dbk_slice *terms =
        dbk_grow_array(list->allocator, list->terms, &list->capacity, list->count + 1, sizeof *terms);
    if (terms == NULL) return DAYBOOK_ENOMEM;
    list->terms = terms;
    terms[list->count] = term;
    DBK_TRY(dbk_copy_slice(list->arena, &terms[list->count]));
    list->count++;
    return DAYBOOK_OK;
}

static daybook_status walk_memtable(search *of, dbk_slice filter, dbk_slice prefix, daybook_error *error) {
    const daybook_allocator *allocator = of->store->allocator;
    term_list list = {.allocator = allocator, .filter = filter};
    daybook_status status = dbk_arena_new(allocator, 1 << 14, &list.arena);
    if (status == DAYBOOK_OK) status = dbk_memtable_visit_terms(of->source->memtable, prefix, collect, &list);
    if (status != DAYBOOK_OK) (void)out_of_memory(error);
    for (size_t i = 0; status == DAYBOOK_OK && i < list.count; i++)
        status = look(of, list.terms[i], NULL, error);
    dbk_free(allocator, list.terms);
    dbk_arena_free(list.arena);
    return status;
}

// Bytes of the leading literal tokens.
static size_t literal_size(dbk_slice filter) {
    size_t size = 0;
    uint32_t token_count = dbk_subject_token_count(filter);
    for (uint32_t i = 0; i < token_count; i++) {
        dbk_slice token = dbk_subject_token(filter, i);
        if (dbk_slice_equal(token, daybook_text("*")) || dbk_slice_equal(token, daybook_text(">"))) break;
        size += token.size + (i > 0);
    }
    return size;
}

static daybook_status look_for(search *of, dbk_slice filter, daybook_error *error) {
    if (dbk_filter_is_literal(filter)) return look_for_literal(of, filter, error);
    uint8_t prefix[5 + DAYBOOK_SUBJECT_SIZE_MAX] = {DBK_TERM_SUBJECT};
    for (int i = 0; i < 4; i++) prefix[1 + i] = (uint8_t)(of->stream->id >> (24 - 8 * i));
    size_t size = literal_size(filter);
    if (size > 0) memcpy(prefix + 5, filter.data, size);
    dbk_slice begin = daybook_bytes(prefix, 5 + size);
    return of->source->segment != NULL ? walk_segment(of, filter, begin, error)
                                       : walk_memtable(of, filter, begin, error);
}

// ---- All --------------------------------------------------------------------------------------------------

// What of the source may count; false where nothing of it does.
static daybook_status enter(search *of, dbk_source *source, bool *is_asked_out, daybook_error *error) {
    const daybook_query *query = of->query;
    of->source = source;
    of->source_last = of->last;
    of->reads = query->recorded_until_ns != DAYBOOK_TIME_NONE;
    *is_asked_out = false;
    DBK_TRY(dbk_source_check(source, error));
    uint64_t behind = UINT64_MAX;
    if (source->segment != NULL) {
        dbk_segment_stream in;
        if (!dbk_segment_find_stream(source->segment, of->stream->id, &in) || in.event_count == 0)
            return DAYBOOK_OK;
        const dbk_segment_summary *summary = dbk_segment_get_summary(source->segment);
        if (of->reads && summary->recorded_first_ns >= query->recorded_until_ns) return DAYBOOK_OK;
        if (of->reads) of->reads = summary->recorded_last_ns >= query->recorded_until_ns;
        if (query->seq_to > 0 && in.last_seq > query->seq_to)
            DBK_TRY(dbk_source_find_seq(source, &in, dbk_stream_has_given_seqs(of->stream), query->seq_to + 1,
                                        0, &behind, error));
    } else if (query->seq_to > 0 && query->seq_to < UINT64_MAX) {
        behind = dbk_memtable_find_seq(source->memtable, of->stream->id, query->seq_to + 1);
    }
    if (of->now_ns > 0 && dbk_expiry_may_be_due(source, of->now_ns)) of->reads = true;
    if (behind <= of->source_last) of->source_last = behind == 0 ? 0 : behind - 1;
    *is_asked_out = of->source_last >= first_live(of);
    return DAYBOOK_OK;
}

static daybook_status search_view(search *of, const dbk_view *view, daybook_error *error) {
    static const dbk_slice everything = {">", 1};
    const daybook_query *query = of->query;
    size_t filter_count = query->filter_count > 0 ? query->filter_count : 1;
    for (size_t i = view->source_count; i-- > 0;) {
        bool is_asked;
        DBK_TRY(enter(of, view->sources[i], &is_asked, error));
        for (size_t j = 0; is_asked && j < filter_count; j++)
            DBK_TRY(look_for(of, query->filter_count > 0 ? query->filters[j] : everything, error));
        dbk_block_release(&of->block);
    }
    return DAYBOOK_OK;
}

bool dbk_query_asks_for_subjects_only(const daybook_query *query) {
    return query->type_count == 0 && query->tag_count == 0 && query->item_count == 0 &&
           query->correlation.size == 0 && query->causation.size == 0 && query->actor.size == 0 &&
           query->id.size == 0 && query->version_from == 0 && query->version_to == 0 &&
           query->time_since_ns == DAYBOOK_TIME_NONE && query->time_until_ns == DAYBOOK_TIME_NONE;
}

daybook_status dbk_query_last_of_subjects(daybook_store *store, const dbk_stream *stream,
                                          const daybook_query *query, uint64_t position_last,
                                          daybook_status (*add)(void *context, uint64_t position),
                                          void *context, daybook_error *error) {
    search of = {.store = store,
                 .stream = stream,
                 .query = query,
                 .last = position_last,
                 .now_ns = dbk_stream_allows_ttl(stream) ? dbk_clock_expiry_ns(store) : 0,
                 .add = add,
                 .context = context};
    dbk_hash_map_init(&of.found.map, store->allocator);
    if (dbk_arena_new(store->allocator, 1 << 14, &of.found.arena) != DAYBOOK_OK) return out_of_memory(error);
    dbk_view *view = dbk_store_get_view(store);
    daybook_status status = search_view(&of, view, error);
    dbk_block_release(&of.block);
    dbk_view_unref(view);
    dbk_arena_free(of.found.arena);
    dbk_hash_map_deinit(&of.found.map);
    dbk_free(store->allocator, of.found.subjects);
    return status;
}
