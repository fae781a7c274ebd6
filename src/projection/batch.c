// SPDX-License-Identifier: Apache-2.0
// The reading thread of a projection, and the batches it fills.
//
// The checkpoint passes events that the projection does not want: at rest the thread asks for the store's
// newest position and then looks once more; if there is still nothing for it, it has seen everything up to
// there. An empty batch carries that position, at most one a second.
//
// A damaged block ends the reading: going on behind it would skip events without a word.
//
// The ring has RING_COUNT batches, each with an arena that is reset when it is filled again; so memory is
// bounded by what RING_COUNT batches hold. `lock` guards the ring's counters; `change` is a word that both
// sides sleep on.
#include "projection/batch.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/time.h"

enum {
    RING_COUNT = 4,
    ARENA_CHUNK_SIZE = 262144,
    BATCH_SIZE_MAX = 16777216, // bytes of values; one event more may come on top
    POLL_MS = 100              // how soon a reader at rest sees that it is to end
};

static const int64_t idle_interval_ns = DBK_SECOND_NS;

struct dbk_batch_reader {
    // Set at the beginning.
    dbk_reader_options options;
    pthread_t thread;

    // Shared, guarded by lock; `change` is raised after each change and slept on.
    pthread_mutex_t lock;
    dbk_batch ring[RING_COUNT];
    uint64_t filled_count, taken_count, returned_count;
    bool is_done; // the last batch is in the ring
    _Atomic uint32_t change;
    atomic_bool is_ending;

    // Owned by the thread, read by the other side once is_done.
    daybook_engine_cursor *cursor;
    daybook_status status;
    daybook_error error;
    uint64_t position; // seen up to here
    int64_t idle_ns;   // when it looked how far it has seen last
};

// Batches.

daybook_status dbk_batch_init(dbk_batch *batch, const daybook_allocator *allocator) {
    memset(batch, 0, sizeof *batch);
    return dbk_arena_new(allocator, ARENA_CHUNK_SIZE, &batch->arena);
}

void dbk_batch_reset(dbk_batch *batch) {
    dbk_arena_reset(batch->arena);
    batch->event_count = 0;
    batch->step_count = 0;
    batch->is_caught_up = false;
    batch->mark.position = 0;
    batch->status = DAYBOOK_OK;
}

void dbk_batch_deinit(dbk_batch *batch, const daybook_allocator *allocator) {
    dbk_arena_free(batch->arena);
    dbk_free(allocator, batch->events);
    dbk_free(allocator, batch->steps);
    memset(batch, 0, sizeof *batch);
}

static daybook_status fail_memory(daybook_error *error) {
    return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory while reading for a projection");
}

static bool copy_slices(dbk_batch *batch, dbk_slice *slices, size_t count) {
    for (size_t i = 0; i < count; i++) {
        slices[i] = dbk_arena_copy_text(batch->arena, slices[i]);
        if (slices[i].data == NULL) return false;
    }
    return true;
}

static bool copy_headers(dbk_batch *batch, daybook_event *event) {
    daybook_header *headers = dbk_arena_alloc(batch->arena, event->header_count * sizeof *headers);
    if (headers == NULL) return false;
    for (size_t i = 0; i < event->header_count; i++) {
        headers[i].name = dbk_arena_copy_text(batch->arena, event->headers[i].name);
        headers[i].value = dbk_arena_copy_text(batch->arena, event->headers[i].value);
        if (headers[i].name.data == NULL || headers[i].value.data == NULL) return false;
    }
    event->headers = headers;
    return true;
}

static bool copy_tags(dbk_batch *batch, daybook_event *event) {
    dbk_slice *tags = dbk_arena_alloc(batch->arena, event->tag_count * sizeof *tags);
    if (tags == NULL) return false;
    for (size_t i = 0; i < event->tag_count; i++) tags[i] = event->tags[i];
    event->tags = tags;
    return copy_slices(batch, tags, event->tag_count);
}

static const daybook_recorded_event *copy_event(dbk_batch *batch, const daybook_recorded_event *event) {
    daybook_recorded_event *made = dbk_arena_alloc(batch->arena, sizeof *made);
    if (made == NULL) return NULL;
    *made = *event;
    daybook_event *inner = &made->event;
    dbk_slice *fields[] = {&inner->subject, &inner->data,        &inner->id,        &inner->type,
                           &inner->schema,  &inner->correlation, &inner->causation, &inner->actor,
                           &made->stream,   &made->aggregate};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (!copy_slices(batch, fields[i], 1)) return NULL;
    return copy_tags(batch, inner) && copy_headers(batch, inner) ? made : NULL;
}

static daybook_status add_step(dbk_batch *batch, const dbk_reader_options *options,
                               const dbk_section *section, const daybook_recorded_event *event,
                               daybook_error *error) {
    dbk_step *steps = dbk_grow_array(options->allocator, batch->steps, &batch->step_capacity,
                                     batch->step_count + 1, sizeof *steps);
    if (steps == NULL) return fail_memory(error);
    batch->steps = steps;
    dbk_value *values = dbk_arena_alloc(batch->arena, section->parameter_count * sizeof *values);
    if (values == NULL) return fail_memory(error);
    DBK_TRY(dbk_parameter_plan_evaluate(section->plan, event, batch->arena, values, error));
    steps[batch->step_count++] = (dbk_step){.section = section, .values = values};
    return DAYBOOK_OK;
}

static daybook_status add_steps(dbk_batch *batch, const dbk_reader_options *options,
                                const daybook_recorded_event *event, daybook_error *error) {
    const dbk_definition *definition = options->definition;
    for (size_t i = 0; i < definition->section_count; i++) {
        const dbk_section *section = &definition->sections[i];
        if (dbk_section_matches(section, &event->event))
            DBK_TRY(add_step(batch, options, section, event, error));
    }
    return DAYBOOK_OK;
}

daybook_status dbk_batch_add(dbk_batch *batch, const dbk_reader_options *options,
                             const daybook_recorded_event *event, daybook_error *error) {
    dbk_batch_event *events = dbk_grow_array(options->allocator, batch->events, &batch->event_capacity,
                                             batch->event_count + 1, sizeof *events);
    if (events == NULL) return fail_memory(error);
    batch->events = events;
    dbk_batch_event *added = &events[batch->event_count];
    memset(added, 0, sizeof *added);
    added->position = event->position;
    added->recorded_ns = event->recorded_ns;
    added->stream = event->stream;
    added->subject = event->event.subject;
    added->aggregate = event->aggregate;
    added->id = event->event.id;
    dbk_slice *names[] = {&added->stream, &added->subject, &added->aggregate, &added->id};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!copy_slices(batch, names[i], 1)) return fail_memory(error);
    added->step_first = (uint32_t)batch->step_count;
    if (options->is_copying) {
        added->copy = copy_event(batch, event);
        if (added->copy == NULL) return fail_memory(error);
    } else {
        daybook_error unfit; // its message is read only after a failure, which writes it
        unfit.size = sizeof unfit;
        unfit.message[0] = '\0';
        daybook_status status = add_steps(batch, options, event, &unfit);
        if (status == DAYBOOK_ENOMEM) return fail_memory(error);
        if (status != DAYBOOK_OK) {
            batch->step_count = added->step_first;
            added->failure = dbk_arena_copy_text(batch->arena, daybook_text(unfit.message)).data;
            if (added->failure == NULL) return fail_memory(error);
        }
        added->step_count = (uint32_t)(batch->step_count - added->step_first);
    }
    batch->event_count++;
    batch->position = event->position;
    return DAYBOOK_OK;
}

// The ring.

static void raise_change(dbk_batch_reader *reader) {
    atomic_fetch_add(&reader->change, 1);
    daybook_vfs *vfs = reader->options.vfs;
    vfs->wake(vfs, (const volatile uint32_t *)(uintptr_t)&reader->change, INT32_MAX, 0);
}

static void sleep_on_change(dbk_batch_reader *reader, uint32_t seen, int64_t timeout_ns) {
    daybook_vfs *vfs = reader->options.vfs;
    (void)vfs->wait(vfs, (const volatile uint32_t *)(uintptr_t)&reader->change, seen, timeout_ns, 0);
}

// The batch to fill next, NULL when it is time to end.
static dbk_batch *wait_for_room(dbk_batch_reader *reader) {
    for (;;) {
        uint32_t seen = atomic_load(&reader->change);
        if (atomic_load(&reader->is_ending)) return NULL;
        pthread_mutex_lock(&reader->lock);
        bool has_room = reader->filled_count - reader->returned_count < RING_COUNT;
        pthread_mutex_unlock(&reader->lock);
        if (has_room) return &reader->ring[reader->filled_count % RING_COUNT];
        sleep_on_change(reader, seen, DBK_SECOND_NS);
    }
}

static bool is_writer_idle(dbk_batch_reader *reader) {
    pthread_mutex_lock(&reader->lock);
    bool is_idle = reader->filled_count == reader->returned_count;
    pthread_mutex_unlock(&reader->lock);
    return is_idle;
}

static void hand_over(dbk_batch_reader *reader, bool is_done) {
    pthread_mutex_lock(&reader->lock);
    reader->filled_count++;
    reader->is_done = is_done;
    pthread_mutex_unlock(&reader->lock);
    raise_change(reader);
}

daybook_status dbk_batch_reader_take(dbk_batch_reader *reader, int64_t timeout_ns, dbk_batch **batch_out,
                                     daybook_error *error) {
    *batch_out = NULL;
    uint32_t seen = atomic_load(&reader->change);
    for (int round = 0; round < 2; round++) {
        pthread_mutex_lock(&reader->lock);
        bool has_batch = reader->taken_count < reader->filled_count;
        bool is_over = !has_batch && reader->is_done;
        if (has_batch) *batch_out = &reader->ring[reader->taken_count++ % RING_COUNT];
        pthread_mutex_unlock(&reader->lock);
        if (has_batch) return DAYBOOK_OK;
        if (is_over) {
            if (error != NULL && reader->status != DAYBOOK_END) *error = reader->error;
            return reader->status;
        }
        if (round == 0) sleep_on_change(reader, seen, timeout_ns);
    }
    return DAYBOOK_TIMEOUT;
}

void dbk_batch_reader_give_back(dbk_batch_reader *reader, dbk_batch *batch) {
    (void)batch; // batches come back in the order they were taken
    pthread_mutex_lock(&reader->lock);
    reader->returned_count++;
    pthread_mutex_unlock(&reader->lock);
    raise_change(reader);
}

// The thread.

void dbk_mark_set(dbk_mark *mark, uint64_t position, dbk_slice id) {
    size_t size = id.size < sizeof mark->id ? id.size : 0; // an id is never longer
    mark->position = position;
    if (size > 0) memcpy(mark->id, id.data, size);
    mark->id[size] = '\0';
}

daybook_status dbk_newest_event(daybook_engine *engine, dbk_mark *mark_out, daybook_error *error) {
    daybook_query query;
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_REVERSE;
    query.limit = 1;
    daybook_engine_cursor *cursor;
    mark_out->position = 0;
    DBK_TRY(daybook_engine_read(engine, &query, &cursor, error));
    daybook_recorded_event event;
    event.size = sizeof event;
    daybook_status status = daybook_engine_next(cursor, 0, &event, error);
    if (status == DAYBOOK_OK) dbk_mark_set(mark_out, event.position, event.event.id);
    daybook_engine_cursor_close(cursor);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

static daybook_status open_cursor(dbk_batch_reader *reader, daybook_engine_cursor **cursor_out) {
    const dbk_definition *definition = reader->options.definition;
    daybook_query query;
    daybook_query_init(&query);
    query.filters = definition->filters;
    query.filter_count = definition->filter_count;
    query.position_from = reader->options.position + 1;
    if (reader->options.is_following) query.flags = DAYBOOK_QUERY_FOLLOW;
    return daybook_engine_read(reader->options.engine, &query, cursor_out, &reader->error);
}

// What is to be done after `next` found nothing for now.
typedef enum rest { REST_GO_ON, REST_HAND_OVER } rest;

// Everything up to this event is seen.
static void move_to(dbk_batch_reader *reader, dbk_batch *batch, const dbk_mark *seen) {
    if (seen->position <= reader->position) return;
    reader->position = seen->position;
    batch->mark = *seen;
}

// Found nothing, with nothing in hand: how far is that? TIMEOUT is the usual answer of the second look.
static daybook_status look_around(dbk_batch_reader *reader, dbk_batch *batch, daybook_recorded_event *event) {
    daybook_vfs *vfs = reader->options.vfs;
    int64_t now_ns = vfs->clock_monotonic_ns(vfs);
    if (reader->idle_ns != 0 && now_ns - reader->idle_ns < idle_interval_ns) return DAYBOOK_TIMEOUT;
    dbk_mark newest;
    reader->idle_ns = now_ns;
    DBK_TRY(dbk_newest_event(reader->options.engine, &newest, &reader->error));
    daybook_status status = daybook_engine_next(reader->cursor, 0, event, &reader->error);
    if (status != DAYBOOK_TIMEOUT) return status;
    move_to(reader, batch, &newest);
    batch->is_caught_up = true;
    return DAYBOOK_TIMEOUT;
}

static rest take_rest(dbk_batch_reader *reader, const dbk_batch *batch, int64_t deadline_ns) {
    daybook_vfs *vfs = reader->options.vfs;
    if (batch->event_count == 0) return batch->is_caught_up ? REST_HAND_OVER : REST_GO_ON;
    if (is_writer_idle(reader)) return REST_HAND_OVER;
    return vfs->clock_monotonic_ns(vfs) >= deadline_ns ? REST_HAND_OVER : REST_GO_ON;
}

// Until it is full, its time is over, or there is nothing to wait for. ECLOSED: this thread is to end.
static daybook_status fill(dbk_batch_reader *reader, dbk_batch *batch) {
    const dbk_reader_options *options = &reader->options;
    int64_t deadline_ns = 0;
    daybook_recorded_event event;
    event.size = sizeof event;
    while (batch->event_count < options->count_max && dbk_arena_bytes(batch->arena) < BATCH_SIZE_MAX) {
        if (atomic_load(&reader->is_ending)) return DAYBOOK_ECLOSED;
        // With something in hand look again soon: the writer may have become idle.
        int timeout_ms = batch->event_count > 0 ? (deadline_ns == 0 ? 0 : 1)
                                                : (reader->idle_ns == 0 ? 0 : POLL_MS);
        daybook_status status = daybook_engine_next(reader->cursor, timeout_ms, &event, &reader->error);
        if (status == DAYBOOK_TIMEOUT && batch->event_count == 0) status = look_around(reader, batch, &event);
        if (status == DAYBOOK_TIMEOUT) {
            if (batch->event_count > 0 && deadline_ns == 0)
                deadline_ns = options->vfs->clock_monotonic_ns(options->vfs) + options->wait_ns;
            if (take_rest(reader, batch, deadline_ns) == REST_HAND_OVER) break;
            continue;
        }
        DBK_TRY(status);
        DBK_TRY(dbk_batch_add(batch, options, &event, &reader->error));
        reader->position = event.position;
    }
    return DAYBOOK_OK;
}

static daybook_status fill_and_hand_over(dbk_batch_reader *reader, const dbk_mark *bound) {
    dbk_batch *batch = wait_for_room(reader);
    if (batch == NULL) return DAYBOOK_ECLOSED;
    dbk_batch_reset(batch);
    daybook_status status = fill(reader, batch);
    if (status == DAYBOOK_END) {
        batch->is_caught_up = true;
        move_to(reader, batch, bound);
    }
    batch->position = reader->position;
    batch->status = status;
    // What was read before a failure is right and can be applied.
    if (status != DAYBOOK_OK) reader->status = status;
    hand_over(reader, status != DAYBOOK_OK);
    return status;
}

static void *read_all(void *context) {
    dbk_batch_reader *reader = context;
    dbk_mark bound = {.position = 0};
    daybook_status status = DAYBOOK_OK;
    // Asked before the cursor takes its end, so that everything up to there is within.
    if (!reader->options.is_following)
        status = dbk_newest_event(reader->options.engine, &bound, &reader->error);
    if (status == DAYBOOK_OK) status = open_cursor(reader, &reader->cursor);
    if (status != DAYBOOK_OK) {
        pthread_mutex_lock(&reader->lock);
        reader->status = status;
        reader->is_done = true;
        pthread_mutex_unlock(&reader->lock);
        raise_change(reader);
        return NULL;
    }
    while (status == DAYBOOK_OK) status = fill_and_hand_over(reader, &bound);
    daybook_engine_cursor_close(reader->cursor);
    return NULL;
}

static void reader_free(dbk_batch_reader *reader) {
    const daybook_allocator *allocator = reader->options.allocator;
    for (int i = 0; i < RING_COUNT; i++) dbk_batch_deinit(&reader->ring[i], allocator);
    pthread_mutex_destroy(&reader->lock);
    dbk_free(allocator, reader);
}

daybook_status dbk_batch_reader_start(const dbk_reader_options *options, dbk_batch_reader **reader_out,
                                      daybook_error *error) {
    *reader_out = NULL;
    dbk_batch_reader *reader = dbk_alloc_zeroed(options->allocator, sizeof *reader);
    if (reader == NULL) return fail_memory(error);
    reader->options = *options;
    reader->position = options->position;
    daybook_error_init(&reader->error);
    pthread_mutex_init(&reader->lock, NULL);
    daybook_status status = DAYBOOK_OK;
    for (int i = 0; i < RING_COUNT && status == DAYBOOK_OK; i++)
        status = dbk_batch_init(&reader->ring[i], options->allocator);
    if (status != DAYBOOK_OK) {
        reader_free(reader);
        return fail_memory(error);
    }
    if (pthread_create(&reader->thread, NULL, read_all, reader) != 0) {
        reader_free(reader);
        return dbk_fail(error, DAYBOOK_ELIMIT,
                        "no thread could be started for a projection: the system has too many");
    }
    *reader_out = reader;
    return DAYBOOK_OK;
}

void dbk_batch_reader_stop(dbk_batch_reader *reader) {
    if (reader == NULL) return;
    atomic_store(&reader->is_ending, true);
    raise_change(reader);
    pthread_join(reader->thread, NULL);
    reader_free(reader);
}
