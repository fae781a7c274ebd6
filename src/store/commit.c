// SPDX-License-Identifier: Apache-2.0
// Group commit.
//
// Every change of the store is an operation in one queue, first in, first out. One thread leads: it takes
// what has queued, decides each operation against the state the earlier ones left (under state_lock, without
// I/O), lays their records into one group, writes and syncs it, publishes, and hands the lead to the first
// operation that queued meanwhile *before* it wakes those it has served. No timer: while one sync runs the
// next group collects.
//
//   operation   WAITING --(predecessor hands over)--> LEADING --+
//                  |                                            |
//                  +-----------(served by a leader)-----------> DONE
//
// Sleeping: the operation at the head, which leads next, sleeps on its own word; all others on a word of
// their round, which changes whenever the leader takes the queue. So a group is woken by one or two system
// calls, and nobody whose turn it is not. (Where a group leaves operations to the next one, they are woken
// with it and sleep again: their state has not changed.)
//
// Submitted operations belong to the commit thread, which exists once it has been needed: it leads when a
// submitted operation is at the head, or where many wait, because handing the lead from one of many runnable
// threads to the next leaves the device idle; and it calls completions. Who submits several at once may lead
// the group of these itself, where nobody leads, and then calls the completions there are, where nobody does:
// no other thread has to wake up. One thread at a time calls completions, so they come in the order of
// commit.
//
// Urgent operations (rotation, deferred groups, the witness) go to the head: maintenance waits for them, and
// who waits for room waits for maintenance. A leader that finds no room lets them go first, and appends leave
// the journal room for them.
//
// An operation that removes, changes the catalogue or rotates the memory table is the last of its group: what
// is decided later sees it applied. Answers "duplicate" and "conflict" rest on events of earlier groups,
// which are durable, or of their own group; they are given when that group is.
//
// When a group cannot be written because the sync failed, its operations get EUNCERTAIN, all later ones
// EPOISONED, and durable_position stays: nothing of it becomes visible. Where there is no room (room.c), the
// operations get that status and nothing was written.
//
// Streams with sync_interval: a group of nothing but their events is left unwritten, its operations are
// done at once, and the next group goes on in the same pages; maintenance has it written when the shortest
// interval of them is over. Their limits are owed (untrimmed.c) until they are durable, and enforced then
// by maintenance.
#include "store/commit_internal.h"

#include "base/assert.h"
#include "base/time.h"
#include "store/consumer.h"

enum { WAITING, LEADING, DONE };
enum {
    GROUP_SIZE_MAX = 4 << 20,
    SLOW_GROUP_SIZE_MAX = 256 << 10,
    QUEUED_BYTES_MAX = 32 << 20,
    RESOLVE_TRIES_MAX = 100,
    TAKES_MAX = DBK_COMMIT_OWN_SLOT - 1,
    CROWD_MIN = 8, // from so many waiting operations on the commit thread leads
};

// ---- Queue ------------------------------------------------------------------------------------------------

uint64_t dbk_commit_removal_generation(daybook_store *store) {
    return atomic_load_explicit(&store->commit->removal_generation, memory_order_acquire);
}

// The first to queue behind a group is the next to lead, so it sleeps on a word of its own, and so does an
// urgent operation. All others sleep on the word of the round that will most likely serve them.
static void push(struct dbk_commit *commit, dbk_operation *operation) {
    operation->slot = commit->head == NULL ? DBK_COMMIT_OWN_SLOT : commit->slot;
    operation->next = NULL;
    *commit->tail = operation;
    commit->tail = &operation->next;
    commit->queue_count++;
}

// Submitted ones, in their order.
static void push_submitted(struct dbk_commit *commit, dbk_operation *first) {
    while (first != NULL) {
        dbk_operation *next = first->next;
        commit->queued_bytes += first->append->record_bytes;
        push(commit, first);
        first = next;
    }
}

static void push_front(struct dbk_commit *commit, dbk_operation *operation) {
    operation->slot = DBK_COMMIT_OWN_SLOT;
    operation->next = commit->head;
    if (commit->head == NULL) commit->tail = &operation->next;
    commit->head = operation;
    commit->queue_count++;
}

static void count_submitted(struct dbk_commit *commit, const dbk_operation *operations, bool taken) {
    bool any = false;
    for (; operations != NULL; operations = operations->next) {
        if (!operations->submitted || operations->append == NULL) continue;
        size_t bytes = operations->append->record_bytes;
        commit->queued_bytes = taken ? commit->queued_bytes - bytes : commit->queued_bytes + bytes;
        any = true;
    }
    if (taken && any) pthread_cond_broadcast(&commit->queue_room);
}

// Everything that has queued. What queues from now on sleeps on the next round's word.
static dbk_operation *take_queue(struct dbk_commit *commit) {
    pthread_mutex_lock(&commit->queue_lock);
    dbk_operation *taken = commit->head;
    commit->head = NULL;
    commit->tail = &commit->head;
    commit->queue_count = 0;
    commit->slot = (commit->slot + 1) % DBK_COMMIT_OWN_SLOT;
    count_submitted(commit, taken, true);
    pthread_mutex_unlock(&commit->queue_lock);
    return taken;
}

// What was taken and not served goes back to the head, behind urgent operations that came meanwhile.
static void put_back(struct dbk_commit *commit, dbk_operation *operations) {
    if (operations == NULL) return;
    dbk_operation *last = operations;
    size_t count = 1;
    for (; last->next != NULL; count++) last = last->next;
    pthread_mutex_lock(&commit->queue_lock);
    commit->queue_count += count;
    count_submitted(commit, operations, false);
    dbk_operation **at = &commit->head;
    while (*at != NULL && (*at)->urgent) at = &(*at)->next;
    last->next = *at;
    if (*at == NULL) commit->tail = &last->next;
    *at = operations;
    pthread_mutex_unlock(&commit->queue_lock);
}

bool dbk_commit_urgent_waits(struct dbk_commit *commit) {
    pthread_mutex_lock(&commit->queue_lock);
    bool waits = commit->head != NULL && commit->head->urgent;
    pthread_mutex_unlock(&commit->queue_lock);
    return waits;
}

static const volatile uint32_t *word_of(const _Atomic uint32_t *word) {
    return (const volatile uint32_t *)(uintptr_t)word;
}

static void wake_word(daybook_store *store, const _Atomic uint32_t *word) {
    store->vfs->wake(store->vfs, word_of(word), 1, 0);
}

static void wake_round(daybook_store *store, unsigned slot) {
    _Atomic uint32_t *word = &store->commit->rounds[slot];
    atomic_fetch_add_explicit(word, 1, memory_order_release);
    store->vfs->wake(store->vfs, word_of(word), INT32_MAX, 0);
}

// Sleep until the operation is served or leads; returns its state.
static uint32_t sleep_until_turn(daybook_store *store, dbk_operation *operation) {
    for (;;) {
        bool own = operation->slot == DBK_COMMIT_OWN_SLOT;
        _Atomic uint32_t *word = own ? &operation->word : &store->commit->rounds[operation->slot];
        uint32_t seen = atomic_load_explicit(word, memory_order_acquire);
        uint32_t state = atomic_load_explicit(&operation->word, memory_order_acquire);
        if (state != WAITING) return state;
        (void)store->vfs->wait(store->vfs, word_of(word), seen, -1, 0);
    }
}

static bool start_thread(daybook_store *store);

// Hand the lead to the first waiting operation, to the commit thread, or to nobody. queue_lock is held.
// Returns the operation to wake, if any.
static dbk_operation *pass_lead(daybook_store *store) {
    struct dbk_commit *commit = store->commit;
    dbk_operation *next = commit->head;
    if (next == NULL) {
        commit->led = false;
        pthread_cond_broadcast(&commit->idle);
        return NULL;
    }
    bool is_crowd = commit->queue_count >= CROWD_MIN && dbk_commit_has_background(store);
    if (next->submitted || (is_crowd && start_thread(store))) {
        commit->thread_leads = true;
        pthread_cond_signal(&commit->thread_wake);
        return NULL;
    }
    return next;
}

// It has slept since it queued, or is about to, and cannot go away before it is told.
static void wake_leader(daybook_store *store, dbk_operation *next) {
    unsigned slot = next->slot;
    atomic_store_explicit(&next->word, LEADING, memory_order_release);
    if (slot == DBK_COMMIT_OWN_SLOT) {
        wake_word(store, &next->word);
    } else {
        wake_round(store, slot);
    }
}

// ---- Leading ----------------------------------------------------------------------------------------------

// Count what the group accepted; published with it.
static void note_pending(struct dbk_commit *commit, dbk_append *append) {
    for (size_t i = 0; i < append->count; i++) {
        dbk_stream *stream = append->events[i].stream;
        if (stream->pending_count == 0) {
            stream->next_pending = commit->pending;
            commit->pending = stream;
        }
        stream->pending_count++;
        stream->pending_bytes += append->events[i].cost;
    }
}

// Taken once for a group. Maintenance may put another in its place meanwhile, which the generation tells;
// memory tables change by rotation only, which ends a group.
static dbk_view *current_view(daybook_store *store, dbk_view **held) {
    uint64_t generation = atomic_load_explicit(&store->view_generation, memory_order_acquire);
    if (*held != NULL && (*held)->generation == generation) return *held;
    dbk_view_unref(*held);
    return *held = dbk_store_get_view(store);
}

static daybook_status decide_append(daybook_store *store, dbk_operation *operation, dbk_view **held) {
    struct dbk_commit *commit = store->commit;
    dbk_append *append = operation->append;
    for (int tries = 0; tries < RESOLVE_TRIES_MAX; tries++) {
        pthread_mutex_lock(&store->state_lock);
        dbk_view *view = current_view(store, held);
        if (append->view != NULL && append->view->generation == view->generation &&
            append->removal_generation == dbk_commit_removal_generation(store)) {
            daybook_status status = dbk_append_decide(append, view, commit->group, &operation->error);
            if (status == DAYBOOK_OK && !append->duplicate) {
                note_pending(commit, append);
                dbk_commit_note_untrimmed(commit, append);
                commit->group_position = store->next_position - 1;
            }
            pthread_mutex_unlock(&store->state_lock);
            return status;
        }
        pthread_mutex_unlock(&store->state_lock);
        // A flush or a removal came between: look again, without the lock.
        DBK_TRY(dbk_append_resolve(append, &operation->error));
    }
    return dbk_fail(&operation->error, DAYBOOK_EIO,
                    "the segments changed too often while the append was decided");
}

// Lazy records ride along where they fit. The group is as it was when memory is out.
static daybook_status take_lazy(daybook_store *store) {
    struct dbk_commit *commit = store->commit;
    pthread_mutex_lock(&store->removal_lock);
    daybook_status status = DAYBOOK_OK;
    uint64_t pages = dbk_journal_pages_for(dbk_journal_group_size(commit->group) + commit->lazy.size);
    if (commit->lazy.size > 0 && pages <= dbk_journal_room_pages(store->journal)) {
        status = dbk_journal_group_append(commit->group, commit->lazy.data, commit->lazy.size);
        if (status == DAYBOOK_OK) {
            dbk_buf_reset(&commit->lazy);
            commit->lazy_taken++;
        }
    }
    pthread_mutex_unlock(&store->removal_lock);
    return status;
}

// The group is durable: let everybody see it.
static void publish(daybook_store *store) {
    struct dbk_commit *commit = store->commit;
    uint64_t durable = atomic_load_explicit(&store->durable_position, memory_order_relaxed);
    bool is_watched = false;
    pthread_mutex_lock(&store->state_lock);
    for (dbk_stream *stream = commit->pending; stream != NULL; stream = stream->next_pending) {
        atomic_fetch_add(&stream->message_count, stream->pending_count);
        atomic_fetch_add(&stream->byte_count, stream->pending_bytes);
        atomic_store(&stream->published_seq, stream->last_seq);
        atomic_store(&stream->last_recorded_ns, store->last_recorded_ns);
        stream->pending_count = 0;
        stream->pending_bytes = 0;
    }
    if (commit->group_position > store->published_position)
        store->published_position = commit->group_position;
    // Under the lock: who finds a seq published there can read the event.
    if (commit->group_position > durable)
        atomic_store_explicit(&store->durable_position, commit->group_position, memory_order_release);
    // In one order with who watches: it arms, and then looks at what is durable.
    atomic_thread_fence(memory_order_seq_cst);
    while (commit->pending != NULL) {
        dbk_stream *stream = commit->pending;
        commit->pending = stream->next_pending;
        stream->next_pending = NULL;
        is_watched = is_watched || dbk_stream_is_watched(stream);
    }
    pthread_mutex_unlock(&store->state_lock);
    if (is_watched) dbk_consumers_note_published(store, durable + 1, commit->group_position);
}

static void announce(daybook_store *store) {
    // In one order with what a follower does: it counts itself, then sleeps if this count is the old one.
    atomic_fetch_add(&store->publish_count, 1);
    if (atomic_load(&store->publish_waiters) > 0)
        store->vfs->wake(store->vfs, word_of(&store->publish_count), INT32_MAX, 0);
    if (store->live == NULL) return;
    dbk_live_values values = {
        .incarnation = store->incarnation,
        .writer_open = true,
        .manifest_edit = atomic_load(&store->manifest_edit),
        .durable_lsn = dbk_journal_durable_lsn(store->journal),
        .durable_position = atomic_load(&store->durable_position),
    };
    dbk_live_publish(store->live, &values);
}

// What an operation does once its group is durable.
static void apply_operation(daybook_store *store, dbk_operation *operation) {
    if (operation->status != DAYBOOK_OK) return;
    if (operation->kind == DBK_OPERATION_RECORDS) {
        if (operation->apply != NULL) operation->apply(operation->apply_context);
        if (operation->records.size > 0)
            atomic_fetch_add_explicit(&store->commit->removal_generation, 1, memory_order_release);
    } else if (operation->kind == DBK_OPERATION_APPEND && operation->append->removals.size > 0) {
        dbk_store_apply_removals(
            store, daybook_bytes(operation->append->removals.data, operation->append->removals.size));
        atomic_fetch_add_explicit(&store->commit->removal_generation, 1, memory_order_release);
    }
}

// Write the group, if it holds anything, and publish. On failure the store is poisoned.
static daybook_status write_group(daybook_store *store, daybook_error *error) {
    struct dbk_commit *commit = store->commit;
    if (dbk_journal_group_size(commit->group) > 0) {
        uint64_t next_lsn;
        daybook_status status = dbk_journal_write_group(store->journal, commit->group, &next_lsn, error);
        if (status != DAYBOOK_OK) {
            atomic_store(&store->poisoned, true);
            return status;
        }
        atomic_fetch_add_explicit(&store->group_count, 1, memory_order_relaxed);
    }
    dbk_journal_group_reset(commit->group);
    commit->deferred_until_ns = 0;
    atomic_store(&commit->has_deferred, false);
    publish(store);
    return DAYBOOK_OK;
}

// A fresh active table behind the old one. state_lock is held; every accepted event is published.
static daybook_status swap_active(daybook_store *store, dbk_operation *operation) {
    uint64_t position_first = store->next_position;
    dbk_memtable *memtable;
    DBK_TRY(dbk_memtable_new(store->allocator, position_first, &memtable));
    dbk_source *fresh = NULL;
    daybook_status status =
        dbk_source_new(store->allocator, memtable, NULL, position_first, UINT64_MAX, &fresh);
    if (status != DAYBOOK_OK) {
        dbk_memtable_unref(memtable);
        return status;
    }
    dbk_view *old = dbk_store_get_view(store);
    dbk_source **sources = dbk_alloc(store->allocator, (old->source_count + 1) * sizeof *sources);
    dbk_view *view = NULL;
    status = sources == NULL ? DAYBOOK_ENOMEM : DAYBOOK_OK;
    if (status == DAYBOOK_OK) {
        for (size_t i = 0; i < old->source_count; i++) sources[i] = old->sources[i];
        sources[old->source_count] = fresh;
        // dbk_view_new checks ranges, so the frozen table's range ends before: nobody reads behind it.
        store->active->position_last = position_first - 1;
        status = dbk_view_new(store->allocator, old->generation, sources, old->segment_count,
                              old->source_count + 1, &view);
        if (status != DAYBOOK_OK) store->active->position_last = UINT64_MAX;
    }
    dbk_free(store->allocator, sources);
    if (status == DAYBOOK_OK) {
        for (size_t i = 0; i < old->source_count; i++) dbk_source_ref(old->sources[i]);
        operation->frozen = dbk_source_ref(store->active);
        store->active = fresh;
        dbk_store_set_view(store, view);
    } else {
        dbk_source_unref(fresh);
    }
    dbk_view_unref(old);
    return status;
}

// The last act of a group: cut the memory table here. Loops while trims slip in between.
static daybook_status rotate(daybook_store *store, dbk_operation *operation) {
    struct dbk_commit *commit = store->commit;
    for (;;) {
        pthread_mutex_lock(&store->state_lock);
        pthread_mutex_lock(&store->removal_lock);
        if (commit->lazy.size == 0) break;
        pthread_mutex_unlock(&store->removal_lock);
        pthread_mutex_unlock(&store->state_lock);
        DBK_TRY(dbk_commit_make_room(store, commit->lazy.size, operation));
        DBK_TRY(take_lazy(store));
        DBK_TRY(write_group(store, &operation->error));
    }
    daybook_status status = DAYBOOK_OK;
    bool empty = dbk_memtable_position_end(store->active->memtable) == store->active->position_first;
    bool due = operation->force ||
               dbk_memtable_bytes(store->active->memtable) >= store->options.memtable_bytes ||
               dbk_journal_used_pages(store->journal) >=
                   store->options.journal_max_bytes / DBK_JOURNAL_PAGE_SIZE / 2;
    if (due && !empty) status = swap_active(store, operation);
    if (status == DAYBOOK_OK && (operation->frozen != NULL || operation->force)) {
        operation->flush_lsn = dbk_journal_durable_lsn(store->journal);
        if (operation->apply != NULL) operation->apply(operation->apply_context);
    }
    pthread_mutex_unlock(&store->removal_lock);
    pthread_mutex_unlock(&store->state_lock);
    return status;
}

// A group being collected.
typedef struct collecting {
    dbk_view *view; // what they are decided against; NULL before the first
    dbk_operation *served;
    dbk_operation **end;
    const dbk_operation *refused; // there was no room for it, and so not for what is larger
    size_t refused_size;
    size_t group_size_max;
    bool defer; // none of them needs the sync to be told
    bool last;  // nothing may follow in this group
    int64_t interval_ns;
} collecting;

static size_t operation_size(const dbk_operation *operation) {
    return operation->kind == DBK_OPERATION_APPEND ? operation->append->record_bytes
                                                   : operation->records.size;
}

static bool fits(daybook_store *store, const collecting *group, const dbk_operation *operation) {
    size_t size = dbk_journal_group_size(store->commit->group);
    if (group->served == NULL || size == 0) return true;
    size += operation_size(operation);
    return size <= group->group_size_max &&
           dbk_journal_room_pages(store->journal) >=
               dbk_journal_pages_for(size) + dbk_commit_reserved_pages(store, operation);
}

// DBK_COMMIT_YIELD where an urgent operation should go first.
static daybook_status admit(daybook_store *store, collecting *group, dbk_operation *operation) {
    if (operation->chain != NULL && operation->chain->is_broken)
        return dbk_fail(&operation->error, DAYBOOK_ESKIPPED,
                        "an append before it in its chain was refused: nothing was appended");
    if (atomic_load(&store->poisoned))
        return dbk_fail(&operation->error, DAYBOOK_EPOISONED,
                        "an earlier sync of the journal failed: nothing was written; reopen the store");
    if (operation->kind == DBK_OPERATION_ROTATE) return DAYBOOK_OK;
    size_t size = operation_size(operation);
    // A full disk is asked once, not by each of thousands that queue behind.
    if (group->refused != NULL && size >= group->refused_size) {
        operation->error = group->refused->error;
        return group->refused->status;
    }
    daybook_status status = dbk_commit_make_room(store, size, operation);
    if (status != DAYBOOK_OK && status != DBK_COMMIT_YIELD) {
        group->refused = operation;
        group->refused_size = size;
    }
    return status;
}

static void note_deferral(collecting *group, const dbk_append *append) {
    if (!append->deferrable) group->defer = false;
    for (size_t i = 0; append->deferrable && i < append->count; i++) {
        const daybook_stream_config *config = atomic_load(&append->events[i].stream->config);
        if (config->sync_interval_ns < group->interval_ns) group->interval_ns = config->sync_interval_ns;
    }
}

static daybook_status add_to_group(daybook_store *store, collecting *group, dbk_operation *operation) {
    if (operation->kind == DBK_OPERATION_APPEND) {
        daybook_status status = decide_append(store, operation, &group->view);
        if (status == DAYBOOK_OK) store->commit->paced_bytes += operation->append->record_bytes;
        note_deferral(group, operation->append);
        group->last = status == DAYBOOK_OK && operation->append->has_roll_up;
        return status;
    }
    group->defer = false;
    if (operation->holds != NULL) {
        pthread_mutex_lock(&store->state_lock);
        bool holds = operation->holds(operation->apply_context);
        pthread_mutex_unlock(&store->state_lock);
        if (!holds) return DAYBOOK_ECONFLICT;
    }
    group->last = true;
    if (operation->records.size == 0) return DAYBOOK_OK;
    return dbk_journal_group_append(store->commit->group, operation->records.data, operation->records.size);
}

// Take operations into the group until it is full, none waits, or one demands to be the last.
static void collect(daybook_store *store, collecting *group) {
    struct dbk_commit *commit = store->commit;
    bool is_paced = dbk_commit_pace(store);
    *group = (collecting){.end = &group->served,
                          .group_size_max = is_paced ? SLOW_GROUP_SIZE_MAX : GROUP_SIZE_MAX,
                          .defer = true,
                          .interval_ns = INT64_MAX};
    dbk_operation *taken = take_queue(commit);
    unsigned takes = 1;
    while (taken != NULL && !group->last && fits(store, group, taken)) {
        dbk_operation *operation = taken;
        daybook_status status = admit(store, group, operation);
        if (status == DBK_COMMIT_YIELD) {
            if (group->served != NULL) break;
            put_back(commit, taken);
            taken = take_queue(commit);
            continue;
        }
        if (status == DAYBOOK_OK) status = add_to_group(store, group, operation);
        if (status != DAYBOOK_OK && operation->chain != NULL) operation->chain->is_broken = 1;
        operation->status = status;
        operation->served = true;
        taken = operation->next;
        operation->next = NULL;
        *group->end = operation;
        group->end = &operation->next;
        // Who came while the others were decided comes along; not so often that the words come round.
        if (taken == NULL && takes++ < TAKES_MAX) taken = take_queue(commit);
    }
    dbk_view_unref(group->view);
    group->view = NULL;
    put_back(commit, taken);
}

static void fail_served(dbk_operation *served, daybook_status status, const daybook_error *error) {
    for (dbk_operation *operation = served; operation != NULL; operation = operation->next) {
        if (operation->status != DAYBOOK_OK && operation->status != DAYBOOK_ECONFLICT) continue;
        operation->status = status;
        operation->error = *error;
        if (operation->chain != NULL) operation->chain->is_broken = 1;
    }
}

// The group is due when the first of the intervals in it is over.
static void defer_until(daybook_store *store, int64_t interval_ns) {
    struct dbk_commit *commit = store->commit;
    int64_t now_ns = store->vfs->clock_monotonic_ns(store->vfs);
    int64_t until_ns = interval_ns < INT64_MAX - now_ns ? now_ns + interval_ns : INT64_MAX;
    if (commit->deferred_until_ns != 0 && commit->deferred_until_ns <= until_ns) return;
    commit->deferred_until_ns = until_ns;
    atomic_store(&commit->has_deferred, true);
    dbk_maintenance_kick(store);
}

static bool has_limits(const dbk_append *append) {
    for (size_t i = 0; i < append->count; i++) {
        const daybook_stream_config *config = atomic_load(&append->events[i].stream->config);
        if (config->max_msgs > 0 || config->max_bytes > 0 || config->max_msgs_per_subject > 0) return true;
    }
    return false;
}

// Limits apply to what is durable: whoever appended finds nothing to remove yet.
static void owe_limits(daybook_store *store, const dbk_operation *served) {
    for (; served != NULL; served = served->next) {
        const dbk_append *append = served->append;
        bool is_stored = served->kind == DBK_OPERATION_APPEND && served->status == DAYBOOK_OK;
        if (is_stored && !append->duplicate && has_limits(append))
            dbk_commit_owe_trim_until(store, append->events[0].position,
                                      append->events[append->count - 1].position);
    }
}

// One round: a group from what has queued. Returns the operations served.
static dbk_operation *lead(daybook_store *store) {
    struct dbk_commit *commit = store->commit;
    collecting group;
    collect(store, &group);
    dbk_operation *served = group.served;
    if (atomic_load(&store->poisoned)) return served;
    bool wrote = true;
    if (group.defer && served != NULL && group.interval_ns != INT64_MAX) {
        defer_until(store, group.interval_ns);
        wrote = dbk_journal_group_size(commit->group) >= GROUP_SIZE_MAX / 2;
        if (!wrote) {
            owe_limits(store, served);
            return served;
        }
    }
    daybook_error error;
    daybook_error_init(&error);
    (void)take_lazy(store); // out of memory: they ride with a later one
    bool owes_trims = atomic_load(&commit->has_deferred);
    daybook_status status = write_group(store, &error);
    if (status != DAYBOOK_OK) {
        fail_served(served, status, &error);
        return served;
    }
    for (dbk_operation *operation = served; operation != NULL; operation = operation->next) {
        apply_operation(store, operation);
        if (operation->kind == DBK_OPERATION_ROTATE && operation->status == DAYBOOK_OK)
            operation->status = rotate(store, operation);
        if (operation->status == DAYBOOK_OK)
            atomic_fetch_add_explicit(&store->commit_count, 1, memory_order_relaxed);
    }
    announce(store);
    if (owes_trims || dbk_commit_wants_growth(store) || dbk_commit_wants_flush(store))
        dbk_maintenance_kick(store);
    return served;
}

// Somebody has to call completions. queue_lock is held.
static void see_to_completions(struct dbk_commit *commit) {
    if (commit->finished_head != NULL && !commit->is_completing) pthread_cond_signal(&commit->thread_wake);
}

// Give the submitted operations among those served to whoever calls completions, in order of commit, and
// return the others. queue_lock is held, and still is when the lead is passed on: so completions keep that
// order, and the thread cannot end before.
static dbk_operation *finish_submitted(struct dbk_commit *commit, dbk_operation *served) {
    dbk_operation *others = NULL;
    dbk_operation **end = &others;
    while (served != NULL) {
        dbk_operation *next = served->next;
        dbk_operation ***tail = served->submitted ? &commit->finished_tail : &end;
        served->next = NULL;
        **tail = served;
        *tail = &served->next;
        served = next;
    }
    return others;
}

// Call the completions that are due. queue_lock is held, and given back meanwhile.
static void complete_finished(struct dbk_commit *commit) {
    dbk_operation *operation = commit->finished_head;
    commit->finished_head = NULL;
    commit->finished_tail = &commit->finished_head;
    commit->is_completing = true;
    pthread_mutex_unlock(&commit->queue_lock);
    while (operation != NULL) {
        dbk_operation *next = operation->next;
        operation->completed(operation);
        operation = next;
    }
    pthread_mutex_lock(&commit->queue_lock);
    commit->is_completing = false;
}

// Tell the owners of served operations. `own` is the caller's, if it is among them; it is told by returning.
static void release(daybook_store *store, dbk_operation *served, const dbk_operation *own) {
    bool sleep_on[DBK_COMMIT_OWN_SLOT] = {false};
    while (served != NULL) {
        dbk_operation *next = served->next;
        if (served != own) {
            _Atomic uint32_t *word = &served->word;
            unsigned slot = served->slot;
            // Once DONE is stored the owner may return and its stack be gone: the wake needs the address
            // only.
            atomic_store_explicit(word, DONE, memory_order_release);
            if (slot == DBK_COMMIT_OWN_SLOT) {
                wake_word(store, word);
            } else {
                sleep_on[slot] = true;
            }
        }
        served = next;
    }
    for (unsigned slot = 0; slot < DBK_COMMIT_OWN_SLOT; slot++) {
        if (sleep_on[slot]) wake_round(store, slot);
    }
}

// Pass the lead on, then wake those served.
static void pass_and_release(daybook_store *store, dbk_operation *served, const dbk_operation *own) {
    struct dbk_commit *commit = store->commit;
    pthread_mutex_lock(&commit->queue_lock);
    served = finish_submitted(commit, served);
    see_to_completions(commit);
    dbk_operation *next = pass_lead(store);
    pthread_mutex_unlock(&commit->queue_lock);
    if (next != NULL) wake_leader(store, next);
    release(store, served, own);
}

// The same for one who submitted, leads a group of it, and calls completions then. queue_lock is held before
// and after, not meanwhile.
static void lead_submitted(daybook_store *store) {
    struct dbk_commit *commit = store->commit;
    pthread_mutex_unlock(&commit->queue_lock);
    dbk_operation *served = lead(store);
    pthread_mutex_lock(&commit->queue_lock);
    served = finish_submitted(commit, served);
    dbk_operation *next = pass_lead(store);
    if (next != NULL || served != NULL) {
        pthread_mutex_unlock(&commit->queue_lock);
        if (next != NULL) wake_leader(store, next);
        release(store, served, NULL);
        pthread_mutex_lock(&commit->queue_lock);
    }
    if (commit->finished_head != NULL && !commit->is_completing) complete_finished(commit);
    see_to_completions(commit); // of what was led meanwhile
}

daybook_status dbk_commit_run(daybook_store *store, dbk_operation *operation) {
    struct dbk_commit *commit = store->commit;
    atomic_init(&operation->word, WAITING);
    operation->submitted = false;
    operation->status = DAYBOOK_OK;
    daybook_error_init(&operation->error);
    pthread_mutex_lock(&commit->queue_lock);
    if (commit->closing) {
        pthread_mutex_unlock(&commit->queue_lock);
        return operation->status = dbk_fail(&operation->error, DAYBOOK_ECLOSED, "the store is closing");
    }
    operation->served = false;
    if (operation->urgent) {
        push_front(commit, operation);
    } else {
        push(commit, operation);
    }
    bool leads = !commit->led;
    if (leads) commit->led = true;
    pthread_mutex_unlock(&commit->queue_lock);
    if (operation->urgent && !leads)
        dbk_commit_room_changed(store); // the leader may be waiting for what we are about to do
    for (;;) {
        if (!leads && sleep_until_turn(store, operation) == DONE) return operation->status;
        // Our operation was at the head. Unless an urgent one came before it, the first round serves it.
        atomic_store_explicit(&operation->word, WAITING, memory_order_relaxed);
        dbk_operation *served = lead(store);
        bool done = operation->served;
        pass_and_release(store, served, operation);
        if (done) return operation->status;
        leads = false;
    }
}

// ---- The commit thread ------------------------------------------------------------------------------------

static void *commit_thread(void *context) {
    daybook_store *store = context;
    struct dbk_commit *commit = store->commit;
    pthread_mutex_lock(&commit->queue_lock);
    for (;;) {
        if (commit->finished_head != NULL && !commit->is_completing) {
            complete_finished(commit);
        } else if (commit->thread_leads) {
            commit->thread_leads = false;
            pthread_mutex_unlock(&commit->queue_lock);
            pass_and_release(store, lead(store), NULL);
            pthread_mutex_lock(&commit->queue_lock);
        } else if (commit->closing && commit->head == NULL && !commit->led && commit->finished_head == NULL) {
            break;
        } else {
            pthread_cond_wait(&commit->thread_wake, &commit->queue_lock);
        }
    }
    pthread_mutex_unlock(&commit->queue_lock);
    return NULL;
}

// queue_lock is held. False where it does not run and cannot be started.
static bool start_thread(daybook_store *store) {
    struct dbk_commit *commit = store->commit;
    if (commit->thread_running) return true;
    if (commit->closing || pthread_create(&commit->thread, NULL, commit_thread, store) != 0) return false;
    commit->thread_running = true;
    return true;
}

// A place in the queue for `operations`, as dbk_commit_submit says. queue_lock is held.
static daybook_status wait_to_submit(daybook_store *store, const dbk_operation *operation,
                                     daybook_error *error) {
    struct dbk_commit *commit = store->commit;
    if (!commit->closing && !start_thread(store))
        return dbk_fail(error, DAYBOOK_ENOMEM, "no thread for submitted appends could be started");
    // A completion that submits must not wait for the thread it runs in.
    while (!commit->closing && !operation->never_waits && commit->queued_bytes > QUEUED_BYTES_MAX &&
           !pthread_equal(pthread_self(), commit->thread))
        pthread_cond_wait(&commit->queue_room, &commit->queue_lock);
    if (commit->closing) return dbk_fail(error, DAYBOOK_ECLOSED, "the store is closing");
    return DAYBOOK_OK;
}

daybook_status dbk_commit_submit(daybook_store *store, dbk_operation *first, bool may_lead,
                                 daybook_error *error) {
    struct dbk_commit *commit = store->commit;
    for (dbk_operation *operation = first; operation != NULL; operation = operation->next) {
        operation->submitted = true;
        operation->status = DAYBOOK_OK;
        daybook_error_init(&operation->error);
    }
    pthread_mutex_lock(&commit->queue_lock);
    daybook_status status = wait_to_submit(store, first, error);
    if (status == DAYBOOK_OK) {
        push_submitted(commit, first);
        bool leads = !commit->led;
        commit->led = true;
        if (leads && may_lead) {
            lead_submitted(store);
        } else if (leads) {
            commit->thread_leads = true;
            pthread_cond_signal(&commit->thread_wake);
        }
    }
    pthread_mutex_unlock(&commit->queue_lock);
    return status;
}

// ---- Other operations -------------------------------------------------------------------------------------

static daybook_status run(daybook_store *store, dbk_operation *operation, daybook_error *error) {
    daybook_status status = dbk_commit_run(store, operation);
    if (status != DAYBOOK_OK && error != NULL) *error = operation->error;
    return status;
}

daybook_status dbk_commit_records_if(daybook_store *store, dbk_slice records, bool (*holds)(void *context),
                                     void (*apply)(void *context), void *context, daybook_error *error) {
    dbk_operation operation = {.kind = DBK_OPERATION_RECORDS,
                               .records = records,
                               .holds = holds,
                               .apply = apply,
                               .apply_context = context};
    return run(store, &operation, error);
}

daybook_status dbk_commit_records(daybook_store *store, dbk_slice records, void (*apply)(void *context),
                                  void *context, daybook_error *error) {
    return dbk_commit_records_if(store, records, NULL, apply, context, error);
}

daybook_status dbk_commit_lazily(daybook_store *store, dbk_slice records) {
    dbk_buf_append_slice(&store->commit->lazy, records);
    return dbk_buf_status(&store->commit->lazy);
}

int64_t dbk_commit_deferred_until(daybook_store *store) {
    struct dbk_commit *commit = store->commit;
    return atomic_load(&commit->has_deferred) ? atomic_load(&commit->deferred_until_ns) : 0;
}

daybook_status dbk_commit_write_deferred(daybook_store *store, bool force, daybook_error *error) {
    struct dbk_commit *commit = store->commit;
    if (!atomic_load(&commit->has_deferred)) return DAYBOOK_OK;
    if (!force && store->vfs->clock_monotonic_ns(store->vfs) < commit->deferred_until_ns) return DAYBOOK_OK;
    dbk_operation operation = {.kind = DBK_OPERATION_RECORDS, .urgent = true};
    return run(store, &operation, error);
}

daybook_status dbk_commit_write_lazy(daybook_store *store, daybook_error *error) {
    struct dbk_commit *commit = store->commit;
    pthread_mutex_lock(&store->removal_lock);
    bool waits = commit->lazy.size > 0;
    uint64_t taken = commit->lazy_taken;
    pthread_mutex_unlock(&store->removal_lock);
    // A group that took them just now may still be in flight: this one comes behind it.
    dbk_operation operation = {.kind = DBK_OPERATION_RECORDS, .urgent = true};
    DBK_TRY(run(store, &operation, error));
    pthread_mutex_lock(&store->removal_lock);
    bool took = commit->lazy_taken != taken;
    pthread_mutex_unlock(&store->removal_lock);
    if (!waits || took) return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_ENOSPC, "the journal has no room for what limits removed");
}

typedef struct witness {
    daybook_store *store;
    daybook_status status;
    daybook_error *error;
} witness;

static void write_witness(void *context) {
    witness *writing = context;
    writing->status = dbk_journal_write_witness(writing->store->journal, writing->error);
}

daybook_status dbk_commit_write_witness(daybook_store *store, daybook_error *error) {
    witness writing = {.store = store, .error = error};
    dbk_operation operation = {
        .kind = DBK_OPERATION_RECORDS, .urgent = true, .apply = write_witness, .apply_context = &writing};
    DBK_TRY(run(store, &operation, error));
    return writing.status;
}

daybook_status dbk_commit_rotate(daybook_store *store, bool force, dbk_source **frozen_out,
                                 uint64_t *flush_lsn_out, void (*capture)(void *context),
                                 void *capture_context, daybook_error *error) {
    *frozen_out = NULL;
    dbk_operation operation = {.kind = DBK_OPERATION_ROTATE,
                               .urgent = true,
                               .force = force,
                               .apply = capture,
                               .apply_context = capture_context};
    daybook_status status = run(store, &operation, error);
    if (status != DAYBOOK_OK) return status;
    *frozen_out = operation.frozen;
    *flush_lsn_out = operation.flush_lsn;
    return DAYBOOK_OK;
}

// ---- Life -------------------------------------------------------------------------------------------------

daybook_status dbk_commit_new(daybook_store *store, daybook_error *error) {
    struct dbk_commit *commit = dbk_alloc_zeroed(store->allocator, sizeof *commit);
    if (commit == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory opening the store");
    commit->tail = &commit->head;
    commit->finished_tail = &commit->finished_head;
    pthread_mutex_init(&commit->queue_lock, NULL);
    pthread_cond_init(&commit->thread_wake, NULL);
    pthread_cond_init(&commit->queue_room, NULL);
    pthread_cond_init(&commit->idle, NULL);
    dbk_buf_init(&commit->lazy, store->allocator, DBK_RECORD_SIZE_MAX);
    commit->group_position = store->published_position = atomic_load(&store->durable_position);
    store->commit = commit;
    daybook_status status = dbk_journal_group_new(store->journal, &commit->group);
    if (status != DAYBOOK_OK) {
        dbk_commit_free(store);
        return dbk_fail(error, status, "out of memory opening the store");
    }
    return DAYBOOK_OK;
}

void dbk_commit_stop(daybook_store *store) {
    struct dbk_commit *commit = store->commit;
    if (commit == NULL) return;
    // Deferred groups and lazy records go out with a last, empty operation.
    // Urgent: it needs no more room than they have. dbk_commit_lost_deferred tells where it failed.
    dbk_operation last = {.kind = DBK_OPERATION_RECORDS, .urgent = true};
    if (!atomic_load(&store->poisoned)) (void)dbk_commit_run(store, &last);
    pthread_mutex_lock(&commit->queue_lock);
    commit->closing = true;
    pthread_cond_broadcast(&commit->queue_room);
    while (commit->led || commit->head != NULL) pthread_cond_wait(&commit->idle, &commit->queue_lock);
    pthread_cond_broadcast(&commit->thread_wake);
    bool running = commit->thread_running;
    pthread_mutex_unlock(&commit->queue_lock);
    if (running) {
        pthread_join(commit->thread, NULL);
        commit->thread_running = false;
    }
}

bool dbk_commit_lost_deferred(daybook_store *store) {
    return atomic_load(&store->commit->has_deferred);
}

void dbk_commit_free(daybook_store *store) {
    struct dbk_commit *commit = store->commit;
    if (commit == NULL) return;
    dbk_journal_group_free(commit->group);
    dbk_buf_deinit(&commit->lazy);
    pthread_cond_destroy(&commit->thread_wake);
    pthread_cond_destroy(&commit->queue_room);
    pthread_cond_destroy(&commit->idle);
    pthread_mutex_destroy(&commit->queue_lock);
    dbk_free(store->allocator, commit);
    store->commit = NULL;
}
