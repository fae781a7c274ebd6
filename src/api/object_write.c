// SPDX-License-Identifier: Apache-2.0
// Structs as JSON text, by table.
//
// A configuration of 2.11 and later tells in its metadata which API level it needs and which server answers;
// these three entries are merged into the sorted metadata while it is written, and are stored nowhere.
#include <string.h>

#include "api/object_internal.h"
#include "api/tables.h"
#include "base/bytes.h"
#include "base/number.h"
#include "json/json.h"

enum { STAMP_COUNT = 3, VERSION_STAMPED = 211 };

typedef struct writer {
    dbk_buf *out;
    const dbk_api_dial *dial; // NULL: attributes
    bool is_listed;
} writer;

typedef struct stamp {
    char levels[2][12];
    dbk_api_pair pairs[STAMP_COUNT];
    size_t count;
} stamp;

static void put(writer *w, const char *text) {
    dbk_buf_append(w->out, text, strlen(text));
}

static dbk_slice level_text(int level, char text_out[12]) {
    text_out[0] = (char)('0' + level); // One digit: at most 4.
    text_out[1] = '\0';
    return daybook_text(text_out);
}

// The entries of the server for `item`, NULL where there are none.
static const stamp *make_stamp(const writer *w, const dbk_api_object *object, const void *item, stamp *made) {
    if (w->dial == NULL || object->level == NULL || w->dial->version < VERSION_STAMPED) return NULL;
    dbk_slice needed = level_text(object->level(item), made->levels[0]);
    made->count = 0;
    if (!w->is_listed) {
        dbk_slice own = level_text(dbk_api_dial_level(w->dial), made->levels[1]);
        made->pairs[made->count++] = (dbk_api_pair){daybook_text("_nats.level"), own};
    }
    made->pairs[made->count++] = (dbk_api_pair){daybook_text("_nats.req.level"), needed};
    if (!w->is_listed)
        made->pairs[made->count++] =
            (dbk_api_pair){daybook_text("_nats.ver"), daybook_text(w->dial->announced)};
    return made;
}

static void write_pair(writer *w, const dbk_api_pair *pair, bool *is_first) {
    if (!*is_first) put(w, ",");
    *is_first = false;
    dbk_json_write_go_string(w->out, pair->name);
    put(w, ":");
    dbk_json_write_go_string(w->out, pair->value);
}

static void write_metadata(writer *w, const dbk_api_metadata *metadata, const stamp *stamped) {
    size_t next = 0;
    bool is_first = true;
    put(w, "{");
    for (size_t i = 0; i < metadata->count; i++) {
        const dbk_api_pair *pair = &metadata->items[i];
        if (dbk_api_is_server_metadata(pair->name)) continue;
        while (stamped != NULL && next < stamped->count &&
               dbk_slice_compare(stamped->pairs[next].name, pair->name) < 0)
            write_pair(w, &stamped->pairs[next++], &is_first);
        write_pair(w, pair, &is_first);
    }
    while (stamped != NULL && next < stamped->count) write_pair(w, &stamped->pairs[next++], &is_first);
    put(w, "}");
}

static void write_fields(writer *w, const dbk_api_object *object, const void *item, bool *is_first);

static void write_struct(writer *w, const dbk_api_object *object, const void *item) {
    bool is_first = true;
    put(w, "{");
    write_fields(w, object, item, &is_first);
    put(w, "}");
}

static void write_counts(writer *w, const dbk_api_counts *counts) {
    put(w, "{");
    for (size_t i = 0; i < counts->count; i++) {
        if (i > 0) put(w, ",");
        dbk_json_write_go_string(w->out, counts->items[i].subject);
        put(w, ":");
        dbk_decimal_append(w->out, counts->items[i].count);
    }
    put(w, "}");
}

// How many elements a list has, and one of them.
static size_t list_count(const dbk_api_field *field, const void *value) {
    switch (field->kind) {
    case DBK_API_TEXTS:
        return ((const dbk_api_texts *)value)->count;
    case DBK_API_NUMBERS:
        return ((const dbk_api_numbers *)value)->count;
    case DBK_API_DURATIONS:
        return ((const dbk_api_durations *)value)->count;
    default:
        return ((const dbk_api_objects *)value)->count;
    }
}

static void write_element(writer *w, const dbk_api_field *field, const void *value, size_t i) {
    switch (field->kind) {
    case DBK_API_TEXTS:
        dbk_json_write_go_string(w->out, ((const dbk_api_texts *)value)->items[i]);
        break;
    case DBK_API_NUMBERS:
        dbk_decimal_append(w->out, ((const dbk_api_numbers *)value)->items[i]);
        break;
    case DBK_API_DURATIONS:
        dbk_decimal_append_signed(w->out, ((const dbk_api_durations *)value)->items[i]);
        break;
    default:
        write_struct(w, field->object, dbk_api_item_at(field->object, value, i));
    }
}

static void write_list(writer *w, const dbk_api_field *field, const void *value) {
    size_t count = list_count(field, value);
    put(w, "[");
    for (size_t i = 0; i < count; i++) {
        if (i > 0) put(w, ",");
        write_element(w, field, value, i);
    }
    put(w, "]");
}

static void write_value(writer *w, const dbk_api_field *field, const void *value, const stamp *stamped) {
    switch (field->kind) {
    case DBK_API_BOOL:
        put(w, *(const bool *)value ? "true" : "false");
        break;
    case DBK_API_INT:
    case DBK_API_INT64:
    case DBK_API_INT32:
    case DBK_API_DURATION:
        dbk_decimal_append_signed(w->out, *(const int64_t *)value);
        break;
    case DBK_API_UINT:
        dbk_decimal_append(w->out, *(const uint64_t *)value);
        break;
    case DBK_API_TIME:
        dbk_api_write_time(w->out, *(const int64_t *)value);
        break;
    case DBK_API_TEXT:
        dbk_json_write_go_string(w->out, *(const dbk_slice *)value);
        break;
    case DBK_API_BASE64:
        dbk_api_write_base64(w->out, *(const dbk_slice *)value);
        break;
    case DBK_API_CHOICE:
        dbk_json_write_go_string(w->out, daybook_text(field->choice->names[*(const int *)value]));
        break;
    case DBK_API_TEXTS:
    case DBK_API_NUMBERS:
    case DBK_API_DURATIONS:
    case DBK_API_STRUCTS:
        write_list(w, field, value);
        break;
    case DBK_API_METADATA:
        write_metadata(w, value, stamped);
        break;
    case DBK_API_COUNTS:
        write_counts(w, value);
        break;
    case DBK_API_OPTIONAL:
        write_struct(w, field->object, *(const void *const *)value);
        break;
    case DBK_API_STRUCT:
    case DBK_API_EMBEDDED:
        write_struct(w, field->object, value);
        break;
    }
}

static bool is_written(const writer *w, const dbk_api_field *field, const void *value, const stamp *stamped) {
    if (w->dial == NULL) return field->is_attribute && !dbk_api_field_is_empty(field, value);
    if (w->dial->version < field->since || (field->until != 0 && w->dial->version > field->until))
        return false;
    if (field->kind == DBK_API_METADATA && stamped != NULL) return true;
    return !field->is_omitted || !dbk_api_field_is_empty(field, value);
}

// Attributes are chosen at the top only: below, a whole struct is one.
static writer below(const writer *w) {
    static const dbk_api_dial everything = {.version = INT32_MAX};
    return (writer){w->out, w->dial == NULL ? &everything : w->dial, w->is_listed};
}

static void write_fields(writer *w, const dbk_api_object *object, const void *item, bool *is_first) {
    stamp made;
    const stamp *stamped = make_stamp(w, object, item, &made);
    writer inner = below(w);
    for (size_t i = 0; i < object->field_count; i++) {
        const dbk_api_field *field = &object->fields[i];
        const void *value = dbk_api_member(field, item);
        if (!is_written(w, field, value, stamped)) continue;
        if (field->kind == DBK_API_EMBEDDED) {
            write_fields(w, field->object, value, is_first);
            continue;
        }
        if (!*is_first) put(w, ",");
        *is_first = false;
        dbk_json_write_go_string(w->out, daybook_text(field->name));
        put(w, ":");
        write_value(&inner, field, value, stamped);
    }
}

void dbk_api_write_object(dbk_buf *out, const dbk_api_dial *dial, const dbk_api_object *object,
                          const void *item) {
    writer w = {out, dial, false};
    write_struct(&w, object, item);
}

void dbk_api_write_listed(dbk_buf *out, const dbk_api_dial *dial, const dbk_api_object *object,
                          const void *item) {
    writer w = {out, dial, true};
    write_struct(&w, object, item);
}

void dbk_api_write_members(dbk_buf *out, const dbk_api_dial *dial, const dbk_api_object *object,
                           const void *item) {
    writer w = {out, dial, false};
    bool is_first = false;
    write_fields(&w, object, item, &is_first);
}

static bool copy_attributes(const dbk_buf *text, dbk_arena *arena, dbk_slice *attributes_out,
                            dbk_api_error *error_out) {
    if (dbk_buf_status(text) != DAYBOOK_OK) return dbk_api_fail_memory(error_out);
    if (text->size > DBK_API_ATTRIBUTES_SIZE_MAX)
        return dbk_api_fail_with(error_out, DBK_API_ERR_STREAM_INVALID_CONFIG,
                                 "configuration is too large, maximum allowed is %d bytes",
                                 DBK_API_ATTRIBUTES_SIZE_MAX);
    void *copy = dbk_arena_alloc(arena, text->size);
    if (copy == NULL) return dbk_api_fail_memory(error_out);
    memcpy(copy, text->data, text->size);
    *attributes_out = daybook_bytes(copy, text->size);
    return true;
}

bool dbk_api_make_attributes(const dbk_api_object *object, const void *item, dbk_arena *arena,
                             dbk_slice *attributes_out, dbk_api_error *error_out) {
    enum { TEXT_SIZE_MAX = 1 << 24 }; // Of a configuration that came in one message: escapes at most.
    dbk_buf text;
    dbk_buf_init(&text, dbk_allocator_default(), TEXT_SIZE_MAX);
    writer w = {&text, NULL, false};
    bool is_first = true;
    put(&w, "{");
    write_fields(&w, object, item, &is_first);
    put(&w, "}");
    *attributes_out = daybook_bytes(NULL, 0);
    bool is_made = is_first || copy_attributes(&text, arena, attributes_out, error_out);
    dbk_buf_deinit(&text);
    return is_made;
}
