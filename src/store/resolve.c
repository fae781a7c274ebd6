// SPDX-License-Identifier: Apache-2.0
// The second step of an append: what segments know of its ids, aggregates and conditions, looked up by the
// caller's thread before it queues, against a pinned view and without any lock. The leader then asks memory
// tables only. Where the list of segments changed meanwhile, or something was removed, the leader has this
// done again (commit.c).
//
// Events past their stream's max_age, and ids past its window, are judged by the time looked up here, once
// for the whole append: by the clock of reads, so that conditions count what reads give.
#include "base/assert.h"
#include "store/commit.h"
#include "store/expiry.h"
#include "store/query.h"
#include "subject/subject.h"

// ---- Versions ---------------------------------------------------------------------------------------------

static bool in_memtables(dbk_view *view, uint32_t stream_id, dbk_slice aggregate, uint64_t hash) {
    uint64_t version;
    for (size_t i = view->source_count; i-- > view->segment_count;) {
        if (dbk_memtable_find_version(view->sources[i]->memtable, stream_id, aggregate, hash, &version))
            return true;
    }
    return false;
}

// Highest version of an aggregate in segments: the newest segment that knows it has it.
static daybook_status version_in_segments(dbk_view *view, uint32_t stream_id, dbk_slice aggregate,
                                          uint64_t *version_out, daybook_error *error) {
    *version_out = 0;
    dbk_term term;
    dbk_term_make(&term, DBK_TERM_AGGREGATE, stream_id, aggregate);
    dbk_sieve sieve;
    dbk_sieve_begin_term(view, dbk_term_slice(&term), &sieve);
    for (dbk_source *source; (source = dbk_sieve_next(&sieve)) != NULL;) {
        dbk_term_entry entry;
        daybook_status status = dbk_segment_find_term(source->segment, dbk_term_slice(&term), &entry, error);
        if (status == DAYBOOK_ENOTFOUND) continue;
        if (status == DAYBOOK_OK) *version_out = entry.last_version;
        return status;
    }
    return DAYBOOK_OK;
}

static daybook_status resolve_versions(dbk_append *append, daybook_error *error) {
    if (append->view->segment_count == 0) return DAYBOOK_OK;
    for (size_t i = 0; i < append->count; i++) {
        dbk_append_event *event = &append->events[i];
        if (event->aggregate_size == 0 || event->first != i) continue;
        dbk_slice aggregate = daybook_bytes(dbk_append_subject(append, event).data, event->aggregate_size);
        if (in_memtables(append->view, event->stream->id, aggregate, event->hashes.aggregate)) continue;
        DBK_TRY(version_in_segments(append->view, event->stream->id, aggregate, &event->version_base, error));
    }
    return DAYBOOK_OK;
}

// ---- Ids --------------------------------------------------------------------------------------------------

static const daybook_stream_config *config_of(const dbk_stream *stream) {
    return atomic_load(&((dbk_stream *)(uintptr_t)stream)->config);
}

// Where the stream knows ids in the window only: 0 is none.
static bool ids_age(const dbk_stream *stream) {
    return (config_of(stream)->flags & DAYBOOK_STREAM_IDS_IN_WINDOW) != 0;
}

static bool in_window(const dbk_append *append, const dbk_stream *stream, int64_t since_ns) {
    int64_t window_ns = config_of(stream)->duplicate_window_ns;
    if (window_ns == 0 && ids_age(stream)) return false;
    return append->expiry_ns - since_ns <= window_ns;
}

bool dbk_append_knows(const dbk_append *append, const dbk_stream *stream, dbk_source *source,
                      const dbk_event *stored, bool *dead_out) {
    dbk_liveness liveness = dbk_source_liveness(source, stored->position);
    if (liveness == DBK_LIVE) liveness = dbk_stream_liveness(stream, stored->position);
    if (liveness == DBK_LIVE && dbk_clock_has_expired_at(append->expiry_ns, stream, stored))
        liveness = DBK_REMOVED;
    *dead_out = liveness != DBK_LIVE;
    return (liveness != DBK_REMOVED && !ids_age(stream)) || in_window(append, stream, stored->recorded_ns);
}

// The first segment of the view that may know an id of a stream that knows them in the window only:
// `recorded` does not go back.
static size_t first_in_window(const dbk_append *append, const dbk_stream *stream) {
    size_t at = ids_age(stream) ? append->view->segment_count : 0;
    while (at > 0) {
        const dbk_segment_summary *summary = dbk_segment_get_summary(append->view->sources[--at]->segment);
        if (summary->event_count > 0 && !in_window(append, stream, summary->recorded_first_ns)) break;
    }
    return at;
}

// What a candidate means: the event of this id, alive or removed, or something else of the same fingerprint.
static daybook_status check_candidate(dbk_append *append, dbk_append_event *event, dbk_source *source,
                                      uint64_t position, dbk_block_view *block, daybook_error *error) {
    dbk_event stored;
    daybook_status status = dbk_source_read(source, position, block, &stored, error);
    if (status == DAYBOOK_ENOTFOUND) return DAYBOOK_OK;
    if (status != DAYBOOK_OK) return status;
    if (stored.stream_id != event->stream->id ||
        !dbk_slice_equal(stored.id_key, dbk_append_id_key(append, event)))
        return DAYBOOK_OK;
    bool dead;
    if (!dbk_append_knows(append, event->stream, source, &stored, &dead)) return DAYBOOK_OK;
    event->stored_position = position;
    event->dead = dead;
    return DAYBOOK_OK;
}

static daybook_status resolve_id(dbk_append *append, dbk_append_event *event, daybook_error *error) {
    event->stored_position = 0;
    event->dead = false;
    dbk_block_view block = {0};
    daybook_status status = DAYBOOK_OK;
    dbk_sieve sieve;
    dbk_sieve_begin_id(append->view, event->stream->id, dbk_append_id_key(append, event), &sieve);
    sieve.oldest = first_in_window(append, event->stream);
    for (dbk_source *source; status == DAYBOOK_OK && (source = dbk_sieve_next(&sieve)) != NULL;) {
        dbk_id_lookup lookup = {0};
        status = dbk_segment_find_id(source->segment, event->stream->id, dbk_append_id_key(append, event),
                                     &lookup, error);
        for (size_t j = 0; status == DAYBOOK_OK && j < lookup.count && event->stored_position == 0; j++)
            status = check_candidate(append, event, source, lookup.positions[j], &block, error);
        if (status != DAYBOOK_OK || event->stored_position != 0) break;
        if (lookup.dead &&
            (lookup.dead_for_ever || in_window(append, event->stream, lookup.dead_removed_ns))) {
            event->dead = true;
            break;
        }
    }
    dbk_block_release(&block);
    return status;
}

static daybook_status resolve_ids(dbk_append *append, daybook_error *error) {
    for (size_t i = 0; i < append->count; i++) {
        if (append->events[i].id_supplied) DBK_TRY(resolve_id(append, &append->events[i], error));
    }
    return DAYBOOK_OK;
}

// ---- Events of a subject in segments ----------------------------------------------------------------------

typedef daybook_status (*visit_position)(void *context, dbk_source *source, uint64_t position,
                                         daybook_error *error);

// Every live event of a literal subject in the view's segments, ascending.
static daybook_status visit_subject(dbk_append *append, const dbk_append_event *event, visit_position visit,
                                    void *context, daybook_error *error) {
    dbk_term term;
    dbk_term_make(&term, DBK_TERM_SUBJECT, event->stream->id, dbk_append_subject(append, event));
    uint64_t first_position = atomic_load(&event->stream->first_position);
    for (size_t i = 0; i < append->view->segment_count; i++) {
        dbk_source *source = append->view->sources[i];
        dbk_term_entry entry;
        daybook_status status = dbk_segment_find_term(source->segment, dbk_term_slice(&term), &entry, error);
        if (status == DAYBOOK_ENOTFOUND) continue;
        if (status != DAYBOOK_OK) return status;
        if (entry.count == 0 || entry.last_position < first_position) continue;
        dbk_postings *postings;
        DBK_TRY(dbk_postings_open(source->segment, &entry, &postings, error));
        uint64_t position = first_position;
        while ((status = dbk_postings_seek(postings, position, &position, error)) == DAYBOOK_OK) {
            if (!dbk_source_is_dead(source, position)) status = visit(context, source, position, error);
            if (status != DAYBOOK_OK) break;
            position++;
        }
        dbk_postings_close(postings);
        if (status != DAYBOOK_END && status != DAYBOOK_OK) return status;
    }
    return DAYBOOK_OK;
}

static daybook_status count_position(void *context, dbk_source *source, uint64_t position,
                                     daybook_error *error) {
    (void)source, (void)position, (void)error;
    ++*(uint64_t *)context;
    return DAYBOOK_OK;
}

static daybook_status resolve_subject_counts(dbk_append *append, daybook_error *error) {
    for (size_t i = 0; i < append->count; i++) {
        dbk_append_event *event = &append->events[i];
        const daybook_stream_config *config = atomic_load(&event->stream->config);
        if ((config->flags & DAYBOOK_STREAM_DISCARD_NEW_PER_SUBJECT) == 0) continue;
        event->subject_count = 0;
        DBK_TRY(visit_subject(append, event, count_position, &event->subject_count, error));
    }
    return DAYBOOK_OK;
}

typedef struct rolling {
    dbk_append *append;
    dbk_roll_up *rolled;
    dbk_block_view block;
} rolling;

static daybook_status roll_position(void *context, dbk_source *source, uint64_t position,
                                    daybook_error *error) {
    rolling *rolls = context;
    dbk_roll_up *rolled = rolls->rolled;
    dbk_event event;
    DBK_TRY(dbk_source_read(source, position, &rolls->block, &event, error));
    if (dbk_ranges_add(&rolled->ranges, rolls->append->store->allocator, position) != DAYBOOK_OK)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory rolling up a subject");
    rolled->removed_count++;
    rolled->removed_bytes += dbk_event_cost(&event);
    return DAYBOOK_OK;
}

static daybook_status resolve_roll_ups(dbk_append *append, daybook_error *error) {
    const daybook_allocator *allocator = append->store->allocator;
    for (size_t i = 0; append->has_roll_up && i < append->count; i++) {
        dbk_append_event *event = &append->events[i];
        if (!dbk_slice_equal(event->roll_up, daybook_text("sub"))) continue;
        if (event->rolled != NULL) dbk_ranges_deinit(&event->rolled->ranges, allocator);
        dbk_free(allocator, event->rolled);
        event->rolled = dbk_alloc_zeroed(allocator, sizeof *event->rolled);
        if (event->rolled == NULL)
            return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory rolling up a subject");
        rolling rolls = {.append = append, .rolled = event->rolled};
        daybook_status status = visit_subject(append, event, roll_position, &rolls, error);
        dbk_block_release(&rolls.block);
        if (status != DAYBOOK_OK) return status;
    }
    return DAYBOOK_OK;
}

// ---- Conditions -------------------------------------------------------------------------------------------

// The streams that may count an aggregate which is not that of the first event: all that capture some of its
// subjects and name aggregates by as many tokens.
static daybook_status find_places(dbk_append *append, dbk_append_condition *condition, daybook_error *error) {
    const daybook_allocator *allocator = append->store->allocator;
    char filter[DAYBOOK_SUBJECT_SIZE_MAX + 1];
    dbk_slice aggregate = condition->aggregate;
    memcpy(filter, aggregate.data, aggregate.size); // its size was checked
    memcpy(filter + aggregate.size, ".>", 2);
    dbk_stream **streams;
    size_t count;
    daybook_status status = dbk_stream_table_overlapping(
        append->store->streams, daybook_bytes(filter, aggregate.size + 2), &streams, &count);
    dbk_version_place *places = status == DAYBOOK_OK && count > 1
                                    ? dbk_alloc_zeroed(allocator, count * sizeof *places)
                                    : &condition->place;
    if (status != DAYBOOK_OK || places == NULL) {
        dbk_free(allocator, streams);
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory looking up an aggregate");
    }
    condition->places = places;
    uint32_t token_count = dbk_subject_token_count(aggregate);
    for (size_t i = 0; i < count; i++) {
        if (streams[i]->aggregate_tokens == token_count)
            places[condition->place_count++] = (dbk_version_place){.stream = streams[i]};
    }
    dbk_free(allocator, streams);
    return DAYBOOK_OK;
}

static daybook_status resolve_expected_version(dbk_append *append, dbk_append_condition *condition,
                                               daybook_error *error) {
    if (condition->places != &condition->place) dbk_free(append->store->allocator, condition->places);
    condition->places = &condition->place;
    condition->place_count = 0;
    if (condition->stream != NULL) {
        condition->place = (dbk_version_place){.stream = condition->stream};
        condition->place_count = 1;
    } else {
        DBK_TRY(find_places(append, condition, error));
    }
    for (size_t i = 0; i < condition->place_count; i++) {
        dbk_version_place *place = &condition->places[i];
        dbk_term term;
        dbk_term_make(&term, DBK_TERM_AGGREGATE, place->stream->id, condition->aggregate);
        place->hash = dbk_term_hash(dbk_term_slice(&term));
        if (in_memtables(append->view, place->stream->id, condition->aggregate, place->hash)) continue;
        DBK_TRY(version_in_segments(append->view, place->stream->id, condition->aggregate, &place->version,
                                    error));
    }
    return DAYBOOK_OK;
}

bool dbk_append_expects_id_of(const dbk_append_condition *condition, const dbk_event *event) {
    dbk_slice expected = condition->said->id;
    if ((event->flags & DBK_EVENT_ID_MADE) != 0) return expected.size == 0;
    uint8_t scratch[DBK_KEY_SIZE_MAX];
    return expected.size > 0 && dbk_slice_equal(event->id_key, dbk_key_encode(expected, scratch));
}

// Has the newest event in segments the id that is expected last?
static daybook_status resolve_last_id(const dbk_append *append, dbk_append_condition *condition,
                                      daybook_error *error) {
    condition->has_id = false;
    if (condition->position == 0) return DAYBOOK_OK;
    dbk_source *source = append->view->sources[dbk_view_find(append->view, condition->position)];
    dbk_block_view block = {0};
    dbk_event event;
    daybook_status status = dbk_source_read(source, condition->position, &block, &event, error);
    if (status == DAYBOOK_OK) condition->has_id = dbk_append_expects_id_of(condition, &event);
    dbk_block_release(&block);
    return status;
}

static daybook_status resolve_condition(dbk_append *append, dbk_append_condition *condition,
                                        daybook_error *error) {
    const daybook_condition *said = condition->said;
    condition->position = condition->seq = 0;
    if (said->kind == DAYBOOK_EXPECT_VERSION) return resolve_expected_version(append, condition, error);
    if (said->kind == DAYBOOK_EXPECT_STREAM_SEQ) return DAYBOOK_OK;
    uint64_t from = said->kind == DAYBOOK_FAIL_IF_EVENTS_MATCH ? said->after + 1 : 1;
    if (from == 0) return DAYBOOK_OK; // after the greatest position there is nothing
    // Building the memory tables' term index is work for this thread, not for the leader.
    uint64_t position, seq;
    for (size_t i = append->view->segment_count; i < append->view->source_count; i++) {
        DBK_TRY(dbk_query_newest_in_memtable(append->store, append->view->sources[i], condition->stream,
                                             condition->items, condition->item_count, append->expiry_ns, from,
                                             UINT64_MAX, &position, &seq, error));
    }
    DBK_TRY(dbk_query_newest_in_segments(append->store, append->view, condition->stream, condition->items,
                                         condition->item_count, append->expiry_ns, from, &condition->position,
                                         &condition->seq, error));
    return said->kind == DAYBOOK_EXPECT_LAST_ID ? resolve_last_id(append, condition, error) : DAYBOOK_OK;
}

// ---- Ages -------------------------------------------------------------------------------------------------

static bool asks_for_time(const dbk_append *append) {
    if (append->condition_count > 0 && dbk_stream_table_has_ages(append->store->streams)) return true;
    for (size_t i = 0; i < append->count; i++) {
        if (append->events[i].id_supplied) return true;
    }
    return false;
}

// Would the stream have to refuse some of the append, unless something goes?
static bool is_full(const dbk_append *append, dbk_stream *stream) {
    const daybook_stream_config *config = atomic_load(&stream->config);
    if ((config->flags & DAYBOOK_STREAM_DISCARD_NEW_PER_SUBJECT) != 0)
        return true; // which subject is, is not known
    uint64_t count = 0, bytes = 0;
    for (size_t i = 0; i < append->count; i++) {
        if (append->events[i].stream != stream) continue;
        count++;
        bytes += append->events[i].cost;
    }
    pthread_mutex_lock(&append->store->state_lock);
    count += stream->pending_count + atomic_load(&stream->message_count);
    bytes += stream->pending_bytes + atomic_load(&stream->byte_count);
    pthread_mutex_unlock(&append->store->state_lock);
    return (config->max_msgs > 0 && count > config->max_msgs) ||
           (config->max_bytes > 0 && bytes > config->max_bytes);
}

// A stream that discards new events is not full of events that reads give no longer. What cannot be trimmed
// stays, and maintenance tells of it. Only where it is full: what expires is of all streams, and not this
// caller's work.
static void trim_aged(dbk_append *append) {
    const dbk_stream *trimmed = NULL;
    for (size_t i = 0; i < append->count; i++) {
        dbk_stream *stream = append->events[i].stream;
        const daybook_stream_config *config = atomic_load(&stream->config);
        if (stream == trimmed || config->discard != DAYBOOK_DISCARD_NEW) continue;
        if (dbk_stream_allows_ttl(stream) && dbk_store_has_expired(append->store) && is_full(append, stream))
            (void)dbk_store_expire_some(append->store, NULL);
        if (!dbk_stream_allows_ttl(stream) && config->max_age_ns > 0)
            (void)dbk_store_trim(append->store, stream, NULL);
        trimmed = stream;
    }
}

daybook_status dbk_append_resolve(dbk_append *append, daybook_error *error) {
    if (dbk_stream_table_has_ages(append->store->streams)) trim_aged(append);
    append->expiry_ns = asks_for_time(append) ? dbk_clock_expiry_ns(append->store) : 0;
    // The generation before the view: a removal in between is then noticed.
    append->removal_generation = dbk_commit_removal_generation(append->store);
    dbk_view_unref(append->view);
    append->view = dbk_store_get_view(append->store);
    DBK_TRY(resolve_versions(append, error));
    DBK_TRY(resolve_ids(append, error));
    DBK_TRY(resolve_subject_counts(append, error));
    DBK_TRY(resolve_roll_ups(append, error));
    for (size_t i = 0; i < append->condition_count; i++)
        DBK_TRY(resolve_condition(append, &append->conditions[i], error));
    return DAYBOOK_OK;
}
