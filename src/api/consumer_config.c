// SPDX-License-Identifier: Apache-2.0
// A consumer's configuration: its table of fields, and between JetStream and the store; see stream_config.c.
//
// Some fields the store has, too, but does not keep the way they were said (one filter alone or in a list, no
// limit as -1 or as 0). They are attributes as well. Reading back, what was said stays as long as it means
// what the store has.
#include "api/consumer_config.h"

#include <limits.h>
#include <string.h>

#include "api/tables.h"
#include "base/bytes.h"
#include "base/number.h"

static const char *const deliver_policies[] = {
    "all", "last", "new", "by_start_sequence", "by_start_time", "last_per_subject", NULL};
static const char *const ack_policies[] = {"none", "all", "explicit", "flow_control", NULL};
static const char *const replay_policies[] = {"instant", "original", NULL};
static const char *const priority_policies[] = {"none", "overflow", "pinned_client", "prioritized", NULL};
static const dbk_api_choice deliver_policy = {deliver_policies, "can not unmarshal ", true};
static const dbk_api_choice ack_policy = {ack_policies, "can not unmarshal ", true};
static const dbk_api_choice replay_policy = {replay_policies, "can not unmarshal ", true};
static const dbk_api_choice priority_policy = {priority_policies, "unknown priority policy: ", false};

#define PLAIN(kind, name, member, ...) DBK_API_FIELD(kind, name, dbk_api_consumer_config, member, __VA_ARGS__)
#define ALWAYS .is_omitted = false
#define OMITTED .is_omitted = true
#define ATTRIBUTE .is_attribute = true

// In nats-server's order, which is the order of the answers.
static const dbk_api_field fields[] = {
    PLAIN(TEXT, "durable_name", durable_name, OMITTED),
    PLAIN(TEXT, "name", name, OMITTED, ATTRIBUTE),
    PLAIN(TEXT, "description", description, OMITTED),
    PLAIN(CHOICE, "deliver_policy", deliver_policy, ALWAYS, .choice = &deliver_policy),
    PLAIN(UINT, "opt_start_seq", opt_start_seq, OMITTED),
    PLAIN(TIME, "opt_start_time", opt_start_time_ns, OMITTED),
    PLAIN(CHOICE, "ack_policy", ack_policy, ALWAYS, .choice = &ack_policy),
    PLAIN(DURATION, "ack_wait", ack_wait_ns, OMITTED, ATTRIBUTE),
    PLAIN(INT, "max_deliver", max_deliver, OMITTED, ATTRIBUTE),
    PLAIN(DURATIONS, "backoff", backoff, OMITTED),
    PLAIN(TEXT, "filter_subject", filter_subject, OMITTED, ATTRIBUTE),
    PLAIN(TEXTS, "filter_subjects", filter_subjects, OMITTED, ATTRIBUTE, .since = 210),
    PLAIN(CHOICE, "replay_policy", replay_policy, ALWAYS, .choice = &replay_policy),
    PLAIN(UINT, "rate_limit_bps", rate_limit_bps, OMITTED, ATTRIBUTE),
    PLAIN(TEXT, "sample_freq", sample_freq, OMITTED, ATTRIBUTE),
    PLAIN(INT, "max_waiting", max_waiting, OMITTED, ATTRIBUTE),
    PLAIN(INT, "max_ack_pending", max_ack_pending, OMITTED, ATTRIBUTE),
    PLAIN(DURATION, "idle_heartbeat", idle_heartbeat_ns, OMITTED, .until = 209),
    PLAIN(BOOL, "flow_control", flow_control, OMITTED, ATTRIBUTE),
    PLAIN(BOOL, "headers_only", headers_only, OMITTED),
    PLAIN(INT, "max_batch", max_batch, OMITTED, ATTRIBUTE),
    PLAIN(DURATION, "max_expires", max_expires_ns, OMITTED, ATTRIBUTE),
    PLAIN(INT, "max_bytes", max_bytes, OMITTED, ATTRIBUTE),
    PLAIN(TEXT, "deliver_subject", deliver_subject, OMITTED, ATTRIBUTE),
    PLAIN(TEXT, "deliver_group", deliver_group, OMITTED, ATTRIBUTE),
    PLAIN(DURATION, "idle_heartbeat", idle_heartbeat_ns, OMITTED, ATTRIBUTE, .since = 210),
    PLAIN(DURATION, "inactive_threshold", inactive_threshold_ns, OMITTED),
    PLAIN(INT, "num_replicas", num_replicas, ALWAYS, ATTRIBUTE),
    PLAIN(BOOL, "mem_storage", mem_storage, OMITTED, ATTRIBUTE),
    PLAIN(BOOL, "direct", direct, OMITTED, ATTRIBUTE),
    PLAIN(BOOL, "sourcing", sourcing, OMITTED, ATTRIBUTE, .since = 214),
    PLAIN(METADATA, "metadata", metadata, OMITTED, ATTRIBUTE, .since = 210),
    PLAIN(TIME, "pause_until", pause_until_ns, OMITTED, .since = 211),
    PLAIN(TEXTS, "priority_groups", priority_groups, OMITTED, ATTRIBUTE, .since = 211),
    PLAIN(CHOICE, "priority_policy", priority_policy, OMITTED, ATTRIBUTE, .since = 211,
          .choice = &priority_policy),
    PLAIN(DURATION, "priority_timeout", priority_timeout_ns, OMITTED, ATTRIBUTE, .since = 211),
};

static int level_of(const void *item) {
    return dbk_api_consumer_config_level(item);
}

const dbk_api_object dbk_api_consumer_config_object = {
    .name = "ConsumerConfig",
    .size = sizeof(dbk_api_consumer_config),
    .fields = fields,
    .field_count = sizeof fields / sizeof *fields,
    .level = level_of,
};

int dbk_api_consumer_config_level(const dbk_api_consumer_config *config) {
    if (config->ack_policy == DBK_API_ACK_FLOW_CONTROL) return 4;
    if (config->priority_policy == DBK_API_PRIORITY_PRIORITIZED) return 2;
    bool has_groups = config->priority_policy != DBK_API_PRIORITY_NONE || config->priority_groups.count > 0;
    return config->pause_until_ns != 0 || has_groups ? 1 : 0;
}

bool dbk_api_consumer_configs_equal(const dbk_api_consumer_config *a, const dbk_api_consumer_config *b) {
    return dbk_api_objects_equal(&dbk_api_consumer_config_object, a, b);
}

dbk_api_texts dbk_api_consumer_config_filters(const dbk_api_consumer_config *config) {
    if (config->filter_subject.size == 0) return config->filter_subjects;
    return (dbk_api_texts){&config->filter_subject, 1};
}

int dbk_api_consumer_config_sample(const dbk_api_consumer_config *config) {
    dbk_slice text = config->sample_freq;
    uint64_t percent;
    if (text.size > 0 && ((const char *)text.data)[text.size - 1] == '%') text.size--;
    if (!dbk_decimal_parse(text, &percent)) return 0;
    return percent > 100 ? 100 : (int)percent;
}

dbk_slice dbk_api_consumer_config_name(const dbk_api_consumer_config *config) {
    return config->durable_name.size > 0 ? config->durable_name : config->name;
}

// To the store and back.

static uint64_t limit_to_store(int64_t limit) {
    return limit <= 0 ? 0 : (uint64_t)limit;
}

static int64_t number_from_store(uint64_t number) {
    return number > INT64_MAX ? INT64_MAX : (int64_t)number;
}

static int ack_to_store(int policy) {
    if (policy == DBK_API_ACK_NONE) return DAYBOOK_ACK_NONE;
    return policy == DBK_API_ACK_ALL ? DAYBOOK_ACK_ALL : DAYBOOK_ACK_EXPLICIT;
}

static int ack_from_store(int policy) {
    if (policy == DAYBOOK_ACK_NONE) return DBK_API_ACK_NONE;
    return policy == DAYBOOK_ACK_ALL ? DBK_API_ACK_ALL : DBK_API_ACK_EXPLICIT;
}

static int64_t ack_wait_to_store(int64_t ack_wait_ns) {
    daybook_consumer_config defaults;
    daybook_consumer_config_init(&defaults);
    return ack_wait_ns == 0 ? defaults.ack_wait_ns : ack_wait_ns;
}

static unsigned flags_to_store(const dbk_api_consumer_config *config, unsigned flags) {
    flags &= ~(unsigned)(DAYBOOK_CONSUMER_DURABLE | DAYBOOK_CONSUMER_HEADERS_ONLY);
    if (config->durable_name.size > 0) flags |= DAYBOOK_CONSUMER_DURABLE;
    return config->headers_only ? flags | DAYBOOK_CONSUMER_HEADERS_ONLY : flags;
}

bool dbk_api_consumer_config_to_store(const dbk_api_consumer_config *config,
                                      const daybook_consumer_config *current, dbk_arena *arena,
                                      daybook_consumer_config *config_out, dbk_api_error *error_out) {
    dbk_slice attributes;
    dbk_api_texts filters = dbk_api_consumer_config_filters(config);
    if (!dbk_api_make_attributes(&dbk_api_consumer_config_object, config, arena, &attributes, error_out))
        return false;
    daybook_consumer_config_init(config_out);
    if (current != NULL) *config_out = *current;
    config_out->name = dbk_api_consumer_config_name(config);
    config_out->description = config->description;
    config_out->flags = flags_to_store(config, config_out->flags);
    config_out->deliver = config->deliver_policy;
    config_out->start_seq = config->opt_start_seq;
    config_out->start_time_ns = config->opt_start_time_ns;
    config_out->ack = ack_to_store(config->ack_policy);
    config_out->replay = config->replay_policy;
    config_out->filters = filters.items;
    config_out->filter_count = filters.count;
    config_out->ack_wait_ns = ack_wait_to_store(config->ack_wait_ns);
    config_out->max_deliver = limit_to_store(config->max_deliver);
    config_out->backoff_ns = config->backoff.items;
    config_out->backoff_count = config->backoff.count;
    config_out->max_ack_pending = limit_to_store(config->max_ack_pending);
    config_out->max_waiting = limit_to_store(config->max_waiting);
    config_out->inactive_threshold_ns = config->inactive_threshold_ns;
    config_out->pause_until_ns = config->pause_until_ns;
    config_out->attributes = attributes;
    return true;
}

static bool same_filters(dbk_api_texts said, const daybook_consumer_config *stored) {
    if (said.count != stored->filter_count) return false;
    for (size_t i = 0; i < said.count; i++) {
        if (!dbk_slice_equal(said.items[i], stored->filters[i])) return false;
    }
    return true;
}

static void take_filters(dbk_api_consumer_config *config, const daybook_consumer_config *stored) {
    if (same_filters(dbk_api_consumer_config_filters(config), stored)) return;
    bool is_one = stored->filter_count == 1;
    config->filter_subject = is_one ? stored->filters[0] : daybook_text("");
    config->filter_subjects = (dbk_api_texts){stored->filters, is_one ? 0 : stored->filter_count};
}

// What `limit` says stays where it means what is stored, and where anything was said at all.
static void take_limit(int64_t *limit, uint64_t stored, bool was_said, int64_t none) {
    if (was_said && limit_to_store(*limit) == stored) return;
    *limit = stored == 0 ? none : number_from_store(stored);
}

bool dbk_api_consumer_config_from_store(const daybook_consumer_config *config, dbk_arena *arena,
                                        dbk_api_consumer_config *config_out, dbk_api_error *error_out) {
    bool was_said = config->attributes.size > 0;
    bool is_push;
    if (!dbk_api_read_attributes(&dbk_api_consumer_config_object, config->attributes, arena, config_out,
                                 error_out))
        return false;
    is_push = config_out->deliver_subject.size > 0;
    if ((config->flags & DAYBOOK_CONSUMER_DURABLE) != 0)
        config_out->durable_name = config->name;
    else
        config_out->name = config->name;
    config_out->description = config->description;
    config_out->deliver_policy = config->deliver;
    config_out->opt_start_seq = config->start_seq;
    config_out->opt_start_time_ns = config->start_time_ns;
    config_out->ack_policy = ack_from_store(config->ack);
    config_out->replay_policy = config->replay;
    config_out->headers_only = (config->flags & DAYBOOK_CONSUMER_HEADERS_ONLY) != 0;
    config_out->backoff = (dbk_api_durations){config->backoff_ns, config->backoff_count};
    config_out->inactive_threshold_ns = config->inactive_threshold_ns;
    config_out->pause_until_ns = config->pause_until_ns;
    take_filters(config_out, config);
    if (!was_said || ack_wait_to_store(config_out->ack_wait_ns) != config->ack_wait_ns)
        config_out->ack_wait_ns = config->ack_wait_ns;
    take_limit(&config_out->max_deliver, config->max_deliver, was_said, -1);
    take_limit(&config_out->max_ack_pending, config->max_ack_pending, was_said,
               config->ack == DAYBOOK_ACK_NONE ? 0 : -1);
    take_limit(&config_out->max_waiting, config->max_waiting, was_said, 0);
    if (is_push) config_out->max_waiting = 0;
    return true;
}
