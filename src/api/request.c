// SPDX-License-Identifier: Apache-2.0
// Tables of the requests, and the pull request, which may be other than JSON.
#include "api/request.h"

#include <limits.h>
#include <string.h>

#include "api/tables.h"
#include "base/bytes.h"
#include "base/number.h"
#include "json/json.h"

#define PLAIN(kind, name, type, member) DBK_API_FIELD(kind, name, type, member, .is_omitted = true)
#define SINCE(version, kind, name, type, member) \
    DBK_API_FIELD(kind, name, type, member, .is_omitted = true, .since = (version))

static const dbk_api_field stream_create_fields[] = {
    DBK_API_FIELD(EMBEDDED, "", dbk_api_stream_create_request, config,
                  .object = &dbk_api_stream_config_object),
    SINCE(211, BOOL, "pedantic", dbk_api_stream_create_request, is_pedantic),
};
static const dbk_api_field stream_info_fields[] = {
    DBK_API_FIELD(INT, "offset", dbk_api_stream_info_request, offset, .owner = "ApiPagedRequest"),
    PLAIN(BOOL, "deleted_details", dbk_api_stream_info_request, deleted_details),
    PLAIN(TEXT, "subjects_filter", dbk_api_stream_info_request, subjects_filter),
};
static const dbk_api_field stream_page_fields[] = {
    DBK_API_FIELD(INT, "offset", dbk_api_page_request, offset, .owner = "ApiPagedRequest"),
    PLAIN(TEXT, "subject", dbk_api_page_request, subject),
};
static const dbk_api_field consumer_page_fields[] = {
    DBK_API_FIELD(INT, "offset", dbk_api_page_request, offset, .owner = "ApiPagedRequest"),
};
static const dbk_api_field purge_fields[] = {
    PLAIN(UINT, "seq", dbk_api_purge_request, seq),
    PLAIN(TEXT, "filter", dbk_api_purge_request, filter),
    PLAIN(UINT, "keep", dbk_api_purge_request, keep),
};
static const dbk_api_field message_get_fields[] = {
    PLAIN(UINT, "seq", dbk_api_message_get_request, seq),
    PLAIN(TEXT, "last_by_subj", dbk_api_message_get_request, last_by_subj),
    PLAIN(TEXT, "next_by_subj", dbk_api_message_get_request, next_by_subj),
    SINCE(211, INT, "batch", dbk_api_message_get_request, batch),
    SINCE(211, INT, "max_bytes", dbk_api_message_get_request, max_bytes),
    SINCE(211, TIME, "start_time", dbk_api_message_get_request, start_time_ns),
    SINCE(211, TEXTS, "multi_last", dbk_api_message_get_request, multi_last),
    SINCE(211, UINT, "up_to_seq", dbk_api_message_get_request, up_to_seq),
    SINCE(211, TIME, "up_to_time", dbk_api_message_get_request, up_to_time_ns),
    SINCE(212, BOOL, "no_hdr", dbk_api_message_get_request, no_headers),
    SINCE(212, UINT, "min_last_seq", dbk_api_message_get_request, min_last_seq),
};
static const dbk_api_field message_delete_fields[] = {
    PLAIN(UINT, "seq", dbk_api_message_delete_request, seq),
    PLAIN(BOOL, "no_erase", dbk_api_message_delete_request, no_erase),
};

static const char *const actions[] = {"", "update", "create", NULL};
static const dbk_api_choice action = {actions, "unknown consumer action: ", false};
static const dbk_api_field consumer_create_fields[] = {
    PLAIN(TEXT, "stream_name", dbk_api_consumer_create_request, stream_name),
    DBK_API_FIELD(STRUCT, "config", dbk_api_consumer_create_request, config,
                  .object = &dbk_api_consumer_config_object),
    DBK_API_FIELD(CHOICE, "action", dbk_api_consumer_create_request, action, .since = 210, .choice = &action),
    SINCE(211, BOOL, "pedantic", dbk_api_consumer_create_request, is_pedantic),
};
static const dbk_api_field consumer_pause_fields[] = {
    PLAIN(TIME, "pause_until", dbk_api_pause_request, pause_until_ns),
};
static const dbk_api_field consumer_unpin_fields[] = {
    PLAIN(TEXT, "group", dbk_api_unpin_request, group),
};
static const dbk_api_field consumer_reset_fields[] = {
    PLAIN(UINT, "seq", dbk_api_reset_request, seq),
};
#define OF_GROUP(version, kind, name, member) \
    DBK_API_FIELD(kind, name, dbk_api_pull_request, member, .since = (version), .owner = "PriorityGroup")
static const dbk_api_field pull_fields[] = {
    PLAIN(DURATION, "expires", dbk_api_pull_request, expires_ns),
    PLAIN(INT, "batch", dbk_api_pull_request, batch),
    PLAIN(INT, "max_bytes", dbk_api_pull_request, max_bytes),
    PLAIN(BOOL, "no_wait", dbk_api_pull_request, no_wait),
    PLAIN(DURATION, "idle_heartbeat", dbk_api_pull_request, idle_heartbeat_ns),
    OF_GROUP(211, TEXT, "group", group),
    OF_GROUP(211, INT64, "min_pending", min_pending),
    OF_GROUP(211, INT64, "min_ack_pending", min_ack_pending),
    OF_GROUP(211, TEXT, "id", id),
    OF_GROUP(212, INT, "priority", priority),
};

// Go's names of the requests, which error texts have.
#define NAME_stream_create "StreamConfigRequest"
#define NAME_stream_info "JSApiStreamInfoRequest"
#define NAME_stream_page "JSApiStreamListRequest"
#define NAME_purge "JSApiStreamPurgeRequest"
#define NAME_message_get "JSApiMsgGetRequest"
#define NAME_message_delete "JSApiMsgDeleteRequest"
#define NAME_consumer_create "CreateConsumerRequest"
#define NAME_consumer_page "JSApiConsumersRequest"
#define NAME_consumer_pause "JSApiConsumerPauseRequest"
#define NAME_consumer_unpin "JSApiConsumerUnpinRequest"
#define NAME_consumer_reset "JSApiConsumerResetRequest"

#define DEFINE_READ(name, type)                                                                             \
    static const dbk_api_object name##_object = DBK_API_OBJECT(NAME_##name, type, name##_fields);           \
    bool dbk_api_read_##name(const dbk_api_dial *dial, dbk_slice text, dbk_arena *arena, type *request_out, \
                             dbk_api_error *error_out) {                                                    \
        return dbk_api_read_object(dial, &name##_object, text, arena, request_out, error_out);              \
    }
DBK_API_REQUEST_MAP(DEFINE_READ)

static const dbk_api_object pull_object =
    DBK_API_OBJECT("JSApiConsumerGetNextRequest", dbk_api_pull_request, pull_fields);

static bool is_space(char byte) {
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

static dbk_slice trim(dbk_slice text) {
    const char *at = text.data;
    size_t size = text.size;
    while (size > 0 && is_space(*at)) at++, size--;
    while (size > 0 && is_space(at[size - 1])) size--;
    return daybook_bytes(at, size);
}

// A number alone, as strconv.Atoi takes it; anything else is a batch of one.
static int64_t batch_of(dbk_slice text) {
    const char *at = text.data;
    bool is_signed = text.size > 0 && (*at == '-' || *at == '+');
    uint64_t number;
    if (!dbk_decimal_parse(daybook_bytes(at + is_signed, text.size - is_signed), &number) ||
        number > INT64_MAX)
        return 1;
    return is_signed && *at == '-' ? -(int64_t)number : (int64_t)number;
}

bool dbk_api_read_pull(const dbk_api_dial *dial, dbk_slice text, dbk_arena *arena,
                       dbk_api_pull_request *request_out, dbk_api_error *error_out) {
    // Pull requests never were read strictly.
    dbk_api_dial lenient = *dial;
    lenient.is_strict = false;
    text = trim(text);
    if (text.size == 0 || *(const char *)text.data != '{') {
        memset(request_out, 0, sizeof *request_out);
        request_out->batch = batch_of(text);
        return true;
    }
    if (!dbk_api_read_object(&lenient, &pull_object, text, arena, request_out, error_out)) {
        static const char prefix[] = "invalid JSON: "; // The text goes behind "Bad Request - ".
        char *said = error_out == NULL ? NULL : error_out->description;
        if (said != NULL && strncmp(said, prefix, sizeof prefix - 1) == 0)
            memmove(said, said + sizeof prefix - 1, strlen(said + sizeof prefix - 1) + 1);
        return false;
    }
    if (request_out->idle_heartbeat_ns > 0 && request_out->idle_heartbeat_ns > request_out->expires_ns / 2) {
        (void)dbk_api_fail_with(error_out, DBK_API_ERR_STREAM_GENERAL, "heartbeat value too large");
        return false;
    }
    return true;
}

bool dbk_api_is_empty(dbk_slice text) {
    json_t *value = NULL;
    text = trim(text);
    if (text.size == 0) return true;
    if (dbk_json_parse(text, &value, NULL) != DAYBOOK_OK) return false;
    bool is_empty = json_is_object(value) && json_object_size(value) == 0;
    json_decref(value);
    return is_empty;
}
