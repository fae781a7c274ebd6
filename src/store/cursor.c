// SPDX-License-Identifier: Apache-2.0
// Cursors: from a query to events, source by source, in order of position.
//
// A cursor walks positions. It holds at most one source (a segment or a memory table) and one block at a
// time, never a view: what it needs next it looks up by position when it gets there, so a stalled cursor
// keeps nothing but that source, and merges and flushes go on below it. Its bound is the durable position
// taken at open; following, it takes a new bound whenever it has reached the old one. A following cursor
// copies events out of memory tables, so that a stalled one pins none.
//
// Two queries need positions beforehand (`list`): the newest event of each subject, and ids, which the index
// keeps by stream. Following, such a cursor goes on from the list to all later matches.
//
// Damage: an index that cannot be read is replaced by reading the source in order; a block that cannot be
// read is reported once, and the cursor goes on behind it.
#include <stdlib.h>

#include "base/assert.h"
#include "base/time.h"
#include "store/query.h"
#include "subject/subject.h"

enum {
    NARROW_SPAN = 64,
    SCAN_RUN = 8, // an aggregate of a few events lies in fewer blocks: reading on behind it would be in vain
    EVENT_COPY_MAX = DAYBOOK_BATCH_SIZE_MAX + DBK_EVENT_HEAD_SIZE
};

struct daybook_cursor {
    daybook_engine_cursor head; // First: engine_slot.h.
    daybook_store *store;
    dbk_arena *arena;
    daybook_query query; // a copy
    dbk_stream *stream;  // the only one, or NULL
    dbk_compiled compiled;
    bool back;
    bool follow;
    bool passes_unreadable; // blocks the device does not give; not where limits would be left unenforced
    bool hides_expired;     // what has expired is gone, also where no writer has removed it yet
    uint64_t first;         // positions in question, moved by following
    uint64_t last;
    uint64_t next; // forward: first not looked at; backward: last not looked at, 0 when done
    uint64_t left; // events still to give

    bool listing;
    uint64_t *list; // ascending positions
    size_t list_count;
    size_t list_at;

    // The source `next` lies in.
    dbk_source *source;
    uint64_t source_generation; // of the view it was taken from
    // Of the segments from sieve_first on, those worth asking; of a view of sieve_generation.
    uint64_t sieve, sieve_generation;
    size_t sieve_first, sieve_count;
    dbk_candidates *candidates;
    uint64_t source_first; // range within the source worth looking at
    uint64_t source_last;
    dbk_block_view block;
    uint32_t block_next;  // behind the block loaded last
    uint32_t run;         // blocks loaded one behind the other
    dbk_block_scan *scan; // once they are SCAN_RUN, in a segment too large for the cache

    // The current event. Until it is given out it stays the next one: memory may run out on the way.
    enum { EVENT_GIVEN, EVENT_FOUND, EVENT_UNPINNED } progress;
    dbk_event event;
    dbk_buf copy;
    dbk_slice *tags;
    size_t tag_capacity;
    daybook_header *headers;
    size_t header_capacity;
    char id_text[37], correlation_text[37], causation_text[37];

    const dbk_stream *known; // by the id seen last
    atomic_bool interrupted;
};

// ---- Open -------------------------------------------------------------------------------------------------

static void leave_source(daybook_cursor *cursor) {
    dbk_candidates_close(cursor->candidates);
    cursor->candidates = NULL;
    dbk_block_release(&cursor->block);
    dbk_block_scan_free(cursor->scan);
    cursor->scan = NULL;
    cursor->run = 0;
    dbk_source_unref(cursor->source);
    cursor->source = NULL;
}

void daybook_cursor_close(daybook_cursor *cursor) {
    if (cursor == NULL) return;
    const daybook_allocator *allocator = cursor->store->allocator;
    leave_source(cursor);
    dbk_free(allocator, cursor->list);
    dbk_free(allocator, cursor->tags);
    dbk_free(allocator, cursor->headers);
    dbk_buf_deinit(&cursor->copy);
    dbk_arena_free(cursor->arena);
    dbk_free(allocator, cursor);
}

static uint64_t max_u64(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}
static uint64_t min_u64(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static void set_bounds(daybook_cursor *cursor) {
    uint64_t durable = atomic_load_explicit(&cursor->store->durable_position, memory_order_acquire);
    const daybook_query *query = &cursor->query;
    cursor->first = max_u64(query->position_from, 1);
    cursor->last = query->position_to == 0 ? durable : min_u64(query->position_to, durable);
    cursor->next = cursor->back ? cursor->last : cursor->first;
}

static daybook_status make_list(daybook_cursor *cursor, daybook_error *error);

static daybook_status open_cursor(daybook_cursor *cursor, const daybook_query *query, daybook_error *error) {
    daybook_status status = dbk_arena_new(cursor->store->allocator, 1024, &cursor->arena);
    if (status == DAYBOOK_OK) status = dbk_query_copy(query, cursor->arena, &cursor->query);
    if (status == DAYBOOK_OK)
        status = dbk_query_compile(cursor->store, &cursor->query, cursor->stream, cursor->arena,
                                   &cursor->compiled);
    if (status != DAYBOOK_OK) return dbk_fail(error, status, "out of memory opening a cursor");
    cursor->back = (query->flags & DAYBOOK_QUERY_REVERSE) != 0;
    cursor->follow = (query->flags & DAYBOOK_QUERY_FOLLOW) != 0;
    cursor->left = query->limit == 0 ? UINT64_MAX : query->limit;
    set_bounds(cursor);
    if ((query->flags & DAYBOOK_QUERY_LAST_PER_SUBJECT) != 0 || query->id.size > 0)
        return make_list(cursor, error);
    return DAYBOOK_OK;
}

static daybook_status new_cursor(daybook_store *store, const daybook_query *query, dbk_stream *stream,
                                 bool hides_expired, daybook_cursor **cursor_out, daybook_error *error) {
    *cursor_out = NULL;
    daybook_cursor *cursor = dbk_alloc_zeroed(store->allocator, sizeof *cursor);
    if (cursor == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory opening a cursor");
    cursor->store = store;
    cursor->stream = stream;
    cursor->hides_expired = hides_expired;
    dbk_buf_init(&cursor->copy, store->allocator, EVENT_COPY_MAX);
    daybook_status status = open_cursor(cursor, query, error);
    if (status != DAYBOOK_OK) {
        daybook_cursor_close(cursor);
        return status;
    }
    *cursor_out = cursor;
    return DAYBOOK_OK;
}

daybook_status dbk_cursor_open(daybook_store *store, const daybook_query *query, dbk_stream *stream,
                               daybook_cursor **cursor_out, daybook_error *error) {
    return new_cursor(store, query, stream, false, cursor_out, error);
}

daybook_status daybook_read(daybook_store *store, const daybook_query *query, daybook_cursor **cursor_out,
                            daybook_error *error) {
    if (cursor_out != NULL) *cursor_out = NULL;
    if (store == NULL || query == NULL || cursor_out == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE, "a read needs a store, a query and a place for the cursor");
    DBK_TRY(dbk_query_validate(query, error));
    if (store->read_only) DBK_TRY(dbk_follower_refresh(store, error));
    dbk_stream *stream = NULL;
    if (query->stream.size > 0) {
        stream = dbk_stream_table_find(store->streams, query->stream);
        if (stream == NULL)
            return dbk_fail(error, DAYBOOK_ENOTFOUND, "there is no stream '%.*s'",
                            (int)(query->stream.size < 255 ? query->stream.size : 255),
                            (const char *)query->stream.data);
    }
    // Cursors that enforce limits have to see what has expired.
    DBK_TRY(new_cursor(store, query, stream, true, cursor_out, error));
    (*cursor_out)->passes_unreadable = true;
    return DAYBOOK_OK;
}

// ---- Sources ----------------------------------------------------------------------------------------------

static bool outside(int64_t first_ns, int64_t last_ns, int64_t since_ns, int64_t until_ns) {
    return (since_ns != DAYBOOK_TIME_NONE && last_ns < since_ns) ||
           (until_ns != DAYBOOK_TIME_NONE && first_ns >= until_ns);
}

static daybook_status narrow_segment(daybook_cursor *cursor, bool *skip_out, daybook_error *error) {
    const daybook_query *query = &cursor->query;
    dbk_segment *segment = cursor->source->segment;
    const dbk_segment_summary *summary = dbk_segment_get_summary(segment);
    *skip_out =
        summary->event_count == 0 ||
        outside(summary->recorded_first_ns, summary->recorded_last_ns, query->recorded_since_ns,
                query->recorded_until_ns) ||
        outside(summary->time_min_ns, summary->time_max_ns, query->time_since_ns, query->time_until_ns);
    if (*skip_out) return DAYBOOK_OK;
    if (cursor->stream != NULL) {
        dbk_segment_stream in;
        if (!dbk_segment_find_stream(segment, cursor->stream->id, &in) || in.event_count == 0 ||
            in.last_seq < query->seq_from || (query->seq_to > 0 && in.first_seq > query->seq_to)) {
            *skip_out = true;
            return DAYBOOK_OK;
        }
        cursor->source_first = max_u64(cursor->source_first, in.first_position);
        cursor->source_last = min_u64(cursor->source_last, in.last_position);
        uint64_t position;
        bool given = dbk_stream_has_given_seqs(cursor->stream);
        if (query->seq_from > in.first_seq) {
            DBK_TRY(dbk_source_find_seq(cursor->source, &in, given, query->seq_from, NARROW_SPAN, &position,
                                        error));
            cursor->source_first = max_u64(cursor->source_first, position);
        }
        if (given && query->seq_to > 0 && query->seq_to < in.last_seq) {
            DBK_TRY(dbk_source_find_seq(cursor->source, &in, given, query->seq_to + 1, 0, &position, error));
            cursor->source_last = min_u64(cursor->source_last, position); // of one behind it, at most
        } else if (query->seq_to > 0 && query->seq_to < in.last_seq) {
            // Behind the event with the last seq there may be more of other streams, which do no harm.
            uint64_t upper = in.last_position - (in.last_seq - query->seq_to);
            cursor->source_last = min_u64(cursor->source_last, upper);
        }
    }
    if (query->recorded_since_ns != DAYBOOK_TIME_NONE &&
        query->recorded_since_ns > summary->recorded_first_ns) {
        uint32_t number;
        dbk_block_info info;
        daybook_status status =
            dbk_segment_find_block_recorded(segment, query->recorded_since_ns, &number, error);
        if (status == DAYBOOK_OK) status = dbk_segment_block_info(segment, number, &info, error);
        if (status == DAYBOOK_OK) cursor->source_first = max_u64(cursor->source_first, info.position_first);
        if (status != DAYBOOK_OK && status != DAYBOOK_END) return status;
    }
    return DAYBOOK_OK;
}

static void narrow_memtable(daybook_cursor *cursor) {
    const daybook_query *query = &cursor->query;
    dbk_memtable *memtable = cursor->source->memtable;
    if (cursor->stream == NULL) return;
    if (query->seq_from > 1)
        cursor->source_first = max_u64(cursor->source_first,
                                       dbk_memtable_find_seq(memtable, cursor->stream->id, query->seq_from));
    if (query->seq_to > 0)
        cursor->source_last = min_u64(cursor->source_last,
                                      dbk_memtable_find_seq(memtable, cursor->stream->id, query->seq_to + 1));
}

static daybook_status open_candidates(daybook_cursor *cursor, bool use_index, daybook_error *error) {
    uint64_t from = cursor->back ? cursor->source_first : max_u64(cursor->source_first, cursor->next);
    uint64_t span = cursor->source_last >= from ? cursor->source_last - from + 1 : 0;
    dbk_candidates_close(cursor->candidates);
    return dbk_candidates_open(cursor->store->allocator, cursor->source, cursor->compiled.groups,
                               use_index ? cursor->compiled.group_count : 0, span, &cursor->candidates,
                               error);
}

// Where an index part cannot be read, the events themselves still can.
static daybook_status fall_back_to_reading(daybook_cursor *cursor, daybook_error *error) {
    dbk_store_log(cursor->store, DAYBOOK_LOG_ERROR, "index damaged, reading events instead: %s",
                  error != NULL ? error->message : "run daybook verify");
    return open_candidates(cursor, false, error);
}

// Whether the segment is worth asking. Segments are sifted together, since most cursors pass them all.
static bool is_worth_asking(daybook_cursor *cursor, const dbk_view *view, size_t at) {
    bool is_known = cursor->sieve_generation == view->generation && at >= cursor->sieve_first &&
                    at - cursor->sieve_first < cursor->sieve_count;
    if (!is_known) {
        size_t first = at, count = view->segment_count - at;
        if (cursor->back) {
            first = at >= DBK_SIEVE_MAX ? at - DBK_SIEVE_MAX + 1 : 0;
            count = at - first + 1;
        }
        if (count > DBK_SIEVE_MAX) count = DBK_SIEVE_MAX;
        cursor->sieve =
            dbk_sieve_groups(view, first, count, cursor->compiled.groups, cursor->compiled.group_count);
        cursor->sieve_generation = view->generation;
        cursor->sieve_first = first;
        cursor->sieve_count = count;
    }
    return (cursor->sieve >> (at - cursor->sieve_first) & 1) != 0;
}

// Behind a source; behind the bounds where it reaches so far.
static void pass(daybook_cursor *cursor, const dbk_source *source) {
    uint64_t source_last = source->position_last;
    if (cursor->back) {
        cursor->next = source->position_first - 1;
    } else {
        cursor->next = source_last >= cursor->last ? cursor->last + 1 : source_last + 1;
    }
}

static bool is_within_bounds(const daybook_cursor *cursor) {
    return cursor->next >= cursor->first && cursor->next <= cursor->last && cursor->next != 0;
}

// The source that holds `next`, or the nearest in the cursor's direction, past those not worth asking;
// source_count where there is none within the bounds.
static size_t find_source(daybook_cursor *cursor, const dbk_view *view) {
    while (is_within_bounds(cursor)) {
        size_t at = dbk_view_find(view, cursor->next);
        if (cursor->back && (at == view->source_count || view->sources[at]->position_first > cursor->next))
            at = at == 0 ? view->source_count : at - 1;
        if (at >= view->segment_count || is_worth_asking(cursor, view, at)) return at;
        pass(cursor, view->sources[at]);
    }
    return view->source_count;
}

// Take the source that holds `next`, or the nearest in the cursor's direction. END when there is none within
// the bounds.
static daybook_status enter_source(daybook_cursor *cursor, bool *skip_out, daybook_error *error) {
    *skip_out = false;
    dbk_view *view = dbk_store_get_view(cursor->store);
    size_t at = find_source(cursor, view);
    if (at < view->source_count) cursor->source = dbk_source_ref(view->sources[at]);
    cursor->source_generation = view->generation;
    dbk_view_unref(view);
    if (cursor->source == NULL) return DAYBOOK_END;
    cursor->source_first = max_u64(cursor->source->position_first, cursor->first);
    cursor->source_last = min_u64(cursor->source->position_last, cursor->last);
    DBK_TRY(dbk_source_check(cursor->source, error));
    daybook_status status = DAYBOOK_OK;
    if (cursor->source->segment != NULL) {
        status = narrow_segment(cursor, skip_out, error);
    } else {
        narrow_memtable(cursor);
    }
    if (status == DAYBOOK_OK && !*skip_out) status = open_candidates(cursor, true, error);
    if (dbk_is_unreadable(status)) status = fall_back_to_reading(cursor, error);
    return status;
}

static void pass_source(daybook_cursor *cursor) {
    pass(cursor, cursor->source);
    leave_source(cursor);
}

// ---- Events -----------------------------------------------------------------------------------------------

static bool in_current_block(const daybook_cursor *cursor, uint64_t position) {
    return cursor->block.memory != NULL && position >= cursor->block.position_first &&
           position <= cursor->block.position_last;
}

static void pass_block(daybook_cursor *cursor, const dbk_block_place *place) {
    cursor->next = cursor->back ? place->position_first - 1 : place->position_last + 1;
}

// Blocks that lie one behind the other are read many at once.
static daybook_status load_in_order(daybook_cursor *cursor, const dbk_block_place *place,
                                    daybook_error *error) {
    dbk_segment *segment = cursor->source->segment;
    bool is_next = !cursor->back && place->block_number == cursor->block_next;
    cursor->run = is_next ? cursor->run + 1 : 0;
    cursor->block_next = place->block_number + 1;
    if (cursor->run == SCAN_RUN && cursor->scan == NULL && dbk_block_scan_pays(segment))
        DBK_TRY(dbk_block_scan_new(segment, &cursor->scan, error));
    return is_next && cursor->scan != NULL ? dbk_block_scan_load(cursor->scan, place, &cursor->block, error)
                                           : dbk_block_load_at(segment, place, &cursor->block, error);
}

// Load a block unless its times rule it out (*skip_out).
static daybook_status load_block(daybook_cursor *cursor, const dbk_block_place *place, bool *skip_out,
                                 daybook_error *error) {
    const daybook_query *query = &cursor->query;
    *skip_out = false;
    if (query->time_since_ns != DAYBOOK_TIME_NONE || query->time_until_ns != DAYBOOK_TIME_NONE) {
        dbk_block_info info;
        DBK_TRY(dbk_segment_block_info(cursor->source->segment, place->block_number, &info, error));
        *skip_out = outside(info.time_min_ns, info.time_max_ns, query->time_since_ns, query->time_until_ns);
        if (*skip_out) {
            pass_block(cursor, place);
            return DAYBOOK_OK;
        }
    }
    daybook_status status = load_in_order(cursor, place, error);
    // The device may do better the second time, asked for this block only. What it does not give then is
    // damage.
    if (status == DAYBOOK_EIO)
        status = dbk_block_load_at(cursor->source->segment, place, &cursor->block, error);
    if (status == DAYBOOK_EIO && cursor->passes_unreadable)
        status = dbk_block_is_unreadable(cursor->source->segment, place, error);
    // Reported once; the next call begins behind the block.
    if (status == DAYBOOK_EDAMAGED) pass_block(cursor, place);
    return status;
}

static daybook_status find_block(daybook_cursor *cursor, uint64_t position, dbk_block_place *place_out,
                                 daybook_error *error) {
    return cursor->scan != NULL ? dbk_block_scan_find(cursor->scan, position, place_out, error)
                                : dbk_segment_find_block(cursor->source->segment, position, place_out, error);
}

// The block that holds the last event at or before `position`. END when there is none.
static daybook_status find_block_back(daybook_cursor *cursor, uint64_t position, dbk_block_place *place_out,
                                      daybook_error *error) {
    dbk_segment *segment = cursor->source->segment;
    daybook_status status = dbk_segment_find_block(segment, position, place_out, error);
    uint32_t number = dbk_segment_block_count(segment);
    if (status == DAYBOOK_OK) {
        if (place_out->position_first <= position) return DAYBOOK_OK;
        number = place_out->block_number; // It begins behind the position: the one before holds the event.
    } else if (status != DAYBOOK_END) {
        return status;
    }
    return number == 0 ? DAYBOOK_END : dbk_segment_block_place(segment, number - 1, place_out, error);
}

// The event of the segment nearest to `position` in the cursor's direction, into cursor->event. END when
// there is none.
static daybook_status read_segment(daybook_cursor *cursor, uint64_t position, bool *skip_out,
                                   daybook_error *error) {
    *skip_out = false;
    if (!in_current_block(cursor, position)) {
        dbk_block_place place;
        DBK_TRY(cursor->back ? find_block_back(cursor, position, &place, error)
                             : find_block(cursor, position, &place, error));
        DBK_TRY(load_block(cursor, &place, skip_out, error));
        if (*skip_out) return DAYBOOK_OK;
    }
    uint32_t index = dbk_block_find(&cursor->block, position);
    if (cursor->back) {
        dbk_event probe;
        if (index < cursor->block.event_count) {
            DBK_TRY(dbk_block_event(&cursor->block, index, &probe, error));
            if (probe.position > position) index--;
        } else {
            index--;
        }
        if (index == UINT32_MAX) return DAYBOOK_END;
    } else if (index >= cursor->block.event_count) {
        return DAYBOOK_END;
    }
    return dbk_block_event(&cursor->block, index, &cursor->event, error);
}

static daybook_status read_memtable(daybook_cursor *cursor, uint64_t position) {
    for (;;) {
        daybook_status status = dbk_memtable_get(cursor->source->memtable, position, &cursor->event);
        if (status == DAYBOOK_OK) return DAYBOOK_OK;
        if (cursor->back ? position <= cursor->source_first : position >= cursor->source_last)
            return DAYBOOK_END;
        position = cursor->back ? position - 1 : position + 1;
    }
}

static bool is_accepted(daybook_cursor *cursor) {
    const dbk_event *event = &cursor->event;
    if (cursor->known == NULL || cursor->known->id != event->stream_id)
        cursor->known = dbk_stream_table_find_id(cursor->store->streams, event->stream_id);
    dbk_stream *stream = (dbk_stream *)(uintptr_t)cursor->known;
    if (!dbk_stream_is_asked_for(stream, cursor->stream, (cursor->query.flags & DAYBOOK_QUERY_INTERNAL) != 0))
        return false;
    if (event->position < atomic_load_explicit(&stream->first_position, memory_order_acquire)) return false;
    if (cursor->hides_expired && dbk_clock_has_expired(cursor->store, stream, event)) return false;
    return dbk_query_matches(&cursor->query, event) && !dbk_source_is_dead(cursor->source, event->position);
}

// The next matching event within the current source: OK, END (none left in it), or an error.
static daybook_status advance_in_source(daybook_cursor *cursor, daybook_error *error) {
    for (;;) {
        uint64_t from = cursor->back ? min_u64(cursor->next, cursor->source_last)
                                     : max_u64(cursor->next, cursor->source_first);
        if (from < cursor->source_first || from > cursor->source_last) return DAYBOOK_END;
        uint64_t position;
        daybook_status status = cursor->back
                                    ? dbk_candidates_seek_back(cursor->candidates, from, &position, error)
                                    : dbk_candidates_seek(cursor->candidates, from, &position, error);
        if (dbk_is_unreadable(status)) {
            DBK_TRY(fall_back_to_reading(cursor, error));
            continue;
        }
        if (status != DAYBOOK_OK) return status;
        if (position < cursor->source_first || position > cursor->source_last) return DAYBOOK_END;
        bool skip = false;
        uint64_t next = cursor->next;
        status = cursor->source->memtable != NULL ? read_memtable(cursor, position)
                                                  : read_segment(cursor, position, &skip, error);
        if (status == DAYBOOK_EDAMAGED && cursor->next == next) // a single event: go on behind it
            cursor->next = cursor->back ? position - 1 : position + 1;
        if (status != DAYBOOK_OK) return status;
        if (skip) continue;
        if (cursor->event.position < cursor->source_first || cursor->event.position > cursor->source_last)
            return DAYBOOK_END;
        cursor->next = cursor->back ? cursor->event.position - 1 : cursor->event.position + 1;
        if (is_accepted(cursor)) return DAYBOOK_OK;
    }
}

// A source that a flush or merge has replaced no longer learns what is removed.
static void leave_old_source(daybook_cursor *cursor) {
    if (cursor->source == NULL) return;
    uint64_t generation = atomic_load_explicit(&cursor->store->view_generation, memory_order_acquire);
    if (generation != cursor->source_generation) leave_source(cursor);
}

// The next matching event within the bounds, or END.
static daybook_status advance(daybook_cursor *cursor, daybook_error *error) {
    for (;;) {
        if (!is_within_bounds(cursor)) return DAYBOOK_END;
        bool skip = false;
        leave_old_source(cursor);
        if (cursor->source == NULL) {
            daybook_status status = enter_source(cursor, &skip, error);
            if (status == DAYBOOK_EDAMAGED && cursor->source != NULL) pass_source(cursor);
            if (status != DAYBOOK_OK) {
                leave_source(cursor); // it may be as it was, to be entered again
                return status;
            }
        }
        if (!skip) {
            daybook_status status = advance_in_source(cursor, error);
            if (status != DAYBOOK_OK && status != DAYBOOK_END && status != DAYBOOK_EDAMAGED)
                leave_source(cursor);
            if (status != DAYBOOK_END) return status;
            if (cursor->source == NULL) continue;
        }
        pass_source(cursor);
    }
}

// ---- Lists ------------------------------------------------------------------------------------------------

typedef struct position_list {
    const daybook_allocator *allocator;
    uint64_t *positions;
    size_t count;
    size_t capacity;
} position_list;

static daybook_status add_position(position_list *list, uint64_t position) {
    uint64_t *positions =
        dbk_grow_array(list->allocator, list->positions, &list->capacity, list->count + 1, sizeof *positions);
    if (positions == NULL) return DAYBOOK_ENOMEM;
    list->positions = positions;
    list->positions[list->count++] = position;
    return DAYBOOK_OK;
}

typedef struct subject_set {
    dbk_hash_map map;
    dbk_arena *arena;
    struct seen_subject {
        dbk_slice subject;
        uint32_t stream_id;
    } * seen;
    size_t count;
    size_t capacity;
    const daybook_allocator *allocator;
} subject_set;

// True on *new_out where the subject was not in the set before.
static daybook_status add_subject(subject_set *set, const dbk_event *event, bool *new_out) {
    uint64_t hash = dbk_checksum(event->subject.data, event->subject.size, event->stream_id);
    for (size_t step = 0;;) {
        uint32_t at = dbk_hash_map_find(&set->map, hash, &step);
        if (at == DBK_HASH_MAP_EMPTY) break;
        if (set->seen[at].stream_id == event->stream_id &&
            dbk_slice_equal(set->seen[at].subject, event->subject)) {
            *new_out = false;
            return DAYBOOK_OK;
        }
    }
    struct seen_subject *seen =
        dbk_grow_array(set->allocator, set->seen, &set->capacity, set->count + 1, sizeof *seen);
    if (seen == NULL) return DAYBOOK_ENOMEM;
    set->seen = seen;
    void *copy = dbk_arena_alloc(set->arena, event->subject.size);
    if (copy == NULL) return DAYBOOK_ENOMEM;
    memcpy(copy, event->subject.data, event->subject.size);
    set->seen[set->count] = (struct seen_subject){{copy, event->subject.size}, event->stream_id};
    DBK_TRY(dbk_hash_map_insert(&set->map, hash, (uint32_t)set->count));
    set->count++;
    *new_out = true;
    return DAYBOOK_OK;
}

// Walk backwards; the first event met of a subject is its newest.
static daybook_status list_last_per_subject(daybook_cursor *cursor, position_list *list,
                                            daybook_error *error) {
    subject_set set = {.allocator = list->allocator};
    dbk_hash_map_init(&set.map, list->allocator);
    bool was_back = cursor->back;
    cursor->back = true;
    cursor->next = cursor->last;
    daybook_status status = dbk_arena_new(list->allocator, 1 << 14, &set.arena);
    if (status != DAYBOOK_OK) (void)dbk_fail(error, status, "out of memory listing subjects");
    while (status == DAYBOOK_OK && (status = advance(cursor, error)) == DAYBOOK_OK) {
        bool is_new;
        status = add_subject(&set, &cursor->event, &is_new);
        if (status == DAYBOOK_OK && is_new) status = add_position(list, cursor->event.position);
        if (status != DAYBOOK_OK) (void)dbk_fail(error, status, "out of memory listing subjects");
    }
    leave_source(cursor);
    cursor->back = was_back;
    for (size_t i = 0; i < list->count / 2; i++) {
        uint64_t swap = list->positions[i];
        list->positions[i] = list->positions[list->count - 1 - i];
        list->positions[list->count - 1 - i] = swap;
    }
    dbk_hash_map_deinit(&set.map);
    dbk_arena_free(set.arena);
    dbk_free(list->allocator, set.seen);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

static int compare_positions(const void *a, const void *b) {
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

static daybook_status add_to_list(void *context, uint64_t position) {
    return add_position(context, position);
}

// The same from the index, where it can be read and says it all.
static daybook_status list_last_by_index(daybook_cursor *cursor, position_list *list, daybook_error *error) {
    if (cursor->stream == NULL || !dbk_query_asks_for_subjects_only(&cursor->query))
        return list_last_per_subject(cursor, list, error);
    daybook_status status = dbk_query_last_of_subjects(cursor->store, cursor->stream, &cursor->query,
                                                       cursor->last, add_to_list, list, error);
    if (dbk_is_unreadable(status)) {
        list->count = 0;
        return list_last_per_subject(cursor, list, error);
    }
    if (list->count > 1) qsort(list->positions, list->count, sizeof *list->positions, compare_positions);
    return status;
}

static daybook_status list_id_in_stream(const dbk_view *view, uint32_t stream_id, dbk_slice id_key,
                                        position_list *list, daybook_error *error) {
    uint64_t hash = dbk_memtable_id_hash(stream_id, id_key);
    for (size_t i = 0; i < view->source_count; i++) {
        DBK_TRY(dbk_source_check(view->sources[i], error));
        if (view->sources[i]->memtable != NULL) {
            uint64_t position;
            if (dbk_memtable_find_id(view->sources[i]->memtable, stream_id, id_key, hash, &position) &&
                add_position(list, position) != DAYBOOK_OK)
                return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory looking for an id");
            continue;
        }
        dbk_id_lookup lookup = {0};
        DBK_TRY(dbk_segment_find_id(view->sources[i]->segment, stream_id, id_key, &lookup, error));
        for (size_t j = 0; j < lookup.count; j++) {
            if (add_position(list, lookup.positions[j]) != DAYBOOK_OK)
                return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory looking for an id");
        }
    }
    return DAYBOOK_OK;
}

// Ids are known by stream: ask each stream in question. What is found is checked like any candidate.
static daybook_status list_id(daybook_cursor *cursor, position_list *list, daybook_error *error) {
    uint8_t scratch[DBK_KEY_SIZE_MAX];
    dbk_slice id_key = dbk_key_encode(cursor->query.id, scratch);
    dbk_stream **streams = NULL;
    size_t count = 0;
    if (cursor->stream == NULL &&
        dbk_stream_table_all(cursor->store->streams, &streams, &count) != DAYBOOK_OK)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory looking for an id");
    dbk_view *view = dbk_store_get_view(cursor->store);
    daybook_status status = DAYBOOK_OK;
    if (cursor->stream != NULL) status = list_id_in_stream(view, cursor->stream->id, id_key, list, error);
    for (size_t i = 0; status == DAYBOOK_OK && i < count; i++) {
        const daybook_stream_config *config = atomic_load(&streams[i]->config);
        if ((config->flags & DAYBOOK_STREAM_INTERNAL) != 0 &&
            (cursor->query.flags & DAYBOOK_QUERY_INTERNAL) == 0)
            continue;
        status = list_id_in_stream(view, streams[i]->id, id_key, list, error);
    }
    dbk_view_unref(view);
    dbk_free(cursor->store->allocator, streams);
    if (list->count > 1) qsort(list->positions, list->count, sizeof *list->positions, compare_positions);
    // An id that looks like one the store makes is looked for by table and by time, and may be found twice.
    size_t distinct = 0;
    for (size_t i = 0; i < list->count; i++) {
        if (i == 0 || list->positions[i] != list->positions[distinct - 1])
            list->positions[distinct++] = list->positions[i];
    }
    list->count = distinct;
    return status;
}

static daybook_status make_list(daybook_cursor *cursor, daybook_error *error) {
    position_list list = {.allocator = cursor->store->allocator};
    daybook_status status = cursor->query.id.size > 0 ? list_id(cursor, &list, error)
                                                      : list_last_by_index(cursor, &list, error);
    cursor->list = list.positions;
    cursor->list_count = list.count;
    cursor->list_at = cursor->back ? list.count : 0;
    cursor->listing = true;
    return status;
}

// What could not be read this time is taken again.
static void put_back(daybook_cursor *cursor) {
    if (cursor->back)
        cursor->list_at++;
    else
        cursor->list_at--;
}

// The next event of the list that still matches; END behind it, and then a following cursor goes on behind
// its bound.
static daybook_status advance_list(daybook_cursor *cursor, daybook_error *error) {
    while (cursor->back ? cursor->list_at > 0 : cursor->list_at < cursor->list_count) {
        uint64_t position = cursor->back ? cursor->list[--cursor->list_at] : cursor->list[cursor->list_at++];
        if (position < cursor->first || position > cursor->last) continue;
        uint64_t first = cursor->first, last = cursor->last;
        leave_old_source(cursor);
        if (cursor->source != NULL &&
            (position < cursor->source->position_first || position > cursor->source->position_last))
            leave_source(cursor);
        cursor->next = position;
        if (cursor->source == NULL) {
            bool skip;
            daybook_status status = enter_source(cursor, &skip, error);
            if (status == DAYBOOK_END) continue;
            if (status != DAYBOOK_OK) {
                leave_source(cursor);
                if (status != DAYBOOK_EDAMAGED) put_back(cursor);
                return status;
            }
            if (skip) {
                leave_source(cursor);
                continue;
            }
        }
        bool skip = false;
        daybook_status status = cursor->source->memtable != NULL
                                    ? read_memtable(cursor, position)
                                    : read_segment(cursor, position, &skip, error);
        cursor->first = first;
        cursor->last = last;
        if (status == DAYBOOK_END || skip) continue;
        if (status != DAYBOOK_OK && status != DAYBOOK_EDAMAGED) put_back(cursor);
        if (status != DAYBOOK_OK) return status;
        if (cursor->event.position == position && is_accepted(cursor)) return DAYBOOK_OK;
    }
    leave_source(cursor);
    cursor->listing = false;
    cursor->next = cursor->back ? 0 : cursor->last + 1;
    return DAYBOOK_END;
}

// ---- Giving -----------------------------------------------------------------------------------------------

// An event of a memory table would pin the table for as long as the caller likes: give a copy.
static daybook_status unpin_event(daybook_cursor *cursor) {
    if (!cursor->follow || cursor->source == NULL || cursor->source->memtable == NULL) return DAYBOOK_OK;
    dbk_event assigned = cursor->event;
    dbk_buf_reset(&cursor->copy);
    dbk_buf_append_slice(&cursor->copy, cursor->event.body);
    DBK_TRY(dbk_buf_status(&cursor->copy));
    cursor->event = (dbk_event){.stream_id = assigned.stream_id,
                                .position = assigned.position,
                                .seq = assigned.seq,
                                .version = assigned.version,
                                .recorded_ns = assigned.recorded_ns,
                                .time_ns = assigned.recorded_ns};
    daybook_status status =
        dbk_event_decode_body(daybook_bytes(cursor->copy.data, cursor->copy.size), &cursor->event);
    DBK_ASSERT(status == DAYBOOK_OK);
    if (cursor->next > cursor->last) leave_source(cursor); // caught up: hold nothing
    return DAYBOOK_OK;
}

static daybook_status fill_tags(daybook_cursor *cursor, daybook_event *out) {
    const dbk_event *event = &cursor->event;
    if (event->tag_count > cursor->tag_capacity) {
        dbk_slice *tags =
            dbk_resize_array(cursor->store->allocator, cursor->tags, event->tag_count, sizeof *tags);
        if (tags == NULL) return DAYBOOK_ENOMEM;
        cursor->tags = tags;
        cursor->tag_capacity = event->tag_count;
    }
    dbk_slice encoded = event->tags;
    size_t count = 0;
    while (count < event->tag_count && dbk_event_next_text(&encoded, &cursor->tags[count])) count++;
    out->tags = cursor->tags;
    out->tag_count = count;
    return DAYBOOK_OK;
}

static daybook_status fill_headers(daybook_cursor *cursor, daybook_event *out) {
    const dbk_event *event = &cursor->event;
    if (event->header_count > cursor->header_capacity) {
        daybook_header *headers =
            dbk_resize_array(cursor->store->allocator, cursor->headers, event->header_count, sizeof *headers);
        if (headers == NULL) return DAYBOOK_ENOMEM;
        cursor->headers = headers;
        cursor->header_capacity = event->header_count;
    }
    dbk_slice encoded = event->headers;
    size_t count = 0;
    while (count < event->header_count && dbk_event_next_text(&encoded, &cursor->headers[count].name) &&
           dbk_event_next_text(&encoded, &cursor->headers[count].value))
        count++;
    out->headers = cursor->headers;
    out->header_count = count;
    return DAYBOOK_OK;
}

static dbk_slice key_text(dbk_slice key, char scratch[37]) {
    return key.size == 0 ? key : dbk_key_text(key, scratch);
}

static daybook_status fill(daybook_cursor *cursor, daybook_recorded_event *out) {
    const dbk_event *event = &cursor->event;
    *out = (daybook_recorded_event){.size = sizeof *out};
    out->event.size = sizeof out->event;
    out->event.subject = event->subject;
    out->event.data = event->data;
    out->event.id = key_text(event->id_key, cursor->id_text);
    out->event.type = dbk_event_type(event);
    out->event.schema = event->schema;
    out->event.correlation = key_text(event->correlation_key, cursor->correlation_text);
    out->event.causation = key_text(event->causation_key, cursor->causation_text);
    out->event.actor = event->actor;
    out->event.time_ns = event->time_ns;
    out->event.ttl_s = event->ttl_s;
    out->stream = cursor->known->name;
    out->aggregate = dbk_event_aggregate(event);
    out->seq = event->seq;
    out->position = event->position;
    out->version = event->version;
    out->recorded_ns = event->recorded_ns;
    if (event->tag_count > 0) DBK_TRY(fill_tags(cursor, &out->event));
    if (event->header_count > 0) DBK_TRY(fill_headers(cursor, &out->event));
    return DAYBOOK_OK;
}

// Look for what has become durable since. True where there is something.
static daybook_status move_bound(daybook_cursor *cursor, bool *moved_out, daybook_error *error) {
    *moved_out = false;
    daybook_store *store = cursor->store;
    if (store->read_only) DBK_TRY(dbk_follower_refresh(store, error));
    uint64_t durable = atomic_load_explicit(&store->durable_position, memory_order_acquire);
    uint64_t last = cursor->query.position_to == 0 ? durable : min_u64(durable, cursor->query.position_to);
    if (last <= cursor->last) return DAYBOOK_OK;
    leave_source(cursor);
    cursor->last = last;
    *moved_out = true;
    return DAYBOOK_OK;
}

static daybook_status wait_for_more(daybook_cursor *cursor, int timeout_ms, daybook_error *error) {
    daybook_store *store = cursor->store;
    daybook_vfs *vfs = store->vfs;
    int64_t deadline_ns = timeout_ms < 0 ? INT64_MAX
                                         : vfs->clock_monotonic_ns(vfs) + timeout_ms * DBK_MILLISECOND_NS;
    leave_source(cursor);
    for (;;) {
        uint32_t seen = atomic_load_explicit(&store->publish_count, memory_order_acquire);
        if (atomic_load(&cursor->interrupted))
            return dbk_fail(error, DAYBOOK_ECLOSED, "the cursor was interrupted");
        bool moved;
        DBK_TRY(move_bound(cursor, &moved, error));
        if (moved) return DAYBOOK_OK;
        if (cursor->stream != NULL && atomic_load_explicit(&cursor->stream->removed, memory_order_acquire))
            return dbk_fail(error, DAYBOOK_ENOTFOUND, "the stream '%.*s' was removed while it was followed",
                            (int)cursor->stream->name.size, (const char *)cursor->stream->name.data);
        if (cursor->query.position_to != 0 && cursor->last >= cursor->query.position_to) return DAYBOOK_END;
        int64_t left_ns = deadline_ns == INT64_MAX ? -1 : deadline_ns - vfs->clock_monotonic_ns(vfs);
        if (timeout_ms == 0 || (deadline_ns != INT64_MAX && left_ns <= 0)) return DAYBOOK_TIMEOUT;
        dbk_store_wait_published(store, seen, left_ns);
    }
}

static daybook_status next_event(daybook_cursor *cursor, int timeout_ms, daybook_error *error) {
    for (;;) {
        if (cursor->left == 0) return DAYBOOK_END;
        if (atomic_load_explicit(&cursor->interrupted, memory_order_relaxed))
            return dbk_fail(error, DAYBOOK_ECLOSED, "the cursor was interrupted");
        daybook_status status = cursor->listing ? advance_list(cursor, error) : advance(cursor, error);
        if (status == DAYBOOK_OK && cursor->left != UINT64_MAX) cursor->left--;
        if (status != DAYBOOK_END || !cursor->follow) return status;
        DBK_TRY(wait_for_more(cursor, timeout_ms, error));
    }
}

daybook_status daybook_cursor_next(daybook_cursor *cursor, int timeout_ms, daybook_recorded_event *event_out,
                                   daybook_error *error) {
    if (cursor == NULL || event_out == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE, "no cursor or no place for the event");
    // dbk_fail and the index fall-back want somewhere to write.
    daybook_error own;
    if (error == NULL) {
        daybook_error_init(&own);
        error = &own;
    }
    if (cursor->progress == EVENT_GIVEN) DBK_TRY(next_event(cursor, timeout_ms, error));
    if (cursor->progress == EVENT_GIVEN) cursor->progress = EVENT_FOUND;
    daybook_status status = DAYBOOK_OK;
    if (cursor->progress == EVENT_FOUND) status = unpin_event(cursor);
    if (status == DAYBOOK_OK) {
        cursor->progress = EVENT_UNPINNED;
        status = fill(cursor, event_out);
    }
    if (status != DAYBOOK_OK) return dbk_fail(error, status, "out of memory reading an event");
    cursor->progress = EVENT_GIVEN;
    return DAYBOOK_OK;
}

const dbk_event *dbk_cursor_event(const daybook_cursor *cursor) {
    return &cursor->event;
}

uint64_t daybook_cursor_position(const daybook_cursor *cursor) {
    if (cursor == NULL || cursor->listing) return 0;
    if (cursor->progress != EVENT_GIVEN)
        return cursor->back ? cursor->event.position + 1 : cursor->event.position - 1;
    return cursor->back ? cursor->next + 1 : cursor->next - 1;
}

_Static_assert(offsetof(daybook_cursor, head) == 0, "embedded.c converts between a cursor and its head");

daybook_engine_cursor *dbk_cursor_head(daybook_cursor *cursor) {
    return &cursor->head;
}

void daybook_cursor_interrupt(daybook_cursor *cursor) {
    if (cursor == NULL) return;
    atomic_store(&cursor->interrupted, true);
    daybook_store *store = cursor->store;
    atomic_fetch_add_explicit(&store->publish_count, 1, memory_order_release);
    store->vfs->wake(store->vfs, (const volatile uint32_t *)(uintptr_t)&store->publish_count, INT32_MAX, 0);
}

daybook_status dbk_cursor_count(daybook_cursor *cursor, uint64_t *count_out, daybook_error *error) {
    daybook_error own;
    daybook_error_init(&own);
    uint64_t count = 0;
    daybook_status status;
    while ((status = next_event(cursor, 0, error != NULL ? error : &own)) == DAYBOOK_OK) count++;
    if (status != DAYBOOK_END) return status;
    *count_out = count;
    return DAYBOOK_OK;
}

daybook_status daybook_count(daybook_store *store, const daybook_query *query, uint64_t *count_out,
                             daybook_error *error) {
    if (query == NULL || count_out == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE, "no query or no place for the count");
    daybook_query once = *query;
    once.flags &= ~(unsigned)DAYBOOK_QUERY_FOLLOW;
    daybook_cursor *cursor;
    DBK_TRY(daybook_read(store, &once, &cursor, error));
    daybook_status status = dbk_cursor_count(cursor, count_out, error);
    daybook_cursor_close(cursor);
    return status;
}
