// SPDX-License-Identifier: Apache-2.0
// $JS.API.STREAM.…, but for messages, and $JS.API.INFO. On a worker; calls run one after the other.
//
// What the store knows of a stream's configuration and what only JetStream does are put together by
// api/stream_config.h.
#include "base/bytes.h"
#include "base/error.h"
#include "daybook/read.h"
#include "daybook/subject.h"
#include "jetstream/api_call.h"
#include "jetstream/cycle.h"
#include "jetstream/mirror.h"
#include "jetstream/page.h"

enum { GAPS_MAX = 1 << 20 }; // deleted sequence numbers of one answer

// ---- Infos ------------------------------------------------------------------------------------------------

static bool read_config(const dbk_js_call *call, const daybook_stream_info *info,
                        dbk_api_stream_config *config_out, dbk_api_error *error_out) {
    return dbk_api_stream_config_from_store(&info->config, call->arena, config_out, error_out);
}

bool dbk_js_call_stream(dbk_js_call *call, dbk_slice name, dbk_api_stream_config *config_out,
                        daybook_stream_info **info_out) {
    daybook_error cause;
    dbk_api_error error;
    daybook_error_init(&cause);
    *info_out = NULL;
    if (dbk_js_is_hidden(name)) {
        dbk_js_call_refuse(call, DBK_API_ERR_STREAM_NOT_FOUND);
        return false;
    }
    daybook_status status = daybook_stream_get_info(call->jetstream->store, name, info_out, &cause);
    if (status == DAYBOOK_OK) {
        if (read_config(call, *info_out, config_out, &error)) return true;
        daybook_stream_info_release(call->jetstream->store, *info_out);
        *info_out = NULL;
        dbk_js_call_fail(call, &error);
    } else if (status == DAYBOOK_ENOTFOUND) {
        dbk_js_call_refuse(call, DBK_API_ERR_STREAM_NOT_FOUND);
    } else {
        dbk_js_call_fail_status(call, status, &cause, DBK_API_ERR_STREAM_GENERAL);
    }
    return false;
}

// What cannot be counted is told as none: an info is worth more than its last number.
static uint64_t count_subjects(const dbk_js_call *call, dbk_slice stream) {
    uint64_t total = 0;
    daybook_subjects_options options;
    daybook_subjects_options_init(&options);
    options.limit = 0;
    (void)daybook_subjects(call->jetstream->store, stream, &options, NULL, NULL, &total, NULL);
    return total;
}

static uint64_t count_consumers(const dbk_js_call *call, dbk_slice stream) {
    uint64_t count = 0;
    (void)daybook_consumer_count(call->jetstream->store, stream, &count, NULL);
    return count;
}

// False: out of memory.
static bool fill_source(const dbk_js_call *call, dbk_slice stream, const dbk_api_source *source,
                        dbk_api_source_info *info_out) {
    dbk_slice index_name;
    dbk_js_copy_state state;
    if (!dbk_api_source_index_name(source, call->arena, &index_name)) return false;
    dbk_js_get_copy_state(call->jetstream, stream, index_name, &state);
    *info_out = (dbk_api_source_info){.name = source->name,
                                      .lag = state.lag,
                                      .active_ns = -1,
                                      .filter_subject = source->filter_subject,
                                      .subject_transforms = source->subject_transforms};
    if (state.was_seen) { // a copy in touch is told as 1 ns: clients take 0 for never
        int64_t since_ns = dbk_broker_clock_ns(call->jetstream->broker) - state.seen_ns;
        info_out->active_ns = state.seen_ns == INT64_MAX || since_ns < 1 ? 1 : since_ns;
    }
    if (!state.has_error) return true;
    dbk_api_error error;
    (void)dbk_api_fail(&error, state.error);
    dbk_api_told_error *told = dbk_arena_alloc(call->arena, sizeof *told);
    if (told == NULL) return false;
    *told = (dbk_api_told_error){.code = error.code, .error_code = error.error_code};
    told->description = dbk_arena_copy_text(call->arena, daybook_text(error.description));
    info_out->error = told;
    return told->description.data != NULL;
}

// How its mirror or sources get on. What there is no memory for is left out.
static void fill_sources(const dbk_js_call *call, dbk_api_stream_info *info) {
    const dbk_api_stream_config *config = &info->config;
    size_t count = dbk_api_source_count(config);
    if (count == 0) return;
    dbk_api_source_info *told = dbk_arena_alloc(call->arena, count * sizeof *told);
    if (told == NULL) return;
    for (size_t i = 0; i < count; i++)
        if (!fill_source(call, config->name, dbk_api_source_at(config, i), &told[i])) return;
    if (config->mirror != NULL) {
        info->mirror = told;
    } else {
        info->sources = (dbk_api_objects){told, count};
    }
}

static void fill_info(const dbk_js_call *call, const daybook_stream_info *of,
                      const dbk_api_stream_config *config, dbk_api_stream_info *info_out) {
    const dbk_jetstream *jetstream = call->jetstream;
    bool is_empty = of->message_count == 0;
    *info_out =
        (dbk_api_stream_info){.config = *config,
                              .created_ns = of->created_ns,
                              .state = {.messages = of->message_count,
                                        .bytes = of->byte_count,
                                        .first_seq = is_empty && of->last_seq == 0 ? 0 : of->first_seq,
                                        .first_time_ns = is_empty ? 0 : of->first_recorded_ns,
                                        .last_seq = of->last_seq,
                                        .last_time_ns = of->last_seq == 0 ? 0 : of->last_recorded_ns,
                                        .subject_count = count_subjects(call, of->config.name),
                                        .deleted_count = of->deleted_count,
                                        .consumer_count = count_consumers(call, of->config.name)},
                              .domain = jetstream->domain,
                              .now_ns = dbk_broker_clock_ns(jetstream->broker)};
    fill_sources(call, info_out);
}

// The answer of a call that made or changed a stream, or asks for it.
static void answer_with_stream(dbk_js_call *call, dbk_slice name) {
    dbk_api_stream_config config;
    daybook_stream_info *of;
    dbk_api_stream_info info;
    if (!dbk_js_call_stream(call, name, &config, &of)) return;
    fill_info(call, of, &config, &info);
    dbk_api_write_stream(&call->answer, &call->settings.dial, call->kind, &info,
                         call->kind == DBK_API_STREAM_CREATE);
    daybook_stream_info_release(call->jetstream->store, of);
}

// ---- Creating and updating --------------------------------------------------------------------------------

static void set_stream(dbk_js_call *call) {
    dbk_jetstream *jetstream = call->jetstream;
    daybook_status status = dbk_js_set_stream(jetstream, call->stream);
    if (status == DAYBOOK_OK) return;
    dbk_broker_log(jetstream->broker, ERROR, "JetStream stream '%.*s' is not served: %s",
                   (int)call->stream->name.size, (const char *)call->stream->name.data,
                   daybook_status_text(status));
    dbk_buf_reset(&call->answer);
    dbk_js_call_refuse(call, DBK_API_ERR_INSUFFICIENT_RESOURCES);
}

// What the loop is to know of it outlives the request: it lies in the call's arena.
static void set_effect(dbk_js_call *call, const dbk_api_stream_config *config, const char *advisory,
                       const char *action) {
    dbk_api_stream_config *copy = dbk_arena_alloc(call->arena, sizeof *copy);
    if (copy == NULL) {
        dbk_js_call_refuse(call, DBK_API_ERR_INSUFFICIENT_RESOURCES);
        return;
    }
    *copy = *config;
    call->stream = copy;
    call->effect = set_stream;
    call->stream_name = config->name;
    call->advisory = advisory;
    call->action = action;
}

static int count_one(void *context, const daybook_stream_info *info) {
    if (!dbk_js_is_hidden(info->config.name)) ++*(int64_t *)context;
    return 0;
}

static bool may_be_made(dbk_js_call *call, const dbk_api_stream_config *config, dbk_api_error *error_out) {
    int64_t count = 0;
    if (dbk_js_is_hidden(config->name)) return dbk_api_fail(error_out, DBK_API_ERR_STREAM_NAME_EXISTS);
    if (call->settings.streams_max < 0) return true;
    daybook_status status = daybook_stream_list(call->jetstream->store, count_one, &count, NULL);
    if (status != DAYBOOK_OK) return dbk_api_fail_status(error_out, status, NULL, DBK_API_ERR_STREAM_CREATE);
    return count < call->settings.streams_max || dbk_api_fail(error_out, DBK_API_ERR_MAXIMUM_STREAMS_LIMIT);
}

static bool fail_store(daybook_status status, const daybook_error *cause, dbk_api_error_kind otherwise,
                       dbk_api_error *error_out) {
    if (status == DAYBOOK_EOVERLAP) return dbk_api_fail(error_out, DBK_API_ERR_STREAM_SUBJECT_OVERLAP);
    return dbk_api_fail_status(error_out, status, cause, otherwise);
}

static bool begins_with(dbk_slice text, const char *beginning) {
    size_t size = strlen(beginning);
    return text.size >= size && memcmp(text.data, beginning, size) == 0;
}

// What is fixed at creation and no client can say: ids as JetStream remembers them, and buckets as the
// library makes them.
static void set_fixed(const dbk_api_stream_config *config, daybook_stream_config *stored) {
    stored->flags |= DAYBOOK_STREAM_IDS_IN_WINDOW;
    stored->first_seq = config->first_seq;
    if (begins_with(config->name, "KV_")) stored->flags |= DAYBOOK_STREAM_INTERNAL;
    if (begins_with(config->name, "KV_") || begins_with(config->name, "OBJ_")) stored->aggregate_tokens = 0;
}

// What streams were promised together, this one with it.
static bool may_reserve(dbk_js_call *call, const dbk_api_stream_config *config, dbk_api_error *error_out) {
    dbk_api_error_kind kind;
    dbk_js_storage storage = config->storage == DAYBOOK_STORAGE_MEMORY ? DBK_JS_MEMORY : DBK_JS_FILES;
    daybook_status status = dbk_js_usage_may_reserve(call->jetstream->store, &call->settings.server_room,
                                                     &call->settings.account_room, storage, config->name,
                                                     config->max_bytes, &kind);
    if (status == DAYBOOK_OK) return true;
    if (status == DAYBOOK_ELIMIT) return dbk_api_fail(error_out, kind);
    return dbk_api_fail_status(error_out, status, NULL, DBK_API_ERR_STREAM_CREATE);
}

// What depends on the streams copied, where they are there: sizes, and who answers for a mirror's.
static bool fit_to_source(dbk_js_call *call, dbk_api_stream_config *config, const dbk_api_source *source,
                          bool is_pedantic, dbk_api_error *error_out) {
    daybook_stream_info *info;
    dbk_api_stream_config of;
    bool is_mirror = source == config->mirror;
    if (dbk_js_is_hidden(source->name))
        return dbk_api_fail(error_out, is_mirror ? DBK_API_ERR_MIRROR_INVALID_STREAM_NAME
                                                 : DBK_API_ERR_SOURCE_INVALID_STREAM_NAME);
    daybook_status status = daybook_stream_get_info(call->jetstream->store, source->name, &info, NULL);
    if (status == DAYBOOK_ENOTFOUND) return true;
    if (status != DAYBOOK_OK) return dbk_api_fail_status(error_out, status, NULL, DBK_API_ERR_STREAM_CREATE);
    bool is_fit = read_config(call, info, &of, error_out);
    if (is_fit && config->max_msg_size > 0 && of.max_msg_size > 0 && config->max_msg_size < of.max_msg_size)
        is_fit = dbk_api_fail(error_out, is_mirror ? DBK_API_ERR_MIRROR_MAX_MESSAGE_SIZE_TOO_BIG
                                                   : DBK_API_ERR_SOURCE_MAX_MESSAGE_SIZE_TOO_BIG);
    if (is_fit && is_mirror && is_pedantic && config->mirror_direct != of.allow_direct)
        is_fit = dbk_api_fail_with(error_out, DBK_API_ERR_PEDANTIC,
                                   "origin stream has direct get set, mirror has it disabled");
    if (is_fit && is_mirror) config->mirror_direct = of.allow_direct;
    daybook_stream_info_release(call->jetstream->store, info);
    return is_fit;
}

static bool has_no_cycle(dbk_js_call *call, const dbk_api_stream_config *config, dbk_api_error *error_out) {
    bool has_cycle;
    daybook_error cause;
    daybook_error_init(&cause);
    daybook_status status =
        dbk_js_find_cycle(call->jetstream->store, config, call->arena, &has_cycle, &cause);
    if (status != DAYBOOK_OK) return fail_store(status, &cause, DBK_API_ERR_STREAM_CREATE, error_out);
    return !has_cycle || dbk_api_fail_with(error_out, DBK_API_ERR_STREAM_INVALID_CONFIG, "detected cycle");
}

static bool fit_to_sources(dbk_js_call *call, dbk_api_stream_config *config, bool is_pedantic,
                           dbk_api_error *error_out) {
    const dbk_api_source *sources = config->sources.items;
    if (config->mirror != NULL && !fit_to_source(call, config, config->mirror, is_pedantic, error_out))
        return false;
    for (size_t i = 0; i < config->sources.count; i++)
        if (!fit_to_source(call, config, &sources[i], is_pedantic, error_out)) return false;
    return has_no_cycle(call, config, error_out);
}

static bool add_stream(dbk_js_call *call, const dbk_api_stream_config *config, dbk_api_error *error_out) {
    daybook_stream_config stored;
    daybook_error cause;
    daybook_error_init(&cause);
    if (!may_be_made(call, config, error_out) || !may_reserve(call, config, error_out) ||
        !dbk_api_stream_config_to_store(config, NULL, call->arena, &stored, error_out))
        return false;
    set_fixed(config, &stored);
    daybook_status status = daybook_stream_add(call->jetstream->store, &stored, &cause);
    return status == DAYBOOK_OK || fail_store(status, &cause, DBK_API_ERR_STREAM_CREATE, error_out);
}

static bool update_stream(dbk_js_call *call, const dbk_api_stream_config *config,
                          const dbk_api_stream_config *present, const daybook_stream_config *current,
                          dbk_api_error *error_out) {
    daybook_stream_config stored;
    daybook_error cause;
    daybook_error_init(&cause);
    if (!dbk_api_stream_config_to_store(config, current, call->arena, &stored, error_out)) return false;
    // One that was a copy and is one no more: what it holds is its own.
    if (dbk_api_stream_is_copy(present) && !dbk_api_stream_is_copy(config) &&
        !begins_with(config->name, "KV_"))
        stored.flags &= ~(uint32_t)DAYBOOK_STREAM_INTERNAL;
    daybook_status status = daybook_stream_update(call->jetstream->store, &stored, &cause);
    return status == DAYBOOK_OK || fail_store(status, &cause, DBK_API_ERR_STREAM_UPDATE, error_out);
}

// The request, whose name must be that of its subject.
static bool read_request(dbk_js_call *call, dbk_api_stream_create_request *request_out,
                         dbk_api_error *error_out) {
    if (!dbk_api_read_stream_create(&call->settings.dial, call->body, call->arena, request_out, error_out))
        return false;
    return dbk_slice_equal(request_out->config.name, dbk_js_call_token(call, 2)) ||
           dbk_api_fail(error_out, DBK_API_ERR_STREAM_MISMATCH);
}

static bool create_stream(dbk_js_call *call, dbk_api_stream_config *config_out, dbk_api_error *error_out) {
    dbk_jetstream *jetstream = call->jetstream;
    dbk_api_stream_create_request request;
    dbk_api_stream_config present;
    daybook_stream_info *info;
    if (!read_request(call, &request, error_out) ||
        !dbk_api_stream_config_check(&call->settings.dial, &request.config, &call->settings.stream_limits,
                                     request.is_pedantic, call->arena, error_out) ||
        !fit_to_sources(call, &request.config, request.is_pedantic, error_out))
        return false;
    *config_out = request.config;
    daybook_status status = daybook_stream_get_info(jetstream->store, request.config.name, &info, NULL);
    if (status == DAYBOOK_ENOTFOUND) return add_stream(call, &request.config, error_out);
    if (status != DAYBOOK_OK) return dbk_api_fail_status(error_out, status, NULL, DBK_API_ERR_STREAM_CREATE);
    bool is_same = read_config(call, info, &present, error_out) &&
                   (dbk_api_stream_configs_equal(&present, &request.config) ||
                    dbk_api_fail(error_out, DBK_API_ERR_STREAM_NAME_EXISTS));
    daybook_stream_info_release(jetstream->store, info);
    return is_same;
}

static bool change_stream(dbk_js_call *call, dbk_api_stream_config *config_out, dbk_api_error *error_out) {
    dbk_jetstream *jetstream = call->jetstream;
    dbk_api_stream_create_request request;
    dbk_api_stream_config present;
    daybook_stream_info *info;
    if (!read_request(call, &request, error_out)) return false;
    daybook_status status = daybook_stream_get_info(jetstream->store, request.config.name, &info, NULL);
    if (status == DAYBOOK_ENOTFOUND || dbk_js_is_hidden(request.config.name)) {
        if (status == DAYBOOK_OK) daybook_stream_info_release(jetstream->store, info);
        return dbk_api_fail(error_out, DBK_API_ERR_STREAM_NOT_FOUND);
    }
    if (status != DAYBOOK_OK) return dbk_api_fail_status(error_out, status, NULL, DBK_API_ERR_STREAM_UPDATE);
    bool is_changed =
        read_config(call, info, &present, error_out) &&
        dbk_api_stream_config_check_update(&call->settings.dial, &present, &request.config,
                                           &call->settings.stream_limits, request.is_pedantic, call->arena,
                                           error_out) &&
        fit_to_sources(call, &request.config, request.is_pedantic, error_out) &&
        (request.config.max_bytes <= present.max_bytes || may_reserve(call, &request.config, error_out)) &&
        update_stream(call, &request.config, &present, &info->config, error_out);
    daybook_stream_info_release(jetstream->store, info);
    *config_out = request.config;
    return is_changed;
}

static void run_change(dbk_js_call *call, const char *advisory, const char *action,
                       bool (*change)(dbk_js_call *call, dbk_api_stream_config *config_out,
                                      dbk_api_error *error_out)) {
    dbk_api_stream_config config;
    dbk_api_error error;
    if (!change(call, &config, &error)) {
        dbk_js_call_fail(call, &error);
        return;
    }
    answer_with_stream(call, config.name);
    if (!call->has_failed) set_effect(call, &config, advisory, action);
}

void dbk_js_stream_create(dbk_js_call *call) {
    run_change(call, "STREAM.CREATED", "create", create_stream);
}

void dbk_js_stream_update(dbk_js_call *call) {
    run_change(call, "STREAM.UPDATED", "modify", change_stream);
}

// ---- Asking -----------------------------------------------------------------------------------------------

// Subjects with their counts: a page of them.
typedef struct subject_page {
    dbk_js_call *call;
    uint64_t offset;
    uint64_t total;
    dbk_api_count *items;
    size_t count, capacity;
    bool is_short_of_memory;
} subject_page;

static int add_subject(void *context, const daybook_list_entry *entry) {
    subject_page *page = context;
    dbk_api_count *items = dbk_grow_array(page->call->jetstream->allocator, page->items, &page->capacity,
                                          page->count + 1, sizeof *items);
    if (items != NULL) page->items = items;
    dbk_slice subject = dbk_arena_copy_text(page->call->arena, entry->name);
    page->is_short_of_memory = items == NULL || subject.data == NULL;
    if (page->is_short_of_memory) return 1;
    items[page->count++] = (dbk_api_count){.subject = subject, .count = entry->event_count};
    return 0;
}

static daybook_status list_subjects(dbk_js_call *call, dbk_slice stream,
                                    const dbk_api_stream_info_request *request, subject_page *page) {
    daybook_subjects_options options;
    daybook_subjects_options_init(&options);
    options.filter = request->subjects_filter;
    options.offset = page->offset = request->offset < 0 ? 0 : (uint64_t)request->offset;
    options.limit = DBK_API_PAGE_SUBJECTS;
    page->call = call;
    daybook_status status =
        daybook_subjects(call->jetstream->store, stream, &options, add_subject, page, &page->total, NULL);
    return page->is_short_of_memory ? DAYBOOK_ENOMEM : status;
}

// Sequence numbers whose messages are gone.
typedef struct gap_list {
    dbk_js_call *call;
    uint64_t *items;
    size_t count, capacity;
    bool is_short_of_memory;
} gap_list;

static int add_gap(void *context, uint64_t first, uint64_t last) {
    gap_list *gaps = context;
    for (uint64_t seq = first; seq <= last && gaps->count < GAPS_MAX; seq++) {
        uint64_t *items = dbk_grow_array(gaps->call->jetstream->allocator, gaps->items, &gaps->capacity,
                                         gaps->count + 1, sizeof *items);
        gaps->is_short_of_memory = items == NULL;
        if (items == NULL) return 1;
        gaps->items = items;
        items[gaps->count++] = seq;
    }
    return gaps->count == GAPS_MAX;
}

static daybook_status list_gaps(gap_list *gaps, dbk_slice stream) {
    daybook_status status = daybook_stream_gaps(gaps->call->jetstream->store, stream, add_gap, gaps, NULL);
    return gaps->is_short_of_memory ? DAYBOOK_ENOMEM : status;
}

void dbk_js_stream_info(dbk_js_call *call) {
    dbk_jetstream *jetstream = call->jetstream;
    dbk_slice name = dbk_js_call_token(call, 2);
    dbk_api_stream_info_request request;
    dbk_api_stream_config config;
    daybook_stream_info *of;
    dbk_api_stream_info info;
    dbk_api_error error;
    subject_page subjects = {0};
    dbk_api_page page = {0};
    if (!dbk_api_read_stream_info(&call->settings.dial, call->body, call->arena, &request, &error)) {
        dbk_js_call_fail(call, &error);
        return;
    }
    if (!dbk_js_call_stream(call, name, &config, &of)) return;
    fill_info(call, of, &config, &info);
    dbk_api_cluster cluster = {.leader = daybook_text(jetstream->server_name)};
    if (jetstream->broker->dial.version >= 210) info.cluster = &cluster;
    daybook_status status = DAYBOOK_OK;
    if (request.subjects_filter.size > 0) {
        if (!daybook_filter_is_valid(request.subjects_filter)) {
            status = DAYBOOK_ESUBJECT;
        } else {
            status = list_subjects(call, name, &request, &subjects);
        }
        info.state.subjects = (dbk_api_counts){.items = subjects.items, .count = subjects.count};
        page = (dbk_api_page){.total = (int64_t)subjects.total,
                              .offset = (int64_t)subjects.offset,
                              .limit = DBK_API_PAGE_SUBJECTS};
    }
    gap_list gaps = {.call = call};
    if (status == DAYBOOK_OK && request.deleted_details) status = list_gaps(&gaps, name);
    info.state.deleted = (dbk_api_numbers){.items = gaps.items, .count = gaps.count};
    if (status == DAYBOOK_OK) {
        dbk_api_write_stream_info(&call->answer, &call->settings.dial, &info, &page);
    } else {
        dbk_js_call_fail_status(call, status, NULL, DBK_API_ERR_STREAM_GENERAL);
    }
    dbk_free(jetstream->allocator, subjects.items);
    dbk_free(jetstream->allocator, gaps.items);
    daybook_stream_info_release(jetstream->store, of);
}

// Streams on their way to a page.
typedef struct stream_page {
    dbk_js_page names;
    dbk_slice filter; // they capture some of it; empty: all
} stream_page;

static bool captures_some_of(const daybook_stream_config *config, dbk_slice filter) {
    if (filter.size == 0) return true;
    for (size_t i = 0; i < config->subject_count; i++)
        if (daybook_filters_overlap(config->subjects[i], filter)) return true;
    return false;
}

static int add_name(void *context, const daybook_stream_info *info) {
    stream_page *page = context;
    if (dbk_js_is_hidden(info->config.name) || !captures_some_of(&info->config, page->filter)) return 0;
    return dbk_js_page_add(&page->names, info->config.name);
}

// False: the call has failed.
static bool find_page(dbk_js_page *page_out, dbk_js_call *call, int64_t limit) {
    dbk_api_page_request request;
    dbk_api_error error;
    if (!dbk_api_read_stream_page(&call->settings.dial, call->body, call->arena, &request, &error)) {
        dbk_js_call_fail(call, &error);
        return false;
    }
    if (request.subject.size > 0 && !daybook_filter_is_valid(request.subject)) {
        dbk_js_call_refuse(call, DBK_API_ERR_BAD_REQUEST);
        return false;
    }
    stream_page page = {.filter = request.subject};
    daybook_error cause;
    daybook_error_init(&cause);
    daybook_status status = dbk_js_page_init(&page.names, call, request.offset, limit);
    if (status == DAYBOOK_OK) status = daybook_stream_list(call->jetstream->store, add_name, &page, &cause);
    *page_out = page.names;
    return dbk_js_page_end(page_out, call, status, &cause);
}

void dbk_js_stream_names(dbk_js_call *call) {
    dbk_js_page page;
    if (find_page(&page, call, DBK_API_PAGE_NAMES)) dbk_js_page_answer(&page, call);
}

void dbk_js_stream_list(dbk_js_call *call) {
    dbk_jetstream *jetstream = call->jetstream;
    dbk_js_page page;
    dbk_api_list_writer list;
    if (!find_page(&page, call, DBK_API_PAGE_LIST)) return;
    dbk_api_list_begin(&list, &call->answer, &call->settings.dial, call->kind, &page.said);
    for (size_t i = 0; i < page.count; i++) {
        daybook_stream_info *of;
        dbk_api_stream_config config;
        dbk_api_stream_info info;
        if (daybook_stream_get_info(jetstream->store, page.names[i], &of, NULL) != DAYBOOK_OK)
            continue; // removed by the embedder since
        if (read_config(call, of, &config, NULL)) {
            fill_info(call, of, &config, &info);
            dbk_api_list_add_stream(&list, &info);
        }
        daybook_stream_info_release(jetstream->store, of);
    }
    dbk_api_list_end(&list);
}

// ---- Removing ---------------------------------------------------------------------------------------------

static void remove_stream(dbk_js_call *call) {
    dbk_js_remove_stream(call->jetstream, call->stream_name);
}

void dbk_js_stream_delete(dbk_js_call *call) {
    dbk_slice name = dbk_js_call_token(call, 2);
    daybook_error cause;
    daybook_error_init(&cause);
    if (!dbk_api_is_empty(call->body)) {
        dbk_js_call_refuse(call, DBK_API_ERR_NOT_EMPTY_REQUEST);
        return;
    }
    daybook_stream_info *info = NULL; // its id: how far it copied is forgotten with it
    daybook_status status = dbk_js_is_hidden(name)
                                ? DAYBOOK_ENOTFOUND
                                : daybook_stream_get_info(call->jetstream->store, name, &info, &cause);
    if (status == DAYBOOK_OK) status = daybook_stream_remove(call->jetstream->store, name, &cause);
    if (status == DAYBOOK_OK) dbk_js_forget_places(call->jetstream, info->stream_id);
    daybook_stream_info_release(call->jetstream->store, info);
    if (status == DAYBOOK_ENOTFOUND) {
        dbk_js_call_refuse(call, DBK_API_ERR_STREAM_NOT_FOUND);
        return;
    }
    if (status != DAYBOOK_OK) {
        dbk_js_call_fail_status(call, status, &cause, DBK_API_ERR_STREAM_DELETE);
        return;
    }
    call->stream_name = name;
    call->effect = remove_stream;
    call->advisory = "STREAM.DELETED";
    call->action = "delete";
    dbk_api_write_success(&call->answer, call->kind);
}

static bool read_purge(dbk_js_call *call, const dbk_api_stream_config *config,
                       daybook_purge_options *options_out, dbk_api_error *error_out) {
    dbk_api_purge_request request;
    if (!dbk_api_read_purge(&call->settings.dial, call->body, call->arena, &request, error_out)) return false;
    if (request.seq > 0 && request.keep > 0) return dbk_api_fail(error_out, DBK_API_ERR_BAD_REQUEST);
    if (config->sealed) return dbk_api_fail(error_out, DBK_API_ERR_STREAM_SEALED);
    if (config->deny_purge)
        return dbk_api_fail_with(error_out, DBK_API_ERR_STREAM_PURGE_FAILED, "stream purge not permitted");
    daybook_purge_options_init(options_out);
    options_out->filter = request.filter;
    options_out->seq_to = request.seq;
    options_out->keep = request.keep;
    return true;
}

// On the loop: what is gone is behind every consumer, as its heartbeats say.
static void note_purged(dbk_js_call *call) {
    const dbk_js_stream *stream = dbk_js_find_stream(call->jetstream, call->stream_name);
    dbk_js_consumer *consumer = stream == NULL ? NULL : stream->first_consumer;
    for (; consumer != NULL; consumer = consumer->next_of_stream)
        if (consumer->delivered_seq < call->passed_seq) consumer->delivered_seq = call->passed_seq;
}

static void find_passed(dbk_js_call *call, dbk_slice name) {
    daybook_stream_info *info;
    // Where it is gone meanwhile, or cannot be read, heartbeats say what they said.
    if (daybook_stream_get_info(call->jetstream->store, name, &info, NULL) != DAYBOOK_OK) return;
    call->stream_name = name;
    call->passed_seq = info->first_seq > 0 ? info->first_seq - 1 : 0;
    call->effect = note_purged;
    daybook_stream_info_release(call->jetstream->store, info);
}

void dbk_js_stream_purge(dbk_js_call *call) {
    dbk_jetstream *jetstream = call->jetstream;
    dbk_slice name = dbk_js_call_token(call, 2);
    dbk_api_stream_config config;
    daybook_stream_info *info;
    daybook_purge_options options;
    dbk_api_error error;
    if (!dbk_js_call_stream(call, name, &config, &info)) return;
    if (!read_purge(call, &config, &options, &error)) {
        dbk_js_call_fail(call, &error);
    } else {
        uint64_t count = 0;
        daybook_error cause;
        daybook_error_init(&cause);
        daybook_status status = daybook_stream_purge(jetstream->store, name, &options, &count, &cause);
        if (status == DAYBOOK_OK) {
            dbk_api_write_purged(&call->answer, count);
            find_passed(call, name);
        } else {
            dbk_js_call_fail_status(call, status, &cause, DBK_API_ERR_STREAM_PURGE_FAILED);
        }
    }
    daybook_stream_info_release(jetstream->store, info);
}

// ---- The account ------------------------------------------------------------------------------------------

static int64_t or_none(int64_t limit) {
    return limit > 0 ? limit : -1;
}

void dbk_js_account_info(dbk_js_call *call) {
    dbk_jetstream *jetstream = call->jetstream;
    const dbk_api_stream_limits *limits = &call->settings.stream_limits;
    daybook_error cause;
    daybook_error_init(&cause);
    dbk_js_sums sums;
    daybook_status status = dbk_js_sum(jetstream->store, &sums, &cause);
    dbk_api_account_info account = {
        .memory = sums.bytes[DBK_JS_MEMORY],
        .storage = sums.bytes[DBK_JS_FILES],
        .reserved_memory = sums.promised[DBK_JS_MEMORY],
        .reserved_storage = sums.promised[DBK_JS_FILES],
        .stream_count = sums.stream_count,
        .consumer_count = sums.consumer_count,
        .limits = {.max_memory = call->settings.account_room.bytes_max[DBK_JS_MEMORY],
                   .max_storage = call->settings.account_room.bytes_max[DBK_JS_FILES],
                   .max_streams = call->settings.streams_max,
                   .max_consumers = call->settings.consumers_max,
                   .max_ack_pending = or_none(call->settings.consumer_caps.max_ack_pending),
                   .memory_max_stream_bytes = or_none(limits->stream_bytes_max_memory),
                   .storage_max_stream_bytes = or_none(limits->stream_bytes_max_file),
                   .max_bytes_required = limits->max_bytes_required},
        .domain = jetstream->domain,
        .api_total = call->api_total,
        .api_errors = call->api_errors,
        .api_inflight = call->api_in_flight};
    if (status == DAYBOOK_OK) {
        dbk_api_write_account_info(&call->answer, &call->settings.dial, &account);
    } else {
        dbk_js_call_fail_status(call, status, &cause, DBK_API_ERR_STREAM_GENERAL);
    }
}
