// SPDX-License-Identifier: Apache-2.0
// The third step of an append, by the leader of its group, under state_lock and without I/O: duplicates, then
// conditions, then limits, then numbers. All conditions see the state before this append; the events of
// earlier appends of the same group are part of it. Until the last check has passed nothing is changed, and
// what is changed then cannot fail.
#include <stdio.h>

#include "base/assert.h"
#include "base/time.h"
#include "store/commit.h"

// ---- Duplicates -------------------------------------------------------------------------------------------

// Look for the id in the memory tables; segments were looked at before.
static void find_stored(dbk_append *append, dbk_view *view, dbk_append_event *event) {
    for (size_t i = view->source_count; i-- > view->segment_count;) {
        dbk_source *source = view->sources[i];
        uint64_t position;
        if (!dbk_memtable_find_id(source->memtable, event->stream->id, dbk_append_id_key(append, event),
                                  event->hashes.id, &position))
            continue;
        dbk_event stored;
        if (dbk_memtable_get(source->memtable, position, &stored) != DAYBOOK_OK) continue;
        bool dead;
        if (!dbk_append_knows(append, event->stream, source, &stored, &dead)) continue;
        event->stored_position = position;
        event->dead = dead;
        return;
    }
}

// Name the ids that are stored, as many as fit.
static daybook_status fail_mixed(const dbk_append *append, daybook_error *error) {
    char ids[300] = "";
    size_t used = 0;
    for (size_t i = 0; i < append->count; i++) {
        const dbk_append_event *event = &append->events[i];
        if (event->stored_position == 0 && !event->dead) continue;
        char scratch[37];
        dbk_slice id = dbk_key_text(dbk_append_id_key(append, event), scratch);
        int size = snprintf(ids + used, sizeof ids - used, "%s%.*s", used > 0 ? ", " : "", (int)id.size,
                            (const char *)id.data);
        if (size < 0 || used + (size_t)size >= sizeof ids) {
            ids[used] = '\0';
            break;
        }
        used += (size_t)size;
    }
    return dbk_fail(error, DAYBOOK_EMIXED,
                    "the batch mixes stored and new ids; stored: %s; append the new ones alone", ids);
}

static daybook_status decide_duplicates(dbk_append *append, dbk_view *view, daybook_error *error) {
    size_t stored = 0;
    for (size_t i = 0; i < append->count; i++) {
        dbk_append_event *event = &append->events[i];
        if (event->id_supplied && event->stored_position == 0 && !event->dead)
            find_stored(append, view, event);
        if (event->stored_position != 0 || event->dead) stored++;
    }
    append->duplicate = stored > 0 && stored == append->count - append->rider_count;
    if (stored > 0 && !append->duplicate) return fail_mixed(append, error);
    return DAYBOOK_OK;
}

// ---- Conditions -------------------------------------------------------------------------------------------

static uint64_t current_version(dbk_view *view, uint32_t stream_id, dbk_slice aggregate, uint64_t hash,
                                uint64_t in_segments) {
    uint64_t version;
    for (size_t i = view->source_count; i-- > view->segment_count;) {
        if (dbk_memtable_peek_version(view->sources[i]->memtable, stream_id, aggregate, hash, &version))
            return version;
    }
    return in_segments;
}

// Newest match: memory tables from the newest on, then what segments gave.
static daybook_status newest_match(dbk_append *append, dbk_view *view, const dbk_append_condition *condition,
                                   uint64_t *position_out, uint64_t *seq_out, daybook_error *error) {
    const daybook_condition *said = condition->said;
    uint64_t from = said->kind == DAYBOOK_FAIL_IF_EVENTS_MATCH ? said->after + 1 : 1;
    *position_out = condition->position;
    *seq_out = condition->seq;
    for (size_t i = view->source_count; from != 0 && i-- > view->segment_count;) {
        uint64_t position, seq;
        DBK_TRY(dbk_query_newest_in_memtable(append->store, view->sources[i], condition->stream,
                                             condition->items, condition->item_count, append->expiry_ns, from,
                                             UINT64_MAX, &position, &seq, error));
        if (position == 0) continue;
        *position_out = position;
        *seq_out = seq;
        return DAYBOOK_OK;
    }
    return DAYBOOK_OK;
}

static daybook_status fail_condition(daybook_error *error, size_t index, uint64_t expected, uint64_t actual,
                                     const char *what, dbk_slice name) {
    daybook_status status =
        dbk_fail(error, DAYBOOK_ECONFLICT,
                 "conflict: %s %.*s is at %llu, you expected %llu; read, decide again, append again", what,
                 (int)(name.size < 200 ? name.size : 200), (const char *)name.data,
                 (unsigned long long)actual, (unsigned long long)expected);
    if (error != NULL) {
        error->condition = (uint32_t)index;
        error->expected = expected;
        error->actual = actual;
    }
    return status;
}

static bool is_last_id(dbk_view *view, const dbk_append_condition *condition, uint64_t position) {
    if (position == 0) return condition->said->id.size == 0;
    if (position == condition->position) return condition->has_id; // in a segment, and read before
    dbk_event event;
    for (size_t i = view->segment_count; i < view->source_count; i++) {
        if (dbk_memtable_get(view->sources[i]->memtable, position, &event) == DAYBOOK_OK)
            return dbk_append_expects_id_of(condition, &event);
    }
    DBK_UNREACHABLE();
}

static daybook_status fail_last_id(const dbk_append_condition *condition, size_t index, uint64_t seq,
                                   daybook_error *error) {
    dbk_slice id = condition->said->id;
    (void)dbk_fail(error, DAYBOOK_ECONFLICT,
                   "conflict: the last event of stream %.*s, seq %llu, has another id than '%.*s', which you "
                   "expected; read, decide again, append again",
                   (int)condition->stream->name.size, (const char *)condition->stream->name.data,
                   (unsigned long long)seq, (int)id.size, (const char *)id.data);
    if (error != NULL) {
        error->condition = (uint32_t)index;
        error->actual = seq;
    }
    return DAYBOOK_ECONFLICT;
}

static daybook_status decide_condition(dbk_append *append, dbk_view *view, size_t index,
                                       daybook_error *error) {
    const dbk_append_condition *condition = &append->conditions[index];
    const daybook_condition *said = condition->said;
    uint64_t position, seq;
    switch (said->kind) {
    case DAYBOOK_EXPECT_STREAM_SEQ:
        if (condition->stream->last_seq == said->expected) return DAYBOOK_OK;
        return fail_condition(error, index, said->expected, condition->stream->last_seq, "stream",
                              condition->stream->name);
    case DAYBOOK_EXPECT_VERSION: {
        uint64_t version = 0;
        for (size_t i = 0; i < condition->place_count; i++) {
            const dbk_version_place *place = &condition->places[i];
            uint64_t there =
                current_version(view, place->stream->id, condition->aggregate, place->hash, place->version);
            if (there > version) version = there;
        }
        if (version == said->expected) return DAYBOOK_OK;
        return fail_condition(error, index, said->expected, version, "version of", condition->aggregate);
    }
    case DAYBOOK_EXPECT_SUBJECT_SEQ:
        DBK_TRY(newest_match(append, view, condition, &position, &seq, error));
        if (seq == said->expected) return DAYBOOK_OK;
        return fail_condition(error, index, said->expected, seq, "last seq of subject",
                              condition->item.filter);
    case DAYBOOK_EXPECT_LAST_ID:
        DBK_TRY(newest_match(append, view, condition, &position, &seq, error));
        return is_last_id(view, condition, position) ? DAYBOOK_OK
                                                     : fail_last_id(condition, index, seq, error);
    default:
        DBK_TRY(newest_match(append, view, condition, &position, &seq, error));
        if (position == 0) return DAYBOOK_OK;
        (void)dbk_fail(error, DAYBOOK_ECONFLICT,
                       "conflict: an event at position %llu matches the query, behind %llu; read, decide "
                       "again, append again",
                       (unsigned long long)position, (unsigned long long)said->after);
        if (error != NULL) {
            error->condition = (uint32_t)index;
            error->expected = said->after;
            error->actual = position;
        }
        return DAYBOOK_ECONFLICT;
    }
}

// Given seqs ascend, so the first decides. Never is one given again, whatever was removed.
static daybook_status decide_seqs(const dbk_append *append, daybook_error *error) {
    const dbk_append_event *first = &append->events[0];
    if (!append->has_given_seqs || first->given_seq > first->stream->last_seq) return DAYBOOK_OK;
    return fail_condition(error, append->condition_count, first->given_seq, first->stream->last_seq, "stream",
                          first->stream->name);
}

// ---- Limits -----------------------------------------------------------------------------------------------

static uint64_t live_in_memtables(const dbk_append *append, dbk_view *view, const dbk_append_event *event) {
    dbk_term term;
    dbk_term_make(&term, DBK_TERM_SUBJECT, event->stream->id, dbk_append_subject(append, event));
    uint64_t live = 0;
    uint64_t first_position = atomic_load(&event->stream->first_position);
    for (size_t i = view->segment_count; i < view->source_count; i++) {
        uint64_t positions[64];
        uint64_t last = UINT64_MAX;
        for (size_t count = 1; count > 0 && last >= first_position; last = positions[count - 1] - 1) {
            if (dbk_memtable_postings_back(view->sources[i]->memtable, dbk_term_slice(&term), first_position,
                                           last, positions, 64, &count) != DAYBOOK_OK ||
                count == 0)
                break;
            for (size_t j = 0; j < count; j++) live += !dbk_source_is_dead(view->sources[i], positions[j]);
        }
    }
    return live;
}

typedef struct stream_limit {
    daybook_limit kind;
    const char *name;
    uint64_t allowed;
} stream_limit;

static daybook_status fail_limit(daybook_error *error, size_t index, const dbk_stream *stream,
                                 const stream_limit *limit, uint64_t actual) {
    daybook_status status = dbk_fail_limit(error, limit->kind, limit->allowed, actual,
                                           "stream %.*s is full: it allows %s %llu and discards new events",
                                           (int)stream->name.size, (const char *)stream->name.data,
                                           limit->name, (unsigned long long)limit->allowed);
    if (error != NULL) error->event = (uint32_t)index;
    return status;
}

static uint64_t same_subject_before(const dbk_append *append, size_t index) {
    uint64_t count = 0;
    for (size_t i = 0; i < index; i++) {
        count += append->events[i].stream == append->events[index].stream &&
                 append->events[i].hashes.subject == append->events[index].hashes.subject;
    }
    return count;
}

// The event with all of its batch before it, against the limits of a stream that discards new events.
static daybook_status decide_limit(dbk_append *append, dbk_view *view, size_t index, daybook_error *error) {
    const dbk_append_event *event = &append->events[index];
    dbk_stream *stream = event->stream;
    const daybook_stream_config *config = atomic_load(&stream->config);
    if (config->discard != DAYBOOK_DISCARD_NEW || append->is_marker) return DAYBOOK_OK;
    uint64_t count = atomic_load(&stream->message_count) + stream->pending_count + ++stream->batch_count;
    stream->batch_bytes += event->cost;
    uint64_t bytes = atomic_load(&stream->byte_count) + stream->pending_bytes + stream->batch_bytes;
    stream_limit msgs = {DAYBOOK_LIMIT_MAX_MSGS, "max_msgs", config->max_msgs};
    stream_limit size = {DAYBOOK_LIMIT_MAX_BYTES, "max_bytes", config->max_bytes};
    if (msgs.allowed > 0 && count > msgs.allowed) return fail_limit(error, index, stream, &msgs, count);
    if (size.allowed > 0 && bytes > size.allowed) return fail_limit(error, index, stream, &size, bytes);
    if ((config->flags & DAYBOOK_STREAM_DISCARD_NEW_PER_SUBJECT) == 0) return DAYBOOK_OK;
    uint64_t of_subject = event->subject_count + live_in_memtables(append, view, event) +
                          same_subject_before(append, index) + 1;
    stream_limit per_subject = {DAYBOOK_LIMIT_MAX_MSGS_PER_SUBJECT, "max_msgs_per_subject",
                                config->max_msgs_per_subject};
    if (of_subject <= per_subject.allowed) return DAYBOOK_OK;
    return fail_limit(error, index, stream, &per_subject, of_subject);
}

static daybook_status decide_limits(dbk_append *append, dbk_view *view, daybook_error *error) {
    daybook_status status = DAYBOOK_OK;
    for (size_t i = 0; status == DAYBOOK_OK && i < append->count; i++)
        status = decide_limit(append, view, i, error);
    for (size_t i = 0; i < append->count; i++)
        append->events[i].stream->batch_count = append->events[i].stream->batch_bytes = 0;
    return status;
}

// ---- Numbers ----------------------------------------------------------------------------------------------

static void number_events(dbk_append *append, dbk_view *view) {
    daybook_store *store = append->store;
    uint64_t position = store->next_position;
    for (size_t i = 0; i < append->count; i++) {
        dbk_append_event *event = &append->events[i];
        event->position = position++;
        // A batch may go to several streams: count from the events before.
        event->seq_before = event->stream->last_seq;
        event->seq = event->given_seq > 0 ? event->given_seq : event->seq_before + 1;
        event->stream->last_seq = event->seq;
        if (event->aggregate_size == 0) {
            event->version = 0;
        } else if (event->first == i) {
            dbk_slice aggregate =
                daybook_bytes(dbk_append_subject(append, event).data, event->aggregate_size);
            event->version = current_version(view, event->stream->id, aggregate, event->hashes.aggregate,
                                             event->version_base) +
                             1;
        } else {
            event->version = append->events[event->first].version + event->rank;
        }
    }
}

static void take_back_numbers(dbk_append *append) {
    for (size_t i = append->count; i-- > 0;)
        append->events[i].stream->last_seq = append->events[i].seq_before;
}

// Stored forms into the reserved memory and the group. The group is as it was on failure.
static daybook_status write_events(dbk_append *append, uint8_t *stored, dbk_journal_group *group) {
    size_t group_size = group == NULL ? 0 : dbk_journal_group_size(group);
    for (size_t i = 0; i < append->count; i++) {
        dbk_append_event *event = &append->events[i];
        dbk_slice body = dbk_append_body(append, event);
        dbk_event assigned = {.stream_id = event->stream->id,
                              .position = event->position,
                              .seq = event->seq,
                              .version = event->version,
                              .recorded_ns = append->recorded_ns};
        dbk_event_encode_head(stored, &assigned, body.size);
        memcpy(stored + DBK_EVENT_HEAD_SIZE, body.data, body.size);
        if (!event->id_supplied)
            dbk_event_set_id_time(stored + DBK_EVENT_HEAD_SIZE, event->id_offset, append->recorded_ns);
        if (event->stream->storage == DAYBOOK_STORAGE_FILE &&
            dbk_journal_group_append(group, stored, DBK_EVENT_HEAD_SIZE + body.size) != DAYBOOK_OK) {
            dbk_journal_group_truncate(group, group_size);
            return DAYBOOK_ENOMEM;
        }
        stored += dbk_memtable_stored_size(body.size);
    }
    return DAYBOOK_OK;
}

// Events that are in no journal would have their positions given again after a crash. So the journal says up
// to where positions may be spent, once for many events. *end_out is what it says; the group is as it was on
// failure.
static daybook_status reserve_positions(const dbk_append *append, dbk_journal_group *group,
                                        uint64_t *end_out) {
    const daybook_store *store = append->store;
    uint64_t last = 0;
    *end_out = store->positions_end;
    for (size_t i = 0; i < append->count; i++) {
        if (append->events[i].stream->storage == DAYBOOK_STORAGE_MEMORY) last = append->events[i].position;
    }
    if (last < store->positions_end || last == 0) return DAYBOOK_OK;
    uint8_t record[DBK_POSITIONS_SIZE];
    *end_out = last + DBK_RESERVED_POSITIONS;
    dbk_positions_encode(*end_out, record);
    return dbk_journal_group_append(group, record, sizeof record);
}

static void insert_events(dbk_append *append, const uint8_t *stored) {
    dbk_memtable *memtable = append->store->active->memtable;
    dbk_memtable_begin_insert(memtable);
    for (size_t i = 0; i < append->count; i++) {
        const dbk_append_event *event = &append->events[i];
        const uint8_t *body = stored + DBK_EVENT_HEAD_SIZE;
        dbk_event inserted = {
            .stream_id = event->stream->id,
            .position = event->position,
            .seq = event->seq,
            .version = event->version,
            .recorded_ns = append->recorded_ns,
            .aggregate_size = event->aggregate_size,
            .subject = daybook_bytes(body + event->subject_offset, event->subject_size),
            .id_key = daybook_bytes(body + event->id_offset, event->id_size),
            .body = daybook_bytes(body, event->body_size),
        };
        dbk_memtable_insert(memtable, &inserted, &event->hashes);
        stored += dbk_memtable_stored_size(event->body_size);
    }
    dbk_memtable_end_insert(memtable);
}

// ---- Roll-up ----------------------------------------------------------------------------------------------

// The live events of the subject in one memory table, ascending.
static daybook_status roll_memtable(dbk_append *append, dbk_source *source, const dbk_append_event *event,
                                    dbk_ranges *removed, dbk_remove *record) {
    dbk_term term;
    dbk_term_make(&term, DBK_TERM_SUBJECT, event->stream->id, dbk_append_subject(append, event));
    uint64_t next = atomic_load(&event->stream->first_position);
    for (;;) {
        uint64_t positions[256];
        size_t count;
        DBK_TRY(dbk_memtable_postings(source->memtable, dbk_term_slice(&term), next, UINT64_MAX, positions,
                                      256, &count));
        for (size_t i = 0; i < count; i++) {
            dbk_event stored;
            if (dbk_source_is_dead(source, positions[i])) continue;
            DBK_TRY(dbk_memtable_get(source->memtable, positions[i], &stored));
            DBK_TRY(dbk_ranges_add(removed, append->store->allocator, positions[i]));
            record->removed_count++;
            record->removed_bytes += dbk_event_cost(&stored);
        }
        if (count < 256) return DAYBOOK_OK;
        next = positions[count - 1] + 1;
    }
}

// Was everything of the stream, or of the event's subject, removed by a roll-up of the batch before it?
static bool is_rolled_before(const dbk_append *append, size_t index, bool by_all_only) {
    const dbk_append_event *event = &append->events[index];
    for (size_t i = 0; i < index; i++) {
        const dbk_append_event *other = &append->events[i];
        if (other->roll_up.size == 0 || other->stream != event->stream) continue;
        if (other->rolled == NULL) return true;
        if (!by_all_only &&
            dbk_slice_equal(dbk_append_subject(append, other), dbk_append_subject(append, event)))
            return true;
    }
    return false;
}

// Events of the batch before a roll-up go as well; each is counted by the first roll-up that removes it.
// `removed` is NULL where a mark covers their positions.
static daybook_status roll_batch(dbk_append *append, size_t index, dbk_ranges *removed, dbk_remove *record) {
    const dbk_append_event *event = &append->events[index];
    for (size_t i = 0; i < index; i++) {
        dbk_append_event *other = &append->events[i];
        if (other->stream != event->stream || other->rolled_away) continue;
        if (removed != NULL &&
            !dbk_slice_equal(dbk_append_subject(append, other), dbk_append_subject(append, event)))
            continue;
        if (removed != NULL) DBK_TRY(dbk_ranges_add(removed, append->store->allocator, other->position));
        other->rolled_away = true;
        record->removed_count++;
        record->removed_bytes += other->cost;
    }
    return DAYBOOK_OK;
}

static daybook_status roll_stored(dbk_append *append, dbk_view *view, const dbk_append_event *event,
                                  dbk_ranges *removed, dbk_remove *record) {
    for (size_t i = 0; i < event->rolled->ranges.count; i++) {
        const dbk_position_range *range = &event->rolled->ranges.items[i];
        for (uint64_t position = range->first; position <= range->last; position++)
            DBK_TRY(dbk_ranges_add(removed, append->store->allocator, position));
    }
    record->removed_count = event->rolled->removed_count;
    record->removed_bytes = event->rolled->removed_bytes;
    for (size_t i = view->segment_count; i < view->source_count; i++)
        DBK_TRY(roll_memtable(append, view->sources[i], event, removed, record));
    return DAYBOOK_OK;
}

static daybook_status roll_up_subject(dbk_append *append, dbk_view *view, size_t index, dbk_remove *record) {
    dbk_append_event *event = &append->events[index];
    dbk_ranges removed = {0};
    daybook_status status = DAYBOOK_OK;
    if (!is_rolled_before(append, index, false)) status = roll_stored(append, view, event, &removed, record);
    event->rolled_count = record->removed_count;
    event->rolled_bytes = record->removed_bytes;
    if (status == DAYBOOK_OK) status = roll_batch(append, index, &removed, record);
    if (status == DAYBOOK_OK && removed.count > 0)
        status = dbk_remove_encode(record, removed.items, removed.count, &append->removals);
    dbk_ranges_deinit(&removed, append->store->allocator);
    return status;
}

// A mark: all of the stream below the event. What earlier roll-ups of the batch removed is counted by them.
static daybook_status roll_up_all(dbk_append *append, size_t index, dbk_remove *record) {
    dbk_append_event *event = &append->events[index];
    record->first_seq = event->seq;
    record->first_position = event->position;
    if (!is_rolled_before(append, index, true)) {
        record->removed_count = atomic_load(&event->stream->message_count) + event->stream->pending_count;
        record->removed_bytes = atomic_load(&event->stream->byte_count) + event->stream->pending_bytes;
        for (size_t i = 0; i < index; i++) {
            if (append->events[i].stream != event->stream) continue;
            record->removed_count -= append->events[i].rolled_count;
            record->removed_bytes -= append->events[i].rolled_bytes;
        }
    }
    DBK_TRY(roll_batch(append, index, NULL, record));
    return dbk_remove_encode(record, NULL, 0, &append->removals);
}

// Records of what the batch's roll-ups remove, built before the events are inserted: only what is older goes.
static daybook_status roll_up(dbk_append *append, dbk_view *view) {
    dbk_buf_reset(&append->removals);
    for (size_t i = 0; append->has_roll_up && i < append->count; i++)
        append->events[i].rolled_count = append->events[i].rolled_bytes = append->events[i].rolled_away = 0;
    for (size_t i = 0; append->has_roll_up && i < append->count; i++) {
        const dbk_append_event *event = &append->events[i];
        if (event->roll_up.size == 0) continue;
        dbk_remove record = {.stream_id = event->stream->id, .reason = DBK_REMOVE_ROLLUP};
        DBK_TRY(event->rolled != NULL ? roll_up_subject(append, view, i, &record)
                                      : roll_up_all(append, i, &record));
    }
    return DAYBOOK_OK;
}

// ---- Decide -----------------------------------------------------------------------------------------------

static daybook_status assign(dbk_append *append, dbk_view *view, dbk_journal_group *group) {
    daybook_store *store = append->store;
    size_t stored_bytes = 0;
    for (size_t i = 0; i < append->count; i++)
        stored_bytes += dbk_memtable_stored_size(append->events[i].body_size);
    uint8_t *stored;
    DBK_TRY(dbk_memtable_reserve(store->active->memtable, append->count, stored_bytes, &stored));
    number_events(append, view);
    size_t group_size = dbk_journal_group_size(group);
    daybook_status status = roll_up(append, view);
    uint64_t positions_end = 0;
    if (status == DAYBOOK_OK) status = reserve_positions(append, group, &positions_end);
    if (status == DAYBOOK_OK) status = write_events(append, stored, group);
    if (status == DAYBOOK_OK && append->removals.size > 0)
        status = dbk_journal_group_append(group, append->removals.data, append->removals.size);
    if (status != DAYBOOK_OK) {
        dbk_journal_group_truncate(group, group_size);
        take_back_numbers(append);
        return status;
    }
    insert_events(append, stored);
    store->next_position += append->count;
    store->positions_end = positions_end;
    store->last_recorded_ns = append->recorded_ns;
    return DAYBOOK_OK;
}

daybook_status dbk_append_decide(dbk_append *append, dbk_view *view, dbk_journal_group *group,
                                 daybook_error *error) {
    daybook_store *store = append->store;
    for (size_t i = 0; i < append->count; i++) {
        if (!atomic_load(&append->events[i].stream->removed)) continue;
        (void)dbk_fail(error, DAYBOOK_ENOSTREAM, "stream %.*s was removed meanwhile",
                       (int)append->events[i].stream->name.size,
                       (const char *)append->events[i].stream->name.data);
        if (error != NULL) error->event = (uint32_t)i;
        return DAYBOOK_ENOSTREAM;
    }
    int64_t now_ns = store->vfs->clock_real_ns(store->vfs);
    append->recorded_ns = now_ns > store->last_recorded_ns ? now_ns : store->last_recorded_ns;
    DBK_TRY(decide_duplicates(append, view, error));
    if (append->duplicate) return DAYBOOK_OK;
    for (size_t i = 0; i < append->condition_count; i++) DBK_TRY(decide_condition(append, view, i, error));
    DBK_TRY(decide_seqs(append, error));
    DBK_TRY(decide_limits(append, view, error));
    if (assign(append, view, group) != DAYBOOK_OK)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory: nothing was appended");
    return DAYBOOK_OK;
}
