// SPDX-License-Identifier: Apache-2.0
// What nats-server takes for a stream's configuration: checks and defaults in its order, with its errors and
// words.
//
// One function per group, run one after the other until one fails; each may complete what it checked.
#include <inttypes.h>
#include <string.h>

#include "api/stream_config.h"
#include "api/tables.h"
#include "api/transform.h"
#include "base/bytes.h"
#include "base/number.h"
#include "base/time.h"
#include "daybook/subject.h"

enum { REPLICAS_MAX = 5 };
static const int64_t window_min_ns = 100 * DBK_MILLISECOND_NS;

typedef struct check {
    const dbk_api_dial *dial;
    dbk_api_stream_config *config;
    const dbk_api_stream_limits *limits;
    dbk_arena *arena;
    dbk_api_error *error;
    bool is_pedantic;
    bool is_update;
} check;

static bool invalid(check *c, const char *text) {
    return dbk_api_fail_with(c->error, DBK_API_ERR_STREAM_INVALID_CONFIG, "%s", text);
}

static bool pedantic(check *c, const char *text) {
    return dbk_api_fail_with(c->error, DBK_API_ERR_PEDANTIC, "%s", text);
}

static bool contains_byte(dbk_slice text, char byte) {
    return text.size > 0 && memchr(text.data, byte, text.size) != NULL;
}

static bool check_name(check *c) {
    dbk_slice name = c->config->name;
    bool knows_assets = c->dial->version >= 212;
    if (!knows_assets && (contains_byte(name, '/') || contains_byte(name, '\\')))
        return dbk_api_fail(c->error, DBK_API_ERR_STREAM_NAME_CONTAINS_PATH_SEPARATORS);
    if (name.size > DBK_API_NAME_SIZE_MAX)
        return dbk_api_fail_with(c->error, DBK_API_ERR_STREAM_INVALID_CONFIG,
                                 "stream name is too long, maximum allowed is %d", DBK_API_NAME_SIZE_MAX);
    if (!dbk_api_name_is_valid(name))
        return invalid(c, knows_assets
                              ? "stream name is required and can not contain '.', '*', '>', '\\', '/'"
                              : "stream name is required and can not contain '.', '*', '>'");
    if (c->config->description.size > DBK_API_DESCRIPTION_SIZE_MAX)
        return dbk_api_fail_with(c->error, DBK_API_ERR_STREAM_INVALID_CONFIG,
                                 "stream description is too long, maximum allowed is %d",
                                 DBK_API_DESCRIPTION_SIZE_MAX);
    if (dbk_api_metadata_size(&c->config->metadata) > DBK_API_METADATA_SIZE_MAX)
        return dbk_api_fail_with(c->error, DBK_API_ERR_STREAM_INVALID_CONFIG,
                                 "stream metadata exceeds maximum size of %d bytes",
                                 DBK_API_METADATA_SIZE_MAX);
    return true;
}

static bool check_replicas(check *c) {
    if (c->config->num_replicas == 0) c->config->num_replicas = 1;
    if (c->config->num_replicas > REPLICAS_MAX)
        return dbk_api_fail_with(c->error, DBK_API_ERR_STREAM_INVALID_CONFIG, "maximum replicas is %d",
                                 REPLICAS_MAX);
    if (c->config->num_replicas < 0)
        return dbk_api_fail(c->error, DBK_API_ERR_REPLICAS_COUNT_CANNOT_BE_NEGATIVE);
    return true;
}

static bool check_limits(check *c) {
    static const struct {
        size_t offset;
        const char *text;
    } limits[] = {
        {offsetof(dbk_api_stream_config, max_msgs), "max_msgs must be set to -1"},
        {offsetof(dbk_api_stream_config, max_msgs_per_subject), "max_msgs_per_subject must be set to -1"},
        {offsetof(dbk_api_stream_config, max_bytes), "max_bytes must be set to -1"},
        {offsetof(dbk_api_stream_config, max_msg_size), "max_msg_size must be set to -1"},
        {offsetof(dbk_api_stream_config, max_consumers), "max_consumers must be set to -1"},
    };
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        int64_t *limit = (int64_t *)(void *)((char *)c->config + limits[i].offset);
        if (*limit > 0) continue;
        if (c->is_pedantic && *limit < -1) return pedantic(c, limits[i].text);
        *limit = -1;
    }
    return true;
}

static bool default_window(check *c) {
    dbk_api_stream_config *config = c->config;
    int64_t window_ns = DBK_API_DUPLICATE_WINDOW_DEFAULT_NS;
    int64_t window_max_ns = c->limits->duplicate_window_max_ns;
    if (window_max_ns > 0 && window_ns > window_max_ns) {
        if (c->is_pedantic) return pedantic(c, "duplicate window limits are higher than current limits");
        window_ns = window_max_ns;
    }
    if (config->max_age_ns != 0 && config->max_age_ns < window_ns) {
        if (c->is_pedantic) return pedantic(c, "duplicate window cannot be bigger than max age");
        window_ns = config->max_age_ns;
    }
    config->duplicate_window_ns = window_ns;
    return true;
}

static bool check_ages(check *c) {
    const dbk_api_stream_config *config = c->config;
    if (config->max_age_ns < 0) return invalid(c, "max age can not be negative");
    if (config->max_age_ns != 0 && config->max_age_ns < window_min_ns)
        return invalid(c, "max age needs to be >= 100ms");
    if (config->duplicate_window_ns == 0 && config->mirror == NULL && !default_window(c)) return false;
    if (config->duplicate_window_ns < 0) return invalid(c, "duplicates window can not be negative");
    if (config->max_age_ns != 0 && config->duplicate_window_ns > config->max_age_ns)
        return invalid(c, "duplicates window can not be larger then max age");
    int64_t window_max_ns = c->limits->duplicate_window_max_ns;
    if (window_max_ns > 0 && config->duplicate_window_ns > window_max_ns) {
        char text[DBK_GO_DURATION_TEXT_SIZE];
        (void)dbk_go_duration_format(window_max_ns, text);
        return dbk_api_fail_with(c->error, DBK_API_ERR_STREAM_INVALID_CONFIG,
                                 "duplicates window can not be larger then server limit of %s", text);
    }
    if (config->duplicate_window_ns > 0 && config->duplicate_window_ns < window_min_ns)
        return invalid(c, "duplicates window needs to be >= 100ms");
    return true;
}

static bool check_counter(check *c) {
    const dbk_api_stream_config *config = c->config;
    if (!config->allow_msg_counter) return true;
    if (config->discard == DAYBOOK_DISCARD_NEW) return invalid(c, "counter stream cannot use discard new");
    if (config->allow_msg_ttl) return invalid(c, "counter stream cannot use message TTLs");
    if (config->allow_msg_schedules) return invalid(c, "counter stream cannot use message schedules");
    if (config->retention != DAYBOOK_RETENTION_LIMITS)
        return invalid(c, "counter stream can only use limits retention");
    return true;
}

static bool check_discard(check *c) {
    const dbk_api_stream_config *config = c->config;
    if (config->deny_purge && config->allow_rollup_hdrs)
        return invalid(c, "roll-ups require the purge permission");
    if (!check_counter(c)) return false;
    if (!config->discard_new_per_subject) return true;
    if (config->discard != DAYBOOK_DISCARD_NEW)
        return invalid(c, "discard new per subject requires discard new policy to be set");
    if (config->max_msgs_per_subject <= 0)
        return invalid(c, "discard new per subject requires max msgs per subject > 0");
    return true;
}

static bool check_delete_markers(check *c) {
    dbk_api_stream_config *config = c->config;
    if (config->subject_delete_marker_ttl_ns < 0)
        return invalid(c, "subject delete marker TTL must not be negative");
    if (config->subject_delete_marker_ttl_ns == 0) return true;
    if (config->subject_delete_marker_ttl_ns < DBK_SECOND_NS)
        return invalid(c, "subject delete marker TTL must be at least 1 second");
    if (!config->allow_msg_ttl && c->is_pedantic)
        return invalid(c, "subject delete marker cannot be set if message TTLs are disabled");
    if (!config->allow_rollup_hdrs && c->is_pedantic)
        return invalid(c, "subject delete marker cannot be set if roll-ups are disabled");
    config->allow_msg_ttl = true;
    if (!config->allow_rollup_hdrs) config->deny_purge = false;
    config->allow_rollup_hdrs = true;
    return true;
}

static bool check_schedules(check *c) {
    dbk_api_stream_config *config = c->config;
    if (!config->allow_msg_schedules) return true;
    if (config->discard == DAYBOOK_DISCARD_NEW)
        return invalid(c, "message scheduling cannot use discard new");
    if (!config->allow_rollup_hdrs && c->is_pedantic)
        return invalid(c, "message scheduling cannot be set if roll-ups are disabled");
    return true;
}

static bool check_persist_mode(check *c) {
    const dbk_api_stream_config *config = c->config;
    if (config->persist_mode != DBK_API_PERSIST_ASYNC) return true;
    if (config->storage != DAYBOOK_STORAGE_FILE)
        return invalid(c, "async persist mode is only supported on file storage");
    if (config->num_replicas > 1)
        return invalid(c, "async persist mode is not supported on replicated streams");
    if (config->allow_atomic)
        return invalid(c, "async persist mode is not supported with atomic batch publish");
    return true;
}

// Mirrors and sources.

typedef struct source_errors {
    dbk_api_error_kind many, source, destination, overlap;
    const char *filter;
} source_errors;

static bool check_source_transform(check *c, const dbk_api_subject_transform *said,
                                   const source_errors *errors) {
    const dbk_api_transform *transform = NULL;
    char reason[DBK_API_TRANSFORM_REASON_SIZE];
    if (said->source.size > 0 && !daybook_filter_is_valid(said->source))
        return dbk_api_fail_with(c->error, errors->source, "invalid subject %.*s", (int)said->source.size,
                                 (const char *)said->source.data);
    if (said->destination.size == 0) return true; // a filter
    daybook_status status =
        dbk_api_transform_new(said->source, said->destination, c->arena, &transform, reason);
    if (status == DAYBOOK_ENOMEM) return dbk_api_fail_memory(c->error);
    return status == DAYBOOK_OK || dbk_api_fail_with(c->error, errors->destination, "%s", reason);
}

static dbk_slice filter_of(const dbk_api_subject_transform *transform) {
    return transform->source.size > 0 ? transform->source : daybook_text(">");
}

static bool check_source_filters(check *c, const dbk_api_source *source, const source_errors *errors) {
    const dbk_api_subject_transform *transforms = source->subject_transforms.items;
    size_t count = source->subject_transforms.count;
    if (source->filter_subject.size > 0 && count > 0) return dbk_api_fail(c->error, errors->many);
    if (source->filter_subject.size > 0 && !daybook_filter_is_valid(source->filter_subject))
        return dbk_api_fail_with(c->error, DBK_API_ERR_STREAM_CREATE, "subject filter '%.*s' for the %s",
                                 (int)source->filter_subject.size, (const char *)source->filter_subject.data,
                                 errors->filter);
    for (size_t i = 0; i < count; i++) {
        if (!check_source_transform(c, &transforms[i], errors)) return false;
        for (size_t j = 0; j < i; j++)
            if (daybook_filters_overlap(filter_of(&transforms[j]), filter_of(&transforms[i])))
                return dbk_api_fail(c->error, errors->overlap);
    }
    return true;
}

static bool check_mirror(check *c) {
    const dbk_api_stream_config *config = c->config;
    const dbk_api_source *mirror = config->mirror;
    if (mirror == NULL) return true;
    if (config->first_seq > 0) return dbk_api_fail(c->error, DBK_API_ERR_MIRROR_WITH_FIRST_SEQ);
    if (config->subjects.count > 0) return dbk_api_fail(c->error, DBK_API_ERR_MIRROR_WITH_SUBJECTS);
    if (config->sources.count > 0) return dbk_api_fail(c->error, DBK_API_ERR_MIRROR_WITH_SOURCES);
    if (config->allow_msg_counter) return dbk_api_fail(c->error, DBK_API_ERR_MIRROR_WITH_COUNTERS);
    if (config->allow_atomic) return dbk_api_fail(c->error, DBK_API_ERR_MIRROR_WITH_ATOMIC_PUBLISH);
    if (config->allow_batched) return dbk_api_fail(c->error, DBK_API_ERR_MIRROR_WITH_BATCH_PUBLISH);
    if (config->allow_msg_schedules) return dbk_api_fail(c->error, DBK_API_ERR_MIRROR_WITH_MSG_SCHEDULES);
    static const source_errors errors = {
        DBK_API_ERR_MIRROR_MULTIPLE_FILTERS_NOT_ALLOWED, DBK_API_ERR_MIRROR_INVALID_SUBJECT_FILTER,
        DBK_API_ERR_MIRROR_INVALID_TRANSFORM_DESTINATION, DBK_API_ERR_MIRROR_OVERLAPPING_SUBJECT_FILTERS,
        "mirror invalid subject"};
    if (!check_source_filters(c, mirror, &errors)) return false;
    if (config->subject_delete_marker_ttl_ns > 0)
        return invalid(c, "subject delete markers forbidden on mirrors");
    if (mirror->external == NULL && !dbk_api_name_is_valid(mirror->name))
        return dbk_api_fail(c->error, DBK_API_ERR_MIRROR_INVALID_STREAM_NAME);
    if (mirror->external != NULL)
        return invalid(c, "mirrors of external streams are not supported by this server");
    if (dbk_slice_equal(mirror->name, config->name)) return invalid(c, "detected cycle");
    return true;
}

// What nats-server takes for the same source: its name, what of it, and what becomes of that.
static bool check_is_single(check *c, const dbk_api_source *sources, size_t index) {
    dbk_slice name, other;
    if (!dbk_api_source_index_name(&sources[index], c->arena, &name)) return dbk_api_fail_memory(c->error);
    for (size_t i = 0; i < index; i++) {
        if (!dbk_api_source_index_name(&sources[i], c->arena, &other)) return dbk_api_fail_memory(c->error);
        if (dbk_slice_equal(name, other))
            return dbk_api_fail(c->error, DBK_API_ERR_SOURCE_DUPLICATE_DETECTED);
    }
    return true;
}

static bool check_sources(check *c) {
    static const source_errors errors = {
        DBK_API_ERR_SOURCE_MULTIPLE_FILTERS_NOT_ALLOWED, DBK_API_ERR_SOURCE_INVALID_SUBJECT_FILTER,
        DBK_API_ERR_SOURCE_INVALID_TRANSFORM_DESTINATION, DBK_API_ERR_SOURCE_OVERLAPPING_SUBJECT_FILTERS,
        "source: invalid subject"};
    const dbk_api_stream_config *config = c->config;
    const dbk_api_source *sources = config->sources.items;
    if (config->sources.count == 0) return true;
    if (config->allow_msg_schedules) return dbk_api_fail(c->error, DBK_API_ERR_SOURCE_WITH_MSG_SCHEDULES);
    if (config->sources.count > DBK_API_SOURCE_COUNT_MAX)
        return dbk_api_fail_with(c->error, DBK_API_ERR_STREAM_INVALID_CONFIG,
                                 "more than %d stream sources are not supported by this server",
                                 DBK_API_SOURCE_COUNT_MAX);
    for (size_t i = 0; i < config->sources.count; i++) {
        if (!dbk_api_name_is_valid(sources[i].name))
            return dbk_api_fail(c->error, DBK_API_ERR_SOURCE_INVALID_STREAM_NAME);
        if (!check_is_single(c, sources, i) || !check_source_filters(c, &sources[i], &errors)) return false;
        if (sources[i].external != NULL)
            return invalid(c, "sources that are external streams are not supported by this server");
        if (dbk_slice_equal(sources[i].name, config->name)) return invalid(c, "detected cycle");
    }
    return true;
}

// Subjects.

static bool overlaps(dbk_slice subject, const char *filter) {
    return daybook_filters_overlap(subject, daybook_text(filter)) != 0;
}

static bool lies_within(dbk_slice subject, const char *filter) {
    return daybook_filter_covers(daybook_text(filter), subject) != 0;
}

static bool check_reserved(check *c, dbk_slice subject) {
    static const char *const reserved[] = {"$JS.>", "$JSC.>", "$NRG.>"};
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++) {
        if (overlaps(subject, reserved[i]) && !lies_within(subject, "$JS.EVENT.>"))
            return invalid(c, c->dial->version < 210
                                  ? "subjects overlap with jetstream api"
                                  : "subjects that overlap with jetstream api require no-ack to be true");
    }
    if (overlaps(subject, "$SYS.>") && !lies_within(subject, "$SYS.ACCOUNT.>"))
        return invalid(c, "subjects that overlap with system api require no-ack to be true");
    return true;
}

static bool check_subject(check *c, size_t index) {
    const dbk_api_texts *subjects = &c->config->subjects;
    dbk_slice subject = subjects->items[index];
    if (!daybook_filter_is_valid(subject)) return invalid(c, "invalid subject");
    for (size_t i = 0; i < index; i++) {
        if (dbk_slice_equal(subjects->items[i], subject)) return invalid(c, "duplicate subjects detected");
    }
    if (c->dial->version >= 210 && dbk_slice_equal(subject, daybook_text(">"))) {
        if (!c->config->no_ack) return invalid(c, "capturing all subjects requires no-ack to be true");
        if (c->config->num_replicas != 1) return invalid(c, "capturing all subjects requires replicas of 1");
    }
    return c->config->no_ack || check_reserved(c, subject);
}

static bool check_overlaps(check *c, size_t index) {
    const dbk_api_texts *subjects = &c->config->subjects;
    for (size_t i = 0; i < index; i++) {
        dbk_slice a = subjects->items[i];
        dbk_slice b = subjects->items[index];
        if (daybook_filters_overlap(a, b))
            return dbk_api_fail_with(c->error, DBK_API_ERR_STREAM_INVALID_CONFIG,
                                     "subject \"%.*s\" overlaps with \"%.*s\"", (int)a.size,
                                     (const char *)a.data, (int)b.size, (const char *)b.data);
    }
    return true;
}

static bool check_subjects(check *c) {
    dbk_api_texts *subjects = &c->config->subjects;
    if (subjects->count == 0 && c->config->mirror == NULL && c->config->sources.count == 0) {
        dbk_slice *own = dbk_arena_alloc(c->arena, sizeof *own);
        if (own == NULL) return dbk_api_fail_memory(c->error);
        *own = c->config->name;
        *subjects = (dbk_api_texts){own, 1};
    }
    if (subjects->count > DAYBOOK_STREAM_SUBJECT_COUNT_MAX)
        return dbk_api_fail_with(c->error, DBK_API_ERR_STREAM_INVALID_CONFIG,
                                 "too many subjects, maximum allowed is %d",
                                 DAYBOOK_STREAM_SUBJECT_COUNT_MAX);
    for (size_t i = 0; i < subjects->count; i++) {
        if (!check_subject(c, i)) return false;
    }
    for (size_t i = 1; i < subjects->count; i++) {
        if (!check_overlaps(c, i)) return false;
    }
    return true;
}

static bool check_bytes(check *c) {
    bool is_file = c->config->storage == DAYBOOK_STORAGE_FILE;
    int64_t bytes_max = is_file ? c->limits->stream_bytes_max_file : c->limits->stream_bytes_max_memory;
    if (c->limits->max_bytes_required && c->config->max_bytes <= 0)
        return dbk_api_fail(c->error, DBK_API_ERR_STREAM_MAX_BYTES_REQUIRED);
    if (bytes_max > 0 && c->config->max_bytes > bytes_max)
        return dbk_api_fail(c->error, DBK_API_ERR_STREAM_MAX_STREAM_BYTES_EXCEEDED);
    return true;
}

// Transforms and republishing.

static bool check_transform(check *c) {
    const dbk_api_subject_transform *said = c->config->subject_transform;
    const dbk_api_transform *transform = NULL;
    char reason[DBK_API_TRANSFORM_REASON_SIZE];
    if (said == NULL) return true;
    if (said->source.size > 0 && !daybook_filter_is_valid(said->source))
        return dbk_api_fail_with(c->error, DBK_API_ERR_STREAM_TRANSFORM_INVALID_SOURCE,
                                 "invalid subject %.*s", (int)said->source.size,
                                 (const char *)said->source.data);
    daybook_status status =
        dbk_api_transform_new(said->source, said->destination, c->arena, &transform, reason);
    if (status == DAYBOOK_ENOMEM) return dbk_api_fail_memory(c->error);
    if (status != DAYBOOK_OK)
        return dbk_api_fail_with(c->error, DBK_API_ERR_STREAM_TRANSFORM_INVALID_DESTINATION, "%s", reason);
    return true;
}

// The republish rule is shared with whoever read it, so that a completed one is a copy.
static bool complete_republish(check *c) {
    const dbk_api_republish *said = c->config->republish;
    if (said->source.size > 0) return true;
    if (c->is_pedantic) return pedantic(c, "republish source can not be empty");
    dbk_api_republish *complete = dbk_arena_alloc(c->arena, sizeof *complete);
    if (complete == NULL) return dbk_api_fail_memory(c->error);
    *complete = *said;
    complete->source = daybook_text(">");
    c->config->republish = complete;
    return true;
}

static bool check_republish(check *c) {
    const dbk_api_transform *transform = NULL;
    if (c->config->republish == NULL) return true;
    if (!complete_republish(c)) return false;
    const dbk_api_republish *rule = c->config->republish;
    bool is_filter = daybook_filter_is_valid(rule->destination) != 0;
    for (size_t i = 0; i < c->config->subjects.count; i++) {
        if (is_filter && daybook_filters_overlap(rule->destination, c->config->subjects.items[i]))
            return invalid(c, "stream configuration for republish destination forms a cycle");
    }
    daybook_status status =
        dbk_api_transform_new(rule->source, rule->destination, c->arena, &transform, NULL);
    if (status == DAYBOOK_ENOMEM) return dbk_api_fail_memory(c->error);
    bool is_good = status == DAYBOOK_OK && rule->destination.size > 0;
    if (!is_good && c->dial->version < 210) return invalid(c, "stream configuration for republish not valid");
    if (!is_good)
        return dbk_api_fail_with(
            c->error, DBK_API_ERR_STREAM_INVALID_CONFIG,
            "stream configuration for republish with transform from '%.*s' to '%.*s' not valid",
            (int)rule->source.size, (const char *)rule->source.data, (int)rule->destination.size,
            (const char *)rule->destination.data);
    return true;
}

static bool check_placement(check *c) {
    const dbk_api_placement *placement = c->config->placement;
    if (placement == NULL) return true;
    if (placement->preferred.size > 0) return invalid(c, "preferred server not permitted in placement");
    if (placement->cluster.size == 0 && placement->tags.count == 0) c->config->placement = NULL;
    return true;
}

static bool check_what_we_have(check *c) {
    const dbk_api_stream_config *config = c->config;
    if (config->sealed && !c->is_update)
        return invalid(c, "stream configuration for create can not be sealed");
    if (config->mirror_direct && config->mirror == NULL)
        return invalid(c, "stream has no mirror but does have mirror direct");
    if (config->template_owner.size > 0)
        return invalid(c, "stream configuration update can not be owned by a template");
    if (config->num_replicas > 1) return dbk_api_fail(c->error, DBK_API_ERR_STREAM_REPLICAS_NOT_SUPPORTED);
    if (config->allow_msg_counter) return invalid(c, "message counters are not supported by this server");
    if (config->allow_msg_schedules) return invalid(c, "message schedules are not supported by this server");
    if (config->allow_batched) return invalid(c, "fast batch publishing is not supported by this server");
    return true;
}

static bool check_what_is_lacking(check *c) {
    const dbk_api_stream_config *config = c->config;
    unsigned lacks = c->limits->lacks;
    if ((lacks & DBK_API_LACKS_REPUBLISH) != 0 && config->republish != NULL)
        return invalid(c, "republish is not supported by this server");
    if ((lacks & DBK_API_LACKS_SUBJECT_TRANSFORM) != 0 && config->subject_transform != NULL)
        return invalid(c, "subject transforms are not supported by this server");
    return true;
}

static bool run(check *c) {
    static bool (*const steps[])(check *) = {
        check_name,           check_replicas,        check_limits,       check_ages,      check_discard,
        check_delete_markers, check_schedules,       check_persist_mode, check_mirror,    check_sources,
        check_subjects,       check_bytes,           check_transform,    check_republish, check_placement,
        check_what_we_have,   check_what_is_lacking,
    };
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        if (!steps[i](c)) return false;
    }
    return true;
}

static const dbk_api_stream_limits no_limits;

bool dbk_api_stream_config_check(const dbk_api_dial *dial, dbk_api_stream_config *config,
                                 const dbk_api_stream_limits *limits, bool is_pedantic, dbk_arena *arena,
                                 dbk_api_error *error_out) {
    check c = {dial, config, limits == NULL ? &no_limits : limits, arena, error_out, is_pedantic, false};
    return run(&c);
}

// Updates.

static bool check_change(check *c, const dbk_api_stream_config *old) {
    const dbk_api_stream_config *config = c->config;
    if (!dbk_slice_equal(config->name, old->name))
        return invalid(c, "stream configuration name must match original");
    if (config->max_consumers != old->max_consumers && c->dial->version < 214)
        return invalid(c, "stream configuration update can not change MaxConsumers");
    if (config->storage != old->storage)
        return invalid(c, "stream configuration update can not change storage type");
    if (config->retention != old->retention) {
        if (c->dial->version < 210)
            return invalid(c, "stream configuration update can not change retention policy");
        if (config->retention == DAYBOOK_RETENTION_WORKQUEUE || old->retention == DAYBOOK_RETENTION_WORKQUEUE)
            return invalid(c,
                           "stream configuration update can not change retention policy to/from workqueue");
    }
    if (!config->sealed && old->sealed)
        return invalid(c, "stream configuration update can not unseal a sealed stream");
    if (!config->deny_delete && old->deny_delete)
        return invalid(c, "stream configuration update can not cancel deny message deletes");
    if (!config->deny_purge && old->deny_purge)
        return invalid(c, "stream configuration update can not cancel deny purge");
    if (!config->allow_msg_ttl && old->allow_msg_ttl)
        return invalid(c, "message TTL status can not be disabled");
    if (config->persist_mode != old->persist_mode)
        return invalid(c, "stream configuration update can not change persist mode");
    // A mirror becomes an ordinary stream where an update leaves it out, and nothing else becomes of it.
    bool is_promoted = config->mirror == NULL && old->mirror != NULL && c->dial->version >= 212;
    if (!is_promoted && !dbk_api_same_source(config->mirror, old->mirror))
        return dbk_api_fail(c->error, DBK_API_ERR_STREAM_MIRROR_NOT_UPDATABLE);
    return true;
}

bool dbk_api_stream_config_check_update(const dbk_api_dial *dial, const dbk_api_stream_config *old,
                                        dbk_api_stream_config *config, const dbk_api_stream_limits *limits,
                                        bool is_pedantic, dbk_arena *arena, dbk_api_error *error_out) {
    check c = {dial, config, limits == NULL ? &no_limits : limits, arena, error_out, is_pedantic, true};
    if (!run(&c) || !check_change(&c, old)) return false;
    config->first_seq = old->first_seq; // Of nothing that is still to come.
    if (config->sealed) {
        config->max_age_ns = 0;
        config->discard = DAYBOOK_DISCARD_NEW;
        config->deny_delete = true;
        config->deny_purge = true;
        config->allow_rollup_hdrs = false;
    }
    return true;
}
