// SPDX-License-Identifier: Apache-2.0
// A stream's configuration: its table of fields, and between JetStream and the store.
//
// What the store knows (limits, subjects, retention …) is kept by it; the rest are the attributes: a JSON
// object of those fields of the table that are marked so. A later version may add fields: an earlier one
// passes over them.
#include "api/stream_config.h"

#include <limits.h>
#include <string.h>

#include "api/tables.h"
#include "base/bytes.h"
#include "base/time.h"
#include "daybook/event.h"

static const char *const retentions[] = {"limits", "interest", "workqueue", NULL};
static const char *const discards[] = {"old", "new", NULL};
static const char *const storages[] = {"file", "memory", NULL};
static const char *const compressions[] = {"none", "s2", NULL};
static const char *const persist_modes[] = {"default", "async", NULL};
static const dbk_api_choice retention = {retentions, "can not unmarshal ", true};
static const dbk_api_choice discard = {discards, "can not unmarshal ", true};
static const dbk_api_choice storage = {storages, "can not unmarshal ", true};
static const dbk_api_choice compression = {compressions, "unsupported compression ", true};
static const dbk_api_choice persist_mode = {persist_modes, "unknown persist mode ", true};

static const dbk_api_field placement_fields[] = {
    DBK_API_FIELD(TEXT, "cluster", dbk_api_placement, cluster, .is_omitted = true),
    DBK_API_FIELD(TEXTS, "tags", dbk_api_placement, tags, .is_omitted = true),
    DBK_API_FIELD(TEXT, "preferred", dbk_api_placement, preferred, .is_omitted = true),
};
static const dbk_api_object placement = DBK_API_OBJECT("Placement", dbk_api_placement, placement_fields);

static const dbk_api_field transform_fields[] = {
    DBK_API_FIELD(TEXT, "src", dbk_api_subject_transform, source, .is_omitted = false),
    DBK_API_FIELD(TEXT, "dest", dbk_api_subject_transform, destination, .is_omitted = false),
};
const dbk_api_object dbk_api_subject_transform_object =
    DBK_API_OBJECT("SubjectTransformConfig", dbk_api_subject_transform, transform_fields);

static const dbk_api_field external_fields[] = {
    DBK_API_FIELD(TEXT, "api", dbk_api_external, api_prefix, .is_omitted = false),
    DBK_API_FIELD(TEXT, "deliver", dbk_api_external, deliver_prefix, .is_omitted = false),
};
static const dbk_api_object external = DBK_API_OBJECT("ExternalStream", dbk_api_external, external_fields);

static const dbk_api_field source_fields[] = {
    DBK_API_FIELD(TEXT, "name", dbk_api_source, name, .is_omitted = false),
    DBK_API_FIELD(UINT, "opt_start_seq", dbk_api_source, start_seq, .is_omitted = true),
    DBK_API_FIELD(TIME, "opt_start_time", dbk_api_source, start_time_ns, .is_omitted = true),
    DBK_API_FIELD(TEXT, "filter_subject", dbk_api_source, filter_subject, .is_omitted = true),
    DBK_API_FIELD(STRUCTS, "subject_transforms", dbk_api_source, subject_transforms, .is_omitted = true,
                  .since = 210, .object = &dbk_api_subject_transform_object),
    DBK_API_FIELD(OPTIONAL, "external", dbk_api_source, external, .is_omitted = true, .object = &external),
};
static const dbk_api_object source = DBK_API_OBJECT("StreamSource", dbk_api_source, source_fields);

static const dbk_api_field republish_fields[] = {
    DBK_API_FIELD(TEXT, "src", dbk_api_republish, source, .is_omitted = true),
    DBK_API_FIELD(TEXT, "dest", dbk_api_republish, destination, .is_omitted = false),
    DBK_API_FIELD(BOOL, "headers_only", dbk_api_republish, headers_only, .is_omitted = true),
};
static const dbk_api_object republish = DBK_API_OBJECT("RePublish", dbk_api_republish, republish_fields);

static const dbk_api_field limit_fields[] = {
    DBK_API_FIELD(DURATION, "inactive_threshold", dbk_api_consumer_limits, inactive_threshold_ns,
                  .is_omitted = true),
    DBK_API_FIELD(INT, "max_ack_pending", dbk_api_consumer_limits, max_ack_pending, .is_omitted = true),
};
static const dbk_api_object limits =
    DBK_API_OBJECT("StreamConsumerLimits", dbk_api_consumer_limits, limit_fields);

// Shorter lines: how a field of the configuration is written, and where it is kept.
#define PLAIN(kind, name, member, ...) DBK_API_FIELD(kind, name, dbk_api_stream_config, member, __VA_ARGS__)
#define ALWAYS .is_omitted = false
#define OMITTED .is_omitted = true
#define ATTRIBUTE .is_attribute = true

// In nats-server's order, which is the order of the answers.
static const dbk_api_field fields[] = {
    PLAIN(TEXT, "name", name, ALWAYS),
    PLAIN(TEXT, "description", description, OMITTED),
    PLAIN(TEXTS, "subjects", subjects, OMITTED),
    PLAIN(CHOICE, "retention", retention, ALWAYS, .choice = &retention),
    PLAIN(INT, "max_consumers", max_consumers, ALWAYS, ATTRIBUTE),
    PLAIN(INT64, "max_msgs", max_msgs, ALWAYS),
    PLAIN(INT64, "max_bytes", max_bytes, ALWAYS),
    PLAIN(DURATION, "max_age", max_age_ns, ALWAYS),
    PLAIN(INT64, "max_msgs_per_subject", max_msgs_per_subject, ALWAYS),
    PLAIN(INT32, "max_msg_size", max_msg_size, OMITTED),
    PLAIN(CHOICE, "discard", discard, ALWAYS, .choice = &discard),
    PLAIN(CHOICE, "storage", storage, ALWAYS, .choice = &storage),
    PLAIN(INT, "num_replicas", num_replicas, ALWAYS),
    PLAIN(BOOL, "no_ack", no_ack, OMITTED, ATTRIBUTE),
    PLAIN(TEXT, "template_owner", template_owner, OMITTED, .until = 211),
    PLAIN(DURATION, "duplicate_window", duplicate_window_ns, OMITTED),
    PLAIN(OPTIONAL, "placement", placement, OMITTED, ATTRIBUTE, .object = &placement),
    PLAIN(OPTIONAL, "mirror", mirror, OMITTED, ATTRIBUTE, .object = &source),
    PLAIN(STRUCTS, "sources", sources, OMITTED, ATTRIBUTE, .object = &source),
    PLAIN(CHOICE, "compression", compression, ALWAYS, ATTRIBUTE, .since = 210, .choice = &compression),
    PLAIN(UINT, "first_seq", first_seq, OMITTED, .since = 210),
    PLAIN(OPTIONAL, "subject_transform", subject_transform, OMITTED, ATTRIBUTE, .since = 210,
          .object = &dbk_api_subject_transform_object),
    PLAIN(OPTIONAL, "republish", republish, OMITTED, ATTRIBUTE, .object = &republish),
    PLAIN(BOOL, "allow_direct", allow_direct, ALWAYS, ATTRIBUTE),
    PLAIN(BOOL, "mirror_direct", mirror_direct, ALWAYS, ATTRIBUTE),
    PLAIN(BOOL, "discard_new_per_subject", discard_new_per_subject, OMITTED),
    PLAIN(BOOL, "sealed", sealed, ALWAYS, ATTRIBUTE),
    PLAIN(BOOL, "deny_delete", deny_delete, ALWAYS),
    PLAIN(BOOL, "deny_purge", deny_purge, ALWAYS),
    PLAIN(BOOL, "allow_rollup_hdrs", allow_rollup_hdrs, ALWAYS),
    PLAIN(STRUCT, "consumer_limits", consumer_limits, ALWAYS, ATTRIBUTE, .since = 210, .object = &limits),
    PLAIN(BOOL, "allow_msg_ttl", allow_msg_ttl, ALWAYS, .since = 211),
    PLAIN(DURATION, "subject_delete_marker_ttl", subject_delete_marker_ttl_ns, OMITTED, ATTRIBUTE,
          .since = 211),
    PLAIN(BOOL, "allow_msg_counter", allow_msg_counter, OMITTED, ATTRIBUTE, .since = 212),
    PLAIN(BOOL, "allow_atomic", allow_atomic, OMITTED, ATTRIBUTE, .since = 212),
    PLAIN(BOOL, "allow_msg_schedules", allow_msg_schedules, OMITTED, ATTRIBUTE, .since = 212),
    PLAIN(CHOICE, "persist_mode", persist_mode, OMITTED, ATTRIBUTE, .since = 212, .choice = &persist_mode),
    PLAIN(BOOL, "allow_batched", allow_batched, OMITTED, ATTRIBUTE, .since = 214),
    PLAIN(METADATA, "metadata", metadata, OMITTED, ATTRIBUTE, .since = 210),
};

static int level_of(const void *item) {
    return dbk_api_stream_config_level(item);
}

const dbk_api_object dbk_api_stream_config_object = {
    .name = "StreamConfig",
    .size = sizeof(dbk_api_stream_config),
    .fields = fields,
    .field_count = sizeof fields / sizeof *fields,
    .level = level_of,
};

int dbk_api_stream_config_level(const dbk_api_stream_config *config) {
    if (config->allow_batched) return 4;
    if (config->allow_msg_counter || config->allow_atomic || config->allow_msg_schedules ||
        config->persist_mode == DBK_API_PERSIST_ASYNC)
        return 2;
    return config->allow_msg_ttl || config->subject_delete_marker_ttl_ns > 0 ? 1 : 0;
}

bool dbk_api_stream_configs_equal(const dbk_api_stream_config *a, const dbk_api_stream_config *b) {
    return dbk_api_objects_equal(&dbk_api_stream_config_object, a, b);
}

bool dbk_api_same_source(const dbk_api_source *a, const dbk_api_source *b) {
    if (a == NULL || b == NULL) return a == b;
    return dbk_api_objects_equal(&source, a, b);
}

static dbk_slice or_all(dbk_slice filter) {
    return filter.size > 0 ? filter : daybook_text(">");
}

static char *put_text(char *at, dbk_slice text) {
    memcpy(at, text.data, text.size);
    return at + text.size;
}

bool dbk_api_source_index_name(const dbk_api_source *of, dbk_arena *arena, dbk_slice *name_out) {
    const dbk_api_subject_transform *transforms = of->subject_transforms.items;
    size_t count = of->subject_transforms.count;
    size_t size = of->name.size + of->filter_subject.size + 8;
    for (size_t i = 0; i < count; i++) size += transforms[i].source.size + transforms[i].destination.size + 4;
    char *text = dbk_arena_alloc(arena, size);
    if (text == NULL) return false;
    char *at = text;
    if (of->name.size > 0) at = put_text(at, of->name);
    *at++ = ' ';
    if (count == 0) at = put_text(at, or_all(of->filter_subject));
    for (size_t i = 0; i < count; i++) {
        if (i > 0) *at++ = '\f';
        at = put_text(at, or_all(transforms[i].source));
    }
    *at++ = ' ';
    if (count == 0) *at++ = '>';
    for (size_t i = 0; i < count; i++) {
        if (i > 0) *at++ = '\f';
        at = put_text(at, or_all(transforms[i].destination));
    }
    *name_out = daybook_bytes(text, (size_t)(at - text));
    return true;
}

size_t dbk_api_metadata_size(const dbk_api_metadata *metadata) {
    size_t size = 0;
    for (size_t i = 0; i < metadata->count; i++) {
        if (!dbk_api_is_server_metadata(metadata->items[i].name))
            size += metadata->items[i].name.size + metadata->items[i].value.size;
    }
    return size;
}

// To the store and back.

static uint64_t limit_to_store(int64_t limit) {
    return limit <= 0 ? 0 : (uint64_t)limit;
}

static int64_t limit_from_store(uint64_t limit) {
    return limit == 0 ? -1 : limit > INT64_MAX ? INT64_MAX : (int64_t)limit;
}

typedef struct flag_field {
    uint32_t flag;
    size_t offset;
} flag_field;

static const flag_field flag_fields[] = {
    {DAYBOOK_STREAM_ALLOW_ROLLUP, offsetof(dbk_api_stream_config, allow_rollup_hdrs)},
    {DAYBOOK_STREAM_DENY_DELETE, offsetof(dbk_api_stream_config, deny_delete)},
    {DAYBOOK_STREAM_DENY_PURGE, offsetof(dbk_api_stream_config, deny_purge)},
    {DAYBOOK_STREAM_DISCARD_NEW_PER_SUBJECT, offsetof(dbk_api_stream_config, discard_new_per_subject)},
    {DAYBOOK_STREAM_ALLOW_TTL, offsetof(dbk_api_stream_config, allow_msg_ttl)},
};
enum { FLAG_FIELD_COUNT = sizeof flag_fields / sizeof *flag_fields };

static uint32_t flags_to_store(const dbk_api_stream_config *config, uint32_t flags) {
    for (size_t i = 0; i < FLAG_FIELD_COUNT; i++) {
        bool is_set = *(const bool *)((const char *)config + flag_fields[i].offset);
        flags = is_set ? flags | flag_fields[i].flag : flags & ~flag_fields[i].flag;
    }
    return flags;
}

// The store has whole seconds; what was said exactly is an attribute.
static int64_t marker_ttl_to_store(const dbk_api_stream_config *config) {
    int64_t ttl_s = config->subject_delete_marker_ttl_ns / DBK_SECOND_NS;
    return ttl_s < DAYBOOK_TTL_S_MAX ? ttl_s : DAYBOOK_TTL_S_MAX;
}

bool dbk_api_stream_config_to_store(const dbk_api_stream_config *config, const daybook_stream_config *current,
                                    dbk_arena *arena, daybook_stream_config *config_out,
                                    dbk_api_error *error_out) {
    dbk_slice attributes;
    if (!dbk_api_make_attributes(&dbk_api_stream_config_object, config, arena, &attributes, error_out))
        return false;
    daybook_stream_config_init(config_out);
    if (current != NULL) *config_out = *current;
    config_out->name = config->name;
    config_out->subjects = config->subjects.items;
    config_out->subject_count = config->subjects.count;
    config_out->flags = flags_to_store(config, config_out->flags);
    // It stays where the transform goes: what was stored with other subjects is still there to be consumed.
    if (config->subject_transform != NULL) config_out->flags |= DAYBOOK_STREAM_OTHER_SUBJECTS;
    if (config->mirror != NULL || config->sources.count > 0)
        config_out->flags |= DAYBOOK_STREAM_OTHER_SUBJECTS;
    if (config->mirror != NULL) config_out->flags |= DAYBOOK_STREAM_GIVEN_SEQS;
    // Who reads all streams sees what it copies already.
    if (dbk_api_stream_is_copy(config)) config_out->flags |= DAYBOOK_STREAM_INTERNAL;
    config_out->discard = config->discard;
    config_out->storage = config->storage;
    config_out->max_msgs = limit_to_store(config->max_msgs);
    config_out->max_bytes = limit_to_store(config->max_bytes);
    config_out->max_msgs_per_subject = limit_to_store(config->max_msgs_per_subject);
    config_out->max_msg_size = limit_to_store(config->max_msg_size);
    config_out->max_age_ns = config->max_age_ns;
    config_out->duplicate_window_ns = config->duplicate_window_ns;
    config_out->description = config->description;
    config_out->retention = config->retention;
    if (current == NULL) config_out->first_seq = config->first_seq; // Fixed.
    config_out->delete_marker_ttl_s = marker_ttl_to_store(config);
    config_out->attributes = attributes;
    return true;
}

bool dbk_api_stream_config_from_store(const daybook_stream_config *config, dbk_arena *arena,
                                      dbk_api_stream_config *config_out, dbk_api_error *error_out) {
    if (!dbk_api_read_attributes(&dbk_api_stream_config_object, config->attributes, arena, config_out,
                                 error_out))
        return false;
    config_out->name = config->name;
    config_out->subjects = (dbk_api_texts){config->subjects, config->subject_count};
    for (size_t i = 0; i < FLAG_FIELD_COUNT; i++)
        *(bool *)((char *)config_out + flag_fields[i].offset) = (config->flags & flag_fields[i].flag) != 0;
    config_out->discard = config->discard;
    config_out->storage = config->storage;
    config_out->max_msgs = limit_from_store(config->max_msgs);
    config_out->max_bytes = limit_from_store(config->max_bytes);
    config_out->max_msgs_per_subject = limit_from_store(config->max_msgs_per_subject);
    config_out->max_msg_size = limit_from_store(config->max_msg_size);
    config_out->max_age_ns = config->max_age_ns;
    config_out->duplicate_window_ns = config->duplicate_window_ns;
    config_out->description = config->description;
    config_out->retention = config->retention;
    config_out->first_seq = config->first_seq;
    if (config->delete_marker_ttl_s != marker_ttl_to_store(config_out))
        config_out->subject_delete_marker_ttl_ns = config->delete_marker_ttl_s * DBK_SECOND_NS;
    config_out->num_replicas = 1;
    if (config_out->max_consumers == 0) config_out->max_consumers = -1;
    return true;
}
