// SPDX-License-Identifier: Apache-2.0
// The block jetstream: true, "enabled" or a map; and where the store lies, which may also be said outside of
// it.
#include <stddef.h>
#include <string.h>

#include "base/time.h"
#include "options/reader.h"

#define FIELD(member) offsetof(dbk_jetstream_options, member)

static daybook_status take_store_dir(dbk_option_reader *reader, const dbk_config_entry *entry,
                                     const char **store_dir) {
    dbk_slice text;
    DBK_TRY(dbk_option_take_text(reader, entry, &text));
    if (reader->store_dir != NULL)
        return dbk_option_fail(reader, &entry->place, DAYBOOK_EINVALID,
                               "%s is said twice, in line %u already; keep one",
                               (const char *)entry->key.data, (unsigned)reader->store_dir->place.line);
    reader->store_dir = entry;
    *store_dir = NULL;
    return text.size == 0 ? DAYBOOK_OK : dbk_option_keep_text(reader, text, store_dir);
}

daybook_status dbk_option_read_store_dir(dbk_option_reader *reader, const dbk_option_key *key,
                                         const dbk_config_entry *entry, void *target) {
    return take_store_dir(reader, entry, (const char **)((char *)target + key->offset));
}

static daybook_status read_domain(dbk_option_reader *reader, const dbk_option_key *key,
                                  const dbk_config_entry *entry, void *target) {
    dbk_jetstream_options *jetstream = target;
    (void)key;
    dbk_slice text;
    DBK_TRY(dbk_option_take_text(reader, entry, &text));
    jetstream->domain = NULL;
    if (text.size == 0) return DAYBOOK_OK;
    const char *bytes = text.data;
    for (size_t i = 0; i < text.size; i++) {
        if ((unsigned char)bytes[i] > ' ' && strchr(".*>\x7f", bytes[i]) == NULL) continue;
        return dbk_option_fail(
            reader, &entry->place, DAYBOOK_EINVALID,
            "%s is '%s', not one token of a subject; write it without dots, blanks, * and >",
            (const char *)entry->key.data, bytes);
    }
    return dbk_option_keep_text(reader, text, &jetstream->domain);
}

// A duration, or "always", which is what holds in any case.
static daybook_status read_sync_interval(dbk_option_reader *reader, const dbk_option_key *key,
                                         const dbk_config_entry *entry, void *target) {
    (void)key, (void)target;
    const dbk_config_value *value = entry->value;
    if (value->kind == DBK_CONFIG_STRING && strcmp(value->text.data, "always") == 0) return DAYBOOK_OK;
    int64_t interval_ns;
    DBK_TRY(dbk_option_take_duration(reader, entry, false, &interval_ns));
    if (interval_ns < 0)
        return dbk_option_fail(reader, &entry->place, DAYBOOK_EINVALID,
                               "%s is negative; give a duration, or always", (const char *)entry->key.data);
    return dbk_option_notice(reader, &entry->place,
                             "%s means nothing here: a publish is on disk before it is acknowledged",
                             (const char *)entry->key.data);
}

static daybook_status read_limits(dbk_option_reader *reader, const dbk_option_key *key,
                                  const dbk_config_entry *entry, void *target) {
    (void)key;
    return dbk_option_read_map(reader, dbk_option_jetstream_limit_keys, "jetstream.limits", entry, target);
}

static daybook_status read_batch(dbk_option_reader *reader, const dbk_option_key *key,
                                 const dbk_config_entry *entry, void *target) {
    static const dbk_option_key keys[] = {
        {.names = "max_inflight_per_stream",
         .kind = DBK_OPTION_INTEGER,
         .offset = FIELD(batch_inflight_per_stream),
         .minimum = 1,
         .maximum = INT32_MAX},
        {.names = "max_inflight_total",
         .kind = DBK_OPTION_INTEGER,
         .offset = FIELD(batch_inflight_total),
         .minimum = 1,
         .maximum = INT32_MAX},
        {.names = "max_msgs",
         .kind = DBK_OPTION_INTEGER,
         .offset = FIELD(batch_size_max),
         .minimum = 1,
         .maximum = 1000},
        {.names = "timeout",
         .kind = DBK_OPTION_DURATION,
         .offset = FIELD(batch_timeout_ns),
         .minimum = DBK_MILLISECOND_NS},
        {.names = NULL},
    };
    (void)key;
    return dbk_option_read_map(reader, keys, "jetstream.limits.batch", entry, target);
}

const dbk_option_key dbk_option_jetstream_limit_keys[] = {
    {.names = "max_ack_pending",
     .kind = DBK_OPTION_INTEGER,
     .offset = FIELD(ack_pending_max),
     .minimum = 0,
     .changed = DBK_CHANGED_JETSTREAM},
    {.names = "max_request_batch",
     .kind = DBK_OPTION_INTEGER,
     .offset = FIELD(request_batch_max),
     .minimum = 0,
     .changed = DBK_CHANGED_JETSTREAM},
    {.names = "duplicate_window",
     .kind = DBK_OPTION_DURATION,
     .offset = FIELD(duplicates_max_ns),
     .minimum = 0,
     .changed = DBK_CHANGED_JETSTREAM},
    {.names = "batch", .kind = DBK_OPTION_CUSTOM, .handle = read_batch},
    {.names = "max_batch_inflight_per_stream",
     .kind = DBK_OPTION_INTEGER,
     .offset = FIELD(batch_inflight_per_stream),
     .minimum = 1,
     .maximum = INT32_MAX,
     .changed = DBK_CHANGED_JETSTREAM},
    {.names = "max_batch_inflight_total",
     .kind = DBK_OPTION_INTEGER,
     .offset = FIELD(batch_inflight_total),
     .minimum = 1,
     .maximum = INT32_MAX,
     .changed = DBK_CHANGED_JETSTREAM},
    {.names = "max_batch_size",
     .kind = DBK_OPTION_INTEGER,
     .offset = FIELD(batch_size_max),
     .minimum = 1,
     .maximum = 1000,
     .changed = DBK_CHANGED_JETSTREAM},
    {.names = "max_batch_timeout",
     .kind = DBK_OPTION_DURATION,
     .offset = FIELD(batch_timeout_ns),
     .minimum = DBK_MILLISECOND_NS,
     .changed = DBK_CHANGED_JETSTREAM},
    {.names = "max_ha_assets", .kind = DBK_OPTION_IGNORED},
    {.names = NULL},
};

static const char no_encryption[] =
    "the store is not encrypted; remove it, and keep the store on a disk that is";

const dbk_option_key dbk_option_jetstream_keys[] = {
    {.names = "enabled enable", .kind = DBK_OPTION_BOOLEAN, .offset = FIELD(enabled)},
    {.names = "store_dir storedir store",
     .kind = DBK_OPTION_CUSTOM,
     .handle = dbk_option_read_store_dir,
     .offset = FIELD(store_dir)},
    {.names = "max_memory_store max_mem_store max_mem",
     .kind = DBK_OPTION_SIZE,
     .offset = FIELD(memory_max),
     .minimum = -1,
     .changed = DBK_CHANGED_JETSTREAM},
    {.names = "max_file_store max_file",
     .kind = DBK_OPTION_SIZE,
     .offset = FIELD(file_max),
     .minimum = -1,
     .changed = DBK_CHANGED_JETSTREAM},
    {.names = "domain", .kind = DBK_OPTION_CUSTOM, .handle = read_domain, .offset = FIELD(domain)},
    {.names = "strict",
     .kind = DBK_OPTION_BOOLEAN,
     .offset = FIELD(strict),
     .changed = DBK_CHANGED_JETSTREAM},
    {.names = "sync_interval sync", .kind = DBK_OPTION_CUSTOM, .handle = read_sync_interval},
    {.names = "request_queue_limit",
     .kind = DBK_OPTION_INTEGER,
     .offset = FIELD(request_queue_limit),
     .minimum = 0,
     .flags = DBK_OPTION_ZERO_IS_DEFAULT,
     .changed = DBK_CHANGED_JETSTREAM},
    {.names = "limits", .kind = DBK_OPTION_CUSTOM, .handle = read_limits},
    {.names = "key ek encryption_key prev_key prev_ek prev_encryption_key",
     .kind = DBK_OPTION_REFUSED,
     .text = no_encryption},
    {.names = "cipher tpm", .kind = DBK_OPTION_REFUSED, .text = no_encryption},
    {.names = "unique_tag extension_hint max_outstanding_catchup max_buffered_size max_buffered_msgs",
     .kind = DBK_OPTION_IGNORED},
    {.names = "info_queue_limit meta_compact meta_compact_size meta_compact_sync",
     .kind = DBK_OPTION_IGNORED},
    {.names = NULL},
};

static daybook_status read_word(dbk_option_reader *reader, const dbk_config_entry *entry,
                                dbk_jetstream_options *jetstream) {
    static const dbk_option_key yes[] = {{.names = "enabled enable"}, {.names = NULL}};
    static const dbk_option_key no[] = {{.names = "disabled disable"}, {.names = NULL}};
    bool is_yes = dbk_option_find(yes, entry->value->text) != NULL;
    if (!is_yes && dbk_option_find(no, entry->value->text) == NULL)
        return dbk_option_fail(reader, &entry->place, DAYBOOK_EINVALID,
                               "%s is '%s'; give enabled, disabled, or a map", (const char *)entry->key.data,
                               (const char *)entry->value->text.data);
    jetstream->enabled = is_yes;
    return DAYBOOK_OK;
}

daybook_status dbk_option_read_jetstream(dbk_option_reader *reader, const dbk_option_key *key,
                                         const dbk_config_entry *entry, void *target) {
    dbk_jetstream_options *jetstream = (dbk_jetstream_options *)((char *)target + key->offset);
    DBK_TRY(dbk_option_keep_place(reader, &entry->place, &jetstream->place));
    switch (entry->value->kind) {
    case DBK_CONFIG_BOOLEAN:
        jetstream->enabled = entry->value->boolean;
        return DAYBOOK_OK;
    case DBK_CONFIG_STRING:
        return read_word(reader, entry, jetstream);
    case DBK_CONFIG_MAP:
        jetstream->enabled = true;
        return dbk_option_read_block(reader, dbk_option_jetstream_keys, "jetstream", entry->value, jetstream);
    case DBK_CONFIG_INTEGER:
    case DBK_CONFIG_FLOAT:
    case DBK_CONFIG_ARRAY:
        break;
    }
    return dbk_option_fail_kind(reader, entry, "give enabled, disabled, or a map");
}
