// SPDX-License-Identifier: Apache-2.0
// What is common to reading, writing and comparing structs by table: comparing, and what counts as empty.
#include "api/object_internal.h"

#include <string.h>

#include "base/bytes.h"

bool dbk_api_is_server_metadata(dbk_slice name) {
    static const char *const names[] = {"_nats.level", "_nats.req.level", "_nats.ver"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (dbk_slice_equal(name, daybook_text(names[i]))) return true;
    }
    return false;
}

bool dbk_api_field_is_empty(const dbk_api_field *field, const void *value) {
    switch (field->kind) {
    case DBK_API_BOOL:
        return !*(const bool *)value;
    case DBK_API_INT:
    case DBK_API_INT64:
    case DBK_API_INT32:
    case DBK_API_DURATION:
    case DBK_API_TIME:
        return *(const int64_t *)value == 0;
    case DBK_API_UINT:
        return *(const uint64_t *)value == 0;
    case DBK_API_TEXT:
    case DBK_API_BASE64:
        return ((const dbk_slice *)value)->size == 0;
    case DBK_API_CHOICE:
        return *(const int *)value == 0;
    case DBK_API_TEXTS:
        return ((const dbk_api_texts *)value)->count == 0;
    case DBK_API_NUMBERS:
        return ((const dbk_api_numbers *)value)->count == 0;
    case DBK_API_DURATIONS:
        return ((const dbk_api_durations *)value)->count == 0;
    case DBK_API_METADATA:
        return ((const dbk_api_metadata *)value)->count == 0;
    case DBK_API_COUNTS:
        return ((const dbk_api_counts *)value)->count == 0;
    case DBK_API_OPTIONAL:
        return *(const void *const *)value == NULL;
    case DBK_API_STRUCTS:
        return ((const dbk_api_objects *)value)->count == 0;
    case DBK_API_STRUCT:
    case DBK_API_EMBEDDED:
        return false;
    }
    return false;
}

static bool texts_equal(const dbk_api_texts *a, const dbk_api_texts *b) {
    if (a->count != b->count) return false;
    for (size_t i = 0; i < a->count; i++) {
        if (!dbk_slice_equal(a->items[i], b->items[i])) return false;
    }
    return true;
}

static const dbk_api_pair *next_own_pair(const dbk_api_metadata *metadata, size_t *at) {
    while (*at < metadata->count && dbk_api_is_server_metadata(metadata->items[*at].name)) ++*at;
    return *at < metadata->count ? &metadata->items[(*at)++] : NULL;
}

static bool metadata_equal(const dbk_api_metadata *a, const dbk_api_metadata *b) {
    for (size_t i = 0, k = 0;;) {
        const dbk_api_pair *of_a = next_own_pair(a, &i);
        const dbk_api_pair *of_b = next_own_pair(b, &k);
        if (of_a == NULL || of_b == NULL) return of_a == of_b;
        if (!dbk_slice_equal(of_a->name, of_b->name) || !dbk_slice_equal(of_a->value, of_b->value))
            return false;
    }
}

static bool structs_equal(const dbk_api_object *object, const dbk_api_objects *a, const dbk_api_objects *b) {
    if (a->count != b->count) return false;
    for (size_t i = 0; i < a->count; i++) {
        if (!dbk_api_objects_equal(object, dbk_api_item_at(object, a, i), dbk_api_item_at(object, b, i)))
            return false;
    }
    return true;
}

static bool optional_equal(const dbk_api_object *object, const void *a, const void *b) {
    return a == b || (a != NULL && b != NULL && dbk_api_objects_equal(object, a, b));
}

static bool fields_equal(const dbk_api_field *field, const void *a, const void *b) {
    switch (field->kind) {
    case DBK_API_BOOL:
        return *(const bool *)a == *(const bool *)b;
    case DBK_API_INT:
    case DBK_API_INT64:
    case DBK_API_INT32:
    case DBK_API_DURATION:
    case DBK_API_TIME:
        return *(const int64_t *)a == *(const int64_t *)b;
    case DBK_API_UINT:
        return *(const uint64_t *)a == *(const uint64_t *)b;
    case DBK_API_TEXT:
    case DBK_API_BASE64:
        return dbk_slice_equal(*(const dbk_slice *)a, *(const dbk_slice *)b);
    case DBK_API_CHOICE:
        return *(const int *)a == *(const int *)b;
    case DBK_API_TEXTS:
        return texts_equal(a, b);
    case DBK_API_NUMBERS:
    case DBK_API_COUNTS:
        return false; // Of answers only, which nobody compares.
    case DBK_API_DURATIONS: {
        const dbk_api_durations *of_a = a;
        const dbk_api_durations *of_b = b;
        return of_a->count == of_b->count &&
               (of_a->count == 0 || memcmp(of_a->items, of_b->items, of_a->count * sizeof *of_a->items) == 0);
    }
    case DBK_API_METADATA:
        return metadata_equal(a, b);
    case DBK_API_STRUCT:
    case DBK_API_EMBEDDED:
        return dbk_api_objects_equal(field->object, a, b);
    case DBK_API_OPTIONAL:
        return optional_equal(field->object, *(const void *const *)a, *(const void *const *)b);
    case DBK_API_STRUCTS:
        return structs_equal(field->object, a, b);
    }
    return false;
}

bool dbk_api_objects_equal(const dbk_api_object *object, const void *a, const void *b) {
    for (size_t i = 0; i < object->field_count; i++) {
        const dbk_api_field *field = &object->fields[i];
        if (!fields_equal(field, dbk_api_member(field, a), dbk_api_member(field, b))) return false;
    }
    return true;
}
