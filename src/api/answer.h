// SPDX-License-Identifier: Apache-2.0
// Answers of JetStream's API as text: fields, order and presence as nats-server of the dial's version has
// them.
//
//     dbk_api_write_success(&out, DBK_API_STREAM_DELETE);
//     dbk_api_write_failure(&out, DBK_API_STREAM_DELETE, &error);
//
// Every function appends one JSON object to `out`; failures stay in it (dbk_buf_status). Pure, any thread.
#ifndef DBK_API_ANSWER_H
#define DBK_API_ANSWER_H

#include "api/consumer_config.h"

enum {
    DBK_API_PAGE_NAMES = 1024,     // entries of an answer with names
    DBK_API_PAGE_LIST = 256,       // with whole infos
    DBK_API_PAGE_SUBJECTS = 100000 // subjects of a stream info
};

// X(name, type, what a failure has besides): the type is "io.nats.jetstream.api.v1.<type>_response".
#define DBK_API_ANSWER_MAP(X)                                                                         \
    X(ACCOUNT_INFO, "account_info", "")                                                               \
    X(STREAM_CREATE, "stream_create", "")                                                             \
    X(STREAM_UPDATE, "stream_update", "")                                                             \
    X(STREAM_INFO, "stream_info", ",\"total\":0,\"offset\":0,\"limit\":0")                            \
    X(STREAM_NAMES, "stream_names", ",\"total\":0,\"offset\":0,\"limit\":0,\"streams\":null")         \
    X(STREAM_LIST, "stream_list", ",\"total\":0,\"offset\":0,\"limit\":0,\"streams\":[]")             \
    X(STREAM_DELETE, "stream_delete", "")                                                             \
    X(STREAM_PURGE, "stream_purge", ",\"purged\":0")                                                  \
    X(STREAM_SNAPSHOT, "stream_snapshot", "")                                                         \
    X(STREAM_RESTORE, "stream_restore", ",\"deliver_subject\":\"\"")                                  \
    X(STREAM_REMOVE_PEER, "stream_remove_peer", "")                                                   \
    X(STREAM_LEADER_STEPDOWN, "stream_leader_stepdown", "")                                           \
    X(MESSAGE_GET, "stream_msg_get", "")                                                              \
    X(MESSAGE_DELETE, "stream_msg_delete", "")                                                        \
    X(CONSUMER_CREATE, "consumer_create", "")                                                         \
    X(CONSUMER_INFO, "consumer_info", "")                                                             \
    X(CONSUMER_NAMES, "consumer_names", ",\"total\":0,\"offset\":0,\"limit\":0,\"consumers\":[]")     \
    X(CONSUMER_LIST, "consumer_list", ",\"total\":0,\"offset\":0,\"limit\":0,\"consumers\":[]")       \
    X(CONSUMER_DELETE, "consumer_delete", "")                                                         \
    X(CONSUMER_PAUSE, "consumer_pause", ",\"paused\":false,\"pause_until\":\"0001-01-01T00:00:00Z\"") \
    X(CONSUMER_UNPIN, "consumer_unpin", "")                                                           \
    X(CONSUMER_RESET, "consumer_reset", ",\"reset_seq\":0")                                           \
    X(CONSUMER_LEADER_STEPDOWN, "consumer_leader_stepdown", "")                                       \
    X(META_LEADER_STEPDOWN, "meta_leader_stepdown", "")                                               \
    X(META_SERVER_REMOVE, "meta_server_remove", "")                                                   \
    X(ACCOUNT_PURGE, "account_purge", "")

typedef enum dbk_api_answer {
#define DBK_API_ANSWER_ENUM(name, type, failure) DBK_API_##name,
    DBK_API_ANSWER_MAP(DBK_API_ANSWER_ENUM)
#undef DBK_API_ANSWER_ENUM
        DBK_API_ANSWER_COUNT
} dbk_api_answer;

/// {"type":…,"error":{…}}
void dbk_api_write_failure(dbk_buf *out, dbk_api_answer answer, const dbk_api_error *error);
/// {"type":…,"success":true}; CONSUMER_UNPIN: without success.
void dbk_api_write_success(dbk_buf *out, dbk_api_answer answer);
void dbk_api_write_purged(dbk_buf *out, uint64_t purged_count);

typedef struct dbk_api_page {
    int64_t total;
    int64_t offset;
    int64_t limit;
} dbk_api_page;

typedef struct dbk_api_cluster {
    dbk_slice name;
    dbk_slice leader; // a single server names itself
} dbk_api_cluster;

typedef struct dbk_api_stream_state {
    uint64_t messages;
    uint64_t bytes;
    uint64_t first_seq;
    int64_t first_time_ns; // 0: no message
    uint64_t last_seq;
    int64_t last_time_ns;
    uint64_t subject_count;
    dbk_api_counts subjects; // where asked for
    uint64_t deleted_count;
    dbk_api_numbers deleted; // where asked for
    uint64_t consumer_count;
} dbk_api_stream_state;

/// Why a mirror or source does not get on.
typedef struct dbk_api_told_error {
    int64_t code, error_code;
    dbk_slice description;
} dbk_api_told_error;

/// What became of a mirror or source.
typedef struct dbk_api_source_info {
    dbk_slice name;
    uint64_t lag;
    int64_t active_ns;               // since it was seen last; -1: never
    const dbk_api_told_error *error; // NULL: none
    dbk_slice filter_subject;
    dbk_api_objects subject_transforms; // of dbk_api_subject_transform
} dbk_api_source_info;

typedef struct dbk_api_stream_info {
    dbk_api_stream_config config;
    int64_t created_ns;
    dbk_api_stream_state state;
    dbk_slice domain;
    const dbk_api_cluster *cluster;    // NULL: not told
    const dbk_api_source_info *mirror; // NULL: it is none
    dbk_api_objects sources;           // of dbk_api_source_info
    int64_t now_ns;                    // when it was so
} dbk_api_stream_info;

/// STREAM_CREATE (did_create as given), STREAM_UPDATE.
void dbk_api_write_stream(dbk_buf *out, const dbk_api_dial *dial, dbk_api_answer answer,
                          const dbk_api_stream_info *info, bool did_create);
/// STREAM.INFO; `page` is of the subjects, zeros where none were asked for.
void dbk_api_write_stream_info(dbk_buf *out, const dbk_api_dial *dial, const dbk_api_stream_info *info,
                               const dbk_api_page *page);

typedef struct dbk_api_sequence {
    uint64_t consumer_seq;
    uint64_t stream_seq;
    int64_t last_active_ns; // 0: never
} dbk_api_sequence;

typedef struct dbk_api_priority_state {
    dbk_slice group;
    dbk_slice pinned_client_id; // empty: nobody
    int64_t pinned_ns;
} dbk_api_priority_state;

typedef struct dbk_api_consumer_info {
    dbk_slice stream_name;
    dbk_slice name;
    int64_t created_ns;
    dbk_api_consumer_config config;
    dbk_api_sequence delivered;
    dbk_api_sequence ack_floor;
    uint64_t ack_pending_count;
    uint64_t redelivered_count;
    uint64_t waiting_count;
    uint64_t pending_count;
    const dbk_api_cluster *cluster; // NULL: not told
    bool push_bound;
    bool paused;
    int64_t pause_remaining_ns;
    int64_t now_ns;
    dbk_api_objects priority_groups; // of dbk_api_priority_state
} dbk_api_consumer_info;

/// CONSUMER_CREATE, CONSUMER_INFO.
void dbk_api_write_consumer(dbk_buf *out, const dbk_api_dial *dial, dbk_api_answer answer,
                            const dbk_api_consumer_info *info);
void dbk_api_write_consumer_reset(dbk_buf *out, const dbk_api_dial *dial, const dbk_api_consumer_info *info,
                                  uint64_t reset_seq);
void dbk_api_write_consumer_paused(dbk_buf *out, bool is_paused, int64_t pause_until_ns,
                                   int64_t pause_remaining_ns);

/// STREAM_NAMES, CONSUMER_NAMES. `page->limit` is DBK_API_PAGE_NAMES, `page->total` all there are.
void dbk_api_write_names(dbk_buf *out, dbk_api_answer answer, const dbk_api_page *page,
                         const dbk_slice names[], size_t count);

/// STREAM_LIST, CONSUMER_LIST: begin, one item after the other, end.
typedef struct dbk_api_list_writer {
    dbk_buf *out;
    const dbk_api_dial *dial;
    size_t count;
} dbk_api_list_writer;

void dbk_api_list_begin(dbk_api_list_writer *list, dbk_buf *out, const dbk_api_dial *dial,
                        dbk_api_answer answer, const dbk_api_page *page);
void dbk_api_list_add_stream(dbk_api_list_writer *list, const dbk_api_stream_info *info);
void dbk_api_list_add_consumer(dbk_api_list_writer *list, const dbk_api_consumer_info *info);
void dbk_api_list_end(dbk_api_list_writer *list);

typedef struct dbk_api_stored_message {
    dbk_slice subject;
    uint64_t seq;
    dbk_slice headers; // the whole block "NATS/1.0\r\n…\r\n\r\n", or empty
    dbk_slice data;
    int64_t time_ns;
} dbk_api_stored_message;

void dbk_api_write_message(dbk_buf *out, const dbk_api_stored_message *message);

typedef struct dbk_api_account_limits {
    int64_t max_memory; // -1: none, as for all
    int64_t max_storage;
    int64_t max_streams;
    int64_t max_consumers;
    int64_t max_ack_pending;
    int64_t memory_max_stream_bytes;
    int64_t storage_max_stream_bytes;
    bool max_bytes_required;
} dbk_api_account_limits;

typedef struct dbk_api_account_info {
    uint64_t memory;
    uint64_t storage;
    uint64_t reserved_memory;
    uint64_t reserved_storage;
    uint64_t stream_count;
    uint64_t consumer_count;
    dbk_api_account_limits limits;
    dbk_slice domain;
    uint64_t api_total;
    uint64_t api_errors;
    uint64_t api_inflight;
} dbk_api_account_info;

void dbk_api_write_account_info(dbk_buf *out, const dbk_api_dial *dial, const dbk_api_account_info *info);

typedef struct dbk_api_pub_ack {
    dbk_slice stream;
    dbk_slice domain;
    uint64_t seq;
    bool is_duplicate;
    dbk_slice counter; // value after a counter's message; empty: none
    dbk_slice batch;   // id of an atomic batch; empty: none
    uint64_t batch_count;
} dbk_api_pub_ack;

/// {"stream":"S","seq":1}
void dbk_api_write_pub_ack(dbk_buf *out, const dbk_api_pub_ack *ack);
/// {"error":{…},"stream":"S","seq":0}; `seq` is the last one where the protocol tells it.
void dbk_api_write_pub_failure(dbk_buf *out, const dbk_api_error *error, dbk_slice stream, uint64_t seq);

/// A configuration alone, as a snapshot's answer and advisories have it.
void dbk_api_write_stream_config(dbk_buf *out, const dbk_api_dial *dial, const dbk_api_stream_config *config);

#endif
