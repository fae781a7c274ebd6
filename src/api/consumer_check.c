// SPDX-License-Identifier: Apache-2.0
// What nats-server takes for a consumer's configuration: defaults, then checks, in its order and with its
// errors; see stream_check.c.
#include <inttypes.h>
#include <string.h>

#include "api/consumer_config.h"
#include "api/tables.h"
#include "base/bytes.h"
#include "base/number.h"
#include "base/time.h"
#include "daybook/subject.h"

enum { MAX_WAITING_DEFAULT = 512, MAX_ACK_PENDING_DEFAULT = 1000, GROUP_NAME_SIZE_MAX = 16 };
static const int64_t ack_wait_default_ns = 30 * DBK_SECOND_NS;
static const int64_t inactive_threshold_default_ns = 5 * DBK_SECOND_NS;
static const int64_t pinned_default_ns = 120 * DBK_SECOND_NS;
static const int64_t heartbeat_min_ns = 100 * DBK_MILLISECOND_NS;

typedef struct check {
    const dbk_api_dial *dial;
    const dbk_api_stream_config *stream;
    dbk_api_consumer_config *config;
    const dbk_api_consumer_caps *caps;
    dbk_api_error *error;
    bool is_pedantic;
} check;

static bool fail(check *c, dbk_api_error_kind kind) {
    return dbk_api_fail(c->error, kind);
}

static bool pedantic(check *c, const char *text) {
    return dbk_api_fail_with(c->error, DBK_API_ERR_PEDANTIC, "%s", text);
}

static bool is_push(const dbk_api_consumer_config *config) {
    return config->deliver_subject.size > 0;
}

// Defaults.

static bool raise_negatives(check *c) {
    static const struct {
        size_t offset;
        int64_t least;
        const char *text;
    } numbers[] = {
        {offsetof(dbk_api_consumer_config, max_deliver), -1, "max_deliver must be set to -1"},
        {offsetof(dbk_api_consumer_config, max_waiting), 0, "max_waiting must not be negative"},
        {offsetof(dbk_api_consumer_config, max_ack_pending), -1, "max_ack_pending must be set to -1"},
        {offsetof(dbk_api_consumer_config, max_batch), 0, "max_batch must not be negative"},
        {offsetof(dbk_api_consumer_config, max_expires_ns), 0, "max_expires must not be negative"},
        {offsetof(dbk_api_consumer_config, max_bytes), 0, "max_bytes must not be negative"},
        {offsetof(dbk_api_consumer_config, idle_heartbeat_ns), 0, "idle_heartbeat must not be negative"},
        {offsetof(dbk_api_consumer_config, inactive_threshold_ns), 0,
         "inactive_threshold must not be negative"},
        {offsetof(dbk_api_consumer_config, priority_timeout_ns), 0, "priority_timeout must not be negative"},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        int64_t *number = (int64_t *)(void *)((char *)c->config + numbers[i].offset);
        if (*number >= numbers[i].least) continue;
        if (c->is_pedantic) return pedantic(c, numbers[i].text);
        *number = numbers[i].least;
    }
    if (c->config->max_deliver == 0) c->config->max_deliver = -1;
    return true;
}

static bool default_waits(check *c) {
    dbk_api_consumer_config *config = c->config;
    if (!is_push(config) && config->max_waiting == 0) config->max_waiting = MAX_WAITING_DEFAULT;
    bool is_acknowledged = config->ack_policy == DBK_API_ACK_EXPLICIT ||
                           config->ack_policy == DBK_API_ACK_ALL;
    if (config->ack_wait_ns == 0 && is_acknowledged) config->ack_wait_ns = ack_wait_default_ns;
    if (config->backoff.count == 0) return true;
    if (c->is_pedantic && config->ack_wait_ns != config->backoff.items[0])
        return pedantic(c, "first backoff value has to equal batch AckWait");
    config->ack_wait_ns = config->backoff.items[0];
    return true;
}

static bool default_from_stream(check *c) {
    dbk_api_consumer_config *config = c->config;
    const dbk_api_consumer_limits *limits = &c->stream->consumer_limits;
    if (config->max_ack_pending == 0) {
        if (c->is_pedantic && limits->max_ack_pending > 0)
            return pedantic(c, "max_ack_pending must be set if it's configured in stream limits");
        config->max_ack_pending = limits->max_ack_pending;
    }
    if (config->inactive_threshold_ns == 0) {
        if (c->is_pedantic && limits->inactive_threshold_ns > 0)
            return pedantic(c, "inactive_threshold must be set if it's configured in stream limits");
        config->inactive_threshold_ns = limits->inactive_threshold_ns;
    }
    return true;
}

static bool default_numbers(check *c) {
    dbk_api_consumer_config *config = c->config;
    if (config->max_ack_pending == 0 && config->ack_policy != DBK_API_ACK_NONE) {
        config->max_ack_pending = MAX_ACK_PENDING_DEFAULT;
        if (c->caps->max_ack_pending > 0 && c->caps->max_ack_pending < MAX_ACK_PENDING_DEFAULT)
            config->max_ack_pending = c->caps->max_ack_pending;
    }
    if (!is_push(config) && config->max_batch == 0 && c->caps->max_request_batch > 0) {
        if (c->is_pedantic)
            return pedantic(c, "max_request_batch must be set if it's JetStream limits are set");
        config->max_batch = c->caps->max_request_batch;
    }
    if (config->priority_policy == DBK_API_PRIORITY_PINNED_CLIENT && config->priority_timeout_ns == 0)
        config->priority_timeout_ns = pinned_default_ns;
    return true;
}

// Checks.

// Of what the store holds so many only; nats-server has no such limit.
static bool too_many(check *c, const char *what, int limit) {
    return dbk_api_fail_with(c->error, DBK_API_ERR_CONSUMER_CREATE, "too many %s, maximum allowed is %d",
                             what, limit);
}

static bool contains_separator(dbk_slice name) {
    return name.size > 0 &&
           (memchr(name.data, '/', name.size) != NULL || memchr(name.data, '\\', name.size) != NULL);
}

static bool check_one_name(check *c, dbk_slice name, const char *what) {
    if (name.size == 0) return true;
    if (name.size > DBK_API_NAME_SIZE_MAX)
        return dbk_api_fail_with(c->error, DBK_API_ERR_CONSUMER_NAME_TOO_LONG, "%d", DBK_API_NAME_SIZE_MAX);
    if (dbk_api_name_is_valid(name)) return true;
    if (c->dial->version >= 212)
        return dbk_api_fail_with(c->error, DBK_API_ERR_STREAM_INVALID_CONFIG,
                                 "%s can not contain '.', '*', '>', '\\', '/'", what);
    if (contains_separator(name)) return fail(c, DBK_API_ERR_CONSUMER_NAME_CONTAINS_PATH_SEPARATORS);
    return fail(c, DBK_API_ERR_CONSUMER_BAD_DURABLE_NAME);
}

static bool check_names(check *c) {
    return check_one_name(c, c->config->name, "consumer name") &&
           check_one_name(c, c->config->durable_name, "consumer durable name");
}

static bool check_replicas(check *c) {
    int64_t replicas = c->config->num_replicas;
    if (replicas > 1) return fail(c, DBK_API_ERR_STREAM_REPLICAS_NOT_SUPPORTED);
    if (replicas < 0) return fail(c, DBK_API_ERR_REPLICAS_COUNT_CANNOT_BE_NEGATIVE);
    return true;
}

static bool check_acknowledging(check *c) {
    const dbk_api_consumer_config *config = c->config;
    if (config->ack_policy == DBK_API_ACK_FLOW_CONTROL)
        return fail(c, DBK_API_ERR_CONSUMER_ACK_POLICY_INVALID);
    if (config->backoff.count > DAYBOOK_CONSUMER_BACKOFF_COUNT_MAX)
        return too_many(c, "backoff values", DAYBOOK_CONSUMER_BACKOFF_COUNT_MAX);
    for (size_t i = 0; i < config->backoff.count; i++) {
        if (config->backoff.items[i] < 0) return fail(c, DBK_API_ERR_CONSUMER_BACKOFF_NEGATIVE);
    }
    if (config->ack_wait_ns < 0) return fail(c, DBK_API_ERR_CONSUMER_ACK_WAIT_NEGATIVE);
    if (config->max_deliver != -1 && (uint64_t)config->max_deliver < config->backoff.count)
        return fail(c, DBK_API_ERR_CONSUMER_MAX_DELIVER_BACKOFF);
    if (config->description.size > DBK_API_DESCRIPTION_SIZE_MAX)
        return dbk_api_fail_with(c->error, DBK_API_ERR_CONSUMER_DESCRIPTION_TOO_LONG, "%d",
                                 DBK_API_DESCRIPTION_SIZE_MAX);
    return true;
}

static bool forms_cycle(check *c) {
    for (size_t i = 0; i < c->stream->subjects.count; i++) {
        if (daybook_filter_covers(c->stream->subjects.items[i], c->config->deliver_subject)) return true;
    }
    return false;
}

static bool check_push(check *c) {
    const dbk_api_consumer_config *config = c->config;
    if (daybook_filter_is_valid(config->deliver_subject) &&
        !daybook_subject_is_valid(config->deliver_subject))
        return fail(c, DBK_API_ERR_CONSUMER_DELIVER_TO_WILDCARDS);
    if (!daybook_subject_is_valid(config->deliver_subject))
        return fail(c, DBK_API_ERR_CONSUMER_INVALID_DELIVER_SUBJECT);
    if (forms_cycle(c)) return fail(c, DBK_API_ERR_CONSUMER_DELIVER_CYCLE);
    if (config->max_waiting != 0) return fail(c, DBK_API_ERR_CONSUMER_PUSH_MAX_WAITING);
    if (config->max_ack_pending > 0 && config->ack_policy == DBK_API_ACK_NONE)
        return fail(c, DBK_API_ERR_CONSUMER_MAX_PENDING_ACK_POLICY_REQUIRED);
    if (config->idle_heartbeat_ns > 0 && config->idle_heartbeat_ns < heartbeat_min_ns)
        return fail(c, DBK_API_ERR_CONSUMER_SMALL_HEARTBEAT);
    return true;
}

static bool fail_pull_without_ack(check *c) {
    (void)fail(c, DBK_API_ERR_CONSUMER_PULL_REQUIRES_ACK);
    if (c->error != NULL && c->dial->version < 210) {
        static const char old[] = "consumer in pull mode requires ack policy";
        memcpy(c->error->description, old, sizeof old);
    }
    return false;
}

static bool check_pull(check *c) {
    const dbk_api_consumer_config *config = c->config;
    if (config->ack_policy == DBK_API_ACK_NONE && c->stream->retention == DAYBOOK_RETENTION_WORKQUEUE)
        return fail_pull_without_ack(c);
    if (config->rate_limit_bps > 0) return fail(c, DBK_API_ERR_CONSUMER_PULL_WITH_RATE_LIMIT);
    if (config->idle_heartbeat_ns > 0) return fail(c, DBK_API_ERR_CONSUMER_HB_REQUIRES_PUSH);
    if (config->flow_control) return fail(c, DBK_API_ERR_CONSUMER_FC_REQUIRES_PUSH);
    if (config->max_expires_ns != 0 && config->max_expires_ns < DBK_MILLISECOND_NS)
        return fail(c, DBK_API_ERR_CONSUMER_MAX_REQUEST_EXPIRES_TOO_SMALL);
    if (c->caps->max_request_batch > 0 && config->max_batch > c->caps->max_request_batch)
        return dbk_api_fail_with(c->error, DBK_API_ERR_CONSUMER_MAX_REQUEST_BATCH_EXCEEDED, "%" PRId64,
                                 c->caps->max_request_batch);
    return true;
}

static bool check_mode(check *c) {
    return is_push(c->config) ? check_push(c) : check_pull(c);
}

static bool check_pending(check *c, int64_t limit) {
    if (limit <= 0 || c->config->max_ack_pending <= limit) return true;
    return dbk_api_fail_with(c->error, DBK_API_ERR_CONSUMER_MAX_PENDING_ACK_EXCESS, "%" PRId64, limit);
}

static bool check_caps(check *c) {
    const dbk_api_consumer_limits *limits = &c->stream->consumer_limits;
    if (!check_pending(c, c->caps->max_ack_pending) || !check_pending(c, limits->max_ack_pending))
        return false;
    if (limits->inactive_threshold_ns > 0 &&
        c->config->inactive_threshold_ns > limits->inactive_threshold_ns) {
        char text[DBK_GO_DURATION_TEXT_SIZE];
        (void)dbk_go_duration_format(limits->inactive_threshold_ns, text);
        return dbk_api_fail_with(c->error, DBK_API_ERR_CONSUMER_INACTIVE_THRESHOLD_EXCESS, "%s", text);
    }
    if (!c->config->direct) return true;
    if (!is_push(c->config)) return fail(c, DBK_API_ERR_CONSUMER_DIRECT_REQUIRES_PUSH);
    if (c->config->durable_name.size > 0) return fail(c, DBK_API_ERR_CONSUMER_DIRECT_REQUIRES_EPHEMERAL);
    return true;
}

// Filters.

// Before 2.10 a filter had to have to do with the stream.
static bool is_of_stream(check *c, dbk_slice filter) {
    if (c->dial->version >= 210) return true;
    for (size_t i = 0; i < c->stream->subjects.count; i++) {
        dbk_slice subject = c->stream->subjects.items[i];
        if (daybook_filter_covers(subject, filter) || daybook_filter_covers(filter, subject)) return true;
    }
    return false;
}

static bool check_filters(check *c) {
    const dbk_api_consumer_config *config = c->config;
    if (config->filter_subject.size > 0 && config->filter_subjects.count > 0)
        return fail(c, DBK_API_ERR_CONSUMER_DUPLICATE_FILTER_SUBJECTS);
    for (size_t i = 0; i < config->filter_subjects.count; i++) {
        if (config->filter_subjects.items[i].size == 0) return fail(c, DBK_API_ERR_CONSUMER_EMPTY_FILTER);
    }
    dbk_api_texts filters = dbk_api_consumer_config_filters(config);
    if (filters.count > DAYBOOK_CONSUMER_FILTER_COUNT_MAX)
        return too_many(c, "subject filters", DAYBOOK_CONSUMER_FILTER_COUNT_MAX);
    for (size_t i = 0; i < filters.count; i++) {
        if (!daybook_filter_is_valid(filters.items[i]))
            return dbk_api_fail_with(c->error, DBK_API_ERR_STREAM_INVALID_CONFIG, "%s", "invalid subject");
        if (!is_of_stream(c, filters.items[i])) return fail(c, DBK_API_ERR_CONSUMER_FILTER_NOT_SUBSET);
        for (size_t k = 0; k < i; k++) {
            if (daybook_filters_overlap(filters.items[i], filters.items[k]))
                return fail(c, DBK_API_ERR_CONSUMER_OVERLAPPING_SUBJECT_FILTERS);
        }
    }
    return true;
}

// Where it begins.

static bool bad_start(check *c, const char *policy, const char *set) {
    return dbk_api_fail_with(c->error, DBK_API_ERR_CONSUMER_INVALID_POLICY,
                             "consumer delivery policy is deliver %s, but optional start %s is also set",
                             policy, set);
}

static bool not_set(check *c, const char *policy, const char *missing) {
    return dbk_api_fail_with(c->error, DBK_API_ERR_CONSUMER_INVALID_POLICY,
                             "consumer delivery policy is deliver %s, but optional %s is not set", policy,
                             missing);
}

static bool check_start(check *c) {
    static const char *const policies[] = {
        "all", "last", "new", "by start sequence", "by start time", "last per subject"};
    const dbk_api_consumer_config *config = c->config;
    const char *policy = policies[config->deliver_policy];
    bool by_seq = config->deliver_policy == DAYBOOK_DELIVER_BY_START_SEQ;
    bool by_time = config->deliver_policy == DAYBOOK_DELIVER_BY_START_TIME;
    if (by_seq && config->opt_start_seq == 0) return not_set(c, policy, "start sequence");
    if (by_time && config->opt_start_time_ns == 0) return not_set(c, policy, "start time");
    if (!by_seq && config->opt_start_seq != 0)
        return bad_start(c, policy, by_time ? "start sequence" : "sequence");
    if (!by_time && config->opt_start_time_ns != 0) return bad_start(c, policy, "time");
    bool has_filter = dbk_api_consumer_config_filters(config).count > 0;
    if (config->deliver_policy == DAYBOOK_DELIVER_LAST_PER_SUBJECT && !has_filter)
        return not_set(c, policy, "filter subject");
    return true;
}

// The rest.

static bool check_sample(check *c) {
    dbk_slice text = c->config->sample_freq;
    uint64_t percent;
    if (text.size == 0) return true;
    if (((const char *)text.data)[text.size - 1] == '%') text.size--;
    if (dbk_decimal_parse(text, &percent)) return true;
    return dbk_api_fail_with(c->error, DBK_API_ERR_CONSUMER_INVALID_SAMPLING,
                             "strconv.Atoi: parsing \"%.*s\": invalid syntax",
                             (int)(text.size < 64 ? text.size : 64), (const char *)text.data);
}

static bool check_rest(check *c) {
    const dbk_api_consumer_config *config = c->config;
    if (config->flow_control && config->idle_heartbeat_ns == 0)
        return fail(c, DBK_API_ERR_CONSUMER_WITH_FLOW_CONTROL_NEEDS_HEARTBEATS);
    bool has_both = config->durable_name.size > 0 && config->name.size > 0;
    if (has_both && !dbk_slice_equal(config->name, config->durable_name))
        return fail(c, DBK_API_ERR_CONSUMER_CREATE_DURABLE_AND_NAME_MISMATCH);
    if (dbk_api_metadata_size(&config->metadata) > DBK_API_METADATA_SIZE_MAX)
        return dbk_api_fail_with(c->error, DBK_API_ERR_CONSUMER_METADATA_LENGTH, "%dKB",
                                 DBK_API_METADATA_SIZE_MAX / 1024);
    return true;
}

static bool is_group_name(dbk_slice name) {
    const char *at = name.data;
    if (name.size > GROUP_NAME_SIZE_MAX) return false;
    for (size_t i = 0; i < name.size; i++) {
        bool is_letter = (at[i] >= 'a' && at[i] <= 'z') || (at[i] >= 'A' && at[i] <= 'Z');
        bool is_digit = at[i] >= '0' && at[i] <= '9';
        if (!is_letter && !is_digit && (at[i] == '\0' || strchr("/_=-", at[i]) == NULL)) return false;
    }
    return true;
}

static bool check_groups(check *c) {
    const dbk_api_consumer_config *config = c->config;
    if (config->priority_policy == DBK_API_PRIORITY_NONE) {
        if (config->priority_groups.count > 0)
            return fail(c, DBK_API_ERR_CONSUMER_PRIORITY_GROUP_WITH_POLICY_NONE);
        if (config->priority_timeout_ns > 0)
            return fail(c, DBK_API_ERR_CONSUMER_PINNED_TTL_WITHOUT_PRIORITY_POLICY);
        return true;
    }
    if (is_push(config)) return fail(c, DBK_API_ERR_CONSUMER_PUSH_WITH_PRIORITY_GROUP);
    if (config->priority_groups.count == 0)
        return fail(c, DBK_API_ERR_CONSUMER_PRIORITY_POLICY_WITHOUT_GROUP);
    for (size_t i = 0; i < config->priority_groups.count; i++) {
        dbk_slice group = config->priority_groups.items[i];
        if (group.size == 0) return fail(c, DBK_API_ERR_CONSUMER_EMPTY_GROUP_NAME);
        if (!is_group_name(group)) return fail(c, DBK_API_ERR_CONSUMER_INVALID_GROUP_NAME);
    }
    return true;
}

static bool check_what_is_lacking(check *c) {
    bool has_groups = c->config->priority_policy != DBK_API_PRIORITY_NONE;
    if ((c->caps->lacks & DBK_API_LACKS_PRIORITY_GROUPS) == 0 || !has_groups) return true;
    return dbk_api_fail_with(c->error, DBK_API_ERR_CONSUMER_CREATE, "%s",
                             "priority groups are not supported by this server");
}

static bool check_work_queue(check *c) {
    const dbk_api_consumer_config *config = c->config;
    if (c->stream->retention != DAYBOOK_RETENTION_WORKQUEUE || config->direct || config->sourcing)
        return true;
    if (config->ack_policy != DBK_API_ACK_EXPLICIT)
        return fail(c, DBK_API_ERR_CONSUMER_WQ_REQUIRES_EXPLICIT_ACK);
    if (config->deliver_policy != DAYBOOK_DELIVER_ALL)
        return fail(c, DBK_API_ERR_CONSUMER_WQ_CONSUMER_NOT_DELIVER_ALL);
    return true;
}

bool dbk_api_consumer_config_check(const dbk_api_dial *dial, const dbk_api_stream_config *stream,
                                   dbk_api_consumer_config *config, const dbk_api_consumer_caps *caps,
                                   bool is_pedantic, dbk_api_error *error_out) {
    static const dbk_api_consumer_caps no_caps;
    static bool (*const steps[])(check *) = {
        raise_negatives, default_waits,  default_from_stream, default_numbers,
        check_names,     check_replicas, check_acknowledging, check_mode,
        check_caps,      check_filters,  check_start,         check_sample,
        check_rest,      check_groups,   check_work_queue,    check_what_is_lacking,
    };
    check c = {dial, stream, config, caps == NULL ? &no_caps : caps, error_out, is_pedantic};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        if (!steps[i](&c)) return false;
    }
    if (config->durable_name.size == 0 && config->inactive_threshold_ns == 0)
        config->inactive_threshold_ns = inactive_threshold_default_ns;
    return true;
}

// Updates.

static bool are_equal(const dbk_api_texts *a, const dbk_api_texts *b) {
    if (a->count != b->count) return false;
    for (size_t i = 0; i < a->count; i++)
        if (!dbk_slice_equal(a->items[i], b->items[i])) return false;
    return true;
}

static const char *find_change(const dbk_api_consumer_config *old, const dbk_api_consumer_config *config) {
    if (config->deliver_policy != old->deliver_policy) return "deliver policy can not be updated";
    if (config->mem_storage != old->mem_storage) return "storage type can not be updated";
    if (config->direct != old->direct) return "direct can not be updated";
    if (config->sourcing != old->sourcing) return "sourcing can not be updated";
    if (config->opt_start_seq != old->opt_start_seq) return "start sequence can not be updated";
    if (config->opt_start_time_ns != old->opt_start_time_ns) return "start time can not be updated";
    if (config->ack_policy != old->ack_policy) return "ack policy can not be updated";
    if (config->replay_policy != old->replay_policy) return "replay policy can not be updated";
    if (config->idle_heartbeat_ns != old->idle_heartbeat_ns) return "heart beats can not be updated";
    if (config->flow_control != old->flow_control) return "flow control can not be updated";
    if (!is_push(old) && is_push(config)) return "can not update pull consumer to push based";
    if (is_push(old) && !is_push(config)) return "can not update push consumer to pull based";
    if (config->max_waiting != old->max_waiting) return "max waiting can not be updated";
    if (config->priority_policy != old->priority_policy) return "priority policy can not be updated";
    if (!are_equal(&config->priority_groups, &old->priority_groups))
        return "priority groups can not be updated";
    return NULL;
}

bool dbk_api_consumer_config_check_update(const dbk_api_consumer_config *old,
                                          const dbk_api_consumer_config *config, dbk_api_error *error_out) {
    const char *change = find_change(old, config);
    if (change != NULL) return dbk_api_fail_with(error_out, DBK_API_ERR_CONSUMER_CREATE, "%s", change);
    return true;
}
