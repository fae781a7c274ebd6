// SPDX-License-Identifier: Apache-2.0
// $JS.API.STREAM.MSG.GET and .DELETE: messages by sequence number or subject, as JSON. On a worker.
#include "base/bytes.h"
#include "daybook/read.h"
#include "daybook/subject.h"
#include "jetstream/api_call.h"
#include "proto/headers.h"

enum { HEADER_BLOCK_MAX = 1 << 20 };

// ---- Getting ----------------------------------------------------------------------------------------------

static bool read_get(dbk_js_call *call, dbk_api_message_get_request *request_out, dbk_api_error *error_out) {
    dbk_api_message_get_request *request = request_out;
    if (!dbk_api_read_message_get(&call->settings.dial, call->body, call->arena, request, error_out))
        return false;
    bool is_any = request->seq > 0 || request->last_by_subj.size > 0 || request->next_by_subj.size > 0;
    bool is_contradiction = request->last_by_subj.size > 0 &&
                            (request->seq > 0 || request->next_by_subj.size > 0);
    dbk_slice filter = request->last_by_subj.size > 0 ? request->last_by_subj : request->next_by_subj;
    if (!is_any || is_contradiction || (filter.size > 0 && !daybook_filter_is_valid(filter)))
        return dbk_api_fail(error_out, DBK_API_ERR_BAD_REQUEST);
    return true;
}

static daybook_status find_message(dbk_js_call *call, const dbk_api_message_get_request *request,
                                   daybook_cursor **cursor_out, daybook_recorded_event *event_out,
                                   daybook_error *error) {
    daybook_query query;
    dbk_slice filter = request->last_by_subj.size > 0 ? request->last_by_subj : request->next_by_subj;
    daybook_query_init(&query);
    query.stream = dbk_js_call_token(call, 3);
    query.filters = &filter;
    query.filter_count = filter.size > 0;
    query.limit = 1;
    if (request->last_by_subj.size > 0) query.flags = DAYBOOK_QUERY_REVERSE;
    query.seq_from = request->seq;
    if (filter.size == 0) query.seq_to = request->seq;
    *cursor_out = NULL;
    daybook_status status = daybook_read(call->jetstream->store, &query, cursor_out, error);
    return status == DAYBOOK_OK ? daybook_cursor_next(*cursor_out, 0, event_out, error) : status;
}

static void answer_with_event(dbk_js_call *call, const daybook_recorded_event *event) {
    dbk_buf block;
    dbk_buf_init(&block, call->jetstream->allocator, HEADER_BLOCK_MAX);
    if (event->event.header_count > 0) {
        dbk_headers_begin(&block, 0, daybook_bytes(NULL, 0));
        for (size_t i = 0; i < event->event.header_count; i++)
            dbk_headers_add(&block, event->event.headers[i].name, event->event.headers[i].value);
        dbk_headers_end(&block);
    }
    if (dbk_buf_status(&block) != DAYBOOK_OK) {
        dbk_js_call_refuse(call, DBK_API_ERR_INSUFFICIENT_RESOURCES);
    } else {
        dbk_api_write_message(&call->answer,
                              &(dbk_api_stored_message){.subject = event->event.subject,
                                                        .seq = event->seq,
                                                        .headers = daybook_bytes(block.data, block.size),
                                                        .data = event->event.data,
                                                        .time_ns = event->recorded_ns});
    }
    dbk_buf_deinit(&block);
}

void dbk_js_message_get(dbk_js_call *call) {
    dbk_api_message_get_request request;
    dbk_api_stream_config config;
    daybook_stream_info *info;
    dbk_api_error error;
    if (!read_get(call, &request, &error)) {
        dbk_js_call_fail(call, &error);
        return;
    }
    if (!dbk_js_call_stream(call, dbk_js_call_token(call, 3), &config, &info)) return;
    daybook_stream_info_release(call->jetstream->store, info);
    daybook_cursor *cursor;
    daybook_recorded_event event;
    daybook_error cause;
    daybook_error_init(&cause);
    daybook_status status = find_message(call, &request, &cursor, &event, &cause);
    if (status == DAYBOOK_OK) {
        answer_with_event(call, &event);
    } else if (status == DAYBOOK_END) {
        dbk_js_call_refuse(call, DBK_API_ERR_NO_MESSAGE_FOUND);
    } else {
        dbk_js_call_fail_status(call, status, &cause, DBK_API_ERR_STREAM_GENERAL);
    }
    daybook_cursor_close(cursor);
}

// ---- Deleting ---------------------------------------------------------------------------------------------

static bool may_delete(dbk_js_call *call, const dbk_api_stream_config *config,
                       dbk_api_message_delete_request *request_out, dbk_api_error *error_out) {
    if (!dbk_api_read_message_delete(&call->settings.dial, call->body, call->arena, request_out, error_out))
        return false;
    if (call->body.size == 0) return dbk_api_fail(error_out, DBK_API_ERR_BAD_REQUEST);
    if (config->sealed) return dbk_api_fail(error_out, DBK_API_ERR_STREAM_SEALED);
    if (config->deny_delete)
        return dbk_api_fail_with(error_out, DBK_API_ERR_STREAM_MSG_DELETE_FAILED,
                                 "message delete not permitted");
    return true;
}

static bool is_stored(const dbk_js_call *call, dbk_slice stream, uint64_t seq) {
    uint64_t count = 0;
    daybook_query query;
    daybook_query_init(&query);
    query.stream = stream;
    query.seq_from = query.seq_to = seq;
    return seq > 0 && daybook_count(call->jetstream->store, &query, &count, NULL) == DAYBOOK_OK && count > 0;
}

void dbk_js_message_delete(dbk_js_call *call) {
    dbk_api_message_delete_request request;
    dbk_api_stream_config config;
    daybook_stream_info *info;
    dbk_api_error error;
    dbk_slice name = dbk_js_call_token(call, 3);
    if (!dbk_js_call_stream(call, name, &config, &info)) return;
    daybook_stream_info_release(call->jetstream->store, info);
    if (!may_delete(call, &config, &request, &error)) {
        dbk_js_call_fail(call, &error);
        return;
    }
    daybook_error cause;
    daybook_error_init(&cause);
    // Removing what is gone erases what may be left of its bytes; who asks is told that it was gone.
    bool was_there = is_stored(call, name, request.seq);
    daybook_status status =
        daybook_event_remove(call->jetstream->store, name, request.seq, !request.no_erase, &cause);
    if (status == DAYBOOK_OK && !was_there) status = DAYBOOK_ENOTFOUND;
    if (status == DAYBOOK_OK) {
        dbk_api_write_success(&call->answer, call->kind);
    } else if (status == DAYBOOK_ENOTFOUND) {
        (void)dbk_api_fail_with(&error, DBK_API_ERR_SEQUENCE_NOT_FOUND, "%llu",
                                (unsigned long long)request.seq);
        dbk_js_call_fail(call, &error);
    } else {
        dbk_js_call_fail_status(call, status, &cause, DBK_API_ERR_STREAM_MSG_DELETE_FAILED);
    }
}
