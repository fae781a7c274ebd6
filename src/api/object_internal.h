// SPDX-License-Identifier: Apache-2.0
// Shared by object.c, object_read.c and object_write.c: where a field's value lies, and whether it says
// anything.
#ifndef DBK_API_OBJECT_INTERNAL_H
#define DBK_API_OBJECT_INTERNAL_H

#include "api/object.h"

static inline const void *dbk_api_member(const dbk_api_field *field, const void *item) {
    return (const char *)item + field->offset;
}

static inline const void *dbk_api_item_at(const dbk_api_object *object, const dbk_api_objects *list,
                                          size_t index) {
    return (const char *)list->items + index * object->size;
}

/// 0, false, empty: what Go's omitempty leaves out. Never so of a struct.
bool dbk_api_field_is_empty(const dbk_api_field *field, const void *value);

#endif
