// SPDX-License-Identifier: Apache-2.0
// $JS.API.CONSUMER.…, but for pulls. On a worker; calls run one after the other.
//
//     CONSUMER.CREATE.<stream>                       an ephemeral one, its name is made        (before 2.9)
//     CONSUMER.CREATE.<stream>.<name>[.<filter>]     a durable or ephemeral one, named
//     CONSUMER.DURABLE.CREATE.<stream>.<name>        a durable one                             (before 2.9)
//
// One that is there already is updated, unless the request says that it is to be new (action), or nothing
// differs.
#include <stdio.h>

#include "base/bytes.h"
#include "base/time.h"
#include "jetstream/advisory.h"
#include "jetstream/api_call.h"
#include "jetstream/delivery.h"
#include "jetstream/group.h"
#include "jetstream/page.h"
#include "proto/ack.h"
#include "proto/status.h"

enum { MADE_NAME_SIZE = 8 };

// ---- Infos ------------------------------------------------------------------------------------------------

// What only the loop knows, for a call that is on a worker.
static void look_up(dbk_jetstream *jetstream, dbk_slice stream, dbk_slice name,
                    dbk_api_consumer_info *info_out, dbk_js_pin *pin_out) {
    pthread_mutex_lock(&jetstream->lock);
    const dbk_js_consumer *consumer = dbk_js_find_consumer(jetstream, stream, name);
    if (consumer != NULL) {
        info_out->waiting_count = atomic_load(&consumer->pull_count);
        info_out->push_bound = atomic_load(&consumer->is_bound);
        *pin_out = consumer->pin;
    }
    pthread_mutex_unlock(&jetstream->lock);
}

// Told of the policy pinned_client only.
static bool fill_groups(const dbk_js_call *call, const dbk_js_pin *pin, dbk_api_consumer_info *info_out) {
    const dbk_api_texts *groups = &info_out->config.priority_groups;
    if (info_out->config.priority_policy != DBK_API_PRIORITY_PINNED_CLIENT) return true;
    dbk_api_priority_state *states = dbk_arena_alloc(call->arena, groups->count * sizeof *states + 1);
    dbk_slice id = dbk_arena_copy_text(call->arena, daybook_text(pin->id));
    if (states == NULL || id.data == NULL) return false;
    for (size_t i = 0; i < groups->count; i++) {
        bool is_pinned = id.size > 0 && dbk_slice_equal(groups->items[i], daybook_text(pin->group));
        states[i] = (dbk_api_priority_state){.group = groups->items[i]};
        if (!is_pinned) continue;
        states[i].pinned_client_id = id;
        states[i].pinned_ns = pin->pinned_ns;
    }
    info_out->priority_groups = (dbk_api_objects){.items = states, .count = groups->count};
    return true;
}

static bool fill_info(const dbk_js_call *call, const daybook_consumer_info *of,
                      dbk_api_consumer_info *info_out, dbk_api_error *error_out) {
    *info_out = (dbk_api_consumer_info){.stream_name = of->stream,
                                        .name = of->config.name,
                                        .created_ns = of->created_ns,
                                        .delivered = {.consumer_seq = of->delivered_number,
                                                      .stream_seq = of->delivered_seq,
                                                      .last_active_ns = of->delivered_ns},
                                        // What lies before the consumer's beginning was not acknowledged.
                                        .ack_floor = {.consumer_seq = of->floor_number,
                                                      .stream_seq = of->floor_number == 0 ? 0 : of->floor_seq,
                                                      .last_active_ns = of->acked_ns},
                                        .ack_pending_count = of->ack_pending_count,
                                        .redelivered_count = of->redelivered_count,
                                        .pending_count = of->pending_count,
                                        .paused = of->is_paused != 0,
                                        .now_ns = dbk_broker_clock_ns(call->jetstream->broker)};
    if (info_out->paused) info_out->pause_remaining_ns = of->config.pause_until_ns - info_out->now_ns;
    if (!dbk_api_consumer_config_from_store(&of->config, call->arena, &info_out->config, error_out))
        return false;
    dbk_js_pin pin = {0};
    look_up(call->jetstream, of->stream, of->config.name, info_out, &pin);
    return fill_groups(call, &pin, info_out) || dbk_api_fail_memory(error_out);
}

// False: the call has failed.
static bool get_info(dbk_js_call *call, dbk_slice stream, dbk_slice name, daybook_consumer_info **info_out) {
    daybook_error cause;
    daybook_error_init(&cause);
    daybook_status status =
        dbk_js_is_hidden(stream)
            ? DAYBOOK_ENOTFOUND
            : daybook_consumer_get_info(call->jetstream->store, stream, name, info_out, &cause);
    if (status == DAYBOOK_OK) return true;
    if (status == DAYBOOK_ENOTFOUND) {
        dbk_js_call_refuse(call, DBK_API_ERR_CONSUMER_NOT_FOUND);
    } else {
        dbk_js_call_fail_status(call, status, &cause, DBK_API_ERR_CONSUMER_CREATE);
    }
    return false;
}

static bool stream_exists(dbk_js_call *call, dbk_slice stream) {
    dbk_api_stream_config config;
    daybook_stream_info *info;
    if (!dbk_js_call_stream(call, stream, &config, &info)) return false;
    daybook_stream_info_release(call->jetstream->store, info);
    return true;
}

void dbk_js_consumer_info(dbk_js_call *call) {
    daybook_consumer_info *of;
    dbk_api_consumer_info info;
    dbk_api_error error;
    dbk_slice stream = dbk_js_call_token(call, 2);
    if (!dbk_api_is_empty(call->body)) {
        dbk_js_call_refuse(call, DBK_API_ERR_NOT_EMPTY_REQUEST);
        return;
    }
    if (!stream_exists(call, stream) || !get_info(call, stream, dbk_js_call_token(call, 3), &of)) return;
    if (fill_info(call, of, &info, &error)) {
        if (call->is_noted) {
            info.waiting_count = call->waiting_count;
            info.push_bound = call->push_bound;
        }
        dbk_api_write_consumer(&call->answer, &call->settings.dial, call->kind, &info);
    } else {
        dbk_js_call_fail(call, &error);
    }
    daybook_consumer_info_release(call->jetstream->store, of);
}

// ---- Creating: what the request says ----------------------------------------------------------------------

typedef struct creating {
    dbk_js_call *call;
    dbk_slice stream; // as the subject has them
    dbk_slice name;   // empty: the old way to make an ephemeral one
    dbk_slice filter; // empty: none
    bool is_durable;  // as the subject says
    dbk_api_consumer_create_request request;
    dbk_api_stream_config stream_config;
} creating;

static bool names_agree(const creating *create, dbk_api_error *error_out) {
    const dbk_api_consumer_config *config = &create->request.config;
    if (!dbk_slice_equal(create->request.stream_name, create->stream))
        return dbk_api_fail(error_out, DBK_API_ERR_STREAM_MISMATCH);
    if (create->name.size == 0) {
        if (config->durable_name.size > 0)
            return dbk_api_fail(error_out, DBK_API_ERR_CONSUMER_EPHEMERAL_WITH_DURABLE_NAME);
        return true;
    }
    if (create->is_durable && config->durable_name.size == 0)
        return dbk_api_fail(error_out, DBK_API_ERR_CONSUMER_DURABLE_NAME_NOT_SET);
    if (create->filter.size > 0 && !dbk_slice_equal(create->filter, config->filter_subject))
        return dbk_api_fail(error_out, DBK_API_ERR_CONSUMER_CREATE_FILTER_SUBJECT_MISMATCH);
    if (config->durable_name.size > 0 && !dbk_slice_equal(config->durable_name, create->name))
        return dbk_api_fail(error_out, DBK_API_ERR_CONSUMER_DURABLE_NAME_NOT_MATCH_SUBJECT);
    return true;
}

// The name a request leaves out is that of the subject, or is made.
static bool complete_name(creating *create, dbk_api_error *error_out) {
    static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    dbk_api_consumer_config *config = &create->request.config;
    if (create->name.size > 0) {
        if (config->name.size > 0 && !dbk_slice_equal(config->name, create->name))
            return dbk_api_fail(error_out, DBK_API_ERR_CONSUMER_DURABLE_NAME_NOT_MATCH_SUBJECT);
        if (!create->is_durable) config->name = create->name; // Else durable_name says it.
        return true;
    }
    if (config->name.size > 0) return true;
    char *made = dbk_arena_alloc(create->call->arena, MADE_NAME_SIZE);
    if (made == NULL) return dbk_api_fail_memory(error_out);
    uint64_t random = create->call->random;
    for (size_t i = 0; i < MADE_NAME_SIZE; i++, random /= sizeof letters - 1)
        made[i] = letters[random % (sizeof letters - 1)];
    config->name = daybook_bytes(made, MADE_NAME_SIZE);
    return true;
}

static bool read_request(creating *create, dbk_api_error *error_out) {
    return dbk_api_read_consumer_create(&create->call->settings.dial, create->call->body, create->call->arena,
                                        &create->request, error_out) &&
           names_agree(create, error_out) && complete_name(create, error_out);
}

// ---- Creating: with the store -----------------------------------------------------------------------------

static bool fail_store(daybook_status status, const daybook_error *cause, dbk_api_error *error_out) {
    if (status == DAYBOOK_EEXISTS) return dbk_api_fail(error_out, DBK_API_ERR_CONSUMER_ALREADY_EXISTS);
    return dbk_api_fail_status(error_out, status, cause, DBK_API_ERR_CONSUMER_CREATE);
}

static bool has_room(const creating *create, dbk_api_error *error_out) {
    const dbk_jetstream *jetstream = create->call->jetstream;
    int64_t max = create->stream_config.max_consumers;
    int64_t consumers_max = create->call->settings.consumers_max;
    if (consumers_max > 0 && (max <= 0 || consumers_max < max)) max = consumers_max;
    if (max <= 0) return true;
    uint64_t count = 0;
    daybook_status status = daybook_consumer_count(jetstream->store, create->stream, &count, NULL);
    if (status != DAYBOOK_OK)
        return dbk_api_fail_status(error_out, status, NULL, DBK_API_ERR_CONSUMER_CREATE);
    return count < (uint64_t)max || dbk_api_fail(error_out, DBK_API_ERR_MAXIMUM_CONSUMERS_LIMIT);
}

// nats-server asks no more from 2.10 on: subjects of the stream may come later.
static void allow_other_subjects(const dbk_jetstream *jetstream, daybook_consumer_config *config) {
    if (jetstream->broker->dial.version >= 210) config->flags |= DAYBOOK_CONSUMER_OTHER_SUBJECTS;
}

static bool add_consumer(const creating *create, dbk_api_error *error_out) {
    dbk_js_call *call = create->call;
    daybook_consumer_config stored;
    daybook_error cause;
    daybook_error_init(&cause);
    if (create->request.action == DBK_API_ACTION_UPDATE)
        return dbk_api_fail(error_out, DBK_API_ERR_CONSUMER_DOES_NOT_EXIST);
    if (!has_room(create, error_out) ||
        !dbk_api_consumer_config_to_store(&create->request.config, NULL, call->arena, &stored, error_out))
        return false;
    allow_other_subjects(call->jetstream, &stored);
    daybook_status status =
        daybook_consumer_add(call->jetstream->store, create->stream, &stored, &call->opened.handle, &cause);
    return status == DAYBOOK_OK || fail_store(status, &cause, error_out);
}

// Somebody listens where it delivers to now: it is not taken away from them.
static bool is_in_use(dbk_jetstream *jetstream, const creating *create, const dbk_api_consumer_config *old) {
    dbk_api_consumer_info now = {0};
    if (old->deliver_subject.size == 0 ||
        dbk_slice_equal(old->deliver_subject, create->request.config.deliver_subject))
        return false;
    dbk_js_pin pin;
    look_up(jetstream, create->stream, create->call->consumer_name, &now, &pin);
    return now.push_bound;
}

static bool change_consumer(const creating *create, const daybook_consumer_info *present,
                            dbk_api_error *error_out) {
    dbk_js_call *call = create->call;
    dbk_api_consumer_config old;
    daybook_consumer_config stored;
    daybook_error cause;
    daybook_error_init(&cause);
    if (!dbk_api_consumer_config_from_store(&present->config, call->arena, &old, error_out)) return false;
    if (dbk_api_consumer_configs_equal(&old, &create->request.config)) return true;
    if (create->request.action == DBK_API_ACTION_CREATE)
        return dbk_api_fail(error_out, DBK_API_ERR_CONSUMER_ALREADY_EXISTS);
    if (is_in_use(call->jetstream, create, &old))
        return dbk_api_fail(error_out, DBK_API_ERR_CONSUMER_NAME_EXISTS);
    if (!dbk_api_consumer_config_check_update(&old, &create->request.config, error_out) ||
        !dbk_api_consumer_config_to_store(&create->request.config, &present->config, call->arena, &stored,
                                          error_out))
        return false;
    allow_other_subjects(call->jetstream, &stored);
    daybook_status status = daybook_consumer_update(call->jetstream->store, create->stream, &stored, &cause);
    return status == DAYBOOK_OK || fail_store(status, &cause, error_out);
}

// Open, whether it was made or changed: the loop takes the handle over where it has none.
static bool open_consumer(const creating *create, const daybook_consumer_info *info,
                          dbk_api_error *error_out) {
    dbk_js_call *call = create->call;
    const dbk_jetstream *jetstream = call->jetstream;
    dbk_api_consumer_config config;
    dbk_js_opened opened;
    daybook_status status = DAYBOOK_OK;
    if (!dbk_api_consumer_config_from_store(&info->config, call->arena, &config, error_out)) return false;
    if (call->opened.handle == NULL)
        status = daybook_consumer_open(jetstream->store, create->stream, info->config.name,
                                       &call->opened.handle, NULL);
    if (status == DAYBOOK_OK) status = dbk_js_read_rules(jetstream->allocator, &config, &opened);
    if (status != DAYBOOK_OK)
        return dbk_api_fail_status(error_out, status, NULL, DBK_API_ERR_CONSUMER_CREATE);
    opened.handle = call->opened.handle;
    opened.delivered_number = info->delivered_number;
    opened.delivered_seq = info->delivered_seq;
    call->opened = opened;
    return true;
}

static bool make_consumer(creating *create, dbk_api_error *error_out) {
    dbk_js_call *call = create->call;
    dbk_jetstream *jetstream = call->jetstream;
    daybook_consumer_info *present = NULL;
    if (!dbk_api_consumer_config_check(&call->settings.dial, &create->stream_config, &create->request.config,
                                       &call->settings.consumer_caps, create->request.is_pedantic, error_out))
        return false;
    call->consumer_name = dbk_api_consumer_config_name(&create->request.config);
    daybook_status status =
        daybook_consumer_get_info(jetstream->store, create->stream, call->consumer_name, &present, NULL);
    if (status == DAYBOOK_ENOTFOUND) {
        call->advisory = "CONSUMER.CREATED";
        call->action = "create";
        return add_consumer(create, error_out);
    }
    if (status != DAYBOOK_OK)
        return dbk_api_fail_status(error_out, status, NULL, DBK_API_ERR_CONSUMER_CREATE);
    bool is_changed = change_consumer(create, present, error_out);
    daybook_consumer_info_release(jetstream->store, present);
    return is_changed;
}

// On the loop.
static void set_consumer(dbk_js_call *call) {
    dbk_js_stream *stream = dbk_js_find_stream(call->jetstream, call->stream_name);
    dbk_js_consumer *consumer = stream == NULL ? NULL : dbk_js_get_consumer(stream, call->consumer_name);
    if (consumer != NULL && consumer->state == DBK_JS_CONSUMER_OPEN && call->advisory != NULL) {
        // One of that name was removed by other means than this API.
        dbk_js_drop_consumer(consumer, dbk_status_block(DBK_STATUS_CONSUMER_DELETED));
        consumer = dbk_js_get_consumer(stream, call->consumer_name);
    }
    // Without a place it is opened when it is used.
    if (consumer == NULL) return;
    dbk_js_delivery *first = call->opened.first;
    dbk_js_set_consumer(consumer, &call->opened);
    if (consumer->delivery == first) call->first = first;
}

// A new one that pushes at full speed, to somebody who listens already.
static void fetch_first(const creating *create, const daybook_consumer_info *info) {
    dbk_js_call *call = create->call;
    dbk_js_opened *opened = &call->opened;
    char prefix[DBK_ACK_PREFIX_SIZE_MAX];
    dbk_ack_subject of = {.stream = create->stream, .consumer = info->config.name};
    if (call->advisory == NULL || call->listened.size == 0 || opened->deliver_subject == NULL ||
        opened->rules.rate_limit_bps > 0 ||
        !dbk_slice_equal(call->listened, daybook_text(opened->deliver_subject)))
        return;
    size_t size = dbk_ack_prefix_encode(&of, prefix);
    if (size > 0) opened->first = dbk_js_fetch_first(call->jetstream, opened, daybook_bytes(prefix, size));
}

static void answer_with_consumer(creating *create) {
    dbk_js_call *call = create->call;
    daybook_consumer_info *of;
    dbk_api_consumer_info info;
    dbk_api_error error;
    if (!get_info(call, create->stream, call->consumer_name, &of)) return;
    if (open_consumer(create, of, &error) && fill_info(call, of, &info, &error)) {
        dbk_api_write_consumer(&call->answer, &call->settings.dial, call->kind, &info);
        call->effect = set_consumer;
        fetch_first(create, of);
    } else {
        dbk_js_call_fail(call, &error);
    }
    daybook_consumer_info_release(call->jetstream->store, of);
}

static void serve_creation(dbk_js_call *call, creating *create) {
    dbk_api_error error;
    daybook_stream_info *info;
    create->call = call;
    call->stream_name = create->stream;
    if (!read_request(create, &error)) {
        dbk_js_call_fail(call, &error);
        return;
    }
    if (!dbk_js_call_stream(call, create->stream, &create->stream_config, &info)) return;
    if (make_consumer(create, &error)) {
        answer_with_consumer(create);
    } else {
        dbk_js_call_fail(call, &error);
    }
    if (call->has_failed) call->advisory = NULL;
    daybook_stream_info_release(call->jetstream->store, info);
}

void dbk_js_consumer_create(dbk_js_call *call) {
    creating said = {.stream = dbk_js_call_token(call, 2),
                     .name = dbk_js_call_token(call, 3),
                     .filter = dbk_js_tokens_from(call->subject, 4)};
    serve_creation(call, &said);
}

void dbk_js_consumer_create_durable(dbk_js_call *call) {
    creating said = {
        .stream = dbk_js_call_token(call, 3), .name = dbk_js_call_token(call, 4), .is_durable = true};
    serve_creation(call, &said);
}

// ---- Pages ------------------------------------------------------------------------------------------------

static int add_name(void *context, dbk_slice stream, dbk_slice name) {
    (void)stream;
    return dbk_js_page_add(context, name);
}

// False: the call has failed.
static bool find_page(dbk_js_page *page_out, dbk_js_call *call, int64_t limit) {
    dbk_api_page_request request;
    dbk_api_error error;
    dbk_slice stream = dbk_js_call_token(call, 2);
    if (!dbk_api_read_consumer_page(&call->settings.dial, call->body, call->arena, &request, &error)) {
        dbk_js_call_fail(call, &error);
        return false;
    }
    if (!stream_exists(call, stream)) return false;
    daybook_error cause;
    daybook_error_init(&cause);
    daybook_status status = dbk_js_page_init(page_out, call, request.offset, limit);
    if (status == DAYBOOK_OK)
        status = daybook_consumer_names(call->jetstream->store, stream, add_name, page_out, &cause);
    return dbk_js_page_end(page_out, call, status, &cause);
}

void dbk_js_consumer_names(dbk_js_call *call) {
    dbk_js_page page;
    if (find_page(&page, call, DBK_API_PAGE_NAMES)) dbk_js_page_answer(&page, call);
}

void dbk_js_consumer_list(dbk_js_call *call) {
    dbk_jetstream *jetstream = call->jetstream;
    dbk_js_page page;
    dbk_api_list_writer list;
    if (!find_page(&page, call, DBK_API_PAGE_LIST)) return;
    dbk_api_list_begin(&list, &call->answer, &call->settings.dial, call->kind, &page.said);
    for (size_t i = 0; i < page.count; i++) {
        daybook_consumer_info *of;
        dbk_api_consumer_info info;
        if (daybook_consumer_get_info(jetstream->store, dbk_js_call_token(call, 2), page.names[i], &of,
                                      NULL) != DAYBOOK_OK)
            continue; // it ended since
        if (fill_info(call, of, &info, NULL)) dbk_api_list_add_consumer(&list, &info);
        daybook_consumer_info_release(jetstream->store, of);
    }
    dbk_api_list_end(&list);
}

// ---- Removing and pausing ---------------------------------------------------------------------------------

// On the loop.
static void drop_consumer(dbk_js_call *call) {
    dbk_js_consumer *consumer = dbk_js_find_consumer(call->jetstream, call->stream_name, call->consumer_name);
    if (consumer != NULL) dbk_js_drop_consumer(consumer, dbk_status_block(DBK_STATUS_CONSUMER_DELETED));
}

void dbk_js_consumer_delete(dbk_js_call *call) {
    daybook_error cause;
    daybook_error_init(&cause);
    call->stream_name = dbk_js_call_token(call, 2);
    call->consumer_name = dbk_js_call_token(call, 3);
    if (!dbk_api_is_empty(call->body)) {
        dbk_js_call_refuse(call, DBK_API_ERR_NOT_EMPTY_REQUEST);
        return;
    }
    if (!stream_exists(call, call->stream_name)) return;
    daybook_status status =
        daybook_consumer_remove(call->jetstream->store, call->stream_name, call->consumer_name, &cause);
    if (status == DAYBOOK_ENOTFOUND) {
        dbk_js_call_refuse(call, DBK_API_ERR_CONSUMER_NOT_FOUND);
        return;
    }
    if (status != DAYBOOK_OK) {
        dbk_js_call_fail_status(call, status, &cause, DBK_API_ERR_CONSUMER_CREATE);
        return;
    }
    call->effect = drop_consumer;
    call->advisory = "CONSUMER.DELETED";
    call->action = "delete";
    dbk_api_write_success(&call->answer, call->kind);
}

void dbk_js_consumer_pause(dbk_js_call *call) {
    dbk_api_pause_request request;
    dbk_api_error error;
    daybook_error cause;
    daybook_error_init(&cause);
    dbk_slice stream = dbk_js_call_token(call, 2);
    if (!dbk_api_read_consumer_pause(&call->settings.dial, call->body, call->arena, &request, &error)) {
        dbk_js_call_fail(call, &error);
        return;
    }
    if (!stream_exists(call, stream)) return;
    daybook_status status = daybook_consumer_pause(call->jetstream->store, stream, dbk_js_call_token(call, 3),
                                                   request.pause_until_ns, &cause);
    if (status == DAYBOOK_ENOTFOUND) {
        dbk_js_call_refuse(call, DBK_API_ERR_CONSUMER_NOT_FOUND);
    } else if (status != DAYBOOK_OK) {
        dbk_js_call_fail_status(call, status, &cause, DBK_API_ERR_CONSUMER_CREATE);
    } else {
        int64_t left_ns = request.pause_until_ns - dbk_broker_clock_ns(call->jetstream->broker);
        dbk_api_write_consumer_paused(&call->answer, left_ns > 0, request.pause_until_ns,
                                      left_ns > 0 ? left_ns : 0);
    }
}

// ---- Resetting --------------------------------------------------------------------------------------------

// On the loop. What a delivery under way brings of before is dropped.
static void note_reset(dbk_js_call *call) {
    dbk_js_consumer *consumer = dbk_js_find_consumer(call->jetstream, call->stream_name, call->consumer_name);
    if (consumer == NULL) return;
    consumer->void_number = call->reset_number;
    // A delivery of behind it may have been handed over before this.
    if (consumer->delivered_number <= call->reset_number) {
        consumer->delivered_number = call->reset_number;
        consumer->delivered_seq = call->reset_seq - 1;
    }
    consumer->may_have_more = consumer->woken_meanwhile = true;
    dbk_js_deliver(consumer);
}

static bool fail_reset(daybook_status status, const daybook_error *cause, dbk_api_error *error_out) {
    switch (status) {
    case DAYBOOK_ELIMIT:
        return dbk_api_fail_with(error_out, DBK_API_ERR_CONSUMER_INVALID_RESET,
                                 "behind the end of the stream");
    case DAYBOOK_ENOTFOUND:
        return dbk_api_fail(error_out, DBK_API_ERR_CONSUMER_NOT_FOUND);
    case DAYBOOK_EPERMISSION:
        return dbk_api_fail_with(error_out, DBK_API_ERR_CONSUMER_INVALID_RESET, "not allowed");
    case DAYBOOK_EINVALID:
        return dbk_api_fail_with(error_out, DBK_API_ERR_CONSUMER_INVALID_RESET, "below start seq");
    default:
        return dbk_api_fail_status(error_out, status, cause, DBK_API_ERR_CONSUMER_CREATE);
    }
}

static bool reset(dbk_js_call *call, dbk_api_error *error_out) {
    dbk_api_reset_request request = {0};
    daybook_error cause;
    daybook_error_init(&cause);
    if (!dbk_api_is_empty(call->body) &&
        !dbk_api_read_consumer_reset(&call->settings.dial, call->body, call->arena, &request, error_out))
        return false;
    daybook_status status = daybook_consumer_reset(call->jetstream->store, call->stream_name,
                                                   call->consumer_name, request.seq, &call->reset_seq,
                                                   &call->reset_number, &cause);
    if (status == DAYBOOK_OK) return true;
    if (call->reset_seq == 0) return fail_reset(status, &cause, error_out);
    return dbk_api_fail_status(error_out, status, &cause, DBK_API_ERR_CONSUMER_CREATE);
}

void dbk_js_consumer_reset(dbk_js_call *call) {
    daybook_consumer_info *of;
    dbk_api_consumer_info info;
    dbk_api_error error;
    call->stream_name = dbk_js_call_token(call, 2);
    call->consumer_name = dbk_js_call_token(call, 3);
    if (!stream_exists(call, call->stream_name)) return;
    bool is_saved = reset(call, &error);
    if (call->reset_seq > 0) call->effect = note_reset; // also where it could not be saved
    if (!is_saved) {
        dbk_js_call_fail(call, &error);
        return;
    }
    if (!get_info(call, call->stream_name, call->consumer_name, &of)) return;
    if (fill_info(call, of, &info, &error)) {
        dbk_api_write_consumer_reset(&call->answer, &call->settings.dial, &info, call->reset_seq);
    } else {
        dbk_js_call_fail(call, &error);
    }
    daybook_consumer_info_release(call->jetstream->store, of);
}

// ---- Priority groups --------------------------------------------------------------------------------------

// On the loop.
static void unpin(dbk_js_call *call) {
    dbk_js_consumer *consumer = dbk_js_find_consumer(call->jetstream, call->stream_name, call->consumer_name);
    if (consumer != NULL) dbk_js_unpin(consumer, "admin");
}

static bool has_group(const dbk_api_consumer_config *config, dbk_slice group) {
    if (config->priority_policy != DBK_API_PRIORITY_PINNED_CLIENT) return false;
    for (size_t i = 0; i < config->priority_groups.count; i++)
        if (dbk_slice_equal(config->priority_groups.items[i], group)) return true;
    return false;
}

void dbk_js_consumer_unpin(dbk_js_call *call) {
    dbk_api_unpin_request request;
    dbk_api_consumer_config config;
    dbk_api_error error;
    daybook_consumer_info *of;
    call->stream_name = dbk_js_call_token(call, 2);
    call->consumer_name = dbk_js_call_token(call, 3);
    if (dbk_api_is_empty(call->body)) {
        dbk_js_call_refuse(call, DBK_API_ERR_BAD_REQUEST);
        return;
    }
    if (!dbk_api_read_consumer_unpin(&call->settings.dial, call->body, call->arena, &request, &error)) {
        dbk_js_call_fail(call, &error);
        return;
    }
    if (!stream_exists(call, call->stream_name) ||
        !get_info(call, call->stream_name, call->consumer_name, &of))
        return;
    if (!dbk_api_consumer_config_from_store(&of->config, call->arena, &config, &error)) {
        dbk_js_call_fail(call, &error);
    } else if (!has_group(&config, request.group)) {
        dbk_js_call_refuse(call, DBK_API_ERR_CONSUMER_INVALID_PRIORITY_GROUP);
    } else {
        call->effect = unpin;
        dbk_api_write_success(&call->answer, call->kind);
    }
    daybook_consumer_info_release(call->jetstream->store, of);
}
