// SPDX-License-Identifier: Apache-2.0
// What a store contains: aggregates, subjects and types with their counts, from the index and not from
// events. The dictionaries of the segments are walked side by side with the terms of the memory tables, all
// in byte order; a term's counts are added up over its sources. Where events were removed, or a segment holds
// streams that do not count, a term's postings are walked.
//
// How many subjects a stream has is asked again and again (num_subjects of JetStream), so it is remembered.
// While nothing of the stream was removed the number can only grow, by events whose subject no earlier one
// has: those are asked for, where that is less work than walking all subjects anew.
#include <stdlib.h>

#include "base/assert.h"
#include "daybook/subject.h"
#include "store/expiry.h"
#include "store/query.h"
#include "subject/subject.h"

enum { CHUNK_POSITIONS = 256 };

typedef struct term_stream {
    dbk_source *source;
    // Segment.
    dbk_term_walk *walk;
    dbk_term_entry entry;
    // Memory table: its terms, copied and sorted.
    dbk_slice *terms;
    size_t term_count;
    size_t term_at;

    dbk_slice current; // empty at the end
} term_stream;

typedef struct listing {
    daybook_store *store;
    int kind;
    dbk_stream *stream; // the only one, or NULL
    dbk_slice filter;
    uint64_t durable;
    uint64_t offset, limit; // of those that exist, which are visited
    uint64_t met;           // that exist, so far
    bool to_the_end;        // also behind the last that is visited
    dbk_arena *arena;
    term_stream *inputs;
    size_t input_count;
    dbk_slice prefix;
} listing;

static uint8_t term_kind(int kind) {
    return kind == DAYBOOK_LIST_AGGREGATES ? DBK_TERM_AGGREGATE
           : kind == DAYBOOK_LIST_SUBJECTS ? DBK_TERM_SUBJECT
                                           : DBK_TERM_TYPE;
}

// ---- Inputs -----------------------------------------------------------------------------------------------

static daybook_status step(term_stream *input, daybook_error *error) {
    if (input->walk == NULL) {
        input->current = input->term_at < input->term_count ? input->terms[input->term_at++]
                                                            : daybook_bytes(NULL, 0);
        return DAYBOOK_OK;
    }
    daybook_status status = dbk_term_walk_next(input->walk, &input->current, &input->entry, error);
    if (status != DAYBOOK_END) return status;
    input->current = daybook_bytes(NULL, 0);
    return DAYBOOK_OK;
}

typedef struct collecting {
    listing *list;
    term_stream *input;
    size_t capacity;
} collecting;

static daybook_status collect_term(void *context, dbk_slice term) {
    collecting *into = context;
    term_stream *input = into->input;
    dbk_slice *terms = dbk_grow_array(into->list->store->allocator, input->terms, &into->capacity,
                                      input->term_count + 1, sizeof *terms);
    if (terms == NULL) return DAYBOOK_ENOMEM;
    input->terms = terms;
    void *copy = dbk_arena_alloc(into->list->arena, term.size);
    if (copy == NULL) return DAYBOOK_ENOMEM;
    memcpy(copy, term.data, term.size);
    input->terms[input->term_count++] = daybook_bytes(copy, term.size);
    return DAYBOOK_OK;
}

static int compare_terms(const void *a, const void *b) {
    return dbk_slice_compare(*(const dbk_slice *)a, *(const dbk_slice *)b);
}

static daybook_status open_input(listing *list, dbk_source *source, term_stream *input,
                                 daybook_error *error) {
    input->source = source;
    if (source->segment != NULL) {
        DBK_TRY(dbk_term_walk_open(source->segment, list->prefix, &input->walk, error));
    } else {
        collecting into = {.list = list, .input = input};
        if (dbk_memtable_visit_terms(source->memtable, list->prefix, collect_term, &into) != DAYBOOK_OK)
            return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory listing");
        if (input->term_count > 1)
            qsort(input->terms, input->term_count, sizeof *input->terms, compare_terms);
    }
    return step(input, error);
}

// ---- Counting ---------------------------------------------------------------------------------------------

// What a reader hides by max_age before a writer has removed it; a writer's maintenance does so every second.
// What outlived its own time to live is hidden by both.
static bool is_expired(const listing *list, const dbk_stream *stream, const dbk_event *event) {
    return (list->store->read_only || event->ttl_s > 0) && dbk_clock_has_expired(list->store, stream, event);
}

// May some event of the stream in this segment be hidden so?
static bool may_have_expired(const listing *list, const dbk_stream *stream, dbk_source *source) {
    if (!dbk_stream_allows_ttl(stream) && (!list->store->read_only || dbk_stream_max_age_ns(stream) == 0))
        return false;
    return dbk_expiry_may_hide(source, stream, UINT64_MAX, list->store->read_only,
                               dbk_clock_expiry_ns(list->store));
}

// Is the subject at which it stands one to be visited? Of the others it only matters whether they have an
// event.
static bool is_in_page(const listing *list) {
    return list->met >= list->offset && list->met - list->offset < list->limit;
}

static bool is_known(const listing *list, const daybook_list_entry *entry) {
    return entry->event_count > 0 && !is_in_page(list);
}

// All events of the segment count, so that a term's entry is the truth.
static bool is_plain(const listing *list, dbk_source *source) {
    if (source->segment == NULL || atomic_load(&source->dead.count) > 0) return false;
    dbk_segment_stream in;
    for (uint32_t i = 0; dbk_segment_get_stream(source->segment, i, &in); i++) {
        dbk_stream *stream = dbk_stream_table_find_id(list->store->streams, in.stream_id);
        bool counts = list->kind == DAYBOOK_LIST_TYPES ? dbk_stream_is_asked_for(stream, list->stream, false)
                                                       : true;
        if (!counts || (stream != NULL && in.first_position < atomic_load(&stream->first_position)))
            return false;
        if (stream != NULL && may_have_expired(list, stream, source)) return false;
    }
    return true;
}

static void count_event(daybook_list_entry *entry, const dbk_event *event, bool is_type) {
    entry->event_count++;
    if (event->position < entry->last_position) return;
    entry->last_position = event->position;
    if (is_type) return;
    entry->last_seq = event->seq;
    if (event->version > entry->last_version) entry->last_version = event->version;
}

static bool event_counts(const listing *list, dbk_source *source, const dbk_event *event) {
    dbk_stream *stream = dbk_stream_table_find_id(list->store->streams, event->stream_id);
    return event->position <= list->durable && dbk_stream_is_asked_for(stream, list->stream, false) &&
           event->position >= atomic_load(&stream->first_position) && !is_expired(list, stream, event) &&
           !dbk_source_is_dead(source, event->position);
}

static daybook_status count_in_memtable(const listing *list, dbk_source *source, dbk_slice term,
                                        daybook_list_entry *entry) {
    uint64_t next = 0;
    for (;;) {
        uint64_t positions[CHUNK_POSITIONS];
        size_t count;
        DBK_TRY(dbk_memtable_postings(source->memtable, term, next, UINT64_MAX, positions, CHUNK_POSITIONS,
                                      &count));
        for (size_t i = 0; i < count && !is_known(list, entry); i++) {
            dbk_event event;
            if (dbk_memtable_get(source->memtable, positions[i], &event) != DAYBOOK_OK) continue;
            // Removed events count for nothing but the version assigned last.
            if (list->kind == DAYBOOK_LIST_AGGREGATES && event.position <= list->durable &&
                event.version > entry->last_version)
                entry->last_version = event.version;
            if (event_counts(list, source, &event))
                count_event(entry, &event, list->kind == DAYBOOK_LIST_TYPES);
        }
        if (count < CHUNK_POSITIONS || is_known(list, entry)) return DAYBOOK_OK;
        next = positions[count - 1] + 1;
    }
}

static daybook_status count_by_postings(const listing *list, dbk_source *source, const dbk_term_entry *in,
                                        daybook_list_entry *entry, daybook_error *error) {
    dbk_postings *postings;
    DBK_TRY(dbk_postings_open(source->segment, in, &postings, error));
    dbk_block_view block = {0};
    uint64_t position = 0;
    daybook_status status;
    while ((status = dbk_postings_seek(postings, position, &position, error)) == DAYBOOK_OK) {
        dbk_event event;
        status = dbk_source_read(source, position, &block, &event, error);
        if (status == DAYBOOK_OK && event_counts(list, source, &event))
            count_event(entry, &event, list->kind == DAYBOOK_LIST_TYPES);
        if ((status != DAYBOOK_OK && status != DAYBOOK_ENOTFOUND) || is_known(list, entry)) break;
        position++;
    }
    dbk_block_release(&block);
    dbk_postings_close(postings);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

static daybook_status count_input(const listing *list, const term_stream *input, daybook_list_entry *entry,
                                  daybook_error *error) {
    if (input->walk == NULL) {
        daybook_status status = count_in_memtable(list, input->source, input->current, entry);
        return status == DAYBOOK_OK ? status : dbk_fail(error, status, "out of memory listing");
    }
    if (list->kind == DAYBOOK_LIST_AGGREGATES && input->entry.last_version > entry->last_version)
        entry->last_version = input->entry.last_version;
    if (input->entry.count == 0) return DAYBOOK_OK;
    if (!is_plain(list, input->source))
        return count_by_postings(list, input->source, &input->entry, entry, error);
    entry->event_count += input->entry.count;
    if (input->entry.last_position > entry->last_position) {
        entry->last_position = input->entry.last_position;
        if (list->kind != DAYBOOK_LIST_TYPES) entry->last_seq = input->entry.last_seq;
    }
    return DAYBOOK_OK;
}

// ---- Visiting ---------------------------------------------------------------------------------------------

static bool is_wanted(const listing *list, dbk_slice name) {
    if (list->filter.size == 0 || list->kind == DAYBOOK_LIST_TYPES) return true;
    if (daybook_filter_matches(list->filter, name)) return true;
    if (list->kind == DAYBOOK_LIST_SUBJECTS || name.size + 2 > DAYBOOK_SUBJECT_SIZE_MAX) return false;
    char below[DAYBOOK_SUBJECT_SIZE_MAX];
    memcpy(below, name.data, name.size);
    memcpy(below + name.size, ".>", 2);
    return daybook_filters_overlap(list->filter, daybook_bytes(below, name.size + 2)) != 0;
}

// Stream and name of a term; false where its stream does not count.
static bool explain(const listing *list, dbk_slice term, daybook_list_entry *entry) {
    const uint8_t *bytes = term.data;
    *entry = (daybook_list_entry){.size = sizeof *entry};
    if (list->kind == DAYBOOK_LIST_TYPES) {
        entry->name = daybook_bytes(bytes + 1, term.size - 1);
        return true;
    }
    uint32_t id = (uint32_t)bytes[1] << 24 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 8 | bytes[4];
    const dbk_stream *stream = dbk_stream_table_find_id(list->store->streams, id);
    if (!dbk_stream_is_asked_for(stream, list->stream, false)) return false;
    entry->stream = stream->name;
    entry->name = daybook_bytes(bytes + 5, term.size - 5);
    return true;
}

// The smallest term any input is at, its counts added up; then those inputs step. END when all are through.
static daybook_status next_term(listing *list, dbk_slice *term, dbk_buf *copy, daybook_list_entry *entry,
                                bool *wanted_out, daybook_error *error) {
    dbk_slice smallest = {NULL, 0};
    for (size_t i = 0; i < list->input_count; i++) {
        dbk_slice current = list->inputs[i].current;
        if (current.size > 0 && (smallest.size == 0 || dbk_slice_compare(current, smallest) < 0))
            smallest = current;
    }
    if (smallest.size == 0) return DAYBOOK_END;
    dbk_buf_reset(copy);
    dbk_buf_append_slice(copy, smallest);
    if (dbk_buf_status(copy) != DAYBOOK_OK) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory listing");
    *term = daybook_bytes(copy->data, copy->size);
    *wanted_out = explain(list, *term, entry) && is_wanted(list, entry->name);
    for (size_t i = 0; i < list->input_count; i++) {
        term_stream *input = &list->inputs[i];
        if (!dbk_slice_equal(input->current, *term)) continue;
        if (*wanted_out && !is_known(list, entry)) DBK_TRY(count_input(list, input, entry, error));
        DBK_TRY(step(input, error));
    }
    return DAYBOOK_OK;
}

static daybook_status visit_terms(listing *list, int (*visit)(void *context, const daybook_list_entry *entry),
                                  void *context, daybook_error *error) {
    dbk_buf copy;
    dbk_buf_init(&copy, list->store->allocator, DBK_TERM_SIZE_MAX);
    daybook_status status = DAYBOOK_OK;
    while (status == DAYBOOK_OK) {
        dbk_slice term;
        daybook_list_entry entry;
        bool wanted = false;
        status = next_term(list, &term, &copy, &entry, &wanted, error);
        if (status != DAYBOOK_OK || !wanted || entry.event_count == 0) continue;
        bool stop = is_in_page(list) && visit(context, &entry) != 0;
        list->met++;
        if (stop ||
            (!list->to_the_end && list->met >= list->offset && list->met - list->offset >= list->limit))
            break;
    }
    dbk_buf_deinit(&copy);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

static daybook_status open_inputs(listing *list, const dbk_view *view, daybook_error *error) {
    list->inputs = dbk_alloc_zeroed(list->store->allocator, view->source_count * sizeof *list->inputs + 1);
    if (list->inputs == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory listing");
    for (size_t i = 0; i < view->source_count; i++) {
        DBK_TRY(dbk_source_check(view->sources[i], error));
        DBK_TRY(open_input(list, view->sources[i], &list->inputs[list->input_count++], error));
    }
    return DAYBOOK_OK;
}

static void close_inputs(listing *list) {
    for (size_t i = 0; i < list->input_count; i++) {
        if (list->inputs[i].walk != NULL) dbk_term_walk_close(list->inputs[i].walk);
        dbk_free(list->store->allocator, list->inputs[i].terms);
    }
    dbk_free(list->store->allocator, list->inputs);
}

static daybook_status check_arguments(daybook_store *store, int kind, dbk_slice filter,
                                      daybook_error *error) {
    if (store == NULL || kind < DAYBOOK_LIST_AGGREGATES || kind > DAYBOOK_LIST_TYPES)
        return dbk_fail(error, DAYBOOK_EMISUSE, "no store, or an unknown kind of list");
    if (filter.size > 0 && !daybook_filter_is_valid(filter))
        return dbk_fail(error, DAYBOOK_ESUBJECT, "'%.*s' is no subject filter",
                        (int)(filter.size < 200 ? filter.size : 200), (const char *)filter.data);
    return DAYBOOK_OK;
}

// Bytes with which every name wanted begins. An aggregate is matched by longer filters, too, so that only as
// many tokens count as it has.
static size_t literal_size(const listing *list) {
    bool is_aggregate = list->kind == DAYBOOK_LIST_AGGREGATES;
    return dbk_filter_literal_size(list->filter, is_aggregate ? list->stream->aggregate_tokens : UINT32_MAX);
}

// Visit what the listing asks for. Its kind, stream, filter and bound are set.
static daybook_status run(listing *list, int (*visit)(void *context, const daybook_list_entry *entry),
                          void *context, daybook_error *error) {
    uint8_t prefix[5 + DAYBOOK_SUBJECT_SIZE_MAX] = {term_kind(list->kind)};
    list->prefix = daybook_bytes(prefix, 1);
    if (list->stream != NULL && list->kind != DAYBOOK_LIST_TYPES) {
        for (int i = 0; i < 4; i++) prefix[1 + i] = (uint8_t)(list->stream->id >> (24 - 8 * i));
        size_t size = literal_size(list);
        if (size > 0) memcpy(prefix + 5, list->filter.data, size);
        list->prefix.size = 5 + size;
    }
    if (dbk_arena_new(list->store->allocator, 1 << 14, &list->arena) != DAYBOOK_OK)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory listing");
    dbk_view *view = dbk_store_get_view(list->store);
    daybook_status status = open_inputs(list, view, error);
    if (status == DAYBOOK_OK) status = visit_terms(list, visit, context, error);
    close_inputs(list);
    dbk_view_unref(view);
    dbk_arena_free(list->arena);
    return status;
}

// ---- How many subjects ------------------------------------------------------------------------------------

enum { FEW_EVENTS = 64 }; // looked at one by one in any case
#define LOOK_BACK_NS 5000 // about what asking for an earlier event of a subject takes

typedef struct moment {
    uint64_t seq, position, missing;
} moment;

// What the stream's numbers say at one moment. What is not there of it is counted by `missing`, so that two
// moments with the same number have no removal between them.
static moment moment_of(daybook_store *store, const dbk_stream *stream) {
    pthread_mutex_lock(&store->state_lock);
    pthread_mutex_lock(&store->removal_lock);
    moment at = {.seq = atomic_load(&stream->published_seq), .position = store->published_position};
    at.missing = at.seq - atomic_load(&stream->message_count);
    pthread_mutex_unlock(&store->removal_lock);
    pthread_mutex_unlock(&store->state_lock);
    return at;
}

static daybook_status has_earlier(daybook_store *store, dbk_stream *stream,
                                  const daybook_recorded_event *event, bool *has_out, daybook_error *error) {
    *has_out = false;
    if (event->position == 1) return DAYBOOK_OK;
    daybook_query query;
    daybook_query_init(&query);
    query.filters = &event->event.subject;
    query.filter_count = 1;
    query.position_to = event->position - 1;
    query.flags = DAYBOOK_QUERY_REVERSE;
    daybook_cursor *cursor;
    DBK_TRY(dbk_cursor_open(store, &query, stream, &cursor, error));
    daybook_recorded_event earlier;
    daybook_status status = daybook_cursor_next(cursor, 0, &earlier, error);
    daybook_cursor_close(cursor);
    *has_out = status == DAYBOOK_OK;
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

// Subjects that came with the events behind what is known, up to the moment.
static daybook_status count_new_subjects(daybook_store *store, dbk_stream *stream, const moment *until,
                                         uint64_t *count_out, daybook_error *error) {
    *count_out = 0;
    daybook_query query;
    daybook_query_init(&query);
    query.seq_from = stream->subjects.seq + 1;
    query.position_to = until->position;
    daybook_cursor *cursor;
    DBK_TRY(dbk_cursor_open(store, &query, stream, &cursor, error));
    daybook_recorded_event event;
    daybook_status status;
    while ((status = daybook_cursor_next(cursor, 0, &event, error)) == DAYBOOK_OK) {
        bool has;
        status = has_earlier(store, stream, &event, &has, error);
        if (status != DAYBOOK_OK) break;
        *count_out += !has;
    }
    daybook_cursor_close(cursor);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

static daybook_status count_all_subjects(daybook_store *store, dbk_stream *stream, const moment *until,
                                         uint64_t *count_out, daybook_error *error) {
    listing list = {.store = store,
                    .kind = DAYBOOK_LIST_SUBJECTS,
                    .stream = stream,
                    .durable = until->position,
                    .to_the_end = true};
    int64_t begin_ns = store->vfs->clock_monotonic_ns(store->vfs);
    daybook_status status = run(&list, NULL, NULL, error);
    stream->subjects.took_ns = store->vfs->clock_monotonic_ns(store->vfs) - begin_ns;
    *count_out = list.met;
    return status;
}

// A writer's; subjects_lock is held.
static daybook_status count_subjects(daybook_store *store, dbk_stream *stream, uint64_t *count_out,
                                     daybook_error *error) {
    struct dbk_subject_count *known = &stream->subjects;
    moment until = moment_of(store, stream);
    bool grows = known->is_known && known->missing == until.missing && known->seq <= until.seq &&
                 until.seq - known->seq <= (uint64_t)known->took_ns / LOOK_BACK_NS + FEW_EVENTS;
    known->is_known = false;
    if (grows && until.seq > known->seq) {
        DBK_TRY(count_new_subjects(store, stream, &until, count_out, error));
        *count_out += known->count;
    } else if (grows) {
        *count_out = known->count;
    } else {
        DBK_TRY(count_all_subjects(store, stream, &until, count_out, error));
    }
    moment after = moment_of(store, stream);
    known->is_known = after.missing == until.missing; // else something was removed meanwhile
    known->count = *count_out;
    known->seq = until.seq;
    known->missing = until.missing;
    return DAYBOOK_OK;
}

daybook_status daybook_list(daybook_store *store, int kind, daybook_slice stream, daybook_slice filter,
                            int (*visit)(void *context, const daybook_list_entry *entry), void *context,
                            daybook_error *error) {
    DBK_TRY(check_arguments(store, kind, filter, error));
    if (store->read_only) DBK_TRY(dbk_follower_refresh(store, error));
    listing list = {.store = store,
                    .kind = kind,
                    .filter = filter,
                    .durable = atomic_load(&store->durable_position),
                    .limit = UINT64_MAX};
    if (stream.size > 0) {
        list.stream = dbk_stream_table_find(store->streams, stream);
        if (list.stream == NULL)
            return dbk_fail(error, DAYBOOK_ENOTFOUND, "there is no stream '%.*s'",
                            (int)(stream.size < 255 ? stream.size : 255), (const char *)stream.data);
    }
    return run(&list, visit, context, error);
}

void daybook_subjects_options_init(daybook_subjects_options *options) {
    *options = (daybook_subjects_options){.size = sizeof *options, .limit = UINT64_MAX};
}

daybook_status daybook_subjects(daybook_store *store, daybook_slice stream,
                                const daybook_subjects_options *options,
                                int (*visit)(void *context, const daybook_list_entry *entry), void *context,
                                uint64_t *total_out, daybook_error *error) {
    daybook_subjects_options defaults;
    daybook_subjects_options_init(&defaults);
    if (options == NULL) options = &defaults;
    if (total_out != NULL) *total_out = 0;
    if (options->size < sizeof *options || (visit == NULL && options->limit > 0))
        return dbk_fail(error, DAYBOOK_EMISUSE,
                        "listing subjects needs initialised options, and somebody to tell unless limit is 0");
    DBK_TRY(check_arguments(store, DAYBOOK_LIST_SUBJECTS, options->filter, error));
    if (store->read_only) DBK_TRY(dbk_follower_refresh(store, error));
    listing list = {.store = store,
                    .kind = DAYBOOK_LIST_SUBJECTS,
                    .filter = options->filter,
                    .durable = atomic_load(&store->durable_position),
                    .offset = options->offset,
                    .limit = options->limit,
                    .to_the_end = total_out != NULL};
    list.stream = dbk_stream_table_find(store->streams, stream);
    if (list.stream == NULL)
        return dbk_fail(error, DAYBOOK_ENOTFOUND, "there is no stream '%.*s'",
                        (int)(stream.size < 255 ? stream.size : 255), (const char *)stream.data);
    if (options->limit > 0 || options->filter.size > 0 || total_out == NULL || store->read_only) {
        daybook_status status = run(&list, visit, context, error);
        if (total_out != NULL) *total_out = list.met;
        return status;
    }
    pthread_mutex_lock(&list.stream->subjects_lock);
    daybook_status status = count_subjects(store, list.stream, total_out, error);
    pthread_mutex_unlock(&list.stream->subjects_lock);
    return status;
}
