// SPDX-License-Identifier: Apache-2.0
// Tables of the answers, and the text around them.
#include "api/answer.h"

#include <string.h>

#include "api/tables.h"
#include "base/number.h"
#include "json/json.h"

#define PLAIN(kind, name, type, member) DBK_API_FIELD(kind, name, type, member, .is_omitted = false)
#define OMITTED(kind, name, type, member) DBK_API_FIELD(kind, name, type, member, .is_omitted = true)

static const dbk_api_field cluster_fields[] = {
    OMITTED(TEXT, "name", dbk_api_cluster, name),
    OMITTED(TEXT, "leader", dbk_api_cluster, leader),
};
static const dbk_api_object cluster_object = DBK_API_OBJECT("ClusterInfo", dbk_api_cluster, cluster_fields);

static const dbk_api_field page_fields[] = {
    PLAIN(INT, "total", dbk_api_page, total),
    PLAIN(INT, "offset", dbk_api_page, offset),
    PLAIN(INT, "limit", dbk_api_page, limit),
};
static const dbk_api_object page_object = DBK_API_OBJECT("ApiPaged", dbk_api_page, page_fields);

static const dbk_api_field state_fields[] = {
    PLAIN(UINT, "messages", dbk_api_stream_state, messages),
    PLAIN(UINT, "bytes", dbk_api_stream_state, bytes),
    PLAIN(UINT, "first_seq", dbk_api_stream_state, first_seq),
    PLAIN(TIME, "first_ts", dbk_api_stream_state, first_time_ns),
    PLAIN(UINT, "last_seq", dbk_api_stream_state, last_seq),
    PLAIN(TIME, "last_ts", dbk_api_stream_state, last_time_ns),
    OMITTED(UINT, "num_subjects", dbk_api_stream_state, subject_count),
    OMITTED(COUNTS, "subjects", dbk_api_stream_state, subjects),
    OMITTED(UINT, "num_deleted", dbk_api_stream_state, deleted_count),
    OMITTED(NUMBERS, "deleted", dbk_api_stream_state, deleted),
    PLAIN(UINT, "consumer_count", dbk_api_stream_state, consumer_count),
};
static const dbk_api_object state_object = DBK_API_OBJECT("StreamState", dbk_api_stream_state, state_fields);

static const dbk_api_field told_error_fields[] = {
    PLAIN(INT64, "code", dbk_api_told_error, code),
    OMITTED(INT64, "err_code", dbk_api_told_error, error_code),
    OMITTED(TEXT, "description", dbk_api_told_error, description),
};
static const dbk_api_object told_error_object =
    DBK_API_OBJECT("ApiError", dbk_api_told_error, told_error_fields);

static const dbk_api_field source_info_fields[] = {
    PLAIN(TEXT, "name", dbk_api_source_info, name),
    PLAIN(UINT, "lag", dbk_api_source_info, lag),
    PLAIN(DURATION, "active", dbk_api_source_info, active_ns),
    DBK_API_FIELD(OPTIONAL, "error", dbk_api_source_info, error, .is_omitted = true,
                  .object = &told_error_object),
    OMITTED(TEXT, "filter_subject", dbk_api_source_info, filter_subject),
    DBK_API_FIELD(STRUCTS, "subject_transforms", dbk_api_source_info, subject_transforms, .is_omitted = true,
                  .since = 210, .object = &dbk_api_subject_transform_object),
};
static const dbk_api_object source_info_object =
    DBK_API_OBJECT("StreamSourceInfo", dbk_api_source_info, source_info_fields);

static const dbk_api_field stream_fields[] = {
    DBK_API_FIELD(STRUCT, "config", dbk_api_stream_info, config, .object = &dbk_api_stream_config_object),
    PLAIN(TIME, "created", dbk_api_stream_info, created_ns),
    DBK_API_FIELD(STRUCT, "state", dbk_api_stream_info, state, .object = &state_object),
    OMITTED(TEXT, "domain", dbk_api_stream_info, domain),
    DBK_API_FIELD(OPTIONAL, "cluster", dbk_api_stream_info, cluster, .is_omitted = true,
                  .object = &cluster_object),
    DBK_API_FIELD(OPTIONAL, "mirror", dbk_api_stream_info, mirror, .is_omitted = true,
                  .object = &source_info_object),
    DBK_API_FIELD(STRUCTS, "sources", dbk_api_stream_info, sources, .is_omitted = true,
                  .object = &source_info_object),
    DBK_API_FIELD(TIME, "ts", dbk_api_stream_info, now_ns, .since = 210),
};
static const dbk_api_object stream_object = DBK_API_OBJECT("StreamInfo", dbk_api_stream_info, stream_fields);

static const dbk_api_field sequence_fields[] = {
    PLAIN(UINT, "consumer_seq", dbk_api_sequence, consumer_seq),
    PLAIN(UINT, "stream_seq", dbk_api_sequence, stream_seq),
    OMITTED(TIME, "last_active", dbk_api_sequence, last_active_ns),
};
static const dbk_api_object sequence_object =
    DBK_API_OBJECT("SequenceInfo", dbk_api_sequence, sequence_fields);

static const dbk_api_field priority_fields[] = {
    PLAIN(TEXT, "group", dbk_api_priority_state, group),
    OMITTED(TEXT, "pinned_client_id", dbk_api_priority_state, pinned_client_id),
    PLAIN(TIME, "pinned_ts", dbk_api_priority_state, pinned_ns),
};
static const dbk_api_object priority_object =
    DBK_API_OBJECT("PriorityGroupState", dbk_api_priority_state, priority_fields);

static const dbk_api_field consumer_fields[] = {
    PLAIN(TEXT, "stream_name", dbk_api_consumer_info, stream_name),
    PLAIN(TEXT, "name", dbk_api_consumer_info, name),
    PLAIN(TIME, "created", dbk_api_consumer_info, created_ns),
    DBK_API_FIELD(STRUCT, "config", dbk_api_consumer_info, config, .object = &dbk_api_consumer_config_object),
    DBK_API_FIELD(STRUCT, "delivered", dbk_api_consumer_info, delivered, .object = &sequence_object),
    DBK_API_FIELD(STRUCT, "ack_floor", dbk_api_consumer_info, ack_floor, .object = &sequence_object),
    PLAIN(UINT, "num_ack_pending", dbk_api_consumer_info, ack_pending_count),
    PLAIN(UINT, "num_redelivered", dbk_api_consumer_info, redelivered_count),
    PLAIN(UINT, "num_waiting", dbk_api_consumer_info, waiting_count),
    PLAIN(UINT, "num_pending", dbk_api_consumer_info, pending_count),
    DBK_API_FIELD(OPTIONAL, "cluster", dbk_api_consumer_info, cluster, .is_omitted = true,
                  .object = &cluster_object),
    OMITTED(BOOL, "push_bound", dbk_api_consumer_info, push_bound),
    DBK_API_FIELD(BOOL, "paused", dbk_api_consumer_info, paused, .is_omitted = true, .since = 211),
    DBK_API_FIELD(DURATION, "pause_remaining", dbk_api_consumer_info, pause_remaining_ns, .is_omitted = true,
                  .since = 211),
    DBK_API_FIELD(TIME, "ts", dbk_api_consumer_info, now_ns, .since = 210),
    DBK_API_FIELD(STRUCTS, "priority_groups", dbk_api_consumer_info, priority_groups, .is_omitted = true,
                  .since = 211, .object = &priority_object),
};
static const dbk_api_object consumer_object =
    DBK_API_OBJECT("ConsumerInfo", dbk_api_consumer_info, consumer_fields);

static const dbk_api_field message_fields[] = {
    PLAIN(TEXT, "subject", dbk_api_stored_message, subject),
    PLAIN(UINT, "seq", dbk_api_stored_message, seq),
    OMITTED(BASE64, "hdrs", dbk_api_stored_message, headers),
    OMITTED(BASE64, "data", dbk_api_stored_message, data),
    PLAIN(TIME, "time", dbk_api_stored_message, time_ns),
};
static const dbk_api_object message_object =
    DBK_API_OBJECT("StoredMsg", dbk_api_stored_message, message_fields);

static const dbk_api_field account_limits_fields[] = {
    PLAIN(INT64, "max_memory", dbk_api_account_limits, max_memory),
    PLAIN(INT64, "max_storage", dbk_api_account_limits, max_storage),
    PLAIN(INT, "max_streams", dbk_api_account_limits, max_streams),
    PLAIN(INT, "max_consumers", dbk_api_account_limits, max_consumers),
    PLAIN(INT, "max_ack_pending", dbk_api_account_limits, max_ack_pending),
    PLAIN(INT64, "memory_max_stream_bytes", dbk_api_account_limits, memory_max_stream_bytes),
    PLAIN(INT64, "storage_max_stream_bytes", dbk_api_account_limits, storage_max_stream_bytes),
    PLAIN(BOOL, "max_bytes_required", dbk_api_account_limits, max_bytes_required),
};
static const dbk_api_object account_limits_object =
    DBK_API_OBJECT("JetStreamAccountLimits", dbk_api_account_limits, account_limits_fields);

static const dbk_api_field account_fields[] = {
    PLAIN(UINT, "memory", dbk_api_account_info, memory),
    PLAIN(UINT, "storage", dbk_api_account_info, storage),
    DBK_API_FIELD(UINT, "reserved_memory", dbk_api_account_info, reserved_memory, .since = 210),
    DBK_API_FIELD(UINT, "reserved_storage", dbk_api_account_info, reserved_storage, .since = 210),
    PLAIN(UINT, "streams", dbk_api_account_info, stream_count),
    PLAIN(UINT, "consumers", dbk_api_account_info, consumer_count),
    DBK_API_FIELD(STRUCT, "limits", dbk_api_account_info, limits, .object = &account_limits_object),
    OMITTED(TEXT, "domain", dbk_api_account_info, domain),
};
static const dbk_api_object account_object =
    DBK_API_OBJECT("JetStreamAccountStats", dbk_api_account_info, account_fields);

// Within "api", which is no struct of its own.
typedef struct api_stats {
    int64_t level;
    uint64_t total;
    uint64_t errors;
    uint64_t inflight;
} api_stats;
static const dbk_api_field stats_fields[] = {
    DBK_API_FIELD(INT, "level", api_stats, level, .since = 211),
    PLAIN(UINT, "total", api_stats, total),
    PLAIN(UINT, "errors", api_stats, errors),
    OMITTED(UINT, "inflight", api_stats, inflight),
};
static const dbk_api_object stats_object = DBK_API_OBJECT("JetStreamAPIStats", api_stats, stats_fields);

// The text around them.

static const struct {
    const char *type;
    const char *failure;
} answers[DBK_API_ANSWER_COUNT] = {
#define ANSWER_ENTRY(name, type, failure) {type, failure},
    DBK_API_ANSWER_MAP(ANSWER_ENTRY)
#undef ANSWER_ENTRY
};

static void put(dbk_buf *out, const char *text) {
    dbk_buf_append(out, text, strlen(text));
}

static void begin(dbk_buf *out, dbk_api_answer answer) {
    put(out, "{\"type\":\"io.nats.jetstream.api.v1.");
    put(out, answers[answer].type);
    put(out, "_response\"");
}

void dbk_api_write_failure(dbk_buf *out, dbk_api_answer answer, const dbk_api_error *error) {
    begin(out, answer);
    put(out, ",\"error\":");
    dbk_api_write_error_object(out, error);
    put(out, answers[answer].failure);
    put(out, "}");
}

void dbk_api_write_success(dbk_buf *out, dbk_api_answer answer) {
    begin(out, answer);
    put(out, answer == DBK_API_CONSUMER_UNPIN ? "}" : ",\"success\":true}");
}

void dbk_api_write_purged(dbk_buf *out, uint64_t purged_count) {
    begin(out, DBK_API_STREAM_PURGE);
    put(out, ",\"success\":true,\"purged\":");
    dbk_decimal_append(out, purged_count);
    put(out, "}");
}

void dbk_api_write_stream(dbk_buf *out, const dbk_api_dial *dial, dbk_api_answer answer,
                          const dbk_api_stream_info *info, bool did_create) {
    begin(out, answer);
    dbk_api_write_members(out, dial, &stream_object, info);
    put(out, did_create ? ",\"did_create\":true}" : "}");
}

void dbk_api_write_stream_info(dbk_buf *out, const dbk_api_dial *dial, const dbk_api_stream_info *info,
                               const dbk_api_page *page) {
    begin(out, DBK_API_STREAM_INFO);
    dbk_api_write_members(out, dial, &page_object, page);
    dbk_api_write_members(out, dial, &stream_object, info);
    put(out, "}");
}

void dbk_api_write_consumer(dbk_buf *out, const dbk_api_dial *dial, dbk_api_answer answer,
                            const dbk_api_consumer_info *info) {
    begin(out, answer);
    dbk_api_write_members(out, dial, &consumer_object, info);
    put(out, "}");
}

void dbk_api_write_consumer_reset(dbk_buf *out, const dbk_api_dial *dial, const dbk_api_consumer_info *info,
                                  uint64_t reset_seq) {
    begin(out, DBK_API_CONSUMER_RESET);
    dbk_api_write_members(out, dial, &consumer_object, info);
    put(out, ",\"reset_seq\":");
    dbk_decimal_append(out, reset_seq);
    put(out, "}");
}

void dbk_api_write_consumer_paused(dbk_buf *out, bool is_paused, int64_t pause_until_ns,
                                   int64_t pause_remaining_ns) {
    begin(out, DBK_API_CONSUMER_PAUSE);
    put(out, is_paused ? ",\"paused\":true,\"pause_until\":" : ",\"paused\":false,\"pause_until\":");
    dbk_api_write_time(out, pause_until_ns);
    if (pause_remaining_ns > 0) {
        put(out, ",\"pause_remaining\":");
        dbk_decimal_append_signed(out, pause_remaining_ns);
    }
    put(out, "}");
}

// Pages.

static void begin_page(dbk_buf *out, const dbk_api_dial *dial, dbk_api_answer answer,
                       const dbk_api_page *page) {
    bool is_of_streams = answer == DBK_API_STREAM_NAMES || answer == DBK_API_STREAM_LIST;
    begin(out, answer);
    dbk_api_write_members(out, dial, &page_object, page);
    put(out, is_of_streams ? ",\"streams\":[" : ",\"consumers\":[");
}

void dbk_api_write_names(dbk_buf *out, dbk_api_answer answer, const dbk_api_page *page,
                         const dbk_slice names[], size_t count) {
    static const dbk_api_dial any = {.version = 209, .announced = ""};
    if (count == 0 && answer == DBK_API_STREAM_NAMES) { // A nil slice of Go's.
        begin(out, answer);
        dbk_api_write_members(out, &any, &page_object, page);
        put(out, ",\"streams\":null}");
        return;
    }
    begin_page(out, &any, answer, page);
    for (size_t i = 0; i < count; i++) {
        if (i > 0) put(out, ",");
        dbk_json_write_go_string(out, names[i]);
    }
    put(out, "]}");
}

void dbk_api_list_begin(dbk_api_list_writer *list, dbk_buf *out, const dbk_api_dial *dial,
                        dbk_api_answer answer, const dbk_api_page *page) {
    *list = (dbk_api_list_writer){out, dial, 0};
    begin_page(out, dial, answer, page);
}

static void add(dbk_api_list_writer *list, const dbk_api_object *object, const void *item) {
    if (list->count++ > 0) put(list->out, ",");
    dbk_api_write_listed(list->out, list->dial, object, item);
}

void dbk_api_list_add_stream(dbk_api_list_writer *list, const dbk_api_stream_info *info) {
    add(list, &stream_object, info);
}

void dbk_api_list_add_consumer(dbk_api_list_writer *list, const dbk_api_consumer_info *info) {
    add(list, &consumer_object, info);
}

void dbk_api_list_end(dbk_api_list_writer *list) {
    put(list->out, "]}");
}

// Messages, accounts, acknowledgements.

void dbk_api_write_message(dbk_buf *out, const dbk_api_stored_message *message) {
    static const dbk_api_dial any = {.version = 209, .announced = ""};
    begin(out, DBK_API_MESSAGE_GET);
    put(out, ",\"message\":");
    dbk_api_write_object(out, &any, &message_object, message);
    put(out, "}");
}

void dbk_api_write_account_info(dbk_buf *out, const dbk_api_dial *dial, const dbk_api_account_info *info) {
    api_stats stats = {dbk_api_dial_level(dial), info->api_total, info->api_errors, info->api_inflight};
    begin(out, DBK_API_ACCOUNT_INFO);
    dbk_api_write_members(out, dial, &account_object, info);
    put(out, ",\"api\":");
    dbk_api_write_object(out, dial, &stats_object, &stats);
    put(out, "}");
}

// nats-server makes this text by hand, too, and has a space in it (before 2.12 two).
void dbk_api_write_pub_ack(dbk_buf *out, const dbk_api_pub_ack *ack) {
    put(out, "{\"stream\":");
    dbk_json_write_go_string(out, ack->stream);
    if (ack->domain.size > 0) {
        put(out, ",\"domain\":");
        dbk_json_write_go_string(out, ack->domain);
    }
    put(out, ",\"seq\":");
    dbk_decimal_append(out, ack->seq);
    if (ack->is_duplicate) put(out, ",\"duplicate\": true");
    if (ack->counter.size > 0) {
        put(out, ",\"val\":");
        dbk_json_write_go_string(out, ack->counter);
    }
    if (ack->batch.size > 0) {
        put(out, ",\"batch\":");
        dbk_json_write_go_string(out, ack->batch);
        put(out, ",\"count\":");
        dbk_decimal_append(out, ack->batch_count);
    }
    put(out, "}");
}

void dbk_api_write_pub_failure(dbk_buf *out, const dbk_api_error *error, dbk_slice stream, uint64_t seq) {
    put(out, "{\"error\":");
    dbk_api_write_error_object(out, error);
    put(out, ",\"stream\":");
    dbk_json_write_go_string(out, stream);
    put(out, ",\"seq\":");
    dbk_decimal_append(out, seq);
    put(out, "}");
}

void dbk_api_write_stream_config(dbk_buf *out, const dbk_api_dial *dial,
                                 const dbk_api_stream_config *config) {
    dbk_api_write_object(out, dial, &dbk_api_stream_config_object, config);
}
