// SPDX-License-Identifier: Apache-2.0
// A consumer's configuration as JetStream has it; see stream_config.h, which has the same calls for streams.
#ifndef DBK_API_CONSUMER_CONFIG_H
#define DBK_API_CONSUMER_CONFIG_H

#include "api/stream_config.h"
#include "daybook/consumer.h"

/// JetStream's default is the first of each.
enum dbk_api_ack_policy {
    DBK_API_ACK_NONE = 0,
    DBK_API_ACK_ALL = 1,
    DBK_API_ACK_EXPLICIT = 2,
    DBK_API_ACK_FLOW_CONTROL = 3 // 2.14; refused
};
enum dbk_api_priority_policy {
    DBK_API_PRIORITY_NONE = 0,
    DBK_API_PRIORITY_OVERFLOW = 1,
    DBK_API_PRIORITY_PINNED_CLIENT = 2,
    DBK_API_PRIORITY_PRIORITIZED = 3 // 2.12
};

typedef struct dbk_api_consumer_config {
    dbk_slice durable_name;
    dbk_slice name;
    dbk_slice description;
    int deliver_policy; // enum daybook_consumer_deliver: the numbers are the same
    uint64_t opt_start_seq;
    int64_t opt_start_time_ns; // 0: none
    int ack_policy;            // enum dbk_api_ack_policy
    int64_t ack_wait_ns;
    int64_t max_deliver; // -1: as often as it takes
    dbk_api_durations backoff;
    dbk_slice filter_subject;
    dbk_api_texts filter_subjects;
    int replay_policy; // enum daybook_consumer_replay
    uint64_t rate_limit_bps;
    dbk_slice sample_freq; // "30%" or "30"
    int64_t max_waiting;
    int64_t max_ack_pending; // -1: no limit
    bool flow_control;
    bool headers_only;
    int64_t max_batch; // of a pull request; 0: no limit, as the two below
    int64_t max_expires_ns;
    int64_t max_bytes;
    dbk_slice deliver_subject; // empty: a pull consumer
    dbk_slice deliver_group;
    int64_t idle_heartbeat_ns;
    int64_t inactive_threshold_ns;
    int64_t num_replicas; // 0: the stream's
    bool mem_storage;
    bool direct;
    bool sourcing;
    dbk_api_metadata metadata;
    int64_t pause_until_ns; // 0: not paused
    dbk_api_texts priority_groups;
    int priority_policy; // enum dbk_api_priority_policy
    int64_t priority_timeout_ns;
} dbk_api_consumer_config;

/// What a server or account allows. 0: no limit.
typedef struct dbk_api_consumer_caps {
    unsigned lacks; // enum dbk_api_lack
    int64_t max_ack_pending;
    int64_t max_request_batch;
} dbk_api_consumer_caps;

/**
 * Check and complete, in nats-server's order: defaults, then the rules of one consumer alone and of its
 * stream's configuration. An ephemeral one (no durable_name) gets inactive_threshold 5 s where nothing was
 * said.
 *
 * The caller's are: the name is taken (dbk_api_consumer_config_check_update), the number of consumers
 * (10026), and a work queue's other consumers (10099, 10100).
 */
bool dbk_api_consumer_config_check(const dbk_api_dial *dial, const dbk_api_stream_config *stream,
                                   dbk_api_consumer_config *config, const dbk_api_consumer_caps *caps,
                                   bool is_pedantic, dbk_api_error *error_out);
/// What an update may not change. Both complete. A changed deliver_subject is taken; that the old one has
/// nobody who listens is the caller's to see (10013 CONSUMER_NAME_EXISTS).
bool dbk_api_consumer_config_check_update(const dbk_api_consumer_config *old,
                                          const dbk_api_consumer_config *config, dbk_api_error *error_out);
bool dbk_api_consumer_configs_equal(const dbk_api_consumer_config *a, const dbk_api_consumer_config *b);
int dbk_api_consumer_config_level(const dbk_api_consumer_config *config);

/// The filters, whichever way they were said: filter_subject or filter_subjects.
dbk_api_texts dbk_api_consumer_config_filters(const dbk_api_consumer_config *config);
/// Of sample_freq: percent of acknowledgements to sample; 0: none.
int dbk_api_consumer_config_sample(const dbk_api_consumer_config *config);
/// What it is called: durable_name or name; empty: a name is to be made.
dbk_slice dbk_api_consumer_config_name(const dbk_api_consumer_config *config);

/// @param current     the consumer as it is, whose settings unknown to JetStream (IN_ORDER) stay; NULL for a
/// new one
/// @param config_out  its name is dbk_api_consumer_config_name; borrows from `config`, `current` and `arena`
bool dbk_api_consumer_config_to_store(const dbk_api_consumer_config *config,
                                      const daybook_consumer_config *current, dbk_arena *arena,
                                      daybook_consumer_config *config_out, dbk_api_error *error_out);
bool dbk_api_consumer_config_from_store(const daybook_consumer_config *config, dbk_arena *arena,
                                        dbk_api_consumer_config *config_out, dbk_api_error *error_out);

#endif
