// SPDX-License-Identifier: Apache-2.0
// Streams as callers see them: add, update, remove, look at. A change of the catalogue is checked and
// committed under catalogue_lock, and applied to the table by the leader when durable, so that no event can
// be decided by a configuration that a crash might take back. What of it may fail is done before the commit:
// a change that is durable and yet refused would be met by the next opening. Who watches streams is told
// then.
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "store/commit.h"
#include "store/consumer.h"
#include "subject/subject.h"

enum { SUBJECT_TOKEN_SIZE_MAX = DAYBOOK_STREAM_NAME_SIZE_MAX };

typedef struct change {
    daybook_store *store;
    dbk_stream *stream;
    uint32_t id;
    const daybook_stream_config *config;
    const daybook_stream_config *prepared; // update: what takes its place
    int64_t created_ns;
} change;

static daybook_status encode_entry(const change *changed, bool present, dbk_buf *record) {
    char text[16];
    dbk_buf value;
    dbk_buf_init(&value, changed->store->allocator, 1 << 20);
    daybook_status status = DAYBOOK_OK;
    if (present) status = dbk_stream_encode(changed->id, changed->config, changed->created_ns, &value);
    dbk_catalogue_entry entry = {.kind = DBK_CATALOGUE_STREAM,
                                 .present = present,
                                 .key = dbk_stream_key(changed->id, text),
                                 .value = daybook_bytes(value.data, value.size)};
    if (status == DAYBOOK_OK) status = dbk_catalogue_encode(&entry, record);
    dbk_buf_deinit(&value);
    return status;
}

static void tell(const change *changed) {
    daybook_store *store = changed->store;
    pthread_mutex_lock(&store->told_lock);
    dbk_slice name = changed->config != NULL ? changed->config->name : changed->stream->name;
    if (store->stream_told != NULL) store->stream_told(store->stream_told_context, name);
    pthread_mutex_unlock(&store->told_lock);
}

daybook_status daybook_stream_watch(daybook_store *store, void (*told)(void *context, daybook_slice name),
                                    void *context, daybook_error *error) {
    if (store == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "no store: open one with daybook_open");
    if (store->read_only)
        return dbk_fail(error, DAYBOOK_EREADONLY,
                        "the store is open for reading only: open it for writing to be told of streams");
    pthread_mutex_lock(&store->told_lock);
    bool is_others = store->stream_told != NULL && store->stream_told_context != context;
    if (!is_others) {
        store->stream_told = told;
        store->stream_told_context = context;
    }
    pthread_mutex_unlock(&store->told_lock);
    if (!is_others || told == NULL) return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_EEXISTS,
                    "the streams of this store are watched already: another server serves it, or the program "
                    "watches them itself, and only one can; end that first");
}

static daybook_status commit_change(change *changed, bool present, void (*apply)(void *context),
                                    daybook_error *error) {
    dbk_buf record;
    dbk_buf_init(&record, changed->store->allocator, 1 << 20);
    daybook_status status = encode_entry(changed, present, &record);
    if (status != DAYBOOK_OK) {
        (void)dbk_fail(error, status, "out of memory changing a stream");
    } else {
        status = dbk_commit_records(changed->store, daybook_bytes(record.data, record.size), apply, changed,
                                    error);
    }
    dbk_buf_deinit(&record);
    if (status == DAYBOOK_OK) tell(changed);
    return status;
}

// ---- Add --------------------------------------------------------------------------------------------------

static void apply_add(void *context) {
    change *changed = context;
    dbk_stream_table_insert(changed->store->streams, changed->stream);
}

static bool is_internal_name(dbk_slice name) {
    const char *bytes = name.data;
    return (name.size > 0 && bytes[0] == '$') || (name.size >= 3 && memcmp(bytes, "KV_", 3) == 0);
}

// catalogue_lock is held.
static daybook_status add(daybook_store *store, const daybook_stream_config *said, dbk_stream **stream_out,
                          daybook_error *error) {
    daybook_stream_config config = *said;
    if (is_internal_name(config.name)) config.flags |= DAYBOOK_STREAM_INTERNAL;
    change changed = {.store = store,
                      .id = dbk_stream_table_next_id(store->streams),
                      .config = &config,
                      .created_ns = store->vfs->clock_real_ns(store->vfs)};
    DBK_TRY(dbk_stream_table_prepare(store->streams, changed.id, &config, changed.created_ns, &changed.stream,
                                     error));
    atomic_store(&changed.stream->is_swept, true); // it is empty
    // The number is spent, whatever comes of it: an id is never used twice.
    dbk_stream_table_set_next_id(store->streams, changed.id + 1);
    daybook_status status = commit_change(&changed, true, apply_add, error);
    if (status != DAYBOOK_OK) {
        dbk_stream_table_discard(store->streams, changed.stream);
        return status;
    }
    if (stream_out != NULL) *stream_out = changed.stream;
    return DAYBOOK_OK;
}

static daybook_status check_config(daybook_store *store, const daybook_stream_config *config,
                                   daybook_error *error) {
    if (store == NULL || config == NULL || config->size < sizeof *config)
        return dbk_fail(error, DAYBOOK_EMISUSE,
                        "the configuration was not initialised with daybook_stream_config_init");
    if (store->read_only) return dbk_fail(error, DAYBOOK_EREADONLY, "the store is open for reading only");
    return DAYBOOK_OK;
}

daybook_status daybook_stream_add(daybook_store *store, const daybook_stream_config *config,
                                  daybook_error *error) {
    DBK_TRY(check_config(store, config, error));
    pthread_mutex_lock(&store->catalogue_lock);
    daybook_status status = add(store, config, NULL, error);
    pthread_mutex_unlock(&store->catalogue_lock);
    return status;
}

daybook_status dbk_stream_add_for_subject(daybook_store *store, dbk_slice subject, dbk_stream **stream_out,
                                          bool *created_out, daybook_error *error) {
    *stream_out = NULL;
    *created_out = false;
    dbk_slice token = dbk_subject_token(subject, 0);
    // Those subjects have owners: a stream of them all would keep buckets from being added.
    if (token.size > 0 && ((const char *)token.data)[0] == '$')
        return dbk_fail(error, DAYBOOK_ENOSTREAM,
                        "no stream captures '%.*s', and none is made for subjects that begin with $: add the "
                        "bucket or stream first",
                        (int)subject.size, (const char *)subject.data);
    if (token.size > SUBJECT_TOKEN_SIZE_MAX || dbk_subject_token_count(subject) < 2)
        return dbk_fail(error, DAYBOOK_ENOSTREAM,
                        "no stream captures '%.*s', and none can be made for it: an automatic stream needs a "
                        "subject of two or more tokens",
                        (int)subject.size, (const char *)subject.data);
    char name[SUBJECT_TOKEN_SIZE_MAX], filter[SUBJECT_TOKEN_SIZE_MAX + 2];
    for (size_t i = 0; i < token.size; i++) {
        char byte = ((const char *)token.data)[i];
        if (byte >= 'a' && byte <= 'z') byte = (char)(byte - 'a' + 'A');
        name[i] = byte == '/' || byte == '\\' ? '_' : byte;
    }
    memcpy(filter, token.data, token.size);
    memcpy(filter + token.size, ".>", 2);
    dbk_slice subjects = daybook_bytes(filter, token.size + 2);
    daybook_stream_config config;
    daybook_stream_config_init(&config);
    config.name = daybook_bytes(name, token.size);
    config.subjects = &subjects;
    config.subject_count = 1;
    pthread_mutex_lock(&store->catalogue_lock);
    *stream_out = dbk_stream_table_capture(store->streams, subject);
    bool is_there = *stream_out != NULL; // made by another thread since the caller looked
    daybook_status status = is_there ? DAYBOOK_OK : add(store, &config, stream_out, error);
    *created_out = status == DAYBOOK_OK && !is_there;
    pthread_mutex_unlock(&store->catalogue_lock);
    // Names are in capitals, so Orders.1.placed finds the stream of orders.1.placed in its way.
    if (status == DAYBOOK_EEXISTS)
        return dbk_fail(error, DAYBOOK_ENOSTREAM,
                        "no stream captures '%.*s', and none is made for it: stream %.*s exists and captures "
                        "other subjects; edit its subjects, or add a stream of another name",
                        (int)subject.size, (const char *)subject.data, (int)token.size, name);
    return status;
}

// ---- Update and remove ------------------------------------------------------------------------------------

static void apply_update(void *context) {
    change *changed = context;
    dbk_stream_table_replace(changed->store->streams, changed->stream, changed->prepared);
}

static daybook_status find(daybook_store *store, dbk_slice name, dbk_stream **stream_out,
                           daybook_error *error) {
    *stream_out = dbk_stream_table_find(store->streams, name);
    if (*stream_out != NULL) return DAYBOOK_OK;
    return dbk_fail(error, DAYBOOK_ENOTFOUND, "there is no stream '%.*s'",
                    (int)(name.size < 255 ? name.size : 255), (const char *)name.data);
}

static daybook_status update(daybook_store *store, const daybook_stream_config *said, dbk_stream **stream_out,
                             daybook_error *error) {
    DBK_TRY(find(store, said->name, stream_out, error));
    daybook_stream_config config = *said;
    if (is_internal_name(config.name)) config.flags |= DAYBOOK_STREAM_INTERNAL;
    change changed = {.store = store,
                      .stream = *stream_out,
                      .id = (*stream_out)->id,
                      .config = &config,
                      .created_ns = (*stream_out)->created_ns};
    DBK_TRY(dbk_stream_table_prepare_update(store->streams, *stream_out, &config, &changed.prepared, error));
    daybook_status status = commit_change(&changed, true, apply_update, error);
    if (status != DAYBOOK_OK) dbk_stream_table_discard_update(store->streams, changed.prepared);
    return status;
}

// Limits on the number of events per subject that an update made tighter.
daybook_status dbk_stream_trim_subjects(daybook_store *store, dbk_stream *stream, daybook_error *error) {
    const daybook_stream_config *config = atomic_load(&stream->config);
    if (config->max_msgs_per_subject == 0) return DAYBOOK_OK;
    daybook_query query;
    daybook_query_init(&query);
    query.flags = DAYBOOK_QUERY_LAST_PER_SUBJECT;
    daybook_cursor *cursor;
    DBK_TRY(dbk_cursor_open(store, &query, stream, &cursor, error));
    daybook_recorded_event event;
    daybook_status status;
    while ((status = daybook_cursor_next(cursor, 0, &event, error)) == DAYBOOK_OK)
        if ((status = dbk_store_trim_subject(store, stream, event.event.subject, error)) != DAYBOOK_OK) break;
    daybook_cursor_close(cursor);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

daybook_status daybook_stream_update(daybook_store *store, const daybook_stream_config *config,
                                     daybook_error *error) {
    DBK_TRY(check_config(store, config, error));
    dbk_stream *stream = NULL;
    DBK_TRY(find(store, config->name, &stream, error));
    // A flush may cut the journal behind the update before its limits are enforced.
    uint64_t first_position = atomic_load(&stream->first_position);
    dbk_trim_hold hold;
    if (config->max_msgs_per_subject > 0)
        dbk_commit_hold_trim(store, &hold, first_position > 0 ? first_position : 1);
    pthread_mutex_lock(&store->catalogue_lock);
    daybook_status status = update(store, config, &stream, error);
    pthread_mutex_unlock(&store->catalogue_lock);
    bool is_done = status == DAYBOOK_OK;
    if (is_done) status = dbk_stream_trim_subjects(store, stream, error);
    if (status == DAYBOOK_OK) status = dbk_store_trim(store, stream, error);
    bool is_owed = is_done && status != DAYBOOK_OK;
    if (is_owed) dbk_commit_owe_trim(store, first_position > 0 ? first_position : 1);
    if (config->max_msgs_per_subject > 0) dbk_commit_release_trim(store, &hold);
    if (!is_owed || error == NULL) return status;
    daybook_error detail = *error;
    return dbk_fail(
        error, status,
        "stream %.*s is changed, but its new limits are not enforced on all it holds yet: %.300s; "
        "the store tries again by itself",
        (int)stream->name.size, (const char *)stream->name.data, detail.message);
}

static void apply_removal(void *context) {
    change *changed = context;
    dbk_stream_table_remove(changed->store->streams, changed->stream);
}

static daybook_status remove_stream(daybook_store *store, dbk_slice name, daybook_error *error) {
    change changed = {.store = store};
    DBK_TRY(find(store, name, &changed.stream, error));
    changed.id = changed.stream->id;
    return commit_change(&changed, false, apply_removal, error);
}

daybook_status daybook_stream_remove(daybook_store *store, daybook_slice name, daybook_error *error) {
    if (store == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "no store");
    if (store->read_only) return dbk_fail(error, DAYBOOK_EREADONLY, "the store is open for reading only");
    dbk_stream *stream;
    DBK_TRY(find(store, name, &stream, error));
    // Its events go first, with the snapshots that folded them; a stream that denies purging may still be
    // removed.
    DBK_TRY(dbk_stream_forget_snapshots(store, stream, error));
    pthread_mutex_lock(&store->catalogue_lock);
    daybook_status status = remove_stream(store, name, error);
    pthread_mutex_unlock(&store->catalogue_lock);
    if (status == DAYBOOK_OK) dbk_consumers_drop_stream(store, stream);
    if (status == DAYBOOK_OK) dbk_maintenance_free_space(store);
    return status;
}

// ---- Look -------------------------------------------------------------------------------------------------

// How many of its seqs are missing: between two moments with the same number nothing was removed.
static uint64_t lock_missing(daybook_store *store, const dbk_stream *stream) {
    pthread_mutex_lock(&store->state_lock);
    pthread_mutex_lock(&store->removal_lock);
    return atomic_load(&stream->published_seq) - atomic_load(&stream->message_count);
}

static void unlock_missing(daybook_store *store) {
    pthread_mutex_unlock(&store->removal_lock);
    pthread_mutex_unlock(&store->state_lock);
}

// The oldest stays the oldest until something is removed: requests of a server ask for it all the time, and
// reading it is most of what they cost.
static bool is_first_known(daybook_store *store, dbk_stream *stream, dbk_first_event *first_out) {
    uint64_t missing = lock_missing(store, stream);
    *first_out = stream->first_event;
    unlock_missing(store);
    if (first_out->is_known && first_out->missing == missing) return true;
    *first_out = (dbk_first_event){.missing = missing};
    return false;
}

static void remember_first(daybook_store *store, dbk_stream *stream, const dbk_first_event *first) {
    bool is_known = lock_missing(store, stream) == first->missing; // else something was removed meanwhile
    stream->first_event = *first;
    stream->first_event.is_known = is_known;
    unlock_missing(store);
}

// The oldest live event: what the marks say, unless events behind them were removed one by one. A reader
// leaves out what reads hide; in a writer the oldest event is the oldest that limits have not removed yet.
daybook_status dbk_stream_find_first(daybook_store *store, dbk_stream *stream, dbk_first_event *first_out,
                                     daybook_error *error) {
    *first_out = (dbk_first_event){0};
    if (!store->read_only && is_first_known(store, stream, first_out)) return DAYBOOK_OK;
    daybook_query query;
    daybook_query_init(&query);
    query.limit = 1;
    query.stream = stream->name;
    daybook_cursor *cursor;
    DBK_TRY(store->read_only ? daybook_read(store, &query, &cursor, error)
                             : dbk_cursor_open(store, &query, stream, &cursor, error));
    daybook_recorded_event event;
    daybook_status status = daybook_cursor_next(cursor, 0, &event, error);
    if (status == DAYBOOK_OK) {
        first_out->seq = event.seq;
        first_out->recorded_ns = event.recorded_ns;
        if (!store->read_only) remember_first(store, stream, first_out);
    }
    daybook_cursor_close(cursor);
    return status == DAYBOOK_END ? DAYBOOK_OK : status;
}

static daybook_status find_first(daybook_store *store, dbk_stream *stream, daybook_stream_info *info,
                                 daybook_error *error) {
    dbk_first_event first;
    info->first_seq = info->last_seq + 1;
    if (info->message_count == 0) return DAYBOOK_OK;
    DBK_TRY(dbk_stream_find_first(store, stream, &first, error));
    if (first.seq == 0) return DAYBOOK_OK;
    info->first_seq = first.seq;
    info->first_recorded_ns = first.recorded_ns;
    return DAYBOOK_OK;
}

// The two are taken one after the other.
static uint64_t without(uint64_t total, uint64_t part) {
    return part < total ? total - part : 0;
}

static daybook_status new_info(daybook_store *store, dbk_stream *stream, daybook_stream_info **info_out,
                               daybook_error *error) {
    const daybook_stream_config *config = atomic_load(&stream->config);
    daybook_stream_info *info =
        dbk_alloc_zeroed(store->allocator, sizeof *info + dbk_stream_config_room(config));
    if (info == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory describing a stream");
    info->size = sizeof *info;
    dbk_stream_config_copy(config, info + 1, &info->config);
    info->stream_id = stream->id;
    info->message_count = atomic_load(&stream->message_count);
    info->byte_count = atomic_load(&stream->byte_count);
    info->last_seq = atomic_load(&stream->published_seq);
    info->last_recorded_ns = atomic_load(&stream->last_recorded_ns);
    info->created_ns = stream->created_ns;
    uint64_t expired_count, expired_bytes;
    daybook_status status = dbk_store_count_expired(store, stream, &expired_count, &expired_bytes, error);
    info->message_count = without(info->message_count, expired_count);
    info->byte_count = without(info->byte_count, expired_bytes);
    if (status == DAYBOOK_OK) status = find_first(store, stream, info, error);
    // Empty: first_seq is behind last_seq.
    if (status == DAYBOOK_OK)
        info->deleted_count = without(info->last_seq + 1 - info->first_seq, info->message_count);
    if (status != DAYBOOK_OK) {
        dbk_free(store->allocator, info);
        return status;
    }
    *info_out = info;
    return DAYBOOK_OK;
}

daybook_status daybook_stream_get_info(daybook_store *store, daybook_slice name,
                                       daybook_stream_info **info_out, daybook_error *error) {
    if (store == NULL || info_out == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE, "no store or no place for the answer");
    *info_out = NULL;
    if (store->read_only) DBK_TRY(dbk_follower_refresh(store, error));
    dbk_stream *stream;
    DBK_TRY(find(store, name, &stream, error));
    return new_info(store, stream, info_out, error);
}

void daybook_stream_info_release(daybook_store *store, daybook_stream_info *info) {
    if (store != NULL) dbk_free(store->allocator, info);
}

static int compare_names(const void *a, const void *b) {
    return dbk_slice_compare((*(dbk_stream *const *)a)->name, (*(dbk_stream *const *)b)->name);
}

daybook_status daybook_stream_list(daybook_store *store,
                                   int (*visit)(void *context, const daybook_stream_info *info),
                                   void *context, daybook_error *error) {
    if (store == NULL || visit == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "no store or nobody to tell");
    if (store->read_only) DBK_TRY(dbk_follower_refresh(store, error));
    dbk_stream **streams;
    size_t count;
    if (dbk_stream_table_all(store->streams, &streams, &count) != DAYBOOK_OK)
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory listing streams");
    qsort(streams, count, sizeof *streams, compare_names);
    daybook_status status = DAYBOOK_OK;
    for (size_t i = 0; status == DAYBOOK_OK && i < count; i++) {
        daybook_stream_info *info;
        status = new_info(store, streams[i], &info, error);
        if (status != DAYBOOK_OK) break;
        int stop = visit(context, info);
        daybook_stream_info_release(store, info);
        if (stop != 0) break;
    }
    dbk_free(store->allocator, streams);
    return status;
}

daybook_status daybook_stream_find(daybook_store *store, daybook_slice subject, daybook_slice *name_out,
                                   daybook_error *error) {
    if (store == NULL || name_out == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE, "no store or no place for the answer");
    if (!daybook_subject_is_valid(subject))
        return dbk_fail(error, DAYBOOK_ESUBJECT, "'%.*s' is no subject",
                        (int)(subject.size < 200 ? subject.size : 200), (const char *)subject.data);
    if (store->read_only) DBK_TRY(dbk_follower_refresh(store, error));
    const dbk_stream *stream = dbk_stream_table_capture(store->streams, subject);
    if (stream == NULL)
        return dbk_fail(error, DAYBOOK_ENOSTREAM, "no stream captures '%.*s'", (int)subject.size,
                        (const char *)subject.data);
    *name_out = stream->name;
    return DAYBOOK_OK;
}
