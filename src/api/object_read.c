// SPDX-License-Identifier: Apache-2.0
// JSON text as structs, by table.
//
// The text is parsed to jansson's values, which are given back before the function returns: texts and lists
// are copied into the arena, whose use is therefore bounded by a small multiple of the text. Depth is bounded
// by the parser, and by the tables, none of which contains itself.
//
// Errors carry Go's words, because clients show them: "json: cannot unmarshal string into Go struct field
// StreamConfig.max_msgs of type int64".
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/object_internal.h"
#include "base/bytes.h"
#include "json/json.h"

enum { VALUE_TEXT_MAX = 200, PATH_SIZE = 128 };

typedef struct reader {
    const dbk_api_dial *dial; // NULL: attributes
    dbk_arena *arena;
    dbk_api_error *error;
    // Where in the text we are, as Go says it: names of fields and of embedded structs, each with a dot
    // behind it.
    char path[PATH_SIZE];
    size_t path_size;
} reader;

// Errors.

static bool fail(reader *r, const char *before, const char *text, const char *behind) {
    // Before 2.11 the error says no more than that the JSON is invalid.
    if (r->dial == NULL || r->dial->version >= 211)
        return dbk_api_fail_with(r->error, DBK_API_ERR_INVALID_JSON, "%s%s%s", before, text, behind);
    (void)dbk_api_fail(r->error, DBK_API_ERR_INVALID_JSON);
    if (r->error != NULL) r->error->description[strlen("invalid JSON")] = '\0';
    return false;
}

// The text of a value for an error, cut and NUL-terminated in the arena; "" where there is no memory for it.
static const char *text_of(reader *r, const json_t *value) {
    dbk_buf text;
    dbk_buf_init(&text, dbk_allocator_default(), VALUE_TEXT_MAX);
    dbk_json_write(&text, value);
    char *copy = dbk_arena_alloc(r->arena, text.size + 1);
    if (copy != NULL) {
        if (text.size > 0) memcpy(copy, text.data, text.size);
        copy[text.size] = '\0';
    }
    dbk_buf_deinit(&text);
    return copy == NULL ? "" : copy;
}

static const char *go_type(const dbk_api_field *field) {
    static const char *const names[] = {
        [DBK_API_BOOL] = "bool",
        [DBK_API_INT] = "int",
        [DBK_API_INT64] = "int64",
        [DBK_API_INT32] = "int32",
        [DBK_API_UINT] = "uint64",
        [DBK_API_DURATION] = "time.Duration",
        [DBK_API_TIME] = "time.Time",
        [DBK_API_TEXT] = "string",
        [DBK_API_CHOICE] = "string",
        [DBK_API_TEXTS] = "[]string",
        [DBK_API_NUMBERS] = "[]uint64",
        [DBK_API_DURATIONS] = "[]time.Duration",
        [DBK_API_METADATA] = "map[string]string",
        [DBK_API_EMBEDDED] = "",
    };
    if (field->object != NULL) return field->object->name;
    return names[field->kind];
}

static bool fail_type(reader *r, const dbk_api_object *object, const dbk_api_field *field,
                      const json_t *value) {
    static const char *const names[] = {
        [JSON_OBJECT] = "object", [JSON_ARRAY] = "array", [JSON_STRING] = "string", [JSON_INTEGER] = "number",
        [JSON_REAL] = "number",   [JSON_TRUE] = "bool",   [JSON_FALSE] = "bool",    [JSON_NULL] = "null",
    };
    const char *number = json_is_number(value) ? text_of(r, value) : "";
    const char *package = field->object != NULL ? "server." : "";
    bool is_whole = *field->name == '\0';
    char text[512];
    int size = snprintf(text, sizeof text, "json: cannot unmarshal %s%s%s into Go %s%s%s%.*s%s of type %s%s",
                        names[json_typeof(value)], *number == '\0' ? "" : " ", number,
                        is_whole ? "value" : "struct field ", is_whole ? "" : object->name,
                        is_whole ? "" : ".", is_whole ? 0 : (int)r->path_size, r->path, field->name, package,
                        go_type(field));
    return fail(r, "", size < 0 ? "" : text, "");
}

// Returns what to go back to with r->path_size.
static size_t enter(reader *r, const char *name) {
    size_t before = r->path_size;
    size_t size = name == NULL ? 0 : strlen(name);
    if (size > 0 && before + size + 1 < sizeof r->path) {
        memcpy(r->path + before, name, size);
        r->path[before + size] = '.';
        r->path_size += size + 1;
    }
    return before;
}

// Values.

static bool copy_text(reader *r, const json_t *value, dbk_slice *out) {
    size_t size = json_string_length(value);
    char *copy = dbk_arena_alloc(r->arena, size);
    if (copy == NULL) return dbk_api_fail_memory(r->error);
    memcpy(copy, json_string_value(value), size);
    *out = daybook_bytes(copy, size);
    return true;
}

static bool number_fits(dbk_api_kind kind, int64_t number) {
    if (kind == DBK_API_INT32) return number >= INT32_MIN && number <= INT32_MAX;
    return kind != DBK_API_UINT || number >= 0;
}

static bool read_number(reader *r, const dbk_api_object *object, const dbk_api_field *field,
                        const json_t *value, int64_t *out) {
    if (!json_is_integer(value) || !number_fits(field->kind, json_integer_value(value)))
        return fail_type(r, object, field, value);
    *out = json_integer_value(value);
    return true;
}

// Beyond int64 the parser makes a double of a number. Up to 2^53 from the top these are what Go would take;
// nobody has so many messages, so that the exact one does not matter.
static bool read_uint(reader *r, const dbk_api_object *object, const dbk_api_field *field,
                      const json_t *value, uint64_t *out) {
    const double beyond = 18446744073709551616.0;
    int64_t number = 0;
    if (json_is_real(value) && json_real_value(value) >= 9223372036854775808.0 &&
        json_real_value(value) <= beyond) {
        *out = json_real_value(value) >= beyond ? UINT64_MAX : (uint64_t)json_real_value(value);
        return true;
    }
    if (!read_number(r, object, field, value, &number)) return false;
    *out = (uint64_t)number;
    return true;
}

static bool read_time(reader *r, const dbk_api_object *object, const dbk_api_field *field,
                      const json_t *value, int64_t *out) {
    if (!json_is_string(value)) return fail_type(r, object, field, value);
    dbk_slice text = daybook_bytes(json_string_value(value), json_string_length(value));
    if (dbk_api_parse_time(text, out)) return true;
    return fail(r, "parsing time ", text_of(r, value), " as \"2006-01-02T15:04:05Z07:00\"");
}

static bool read_choice(reader *r, const dbk_api_field *field, const json_t *value, int *out) {
    const char *const *names = field->choice->names;
    for (int i = 0; json_is_string(value) && names[i] != NULL; i++) {
        dbk_slice said = daybook_bytes(json_string_value(value), json_string_length(value));
        if (dbk_slice_equal(said, daybook_text(names[i]))) {
            *out = i;
            return true;
        }
    }
    if (r->dial == NULL) return true; // Of a later version.
    char text[VALUE_TEXT_MAX * 2];
    const char *raw = text_of(r, value);
    size_t size = (size_t)snprintf(text, sizeof text, "%s%s", field->choice->unknown,
                                   field->choice->is_quoted ? "\"" : "");
    for (; *raw != '\0' && size + 4 < sizeof text; raw++) {
        if (field->choice->is_quoted && (*raw == '"' || *raw == '\\')) text[size++] = '\\';
        text[size++] = *raw;
    }
    if (field->choice->is_quoted) text[size++] = '"';
    text[size] = '\0';
    return fail(r, "", text, "");
}

static bool read_texts(reader *r, const dbk_api_object *object, const dbk_api_field *field,
                       const json_t *value, dbk_api_texts *out) {
    size_t count = json_array_size(value);
    dbk_slice *items = dbk_arena_alloc(r->arena, count * sizeof *items);
    if (items == NULL) return dbk_api_fail_memory(r->error);
    for (size_t i = 0; i < count; i++) {
        const json_t *element = json_array_get(value, i);
        items[i] = daybook_text("");
        if (json_is_null(element)) continue;
        if (!json_is_string(element)) return fail_type(r, object, field, element);
        if (!copy_text(r, element, &items[i])) return false;
    }
    *out = (dbk_api_texts){items, count};
    return true;
}

static bool read_numbers(reader *r, const dbk_api_object *object, const dbk_api_field *field,
                         const json_t *value, void *out) {
    size_t count = json_array_size(value);
    int64_t *items = dbk_arena_alloc(r->arena, count * sizeof *items);
    if (items == NULL) return dbk_api_fail_memory(r->error);
    for (size_t i = 0; i < count; i++) {
        const json_t *element = json_array_get(value, i);
        items[i] = 0;
        if (json_is_null(element)) continue;
        if (!json_is_integer(element)) return fail_type(r, object, field, element);
        items[i] = json_integer_value(element);
    }
    *(dbk_api_durations *)out = (dbk_api_durations){items, count};
    return true;
}

static int compare_pairs(const void *a, const void *b) {
    return dbk_slice_compare(((const dbk_api_pair *)a)->name, ((const dbk_api_pair *)b)->name);
}

static bool read_metadata(reader *r, const dbk_api_object *object, const dbk_api_field *field,
                          const json_t *value, dbk_api_metadata *out) {
    size_t count = 0;
    dbk_api_pair *items = dbk_arena_alloc(r->arena, json_object_size(value) * sizeof *items);
    if (items == NULL) return dbk_api_fail_memory(r->error);
    json_t *members = (json_t *)(uintptr_t)value; // Iterated, not changed.
    for (void *at = json_object_iter(members); at != NULL; at = json_object_iter_next(members, at), count++) {
        const json_t *member = json_object_iter_value(at);
        dbk_slice name = daybook_text(json_object_iter_key(at));
        char *copy = dbk_arena_alloc(r->arena, name.size);
        if (copy == NULL) return dbk_api_fail_memory(r->error);
        memcpy(copy, name.data, name.size);
        items[count] = (dbk_api_pair){daybook_bytes(copy, name.size), daybook_text("")};
        if (json_is_null(member)) continue;
        if (!json_is_string(member)) return fail_type(r, object, field, member);
        if (!copy_text(r, member, &items[count].value)) return false;
    }
    qsort(items, count, sizeof *items, compare_pairs);
    *out = (dbk_api_metadata){items, count};
    return true;
}

static bool read_members(reader *r, const dbk_api_object *object, const json_t *value, void *item);

static bool read_structs(reader *r, const dbk_api_field *field, const json_t *value, dbk_api_objects *out) {
    size_t count = json_array_size(value);
    char *items = dbk_arena_alloc(r->arena, count * field->object->size);
    if (items == NULL) return dbk_api_fail_memory(r->error);
    memset(items, 0, count * field->object->size);
    for (size_t i = 0; i < count; i++) {
        const json_t *element = json_array_get(value, i);
        if (json_is_null(element)) continue;
        if (!read_members(r, field->object, element, items + i * field->object->size)) return false;
    }
    *out = (dbk_api_objects){items, count};
    return true;
}

static bool read_optional(reader *r, const dbk_api_field *field, const json_t *value, const void **out) {
    void *item = dbk_arena_alloc(r->arena, field->object->size);
    if (item == NULL) return dbk_api_fail_memory(r->error);
    memset(item, 0, field->object->size);
    *out = item;
    return read_members(r, field->object, value, item);
}

static json_type json_type_of(dbk_api_kind kind) {
    switch (kind) {
    case DBK_API_TEXTS:
    case DBK_API_NUMBERS:
    case DBK_API_DURATIONS:
    case DBK_API_STRUCTS:
        return JSON_ARRAY;
    case DBK_API_METADATA:
    case DBK_API_STRUCT:
    case DBK_API_OPTIONAL:
        return JSON_OBJECT;
    case DBK_API_TEXT:
        return JSON_STRING;
    default:
        return JSON_NULL; // Its own function knows better.
    }
}

static bool read_value(reader *r, const dbk_api_object *object, const dbk_api_field *field,
                       const json_t *value, void *out) {
    json_type wanted = json_type_of(field->kind);
    if (wanted != JSON_NULL && json_typeof(value) != wanted) return fail_type(r, object, field, value);
    switch (field->kind) {
    case DBK_API_BOOL:
        if (!json_is_boolean(value)) return fail_type(r, object, field, value);
        *(bool *)out = json_is_true(value);
        return true;
    case DBK_API_INT:
    case DBK_API_INT64:
    case DBK_API_INT32:
    case DBK_API_DURATION:
        return read_number(r, object, field, value, out);
    case DBK_API_UINT:
        return read_uint(r, object, field, value, out);
    case DBK_API_TIME:
        return read_time(r, object, field, value, out);
    case DBK_API_TEXT:
        return copy_text(r, value, out);
    case DBK_API_CHOICE:
        return read_choice(r, field, value, out);
    case DBK_API_TEXTS:
        return read_texts(r, object, field, value, out);
    case DBK_API_NUMBERS:
    case DBK_API_DURATIONS:
        return read_numbers(r, object, field, value, out);
    case DBK_API_METADATA:
        return read_metadata(r, object, field, value, out);
    case DBK_API_STRUCT:
        return read_members(r, field->object, value, out);
    case DBK_API_OPTIONAL:
        return read_optional(r, field, value, out);
    case DBK_API_STRUCTS:
        return read_structs(r, field, value, out);
    case DBK_API_BASE64:
    case DBK_API_COUNTS:
    case DBK_API_EMBEDDED:
        break;
    }
    return fail_type(r, object, field, value);
}

// Members.

static char lower(char byte) {
    return byte >= 'A' && byte <= 'Z' ? (char)(byte | 0x20) : byte;
}

static bool names_equal(const char *a, const char *b) {
    while (*a != '\0' && lower(*a) == lower(*b)) a++, b++;
    return *a == *b;
}

static bool is_known(const reader *r, const dbk_api_field *field) {
    if (r->dial == NULL) return true;
    return r->dial->version >= field->since && (field->until == 0 || r->dial->version <= field->until);
}

// The field called `name`, of `object` or embedded in it; moves `*item` to the struct it lies in and says
// which that is.
static const dbk_api_field *find_field(const reader *r, const dbk_api_object **object, const char *name,
                                       char **item) {
    for (size_t i = 0; i < (*object)->field_count; i++) {
        const dbk_api_field *field = &(*object)->fields[i];
        if (field->kind == DBK_API_EMBEDDED) {
            const dbk_api_object *inner = field->object;
            char *inner_item = *item + field->offset;
            const dbk_api_field *found = find_field(r, &inner, name, &inner_item);
            if (found == NULL) continue;
            *object = inner;
            *item = inner_item;
            return found;
        }
        if (names_equal(field->name, name) && is_known(r, field)) return field;
    }
    return NULL;
}

static bool is_struct(const dbk_api_field *field) {
    return field->kind == DBK_API_STRUCT || field->kind == DBK_API_OPTIONAL || field->kind == DBK_API_STRUCTS;
}

static bool read_member(reader *r, const dbk_api_object *object, const char *name, const json_t *value,
                        void *item) {
    char *at = item;
    const dbk_api_object *owner = object;
    const dbk_api_field *field = find_field(r, &owner, name, &at);
    if (field == NULL) {
        if (r->dial == NULL || !r->dial->is_strict) return true;
        return fail(r, "json: unknown field \"", name, "\"");
    }
    if (json_is_null(value) && field->kind != DBK_API_CHOICE) return true;
    size_t before = enter(r, owner == object ? field->owner : owner->name);
    if (is_struct(field) && json_typeof(value) == json_type_of(field->kind)) (void)enter(r, field->name);
    if (!read_value(r, object, field, value, at + field->offset)) return false;
    r->path_size = before;
    return true;
}

static bool read_members(reader *r, const dbk_api_object *object, const json_t *value, void *item) {
    if (!json_is_object(value)) {
        static const dbk_api_field whole = {.name = "", .kind = DBK_API_STRUCT};
        dbk_api_field field = whole;
        field.object = object;
        return fail_type(r, object, &field, value);
    }
    json_t *members = (json_t *)(uintptr_t)value; // Iterated, not changed.
    for (void *at = json_object_iter(members); at != NULL; at = json_object_iter_next(members, at)) {
        if (!read_member(r, object, json_object_iter_key(at), json_object_iter_value(at), item)) return false;
    }
    return true;
}

static bool fail_syntax(reader *r, dbk_slice text, size_t offset) {
    char byte[8];
    if (offset >= text.size) return fail(r, "unexpected EOF", "", "");
    unsigned char wrong = ((const unsigned char *)text.data)[offset];
    (void)snprintf(byte, sizeof byte, wrong < 0x20 || wrong > 0x7e ? "\\x%02x" : "%c", wrong);
    return fail(r, "invalid character '", byte, "' looking for beginning of value");
}

static bool is_blank(dbk_slice text) {
    const char *at = text.data;
    for (size_t i = 0; i < text.size; i++) {
        if (strchr(" \t\r\n", at[i]) == NULL || at[i] == '\0') return false;
    }
    return true;
}

static bool read_text(reader *r, const dbk_api_object *object, dbk_slice text, void *item) {
    json_t *value = NULL;
    size_t offset = 0;
    memset(item, 0, object->size);
    if (is_blank(text)) return true;
    daybook_status status = dbk_json_parse(text, &value, &offset);
    if (status == DAYBOOK_ENOMEM) return dbk_api_fail_memory(r->error);
    if (status != DAYBOOK_OK) return fail_syntax(r, text, offset);
    bool is_read = json_is_null(value) || read_members(r, object, value, item);
    json_decref(value);
    return is_read;
}

bool dbk_api_read_object(const dbk_api_dial *dial, const dbk_api_object *object, dbk_slice text,
                         dbk_arena *arena, void *item_out, dbk_api_error *error_out) {
    reader r = {.dial = dial, .arena = arena, .error = error_out};
    return read_text(&r, object, text, item_out);
}

bool dbk_api_read_attributes(const dbk_api_object *object, dbk_slice text, dbk_arena *arena, void *item_out,
                             dbk_api_error *error_out) {
    reader r = {.arena = arena, .error = error_out};
    return read_text(&r, object, text, item_out);
}
