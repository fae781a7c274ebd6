// SPDX-License-Identifier: Apache-2.0
// Values by themselves: sizes from text, names of kinds, looking into maps, and messages with a place. Pure,
// any thread.
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/number.h"
#include "config/config.h"

static bool is_digit(char byte) {
    return byte >= '0' && byte <= '9';
}

static char lower(char byte) {
    return byte >= 'A' && byte <= 'Z' ? (char)(byte - 'A' + 'a') : byte;
}

// What a suffix multiplies with: k m g t p e are powers of 1000, kb ki kib ... of 1024. 0 where it is none.
static int64_t factor_of(const char *at, const char *end) {
    static const char letters[] = "kmgtpe";
    if (at == end) return 1;
    const char *letter = strchr(letters, lower(*at));
    if (*at == '\0' || letter == NULL) return 0;
    at++;
    bool is_binary = at != end;
    if (at != end && lower(*at) == 'i') at++;
    if (at != end && lower(*at) == 'b') at++;
    if (at != end) return 0;
    int64_t factor = 1;
    for (const char *power = letters; power <= letter; power++) factor *= is_binary ? 1024 : 1000;
    return factor;
}

bool dbk_config_parse_integer(dbk_slice text, int64_t *integer_out) {
    const char *start = text.data;
    if (text.size == 0) return false;
    const char *at = start + (*start == '-'), *end = start + text.size;
    while (at != end && is_digit(*at)) at++;
    int64_t value, factor = factor_of(at, end);
    if (factor == 0 || !dbk_decimal_parse_signed(daybook_bytes(start, (size_t)(at - start)), &value) ||
        __builtin_mul_overflow(value, factor, &value))
        return false;
    *integer_out = value;
    return true;
}

const char *dbk_config_kind_name(dbk_config_kind kind) {
    switch (kind) {
    case DBK_CONFIG_STRING:
        return "text";
    case DBK_CONFIG_INTEGER:
        return "whole number";
    case DBK_CONFIG_FLOAT:
        return "number";
    case DBK_CONFIG_BOOLEAN:
        return "true or false";
    case DBK_CONFIG_ARRAY:
        return "array";
    case DBK_CONFIG_MAP:
        return "map";
    }
    return "value";
}

static bool is_key(dbk_slice key, const char *wanted, bool any_case) {
    const char *bytes = key.data;
    if (key.size != strlen(wanted)) return false;
    if (!any_case) return memcmp(bytes, wanted, key.size) == 0;
    for (size_t i = 0; i < key.size; i++) {
        if (lower(bytes[i]) != lower(wanted[i])) return false;
    }
    return true;
}

const dbk_config_entry *dbk_config_find(const dbk_config_value *map, const char *key, bool any_case) {
    if (map->kind != DBK_CONFIG_MAP) return NULL;
    for (const dbk_config_entry *entry = map->entries; entry != NULL; entry = entry->next) {
        if (is_key(entry->key, key, any_case)) return entry;
    }
    return NULL;
}

daybook_status dbk_config_fail(const dbk_config_place *place, daybook_error *error, daybook_status status,
                               const char *format, ...) {
    if (error == NULL) return status;
    char message[DAYBOOK_ERROR_MESSAGE_MAX];
    va_list arguments;
    va_start(arguments, format);
    if (vsnprintf(message, sizeof message, format, arguments) < 0) message[0] = '\0';
    va_end(arguments);
    if (place == NULL || place->file == NULL) return dbk_fail(error, status, "%s", message);
    return dbk_fail(error, status, "%s:%u:%u: %s", place->file, (unsigned)place->line,
                    (unsigned)place->column, message);
}
