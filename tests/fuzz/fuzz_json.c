// SPDX-License-Identifier: Apache-2.0
// JSON: input is two texts separated by a zero byte, a state and a patch. The parser accepts
// what jansson accepts; what is written reads back as the same text; changes are those the patch makes.
#include "fuzz.h"
#include "json/json.h"

static char *print(const json_t *value) {
    dbk_buf out;
    dbk_buf_init(&out, dbk_allocator_default(), 1 << 28);
    dbk_json_write(&out, value);
    dbk_buf_append_u8(&out, 0);
    FUZZ_CHECK(dbk_buf_status(&out) == DAYBOOK_OK);
    return (char *)out.data;
}

// jansson refuses integers beyond 64 bits; elsewhere both must agree.
static void compare_with_jansson(dbk_slice text, const json_t *value) {
    json_error_t why;
    memset(&why, 0, sizeof why);
    json_t *other =
        json_loadb(text.size == 0 ? "" : text.data, text.size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
    if (other == NULL && json_error_code(&why) == json_error_numeric_overflow) return;
    // Below the smallest double jansson says overflow, and the depth it counts may differ by one.
    if (other == NULL && json_error_code(&why) == json_error_stack_overflow) return;
    FUZZ_CHECK((other == NULL) == (value == NULL));
    if (other != NULL) FUZZ_CHECK(json_equal(other, value) == 1);
    json_decref(other);
}

// Whatever the bytes, what is written is a JSON string; of UTF-8, that very text.
static void check_go_string(dbk_slice text) {
    dbk_buf out;
    dbk_buf_init(&out, dbk_allocator_default(), 1 << 28);
    dbk_json_write_go_string(&out, text);
    json_t *read = NULL;
    FUZZ_CHECK(dbk_json_parse(daybook_bytes(out.data, out.size), &read, NULL) == DAYBOOK_OK &&
               json_is_string(read));
    dbk_slice again = daybook_bytes(json_string_value(read), json_string_length(read));
    FUZZ_CHECK(dbk_slice_equal(again, text) == dbk_is_utf8(text));
    json_decref(read);
    dbk_buf_deinit(&out);
}

static json_t *check_text(dbk_slice text) {
    json_t *value = NULL;
    size_t offset = 0;
    daybook_status status = dbk_json_parse(text, &value, &offset);
    FUZZ_CHECK(status == DAYBOOK_OK || (status == DAYBOOK_EINVALID && offset <= text.size));
    compare_with_jansson(text, value);
    if (value == NULL) return NULL;
    char *printed = print(value);
    json_t *again = NULL;
    FUZZ_CHECK(dbk_json_parse(daybook_text(printed), &again, NULL) == DAYBOOK_OK);
    FUZZ_CHECK(json_equal(value, again) == 1);
    char *twice = print(again);
    FUZZ_CHECK(strcmp(printed, twice) == 0);
    free(twice);
    free(printed);
    json_decref(again);
    return value;
}

static size_t count_changes(const json_t *before, const json_t *after, bool is_patch) {
    dbk_buf out;
    dbk_buf_init(&out, dbk_allocator_default(), 1 << 28);
    FUZZ_CHECK((is_patch ? dbk_json_write_patch_changes(&out, before, after)
                         : dbk_json_write_changes(&out, before, after)) == DAYBOOK_OK);
    json_t *list = NULL;
    if (dbk_json_parse(daybook_bytes(out.data, out.size), &list, NULL) != DAYBOOK_OK) {
        dbk_buf_deinit(&out);
        return SIZE_MAX; // The values in it are nested deeper by two.
    }
    size_t count = json_array_size(list);
    json_decref(list);
    dbk_buf_deinit(&out);
    return count;
}

static void check_merge(const json_t *target, const json_t *patch) {
    json_t *before = NULL; // Without the nulls a state never has.
    FUZZ_CHECK(dbk_json_merge_any(NULL, target, &before) == DAYBOOK_OK);
    json_t *after = NULL;
    FUZZ_CHECK(dbk_json_merge_any(before, patch, &after) == DAYBOOK_OK);
    json_t *again = NULL;
    FUZZ_CHECK(dbk_json_merge_any(after, patch, &again) == DAYBOOK_OK);
    FUZZ_CHECK(json_equal(after, again) == 1);
    if (json_is_object(before) && json_is_object(patch))
        FUZZ_CHECK(count_changes(before, patch, true) == count_changes(before, after, false));
    json_decref(again);
    json_decref(after);
    json_decref(before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    dbk_slice input = daybook_bytes(data, size);
    check_go_string(input);
    json_t *target = check_text(fuzz_take_text(&input));
    json_t *patch = check_text(fuzz_take_text(&input));
    if (target != NULL && patch != NULL) check_merge(target, patch);
    json_decref(patch);
    json_decref(target);
    return 0;
}
