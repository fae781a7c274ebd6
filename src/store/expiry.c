// SPDX-License-Identifier: Apache-2.0
// Times to live: events that expire one by one, and the markers that take their place.
//
// Hidden: an event is gone for reads, lists and conditions from the moment it is due, whether it was removed
// or not, in every process: whoever looks at the event asks the clock (clock.c). What an index would say
// without the event is asked of the event where something of the source may be due (dbk_expiry_may_be_due).
//
// Found: a segment has a term for each second and stream in which events of it end (DBK_TERM_EXPIRY),
// ascending by second, so that what is due is a walk from the lowest on. Each source remembers the lowest
// second it still has (`next_second`): derived, worked out by one look-up when first asked for, raised when
// all before it is removed. Memory tables keep a heap of theirs, caught up from their events when somebody
// looks: an append pays nothing for it. A store none of whose streams allows times to live is never looked
// at.
//
// Removed: in rounds, once a second and when something of memory tables, or by age, is due before (not more
// often than all ROUNDS_APART_NS), as limits are (removal.c): in steps of STEP_DUE, at most STEPS_MAX of them
// or ROUND_NS a round, each under the stream's trim_lock. Nothing of it need be durable: what comes back with
// a crash is due still. A stream that allows times to live ages here, too, event by event, as some may never
// go; the stream's mark rises with it as long as none has stayed.
//
// An append to a stream that is full and discards new ones does some of it itself: STEPS_SOME steps.
//
// Markers: where the last event of a subject expires, a stream may want a marker. It is submitted under the
// condition that the subject has no live event, and the expired one stays until it is not the newest of its
// subject any more. So the next round removes it, or submits the marker again: nothing is remembered between
// the two, a crash at any point leaves what the next round takes up, and no marker is made twice. A marker
// leaves none, nor does a purge of a key-value bucket.
//
// One that is stored asks for the next round, ROUNDS_APART_NS from then; where one is refused (the disk is
// full) none are submitted for a second.
//
// Threads: rounds are one at a time (store->expiry_lock). Failure: what could not be removed is tried again
// in the next round; what cannot be read (damage, or the device fails), after a minute: it is hidden
// meanwhile, and counted, and holds up neither other sources nor other background work.
#include "store/expiry.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/time.h"
#include "store/commit.h"
#include "store/conventions.h"

enum {
    STEP_DUE = 1024,
    STEPS_MAX = 64,
    STEPS_SOME = 4,     // of an append to a stream that is full
    MARKERS_MAX = 1024, // under way
    RETRY_S = 60,
    TELL_S = 60
};

#define ROUND_NS (50 * DBK_MILLISECOND_NS) // after which no step begins
#define ROUNDS_APART_NS (50 * DBK_MILLISECOND_NS)
#define SECOND_MAX ((uint64_t)(INT64_MAX / DBK_SECOND_NS))

typedef struct round {
    daybook_store *store;
    int64_t now_ns;
    bool may_mark;
    uint64_t generation; // of the view
    unsigned steps_left;
    int64_t began_ns; // monotonic
    dbk_due *dues;    // of the source at hand
    size_t count;
    bool is_full;     // there may be more of the source
    uint64_t reached; // segments: the second up to which all was taken
    int64_t next_ns;  // when something else is due, as far as it was met
} round;

static void end_step(round *of) {
    int64_t now_ns = of->store->vfs->clock_monotonic_ns(of->store->vfs);
    of->steps_left = now_ns - of->began_ns < ROUND_NS ? of->steps_left - 1 : 0;
}

static void note_next(round *of, int64_t due_ns) {
    if (due_ns < of->next_ns) of->next_ns = due_ns;
}

// ---- Finding: memory tables -------------------------------------------------------------------------------

static void sift_down(dbk_expiry *heap, size_t at) {
    dbk_due *items = heap->items;
    for (;;) {
        size_t least = at, left = 2 * at + 1, right = left + 1;
        if (left < heap->count && items[left].due_ns < items[least].due_ns) least = left;
        if (right < heap->count && items[right].due_ns < items[least].due_ns) least = right;
        if (least == at) return;
        dbk_due swap = items[at];
        items[at] = items[least];
        items[at = least] = swap;
    }
}

static daybook_status push(dbk_expiry *heap, const daybook_allocator *allocator, dbk_due due) {
    dbk_due *items = dbk_grow_array(allocator, heap->items, &heap->capacity, heap->count + 1, sizeof *items);
    if (items == NULL) return DAYBOOK_ENOMEM;
    heap->items = items;
    size_t at = heap->count++;
    for (; at > 0 && items[(at - 1) / 2].due_ns > due.due_ns; at = (at - 1) / 2)
        items[at] = items[(at - 1) / 2];
    items[at] = due;
    return DAYBOOK_OK;
}

static dbk_due pop(dbk_expiry *heap) {
    dbk_due due = heap->items[0];
    heap->items[0] = heap->items[--heap->count];
    sift_down(heap, 0);
    return due;
}

// Take in what was inserted since, up to the position. The heap's lock is held.
static daybook_status catch_up(dbk_source *source, uint64_t durable) {
    dbk_expiry *heap = &source->expiry;
    uint64_t end = dbk_memtable_position_end(source->memtable);
    if (end > durable + 1) end = durable + 1;
    if (heap->seen_end < source->position_first) heap->seen_end = source->position_first;
    for (; heap->seen_end < end; heap->seen_end++) {
        dbk_event event;
        if (dbk_memtable_get(source->memtable, heap->seen_end, &event) != DAYBOOK_OK || event.ttl_s <= 0)
            continue;
        dbk_due due = {
            .due_ns = dbk_event_expiry_ns(&event), .position = event.position, .stream_id = event.stream_id};
        DBK_TRY(push(heap, source->allocator, due));
    }
    return DAYBOOK_OK;
}

static daybook_status out_of_memory(daybook_error *error) {
    return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory looking for what has expired");
}

static daybook_status take_from_memtable(round *of, dbk_source *source, daybook_error *error) {
    uint64_t durable = atomic_load_explicit(&of->store->durable_position, memory_order_acquire);
    dbk_expiry *heap = &source->expiry;
    pthread_mutex_lock(&heap->lock);
    daybook_status status = catch_up(source, durable);
    while (status == DAYBOOK_OK && of->count < STEP_DUE && heap->count > 0 &&
           heap->items[0].due_ns <= of->now_ns)
        of->dues[of->count++] = pop(heap);
    of->is_full = heap->count > 0 && heap->items[0].due_ns <= of->now_ns;
    pthread_mutex_unlock(&heap->lock);
    return status == DAYBOOK_OK ? status : out_of_memory(error);
}

// What was not removed is due still. There was room for it before.
static void put_back(round *of, dbk_source *source) {
    pthread_mutex_lock(&source->expiry.lock);
    for (size_t i = 0; i < of->count; i++) {
        if (of->dues[i].is_done) continue;
        daybook_status status = push(&source->expiry, source->allocator, of->dues[i]);
        DBK_ASSERT(status == DAYBOOK_OK);
    }
    if (source->expiry.count > 0) note_next(of, source->expiry.items[0].due_ns);
    pthread_mutex_unlock(&source->expiry.lock);
}

// ---- Finding: segments ------------------------------------------------------------------------------------

static daybook_status open_walk(dbk_source *source, uint64_t second_from, dbk_term_walk **walk_out,
                                daybook_error *error) {
    static const uint8_t kind = DBK_TERM_EXPIRY;
    dbk_term from;
    dbk_term_make_expiry(&from, second_from, 0);
    return dbk_term_walk_open_from(source->segment, daybook_bytes(&kind, 1), dbk_term_slice(&from), walk_out,
                                   error);
}

static daybook_status next_of_walk(dbk_term_walk *walk, uint64_t *second_out, dbk_due *due_out,
                                   dbk_term_entry *entry_out, daybook_error *error) {
    dbk_slice term;
    *due_out = (dbk_due){0};
    DBK_TRY(dbk_term_walk_next(walk, &term, entry_out, error));
    if (dbk_term_read_expiry(term, second_out, &due_out->stream_id) && *second_out <= SECOND_MAX) {
        due_out->due_ns = (int64_t)*second_out * DBK_SECOND_NS;
        return DAYBOOK_OK;
    }
    return dbk_fail(error, DAYBOOK_EDAMAGED, "the index has a time at which events expire that is none");
}

// The lowest second of the segment; UINT64_MAX: nothing of it expires.
static daybook_status find_lowest(dbk_source *source, daybook_error *error) {
    dbk_term_walk *walk;
    uint64_t second = 0;
    dbk_due due;
    dbk_term_entry entry;
    DBK_TRY(open_walk(source, 0, &walk, error));
    daybook_status status = next_of_walk(walk, &second, &due, &entry, error);
    dbk_term_walk_close(walk);
    if (status != DAYBOOK_OK && status != DAYBOOK_END) return status;
    uint64_t unknown = 0, lowest = status == DAYBOOK_END ? UINT64_MAX : second + (second == 0);
    (void)atomic_compare_exchange_strong(&source->expiry.next_second, &unknown, lowest);
    return DAYBOOK_OK;
}

bool dbk_expiry_may_be_due(dbk_source *source, int64_t now_ns) {
    if (source->segment == NULL) return source->memtable != NULL;
    uint64_t next = atomic_load_explicit(&source->expiry.next_second, memory_order_acquire);
    if (next == 0) {
        int64_t in_vain_ns = atomic_load(&source->expiry.in_vain_ns);
        // (Not where the clock was set back behind that.)
        if (in_vain_ns > 0 && now_ns >= in_vain_ns && now_ns - in_vain_ns < RETRY_S * DBK_SECOND_NS)
            return true;
        if (find_lowest(source, NULL) != DAYBOOK_OK) {
            atomic_store(&source->expiry.in_vain_ns, now_ns);
            return true; // events say it themselves
        }
        next = atomic_load_explicit(&source->expiry.next_second, memory_order_acquire);
    }
    // It ends within the second before.
    return now_ns > 0 && next - 1 <= (uint64_t)(now_ns / DBK_SECOND_NS);
}

bool dbk_expiry_may_hide(dbk_source *source, const dbk_stream *stream, uint64_t last, bool by_age,
                         int64_t now_ns) {
    int64_t first_ns = dbk_segment_get_summary(source->segment)->recorded_first_ns;
    bool has_aged = by_age && dbk_clock_has_aged_at(now_ns, stream, first_ns) &&
                    last >= atomic_load(&((dbk_stream *)(uintptr_t)stream)->aged_position);
    return has_aged || (dbk_stream_allows_ttl(stream) && dbk_expiry_may_be_due(source, now_ns));
}

static const dbk_stream *live_stream(const daybook_store *store, uint32_t stream_id) {
    dbk_stream *stream = dbk_stream_table_find_id(store->streams, stream_id);
    return stream != NULL && !atomic_load(&stream->removed) ? stream : NULL;
}

// The live events of a term.
static daybook_status take_postings(round *of, dbk_source *source, const dbk_term_entry *entry, dbk_due due,
                                    daybook_error *error) {
    dbk_stream *stream = (dbk_stream *)(uintptr_t)live_stream(of->store, due.stream_id);
    if (stream == NULL) return DAYBOOK_OK;
    uint64_t first = atomic_load(&stream->first_position);
    if (entry->count == 0 || entry->last_position < first) return DAYBOOK_OK;
    dbk_postings *postings;
    DBK_TRY(dbk_postings_open(source->segment, entry, &postings, error));
    daybook_status status;
    due.position = first;
    while ((status = dbk_postings_seek(postings, due.position, &due.position, error)) == DAYBOOK_OK) {
        if (!dbk_source_is_dead(source, due.position)) {
            of->is_full = of->count == STEP_DUE;
            if (of->is_full) break;
            of->dues[of->count++] = due;
        }
        due.position++;
    }
    dbk_postings_close(postings);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

static daybook_status take_from_segment(round *of, dbk_source *source, daybook_error *error) {
    uint64_t next = atomic_load(&source->expiry.next_second);
    uint64_t now_s = (uint64_t)(of->now_ns / DBK_SECOND_NS);
    of->reached = next;
    if (next > now_s) return DAYBOOK_OK;
    dbk_term_walk *walk;
    DBK_TRY(open_walk(source, next, &walk, error));
    uint64_t second;
    dbk_due due;
    dbk_term_entry entry;
    daybook_status status;
    while ((status = next_of_walk(walk, &second, &due, &entry, error)) == DAYBOOK_OK) {
        of->reached = second;
        if (second > now_s) break;
        status = take_postings(of, source, &entry, due, error);
        if (status != DAYBOOK_OK || of->is_full) break;
    }
    dbk_term_walk_close(walk);
    if (status == DAYBOOK_END) of->reached = UINT64_MAX;
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

// Everything before the lowest second that is left is gone.
static void note_reached(round *of, dbk_source *source) {
    uint64_t next = of->reached;
    for (size_t i = 0; i < of->count; i++) {
        uint64_t second = (uint64_t)(of->dues[i].due_ns / DBK_SECOND_NS);
        if (!of->dues[i].is_done && second < next) next = second;
    }
    if (next <= SECOND_MAX) note_next(of, (int64_t)next * DBK_SECOND_NS);
    atomic_store_explicit(&source->expiry.next_second, next + (next == 0), memory_order_release);
}

// ---- Markers ----------------------------------------------------------------------------------------------

// Is it the newest of its subject, and is everything older of it gone?
static daybook_status is_last(const round *of, dbk_stream *stream, const dbk_event *event, bool *is_last_out,
                              daybook_error *error) {
    daybook_query query;
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_REVERSE;
    query.filters = &event->subject;
    query.filter_count = 1;
    daybook_cursor *cursor;
    *is_last_out = false;
    DBK_TRY(dbk_cursor_open(of->store, &query, stream, &cursor, error));
    daybook_recorded_event unused;
    daybook_status status = daybook_cursor_next(cursor, 0, &unused, error);
    bool is_gone = status == DAYBOOK_OK && dbk_cursor_event(cursor)->position == event->position;
    while (is_gone && (status = daybook_cursor_next(cursor, 0, &unused, error)) == DAYBOOK_OK)
        is_gone = dbk_clock_has_expired_at(of->now_ns, stream, dbk_cursor_event(cursor));
    daybook_cursor_close(cursor);
    *is_last_out = is_gone;
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

static void want_round_by(daybook_store *store, int64_t at_ns) {
    int64_t next_ns = atomic_load(&store->next_expiry_ns);
    while (at_ns < next_ns && !atomic_compare_exchange_weak(&store->next_expiry_ns, &next_ns, at_ns)) {
    }
}

// Once in a while: refused ones come by the thousand.
static void tell_of_refused_marker(daybook_store *store, int64_t now_ns, const daybook_error *error) {
    if (!dbk_once_each(&store->tell_marker_ns, now_ns, TELL_S * DBK_SECOND_NS)) return;
    dbk_store_log(store, DAYBOOK_LOG_WARNING,
                  "a marker for what has expired cannot be stored: %s; it is tried again each second",
                  error != NULL ? error->message : "the store does not say why");
}

// Stored, or not needed any more?
static bool is_settled(daybook_status status) {
    return status == DAYBOOK_OK || status == DAYBOOK_ECONFLICT || // somebody wrote the subject meanwhile
           status == DAYBOOK_ENOSTREAM || status == DAYBOOK_ECLOSED;
}

// From the commit thread. Whatever became of it the next round sees; where it was refused, one of the next
// second.
static void marked(void *context, daybook_status status, const daybook_receipt *receipts, size_t count,
                   const daybook_error *error) {
    (void)receipts;
    (void)count;
    daybook_store *store = context;
    int64_t now_ns = store->vfs->clock_monotonic_ns(store->vfs);
    if (is_settled(status)) {
        want_round_by(store, now_ns + ROUNDS_APART_NS);
    } else {
        atomic_store(&store->marker_retry_ns, now_ns + DBK_SECOND_NS);
        tell_of_refused_marker(store, now_ns, error);
    }
    atomic_fetch_sub(&store->markers_under_way, 1);
    dbk_maintenance_kick(store);
}

static daybook_status submit_marker(daybook_store *store, dbk_stream *stream, dbk_slice subject,
                                    int64_t ttl_s, daybook_error *error) {
    dbk_marker_headers headers;
    dbk_marker_headers_init(&headers, ttl_s);
    daybook_event event;
    daybook_event_init(&event);
    event.subject = subject;
    event.headers = headers.items;
    event.header_count = DBK_MARKER_HEADER_COUNT;
    event.ttl_s = ttl_s;
    daybook_condition condition;
    daybook_condition_init(&condition, DAYBOOK_EXPECT_SUBJECT_SEQ);
    condition.stream = stream->name;
    condition.filter = subject;
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.conditions = &condition;
    options.condition_count = 1;
    options.stream = stream->name;
    atomic_fetch_add(&store->markers_under_way, 1);
    daybook_status status = dbk_append_submit_marker(store, &event, &options, marked, store, error);
    if (status != DAYBOOK_OK) atomic_fetch_sub(&store->markers_under_way, 1);
    return status;
}

// May the event go, or must its marker come first?
static daybook_status may_go(void *context, dbk_stream *stream, const dbk_event *event, bool *may_go_out,
                             daybook_error *error) {
    const round *of = context;
    const daybook_stream_config *config = atomic_load(&stream->config);
    *may_go_out = true;
    if (config->delete_marker_ttl_s == 0 || dbk_leaves_no_marker(event)) return DAYBOOK_OK;
    if (atomic_load(&of->store->markers_under_way) >= MARKERS_MAX ||
        of->began_ns < atomic_load(&of->store->marker_retry_ns)) {
        *may_go_out = false; // by and by
        return DAYBOOK_OK;
    }
    bool wants_marker;
    DBK_TRY(is_last(of, stream, event, &wants_marker, error));
    *may_go_out = !wants_marker;
    if (!wants_marker || !of->may_mark) return DAYBOOK_OK;
    daybook_error detail;
    daybook_error_init(&detail);
    daybook_status status =
        submit_marker(of->store, stream, event->subject, config->delete_marker_ttl_s, &detail);
    // The stream captures its subject no longer: then it goes without.
    *may_go_out = status == DAYBOOK_ENOSTREAM || status == DAYBOOK_EINVALID || status == DAYBOOK_ELIMIT;
    if (status == DAYBOOK_OK || status == DAYBOOK_ECLOSED || *may_go_out) return DAYBOOK_OK;
    if (error != NULL) *error = detail;
    return status;
}

// ---- Rounds -----------------------------------------------------------------------------------------------

static int compare_dues(const void *a, const void *b) {
    const dbk_due *left = a, *right = b;
    if (left->stream_id != right->stream_id) return left->stream_id < right->stream_id ? -1 : 1;
    return left->position < right->position ? -1 : left->position > right->position;
}

static daybook_status remove_taken(round *of, daybook_error *error) {
    daybook_status status = DAYBOOK_OK;
    daybook_status unreadable = DAYBOOK_OK;
    if (of->count > 1) qsort(of->dues, of->count, sizeof *of->dues, compare_dues);
    for (size_t i = 0, end; status == DAYBOOK_OK && i < of->count; i = end) {
        end = i + 1;
        while (end < of->count && of->dues[end].stream_id == of->dues[i].stream_id) end++;
        dbk_stream *stream = (dbk_stream *)(uintptr_t)live_stream(of->store, of->dues[i].stream_id);
        if (stream != NULL) {
            status =
                dbk_store_remove_due(of->store, stream, &of->dues[i], end - i, of->now_ns, may_go, of, error);
        } else {
            for (size_t j = i; j < end; j++) of->dues[j].is_done = true;
        }
        if (!dbk_is_unreadable(status)) continue;
        unreadable = status; // of one stream
        status = DAYBOOK_OK;
    }
    return status == DAYBOOK_OK ? unreadable : status;
}

static bool has_done_some(const round *of) {
    for (size_t i = 0; i < of->count; i++) {
        if (of->dues[i].is_done) return true;
    }
    return false;
}

static daybook_status expire_step(round *of, dbk_source *source, daybook_error *error) {
    of->count = 0;
    of->is_full = false;
    daybook_status status = source->memtable != NULL ? take_from_memtable(of, source, error)
                                                     : take_from_segment(of, source, error);
    bool was_taken = status == DAYBOOK_OK;
    if (was_taken) status = remove_taken(of, error);
    if (source->memtable != NULL) {
        put_back(of, source);
    } else if (was_taken) {
        note_reached(of, source);
    }
    return status;
}

// Do removals still reach the sources of the round?
static bool is_current(const round *of) {
    return atomic_load_explicit(&of->store->view_generation, memory_order_acquire) == of->generation;
}

static daybook_status expire_source(round *of, dbk_source *source, daybook_error *error) {
    if (source->damage != NULL) return DAYBOOK_OK;
    if (of->began_ns < source->expiry.retry_ns) return DAYBOOK_OK;
    daybook_error detail;
    daybook_error_init(&detail);
    daybook_status status = DAYBOOK_OK;
    bool goes_on = true;
    while (status == DAYBOOK_OK && goes_on && of->steps_left > 0) {
        status = expire_step(of, source, &detail);
        if (of->count > 0) end_step(of);
        goes_on = of->is_full && has_done_some(of) && is_current(of);
    }
    if (!is_current(of)) note_next(of, of->now_ns); // what replaced the source is for the next round
    if (of->steps_left == 0) note_next(of, of->now_ns);
    if (!dbk_is_unreadable(status)) {
        if (status != DAYBOOK_OK && error != NULL) *error = detail;
        return status;
    }
    source->expiry.retry_ns = of->began_ns + RETRY_S * DBK_SECOND_NS;
    dbk_store_log(of->store, DAYBOOK_LOG_WARNING, "what has expired cannot be removed, but is hidden: %s",
                  detail.message);
    return DAYBOOK_OK;
}

static daybook_status age_streams(round *of, daybook_error *error) {
    dbk_stream **streams;
    size_t count;
    if (dbk_stream_table_all(of->store->streams, &streams, &count) != DAYBOOK_OK) return out_of_memory(error);
    daybook_status status = DAYBOOK_OK;
    for (size_t i = 0; status == DAYBOOK_OK && i < count; i++) {
        bool is_more = dbk_stream_allows_ttl(streams[i]) && dbk_stream_max_age_ns(streams[i]) > 0;
        while (status == DAYBOOK_OK && is_more && of->steps_left > 0) {
            int64_t next_ns;
            status = dbk_store_remove_aged(of->store, streams[i], STEP_DUE, of->now_ns, may_go, of, &is_more,
                                           &next_ns, error);
            if (is_more) end_step(of);
            note_next(of, next_ns);
        }
        if (is_more) note_next(of, of->now_ns);
    }
    dbk_free(of->store->allocator, streams);
    return status;
}

static daybook_status run(round *of, daybook_error *error) {
    dbk_view *view = dbk_store_get_view(of->store);
    daybook_status status = DAYBOOK_OK;
    of->generation = view->generation;
    for (size_t i = 0; status == DAYBOOK_OK && i < view->source_count; i++)
        status = expire_source(of, view->sources[i], error);
    dbk_view_unref(view);
    return status == DAYBOOK_OK ? age_streams(of, error) : status;
}

// By the monotonic clock, which the maintenance goes by.
static int64_t next_round_ns(const round *of) {
    int64_t now_ns = of->store->vfs->clock_monotonic_ns(of->store->vfs);
    int64_t wait_ns = of->next_ns - of->now_ns;
    if (of->steps_left == 0) return now_ns;
    if (wait_ns > DBK_SECOND_NS) return INT64_MAX; // there is a round by then
    return now_ns + (wait_ns > ROUNDS_APART_NS ? wait_ns : ROUNDS_APART_NS);
}

bool dbk_store_has_expired(daybook_store *store) {
    int64_t now_ns = store->vfs->clock_monotonic_ns(store->vfs);
    return now_ns >= atomic_load(&store->next_expiry_ns) ||
           now_ns - atomic_load(&store->expired_ns) >= DBK_SECOND_NS;
}

static daybook_status expire(daybook_store *store, bool may_mark, unsigned steps_max, daybook_error *error) {
    if (store->read_only || !dbk_stream_table_has_ttls(store->streams)) return DAYBOOK_OK;
    if (pthread_mutex_trylock(&store->expiry_lock) != 0) return DAYBOOK_OK;
    round of = {.store = store,
                .now_ns = dbk_clock_expiry_ns(store),
                .may_mark = may_mark,
                .steps_left = steps_max,
                .began_ns = store->vfs->clock_monotonic_ns(store->vfs),
                .next_ns = INT64_MAX,
                .dues = dbk_alloc(store->allocator, STEP_DUE * sizeof(dbk_due))};
    atomic_store(&store->expired_ns, store->vfs->clock_monotonic_ns(store->vfs));
    atomic_store(&store->next_expiry_ns, INT64_MAX); // a marker stored meanwhile sets it
    daybook_status status = of.dues == NULL ? out_of_memory(error) : DAYBOOK_OK;
    if (status == DAYBOOK_OK && of.now_ns > 0) status = run(&of, error);
    if (status == DAYBOOK_OK && of.next_ns != INT64_MAX) want_round_by(store, next_round_ns(&of));
    dbk_free(store->allocator, of.dues);
    pthread_mutex_unlock(&store->expiry_lock);
    return status;
}

daybook_status dbk_store_expire(daybook_store *store, bool may_mark, daybook_error *error) {
    return expire(store, may_mark, STEPS_MAX, error);
}

daybook_status dbk_store_expire_some(daybook_store *store, daybook_error *error) {
    return expire(store, false, STEPS_SOME, error);
}

// ---- Counting ---------------------------------------------------------------------------------------------

typedef struct counting {
    daybook_store *store;
    dbk_stream *stream;
    int64_t now_ns;
    uint64_t count, bytes;
} counting;

static daybook_status count_event(counting *of, dbk_source *source, uint64_t position, dbk_block_view *block,
                                  daybook_error *error) {
    if (position < atomic_load(&of->stream->first_position) || dbk_source_is_dead(source, position))
        return DAYBOOK_OK;
    dbk_event event;
    daybook_status status = dbk_source_read(source, position, block, &event, error);
    if (status != DAYBOOK_OK) return status == DAYBOOK_ENOTFOUND ? DAYBOOK_OK : status;
    bool counts = event.ttl_s > 0 && dbk_event_expiry_ns(&event) <= of->now_ns &&
                  !dbk_clock_has_aged_at(of->now_ns, of->stream, event.recorded_ns);
    of->count += counts;
    if (counts) of->bytes += dbk_event_cost(&event);
    return DAYBOOK_OK;
}

static daybook_status count_in_memtable(counting *of, dbk_source *source, daybook_error *error) {
    uint64_t durable = atomic_load_explicit(&of->store->durable_position, memory_order_acquire);
    dbk_expiry *heap = &source->expiry;
    pthread_mutex_lock(&heap->lock);
    daybook_status status = catch_up(source, durable);
    if (status != DAYBOOK_OK) (void)out_of_memory(error);
    for (size_t i = 0; status == DAYBOOK_OK && i < heap->count; i++) {
        if (heap->items[i].due_ns <= of->now_ns && heap->items[i].stream_id == of->stream->id)
            status = count_event(of, source, heap->items[i].position, NULL, error);
    }
    pthread_mutex_unlock(&heap->lock);
    return status;
}

static daybook_status count_term(counting *of, dbk_source *source, const dbk_term_entry *entry,
                                 dbk_block_view *block, daybook_error *error) {
    dbk_postings *postings;
    DBK_TRY(dbk_postings_open(source->segment, entry, &postings, error));
    uint64_t position = 0;
    daybook_status status;
    while ((status = dbk_postings_seek(postings, position, &position, error)) == DAYBOOK_OK) {
        status = count_event(of, source, position++, block, error);
        if (status != DAYBOOK_OK) break;
    }
    dbk_postings_close(postings);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

static daybook_status count_in_segment(counting *of, dbk_source *source, daybook_error *error) {
    if (!dbk_expiry_may_be_due(source, of->now_ns)) return DAYBOOK_OK;
    uint64_t now_s = (uint64_t)(of->now_ns / DBK_SECOND_NS);
    dbk_term_walk *walk;
    DBK_TRY(open_walk(source, 0, &walk, error));
    dbk_block_view block = {0};
    uint64_t second;
    dbk_due due;
    dbk_term_entry entry;
    daybook_status status;
    while ((status = next_of_walk(walk, &second, &due, &entry, error)) == DAYBOOK_OK && second <= now_s + 1) {
        if (due.stream_id != of->stream->id) continue;
        status = count_term(of, source, &entry, &block, error);
        if (status != DAYBOOK_OK) break;
    }
    dbk_block_release(&block);
    dbk_term_walk_close(walk);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

daybook_status dbk_expiry_count(daybook_store *store, dbk_stream *stream, int64_t now_ns, uint64_t *count_out,
                                uint64_t *bytes_out, daybook_error *error) {
    counting of = {.store = store, .stream = stream, .now_ns = now_ns};
    dbk_view *view = dbk_store_get_view(store);
    daybook_status status = DAYBOOK_OK;
    for (size_t i = 0; status == DAYBOOK_OK && i < view->source_count; i++) {
        dbk_source *source = view->sources[i];
        if (source->memtable != NULL) status = count_in_memtable(&of, source, error);
        if (source->segment != NULL) status = count_in_segment(&of, source, error);
    }
    dbk_view_unref(view);
    *count_out = of.count;
    *bytes_out = of.bytes;
    return status;
}
