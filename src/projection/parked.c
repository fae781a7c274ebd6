// SPDX-License-Identifier: Apache-2.0
// Parked events: which aggregates wait behind one, and what becomes of those that somebody wants retried or
// skipped.
//
// An event that cannot be applied stands in daybook_parked, and the projection goes on without it. Later
// events of its aggregate would meet a read model that lacks it, so they are parked behind it, unseen, with
// `behind` naming it. When it is retried with success, or skipped, those behind it are applied in their
// order, but for those to be skipped themselves, up to the next that fails, which the rest then waits
// behind. All of this is one transaction, with the checkpoint where it was.
//
// Parked events are read again from the store, by position. One that is gone there was removed; so it goes
// here too.
//
// The set of waiting aggregates is in memory, so that looking costs nothing as long as it is empty.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "projection/runner.h"

// Held aggregates.

void dbk_held_init(dbk_held_set *set, const daybook_allocator *allocator) {
    memset(set, 0, sizeof *set);
    set->allocator = allocator;
    dbk_hash_map_init(&set->map, allocator);
}

void dbk_held_deinit(dbk_held_set *set) {
    if (set->allocator == NULL) return;
    dbk_held_cut(set, 0);
    dbk_free(set->allocator, set->items);
    dbk_hash_map_deinit(&set->map);
    memset(set, 0, sizeof *set);
}

static uint64_t hash_of(dbk_slice aggregate) {
    return dbk_checksum(aggregate.data, aggregate.size, 0);
}

static dbk_slice name_of(const dbk_held *held) {
    return daybook_bytes(held->aggregate, held->aggregate_size);
}

uint64_t dbk_held_find(const dbk_held_set *set, dbk_slice aggregate) {
    if (set->count == 0 || aggregate.size == 0) return 0;
    size_t step = 0;
    uint64_t hash = hash_of(aggregate);
    for (;;) {
        uint32_t at = dbk_hash_map_find(&set->map, hash, &step);
        if (at == DBK_HASH_MAP_EMPTY) return 0;
        if (dbk_slice_equal(name_of(&set->items[at]), aggregate)) return set->items[at].position;
    }
}

daybook_status dbk_held_add(dbk_held_set *set, dbk_slice aggregate, uint64_t position, daybook_error *error) {
    dbk_held *items =
        dbk_grow_array(set->allocator, set->items, &set->capacity, set->count + 1, sizeof *items);
    if (items != NULL) set->items = items;
    char *name = items == NULL ? NULL : dbk_copy_text(set->allocator, aggregate);
    if (name == NULL ||
        dbk_hash_map_insert(&set->map, hash_of(aggregate), (uint32_t)set->count) != DAYBOOK_OK) {
        dbk_free(set->allocator, name);
        return dbk_fail(error, DAYBOOK_ENOMEM,
                        "out of memory for the aggregates that wait behind parked events");
    }
    items[set->count++] =
        (dbk_held){.aggregate = name, .aggregate_size = aggregate.size, .position = position};
    return DAYBOOK_OK;
}

void dbk_held_cut(dbk_held_set *set, size_t count) {
    if (set->count == count) return;
    while (set->count > count) dbk_free(set->allocator, set->items[--set->count].aggregate);
    dbk_hash_map_reset(&set->map);
    // They fitted before.
    for (size_t i = 0; i < count; i++)
        (void)dbk_hash_map_insert(&set->map, hash_of(name_of(&set->items[i])), (uint32_t)i);
}

typedef struct loading {
    dbk_held_set *set;
    bool is_holding;
    uint64_t count;
    daybook_status status;
    daybook_error *error;
} loading;

static int load_one(void *context, const dbk_parked *parked) {
    loading *load = context;
    load->count++;
    if (!load->is_holding || parked->behind != 0 || parked->aggregate.size == 0) return 0;
    if (dbk_held_find(load->set, parked->aggregate) != 0) return 0;
    load->status = dbk_held_add(load->set, parked->aggregate, parked->position, load->error);
    return load->status != DAYBOOK_OK;
}

daybook_status dbk_held_load(dbk_run *run, daybook_error *error) {
    dbk_held_cut(&run->held, 0);
    loading load = {.set = &run->held,
                    .is_holding = run->projection->options.on_error == DAYBOOK_PROJECTION_PARK,
                    .status = DAYBOOK_OK,
                    .error = error};
    DBK_TRY(run->target->calls->parked(run->target, run->progress.name, daybook_text(NULL), load_one, &load,
                                       error));
    if (load.status != DAYBOOK_OK) return dbk_target_fail(run->target, DBK_FAILURE_FATAL, "", load.status);
    if (run->is_shadow) return DAYBOOK_OK;
    pthread_mutex_lock(&run->projection->lock);
    run->projection->info.parked_count = load.count;
    pthread_mutex_unlock(&run->projection->lock);
    return DAYBOOK_OK;
}

// Requests.

typedef struct row {
    dbk_parked parked;
    bool has_followers; // an event that was gathered after it waits for it
} row;

/// Parked events copied out of a visit, which must not touch the database meanwhile. In order of position.
typedef struct rows {
    dbk_arena *arena;
    const daybook_allocator *allocator;
    row *items;
    size_t count, capacity;
    bool is_requested_only;
    bool failed; // memory
} rows;

static daybook_status rows_init(rows *found, const daybook_allocator *allocator, daybook_error *error) {
    memset(found, 0, sizeof *found);
    found->allocator = allocator;
    if (dbk_arena_new(allocator, 4096, &found->arena) == DAYBOOK_OK) return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory for parked events");
}

static void rows_deinit(rows *found) {
    dbk_arena_free(found->arena);
    dbk_free(found->allocator, found->items);
}

static dbk_slice keep(rows *found, dbk_slice slice) {
    void *data = dbk_arena_alloc(found->arena, slice.size);
    if (data == NULL)
        found->failed = true;
    else if (slice.size > 0)
        memcpy(data, slice.data, slice.size);
    return daybook_bytes(data, data == NULL ? 0 : slice.size);
}

// The one at this position; NULL where it was not gathered.
static row *find_row(const rows *found, uint64_t position) {
    size_t first = 0;
    size_t end = found->count;
    while (first < end) {
        size_t middle = first + (end - first) / 2;
        if (found->items[middle].parked.position < position)
            first = middle + 1;
        else
            end = middle;
    }
    return first < found->count && found->items[first].parked.position == position ? &found->items[first]
                                                                                   : NULL;
}

static int keep_row(void *context, const dbk_parked *parked) {
    rows *found = context;
    // Who waits comes behind whom it waits for.
    row *head = parked->behind == 0 ? NULL : find_row(found, parked->behind);
    if (head != NULL) head->has_followers = true;
    if (found->is_requested_only && parked->request == DBK_REQUEST_NONE) return 0;
    row *items =
        dbk_grow_array(found->allocator, found->items, &found->capacity, found->count + 1, sizeof *items);
    if (items == NULL) {
        found->failed = true;
        return 1;
    }
    found->items = items;
    dbk_parked *kept = &items[found->count].parked;
    *kept = *parked;
    items[found->count].has_followers = false;
    dbk_slice *texts[] = {&kept->stream, &kept->subject, &kept->aggregate, &kept->error};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) *texts[i] = keep(found, *texts[i]);
    found->count++;
    return found->failed;
}

static daybook_status gather(dbk_run *run, dbk_slice aggregate, rows *found, daybook_error *error) {
    DBK_TRY(run->target->calls->parked(run->target, run->progress.name, aggregate, keep_row, found, error));
    if (!found->failed) return DAYBOOK_OK;
    (void)dbk_target_fail(run->target, DBK_FAILURE_FATAL, "", DAYBOOK_OK);
    return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory for parked events");
}

/// Granting one request.
typedef struct granting {
    dbk_run *run;
    dbk_batch batch;        // the one event in hand
    uint64_t applied_count; // by all of it
} granting;

// Reads the parked event into the batch. END: it is not stored any more.
static daybook_status read_event(granting *grant, uint64_t position, daybook_error *error) {
    daybook_query query;
    daybook_query_init(&query);
    query.position_from = position;
    query.position_to = position;
    daybook_engine_cursor *cursor;
    dbk_batch_reset(&grant->batch);
    DBK_TRY(daybook_engine_read(grant->run->projection->engine, &query, &cursor, error));
    daybook_recorded_event event;
    event.size = sizeof event;
    daybook_status status = daybook_engine_next(cursor, 0, &event, error);
    if (status == DAYBOOK_OK)
        status = dbk_batch_add(&grant->batch, &grant->run->reader_options, &event, error);
    daybook_engine_cursor_close(cursor);
    return status;
}

static daybook_status unpark(dbk_run *run, uint64_t position, daybook_error *error) {
    return run->target->calls->unpark(run->target, run->progress.name, position, error);
}

// The event is applied and out, or gone; or `*reason_out` says why it still cannot be.
static daybook_status try_again(granting *grant, const dbk_parked *parked,
                                char reason_out[DAYBOOK_ERROR_MESSAGE_MAX], daybook_error *error) {
    dbk_run *run = grant->run;
    reason_out[0] = '\0';
    daybook_status status = read_event(grant, parked->position, error);
    if (status == DAYBOOK_END) {
        dbk_projection_report(run->projection,
                              "the parked event at position %" PRIu64 " is not stored any more",
                              parked->position);
        return unpark(run, parked->position, error);
    }
    if (status != DAYBOOK_OK) return dbk_target_fail(run->target, DBK_FAILURE_FATAL, "", status);
    const dbk_batch_event *event = &grant->batch.events[0];
    if (event->failure != NULL) {
        snprintf(reason_out, DAYBOOK_ERROR_MESSAGE_MAX, "%s", event->failure);
        return DAYBOOK_OK;
    }
    status = dbk_run_apply_alone(run, &grant->batch, event, error);
    if (status == DAYBOOK_OK) {
        grant->applied_count++;
        return unpark(run, parked->position, error);
    }
    if (dbk_run_failure(run) != DBK_FAILURE_EVENT) return status;
    snprintf(reason_out, DAYBOOK_ERROR_MESSAGE_MAX, "%s",
             error->message[0] != '\0' ? error->message : daybook_status_text(status));
    return DAYBOOK_OK;
}

static daybook_status keep_parked(dbk_run *run, const dbk_parked *parked, const char *reason, uint64_t behind,
                                  daybook_error *error) {
    dbk_parked kept = *parked;
    kept.request = DBK_REQUEST_NONE;
    kept.behind = behind;
    kept.error = daybook_text(reason);
    if (behind == 0) kept.attempt_count++;
    return run->target->calls->park(run->target, run->progress.name, &kept, error);
}

// The event at `head` and, where it is out, those behind it.
static daybook_status grant_chain(granting *grant, const dbk_parked *head, const rows *family,
                                  daybook_error *error) {
    dbk_run *run = grant->run;
    char reason[DAYBOOK_ERROR_MESSAGE_MAX] = "";
    uint64_t waits_for = 0;
    if (head->request == DBK_REQUEST_SKIP) {
        DBK_TRY(unpark(run, head->position, error));
    } else {
        DBK_TRY(try_again(grant, head, reason, error));
        // Those behind it wait for it as before.
        if (reason[0] != '\0') return keep_parked(run, head, reason, 0, error);
    }
    for (size_t i = 0; i < family->count; i++) {
        const dbk_parked *next = &family->items[i].parked;
        if (next->behind != head->position) continue;
        if (next->request == DBK_REQUEST_SKIP) {
            DBK_TRY(unpark(run, next->position, error));
        } else if (waits_for == 0) {
            DBK_TRY(try_again(grant, next, reason, error));
            if (reason[0] == '\0') continue;
            waits_for = next->position;
            DBK_TRY(keep_parked(run, next, reason, 0, error));
        } else {
            DBK_TRY(keep_parked(run, next, "", waits_for, error));
        }
    }
    return DAYBOOK_OK;
}

static daybook_status grant_within(granting *grant, const row *wish, daybook_error *error) {
    dbk_run *run = grant->run;
    const dbk_parked *asked = &wish->parked;
    rows family;
    if (asked->behind != 0 && asked->request == DBK_REQUEST_SKIP) return unpark(run, asked->position, error);
    if (asked->behind != 0)
        return keep_parked(run, asked, "", asked->behind, error); // its turn comes by itself
    daybook_status status = rows_init(&family, run->projection->allocator, error);
    if (status != DAYBOOK_OK) return dbk_target_fail(run->target, DBK_FAILURE_FATAL, "", status);
    if (wish->has_followers) status = gather(run, asked->aggregate, &family, error);
    if (status == DAYBOOK_OK) status = grant_chain(grant, asked, &family, error);
    rows_deinit(&family);
    return status;
}

static daybook_status grant_one(granting *grant, const row *asked, daybook_error *error) {
    dbk_run *run = grant->run;
    const dbk_target_calls *calls = run->target->calls;
    dbk_progress progress = run->progress;
    grant->applied_count = 0;
    DBK_TRY(calls->begin(run->target, error));
    daybook_status status = grant_within(grant, asked, error);
    progress.event_count += grant->applied_count;
    progress.updated_ns = dbk_projection_now_ns(run->projection);
    if (status == DAYBOOK_OK) status = calls->save(run->target, &progress, run->progress.position, error);
    if (status == DAYBOOK_OK) status = calls->commit(run->target, error);
    if (status == DAYBOOK_OK) {
        run->progress = progress;
        return status;
    }
    calls->rollback(run->target);
    return status;
}

// One that waited when it was asked for: whom it waited for may have moved it, or taken it along.
static daybook_status grant_follower(granting *grant, const dbk_parked *asked, daybook_error *error) {
    rows now;
    daybook_status status = rows_init(&now, grant->run->projection->allocator, error);
    if (status != DAYBOOK_OK) return dbk_target_fail(grant->run->target, DBK_FAILURE_FATAL, "", status);
    now.is_requested_only = true;
    status = gather(grant->run, asked->aggregate, &now, error);
    const row *still = status == DAYBOOK_OK ? find_row(&now, asked->position) : NULL;
    if (still != NULL) status = grant_one(grant, still, error);
    rows_deinit(&now);
    return status;
}

// What one grant changes is its own event and those behind it; so who waits for nobody is as it was gathered,
// and thousands of them are granted without looking at all others for each.
static daybook_status grant_all(granting *grant, const rows *asked, daybook_error *error) {
    dbk_projection_report(grant->run->projection, "%zu parked events are to be retried or skipped",
                          asked->count);
    for (size_t i = 0; i < asked->count; i++) {
        const row *item = &asked->items[i];
        DBK_TRY(item->parked.behind == 0 ? grant_one(grant, item, error)
                                         : grant_follower(grant, &item->parked, error));
    }
    return DAYBOOK_OK;
}

daybook_status dbk_run_grant_requests(dbk_run *run, daybook_error *error) {
    rows asked;
    granting grant = {.run = run};
    daybook_status status = rows_init(&asked, run->projection->allocator, error);
    if (status == DAYBOOK_OK && dbk_batch_init(&grant.batch, run->projection->allocator) != DAYBOOK_OK) {
        rows_deinit(&asked);
        status = dbk_fail(error, DAYBOOK_ENOMEM, "out of memory for parked events");
    }
    if (status != DAYBOOK_OK) return dbk_target_fail(run->target, DBK_FAILURE_FATAL, "", status);
    asked.is_requested_only = true;
    status = gather(run, daybook_text(NULL), &asked, error);
    if (status == DAYBOOK_OK) status = grant_all(&grant, &asked, error);
    dbk_batch_deinit(&grant.batch, run->projection->allocator);
    rows_deinit(&asked);
    // In every case: what is in memory must be what the database has.
    if (status == DAYBOOK_OK) status = dbk_held_load(run, error);
    if (status == DAYBOOK_OK) dbk_run_publish(run);
    return status;
}
