// SPDX-License-Identifier: Apache-2.0
// Repositories: the aggregates of one type, with commands that wait for each other and snapshots that take
// themselves.
//
// Commands. Two commands on one aggregate at a time would both load, and one of them would load again; so
// they take turns, by one of LOCK_COUNT locks that the aggregate's name chooses. Different aggregates run
// side by side and share the engine's syncs, but for the few that meet at one lock. What is appended past the
// repository is found by the append's condition.
//
// Snapshots. One is due where a state was loaded or made whose version is `snapshot_every` or more beyond the
// snapshot it began with. Its id is queued, and one thread, begun by the first, loads the aggregate again and
// stores it. It loads again rather than take the state at hand, because only a load between two looks at what
// was removed shows that the state holds nothing that is gone (snapshot.c), and because then a command pays
// nothing but the queuing. The queue is bounded: what does not fit is dropped and due again at the next load.
//
// Locks: a command's lock, then `queue_lock` (short). The thread of snapshots holds none while it works.
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "toolkit/typed.h"

enum { LOCK_COUNT = 1024, QUEUE_COUNT_MAX = 1024, SNAPSHOT_EVERY = 50, RETRY_COUNT = 8 };

typedef struct due {
    struct due *next;
    size_t size;
    char id[]; // and a NUL
} due;

struct daybook_repository {
    // Set at the beginning.
    daybook_engine *engine;
    daybook_aggregate_type type;
    daybook_snapshot_codec codec;
    daybook_repository_options options;
    char category[DAYBOOK_SUBJECT_SIZE_MAX];

    pthread_mutex_t locks[LOCK_COUNT]; // of commands

    pthread_mutex_t queue_lock; // what follows
    pthread_cond_t queue_changed;
    pthread_t thread;
    bool has_thread;
    bool is_ending;
    bool is_busy; // the thread works on `first`, which stays in the queue meanwhile
    due *first;
    due **last_link;
    size_t queue_count;
    char snapshot_failure[DAYBOOK_ERROR_MESSAGE_MAX];

    atomic_uint_fast64_t load_count, replayed_count, execute_count, conflict_count;
    atomic_uint_fast64_t snapshot_count, snapshot_drop_count, snapshot_fail_count;
};

struct daybook_aggregate {
    dbk_typed typed;
    dbk_place place;
};

// Snapshots in the background.

static daybook_status snapshot(daybook_repository *repository, daybook_slice id, bool is_forced,
                               bool *is_stored_out, daybook_error *error) {
    dbk_aggregate aggregate;
    dbk_typed typed;
    dbk_folder folder;
    dbk_place place;
    DBK_TRY(dbk_type_find(repository->engine, &repository->type, id, &aggregate, error));
    if (aggregate.stream_slice.size == 0)
        return dbk_fail(error, DAYBOOK_ENOTFOUND, "no aggregate '%.*s': no stream captures its subjects",
                        DBK_TEXT(aggregate.name_slice));
    DBK_TRY(dbk_typed_init(&typed, &repository->type, error));
    dbk_typed_folder(&typed, &folder);
    daybook_status status =
        dbk_snapshot_take(repository->engine, &aggregate, &folder, is_forced, &place, is_stored_out, error);
    dbk_typed_deinit(&typed);
    return status;
}

static void take_first(daybook_repository *repository) {
    due *work = repository->first;
    repository->is_busy = true;
    pthread_mutex_unlock(&repository->queue_lock);
    daybook_error error;
    daybook_error_init(&error);
    bool is_stored = false;
    daybook_status status =
        snapshot(repository, daybook_bytes(work->id, work->size), false, &is_stored, &error);
    pthread_mutex_lock(&repository->queue_lock);
    if (is_stored) atomic_fetch_add(&repository->snapshot_count, 1);
    // Gone meanwhile is no failure: its events were removed.
    if (status != DAYBOOK_OK && status != DAYBOOK_ENOTFOUND) {
        atomic_fetch_add(&repository->snapshot_fail_count, 1);
        memcpy(repository->snapshot_failure, error.message, sizeof repository->snapshot_failure);
    }
    repository->first = work->next;
    if (repository->first == NULL) repository->last_link = &repository->first;
    repository->queue_count--;
    repository->is_busy = false;
    dbk_free(dbk_allocator_default(), work);
    pthread_cond_broadcast(&repository->queue_changed);
}

static void *take_snapshots(void *context) {
    daybook_repository *repository = context;
    pthread_mutex_lock(&repository->queue_lock);
    for (;;) {
        if (repository->first != NULL)
            take_first(repository);
        else if (repository->is_ending)
            break;
        else
            pthread_cond_wait(&repository->queue_changed, &repository->queue_lock);
    }
    pthread_mutex_unlock(&repository->queue_lock);
    return NULL;
}

static bool is_queued(const daybook_repository *repository, daybook_slice id) {
    const due *at = repository->first;
    // What the thread works on may already have been loaded without the newest events.
    if (at != NULL && repository->is_busy) at = at->next;
    for (; at != NULL; at = at->next)
        if (at->size == id.size && memcmp(at->id, id.data, id.size) == 0) return true;
    return false;
}

// Under queue_lock. false where there is no room, memory or thread for it.
static bool enqueue(daybook_repository *repository, daybook_slice id) {
    if (is_queued(repository, id)) return true;
    if (repository->queue_count == QUEUE_COUNT_MAX) return false;
    if (!repository->has_thread)
        repository->has_thread = pthread_create(&repository->thread, NULL, take_snapshots, repository) == 0;
    if (!repository->has_thread) return false;
    due *work = dbk_alloc(dbk_allocator_default(), sizeof *work + id.size + 1);
    if (work == NULL) return false;
    work->next = NULL;
    work->size = id.size;
    memcpy(work->id, id.data, id.size);
    work->id[id.size] = '\0';
    *repository->last_link = work;
    repository->last_link = &work->next;
    repository->queue_count++;
    pthread_cond_broadcast(&repository->queue_changed);
    return true;
}

static void snapshot_if_due(daybook_repository *repository, daybook_slice id, uint64_t version,
                            uint64_t snapshot_version) {
    uint32_t every = repository->options.snapshot_every;
    if (repository->type.codec == NULL || every == 0 || version - snapshot_version < every) return;
    if (daybook_engine_is_read_only(repository->engine)) return;
    pthread_mutex_lock(&repository->queue_lock);
    if (!enqueue(repository, id)) atomic_fetch_add(&repository->snapshot_drop_count, 1);
    pthread_mutex_unlock(&repository->queue_lock);
}

void daybook_repository_wait(daybook_repository *repository) {
    if (repository == NULL) return;
    pthread_mutex_lock(&repository->queue_lock);
    while (repository->first != NULL) pthread_cond_wait(&repository->queue_changed, &repository->queue_lock);
    pthread_mutex_unlock(&repository->queue_lock);
}

// Beginning and end.

void daybook_repository_options_init(daybook_repository_options *options) {
    memset(options, 0, sizeof *options);
    options->size = sizeof *options;
    options->snapshot_every = SNAPSHOT_EVERY;
    options->retry_count = RETRY_COUNT;
}

static daybook_status check_options(daybook_engine *engine, const daybook_aggregate_type *type,
                                    const daybook_repository_options *options, daybook_error *error) {
    DBK_TRY(dbk_type_check(type, true, error));
    if (engine == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "no engine given");
    if (options != NULL && options->size < sizeof *options)
        return dbk_fail(error, DAYBOOK_EMISUSE, "options not made by daybook_repository_options_init");
    if (type->category.size >= DAYBOOK_SUBJECT_SIZE_MAX - 4)
        return dbk_fail(error, DAYBOOK_ESUBJECT, "category '%.*s' leaves no room for ids and types",
                        DBK_TEXT(type->category));
    return DAYBOOK_OK;
}

daybook_status daybook_repository_new(daybook_engine *engine, const daybook_aggregate_type *type,
                                      const daybook_repository_options *options,
                                      daybook_repository **repository_out, daybook_error *error) {
    if (repository_out == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "no room for the repository given");
    *repository_out = NULL;
    DBK_TRY(check_options(engine, type, options, error));
    daybook_repository *repository = dbk_alloc_zeroed(dbk_allocator_default(), sizeof *repository);
    if (repository == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory: repository not made");
    repository->engine = engine;
    repository->type = *type;
    memcpy(repository->category, type->category.data, type->category.size);
    repository->type.category = daybook_bytes(repository->category, type->category.size);
    if (type->codec != NULL) {
        repository->codec = *type->codec;
        repository->type.codec = &repository->codec;
    }
    daybook_repository_options_init(&repository->options);
    if (options != NULL) repository->options = *options;
    for (size_t i = 0; i < LOCK_COUNT; i++) pthread_mutex_init(&repository->locks[i], NULL);
    pthread_mutex_init(&repository->queue_lock, NULL);
    pthread_cond_init(&repository->queue_changed, NULL);
    repository->last_link = &repository->first;
    *repository_out = repository;
    return DAYBOOK_OK;
}

void daybook_repository_free(daybook_repository *repository) {
    if (repository == NULL) return;
    pthread_mutex_lock(&repository->queue_lock);
    repository->is_ending = true;
    pthread_cond_broadcast(&repository->queue_changed);
    pthread_mutex_unlock(&repository->queue_lock);
    if (repository->has_thread) (void)pthread_join(repository->thread, NULL);
    pthread_cond_destroy(&repository->queue_changed);
    pthread_mutex_destroy(&repository->queue_lock);
    for (size_t i = 0; i < LOCK_COUNT; i++) pthread_mutex_destroy(&repository->locks[i]);
    dbk_free(dbk_allocator_default(), repository);
}

void daybook_repository_get_info(daybook_repository *repository, daybook_repository_info *info_out) {
    memset(info_out, 0, sizeof *info_out);
    info_out->size = sizeof *info_out;
    if (repository == NULL) return;
    info_out->load_count = atomic_load(&repository->load_count);
    info_out->replayed_count = atomic_load(&repository->replayed_count);
    info_out->execute_count = atomic_load(&repository->execute_count);
    info_out->conflict_count = atomic_load(&repository->conflict_count);
    info_out->snapshot_count = atomic_load(&repository->snapshot_count);
    info_out->snapshot_drop_count = atomic_load(&repository->snapshot_drop_count);
    info_out->snapshot_fail_count = atomic_load(&repository->snapshot_fail_count);
    pthread_mutex_lock(&repository->queue_lock);
    memcpy(info_out->snapshot_failure, repository->snapshot_failure, sizeof info_out->snapshot_failure);
    pthread_mutex_unlock(&repository->queue_lock);
}

// Loading.

static void note_load(daybook_repository *repository, const dbk_place *place) {
    atomic_fetch_add_explicit(&repository->load_count, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&repository->replayed_count, place->event_count, memory_order_relaxed);
}

static daybook_status find(daybook_repository *repository, daybook_slice id, dbk_aggregate *aggregate,
                           daybook_error *error) {
    if (repository == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "no repository given");
    DBK_TRY(dbk_type_find(repository->engine, &repository->type, id, aggregate, error));
    if (aggregate->stream_slice.size > 0) return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_ENOTFOUND, "no aggregate '%.*s': no stream captures its subjects",
                    DBK_TEXT(aggregate->name_slice));
}

static daybook_status load(daybook_repository *repository, const dbk_aggregate *aggregate,
                           const daybook_moment *moment, daybook_aggregate *into, daybook_error *error) {
    DBK_TRY(dbk_typed_init(&into->typed, &repository->type, error));
    dbk_folder folder;
    dbk_typed_folder(&into->typed, &folder);
    DBK_TRY(dbk_replay(repository->engine, aggregate, moment, &folder, &into->place, error));
    return into->place.version > 0 ? DAYBOOK_OK : dbk_moment_not_found(aggregate, moment, error);
}

daybook_status daybook_aggregate_load(daybook_repository *repository, daybook_slice id,
                                      const daybook_moment *moment, daybook_aggregate **aggregate_out,
                                      daybook_error *error) {
    if (aggregate_out == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "no room for the aggregate given");
    *aggregate_out = NULL;
    dbk_aggregate aggregate;
    DBK_TRY(dbk_moment_check(moment, error));
    DBK_TRY(find(repository, id, &aggregate, error));
    daybook_aggregate *loaded = dbk_alloc_zeroed(dbk_allocator_default(), sizeof *loaded);
    if (loaded == NULL)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory: aggregate '%.*s'",
                        DBK_TEXT(aggregate.name_slice));
    daybook_status status = load(repository, &aggregate, moment, loaded, error);
    if (status != DAYBOOK_OK) {
        daybook_aggregate_release(loaded);
        return status;
    }
    note_load(repository, &loaded->place);
    // An earlier moment says nothing of what later loads replay.
    if (moment == NULL)
        snapshot_if_due(repository, id, loaded->place.version, loaded->place.snapshot_version);
    *aggregate_out = loaded;
    return DAYBOOK_OK;
}

void daybook_aggregate_release(daybook_aggregate *aggregate) {
    if (aggregate == NULL) return;
    dbk_typed_deinit(&aggregate->typed);
    dbk_free(dbk_allocator_default(), aggregate);
}

const void *daybook_aggregate_state(const daybook_aggregate *aggregate) {
    return aggregate->typed.state;
}

uint64_t daybook_aggregate_version(const daybook_aggregate *aggregate) {
    return aggregate->place.version;
}

uint64_t daybook_aggregate_seq(const daybook_aggregate *aggregate) {
    return aggregate->place.seq;
}

uint64_t daybook_aggregate_event_count(const daybook_aggregate *aggregate) {
    return aggregate->place.event_count;
}

uint64_t daybook_aggregate_snapshot_version(const daybook_aggregate *aggregate) {
    return aggregate->place.snapshot_version;
}

// History.

typedef struct history {
    dbk_typed typed;
    int (*visit)(void *context, const daybook_recorded_event *event, const void *state);
    void *context;
} history;

static daybook_status begin_history(void *context, daybook_error *error) {
    history *work = context;
    return dbk_typed_begin(&work->typed, error);
}

static daybook_status add_to_history(void *context, const daybook_recorded_event *event,
                                     daybook_error *error) {
    history *work = context;
    DBK_TRY(dbk_typed_evolve(&work->typed, event, error));
    return work->visit(work->context, event, work->typed.state) ? DAYBOOK_END : DAYBOOK_OK;
}

daybook_status
daybook_aggregate_history(daybook_repository *repository, daybook_slice id, const daybook_moment *moment,
                          int (*visit)(void *context, const daybook_recorded_event *event, const void *state),
                          void *context, daybook_error *error) {
    if (visit == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "no visitor given");
    dbk_aggregate aggregate;
    dbk_place place;
    history work = {.visit = visit, .context = context};
    DBK_TRY(dbk_moment_check(moment, error));
    DBK_TRY(find(repository, id, &aggregate, error));
    DBK_TRY(dbk_typed_init(&work.typed, &repository->type, error));
    // Without a schema it begins at the first event.
    const dbk_folder folder = {.context = &work, .begin = begin_history, .add = add_to_history};
    daybook_status status = dbk_replay(repository->engine, &aggregate, moment, &folder, &place, error);
    if (status == DAYBOOK_OK && place.version == 0) status = dbk_moment_not_found(&aggregate, moment, error);
    dbk_typed_deinit(&work.typed);
    return status;
}

// Commands and snapshots on demand.

daybook_status daybook_execute(daybook_repository *repository, daybook_slice id, daybook_decide decide,
                               const void *command, const daybook_execute_options *options,
                               daybook_execute_result *result_out, daybook_error *error) {
    if (repository == NULL || decide == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE, "no repository or no decider given");
    if (options != NULL && options->size < sizeof *options)
        return dbk_fail(error, DAYBOOK_EMISUSE, "options not made by daybook_execute_options_init");
    const dbk_command work = {
        .engine = repository->engine,
        .type = &repository->type,
        .id = id,
        .decide = decide,
        .command = command,
        .options = options,
        .retry_count = repository->options.retry_count,
        .auto_stream = repository->options.auto_stream,
    };
    daybook_execute_result result;
    dbk_place place;
    pthread_mutex_t *lock = &repository->locks[dbk_checksum(id.data, id.size, 0) % LOCK_COUNT];
    pthread_mutex_lock(lock);
    daybook_status status = dbk_execute(&work, &place, NULL, &result, error);
    pthread_mutex_unlock(lock);
    note_load(repository, &place);
    atomic_fetch_add_explicit(&repository->execute_count, 1, memory_order_relaxed);
    if (result.attempt_count > 1)
        atomic_fetch_add_explicit(&repository->conflict_count, result.attempt_count - 1,
                                  memory_order_relaxed);
    if (result_out != NULL) *result_out = result;
    if (status == DAYBOOK_OK) snapshot_if_due(repository, id, result.version, place.snapshot_version);
    return status;
}

daybook_status daybook_aggregate_snapshot(daybook_repository *repository, daybook_slice id, int forced,
                                          daybook_error *error) {
    if (repository == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "no repository given");
    if (repository->type.codec == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE, "category '%.*s' has no codec: its states cannot be kept",
                        DBK_TEXT(repository->type.category));
    return snapshot(repository, id, forced != 0, NULL, error);
}
