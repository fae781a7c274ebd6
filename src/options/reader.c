// SPDX-License-Identifier: Apache-2.0
// Values of a configuration into fields, by tables; see reader.h. Every message names the place of the
// key and what to write instead. Pure but for the memory of the options.
#include "options/reader.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/number.h"
#include "base/time.h"

// --- Memory ---

void *dbk_option_alloc(dbk_option_reader *reader, size_t count, size_t size) {
    if (count > SIZE_MAX / size) return NULL;
    void *data = dbk_arena_alloc(reader->memory->arena, count * size);
    if (data != NULL) memset(data, 0, count * size);
    return data;
}

daybook_status dbk_option_keep_text(dbk_option_reader *reader, dbk_slice text, const char **text_out) {
    char *copy = dbk_option_alloc(reader, text.size + 1, 1);
    if (copy == NULL) return DAYBOOK_ENOMEM;
    if (text.size > 0) memcpy(copy, text.data, text.size);
    *text_out = copy;
    return DAYBOOK_OK;
}

daybook_status dbk_option_keep_place(dbk_option_reader *reader, const dbk_config_place *place,
                                     dbk_config_place *place_out) {
    struct dbk_options_memory *memory = reader->memory;
    if (memory->file_kept == NULL || memory->file_given != place->file) {
        DBK_TRY(dbk_option_keep_text(reader, daybook_text(place->file), &memory->file_kept));
        memory->file_given = place->file;
    }
    *place_out = *place;
    place_out->file = memory->file_kept;
    return DAYBOOK_OK;
}

// --- Messages ---

void dbk_option_format_place(const dbk_config_place *place, char *text, size_t size) {
    if (place->line == 0 || strcmp(place->file, DBK_OPTIONS_COMMAND_LINE) == 0) {
        (void)snprintf(text, size, "%s", place->file);
    } else {
        (void)snprintf(text, size, "%s:%u:%u", place->file, (unsigned)place->line, (unsigned)place->column);
    }
}

daybook_status dbk_option_fail(dbk_option_reader *reader, const dbk_config_place *place,
                               daybook_status status, const char *format, ...) {
    if (reader->error == NULL) return status;
    char message[DAYBOOK_ERROR_MESSAGE_MAX];
    va_list arguments;
    va_start(arguments, format);
    if (vsnprintf(message, sizeof message, format, arguments) < 0) message[0] = '\0';
    va_end(arguments);
    char where[DAYBOOK_ERROR_MESSAGE_MAX / 2];
    dbk_option_format_place(place, where, sizeof where);
    return dbk_fail(reader->error, status, "%s: %s", where, message);
}

daybook_status dbk_option_fail_kind(dbk_option_reader *reader, const dbk_config_entry *entry,
                                    const char *advice) {
    const char *article = entry->value->kind == DBK_CONFIG_ARRAY ? "an" : "a";
    if (entry->value->kind == DBK_CONFIG_BOOLEAN) article = "just";
    return dbk_option_fail(reader, &entry->place, DAYBOOK_EINVALID, "%s is %s %s; %s",
                           (const char *)entry->key.data, article, dbk_config_kind_name(entry->value->kind),
                           advice);
}

static daybook_status add_notice(dbk_option_reader *reader, const char *text) {
    struct dbk_options_memory *memory = reader->memory;
    dbk_text_list *notices = &reader->options->notices;
    if (notices->count == memory->notice_capacity) {
        size_t capacity = memory->notice_capacity == 0 ? 8 : memory->notice_capacity * 2;
        const char **grown = dbk_option_alloc(reader, capacity, sizeof *grown);
        if (grown == NULL) return DAYBOOK_ENOMEM;
        for (size_t i = 0; i < notices->count; i++) grown[i] = memory->notices[i];
        memory->notices = grown;
        memory->notice_capacity = capacity;
        notices->items = grown;
    }
    memory->notices[notices->count++] = text;
    return DAYBOOK_OK;
}

daybook_status dbk_option_notice(dbk_option_reader *reader, const dbk_config_place *place, const char *format,
                                 ...) {
    char message[DAYBOOK_ERROR_MESSAGE_MAX];
    size_t used = 0;
    if (place != NULL) {
        dbk_option_format_place(place, message, sizeof message / 2);
        used = strlen(message);
        used += (size_t)snprintf(message + used, sizeof message - used, ": ");
    }
    va_list arguments;
    va_start(arguments, format);
    if (vsnprintf(message + used, sizeof message - used, format, arguments) < 0) message[used] = '\0';
    va_end(arguments);
    const char *kept;
    DBK_TRY(dbk_option_keep_text(reader, daybook_text(message), &kept));
    return add_notice(reader, kept);
}

// --- Origins ---

daybook_status dbk_option_set_origin(dbk_option_reader *reader, const char *block, dbk_slice key,
                                     const dbk_config_place *place) {
    char name[128];
    (void)snprintf(name, sizeof name, "%s%s%.*s", block == NULL ? "" : block, block == NULL ? "" : ".",
                   (int)key.size, (const char *)key.data);
    char where[DAYBOOK_ERROR_MESSAGE_MAX];
    dbk_option_format_place(place, where, sizeof where);
    dbk_option_origin *origin = dbk_option_alloc(reader, 1, sizeof *origin);
    if (origin == NULL) return DAYBOOK_ENOMEM;
    DBK_TRY(dbk_option_keep_text(reader, daybook_text(name), &origin->key));
    DBK_TRY(dbk_option_keep_text(reader, daybook_text(where), &origin->text));
    // In front: the latest is found first.
    origin->next = reader->memory->origins;
    reader->memory->origins = origin;
    return DAYBOOK_OK;
}

// --- Values ---

daybook_status dbk_option_take_text(dbk_option_reader *reader, const dbk_config_entry *entry,
                                    dbk_slice *text_out) {
    if (entry->value->kind != DBK_CONFIG_STRING)
        return dbk_option_fail_kind(reader, entry,
                                    "give a text; put it in quotes where it looks like something else");
    *text_out = entry->value->text;
    return DAYBOOK_OK;
}

static daybook_status read_text(dbk_option_reader *reader, const dbk_config_entry *entry,
                                const char **text_out) {
    dbk_slice text;
    DBK_TRY(dbk_option_take_text(reader, entry, &text));
    *text_out = NULL;
    return text.size == 0 ? DAYBOOK_OK : dbk_option_keep_text(reader, text, text_out);
}

daybook_status dbk_option_take_texts(dbk_option_reader *reader, const dbk_config_entry *entry,
                                     dbk_text_list *texts_out) {
    const dbk_config_value *value = entry->value;
    bool is_array = value->kind == DBK_CONFIG_ARRAY;
    if (!is_array && value->kind != DBK_CONFIG_STRING)
        return dbk_option_fail_kind(reader, entry, "give a text or an array of texts");
    size_t count = is_array ? value->count : 1;
    const char **items = dbk_option_alloc(reader, count, sizeof *items);
    if (items == NULL) return DAYBOOK_ENOMEM;
    const dbk_config_value *item = is_array ? value->items : value;
    for (size_t i = 0; i < count; i++, item = item->next) {
        if (item->kind != DBK_CONFIG_STRING)
            return dbk_option_fail(reader, &item->place, DAYBOOK_EINVALID,
                                   "%s holds a %s; put it in quotes to make it a text",
                                   (const char *)entry->key.data, dbk_config_kind_name(item->kind));
        DBK_TRY(dbk_option_keep_text(reader, item->text, &items[i]));
    }
    *texts_out = (dbk_text_list){items, count};
    return DAYBOOK_OK;
}

// Seconds as a number. A unit behind it makes it something else: 5m is five million here.
static daybook_status take_seconds(dbk_option_reader *reader, const dbk_config_entry *entry,
                                   bool seconds_are_fine, int64_t *nanoseconds_out) {
    const dbk_config_value *value = entry->value;
    const char *key = entry->key.data;
    if (value->kind == DBK_CONFIG_FLOAT && seconds_are_fine) {
        double nanoseconds = value->number * 1e9;
        if (nanoseconds >= 0 && nanoseconds < 9e18) {
            *nanoseconds_out = (int64_t)nanoseconds;
            return DAYBOOK_OK;
        }
    }
    if (value->kind != DBK_CONFIG_INTEGER)
        return dbk_option_fail_kind(reader, entry, "give a duration such as \"2s\" or \"1m30s\"");
    if (!dbk_is_decimal(value->text))
        return dbk_option_fail(
            reader, &entry->place, DAYBOOK_EINVALID,
            "%s is the number %lld, not a duration; write it in quotes, \"%s\", if that is meant", key,
            (long long)value->integer, (const char *)value->text.data);
    if (__builtin_mul_overflow(value->integer, DBK_SECOND_NS, nanoseconds_out))
        return dbk_option_fail(reader, &entry->place, DAYBOOK_EINVALID,
                               "%s is %lld seconds, longer than 292 years; give less", key,
                               (long long)value->integer);
    if (seconds_are_fine) return DAYBOOK_OK;
    return dbk_option_notice(reader, &entry->place, "%s is taken for %lld seconds; write \"%llds\"", key,
                             (long long)value->integer, (long long)value->integer);
}

daybook_status dbk_option_take_duration(dbk_option_reader *reader, const dbk_config_entry *entry,
                                        bool seconds_are_fine, int64_t *nanoseconds_out) {
    if (entry->value->kind != DBK_CONFIG_STRING)
        return take_seconds(reader, entry, seconds_are_fine, nanoseconds_out);
    if (dbk_go_duration_parse(entry->value->text, nanoseconds_out)) return DAYBOOK_OK;
    return dbk_option_fail(reader, &entry->place, DAYBOOK_EINVALID,
                           "%s is '%s', not a duration; give one such as 2s, 300ms or 1m30s",
                           (const char *)entry->key.data, (const char *)entry->value->text.data);
}

// "1G" in quotes is 1024^3, as nats-server has it for sizes of stores, though 1G without them is 1000^3.
static bool parse_size_text(dbk_slice text, int64_t *size_out) {
    static const char letters[] = "KMGT";
    const char *bytes = text.data;
    const char *letter = text.size < 2 ? NULL : strchr(letters, bytes[text.size - 1]);
    if (letter == NULL || *letter == '\0') return dbk_config_parse_integer(text, size_out);
    dbk_slice digits = daybook_bytes(text.data, text.size - 1);
    if (!dbk_is_decimal(digits) || !dbk_config_parse_integer(digits, size_out)) return false;
    return !__builtin_mul_overflow(*size_out, INT64_C(1) << (10 * (letter - letters + 1)), size_out);
}

static daybook_status check_range(dbk_option_reader *reader, const dbk_option_key *key,
                                  const dbk_config_entry *entry, int64_t value) {
    int64_t maximum = key->maximum == 0 ? INT64_MAX : key->maximum;
    if (value >= key->minimum && value <= maximum) return DAYBOOK_OK;
    if (maximum == INT64_MAX)
        return dbk_option_fail(reader, &entry->place, DAYBOOK_EINVALID, "%s is %lld; give %lld or more",
                               (const char *)entry->key.data, (long long)value, (long long)key->minimum);
    return dbk_option_fail(reader, &entry->place, DAYBOOK_EINVALID, "%s is %lld; give %lld to %lld",
                           (const char *)entry->key.data, (long long)value, (long long)key->minimum,
                           (long long)maximum);
}

static daybook_status read_integer(dbk_option_reader *reader, const dbk_option_key *key,
                                   const dbk_config_entry *entry, int64_t *integer_out) {
    const dbk_config_value *value = entry->value;
    int64_t integer;
    if (value->kind == DBK_CONFIG_INTEGER) {
        integer = value->integer;
    } else if (key->kind != DBK_OPTION_SIZE || value->kind != DBK_CONFIG_STRING) {
        return dbk_option_fail_kind(reader, entry, "give a whole number, such as 1024, 64k or 8MB");
    } else if (!parse_size_text(value->text, &integer)) {
        return dbk_option_fail(reader, &entry->place, DAYBOOK_EINVALID,
                               "%s is '%s', not a size; give bytes, or a number with K, M, G or T",
                               (const char *)entry->key.data, (const char *)value->text.data);
    }
    DBK_TRY(check_range(reader, key, entry, integer));
    if (integer != 0 || (key->flags & DBK_OPTION_ZERO_IS_DEFAULT) == 0) *integer_out = integer;
    return DAYBOOK_OK;
}

// 1500000000 to "1.5s" would be nicer to read; messages show the nearest unit only.
static void format_duration(int64_t nanoseconds, char *text, size_t size) {
    if (nanoseconds % DBK_SECOND_NS == 0) {
        (void)snprintf(text, size, "%llds", (long long)(nanoseconds / DBK_SECOND_NS));
    } else {
        (void)snprintf(text, size, "%lldms", (long long)(nanoseconds / DBK_MILLISECOND_NS));
    }
}

static daybook_status read_duration(dbk_option_reader *reader, const dbk_option_key *key,
                                    const dbk_config_entry *entry, int64_t *nanoseconds_out) {
    int64_t nanoseconds;
    DBK_TRY(dbk_option_take_duration(reader, entry, key->kind == DBK_OPTION_SECONDS, &nanoseconds));
    bool is_default = nanoseconds == 0 && (key->flags & DBK_OPTION_ZERO_IS_DEFAULT) != 0;
    int64_t maximum = key->maximum == 0 ? INT64_MAX : key->maximum;
    if (!is_default && (nanoseconds < key->minimum || nanoseconds > maximum)) {
        char given[32];
        char bound[32];
        bool is_short = nanoseconds < key->minimum;
        format_duration(nanoseconds, given, sizeof given);
        format_duration(is_short ? key->minimum : maximum, bound, sizeof bound);
        return dbk_option_fail(reader, &entry->place, DAYBOOK_EINVALID, "%s is %s; give %s or %s",
                               (const char *)entry->key.data, given, bound, is_short ? "more" : "less");
    }
    if (!is_default) *nanoseconds_out = nanoseconds;
    return DAYBOOK_OK;
}

static daybook_status check_port(dbk_option_reader *reader, const dbk_config_entry *entry, int64_t port) {
    if (port >= DBK_PORT_RANDOM && port <= 65535) return DAYBOOK_OK;
    return dbk_option_fail(reader, &entry->place, DAYBOOK_EINVALID,
                           "%s is %lld, not a port; give 1 to 65535, or -1 for any free one",
                           (const char *)entry->key.data, (long long)port);
}

static daybook_status read_port(dbk_option_reader *reader, const dbk_option_key *key,
                                const dbk_config_entry *entry, int32_t *port_out) {
    if (entry->value->kind != DBK_CONFIG_INTEGER)
        return dbk_option_fail_kind(reader, entry, "give a port number, 1 to 65535, or -1 for any free one");
    DBK_TRY(check_port(reader, entry, entry->value->integer));
    bool is_default = entry->value->integer == 0 && (key->flags & DBK_OPTION_ZERO_IS_DEFAULT) != 0;
    if (!is_default) *port_out = (int32_t)entry->value->integer;
    return DAYBOOK_OK;
}

bool dbk_option_split_address(dbk_slice text, dbk_slice *host_out, dbk_slice *port_out) {
    const char *bytes = text.data;
    size_t colon = text.size;
    while (colon > 0 && bytes[colon - 1] != ':') colon--;
    if (colon == 0) return false;
    *port_out = daybook_bytes(bytes + colon, text.size - colon);
    *host_out = daybook_bytes(bytes, colon - 1);
    if (host_out->size > 0 && bytes[0] == '[') {
        if (bytes[colon - 2] != ']') return false;
        *host_out = daybook_bytes(bytes + 1, colon - 3);
        return true;
    }
    return memchr(bytes, ':', colon - 1) == NULL; // an IPv6 address without brackets has no clear port
}

daybook_status dbk_option_take_listen(dbk_option_reader *reader, const dbk_config_entry *entry,
                                      dbk_listen_options *listen_out) {
    const dbk_config_value *value = entry->value;
    int64_t port;
    dbk_slice host = {NULL, 0};
    if (value->kind == DBK_CONFIG_INTEGER) {
        port = value->integer;
    } else {
        dbk_slice digits;
        if (value->kind != DBK_CONFIG_STRING)
            return dbk_option_fail_kind(reader, entry, "give host:port, or a port");
        if (!dbk_option_split_address(value->text, &host, &digits) ||
            !dbk_config_parse_integer(digits, &port))
            return dbk_option_fail(
                reader, &entry->place, DAYBOOK_EINVALID,
                "%s is '%s', not an address; give host:port, such as 127.0.0.1:4222 or \"[::1]:4222\"",
                (const char *)entry->key.data, (const char *)value->text.data);
    }
    DBK_TRY(check_port(reader, entry, port));
    if (host.size > 0) DBK_TRY(dbk_option_keep_text(reader, host, &listen_out->host));
    listen_out->port = (int32_t)port;
    return DAYBOOK_OK;
}

// --- Rows ---

size_t dbk_option_name_size(const dbk_option_key *key) {
    return strcspn(key->names, " ");
}

static bool equals_in_any_case(const char *name, size_t size, dbk_slice text) {
    const char *bytes = text.data;
    if (text.size != size) return false;
    for (size_t i = 0; i < size; i++) {
        char byte = bytes[i];
        if (byte >= 'A' && byte <= 'Z') byte = (char)(byte - 'A' + 'a');
        if (byte != name[i]) return false;
    }
    return true;
}

const dbk_option_key *dbk_option_find(const dbk_option_key *keys, dbk_slice name) {
    for (; keys->names != NULL; keys++) {
        for (const char *at = keys->names; *at != '\0'; at += strspn(at, " ")) {
            size_t size = strcspn(at, " ");
            if (equals_in_any_case(at, size, name)) return keys;
            at += size;
        }
    }
    return NULL;
}

bool dbk_option_is_asking(const dbk_config_value *value) {
    switch (value->kind) {
    case DBK_CONFIG_ARRAY:
    case DBK_CONFIG_MAP:
        return value->count > 0;
    case DBK_CONFIG_BOOLEAN:
        return value->boolean;
    case DBK_CONFIG_INTEGER:
        return value->integer != 0;
    case DBK_CONFIG_STRING:
        return value->text.size > 0;
    case DBK_CONFIG_FLOAT:
        return true;
    }
    return true;
}

static daybook_status read_boolean(dbk_option_reader *reader, const dbk_config_entry *entry,
                                   bool *boolean_out) {
    if (entry->value->kind != DBK_CONFIG_BOOLEAN)
        return dbk_option_fail_kind(reader, entry, "give true or false");
    *boolean_out = entry->value->boolean;
    return DAYBOOK_OK;
}

static daybook_status refuse(dbk_option_reader *reader, const dbk_option_key *key,
                             const dbk_config_entry *entry) {
    if (!dbk_option_is_asking(entry->value)) return DAYBOOK_OK;
    return dbk_option_fail(reader, &entry->place, DAYBOOK_EUNSUPPORTED, "%s is not supported: %s",
                           (const char *)entry->key.data, key->text);
}

static daybook_status pass_over(dbk_option_reader *reader, const dbk_option_key *key,
                                const dbk_config_entry *entry) {
    if (!dbk_option_is_asking(entry->value)) return DAYBOOK_OK;
    return dbk_option_notice(reader, &entry->place, "%s is not served%s%s", (const char *)entry->key.data,
                             key->text == NULL ? "" : ": ", key->text == NULL ? "" : key->text);
}

daybook_status dbk_option_read(dbk_option_reader *reader, const dbk_option_key *key,
                               const dbk_config_entry *entry, void *target) {
    void *field = (char *)target + key->offset;
    switch (key->kind) {
    case DBK_OPTION_TEXT:
        return read_text(reader, entry, field);
    case DBK_OPTION_BOOLEAN:
        return read_boolean(reader, entry, field);
    case DBK_OPTION_INTEGER:
    case DBK_OPTION_SIZE:
        return read_integer(reader, key, entry, field);
    case DBK_OPTION_DURATION:
    case DBK_OPTION_SECONDS:
        return read_duration(reader, key, entry, field);
    case DBK_OPTION_PORT:
        return read_port(reader, key, entry, field);
    case DBK_OPTION_TEXTS:
        return dbk_option_take_texts(reader, entry, field);
    case DBK_OPTION_CUSTOM:
        return key->handle(reader, key, entry, target);
    case DBK_OPTION_IGNORED:
        return DAYBOOK_OK;
    case DBK_OPTION_NOT_SERVED:
        return pass_over(reader, key, entry);
    case DBK_OPTION_REFUSED:
        return refuse(reader, key, entry);
    }
    return DAYBOOK_OK;
}

static daybook_status fail_unknown(dbk_option_reader *reader, const char *block,
                                   const dbk_config_entry *entry) {
    if (block == NULL)
        return dbk_option_fail(reader, &entry->place, DAYBOOK_EINVALID,
                               "unknown key %s; correct it, or remove the line",
                               (const char *)entry->key.data);
    return dbk_option_fail(reader, &entry->place, DAYBOOK_EINVALID,
                           "unknown key %s in %s; correct it, or remove the line",
                           (const char *)entry->key.data, block);
}

// Origins are kept of fields of the options, not of users and drafts: there may be many of those.
static bool is_own_field(const dbk_option_reader *reader, const void *target) {
    uintptr_t start = (uintptr_t)reader->options;
    return (uintptr_t)target - start < sizeof *reader->options;
}

daybook_status dbk_option_read_block(dbk_option_reader *reader, const dbk_option_key *keys, const char *block,
                                     const dbk_config_value *map, void *target) {
    for (const dbk_config_entry *entry = map->entries; entry != NULL; entry = entry->next) {
        const dbk_option_key *key = dbk_option_find(keys, entry->key);
        if (key == NULL) {
            if (entry->is_variable) continue; // a value that was given a name
            return fail_unknown(reader, block, entry);
        }
        DBK_TRY(dbk_option_read(reader, key, entry, target));
        if (!is_own_field(reader, target)) continue;
        DBK_TRY(dbk_option_set_origin(reader, block, daybook_bytes(key->names, dbk_option_name_size(key)),
                                      &entry->place));
    }
    return DAYBOOK_OK;
}

daybook_status dbk_option_read_map(dbk_option_reader *reader, const dbk_option_key *keys, const char *block,
                                   const dbk_config_entry *entry, void *target) {
    if (entry->value->kind != DBK_CONFIG_MAP)
        return dbk_option_fail_kind(reader, entry, "give a map, { ... }");
    return dbk_option_read_block(reader, keys, block, entry->value, target);
}
