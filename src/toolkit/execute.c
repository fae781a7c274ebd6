// SPDX-License-Identifier: Apache-2.0
// Commands: load, decide, append under the condition that nothing happened since, decide anew where something
// did.
//
// Over an aggregate the condition is the core's: the last live event of `<aggregate>.>` is the one last seen.
// After a conflict only the events behind it are read. Where there are none, an event was removed, not added,
// and the state is folded from the start, because it may hold what is gone.
//
// Over query items the condition is that nothing matches behind the newest event seen, which is where the
// next look begins.
//
// Events of a decision live in an arena that the next decision empties.
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "toolkit/typed.h"

enum { ARENA_CHUNK_SIZE = 4096, RETRY_COUNT_OVER = 8 };

void daybook_execute_options_init(daybook_execute_options *options) {
    memset(options, 0, sizeof *options);
    options->size = sizeof *options;
}

daybook_status daybook_refuse(daybook_error *error, const char *message) {
    return dbk_fail(error, DAYBOOK_EREFUSED, "%s", message == NULL ? "refused" : message);
}

// Decisions.

daybook_status dbk_decision_init(daybook_decision *decision, const daybook_execute_options *options,
                                 daybook_error *error) {
    memset(decision, 0, sizeof *decision);
    decision->options = options;
    daybook_status status = dbk_arena_new(dbk_allocator_default(), ARENA_CHUNK_SIZE, &decision->arena);
    return status == DAYBOOK_OK ? status : dbk_fail(error, status, "out of memory: decision not begun");
}

void dbk_decision_deinit(daybook_decision *decision) {
    dbk_arena_free(decision->arena);
    dbk_free(dbk_allocator_default(), decision->events);
    memset(decision, 0, sizeof *decision);
}

uint64_t daybook_decision_version(const daybook_decision *decision) {
    return decision->version;
}

// A failure stays, also where the decider does not look at it.
static daybook_status fail_to_add(daybook_decision *decision, daybook_status status) {
    if (decision->failed == DAYBOOK_OK) decision->failed = status;
    return status;
}

static bool copy(daybook_decision *decision, daybook_slice *slice) {
    if (slice->size == 0) {
        slice->data = NULL;
        return true;
    }
    void *data = dbk_arena_alloc(decision->arena, slice->size);
    if (data == NULL) return false;
    memcpy(data, slice->data, slice->size);
    slice->data = data;
    return true;
}

static bool copy_tags(daybook_decision *decision, daybook_event *event) {
    if (event->tag_count == 0) return true;
    daybook_slice *tags = dbk_arena_alloc(decision->arena, event->tag_count * sizeof *tags);
    bool is_copied = tags != NULL;
    for (size_t i = 0; is_copied && i < event->tag_count; i++) {
        tags[i] = event->tags[i];
        is_copied = copy(decision, &tags[i]);
    }
    event->tags = tags;
    return is_copied;
}

static bool copy_headers(daybook_decision *decision, daybook_event *event) {
    if (event->header_count == 0) return true;
    daybook_header *headers = dbk_arena_alloc(decision->arena, event->header_count * sizeof *headers);
    bool is_copied = headers != NULL;
    for (size_t i = 0; is_copied && i < event->header_count; i++) {
        headers[i] = event->headers[i];
        is_copied = copy(decision, &headers[i].name) && copy(decision, &headers[i].value);
    }
    event->headers = headers;
    return is_copied;
}

static bool copy_event(daybook_decision *decision, daybook_event *event) {
    daybook_slice *const parts[] = {&event->subject, &event->data,        &event->id,        &event->type,
                                    &event->schema,  &event->correlation, &event->causation, &event->actor};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (!copy(decision, parts[i])) return false;
    return copy_tags(decision, event) && copy_headers(decision, event);
}

// `<aggregate>.<type>` where no subject was given; the type is then the subject's.
static daybook_status give_subject(daybook_decision *decision, daybook_event *event, char *subject,
                                   daybook_error *error) {
    daybook_slice name = decision->name;
    if (event->subject.size > 0) {
        bool is_of_it = name.size == 0 || (event->subject.size > name.size + 1 &&
                                           memcmp(event->subject.data, name.data, name.size) == 0 &&
                                           ((const char *)event->subject.data)[name.size] == '.');
        return is_of_it
                   ? DAYBOOK_OK
                   : dbk_fail(error, DAYBOOK_EINVALID,
                              "event with subject '%.*s' decided on '%.*s': a command changes one aggregate; "
                              "leave the subject out, or decide over a query",
                              DBK_TEXT(event->subject), DBK_TEXT(name));
    }
    if (name.size == 0 || event->type.size == 0)
        return dbk_fail(error, DAYBOOK_EINVALID, "an event without %s: give one",
                        name.size == 0 ? "subject, decided over a query" : "type");
    if (name.size + 1 + event->type.size > DAYBOOK_SUBJECT_SIZE_MAX)
        return dbk_fail(error, DAYBOOK_ESUBJECT, "event type '%.*s' makes a subject beyond %d bytes",
                        DBK_TEXT(event->type), DAYBOOK_SUBJECT_SIZE_MAX);
    memcpy(subject, name.data, name.size);
    subject[name.size] = '.';
    memcpy(subject + name.size + 1, event->type.data, event->type.size);
    event->subject = daybook_bytes(subject, name.size + 1 + event->type.size);
    event->type = daybook_bytes(NULL, 0);
    return DAYBOOK_OK;
}

static void give_metadata(const daybook_execute_options *options, daybook_event *event) {
    if (options == NULL) return;
    if (event->actor.size == 0) event->actor = options->actor;
    if (event->correlation.size == 0) event->correlation = options->correlation;
    if (event->causation.size == 0) event->causation = options->causation;
}

daybook_status daybook_decision_add_event(daybook_decision *decision, const daybook_event *given,
                                          daybook_error *error) {
    if (given->size < sizeof *given)
        return fail_to_add(decision,
                           dbk_fail(error, DAYBOOK_EMISUSE, "event not made by daybook_event_init"));
    char subject[DAYBOOK_SUBJECT_SIZE_MAX];
    daybook_event event = *given;
    event.size = sizeof event;
    daybook_status status = give_subject(decision, &event, subject, error);
    if (status != DAYBOOK_OK) return fail_to_add(decision, status);
    give_metadata(decision->options, &event);
    daybook_event *events = dbk_grow_array(dbk_allocator_default(), decision->events, &decision->capacity,
                                           decision->count + 1, sizeof *events);
    if (events != NULL) decision->events = events;
    if (events == NULL || !copy_event(decision, &event))
        return fail_to_add(decision, dbk_fail(error, DAYBOOK_ENOMEM, "out of memory: event of a decision"));
    events[decision->count++] = event;
    return DAYBOOK_OK;
}

daybook_status daybook_decision_add(daybook_decision *decision, const char *type, daybook_slice data,
                                    daybook_error *error) {
    daybook_event event;
    daybook_event_init(&event);
    event.type = daybook_text(type);
    event.data = data;
    return daybook_decision_add_event(decision, &event, error);
}

void dbk_decision_reset(daybook_decision *decision, uint64_t version) {
    dbk_arena_reset(decision->arena);
    decision->count = 0;
    decision->failed = DAYBOOK_OK;
    decision->version = version;
}

// One decision, from nothing.
static daybook_status decide_once(daybook_decision *decision, daybook_decide decide, const void *state,
                                  const void *command, uint64_t version, daybook_error *error) {
    dbk_decision_reset(decision, version);
    DBK_TRY(decide(state, command, decision, error));
    return decision->failed;
}

// Appending.

static daybook_status append(daybook_engine *engine, const daybook_decision *decision,
                             const daybook_condition *condition, int auto_stream, daybook_receipt *last_out,
                             daybook_error *error) {
    daybook_append_options options;
    daybook_append_options_init(&options);
    options.conditions = condition;
    options.condition_count = 1;
    options.auto_stream = auto_stream;
    size_t count = decision->count;
    daybook_receipt *receipts = dbk_alloc_zeroed(dbk_allocator_default(), count * sizeof *receipts);
    if (receipts == NULL)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory: receipts of %zu events", count);
    for (size_t i = 0; i < count; i++) receipts[i].size = sizeof *receipts;
    daybook_status status = daybook_engine_append(engine, decision->events, count, &options, receipts, error);
    *last_out = receipts[count - 1];
    dbk_free(dbk_allocator_default(), receipts);
    return status;
}

static void note_result(daybook_execute_result *result, const daybook_decision *decision,
                        const daybook_receipt *last, uint64_t version) {
    bool is_stored_before = (last->flags & DAYBOOK_RECEIPT_DUPLICATE) != 0;
    result->event_count = is_stored_before ? 0 : decision->count;
    result->version = version + result->event_count;
    result->seq = last->seq;
    result->position = last->position;
}

// Words for a command that lost every time; the numbers of the last conflict stay.
static daybook_status give_up(daybook_error *error, daybook_slice name, uint64_t attempt_count) {
    uint64_t expected = error == NULL ? 0 : error->expected;
    uint64_t actual = error == NULL ? 0 : error->actual;
    (void)dbk_fail(
        error, DAYBOOK_ECONFLICT,
        "command on '%.*s' given up: decided %llu times, and each time others had appended before; try "
        "again",
        DBK_TEXT(name), (unsigned long long)attempt_count);
    if (error != NULL) {
        error->expected = expected;
        error->actual = actual;
    }
    return DAYBOOK_ECONFLICT;
}

// Commands on an aggregate.

typedef struct execution {
    const dbk_command *command;
    dbk_aggregate aggregate;
    dbk_typed typed;
    dbk_folder folder;
    dbk_place *place;
    daybook_decision decision;
} execution;

static daybook_status load(execution *work, daybook_error *error) {
    if (work->aggregate.stream_slice.size > 0)
        return dbk_replay(work->command->engine, &work->aggregate, NULL, &work->folder, work->place, error);
    dbk_place_init(work->place);
    return dbk_typed_begin(&work->typed, error);
}

// After a conflict.
static daybook_status catch_up(execution *work, daybook_error *error) {
    if (work->aggregate.stream_slice.size == 0) {
        DBK_TRY(dbk_type_find(work->command->engine, work->command->type, work->command->id, &work->aggregate,
                              error));
        return load(work, error);
    }
    uint64_t seq = work->place->seq;
    DBK_TRY(dbk_replay_more(work->command->engine, &work->aggregate, &work->folder, work->place, error));
    return work->place->seq != seq ? DAYBOOK_OK : load(work, error);
}

static daybook_status try_append(execution *work, daybook_receipt *last_out, daybook_error *error) {
    daybook_condition condition;
    daybook_condition_init(&condition, DAYBOOK_EXPECT_SUBJECT_SEQ);
    condition.stream = work->aggregate.stream_slice;
    condition.filter = work->aggregate.filter_slice;
    condition.expected = work->place->live_seq;
    return append(work->command->engine, &work->decision, &condition, work->command->auto_stream, last_out,
                  error);
}

static daybook_status run(execution *work, daybook_receipt *receipt_out, daybook_execute_result *result,
                          daybook_error *error) {
    const dbk_command *command = work->command;
    daybook_receipt last;
    DBK_TRY(load(work, error));
    for (uint32_t retry = 0;; retry++) {
        result->attempt_count++;
        result->version = work->place->version;
        result->seq = work->place->seq;
        result->position = work->place->position;
        DBK_TRY(decide_once(&work->decision, command->decide, work->typed.state, command->command,
                            work->place->version, error));
        if (work->decision.count == 0) return DAYBOOK_OK;
        memset(&last, 0, sizeof last);
        daybook_status status = try_append(work, &last, error);
        if (status == DAYBOOK_OK) {
            note_result(result, &work->decision, &last, work->place->version);
            if (receipt_out != NULL) *receipt_out = last;
            return DAYBOOK_OK;
        }
        if (status != DAYBOOK_ECONFLICT) return status;
        if (retry == command->retry_count)
            return give_up(error, work->aggregate.name_slice, result->attempt_count);
        DBK_TRY(catch_up(work, error));
    }
}

daybook_status dbk_execute(const dbk_command *command, dbk_place *place_out, daybook_receipt *receipt_out,
                           daybook_execute_result *result_out, daybook_error *error) {
    execution work;
    memset(&work, 0, sizeof work);
    memset(result_out, 0, sizeof *result_out);
    result_out->size = sizeof *result_out;
    dbk_place_init(place_out);
    work.command = command;
    work.place = place_out;
    DBK_TRY(dbk_type_find(command->engine, command->type, command->id, &work.aggregate, error));
    DBK_TRY(dbk_typed_init(&work.typed, command->type, error));
    dbk_typed_folder(&work.typed, &work.folder);
    daybook_status status = dbk_decision_init(&work.decision, command->options, error);
    work.decision.name = work.aggregate.name_slice;
    if (status == DAYBOOK_OK) status = run(&work, receipt_out, result_out, error);
    dbk_decision_deinit(&work.decision);
    dbk_typed_deinit(&work.typed);
    return status;
}

// Commands over query items.

typedef struct boundary {
    daybook_engine *engine;
    const daybook_query_item *items;
    size_t item_count;
    dbk_typed typed;
    uint64_t position; // of the newest event seen
    uint64_t seq;
    int auto_stream;
    daybook_decision decision;
} boundary;

static daybook_status read_boundary(boundary *work, daybook_error *error) {
    daybook_query query;
    daybook_query_init(&query);
    query.items = work->items;
    query.item_count = work->item_count;
    query.position_from = work->position + 1;
    daybook_engine_cursor *cursor = NULL;
    DBK_TRY(daybook_engine_read(work->engine, &query, &cursor, error));
    daybook_status status;
    for (;;) {
        daybook_recorded_event event;
        status = daybook_engine_next(cursor, 0, &event, error);
        if (status == DAYBOOK_OK) status = dbk_typed_evolve(&work->typed, &event, error);
        if (status != DAYBOOK_OK) break;
        work->position = event.position;
        work->seq = event.seq;
    }
    daybook_engine_cursor_close(cursor);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

static daybook_status run_over(boundary *work, daybook_decide decide, const void *command,
                               daybook_execute_result *result, daybook_error *error) {
    DBK_TRY(dbk_typed_begin(&work->typed, error));
    for (uint32_t retry = 0;; retry++) {
        DBK_TRY(read_boundary(work, error));
        result->attempt_count++;
        result->position = work->position;
        result->seq = work->seq;
        DBK_TRY(decide_once(&work->decision, decide, work->typed.state, command, work->position, error));
        if (work->decision.count == 0) return DAYBOOK_OK;
        daybook_condition condition;
        daybook_condition_init(&condition, DAYBOOK_FAIL_IF_EVENTS_MATCH);
        condition.items = work->items;
        condition.item_count = work->item_count;
        condition.after = work->position;
        daybook_receipt last;
        memset(&last, 0, sizeof last);
        daybook_status status =
            append(work->engine, &work->decision, &condition, work->auto_stream, &last, error);
        if (status == DAYBOOK_OK) {
            note_result(result, &work->decision, &last, 0);
            result->version = 0;
            return DAYBOOK_OK;
        }
        if (status != DAYBOOK_ECONFLICT) return status;
        if (retry == RETRY_COUNT_OVER) return give_up(error, daybook_text("a query"), result->attempt_count);
    }
}

daybook_status daybook_execute_over(daybook_engine *engine, const daybook_aggregate_type *type,
                                    const daybook_query_item *items, size_t item_count, daybook_decide decide,
                                    const void *command, const daybook_execute_options *options,
                                    daybook_execute_result *result_out, daybook_error *error) {
    DBK_TRY(dbk_type_check(type, false, error));
    if (decide == NULL || items == NULL || item_count == 0)
        return dbk_fail(error, DAYBOOK_EMISUSE, "no decider or no query items given");
    if (options != NULL && options->size < sizeof *options)
        return dbk_fail(error, DAYBOOK_EMISUSE, "options not made by daybook_execute_options_init");
    DBK_TRY(daybook_engine_require(engine, DAYBOOK_ENGINE_EVENTS_MATCH | DAYBOOK_ENGINE_POSITION,
                                   "a decision over a query", error));
    boundary work;
    memset(&work, 0, sizeof work);
    work.engine = engine;
    work.items = items;
    work.item_count = item_count;
    work.auto_stream = options != NULL && options->auto_stream;
    daybook_execute_result result = {.size = sizeof result};
    DBK_TRY(dbk_typed_init(&work.typed, type, error));
    daybook_status status = dbk_decision_init(&work.decision, options, error);
    if (status == DAYBOOK_OK) status = run_over(&work, decide, command, &result, error);
    dbk_decision_deinit(&work.decision);
    dbk_typed_deinit(&work.typed);
    if (result_out != NULL) *result_out = result;
    return status;
}
