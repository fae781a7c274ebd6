// SPDX-License-Identifier: Apache-2.0
// Which seqs of a stream are missing between its oldest live event and its end.
//
// Where a segment has as many events of the stream as seqs between its first and last, and none was removed
// since, it has no gap, and is passed. Else the index gives the positions of its live events, and gaps are
// found by halving: between two events that are as many places apart as seqs there is none, and nothing is
// read there. Memory tables are walked. Between sources the seqs tell.
//
// Cost: nothing where nothing is missing; a posting for each event of the stream in the segments that have
// gaps, and for each gap as many events read as there are halvings, most of them from blocks that were read
// just before.
#include "base/assert.h"
#include "store/query.h"

typedef struct walk {
    const dbk_stream *stream;
    int (*visit)(void *context, uint64_t seq_first, uint64_t seq_last);
    void *context;
    uint64_t first_position; // live events lie there or behind
    uint64_t last_position;
    uint64_t next_seq; // all before it are told of; 0: no live event was met
    // The segment in hand.
    dbk_source *source;
    roaring_bitmap_t *live; // positions in it, relative
    dbk_block_view block;
} walk;

typedef struct place {
    uint64_t rank; // among the live events of the segment
    uint64_t seq;
} place;

// The next live event has this seq. END where the visitor has enough.
static daybook_status reach(walk *at, uint64_t seq) {
    uint64_t next = at->next_seq;
    at->next_seq = seq + 1;
    if (next == 0 || seq <= next) return DAYBOOK_OK;
    return at->visit(at->context, next, seq - 1) == 0 ? DAYBOOK_OK : DAYBOOK_END;
}

// ---- Memory tables ----------------------------------------------------------------------------------------

static daybook_status walk_memtable(walk *at, dbk_source *source) {
    uint64_t end = dbk_memtable_position_end(source->memtable);
    if (end > at->last_position) end = at->last_position + 1;
    uint64_t position = at->first_position > source->position_first ? at->first_position
                                                                    : source->position_first;
    for (; position < end; position++) {
        dbk_event event;
        if (dbk_memtable_get(source->memtable, position, &event) != DAYBOOK_OK ||
            event.stream_id != at->stream->id || dbk_source_is_dead(source, position))
            continue;
        DBK_TRY(reach(at, event.seq));
    }
    return DAYBOOK_OK;
}

// ---- Segments ---------------------------------------------------------------------------------------------

// The positions of the stream's live events in the segment.
static daybook_status find_live(walk *at, roaring_bitmap_t *into, daybook_error *error) {
    dbk_term term;
    dbk_term_entry entry;
    dbk_term_make(&term, DBK_TERM_STREAM, at->stream->id, daybook_bytes(NULL, 0));
    daybook_status status = dbk_segment_find_term(at->source->segment, dbk_term_slice(&term), &entry, error);
    if (status == DAYBOOK_ENOTFOUND) return DAYBOOK_OK;
    if (status != DAYBOOK_OK) return status;
    dbk_postings *postings;
    DBK_TRY(dbk_postings_open(at->source->segment, &entry, &postings, error));
    uint64_t position = at->first_position;
    while ((status = dbk_postings_seek(postings, position, &position, error)) == DAYBOOK_OK) {
        roaring_bitmap_add(into, (uint32_t)(position - at->source->position_first));
        position++;
    }
    dbk_postings_close(postings);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

static daybook_status seq_at(walk *at, uint64_t rank, uint64_t *seq_out, daybook_error *error) {
    uint32_t relative;
    bool found = roaring_bitmap_select(at->live, (uint32_t)rank, &relative);
    DBK_ASSERT(found);
    dbk_event event;
    daybook_status status =
        dbk_source_read(at->source, at->source->position_first + relative, &at->block, &event, error);
    if (status == DAYBOOK_ENOTFOUND)
        return dbk_fail(error, DAYBOOK_EDAMAGED, "the index of a segment names an event that is not there");
    if (status == DAYBOOK_OK) *seq_out = event.seq;
    return status;
}

// The gaps behind `low` up to and including `high`. Told in order: the near half first.
static daybook_status halve(walk *at, place low, place high, daybook_error *error) {
    for (;;) {
        uint64_t distance = high.rank - low.rank;
        if (high.seq - low.seq == distance) {
            at->next_seq = high.seq + 1;
            return DAYBOOK_OK;
        }
        if (distance == 1) return reach(at, high.seq);
        place middle = {.rank = low.rank + distance / 2};
        DBK_TRY(seq_at(at, middle.rank, &middle.seq, error));
        DBK_TRY(halve(at, low, middle, error));
        low = middle;
    }
}

static daybook_status walk_live(walk *at, daybook_error *error) {
    uint64_t count = roaring_bitmap_get_cardinality(at->live);
    if (count == 0) return DAYBOOK_OK;
    place first = {.rank = 0}, last = {.rank = count - 1};
    DBK_TRY(seq_at(at, first.rank, &first.seq, error));
    DBK_TRY(seq_at(at, last.rank, &last.seq, error));
    DBK_TRY(reach(at, first.seq));
    return halve(at, first, last, error);
}

static daybook_status walk_gappy(walk *at, roaring_bitmap_t *dead, daybook_error *error) {
    at->live = roaring_bitmap_create();
    if (at->live == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory looking for gaps");
    daybook_status status = find_live(at, at->live, error);
    if (dead != NULL) roaring_bitmap_andnot_inplace(at->live, dead);
    if (status == DAYBOOK_OK) status = walk_live(at, error);
    dbk_block_release(&at->block);
    roaring_bitmap_free(at->live);
    return status;
}

static daybook_status walk_segment(walk *at, dbk_source *source, daybook_error *error) {
    dbk_segment_stream in;
    if (!dbk_segment_find_stream(source->segment, at->stream->id, &in) || in.event_count == 0 ||
        in.last_position < at->first_position)
        return DAYBOOK_OK;
    roaring_bitmap_t *dead;
    if (dbk_source_copy_dead(source, &dead) != DAYBOOK_OK)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory looking for gaps");
    daybook_status status;
    if (dead == NULL && in.first_position >= at->first_position &&
        in.last_seq - in.first_seq + 1 == in.event_count) {
        status = reach(at, in.first_seq);
        at->next_seq = in.last_seq + 1;
    } else {
        at->source = source;
        status = walk_gappy(at, dead, error);
    }
    if (dead != NULL) roaring_bitmap_free(dead);
    return status;
}

// ---- All --------------------------------------------------------------------------------------------------

static daybook_status walk_view(walk *at, const dbk_view *view, daybook_error *error) {
    for (size_t i = dbk_view_find(view, at->first_position); i < view->source_count; i++) {
        dbk_source *source = view->sources[i];
        DBK_TRY(dbk_source_check(source, error));
        DBK_TRY(source->segment != NULL ? walk_segment(at, source, error) : walk_memtable(at, source));
    }
    return DAYBOOK_OK;
}

daybook_status daybook_stream_gaps(daybook_store *store, daybook_slice name,
                                   int (*visit)(void *context, uint64_t seq_first, uint64_t seq_last),
                                   void *context, daybook_error *error) {
    if (store == NULL || visit == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE, "no store, or nobody to tell: pass both");
    if (store->read_only) DBK_TRY(dbk_follower_refresh(store, error));
    dbk_stream *stream = dbk_stream_table_find(store->streams, name);
    if (stream == NULL)
        return dbk_fail(error, DAYBOOK_ENOTFOUND, "there is no stream '%.*s'",
                        (int)(name.size < 255 ? name.size : 255), (const char *)name.data);
    walk at = {.stream = stream, .visit = visit, .context = context};
    at.first_position = atomic_load(&stream->first_position);
    uint64_t last_seq = atomic_load(&stream->published_seq);
    at.last_position = atomic_load(&store->durable_position);
    dbk_view *view = dbk_store_get_view(store);
    daybook_status status = walk_view(&at, view, error);
    dbk_view_unref(view);
    // Behind the last live event.
    if (status == DAYBOOK_OK && at.next_seq > 0) status = reach(&at, last_seq + 1);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}
