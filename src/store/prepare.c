// SPDX-License-Identifier: Apache-2.0
// The first step of an append, in the caller's thread and without locks: everything the caller said is
// checked against the limits, each event finds its stream, and its body is encoded. What comes after knows
// only dbk_append.
#include <stdio.h>

#include "base/assert.h"
#include "store/commit.h"
#include "store/query.h"
#include "subject/subject.h"

enum {
    LIKELY_SUBJECT_COUNT_MAX = 4,     // with more, asking the table is cheaper
    OTHER_FIELDS_SIZE_MAX = 64 << 10, // of a body without headers, beside its data
    EXPECTED_SLACK = 64,
    EXPECTED_SIZE_MAX = 1 << 20,
};
_Static_assert((DAYBOOK_TAG_COUNT_MAX + 8) * (DAYBOOK_TEXT_SIZE_MAX + 4) + DAYBOOK_SUBJECT_SIZE_MAX <
                   OTHER_FIELDS_SIZE_MAX,
               "tags, subject and short texts with their lengths");

void daybook_append_options_init(daybook_append_options *options) {
    *options = (daybook_append_options){.size = sizeof *options};
}

void daybook_condition_init(daybook_condition *condition, int kind) {
    *condition = (daybook_condition){.size = sizeof *condition, .kind = kind};
}

// ---- Streams and bodies -----------------------------------------------------------------------------------

// Does the stream capture the subject? No two streams capture the same one, so then no other does.
static bool captures(const dbk_stream *stream, dbk_slice subject) {
    const daybook_stream_config *config = atomic_load(&stream->config);
    if (atomic_load(&stream->removed) || config->subject_count > LIKELY_SUBJECT_COUNT_MAX) return false;
    for (size_t i = 0; i < config->subject_count; i++) {
        if (daybook_filter_matches(config->subjects[i], subject)) return true;
    }
    return false;
}

static dbk_slice named_stream(const daybook_append_options *options) {
    bool has_it = options != NULL && options->size >= offsetof(daybook_append_options, seqs);
    return has_it ? options->stream : daybook_bytes(NULL, 0);
}

// NULL: the next ones.
static const uint64_t *given_seqs(const daybook_append_options *options) {
    return options != NULL && options->size >= offsetof(daybook_append_options, bundle) ? options->seqs
                                                                                        : NULL;
}

static daybook_status fail_seq(daybook_error *error, uint32_t index, const char *why) {
    daybook_status status = dbk_fail(error, DAYBOOK_EINVALID, "the append gives its events seqs: %s", why);
    if (error != NULL) error->event = index;
    return status;
}

// The seq that the caller gave the event. Whether it is free, the leader sees.
static daybook_status take_seq(dbk_append *append, const uint64_t *seqs, dbk_slice named, uint32_t index,
                               dbk_append_event *event, daybook_error *error) {
    if (named.size == 0) return fail_seq(error, index, "name their stream, too");
    if (!dbk_stream_has_given_seqs(event->stream))
        return fail_seq(error, index, "their stream takes none; make one with DAYBOOK_STREAM_GIVEN_SEQS");
    if (seqs[index] == 0 || seqs[index] > DBK_SEQ_GIVEN_MAX)
        return fail_seq(error, index, "one is 0, or 2^62 or more");
    if (index > 0 && seqs[index] <= seqs[index - 1])
        return fail_seq(error, index, "one is not greater than the one before; sort them");
    event->given_seq = seqs[index];
    append->has_given_seqs = true;
    return DAYBOOK_OK;
}

// The stream the caller named takes the subject: it captures it, or takes any.
static bool takes(const dbk_stream *stream, dbk_slice subject) {
    const daybook_stream_config *config = atomic_load(&stream->config);
    if ((config->flags & DAYBOOK_STREAM_OTHER_SUBJECTS) != 0) return true;
    for (size_t i = 0; i < config->subject_count; i++) {
        if (daybook_filter_matches(config->subjects[i], subject)) return true;
    }
    return false;
}

static daybook_status find_named_stream(const dbk_append *append, dbk_slice name, const daybook_event *said,
                                        uint32_t index, dbk_append_event *event, daybook_error *error) {
    dbk_stream *stream = index > 0 ? append->events[index - 1].stream
                                   : dbk_stream_table_find(append->store->streams, name);
    if (error != NULL) error->event = index;
    if (stream == NULL)
        return dbk_fail(
            error, DAYBOOK_ENOSTREAM, "the append names stream '%.*s': there is no such stream",
            (int)(name.size < DAYBOOK_STREAM_NAME_SIZE_MAX ? name.size : DAYBOOK_STREAM_NAME_SIZE_MAX),
            (const char *)name.data);
    if (!takes(stream, said->subject))
        return dbk_fail(
            error, DAYBOOK_ENOSTREAM,
            "stream %.*s, which the append names, does not capture '%.*s': leave its name out, or "
            "let it take other subjects",
            (int)stream->name.size, (const char *)stream->name.data, (int)said->subject.size,
            (const char *)said->subject.data);
    event->stream = stream;
    return DAYBOOK_OK;
}

static daybook_status find_stream(dbk_append *append, const daybook_event *said, uint32_t index,
                                  bool auto_stream, dbk_append_event *event, daybook_error *error) {
    // Most events of a batch go where the one before went: no need to ask the table, which takes a lock.
    dbk_stream *stream = index > 0 ? append->events[index - 1].stream : NULL;
    if (stream == NULL || !captures(stream, said->subject))
        stream = dbk_stream_table_capture(append->store->streams, said->subject);
    bool created = false;
    if (stream == NULL && auto_stream)
        DBK_TRY(dbk_stream_add_for_subject(append->store, said->subject, &stream, &created, error));
    if (stream == NULL) {
        if (error != NULL) error->event = index;
        return dbk_fail(error, DAYBOOK_ENOSTREAM,
                        "no stream captures '%.*s': add one, or allow automatic streams",
                        (int)said->subject.size, (const char *)said->subject.data);
    }
    event->stream = stream;
    if (created && append->receipts != NULL) {
        // Said at once: the stream stays, also where the append is refused.
        append->receipts[index].flags |= DAYBOOK_RECEIPT_STREAM_CREATED;
        append->receipts[index].stream = stream->name;
    }
    return DAYBOOK_OK;
}

static bool equals_ignoring_case(dbk_slice a, const char *lower) {
    size_t i = 0;
    for (; i < a.size && lower[i] != '\0'; i++) {
        char byte = ((const char *)a.data)[i];
        if (byte >= 'A' && byte <= 'Z') byte = (char)(byte - 'A' + 'a');
        if (byte != lower[i]) return false;
    }
    return i == a.size && lower[i] == '\0';
}

static daybook_status check_ttl(const daybook_event *said, const daybook_stream_config *config,
                                daybook_error *error) {
    if (said->ttl_s == 0 || (config->flags & DAYBOOK_STREAM_ALLOW_TTL) != 0) return DAYBOOK_OK;
    return dbk_fail(
        error, DAYBOOK_EINVALID,
        "stream %.*s does not allow events with a time to live of their own: edit it, or leave ttl_s 0",
        (int)config->name.size, (const char *)config->name.data);
}

// Header Nats-Rollup (NATS ADR-7): what the event removes of what is older.
static daybook_status find_roll_up(const daybook_event *said, const daybook_stream_config *config,
                                   dbk_append_event *event, daybook_error *error) {
    for (size_t i = 0; i < said->header_count; i++) {
        if (!equals_ignoring_case(said->headers[i].name, "nats-rollup")) continue;
        if ((config->flags & DAYBOOK_STREAM_ALLOW_ROLLUP) == 0)
            return dbk_fail(
                error, DAYBOOK_EINVALID,
                "stream %.*s does not allow roll-up: edit it, or leave out the header Nats-Rollup",
                (int)config->name.size, (const char *)config->name.data);
        if (equals_ignoring_case(said->headers[i].value, "sub")) {
            event->roll_up = daybook_text("sub");
        } else if (equals_ignoring_case(said->headers[i].value, "all")) {
            event->roll_up = daybook_text("all");
        } else {
            return dbk_fail(error, DAYBOOK_EINVALID, "header Nats-Rollup is neither 'sub' nor 'all'");
        }
        return DAYBOOK_OK;
    }
    return DAYBOOK_OK;
}

static uint64_t message_size(const daybook_event *said) {
    uint64_t size = said->data.size;
    for (size_t i = 0; i < said->header_count; i++)
        size += said->headers[i].name.size + said->headers[i].value.size;
    return size;
}

static void hash_event(const dbk_append *append, dbk_append_event *event) {
    dbk_term term;
    dbk_slice subject = dbk_append_subject(append, event);
    dbk_term_make(&term, DBK_TERM_SUBJECT, event->stream->id, subject);
    event->hashes.subject = dbk_term_hash(dbk_term_slice(&term));
    if (event->aggregate_size > 0) {
        dbk_term_make(&term, DBK_TERM_AGGREGATE, event->stream->id,
                      daybook_bytes(subject.data, event->aggregate_size));
        event->hashes.aggregate = dbk_term_hash(dbk_term_slice(&term));
    }
    if (event->id_supplied)
        event->hashes.id = dbk_memtable_id_hash(event->stream->id, dbk_append_id_key(append, event));
}

static daybook_status encode_event(dbk_append *append, const daybook_event *said, dbk_append_event *event,
                                   const uint8_t random[10], daybook_error *error) {
    const daybook_stream_config *config = atomic_load(&event->stream->config);
    uint64_t size = append->is_marker ? 0 : message_size(said); // it takes the place of another
    if (config->max_msg_size > 0 && size > config->max_msg_size)
        return dbk_fail_limit(error, DAYBOOK_LIMIT_MAX_MSG_SIZE, config->max_msg_size, size,
                              "the event has %llu bytes of data and headers: stream %.*s allows %llu",
                              (unsigned long long)size, (int)config->name.size,
                              (const char *)config->name.data, (unsigned long long)config->max_msg_size);
    DBK_TRY(check_ttl(said, config, error));
    if (!append->is_marker) DBK_TRY(find_roll_up(said, config, event, error));
    if (event->roll_up.size > 0) append->has_roll_up = true;
    if (config->sync_interval_ns == 0 || event->roll_up.size > 0) append->deferrable = false;
    event->id_supplied = said->id.size > 0;
    event->aggregate_size =
        (uint32_t)dbk_subject_aggregate_size(said->subject, event->stream->aggregate_tokens);
    event->body_offset = append->bodies.size;
    dbk_uuid made;
    dbk_uuid_make_v7(0, random, &made);
    dbk_event_layout layout;
    size_t left = DAYBOOK_BATCH_SIZE_MAX - append->bodies.size;
    bool is_ordinary = said->header_count == 0 && said->data.size + OTHER_FIELDS_SIZE_MAX <= left;
    size_t size_bound = is_ordinary ? 0 : dbk_event_body_size_bound(said);
    if (size_bound > left)
        return dbk_fail_limit(error, DAYBOOK_LIMIT_BATCH_SIZE, DAYBOOK_BATCH_SIZE_MAX,
                              append->bodies.size + size_bound,
                              "the batch takes more than %d bytes: split it", DAYBOOK_BATCH_SIZE_MAX);
    if (dbk_event_encode_body(said, event->aggregate_size, made.bytes, &append->bodies, &layout) !=
        DAYBOOK_OK)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory appending");
    event->body_size = (uint32_t)(append->bodies.size - event->body_offset);
    event->id_offset = layout.id_offset;
    event->id_size = layout.id_size;
    event->subject_offset = layout.subject_offset;
    event->subject_size = (uint32_t)said->subject.size;
    event->cost = layout.cost;
    hash_event(append, event);
    if (event->stream->storage == DAYBOOK_STORAGE_FILE) {
        append->record_bytes += DBK_EVENT_HEAD_SIZE + event->body_size;
    } else if (!append->is_in_memory) {
        append->is_in_memory = true;
        append->record_bytes += DBK_POSITIONS_SIZE;
    }
    return DAYBOOK_OK;
}

// ---- Within the batch -------------------------------------------------------------------------------------

static bool same_aggregate(const dbk_append *append, const dbk_append_event *a, const dbk_append_event *b) {
    return a->stream == b->stream && a->aggregate_size == b->aggregate_size &&
           memcmp(dbk_append_subject(append, a).data, dbk_append_subject(append, b).data,
                  a->aggregate_size) == 0;
}

// Index of an earlier event with the same id or aggregate, or count.
static size_t find_in_batch(const dbk_append *append, const dbk_hash_map *map, const dbk_append_event *event,
                            bool by_id, uint64_t hash) {
    for (size_t step = 0;;) {
        uint32_t at = dbk_hash_map_find(map, hash, &step);
        if (at == DBK_HASH_MAP_EMPTY) return append->count;
        const dbk_append_event *other = &append->events[at];
        bool same = by_id
                        ? other->stream == event->stream && dbk_slice_equal(dbk_append_id_key(append, other),
                                                                            dbk_append_id_key(append, event))
                        : same_aggregate(append, other, event);
        if (same) return at;
    }
}

// Ranks within aggregates, and no id twice.
static daybook_status relate_events(dbk_append *append, daybook_error *error) {
    for (size_t i = 0; i < append->count; i++) append->events[i].first = (uint32_t)i;
    if (append->count == 1) return DAYBOOK_OK;
    dbk_hash_map aggregates, ids;
    dbk_hash_map_init(&aggregates, append->store->allocator);
    dbk_hash_map_init(&ids, append->store->allocator);
    daybook_status status = dbk_hash_map_reserve(&aggregates, append->count);
    for (size_t i = 0; i < append->count && status == DAYBOOK_OK; i++) {
        dbk_append_event *event = &append->events[i];
        if (event->aggregate_size > 0) {
            size_t last = find_in_batch(append, &aggregates, event, false, event->hashes.aggregate);
            if (last < append->count) {
                // The map holds the first event of each aggregate; that one counts.
                event->first = (uint32_t)last;
                event->rank = ++append->events[last].rank;
            } else {
                status = dbk_hash_map_insert(&aggregates, event->hashes.aggregate, (uint32_t)i);
            }
        }
        if (status != DAYBOOK_OK || !event->id_supplied) continue;
        size_t same = find_in_batch(append, &ids, event, true, event->hashes.id);
        if (same < append->count) {
            char scratch[37];
            dbk_slice id = dbk_key_text(dbk_append_id_key(append, event), scratch);
            if (error != NULL) error->event = (uint32_t)i;
            status = dbk_fail(error, DAYBOOK_EMIXED, "the batch names id '%.*s' twice (events %zu and %zu)",
                              (int)id.size, (const char *)id.data, same + 1, i + 1);
            if (error != NULL) error->event = (uint32_t)i;
        } else {
            status = dbk_hash_map_insert(&ids, event->hashes.id, (uint32_t)i);
        }
    }
    // `rank` of a first event was its counter.
    for (size_t i = 0; i < append->count; i++) {
        if (append->events[i].first == i) append->events[i].rank = 0;
    }
    dbk_hash_map_deinit(&aggregates);
    dbk_hash_map_deinit(&ids);
    if (status == DAYBOOK_ENOMEM) return dbk_fail(error, status, "out of memory preparing the append");
    return status;
}

// ---- Conditions -------------------------------------------------------------------------------------------

static daybook_status copy_condition(dbk_arena *arena, const daybook_condition *said,
                                     const daybook_condition **copy_out) {
    daybook_condition *copy = dbk_arena_alloc(arena, sizeof *copy);
    if (copy == NULL) return DAYBOOK_ENOMEM;
    *copy = *said;
    DBK_TRY(dbk_copy_slice(arena, &copy->stream));
    DBK_TRY(dbk_copy_slice(arena, &copy->filter));
    DBK_TRY(dbk_copy_slice(arena, &copy->aggregate));
    DBK_TRY(dbk_copy_slice(arena, &copy->id));
    DBK_TRY(dbk_query_items_copy(said->items, said->item_count, arena, &copy->items));
    *copy_out = copy;
    return DAYBOOK_OK;
}

static daybook_status check_items(const daybook_condition *said, daybook_error *error) {
    if (said->item_count == 0)
        return dbk_fail(error, DAYBOOK_EINVALID,
                        "the query of the append condition is empty: name a type, a tag or a subject");
    return dbk_query_items_validate(said->items, said->item_count, error);
}

static daybook_status prepare_version(dbk_append *append, dbk_append_condition *condition,
                                      daybook_error *error) {
    const dbk_append_event *first = &append->events[0];
    dbk_slice said = condition->said->aggregate;
    dbk_slice own = daybook_bytes(dbk_append_subject(append, first).data, first->aggregate_size);
    if (said.size == 0 || dbk_slice_equal(said, own)) {
        if (own.size == 0)
            return dbk_fail(error, DAYBOOK_EINVALID,
                            "an expected version needs an aggregate: '%.*s' has none",
                            (int)first->subject_size, (const char *)dbk_append_subject(append, first).data);
        condition->aggregate = said.size == 0 ? own : said;
        if (condition->stream == NULL) condition->stream = first->stream;
        return DAYBOOK_OK;
    }
    // Which streams may hold it is looked up with the rest (resolve.c): one may be made meanwhile.
    if (!daybook_subject_is_valid(said) || said.size + 2 > DAYBOOK_SUBJECT_SIZE_MAX)
        return dbk_fail(
            error, DAYBOOK_ESUBJECT,
            "the aggregate '%.*s' of the append condition is no subject: name one such as orders.123",
            (int)(said.size < 200 ? said.size : 200), (const char *)said.data);
    condition->aggregate = said;
    return DAYBOOK_OK;
}

// The newest event that matches decides.
static void look_for(dbk_append_condition *condition, dbk_slice filter) {
    daybook_query_item_init(&condition->item);
    condition->item.filter = filter;
    condition->items = &condition->item;
    condition->item_count = 1;
}

static daybook_status prepare_condition(dbk_append *append, dbk_append_condition *condition,
                                        daybook_error *error) {
    const daybook_condition *said = condition->said;
    if (said->kind < DAYBOOK_EXPECT_STREAM_SEQ || said->kind > DAYBOOK_EXPECT_LAST_ID)
        return dbk_fail(error, DAYBOOK_EINVALID, "an append condition has the unknown kind %d", said->kind);
    if (said->stream.size > 0) {
        condition->stream = dbk_stream_table_find(append->store->streams, said->stream);
        if (condition->stream == NULL)
            return dbk_fail(
                error, DAYBOOK_ENOTFOUND, "the append condition names stream '%.*s': there is no such stream",
                (int)(said->stream.size < 255 ? said->stream.size : 255), (const char *)said->stream.data);
    } else if (said->kind == DAYBOOK_EXPECT_STREAM_SEQ || said->kind == DAYBOOK_EXPECT_SUBJECT_SEQ ||
               said->kind == DAYBOOK_EXPECT_LAST_ID) {
        condition->stream = append->events[0].stream;
    }
    if (said->kind == DAYBOOK_EXPECT_VERSION) return prepare_version(append, condition, error);
    if (said->kind == DAYBOOK_EXPECT_SUBJECT_SEQ) {
        dbk_slice filter = said->filter.size > 0 ? said->filter
                                                 : dbk_append_subject(append, &append->events[0]);
        if (!daybook_filter_is_valid(filter))
            return dbk_fail(error, DAYBOOK_ESUBJECT, "'%.*s' is no subject filter",
                            (int)(filter.size < 200 ? filter.size : 200), (const char *)filter.data);
        look_for(condition, filter);
    } else if (said->kind == DAYBOOK_EXPECT_LAST_ID) {
        if (said->id.size > DAYBOOK_TEXT_SIZE_MAX)
            return dbk_fail(error, DAYBOOK_EINVALID,
                            "the id that an append expects has %zu bytes: at most %d", said->id.size,
                            DAYBOOK_TEXT_SIZE_MAX);
        look_for(condition, daybook_text(">"));
    } else if (said->kind == DAYBOOK_FAIL_IF_EVENTS_MATCH) {
        DBK_TRY(check_items(said, error));
        condition->items = said->items;
        condition->item_count = said->item_count;
    }
    return DAYBOOK_OK;
}

static daybook_status prepare_conditions(dbk_append *append, const daybook_append_options *options, bool copy,
                                         daybook_error *error) {
    if (options == NULL || options->condition_count == 0) return DAYBOOK_OK;
    if (options->condition_count > DAYBOOK_CONDITION_COUNT_MAX)
        return dbk_fail(error, DAYBOOK_EINVALID, "%zu append conditions: at most %d are allowed",
                        options->condition_count, DAYBOOK_CONDITION_COUNT_MAX);
    const daybook_allocator *allocator = append->store->allocator;
    append->conditions = dbk_alloc_zeroed(allocator, options->condition_count * sizeof *append->conditions);
    if (append->conditions == NULL)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory preparing the append");
    append->condition_count = options->condition_count;
    if (copy && dbk_arena_new(allocator, 4096, &append->copies) != DAYBOOK_OK)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory preparing the append");
    size_t stride = options->conditions[0].size;
    if (stride < sizeof options->conditions[0])
        return dbk_fail(error, DAYBOOK_EMISUSE,
                        "the append condition was not initialised with daybook_condition_init");
    for (size_t i = 0; i < append->condition_count; i++) {
        const daybook_condition *said =
            (const daybook_condition *)(const void *)((const char *)options->conditions + i * stride);
        if (copy && copy_condition(append->copies, said, &said) != DAYBOOK_OK)
            return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory preparing the append");
        append->conditions[i].said = said;
        DBK_TRY(prepare_condition(append, &append->conditions[i], error));
    }
    return DAYBOOK_OK;
}

// ---- All of it --------------------------------------------------------------------------------------------

// The other events are probably as large as the first: room for them at once saves copying them about.
static daybook_status expect_bodies(dbk_append *append, size_t first_size, daybook_error *error) {
    size_t size = (append->count - 1) * (first_size + first_size / 8 + EXPECTED_SLACK);
    if (size == 0 || size > EXPECTED_SIZE_MAX || dbk_buf_reserve(&append->bodies, size) != NULL)
        return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory appending");
}

static daybook_status prepare_events(dbk_append *append, const daybook_event *events,
                                     const daybook_append_options *options, daybook_error *error) {
    daybook_store *store = append->store;
    bool auto_stream = options != NULL && options->auto_stream;
    dbk_slice named = named_stream(options);
    const uint64_t *seqs = given_seqs(options);
    uint64_t id_first = atomic_fetch_add_explicit(&store->id_count, append->count, memory_order_relaxed);
    size_t stride = events[0].size;
    for (size_t i = 0; i < append->count; i++) {
        const daybook_event *said = (const daybook_event *)(const void *)((const char *)events + i * stride);
        dbk_append_event *event = &append->events[i];
        DBK_TRY(dbk_event_validate(said, (uint32_t)i, error));
        // What rides along goes where it belongs.
        bool rides = i >= append->count - append->rider_count;
        bool is_named = named.size > 0 && !rides;
        DBK_TRY(is_named ? find_named_stream(append, named, said, (uint32_t)i, event, error)
                         : find_stream(append, said, (uint32_t)i, auto_stream, event, error));
        if (seqs != NULL && !rides) DBK_TRY(take_seq(append, seqs, named, (uint32_t)i, event, error));
        uint8_t random[10];
        dbk_uuid_series_at(store->id_base, id_first + i, random);
        daybook_status status = encode_event(append, said, event, random, error);
        if (status != DAYBOOK_OK) {
            if (error != NULL) error->event = (uint32_t)i;
            return status;
        }
        if (i == 0) DBK_TRY(expect_bodies(append, event->body_size, error));
    }
    return relate_events(append, error);
}

daybook_status dbk_append_init(dbk_append *append, daybook_store *store, const daybook_event *events,
                               size_t count, const daybook_append_options *options, bool copy,
                               daybook_error *error) {
    daybook_receipt *receipts = append->receipts;
    bool durable = options != NULL && options->size >= offsetof(daybook_append_options, stream) &&
                   options->durable != 0;
    *append = (dbk_append){.store = store,
                           .receipts = receipts,
                           .rider_count = append->rider_count,
                           .is_marker = append->is_marker,
                           .deferrable = !durable};
    dbk_buf_init(&append->bodies, store->allocator, DAYBOOK_BATCH_SIZE_MAX);
    dbk_buf_init(&append->removals, store->allocator, DBK_RECORD_SIZE_MAX);
    if (store->read_only) return dbk_fail(error, DAYBOOK_EREADONLY, "the store is open for reading only");
    if (events == NULL || count == 0)
        return dbk_fail(error, DAYBOOK_EMISUSE, "an append needs at least one event");
    if (events[0].size < sizeof(daybook_event))
        return dbk_fail(
            error, DAYBOOK_EMISUSE,
            "the event was not initialised with daybook_event_init of this version of the library: "
            "call it, and build the program against the library it runs with");
    if (count > DAYBOOK_BATCH_COUNT_MAX)
        return dbk_fail_limit(error, DAYBOOK_LIMIT_BATCH_COUNT, DAYBOOK_BATCH_COUNT_MAX, count,
                              "a batch of %zu events: at most %d are allowed; split it", count,
                              DAYBOOK_BATCH_COUNT_MAX);
    append->events = count == 1 ? &append->single
                                : dbk_alloc_zeroed(store->allocator, count * sizeof *append->events);
    if (append->events == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory preparing the append");
    append->count = count;
    DBK_TRY(prepare_events(append, events, options, error));
    return prepare_conditions(append, options, copy, error);
}

void dbk_append_deinit(dbk_append *append) {
    if (append->store == NULL) return;
    const daybook_allocator *allocator = append->store->allocator;
    for (size_t i = 0; i < append->count; i++) {
        if (append->events[i].rolled == NULL) continue;
        dbk_ranges_deinit(&append->events[i].rolled->ranges, allocator);
        dbk_free(allocator, append->events[i].rolled);
    }
    if (append->events != &append->single) dbk_free(allocator, append->events);
    for (size_t i = 0; i < append->condition_count; i++) {
        dbk_append_condition *condition = &append->conditions[i];
        if (condition->places != &condition->place) dbk_free(allocator, condition->places);
    }
    dbk_free(allocator, append->conditions);
    dbk_arena_free(append->copies);
    dbk_buf_deinit(&append->bodies);
    dbk_buf_deinit(&append->removals);
    dbk_view_unref(append->view);
    append->store = NULL;
}
