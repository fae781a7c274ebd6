// SPDX-License-Identifier: Apache-2.0
// A stream's configuration as JetStream has it: read from a request, checked and completed as nats-server
// does, written into answers, and taken apart into what the store knows (daybook_stream_config) and the rest,
// which the store keeps beside it as bytes (`attributes`).
//
//     request ---dbk_api_read_stream_create--> config ---dbk_api_stream_config_check--> complete config
//     complete config <--dbk_api_stream_config_from_store, _to_store--> daybook_stream_config, attributes
//
// Values are JetStream's: -1 is no limit, durations are nanoseconds, absent is 0 or empty. Pure but for
// memory, which comes from the arena given: what a call returns borrows from it and from its arguments. Every
// function returning bool fills `error_out` where it returns false; out of memory is INSUFFICIENT_RESOURCES.
#ifndef DBK_API_STREAM_CONFIG_H
#define DBK_API_STREAM_CONFIG_H

#include "api/dial.h"
#include "api/error.h"
#include "api/value.h"
#include "daybook/stream.h"

#define DBK_API_DUPLICATE_WINDOW_DEFAULT_NS INT64_C(120000000000)

enum dbk_api_compression { DBK_API_COMPRESSION_NONE = 0, DBK_API_COMPRESSION_S2 = 1 };
enum dbk_api_persist_mode { DBK_API_PERSIST_DEFAULT = 0, DBK_API_PERSIST_ASYNC = 1 };

typedef struct dbk_api_placement {
    dbk_slice cluster;
    dbk_api_texts tags;
    dbk_slice preferred;
} dbk_api_placement;

typedef struct dbk_api_subject_transform {
    dbk_slice source; // empty: every subject
    dbk_slice destination;
} dbk_api_subject_transform;

typedef struct dbk_api_external {
    dbk_slice api_prefix;
    dbk_slice deliver_prefix;
} dbk_api_external;

enum { DBK_API_SOURCE_COUNT_MAX = 64 }; // each is a job and an entry of its stream

/// Where a mirror or source comes from.
typedef struct dbk_api_source {
    dbk_slice name;
    uint64_t start_seq;
    int64_t start_time_ns; // 0: none
    dbk_slice filter_subject;
    dbk_api_objects subject_transforms; // of dbk_api_subject_transform
    const dbk_api_external *external;   // NULL: none
} dbk_api_source;

typedef struct dbk_api_republish {
    dbk_slice source; // a filter; "" only before the check, then ">"
    dbk_slice destination;
    bool headers_only;
} dbk_api_republish;

/// What consumers of the stream may ask for at most, and have where they ask for nothing. 0: no limit.
typedef struct dbk_api_consumer_limits {
    int64_t inactive_threshold_ns;
    int64_t max_ack_pending;
} dbk_api_consumer_limits;

typedef struct dbk_api_stream_config {
    dbk_slice name;
    dbk_slice description;
    dbk_api_texts subjects;
    int retention; // enum daybook_retention
    int64_t max_consumers;
    int64_t max_msgs;
    int64_t max_bytes;
    int64_t max_age_ns; // 0: none
    int64_t max_msgs_per_subject;
    int64_t max_msg_size;
    int discard; // enum daybook_discard
    int storage; // enum daybook_storage
    int64_t num_replicas;
    bool no_ack;
    dbk_slice template_owner; // until 2.11; never taken
    int64_t duplicate_window_ns;
    const dbk_api_placement *placement;
    const dbk_api_source *mirror;
    dbk_api_objects sources; // of dbk_api_source
    int compression;         // enum dbk_api_compression; kept and told, the store compresses anyway
    uint64_t first_seq;
    const dbk_api_subject_transform *subject_transform;
    const dbk_api_republish *republish;
    bool allow_direct;
    bool mirror_direct;
    bool discard_new_per_subject;
    bool sealed;
    bool deny_delete;
    bool deny_purge;
    bool allow_rollup_hdrs;
    dbk_api_consumer_limits consumer_limits;
    bool allow_msg_ttl;
    int64_t subject_delete_marker_ttl_ns;
    bool allow_msg_counter;
    bool allow_atomic;
    bool allow_msg_schedules;
    int persist_mode; // enum dbk_api_persist_mode
    bool allow_batched;
    dbk_api_metadata metadata; // the user's; what the server adds ("_nats.…") is added when written
} dbk_api_stream_config;

/// What it copies: its mirror, or its sources.
static inline size_t dbk_api_source_count(const dbk_api_stream_config *config) {
    return config->mirror != NULL ? 1 : config->sources.count;
}
static inline const dbk_api_source *dbk_api_source_at(const dbk_api_stream_config *config, size_t index) {
    const dbk_api_source *sources = config->sources.items;
    return config->mirror != NULL ? config->mirror : &sources[index];
}
/// What is copied of a source, as filters: one at least, ">" for everything.
static inline size_t dbk_api_source_filter_count(const dbk_api_source *source) {
    return source->subject_transforms.count > 0 ? source->subject_transforms.count : 1;
}
static inline dbk_slice dbk_api_source_filter(const dbk_api_source *source, size_t index) {
    const dbk_api_subject_transform *transforms = source->subject_transforms.items;
    dbk_slice filter = source->subject_transforms.count > 0 ? transforms[index].source
                                                            : source->filter_subject;
    return filter.size > 0 ? filter : daybook_text(">");
}

/// What a server cannot do (yet) and therefore refuses, rather than to take it and not do it.
enum dbk_api_lack {
    DBK_API_LACKS_REPUBLISH = 1,
    DBK_API_LACKS_SUBJECT_TRANSFORM = 2,
    DBK_API_LACKS_PRIORITY_GROUPS = 8 // of consumers
};

/// What a server or account allows. 0: no limit.
typedef struct dbk_api_stream_limits {
    unsigned lacks; // enum dbk_api_lack
    int64_t duplicate_window_max_ns;
    bool max_bytes_required;
    int64_t stream_bytes_max_file;
    int64_t stream_bytes_max_memory;
} dbk_api_stream_limits;

/**
 * Check `config` and put defaults where nothing was said, in nats-server's order and with its errors.
 *
 * What needs to know other streams is the caller's: the name is taken (10058 unless
 * dbk_api_stream_configs_equal), the subjects overlap another stream's (10065), limits of the account.
 * Counters, schedules, batched publishing and mirrors of external streams get the error that nats-server
 * would give, and where it would take them STREAM_INVALID_CONFIG with a text that says it is not supported
 * here.
 * @param config       changed in place; may borrow from `arena` afterwards
 * @param limits       NULL: none
 * @param is_pedantic  a default that would change what the request said is an error (PEDANTIC)
 */
bool dbk_api_stream_config_check(const dbk_api_dial *dial, dbk_api_stream_config *config,
                                 const dbk_api_stream_limits *limits, bool is_pedantic, dbk_arena *arena,
                                 dbk_api_error *error_out);
/// The same for an update of `old`: also what may not change; seals the rest of a stream that is sealed by
/// it.
bool dbk_api_stream_config_check_update(const dbk_api_dial *dial, const dbk_api_stream_config *old,
                                        dbk_api_stream_config *config, const dbk_api_stream_limits *limits,
                                        bool is_pedantic, dbk_arena *arena, dbk_api_error *error_out);
/// Of two complete configurations: the same but for what the server adds to metadata.
bool dbk_api_stream_configs_equal(const dbk_api_stream_config *a, const dbk_api_stream_config *b);
/// Of two mirrors, or NULL: none.
bool dbk_api_same_source(const dbk_api_source *a, const dbk_api_source *b);
/// What nats-server tells sources of a stream by: "ORDERS orders.> >", name, filters, destinations. False:
/// out of memory.
bool dbk_api_source_index_name(const dbk_api_source *source, dbk_arena *arena, dbk_slice *name_out);
/// Does it hold nothing but what others have stored?
static inline bool dbk_api_stream_is_copy(const dbk_api_stream_config *config) {
    return config->mirror != NULL || (config->sources.count > 0 && config->subjects.count == 0);
}
/// The API level a stream of this configuration needs: 0, 1, 2, 4.
int dbk_api_stream_config_level(const dbk_api_stream_config *config);

/**
 * @param current     the stream as it is, whose settings unknown to JetStream (aggregate_tokens,
 *                    sync_interval_ns, INTERNAL) stay; NULL for a new one: the defaults
 * @param config_out  borrows from `config`, `current` and `arena`; its `attributes` are set
 */
bool dbk_api_stream_config_to_store(const dbk_api_stream_config *config, const daybook_stream_config *current,
                                    dbk_arena *arena, daybook_stream_config *config_out,
                                    dbk_api_error *error_out);
/// Where the store and the attributes say different things (the stream was changed through the library) the
/// store is right. Attributes that cannot be read (INVALID_JSON) are damage, not a client's mistake.
bool dbk_api_stream_config_from_store(const daybook_stream_config *config, dbk_arena *arena,
                                      dbk_api_stream_config *config_out, dbk_api_error *error_out);

#endif
