// SPDX-License-Identifier: Apache-2.0
// Start and stop, and what the loop knows of streams and consumers.
//
// A stream has a place here from the moment it exists: its subjects are captured. A consumer has one once
// somebody asks it for messages, acknowledges, or it delivers by itself; the rest are in the store alone and
// cost nothing.
//
// Consumers that push are found by a job when the server starts, since what they say of themselves is in the
// store.
#include <stdio.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/number.h"
#include "base/time.h"
#include "daybook/subject.h"
#include "jetstream/advisory.h"
#include "jetstream/api_call.h"
#include "jetstream/catalogue.h"
#include "jetstream/delivery.h"
#include "jetstream/jetstream_internal.h"
#include "jetstream/mirror.h"
#include "jetstream/order.h"
#include "jetstream/publish.h"
#include "jetstream/push.h"
#include "jetstream/rewrite.h"
#include "proto/ack.h"
#include "proto/status.h"

enum {
    SCRATCH_SIZE_MAX = 1 << 20,
    SCRATCH_COUNT = DBK_ROUTE_DEPTH_MAX + 2,
    ARENA_CHUNK = 16 << 10,
    EARLY_COUNT_MAX = 16384, // over all consumers
    OPENING_SIZE = 2048,     // about what a place and its opening take
};

// ---- Names ------------------------------------------------------------------------------------------------

dbk_slice dbk_js_tokens_from(dbk_slice subject, size_t count) {
    const char *at = subject.data;
    const char *end = at + subject.size;
    for (; count > 0 && at != NULL; count--) {
        at = memchr(at, '.', (size_t)(end - at));
        if (at != NULL) at++;
    }
    return at == NULL ? daybook_bytes(NULL, 0) : daybook_bytes(at, (size_t)(end - at));
}

dbk_slice dbk_js_token(dbk_slice subject, size_t index) {
    dbk_slice rest = dbk_js_tokens_from(subject, index);
    const char *dot = rest.size == 0 ? NULL : memchr(rest.data, '.', rest.size);
    if (dot != NULL) rest.size = (size_t)(dot - (const char *)rest.data);
    return rest;
}

uint32_t dbk_js_hash(const dbk_jetstream *jetstream, dbk_slice first, dbk_slice second) {
    const dbk_hash_key *key = &jetstream->broker->hash_key;
    uint64_t hashes[2] = {dbk_hash_bytes(key, first.data, first.size), 0};
    if (second.size > 0) hashes[1] = dbk_hash_bytes(key, second.data, second.size);
    return (uint32_t)dbk_hash_bytes(key, hashes, sizeof hashes);
}

// ---- Answers ----------------------------------------------------------------------------------------------

dbk_buf *dbk_js_begin_answer(dbk_jetstream *jetstream) {
    DBK_ASSERT(jetstream->scratch_depth < SCRATCH_COUNT); // routing does not nest deeper
    dbk_buf *out = &jetstream->scratch[jetstream->scratch_depth++];
    dbk_buf_reset(out);
    return out;
}

void dbk_js_end_answer(dbk_jetstream *jetstream, dbk_slice subject, bool as_headers) {
    const dbk_buf *out = &jetstream->scratch[jetstream->scratch_depth - 1];
    dbk_slice none = daybook_bytes(NULL, 0);
    dbk_slice text = daybook_bytes(out->data, out->size);
    if (dbk_buf_status(out) == DAYBOOK_OK)
        (void)dbk_broker_reply(jetstream->broker, subject, as_headers ? text : none,
                               as_headers ? none : text);
    jetstream->scratch_depth--;
}

void dbk_js_end_announcement(dbk_jetstream *jetstream, dbk_slice subject) {
    const dbk_buf *out = &jetstream->scratch[jetstream->scratch_depth - 1];
    if (dbk_buf_status(out) == DAYBOOK_OK)
        (void)dbk_broker_announce(jetstream->broker, subject, daybook_bytes(NULL, 0),
                                  daybook_bytes(out->data, out->size));
    jetstream->scratch_depth--;
}

void dbk_js_end_republished(dbk_jetstream *jetstream, dbk_slice subject, dbk_slice data) {
    const dbk_buf *out = &jetstream->scratch[jetstream->scratch_depth - 1];
    if (dbk_buf_status(out) == DAYBOOK_OK)
        (void)dbk_broker_announce(jetstream->broker, subject, daybook_bytes(out->data, out->size), data);
    jetstream->scratch_depth--;
}

// ---- Memory of clients ------------------------------------------------------------------------------------

void dbk_js_hold(dbk_js_share *share, dbk_client *from, size_t size) {
    *share = (dbk_js_share){.from = from, .size = size};
    if (from == NULL) return;
    (void)dbk_client_ref(from);
    dbk_client_hold(from, size);
}

void dbk_js_release(dbk_js_share *share) {
    if (share->from == NULL) return;
    dbk_client_release(share->from, share->size);
    dbk_client_unref(share->from);
    *share = (dbk_js_share){0};
}

// ---- Calls ------------------------------------------------------------------------------------------------

static void run_next_call(dbk_jetstream *jetstream) {
    dbk_job *job = jetstream->first_call;
    if (jetstream->call_runs || job == NULL) return;
    jetstream->first_call = job->next;
    if (jetstream->first_call == NULL) jetstream->last_call = NULL;
    jetstream->call_runs = true;
    dbk_jobs_submit(jetstream->broker->jobs, job);
}

void dbk_js_begin_call(dbk_jetstream *jetstream, dbk_job *job) {
    dbk_js_begin_job(jetstream);
    job->is_slow = true;
    job->next = NULL;
    if (jetstream->last_call == NULL) {
        jetstream->first_call = job;
    } else {
        jetstream->last_call->next = job;
    }
    jetstream->last_call = job;
    run_next_call(jetstream);
}

void dbk_js_end_call(dbk_jetstream *jetstream) {
    jetstream->call_runs = false;
    run_next_call(jetstream);
    dbk_js_end_job(jetstream);
}

// ---- Streams ----------------------------------------------------------------------------------------------

dbk_js_stream *dbk_js_find_stream(const dbk_jetstream *jetstream, dbk_slice name) {
    if (name.size == 0) return NULL;
    dbk_table_link *link =
        dbk_link_table_find(&jetstream->streams, dbk_js_hash(jetstream, name, daybook_bytes(NULL, 0)));
    for (; link != NULL; link = dbk_link_table_find_next(link)) {
        dbk_js_stream *stream = DBK_OWNER(link, dbk_js_stream, link);
        if (dbk_slice_equal(stream->name, name)) return stream;
    }
    return NULL;
}

void dbk_js_stream_unref(dbk_js_stream *stream) {
    if (--stream->reference_count > 0) return;
    DBK_ASSERT(stream->first_subject == NULL && stream->first_waiting == NULL &&
               stream->first_under_way == NULL && stream->first_request == NULL &&
               stream->first_consumer == NULL && stream->first_copy == NULL && stream->lasts.count == 0);
    dbk_js_rewrite_unref(stream->rules.rewrite);
    dbk_free(stream->jetstream->allocator, stream);
}

static void remove_subjects(const dbk_jetstream *jetstream, dbk_js_subject *first) {
    while (first != NULL) {
        dbk_js_subject *next = first->next;
        dbk_service_remove(first->service);
        dbk_free(jetstream->allocator, first);
        first = next;
    }
}

static daybook_status add_subject(dbk_js_stream *stream, dbk_slice filter, dbk_js_subject **last) {
    dbk_jetstream *jetstream = stream->jetstream;
    dbk_js_subject *subject = dbk_alloc(jetstream->allocator, sizeof *subject + filter.size);
    if (subject == NULL) return DAYBOOK_ENOMEM;
    *subject = (dbk_js_subject){.stream = stream, .filter_size = filter.size};
    memcpy(subject->filter, filter.data, filter.size);
    daybook_status status = dbk_service_add(jetstream->broker, filter, DBK_SERVICE_OF_ALL, dbk_js_capture,
                                            subject, &subject->service);
    if (status != DAYBOOK_OK) {
        dbk_free(jetstream->allocator, subject);
        return status;
    }
    *last = subject;
    return DAYBOOK_OK;
}

static bool overlap(const dbk_api_texts *subjects) {
    for (size_t i = 0; i < subjects->count; i++)
        for (size_t j = 0; j < i; j++)
            if (daybook_filters_overlap(subjects->items[i], subjects->items[j])) return true;
    return false;
}

static bool captures_the_same(const dbk_js_stream *stream, const dbk_api_texts *subjects) {
    const dbk_js_subject *subject = stream->first_subject;
    for (size_t i = 0; i < subjects->count; i++, subject = subject->next)
        if (subject == NULL ||
            !dbk_slice_equal(daybook_bytes(subject->filter, subject->filter_size), subjects->items[i]))
            return false;
    return subject == NULL;
}

// New services first, then the old ones go, so that nothing is missed in between; or nothing changes.
static daybook_status capture_subjects(dbk_js_stream *stream, const dbk_api_texts *subjects) {
    if (captures_the_same(stream, subjects)) return DAYBOOK_OK;
    dbk_js_subject *first = NULL;
    dbk_js_subject **last = &first;
    for (size_t i = 0; i < subjects->count; i++) {
        daybook_status status = add_subject(stream, subjects->items[i], last);
        if (status != DAYBOOK_OK) {
            remove_subjects(stream->jetstream, first);
            return status;
        }
        last = &(*last)->next;
    }
    remove_subjects(stream->jetstream, stream->first_subject);
    stream->first_subject = first;
    return DAYBOOK_OK;
}

static dbk_js_stream *add_stream(dbk_jetstream *jetstream, dbk_slice name) {
    dbk_js_stream *stream = dbk_alloc_zeroed(jetstream->allocator, sizeof *stream + name.size);
    if (stream == NULL) return NULL;
    char *text = (char *)(stream + 1);
    memcpy(text, name.data, name.size);
    stream->jetstream = jetstream;
    stream->reference_count = 1;
    stream->name = daybook_bytes(text, name.size);
    stream->link.hash = dbk_js_hash(jetstream, name, daybook_bytes(NULL, 0));
    pthread_mutex_lock(&jetstream->lock);
    dbk_link_table_insert(&jetstream->streams, jetstream->allocator, &stream->link);
    pthread_mutex_unlock(&jetstream->lock);
    return stream;
}

daybook_status dbk_js_set_stream(dbk_jetstream *jetstream, const dbk_api_stream_config *config) {
    dbk_js_stream *stream = dbk_js_find_stream(jetstream, config->name);
    if (stream == NULL) stream = add_stream(jetstream, config->name);
    if (stream == NULL) return DAYBOOK_ENOMEM;
    dbk_js_rewrite *rewrite;
    DBK_TRY(dbk_js_rewrite_new(jetstream->allocator, config, &rewrite));
    dbk_js_rewrite_unref(stream->rules.rewrite);
    stream->rules =
        (dbk_js_rules){.no_ack = config->no_ack,
                       .in_memory = config->storage == DAYBOOK_STORAGE_MEMORY,
                       .is_sealed = config->sealed,
                       .allow_rollup = config->allow_rollup_hdrs && !config->deny_purge,
                       .allow_ttl = config->allow_msg_ttl,
                       .marker_ttl_s = config->subject_delete_marker_ttl_ns / DBK_SECOND_NS,
                       .allow_atomic = config->allow_atomic,
                       .subjects_overlap = overlap(&config->subjects),
                       .message_size_max = config->max_msg_size > 0 ? (uint64_t)config->max_msg_size : 0,
                       .rewrite = rewrite};
    stream->rules.marker_ttl_size =
        dbk_decimal_format((uint64_t)stream->rules.marker_ttl_s, stream->rules.marker_ttl);
    stream->allow_direct = config->allow_direct;
    stream->mirror_direct = config->mirror_direct;
    DBK_TRY(capture_subjects(stream, &config->subjects));
    dbk_js_note_source(jetstream, stream->name);
    return dbk_js_set_copies(stream, config);
}

void dbk_js_remove_stream(dbk_jetstream *jetstream, dbk_slice name) {
    dbk_js_stream *stream = dbk_js_find_stream(jetstream, name);
    if (stream == NULL) return;
    remove_subjects(jetstream, stream->first_subject);
    stream->first_subject = NULL;
    dbk_js_batch_drop_all(stream);
    dbk_js_drop_copies(stream);
    while (stream->first_consumer != NULL)
        dbk_js_drop_consumer(stream->first_consumer, dbk_status_block(DBK_STATUS_CONSUMER_DELETED));
    pthread_mutex_lock(&jetstream->lock);
    dbk_link_table_remove(&jetstream->streams, jetstream->allocator, &stream->link);
    pthread_mutex_unlock(&jetstream->lock);
    stream->is_removed = true;
    dbk_js_note_source(jetstream, stream->name);
    dbk_js_order_let_all_go_on(stream); // and find that there is no such stream
    dbk_js_stream_unref(stream);
}

// ---- Consumers --------------------------------------------------------------------------------------------

dbk_js_consumer *dbk_js_find_consumer(const dbk_jetstream *jetstream, dbk_slice stream, dbk_slice name) {
    if (stream.size == 0 || name.size == 0) return NULL;
    dbk_table_link *link = dbk_link_table_find(&jetstream->consumers, dbk_js_hash(jetstream, name, stream));
    for (; link != NULL; link = dbk_link_table_find_next(link)) {
        dbk_js_consumer *consumer = DBK_OWNER(link, dbk_js_consumer, link);
        if (dbk_slice_equal(consumer->name, name) && dbk_slice_equal(consumer->stream->name, stream))
            return consumer;
    }
    return NULL;
}

static void link_consumer(dbk_js_stream *stream, dbk_js_consumer *consumer) {
    consumer->next_of_stream = stream->first_consumer;
    if (stream->first_consumer != NULL) stream->first_consumer->previous_of_stream = consumer;
    stream->first_consumer = consumer;
}

static void unlink_consumer(dbk_js_consumer *consumer) {
    if (consumer->next_of_stream != NULL)
        consumer->next_of_stream->previous_of_stream = consumer->previous_of_stream;
    if (consumer->previous_of_stream != NULL) {
        consumer->previous_of_stream->next_of_stream = consumer->next_of_stream;
    } else {
        consumer->stream->first_consumer = consumer->next_of_stream;
    }
    consumer->next_of_stream = consumer->previous_of_stream = NULL;
}

dbk_js_consumer *dbk_js_get_consumer(dbk_js_stream *stream, dbk_slice name) {
    dbk_jetstream *jetstream = stream->jetstream;
    dbk_js_consumer *consumer = dbk_js_find_consumer(jetstream, stream->name, name);
    char prefix[DBK_ACK_PREFIX_SIZE_MAX];
    size_t prefix_size =
        dbk_ack_prefix_encode(&(dbk_ack_subject){.stream = stream->name, .consumer = name}, prefix);
    if (consumer != NULL || prefix_size == 0) return consumer;
    consumer = dbk_alloc_zeroed(jetstream->allocator, sizeof *consumer + name.size + prefix_size);
    if (consumer == NULL) return NULL;
    char *text = (char *)(consumer + 1);
    memcpy(text, name.data, name.size);
    memcpy(text + name.size, prefix, prefix_size);
    consumer->name = daybook_bytes(text, name.size);
    consumer->ack_prefix = daybook_bytes(text + name.size, prefix_size);
    consumer->reference_count = 1;
    consumer->stream = stream;
    consumer->link.hash = dbk_js_hash(jetstream, name, stream->name);
    pthread_mutex_lock(&jetstream->lock);
    dbk_link_table_insert(&jetstream->consumers, jetstream->allocator, &consumer->link);
    pthread_mutex_unlock(&jetstream->lock);
    (void)dbk_js_stream_ref(stream);
    link_consumer(stream, consumer);
    dbk_js_delivery_init(consumer);
    return consumer;
}

dbk_js_consumer *dbk_js_reach_consumer(dbk_js_stream *stream, dbk_slice name) {
    const dbk_jetstream *jetstream = stream->jetstream;
    if (jetstream->opening_count >= jetstream->settings.requests_max)
        return dbk_js_find_consumer(jetstream, stream->name, name);
    return dbk_js_get_consumer(stream, name);
}

static void free_one_early(dbk_jetstream *jetstream, dbk_js_early *early) {
    jetstream->early_count--;
    dbk_js_release(&early->share);
    dbk_free(jetstream->allocator, early);
}

static void free_early(dbk_js_consumer *consumer) {
    while (consumer->first_early != NULL) {
        dbk_js_early *next = consumer->first_early->next;
        free_one_early(consumer->stream->jetstream, consumer->first_early);
        consumer->first_early = next;
    }
    consumer->last_early = NULL;
}

void dbk_js_consumer_unref(dbk_js_consumer *consumer) {
    if (--consumer->reference_count > 0) return;
    dbk_js_stream *stream = consumer->stream;
    const daybook_allocator *allocator = stream->jetstream->allocator;
    free_early(consumer);
    daybook_consumer_close(consumer->handle);
    dbk_free(allocator, consumer->deliver_subject);
    dbk_free(allocator, consumer->deliver_group);
    dbk_free(allocator, consumer->groups);
    dbk_free(allocator, consumer);
    dbk_js_stream_unref(stream);
}

void dbk_js_drop_consumer(dbk_js_consumer *consumer, dbk_slice status_block) {
    if (consumer->is_removed) return;
    dbk_jetstream *jetstream = consumer->stream->jetstream;
    consumer->is_removed = true;
    dbk_js_stop_delivery(consumer, status_block);
    free_early(consumer);
    pthread_mutex_lock(&jetstream->lock);
    dbk_link_table_remove(&jetstream->consumers, jetstream->allocator, &consumer->link);
    pthread_mutex_unlock(&jetstream->lock);
    unlink_consumer(consumer);
    dbk_js_consumer_unref(consumer);
}

bool dbk_js_keep_early(dbk_js_consumer *consumer, dbk_client *from, const dbk_message *message) {
    dbk_jetstream *jetstream = consumer->stream->jetstream;
    size_t size = dbk_message_copy_size(message);
    if (jetstream->early_count >= EARLY_COUNT_MAX) return false;
    dbk_js_early *early = dbk_alloc(jetstream->allocator, sizeof *early + size);
    if (early == NULL) return false;
    jetstream->early_count++;
    *early = (dbk_js_early){.next = NULL};
    early->message = dbk_message_copy(message, early->bytes);
    dbk_js_hold(&early->share, from, sizeof *early + size + OPENING_SIZE);
    if (consumer->last_early == NULL) {
        consumer->first_early = early;
    } else {
        consumer->last_early->next = early;
    }
    consumer->last_early = early;
    return true;
}

// What came while it was being opened, in order, as if it came now.
static void replay_early(dbk_js_consumer *consumer) {
    dbk_jetstream *jetstream = consumer->stream->jetstream;
    dbk_js_early *early = consumer->first_early;
    consumer->first_early = consumer->last_early = NULL;
    while (early != NULL) {
        dbk_js_early *next = early->next;
        const dbk_message *message = &early->message;
        if (dbk_slice_equal(dbk_js_token(message->subject, 1), daybook_text("ACK"))) {
            dbk_js_serve_ack(jetstream, NULL, message);
        } else {
            dbk_js_begin_pull(consumer, message->reply, dbk_message_data(message));
        }
        free_one_early(jetstream, early);
        early = next;
    }
}

// ---- Opening a consumer -----------------------------------------------------------------------------------

static char *copy_or_null(const daybook_allocator *allocator, dbk_slice text) {
    return text.size == 0 ? NULL : dbk_copy_text(allocator, text);
}

// Their names have no blank. NULL: none, or memory is out.
static char *join_groups(const daybook_allocator *allocator, const dbk_api_texts *groups) {
    size_t size = 0;
    for (size_t i = 0; i < groups->count; i++) size += groups->items[i].size + 1;
    char *joined = size == 0 ? NULL : dbk_alloc(allocator, size);
    char *at = joined;
    for (size_t i = 0; joined != NULL && i < groups->count; i++) {
        memcpy(at, groups->items[i].data, groups->items[i].size);
        at += groups->items[i].size;
        *at++ = i + 1 < groups->count ? ' ' : '\0';
    }
    return joined;
}

daybook_status dbk_js_read_rules(const daybook_allocator *allocator, const dbk_api_consumer_config *config,
                                 dbk_js_opened *opened_out) {
    *opened_out = (dbk_js_opened){.rules = {.ack_policy = config->ack_policy,
                                            .is_ephemeral = config->durable_name.size == 0,
                                            .headers_only = config->headers_only,
                                            .flow_control = config->flow_control,
                                            .max_waiting = dbk_at_least_none(config->max_waiting),
                                            .max_batch = dbk_at_least_none(config->max_batch),
                                            .max_expires_ns = config->max_expires_ns,
                                            .max_bytes = dbk_at_least_none(config->max_bytes),
                                            .inactive_threshold_ns = config->inactive_threshold_ns,
                                            .idle_heartbeat_ns = config->idle_heartbeat_ns,
                                            .rate_limit_bps = config->rate_limit_bps,
                                            .sample_percent = dbk_api_consumer_config_sample(config),
                                            .priority_policy = config->priority_policy,
                                            .priority_timeout_ns = config->priority_timeout_ns},
                                  .deliver_subject = copy_or_null(allocator, config->deliver_subject),
                                  .deliver_group = copy_or_null(allocator, config->deliver_group),
                                  .groups = join_groups(allocator, &config->priority_groups)};
    bool is_whole = (config->deliver_subject.size == 0) == (opened_out->deliver_subject == NULL) &&
                    (config->deliver_group.size == 0) == (opened_out->deliver_group == NULL) &&
                    (config->priority_groups.count == 0) == (opened_out->groups == NULL);
    if (is_whole) return DAYBOOK_OK;
    dbk_js_opened_deinit(allocator, opened_out);
    return DAYBOOK_ENOMEM;
}

void dbk_js_opened_deinit(const daybook_allocator *allocator, dbk_js_opened *opened) {
    dbk_free(allocator, opened->deliver_subject);
    dbk_free(allocator, opened->deliver_group);
    dbk_free(allocator, opened->groups);
    dbk_js_refuse_first(opened->first);
    daybook_consumer_close(opened->handle);
    *opened = (dbk_js_opened){0};
}

void dbk_js_set_consumer(dbk_js_consumer *consumer, dbk_js_opened *opened) {
    const daybook_allocator *allocator = consumer->stream->jetstream->allocator;
    dbk_js_consumer_state before = consumer->state;
    consumer->rules = opened->rules;
    if (consumer->handle == NULL) {
        consumer->handle = opened->handle;
        consumer->delivered_number = opened->delivered_number;
        consumer->delivered_seq = opened->delivered_seq;
        opened->handle = NULL;
        if (opened->first != NULL) dbk_js_take_first(consumer, opened->first);
        opened->first = NULL;
    }
    dbk_free(allocator, consumer->deliver_subject);
    dbk_free(allocator, consumer->deliver_group);
    dbk_free(allocator, consumer->groups);
    consumer->deliver_subject = opened->deliver_subject;
    consumer->deliver_group = opened->deliver_group;
    consumer->groups = opened->groups;
    opened->deliver_subject = opened->deliver_group = opened->groups = NULL;
    dbk_js_opened_deinit(allocator, opened);
    consumer->state = DBK_JS_CONSUMER_OPEN;
    dbk_js_start_delivery(consumer);
    if (before == DBK_JS_CONSUMER_OPENING) replay_early(consumer);
}

typedef struct opening {
    dbk_job job;
    dbk_js_consumer *consumer; // a reference
    daybook_status status;
    dbk_js_opened opened;
} opening;

static daybook_status read_consumer(dbk_jetstream *jetstream, dbk_slice stream, dbk_slice name,
                                    dbk_js_opened *opened_out) {
    dbk_arena *arena;
    DBK_TRY(dbk_arena_new(jetstream->allocator, ARENA_CHUNK, &arena));
    daybook_consumer_info *info = NULL;
    daybook_consumer *handle = NULL;
    dbk_api_consumer_config config;
    daybook_status status = daybook_consumer_open(jetstream->store, stream, name, &handle, NULL);
    if (status == DAYBOOK_OK) status = daybook_consumer_get_info(jetstream->store, stream, name, &info, NULL);
    if (status == DAYBOOK_OK && !dbk_api_consumer_config_from_store(&info->config, arena, &config, NULL))
        status = DAYBOOK_EDAMAGED;
    if (status == DAYBOOK_OK) status = dbk_js_read_rules(jetstream->allocator, &config, opened_out);
    if (status == DAYBOOK_OK) {
        opened_out->handle = handle;
        opened_out->delivered_number = info->delivered_number;
        opened_out->delivered_seq = info->delivered_seq;
    } else {
        daybook_consumer_close(handle);
    }
    daybook_consumer_info_release(jetstream->store, info);
    dbk_arena_free(arena);
    return status;
}

static void run_opening(dbk_job *job) {
    opening *open = DBK_OWNER(job, opening, job);
    dbk_js_stream *stream = open->consumer->stream;
    if (atomic_load(&stream->jetstream->is_stopping)) {
        open->status = DAYBOOK_ECLOSED;
        return;
    }
    open->status = read_consumer(stream->jetstream, stream->name, open->consumer->name, &open->opened);
}

static void opened(dbk_job *job) {
    opening *open = DBK_OWNER(job, opening, job);
    dbk_js_consumer *consumer = open->consumer;
    dbk_jetstream *jetstream = consumer->stream->jetstream;
    if (open->status == DAYBOOK_OK && !consumer->is_removed) {
        dbk_js_set_consumer(consumer, &open->opened);
    } else {
        if (open->status != DAYBOOK_OK && open->status != DAYBOOK_ENOTFOUND &&
            open->status != DAYBOOK_ECLOSED)
            dbk_broker_log(jetstream->broker, ERROR, "JetStream consumer '%.*s > %.*s' cannot be used: %s",
                           (int)consumer->stream->name.size, (const char *)consumer->stream->name.data,
                           (int)consumer->name.size, (const char *)consumer->name.data,
                           daybook_status_text(open->status));
        dbk_js_opened_deinit(jetstream->allocator, &open->opened);
        // For want of memory or by an error of the disk it is not gone: those that wait shall ask again.
        bool is_gone = open->status == DAYBOOK_OK || open->status == DAYBOOK_ENOTFOUND ||
                       open->status == DAYBOOK_ECLOSED;
        dbk_js_refuse_early(consumer, is_gone ? dbk_status_block(DBK_STATUS_NO_RESPONDERS)
                                              : daybook_text("NATS/1.0 500 Internal Server Error\r\n\r\n"));
        dbk_js_drop_consumer(consumer, dbk_status_block(DBK_STATUS_CONSUMER_DELETED));
    }
    dbk_free(jetstream->allocator, open);
    dbk_js_consumer_unref(consumer);
    jetstream->opening_count--;
    dbk_js_end_call(jetstream);
}

void dbk_js_open_consumer(dbk_js_consumer *consumer) {
    dbk_jetstream *jetstream = consumer->stream->jetstream;
    if (consumer->state != DBK_JS_CONSUMER_CLOSED || consumer->is_removed) return;
    opening *open = dbk_alloc_zeroed(jetstream->allocator, sizeof *open);
    if (open == NULL) return; // the next message to it tries again
    open->job.run = run_opening;
    open->job.done = opened;
    open->consumer = dbk_js_consumer_ref(consumer);
    consumer->state = DBK_JS_CONSUMER_OPENING;
    jetstream->opening_count++;
    // Behind calls under way: one of them may be making it.
    dbk_js_begin_call(jetstream, &open->job);
}

// ---- Start ------------------------------------------------------------------------------------------------

typedef struct loading {
    dbk_jetstream *jetstream;
    dbk_arena *arena;
    daybook_status status;
} loading;

static int load_stream(void *context, const daybook_stream_info *info) {
    loading *load = context;
    dbk_jetstream *jetstream = load->jetstream;
    dbk_api_stream_config config;
    dbk_api_error error;
    if (dbk_js_is_hidden(info->config.name)) return 0;
    dbk_arena_reset(load->arena);
    if (dbk_api_stream_config_from_store(&info->config, load->arena, &config, &error)) {
        load->status = dbk_js_set_stream(jetstream, &config);
        if (load->status == DAYBOOK_EINVALID) {
            load->status = DAYBOOK_OK;
            dbk_broker_log(jetstream->broker, ERROR,
                           "JetStream stream '%.*s' is not served: its subject transform or republish cannot "
                           "be read",
                           (int)info->config.name.size, (const char *)info->config.name.data);
        }
    } else {
        dbk_broker_log(jetstream->broker, ERROR, "JetStream stream '%.*s' cannot be served: %s",
                       (int)info->config.name.size, (const char *)info->config.name.data, error.description);
    }
    return load->status != DAYBOOK_OK;
}

static daybook_status load_streams(dbk_jetstream *jetstream, daybook_error *error) {
    loading load = {.jetstream = jetstream};
    DBK_TRY(dbk_arena_new(jetstream->allocator, ARENA_CHUNK, &load.arena));
    daybook_status status = daybook_stream_list(jetstream->store, load_stream, &load, error);
    dbk_arena_free(load.arena);
    return status == DAYBOOK_OK ? load.status : status;
}

static daybook_status add_services(dbk_jetstream *jetstream) {
    dbk_broker *broker = jetstream->broker;
    const dbk_service_scope scope = DBK_SERVICE_OF_CLIENTS;
    DBK_TRY(dbk_service_add(broker, daybook_text("$JS.API.>"), scope, dbk_js_serve_api, jetstream,
                            &jetstream->api));
    DBK_TRY(dbk_service_add(broker, daybook_text("$JS.ACK.>"), scope, dbk_js_serve_ack, jetstream,
                            &jetstream->acks));
    DBK_TRY(dbk_service_add(broker, daybook_text("$JS.FC.>"), scope, dbk_js_serve_flow, jetstream,
                            &jetstream->flow));
    if (jetstream->domain.size == 0) return DAYBOOK_OK;
    char filter[DBK_ACK_NAME_SIZE_MAX + 16];
    (void)snprintf(filter, sizeof filter, "$JS.%.*s.API.>", (int)jetstream->domain.size,
                   (const char *)jetstream->domain.data);
    return dbk_service_add(broker, daybook_text(filter), scope, dbk_js_serve_api, jetstream,
                           &jetstream->domain_api);
}

static void take_settings(dbk_jetstream *jetstream) {
    const dbk_jetstream_options *said = &jetstream->broker->options->jetstream;
    dbk_js_settings *settings = &jetstream->settings;
    settings->dial = jetstream->broker->dial;
    settings->dial.is_strict = settings->dial.is_strict && said->strict;
    settings->stream_limits =
        (dbk_api_stream_limits){.duplicate_window_max_ns = said->duplicates_max_ns,
                                .max_bytes_required = said->stream_bytes_required,
                                .stream_bytes_max_file = said->stream_bytes_max,
                                .stream_bytes_max_memory = said->memory_stream_bytes_max};
    settings->consumer_caps = (dbk_api_consumer_caps){.max_ack_pending = said->ack_pending_max,
                                                      .max_request_batch = said->request_batch_max};
    settings->requests_max = (uint64_t)said->request_queue_limit;
    settings->batches_max = (uint64_t)said->batch_inflight_total;
    settings->stream_batches_max = (uint64_t)said->batch_inflight_per_stream;
    settings->batch_size_max = (uint64_t)said->batch_size_max;
    settings->batch_timeout_ns = said->batch_timeout_ns;
    settings->streams_max = said->streams_max;
    settings->consumers_max = said->consumers_max;
    settings->server_room = (dbk_js_room){.bytes_max = {said->file_max, said->memory_max}};
    settings->account_room = (dbk_js_room){.bytes_max = {said->account_file_max, said->account_memory_max}};
    dbk_js_usage_set_room(&jetstream->usage, &settings->server_room, &settings->account_room);
}

void dbk_jetstream_reload(dbk_jetstream *jetstream) {
    if (jetstream != NULL) take_settings(jetstream);
}

static daybook_status copy_options(dbk_jetstream *jetstream) {
    char *domain =
        dbk_copy_text(jetstream->allocator, daybook_text(jetstream->broker->options->jetstream.domain));
    jetstream->domain = daybook_text(domain);
    const dbk_options *options = jetstream->broker->options;
    const char *name = options->server_name != NULL ? options->server_name : jetstream->broker->id;
    jetstream->server_name = dbk_copy_text(jetstream->allocator, daybook_text(name));
    if (domain == NULL || jetstream->server_name == NULL) return DAYBOOK_ENOMEM;
    take_settings(jetstream);
    return DAYBOOK_OK;
}

daybook_status dbk_jetstream_start(dbk_broker *broker, daybook_store *store, dbk_jetstream **jetstream_out,
                                   daybook_error *error) {
    *jetstream_out = NULL;
    dbk_jetstream *jetstream = dbk_alloc_zeroed(broker->allocator, sizeof *jetstream);
    if (jetstream == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory starting JetStream");
    jetstream->broker = broker;
    jetstream->store = store;
    jetstream->allocator = broker->allocator;
    for (size_t i = 0; i < SCRATCH_COUNT; i++)
        dbk_buf_init(&jetstream->scratch[i], broker->allocator, SCRATCH_SIZE_MAX);
    if (!dbk_js_usage_init(&jetstream->usage, broker, store)) {
        dbk_free(broker->allocator, jetstream);
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory starting JetStream");
    }
    if (pthread_mutex_init(&jetstream->lock, NULL) != 0) {
        dbk_js_usage_deinit(&jetstream->usage);
        dbk_free(broker->allocator, jetstream);
        return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory starting JetStream");
    }
    daybook_status status = copy_options(jetstream);
    if (status == DAYBOOK_OK) status = dbk_js_start_catalogue(jetstream, error);
    if (status == DAYBOOK_OK) status = load_streams(jetstream, error);
    if (status == DAYBOOK_OK) status = add_services(jetstream);
    if (status == DAYBOOK_OK) status = dbk_js_start_advisories(jetstream, error);
    if (status == DAYBOOK_OK) status = dbk_js_find_pushing(jetstream);
    if (status == DAYBOOK_OK) {
        *jetstream_out = jetstream;
        return DAYBOOK_OK;
    }
    if (status == DAYBOOK_ENOMEM) (void)dbk_fail(error, status, "out of memory starting JetStream");
    dbk_jetstream_stop(jetstream);
    *jetstream_out = jetstream; // freed behind the loop, which may have been told of streams already
    return status;
}

// ---- Stop -------------------------------------------------------------------------------------------------

void dbk_jetstream_stop(dbk_jetstream *jetstream) {
    if (jetstream == NULL || atomic_exchange(&jetstream->is_stopping, true)) return;
    dbk_js_stop_catalogue(jetstream);
    dbk_js_stop_advisories(jetstream);
    dbk_service_remove(jetstream->api);
    dbk_service_remove(jetstream->domain_api);
    dbk_service_remove(jetstream->acks);
    dbk_service_remove(jetstream->flow);
    for (dbk_table_link *link = dbk_link_table_next(&jetstream->streams, NULL); link != NULL;
         link = dbk_link_table_next(&jetstream->streams, link)) {
        dbk_js_stream *stream = DBK_OWNER(link, dbk_js_stream, link);
        remove_subjects(jetstream, stream->first_subject);
        stream->first_subject = NULL;
        dbk_js_batch_drop_all(stream);
        dbk_js_drop_copies(stream);
        dbk_js_order_let_all_go_on(stream); // while its consumers can tell those that pull
        while (stream->first_consumer != NULL)
            dbk_js_drop_consumer(stream->first_consumer, dbk_status_block(DBK_STATUS_SERVER_SHUTDOWN));
    }
}

bool dbk_jetstream_is_idle(const dbk_jetstream *jetstream) {
    return jetstream == NULL || jetstream->job_count == 0;
}

void dbk_jetstream_free(dbk_jetstream *jetstream) {
    if (jetstream == NULL) return;
    DBK_ASSERT(jetstream->job_count == 0 && jetstream->consumers.count == 0);
    dbk_table_link *link = dbk_link_table_take_all(&jetstream->streams, jetstream->allocator);
    while (link != NULL) {
        dbk_table_link *next = link->next;
        dbk_js_stream_unref(DBK_OWNER(link, dbk_js_stream, link));
        link = next;
    }
    for (size_t i = 0; i < SCRATCH_COUNT; i++) dbk_buf_deinit(&jetstream->scratch[i]);
    pthread_mutex_destroy(&jetstream->lock);
    dbk_js_usage_deinit(&jetstream->usage);
    dbk_free(jetstream->allocator, (void *)(uintptr_t)jetstream->domain.data);
    dbk_free(jetstream->allocator, jetstream->server_name);
    dbk_free(jetstream->allocator, jetstream);
}

void dbk_jetstream_count(const dbk_jetstream *jetstream, dbk_jetstream_counters *counters_out) {
    *counters_out = (dbk_jetstream_counters){.api_total = jetstream->api_total,
                                             .api_errors = jetstream->api_errors,
                                             .api_in_flight = jetstream->api_in_flight,
                                             .ack_total = jetstream->ack_total,
                                             .stream_count = jetstream->streams.count,
                                             .consumer_count = jetstream->consumers.count};
}

void dbk_jetstream_get_settings(const dbk_jetstream *jetstream, dbk_js_settings *settings_out) {
    *settings_out = jetstream->settings;
}
