// SPDX-License-Identifier: Apache-2.0
// The newest live event that matches query items: what append conditions ask. Answered by the index alone
// where it can:
//   - a subject or an aggregate of one stream: its term's entry names the last event;
//   - types and tags: where every clause is exact and every stream of the segment counts, the newest posting
//     is the answer.
// Otherwise candidates are read from the newest on until one matches. No candidate, no read. Only segments
// that pass the sieve are asked at all.
// What its stream's max_age hides from reads does not count, whether limits have removed it or not. Since
// `recorded` does not go back, the segment's first and last tell in most cases. Nor does what outlived its
// own time to live: where something of that kind is due in a segment, events are read (expiry.c).
#include "base/assert.h"
#include "store/expiry.h"
#include "store/query.h"

enum {
    STREAMS_CHECKED_MAX = 64
}; // in a segment of more streams, candidates are read rather than all streams checked

typedef struct search {
    daybook_store *store;
    dbk_stream *stream; // the only one, or NULL: all but internal ones
    const daybook_query_item *items;
    size_t item_count;
    dbk_group group;
    uint64_t from;
    uint64_t to;
    int64_t now_ns; // what is older than its stream's max_age counts no longer
} search;

static bool event_counts(const search *searching, dbk_source *source, const dbk_event *event) {
    dbk_stream *stream = dbk_stream_table_find_id(searching->store->streams, event->stream_id);
    if (!dbk_stream_is_asked_for(stream, searching->stream, false)) return false;
    if (event->position < atomic_load(&stream->first_position) || dbk_source_is_dead(source, event->position))
        return false;
    if (dbk_clock_has_expired_at(searching->now_ns, stream, event)) return false;
    for (size_t i = 0; i < searching->item_count; i++) {
        const daybook_query_item *item =
            (const daybook_query_item *)(const void *)((const char *)searching->items +
                                                       i * searching->items[0].size);
        if (dbk_item_matches(item, event)) return true;
    }
    return false;
}

// Has every event of the one stream asked for aged that was recorded then, or earlier?
static bool has_aged(const search *searching, int64_t recorded_ns) {
    return searching->stream != NULL &&
           dbk_clock_have_all_expired_at(searching->now_ns, searching->stream, recorded_ns);
}

// Does a candidate's being there say everything? (Removal of single events is known without reading.)
static bool index_decides(const search *searching, dbk_source *source) {
    for (size_t i = 0; i < searching->group.clause_count; i++) {
        if (!searching->group.clauses[i].exact || searching->group.clauses[i].term_count == 0) return false;
    }
    dbk_segment_stream in;
    for (uint32_t i = 0; dbk_segment_get_stream(source->segment, i, &in); i++) {
        dbk_stream *stream = dbk_stream_table_find_id(searching->store->streams, in.stream_id);
        if (i >= STREAMS_CHECKED_MAX || !dbk_stream_is_asked_for(stream, searching->stream, false))
            return false;
        if (dbk_expiry_may_hide(source, stream, in.last_position, true, searching->now_ns)) return false;
        if (in.first_position < atomic_load(&stream->first_position)) return false;
    }
    return true;
}

// One term of one stream: its entry is enough unless its last event was removed.
static bool entry_answers(const search *searching, dbk_source *source, uint64_t *position_out,
                          uint64_t *seq_out, daybook_status *status_out, daybook_error *error) {
    if (searching->group.clause_count != 1 || searching->group.clauses[0].term_count != 1 ||
        searching->stream == NULL)
        return false;
    dbk_slice term = searching->group.clauses[0].terms[0];
    uint8_t kind = ((const uint8_t *)term.data)[0];
    if (kind != DBK_TERM_SUBJECT && kind != DBK_TERM_AGGREGATE) return false;
    dbk_term_entry entry;
    *status_out = dbk_segment_find_term(source->segment, term, &entry, error);
    *position_out = *seq_out = 0;
    if (*status_out == DAYBOOK_ENOTFOUND) {
        *status_out = DAYBOOK_OK;
        return true;
    }
    if (*status_out != DAYBOOK_OK) return *status_out != DAYBOOK_EDAMAGED;
    if (entry.count == 0 || entry.last_position < searching->from) return true;
    bool may_hide =
        dbk_expiry_may_hide(source, searching->stream, entry.last_position, true, searching->now_ns);
    if (entry.last_position < atomic_load(&searching->stream->first_position)) return true;
    if (dbk_source_is_dead(source, entry.last_position) || entry.last_position > searching->to) return false;
    if (may_hide) return false;
    *position_out = entry.last_position;
    *seq_out = entry.last_seq;
    return true;
}

// END where neither it counts nor anything older: `recorded` does not go back.
static daybook_status read_candidate(const search *searching, dbk_source *source, uint64_t position,
                                     dbk_block_view *block, uint64_t *position_out, uint64_t *seq_out,
                                     daybook_error *error) {
    dbk_event event;
    daybook_status status = dbk_source_read(source, position, block, &event, error);
    if (status == DAYBOOK_ENOTFOUND) return DAYBOOK_OK;
    if (status != DAYBOOK_OK) return status;
    if (has_aged(searching, event.recorded_ns)) return DAYBOOK_END;
    if (!event_counts(searching, source, &event)) return DAYBOOK_OK;
    *position_out = event.position;
    *seq_out = event.seq;
    return DAYBOOK_OK;
}

// Walk the candidates of a source from the newest on. An index that cannot be read leaves every event a
// candidate.
static daybook_status walk_back(const search *searching, dbk_source *source, bool use_index,
                                uint64_t *position_out, uint64_t *seq_out, daybook_error *error) {
    dbk_candidates *candidates;
    DBK_TRY(dbk_candidates_open(searching->store->allocator, source, &searching->group, use_index ? 1 : 0,
                                UINT64_MAX, &candidates, error));
    uint64_t end = source->memtable != NULL ? dbk_memtable_position_end(source->memtable)
                                            : source->position_last + 1;
    uint64_t position = end - 1 < searching->to ? end - 1 : searching->to;
    bool decides = use_index && source->segment != NULL && dbk_candidates_have_all_terms(candidates) &&
                   index_decides(searching, source);
    dbk_block_view block = {0};
    daybook_status status = DAYBOOK_OK;
    uint64_t low = searching->from > source->position_first ? searching->from : source->position_first;
    for (; *position_out == 0 && position >= low && position > 0; position--) {
        status = dbk_candidates_seek_back(candidates, position, &position, error);
        if (status != DAYBOOK_OK || position < low) break;
        if (decides && dbk_source_is_dead(source, position)) continue;
        if (decides && searching->stream == NULL) {
            *position_out = position;
            *seq_out = 0;
        } else {
            status = read_candidate(searching, source, position, &block, position_out, seq_out, error);
            if (status != DAYBOOK_OK) break;
        }
    }
    dbk_block_release(&block);
    dbk_candidates_close(candidates);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

static daybook_status search_segment(const search *searching, dbk_source *source, uint64_t *position_out,
                                     uint64_t *seq_out, daybook_error *error) {
    daybook_status status;
    if (has_aged(searching, dbk_segment_get_summary(source->segment)->recorded_last_ns)) {
        *position_out = *seq_out = 0;
        return DAYBOOK_OK;
    }
    if (entry_answers(searching, source, position_out, seq_out, &status, error)) return status;
    *position_out = *seq_out = 0;
    status = walk_back(searching, source, true, position_out, seq_out, error);
    if (status != DAYBOOK_EDAMAGED) return status;
    *position_out = *seq_out = 0;
    return walk_back(searching, source, false, position_out, seq_out, error);
}

static daybook_status begin(daybook_store *store, dbk_stream *stream, const daybook_query_item *items,
                            size_t item_count, int64_t now_ns, uint64_t from, uint64_t to,
                            search *searching_out, dbk_arena **arena_out, daybook_error *error) {
    *searching_out = (search){.store = store,
                              .stream = stream,
                              .items = items,
                              .item_count = item_count,
                              .from = from,
                              .to = to,
                              .now_ns = now_ns};
    daybook_status status = dbk_arena_new(store->allocator, 1024, arena_out);
    if (status == DAYBOOK_OK)
        status =
            dbk_query_compile_items(store, items, item_count, stream, 0, *arena_out, &searching_out->group);
    if (status == DAYBOOK_OK) return DAYBOOK_OK;
    dbk_arena_free(*arena_out);
    *arena_out = NULL;
    return dbk_fail(error, status, "out of memory checking an append condition");
}

daybook_status dbk_query_newest_in_segments(daybook_store *store, dbk_view *view, dbk_stream *stream,
                                            const daybook_query_item *items, size_t item_count,
                                            int64_t now_ns, uint64_t position_from, uint64_t *position_out,
                                            uint64_t *seq_out, daybook_error *error) {
    *position_out = *seq_out = 0;
    search searching;
    dbk_arena *arena = NULL;
    DBK_TRY(begin(store, stream, items, item_count, now_ns, position_from, UINT64_MAX, &searching, &arena,
                  error));
    daybook_status status = DAYBOOK_OK;
    dbk_sieve sieve;
    dbk_sieve_begin(view, dbk_view_find(view, position_from), &searching.group, &sieve);
    dbk_source *source;
    while (status == DAYBOOK_OK && *position_out == 0 && (source = dbk_sieve_next(&sieve)) != NULL)
        status = search_segment(&searching, source, position_out, seq_out, error);
    dbk_arena_free(arena);
    return status;
}

daybook_status dbk_query_newest_in_memtable(daybook_store *store, dbk_source *source, dbk_stream *stream,
                                            const daybook_query_item *items, size_t item_count,
                                            int64_t now_ns, uint64_t position_from, uint64_t position_last,
                                            uint64_t *position_out, uint64_t *seq_out, daybook_error *error) {
    *position_out = *seq_out = 0;
    if (dbk_memtable_position_end(source->memtable) <= position_from) return DAYBOOK_OK;
    search searching;
    dbk_arena *arena = NULL;
    DBK_TRY(begin(store, stream, items, item_count, now_ns, position_from, position_last, &searching, &arena,
                  error));
    daybook_status status = walk_back(&searching, source, true, position_out, seq_out, error);
    dbk_arena_free(arena);
    return status;
}
