// SPDX-License-Identifier: Apache-2.0
// The store tells the name of a stream that changed, in whatever thread changed it. The loop takes it up as a
// call of the API is: in order with those, one at a time. A worker looks what the stream is like then, which
// may be newer than what was told, or gone; the loop goes by that. So the order in which the store was
// changed does not matter, and a stream that the API itself has changed is only looked at once more.
#include "jetstream/catalogue.h"
#include "jetstream/api_call.h"

#include "api/stream_config.h"

enum { ARENA_CHUNK = 4 << 10 };

typedef struct changed_stream {
    dbk_job job;
    dbk_jetstream *jetstream;
    daybook_status status;
    dbk_arena *arena;
    daybook_stream_info *info;
    dbk_api_stream_config config; // borrows from both
    size_t name_size;
    uint8_t name[];
} changed_stream;

static dbk_slice name_of(const changed_stream *changed) {
    return daybook_bytes(changed->name, changed->name_size);
}

static void free_changed(changed_stream *changed) {
    daybook_stream_info_release(changed->jetstream->store, changed->info);
    dbk_arena_free(changed->arena);
    dbk_free(changed->jetstream->allocator, changed);
}

static daybook_status read_stream(changed_stream *changed) {
    dbk_jetstream *jetstream = changed->jetstream;
    dbk_api_error error;
    DBK_TRY(dbk_arena_new(jetstream->allocator, ARENA_CHUNK, &changed->arena));
    DBK_TRY(daybook_stream_get_info(jetstream->store, name_of(changed), &changed->info, NULL));
    bool is_read =
        dbk_api_stream_config_from_store(&changed->info->config, changed->arena, &changed->config, &error);
    return is_read ? DAYBOOK_OK : DAYBOOK_EINVALID;
}

// On a worker.
static void run_reading(dbk_job *job) {
    changed_stream *changed = DBK_OWNER(job, changed_stream, job);
    bool is_stopping = atomic_load(&changed->jetstream->is_stopping);
    changed->status = is_stopping ? DAYBOOK_ECLOSED : read_stream(changed);
}

// On the loop.
static void take_over(dbk_job *job) {
    changed_stream *changed = DBK_OWNER(job, changed_stream, job);
    dbk_jetstream *jetstream = changed->jetstream;
    daybook_status status = changed->status;
    if (atomic_load(&jetstream->is_stopping)) status = DAYBOOK_ECLOSED;
    if (status == DAYBOOK_OK) status = dbk_js_set_stream(jetstream, &changed->config);
    if (status == DAYBOOK_ENOTFOUND) {
        dbk_js_remove_stream(jetstream, name_of(changed));
    } else if (status != DAYBOOK_OK && status != DAYBOOK_ECLOSED) {
        dbk_broker_log(jetstream->broker, ERROR, "JetStream stream '%.*s' is not served as it is now: %s",
                       (int)changed->name_size, (const char *)changed->name, daybook_status_text(status));
    }
    free_changed(changed);
    dbk_js_end_call(jetstream);
}

// On the loop: as a call.
static void begin(dbk_job *job) {
    changed_stream *changed = DBK_OWNER(job, changed_stream, job);
    dbk_jetstream *jetstream = changed->jetstream;
    if (atomic_load(&jetstream->is_stopping)) {
        free_changed(changed);
        return;
    }
    changed->job = (dbk_job){.run = run_reading, .done = take_over};
    dbk_js_begin_call(jetstream, &changed->job);
}

// In the thread that changed it. Not counted as under way: all finished jobs are done before JetStream is
// freed.
static void take_told(void *context, daybook_slice name) {
    dbk_jetstream *jetstream = context;
    if (dbk_js_is_hidden(name)) return;
    changed_stream *changed = dbk_alloc_zeroed(jetstream->allocator, sizeof *changed + name.size);
    if (changed == NULL) {
        dbk_broker_log(jetstream->broker, ERROR,
                       "JetStream stream '%.*s' is not served as it is now: out of memory", (int)name.size,
                       (const char *)name.data);
        return;
    }
    changed->job.done = begin;
    changed->jetstream = jetstream;
    changed->name_size = name.size;
    memcpy(changed->name, name.data, name.size);
    dbk_jobs_finish(jetstream->broker->jobs, &changed->job);
}

daybook_status dbk_js_start_catalogue(dbk_jetstream *jetstream, daybook_error *error) {
    return daybook_stream_watch(jetstream->store, take_told, jetstream, error);
}

void dbk_js_stop_catalogue(dbk_jetstream *jetstream) {
    (void)daybook_stream_watch(jetstream->store, NULL, jetstream, NULL); // another's, or none, stays
}
